"""An order by floats with bounds equals the order by exact keys, and certain equality costs nothing."""

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from riskpolicy.engines.core.ordering import Key, order_rows

U = 2.0**-53
decimals = st.integers(-30, 30).map(lambda n: Fraction(n, 10))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), decimals, decimals, st.sampled_from([-3, -1, 0, 0, 1, 3])), max_size=25),
    st.booleans(),
    st.integers(1, 2),
)
def test_the_order_is_the_exact_one(rows, descending, count):
    """Values are perturbed by a few units in the last place, within their bounds."""
    n = len(rows)
    segment = np.array([r[0] for r in rows], np.int64)
    last = np.arange(n)[::-1].astype(np.int64)
    exact = [[Fraction(r[1]), Fraction(r[2])][:count] for r in rows]
    keys = []
    for k in range(count):
        values = np.array([float(e[k]) * (1 + r[3] * 2 * U) for e, r in zip(exact, rows, strict=True)])
        bounds = np.array([0.0 if e[k] == 0 else abs(float(e[k])) * 20 * U for e in exact])
        keys.append(Key(values, bounds, descending))
    order, _ = order_rows(segment, keys, last, lambda i: exact[i])
    sign = -1 if descending else 1
    wanted = sorted(range(n), key=lambda i: (segment[i], *(sign * e for e in exact[i]), last[i]))
    assert order.tolist() == wanted


def test_certain_equality_needs_no_exact_arithmetic():
    n = 10_000
    zero = Key(np.zeros(n), np.zeros(n), descending=True)

    def never(row):
        raise AssertionError(f"row {row} was decided exactly")

    order, redecided = order_rows(np.zeros(n, np.int64), [zero], np.arange(n)[::-1].copy(), never)
    assert redecided == 0
    assert order.tolist() == list(range(n))[::-1]


def test_one_doubtful_row_among_many_certain_ones_is_decided_alone():
    n = 1000
    values, bounds = np.zeros(n), np.zeros(n)
    values[7], bounds[7] = -1e-18, 1e-17
    order, redecided = order_rows(
        np.zeros(n, np.int64), [Key(values, bounds, descending=True)], np.arange(n), lambda _: [Fraction(1, 10**20)]
    )
    assert redecided == 1
    assert order[0] == 7


def test_a_wide_interval_reaches_past_its_neighbour():
    values, bounds = np.array([3.0, 2.0, 1.0]), np.array([3.0, 0.0, 0.0])
    order, _ = order_rows(
        np.zeros(3, np.int64), [Key(values, bounds, descending=True)], np.arange(3), lambda _: [Fraction(0)]
    )
    assert order.tolist() == [1, 2, 0]


def test_one_row_of_which_nothing_is_known_leaves_the_others_alone():
    """An infinite bound would touch every other row; it is made exact first."""
    n = 1000
    values = np.arange(n, dtype=float)
    bounds = values * U
    values[3], bounds[3] = np.nan, np.inf
    asked = []

    def exact(row):
        asked.append(row)
        return [Fraction(1001, 2)]

    order, redecided = order_rows(np.zeros(n, np.int64), [Key(values, bounds)], np.arange(n), exact)
    assert redecided == 1
    assert set(asked) == {3}
    assert order.tolist() == [*range(3), *range(4, 501), 3, *range(501, n)]
