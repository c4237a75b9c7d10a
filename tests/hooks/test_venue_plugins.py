"""The plugins in `plugins/`: their own tests, an entry point that says where they are, a README; the template's too."""

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from riskpolicy.hooks.resolve import hooks_of
from riskpolicy.hooks.template import template_files
from riskpolicy.testing.conformance import conforms

PLUGINS = sorted(path for path in (Path(__file__).parents[2] / "plugins").iterdir() if path.is_dir())


def entry(folder):
    """The one entry point of a package: its name and `module:attribute`."""
    with (folder / "pyproject.toml").open("rb") as file:
        ((name, value),) = tomllib.load(file)["project"]["entry-points"]["riskpolicy.plugins"].items()
    return name, value


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda path: path.name)
def test_its_own_tests_pass_and_its_entry_point_is_there(folder):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", "tests"]
    paths = os.pathsep.join([str(folder), *sys.path])
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    name, value = entry(folder)
    assert folder.name == f"riskpolicy-{name}"
    assert name in (folder / "README.md").read_text()
    module, attribute = value.split(":")
    assert f"\n{attribute} = " in (folder / f"{module}.py").read_text()


def test_the_template_conforms_as_it_is_written(tmp_path, monkeypatch):
    files = template_files("my-venue", tmp_path)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert entry(tmp_path) == ("my-venue", "riskpolicy_my_venue:plugin")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugin = import_module("riskpolicy_my_venue").plugin
    assert set(hooks_of(plugin, "my-venue")) == {"rank_adl", "split_fees"}
    report = conforms(plugin)
    assert not report.broken
    assert len((tmp_path / "riskpolicy_my_venue.py").read_text().splitlines()) < 40
