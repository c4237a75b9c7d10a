"""A test that says nothing, or something that cannot be, is an error with its file and line; never a pass."""

import pytest

from riskpolicy.testing.form import read_tests
from riskpolicy.testing.output import outcome_text
from riskpolicy.testing.run import Runner
from tests.testing.helpers import GIVEN, one, run, write


@pytest.mark.parametrize(
    ("expect", "code", "line"),
    [
        ("{}", "asserts_nothing", 7),
        ("buckets: []", "asserts_nothing", 7),
        ("buckets: [{account: A}]", "asserts_nothing", 7),
        ("buckets: [{account: A, equty: 150}]", "unknown_column", 7),
        ("buckets: [{account: B, equity: 150}]", "unknown_id", 7),
        ("bucket: [{account: A, equity: 150}]", "unknown_key", 7),
        ("buckets: {account: A}", "invalid_value", 7),
        ("buckets: [A]", "invalid_value", 7),
        ('buckets: [{account: A, equity: "150"}]', "wrong_type", 7),
        ("buckets: [{account: A, equity: true}]", "wrong_type", 7),
        ("buckets: [{account: A, equity: 150 USDT}]", "wrong_type", 7),
        ("buckets: [{account: A, state: 3}]", "wrong_type", 7),
        ("buckets: [{account: A, state: liquidateable}]", "unknown_choice", 7),
        ("buckets: [{account: A, rules: [liquidation.triger]}]", "unknown_id", 7),
        ("buckets: [{account: A, rules: []}]", "asserts_nothing", 7),
        ("positions: [{instrument: ETHUSDT, notional: 1}]", "unknown_id", 7),
        ("draws: [{layer: vault, amount: 0}]", "unknown_id", 7),
        ("order: [B]", "unknown_id", 7),
        ("reasons: {B: [x]}", "unknown_id", 7),
        ("reasons: {A: [1]}", "wrong_type", 7),
        ("not_stated: [liquidation.triger]", "unknown_id", 7),
        ("error: {code: negative}", "error_not_raised", 7),
        ("error: {code: nonsense}", "error_not_raised", 7),
        ("error: {code: negative}\norder: [A]", "invalid_value", 7),
    ],
)
def test_an_expectation_that_cannot_be(tmp_path, expect, code, line):
    outcome = one(tmp_path, expect)
    assert outcome.status == "error"
    assert code in [finding.code for finding in outcome.findings]
    finding = next(f for f in outcome.findings if f.code == code)
    assert (finding.place.file, finding.place.line) == (str(tmp_path / "venue.test.yaml"), line)
    assert "^" in outcome_text(outcome)


@pytest.mark.parametrize(
    ("given", "code", "line"),
    [
        (GIVEN.replace("quantity: 1", "quantity: x"), "wrong_type", 5),
        (GIVEN.replace("quantity: 1", "quantty: 1"), "unknown_column", 5),
        (GIVEN.replace("instrument: BTCUSDT", "instrument: ETHUSDT"), "unknown_instrument", 5),
        (GIVEN.replace("balance: 150", "balance: .nan"), "not_finite", 4),
        (GIVEN.replace("accounts:", "acounts:"), "unknown_table", 4),
        (GIVEN.replace("50000}\n  given", "-1}\n  given"), "not_positive", 2),
        (GIVEN.replace("marks: {BTCUSDT: 50000}", "marks: [50000]"), "invalid_value", 2),
        ("  given: [1]\n", "invalid_value", 2),
        ("  snapshot: nowhere.json\n", "file_unreadable", 1),
        ("  snapshot: 5\n", "invalid_value", 2),
    ],
)
def test_given_tables_that_are_malformed(tmp_path, given, code, line):
    outcome = one(tmp_path, "buckets: [{account: A, equity: 150}]", given)
    assert outcome.status == "error"
    finding = next(f for f in outcome.findings if f.code == code)
    assert finding.place is None or finding.place.line == line
    assert "Traceback" not in outcome_text(outcome)


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        ("  tolerance: much\n", "invalid_value"),
        ("  tolerance: -1\n", "invalid_value"),
        ("  tolerance: {equty: 1}\n", "unknown_column"),
        ("  exact: maybe\n", "invalid_value"),
        ("  exepct: {}\n", "unknown_key"),
        ("  ruleset: 5\n", "invalid_value"),
        ("  ruleset: other.yaml\n", "file_unreadable"),
        ("  ruleset: no-such-venue\n", "unknown_ruleset"),
        ("  ruleset: venue.test.yaml\n", "circular_reference"),
        ("  cases: []\n", "invalid_value"),
        ("  cases: [1]\n", "invalid_value"),
        ("  cases: [{x: 1}]\n", "unused_value"),
    ],
)
def test_a_test_of_the_wrong_form(tmp_path, extra, code):
    outcome = one(tmp_path, "buckets: [{account: A, equity: 150}]", extra=extra)
    assert outcome.status == "error"
    assert code in [finding.code for finding in outcome.findings]


