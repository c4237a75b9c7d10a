"""riskpolicy test: exit statuses, formats, selection, gates, updates; init and what follows from it."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from jsonschema import Draft202012Validator

from riskpolicy.ruleset.schema import json_schema
from tests.testing.helpers import GIVEN, RULESET, write

ROOT = Path(__file__).parents[2]
GREEN = f"- test: green\n{GIVEN}  expect: {{buckets: [{{account: A, equity: 150}}]}}\n"
RED = f"- test: red\n{GIVEN}  expect: {{buckets: [{{account: A, equity: 151}}]}}\n"
ERROR = f"- test: wrong\n{GIVEN}  expect: {{buckets: [{{account: B, equity: 151}}]}}\n"


@pytest.fixture
def venue(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("init", "my-venue")[0] == 0
    return tmp_path


def test_all_passed(run, tmp_path):
    path = write(tmp_path, GREEN)
    for where in (path, tmp_path):
        status, out, err = run("test", where)
        assert (status, err) == (0, "")
        assert f"{path}  1 passed" in out
        assert "1 tests: 1 passed in" in out


def test_failures_and_errors(run, tmp_path):
    path = write(tmp_path, GREEN + RED + ERROR)
    status, out, err = run("test", path)
    assert (status, err) == (1, "")
    assert f"FAILED {path}::red" in out
    assert "equity: expected 151, got 150" in out
    assert f"ERROR {path}::wrong" in out
    assert "3 tests: 1 passed, 1 failed, 1 in error" in out
    assert "Traceback" not in out


@pytest.mark.parametrize("selected", ["green", "not red and not wrong", "GREEN or nothing"])
def test_selection(run, tmp_path, selected):
    status, out, _ = run("test", write(tmp_path, GREEN + RED + ERROR), "-k", selected)
    assert status == 0
    assert "1 tests: 1 passed" in out


def test_unusable_input(run, tmp_path):
    path = write(tmp_path, GREEN)
    (tmp_path / "empty").mkdir()
    for arguments, code in (
        (["nowhere"], "file_unreadable"),
        ([tmp_path / "empty"], "no_tests"),
        ([path, "-k", "absent"], "no_tests"),
        ([path, "-k", "(a"], "selection_syntax"),
    ):
        status, _, err = run("test", *arguments)
        assert status == 2
        assert f"[{code}]" in err
    write(tmp_path, "- test: [", "bad.test.yaml")
    status, out, err = run("test", tmp_path)
    assert status == 2
    assert "[yaml_syntax]" in err
    assert "1 tests: 1 passed" in out


def test_json(run, tmp_path):
    path = write(tmp_path, GREEN + RED + ERROR)
    status, out, _ = run("test", path, "--format", "json", "--coverage")
    data = json.loads(out)
    assert status == 1
    assert set(data) == {"summary", "tests", "findings", "coverage"}
    assert {k: v for k, v in data["summary"].items() if k != "seconds"} == {
        "tests": 3, "passed": 1, "failed": 1, "errors": 1,
    }  # fmt: skip
    green, red, wrong = data["tests"]
    assert set(green) == {"id", "file", "line", "name", "status", "seconds", "failures", "findings"}
    assert (green["id"], green["status"], green["line"]) == (f"{path}::green", "passed", 1)
    (failure,) = red["failures"]
    assert set(failure) == {"line", "column", "row", "cell", "expected", "got", "because"}
    assert (failure["cell"], failure["expected"], failure["got"]) == ("equity", "151", "150")
    assert wrong["findings"][0]["code"] == "unknown_id"


def test_junit(run, tmp_path):
    write(tmp_path, "- test: [", "bad.test.yaml")
    path = write(tmp_path, GREEN + RED.replace("test: red", 'test: "red <&\\u0001>"') + ERROR)
    status, out, _ = run("test", tmp_path, "--format", "junit")
    root = ElementTree.fromstring(out)
    assert status == 2
    suite, files = root.findall("testsuite")
    assert (suite.get("name"), suite.get("tests"), suite.get("failures"), suite.get("errors")) == (
        str(path), "3", "1", "1",
    )  # fmt: skip
    assert [case.get("name") for case in suite.findall("testcase")] == ["green", "red <&?>", "wrong"]
    assert files.find("testcase/error") is not None


def test_coverage_and_its_gate(run, tmp_path):
    path = write(tmp_path, GREEN)
    status, out, err = run("test", path, "--coverage")
    assert status == 0
    assert "Coverage of venue@2026-01-01" in out
    assert "margin.tiers.btc.300000: at" in out
    assert "4 of 27 items covered, 14.8%" in out
    status, _, err = run("test", path, "--fail-under", "15")
    assert (status, err) == (1, "coverage is 14.81%, below 15%\n")
    assert run("test", path, "--fail-under", "14.8")[0] == 0
    page = tmp_path / "page.html"
    assert run("test", path, "--coverage-html", page)[0] == 0
    assert page.read_text().startswith("<!doctype html>")
    assert run("test", path, "--coverage-html", tmp_path / "no" / "page.html")[0] == 2


def test_a_ruleset_without_tests_counts_as_not_covered(run, tmp_path):
    write(tmp_path, GREEN)
    (tmp_path / "other.yaml").write_text(RULESET.replace("id: venue", "id: other"))
    (tmp_path / "unrelated.yaml").write_text("a: 1\n")
    assert "4 of 54 items covered" in run("test", tmp_path, "--coverage")[1]


def test_update(run, tmp_path):
    path = write(tmp_path, GREEN + RED)
    status, out, err = run("test", path, "--update")
    assert status == 0
    assert "equity: expected 151, got 150" in out
    assert "-  expect: {buckets: [{account: A, equity: 151}]}" in err
    assert "1 expected values rewritten, 0 failures left" in err
    assert path.read_text() == (GREEN + RED).replace("151", "150")
    assert run("test", path)[0] == 0
    path.write_text(GREEN + RED.replace("equity: 151", "rules: [liquidation.steps.adl]"))
    assert f"not rewritten: {path}:12:" in run("test", path, "--update")[2]
    path.write_text(GREEN + ERROR)
    assert run("test", path, "--update")[0] == 1
    assert path.read_text() == GREEN + ERROR


def test_init_passes_everything(run, venue):
    assert sorted(p.name for p in venue.iterdir()) == [
        "my-venue.ci.sh", "my-venue.test.yaml", "my-venue.yaml",
        "riskpolicy.schema.json", "riskpolicy.test.schema.json",
    ]  # fmt: skip
    status, out, _ = run("test", ".", "--coverage", "--fail-under", "100")
    assert status == 0
    assert "27 of 27 items covered, 100.0%" in out
    assert run("check", "my-venue.yaml", "--strict")[0] == 0
    assert run("fmt", "--check", "my-venue.yaml", "my-venue.test.yaml")[0] == 0
    first = (venue / "my-venue.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=riskpolicy.schema.json"
    schema = json.loads((venue / "riskpolicy.schema.json").read_text())
    assert schema == json_schema()
    Draft202012Validator.check_schema(schema)


def test_the_lines_for_a_ci_hold(venue):
    """They run with the command on the path, and stop at the first that fails."""
    lines = (venue / "my-venue.ci.sh").read_text().splitlines()[1:]
    for line in lines:
        words = line.split()
        assert words[0] == "riskpolicy"
        code = "from riskpolicy.cli import main; main()"
        command = [sys.executable, "-c", code, *words[1:]]
        done = subprocess.run(command, cwd=venue, capture_output=True, text=True, check=False, env=_env())
        assert done.returncode == 0, done.stdout + done.stderr


def _env():
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_init_overwrites_nothing(run, venue):
    (venue / "my-venue.yaml").write_text("mine")
    status, out, err = run("init", "my-venue")
    assert (status, out) == (2, "")
    assert err.count("[file_exists]") == 3
    assert (venue / "my-venue.yaml").read_text() == "mine"
    assert run("init", "second")[0] == 0
    assert run("init", "../up")[0] == 2
    assert run("init", "")[0] == 2


def test_scaffolded_tests_pass(run, venue):
    _, out, _ = run("scaffold-tests", "my-venue.yaml")
    (venue / "my-venue.test.yaml").write_text(out)
    status, shown, _ = run("test", ".", "--coverage")
    assert status == 0
    assert "17 tests: 17 passed" in shown
    assert "27 of 27 items covered" in shown
    assert run("fmt", "--check", "my-venue.test.yaml")[0] == 0


@pytest.mark.parametrize("version", ["2024-01-01", "2025-07-01"])
def test_scaffolded_tests_of_shipped_rulesets_pass(run, tmp_path, version):
    text = (ROOT / "rulesets" / "hyperliquid" / f"{version}.yaml").read_text()
    (tmp_path / "v.yaml").write_text(text)
    _, out, _ = run("scaffold-tests", tmp_path / "v.yaml")
    (tmp_path / "v.test.yaml").write_text(out)
    assert run("test", tmp_path)[0] == 0
    _, out, _ = run("scaffold-tests", f"hyperliquid@{version}")
    assert f"ruleset: hyperliquid@{version}\ntests:\n" in out
