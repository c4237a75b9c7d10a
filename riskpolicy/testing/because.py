"""The part of an account's explanation that a wrong cell is about."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from riskpolicy.engines.core.reasons import Reason
from riskpolicy.engines.core.tables import Value
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.engines.explain import explain_account

_NUMBER = re.compile(r"[-~]?[0-9][0-9.]*")
#: What the statements of an explanation begin with, by the column that they explain; `#` stands for a number. A
#: statement is kept with all below it; `liquidation.` and the like are the ids of rules.
_EQUITY, _MAINTENANCE, _VERDICT = ("equity #",), ("maintenance margin",), ("liquidation.", "equity is below zero")
_STARTS: Mapping[str, tuple[str, ...]] = {
    "balance": _EQUITY,
    "equity": _EQUITY,
    "unrealized_pnl": _EQUITY,
    "maintenance_margin": _MAINTENANCE,
    "notional": _MAINTENANCE,
    "tier": _MAINTENANCE,
    "initial_margin": ("initial margin",),
    "margin_ratio": (*_MAINTENANCE, *_EQUITY),
    "state": (*_VERDICT, *_EQUITY, *_MAINTENANCE),
    "liquidation_rank": (*_VERDICT, *_EQUITY, *_MAINTENANCE),
    "liquidation_price": ("liquidation price", "liquidation.trigger", *_EQUITY, *_MAINTENANCE),
    "bankruptcy_price": ("bankruptcy price", *_EQUITY),
    "adl_score": ("deleveraging",),
    "adl_rank": ("deleveraging",),
    "adl_light": ("deleveraging",),
    "amount": ("waterfall.", "equity is below zero"),
}


def because(evaluation: Evaluation, row: Mapping[str, Value], column: str) -> tuple[Reason, ...]:
    """Return the reasons of one cell: of the row's buckets, cut to the column; of draws, of whoever is bankrupt."""
    accounts = [row["account"]] if "account" in row else _bankrupt(evaluation)
    found = []
    for account in accounts:
        for reason in explain_account(evaluation, account):  # type: ignore[arg-type]
            if _of_row(reason, row):
                kept = _cut(reason, _STARTS.get(column, ()), row.get("instrument"))
                found.append(kept if kept.children else reason)
    if row.get("rule"):
        # A layer that pays nothing is in no explanation of an account.
        found.append(Reason(f"the layer `{row['layer']}` is stated by", str(row["rule"])))
    return tuple(found)


def _bankrupt(evaluation: Evaluation) -> list[Value]:
    buckets = evaluation.buckets
    rows = [i for i, state in enumerate(buckets["state"]) if state == "bankrupt"]
    return list(dict.fromkeys(buckets.columns["account"].value(i) for i in rows))


def _of_row(reason: Reason, row: Mapping[str, Value]) -> bool:
    """Return whether a bucket's reason is about the row: of its currency, and of its position or bucket."""
    head = reason.statement.rpartition(": ")[0]
    currency = row.get("currency")
    if currency is not None and f", {currency} " not in head:
        return False
    symbol = row.get("instrument")
    if symbol is None:
        return "state" not in row or head.endswith(" cross")
    if head.endswith(f" isolated {symbol}"):
        return True
    return head.endswith(" cross") and any(c.statement.startswith(f"{symbol}: ") for c in reason.children)


def _cut(reason: Reason, starts: Sequence[str], symbol: Value) -> Reason:
    return Reason(reason.statement, reason.rule, tuple(_kept(reason.children, starts, symbol)))


def _kept(reasons: Sequence[Reason], starts: Sequence[str], symbol: Value) -> Iterator[Reason]:
    for reason in reasons:
        said = _NUMBER.sub("#", reason.statement)
        if any(said.startswith(s) or (reason.rule or "").startswith(s) for s in starts):
            yield Reason(reason.statement, reason.rule, tuple(_of_symbol(reason.children, symbol)))
            continue
        of_position = reason.statement.endswith(" contracts") and ": " in reason.statement
        if not of_position or symbol is None or reason.statement.startswith(f"{symbol}: "):
            below = tuple(_kept(reason.children, starts, symbol))
            if below:
                yield Reason(reason.statement, reason.rule, below)


def _of_symbol(reasons: Sequence[Reason], symbol: Value) -> Iterator[Reason]:
    """Leave out the lines of other positions, where any line is of this one."""
    own = [r for r in reasons if r.statement.startswith(f"{symbol}: ")]
    yield from own if symbol is not None and own else reasons


def reason_lines(reasons: Sequence[Reason], place: Callable[[str], str], indent: str = "") -> Iterator[str]:
    """Yield reasons as indented lines, each rule id followed by where it stands."""
    for reason in reasons:
        rule = f"  [{reason.rule} {place(reason.rule)}]" if reason.rule else ""
        yield f"{indent}{reason.statement}{rule}"
        yield from reason_lines(reason.children, place, indent + "  ")


def all_statements(reasons: Sequence[Reason]) -> Iterator[str]:
    """Yield the statement of every reason and of all below it."""
    for reason in reasons:
        yield reason.statement
        yield from all_statements(reason.children)
