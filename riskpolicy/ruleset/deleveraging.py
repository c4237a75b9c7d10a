"""Written form of deleveraging: who is in the queue, in which order, at what price."""

from __future__ import annotations

from typing import Literal

from riskpolicy.ruleset.liquidation import Price
from riskpolicy.ruleset.written import Expression, Field, Id, Order, Rate, Stated, Written


class Lights(Written):
    """The indicator that holders see."""

    count: int = Field(default=5, ge=1, le=100, description="the light of whoever goes first")
    by: Literal["accounts", "quantity"] = Field(
        default="accounts", description="a share of the queue counted in positions, or in contracts"
    )


class Take(Written):
    """How the queue is used."""

    rule: Literal["queue"] = Field(description="queue: from the head, until the contracts are closed")
    price: Price = Field(description="the price at which positions are closed")
    fee: Rate = Field(default="0%", validate_default=True, description="of the notional closed")


class Deleveraging(Written):
    """The ranking within each instrument and side, highest score first."""

    let: dict[Id, Expression] = Field(default={}, description="names for parts of the score")
    score: Expression = Field(description="a number for a position; the highest goes first")
    ties: Stated[tuple[Order, ...]] = Field(description="what decides between equal scores, before the account")
    take: Take = Field(description="how the queue is used")
    lights: Stated[Lights] = Field(description="the indicator that holders see")
