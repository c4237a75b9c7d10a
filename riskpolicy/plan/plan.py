"""Plan: what the engines run. It holds no text to parse and no name to look up in a loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from riskpolicy.kernel.program import Program
from riskpolicy.numbers import sqrt

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
    inverse: tuple[bool, ...]
    netting: Ints
    lot: tuple[Fraction | None, ...]
    tick: tuple[Fraction | None, ...]
    fund: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition or number with the id of the rule that states it."""

    id: str
    program: Program


@dataclass(frozen=True, slots=True)
class Tier:
    """One tier, exactly: maintenance = value x rate - deduction, the deduction counted in units of the key.

    `cap` None is unlimited. `initial` is the initial rate, None where the ruleset gives none. Where the table has a
    curve or formula, the rates here are not used.
    """

    id: str
    floor: Fraction
    cap: Fraction | None
    rate: Fraction
    deduction: Fraction
    initial: Fraction | None
    max_leverage: Fraction | None


class Market(Enum):
    """What of a market a curve depends on."""

    NONE = ""
    OPEN_INTEREST = "open_interest"
    VOLUME = "daily_volume"


@dataclass(frozen=True, slots=True)
class Curve:
    """A rate over the key k: min(most, max(least, offset + slope x k + factor x sqrt(k))).

    With the open interest o, in the units of `lower` and `upper`, the rate is that of no key:
    least + (most - least) x (o - lower) / (upper - lower), clipped to least and most, rounded down to a multiple.
    With the daily volume, the root is that of k / volume.
    """

    least: Fraction
    offset: Fraction
    slope: Fraction
    factor: Fraction
    most: Fraction
    market: Market = Market.NONE
    lower: Fraction = Fraction(0)
    upper: Fraction = Fraction(0)
    multiple_of: Fraction | None = None

    def rate(self, key: Fraction, market: Fraction | None) -> Fraction:
        """Return the rate at a key; `market` is the open interest or volume where the curve depends on it."""
        if self.market is Market.OPEN_INTEREST:
            assert market is not None
            return self.scaled(market)
        root = sqrt(key if market is None else key / market) if self.factor else Fraction(0)
        return min(self.most, max(self.least, self.offset + self.slope * key + self.factor * root))

    def scaled(self, open_interest: Fraction) -> Fraction:
        """Return the rate at an open interest."""
        share = (open_interest - self.lower) / (self.upper - self.lower)
        rate = self.least + min(Fraction(1), max(Fraction(0), share)) * (self.most - self.least)
        return rate if self.multiple_of is None else rate // self.multiple_of * self.multiple_of


@dataclass(frozen=True, slots=True)
class Table:
    """What holds for a whole tier table: what its key counts, at which price, and its curves or formula if any."""

    id: str
    key: str
    entry_basis: bool
    continues: bool
    maintenance: Curve | None = None
    initial: Curve | None = None
    formula: Rule | None = None

    @property
    def curved(self) -> bool:
        """Whether a rate is not that of a row."""
        return self.maintenance is not None or self.initial is not None or self.formula is not None


@dataclass(frozen=True, slots=True)
class TierTables:
    """All tier tables in one: table t has the rows start[t] to start[t + 1] of the arrays and of `exact`.

    `initial` is NaN where a tier has no initial rate.
    """

    tables: tuple[Table, ...]
    exact: tuple[Tier, ...]
    start: Ints
    edge_lower: npt.NDArray[np.uint8]
    cap: Floats
    rate: Floats
    deduction: Floats
    initial: Floats
    max_leverage: Floats

    @property
    def ordered(self) -> bool:
        """Whether maintenance margin never rises while contracts are closed: rates rise with size; formulas may not."""
        return all(table.formula is None for table in self.tables)

    def least_margin(self, table: int) -> Fraction | None:
        """Return the initial less the maintenance rate of the smallest position; None where one is no number."""
        of, first = self.tables[table], self.exact[int(self.start[table])]
        initial = first.initial if of.initial is None else of.initial.least
        maintenance = first.rate if of.maintenance is None else of.maintenance.least
        return None if initial is None or of.formula is not None else initial - maintenance


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

    @property
    def bare(self) -> bool:
        """Whether more equity, or less notional and maintenance margin, never make it hold, and nothing else counts."""
        rises = self.of_equity >= 0 and self.of_notional <= 0 and self.of_maintenance <= 0
        return rises and self.of_pnl == 0 and self.of_wallet == 0


