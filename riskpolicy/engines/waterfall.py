"""The waterfall planned at the mark: which layer pays how much of the deficits, in order."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from riskpolicy.engines.core.bound import FLAT, Bound
from riskpolicy.engines.core.draw import Payers, shares
from riskpolicy.engines.core.exact import exact_bucket_row
from riskpolicy.engines.core.funds import loss_of, payers_of, pays_for
from riskpolicy.numbers import exact
from riskpolicy.plan.plan import Layer
from riskpolicy.vocabulary import STATES

Floats = npt.NDArray[np.float64]
BANKRUPT = STATES.index("bankrupt")


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

    A bucket's deficit is what its equity lacks to zero: its own margin is spent by then, so the defaulter's layer
    pays nothing more. A fund pays from its balance, under its layer's mode, caps, group and condition. Deleveraging
    pays up to the unrealized profit of the positions opposite the bucket's own, which nothing before it has taken;
    socialization all that is left, where others hold the market, or up to their unrealized profit where it is by
    profit. The residual is the rest.
    """
    plan = bound.plan
    layers = tuple(layer for layer in plan.layers if layer.pays != "defaulter")
    amounts = np.zeros((len(layers), len(plan.currencies)))
    draws = Draws(layers, amounts)
    bankrupt = np.flatnonzero(equity < 0)
    if not len(bankrupt):
        return draws
    payers = payers_of(bound)
    profit = _profits(bound, pnl)
    for bucket in bankrupt[np.argsort(rank[bankrupt])]:
        currency = int(bound.buckets.currency[bucket])
        paid = _Planned(bound, layers, int(bucket), payers, profit, pnl).pay(-float(equity[bucket]))
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


class _Planned:
    """The plan for one bucket's deficit."""

    def __init__(
        self, bound: Bound, layers: tuple[Layer, ...], bucket: int, payers: Payers, profit: Floats, pnl: Floats
    ) -> None:
        self.bound = bound
        self.layers = layers
        self.bucket = bucket
        self.payers = payers
        self.profit = profit
        self.pnl = pnl
        self.currency = int(bound.buckets.currency[bucket])
        self.quantum = bound.plan.requirements.quantum[self.currency]
        self.loss = loss_of(bound, bucket)

    def pay(self, deficit: float) -> Floats:
        """Return what each layer pays; NaN from the first fund on whose balance is due and not known."""
        paid = np.zeros(len(self.layers))
        left, i = deficit, 0
        while i < len(self.layers):
            layer, end = self.layers[i], i + 1
            while layer.group is not None and end < len(self.layers) and self.layers[end].group == layer.group:
                end += 1
            if math.isnan(left) or layer.pays == "residual":
                paid[i] = left
            elif layer.pays == "socialization":
                paid[i] = self._socialized(layer, left) if self._opened(i) else 0.0
            elif layer.pays == "deleveraging":
                paid[i] = _from_profit(self.bound, self.bucket, left, self.profit, all_=layer.all_or_nothing)
            else:
                self._funds(range(i, end), left, paid)
            left -= float(paid[i:end].sum())
            i = end
        return paid

    def _funds(self, members: range, left: float, paid: Floats) -> None:
        """Let the funds of a group pay, in proportion to what each could."""
        funds = self.bound.plan.funds
        able = [k for k in members if funds[self.layers[k].fund].currency == self.currency and self._opened(k)]
        if left > 0 and any(self.payers.balance[self.layers[k].fund] is None for k in able):
            paid[able] = math.nan
            return
        quanta = int(-(-exact(left) // self.quantum)) if left > 0 else 0
        rooms = [self.payers.room(self.layers[k], quanta, self.quantum, self.loss) for k in able]
        together = self.payers.group_room([self.layers[k] for k in members], self.quantum)
        most = min(quanta, sum(rooms) if together is None else min(together, sum(rooms)))
        for k, amount in zip(able, shares(rooms, most), strict=True):
            if amount:
                self.payers.pay(self.layers[k], amount, self.loss)
                paid[k] = min(left, float(amount * self.quantum))

    def _socialized(self, layer: Layer, left: float) -> float:
        """Return what the others in the bucket's markets pay: all of it, or by profit what profit there is left."""
        p, members = self.bound.positions, self.bound.members(self.bucket)
        markets = sorted({int(p.instrument[i]) for i in members})
        if layer.by != "profit":
            others = np.isin(p.instrument, markets) & (p.quantity != 0) & (p.bucket != self.bucket)
            return left if layer.by == "withdrawals" or others.any() else 0.0
        own = np.zeros(self.profit.shape)
        for i in members:
            own[int(p.instrument[i]), int(p.quantity[i] < 0)] += max(0.0, float(self.pnl[i]))
        taken = 0.0
        for cell in ((m, side) for m in markets for side in (0, 1)):
            share = min(left - taken, max(0.0, float(self.profit[cell] - own[cell])))
            self.profit[cell] -= share
            taken += share
        return taken

    def _opened(self, k: int) -> bool:
        rule, unless = self.layers[k].when, self.layers[k].unless
        if not pays_for(self.bound, self.bucket, self.layers[k]):
            return False
        members = self.bound.members(self.bucket) if unless else []
        if any(self.bound.market_state(int(self.bound.positions.instrument[i])) in unless for i in members):
            return False
        if rule is None:
            return True
        return bool(rule.program.exact(exact_bucket_row(self.bound, self.bucket, BANKRUPT)))


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
