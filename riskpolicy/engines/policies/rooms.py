"""What each candidate may give, what is whole, and why somebody gives nothing: shared by all policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeAlias

from riskpolicy.engines.core.adl import NO_OVERLAP, UNDER_A_LOT, Allocation, Candidate, Demand

Numeraire: TypeAlias = Literal["contracts", "money"]

#: Why a candidate gives nothing.
NOTHING_LEFT = "nothing left to close"
PROTECTED = "protected: its cap is zero"
NO_PROFIT = "no profit"
NOT_REACHED = "not reached"
NO_SHARE = "its share is less than one lot"
NO_WEIGHT = "no weight under this policy"
LOW_LEVERAGE = "its leverage is below the level"
REASONS = (
    NOTHING_LEFT, PROTECTED, UNDER_A_LOT, NO_PROFIT, NO_OVERLAP, NOT_REACHED, NO_SHARE, NO_WEIGHT, LOW_LEVERAGE,
)  # fmt: skip

ZERO = Fraction(0)


@dataclass(frozen=True, slots=True)
class Rooms:
    """The most contracts that each may give, and the reason where that is none; `lot` is None where nothing is rounded.

    A room is whole lots, or all the contracts of its candidate, where `lot` is a number.
    """

    contracts: list[Fraction]
    reasons: list[str | None]
    lot: Fraction | None


def rooms(demand: Demand, candidates: Sequence[Candidate], numeraire: Numeraire, *, whole_lots: bool) -> Rooms:
    """Return what each may give: within its cap and, where money is taken, within its unrealized profit.

    Money is counted at the execution price: a contract gives what its holder loses against the mark. At a price no
    worse than the mark a contract costs no profit, and only the cap binds.
    """
    lot = demand.lot if whole_lots else None
    cost = demand.lost(Fraction(1))
    able, reasons = [], []
    for c in candidates:
        most, reason = min(c.cap, c.contracts), None
        if c.contracts <= 0:
            reason = NOTHING_LEFT
        elif c.cap <= 0:
            reason = c.barred or PROTECTED
        elif numeraire == "money" and c.unrealized_pnl <= 0:
            reason = NO_PROFIT
        else:
            if numeraire == "money" and cost > 0:
                most = min(most, c.unrealized_pnl / cost)
            most = whole(most, c.contracts, lot)
            reason = None if most > 0 else UNDER_A_LOT
        able.append(ZERO if reason else most)
        reasons.append(reason)
    return Rooms(able, reasons, lot)


def whole(size: Fraction, contracts: Fraction, lot: Fraction | None) -> Fraction:
    """Return a size rounded down to whole lots, or as it is where it closes all of `contracts`."""
    return size if lot is None or size >= contracts else size // lot * lot


def by_account(candidates: Sequence[Candidate]) -> list[int]:
    """Return the candidates by account, then rank: the order that decides where a policy has none of its own."""
    return sorted(range(len(candidates)), key=lambda i: (candidates[i].account, candidates[i].rank))


def by_rank(candidates: Sequence[Candidate]) -> list[int]:
    """Return the candidates by rank."""
    return sorted(range(len(candidates)), key=lambda i: candidates[i].rank)


def walk(
    demand: Demand, candidates: Sequence[Candidate], room: Rooms, order: Sequence[int], *, overlap: bool = False
) -> Allocation:
    """Take greedily in an order, each to its room; whoever is taken in part is the last.

    With `overlap`, whoever is bankrupt at a better price than the demand's is passed over: all its contracts would
    lose more there than its equity, so a part of them leaves less than the rest needs.
    """
    given, skipped, left, reached = [ZERO] * len(candidates), list(room.reasons), demand.contracts, True
    for i in order:
        if skipped[i] is not None:
            continue
        if not reached or left <= 0:
            skipped[i] = NOT_REACHED
            continue
        size = whole(min(left, room.contracts[i]), candidates[i].contracts, room.lot)
        if overlap and demand.lost(candidates[i].contracts) > candidates[i].equity:
            skipped[i] = NO_OVERLAP
            continue
        # Less than a lot that is left goes to nobody: passed on to a smaller position, it would come back to this
        # one with a larger demand.
        reached = size == room.contracts[i]
        given[i], skipped[i] = size, None if size > 0 else NO_SHARE
        left -= size
    return Allocation(tuple(given), tuple(skipped), left)


def rounded(
    demand: Demand, candidates: Sequence[Candidate], room: Rooms, shares: Sequence[Fraction], reason: str = NOT_REACHED
) -> Allocation:
    """Return shares in whole lots by the largest remainder, ties by account; nobody beyond its room.

    All lots of the shares are given as long as a room of who has a share takes them. `reason` is that of a share of
    nothing.
    """
    if room.lot is None:
        return answer(demand, room, shares, shares, reason)
    lot = room.lot
    given = [whole(s, c.contracts, lot) for s, c in zip(shares, candidates, strict=True)]
    left = sum(shares, ZERO) - sum(given, ZERO)
    places = {i: place for place, i in enumerate(by_account(candidates))}
    progress = True
    while left > 0 and progress:
        progress = False
        able = [i for i, s in enumerate(shares) if s > 0 and given[i] < room.contracts[i]]
        for i in sorted(able, key=lambda i: (given[i] - shares[i], places[i])):
            piece = min(lot, room.contracts[i] - given[i])
            if piece <= left:
                given[i] += piece
                left -= piece
                progress = True
    return answer(demand, room, given, shares, reason)


def answer(
    demand: Demand, room: Rooms, given: Sequence[Fraction], shares: Sequence[Fraction], reason: str
) -> Allocation:
    """Return an allocation with the reason of everybody who gives nothing."""
    why = [
        None if g > 0 else r or (NO_SHARE if s > 0 else reason)
        for g, r, s in zip(given, room.reasons, shares, strict=True)
    ]
    return Allocation(tuple(given), tuple(why), demand.contracts - sum(given, ZERO))
