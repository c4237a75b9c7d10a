"""The hand-fused contender: fused.c, compiled when the benchmark runs."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.venue import INSTRUMENTS, LEVERAGES, RATES, Venue

#: What a user would compile for the machine at hand, with the roundings of the others.
FLAGS = ["-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-shared", "-fPIC"]


def compiled() -> ctypes.CDLL | None:
    """Compile and load fused.c; None where there is no C compiler."""
    folder = Path(tempfile.mkdtemp(prefix="riskpolicy-benchmark-"))
    compiler = os.environ.get("CC") or (sysconfig.get_config_var("CC") or "cc").split()[0]
    target = folder / "fused.so"
    command = [compiler, *FLAGS, str(Path(__file__).with_name("fused.c")), "-o", str(target), "-lm"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return ctypes.CDLL(str(target))


def fused_ranks(v: Venue, library: ctypes.CDLL, *, ranks: bool = True) -> Callable[[], dict[str, np.ndarray]]:
    """Return W1, or W2 without `ranks`, by hand."""
    account, instrument = v.account.astype(np.int32), v.instrument.astype(np.int32)
    inputs = [account, instrument, v.quantity, v.entry, v.balance, v.mark, np.ascontiguousarray(v.cap)]
    inputs += [RATES, LEVERAGES.astype(float), np.ascontiguousarray(v.deduction)]
    kinds = {"notional": float, "tier": np.int32, "initial": float, "maintenance": float, "pnl": float}
    of_account = {"equity": float, "state": np.int8}
    of_rank = {"score": float, "rank": np.int32, "light": np.int8}

    def pointer(array: np.ndarray) -> ctypes.c_void_p:
        return ctypes.c_void_p(array.ctypes.data)

    def run() -> dict[str, np.ndarray]:
        n = len(account)
        made = {name: np.empty(n, kind) for name, kind in kinds.items()}
        made |= {name: np.empty(v.accounts, kind) for name, kind in of_account.items()}
        made |= {name: np.empty(n if ranks else 0, kind) for name, kind in of_rank.items()}
        sizes = (ctypes.c_int64(n), ctypes.c_int64(v.accounts), INSTRUMENTS, int(ranks))
        library.fused(*sizes, *map(pointer, inputs), *map(pointer, made.values()))
        return made if ranks else {name: made[name] for name in (*kinds, *of_account)}

    return run
