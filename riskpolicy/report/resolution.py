"""A resolution in a terminal: what happened, who paid as a waterfall with bars, who was deleveraged."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from riskpolicy.engines.core.ledger import Entry
from riskpolicy.engines.core.resolution import Resolution
from riskpolicy.numbers import moment_of
from riskpolicy.report.text import amount, bar, plain_table, price, quantity, titled

#: What events book on accounts, by its words in the ledger.
CAME = frozenset({
    "fill", "maker fee", "taker fee", "deposit", "withdrawal", "cut of a withdrawal", "funding", "stake",
    "request unstake", "cancel unstake", "unstake",
})  # fmt: skip


def resolution_report(result: Resolution, rows: int) -> RenderableType:
    """Return the report; of long lists `rows` rows are shown."""
    came = [e for e in result.ledger.entries if e.currency is not None and e.what in CAME and e.account[:1] != "@"]
    parts: list[Any] = [_events(result, came, rows), Text()] if came else []
    if not result.steps and not result.draws:
        return Group(*parts, Text("Nothing is due: every bucket is healthy."))
    parts += [_steps(result, rows), Text(), _draws(result)]
    if result.deleveraged:
        parts += [Text(), _deleveraged(result, rows)]
    if result.skipped:
        parts += [Text(), Text(f"Passed over in deleveraging: {_passed_over(result)}.")]
    parts += [Text(), *fees] if (fees := _fees(result)) else []
    for currency, left in result.residual.items():
        parts += [Text(), Text(f"Nobody pays {amount(float(left))} {currency}: the residual.", style="bold red")]
    if result.waiting:
        names = ", ".join(result.waiting[:5]) + (
            f" and {len(result.waiting) - 5} more" if len(result.waiting) > 5 else ""
        )
        parts += [Text(), Text(f"Still in liquidation, waiting for the market: {names}.")]
        if result.resumes:
            first = min(result.resumes.values())
            at = moment_of(first).isoformat(sep=" ").replace("+00:00", " UTC")
            parts += [Text(f"By the rules {len(result.resumes)} of them can go on, the first at {at}.")]
    if result.warnings:
        warned = result.warnings[0]
        parts += [
            Text(),
            Text(
                f"Funding pushes {len(result.warnings)} account{'s' if len(result.warnings) > 1 else ''} towards "
                f"liquidation, such as {warned.account}: margin ratio {float(warned.ratio_after):.4g} after it.",
                style="yellow",
            ),
        ]
    if result.plugins:
        used = ", ".join(f"{name} {version}" for name, version in sorted(result.plugins.items()))
        parts += [Text(), Text(f"Plugins: {used}.")]
    events, entries = result.ledger.events, len(result.ledger.entries)
    parts += [
        Text(),
        Text(f"{events:,} events of {entries:,} entries in the ledger, each summing to zero.", style="dim"),
    ]
    return Group(*parts)


def _events(result: Resolution, came: list[Entry], rows: int) -> RenderableType:
    table = plain_table([("account", False), ("event", False), ("amount", True), ("currency", False), ("rule", False)])
    for e in came[:rows]:
        money = (e.amount or 0) * result.ledger.quantum[e.currency or ""]
        table.add_row(e.account, e.what, amount(float(money)), e.currency, e.rule)
    return titled("Events", table, _more(len(came), rows))


def _steps(result: Resolution, rows: int) -> RenderableType:
    columns = [
        ("account", False),
        ("step", False),
        ("what", False),
        ("quantity", True),
        ("price", True),
        ("amount", True),
    ]
    table = plain_table(columns)
    for done in result.steps[:rows]:
        table.add_row(
            done.account, done.step.removeprefix("liquidation.steps."),
            done.what + (f" {done.instrument}" if done.instrument else ""),
            "" if done.quantity is None else quantity(float(done.quantity)),
            "" if done.price is None else price(float(done.price)),
            "" if done.amount is None else amount(float(done.amount)),
        )  # fmt: skip
    return titled("Steps", table, _more(len(result.steps), rows))


def _draws(result: Resolution) -> RenderableType:
    totals: dict[tuple[str, str, str], Fraction] = {}
    for layer, currency, paid, rule, _ in result.draws:
        totals[layer, currency, rule] = totals.get((layer, currency, rule), Fraction(0)) + paid
    table = plain_table([("layer", False), ("amount", True), ("currency", False), ("", False), ("rule", False)])
    most = max(totals.values(), default=Fraction(0))
    for (layer, currency, rule), paid in totals.items():
        table.add_row(layer, amount(float(paid)), currency, bar(float(paid / most) if most else 0), rule)
    return titled("Who pays", table, "" if totals else "nobody: every bucket bore its own loss")


def _deleveraged(result: Resolution, rows: int) -> RenderableType:
    columns = [
        ("account", False),
        ("instrument", False),
        ("closed", True),
        ("price", True),
        ("against", False),
        ("lost", True),
    ]
    table = plain_table(columns)
    for d in result.deleveraged[:rows]:
        cells = (
            d.account,
            d.instrument,
            quantity(float(d.quantity)),
            price(float(d.price)),
            d.against,
            amount(float(d.lost)),
        )
        table.add_row(*cells)
    return titled("Deleveraged", table, _more(len(result.deleveraged), rows))


def _passed_over(result: Resolution) -> str:
    """Return why positions were passed over, and how many for each reason; the first of them by name."""
    first: dict[str, str] = {}
    counts: dict[str, int] = {}
    for skipped in result.skipped:
        first.setdefault(skipped.why, skipped.account)
        counts[skipped.why] = counts.get(skipped.why, 0) + 1
    reasons = sorted(counts, key=lambda why: (-counts[why], why))
    said = [f"{why} ({first[why] if counts[why] == 1 else f'{counts[why]:,}'})" for why in reasons]
    return ", ".join(said)


def _fees(result: Resolution) -> list[Text]:
    """Return what fees of liquidation and deleveraging brought to whom, by currency."""
    brought: dict[str, dict[str, int]] = {}
    for e in result.ledger.entries:
        if e.what == "fee" and e.currency is not None and e.amount is not None and e.account.startswith("@"):
            of = brought.setdefault(e.currency, {})
            of[e.account[1:]] = of.get(e.account[1:], 0) + e.amount
    lines = []
    for currency, of in sorted(brought.items()):
        parts = [f"{amount(float(quanta * result.ledger.quantum[currency]))} to {name}" for name, quanta in of.items()]
        lines.append(Text(f"Fees in {currency}: {', '.join(parts)}."))
    return lines


def _more(count: int, rows: int) -> str:
    return f"{count - rows:,} more" if count > rows else ""
