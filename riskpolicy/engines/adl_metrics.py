"""What one deleveraging did, and what a wave of them did, in numbers; pure functions over outcomes."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeAlias

from riskpolicy.engines.core.adl import Allocation, Candidate, Demand

Of: TypeAlias = Literal["profit", "contracts"]
#: A fraction, infinite where money is taken from somebody who has no profit.
Share: TypeAlias = Fraction | float

ZERO = Fraction(0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One policy's answer to one demand; money in the settlement currency, one entry a candidate in each tuple.

    `needed` is what the demand asks to raise, `deficit` what the bankrupt side lacks. `taken` is what each loses
    against the mark, `closed` the share of its contracts that it gives, from 0 to 1.
    """

    needed: Fraction
    deficit: Fraction
    taken: tuple[Fraction, ...]
    closed: tuple[Fraction, ...]
    profit: tuple[Fraction, ...]
    scores: tuple[Fraction | None, ...]


def outcome(demand: Demand, candidates: Sequence[Candidate], allocation: Allocation) -> Outcome:
    """Return what an allocation of contracts does, at the demand's execution price.

    At a price that is better than the mark for those who give, nothing is needed and nothing taken.
    """
    return Outcome(
        needed=max(ZERO, demand.lost(demand.contracts)),
        deficit=demand.deficit,
        taken=tuple(max(ZERO, demand.lost(g)) for g in allocation.given),
        closed=tuple(g / c.contracts if g else ZERO for g, c in zip(allocation.given, candidates, strict=True)),
        profit=tuple(max(ZERO, c.unrealized_pnl) for c in candidates),
        scores=tuple(c.score for c in candidates),
    )


def paid_outcome(demand: Demand, candidates: Sequence[Candidate], paid: Sequence[Fraction]) -> Outcome:
    """Return what a haircut on profit does: money is paid, no contract is closed, and the deficit is what is needed."""
    profit = tuple(max(ZERO, c.unrealized_pnl) for c in candidates)
    scores = tuple(c.score for c in candidates)
    return Outcome(demand.deficit, demand.deficit, tuple(paid), (ZERO,) * len(profit), profit, scores)


# --- money ---


def budget(o: Outcome) -> Fraction:
    """Return the money that was raised: the sum over fills of |mark - execution| x size."""
    return sum(o.taken, ZERO)


def overshoot(o: Outcome) -> Fraction:
    """Return by how much more was raised than needed, else 0."""
    return max(ZERO, budget(o) - o.needed)


def undershoot(o: Outcome) -> Fraction:
    """Return by how much less was raised than needed, else 0."""
    return max(ZERO, o.needed - budget(o))


def covered(o: Outcome) -> Fraction:
    """Return the part of the deficit that was raised."""
    return min(o.deficit, budget(o))


def residual(o: Outcome) -> Fraction:
    """Return the part of the deficit that was not raised, and is left to socialise."""
    return o.deficit - covered(o)


# --- who gives ---


def participation(o: Outcome) -> Fraction:
    """Return the share of the candidates that give anything; 0 where there are none."""
    giving = sum(1 for t, c in zip(o.taken, o.closed, strict=True) if t or c)
    return Fraction(giving, len(o.taken)) if o.taken else ZERO


def haircuts(o: Outcome, of: Of = "profit") -> tuple[Share, ...]:
    """Return the fraction that each gives: money of its profit, or contracts of its contracts.

    Of profit it may be above 1, and is infinite where money is taken of none.
    """
    if of == "contracts":
        return o.closed
    return tuple(_fraction(t, w) for t, w in zip(o.taken, o.profit, strict=True))


def _fraction(taken: Fraction, profit: Fraction) -> Share:
    if not taken:
        return ZERO
    return taken / profit if profit else math.inf


def largest_haircut(o: Outcome, of: Of = "profit") -> Share:
    """Return the largest fraction, 0 where nobody gives."""
    return max(haircuts(o, of), default=ZERO)


