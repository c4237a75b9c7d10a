"""Expressions of a ruleset, parsed and checked where they stand, their faults located in the file."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from riskpolicy.compiler.programs import emit
from riskpolicy.errors import Finding
from riskpolicy.expressions.check import Scope, faults
from riskpolicy.expressions.syntax import ExpressionError, parse
from riskpolicy.expressions.tree import Tree
from riskpolicy.expressions.units import MONEY, UNITS, Unit, UnitCheck, Words
from riskpolicy.kernel.opcodes import MAX_STACK
from riskpolicy.kernel.program import Program
from riskpolicy.ruleset.document import Document, Steps
from riskpolicy.vocabulary import CONSTANTS, FUNCTIONS, NAMES, ExpressionFunction, Function, Stage

_CONSTANTS = {name: Decimal(repr(value)) for name, (value, _) in CONSTANTS.items()}


def columns_of(table: str, stage: Stage) -> dict[str, Unit | Words | None]:
    """Return the columns that an expression over `table` has at `stage`, with their units."""
    known = [n for n in NAMES[table].values() if n.stage <= stage]
    return {n.name: Words(n.words) if n.words else UNITS[n.unit] for n in known}


def scope_of(table: str, stage: Stage) -> dict[str, Unit | Words | None]:
    """Return the names that an expression over `table` has at `stage`: its columns and the constants."""
    return {**columns_of(table, stage), **{name: UNITS[unit] for name, (_, unit) in CONSTANTS.items()}}


class ExpressionCompiler:
    """Compiles the expressions of one document and collects what is wrong with them."""

    def __init__(self, document: Document, functions: Mapping[str, ExpressionFunction] | None = None) -> None:
        self.document = document
        self.plugged = functions or {}
        arity = {
            f.name: Function(f.name, len(f.parameters), len(f.parameters), f.meaning) for f in self.plugged.values()
        }
        self.functions = {**FUNCTIONS, **arity}
        self.findings: list[Finding] = []

    def tree(
        self, text: str, scope: Scope, path: Steps, *, condition: bool = False, unit: Unit | None = None
    ) -> Tree | None:
        """Return the checked tree of the expression at `path`; None, with findings, where it is faulty.

        It must be a condition, or a number of `unit` (None: of any unit).
        """
        try:
            tree = parse(text)
        except ExpressionError as error:
            self._fault(error, path)
            return None
        wrong = faults(tree, scope, condition=condition, functions=self.functions)
        if not wrong:
            check = UnitCheck(scope, self.plugged)
            got = check.unit(tree)
            wrong = check.faults
            if not (wrong or condition or unit is None or got is None or got == unit):
                hint = "write `1 * settle` for one unit of money" if unit == MONEY else ""
                wrong = [ExpressionError("expression_unit", f"{unit} is due here, this is {got}", tree.at, hint)]
        for fault in wrong:
            self._fault(fault, path)
        return None if wrong else tree

    def program(
        self,
        text: str,
        scope: Scope,
        path: Steps,
        *,
        condition: bool = False,
        unit: Unit | None = None,
        let: Mapping[str, Tree] | None = None,
    ) -> Program | None:
        """Return the program of the expression at `path`; `let` gives the trees of names in the scope."""
        tree = self.tree(text, scope, path, condition=condition, unit=unit)
        if tree is None:
            return None
        try:
            words = {name: known.words for name, known in scope.items() if isinstance(known, Words)}
            return emit(text, tree, let or {}, _CONSTANTS, self.plugged, words)
        except ValueError:
            message = f"the expression needs a stack of more than {MAX_STACK}, or too many `let` names"
            self._fault(ExpressionError("expression_limit", message, 0, "name its parts with `let`"), path)
            return None

    def fault(self, code: str, message: str, hint: str, path: Steps, at: int = 0) -> None:
        """Report a fault at character `at` of the text at `path`."""
        self.findings.append(Finding(code, message, hint, self.document.text_place(path, at)))

    def _fault(self, error: ExpressionError, path: Steps) -> None:
        self.fault(error.code, error.message, error.hint, path, error.at)
