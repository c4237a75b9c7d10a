"""Policies in which everybody gives a share: pro rata, capped, by risk, in integers, and to the least leverage."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Literal, TypeAlias

from riskpolicy.engines import allocation
from riskpolicy.engines.core.adl import UNDER_A_LOT, AllocateAdl, Allocation, Candidate, Demand
from riskpolicy.engines.policies.rooms import (
    LOW_LEVERAGE,
    NO_WEIGHT,
    ZERO,
    Numeraire,
    Rooms,
    answer,
    by_account,
    rooms,
    rounded,
    whole,
)
from riskpolicy.errors import Finding, QueryError, one_of

Risk: TypeAlias = Literal["one", "linear", "square", "tail"]
#: Leverages are rounded to this before they weigh: sums of exact ones would grow a digit and more with every account.
LEVERAGE_STEP = Fraction(1, 10**12)
RISKS: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "one": lambda leverage, _: leverage,
    "linear": lambda leverage, _: leverage**2,
    "square": lambda leverage, _: leverage**3,
    "tail": lambda leverage, above: leverage if leverage >= above else ZERO,
}


def measure(c: Candidate, numeraire: Numeraire) -> Fraction:
    """Return what a share is taken of: unrealized profit, or contracts."""
    return max(ZERO, c.unrealized_pnl) if numeraire == "money" else c.contracts


def shared(demand: Demand, candidates: Sequence[Candidate], room: Rooms, weights: Sequence[Fraction]) -> Allocation:
    """Return min(level x weight, room) of everybody, in lots where the rooms are."""
    weigh(room, weights)
    return rounded(demand, candidates, room, allocation.water_level(weights, room.contracts, demand.contracts))


def weigh(room: Rooms, weights: Sequence[Fraction]) -> None:
    """Note who has a room and no weight."""
    for i, weight in enumerate(weights):
        if weight <= 0:
            room.reasons[i] = room.reasons[i] or NO_WEIGHT


def pro_rata(*, numeraire: Numeraire = "money", whole_lots: bool = True) -> AllocateAdl:
    """Everybody gives the same fraction of its profit, or of its contracts.

    With a budget of B and profits of U in all, an account of profit w gives the money B x w / U, so contracts in
    proportion to w. Where that is more than its room, it gives its room, and the fraction of the others rises.
    """

    def allocate(demand: Demand, candidates: Sequence[Candidate]) -> Allocation:
        room = rooms(demand, candidates, numeraire, whole_lots=whole_lots)
        return shared(demand, candidates, room, [measure(c, numeraire) for c in candidates])

    return allocate


def pro_rata_contracts(*, whole_lots: bool = True) -> AllocateAdl:
    """Everybody gives the same fraction of its contracts."""
    return pro_rata(numeraire="contracts", whole_lots=whole_lots)


def capped_pro_rata(
    *, most: Fraction | int | str = Fraction(1, 2), numeraire: Numeraire = "money", whole_lots: bool = True
) -> AllocateAdl:
    """Everybody gives the fraction min(level, cap) of its profit, or of its contracts.

    The cap is `most`, from 0 to 1, or what its room is where that is less. What nobody may give remains.
    """
    limit = Fraction(most)
    if not 0 <= limit <= 1:
        raise QueryError(Finding("invalid_value", f"`most` is {most}", "give a fraction from 0 to 1"))

    def allocate(demand: Demand, candidates: Sequence[Candidate]) -> Allocation:
        room = rooms(demand, candidates, numeraire, whole_lots=whole_lots)
        cost = demand.lost(Fraction(1))
        for i, c in enumerate(candidates):
            by_profit = numeraire == "money" and cost > 0
            whole_of = c.unrealized_pnl / cost if by_profit else c.contracts
            room.contracts[i] = min(room.contracts[i], whole(max(ZERO, limit * whole_of), c.contracts, room.lot))
            if not room.contracts[i]:
                room.reasons[i] = room.reasons[i] or UNDER_A_LOT
        return shared(demand, candidates, room, [measure(c, numeraire) for c in candidates])

    return allocate


def risk_weighted(
    *, g: Risk = "one", above: Fraction | int | str = 10, numeraire: Numeraire = "money", whole_lots: bool = True
) -> AllocateAdl:
    """Everybody gives the fraction min(cap, level x leverage x g(leverage)), leverage being notional / equity.

    `g` is one, linear (the leverage), square, or tail: one from a leverage of `above` on, else zero. Whoever has no
    equity has no finite leverage and gives first, pro rata. Leverages count to twelve decimals.
    """
    if g not in RISKS:
        raise QueryError(Finding("unknown_choice", f"`{g}` is no weight of risk", f"weights: {one_of(RISKS)}"))
    tail = Fraction(above)

    def allocate(demand: Demand, candidates: Sequence[Candidate]) -> Allocation:
        room = rooms(demand, candidates, numeraire, whole_lots=whole_lots)
        base = [measure(c, numeraire) for c in candidates]
        lost = [c.equity <= 0 for c in candidates]
        first = [b if gone else ZERO for b, gone in zip(base, lost, strict=True)]
        shares = allocation.water_level(first, room.contracts, demand.contracts)
        weights = [
            ZERO if gone else b * RISKS[g](round(c.notional / c.equity / LEVERAGE_STEP) * LEVERAGE_STEP, tail)
            for c, b, gone in zip(candidates, base, lost, strict=True)
        ]
        weigh(room, [a + b for a, b in zip(first, weights, strict=True)])
        left = demand.contracts - sum(shares, ZERO)
        rest = allocation.water_level(weights, room.contracts, left)
        return rounded(demand, candidates, room, [a + b for a, b in zip(shares, rest, strict=True)])

    return allocate


def integer(*, numeraire: Numeraire = "contracts", rule: str = "largest_remainder") -> AllocateAdl:
    """Pro rata in whole lots; what rooms cut off goes on to the others until all lots are given.

    `rule` is largest_remainder, or min_max: the largest fraction that anybody gives is as small as whole lots allow.
    Ties by account. With min_max a larger demand takes less from nobody, which the largest remainder does not promise.
    """
    if rule not in ("largest_remainder", "min_max"):
        raise QueryError(
            Finding("unknown_choice", f"`{rule}` is no rule of rounding", "say largest_remainder or min_max")
        )
    if rule == "largest_remainder":
        return pro_rata(numeraire=numeraire)

    def allocate(demand: Demand, candidates: Sequence[Candidate]) -> Allocation:
        room = rooms(demand, candidates, numeraire, whole_lots=True)
        weights = [measure(c, numeraire) for c in candidates]
        given = least_fraction(demand, candidates, room, weights)
        weigh(room, weights)
        return answer(demand, room, given, weights, NO_WEIGHT)

    return allocate


def least_fraction(
    demand: Demand, candidates: Sequence[Candidate], room: Rooms, weights: Sequence[Fraction]
) -> list[Fraction]:
    """Return lots that make the largest given / weight as small as it can be, ties by account.

    Lot by lot to whoever's fraction is then the smallest. Below the level of the exact shares nobody's fraction is
    the largest one, so that only the lots after them are given one by one.
    """
    lot = demand.lot
    level = allocation.water_level(weights, room.contracts, demand.contracts)
    given = [whole(s, c.contracts, lot) for s, c in zip(level, candidates, strict=True)]
    left = demand.contracts - sum(given, ZERO)
    places = {i: place for place, i in enumerate(by_account(candidates))}

    def after(i: int) -> tuple[Fraction, int, int]:
        return (given[i] + min(lot, room.contracts[i] - given[i])) / weights[i], places[i], i

    heap = [after(i) for i, w in enumerate(weights) if w > 0 and given[i] < room.contracts[i]]
    heapq.heapify(heap)
    while heap and left > 0:
        _, _, i = heapq.heappop(heap)
        piece = min(lot, room.contracts[i] - given[i])
        if piece > left:
            # A larger demand comes back to this one first.
            break
        given[i] += piece
        left -= piece
        if given[i] < room.contracts[i]:
            heapq.heappush(heap, after(i))
    return given


def least_leverage(*, whole_lots: bool = True) -> AllocateAdl:
    """The largest leverage left is as small as it can be: min(contracts, level x equity / notional of one) stays.

    Whoever has no equity closes first. In lots it is what taking lot after lot of whoever has the largest leverage then
    leads to, of those without equity the one with most contracts; ties by account.
    """

    def allocate(demand: Demand, candidates: Sequence[Candidate]) -> Allocation:
        room = rooms(demand, candidates, "contracts", whole_lots=whole_lots)
        quantity, equity = [c.contracts for c in candidates], [c.equity for c in candidates]
        if room.lot is None:
            size = demand.contract_size
            value = size / demand.mark_price if demand.inverse else size * demand.mark_price
            shares = allocation.least_leverage_within(quantity, room.contracts, equity, value, demand.contracts)
            return rounded(demand, candidates, room, shares, LOW_LEVERAGE)
        first = [Fraction(e <= 0) for e in equity]
        given = levelled(demand.contracts, room.lot, candidates, room.contracts, first)
        left = demand.contracts - sum(given, ZERO)
        able = [ZERO if e <= 0 else r for e, r in zip(equity, room.contracts, strict=True)]
        if all(g == r for g, r, e in zip(given, room.contracts, equity, strict=True) if e <= 0):
            rest = levelled(left, room.lot, candidates, able, equity)
            given = [g + r for g, r in zip(given, rest, strict=True)]
        return answer(demand, room, given, given, LOW_LEVERAGE)

    return allocate


def levelled(
    contracts: Fraction, lot: Fraction, candidates: Sequence[Candidate], room: Sequence[Fraction],
    weights: Sequence[Fraction],
) -> list[Fraction]:  # fmt: skip
    """Return lots that leave the largest kept / weight as small as it can be; who has no weight above zero gives none.

    On the way from lot to lot everybody comes down to any level before it ends. So it starts at the level of as many
    lots less as there are candidates: rounded up, that is never more than is asked.
    """
    able = [r if w > 0 else ZERO for r, w in zip(room, weights, strict=True)]
    quantity = [c.contracts for c in candidates]
    sure = max(ZERO, contracts - len(candidates) * lot)
    level = allocation.least_leverage_within(quantity, able, weights, Fraction(1), sure)
    given = [min(r, -(-s // lot) * lot) for s, r in zip(level, able, strict=True)]
    left, places = contracts - sum(given, ZERO), {i: k for k, i in enumerate(by_account(candidates))}

    def largest(i: int) -> tuple[Fraction, int, int]:
        # A heap has the least at its top.
        return (given[i] - quantity[i]) / weights[i], places[i], i

    heap = [largest(i) for i, r in enumerate(able) if given[i] < r]
    heapq.heapify(heap)
    while heap and left > 0:
        i = heapq.heappop(heap)[-1]
        piece = min(lot, able[i] - given[i])
        if piece > left:
            # A larger demand comes back to this one first.
            break
        given[i] += piece
        left -= piece
        if given[i] < able[i]:
            heapq.heappush(heap, largest(i))
    return given
