"""A snapshot bound to a plan: instruments found, buckets formed, positions in canonical order.

Canonical order is (account, currency, cross before isolated, instrument, side). Sums run in it, so that the
order of a snapshot's rows never shows in a result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from riskpolicy.errors import Finding, SnapshotError, one_of, suggestion
from riskpolicy.plan.plan import Plan
from riskpolicy.snapshot.columns import Ids, Label, Numbers, plain
from riskpolicy.snapshot.snapshot import Snapshot

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Ints = npt.NDArray[np.int32]

CROSS = -1
LONG, SHORT, FLAT = 0, 1, 2
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Positions:
    """Positions in canonical order; `row` is a position's row in the snapshot. leverage is NaN where absent."""

    row: Longs
    account: Longs
    instrument: Ints
    side: npt.NDArray[np.int8]
    quantity: Floats
    entry_price: Floats
    leverage: Floats
    bucket: Ints


@dataclass(frozen=True, slots=True)
class Buckets:
    """What is margined: instrument is CROSS for an account's cross bucket in a currency.

    `row` is the row of its balance in `accounts`, or of its margin in `positions`; the positions of bucket k
    are start[k] to start[k + 1].
    """

    account: Longs
    currency: Longs
    instrument: Longs
    row: Longs
    wallet_balance: Floats
    start: Longs


@dataclass(frozen=True, slots=True)
class Bound:
    """Everything that the mechanisms read: one snapshot seen through one plan.

    `mark` is per instrument of the plan, NaN where the snapshot has no market; `market_row` is its row or -1.
    `fund_balance` is per fund of the plan, NaN where the snapshot does not say.
    """

    plan: Plan
    snapshot: Snapshot
    positions: Positions
    buckets: Buckets
    mark: Floats
    market_row: Longs
    fund_balance: Floats

    def account(self, code: int) -> Label:
        """Return the account of a code."""
        return plain(self.snapshot.ids("positions", "account").labels[code])

    def position_name(self, i: int) -> str:
        """Return `positions[3] (account A, instrument BTC)` for canonical position i."""
        p = self.positions
        symbol = self.plan.instruments.symbols[int(p.instrument[i])]
        return f"positions[{p.row[i]}] (account {self.account(int(p.account[i]))}, instrument {symbol})"

    def bucket_name(self, bucket: int) -> str:
        """Return `bucket A USDC cross` or `bucket A USDC isolated BTC`."""
        b, number = self.buckets, int(self.buckets.instrument[bucket])
        mode = "cross" if number == CROSS else f"isolated {self.plan.instruments.symbols[number]}"
        return f"bucket {self.account(int(b.account[bucket]))} {self.plan.currencies[int(b.currency[bucket])]} {mode}"

    def exact_wallet(self, bucket: int) -> Fraction:
        """Return the exact balance behind a bucket."""
        cross = self.buckets.instrument[bucket] == CROSS
        table, column = ("accounts", "balance") if cross else ("positions", "isolated_margin")
        return _exact(self.snapshot.numbers(table, column), int(self.buckets.row[bucket]))

    def exact_mark(self, instrument: int) -> Fraction:
        """Return the exact mark price of an instrument."""
        return _exact(self.snapshot.numbers("markets", "mark_price"), int(self.market_row[instrument]))

    def exact_position(self, i: int) -> tuple[Fraction, Fraction, Fraction | None]:
        """Return exact quantity, entry price and leverage (None where absent) of position i."""
        row = int(self.positions.row[i])
        leverage = self.snapshot.numbers("positions", "leverage")
        return (
            _exact(self.snapshot.numbers("positions", "quantity"), row),
            _exact(self.snapshot.numbers("positions", "entry_price"), row),
            None if leverage is None else leverage.exact(row),
        )


def bind(plan: Plan, snapshot: Snapshot) -> Bound:
    """Bind a snapshot to a plan; SnapshotError with every way in which they do not fit."""
    return _Binder(plan, snapshot).bound()


def _exact(column: Numbers | None, row: int) -> Fraction:
    value = None if column is None else column.exact(row)
    assert value is not None, "binding refuses missing values"
    return value


