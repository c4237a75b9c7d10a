"""Running a plan's programs over tables: a row without a value is an error that names the row."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from riskpolicy.errors import Finding, SnapshotError
from riskpolicy.kernel.program import Program

Floats = npt.NDArray[np.float64]
_SHOWN = 10


def evaluate_rule(
    program: Program, rule_id: str, columns: Mapping[str, Floats], rows: int, row_name: Callable[[int], str]
) -> Floats:
    """Return a program's value for every row; SnapshotError where one is undefined or not finite."""
    values = program.run(columns, rows)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise SnapshotError([_finding(program, rule_id, columns, int(row), row_name) for row in wrong[:_SHOWN]])
    return values


def _finding(
    program: Program, rule_id: str, columns: Mapping[str, Floats], row: int, row_name: Callable[[int], str]
) -> Finding:
    inputs = ", ".join(f"{name} = {columns[name][row]:g}" for name in program.names)
    message = f"{row_name(row)}: {rule_id} has no finite value, from {inputs}"
    hint = f"the rule is `{program.source}`; guard a division with `x / y if y > 0 else 0`"
    return Finding("expression_value", message, hint)
