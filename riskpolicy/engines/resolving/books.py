"""Books: what every bucket, fund and outside party has now, and how trades and fees change it."""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from riskpolicy.engines.core.adl import Candidate
from riskpolicy.engines.core.draw import Loss, Payers
from riskpolicy.engines.core.exact import (
    ZERO,
    Change,
    ExactBucket,
    ExactPosition,
    Holding,
    Number,
    holding,
    position_row,
)
from riskpolicy.engines.core.fees import FeeDue
from riskpolicy.engines.core.funds import fund_behind, fund_number, payers_of
from riskpolicy.engines.core.ledger import Ledger
from riskpolicy.engines.core.resolution import Done, Resolution
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.engines.execution import Execution, Fill
from riskpolicy.engines.fees import FeeShare, Kind, fee_shares_of
from riskpolicy.engines.liquidation import BANKRUPT, LIQUIDATABLE, outside_parties
from riskpolicy.engines.policies.severity import Severity
from riskpolicy.errors import Finding, SnapshotError
from riskpolicy.kernel.program import UNIT
from riskpolicy.plan.plan import OF_INSTRUMENT, Rule, Step

#: Outside parties whose accounts the ledger names.
MARKET, RESIDUAL = "@market", "@residual"
#: Who owes what is to be cut from withdrawals.
WITHDRAWALS = "@withdrawals"
#: What contracts are counted in where the ruleset declares no lot.
DEFAULT_LOT = Fraction(1, 10**8)


class _FundNow(dict[str, Number]):
    """The numbers of the fund behind a bucket, looked up when they are read."""

    def __init__(self, books: Books, bucket: int) -> None:
        super().__init__()
        self.books = books
        self.bucket = bucket

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.startswith("fund_")

    def __getitem__(self, name: str) -> Number:
        if name not in self:
            raise KeyError(name)
        return self.books.fund_number(self.bucket, name)