def median_haircut(o: Outcome, of: Of = "profit") -> Share:
    """Return the median fraction of those who give anything, 0 where nobody does."""
    giving = sorted(h for h in haircuts(o, of) if h)
    if not giving:
        return ZERO
    low, high = giving[(len(giving) - 1) // 2], giving[len(giving) // 2]
    if not isinstance(low, Fraction) or not isinstance(high, Fraction):
        return math.inf
    return (low + high) / 2


def rank_inversions(o: Outcome) -> int:
    """Return how many pairs there are in which the one of higher score gives the smaller fraction of its contracts.

    Of a haircut on profit, the smaller fraction of its profit. Equal scores, and candidates without one, make no pair.
    """
    fractions = o.closed if any(o.closed) else haircuts(o)
    scored = sorted((s, f) for s, f in zip(o.scores, fractions, strict=True) if s is not None)
    # From the lowest score on: those seen before have a lower score, and are inverted where their fraction is larger.
    seen: list[Share] = []
    pairs, start = 0, 0
    while start < len(scored):
        end = start
        while end < len(scored) and scored[end][0] == scored[start][0]:
            end += 1
        group = [f for _, f in scored[start:end]]
        pairs += sum(len(seen) - _not_above(seen, f) for f in group)
        for f in group:
            seen.insert(bisect_left(seen, f), f)
        start = end
    return pairs


def _not_above(ordered: Sequence[Share], value: Share) -> int:
    """Return how many of an ordered list are not above a value."""
    low, high = 0, len(ordered)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if ordered[middle] <= value else (low, middle)
    return low


def top_survivor(o: Outcome) -> Fraction:
    """Return the largest profit that anybody keeps."""
    return max((w - t for w, t in zip(o.profit, o.taken, strict=True)), default=ZERO)


def top_survivor_over_covered(o: Outcome) -> Fraction | None:
    """Return the top survivor's profit over the part of the deficit that was raised; None where that is 0."""
    part = covered(o)
    return top_survivor(o) / part if part else None


def top_survivor_over_uncovered(o: Outcome) -> Fraction | None:
    """Return the top survivor's profit over the part of the deficit that was not raised; None where that is 0."""
    part = residual(o)
    return top_survivor(o) / part if part else None


def churn(o: Outcome) -> float:
    """Return the mean over the candidates of 1 - exp(-5 x haircut on profit): a proxy for how many would leave."""
    leaving = [-math.expm1(-5 * float(h)) for h in haircuts(o)]
    return math.fsum(leaving) / len(leaving) if leaving else 0.0


# --- a wave of events ---


def path_variation(values: Sequence[Fraction]) -> Fraction:
    """Return the sum of |change| from each value of a wave to the next: of severities, budgets or fractions."""
    return sum((abs(b - a) for a, b in itertools.pairwise(values)), ZERO)


def tracking(budgets: Sequence[Fraction], needed: Sequence[Fraction]) -> Fraction:
    """Return the sum over a wave of |budget - needed|, in money."""
    return sum((abs(b - n) for b, n in zip(budgets, needed, strict=True)), ZERO)


def fairness(needed: Sequence[Fraction], largest: Sequence[Share], reference: Sequence[Share]) -> Share:
    """Return the sum over a wave of needed x |largest fraction - that of a reference policy|, in money.

    Infinite where one of the two takes money from somebody without profit and the other does not.
    """
    total = ZERO
    for n, a, b in zip(needed, largest, reference, strict=True):
        if not n or a == b:
            continue
        if not isinstance(a, Fraction) or not isinstance(b, Fraction):
            return math.inf
        total += n * abs(a - b)
    return total


@dataclass(frozen=True, slots=True)
class Wave:
    """A wave of events under one policy: its sums, in money, and what it is against a reference policy."""

    budget: Fraction
    needed: Fraction
    overshoot: Fraction
    undershoot: Fraction
    residual: Fraction
    path_variation: Fraction
    tracking: Fraction
    fairness: Share


def wave(outcomes: Sequence[Outcome], reference: Sequence[Outcome]) -> Wave:
    """Return the sums over a wave; path variation is that of the budgets, the reference answers the same demands."""
    budgets, needs = [budget(o) for o in outcomes], [o.needed for o in outcomes]
    largest = [largest_haircut(o) for o in outcomes]
    return Wave(
        budget=sum(budgets, ZERO),
        needed=sum(needs, ZERO),
        overshoot=sum((overshoot(o) for o in outcomes), ZERO),
        undershoot=sum((undershoot(o) for o in outcomes), ZERO),
        residual=sum((residual(o) for o in outcomes), ZERO),
        path_variation=path_variation(budgets),
        tracking=tracking(budgets, needs),
        fairness=fairness(needs, largest, [largest_haircut(o) for o in reference]),
    )
