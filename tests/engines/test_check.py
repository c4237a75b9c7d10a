"""Order checks against arithmetic by hand, at the boundary and one unit beyond it; closed on whatever is unknown."""

import random
from decimal import Decimal
from fractions import Fraction

import pytest

import riskpolicy as rp
from riskpolicy.engines.core.verdict import VERDICTS
from tests import venue


def one(balance=1000, position=None, **more):
    """A policy of one instrument at 10 % initial margin, lot 0.001, tick 0.5, and an evaluation of account A."""
    ruleset = venue.tiers([[300000, "0.4%", 150], [800000, "0.5%", 100]], ("up_to", "maintenance", "max_leverage"))
    ruleset["margin"] |= {"initial": "notional / 10", **more}
    ruleset["instruments"][0] |= {"lot": 0.001, "tick": 0.5}
    policy = venue.policy(ruleset)
    positions = [] if position is None else [("A", "BTCUSDT", *position)]
    return policy, policy.evaluate(venue.cross(positions, {"A": balance}, {"BTCUSDT": 50000}))


def code(checked, *arguments, **named):
    policy, evaluation = checked
    return policy.check(evaluation, *arguments, **named).code


def test_the_largest_order_passes_and_one_lot_more_does_not():
    policy, evaluation = one(1000)
    verdict = policy.check(evaluation, account="A", instrument="BTCUSDT", side="buy", quantity="0.2", price=50000)
    assert (verdict.allowed, verdict.code, verdict.rule, verdict.max_quantity) == (
        True,
        "allowed",
        None,
        Fraction("0.2"),
    )
    beyond = policy.check(evaluation, "A", "BTCUSDT", "buy", "0.201", 50000)
    assert (beyond.code, beyond.rule, beyond.max_quantity) == ("margin_insufficient", "margin.initial", Fraction("0.2"))
    assert beyond.numbers["initial_margin_after"] == 1005
    assert beyond.numbers["available_after"] == -5
    assert not beyond
    assert beyond.to_dict()["numbers"]["available_after"] == "-5"


def test_what_is_paid_above_the_mark_is_lost_at_once():
    # 0.2 at 50100 loses 20 at the mark: 980 of equity carry 0.196.
    policy, evaluation = one(1000)
    verdict = policy.check(evaluation, "A", "BTCUSDT", "buy", "0.2", "50100")
    assert verdict.code == "margin_insufficient"
    assert verdict.max_quantity == Fraction("0.196")


def test_an_order_that_reduces_needs_no_margin():
    assert code(one(-3900, (1, 45000)), "A", "BTCUSDT", "sell", 1) == "allowed"
    assert code(one(-3900, (1, 45000)), "A", "BTCUSDT", "buy", "0.001") == "margin_insufficient"
    assert code(one(-3900, (1, 45000)), "A", "BTCUSDT", "sell", 2.1) == "margin_insufficient"
    # Selling far below the mark gives the equity away.
    assert code(one(-3900, (1, 45000)), "A", "BTCUSDT", "sell", "0.5", "47999.5") == "liquidation_imminent"


def test_a_reduce_only_order_is_cut_to_what_is_there():
    assert code(one(1000, (1, 50000)), "A", "BTCUSDT", "sell", 5, reduce_only=True) == "allowed"
    assert code(one(1000, (1, 50000)), "A", "BTCUSDT", "buy", 1, reduce_only=True) == "position_not_reduced"
    assert code(one(1000), "A", "BTCUSDT", "buy", 1, reduce_only=True) == "position_not_reduced"


