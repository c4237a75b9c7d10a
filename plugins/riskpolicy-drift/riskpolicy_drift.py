"""Drift v2: who gets a taker's fee: the referee's discount, the referrer, the filler, the rest the market.

A referred account pays 5 % less (the referee's discount), its referrer gets 15 % of the fee before the discount, and
who fills the order 10 % of what the taker pays after it. Sources: the fee structures of
programs/drift/src/state/state.rs and the fee arithmetic of programs/drift/src/math/fees.rs of drift-labs/protocol-v2.
Rates by tier, maker rebates included, stand in a ruleset; the discount is a receiver here, since a split can not lower
a fee: it is paid back to `referees`.

Not modelled, since no snapshot says it: the filler gets less than 10 % of a large order that has not waited for long,
and a referrer's rewards end at a bound per epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import riskpolicy as rp
from riskpolicy.hooks import FeeDue, with_parameters


@dataclass(frozen=True)
class Drift:
    """The plugin; `referred` are the accounts that somebody has referred."""

    referred: frozenset[str] = frozenset()
    referee_discount: Fraction = Fraction(5, 100)
    referrer_reward: Fraction = Fraction(15, 100)
    filler_reward: Fraction = Fraction(10, 100)

    @rp.hookimpl
    def configured(self, parameters: Mapping[str, object]) -> Drift:
        """Return the plugin with the fields that a ruleset names."""
        return with_parameters(self, parameters)

    @rp.hookimpl
    def split_fees(self, fees: Sequence[FeeDue]) -> Sequence[Mapping[str, int]]:
        """Split each taker's fee, every part rounded down; what is left, and any other fee, is the market's."""
        return [self._split(fee) for fee in fees]

    def _split(self, fee: FeeDue) -> dict[str, int]:
        if fee.kind != "taker" or fee.amount <= 0:
            return {"fees": fee.amount}
        parts: dict[str, int] = {}
        if fee.account in self.referred:
            parts["referees"] = int(fee.amount * self.referee_discount)
            parts["referrers"] = int(fee.amount * self.referrer_reward)
        paid = fee.amount - parts.get("referees", 0)
        parts["fillers"] = int(paid * self.filler_reward)
        parts = {name: amount for name, amount in parts.items() if amount}
        return {**parts, "fees": fee.amount - sum(parts.values())}


plugin = Drift()
