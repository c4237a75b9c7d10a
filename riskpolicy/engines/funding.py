"""Funding: the rate of a period from its premium, by a venue's clamp, interval and cap."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class FundingRules:
    """Rate = premium + clamp(interest - premium, -clamp, clamp), for 8 hours; a period of `hours` has its part of it.

    `cap` bounds a period's rate on both sides, None where there is no cap. All are rates of the period of 8 hours but
    `cap`, which is the period's own.
    """

    interest: Fraction
    clamp: Fraction
    hours: Fraction = Fraction(8)
    cap: Fraction | None = None

    def rate(self, premium: Fraction) -> Fraction:
        """Return the rate of one period; above zero longs pay."""
        moved = premium + min(self.clamp, max(-self.clamp, self.interest - premium))
        rate = moved * self.hours / 8
        return rate if self.cap is None else min(self.cap, max(-self.cap, rate))


def carry_rate(quote_daily: Fraction, base_daily: Fraction, intervals: int) -> Fraction:
    """Return the interest of one period from daily rates of the quote and the base: (quote - base) / intervals."""
    return (quote_daily - base_daily) / intervals
