"""What a fee split asks: fees that are due, in whole quanta."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from riskpolicy.vocabulary import ENGINE_ACCOUNTS

#: Accounts of the ledger, without their `@`, that the engine keeps: a split that named one would mix with them.
ENGINES = ENGINE_ACCOUNTS
ENGINES_PREFIXES = ("member:", "provider:")


@dataclass(frozen=True, slots=True)
class FeeDue:
    """A fee that an account pays: `amount` whole quanta of `currency`, below zero for a rebate.

    `instrument` is the symbol of the market, None where a fee is of no market; `rule` the id of the rule that asks it.
    """

    account: str
    currency: str
    amount: int
    kind: Literal["maker", "taker", "liquidation", "deleveraging"]
    instrument: str | None
    rule: str


class SplitFees(Protocol):
    """A fee split: for every fee, in order, the quanta of each receiver; they sum to the amount."""

    def __call__(self, fees: Sequence[FeeDue]) -> Sequence[Mapping[str, int]]:
        """Return who gets what: by the id of a fund, or the name of an outside party without its `@`.

        No part is of the other sign than its fee. None of ENGINES or ENGINES_PREFIXES is a receiver.
        """
        ...
