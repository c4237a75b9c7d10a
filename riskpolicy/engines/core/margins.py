"""Positions valued, tiers found, requirements summed per bucket, and these as the columns that rules read.

Every column comes with a bound of its distance from the exact value, so that decisions know when to ask again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from riskpolicy.engines.core.bound import Bound
from riskpolicy.engines.core.exact import exact_key_of, tier_number
from riskpolicy.engines.core.parallel import in_ranges
from riskpolicy.engines.core.programs import run_rule, undefined_rows
from riskpolicy.kernel import _kernel
from riskpolicy.kernel.memory import empty
from riskpolicy.kernel.opcodes import CODE
from riskpolicy.kernel.program import UNIT, Program, Source
from riskpolicy.vocabulary import NAMES, Stage

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int32]

#: A factor for the roundings of the bounds themselves.
SLACK = 1.0 + 2.0**-48
#: Positions that are worked on at a time: few enough to stay in cache from one step to the next.
CHUNK = 1024

_RATES = ("maintenance_rate", "initial_rate")

#: A program that hands on one column.
_GIVEN = Program("given", ((CODE["load"], 0),), (), ("given",), is_condition=False)


@dataclass(frozen=True)
class Margins:
    """Per position and per bucket, in canonical order; money in the settlement currency.

    The `_doubt` columns bound how far a bucket's sums are from the exact ones. `exact_tiers` counts the tiers that
    exact arithmetic found. `entry_notional` and the rates are empty where no rule reads them. `accrued_funding` and
    `order_margin` are None where there are none.
    """

    notional: Floats
    entry_notional: Floats
    unrealized_pnl: Floats
    tier: Ints
    initial_margin: Floats
    maintenance_margin: Floats
    maintenance_rate: Floats
    initial_rate: Floats
    bucket_notional: Floats
    bucket_pnl: Floats
    bucket_initial: Floats
    bucket_maintenance: Floats
    equity: Floats
    pnl_doubt: Floats
    maintenance_doubt: Floats
    equity_doubt: Floats
    exact_tiers: int
    initial_doubt: Floats | None = None
    accrued_funding: Floats | None = None
    order_margin: Floats | None = None

    @cached_property
    def margin_ratio(self) -> Floats:
        """maintenance / equity; infinite where equity <= 0 and margin is due, 0 where none is due."""
        return _ratio(self.bucket_maintenance, self.equity)


class MarginPass:
    """One pass of the kernel over chunks of whole accounts."""

    def __init__(self, bound: Bound, threads: int) -> None:
        self.bound = bound
        self.threads = threads
        p, b = bound.positions, bound.buckets
        n, k = len(p), len(b.account)
        accounts = np.searchsorted(p.start, np.arange(0, n + CHUNK, CHUNK))
        edges = np.unique(np.r_[0, np.minimum(accounts, len(p.start) - 1), len(p.start) - 1])
        self.chunk_position, self.chunk_bucket = p.start[edges], b.start[edges]
        rule = bound.plan.initial
        # A rule that reads what is known only after the first pass gets a second one.
        self.early = not (rule.program.calls or self._mixed_leverage)
        read = _position_names(bound)
        entries, maintained, initially = (n if f in read else 0 for f in ("entry_notional", *_RATES))
        self.made = Margins(
            notional=empty(n),
            entry_notional=empty(entries),
            unrealized_pnl=empty(n),
            tier=empty(n, np.int32),
            initial_margin=empty(n),
            maintenance_margin=empty(n),
            maintenance_rate=empty(maintained),
            initial_rate=empty(initially),
            bucket_notional=empty(k),
            bucket_pnl=empty(k),
            bucket_initial=empty(k),
            bucket_maintenance=empty(k),
            equity=empty(k),
            pnl_doubt=empty(k),
            maintenance_doubt=empty(k),
            equity_doubt=empty(k),
            exact_tiers=0,
        )
        self.columns = PositionColumns(bound, self.made, BucketColumns(bound, self.made))

    @property
    def _mixed_leverage(self) -> bool:
        given = self.bound.snapshot.numbers("positions", "leverage")
        return given is not None and given.missing is not None

    def margins(self, exact_key: Callable[[int], Fraction] | None = None) -> Margins:
        """Return the margins; `exact_key` gives the exact key of a position, if it is not one of the snapshot's."""
        bound, m, rule = self.bound, self.made, self.bound.plan.initial
        count = len(self.chunk_position) - 1
        key_of = exact_key or (lambda i: exact_key_of(bound, i))
        near = self._run(self._slots(), 0, count, keep_tiers=False)
        changed = {self._chunk(i) for i in near if _decide_tier(bound, i, m.tier, key_of(i))}
        if not self.early:
            m.initial_margin[:] = run_rule(rule, self.columns, len(bound.positions), bound.position_name)
            self._run(self._slots(), 0, count, keep_tiers=True)
        for chunk in changed if self.early else ():
            self._run(self._slots(), chunk, chunk + 1, keep_tiers=True)
        if not np.isfinite(m.bucket_initial).all():
            rows = np.flatnonzero(~np.isfinite(m.initial_margin))
            raise undefined_rows(rule, self.columns, rows, bound.position_name)
        return replace(m, exact_tiers=len(near))

    def _slots(self) -> tuple[_kernel.Code, _kernel.Slots]:
        if not self.early:
            given = {"given": Source(self.made.initial_margin)}
            return _GIVEN.compiled, _GIVEN.slots(given, len(self.bound.positions))
        program = self.bound.plan.initial.program
        return program.compiled, program.slots(self.columns, len(self.bound.positions))

    def _run(self, rule: tuple[_kernel.Code, _kernel.Slots], first: int, end: int, *, keep_tiers: bool) -> list[int]:
        p, m = self.bound.positions, self.made

        def run(low: int, high: int) -> list[int]:
            return _kernel.margin_pass(
                self.bound.tables,
                *rule,
                self.chunk_position,
                self.chunk_bucket,
                first + low,
                first + high,
                keep_tiers,
                p.instrument,
                p.quantity,
                p.entry_price,
                p.bucket,
                self.bound.buckets.wallet_balance,
                m.notional,
                m.entry_notional,
                m.unrealized_pnl,
                m.tier,
                m.maintenance_margin,
                m.maintenance_rate,
                m.initial_rate,
                m.initial_margin,
                m.bucket_notional,
                m.bucket_pnl,
                m.bucket_maintenance,
                m.bucket_initial,
                m.equity,
                m.pnl_doubt,
                m.maintenance_doubt,
                m.equity_doubt,
            )

        return [i for near in in_ranges(self.threads, end - first, run) for i in near]

    def _chunk(self, i: int) -> int:
        return int(np.searchsorted(self.chunk_position, i, side="right")) - 1


