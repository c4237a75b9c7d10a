"""Arrays for results: large ones take over the memory of arrays that are gone, since fresh pages are slow.

A venue that is evaluated again and again would otherwise spend more time on clearing pages than on arithmetic.
Up to 1 GiB waits to be used again; `release` gives it back to the system.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from riskpolicy.kernel import _kernel

_SMALL = 1 << 16


def empty(count: int, dtype: npt.DTypeLike = np.float64) -> npt.NDArray[Any]:
    """Return a new array whose values are yet to be written."""
    kind = np.dtype(dtype)
    size = count * kind.itemsize
    if size < _SMALL:
        return np.empty(count, kind)
    return np.frombuffer(_kernel.block(size), kind)


def release() -> int:
    """Give the memory that waits back to the system; return how many bytes."""
    return _kernel.release()
