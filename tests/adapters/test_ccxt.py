"""CCXT's unified structures as snapshots, and its leverage tiers as rulesets."""

import contextlib
import json
import random
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import riskpolicy as rp
from riskpolicy.ruleset.ccxt_tiers import import_tiers
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
    held = {**POSITION, "marginMode": "isolated", "collateral": 1050.1}
    tables = rp.from_ccxt([held], {"total": {"USDT": 0}}, account="sub")
    assert tables["positions"][0]["isolated_margin"] == Decimal("800.0")
    assert tables["accounts"] == [{"account": "sub", "currency": "USDT", "balance": 0}]
    assert rp.from_ccxt([held], {"info": {}})["accounts"] == []


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
        ({"symbol": None}, "positions[0] has no `symbol`"),
        ({"marginMode": None}, "has no `marginMode`"),
        ({"marginMode": "portfolio"}, "`portfolio` is neither cross nor isolated"),
        ({"side": "long", "contracts": -1}, "contracts have no sign"),
        ({"leverage": "max"}, "`leverage`: `max` is not a number"),
        ({"entryPrice": float("nan")}, "`entryPrice`: `nan` is not a number"),
    ],
)
def test_what_is_missing_is_an_error_and_never_zero(change, part):
    markets = {"BTC/USDT:USDT": {"contractSize": 1}}
    with pytest.raises(rp.SnapshotError) as error:
        rp.from_ccxt([{**POSITION, **change}], {"total": {"USDT": 1}}, markets)
    assert part in str(error.value)


def test_positions_that_do_not_say_their_margin_mode_need_one():
    tables = rp.from_ccxt([{**POSITION, "marginMode": None}], {"USDT": {"total": 5}}, margin_mode="cross")
    assert tables["positions"][0]["margin_mode"] == "cross"
    assert tables["accounts"][0]["balance"] == 5


def test_other_currencies_of_a_wallet_are_left_out_unless_named():
    wallet = {"total": {"USDT": 5, "BNB": 0.001, "BTC": 1}}
    assert [a["currency"] for a in rp.from_ccxt([POSITION], wallet)["accounts"]] == ["USDT"]
    named = rp.from_ccxt([POSITION], wallet, currencies=["BTC"])["accounts"]
    assert [a["currency"] for a in named] == ["BTC", "USDT"]
    with pytest.raises(rp.SnapshotError, match="balance of EUR has no `total`"):
        rp.from_ccxt([POSITION], wallet, currencies=["EUR"])


def test_a_balance_of_zero_is_a_balance():
    assert rp.from_ccxt([POSITION], {"total": {"USDT": 0.0}})["accounts"][0]["balance"] == 0


def test_profit_that_the_exchange_counts_into_the_balance_is_taken_out():
    tables = rp.from_ccxt([POSITION], {"total": {"USDT": 1150.2}}, total="equity")
    assert tables["accounts"] == [{"account": "me", "currency": "USDT", "balance": Decimal("900.1")}]
    with pytest.raises(rp.SnapshotError, match="has no `unrealizedPnl`"):
        rp.from_ccxt([{**POSITION, "unrealizedPnl": None}], {"total": {"USDT": 1}}, total="equity")


def test_several_accounts_with_marks_that_must_agree():
    positions = {"a": [POSITION], "b": [{**POSITION, "side": "long"}]}
    balances = {"a": {"total": {"USDT": 1}}, "b": {"total": {"USDT": 2}}}
    tables = rp.from_ccxt(positions, balances)
    assert [(p["account"], p["quantity"]) for p in tables["positions"]] == [
        ("a", Decimal("-0.25")),
        ("b", Decimal("0.25")),
    ]
    assert [(a["account"], a["balance"]) for a in tables["accounts"]] == [("a", 1), ("b", 2)]
    positions["b"][0]["markPrice"] = 63001
    with pytest.raises(rp.SnapshotError, match=r"`b` positions\[0\] .*: mark price 63001, and 63000 in another"):
        rp.from_ccxt(positions, balances)
    decided = rp.from_ccxt(positions, balances, tickers={"BTC/USDT:USDT": {"markPrice": 63000.5}})
    assert decided["markets"][0]["mark_price"] == Decimal("63000.5")
    with pytest.raises(rp.SnapshotError, match="`b` balance of USDT has no `total`"):
        rp.from_ccxt({"a": [POSITION], "b": [POSITION]}, {"a": balances["a"]})


