"""Severity over a wave: each controller's steps, its bounds, and where it ends."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskpolicy.engines.policies import CONTROLLERS, Raised, Severity, asked
from riskpolicy.engines.policies.severity import STEP
from tests.engines.adl_books import demand

F = Fraction
HALF = Severity(F(1, 2), F(1, 10), F(1))


@pytest.mark.parametrize(
    ("name", "budget", "needed", "value"),
    [
        ("static", 200, 100, "0.5"),
        ("back_off", 200, 100, "0.25"),
        ("back_off", 50, 100, "0.6"),
        ("back_off", 100, 100, "0.5"),
        ("mirror_descent", 150, 100, "0.444444444444"),  # 1 / (1 / 0.5 + 0.5 x 0.5) = 4/9
        ("mirror_descent", 900, 100, "0.4"),  # the gradient is cut to 1
        ("mirror_descent", 50, 100, "0.571428571429"),  # 1 / (2 - 0.25) = 4/7
        ("mirror_descent", 100, 100, "0.5"),
        ("mirror_descent", 100, 0, "0.5"),
    ],
)
def test_a_step(name, budget, needed, value):
    after = CONTROLLERS[name]()(HALF, Raised(F(budget), F(needed)))
    assert after == Severity(F(value), F(1, 10), F(1), 1)
    assert HALF.events == 0


@given(st.sampled_from(sorted(CONTROLLERS)), st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=8))
def test_it_stays_within_its_bounds_and_in_steps(name, events):
    step, state = CONTROLLERS[name](), HALF
    for budget, needed in events:
        state = step(state, Raised(F(budget), F(needed)))
        assert F(1, 10) <= state.value <= 1
        assert state.value % STEP == 0
    assert state.events == len(events)


def test_mirror_descent_finds_the_severity_that_raises_what_is_needed():
    # A full demand of 1,000 contracts at 10 raises 10,000; each event needs 3,000.
    state, of, step = Severity(F(1)), demand(1000), CONTROLLERS["mirror_descent"]()
    for _ in range(40):
        state = step(state, Raised(of.lost(asked(of, state).contracts), F(3000)))
    assert asked(of, state).contracts == 300


def test_what_is_asked_is_whole_lots_and_never_more_than_all():
    assert asked(demand(10), Severity(F(1, 3))).contracts == 4
    assert asked(demand(F(5, 2)), Severity(F(1))).contracts == F(5, 2)
    assert asked(demand(10), Severity(F(0))).contracts == 0
