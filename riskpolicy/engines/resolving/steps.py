"""Liquidation steps: who takes the contracts of a bucket, one step after the other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction

from riskpolicy.engines.candidates import BELOW_ZERO, OWN
from riskpolicy.engines.core.adl import NO_OVERLAP
from riskpolicy.engines.core.changes import account_code
from riskpolicy.engines.core.draw import equal_parts
from riskpolicy.engines.core.exact import ZERO, ExactBucket, ExactPosition, Holding, position_row
from riskpolicy.engines.core.funds import fund_behind, fund_row
from riskpolicy.engines.core.resolution import Deleveraged, Done, Skipped
from riskpolicy.engines.execution import Fill
from riskpolicy.engines.liquidation import BANKRUPT, HEALTHY
from riskpolicy.engines.resolving.books import DEFAULT_LOT
from riskpolicy.engines.resolving.closing import Closing
from riskpolicy.numbers import fraction_text
from riskpolicy.plan.plan import OF_INSTRUMENT, Step
from riskpolicy.snapshot.columns import Ids


class Steps(Closing):
    """The steps of a ruleset, each a method by its word."""

    def liquidate(self, bucket: int) -> None:
        """Take a bucket through the steps until it is healthy; then settle what an empty one lacks.

        While a step waits for its time, only later steps with a condition of their own go on; a bucket below zero waits
        for nothing but an open auction.
        """
        self.begin(bucket)
        # Who was due may have become healthy as another's counterparty since: nothing is done with it then.
        if bucket not in self.gained or self.state(self.bucket(bucket)) != HEALTHY:
            self.enter(bucket)
        for step in self.plan.steps:
            now = self.bucket(bucket)
            state = self.state(now)
            if state == HEALTHY:
                break
            held = bucket in self.resumes and (state != BANKRUPT or bucket in self.auctioned)
            if held if step.when is None else not self.is_open(step, now, state):
                continue
            getattr(self, f"_{step.do}")(bucket, step)
        if not self.holds(bucket):
            self.enter(bucket)
            self.settle(bucket)
        elif bucket in self.out and self.bucket(bucket).equity >= 0:
            # Solvent again, it can give again.
            self.passed.clear()
            self.out.clear()

    def is_open(self, step: Step, now: ExactBucket, state: int) -> bool:
        """Return whether the condition of a step holds for a bucket as it is now."""
        assert step.when is not None
        return bool(step.when.program.exact(self.bucket_row(now, state)))

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
            if not self._order(bucket, i, p, step, None):
                continue
            if self.state(self.bucket(bucket)) == HEALTHY and self.holds(bucket):
                break

    def _immediate_or_cancel(self, bucket: int, step: Step) -> None:
        for i, p in self.left(bucket, step.unless):
            self._order(bucket, i, p, step, self.price(bucket, i, step.price))
            if step.until == "healthy" and self.state(self.bucket(bucket)) == HEALTHY:
                break

    def _order(self, bucket: int, i: int, p: ExactPosition, step: Step, limit: Fraction | None) -> bool:
        """Send what a step may send of a position now; return whether that is anything."""
        allowed = self.allowed(bucket, p, step)
        size = self.order_size(bucket, i, p, step, limit, allowed) if allowed > 0 else ZERO
        if size <= 0:
            return False
        lack = self.lack(bucket) if step.ramp is not None else ZERO
        self.sell(bucket, i, size, step, limit)
        self.sent(bucket, step, lack, allowed if size < abs(p.quantity) else Fraction(1))
        return True

    def _lower_tier(self, bucket: int, step: Step) -> None:
        """Close down to the cap of a lower tier, each position all at once or not at all."""
        for i, p in self.left(bucket, step.unless):
            size = self.above_tier(p, step)
            if size <= 0:
                continue
            limit = self.price(bucket, i, step.price)
            side = -1 if p.quantity > 0 else 1
            quoted = self.execution.quote(self.symbol(p.number), side * size, p.mark_price, limit)
            if sum((abs(f.quantity) for f in quoted), ZERO) < size:
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
            return ZERO
        kept = cap / (p.key / abs(p.quantity))
        size = self.lots(p.number, abs(p.quantity) - kept)
        if not tiers.edge_lower[p.table] and abs(p.quantity) - size == kept:
            # At the cap itself the upper tier still holds.
            size += self.plan.instruments.lot[p.number] or DEFAULT_LOT
        return min(abs(p.quantity), size)

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
                    self.assigned[name, p.number] = self.assigned.get((name, p.number), ZERO) + lots * lot
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
        left = {str(who.label(r)): (given.exact(r) or ZERO) for r in rows}
        return {name: room - self.assigned.get((name, number), ZERO) for name, room in left.items()}

    def _auction(self, bucket: int, step: Step) -> None:
        """Sell to bidders within the reserve, the best price first.

        An auction with a timeout opens with what execution quotes and then takes bids until it ends; once it has ended
        the bucket goes on.
        """
        before = self.before[bucket]
        opened = before.started if before.in_liquidation and step.timeout is not None else None
        ends = None if step.timeout is None else (self.instant if opened is None else opened) + step.timeout
        if opened is not None and ends is not None and self.instant >= ends:
            self.note(bucket, step, "auction ended")
            return
        for i, p in self.left(bucket, step.unless):
            reserve = self.price(bucket, i, step.price)
            self._take_bids(bucket, i, p, step, reserve)
            size = abs(self.holding(i).quantity)
            if size and opened is None:
                self.sell(bucket, i, size, step, reserve)
        if ends is not None and self.left(bucket, step.unless):
            self.auctioned.add(bucket)
            self.wait(bucket, ends)

    def _take_bids(self, bucket: int, i: int, p: ExactPosition, step: Step, reserve: Fraction | None) -> None:
        """Sell to those who have bid, the best price first, then in the order of their bids."""
        long = p.quantity > 0
        name = self.name(bucket)
        mine = [k for k, b in enumerate(self.bids) if b.instrument == p.number and b.account in (None, name)]
        for k in sorted(mine, key=lambda k: -self.bids[k].price if long else self.bids[k].price):
            bid, taken = self.bids[k], self.bid_taken.get(k, ZERO)
            if reserve is not None and (bid.price < reserve if long else bid.price > reserve):
                self.note(bucket, step, f"bid of {bid.bidder} is beyond the reserve")
                continue
            size = min(bid.quantity - taken, abs(self.holding(i).quantity))
            if size > 0:
                self.bid_taken[k] = taken + size
                fill = Fill(-size if long else size, bid.price)
                self.trade(bucket, i, fill, bid.bidder, step.id, "auction")
                self.charge(bucket, p.number, fill, step)

    def note_bids(self) -> None:
        """Say of every bid what nobody sold to it."""
        for k, bid in enumerate(self.bids):
            rest = bid.quantity - self.bid_taken.get(k, ZERO)
            if rest:
                symbol = self.symbol(bid.instrument)
                what = f"{fraction_text(rest)} of a bid for {fraction_text(bid.quantity)} {symbol} not taken"
                self.result.steps.append(Done(bid.bidder, "event.auction", what))

    def _takeover(self, bucket: int, step: Step) -> None:
        if step.by == OF_INSTRUMENT:
            step = replace(step, by=fund_behind(self.bound, bucket))
        fund = self.plan.funds[step.by]
        name = f"@{fund.id}"
        if fund.currency != int(self.bound.buckets.currency[bucket]):
            return
        for i, p in self.taken_first(bucket, step):
            price = self.price(bucket, i, step.price) or p.mark_price
            size = self.capacity(bucket, p, price, step)
            if size <= 0:
                self.note(bucket, step, f"{name[1:]} can not take {self.symbol(p.number)}")
                continue
            fill = Fill(-size if p.quantity > 0 else size, price)
            self.trade(bucket, i, fill, name, step.id, f"takeover by {name[1:]}")
            held = self.inventory_of(step.by)
            held[p.number] = held.get(p.number, ZERO) - fill.quantity
            self.mark_inventory(bucket, p, fill, step, name)
        if step.leftover == "fund" and not self.holds(bucket):
            self.hand_over(bucket, step, name)

    def taken_first(self, bucket: int, step: Step) -> list[tuple[int, ExactPosition]]:
        """Return what is left of a bucket in the order in which a fund takes it: by a column, or the largest first."""
        rows = self.left(bucket, step.unless)
        if step.order is None:
            return rows
        now, column = self.bucket(bucket), step.order.column
        key = {i: position_row(now, now.members.index(i))[column] for i, _ in rows}
        return sorted(rows, key=lambda row: key[row[0]], reverse=step.order.descending)

    def capacity(self, bucket: int, p: ExactPosition, price: Fraction, step: Step) -> Fraction:
        """Return how many contracts a fund can take.

        By its loss at the mark: no more than it has, nor in one resolution than the part of its opening balance that
        the step allows. By the cap on its net notional. With a solvency condition the position goes whole or not.
        """
        _, quantum = self.currency(bucket)
        has = Fraction(self.payers.balance[step.by] or 0) * quantum
        size, held = abs(p.quantity), self.inventory_of(step.by)
        one = Fraction(1 if p.quantity > 0 else -1)
        loss = self.worth(p.number, one, price) - self.worth(p.number, one, p.mark_price)
        loss *= p.held.conversion
        if loss > 0:
            room = has
            if step.max_loss is not None:
                opening = Fraction(self.payers.opening[step.by] or 0) * quantum
                room = min(room, max(ZERO, step.max_loss * opening - self.lost.get(step.by, ZERO)))
            size = min(size, room / loss)
        if step.max_net_notional is not None and p.notional:
            each = p.notional * p.held.conversion / abs(p.quantity)
            net = held.get(p.number, ZERO) * one
            # What it holds on the other side makes room.
            size = min(size, max(ZERO, step.max_net_notional * has / each - net))
        if step.solvency != "none":
            left = has - max(ZERO, loss) * abs(p.quantity)
            with_it = {**held, p.number: held.get(p.number, ZERO) + p.quantity}
            if size < abs(p.quantity) or left < self.inventory_margin(bucket, with_it, step.solvency):
                return ZERO
        lot = self.plan.instruments.lot[p.number] or DEFAULT_LOT
        return size if size == abs(p.quantity) else size // lot * lot

    def inventory_margin(self, bucket: int, held: Mapping[int, Fraction], which: str) -> Fraction:
        """Return the margin at the mark of contracts by instrument, in the currency of a bucket."""
        total = ZERO
        for number, quantity in held.items():
            if quantity:
                mark, conversion = self.bound.exact_mark(number), self.bound.conversion_of(bucket, number)
                p = ExactPosition(self.bound, Holding(number, quantity, mark, mark, conversion=conversion))
                margin = p.initial_margin if which == "initial" else p.maintenance_margin
                total += (margin or ZERO) * conversion
        return total

    def inventory_of(self, fund: int) -> dict[int, Fraction]:
        """Return the contracts that a fund holds, signed, by instrument: those of its account, and what it took."""
        if fund not in self.inventory:
            table = self.bound.snapshot.tables["funds"].get("account")
            row, names = fund_row(self.bound, fund), {f"@{self.plan.funds[fund].id}"}
            if row >= 0 and isinstance(table, Ids):
                names.add(str(table.label(row)))
            codes = [code for name in names if (code := account_code(self.bound, name)) is not None]
            held: dict[int, Fraction] = {}
            p = self.bound.positions
            for i in (i for code in codes for i in range(int(p.start[code]), int(p.start[code + 1]))):
                number = int(p.instrument[i])
                held[number] = held.get(number, ZERO) + self.holding(i).quantity
            self.inventory[fund] = held
        return self.inventory[fund]

    def mark_inventory(self, bucket: int, p: ExactPosition, fill: Fill, step: Step, name: str) -> None:
        """Take a fund's loss on what it took, at the mark, from its balance; add its gain."""
        currency, quantum = self.currency(bucket)
        taken = -fill.quantity
        gain = self.worth(p.number, taken, p.mark_price) - self.worth(p.number, taken, fill.price)
        quanta = math.floor(gain * p.held.conversion / quantum)
        self.credit(step.by, quanta)
        self.gain_in(p.number, step.by, quanta * quantum)
        if quanta < 0:
            self.lost[step.by] = self.lost.get(step.by, ZERO) - quanta * quantum
            layer = next((x for x in self.plan.layers if x.fund == step.by), None)
            account, lost = self.name(bucket), -quanta * quantum
            # What it loses on contracts is no deficit that is shared out: the step's limits hold, not the layer's caps.
            self.result.draws.append((name[1:] if layer is None else layer.name, currency, lost, step.id, account))
            why = f"what it loses at the mark on {self.symbol(p.number)}"
            self.result.whys.setdefault((step.id, account), []).append((lost, why))

    def hand_over(self, bucket: int, step: Step, name: str) -> None:
        """Give what margin is left to the fund."""
        currency, quantum = self.currency(bucket)
        left = int(self.bucket(bucket).equity // quantum)
        if left > 0:
            self.result.ledger.book(
                step.id, "leftover margin", [(self.name(bucket), currency, -left), (name, currency, left)]
            )
            self.add(bucket, -left * quantum)
            self.credit(step.by, left)
            self.gain_by(bucket, step.by, left * quantum)
            self.note(bucket, step, "leftover margin to the fund", amount=left * quantum)

    def _deleverage(self, bucket: int, step: Step) -> None:
        rules = self.plan.deleveraging
        if rules is None:
            return
        for i, p in self.left(bucket, step.unless):
            if not self.is_on(p.number, rules):
                self.note(bucket, step, f"deleveraging of {self.symbol(p.number)} is not triggered")
                continue
            if i in self.event_of:
                continue
            if self.asks_once:
                self.event_of.add(i)
            price = self.price(bucket, i, rules.price) or p.mark_price
            if not rules.plain or self.ranker is not None or self.allocator is not None:
                for other, size in self.allocated(bucket, p, price, rules):
                    self.close_against(bucket, i, other, size, price, step, self.given_up(other, size, price))
                continue
            left = abs(p.quantity)
            for other in self.queue(bucket, p):
                if left == 0:
                    break
                if self.bound.positions.account[other] == self.bound.buckets.account[bucket]:
                    self.passed_over(bucket, other, OWN)
                    continue
                held, of = abs(self.holding(other).quantity), int(self.bound.positions.bucket[other])
                size, lost = min(left, held), self.given_up(other, held, price)
                # Whoever is bankrupt itself at a better price is passed over, whatever part would be taken.
                if lost > 0 and not self.has(of, lost):
                    self.note(bucket, step, f"{self.name(of)} skipped: {NO_OVERLAP}")
                    self.passed_over(bucket, other, NO_OVERLAP)
                    continue
                lost = lost if size == held else lost * size / held
                self.close_against(bucket, i, other, size, price, step, lost)
                left -= size

    def passed_over(self, bucket: int, other: int, why: str) -> None:
        """Say once why a position was passed over in favour of a bucket."""
        if (bucket, other) not in self.told:
            self.told.add((bucket, other))
            name, number = self.name(int(self.bound.positions.bucket[other])), self.holding(other).instrument
            self.result.skipped.append(Skipped(name, self.symbol(number), self.name(bucket), why))

    def given_up(self, i: int, size: Fraction, price: Fraction) -> Fraction:
        """Return what a position's bucket loses where contracts go at a price and not at the mark; a gain below 0."""
        p = self.holding(i)
        held = size if p.quantity > 0 else -size
        return (self.worth(p.instrument, held, p.mark_price) - self.worth(p.instrument, held, price)) * p.conversion

    def queue(self, bucket: int, p: ExactPosition) -> Iterator[int]:
        """Yield the positions opposite to one, in the order of the deleveraging queue, that still hold contracts.

        Outside parties and who holds nothing any more are passed over for good, who is bankrupt until after its turn:
        that is said where the first bucket meets it.
        """
        queue, positions = self.evaluation.queue, self.bound.positions
        segment = 2 * p.number + (1 if p.quantity > 0 else 0)
        first, end = int(queue.start[segment]), int(queue.start[segment + 1])
        place = self.next_in_queue(first)
        while place < end:
            i = int(queue.order[place])
            of = int(positions.bucket[i])
            if (i in self.changed and self.held[i].quantity == 0) or self.apart[of]:
                self.passed[place] = place + 1
            elif self.bankrupt_now(of):
                self.passed[place] = place + 1
                self.out.add(of)
                self.passed_over(bucket, i, BELOW_ZERO)
            else:
                yield i
            place = self.next_in_queue(place + 1)

    def bankrupt_now(self, bucket: int) -> bool:
        """Return whether a bucket is below zero: as evaluated while nothing has touched it, else as it is now."""
        if bucket not in self.gained:
            return bool(self.evaluation.liquidation.state[bucket] == BANKRUPT)
        return not self.has(bucket, ZERO)

    def next_in_queue(self, place: int) -> int:
        """Return the first place from one on that is not passed over for good; the ways there are kept short."""
        found = place
        while found in self.passed:
            found = self.passed[found]
        while place != found:
            following = self.passed[place]
            self.passed[place] = found
            place = following
        return found

    def close_against(
        self, bucket: int, i: int, other: int, size: Fraction, price: Fraction, step: Step, lost: Fraction
    ) -> None:
        """Close some contracts of a position against those of another, which loses something by it."""
        side = -1 if self.holding(i).quantity > 0 else 1
        of = int(self.bound.positions.bucket[other])
        winner = self.holding(other)
        rules = self.plan.deleveraging
        assert rules is not None
        self.trade(bucket, i, Fill(side * size, price), (of, other), step.id, "deleveraged")
        number = winner.instrument
        if rules.fee:
            _, quantum = self.currency(of)
            due = abs(self.worth(number, size, price)) * rules.fee * winner.conversion
            fee = min(math.ceil(due / quantum), max(0, int(self.bucket(of).equity // quantum)))
            if fee > 0:
                self.pay_fee(of, fee, "deleveraging", self.symbol(number), "deleveraging.take.fee")
        held = size if winner.quantity > 0 else -size
        self.result.deleveraged.append(
            Deleveraged(self.name(of), self.symbol(number), held, price, self.name(bucket), step.id, lost)
        )
        layer = next((x for x in self.plan.layers if x.pays == "deleveraging"), None)
        if layer is not None and lost > 0:
            currency, _ = self.currency(bucket)
            self.result.draws.append((layer.name, currency, lost, layer.id, self.name(bucket)))