def _position_names(bound: Bound) -> set[str]:
    """Return the columns that the rules of positions read, and those whose bases they are."""
    rules = bound.plan.deleveraging
    names = set(bound.plan.initial.program.inputs)
    for table in bound.plan.tiers.tables:
        names |= {"entry_notional"} if table.entry_basis else set()
        names |= set(table.formula.program.inputs) if table.formula else set()
    return names if rules is None else names | {*rules.score.program.inputs, *(tie.column for tie in rules.ties)}


def _decide_tier(bound: Bound, i: int, tier: Ints, key: Fraction) -> bool:
    """Find the tier of position i again, by its exact key; return whether it is another one."""
    table = int(bound.plan.instruments.table[int(bound.positions.instrument[i])])
    found = tier_number(bound.plan, table, key)
    changed = found != int(tier[i])
    tier[i] = found
    return changed


def _ratio(maintenance: Floats, equity: Floats) -> Floats:
    ratio = np.where(equity > 0, maintenance / np.where(equity > 0, equity, 1.0), np.inf)
    return np.where(maintenance == 0, 0.0, ratio)


class _Columns(Mapping[str, Source]):
    """Columns by name, each made by the method `_name` when it is first read.

    Nothing here refers to itself, so that an evaluation's memory is free as soon as the evaluation is gone.
    """

    names: tuple[str, ...]

    def __init__(self, bound: Bound, margins: Margins) -> None:
        self.bound = bound
        self.margins = margins
        self._made: dict[str, Source] = {}

    def __getitem__(self, name: str) -> Source:
        if name not in self._made:
            self._made[name] = self.make(name)
        return self._made[name]

    def make(self, name: str) -> Source:
        """Return the column of that name."""
        if name not in self.names:
            raise KeyError(name)
        made: Source = getattr(self, f"_{name}")()
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


