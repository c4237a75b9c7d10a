"""Written form of fees: what trades pay, and who gets it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, WithJsonSchema

from riskpolicy.ruleset.written import Field, Id, Number, Positive, Rate, Written, signed_rate

#: Kinds of fees, for parts of the split that take only some.
Kind = Literal["maker", "taker", "liquidation", "deleveraging"]
SignedRate = Annotated[
    Number, BeforeValidator(signed_rate), WithJsonSchema({"type": ["string", "number"], "description": "a rate"})
]


class FeeTier(Written):
    """What an account pays from a traded volume on; a rebate is below zero."""

    id: Id = Field(description="the name that accounts use")
    volume: Number = Field(default="0", validate_default=True, description="traded in the window, from here on (>=)")
    maker: SignedRate = Field(description="of the notional")
    taker: SignedRate = Field(description="of the notional")


class Part(Written):
    """One receiver of fees."""

    id: Id = Field(description="the name of the part in ledgers")
    to: Id = Field(description="a fund's id, instrument_fund, or the name of an outside party")
    share: Rate = Field(description="of the fee, or of what the parts before it have left")
    of: Literal["fee", "rest"] = Field(default="fee", description="what the share is taken from")
    on: tuple[Kind, ...] = Field(
        default=("maker", "taker", "liquidation", "deleveraging"),
        min_length=1,
        description="the fees that it takes from",
    )
    cap: Positive | None = Field(default=None, description="the most of one fee, in money")


class Fees(Written):
    """Rates by volume, and the split of what comes in."""

    window_days: Positive = Field(default="30", validate_default=True, description="over which volume counts")
    tiers: tuple[FeeTier, ...] = Field(min_length=1, description="lowest volume first")
    split: tuple[Part, ...] = Field(default=(), description="who gets a fee, in order; whole quanta, rounded down")
    residue: Id = Field(
        default="fees", description="who gets what the split leaves: a fund's id, instrument_fund, or an outside party"
    )
    plugin: Id | None = Field(default=None, description="a plugin that splits fees instead, by its name")
