"""Installed for real: the plugins and a new one are found by their entry points, named in a ruleset, and used."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from riskpolicy.hooks.template import template_files

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(path for path in (ROOT / "plugins").iterdir() if path.is_dir())

#: A long of ten is bankrupt at 90; of the shorts two are in profit. Who splits, who ranks and who takes are plugins.
USED = """
import json, sys
import riskpolicy as rp
from tests import venue

FUNDS = [{"fund": "main", "currency": "USDT", "balance": 0}]

def plugins(split, rank, take):
    made = venue.base()
    made["fees"] = {"tiers": [{"id": "base", "maker": "0.02%", "taker": "0.05%"}], "plugin": split}
    made["deleveraging"]["plugin"] = rank
    rule = {"rule": "plugin", "plugin": take} if take else {"rule": "queue"}
    made["deleveraging"]["take"] = {**rule, "price": "bankruptcy_price", "fee": "1%"}
    positions = [("A", "BTCUSDT", 10, 100), ("W", "BTCUSDT", -6, 120), ("V", "BTCUSDT", -30, 100)]
    crash = venue.cross(positions, {"A": 60, "W": 100, "V": 500}, {"BTCUSDT": 90}, funds=FUNDS)
    result = venue.evaluate(made, crash).resolve()
    assert sum(abs(row.quantity) for account in "WV" for row in result.taken_from(account)) == 10
    paid = {entry.account for entry in result.ledger.entries if entry.what == "fee" and entry.amount > 0}
    return [dict(result.plugins), sorted(paid)]

print(json.dumps([
    plugins("drift", "hyperliquid", "dydx"), plugins("dydx", "my-venue", "least-leverage"),
    plugins("hyperliquid", "my-venue", None), plugins("my-venue", "hyperliquid", None),
]))
"""


def python(*arguments, path):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(path), str(ROOT), *filter(None, sys.path)])}
    done = subprocess.run([sys.executable, *arguments], cwd=path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the four plugins and a new one installed in it, as pip does it."""
    sources, folder = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("installed")
    copies = [shutil.copytree(path, sources / path.name) for path in PLUGINS]
    for path, text in template_files("my-venue", sources / "new").items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    python(
        "-m", "pip", "install", *options, "--target", str(folder), *map(str, [*copies, sources / "new"]), path=sources
    )
    return folder


def test_a_ruleset_names_them_and_a_resolution_uses_them(installed):
    used = json.loads(python("-c", USED, path=installed))
    assert [(sorted(names), paid) for names, paid in used] == [
        (["drift", "dydx", "hyperliquid"], ["@fees"]),
        (["dydx", "least-leverage", "my-venue"], ["@insurance"]),
        (["hyperliquid", "my-venue"], ["@assistance_fund", "@hlp"]),
        (["hyperliquid", "my-venue"], ["@community", "@fees"]),
    ]
    assert {version for names, _ in used for version in names.values()} == {"0.1.0"}


def test_the_new_one_conforms_from_the_command_line(installed):
    code = "from riskpolicy.cli import main; main()"
    out = python("-c", code, "plugin", "conformance", "my-venue", "--examples", "30", path=installed)
    assert out.splitlines() == [
        "my-venue: rank_adl keeps `exact and repeatable`", "my-venue: split_fees keeps `exact`",
    ]  # fmt: skip
