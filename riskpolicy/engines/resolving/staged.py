"""Liquidation over time: cooldowns, parts, ramps and open auctions, from instant to instant."""

from __future__ import annotations

import math
from collections import ChainMap
from dataclasses import dataclass, replace
from fractions import Fraction

from riskpolicy.engines.core.exact import ZERO, Change, ExactBucket, ExactPosition
from riskpolicy.engines.core.standing import Standing, flagged, instant_of, standing_of
from riskpolicy.engines.liquidation import HEALTHY, LIQUIDATABLE
from riskpolicy.engines.margin import trigger_health
from riskpolicy.engines.resolving.books import DEFAULT_LOT
from riskpolicy.engines.resolving.losses import Losses
from riskpolicy.kernel.program import UNIT
from riskpolicy.plan.plan import Step


@dataclass(frozen=True, slots=True)
class Bid:
    """What somebody offers for contracts of buckets in an open auction; of one account, or None for anybody's."""

    instrument: int
    price: Fraction
    quantity: Fraction
    bidder: str
    account: str | None = None


class Staged(Losses):
    """What a bucket may close now, and when it may go on.

    A snapshot without an instant stands at 1970-01-01T00:00:00Z, so that what waits can be told from what has waited.
    """

    bids: tuple[Bid, ...] = ()

    def prepare(self) -> None:
        """Start the clock."""
        plan, tables = self.plan, self.bound.snapshot.tables
        self.instant = instant_of(self.bound.snapshot) or ZERO
        self.timed = plan.release is not None or any(s.cooldown or s.ramp or s.timeout for s in plan.steps)
        self.carried = self.timed and any("in_liquidation" in tables[name] for name in ("accounts", "positions"))
        #: The trigger's slopes, for `sound`; None where health may fall while a bucket loses contracts at the mark.
        t = plan.trigger
        slopes = float(t.of_equity), float(t.of_notional), float(t.of_maintenance), float(t.constant)
        self.slopes = slopes if t.bare and plan.tiers.ordered else None
        #: How buckets stand in the snapshot, at the beginning of their turn, and now.
        self.written: dict[int, Standing] = {}
        self.before: dict[int, Standing] = {}
        self.stands: dict[int, Standing] = {}
        self.resumes: dict[int, Fraction] = {}
        stayed = flagged(self.bound) if self.carried else None
        if stayed is not None:
            # Whoever was in liquidation and no longer is has been released.
            for bucket in (stayed & ~self.evaluation.liquidation.triggered).nonzero()[0].tolist():
                found = self.written[bucket] = standing_of(self.bound, bucket)
                self.stands[bucket] = self.released(found)

    def released(self, stands: Standing) -> Standing:
        """Return how a healthy bucket stands: it keeps nothing but a cooldown still to run."""
        until = stands.cooldown_until
        return Standing(cooldown_until=until if until is not None and until > self.instant else None)

    def begin(self, bucket: int) -> None:
        """Take up a bucket where it stood: in the snapshot, or after its turn before."""
        self.resumes.pop(bucket, None)
        # What stands before an auction goes on; what stands after it waits again once the auction is reached.
        self.auctioned.discard(bucket)
        found = self.stands.get(bucket)
        if found is None:
            found = self.written[bucket] = standing_of(self.bound, bucket) if self.carried else Standing()
        self.before[bucket] = found
        started = found.started if found.in_liquidation and found.started is not None else self.instant
        self.stands[bucket] = replace(found, in_liquidation=True, started=started)

    def finish(self, bucket: int) -> None:
        """Say how a bucket stands after its turn."""
        stands = self.stands.get(bucket)
        if stands is None:
            return
        if not self.holds(bucket) or self.state(self.bucket(bucket)) == HEALTHY:
            self.resumes.pop(bucket, None)
            self.stands[bucket] = self.released(stands)

    def wait(self, bucket: int, until: Fraction) -> None:
        """Let a bucket go on no earlier than at an instant."""
        self.resumes[bucket] = min(until, self.resumes.get(bucket, until))

    def lack(self, bucket: int) -> Fraction:
        """Return how much more balance would make a bucket healthy, at least zero; none of it is a guess.

        By the trigger, or by the release rule where the bucket is held until then: the margin that is short.
        """
        now = self.bucket(bucket)
        if self.state(now) == HEALTHY:
            return ZERO
        _, quantum = self.currency(bucket)
        trigger = self.plan.trigger
        moves = trigger.of_equity + trigger.of_wallet
        if self.plan.release is None and moves > 0:
            return max(ZERO, -trigger_health(trigger)(now) / moves, -now.equity)

        def heals(quanta: int) -> bool:
            balance = self.balance.get(bucket, ZERO) + quanta * quantum
            return self.state(ExactBucket(self.bound, bucket, Change(self.held, balance=balance))) == HEALTHY

        high = max(1, math.ceil((abs(now.equity) + now.maintenance_margin) / quantum))
        while not heals(high) and high < 2**80:
            high *= 2
        low = 0
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if heals(middle) else (middle, high)
        return high * quantum

    def allowed(self, bucket: int, p: ExactPosition, step: Step) -> Fraction:
        """Return the part of what a step would close that it may close now; waits are noted.

        Staged: `portion` of a position above `above` at first, nothing before the cooldown is over, then all. Ramped:
        what of the whole lack may be made good by now, less what was, as a part of what is lacking still.
        """
        if step.above is not None and step.cooldown is not None:
            until = self.before[bucket].cooldown_until
            if until is not None and self.instant < until:
                self.wait(bucket, until)
                return ZERO
            if p.notional <= step.above or (until is not None and self.before[bucket].in_liquidation):
                return Fraction(1)
            return step.portion
        if step.above is not None:
            return step.portion if p.notional > step.above else Fraction(1)
        if step.ramp is None:
            return Fraction(1)
        lack, stands = self.lack(bucket), self.stands[bucket]
        assert stands.started is not None
        whole = step.ramp.whole_below
        if lack <= 0 or (whole is not None and (lack < whole or p.notional * p.held.conversion < whole)):
            return Fraction(1)
        total = lack + stands.freed
        share = step.ramp.initial + (self.instant - stands.started) / step.ramp.duration
        return max(ZERO, (min(Fraction(1), share) * total - stands.freed) / lack)

    def sent(self, bucket: int, step: Step, lack: Fraction, allowed: Fraction) -> None:
        """Note what an order of a step has changed: the start of a cooldown, the margin made good."""
        stands = self.stands[bucket]
        if step.cooldown is not None and allowed < 1:
            until = self.instant + step.cooldown
            self.stands[bucket] = replace(stands, cooldown_until=until)
            self.wait(bucket, until)
        if step.ramp is not None:
            after = self.lack(bucket)
            freed = stands.freed + max(ZERO, lack - after)
            self.stands[bucket] = replace(stands, freed=freed)
            if allowed < 1 and after > 0:
                self.wait(bucket, self.more_at(step, after, freed, stands.started or ZERO))

    def more_at(self, step: Step, lack: Fraction, freed: Fraction, started: Fraction) -> Fraction:
        """Return the first whole second after this instant at which a ramp lets more be closed."""
        assert step.ramp is not None
        share = freed / (lack + freed) - step.ramp.initial
        return Fraction(math.floor(max(self.instant, started + share * step.ramp.duration)) + 1)

    def order_size(
        self, bucket: int, i: int, p: ExactPosition, step: Step, limit: Fraction | None, part: Fraction
    ) -> Fraction:
        """Return how many contracts a step's order for a position is for, of which it may close a part above zero."""
        whole = abs(p.quantity)
        if step.ramp is not None and part < 1:
            # In whole quanta, as a lack may be counted: what is left is then seen to be less.
            _, quantum = self.currency(bucket)
            return self.enough(bucket, i, p, step, limit, (1 - part) * self.lack(bucket) // quantum * quantum)
        size = whole if part >= 1 else min(whole, self.lots(p.number, whole * part))
        if step.until == "healthy":
            size = min(size, self.enough(bucket, i, p, step, limit))
        elif step.part is not None:
            size = min(size, self.lots(p.number, whole * step.part))
        return size

    def enough(
        self, bucket: int, i: int, p: ExactPosition, step: Step, limit: Fraction | None, lack: Fraction = ZERO
    ) -> Fraction:
        """Return the least size whose closing makes the bucket healthy, or leaves no more than a lack of margin.

        At what execution gives and with its fee. In whole lots, or in whole parts of the position where the step has a
        `portion`; all of it where nothing less does.
        """
        whole = abs(p.quantity)
        unit = self.plan.instruments.lot[p.number] or DEFAULT_LOT
        if step.part is not None:
            unit = self.lots(p.number, whole * step.part)

        def heals(units: int) -> bool:
            return self.state(self.supposed(bucket, i, min(whole, units * unit), step, limit, lack)) == HEALTHY

        low, high = 0, int(-(-whole // unit))
        if not heals(high):
            return whole
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if heals(middle) else (middle, high)
        return min(whole, high * unit)

    def supposed(
        self, bucket: int, i: int, size: Fraction, step: Step, limit: Fraction | None, more: Fraction
    ) -> ExactBucket:
        """Return the bucket as it would be after an order, to the quantum as it would be booked, with more money."""
        p, (_, quantum) = self.holding(i), self.currency(bucket)
        side = -1 if p.quantity > 0 else 1
        fills = self.execution.quote(self.symbol(p.instrument), side * size, p.mark_price, limit)
        after, number, balance = p, p.instrument, self.balance.get(bucket, ZERO) + more
        equity = self.bucket(bucket).equity if step.fee_within_surplus else ZERO
        for fill in fills:
            paid = round(self.worth(number, fill.quantity, fill.price) * p.conversion / quantum) * quantum
            equity += self.worth(number, fill.quantity, p.mark_price) * p.conversion - paid
            fee = max(0, self.fee_quanta(bucket, number, fill, step, equity)) * quantum
            equity -= fee
            balance += self.worth(number, fill.quantity, p.entry_price) * p.conversion - paid - fee
            after = after.of_size(after.quantity + fill.quantity)
        return ExactBucket(self.bound, bucket, Change(ChainMap({i: after}, self.held), balance=balance))

    def sound(self, bucket: int) -> bool:
        """Return whether bounds alone show that a bucket which was healthy at first still is; False says nothing.

        A bucket only loses contracts, and with them notional and, where rates rise with size, maintenance margin: with
        what these were, and the equity of now, its health is not overrated.
        """
        if self.slopes is None or bucket in self.before or bucket in self.forced:
            return False
        if self.evaluation.liquidation.triggered[bucket]:
            return False
        of_equity, of_notional, of_due, constant = self.slopes
        m, (equity, doubt) = self.evaluation.margins, self.equity_about(bucket)
        if equity <= doubt:
            return False
        gains, costs = of_equity * equity, of_due * float(m.bucket_maintenance[bucket])
        spread = of_equity * doubt - of_due * float(m.maintenance_doubt[bucket])
        if of_notional:
            costs += of_notional * float(m.bucket_notional[bucket])
            spread -= of_notional * float(m.pnl_doubt[bucket])
        return gains + costs + constant > spread + 32 * UNIT * (gains - costs + abs(constant))

    def held_on(self, bucket: ExactBucket) -> int:
        """Return LIQUIDATABLE where a bucket that came into liquidation is not released yet, else HEALTHY."""
        release, b = self.plan.release, bucket.bucket
        if release is None or not (b in self.stands and self.stands[b].in_liquidation):
            return HEALTHY
        if not any(p.quantity for p in bucket.positions):
            return HEALTHY
        return HEALTHY if release.program.exact(self.bucket_row(bucket)) else LIQUIDATABLE
