"""States, the order in which buckets are liquidated, and the step that is due."""

import pytest

import riskpolicy as rp
from tests import venue


def test_liquidatable_buckets_are_ordered_by_the_declared_keys():
    positions = [(a, "BTCUSDT", 1, 50000) for a in "abcde"]
    balances = {"a": 150, "b": 1000, "c": -10, "d": 100, "e": -20}
    evaluation = venue.evaluate(venue.base(), venue.cross(positions, balances, {"BTCUSDT": 50000}))
    ranks = {r["account"]: (r["state"], r["liquidation_rank"]) for r in evaluation.buckets.rows()}
    assert ranks == {
        "e": ("bankrupt", 1),
        "c": ("bankrupt", 2),
        "d": ("liquidatable", 3),
        "a": ("liquidatable", 4),
        "b": ("healthy", None),
    }


def test_another_order_can_be_declared_and_ties_go_to_the_account():
    ruleset = venue.base()
    ruleset["liquidation"]["accounts"] = ["maintenance_margin desc"]
    positions = [("b", "BTCUSDT", 1, 50000), ("a", "BTCUSDT", 1, 50000), ("c", "BTCUSDT", 2, 50000)]
    evaluation = venue.evaluate(ruleset, venue.cross(positions, {"a": 1, "b": 0, "c": 5}, {"BTCUSDT": 50000}))
    assert {r["account"]: r["liquidation_rank"] for r in evaluation.buckets.rows()} == {"c": 1, "a": 2, "b": 3}
    assert "liquidation.accounts" not in evaluation.not_stated


def test_restricted_only_where_declared():
    snapshot = venue.cross([("a", "BTCUSDT", 1, 50000)], {"a": 300}, {"BTCUSDT": 50000})
    assert venue.evaluate(venue.base(), snapshot).buckets.row(0)["state"] == "healthy"
    ruleset = venue.base()
    ruleset["liquidation"]["restricted"] = "equity < initial_margin"
    row = venue.evaluate(ruleset, snapshot).buckets.row(0)
    assert row["state"] == "restricted"
    assert row["rules"] == ["liquidation.trigger", "liquidation.restricted"]


def test_a_bucket_without_positions_is_healthy_or_bankrupt():
    evaluation = venue.evaluate(venue.base(), venue.cross([], {"a": 5, "b": -5, "c": 0}, {}))
    assert [r["state"] for r in evaluation.buckets.rows()] == ["healthy", "bankrupt", "healthy"]
    assert [r["margin_ratio"] for r in evaluation.buckets.rows()] == [0, 0, 0]


@pytest.mark.parametrize(
    ("margin", "state", "step"),
    [
        (1000, "healthy", None),
        (499.9, "liquidatable", "book"),
        (333.4, "liquidatable", "book"),
        (333.3, "liquidatable", "backstop"),
        (-1, "bankrupt", "backstop"),
    ],
)
def test_hyperliquid_hands_over_to_the_backstop_below_two_thirds_of_maintenance(margin, state, step):
    position = {"account": "a", "instrument": "BTC", "quantity": 1, "entry_price": 50000}
    position |= {"margin_mode": "isolated", "isolated_margin": margin}
    snapshot = {"positions": [position], "markets": [{"instrument": "BTC", "mark_price": 50000}]}
    row = rp.load("hyperliquid@2024-06-01").evaluate(snapshot).buckets.row(0)
    assert row["state"] == state
    assert row["rules"][-1] == (f"liquidation.steps.{step}" if step else "liquidation.trigger")


def test_a_bucket_for_which_no_step_is_open_says_so():
    ruleset = venue.base()
    ruleset["liquidation"]["steps"] = [{"id": "late", "do": "deleverage", "when": "equity < 0"}]
    ruleset["liquidation"]["restricted"] = "equity < initial_margin"
    snapshot = venue.cross([("a", "BTCUSDT", 1, 50000)], {"a": 150}, {"BTCUSDT": 50000})
    policy = venue.policy(ruleset)
    evaluation = policy.evaluate(snapshot)
    row = evaluation.buckets.row(0)
    assert (row["state"], row["rules"]) == ("liquidatable", ["liquidation.trigger", "liquidation.accounts"])
    (reason,) = policy.explain(evaluation, "a")
    assert "no liquidation step is open at this mark" in [r.statement for r in reason.children]


def test_a_step_may_ask_for_the_state():
    ruleset = venue.base()
    ruleset["liquidation"]["steps"] = [
        {"id": "book", "do": "immediate_or_cancel", "price": "bankruptcy_price"},
        {"id": "fund", "do": "takeover", "by": "main", "price": "mark_price", "when": "state in (bankrupt)"},
    ]
    snapshot = venue.cross([(a, "BTCUSDT", 1, 50000) for a in "ab"], {"a": 150, "b": -1}, {"BTCUSDT": 50000})
    rules = [row["rules"][-1] for row in venue.evaluate(ruleset, snapshot).buckets.rows()]
    assert rules == ["liquidation.steps.book", "liquidation.steps.fund"]


def test_a_trigger_can_not_ask_for_the_state_that_it_decides():
    ruleset = venue.base()
    ruleset["liquidation"]["trigger"] = "state in (bankrupt)"
    with pytest.raises(rp.RulesetError) as error:
        venue.evaluate(ruleset, venue.cross([], {}, {}))
    assert [f.code for f in error.value.findings] == ["unknown_name"]
