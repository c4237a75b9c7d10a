"""Policies compared, in a terminal and as plain data: a row a policy, the metrics as columns."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from riskpolicy.engines.comparison import Comparison, Row
from riskpolicy.engines.core.adl import Allocation
from riskpolicy.engines.policies import ProfitHaircut
from riskpolicy.numbers import decimal_text, fraction_text
from riskpolicy.report.text import price, quantity, titled

#: The columns of the table: heading, and the field of a row. They fit into 100 places beside the longest name.
COLUMNS = (
    ("\nbudget", "budget"), ("over-\nshoot", "overshoot"), ("under-\nshoot", "undershoot"), ("resi-\ndual", "residual"),
    ("\ngive", "participation"), ("haircut\nlargest", "largest_haircut"), ("\nmedian", "median_haircut"),
    ("inver-\nsions", "rank_inversions"), ("top/\ncovered", "top_survivor_over_covered"),
    ("top/\nuncov.", "top_survivor_over_uncovered"), ("\nchurn", "churn"),
)  # fmt: skip
#: What a policy is against the reference, over the whole wave.
AGAINST = (
    ("tracking", "tracking"), ("fairness", "fairness"), ("path variation", "path_variation"),
)  # fmt: skip
_PERCENT = {"participation", "largest_haircut", "median_haircut", "churn"}
_RATIOS = {"top_survivor_over_covered", "top_survivor_over_uncovered"}


def comparison_report(comparisons: Sequence[Comparison], rows: int, *, accounts: bool = False) -> RenderableType:
    """Return the tables; of long lists of events, and of accounts that give, `rows` are named."""
    if not comparisons:
        return Text("No bucket is bankrupt: there is nothing to deleverage. Say --instrument, --side and --quantity.")
    parts: list[RenderableType] = []
    for c in comparisons:
        against = f"Against {c.reference}, over {len(c.events):,} event{'s' if len(c.events) > 1 else ''}"
        parts += [*_events(c, rows), Text(), _table(c, f"{c.currency}", COLUMNS), Text(), _table(c, against, AGAINST)]
        parts += [Text(), _givers(c, rows)] if accounts else []
        parts.append(Text())
    return Group(*parts[:-1])


def _givers(c: Comparison, rows: int) -> RenderableType:
    """Return who gives how much under each policy, in all events together, those who give most first."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("policy", header_style="dim", no_wrap=True)
    table.add_column("who gives", header_style="dim")
    for run in c.runs:
        total: dict[str, Fraction] = {}
        paid, several = False, len({d.instrument for d in c.events}) > 1
        for event, names, of in zip(c.events, run.accounts, run.allocations, strict=True):
            paid = isinstance(of, ProfitHaircut)
            for account, x in zip(names, of.paid if isinstance(of, ProfitHaircut) else of.given, strict=True):
                name = f"{account} in {event.instrument}" if several and not paid else account
                if x:
                    total[name] = total.get(name, Fraction(0)) + x
        # Of equal parts the account decides, so that the order of rows never shows.
        most = sorted(total.items(), key=lambda row: (-row[1], row[0]))
        form = money if paid else quantity
        shown = ", ".join(f"{name} {form(float(x))}" for name, x in most[:rows])
        more = f" and {len(most) - rows:,} more" if shown and len(most) > rows else ""
        who = shown + more if shown else f"{len(most):,} accounts" if most else "nobody"
        table.add_row(run.policy, f"{who}{' (money)' if paid and shown else ''}")
    return titled("Contracts given", table)


def _table(c: Comparison, title: str, columns: Sequence[tuple[str, str]]) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("policy", header_style="dim", no_wrap=True, vertical="bottom")
    for heading, _ in columns:
        table.add_column(heading, header_style="dim", justify="right", no_wrap=True)
    for row in c.rows:
        table.add_row(row.policy, *(cell(row, field) for _, field in columns))
    return titled(title, table)


