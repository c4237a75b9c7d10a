"""W6: resolve 1,000 bankrupt accounts of a venue, every contract against the deleveraging queue."""

from __future__ import annotations

import dataclasses
import time

import numpy as np

import riskpolicy as rp
import riskpolicy.engines.resolve
from benchmarks import venue
from riskpolicy.engines.execution import GivenFills
from riskpolicy.snapshot.snapshot import Snapshot

BANKRUPT = 1_000


def measure(n: int) -> dict[str, float]:
    """Return the seconds of W1 (evaluate and rank), then of the resolution, and what it did."""
    drawn = venue.make(n)
    text = "\n".join(venue.policy(drawn).loaded.document.lines)
    book = "- id: book\n    do: market_order\n    leftover: account"
    steps = "- id: ioc\n    do: immediate_or_cancel\n    price: bankruptcy_price\n  - id: adl\n    do: deleverage"
    if book not in text:
        raise ValueError("the benchmark's ruleset has other steps")
    policy = rp.loads(text.replace(book, steps))
    m = policy.evaluate(drawn.tables()).margins
    # Everybody twice above maintenance, but for those who lack a hundredth of their notional.
    balance = drawn.balance + np.maximum(0, m.bucket_maintenance * 2 - m.equity)
    poor = np.random.default_rng(1).choice(len(balance), BANKRUPT, replace=False)
    balance[poor] = drawn.balance[poor] - m.equity[poor] - 0.01 * m.bucket_notional[poor]
    snapshot = Snapshot.of(dataclasses.replace(drawn, balance=np.round(balance, 2)).tables())
    _ = snapshot.ordered
    started = time.perf_counter()
    evaluation = policy.evaluate(snapshot)
    _ = evaluation.liquidation, evaluation.queue
    ranked = time.perf_counter()
    result = evaluation.resolve(GivenFills({}))
    ended = time.perf_counter()
    return {"W1": ranked - started, "resolve": ended - ranked, "closed": float(len(result.deleveraged))}
