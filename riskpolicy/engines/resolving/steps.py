"""Liquidation steps: who takes the contracts of a bucket, one step after the other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from riskpolicy.engines.core.draw import equal_parts
from riskpolicy.engines.core.exact import Change, ExactBucket, ExactPosition
from riskpolicy.engines.core.resolution import Deleveraged
from riskpolicy.engines.execution import Fill
from riskpolicy.engines.liquidation import BANKRUPT, HEALTHY
from riskpolicy.engines.resolving.books import DEFAULT_LOT
from riskpolicy.engines.resolving.losses import Losses
from riskpolicy.plan.plan import Step
from riskpolicy.snapshot.columns import Ids


class Steps(Losses):
    """The steps of a ruleset, each a method by its word."""

    def liquidate(self, bucket: int) -> None:
        """Take a bucket through the steps until it is healthy; then settle what an empty one lacks."""
        self.enter(bucket)
        for step in self.plan.steps:
            now = self.bucket(bucket)
            state = self.state(now)
            if state == HEALTHY:
                break
            if step.when is not None and not self.is_open(step, now, state):
                continue
            getattr(self, f"_{step.do}")(bucket, step)
        if not self.left(bucket):
            self.settle(bucket)

    def is_open(self, step: Step, now: ExactBucket, state: int) -> bool:
        """Return whether the condition of a step holds for a bucket as it is now."""
        assert step.when is not None
        row = {
            **{name: now.row()[name] for name in step.when.program.inputs if name != "state"},
            "state": Fraction(state),
        }
        return bool(step.when.program.exact(row))

    def _cancel_orders(self, bucket: int, step: Step) -> None:
        orders, account = self.bound.orders, int(self.bound.buckets.account[bucket])
        if orders is None:
            return
        rows = range(int(orders.start[account]), int(orders.start[account + 1]))
        mine = [r for r in rows if self.bound.bucket_of(account, int(orders.instrument[r])) == bucket]
        gone = {int(orders.row[r]) for r in mine} - self.cancelled
        if gone:
            self.cancelled |= gone
            self.note(bucket, step, f"{len(gone)} order{'s' if len(gone) > 1 else ''} cancelled")

    def _market_order(self, bucket: int, step: Step) -> None:
        for i, p in self.left(bucket, step.unless):
            size = abs(p.quantity)
            if step.above is not None and p.notional > step.above:
                size = min(size, self.lots(p.number, size * step.portion))
            if step.until == "healthy":
                size = min(size, self.enough(bucket, i, p, step, None))
            self.sell(bucket, i, size, step, None)
            if self.state(self.bucket(bucket)) == HEALTHY and self.left(bucket):
                break

    def _immediate_or_cancel(self, bucket: int, step: Step) -> None:
        for i, p in self.left(bucket, step.unless):
            limit = self.price(bucket, i, step.price)
            size = abs(p.quantity)
            if step.until == "healthy":
                size = self.enough(bucket, i, p, step, limit)
            self.sell(bucket, i, size, step, limit)
            if step.until == "healthy" and self.state(self.bucket(bucket)) == HEALTHY:
                break

    def enough(self, bucket: int, i: int, p: ExactPosition, step: Step, limit: Fraction | None) -> Fraction:
        """Return the fewest lots whose closing, at what execution gives and with its fee, makes the bucket healthy."""
        lot = self.plan.instruments.lot[p.number] or DEFAULT_LOT
        most = -(-abs(p.quantity) // lot)

        def heals(lots: int) -> bool:
            size = min(abs(p.quantity), lots * lot)
            return self.state(self.supposed(bucket, i, size, step, limit)) == HEALTHY

        low, high = 0, int(most)
        if not heals(high):
            return abs(p.quantity)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if heals(middle) else (middle, high)
        return min(abs(p.quantity), high * lot)

    def supposed(self, bucket: int, i: int, size: Fraction, step: Step, limit: Fraction | None) -> ExactBucket:
        """Return the bucket as it would be after an order, without sending it."""
        p = self.holding(i)
        side = -1 if p.quantity > 0 else 1
        fills = self.execution.quote(self.symbol(p.instrument), side * size, p.mark_price, limit)
        after, gained = p, Fraction(0)
        for fill in fills:
            gained -= self.fee(p.instrument, fill, step) * p.conversion
            gained += self.realized(after, fill) * p.conversion
            after = replace(after, quantity=after.quantity + fill.quantity)
        balance = self.balance.get(bucket, Fraction(0)) + gained
        return ExactBucket(self.bound, bucket, Change({**self.held, i: after}, balance=balance))

    def _lower_tier(self, bucket: int, step: Step) -> None:
        """Close down to the cap of a lower tier, each position all at once or not at all."""
        for i, p in self.left(bucket, step.unless):
            size = self.above_tier(p, step)
            if size <= 0:
                continue
            limit = self.price(bucket, i, step.price)
            side = -1 if p.quantity > 0 else 1
            quoted = self.execution.quote(self.symbol(p.number), side * size, p.mark_price, limit)
            if sum((abs(f.quantity) for f in quoted), Fraction(0)) < size:
                self.note(bucket, step, f"{self.symbol(p.number)}: the book does not take all of it")
                continue
            self.sell(bucket, i, size, step, limit)
            if self.state(self.bucket(bucket)) == HEALTHY:
                break

    def above_tier(self, p: ExactPosition, step: Step) -> Fraction:
        """Return how many contracts are above the cap of the tier that a step leads to, in whole lots."""
        tiers = self.plan.tiers
        first = int(tiers.start[p.table])
        now = next(t for t in range(first, int(tiers.start[p.table + 1])) if tiers.exact[t] is p.tier)
        down = {"one": now - 1, "two": now - 2, "lowest": first}[step.tiers]
        cap = tiers.exact[max(first, down)].cap
        if now == first or down < first or cap is None:
            return Fraction(0)
        kept = cap / (p.key / abs(p.quantity))
        return min(abs(p.quantity), self.lots(p.number, abs(p.quantity) - kept))

    def _assign(self, bucket: int, step: Step) -> None:
        """Share what is left out to liquidity providers: equal parts, none beyond its capacity."""
        for i, p in self.left(bucket, step.unless):
            price = self.price(bucket, i, step.price) or p.mark_price
            lot = self.plan.instruments.lot[p.number] or DEFAULT_LOT
            capacity = self.capacities(p.number)
            names = sorted(capacity)
            parts = equal_parts([int(capacity[n] / lot) for n in names], int(abs(p.quantity) / lot))
            side = -1 if p.quantity > 0 else 1
            for name, lots in zip(names, parts, strict=True):
                if lots:
                    self.assigned[name, p.number] = self.assigned.get((name, p.number), Fraction(0)) + lots * lot
                    self.trade(bucket, i, Fill(side * lots * lot, price), f"@provider:{name}", step.id, "assigned")

    def capacities(self, number: int) -> dict[str, Fraction]:
        """Return what each provider can still take of an instrument."""
        table = self.bound.snapshot.tables["providers"]
        who, what, given = (
            table.get("provider"),
            table.get("instrument"),
            self.bound.snapshot.numbers("providers", "capacity"),
        )
        if not isinstance(who, Ids) or not isinstance(what, Ids) or given is None:
            return {}
        known = self.plan.instruments.number
        rows = [r for r in range(len(who)) if known[str(what.label(r))] == number]
        left = {str(who.label(r)): (given.exact(r) or Fraction(0)) for r in rows}
        return {name: room - self.assigned.get((name, number), Fraction(0)) for name, room in left.items()}

    def _takeover(self, bucket: int, step: Step) -> None:
        name = f"@{self.plan.funds[step.by].id}"
        if self.plan.funds[step.by].currency != int(self.bound.buckets.currency[bucket]):
            return
        for i, p in self.left(bucket, step.unless):
            price = self.price(bucket, i, step.price) or p.mark_price
            size = self.capacity(bucket, p, price, step)
            if size <= 0:
                self.note(bucket, step, f"{name[1:]} can not take {self.symbol(p.number)}")
                continue
            side = -1 if p.quantity > 0 else 1
            self.trade(bucket, i, Fill(side * size, price), name, step.id, f"takeover by {name[1:]}")
            self.inventory[step.by, p.number] = self.inventory.get((step.by, p.number), Fraction(0)) - side * size
            self.mark_inventory(bucket, p, Fill(side * size, price), step, name)
        if step.leftover == "fund" and not self.left(bucket):
            self.hand_over(bucket, step, name)

    def capacity(self, bucket: int, p: ExactPosition, price: Fraction, step: Step) -> Fraction:
        """Return how many contracts a fund can take: by its loss at the mark, and by the cap on its net notional."""
        _, quantum = self.currency(bucket)
        has = Fraction(self.payers.balance[step.by] or 0) * quantum
        size = abs(p.quantity)
        one = Fraction(1 if p.quantity > 0 else -1)
        loss = self.worth(p.number, one, price) - self.worth(p.number, one, p.mark_price)
        if loss > 0:
            size = min(size, has / loss)
        if step.max_net_notional is not None and p.notional:
            held = sum(
                (
                    abs(q) * p.notional / abs(p.quantity)
                    for (fund, n), q in self.inventory.items()
                    if (fund, n) == (step.by, p.number)
                ),
                Fraction(0),
            )
            room = step.max_net_notional * has - held
            size = min(size, max(Fraction(0), room) / (p.notional / abs(p.quantity)))
        lot = self.plan.instruments.lot[p.number] or DEFAULT_LOT
        return size if size == abs(p.quantity) else size // lot * lot

    def mark_inventory(self, bucket: int, p: ExactPosition, fill: Fill, step: Step, name: str) -> None:
        """Take a fund's loss on what it took, at the mark, from its balance; add its gain."""
        currency, quantum = self.currency(bucket)
        taken = -fill.quantity
        gain = self.worth(p.number, taken, p.mark_price) - self.worth(p.number, taken, fill.price)
        quanta = math.floor(gain / quantum)
        has = self.payers.balance[step.by]
        self.payers.balance[step.by] = (has or 0) + quanta
        if quanta < 0:
            layer = next((x for x in self.plan.layers if x.fund == step.by), None)
            rule = step.id if layer is None else layer.id
            self.result.draws.append(
                (name[1:] if layer is None else layer.name, currency, -quanta * quantum, rule, self.name(bucket))
            )

    def hand_over(self, bucket: int, step: Step, name: str) -> None:
        """Give what margin is left to the fund."""
        currency, quantum = self.currency(bucket)
        left = int(self.bucket(bucket).equity // quantum)
        if left > 0:
            self.result.ledger.book(
                step.id, "leftover margin", [(self.name(bucket), currency, -left), (name, currency, left)]
            )
            self.add(bucket, -left * quantum)
            self.payers.balance[step.by] = (self.payers.balance[step.by] or 0) + left
            self.note(bucket, step, "leftover margin to the fund", amount=left * quantum)

    def _deleverage(self, bucket: int, step: Step) -> None:
        rules = self.plan.deleveraging
        if rules is None:
            return
        for i, p in self.left(bucket, step.unless):
            price = self.price(bucket, i, rules.price) or p.mark_price
            left = abs(p.quantity)
            for other in self.queue(p):
                if left == 0:
                    break
                winner = self.holding(other)
                if self.bound.positions.account[other] == self.bound.buckets.account[bucket]:
                    continue
                size = min(left, abs(winner.quantity))
                if not self.bears(other, size, price):
                    name = self.name(int(self.bound.positions.bucket[other]))
                    self.note(bucket, step, f"{name} skipped: bankruptcy prices do not overlap")
                    continue
                self.close_against(bucket, i, other, size, price, step)
                left -= size

    def bears(self, other: int, size: Fraction, price: Fraction) -> bool:
        """Return whether a bucket is not below zero after some of its contracts are closed at a price."""
        winner, of = self.holding(other), int(self.bound.positions.bucket[other])
        held = size if winner.quantity > 0 else -size
        lost = self.worth(winner.instrument, held, winner.mark_price) - self.worth(winner.instrument, held, price)
        return lost <= 0 or self.bucket(of).equity >= lost * winner.conversion

    def queue(self, p: ExactPosition) -> Iterator[int]:
        """Yield the positions opposite to one, in the order of the deleveraging queue, that still hold contracts.

        Whoever is bankrupt, or holds nothing any more, is passed over for good.
        """
        queue, positions = self.evaluation.queue, self.bound.positions
        segment = 2 * p.number + (1 if p.quantity > 0 else 0)
        first, end = int(queue.start[segment]), int(queue.start[segment + 1])
        place = self.cursor.get(segment, first)
        while place < end:
            i = int(queue.order[place])
            bankrupt = self.evaluation.liquidation.state[positions.bucket[i]] == BANKRUPT
            if bankrupt or (i in self.held and self.held[i].quantity == 0):
                if place == self.cursor.get(segment, first):
                    self.cursor[segment] = place + 1
            else:
                yield i
            place += 1

    def close_against(self, bucket: int, i: int, other: int, size: Fraction, price: Fraction, step: Step) -> None:
        """Close some contracts of a position against those of another."""
        side = -1 if self.holding(i).quantity > 0 else 1
        of = int(self.bound.positions.bucket[other])
        self.enter(of)
        winner = self.holding(other)
        rules = self.plan.deleveraging
        assert rules is not None
        self.trade(bucket, i, Fill(side * size, price), (of, other), step.id, "deleveraged")
        number = winner.instrument
        held = size if winner.quantity > 0 else -size
        lost = (self.worth(number, held, winner.mark_price) - self.worth(number, held, price)) * winner.conversion
        self.result.deleveraged.append(
            Deleveraged(self.name(of), self.symbol(number), held, price, self.name(bucket), step.id, lost)
        )
        layer = next((x for x in self.plan.layers if x.pays == "deleveraging"), None)
        if layer is not None and lost > 0:
            currency, _ = self.currency(bucket)
            self.result.draws.append((layer.name, currency, lost, layer.id, self.name(bucket)))
