"""The least largest leverage, against brute force on small books, and the laws."""

import itertools
from fractions import Fraction

import riskpolicy_least_leverage as least
from hypothesis import given, settings
from hypothesis import strategies as st

from riskpolicy.engines.core.adl import Candidate, Demand
from riskpolicy.testing.conformance import conforms

F = Fraction


def demand(contracts):
    return Demand("BTC", "long", F(contracts), F(90), F(100), F(1), F(1), False, F(0))


def candidate(k, contracts, equity):
    size = F(contracts)
    return Candidate(f"A{k}", size, size, F(50), size * 50, size * 100, F(equity), F(0), None, k + 1)


def worst(people, given_):
    return max((c.contracts - g) / c.equity for c, g in zip(people, given_, strict=True))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 9)), min_size=1, max_size=3), st.integers(1, 8),
)  # fmt: skip
def test_no_other_allocation_leaves_less(sizes, contracts):
    people = [candidate(k, size, equity) for k, (size, equity) in enumerate(sizes)]
    found = least.plugin.allocate_adl(demand(contracts), people)
    asked = min(contracts, sum(int(c.contracts) for c in people))
    assert sum(found.given) == asked
    others = (
        way for way in itertools.product(*(range(int(c.contracts) + 1) for c in people)) if sum(way) == asked
    )  # fmt: skip
    assert worst(people, found.given) == min(worst(people, way) for way in others)


def test_who_has_no_equity_closes_first():
    people = [candidate(0, 5, 100), candidate(1, 5, 0)]
    assert least.plugin.allocate_adl(demand(6), people).given == (1, 5)


def test_it_keeps_its_laws():
    conforms(least.plugin)
