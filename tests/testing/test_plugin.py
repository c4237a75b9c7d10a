"""pytest collects the same files: node ids, -k, -x, --lf, xdist, JUnit; failures in our form."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.testing.helpers import GIVEN, write

ROOT = Path(__file__).parents[2]
TEXT = (
    f"- test: right\n{GIVEN}  expect: {{buckets: [{{account: A, equity: 150}}]}}\n"
    "- test: sized\n  cases: [{size: 1, due: 200}, {size: 2, due: 401}]\n"
    f"{GIVEN.replace('quantity: 1', 'quantity: $size')}"
    "  expect: {buckets: [{account: A, maintenance_margin: $due}]}\n"
    f"- test: broken\n{GIVEN}  expect: {{}}\n"
)


@pytest.fixture
def pytest_in(tmp_path):
    write(tmp_path, TEXT)

    def run(*arguments):
        env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        env.pop("PYTEST_ADDOPTS", None)
        names = subprocess.run(
            [sys.executable, "-c", "from importlib.metadata import entry_points as e;"
             "print([x.value for x in e(group='pytest11')])"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        # Where riskpolicy is installed with its entry point, pytest has the plugin already.
        plugin = [] if "riskpolicy.testing.plugin" in names else ["-p", "riskpolicy.testing.plugin"]
        command = [sys.executable, "-m", "pytest", *plugin, "-c", os.devnull, "--rootdir", ".", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def test_node_ids_and_selection(pytest_in):
    _, out = pytest_in("--collect-only", "-q")
    names = ["right", "sized[1-200]", "sized[2-401]", "broken"]
    assert [line for line in out.splitlines() if "::" in line] == [f"venue.test.yaml::{name}" for name in names]
    status, out = pytest_in("-q", "-k", "sized and not 401")
    assert (status, "1 passed, 3 deselected" in out) == (0, True)
    status, out = pytest_in("-q", "venue.test.yaml::sized[1-200]")
    assert (status, "1 passed" in out) == (0, True)


def test_failures_are_in_our_form(pytest_in):
    status, out = pytest_in("-q")
    assert status == 1
    assert "2 failed, 2 passed" in out
    assert "maintenance_margin: expected 401, got 400" in out
    assert "BTCUSDT: notional 100000 x 0.4% = 400 USDT  [margin.tiers.btc.300000 venue.yaml:24]" in out
    assert "[asserts_nothing]" in out
    assert "Traceback" not in out
    assert not re.search(r"\.py:\d+", out)


def test_the_first_failure_ends_it_and_the_last_failures_run_again(pytest_in):
    assert "1 failed, 2 passed" in pytest_in("-q", "-x")[1]
    pytest_in("-q")
    assert "2 failed" in pytest_in("-q", "--lf")[1]


def test_junit_and_xdist(pytest_in, tmp_path):
    status, out = pytest_in("-q", "-n", "2", "--junitxml", "out.xml")
    assert (status, "2 failed, 2 passed" in out) == (1, True)
    assert "expected 401, got 400" in (tmp_path / "out.xml").read_text()


def test_a_file_that_cannot_be_read_is_an_error_of_the_collection(pytest_in, tmp_path):
    (tmp_path / "bad.test.yaml").write_text("- test: [\n")
    status, out = pytest_in("-q")
    assert status == 2
    assert "[yaml_syntax]" in out
    assert "Traceback" not in out


def test_the_plugin_costs_others_nothing():
    code = (
        "import sys, pytest; before = set(sys.modules); import riskpolicy.testing.plugin; "
        "print(sorted(m for m in set(sys.modules) - before if m.split('.')[0] != 'riskpolicy'), "
        "sorted(m for m in sys.modules if m.startswith('riskpolicy')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[] ['riskpolicy', 'riskpolicy.testing', 'riskpolicy.testing.plugin']"
