"""A snapshot bound to a plan: instruments found, buckets formed, positions in canonical order.

Canonical order is that of the key: account, instrument, side. Sums run in it, so that the order of a snapshot's
rows never shows in a result.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from riskpolicy.kernel import _kernel
from riskpolicy.numbers import exact
from riskpolicy.plan.plan import Collateral, Curve, Market, Plan
from riskpolicy.snapshot.columns import Ids, Label, Numbers, plain
from riskpolicy.snapshot.snapshot import Snapshot

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Ints = npt.NDArray[np.int32]

CROSS = -1
#: What money is worth in its own currency: one object, so that nobody need multiply by it.
ZERO, ONE = exact(0), exact(1)
LONG, SHORT, FLAT = 0, 1, 2
#: Keys of tier tables, in the kernel's order.
KEYS = ("notional", "coin", "contracts", "quote_value")


@dataclass(frozen=True, slots=True)
class Positions:
    """Positions in canonical order: by account, instrument and side.

    `row` is a position's row in the snapshot, None where that is its place in this order. `leverage` is None where
    the snapshot has none, NaN where a value is absent; `accrued_funding` is None where there is none, 0 where a
    value is absent. The positions of account a are start[a] to start[a + 1].
    """

    row: Longs | None
    account: Ints
    instrument: Ints
    quantity: Floats
    entry_price: Floats
    leverage: Floats | None
    accrued_funding: Floats | None
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

    `row` is the row of its balance in `accounts` (-1 where several rows make it), or of its margin in `positions`.
    `wallet_balance` counts collateral by its maintenance weights, `initial_balance` by its initial ones (None where
    there is no other); `wallet_sizes` are sums of what a balance is made of, unsigned, where it is a sum. The buckets
    of account a are start[a] to start[a + 1].
    """

    account: Ints
    currency: Ints
    instrument: Ints
    row: Ints
    wallet_balance: Floats
    initial_balance: Floats | None
    wallet_sizes: Floats | None
    start: Ints


