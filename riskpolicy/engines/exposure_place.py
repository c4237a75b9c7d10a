"""Where a position stands in its deleveraging queue: whoever is before it, and where it would be if it were another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

from riskpolicy.engines.candidates import candidate
from riskpolicy.engines.core.ahead import Ahead
from riskpolicy.engines.core.bound import Bound
from riskpolicy.engines.core.exact import Change, ExactBucket, Number, holding, position_row
from riskpolicy.engines.core.ordering import queue_key
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.engines.policies.queues import DEFAULT_KEYS, keys_of

#: What a queue is sorted by, the smallest first.
Key: TypeAlias = tuple[Number | str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a queue: `rank` 1 goes first, `light` the highest first; `ahead` contracts are before it."""

    rank: int
    light: int
    ahead: Fraction


class Supposed:
    """The place that a position would have with other contracts, leverage or margin, all others as they are.

    Whoever else is in the queue is looked at only where the search for the place meets it, exactly.
    """

    def __init__(self, evaluation: Evaluation, i: int) -> None:
        rules = evaluation.plan.deleveraging
        assert rules is not None
        self.evaluation, self.rules, self.bound, self.i = evaluation, rules, evaluation.bound, i
        keys: Any = rules.parameters.get("keys", DEFAULT_KEYS)
        self.by_keys = keys_of(keys) if rules.rule == "lexicographic" else None
        segment = segment_of(self.bound, i)
        queue = evaluation.queue
        rows = queue.order[int(queue.start[segment]) : int(queue.start[segment + 1])]
        self.others = rows[rows != i]
        self.sums = Ahead(self.bound, self.others)
        self.keys: dict[int, Key | None] = {}
        self.bucket = int(self.bound.positions.bucket[i])
        self.held = holding(self.bound, i)

    def now(self, change: Change | None = None) -> ExactBucket:
        """Return the bucket of the position, after a change."""
        return ExactBucket(self.bound, self.bucket, change or Change())

    def at(self, change: Change) -> Place | None:
        """Return the place after a change to the position's bucket; None where it has no score, or no contracts."""
        bucket = self.now(change)
        place = bucket.members.index(self.i)
        own = self._key(bucket, place)
        size = abs(bucket.positions[place].quantity)
        if own is None or not size:
            return None
        low, high = 0, len(self.others)
        while low < high:
            middle = (low + high) // 2
            other = self._other(int(self.others[middle]))
            low, high = (middle + 1, high) if other is not None and other < own else (low, middle)
        before = self.sums.of(low)
        return Place(low + 1, self._light(low, before, size), before)

    def _light(self, before: int, contracts: Fraction, size: Fraction) -> int:
        count = self.rules.light_count
        if not self.rules.lights_by_quantity:
            return count - count * before // (len(self.others) + 1)
        lit = math.ceil((contracts + size) * count / (self.sums.whole + size))
        return count + 1 - min(max(lit, 1), count)

    def _other(self, row: int) -> Key | None:
        if row not in self.keys:
            bucket = ExactBucket(self.bound, int(self.bound.positions.bucket[row]))
            self.keys[row] = self._key(bucket, bucket.members.index(row), row)
        return self.keys[row]

    def _key(self, bucket: ExactBucket, place: int, row: int | None = None) -> Key | None:
        """Return what the queue is sorted by, the smallest first: score and ties, then the account."""
        i = self.i if row is None else row
        if self.by_keys is not None:
            return self.by_keys(candidate(self.evaluation, i, bucket, 1))
        return queue_key(self.rules, position_row(bucket, place), Fraction(int(self.bound.positions.account[i])))


def segment_of(bound: Bound, i: int) -> int:
    """Return the segment of the queue that a position is in."""
    p = bound.positions
    return 2 * int(p.instrument[i]) + int(p.quantity[i] < 0)
