"""Events between resolutions, as they are written: kinds, columns, order."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from riskpolicy.errors import Finding, SnapshotError, one_of, suggestion
from riskpolicy.numbers import parse_instant, utc


@dataclass(frozen=True, slots=True)
class Kind:
    """What an event of a kind carries besides sequence, at and kind."""

    needs: tuple[str, ...]
    may: tuple[str, ...] = ()


#: The kinds of events. `time` only moves the clock.
KINDS: Mapping[str, Kind] = {
    "time": Kind(()),
    "mark": Kind(("instrument", "mark_price"), ("index_price", "oracle_price", "premium", "market_state")),
    "fill": Kind(("account", "instrument", "side", "quantity", "price"), ("position_side", "liquidity")),
    "funding": Kind(("instrument",), ("funding_rate",)),
    "deposit": Kind(("account", "currency", "amount")),
    "withdraw": Kind(("account", "currency", "amount")),
    "default": Kind(("account",)),
    "auction": Kind(("instrument", "price", "quantity"), ("account", "bidder")),
    "stake": Kind(("fund", "account", "amount")),
    "request_unstake": Kind(("fund", "account", "shares")),
    "cancel_unstake": Kind(("fund", "account")),
    "unstake": Kind(("fund", "account")),
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `values` are columns of the table that it touches, `at` its instant, None for the one before."""

    sequence: int
    kind: str
    values: Mapping[str, Any]
    at: datetime | None = None


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
        except (ValueError, TypeError, OverflowError) as error:
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
    rules = KINDS[kind]
    unknown = [key for key in values if key not in (*rules.needs, *rules.may)]
    lost = [key for key in rules.needs if key not in values]
    if unknown or lost:
        wrong = f"not {one_of(unknown)}" if unknown else f"{one_of(lost)} is missing"
        raise ValueError(f"an event `{kind}` has {one_of((*rules.needs, *rules.may)) or 'nothing more'}; {wrong}")
    at = raw.get("at")
    if at is not None and not isinstance(at, datetime):
        at = parse_instant(str(at))
    return Event(int(raw.get("sequence", sequence)), kind, values, None if at is None else utc(at))


def as_events(events: Iterable[Event | Mapping[str, Any]]) -> list[Event]:
    """Return events given as mappings or as such; SnapshotError for one that is none."""
    out = []
    for k, event in enumerate(events):
        try:
            out.append(event if isinstance(event, Event) else event_of(event, k))
        except (ValueError, TypeError, OverflowError) as error:
            raise SnapshotError(Finding("invalid_value", f"events[{k}]: {error}", f"kinds: {one_of(KINDS)}")) from None
    return sorted(out, key=lambda e: e.sequence)
