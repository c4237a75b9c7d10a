"""Losses: who pays for a bucket that is empty and below zero."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np

from riskpolicy.engines.core.draw import Drawn, draw, shares
from riskpolicy.engines.core.exact import ZERO
from riskpolicy.engines.core.funds import loss_of, member_rooms, members_of, pays_for
from riskpolicy.engines.core.resolution import Done
from riskpolicy.engines.liquidation import BANKRUPT
from riskpolicy.engines.resolving.books import RESIDUAL, WITHDRAWALS, Books
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
            if self.excepted(bucket, layer) or not pays_for(self.bound, bucket, layer):
                return False
            return layer.when is None or bool(layer.when.program.exact(self.bucket_row(now, BANKRUPT)))

        def of_currency(fund: int) -> bool:
            return self.plan.funds[fund].currency == number

        loss = loss_of(self.bound, bucket)
        for drawn in draw(self.plan.layers, deficit, self.payers, quantum, of_currency, opened, loss):
            self.result.whys.setdefault((drawn.layer.id, loss.account), []).append((drawn.amount * quantum, drawn.why))
            if not drawn.amount:
                continue
            if drawn.layer.window is not None:
                self.windowed.append((drawn.layer.id, loss, drawn.amount * quantum))
            self.paid(bucket, drawn, currency, quantum)

    def excepted(self, bucket: int, layer: Layer) -> bool:
        """Return whether a market of the bucket is in a state in which the layer does not pay."""
        members = self.bound.members(bucket) if layer.unless else []
        return any(self.bound.market_state(int(self.bound.positions.instrument[i])) in layer.unless for i in members)

    def paid(self, bucket: int, drawn: Drawn, currency: str, quantum: Fraction) -> None:
        """Book what one layer pays."""
        layer, account = drawn.layer, self.name(bucket)
        if layer.pays == "socialization" and layer.by != "withdrawals":
            self.socialize(bucket, drawn, currency, quantum)
            return
        if layer.pays == "fund":
            payers = self.payers_in(layer.fund, drawn.amount)
        else:
            payers = [(RESIDUAL if layer.pays == "residual" else WITHDRAWALS, drawn.amount)]
        money = [*((name, currency, -part) for name, part in payers), (account, currency, drawn.amount)]
        self.result.ledger.book(layer.id, f"{layer.name} pays", money)
        self.add(bucket, drawn.amount * quantum)
        amount = drawn.amount * quantum
        self.result.draws.append((layer.name, currency, amount, layer.id, account))
        if layer.pays == "residual":
            self.result.residual[currency] = self.result.residual.get(currency, ZERO) + amount

    def payers_in(self, fund: int, amount: int) -> list[tuple[str, int]]:
        """Return who pays what a fund pays: the fund, or its members in proportion to what each can."""
        rules = self.plan.funds[fund]
        members = members_of(self.bound, rules) if rules.holds in ("members", "assessments") else []
        if not members:
            return [(f"@{rules.id}", amount)]
        taken = self.of_members.setdefault(fund, [0] * len(members))
        rooms = [room - gone for room, gone in zip(member_rooms(self.bound, rules), taken, strict=True)]
        parts = shares(rooms, amount)
        self.of_members[fund] = [gone + part for gone, part in zip(taken, parts, strict=True)]
        return [(f"@member:{m.name}", part) for m, part in zip(members, parts, strict=True) if part]

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
            if of == bucket or held.quantity == 0 or self.apart[of] or self.currency(of)[0] != currency:
                continue
            weight = abs(held.quantity) * self.plan.instruments.contract_size_exact[held.instrument]
            if layer.by == "profit":
                now = self.worth(held.instrument, held.quantity, held.mark_price)
                weight = max(ZERO, now - self.worth(held.instrument, held.quantity, held.entry_price))
            payers.append(of)
            weights.append(weight)
        total = sum(weights, ZERO)
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
            self.shared[of] = self.shared.get(of, ZERO) + part * quantum
            self.result.steps.append(Done(self.name(of), layer.id, "pays its share of a loss", amount=part * quantum))
        self.add(bucket, drawn.amount * quantum)
        self.result.draws.append((layer.name, currency, drawn.amount * quantum, layer.id, account))
