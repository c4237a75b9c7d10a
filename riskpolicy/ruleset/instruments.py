"""Written form of what is traded: currencies, funds and instruments."""

from __future__ import annotations

from typing import Literal

from riskpolicy.ruleset.written import Field, Id, Positive, Written


class Currency(Written):
    """A currency of account."""

    quantum: Positive = Field(description="the smallest amount that is booked, such as 0.000001")


class Instruments(Written):
    """One or more instruments that share their terms."""

    symbols: tuple[Id, ...] = Field(min_length=1, description="the venue's own symbols")
    aliases: dict[Id, tuple[Id, ...]] = Field(default={}, description="other names of a symbol, such as CCXT's")
    payoff: Literal["linear", "inverse", "quanto"] = Field(
        description="linear: profit = quantity x contract_size x price change; inverse: quantity x contract_size x "
        "change of -1 / price; quanto: as linear, contract_size being settlement money a point of price"
    )
    base: Id | None = Field(default=None, description="what is traded, such as BTC")
    quote: Id | None = Field(default=None, description="what it is priced in, such as USD")
    netting: Id | None = Field(default=None, description="the group within which long and short margin net")
    settle: Id = Field(description="the currency of margin and profit")
    contract_size: Positive = Field(
        default="1",
        validate_default=True,
        description="units of the base a contract; inverse: of the quote; quanto: settlement money a point of price",
    )
    lot: Positive | None = Field(default=None, description="the smallest step of a quantity")
    tick: Positive | None = Field(default=None, description="the smallest step of a price")
    tiers: Id = Field(description="the id of a table in margin.tiers")
    fund: Id | None = Field(default=None, description="the fund that stands behind these instruments")
