"""Severity over a wave of events: how much of what is needed is asked for, learnt from event to event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeAlias

from riskpolicy.engines.core.adl import Demand
from riskpolicy.engines.core.bound import Bound
from riskpolicy.plan.plan import SeverityRule

#: A severity is kept in steps of this, so that its fraction does not grow without end over a wave.
STEP = Fraction(1, 10**12)


@dataclass(frozen=True, slots=True)
class Severity:
    """The share of a demand that is asked for, from `least` to `most`, and how many events it has seen."""

    value: Fraction = Fraction(1)
    least: Fraction = Fraction(0)
    most: Fraction = Fraction(1)
    events: int = 0


@dataclass(frozen=True, slots=True)
class Raised:
    """What one event raised from those who gave, and the deficit that it was needed for, in settlement money."""

    budget: Fraction
    needed: Fraction


Controller: TypeAlias = Callable[[Severity, Raised], Severity]


def asked(demand: Demand, severity: Severity) -> Demand:
    """Return the demand for the share that the severity asks for, rounded up to whole lots, at most all of it."""
    lots = -(-demand.contracts * severity.value // demand.lot)
    return replace(demand, contracts=min(demand.contracts, lots * demand.lot))


def raised(demand: Demand, contracts: Fraction) -> Raised:
    """Return what contracts that were given raised, of what the demand's deficit needed."""
    return Raised(max(Fraction(0), demand.lost(contracts)), demand.deficit)


def severity_in(bound: Bound, number: int, rule: SeverityRule) -> Severity:
    """Return the severity in a market: as the snapshot keeps it, else what the rule starts with."""
    given, row = bound.snapshot.numbers("markets", "adl_severity"), int(bound.market_row[number])
    before = None if given is None or row < 0 else given.exact(row)
    value = rule.start if before is None else min(max(before, rule.least), rule.most)
    return Severity(value, rule.least, rule.most)


def static() -> Controller:
    """Return the controller that never changes."""
    return lambda severity, _: _moved(severity, severity.value)


def within(name: str, value: object, *, most: int | None = None) -> Fraction:
    """Return a parameter that is a number from 0 to `most`; ValueError for another."""
    if not isinstance(value, Fraction | int) or value < 0 or (most is not None and value > most):
        wanted = "zero or more" if most is None else f"from 0 to {most}"
        raise ValueError(f"`{name}` is {value}, not a number {wanted}")
    return Fraction(value)


def back_off(*, factor: Fraction = Fraction(1, 2), increase: Fraction = Fraction(1, 10)) -> Controller:
    """Multiply by `factor` after an event that raised more than was needed, else add `increase` after one with less.

    Both from 0, the factor to 1.
    """
    by, more_by = within("factor", factor, most=1), within("increase", increase)

    def step(severity: Severity, raised: Raised) -> Severity:
        if raised.budget > raised.needed:
            return _moved(severity, severity.value * by)
        more = more_by if raised.budget < raised.needed else Fraction(0)
        return _moved(severity, severity.value + more)

    return step


def mirror_descent(*, rate: Fraction = Fraction(1, 2)) -> Controller:
    """Descend on the budget needed: 1 / severity rises by rate x gradient.

    The gradient is (budget - needed) / needed, cut to [-1, 1]. The mirror map is that of -log(severity): its step is
    rational, so that it is exact where the exponential step of the entropy would not be. An event that needed nothing
    changes nothing. The rate is zero or more.
    """
    speed = within("rate", rate)

    def step(severity: Severity, raised: Raised) -> Severity:
        if raised.needed <= 0:
            return _moved(severity, severity.value)
        gradient = max(Fraction(-1), min(Fraction(1), (raised.budget - raised.needed) / raised.needed))
        below = 1 + speed * gradient * severity.value
        return _moved(severity, severity.value / below if below > 0 else severity.most)

    return step


def _moved(severity: Severity, value: Fraction) -> Severity:
    near = round(value / STEP) * STEP
    return replace(severity, value=max(severity.least, min(severity.most, near)), events=severity.events + 1)


CONTROLLERS: dict[str, Callable[..., Controller]] = {
    "static": static, "back_off": back_off, "mirror_descent": mirror_descent,
}  # fmt: skip
