"""Execution models as a snapshot describes them: its order books, its impact parameters."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.engines.execution import BookLevels, Execution, Impact, power
from riskpolicy.errors import Finding, SnapshotError
from riskpolicy.numbers import sqrt
from riskpolicy.snapshot.columns import Ids
from riskpolicy.vocabulary import TABLES, Kind

#: What each model of an impact reads of a market.
COLUMNS = {
    "linear": ("impact_slope",),
    "power": ("depth_move", "depth_quantity", "depth_exponent"),
    "sqrt": ("impact_factor", "realized_volatility", "daily_volume"),
}


def execution_model(evaluation: Evaluation, name: Execution | str | None) -> Execution:
    """Return the execution model that a snapshot describes: book, linear, power or sqrt.

    None is what the ruleset's plugin makes of the snapshot's markets, and book where it names none. A model is itself.

    book reads the table `depth`. The others are impacts: linear, `impact_slope` in price a contract; power, depth
    `depth_quantity` x (d / `depth_move`) ** `depth_exponent` within a move d; sqrt, a move of `impact_factor` x
    `realized_volatility` x sqrt(quantity / `daily_volume`). SnapshotError where a market that is needed lacks its
    numbers.
    """
    if not isinstance(name, str | None):
        return name
    plugged = evaluation.plan.plugged.execution
    if name is None and plugged is not None:
        model: Execution = plugged(_markets(evaluation))
        return model
    if name in ("book", None):
        return _book(evaluation)
    bound = evaluation.bound
    columns = COLUMNS[name]
    slopes: dict[str, Fraction] = {}
    exponents: dict[str, Fraction] = {}
    findings = []
    needed = _markets_in_liquidation(evaluation)
    for number in np.flatnonzero(bound.market_row >= 0).tolist():
        symbol, row = bound.plan.instruments.symbols[number], int(bound.market_row[number])
        given = [bound.snapshot.numbers("markets", column) for column in columns]
        numbers = [None if column is None else column.exact(row) for column in given]
        lost = [c for c, x in zip(columns, numbers, strict=True) if x is None or (x == 0 and c == "daily_volume")]
        if lost and number not in needed:
            continue
        if lost:
            message = f"markets: execution `{name}` needs {', '.join(lost)} of {symbol}"
            findings.append(Finding("missing_value", message, "add the columns to `markets`"))
            continue
        first, *rest = [x or Fraction(0) for x in numbers]
        if name == "linear":
            slopes[symbol], exponents[symbol] = first, Fraction(1)
        elif name == "sqrt":
            slopes[symbol], exponents[symbol] = first * rest[0] / sqrt(rest[1]), Fraction(1, 2)
        else:
            exponents[symbol] = 1 / rest[1]
            slopes[symbol] = first / power(rest[0], 1 / rest[1])
    if findings:
        raise SnapshotError(findings)
    return Impact(exponents, slopes, absolute=name == "linear")


def _markets(evaluation: Evaluation) -> dict[str, dict[str, Fraction | None]]:
    """Return the numbers of every market by column."""
    bound = evaluation.bound
    names = [c.name for c in TABLES["markets"].columns if c.kind is Kind.NUMBER]
    columns = {name: bound.snapshot.numbers("markets", name) for name in names}
    return {
        bound.plan.instruments.symbols[number]: {
            name: None if column is None else column.exact(int(bound.market_row[number]))
            for name, column in columns.items()
        }
        for number in np.flatnonzero(bound.market_row >= 0).tolist()
    }


def _book(evaluation: Evaluation) -> BookLevels:
    snapshot, plan = evaluation.snapshot, evaluation.plan
    sides: list[dict[str, list[tuple[Fraction, Fraction]]]] = [{}, {}]
    price, size = snapshot.numbers("depth", "price"), snapshot.numbers("depth", "quantity")
    names = snapshot.tables["depth"].get("instrument")
    if price is not None and size is not None and isinstance(names, Ids):
        codes = snapshot.choices("depth", "side").codes
        for row in range(len(names)):
            symbol = plan.instruments.symbols[plan.instruments.number[str(names.label(row))]]
            level = (price.exact(row) or Fraction(0), size.exact(row) or Fraction(0))
            sides[int(codes[row])].setdefault(symbol, []).append(level)
    return BookLevels(sides[0], sides[1])


def _markets_in_liquidation(evaluation: Evaluation) -> list[int]:
    """Return the instruments of the buckets that are due."""
    p, due = evaluation.bound.positions, evaluation.liquidation.triggered
    return sorted({int(n) for n in p.instrument[due[p.bucket] & (p.quantity != 0)]})
