"""The documentation builds without a warning, and its reference is written from the code."""

import shutil
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def test_the_documentation_builds_without_a_warning(tmp_path):
    source = shutil.copytree(DOCS, tmp_path / "docs", ignore=shutil.ignore_patterns("_build", "_generated"))
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-b",
        "html",
        str(source),
        str(tmp_path / "html"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "html" / "ruleset.html").read_text(encoding="utf-8")
    for word in ("margin_ratio", "tier_gap", "cooldown_seconds", "undefined where b is zero", "settle"):
        assert word in page
