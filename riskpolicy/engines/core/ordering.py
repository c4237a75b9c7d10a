"""Orders decided exactly: sorted by floats first, then again exactly wherever the floats leave doubt.

Two rows are in doubt where the intervals value +- bound of a key touch. Rows whose keys are equal for certain
(bound 0, such as scores of exactly zero) are left to the next key without any exact arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from riskpolicy.plan.plan import Deleveraging

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
T = TypeVar("T")
#: A bound above this part of its value is wide.
_WIDE = 1e-8
#: Exact keys of one row, in the order of the keys; an infinite key is a float.
ExactKeys = Callable[[int], Sequence[Fraction | float]]


@dataclass(frozen=True, slots=True)
class Key:
    """A key of an order: values, bounds of their distance from the exact values, and the direction.

    Rows with the same `paths` other than 0 are exactly equal.
    """

    values: Floats
    bounds: Floats
    descending: bool = False
    paths: Longs | None = None

    def equal(self, rows: Longs) -> bool:
        """Return whether rows whose intervals touch are equal for certain."""
        if not self.bounds[rows].any():
            return True
        return (
            self.paths is not None
            and bool(self.paths[rows[0]])
            and bool((self.paths[rows] == self.paths[rows[0]]).all())
        )

    @property
    def signed(self) -> Floats:
        """The values so that smaller goes first."""
        return -self.values if self.descending else self.values


def order_rows(
    segment: Longs,
    keys: Sequence[Key],
    last: npt.NDArray[np.integer],
    exact: ExactKeys,
    before: Mapping[int, Sequence[Fraction | float]] | None = None,
) -> tuple[Longs, int]:
    """Order rows by segment, then keys, then `last`, which is unique within a segment.

    Return the row numbers in that order, and how many rows needed exact arithmetic; `before` has the exact keys of
    rows for which they are known already.
    """
    known: dict[int, Sequence[Fraction | float]] = dict(before or {})
    keys = _sharpened(keys, exact, known)
    signed = [key.signed for key in keys]
    order = np.lexsort((last, *signed[::-1], segment))
    if len(order) < 2 or not keys:
        return order, len(known)
    return _Decider(order, keys, signed, last, exact, known).decide(segment[order])


def _sharpened(keys: Sequence[Key], exact: ExactKeys, known: dict[int, Sequence[Fraction | float]]) -> Sequence[Key]:
    """Replace keys with wide bounds by their exact values, which go to `known`.

    A single wide interval would touch every other, and put a whole segment in doubt.
    """
    wide = [~(key.bounds <= np.abs(key.values) * _WIDE) for key in keys]
    rows: list[int] = np.flatnonzero(np.logical_or.reduce(wide)).tolist() if wide else []
    known.update((row, exact(row)) for row in rows if row not in known)
    if not known:
        return keys
    sharp = []
    for number, key in enumerate(keys):
        values, bounds = key.values.copy(), key.bounds.copy()
        for row, found in known.items():
            values[row] = nearest = float(found[number])
            same = not math.isfinite(nearest) or Fraction(nearest) == found[number]
            bounds[row] = 0.0 if same else max(abs(nearest) * 2.0**-52, 5e-324)
        sharp.append(replace(key, values=values, bounds=bounds))
    return sharp


class _Decider:
    def __init__(
        self,
        order: Longs,
        keys: Sequence[Key],
        signed: Sequence[Floats],
        last: npt.NDArray[np.integer],
        exact: ExactKeys,
        known: dict[int, Sequence[Fraction | float]],
    ) -> None:
        self.order = order
        self.keys = keys
        self.signed = signed
        self.last = last
        self.exact = exact
        self.known = known

    def decide(self, segment: Longs) -> tuple[Longs, int]:
        edges = np.flatnonzero(np.r_[True, segment[1:] != segment[:-1], True])
        self._level(0, list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)))
        return self.order, len(self.known)

    def _level(self, level: int, runs: Sequence[tuple[int, int]]) -> None:
        """Find the rows in doubt by key `level` within each run, where all keys before are equal."""
        equal: list[tuple[int, int]] = []
        for start, end in runs:
            for first, stop in self._touching(level, start, end):
                if self.keys[level].equal(self.order[first:stop]):
                    equal.append((first, stop))
                else:
                    self._exactly(first, stop)
        if equal and level + 1 < len(self.keys):
            self._level(level + 1, equal)

    def _touching(self, level: int, start: int, end: int) -> list[tuple[int, int]]:
        """Return the maximal stretches of a run whose intervals touch one another."""
        rows = self.order[start:end]
        value, bound = self.signed[level][rows], self.keys[level].bounds[rows]
        with np.errstate(invalid="ignore"):
            reach = np.maximum.accumulate(value + bound)[:-1]
            touches = ~((value - bound)[1:] > reach)
        if not touches.any():
            return []
        edges = np.flatnonzero(np.diff(np.r_[False, touches, False].astype(np.int8)))
        return [(start + int(a), start + int(b) + 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]

    def _exactly(self, first: int, stop: int) -> None:
        """Order a stretch by exact keys; with one key, rows with bound 0 are exact as they are and stay put."""
        rows = self.order[first:stop]
        bound = self.keys[0].bounds[rows]
        settled = rows[bound == 0] if len(self.keys) == 1 else rows[:0]
        doubtful = rows[bound != 0] if len(self.keys) == 1 else rows
        known = self._exact_keys(doubtful)
        ranked = sorted(known, key=lambda row: known[row])
        places = [self._place(settled, known[row]) for row in ranked]
        self.order[first:stop] = np.insert(settled, places, ranked) if len(settled) else np.array(ranked, np.int64)

    def _exact_keys(self, rows: Longs) -> dict[int, tuple[Fraction | float | int, ...]]:
        """Return the exact keys of rows, computed once for a path where there is but one key."""
        paths = self.keys[0].paths if len(self.keys) == 1 else None
        of_path: dict[int, Sequence[Fraction | float]] = {}
        known: dict[int, tuple[Fraction | float | int, ...]] = {}
        for row in rows.tolist():
            path = 0 if paths is None else int(paths[row])
            exact = self.known.get(row) or (of_path.get(path) if path else None)
            if exact is None:
                exact = of_path[path] = self.known[row] = self.exact(row)
            signed = [-x if key.descending else x for key, x in zip(self.keys, exact, strict=True)]
            known[row] = (*signed, int(self.last[row]))
        return known

    def _place(self, settled: Longs, key: tuple[Fraction | float | int, ...]) -> int:
        """Return how many settled rows go before an exact key."""
        low, high = 0, len(settled)
        while low < high:
            middle = (low + high) // 2
            row = int(settled[middle])
            if (float(self.signed[0][row]), int(self.last[row])) < key:
                low = middle + 1
            else:
                high = middle
        return low


def queue_key(
    rules: Deleveraging, inputs: Mapping[str, Fraction | float], account: T
) -> tuple[Fraction | float | T, ...] | None:
    """Return what a deleveraging queue is sorted by, the smallest first: score and ties as they fall, then the account.

    Exact; None where the score of the row has no value. A tie that nobody gives comes last.
    """
    score = rules.score.program.exact(inputs)
    if not isinstance(score, Fraction):
        return None
    ties = [-inputs[t.column] if t.descending else inputs[t.column] for t in rules.ties]
    return (-score, *(math.inf if t != t else t for t in ties), account)
