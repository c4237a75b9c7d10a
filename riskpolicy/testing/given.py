"""What a rule test is given, as the tables of a snapshot; faults in them are found again in the file.

The tables of a snapshot file lie below those of the file of tests, and those below the test's own; `marks` is a short
way of writing `markets`. A snapshot in YAML may itself begin with `snapshot: base.yaml`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from riskpolicy.errors import Finding, Place, RiskPolicyError, SnapshotError, suggestion
from riskpolicy.ruleset.document import Document, Node, read_document
from riskpolicy.snapshot.json import read_json
from riskpolicy.testing.form import RuleTest
from riskpolicy.vocabulary import TABLES, Kind

_IDS = {c.name for table in TABLES.values() for c in table.columns if c.kind is Kind.ID}
_ROW = re.compile(r"(\w+)\[(\d+)\](?: \([^)]*\))?(?:: (\w+))?")
_COLUMN = re.compile(r"`(\w+)` has no column `(\w+)`")
_TABLE = re.compile(r"`(\w+)`")


class Given:
    """The tables of one test, as Snapshot.of reads them, with the nodes that they come from."""

    def __init__(self, test: RuleTest, files: dict[Path, Mapping[str, Any]] | None = None) -> None:
        self.test = test
        self.nodes: dict[str, Node] = {key: node for layer in test.given for key, node in _items(layer)}
        known = {} if files is None else files
        self.tables: dict[str, Any] = {} if test.snapshot is None else dict(snapshot_file(test.snapshot, known))
        self.tables.update((key, plain(node)) for key, node in self.nodes.items())
        self.marks: dict[str, Node] = {name: node for layer in test.marks for name, node in _items(layer)}
        if self.marks:
            self.tables["markets"] = self._marked(self.tables.get("markets", []))
        # What a resolution is given beside the tables.
        self.execution: Any = self.tables.pop("execution", "book")
        self.events: Any = self.tables.pop("events", [])
        if (test.given or self.marks) and "positions" not in self.tables:
            self.tables["positions"] = []

    def _marked(self, markets: object) -> object:
        """Put the marks into the markets: into the row of an instrument, or as a row of its own."""
        rows = _rows(markets)
        if rows is None:
            return markets
        left = {name: node.value for name, node in self.marks.items()}
        made = [{**row, "mark_price": left.pop(str(row.get("instrument")), row.get("mark_price"))} for row in rows]
        return [*made, *({"instrument": name, "mark_price": price} for name, price in left.items())]

    def located(self, error: RiskPolicyError) -> tuple[Finding, ...]:
        """Return an error's findings, each with the place in the test that it is about."""
        return tuple(f if f.place else replace(f, place=self._place(f.message)) for f in error.findings)

    def _place(self, message: str) -> Place:
        document = self.test.document
        if found := _ROW.match(message):
            table, number, column = found[1], int(found[2]), found[3]
            row = _row(self.nodes.get(table), number)
            if row is not None:
                below = row.value.get(column or "") if isinstance(row.value, dict) else None
                where = below or row
                return document.place(where.line, where.column)
            if table == "markets" and self.marks:
                first = next(iter(self.marks.values()))
                return document.place(first.line, first.column)
        if (found := _COLUMN.match(message)) and (place := self._key(found[1], found[2])):
            return place
        if (found := _TABLE.search(message)) and found[1] in self.nodes:
            node = self.nodes[found[1]]
            return document.place(node.line, node.column)
        for layer in self.test.given:
            word = next((key for key in layer.keys if f"`{key}`" in message), None)
            if word:
                return document.place(*layer.keys[word])
        return self.test.place

    def _key(self, table: str, column: str) -> Place | None:
        node = self.nodes.get(table)
        rows = node.value if node is not None and isinstance(node.value, list) else [node] if node else []
        for row in rows:
            if column in row.keys:
                return self.test.document.place(*row.keys[column])
        return None


def plain(node: Node, column: str = "") -> Any:
    """Return a node as snapshots read it: a whole number in a column of ids is an integer."""
    if isinstance(node.value, dict):
        return {key: plain(child, key) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child, column) for child in node.value]
    return _label(node.value) if column in _IDS else node.value


def snapshot_file(path: Path, known: dict[Path, Mapping[str, Any]], above: Sequence[Path] = ()) -> Mapping[str, Any]:
    """Return the tables of a JSON or YAML file, over those of the file that it names as its base.

    `known` keeps what was read. RulesetError or SnapshotError for a file that cannot be read, or names itself in the
    end.
    """
    resolved = path.resolve()
    if resolved in known:
        return known[resolved]
    raw, document = _read(path)
    base = raw.pop("snapshot", None)
    if base is not None:
        place = document.value_place(("snapshot",)) if document else None
        below = path.parent / str(base)
        if below.resolve() in (*above, resolved):
            chain = " -> ".join(p.name for p in (*above, resolved, below))
            message = f"snapshots build on each other in a circle: {chain}"
            raise SnapshotError(Finding("circular_reference", message, "take one `snapshot:` out", place))
        raw = {**snapshot_file(below, known, (*above, resolved)), **raw}
    known[resolved] = raw
    return raw


def _read(path: Path) -> tuple[dict[str, Any], Document | None]:
    if path.suffix not in (".yaml", ".yml"):
        raw, document = read_json(path), None
        place = None
    else:
        document = read_document(str(path))
        raw, place = plain(document.root), document.place(0, 0)
    if not isinstance(raw, dict):
        near = suggestion("positions", list(TABLES))
        message = f"`{path.name}` is no mapping of tables"
        raise SnapshotError(Finding("snapshot_form", message, near and "begin with `positions:`", place))
    return dict(raw), document


def _items(node: Node) -> Iterator[tuple[str, Node]]:
    return iter(node.value.items() if isinstance(node.value, dict) else ())


def _row(table: Node | None, number: int) -> Node | None:
    if table is not None and isinstance(table.value, list) and number < len(table.value):
        return table.value[number]
    return None


def _rows(table: object) -> list[dict[str, Any]] | None:
    """Return a table as rows, None where it is none; columns of different length are left to the snapshot."""
    if isinstance(table, list):
        return [dict(row) for row in table] if all(isinstance(row, dict) for row in table) else None
    if not isinstance(table, dict) or not all(isinstance(column, list) for column in table.values()):
        return None
    if len({len(column) for column in table.values()}) != 1:
        return None
    return [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]


def _label(value: Any) -> Any:
    whole = isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value()
    return int(value) if whole else value
