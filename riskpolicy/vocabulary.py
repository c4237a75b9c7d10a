"""The words of the language as plain data: tables, columns, names and functions, with type and unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from fractions import Fraction
from types import MappingProxyType
from typing import Any


class Kind(Enum):
    """What a column holds."""

    ID = "id"
    NUMBER = "number"
    CHOICE = "choice"
    INSTANT = "instant"


class Sign(Enum):
    """Which numbers a column admits; NaN and infinity never."""

    ANY = "any number"
    NONZERO = "any number but zero"
    NONNEGATIVE = "zero or more"
    POSITIVE = "above zero"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a snapshot table. `default` replaces an absent column or a null."""

    name: str
    kind: Kind
    unit: str
    meaning: str
    required: bool = False
    sign: Sign = Sign.ANY
    choices: tuple[str, ...] = ()
    default: float | str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A snapshot table: no two rows have the same key."""

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    def column(self, name: str) -> Column:
        """Return the column of that name."""
        return next(c for c in self.columns if c.name == name)


def _id(name: str, meaning: str, *, required: bool = True) -> Column:
    return Column(name, Kind.ID, "id", meaning, required=required)


def _number(name: str, unit: str, meaning: str, sign: Sign = Sign.ANY, *, required: bool = False) -> Column:
    return Column(name, Kind.NUMBER, unit, meaning, required=required, sign=sign)


def _instant(name: str, meaning: str) -> Column:
    return Column(name, Kind.INSTANT, "time", meaning)


def _flag(name: str, meaning: str) -> Column:
    return Column(name, Kind.CHOICE, "", meaning, choices=("false", "true"), default="false")


#: What a bucket carries from one resolution to the next: of an isolated one in `positions`, else in `accounts`.
_STANDING = (
    _flag("in_liquidation", "true from the trigger until the ruleset releases it"),
    _instant("cooldown_until", "no further order of a staged step before this"),
    _instant("liquidation_started", "when it came into liquidation"),
    _number("margin_freed", "money", "by ramped steps since then", Sign.NONNEGATIVE),
)


POSITIONS = Table(
    "positions",
    ("account", "instrument", "position_side"),
    (
        _id("account", "who holds the position"),
        _id("instrument", "a symbol or alias of the ruleset"),
        _number("quantity", "contracts", "signed contracts: above zero long, below zero short", required=True),
        _number("entry_price", "price", "average price of entry", Sign.POSITIVE, required=True),
        Column(
            "position_side", Kind.CHOICE, "", "net, or one side of a hedged position",
            choices=("net", "long", "short"), default="net",
        ),
        Column(
            "margin_mode", Kind.CHOICE, "", "whose balance stands behind the position",
            choices=("cross", "isolated"), default="cross",
        ),
        _number("isolated_margin", "money", "the isolated position's own margin, part of no balance"),
        _number("leverage", "ratio", "as selected; absent means the tier's maximum", Sign.POSITIVE),
        _number("accrued_funding", "money", "funding not yet settled; above zero is due to the holder, part of equity"),
        _instant("opened_at", "when it was opened"),
        *_STANDING,
    ),
)  # fmt: skip

ACCOUNTS = Table(
    "accounts",
    ("account", "currency"),
    (
        _id("account", "who owns the balance"),
        _id("currency", "a currency of the ruleset"),
        _number("balance", "money", "cross balance without unrealized profit; below zero is borrowed", required=True),
        _id("owner", "whose account it is, where one owner has several", required=False),
        _id("role", "what it does at the venue, such as trader or market_maker", required=False),
        _id("fee_tier", "the id of its fee tier", required=False),
        _number("volume", "money", "traded in the ruleset's fee window, where no fee tier is given", Sign.NONNEGATIVE),
        *_STANDING,
    ),
)  # fmt: skip

#: Accounts of the ledger, without their `@`, that the engine keeps: nobody else may have one of these names.
ENGINE_ACCOUNTS = ("market", "residual", "withdrawals", "outside", "funding")

#: What a market can be, besides open.
MARKET_STATES = ("open", "reduce_only", "delisting", "halted")

MARKETS = Table(
    "markets",
    ("instrument",),
    (
        _id("instrument", "a symbol or alias of the ruleset"),
        _number("mark_price", "price", "the price that margins are computed at", Sign.POSITIVE, required=True),
        _number("index_price", "price", "spot index", Sign.POSITIVE),
        _number("oracle_price", "price", "oracle price", Sign.POSITIVE),
        _number("previous_mark", "price", "mark price before the last update", Sign.POSITIVE),
        _number("open_interest", "contracts", "contracts open, one side counted", Sign.NONNEGATIVE),
        _number("daily_volume", "contracts", "contracts traded in 24 hours", Sign.NONNEGATIVE),
        _number("realized_volatility", "ratio", "standard deviation of a day's return", Sign.NONNEGATIVE),
        Column(
            "market_state", Kind.CHOICE, "", "open; reduce_only and delisting take no order that adds, halted none",
            choices=MARKET_STATES, default="open",
        ),
        _number("impact_slope", "price", "what a contract moves it, execution `linear`", Sign.NONNEGATIVE),
        _number("depth_quantity", "contracts", "within depth_move of the mark, execution `power`", Sign.POSITIVE),
        _number("depth_move", "ratio", "of the mark", Sign.NONNEGATIVE),
        _number("depth_exponent", "ratio", "depth grows with the move to this power", Sign.POSITIVE),
        _number("impact_factor", "ratio", "of a day's volatility, at a day's volume, execution `sqrt`",
                Sign.NONNEGATIVE),
        _number("funding_rate", "ratio", "of the current funding period; above zero longs pay"),
        _number("premium", "ratio", "average premium of the funding period"),
        _flag("adl_active", "true while deleveraging is on, for a trigger with hysteresis"),
        _number("adl_severity", "ratio", "share of a bankrupt position that the next event asks for", Sign.NONNEGATIVE),
        _number("symbol_pnl", "money", "of the insurance fund in this market"),
        _number("symbol_pnl_peak_8h", "money", "the highest of it in 8 hours"),
    ),
)  # fmt: skip

COLLATERAL = Table(
    "collateral",
    ("account", "asset"),
    (
        _id("account", "who owns it"),
        _id("asset", "an asset that the ruleset gives a weight"),
        _number("amount", "asset", "how much of it stands behind cross positions", Sign.NONNEGATIVE, required=True),
    ),
)  # fmt: skip

ASSETS = Table(
    "assets",
    ("asset",),
    (
        _id("asset", "an asset or currency"),
        _number(
            "price", "price", "of one unit, in the ruleset's collateral currency", Sign.POSITIVE, required=True
        ),
    ),
)  # fmt: skip

ORDERS = Table(
    "orders",
    (),
    (
        _id("account", "whose order it is"),
        _id("instrument", "a symbol or alias of the ruleset"),
        Column("side", Kind.CHOICE, "", "buy or sell", required=True, choices=("buy", "sell")),
        _number("remaining", "contracts", "what is still open of it", Sign.NONNEGATIVE, required=True),
        _number("price", "price", "its limit; absent for a market order", Sign.POSITIVE),
        Column(
            "reduce_only", Kind.CHOICE, "", "true where it can only reduce the position",
            choices=("false", "true"), default="false",
        ),
    ),
)  # fmt: skip

DEPTH = Table(
    "depth",
    (),
    (
        _id("instrument", "a symbol or alias of the ruleset"),
        Column("side", Kind.CHOICE, "", "bid or ask", required=True, choices=("bid", "ask")),
        _number("price", "price", "of the level; the best level of a side comes first", Sign.POSITIVE, required=True),
        _number("quantity", "contracts", "at the level", Sign.NONNEGATIVE, required=True),
    ),
)  # fmt: skip

PROVIDERS = Table(
    "providers",
    ("provider", "instrument"),
    (
        _id("provider", "who takes assigned positions"),
        _id("instrument", "a symbol or alias of the ruleset"),
        _number("capacity", "contracts", "the most it takes of this instrument", Sign.NONNEGATIVE, required=True),
    ),
)  # fmt: skip

FUNDS = Table(
    "funds",
    ("fund",),
    (
        _id("fund", "a fund of the ruleset"),
        _id("currency", "the fund's currency"),
        _number("balance", "money", "what the fund can pay", Sign.NONNEGATIVE, required=True),
        _id("account", "the account that holds its inventory", required=False),
        _number("peak_8h", "money", "the highest balance in 8 hours", Sign.NONNEGATIVE),
        _number("average_8h", "money", "the average balance in 8 hours", Sign.NONNEGATIVE),
        _number("opening", "money", "the balance that shares and caps count from", Sign.NONNEGATIVE),
        _flag("gated", "true while stakes can not be withdrawn"),
    ),
)

MEMBERS = Table(
    "members",
    ("member", "fund"),
    (
        _id("member", "a clearing member"),
        _id("fund", "a default fund of the ruleset"),
        _number("contribution", "money", "prefunded", Sign.NONNEGATIVE, required=True),
        _number("assessed", "money", "called beyond the contribution so far", Sign.NONNEGATIVE),
        _flag("defaulted", "true for a member in default, which pays nothing more"),
    ),
)

STAKES = Table(
    "stakes",
    ("fund", "account"),
    (
        _id("fund", "a fund of the ruleset that takes stakes"),
        _id("account", "who has staked"),
        _number("shares", "ratio", "of the fund", Sign.NONNEGATIVE, required=True),
        _number("requested_shares", "ratio", "asked back", Sign.NONNEGATIVE),
        _number("requested_value", "money", "what these were worth when they were asked back", Sign.NONNEGATIVE),
        _instant("requested_at", "when they were asked back"),
    ),
)

DRAWN = Table(
    "drawn",
    (),
    (
        _id("rule", "the layer that paid"),
        _id("account", "for whose loss"),
        _id("instrument", "in which market, where the cap is a market's", required=False),
        _number("amount", "money", "what it paid", Sign.NONNEGATIVE, required=True),
        Column("at", Kind.INSTANT, "time", "when", required=True),
    ),
)

#: The tables of a snapshot, by name. A snapshot may also say `as_of` and `complete`.
TABLES: Mapping[str, Table] = MappingProxyType(
    {
        table.name: table
        for table in (
            POSITIONS,
            ACCOUNTS,
            COLLATERAL,
            ASSETS,
            ORDERS,
            MARKETS,
            DEPTH,
            PROVIDERS,
            FUNDS,
            MEMBERS,
            STAKES,
            DRAWN,
        )
    }
)


STATES = ("healthy", "restricted", "liquidatable", "bankrupt")


class Stage(IntEnum):
    """When a name has its value; an expression may use names of its own stage and before."""

    INPUT = 0
    VALUED = 1  # marked to market, tier found
    MARGINED = 2  # position margins known
    SUMMED = 3  # bucket sums known
    DECIDED = 4  # states known


@dataclass(frozen=True, slots=True)
class Name:
    """A number that an expression may use, as a column of the expression's table; or a word, one of `words`."""

    name: str
    unit: str
    stage: Stage
    meaning: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the expression language; `most` is None where any number of arguments will do."""

    name: str
    least: int
    most: int | None
    meaning: str


@dataclass(frozen=True, slots=True)
class ExpressionFunction:
    """A function of the expression language that a plugin adds.

    `parameters` and `result` name units: money, price, contracts, ratio or time. `value` takes one float64 array an
    argument and returns one of the same length; it is called per batch, for rows in untaken branches too, so it
    returns NaN where it is undefined and never raises. `exact` takes fractions and returns one; ZeroDivisionError or
    ValueError mean undefined. `bound` takes the argument arrays, then the arrays of their bounds, and returns bounds
    of the distance from the exact value; without it every decision on the function is made in exact arithmetic.
    """

    name: str
    parameters: tuple[str, ...]
    result: str
    meaning: str
    value: Callable[..., Any]
    exact: Callable[..., Fraction]
    bound: Callable[..., Any] | None = None


_BUCKET = (
    Name("wallet_balance", "money", Stage.INPUT, "cross balance, or the isolated margin"),
    Name("unrealized_pnl", "money", Stage.VALUED, "sum over the bucket's positions"),
    Name("notional", "money", Stage.VALUED, "sum of the positions' values at the mark, unsigned"),
    Name("accrued_funding", "money", Stage.VALUED, "sum over the bucket's positions of funding not yet settled"),
    Name("equity", "money", Stage.VALUED, "wallet_balance + unrealized_pnl + accrued_funding"),
    Name("initial_equity", "money", Stage.VALUED, "equity with collateral at its initial weights"),
    Name("initial_margin", "money", Stage.SUMMED, "sum over the bucket's positions"),
    Name("maintenance_margin", "money", Stage.SUMMED, "sum over the bucket's positions"),
    Name("margin_ratio", "ratio", Stage.SUMMED, "maintenance_margin / equity; infinite where equity <= 0, margin due"),
    Name("state", "word", Stage.DECIDED, "healthy, restricted, liquidatable or bankrupt", STATES),
    Name("fund_balance", "money", Stage.DECIDED, "of the fund behind the bucket's largest position"),
    Name("fund_peak_8h", "money", Stage.DECIDED, "that fund's highest balance in 8 hours"),
    Name("fund_average_8h", "money", Stage.DECIDED, "that fund's average balance in 8 hours"),
)  # fmt: skip

_POSITION = (
    Name("quantity", "contracts", Stage.INPUT, "signed contracts"),
    Name("entry_price", "price", Stage.INPUT, "average price of entry"),
    Name("entry_notional", "money", Stage.INPUT, "value at the entry price, unsigned"),
    Name("market_mark_price", "price", Stage.INPUT, "mark price of the instrument"),
    Name("wallet_balance", "money", Stage.INPUT, "the balance behind the bucket"),
    Name("notional", "money", Stage.VALUED, "value at the mark price, unsigned"),
    Name("unrealized_pnl", "money", Stage.VALUED, "profit at the mark price; a loss is below zero"),
    Name("max_leverage", "ratio", Stage.VALUED, "the tier's"),
    Name("initial_rate", "ratio", Stage.VALUED, "the tier's or curve's; 1 / max_leverage where only that is given"),
    Name("maintenance_rate", "ratio", Stage.VALUED, "the tier's or curve's"),
    Name("leverage", "ratio", Stage.VALUED, "as selected, or the tier's maximum"),
    Name("initial_margin", "money", Stage.MARGINED, "by the rule margin.initial"),
    Name("maintenance_margin", "money", Stage.VALUED, "by the position's tier"),
    *(
        Name(f"bucket_{n.name}", n.unit, Stage.SUMMED, f"the bucket's {n.name}", n.words)
        for n in _BUCKET
        if n.name != "wallet_balance" and n.stage <= Stage.SUMMED
    ),
)

_FUND = (
    Name("balance", "money", Stage.INPUT, "what the fund has"),
    Name("peak_8h", "money", Stage.INPUT, "its highest balance in 8 hours"),
    Name("average_8h", "money", Stage.INPUT, "its average balance in 8 hours"),
    Name("open_interest", "money", Stage.INPUT, "value at the mark of what is open in its instruments, one side"),
    Name("daily_volume", "money", Stage.INPUT, "value at the mark of a day's trades in its instruments"),
    Name("realized_volatility", "ratio", Stage.INPUT, "of a day, its instruments weighted by their open interest"),
    Name("deficit", "money", Stage.INPUT, "what bankrupt buckets of its currency lack at the mark"),
)

_MARKET = (
    Name("symbol_pnl", "money", Stage.INPUT, "of the insurance fund in this market"),
    Name("symbol_pnl_peak_8h", "money", Stage.INPUT, "its highest in 8 hours"),
    Name("open_interest", "money", Stage.INPUT, "value at the mark of what is open, one side"),
    Name("realized_volatility", "ratio", Stage.INPUT, "of a day"),
    Name("fund_balance", "money", Stage.INPUT, "what the instrument's fund has by now"),
    Name("fund_peak_8h", "money", Stage.INPUT, "that fund's highest balance in 8 hours"),
    Name("fund_average_8h", "money", Stage.INPUT, "that fund's average balance in 8 hours"),
)

#: The names an expression may use, by its table.
NAMES: Mapping[str, Mapping[str, Name]] = MappingProxyType(
    {
        "position": MappingProxyType({n.name: n for n in _POSITION}),
        "bucket": MappingProxyType({n.name: n for n in _BUCKET}),
        "fund": MappingProxyType({n.name: n for n in _FUND}),
        "market": MappingProxyType({n.name: n for n in _MARKET}),
    }
)

#: One unit of the row's settlement currency, so that `1 * settle` is money.
CONSTANTS: Mapping[str, tuple[float, str]] = MappingProxyType({"settle": (1.0, "money")})

FUNCTIONS: Mapping[str, Function] = MappingProxyType(
    {
        f.name: f
        for f in (
            Function("min", 2, None, "the smallest argument"),
            Function("max", 2, None, "the largest argument"),
            Function("abs", 1, 1, "the argument without its sign"),
        )
    }
)
