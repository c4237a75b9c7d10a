"""Hyperliquid: the index worked by hand, the split, and the laws."""

from fractions import Fraction

import riskpolicy_hyperliquid as hyperliquid

from riskpolicy.engines.core.adl import Candidate, Demand
from riskpolicy.engines.core.fees import FeeDue
from riskpolicy.testing.conformance import conforms

F = Fraction


def scores(*candidates):
    demand = Demand("BTC", "long", F(1), F(90), F(100), F(1), F(1), False, F(0))
    return list(hyperliquid.plugin.rank_adl(demand, candidates))


def candidate(entry, equity, contracts=2):
    size, entry = F(contracts), F(entry)
    return Candidate("a", size, size, entry, size * (100 - entry), size * 100, F(equity), F(0), None, 1)


def test_the_index_is_as_printed():
    # 100 / 80 x 200 / 50 and 100 / 50 x 200 / 400.
    assert scores(candidate(80, 50), candidate(50, 400)) == [5, 1]


def test_who_has_no_profit_comes_after_all_who_have():
    assert scores(candidate(100, 50), candidate(120, 50), candidate(80, 0)) == [-1, -1, -1]


def test_the_vault_gets_seven_hundredths_rounded_down():
    fees = [FeeDue("a", "USDC", amount, "taker", None, "fees") for amount in (1000, 13, -5)]
    assert hyperliquid.plugin.split_fees(fees) == [
        {"vault": 70, "assistance_fund": 930}, {"vault": 0, "assistance_fund": 13}, {"vault": 0, "assistance_fund": -5},
    ]  # fmt: skip


def test_it_keeps_its_laws():
    conforms(hyperliquid.plugin)