@dataclass(frozen=True, slots=True)
class OrderKey:
    """One key of an order: a column and its direction."""

    column: str
    descending: bool


@dataclass(frozen=True, slots=True)
class Ramp:
    """The part of what is lacking that may be closed: initial + seconds since the start / duration, at most all.

    A lack of margin, or a position, below `whole_below` goes at once.
    """

    initial: Fraction
    duration: Fraction
    whole_below: Fraction | None


#: In place of a fund's number: the fund of the instrument that a fee is of, or of a bucket's largest position.
OF_INSTRUMENT = -2


@dataclass(frozen=True, slots=True)
class Step:
    """A liquidation step; `when` is None where it is always open.

    `price` is the limit, or the price at which somebody takes the contracts; None is any price. `fee` is a part of the
    notional closed and goes to fund `fee_to` (-1: to `@fees`). `by` is the fund that takes over. Both may be
    OF_INSTRUMENT. `max_net_notional` is a part of its balance, `max_loss` of its balance at the start. `portion` of
    positions with a notional above `above` goes first, the rest after `cooldown` seconds; `part` is the fraction of a
    position that orders are for. A fund with a `solvency` takes whole positions while its balance is at least that
    margin of what it holds, in `order`.
    """

    id: str
    do: str
    when: Rule | None
    until: str = "closed"
    price: str | Rule | None = None
    fee: Fraction = Fraction(0)
    fee_to: int = -1
    by: int = -1
    leftover: str = "account"
    max_net_notional: Fraction | None = None
    above: Fraction | None = None
    portion: Fraction = Fraction(1)
    fee_on_mark: bool = False
    fee_within_surplus: bool = False
    tiers: str = "one"
    unless: tuple[str, ...] = ()
    cooldown: Fraction | None = None
    part: Fraction | None = None
    ramp: Ramp | None = None
    timeout: Fraction | None = None
    max_loss: Fraction | None = None
    solvency: str = "none"
    order: OrderKey | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """A waterfall layer: pays is defaulter, fund, deleveraging, socialization or residual; `fund` indexes Plan.funds.

    Layers of one `group` pay at once, together at most `group_cap`; `draw` is partial, all_or_nothing or leave_unit.
    Caps hold for one resolution, or for `window` seconds. One that is `of_instrument` pays only for buckets with a
    position in an instrument of its fund. Socialization goes `by` open_interest, profit or withdrawals.
    """

    id: str
    name: str
    pays: str
    fund: int
    draw: str
    cap: Fraction | None = None
    cap_share: Fraction | None = None
    per_account: Fraction | None = None
    group: str | None = None
    when: Rule | None = None
    by: str = "open_interest"
    unless: tuple[str, ...] = ()
    per_market: Fraction | None = None
    window: Fraction | None = None
    group_cap: Fraction | None = None
    of_instrument: bool = False

    @property
    def all_or_nothing(self) -> bool:
        """Whether it pays the whole deficit or nothing."""
        return self.draw == "all_or_nothing"


@dataclass(frozen=True, slots=True)
class SeverityRule:
    """What share of a bankrupt position an event asks for, from `least` to `most`, `start` before the first event.

    `rule` is a controller by its name with its `parameters`: what an event raised changes what the next one asks for.
    """

    rule: str
    parameters: Mapping[str, object]
    start: Fraction
    least: Fraction
    most: Fraction