junk = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just({}) | st.just([])


@given(st.dictionaries(st.sampled_from(sorted(POSITION)), junk, max_size=4), junk, junk)
@settings(max_examples=150, deadline=None)
def test_whatever_an_exchange_sends_is_read_or_refused(change, wallet, market):
    with contextlib.suppress(rp.SnapshotError):
        tables = rp.from_ccxt(
            [{**POSITION, **change}], {"total": {"USDT": wallet}}, {"BTC/USDT:USDT": market},
            tickers={"BTC/USDT:USDT": market},
        )  # fmt: skip
        rp.Snapshot.of(tables)


def test_amounts_are_not_rounded():
    digits = "1234567890123456789012345678901234567890.123"
    long = {**POSITION, "contracts": digits, "marginMode": "isolated", "collateral": digits, "unrealizedPnl": "0.1"}
    (row,) = rp.from_ccxt([long], {})["positions"]
    assert row["quantity"] == -Fraction(digits)
    assert row["isolated_margin"] == Fraction(digits) - Fraction("0.1")


def test_contract_sizes_are_those_of_the_ruleset():
    policy = rp.load("binance-usdm")
    assert policy.contract_sizes["BTC/USDT:USDT"] == policy.contract_sizes["BTCUSDT"] == 1
    with pytest.raises(rp.SnapshotError, match=r"contract size 0.001; the instrument's is 1"):
        rp.from_ccxt([{**POSITION, "contractSize": 0.001}], {}, contract_sizes=policy.contract_sizes)


def test_two_sides_of_one_symbol_are_hedged_whether_said_or_not():
    sides = [{**POSITION, "hedged": None, "side": side} for side in ("long", "short")]
    tables = rp.from_ccxt(sides, {"total": {"USDT": 1}})
    assert [row.get("position_side") for row in tables["positions"]] == ["long", "short"]
    sides[0]["contracts"] = 0
    assert "position_side" not in rp.from_ccxt(sides, {"total": {"USDT": 1}})["positions"][0]


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


JUNK_TIER = st.dictionaries(
    st.sampled_from(["minNotional", "maxNotional", "maintenanceMarginRate", "maxLeverage", "info"]), junk, max_size=5
)


@given(st.dictionaries(st.sampled_from(["A/USDT:USDT", "B", ""]), st.lists(JUNK_TIER | junk, max_size=3) | junk))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_file_holds_is_read_or_refused(tmp_path, data):
    path = tmp_path / "junk.json"
    path.write_text(json.dumps(data))
    made = import_tiers(path)
    assert made.findings or len(yaml.safe_load(made.fragment or "{}").get("instruments", [])) == len(data)


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


def table(*rows):
    keys = ("minNotional", "maxNotional", "maintenanceMarginRate", "maxLeverage")
    return [{**dict(zip(keys, row, strict=False)), "info": {"cum": row[4]} if len(row) > 4 else {}} for row in rows]


@pytest.mark.parametrize(
    ("tiers", "part"),
    [
        (table((0, 5, 0.01, 50, "0"), (5, 9, 0.02, 25)), "tier 2: no deduction, while other tiers have one"),
        (table((0, 5, 0.01, 50, "0"), (6, 9, 0.02, 25, "0.05")), "tier 2: gap: starts at 6"),
        (table((0, 5, 0.01, 50), (6, 9, 0.02, 25)), "tier 2: gap: starts at 6"),
        (table((None, 5, 0.01, 50)), "tier 1: `minNotional` is missing"),
        (table((5, 6, 0.01, 50)), "tier 1: the first tier starts at 5"),
        (table((0, 5, 1, 1)), "tier 1: maintenance rate 1 at 1x is the whole position"),
        (table((0, None, 0.01, 50), (5, 6, 0.02, 25)), "tier 2: a tier after one without a cap"),
        (table((0, 5, 0.01, 50), (0, 5, 0.01, 50)), "tier 2: overlap"),
        (table((0, 5, 0.01, 20), (5, 6, 0.02, 25)), "tier 2: maximum leverage 25 is above 20"),
    ],
)
def test_a_fault_of_a_tier_is_found(tiers, part, tmp_path):
    done = imported(tmp_path, {"X/USDT:USDT": tiers})
    assert (done.returncode, done.stdout) == (1, "")
    assert f"X/USDT:USDT, {part}" in done.stderr


