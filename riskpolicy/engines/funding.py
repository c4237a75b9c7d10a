"""Funding: what a position pays, and the interest that rates are made from."""

from __future__ import annotations

from fractions import Fraction


def carry_rate(quote_daily: Fraction, base_daily: Fraction, intervals: int) -> Fraction:
    """Return the interest of one period from daily rates of the quote and the base: (quote - base) / intervals."""
    return (quote_daily - base_daily) / intervals


def payment(value: Fraction, rate: Fraction, quantum: Fraction) -> int:
    """Return what a position receives, in whole quanta, half to even; `value` is signed, below zero for a short."""
    return round(-value * rate / quantum)
