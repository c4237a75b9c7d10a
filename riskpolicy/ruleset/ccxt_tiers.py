"""CCXT's leverage tiers as a fragment of a ruleset: brackets where deductions are given, and checked; else steps."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal, localcontext
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeAlias

from riskpolicy.errors import Finding, RulesetError
from riskpolicy.numbers import NumberError, decimal_text, parse_decimal

Rate = Literal["bracket", "step"]
#: Where exchanges put a tier's deduction.
_DEDUCTIONS = ("cum", "mmDeduction")
#: Products of two numbers within the limits have fewer digits, so that no check is ever rounded.
_EXACT = Context(prec=500)
#: What a ruleset takes as a name, and what YAML takes as text without quotes.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,99}")
_BARE = re.compile(r"(?!(?:true|false|null|yes|no|on|off|y|n)$)[a-z][a-z0-9_]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Tier:
    """One tier as it was read; `row` is its place in the file's list, from 1."""

    row: int
    floor: Decimal
    cap: Decimal | None
    rate: Decimal
    max_leverage: Decimal
    deduction: Decimal | None


#: Payoff and settlement currency.
Terms: TypeAlias = tuple[str, str]


@dataclass
class Imported:
    """A fragment of a ruleset, what is wrong with the tiers, and what was assumed of them."""

    fragment: str
    findings: list[Finding] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def import_tiers(path: str | Path, rate: Rate | None = None) -> Imported:
    """Read a JSON file that maps symbols to lists of CCXT leverage tiers.

    A table is a bracket table where the tiers have deductions in `info`, which must be those that make the curve
    continuous; else a step table, with a warning, unless `rate` says bracket. Tables of equal rows are shared. Faulty
    symbols are left out of the fragment. RulesetError where the file can not be read.
    """
    made = Imported("")
    tables: dict[tuple[Any, ...], tuple[str, list[tuple[str, Terms]]]] = {}
    taken: set[str] = set()
    with localcontext(_EXACT):
        for symbol, listed in _read(Path(path)).items():
            before = len(made.findings)
            tiers = _tiers(symbol, listed, made)
            terms = _terms(symbol, listed, made.findings) if tiers else None
            found = _rate(symbol, tiers, rate, made) if terms and len(made.findings) == before else None
            if terms is None or found is None or len(made.findings) > before:
                continue
            key = (found, tuple((t.cap, t.rate, t.max_leverage) for t in tiers))
            if key not in tables:
                tables[key] = (_table_id(symbol, taken), [])
            tables[key][1].append((symbol, terms))
        made.fragment = _fragment(tables)
    return made


