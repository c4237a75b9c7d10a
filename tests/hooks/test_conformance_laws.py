"""The books of the conformance kit break every law that a policy does not keep, and shrink to those who show it."""

from dataclasses import replace
from fractions import Fraction

import pytest

import riskpolicy as rp
from riskpolicy.engines.core.adl import LAWS
from riskpolicy.engines.policies import policy
from riskpolicy.testing.conformance import check_plugin


def rich(demand, candidates):
    """The queue of those with equity of 50 or more: an amount of money that is not in proportion to anything."""
    poor = {c.account for c in candidates if c.equity < 50}
    found = policy("queue")(demand, [replace(c, cap=Fraction(0)) if c.account in poor else c for c in candidates])
    skipped = ("poor" if c.account in poor else why for c, why in zip(candidates, found.skipped, strict=True))
    return replace(found, skipped=tuple(skipped))


def doubled(demand, candidates):
    """The queue, as if the first took the other side's contracts too."""
    found = policy("queue")(demand, candidates)
    return replace(found, given=tuple(2 * g for g in found.given))


#: A policy that breaks each law, and how many candidates are enough to show it.
BREAKS = {
    "contracts_opposite": (doubled, 1),
    "profit_only": (policy("queue"), 1),
    "budget_monotone": (policy("integer"), 3),
    "exhaustive": (policy("random_start"), 1),
    "scale_free": (rich, 1),
    "split_proof": (policy("lexicographic", keys=["contracts desc"]), 2),
    "entry_free": (policy("queue"), 2),
    "path_independent": (policy("integer"), 2),
    "smooth": (policy("queue"), 2),
}


@pytest.mark.parametrize("law", LAWS)
def test_generated_books_find_every_law_that_is_broken(law):
    allocate, enough = BREAKS[law]
    members = {"laws": rp.hookimpl(lambda self: (law,)),
               "allocate_adl": rp.hookimpl(lambda self, demand, candidates: allocate(demand, candidates))}  # fmt: skip
    (found,) = [b for b in check_plugin(type("Mine", (), members)()).broken if b.law == law]
    assert found.book.count("\n") == 1 + enough, found.book
