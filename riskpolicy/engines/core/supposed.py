"""Positions that are supposed rather than held, in the form in which positions are margined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from riskpolicy.engines.core.bound import Bound, Positions
from riskpolicy.engines.core.exact import Holding


def with_positions(bound: Bound, supposed: Sequence[tuple[int, Holding]]) -> Bound:
    """Return a bound snapshot whose positions are the given ones, each with its bucket; by bucket, so by account."""
    ordered = sorted(supposed, key=lambda s: s[0])
    buckets = np.array([bucket for bucket, _ in ordered], np.int32)
    account = bound.buckets.account[buckets] if len(buckets) else np.zeros(0, np.int32)
    accounts = len(bound.positions.start) - 1
    leverage = [np.nan if h.leverage is None else float(h.leverage) for _, h in ordered]
    made = Positions(
        row=None,
        account=account.astype(np.int32),
        instrument=np.array([h.instrument for _, h in ordered], np.int32),
        quantity=np.array([float(h.quantity) for _, h in ordered]),
        entry_price=np.array([float(h.entry_price) for _, h in ordered]),
        leverage=np.array(leverage),
        accrued_funding=None,
        bucket=buckets,
        start=np.searchsorted(account, np.arange(accounts + 1)).astype(np.int32),
    )
    return replace(bound, positions=made)
