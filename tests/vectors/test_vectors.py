"""Every published example that we hold comes out, and the comparison itself can fail."""

from pathlib import Path

import pytest

from tests.vectors import agrees, read_entries, run_entries
from tests.vectors.__main__ import main

FILES = sorted((Path(__file__).parent / "data").glob("*.yaml"))
ENTRIES = [entry for file in FILES for entry in read_entries(file)]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e["id"])
def test_published_example_comes_out(entry):
    (outcome,) = run_entries([entry])
    assert outcome.verdict == "pass", str(outcome)


def test_a_wrong_figure_fails():
    entry = next(e for e in ENTRIES if e["id"] == "hyperliquid-tier-deduction")
    (outcome,) = run_entries([{**entry, "out": {**entry["out"], "deduction": 1875001}}])
    assert outcome.verdict == "fail"


def test_a_wrong_row_fails():
    entry = next(e for e in ENTRIES if e["id"] == "hyperliquid-positions")
    rows = [[*entry["rows"][0][:-1], 0.87], *entry["rows"][1:]]
    (outcome,) = run_entries([{**entry, "rows": rows}])
    assert outcome.verdict == "fail"


def test_an_unknown_rule_says_so():
    (outcome,) = run_entries([{"id": "x", "rule": "tarot", "in": {}, "out": {}}])
    assert outcome.verdict == "no runner for rule tarot"


@pytest.mark.parametrize(
    ("got", "wanted", "tolerance", "verdict"),
    [
        (1.0, 1, 0, True),
        (1.01, 1, 0.01, True),
        (1.02, 1, 0.01, False),
        (101.0, 100, "0.01 rel", True),
        (102.0, 100, "0.01 rel", False),
        ({"a": 1}, {"a": 1, "b": 2}, 0, False),
        ({"a": 1, "b": 2}, {"a": 1}, 0, True),
        ([1, 2], [1], 0, False),
        (None, 1, 9, False),
        (True, 1, 9, False),
    ],
)
def test_agreement(got, wanted, tolerance, verdict):
    assert agrees(got, wanted, tolerance) is verdict


def test_the_command_prints_a_line_an_entry(tmp_path, capsys):
    path = tmp_path / "two.yaml"
    path.write_text(
        "- {id: good, rule: tier_deduction, in: {tiers: [[0, 40], [150000000, 20]], notional: 200000000},"
        " out: {deduction: 1875000}, tolerance: 0}\n"
        "- {id: other, rule: tarot}\n"
        "- {id: broken, rule: tier_deduction, in: {}}\n"
    )
    assert main([str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["good", "other", "broken"]
    assert lines[0].endswith("pass")
    assert lines[1].endswith("no runner for rule tarot")
    assert lines[2].endswith("fail")


def test_the_command_refuses_what_is_no_list(tmp_path):
    (tmp_path / "x.yaml").write_text("a: 1")
    assert main([str(tmp_path / "x.yaml")]) == 2
    assert main([str(tmp_path / "absent.yaml")]) == 2
    assert main([]) == 2
