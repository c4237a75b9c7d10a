"""The exposure to deleveraging from public data alone: bounds that hold in every book that fits the data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

from riskpolicy.engines.exposure import BY_RANK, Mechanism, mechanism
from riskpolicy.errors import Finding, QueryError, one_of, suggestion
from riskpolicy.numbers import NumberError, exact, fraction_text, parse_decimal
from riskpolicy.plan.plan import Plan

#: The lowest and the highest value there can be; None where nothing bounds it.
Pair: TypeAlias = "tuple[Fraction | None, Fraction | None]"
ZERO = Fraction(0)
_KEYS = ("instrument", "open_interest", "fund_balance", "positions", "leverage", "lights", "position")
_POSITION = ("side", "quantity", "adl_light")
_UNKNOWN: Pair = (None, None)


@dataclass(frozen=True, slots=True)
class PublicReached:
    """Bounds for the first or the last contract taken, as `Reached` has them from full data."""

    contracts: Pair
    deficit: Pair
    move: Pair


@dataclass(frozen=True, slots=True)
class PublicExposure:
    """Bounds on an exposure, and for each a sentence that says from what it follows."""

    instrument: str
    side: str
    quantity: Fraction
    mechanism: Mechanism
    adl_rank: Pair
    adl_light: Pair
    quantity_ahead: Pair
    first: PublicReached
    last: PublicReached
    why: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON: pairs [low, high], null where nothing bounds it."""
        reached = {
            name: {"contracts": _numbers(r.contracts), "deficit": _texts(r.deficit), "move": _numbers(r.move)}
            for name, r in (("first", self.first), ("last", self.last))
        }
        scenario = {"loss_of_profit": [None, None], "loss_of_hedge": [None, None]}
        return {
            "instrument": self.instrument, "side": self.side, "quantity": float(self.quantity),
            "mechanism": self.mechanism, "adl_rank": _numbers(self.adl_rank), "adl_light": _numbers(self.adl_light),
            "quantity_ahead": _numbers(self.quantity_ahead), **reached,
            "scenarios": [{"which": which, **scenario} for which in ("first", "last")], "why": dict(self.why),
        }  # fmt: skip


def _numbers(pair: Pair) -> list[float | None]:
    return [None if x is None else float(x) for x in pair]


def _texts(pair: Pair) -> list[str | None]:
    return [None if x is None else fraction_text(x).lstrip("~") for x in pair]


def read_public(path: str | Path) -> Mapping[str, Any]:
    """Read public data from a JSON file; QueryError for one that is none."""
    try:
        raw = json.loads(Path(path).read_text(encoding="utf-8-sig"), parse_float=parse_decimal)
    except (OSError, UnicodeDecodeError) as error:
        raise QueryError(Finding("file_unreadable", f"cannot read `{path}`: {error}")) from None
    except ValueError as error:
        raise QueryError(Finding("invalid_value", f"`{path}` is no JSON: {error}", "write an object")) from None
    if not isinstance(raw, Mapping):
        raise QueryError(Finding("invalid_value", f"`{path}` holds no object", f"keys: {one_of(_KEYS)}"))
    return raw


def public_exposure(plan: Plan, public: Mapping[str, Any]) -> PublicExposure:
    """Return what public data says of a position's exposure under a ruleset.

    Keys: `instrument`; `open_interest`, contracts of one side; `position`: side (long or short), quantity (unsigned)
    and, where the venue shows it, adl_light; and, where known, `fund_balance` (money), `positions` (holders on the
    position's side), `leverage`: rows [up_to, contracts] of the other side by the leverage of the account (notional
    over equity), rising, `up_to` null for no end; `lights`: contracts on the position's side by light, from 1 on.
    QueryError for what is missing, not known or no number.

    The bounds hold in every book that fits the data and in which accounts settle in one currency; cf. `why`.
    """
    given = _Given(plan, public)
    return given.exposure()


