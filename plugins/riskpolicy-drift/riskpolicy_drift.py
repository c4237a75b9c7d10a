"""Drift v2: who gets a taker's fee: the referee's discount, the referrer, the filler, the rest the market.

A referred account pays 5 % less (the referee's discount), its referrer gets 15 % of the fee, and who fills the order
10 % as a reward. Sources: the fee structures of programs/drift/src/state/state.rs and the fee arithmetic of
programs/drift/src/math/fees.rs of drift-labs/protocol-v2. Rates by tier stand in a ruleset; the discount is a receiver
here, since a split can not lower a fee: it is paid back to `referees`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import riskpolicy as rp
from riskpolicy.engines.core.fees import FeeDue


@dataclass(frozen=True)
class Drift:
    """The plugin; `referred` are the accounts that somebody has referred."""

    referred: frozenset[str] = frozenset()
    referee_discount: Fraction = Fraction(5, 100)
    referrer_reward: Fraction = Fraction(15, 100)
    filler_reward: Fraction = Fraction(10, 100)

    @rp.hookimpl
    def split_fees(self, fees: Sequence[FeeDue]) -> Sequence[Mapping[str, int]]:
        """Split each fee; rewards are taken from the whole fee and rounded down, what is left is the market's."""
        return [self._split(fee) for fee in fees]

    def _split(self, fee: FeeDue) -> dict[str, int]:
        if fee.kind != "taker" or fee.amount <= 0:
            return {"fees": fee.amount}
        parts = {"fillers": int(fee.amount * self.filler_reward)}
        if fee.account in self.referred:
            parts["referees"] = int(fee.amount * self.referee_discount)
            parts["referrers"] = int(fee.amount * self.referrer_reward)
        parts = {name: amount for name, amount in parts.items() if amount}
        return {**parts, "fees": fee.amount - sum(parts.values())}


plugin = Drift()