class BucketColumns(_Columns):
    """The columns that the rules of buckets read, with bounds."""

    names = tuple(n.name for n in NAMES["bucket"].values() if n.stage <= Stage.SUMMED)

    def _wallet_balance(self) -> Source:
        buckets = self.bound.buckets
        if buckets.wallet_sizes is None:
            return Source(buckets.wallet_balance)
        return Source(buckets.wallet_balance, bounds=buckets.wallet_sizes * (32 * UNIT))

    def _unrealized_pnl(self) -> Source:
        return Source(self.margins.bucket_pnl, bounds=self.margins.pnl_doubt)

    def _notional(self) -> Source:
        return Source(self.margins.bucket_notional, factor=(self._held + 16) * UNIT * SLACK)

    def _accrued_funding(self) -> Source:
        funding = self.margins.accrued_funding
        if funding is None:
            return Source(np.zeros(len(self.bound.buckets.account)))
        return Source(funding, bounds=self.margins.equity_doubt)

    def _initial_equity(self) -> Source:
        buckets, m = self.bound.buckets, self.margins
        if buckets.initial_balance is None:
            return self._equity()
        return Source(m.equity - buckets.wallet_balance + buckets.initial_balance, bounds=4 * m.equity_doubt)

    def _equity(self) -> Source:
        return Source(self.margins.equity, bounds=self.margins.equity_doubt)

    def _maintenance_margin(self) -> Source:
        return Source(self.margins.bucket_maintenance, bounds=self.margins.maintenance_doubt)

    def _initial_margin(self) -> Source:
        # The parts' own bounds, and a rounding of at most the sum of sizes for every addition.
        if self.margins.initial_doubt is not None:
            return Source(self.margins.bucket_initial, bounds=self.margins.initial_doubt)
        m, bucket, count = self.margins, self.bound.positions.bucket, len(self.bound.buckets.account)
        own = PositionColumns(self.bound, m, self)["initial_margin"].bound_column()
        parts, sizes = np.bincount(bucket, own, count), np.bincount(bucket, np.abs(m.initial_margin), count)
        return Source(m.bucket_initial, bounds=(parts + self._held * UNIT * sizes) * SLACK)

    def _margin_ratio(self) -> Source:
        return self._ratios(self.margins.margin_ratio, slice(None))

    def at(self, name: str, rows: npt.NDArray[np.int64]) -> Source:
        """Return a column at some rows; the margin ratio is not computed for all others."""
        if name == "margin_ratio" and name not in self._made:
            return self._ratios(_ratio(self.margins.bucket_maintenance[rows], self.margins.equity[rows]), rows)
        return self[name].at(rows)

    def _ratios(self, ratio: Floats, rows: slice | npt.NDArray[np.int64]) -> Source:
        m = self.margins
        equity, equity_doubt = m.equity[rows], m.equity_doubt[rows]
        maintenance, maintenance_doubt = m.bucket_maintenance[rows], m.maintenance_doubt[rows]
        sure = equity > equity_doubt
        safe = np.where(sure, equity - equity_doubt, 1.0)
        finite = np.where(sure, ratio, 0.0)
        wide = (maintenance_doubt + finite * equity_doubt) / safe + UNIT * finite
        # Where equity is below zero for certain and margin due, the ratio is infinite for certain.
        lost = (equity < -equity_doubt) & (maintenance > maintenance_doubt)
        none = (maintenance == 0) & (maintenance_doubt == 0)
        return Source(ratio, bounds=np.where(none | lost, 0.0, np.where(sure, wide * SLACK, np.inf)))

    @property
    def _held(self) -> int:
        """The most positions that an account holds."""
        return int(np.diff(self.bound.positions.start).max(initial=0))