def test_open_orders_count():
    policy, _ = one(orders="larger_side")
    order = {"account": "A", "instrument": "BTCUSDT", "side": "buy", "remaining": 0.1, "price": 50000}
    snapshot = venue.cross([], {"A": 1000}, {"BTCUSDT": 50000}, orders=[order])
    evaluation = policy.evaluate(snapshot)
    assert evaluation.buckets.row(0)["initial_margin"] == "500"
    assert policy.check(evaluation, "A", "BTCUSDT", "buy", "0.1").allowed
    assert policy.check(evaluation, "A", "BTCUSDT", "buy", "0.101").code == "margin_insufficient"
    # Sold contracts and open buys: the larger side is 0.3 short, or 0.3 - 0.1 bought back.
    assert policy.check(evaluation, "A", "BTCUSDT", "sell", "0.2").allowed
    assert policy.check(evaluation, "A", "BTCUSDT", "sell", "0.201").code == "margin_insufficient"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("B", "BTCUSDT", "buy", 1), "account_unknown"),
        (("A", "ETHUSDT", "buy", 1), "instrument_unknown"),
        (("A", "BTCUSDT", "long", 1), "side_unknown"),
        (("A", "BTCUSDT", "buy", 0), "quantity_invalid"),
        (("A", "BTCUSDT", "buy", -1), "quantity_invalid"),
        (("A", "BTCUSDT", "buy", "many"), "quantity_invalid"),
        (("A", "BTCUSDT", "buy", float("nan")), "quantity_invalid"),
        (("A", "BTCUSDT", "buy", float("inf")), "quantity_invalid"),
        (("A", "BTCUSDT", "buy", True), "quantity_invalid"),
        (("A", "BTCUSDT", "buy", "0.0005"), "quantity_lot"),
        (("A", "BTCUSDT", "buy", 1, 0), "price_invalid"),
        (("A", "BTCUSDT", "buy", "0.001", "50000.3"), "price_tick"),
        (("A", "BTCUSDT", "buy", Decimal("0.001"), Decimal("50000.5")), "allowed"),
        (("A", "BTCUSDT", "buy", 17), "tier_cap_exceeded"),
        (("A", "BTCUSDT", "buy", 1), "margin_insufficient"),
    ],
)
def test_codes(arguments, expected):
    assert code(one(), *arguments) == expected
    assert expected in VERDICTS


def test_states_of_the_bucket_and_modes_of_the_venue():
    assert code(one(-46, (1, 50000)), "A", "BTCUSDT", "sell", 1) == "bucket_bankrupt"
    assert code(one(100, (1, 50000)), "A", "BTCUSDT", "sell", 1) == "bucket_liquidatable"
    assert code(one(modes=["cross"]), "A", "BTCUSDT", "buy", 1, margin_mode="isolated") == "mode_unavailable"
    assert code(one(), "A", "BTCUSDT", "buy", 1, position_side="long") == "mode_unavailable"
    assert code(one(), "A", "BTCUSDT", "buy", "0.001", leverage=151) == "leverage_exceeded"
    assert code(one(), "A", "BTCUSDT", "buy", "0.001", leverage=150) == "allowed"


def test_a_market_without_a_mark_is_a_refusal():
    policy, _ = one()
    assert policy.check(venue.cross([], {"A": 1000}, {}), "A", "BTCUSDT", "buy", 1).code == "market_unknown"


def test_margin_without_a_value_is_a_refusal():
    ruleset = venue.tiers([["unlimited", "1%"]])
    ruleset["margin"]["initial"] = "notional / leverage"
    policy = venue.policy(ruleset)
    snapshot = venue.cross([], {"A": 1000}, {"BTCUSDT": 50000})
    assert policy.check(snapshot, "A", "BTCUSDT", "buy", 1).code == "margin_undefined"


def test_a_restricted_bucket_may_only_reduce():
    ruleset = venue.base()
    ruleset["liquidation"]["restricted"] = "equity < initial_margin"
    policy = venue.policy(ruleset)
    evaluation = policy.evaluate(venue.cross([("A", "BTCUSDT", 1, 50000)], {"A": 300}, {"BTCUSDT": 50000}))
    assert policy.check(evaluation, "A", "BTCUSDT", "buy", "0.001").code == "bucket_restricted"
    assert policy.check(evaluation, "A", "BTCUSDT", "sell", "0.1").code == "allowed"


def test_an_isolated_position_takes_margin_from_the_free_cross_balance():
    policy, _ = one()
    position = {"account": "A", "instrument": "BTCUSDT", "quantity": 0.1, "entry_price": 50000}
    position |= {"margin_mode": "isolated", "isolated_margin": 500}
    snapshot = {**venue.cross([], {"A": 500}, {"BTCUSDT": 50000}), "positions": [position]}
    assert policy.check(snapshot, "A", "BTCUSDT", "buy", "0.1").allowed
    assert policy.check(snapshot, "A", "BTCUSDT", "buy", "0.101").code == "margin_insufficient"


