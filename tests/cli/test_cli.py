"""The command line: data on standard output, findings on standard error, exit codes that mean something."""

import json
import sys
from pathlib import Path

import pytest

from riskpolicy.cli import main
from tests import venue

EXAMPLES = Path(__file__).parents[2] / "examples"
POSITIONS = str(EXAMPLES / "hyperliquid_positions.json")


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["riskpolicy", *arguments])
        monkeypatch.setenv("COLUMNS", "200")
        try:
            main()
            status = 0
        except SystemExit as exit_:
            status = exit_.code or 0
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def faulty(tmp_path):
    path = tmp_path / "faulty.yaml"
    path.write_text(venue.text(venue.base()).replace("0.5%", "0.3%").replace("pays: residual", "pays: main"))
    return str(path)


def test_evaluate_in_text(run):
    status, out, err = run("evaluate", "hyperliquid", POSITIONS, "--rows", "20")
    assert (status, err) == (0, "")
    assert "hyperliquid@2024-01-01: 15 positions, 15 buckets at 2024-11-01 00:00 UTC" in out
    assert "1,699.1407" in out
    assert "not stated by the venue, chosen here: liquidation.accounts" in out


def test_evaluate_in_json(run):
    status, out, _ = run("evaluate", "hyperliquid", POSITIONS, "--format", "json")
    data = json.loads(out)
    assert status == 0
    assert {len(data["positions"]), len(data["buckets"]), len(data["accounts"])} == {15}
    row = data["positions"][0]
    assert isinstance(row["notional"], str)
    assert isinstance(row["liquidation_price"], float)
    assert data["not_stated"] == ["liquidation.accounts", "deleveraging.ties", "deleveraging.lights"]
    assert [d["layer"] for d in data["draws"]] == ["vault", "adl", "end"]


def test_infinite_ratios_are_text_in_json(run, tmp_path):
    ruleset, snapshot = tmp_path / "v.yaml", tmp_path / "s.json"
    ruleset.write_text(venue.text(venue.base()))
    raw = venue.cross([("a", "BTCUSDT", 1, 50000)], {"a": -1}, {"BTCUSDT": 50000})
    snapshot.write_text(json.dumps(raw))
    _, out, _ = run("evaluate", str(ruleset), str(snapshot), "--format", "json")
    assert json.loads(out)["buckets"][0]["margin_ratio"] == "Infinity"
    status, out, _ = run("evaluate", str(ruleset), str(snapshot))
    assert status == 0
    assert "bankrupt" in out
    assert "unknown: the fund's balance is not given" in out


def test_check_of_a_sound_ruleset(run):
    status, out, err = run("check", "hyperliquid")
    assert (status, err) == (0, "")
    assert out.startswith("hyperliquid@2025-07-01: sound, 39 instruments, 12 tiers")
    assert json.loads(run("check", "hyperliquid", "--format", "json")[1])["findings"] == []


def test_check_of_a_faulty_one(run, faulty):
    status, out, err = run("check", faulty)
    assert (status, out) == (1, "")
    assert f"{faulty}:" in err
    assert "[waterfall_without_end]" in err
    assert "^" in err
    status, out, _ = run("check", faulty, "--format", "json")
    (finding,) = json.loads(out)["findings"]
    assert status == 1
    assert finding["code"] == "waterfall_without_end"
    assert finding["line"] > 1


def test_evaluate_of_a_faulty_ruleset_is_unusable_input(run, faulty):
    status, out, err = run("evaluate", faulty, POSITIONS)
    assert (status, out) == (2, "")
    assert "[waterfall_without_end]" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "nowhere"),
        ("check", "nowhere.yaml"),
        ("check", "hyperliquid@soon"),
        ("evaluate", "hyperliquid", "absent.json"),
        ("evaluate", "hyperliquid@2026-01-01", POSITIONS),
        ("evaluate", "hyperliquid"),
        ("evaluate", "hyperliquid", POSITIONS, "--format", "xml"),
        ("explain", "hyperliquid", POSITIONS, "--account", "nobody"),
        ("nonsense",),
    ],
)
def test_unusable_input(run, arguments):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err
    assert "Traceback" not in err


def test_explain(run):
    status, out, _ = run("explain", "hyperliquid", POSITIONS, "--account", "btc-06")
    assert status == 0
    assert "account btc-06, USDC isolated BTC: healthy" in out
    assert "liquidation.trigger  2024-01-01.yaml:" in out
    data = json.loads(run("explain", "hyperliquid", POSITIONS, "--account", "btc-06", "--format", "json")[1])
    assert data["buckets"][0]["statement"].startswith("account btc-06")


def test_schema(run):
    status, out, _ = run("schema")
    schema = json.loads(out)
    assert status == 0
    assert schema["$schema"].endswith("2020-12/schema")
    assert "waterfall" in schema["required"]


def test_a_fault_of_ours_says_so(run, monkeypatch):
    def boom(*_, **__):
        raise RuntimeError("boom")

    monkeypatch.setattr(sys.modules["riskpolicy.cli.evaluate"], "load", boom)
    status, out, err = run("evaluate", "hyperliquid", POSITIONS)
    assert (status, out) == (3, "")
    assert "a fault of riskpolicy itself: RuntimeError: boom" in err
    assert "Traceback" not in err


def test_ids_that_look_like_markup_are_shown_as_they_are(run, tmp_path):
    ruleset, snapshot = tmp_path / "v.yaml", tmp_path / "s.json"
    ruleset.write_text(venue.text(venue.base()))
    raw = venue.cross([("[bold]x[/bold]", "BTCUSDT", 1, 50000)], {"[bold]x[/bold]": 100}, {"BTCUSDT": 50000})
    snapshot.write_text(json.dumps(raw))
    for arguments in (("evaluate",), ("explain", "--account", "[bold]x[/bold]")):
        status, out, _ = run(arguments[0], str(ruleset), str(snapshot), *arguments[1:])
        assert status == 0
        assert "[bold]x[/bold]" in out
