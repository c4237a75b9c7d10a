"""Written form of liquidation: when a bucket is liquidated, in which order, by which steps."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import WithJsonSchema

from riskpolicy.ruleset.written import Expression, Field, Id, Order, Positive, Rate, Stated, Written

MarketState = Literal["open", "reduce_only", "delisting", "halted"]
#: Prices that have a name; any other price is an expression over the position's columns.
PRICES = (
    "bankruptcy_price", "zero_equity_price", "mark_price", "previous_mark", "oracle_price", "entry_price",
)  # fmt: skip
Price = Annotated[
    Expression,
    WithJsonSchema(
        {"anyOf": [{"enum": list(PRICES)}, {"type": "string"}], "description": "a named price, or an expression"}
    ),
]


class _Step(Written):
    id: Id = Field(description="the name of the step in results")
    when: Expression | None = Field(
        default=None, description="a condition on the bucket at the mark; without it the step is always open"
    )
    unless: tuple[MarketState, ...] = Field(default=(), description="not in markets of these states")


class CancelOrders(_Step):
    """Cancel the bucket's open orders."""

    do: Literal["cancel_orders"] = Field(description="what the step does")


class Staged(Written):
    """Large positions go in parts."""

    above: Positive = Field(description="applies to a position with a notional above this")
    portion: Rate = Field(description="the part of the position in the first order")
    cooldown_seconds: Positive = Field(description="after it, the next order is for the whole position")


class Ramp(Written):
    """What may be closed grows with the time since the liquidation began, as a part of all that is lacking."""

    initial: Rate = Field(description="the part that may go at once")
    duration_seconds: Positive = Field(description="how long it takes from none to all, beside the initial part")
    whole_below: Positive | None = Field(
        default=None, description="a lack of margin, or a position, below this amount of money goes at once"
    )


class MarketOrder(_Step):
    """Send the position to the book at any price."""

    do: Literal["market_order"] = Field(description="what the step does")
    staged: Staged | None = Field(default=None, description="large positions go in parts")
    ramp: Ramp | None = Field(default=None, description="more may be closed the longer it takes")
    portion: Rate | None = Field(
        default=None,
        description="orders are for this part of the position: one of them, or, until healthy, as few as heal",
    )
    until: Literal["healthy", "closed"] = Field(default="closed", description="when the step stops")
    fee: Rate = Field(default="0%", validate_default=True, description="of the notional closed")
    fee_to: Id | None = Field(default=None, description="the id of the fund that takes the fee, or instrument_fund")
    fee_on: Literal["fill", "mark"] = Field(default="fill", description="the price of the notional that is charged")
    fee_limit: Literal["none", "surplus"] = Field(
        default="none", description="surplus: no fee takes more than the equity that is left"
    )
    leftover: Literal["account", "fund"] = Field(description="who keeps the margin that is left")


class ImmediateOrCancel(_Step):
    """Send the position to the book with a limit price."""

    do: Literal["immediate_or_cancel"] = Field(description="what the step does")
    ramp: Ramp | None = Field(default=None, description="more may be closed the longer it takes")
    portion: Rate | None = Field(
        default=None,
        description="orders are for this part of the position: one of them, or, until healthy, as few as heal",
    )
    until: Literal["healthy", "closed"] = Field(default="closed", description="when the step stops")
    price: Price = Field(description="the limit price")
    fee: Rate = Field(default="0%", validate_default=True, description="of the notional closed")
    fee_to: Id | None = Field(default=None, description="the id of the fund that takes the fee, or instrument_fund")
    fee_on: Literal["fill", "mark"] = Field(default="fill", description="the price of the notional that is charged")
    fee_limit: Literal["none", "surplus"] = Field(
        default="none", description="surplus: no fee takes more than the equity that is left"
    )


class LowerTier(_Step):
    """Close as many contracts as bring the position into a lower tier; all or nothing of each order."""

    do: Literal["lower_tier"] = Field(description="what the step does")
    tiers: Literal["one", "two", "lowest"] = Field(
        default="one", description="how many tiers down; a position in too low a tier is left alone"
    )
    price: Price | None = Field(default=None, description="the limit price; absent: any")
    fee: Rate = Field(default="0%", validate_default=True, description="of the notional closed")
    fee_to: Id | None = Field(default=None, description="the id of the fund that takes the fee, or instrument_fund")


class Assign(_Step):
    """Liquidity providers take the contracts: equal shares, capped; who is full drops out, until nothing is left."""

    do: Literal["assign"] = Field(description="what the step does")
    price: Price = Field(description="the price at which they take the positions")


class Auction(_Step):
    """Bidders take the contracts, the best price first, none below the reserve; what is left goes on to the next step.

    Bids are what execution quotes within the reserve, and events of kind `auction` while it is open.
    """

    do: Literal["auction"] = Field(description="what the step does")
    reserve: Price = Field(description="the worst price at which contracts go")
    timeout_seconds: Positive | None = Field(
        default=None, description="how long it stays open for further bids; absent: it ends at once"
    )
    fee: Rate = Field(default="0%", validate_default=True, description="of the notional sold")
    fee_to: Id | None = Field(default=None, description="the id of the fund that takes the fee, or instrument_fund")


class Takeover(_Step):
    """A fund takes the positions and the margin behind them."""

    do: Literal["takeover"] = Field(description="what the step does")
    by: Id = Field(
        description="the id of a fund, or instrument_fund: that of the instrument of the bucket's largest position"
    )
    price: Price = Field(description="the price at which the fund takes the positions")
    max_net_notional: Rate | None = Field(default=None, description="of the fund's balance")
    max_loss: Rate | None = Field(
        default=None, description="the most it may lose at the mark in one resolution, of its balance at the start"
    )
    solvency: Literal["none", "maintenance", "initial"] = Field(
        default="none",
        description="positions are taken whole, while the fund's balance is at least this margin of what it holds",
    )
    order: Order | None = Field(
        default=None, description="which positions come first, by a column of positions; absent: the largest"
    )
    leftover: Literal["account", "fund"] = Field(default="fund", description="who keeps the margin that is left")


class Deleverage(_Step):
    """Close against the positions of others, by the rules in `deleveraging`."""

    do: Literal["deleverage"] = Field(description="what the step does")


Step = Annotated[
    CancelOrders | MarketOrder | ImmediateOrCancel | LowerTier | Assign | Auction | Takeover | Deleverage,
    Field(discriminator="do"),
]


class Liquidation(Written):
    """From a healthy bucket to a closed one."""

    trigger: Expression = Field(description="a condition on a bucket; where it holds the bucket is liquidatable")
    release: Expression | None = Field(
        default=None,
        description="a condition on a bucket; once in liquidation, it stays there until this holds. Absent: until the "
        "trigger no longer does",
    )
    restricted: Expression | None = Field(
        default=None, description="a condition on a bucket that is not liquidatable but may only reduce"
    )
    accounts: Stated[tuple[Order, ...]] = Field(description="which bucket is liquidated first")
    execution: Id | None = Field(
        default=None, description="a plugin that says what orders get, where a resolution is not told"
    )
    steps: tuple[Step, ...] = Field(min_length=1, description="who takes the contracts, in order")
