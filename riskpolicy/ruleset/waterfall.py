"""Written form of the waterfall: who pays a loss, in order."""

from __future__ import annotations

from typing import Literal

from riskpolicy.ruleset.liquidation import MarketState
from riskpolicy.ruleset.written import Expression, Field, Id, Positive, Rate, Written

DEFAULTER, DELEVERAGING, RESIDUAL = "defaulter", "deleveraging", "residual"
SOCIALIZATION = "socialization"


class Layer(Written):
    """One payer. The last layer pays `residual`: what nobody paid is named, never lost."""

    id: Id = Field(description="the name of the layer in results")
    pays: Id = Field(
        description="defaulter (its own margin), a fund's id, deleveraging (the profit of ranked positions "
        "opposite the bankrupt ones), socialization (all holders of the market), or residual"
    )
    draw: Literal["partial", "all_or_nothing", "leave_unit"] = Field(
        default="partial",
        description="partial: what it has; all_or_nothing: the whole deficit of a bucket or nothing; leave_unit: all "
        "but one quantum of what it has",
    )
    cap: Positive | None = Field(default=None, description="the most it pays in one resolution, in money")
    cap_share: Rate | None = Field(default=None, description="the most it pays, as a part of its balance at the start")
    per_account: Positive | None = Field(default=None, description="the most it pays for one account")
    group: Id | None = Field(
        default=None,
        description="layers of one group, which stand together, pay at once, in proportion to what each could pay",
    )
    unless: tuple[MarketState, ...] = Field(default=(), description="not in markets of these states")
    by: Literal["open_interest", "profit"] = Field(
        default="open_interest",
        description="of socialization: so much a contract, on both sides; or in proportion to unrealized profit",
    )
    when: Expression | None = Field(default=None, description="a condition on the bucket; without it the layer is open")
