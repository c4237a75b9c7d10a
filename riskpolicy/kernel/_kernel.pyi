"""Types of the compiled loops; see the docstrings in _kernel.pyx."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

_F = npt.NDArray[np.float64]
_F4 = npt.NDArray[np.float32]
_I = npt.NDArray[np.int32]
_I1 = npt.NDArray[np.int8]
_B = npt.NDArray[np.uint8]
_L = npt.NDArray[np.int64]
_W = npt.NDArray[np.uint64]

OPCODE_NAMES: tuple[str, ...]

def block(size: int) -> Any: ...
def release() -> int: ...

class Code:
    def __init__(self, words: _I, constants: _F, bounds: _F, depth: int) -> None: ...

class Slots:
    def __init__(self, sources: list[tuple[Any, ...]]) -> None: ...

class Tables:
    def __init__(
        self,
        mark: _F,
        contract_size: _F,
        table: _I,
        start: _I,
        edge_lower: _B,
        cap: _F,
        rate: _F,
        deduction: _F,
        initial: _F,
        forms: _B,
        curves: _F,
    ) -> None: ...

def run_program(code: Code, slots: Slots, out: _F) -> None: ...
def trace_program(code: Code, slots: Slots, out: _F) -> None: ...
def run_bounded(code: Code, slots: Slots, out: _F, out_bound: _F, out_path: _L) -> None: ...
def decide_program(code: Code, slots: Slots, holds: _B, start: int, end: int) -> list[int]: ...
def assign_buckets(
    account: _I,
    position_start: _I,
    instrument: _I,
    isolated: _B,
    currency: _I,
    currencies: int,
    owner: _I,
    owner_currency: _I,
    bucket_start: _I,
    bucket: _I,
    bucket_row: _I,
    bucket_currency: _I,
    bucket_instrument: _I,
) -> int: ...
def margin_pass(
    tables: Tables,
    initial_rule: Code,
    initial_slots: Slots,
    chunk_position: _I,
    chunk_bucket: _I,
    first_chunk: int,
    end_chunk: int,
    keep_tiers: bool,
    instrument: _I,
    quantity: _F,
    entry: _F,
    bucket: _I,
    wallet: _F,
    notional: _F,
    entry_notional: _F,
    pnl: _F,
    tier: _I,
    maintenance: _F,
    maintenance_rate: _F,
    initial_rate: _F,
    initial: _F,
    bucket_notional: _F,
    bucket_pnl: _F,
    bucket_maintenance: _F,
    bucket_initial: _F,
    equity: _F,
    pnl_doubt: _F,
    maintenance_doubt: _F,
    equity_doubt: _F,
) -> list[int]: ...
def boundary_prices(
    tables: Tables,
    instrument: _I,
    bucket: _I,
    quantity: _F,
    tier: _I,
    maintenance: _F,
    health: _F,
    conversion: _F,
    triggered: _B,
    of_profit: float,
    of_notional: float,
    of_maintenance: float,
    out: _F,
) -> None: ...
def score_pass(
    code: Code,
    slots: Slots,
    instrument: _I,
    quantity: _F,
    first: int,
    end: int,
    score: _F,
    bound: _F4,
    count: _L,
) -> list[int]: ...
def rank_scatter(
    score: _F,
    instrument: _I,
    quantity: _F,
    first: int,
    end: int,
    row_bits: int,
    place: _L,
    words: _W,
) -> None: ...
def rank_segments(
    words: _W,
    start: _L,
    segments: _L,
    row_bits: int,
    score: _F,
    bound: _F4,
    ties: bool,
    order: _I,
    rank: _I,
) -> list[int]: ...
def light_pass(instrument: _I, quantity: _F, rank: _I, edge: _I, first: int, end: int, light: _I1) -> None: ...

SUPPOSED: tuple[str, ...]

class Answer:
    code: str
    rule: str | None
    asked: tuple[Any, ...]

class Gate:
    def __init__(
        self,
        accounts: dict[Any, int],
        instruments: dict[Any, int],
        kind: type[Answer],
        later: Callable[..., Any],
        tables: Tables,
        rule: Code,
        slots: Slots,
        scratch: _F,
        positions: tuple[Any, ...],
        buckets: tuple[Any, ...],
        currency: _I,
        max_leverage: _F,
        steps: _F,
        trigger: tuple[float, float, float, float],
        codes: tuple[str, ...],
        rules: tuple[str | None, ...],
    ) -> None: ...
    def check(self, account: Any, instrument: Any, side: Any, quantity: Any, price: Any = None) -> Any: ...

SUMS_STRIDE: int

def sums_ahead(quantity: _F, rows: _I, first: int, end: int, digits: int, before: _L) -> int: ...