@dataclass(frozen=True, slots=True)
class Deleveraging:
    """The ranking of positions within (instrument, side): score descending, ties, account ascending.

    Positions are closed at `price`, one of the words of a step's price, less a `fee` of the notional. `rule` is a
    policy by its name with its `parameters`, or `plugin`. Where `eligible` does not hold, or the account's role is one
    of `protected`, nothing is taken; else at most `most` of a position in one event. In a market it is turned on where
    `start` holds, and off where `stop` does. `again`: scores are taken anew for every event. Without a `severity` every
    event asks for all of the bankrupt position.
    """

    score: Rule
    ties: tuple[OrderKey, ...]
    light_count: int
    lights_by_quantity: bool
    price: str | Rule | None
    fee: Fraction
    rule: str = "queue"
    parameters: Mapping[str, object] = field(default_factory=dict)
    plugin: str | None = None
    ranks: str | None = None
    again: bool = False
    eligible: Rule | None = None
    protected: tuple[str, ...] = ()
    most: Fraction | None = None
    seed: int = 0
    start: Rule | None = None
    stop: Rule | None = None
    severity: SeverityRule | None = None

    @property
    def by_score(self) -> bool:
        """Whether the ruleset's score ranks, and no plugin, keys of the rule or nothing at all."""
        return self.ranks is None and self.rule not in ("lexicographic", "random_start")

    @property
    def drawn(self) -> bool:
        """Whether the first place is drawn at random, and nobody has a rank."""
        return self.rule == "random_start" and self.ranks is None

    @property
    def whole_by_rank(self) -> bool:
        """Whether everybody ahead gives all of its position before the next one gives anything."""
        numeraire = self.parameters.get("numeraire", "contracts")
        return (
            self.rule in ("queue", "lexicographic")
            and numeraire == "contracts"
            and self.parameters.get("ties", "rank") == "rank"
            and not (self.most or self.eligible or self.protected or self.severity)
        )

    @property
    def plain(self) -> bool:
        """Whether the queue of the evaluation is all there is to know."""
        return self.rule == "queue" and not (
            self.parameters or self.ranks or self.again or self.eligible or self.protected or self.most or self.severity
        )


@dataclass(frozen=True, slots=True)
class Weights:
    """The parts of an asset's value that count towards initial margin, and towards equity."""

    initial: Fraction
    maintenance: Fraction


@dataclass(frozen=True, slots=True)
class Collateral:
    """What converts into `currency` (an index into Plan.currencies), and whether balances are pooled there."""

    currency: int
    pooled: bool
    weights: Mapping[str, Weights]


@dataclass(frozen=True, slots=True)
class Requirements:
    """How requirements are put together: netting, rounding and orders, each on or off; bankruptcy by which share.

    `bankruptcy` is account, maintenance or notional. With `whole_ticks` prices are rounded up for longs, down for
    shorts. `quantum` is per currency.
    """

    netting: bool
    rounded_up: bool
    orders: bool
    bankruptcy: str
    whole_ticks: bool
    quantum: tuple[Fraction, ...]


@dataclass(frozen=True, slots=True)
class Staking:
    """Stakes in a fund: seconds between asking and withdrawing, the yearly cap on revenue, the gate on withdrawals."""

    cooldown: Fraction
    revenue_cap: Fraction | None
    gate: Rule | None


@dataclass(frozen=True, slots=True)
class Rider:
    """Margin paid into a fund: a rate of notional, initial_margin or maintenance_margin."""

    id: str
    rate: Fraction
    base: str
    refundable: bool


@dataclass(frozen=True, slots=True)
class Fund:
    """A fund and the currency that it holds, as an index into Plan.currencies.

    Of assessments, `of` is the members' fund whose contributions count, `multiple` times; else -1. Below `refill` of
    its target a fund asks for more: `refill_share` of the fees that go to it.
    """

    id: str
    currency: int
    holds: str = "insurance"
    of: int = -1
    multiple: Fraction = Fraction(0)
    target: Rule | None = None
    refill: Fraction | None = None
    refill_share: Fraction = Fraction(1)
    riders: tuple[Rider, ...] = ()
    staking: Staking | None = None


