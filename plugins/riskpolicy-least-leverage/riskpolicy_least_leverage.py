"""Deleveraging that leaves the largest leverage on the winning side as small as it can be.

What stays of each position is min(contracts, L x equity / price), with one level L for all that makes the contracts
given sum to the demand; who has no equity closes first. Source: arXiv 2603.15963. A cap bounds what is given, and what
it cuts off is taken of the others. Solved exactly: between two neighbouring levels at which somebody starts to give or
reaches its cap, what is given is linear.

In lots the least largest leverage is what taking lot after lot of whoever has the largest leverage then leads to, by
account where that is equal. Everybody comes down to any level on that way before it ends, so it starts at the level of
as many lots less as there are candidates, rounded up: that is never more than is asked.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from fractions import Fraction
from itertools import groupby

import riskpolicy as rp
from riskpolicy.hooks import Allocation, Candidate, Demand

ZERO = Fraction(0)


def level(people: Sequence[Candidate], contracts: Fraction) -> Fraction:
    """Return the contracts that an amount of equity may keep, so that `contracts` are given within the caps.

    Everybody has equity above zero; zero where they can not give as much.
    """
    # Downwards from infinity: at contracts / equity somebody starts to give, at (contracts - cap) / equity it ends.
    edges = [(c.contracts / c.equity, c.equity) for c in people if c.cap > 0]
    edges += [((c.contracts - c.cap) / c.equity, -c.equity) for c in people if c.cap > 0]
    edges.sort(key=lambda edge: -edge[0])
    given = weight = at = ZERO
    for edge, changes in groupby(edges, key=lambda edge: edge[0]):
        more = weight * (at - edge)
        if weight and given + more >= contracts:
            return at - (contracts - given) / weight
        given, at = given + more, edge
        weight += sum((change for _, change in changes), ZERO)
    return ZERO


class LeastLeverage:
    """The plugin."""

    @rp.hookimpl
    def laws(self) -> Sequence[str]:
        """Lot after lot, so a larger demand only goes on; the entry price does not matter."""
        return (
            "contracts_opposite", "budget_monotone", "exhaustive", "scale_free", "entry_free", "path_independent",
            "smooth",
        )  # fmt: skip

    @rp.hookimpl
    def allocate_adl(self, demand: Demand, candidates: Sequence[Candidate]) -> Allocation:
        """Give what is above the level."""
        given = [ZERO] * len(candidates)
        left = demand.contracts
        first = sorted((i for i, c in enumerate(candidates) if c.equity <= 0), key=lambda i: candidates[i].account)
        for i in first:
            given[i] = lots(candidates[i], min(left, most(candidates[i])), demand.lot)
            left -= given[i]
        able = [i for i, c in enumerate(candidates) if c.equity > 0]
        sure = left - len(able) * demand.lot
        if sure > 0:
            keep = level([candidates[i] for i in able], sure)
            for i in able:
                given[i] = lots_up(candidates[i], candidates[i].contracts - keep * candidates[i].equity, demand.lot)
                left -= given[i]
        left = spread(candidates, given, left, demand.lot)
        reasons = ["its cap is zero" if c.cap <= 0 else "its leverage stays below the level" for c in candidates]
        skipped = tuple(None if g else why for g, why in zip(given, reasons, strict=True))
        return Allocation(tuple(given), skipped, left)


def most(candidate: Candidate) -> Fraction:
    """Return the contracts that may be taken of a candidate."""
    return min(candidate.cap, candidate.contracts)


def lots(candidate: Candidate, contracts: Fraction, lot: Fraction) -> Fraction:
    """Return contracts rounded down to whole lots, or the whole position."""
    return contracts if contracts == candidate.contracts else contracts // lot * lot


def lots_up(candidate: Candidate, contracts: Fraction, lot: Fraction) -> Fraction:
    """Return contracts rounded up to whole lots, within the cap; zero for none or fewer."""
    up = -(-max(ZERO, contracts) // lot) * lot
    return lots(candidate, min(up, most(candidate)), lot)


def spread(candidates: Sequence[Candidate], given: list[Fraction], left: Fraction, lot: Fraction) -> Fraction:
    """Give what is left, a lot or the rest of a position at a time; return what nobody can give."""

    def next_of(i: int) -> tuple[bool, Fraction, str, int]:
        # Without equity the leverage is beyond all others, the most contracts first; a heap has the least at its top.
        c = candidates[i]
        kept = c.contracts - given[i]
        return c.equity > 0, -kept / c.equity if c.equity > 0 else -kept, c.account, i

    heap = [next_of(i) for i in range(len(candidates))]
    heapq.heapify(heap)
    while heap and left > 0:
        i = heapq.heappop(heap)[-1]
        c = candidates[i]
        # The rest of a position may be less than a lot; less than a lot of any other is none.
        more = lots(c, min(given[i] + min(lot, left), most(c)), lot) - given[i]
        if more > 0:
            given[i] += more
            left -= more
            heapq.heappush(heap, next_of(i))
    return left


plugin = LeastLeverage()