class PositionColumns(_Columns):
    """The columns that the rules of positions read, with bounds.

    A value is a product of at most five rounded factors; profit is zero for certain where mark equals entry,
    since equal floats mean equal decimals unless a snapshot's text says more than its floats.
    """

    names = tuple(NAMES["position"])

    def __init__(self, bound: Bound, margins: Margins, buckets: BucketColumns) -> None:
        super().__init__(bound, margins)
        self.buckets = buckets

    def make(self, name: str) -> Source:
        """Return the column of that name; a bucket's is seen through the positions' buckets."""
        if name.startswith("bucket_"):
            return self.buckets[name.removeprefix("bucket_")].through(self.bound.positions.bucket)
        return super().make(name)

    def _quantity(self) -> Source:
        return Source(self.bound.positions.quantity)

    def _entry_price(self) -> Source:
        return Source(self.bound.positions.entry_price)

    def _entry_notional(self) -> Source:
        return Source(self.margins.entry_notional, factor=8 * UNIT)

    def _market_mark_price(self) -> Source:
        return Source(self.bound.mark, index=self.bound.positions.instrument)

    def _wallet_balance(self) -> Source:
        return self.buckets["wallet_balance"].through(self.bound.positions.bucket)

    def _notional(self) -> Source:
        return Source(self.margins.notional, factor=8 * UNIT)

    def _unrealized_pnl(self) -> Source:
        # |quantity| x (mark + entry) is at most 2 x notional + |profit|.
        m, numbers = self.margins, self.bound.snapshot.numbers
        prices = (numbers("positions", "entry_price"), numbers("markets", "mark_price"))
        sure = not any(column is not None and column.beyond for column in prices)
        # Two prices whose reciprocals are one float need not be equal.
        sure = sure and not any(self.bound.plan.instruments.inverse)
        return Source(m.unrealized_pnl, sizes=(m.notional, m.unrealized_pnl), factor=16 * UNIT, sure=sure)

    def _initial_rate(self) -> Source:
        if not len(self.margins.initial_rate):
            return Source(self.bound.plan.tiers.initial, index=self.margins.tier)
        return Source(self.margins.initial_rate, factor=24 * UNIT)

    def _maintenance_rate(self) -> Source:
        if not len(self.margins.maintenance_rate):
            return Source(self.bound.plan.tiers.rate, index=self.margins.tier)
        return Source(self.margins.maintenance_rate, factor=24 * UNIT)

    def _max_leverage(self) -> Source:
        return Source(self.bound.plan.tiers.max_leverage, index=self.margins.tier)

    def _leverage(self) -> Source:
        given, selected = self.bound.snapshot.numbers("positions", "leverage"), self.bound.positions.leverage
        most = self["max_leverage"]
        if given is None or selected is None:
            return most
        return Source(selected if given.missing is None else np.where(np.isnan(selected), most.column(), selected))

    def _initial_margin(self) -> Source:
        bounds = self.bound.plan.initial.program.bounded(self, len(self.bound.positions)).bounds
        return Source(self.margins.initial_margin, bounds=bounds)

    def _maintenance_margin(self) -> Source:
        m = self.margins
        return Source(m.maintenance_margin, sizes=(m.notional, m.unrealized_pnl), factor=32 * UNIT)
