"""The Arrow reader: tables of other libraries as columns, without a copy where none is needed.

It needs pyarrow, which is an extra (`riskpolicy[arrow]`): it is imported when the first Arrow table arrives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

#: Integers of up to 15 digits and powers of ten up to 22 are floats, and their quotient is rounded once: it is the
#: float nearest to the decimal, and its shortest decimal is the decimal.
_MOST_EXACT = 10**15
_MOST_PLACES = 22


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
    """A column of numbers some of which may be missing; what stands in a missing place means nothing.

    `decimals` holds the rows whose decimal may say more than the number.
    """

    values: npt.NDArray[Any]
    missing: npt.NDArray[np.bool_]
    decimals: Mapping[int, Decimal] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: int) -> Any:
        return None if self.missing[row] else self.decimals.get(row, plain_value(self.values[row]))


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


def is_arrow_column(column: object) -> bool:
    """Return whether a column offers itself as Arrow data, as those of pyarrow and polars do."""
    return is_arrow(column) or hasattr(column, "__arrow_c_array__")


def is_frame(table: object) -> bool:
    """Return whether a table is a pandas frame, which is read through numpy, whether pyarrow is there or not."""
    return _is_pandas(table, "DataFrame")


def is_series(column: object) -> bool:
    """Return whether a column is a pandas series."""
    return _is_pandas(column, "Series")


def _is_pandas(value: object, kind: str) -> bool:
    return any(c.__name__ == kind and c.__module__.split(".")[0] == "pandas" for c in type(value).__mro__)


def read_arrow(table: Any) -> Mapping[str, Values]:
    """Return the columns of anything with `__arrow_c_stream__`, their chunks joined."""
    arrow = library()
    try:
        read = arrow.RecordBatchReader.from_stream(table).read_all()
    except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError, arrow.ArrowTypeError, TypeError) as error:
        raise ArrowReadError(f"not an Arrow table: {error}", "pass columns of one type each") from None
    return _columns(arrow, read)


def read_column(column: Any) -> Values:
    """Return one Arrow column."""
    arrow = library()
    try:
        chunks = column if isinstance(column, arrow.ChunkedArray) else arrow.chunked_array(column)
    except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError, arrow.ArrowTypeError, TypeError) as error:
        raise ArrowReadError(f"not an Arrow column: {error}", "pass a column of one type") from None
    return _column(arrow, chunks)


def read_parquet(path: str) -> Mapping[str, Values]:
    """Return the columns of a Parquet file."""
    arrow = library()
    parquet = import_module("pyarrow.parquet")
    try:
        read = parquet.ParquetFile(path).read()
    except (OSError, arrow.ArrowInvalid, arrow.ArrowNotImplementedError) as error:
        raise ArrowReadError(f"cannot read `{path}`: {error}", "check that it is a Parquet file") from None
    return _columns(arrow, read)


def read_frame(frame: Any) -> Mapping[str, Values]:
    """Return the columns of a pandas frame; NaN, NA and NaT are null there. Its index is no column."""
    names = [str(name) for name in frame.columns]
    _refuse_twice(names)
    return {name: read_series(frame.iloc[:, k]) for k, name in enumerate(names)}


def read_series(series: Any) -> Values:
    """Return a pandas column; NaN, NA and NaT are null."""
    if hasattr(series, "cat"):
        codes = np.asarray(series.cat.codes, dtype=np.int64)
        return Coded(codes, [plain_value(label) for label in series.cat.categories.tolist()])
    plain = isinstance(series.dtype, np.dtype)
    # The nullable kinds of pandas name the kind of numpy that holds their numbers.
    kind = series.dtype if plain else getattr(series.dtype, "numpy_dtype", np.dtype("O"))
    missing = np.asarray(series.isna(), dtype=bool)
    if kind.kind in "fiu":
        values = series.to_numpy() if plain else series.to_numpy(dtype=kind, na_value=0)
        return Masked(values, missing) if missing.any() else values
    listed = series.tolist()
    return [None if lost else plain_value(value) for value, lost in zip(listed, missing.tolist(), strict=True)]


def plain_value(value: Any) -> Any:
    """Return a number or text as a Python object."""
    return value.item() if isinstance(value, np.generic) else value


def _columns(arrow: Any, table: Any) -> dict[str, Values]:
    _refuse_twice(table.column_names)
    return {name: _column(arrow, table.column(k)) for k, name in enumerate(table.column_names)}


def _refuse_twice(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ArrowReadError(f"the column `{name}` is there twice", "keep one of the two")
        seen.add(name)


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
    """Return decimals as floats where their floats mean them; beside them stand those whose digits may say more."""
    if not arrow.types.is_decimal128(column.type):
        if column.type.precision > 38:
            return list(column.to_pylist())
        column = column.cast(arrow.decimal128(column.type.precision, column.type.scale))
    places = column.type.scale
    parts, rows = [np.zeros(0)], 0
    decimals: dict[int, Decimal] = {}
    for chunk in column.chunks:
        halves = np.frombuffer(chunk.buffers()[1] or b"", np.int64).reshape(-1, 2)
        low, high = halves[chunk.offset : chunk.offset + len(chunk)].T
        lost = np.asarray(chunk.is_null()).astype(bool)
        short = (high == low >> 63) & (low > -_MOST_EXACT) & (low < _MOST_EXACT) & (0 <= places <= _MOST_PLACES)
        values = np.where(short & ~lost, low, 0) / 10.0 ** min(max(places, 0), _MOST_PLACES)
        long = np.flatnonzero(~short & ~lost)
        digits = chunk.take(arrow.array(long)).to_pylist() if len(long) else []
        values[long] = [float(number) for number in digits]
        decimals |= dict(zip((long + rows).tolist(), digits, strict=True))
        parts.append(values)
        rows += len(chunk)
    missing = np.asarray(column.is_null()).astype(bool)
    values = np.concatenate(parts)
    return Masked(values, missing, decimals) if decimals or missing.any() else values
