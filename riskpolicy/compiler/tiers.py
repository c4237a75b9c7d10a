"""Tier tables compiled: rates by column or formula, deductions derived, or given and checked."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from riskpolicy.compiler.expressions import ExpressionCompiler
from riskpolicy.errors import Finding
from riskpolicy.expressions.units import RATIO, Unit, Words
from riskpolicy.kernel.program import Program
from riskpolicy.numbers import fraction_text
from riskpolicy.plan.plan import Tier, TierTables
from riskpolicy.ruleset.document import Document
from riskpolicy.ruleset.loader import LoadedRuleset
from riskpolicy.ruleset.margin import TierTable
from riskpolicy.ruleset.tiers import TierRow, read_tiers


def compile_tiers(loaded: LoadedRuleset, expressions: ExpressionCompiler) -> TierTables:
    """Return all tier tables as one; faults go to `expressions.findings`."""
    exact: list[Tier] = []
    start = [0]
    tables = loaded.ruleset.margin.tiers
    for index, table in enumerate(tables):
        rows, _ = read_tiers(table, index, loaded.document)
        exact += _Table(table, index, loaded.document, expressions).compile(rows)
        start.append(len(exact))
    return TierTables(
        exact=tuple(exact),
        start=np.array(start, np.int32),
        edge_lower=np.array([t.edge == "lower" for t in tables], np.uint8),
        cap=_floats([t.cap for t in exact], np.inf),
        rate=_floats([t.rate for t in exact], 0.0),
        deduction=_floats([t.deduction for t in exact], 0.0),
        max_leverage=_floats([t.max_leverage for t in exact], np.nan),
    )


def _floats(values: Sequence[Fraction | None], missing: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([missing if v is None else float(v) for v in values], np.float64)


class _Table:
    def __init__(self, table: TierTable, index: int, document: Document, expressions: ExpressionCompiler) -> None:
        self.table = table
        self.path = ("margin", "tiers", index)
        self.document = document
        self.expressions = expressions
        self.formula = self._formula()

    def compile(self, rows: Sequence[TierRow]) -> list[Tier]:
        tiers: list[Tier] = []
        for number, row in enumerate(rows):
            rate = self._rate(number, row)
            if rate is None:
                continue
            last = tiers[-1] if tiers else None
            if last is not None and rate < last.rate:
                message = (
                    f"maintenance rate {fraction_text(rate)} is below {fraction_text(last.rate)}, the tier before's"
                )
                self._fault("tier_rate_order", message, "rates rise with size", number, "maintenance")
            floor = Fraction(row.floor)
            deduction = last.deduction + floor * (rate - last.rate) if last else Fraction(0)
            if row.deduction is not None and row.deduction != deduction:
                given = fraction_text(Fraction(row.deduction))
                message = f"deduction {given} breaks the curve; it should be {fraction_text(deduction)}"
                self._fault("tier_deduction", message, "correct it, or leave the column out", number, "deduction")
            cap = None if row.cap is None else Fraction(row.cap)
            leverage = None if row.max_leverage is None else Fraction(row.max_leverage)
            tiers.append(Tier(row.id, floor, cap, rate, deduction, leverage))
        return tiers

    def _formula(self) -> Program | None:
        text = self.table.maintenance
        if text is None:
            return None
        scope: dict[str, Unit | Words | None] = {"max_leverage": RATIO} if "max_leverage" in self.table.columns else {}
        return self.expressions.program(text, scope, (*self.path, "maintenance"), unit=RATIO)

    def _rate(self, number: int, row: TierRow) -> Fraction | None:
        if row.maintenance is not None:
            return Fraction(row.maintenance)
        if self.formula is None:
            return None
        known = {} if row.max_leverage is None else {"max_leverage": Fraction(row.max_leverage)}
        rate = self.formula.exact(known)
        if rate is None or not 0 <= rate <= 1:
            shown = "no value" if rate is None else f"the maintenance rate {fraction_text(Fraction(rate))}"
            message = f"`{self.table.maintenance}` gives {shown}"
            self._fault("invalid_value", message, "a maintenance rate lies between 0 and 100%", number, "max_leverage")
            return None
        return Fraction(rate)

    def _fault(self, code: str, message: str, hint: str, number: int, column: str) -> None:
        columns: list[str] = list(self.table.columns)
        cell = (columns.index(column),) if column in columns else ()
        place = self.document.value_place((*self.path, "rows", number, *cell))
        text = f"tier table `{self.table.id}`, tier {number + 1}: {message}"
        self.expressions.findings.append(Finding(code, text, hint, place))
