"""Written form of the waterfall: who pays a loss, in order."""

from __future__ import annotations

from typing import Literal

from riskpolicy.ruleset.written import Field, Id, Written

DEFAULTER, DELEVERAGING, RESIDUAL = "defaulter", "deleveraging", "residual"


class Layer(Written):
    """One payer. The last layer pays `residual`: what nobody paid is named, never lost."""

    id: Id = Field(description="the name of the layer in results")
    pays: Id = Field(
        description="defaulter (its own margin), a fund's id, deleveraging (the profit of ranked positions "
        "opposite the bankrupt ones), or residual"
    )
    draw: Literal["partial", "all_or_nothing"] = Field(
        default="partial",
        description="partial: what it has; all_or_nothing: the whole deficit of a bucket or nothing",
    )
