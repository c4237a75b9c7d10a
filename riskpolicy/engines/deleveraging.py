"""Deleveraging: the score of every position, its rank within (instrument, side), and its light."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from riskpolicy.engines.core.bound import FLAT, Bound
from riskpolicy.engines.core.exact import exact_position_row
from riskpolicy.engines.core.ordering import Key, order_rows
from riskpolicy.engines.core.programs import evaluate_rule, undefined

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Queue:
    """Per position in canonical order: score (NaN for none), rank (1 goes first) and light, -1 for none."""

    score: Floats
    rank: Longs
    light: Longs
    exact_ranks: int


def rank_positions(bound: Bound, columns: Mapping[str, Floats], bounds: Mapping[str, Floats]) -> Queue:
    """Rank the open positions of each (instrument, side) by the ruleset's score.

    Highest score first, then the declared ties, then the account, ascending. Lights run from 1 (last) to
    the declared count (first): by accounts, count minus the whole part of count x (rank - 1) / positions;
    by quantity, count + 1 minus count x (share of the contracts up to and with this one), rounded up.
    """
    p, rules = bound.positions, bound.plan.deleveraging
    n = len(p.row)
    score, rank, light = np.full(n, np.nan), np.full(n, -1, np.int64), np.full(n, -1, np.int64)
    rows = np.flatnonzero(p.side != FLAT)
    if rules is None or not len(rows):
        return Queue(score, rank, light, 0)
    taken = {name: values[rows] for name, values in columns.items()}
    rule = rules.score
    score[rows] = evaluate_rule(rule.program, rule.id, taken, len(rows), lambda i: bound.position_name(int(rows[i])))
    doubt = {name: values[rows] for name, values in bounds.items()}
    scored = rule.program.bounded(taken, doubt, len(rows))
    keys = [Key(score[rows], scored.bounds, descending=True, paths=scored.paths)]
    keys += [Key(taken[tie.column], doubt[tie.column], tie.descending) for tie in rules.ties]

    needed = {*rule.program.inputs, *(tie.column for tie in rules.ties)}
    with_bucket = any(name.startswith("bucket_") for name in needed)

    def exact(i: int) -> list[Fraction | float]:
        row = exact_position_row(bound, int(rows[i]), with_bucket=with_bucket)
        value = rule.program.exact(row)
        if value is None:
            raise undefined(rule, row, bound.position_name(int(rows[i])))
        return [value, *(row[tie.column] for tie in rules.ties)]

    segment = p.instrument[rows].astype(np.int64) * 2 + p.side[rows]
    order, redecided = order_rows(segment, keys, p.account[rows], exact)
    rows, segment = rows[order], segment[order]
    first = np.flatnonzero(np.r_[True, segment[1:] != segment[:-1]])
    size = np.diff(np.r_[first, len(rows)])
    within = np.arange(len(rows)) - np.repeat(first, size)
    rank[rows] = within + 1
    if rules.lights_by_quantity:
        light[rows] = _lights_by_quantity(np.abs(p.quantity[rows]), first, size, rules.light_count)
    else:
        light[rows] = rules.light_count - within * rules.light_count // np.repeat(size, size)
    return Queue(score, rank, light, redecided)


def _lights_by_quantity(quantity: Floats, first: Longs, size: Longs, count: int) -> Longs:
    total = np.cumsum(quantity)
    before = np.repeat(total[first] - quantity[first], size)
    # Multiplied before it is divided: whole contracts then meet a light's edge exactly.
    lit = np.ceil((total - before) * count / np.repeat(np.add.reduceat(quantity, first), size))
    lights: Longs = (count + 1 - np.clip(lit, 1, count)).astype(np.int64)
    return lights
