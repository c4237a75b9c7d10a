"""Losses: who pays for a bucket that is empty and below zero."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from riskpolicy.engines.core.draw import Drawn, draw, shares
from riskpolicy.engines.core.exact import ZERO
from riskpolicy.engines.core.funds import loss_of, member_rooms, members_of, pays_for
from riskpolicy.engines.core.resolution import Done
from riskpolicy.engines.liquidation import BANKRUPT
from riskpolicy.engines.resolving.books import RESIDUAL, WITHDRAWALS, Books
from riskpolicy.plan.plan import Layer


class _Holder(NamedTuple):
    """A position whose holder pays a part of a loss, in proportion to `weight`; by profit at most `room` quanta."""

    position: int
    bucket: int
    weight: Fraction
    room: int


class Losses(Books):
    """Deficits paid by the waterfall."""

    def settle(self, bucket: int) -> None:
        """Ask the waterfall for what an empty bucket lacks."""
        if self.has(bucket, ZERO):
            return
        currency, quantum = self.currency(bucket)
        now = self.bucket(bucket)
        number = int(self.bound.buckets.currency[bucket])
        deficit = math.ceil(-now.equity / quantum)

        def opened(layer: Layer) -> bool:
            if self.excepted(bucket, layer) or not pays_for(self.bound, bucket, layer):
                return False
            return layer.when is None or bool(layer.when.program.exact(self.bucket_row(now, BANKRUPT)))

        def of_currency(fund: int) -> bool:
            return self.plan.funds[fund].currency == number

        loss = loss_of(self.bound, bucket)

        def reach(layer: Layer) -> int | None:
            """Return the most that those pay among whom a loss is socialized, in quanta; None for all of it."""
            if layer.by == "withdrawals":
                return None
            holders = self.holders(bucket, layer)
            return sum(h.room for h in holders) if layer.by == "profit" else None if holders else 0

        for drawn in draw(self.plan.layers, deficit, self.payers, quantum, of_currency, opened, loss, reach):
            self.result.whys.setdefault((drawn.layer.id, loss.account), []).append((drawn.amount * quantum, drawn.why))
            if not drawn.amount:
                continue
            if drawn.layer.window is not None:
                self.windowed.append((drawn.layer.id, loss, drawn.amount * quantum))
            self.paid(bucket, drawn, currency, quantum)

    def gain_by(self, bucket: int, fund: int, amount: Fraction) -> None:
        """Count what a fund gains by a bucket in the market of its largest position; nothing where it has none."""
        market = loss_of(self.bound, bucket).market
        if market:
            self.gain_in(self.plan.instruments.number[market], fund, amount)

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
            self.gain_by(bucket, layer.fund, -drawn.amount * quantum)
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

    def holders(self, bucket: int, layer: Layer) -> list[_Holder]:
        """Return who pays where a bucket's loss is socialized: all others with contracts of its markets and currency.

        In proportion to the contracts, or to unrealized profit, of which nobody gives more than there is.
        """
        currency, quantum = self.currency(bucket)
        markets = {int(self.bound.positions.instrument[i]) for i in self.bound.members(bucket)}
        p, found = self.bound.positions, []
        for i in np.flatnonzero(np.isin(p.instrument, sorted(markets)) & (p.quantity != 0)).tolist():
            held, of = self.holding(i), int(p.bucket[i])
            if of == bucket or held.quantity == 0 or self.apart[of] or self.currency(of)[0] != currency:
                continue
            weight, room = abs(held.quantity) * self.plan.instruments.contract_size_exact[held.instrument], 0
            if layer.by == "profit":
                now = self.worth(held.instrument, held.quantity, held.mark_price)
                profit = (now - self.worth(held.instrument, held.quantity, held.entry_price)) * held.conversion
                room = max(0, int(profit / quantum) - self.given.get(i, 0))
                weight = Fraction(room)
            if weight:
                found.append(_Holder(i, of, weight, room))
        return found

    def socialize(self, bucket: int, drawn: Drawn, currency: str, quantum: Fraction) -> None:
        """Let the holders of the bucket's markets pay: so much a contract, on both sides, or by their profit.

        Whole quanta, in proportion; a rest goes one by one to the largest shares, then by position.
        """
        layer, account = drawn.layer, self.name(bucket)
        holders = self.holders(bucket, layer)
        total = sum((h.weight for h in holders), ZERO)
        parts = [int(drawn.amount * h.weight / total) for h in holders]
        able = [k for k, h in enumerate(holders) if layer.by != "profit" or parts[k] < h.room]
        for k in sorted(able, key=lambda k: (-holders[k].weight, k))[: drawn.amount - sum(parts)]:
            parts[k] += 1
        money = [(self.name(h.bucket), currency, -part) for h, part in zip(holders, parts, strict=True)]
        self.result.ledger.book(layer.id, f"{layer.name}: socialized", [*money, (account, currency, drawn.amount)])
        for h, part in zip(holders, parts, strict=True):
            self.add(h.bucket, -part * quantum)
            self.shared[h.bucket] = self.shared.get(h.bucket, ZERO) + part * quantum
            self.given[h.position] = self.given.get(h.position, 0) + part
            self.result.steps.append(
                Done(self.name(h.bucket), layer.id, "pays its share of a loss", amount=part * quantum)
            )
        self.add(bucket, drawn.amount * quantum)
        self.result.draws.append((layer.name, currency, drawn.amount * quantum, layer.id, account))
