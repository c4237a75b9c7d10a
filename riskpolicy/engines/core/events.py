"""Events between resolutions: marks, fills, funding, deposits and defaults, each a change of the snapshot."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from riskpolicy.engines.core.bind import bind
from riskpolicy.engines.core.bound import CROSS, Bound
from riskpolicy.engines.core.changes import account_code, amount, instrument_number, read_fill, with_fill
from riskpolicy.errors import Finding, SnapshotError, one_of, suggestion
from riskpolicy.numbers import NumberError, exact, parse_decimal
from riskpolicy.plan.plan import Plan
from riskpolicy.snapshot.edit import with_numbers
from riskpolicy.snapshot.snapshot import Snapshot

#: What each kind of event carries besides sequence, at and kind.
KINDS: Mapping[str, tuple[str, ...]] = {
    "mark": ("instrument", "mark_price"),
    "fill": ("account", "instrument", "side", "quantity", "price"),
    "funding": ("instrument", "funding_rate"),
    "deposit": ("account", "currency", "amount"),
    "default": ("account",),
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `values` are the columns of the table that it touches."""

    sequence: int
    kind: str
    values: Mapping[str, Any]


def read_events(path: str | Path) -> list[Event]:
    """Read events from a file of JSON lines, in the order of their sequence; SnapshotError with every fault."""
    events: list[Event] = []
    findings: list[Finding] = []
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SnapshotError(Finding("file_unreadable", f"cannot read `{path}`: {error}")) from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            events.append(event_of(json.loads(line, parse_float=Decimal), len(events)))
        except (ValueError, TypeError) as error:
            findings.append(Finding("invalid_value", f"{Path(path).name}:{number}: {error}", f"kinds: {one_of(KINDS)}"))
    if findings:
        raise SnapshotError(findings)
    return sorted(events, key=lambda e: e.sequence)


def event_of(raw: Any, sequence: int = 0) -> Event:
    """Return an event from a mapping; ValueError says what is wrong with it."""
    if not isinstance(raw, Mapping):
        raise ValueError("an event is an object")
    kind = str(raw.get("kind"))
    if kind not in KINDS:
        near = suggestion(kind, KINDS)
        raise ValueError(f"`{kind}` is no kind of event; {near or one_of(KINDS)}")
    values = {key: value for key, value in raw.items() if key not in ("sequence", "at", "kind")}
    unknown = [key for key in values if key not in KINDS[kind]]
    lost = [key for key in KINDS[kind] if key not in values]
    if unknown or lost:
        wrong = f"not {one_of(unknown)}" if unknown else f"{one_of(lost)} is missing"
        raise ValueError(f"an event `{kind}` has {one_of(KINDS[kind])}; {wrong}")
    return Event(int(raw.get("sequence", sequence)), kind, values)


def apply_event(plan: Plan, snapshot: Snapshot, event: Event) -> tuple[Snapshot, frozenset[int]]:
    """Return the snapshot after an event, and the buckets that it puts into liquidation whatever their state."""
    bound, values = bind(plan, snapshot), event.values
    if event.kind == "mark":
        number = instrument_number(bound, values["instrument"])
        price = amount(values["mark_price"])
        if price is None or bound.market_row[number] < 0:
            raise _fault("not_positive", event, f"`{values['mark_price']}` is no mark price")
        cells = {int(bound.market_row[number]): price}
        return with_numbers(snapshot, "markets", "mark_price", cells), frozenset()
    if event.kind == "fill":
        asked = (values["account"], values["instrument"], values["side"], values["quantity"], values["price"])
        return with_fill(bound, read_fill(bound, *asked, "net")), frozenset()
    if event.kind == "deposit":
        return _deposit(bound, event), frozenset()
    if event.kind == "funding":
        return _funding(bound, event), frozenset()
    return snapshot, _defaulted(bound, event)


def _fault(code: str, event: Event, message: str) -> SnapshotError:
    return SnapshotError(Finding(code, f"event {event.sequence} ({event.kind}): {message}"))


def _number(event: Event, key: str) -> Fraction:
    value = event.values[key]
    try:
        return exact(parse_decimal(value) if isinstance(value, str) else value)
    except (NumberError, TypeError, ValueError):
        raise _fault("wrong_type", event, f"`{value}` is not a number") from None


def _deposit(bound: Bound, event: Event) -> Snapshot:
    code, currency = account_code(bound, event.values["account"]), str(event.values["currency"])
    named, balance = bound.snapshot.ids("accounts", "currency"), bound.snapshot.numbers("accounts", "balance")
    owners = bound.snapshot.ids("accounts", "account").codes
    for row in np.flatnonzero(owners == code).tolist() if code is not None else ():
        if str(named.label(row)) == currency and balance is not None:
            after = (balance.exact(row) or Fraction(0)) + _number(event, "amount")
            return with_numbers(bound.snapshot, "accounts", "balance", {row: after})
    raise _fault("unknown_account", event, f"no balance of `{event.values['account']}` in {currency}")


def _funding(bound: Bound, event: Event) -> Snapshot:
    """Pay a period's funding: rate x value at the mark; above zero longs pay and shorts receive."""
    number, rate = instrument_number(bound, event.values["instrument"]), _number(event, "funding_rate")
    mark, size = bound.exact_mark(number), bound.plan.instruments.contract_size_exact[number]
    currency = bound.plan.currencies[int(bound.plan.instruments.currency[number])]
    cross: dict[int, Fraction] = {}
    isolated: dict[int, Fraction] = {}
    rows = _balance_rows(bound, currency)
    p = bound.positions
    for i in np.flatnonzero((p.instrument == number) & (p.quantity != 0)).tolist():
        quantity, _, _ = bound.exact_position(i)
        value = quantity * size / mark if bound.plan.instruments.inverse[number] else quantity * size * mark
        into = isolated if bound.buckets.instrument[p.bucket[i]] != CROSS else cross
        row = p.row_of(i) if into is isolated else rows[int(p.account[i])]
        into[row] = into.get(row, Fraction(0)) - value * rate
    snapshot = bound.snapshot
    for table, column, cells in (("accounts", "balance", cross), ("positions", "isolated_margin", isolated)):
        given = snapshot.numbers(table, column)
        if cells and given is not None:
            after = {row: (given.exact(row) or Fraction(0)) + change for row, change in cells.items()}
            snapshot = with_numbers(snapshot, table, column, after)
    return snapshot


def _balance_rows(bound: Bound, currency: str) -> dict[int, int]:
    named, owners = bound.snapshot.ids("accounts", "currency"), bound.snapshot.ids("accounts", "account").codes
    return {int(owners[row]): row for row in range(len(owners)) if str(named.label(row)) == currency}


def _defaulted(bound: Bound, event: Event) -> frozenset[int]:
    code = account_code(bound, event.values["account"])
    if code is None:
        raise _fault("unknown_account", event, f"no account `{event.values['account']}`")
    return frozenset(range(int(bound.buckets.start[code]), int(bound.buckets.start[code + 1])))


def as_events(events: Iterable[Event | Mapping[str, Any]]) -> list[Event]:
    """Return events given as mappings or as such; SnapshotError for one that is none."""
    out = []
    for k, event in enumerate(events):
        try:
            out.append(event if isinstance(event, Event) else event_of(event, k))
        except (ValueError, TypeError) as error:
            raise SnapshotError(Finding("invalid_value", f"events[{k}]: {error}", f"kinds: {one_of(KINDS)}")) from None
    return sorted(out, key=lambda e: e.sequence)
