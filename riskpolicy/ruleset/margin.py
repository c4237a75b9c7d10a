"""Written form of margin: the initial requirement and the tier tables."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from riskpolicy.ruleset.written import Expression, Field, Id, Written

TierColumn = Literal["from", "up_to", "maintenance", "max_leverage", "deduction"]
Mode = Literal["cross", "isolated"]


class TierTable(Written):
    """A table of margin tiers. A tier is named by its cap: `margin.tiers.<id>.<up_to>`."""

    id: Id = Field(description="the name that instruments use")
    key: Literal["notional"] = Field(description="what the caps count: notional at the basis price, in money")
    basis: Literal["mark"] = Field(description="the price behind the key")
    rate: Literal["bracket"] = Field(
        description="bracket: maintenance = notional x rate - deduction, continuous at every cap"
    )
    edge: Literal["lower", "upper"] = Field(
        default="lower", description="the tier that owns a key exactly at a cap: the one below it, or above"
    )
    above_last: Literal["refuse", "continue"] = Field(
        default="refuse",
        description="above a finite last cap, orders are refused, or the last tier goes on; "
        "a position that is there already is margined by the last tier either way",
    )
    maintenance: Expression | None = Field(
        default=None,
        description="the maintenance rate from a row's columns, where the table has no such column",
    )
    columns: tuple[TierColumn, ...] = Field(min_length=2, description="what the cells of a row are")
    rows: tuple[tuple[Decimal | str, ...], ...] = Field(min_length=1, description="the tiers, lowest first")


class Margin(Written):
    """What a position must have behind it."""

    initial: Expression = Field(description="initial margin of a position, in money; `notional / leverage`")
    modes: tuple[Mode, ...] = Field(
        default=("cross", "isolated"), min_length=1, description="whose balance may stand behind a position"
    )
    tiers: tuple[TierTable, ...] = Field(min_length=1, description="the tables that instruments name")
