"""`python -m benchmarks W1 W2 W4 W6 W7 A1`: riskpolicy against its peers, in one run, equal answers checked first."""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from benchmarks import exposure, expression, fused, mark_to_adl, order_gate, resolution, venue
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.snapshot.snapshot import Snapshot

PEERS = ("numpy", "polars", "duckdb", "numexpr")
THREADS = (1, 2)
Run = Callable[[], Any]


def evaluated(evaluation: Evaluation, *, ranks: bool) -> mark_to_adl.Answer:
    """Read from an evaluation what W2 answers, and W1 besides."""
    m, tiers, p = evaluation.margins, evaluation.plan.tiers, evaluation.bound.positions
    first = tiers.start[evaluation.plan.instruments.table]
    state = np.maximum(evaluation.liquidation.state - 1, 0)
    answer = {"notional": m.notional, "initial": m.initial_margin, "maintenance": m.maintenance_margin}
    answer |= {"pnl": m.unrealized_pnl, "tier": m.tier - first[p.instrument]}
    if ranks:
        queue = evaluation.queue
        answer |= {"score": queue.score, "rank": queue.rank, "light": queue.light}
    by_row = {name: p.in_rows(values) for name, values in answer.items()}
    return {**by_row, "equity": m.equity, "state": state}


def tables(work: str, n: int, library: Any) -> tuple[dict[tuple[str, int], Run], Callable[[Any], Any]]:
    """Return the contenders of W1 or W2, and what reads an answer from riskpolicy's result."""
    drawn, ranks = venue.make(n), work == "W1"
    policy = venue.policy(drawn)
    # Reading and ordering the tables is not part of the work: every contender starts from columns in order.
    snapshot = Snapshot.of(drawn.tables())
    _ = snapshot.ordered

    def ours(source: Any, threads: int) -> Run:
        def run() -> Evaluation:
            evaluation = policy.evaluate(source() if callable(source) else source, threads=threads)
            _ = evaluation.liquidation, ranks and evaluation.queue
            return evaluation

        return run

    runs: dict[tuple[str, int], Run] = {("riskpolicy", threads): ours(snapshot, threads) for threads in THREADS}
    texts = drawn.text_tables()
    runs["riskpolicy, text ids and construction", 1] = ours(lambda: Snapshot.of(texts), 1)
    runs["numpy", 1] = lambda: mark_to_adl.numpy_ranks(drawn) if ranks else mark_to_adl.numpy_margins(drawn)
    if ranks:
        runs["numpy-packed", 1] = lambda: mark_to_adl.packed_ranks(drawn)
    if installed("polars"):
        runs["polars", os.cpu_count() or 1] = mark_to_adl.polars_ranks(drawn, ranks=ranks)
    if installed("polars") and installed("duckdb") and installed("pyarrow"):
        for threads in THREADS:
            runs["duckdb", threads] = mark_to_adl.duckdb_ranks(drawn, threads, ranks=ranks)
    if library is not None:
        runs["fused-c", 1] = fused.fused_ranks(drawn, library, ranks=ranks)
    if work == "W2":
        runs["copy", 1] = mark_to_adl.copy_columns(drawn)
    return runs, lambda made: evaluated(made, ranks=ranks) if isinstance(made, Evaluation) else made


