"""Running a plan's programs over tables: conditions decided exactly, rows without a value named in an error."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from riskpolicy.errors import Finding, SnapshotError, one_of
from riskpolicy.kernel.program import Program, Source
from riskpolicy.plan.plan import Rule

Floats = npt.NDArray[np.float64]
_SHOWN = 10


def run_rule(rule: Rule, columns: Mapping[str, Source], rows: int, row_name: Callable[[int], str]) -> Floats:
    """Return a rule's value for every row; SnapshotError where one is undefined or not finite."""
    values = rule.program.run(columns, rows)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise undefined_rows(rule, columns, wrong, row_name)
    return values


def undefined_rows(
    rule: Rule, columns: Mapping[str, Source], rows: npt.NDArray[np.int64], row_name: Callable[[int], str]
) -> SnapshotError:
    """Return the error of a rule that has no finite value in some rows."""
    shown = rows[:_SHOWN]
    inputs = {name: columns[name].at(shown).column() for name in rule.program.inputs}
    findings = [
        _finding(rule.program, rule.id, {name: float(v[k]) for name, v in inputs.items()}, row_name(int(row)))
        for k, row in enumerate(shown)
    ]
    if len(rows) > _SHOWN:
        findings.append(Finding("expression_value", f"{rule.id}: the same in {len(rows) - _SHOWN:,} more rows"))
    return SnapshotError(findings)


def decide(
    rule: Rule,
    columns: Mapping[str, Source],
    rows: int,
    exact_row: Callable[[int], Mapping[str, Fraction | float]],
    row_name: Callable[[int], str],
) -> tuple[npt.NDArray[np.bool_], int]:
    """Return where a condition holds, and how many rows needed exact arithmetic to tell.

    SnapshotError where it divides by zero in a branch that counts.
    """
    holds, doubtful = rule.program.decide(columns, rows)
    for row in doubtful:
        inputs = exact_row(row)
        verdict = rule.program.exact(inputs)
        if verdict is None:
            raise undefined(rule, inputs, row_name(row))
        holds[row] = bool(verdict)
    return holds, len(doubtful)


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
