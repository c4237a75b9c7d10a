"""What requirements and equity are put together from: collateral, pools, funding, rounding, markets, formulas."""

from fractions import Fraction

import pytest

import riskpolicy as rp
from riskpolicy.engines.core.exact import ExactBucket
from riskpolicy.numbers import sqrt
from tests import venue


def with_collateral(pooled=False, **weights):
    ruleset = venue.tiers([["unlimited", "1%"]])
    ruleset["currencies"] = {"USDT": {"quantum": 0.01}, "BTC": {"quantum": 0.00000001}, "USD": {"quantum": 0.01}}
    group = ruleset["instruments"][0]
    ruleset["instruments"].append(
        {**group, "symbols": ["BTCUSD"], "payoff": "inverse", "settle": "BTC", "contract_size": 100}
    )
    assets = {name: {"initial": f"{i}%", "maintenance": f"{m}%"} for name, (i, m) in weights.items()}
    ruleset["margin"]["collateral"] = {"currency": "USD" if pooled else "USDT", "pooled": pooled, "assets": assets}
    return ruleset


PRICES = [{"asset": "ETH", "price": 3000}, {"asset": "BTC", "price": 60000}, {"asset": "USDT", "price": 0.999}]


def test_collateral_counts_by_its_weights():
    snapshot = venue.cross([("A", "BTCUSDT", 1, 60000)], {"A": 100}, {"BTCUSDT": 60000})
    snapshot |= {"assets": PRICES, "collateral": [{"account": "A", "asset": "ETH", "amount": 0.5}]}
    evaluation = venue.evaluate(with_collateral(ETH=(80, 90)), snapshot)
    bucket = ExactBucket(evaluation.bound, 0)
    assert bucket.equity == 100 + Fraction(1350)
    assert bucket.initial_equity == 100 + Fraction(1200)
    assert evaluation.buckets.row(0)["equity"] == "1450"


def test_an_account_may_hold_collateral_only():
    snapshot = {**venue.cross([], {}, {}), "assets": PRICES}
    snapshot["collateral"] = [{"account": "A", "asset": "ETH", "amount": 2}]
    evaluation = venue.evaluate(with_collateral(ETH=(80, 90)), snapshot)
    assert [(r["account"], r["currency"], r["equity"]) for r in evaluation.buckets.rows()] == [("A", "USDT", "5400")]


def pool(*positions, balances=(("USDT", 1000), ("BTC", 0.1))):
    accounts = [{"account": "A", "currency": c, "balance": b} for c, b in balances]
    marks = [{"instrument": i, "mark_price": 60000} for i in ("BTCUSDT", "BTCUSD")]
    names = ("account", "instrument", "quantity", "entry_price")
    rows = [dict(zip(names, p, strict=True)) for p in positions]
    return {"positions": rows, "accounts": accounts, "markets": marks, "assets": PRICES}


def test_a_pool_is_one_bucket_in_one_currency():
    ruleset = with_collateral(pooled=True, BTC=(90, 95), USDT=(100, 100))
    snapshot = pool(("A", "BTCUSDT", 0.1, 59000), ("A", "BTCUSD", -60, 61000))
    evaluation = venue.evaluate(ruleset, snapshot)
    (row,) = evaluation.buckets.rows()
    # 1000 x 0.999 + 0.1 x 60000 x 95%, 100 USDT of profit, and a short inverse that gains in BTC.
    profit = 100 * 0.999 + 60 * 100 * (1 / 60000 - 1 / 61000) * 60000
    assert row["currency"] == "USD"
    assert float(row["equity"]) == pytest.approx(999 + 5700 + profit, rel=1e-12)
    assert float(row["maintenance_margin"]) == pytest.approx(6000 * 0.999 * 0.01 + 0.1 * 60000 * 0.01, rel=1e-12)
    exact = ExactBucket(evaluation.bound, 0)
    assert float(exact.equity) == pytest.approx(float(row["equity"]), rel=1e-14)
    assert float(exact.initial_equity) == pytest.approx(999 + 5400 + profit, rel=1e-12)


def test_prices_in_a_pool_are_boundaries():
    """At the liquidation price the pool's exact health changes its sign."""
    ruleset = with_collateral(pooled=True, BTC=(90, 95), USDT=(100, 100))
    snapshot = pool(("A", "BTCUSDT", 0.5, 59000), ("A", "BTCUSD", 150, 61000), balances=(("USDT", 1000),))
    evaluation = venue.evaluate(ruleset, snapshot)
    for symbol, row in zip(("BTCUSDT", "BTCUSD"), evaluation.positions.rows(), strict=True):
        price = row["liquidation_price"]
        for factor, state in ((1 + 1e-9, "healthy"), (1 - 1e-9, "liquidatable")):
            moved = evaluation.shock({symbol: repr(price * factor)})
            assert moved.buckets.row(0)["state"] == state


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"collateral": [{"account": "A", "asset": "DOGE", "amount": 1}]}, "unknown_asset"),
        ({"collateral": [{"account": "A", "asset": "SOL", "amount": 1}]}, "missing_price"),
        ({"assets": [p for p in PRICES if p["asset"] != "BTC"]}, "missing_price"),
        ({"assets": [{"asset": "BTC", "price": 0}]}, "not_positive"),
        ({"collateral": [{"account": "A", "asset": "SOL", "amount": -1}]}, "negative"),
    ],
)
def test_what_can_not_be_converted_is_an_error(change, code):
    ruleset = with_collateral(pooled=True, BTC=(90, 95), SOL=(80, 90))
    with pytest.raises(rp.SnapshotError) as error:
        venue.evaluate(ruleset, {**pool(), **change})
    assert error.value.codes[0] == code


