"""Values are compared as decimals under their tolerance, rows by their keys; a failure explains its number."""

import json

import pytest

from riskpolicy.testing.output import outcome_text
from tests.testing.helpers import GIVEN, one, run


@pytest.mark.parametrize(
    "expect",
    [
        "buckets: [{account: A, maintenance_margin: 2e2, margin_ratio: 1.3333333333, state: liquidatable}]",
        "buckets: [{account: A, currency: USDT, instrument: null, equity: 150.00}]",
        "buckets: [{account: A, liquidation_rank: 1, rules: [liquidation.trigger, liquidation.steps.book]}]",
        "positions: [{account: A, position_side: net, quantity: 1, tier: margin.tiers.btc.300000, adl_rank: 1}]",
        "positions: [{instrument: BTCUSDT, liquidation_price: 50050.200803212851, bankruptcy_price: 49850}]",
        "accounts: [{account: A, balance: 150, unrealized_pnl: 0, initial_margin: 333.3333333333333}]",
        "draws: [{layer: fund, amount: 0}]",
        "order: [A]",
        "reasons: {A: ['notional 50000 x 0.4% = 200 USDT']}",
        "not_stated: [liquidation.accounts, deleveraging.ties]",
    ],
)
def test_what_holds_passes(tmp_path, expect):
    outcome = one(tmp_path, expect)
    assert outcome.status == "passed", outcome_text(outcome)


@pytest.mark.parametrize(
    ("expect", "column", "got"),
    [
        ("buckets: [{account: A, equity: 150.000001}]", "equity", "150"),
        ("buckets: [{account: A, equity: null}]", "equity", "150"),
        ("buckets: [{account: A, margin_ratio: 1.33333}]", "margin_ratio", "1.3333333333333333"),
        ("buckets: [{account: A, margin_ratio: .inf}]", "margin_ratio", "1.3333333333333333"),
        ("buckets: [{account: A, state: bankrupt}]", "state", "`liquidatable`"),
        ("buckets: [{account: A, liquidation_rank: 2}]", "liquidation_rank", "1"),
        ("buckets: [{account: A, rules: [liquidation.steps.takeover]}]", "rules", "`liquidation.trigger`"),
        ("positions: [{account: A, liquidation_price: 50050.2}]", "liquidation_price", "50050.200803"),
        ("positions: [{account: A, bankruptcy_price: null}]", "bankruptcy_price", "49850"),
        ("draws: [{layer: fund, amount: 1}]", "amount", "0"),
        ("order: []", "order", "A"),
        ("buckets: [{account: A, instrument: BTCUSDT, equity: 150}]", "row", "none"),
        ("reasons: {A: ['0.5%']}", "reasons", "no line"),
        ("not_stated: []", "not_stated", "liquidation.accounts"),
    ],
)
def test_what_does_not_hold_fails_at_its_cell(tmp_path, expect, column, got):
    outcome = one(tmp_path, expect)
    assert outcome.status == "failed"
    (mismatch,) = outcome.mismatches
    assert mismatch.column == column
    assert got in mismatch.got
    assert mismatch.place.line == 7


def test_a_failure_shows_the_line_the_row_and_why(tmp_path):
    outcome = one(tmp_path, "buckets: [{account: A, maintenance_margin: 201}]")
    path = tmp_path / "venue.test.yaml"
    assert outcome_text(outcome).splitlines() == [
        f"{path}:7:48: maintenance_margin: expected 201, got 200",
        "  7 |     buckets: [{account: A, maintenance_margin: 201}]",
        "    |                                                ^",
        "  buckets row: account A, USDT cross",
        "  because:",
        "    account A, USDT cross: liquidatable",
        "      maintenance margin 200 USDT",
        "        BTCUSDT: notional 50000 x 0.4% = 200 USDT  [margin.tiers.btc.300000 venue.yaml:24]",
    ]


def test_the_same_reasons_are_shown_once(tmp_path):
    outcome = one(tmp_path, "buckets: [{account: A, equity: 1, state: healthy, liquidation_rank: 2}]")
    assert outcome_text(outcome).count("equity < maintenance_margin") == 1


@pytest.mark.parametrize(
    ("tolerance", "status"),
    [
        ("0.01", "passed"),
        ("0.001", "failed"),
        ("{equity: 0.01}", "passed"),
        ("{margin_ratio: 0.01}", "failed"),
        ("0.01%", "passed"),
        ("0.001%", "failed"),
        ("{equity: 0.00667%}", "passed"),
    ],
)
def test_tolerances(tmp_path, tolerance, status):
    expect = "buckets: [{account: A, equity: 150.01}]"
    assert one(tmp_path, expect, extra=f"  tolerance: {tolerance}\n").status == status


