"""Deleveraging of a book in partitions: pure pieces that each look at one part, and pure pieces that join them.

A partition is a snapshot of some accounts, each with all its rows, and of the markets. Contracts and keys are exact, so
that what is joined does not depend on how the book was divided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from riskpolicy.engines.candidates import OWN, Side, candidate, instrument_number, roles_of
from riskpolicy.engines.core.adl import Candidate, Demand
from riskpolicy.engines.core.exact import ZERO, ExactBucket, Number, position_row
from riskpolicy.engines.core.ordering import queue_key
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.engines.policies.rooms import Numeraire, rooms
from riskpolicy.errors import Finding, QueryError
from riskpolicy.plan.plan import Deleveraging
from riskpolicy.snapshot.columns import Label

#: What a queue is sorted by, the smallest first: score and ties by their direction, then the account.
Key: TypeAlias = tuple[Number | Label, ...]


@dataclass(frozen=True, slots=True)
class Head:
    """The first candidates of one partition's queue, with the key of each: as many as cover a demand, or all."""

    candidates: tuple[Candidate, ...]
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Count:
    """Of one partition's queue: how many positions, and contracts, are before a key, and in all."""

    before: int
    contracts_before: Fraction
    positions: int
    contracts: Fraction


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a position stands in the queue of the whole book: rank 1 goes first, the light is highest for it."""

    rank: int
    light: int
    quantity_ahead: Fraction


def head(
    evaluation: Evaluation, demand: Demand, numeraire: Numeraire = "contracts", against: str | None = None
) -> Head:
    """Return the shortest head of a partition's queue that could give all of a demand by itself, or all of the queue.

    It counts what each may give, as the policies `queue` and `capped_queue` do in this numeraire; nothing of the
    account that the demand is `against`. Only the head is ranked. QueryError where the ruleset does not rank by its
    score.
    """
    rules = _ranking(evaluation)
    number = instrument_number(evaluation, demand.instrument)
    p, roles = evaluation.bound.positions, roles_of(evaluation.bound)
    of_side = p.quantity < 0 if demand.side == "short" else p.quantity > 0
    size = int(np.count_nonzero((p.instrument == number) & of_side))
    found: list[Candidate] = []
    keys: list[Key] = []
    count, left = min(size, 64), demand.contracts
    while True:
        ranked = evaluation.head_of(number, count, short=demand.side == "short")
        for place, (i, _) in enumerate(ranked[len(found) :], len(found) + 1):
            bucket = ExactBucket(evaluation.bound, int(p.bucket[i]))
            c = candidate(evaluation, i, bucket, place, roles)
            c = (c.without(OWN) if c.account == against else c).spared(demand)
            found.append(c)
            keys.append(_key(evaluation, rules, i, bucket))
            left -= rooms(demand, [c], numeraire, whole_lots=True).contracts[0]
            if left <= 0:
                return Head(tuple(found), tuple(keys))
        if count >= size:
            return Head(tuple(found), tuple(keys))
        count = min(size, 4 * count)


def merge(heads: Sequence[Head]) -> list[Candidate]:
    """Return the candidates of all heads in the order of the whole book, ranked from 1.

    With them the policies `queue` and `capped_queue`, unless equal scores are to give as a group, take of everybody
    what they take in the whole book: whoever is missing is behind enough contracts of its own partition. QueryError
    where account ids are text in some partitions and integers in others, which are not ordered alike.
    """
    rows = [(key, c) for of in heads for key, c in zip(of.keys, of.candidates, strict=True)]
    if len({type(key[-1]) for key, _ in rows}) > 1:
        message = "some partitions have account ids as text, others as integers"
        raise QueryError(Finding("wrong_type", message, "write them in one way in all, as text where any is"))
    rows.sort(key=lambda row: row[0])
    return [replace(c, rank=rank) for rank, (_, c) in enumerate(rows, 1)]


def key_of(evaluation: Evaluation, account: Label, instrument: str, side: Side) -> Key:
    """Return the key of a position, to be counted in every partition; QueryError where the account holds none."""
    rules, number = _ranking(evaluation), instrument_number(evaluation, instrument)
    bound, p = evaluation.bound, evaluation.bound.positions
    of_side = p.quantity < 0 if side == "short" else p.quantity > 0
    for i in np.flatnonzero((p.instrument == number) & of_side).tolist():
        if str(bound.account(int(p.account[i]))) == str(account):
            return _key(evaluation, rules, i, ExactBucket(bound, int(p.bucket[i])))
    raise QueryError(Finding("unknown_id", f"account `{account}` holds no {side} in {instrument}"))


def count(evaluation: Evaluation, instrument: str, side: Side, key: Key) -> Count:
    """Return how much of a partition's queue is before a key, found by halving."""
    rules, number = _ranking(evaluation), instrument_number(evaluation, instrument)
    segment = 2 * number + (side == "short")
    queue, bound = evaluation.queue, evaluation.bound
    rows = queue.order[int(queue.start[segment]) : int(queue.start[segment + 1])]
    sums = evaluation.sums_of(segment)
    low, high = 0, len(rows)
    while low < high:
        middle = (low + high) // 2
        i = int(rows[middle])
        before = _key(evaluation, rules, i, ExactBucket(bound, int(bound.positions.bucket[i]))) < key
        low, high = (middle + 1, high) if before else (low, middle)
    return Count(low, sums.of(low), len(rows), sums.whole)


def standing(counts: Sequence[Count], contracts: Fraction, rules: Deleveraging) -> Standing:
    """Return where a position of unsigned `contracts` stands in the whole book, from its count in every partition."""
    before, positions = sum(c.before for c in counts), sum(c.positions for c in counts)
    if not positions:
        raise QueryError(Finding("missing_value", "no partition holds a position of that side", "count all partitions"))
    ahead = sum((c.contracts_before for c in counts), ZERO)
    lights = rules.light_count
    if not rules.lights_by_quantity:
        return Standing(before + 1, lights - lights * before // positions, ahead)
    lit = math.ceil((ahead + contracts) * lights / sum((c.contracts for c in counts), ZERO))
    return Standing(before + 1, lights + 1 - min(max(lit, 1), lights), ahead)


def _ranking(evaluation: Evaluation) -> Deleveraging:
    rules = evaluation.plan.deleveraging
    if rules is None or not rules.by_score:
        message = "the ruleset ranks nobody by its score"
        raise QueryError(Finding("missing_value", message, "partitions are joined by scores and ties"))
    return rules


def _key(evaluation: Evaluation, rules: Deleveraging, i: int, bucket: ExactBucket) -> Key:
    account = evaluation.bound.account(int(evaluation.bound.positions.account[i]))
    key = queue_key(rules, position_row(bucket, bucket.members.index(i)), account)
    assert key is not None, "whoever is ranked has a score"
    return key
