"""Written form of the waterfall: who pays a loss, in order."""

from __future__ import annotations

from typing import Literal

from riskpolicy.ruleset.liquidation import MarketState
from riskpolicy.ruleset.written import Expression, Field, Id, Positive, Rate, Text, Written

DEFAULTER, DELEVERAGING, RESIDUAL = "defaulter", "deleveraging", "residual"
SOCIALIZATION, INSTRUMENT_FUND = "socialization", "instrument_fund"
#: What a layer can pay besides the id of a fund.
WORDS = (DEFAULTER, DELEVERAGING, SOCIALIZATION, INSTRUMENT_FUND, RESIDUAL)


class Layer(Written):
    """One payer. The last layer pays `residual`: what nobody paid is named, never lost."""

    id: Id = Field(description="the name of the layer in results")
    pays: Id = Field(
        description="defaulter (its own margin), a fund's id, instrument_fund (the funds of the bucket's instruments), "
        "deleveraging (the profit of ranked positions opposite the bankrupt ones), socialization (others at the "
        "venue), or residual"
    )
    draw: Literal["partial", "all_or_nothing", "leave_unit"] = Field(
        default="partial",
        description="partial: what it has; all_or_nothing: the whole deficit of a bucket or nothing; leave_unit: all "
        "but one quantum of what it has",
    )
    cap: Positive | None = Field(default=None, description="the most it pays in one resolution, in money")
    cap_share: Rate | None = Field(default=None, description="the most it pays, as a part of its balance at the start")
    per_account: Positive | None = Field(default=None, description="the most it pays for one account")
    per_market: Positive | None = Field(default=None, description="the most it pays for buckets of one market")
    window_seconds: Positive | None = Field(
        default=None,
        description="the caps hold for all draws within this time, from the table `drawn`; absent: for one resolution",
    )
    group: Id | None = Field(
        default=None,
        description="layers of one group, which stand together, pay at once, in proportion to what each could pay",
    )
    group_cap: Positive | None = Field(
        default=None, description="the most that the layers of its group pay together; stated at its first layer"
    )
    unless: tuple[MarketState, ...] = Field(default=(), description="not in markets of these states")
    by: Literal["open_interest", "profit", "withdrawals"] = Field(
        default="open_interest",
        description="of socialization: so much a contract, on both sides; in proportion to unrealized profit; or a cut "
        "of every withdrawal, in proportion to equity",
    )
    when: Expression | None = Field(default=None, description="a condition on the bucket; without it the layer is open")


class Regime(Written):
    """What law or contract forbids and provides; no layer may touch what is protected."""

    protects: tuple[Literal["client_assets", "initial_margin", "unrealized_profit"], ...] = Field(
        default=(),
        description="client_assets: the balances of those who did not default; initial_margin: theirs behind "
        "positions; unrealized_profit: theirs",
    )
    insolvency: Text | None = Field(default=None, description="what happens to claims if the venue is insolvent")
    recourse: Literal["none", "limited", "full"] | None = Field(
        default=None, description="what a client owes beyond its margin"
    )
