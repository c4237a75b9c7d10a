"""A snapshot bound to a plan: instruments found, buckets formed, positions in canonical order.

Canonical order is that of the key: account, instrument, side. Sums run in it, so that the order of a snapshot's
rows never shows in a result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from riskpolicy.errors import Finding, SnapshotError, one_of, suggestion
from riskpolicy.kernel import _kernel
from riskpolicy.kernel.memory import empty
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
    """Positions in canonical order: by account, instrument and side.

    `row` is a position's row in the snapshot, None where that is its place in this order. `leverage` is None where
    the snapshot has none, NaN where a value is absent. The positions of account a are start[a] to start[a + 1].
    """

    row: Longs | None
    account: Ints
    instrument: Ints
    quantity: Floats
    entry_price: Floats
    leverage: Floats | None
    bucket: Ints
    start: Ints

    def __len__(self) -> int:
        return len(self.quantity)

    def row_of(self, i: int) -> int:
        """Return the snapshot's row of position i."""
        return i if self.row is None else int(self.row[i])

    def in_rows(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return values by position as values by row of the snapshot."""
        if self.row is None:
            return values
        out = np.empty_like(values)
        out[self.row] = values
        return out

    def at_row(self, row: int) -> int:
        """Return the position of a row of the snapshot."""
        return row if self.row is None else int(np.flatnonzero(self.row == row)[0])

    def side(self, i: int) -> int:
        """Return LONG, SHORT or FLAT."""
        quantity = float(self.quantity[i])
        return LONG if quantity > 0 else SHORT if quantity < 0 else FLAT


@dataclass(frozen=True, slots=True)
class Buckets:
    """What is margined, by account, currency, cross before isolated; instrument is CROSS for a cross bucket.

    `row` is the row of its balance in `accounts`, or of its margin in `positions`. The buckets of account a are
    start[a] to start[a + 1].
    """

    account: Ints
    currency: Ints
    instrument: Ints
    row: Ints
    wallet_balance: Floats
    start: Ints


@dataclass(frozen=True, slots=True)
class Bound:
    """Everything that the mechanisms read: one snapshot seen through one plan.

    `mark` is per instrument of the plan, NaN where the snapshot has no market; `market_row` is its row or -1.
    `fund_balance` is per fund of the plan, NaN where the snapshot does not say. `tables` is what the kernel reads.
    """

    plan: Plan
    snapshot: Snapshot
    positions: Positions
    buckets: Buckets
    mark: Floats
    market_row: Longs
    fund_balance: Floats
    tables: _kernel.Tables
    exact_marks: dict[int, Fraction] = field(default_factory=dict, repr=False)

    def members(self, bucket: int) -> list[int]:
        """Return the positions of a bucket, in canonical order."""
        p, account = self.positions, int(self.buckets.account[bucket])
        first, end = int(p.start[account]), int(p.start[account + 1])
        return [first + int(i) for i in np.flatnonzero(p.bucket[first:end] == bucket)]

    def account(self, code: int) -> Label:
        """Return the account of a code."""
        return plain(self.snapshot.ids("positions", "account").labels[code])

    def position_name(self, i: int) -> str:
        """Return `positions[3] (account A, instrument BTC)` for canonical position i."""
        p = self.positions
        symbol = self.plan.instruments.symbols[int(p.instrument[i])]
        return f"positions[{p.row_of(i)}] (account {self.account(int(p.account[i]))}, instrument {symbol})"

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
        if instrument not in self.exact_marks:
            row = int(self.market_row[instrument])
            self.exact_marks[instrument] = _exact(self.snapshot.numbers("markets", "mark_price"), row)
        return self.exact_marks[instrument]

    def exact_position(self, i: int) -> tuple[Fraction, Fraction, Fraction | None]:
        """Return exact quantity, entry price and leverage (None where absent) of position i."""
        row = self.positions.row_of(i)
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
        traded, tiers = self.plan.instruments, self.plan.tiers
        tables = _kernel.Tables(
            mark,
            traded.contract_size,
            traded.table,
            tiers.start,
            tiers.edge_lower,
            tiers.cap,
            tiers.rate,
            tiers.deduction,
        )
        return Bound(self.plan, self.snapshot, positions, buckets, mark, market_row, balance, tables)

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

    def _known(self, table: str, column: str, number: Mapping[str, int], code: str) -> Ints:
        """Return a column of ids as numbers of the plan."""
        ids = self.snapshot.tables[table].get(column)
        if not isinstance(ids, Ids):
            return np.zeros(0, np.int32)
        place = np.array([number.get(str(label), -1) for label in ids.labels], np.int32)
        out = np.take(place, ids.codes, out=empty(len(ids), np.int32), mode="clip") if len(ids) else place[:0]
        # Other tables share the labels, so an unknown one need not be in this table.
        wrong = np.flatnonzero(out < 0) if (place < 0).any() else np.zeros(0, np.int64)
        for row in wrong[:_SHOWN]:
            label = str(ids.label(int(row)))
            hint = suggestion(label, number) or f"declared: {one_of(number)}"
            message = f"{self._row(table, int(row))}: ruleset `{self.plan.id}` has no {column} `{label}`"
            self.findings.append(Finding(code, message, hint))
        self._more(code, table, len(wrong))
        return out

    def _marks(self, market: Ints) -> tuple[Floats, Longs]:
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

    def _one_name(self, instrument: Ints) -> None:
        """Refuse two rows of one position under two names of its instrument."""
        labels = self.snapshot.ids("positions", "instrument").labels
        known = [n for n in (self.plan.instruments.number.get(str(label)) for label in labels) if n is not None]
        if len(set(known)) == len(known):
            return
        account = self.snapshot.ids("positions", "account").codes
        side = self.snapshot.choices("positions", "position_side").codes
        order = np.lexsort((side, instrument, account))
        keys = np.stack([account, instrument, side.astype(np.int64)])[:, order]
        again = np.zeros(len(account), bool)
        again[order[1:]] = (keys[:, 1:] == keys[:, :-1]).all(axis=0)
        what = "the account has a row for this instrument already, under another of its names"
        self._rows("duplicate_row", again, what, "merge the two rows")

    def _modes(self, instrument: Ints, market_row: Longs) -> None:
        if (market_row < 0).any():
            hint = "add a row for the instrument to `markets`"
            self._rows("missing_market", market_row[instrument] < 0, "the instrument has no row in `markets`", hint)
        mode = self.snapshot.choices("positions", "margin_mode")
        side = self.snapshot.choices("positions", "position_side")
        ordered = self.snapshot.ordered
        if len(ordered.isolated) or self.snapshot.numbers("positions", "isolated_margin") is not None:
            self._isolated(mode.codes == mode.words.index("isolated"))
        if ordered.sided:
            hint = "evaluate with a ruleset that declares hedged positions, or net the two sides"
            wrong = side.codes != side.words.index("net")
            self._rows("position_side", wrong, "this ruleset's positions are net", hint)
        for name in sorted({"cross", "isolated"} - self.plan.modes):
            hint = f"`margin.modes` of the ruleset lists {one_of(sorted(self.plan.modes))}"
            self._rows("margin_mode", mode.codes == mode.words.index(name), f"no {name} margin at this venue", hint)

    def _isolated(self, isolated: npt.NDArray[np.bool_]) -> None:
        """Refuse an isolated position without its margin, and a cross position with one."""
        margin = self.snapshot.numbers("positions", "isolated_margin")
        if margin is None:
            known = np.zeros(len(isolated), bool)
        else:
            known = np.ones(len(isolated), bool) if margin.missing is None else ~margin.missing
            hint = "say `margin_mode: isolated`, or leave the margin out"
            stray = known & ~isolated & (margin.values != 0)
            self._rows("margin_mode", stray, "`isolated_margin` on a cross position", hint)
        hint = "give the margin posted, 0 if there is none"
        self._rows("missing_value", isolated & ~known, "an isolated position without `isolated_margin`", hint)

    def _complete(self, instrument: Ints) -> None:
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

    def _funds(self, fund: Ints, currencies: Mapping[str, int]) -> Floats:
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

    def _order(self, instrument: Ints, currency: Ints) -> tuple[Positions, Buckets]:
        """Form the buckets and put the positions in canonical order."""
        snapshot, plan = self.snapshot, self.plan
        ordered, order = snapshot.ordered, snapshot.order
        numbers = instrument if order is None else instrument[order]
        owner = snapshot.ids("accounts", "account").codes
        balances = np.lexsort((currency, owner)).astype(np.int64) if not _rising(owner, currency) else None
        accounts = len(snapshot.ids("positions", "account").labels)
        n, most = len(numbers), len(owner) + int(np.count_nonzero(ordered.isolated))
        bucket_start = empty(accounts + 1, np.int32)
        bucket = empty(n, np.int32)
        row, settled, number = (empty(most, np.int32) for _ in range(3))
        missing = _kernel.assign_buckets(
            ordered.account,
            ordered.start,
            numbers,
            ordered.isolated,
            plan.instruments.currency,
            len(plan.currencies),
            owner if balances is None else owner[balances],
            currency if balances is None else currency[balances],
            bucket_start,
            bucket,
            row,
            settled,
            number,
        )
        if missing:
            hint = f"add rows to `accounts`: account, currency ({one_of(plan.currencies)}), balance"
            lost = np.zeros(n, bool)
            lost[np.arange(n) if order is None else order] = bucket < 0
            self._rows("unknown_account", lost, "no row in `accounts` for its account and settlement currency", hint)
            self._stop()
        wallet, rows = self._wallets(row, number, balances)
        positions = Positions(
            row=order,
            account=ordered.account,
            instrument=numbers,
            quantity=ordered.quantity,
            entry_price=ordered.entry_price,
            leverage=ordered.leverage,
            bucket=bucket,
            start=ordered.start,
        )
        holder = owner
        if balances is not None or len(ordered.isolated):
            holder = np.repeat(np.arange(accounts, dtype=np.int32), np.diff(bucket_start))
        return positions, Buckets(holder, settled, number, rows, wallet, bucket_start)

    def _wallets(self, row: Ints, number: Ints, balances: Longs | None) -> tuple[Floats, Ints]:
        """Return the balance behind each bucket, and the row that it stands in."""
        balance, order = self.snapshot.numbers("accounts", "balance"), self.snapshot.order
        values = np.zeros(0) if balance is None else balance.values
        if not len(self.snapshot.ordered.isolated):
            return (values, row) if balances is None else (values[balances], balances.astype(np.int32)[row])
        cross = number == CROSS
        margin = self.snapshot.numbers("positions", "isolated_margin")
        wallet, rows = np.zeros(len(row)), row.copy()
        rows[cross] = row[cross] if balances is None else balances[row[cross]]
        rows[~cross] = row[~cross] if order is None else order[row[~cross]]
        wallet[cross] = values[rows[cross]]
        if margin is not None:
            wallet[~cross] = margin.values[rows[~cross]]
        return wallet, rows

    def _rows(self, code: str, wrong: npt.NDArray[np.bool_], what: str, hint: str) -> None:
        rows = np.flatnonzero(wrong) if wrong.any() else np.zeros(0, np.int64)
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


def _rising(owner: Ints, currency: Ints) -> bool:
    """Return whether balances stand by account, and by currency within an account."""
    same = (owner[1:] == owner[:-1]) & (currency[1:] > currency[:-1])
    return bool(((owner[1:] > owner[:-1]) | same).all())


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
