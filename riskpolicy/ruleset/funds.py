"""Written form of funds: what they hold, how they are fed, how large they should be, who may stake."""

from __future__ import annotations

from typing import Literal

from riskpolicy.ruleset.written import Expression, Field, Id, Positive, Rate, Written

#: What a fund's money is, for the regime that may protect it.
Holds = Literal[
    "insurance", "capital", "staked", "external", "members", "assessments", "client_assets", "initial_margin"
]


class Refill(Written):
    """When a fund asks for more, and from what."""

    below: Rate = Field(description="of the target: below it the fund is refilled")
    share: Rate = Field(default="100%", validate_default=True, description="of the fees that go to it, for the report")


class Rider(Written):
    """Margin paid into a fund beside the position's own."""

    id: Id = Field(description="the name of the rider in reports")
    rate: Rate = Field(description="of the base")
    base: Literal["notional", "initial_margin", "maintenance_margin"] = Field(description="what the rate is taken from")
    refundable: bool = Field(default=False, description="true where it comes back when the position is closed")


class Staking(Written):
    """Stakes in a fund: shares of its balance, which bear its losses."""

    cooldown_seconds: Positive = Field(description="between asking a stake back and withdrawing it")
    revenue_cap: Rate | None = Field(
        default=None, description="the most that revenue adds in a year, of the balance; the rest stays outside"
    )
    gate: Expression | None = Field(
        default=None, description="a condition on the fund; while it holds, nothing is withdrawn"
    )


class Fund(Written):
    """A pool of money that waterfall layers draw on and steps feed."""

    id: Id = Field(description="the name that steps and layers use")
    currency: Id = Field(description="the currency that it holds")
    holds: Holds = Field(default="insurance", description="what its money is")
    of: Id | None = Field(default=None, description="of assessments: the members' fund whose contributions count")
    multiple: Rate | None = Field(default=None, description="of assessments: the most, of each contribution")
    target: Expression | None = Field(default=None, description="how large it should be, in money of its currency")
    refill: Refill | None = Field(default=None, description="when it asks for more")
    riders: tuple[Rider, ...] = Field(default=(), description="margin that is paid into it")
    staking: Staking | None = Field(default=None, description="who may stake, and how it comes back")
