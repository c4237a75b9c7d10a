"""Margins: positions valued, tiers found, requirements summed per bucket, and the prices at the boundary.

Every column comes with a bound of its distance from the exact value, so that decisions know when to ask again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from riskpolicy.engines.core.bound import Bound
from riskpolicy.engines.core.exact import exact_notional, tier_number
from riskpolicy.engines.core.programs import evaluate_rule
from riskpolicy.kernel import _kernel

Floats = npt.NDArray[np.float64]

#: Twice the unit roundoff, and a factor for the roundings of the bounds themselves.
UNIT = 2.0**-52
SLACK = 1.0 + 2.0**-48


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
    exact_tiers: int


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
    exact_tiers = _decide_tiers(bound, notional, tier, maintenance)
    if exact_tiers:
        _kernel.bucket_sums(b.start, maintenance, bucket_maintenance)
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
        exact_tiers=exact_tiers,
    )


def _decide_tiers(bound: Bound, notional: Floats, tier: npt.NDArray[np.int32], maintenance: Floats) -> int:
    """Find the tier again, exactly, where the notional is within rounding of a cap; return how often."""
    tiers = bound.plan.tiers
    below = np.r_[0.0, tiers.cap[:-1]]
    below[tiers.start[:-1]] = 0.0
    margin = notional * (8 * UNIT)
    near = (np.abs(notional - tiers.cap[tier]) <= margin) | (np.abs(notional - below[tier]) <= margin)
    rows = np.flatnonzero(near & (notional > 0)).tolist()
    for i in rows:
        exact = exact_notional(bound, i)
        table = int(bound.plan.instruments.table[int(bound.positions.instrument[i])])
        found = tier_number(bound.plan, table, exact)
        if found != tier[i]:
            tier[i] = found
            maintenance[i] = notional[i] * tiers.rate[found] - tiers.deduction[found]
    return len(rows)


def bucket_columns(bound: Bound, m: Margins) -> dict[str, Floats]:
    """Return the columns that the rules of buckets read."""
    return {
        "wallet_balance": bound.buckets.wallet_balance,
        "unrealized_pnl": m.bucket_pnl,
        "notional": m.bucket_notional,
        "equity": m.equity,
        "initial_margin": m.bucket_initial,
        "maintenance_margin": m.bucket_maintenance,
        "margin_ratio": m.margin_ratio,
    }


def bucket_bounds(bound: Bound, m: Margins, of_position: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return, for every column of buckets, a bound of its distance from the exact value."""
    bucket, count = bound.positions.bucket, len(bound.buckets.account)
    held = np.bincount(bucket, minlength=count)

    def summed(name: str, values: Floats) -> Floats:
        # The parts' own bounds, and a rounding of at most the sum of sizes for every addition.
        parts = np.bincount(bucket, weights=of_position[name], minlength=count)
        sizes = np.bincount(bucket, weights=np.abs(values), minlength=count)
        return (parts + held * UNIT * sizes) * SLACK

    pnl = summed("unrealized_pnl", m.unrealized_pnl)
    maintenance = summed("maintenance_margin", m.maintenance_margin)
    wallet = np.abs(bound.buckets.wallet_balance) * UNIT
    equity = np.where(pnl == 0, wallet, (wallet + pnl + UNIT * np.abs(m.equity)) * SLACK)
    sure = m.equity > equity
    safe = np.where(sure, m.equity - equity, 1.0)
    finite = np.where(sure, m.margin_ratio, 0.0)
    ratio = (maintenance + finite * equity) / safe + UNIT * finite
    # Where equity is below zero for certain and margin due, the ratio is infinite for certain.
    lost = (m.equity < -equity) & (m.bucket_maintenance > maintenance)
    none = (m.bucket_maintenance == 0) & (maintenance == 0)
    return {
        "wallet_balance": wallet,
        "unrealized_pnl": pnl,
        "notional": summed("notional", m.notional),
        "equity": equity,
        "initial_margin": summed("initial_margin", m.initial_margin),
        "maintenance_margin": maintenance,
        "margin_ratio": np.where(none | lost, 0.0, np.where(sure, ratio * SLACK, np.inf)),
    }


def position_columns(bound: Bound, m: Margins) -> dict[str, Floats]:
    """Return the columns that the rules of positions read."""
    p = bound.positions
    bucket = {f"bucket_{name}": values[p.bucket] for name, values in bucket_columns(bound, m).items()}
    return {
        "quantity": p.quantity,
        "entry_price": p.entry_price,
        "entry_notional": m.entry_notional,
        "market_mark_price": bound.mark[p.instrument],
        "wallet_balance": bucket.pop("bucket_wallet_balance"),
        "notional": m.notional,
        "unrealized_pnl": m.unrealized_pnl,
        "max_leverage": m.max_leverage,
        "leverage": m.leverage,
        "initial_margin": m.initial_margin,
        "maintenance_margin": m.maintenance_margin,
        **bucket,
    }


def own_bounds(bound: Bound, m: Margins) -> dict[str, Floats]:
    """Return bounds for the columns that a position has of its own, without its bucket's.

    A value is a product of at most five rounded factors; profit is zero for certain where mark equals entry,
    since equal floats mean equal decimals.
    """
    p = bound.positions
    mark = bound.mark[p.instrument]
    gross = (m.notional + m.entry_notional) * (8 * UNIT)
    known: dict[str, Floats] = {
        "quantity": np.abs(p.quantity) * UNIT,
        "entry_price": p.entry_price * UNIT,
        "entry_notional": m.entry_notional * (8 * UNIT),
        "market_mark_price": mark * UNIT,
        "wallet_balance": np.abs(bound.buckets.wallet_balance)[p.bucket] * UNIT,
        "notional": m.notional * (8 * UNIT),
        "unrealized_pnl": np.where(mark == p.entry_price, 0.0, gross),
        "max_leverage": np.abs(m.max_leverage) * UNIT,
        "leverage": np.abs(m.leverage) * UNIT,
        "maintenance_margin": m.notional * (24 * UNIT),
    }
    columns = position_columns(bound, m)
    known["initial_margin"] = bound.plan.initial.program.bounded(columns, known, len(p.row)).bounds
    return known


def position_bounds(bound: Bound, of_position: dict[str, Floats], of_bucket: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return, for every column of positions, a bound of its distance from the exact value."""
    bucket = bound.positions.bucket
    shared = {f"bucket_{name}": values[bucket] for name, values in of_bucket.items() if name != "wallet_balance"}
    return {**of_position, **shared}


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
