"""A day's fees in a terminal: what each flow brings in, who gets it, what the funds lack and when they have it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from riskpolicy.engines.fees import FeeReport, Flow, Refill
from riskpolicy.engines.funding import FundingWarning
from riskpolicy.engines.funds import FundLine
from riskpolicy.numbers import fraction_text
from riskpolicy.report.text import amount, bar, plain_table, titled


def fees_text(report: FeeReport, lines: Sequence[FundLine] = (), warnings: Sequence[FundingWarning] = ()) -> Group:
    """Return the report; `lines` and `warnings` are a snapshot's, empty where none was given."""
    parts: list[Any] = [_incomes(report), Text(), _receivers(report)]
    if report.plugin:
        parts.append(Text(f"The plugin {report.plugin} splits fees.", style="dim"))
    if report.uncapped:
        names = ", ".join(name.removeprefix("fees.split.") for name in report.uncapped)
        parts.append(Text(f"Caps of {names} are not counted: --trade-size says how large a trade is.", style="dim"))
    if report.refills:
        parts += [Text(), _refills(report)]
    if lines:
        parts += [Text(), _funds(lines)]
        if any(line.riders for line in lines):
            parts += [Text(), _riders(lines)]
    if warnings:
        parts += [Text(), _warnings(warnings)]
    return Group(*parts)


def _incomes(report: FeeReport) -> RenderableType:
    table = plain_table(
        [("fee", False), ("tier", False), ("notional a day", True), ("rate", True), ("fees a day", True)]
    )
    for income in report.incomes:
        flow = income.flow
        table.add_row(
            flow.kind, flow.tier or "", amount(float(flow.notional)), _percent(flow.rate), _money(report, income.fee)
        )
    table.add_row("", "", "", "", _money(report, report.total))
    return titled(f"Fees of a day, in {report.currency}", table)


def _receivers(report: FeeReport) -> RenderableType:
    table = plain_table([("receiver", False), ("a day", True), ("part", True), ("", False)])
    for receiver, quanta in report.receivers.items():
        part = Fraction(quanta, report.total) if report.total else Fraction(0)
        table.add_row(receiver, _money(report, quanta), _percent(part, 1), bar(float(part)))
    return titled("Who gets it", table)


def _refills(report: FeeReport) -> RenderableType:
    columns = [("fund", False), ("lacks", True), ("fees a day", True), ("part that refills", True), ("days", True)]
    table = plain_table(columns)
    for refill in report.refills:
        table.add_row(
            refill.fund, _money(report, refill.lack), _money(report, refill.income), _percent(refill.share, 0),
            _days(refill),
        )  # fmt: skip
    return titled("Until it is refilled", table)


def _funds(lines: Sequence[FundLine]) -> RenderableType:
    columns = [("fund", False), ("balance", True), ("target", True), ("lacks", True), ("refill below", True)]
    table = plain_table([*columns, ("refill", False)])
    for line in lines:
        due = {True: f"due, by {_percent(line.refill_share, 0)} of its fees", False: "", None: "not known"}
        cells = [_shown(x) for x in (line.balance, line.target, line.lack, line.refill_below)]
        table.add_row(f"{line.fund} {line.currency}", *cells, due[line.refill_due])
    return titled("Funds", table)


def _riders(lines: Sequence[FundLine]) -> RenderableType:
    table = plain_table([("account", False), ("pays into", False), ("base", True), ("amount", True), ("", False)])
    for line in lines:
        for due in line.riders:
            back = "refundable" if due.refundable else ""
            table.add_row(due.account, line.fund, amount(float(due.base)), amount(float(due.amount)), back)
    return titled("Margin riders", table)


def _warnings(warnings: Sequence[FundingWarning]) -> RenderableType:
    columns = [("account", False), ("next payment", True), ("", False), ("margin ratio", True), ("after", True)]
    table = plain_table(columns)
    for w in warnings:
        after = "infinite" if isinstance(w.ratio_after, float) else _percent(w.ratio_after, 1)
        table.add_row(w.account, amount(float(w.payment)), w.currency, _percent(Fraction(w.ratio), 1), after)
    return titled("Pushed towards liquidation by the next funding payment", table)


def _percent(value: Fraction, places: int = 4) -> str:
    text = f"{float(value * 100):.{places}f}"
    return f"{text.rstrip('0').rstrip('.') if places > 1 else text}%"


def _money(report: FeeReport, quanta: int) -> str:
    return amount(float(quanta * report.quantum))


def _shown(value: Fraction | None) -> str:
    return "-" if value is None else amount(float(value))


def _days(refill: Refill) -> str:
    return "never" if refill.days is None else amount(float(refill.days), 1)


def fees_dict(report: FeeReport) -> dict[str, Any]:
    """Return the report as plain data for JSON: money as decimal text in `currency`, rates and days as numbers.

    `flows` (kind, tier, rate, notional, fee, and `shares` by receiver), `receivers`, `total`, `refills` (fund, lack,
    income a day, share that refills, days or None for never), `uncapped` (ids of parts whose caps are not counted),
    `plugin` (which splits fees in place of the ruleset, and was not asked; or None).
    """

    def money(quanta: int) -> str:
        return fraction_text(quanta * report.quantum)

    def flow_of(flow: Flow) -> dict[str, Any]:
        return {
            "kind": flow.kind, "tier": flow.tier, "rate": float(flow.rate), "notional": fraction_text(flow.notional)
        }  # fmt: skip

    return {
        "currency": report.currency,
        "flows": [
            {**flow_of(i.flow), "fee": money(i.fee), "shares": {to: money(q) for to, q in i.shares.items()}}
            for i in report.incomes
        ],
        "receivers": {to: money(q) for to, q in report.receivers.items()},
        "total": money(report.total),
        "refills": [
            {
                "fund": r.fund, "lack": money(r.lack), "income": money(r.income), "share": float(r.share),
                "days": None if r.days is None else float(r.days),
            }
            for r in report.refills
        ],
        "uncapped": list(report.uncapped),
        "plugin": report.plugin,
    }  # fmt: skip


def warning_dict(warning: FundingWarning) -> dict[str, Any]:
    """Return a warning as plain data for JSON: money as decimal text, ratios as numbers or `Infinity`."""

    def ratio(value: Fraction | float) -> float | str:
        return "Infinity" if isinstance(value, float) else float(value)

    return {
        "account": warning.account, "currency": warning.currency, "instrument": warning.instrument,
        "payment": fraction_text(warning.payment).lstrip("~"), "margin_ratio": ratio(warning.ratio),
        "margin_ratio_after": ratio(warning.ratio_after), "rule": warning.rule,
    }  # fmt: skip
