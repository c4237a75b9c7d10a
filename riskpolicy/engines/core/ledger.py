"""The ledger: whole quanta of money and exact contracts, every event summing to zero, nothing ever taken back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from riskpolicy.arrow import library
from riskpolicy.errors import Finding, SnapshotError
from riskpolicy.numbers import fraction_text

#: Beyond this an amount is refused: stores and other readers hold 64 bits.
LIMIT = 2**63
#: Contracts are whole numbers of some power of ten down to this.
SMALLEST = Fraction(1, 10**30)


class LedgerError(ArithmeticError):
    """An event that does not sum to zero."""


class Entry(NamedTuple):
    """One posting: `amount` quanta of `currency`, or `contracts` of `instrument`."""

    event: int
    account: str
    currency: str | None
    instrument: str | None
    amount: int | None
    contracts: Fraction | None
    rule: str
    what: str


@dataclass
class Ledger:
    """Entries in the order in which they were booked. Named accounts of outside parties begin with `@`."""

    quantum: Mapping[str, Fraction]
    entries: list[Entry] = field(default_factory=list)
    events: int = 0

    def book(
        self,
        rule: str,
        what: str,
        money: Iterable[tuple[str, str, int]] = (),
        contracts: Iterable[tuple[str, str, Fraction]] = (),
    ) -> int:
        """Book one event and return its number.

        `money` is (account, currency, quanta), `contracts` (account, instrument, signed contracts). LedgerError where
        either does not sum to zero, by currency and by instrument; SnapshotError for an amount beyond 64 bits. Nothing
        is booked then.
        """
        number, made = self.events, []
        quanta: dict[str, int] = {}
        sizes: dict[str, Fraction | int] = {}
        for account, currency, x in money:
            if x:
                if not -LIMIT < x < LIMIT:
                    message = f"`{what}` of {account}: {Decimal(x):.3E} quanta of {currency} are beyond 64 bits"
                    raise SnapshotError(Finding("invalid_value", message, "look for an amount in another unit"))
                quanta[currency] = quanta.get(currency, 0) + x
                made.append(Entry(number, account, currency, None, x, None, rule, what))
        for account, instrument, size in contracts:
            if size:
                sizes[instrument] = sizes.get(instrument, 0) + size
                made.append(Entry(number, account, None, instrument, None, size, rule, what))
        if any(quanta.values()) or any(sizes.values()):
            wrong = {name: total for name, total in [*quanta.items(), *sizes.items()] if total}
            raise LedgerError(f"event `{what}` does not sum to zero: {wrong}")
        self.events += 1
        self.entries += made
        return number

    def balance(self, account: str, currency: str) -> int:
        """Return the sum of an account's postings in a currency, in quanta."""
        return sum(e.amount for e in self.entries if e.account == account and e.currency == currency and e.amount)

    def units(self) -> dict[str, Fraction]:
        """Return the unit in which each instrument's contracts are whole numbers: 1, or a power of ten below it."""
        units: dict[str, Fraction] = {}
        for e in self.entries:
            if e.instrument is not None and e.contracts is not None:
                unit = units.setdefault(e.instrument, Fraction(1))
                while e.contracts % unit and unit > SMALLEST:
                    unit /= 10
                units[e.instrument] = unit
        return units

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield every entry as plain data for JSON: money in quanta of `currency`, contracts in units of `unit`."""
        units = self.units()
        for e in self.entries:
            row: dict[str, Any] = {"event": e.event, "account": e.account, "currency": e.currency, "amount": e.amount}
            if e.instrument is not None and e.contracts is not None:
                unit = units[e.instrument]
                row |= {"amount": int(e.contracts / unit), "instrument": e.instrument, "unit": fraction_text(unit, 40)}
            yield {**row, "rule": e.rule, "what": e.what}

    def to_arrow(self) -> Any:
        """Return the entries as a pyarrow table."""
        names = ("event", "account", "currency", "amount", "instrument", "unit", "rule", "what")
        rows = list(self.rows())
        return library().table({name: [row.get(name) for row in rows] for name in names})

    def write_sqlite(self, path: str | Path, *, start: int = 0) -> int:
        """Append the events from `start` on to a SQLite file, durably; return the number of the next event.

        Write-ahead logging with full synchronisation, one transaction for the whole call: after a crash either all of
        it is there or none.
        """
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS ledger (event INTEGER NOT NULL, account TEXT NOT NULL, currency TEXT, "
                "amount INTEGER, instrument TEXT, unit TEXT, rule TEXT NOT NULL, what TEXT NOT NULL)"
            )
            connection.execute("BEGIN IMMEDIATE")
            columns = ("event", "account", "currency", "amount", "instrument", "unit", "rule", "what")
            rows = [tuple(row.get(c) for c in columns) for row in self.rows() if row["event"] >= start]
            connection.executemany("INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            connection.execute("COMMIT")
        finally:
            connection.close()
        return self.events
