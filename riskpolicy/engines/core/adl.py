"""What deleveraging asks and answers: the contracts to close, who may be closed, who gives how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, Protocol

#: Why somebody is passed over at whose expense a price would be.
NO_OVERLAP = "bankruptcy prices do not overlap"
#: Why somebody gives nothing of whom less than a lot may be taken.
UNDER_A_LOT = "cap: less than one lot may be taken"


@dataclass(frozen=True, slots=True)
class Demand:
    """What must be closed: unsigned contracts of one instrument, taken from the positions on `side`.

    `price` is the execution price, `mark_price` the mark. `deficit` is the money that the bankrupt side lacks at the
    mark, zero or more, in settlement money. `lot` is the step of contracts. `event` numbers the demands of one
    resolution from 0; with `seed` it makes random choices repeatable.
    """

    instrument: str
    side: Literal["long", "short"]
    contracts: Fraction
    price: Fraction
    mark_price: Fraction
    lot: Fraction
    contract_size: Fraction
    inverse: bool
    deficit: Fraction
    event: int = 0
    seed: int = 0

    def lost(self, contracts: Fraction) -> Fraction:
        """Return what a holder on `side` loses against the mark when unsigned contracts of it close at `price`.

        In settlement money; below zero where the price is better than the mark.
        """
        size = contracts * self.contract_size * (1 if self.side == "long" else -1)
        if self.inverse:
            return size * (1 / self.price - 1 / self.mark_price)
        return size * (self.mark_price - self.price)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A position opposite to the bankrupt one, at the mark; contracts unsigned, money in the settlement currency.

    `cap` is the most that may be taken of it, in contracts; where that is nothing, `barred` says why. `equity` and
    `wallet_balance` are its bucket's. `score` is the venue's, None where it has none; `rank` the place by score and
    ties, 1 first, unique. `opened_at` is in seconds since 1970, None where nobody says.
    """

    account: str
    contracts: Fraction
    cap: Fraction
    entry_price: Fraction
    unrealized_pnl: Fraction
    notional: Fraction
    equity: Fraction
    wallet_balance: Fraction
    score: Fraction | None
    rank: int
    opened_at: Fraction | None = None
    barred: str | None = None

    def without(self, why: str) -> Candidate:
        """Return the candidate of whom nothing may be taken, and why; the first reason stays."""
        return replace(self, cap=Fraction(0), barred=self.barred or why)

    def spared(self, demand: Demand) -> Candidate:
        """Return the candidate, of whom nothing may be taken where all its contracts would cost more than its equity.

        Then it is bankrupt itself at a better price than the demand's: the bankruptcy prices do not overlap, and
        whatever part was taken would leave less than the rest needs.
        """
        lost = demand.lost(self.contracts)
        return self.without(NO_OVERLAP) if lost > 0 and lost > self.equity else self


@dataclass(frozen=True, slots=True)
class Allocation:
    """Who gives how many contracts, in the order of the candidates, and why who gives nothing was passed over.

    `remaining` is what nobody gave. A partial result is normal; an allocation never raises for lack of capacity.
    """

    given: tuple[Fraction, ...]
    skipped: tuple[str | None, ...]
    remaining: Fraction


class RankAdl(Protocol):
    """Scores for a batch of candidates, the highest first; ties are decided by the ruleset's keys, then account."""

    def __call__(self, demand: Demand, candidates: Sequence[Candidate]) -> Sequence[Fraction]:
        """Return one score a candidate, in their order."""
        ...


class AllocateAdl(Protocol):
    """An allocation policy."""

    def __call__(self, demand: Demand, candidates: Sequence[Candidate]) -> Allocation:
        """Return who gives how many contracts."""
        ...


#: The laws that a policy may declare; each is stated in docs/deleveraging.md and checked by the conformance kit.
LAWS = (
    "contracts_opposite", "profit_only", "budget_monotone", "exhaustive", "scale_free", "split_proof", "entry_free",
    "path_independent", "smooth",
)  # fmt: skip
