"""Funding: rates by formula, cap and basis, payments, and warnings worked by hand and against plain arithmetic."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskpolicy.engines.funding import basis_price, funding_rate, funding_warnings, market_rate, payment, signed_value
from tests import venue

F = Fraction


def ruleset(rate="1%", **funding):
    made = venue.tiers([["unlimited", rate]])
    made["currencies"]["USDT"]["quantum"] = 0.01
    made["funding"] = {"interest": "0.01%", "clamp": "0.05%", **funding}
    return made


def plan(**funding):
    return venue.policy(ruleset(**funding)).plan


# OKX: (P + clamp(I - P, +-0.05%)) / (8 / hours); within the clamp the rate is the interest; then caps.
@pytest.mark.parametrize(
    ("funding", "premium", "rate"),
    [
        ({}, "0.0001", "0.0001"), ({}, "0.0006", "0.0001"), ({}, "0.0007", "0.0002"), ({}, "-0.0004", "0.0001"),
        ({}, "-0.0005", "0"), ({"interval_hours": 1}, "0.001", "0.0000625"), ({"cap": "0.02%"}, "0.01", "0.0002"),
        ({"cap": "0.02%"}, "-0.01", "-0.0002"), ({"formula": "plain"}, "0.001", "0.0011"),
        ({"formula": "dead_band", "dead_band": "0.025%"}, "0.001", "0.00075"),
        ({"formula": "dead_band", "dead_band": "0.025%"}, "0.0002", "0"),
        ({"formula": "dead_band", "dead_band": "0.025%"}, "-0.001", "-0.00075"),
    ],
)  # fmt: skip
def test_rates_by_formula_and_cap(funding, premium, rate):
    assert funding_rate(plan(**funding), 0, premium=F(premium)) == F(rate)


def test_without_a_premium_mark_and_index_make_one():
    rules = plan(formula="plain", interest="0%")
    assert funding_rate(rules, 0, mark=F(102), index=F(100)) == F(1, 50)
    assert funding_rate(rules, 0, premium=F(1, 100), mark=F(102), index=F(100)) == F(1, 100)
    assert funding_rate(rules, 0, mark=F(102)) is None
    assert funding_rate(venue.policy(venue.base()).plan, 0, premium=F(1)) is None


@pytest.mark.parametrize(("value", "rate", "quanta"), [(100, "0.0005", -5), (-100, "0.0005", 5), (100, "-0.00005", 0),
                                                       (30, "0.0005", -2)])  # fmt: skip
def test_above_zero_longs_pay_in_whole_quanta(value, rate, quanta):
    assert payment(F(value), F(rate), F(1, 100)) == quanta


def evaluated(balances, rate="1%", market=None, **funding):
    positions = [(name, "BTCUSDT", size, 100) for name, (size, _) in balances.items()]
    tables = venue.cross(positions, {name: b for name, (_, b) in balances.items()}, {"BTCUSDT": 100})
    tables["markets"][0] |= {"premium": 0.1} if market is None else market
    return venue.evaluate(ruleset(rate, formula="plain", interest="0%", **funding), tables)


def test_a_cap_of_margin_counts_initial_less_maintenance_of_the_first_tier():
    made = ruleset(cap_of_margin="75%", formula="plain", interest="0%")
    made["margin"] |= {"initial": "notional / leverage"}
    made["margin"]["tiers"][0] |= {
        "columns": ["up_to", "maintenance", "max_leverage"],
        "rows": [["unlimited", "1%", 50]],
    }
    assert funding_rate(venue.policy(made).plan, 0, premium=F(1)) == F(3, 4) * (F(1, 50) - F(1, 100))


# 10 contracts at 100 pay 100 of 1000; due are 10, so that the edge of 80 % is at an equity of 12.5.
def test_a_warning_names_who_crosses_the_edge():
    found = funding_warnings(
        evaluated(
            {
                "crosses": (10, 112.49), "stays": (10, 112.50), "was_above": (10, 12.49), "was_at": (10, 12.5),
                "bankrupt": (10, 99), "receives": (-10, 13),
            }
        )
    )  # fmt: skip
    assert [(w.account, w.payment, w.ratio_after) for w in found] == [
        ("bankrupt", -100, float("inf")), ("crosses", -100, F(10) / F("12.49")), ("was_at", -100, float("inf")),
    ]  # fmt: skip
    assert found[1].ratio == F(10) / F("112.49")
    assert (found[1].currency, found[1].instrument, found[1].rule) == ("USDT", None, "funding.warn_above")


def test_a_given_rate_goes_before_the_premium_and_the_basis_is_the_rulesets():
    evaluation = evaluated(
        {"A": (10, 50)}, market={"premium": 0.1, "funding_rate": 0.01, "index_price": 50}, basis="index"
    )
    assert market_rate(evaluation.bound, 0) == F(1, 100)
    assert basis_price(evaluation.bound, 0) == 50
    (warning,) = funding_warnings(
        evaluated({"A": (10, 17)}, market={"funding_rate": 0.01, "index_price": 50}, basis="index")
    )
    assert warning.payment == -5


def test_a_market_without_a_rate_or_basis_pays_nothing():
    assert funding_warnings(evaluated({"A": (10, 13)}, market={})) == []
    assert funding_warnings(evaluated({"A": (10, 13)}, basis="oracle")) == []


def test_a_payment_in_another_currency_counts_at_its_price_in_a_pool():
    made = ruleset(formula="plain", interest="0%")
    made["currencies"]["EUR"] = {"quantum": 0.01}
    made["instruments"].append({**made["instruments"][0], "symbols": ["BTCEUR"], "settle": "EUR"})
    made["instruments"][1].pop("fund")
    made["margin"]["collateral"] = {"currency": "USDT", "pooled": True}
    tables = venue.cross([("A", "BTCEUR", 10, 100)], {"A": 220}, {"BTCEUR": 100}, assets=[{"asset": "EUR", "price": 2}])
    tables["markets"][0]["premium"] = 0.1
    # 10 % of 1000 EUR are 200 USDT; 20 are left, and 20 are due.
    (warning,) = funding_warnings(venue.evaluate(made, tables))
    assert (warning.payment, warning.ratio_after, warning.currency) == (-200, 1, "USDT")


def test_an_inverse_pays_in_coins():
    made = ruleset()
    made["instruments"][0] |= {"payoff": "inverse"}
    assert signed_value(venue.policy(made).plan, 0, F(-100), F(50)) == -2


cents = st.integers(0, 20000).map(lambda x: F(x, 100))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-20, 20).filter(bool), cents), min_size=1, max_size=6), st.integers(-30, 30))
def test_warnings_are_those_of_plain_arithmetic(accounts, percent):
    balances = {f"A{k}": (size, float(balance)) for k, (size, balance) in enumerate(accounts)}
    found = {w.account for w in funding_warnings(evaluated(balances, market={"premium": percent / 100}))}
    wanted = set()
    for name, (size, balance) in balances.items():
        due, before = F(abs(size)), F(str(balance))
        after = before - size * percent
        if due <= F(4, 5) * before and due > F(4, 5) * after:
            wanted.add(name)
    assert found == wanted
