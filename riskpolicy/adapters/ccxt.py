"""CCXT's unified positions, balances and markets as the tables of a snapshot. CCXT itself is not needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from riskpolicy.errors import Finding, SnapshotError

_NEEDED = "CCXT gives null where the exchange does not say"


def from_ccxt(
    positions: Sequence[Mapping[str, Any]],
    balance: Mapping[str, Any],
    markets: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    tickers: Mapping[str, Mapping[str, Any]] | None = None,
    account: str = "me",
    currencies: Sequence[str] | None = None,
    contract_sizes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the tables of a snapshot from what `fetch_positions`, `fetch_balance` and `load_markets` return.

    Instruments go by their CCXT symbols, which shipped rulesets know as aliases. Quantities are CCXT's contracts,
    signed by `side`; a position without contracts is left out. The mark is the position's `markPrice`, else the
    ticker's `mark`. The balance of a currency is its `total`: where the exchange counts unrealized profit in, give the
    wallet balance instead. `currencies` limits the balances to those that the ruleset has. Where `contract_sizes` or
    `markets` says how large a contract is, a position that says otherwise is an error. SnapshotError with every fault.
    """
    reading = _Reading(markets or {}, tickers or {}, contract_sizes or {}, account)
    rows = [row for k, p in enumerate(positions) for row in reading.position(k, p)]
    accounts = list(reading.balances(balance, currencies))
    if reading.findings:
        raise SnapshotError(reading.findings)
    marks = [{"instrument": symbol, "mark_price": mark} for symbol, mark in reading.marks.items()]
    return {"positions": rows, "accounts": accounts, "markets": marks}


class _Reading:
    def __init__(
        self,
        markets: Mapping[str, Mapping[str, Any]],
        tickers: Mapping[str, Mapping[str, Any]],
        sizes: Mapping[str, Any],
        account: str,
    ) -> None:
        self.markets = markets
        self.tickers = tickers
        self.sizes = sizes
        self.account = account
        self.marks: dict[str, Decimal] = {}
        self.findings: list[Finding] = []

    def position(self, k: int, given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        where, symbol = f"positions[{k}]", given.get("symbol")
        if not isinstance(symbol, str):
            self._fault("missing_value", f"{where} has no `symbol`")
            return
        where = f"{where} ({symbol})"
        contracts = self._number(where, given, "contracts")
        if contracts == 0:
            return
        side, entry = given.get("side"), self._number(where, given, "entryPrice")
        if side not in ("long", "short"):
            self._fault("unknown_choice", f"{where}: side `{side}` is neither long nor short")
        self._size(where, symbol, given)
        mark = self._mark(where, symbol, given)
        if contracts is None or entry is None or mark is None or side not in ("long", "short"):
            return
        self.marks[symbol] = mark
        row: dict[str, Any] = {
            "account": self.account,
            "instrument": symbol,
            "quantity": abs(contracts) if side == "long" else -abs(contracts),
            "entry_price": entry,
            "leverage": self._number(where, given, "leverage", needed=False),
        }
        if given.get("hedged"):
            row["position_side"] = side
        if given.get("marginMode") == "isolated":
            margin = self._isolated(where, given)
            if margin is None:
                return
            row |= {"margin_mode": "isolated", "isolated_margin": margin}
        yield row

    def balances(self, given: Mapping[str, Any], currencies: Sequence[str] | None) -> Iterator[dict[str, Any]]:
        totals = given.get("total")
        if not isinstance(totals, Mapping):
            self._fault("missing_value", "the balance has no `total`", "pass what fetch_balance returns")
            return
        for currency, total in totals.items():
            if currencies is not None and currency not in currencies:
                continue
            amount = _decimal(total)
            if amount is None:
                self._fault("wrong_type", f"balance total of {currency}: `{total}` is not a number", _NEEDED)
            elif amount or currencies is not None:
                yield {"account": self.account, "currency": currency, "balance": amount}

    def _isolated(self, where: str, given: Mapping[str, Any]) -> Decimal | None:
        """Return the margin posted: CCXT's collateral counts the unrealized profit in."""
        collateral = self._number(where, given, "collateral")
        profit = self._number(where, given, "unrealizedPnl")
        return None if collateral is None or profit is None else collateral - profit

    def _mark(self, where: str, symbol: str, given: Mapping[str, Any]) -> Decimal | None:
        ticker = self.tickers.get(symbol, {})
        for value in (given.get("markPrice"), ticker.get("mark"), ticker.get("markPrice")):
            mark = _decimal(value)
            if mark is not None and mark > 0:
                before = self.marks.get(symbol, mark)
                if before != mark:
                    self._fault("duplicate_row", f"{where}: mark price {mark}, and {before} in another position")
                return mark
        self._fault("missing_value", f"{where} has no mark price", "pass tickers with a `mark`")
        return None

    def _size(self, where: str, symbol: str, given: Mapping[str, Any]) -> None:
        """Hold the position's contract size against what is known of the instrument's."""
        own = _decimal(given.get("contractSize"))
        known = _decimal(self.sizes.get(symbol, self.markets.get(symbol, {}).get("contractSize")))
        if own is not None and known is not None and own != known:
            message = f"{where}: contract size {own}; the instrument's is {known}"
            self._fault("contract_size", message, "quantities would be counted in other units")

    def _number(self, where: str, given: Mapping[str, Any], key: str, *, needed: bool = True) -> Decimal | None:
        value = given.get(key)
        number = _decimal(value)
        if number is None and (needed or value is not None):
            what = f"has no `{key}`" if value is None else f"`{key}`: `{value}` is not a number"
            self._fault("missing_value" if value is None else "wrong_type", f"{where} {what}", _NEEDED)
        return number

    def _fault(self, code: str, message: str, hint: str = "") -> None:
        self.findings.append(Finding(code, message, hint))


def _decimal(value: object) -> Decimal | None:
    """Return a number as its shortest decimal, None where there is none."""
    if value is None or isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
