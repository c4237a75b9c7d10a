"""Values of any kind into columns, with every fault named by its row and key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from riskpolicy.arrow import (
    ArrowReadError,
    Coded,
    Masked,
    is_arrow,
    is_arrow_column,
    is_frame,
    is_series,
    read_arrow,
    read_column,
    read_frame,
    read_series,
)
from riskpolicy.errors import Finding, one_of, suggestion
from riskpolicy.numbers import MAX_EXPONENT, NumberError, parse_decimal, parse_instant, seconds_of
from riskpolicy.snapshot.columns import Choices, Label, Numbers, beyond_float
from riskpolicy.vocabulary import Column, Kind, Sign, Table

#: A column as it is read.
Values: TypeAlias = npt.NDArray[Any] | Coded | Masked | list[Any]

#: Of one fault in one column, this many rows are shown in full.
SHOWN = 10


class TableReader:
    """Reads one table: a mapping of columns, or a list of rows."""

    def __init__(self, table: Table, raw: object) -> None:
        self.table = table
        self.findings: list[Finding] = []
        # A file says where a row stands in it.
        self._where: Callable[[int], str] | None = getattr(raw, "place_of_row", None)
        self.raw = self._columns(raw)
        self.rows = self._length()

    def ids(self, column: Column) -> npt.NDArray[np.generic] | Coded | list[Label]:
        """Return the ids of a column, text or integers."""
        values = self.raw.get(column.name)
        if values is None:
            return []
        if isinstance(values, np.ndarray) and values.dtype.kind in "iuU":
            if values.dtype.kind == "u" and values.dtype.itemsize == 8:
                far = np.flatnonzero(values >= 2**63).tolist()
                self._faults("number_out_of_range", column, far, "is beyond the largest integer id")
            return values
        if isinstance(values, Coded) and _are_ids(values.labels) and (column.required or not (values.codes < 0).any()):
            self._faults("null_value", column, np.flatnonzero(values.codes < 0).tolist(), "is null")
            return values
        listed = _listed(values)
        if _are_ids(listed, null=False):
            return listed
        nulls = [i for i, v in enumerate(listed) if v is None]
        wrong = [i for i, v in enumerate(listed) if v is not None and not _is_id(v)]
        if column.required:
            self._faults("null_value", column, nulls, "is null")
        self._faults("wrong_type", column, wrong, "is neither text nor an integer")
        return [v if _is_id(v) else "" for v in listed]

    def column(self, column: Column) -> Choices | Numbers | None:
        """Return a column that holds no ids; None where it is absent, unless it has a default."""
        if column.kind is Kind.CHOICE:
            return self.choices(column)
        return self.instants(column) if column.kind is Kind.INSTANT else self.numbers(column)

    def numbers(self, column: Column) -> Numbers | None:
        """Return a column of numbers; None where it is absent."""
        values = self.raw.get(column.name)
        if values is None:
            return None
        if isinstance(values, np.ndarray) and values.dtype.kind in "fiu":
            read = _from_array(values)
        elif isinstance(values, Masked):
            read = _from_masked(values)
        else:
            read = self._from_objects(column, _listed(values))
        if read.missing is not None and column.required:
            self._faults("null_value", column, np.flatnonzero(read.missing).tolist(), "is null")
        known = np.ones(len(read), bool) if read.missing is None else ~read.missing
        bad = known & ~np.isfinite(read.values)
        self._faults("not_finite", column, np.flatnonzero(bad).tolist(), "is not a finite number")
        known &= ~bad
        far = known & (np.abs(read.values) > 10.0**MAX_EXPONENT)
        self._faults("number_out_of_range", column, np.flatnonzero(far).tolist(), f"is beyond 1e{MAX_EXPONENT}")
        if column.sign is Sign.POSITIVE:
            low = np.flatnonzero(known & ~(read.values > 0)).tolist()
            self._faults("not_positive", column, low, "is not above zero")
        if column.sign is Sign.NONNEGATIVE:
            low = np.flatnonzero(known & (read.values < 0)).tolist()
            self._faults("negative", column, low, "is below zero")
        return read

    def instants(self, column: Column) -> Numbers | None:
        """Return a column of instants as seconds since 1970 in UTC; None where it is absent."""
        values = self.raw.get(column.name)
        if values is None:
            return None
        seconds: list[object] = []
        wrong = []
        for row, value in enumerate(_listed(values)):
            moment = _moment(value)
            if value is not None and moment is None:
                wrong.append(row)
            seconds.append(None if moment is None else moment)
        self._faults("invalid_instant", column, wrong, "is not an instant")
        read = self._from_objects(column, seconds)
        if read.missing is not None and column.required and not wrong:
            self._faults("null_value", column, np.flatnonzero(read.missing).tolist(), "is null")
        return read

    def choices(self, column: Column) -> Choices:
        """Return a column of words, `true` and `false` written as such or as booleans; the default where it is absent
        or null.
        """
        values = self.raw.get(column.name)
        place: dict[object, int] = {word: code for code, word in enumerate(column.choices)}
        if "true" in place:
            place |= {True: place["true"], False: place["false"]}
        default = place.get(column.default, 0)
        if values is None:
            return Choices(np.full(self.rows, default, np.int8), column.choices)
        if isinstance(values, Coded) and all(isinstance(x, str | bool) and x in place for x in values.labels):
            of_label = np.array([*(place[x] for x in values.labels), default], np.int8)
            if not column.required or not (values.codes < 0).any():
                return Choices(of_label[np.where(values.codes < 0, len(values.labels), values.codes)], column.choices)
        listed = _listed(values)
        if column.required:
            self._faults("null_value", column, [i for i, v in enumerate(listed) if v is None], "is null")
        codes = [default if v is None else place.get(v, -1) if isinstance(v, str | bool) else -1 for v in listed]
        wrong = [i for i, code in enumerate(codes) if code < 0]
        self._faults("unknown_choice", column, wrong, f"is none of {one_of(column.choices)}")
        return Choices(np.array(codes, dtype=np.int8).reshape(-1), column.choices)

    def row_name(self, row: int) -> str:
        """Return `positions[3] (account A, instrument BTC)`, or `positions.csv:5 (...)` for a row of a file."""
        parts = []
        for key in self.table.key:
            values = self.raw.get(key)
            if values is not None and row < len(values) and values[row] is not None:
                parts.append(f"{key} {values[row]}")
        where = f"{self.table.name}[{row}]" if self._where is None else self._where(row)
        return where + (f" ({', '.join(parts)})" if parts else "")

    def fault(self, code: str, message: str, hint: str = "") -> None:
        """Report a fault of this table."""
        self.findings.append(Finding(code, message, hint))

    def _faults(self, code: str, column: Column, rows: list[int], what: str) -> None:
        for row in rows[:SHOWN]:
            values = self.raw[column.name]
            shown = f" `{values[row]}`" if values[row] is not None else ""
            hint = f"`{column.name}`: {column.meaning}" + (
                f"; {column.sign.value}" if column.kind is Kind.NUMBER else ""
            )
            self.fault(code, f"{self.row_name(row)}: {column.name}{shown} {what}", hint)
        if len(rows) > SHOWN:
            self.fault(code, f"{self.table.name}: {column.name} {what} in {len(rows) - SHOWN:,} more rows")

    def _columns(self, raw: object) -> dict[str, Values]:
        try:
            raw = read_frame(raw) if is_frame(raw) else read_arrow(raw) if is_arrow(raw) else raw
        except ArrowReadError as error:
            self.fault("snapshot_form", f"`{self.table.name}`: {error}", error.hint)
            return {}
        if isinstance(raw, Mapping):
            columns: Mapping[str, Any] = raw
        elif isinstance(raw, list | tuple) and all(isinstance(row, Mapping) for row in raw):
            names = dict.fromkeys(name for row in raw for name in row)
            columns = {name: [row.get(name) for row in raw] for name in names}
            if not raw:
                columns = {c.name: [] for c in self.table.columns if c.required}
        else:
            what = f"`{self.table.name}` is neither a mapping of columns nor a list of rows"
            hint = "pass {column: values}, [{column: value}, ...] or a data frame"
            self.fault("snapshot_form", what, "collect it first" if hasattr(raw, "collect") else hint)
            return {}
        known = [c.name for c in self.table.columns]
        for name in columns:
            if name not in known:
                hint = suggestion(str(name), known) or f"columns: {one_of(known)}"
                self.fault("unknown_column", f"`{self.table.name}` has no column `{name}`", hint)
        for column in self.table.columns:
            if column.required and columns.get(column.name) is None:
                hint = f"`{column.name}`: {column.meaning}"
                self.fault("missing_column", f"`{self.table.name}` lacks the column `{column.name}`", hint)
        return self._sequences({n: v for n, v in columns.items() if n in known and v is not None})

    def _sequences(self, columns: Mapping[str, Any]) -> dict[str, Values]:
        """Keep the columns that are sequences of values; report the others."""
        kept: dict[str, Values] = {}
        for name, values in columns.items():
            try:
                sequence = _sequence(values)
            except ArrowReadError as error:
                self.fault("snapshot_form", f"`{self.table.name}.{name}`: {error}", error.hint)
                continue
            if sequence is None:
                what = f"`{self.table.name}.{name}` is not a sequence of values"
                self.fault("snapshot_form", what, "pass a list or a one-dimensional array")
            else:
                kept[name] = sequence
        return kept

    def _length(self) -> int:
        lengths = {name: len(values) for name, values in self.raw.items()}
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
            self.fault("column_length", f"the columns of `{self.table.name}` differ in length: {shown}")
        return min(lengths.values(), default=0)

    def _from_objects(self, column: Column, values: list[object]) -> Numbers:
        out = np.full(len(values), np.nan)
        missing = np.zeros(len(values), bool)
        wrong: list[int] = []
        written: list[tuple[int, Decimal]] = []
        for i, v in enumerate(values):
            if type(v) is float:
                out[i] = v
            elif v is None:
                missing[i] = True
            else:
                number = _decimal(v)
                if number is None:
                    wrong.append(i)
                    out[i] = 1.0
                elif number.is_nan():
                    out[i] = np.nan
                elif not number.is_finite():
                    out[i] = float(number)
                else:
                    out[i] = float(number)
                    written.append((i, number))
        self._faults("wrong_type", column, wrong, "is not a number")
        return Numbers(out, missing if missing.any() else None, beyond_float(written))


def _from_array(values: npt.NDArray[np.generic]) -> Numbers:
    out = np.ascontiguousarray(values, dtype=np.float64)
    if values.dtype.kind == "f":
        if values.dtype.itemsize < 8:
            # A narrow float means its own shortest decimal, which is not that of the widened one.
            out = np.array([float(str(v)) for v in values], dtype=np.float64)
        return Numbers(out)
    large = np.flatnonzero(np.abs(out) >= 2**53)
    return Numbers(out, None, beyond_float((int(i), Decimal(int(values[i]))) for i in large))


def _from_masked(values: Masked) -> Numbers:
    read = _from_array(values.values)
    beyond = {**read.beyond, **beyond_float(values.decimals.items())}
    if not values.missing.any():
        return Numbers(read.values, None, beyond)
    out = np.where(values.missing, np.nan, read.values)
    return Numbers(out, values.missing, {row: x for row, x in beyond.items() if not values.missing[row]})


def _moment(value: object) -> Decimal | None:
    """Return an instant, text or a datetime, as seconds since 1970; None for what is none."""
    if isinstance(value, str):
        try:
            value = parse_instant(value)
        except ValueError:
            return None
    return seconds_of(value) if isinstance(value, datetime) else None


def _decimal(value: object) -> Decimal | None:
    """Return the decimal that a value means; None where it means none. NaN and infinity pass through."""
    if isinstance(value, bool | np.bool_):
        return None
    if isinstance(value, str):
        try:
            return parse_decimal(value)
        except NumberError:
            return Decimal(value) if value in ("NaN", "Infinity", "-Infinity") else None
    if isinstance(value, np.floating):
        return Decimal(str(value))
    if isinstance(value, int | np.integer):
        return Decimal(int(value)) if abs(int(value)) < 10**MAX_EXPONENT else None
    if isinstance(value, Decimal):
        fits = not value.is_finite() or not value or abs(value.adjusted()) <= MAX_EXPONENT
        return value if fits else None
    return Decimal(repr(value)) if isinstance(value, float) else None


def _sequence(values: object) -> Values | None:
    """Return a column as an array of plain numbers or text, else as a list; None where it is no sequence."""
    if isinstance(values, Coded | Masked):
        return values
    if is_series(values):
        return read_series(values)
    if is_arrow_column(values):
        return read_column(values)
    if not isinstance(values, list | tuple | range | np.ndarray) and hasattr(values, "__array__"):
        values = np.asarray(values)
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            return None
        if isinstance(values, np.ma.MaskedArray) or values.dtype.kind not in "fiuU" or values.dtype.itemsize == 0:
            return list(values.tolist())
        return values
    return list(values) if isinstance(values, list | tuple | range) else None


def _listed(values: Values) -> list[Any]:
    if isinstance(values, Coded):
        labels = [*values.labels, None]
        return [labels[code] for code in values.codes.tolist()]
    if isinstance(values, Masked):
        return [values[row] for row in range(len(values))]
    return values.tolist() if isinstance(values, np.ndarray) else values


def _are_ids(labels: Sequence[object], *, null: bool = True) -> bool:
    """Return whether all labels are ids, or null where that may be; by their types, since there may be millions."""
    kinds = {str, int, type(None)} if null else {str, int}
    return set(map(type, labels)) <= kinds and "" not in labels


def _is_id(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""
