"""dYdX v4: deleveraging from a seeded random start, and fee revenue shares in their order.

Deleveraging: the accounts with an opposite position are walked cyclically from a pseudo-random start, at most 500 of
them; each takes what it can, and is passed over where the trade would leave it below zero, since the bankruptcy prices
do not overlap then. Source: protocol/x/clob/keeper/deleveraging.go of dydxprotocol/v4-chain.

Fees: of the net fee of a fill first the affiliate's share of a taker fee, or, where the account has no affiliate, the
order router's; then of the remainder the unconditional shares and the market mapper's. Source: protocol/x/revshare of
the same repository. The shares are set by governance; the defaults here are none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import riskpolicy as rp
from riskpolicy.engines.core.adl import Allocation, Candidate, Demand
from riskpolicy.engines.core.fees import FeeDue

#: How many counterparties are tried for one liquidated position.
MOST = 500
ZERO = Fraction(0)


def start(demand: Demand, count: int) -> int:
    """Return the place from which candidates are walked: the same for the same demand and seed."""
    text = f"{demand.seed}:{demand.event}:{demand.instrument}:{demand.side}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") % count


def overlaps(demand: Demand, candidate: Candidate, contracts: Fraction) -> bool:
    """Return whether a candidate is at zero or above after giving contracts at the demand's price."""
    return candidate.equity >= demand.lost(contracts)


@dataclass(frozen=True)
class Dydx:
    """The plugin; `affiliates` are accounts with an affiliate, shares are parts of 1."""

    affiliates: frozenset[str] = frozenset()
    affiliate_share: Fraction = ZERO
    router_share: Fraction = ZERO
    unconditional: Mapping[str, Fraction] = field(default_factory=dict)
    mapper_share: Fraction = ZERO

    @rp.hookimpl
    def laws(self) -> Sequence[str]:
        """Skipping is not exhaustive, and a start is not monotone."""
        return ("contracts_opposite",)

    @rp.hookimpl
    def allocate_adl(self, demand: Demand, candidates: Sequence[Candidate]) -> Allocation:
        """Walk from the start."""
        order = sorted(range(len(candidates)), key=lambda i: candidates[i].account)
        first = start(demand, len(order)) if order else 0
        walk = [*order[first:], *order[:first]]
        given = [ZERO] * len(candidates)
        skipped: list[str | None] = ["not reached"] * len(candidates)
        left = demand.contracts
        for i in walk[:MOST]:
            if left <= 0:
                break
            c = candidates[i]
            size = min(left, c.cap, c.contracts)
            size = size if size == c.contracts else size // demand.lot * demand.lot
            if size <= 0:
                skipped[i] = "nothing to give"
            elif not overlaps(demand, c, size):
                skipped[i] = "bankruptcy prices do not overlap"
            else:
                given[i], skipped[i] = size, None
                left -= size
        return Allocation(tuple(given), tuple(skipped), left)

    @rp.hookimpl
    def split_fees(self, fees: Sequence[FeeDue]) -> Sequence[Mapping[str, int]]:
        """Split each fee in the protocol's order; parts are rounded down, what is left goes to `fees`."""
        return [self._split(fee) for fee in fees]

    def _split(self, fee: FeeDue) -> dict[str, int]:
        if fee.amount <= 0:
            return {"fees": fee.amount}
        parts: dict[str, int] = {}
        if fee.account in self.affiliates and fee.kind == "taker":
            parts["affiliates"] = int(fee.amount * self.affiliate_share)
        else:
            parts["order_router"] = int(fee.amount * self.router_share)
        rest = fee.amount - sum(parts.values())
        for name, share in self.unconditional.items():
            parts[name] = parts.get(name, 0) + int(rest * share)
        parts["market_mapper"] = int(rest * self.mapper_share)
        parts = {name: amount for name, amount in parts.items() if amount}
        return {**parts, "fees": fee.amount - sum(parts.values())}


plugin = Dydx()
