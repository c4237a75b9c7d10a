"""Changed evaluations equal evaluations of changed snapshots; what would heal a bucket heals it, and less does not."""

from fractions import Fraction

import pytest

import riskpolicy as rp
from tests import venue


def snapshot(**more):
    positions = [("B", "BTCUSDT", -1, 50000), ("A", "BTCUSDT", 2, 48000), ("C", "ETHUSDT", 3, 3000)]
    marks = {"BTCUSDT": 50000, "ETHUSDT": 3100}
    return venue.cross(positions, {"A": 5000, "B": 3000, "C": 700}, marks, **more)


def policy(**margin):
    ruleset = venue.base()
    ruleset["instruments"].append({**ruleset["instruments"][0], "symbols": ["ETHUSDT"]})
    ruleset["margin"] |= margin
    return venue.policy(ruleset)


def test_a_shock_is_an_evaluation_at_other_marks():
    evaluation = policy().evaluate(snapshot())
    tables = snapshot()
    tables["markets"][0]["mark_price"] = 40000
    assert evaluation.shock({"BTCUSDT": "-20%"}).to_dict() == policy().evaluate(tables).to_dict()
    assert evaluation.shock({"BTCUSDT": 40000}).to_dict() == policy().evaluate(tables).to_dict()
    tables["markets"][1]["mark_price"] = 3410
    assert evaluation.shock({"BTCUSDT": "-20%", "*": "+10%"}).to_dict() == policy().evaluate(tables).to_dict()
    assert evaluation.to_dict() == policy().evaluate(snapshot()).to_dict()
    for prices in ({"BTCUSDT": "-100%"}, {"BTCUSDT": 0}, {"BTCUSDT": "down"}, {"*": 100}, {"DOGE": 1}):
        with pytest.raises(rp.QueryError):
            evaluation.shock(prices)


@pytest.mark.parametrize(
    ("fill", "position", "balance"),
    [
        (("A", "buy", 2, 51000), ("A", "BTCUSDT", 4, 49500), 5000),
        (("A", "sell", 1, 51000), ("A", "BTCUSDT", 1, 48000), 8000),
        (("A", "sell", 5, 47000), ("A", "BTCUSDT", -3, 47000), 3000),
    ],
)
def test_a_fill_changes_position_and_balance(fill, position, balance):
    account, side, quantity, price = fill
    got = policy().evaluate(snapshot()).with_fill(account, "BTCUSDT", side, quantity, price)
    tables = snapshot()
    names = ("account", "instrument", "quantity", "entry_price")
    tables["positions"][1] = dict(zip(names, position, strict=True))
    tables["accounts"][0]["balance"] = balance
    assert got.to_dict() == policy().evaluate(tables).to_dict()


def test_a_fill_can_open_a_position():
    got = policy().evaluate(snapshot()).with_fill("A", "ETHUSDT", "sell", "0.5", 3150)
    tables = snapshot()
    tables["positions"].append({"account": "A", "instrument": "ETHUSDT", "quantity": -0.5, "entry_price": 3150})
    assert got.to_dict() == policy().evaluate(tables).to_dict()


def test_an_average_price_that_is_no_decimal_stays_exact():
    got = policy().evaluate(snapshot()).with_fill("A", "BTCUSDT", "buy", 1, 50000)
    entry = got.snapshot.numbers("positions", "entry_price").exact(1)
    assert entry == Fraction(2 * 48000 + 50000, 3)


def test_an_order_counts_towards_initial_margin():
    evaluation = policy(orders="larger_side").evaluate(snapshot())
    more = evaluation.with_order("C", "ETHUSDT", "buy", 1, 3100)
    assert float(more.buckets.row(2)["initial_margin"]) == pytest.approx(4 * 3100 / 150)
    less = evaluation.with_order("C", "ETHUSDT", "sell", 1, 3100)
    assert less.buckets.row(2)["initial_margin"] == evaluation.buckets.row(2)["initial_margin"]
    assert evaluation.with_order("C", "ETHUSDT", "buy", 1, reduce_only=True).to_dict() == evaluation.to_dict()


@pytest.mark.parametrize("rate", ["bracket", "step"])
@pytest.mark.parametrize("balance", [1500, 2600, 1])
def test_what_heals_heals_and_less_does_not(rate, balance):
    ruleset = venue.tiers([[60000, "2%"], [100000, "4%"], ["unlimited", "10%"]])
    ruleset["margin"]["tiers"][0]["rate"] = rate
    policy = venue.policy(ruleset)
    evaluation = policy.evaluate(venue.cross([("A", "BTCUSDT", 3, 50000)], {"A": balance}, {"BTCUSDT": 50000}))
    (healing,) = policy.heal(evaluation, "A")
    assert healing.state == "liquidatable"

    def state(balance, quantity):
        rows = venue.cross([("A", "BTCUSDT", float(quantity), 50000)], {"A": float(balance)}, {"BTCUSDT": 50000})
        return policy.evaluate(rows).buckets.row(0)["state"]

    deposit, reduce = healing.deposit, healing.reduce["BTCUSDT"]
    assert state(balance + deposit, 3) == "healthy"
    assert state(balance + deposit - Fraction(1, 10**6), 3) == "liquidatable"
    assert state(balance, 3 - reduce - Fraction(1, 10**9)) == "healthy"
    assert state(balance, 3 - reduce + Fraction(1, 10**9)) == "liquidatable"


def test_a_healthy_bucket_needs_nothing():
    evaluation = policy().evaluate(snapshot())
    (healing,) = policy().heal(evaluation, "A")
    assert (healing.deposit, healing.reduce, healing.price) == (0, {"BTCUSDT": 0}, {"BTCUSDT": 50000.0})
    with pytest.raises(rp.QueryError):
        policy().heal(evaluation, "Z")


def test_both_margin_modes_side_by_side():
    evaluation = policy().evaluate(snapshot())
    modes = policy().margin_modes(evaluation, "A", "BTCUSDT", 2000)
    assert modes["cross"]["liquidation_price"] == evaluation.positions.row(1)["liquidation_price"]
    # 2000 of own margin: 2000 + 2 (p - 48000) = 0.008 p, in the first tier.
    assert modes["isolated"]["liquidation_price"] == pytest.approx(94000 / (2 - 0.008), rel=1e-12)
    position = {"account": "A", "instrument": "BTCUSDT", "quantity": 2, "entry_price": 48000}
    tables = venue.cross([], {"A": 3000}, {"BTCUSDT": 50000})
    tables["positions"] = [{**position, "margin_mode": "isolated", "isolated_margin": 2000}]
    back = policy().margin_modes(policy().evaluate(tables), "A", "BTCUSDT")
    assert back["isolated"] == modes["isolated"]
    assert back["cross"] == modes["cross"]
