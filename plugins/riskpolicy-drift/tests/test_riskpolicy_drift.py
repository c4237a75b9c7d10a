"""Drift: the fee structure worked by hand, and the laws."""

import riskpolicy_drift as drift

from riskpolicy.engines.core.fees import FeeDue
from riskpolicy.testing.conformance import conforms


def fee(account, amount, kind="taker"):
    return FeeDue(account, "USDC", amount, kind, "SOL", "fees")


def test_rewards_come_out_of_the_taker_fee():
    plugin = drift.Drift(frozenset({"a"}))
    assert plugin.split_fees([fee("a", 1000), fee("b", 1000), fee("a", -20, "maker"), fee("a", 40, "liquidation")]) == [
        {"fillers": 100, "referees": 50, "referrers": 150, "fees": 700}, {"fillers": 100, "fees": 900},
        {"fees": -20}, {"fees": 40},
    ]  # fmt: skip


def test_small_fees_lose_nothing():
    assert drift.Drift(frozenset({"a"})).split_fees([fee("a", 9)]) == [{"referrers": 1, "fees": 8}]


def test_it_keeps_its_laws():
    conforms(drift.plugin)
    conforms(drift.Drift(frozenset({"A", "B"})))