def test_a_tolerance_never_covers_counts_and_words(tmp_path):
    outcome = one(tmp_path, "buckets: [{account: A, liquidation_rank: 2, state: bankrupt}]", extra="  tolerance: 5\n")
    assert [m.column for m in outcome.mismatches] == ["liquidation_rank", "state"]


FLOATS = GIVEN.replace("balance: 150", "balance: 0.3").replace("quantity: 1, entry_price: 50000", "quantity: 0")


def test_money_is_its_shortest_decimal_or_its_exact_value(tmp_path):
    given = GIVEN.replace("quantity: 1, entry_price: 50000", "quantity: 0.1, entry_price: 49999.9")
    given = given.replace("balance: 150", "balance: 0.2")
    # In floats the profit is not 0.01 and the equity not 0.21.
    for equity in ("0.21", "0.210"):
        assert one(tmp_path, f"buckets: [{{account: A, equity: {equity}}}]", given).status == "passed"
    assert one(tmp_path, "buckets: [{account: A, equity: 0.2100000001}]", given).status == "failed"
    assert one(tmp_path, "accounts: [{account: A, equity: 0.21, unrealized_pnl: 0.01}]", given).status == "passed"


@pytest.mark.parametrize(
    ("expect", "status"),
    [
        ("buckets: [{account: A, equity: 150}]", "passed"),
        ("positions: [{account: A, initial_margin: 333.3333333333333}]", "failed"),
        ("buckets: [{account: A, margin_ratio: 1.3333333333333333}]", "failed"),
        ("positions: [{account: A, bankruptcy_price: 49850}]", "passed"),
        ("positions: [{account: A, liquidation_price: 50050.20080321}]", "failed"),
        ("positions: [{account: A, adl_score: 0}]", "passed"),
    ],
)
def test_exact_mode(tmp_path, expect, status):
    assert one(tmp_path, expect, extra="  exact: true\n").status == status


def test_a_column_of_an_exact_test_may_have_a_tolerance(tmp_path):
    expect = "buckets: [{account: A, margin_ratio: 1.3333, equity: 150}]"
    assert one(tmp_path, expect, extra="  exact: true\n  tolerance: {margin_ratio: 0.001}\n").status == "passed"
    shown = outcome_text(one(tmp_path, expect, extra="  exact: true\n"))
    assert "got ~1.3333333333333" in shown
    assert "give `tolerance: {margin_ratio: ...}`" in shown


def test_cases_are_tests_of_their_own(tmp_path):
    text = (
        "- test: a balance\n"
        "  cases: [{balance: 200, state: healthy}, {case: under, balance: 199.99, state: liquidatable}, "
        "{balance: 5, state: healthy}]\n"
        f"{GIVEN.replace('balance: 150', 'balance: $balance')}"
        "  expect: {buckets: [{account: A, equity: $balance, state: $state}]}\n"
    )
    outcomes = run(tmp_path, text)
    names = ["a balance[200-healthy]", "a balance[under]", "a balance[5-healthy]"]
    assert [o.test.name for o in outcomes] == names
    assert [o.status for o in outcomes] == ["passed", "passed", "failed"]
    (mismatch,) = outcomes[2].mismatches
    assert mismatch.place.text[mismatch.place.column - 1 :].startswith("healthy}]")


def test_placeholders_in_texts(tmp_path):
    text = (
        "- test: $who pays $$5\n  cases: [{who: A, tier: 300000}]\n"
        + GIVEN
        + '  expect: {positions: [{account: $who, tier: "margin.tiers.btc.${tier}"}]}\n'
    )
    (outcome,) = run(tmp_path, text)
    assert (outcome.status, outcome.test.name) == ("passed", "A pays $5")


def test_what_tests_of_a_file_share(tmp_path):
    text = (
        "ruleset: venue.yaml\nmarks: {BTCUSDT: 50000}\ntolerance: 1\ngiven:\n"
        "  accounts: [{account: A, currency: USDT, balance: 150}]\n"
        "tests:\n"
        "- test: shared\n"
        "  given: {positions: [{account: A, instrument: BTCUSDT, quantity: 1, entry_price: 50000}]}\n"
        "  expect: {buckets: [{account: A, equity: 150.5}]}\n"
        "- test: own\n  marks: {BTCUSDT: 50100}\n"
        "  given: {positions: [{account: A, instrument: BTCUSDT, quantity: 1, entry_price: 50000}]}\n"
        "  expect: {buckets: [{account: A, equity: 250}]}\n"
    )
    assert [o.status for o in run(tmp_path, text)] == ["passed", "passed"]


