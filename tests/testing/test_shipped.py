"""The shipped rulesets are tested by rules of their own, all of them; a thousand tests take seconds."""

from pathlib import Path

import pytest

from riskpolicy.report.coverage import KINDS
from riskpolicy.ruleset.catalog import installed
from riskpolicy.testing import run
from riskpolicy.testing.coverage import Coverage
from riskpolicy.testing.form import find_files, read_tests
from riskpolicy.testing.output import outcome_text
from riskpolicy.testing.run import Runner

RULESETS = Path(__file__).parents[2] / "rulesets"
SHIPPED = sorted(path for path in RULESETS.glob("*/*.yaml") if not path.name.endswith(".test.yaml"))


def test_shipped_rule_tests_pass_and_cover_everything():
    coverage = Coverage()
    runner = Runner(coverage)
    outcomes = [runner.run(test) for file in find_files(RULESETS) for test in read_tests(file).tests]
    assert [outcome_text(o) for o in outcomes if o.status != "passed"] == []
    assert len(outcomes) >= 600
    missing = [item.id for r in coverage.rulesets.values() for item in r.items.values() if not item.covered]
    assert missing == []
    assert {item.kind for r in coverage.rulesets.values() for item in r.items.values()} <= {*KINDS}
    assert len(coverage.rulesets) == len(SHIPPED) > 10
    assert coverage.total > 600


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_shipped_rulesets_have_rule_tests_beside_them(path):
    assert path.with_name(f"{path.stem}.test.yaml").is_file()


def test_the_catalog_takes_no_test_for_a_ruleset():
    assert all(not v.path.name.endswith(".test.yaml") for versions in installed().values() for v in versions)


def test_a_runner_keeps_what_it_compiled(monkeypatch):
    """Rule tests of one file compile their ruleset once, however many there are."""
    text = (RULESETS / "hyperliquid" / "2025-07-01.test.yaml").read_text()
    made = []
    load = run.load
    monkeypatch.setattr(run, "load", lambda *args, **more: made.append(args) or load(*args, **more))
    runner = Runner()
    for _ in range(2):
        for test in read_tests(RULESETS / "hyperliquid" / "2025-07-01.test.yaml", text).tests:
            assert runner.run(test).status == "passed"
    assert len(made) == 1
