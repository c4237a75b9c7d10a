"""CCXT's leverage tiers as a fragment of a ruleset: brackets where deductions are given, and checked; else steps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from riskpolicy.errors import Finding, RulesetError
from riskpolicy.numbers import NumberError, decimal_text, parse_decimal

Rate = Literal["bracket", "step"]
#: Where exchanges put a tier's deduction.
_DEDUCTIONS = ("cum", "mmDeduction")


@dataclass(frozen=True, slots=True)
class Tier:
    """One tier as it was read; `row` is its place in the file's list, from 1."""

    row: int
    floor: Decimal
    cap: Decimal | None
    rate: Decimal
    max_leverage: Decimal
    deduction: Decimal | None


@dataclass
class Imported:
    """A fragment of a ruleset, what is wrong with the tiers, and what was assumed of them."""

    fragment: str
    findings: list[Finding] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def import_tiers(path: str | Path, rate: Rate | None = None) -> Imported:
    """Read a JSON file that maps symbols to lists of CCXT leverage tiers.

    A table is a bracket table where every tier has a deduction in `info`, which must be the one that makes the curve
    continuous; else a step table, with a warning, unless `rate` says bracket. Faulty symbols are left out of the
    fragment. RulesetError where the file can not be read.
    """
    made = Imported("")
    tables: dict[tuple[Any, ...], tuple[str, list[str]]] = {}
    for symbol, listed in _read(Path(path)).items():
        before = len(made.findings)
        tiers = _tiers(symbol, listed, made.findings)
        found = _rate(symbol, tiers, rate, made) if tiers and len(made.findings) == before else None
        if found is None or len(made.findings) > before:
            continue
        rows = tuple((t.cap, t.rate, t.max_leverage) for t in tiers)
        _, symbols = tables.setdefault((found, rows), (_table_id(symbol, tables), []))
        symbols.append(symbol)
    made.fragment = _fragment(tables)
    return made


