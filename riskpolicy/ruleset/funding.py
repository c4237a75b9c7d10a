"""Written form of funding: from premium to rate, and what is paid."""

from __future__ import annotations

from typing import Literal

from riskpolicy.ruleset.fees import SignedRate
from riskpolicy.ruleset.written import Field, Positive, Rate, Written


class Funding(Written):
    """The rate of one interval, from the average premium of the market; above zero longs pay shorts.

    clamp: premium + clamp(interest - premium, -clamp, clamp). dead_band: the part of the premium beyond the band.
    plain: premium + interest. The result is of `rate_hours`, and an interval has its part of it.
    """

    formula: Literal["clamp", "dead_band", "plain"] = Field(default="clamp", description="from premium to rate")
    interest: SignedRate = Field(default="0%", validate_default=True, description="of `rate_hours`")
    clamp: Rate | None = Field(default=None, description="of formula clamp: how far interest moves the premium")
    dead_band: Rate | None = Field(default=None, description="of formula dead_band: within it a premium is nothing")
    rate_hours: Positive = Field(default="8", validate_default=True, description="what premium and interest are of")
    interval_hours: Positive = Field(default="8", validate_default=True, description="how often it is paid")
    cap: Rate | None = Field(default=None, description="the most of one interval, either way")
    cap_of_margin: Rate | None = Field(
        default=None,
        description="the most of one interval, of the first tier's initial less its maintenance rate",
    )
    basis: Literal["mark", "oracle", "index"] = Field(default="mark", description="the price that the value is at")
    warn_above: Rate = Field(
        default="80%", validate_default=True, description="a bucket whose margin ratio funding lifts above it is named"
    )
