"""The waterfall planned at the mark: which layer pays how much of the deficits, in order."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from riskpolicy.engines.core.bound import FLAT, Bound
from riskpolicy.plan.plan import Layer

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Draws:
    """What each layer pays, by layer and currency; NaN where a fund's balance is not in the snapshot.

    `by_bucket` has, for every bucket with a deficit, the amount of each layer.
    """

    layers: tuple[Layer, ...]
    amounts: Floats
    by_bucket: dict[int, Floats] = field(default_factory=dict)


def plan_draws(bound: Bound, equity: Floats, rank: npt.NDArray[np.int64], pnl: Floats) -> Draws:
    """Plan who pays the deficits at the mark, bucket by bucket in liquidation order.

    A bucket's deficit is what its equity lacks to zero: its own margin is spent by then, so the
    defaulter's layer pays nothing more. A fund pays from its balance. Deleveraging pays up to the unrealized
    profit of the positions opposite the bucket's own, which nothing before it has taken. The residual is the rest.
    """
    plan = bound.plan
    layers = tuple(layer for layer in plan.layers if layer.pays != "defaulter")
    amounts = np.zeros((len(layers), len(plan.currencies)))
    draws = Draws(layers, amounts)
    bankrupt = np.flatnonzero(equity < 0)
    if not len(bankrupt):
        return draws
    balance = bound.fund_balance.copy()
    profit = _profits(bound, pnl)
    for bucket in bankrupt[np.argsort(rank[bankrupt])]:
        currency = int(bound.buckets.currency[bucket])
        paid = _pay(bound, layers, int(bucket), -float(equity[bucket]), balance, profit)
        draws.by_bucket[int(bucket)] = paid
        amounts[:, currency] += paid
    return draws


def _profits(bound: Bound, pnl: Floats) -> Floats:
    """Return the unrealized profit by (instrument, side) that deleveraging can reach."""
    p, count = bound.positions, len(bound.plan.instruments.symbols)
    cell = p.instrument * np.int32(2) + (p.quantity < 0)
    total = np.zeros(2 * count)
    total += np.bincount(cell, np.maximum(pnl, 0.0), 2 * count)
    return total.reshape(count, 2)


def _pay(
    bound: Bound, layers: tuple[Layer, ...], bucket: int, deficit: float, balance: Floats, profit: Floats
) -> Floats:
    paid = np.zeros(len(layers))
    left = deficit
    for number, layer in enumerate(layers):
        if math.isnan(left) or layer.pays == "residual":
            paid[number] = left
        elif layer.pays == "deleveraging":
            paid[number] = _from_profit(bound, bucket, left, profit, all_=layer.all_or_nothing)
        elif layer.pays == "socialization":
            paid[number] = left
        elif bound.plan.funds[layer.fund].currency == bound.buckets.currency[bucket]:
            share = _from_fund(left, float(balance[layer.fund]), all_=layer.all_or_nothing)
            paid[number] = share
            balance[layer.fund] -= share
        left -= paid[number]
    return paid


def _from_fund(left: float, balance: float, *, all_: bool) -> float:
    """Return what a fund pays: unknown (NaN) where something is due and its balance is not given."""
    if left == 0 or math.isnan(balance):
        return 0.0 if left == 0 else math.nan
    return 0.0 if all_ and balance < left else min(left, balance)


def _from_profit(bound: Bound, bucket: int, left: float, profit: Floats, *, all_: bool) -> float:
    p = bound.positions
    cells = [(int(p.instrument[i]), 1 - p.side(i)) for i in bound.members(bucket) if p.side(i) != FLAT]
    reach = sum(profit[cell] for cell in cells)
    if all_ and reach < left:
        return 0.0
    taken = 0.0
    for cell in cells:
        share = min(left - taken, float(profit[cell]))
        profit[cell] -= share
        taken += share
    return taken
