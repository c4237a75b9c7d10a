"""Coverage counts what tests look at: tiers, edges from both sides, outcomes, steps, layers, states."""

import re

from riskpolicy.report.coverage import coverage_page, shown_percent
from riskpolicy.testing.coverage import Coverage
from riskpolicy.testing.starter import starter_files
from tests.testing.helpers import GIVEN, RULESET, run

TESTS = starter_files("venue")["venue.test.yaml"]


def covered(folder, text):
    coverage = Coverage()
    assert {o.status for o in run(folder, text, coverage)} == {"passed"}
    (ruleset,) = coverage.rulesets.values()
    return coverage, {item.id: item.hits for item in ruleset.items.values()}


def test_every_item_has_a_stable_id_and_its_line(tmp_path):
    coverage, hits = covered(tmp_path, TESTS)
    (ruleset,) = coverage.rulesets.values()
    lines = RULESET.splitlines()
    assert "margin.tiers.btc.300000: at" in hits
    assert "liquidation.steps.takeover.when: equity < (maintenance_margin / 2): true" in hits
    assert "300000" in lines[ruleset.items["margin.tiers.btc.300000"].line - 1]
    assert "takeover" in lines[ruleset.items["liquidation.steps.takeover"].line - 1]
    assert coverage.percent == 100.0
    assert not coverage.below(100)


def test_only_rows_that_are_looked_at_count(tmp_path):
    _, hits = covered(tmp_path, f"- test: it\n{GIVEN}  expect: {{buckets: [{{account: A, equity: 150}}]}}\n")
    assert hits["liquidation.trigger: equity < maintenance_margin: true"] == 1
    assert hits["liquidation.trigger: equity < maintenance_margin: false"] == 0
    assert hits["state.liquidatable"] == 1
    assert hits["margin.tiers.btc.300000"] == 0
    _, hits = covered(tmp_path, f"- test: it\n{GIVEN}  expect: {{positions: [{{account: A, notional: 50000}}]}}\n")
    assert hits["margin.tiers.btc.300000"] == 1
    assert hits["state.liquidatable"] == 0


def test_an_edge_has_two_sides(tmp_path):
    def edge(quantity):
        given = GIVEN.replace("50000", "100000").replace("quantity: 1", f"quantity: {quantity}")
        text = f"- test: it\n{given}  expect: {{positions: [{{account: A, adl_rank: 1}}]}}\n"
        _, hits = covered(tmp_path, text)
        return [hits[f"margin.tiers.btc.{item}"] for item in ("300000", "300000: at", "300000: beyond", "800000")]

    assert edge("2.999") == [1, 0, 0, 0]
    assert edge("3") == [1, 1, 0, 0]
    assert edge("3.001") == [0, 0, 1, 1]
    assert edge("3.03") == [0, 0, 1, 1]
    assert edge("3.031") == [0, 0, 0, 1]


def test_a_gap_shows_in_the_page(tmp_path):
    text = "".join(part for part in re.split(r"(?m)^(?=- test)", TESTS) if "deficit" not in part)
    coverage, hits = covered(tmp_path, text)
    assert [item for item, count in hits.items() if not count] == ["waterfall.fund", "waterfall.adl", "waterfall.end"]
    assert coverage.below(100)
    assert shown_percent(coverage) == "88.8%"
    page = coverage_page(coverage)
    assert page.count('<tr class="no">') == 3
    assert "prefers-color-scheme: dark" in page
    assert "http" not in page
    assert len(re.findall("<tr ", page)) == len(RULESET.splitlines())


def test_text_of_a_ruleset_is_escaped_in_the_page(tmp_path):
    coverage = Coverage()
    run(tmp_path, TESTS)
    (tmp_path / "venue.yaml").write_text(f"{RULESET}notes: ['<script>alert(1)</script>']\n")
    from riskpolicy.policy import load

    coverage.know(load(tmp_path / "venue.yaml"))
    page = coverage_page(coverage)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_coverage_is_never_rounded_up():
    class Most(Coverage):
        covered, total = 9999, 10000

    assert shown_percent(Most()) == "99.9%"
    assert Most().below(100)


def test_as_data(tmp_path):
    coverage, _ = covered(tmp_path, TESTS)
    data = coverage.as_dict()
    (ruleset,) = data["rulesets"]
    assert (data["covered"], data["total"], data["percent"]) == (27, 27, 100.0)
    assert ruleset["ruleset"] == "venue@2026-01-01"
    assert set(ruleset["items"][0]) == {"id", "kind", "what", "line", "hits", "covered"}
