"""A float means its shortest decimal, a rate of 1 or more needs a percent sign, an instant is UTC."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskpolicy.numbers import (
    NumberError,
    decimal_text,
    exact,
    fraction_text,
    parse_decimal,
    parse_instant,
    parse_rate,
)


def test_a_float_is_its_shortest_decimal():
    assert exact(0.1) == Fraction(1, 10)
    assert exact(0.1 + 0.2) == Fraction(30000000000000004, 10**17)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e20, max_value=1e20))
def test_decimal_text_reads_back(x):
    assert float(decimal_text(x)) == x
    assert "e" not in decimal_text(x).lower()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (200.0, "200"),
        (-0.0, "0"),
        (0.50, "0.5"),
        (1e-7, "0.0000001"),
        (1e22, "1" + "0" * 22),
        (Decimal("1.500"), "1.5"),
    ],
)
def test_decimal_text(value, text):
    assert decimal_text(value) == text


@pytest.mark.parametrize(
    ("text", "rate"),
    [("0.4%", "0.004"), ("100%", "1"), ("250 %", "2.5"), ("0.004", "0.004"), ("0", "0"), ("-0.5%", "-0.005")],
)
def test_rates(text, rate):
    assert parse_rate(text) == Decimal(rate)


@pytest.mark.parametrize("text", ["1", "5", "-1", "1.0", "40"])
def test_a_bare_rate_of_one_or_more_is_refused(text):
    with pytest.raises(NumberError, match="percent sign"):
        parse_rate(text)


@pytest.mark.parametrize(
    "text", ["", "x", "nan", "inf", "1e999", "1_000", "٣", "0x10", "1" * 101, "1,5", "--1", "1e-400"]
)
def test_what_is_no_number(text):
    with pytest.raises(NumberError):
        parse_decimal(text)


def test_fractions_that_do_not_end_are_marked():
    assert fraction_text(Fraction(1, 8)) == "0.125"
    assert fraction_text(Fraction(1, 30), 4) == "~0.0333"


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2024-01-01", "2024-01-01T00:00:00+00:00"),
        ("2024-01-01T12:00:00Z", "2024-01-01T12:00:00+00:00"),
        ("2024-01-01T12:00:00+02:00", "2024-01-01T10:00:00+00:00"),
        ("2024-01-01 12:00:00", "2024-01-01T12:00:00+00:00"),
    ],
)
def test_instants(text, iso):
    assert parse_instant(text).isoformat() == iso


@pytest.mark.parametrize("text", ["", "yesterday", "2024-13-01", "1700000000"])
def test_what_is_no_instant(text):
    with pytest.raises(ValueError, match=r"isoformat|month"):
        parse_instant(text)
