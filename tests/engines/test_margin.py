"""Margins and boundary prices against an independent exact evaluation, and the laws that they obey."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskpolicy.numbers import exact
from tests import venue
from tests.engines import reference

SYMBOLS = ("A", "B", "C")
cents = st.integers(1, 10**7).map(lambda n: n / 100)


@st.composite
def tier_tables(draw):
    """Rows of (cap, rate in basis points), the last unlimited or not."""
    count = draw(st.integers(1, 5))
    caps = sorted(draw(st.lists(st.integers(1, 10**6), min_size=count, max_size=count, unique=True)))
    rates = sorted(draw(st.lists(st.integers(1, 5000), min_size=count, max_size=count)))
    last = draw(st.sampled_from(["unlimited", caps[-1]]))
    return [[cap, f"{rate / 100:g}%"] for cap, rate in zip([*caps[:-1], last], rates, strict=True)]


@st.composite
def venues(draw):
    """A ruleset of three instruments and a snapshot of cross accounts."""
    tables = {symbol: draw(tier_tables()) for symbol in SYMBOLS}
    ruleset = venue.tiers(tables["A"], edge=draw(st.sampled_from(["lower", "upper"])))
    table, group = ruleset["margin"]["tiers"][0], ruleset["instruments"][0]
    ruleset["margin"]["tiers"] = [{**table, "id": s.lower(), "rows": tables[s]} for s in SYMBOLS]
    ruleset["instruments"] = [{**group, "symbols": [s], "tiers": s.lower()} for s in SYMBOLS]
    positions = []
    for account in ("x", "y"):
        for symbol in draw(st.lists(st.sampled_from(SYMBOLS), unique=True, max_size=3)):
            quantity = draw(st.integers(-5000, 5000).filter(bool)) / 100
            positions.append((account, symbol, quantity, draw(cents)))
    balances = {a: draw(st.integers(-(10**6), 10**8)) / 100 for a in ("x", "y")}
    return ruleset, tables, venue.cross(positions, balances, {s: draw(cents) for s in SYMBOLS})


def as_reference(tables, snapshot):
    marks = {m["instrument"]: exact(m["mark_price"]) for m in snapshot["markets"]}
    exact_tables = {
        s: [(None if cap == "unlimited" else Fraction(cap), Fraction(rate[:-1]) / 100) for cap, rate in rows]
        for s, rows in tables.items()
    }
    buckets = {}
    for row in snapshot["accounts"]:
        held = [
            reference.Position(
                p["instrument"], exact(p["quantity"]), exact(p["entry_price"]), exact_tables[p["instrument"]]
            )
            for p in snapshot["positions"]
            if p["account"] == row["account"]
        ]
        buckets[row["account"]] = reference.Bucket(exact(row["balance"]), held)
    return marks, buckets


def close(ours, theirs, scale=1.0):
    return math.isclose(ours, float(theirs), rel_tol=1e-9, abs_tol=1e-9 * scale)


@settings(max_examples=150, deadline=None)
@given(venues())
def test_margins_equal_the_reference(case):
    ruleset, tables, snapshot = case
    evaluation = venue.evaluate(ruleset, snapshot)
    marks, buckets = as_reference(tables, snapshot)
    for row in evaluation.buckets.rows():
        bucket = buckets[row["account"]]
        scale = 1.0 + float(sum(abs(p.profit(marks[p.instrument])) for p in bucket.positions) + abs(bucket.balance))
        assert close(float(row["equity"]), bucket.equity(marks), scale)
        assert close(float(row["maintenance_margin"]), bucket.maintenance(marks), scale)


@settings(max_examples=150, deadline=None)
@given(venues())
def test_liquidation_prices_equal_the_reference(case):
    ruleset, tables, snapshot = case
    evaluation = venue.evaluate(ruleset, snapshot)
    marks, buckets = as_reference(tables, snapshot)
    for row in evaluation.positions.rows():
        bucket = buckets[row["account"]]
        position = next(p for p in bucket.positions if p.instrument == row["instrument"])
        wanted = bucket.liquidation_price(position, marks)
        got = row["liquidation_price"]
        assert (got is None) == (wanted is None), (got, wanted and float(wanted))
        if wanted is not None:
            gearing = float(
                (abs(bucket.balance) + sum(abs(p.quantity * p.entry) for p in bucket.positions))
                / abs(position.quantity)
            )
            assert close(got, wanted, 1 + gearing)


@settings(max_examples=100, deadline=None)
@given(venues(), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(case, random):
    ruleset, _, snapshot = case
    shuffled = {**snapshot}
    for table in ("positions", "accounts", "markets"):
        shuffled[table] = random.sample(snapshot[table], len(snapshot[table]))
    policy = venue.policy(ruleset)
    first, second = policy.evaluate(snapshot), policy.evaluate(shuffled)
    assert list(first.buckets.rows()) == list(second.buckets.rows())
    assert list(first.draws.rows()) == list(second.draws.rows())

    def key(row):
        return row["account"], row["instrument"]

    assert sorted(first.positions.rows(), key=key) == sorted(second.positions.rows(), key=key)


def maintenance_of(policy, notional):
    snapshot = venue.cross([("x", "BTCUSDT", 1.0, 1.0)], {"x": 0.0}, {"BTCUSDT": notional})
    return float(policy.evaluate(snapshot).margins.maintenance_margin[0])


@settings(max_examples=60, deadline=None)
@given(tier_tables(), st.integers(1, 10**9), st.integers(1, 10**9))
def test_maintenance_never_falls_with_size(rows, one, other):
    policy = venue.policy(venue.tiers(rows))
    small, large = sorted((one / 100, other / 100))
    assert maintenance_of(policy, small) <= maintenance_of(policy, large) * (1 + 1e-12) + 1e-9


@settings(max_examples=60, deadline=None)
@given(tier_tables())
def test_maintenance_is_continuous_at_every_cap(rows):
    tiers = venue.policy(venue.tiers(rows)).plan.tiers.exact
    for low, high in itertools.pairwise(tiers):
        assert low.cap is not None
        assert low.cap * low.rate - low.deduction == low.cap * high.rate - high.deduction


@pytest.mark.parametrize(("edge", "tier"), [("lower", "300000"), ("upper", "800000")])
def test_the_edge_has_an_owner(edge, tier):
    ruleset = venue.base()
    ruleset["margin"]["tiers"][0]["edge"] = edge
    snapshot = venue.cross([("x", "BTCUSDT", 3, 100000)], {"x": 10000}, {"BTCUSDT": 100000})
    row = venue.evaluate(ruleset, snapshot).positions.row(0)
    assert row["tier"] == f"margin.tiers.btc.{tier}"
    assert row["maintenance_margin"] == "1200"
    assert row["rules"][0] == row["tier"]


def test_above_the_last_cap_the_last_tier_goes_on():
    snapshot = venue.cross([("x", "BTCUSDT", 10, 100000)], {"x": 10000}, {"BTCUSDT": 100000})
    row = venue.evaluate(venue.base(), snapshot).positions.row(0)
    assert row["tier"] == "margin.tiers.btc.800000"
    assert float(row["maintenance_margin"]) == 1_000_000 * 0.005 - 300


@pytest.mark.parametrize(("leverage", "initial"), [(None, "333.3333333333333"), (50, "1000")])
def test_initial_margin_by_leverage_selected_or_the_maximum(leverage, initial):
    snapshot = venue.cross([("x", "BTCUSDT", 1, 50000)], {"x": 10000}, {"BTCUSDT": 50000})
    snapshot["positions"][0]["leverage"] = leverage
    assert venue.evaluate(venue.base(), snapshot).positions.row(0)["initial_margin"] == initial


def test_one_cent_under_maintenance_is_liquidatable():
    for balance, state in ((199.99, "liquidatable"), (200, "healthy"), (-0.01, "bankrupt")):
        snapshot = venue.cross([("A", "BTCUSDT", 1, 50000)], {"A": balance}, {"BTCUSDT": 50000})
        row = venue.evaluate(venue.base(), snapshot).buckets.row(0)
        assert (row["maintenance_margin"], row["state"]) == ("200", state)
        assert "liquidation.trigger" in row["rules"]


def test_a_contract_size_scales_money_but_not_contracts():
    ruleset = venue.base()
    ruleset["instruments"][0]["contract_size"] = 0.01
    snapshot = venue.cross([("A", "BTCUSDT", 100, 49000)], {"A": 1000}, {"BTCUSDT": 50000})
    row = venue.evaluate(ruleset, snapshot).positions.row(0)
    assert (row["quantity"], row["notional"], row["unrealized_pnl"]) == (100, "50000", "1000")
    assert row["bankruptcy_price"] == pytest.approx(48000)


def test_an_isolated_position_stands_alone():
    snapshot = venue.cross([("A", "BTCUSDT", 1, 50000)], {"A": 10**6}, {"BTCUSDT": 40000})
    snapshot["positions"][0].update(margin_mode="isolated", isolated_margin=500)
    evaluation = venue.evaluate(venue.base(), snapshot)
    cross, isolated = evaluation.buckets.rows()
    assert (cross["instrument"], cross["state"], cross["equity"]) == (None, "healthy", "1000000")
    assert (isolated["instrument"], isolated["state"], isolated["equity"]) == ("BTCUSDT", "bankrupt", "-9500")
    (account,) = evaluation.accounts.rows()
    assert (account["balance"], account["equity"]) == ("1000500", "990500")


@pytest.mark.parametrize(
    ("trigger", "price"),
    [
        ("equity < maintenance_margin", 49000 / 0.996),
        ("maintenance_margin > equity", 49000 / 0.996),
        ("margin_ratio >= 100%", None),
        ("margin_ratio >= 1", 49000 / 0.996),
        ("equity <= maintenance_margin + 0.001 * notional", 49000 / 0.995),
        ("equity / 2 < maintenance_margin", 49000 / 0.992),
        ("wallet_balance + unrealized_pnl < maintenance_margin", 49000 / 0.996),
    ],
)
def test_the_liquidation_price_follows_the_trigger(trigger, price):
    ruleset = venue.base()
    ruleset["liquidation"]["trigger"] = trigger
    snapshot = venue.cross([("A", "BTCUSDT", 1, 50000)], {"A": 1000}, {"BTCUSDT": 50000})
    if price is None:
        with pytest.raises(Exception, match="not an expression"):
            venue.evaluate(ruleset, snapshot)
        return
    assert venue.evaluate(ruleset, snapshot).positions.row(0)["liquidation_price"] == pytest.approx(price)


def test_prices_that_do_not_exist_are_null():
    snapshot = venue.cross([("A", "BTCUSDT", 1, 50000)], {"A": 60000}, {"BTCUSDT": 50000})
    row = venue.evaluate(venue.base(), snapshot).positions.row(0)
    assert row["liquidation_price"] is None
    assert row["bankruptcy_price"] is None


def test_a_flat_position_has_no_margin_and_no_prices():
    snapshot = venue.cross([("A", "BTCUSDT", 0, 50000)], {"A": 10}, {"BTCUSDT": 50000})
    row = venue.evaluate(venue.base(), snapshot).positions.row(0)
    assert row["maintenance_margin"] == "0"
    assert row["liquidation_price"] is row["bankruptcy_price"] is row["adl_rank"] is row["adl_light"] is None


def test_an_empty_snapshot_gives_empty_tables():
    evaluation = venue.evaluate(venue.base(), {"positions": []})
    data = evaluation.to_dict()
    assert data["positions"] == data["buckets"] == data["accounts"] == []
    assert {row["amount"] for row in data["draws"]} == {"0"}


def test_exact_text_is_not_lost():
    snapshot = venue.cross([("A", "BTCUSDT", 1, "50000.12345678901234567890")], {"A": "1e3"}, {"BTCUSDT": 50000})
    policy = venue.policy(venue.base())
    (reason,) = policy.explain(policy.evaluate(snapshot), "A")
    assert "50000.123456789012" in str(reason)
    assert np.isfinite(policy.evaluate(snapshot).margins.equity).all()
