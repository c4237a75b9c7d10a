"""CCXT's unified structures as snapshots, and its leverage tiers as rulesets."""

import json
import random
import subprocess
import sys
from decimal import Decimal

import pytest
import yaml

import riskpolicy as rp
from tests import venue

POSITION = {
    "symbol": "BTC/USDT:USDT", "contracts": 0.25, "contractSize": 1, "side": "short", "entryPrice": 64000.5,
    "markPrice": 63000, "marginMode": "cross", "leverage": 20, "hedged": False, "collateral": None,
    "unrealizedPnl": 250.1,
}  # fmt: skip


def test_positions_balances_and_marks_become_a_snapshot():
    tables = rp.from_ccxt(
        [POSITION, {**POSITION, "symbol": "ETH/USDT:USDT", "contracts": 0}], {"total": {"USDT": 900.5}}
    )
    evaluation = rp.load("binance-usdm").evaluate(tables)
    row = evaluation.positions.row(0)
    assert (row["account"], row["instrument"], row["quantity"]) == ("me", "BTCUSDT", -0.25)
    assert row["unrealized_pnl"] == "250.125"
    assert evaluation.buckets.row(0)["equity"] == "1150.625"
    assert row["liquidation_price"] == pytest.approx((900.5 + 0.25 * 64000.5) / (0.25 * 1.004), rel=1e-12)


def test_an_isolated_position_has_the_margin_without_its_profit():
    given = {**POSITION, "marginMode": "isolated", "collateral": 1050.1}
    tables = rp.from_ccxt([given], {"total": {"USDT": 0}}, account="sub")
    assert tables["positions"][0]["isolated_margin"] == Decimal("800.0")
    assert tables["accounts"] == []


def test_hedged_sides_and_marks_from_tickers():
    sides = [{**POSITION, "hedged": True, "side": side, "markPrice": None} for side in ("long", "short")]
    tables = rp.from_ccxt(sides, {"total": {"USDT": "100"}}, tickers={"BTC/USDT:USDT": {"mark": "63000.1"}})
    assert [row["position_side"] for row in tables["positions"]] == ["long", "short"]
    assert tables["markets"] == [{"instrument": "BTC/USDT:USDT", "mark_price": Decimal("63000.1")}]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"contracts": None}, "positions[0] (BTC/USDT:USDT) has no `contracts`"),
        ({"entryPrice": None}, "has no `entryPrice`"),
        ({"markPrice": None}, "has no mark price"),
        ({"side": None}, "neither long nor short"),
        ({"contracts": "many"}, "`many` is not a number"),
        ({"contractSize": 0.01}, "contract size 0.01; the instrument's is 1"),
        ({"marginMode": "isolated"}, "has no `collateral`"),
        ({"symbol": None}, "has no `symbol`"),
    ],
)
def test_what_is_missing_is_an_error_and_never_zero(change, part):
    markets = {"BTC/USDT:USDT": {"contractSize": 1}}
    with pytest.raises(rp.SnapshotError) as error:
        rp.from_ccxt([{**POSITION, **change}], {"total": {"USDT": 1}}, markets)
    assert part in str(error.value)


def test_a_balance_without_totals_is_an_error():
    with pytest.raises(rp.SnapshotError, match="no `total`"):
        rp.from_ccxt([POSITION], {"USDT": 5})


def tiers(symbols: int, seed: int = 4):
    """A file in the shape of a real one: 3 to 12 brackets a symbol, deductions in `info.cum`."""
    rng, out = random.Random(seed), {}
    ladder = ["0.004", "0.005", "0.0065", "0.01", "0.02", "0.025", "0.05", "0.1", "0.125", "0.15", "0.25", "0.5"]
    leverage = [150, 100, 75, 50, 25, 20, 10, 5, 4, 3, 2, 1]
    for k in range(symbols):
        first = rng.randint(0, 9)
        cap, due, listed = Decimal(0), Decimal(0), []
        for tier, (rate, lever) in enumerate(zip(ladder[first:], leverage[first:], strict=True), 1):
            floor, last = cap, listed[-1]["maintenanceMarginRate"] if listed else rate
            due += floor * (Decimal(rate) - Decimal(str(last)))
            cap = floor + rng.choice([5000, 10000, 250000])
            listed.append({
                "tier": tier, "symbol": f"C{k}/USDT:USDT", "currency": "USDT", "minNotional": float(floor),
                "maxNotional": float(cap), "maintenanceMarginRate": float(rate), "maxLeverage": float(lever),
                "info": {"bracket": str(tier), "cum": f"{due:.1f}" if due == round(due, 1) else str(due)},
            })  # fmt: skip
        out[f"C{k}/USDT:USDT"] = listed
    return out


