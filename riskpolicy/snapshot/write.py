"""A snapshot as plain data, as snapshots are read: numbers as decimal text where a float would say less."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from riskpolicy.numbers import fraction_text, moment_of
from riskpolicy.snapshot.columns import Choices, Ids, Numbers
from riskpolicy.snapshot.snapshot import Snapshot
from riskpolicy.vocabulary import TABLES, Kind

#: Digits after the point of a number that does not end.
_PLACES = 40


def snapshot_dict(snapshot: Snapshot) -> dict[str, Any]:
    """Return the tables of a snapshot for JSON; a number that no decimal ends is rounded after 40 places."""
    out: dict[str, Any] = {}
    if snapshot.as_of is not None:
        out["as_of"] = snapshot.as_of.isoformat()
    if snapshot.complete:
        out["complete"] = True
    for name in TABLES:
        if snapshot.rows.get(name) or name == "positions":
            out[name] = [_row(snapshot, name, row) for row in range(snapshot.rows[name])]
    return out


def _row(snapshot: Snapshot, table: str, row: int) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for name, column in snapshot.tables[table].items():
        if isinstance(column, Ids):
            if (label := column.label(row)) != "":
                cells[name] = label
        elif isinstance(column, Choices):
            cells[name] = column.word(row)
        else:
            value = _number(column, row)
            if value is not None and TABLES[table].column(name).kind is Kind.INSTANT:
                value = moment_of(column.exact(row) or Fraction(0)).isoformat()
            if value is not None:
                cells[name] = value
    return cells


def _number(column: Numbers, row: int) -> float | str | None:
    found = column.exact(row)
    if found is None:
        return None
    if row in column.beyond:
        return fraction_text(Fraction(found), _PLACES).lstrip("~")
    return float(column.values[row])
