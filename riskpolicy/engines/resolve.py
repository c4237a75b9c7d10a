"""The conductor of a resolution: every bucket that is liquidated, step by step, until nothing more happens.

Contracts go by the liquidation steps, money by the waterfall. Both are booked as they move: contracts exactly, money in
whole quanta, and every event sums to zero. Marks stay as they are throughout.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from riskpolicy.engines.core.bound import CROSS
from riskpolicy.engines.core.draw import Drawn, Payers, draw, equal_parts
from riskpolicy.engines.core.events import Event, apply_event
from riskpolicy.engines.core.exact import Change, ExactBucket, ExactPosition, Holding, holding
from riskpolicy.engines.core.ledger import Ledger
from riskpolicy.engines.core.reasons import Reason
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.engines.execution import BookLevels, Execution, Fill, Impact
from riskpolicy.engines.liquidation import BANKRUPT, HEALTHY, LIQUIDATABLE
from riskpolicy.errors import Finding, SnapshotError
from riskpolicy.numbers import fraction_text, sqrt
from riskpolicy.plan.plan import Layer, Step
from riskpolicy.snapshot.columns import Ids
from riskpolicy.snapshot.edit import with_label, with_numbers, with_row, without_rows
from riskpolicy.snapshot.snapshot import Snapshot

MARKET, FEES, RESIDUAL = "@market", "@fees", "@residual"
#: What contracts are counted in where the ruleset declares no lot.
DEFAULT_LOT = Fraction(1, 10**8)


@dataclass(frozen=True, slots=True)
class Done:
    """One thing that happened to a bucket: contracts signed, above zero bought; `amount` is money in its currency."""

    account: str
    step: str
    what: str
    instrument: str | None = None
    quantity: Fraction | None = None
    price: Fraction | None = None
    amount: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Deleveraged:
    """A position closed, whole or in part, against a bankrupt one: its contracts are signed as they were held."""

    account: str
    instrument: str
    quantity: Fraction
    price: Fraction
    against: str
    rule: str
    lost: Fraction


@dataclass
class Resolution:
    """What happened, in order; who paid; what nobody paid; and the snapshot after it, which can be evaluated again."""

    steps: list[Done] = field(default_factory=list)
    draws: list[tuple[str, str, Fraction, str, str]] = field(default_factory=list)
    deleveraged: list[Deleveraged] = field(default_factory=list)
    residual: dict[str, Fraction] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=lambda: Ledger({}))
    after: Snapshot | None = None
    waiting: list[str] = field(default_factory=list)

    def taken_from(self, account: str | int) -> list[Deleveraged]:
        """Return what deleveraging took from an account."""
        return [d for d in self.deleveraged if d.account == str(account)]

    def explain(self, account: str | int) -> Reason:
        """Return the whole chain of one account as reasons."""
        name = str(account)
        lines = [Reason(_sentence(done), done.step) for done in self.steps if done.account == name]
        lines += [
            Reason(f"{layer} pays {fraction_text(amount)} {currency}", rule)
            for layer, currency, amount, rule, of in self.draws
            if of == name
        ]
        lines += [
            Reason(
                f"deleveraged: {fraction_text(abs(d.quantity))} {d.instrument} closed at {fraction_text(d.price)} "
                f"against {d.against}, {fraction_text(d.lost)} less than at the mark",
                d.rule,
            )
            for d in self.taken_from(name)
        ]
        head = (
            f"account {name}: {len(lines)} event{'' if len(lines) == 1 else 's'}"
            if lines
            else f"account {name}: nothing"
        )
        return Reason(head, None, tuple(lines))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON: money and prices as decimal text, ledger amounts as quanta."""
        return {
            "steps": [_plain_step(done) for done in self.steps],
            "draws": [
                {"layer": layer, "currency": currency, "amount": _text(amount), "rule": rule, "account": account}
                for layer, currency, amount, rule, account in self.draws
            ],
            "deleveraged": [
                {
                    "account": d.account,
                    "instrument": d.instrument,
                    "quantity": float(d.quantity),
                    "price": float(d.price),
                    "against": d.against,
                    "lost": _text(d.lost),
                    "rule": d.rule,
                }
                for d in self.deleveraged
            ],
            "residual": {currency: _text(amount) for currency, amount in self.residual.items()},
            "waiting": self.waiting,
            "ledger": list(self.ledger.rows()),
        }


def _text(value: Fraction) -> str:
    return fraction_text(value).lstrip("~")


def _plain_step(done: Done) -> dict[str, Any]:
    row: dict[str, Any] = {"account": done.account, "rule": done.step, "what": done.what, "instrument": done.instrument}
    row["quantity"] = None if done.quantity is None else float(done.quantity)
    row["price"] = None if done.price is None else float(done.price)
    row["amount"] = None if done.amount is None else _text(done.amount)
    return row


def _sentence(done: Done) -> str:
    parts = [done.what]
    if done.quantity is not None and done.instrument is not None:
        verb = "bought" if done.quantity > 0 else "sold"
        parts.append(f"{verb} {fraction_text(abs(done.quantity))} {done.instrument}")
    if done.price is not None:
        parts.append(f"at {fraction_text(done.price)}")
    if done.amount is not None:
        parts.append(f"{fraction_text(done.amount)}")
    return " ".join(parts)


