"""An independent evaluation in plain Python and exact fractions, from the definitions alone.

It takes the tiers as (cap, rate) pairs and charges each slice of the notional at its own rate, so it knows
no deductions; prices are found by looking at every breakpoint of the margin curve.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

Tiers = Sequence[tuple[Fraction | None, Fraction]]


def maintenance(notional: Fraction, tiers: Tiers) -> Fraction:
    """Each slice of the notional at the rate of its tier; above the last cap, at the last rate."""
    total, floor = Fraction(0), Fraction(0)
    for number, (cap, rate) in enumerate(tiers):
        top = notional if cap is None or number == len(tiers) - 1 else min(cap, notional)
        if top <= floor:
            break
        total += (top - floor) * rate
        floor = top
    return total


class Position:
    """One position: signed quantity, entry price, and its tiers."""

    def __init__(self, instrument: str, quantity: Fraction, entry: Fraction, tiers: Tiers) -> None:
        self.instrument, self.quantity, self.entry, self.tiers = instrument, quantity, entry, tiers

    def profit(self, price: Fraction) -> Fraction:
        return self.quantity * (price - self.entry)

    def maintenance(self, price: Fraction) -> Fraction:
        return maintenance(abs(self.quantity) * price, self.tiers)


class Bucket:
    """A balance and the positions that it stands behind."""

    def __init__(self, balance: Fraction, positions: Sequence[Position]) -> None:
        self.balance, self.positions = balance, positions

    def equity(self, marks: dict[str, Fraction]) -> Fraction:
        return self.balance + sum((p.profit(marks[p.instrument]) for p in self.positions), Fraction(0))

    def maintenance(self, marks: dict[str, Fraction]) -> Fraction:
        return sum((p.maintenance(marks[p.instrument]) for p in self.positions), Fraction(0))

    def health(self, marks: dict[str, Fraction]) -> Fraction:
        return self.equity(marks) - self.maintenance(marks)

    def liquidation_price(self, position: Position, marks: dict[str, Fraction]) -> Fraction | None:
        """The zero of health nearest to the mark, going the adverse way; the favourable way when below zero."""
        mark = marks[position.instrument]

        def health(price: Fraction) -> Fraction:
            return self.health({**marks, position.instrument: price})

        up = (position.quantity < 0) != (health(mark) < 0)
        size = abs(position.quantity)
        edges = sorted(cap / size for cap, _ in position.tiers[:-1] if cap is not None)
        if up:
            stops = [mark, *(e for e in edges if e > mark), max([mark, *edges]) * 10**18]
        else:
            stops = [mark, *(e for e in reversed(edges) if e < mark), Fraction(0)]
        for near, far in itertools.pairwise(stops):
            a, b = health(near), health(far)
            if a == 0:
                return near
            if a * b <= 0:
                root = near + (far - near) * a / (a - b)
                return root if root > 0 else None
        return None
