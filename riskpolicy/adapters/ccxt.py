"""CCXT's unified positions, balances and markets as the tables of a snapshot. CCXT itself is not needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal, InvalidOperation
from typing import Any, Literal, TypeAlias

from riskpolicy.errors import Finding, SnapshotError

#: Differences of amounts are never rounded.
_EXACT = Context(prec=500)
_NULL = "CCXT gives null where the exchange does not say"

Structure: TypeAlias = Mapping[str, Any]
Positions: TypeAlias = Sequence[Structure]


def from_ccxt(
    positions: Positions | Mapping[str, Positions],
    balances: Structure | Mapping[str, Structure],
    markets: Mapping[str, Structure] | None = None,
    *,
    tickers: Mapping[str, Structure] | None = None,
    account: str = "me",
    currencies: Iterable[str] = (),
    contract_sizes: Mapping[str, Any] | None = None,
    margin_mode: Literal["cross", "isolated"] | None = None,
    total: Literal["wallet", "equity"] = "wallet",
) -> dict[str, Any]:
    """Return the tables of a snapshot from what `fetch_positions`, `fetch_balance` and `load_markets` return.

    Of several accounts, `positions` and `balances` are mappings by account; of one, `account` is its name.

    Instruments go by their CCXT symbols, which shipped rulesets know as aliases. Quantities are CCXT's contracts,
    signed by `side`; a position without contracts is left out. The mark is the position's `markPrice`, else the
    ticker's `mark` or `markPrice`; positions of one symbol agree, or the ticker decides. `margin_mode` is that of
    positions which do not say theirs.

    Balances are those of the currencies that positions settle in, and of `currencies`. They are each currency's
    `total`: as it stands where `total` is "wallet"; without the cross positions' `unrealizedPnl` where it is "equity",
    for exchanges that count it in. An isolated position's margin is its `collateral` less its `unrealizedPnl`.

    Where `contract_sizes` (such as `policy.contract_sizes`) or `markets` says how large a contract is, a position that
    says otherwise is an error. SnapshotError with every fault; nothing that is missing is taken for zero.
    """
    several = isinstance(positions, Mapping)
    by_account = dict(positions) if isinstance(positions, Mapping) else {account: positions}
    purses = balances if several else {account: balances}
    further = tuple(currencies)
    reading = _Reading(markets or {}, tickers or {}, contract_sizes or {}, margin_mode, total)
    rows: list[dict[str, Any]] = []
    accounts: list[dict[str, Any]] = []
    for name, listed in by_account.items():
        of_account = _Account(name, f"`{name}` " if several else "")
        rows += reading.positions(of_account, listed)
        accounts += reading.balances(of_account, purses.get(name), further)
    if reading.findings:
        raise SnapshotError(reading.findings)
    marks = [{"instrument": symbol, "mark_price": mark} for symbol, mark in reading.marks.items()]
    return {"positions": rows, "accounts": accounts, "markets": marks}


@dataclass
class _Account:
    """An account and what its balances are needed for: settlement currencies, and profit that is counted in."""

    name: str
    label: str
    cross: dict[str, Decimal] = field(default_factory=dict)
    isolated: set[str] = field(default_factory=set)


class _Reading:
    def __init__(
        self,
        markets: Mapping[str, Structure],
        tickers: Mapping[str, Structure],
        sizes: Mapping[str, Any],
        margin_mode: str | None,
        total: str,
    ) -> None:
        self.markets = markets
        self.tickers = tickers
        self.sizes = sizes
        self.margin_mode = margin_mode
        self.total = total
        self.marks: dict[str, Decimal] = {}
        self.findings: list[Finding] = []

    def positions(self, account: _Account, listed: Positions) -> Iterator[dict[str, Any]]:
        """Yield the rows of an account's positions. Two sides of one symbol are hedged, said or not."""
        sides: dict[str, set[str]] = {}
        for given in listed:
            if isinstance(given, Mapping) and _decimal(given.get("contracts")):
                sides.setdefault(str(given.get("symbol")), set()).add(str(given.get("side")))
        for k, given in enumerate(listed):
            where = f"{account.label}positions[{k}]"
            if not isinstance(given, Mapping) or not isinstance(given.get("symbol"), str):
                self._fault("missing_value", f"{where} has no `symbol`", "pass what fetch_positions returns")
                continue
            hedged = bool(given.get("hedged")) or len(sides.get(given["symbol"], ())) > 1
            row = self._position(f"{where} ({given['symbol']})", account, given)
            if row is not None:
                yield {**row, "position_side": given["side"]} if hedged else row

    def balances(
        self, account: _Account, given: Structure | None, currencies: Iterable[str]
    ) -> Iterator[dict[str, Any]]:
        """Yield an account's balances. Those behind cross positions must be there, others may be."""
        needed = {*account.cross, *currencies}
        for currency in sorted(needed | account.isolated):
            total = _total(given, currency)
            amount = _decimal(total)
            where = f"{account.label}balance of {currency}"
            if amount is None and total is not None:
                self._fault("wrong_type", f"{where}: `{total}` is not a number", _NULL)
            elif amount is None and currency in needed:
                self._fault("missing_value", f"{where} has no `total`", "pass what fetch_balance returns")
            elif amount is not None:
                yield {
                    "account": account.name,
                    "currency": currency,
                    "balance": _EXACT.subtract(amount, account.cross.get(currency, Decimal(0))),
                }

    def _position(self, where: str, account: _Account, given: Structure) -> dict[str, Any] | None:
        symbol, side = given["symbol"], given.get("side")
        contracts = self._number(where, given, "contracts")
        if contracts == 0:
            return None
        entry, mark = self._number(where, given, "entryPrice"), self._mark(where, symbol, given)
        if side not in ("long", "short"):
            self._fault("unknown_choice", f"{where}: side `{side}` is neither long nor short")
        elif contracts is not None and contracts < 0 and side == "long":
            self._fault("negative", f"{where}: contracts `{contracts}` of a long position", "contracts have no sign")
        self._size(where, symbol, given)
        margin = self._margin(where, account, given)
        row = {
            "account": account.name,
            "instrument": symbol,
            "quantity": None
            if contracts is None
            else contracts.copy_abs()
            if side == "long"
            else contracts.copy_abs().copy_negate(),
            "entry_price": entry,
            "leverage": self._number(where, given, "leverage", needed=False),
            **margin,
        }
        if mark is not None:
            self.marks[symbol] = mark
        return row

    def _margin(self, where: str, account: _Account, given: Structure) -> dict[str, Any]:
        """Return the margin columns of a position, and note what its account's balance is needed for."""
        mode = given.get("marginMode") or self.margin_mode
        if mode not in ("cross", "isolated"):
            what = "has no `marginMode`" if mode is None else f"`marginMode` `{mode}` is neither cross nor isolated"
            code = "missing_value" if mode is None else "unknown_choice"
            self._fault(code, f"{where} {what}", "say it with margin_mode=... where the exchange does not")
            return {}
        settle = self._settle(where, given["symbol"])
        if mode == "isolated":
            account.isolated.add(settle)
            collateral = self._number(where, given, "collateral")
            profit = self._number(where, given, "unrealizedPnl")
            margin = None if collateral is None or profit is None else _EXACT.subtract(collateral, profit)
            return {"margin_mode": mode, "isolated_margin": margin}
        counted = self._number(where, given, "unrealizedPnl") if self.total == "equity" else None
        account.cross[settle] = _EXACT.add(account.cross.get(settle, Decimal(0)), counted or Decimal(0))
        return {"margin_mode": mode}

    def _settle(self, where: str, symbol: str) -> str:
        """Return the settlement currency: the market's, else that of the unified symbol, BASE/QUOTE:SETTLE."""
        settle = _of(self.markets, symbol).get("settle") or symbol.partition(":")[2].partition("-")[0]
        if not settle:
            self._fault("missing_value", f"{where} has no settlement currency", "pass markets, with `settle`")
        return str(settle)

    def _mark(self, where: str, symbol: str, given: Structure) -> Decimal | None:
        """Return the mark price. Positions of one symbol must agree, unless a ticker decides."""
        ticker = _of(self.tickers, symbol)
        decided = _price(ticker.get("mark")) or _price(ticker.get("markPrice"))
        own = _price(given.get("markPrice"))
        before = self.marks.get(symbol)
        if own is None and decided is None:
            self._fault("missing_value", f"{where} has no mark price", "pass tickers with a `mark`")
        if own is None or before in (None, own):
            return own or decided
        if decided is None:
            message = f"{where}: mark price {own}, and {before} in another position"
            self._fault("duplicate_row", message, "pass tickers with a `mark`, which then counts")
        return decided

    def _size(self, where: str, symbol: str, given: Structure) -> None:
        """Hold the position's contract size against what is known of the instrument's."""
        own = _decimal(given.get("contractSize"))
        for size in (self.sizes.get(symbol), _of(self.markets, symbol).get("contractSize")):
            known = _decimal(size)
            if own is not None and known is not None and own != known:
                message = f"{where}: contract size {own}; the instrument's is {known}"
                self._fault("contract_size", message, "quantities would be counted in other units")
                return

    def _number(self, where: str, given: Structure, key: str, *, needed: bool = True) -> Decimal | None:
        value = given.get(key)
        number = _decimal(value)
        if number is None and (needed or value is not None):
            what = f"has no `{key}`" if value is None else f"`{key}`: `{value}` is not a number"
            self._fault("missing_value" if value is None else "wrong_type", f"{where} {what}", _NULL)
        return number

    def _fault(self, code: str, message: str, hint: str = "") -> None:
        self.findings.append(Finding(code, message, hint))


def _of(structures: Mapping[str, Structure], symbol: str) -> Structure:
    found = structures.get(symbol)
    return found if isinstance(found, Mapping) else {}


def _total(balance: Structure | None, currency: str) -> Any:
    """Return a currency's total, from either of the two places where CCXT puts it."""
    if not isinstance(balance, Mapping):
        return None
    for outer, inner in (("total", currency), (currency, "total")):
        found = balance.get(outer)
        if isinstance(found, Mapping) and found.get(inner) is not None:
            return found[inner]
    return None


def _price(value: object) -> Decimal | None:
    price = _decimal(value)
    return price if price is not None and price > 0 else None


def _decimal(value: object) -> Decimal | None:
    """Return a number as its shortest decimal, None where there is none."""
    if value is None or isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        number = Decimal(repr(float(value))) if isinstance(value, float) else Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
