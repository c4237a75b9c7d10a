"""The price at which a bucket's health changes its sign, whatever its margin curve: exact, one question at a time.

Along x, the price or 1 / price of an inverse, health is concave between the points at which a tier, a clip or a netting
side changes, so that what happens between two of them follows from a few exact evaluations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import pairwise

from riskpolicy.engines.core.bound import Bound
from riskpolicy.engines.core.exact import Change, ExactBucket, ExactPosition
from riskpolicy.plan.plan import Curve, Market

#: Health at x.
Health = Callable[[Fraction], Fraction]
_FAR = 2**40
_DIGITS = Fraction(1, 2**70)


def boundary_price(
    bound: Bound, i: int, health_of: Callable[[ExactBucket], Fraction], *, triggered: bool
) -> Fraction | None:
    """Return the price of position i's market at which the health of its bucket changes its sign, None where none is.

    The market moves alone, away from the mark: in the adverse direction of what the bucket holds of it, or in the
    favourable one where it is triggered. Of several boundaries the one nearest to the mark.
    """
    bucket, number = int(bound.positions.bucket[i]), int(bound.positions.instrument[i])
    inverse = bound.plan.instruments.inverse[number]
    now = ExactBucket(bound, bucket)
    legs = [p for p in now.positions if p.number == number]
    exposure = sum((p.size for p in legs), Fraction(0)) or now.positions[now.members.index(i)].size
    if exposure == 0:
        return None
    mark = bound.exact_mark(number)

    def health(x: Fraction) -> Fraction:
        return health_of(ExactBucket(bound, bucket, Change(marks={number: 1 / x if inverse else x})))

    start = 1 / mark if inverse else mark
    gains_with_x = (exposure > 0) != inverse
    up = gains_with_x == triggered
    found = first_change(health, start, _changes(legs), up=up)
    return None if found is None else 1 / found if inverse else found


def first_change(health: Health, start: Fraction, changes: Iterable[Fraction], *, up: bool) -> Fraction | None:
    """Return the first x from `start` on at which health changes its sign; None where it never does.

    `changes` are the points between which health is concave and continuous.
    """
    below = health(start) < 0
    stops = sorted({x for x in changes if x > 0 and (x > start if up else x < start)}, reverse=not up)
    # Far enough on either side for any price; the last stretch has no further changes.
    last = max([start, *stops]) * _FAR if up else min([start, *stops]) / _FAR
    for near, far in pairwise([start, *stops, last]):
        inside = [near + (far - near) * Fraction(k, 64) for k in (1, 16, 32, 48, 63)]
        root = _crossing(health, near, inside, far, below=below)
        if root is not None:
            return root
        beyond = far + (far - near) * _DIGITS
        if far != last and (health(beyond) < 0) != below:
            return far
    return None


def _crossing(health: Health, near: Fraction, inside: list[Fraction], far: Fraction, *, below: bool) -> Fraction | None:
    """Return the first change of sign strictly between two points."""
    # The ends belong to other pieces where health jumps there: step inside.
    low, high = near + (far - near) * _DIGITS, far - (far - near) * _DIGITS
    at_low, at_high = health(low), health(high)
    if (at_low < 0) != below:
        return near
    if (at_high < 0) == below:
        if not below:
            return None  # concave and not below zero at both ends
        peak = _peak(health, low, high)
        if health(peak) < 0:
            return None
        high, at_high = peak, health(peak)
    middle = (low + high) / 2
    if health(middle) * 2 == at_low + at_high and health(inside[1]) == at_low + (at_high - at_low) * (
        (inside[1] - low) / (high - low)
    ):
        return low + (high - low) * at_low / (at_low - at_high)
    while abs(high - low) > abs(high) * _DIGITS:
        middle = (low + high) / 2
        if (health(middle) < 0) == below:
            low = middle
        else:
            high = middle
    return high


def _peak(health: Health, low: Fraction, high: Fraction) -> Fraction:
    """Return where a concave function is highest, or a point where it is not below zero."""
    while abs(high - low) > abs(high) * Fraction(1, 2**40):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        at_left, at_right = health(left), health(right)
        if at_left >= 0 or at_right >= 0:
            return left if at_left >= 0 else right
        if at_left < at_right:
            low = left
        else:
            high = right
    return low


def _changes(legs: Iterable[ExactPosition]) -> list[Fraction]:
    """Return the points at which a position's requirement changes its form."""
    out = []
    for leg in legs:
        size = abs(leg.size)
        if size == 0 or leg.rules.entry_basis or not _moves(leg):
            continue
        tables = leg.plan.tiers
        first, end = int(tables.start[leg.table]), int(tables.start[leg.table + 1])
        out += [cap / size for cap in (tables.exact[t].cap for t in range(first, end)) if cap is not None]
        curve = leg.rules.maintenance
        if curve is not None:
            out += [key / size for key in _clips(curve, leg.bound.exact_measure(leg.number, curve))]
        if leg.rules.formula is not None:
            # Of a formula nothing is known: look closely.
            here = 1 / leg.mark_price if leg.inverse else leg.mark_price
            out += [here * Fraction(9, 8) ** k for k in range(-64, 65) if k]
    return out


def _moves(leg: ExactPosition) -> bool:
    """Return whether the key changes with the price."""
    key = leg.rules.key
    return key == "notional" or (key == "coin" and leg.inverse) or (key == "quote_value" and not leg.inverse)


def _clips(curve: Curve, measure: Fraction | None) -> list[Fraction]:
    """Return the keys at which a curve meets its least or most."""
    if curve.market is Market.OPEN_INTEREST:
        return []
    out = []
    for rate in (curve.least, curve.most):
        gap = rate - curve.offset
        if gap <= 0:
            continue
        if curve.slope and not curve.factor:
            out.append(gap / curve.slope)
        elif curve.factor and not curve.slope:
            out.append((gap / curve.factor) ** 2 * (1 if measure is None else measure))
    return out


def nearest_float(value: Fraction | None) -> float:
    """Return a price as a float, NaN for none or one beyond floats."""
    if value is None or value <= 0:
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan
