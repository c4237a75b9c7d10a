"""Deleveraging: the score of every position, its rank within (instrument, side), and its light."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from riskpolicy.engines.core.ahead import Ahead
from riskpolicy.engines.core.bound import Bound
from riskpolicy.engines.core.exact import exact_position_row
from riskpolicy.engines.core.ordering import Key, order_rows
from riskpolicy.engines.core.parallel import in_parallel, in_ranges
from riskpolicy.engines.core.programs import undefined_rows
from riskpolicy.kernel import _kernel
from riskpolicy.kernel.memory import empty
from riskpolicy.kernel.program import UNIT, Source
from riskpolicy.plan.plan import Deleveraging

Floats: TypeAlias = npt.NDArray[np.float64]
Longs: TypeAlias = npt.NDArray[np.int64]
Ints: TypeAlias = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Queue:
    """Per position in canonical order: score (NaN for none), rank (1 goes first) and light, -1 for none.

    `order` holds the positions by segment, 2 x instrument (+ 1 for shorts), and rank; segment s is start[s] to
    start[s + 1]. `exact_ranks` counts the positions whose place needed exact arithmetic.
    """

    score: Floats
    rank: Ints
    light: npt.NDArray[np.int8]
    order: Ints
    start: Longs
    exact_ranks: int


@dataclass(slots=True)
class _Scores:
    """Scores, their bounds, and how many positions each segment has, by the ranges that threads work on."""

    score: Floats
    bound: npt.NDArray[np.float32]
    counts: list[Longs] = field(default_factory=list)
    known: dict[int, Sequence[Fraction | float]] = field(default_factory=dict)


def rank_positions(bound: Bound, columns: Mapping[str, Source], threads: int = 1) -> Queue:
    """Rank the open positions of each (instrument, side) by the ruleset's score.

    Highest score first, then the declared ties, then the account, ascending. Lights run from 1 (last) to
    the declared count (first): by accounts, count minus the whole part of count x (rank - 1) / positions;
    by quantity, count + 1 minus count x (share of the contracts up to and with this one), rounded up.
    SnapshotError where the score of an open position has no finite value.
    """
    rules, n = bound.plan.deleveraging, len(bound.positions)
    if rules is None or not n:
        segments = 2 * len(bound.plan.instruments.symbols)
        none = np.full(n, -1, np.int32)
        start = np.zeros(segments + 1, np.int64)
        return Queue(np.full(n, np.nan), none, none.astype(np.int8), none[:0], start, 0)
    return _Ranking(bound, rules, columns, threads).queue()


def head_positions(
    bound: Bound, columns: Mapping[str, Source], instrument: int, *, short: bool, count: int
) -> list[tuple[int, float]]:
    """Return the first `count` positions of one queue with their scores, without ranking the rest of it."""
    rules, p = bound.plan.deleveraging, bound.positions
    if rules is None or count < 1:
        return []
    of_side = p.quantity < 0 if short else p.quantity > 0
    rows = np.flatnonzero((p.instrument == instrument) & of_side)
    ranking = _Ranking(bound, rules, {name: columns[name].at(rows) for name in columns_read(rules)}, 1, rows)
    scored = rules.score.program.bounded(ranking.columns, len(rows))
    if len(rows) > count:
        # Whoever may be above the last of the surest `count` is a candidate; the others can not be in the head.
        low = scored.values - scored.bounds
        known = np.where(np.isnan(low), -np.inf, low)
        edge = np.partition(known, len(rows) - count)[len(rows) - count]
        chosen = np.flatnonzero(~(scored.values + scored.bounds < edge))
    else:
        chosen = np.arange(len(rows))
    order, _ = ranking.decided(chosen, np.zeros(len(chosen), np.int64), {})
    return [(int(rows[chosen[i]]), float(scored.values[chosen[i]])) for i in order[:count]]


def columns_read(rules: Deleveraging) -> list[str]:
    """Return the columns that a ranking reads."""
    return list(dict.fromkeys([*rules.score.program.inputs, *(tie.column for tie in rules.ties)]))


class _Ranking:
    """One ranking; `rows` are the positions that `columns` hold, None for all."""

    def __init__(
        self,
        bound: Bound,
        rules: Deleveraging,
        columns: Mapping[str, Source],
        threads: int,
        rows: Longs | None = None,
    ) -> None:
        self.bound = bound
        self.rules = rules
        self.columns = columns
        self.threads = threads
        self.rows = rows

    def queue(self) -> Queue:
        scores = self.scores()
        start = np.r_[0, np.cumsum(np.sum(scores.counts, axis=0))]
        ranked = int(start[-1])
        n = len(self.bound.positions)
        order = empty(ranked, np.int32)
        # Flat positions have no rank: only they are not written.
        rank = empty(n, np.int32)
        if ranked != n:
            rank.fill(-1)
        given = {row: float(scores.score[row]) for row in scores.known}
        for row, keys in scores.known.items():
            nearest = float(keys[0])
            scores.score[row] = nearest
            with np.errstate(over="ignore"):
                scores.bound[row] = 0.0 if Fraction(nearest) == keys[0] else abs(nearest) * 2.0**-51
        stretches = self.sorted(scores, start, order, rank)
        redecided = self.redecide(scores, stretches, order, rank)
        for row, value in given.items():
            scores.score[row] = value
        return Queue(scores.score, rank, lights(self.bound, start, order, rank, self.threads), order, start, redecided)

    def scores(self) -> _Scores:
        """Score every position; those with a wide bound are made exact, since a wide interval touches many others."""
        p, rule = self.bound.positions, self.rules.score
        n, segments = len(p), 2 * len(self.bound.plan.instruments.symbols)
        slots = rule.program.slots(self.columns, n)
        made = _Scores(empty(n), empty(n, np.float32))

        def score(first: int, end: int) -> tuple[list[int], Longs]:
            count = np.zeros(segments, np.int64)
            wide = _kernel.score_pass(
                rule.program.compiled, slots, p.instrument, p.quantity, first, end, made.score, made.bound, count
            )
            return wide, count

        for wide, count in in_ranges(self.threads, n, score):
            made.counts.append(count)
            made.known.update((row, ()) for row in wide)
        if made.known:
            rows = np.array(list(made.known), np.int64)
            taken = {name: self.columns[name].at(rows) for name in rule.program.inputs}
            made.score[rows] = rule.program.run(taken, len(rows))
            exact = {row: self.exact_keys(row) for row in made.known}
            lost = [row for row, keys in exact.items() if keys is None]
            if lost:
                raise undefined_rows(rule, self.columns, np.array(lost), self.bound.position_name)
            made.known = {row: keys for row, keys in exact.items() if keys is not None}
        return made

    def sorted(self, scores: _Scores, start: Longs, order: Ints, rank: Ints) -> Longs:
        """Order every segment by its floats; return the stretches of `order` that these leave in doubt."""
        p = self.bound.positions
        n, row_bits = len(p), max(int(len(p) - 1).bit_length(), 1)
        words = empty(len(order), np.uint64)
        edges = [n * k // self.threads for k in range(self.threads + 1)]
        # Every range writes a segment's words after those of the ranges before it.
        places = [start[:-1] + np.sum(scores.counts[:k], axis=0, dtype=np.int64) for k in range(self.threads)]

        def scatter(first: int, end: int) -> None:
            at = places[edges.index(first)]
            _kernel.rank_scatter(scores.score, p.instrument, p.quantity, first, end, row_bits, at, words)

        in_ranges(self.threads, n, scatter)
        shares = _shares(np.diff(start), self.threads)

        def sort(share: int, _: int) -> list[int]:
            return _kernel.rank_segments(
                words,
                start,
                shares[share],
                row_bits,
                scores.score,
                scores.bound,
                bool(self.rules.ties),
                order,
                rank,
            )

        parts = in_parallel(self.threads, [(k, k) for k in range(len(shares))], sort)
        return np.array([edge for part in parts for edge in part], np.int64).reshape(-1, 2)

    def redecide(self, scores: _Scores, stretches: Longs, order: Ints, rank: Ints) -> int:
        """Order the stretches in doubt again, exactly; return how many positions needed exact arithmetic."""
        if not len(stretches):
            return len(scores.known)
        sizes = stretches[:, 1] - stretches[:, 0]
        places = np.repeat(stretches[:, 0] - np.r_[0, np.cumsum(sizes)[:-1]], sizes) + np.arange(sizes.sum())
        rows = order[places].astype(np.int64)
        stretch = np.repeat(np.arange(len(sizes)), sizes)
        before = rank[rows]
        found, redecided = self.decided(rows, stretch, scores.known)
        order[places] = rows[found]
        rank[rows[found]] = before
        return redecided

    def decided(
        self, rows: Longs, segment: Longs, known: Mapping[int, Sequence[Fraction | float]]
    ) -> tuple[Longs, int]:
        """Return `rows` in order, as places in it, and how many rows needed exact arithmetic."""
        rules = self.rules
        taken = {name: self.columns[name].at(rows) for name in columns_read(rules)}
        scored = rules.score.program.bounded(taken, len(rows))
        keys = [Key(scored.values, scored.bounds, descending=True, paths=scored.paths)]
        for tie in rules.ties:
            keys.append(Key(taken[tie.column].column(), taken[tie.column].bound_column(), tie.descending))
        before = {i: known[row] for i, row in enumerate(rows.tolist()) if row in known} if known else {}
        account = self.bound.positions.account[rows if self.rows is None else self.rows[rows]]
        order, redecided = order_rows(segment, keys, account, lambda i: self.exact(int(rows[i])), before)
        return order, redecided + len(known) - len(before)

    def exact(self, row: int) -> Sequence[Fraction | float]:
        """Return the exact keys of a position; SnapshotError where its score has no finite value."""
        keys = self.exact_keys(row)
        if keys is None:
            where = np.array([row])
            raise undefined_rows(
                self.rules.score, self.columns, where, lambda i: self.bound.position_name(self.number(i))
            )
        return keys

    def exact_keys(self, row: int) -> Sequence[Fraction | float] | None:
        """Return the exact score and ties of a position, None where the score has no finite value."""
        inputs = exact_position_row(self.bound, self.number(row))
        value = self.rules.score.program.exact(inputs)
        return [value, *(inputs[tie.column] for tie in self.rules.ties)] if isinstance(value, Fraction) else None

    def number(self, row: int) -> int:
        """Return the position that is a row of the columns."""
        return row if self.rows is None else int(self.rows[row])


def lights(bound: Bound, start: Longs, order: Ints, rank: Ints, threads: int = 1) -> npt.NDArray[np.int8]:
    """Return the light of every position, -1 for none, as the ruleset counts them."""
    p, rules, size = bound.positions, bound.plan.deleveraging, np.diff(start)
    assert rules is not None
    count = rules.light_count
    light = empty(len(p), np.int8)
    if rules.lights_by_quantity:
        light.fill(-1)
        _lights_by_quantity(bound, start, order, light, count)
        return light
    # A light is one lower from the rank on at which count x (rank - 1) reaches the next whole multiple of size.
    edge = -(-np.outer(size, np.arange(1, count)) // count)

    def write(first: int, end: int) -> None:
        _kernel.light_pass(p.instrument, p.quantity, rank, edge.astype(np.int32), first, end, light)

    in_ranges(threads, len(p), write)
    return light


def _shares(sizes: Longs, threads: int) -> list[Longs]:
    """Share segments out, the largest first, each to whoever has least to do."""
    held = [0] * threads
    shares: list[list[int]] = [[] for _ in range(threads)]
    for segment in np.argsort(-sizes, kind="stable").tolist():
        if sizes[segment]:
            least = held.index(min(held))
            held[least] += int(sizes[segment])
            shares[least].append(segment)
    return [np.array(share, np.int64) for share in shares]


def _lights_by_quantity(bound: Bound, start: Longs, order: Ints, light: npt.NDArray[np.int8], count: int) -> None:
    """Write the lights by quantity; whoever is as near to an edge as floats may err is placed by exact sums."""
    quantity, size = np.abs(bound.positions.quantity[order]), np.diff(start)
    if not len(quantity):
        return
    first = start[:-1][size > 0]
    size = size[size > 0]
    total = np.cumsum(quantity)
    before = np.repeat(total[first] - quantity[first], size)
    whole = np.repeat(np.add.reduceat(quantity, first), size)
    parts = (total - before) * count / whole
    lit = np.ceil(parts)
    doubt = count * (2 * len(quantity) + 8) * UNIT * (total[-1] / whole) + 4 * UNIT * parts
    near = np.flatnonzero(np.abs(parts - np.rint(parts)) <= doubt)
    of = np.searchsorted(first, near, "right") - 1
    for segment in np.unique(of).tolist():
        begin = int(first[segment])
        sums = Ahead(bound, order[begin : begin + int(size[segment])])
        for place in near[of == segment].tolist():
            lit[place] = math.ceil(sums.of(place - begin + 1) * count / sums.whole)
    light[order] = (count + 1 - np.clip(lit, 1, count)).astype(np.int8)
