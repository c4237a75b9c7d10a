"""dYdX: the walk worked by hand, the order of fee shares, and the laws."""

from fractions import Fraction

import riskpolicy_dydx as dydx

from riskpolicy.engines.core.adl import Candidate, Demand
from riskpolicy.engines.core.fees import FeeDue
from riskpolicy.testing.conformance import conforms

F = Fraction


def demand(contracts, **more):
    return Demand("BTC", "long", F(contracts), F(90), F(100), F(1), F(1), False, F(0), **more)


def candidate(account, contracts, equity=1000):
    size = F(contracts)
    return Candidate(account, size, size, F(50), size * 50, size * 100, F(equity), F(0), None, 1)


def test_it_walks_from_the_start_and_round():
    people = [candidate(name, 3) for name in "abcd"]
    first = dydx.start(demand(7), 4)
    found = dydx.plugin.allocate_adl(demand(7), people)
    assert [found.given[(first + k) % 4] for k in range(4)] == [3, 3, 1, 0]


def test_who_would_be_below_zero_is_passed_over():
    # Three contracts cost 30.
    people = [candidate("a", 3, equity=29), candidate("b", 3, equity=30)]
    found = dydx.plugin.allocate_adl(demand(6), people)
    assert found.given == (0, 3)
    assert found.skipped[0] == "bankruptcy prices do not overlap"
    assert found.remaining == 3


def test_no_more_than_500_are_tried():
    people = [candidate(f"{k:04}", 1, equity=0) for k in range(600)]
    found = dydx.plugin.allocate_adl(demand(5), people)
    assert found.skipped.count("not reached") == 100


def fee(account, amount, kind="taker"):
    return FeeDue(account, "USDC", amount, kind, "BTC", "fees")


def test_shares_go_in_their_order():
    plugin = dydx.Dydx(frozenset({"a"}), F("0.15"), F("0.10"), {"foundation": F("0.20")}, F("0.10"))
    affiliate, router, maker = plugin.split_fees([fee("a", 1000), fee("b", 1000), fee("a", -7, "maker")])
    # 150 to the affiliate, then of 850 a fifth and a tenth.
    assert affiliate == {"affiliates": 150, "foundation": 170, "market_mapper": 85, "fees": 595}
    assert router == {"order_router": 100, "foundation": 180, "market_mapper": 90, "fees": 630}
    assert maker == {"fees": -7}


def test_it_keeps_its_laws():
    conforms(dydx.plugin)
    conforms(dydx.Dydx(frozenset({"A"}), F("0.15"), F("0.10"), {"foundation": F("0.20")}, F("0.10")))