def test_collateral_at_a_venue_that_takes_none_is_an_error():
    with pytest.raises(rp.SnapshotError) as error:
        venue.evaluate(venue.base(), {**venue.cross([], {"A": 1}, {}), "assets": PRICES})
    assert error.value.codes == ("unknown_asset",)


def test_accrued_funding_is_part_of_equity():
    snapshot = venue.cross(
        [("A", "BTCUSDT", 1, 50000), ("B", "BTCUSDT", -1, 50000)], {"A": 210, "B": 190}, {"BTCUSDT": 50000}
    )
    snapshot["positions"][0]["accrued_funding"] = -10.5
    snapshot["positions"][1]["accrued_funding"] = 10
    evaluation = venue.evaluate(venue.base(), snapshot)
    assert [(r["equity"], r["state"]) for r in evaluation.buckets.rows()] == [
        ("199.5", "liquidatable"),
        ("200", "healthy"),
    ]


def test_requirements_are_rounded_up_to_the_quantum_exactly():
    ruleset = venue.tiers([["unlimited", "1%"]])
    ruleset["currencies"]["USDT"]["quantum"] = 0.01
    ruleset["margin"] |= {"rounding": "up", "initial": "notional * 0.03"}
    positions = [("A", "BTCUSDT", 1, 100.01), ("B", "BTCUSDT", 1, 100), ("C", "BTCUSDT", -3, 100)]
    evaluation = venue.evaluate(ruleset, venue.cross(positions, {"A": 9, "B": 9, "C": 3}, {"BTCUSDT": 100.01}))
    assert [r["maintenance_margin"] for r in evaluation.positions.rows()] == ["1.01", "1.01", "3.01"]
    assert [r["initial_margin"] for r in evaluation.positions.rows()] == ["3.01", "3.01", "9.01"]
    at_a_cent = venue.evaluate(ruleset, venue.cross(positions, {"A": 9, "B": 9, "C": 3}, {"BTCUSDT": 100}))
    assert [r["maintenance_margin"] for r in at_a_cent.positions.rows()] == ["1", "1", "3"]


def test_dydx_scales_initial_margin_by_open_interest():
    policy = rp.load("dydx-v4")

    def margins(interest):
        snapshot = venue.cross([("A", "LINK-USD", 1000, 10)], {"A": 5000}, {}, currency="USDC")
        snapshot["markets"] = [{"instrument": "LINK-USD", "mark_price": 10, "open_interest": interest}]
        row = policy.evaluate(snapshot).positions.row(0)
        return row["initial_margin"], row["maintenance_margin"]

    assert margins(1_000_000) == ("1000", "500")
    assert margins(5_000_000) == ("10000", "500")
    # A third of the way, in millionths rounded down: 10 % + 90 % / 3 = 0.4.
    assert margins(3_000_000) == ("4000", "500")
    assert margins(2_000_003) == ("1000", "500")
    with pytest.raises(rp.SnapshotError, match="needs open_interest of LINK-USD"):
        margins(None)


def test_a_rate_by_the_share_of_volume():
    ruleset = venue.base()
    curve = {"base": "2%", "factor": 0.5}
    table = {"id": "btc", "key": "contracts", "rate": "volume", "maintenance": curve}
    ruleset["margin"] = {"initial": "notional * maintenance_rate * 2", "tiers": [table]}
    snapshot = venue.cross([("A", "BTCUSDT", 100, 10), ("B", "BTCUSDT", 1, 10)], {"A": 500, "B": 5}, {"BTCUSDT": 10})
    snapshot["markets"][0]["daily_volume"] = 10000
    rows = list(venue.evaluate(ruleset, snapshot).positions.rows())
    # 0.5 x sqrt(100 / 10000) = 5 %; of one contract 0.5 %, below the base.
    assert [float(r["maintenance_margin"]) for r in rows] == pytest.approx([50, 0.2])
    assert [float(r["initial_margin"]) for r in rows] == pytest.approx([100, 0.4])
    snapshot["markets"][0]["daily_volume"] = 0
    with pytest.raises(rp.SnapshotError, match="above zero"):
        venue.evaluate(ruleset, snapshot)