class _Given:
    """Public data, read."""

    def __init__(self, plan: Plan, public: Mapping[str, Any]) -> None:
        _known("public data", public, _KEYS)
        self.plan = plan
        own = public.get("position")
        if not isinstance(own, Mapping):
            raise QueryError(Finding("missing_value", "public data lack `position`", f"keys: {one_of(_POSITION)}"))
        _known("position", own, _POSITION)
        self.instrument = str(public.get("instrument"))
        if self.instrument not in plan.instruments.number:
            symbols = plan.instruments.symbols
            hint = suggestion(self.instrument, symbols) or f"instruments: {one_of(symbols)}"
            raise QueryError(Finding("unknown_id", f"the ruleset has no instrument `{self.instrument}`", hint))
        self.number = plan.instruments.number[self.instrument]
        self.side = str(own.get("side"))
        if self.side not in ("long", "short"):
            raise QueryError(Finding("unknown_choice", f"`{self.side}` is no side", "say long or short"))
        self.quantity = _amount("position.quantity", own.get("quantity"))
        self.interest = _amount("open_interest", public.get("open_interest"))
        if self.quantity > self.interest:
            message = f"a position of {fraction_text(self.quantity)} is more than the open interest"
            raise QueryError(Finding("invalid_value", message, "open interest counts one side, in contracts"))
        rules = plan.deleveraging
        self.count = 0 if rules is None else rules.light_count
        light = own.get("adl_light")
        self.light = None if light is None else int(_amount("position.adl_light", light))
        if self.light is not None and not 1 <= self.light <= self.count:
            message = f"there is no light {self.light}"
            raise QueryError(Finding("invalid_value", message, f"the ruleset has lights 1 to {self.count}"))
        fund = public.get("fund_balance")
        self.fund = None if fund is None else _amount("fund_balance", fund, zero=True)
        holders = public.get("positions")
        self.holders = None if holders is None else int(_amount("positions", holders))
        self.leverage = _rows(public.get("leverage"))
        lights = public.get("lights")
        self.lights = None if lights is None else [_amount("lights", x, zero=True) for x in lights]
        if self.lights is not None and len(self.lights) != self.count:
            message = f"{len(self.lights)} lights, and the ruleset has {self.count}"
            raise QueryError(Finding("invalid_value", message, "one amount of contracts a light, from 1 on"))
        self.why: dict[str, str] = {}

    def exposure(self) -> PublicExposure:
        word, rules = mechanism(self.plan), self.plan.deleveraging
        ranked = rules is not None and word != "none"
        ahead = self.ahead() if ranked else _UNKNOWN
        by_rank = rules is not None and rules.plugin is None and rules.ranks is None and rules.rule in BY_RANK
        first = last = _UNKNOWN
        if word in ("queue", "pro_rata", "plugin"):
            first = ahead if by_rank else (ZERO, self.interest)
            low = (ahead[0] or ZERO) + self.quantity if by_rank else self.quantity
            last = (low, self.interest)
            self.why["contracts"] = (
                "the first is reached by more contracts than are ahead, the last by those and its own; both sides of a "
                "market hold the open interest"
            )
        deficit = self.deficit() if word != "none" else _UNKNOWN
        return PublicExposure(
            self.instrument, self.side, self.quantity, word, self.rank(ranked), self.lit(ranked), ahead,
            PublicReached(first, deficit, self.move(first)), PublicReached(last, deficit, self.move(last)), self.why,
        )  # fmt: skip

    def ahead(self) -> Pair:
        """Return contracts ranked before the position."""
        rest = self.interest - self.quantity
        rules = self.plan.deleveraging
        assert rules is not None
        if self.light is None:
            self.why["quantity_ahead"] = "nothing says where it stands: nobody, or all others on its side"
            return ZERO, rest
        above = self.count - self.light
        if self.lights is not None:
            more = sum(self.lights[self.light :], ZERO)
            own = self.lights[self.light - 1] - self.quantity
            self.why["quantity_ahead"] = "those with higher lights are ahead; of its own light, some or none"
            return more, min(rest, more + max(ZERO, own))
        if rules.lights_by_quantity:
            low = max(ZERO, self.interest * above / self.count - self.quantity)
            high = max(ZERO, self.interest * (above + 1) / self.count - self.quantity)
            self.why["quantity_ahead"] = "a light is a share of the contracts on its side, its own included"
            return low, min(rest, high)
        self.why["quantity_ahead"] = "lights count positions, which may be of any size"
        return ZERO, rest

    def rank(self, ranked: bool) -> Pair:
        if not ranked:
            return _UNKNOWN
        if self.holders is None:
            self.why["adl_rank"] = "nobody says how many hold its side"
            return Fraction(1), None
        rules, n = self.plan.deleveraging, self.holders
        assert rules is not None
        if self.light is None or rules.lights_by_quantity:
            self.why["adl_rank"] = "any place among those who hold its side"
            return Fraction(1), Fraction(n)
        # light = count - floor(count x (rank - 1) / n).
        above = self.count - self.light
        low, high = -(-above * n // self.count) + 1, -(-(above + 1) * n // self.count)
        self.why["adl_rank"] = "a light is a share of those who hold its side"
        return Fraction(low), Fraction(max(low, high))

    def lit(self, ranked: bool) -> Pair:
        if not ranked:
            return _UNKNOWN
        if self.light is not None:
            self.why["adl_light"] = "as the venue shows it"
            return Fraction(self.light), Fraction(self.light)
        self.why["adl_light"] = "any of the venue's lights"
        return Fraction(1), Fraction(self.count)

    def deficit(self) -> Pair:
        """Return what bankrupt buckets lack when contracts are taken."""
        before = []
        for step in self.plan.steps:
            if step.do == "deleverage":
                break
            before.append(step)
        fund = self.plan.instruments.fund[self.number] if self.plan.instruments.fund else -1
        sure = any(
            s.do == "takeover" and s.by == fund and s.price == "bankruptcy_price" and s.when is None and not s.unless
            and s.max_net_notional is None and s.max_loss is None and s.solvency == "none"
            for s in before
        ) and all(
            s.do in ("cancel_orders", "takeover") or (s.do == "immediate_or_cancel" and s.price == "bankruptcy_price"
                                                      and not s.fee)
            for s in before
        )  # fmt: skip
        if sure and self.fund is not None:
            self.why["deficit"] = "the fund takes over at the bankruptcy price first, as far as its balance goes"
            return self.fund, None
        self.why["deficit"] = "positions may be taken before anybody is below zero; nothing bounds a loss from above"
        return ZERO, None

    def move(self, contracts: Pair) -> Pair:
        """Return the least move at which so many contracts of the other side can be in liquidation."""
        low = contracts[0]
        rate = self.steepest()
        if low is None or self.leverage is None or rate is None:
            self.why["move"] = "without the other side's leverage, or with rules of another form, nothing is said"
            return ZERO if low is not None else None, None
        left = low
        for highest, size in reversed(self.leverage):
            left -= size
            if left < 0 or highest is None:
                # Equity falls by a move's part of the notional; the margin rises to at most the steepest rate of it.
                found = ZERO if highest is None else (1 / highest - rate) / (1 + rate)
                self.why["move"] = "nobody is liquidated sooner than leverage and the steepest margin rate let it"
                return max(ZERO, found), None
        self.why["move"] = "the distribution holds fewer contracts than are needed"
        return ZERO, None

    def steepest(self) -> Fraction | None:
        """Return the highest maintenance rate there is, None where accounts are liquidated by another rule."""
        plan, t = self.plan, self.plan.trigger
        number = self.number
        usual = (
            t.of_equity == 1 and t.of_maintenance == -1 and not any((t.of_pnl, t.of_notional, t.of_wallet, t.constant))
        )
        if not usual or plan.instruments.inverse[number] or plan.release is not None:
            return None
        if any(table.curved or table.entry_basis for table in plan.tiers.tables):
            return None
        return max(tier.rate for tier in plan.tiers.exact)


def _known(what: str, given: Mapping[str, Any], keys: Sequence[str]) -> None:
    unknown = [str(key) for key in given if key not in keys]
    if unknown:
        hint = suggestion(unknown[0], keys) or f"keys: {one_of(keys)}"
        raise QueryError(Finding("unknown_key", f"{what} has no `{unknown[0]}`", hint))


def _amount(name: str, value: Any, *, zero: bool = False) -> Fraction:
    try:
        found = exact(parse_decimal(value) if isinstance(value, str) else value)
    except (NumberError, TypeError, ValueError, OverflowError, ArithmeticError):
        message = f"public data lack `{name}`" if value is None else f"`{name}`: `{value}` is no number"
        raise QueryError(Finding("missing_value" if value is None else "wrong_type", message, "a number")) from None
    if found < 0 or (found == 0 and not zero) or isinstance(value, bool):
        raise QueryError(Finding("not_positive", f"`{name}` is {value}", "a number above zero"))
    return found


def _rows(raw: Any) -> list[tuple[Fraction | None, Fraction]] | None:
    """Return the leverage distribution: (up to, contracts), rising."""
    if raw is None:
        return None
    rows: list[tuple[Fraction | None, Fraction]] = []
    for row in raw:
        if not isinstance(row, Sequence) or len(row) != 2 or isinstance(row, str):
            raise QueryError(Finding("invalid_value", f"`leverage`: {row} is no row", "rows are [up_to, contracts]"))
        rows.append((None if row[0] is None else _amount("leverage", row[0]), _amount("leverage", row[1], zero=True)))
    ends = [end for end, _ in rows[:-1]]
    known = [end for end, _ in rows if end is not None]
    if None in ends or known != sorted(known):
        raise QueryError(Finding("invalid_value", "`leverage` does not rise", "lowest leverage first, null last"))
    return rows
