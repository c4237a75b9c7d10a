"""Hyperliquid: the deleveraging index as documented, of those in profit only, and the split of fees.

Index: (mark / entry) x (notional / account value), the highest first. Source: Hyperliquid Docs, Trading,
Auto-deleveraging. As printed it ranks profitable shorts the other way round than profit would, since mark / entry is
below 1 for them; it is implemented as printed. Who has no profit ranks after all who have.

Fees: a part goes to the vault that backstops liquidations, the rest to the assistance fund, which buys and burns the
venue's token. The documents give no numbers; a community wiki estimates 7 % and 93 %, the default here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import riskpolicy as rp
from riskpolicy.hooks import Candidate, Demand, FeeDue, with_parameters


def index(demand: Demand, candidate: Candidate) -> Fraction:
    """Return the documented index; -1 without profit or equity, below every index there is."""
    if candidate.unrealized_pnl <= 0 or candidate.equity <= 0:
        return Fraction(-1)
    return demand.mark_price / candidate.entry_price * candidate.notional / candidate.equity


@dataclass(frozen=True)
class Hyperliquid:
    """The plugin; `vault_share` of every fee, a part of 1, goes to `vault`: `hlp` is its id in the shipped ruleset."""

    vault_share: Fraction = Fraction(7, 100)
    vault: str = "hlp"

    def __post_init__(self) -> None:
        if not 0 <= self.vault_share <= 1:
            raise ValueError(f"vault_share must be a part of 1, not {self.vault_share}")

    @rp.hookimpl
    def configured(self, parameters: Mapping[str, object]) -> Hyperliquid:
        """Return the plugin with the fields that a ruleset names."""
        return with_parameters(self, parameters)

    @rp.hookimpl
    def rank_adl(self, demand: Demand, candidates: Sequence[Candidate]) -> Sequence[Fraction]:
        """Rank by the index."""
        return [index(demand, c) for c in candidates]

    @rp.hookimpl
    def split_fees(self, fees: Sequence[FeeDue]) -> Sequence[Mapping[str, int]]:
        """Split each fee between the vault, rounded down, and `assistance_fund`; a rebate is the assistance fund's."""
        vault = [int(max(0, fee.amount) * self.vault_share) for fee in fees]
        return [{self.vault: v, "assistance_fund": fee.amount - v} for fee, v in zip(fees, vault, strict=True)]


plugin = Hyperliquid()
