"""Margins: what positions and buckets must have behind them, and the prices at the boundary."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from riskpolicy.engines.core.bound import CROSS, Bound, sums_of
from riskpolicy.engines.core.exact import ExactBucket, ExactPosition, OpenSize, holding
from riskpolicy.engines.core.margins import BucketColumns, MarginPass, Margins, PositionColumns
from riskpolicy.engines.core.programs import undefined_rows
from riskpolicy.engines.core.solver import boundary_price, nearest_float
from riskpolicy.engines.core.supposed import with_positions
from riskpolicy.kernel import _kernel
from riskpolicy.kernel.program import UNIT
from riskpolicy.numbers import exact
from riskpolicy.plan.plan import Trigger

Floats: TypeAlias = npt.NDArray[np.float64]
Longs: TypeAlias = npt.NDArray[np.int64]


def compute_margins(bound: Bound, threads: int = 1) -> Margins:
    """Value every position and sum per bucket.

    notional = |quantity| x contract_size x mark, of an inverse / mark; maintenance by the tier or curve of the key;
    initial by the rule margin.initial; equity = wallet balance + unrealized profit + accrued funding. SnapshotError
    where a rule has no finite value.
    """
    raw = MarginPass(bound, threads).margins()
    return _Adjusting(bound, raw, threads).margins() if _needs_adjusting(bound) else raw


def _needs_adjusting(bound: Bound) -> bool:
    """Return whether requirements or equity are more than the sums of the positions' own."""
    rules, plan = bound.plan.requirements, bound.plan
    formulas = any(table.formula for table in plan.tiers.tables)
    more = bound.positions.accrued_funding is not None or (bound.orders is not None and rules.orders)
    return bool(formulas or more or rules.netting or rules.rounded_up or plan.collateral is not None)


