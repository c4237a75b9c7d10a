"""W4: one order against one account, from Python, against a prepared evaluation of 1,000 to 1,000,000 accounts."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks import venue


def measure(accounts: int, seconds: float) -> dict[str, float]:
    """Return median and 99th percentile, in seconds, of checks of an account just seen and of accounts at random."""
    drawn = venue.make(10 * accounts if accounts <= 100_000 else 4 * accounts, accounts=accounts)
    policy = venue.policy(drawn)
    evaluation = policy.evaluate(drawn.tables())
    started = time.perf_counter()
    gate = policy.gate(evaluation)
    prepared = time.perf_counter() - started
    rng = np.random.default_rng(2)
    count = 20_000
    who = rng.integers(0, accounts, count).tolist()
    what = [str(x) for x in rng.integers(0, venue.INSTRUMENTS, count)]
    price = [float(drawn.mark[int(x)]) for x in what]
    # Sizes of 1 % of an account's balance: most pass.
    size = [float(f"{drawn.balance[a] * 0.01 / p:.3g}") for a, p in zip(who, price, strict=True)]
    out = {"prepare": prepared}
    out |= _quantiles("random", gate, list(zip(who, what, size, price, strict=True)), seconds)
    again = [(a, x, s, p) for a, x, s, p in zip(who, what, size, price, strict=True) for _ in range(2)]
    out |= _quantiles("seen", gate, again, seconds, every=2)
    return out


def _quantiles(name: str, gate: Any, asked: list[Any], seconds: float, every: int = 1) -> dict[str, float]:
    """Time single checks; of `every` consecutive ones only the last counts. The clock's own time is taken off."""
    clock = time.perf_counter_ns
    empty = min(-clock() + clock() for _ in range(1000))
    taken: list[int] = []
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or not taken:
        for k, (account, instrument, size, price) in enumerate(asked):
            before = clock()
            gate(account, instrument, "buy", size, price)
            after = clock()
            if k % every == every - 1:
                taken.append(after - before)
    values = (np.array(taken) - empty) * 1e-9
    return {f"{name} median": float(np.median(values)), f"{name} p99": float(np.quantile(values, 0.99))}


def one_rule() -> dict[str, float]:
    """What peers take for a single expression on a single row: Python's eval, simpleeval parsed before."""
    from simpleeval import SimpleEval

    source = "(balance + profit) >= initial + notional * 0.02"
    row = {"balance": 1000.0, "profit": 10.0, "initial": 20.0, "notional": 500.0}
    compiled = compile(source, "rule", "eval")
    evaluator = SimpleEval(names=row)
    parsed = evaluator.parse(source)
    runs = {"python eval": lambda: eval(compiled, {}, row), "simpleeval": lambda: evaluator.eval(source, parsed)}
    out = {}
    for name, run in runs.items():
        best = float("inf")
        for _ in range(5):
            before = time.perf_counter()
            for _ in range(2000):
                run()
            best = min(best, (time.perf_counter() - before) / 2000)
        out[name] = best
    return out
