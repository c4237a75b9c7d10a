"""The exact twin of the margin arithmetic: one position or bucket in fractions, nothing rounded.

Every number is computed when it is first asked for: a decision needs few of them.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from riskpolicy.engines.core.bound import ONE, Bound, exact_key
from riskpolicy.engines.core.funds import fund_behind, fund_number
from riskpolicy.engines.core.once import once
from riskpolicy.numbers import exact
from riskpolicy.plan.plan import Curve, Plan, Tier

ZERO = exact(0)
#: A number of a row; infinity and NaN (for a missing number) are floats.
Number: TypeAlias = Fraction | float


class Holding(NamedTuple):
    """Exact terms of a position, held or supposed: signed contracts, prices, and the numbers around it.

    `conversion` is what its settlement currency is worth in that of its bucket.
    """

    instrument: int
    quantity: Fraction
    entry_price: Fraction
    mark_price: Fraction
    leverage: Fraction | None = None
    accrued_funding: Fraction = ZERO
    conversion: Fraction = ONE

    def of_size(self, quantity: Fraction) -> Holding:
        """Return the same with other contracts."""
        number, _, entry, mark, leverage, funding, conversion = self
        return Holding(number, quantity, entry, mark, leverage, funding, conversion)


def filled(held: Holding, quantity: Fraction, price: Fraction, *, plan: Plan) -> tuple[Holding, Fraction]:
    """Return a position after a fill of signed contracts, and the profit that the fill realizes, in settlement money.

    What is added enters at the average price, of an inverse the harmonic one; what is closed leaves at its entry price.
    """
    after = held.quantity + quantity
    inverse = plan.instruments.inverse[held.instrument]
    if held.quantity * quantity >= 0:
        if after == 0:
            return held, ZERO
        parts = ((abs(held.quantity), held.entry_price), (abs(quantity), price))
        if inverse:
            entry = abs(after) / sum((size / at for size, at in parts), ZERO)
        else:
            entry = sum((size * at for size, at in parts), ZERO) / abs(after)
        return held._replace(quantity=after, entry_price=entry), ZERO
    closed = -quantity if abs(quantity) <= abs(held.quantity) else held.quantity
    size = closed * plan.instruments.contract_size_exact[held.instrument]
    change = 1 / held.entry_price - 1 / price if inverse else price - held.entry_price
    entry = held.entry_price if held.quantity * after >= 0 else price
    return held._replace(quantity=after, entry_price=entry), size * change


class ExactPosition:
    """One position, exactly; money in the settlement currency, quantity signed. `wallet` is its bucket's balance."""

    def __init__(self, bound: Bound, held: Holding, wallet: Fraction = ZERO) -> None:
        self.bound = bound
        self.plan = bound.plan
        self.held = held
        self.number = held.instrument
        self.wallet = wallet
        self.mark_price = held.mark_price
        self.quantity, self.entry_price = held.quantity, held.entry_price
        self.inverse = self.plan.instruments.inverse[self.number]
        self.table = int(self.plan.instruments.table[self.number])
        self.rules = self.plan.tiers.tables[self.table]

    @once
    def size(self) -> Fraction:
        """Signed quantity of the underlying; of an inverse, of the quote currency."""
        return self.quantity * self.plan.instruments.contract_size_exact[self.number]

    @once
    def entry_notional(self) -> Fraction:
        """Value at the entry price, unsigned."""
        return abs(self.size) / self.entry_price if self.inverse else abs(self.size) * self.entry_price

    @once
    def notional(self) -> Fraction:
        """Value at the mark price, unsigned."""
        return abs(self.size) / self.mark_price if self.inverse else abs(self.size) * self.mark_price

    @property
    def value(self) -> Fraction:
        """What requirements are taken from: the value at the table's basis."""
        return self.entry_notional if self.rules.entry_basis else self.notional

    @once
    def unrealized_pnl(self) -> Fraction:
        """Profit at the mark price."""
        if self.inverse:
            return self.size * (1 / self.entry_price - 1 / self.mark_price)
        return self.size * (self.mark_price - self.entry_price)

    @once
    def key(self) -> Fraction:
        """What the caps of its table count."""
        price = self.entry_price if self.rules.entry_basis else self.mark_price
        return exact_key(self.plan, self.number, abs(self.quantity), price, self.rules.key)

    @once
    def tier(self) -> Tier:
        """The tier of the key."""
        return self.plan.tiers.exact[tier_number(self.plan, self.table, self.key)]

    @property
    def leverage(self) -> Fraction | None:
        """As selected, or the tier's maximum."""
        return self.held.leverage if self.held.leverage is not None else self.tier.max_leverage

    @once
    def maintenance_rate(self) -> Fraction:
        """The rate of the tier, curve or formula."""
        if self.rules.formula is not None:
            rate = self.rules.formula.program.exact(_Row(_POSITION, self))
            return ZERO if rate is None else Fraction(rate)
        return self._rate(self.rules.maintenance, self.tier.rate)

    @once
    def initial_rate(self) -> Fraction | None:
        """The initial rate of the tier or curve, None where there is none."""
        if self.rules.initial is None:
            return self.tier.initial
        return self._rate(self.rules.initial, ZERO)

    def _rate(self, curve: Curve | None, of_tier: Fraction) -> Fraction:
        if curve is None:
            return of_tier
        return curve.rate(self.key, self.bound.exact_measure(self.number, curve))

    @once
    def maintenance_margin(self) -> Fraction:
        """By the tier or curve, rounded up to the quantum where the ruleset says so."""
        margin = self.value * self.maintenance_rate
        if self.tier.deduction:
            margin -= self.tier.deduction * self.value / self.key
        return self.rounded(margin)

    @once
    def initial_margin(self) -> Fraction | None:
        """By the rule margin.initial; None where that is undefined."""
        value = self.plan.initial.program.exact(_Row(_POSITION, self))
        return None if value is None else self.rounded(Fraction(value))

    def rounded(self, margin: Fraction) -> Fraction:
        """Return a requirement as it is booked."""
        if not self.plan.requirements.rounded_up:
            return margin
        quantum = self.plan.requirements.quantum[int(self.plan.instruments.currency[self.number])]
        return -(-margin // quantum) * quantum


class Change(NamedTuple):
    """What is different from the snapshot in one bucket: holdings by position, new ones, balance and open orders.

    An order is (instrument, signed contracts); `marks` replaces mark prices by instrument. `known` are positions as
    they are, with what is computed of them already; `wallet` is the balance of the snapshot where that was read before.
    """

    held: Mapping[int, Holding] = MappingProxyType({})
    added: tuple[Holding, ...] = ()
    balance: Fraction = ZERO
    orders: tuple[tuple[int, Fraction], ...] = ()
    marks: Mapping[int, Fraction] = MappingProxyType({})
    known: Mapping[int, ExactPosition] = MappingProxyType({})
    wallet: Fraction | None = None


_NOTHING = Change()


class ExactBucket:
    """One bucket, exactly, with its positions in canonical order, as it is or as it would be after a change."""

    def __init__(self, bound: Bound, bucket: int, change: Change = _NOTHING) -> None:
        self.bound = bound
        self.bucket = bucket
        self.change = change
        self.members = bound.members(bucket)
        wallet = bound.exact_wallet(bucket) if change.wallet is None else change.wallet
        self.wallet_balance: Fraction = wallet + change.balance
        self.positions = tuple(self._positions())

    def _positions(self) -> Iterator[ExactPosition]:
        change = self.change
        for i in self.members:
            known = change.known.get(i)
            if known is None:
                held = change.held.get(i) or holding(self.bound, i)
                known = ExactPosition(self.bound, self._marked(held), self.wallet_balance)
            yield known
        for held in change.added:
            yield ExactPosition(self.bound, self._marked(held), self.wallet_balance)

    def _marked(self, held: Holding) -> Holding:
        mark = self.change.marks.get(held.instrument)
        return held if mark is None else held._replace(mark_price=mark)

    def _sum(self, of: Callable[[ExactPosition], Fraction]) -> Fraction:
        total = ZERO
        for p in self.positions:
            # Most positions settle in the currency of their bucket: nothing to multiply by.
            total += of(p) if p.held.conversion is ONE else of(p) * p.held.conversion
        return total

    def _required(self, of: Callable[[ExactPosition], Fraction]) -> Fraction:
        """Return the sum of requirements, or that of the larger side of every netting group."""
        if not self.bound.plan.requirements.netting:
            return self._sum(of)
        sides: dict[int, list[Fraction]] = {}
        for p in self.positions:
            group = sides.setdefault(int(self.bound.plan.instruments.netting[p.number]), [ZERO, ZERO])
            group[p.quantity < 0] += of(p) * p.held.conversion
        return sum((max(group) for group in sides.values()), ZERO)

    @once
    def unrealized_pnl(self) -> Fraction:
        """Sum over the positions."""
        return self._sum(lambda p: p.unrealized_pnl)

    @once
    def accrued_funding(self) -> Fraction:
        """Sum over the positions."""
        return sum((p.held.accrued_funding * p.held.conversion for p in self.positions if p.held.accrued_funding), ZERO)

    @once
    def notional(self) -> Fraction:
        """Sum over the positions."""
        return self._sum(lambda p: p.notional)

    @property
    def equity(self) -> Fraction:
        """Wallet balance plus unrealized profit and accrued funding."""
        return self.wallet_balance + self.unrealized_pnl + self.accrued_funding

    @property
    def initial_equity(self) -> Fraction:
        """Equity with collateral at its initial weights: what initial margin is taken from."""
        wallet = self.bound.exact_wallet(self.bucket, initial=True) + self.change.balance
        return wallet + self.unrealized_pnl + self.accrued_funding

    @once
    def order_margin(self) -> Fraction:
        """What open orders add to initial margin."""
        return sum((self._added(size) for size in self.open_sizes), ZERO)

    def _added(self, size: OpenSize) -> Fraction:
        whole = ExactPosition(self.bound, size.holding, self.wallet_balance)
        margin = whole.initial_margin or ZERO
        own = sum((self.positions[k].initial_margin or ZERO for k in size.members), ZERO)
        return (margin - own) * size.holding.conversion

    @once
    def open_sizes(self) -> list[OpenSize]:
        """The worst case of each instrument with open orders that can add to a position.

        The larger of the position with all buys and that with all sells; of hedged sides, each with its own orders.
        """
        if not self.bound.plan.requirements.orders:
            return []
        sides: dict[int, list[Fraction]] = {}
        for number, quantity in (*open_orders(self.bound, self.bucket), *self.change.orders):
            sides.setdefault(number, [ZERO, ZERO])[quantity < 0] += abs(quantity)
        found = []
        for number in sorted(sides):
            members = [k for k, p in enumerate(self.positions) if p.number == number]
            found += self._worst(number, members, *sides[number])
        return found

    def _worst(self, number: int, members: list[int], buys: Fraction, sells: Fraction) -> list[OpenSize]:
        held = [self.positions[k].held for k in members]
        supposed = self.supposed(number)
        if self.bound.snapshot.ordered.sided:
            out = []
            for more, sign in ((buys, 1), (sells, -1)):
                legs = [(k, h) for k, h in zip(members, held, strict=True) if h.quantity * sign > 0]
                of = legs[0][1] if legs else supposed
                out.append(OpenSize(tuple(k for k, _ in legs), of._replace(quantity=of.quantity + sign * more)))
            return out
        of = held[0] if held else supposed
        both = (of.quantity + buys, of.quantity - sells)
        return [OpenSize(tuple(members), of._replace(quantity=max(both, key=abs)))]

    def supposed(self, number: int) -> Holding:
        """Return a position of no contracts in an instrument, entered at the mark."""
        mark = self.change.marks.get(number) or self.bound.exact_mark(number)
        conversion = self.bound.conversion_of(self.bucket, number)
        return Holding(number, ZERO, mark, mark, conversion=conversion)

    @once
    def initial_margin(self) -> Fraction:
        """Sum over the positions, and what open orders add."""
        return self._required(lambda p: p.initial_margin or ZERO) + self.order_margin

    @once
    def maintenance_margin(self) -> Fraction:
        """Sum over the positions."""
        return self._required(lambda p: p.maintenance_margin)

    @property
    def margin_ratio(self) -> Number:
        """maintenance / equity; infinite where equity <= 0 and margin is due, 0 where none is due."""
        due, equity = self.maintenance_margin, self.equity
        if due == 0:
            return ZERO
        return due / equity if equity > 0 else math.inf

    def row(self) -> Mapping[str, Number]:
        """Return the bucket as the row that the programs of bucket rules read."""
        return _Row(_BUCKET, self)


def holding(bound: Bound, i: int) -> Holding:
    """Return the exact terms of position i."""
    number = int(bound.positions.instrument[i])
    quantity, entry_price, leverage = bound.exact_position(i)
    mark, funding, conversion = bound.exact_mark(number), bound.exact_funding(i), bound.exact_conversion(i)
    return Holding(number, quantity, entry_price, mark, leverage, funding, conversion)


@dataclass(frozen=True, slots=True)
class OpenSize:
    """An instrument with open orders: the position that would be open if one side filled.

    `members` are the places of what is held of it now among the bucket's positions.
    """

    members: tuple[int, ...]
    holding: Holding


def open_orders(bound: Bound, bucket: int) -> list[tuple[int, Fraction]]:
    """Return (instrument, signed contracts) of a bucket's open orders that can add to a position.

    An account's orders belong to its isolated position in the instrument, if it has one, else to its cross bucket.
    """
    orders = bound.orders
    if orders is None:
        return []
    account = int(bound.buckets.account[bucket])
    rows = [r for r in range(int(orders.start[account]), int(orders.start[account + 1])) if not orders.reduce_only[r]]
    own = {n: bound.bucket_of(account, n) == bucket for n in {int(orders.instrument[r]) for r in rows}}
    return [(int(orders.instrument[r]), bound.exact_order(r)) for r in rows if own[int(orders.instrument[r])]]


class _Row(Mapping[str, Number]):
    """The names of an expression's table, each computed when it is read."""

    def __init__(self, makers: Mapping[str, Callable[..., Number]], *of: object) -> None:
        self._makers = makers
        self._of = of

    def __getitem__(self, name: str) -> Number:
        return self._makers[name](*self._of)

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


_BUCKET: dict[str, Callable[[ExactBucket], Number]] = {
    "wallet_balance": lambda b: b.wallet_balance,
    "unrealized_pnl": lambda b: b.unrealized_pnl,
    "notional": lambda b: b.notional,
    "accrued_funding": lambda b: b.accrued_funding,
    "equity": lambda b: b.equity,
    "initial_equity": lambda b: b.initial_equity,
    "initial_margin": lambda b: b.initial_margin,
    "maintenance_margin": lambda b: b.maintenance_margin,
    "margin_ratio": lambda b: b.margin_ratio,
}

# What is known of a position before margins are.
_POSITION: dict[str, Callable[[ExactPosition], Number]] = {
    "quantity": lambda p: p.quantity,
    "entry_price": lambda p: p.entry_price,
    "entry_notional": lambda p: p.entry_notional,
    "market_mark_price": lambda p: p.mark_price,
    "wallet_balance": lambda p: p.wallet,
    "notional": lambda p: p.notional,
    "unrealized_pnl": lambda p: p.unrealized_pnl,
    "max_leverage": lambda p: math.nan if p.tier.max_leverage is None else p.tier.max_leverage,
    "leverage": lambda p: math.nan if p.leverage is None else p.leverage,
    "maintenance_margin": lambda p: p.maintenance_margin,
    "maintenance_rate": lambda p: p.maintenance_rate,
    "initial_rate": lambda p: math.nan if p.initial_rate is None else p.initial_rate,
}


def _of_bucket(name: str) -> Callable[[ExactPosition, ExactBucket], Number]:
    return lambda _, b: _BUCKET[name](b)


def _of_position(name: str) -> Callable[[ExactPosition, ExactBucket], Number]:
    return lambda p, _: _POSITION[name](p)


_IN_BUCKET: dict[str, Callable[[ExactPosition, ExactBucket], Number]] = {
    **{name: _of_position(name) for name in _POSITION},
    # The balance as it is now: a position that has not changed may have been kept from before.
    "wallet_balance": lambda _, b: b.wallet_balance,
    "initial_margin": lambda p, _: p.initial_margin or ZERO,
    **{f"bucket_{name}": _of_bucket(name) for name in _BUCKET if name != "wallet_balance"},
}


def exact_bucket_row(bound: Bound, bucket: int, state: int | None = None) -> Mapping[str, Number]:
    """Return a bucket as the row that the programs of bucket rules read; its state is known once it is decided."""
    row = ExactBucket(bound, bucket).row()
    return row if state is None else ChainMap({"state": Fraction(state)}, FundRow(bound, bucket), row)  # type: ignore[arg-type]


class FundRow(dict[str, Number]):
    """The numbers of the fund behind a bucket, looked up when they are read; NaN where the snapshot does not say."""

    def __init__(self, bound: Bound, bucket: int) -> None:
        super().__init__()
        self.bound = bound
        self.bucket = bucket

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.startswith("fund_")

    def __getitem__(self, name: str) -> Number:
        if name not in self:
            raise KeyError(name)
        found = fund_number(self.bound, fund_behind(self.bound, self.bucket), name)
        return math.nan if found is None else found


def exact_position_row(bound: Bound, i: int) -> Mapping[str, Number]:
    """Return position i, in canonical order, as the row that the programs of position rules read."""
    bucket = ExactBucket(bound, int(bound.positions.bucket[i]))
    return position_row(bucket, bucket.members.index(i))


def position_row(bucket: ExactBucket, place: int) -> Mapping[str, Number]:
    """Return a position of a bucket as the row that the programs of position rules read."""
    return _Row(_IN_BUCKET, bucket.positions[place], bucket)


def exact_key_of(bound: Bound, i: int) -> Fraction:
    """Return what the caps of position i's tier table count, exactly."""
    return ExactPosition(bound, holding(bound, i)).key


def tier_number(plan: Plan, table: int, key: Fraction) -> int:
    """Return the tier of a key: at a cap, the one that owns the edge; above the last cap, the last."""
    tiers = plan.tiers
    first, end = int(tiers.start[table]), int(tiers.start[table + 1])
    lower = bool(tiers.edge_lower[table])
    for number in range(first, end - 1):
        cap = tiers.exact[number].cap
        if cap is None or key < cap or (lower and key == cap):
            return number
    return end - 1
