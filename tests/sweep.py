"""python -m tests.sweep [--cases N] [--seed S]: compiled against reference on generated (expression, row) cases.

For each case the compiled number must be the reference's over floats to the bit, the exact interpreter's the
reference's over fractions, and the bound must hold the distance between value and exact value. Tables of rows
are full of equal, zero and decimal figures, so that boundaries are met often.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections import Counter
from fractions import Fraction

import numpy as np

from riskpolicy.compiler.programs import emit
from riskpolicy.expressions import reference
from riskpolicy.expressions.syntax import ExpressionError, parse
from riskpolicy.kernel.program import Source

NAMES = ("a", "b", "c", "d")
ROWS = 50
FIGURES = [0.0, 0.1, 0.2, 0.3, 0.7, 1.0, 1.1, 1.21, 3.0, -1.0, -0.1, 5000.0, 50000.0, 1e-8, 1e12]


def number(rng: random.Random, depth: int) -> str:
    kind = rng.random()
    if depth == 0 or kind < 0.15:
        return rng.choice([*NAMES, *NAMES, "0.1", "2", "3", "0.3", "0", "1e-8", "50000"])
    if kind < 0.65:
        return f"({number(rng, depth - 1)} {rng.choice('+-*/')} {number(rng, depth - 1)})"
    if kind < 0.8:
        return f"{rng.choice(['min', 'max'])}({number(rng, depth - 1)}, {number(rng, depth - 1)})"
    if kind < 0.9:
        return f"{rng.choice(['abs', '-'])}({number(rng, depth - 1)})"
    return f"({number(rng, depth - 1)} if {condition(rng, depth - 1)} else {number(rng, depth - 1)})"


def condition(rng: random.Random, depth: int) -> str:
    if depth > 0 and rng.random() < 0.4:
        if rng.random() < 0.25:
            return f"(not {condition(rng, depth - 1)})"
        return f"({condition(rng, depth - 1)} {rng.choice(['and', 'or'])} {condition(rng, depth - 1)})"
    op = rng.choice(["<", "<=", ">", ">=", "==", "!="])
    if rng.random() < 0.2:
        return rng.choice([f"(a + b {op} c)", f"(a * b {op} d)", f"(c - b {op} a)", f"(d / b {op} a)"])
    return f"({number(rng, max(0, depth - 1))} {op} {number(rng, max(0, depth - 1))})"


def figures(draws: np.random.Generator) -> dict[str, np.ndarray]:
    """Rows in which c is often the decimal sum of a and b, and d their decimal product."""
    drawn = {
        name: np.where(draws.random(ROWS) < 0.7, draws.choice(FIGURES, ROWS), draws.integers(-999, 999, ROWS) / 100)
        for name in NAMES
    }
    tied = draws.random(ROWS) < 0.5
    drawn["c"] = np.where(tied, np.round(drawn["a"] + drawn["b"], 8), drawn["c"])
    drawn["d"] = np.where(tied, np.round(drawn["a"] * drawn["b"], 8), drawn["d"])
    return drawn


def undefined_as_none(function, *arguments):
    try:
        return function(*arguments)
    except ZeroDivisionError:
        return None


def run_case(text: str, table: dict[str, np.ndarray], seen: Counter[str]) -> str | None:
    """Run one expression over a table; return what disagrees, None where all agrees."""
    program = emit(text, parse(text), {}, {})
    rows = len(next(iter(table.values())))
    values = program.run(table, rows)
    bounded = program.bounded({n: Source(v, bounds=np.abs(v) * 2.0**-53) for n, v in table.items()}, rows)
    for row in range(rows):
        named = {n: float(v[row]) for n, v in table.items()}
        wanted = undefined_as_none(reference.value, text, named)
        exact = undefined_as_none(reference.decision, text, named)
        got = float(values[row])
        if wanted is None or math.isnan(wanted):
            if not math.isnan(got) and wanted is None:
                return f"{text} at {named}: undefined, compiled {got}"
        elif got != wanted:
            return f"{text} at {named}: {wanted}, compiled {got}"
        ours = program.exact({n: Fraction(repr(v)) for n, v in named.items()})
        if ours != (None if exact is None else Fraction(exact)):
            return f"{text} at {named}: exactly {exact}, compiled {ours}"
        bound = float(bounded.bounds[row])
        certain = math.isfinite(bound)
        seen["in doubt"] += not certain
        if certain and (exact is None or abs(Fraction(float(bounded.values[row])) - exact) > Fraction(bound)):
            return f"{text} at {named}: {bounded.values[row]} +- {bound} does not hold {exact}"
        seen["floats decide otherwise"] += (
            exact is not None and wanted is not None and isinstance(exact, bool) and exact != wanted
        )
    seen["cases"] += rows
    return None


def sweep(cases: int, seed: int, *, progress: bool = False) -> tuple[Counter[str], list[str]]:
    """Run at least `cases` cases; return what was seen, and the disagreements."""
    rng = random.Random(seed)
    draws = np.random.default_rng(seed)
    seen: Counter[str] = Counter()
    wrong: list[str] = []
    started = time.monotonic()
    while seen["cases"] < cases and len(wrong) < 10:
        text = number(rng, rng.randint(1, 4)) if rng.random() < 0.5 else condition(rng, rng.randint(1, 3))
        table = figures(draws)
        try:
            disagreement = run_case(text, table, seen)
        except ExpressionError:
            continue
        seen["expressions"] += 1
        if disagreement:
            wrong.append(disagreement)
        if progress and seen["expressions"] % 200 == 0:
            print(
                f"\r{seen['cases']:,} of {cases:,} cases, {time.monotonic() - started:.0f} s", end="", file=sys.stderr
            )
    return seen, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    seen, wrong = sweep(arguments.cases, arguments.seed, progress=True)
    print(file=sys.stderr)
    print(", ".join(f"{what}: {count:,}" for what, count in sorted(seen.items())))
    for disagreement in wrong:
        print(disagreement)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