@dataclass(frozen=True, slots=True)
class FeeTier:
    """Rates of the notional from a volume on (>=); a rebate is below zero."""

    id: str
    volume: Fraction
    maker: Fraction
    taker: Fraction


@dataclass(frozen=True, slots=True)
class FeePart:
    """One receiver of fees: an account of the ledger, and its fund, OF_INSTRUMENT or -1.

    `of_rest` takes its share of what the parts before it have left.
    """

    id: str
    to: str
    fund: int
    share: Fraction
    of_rest: bool
    on: tuple[str, ...]
    cap: Fraction | None


@dataclass(frozen=True, slots=True)
class Fees:
    """Rates by volume, the split of what comes in, and who gets what it leaves."""

    tiers: tuple[FeeTier, ...]
    split: tuple[FeePart, ...]
    residue: str
    residue_fund: int
    plugin: str | None


@dataclass(frozen=True, slots=True)
class FundingRules:
    """From an average premium to the rate of one interval; above zero longs pay.

    Premium and interest are of `rate_hours`; an interval of `hours` has its part of what the formula gives. clamp:
    premium + clamp(interest - premium, -clamp, clamp). dead_band: what of the premium is beyond +-clamp. plain: premium
    + interest. `cap` bounds an interval's rate on both sides, and so does `cap_of_margin` x (initial - maintenance
    rate). The value that is paid on is at the price `basis`: mark, oracle or index.
    """

    interest: Fraction
    clamp: Fraction
    hours: Fraction = Fraction(8)
    cap: Fraction | None = None
    formula: str = "clamp"
    rate_hours: Fraction = Fraction(8)
    cap_of_margin: Fraction | None = None
    basis: str = "mark"
    warn_above: Fraction = Fraction(4, 5)

    def rate(self, premium: Fraction, margin: Fraction | None = None) -> Fraction:
        """Return the rate of one interval; `margin` is the initial less the maintenance rate, for `cap_of_margin`."""
        if self.formula == "clamp":
            whole = premium + min(self.clamp, max(-self.clamp, self.interest - premium))
        elif self.formula == "dead_band":
            whole = max(self.clamp, premium) + min(-self.clamp, premium)
        else:
            whole = premium + self.interest
        rate = whole * self.hours / self.rate_hours
        caps = [self.cap, None if self.cap_of_margin is None or margin is None else self.cap_of_margin * margin]
        for cap in caps:
            rate = rate if cap is None else min(cap, max(-cap, rate))
        return rate


@dataclass(frozen=True, slots=True)
class Regime:
    """What no layer may touch, and what disclosure and explanations quote."""

    protects: tuple[str, ...]
    insolvency: str | None
    recourse: str | None


@dataclass(frozen=True, slots=True)
class Plugged:
    """What plugins do instead of the engine, verified: by hook, None where the ruleset names none."""

    rank: Callable[..., Any] | None = None
    allocate: Callable[..., Any] | None = None
    split: Callable[..., Any] | None = None
    execution: Callable[..., Any] | None = None
    versions: Mapping[str, str] = field(default_factory=dict)


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
    requirements: Requirements
    collateral: Collateral | None
    initial: Rule
    trigger: Trigger
    restricted: Rule | None
    order: tuple[OrderKey, ...]
    steps: tuple[Step, ...]
    funds: tuple[Fund, ...]
    layers: tuple[Layer, ...]
    deleveraging: Deleveraging | None
    not_stated: tuple[str, ...]
    release: Rule | None = None
    fees: Fees | None = None
    funding: FundingRules | None = None
    regime: Regime | None = None
    plugged: Plugged = field(default_factory=Plugged)
