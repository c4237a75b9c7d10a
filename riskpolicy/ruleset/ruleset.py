"""A ruleset as written: one venue's rules for one period."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from riskpolicy.ruleset.deleveraging import Deleveraging
from riskpolicy.ruleset.fees import Fees
from riskpolicy.ruleset.funding import Funding
from riskpolicy.ruleset.funds import Fund
from riskpolicy.ruleset.instruments import Currency, Instruments
from riskpolicy.ruleset.liquidation import Liquidation
from riskpolicy.ruleset.margin import Margin
from riskpolicy.ruleset.waterfall import Layer, Regime
from riskpolicy.ruleset.written import Field, Id, Instant, Text, Written

#: What a plugin may be given: numbers, percentages and words, also in lists and by name.
Parameter = bool | int | Decimal | str | list[bool | int | Decimal | str] | dict[str, bool | int | Decimal | str]


class Plugin(Written):
    """A plugin, by the name under which it is installed."""

    plugin: Id = Field(description="the name of its entry point in the group `riskpolicy.plugins`")


class Ruleset(Written):
    """The whole document. Positions of its parts are in the Document that it was read from."""

    riskpolicy: Literal[1] = Field(description="the version of the ruleset language")
    id: Id = Field(description="the ruleset's name, the same in all its versions")
    valid_from: Instant = Field(description="the first instant at which these rules hold")
    valid_until: Instant | None = Field(default=None, description="the first instant at which they no longer do")
    sources: dict[Id, Text] = Field(default={}, description="where each part was read, and when")
    notes: tuple[Text, ...] = Field(default=(), description="what is inferred, chosen or contradicted by a source")
    currencies: dict[Id, Currency] = Field(min_length=1, description="the currencies of account, by id")
    funds: tuple[Fund, ...] = Field(default=(), description="pools of money that steps and layers name")
    instruments: tuple[Instruments, ...] = Field(min_length=1, description="what is traded, in groups of equal terms")
    functions: tuple[Plugin, ...] = Field(default=(), description="plugins whose functions the expressions use")
    plugins: dict[Id, dict[Id, Parameter]] = Field(
        default={}, description="the parameters of plugins that are named elsewhere, by plugin"
    )
    margin: Margin = Field(description="what a position must have behind it")
    liquidation: Liquidation = Field(description="when a bucket is liquidated, in which order, by which steps")
    waterfall: tuple[Layer, ...] = Field(min_length=1, description="who pays a bucket's deficit, in order")
    regime: Regime | None = Field(default=None, description="what no layer may touch, insolvency and recourse")
    fees: Fees | None = Field(default=None, description="what trades pay, and who gets it")
    funding: Funding | None = Field(default=None, description="what longs and shorts pay each other")
    deleveraging: Deleveraging | None = Field(
        default=None, description="the queue in which others are closed; absent where the venue has none"
    )
