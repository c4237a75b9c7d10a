"""Funds as a snapshot gives them: their numbers, and which fund stands behind a bucket."""

from __future__ import annotations

from fractions import Fraction

from riskpolicy.engines.core.bound import Bound
from riskpolicy.snapshot.columns import Ids


def fund_behind(bound: Bound, bucket: int) -> int:
    """Return the fund of the bucket's largest position by value at the mark, then by instrument; -1 for none."""
    plan, p = bound.plan, bound.positions
    funds = {plan.instruments.fund[int(p.instrument[i])] for i in bound.members(bucket)}
    if len(funds) <= 1:
        return next(iter(funds), -1)
    sizes = [(-_value(bound, i), int(p.instrument[i])) for i in bound.members(bucket)]
    return plan.instruments.fund[min(sizes)[1]]


def _value(bound: Bound, i: int) -> Fraction:
    number = int(bound.positions.instrument[i])
    size = abs(bound.exact_position(i)[0]) * bound.plan.instruments.contract_size_exact[number]
    value = (
        size / bound.exact_mark(number) if bound.plan.instruments.inverse[number] else size * bound.exact_mark(number)
    )
    return value * bound.exact_conversion(i)


def fund_row(bound: Bound, fund: int) -> int:
    """Return the row of a fund in the snapshot, -1 for none."""
    ids = bound.snapshot.tables["funds"].get("fund")
    if fund < 0 or not isinstance(ids, Ids):
        return -1
    name = bound.plan.funds[fund].id
    return next((row for row in range(len(ids)) if str(ids.label(row)) == name), -1)


def fund_number(bound: Bound, fund: int, name: str) -> Fraction | None:
    """Return `fund_balance` or another number of a fund by its column, None where the snapshot does not say."""
    row = fund_row(bound, fund)
    column = bound.snapshot.numbers("funds", name.removeprefix("fund_"))
    return None if row < 0 or column is None else column.exact(row)
