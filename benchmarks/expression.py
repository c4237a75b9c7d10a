"""W7: one rule, the deleveraging score, as an expression over columns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.venue import INSTRUMENTS, LEVERAGES
from riskpolicy.compiler.programs import emit
from riskpolicy.expressions.syntax import parse

TEXT = (
    "unrealized_pnl / entry_notional * leverage if unrealized_pnl > 0 else unrealized_pnl / entry_notional / leverage"
)


def columns(n: int, seed: int = 1) -> dict[str, np.ndarray]:
    """Draw the columns that the score reads."""
    rng = np.random.default_rng(seed)
    mark = np.exp(rng.uniform(-2, 10, INSTRUMENTS))[rng.integers(0, INSTRUMENTS, n)]
    size = np.exp(rng.normal(8, 2, n)) / mark
    entry = mark * rng.uniform(0.95, 1.05, n)
    return {
        "unrealized_pnl": size * (mark - entry) * rng.choice([-1.0, 1.0], n),
        "entry_notional": size * entry,
        "leverage": rng.choice(LEVERAGES, n).astype(float),
    }


def contenders(n: int) -> dict[tuple[str, int], Callable[[], np.ndarray]]:
    """Return what computes the score, by name and threads."""
    drawn = columns(n)
    program = emit(TEXT, parse(TEXT), {}, {})

    def by_numpy() -> np.ndarray:
        pnl, leverage = drawn["unrealized_pnl"], drawn["leverage"]
        profit = pnl / drawn["entry_notional"]
        return np.where(pnl > 0, profit * leverage, profit / leverage)

    made: dict[tuple[str, int], Callable[[], np.ndarray]] = {
        ("riskpolicy", 1): lambda: program.run(drawn, n),
        ("numpy", 1): by_numpy,
    }
    try:
        import numexpr
    except ImportError:
        return made
    numexpr.set_num_threads(1)
    text = (
        "where(unrealized_pnl > 0, unrealized_pnl / entry_notional * leverage, "
        "unrealized_pnl / entry_notional / leverage)"
    )
    made["numexpr", 1] = lambda: numexpr.evaluate(text, local_dict=drawn)
    return made
