"""The sdist builds a wheel that carries the rulesets, types and kernel; a failed build is loud."""

import json
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def python(*arguments, cwd, **environment):
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False, env=environment or None
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    made = shutil.ignore_patterns(
        ".*_cache", ".venv", ".git", ".hypothesis", "build", "_build", "*.egg-info", "*.so", "_kernel.c"
    )
    clean = shutil.copytree(ROOT, folder / "clean", ignore=made)
    python("-m", "build", "--sdist", "--no-isolation", "--outdir", str(folder), cwd=clean)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(sdist):
    python("-m", "build", "--wheel", "--no-isolation", "--outdir", str(sdist / "out"), cwd=sdist)
    (path,) = (sdist / "out").glob("*.whl")
    return path


def test_the_sdist_has_all_that_the_two_commands_need(sdist):
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    wanted = tracked or ["Makefile", "README.md", "examples/demo.py", "tests/venue.py", "docs/conf.py"]
    missing = [path for path in wanted if not (sdist / path).exists()]
    assert missing == []


def test_the_wheel_carries_rulesets_types_and_kernel(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    shipped = sorted(p.relative_to(ROOT / "rulesets").as_posix() for p in (ROOT / "rulesets").rglob("*.yaml"))
    assert shipped
    assert [n for n in shipped if f"riskpolicy_rulesets/{n}" not in names] == []
    code = [p.relative_to(ROOT).as_posix() for p in (ROOT / "riskpolicy").rglob("*.py*") if p.suffix in (".py", ".pyi")]
    assert [n for n in code if n not in names] == []
    assert "riskpolicy/py.typed" in names
    assert any(n.startswith("riskpolicy/kernel/_kernel.") and n.endswith((".so", ".pyd")) for n in names)
    assert not any("tests" in n for n in names)


def test_the_wheel_works_elsewhere(wheel, tmp_path):
    python(
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(tmp_path),
        str(wheel),
        cwd=tmp_path,
    )
    positions = ROOT / "examples" / "hyperliquid_positions.json"
    code = (
        "import sys; sys.path.insert(0, '.'); import riskpolicy;"
        f"assert riskpolicy.__file__.startswith({str(tmp_path)!r});"
        "from riskpolicy.cli import main;"
        f"sys.argv = ['riskpolicy', 'evaluate', 'hyperliquid', {str(positions)!r}, '--format', 'json']; main()"
    )
    data = json.loads(python("-P", "-c", code, cwd=tmp_path))
    assert len(data["positions"]) == 15


def test_a_failed_build_is_loud(sdist, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(sdist, broken)
    (broken / "riskpolicy" / "kernel" / "_kernel.pyx").write_text("def broken(:\n")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
    done = subprocess.run(command, cwd=broken, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "_kernel.pyx" in done.stdout + done.stderr
    assert not list(broken.glob("dist/*.whl"))


def test_every_package_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = sorted(
        p.parent.relative_to(ROOT).as_posix().replace("/", ".") for p in (ROOT / "riskpolicy").rglob("__init__.py")
    )
    assert sorted(project["tool"]["setuptools"]["packages"]) == [*folders, "riskpolicy_rulesets"]


def test_the_version_is_said_once_the_same():
    import riskpolicy

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["version"] == riskpolicy.__version__
    assert f"## {riskpolicy.__version__}" in (ROOT / "CHANGELOG.md").read_text()
