"""The conductor of a resolution: every bucket that is liquidated, step by step, until nothing more happens.

Contracts go by the liquidation steps, money by the waterfall. Both are booked as they move: contracts exactly, money in
whole quanta, and every event sums to zero. Marks stay as they are throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from riskpolicy.engines.core.events import Event, apply_event
from riskpolicy.engines.core.ledger import Ledger
from riskpolicy.engines.core.resolution import Resolution
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.engines.execution import Execution
from riskpolicy.engines.liquidation import HEALTHY
from riskpolicy.engines.resolving.after import Aftermath
from riskpolicy.engines.resolving.models import execution_model


def resolve_once(evaluation: Evaluation, execution: Execution) -> Resolution:
    """Liquidate every bucket that is due, in the ruleset's order, to a fixed point at one instant.

    SnapshotError where a step or layer needs a fund whose balance is not in the snapshot.
    """
    return _Resolving(evaluation, execution).run()


class _Resolving(Aftermath):
    """One resolution at one instant."""

    def run(self) -> Resolution:
        """Liquidate in order; then again whoever is due because of it."""
        liquidation = self.evaluation.liquidation
        due = [int(b) for b in np.flatnonzero(liquidation.triggered)]
        due.sort(key=lambda b: int(liquidation.rank[b]))
        due += sorted(self.forced - set(due))
        seen: set[int] = set()
        while due:
            for bucket in due:
                seen.add(bucket)
                self.liquidate(bucket)
            touched = sorted(({int(self.bound.positions.bucket[i]) for i in self.held} | set(self.shared)) - seen)
            due = [b for b in touched if self.state(self.bucket(b)) != HEALTHY]
        for bucket in sorted(self.opened):
            # Somebody's contracts may have gone as another's counterparty, after its own turn.
            if not self.left(bucket):
                self.settle(bucket)
        self.result.after = self.after()
        self.result.waiting = sorted({self.name(b) for b in seen if self.left(b) and self.state(self.bucket(b))})
        return self.result


def resolve(evaluation: Evaluation, execution: Execution | str, events: Sequence[Event] = ()) -> Resolution:
    """Resolve an evaluation; then, event by event, apply each and resolve again.

    The marks stay as they are within one resolution; an event of kind `mark` moves them before the next. A model's name
    (book, linear, power, sqrt) takes its numbers from the snapshot. The result has the entries of all, in order.
    """
    model = execution_model(evaluation, execution) if isinstance(execution, str) else execution
    whole = resolve_once(evaluation, model)
    for event in events:
        assert whole.after is not None
        snapshot, forced = apply_event(evaluation.plan, whole.after, event)
        evaluation = Evaluation(evaluation.plan, snapshot, evaluation.threads)
        if isinstance(execution, str):
            model = execution_model(evaluation, execution)
        whole = _joined(whole, _Resolving(evaluation, model, forced).run())
    return whole


def _joined(one: Resolution, other: Resolution) -> Resolution:
    """Return two resolutions as one; events of the second are numbered after those of the first."""
    first = one.ledger.events
    entries = [*one.ledger.entries, *(replace(e, event=e.event + first) for e in other.ledger.entries)]
    ledger = Ledger(one.ledger.quantum, entries, first + other.ledger.events)
    residual = {
        c: one.residual.get(c, Fraction(0)) + other.residual.get(c, Fraction(0))
        for c in {*one.residual, *other.residual}
    }
    return Resolution(
        [*one.steps, *other.steps], [*one.draws, *other.draws], [*one.deleveraged, *other.deleveraged],
        dict(sorted(residual.items())), ledger, other.after, other.waiting,
    )  # fmt: skip
