"""Who gives how much of a loss: the allocation policies as pure functions over exact capacities.

Every function takes what each may give at most, and the amount to raise; returns what each gives, summing to the
smaller of the amount and what there is. Nobody gives beyond its capacity. The result is in the order of the arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

Amounts = Sequence[Fraction]


def queue(capacity: Amounts, order: Sequence[int], budget: Fraction) -> list[Fraction]:
    """Take greedily in the given order; at most one gives in part."""
    given = [Fraction(0)] * len(capacity)
    left = budget
    for i in order:
        given[i] = min(left, max(Fraction(0), capacity[i]))
        left -= given[i]
        if left <= 0:
            break
    return given


def pro_rata(capacity: Amounts, budget: Fraction) -> list[Fraction]:
    """Take the same fraction of everybody's capacity."""
    able = [max(Fraction(0), c) for c in capacity]
    total = sum(able, Fraction(0))
    fraction = min(Fraction(1), budget / total) if total else Fraction(0)
    return [c * fraction for c in able]


def capped_equal(capacity: Amounts, budget: Fraction) -> list[Fraction]:
    """Take the same amount of everybody, none beyond its capacity: the water level that raises the budget."""
    able = [max(Fraction(0), c) for c in capacity]
    left, level = min(budget, sum(able, Fraction(0))), Fraction(0)
    rest = sorted(able)
    for k, c in enumerate(rest):
        if (c - level) * (len(rest) - k) >= left:
            level += left / (len(rest) - k)
            break
        left -= (c - level) * (len(rest) - k)
        level = c
    return [min(c, level) for c in able]


def water_level(weights: Amounts, capacity: Amounts, budget: Fraction) -> list[Fraction]:
    """Take min(level x weight, capacity) of everybody: the one level that raises the budget.

    Who has no weight gives nothing, so that less than the budget may be raised.
    """
    able = [max(Fraction(0), c) if w > 0 else Fraction(0) for w, c in zip(weights, capacity, strict=True)]
    if budget >= sum(able, Fraction(0)):
        return able
    left, weight = max(Fraction(0), budget), sum((w for w, c in zip(weights, able, strict=True) if c), Fraction(0))
    level = Fraction(0)
    for filled, w, c in sorted((c / w, w, c) for w, c in zip(weights, able, strict=True) if c):
        level = left / weight
        if level <= filled:
            break
        left -= c
        weight -= w
    return [min(c, level * w) for w, c in zip(weights, able, strict=True)]


def in_lots(shares: Amounts, capacity: Sequence[int], lots: int) -> list[int]:
    """Return whole lots for fractional shares by the largest remainder, none beyond its capacity.

    What a cap cuts off goes on to whoever has room, the largest remainder first, then the first one; so that all lots
    are given as long as there is room.
    """
    given = [min(int(s), c) for s, c in zip(shares, capacity, strict=True)]
    left = min(lots, sum(capacity)) - sum(given)
    while left > 0:
        able = [i for i, c in enumerate(capacity) if given[i] < c]
        for i in sorted(able, key=lambda i: (-(shares[i] - given[i]), i))[:left]:
            given[i] += 1
            left -= 1
    return given


def least_leverage(quantity: Amounts, equity: Amounts, price: Fraction, contracts: Fraction) -> list[Fraction]:
    """Return the contracts that each gives so that the largest leverage left is as small as it can be.

    What stays is min(quantity, level x equity / price); who has no equity closes first, in the given order.
    """
    given = [Fraction(0)] * len(quantity)
    left = min(contracts, sum(quantity, Fraction(0)))
    for i, (q, e) in enumerate(zip(quantity, equity, strict=True)):
        if e <= 0:
            given[i] = min(left, q)
            left -= given[i]
    able = [i for i, e in enumerate(equity) if e > 0 and quantity[i] > 0]
    if left <= 0 or not able:
        return given
    # Above the level everybody keeps level x equity / price: lower it past one leverage after the other.
    by_leverage = sorted(able, key=lambda i: -(quantity[i] * price / equity[i]))
    level, weight = Fraction(0), Fraction(0)
    for k, i in enumerate(by_leverage):
        weight += equity[i] / price
        held = sum((quantity[j] for j in by_leverage[: k + 1]), Fraction(0))
        level = (held - left) / weight
        following = by_leverage[k + 1] if k + 1 < len(by_leverage) else None
        if following is None or level >= quantity[following] * price / equity[following]:
            break
    for i in able:
        given[i] = quantity[i] - min(quantity[i], max(Fraction(0), level) * equity[i] / price)
    return given


def least_leverage_within(
    quantity: Amounts, room: Amounts, equity: Amounts, price: Fraction, contracts: Fraction
) -> list[Fraction]:
    """Return what `least_leverage` does where only a part of a quantity, its room, may be taken.

    Who has no equity closes first; if not all of them close, each gives the same share of its room. Of the others
    max(quantity - room, min(quantity, level x equity / price)) stays.
    """
    first = [r if e <= 0 else Fraction(0) for r, e in zip(room, equity, strict=True)]
    given = pro_rata(first, contracts)
    left = min(contracts, sum(room, Fraction(0))) - sum(given, Fraction(0))
    able = [i for i, e in enumerate(equity) if e > 0 and room[i] > 0]
    if left <= 0:
        return given
    # Lower the level past the leverages at which somebody starts to give, or has given all its room.
    turns = [(quantity[i] * price / equity[i], equity[i] / price) for i in able]
    turns += [((quantity[i] - room[i]) * price / equity[i], -equity[i] / price) for i in able]
    turns.sort(key=lambda turn: -turn[0])
    level, slope, raised = turns[0][0], Fraction(0), Fraction(0)
    for at, change in turns:
        if slope and raised + slope * (level - at) >= left:
            break
        raised += slope * (level - at)
        level, slope = at, slope + change
    level -= (left - raised) / slope if slope else Fraction(0)
    for i in able:
        given[i] = min(room[i], max(Fraction(0), quantity[i] - level * equity[i] / price))
    return given


def drawdown_trigger(
    symbol_pnl: Fraction, peak: Fraction, pool_peak: Fraction, start: Fraction, stop: Fraction, *, active: bool
) -> tuple[Fraction, bool, Fraction]:
    """Return a symbol's drawdown over its pool's peak, whether deleveraging is on, and how much it must raise.

    It starts where the ratio is below `start` and goes on until it is above `stop`; it raises what brings the ratio
    back to `start`.
    """
    ratio = (symbol_pnl - peak) / pool_peak
    on = ratio <= stop if active else ratio < start
    return ratio, on, max(Fraction(0), (start - ratio) * pool_peak) if on else Fraction(0)
