"""Snapshots that differ from another in a few cells or rows; what is not touched is shared."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import numpy as np

from riskpolicy.kernel import memory
from riskpolicy.numbers import exact
from riskpolicy.snapshot.columns import Choices, Column, Ids, Numbers
from riskpolicy.snapshot.snapshot import Snapshot
from riskpolicy.vocabulary import TABLES, Kind

#: A new cell: an exact number, a word, or an id as its code.
Cell = Fraction | str | int


def with_numbers(snapshot: Snapshot, table: str, column: str, cells: Mapping[int, Fraction | None]) -> Snapshot:
    """Return a snapshot with other numbers in some rows of a column, which may be absent so far; None for null."""
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


def without_rows(snapshot: Snapshot, table: str, rows: set[int]) -> Snapshot:
    """Return a snapshot without some rows of a table whose order does not matter, such as orders."""
    kept = np.array([r for r in range(snapshot.rows[table]) if r not in rows], np.int64)
    columns: dict[str, Column] = {}
    for name, column in snapshot.tables[table].items():
        if isinstance(column, Ids):
            columns[name] = Ids(column.codes[kept], column.labels)
        elif isinstance(column, Choices):
            columns[name] = Choices(column.codes[kept], column.words)
        else:
            missing = None if column.missing is None else column.missing[kept]
            place = {int(old): new for new, old in enumerate(kept)}
            beyond = {place[r]: x for r, x in column.beyond.items() if r in place}
            columns[name] = Numbers(column.values[kept], missing, beyond)
    tables = {**snapshot.tables, table: columns}
    return replace(snapshot, tables=tables, rows={**snapshot.rows, table: len(kept)})


def with_label(snapshot: Snapshot, column: str, label: str) -> tuple[Snapshot, int]:
    """Return a snapshot whose ids of one kind have one more label, and that label's code."""
    found = next(c for t in snapshot.tables.values() if isinstance(c := t.get(column), Ids))
    before = [str(x) for x in found.labels]
    code = bisect(before, label)
    if code and before[code - 1] == label:
        return snapshot, code - 1
    # Ids were text or are now: an outside party's name is no number.
    order = sorted([*before, label])
    place = np.array(_places(before, order), np.int64)
    tables = {}
    for name, columns in snapshot.tables.items():
        ids = columns.get(column)
        changed = {column: Ids(place[ids.codes].astype(np.int32), order)} if isinstance(ids, Ids) else {}
        tables[name] = {**columns, **changed}
    made = replace(snapshot, tables=tables)
    return replace(made, order=_order(made)), order.index(label)


def _places(before: list[str], order: list[str]) -> list[int]:
    number = {label: k for k, label in enumerate(order)}
    return [number[label] for label in before]


def _order(snapshot: Snapshot) -> np.ndarray[tuple[int], np.dtype[np.int64]] | None:
    """Return the order of positions by key, None where they stand in it."""
    table = snapshot.tables["positions"]
    keys = [column.codes for name in TABLES["positions"].key if not isinstance(column := table[name], Numbers)]
    order = np.lexsort(keys[::-1])
    return None if np.array_equal(order, np.arange(len(order))) else order


def with_row(snapshot: Snapshot, table: str, cells: Mapping[str, Cell]) -> Snapshot:
    """Return a snapshot with one more row at the end of a table; columns that are not named are null there.

    An id is its code, or its label as text.
    """
    rows = snapshot.rows[table]
    columns: dict[str, Column] = {}
    cells = dict(cells)
    for column in TABLES[table].columns:
        if column.kind is not Kind.ID:
            continue
        cell, known = cells.get(column.name), any(column.name in columns for columns in snapshot.tables.values())
        # Only a column that is not required may stay empty: the empty label is its null.
        if known and (cell is None) == (column.name in snapshot.tables[table]) and rows:
            snapshot, _ = with_label(snapshot, column.name, "")
        if isinstance(cell, str) and known:
            snapshot, cells[column.name] = with_label(snapshot, column.name, cell)
    for column in TABLES[table].columns:
        found, cell = snapshot.tables[table].get(column.name), cells.get(column.name)
        if isinstance(found, Ids):
            code = found.labels.index("") if cell is None else cell
            assert isinstance(code, int)
            columns[column.name] = Ids(np.append(found.codes, np.int32(code)), found.labels)
        elif column.kind is Kind.ID and cell is not None:
            columns[column.name] = _first_ids(snapshot, column.name, rows, cell)
        elif isinstance(found, Choices):
            word = str(column.default if cell is None else cell)
            columns[column.name] = Choices(np.append(found.codes, np.int8(found.words.index(word))), found.words)
        elif column.kind in (Kind.NUMBER, Kind.INSTANT) and (found is not None or cell is not None):
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


def _first_ids(snapshot: Snapshot, column: str, rows: int, cell: Cell) -> Ids:
    """Return a column of ids that the table has not had so far: empty in the rows before the last."""
    known = next((c for t in snapshot.tables.values() if isinstance(c := t.get(column), Ids)), None)
    if known is None:
        labels = sorted({str(cell), *([""] if rows else [])})
        return Ids(np.array([*[0] * rows, labels.index(str(cell))], np.int32), labels)
    assert isinstance(cell, int)
    return Ids(np.array([*[known.labels.index("") if rows else 0] * rows, cell], np.int32), known.labels)


def _put(given: Numbers, cells: Mapping[int, Fraction | None]) -> Numbers:
    values, beyond = memory.empty(len(given.values)), dict(given.beyond)
    values[:] = given.values
    missing = None if given.missing is None else given.missing.copy()
    for row, number in cells.items():
        if number is None:
            missing = np.zeros(len(values), bool) if missing is None else missing
            values[row], missing[row] = np.nan, True
            beyond.pop(row, None)
            continue
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
