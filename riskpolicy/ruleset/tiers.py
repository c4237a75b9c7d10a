"""The rows of a tier table read by its columns: caps that rise without gap or overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from riskpolicy.errors import Finding
from riskpolicy.numbers import NumberError, decimal_text, parse_decimal, parse_rate
from riskpolicy.ruleset.document import Document
from riskpolicy.ruleset.margin import TierTable
from riskpolicy.ruleset.written import UNLIMITED

#: Generated tiers end at a rate of 100%, and here at the latest.
MAX_GENERATED = 10_000


@dataclass(frozen=True, slots=True)
class TierRow:
    """One tier as written: key above `floor` up to `cap` (None: unlimited), whoever owns the edge."""

    id: str
    floor: Decimal
    cap: Decimal | None
    maintenance: Decimal | None
    initial: Decimal | None
    max_leverage: Decimal | None
    deduction: Decimal | None


def read_tiers(table: TierTable, index: int, document: Document) -> tuple[list[TierRow], list[Finding]]:
    """Return the rows of table number `index`, and every fault in them with its place."""
    reader = _Reader(table, ("margin", "tiers", index), document)
    return reader.read(), reader.findings


class _Reader:
    def __init__(self, table: TierTable, path: tuple[str | int, ...], document: Document) -> None:
        self.table = table
        self.path = path
        self.document = document
        self.findings: list[Finding] = []

    def read(self) -> list[TierRow]:
        if not self.table.rows:
            return [self._whole()]
        if not self._columns_fit():
            return []
        rows: list[TierRow] = []
        for number, cells in enumerate(self.table.rows):
            if len(cells) != len(self.table.columns):
                message = f"{len(cells)} cells in a table of {len(self.table.columns)} columns"
                self._fault("tier_columns", message, f"the columns are {', '.join(self.table.columns)}", number)
                continue
            row = self._row(number, rows[-1] if rows else None)
            if row is not None:
                rows.append(row)
        return [*rows, *self._generated(rows)]

    def _whole(self) -> TierRow:
        """Return the one tier of a table without rows."""
        cap = self.table.up_to
        name = f"margin.tiers.{self.table.id}.{UNLIMITED if cap is None else decimal_text(cap)}"
        return TierRow(name, Decimal(0), cap, None, None, self.table.max_leverage, None)

    def _generated(self, rows: Sequence[TierRow]) -> Iterator[TierRow]:
        """Yield the tiers that go on after the last row: until a rate would pass 100%, or as many as there are."""
        rule = self.table.generated
        if rule is None or not rows:
            return
        last = rows[-1]
        if last.cap is None or last.maintenance is None:
            place = self.document.value_place((*self.path, "generated"))
            message = f"tier table `{self.table.id}`: the last row needs a cap and a maintenance rate to go on from"
            self.findings.append(Finding("tier_shape", message, "give it a finite `up_to`", place))
            return
        if rule.count is None and rule.maintenance == 0 == rule.initial:
            place = self.document.value_place((*self.path, "generated"))
            message = f"tier table `{self.table.id}`: generated tiers that add nothing have no end"
            self.findings.append(Finding("tier_shape", message, "say how many there are: `count`", place))
            return
        for _ in range(MAX_GENERATED if rule.count is None else rule.count):
            cap = last.cap + rule.step
            maintenance = last.maintenance + rule.maintenance
            initial = None if last.initial is None else last.initial + rule.initial
            if max(maintenance, initial or 0) > 1:
                return
            last = TierRow(
                id=f"margin.tiers.{self.table.id}.{decimal_text(cap)}",
                floor=last.cap,
                cap=cap,
                maintenance=maintenance,
                initial=initial,
                max_leverage=None if initial else last.max_leverage,
                deduction=None,
            )
            yield last

    def _columns_fit(self) -> bool:
        columns = self.table.columns
        faults = [f"column `{c}` is named twice" for c in sorted({c for c in columns if columns.count(c) > 1})]
        if "up_to" not in columns:
            faults.append("there is no column `up_to`")
        if ("maintenance" in columns) == (self.table.maintenance is not None):
            faults.append("maintenance must be a column or a formula, and not both")
        if "initial" in columns and self.table.initial is not None:
            faults.append("initial must be a column or a formula, and not both")
        if "deduction" in columns and self.table.rate == "step":
            faults.append("a step table has no deductions")
        for message in faults:
            place = self.document.value_place((*self.path, "columns"))
            hint = "a table has `up_to`, then `maintenance`, `max_leverage` or both"
            self.findings.append(Finding("tier_columns", message, hint, place))
        return not faults

    def _row(self, number: int, last: TierRow | None) -> TierRow | None:
        before = len(self.findings)
        cap = self._cell(number, "up_to", _cap)
        row = TierRow(
            id=f"margin.tiers.{self.table.id}.{UNLIMITED if cap is None else decimal_text(cap)}",
            floor=last.cap if last and last.cap is not None else Decimal(0),
            cap=cap,
            maintenance=self._cell(number, "maintenance", parse_rate),
            initial=self._cell(number, "initial", parse_rate),
            max_leverage=self._cell(number, "max_leverage", parse_decimal),
            deduction=self._cell(number, "deduction", parse_decimal),
        )
        if row.max_leverage is not None and row.max_leverage <= 0:
            self._fault("invalid_value", "max_leverage must be above zero", "", number, "max_leverage")
        if row.maintenance is not None and not 0 <= row.maintenance <= 1:
            self._fault("invalid_value", "a maintenance rate lies between 0 and 100%", "", number, "maintenance")
        if row.initial is not None and not 0 <= row.initial <= 1:
            self._fault("invalid_value", "an initial rate lies between 0 and 100%", "", number, "initial")
        if row.deduction is not None and row.deduction < 0:
            self._fault("invalid_value", "a deduction is not below zero", "", number, "deduction")
        if len(self.findings) > before:
            return None
        self._order(number, row, last)
        return row

    def _order(self, number: int, row: TierRow, last: TierRow | None) -> None:
        if last is not None and last.cap is None:
            self._fault(
                "tier_cap_order",
                "a tier after an unlimited one",
                "put the unlimited tier last",
                number,
                "up_to",
            )
        elif row.cap is not None and row.cap <= row.floor:
            was = "zero" if last is None else f"the cap before it, {decimal_text(row.floor)}"
            message = f"cap {decimal_text(row.cap)} is not above {was}"
            self._fault("tier_cap_order", message, "order the tiers by rising cap", number, "up_to")
        elif "from" in self.table.columns:
            floor = self._cell(number, "from", parse_decimal)
            if floor is not None and floor != row.floor and floor != row.floor + Decimal(self.table.lot):
                code, word = ("tier_gap", "gap") if floor > row.floor else ("tier_overlap", "overlap")
                message = f"{word}: starts at {decimal_text(floor)}, the one before ends at {decimal_text(row.floor)}"
                self._fault(code, message, f"start it at {decimal_text(row.floor)}", number, "from")

    def _cell(self, number: int, column: str, parse: Callable[[str], Decimal | None]) -> Decimal | None:
        if column not in self.table.columns:
            return None
        cell = self.table.rows[number][self.table.columns.index(column)]
        try:
            return parse(str(cell))
        except NumberError as error:
            bare = "percent sign" in str(error)
            hint = "write `0.4%` or `0.004`" if bare else ""
            self._fault("bare_rate" if bare else "invalid_value", f"`{column}`: {error}", hint, number, column)
            return None

    def _fault(self, code: str, message: str, hint: str, number: int, column: str = "") -> None:
        path: tuple[str | int, ...] = (*self.path, "rows", number)
        if column:
            path = (*path, self.table.columns.index(column))
        text = f"tier table `{self.table.id}`, tier {number + 1}: {message}"
        self.findings.append(Finding(code, text, hint, self.document.value_place(path)))


def _cap(text: str) -> Decimal | None:
    return None if text == UNLIMITED else parse_decimal(text)
