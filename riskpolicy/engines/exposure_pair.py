"""A hedge of two positions, in two accounts or at two venues: what is left of one when the other is deleveraged."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from riskpolicy.engines.exposure import Exposure, Scenario, money, number
from riskpolicy.errors import Finding, QueryError


@dataclass(frozen=True, slots=True)
class Orphaned:
    """What is left without its hedge at the move that takes the first, or the last, contract of the other leg.

    `move` is that of the market of the leg that is taken; the other market is taken to move alike, to `mark_price`.
    `size` is unsigned units of the underlying that were hedged and are not any more, `notional` their value at
    `mark_price` in the settlement currency of the leg that is left. All None where no move takes the contract. Of an
    inverse a unit is one at the mark of now.
    """

    move: Fraction | None = None
    mark_price: Fraction | None = None
    size: Fraction | None = None
    notional: Fraction | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return move, price and size as numbers, the notional as decimal text."""
        return {"move": number(self.move), "mark_price": number(self.mark_price), "size": number(self.size),
                "notional": money(self.notional)}  # fmt: skip


@dataclass(frozen=True, slots=True)
class OrphanedLeg:
    """One leg, `left` when the other, `taken`, is deleveraged: at its first and at its last contract."""

    taken: Exposure
    left: Exposure
    first: Orphaned
    last: Orphaned

    def to_dict(self) -> dict[str, Any]:
        """Return the legs by account and instrument, and what is orphaned."""
        return {
            "taken": {"account": self.taken.account, "instrument": self.taken.instrument},
            "left": {"account": self.left.account, "instrument": self.left.instrument, "side": self.left.side,
                     "currency": self.left.currency},
            "first": self.first.to_dict(), "last": self.last.to_dict(),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class HedgedPair:
    """Two opposite positions in one underlying. `hedged` and `unhedged` are unsigned units of it, now."""

    hedged: Fraction
    unhedged: Fraction
    legs: tuple[OrphanedLeg, OrphanedLeg]

    @property
    def nearest(self) -> OrphanedLeg | None:
        """The leg that is orphaned by the smaller move, the first named of equal ones; None where no move does."""
        reached = [(abs(leg.first.move), leg) for leg in self.legs if leg.first.move is not None]
        return min(reached, key=lambda pair: pair[0])[1] if reached else None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON: money as decimal text, sizes and moves as numbers."""
        return {"hedged": number(self.hedged), "unhedged": number(self.unhedged),
                "legs": [leg.to_dict() for leg in self.legs]}  # fmt: skip


def hedged_pair(a: Exposure, b: Exposure) -> HedgedPair:
    """Return what two exposures mean for each other: which leg is orphaned, at what move, and how much of it.

    The exposures may be of two evaluations, under two rulesets; that both are in one underlying is the caller's
    word. QueryError unless one is long and the other short.
    """
    if {a.side, b.side} != {"long", "short"}:
        sides = " and ".join(x.side or "nothing" for x in (a, b))
        raise QueryError(Finding("invalid_value", f"the legs are {sides}", "a hedge is one long and one short"))
    hedged = min(abs(a.size), abs(b.size))
    return HedgedPair(hedged, abs(a.size + b.size), (_leg(a, b), _leg(b, a)))


def _leg(taken: Exposure, left: Exposure) -> OrphanedLeg:
    first, last = taken.scenarios
    return OrphanedLeg(taken, left, _orphaned(taken, left, first), _orphaned(taken, left, last))


def _orphaned(taken: Exposure, left: Exposure, scenario: Scenario) -> Orphaned:
    if scenario.move is None or scenario.taken is None:
        return Orphaned()
    mark = left.mark_price * (1 + scenario.move)
    # Sizes as they are now: those of an inverse would be others at the mark then, on either leg.
    own, other = abs(taken.size), abs(left.size)
    size = min(own, other) - min(own * (1 - scenario.taken / taken.quantity), other)
    return Orphaned(scenario.move, mark, size, size * left.mark_price / mark if left.inverse else size * mark)
