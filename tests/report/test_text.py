"""Amounts as people read them."""

import pytest

from riskpolicy.report.text import amount


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"), (0, "0.00"), (1234.5, "1,234.50"), (-0.5, "-0.50"), (0.25, "0.25"), (0.0125, "0.0125"),
        (0.05031258, "0.05031"), (-0.00000001, "-0.00000001"), (0.372, "0.37"), (0.0999999, "0.10"),
        (1.005, "1.00"), (float("inf"), "infinite"),
    ],
)  # fmt: skip
def test_amounts_below_a_tenth_keep_their_digits(value, shown):
    assert amount(value) == shown