def test_snapshots_in_files(tmp_path):
    tables = {
        "markets": {"instrument": ["BTCUSDT"], "mark_price": [40000]},
        "accounts": [{"account": 7, "currency": "USDT", "balance": 150}],
        "positions": [{"account": 7, "instrument": "BTCUSDT", "quantity": 1, "entry_price": 50000}],
    }
    (tmp_path / "book.json").write_text(json.dumps(tables))
    (tmp_path / "book.yaml").write_text("snapshot: book.json\nmarkets: [{instrument: BTCUSDT, mark_price: 45000}]\n")
    for file, equity, marks in (
        ("book.json", -9850, ""),
        ("book.yaml", -4850, ""),
        ("book.json", 150, "  marks: {BTCUSDT: 50000}\n"),
    ):
        outcome = one(tmp_path, f"buckets: [{{account: 7, equity: {equity}}}]", f"  snapshot: {file}\n{marks}")
        assert outcome.status == "passed", outcome_text(outcome)
    outcome = one(tmp_path, "buckets: [{account: '7', equity: 150}]", "  snapshot: book.json\n")
    assert "ids are text or numbers" in outcome_text(outcome)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("{code: unknown_instrument}", "passed"),
        ("{code: unknown_instrument, place: 'positions[0]'}", "passed"),
        ("{code: unknown_instrument, message: ETHUSDT}", "passed"),
        ("{code: unknown_instrument, place: 'positions[1]'}", "failed"),
        ("{code: unknown_instrument, line: 3}", "failed"),
        ("{code: negative}", "failed"),
        ("{code: unknwon}", "error"),
        ("{cod: negative}", "error"),
    ],
)
def test_expected_errors_of_a_snapshot(tmp_path, error, status):
    given = GIVEN.replace("instrument: BTCUSDT", "instrument: ETHUSDT")
    assert one(tmp_path, f"error: {error}", given).status == status


@pytest.mark.parametrize(("error", "status"), [("{code: missing_value}", "passed"), ("{code: negative}", "failed")])
def test_expected_errors_of_events(tmp_path, error, status):
    event = "    events: [{kind: deposit, account: nobody, currency: USDT, amount: 1}]\n"
    assert one(tmp_path, f"error: {error}", GIVEN.rstrip("\n") + "\n" + event).status == status


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("{code: bare_rate, line: 24}", "passed"),
        ("{code: bare_rate, place: 'faulty.yaml:24:20'}", "passed"),
        ("{code: bare_rate, line: 25}", "failed"),
    ],
)
def test_expected_errors_of_a_ruleset(tmp_path, error, status):
    outcome = one(tmp_path, "order: []")
    assert outcome.status == "failed"
    (tmp_path / "faulty.yaml").write_text((tmp_path / "venue.yaml").read_text().replace("0.4%", "4"))
    given = "  ruleset: faulty.yaml\n  given: {positions: []}\n"
    assert one(tmp_path, f"error: {error}", given).status == status


def test_the_order_of_liquidation_names_the_place(tmp_path):
    given = (
        "  marks: {BTCUSDT: 50000}\n  given:\n"
        "    accounts: [{account: A, currency: USDT, balance: 150}, {account: B, currency: USDT, balance: 50}]\n"
        "    positions:\n"
        "    - {account: A, instrument: BTCUSDT, quantity: 1, entry_price: 50000}\n"
        "    - {account: B, instrument: BTCUSDT, quantity: 1, entry_price: 50000}\n"
    )
    assert one(tmp_path, "order: [B, A]", given).status == "passed"
    shown = outcome_text(one(tmp_path, "order: [A, B]", given))
    assert "liquidation order, place 1" in shown
    assert "the order is margin_ratio desc, then the account" in shown
    assert "liquidation.accounts venue.yaml:29" in shown
    assert one(tmp_path, "order: [B]", given).mismatches[0].got == "B, A"


def test_an_isolated_bucket_is_explained_by_itself(tmp_path):
    given = GIVEN.replace("entry_price: 50000}", "entry_price: 50000, margin_mode: isolated, isolated_margin: 5}")
    shown = outcome_text(one(tmp_path, "buckets: [{account: A, instrument: BTCUSDT, equity: 6}]", given))
    assert "account A, USDT isolated BTCUSDT" in shown
    assert "USDT cross" not in shown


def test_faults_of_the_ruleset_are_errors_with_its_place(tmp_path):
    one(tmp_path, "order: []")
    (tmp_path / "bad.yaml").write_text((tmp_path / "venue.yaml").read_text().replace("0.4%", "4"))
    outcome = one(tmp_path, "order: []", "  ruleset: bad.yaml\n  given: {positions: []}\n")
    assert outcome.status == "error"
    assert outcome.findings[0].place.line == 24