@pytest.mark.parametrize("seed", range(40))
def test_a_verdict_is_that_of_the_evaluation_after_the_fill(seed):
    """The check agrees with the whole engine on the snapshot that the fill makes, up to and at max_quantity."""
    rng = random.Random(seed)
    rows = [[20000, "1%"], [60000, "2%"], [200000, "5%"]]
    ruleset = venue.tiers(rows)
    ruleset["margin"]["initial"] = "max(notional * maintenance_rate * 2, notional / 20)"
    ruleset["margin"]["tiers"][0]["rate"] = rng.choice(["bracket", "step"])
    payoff = rng.choice(["linear", "inverse"])
    ruleset["instruments"][0] |= {"payoff": payoff, "contract_size": 1 if payoff == "linear" else 100000, "lot": 1}
    ruleset["instruments"].append({**ruleset["instruments"][0], "symbols": ["ETHUSDT"]})
    policy = venue.policy(ruleset)
    held = [("A", s, rng.choice([-1, 1]) * rng.randint(1, 60), rng.randint(90, 110)) for s in ("BTCUSDT", "ETHUSDT")]
    marks = {"BTCUSDT": 100, "ETHUSDT": 103}
    snapshot = venue.cross(held[: rng.randint(0, 2)], {"A": rng.randint(500, 5000)}, marks)
    evaluation = policy.evaluate(snapshot)
    side, price = rng.choice(["buy", "sell"]), rng.randint(95, 105)
    verdict = policy.check(evaluation, "A", "BTCUSDT", side, 1, price)
    if verdict.code.startswith("bucket"):
        return
    for quantity in {int(verdict.max_quantity), int(verdict.max_quantity) + 1, rng.randint(1, 400)} - {0}:
        got = policy.check(evaluation, "A", "BTCUSDT", side, quantity, price)
        after = evaluation.with_fill("A", "BTCUSDT", side, quantity, price)
        bucket = after.buckets.row(0)
        numbers = got.numbers
        assert float(numbers["equity_after"]) == pytest.approx(float(bucket["equity"]), rel=1e-12, abs=1e-9)
        assert float(numbers["initial_margin_after"]) == pytest.approx(float(bucket["initial_margin"]), rel=1e-12)
        assert got.allowed == (quantity <= verdict.max_quantity)
        before = next((q for _, s, q, _ in held[: len(snapshot["positions"])] if s == "BTCUSDT"), 0)
        signed = quantity if side == "buy" else -quantity
        if got.code == "margin_insufficient":
            assert numbers["available_after"] < 0
        if got.allowed and abs(before + signed) > abs(before):
            assert numbers["available_after"] >= 0
            assert bucket["state"] == "healthy"


def test_many_orders_at_once():
    policy, evaluation = one()
    columns = {
        "account": ["A", "A", "B"],
        "instrument": ["BTCUSDT"] * 3,
        "side": ["buy"] * 3,
        "quantity": [0.2, 0.3, 1],
    }
    table = policy.check_orders(evaluation, columns)
    assert table["code"].tolist() == ["allowed", "margin_insufficient", "account_unknown"]
    assert table["allowed"].tolist() == [True, False, False]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    assert policy.check_orders(evaluation, rows)["code"].tolist() == table["code"].tolist()
    with pytest.raises(rp.QueryError, match="did you mean `quantity`"):
        policy.check_orders(evaluation, [{**rows[0], "quantiti": 1}])
    with pytest.raises(rp.QueryError, match="lacks `side`"):
        policy.check_orders(evaluation, [{"account": "A", "instrument": "BTCUSDT", "quantity": 1}])


