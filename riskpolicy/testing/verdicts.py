"""Expected verdicts on orders: each row is an order, as `policy.check` takes it, and what must be said of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from decimal import Decimal
from fractions import Fraction
from typing import Any

from riskpolicy.engines.check import Order, check_order
from riskpolicy.engines.core.verdict import VERDICTS, Verdict
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.errors import Finding, Place, one_of, suggestion
from riskpolicy.numbers import exact, fraction_text
from riskpolicy.ruleset.document import Node
from riskpolicy.testing.outcome import Mismatch

#: What an order is asked with, and what can be expected of its verdict.
ORDER = tuple(f.name for f in fields(Order))
SAID = ("allowed", "code", "rule", "max_quantity", "numbers")
_NEEDED = ("account", "instrument", "side", "quantity")


class VerdictCheck:
    """Compares verdicts with what rows expect; `findings` are faults of the test itself."""

    def __init__(self, evaluation: Evaluation, place: Callable[[Node], Place]) -> None:
        self.evaluation = evaluation
        self.place = place
        self.findings: list[Finding] = []
        self.mismatches: list[Mismatch] = []

    def check(self, node: Node) -> None:
        """Compare one row."""
        cells = _mapping(node)
        if not self._sound(node, cells):
            return
        asked: dict[str, Any] = {name: cells[name].value for name in ORDER if name in cells}
        verdict = check_order(self.evaluation, Order(**asked))
        name = f"order: {asked['side']} {asked['quantity']} {asked['instrument']} by {asked['account']}"
        for key in SAID:
            if key in cells:
                self._said(name, key, cells[key], verdict)

    def _said(self, name: str, key: str, node: Node, verdict: Verdict) -> None:
        if key == "numbers":
            for number, wanted in _mapping(node).items():
                if number not in verdict.numbers:
                    hint = suggestion(number, verdict.numbers) or f"numbers: {one_of(verdict.numbers)}"
                    self._fault("unknown_column", f"a verdict has no number `{number}`", hint, wanted)
                else:
                    self._number(name, number, wanted, verdict.numbers[number])
        elif key == "max_quantity":
            self._number(name, key, node, verdict.max_quantity)
        elif node.value != (got := getattr(verdict, key)):
            self._differs(name, key, node, _shown(node.value), _shown(got), verdict.message)

    def _number(self, name: str, key: str, node: Node, got: Fraction) -> None:
        if not isinstance(node.value, int | Decimal) or isinstance(node.value, bool):
            self._fault("wrong_type", f"`{key}` is a number", "write it without quotes", node)
        elif exact(node.value) != got and fraction_text(got).lstrip("~") != str(node.value):
            self._differs(name, key, node, str(node.value), fraction_text(got))

    def _differs(self, name: str, key: str, node: Node, expected: str, got: str, note: str = "") -> None:
        replacement = got if not got.startswith("~") else got[1:]
        self.mismatches.append(
            Mismatch(self.place(node), name, key, expected, got, note, node=node, replacement=replacement)
        )

    def _sound(self, node: Node, cells: Mapping[str, Node]) -> bool:
        before = len(self.findings)
        for name, cell in cells.items():
            if name not in (*ORDER, *SAID):
                hint = suggestion(name, (*ORDER, *SAID)) or f"known: {one_of((*ORDER, *SAID))}"
                self._fault("unknown_column", f"neither an order nor a verdict has `{name}`", hint, cell)
        lost = [name for name in _NEEDED if name not in cells]
        if lost:
            self._fault("missing_column", f"an order needs {one_of(lost)}", f"add {one_of(lost)}", node)
        if not any(name in cells for name in SAID):
            self._fault("asserts_nothing", "nothing is expected of the verdict", f"add one of {one_of(SAID)}", node)
        code = cells.get("code")
        if code is not None and code.value not in VERDICTS:
            hint = suggestion(str(code.value), VERDICTS) or f"codes: {one_of(VERDICTS, 40)}"
            self._fault("unknown_choice", f"no verdict has the code `{code.value}`", hint, code)
        numbers = cells.get("numbers")
        if numbers is not None and not isinstance(numbers.value, dict):
            self._fault("invalid_value", "`numbers` is a mapping", "such as `{equity_after: 980}`", numbers)
        return len(self.findings) == before

    def _fault(self, code: str, message: str, hint: str, node: Node) -> None:
        self.findings.append(Finding(code, message, hint, self.place(node)))


def _mapping(node: Node) -> Mapping[str, Node]:
    return node.value if isinstance(node.value, dict) else {}


def _shown(value: Any) -> str:
    return {True: "true", False: "false", None: "null"}.get(value, str(value)) if not isinstance(value, str) else value
