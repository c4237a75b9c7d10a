"""Margins: positions valued, tiers found, requirements summed per bucket, and the prices at the boundary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from riskpolicy.engines.core.bound import Bound
from riskpolicy.engines.core.programs import evaluate_rule
from riskpolicy.kernel import _kernel

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Margins:
    """Per position and per bucket, in canonical order; money in the settlement currency."""

    notional: Floats
    entry_notional: Floats
    unrealized_pnl: Floats
    tier: npt.NDArray[np.int32]
    max_leverage: Floats
    leverage: Floats
    initial_margin: Floats
    maintenance_margin: Floats
    bucket_notional: Floats
    bucket_pnl: Floats
    bucket_initial: Floats
    bucket_maintenance: Floats
    equity: Floats
    margin_ratio: Floats


def compute_margins(bound: Bound) -> Margins:
    """Value every position and sum per bucket.

    notional = |quantity| x contract_size x mark; maintenance = notional x rate - deduction of its tier;
    initial by the rule margin.initial; equity = wallet balance + unrealized profit.
    """
    plan, p, b = bound.plan, bound.positions, bound.buckets
    n, k = len(p.row), len(b.account)
    notional, entry_notional, pnl, maintenance = (np.empty(n) for _ in range(4))
    tier = np.zeros(n, np.int32)
    bucket_notional, bucket_pnl, bucket_maintenance, bucket_initial = (np.zeros(k) for _ in range(4))
    _kernel.margin_pass(
        b.start,
        p.instrument,
        p.quantity,
        p.entry_price,
        bound.mark,
        plan.instruments.contract_size,
        plan.instruments.table,
        plan.tiers.start,
        plan.tiers.edge_lower,
        plan.tiers.cap,
        plan.tiers.rate,
        plan.tiers.deduction,
        notional,
        entry_notional,
        pnl,
        tier,
        maintenance,
        bucket_notional,
        bucket_pnl,
        bucket_maintenance,
    )
    max_leverage = plan.tiers.max_leverage[tier]
    leverage = np.where(np.isnan(p.leverage), max_leverage, p.leverage)
    columns = {
        "quantity": p.quantity,
        "entry_price": p.entry_price,
        "entry_notional": entry_notional,
        "market_mark_price": bound.mark[p.instrument],
        "wallet_balance": b.wallet_balance[p.bucket],
        "notional": notional,
        "unrealized_pnl": pnl,
        "max_leverage": max_leverage,
        "leverage": leverage,
        "maintenance_margin": maintenance,
    }
    rule = plan.initial
    initial = evaluate_rule(rule.program, rule.id, columns, n, bound.position_name)
    _kernel.bucket_sums(b.start, initial, bucket_initial)
    equity = b.wallet_balance + bucket_pnl
    return Margins(
        notional=notional,
        entry_notional=entry_notional,
        unrealized_pnl=pnl,
        tier=tier,
        max_leverage=max_leverage,
        leverage=leverage,
        initial_margin=initial,
        maintenance_margin=maintenance,
        bucket_notional=bucket_notional,
        bucket_pnl=bucket_pnl,
        bucket_initial=bucket_initial,
        bucket_maintenance=bucket_maintenance,
        equity=equity,
        margin_ratio=margin_ratio(bucket_maintenance, equity),
    )


def margin_ratio(maintenance: Floats, equity: Floats) -> Floats:
    """Return maintenance / equity; infinity where equity <= 0 and margin is due, 0 where none is due."""
    safe = np.where(equity > 0, equity, 1.0)
    return np.where(maintenance == 0, 0.0, np.where(equity > 0, maintenance / safe, np.inf))


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
    plan, p = bound.plan, bound.positions
    out = np.empty(len(p.row))
    _kernel.boundary_prices(
        p.instrument,
        p.bucket,
        p.quantity,
        bound.mark,
        plan.instruments.contract_size,
        plan.instruments.table,
        plan.tiers.start,
        plan.tiers.edge_lower,
        plan.tiers.cap,
        plan.tiers.rate,
        plan.tiers.deduction,
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
