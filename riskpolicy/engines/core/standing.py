"""What a bucket carries from one resolution to the next: flags and instants, in the snapshot and out of it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from riskpolicy.engines.core.bound import CROSS, Bound
from riskpolicy.numbers import exact, seconds_of
from riskpolicy.snapshot.edit import with_choice, with_numbers
from riskpolicy.snapshot.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a bucket stands in its liquidation; instants are seconds since 1970, None for none.

    `freed` is the lack of margin, in money of the bucket's currency, that ramped steps have made good since `started`.
    """

    in_liquidation: bool = False
    cooldown_until: Fraction | None = None
    started: Fraction | None = None
    freed: Fraction = Fraction(0)


_NUMBERS = ("cooldown_until", "liquidation_started", "margin_freed")


def rows_of(bound: Bound, bucket: int) -> tuple[str, list[int]]:
    """Return the table, and the rows in it, that carry the standing of a bucket."""
    b = bound.buckets
    if b.instrument[bucket] != CROSS:
        return "positions", [int(b.row[bucket])]
    if b.row[bucket] >= 0:
        return "accounts", [int(b.row[bucket])]
    owners = bound.snapshot.ids("accounts", "account").codes
    return "accounts", np.flatnonzero(owners == b.account[bucket]).tolist()


def standing_of(bound: Bound, bucket: int) -> Standing:
    """Return the standing of a bucket; of several rows, the first one that says something."""
    table, rows = rows_of(bound, bucket)
    flag = bound.snapshot.choices(table, "in_liquidation")
    columns = [bound.snapshot.numbers(table, name) for name in _NUMBERS]
    found = [
        next((x for row in rows if column is not None and (x := column.exact(row)) is not None), None)
        for column in columns
    ]
    return Standing(any(flag.word(row) == "true" for row in rows), found[0], found[1], found[2] or Fraction(0))


def flagged(bound: Bound) -> npt.NDArray[np.bool_] | None:
    """Return which buckets are in liquidation by the snapshot, None where none is."""
    out = None
    for table in ("accounts", "positions"):
        codes = bound.snapshot.choices(table, "in_liquidation").codes
        if not codes.any():
            continue
        if out is None:
            out = np.zeros(len(bound.buckets.account), np.bool_)
        for bucket in np.flatnonzero((bound.buckets.instrument == CROSS) == (table == "accounts")).tolist():
            out[bucket] = any(codes[row] for row in rows_of(bound, bucket)[1])
    return out


def with_standing(snapshot: Snapshot, bound: Bound, changed: dict[int, Standing]) -> Snapshot:
    """Return the snapshot with the standings of some buckets in it."""
    for table in ("accounts", "positions"):
        cells = {row: s for b, s in changed.items() if rows_of(bound, b)[0] == table for row in rows_of(bound, b)[1]}
        if not cells:
            continue
        words = {row: "true" if s.in_liquidation else "false" for row, s in cells.items()}
        snapshot = with_choice(snapshot, table, "in_liquidation", words)
        for name, of in zip(_NUMBERS, ("cooldown_until", "started", "freed"), strict=True):
            numbers = {row: getattr(s, of) for row, s in cells.items()}
            if any(numbers.values()) or name in snapshot.tables[table]:
                snapshot = with_numbers(snapshot, table, name, numbers)
    return snapshot


def instant_of(snapshot: Snapshot) -> Fraction | None:
    """Return the instant of a snapshot as seconds since 1970, None where it has none."""
    return None if snapshot.as_of is None else exact(seconds_of(snapshot.as_of))
