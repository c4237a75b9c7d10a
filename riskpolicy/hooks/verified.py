"""What plugins return is verified before it counts: a fault is an error with the numbers, never a silent repair."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from numbers import Rational

from riskpolicy.engines.core.adl import AllocateAdl, Allocation, Candidate, Demand, RankAdl
from riskpolicy.engines.core.fees import FeeDue, SplitFees
from riskpolicy.engines.execution import Execution
from riskpolicy.errors import one_of
from riskpolicy.hooks.resolve import Hooked
from riskpolicy.numbers import exact, fraction_text

ZERO = Fraction(0)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]*")


def ranking(hooked: Hooked) -> RankAdl:
    """Return a plugin's ranking that answers one exact number a candidate, or fails."""

    def rank(demand: Demand, candidates: Sequence[Candidate]) -> Sequence[Fraction]:
        scores = hooked.call(demand=demand, candidates=candidates)
        if not isinstance(scores, Sequence) or len(scores) != len(candidates):
            got = f"{len(scores)} scores" if isinstance(scores, Sequence) else type(scores).__name__
            raise hooked.fault(f"`rank_adl` returned {got} for {len(candidates)} candidates")
        for c, score in zip(candidates, scores, strict=True):
            if not isinstance(score, Rational):
                hint = "scores decide who is closed: return fractions.Fraction or int"
                raise hooked.fault(f"`rank_adl` gives {c.account} the score {score!r}, which is not exact", hint)
        return [exact(score) for score in scores]

    return rank


def allocating(hooked: Hooked) -> AllocateAdl:
    """Return a plugin's allocation that keeps what every allocation must, and of its own laws what one call shows."""

    def allocate(demand: Demand, candidates: Sequence[Candidate]) -> Allocation:
        found = hooked.call(demand=demand, candidates=candidates)
        if not isinstance(found, Allocation):
            raise hooked.fault(f"`allocate_adl` returned {type(found).__name__}", "return an Allocation")
        fault = broken(demand, candidates, found, hooked.laws)
        if fault is not None:
            raise hooked.fault(f"`allocate_adl` {fault}")
        return found

    return allocate


def broken(
    demand: Demand, candidates: Sequence[Candidate], found: Allocation, laws: Collection[str] = ()
) -> str | None:
    """Return how one allocation breaks what every one must keep, or a law that one call can show; None if it does not.

    Every one: a number and a reason or None for every candidate; nothing below zero or beyond a cap; whole lots, or the
    whole position; given and remaining together are the contracts demanded; a reason where nothing is given while
    something remains.
    """
    if len(found.given) != len(candidates) or len(found.skipped) != len(candidates):
        return f"answers for {len(found.given)} and {len(found.skipped)} of {len(candidates)} candidates"
    if not all(isinstance(x, Rational) for x in (*found.given, found.remaining)):
        return "gives numbers that are not exact"
    for c, given in zip(candidates, found.given, strict=True):
        if given < 0 or given > c.cap:
            return f"takes {_text(given)} contracts of {c.account}, who may give 0 to {_text(c.cap)}"
        if given % demand.lot and given != c.contracts:
            return f"takes {_text(given)} contracts of {c.account}, which are neither whole lots nor all it has"
        if "profit_only" in laws and given and demand.lost(given) > max(ZERO, c.unrealized_pnl):
            return f"takes {_text(demand.lost(given))} of {c.account}, whose profit is {_text(c.unrealized_pnl)}"
    total = sum(found.given, ZERO)
    if total + found.remaining != demand.contracts or found.remaining < 0:
        return f"gives {_text(total)} and leaves {_text(found.remaining)} of {_text(demand.contracts)} contracts"
    room = [c.account for c, g in zip(candidates, found.given, strict=True) if c.cap - g >= demand.lot]
    if "exhaustive" in laws and "profit_only" not in laws and found.remaining >= demand.lot and room:
        return f"leaves {_text(found.remaining)} contracts though {one_of(room[:3])} can give more"
    silent = [c.account for c, g, why in zip(candidates, found.given, found.skipped, strict=True) if not g and not why]
    if found.remaining and silent:
        return f"passes over {one_of(silent[:3])} without a reason"
    return None


def splitting(hooked: Hooked) -> SplitFees:
    """Return a plugin's fee split that gives every fee away exactly, to funds by their ids or to named parties."""

    def split(fees: Sequence[FeeDue]) -> Sequence[Mapping[str, int]]:
        found = hooked.call(fees=fees)
        if not isinstance(found, Sequence) or len(found) != len(fees):
            raise hooked.fault(f"`split_fees` answers for other than the {len(fees)} fees that it was asked")
        for fee, parts in zip(fees, found, strict=True):
            if not isinstance(parts, Mapping) or not all(type(x) is int for x in parts.values()):
                raise hooked.fault(f"`split_fees` returned {parts!r} for a fee", "return whole quanta by receiver")
            if sum(parts.values()) != fee.amount:
                given = sum(parts.values())
                raise hooked.fault(f"`split_fees` gives away {given} of a {fee.kind} fee of {fee.amount} quanta")
            nameless = [name for name in parts if not isinstance(name, str) or not _NAME.fullmatch(name)]
            if nameless:
                raise hooked.fault(f"`split_fees` pays {nameless[0]!r}, which is no name", "a fund's id, or a name")
        return found

    return split


def executing(hooked: Hooked, markets: Mapping[str, Mapping[str, Fraction | None]]) -> Execution:
    """Return a plugin's execution model for the numbers of markets."""
    found = hooked.call(markets=markets)
    if not callable(getattr(found, "quote", None)) or not callable(getattr(found, "take", None)):
        raise hooked.fault(f"`execution` returned {type(found).__name__}", "return an object with quote and take")
    model: Execution = found
    return model


def _text(value: Fraction) -> str:
    return fraction_text(exact(value))
