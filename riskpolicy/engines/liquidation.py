"""Liquidation: the state of every bucket, the order in which buckets go, and the step that is due."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from riskpolicy.engines.core.bound import Bound
from riskpolicy.engines.core.programs import evaluate_rule
from riskpolicy.kernel.program import Program
from riskpolicy.plan.plan import OrderKey
from riskpolicy.vocabulary import STATES

Floats = npt.NDArray[np.float64]
HEALTHY, RESTRICTED, LIQUIDATABLE, BANKRUPT = range(len(STATES))


@dataclass(frozen=True, slots=True)
class Liquidation:
    """Per bucket: its state, whether it is liquidated, its rank (1 first, -1 for none), its step (-1 for none)."""

    state: npt.NDArray[np.int8]
    triggered: npt.NDArray[np.bool_]
    rank: npt.NDArray[np.int64]
    step: npt.NDArray[np.int64]


def decide_liquidation(bound: Bound, columns: dict[str, Floats]) -> Liquidation:
    """Decide states, order and steps from the bucket columns of the vocabulary.

    bankrupt: equity < 0; else liquidatable: the trigger holds; else restricted where the ruleset says so.
    A bankrupt bucket is liquidated whether or not the trigger holds.
    """
    plan = bound.plan
    buckets = len(bound.buckets.account)
    bankrupt = columns["equity"] < 0
    triggered = _holds(bound, plan.trigger.rule.id, plan.trigger.rule.program, columns) | bankrupt
    state = np.full(buckets, HEALTHY, np.int8)
    if plan.restricted is not None:
        state[_holds(bound, plan.restricted.id, plan.restricted.program, columns)] = RESTRICTED
    state[triggered] = LIQUIDATABLE
    state[bankrupt] = BANKRUPT
    return Liquidation(state, triggered, _ranks(plan.order, columns, triggered), _steps(bound, columns, triggered))


def _holds(bound: Bound, rule_id: str, program: Program, columns: dict[str, Floats]) -> npt.NDArray[np.bool_]:
    rows = len(bound.buckets.account)
    values = evaluate_rule(program, rule_id, columns, rows, bound.bucket_name)
    return np.equal(values, 1.0)


def _ranks(
    keys: tuple[OrderKey, ...], columns: dict[str, Floats], triggered: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Rank the triggered buckets by the keys, then in bucket order (account, currency, instrument)."""
    rank = np.full(len(triggered), -1, np.int64)
    rows = np.flatnonzero(triggered)
    sort = [-columns[k.column][rows] if k.descending else columns[k.column][rows] for k in keys]
    order = rows[np.lexsort((rows, *sort[::-1]))]
    rank[order] = np.arange(1, len(order) + 1)
    return rank


def _steps(bound: Bound, columns: dict[str, Floats], triggered: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the last step that is open for each triggered bucket: those before it are tried first.

    A step without a condition is open to every bucket that reaches it, so it counts only as the first.
    """
    due = np.full(len(triggered), -1, np.int64)
    for number, step in enumerate(bound.plan.steps):
        if step.when is not None:
            due[triggered & _holds(bound, f"{step.id}.when", step.when, columns)] = number
        else:
            due[triggered & (due < 0)] = number
    return due