def test_a_rate_by_a_formula():
    ruleset = venue.base()
    table = {
        "id": "btc",
        "key": "notional",
        "rate": "expression",
        "maintenance": "0.01 + 0.0001 * (notional / (1000 * settle))",
    }
    ruleset["margin"] = {"initial": "notional / 10", "tiers": [table]}
    snapshot = venue.cross(
        [("A", "BTCUSDT", 10, 1000), ("B", "BTCUSDT", -1, 1000)], {"A": 1000, "B": 50}, {"BTCUSDT": 1000}
    )
    evaluation = venue.evaluate(ruleset, snapshot)
    assert [float(r["maintenance_margin"]) for r in evaluation.positions.rows()] == pytest.approx([110, 10.1])
    for row, quantity, balance, symbol in zip(evaluation.positions.rows(), (10, -1), (1000, 50), "AB", strict=True):
        price = row["liquidation_price"]
        value = abs(quantity) * price
        assert balance + quantity * (price - 1000) == pytest.approx(value * (0.01 + 1e-7 * value), rel=1e-9), symbol


def test_equity_shared_by_maintenance_margin():
    ruleset = venue.tiers([["unlimited", "1%"]])
    ruleset["margin"]["bankruptcy"] = "maintenance"
    ruleset["instruments"].append({**ruleset["instruments"][0], "symbols": ["ETHUSDT"]})
    positions = [("A", "BTCUSDT", 1, 50000), ("A", "ETHUSDT", -10, 2500)]
    snapshot = venue.cross(positions, {"A": 300}, {"BTCUSDT": 50000, "ETHUSDT": 2500})
    rows = list(venue.evaluate(ruleset, snapshot).positions.rows())
    # 500 and 250 of 750: the long gives up 200, the short 100.
    assert rows[0]["bankruptcy_price"] == pytest.approx(49800)
    assert rows[1]["bankruptcy_price"] == pytest.approx(2510)


def test_roots_are_exact_for_squares_and_close_elsewhere():
    assert sqrt(Fraction(9, 16)) == Fraction(3, 4)
    assert sqrt(Fraction(0)) == 0
    for value in (Fraction(2), Fraction(10) ** 60, Fraction(1, 3) / 10**50, Fraction(12345678901, 7)):
        found = sqrt(value)
        assert found * found <= value
        assert abs(found * found - value) <= value / 10**190


def test_hedge_rows_at_a_net_venue_and_signs_of_sides():
    row = {"account": "A", "instrument": "BTCUSDT", "quantity": -1, "entry_price": 1, "position_side": "long"}
    tables = {**venue.cross([], {"A": 1}, {"BTCUSDT": 1}), "positions": [row]}
    for modes, part in ((["cross"], "positions are net"), (["cross", "hedge"], "not that of a long")):
        ruleset = venue.base()
        ruleset["margin"]["modes"] = modes
        with pytest.raises(rp.SnapshotError, match=part) as error:
            venue.evaluate(ruleset, tables)
        assert error.value.codes == ("position_side",)


def test_generated_tiers_go_on_until_a_rate_of_one():
    plan = rp.load("okx@2022-08-01").plan
    table = next(t for t in range(3) if plan.tiers.tables[t].id == "1inch")
    tiers = plan.tiers.exact[plan.tiers.start[table] : plan.tiers.start[table + 1]]
    assert [float(t.rate) for t in tiers[3:6]] == [0.025, 0.03, 0.035]
    assert [int(t.cap) for t in tiers[3:6]] == [130000, 195000, 260000]
    assert tiers[-1].initial <= 1 < tiers[-1].initial + Fraction(5, 1000)


@pytest.mark.parametrize(
    ("table", "code"),
    [
        ({"rate": "flat"}, "tier_shape"),
        ({"rate": "flat", "maintenance": "5"}, "bare_rate"),
        ({"rate": "bracket", "maintenance": "1%"}, "tier_shape"),
        ({"rate": "linear", "maintenance": {"base": "1%", "slope": -1}}, "tier_shape"),
        ({"rate": "linear", "maintenance": {"slope": 1}}, "missing_key"),
        ({"rate": "open_interest", "maintenance": "1%", "initial": {"base": "2%"}}, "tier_shape"),
        ({"rate": "open_interest", "maintenance": "1%", "initial": {"base": "2%", "lower": 5, "upper": 5}},
         "tier_shape"),
        ({"rate": "expression", "maintenance": "notional"}, "expression_unit"),
        ({"rate": "expression", "maintenance": "maintenance_margin / notional"}, "unknown_name"),
        ({"rate": "step", "columns": ["up_to", "maintenance"], "rows": [["unlimited", "1%"]],
          "generated": {"step": 5, "maintenance": "1%"}}, "tier_shape"),
        ({"rate": "step", "columns": ["up_to", "maintenance"], "rows": [[5, "1%"]],
          "generated": {"step": 5, "maintenance": "0%"}}, "tier_shape"),
        ({"rate": "step", "columns": ["up_to", "maintenance", "deduction"], "rows": [[5, "1%", 0]]}, "tier_columns"),
    ],
)  # fmt: skip
def test_tables_that_make_no_sense_are_refused(table, code):
    ruleset = venue.base()
    ruleset["margin"] = {"initial": "notional / 10", "tiers": [{"id": "btc", "key": "notional", **table}]}
    with pytest.raises(rp.RulesetError) as error:
        venue.policy(ruleset)
    assert code in error.value.codes
    assert all(f.place is not None for f in error.value.findings)