def _read(path: Path) -> Mapping[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"), parse_float=str, parse_int=str, object_pairs_hook=_once)
    except OSError as error:
        message = f"cannot read `{path}`: {error.strerror or error}"
        raise RulesetError(Finding("file_unreadable", message, "check the path")) from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise RulesetError(Finding("json_syntax", f"`{path}`: not JSON: {error}")) from None
    except _TwiceError as error:
        message = f"`{path}`: an object has the key `{error}` twice"
        raise RulesetError(Finding("duplicate_key", message, "keep one of the two")) from None
    if not isinstance(data, Mapping):
        hint = "what fetch_leverage_tiers returns: an object of lists by symbol"
        raise RulesetError(Finding("invalid_value", f"`{path}` maps no symbols to tiers", hint))
    return data


class _TwiceError(Exception):
    """A JSON object names a key twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(n for n in names if names.count(n) > 1))
    return made


def _tiers(symbol: str, listed: Any, made: Imported) -> list[Tier]:
    """Return the tiers of a symbol by rising floor; exchanges do not always send them in order."""
    findings = made.findings
    if not isinstance(listed, list) or not listed or not all(isinstance(t, Mapping) for t in listed):
        findings.append(Finding("invalid_value", f"{symbol}: no list of tiers"))
        return []
    tiers = [tier for k, t in enumerate(listed, 1) if (tier := _tier(symbol, k, t, findings)) is not None]
    if len(tiers) < len(listed):
        return []
    tiers.sort(key=lambda t: t.floor)
    _check(symbol, tiers, made)
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
    # Only a cap may be null: the tier has no end.
    lost = [key for key, value in known.items() if value is None and key != "maxNotional"]
    if lost:
        for key in lost:
            fault("missing_key", f"`{key}` is missing")
        return None
    floor, cap, rate, leverage = known.values()
    assert floor is not None
    assert rate is not None
    assert leverage is not None
    if leverage <= 0 or rate < 0:
        fault("invalid_value", "a rate is not below zero and a leverage above it")
        return None
    if rate >= 1 or rate * leverage > 1:
        # Maintenance above initial margin: 0.5 for 0.5 %.
        hint = f"write {decimal_text(rate / 100)} if {decimal_text(rate)} means percent"
        fault(
            "bare_rate",
            f"maintenance rate {decimal_text(rate)} at {decimal_text(leverage)}x is "
            + ("the whole position" if rate >= 1 else "above initial margin"),
            hint,
        )
        return None
    return Tier(row, floor, cap, rate, leverage, _deduction(given, fault))


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


def _check(symbol: str, tiers: Sequence[Tier], made: Imported) -> None:
    """Find gaps, overlaps, caps and rates that do not rise, and leverages that do not fall."""

    def fault(code: str, tier: Tier, message: str, hint: str = "") -> None:
        made.findings.append(Finding(code, f"{symbol}, tier {tier.row}: {message}", hint))

    first, lot = tiers[0], _lot(tiers)
    if lot:
        made.warnings.append(f"{symbol}: every tier starts {decimal_text(lot)} above the one before; taken as no gap")
    if first.floor < 0 or first.floor not in (0, lot):
        fault("tier_gap", first, f"the first tier starts at {decimal_text(first.floor)}", "start it at 0")
    for tier in tiers:
        if tier.cap is not None and tier.cap <= tier.floor:
            caps = f"cap {decimal_text(tier.cap)} is not above {decimal_text(tier.floor)}"
            fault("tier_cap_order", tier, caps)
    for before, tier in pairwise(tiers):
        if before.cap is None:
            fault("tier_overlap", tier, "a tier after one without a cap")
        elif tier.floor - before.cap not in (0, lot):
            code, word = ("tier_gap", "gap") if tier.floor > before.cap else ("tier_overlap", "overlap")
            edges = f"starts at {decimal_text(tier.floor)}, the one before ends at {decimal_text(before.cap)}"
            fault(code, tier, f"{word}: {edges}", f"start it at {decimal_text(before.cap)}")
        if tier.rate < before.rate:
            rates = f"maintenance rate {decimal_text(tier.rate)} is below {decimal_text(before.rate)}"
            fault("tier_rate_order", tier, f"{rates}, the tier before's")
        if tier.max_leverage > before.max_leverage:
            more = f"maximum leverage {decimal_text(tier.max_leverage)} is above {decimal_text(before.max_leverage)}"
            fault("invalid_value", tier, f"{more}, the tier before's")


def _lot(tiers: Sequence[Tier]) -> Decimal:
    """Return how much higher each tier of a table in contracts starts (0 to 1000, 1001 to 2500), zero for other tables.

    A single step would not tell a lot from a mistake, and tables with deductions have no lots.
    """
    steps = [tier.floor - before.cap for before, tier in pairwise(tiers) if before.cap is not None]
    lots = len(steps) > 1 and len(set(steps)) == 1 and 0 < steps[0] <= 1
    return steps[0] if lots and all(tier.deduction is None for tier in tiers) else Decimal(0)


def _rate(symbol: str, tiers: Sequence[Tier], declared: Rate | None, made: Imported) -> Rate:
    """Return the rate of a table; check the deductions that are there against the curve."""
    given = any(tier.deduction is not None for tier in tiers)
    if given and declared != "step":
        _check_deductions(symbol, tiers, made.findings)
    elif given:
        made.warnings.append(f"{symbol}: the deductions are left out, as --rate step declares")
    if declared is not None or given:
        return declared or "bracket"
    if len(tiers) > 1:
        made.warnings.append(
            f"{symbol}: no deductions, so the whole position has its tier's rate; --rate bracket if not"
        )
    return "step"


def _check_deductions(symbol: str, tiers: Sequence[Tier], findings: list[Finding]) -> None:
    """Compare the deductions with those that make the curve continuous; that of the first tier may be left out."""
    due = Decimal(0)
    for before, tier in zip([None, *tiers], tiers, strict=False):
        if before is not None and before.cap is not None:
            due += before.cap * (tier.rate - before.rate)
        where = f"{symbol}, tier {tier.row}"
        if tier.deduction is None and before is not None:
            message = f"{where}: no deduction, while other tiers have one"
            findings.append(Finding("missing_key", message, f"it should be {decimal_text(due)}"))
        elif tier.deduction is not None and tier.deduction != due:
            got = f"deduction {decimal_text(tier.deduction)} breaks the curve; it should be {decimal_text(due)}"
            findings.append(Finding("tier_deduction", f"{where}: {got}"))


def _text(value: Any) -> str:
    # Numbers of the file are kept as they are written; JSON has no others but NaN and Infinity.
    return value if isinstance(value, str) else repr(value)


def _table_id(symbol: str, taken: set[str]) -> str:
    name = "".join(c if c.isascii() and c.isalnum() else "_" for c in symbol).strip("_").lower()
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _fragment(tables: Mapping[tuple[Any, ...], tuple[str, list[tuple[str, Terms]]]]) -> str:
    """Return instruments and tier tables as YAML; symbols of equal tiers share a table."""
    lines = [
        "# Instruments and tier tables from CCXT leverage tiers.",
        "# Tiers do not say the contract_size, which is 1 unless written, nor lot, tick and fund: add them.",
        "# They do not say either what minNotional counts: money here, as `key: notional`; contracts or coins at some",
        "# venues.",
        "instruments:",
    ]
    for table, members in tables.values():
        for payoff, settle in sorted({terms for _, terms in members}):
            names = ", ".join(json.dumps(symbol) for symbol, terms in members if terms == (payoff, settle))
            terms = f"payoff: {payoff}, settle: {_quoted(settle)}, tiers: {_quoted(table)}"
            lines.append(f"  - {{symbols: [{names}], {terms}}}")
    lines += ["margin:", "  tiers:"]
    for (rate, rows), (table, _) in tables.items():
        lines += [
            f"    - id: {_quoted(table)}",
            "      key: notional",
            "      basis: mark",
            f"      rate: {rate}",
            "      edge: lower",
        ]
        lines += ["      columns: [up_to, maintenance, max_leverage]", "      rows:"]
        for cap, maintenance, leverage in rows:
            end = "unlimited" if cap is None else decimal_text(cap)
            lines.append(f"        - [{end}, {decimal_text(maintenance * 100)}%, {decimal_text(leverage)}]")
    return "\n".join(lines) + "\n" if tables else ""


def _quoted(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name)


def _terms(symbol: str, listed: Any, findings: list[Finding]) -> Terms | None:
    """Return payoff and settlement currency of a unified symbol, BASE/QUOTE:SETTLE; None where it has none."""
    pair, _, settle = symbol.partition(":")
    base, _, quote = pair.partition("/")
    settle = settle.partition("-")[0] or quote or str(listed[0].get("currency") or "")
    for name in (symbol, settle):
        if not _NAME.fullmatch(name):
            what = f"`{name}` is no name of the language" if name else "no settlement currency"
            hint = "rename it to letters, digits and _ . : / -" if name else "write the symbol as BASE/QUOTE:SETTLE"
            findings.append(Finding("invalid_value", f"{symbol}: {what}", hint))
            return None
    if settle == base and settle != quote:
        return "inverse", settle
    # Dollars and the coins that stand for them are one money here.
    same = not quote or settle == quote or (settle.startswith("USD") and quote.startswith("USD"))
    return ("linear" if same else "quanto"), settle
