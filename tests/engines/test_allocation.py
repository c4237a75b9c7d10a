"""The laws of the allocation policies, and oracles for them on small books."""

import itertools
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from riskpolicy.engines import allocation
from riskpolicy.engines.core.draw import equal_parts, shares

F = Fraction
capacities = st.lists(st.integers(0, 40).map(F), min_size=1, max_size=7)
budgets = st.integers(0, 200).map(lambda x: F(x, 2))


def holds(given_, capacity, budget):
    """Nobody beyond its capacity, nothing below zero, and all of what there is to raise."""
    assert all(0 <= g <= max(0, c) for g, c in zip(given_, capacity, strict=True))
    assert sum(given_) == min(budget, sum(capacity))


@given(capacities, budgets, st.randoms())
def test_a_queue_is_greedy_and_takes_one_in_part_at_most(capacity, budget, rng):
    order = list(range(len(capacity)))
    rng.shuffle(order)
    taken = allocation.queue(capacity, order, budget)
    holds(taken, capacity, budget)
    assert sum(0 < t < c for t, c in zip(taken, capacity, strict=True)) <= 1
    # The greatest sum of score x taken over all that raise the budget: greedy equals the best of every order.
    score = {i: len(order) - place for place, i in enumerate(order)}
    worth = sum(score[i] * t for i, t in enumerate(taken))
    for other in itertools.islice(itertools.permutations(order), 120):
        assert worth >= sum(score[i] * t for i, t in enumerate(allocation.queue(capacity, other, budget)))


@given(capacities, budgets, st.integers(1, 9))
def test_pro_rata_takes_one_fraction_whatever_the_scale_or_the_split(capacity, budget, k):
    taken = allocation.pro_rata(capacity, budget)
    holds(taken, capacity, budget)
    assert len({t / c for t, c in zip(taken, capacity, strict=True) if c}) <= 1
    assert allocation.pro_rata([c * k for c in capacity], budget * k) == [t * k for t in taken]
    half = capacity[0] / 3
    split = allocation.pro_rata([half, capacity[0] - half, *capacity[1:]], budget)
    assert split[0] + split[1] == taken[0]


@given(capacities, budgets, budgets)
def test_a_water_level_is_one_and_rises_with_the_budget(capacity, budget, more):
    taken = allocation.capped_equal(capacity, budget)
    holds(taken, capacity, budget)
    level = max(taken)
    assert all(t in (level, c) for t, c in zip(taken, capacity, strict=True))
    raised = allocation.capped_equal(capacity, budget + more)
    assert all(a <= b for a, b in zip(taken, raised, strict=True))


@given(st.lists(st.integers(0, 15), min_size=1, max_size=6), st.integers(0, 60))
def test_lots_are_whole_and_all_given(capacity, lots):
    given_ = allocation.in_lots(allocation.pro_rata([F(c) for c in capacity], F(lots)), capacity, lots)
    assert sum(given_) == min(lots, sum(capacity))
    assert all(0 <= g <= c for g, c in zip(given_, capacity, strict=True))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(-3, 6)), min_size=1, max_size=4), st.integers(0, 14),
)  # fmt: skip
def test_the_least_largest_leverage_is_the_least(accounts, contracts):
    quantity, equity = [F(q) for q, _ in accounts], [F(e) for _, e in accounts]
    given_ = allocation.least_leverage(quantity, equity, F(2), F(contracts))
    holds(given_, quantity, contracts)

    def worst(taken):
        left = [(q - t) * 2 / e for q, t, e in zip(quantity, taken, equity, strict=True) if e > 0]
        return max(left, default=F(0))

    # Whoever has no equity goes first; among the others no whole-lot choice leaves a smaller largest leverage.
    first = [min(q, t) for q, t, e in zip(quantity, given_, equity, strict=True) if e <= 0]
    lost = sum(q for q, e in zip(quantity, equity, strict=True) if e <= 0)
    assert sum(first) == min(lost, contracts)
    for taken in itertools.product(*(range(int(q) + 1) for q in quantity)):
        same = [t for t, e in zip(taken, equity, strict=True) if e <= 0] == first
        if sum(taken) == sum(given_) and same:
            assert worst(given_) <= worst(taken)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.integers(0, 90))
def test_groups_and_equal_parts_give_all_there_is(rooms, amount):
    for split in (shares(rooms, min(amount, sum(rooms))), equal_parts(rooms, amount)):
        assert sum(split) == min(amount, sum(rooms))
        assert all(0 <= s <= r for s, r in zip(split, rooms, strict=True))
    parts = equal_parts(rooms, amount)
    top = max(parts)
    assert all(p == r or p >= top - 1 for p, r in zip(parts, rooms, strict=True))


def test_deleveraging_by_drawdown_has_hysteresis():
    trigger = allocation.drawdown_trigger
    args = (F(0), F(1000), F("-0.3"), F("-0.25"))
    assert trigger(F(-350), *args, active=False) == (F("-0.35"), True, 50)
    assert trigger(F(-300), *args, active=False) == (F("-0.3"), False, 0)
    assert trigger(F(-280), *args, active=True) == (F("-0.28"), True, 0)
    assert trigger(F(-240), *args, active=True) == (F("-0.24"), False, 0)
