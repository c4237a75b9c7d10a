"""A faulty ruleset is refused at once, with every fault of a phase at its line and column."""

import pytest

import riskpolicy as rp
from riskpolicy.errors import RulesetError
from riskpolicy.ruleset.loader import load_ruleset
from tests import venue

GOOD = """\
riskpolicy: 1
id: venue
valid_from: 2024-01-01T00:00:00Z
currencies: {USDT: {quantum: 0.01}}
funds: [{id: main, currency: USDT}]
instruments:
  - {symbols: [BTC], payoff: linear, settle: USDT, tiers: btc, fund: main}
margin:
  initial: notional / leverage
  tiers:
    - id: btc
      key: notional
      basis: mark
      rate: bracket
      columns: [from, up_to, maintenance, max_leverage]
      rows:
        - [0, 300000, 0.4%, 150]
        - [300000, 800000, 0.5%, 100]
liquidation:
  trigger: equity < maintenance_margin
  accounts: not_stated
  steps:
    - {id: book, do: market_order, leftover: account}
waterfall:
  - {id: fund, pays: main}
  - {id: end, pays: residual}
deleveraging:
  score: unrealized_pnl
  ties: not_stated
  take: {rule: queue, price: mark_price}
  lights: {not_stated: {count: 5}}
"""

# (what to replace, by what, the code, line, column)
FAULTS = [
    ("[300000, 800000", "[310000, 800000", "tier_gap", 18, 12),
    ("[300000, 800000", "[290000, 800000", "tier_overlap", 18, 12),
    ("[300000, 800000", "[300000, 200000", "tier_cap_order", 18, 20),
    ("0.5%, 100", "0.3%, 100", "tier_rate_order", 18, 28),
    ("0.5%, 100", "5, 100", "bare_rate", 18, 28),
    ("0.5%, 100", "0.5%", "tier_columns", 18, 11),
    ("0.5%, 100", "0.5%, -3", "invalid_value", 18, 34),
    ("[from, up_to, maintenance", "[from, maintenance", "tier_columns", 15, 16),
    ("maintenance, max_leverage]", "maintenence, max_leverage]", "invalid_value", 15, 30),
    ("  initial: notional / leverage\n", "", "missing_key", 8, 1),
    ("  trigger: equity < maintenance_margin\n", "", "missing_key", 19, 1),
    ("equity < maintenance_margin", "equity < maintenance_margn", "unknown_name", 20, 21),
    ("equity < maintenance_margin", "equity - maintenance_margin", "expression_type", 20, 12),
    ("equity < maintenance_margin", "equity * equity < settle * settle", "trigger_form", 20, 12),
    ("equity < maintenance_margin", "equity < initial_margin", "trigger_form", 20, 21),
    ("equity < maintenance_margin", "equity <", "expression_syntax", 20, 19),
    ("equity < maintenance_margin", "equity < maintenance_margin + 5", "expression_unit", 20, 42),
    ("equity < maintenance_margin", "margin_ratio > equity", "expression_unit", 20, 27),
    ("notional / leverage", "notional / notional", "expression_unit", 9, 12),
    ("score: unrealized_pnl", "score: max(1, unrealized_pnl)", "expression_unit", 28, 17),
    ("notional / leverage", "bucket_equity / 2", "unknown_name", 9, 12),
    ("notional / leverage", "notional ** 2", "expression_form", 9, 12),
    ("score: unrealized_pnl", "score: maxx(0, unrealized_pnl)", "unknown_function", 28, 10),
    ("score: unrealized_pnl", "score: abs(1, 2)", "expression_arity", 28, 10),
    ("settle: USDT", "settle: USD", "unknown_reference", 7, 46),
    ("tiers: btc,", "tiers: eth,", "unknown_reference", 7, 59),
    ("pays: main}", "pays: mian}", "unknown_reference", 25, 22),
    ("  - {id: end, pays: residual}\n", "", "waterfall_without_end", 25, 5),
    ("pays: main}", "pays: residual}", "waterfall_without_end", 25, 5),
    ("{id: end,", "{id: fund,", "duplicate_id", 26, 10),
    ("[BTC]", "[BTC, BTC]", "duplicate_id", 7, 21),
    ("id: venue\n", "id: venue\nid: other\n", "duplicate_key", 3, 1),
    ("accounts: not_stated", "accounts: [margin_ratio down]", "order_key", 21, 14),
    ("accounts: not_stated", "accounts: [margin_rato desc]", "order_key", 21, 14),
    ("accounts: not_stated", "accounts: [account desc]", "order_key", 21, 14),
    ("count: 5", "count: 0", "invalid_value", 31, 32),
    ("do: market_order", "do: market_odrer", "invalid_value", 23, 22),
    ("valid_from: 2024-01-01T00:00:00Z", "valid_from: soon", "invalid_value", 3, 13),
    ("id: venue\n", "id: venue\nvalid_until: 2023-01-01\n", "validity_order", 3, 14),
    ("riskpolicy: 1", "riskpolicy: 2", "invalid_value", 1, 13),
    ("quantum: 0.01", "quantum: 0", "invalid_value", 4, 30),
    ("quantum: 0.01", "quantum: .nan", "invalid_value", 4, 30),
    ("quantum: 0.01", "quantum: 1e500", "number_out_of_range", 4, 30),
    ("payoff: linear", "payoff: cubic", "invalid_value", 7, 30),
]  # fmt: skip