class Books:
    """The state of a resolution. Every change is booked in the ledger of its result as it is made."""

    def __init__(self, evaluation: Evaluation, execution: Execution, forced: frozenset[int] = frozenset()) -> None:
        self.evaluation = evaluation
        self.forced = forced
        self.bound = evaluation.bound
        self.plan = evaluation.plan
        self.execution = execution
        quantum = dict(zip(self.plan.currencies, self.plan.requirements.quantum, strict=True))
        versions = dict(self.plan.plugged.versions)
        self.result = Resolution(ledger=Ledger(quantum), regime=self.plan.regime, plugins=versions)
        #: Exact terms of the positions that were looked at, as they are now; whose contracts have moved.
        self.held: dict[int, Holding] = {}
        self.changed: set[int] = set()
        #: What balance and equity have changed by, of buckets that anything has happened to; whose cash is whole.
        self.balance: dict[int, Fraction] = {}
        self.gained: dict[int, Fraction] = {}
        self.entered: set[int] = set()
        #: Buckets of outside parties, which neither pay nor give.
        self.apart = outside_parties(self.bound)
        self.cancelled: set[int] = set()
        self.inventory: dict[int, dict[int, Fraction]] = {}
        self.lost: dict[int, Fraction] = {}
        self.bid_taken: dict[int, Fraction] = {}
        self.auctioned: set[int] = set()
        self.windowed: list[tuple[str, Loss, Fraction]] = []
        self.of_members: dict[int, list[int]] = {}
        self.assigned: dict[tuple[str, int], Fraction] = {}
        self.shared: dict[int, Fraction] = {}
        #: Quanta of its profit that a position has given to socialized losses.
        self.given: dict[int, int] = {}
        #: Places of queues that are passed over, each with the next one, and buckets passed over as bankrupt.
        self.passed: dict[int, int] = {}
        self.out: set[int] = set()
        #: Of which positions it was said that they are passed over, each in favour of which bucket.
        self.told: set[tuple[int, int]] = set()
        self.active: dict[int, bool] = {}
        #: What the fund of a market has gained in it, in settlement money, and the most that this has been.
        self.market_gain: dict[int, Fraction] = {}
        self.market_high: dict[int, Fraction] = {}
        #: The highest balance that a fund has been credited to, in quanta.
        self.fund_high: dict[int, int] = {}
        self.asked = 0
        #: Severities by market, and positions that were asked for where an event has a limit: no more of them is.
        self.severities: dict[int, Severity] = {}
        self.event_of: set[int] = set()
        self.sides: dict[tuple[int, str], tuple[list[int], list[Candidate]]] = {}
        self.now: dict[int, ExactBucket] = {}
        self.known: dict[int, ExactPosition] = {}
        self.wallets: dict[int, Fraction] = {}
        self.names: dict[int, str] = {}
        # Where margins depend on the wallet, a position is another one whenever the balance moves.
        formulas = [t.formula for t in self.plan.tiers.tables if t.formula is not None]
        self.walletless = all("wallet_balance" not in r.program.inputs for r in (self.plan.initial, *formulas))
        self.payers = self._known_funds()
        self.start = list(self.payers.balance)

    def _known_funds(self) -> Payers:
        """Return what funds have; SnapshotError where a balance is needed and not there."""
        payers = payers_of(self.bound)
        used = {x.fund for x in self.plan.layers} | {s.by for s in self.plan.steps}
        if OF_INSTRUMENT in used:
            used |= set(self.plan.instruments.fund)
        triggered = bool(self.evaluation.liquidation.triggered.any())
        findings = []
        for number, fund in enumerate(self.plan.funds):
            if payers.balance[number] is None and number in used and triggered and self.needed(number):
                hint = f"add a row to `funds`: fund {fund.id}, its balance"
                findings.append(Finding("missing_value", f"a resolution needs the balance of fund `{fund.id}`", hint))
        if findings:
            raise SnapshotError(findings)
        return payers

    def needed(self, fund: int) -> bool:
        """Return whether a fund's currency is that of a bucket in liquidation."""
        buckets = np.flatnonzero(self.evaluation.liquidation.triggered)
        return bool((self.bound.buckets.currency[buckets] == self.plan.funds[fund].currency).any())

    def bucket(self, bucket: int) -> ExactBucket:
        """Return a bucket as it is now; kept until something of it changes."""
        now = self.now.get(bucket)
        if now is None:
            balance = self.balance.get(bucket, ZERO)
            change = Change(self.held, balance=balance, known=self.known, wallet=self.wallet(bucket))
            now = self.now[bucket] = ExactBucket(self.bound, bucket, change)
            if self.walletless:
                self.known.update(zip(now.members, now.positions, strict=True))
        return now

    def wallet(self, bucket: int) -> Fraction:
        """Return the balance behind a bucket in the snapshot."""
        found = self.wallets.get(bucket)
        if found is None:
            found = self.wallets[bucket] = self.bound.exact_wallet(bucket)
        return found

    def add(self, bucket: int, amount: Fraction) -> None:
        """Change the balance behind a bucket."""
        self.balance[bucket] = self.balance.get(bucket, ZERO) + amount
        self.gained[bucket] = self.gained.get(bucket, ZERO) + amount
        self.now.pop(bucket, None)

    def equity_about(self, bucket: int) -> tuple[float, float]:
        """Return the equity of a bucket as it is now, rounded, and how far that is from exact at most."""
        m, gained = self.evaluation.margins, float(self.gained.get(bucket, ZERO))
        before, equity = float(m.equity[bucket]), float(m.equity[bucket]) + gained
        return equity, float(m.equity_doubt[bucket]) + 4 * UNIT * (abs(before) + abs(gained))

    def has(self, bucket: int, amount: Fraction) -> bool:
        """Return whether the equity of a bucket is at least an amount: by bounds where these say it, else exactly."""
        equity, doubt = self.equity_about(bucket)
        asked = float(amount)
        if abs(equity - asked) > doubt + 4 * UNIT * (abs(equity) + abs(asked)):
            return equity > asked
        return self.bucket(bucket).equity >= amount

    def state(self, bucket: ExactBucket) -> int:
        """Return HEALTHY, LIQUIDATABLE or BANKRUPT; a defaulted bucket is liquidatable while it holds anything."""
        if bucket.equity < 0:
            return BANKRUPT
        if bucket.bucket in self.forced and any(p.quantity for p in bucket.positions):
            return LIQUIDATABLE
        if self.plan.trigger.rule.program.exact(bucket.row()):
            return LIQUIDATABLE
        return self.held_on(bucket)

    def held_on(self, bucket: ExactBucket) -> int:
        """Return LIQUIDATABLE where a bucket is not released yet though the trigger no longer holds, else HEALTHY."""
        raise NotImplementedError

    def bucket_row(self, bucket: ExactBucket, state: int | None = None) -> Mapping[str, Number]:
        """Return a bucket as the row that conditions read, with what its fund has now."""
        known: dict[str, Number] = {} if state is None else {"state": Fraction(state)}
        return ChainMap(known, _FundNow(self, bucket.bucket), bucket.row())  # type: ignore[arg-type]

    def fund_number(self, bucket: int, name: str) -> Number:
        """Return a number of the fund behind a bucket, its balance as it is now; NaN where nobody says."""
        return self.number_of_fund(fund_behind(self.bound, bucket), name)

    def number_of_fund(self, fund: int, name: str) -> Number:
        """Return a number of a fund (-1 for none), its balance as it is now; NaN where nobody says."""
        if name == "fund_balance" and fund >= 0:
            has = self.payers.balance[fund]
            return math.nan if has is None else has * self.plan.requirements.quantum[self.plan.funds[fund].currency]
        found = fund_number(self.bound, fund, name)
        return math.nan if found is None else found

    def left(self, bucket: int, unless: tuple[str, ...] = ()) -> list[tuple[int, ExactPosition]]:
        """Return what is still held, the largest notional first, then by instrument; not in markets of some states."""
        now = self.bucket(bucket)
        rows = [(i, p) for i, p in zip(now.members, now.positions, strict=True) if p.quantity != 0]
        if unless:
            rows = [(i, p) for i, p in rows if self.bound.market_state(p.number) not in unless]
        return sorted(rows, key=lambda row: (-row[1].notional * row[1].held.conversion, row[1].number, row[0]))

    def holds(self, bucket: int) -> bool:
        """Return whether a bucket holds any contracts now."""
        held, quantity = self.held, self.bound.positions.quantity
        return any(held[i].quantity if i in held else quantity[i] for i in self.bound.members(bucket))

    def name(self, bucket: int) -> str:
        """Return a bucket's account."""
        found = self.names.get(bucket)
        if found is None:
            found = self.names[bucket] = str(self.bound.account(int(self.bound.buckets.account[bucket])))
        return found

    def symbol(self, number: int) -> str:
        """Return the symbol of an instrument."""
        return self.plan.instruments.symbols[number]

    def currency(self, bucket: int) -> tuple[str, Fraction]:
        """Return a bucket's currency and its quantum."""
        number = int(self.bound.buckets.currency[bucket])
        return self.plan.currencies[number], self.plan.requirements.quantum[number]

    def enter(self, bucket: int) -> None:
        """Enter a bucket's cash in whole quanta, half to even; the difference is less than a quantum.

        Whoever is liquidated or has nothing left is entered: what it lacks is paid in whole quanta. Of others the cash
        only moves in whole quanta.
        """
        if bucket in self.entered:
            return
        self.entered.add(bucket)
        _, quantum = self.currency(bucket)
        cash = self.wallet(bucket) + self.balance.get(bucket, ZERO)
        for p in map(self.holding, self.bound.members(bucket)):
            cash += (p.accrued_funding - self.worth(p.instrument, p.quantity, p.entry_price)) * p.conversion
        self.add(bucket, round(cash / quantum) * quantum - cash)

    def worth(self, number: int, quantity: Fraction, price: Fraction) -> Fraction:
        """Return the signed value whose change is profit: below zero for what is owed."""
        size = quantity * self.plan.instruments.contract_size_exact[number]
        return -size / price if self.plan.instruments.inverse[number] else size * price

    def holding(self, i: int) -> Holding:
        """Return the exact terms of a position as it is now."""
        found = self.held.get(i)
        if found is None:
            found = self.held[i] = holding(self.bound, i)
        return found

    def price(self, bucket: int, i: int, word: str | Rule | None) -> Fraction | None:
        """Return the price that a word or rule means for a position now; None for any price."""
        p = self.holding(i)
        if isinstance(word, Rule):
            now = self.bucket(bucket)
            found = word.program.exact(position_row(now, now.members.index(i)))
            if not isinstance(found, Fraction) or found <= 0:
                message = f"{word.id} of {self.name(bucket)} in {self.symbol(p.instrument)} is no price above zero"
                raise SnapshotError(Finding("expression_value", message, f"the rule is `{word.program.source}`"))
            return found
        if word == "mark_price":
            return p.mark_price
        if word == "entry_price":
            return p.entry_price
        if word in ("oracle_price", "previous_mark"):
            row = int(self.bound.market_row[p.instrument])
            given = self.bound.snapshot.numbers("markets", word)
            found = None if given is None else given.exact(row)
            if found is None:
                message = f"a resolution needs `{word}` of {self.symbol(p.instrument)}"
                raise SnapshotError(Finding("missing_value", message, "add the column to `markets`"))
            return found
        if word not in ("bankruptcy_price", "zero_equity_price"):
            return None
        now = self.bucket(bucket)
        share = Fraction(1)
        position = now.positions[now.members.index(i)]
        shared = word == "bankruptcy_price" and self.plan.requirements.bankruptcy != "account"
        if shared and sum(held.quantity != 0 for held in now.positions) > 1:
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

    def lots(self, number: int, size: Fraction) -> Fraction:
        """Return a size rounded up to whole lots."""
        lot = self.plan.instruments.lot[number] or DEFAULT_LOT
        return -(-size // lot) * lot

    def sell(self, bucket: int, i: int, size: Fraction, step: Step, limit: Fraction | None) -> None:
        """Send an order that closes some contracts, and book its fills and fees."""
        p = self.holding(i)
        side, symbol = (-1 if p.quantity > 0 else 1), self.symbol(p.instrument)
        fills = self.execution.quote(symbol, side * size, p.mark_price, limit)
        filled = sum((abs(fill.quantity) for fill in fills), ZERO)
        lot = self.plan.instruments.lot[p.instrument] or DEFAULT_LOT
        if filled < size and filled % lot:
            # What a limit lets through is whole lots: a model is asked again for so many, at a price no worse.
            whole = filled // lot * lot
            fills = self.execution.quote(symbol, side * whole, p.mark_price, limit) if whole else []
        self.execution.take(symbol, fills)
        for fill in fills:
            self.trade(bucket, i, fill, MARKET, step.id, step.do.replace("_", " "))
            self.charge(bucket, p.instrument, fill, step)
        if not fills:
            self.note(bucket, step, f"nothing filled of {symbol}")

    def charge(self, bucket: int, number: int, fill: Fill, step: Step) -> None:
        """Book a step's fee on a fill."""
        _, quantum = self.currency(bucket)
        fee = self.fee_quanta(
            bucket, number, fill, step, self.bucket(bucket).equity if step.fee_within_surplus else ZERO
        )
        if fee <= 0:
            return
        self.pay_fee(bucket, fee, "liquidation", self.symbol(number), step.id, step.fee_to)
        self.note(bucket, step, "fee", amount=fee * quantum)

    def pay_fee(self, bucket: int, fee: int, kind: Kind, symbol: str, rule: str, fund: int = -1) -> None:
        """Book a fee of a bucket to the fund that a rule names, else to those among whom the ruleset splits it."""
        currency, quantum = self.currency(bucket)
        if fund == OF_INSTRUMENT:
            fund = self.plan.instruments.fund[self.plan.instruments.number[symbol]]
        if fund >= 0:
            shares = [FeeShare(f"@{self.plan.funds[fund].id}", fee, rule, fund)]
        else:
            shares = fee_shares_of(self.plan, FeeDue(self.name(bucket), currency, fee, kind, symbol, rule))
        money = [(self.name(bucket), currency, -fee), *((s.receiver, currency, s.quanta) for s in shares)]
        self.result.ledger.book(rule, "fee", money)
        self.add(bucket, -fee * quantum)
        for share in shares:
            self.income(share.fund, share.quanta)
            self.gain_in(self.plan.instruments.number[symbol], share.fund, share.quanta * quantum)

    def gain_in(self, number: int, fund: int, amount: Fraction) -> None:
        """Count what a fund gains in a market, below zero what it loses there: the market's own fund alone."""
        of = self.plan.instruments
        if fund >= 0 and of.fund[number] == fund and self.plan.funds[fund].currency == int(of.currency[number]):
            gain = self.market_gain[number] = self.market_gain.get(number, ZERO) + amount
            self.market_high[number] = max(gain, self.market_high.get(number, ZERO))

    def income(self, fund: int, quanta: int) -> None:
        """Add to a fund's balance; nothing for -1."""
        if fund >= 0:
            self.credit(fund, quanta)

    def credit(self, fund: int, quanta: int) -> None:
        """Change a fund's balance; the highest that it has been is kept."""
        has = self.payers.balance[fund] = (self.payers.balance[fund] or 0) + quanta
        self.fund_high[fund] = max(has, self.fund_high.get(fund, has))

    def fee_quanta(self, bucket: int, number: int, fill: Fill, step: Step, equity: Fraction) -> int:
        """Return a step's fee on a fill, rounded up to whole quanta, or down within the equity that the fill leaves."""
        _, quantum = self.currency(bucket)
        due = self.fee(number, fill, step) * self.bound.conversion_of(bucket, number)
        return int(min(due, max(ZERO, equity)) // quantum) if step.fee_within_surplus else math.ceil(due / quantum)

    def fee(self, number: int, fill: Fill, step: Step) -> Fraction:
        """Return a step's fee on a fill, in settlement money."""
        price = self.bound.exact_mark(number) if step.fee_on_mark else fill.price
        return abs(self.worth(number, fill.quantity, price)) * step.fee

    def trade(self, bucket: int, i: int, fill: Fill, with_: str | tuple[int, int], rule: str, what: str) -> None:
        """Book a trade of a position with an outside party or another position: contracts and their quote value."""
        p, quantity = self.holding(i), fill.quantity
        currency, quantum = self.currency(bucket)
        symbol, account = self.symbol(p.instrument), self.name(bucket)
        # The account pays the worth of what it buys, in whole quanta; the other side gets the same.
        paid = round(self.worth(p.instrument, quantity, fill.price) * p.conversion / quantum)
        other = with_ if isinstance(with_, str) else self.name(with_[0])
        contracts = [(account, symbol, quantity), (other, symbol, -quantity)]
        self.result.ledger.book(rule, what, [(account, currency, -paid), (other, currency, paid)], contracts)
        cash, marked = paid * quantum, self.worth(p.instrument, quantity, p.mark_price)
        self.moved(bucket, i, quantity, -cash, marked)
        if not isinstance(with_, str):
            self.moved(with_[0], with_[1], -quantity, cash, -marked)
        self.result.steps.append(Done(account, rule, what, symbol, quantity, fill.price))

    def moved(self, bucket: int, i: int, quantity: Fraction, cash: Fraction, marked: Fraction) -> None:
        """Change a position that is being closed, and the balance by its cash and the entry value that it gives up.

        `marked` is what the contracts are worth at the mark, in settlement money: equity changes by that and the cash.
        """
        p = self.holding(i)
        entered = self.worth(p.instrument, quantity, p.entry_price) * p.conversion
        self.balance[bucket] = self.balance.get(bucket, ZERO) + (cash + entered)
        self.gained[bucket] = self.gained.get(bucket, ZERO) + (cash + marked * p.conversion)
        self.now.pop(bucket, None)
        self.held[i] = p.of_size(p.quantity + quantity)
        self.changed.add(i)
        self.known.pop(i, None)

    def note(self, bucket: int, step: Step, what: str, amount: Fraction | None = None) -> None:
        """Record something that moved no contracts."""
        self.result.steps.append(Done(self.name(bucket), step.id, what, amount=amount))
