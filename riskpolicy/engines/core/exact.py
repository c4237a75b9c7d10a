"""The exact twin of the margin arithmetic: one position or bucket in fractions, nothing rounded.

Every number is computed when it is first asked for: a decision needs few of them.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import cached_property
from typing import TypeAlias

from riskpolicy.engines.core.bound import Bound
from riskpolicy.plan.plan import Plan, Tier

#: A number of a row; infinity and NaN (for a missing number) are floats.
Number: TypeAlias = Fraction | float


class ExactPosition:
    """One position, exactly; money in the settlement currency, quantity signed."""

    def __init__(self, bound: Bound, i: int, wallet: Fraction) -> None:
        self.plan = bound.plan
        self.number = int(bound.positions.instrument[i])
        self.wallet = wallet
        self.mark_price: Fraction = bound.exact_mark(self.number)
        self.quantity, self.entry_price, self._selected = bound.exact_position(i)

    @cached_property
    def size(self) -> Fraction:
        """Signed quantity of the underlying."""
        return self.quantity * self.plan.instruments.contract_size_exact[self.number]

    @cached_property
    def entry_notional(self) -> Fraction:
        """Value at the entry price, unsigned."""
        return abs(self.size) * self.entry_price

    @cached_property
    def notional(self) -> Fraction:
        """Value at the mark price, unsigned."""
        return abs(self.size) * self.mark_price

    @cached_property
    def unrealized_pnl(self) -> Fraction:
        """Profit at the mark price."""
        return self.size * (self.mark_price - self.entry_price)

    @cached_property
    def tier(self) -> Tier:
        """The tier of the notional."""
        table = int(self.plan.instruments.table[self.number])
        return self.plan.tiers.exact[tier_number(self.plan, table, self.notional)]

    @property
    def leverage(self) -> Fraction | None:
        """As selected, or the tier's maximum."""
        return self._selected if self._selected is not None else self.tier.max_leverage

    @cached_property
    def maintenance_margin(self) -> Fraction:
        """By the tier."""
        return self.notional * self.tier.rate - self.tier.deduction

    @cached_property
    def initial_margin(self) -> Fraction | None:
        """By the rule margin.initial; None where that is undefined."""
        value = self.plan.initial.program.exact(_Row(_POSITION, self))
        return None if value is None else Fraction(value)


class ExactBucket:
    """One bucket, exactly, with its positions in canonical order."""

    def __init__(self, bound: Bound, bucket: int) -> None:
        self.members = bound.members(bucket)
        self.wallet_balance: Fraction = bound.exact_wallet(bucket)
        self.positions = tuple(ExactPosition(bound, i, self.wallet_balance) for i in self.members)

    @cached_property
    def unrealized_pnl(self) -> Fraction:
        """Sum over the positions."""
        return sum((p.unrealized_pnl for p in self.positions), Fraction(0))

    @cached_property
    def notional(self) -> Fraction:
        """Sum over the positions."""
        return sum((p.notional for p in self.positions), Fraction(0))

    @property
    def equity(self) -> Fraction:
        """Wallet balance plus unrealized profit."""
        return self.wallet_balance + self.unrealized_pnl

    @cached_property
    def initial_margin(self) -> Fraction:
        """Sum over the positions."""
        return sum((p.initial_margin or Fraction(0) for p in self.positions), Fraction(0))

    @cached_property
    def maintenance_margin(self) -> Fraction:
        """Sum over the positions."""
        return sum((p.maintenance_margin for p in self.positions), Fraction(0))

    @property
    def margin_ratio(self) -> Number:
        """maintenance / equity; infinite where equity <= 0 and margin is due, 0 where none is due."""
        due, equity = self.maintenance_margin, self.equity
        if due == 0:
            return Fraction(0)
        return due / equity if equity > 0 else math.inf

    def row(self) -> Mapping[str, Number]:
        """Return the bucket as the row that the programs of bucket rules read."""
        return _Row(_BUCKET, self)


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
    "equity": lambda b: b.equity,
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
}


def _of_bucket(name: str) -> Callable[[ExactPosition, ExactBucket], Number]:
    return lambda _, b: _BUCKET[name](b)


def _of_position(name: str) -> Callable[[ExactPosition, ExactBucket], Number]:
    return lambda p, _: _POSITION[name](p)


_IN_BUCKET: dict[str, Callable[[ExactPosition, ExactBucket], Number]] = {
    **{name: _of_position(name) for name in _POSITION},
    "initial_margin": lambda p, _: p.initial_margin or Fraction(0),
    **{f"bucket_{name}": _of_bucket(name) for name in _BUCKET if name != "wallet_balance"},
}


def exact_bucket_row(bound: Bound, bucket: int, state: int | None = None) -> Mapping[str, Number]:
    """Return a bucket as the row that the programs of bucket rules read; its state is known once it is decided."""
    row = ExactBucket(bound, bucket).row()
    return row if state is None else ChainMap({"state": Fraction(state)}, row)  # type: ignore[arg-type]


def exact_position_row(bound: Bound, i: int) -> Mapping[str, Number]:
    """Return position i, in canonical order, as the row that the programs of position rules read."""
    bucket = ExactBucket(bound, int(bound.positions.bucket[i]))
    return _Row(_IN_BUCKET, bucket.positions[bucket.members.index(i)], bucket)


def exact_notional(bound: Bound, i: int) -> Fraction:
    """Return the exact notional of position i."""
    number = int(bound.positions.instrument[i])
    quantity, _, _ = bound.exact_position(i)
    return abs(quantity) * bound.plan.instruments.contract_size_exact[number] * bound.exact_mark(number)


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
