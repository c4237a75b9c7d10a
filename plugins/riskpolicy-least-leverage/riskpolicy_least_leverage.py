"""Deleveraging that leaves the largest leverage on the winning side as small as it can be.

What stays of each position is min(contracts, L x equity / price), with one level L for all that makes the contracts
given sum to the demand; who has no equity closes first. Source: arXiv 2603.15963. Solved exactly: the level is found
among the leverages that are there, then contracts are rounded down to lots and the lots left over go to whoever has the
largest leverage at that moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import riskpolicy as rp
from riskpolicy.engines.core.adl import Allocation, Candidate, Demand

ZERO = Fraction(0)


def level(people: Sequence[Candidate], contracts: Fraction) -> Fraction:
    """Return contracts an amount of equity may keep, so that `contracts` are given; everybody has equity above zero."""
    order = sorted(people, key=lambda c: -c.contracts / c.equity)
    held = weight = ZERO
    for k, c in enumerate(order):
        held += c.contracts
        weight += c.equity
        found = (held - contracts) / weight
        below = order[k + 1].contracts / order[k + 1].equity if k + 1 < len(order) else ZERO
        if found >= below:
            return max(ZERO, found)
    return ZERO


class LeastLeverage:
    """The plugin."""

    @rp.hookimpl
    def laws(self) -> Sequence[str]:
        """In whole lots; the entry price does not matter."""
        return ("contracts_opposite", "exhaustive", "entry_free")

    @rp.hookimpl
    def allocate_adl(self, demand: Demand, candidates: Sequence[Candidate]) -> Allocation:
        """Give what is above the level; caps hold, and what they cut off is taken from the others."""
        given = [ZERO] * len(candidates)
        left = demand.contracts
        first = sorted((i for i, c in enumerate(candidates) if c.equity <= 0), key=lambda i: candidates[i].account)
        for i in first:
            given[i] = lots(candidates[i], min(left, candidates[i].cap), demand.lot)
            left -= given[i]
        able = [i for i, c in enumerate(candidates) if c.equity > 0 and c.cap > 0]
        total = sum((candidates[i].contracts for i in able), ZERO)
        if able and left > 0:
            keep = level([candidates[i] for i in able], min(left, total))
            for i in able:
                c = candidates[i]
                given[i] = lots(c, min(c.cap, max(ZERO, c.contracts - keep * c.equity)), demand.lot)
            left = demand.contracts - sum(given, ZERO)
        while left > 0:
            able = [i for i, c in enumerate(candidates) if one_more(c, given[i], min(left, demand.lot), demand.lot)]
            if not able:
                break
            i = max(able, key=lambda i: (leverage(candidates[i], given[i]), candidates[i].account))
            more = one_more(candidates[i], given[i], min(left, demand.lot), demand.lot)
            given[i] += more
            left -= more
        reasons = [None if g else "its leverage stays below the level, or its cap is zero" for g in given]
        return Allocation(tuple(given), tuple(reasons), left)


def lots(candidate: Candidate, contracts: Fraction, lot: Fraction) -> Fraction:
    """Return contracts rounded down to whole lots, or the whole position."""
    return contracts if contracts == candidate.contracts else contracts // lot * lot


def one_more(candidate: Candidate, given: Fraction, most: Fraction, lot: Fraction) -> Fraction:
    """Return what may be taken on top: one lot, or the rest of the position, within the cap; zero for nothing."""
    after = min(given + most, candidate.cap)
    whole = lots(candidate, after, lot)
    return whole - given if whole > given else ZERO


def leverage(candidate: Candidate, given: Fraction) -> Fraction:
    """Return contracts left an amount of equity; beyond all others where there is no equity."""
    kept = candidate.contracts - given
    return kept / candidate.equity if candidate.equity > 0 else kept * 10**30


plugin = LeastLeverage()