def faults(text):
    with pytest.raises(RulesetError) as caught:
        rp.loads(text, "venue.yaml")
    return caught.value.findings


def test_the_base_is_good():
    assert rp.loads(GOOD).plan.id == "venue"


@pytest.mark.parametrize(("old", "new", "code", "line", "column"), FAULTS, ids=[f"{f[2]}:{f[1][:20]}" for f in FAULTS])
def test_a_fault_is_located(old, new, code, line, column):
    assert old in GOOD
    found = faults(GOOD.replace(old, new, 1))
    assert [(f.code, f.place.line, f.place.column) for f in found] == [(code, line, column)]
    assert found[0].place.file == "venue.yaml"


def test_all_faults_of_a_phase_come_at_once():
    text = GOOD.replace("[300000, 800000", "[310000, 800000").replace("settle: USDT", "settle: USD")
    text = text.replace("pays: main}", "pays: mian}")
    assert [f.code for f in faults(text)] == ["unknown_reference", "tier_gap", "unknown_reference"]


def test_all_expressions_are_checked_at_once():
    text = GOOD.replace("notional / leverage", "notinal / leverage").replace("score: unrealized_pnl", "score: pnl")
    assert [f.code for f in faults(text)] == ["unknown_name", "unknown_name"]


def test_a_suggestion_is_made():
    (finding,) = faults(GOOD.replace("maintenance_margin", "maintenance_margn"))
    assert finding.hint == "did you mean `maintenance_margin`?"
    (finding,) = faults(GOOD.replace("  trigger:", "  triger:"))[:1]
    assert "trigger" in finding.hint


def test_unknown_keys_are_suggested_from_their_own_place():
    (finding,) = faults(GOOD.replace("leftover: account}", "leftover: account, stagd: 1}"))
    assert finding.hint == "did you mean `staged`?"


def test_a_given_deduction_is_checked():
    rows = [[300000, "0.4%", 0], [800000, "0.5%", 300]]
    columns = ("up_to", "maintenance", "deduction")
    assert venue.policy(venue.tiers(rows, columns)).plan.tiers.exact[1].deduction == 300
    rows[1][2] = 301
    with pytest.raises(RulesetError) as caught:
        venue.policy(venue.tiers(rows, columns))
    assert caught.value.codes == ("tier_deduction",)


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "1", "a: 1", "\x00", "a: [1", "*a", "a: &a [*a]", "[" * 10_000, "{" * 10_000, "a: !!python/name:os.x",
        "a: 1\n---\nb: 2", "riskpolicy: 1\n" * 3, "? [a]\n: 1", "a: " + "9" * 10_000, "\ufeff", "%YAML 9.9\n---\na: 1",
        "a: |\n" + " x\n" * 100_000,
    ],
    ids=range(18),
)  # fmt: skip
def test_what_is_no_ruleset_is_refused(text):
    assert faults(text)


def test_a_bomb_is_refused_at_once():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    assert faults("\n".join(lines))[0].code == "yaml_too_many_nodes"
    assert faults("a: " + "x" * 10_000_000)[0].code == "file_too_large"


def test_a_large_file_is_refused_unread(tmp_path):
    path = tmp_path / "big.yaml"
    path.write_bytes(b"a: [" + b"x," * 5_000_000 + b"]")
    with pytest.raises(RulesetError) as caught:
        load_ruleset(path)
    assert caught.value.codes == ("file_too_large",)


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_a_file_that_cannot_be_read(tmp_path, name):
    with pytest.raises(RulesetError) as caught:
        load_ruleset(tmp_path / name)
    assert caught.value.codes == ("file_unreadable",)


def test_a_binary_file_is_refused(tmp_path):
    (tmp_path / "x.yaml").write_bytes(bytes(range(256)))
    with pytest.raises(RulesetError) as caught:
        load_ruleset(tmp_path / "x.yaml")
    assert caught.value.codes == ("file_unreadable",)


def test_yaml_words_of_the_1_1_rules_are_text():
    document = load_ruleset("x", GOOD.replace("id: venue", "id: on")).ruleset
    assert document.id == "on"


def models():
    """Every model of the written form."""
    from riskpolicy.ruleset.loader import _models
    from riskpolicy.ruleset.ruleset import Ruleset

    seen = [Ruleset]
    for model in seen:
        for field in model.model_fields.values():
            seen += [m for m in _models(field.annotation) if m not in seen]
    return [m for m in seen if not m.__name__.startswith(("Stated", "Order"))]


@pytest.mark.parametrize("model", models(), ids=lambda m: m.__name__)
def test_every_key_is_described_for_editors_and_the_reference(model):
    assert [name for name, field in model.model_fields.items() if not field.description] == []
