"""A1: what one account asks of an evaluated book: rank, light, contracts ahead; and the search for deficit and move."""

from __future__ import annotations

import statistics
import time

import numpy as np

import riskpolicy as rp
import riskpolicy.engines.exposure
from benchmarks import venue
from riskpolicy.engines.execution import GivenFills


def measure(n: int, asked: int = 200) -> dict[str, float]:
    """Return seconds: the slowest first question to a queue, median and 99th percentile of others, one search."""
    drawn = venue.make(n)
    text = "\n".join(venue.policy(drawn).loaded.document.lines)
    book = "- id: book\n    do: market_order\n    leftover: account"
    steps = "- id: ioc\n    do: immediate_or_cancel\n    price: bankruptcy_price\n  - id: adl\n    do: deleverage"
    if book not in text:
        raise ValueError("the benchmark's ruleset has other steps")
    policy = rp.loads(text.replace(book, steps))
    m = policy.evaluate(drawn.tables()).margins
    balance = np.round(drawn.balance + np.maximum(0, m.bucket_maintenance * 2 - m.equity), 2)
    evaluation = policy.evaluate({**drawn.tables(), "accounts": {**drawn.tables()["accounts"], "balance": balance}})
    _ = evaluation.queue, evaluation.liquidation
    positions, symbols = evaluation.bound.positions, evaluation.plan.instruments.symbols
    chosen = np.random.default_rng(1).choice(n, asked, replace=False)
    questions = [
        (evaluation.bound.account(int(positions.account[i])), symbols[int(positions.instrument[i])]) for i in chosen
    ]
    times = []
    for account, symbol in [*questions, *questions]:
        started = time.perf_counter()
        found = evaluation.exposure(account, symbol, execution=GivenFills({}))
        _ = found.adl_rank, found.adl_light, found.quantity_ahead, found.first.contracts, found.last.contracts
        times.append(time.perf_counter() - started)
    account, symbol = questions[0]
    found = evaluation.exposure(account, symbol, execution=GivenFills({}))
    started = time.perf_counter()
    _ = found.first.move
    searched = time.perf_counter() - started
    again = times[asked:]
    return {
        "first": max(times[:asked]), "median": statistics.median(again),
        "p99": statistics.quantiles(again, n=100)[98], "move": searched, "resolutions": float(found.resolutions),
    }  # fmt: skip
