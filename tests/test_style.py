"""Lint, format and strict types hold, and no file names a registry host or a machine."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = {".py", ".pyx", ".pyi", ".md", ".yaml", ".toml", ".json", ".cfg", ".in", ""}
SKIP = {".git", ".venv", "build", "dist", "_build", "__pycache__", ".hypothesis", ".mypy_cache", ".ruff_cache"}


@pytest.mark.parametrize(
    "command",
    [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)],
    ids=["lint", "format", "types"],
)
def test_tool_is_content(command):
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def files():
    for path in ROOT.rglob("*"):
        relative = path.relative_to(ROOT)
        if path.is_file() and path.suffix in TEXT and not SKIP.intersection(relative.parts):
            yield path


def test_no_file_names_a_registry_or_a_machine():
    words = [r"pypi\.", r"pythonhosted", r"index-url", r"/work" + "/", r"/root" + "/", r"/home" + "/"]
    wrong = re.compile("|".join(words))
    here = Path(__file__)
    found = [str(p) for p in files() if p != here and wrong.search(p.read_text(encoding="utf-8", errors="replace"))]
    assert not found
