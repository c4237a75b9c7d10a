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


def candidate(k, contracts, equity, cap=None):
    size = F(contracts)
    cap = size if cap is None else F(cap)
    return Candidate(f"A{k}", size, cap, F(50), size * 50, size * 100, F(equity), F(0), None, k + 1)


def worst(people, given_):
    return max((c.contracts - g) / c.equity for c, g in zip(people, given_, strict=True))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(1, 30), st.integers(0, 6)), min_size=1, max_size=4),
    st.integers(1, 12),
)
def test_no_other_allocation_leaves_less(sizes, contracts):
    people = [candidate(k, size, F(equity, 5), min(size, cap)) for k, (size, equity, cap) in enumerate(sizes)]
    found = least.plugin.allocate_adl(demand(contracts), people)
    asked = min(contracts, sum(int(c.cap) for c in people))
    assert sum(found.given) == asked
    others = (way for way in itertools.product(*(range(int(c.cap) + 1) for c in people)) if sum(way) == asked)
    assert worst(people, found.given) == min(worst(people, way) for way in others)


def test_a_level_that_falls_between_lots():
    # Without lots 0.41 of each small one and 1.77 of the large one are given; rounded one by one that would leave a
    # small one at 1.67, and all of the small ones leave 1.
    people = [candidate(0, 100, 100), *(candidate(k, 1, F("0.6")) for k in (1, 2, 3))]
    assert least.plugin.allocate_adl(demand(3), people).given == (0, 1, 1, 1)


def test_the_level_is_exact_within_caps():
    # 10 - 5 L, 6 - 2 L up to 1, and 8 - 2 L: at L = 3 that is nothing, nothing and 2; at 2, nothing, 1 and 4.
    people = [candidate(0, 10, 5), candidate(1, 6, 2, cap=1), candidate(2, 8, 2)]
    assert least.level(people, F(2)) == 3
    assert least.level(people, F(5)) == 2
    assert least.level(people, F(10)) == F(9, 7)
    assert least.level(people, F(99)) == 0


def test_what_caps_cut_off_is_taken_of_the_others_at_once():
    """A thousand accounts and ten thousand times as many lots: lot after lot would not end."""
    people = [candidate(k, 10**4, 10 + k % 7, cap=10 if k % 2 else None) for k in range(1000)]
    found = least.plugin.allocate_adl(demand(4 * 10**6), people)
    assert found.remaining == 0
    kept = [(c.contracts - g) / c.equity for c, g in zip(people[::2], found.given[::2], strict=True)]
    # A lot of the smallest equity is a tenth.
    assert max(kept) - min(kept) <= F(1, 10)


def test_who_has_no_equity_closes_first():
    people = [candidate(0, 5, 100), candidate(1, 5, 0)]
    assert least.plugin.allocate_adl(demand(6), people).given == (1, 5)


def test_it_keeps_its_laws():
    conforms(least.plugin)
