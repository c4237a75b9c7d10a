"""Losses: who pays for a bucket that is empty and below zero."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np

from riskpolicy.engines.core.draw import Drawn, draw
from riskpolicy.engines.core.resolution import Done
from riskpolicy.engines.liquidation import BANKRUPT
from riskpolicy.engines.resolving.books import RESIDUAL, Books
from riskpolicy.plan.plan import Layer


class Losses(Books):
    """Deficits paid by the waterfall."""

    def settle(self, bucket: int) -> None:
        """Ask the waterfall for what an empty bucket lacks."""
        currency, quantum = self.currency(bucket)
        now = self.bucket(bucket)
        if now.equity >= 0:
            return
        number = int(self.bound.buckets.currency[bucket])
        deficit = math.ceil(-now.equity / quantum)

        def opened(layer: Layer) -> bool:
            if self.excepted(bucket, layer):
                return False
            if layer.when is None:
                return True
            row = {n: now.row()[n] for n in layer.when.program.inputs if n != "state"}
            return bool(layer.when.program.exact({**row, "state": Fraction(BANKRUPT)}))

        def of_currency(fund: int) -> bool:
            return self.plan.funds[fund].currency == number

        for drawn in draw(self.plan.layers, deficit, self.payers, quantum, of_currency, opened):
            self.paid(bucket, drawn, currency, quantum)

    def excepted(self, bucket: int, layer: Layer) -> bool:
        """Return whether a market of the bucket is in a state in which the layer does not pay."""
        members = self.bound.members(bucket) if layer.unless else []
        return any(self.bound.market_state(int(self.bound.positions.instrument[i])) in layer.unless for i in members)

    def paid(self, bucket: int, drawn: Drawn, currency: str, quantum: Fraction) -> None:
        """Book what one layer pays."""
        layer, account = drawn.layer, self.name(bucket)
        if layer.pays == "socialization":
            self.socialize(bucket, drawn, currency, quantum)
            return
        payer = RESIDUAL if layer.pays == "residual" else f"@{self.plan.funds[layer.fund].id}"
        money = [(payer, currency, -drawn.amount), (account, currency, drawn.amount)]
        self.result.ledger.book(layer.id, f"{layer.name} pays", money)
        self.add(bucket, drawn.amount * quantum)
        amount = drawn.amount * quantum
        self.result.draws.append((layer.name, currency, amount, layer.id, account))
        if layer.pays == "residual":
            self.result.residual[currency] = self.result.residual.get(currency, Fraction(0)) + amount

    def socialize(self, bucket: int, drawn: Drawn, currency: str, quantum: Fraction) -> None:
        """Let the holders of the bucket's markets pay: so much a contract, on both sides, or by their profit.

        Whole quanta, in proportion; a rest goes one by one to the largest shares, then by position.
        """
        layer, account = drawn.layer, self.name(bucket)
        markets = {int(self.bound.positions.instrument[i]) for i in self.bound.members(bucket)}
        p = self.bound.positions
        payers, weights = [], []
        for i in np.flatnonzero(np.isin(p.instrument, sorted(markets)) & (p.quantity != 0)).tolist():
            held, of = self.holding(i), int(p.bucket[i])
            if of == bucket or held.quantity == 0 or self.currency(of)[0] != currency:
                continue
            weight = abs(held.quantity) * self.plan.instruments.contract_size_exact[held.instrument]
            if layer.by == "profit":
                now = self.worth(held.instrument, held.quantity, held.mark_price)
                weight = max(Fraction(0), now - self.worth(held.instrument, held.quantity, held.entry_price))
            payers.append(of)
            weights.append(weight)
        total = sum(weights, Fraction(0))
        parts = [int(drawn.amount * w / total) for w in weights] if total else []
        left = drawn.amount - sum(parts)
        if not total:
            self.paid(bucket, Drawn(replace(layer, pays="residual"), drawn.amount), currency, quantum)
            return
        for k in sorted(range(len(parts)), key=lambda k: (-weights[k], k))[:left]:
            parts[k] += 1
        money = [(self.name(of), currency, -part) for of, part in zip(payers, parts, strict=True)]
        self.result.ledger.book(layer.id, f"{layer.name}: socialized", [*money, (account, currency, drawn.amount)])
        for of, part in zip(payers, parts, strict=True):
            self.enter(of)
            self.add(of, -part * quantum)
            self.shared[of] = self.shared.get(of, Fraction(0)) + part * quantum
            self.result.steps.append(Done(self.name(of), layer.id, "pays its share of a loss", amount=part * quantum))
        self.add(bucket, drawn.amount * quantum)
        self.result.draws.append((layer.name, currency, drawn.amount * quantum, layer.id, account))
