"""The verdict on an order: a value with a stable code, the rule behind it, and numbers worked out when read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cached_property
from types import MappingProxyType
from typing import Any

from riskpolicy.kernel._kernel import Answer
from riskpolicy.numbers import fraction_text

#: Every code of a verdict, with its meaning. An order is allowed only where the code is `allowed`.
VERDICTS: Mapping[str, str] = MappingProxyType(
    {
        "allowed": "the order may be placed",
        "account_unknown": "the snapshot has no balance of this account that could stand behind the order",
        "instrument_unknown": "the ruleset declares no such instrument",
        "market_unknown": "the snapshot has no mark price of the instrument",
        "market_halted": "the market takes no orders",
        "market_reduce_only": "the market takes only orders that reduce",
        "side_unknown": "the side is neither buy nor sell",
        "quantity_invalid": "the quantity is no number above zero",
        "quantity_lot": "the quantity is no whole number of lots",
        "price_invalid": "the price is no number above zero",
        "price_tick": "the price is no whole number of ticks",
        "mode_unavailable": "the venue has no such margin mode",
        "bucket_bankrupt": "the bucket's equity is below zero",
        "bucket_liquidatable": "the bucket is being liquidated",
        "bucket_restricted": "the bucket may only reduce its positions",
        "position_not_reduced": "the order is reduce-only and there is nothing to reduce",
        "tier_cap_exceeded": "the position would be above the last tier",
        "leverage_exceeded": "the selected leverage is above what the position's tier would allow",
        "margin_undefined": "the initial margin has no value, so that the order cannot be judged",
        "margin_insufficient": "initial margin would be above the equity that stands behind it",
        "liquidation_imminent": "the bucket would be liquidatable right after the fill",
    }
)


class Verdict(Answer):
    """Whether an order may be placed, and why. Numbers are exact; `max_quantity` is searched for when it is read.

    `code` is one of VERDICTS; `rule` the id of the rule that decides, None where no rule does. `max_quantity` is the
    largest quantity of the same order that would be allowed: whole lots, or 12 significant digits where the instrument
    has no lot; 0 for none.
    """

    @classmethod
    def of(
        cls,
        code: str,
        rule: str | None = None,
        *,
        numbers: Callable[[], Mapping[str, Fraction]] | None = None,
        largest: Callable[[], Fraction] | None = None,
        detail: str = "",
    ) -> Verdict:
        """Return a verdict whose numbers come from functions that are called when they are first read."""
        made = cls()
        made.code, made.rule, made.asked = code, rule, (numbers, largest, detail)
        return made

    @property
    def _parts(self) -> tuple[Any, ...]:
        """What the numbers come from; a gate leaves the question itself, which is then judged again, exactly."""
        if len(self.asked) != 3:
            later, *question = self.asked
            self.asked = later(*question).asked
        return self.asked

    @property
    def allowed(self) -> bool:
        """Whether the order may be placed."""
        return self.code == "allowed"

    def __bool__(self) -> bool:
        return self.allowed

    def __repr__(self) -> str:
        return f"<Verdict {self.code}{f' by {self.rule}' if self.rule else ''}>"

    @property
    def message(self) -> str:
        """The verdict in words."""
        return VERDICTS[self.code] + (f": {self._parts[2]}" if self._parts[2] else "")

    @cached_property
    def numbers(self) -> Mapping[str, Fraction]:
        """Equity and margins of the bucket before and after the fill, in its currency, and the position after it."""
        numbers = self._parts[0]
        return MappingProxyType(dict(numbers()) if numbers else {})

    @cached_property
    def max_quantity(self) -> Fraction:
        """The largest quantity of this order that would be allowed."""
        largest: Callable[[], Fraction] | None = self._parts[1]
        return largest() if largest else Fraction(0)

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as plain data for JSON, numbers as decimal text."""
        return {
            "allowed": self.allowed,
            "code": self.code,
            "rule": self.rule,
            "message": self.message,
            "numbers": {name: fraction_text(value).lstrip("~") for name, value in self.numbers.items()},
            "max_quantity": fraction_text(self.max_quantity).lstrip("~"),
        }
