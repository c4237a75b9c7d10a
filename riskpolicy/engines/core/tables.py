"""Result tables: columns that know how they are printed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from riskpolicy.numbers import decimal_text

Value: TypeAlias = str | int | float | list[str] | None


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

    def row(self, number: int) -> dict[str, Value]:
        """Return one row as it stands in JSON."""
        return {name: column.value(number) for name, column in self.columns.items()}

    def rows(self) -> Iterator[dict[str, Value]]:
        """Yield every row as it stands in JSON."""
        return (self.row(number) for number in range(len(self)))


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
