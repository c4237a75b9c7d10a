"""--update rewrites the wrong cells in place and nothing else."""

from riskpolicy.testing.update import updates
from tests.testing.helpers import GIVEN, run


def updated(folder, text):
    outcomes = run(folder, text)
    found = list(updates(outcomes))
    for change in found:
        change.path.write_text(change.after)
    return found, (folder / "venue.test.yaml").read_text()


def test_only_wrong_cells_change(tmp_path):
    text = (
        f"# a comment\n- test: it   # of mine\n{GIVEN}  expect:\n"
        "    buckets:   # the bucket\n"
        "    - {account: A,   equity: 151.0,  # wrong\n"
        "       maintenance_margin: 200.00, state: 'healthy', liquidation_rank: null}\n"
    )
    found, after = updated(tmp_path, text)
    wanted = text.replace("151.0,", "150,").replace("'healthy'", '"liquidatable"').replace("rank: null", "rank: 1")
    assert after == wanted
    assert (found[0].edits, found[0].left) == (3, [])
    difference = found[0].difference().splitlines()
    assert "-    - {account: A,   equity: 151.0,  # wrong" in difference
    assert "+    - {account: A,   equity: 150,  # wrong" in difference
    assert [o.status for o in run(tmp_path, after)] == ["passed"]
    assert list(updates(run(tmp_path, after))) == []


def test_values_of_cases_change_where_they_stand(tmp_path):
    text = (
        f"- test: it\n  cases:\n  - {{size: 1, due: 1}}\n  - {{size: 2, due: 400}}\n"
        f"{GIVEN.replace('quantity: 1', 'quantity: $size')}"
        "  expect: {buckets: [{account: A, maintenance_margin: $due}]}\n"
    )
    _, after = updated(tmp_path, text)
    assert after == text.replace("due: 1}", "due: 200}")


def test_a_value_that_is_given_too_stays(tmp_path):
    text = (
        f"- test: it\n  cases: [{{balance: 150}}]\n{GIVEN.replace('balance: 150', 'balance: $balance')}"
        "  expect: {buckets: [{account: A, maintenance_margin: $balance}]}\n"
    )
    found, after = updated(tmp_path, text)
    assert after == text
    assert (found[0].edits, len(found[0].left)) == (0, 1)


def test_one_value_for_two_results_stays(tmp_path):
    text = (
        f"- test: it\n  cases: [{{size: 1}}, {{size: 2}}]\n{GIVEN.replace('quantity: 1', 'quantity: $size')}"
        "  expect: {buckets: [{account: A, maintenance_margin: 5}]}\n"
    )
    found, after = updated(tmp_path, text)
    assert after == text
    assert len(found[0].left) == 2
    right = text.replace("margin: 5", "margin: 200")
    assert updated(tmp_path, right)[1] == right


def test_the_order_changes_account_by_account(tmp_path):
    given = (
        "  marks: {BTCUSDT: 50000}\n  given:\n"
        "    accounts: [{account: A, currency: USDT, balance: 150}, {account: B, currency: USDT, balance: 50}]\n"
        "    positions:\n"
        "    - {account: A, instrument: BTCUSDT, quantity: 1, entry_price: 50000}\n"
        "    - {account: B, instrument: BTCUSDT, quantity: 1, entry_price: 50000}\n"
    )
    text = f"- test: it\n{given}  expect: {{order: [A, B]}}\n"
    assert updated(tmp_path, text)[1] == text.replace("[A, B]", "[B, A]")


def test_what_is_no_cell_is_left_to_people(tmp_path):
    found, after = updated(tmp_path, f"- test: it\n{GIVEN}  expect: {{order: [], reasons: {{A: [nonsense]}}}}\n")
    assert found[0].edits == 0
    assert len(found[0].left) == 2
    assert after == found[0].before


def test_infinity_and_null(tmp_path):
    text = (
        f"- test: it\n{GIVEN.replace('balance: 150', 'balance: -5')}"
        "  expect: {buckets: [{account: A, margin_ratio: 3}], draws: [{layer: fund, amount: 7}]}\n"
    )
    assert updated(tmp_path, text)[1] == text.replace("ratio: 3", "ratio: .inf").replace("amount: 7", "amount: null")
