"""The three kinds of column: ids as codes, numbers with their exact values, choices as codes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from riskpolicy.arrow import Coded
from riskpolicy.numbers import exact

Label: TypeAlias = str | int


@dataclass(frozen=True, slots=True)
class Ids:
    """Ids of one name space: `labels` are sorted, `codes` index them, so that codes sort like labels."""

    codes: npt.NDArray[np.int32]
    labels: Sequence[Label]

    def __len__(self) -> int:
        return len(self.codes)

    def label(self, row: int) -> Label:
        """Return the id in a row."""
        return plain(self.labels[int(self.codes[row])])


@dataclass(frozen=True, slots=True)
class Numbers:
    """float64 values; NaN where `missing`. `exact` holds the rows whose text says more than the float."""

    values: npt.NDArray[np.float64]
    missing: npt.NDArray[np.bool_] | None = None
    beyond: dict[int, Fraction] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    def exact(self, row: int) -> Fraction | None:
        """Return the exact value in a row; None where it is missing."""
        if self.missing is not None and self.missing[row]:
            return None
        return self.beyond.get(row) or exact(float(self.values[row]))


@dataclass(frozen=True, slots=True)
class Choices:
    """Texts of a closed list, as their places in it."""

    codes: npt.NDArray[np.int8]
    words: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def word(self, row: int) -> str:
        """Return the text in a row."""
        return self.words[int(self.codes[row])]


Column: TypeAlias = Ids | Numbers | Choices


def plain(label: Label | np.integer) -> Label:
    """Return a label as a Python object."""
    return int(label) if isinstance(label, np.integer) else label


def code_ids(parts: Sequence[npt.NDArray[np.generic] | Coded | list[Label]]) -> list[Ids]:
    """Give one name space to several columns of ids; if any of them holds text, all ids are text."""
    arrays = [part for part in parts if isinstance(part, np.ndarray) and part.dtype.kind in "iu"]
    if len(arrays) < sum(len(part) > 0 for part in parts):
        return _recoded([part if isinstance(part, Coded) else _coded(part) for part in parts])
    numbers = [part.astype(np.int64) if isinstance(part, np.ndarray) else np.zeros(0, np.int64) for part in parts]
    labels, codes = np.unique(np.concatenate(numbers), return_inverse=True)
    split = np.split(codes.astype(np.int32), np.cumsum([len(part) for part in numbers])[:-1])
    return [Ids(part, labels) for part in split]  # type: ignore[arg-type]


def _recoded(parts: Sequence[Coded]) -> list[Ids]:
    """Give one name space to columns that are coded already, each by its own labels; unused labels are dropped."""
    used = [_used(part) for part in parts]
    labels = [[part.labels[code] for code in codes.tolist()] for part, codes in zip(parts, used, strict=True)]
    kinds = {type(label) for part in labels for label in part}
    if str in kinds and int in kinds:
        labels = [[str(label) for label in part] for part in labels]
    # A tuple of plain texts is nothing that the garbage collector would walk through again and again.
    words = tuple(sorted(set().union(*labels)))
    number = dict(zip(words, range(len(words)), strict=True))
    out = []
    for part, codes, of_part in zip(parts, used, labels, strict=True):
        place = np.zeros(len(part.labels), np.int32)
        place[codes] = np.fromiter(map(number.__getitem__, of_part), np.int32, len(of_part))
        out.append(Ids(place[part.codes], words))
    return out


def _used(part: Coded) -> npt.NDArray[np.int64]:
    used = np.zeros(len(part.labels), bool)
    used[part.codes] = True
    return np.flatnonzero(used)


def _coded(values: npt.NDArray[np.generic] | list[Label]) -> Coded:
    """Return a plain column with labels of its own."""
    if isinstance(values, np.ndarray):
        found, codes = np.unique(values, return_inverse=True)
        return Coded(codes.astype(np.int64), found.tolist())
    number: dict[Label, int] = {}
    coded = np.fromiter((number.setdefault(value, len(number)) for value in values), np.int64, len(values))
    return Coded(coded, [*number])


def beyond_float(values: Iterable[tuple[int, Decimal]]) -> dict[int, Fraction]:
    """Return the rows whose decimal is not the shortest decimal of its float."""
    return {row: Fraction(v) for row, v in values if Decimal(repr(float(v))) != v}
