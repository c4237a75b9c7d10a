"""Policies that take one after the other: by rank, by keys, or from a random start."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Literal, TypeAlias

from riskpolicy.engines import allocation
from riskpolicy.engines.core.adl import AllocateAdl, Allocation, Candidate, Demand
from riskpolicy.engines.policies.rooms import (
    NOT_REACHED,
    ZERO,
    Numeraire,
    Rooms,
    by_account,
    by_rank,
    rooms,
    rounded,
    walk,
)
from riskpolicy.errors import Finding, QueryError, one_of, suggestion

Key: TypeAlias = Callable[[Candidate], "Fraction | float"]

#: The columns that a lexicographic policy may order by.
KEYS: dict[str, Key] = {
    "leverage": lambda c: leverage(c),
    "score": lambda c: -math.inf if c.score is None else c.score,
    "rank": lambda c: Fraction(c.rank),
    "contracts": lambda c: c.contracts,
    "entry_price": lambda c: c.entry_price,
    "unrealized_pnl": lambda c: c.unrealized_pnl,
    "notional": lambda c: c.notional,
    "equity": lambda c: c.equity,
    "wallet_balance": lambda c: c.wallet_balance,
    # Where nobody says, it was opened before all others.
    "opened_at": lambda c: -math.inf if c.opened_at is None else c.opened_at,
}


DEFAULT_KEYS = ("leverage desc", "unrealized_pnl desc", "equity asc")


def leverage(c: Candidate) -> Fraction | float:
    """Return notional over equity, infinite where the equity is zero or less."""
    return c.notional / c.equity if c.equity > 0 else math.inf


def queue(
    *, numeraire: Numeraire = "contracts", ties: Literal["rank", "group"] = "rank", whole_lots: bool = True
) -> AllocateAdl:
    """By rank, each to its room; at most one is taken in part.

    With ties of `group`, those of equal score give together, pro rata by contracts.
    """
    if ties not in ("rank", "group"):
        raise QueryError(Finding("unknown_choice", f"`{ties}` is no way to decide ties", "say rank or group"))

    def allocate(demand: Demand, candidates: Sequence[Candidate]) -> Allocation:
        room = rooms(demand, candidates, numeraire, whole_lots=whole_lots)
        if ties == "group":
            return _by_groups(demand, candidates, room)
        return walk(demand, candidates, room, by_rank(candidates))

    return allocate


def _by_groups(demand: Demand, candidates: Sequence[Candidate], room: Rooms) -> Allocation:
    """Take group by group of equal scores; within a group everybody gives the same share of its contracts."""
    shares, left = [ZERO] * len(candidates), demand.contracts
    for _, members in itertools.groupby(by_rank(candidates), key=lambda i: candidates[i].score):
        group = list(members)
        able = [room.contracts[i] for i in group]
        level = allocation.water_level([candidates[i].contracts for i in group], able, left)
        for i, share in zip(group, level, strict=True):
            shares[i] = share
        left -= sum(level, ZERO)
    return rounded(demand, candidates, room, shares, NOT_REACHED)


def capped_queue(*, numeraire: Numeraire = "money", whole_lots: bool = True) -> AllocateAdl:
    """The queue, for no more than the deficit: the budget is cut to min(deficit, profit) in money.

    Contracts that would raise more than the deficit stay open, and are in `remaining`.
    """
    inner = queue(numeraire=numeraire, whole_lots=whole_lots)

    def allocate(demand: Demand, candidates: Sequence[Candidate]) -> Allocation:
        cost, wanted = demand.lost(Fraction(1)), demand.contracts
        if cost > 0:
            wanted = min(wanted, demand.deficit / cost)
        found = inner(replace(demand, contracts=wanted), candidates)
        return replace(found, remaining=demand.contracts - sum(found.given, ZERO))

    return allocate


def random_start(*, numeraire: Numeraire = "contracts", overlap: bool = True, whole_lots: bool = True) -> AllocateAdl:
    """From a start drawn by the demand's seed and event, cyclically by account, skipping who can not trade.

    Can not trade: at the demand's price all its contracts would lose more than its equity, so that the bankruptcy
    prices do not overlap; a resolution gives such candidates no cap, under any policy. The draw is the SHA-256 of seed,
    event, instrument and side: the same on every machine.
    """

    def allocate(demand: Demand, candidates: Sequence[Candidate]) -> Allocation:
        room = rooms(demand, candidates, numeraire, whole_lots=whole_lots)
        order = by_account(candidates)
        start = drawn(demand, len(order)) if order else 0
        return walk(demand, candidates, room, [*order[start:], *order[:start]], overlap=overlap)

    return allocate


def drawn(demand: Demand, count: int) -> int:
    """Return the place, from 0 and below `count`, at which the walk of a demand starts."""
    text = f"{demand.seed}:{demand.event}:{demand.instrument}:{demand.side}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big") % count


def lexicographic(
    *,
    keys: Sequence[str] = DEFAULT_KEYS,
    numeraire: Numeraire = "contracts",
    whole_lots: bool = True,
) -> AllocateAdl:
    """By keys, one after the other, each a column and `asc` or `desc`; then by account.

    QueryError for a column that candidates do not have, or another direction.
    """
    order = in_order(keys)

    def allocate(demand: Demand, candidates: Sequence[Candidate]) -> Allocation:
        room = rooms(demand, candidates, numeraire, whole_lots=whole_lots)
        return walk(demand, candidates, room, order(candidates))

    return allocate


def in_order(keys: Sequence[str] = DEFAULT_KEYS) -> Callable[[Sequence[Candidate]], list[int]]:
    """Return what orders candidates by keys, then by account; QueryError as `lexicographic` raises it."""
    key = keys_of(keys)

    def by_keys(candidates: Sequence[Candidate]) -> list[int]:
        return sorted(range(len(candidates)), key=lambda i: (*key(candidates[i]), candidates[i].rank))

    return by_keys


def keys_of(keys: Sequence[str] = DEFAULT_KEYS) -> Callable[[Candidate], tuple[Fraction | float | str, ...]]:
    """Return what a candidate is ordered by, the smallest first: keys as they fall, then the account as text."""
    order = [_key(text) for text in keys]

    def key(c: Candidate) -> tuple[Fraction | float | str, ...]:
        values = ((KEYS[column](c), falling) for column, falling in order)
        return (*(-value if falling else value for value, falling in values), c.account)

    return key


def _key(text: str) -> tuple[str, bool]:
    column, _, direction = text.strip().partition(" ")
    if column not in KEYS:
        hint = suggestion(column, KEYS) or f"columns: {one_of(KEYS)}"
        raise QueryError(Finding("unknown_choice", f"candidates have no column `{column}` to order by", hint))
    if direction.strip() not in ("", "asc", "desc"):
        raise QueryError(Finding("order_key", f"`{direction}` is no direction", "say asc or desc"))
    return column, direction.strip() == "desc"
