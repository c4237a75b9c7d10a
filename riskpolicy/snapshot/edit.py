"""Snapshots that differ from another in a few cells or rows; what is not touched is shared."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import numpy as np

from riskpolicy.numbers import exact
from riskpolicy.snapshot.columns import Choices, Column, Ids, Numbers
from riskpolicy.snapshot.snapshot import Snapshot
from riskpolicy.vocabulary import TABLES, Kind

#: A new cell: an exact number, a word, or an id as its code.
Cell = Fraction | str | int


def with_numbers(snapshot: Snapshot, table: str, column: str, cells: Mapping[int, Fraction]) -> Snapshot:
    """Return a snapshot with other numbers in some rows of a column, which may be absent so far."""
    columns = dict(snapshot.tables[table])
    found = columns.get(column)
    rows = snapshot.rows[table]
    given = found if isinstance(found, Numbers) else Numbers(np.full(rows, np.nan), np.ones(rows, bool))
    columns[column] = _put(given, cells)
    return replace(snapshot, tables={**snapshot.tables, table: columns})


def with_choice(snapshot: Snapshot, table: str, column: str, cells: Mapping[int, str]) -> Snapshot:
    """Return a snapshot with other words in some rows of a column."""
    found = snapshot.choices(table, column)
    codes = found.codes.copy()
    for row, word in cells.items():
        codes[row] = found.words.index(word)
    columns = {**snapshot.tables[table], column: Choices(codes, found.words)}
    return replace(snapshot, tables={**snapshot.tables, table: columns})


def with_row(snapshot: Snapshot, table: str, cells: Mapping[str, Cell]) -> Snapshot:
    """Return a snapshot with one more row at the end of a table; columns that are not named are null there."""
    rows = snapshot.rows[table]
    columns: dict[str, Column] = {}
    for column in TABLES[table].columns:
        found, cell = snapshot.tables[table].get(column.name), cells.get(column.name)
        if isinstance(found, Ids):
            assert isinstance(cell, int)
            columns[column.name] = Ids(np.append(found.codes, np.int32(cell)), found.labels)
        elif isinstance(found, Choices):
            word = str(column.default if cell is None else cell)
            columns[column.name] = Choices(np.append(found.codes, np.int8(found.words.index(word))), found.words)
        elif column.kind is Kind.NUMBER and (found is not None or cell is not None):
            given = found if isinstance(found, Numbers) else Numbers(np.full(rows, np.nan), np.ones(rows, bool))
            missing = np.append(np.zeros(rows, bool) if given.missing is None else given.missing, True)
            longer = Numbers(np.append(given.values, np.nan), missing, given.beyond)
            columns[column.name] = _put(longer, {} if cell is None else {rows: Fraction(cell)})
    made = replace(
        snapshot,
        tables={**snapshot.tables, table: columns},
        rows={**snapshot.rows, table: rows + 1},
        given=snapshot.given | {table},
    )
    return replace(made, order=_order_with_last(made)) if table == "positions" else made


def _put(given: Numbers, cells: Mapping[int, Fraction]) -> Numbers:
    values, beyond = given.values.copy(), dict(given.beyond)
    missing = None if given.missing is None else given.missing.copy()
    for row, number in cells.items():
        nearest = float(number)
        values[row] = nearest
        beyond.pop(row, None)
        if exact(nearest) != number:
            beyond[row] = number
        if missing is not None:
            missing[row] = False
    return Numbers(values, missing if missing is not None and missing.any() else None, beyond)


def _order_with_last(snapshot: Snapshot) -> np.ndarray[tuple[int], np.dtype[np.int64]] | None:
    """Return the order of positions by key, their last row put into its place."""
    table, last = snapshot.tables["positions"], snapshot.rows["positions"] - 1
    keys = [column.codes for name in TABLES["positions"].key if not isinstance(column := table[name], Numbers)]

    def key(row: int) -> tuple[int, ...]:
        return tuple(int(codes[row]) for codes in keys)

    before = np.arange(last, dtype=np.int64) if snapshot.order is None else snapshot.order
    place = bisect(before, key(last), key=lambda row: key(int(row)))
    if snapshot.order is None and place == last:
        return None
    return np.insert(before, place, last)
