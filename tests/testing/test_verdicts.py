"""Rule tests of orders: what is said is compared, and a test that asserts nothing is an error."""

import pytest

from riskpolicy.testing.form import read_tests
from riskpolicy.testing.run import Runner
from tests import venue

HEAD = """\
- test: an order
  given:
    markets: [{instrument: BTCUSDT, mark_price: 50000}]
    accounts: [{account: A, currency: USDT, balance: 1000}]
    positions: []
  expect:
    verdicts:
"""


def run(tmp_path, row):
    (tmp_path / "venue.yaml").write_text(venue.text(venue.base()))
    path = tmp_path / "venue.test.yaml"
    path.write_text(f"{HEAD}      - {row}\n")
    (test,) = read_tests(path).tests
    return Runner().run(test)


ORDER = "account: A, instrument: BTCUSDT, side: buy, quantity: 3"


@pytest.mark.parametrize(
    "said",
    [
        "code: allowed, allowed: true, rule: null",
        "numbers: {initial_margin_after: 1000, available_after: 0}",
        "max_quantity: 3",
    ],
)
def test_what_is_said_passes(tmp_path, said):
    outcome = run(tmp_path, f"{{{ORDER}, {said}}}")
    assert (outcome.status, outcome.findings) == ("passed", ())


@pytest.mark.parametrize(
    ("said", "column", "got"),
    [
        ("code: margin_insufficient", "code", "allowed"),
        ("allowed: false", "allowed", "true"),
        ("max_quantity: 3.001", "max_quantity", "3"),
        ("numbers: {available_after: 1}", "available_after", "0"),
    ],
)
def test_what_is_not_said_fails_at_its_line(tmp_path, said, column, got):
    outcome = run(tmp_path, f"{{{ORDER}, {said}}}")
    (mismatch,) = outcome.mismatches
    assert (outcome.status, mismatch.column, mismatch.got, mismatch.place.line) == ("failed", column, got, 8)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (f"{{{ORDER}}}", "asserts_nothing"),
        (f"{{{ORDER}, code: margin}}", "unknown_choice"),
        (f"{{{ORDER}, verdict: allowed}}", "unknown_column"),
        ("{account: A, code: allowed}", "missing_column"),
        (f"{{{ORDER}, numbers: {{margin: 1}}}}", "unknown_column"),
        (f"{{{ORDER}, max_quantity: '3'}}", "wrong_type"),
    ],
)
def test_a_faulty_row_is_an_error(tmp_path, row, code):
    outcome = run(tmp_path, row)
    assert outcome.status == "error"
    assert outcome.findings[0].code == code
    assert outcome.findings[0].place.line == 8