def imported(tmp_path, data, *arguments):
    path = tmp_path / "tiers.json"
    path.write_text(json.dumps(data))
    command = [
        sys.executable,
        "-c",
        "from riskpolicy.cli import main; main()",
        "import",
        "ccxt-tiers",
        str(path),
        *arguments,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_file_of_many_symbols_imports_and_compiles(tmp_path):
    data = tiers(120)
    done = imported(tmp_path, data)
    assert (done.returncode, done.stderr) == (0, "")
    fragment = yaml.safe_load(done.stdout)
    symbols = [s for group in fragment["instruments"] for s in group["symbols"]]
    assert sorted(symbols) == sorted(data)
    ruleset = venue.base()
    ruleset["instruments"] = fragment["instruments"]
    ruleset["margin"]["tiers"] = fragment["margin"]["tiers"]
    plan = venue.policy(ruleset).plan
    for symbol, listed in data.items():
        table = int(plan.instruments.table[plan.instruments.number[symbol]])
        found = plan.tiers.exact[plan.tiers.start[table] : plan.tiers.start[table + 1]]
        assert [t.deduction for t in found] == [rp.exact(t["info"]["cum"]) for t in listed]


def broken(change):
    data = tiers(3)
    change(data["C1/USDT:USDT"])
    return data


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (
            lambda t: t[1]["info"].update(cum="1.5"),
            "C1/USDT:USDT, tier 2: deduction 1.5 breaks the curve; it should be",
        ),
        (lambda t: t[1].update(minNotional=t[1]["minNotional"] + 500), "C1/USDT:USDT, tier 2: gap"),
        (lambda t: t[1].update(minNotional=t[1]["minNotional"] - 500), "C1/USDT:USDT, tier 2: overlap"),
        (
            lambda t: t[0].update(maintenanceMarginRate=t[0]["maintenanceMarginRate"] * 100),
            "C1/USDT:USDT, tier 1: maint",
        ),
        (lambda t: t[1].update(maintenanceMarginRate=0.0001), "C1/USDT:USDT, tier 2: maintenance rate 0.0001 is below"),
        (lambda t: t[1].pop("maxLeverage"), "C1/USDT:USDT, tier 2: `maxLeverage` is missing"),
        (lambda t: t[1].update(maxNotional="much"), "C1/USDT:USDT, tier 2: `maxNotional`"),
        (lambda t: t.clear(), "C1/USDT:USDT: no list of tiers"),
    ],
)
def test_a_faulty_table_gives_the_row(change, part, tmp_path):
    done = imported(tmp_path, broken(change))
    assert done.returncode == 1
    assert part in done.stderr
    symbols = [s for group in yaml.safe_load(done.stdout)["instruments"] for s in group["symbols"]]
    assert symbols == ["C0/USDT:USDT", "C2/USDT:USDT"]


def test_without_deductions_the_whole_position_has_its_tiers_rate(tmp_path):
    data = tiers(1)
    for tier in data["C0/USDT:USDT"]:
        tier["info"] = {}
    random.Random(1).shuffle(data["C0/USDT:USDT"])
    done = imported(tmp_path, data)
    assert done.returncode == 0
    assert "warning: C0/USDT:USDT: no deductions" in done.stderr
    assert yaml.safe_load(done.stdout)["margin"]["tiers"][0]["rate"] == "step"
    done = imported(tmp_path, data, "--rate", "bracket")
    assert (done.returncode, done.stderr) == (0, "")
    assert yaml.safe_load(done.stdout)["margin"]["tiers"][0]["rate"] == "bracket"


def test_an_inverse_symbol_settles_in_its_base(tmp_path):
    data = {"BTC/USD:BTC": [{"minNotional": 0, "maxNotional": None, "maintenanceMarginRate": 0.01, "maxLeverage": 50}]}
    (group,) = yaml.safe_load(imported(tmp_path, data).stdout)["instruments"]
    assert (group["payoff"], group["settle"]) == ("inverse", "BTC")


@pytest.mark.parametrize("text", ["[]", "{", ""])
def test_an_unusable_file_says_so(text, tmp_path):
    path = tmp_path / "t.json"
    path.write_text(text)
    command = [sys.executable, "-c", "from riskpolicy.cli import main; main()", "import", "ccxt-tiers", str(path)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2
