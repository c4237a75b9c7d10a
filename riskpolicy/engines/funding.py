"""Funding: the rate of an interval, what a position pays, and whom the next payment pushes towards liquidation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from riskpolicy.engines.core.bound import CROSS, Bound
from riskpolicy.engines.core.evaluated import Evaluated
from riskpolicy.engines.core.exact import Change, ExactBucket, Number
from riskpolicy.plan.plan import Plan


def carry_rate(quote_daily: Fraction, base_daily: Fraction, intervals: int) -> Fraction:
    """Return the interest of one period from daily rates of the quote and the base: (quote - base) / intervals."""
    return (quote_daily - base_daily) / intervals


def payment(value: Fraction, rate: Fraction, quantum: Fraction) -> int:
    """Return what a position receives, in whole quanta, half to even; `value` is signed, below zero for a short."""
    return round(-value * rate / quantum)


def funding_rate(
    plan: Plan,
    instrument: int,
    *,
    premium: Fraction | None = None,
    mark: Fraction | None = None,
    index: Fraction | None = None,
) -> Fraction | None:
    """Return the rate of one interval of an instrument (by number) under the ruleset; above zero longs pay.

    From its average premium, or without one from (mark - index) / index. None where the ruleset has no funding, or
    where neither is known.
    """
    rules = plan.funding
    if premium is None and mark is not None and index is not None:
        premium = (mark - index) / index
    if rules is None or premium is None:
        return None
    margin = plan.tiers.least_margin(int(plan.instruments.table[instrument]))
    return rules.rate(premium, margin)


def market_rate(bound: Bound, instrument: int) -> Fraction | None:
    """Return the rate of the next interval: the market's `funding_rate` where it is given, else as `funding_rate`."""
    if bound.market_row[instrument] < 0:
        return None
    fixed = _of_market(bound, instrument, "funding_rate")
    if fixed is not None:
        return fixed
    premium, index = (_of_market(bound, instrument, column) for column in ("premium", "index_price"))
    return funding_rate(bound.plan, instrument, premium=premium, mark=bound.exact_mark(instrument), index=index)


def basis_price(bound: Bound, instrument: int) -> Fraction | None:
    """Return the price that funding is paid at, by the ruleset's basis; None where the snapshot does not have it."""
    basis = "mark" if bound.plan.funding is None else bound.plan.funding.basis
    return _of_market(bound, instrument, f"{basis}_price")


def _of_market(bound: Bound, instrument: int, column: str) -> Fraction | None:
    given, row = bound.snapshot.numbers("markets", column), int(bound.market_row[instrument])
    return None if given is None or row < 0 else given.exact(row)


def signed_value(plan: Plan, instrument: int, quantity: Fraction, price: Fraction) -> Fraction:
    """Return the value of signed contracts at a price, in settlement money; below zero for a short."""
    size = quantity * plan.instruments.contract_size_exact[instrument]
    return size / price if plan.instruments.inverse[instrument] else size * price


@dataclass(frozen=True, slots=True)
class FundingWarning:
    """A bucket whose next funding payment lifts its margin ratio above the ruleset's `warn_above`.

    `payment` is money of its currency, below zero where the bucket pays. The ratios are maintenance margin over equity,
    infinite where equity <= 0. `instrument` is None for a cross bucket.
    """

    account: str
    currency: str
    instrument: str | None
    payment: Fraction
    ratio: Number
    ratio_after: Number
    rule: str = "funding.warn_above"


def funding_warnings(evaluation: Evaluated) -> list[FundingWarning]:
    """Return the buckets that the next payment lifts from at most `warn_above` to above it, by account.

    Every market pays at the rate of `market_rate` and the price of `basis_price`; one that lacks either pays nothing.
    Marks stay as they are. The decisions are exact. Without a block `funding` there are none.
    """
    bound, rules = evaluation.bound, evaluation.plan.funding
    if rules is None:
        return []
    terms = _terms(bound)
    found = []
    for bucket in _near(evaluation, terms, rules.warn_above):
        warning = _warning(bound, bucket, terms, rules.warn_above)
        if warning is not None:
            found.append(warning)
    return found


def _terms(bound: Bound) -> dict[int, tuple[Fraction, Fraction]]:
    """Return rate and price of every market that is held and pays."""
    terms = {}
    for number in np.unique(bound.positions.instrument).tolist():
        rate, price = market_rate(bound, number), basis_price(bound, number)
        if rate and price is not None:
            terms[number] = rate, price
    return terms


def _near(evaluation: Evaluated, terms: dict[int, tuple[Fraction, Fraction]], edge: Fraction) -> list[int]:
    """Return the buckets that floats, with room for their error, say may cross the edge."""
    bound, m = evaluation.bound, evaluation.margins
    p, plan = bound.positions, bound.plan
    # What a contract pays; a bound of its error is far below the slack.
    unit = np.zeros(len(plan.instruments.symbols))
    for number, (rate, price) in terms.items():
        unit[number] = float(-signed_value(plan, number, Fraction(1), price) * rate)
    conversion = np.ones(len(unit)) if bound.price is None else bound.price
    paid = p.quantity * unit[p.instrument] * conversion[p.instrument]
    count = len(m.equity)
    change = np.bincount(p.bucket, paid, count)
    quanta = np.array([float(q) for q in plan.requirements.quantum])[bound.buckets.currency]
    slack = 1e-9 * (np.abs(m.equity) + np.bincount(p.bucket, np.abs(paid) + m.notional, count)) + quanta * np.bincount(
        p.bucket, minlength=count
    )
    due, limit = m.bucket_maintenance, float(edge)
    after, before = m.equity + change, m.equity
    return np.flatnonzero((due > 0) & (due + slack >= limit * after) & (due - slack <= limit * before)).tolist()


def _warning(
    bound: Bound, bucket: int, terms: dict[int, tuple[Fraction, Fraction]], edge: Fraction
) -> FundingWarning | None:
    now = ExactBucket(bound, bucket)
    ratio = now.margin_ratio
    if ratio > edge:
        return None
    plan, paid = bound.plan, Fraction(0)
    for position in now.positions:
        if position.number in terms:
            rate, price = terms[position.number]
            quantum = plan.requirements.quantum[int(plan.instruments.currency[position.number])]
            value = signed_value(plan, position.number, position.quantity, price)
            paid += payment(value, rate, quantum) * quantum * position.held.conversion
    after = ExactBucket(bound, bucket, Change(balance=paid)).equity
    ratio_after: Number = math.inf if after <= 0 else now.maintenance_margin / after
    if ratio_after <= edge:
        return None
    b, number = bound.buckets, int(bound.buckets.instrument[bucket])
    return FundingWarning(
        str(bound.account(int(b.account[bucket]))), plan.currencies[int(b.currency[bucket])],
        None if number == CROSS else plan.instruments.symbols[number], paid, ratio, ratio_after,
    )  # fmt: skip
