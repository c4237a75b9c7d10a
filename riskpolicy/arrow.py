"""The Arrow reader: tables of other libraries as columns, without a copy where none is needed.

It needs pyarrow, which is an extra (`riskpolicy[arrow]`): it is imported when the first Arrow table arrives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

_MOST_EXACT = 10**15


class ArrowReadError(ValueError):
    """A table that can not be read; the message says why, `hint` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class Coded:
    """A column of texts or integers as codes into labels; a code below zero is null."""

    codes: npt.NDArray[np.int64]
    labels: list[Any]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, row: int) -> Any:
        code = int(self.codes[row])
        return None if code < 0 else self.labels[code]


@dataclass(frozen=True)
class Masked:
    """A column of numbers some of which are missing; what stands in a missing place means nothing."""

    values: npt.NDArray[Any]
    missing: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: int) -> Any:
        return None if self.missing[row] else self.values[row]


#: What a column is read as: an array without nulls, one of the above, or a list of Python values with None for null.
Values: TypeAlias = "npt.NDArray[Any] | Coded | Masked | list[Any]"


def library() -> Any:
    """Return pyarrow; ArrowReadError where it is not installed."""
    try:
        return import_module("pyarrow")
    except ImportError:
        raise ArrowReadError("Arrow tables and Parquet files need pyarrow", "pip install 'riskpolicy[arrow]'") from None


def is_arrow(table: object) -> bool:
    """Return whether a table offers itself as an Arrow stream."""
    return hasattr(table, "__arrow_c_stream__")


def is_frame(table: object) -> bool:
    """Return whether a table is a pandas frame, which is read through numpy, whether pyarrow is there or not."""
    return type(table).__module__.split(".")[0] == "pandas" and hasattr(table, "columns")


def read_arrow(table: Any) -> Mapping[str, Values]:
    """Return the columns of anything with `__arrow_c_stream__`, their chunks joined."""
    arrow = library()
    try:
        read = arrow.RecordBatchReader.from_stream(table).read_all()
    except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError, arrow.ArrowTypeError, TypeError) as error:
        raise ArrowReadError(f"not an Arrow table: {error}", "pass columns of one type each") from None
    return {name: _column(arrow, read.column(k)) for k, name in enumerate(read.column_names)}


def read_parquet(path: str) -> Mapping[str, Values]:
    """Return the columns of a Parquet file."""
    arrow = library()
    parquet = import_module("pyarrow.parquet")
    try:
        read = parquet.ParquetFile(path).read()
    except (OSError, arrow.ArrowInvalid, arrow.ArrowNotImplementedError) as error:
        raise ArrowReadError(f"cannot read `{path}`: {error}", "check that it is a Parquet file") from None
    return {name: _column(arrow, read.column(k)) for k, name in enumerate(read.column_names)}


def read_frame(frame: Any) -> Mapping[str, Values]:
    """Return the columns of a pandas frame; NaN, NA and NaT are null there."""
    return {str(name): _series(frame[name]) for name in frame.columns}


def _series(series: Any) -> Values:
    if hasattr(series, "cat"):
        codes = np.asarray(series.cat.codes, dtype=np.int64)
        return Coded(codes, [_plain(label) for label in series.cat.categories.tolist()])
    kind = getattr(series.dtype, "kind", "O")
    if kind in "fiu" and isinstance(series.dtype, np.dtype):
        values = series.to_numpy()
        missing = np.isnan(values) if kind == "f" else np.zeros(0, bool)
        return Masked(values, missing) if missing.any() else values
    missing = np.asarray(series.isna(), dtype=bool)
    if kind in "fiu":
        values = series.to_numpy(dtype=np.float64 if kind == "f" else np.int64, na_value=0)
        return Masked(values, missing) if missing.any() else values
    listed = series.tolist()
    return [None if lost else _plain(value) for value, lost in zip(listed, missing.tolist(), strict=True)]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _column(arrow: Any, column: Any) -> Values:
    """Return one column; the buffers of a single chunk of numbers without nulls are used as they are."""
    types, kind = arrow.types, column.type
    if types.is_dictionary(kind):
        return _coded(column.unify_dictionaries())
    if types.is_string(kind) or types.is_large_string(kind) or str(kind) == "string_view":
        if str(kind) == "string_view":
            column = column.cast(arrow.large_string())
        return _coded(column.dictionary_encode())
    if types.is_decimal(kind):
        return _decimals(arrow, column)
    if types.is_floating(kind) or types.is_integer(kind):
        return _numbers(arrow, column)
    if types.is_null(kind):
        return [None] * len(column)
    return list(column.to_pylist())


def _coded(column: Any) -> Values:
    """Return a dictionary-encoded column; its chunks share one dictionary."""
    chunks = column.chunks
    if not chunks:
        return Coded(np.zeros(0, np.int64), [])
    codes = [chunk.indices.cast("int64").fill_null(-1).to_numpy(zero_copy_only=False) for chunk in chunks]
    labels = chunks[0].dictionary.to_pylist()
    joined = np.concatenate(codes)
    nulls = [code for code, label in enumerate(labels) if label is None]
    return Coded(np.where(np.isin(joined, nulls), -1, joined) if nulls else joined, labels)


def _numbers(arrow: Any, column: Any) -> Values:
    if column.type == arrow.float16():
        column = column.cast(arrow.float32())
    missing = np.asarray(column.is_null()) if column.null_count else None
    filled = column if missing is None else column.fill_null(0)
    parts = [chunk.to_numpy(zero_copy_only=True) for chunk in filled.chunks]
    values = parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.zeros(0)
    return values if missing is None else Masked(values, missing.astype(bool))


def _decimals(arrow: Any, column: Any) -> Values:
    """Return decimals as floats where their floats mean them, digit by digit where they do not."""
    if not arrow.types.is_decimal128(column.type) or not 0 <= column.type.scale <= 22:
        return list(column.to_pylist())
    missing = np.asarray(column.is_null()).astype(bool)
    parts = []
    for chunk in column.chunks:
        halves = np.frombuffer(chunk.buffers()[1], np.int64)[2 * chunk.offset : 2 * (chunk.offset + len(chunk))]
        low, high = halves.reshape(-1, 2).T
        lost = np.asarray(chunk.is_null())
        low, high = np.where(lost, 0, low), np.where(lost, 0, high)
        if ((high != low >> 63) | (np.abs(low) >= _MOST_EXACT)).any():
            return list(column.to_pylist())
        parts.append(low / 10.0**column.type.scale)
    values = np.concatenate(parts) if parts else np.zeros(0)
    return Masked(values, missing) if missing.any() else values
