"""Written form of deleveraging: who is in the queue, in which order, at what price."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from riskpolicy.ruleset.liquidation import Price
from riskpolicy.ruleset.written import Expression, Field, Id, Order, Rate, Stated, Written


class Lights(Written):
    """The indicator that holders see."""

    count: int = Field(default=5, ge=1, le=100, description="the light of whoever goes first")
    by: Literal["accounts", "quantity"] = Field(
        default="accounts", description="a share of the queue counted in positions, or in contracts"
    )


#: The policies, by the names of engines.policies; `plugin` leaves it to a plugin.
Policy = Literal[
    "queue", "capped_queue", "pro_rata", "pro_rata_contracts", "capped_pro_rata", "risk_weighted", "integer",
    "least_leverage", "random_start", "lexicographic", "plugin",
]  # fmt: skip


class Take(Written):
    """Who gives how much, at what price."""

    rule: Policy = Field(description="queue: from the head, until the contracts are closed; others by their names")
    parameters: dict[Id, bool | int | Decimal | str | list[str]] = Field(
        default={}, description="of the rule, such as `most: 50%` of capped_pro_rata"
    )
    plugin: Id | None = Field(default=None, description="with `rule: plugin`, the plugin that allocates, by its name")
    price: Price = Field(description="the price at which positions are closed")
    fee: Rate = Field(default="0%", validate_default=True, description="of the notional closed, from whoever is closed")
    most: Rate | None = Field(default=None, description="the most of a position that may be taken in one event")
    seed: int = Field(default=0, description="makes random starts repeatable")


class AdlTrigger(Written):
    """When contracts may be taken in a market, beyond the step's own condition."""

    start: Expression = Field(description="a condition on a market; where it holds deleveraging is turned on")
    stop: Expression = Field(description="a condition on a market; where it holds deleveraging is turned off again")


#: The controllers, by the names of engines.policies.
Controller = Literal["static", "back_off", "mirror_descent"]


class Severity(Written):
    """How much of a bankrupt position is asked for in one event, learnt over a wave of events."""

    rule: Controller = Field(description="how an event changes what the next one in the market asks for")
    parameters: dict[Id, Decimal | str] = Field(
        default={}, description="of the rule, such as `factor: 50%` of back_off"
    )
    start: Rate = Field(default="100%", validate_default=True, description="of the position, before the first event")
    least: Rate = Field(default="0%", validate_default=True, description="it never asks for less")
    most: Rate = Field(default="100%", validate_default=True, description="it never asks for more")


class Deleveraging(Written):
    """The ranking within each instrument and side, highest score first."""

    let: dict[Id, Expression] = Field(default={}, description="names for parts of the score")
    score: Expression = Field(description="a number for a position; the highest goes first")
    plugin: Id | None = Field(default=None, description="a plugin that ranks instead when contracts are taken")
    again: bool = Field(
        default=False, description="true: scores are taken anew for every event; false: at the start of a resolution"
    )
    eligible: Expression | None = Field(
        default=None, description="a condition on a position; where it does not hold nothing is taken"
    )
    protected_roles: tuple[Id, ...] = Field(
        default=(), description="of `accounts`, column `role`: nothing is taken from these"
    )
    trigger: AdlTrigger | None = Field(default=None, description="absent: whenever a step asks for it")
    severity: Severity | None = Field(default=None, description="absent: every event asks for the whole position")
    ties: Stated[tuple[Order, ...]] = Field(description="what decides between equal scores, before the account")
    take: Take = Field(description="how the queue is used")
    lights: Stated[Lights] = Field(description="the indicator that holders see")