def _read(path: Path) -> Mapping[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"), parse_float=Decimal)
    except OSError as error:
        message = f"cannot read `{path}`: {error.strerror or error}"
        raise RulesetError(Finding("file_unreadable", message, "check the path")) from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise RulesetError(Finding("json_syntax", f"`{path}`: not JSON: {error}")) from None
    if not isinstance(data, Mapping):
        hint = "what fetch_leverage_tiers returns: an object of lists by symbol"
        raise RulesetError(Finding("invalid_value", f"`{path}` maps no symbols to tiers", hint))
    return data


def _tiers(symbol: str, listed: Any, findings: list[Finding]) -> list[Tier]:
    """Return the tiers of a symbol by rising floor; exchanges do not always send them in order."""
    if not isinstance(listed, list) or not listed or not all(isinstance(t, Mapping) for t in listed):
        findings.append(Finding("invalid_value", f"{symbol}: no list of tiers"))
        return []
    tiers = [tier for k, t in enumerate(listed, 1) if (tier := _tier(symbol, k, t, findings)) is not None]
    if len(tiers) < len(listed):
        return []
    tiers.sort(key=lambda t: t.floor)
    _check(symbol, tiers, findings)
    return tiers


def _tier(symbol: str, row: int, given: Mapping[str, Any], findings: list[Finding]) -> Tier | None:
    def fault(code: str, message: str, hint: str = "") -> None:
        findings.append(Finding(code, f"{symbol}, tier {row}: {message}", hint))

    known: dict[str, Decimal | None] = {}
    for key in ("minNotional", "maxNotional", "maintenanceMarginRate", "maxLeverage"):
        value = given.get(key)
        try:
            known[key] = None if value is None else parse_decimal(_text(value))
        except NumberError as error:
            fault("invalid_value", f"`{key}`: {error}")
            return None
    for key in ("maintenanceMarginRate", "maxLeverage"):
        if known[key] is None:
            fault("missing_key", f"`{key}` is missing")
            return None
    rate, leverage, cap = known["maintenanceMarginRate"], known["maxLeverage"], known["maxNotional"]
    assert rate is not None
    assert leverage is not None
    if leverage <= 0 or rate < 0:
        fault("invalid_value", "a rate is not below zero and a leverage above it")
        return None
    if rate > 1 or rate * leverage > 1:
        # Maintenance above initial margin: 0.5 for 0.5 %.
        hint = f"write {decimal_text(rate / 100)} if {decimal_text(rate)} means percent"
        fault(
            "bare_rate",
            f"maintenance rate {decimal_text(rate)} at {decimal_text(leverage)}x is above initial margin",
            hint,
        )
        return None
    return Tier(row, known["minNotional"] or Decimal(0), cap, rate, leverage, _deduction(given, fault))


def _deduction(given: Mapping[str, Any], fault: Any) -> Decimal | None:
    info = given.get("info")
    for key in _DEDUCTIONS:
        value = info.get(key) if isinstance(info, Mapping) else None
        if value is not None and value != "":
            try:
                return parse_decimal(_text(value))
            except NumberError as error:
                fault("invalid_value", f"`info.{key}`: {error}")
    return None


def _check(symbol: str, tiers: Sequence[Tier], findings: list[Finding]) -> None:
    """Find gaps, overlaps, caps and rates that do not rise, and leverages that do not fall."""

    def fault(code: str, tier: Tier, message: str, hint: str = "") -> None:
        findings.append(Finding(code, f"{symbol}, tier {tier.row}: {message}", hint))

    first = tiers[0]
    if first.floor > 0:
        fault("tier_gap", first, f"the first tier starts at {decimal_text(first.floor)}", "start it at 0")
    for tier in tiers:
        if tier.cap is not None and tier.cap <= tier.floor:
            caps = f"cap {decimal_text(tier.cap)} is not above {decimal_text(tier.floor)}"
            fault("tier_cap_order", tier, caps)
    for before, tier in pairwise(tiers):
        if before.cap is None:
            fault("tier_overlap", tier, "a tier after one without a cap")
        elif tier.floor > before.cap:
            gap = f"starts at {decimal_text(tier.floor)}, the one before ends at {decimal_text(before.cap)}"
            # Tables in contracts go on one lot later: 0 to 1000, 1001 to 2500.
            if tier.floor - before.cap > 1:
                fault("tier_gap", tier, f"gap: {gap}")
        elif tier.floor < before.cap:
            overlap = f"starts at {decimal_text(tier.floor)}, the one before ends at {decimal_text(before.cap)}"
            fault("tier_overlap", tier, f"overlap: {overlap}")
        if tier.rate < before.rate:
            rates = f"maintenance rate {decimal_text(tier.rate)} is below {decimal_text(before.rate)}"
            fault("tier_rate_order", tier, f"{rates}, the tier before's")
        if tier.max_leverage > before.max_leverage:
            more = f"maximum leverage {decimal_text(tier.max_leverage)} is above {decimal_text(before.max_leverage)}"
            fault("invalid_value", tier, f"{more}, the tier before's")


def _rate(symbol: str, tiers: Sequence[Tier], declared: Rate | None, made: Imported) -> Rate:
    """Return the rate of a table; check the deductions that are there against the curve."""
    given = [t for t in tiers if t.deduction is not None]
    if given:
        due = Decimal(0)
        for before, tier in zip([None, *tiers], tiers, strict=False):
            if before is not None and before.cap is not None:
                due += before.cap * (tier.rate - before.rate)
            if tier.deduction is not None and tier.deduction != due:
                got = f"deduction {decimal_text(tier.deduction)} breaks the curve; it should be {decimal_text(due)}"
                made.findings.append(Finding("tier_deduction", f"{symbol}, tier {tier.row}: {got}"))
    if declared is not None:
        return declared
    if len(given) == len(tiers):
        return "bracket"
    if len(tiers) > 1:
        made.warnings.append(
            f"{symbol}: no deductions, so the whole position has its tier's rate; --rate bracket if not"
        )
    return "step"


def _text(value: Any) -> str:
    return str(value) if isinstance(value, int | Decimal | str) and not isinstance(value, bool) else repr(value)


def _table_id(symbol: str, tables: Mapping[Any, tuple[str, list[str]]]) -> str:
    name = "".join(c if c.isascii() and c.isalnum() else "_" for c in symbol).strip("_").lower() or "table"
    taken = {table for table, _ in tables.values()}
    while name in taken:
        name += "_"
    return name


def _fragment(tables: Mapping[tuple[Any, ...], tuple[str, list[str]]]) -> str:
    """Return instruments and tier tables as YAML; symbols of equal tiers share a table."""
    lines = [
        "# Tier tables imported from CCXT leverage tiers. Payoff, settlement and contract size are CCXT's by symbol;"
    ]
    lines += ["# check them, and the key: minNotional counts quote, coin, contracts or USD by venue.", "instruments:"]
    settled: set[str] = set()
    for table, symbols in tables.values():
        for kind in sorted({_terms(symbol) for symbol in symbols}):
            of_kind = [symbol for symbol in symbols if _terms(symbol) == kind]
            payoff, settle = kind
            settled.add(settle)
            names = ", ".join(json.dumps(symbol, ensure_ascii=False) for symbol in of_kind)
            lines.append(f"  - {{symbols: [{names}], payoff: {payoff}, settle: {settle}, tiers: {table}}}")
    lines += ["margin:", "  tiers:"]
    for (rate, rows), (table, _) in tables.items():
        lines += [
            f"    - id: {table}",
            "      key: notional",
            "      basis: mark",
            f"      rate: {rate}",
            "      edge: lower",
        ]
        lines += ["      columns: [up_to, maintenance, max_leverage]", "      rows:"]
        for cap, maintenance, leverage in rows:
            end = "unlimited" if cap is None else decimal_text(cap)
            lines.append(f"        - [{end}, {decimal_text(maintenance * 100)}%, {decimal_text(leverage)}]")
    return "\n".join(lines) + "\n"


def _terms(symbol: str) -> tuple[str, str]:
    """Return payoff and settlement currency of a unified symbol, BASE/QUOTE:SETTLE."""
    pair, _, settle = symbol.partition(":")
    base, _, quote = pair.partition("/")
    settle = settle.partition("-")[0] or quote or "USDT"
    return ("inverse" if settle == base and settle != quote else "linear"), settle
