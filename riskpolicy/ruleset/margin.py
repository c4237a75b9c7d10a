"""Written form of margin: the initial requirement, the tier tables, collateral and orders."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Discriminator, Tag, model_validator
from pydantic_core import PydanticCustomError

from riskpolicy.ruleset.written import Expression, Field, Id, Number, Positive, Rate, Written

TierColumn = Literal["from", "up_to", "maintenance", "initial", "max_leverage", "deduction"]
Mode = Literal["cross", "isolated", "hedge"]
Key = Literal["notional", "coin", "contracts", "quote_value"]
#: The rates of a table with rows, and those that are curves over the key.
IN_ROWS = ("bracket", "step")


class Curve(Written):
    """A rate that moves with the key or the market: least <= offset + slope x key + root <= most.

    Every shape of a table's `rate` uses the keys that it needs.
    """

    base: Rate = Field(description="the rate of the smallest position, and the least there is")
    slope: Number = Field(default="0", validate_default=True, description="linear: added per unit of the key")
    factor: Number = Field(
        default="0", validate_default=True, description="square_root: times the root of the key; volume: of its share"
    )
    share: Rate = Field(default="0", validate_default=True, description="square_root: the part of base under the root")
    lower: Number | None = Field(default=None, description="open_interest: base holds up to here")
    upper: Number | None = Field(default=None, description="open_interest: `most` holds from here on")
    most: Rate = Field(default="100%", validate_default=True, description="the rate never rises above this")
    multiple_of: Positive | None = Field(
        default=None, description="open_interest: the rate is rounded down to a multiple of this, such as 0.000001"
    )


def _kind(value: object) -> str:
    return "curve" if isinstance(value, dict | Curve) else "text"


CurveOrExpression = Annotated[Annotated[Curve, Tag("curve")] | Annotated[Expression, Tag("text")], Discriminator(_kind)]


class Generated(Written):
    """Further tiers after the last row, each one step higher, until a rate reaches 100%."""

    step: Positive = Field(description="how much each tier adds to the cap")
    maintenance: Rate = Field(description="how much it adds to the maintenance rate")
    initial: Rate = Field(default="0", validate_default=True, description="how much it adds to the initial rate")
    count: int | None = Field(default=None, ge=1, le=10_000, description="how many there are; absent: up to 100%")


class TierTable(Written):
    """A table of margin tiers. A tier is named by its cap: `margin.tiers.<id>.<up_to>`."""

    id: Id = Field(description="the name that instruments use")
    key: Key = Field(
        description="what caps and curves count: notional (value at the basis price, in settlement money), coin (units "
        "of the base), contracts, or quote_value (value in the quote currency)"
    )
    basis: Literal["mark", "entry"] = Field(
        default="mark", description="the price at which key and requirements are computed"
    )
    rate: Literal["flat", "bracket", "step", "linear", "square_root", "open_interest", "volume", "expression"] = Field(
        description="flat: one rate; bracket: each slice of the key at its own rate, continuous at every cap; step: "
        "the whole position at its tier's rate; linear: base + slope x key; square_root: max(base, share x base + "
        "factor x sqrt(key)); open_interest: from base at `lower` to `most` at `upper`; volume: max(base, factor x "
        "sqrt(key / daily volume)); expression: a rate from the position's columns"
    )
    edge: Literal["lower", "upper"] = Field(
        default="lower", description="the tier that owns a key exactly at a cap: the one below it, or above"
    )
    above_last: Literal["refuse", "continue"] = Field(
        default="refuse",
        description="above a finite last cap, orders are refused, or the last tier goes on; "
        "a position that is there already is margined by the last tier either way",
    )
    maintenance: CurveOrExpression | None = Field(
        default=None,
        description="flat: the rate; bracket and step: the rate from a row's columns, where there is no such column; "
        "curves: the parameters; expression: the rate from the position's columns",
    )
    initial: CurveOrExpression | None = Field(
        default=None, description="the initial rate, in the same forms; read as `initial_rate`"
    )
    max_leverage: Positive | None = Field(default=None, description="of a table without rows")
    up_to: Positive | None = Field(default=None, description="the largest key of a table without rows")
    lot: Number = Field(
        default="0",
        validate_default=True,
        description="of a table with `from`: tiers that start a lot higher leave no gap",
    )
    columns: tuple[TierColumn, ...] = Field(default=(), description="what the cells of a row are")
    rows: tuple[tuple[Decimal | str, ...], ...] = Field(default=(), description="the tiers, lowest first")
    generated: Generated | None = Field(default=None, description="tiers that go on after the last row")

    @model_validator(mode="after")
    def _shape(self) -> TierTable:
        in_rows = self.rate in IN_ROWS
        if in_rows != bool(self.rows) or in_rows != bool(self.columns):
            what = "needs `columns` and `rows`" if in_rows else "has neither `columns` nor `rows`"
            raise PydanticCustomError("tier_shape", "{what}", {"what": f"rate `{self.rate}` {what}"})
        if not in_rows and self.maintenance is None:
            raise PydanticCustomError("tier_shape", "rate `{rate}` needs `maintenance`", {"rate": self.rate})
        if self.rate == "flat" and isinstance(self.maintenance, Curve):
            raise PydanticCustomError("tier_shape", "rate `flat` takes a plain rate, such as 1%", {})
        if self.generated is not None and self.rate != "step":
            raise PydanticCustomError("tier_shape", "only steps can be `generated`", {})
        return self


class Weights(Written):
    """What an asset counts as collateral."""

    initial: Rate = Field(description="the part that counts towards initial margin")
    maintenance: Rate = Field(description="the part that counts towards equity and maintenance margin")


class Collateral(Written):
    """What may stand behind positions besides the settlement currency's balance."""

    currency: Id = Field(description="the currency into which everything is converted")
    pooled: bool = Field(
        default=False,
        description="all cross balances, collateral and profit of an account form one bucket in `currency`",
    )
    assets: dict[Id, Weights] = Field(
        default={}, description="weights by asset or currency; a negative balance counts in full"
    )


class Margin(Written):
    """What a position must have behind it."""

    initial: Expression = Field(description="initial margin of a position, in money; `notional / leverage`")
    modes: tuple[Mode, ...] = Field(
        default=("cross", "isolated"),
        min_length=1,
        description="whose balance may stand behind a position; hedge: long and short sides held apart",
    )
    tiers: tuple[TierTable, ...] = Field(min_length=1, description="the tables that instruments name")
    netting: Literal["none", "larger_side"] = Field(
        default="none",
        description="larger_side: of a bucket's positions in one netting group, only the larger side's margin is due",
    )
    rounding: Literal["none", "up"] = Field(
        default="none", description="up: each position's requirements are rounded up to whole quanta"
    )
    orders: Literal["none", "larger_side"] = Field(
        default="none",
        description="larger_side: initial margin is that of the larger of position plus buys and position minus sells",
    )
    bankruptcy: Literal["account", "maintenance", "notional"] = Field(
        default="account",
        description="the bankruptcy price in a cross bucket: the price at which this market alone exhausts the equity, "
        "or the price at which the position gives up its share of the equity, by maintenance margin or by notional",
    )
    price_rounding: Literal["none", "conservative"] = Field(
        default="none",
        description="conservative: liquidation and bankruptcy prices are whole ticks, up for longs, down for shorts",
    )
    collateral: Collateral | None = Field(
        default=None, description="assets that count, and whether balances are pooled"
    )