def test_a_placeholder_without_a_value(tmp_path):
    expect = "buckets: [{account: A, equity: $blance}]"
    outcome = one(tmp_path, expect, extra="  cases: [{balance: 150}]\n")
    assert {f.code for f in outcome.findings} == {"unknown_placeholder", "unused_value"}
    assert "did you mean `balance`?" in outcome_text(outcome)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "no_tests"),
        ("# nothing yet\n", "no_tests"),
        ("- test: [", "yaml_syntax"),
        ("- {test: a, test: b}", "duplicate_key"),
        ("5", "invalid_value"),
        ("{}", "invalid_value"),
        ("tests: []", "no_tests"),
        ("tests: [1]\nrulset: x", "unknown_key"),
    ],
)
def test_a_file_that_holds_no_tests(tmp_path, text, code):
    read = read_tests(write(tmp_path, text))
    assert [f.code for f in read.faults] == [code]
    assert read.tests == ()


def test_a_file_without_a_ruleset_beside_it(tmp_path):
    path = tmp_path / "alone.test.yaml"
    path.write_text(f"- test: it\n{GIVEN}  expect: {{buckets: [{{account: A, equity: 150}}]}}\n")
    (test,) = read_tests(path).tests
    assert [f.code for f in Runner().run(test).findings] == ["unknown_ruleset"]


def test_two_tests_of_one_name(tmp_path):
    text = f"- test: it\n{GIVEN}  expect: {{buckets: [{{account: A, equity: 150}}]}}\n"
    outcomes = run(tmp_path, text * 2)
    assert [o.status for o in outcomes] == ["passed", "error"]
    assert outcomes[1].findings[0].code == "duplicate_id"


def test_a_title_is_due_and_a_test_is_a_mapping(tmp_path):
    outcomes = run(tmp_path, "- expect: {order: []}\n- 5\n")
    assert [(o.status, o.findings[0].code) for o in outcomes] == [("error", "missing_key"), ("error", "invalid_value")]


def test_snapshots_that_build_on_each_other_in_a_circle(tmp_path):
    (tmp_path / "one.yaml").write_text("snapshot: two.yaml\n")
    (tmp_path / "two.yaml").write_text("snapshot: one.yaml\n")
    outcome = one(tmp_path, "order: []", "  snapshot: one.yaml\n")
    assert [f.code for f in outcome.findings] == ["circular_reference"]
    assert "one.yaml -> two.yaml -> one.yaml" in outcome_text(outcome)
    (tmp_path / "self.yaml").write_text("snapshot: self.yaml\n")
    assert one(tmp_path, "order: []", "  snapshot: self.yaml\n").findings[0].code == "circular_reference"


def test_a_test_for_another_ruleset(tmp_path):
    text = (
        "- test: it\n  marks: {BTC: 1}\n"
        "  given: {accounts: [{account: A, currency: USDC, balance: 1}], "
        "positions: [{account: A, instrument: BTC, quantity: 1, entry_price: 1}]}\n"
        "  expect: {buckets: [{account: A, equity: 1}]}\n"
    )
    (outcome,) = run(tmp_path, text)
    assert {f.code for f in outcome.findings} == {"unknown_instrument", "unknown_currency"}


def test_an_expected_row_fits_exactly_one(tmp_path):
    given = GIVEN.replace("]\n", ", {account: B, currency: USDT, balance: 9}]\n", 1)
    outcome = one(tmp_path, "buckets: [{currency: USDT, equity: 150}]", given)
    assert [f.code for f in outcome.findings] == ["ambiguous_row"]
    assert "add `account`, `instrument`" in outcome_text(outcome)
