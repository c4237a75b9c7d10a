"""The haircut on profit: winners keep their contracts and pay by a worse entry price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from riskpolicy.engines.core.adl import Candidate, Demand
from riskpolicy.engines.policies.rooms import NO_PROFIT, NOTHING_LEFT, PROTECTED, ZERO


@dataclass(frozen=True, slots=True)
class ProfitHaircut:
    """What each pays, in settlement money, and its entry price afterwards, in the order of the candidates.

    `remaining` is the money of the deficit that all the profit does not pay.
    """

    paid: tuple[Fraction, ...]
    entry_prices: tuple[Fraction, ...]
    skipped: tuple[str | None, ...]
    remaining: Fraction


def profit_haircut(demand: Demand, candidates: Sequence[Candidate]) -> ProfitHaircut:
    """Take the demand's deficit from profits: everybody the fraction deficit / total profit, at most all of it.

    An entry price moves by that fraction of its way to the mark (for an inverse contract, of the way of its
    reciprocal), so that the profit left is the profit before less what is paid. Who is protected, with a cap of zero,
    pays nothing.
    """
    skipped = [_reason(c) for c in candidates]
    total = sum((c.unrealized_pnl for c, s in zip(candidates, skipped, strict=True) if s is None), ZERO)
    fraction = min(Fraction(1), demand.deficit / total) if total else ZERO
    fractions = [fraction if s is None else ZERO for s in skipped]
    paid = tuple(f * c.unrealized_pnl if f else ZERO for f, c in zip(fractions, candidates, strict=True))
    entries = tuple(moved(demand, c.entry_price, f) for f, c in zip(fractions, candidates, strict=True))
    return ProfitHaircut(paid, entries, tuple(skipped), demand.deficit - sum(paid, ZERO))


def moved(demand: Demand, entry_price: Fraction, fraction: Fraction) -> Fraction:
    """Return an entry price after a fraction of its profit at the mark is gone."""
    if demand.inverse:
        return 1 / (1 / entry_price + fraction * (1 / demand.mark_price - 1 / entry_price))
    return entry_price + fraction * (demand.mark_price - entry_price)


def _reason(c: Candidate) -> str | None:
    if c.contracts <= 0:
        return NOTHING_LEFT
    if c.cap <= 0:
        return c.barred or PROTECTED
    return None if c.unrealized_pnl > 0 else NO_PROFIT
