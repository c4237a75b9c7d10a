"""Expected cells against a result: the one row that fits, then each value as a decimal under its tolerance.

Nothing is cast: text where a number is due is an error of the test. Without a tolerance, money must equal the column's
shortest decimal or its exact value, counts and words must be the same, and prices, ratios, scores and planned draws may
differ by a part in 1e9.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np

from riskpolicy.engines.core.exact import ExactBucket, exact_position_row
from riskpolicy.engines.core.tables import Column, ResultTable, Shape, Value
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.errors import Finding, Place, one_of, suggestion
from riskpolicy.numbers import decimal_text, fraction_text
from riskpolicy.ruleset.document import Node
from riskpolicy.testing.form import RuleTest, Tolerance

KEYS: Mapping[str, tuple[str, ...]] = {
    "positions": ("account", "instrument", "position_side"),
    "buckets": ("account", "currency", "instrument"),
    "accounts": ("account", "currency"),
    "draws": ("layer", "currency"),
}
NEAR = Tolerance(Decimal("1e-9"), relative=True)
SAME = Tolerance(Decimal(0))
#: An exact value is written out where it ends within so many decimals.
DIGITS = 18


@dataclass(frozen=True)
class Cell:
    """A cell that differs."""

    table: str
    row: int
    column: str
    node: Node
    expected: str
    got: str
    replacement: str | None
    note: str = ""


class TableCheck:
    """Compares the expected rows of one table with a result; collects cells that differ, and errors of the test.

    `looked_at` are the rows of the result that were expected.
    """

    def __init__(self, test: RuleTest, evaluation: Evaluation, name: str, is_rule: Callable[[str], bool]) -> None:
        self.test = test
        self.evaluation = evaluation
        self.table: ResultTable = getattr(evaluation, name)
        self.is_rule = is_rule
        self.cells: list[Cell] = []
        self.missing: list[tuple[Node, str]] = []
        self.findings: list[Finding] = []
        self.looked_at: list[int] = []

    def check(self, rows: Sequence[Node]) -> None:
        """Compare every expected row."""
        for node in rows:
            cells = node.value if isinstance(node.value, dict) else {}
            if not self._sound(node, cells):
                continue
            row = self._row(node, cells)
            if row is not None:
                self.looked_at.append(row)
                for name, cell in cells.items():
                    if name not in self.keys:
                        self._cell(row, name, cell)

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that name a row."""
        return KEYS[self.table.name]

    def _sound(self, node: Node, cells: Mapping[str, Node]) -> bool:
        before = len(self.findings)
        for name in cells:
            if name not in self.table.columns:
                hint = suggestion(name, self.table.columns) or f"columns: {one_of(self.table.columns, 40)}"
                message = f"`{self.table.name}` has no column `{name}`"
                self.findings.append(Finding("unknown_column", message, hint, self._at(*node.keys[name])))
        if not set(cells) - set(self.keys):
            hint = f"add a column, such as {one_of([c for c in self.table.columns if c not in self.keys], 3)}"
            self._fault(
                "asserts_nothing", f"the row of `{self.table.name}` names a row and asserts nothing", hint, node
            )
        return len(self.findings) == before

    def _row(self, node: Node, cells: Mapping[str, Node]) -> int | None:
        """Return the one row that the keys fit; None, with what is wrong, for none or several."""
        rows = np.arange(len(self.table))
        for key in self.keys:
            if key not in cells:
                continue
            wanted = self._key(key, cells[key])
            if wanted is _UNKNOWN:
                return None
            column = self.table.columns[key]
            rows = rows[_equal(column, rows, wanted)]
        if len(rows) == 1:
            return int(rows[0])
        named = ", ".join(f"{key} {_shown(cells[key].value)}" for key in self.keys if key in cells) or "no key"
        if not len(rows):
            self.missing.append((node, f"no row of `{self.table.name}` has {named}"))
            return None
        free = [key for key in self.keys if key not in cells]
        hint = f"add {one_of(free)}" if free else "the rows have the same keys"
        message = f"{len(rows)} rows of `{self.table.name}` have {named}; an expected row fits exactly one"
        self._fault("ambiguous_row", message, hint, node)
        return None

    def _key(self, key: str, node: Node) -> Value | object:
        """Return what a key cell names, as the table has it; _UNKNOWN, with a finding, where there is no such thing."""
        value = node.value
        if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
            value = int(value)
        instruments = self.evaluation.plan.instruments
        if key == "instrument" and str(value) in instruments.number:
            return instruments.symbols[instruments.number[str(value)]]
        column = self.table.columns[key]
        if key == "instrument" and value is None and self.table.name == "buckets":
            return None
        known = [w for w in column.words if w is not None] if key != "account" else self._accounts()
        if value in known and not isinstance(value, bool):
            return value if isinstance(value, str | int) else None
        words = [str(w) for w in known]
        hint = suggestion(str(value), words) or f"there are {one_of(words)}"
        if str(value) in words:
            hint = "ids are text or numbers, as the snapshot has them; here the other is due"
        what = "result" if key == "account" else "ruleset"
        self._fault("unknown_id", f"the {what} has no {key.replace('_', ' ')} {_shown(value)}", hint, node)
        return _UNKNOWN

    def _accounts(self) -> list[str | int]:
        return [_native(x) for x in self.evaluation.snapshot.ids("positions", "account").labels]

    def _cell(self, row: int, name: str, node: Node) -> None:
        column = self.table.columns[name]
        got = column.value(row)
        if column.shape is Shape.RULES or isinstance(got, list):
            self._rules(row, name, node, got if isinstance(got, list) else [])
        elif column.shape is Shape.TEXT:
            self._text(row, name, node, got)
        else:
            self._number(row, name, node, got)

    def _text(self, row: int, name: str, node: Node, got: Value) -> None:
        if node.value is not None and not isinstance(node.value, str):
            self._fault("wrong_type", f"`{name}` holds words, and {_shown(node.value)} is none", "write a word", node)
            return
        words = [w for w in self.table.columns[name].words if w is not None]
        if node.value is not None and node.value not in words:
            hint = suggestion(str(node.value), words) or f"known: {one_of(words)}"
            self._fault("unknown_choice", f"`{name}` is never {_shown(node.value)} under this ruleset", hint, node)
        elif node.value != got:
            self._differs(row, name, node, _shown(got), "null" if got is None else str(got))

    def _rules(self, row: int, name: str, node: Node, got: list[str]) -> None:
        wanted = node.value if isinstance(node.value, list) else [node]
        if not wanted:
            self._fault("asserts_nothing", "an empty list of rules asserts nothing", "name a rule", node)
        for item in wanted:
            if not isinstance(item.value, str) or not self.is_rule(item.value):
                hint = suggestion(str(item.value), got) or f"the row's rules: {one_of(got)}"
                self._fault("unknown_id", f"the ruleset has no rule {_shown(item.value)}", hint, item)
            elif item.value not in got:
                self._differs(row, name, item, one_of(got), None)

    def _number(self, row: int, name: str, node: Node, got: Value) -> None:
        shape, expected = self.table.columns[name].shape, node.value
        if expected == "Infinity":
            expected = Decimal("Infinity")
        if expected is not None and (isinstance(expected, bool) or not isinstance(expected, int | Decimal)):
            hint = "write a number without quotes" if isinstance(expected, str) else "write a number"
            message = f"`{name}` holds numbers, and {_shown(expected)} is none; expected values are not converted"
            self._fault("wrong_type", message, hint, node)
            return
        if expected is None or got is None:
            if (expected is None) != (got is None):
                self._differs(row, name, node, _number(got), self._replacement(row, name, got))
            return
        wanted, found = Decimal(expected), Decimal(str(got))
        if not (wanted.is_finite() and found.is_finite()):
            if wanted != found:
                self._differs(row, name, node, _number(got), self._replacement(row, name, got))
        elif not self._same(row, name, shape, wanted, found):
            self._differs(row, name, node, self._number_text(row, name, got), self._replacement(row, name, got))

    def _same(self, row: int, name: str, shape: Shape, wanted: Decimal, found: Decimal) -> bool:
        given = self.test.tolerances.get(name) or (self.test.tolerances.get("") if shape is not Shape.COUNT else None)
        strict = self.test.exact and name not in self.test.tolerances
        if given is not None and not strict:
            return given.admits(abs(wanted - found), wanted)
        if strict and shape is not Shape.COUNT:
            exact = self._exact(row, name)
            return wanted == found if exact is None else Fraction(wanted) == exact
        if wanted == found:
            return True
        if shape is Shape.COUNT:
            return False
        if shape is Shape.MONEY and self.table.name != "draws":
            exact = self._exact(row, name)
            return exact is not None and Fraction(wanted) == exact
        return NEAR.admits(abs(wanted - found), wanted)

    def _exact(self, row: int, name: str) -> Fraction | None:
        """Return the exact value of a cell; None where there is none, as for a price or a planned draw."""
        value = exact_value(self.evaluation, self.table.name, row, name)
        return value if isinstance(value, Fraction) else None

    def _number_text(self, row: int, name: str, got: Value) -> str:
        """Return money by its exact value where that ends, as an exact test does all; else as the column has it."""
        exact = self._exact(row, name) if self.table.columns[name].shape is Shape.MONEY or self.test.exact else None
        text = "~" if exact is None else fraction_text(exact, DIGITS)
        return text if not text.startswith("~") or (exact is not None and self.test.exact) else _number(got)

    def _replacement(self, row: int, name: str, got: Value) -> str:
        """Return the cell as it would be written."""
        if got is None:
            return "null"
        if got in ("Infinity", "-Infinity"):
            return ".inf" if got == "Infinity" else "-.inf"
        text = self._number_text(row, name, got)
        return _number(got) if text.startswith("~") else text

    def _differs(self, row: int, name: str, node: Node, got: str, replacement: str | None) -> None:
        note = ""
        if got.startswith("~"):
            note = f"the value does not end; give `tolerance: {{{name}: ...}}`"
        self.cells.append(Cell(self.table.name, row, name, node, _shown(node.value), got, replacement, note))

    def _fault(self, code: str, message: str, hint: str, node: Node) -> None:
        self.findings.append(Finding(code, message, hint, self._at(node.line, node.column)))

    def _at(self, line: int, column: int) -> Place:
        return self.test.document.place(line, column)


