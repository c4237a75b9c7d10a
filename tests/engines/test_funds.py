"""Funds: targets by exact arithmetic, refill at its boundary, riders, validity, haircuts that sum exactly."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskpolicy.engines.funds import (
    bankruptcy_value,
    daily_notional,
    fund_delta,
    fund_report,
    gate_holds,
    haircut,
    valid_delta,
)
from riskpolicy.errors import SnapshotError
from tests import venue

F = Fraction


def ruleset(target=None, **fund):
    made = venue.base()
    made["currencies"] = {"USDT": {"quantum": 0.01}}
    made["instruments"][0]["symbols"] = ["BTCUSDT", "ETHUSDT"]
    made["funds"] = [{"id": "main", "currency": "USDT", **({} if target is None else {"target": target}), **fund}]
    return made


def evaluated(made, balance: object = 1000, **cells):
    rows = [
        ("A", "BTCUSDT", 2, 1000),
        ("B", "BTCUSDT", -2, 1000),
        ("B", "ETHUSDT", 10, 100),
        ("Z", "ETHUSDT", -10, 100),
    ]
    tables = venue.cross(rows, {"A": 5000, "B": 5000, "Z": -1234.5}, {"BTCUSDT": 1000, "ETHUSDT": 100})
    more = ({"open_interest": 2, "daily_volume": 30, "realized_volatility": 0.02},
            {"open_interest": 10, "daily_volume": 50, "realized_volatility": 0.05})  # fmt: skip
    tables["markets"] = [{**m, **own} for m, own in zip(tables["markets"], more, strict=True)]
    if balance is not None:
        tables["funds"] = [{"fund": "main", "currency": "USDT", "balance": balance, **cells}]
    return venue.evaluate(made, tables)


# Open interest 2 x 1000 + 10 x 100; volume 30,000 + 5,000; volatility (2000 x 2 % + 1000 x 5 %) / 3000; Z lacks 1234.5.
@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        ("0.5 * open_interest", 1500), ("daily_volume", 35000), ("open_interest * realized_volatility * 10", 900),
        ("max(deficit, 100 * settle)", F("1234.5")), ("0.3 * balance", 300), ("peak_8h - average_8h", 200),
    ],
)  # fmt: skip
def test_a_target_is_its_expression_over_the_funds_numbers(target, wanted):
    (line,) = fund_report(evaluated(ruleset(target), peak_8h=1100, average_8h=900))
    assert (line.fund, line.balance, line.target, line.rule) == ("main", 1000, wanted, "funds.main.target")
    assert line.lack == max(0, wanted - 1000)


@pytest.mark.parametrize(("balance", "due"), [(799.99, True), (800, False), (1000, False), (None, None)])
def test_a_refill_is_due_below_its_part_of_the_target(balance, due):
    made = ruleset("1000 * settle", refill={"below": "80%", "share": "25%"})
    (line,) = fund_report(evaluated(made, balance))
    assert (line.refill_below, line.refill_due) == (800, due)
    assert line.refill_share == (F(1, 4) if due else 0)
    assert line.lack == (None if balance is None else max(0, 1000 - F(str(balance))))


def test_a_fund_without_a_target_lacks_nothing_that_is_known():
    (line,) = fund_report(evaluated(ruleset()))
    assert (line.target, line.lack, line.refill_due, line.riders) == (None, None, False, ())


def test_a_fund_of_no_instrument_has_those_of_its_currency():
    made = ruleset("open_interest")
    del made["instruments"][0]["fund"]
    assert fund_report(evaluated(made))[0].target == 3000


def test_open_interest_is_the_longs_of_a_complete_snapshot():
    made, rows = ruleset("open_interest"), [("A", "BTCUSDT", 2, 1000), ("B", "BTCUSDT", -2, 1000)]
    tables = venue.cross(rows, {"A": 5000, "B": 5000}, {"BTCUSDT": 1000})
    assert fund_report(venue.evaluate(made, {**tables, "complete": True}))[0].target == 2000
    with pytest.raises(SnapshotError, match="`open_interest` in `markets`") as caught:
        fund_report(venue.evaluate(made, tables))
    assert caught.value.codes == ("missing_value",)


@pytest.mark.parametrize(
    ("target", "code"), [("peak_8h", "missing_value"), ("balance - 2000 * settle", "expression_value")]
)
def test_a_target_that_has_no_number_is_refused(target, code):
    with pytest.raises(SnapshotError) as caught:
        fund_report(evaluated(ruleset(target)))
    assert caught.value.codes == (code,)


def test_riders_take_their_rate_of_every_accounts_base():
    riders = [
        {"id": "size", "rate": "0.1%", "base": "notional"},
        {"id": "back", "rate": "10%", "base": "maintenance_margin", "refundable": True},
    ]
    (line,) = fund_report(evaluated(ruleset(riders=riders)))
    # Maintenance is 0.4 % of the notional; B has both positions.
    assert [(r.account, r.rule.split(".")[-1], r.base, r.amount, r.refundable) for r in line.riders] == [
        ("A", "size", 2000, 2, False), ("B", "size", 3000, 3, False), ("Z", "size", 1000, 1, False),
        ("A", "back", 8, F("0.8"), True), ("B", "back", 12, F("1.2"), True), ("Z", "back", 4, F("0.4"), True),
    ]  # fmt: skip
    assert line.to_dict()["riders"][1] == {
        "account": "B", "base": "3000", "amount": "3", "refundable": False, "rule": "funds.main.riders.size",
    }  # fmt: skip


def test_a_rider_counts_positions_in_the_funds_own_instruments():
    made = ruleset(riders=[{"id": "size", "rate": "1%", "base": "notional"}])
    other = {**made["instruments"][0], "symbols": ["ETHUSDT"], "fund": "eth"}
    made["instruments"][0]["symbols"] = ["BTCUSDT"]
    made["instruments"].append(other)
    made["funds"].append({"id": "eth", "currency": "USDT", "target": "open_interest"})
    main, eth = fund_report(evaluated(made))
    assert [(r.account, r.base) for r in main.riders] == [("A", 2000), ("B", 2000)]
    assert eth.target == 1000


def test_a_gate_is_a_condition_on_the_fund():
    staking = {"cooldown_seconds": 60, "gate": "balance < 0.9 * peak_8h"}
    assert gate_holds(evaluated(ruleset(staking=staking), 899, peak_8h=1000), 0)
    assert not gate_holds(evaluated(ruleset(staking=staking), 900, peak_8h=1000), 0)
    assert not gate_holds(evaluated(ruleset()), 0)


def test_a_days_notional_is_the_volume_at_the_mark():
    assert daily_notional(evaluated(ruleset()), "USDT") == 35000
    assert daily_notional(evaluated(ruleset()), "BTC") is None


def test_a_bucket_without_maintenance_has_no_bankruptcy_value():
    with pytest.raises(ValueError, match="without maintenance margin"):
        bankruptcy_value(-100, 1, 0, 0)


@given(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9), st.integers(0, 10**6))
def test_a_fund_gets_at_most_the_fee_and_pays_all_that_is_lacking(received, bankruptcy, largest):
    delta = fund_delta(received, bankruptcy, largest)
    if received < bankruptcy:
        assert bankruptcy + delta == received
    else:
        assert 0 <= delta <= largest
        assert delta in (largest, received - bankruptcy)


@given(st.integers(0, 10**9), st.integers(-(10**9), 10**9))
def test_a_change_is_valid_where_it_leaves_nothing_below_zero(balance, delta):
    assert valid_delta(balance, delta) == (balance + delta >= 0)


profits = st.lists(st.integers(-1000, 10**6), max_size=8)


@given(profits, st.integers(0, 10**7), st.fractions(0, 1, max_denominator=100))
def test_a_haircut_sums_exactly_and_never_takes_more_than_profit(values, loss, least):
    given_, over, unpaid = haircut(values, loss, least)
    able = [max(0, v) for v in values]
    assert sum(given_) + unpaid == loss + over
    assert all(0 <= g <= a for g, a in zip(given_, able, strict=True))
    assert not (over and unpaid)
    if loss and sum(able):
        fraction = min(F(1), max(F(loss, sum(able)), least))
        # The largest remainder: nobody is more than a quantum from the fraction that all give.
        assert all(abs(g - fraction * a) <= 1 for g, a in zip(given_, able, strict=True))
        assert unpaid == max(0, loss - sum(able))
    else:
        assert (sum(given_), unpaid) == (0, loss)
