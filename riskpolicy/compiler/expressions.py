"""Expressions of a ruleset, parsed and checked where they stand, their faults located in the file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal

from riskpolicy.compiler.programs import emit
from riskpolicy.errors import Finding
from riskpolicy.expressions.check import faults
from riskpolicy.expressions.syntax import ExpressionError, parse
from riskpolicy.expressions.tree import Tree
from riskpolicy.kernel.opcodes import MAX_STACK
from riskpolicy.kernel.program import Program
from riskpolicy.ruleset.document import Document, Steps
from riskpolicy.vocabulary import CONSTANTS, NAMES, Stage

_CONSTANTS = {name: Decimal(repr(value)) for name, (value, _) in CONSTANTS.items()}


def names_of(table: str, stage: Stage, *, without: Collection[str] = ()) -> list[str]:
    """Return the names that an expression over `table` has at `stage`, constants included."""
    known = [n.name for n in NAMES[table].values() if n.stage <= stage and n.name not in without]
    return [*known, *CONSTANTS]


class ExpressionCompiler:
    """Compiles the expressions of one document and collects what is wrong with them."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.findings: list[Finding] = []

    def tree(self, text: str, names: Collection[str], path: Steps, *, condition: bool) -> Tree | None:
        """Return the checked tree of the expression at `path`; None, with findings, where it is faulty."""
        try:
            tree = parse(text)
        except ExpressionError as error:
            self._fault(error, path)
            return None
        wrong = faults(tree, names, condition=condition)
        for fault in wrong:
            self._fault(fault, path)
        return None if wrong else tree

    def program(
        self,
        text: str,
        names: Collection[str],
        path: Steps,
        *,
        condition: bool,
        let: Mapping[str, Tree] | None = None,
    ) -> Program | None:
        """Return the program of the expression at `path`; None, with findings, where it is faulty."""
        tree = self.tree(text, [*names, *(let or {})], path, condition=condition)
        if tree is None:
            return None
        try:
            return emit(text, tree, let or {}, _CONSTANTS)
        except ValueError:
            message = f"the expression needs a stack of more than {MAX_STACK}, or too many `let` names"
            self._fault(ExpressionError("expression_limit", message, 0, "name its parts with `let`"), path)
            return None

    def fault(self, code: str, message: str, hint: str, path: Steps, at: int = 0) -> None:
        """Report a fault at character `at` of the text at `path`."""
        self.findings.append(Finding(code, message, hint, self.document.text_place(path, at)))

    def _fault(self, error: ExpressionError, path: Steps) -> None:
        self.fault(error.code, error.message, error.hint, path, error.at)
