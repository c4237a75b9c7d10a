"""Explanations are exact, name every rule, and every rule they name has a place in the file."""

import pytest

import riskpolicy as rp
from tests import venue


def everything(reason):
    yield reason
    for child in reason.children:
        yield from everything(child)


@pytest.fixture
def bankrupt():
    policy = rp.load("hyperliquid@2024-06-01")
    position = {"account": "a", "instrument": "BTC", "quantity": "0.3", "entry_price": "50000.1"}
    snapshot = venue.cross([], {"a": "-0.1"}, {"BTC": 0.1}, currency="USDC")
    snapshot["positions"] = [position]
    snapshot["funds"] = [{"fund": "hlp", "currency": "USDC", "balance": 10}]
    return policy, policy.evaluate(snapshot)


def test_amounts_are_exact(bankrupt):
    policy, evaluation = bankrupt
    (reason,) = policy.explain(evaluation, "a")
    said = "\n".join(r.statement for r in everything(reason))
    assert "0.3 contracts x (0.1 mark - 50000.1 entry) = -15000 USDC" in said
    assert "equity -15000.1 USDC" in said
    assert "maintenance margin 0.0003 USDC" in said
    assert "bankrupt, with a deficit of 15000.1 USDC" in said


def test_every_rule_named_has_a_place(bankrupt):
    policy, evaluation = bankrupt
    (reason,) = policy.explain(evaluation, "a")
    rules = {r.rule for r in everything(reason) if r.rule}
    assert {"liquidation.trigger", "liquidation.steps.backstop", "waterfall.vault", "deleveraging.score"} <= rules
    for rule in rules:
        place = policy.place(rule)
        last = rule.rpartition(".")[2]
        assert last in place.text or "margin.tiers" in rule, (rule, place)
    assert "unlimited, 50" in policy.place("margin.tiers.x50.unlimited").text


def test_every_bucket_of_the_account_is_explained():
    policy = venue.policy(venue.base())
    snapshot = venue.cross([("a", "BTCUSDT", 1, 50000)], {"a": 7}, {"BTCUSDT": 50000})
    snapshot["positions"][0].update(margin_mode="isolated", isolated_margin=500)
    reasons = policy.explain(policy.evaluate(snapshot), "a")
    assert [r.statement for r in reasons] == [
        "account a, USDT cross: healthy",
        "account a, USDT isolated BTCUSDT: healthy",
    ]


def test_an_unknown_account_is_suggested(bankrupt):
    policy, _ = bankrupt
    evaluation = policy.evaluate(venue.cross([], {"alpha": 1}, {}, currency="USDC"))
    with pytest.raises(rp.QueryError, match="did you mean `alpha`"):
        policy.explain(evaluation, "alhpa")


@pytest.mark.parametrize(
    "rule", ["nonsense.id", "liquidation.steps.nowhere", "margin.tiers.x50.7", "liquidation.trigger.x"]
)
def test_a_rule_that_does_not_exist_has_no_place(rule):
    with pytest.raises(rp.QueryError, match="no rule"):
        rp.load("hyperliquid@2024-06-01").place(rule)
