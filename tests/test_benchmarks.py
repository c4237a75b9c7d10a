"""The benchmarks run, agree with their peers, and say what they measured."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_benchmarks_run_and_say_what_they_measured(tmp_path):
    chart = tmp_path / "chart.svg"
    command = [sys.executable, "-m", "benchmarks", "W1", "W2", "W7", "--n", "2000", "--seconds", "0"]
    done = subprocess.run(
        [*command, "--format", "json", "--chart", str(chart)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    for row in rows:
        assert set(row) == {"work", "n", "contender", "threads", "seconds", "ratio"}
        assert row["seconds"] > 0
    own = {r["work"]: r["seconds"] for r in rows if r["contender"] == "riskpolicy" and r["threads"] == 1}
    assert set(own) == {"W1", "W2", "W7"}
    assert all(r["ratio"] == r["seconds"] / own[r["work"]] for r in rows)
    found = {(r["work"], r["contender"], r["threads"]) for r in rows}
    assert {("W1", "riskpolicy", 2), ("W1", "numpy", 1), ("W1", "numpy-packed", 1), ("W1", "fused-c", 1)} <= found
    assert {("W2", "copy", 1), ("W7", "numpy", 1)} <= found
    assert chart.read_text().startswith("<svg")
    assert "checking the answer of numpy" in done.stderr


def test_benchmarks_refuse_what_they_can_not_measure():
    for arguments, message in ((["W9"], "invalid choice"), (["W1", "--n", "0"], "at least 1")):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert message in done.stderr
