"""Rule tests of resolutions: rows in order, residuals, events; what is wrong is shown at its line."""

import pytest

from riskpolicy.testing.form import read_tests
from riskpolicy.testing.run import Runner
from tests import venue

HEAD = """\
- test: a loss
  given:
    markets: [{instrument: BTCUSDT, mark_price: 95}]
    accounts: [{account: A, currency: USDT, balance: 100}, {account: B, currency: USDT, balance: 1000}]
    positions:
      - {account: A, instrument: BTCUSDT, quantity: 10, entry_price: 100}
      - {account: B, instrument: BTCUSDT, quantity: -10, entry_price: 100}
    funds: [{fund: main, currency: USDT, balance: 5}]
    depth: [{instrument: BTCUSDT, side: bid, price: 88, quantity: 20}]
    events: [{kind: mark, instrument: BTCUSDT, mark_price: 89}]
  expect:
    resolution:
"""
GOOD = ["draws: [{layer: fund, amount: 5}, {layer: end, amount: 15}]", "residual: {USDT: 15}", "deleveraged: []"]


def run(tmp_path, lines, head=HEAD):
    ruleset = venue.base()
    ruleset["liquidation"]["steps"] = ruleset["liquidation"]["steps"][:1]
    (tmp_path / "venue.yaml").write_text(venue.text(ruleset))
    path = tmp_path / "venue.test.yaml"
    path.write_text(head + "".join(f"      {line}\n" for line in lines))
    (test,) = read_tests(path).tests
    return Runner().run(test)


def test_a_resolution_as_expected_passes(tmp_path):
    outcome = run(tmp_path, [*GOOD, "steps: [{account: A, price: 88, quantity: -10}]", "waiting: []"])
    assert (outcome.status, outcome.findings, outcome.mismatches) == ("passed", (), ())


@pytest.mark.parametrize(
    ("line", "column", "got"),
    [
        ("draws: [{layer: fund, amount: 6}, {layer: end}]", "amount", "5"),
        ("draws: [{layer: fund}]", "draws", "2: layer fund"),
        ("residual: {USDT: 14}", "USDT", "15"),
        ("waiting: [A]", "waiting", "nobody"),
    ],
)
def test_a_difference_fails_at_its_line(tmp_path, line, column, got):
    outcome = run(tmp_path, [line])
    assert outcome.status == "failed"
    assert outcome.mismatches[0].column == column
    assert outcome.mismatches[0].got.startswith(got)
    assert outcome.mismatches[0].place.line == 13


@pytest.mark.parametrize(
    ("lines", "head", "code"),
    [
        (["drawn: []"], HEAD, "unknown_key"),
        (["draws: [{layer: fund, sum: 5}, {layer: end}]"], HEAD, "unknown_column"),
        (GOOD, HEAD.replace("kind: mark,", "kind: marks,"), "invalid_value"),
        (GOOD, HEAD.replace("    events:", "    execution: magic\n    events:"), "unknown_choice"),
    ],
)
def test_a_faulty_test_is_an_error(tmp_path, lines, head, code):
    outcome = run(tmp_path, lines, head)
    assert outcome.status == "error"
    assert outcome.findings[0].code == code
