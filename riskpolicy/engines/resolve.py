"""The conductor of a resolution: every bucket that is liquidated, step by step, until nothing more happens.

Contracts go by the liquidation steps, money by the waterfall. Both are booked as they move: contracts exactly, money in
whole quanta, and every event sums to zero. Marks stay as they are throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from riskpolicy.engines.core.events import Event
from riskpolicy.engines.core.ledger import Ledger
from riskpolicy.engines.core.resolution import Resolution
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.engines.execution import BookLevels, Execution
from riskpolicy.engines.liquidation import HEALTHY
from riskpolicy.engines.resolving.after import Aftermath
from riskpolicy.engines.resolving.incoming import Applied, apply_event
from riskpolicy.engines.resolving.models import execution_model


def resolve_once(
    evaluation: Evaluation, execution: Execution | str | None, applied: Applied | None = None
) -> Resolution:
    """Liquidate every bucket that is due, in the ruleset's order, to a fixed point at one instant.

    `applied` is the event that led here: its postings come first in the ledger, its bids count in open auctions.
    SnapshotError where a step or layer needs a fund whose balance is not in the snapshot.
    """
    model = execution_model(evaluation, execution)
    resolving = _Resolving(evaluation, model, frozenset() if applied is None else applied.forced)
    resolving.own_book = isinstance(model, BookLevels) and model is not execution
    if applied is not None:
        resolving.bids = applied.bids
        resolving.result.warnings += applied.warnings
        for posting in applied.postings:
            resolving.result.ledger.book(posting.rule, posting.what, posting.money, posting.contracts)
    return resolving.run()


#: So often a bucket is taken up at one instant. Two sides that liquidate into a market which recovers from each by the
#: other's orders would go on in ever smaller parts; what is left of them then waits.
MOST_TURNS = 256


class _Resolving(Aftermath):
    """One resolution at one instant."""

    def run(self) -> Resolution:
        """Liquidate in order; then whoever is due because of it, and again who still is, until nothing more happens."""
        self.prepare()
        liquidation = self.evaluation.liquidation
        due = [int(b) for b in np.flatnonzero(liquidation.triggered)]
        due.sort(key=lambda b: int(liquidation.rank[b]))
        due += sorted(self.forced - set(due))
        #: How much had happened when a bucket was last taken up, in events of the ledger, and how often it was.
        seen: dict[int, int] = {}
        turns: dict[int, int] = {}
        ledger = self.result.ledger
        while due:
            for bucket in due:
                again, seen[bucket] = bucket in seen, ledger.events
                turns[bucket] = turns.get(bucket, 0) + 1
                said = len(self.result.steps), len(self.result.skipped)
                self.liquidate(bucket)
                if again and ledger.events == seen[bucket]:
                    # Nothing new: what was in its way has been said.
                    del self.result.steps[said[0] :], self.result.skipped[said[1] :]
            touched = sorted(
                ({int(self.bound.positions.bucket[i]) for i in self.changed} | set(self.shared)) - set(seen)
            )
            due = [b for b in touched if not (self.apart[b] or self.sound(b) or self.state(self.bucket(b)) == HEALTHY)]
            if not due:
                # What others have changed since may have opened a way for those who are left.
                due = [b for b, at in seen.items() if at != ledger.events and turns[b] < MOST_TURNS and self.waits(b)]
        for bucket in sorted(self.gained):
            # Somebody's contracts may have gone as another's counterparty, after its own turn.
            if not self.holds(bucket):
                self.enter(bucket)
                self.settle(bucket)
            self.finish(bucket)
        self.note_bids()
        waits = {b for b in seen if self.waits(b)}
        self.result.waiting = sorted({self.name(b) for b in waits})
        self.result.resumes = {self.name(b): self.resumes[b] for b in sorted(waits & set(self.resumes))}
        self.result.after = self.after()
        return self.result

    def waits(self, bucket: int) -> bool:
        """Return whether a bucket holds contracts and is to be liquidated."""
        return self.holds(bucket) and self.state(self.bucket(bucket)) != HEALTHY


def resolve(evaluation: Evaluation, execution: Execution | str | None, events: Sequence[Event] = ()) -> Resolution:
    """Resolve an evaluation; then, event by event, apply each and resolve again.

    The marks stay as they are within one resolution; an event of kind `mark` moves them before the next. A model's name
    (book, linear, power, sqrt) takes its numbers from the snapshot. The result has the entries of all, in order.
    """
    whole = resolve_once(evaluation, execution)
    for event in events:
        assert whole.after is not None
        applied = apply_event(evaluation.plan, whole.after, event)
        # A fill has its other side in the ledger only: the snapshot is complete again when the resolution adds it.
        open_side = replace(applied.snapshot, complete=False) if event.kind == "fill" else applied.snapshot
        evaluation = Evaluation(evaluation.plan, open_side, evaluation.threads)
        resolved = resolve_once(evaluation, execution, applied)
        if resolved.after is not None:
            resolved.after = replace(resolved.after, complete=applied.snapshot.complete)
        whole = _joined(whole, resolved)
    return whole


def _joined(one: Resolution, other: Resolution) -> Resolution:
    """Return two resolutions as one; events of the second are numbered after those of the first."""
    first = one.ledger.events
    entries = [*one.ledger.entries, *(e._replace(event=e.event + first) for e in other.ledger.entries)]
    ledger = Ledger(one.ledger.quantum, entries, first + other.ledger.events)
    residual = {
        c: one.residual.get(c, Fraction(0)) + other.residual.get(c, Fraction(0))
        for c in {*one.residual, *other.residual}
    }
    return Resolution(
        [*one.steps, *other.steps], [*one.draws, *other.draws], [*one.deleveraged, *other.deleveraged],
        dict(sorted(residual.items())), ledger, other.after, other.waiting, other.resumes,
        {key: [*one.whys.get(key, []), *other.whys.get(key, [])] for key in {**one.whys, **other.whys}}, one.regime,
        [*one.skipped, *other.skipped],
        [*one.warnings, *other.warnings],
        one.plugins,
    )  # fmt: skip
