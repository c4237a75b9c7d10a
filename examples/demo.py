"""The main job: real positions against the exchange's own figures, then a whole venue through a 20 % gap."""

from __future__ import annotations

import json
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text
from venue import gap, generate_venue

import riskpolicy as rp
from riskpolicy.report.evaluation import evaluation_report
from riskpolicy.report.text import plain_table, price, quantity, titled

HERE = Path(__file__).parent
ACCOUNTS = 100_000


def reported_positions(out: Console) -> None:
    """Show our liquidation price beside the one that the exchange reported."""
    reported = json.loads((HERE / "hyperliquid_reported.json").read_text())["liquidation_price"]
    policy = rp.load("hyperliquid@2024-11-01")
    evaluation = policy.evaluate(HERE / "hyperliquid_positions.json")
    headings = [("account", False), ("quantity", True), ("state", False), ("liquidation price", True)]
    headings += [("exchange reports", True), ("relative difference", True)]
    table = plain_table(headings)
    states = dict(zip(evaluation.buckets["account"], evaluation.buckets["state"], strict=True))
    for row in evaluation.positions.rows():
        theirs, ours = reported[row["account"]], row["liquidation_price"]
        cells = [row["account"], quantity(row["quantity"]), states[row["account"]], price(ours), price(theirs)]
        table.add_row(*map(str, cells), f"{abs(ours / theirs - 1):.1e}")
    out.print(titled("15 positions on Hyperliquid, evaluated by hyperliquid@2024-11-01", table))


def gapped_venue(out: Console, progress: Console) -> None:
    """Show states, order, draws and queue of a generated venue after every mark fell by a fifth."""
    started = time.perf_counter()
    with progress.status(f"generating a venue of {ACCOUNTS:,} accounts"):
        venue = gap(generate_venue(ACCOUNTS), -0.2)
    with progress.status("reading the snapshot"):
        snapshot = rp.Snapshot.of(venue)
    read = time.perf_counter()
    with progress.status("evaluating"):
        evaluation = rp.load("hyperliquid", snapshot.as_of).evaluate(snapshot)
        report = evaluation_report(evaluation, rows=9)
    evaluated = time.perf_counter()
    out.print(Text(f"A generated venue of {ACCOUNTS:,} accounts after every mark fell by 20 %", style="bold"))
    out.print(report)
    seconds = f"generated and read in {read - started:.1f} s, evaluated in {evaluated - read:.1f} s"
    out.print(Text(f"\n{seconds}", style="dim"))


def main() -> None:
    out, progress = Console(highlight=False), Console(stderr=True)
    reported_positions(out)
    out.print()
    gapped_venue(out, progress)
    again = "riskpolicy explain hyperliquid examples/hyperliquid_positions.json --account btc-06"
    out.print(Text(f"\nnext: .venv/bin/{again}", style="dim"))


if __name__ == "__main__":
    main()
