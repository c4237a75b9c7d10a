"""Where a position stands in its deleveraging queue: whoever is before it, and where it would be if it were another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from threading import Lock

import numpy as np
import numpy.typing as npt

from riskpolicy.engines.core.bound import Bound, exact_of
from riskpolicy.engines.core.exact import ZERO, Change, ExactBucket, Number, holding, position_row
from riskpolicy.engines.core.once import once
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.kernel._kernel import SUMS_STRIDE as STRIDE
from riskpolicy.kernel._kernel import sums_ahead

# Where a float times a power of ten still is nearest to the whole number that its decimal makes there.
_SURE = 1e15


class Ahead:
    """Contracts ahead of each place of some positions in their order: exact, summed as far as is asked for.

    Sums run in whole numbers of 1 / 10 ** digits contracts, every 64th is kept; where sizes are no such numbers, all.
    """

    def __init__(self, bound: Bound, rows: npt.NDArray[np.integer]) -> None:
        self.bound = bound
        self.rows = np.ascontiguousarray(rows, np.int32)
        self._sums = np.zeros(len(rows) // STRIDE + 1, np.int64)
        self._summed, self._digits, self._lock = 0, 0, Lock()
        column = bound.snapshot.numbers("positions", "quantity")
        if column is None or column.beyond:
            self._digits = -1

    def of(self, place: int) -> Fraction:
        """Return the contracts ahead of a place, which counts from 0; of all for the place after the last."""
        end = min(len(self.rows), -(-place // STRIDE) * STRIDE)
        quantity, kept = self.bound.positions.quantity, place // STRIDE
        # Sums change their unit where later sizes have more digits: one question at a time.
        with self._lock:
            if self._digits >= 0 and end > self._summed:
                self._digits = sums_ahead(quantity, self.rows, self._summed, end, self._digits, self._sums)
                self._summed = end
            if self._digits >= 0:
                scale, since = 10**self._digits, self.rows[kept * STRIDE : place]
                units = np.abs(quantity[since]) * scale
                # Up to here the nearest whole number is the size's own; later sizes of more digits may take it beyond.
                if np.all(units < _SURE):
                    return Fraction(int(self._sums[kept]) + int(np.rint(units).astype(np.int64).sum()), scale)
                return sum(map(self._size, since.tolist()), Fraction(int(self._sums[kept]), scale))
        return self._exactly[place]

    def _size(self, row: int) -> Fraction:
        return abs(exact_of(self.bound.snapshot.numbers("positions", "quantity"), self.bound.positions.row_of(row)))

    @once
    def _exactly(self) -> list[Fraction]:
        return [ZERO, *accumulate(map(self._size, self.rows.tolist()))]

    @property
    def whole(self) -> Fraction:
        """All contracts."""
        return self.of(len(self.rows))


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
        self.rules, self.bound, self.i = rules, evaluation.bound, i
        segment = segment_of(self.bound, i)
        queue = evaluation.queue
        rows = queue.order[int(queue.start[segment]) : int(queue.start[segment + 1])]
        self.others = rows[rows != i]
        self.sums = Ahead(self.bound, self.others)
        self.keys: dict[int, tuple[Number, ...] | None] = {}
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

    def _other(self, row: int) -> tuple[Number, ...] | None:
        if row not in self.keys:
            bucket = ExactBucket(self.bound, int(self.bound.positions.bucket[row]))
            self.keys[row] = self._key(bucket, bucket.members.index(row), row)
        return self.keys[row]

    def _key(self, bucket: ExactBucket, place: int, row: int | None = None) -> tuple[Number, ...] | None:
        """Return what the queue is sorted by, the smallest first: score and ties, then the account."""
        inputs = position_row(bucket, place)
        score = self.rules.score.program.exact(inputs)
        if not isinstance(score, Fraction):
            return None
        ties = [-inputs[t.column] if t.descending else inputs[t.column] for t in self.rules.ties]
        account = int(self.bound.positions.account[self.i if row is None else row])
        return (-score, *(math.inf if t != t else t for t in ties), Fraction(account))


def segment_of(bound: Bound, i: int) -> int:
    """Return the segment of the queue that a position is in."""
    p = bound.positions
    return 2 * int(p.instrument[i]) + int(p.quantity[i] < 0)