def resolve_once(evaluation: Evaluation, execution: Execution) -> Resolution:
    """Liquidate every bucket that is due, in the ruleset's order, to a fixed point at one instant.

    SnapshotError where a step or layer needs a fund whose balance is not in the snapshot.
    """
    return _Resolving(evaluation, execution).run()


class _Resolving:
    def __init__(self, evaluation: Evaluation, execution: Execution, forced: frozenset[int] = frozenset()) -> None:
        self.evaluation = evaluation
        self.forced = forced
        self.bound = evaluation.bound
        self.plan = evaluation.plan
        self.execution = execution
        quantum = dict(zip(self.plan.currencies, self.plan.requirements.quantum, strict=True))
        self.result = Resolution(ledger=Ledger(quantum))
        self.held: dict[int, Holding] = {}
        self.balance: dict[int, Fraction] = {}
        self.opened: set[int] = set()
        self.cancelled: set[int] = set()
        self.inventory: dict[tuple[int, int], Fraction] = {}
        self.assigned: dict[tuple[str, int], Fraction] = {}
        self.shared: dict[int, Fraction] = {}
        self.cursor: dict[int, int] = {}
        self.now: dict[int, ExactBucket] = {}
        self.payers = self._payers()

    def _payers(self) -> Payers:
        """Return what funds have, in quanta, rounded down."""
        known: list[int | None] = []
        used = {x.fund for x in self.plan.layers if x.fund >= 0} | {s.by for s in self.plan.steps if s.by >= 0}
        triggered = bool(self.evaluation.liquidation.triggered.any())
        given = self.bound.snapshot.numbers("funds", "balance")
        ids = self.bound.snapshot.tables["funds"].get("fund")
        rows = {str(ids.label(r)): r for r in range(len(ids))} if ids is not None else {}  # type: ignore[union-attr]
        findings = []
        for number, fund in enumerate(self.plan.funds):
            row = rows.get(fund.id)
            exact = None if row is None or given is None else given.exact(row)
            if exact is None:
                known.append(None)
                if number in used and triggered and self._needed(number):
                    hint = f"add a row to `funds`: fund {fund.id}, its balance"
                    findings.append(
                        Finding("missing_value", f"a resolution needs the balance of fund `{fund.id}`", hint)
                    )
            else:
                known.append(int(exact // self.plan.requirements.quantum[fund.currency]))
        if findings:
            raise SnapshotError(findings)
        return Payers(known, list(known))

    def _needed(self, fund: int) -> bool:
        """Return whether a fund's currency is that of a bucket in liquidation."""
        buckets = np.flatnonzero(self.evaluation.liquidation.triggered)
        return bool((self.bound.buckets.currency[buckets] == self.plan.funds[fund].currency).any())

    def run(self) -> Resolution:
        """Liquidate in order; then again whoever is due because of it."""
        liquidation = self.evaluation.liquidation
        due = [int(b) for b in np.flatnonzero(liquidation.triggered)]
        due.sort(key=lambda b: int(liquidation.rank[b]))
        due += sorted(self.forced - set(due))
        seen: set[int] = set()
        while due:
            for bucket in due:
                seen.add(bucket)
                self._liquidate(bucket)
            touched = sorted(({int(self.bound.positions.bucket[i]) for i in self.held} | set(self.shared)) - seen)
            due = [b for b in touched if self._state(self.bucket(b)) != HEALTHY]
        for bucket in sorted(self.opened):
            # Somebody's contracts may have gone as another's counterparty, after its own turn.
            if not self._left(bucket):
                self._settle(bucket)
        self.result.after = self._after()
        self.result.waiting = sorted({self._name(b) for b in seen if self._left(b) and self._state(self.bucket(b))})
        return self.result

    # What is known of a bucket now.

    def bucket(self, bucket: int) -> ExactBucket:
        """Return a bucket as it is now; kept until something of it changes."""
        if bucket not in self.now:
            change = Change(self.held, balance=self.balance.get(bucket, Fraction(0)))
            self.now[bucket] = ExactBucket(self.bound, bucket, change)
        return self.now[bucket]

    def _add(self, bucket: int, amount: Fraction) -> None:
        """Change the balance behind a bucket."""
        self.balance[bucket] = self.balance.get(bucket, Fraction(0)) + amount
        self.now.pop(bucket, None)

    def _state(self, bucket: ExactBucket) -> int:
        if bucket.equity < 0:
            return BANKRUPT
        if bucket.bucket in self.forced and any(p.quantity for p in bucket.positions):
            return LIQUIDATABLE
        return LIQUIDATABLE if self.plan.trigger.rule.program.exact(bucket.row()) else HEALTHY

    def _left(self, bucket: int) -> list[tuple[int, ExactPosition]]:
        """Return what is still held, the largest notional first, then by instrument."""
        now = self.bucket(bucket)
        rows = [(i, p) for i, p in zip(now.members, now.positions, strict=True) if p.quantity != 0]
        return sorted(rows, key=lambda row: (-row[1].notional * row[1].held.conversion, row[1].number, row[0]))

    def _name(self, bucket: int) -> str:
        return str(self.bound.account(int(self.bound.buckets.account[bucket])))

    def _symbol(self, number: int) -> str:
        return self.plan.instruments.symbols[number]

    def _currency(self, bucket: int) -> tuple[str, Fraction]:
        number = int(self.bound.buckets.currency[bucket])
        return self.plan.currencies[number], self.plan.requirements.quantum[number]

    def _open(self, bucket: int) -> None:
        """Enter a bucket's cash in whole quanta, half to even; the difference is less than a quantum."""
        if bucket in self.opened:
            return
        self.opened.add(bucket)
        _, quantum = self._currency(bucket)
        now = self.bucket(bucket)
        cash = (
            now.wallet_balance
            + now.accrued_funding
            - sum(
                (self._worth(p.number, p.quantity, p.entry_price) * p.held.conversion for p in now.positions),
                Fraction(0),
            )
        )
        self._add(bucket, round(cash / quantum) * quantum - cash)

    def _worth(self, number: int, quantity: Fraction, price: Fraction) -> Fraction:
        """Return the signed value whose change is profit: below zero for what is owed."""
        size = quantity * self.plan.instruments.contract_size_exact[number]
        return -size / price if self.plan.instruments.inverse[number] else size * price

    # The steps.

    def _liquidate(self, bucket: int) -> None:
        self._open(bucket)
        for step in self.plan.steps:
            now = self.bucket(bucket)
            state = self._state(now)
            if state == HEALTHY:
                break
            if step.when is not None and not self._open_step(step, now, state):
                continue
            getattr(self, f"_{step.do}")(bucket, step)
        if not self._left(bucket):
            self._settle(bucket)

    def _open_step(self, step: Step, now: ExactBucket, state: int) -> bool:
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
            self._note(bucket, step, f"{len(gone)} order{'s' if len(gone) > 1 else ''} cancelled")

    def _market_order(self, bucket: int, step: Step) -> None:
        for i, p in self._left(bucket):
            size = abs(p.quantity)
            if step.above is not None and p.notional > step.above:
                size = min(size, self._lots(p.number, size * step.portion))
            if step.until == "healthy":
                size = min(size, self._enough(bucket, i, p, step, None))
            self._sell(bucket, i, size, step, None)
            if self._state(self.bucket(bucket)) == HEALTHY and self._left(bucket):
                break

    def _immediate_or_cancel(self, bucket: int, step: Step) -> None:
        for i, p in self._left(bucket):
            limit = self._price(bucket, i, step.price)
            size = abs(p.quantity)
            if step.until == "healthy":
                size = self._enough(bucket, i, p, step, limit)
            self._sell(bucket, i, size, step, limit)
            if step.until == "healthy" and self._state(self.bucket(bucket)) == HEALTHY:
                break

    def _enough(self, bucket: int, i: int, p: ExactPosition, step: Step, limit: Fraction | None) -> Fraction:
        """Return the fewest lots whose closing, at what execution gives and with its fee, makes the bucket healthy."""
        lot = self.plan.instruments.lot[p.number] or DEFAULT_LOT
        most = -(-abs(p.quantity) // lot)

        def heals(lots: int) -> bool:
            size = min(abs(p.quantity), lots * lot)
            return self._state(self._supposed(bucket, i, size, step, limit)) == HEALTHY

        low, high = 0, int(most)
        if not heals(high):
            return abs(p.quantity)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if heals(middle) else (middle, high)
        return min(abs(p.quantity), high * lot)

    def _supposed(self, bucket: int, i: int, size: Fraction, step: Step, limit: Fraction | None) -> ExactBucket:
        """Return the bucket as it would be after an order, without sending it."""
        p = self._holding(i)
        side = -1 if p.quantity > 0 else 1
        fills = self.execution.quote(self._symbol(p.instrument), side * size, p.mark_price, limit)
        after, gained = p, Fraction(0)
        for fill in fills:
            gained -= self._fee(p.instrument, fill, step) * p.conversion
            gained += self._realized(after, fill) * p.conversion
            after = replace(after, quantity=after.quantity + fill.quantity)
        balance = self.balance.get(bucket, Fraction(0)) + gained
        return ExactBucket(self.bound, bucket, Change({**self.held, i: after}, balance=balance))

    def _lower_tier(self, bucket: int, step: Step) -> None:
        """Close down to the cap of a lower tier, each position all at once or not at all."""
        for i, p in self._left(bucket):
            size = self._above_tier(p, step)
            if size <= 0:
                continue
            limit = self._price(bucket, i, step.price)
            side = -1 if p.quantity > 0 else 1
            quoted = self.execution.quote(self._symbol(p.number), side * size, p.mark_price, limit)
            if sum((abs(f.quantity) for f in quoted), Fraction(0)) < size:
                self._note(bucket, step, f"{self._symbol(p.number)}: the book does not take all of it")
                continue
            self._sell(bucket, i, size, step, limit)
            if self._state(self.bucket(bucket)) == HEALTHY:
                break

    def _above_tier(self, p: ExactPosition, step: Step) -> Fraction:
        """Return how many contracts are above the cap of the tier that a step leads to, in whole lots."""
        tiers = self.plan.tiers
        first = int(tiers.start[p.table])
        now = next(t for t in range(first, int(tiers.start[p.table + 1])) if tiers.exact[t] is p.tier)
        down = {"one": now - 1, "two": now - 2, "lowest": first}[step.tiers]
        cap = tiers.exact[max(first, down)].cap
        if now == first or cap is None:
            return Fraction(0)
        kept = cap / (p.key / abs(p.quantity))
        return min(abs(p.quantity), self._lots(p.number, abs(p.quantity) - kept))

    def _assign(self, bucket: int, step: Step) -> None:
        """Share what is left out to liquidity providers: equal parts, none beyond its capacity."""
        for i, p in self._left(bucket):
            price = self._price(bucket, i, step.price) or p.mark_price
            lot = self.plan.instruments.lot[p.number] or DEFAULT_LOT
            capacity = self._capacities(p.number)
            names = sorted(capacity)
            parts = equal_parts([int(capacity[n] / lot) for n in names], int(abs(p.quantity) / lot))
            side = -1 if p.quantity > 0 else 1
            for name, lots in zip(names, parts, strict=True):
                if lots:
                    self.assigned[name, p.number] = self.assigned.get((name, p.number), Fraction(0)) + lots * lot
                    self._trade(bucket, i, Fill(side * lots * lot, price), f"@provider:{name}", step.id, "assigned")

    def _capacities(self, number: int) -> dict[str, Fraction]:
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
        for i, p in self._left(bucket):
            price = self._price(bucket, i, step.price) or p.mark_price
            size = self._capacity(bucket, p, price, step)
            if size <= 0:
                self._note(bucket, step, f"{name[1:]} can not take {self._symbol(p.number)}")
                continue
            side = -1 if p.quantity > 0 else 1
            self._trade(bucket, i, Fill(side * size, price), name, step.id, f"takeover by {name[1:]}")
            self.inventory[step.by, p.number] = self.inventory.get((step.by, p.number), Fraction(0)) - side * size
            self._mark_inventory(bucket, p, Fill(side * size, price), step, name)
        if step.leftover == "fund" and not self._left(bucket):
            self._hand_over(bucket, step, name)

    def _capacity(self, bucket: int, p: ExactPosition, price: Fraction, step: Step) -> Fraction:
        """Return how many contracts a fund can take: by its loss at the mark, and by the cap on its net notional."""
        _, quantum = self._currency(bucket)
        has = Fraction(self.payers.balance[step.by] or 0) * quantum
        size = abs(p.quantity)
        one = Fraction(1 if p.quantity > 0 else -1)
        loss = self._worth(p.number, one, price) - self._worth(p.number, one, p.mark_price)
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

    def _mark_inventory(self, bucket: int, p: ExactPosition, fill: Fill, step: Step, name: str) -> None:
        """Take a fund's loss on what it took, at the mark, from its balance; add its gain."""
        currency, quantum = self._currency(bucket)
        taken = -fill.quantity
        gain = self._worth(p.number, taken, p.mark_price) - self._worth(p.number, taken, fill.price)
        quanta = math.floor(gain / quantum)
        has = self.payers.balance[step.by]
        self.payers.balance[step.by] = (has or 0) + quanta
        if quanta < 0:
            layer = next((x for x in self.plan.layers if x.fund == step.by), None)
            rule = step.id if layer is None else layer.id
            self.result.draws.append(
                (name[1:] if layer is None else layer.name, currency, -quanta * quantum, rule, self._name(bucket))
            )

    def _hand_over(self, bucket: int, step: Step, name: str) -> None:
        """Give what margin is left to the fund."""
        currency, quantum = self._currency(bucket)
        left = int(self.bucket(bucket).equity // quantum)
        if left > 0:
            self.result.ledger.book(
                step.id, "leftover margin", [(self._name(bucket), currency, -left), (name, currency, left)]
            )
            self._add(bucket, -left * quantum)
            self.payers.balance[step.by] = (self.payers.balance[step.by] or 0) + left
            self._note(bucket, step, "leftover margin to the fund", amount=left * quantum)

    def _deleverage(self, bucket: int, step: Step) -> None:
        rules = self.plan.deleveraging
        if rules is None:
            return
        for i, p in self._left(bucket):
            price = self._price(bucket, i, rules.price) or p.mark_price
            left = abs(p.quantity)
            for other in self._queue(p):
                if left == 0:
                    break
                winner = self._holding(other)
                if self.bound.positions.account[other] == self.bound.buckets.account[bucket]:
                    continue
                size = min(left, abs(winner.quantity))
                if not self._bears(other, size, price):
                    name = self._name(int(self.bound.positions.bucket[other]))
                    self._note(bucket, step, f"{name} skipped: bankruptcy prices do not overlap")
                    continue
                self._close_against(bucket, i, other, size, price, step)
                left -= size

    def _bears(self, other: int, size: Fraction, price: Fraction) -> bool:
        """Return whether a bucket is not below zero after some of its contracts are closed at a price."""
        winner, of = self._holding(other), int(self.bound.positions.bucket[other])
        held = size if winner.quantity > 0 else -size
        lost = self._worth(winner.instrument, held, winner.mark_price) - self._worth(winner.instrument, held, price)
        return lost <= 0 or self.bucket(of).equity >= lost * winner.conversion

    def _queue(self, p: ExactPosition) -> Iterator[int]:
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

    def _close_against(self, bucket: int, i: int, other: int, size: Fraction, price: Fraction, step: Step) -> None:
        side = -1 if self._holding(i).quantity > 0 else 1
        of = int(self.bound.positions.bucket[other])
        self._open(of)
        winner = self._holding(other)
        rules = self.plan.deleveraging
        assert rules is not None
        self._trade(bucket, i, Fill(side * size, price), (of, other), step.id, "deleveraged")
        number = winner.instrument
        held = size if winner.quantity > 0 else -size
        lost = (self._worth(number, held, winner.mark_price) - self._worth(number, held, price)) * winner.conversion
        self.result.deleveraged.append(
            Deleveraged(self._name(of), self._symbol(number), held, price, self._name(bucket), step.id, lost)
        )
        layer = next((x for x in self.plan.layers if x.pays == "deleveraging"), None)
        if layer is not None and lost > 0:
            currency, _ = self._currency(bucket)
            self.result.draws.append((layer.name, currency, lost, layer.id, self._name(bucket)))

    # Prices and money.

    def _holding(self, i: int) -> Holding:
        if i in self.held:
            return self.held[i]
        return holding(self.bound, i, self.bound.exact_wallet(int(self.bound.positions.bucket[i])))

    def _price(self, bucket: int, i: int, word: str | None) -> Fraction | None:
        """Return the price that a word means for a position now; None for any price."""
        p = self._holding(i)
        if word == "mark_price":
            return p.mark_price
        if word == "entry_price":
            return p.entry_price
        if word in ("oracle_price", "previous_mark"):
            row = int(self.bound.market_row[p.instrument])
            given = self.bound.snapshot.numbers("markets", word)
            found = None if given is None else given.exact(row)
            if found is None:
                message = f"a resolution needs `{word}` of {self._symbol(p.instrument)}"
                raise SnapshotError(Finding("missing_value", message, "add the column to `markets`"))
            return found
        if word != "bankruptcy_price":
            return None
        now = self.bucket(bucket)
        share = Fraction(1)
        position = now.positions[now.members.index(i)]
        if len(self._left(bucket)) > 1 and self.plan.requirements.bankruptcy != "account":
            of_maintenance = self.plan.requirements.bankruptcy == "maintenance"
            total = now.maintenance_margin if of_maintenance else now.notional
            own = position.maintenance_margin if of_maintenance else position.notional
            share = own * p.conversion / total if total else Fraction(1)
        gone = now.equity * share / p.conversion
        size = position.size
        if position.inverse:
            x = 1 / p.mark_price + gone / size
            return 1 / x if x > 0 else None
        price = p.mark_price - gone / size
        return price if price > 0 else None

    def _lots(self, number: int, size: Fraction) -> Fraction:
        """Return a size rounded up to whole lots."""
        lot = self.plan.instruments.lot[number] or DEFAULT_LOT
        return -(-size // lot) * lot

    def _sell(self, bucket: int, i: int, size: Fraction, step: Step, limit: Fraction | None) -> None:
        """Send an order that closes some contracts, and book its fills and fees."""
        p = self._holding(i)
        side, symbol = (-1 if p.quantity > 0 else 1), self._symbol(p.instrument)
        fills = self.execution.quote(symbol, side * size, p.mark_price, limit)
        self.execution.take(symbol, fills)
        for fill in fills:
            self._trade(bucket, i, fill, MARKET, step.id, step.do.replace("_", " "))
            self._charge(bucket, p.instrument, fill, step)
        if not fills:
            self._note(bucket, step, f"nothing filled of {symbol}")

    def _charge(self, bucket: int, number: int, fill: Fill, step: Step) -> None:
        currency, quantum = self._currency(bucket)
        due = self._fee(number, fill, step) * self.bound.conversion_of(bucket, number)
        if step.fee_within_surplus:
            due = min(due, max(Fraction(0), self.bucket(bucket).equity))
            due = due // quantum * quantum
        fee = math.ceil(due / quantum)
        if fee <= 0:
            return
        to = FEES if step.fee_to < 0 else f"@{self.plan.funds[step.fee_to].id}"
        self.result.ledger.book(step.id, "fee", [(self._name(bucket), currency, -fee), (to, currency, fee)])
        self._add(bucket, -fee * quantum)
        if step.fee_to >= 0:
            self.payers.balance[step.fee_to] = (self.payers.balance[step.fee_to] or 0) + fee
        self._note(bucket, step, "fee", amount=fee * quantum)

    def _fee(self, number: int, fill: Fill, step: Step) -> Fraction:
        price = self.bound.exact_mark(number) if step.fee_on_mark else fill.price
        return abs(self._worth(number, fill.quantity, price)) * step.fee

    def _realized(self, held: Holding, fill: Fill) -> Fraction:
        """Return the profit of closing contracts at a fill, in settlement money."""
        return self._worth(held.instrument, -fill.quantity, fill.price) - self._worth(
            held.instrument, -fill.quantity, held.entry_price
        )

    def _trade(self, bucket: int, i: int, fill: Fill, with_: str | tuple[int, int], rule: str, what: str) -> None:
        """Book a trade of a position with an outside party or another position: contracts and their quote value."""
        p = self._holding(i)
        currency, quantum = self._currency(bucket)
        symbol, account = self._symbol(p.instrument), self._name(bucket)
        # The account pays the worth of what it buys, in whole quanta; the other side gets the same.
        paid = round(self._worth(p.instrument, fill.quantity, fill.price) * p.conversion / quantum)
        other = with_ if isinstance(with_, str) else self._name(with_[0])
        contracts = [(account, symbol, fill.quantity), (other, symbol, -fill.quantity)]
        self.result.ledger.book(rule, what, [(account, currency, -paid), (other, currency, paid)], contracts)
        self._moved(bucket, i, fill.quantity, -paid * quantum)
        if not isinstance(with_, str):
            self._moved(with_[0], with_[1], -fill.quantity, paid * quantum)
        amount = None
        self.result.steps.append(Done(account, rule, what, symbol, fill.quantity, fill.price, amount))

    def _moved(self, bucket: int, i: int, quantity: Fraction, cash: Fraction) -> None:
        """Change a position that is being closed, and the balance by its cash and the entry value that it gives up."""
        p = self._holding(i)
        released = self._worth(p.instrument, -quantity, p.entry_price) * p.conversion
        self._add(bucket, cash - released)
        self.held[i] = replace(p, quantity=p.quantity + quantity)

    def _settle(self, bucket: int) -> None:
        """Ask the waterfall for what an empty bucket lacks."""
        currency, quantum = self._currency(bucket)
        now = self.bucket(bucket)
        if now.equity >= 0:
            return
        number = int(self.bound.buckets.currency[bucket])
        deficit = math.ceil(-now.equity / quantum)

        def opened(layer: Layer) -> bool:
            if layer.when is None:
                return True
            row = {n: now.row()[n] for n in layer.when.program.inputs if n != "state"}
            return bool(layer.when.program.exact({**row, "state": Fraction(BANKRUPT)}))

        def of_currency(fund: int) -> bool:
            return self.plan.funds[fund].currency == number

        for drawn in draw(self.plan.layers, deficit, self.payers, quantum, of_currency, opened):
            self._paid(bucket, drawn, currency, quantum)

    def _paid(self, bucket: int, drawn: Drawn, currency: str, quantum: Fraction) -> None:
        layer, account = drawn.layer, self._name(bucket)
        if layer.pays == "socialization":
            self._socialize(bucket, drawn, currency, quantum)
            return
        payer = RESIDUAL if layer.pays == "residual" else f"@{self.plan.funds[layer.fund].id}"
        money = [(payer, currency, -drawn.amount), (account, currency, drawn.amount)]
        self.result.ledger.book(layer.id, f"{layer.name} pays", money)
        self._add(bucket, drawn.amount * quantum)
        amount = drawn.amount * quantum
        self.result.draws.append((layer.name, currency, amount, layer.id, account))
        if layer.pays == "residual":
            self.result.residual[currency] = self.result.residual.get(currency, Fraction(0)) + amount

    def _socialize(self, bucket: int, drawn: Drawn, currency: str, quantum: Fraction) -> None:
        """Let the holders of the bucket's markets pay: so much a contract, on both sides, or by their profit.

        Whole quanta, in proportion; a rest goes one by one to the largest shares, then by position.
        """
        layer, account = drawn.layer, self._name(bucket)
        markets = {int(self.bound.positions.instrument[i]) for i in self.bound.members(bucket)}
        p = self.bound.positions
        payers, weights = [], []
        for i in np.flatnonzero(np.isin(p.instrument, sorted(markets)) & (p.quantity != 0)).tolist():
            held, of = self._holding(i), int(p.bucket[i])
            if of == bucket or held.quantity == 0 or self._currency(of)[0] != currency:
                continue
            weight = abs(held.quantity) * self.plan.instruments.contract_size_exact[held.instrument]
            if layer.by_profit:
                now = self._worth(held.instrument, held.quantity, held.mark_price)
                weight = max(Fraction(0), now - self._worth(held.instrument, held.quantity, held.entry_price))
            payers.append(of)
            weights.append(weight)
        total = sum(weights, Fraction(0))
        parts = [int(drawn.amount * w / total) for w in weights] if total else []
        left = drawn.amount - sum(parts)
        if not total:
            self._paid(bucket, Drawn(replace(layer, pays="residual"), drawn.amount), currency, quantum)
            return
        for k in sorted(range(len(parts)), key=lambda k: (-weights[k], k))[:left]:
            parts[k] += 1
        money = [(self._name(of), currency, -part) for of, part in zip(payers, parts, strict=True)]
        self.result.ledger.book(layer.id, f"{layer.name}: socialized", [*money, (account, currency, drawn.amount)])
        for of, part in zip(payers, parts, strict=True):
            self._open(of)
            self._add(of, -part * quantum)
            self.shared[of] = self.shared.get(of, Fraction(0)) + part * quantum
            self.result.steps.append(Done(self._name(of), layer.id, "pays its share of a loss", amount=part * quantum))
        self._add(bucket, drawn.amount * quantum)
        self.result.draws.append((layer.name, currency, drawn.amount * quantum, layer.id, account))

    def _note(self, bucket: int, step: Step, what: str, amount: Fraction | None = None) -> None:
        self.result.steps.append(Done(self._name(bucket), step.id, what, amount=amount))

    # The snapshot after.

    def _after(self) -> Snapshot:
        bound = self.bound
        snapshot = bound.snapshot
        p = bound.positions
        rows = {p.row_of(i): held for i, held in self.held.items()}
        if rows:
            snapshot = with_numbers(snapshot, "positions", "quantity", {r: h.quantity for r, h in rows.items()})
        snapshot = self._with_balances(snapshot)
        funds = snapshot.tables["funds"].get("fund")
        balances = {}
        for row in range(snapshot.rows["funds"]):
            number = next(k for k, f in enumerate(self.plan.funds) if f.id == str(funds.label(row)))  # type: ignore[union-attr]
            quanta, opening = self.payers.balance[number], self.payers.opening[number]
            if quanta is not None and quanta != opening:
                balances[row] = quanta * self.plan.requirements.quantum[self.plan.funds[number].currency]
        if balances:
            snapshot = with_numbers(snapshot, "funds", "balance", balances)
        if self.cancelled:
            snapshot = without_rows(snapshot, "orders", self.cancelled)
        return self._with_outside(snapshot)

    def _with_balances(self, snapshot: Snapshot) -> Snapshot:
        cross: dict[int, Fraction] = {}
        isolated: dict[int, Fraction] = {}
        for bucket, change in self.balance.items():
            if not change:
                continue
            b = self.bound.buckets
            wallet = self.bound.exact_wallet(bucket) + change
            if b.instrument[bucket] != CROSS:
                isolated[int(b.row[bucket])] = wallet
            elif self.plan.collateral is None:
                cross[int(b.row[bucket])] = wallet
            else:
                cross |= self._in_cash(bucket, change)
        if cross:
            snapshot = with_numbers(snapshot, "accounts", "balance", cross)
        return with_numbers(snapshot, "positions", "isolated_margin", isolated) if isolated else snapshot

    def _in_cash(self, bucket: int, change: Fraction) -> dict[int, Fraction]:
        """Return the row of an account's cash in the bucket's currency with the change in it."""
        owners, named = (
            self.bound.snapshot.ids("accounts", "account").codes,
            self.bound.snapshot.ids("accounts", "currency"),
        )
        balance = self.bound.snapshot.numbers("accounts", "balance")
        currency, _ = self._currency(bucket)
        for row in np.flatnonzero(owners == self.bound.buckets.account[bucket]).tolist():
            if str(named.label(row)) == currency and balance is not None:
                return {row: (balance.exact(row) or Fraction(0)) + change}
        message = f"account `{self._name(bucket)}` has no balance in {currency} to book to"
        raise SnapshotError(Finding("unknown_account", message, "add a row to `accounts`, 0 if there is none"))

    def _outside(self) -> tuple[dict[tuple[str, int], Fraction], dict[tuple[str, str], Fraction]]:
        """Return what outside parties took: contracts by instrument, and money by currency, contracts at the mark."""
        contracts: dict[tuple[str, int], Fraction] = {}
        money: dict[tuple[str, str], Fraction] = {}
        funds = {f"@{fund.id}" for fund in self.plan.funds}
        instruments = self.plan.instruments
        for entry in self.result.ledger.entries:
            if not entry.account.startswith("@"):
                continue
            if entry.contracts is not None and entry.instrument is not None:
                number = instruments.number[entry.instrument]
                key = (entry.account, number)
                contracts[key] = contracts.get(key, Fraction(0)) + entry.contracts
                currency, amount = self.plan.currencies[int(instruments.currency[number])], Fraction(0)
                amount = self._worth(number, entry.contracts, self.bound.exact_mark(number))
            else:
                assert entry.currency is not None
                currency, amount = entry.currency, (entry.amount or 0) * self.result.ledger.quantum[entry.currency]
            if entry.account not in funds:
                # A fund's money is its balance.
                money[entry.account, currency] = money.get((entry.account, currency), Fraction(0)) + amount
        return contracts, money

    def _with_outside(self, snapshot: Snapshot) -> Snapshot:
        """Add what outside parties took, entered at the mark, to accounts of their own, which are never margined."""
        contracts, money = self._outside()
        settled = {(name, int(self.plan.instruments.currency[n])): Fraction(0) for name, n in contracts}
        wanted = {(name, self.plan.currencies[c]): x for (name, c), x in settled.items()} | money
        for (name, currency), amount in sorted(wanted.items()):
            snapshot = self._with_money(snapshot, name, currency, amount)
        for (name, number), quantity in sorted(contracts.items()):
            if quantity:
                snapshot = self._with_contracts(snapshot, name, number, quantity)
        return snapshot

    def _with_money(self, snapshot: Snapshot, name: str, currency: str, amount: Fraction) -> Snapshot:
        snapshot, account = with_label(snapshot, "account", name)
        ids, balance = snapshot.ids("accounts", "currency"), snapshot.numbers("accounts", "balance")
        owners = snapshot.ids("accounts", "account").codes
        mine = [r for r in np.flatnonzero(owners == account).tolist() if str(ids.label(r)) == currency]
        if mine and balance is not None:
            after = (balance.exact(mine[0]) or Fraction(0)) + amount
            return with_numbers(snapshot, "accounts", "balance", {mine[0]: after})
        snapshot, code = with_label(snapshot, "currency", currency)
        return with_row(snapshot, "accounts", {"account": account, "currency": code, "balance": amount})

    def _with_contracts(self, snapshot: Snapshot, name: str, number: int, quantity: Fraction) -> Snapshot:
        snapshot, account = with_label(snapshot, "account", name)
        instrument = int(snapshot.ids("markets", "instrument").codes[int(self.bound.market_row[number])])
        owners, symbols = (snapshot.ids("positions", c).codes for c in ("account", "instrument"))
        before = np.flatnonzero((owners == account) & (symbols == instrument)).tolist()
        mark, held = self.bound.exact_mark(number), snapshot.numbers("positions", "quantity")
        entry = snapshot.numbers("positions", "entry_price")
        if not before or held is None or entry is None:
            row: dict[str, Fraction | str | int] = {
                "account": account, "instrument": instrument, "quantity": quantity, "entry_price": mark,
            }  # fmt: skip
            return with_row(snapshot, "positions", row)
        # All its contracts stand at the mark: what those from before have gained is money now.
        old, price = held.exact(before[0]) or Fraction(0), entry.exact(before[0]) or mark
        gained = self._worth(number, old, mark) - self._worth(number, old, price)
        snapshot = with_numbers(snapshot, "positions", "quantity", {before[0]: old + quantity})
        snapshot = with_numbers(snapshot, "positions", "entry_price", {before[0]: mark})
        currency = self.plan.currencies[int(self.plan.instruments.currency[number])]
        return self._with_money(snapshot, name, currency, gained) if gained else snapshot


def execution_model(evaluation: Evaluation, name: str) -> Execution:
    """Return the execution model that a snapshot describes: book, linear, power or sqrt.

    book reads the table `depth`; linear `impact_slope` (price per contract); power `depth_move` x (quantity /
    `depth_quantity`) ** `depth_exponent`; sqrt `impact_factor` x sqrt(quantity / `daily_volume`), as parts of the mark.
    SnapshotError where a market that is needed lacks its numbers.
    """
    if name == "book":
        return _book(evaluation)
    bound, needed = evaluation.bound, _markets_in_liquidation(evaluation)
    columns = {
        "linear": ("impact_slope",),
        "power": ("depth_move", "depth_quantity", "depth_exponent"),
        "sqrt": ("impact_factor", "daily_volume"),
    }[name]
    slopes: dict[str, Fraction] = {}
    exponents = {Fraction(1)} if name == "linear" else {Fraction(1, 2)} if name == "sqrt" else set()
    findings = []
    for number in needed:
        symbol, row = bound.plan.instruments.symbols[number], int(bound.market_row[number])
        given = [bound.snapshot.numbers("markets", column) for column in columns]
        numbers = [None if column is None else column.exact(row) for column in given]
        lost = [c for c, x in zip(columns, numbers, strict=True) if x is None]
        if lost:
            message = f"markets: execution `{name}` needs {', '.join(lost)} of {symbol}"
            findings.append(Finding("missing_value", message, "add the columns to `markets`"))
            continue
        first, *rest = [x or Fraction(0) for x in numbers]
        if name == "linear":
            slopes[symbol] = first
        elif name == "sqrt":
            slopes[symbol] = first / (sqrt(rest[0]) or 1)
        else:
            exponents.add(rest[1])
            slopes[symbol] = first / _power(rest[0], rest[1])
    if not findings and len(exponents) > 1:
        findings.append(Finding("invalid_value", "execution `power` takes one `depth_exponent` for all markets"))
    if findings:
        raise SnapshotError(findings)
    return Impact(next(iter(exponents), Fraction(1)), slopes, absolute=name == "linear")


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    whole, half = divmod(exponent * 2, 2)
    if half not in (0, 1):
        raise SnapshotError(
            Finding("invalid_value", f"`depth_exponent` {float(exponent):g} is no half or whole number")
        )
    return base ** int(whole) * (sqrt(base) if half else 1)


def _book(evaluation: Evaluation) -> BookLevels:
    snapshot, plan = evaluation.snapshot, evaluation.plan
    sides: list[dict[str, list[tuple[Fraction, Fraction]]]] = [{}, {}]
    price, size = snapshot.numbers("depth", "price"), snapshot.numbers("depth", "quantity")
    names = snapshot.tables["depth"].get("instrument")
    if price is not None and size is not None and isinstance(names, Ids):
        codes = snapshot.choices("depth", "side").codes
        for row in range(len(names)):
            symbol = plan.instruments.symbols[plan.instruments.number[str(names.label(row))]]
            level = (price.exact(row) or Fraction(0), size.exact(row) or Fraction(0))
            sides[int(codes[row])].setdefault(symbol, []).append(level)
    return BookLevels(sides[0], sides[1])


def _markets_in_liquidation(evaluation: Evaluation) -> list[int]:
    """Return the instruments of the buckets that are due."""
    p, due = evaluation.bound.positions, evaluation.liquidation.triggered
    return sorted({int(n) for n in p.instrument[due[p.bucket] & (p.quantity != 0)]})


def resolve(evaluation: Evaluation, execution: Execution | str, events: Sequence[Event] = ()) -> Resolution:
    """Resolve an evaluation; then, event by event, apply each and resolve again.

    The marks stay as they are within one resolution; an event of kind `mark` moves them before the next. A model's name
    (book, linear, power, sqrt) takes its numbers from the snapshot. The result has the entries of all, in order.
    """
    model = execution_model(evaluation, execution) if isinstance(execution, str) else execution
    whole = resolve_once(evaluation, model)
    for event in events:
        assert whole.after is not None
        snapshot, forced = apply_event(evaluation.plan, whole.after, event)
        evaluation = Evaluation(evaluation.plan, snapshot, evaluation.threads)
        if isinstance(execution, str):
            model = execution_model(evaluation, execution)
        whole = _joined(whole, _Resolving(evaluation, model, forced).run())
    return whole


def _joined(one: Resolution, other: Resolution) -> Resolution:
    """Return two resolutions as one; events of the second are numbered after those of the first."""
    first = one.ledger.events
    entries = [*one.ledger.entries, *(replace(e, event=e.event + first) for e in other.ledger.entries)]
    ledger = Ledger(one.ledger.quantum, entries, first + other.ledger.events)
    residual = {
        c: one.residual.get(c, Fraction(0)) + other.residual.get(c, Fraction(0))
        for c in {*one.residual, *other.residual}
    }
    return Resolution(
        [*one.steps, *other.steps], [*one.draws, *other.draws], [*one.deleveraged, *other.deleveraged],
        dict(sorted(residual.items())), ledger, other.after, other.waiting,
    )  # fmt: skip
