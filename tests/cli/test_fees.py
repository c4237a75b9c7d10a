"""riskpolicy fees: volumes as they are written, the JSON keys, the snapshot's funds, and what is refused."""

import json

import pytest

import riskpolicy as rp
from tests import venue
from tests.engines.test_fees import ruleset


@pytest.fixture
def files(tmp_path):
    made = ruleset()
    made["funds"][0]["riders"] = [{"id": "size", "rate": "0.1%", "base": "notional"}]
    made["funding"] = {"formula": "plain"}
    (tmp_path / "venue.yaml").write_text(venue.text(made))
    tables = venue.cross([("A", "BTCUSDT", 10, 100)], {"A": 15}, {"BTCUSDT": 100})
    tables["markets"][0] |= {"daily_volume": 10000, "premium": 0.0115}
    tables["funds"] = [{"fund": "main", "currency": "USDT", "balance": 700}]
    (tmp_path / "book.json").write_text(json.dumps(tables))
    return str(tmp_path / "venue.yaml"), str(tmp_path / "book.json")


def test_a_report_in_json_has_its_keys(run, files):
    status, out, _ = run("fees", files[0], "--volume", "1,000,000", "--draw", "1000", "--format", "json")
    assert status == 0
    assert json.loads(out) == {
        "ruleset": "venue@2024-01-01",
        "currency": "USDT",
        "flows": [
            {"kind": "maker", "tier": "base", "rate": 0.0002, "notional": "1000000", "fee": "200",
             "shares": {"@referrals": "100", "@venue": "100"}},
            {"kind": "taker", "tier": "base", "rate": 0.0005, "notional": "1000000", "fee": "500",
             "shares": {"@main": "50", "@referrals": "225", "@venue": "225"}},
        ],
        "receivers": {"@referrals": "325", "@venue": "325", "@main": "50"},
        "total": "700",
        "refills": [{"fund": "main", "lack": "1000", "income": "50", "share": 0.5, "days": 40.0}],
        "uncapped": ["fees.split.referrals"],
        "plugin": None,
        "funds": [],
        "warnings": [],
    }  # fmt: skip


def test_volumes_by_kind_and_tier_add_up(run, files):
    _, out, _ = run(
        "fees", files[0], "--volume", "maker:vip=1000", "--volume", "taker=500", "--volume", "taker=500",
        "--liquidated", "100", "--trade-size", "1000", "--format", "json",
    )  # fmt: skip
    found = [(f["kind"], f["tier"], f["notional"], f["fee"]) for f in json.loads(out)["flows"]]
    assert found == [
        ("maker", "vip", "1000", "-0.1"),
        ("taker", "base", "1000", "0.5"),
        ("liquidation", None, "100", "1.25"),
    ]


def test_a_snapshot_gives_volume_targets_riders_and_warnings(run, files):
    _, out, _ = run("fees", files[0], "--snapshot", files[1], "--draw", "main=100", "--format", "json")
    told = json.loads(out)
    assert [f["notional"] for f in told["flows"]] == ["1000000", "1000000"]
    # The target is 1000: 300 are lacking, and 100 are drawn.
    assert told["refills"] == [{"fund": "main", "lack": "400", "income": "50", "share": 0.5, "days": 16.0}]
    (fund,) = told["funds"]
    assert (fund["target"], fund["lack"], fund["refill_due"], fund["refill_share"]) == ("1000", "300", True, 0.5)
    assert fund["riders"][0]["amount"] == "1"
    (warning,) = told["warnings"]
    assert (warning["account"], warning["payment"]) == ("A", "-11.5")
    assert warning["margin_ratio_after"] == pytest.approx(4 / 3.5)


class Splitter:
    @rp.hookimpl
    def split_fees(self, fees):
        return [{"venue": fee.amount} for fee in fees]


def test_a_plugin_that_splits_is_asked_and_named(run, tmp_path, install):
    install("splitter", Splitter())
    made = ruleset()
    del made["fees"]["split"]
    made["fees"]["plugin"] = "splitter"
    (tmp_path / "venue.yaml").write_text(venue.text(made))
    path = str(tmp_path / "venue.yaml")
    _, out, _ = run("fees", path, "--volume", "taker=1000", "--format", "json")
    assert (json.loads(out)["plugin"], json.loads(out)["receivers"]) == ("splitter", {"@venue": "0.5"})
    assert "The plugin splitter splits fees" in run("fees", path, "--volume", "taker=1000")[1]


def test_the_text_is_a_worked_table(run, files):
    status, out, _ = run("fees", files[0], "--snapshot", files[1], "--liquidated", "2000")
    assert status == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    for line in (
        "Fees of a day, in USDT", "taker base 1,000,000.00 0.05% 500.00", "liquidation 2,000.00 1.25% 25.00", "725.00",
        "@main 75.00 10.3% ██", "main 300.00 75.00 50% 8.0",
        "main USDT 700.00 1,000.00 300.00 800.00 due, by 50% of its fees",
        "A main 1,000.00 1.00", "A -11.50 USDT 26.7% 114.3%",
    ):  # fmt: skip
        assert line in lines


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--volume", "sells=1"), "unknown_choice"), (("--volume", "x"), "wrong_type"),
        (("--volume", "-1"), "negative"),
        (("--volume", "taker:gold=1"), "unknown_id"), (("--draw", "other=1"), "unknown_id"),
        (("--currency", "EUR"), "unknown_id"), (("--trade-size", "0", "--volume", "1"), "not_positive"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(run, files, arguments, code):
    status, out, err = run("fees", files[0], *arguments)
    assert (status, out) == (2, "")
    assert f"[{code}]" in err