def differs(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> list[str]:
    """Return the columns in which two answers differ: whole numbers must be equal, others to 1e-9 of their size."""
    wrong = []
    for name, values in one.items():
        exact = values.dtype.kind in "iub"
        same = np.array_equal(values, other[name]) if exact else close(values, other[name])
        if not same:
            wrong.append(name)
    return wrong


def close(one: np.ndarray, other: np.ndarray) -> bool:
    size = np.maximum(np.abs(one), np.abs(other))
    return bool((np.abs(one - other) <= 1e-9 * np.maximum(size, 1e-6)).all())


def best(run: Run, seconds: float) -> float:
    """Return the shortest time of at least three runs, more if they fit into `seconds`."""
    least, started, runs = float("inf"), time.perf_counter(), 0
    while runs < 3 or (time.perf_counter() - started < seconds and runs < 200):
        gc.collect()
        before = time.perf_counter()
        made = run()
        least = min(least, time.perf_counter() - before)
        del made
        runs += 1
    return least


def measure(work: str, n: int, seconds: float, library: Any) -> list[dict[str, Any]]:
    """Check that all contenders of a work agree, then time them."""
    progress(f"{work}, n = {n:,}: preparing")
    if work == "W7":
        made = expression.contenders(n)
        runs: dict[tuple[str, int], Run] = dict(made)

        def read(result: Any) -> Any:
            return {"score": result}

    else:
        runs, read = tables(work, n, library)
    wanted = read(runs["riskpolicy", 1]())
    for (name, threads), run in runs.items():
        if name == "copy":
            continue
        progress(f"{work}, n = {n:,}: checking the answer of {name} ({threads})")
        wrong = differs(read(run()), wanted)
        if wrong:
            raise SystemExit(f"{work}: {name} disagrees with riskpolicy in {', '.join(wrong)}")
    times = {}
    for (name, threads), run in runs.items():
        progress(f"{work}, n = {n:,}: timing {name} ({threads})")
        times[name, threads] = best(run, seconds)
    own = times["riskpolicy", 1]
    return [
        {"work": work, "n": n, "contender": name, "threads": threads, "seconds": took, "ratio": took / own}
        for (name, threads), took in times.items()
    ]


def measure_gate(seconds: float) -> list[dict[str, Any]]:
    """Time single order checks; seconds are medians, and `p99` stands beside them."""
    rows = []
    own = 0.0
    for accounts in (1_000, 100_000, 1_000_000):
        progress(f"W4, {accounts:,} accounts")
        took = order_gate.measure(accounts, seconds)
        own = own or took["seen median"]
        for name, label in (("seen", "an account just seen"), ("random", "accounts at random")):
            row = {"work": "W4", "n": accounts, "contender": f"riskpolicy, {label}", "threads": 1}
            row |= {
                "seconds": took[f"{name} median"],
                "ratio": took[f"{name} median"] / own,
                "p99": took[f"{name} p99"],
            }
            rows.append(row)
    for name, took_one in order_gate.one_rule().items():
        row = {"work": "W4", "n": 1, "contender": f"{name}, one expression", "threads": 1}
        rows.append({**row, "seconds": took_one, "ratio": took_one / own})
    return rows


def measure_resolution(n: int) -> list[dict[str, Any]]:
    """Time a resolution beside the evaluation that it starts from."""
    progress(f"W6, n = {n:,}")
    took = resolution.measure(n)
    names = {"resolve": "riskpolicy, 1,000 bankrupt accounts", "W1": "riskpolicy, evaluate and rank all"}
    return [
        {
            "work": "W6",
            "n": n,
            "contender": name,
            "threads": 1,
            "seconds": took[key],
            "ratio": took[key] / took["W1"],
        }
        for key, name in names.items()
    ]


def measure_exposure(n: int) -> list[dict[str, Any]]:
    """Time what one account asks of an evaluated book."""
    progress(f"A1, n = {n:,}")
    took = exposure.measure(n)
    names = {
        "median": "rank, light, ahead, contracts: median", "p99": "the same, 99th percentile",
        "first": "the same, the first of a queue", "move": f"deficit and move, {took['resolutions']:.0f} resolutions",
    }  # fmt: skip
    return [
        {"work": "A1", "n": n, "contender": f"riskpolicy, {name}", "threads": 1, "seconds": took[key],
         "ratio": took[key] / took["median"]}
        for key, name in names.items()
    ]  # fmt: skip


def installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """Return what ran the benchmark."""
    packages = {name: version(name) for name in ("riskpolicy", *PEERS) if installed(name)}
    return {
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": packages,
    }


def as_table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a table in Markdown; ratio is a contender's time over riskpolicy's on one thread."""
    lines = ["| work | n | contender | threads | ms | ns a position | ratio |", "|---|---:|---|---:|---:|---:|---:|"]
    for row in rows:
        seconds, n = row["seconds"], row["n"]
        one = row["work"] == "W4"
        cells = (
            row["work"],
            f"{n:,}",
            row["contender"],
            row["threads"],
            f"{seconds * 1e3:.5f}" if one else f"{seconds * 1e3:.2f}",
        )
        lines.append(
            f"| {' | '.join(map(str, cells))} | {seconds / (1 if one else n) * 1e9:.1f} | {row['ratio']:.2f} |"
        )
    return "\n".join(lines)


def as_chart(rows: list[dict[str, Any]]) -> str:
    """Return a chart of the rows in SVG: a bar a contender, nanoseconds a position."""
    height, left, width = 22, 330, 760
    parts, y = [], 10
    group, longest = "", 1.0
    for row in rows:
        of_group = f"{row['work']}, n = {row['n']:,}"
        if of_group != group:
            group = of_group
            longest = max(r["seconds"] / r["n"] for r in rows if (r["work"], r["n"]) == (row["work"], row["n"]))
            parts.append(f'<text x="10" y="{y + 16}" font-weight="bold">{group}: ns a position</text>')
            y += height + 4
        took = row["seconds"] / row["n"]
        length = max(1.0, took / longest * (width - left - 90))
        ours = row["contender"].startswith("riskpolicy")
        label = f"{row['contender']}, {row['threads']} thread{'s' if row['threads'] > 1 else ''}"
        parts.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{label}</text>')
        color = "#0b6e4f" if ours else "#8d99ae"
        parts.append(f'<rect x="{left}" y="{y + 2}" width="{length:.0f}" height="{height - 5}" fill="{color}"/>')
        parts.append(f'<text x="{left + length + 6:.0f}" y="{y + 15}">{took * 1e9:.1f}</text>')
        y += height
        if row is rows[-1] or (rows[rows.index(row) + 1]["work"], rows[rows.index(row) + 1]["n"]) != (
            row["work"],
            row["n"],
        ):
            y += 12
    style = 'font-family="sans-serif" font-size="13"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" viewBox="0 0 {width} {y}" {style}>'
    return head + f'<rect width="{width}" height="{y}" fill="#ffffff"/>' + "".join(parts) + "</svg>\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("work", nargs="+", choices=["W1", "W2", "W4", "W6", "W7", "A1"])
    parser.add_argument("--n", type=int, action="append", help="positions or rows; may be repeated")
    parser.add_argument("--seconds", type=float, default=2.0, help="for the repetitions of each contender")
    parser.add_argument("--format", choices=["text", "json"], default="text")
    parser.add_argument("--chart", metavar="FILE", help="also write a chart as SVG")
    chosen = parser.parse_args()
    if any(n < 1 for n in chosen.n or ()):
        parser.error("--n must be at least 1")
    library = fused.compiled() if {"W1", "W2"} & set(chosen.work) else None
    rows = []
    for work in chosen.work:
        if work == "W4":
            rows += measure_gate(chosen.seconds)
            continue
        if work == "A1":
            rows += [row for n in chosen.n or [1_000_000] for row in measure_exposure(n)]
            continue
        if work == "W6":
            rows += [row for n in chosen.n or [1_000_000] for row in measure_resolution(n)]
            continue
        for n in chosen.n or ([10_000, 1_000_000] if work == "W7" else [1_000_000]):
            rows += measure(work, n, chosen.seconds, library)
    if chosen.chart:
        with open(chosen.chart, "w", encoding="utf-8") as file:
            file.write(as_chart([row for row in rows if row["work"] not in ("W4", "W6", "A1")]))
    if chosen.format == "json":
        print(json.dumps({"rows": rows, **machine()}, indent=2))
    else:
        about = machine()
        packages = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
        print(as_table(rows))
        print(f"\n{about['processors']} processors ({about['machine']}), Python {about['python']}; {packages}")


if __name__ == "__main__":
    main()