@dataclass(frozen=True, slots=True)
class Orders:
    """Open orders: the snapshot's rows by account; those of account a are start[a] to start[a + 1]."""

    row: Longs
    start: Ints
    instrument: Ints
    quantity: Floats
    reduce_only: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Bound:
    """Everything that the mechanisms read: one snapshot seen through one plan.

    `mark` is per instrument of the plan, NaN where the snapshot has no market; `market_row` is its row or -1.
    `fund_balance` is per fund of the plan, NaN where the snapshot does not say. `tables` is what the kernel reads.
    `price` is per instrument what one unit of its settlement currency is worth in the pool's, None where nothing is
    pooled. An order's quantity is above zero for a buy.
    """

    plan: Plan
    snapshot: Snapshot
    positions: Positions
    buckets: Buckets
    mark: Floats
    market_row: Longs
    fund_balance: Floats
    tables: _kernel.Tables
    price: Floats | None = None
    orders: Orders | None = None
    exact_marks: dict[int, Fraction] = field(default_factory=dict, repr=False)
    exact_measures: dict[int, Fraction] = field(default_factory=dict, repr=False)

    def members(self, bucket: int) -> list[int]:
        """Return the positions of a bucket, in canonical order."""
        p, account = self.positions, int(self.buckets.account[bucket])
        first, end = int(p.start[account]), int(p.start[account + 1])
        if self.buckets.start[account + 1] - self.buckets.start[account] == 1:
            return [*range(first, end)]
        return [i for i, of in enumerate(p.bucket[first:end].tolist(), first) if of == bucket]

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

    def exact_wallet(self, bucket: int, *, initial: bool = False) -> Fraction:
        """Return the exact balance behind a bucket, collateral at its maintenance or its initial weights."""
        cross = self.buckets.instrument[bucket] == CROSS
        if cross and self.plan.collateral is not None:
            return self._exact_purse(bucket, initial=initial)
        table, column = ("accounts", "balance") if cross else ("positions", "isolated_margin")
        return exact_of(self.snapshot.numbers(table, column), int(self.buckets.row[bucket]))

    def _exact_purse(self, bucket: int, *, initial: bool) -> Fraction:
        parts = self.purse_parts(bucket, initial=initial)
        return sum((amount * price * weight for _, amount, price, weight in parts), Fraction(0))

    def purse_parts(self, bucket: int, *, initial: bool = False) -> list[tuple[str, Fraction, Fraction, Fraction]]:
        """Return what a cross bucket's balance is made of: asset, amount, price and weight."""
        rules = self.plan.collateral
        assert rules is not None
        account, currency = int(self.buckets.account[bucket]), int(self.buckets.currency[bucket])
        parts, pool = [], self.plan.currencies[rules.currency]
        owners, named = self.snapshot.ids("accounts", "account").codes, self.snapshot.tables["accounts"]["currency"]
        assert isinstance(named, Ids)
        for row in np.flatnonzero(owners == account).tolist():
            name, balance = str(named.label(row)), exact_of(self.snapshot.numbers("accounts", "balance"), row)
            if rules.pooled:
                weight = weight_of(rules, name, pool, balance, initial=initial)
                parts.append((name, balance, self.exact_price(name), weight))
            elif name == self.plan.currencies[currency]:
                parts.append((name, balance, Fraction(1), Fraction(1)))
        held = self.snapshot.tables["collateral"].get("asset")
        if currency == rules.currency and isinstance(held, Ids):
            for row in np.flatnonzero(self.snapshot.ids("collateral", "account").codes == account).tolist():
                name, amount = str(held.label(row)), exact_of(self.snapshot.numbers("collateral", "amount"), row)
                weight = weight_of(rules, name, pool, amount, initial=initial)
                parts.append((name, amount, self.exact_price(name), weight))
        return parts

    def exact_price(self, asset: str) -> Fraction:
        """Return the exact price of an asset or currency in the collateral currency."""
        rules, table = self.plan.collateral, self.snapshot.tables["assets"].get("asset")
        if rules is None or asset == self.plan.currencies[rules.currency]:
            return Fraction(1)
        assert isinstance(table, Ids)
        row = next(i for i in range(len(table)) if str(table.label(i)) == asset)
        return exact_of(self.snapshot.numbers("assets", "price"), row)

    def exact_conversion(self, i: int) -> Fraction:
        """Return what one unit of position i's settlement currency is worth in that of its bucket."""
        return self.conversion_of(int(self.positions.bucket[i]), int(self.positions.instrument[i]))

    def exact_measure(self, instrument: int, curve: Curve) -> Fraction | None:
        """Return what a curve depends on: open interest in settlement money, or daily volume in units of the key."""
        if curve.market is Market.NONE:
            return None
        if instrument not in self.exact_measures:
            row = int(self.market_row[instrument])
            contracts = exact_of(self.snapshot.numbers("markets", curve.market.value), row)
            table = self.plan.tiers.tables[int(self.plan.instruments.table[instrument])]
            key = "notional" if curve.market is Market.OPEN_INTEREST else table.key
            self.exact_measures[instrument] = exact_key(
                self.plan, instrument, contracts, self.exact_mark(instrument), key
            )
        return self.exact_measures[instrument]

    def market_state(self, instrument: int) -> str:
        """Return the state of a market, open where the snapshot does not say."""
        row = int(self.market_row[instrument])
        return "open" if row < 0 else self.snapshot.choices("markets", "market_state").word(row)

    def exact_mark(self, instrument: int) -> Fraction:
        """Return the exact mark price of an instrument."""
        if instrument not in self.exact_marks:
            row = int(self.market_row[instrument])
            self.exact_marks[instrument] = exact_of(self.snapshot.numbers("markets", "mark_price"), row)
        return self.exact_marks[instrument]

    def bucket_of(self, account: int, instrument: int) -> int:
        """Return the bucket that an account's orders in an instrument belong to; -1 where there is none.

        That of its isolated position in it, if it has one, else its cross bucket in the settlement currency.
        """
        b = self.buckets
        for bucket in range(int(b.start[account]), int(b.start[account + 1])):
            if b.instrument[bucket] == instrument:
                return bucket
        return self.cross_bucket(account, instrument)

    def cross_bucket(self, account: int, instrument: int) -> int:
        """Return the cross bucket that an account's positions in an instrument would be in, -1 where it has none."""
        b, currency = self.buckets, int(self.plan.instruments.currency[instrument])
        if self.price is not None and self.plan.collateral is not None:
            currency = self.plan.collateral.currency
        for bucket in range(int(b.start[account]), int(b.start[account + 1])):
            if b.instrument[bucket] == CROSS and b.currency[bucket] == currency:
                return bucket
        return -1

    def conversion_of(self, bucket: int, instrument: int) -> Fraction:
        """Return what one unit of an instrument's settlement currency is worth in a bucket."""
        if self.price is None or self.buckets.instrument[bucket] != CROSS:
            return ONE
        return self.exact_price(self.plan.currencies[int(self.plan.instruments.currency[instrument])])

    def exact_funding(self, i: int) -> Fraction:
        """Return the exact accrued funding of position i."""
        given = self.snapshot.tables["positions"].get("accrued_funding")
        return ZERO if given is None else given.exact(self.positions.row_of(i)) or ZERO  # type: ignore[union-attr]

    def exact_order(self, r: int) -> Fraction:
        """Return the exact signed quantity of order r."""
        assert self.orders is not None
        remaining = exact_of(self.snapshot.numbers("orders", "remaining"), int(self.orders.row[r]))
        return remaining if self.orders.quantity[r] > 0 else -remaining

    def exact_position(self, i: int) -> tuple[Fraction, Fraction, Fraction | None]:
        """Return exact quantity, entry price and leverage (None where absent) of position i."""
        row = self.positions.row_of(i)
        leverage = self.snapshot.numbers("positions", "leverage")
        return (
            exact_of(self.snapshot.numbers("positions", "quantity"), row),
            exact_of(self.snapshot.numbers("positions", "entry_price"), row),
            None if leverage is None else leverage.exact(row),
        )


def exact_key(plan: Plan, instrument: int, contracts: Fraction, price: Fraction, key: str) -> Fraction:
    """Return what a key counts of some contracts (unsigned) at a price: notional, coin, contracts or quote_value."""
    size = contracts * plan.instruments.contract_size_exact[instrument]
    inverse = plan.instruments.inverse[instrument]
    if key == "contracts":
        return contracts
    if (key == "coin" and not inverse) or (key == "quote_value" and inverse):
        return size
    return size / price if inverse else size * price


def sums_of(group: npt.NDArray[Any], values: Floats, count: int) -> Floats:
    """Return the sum of the values of each of `count` groups, added in the order in which they stand."""
    return np.bincount(group, values, count).astype(np.float64, copy=False)


def weight_of(rules: Collateral, name: str, pool: str, amount: Fraction, *, initial: bool) -> Fraction:
    """Return what part of an asset counts: all of what is owed, and of the pool's own currency unless it says less."""
    weights = rules.weights.get(name)
    if amount < 0 or (weights is None and name == pool):
        return Fraction(1)
    if weights is None:
        return Fraction(0)
    return weights.initial if initial else weights.maintenance


def exact_of(column: Numbers | None, row: int) -> Fraction:
    """Return the exact value in a row that binding has found to be there."""
    value = None if column is None else column.exact(row)
    assert value is not None, "binding refuses missing values"
    return value
