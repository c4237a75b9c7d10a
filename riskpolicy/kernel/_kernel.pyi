"""Types of the compiled loops; see the docstrings in _kernel.pyx."""

import numpy as np
import numpy.typing as npt

_F = npt.NDArray[np.float64]
_I = npt.NDArray[np.int32]
_B = npt.NDArray[np.uint8]
_L = npt.NDArray[np.int64]

OPCODE_NAMES: tuple[str, ...]

def run_program(words: _I, constants: _F, columns: list[_F], depth: int, out: _F) -> None: ...
def run_bounded(
    words: _I,
    constants: _F,
    constant_bounds: _F,
    columns: list[_F],
    bounds: list[_F],
    depth: int,
    out: _F,
    out_bound: _F,
    out_path: _L,
) -> None: ...
def margin_pass(
    start: _L,
    instrument: _I,
    quantity: _F,
    entry: _F,
    mark: _F,
    contract_size: _F,
    table: _I,
    table_start: _I,
    edge_lower: _B,
    cap: _F,
    rate: _F,
    deduction: _F,
    notional: _F,
    entry_notional: _F,
    pnl: _F,
    tier: _I,
    maintenance: _F,
    bucket_notional: _F,
    bucket_pnl: _F,
    bucket_maintenance: _F,
) -> None: ...
def bucket_sums(start: _L, values: _F, out: _F) -> None: ...
def boundary_prices(
    instrument: _I,
    bucket: _I,
    quantity: _F,
    mark: _F,
    contract_size: _F,
    table: _I,
    table_start: _I,
    edge_lower: _B,
    cap: _F,
    rate: _F,
    deduction: _F,
    tier: _I,
    maintenance: _F,
    health: _F,
    triggered: _B,
    of_profit: float,
    of_notional: float,
    of_maintenance: float,
    out: _F,
) -> None: ...
