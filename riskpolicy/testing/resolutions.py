"""Expected resolutions: rows of draws, deleveraging and steps, and what nobody pays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from riskpolicy.engines.core.resolution import Resolution
from riskpolicy.errors import Finding, Place, one_of, suggestion
from riskpolicy.numbers import exact, fraction_text
from riskpolicy.ruleset.document import Node
from riskpolicy.testing.outcome import Mismatch

#: What can be expected of a resolution, and the columns of its rows.
ROWS: Mapping[str, tuple[str, ...]] = {
    "draws": ("layer", "account", "currency", "amount", "rule"),
    "deleveraged": ("account", "instrument", "quantity", "price", "against", "lost", "rule"),
    "steps": ("account", "rule", "what", "instrument", "quantity", "price", "amount"),
}
KEYS = (*ROWS, "booked", "residual", "waiting")
_NUMBERS = ("amount", "quantity", "price", "lost")


class ResolutionCheck:
    """Compares a resolution with what is expected; each list must fit row by row, in order."""

    def __init__(self, result: Resolution, tolerance: Decimal, place: Callable[[Node], Place]) -> None:
        self.result = result
        self.said = result.to_dict()
        self.tolerance = tolerance
        self.place = place
        self.findings: list[Finding] = []
        self.mismatches: list[Mismatch] = []

    def check(self, node: Node) -> None:
        """Compare everything under `resolution`."""
        for key, below in _items(node):
            if key in ROWS:
                self._rows(key, below)
            elif key == "residual":
                self._residual(below)
            elif key == "booked":
                self._booked(below)
            elif key == "waiting":
                got = self.said["waiting"]
                wanted = [str(name.value) for name in below.value] if isinstance(below.value, list) else []
                if wanted != got:
                    self._differs("resolution", key, below, ", ".join(wanted) or "nobody", ", ".join(got) or "nobody")
            else:
                hint = suggestion(key, KEYS) or f"known: {one_of(KEYS)}"
                self._fault("unknown_key", f"a resolution has no `{key}`", hint, below)

    def _rows(self, key: str, node: Node) -> None:
        rows = self.said[key]
        wanted = node.value if isinstance(node.value, list) else []
        if len(wanted) != len(rows):
            found = "; ".join(_shown_row(row) for row in rows[:5]) or "none"
            self._differs("resolution", key, node, f"{len(wanted)} rows", f"{len(rows)}: {found}")
            return
        for number, (expected, row) in enumerate(zip(wanted, rows, strict=True), 1):
            for column, cell in _items(expected):
                if column not in ROWS[key]:
                    hint = suggestion(column, ROWS[key]) or f"columns: {one_of(ROWS[key])}"
                    self._fault("unknown_column", f"`{key}` has no `{column}`", hint, cell)
                elif not self._same(column, cell.value, row[column]):
                    self._differs(f"{key} row {number}", column, cell, str(cell.value), str(row[column]))

    def _residual(self, node: Node) -> None:
        wanted = dict(_items(node))
        for currency in {*wanted, *self.said["residual"]}:
            got = self.said["residual"].get(currency, "0")
            cell = wanted.get(currency)
            if cell is None or not self._same("amount", cell.value, got):
                self._differs("residual", currency, cell or node, "0" if cell is None else str(cell.value), got)

    def _booked(self, node: Node) -> None:
        """Compare what is booked on accounts, in money, summed over all events; accounts that are not named may be."""
        quantum, sums = self.result.ledger.quantum, dict[str, Fraction]()
        for entry in self.result.ledger.entries:
            if entry.amount is not None and entry.currency is not None:
                sums[entry.account] = sums.get(entry.account, Fraction(0)) + entry.amount * quantum[entry.currency]
        for account, cell in _items(node):
            got = fraction_text(sums.get(account, Fraction(0)))
            if not isinstance(cell.value, int | Decimal):
                self._fault("invalid_value", f"what is booked on `{account}` is an amount", "write a number", cell)
            elif not self._same("amount", cell.value, got):
                self._differs("booked", account, cell, str(cell.value), got)

    def _same(self, column: str, wanted: Any, got: Any) -> bool:
        if column not in _NUMBERS or wanted is None or got is None:
            return bool(wanted == got)
        if not isinstance(wanted, int | Decimal) or isinstance(wanted, bool):
            return False
        return abs(exact(wanted) - exact(got)) <= exact(self.tolerance)

    def _differs(self, where: str, column: str, node: Node, expected: str, got: str) -> None:
        self.mismatches.append(Mismatch(self.place(node), where, column, expected, got, node=node))

    def _fault(self, code: str, message: str, hint: str, node: Node) -> None:
        self.findings.append(Finding(code, message, hint, self.place(node)))


def _items(node: Node) -> Iterator[tuple[str, Node]]:
    yield from node.value.items() if isinstance(node.value, dict) else ()


def _shown_row(row: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value}" for name, value in row.items() if value is not None and name not in ("rule", "what")
    )
