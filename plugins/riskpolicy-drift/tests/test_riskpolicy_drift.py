"""Drift: the fee structure worked by hand, and the laws."""

import riskpolicy_drift as drift

from riskpolicy.engines.core.fees import FeeDue
from riskpolicy.testing.conformance import conforms


def fee(account, amount, kind="taker"):
    return FeeDue(account, "USDC", amount, kind, "SOL", "fees")


def test_rewards_come_out_of_the_taker_fee():
    plugin = drift.Drift(frozenset({"a"}))
    # The referee gets 5 % back and pays 950; of that the filler gets 95, but the referrer 15 % of 1000.
    assert plugin.split_fees([fee("a", 1000), fee("b", 1000), fee("a", -20, "maker"), fee("a", 40, "liquidation")]) == [
        {"referees": 50, "referrers": 150, "fillers": 95, "fees": 705}, {"fillers": 100, "fees": 900},
        {"fees": -20}, {"fees": 40},
    ]  # fmt: skip


def test_every_part_is_rounded_down_and_nothing_is_lost():
    assert drift.Drift(frozenset({"a"})).split_fees([fee("a", 9)]) == [{"referrers": 1, "fees": 8}]
    # 10.5, so 10 are paid back; a tenth of the 200 that are left, not of 210.
    (parts,) = drift.Drift(frozenset({"a"})).split_fees([fee("a", 210)])
    assert parts == {"referees": 10, "referrers": 31, "fillers": 20, "fees": 149}


def test_it_keeps_its_laws():
    conforms(drift.plugin)
    conforms(drift.Drift(frozenset({"A", "B"})))