_UNKNOWN = object()


def exact_value(evaluation: Evaluation, table: str, row: int, column: str) -> Fraction | float | None:
    """Return the exact value of a cell of positions, buckets or accounts; None where only floats know it."""
    bound = evaluation.bound
    if table == "positions":
        if column == "adl_score":
            rule = evaluation.plan.deleveraging
            at = bound.positions.at_row(row)
            # A plugin's score, or none, is only in the result.
            if rule is None or rule.ranks is not None or evaluation.queue.rank[at] < 1:
                return None
            return rule.score.program.exact(exact_position_row(bound, at))
        at = bound.positions.at_row(row)
        bucket = ExactBucket(bound, int(bound.positions.bucket[at]))
        return _fraction(bucket.positions[bucket.members.index(at)], column)
    if table == "buckets":
        return _fraction(ExactBucket(bound, row), column)
    if table == "accounts":
        name = "wallet_balance" if column == "balance" else column
        parts = [_fraction(ExactBucket(bound, b), name) for b in purse_buckets(evaluation, row)]
        return (
            None if any(p is None for p in parts) else sum((Fraction(p) for p in parts if p is not None), Fraction(0))
        )
    return None


def purse_buckets(evaluation: Evaluation, row: int) -> list[int]:
    """Return the buckets whose sum a row of `accounts` is."""
    buckets, accounts = evaluation.buckets.columns, evaluation.accounts.columns
    same = np.ones(len(evaluation.buckets), bool)
    for key in ("account", "currency"):
        same &= buckets[key].values == accounts[key].values[row]
    return [int(b) for b in np.flatnonzero(same)]


def _fraction(of: object, column: str) -> Fraction | float | None:
    value = getattr(of, column, None)
    return value if isinstance(value, Fraction) or (isinstance(value, float) and math.isinf(value)) else None


def _equal(column: Column, rows: np.ndarray[tuple[int], np.dtype[np.int64]], wanted: object) -> np.ndarray:
    """Return which of the rows hold a word; null is a code below zero."""
    codes = column.values[rows]
    if wanted is None:
        return np.asarray(codes < 0)
    at = [code for code, word in enumerate(column.words) if _native(word) == wanted]
    return np.isin(codes, at)


def _native(label: object) -> str | int:
    return int(label) if isinstance(label, np.integer) else label if isinstance(label, int) else str(label)


def _number(got: Value) -> str:
    """Return a result's number as plain digits; money is text already."""
    return decimal_text(got) if isinstance(got, int | float) else "null" if got is None else str(got)


def _shown(value: object) -> str:
    """Return a value as it is written in a test, text in backticks."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, Decimal) and not value.is_finite():
        return str(value)
    if isinstance(value, int | float | Decimal):
        return decimal_text(value) if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return f"`{value}`"
    return "a list" if isinstance(value, list) else "a mapping"
