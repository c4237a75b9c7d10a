"""The snapshot after a resolution: balances, positions, funds and what outside parties took."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from riskpolicy.engines.core.bound import CROSS
from riskpolicy.engines.core.funds import members_of
from riskpolicy.engines.core.standing import with_standing
from riskpolicy.engines.execution import BookLevels
from riskpolicy.engines.resolving.steps import Steps
from riskpolicy.errors import Finding, SnapshotError
from riskpolicy.snapshot.columns import Ids
from riskpolicy.snapshot.edit import with_choice, with_label, with_numbers, with_row, without_rows
from riskpolicy.snapshot.snapshot import Snapshot


class Aftermath(Steps):
    """Books turned back into a snapshot that can be evaluated."""

    #: Whether orders went to the book in the snapshot's `depth`, which is shallower then.
    own_book = False

    def after(self) -> Snapshot:
        """Return the snapshot after everything that happened."""
        bound = self.bound
        snapshot = bound.snapshot
        p = bound.positions
        if self.changed:
            rows = {p.row_of(i): self.held[i].quantity for i in self.changed}
            snapshot = with_numbers(snapshot, "positions", "quantity", dict(rows))
        snapshot = self.with_balances(snapshot)
        funds = snapshot.tables["funds"].get("fund")
        balances = {}
        for row in range(snapshot.rows["funds"]):
            number = next(k for k, f in enumerate(self.plan.funds) if f.id == str(funds.label(row)))  # type: ignore[union-attr]
            quanta, start = self.payers.balance[number], self.start[number]
            if quanta is not None and quanta != start:
                balances[row] = quanta * self.plan.requirements.quantum[self.plan.funds[number].currency]
        if balances:
            snapshot = with_numbers(snapshot, "funds", "balance", balances)
        if self.cancelled:
            snapshot = without_rows(snapshot, "orders", self.cancelled)
        snapshot = self.with_windows(snapshot)
        self.switch()
        if self.active:
            cells = {int(self.bound.market_row[n]): "true" if on else "false" for n, on in self.active.items()}
            snapshot = with_choice(snapshot, "markets", "adl_active", cells)
        if self.severities:
            shares = {int(self.bound.market_row[n]): severity.value for n, severity in self.severities.items()}
            snapshot = with_numbers(snapshot, "markets", "adl_severity", dict(shares))
        snapshot = self.with_capacity(self.with_depth(self.with_members(snapshot)))
        snapshot = self.with_drawn(snapshot)
        if self.timed:
            changed = {b: s for b, s in self.stands.items() if s != self.written[b]}
            snapshot = with_standing(snapshot, self.bound, changed)
        return self.with_outside(snapshot)

    def with_windows(self, snapshot: Snapshot) -> Snapshot:
        """Put what funds have gained in markets into a snapshot, and raise the highest values where they are higher.

        A window's highest falls again only when whoever keeps it says so.
        """
        pnl, peak = snapshot.numbers("markets", "symbol_pnl"), snapshot.numbers("markets", "symbol_pnl_peak_8h")
        gains: dict[int, Fraction | None] = {}
        peaks: dict[int, Fraction | None] = {}
        for number, row in enumerate(self.bound.market_row.tolist()):
            before = None if pnl is None or row < 0 else pnl.exact(row)
            if before is None:
                continue
            if number in self.market_gain:
                gains[row] = before + self.market_gain[number]
            highest, seen = None if peak is None else peak.exact(row), self.market_peak(number)
            if highest is not None and seen > highest:
                peaks[row] = Fraction(seen)
        snapshot = with_numbers(snapshot, "markets", "symbol_pnl", gains) if gains else snapshot
        snapshot = with_numbers(snapshot, "markets", "symbol_pnl_peak_8h", peaks) if peaks else snapshot
        most, names = snapshot.numbers("funds", "peak_8h"), snapshot.tables["funds"].get("fund")
        higher: dict[int, Fraction | None] = {}
        for row in range(snapshot.rows["funds"] if most is not None and isinstance(names, Ids) else 0):
            highest = most.exact(row)  # type: ignore[union-attr]
            fund = next(k for k, f in enumerate(self.plan.funds) if f.id == str(names.label(row)))  # type: ignore[union-attr]
            if highest is not None and self.fund_peak(fund) > highest:
                higher[row] = Fraction(self.fund_peak(fund))
        return with_numbers(snapshot, "funds", "peak_8h", higher) if higher else snapshot

    def with_depth(self, snapshot: Snapshot) -> Snapshot:
        """Take what orders took out of the snapshot's book, the best levels first."""
        if not (self.own_book and isinstance(self.execution, BookLevels) and self.execution.taken):
            return snapshot
        names, size = snapshot.tables["depth"]["instrument"], snapshot.numbers("depth", "quantity")
        assert isinstance(names, Ids)
        assert size is not None
        taken, instruments = dict(self.execution.taken), self.plan.instruments
        asks = snapshot.choices("depth", "side").codes == 1
        cells: dict[int, Fraction | None] = {}
        for row in range(len(names)):
            key = (instruments.symbols[instruments.number[str(names.label(row))]], bool(asks[row]))
            has, left = size.exact(row) or Fraction(0), taken.get(key, Fraction(0))
            if left > 0 and has > 0:
                cells[row] = has - min(has, left)
                taken[key] = left - min(has, left)
        return with_numbers(snapshot, "depth", "quantity", cells)

    def with_capacity(self, snapshot: Snapshot) -> Snapshot:
        """Take what providers were assigned off what they can still take."""
        if not self.assigned:
            return snapshot
        who, what = snapshot.tables["providers"]["provider"], snapshot.tables["providers"]["instrument"]
        room, number = snapshot.numbers("providers", "capacity"), self.plan.instruments.number
        assert isinstance(who, Ids)
        assert isinstance(what, Ids)
        assert room is not None
        cells: dict[int, Fraction | None] = {}
        for row in range(len(who)):
            taken = self.assigned.get((str(who.label(row)), number[str(what.label(row))]))
            if taken:
                cells[row] = (room.exact(row) or Fraction(0)) - taken
        return with_numbers(snapshot, "providers", "capacity", cells)

    def with_members(self, snapshot: Snapshot) -> Snapshot:
        """Put what members have paid into the table `members`: out of contributions, or added to what was called."""
        for number, parts in self.of_members.items():
            fund = self.plan.funds[number]
            quantum = self.plan.requirements.quantum[fund.currency]
            members = members_of(self.bound, fund)
            column = "contribution" if fund.holds == "members" else "assessed"
            cells = {
                m.row: m.contribution - part * quantum if fund.holds == "members" else m.assessed + part * quantum
                for m, part in zip(members, parts, strict=True)
                if part
            }
            snapshot = with_numbers(snapshot, "members", column, dict(cells))
        return snapshot

    def with_drawn(self, snapshot: Snapshot) -> Snapshot:
        """Append what layers with a window have paid to the table `drawn`."""
        for rule, loss, amount in self.windowed:
            cells: dict[str, Fraction | str | int] = {"rule": rule, "account": loss.account, "amount": amount}
            snapshot = with_row(snapshot, "drawn", {**cells, "instrument": loss.market, "at": self.instant})
        return snapshot

    def with_balances(self, snapshot: Snapshot) -> Snapshot:
        """Put what cross balances and isolated margins are now into a snapshot."""
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
                cross |= self.in_cash(bucket, change)
        if cross:
            snapshot = with_numbers(snapshot, "accounts", "balance", cross)
        return with_numbers(snapshot, "positions", "isolated_margin", isolated) if isolated else snapshot

    def in_cash(self, bucket: int, change: Fraction) -> dict[int, Fraction]:
        """Return the row of an account's cash in the bucket's currency with the change in it."""
        owners, named = (
            self.bound.snapshot.ids("accounts", "account").codes,
            self.bound.snapshot.ids("accounts", "currency"),
        )
        balance = self.bound.snapshot.numbers("accounts", "balance")
        currency, _ = self.currency(bucket)
        for row in np.flatnonzero(owners == self.bound.buckets.account[bucket]).tolist():
            if str(named.label(row)) == currency and balance is not None:
                return {row: (balance.exact(row) or Fraction(0)) + change}
        message = f"account `{self.name(bucket)}` has no balance in {currency} to book to"
        raise SnapshotError(Finding("unknown_account", message, "add a row to `accounts`, 0 if there is none"))

    def outside(self) -> tuple[dict[tuple[str, int], Fraction], dict[tuple[str, str], Fraction]]:
        """Return what outside parties took: contracts by instrument, and money by currency, contracts at the mark."""
        contracts: dict[tuple[str, int], Fraction] = {}
        money: dict[tuple[str, str], Fraction] = {}
        # A fund's money is its balance, a member's its contribution.
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
                amount = self.worth(number, entry.contracts, self.bound.exact_mark(number))
            else:
                assert entry.currency is not None
                currency, amount = entry.currency, (entry.amount or 0) * self.result.ledger.quantum[entry.currency]
            if entry.account not in funds and not entry.account.startswith("@member:"):
                money[entry.account, currency] = money.get((entry.account, currency), Fraction(0)) + amount
        return contracts, money

    def with_outside(self, snapshot: Snapshot) -> Snapshot:
        """Add what outside parties took, entered at the mark, to accounts of their own, which are never margined."""
        contracts, money = self.outside()
        settled = {(name, int(self.plan.instruments.currency[n])): Fraction(0) for name, n in contracts}
        wanted = {(name, self.plan.currencies[c]): x for (name, c), x in settled.items()} | money
        for (name, currency), amount in sorted(wanted.items()):
            snapshot = self.with_money(snapshot, name, currency, amount)
        for (name, number), quantity in sorted(contracts.items()):
            if quantity:
                snapshot = self.with_contracts(snapshot, name, number, quantity)
        return snapshot

    def with_money(self, snapshot: Snapshot, name: str, currency: str, amount: Fraction) -> Snapshot:
        """Add money to an outside party's balance."""
        snapshot, account = with_label(snapshot, "account", name)
        ids, balance = snapshot.ids("accounts", "currency"), snapshot.numbers("accounts", "balance")
        owners = snapshot.ids("accounts", "account").codes
        mine = [r for r in np.flatnonzero(owners == account).tolist() if str(ids.label(r)) == currency]
        if mine and balance is not None:
            after = (balance.exact(mine[0]) or Fraction(0)) + amount
            return with_numbers(snapshot, "accounts", "balance", {mine[0]: after})
        snapshot, code = with_label(snapshot, "currency", currency)
        return with_row(snapshot, "accounts", {"account": account, "currency": code, "balance": amount})

    def with_contracts(self, snapshot: Snapshot, name: str, number: int, quantity: Fraction) -> Snapshot:
        """Add contracts to an outside party's position, all of it entered at the mark."""
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
        gained = self.worth(number, old, mark) - self.worth(number, old, price)
        snapshot = with_numbers(snapshot, "positions", "quantity", {before[0]: old + quantity})
        snapshot = with_numbers(snapshot, "positions", "entry_price", {before[0]: mark})
        currency = self.plan.currencies[int(self.plan.instruments.currency[number])]
        return self.with_money(snapshot, name, currency, gained) if gained else snapshot