def test_deductions_are_checked_without_rounding(tmp_path):
    cap, rate = "123456789012345678901234567890.5", "0.00412345678901234567890123456789"
    due = "108215210259106842150739216.327902072817991921960674363663955"
    tiers = table((0, cap, rate, 100, "0"), (cap, None, "0.005", 50, due))
    assert imported(tmp_path, {"X/USDT:USDT": tiers}).returncode == 0
    tiers[1]["info"]["cum"] = due[:-1] + "4"
    assert f"it should be {due}" in imported(tmp_path, {"X/USDT:USDT": tiers}).stderr


def test_the_first_deduction_may_be_left_out(tmp_path):
    tiers = table((0, 5, 0.01, 50), (5, 9, 0.02, 25))
    tiers[0]["info"], tiers[1]["info"] = {"mmDeduction": ""}, {"mmDeduction": "5E-2"}
    done = imported(tmp_path, {"X/USDT:USDT": tiers})
    assert (done.returncode, done.stderr) == (0, "")
    assert yaml.safe_load(done.stdout)["margin"]["tiers"][0]["rate"] == "bracket"
    assert "deductions are left out" in imported(tmp_path, {"X/USDT:USDT": tiers}, "--rate", "step").stderr


def test_tables_in_lots_have_no_gaps(tmp_path):
    tiers = table((0, 500, 0.01, 50), (501, 900, 0.02, 25), (901, None, 0.03, 20))
    done = imported(tmp_path, {"X/USDT:USDT": tiers})
    assert done.returncode == 0
    assert "every tier starts 1 above the one before" in done.stderr


def test_equal_tables_are_shared_between_payoffs(tmp_path):
    tiers = table((0, 500, 0.01, 50))
    symbols = ["A/USDT:USDT", "B/USD:B", "C/USD:USDC", "D/USD:BTC", "1E/USDT:USDT-261225"]
    fragment = yaml.safe_load(imported(tmp_path, dict.fromkeys(symbols, tiers)).stdout)
    assert len(fragment["margin"]["tiers"]) == 1
    kinds = {s: (g["payoff"], g["settle"]) for g in fragment["instruments"] for s in g["symbols"]}
    assert kinds == {
        "A/USDT:USDT": ("linear", "USDT"), "B/USD:B": ("inverse", "B"), "C/USD:USDC": ("linear", "USDC"),
        "D/USD:BTC": ("quanto", "BTC"), "1E/USDT:USDT-261225": ("linear", "USDT"),
    }  # fmt: skip


def test_a_symbol_that_the_language_cannot_name_is_left_out(tmp_path):
    done = imported(tmp_path, {"é/USDT:USDT": table((0, 5, 0.01, 50)), "NOQUOTE": table((0, 5, 0.01, 50))})
    assert (done.returncode, done.stdout) == (1, "")
    assert "is no name of the language" in done.stderr
    assert "NOQUOTE: no settlement currency" in done.stderr


def test_a_large_file_imports(tmp_path):
    data = tiers(900)
    done = imported(tmp_path, data)
    assert (done.returncode, done.stderr) == (0, "")


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


@pytest.mark.parametrize("text", ["[]", "{", "", '{"a": 1, "a": 1}', "[" * 99_999])
def test_an_unusable_file_says_so(text, tmp_path):
    path = tmp_path / "t.json"
    path.write_text(text)
    command = [sys.executable, "-c", "from riskpolicy.cli import main; main()", "import", "ccxt-tiers", str(path)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2
