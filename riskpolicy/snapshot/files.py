"""A snapshot in a directory: one CSV or Parquet file a table, and snapshot.json for what is no table."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from riskpolicy.arrow import ArrowReadError, read_parquet
from riskpolicy.errors import Finding, Place, SnapshotError, one_of, suggestion
from riskpolicy.numbers import NumberError, parse_decimal
from riskpolicy.snapshot.json import read_json
from riskpolicy.vocabulary import TABLES, Kind

SETTINGS = "snapshot.json"
_SUFFIXES = (".csv", ".parquet")
#: A number of at most 15 characters survives the float.
_SHORT = re.compile(r"[-+]?(?=.{1,14}$)[0-9]+(\.[0-9]*)?")


class CsvTable(dict[str, list[Any]]):
    """The columns of a CSV file, with the line of the file in which each row begins."""

    def __init__(self, columns: Mapping[str, list[Any]], path: Path, lines: list[int]) -> None:
        super().__init__(columns)
        self.path = path
        self.lines = lines

    def place_of_row(self, row: int) -> str:
        """Return `positions.csv:7` for a row."""
        return f"{self.path.name}:{self.lines[row]}" if row < len(self.lines) else self.path.name


def read_path(path: Path) -> Any:
    """Return the raw tables of a JSON file or of a directory of tables; SnapshotError for anything else."""
    if path.is_dir():
        return _read_directory(path)
    if path.suffix.lower() in _SUFFIXES and path.exists():
        name = path.stem if path.stem in TABLES else "positions"
        hint = f"put it into a directory as `{name}{path.suffix}`, beside the others"
        raise SnapshotError(Finding("snapshot_form", f"`{path}` is one table; a snapshot is several", hint))
    return read_json(path)


def _read_directory(folder: Path) -> dict[str, Any]:
    raw: dict[str, Any] = {}
    findings: list[Finding] = []
    settings = folder / SETTINGS
    if settings.exists():
        given = read_json(settings)
        if not isinstance(given, Mapping):
            raise SnapshotError(Finding("snapshot_form", f"`{settings}` is no object", "it holds as_of and complete"))
        raw.update(given)
    for path in sorted(folder.iterdir()):
        name = path.stem
        if path.suffix.lower() not in _SUFFIXES or name.startswith("."):
            continue
        if name not in TABLES:
            hint = suggestion(name, TABLES) or f"tables: {one_of(TABLES)}"
            findings.append(Finding("unknown_table", f"`{path.name}`: a snapshot has no table `{name}`", hint))
        elif name in raw:
            findings.append(
                Finding("duplicate_key", f"`{folder}` has the table `{name}` twice", "keep one file a table")
            )
        else:
            raw[name] = _read_table(path, name)
    if findings:
        raise SnapshotError(findings)
    if not raw:
        hint = "it holds positions.csv or positions.parquet, and other tables beside it"
        raise SnapshotError(Finding("missing_table", f"`{folder}` holds no table of a snapshot", hint))
    return raw


def _read_table(path: Path, name: str) -> Any:
    if path.suffix.lower() == ".csv":
        return _read_csv(path, name)
    try:
        return read_parquet(str(path))
    except ArrowReadError as error:
        raise SnapshotError(Finding("file_unreadable", str(error), error.hint)) from None


def _read_csv(path: Path, name: str) -> CsvTable:
    """Return the columns of a CSV file; an empty cell is null, numbers keep every digit."""
    kinds = {column.name: column.kind for column in TABLES[name].columns}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [cell.strip() for cell in next(reader, [])]
            if not header or not all(header):
                raise _fault(path, 1, "the first line must name the columns")
            if len(set(header)) < len(header):
                twice = next(cell for cell in header if header.count(cell) > 1)
                raise _fault(path, 1, f"the column `{twice}` is named twice")
            rows, lines = [], []
            last = reader.line_num
            for row in reader:
                if row:
                    if len(row) != len(header):
                        raise _fault(path, last + 1, f"{len(row)} cells; the header has {len(header)}")
                    rows.append(row)
                    lines.append(last + 1)
                last = reader.line_num
    except (UnicodeDecodeError, csv.Error) as error:
        raise SnapshotError(Finding("file_unreadable", f"`{path}`: {error}", "save it as CSV in UTF-8")) from None
    except OSError as error:
        raise SnapshotError(Finding("file_unreadable", f"cannot read `{path}`: {error.strerror}")) from None
    cells = list(zip(*rows, strict=True)) if rows else [()] * len(header)
    read = {
        title: [_number(cell) for cell in column]
        if kinds.get(title) is Kind.NUMBER
        else [cell or None for cell in column]
        for title, column in zip(header, cells, strict=True)
    }
    return CsvTable(read, path, lines)


def _fault(path: Path, line: int, message: str) -> SnapshotError:
    return SnapshotError(Finding("snapshot_form", message, "", Place(str(path), line, 1)))


def _number(cell: str) -> float | Decimal | str | None:
    """Return a number; up to 15 characters survive the float, more are kept as written, and what is none as text."""
    if _SHORT.fullmatch(cell):
        return float(cell)
    text = cell.strip()
    if not text:
        return None
    try:
        value = parse_decimal(text)
    except NumberError:
        return text
    return float(text) if len(text) <= 15 else value
