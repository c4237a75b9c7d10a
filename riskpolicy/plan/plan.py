"""Plan: what the engines run. It holds no text to parse and no name to look up in a loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from riskpolicy.kernel.program import Program

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Instruments:
    """What is traded, in the ruleset's order; `number` finds an instrument by symbol or alias."""

    symbols: tuple[str, ...]
    number: Mapping[str, int]
    currency: Ints
    contract_size: Floats
    contract_size_exact: tuple[Fraction, ...]
    table: Ints


@dataclass(frozen=True, slots=True)
class Tier:
    """One tier, exactly: maintenance = notional x rate - deduction. `cap` None is unlimited."""

    id: str
    floor: Fraction
    cap: Fraction | None
    rate: Fraction
    deduction: Fraction
    max_leverage: Fraction | None


@dataclass(frozen=True, slots=True)
class TierTables:
    """All tier tables in one: table t has the rows start[t] to start[t + 1] of the arrays and of `exact`."""

    exact: tuple[Tier, ...]
    start: Ints
    edge_lower: npt.NDArray[np.uint8]
    cap: Floats
    rate: Floats
    deduction: Floats
    max_leverage: Floats


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition or number with the id of the rule that states it."""

    id: str
    program: Program


@dataclass(frozen=True, slots=True)
class Trigger:
    """The liquidation trigger, and the same as a sum: it holds where the sum is below zero.

    sum = of_equity x equity + of_pnl x unrealized_pnl + of_notional x notional +
    of_maintenance x maintenance_margin + of_wallet x wallet_balance + constant;
    `strict` is False where it holds at zero too.
    """

    rule: Rule
    of_equity: Fraction
    of_pnl: Fraction
    of_notional: Fraction
    of_maintenance: Fraction
    of_wallet: Fraction
    constant: Fraction
    strict: bool


@dataclass(frozen=True, slots=True)
class OrderKey:
    """One key of an order: a column and its direction."""

    column: str
    descending: bool


@dataclass(frozen=True, slots=True)
class Step:
    """A liquidation step; `when` is None where it is always open."""

    id: str
    do: str
    when: Rule | None


@dataclass(frozen=True, slots=True)
class Layer:
    """A waterfall layer: pays is defaulter, fund, deleveraging or residual; `fund` indexes Plan.funds."""

    id: str
    name: str
    pays: str
    fund: int
    all_or_nothing: bool


@dataclass(frozen=True, slots=True)
class Deleveraging:
    """The ranking of positions within (instrument, side): score descending, ties, account ascending."""

    score: Rule
    ties: tuple[OrderKey, ...]
    light_count: int
    lights_by_quantity: bool


@dataclass(frozen=True, slots=True)
class Fund:
    """A fund and the currency that it holds, as an index into Plan.currencies."""

    id: str
    currency: int


@dataclass(frozen=True, slots=True)
class Plan:
    """One ruleset, compiled. Instants are UTC; `valid_until` None is until further notice."""

    id: str
    valid_from: datetime
    valid_until: datetime | None
    currencies: tuple[str, ...]
    instruments: Instruments
    tiers: TierTables
    modes: frozenset[str]
    initial: Rule
    trigger: Trigger
    restricted: Rule | None
    order: tuple[OrderKey, ...]
    steps: tuple[Step, ...]
    funds: tuple[Fund, ...]
    layers: tuple[Layer, ...]
    deleveraging: Deleveraging | None
    not_stated: tuple[str, ...]
