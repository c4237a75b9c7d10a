"""Tier tables compiled: rates by column, formula or curve, deductions derived, or given and checked."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

import numpy as np

from riskpolicy.compiler.expressions import ExpressionCompiler, scope_of
from riskpolicy.errors import Finding
from riskpolicy.expressions.units import RATIO, Unit, Words
from riskpolicy.kernel.program import Program
from riskpolicy.numbers import NumberError, fraction_text, parse_rate
from riskpolicy.plan.plan import Curve, Market, Rule, Table, Tier, TierTables
from riskpolicy.ruleset.document import Document
from riskpolicy.ruleset.loader import LoadedRuleset
from riskpolicy.ruleset.margin import IN_ROWS, TierTable
from riskpolicy.ruleset.margin import Curve as Written
from riskpolicy.ruleset.tiers import TierRow, read_tiers
from riskpolicy.vocabulary import Stage

Part = Literal["maintenance", "initial"]


def compile_tiers(loaded: LoadedRuleset, expressions: ExpressionCompiler) -> TierTables:
    """Return all tier tables as one; faults go to `expressions.findings`."""
    exact: list[Tier] = []
    start = [0]
    made: list[Table] = []
    tables = loaded.ruleset.margin.tiers
    for index, table in enumerate(tables):
        rows, _ = read_tiers(table, index, loaded.document)
        compiler = _Table(table, index, loaded.document, expressions)
        exact += compiler.compile(rows)
        start.append(len(exact))
        made.append(compiler.table_rules())
    return TierTables(
        tables=tuple(made),
        exact=tuple(exact),
        start=np.array(start, np.int32),
        edge_lower=np.array([t.edge == "lower" for t in tables], np.uint8),
        cap=_floats([t.cap for t in exact], np.inf),
        rate=_floats([t.rate for t in exact], 0.0),
        deduction=_floats([t.deduction for t in exact], 0.0),
        initial=_floats([t.initial for t in exact], np.nan),
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
        self.formulas = {part: self._formula(part) for part in ("maintenance", "initial")}

    def table_rules(self) -> Table:
        """Return what holds for the whole table."""
        table = self.table
        formula = None
        if table.rate == "expression" and isinstance(table.maintenance, str):
            path, scope = (*self.path, "maintenance"), scope_of("position", Stage.VALUED)
            scope.pop("maintenance_margin")
            program = self.expressions.program(table.maintenance, scope, path, unit=RATIO)
            formula = None if program is None else Rule(f"margin.tiers.{table.id}.maintenance", program)
        return Table(
            id=table.id,
            key=table.key,
            entry_basis=table.basis == "entry",
            continues=table.above_last == "continue",
            maintenance=self._curve("maintenance"),
            initial=self._curve("initial"),
            formula=formula,
        )

    def _curve(self, part: Part) -> Curve | None:
        written = getattr(self.table, part)
        if not isinstance(written, Written):
            return None
        base, most = Fraction(written.base), Fraction(written.most)
        slope, factor = Fraction(written.slope), Fraction(written.factor)
        rate = self.table.rate
        zero = Fraction(0)
        if min(slope, factor) < 0:
            self._fault("tier_shape", f"`{part}` falls with size; slope and factor are not below zero", "", part)
        if rate == "linear":
            return Curve(base, base, slope, zero, most)
        if rate == "square_root":
            return Curve(base, base * Fraction(written.share), zero, factor, most)
        if rate == "volume":
            return Curve(base, zero, zero, factor, most, Market.VOLUME)
        if rate == "open_interest" and written.lower is not None and written.upper is not None:
            if written.lower >= written.upper:
                self._fault("tier_shape", "`lower` must be below `upper`", "", part)
                return None
            step = None if written.multiple_of is None else Fraction(written.multiple_of)
            lower, upper = Fraction(written.lower), Fraction(written.upper)
            return Curve(base, zero, zero, zero, most, Market.OPEN_INTEREST, lower, upper, step)
        what = "needs `lower` and `upper`" if rate == "open_interest" else f"is no curve of rate `{rate}`"
        self._fault("tier_shape", f"`{part}` {what}", "see the reference of tier tables", part)
        return None

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
                self._row_fault("tier_rate_order", message, "rates rise with size", number, "maintenance")
            floor = Fraction(row.floor)
            deduction = Fraction(0)
            if last is not None and self.table.rate == "bracket":
                deduction = last.deduction + floor * (rate - last.rate)
            if row.deduction is not None and row.deduction != deduction:
                given = fraction_text(Fraction(row.deduction))
                message = f"deduction {given} breaks the curve; it should be {fraction_text(deduction)}"
                self._row_fault("tier_deduction", message, "correct it, or leave the column out", number, "deduction")
            cap = None if row.cap is None else Fraction(row.cap)
            initial, leverage = self._initial(number, row)
            tiers.append(Tier(row.id, floor, cap, rate, deduction, initial, leverage))
        return tiers

    def _formula(self, part: Part) -> Program | Fraction | None:
        """Return a rate of the whole table: a number, or a program over a row's columns."""
        text = getattr(self.table, part)
        if not isinstance(text, str) or self.table.rate == "expression":
            return None
        if text.endswith("%") or self.table.rate not in IN_ROWS:
            try:
                return Fraction(parse_rate(text))
            except NumberError as error:
                code = "bare_rate" if "percent sign" in str(error) else "invalid_value"
                self._fault(code, f"`{part}`: {error}", "write `0.4%` or `0.004`", part)
                return None
        scope: dict[str, Unit | Words | None] = {"max_leverage": RATIO} if "max_leverage" in self.table.columns else {}
        return self.expressions.program(text, scope, (*self.path, part), unit=RATIO)

    def _rate(self, number: int, row: TierRow) -> Fraction | None:
        if row.maintenance is not None:
            return Fraction(row.maintenance)
        if not isinstance(self.table.maintenance, str) or self.table.rate == "expression":
            return Fraction(0)  # a curve or formula stands in its place
        return self._by_formula("maintenance", number, row)

    def _initial(self, number: int, row: TierRow) -> tuple[Fraction | None, Fraction | None]:
        """Return a tier's initial rate and maximum leverage; each is one over the other where only one is given."""
        leverage = None if row.max_leverage is None else Fraction(row.max_leverage)
        initial = None if row.initial is None else Fraction(row.initial)
        if isinstance(self.table.initial, str):
            initial = self._by_formula("initial", number, row)
        if initial is None and leverage is not None:
            return 1 / leverage, leverage
        return initial, leverage if leverage is not None or not initial else 1 / initial

    def _by_formula(self, part: Part, number: int, row: TierRow) -> Fraction | None:
        formula = self.formulas[part]
        if not isinstance(formula, Program):
            return formula
        known = {} if row.max_leverage is None else {"max_leverage": Fraction(row.max_leverage)}
        rate = formula.exact(known)
        if rate is None or not 0 <= rate <= 1:
            shown = "no value" if rate is None else f"the {part} rate {fraction_text(Fraction(rate))}"
            message = f"`{getattr(self.table, part)}` gives {shown}"
            hint = f"a rate of {part} margin lies between 0 and 100%"
            self._row_fault("invalid_value", message, hint, number, "max_leverage")
            return None
        return Fraction(rate)

    def _fault(self, code: str, message: str, hint: str, part: Part) -> None:
        place = self.document.value_place((*self.path, part))
        self.expressions.findings.append(Finding(code, f"tier table `{self.table.id}`: {message}", hint, place))

    def _row_fault(self, code: str, message: str, hint: str, number: int, column: str) -> None:
        columns: list[str] = list(self.table.columns)
        cell = (columns.index(column),) if column in columns else ()
        place = self.document.value_place((*self.path, "rows", number, *cell))
        text = f"tier table `{self.table.id}`, tier {number + 1}: {message}"
        self.expressions.findings.append(Finding(code, text, hint, place))
