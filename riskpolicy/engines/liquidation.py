"""Liquidation: the state of every bucket, the order in which buckets go, and the step that is due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from riskpolicy.engines.core.bound import Bound
from riskpolicy.engines.core.exact import exact_bucket_row
from riskpolicy.engines.core.ordering import Key, order_rows
from riskpolicy.engines.core.programs import decide
from riskpolicy.plan.plan import Rule
from riskpolicy.vocabulary import STATES

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
HEALTHY, RESTRICTED, LIQUIDATABLE, BANKRUPT = range(len(STATES))


@dataclass(frozen=True, slots=True)
class Liquidation:
    """Per bucket: its state, whether it is liquidated, its rank (1 first, -1 for none), its step (-1 for none).

    `exact_states` and `exact_ranks` count the decisions that needed exact arithmetic.
    """

    state: npt.NDArray[np.int8]
    triggered: Flags
    rank: npt.NDArray[np.int64]
    step: npt.NDArray[np.int64]
    exact_states: int
    exact_ranks: int


def decide_liquidation(bound: Bound, columns: Mapping[str, Floats], bounds: Mapping[str, Floats]) -> Liquidation:
    """Decide states, order and steps from the bucket columns and their bounds.

    bankrupt: equity < 0; else liquidatable: the trigger holds; else restricted where the ruleset says so.
    A bankrupt bucket is liquidated whether or not the trigger holds.
    """
    return _Decisions(bound, columns, bounds).liquidation()


class _Decisions:
    def __init__(self, bound: Bound, columns: Mapping[str, Floats], bounds: Mapping[str, Floats]) -> None:
        self.bound = bound
        self.columns = columns
        self.bounds = bounds
        self.exact_states = 0

    def liquidation(self) -> Liquidation:
        plan = self.bound.plan
        bankrupt = self._bankrupt()
        triggered = self._holds(plan.trigger.rule) | bankrupt
        state = np.full(len(bankrupt), HEALTHY, np.int8)
        if plan.restricted is not None:
            state[self._holds(plan.restricted)] = RESTRICTED
        state[triggered] = LIQUIDATABLE
        state[bankrupt] = BANKRUPT
        step = self._steps(triggered)
        rank, exact_ranks = self._ranks(triggered)
        return Liquidation(state, triggered, rank, step, self.exact_states, exact_ranks)

    def _holds(self, rule: Rule) -> Flags:
        holds, exact = decide(
            rule,
            self.columns,
            self.bounds,
            lambda bucket: exact_bucket_row(self.bound, bucket),
            self.bound.bucket_name,
        )
        self.exact_states += exact
        return holds

    def _bankrupt(self) -> Flags:
        equity, bound = self.columns["equity"], self.bounds["equity"]
        bankrupt = equity < 0
        for bucket in np.flatnonzero((np.abs(equity) <= bound) & (bound > 0)).tolist():
            bankrupt[bucket] = exact_bucket_row(self.bound, bucket)["equity"] < 0
            self.exact_states += 1
        return bankrupt

    def _steps(self, triggered: Flags) -> npt.NDArray[np.int64]:
        """Return the last step that is open for each triggered bucket: those before it are tried first.

        A step without a condition is open to every bucket that reaches it, so it counts only as the first.
        """
        due = np.full(len(triggered), -1, np.int64)
        for number, step in enumerate(self.bound.plan.steps):
            if step.when is not None:
                due[triggered & self._holds(step.when)] = number
            else:
                due[triggered & (due < 0)] = number
        return due

    def _ranks(self, triggered: Flags) -> tuple[npt.NDArray[np.int64], int]:
        """Rank the triggered buckets by the declared keys, then in bucket order (account, currency, instrument)."""
        rank = np.full(len(triggered), -1, np.int64)
        rows = np.flatnonzero(triggered)
        declared = self.bound.plan.order
        keys = [Key(self.columns[k.column][rows], self.bounds[k.column][rows], k.descending) for k in declared]

        def exact(i: int) -> list[Fraction | float]:
            row = exact_bucket_row(self.bound, int(rows[i]))
            return [row[k.column] for k in declared]

        order, redecided = order_rows(np.zeros(len(rows), np.int64), keys, rows, exact)
        rank[rows[order]] = np.arange(1, len(rows) + 1)
        return rank, redecided
