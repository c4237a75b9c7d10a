"""Compiled fractions hold to fractions.Fraction in every operation, with every kind of operand."""

import math
import operator
import pickle
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskpolicy._rational import Exact, exact_of, shortest

WHOLE = st.one_of(st.integers(-20, 20), st.integers(-(2**70), 2**70), st.sampled_from([2**63, -(2**63), 2**63 - 1]))
PAIRS = st.tuples(WHOLE, WHOLE.filter(bool))
TWO = (
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod,
    operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge,
)  # fmt: skip
ONE = (operator.neg, operator.abs, bool, hash, round, math.floor, math.ceil, int, float, str, repr)


def outcome(of, *operands):
    try:
        return of(*operands)
    except (ZeroDivisionError, OverflowError) as error:
        return type(error)


@given(PAIRS, PAIRS)
def test_operations_on_two(one, other):
    for of in TWO:
        wanted = outcome(of, Fraction(*one), Fraction(*other))
        for a, b in (
            (exact_of(*one), exact_of(*other)),
            (exact_of(*one), Fraction(*other)),
            (Fraction(*one), exact_of(*other)),
        ):
            found = outcome(of, a, b)
            assert found == wanted, of


@given(PAIRS, st.one_of(WHOLE, st.floats(-1e6, 1e6), st.booleans()))
def test_operations_with_whole_numbers_and_floats(one, other):
    for of in TWO:
        assert outcome(of, exact_of(*one), other) == outcome(of, Fraction(*one), other), of
        assert outcome(of, other, exact_of(*one)) == outcome(of, other, Fraction(*one)), of


@given(PAIRS)
def test_operations_on_one(one):
    for of in ONE:
        assert outcome(of, exact_of(*one)) == outcome(of, Fraction(*one)), of
    assert round(exact_of(*one), 3) == round(Fraction(*one), 3)
    assert pickle.loads(pickle.dumps(exact_of(*one))) == Fraction(*one)


@given(PAIRS, PAIRS)
def test_what_is_computed_is_in_lowest_terms_and_compiled_again(one, other):
    for of in (operator.add, operator.sub, operator.mul):
        for found in (
            of(exact_of(*one), exact_of(*other)),
            of(Fraction(*one), exact_of(*other)),
            of(3, exact_of(*one)),
        ):
            assert type(found) is Exact
            assert math.gcd(found.numerator, found.denominator) == 1
            assert found.denominator > 0


@pytest.mark.parametrize("other", [0, Fraction(0), exact_of(0)])
def test_nothing_is_divided_by_zero(other):
    with pytest.raises(ZeroDivisionError):
        exact_of(1, 3) / other
    with pytest.raises(ZeroDivisionError):
        exact_of(1, 0)


def test_other_kinds_go_the_way_of_fractions():
    with pytest.raises(TypeError):
        exact_of(1, 2) + "1"
    assert exact_of(1, 2) != "1"
    assert exact_of(1, 2) ** 2 == Fraction(1, 4)
    assert exact_of(1, 2) + 0.25 == 0.75
    assert math.isinf(exact_of(1, 2) + math.inf)
    assert exact_of(1, 2) < math.inf


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**9), 10**9).map(lambda n: n / 1000))
def test_a_float_means_its_shortest_decimal(value):
    found = shortest(value)
    assert type(found) is Exact
    assert (found.numerator, found.denominator) == Decimal(repr(value)).as_integer_ratio()


@pytest.mark.parametrize("value", [0.0, -0.0, 5e-324, 1.7976931348623157e308, 1e16, 1e22, 123456789012345680.0, -1e-5])
def test_floats_at_the_ends_of_what_can_be_written(value):
    assert shortest(value) == Fraction(Decimal(repr(value)))
    assert math.gcd(shortest(value).numerator, shortest(value).denominator) == 1


def test_what_is_no_number_is_refused():
    for value, error in ((math.nan, ValueError), (math.inf, OverflowError), (-math.inf, OverflowError)):
        with pytest.raises(error):
            shortest(value)