class _Binder:
    def __init__(self, plan: Plan, snapshot: Snapshot) -> None:
        self.plan = plan
        self.snapshot = snapshot
        self.findings: list[Finding] = []

    def bound(self) -> Bound:
        self._validity()
        instrument = self._known("positions", "instrument", self.plan.instruments.number, "unknown_instrument")
        market = self._known("markets", "instrument", self.plan.instruments.number, "unknown_instrument")
        currencies = {name: i for i, name in enumerate(self.plan.currencies)}
        currency = self._known("accounts", "currency", currencies, "unknown_currency")
        funds = {fund.id: i for i, fund in enumerate(self.plan.funds)}
        fund = self._known("funds", "fund", funds, "unknown_fund")
        self._stop()
        mark, market_row = self._marks(market)
        self._one_name(instrument)
        self._modes(instrument, market_row)
        self._complete(instrument)
        balance = self._funds(fund, currencies)
        self._stop()
        positions, buckets = self._order(instrument, currency)
        return Bound(self.plan, self.snapshot, positions, buckets, mark, market_row, balance)

    def _stop(self) -> None:
        if self.findings:
            raise SnapshotError(self.findings)

    def _validity(self) -> None:
        at, plan = self.snapshot.as_of, self.plan
        if at is None or (plan.valid_from <= at and (plan.valid_until is None or at < plan.valid_until)):
            return
        until = f"before {plan.valid_until.isoformat()}" if plan.valid_until else "on"
        message = f"the snapshot is of {at.isoformat()}; `{plan.id}` holds from {plan.valid_from.isoformat()} {until}"
        hint = f"evaluate with `{plan.id}@{at.date()}`, or correct `as_of`"
        raise SnapshotError(Finding("outside_validity", message, hint))

    def _known(self, table: str, column: str, number: Mapping[str, int], code: str) -> Longs:
        """Return a column of ids as numbers of the plan."""
        ids = self.snapshot.tables[table].get(column)
        if not isinstance(ids, Ids):
            return np.zeros(0, np.int64)
        place = np.array([number.get(str(label), -1) for label in ids.labels], np.int64)
        out = place[ids.codes] if len(ids) else np.zeros(0, np.int64)
        wrong = np.flatnonzero(out < 0)
        for row in wrong[:_SHOWN]:
            label = str(ids.label(int(row)))
            hint = suggestion(label, number) or f"declared: {one_of(number)}"
            message = f"{self._row(table, int(row))}: ruleset `{self.plan.id}` has no {column} `{label}`"
            self.findings.append(Finding(code, message, hint))
        self._more(code, table, len(wrong))
        return out

    def _marks(self, market: Longs) -> tuple[Floats, Longs]:
        mark = np.full(len(self.plan.instruments.symbols), np.nan)
        row = np.full(len(mark), -1, np.int64)
        prices = self.snapshot.numbers("markets", "mark_price")
        if prices is not None:
            mark[market] = prices.values
            row[market] = np.arange(len(market))
        numbers, times = np.unique(market, return_counts=True)
        for n in numbers[times > 1]:
            symbol = self.plan.instruments.symbols[n]
            message = f"markets has {symbol} under more than one of its names"
            self.findings.append(Finding("duplicate_row", message, "keep one row an instrument"))
        return mark, row

    def _one_name(self, instrument: Longs) -> None:
        """Refuse two rows of one position under two names of its instrument."""
        account = self.snapshot.ids("positions", "account").codes
        side = self.snapshot.choices("positions", "position_side").codes
        order = np.lexsort((side, instrument, account))
        keys = np.stack([account, instrument, side.astype(np.int64)])[:, order]
        again = np.zeros(len(account), bool)
        again[order[1:]] = (keys[:, 1:] == keys[:, :-1]).all(axis=0)
        what = "the account has a row for this instrument already, under another of its names"
        self._rows("duplicate_row", again, what, "merge the two rows")

    def _modes(self, instrument: Longs, market_row: Longs) -> None:
        mode = self.snapshot.choices("positions", "margin_mode")
        side = self.snapshot.choices("positions", "position_side")
        margin = self.snapshot.numbers("positions", "isolated_margin")
        isolated = mode.codes == mode.words.index("isolated")
        known = np.zeros(len(isolated), bool)
        if margin is not None:
            known = np.ones(len(isolated), bool) if margin.missing is None else ~margin.missing
        stray = known & ~isolated & ((margin.values if margin is not None else known) != 0)
        hint = "add a row for the instrument to `markets`"
        self._rows("missing_market", market_row[instrument] < 0, "the instrument has no row in `markets`", hint)
        hint = "give the margin posted, 0 if there is none"
        self._rows("missing_value", isolated & ~known, "an isolated position without `isolated_margin`", hint)
        hint = "say `margin_mode: isolated`, or leave the margin out"
        self._rows("margin_mode", stray, "`isolated_margin` on a cross position", hint)
        hint = "evaluate with a ruleset that declares hedged positions, or net the two sides"
        self._rows("position_side", side.codes != side.words.index("net"), "this ruleset's positions are net", hint)
        for name in sorted({"cross", "isolated"} - self.plan.modes):
            hint = f"`margin.modes` of the ruleset lists {one_of(sorted(self.plan.modes))}"
            self._rows("margin_mode", mode.codes == mode.words.index(name), f"no {name} margin at this venue", hint)

    def _complete(self, instrument: Longs) -> None:
        quantity = self.snapshot.numbers("positions", "quantity")
        if not self.snapshot.complete or quantity is None:
            return
        for number in np.unique(instrument):
            rows = np.flatnonzero(instrument == number)
            if _sum_is_zero(quantity, rows):
                continue
            symbol = self.plan.instruments.symbols[number]
            message = f"longs and shorts of {symbol} differ by {quantity.values[rows].sum():g} contracts"
            self.findings.append(Finding("open_interest", message, "add the missing positions, or drop `complete`"))

    def _funds(self, fund: Longs, currencies: Mapping[str, int]) -> Floats:
        balance = np.full(len(self.plan.funds), np.nan)
        given = self.snapshot.numbers("funds", "balance")
        if given is None or not len(fund):
            return balance
        balance[fund] = given.values
        currency = self.snapshot.tables["funds"].get("currency")
        for row, number in enumerate(fund.tolist()):
            due = self.plan.funds[number].currency
            if isinstance(currency, Ids) and currencies.get(str(currency.label(row))) != due:
                name = self.plan.currencies[due]
                message = f"{self._row('funds', row)}: currency `{currency.label(row)}`; the fund holds `{name}`"
                self.findings.append(Finding("unknown_currency", message, f"give its balance in {name}"))
        return balance

    def _order(self, instrument: Longs, account_currency: Longs) -> tuple[Positions, Buckets]:
        """Form the buckets and put the positions in canonical order."""
        snapshot = self.snapshot
        account = snapshot.ids("positions", "account").codes
        currency = self.plan.instruments.currency[instrument]
        mode = snapshot.choices("positions", "margin_mode")
        isolated = mode.codes == mode.words.index("isolated")
        width = len(self.plan.instruments.symbols) + 1
        purse = account * len(self.plan.currencies) + currency
        key = purse * width + np.where(isolated, instrument + 1, 0)
        owners = snapshot.ids("accounts", "account").codes
        cross_key = (owners * len(self.plan.currencies) + account_currency) * width
        keys = np.concatenate([cross_key, key[isolated]])
        rows = np.concatenate([np.arange(len(owners)), np.flatnonzero(isolated)])
        order = np.argsort(keys, kind="stable")
        keys, rows = keys[order], rows[order]
        bucket = np.searchsorted(keys, key)
        found = np.zeros(len(key), bool)
        if len(keys):
            found = keys[np.minimum(bucket, len(keys) - 1)] == key
        names = self.plan.currencies
        hint = f"add rows to `accounts`: account, currency ({one_of(names)}), balance"
        self._rows("unknown_account", ~found, "no row in `accounts` for its account and settlement currency", hint)
        self._stop()
        quantity = _values(snapshot.numbers("positions", "quantity"), len(key))
        side = np.where(quantity > 0, LONG, np.where(quantity < 0, SHORT, FLAT)).astype(np.int8)
        row = np.lexsort((instrument, bucket))
        bucket = bucket[row]
        start = np.searchsorted(bucket, np.arange(len(keys) + 1)).astype(np.int64)
        cross = keys % width == 0
        wallet = np.zeros(len(keys))
        wallet[cross] = _values(snapshot.numbers("accounts", "balance"), len(owners))[rows[cross]]
        wallet[~cross] = _values(snapshot.numbers("positions", "isolated_margin"), len(key))[rows[~cross]]
        leverage = snapshot.numbers("positions", "leverage")
        positions = Positions(
            row=row,
            account=account[row],
            instrument=instrument[row].astype(np.int32),
            side=side[row],
            quantity=np.ascontiguousarray(quantity[row]),
            entry_price=_values(snapshot.numbers("positions", "entry_price"), len(key))[row],
            leverage=np.full(len(key), np.nan) if leverage is None else leverage.values[row],
            bucket=bucket.astype(np.int32),
        )
        buckets = Buckets(
            account=keys // width // len(names),
            currency=keys // width % len(names),
            instrument=keys % width - 1,
            row=rows,
            wallet_balance=wallet,
            start=start,
        )
        return positions, buckets

    def _rows(self, code: str, wrong: npt.NDArray[np.bool_], what: str, hint: str) -> None:
        rows = np.flatnonzero(wrong)
        for row in rows[:_SHOWN]:
            self.findings.append(Finding(code, f"{self._row('positions', int(row))}: {what}", hint))
        self._more(code, "positions", len(rows))

    def _more(self, code: str, table: str, count: int) -> None:
        if count > _SHOWN:
            self.findings.append(Finding(code, f"{table}: the same in {count - _SHOWN:,} more rows"))

    def _row(self, table: str, row: int) -> str:
        columns: Iterable[str] = ("account", "instrument") if table == "positions" else ("account", "fund")
        ids = [(name, self.snapshot.tables[table].get(name)) for name in columns]
        shown = ", ".join(f"{name} {column.label(row)}" for name, column in ids if isinstance(column, Ids))
        return f"{table}[{row}]" + (f" ({shown})" if shown else "")


def _values(column: Numbers | None, length: int) -> Floats:
    return np.zeros(length) if column is None else column.values


def _sum_is_zero(column: Numbers, rows: Longs) -> bool:
    """Return whether the exact values in `rows` sum to zero, in whole numbers of a decimal step if they can."""
    values = column.values[rows]
    if not any(int(row) in column.beyond for row in rows) or not column.beyond:
        for places in range(13):
            scaled = np.rint(values * 10.0**places)
            # Below 2**53 the quotient is the float nearest to that decimal, so the decimal is the value.
            if np.all(np.abs(scaled) < 1e15) and np.all(scaled / 10.0**places == values):
                return bool(sum(scaled.astype(np.int64).tolist()) == 0)
    return sum((_exact(column, int(row)) for row in rows), Fraction(0)) == 0
