"""An evaluation in a terminal: states, liquidation order, draws and the head of the deleveraging queue."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from riskpolicy.engines.core.tables import ResultTable
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.report.text import amount, bar, plain_table, price, quantity, titled
from riskpolicy.vocabulary import STATES

_STYLE = {"healthy": "green", "restricted": "yellow", "liquidatable": "dark_orange", "bankrupt": "red"}


def evaluation_report(evaluation: Evaluation, rows: int = 10) -> Group:
    """Return the report; `rows` limits every list of positions and buckets."""
    parts: list[RenderableType] = [_headline(evaluation), _states(evaluation)]
    if len(evaluation.positions) <= rows:
        parts.append(positions_table(evaluation.positions, range(len(evaluation.positions))))
    if (evaluation.liquidation.rank > 0).any():
        parts += [_order(evaluation, rows), _draws(evaluation)]
    # Where a place is drawn, nobody is in a queue.
    if evaluation.plan.deleveraging is not None and len(evaluation.queue.order):
        parts.append(_queue(evaluation, rows))
    if evaluation.not_stated:
        parts.append(Text(f"not stated by the venue, chosen here: {', '.join(evaluation.not_stated)}", style="dim"))
    spaced = [line for part in parts for line in (part, Text(""))]
    return Group(*spaced[:-1])


def positions_table(positions: ResultTable, rows: range) -> Group:
    """Return the positions in `rows` with their margins and prices."""
    headings = [("account", False), ("instrument", False), ("quantity", True), ("maintenance", True)]
    headings += [("liquidation", True), ("bankruptcy", True), ("adl", True)]
    table = plain_table(headings)
    for number in rows:
        row = positions.row(number)
        light = "-" if row["adl_light"] is None else f"{row['adl_rank']} ({row['adl_light']})"
        table.add_row(
            Text(str(row["account"])),
            Text(str(row["instrument"])),
            quantity(row["quantity"]),
            amount(row["maintenance_margin"]),
            price(row["liquidation_price"]),
            price(row["bankruptcy_price"]),
            light,
        )
    return titled("Positions", table)


def _headline(evaluation: Evaluation) -> Text:
    bound = evaluation.bound
    at = f" at {evaluation.snapshot.as_of:%Y-%m-%d %H:%M} UTC" if evaluation.snapshot.as_of else ""
    name = f"{evaluation.plan.id}@{evaluation.plan.valid_from.date()}"
    counts = f"{len(bound.positions):,} positions, {len(bound.buckets.account):,} buckets"
    return Text.assemble((name, "bold"), f": {counts}{at}")


def _states(evaluation: Evaluation) -> Group:
    table = plain_table([("state", False), ("buckets", True), ("equity", True), ("maintenance margin", True)])
    state = evaluation.liquidation.state
    for number, word in enumerate(STATES):
        there = state == number
        if not there.any() and word == "restricted":
            continue
        table.add_row(
            Text(word, style=_STYLE[word]),
            f"{int(there.sum()):,}",
            amount(float(evaluation.margins.equity[there].sum())),
            amount(float(evaluation.margins.bucket_maintenance[there].sum())),
        )
    return titled("States", table)


def _order(evaluation: Evaluation, rows: int) -> Group:
    rank = evaluation.liquidation.rank
    total = int((rank > 0).sum())
    headings = [("#", True), ("account", False), ("bucket", False), ("state", False), ("equity", True)]
    headings += [("maintenance", True), ("step due", False)]
    table = plain_table(headings)
    ranked = np.flatnonzero(rank > 0)
    for bucket in ranked[np.argsort(rank[ranked])][:rows].tolist():
        row = evaluation.buckets.row(bucket)
        number = int(evaluation.liquidation.step[bucket])
        step = evaluation.plan.steps[number].id.rpartition(".")[2] if number >= 0 else "none is open"
        table.add_row(
            str(row["liquidation_rank"]),
            Text(str(row["account"])),
            Text(f"{row['currency']} {row['instrument'] or 'cross'}"),
            Text(str(row["state"]), style=_STYLE[str(row["state"])]),
            amount(row["equity"]),
            amount(row["maintenance_margin"]),
            step,
        )
    return titled("Liquidation order", table, f"and {total - rows:,} more" if total > rows else "")


def _draws(evaluation: Evaluation) -> Group:
    rows = list(evaluation.draws.rows())
    total = sum(float(str(r["amount"])) for r in rows if r["amount"] is not None)
    lacking = float(np.maximum(-evaluation.margins.equity, 0.0).sum())
    title = f"Draws planned at the mark, for deficits of {amount(lacking)}"
    table = plain_table([("layer", False), ("amount", True), ("currency", False), ("", False)])
    for row in rows:
        share = float(str(row["amount"])) / total if row["amount"] is not None and total else 0.0
        shown = "unknown: the fund's balance is not given" if row["amount"] is None else amount(row["amount"])
        table.add_row(str(row["layer"]), shown, str(row["currency"]), bar(share))
    return titled(title, table)


def _queue(evaluation: Evaluation, rows: int) -> Group:
    headings = [("instrument", False), ("side", False), ("#", True), ("account", False), ("quantity", True)]
    headings += [("unrealized profit", True), ("score", True), ("light", True)]
    table = plain_table(headings)
    for number in _heads(evaluation, rows):
        row = evaluation.positions.row(number)
        size = float(str(row["quantity"]))
        table.add_row(
            Text(str(row["instrument"])),
            "long" if size > 0 else "short",
            str(row["adl_rank"]),
            Text(str(row["account"])),
            quantity(abs(size)),
            amount(row["unrealized_pnl"]),
            f"{row['adl_score']:.4g}",
            str(row["adl_light"]),
        )
    return titled("Head of the deleveraging queue", table)


def _heads(evaluation: Evaluation, rows: int) -> Iterator[int]:
    """Yield the first positions of the queues opposite to bankruptcies, else of the largest markets."""
    p, queue, margins = evaluation.bound.positions, evaluation.queue, evaluation.margins
    bankrupt = margins.equity[p.bucket] < 0
    long, short = p.quantity > 0, p.quantity < 0
    facing = np.where(bankrupt.any(), long, short)
    weights = np.where(bankrupt, margins.notional, 0.0) if bankrupt.any() else margins.notional
    size = np.bincount(p.instrument * np.int64(2) + facing, np.where(long | short, weights, 0.0))
    cells = [c for c in np.argsort(-size, kind="stable")[:3].tolist() if size[c] > 0]
    for c in cells:
        first, end = int(queue.start[c]), int(queue.start[c + 1])
        for i in queue.order[first : min(end, first + max(1, rows // len(cells)))].tolist():
            yield p.row_of(i)
