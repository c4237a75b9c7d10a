"""Running a plan's programs over tables: conditions decided exactly, rows without a value named in an error."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from riskpolicy.errors import Finding, SnapshotError, one_of
from riskpolicy.kernel.program import Program
from riskpolicy.plan.plan import Rule

Floats = npt.NDArray[np.float64]
_SHOWN = 10


def evaluate_rule(
    program: Program, rule_id: str, columns: Mapping[str, Floats], rows: int, row_name: Callable[[int], str]
) -> Floats:
    """Return a program's value for every row; SnapshotError where one is undefined or not finite."""
    values = program.run(columns, rows)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise SnapshotError(
            _finding(program, rule_id, _inputs(program, columns, row), row_name(row)) for row in wrong[:_SHOWN].tolist()
        )
    return values


def decide(
    rule: Rule,
    columns: Mapping[str, Floats],
    bounds: Mapping[str, Floats],
    exact_row: Callable[[int], Mapping[str, Fraction | float]],
    row_name: Callable[[int], str],
) -> tuple[npt.NDArray[np.bool_], int]:
    """Return where a condition holds, and how many rows needed exact arithmetic to tell.

    SnapshotError where it divides by zero in a branch that counts.
    """
    rows = len(next(iter(columns.values())))
    result = rule.program.bounded(columns, bounds, rows)
    holds = result.values == 1.0
    doubtful = np.flatnonzero(result.bounds != 0.0).tolist()
    for row in doubtful:
        inputs = exact_row(row)
        verdict = rule.program.exact(inputs)
        if verdict is None:
            raise undefined(rule, inputs, row_name(row))
        holds[row] = bool(verdict)
    return holds, len(doubtful)


def _inputs(program: Program, columns: Mapping[str, Floats], row: int) -> dict[str, float]:
    return {name: float(columns[name][row]) for name in program.inputs}


def undefined(rule: Rule, row: Mapping[str, Fraction | float], name: str) -> SnapshotError:
    """Return the error of a rule that has no exact value for a row."""
    return SnapshotError(_finding(rule.program, rule.id, {n: float(row[n]) for n in rule.program.inputs}, name))


def _finding(program: Program, rule_id: str, inputs: Mapping[str, float], name: str) -> Finding:
    absent = [key for key in program.inputs if math.isnan(inputs[key])]
    if absent:
        message = f"{name}: {rule_id} needs {one_of(absent)}, which neither the snapshot nor the ruleset gives"
        hint = f"the rule is `{program.source}`; add the column to the snapshot"
        return Finding("missing_value", message, hint)
    shown = ", ".join(f"{key} = {inputs[key]:g}" for key in program.inputs)
    message = f"{name}: {rule_id} has no finite value, from {shown}"
    hint = f"the rule is `{program.source}`; guard a division with `x / y if y > 0 else 0`"
    return Finding("expression_value", message, hint)
