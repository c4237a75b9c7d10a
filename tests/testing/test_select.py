"""-k selects by words, and, or, not and brackets."""

import pytest

from riskpolicy.errors import QueryError
from riskpolicy.testing.select import parse_selection


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("tier", True),
        ("TIER", True),
        ("btc and tier", True),
        ("btc and eth", False),
        ("eth or tier", True),
        ("not eth", True),
        ("not (eth or btc)", False),
        ("not eth and btc", True),
        ("eth and btc or tier", True),
        ("'a tier'", True),
        ('"tier a"', False),
        ("'and'", False),
        ("btc[3000]", True),
    ],
)
def test_selections(text, selected):
    assert parse_selection(text)("x.test.yaml::a tier of btc[3000]") is selected


@pytest.mark.parametrize("text", ["", "and", "a and", "(a", "a)", "not", "a b", "'a", "()"])
def test_what_is_no_selection(text):
    with pytest.raises(QueryError) as error:
        parse_selection(text)
    assert error.value.codes == ("selection_syntax",)
