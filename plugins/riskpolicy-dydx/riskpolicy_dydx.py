"""dYdX v4: deleveraging from a seeded random start, and fee revenue shares in their order.

Deleveraging: the accounts with an opposite position are walked cyclically from a pseudo-random start, at most 500 of
them; each takes what it can, and is passed over where its collateral does not allow the trade. It does where what is
left covers the initial margin of what is kept, or is no less to its margin than it was: the bankruptcy prices overlap
then. Sources: protocol/x/clob/keeper/deleveraging.go and protocol/x/subaccounts/lib/updates.go of
dydxprotocol/v4-chain. Candidates do not say their margins, so `initial_margin` says them by market; without it only the
second counts. An account is taken to hold this position only: where it holds others, the protocol counts a part of
its collateral for this one, and passes it over where all of it would do.

Fees: of a trading fee first the affiliate's share of a taker fee, or, where the account has no affiliate, the order
router's; then of the remainder the unconditional shares and the market mapper's. Source: protocol/x/revshare of the
same repository. The shares are set by governance; the defaults here are none. A liquidation fee is no revenue: all of
it goes to the insurance fund.

The protocol shares the net fee of a fill, taker's and maker's together; a split sees one fee at a time, so here a
maker's rebate does not lessen the shares of the taker's fee, and the affiliate of a taker does not end the router's
share of its maker.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import riskpolicy as rp
from riskpolicy.hooks import Allocation, Candidate, Demand, FeeDue, with_parameters

#: How many counterparties are tried for one liquidated position.
MOST = 500
ZERO = Fraction(0)
#: Receivers that the plugin names itself.
OWN = frozenset({"affiliates", "order_router", "market_mapper", "fees"})


def start(demand: Demand, count: int) -> int:
    """Return the place from which candidates are walked: the same for the same demand and seed."""
    text = f"{demand.seed}:{demand.event}:{demand.instrument}:{demand.side}".encode()
    return int.from_bytes(hashlib.sha256(text).digest(), "big") % count


def allowed(demand: Demand, candidate: Candidate, contracts: Fraction, initial: Fraction | None) -> bool:
    """Return whether a candidate's collateral allows it to give contracts, above zero, at the demand's price.

    `initial` is the initial margin as a part of notional. Both bounds are inclusive.
    """
    equity, kept = candidate.equity - demand.lost(contracts), 1 - contracts / candidate.contracts
    if initial is not None and equity >= initial * candidate.notional * kept:
        return True
    # Margin is in proportion to contracts, so equity may fall as they do and no further; to zero where none is kept.
    return equity >= candidate.equity * kept


@dataclass(frozen=True)
class Dydx:
    """The plugin; `affiliates` are accounts with an affiliate, shares are parts of 1.

    `insurance` is the fund of liquidation fees by its id; `initial_margin` the fraction of notional that a market asks,
    by its symbol. ValueError for shares that leave nothing of the remainder, as in the protocol, or that name a
    receiver of the plugin's own, and for an initial margin that is not above zero and at most 1.
    """

    affiliates: frozenset[str] = frozenset()
    affiliate_share: Fraction = ZERO
    router_share: Fraction = ZERO
    unconditional: Mapping[str, Fraction] = field(default_factory=dict)
    mapper_share: Fraction = ZERO
    insurance: str = "insurance"
    initial_margin: Mapping[str, Fraction] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shares = (self.affiliate_share, self.router_share, self.mapper_share, *self.unconditional.values())
        if not all(0 <= share <= 1 for share in shares):
            raise ValueError("a share is a part of 1")
        if sum(self.unconditional.values(), self.mapper_share) >= 1:
            raise ValueError("the unconditional shares and the market mapper's give away all of the remainder or more")
        if not all(0 < fraction <= 1 for fraction in self.initial_margin.values()):
            raise ValueError("an initial margin is a part of the notional, above zero and at most 1")
        taken = OWN.intersection(self.unconditional)
        if taken:
            raise ValueError(f"`{min(taken)}` is a receiver of its own; name the unconditional share otherwise")

    @rp.hookimpl
    def configured(self, parameters: Mapping[str, object]) -> Dydx:
        """Return the plugin with the fields that a ruleset names."""
        return with_parameters(self, parameters)

    @rp.hookimpl
    def laws(self) -> Sequence[str]:
        """Skipping is not exhaustive, nor monotone: whose initial margin allows one contract may not give two."""
        return ("contracts_opposite", "scale_free", "entry_free")

    @rp.hookimpl
    def allocate_adl(self, demand: Demand, candidates: Sequence[Candidate]) -> Allocation:
        """Walk from the start."""
        order = sorted(range(len(candidates)), key=lambda i: candidates[i].account)
        first = start(demand, len(order)) if order else 0
        walk = [*order[first:], *order[:first]]
        given = [ZERO] * len(candidates)
        skipped: list[str | None] = ["not reached"] * len(candidates)
        left, initial = demand.contracts, self.initial_margin.get(demand.instrument)
        for i in walk[:MOST]:
            if left <= 0:
                break
            c = candidates[i]
            size = min(left, c.cap, c.contracts)
            size = size if size == c.contracts else size // demand.lot * demand.lot
            if size <= 0:
                skipped[i] = "nothing to give"
            elif not allowed(demand, c, size, initial):
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
        if fee.kind in ("liquidation", "deleveraging"):
            return {self.insurance: fee.amount}
        if fee.amount <= 0:
            return {"fees": fee.amount}
        parts: dict[str, int] = {}
        if fee.account in self.affiliates and fee.kind == "taker":
            parts["affiliates"] = int(fee.amount * self.affiliate_share)
        else:
            parts["order_router"] = int(fee.amount * self.router_share)
        rest = fee.amount - sum(parts.values())
        for name, share in self.unconditional.items():
            parts[name] = int(rest * share)
        parts["market_mapper"] = int(rest * self.mapper_share)
        parts = {name: amount for name, amount in parts.items() if amount}
        return {**parts, "fees": fee.amount - sum(parts.values())}


plugin = Dydx()
