"""Liquidation: the state of every bucket, the order in which buckets go, and the step that is due."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from riskpolicy.engines.core.bound import Bound
from riskpolicy.engines.core.exact import exact_bucket_row
from riskpolicy.engines.core.funds import fund_behind, fund_number
from riskpolicy.engines.core.margins import BucketColumns
from riskpolicy.engines.core.ordering import Key, order_rows
from riskpolicy.engines.core.programs import decide
from riskpolicy.engines.core.standing import flagged
from riskpolicy.kernel.opcodes import CODE
from riskpolicy.kernel.program import Constant, Program, Source
from riskpolicy.plan.plan import Rule
from riskpolicy.vocabulary import STATES

Flags: TypeAlias = npt.NDArray[np.bool_]
Longs: TypeAlias = npt.NDArray[np.int64]
HEALTHY, RESTRICTED, LIQUIDATABLE, BANKRUPT = range(len(STATES))

_BELOW_ZERO = ((CODE["load"], 0), (CODE["const"], 0), (CODE["lt"], 0))
_BANKRUPT = Rule("bankrupt", Program("equity < 0", _BELOW_ZERO, (Constant.of(Decimal(0)),), ("equity",), True))


def outside_parties(bound: Bound) -> Flags:
    """Return which buckets belong to outside parties, whose names begin with `@`: these are never margined."""
    labels = bound.snapshot.ids("positions", "account").labels
    if not len(labels) or not isinstance(labels[0], str):
        return np.zeros(len(bound.buckets.account), np.bool_)
    first, end = bisect_left(labels, "@"), bisect_left(labels, "A")
    if first == end:
        return np.zeros(len(bound.buckets.account), np.bool_)
    named = np.array([str(labels[k]).startswith("@") for k in range(first, end)])
    codes = bound.buckets.account - first
    inside = (codes >= 0) & (codes < end - first)
    outside: Flags = inside & named[np.clip(codes, 0, end - first - 1)]
    return outside


class Liquidation:
    """Per bucket: its state and whether it is liquidated; and, when first read, its place in the order and its step.

    bankrupt: equity < 0; else liquidatable: the trigger holds; else restricted where the ruleset says so.
    A bankrupt bucket is liquidated whether or not the trigger holds, and one that the snapshot says is in liquidation
    until the ruleset releases it. `exact_states` and `exact_ranks` count the
    decisions that needed exact arithmetic.
    """

    def __init__(self, bound: Bound, columns: BucketColumns) -> None:
        self.bound = bound
        self.columns = columns
        self.count = len(bound.buckets.account)
        self.exact_states = 0
        self.exact_ranks = 0
        plan = bound.plan
        bankrupt = self._holds(_BANKRUPT)
        self.triggered: Flags = self._holds(plan.trigger.rule) | bankrupt
        if plan.release is not None and (stays := flagged(bound)) is not None:
            # Once in liquidation, a bucket stays there until it is released.
            self.triggered |= stays & ~self._holds(plan.release)
        outside = outside_parties(bound)
        if outside.any():
            self.triggered &= ~outside
            bankrupt = bankrupt & ~outside
        self.state: npt.NDArray[np.int8] = self.triggered * np.int8(LIQUIDATABLE)
        self.state += bankrupt
        if plan.restricted is not None:
            self.state[self._holds(plan.restricted) & ~self.triggered] = RESTRICTED

    @cached_property
    def step(self) -> Longs:
        """The last step that is open for each bucket that is liquidated, -1 for none: those before it are tried first.

        A step without a condition is open to every bucket that reaches it, so it counts only as the first.
        """
        due = np.full(self.count, -1, np.int64)
        rows = np.flatnonzero(self.triggered)
        of_rows = due[rows]
        for number, step in enumerate(self.bound.plan.steps):
            if step.when is not None:
                of_rows[self._holds(step.when, rows)] = number
            else:
                of_rows[of_rows < 0] = number
        due[rows] = of_rows
        return due

    @cached_property
    def rank(self) -> Longs:
        """The place of each bucket that is liquidated, 1 first, -1 for the others.

        By the declared keys, then in bucket order: account, currency, instrument.
        """
        rank = np.full(self.count, -1, np.int64)
        rows = np.flatnonzero(self.triggered)
        declared = self.bound.plan.order
        taken = {k.column: self._column(k.column, rows) for k in declared}
        keys = [Key(taken[k.column].column(), taken[k.column].bound_column(), k.descending) for k in declared]

        def exact(i: int) -> list[Fraction | float]:
            row = exact_bucket_row(self.bound, int(rows[i]))
            return [row[k.column] for k in declared]

        order, self.exact_ranks = order_rows(np.zeros(len(rows), np.int64), keys, rows, exact)
        rank[rows[order]] = np.arange(1, len(rows) + 1)
        return rank

    def _holds(self, rule: Rule, rows: npt.NDArray[np.int64] | None = None) -> Flags:
        """Return where a rule holds, among all buckets or those in `rows`."""

        def bucket(i: int) -> int:
            return i if rows is None else int(rows[i])

        columns: Mapping[str, Source] = self.columns
        count = self.count
        if rows is not None:
            columns, count = {n: self._column(n, rows) for n in rule.program.inputs}, len(rows)
        holds, exact = decide(
            rule,
            columns,
            count,
            lambda i: exact_bucket_row(self.bound, bucket(i), None if rows is None else int(self.state[bucket(i)])),
            lambda i: self.bound.bucket_name(bucket(i)),
        )
        self.exact_states += exact
        return holds

    def _column(self, name: str, rows: npt.NDArray[np.int64]) -> Source:
        """Return a column at some rows; those of the bucket's fund are looked up."""
        if name == "state":
            return Source(self.state.astype(np.float64)).at(rows)
        if not name.startswith("fund_"):
            return self.columns.at(name, rows)
        values = [fund_number(self.bound, fund_behind(self.bound, int(row)), name) for row in rows]
        return Source(np.array([math.nan if v is None else float(v) for v in values]))
