"""Draws planned at the mark: deficits in full, in order, nothing from an empty layer, nothing lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import venue


def amounts(ruleset, snapshot):
    return {r["layer"]: r["amount"] for r in venue.evaluate(ruleset, snapshot).draws.rows()}


def crash(fund, winner=True):
    """Account a lacks 300; account b holds the other side with a profit of 100 if it is there."""
    positions = [("a", "BTCUSDT", 1, 50400)] + ([("b", "BTCUSDT", -1, 50100)] if winner else [])
    balances = {"a": 100, "b": 1000}
    funds = [] if fund is None else [{"fund": "main", "currency": "USDT", "balance": fund}]
    return venue.cross(positions, balances, {"BTCUSDT": 50000}, funds=funds)


@pytest.mark.parametrize(
    ("fund", "winner", "wanted"),
    [
        (1000, True, ("300", "0", "0")),
        (300, True, ("300", "0", "0")),
        (250, True, ("250", "50", "0")),
        (150, True, ("150", "100", "50")),
        (0, True, ("0", "100", "200")),
        (0, False, ("0", "0", "300")),
        (None, True, (None, None, None)),
    ],
)
def test_layers_pay_in_order(fund, winner, wanted):
    assert amounts(venue.base(), crash(fund, winner)) == dict(zip(("fund", "adl", "end"), wanted, strict=True))


def test_a_missing_balance_is_unknown_only_where_it_matters():
    snapshot = venue.cross([("a", "BTCUSDT", 1, 50000)], {"a": 1000}, {"BTCUSDT": 50000})
    assert set(amounts(venue.base(), snapshot).values()) == {"0"}


@pytest.mark.parametrize(("fund", "wanted"), [(299, "0"), (300, "300")])
def test_all_or_nothing(fund, wanted):
    ruleset = venue.base()
    ruleset["waterfall"][1]["draw"] = "all_or_nothing"
    assert amounts(ruleset, crash(fund))["fund"] == wanted


def test_the_defaulters_own_margin_is_spent_before_there_is_a_deficit():
    assert "own_margin" not in amounts(venue.base(), crash(1000))


@given(st.lists(st.integers(-500, 500), min_size=1, max_size=6), st.integers(0, 800))
def test_draws_sum_to_the_deficits(balances, fund):
    accounts = {f"a{i}": b for i, b in enumerate(balances)}
    funds = [{"fund": "main", "currency": "USDT", "balance": fund}]
    rows = venue.cross([], accounts, {}, funds=funds)
    drawn = {k: float(v) for k, v in amounts(venue.base(), rows).items()}
    deficit = sum(-b for b in balances if b < 0)
    assert sum(drawn.values()) == deficit
    assert drawn["fund"] == min(fund, deficit)


def test_explain_names_who_pays_for_a_bucket():
    policy = venue.policy(venue.base())
    evaluation = policy.evaluate(crash(250))
    (reason,) = policy.explain(evaluation, "a")
    said = [(r.statement, r.rule) for r in reason.children]
    assert ("fund pays 250 USDT", "waterfall.fund") in said
    assert ("adl pays 50 USDT", "waterfall.adl") in said
