"""riskpolicy check --strict and its formats; riskpolicy fmt."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.testing.helpers import RULESET

LINTS = {
    "unused_tier_table": ("rows:\n", "rows:\n        - [unlimited, 1%, 5]\n    - id: spare\n      key: notional\n"
                          "      basis: mark\n      rate: bracket\n      columns: [up_to, maintenance, max_leverage]\n"
                          "      rows:\n"),
    "unused_fund": ("funds:\n", "funds:\n  - {id: spare, currency: USDT}\n"),
    "undrawn_fund": ("  - {id: fund, pays: main, draw: partial}\n", ""),
    "unused_currency": ("currencies:\n", "currencies:\n  USDC: {quantum: 0.01}\n"),
    "missing_source": ("sources:\n  rules: an example", "notes:\n  - an example"),
    "idle_tier": ("[800000, 0.5%, 100]", "[800000, 0.4%, 150]"),
}  # fmt: skip


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "venue.yaml"
    path.write_text(RULESET)
    (tmp_path / "venue.test.yaml").touch()
    return path


@pytest.mark.parametrize("code", LINTS)
def test_each_warning(run, file, code):
    assert run("check", file, "--strict", "--format", "json")[0] == 0
    old, new = LINTS[code]
    assert old in RULESET
    file.write_text(RULESET.replace(old, new, 1))
    assert run("check", file)[0] == 0
    status, out, _ = run("check", file, "--strict", "--format", "json")
    found = [f for f in json.loads(out)["findings"] if f["level"] == "warning"]
    assert status == 1
    assert [f["code"] for f in found] == [code]
    assert found[0]["line"] > 1


def test_notes_do_not_fail(run, file):
    status, out, err = run("check", file, "--strict")
    assert status == 0
    assert "sound" in out
    assert err.count("[choice_not_stated]") == 2
    file.write_text(RULESET.replace("ties: {not_stated: [account]}", "ties: not_stated"))
    assert "[default_not_stated]" in run("check", file, "--strict")[2]
    file.with_name("venue.test.yaml").unlink()
    status, _, err = run("check", file, "--strict")
    assert status == 0
    assert "scaffold-tests venue.yaml > venue.test.yaml" in err


def test_the_shipped_rulesets_are_sound(run):
    folder = Path(__file__).parents[2] / "rulesets"
    shipped = sorted(path for path in folder.glob("*/*.yaml") if not path.name.endswith(".test.yaml"))
    status, out, _ = run("check", *shipped, "--strict", "--format", "json")
    each = json.loads(out)["rulesets"]
    found = [f for one in each for f in one["findings"] if f["level"] != "note"]
    # dYdX lists all liquidity tiers of its chain, also those of markets that are not listed here.
    assert {(f["code"], Path(f["file"]).parent.name) for f in found} == {("unused_tier_table", "dydx-v4")}
    assert status == 1


def test_sarif(run, file):
    file.write_text(RULESET.replace("0.4%", "4"))
    status, out, _ = run("check", file, "--format", "sarif")
    log = json.loads(out)
    (result,) = log["runs"][0]["results"]
    assert (status, log["version"]) == (1, "2.1.0")
    assert (result["ruleId"], result["level"]) == ("bare_rate", "error")
    region = result["locations"][0]["physicalLocation"]["region"]
    assert region == {"startLine": 24, "startColumn": 20}
    assert log["runs"][0]["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "bare_rate"


def test_junit_and_annotations(run, file):
    root = ElementTree.fromstring(run("check", file, "--strict", "--format", "junit")[1])
    assert root.find("testsuite").get("failures") == "0"
    file.write_text(RULESET.replace("0.4%", "4"))
    suite = ElementTree.fromstring(run("check", file, "--format", "junit")[1]).find("testsuite")
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert suite.find("testcase").get("name") == "bare_rate in line 24"
    out = run("check", file, "--format", "github")[1]
    assert out.startswith(f"::error file={file},line=24,col=20,title=bare_rate::")
    assert out.count("\n") == 1


def test_several_rulesets(run, file, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(RULESET.replace("0.4%", "4"))
    status, out, _ = run("check", file, other, "--format", "json")
    assert status == 1
    assert [len(r["findings"]) for r in json.loads(out)["rulesets"]] == [0, 1]


MESSY = """\
#a comment
a: {x:  1,y: [ 1,2 , 3 ],z: "a , b"}   #c
b: |
   text  , {x}
   more


liquidation:
  trigger:   equity<maintenance_margin  # keep
  steps:
  - { id: x,when: "equity<1" }
  - {id: y, when: equity<(2/3)*maintenance_margin}
"""
NEAT = """\
# a comment
a: {x:  1, y: [1, 2, 3], z: "a , b"}   # c
b: |
   text  , {x}
   more


liquidation:
  trigger:   equity < maintenance_margin  # keep
  steps:
  - {id: x, when: "equity<1"}
  - {id: y, when: equity < 2 / 3 * maintenance_margin}
"""


def test_fmt_keeps_comments_and_meaning(run, tmp_path):
    path = tmp_path / "v.yaml"
    path.write_text(MESSY.replace("keep\n", "keep   \n") + "\n\n")
    status, out, _ = run("fmt", "--check", path)
    assert status == 1
    assert "+# a comment" in out
    assert path.read_text() != NEAT
    assert run("fmt", path)[0] == 0
    assert path.read_text() == NEAT
    assert run("fmt", "--check", path)[0] == 0


def test_fmt_of_what_cannot_be_read(run, tmp_path):
    (tmp_path / "bad.yaml").write_text("a: [")
    assert run("fmt", tmp_path / "bad.yaml")[0] == 2
    assert run("fmt", tmp_path / "absent.yaml")[0] == 2
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe")
    assert run("fmt", tmp_path / "bad.yaml")[0] == 2


def test_shipped_files_are_laid_out(run):
    from tests.testing.test_shipped import RULESETS

    assert run("fmt", "--check", *sorted(RULESETS.glob("*/*.yaml")))[0] == 0
