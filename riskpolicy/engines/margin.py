"""Margins: what positions and buckets must have behind them, and the prices at the boundary."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from riskpolicy.engines.core.bound import CROSS, Bound, sums_of
from riskpolicy.engines.core.exact import ExactPosition, OpenSize, holding, open_sizes
from riskpolicy.engines.core.margins import BucketColumns, MarginPass, Margins, PositionColumns
from riskpolicy.engines.core.programs import undefined_rows
from riskpolicy.engines.core.supposed import with_positions
from riskpolicy.kernel import _kernel
from riskpolicy.kernel.program import UNIT

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
        conversion = np.ones(len(bound.positions))
        if bound.price is not None:
            cross = bound.buckets.instrument[self.bucket] == CROSS
            conversion = np.where(cross, bound.price[bound.positions.instrument], 1.0)
        self.conversion = conversion

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
            exact = ExactPosition(self.bound, holding(self.bound, i, self.bound.exact_wallet(int(self.bucket[i]))))
            values[i] = float((exact.initial_margin or Fraction(0)) if initial else exact.maintenance_margin)

    def _orders(self) -> tuple[Floats, Floats]:
        """Return what open orders add to each bucket's initial margin, and how far that is from exact at most."""
        orders, bound = self.bound.orders, self.bound
        assert orders is not None
        owners = np.unique(np.repeat(np.arange(len(orders.start) - 1), np.diff(orders.start)))
        supposed: list[tuple[int, OpenSize]] = []
        for account in owners.tolist():
            for bucket in range(int(bound.buckets.start[account]), int(bound.buckets.start[account + 1])):
                supposed += [(bucket, found) for found in open_sizes(bound, bucket)]
        supposed.sort(key=lambda s: s[0])
        virtual = with_positions(bound, [(bucket, size.holding) for bucket, size in supposed])
        exact = [ExactPosition(bound, size.holding) for _, size in supposed]
        made = MarginPass(virtual, 1).margins(lambda i: exact[i].key)
        columns = PositionColumns(virtual, made, BucketColumns(virtual, made))
        margin, bounds = made.initial_margin.copy(), columns["initial_margin"].bound_column()
        conversion = np.array([float(size.holding.conversion) for _, size in supposed])
        if self.rules.rounded_up:
            margin = np.array([float(p.initial_margin or 0) for p in exact])
        own = np.array([sum(float(self.m.initial_margin[i]) for i in size.members) for _, size in supposed])
        buckets = np.array([bucket for bucket, _ in supposed], np.int64)
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
    of_profit = float(t.of_equity + t.of_pnl)
    return _boundary(bound, margins, health, triggered, of_profit, float(t.of_notional), float(t.of_maintenance))


def bankruptcy_prices(bound: Bound, margins: Margins) -> Floats:
    """Return each position's bankruptcy price: its market moving alone, bucket equity is zero; NaN for none."""
    return _boundary(bound, margins, margins.equity, margins.equity < 0, 1.0, 0.0, 0.0)


def _boundary(
    bound: Bound,
    margins: Margins,
    health: Floats,
    triggered: npt.NDArray[np.bool_],
    of_profit: float,
    of_notional: float,
    of_maintenance: float,
) -> Floats:
    p = bound.positions
    out = np.empty(len(p))
    _kernel.boundary_prices(
        bound.tables,
        p.instrument,
        p.bucket,
        p.quantity,
        margins.tier,
        margins.maintenance_margin,
        health,
        triggered.astype(np.uint8),
        of_profit,
        of_notional,
        of_maintenance,
        out,
    )
    return out
