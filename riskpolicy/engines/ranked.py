"""Queues of rules that rank by something else than the ruleset's score: a plugin, keys of the rule, or nothing."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from riskpolicy.engines.candidates import Queued, demand, queued
from riskpolicy.engines.deleveraging import Queue, lights
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.engines.policies.queues import DEFAULT_KEYS, in_order


def ranked_by_rule(evaluation: Evaluation) -> Queue:
    """Return the queues in the order in which the ruleset takes, where that is not by its score.

    A plugin is asked once a queue, for all its contracts at the mark; its scores are those of the queue. Where a place
    is drawn at random nobody has a rank, a light or a score.
    """
    bound, rules, plugged = evaluation.bound, evaluation.plan.deleveraging, evaluation.plan.plugged
    assert rules is not None
    p, symbols = bound.positions, evaluation.plan.instruments.symbols
    segments = 2 * len(symbols)
    score, rank = np.full(len(p), np.nan), np.full(len(p), -1, np.int32)
    if rules.drawn:
        none = np.zeros(segments + 1, np.int64)
        return Queue(score, rank, rank.astype(np.int8), rank[:0], none, 0)
    keys: Any = rules.parameters.get("keys", DEFAULT_KEYS)
    found, by_keys = evaluation.scored, in_order(keys)
    order = np.empty(len(found.order), np.int32)
    for segment, (first, end) in enumerate(pairwise(found.start.tolist())):
        if first == end:
            continue
        symbol = symbols[segment // 2]
        side: Literal["long", "short"] = "short" if segment % 2 else "long"
        of = queued(evaluation, symbol, side)
        if plugged.rank is not None:
            whole = sum((c.contracts for c in of.candidates), Fraction(0))
            mark = bound.exact_mark(segment // 2)
            of = of.ranked(demand(evaluation, symbol, side, whole, mark), plugged.rank)
            places = sorted(range(len(of.candidates)), key=lambda k: of.candidates[k].rank)
        else:
            places = by_keys(of.candidates)
        order[first:end] = [of.positions[k] for k in places]
        rank[order[first:end]] = np.arange(1, end - first + 1)
        score[list(of.positions)] = _scores(of)
    return Queue(score, rank, lights(bound, found.start, order, rank, evaluation.threads), order, found.start, 0)


def _scores(of: Queued) -> list[float]:
    return [float("nan") if c.score is None else nearest(c.score) for c in of.candidates]


def nearest(score: Fraction) -> float:
    """Return the nearest float, infinite where there is none."""
    try:
        return float(score)
    except OverflowError:
        return math.copysign(math.inf, score)
