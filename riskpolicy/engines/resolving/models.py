"""Execution models as a snapshot describes them: its order books, its impact parameters."""

from __future__ import annotations

from fractions import Fraction

from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.engines.execution import BookLevels, Execution, Impact
from riskpolicy.errors import Finding, SnapshotError
from riskpolicy.numbers import sqrt
from riskpolicy.snapshot.columns import Ids


def execution_model(evaluation: Evaluation, name: str) -> Execution:
    """Return the execution model that a snapshot describes: book, linear, power or sqrt.

    book reads the table `depth`; linear `impact_slope` (price per contract); power `depth_move` x (quantity /
    `depth_quantity`) ** `depth_exponent`; sqrt `impact_factor` x sqrt(quantity / `daily_volume`), as parts of the mark.
    SnapshotError where a market that is needed lacks its numbers.
    """
    if name == "book":
        return _book(evaluation)
    bound, needed = evaluation.bound, _markets_in_liquidation(evaluation)
    columns = {
        "linear": ("impact_slope",),
        "power": ("depth_move", "depth_quantity", "depth_exponent"),
        "sqrt": ("impact_factor", "daily_volume"),
    }[name]
    slopes: dict[str, Fraction] = {}
    exponents = {Fraction(1)} if name == "linear" else {Fraction(1, 2)} if name == "sqrt" else set()
    findings = []
    for number in needed:
        symbol, row = bound.plan.instruments.symbols[number], int(bound.market_row[number])
        given = [bound.snapshot.numbers("markets", column) for column in columns]
        numbers = [None if column is None else column.exact(row) for column in given]
        lost = [c for c, x in zip(columns, numbers, strict=True) if x is None]
        if lost:
            message = f"markets: execution `{name}` needs {', '.join(lost)} of {symbol}"
            findings.append(Finding("missing_value", message, "add the columns to `markets`"))
            continue
        first, *rest = [x or Fraction(0) for x in numbers]
        if name == "linear":
            slopes[symbol] = first
        elif name == "sqrt":
            slopes[symbol] = first / (sqrt(rest[0]) or 1)
        else:
            exponents.add(rest[1])
            slopes[symbol] = first / _power(rest[0], rest[1])
    if not findings and len(exponents) > 1:
        findings.append(Finding("invalid_value", "execution `power` takes one `depth_exponent` for all markets"))
    if findings:
        raise SnapshotError(findings)
    return Impact(next(iter(exponents), Fraction(1)), slopes, absolute=name == "linear")


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    whole, half = divmod(exponent * 2, 2)
    if half not in (0, 1):
        raise SnapshotError(
            Finding("invalid_value", f"`depth_exponent` {float(exponent):g} is no half or whole number")
        )
    return base ** int(whole) * (sqrt(base) if half else 1)


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
