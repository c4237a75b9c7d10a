"""Snapshot: the tables of one instant, read through any door, checked once, never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from riskpolicy.arrow import Coded
from riskpolicy.errors import Finding, SnapshotError, one_of, suggestion
from riskpolicy.numbers import parse_instant, utc
from riskpolicy.snapshot.columns import Choices, Column, Ids, Label, Numbers, code_ids
from riskpolicy.snapshot.files import read_path
from riskpolicy.snapshot.reading import SHOWN, TableReader
from riskpolicy.vocabulary import TABLES, Kind

_SETTINGS = ("as_of", "complete")

Longs: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class OrderedPositions:
    """The columns of positions by (account, instrument, side), whatever the order of the rows.

    account and instrument are codes, and the positions of account a are start[a] to start[a + 1]; isolated is 1 where
    the margin mode is, and empty where none is; `sided` says that some are a side of a hedged position. leverage is
    None where the column is absent, NaN where a value is.
    """

    account: npt.NDArray[np.int32]
    start: npt.NDArray[np.int32]
    instrument: npt.NDArray[np.int32]
    sided: bool
    isolated: npt.NDArray[np.uint8]
    quantity: npt.NDArray[np.float64]
    entry_price: npt.NDArray[np.float64]
    leverage: npt.NDArray[np.float64] | None


@dataclass(frozen=True)
class Snapshot:
    """Tables by name, each a mapping of its columns; absent tables are empty mappings.

    `as_of` is a UTC instant or None; `complete` says that every position of the venue is here. `order` is the rows of
    positions by their key, None where they stand in that order.
    """

    tables: Mapping[str, Mapping[str, Column]]
    rows: Mapping[str, int]
    as_of: datetime | None = None
    complete: bool = False
    given: frozenset[str] = field(default=frozenset())
    order: Longs | None = None

    @cached_property
    def ordered(self) -> OrderedPositions:
        """The positions in the order of their key; ordered once."""
        table = self.tables["positions"]
        mode = self.choices("positions", "margin_mode")
        isolated = (mode.codes == mode.words.index("isolated")).view(np.uint8)
        leverage, accounts = self.numbers("positions", "leverage"), self.ids("positions", "account")
        account, side = self._in_order(accounts.codes), self.choices("positions", "position_side")
        return OrderedPositions(
            account=account,
            start=np.searchsorted(account, np.arange(len(accounts.labels) + 1)).astype(np.int32),
            sided=bool((side.codes != side.words.index("net")).any()),
            instrument=self._in_order(self.ids("positions", "instrument").codes),
            isolated=self._in_order(isolated) if isolated.any() else isolated[:0],
            quantity=self._in_order(_values(table.get("quantity"))),
            entry_price=self._in_order(_values(table.get("entry_price"))),
            leverage=None if leverage is None else self._in_order(leverage.values),
        )

    def _in_order(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.ascontiguousarray(values) if self.order is None else values[self.order]

    @classmethod
    def of(cls, source: Snapshot | Mapping[str, Any] | str | Path) -> Snapshot:
        """Read a snapshot from a mapping of tables, from a JSON file that holds one, or from a directory of tables.

        A table is a mapping of columns (arrays or lists), a list of rows, a pandas frame, or anything with
        `__arrow_c_stream__`. A directory holds one CSV or Parquet file a table. Numbers may be float, int, Decimal or
        text; a float means its shortest decimal. Raises SnapshotError with every fault.
        """
        if isinstance(source, Snapshot):
            return source
        raw = read_path(Path(source)) if isinstance(source, str | Path) else source
        if not isinstance(raw, Mapping):
            hint = "pass {'positions': ..., 'accounts': ..., 'markets': ...}"
            raise SnapshotError(Finding("snapshot_form", "a snapshot is a mapping of tables", hint))
        return _Reading(raw).snapshot()

    def ids(self, table: str, column: str) -> Ids:
        """Return a column of ids."""
        found = self.tables[table][column]
        assert isinstance(found, Ids)
        return found

    def numbers(self, table: str, column: str) -> Numbers | None:
        """Return a column of numbers, None where the snapshot leaves it out."""
        found = self.tables[table].get(column)
        assert found is None or isinstance(found, Numbers)
        return found

    def choices(self, table: str, column: str) -> Choices:
        """Return a column of choices."""
        found = self.tables[table][column]
        assert isinstance(found, Choices)
        return found


class _Reading:
    """One pass over the raw tables: columns, then name spaces, then keys."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw
        self.findings: list[Finding] = []

    def snapshot(self) -> Snapshot:
        self._table_names()
        as_of, complete = self._settings()
        readers = {name: TableReader(table, self.raw.get(name, [])) for name, table in TABLES.items()}
        columns: dict[str, dict[str, Column]] = {name: {} for name in TABLES}
        ids: dict[str, list[tuple[str, npt.NDArray[np.generic] | Coded | list[Label]]]] = {}
        for name, reader in readers.items():
            for column in reader.table.columns:
                if column.kind is not Kind.ID:
                    if (found := reader.column(column)) is not None:
                        columns[name][column.name] = found
                elif column.required or column.name in reader.raw:
                    ids.setdefault(column.name, []).append((name, reader.ids(column)))
            self.findings += reader.findings
        if self.findings:
            raise SnapshotError(self.findings)
        for column_name, parts in ids.items():
            for (name, _), coded in zip(parts, code_ids([values for _, values in parts]), strict=True):
                columns[name][column_name] = coded
        order = {name: self._unique(reader, columns[name]) for name, reader in readers.items()}
        if self.findings:
            raise SnapshotError(self.findings)
        rows = {name: reader.rows for name, reader in readers.items()}
        return Snapshot(columns, rows, as_of, complete, frozenset(self.raw), order["positions"])

    def _table_names(self) -> None:
        known = [*TABLES, *_SETTINGS]
        for name in self.raw:
            if name not in known:
                hint = suggestion(str(name), known) or f"tables: {one_of(TABLES)}"
                self.findings.append(Finding("unknown_table", f"a snapshot has no table `{name}`", hint))
        if "positions" not in self.raw:
            hint = "add `positions`; an empty list where there are none"
            self.findings.append(Finding("missing_table", "the snapshot has no table `positions`", hint))

    def _settings(self) -> tuple[datetime | None, bool]:
        as_of, complete = self.raw.get("as_of"), self.raw.get("complete", False)
        if not isinstance(complete, bool):
            self.findings.append(Finding("wrong_type", "`complete` must be true or false"))
            complete = False
        if as_of is None or isinstance(as_of, datetime):
            return as_of and utc(as_of), complete
        try:
            return parse_instant(str(as_of)), complete
        except ValueError:
            hint = "write an ISO 8601 date or date and time, such as 2026-09-01T00:00:00Z"
            self.findings.append(Finding("invalid_instant", f"`as_of` `{as_of}` is not an instant", hint))
            return None, complete

    def _unique(self, reader: TableReader, columns: Mapping[str, Column]) -> Longs | None:
        """Return the rows by their key, None where they stand in that order; report those that repeat one."""
        keys = [_codes(columns[name]) for name in reader.table.key if name in columns]
        if not keys or len(keys) < len(reader.table.key) or reader.rows < 2 or _rising(keys):
            return None
        order = np.lexsort(keys[::-1])
        same = np.ones(reader.rows - 1, bool)
        for key in keys:
            same &= key[order][1:] == key[order][:-1]
        again = np.flatnonzero(same)
        for i in again[:SHOWN]:
            first, second = sorted((int(order[i]), int(order[i + 1])))
            message = f"{reader.row_name(second)} has the same key as {reader.table.name}[{first}]"
            reader.fault("duplicate_row", message, f"the key is {', '.join(reader.table.key)}")
        if len(again) > SHOWN:
            reader.fault("duplicate_row", f"{reader.table.name}: {len(again) - SHOWN:,} more rows repeat a key")
        self.findings += [f for f in reader.findings if f not in self.findings]
        return order


def _codes(column: Column) -> npt.NDArray[np.generic]:
    assert not isinstance(column, Numbers)
    return column.codes


def _rising(keys: Sequence[npt.NDArray[np.generic]]) -> bool:
    """Return whether every row's key is above that of the row before."""
    rising = np.zeros(len(keys[0]) - 1, bool)
    for key in reversed(keys):
        rising = (key[1:] > key[:-1]) | ((key[1:] == key[:-1]) & rising)
    return bool(rising.all())


def _values(column: Column | None) -> npt.NDArray[np.float64]:
    return column.values if isinstance(column, Numbers) else np.zeros(0)
