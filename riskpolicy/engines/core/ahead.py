"""How many contracts are ahead of each place of an order of positions, exactly."""

from __future__ import annotations

from fractions import Fraction
from itertools import accumulate
from threading import Lock

import numpy as np
import numpy.typing as npt

from riskpolicy.engines.core.bound import Bound, exact_of
from riskpolicy.engines.core.exact import ZERO
from riskpolicy.engines.core.once import once
from riskpolicy.kernel._kernel import SUMS_STRIDE as STRIDE
from riskpolicy.kernel._kernel import sums_ahead

# Where a float times a power of ten still is nearest to the whole number that its decimal makes there.
_SURE = 1e15


class Ahead:
    """Contracts ahead of each place of some positions in their order: exact, summed as far as is asked for.

    Sums run in whole numbers of 1 / 10 ** digits contracts, every 64th is kept; where sizes are no such numbers, all.
    """

    def __init__(self, bound: Bound, rows: npt.NDArray[np.integer]) -> None:
        self.bound = bound
        self.rows = np.ascontiguousarray(rows, np.int32)
        self._sums = np.zeros(len(rows) // STRIDE + 1, np.int64)
        self._summed, self._digits, self._lock = 0, 0, Lock()
        column = bound.snapshot.numbers("positions", "quantity")
        if column is None or column.beyond:
            self._digits = -1

    def of(self, place: int) -> Fraction:
        """Return the contracts ahead of a place, which counts from 0; of all for the place after the last."""
        end = min(len(self.rows), -(-place // STRIDE) * STRIDE)
        quantity, kept = self.bound.positions.quantity, place // STRIDE
        # Sums change their unit where later sizes have more digits: one question at a time.
        with self._lock:
            if self._digits >= 0 and end > self._summed:
                self._digits = sums_ahead(quantity, self.rows, self._summed, end, self._digits, self._sums)
                self._summed = end
            if self._digits >= 0:
                scale, since = 10**self._digits, self.rows[kept * STRIDE : place]
                units = np.abs(quantity[since]) * scale
                # Up to here the nearest whole number is the size's own; later sizes of more digits may take it beyond.
                if np.all(units < _SURE):
                    return Fraction(int(self._sums[kept]) + int(np.rint(units).astype(np.int64).sum()), scale)
                return sum(map(self._size, since.tolist()), Fraction(int(self._sums[kept]), scale))
        return self._exactly[place]

    def _size(self, row: int) -> Fraction:
        return abs(exact_of(self.bound.snapshot.numbers("positions", "quantity"), self.bound.positions.row_of(row)))

    @once
    def _exactly(self) -> list[Fraction]:
        return [ZERO, *accumulate(map(self._size, self.rows.tolist()))]

    @property
    def whole(self) -> Fraction:
        """All contracts."""
        return self.of(len(self.rows))