class _Adjusting:
    """Requirements and equity where they are more than the sums of the positions' own.

    Position by position: formulas, rounding. Bucket by bucket: conversion, netting, funding, orders.
    """

    def __init__(self, bound: Bound, raw: Margins, threads: int) -> None:
        self.bound = bound
        self.threads = threads
        self.rules = bound.plan.requirements
        self.bucket = bound.positions.bucket
        self.count = len(bound.buckets.account)
        self.m = raw
        self.columns = PositionColumns(bound, raw, BucketColumns(bound, raw))
        self.conversion = conversions(bound)

    def margins(self) -> Margins:
        m, wide = self.m, self._formulas()
        p = self.bound.positions
        bounds = self.columns["initial_margin"].bound_column()
        self._round(m.maintenance_margin, self.columns["maintenance_margin"].bound_column() + wide, initial=False)
        self._round(m.initial_margin, bounds, initial=True)
        sizes = self._sum(m.notional + np.abs(m.unrealized_pnl))
        held = np.bincount(self.bucket, minlength=self.count) + 32.0
        doubt = 4 * UNIT * held * sizes
        funding = None
        equity = self.bound.buckets.wallet_balance + (pnl := self._sum(m.unrealized_pnl))
        wallet = self.bound.buckets.wallet_sizes
        spread = 32 * UNIT * (np.abs(self.bound.buckets.wallet_balance) if wallet is None else wallet)
        if p.accrued_funding is not None:
            funding = self._sum(p.accrued_funding)
            equity = equity + funding
            spread = spread + 4 * UNIT * held * self._sum(np.abs(p.accrued_funding))
        due = doubt + self._sum(wide)
        initial = self._required(m.initial_margin)
        initial_doubt = self._sum(bounds) + 4 * UNIT * held * self._sum(np.abs(m.initial_margin))
        orders = None
        if self.rules.orders and self.bound.orders is not None:
            orders, order_doubt = self._orders()
            initial, initial_doubt = initial + orders, initial_doubt + order_doubt + UNIT * np.abs(initial)
        return replace(
            m,
            bucket_notional=self._sum(m.notional),
            bucket_pnl=pnl,
            bucket_initial=initial,
            bucket_maintenance=self._required(m.maintenance_margin),
            equity=equity,
            pnl_doubt=doubt,
            maintenance_doubt=due,
            equity_doubt=doubt + spread + UNIT * np.abs(equity),
            initial_doubt=initial_doubt,
            accrued_funding=funding,
            order_margin=orders,
        )

    def _sum(self, values: Floats) -> Floats:
        """Return the sums of a column of positions by bucket, in the order of the positions, converted."""
        return sums_of(self.bucket, values * self.conversion, self.count)

    def _required(self, values: Floats) -> Floats:
        """Return the sums of requirements by bucket, or of the larger sides of the netting groups."""
        if not self.rules.netting:
            return self._sum(values)
        p, groups = self.bound.positions, self.bound.plan.instruments.netting
        group = self.bucket.astype(np.int64) * (int(groups.max(initial=0)) + 1) + groups[p.instrument]
        found, place = np.unique(group, return_inverse=True)
        short = p.quantity < 0
        due = values * self.conversion
        sides = [sums_of(place[side], due[side], len(found)) for side in (~short, short)]
        return sums_of(found // (int(groups.max(initial=0)) + 1), np.maximum(*sides), self.count)

    def _formulas(self) -> Floats:
        """Margin the positions of tables with a formula; return how far each is from its exact value at most."""
        m, p, plan = self.m, self.bound.positions, self.bound.plan
        wide = np.zeros(len(p))
        for number, table in enumerate(plan.tiers.tables):
            if table.formula is None:
                continue
            rows = np.flatnonzero(plan.instruments.table[p.instrument] == number)
            taken = {name: self.columns[name].at(rows) for name in table.formula.program.inputs}
            rate = table.formula.program.bounded(taken, len(rows))
            wrong = ~(np.isfinite(rate.values) & (rate.values >= 0))
            if wrong.any():
                raise undefined_rows(table.formula, self.columns, rows[wrong], self.bound.position_name)
            value = m.entry_notional[rows] if table.entry_basis else m.notional[rows]
            m.maintenance_margin[rows] = value * rate.values
            wide[rows] = value * rate.bounds + 32 * UNIT * value * rate.values
            if len(m.maintenance_rate):
                m.maintenance_rate[rows] = rate.values
        return wide

    def _round(self, values: Floats, bounds: Floats, *, initial: bool) -> None:
        """Round requirements up to whole quanta where the ruleset says so, exactly."""
        if not self.rules.rounded_up:
            return
        p, plan = self.bound.positions, self.bound.plan
        quantum = np.array([float(q) for q in self.rules.quantum])[plan.instruments.currency[p.instrument]]
        near = np.rint(values / quantum)
        doubtful = np.abs(values - near * quantum) <= bounds + 4 * UNIT * np.abs(values)
        values[:] = np.ceil(values / quantum) * quantum
        decimals = 1 / quantum
        whole = np.rint(decimals)
        # A quantum that is one over a whole number: dividing gives the float nearest to the decimal.
        inverse = whole * quantum == 1.0
        values[inverse] = np.rint(values[inverse] * whole[inverse]) / whole[inverse]
        for i in np.flatnonzero(doubtful & (p.quantity != 0)).tolist():
            wallet = self.bound.exact_wallet(int(self.bucket[i]))
            exact = ExactPosition(self.bound, holding(self.bound, i), wallet)
            values[i] = float((exact.initial_margin or Fraction(0)) if initial else exact.maintenance_margin)

    def _orders(self) -> tuple[Floats, Floats]:
        """Return what open orders add to each bucket's initial margin, and how far that is from exact at most."""
        orders, bound = self.bound.orders, self.bound
        assert orders is not None
        owners = np.unique(np.repeat(np.arange(len(orders.start) - 1), np.diff(orders.start)))
        supposed: list[tuple[int, Fraction, OpenSize]] = []
        for account in owners.tolist():
            for bucket in range(int(bound.buckets.start[account]), int(bound.buckets.start[account + 1])):
                exact_bucket = ExactBucket(bound, bucket)
                for found in exact_bucket.open_sizes:
                    members = tuple(exact_bucket.members[k] for k in found.members)
                    supposed.append((bucket, exact_bucket.wallet_balance, OpenSize(members, found.holding)))
        supposed.sort(key=lambda s: s[0])
        virtual = with_positions(bound, [(bucket, size.holding) for bucket, _, size in supposed])
        exact = [ExactPosition(bound, size.holding, wallet) for _, wallet, size in supposed]
        made = MarginPass(virtual, 1).margins(lambda i: exact[i].key)
        columns = PositionColumns(virtual, made, BucketColumns(virtual, made))
        margin, bounds = made.initial_margin.copy(), columns["initial_margin"].bound_column()
        conversion = np.array([float(size.holding.conversion) for _, _, size in supposed])
        if self.rules.rounded_up:
            margin = np.array([float(p.initial_margin or 0) for p in exact])
        own = np.array([sum(float(self.m.initial_margin[i]) for i in size.members) for _, _, size in supposed])
        buckets = np.array([bucket for bucket, _, _ in supposed], np.int64)
        added = sums_of(buckets, (margin - own) * conversion, self.count)
        wide = (bounds + 8 * UNIT * (margin + own)) * conversion
        return added, 2 * sums_of(buckets, wide, self.count)


def liquidation_prices(bound: Bound, margins: Margins, triggered: npt.NDArray[np.bool_]) -> Floats:
    """Return each position's liquidation price: its market moving alone, the boundary of the trigger.

    The boundary nearest to the mark in the adverse direction, or for a bucket already triggered in the
    favourable one; NaN where no price above zero is one.
    """
    t = bound.plan.trigger
    health = (
        float(t.of_equity) * margins.equity
        + float(t.of_pnl) * margins.bucket_pnl
        + float(t.of_notional) * margins.bucket_notional
        + float(t.of_maintenance) * margins.bucket_maintenance
        + float(t.of_wallet) * bound.buckets.wallet_balance
        + float(t.constant)
    )
    slopes = (float(t.of_equity + t.of_pnl), float(t.of_notional), float(t.of_maintenance))
    return _boundary(bound, margins, health, triggered, slopes, trigger_health(t))


def trigger_health(trigger: Trigger) -> Callable[[ExactBucket], Fraction]:
    """Return the trigger's sum as a function of a bucket: below zero where it holds."""

    def health(bucket: ExactBucket) -> Fraction:
        return (
            trigger.of_equity * bucket.equity
            + trigger.of_pnl * bucket.unrealized_pnl
            + trigger.of_notional * bucket.notional
            + trigger.of_maintenance * bucket.maintenance_margin
            + trigger.of_wallet * bucket.wallet_balance
            + trigger.constant
        )

    return health


def bankruptcy_prices(bound: Bound, margins: Margins) -> Floats:
    """Return each position's bankruptcy price; NaN where there is none above zero.

    The price at which, its market moving alone, bucket equity is zero; or, where the ruleset shares the equity out, at
    which the position gives up its share: equity x its maintenance margin (or notional) / the bucket's.
    """
    share = bound.plan.requirements.bankruptcy
    if share != "account":
        return _shared_prices(bound, margins, share)
    return _boundary(bound, margins, margins.equity, margins.equity < 0, (1.0, 0.0, 0.0), lambda b: b.equity)


def _shared_prices(bound: Bound, margins: Margins, share: str) -> Floats:
    p, plan = bound.positions, bound.plan.instruments
    weight, total = margins.maintenance_margin, margins.bucket_maintenance
    if share == "notional":
        weight, total = margins.notional, margins.bucket_notional
    inverse = np.array(plan.inverse)[p.instrument]
    mark = bound.mark[p.instrument]
    size = p.quantity * plan.contract_size[p.instrument]
    with np.errstate(divide="ignore", invalid="ignore"):
        # Share and weight are both converted, so that the share of the equity is in the position's own money.
        own = margins.equity[p.bucket] * weight / total[p.bucket]
        x = np.where(inverse, 1 / mark + own / size, mark - own / size)
        price = np.where(inverse, 1 / x, x)
    found = np.where((x > 0) & np.isfinite(price), price, np.nan)
    return _in_ticks(bound, found, lambda i: _shared_price(bound, i, share))


def _shared_price(bound: Bound, i: int, share: str) -> Fraction | None:
    bucket = ExactBucket(bound, int(bound.positions.bucket[i]))
    p = bucket.positions[bucket.members.index(i)]
    weight, total = p.maintenance_margin, bucket.maintenance_margin
    if share == "notional":
        weight, total = p.notional, bucket.notional
    own = bucket.equity * weight / total
    x = 1 / p.mark_price + own / p.size if p.inverse else p.mark_price - own / p.size
    return None if x <= 0 else 1 / x if p.inverse else x


def _boundary(
    bound: Bound,
    margins: Margins,
    health: Floats,
    triggered: npt.NDArray[np.bool_],
    slopes: tuple[float, float, float],
    exactly: Callable[[ExactBucket], Fraction],
) -> Floats:
    """Return the prices at which health is zero: straight lines by the kernel, other curves one by one."""
    p = bound.positions
    out = np.empty(len(p))
    conversion = np.zeros(0) if bound.price is None else conversions(bound)
    _kernel.boundary_prices(
        bound.tables,
        p.instrument,
        p.bucket,
        p.quantity,
        margins.tier,
        margins.maintenance_margin,
        health,
        conversion,
        triggered.astype(np.uint8),
        *slopes,
        out,
    )
    for i in np.flatnonzero(np.isinf(out) | _together(bound, maintained=slopes[2] != 0)).tolist():
        found = boundary_price(bound, i, exactly, triggered=bool(triggered[p.bucket[i]]))
        out[i] = nearest_float(found)
    return _in_ticks(bound, out, lambda i: boundary_price(bound, i, exactly, triggered=bool(triggered[p.bucket[i]])))


def _in_ticks(bound: Bound, prices: Floats, exactly: Callable[[int], Fraction | None]) -> Floats:
    """Return prices in whole ticks where the ruleset says so: up for longs, down for shorts, decided exactly."""
    if not bound.plan.requirements.whole_ticks:
        return prices
    p, ticks = bound.positions, bound.plan.instruments.tick
    out = prices.copy()
    for i in np.flatnonzero(np.isfinite(prices)).tolist():
        tick = ticks[int(p.instrument[i])]
        if tick is None:
            continue
        steps = exact(float(prices[i])) / tick
        if abs(steps - round(steps)) < abs(steps) * Fraction(1, 10**9):
            known = exactly(i)
            steps = steps if known is None else known / tick
        out[i] = float((math.ceil(steps) if p.quantity[i] > 0 else math.floor(steps)) * tick)
    return out


def _together(bound: Bound, *, maintained: bool) -> npt.NDArray[np.bool_]:
    """Return the positions that do not move alone: hedged sides, and those whose margin nets or has a formula."""
    p, plan = bound.positions, bound.plan
    many = np.zeros(len(p), bool)
    if bound.snapshot.ordered.sided:
        same = (p.bucket[1:] == p.bucket[:-1]) & (p.instrument[1:] == p.instrument[:-1])
        many[1:] |= same
        many[:-1] |= same
    if maintained and plan.requirements.netting:
        many |= p.quantity != 0
    for number, table in enumerate(plan.tiers.tables):
        if maintained and table.formula is not None:
            many |= (plan.instruments.table[p.instrument] == number) & (p.quantity != 0)
    return many


def conversions(bound: Bound) -> Floats:
    """Return what one unit of each position's settlement currency is worth in that of its bucket."""
    p = bound.positions
    if bound.price is None:
        return np.ones(len(p))
    return np.where(bound.buckets.instrument[p.bucket] == CROSS, bound.price[p.instrument], 1.0)
