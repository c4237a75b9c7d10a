"""The compiled form equals simpleeval: its number over floats, bit for bit, its decision over fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskpolicy.compiler.programs import emit
from riskpolicy.expressions import reference
from riskpolicy.expressions.syntax import parse
from riskpolicy.kernel.program import Source

NAMES = ("a", "b", "c")
values = st.one_of(
    st.sampled_from([0.0, 0.1, 0.2, 0.3, 1.0, -1.0, 5000.0, 50000.0]),
    st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 4)),
)
literals = st.one_of(st.integers(0, 50).map(str), st.decimals(0, 9, places=2).map(str))


def numbers(depth=4):
    if depth == 0:
        return st.one_of(literals, st.sampled_from(NAMES))
    below = numbers(depth - 1)
    return st.one_of(
        below,
        st.tuples(below, st.sampled_from("+-*/"), below).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(st.sampled_from(["min", "max"]), below, below, below).map(
            lambda t: f"{t[0]}({t[1]}, {t[2]}, {t[3]})"
        ),
        below.map(lambda x: f"abs({x})"),
        below.map(lambda x: f"(-{x})"),
        st.tuples(below, conditions(depth - 1), below).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})"),
    )


def conditions(depth=2):
    compare = st.tuples(
        numbers(min(depth, 1)), st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), numbers(min(depth, 1))
    )
    plain = compare.map(lambda t: f"({t[0]} {t[1]} {t[2]})")
    if depth == 0:
        return plain
    below = conditions(depth - 1)
    return st.one_of(
        plain,
        st.tuples(below, st.sampled_from(["and", "or"]), below).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        below.map(lambda x: f"(not {x})"),
    )


def program(text):
    return emit(text, parse(text), {}, {})


def outcome(function, *arguments):
    """A value, or None where it is undefined."""
    try:
        return function(*arguments)
    except ZeroDivisionError:
        return None


@settings(max_examples=600, deadline=None)
@given(numbers(), st.tuples(values, values, values))
def test_numbers_are_equal_bit_for_bit(text, row):
    named = dict(zip(NAMES, row, strict=True))
    wanted = outcome(reference.value, text, named)
    got = float(program(text).run({n: np.array([v]) for n, v in named.items()}, 1)[0])
    if wanted is None:
        assert math.isnan(got), text
    elif not math.isnan(wanted):
        assert got == wanted, text


@settings(max_examples=400, deadline=None)
@given(st.one_of(numbers(), conditions()), st.tuples(values, values, values))
def test_decisions_are_equal_exactly(text, row):
    named = dict(zip(NAMES, row, strict=True))
    wanted = outcome(reference.decision, text, named)
    exact = {n: Fraction(repr(v)) for n, v in named.items()}
    got = program(text).exact(exact)
    assert got == (None if wanted is None else Fraction(wanted)), text


@settings(max_examples=300, deadline=None)
@given(conditions(), st.tuples(values, values, values))
def test_conditions_are_equal(text, row):
    named = dict(zip(NAMES, row, strict=True))
    wanted = outcome(reference.value, text, named)
    got = float(program(text).run({n: np.array([v]) for n, v in named.items()}, 1)[0])
    assert math.isnan(got) if wanted is None else got == wanted, text


def test_a_decimal_is_itself_in_a_decision():
    assert reference.decision("a * b == 5000", {"a": 0.1, "b": 50000.0}) is True
    assert reference.decision("a + b == 0.3", {"a": 0.1, "b": 0.2}) is True
    assert reference.value("a + b == 0.3", {"a": 0.1, "b": 0.2}) is False


@pytest.mark.parametrize(
    "text", ["1 / 0", "a / (b - b)", "max(1, a / 0)", "1 if a / 0 > 1 else 2", "a / 0 > 1 and a < 1"]
)
def test_a_taken_division_by_zero_is_undefined(text):
    assert program(text).exact({"a": Fraction(1), "b": Fraction(1)}) is None
    columns = {n: np.ones(1) for n in NAMES}
    assert np.isnan(program(text).run(columns, 1)).all()


@pytest.mark.parametrize(
    ("text", "value"),
    [("a / 0 if a > 1 else 2", 2), ("a > 1 and a / 0 > 1", 0), ("a < 2 or a / 0 > 1", 1)],
)
def test_an_untaken_division_by_zero_is_nothing(text, value):
    assert program(text).exact({"a": Fraction(1)}) == value
    assert program(text).run({"a": np.ones(1)}, 1)[0] == value


def bounded(text, named):
    columns = {n: np.array([v]) for n, v in named.items()}
    sources = {n: Source(v, bounds=np.abs(v) * 2.0**-53) for n, v in columns.items()}
    result = program(text).bounded(sources, 1)
    return float(result.values[0]), float(result.bounds[0])


@settings(max_examples=800, deadline=None)
@given(numbers(), st.tuples(values, values, values))
def test_bounds_hold_the_exact_number(text, row):
    named = dict(zip(NAMES, row, strict=True))
    value, bound = bounded(text, named)
    if math.isinf(bound) or math.isnan(bound):
        return
    wanted = outcome(reference.decision, text, named)
    assert wanted is not None, text
    assert abs(Fraction(value) - wanted) <= Fraction(bound), text


@settings(max_examples=800, deadline=None)
@given(conditions(), st.tuples(values, values, values))
def test_certain_conditions_are_right(text, row):
    named = dict(zip(NAMES, row, strict=True))
    value, bound = bounded(text, named)
    if bound == 0:
        assert value == outcome(reference.decision, text, named), text


def test_bounds_are_not_idle():
    assert bounded("a < b", {"a": 1.0, "b": 2.0, "c": 0.0}) == (1.0, 0.0)
    assert bounded("a * b < 5000", {"a": 0.1, "b": 50000.0, "c": 0.0})[1] > 0
    assert bounded("a + b == c", {"a": 0.1, "b": 0.2, "c": 0.3})[1] > 0
    value, bound = bounded("a / b", {"a": 1.0, "b": 3.0, "c": 0.0})
    assert 0 < bound < 1e-15 * value * 10


@pytest.mark.parametrize(
    ("text", "listing"),
    [
        ("2 / 3 * a", "const ~0.666666666667\nload a\nmul"),
        ("a * 2 / 3", "load a\nconst 2\nmul\nconst 3\ndiv"),
        ("-(0.1 + 0.2) + a", "const -0.3\nload a\nadd"),
        ("a if 1 < 2 else b", "load a\nload b\nconst 1\nselect"),
        ("max(1, 2, a)", "const 2\nload a\nmax"),
        ("1 / 0", "const 1\nconst 0\ndiv"),
    ],
)
def test_constants_are_folded_in_order(text, listing):
    assert program(text).listing() == listing


def test_a_folded_constant_is_a_float_to_one_interpreter_and_exact_to_the_other():
    folded = program("0.1 + 0.2 == 0.3")
    assert folded.listing() == "const 1"
    assert folded.run({}, 1).tolist() == [0.0]
    assert folded.exact({}) == 1
    assert folded.bounded({}, 1).bounds[0] >= 1


@pytest.mark.parametrize("text", ["s in (up, down)", "s not in (down, flat)", "s in up and a < 2", "not s in (flat,)"])
def test_words_are_compared_as_words(text):
    words = ("up", "down", "flat")
    made = emit(text, parse(text), {}, {}, words={"s": words})
    for code, word in enumerate(words):
        held = bool(made.run({"a": Source(np.array([1.0])), "s": Source(np.array([float(code)]))}, 1)[0])
        exactly = made.exact({"a": Fraction(1), "s": Fraction(code)})
        row = {"a": 1.0, "s": word}
        assert held == bool(exactly) == reference.value(text, row) == reference.decision(text, row)
