"""Result tables: columns that know how they are printed."""

from __future__ import annotations

import csv
import html
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from riskpolicy.arrow import library
from riskpolicy.numbers import decimal_text

Value: TypeAlias = str | int | float | list[str] | None


#: Rows that a notebook shows of a table.
SHOWN_ROWS = 20


class Shape(Enum):
    """How a column's values are written: money as decimal text, numbers as numbers."""

    TEXT = "text"
    MONEY = "money"
    NUMBER = "number"
    COUNT = "count"
    RULES = "rules"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a result. NaN in MONEY and NUMBER, and -1 in COUNT, are null.

    TEXT and RULES hold codes into `words`; code -1 is null.
    """

    shape: Shape
    values: npt.NDArray[Any]
    words: Sequence[Any] = ()

    def value(self, row: int) -> Value:
        """Return a row's value as it stands in JSON."""
        raw = self.values[row]
        if self.shape is Shape.COUNT:
            return None if raw < 0 else int(raw)
        if self.shape in (Shape.TEXT, Shape.RULES):
            word = None if raw < 0 else self.words[int(raw)]
            if isinstance(word, np.integer):
                return int(word)
            return list(word) if isinstance(word, tuple) else word
        number = float(raw)
        if math.isnan(number):
            return None
        if math.isinf(number):
            return "Infinity" if number > 0 else "-Infinity"
        return decimal_text(number) if self.shape is Shape.MONEY else number + 0.0


@dataclass(frozen=True, slots=True)
class ResultTable:
    """Columns of equal length under their names."""

    name: str
    columns: Mapping[str, Column]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())).values)

    def __getitem__(self, column: str) -> npt.NDArray[Any]:
        """Return a column's array; codes are replaced by their words."""
        found = self.columns[column]
        if found.shape not in (Shape.TEXT, Shape.RULES):
            return found.values
        out = np.empty(len(self), dtype=object)
        out[:] = [found.value(row) for row in range(len(self))]
        return out

    def to_arrow(self) -> Any:
        """Return a pyarrow table: money and numbers as float64, texts dictionary-encoded, missing as null.

        ArrowReadError where pyarrow is not installed.
        """
        arrow = library()
        return arrow.table({name: _arrow(arrow, column) for name, column in self.columns.items()})

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Offer the table as an Arrow stream, so that other libraries take it as it is."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def to_pandas(self) -> Any:
        """Return a pandas frame: texts categorical, counts Int64 with NA, rules lists. ImportError without pandas."""
        pandas = import_module("pandas")
        return pandas.DataFrame({name: _series(pandas, column) for name, column in self.columns.items()})

    def write_parquet(self, path: str | Path) -> None:
        """Write the table as a Parquet file. ArrowReadError where pyarrow is not installed."""
        library()
        import_module("pyarrow.parquet").write_table(self.to_arrow(), str(path))

    def write_csv(self, path: str | Path) -> None:
        """Write the table as CSV: money as decimal text, rules joined by blanks, missing as an empty cell."""
        with Path(path).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(self.columns)
            writer.writerows(zip(*(_cells(column) for column in self.columns.values()), strict=True))

    def _repr_html_(self) -> str:
        """Return the first rows as HTML, for notebooks."""
        shown = min(len(self), SHOWN_ROWS)
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(_cell(value))}</td>" for value in self.row(number).values()) + "</tr>"
            for number in range(shown)
        )
        more = f"<p>{len(self) - shown:,} more rows</p>" if len(self) > shown else ""
        title = f"<caption>{html.escape(self.name)}: {len(self):,} row{'' if len(self) == 1 else 's'}</caption>"
        return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"

    def row(self, number: int) -> dict[str, Value]:
        """Return one row as it stands in JSON."""
        return {name: column.value(number) for name, column in self.columns.items()}

    def rows(self) -> Iterator[dict[str, Value]]:
        """Yield every row as it stands in JSON."""
        return (self.row(number) for number in range(len(self)))


def _cell(value: Value) -> str:
    if value is None:
        return ""
    return ", ".join(value) if isinstance(value, list) else str(value)


def _arrow(arrow: Any, column: Column) -> Any:
    values = np.asarray(column.values)
    if column.shape in (Shape.MONEY, Shape.NUMBER):
        return arrow.array(values, mask=np.isnan(values))
    if column.shape is Shape.COUNT:
        return arrow.array(values.astype(np.int64), mask=values < 0)
    codes = arrow.array(values.astype(np.int32), mask=values < 0)
    if column.shape is Shape.RULES:
        return arrow.array([list(word) for word in column.words], arrow.list_(arrow.string())).take(codes)
    words = _words(column)
    if words and not isinstance(words[0], str):
        return arrow.array(words, arrow.int64()).take(codes)
    return arrow.DictionaryArray.from_arrays(codes, arrow.array(words, arrow.string()))


def _series(pandas: Any, column: Column) -> Any:
    values = np.asarray(column.values)
    if column.shape in (Shape.MONEY, Shape.NUMBER):
        return values
    if column.shape is Shape.COUNT:
        return pandas.arrays.IntegerArray(values.astype(np.int64), values < 0)
    words = _words(column)
    if column.shape is Shape.RULES or (words and not isinstance(words[0], str)):
        listed = [None if code < 0 else words[code] for code in values.tolist()]
        return listed if column.shape is Shape.RULES else pandas.array(listed, dtype="Int64")
    return pandas.Categorical.from_codes(values, pandas.Index(words, dtype=object))


def _cells(column: Column) -> list[Any]:
    """Return a column as the cells of a CSV file."""
    values = np.asarray(column.values)
    if column.shape in (Shape.TEXT, Shape.RULES):
        words = [" ".join(word) if isinstance(word, list) else word for word in _words(column)]
        return [None if code < 0 else words[code] for code in values.tolist()]
    if column.shape is Shape.MONEY:
        return [_digits(number) for number in values.tolist()]
    if column.shape is Shape.COUNT:
        return [None if number < 0 else number for number in values.tolist()]
    plain = np.isfinite(values)
    listed: list[Any] = (values + 0.0).tolist()
    for row in np.flatnonzero(~plain).tolist():
        listed[row] = column.value(row)
    return listed


def _digits(number: float) -> str | None:
    """Return money as decimal text; most of it is written as Python writes it."""
    written = repr(number + 0.0)
    if written.endswith(".0"):
        return written[:-2]
    if "e" not in written and "n" not in written:
        return written
    return None if math.isnan(number) else decimal_text(number) if math.isfinite(number) else f"{number}"


def _words(column: Column) -> list[Any]:
    """Return a column's words as plain objects, in order of their codes."""
    given: Any = column.words
    words = given.tolist() if isinstance(given, np.ndarray) else given
    return [list(word) if isinstance(word, tuple) else word for word in words]


def money(values: npt.NDArray[np.float64]) -> Column:
    """Return a column of money."""
    return Column(Shape.MONEY, values)


def number(values: npt.NDArray[np.float64]) -> Column:
    """Return a column of prices, ratios or quantities."""
    return Column(Shape.NUMBER, values)


def count(values: npt.NDArray[Any]) -> Column:
    """Return a column of whole numbers, -1 for null."""
    return Column(Shape.COUNT, values)


def text(codes: npt.NDArray[Any], words: Sequence[Any]) -> Column:
    """Return a column of words by code, -1 for null."""
    return Column(Shape.TEXT, codes, words)


def rules(codes: npt.NDArray[Any], words: Sequence[tuple[str, ...]]) -> Column:
    """Return a column of rule ids by code."""
    return Column(Shape.RULES, codes, words)