def cell(row: Row, field: str) -> str:
    """Return one number of a row as it reads in the table, in at most seven places."""
    value = getattr(row, field)
    if value is None:
        return "-"
    if field == "rank_inversions":
        return f"{value:,}"
    number = float(value)
    if math.isinf(number):
        return "inf"
    if field in _PERCENT:
        return percent(number)
    return f"{number:,.2f}" if field in _RATIOS and number < 1000 else money(number)


def percent(share: float) -> str:
    """Return a share in percent with three digits; above 1000 % whole."""
    points = share * 100
    places = 2 if points < 9.995 else 1 if points < 99.95 else 0
    return f"{points:,.{places}f}%"


def money(number: float) -> str:
    """Return an amount in at most seven places: cents below 1,000, whole below 100,000, then k, M and B."""
    if number < 999.995:
        return f"{number:,.2f}"
    if number < 99_999.5:
        return f"{number:,.0f}"
    for unit, word, places in ((1e9, "B", 2), (1e6, "M", 2), (1e3, "k", 1)):
        if number >= unit * 0.99995:
            return f"{number / unit:,.{places}f}{word}"
    raise AssertionError(number)


def _events(c: Comparison, rows: int) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for d in c.events[:rows]:
        asked = quantity(float(d.contracts))
        text = f"{asked} {d.instrument} of {d.side}s at {price(float(d.price))}, mark {price(float(d.mark_price))}"
        lines.append(Text(f"{text}: deficit {money(float(d.deficit))}", style="dim"))
    if len(c.events) > rows:
        lines.append(Text(f"{len(c.events) - rows:,} more events", style="dim"))
    return lines


def comparison_dict(comparisons: Sequence[Comparison], *, accounts: bool = False) -> dict[str, Any]:
    """Return everything as plain data for JSON: money as decimal text, fractions as numbers, "Infinity" where so.

    With `accounts`, of each event also who gives how much, who gives nothing and why, and what remains.
    """
    return {"comparisons": [_dict(c, accounts=accounts) for c in comparisons]}


_MONEY = {
    "budget", "needed", "overshoot", "undershoot", "residual", "top_survivor", "path_variation", "tracking", "fairness",
}  # fmt: skip


def _dict(c: Comparison, *, accounts: bool) -> dict[str, Any]:
    events = [
        {
            "instrument": d.instrument, "side": d.side, "contracts": float(d.contracts), "price": float(d.price),
            "mark_price": float(d.mark_price), "deficit": decimal_text(float(d.deficit)),
        }
        for d in c.events
    ]  # fmt: skip
    rows = [{f.name: _plain(f.name, getattr(r, f.name)) for f in dataclasses.fields(r)} for r in c.rows]
    for row, run in zip(rows, c.runs, strict=True):
        row["severities"] = [float(share) for share in run.severities]
        if accounts:
            row["allocations"] = [_allocation(*event) for event in zip(run.accounts, run.allocations, strict=True)]
    return {"currency": c.currency, "reference": c.reference, "events": events, "policies": rows}


def _allocation(accounts: Sequence[str], of: Allocation | ProfitHaircut) -> dict[str, Any]:
    """Return who gives what in one event: contracts, or of a haircut on profit money."""
    skipped = [{"account": a, "why": why} for a, why in zip(accounts, of.skipped, strict=True) if why is not None]
    if isinstance(of, ProfitHaircut):
        paid = [{"account": a, "paid": fraction_text(x)} for a, x in zip(accounts, of.paid, strict=True) if x]
        return {"given": paid, "remaining": fraction_text(of.remaining), "skipped": skipped}
    given = [{"account": a, "contracts": float(x)} for a, x in zip(accounts, of.given, strict=True) if x]
    return {"given": given, "remaining": float(of.remaining), "skipped": skipped}


def _plain(field: str, value: Any) -> Any:
    if isinstance(value, float) and math.isinf(value):
        return "Infinity"
    if isinstance(value, Fraction):
        return decimal_text(float(value)) if field in _MONEY else float(value)
    return value