@pytest.mark.parametrize("seed", range(12))
def test_the_gate_says_what_the_exact_check_says(seed):
    """On random accounts and on orders at, just above and just below the largest that passes."""
    rng = random.Random(100 + seed)
    payoff, rate = rng.choice(["linear", "inverse"]), rng.choice(["bracket", "step", "linear", "square_root"])
    ruleset = venue.base()
    table = {"id": "btc", "key": rng.choice(["notional", "coin", "contracts"]), "rate": rate}
    if rate in ("bracket", "step"):
        table |= {"columns": ["up_to", "maintenance", "max_leverage"]}
        table["rows"] = [[20, "1%", 50], [60, "2%", 20], [200, "5%", 10]]
    else:
        curve = {"base": "1%", "slope" if rate == "linear" else "factor": 0.0001}
        table |= {"maintenance": curve, "initial": {**curve, "base": "3%"}, "max_leverage": 20}
    ruleset["margin"] = {"initial": "max(notional * initial_rate, notional / leverage)", "tiers": [table]}
    size = 1 if payoff == "linear" else 10000
    group = {**ruleset["instruments"][0], "payoff": payoff, "contract_size": size, "lot": 0.1, "tick": 0.5}
    ruleset["instruments"] = [group, {**group, "symbols": ["ETHUSDT"]}]
    policy = venue.policy(ruleset)
    accounts = [f"a{k}" for k in range(8)]
    positions = [
        {"account": a, "instrument": s, "quantity": rng.choice([-1, 1]) * rng.randint(1, 400) / 10,
         "entry_price": rng.randint(180, 220) / 2, "leverage": rng.choice([None, 5, 10])}
        for a in accounts for s in ("BTCUSDT", "ETHUSDT") if rng.random() < 0.6
    ]  # fmt: skip
    tables = venue.cross([], {a: rng.randint(1, 400) for a in accounts}, {"BTCUSDT": 100, "ETHUSDT": 103})
    evaluation = policy.evaluate({**tables, "positions": positions})
    gate = policy.gate(evaluation)
    for account in [*accounts, "nobody"]:
        for side in ("buy", "sell"):
            price = rng.choice([None, 100, 99.5, 104.0, "101.5", 100.3, -1])
            first = policy.check(evaluation, account, "BTCUSDT", side, 1, price)
            largest = float(first.max_quantity)
            for quantity in (1, largest, largest + 0.1, largest - 0.1, rng.randint(1, 500) / 10, 0, 0.05, "2.5", "x"):
                wanted = policy.check(evaluation, account, "BTCUSDT", side, quantity, price)
                got = gate(account, "BTCUSDT", side, quantity, price)
                assert (got.code, got.rule) == (wanted.code, wanted.rule), (account, side, quantity, price)
                assert got.message == wanted.message
                assert got.numbers == wanted.numbers


def test_a_gate_that_can_not_be_compiled_asks_the_exact_check():
    policy, evaluation = one(1000, rounding="up")
    gate = policy.gate(evaluation)
    assert gate("A", "BTCUSDT", "buy", "0.2").code == "allowed"
    assert gate("A", "BTCUSDT", "buy", "0.201").code == "margin_insufficient"


@pytest.mark.parametrize(
    ("state", "buys", "sells"),
    [
        ("open", "allowed", "allowed"),
        ("reduce_only", "market_reduce_only", "allowed"),
        ("delisting", "market_reduce_only", "allowed"),
        ("halted", "market_halted", "market_halted"),
    ],
)
def test_the_state_of_the_market_counts(state, buys, sells):
    policy, _ = one()
    tables = venue.cross([("A", "BTCUSDT", 1, 50000)], {"A": 9000}, {"BTCUSDT": 50000})
    tables["markets"][0]["market_state"] = state
    evaluation = policy.evaluate(tables)
    gate = policy.gate(evaluation)
    for side, wanted in (("buy", buys), ("sell", sells)):
        assert policy.check(evaluation, "A", "BTCUSDT", side, "0.1").code == wanted
        assert gate("A", "BTCUSDT", side, "0.1").code == wanted


@pytest.mark.parametrize(
    "arguments",
    [
        ("A", "BTCUSDT", "buy", "0_1"), ("A", "BTCUSDT", "buy", "\uff11"), ("A", "BTCUSDT", "buy", "0.1", "5_0000"),
        (None, "BTCUSDT", "buy", 1), (["A"], "BTCUSDT", "buy", 1), ("A", ["BTCUSDT"], "buy", 1),
        ("A", "BTCUSDT", [], 1),
        (1.5, "BTCUSDT", "buy", 1), ("A", "BTCUSDT", "buy", [1]), ("A", "BTCUSDT", "buy", 1, "many"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_by_gate_and_check_alike(arguments):
    policy, evaluation = one()
    verdict = policy.check(evaluation, *arguments)
    assert not verdict.allowed
    assert policy.gate(evaluation)(*arguments).code == verdict.code
