"""Work shared out to threads by ranges: the same ranges' results, whatever the number of threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="riskpolicy")


def in_ranges(threads: int, count: int, work: Callable[[int, int], T]) -> list[T]:
    """Return work(first, end) of as many ranges of 0 to `count` as there are threads, in their order."""
    edges = [count * k // threads for k in range(threads + 1)]
    return in_parallel(threads, list(pairwise(edges)), work)


def in_parallel(threads: int, parts: Sequence[tuple[int, int]], work: Callable[[int, int], T]) -> list[T]:
    """Return work(*part) of every part, in order; the caller's thread does the last one."""
    if threads == 1 or len(parts) < 2:
        return [work(*part) for part in parts]
    futures = [_pool(threads).submit(work, *part) for part in parts[:-1]]
    last = work(*parts[-1])
    return [*(future.result() for future in futures), last]
