"""dYdX: the walk worked by hand, the order of fee shares, and the laws."""

from dataclasses import replace
from fractions import Fraction

import pytest
import riskpolicy_dydx as dydx
from hypothesis import given, settings
from hypothesis import strategies as st

from riskpolicy.engines.core.adl import Candidate, Demand
from riskpolicy.engines.core.fees import FeeDue
from riskpolicy.engines.policies.queues import drawn
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


@pytest.mark.parametrize(
    ("mark", "price", "equity", "left"),
    [(50000, 54999, 100000, 104999), (50000, 50000, -1, None)],
    ids=["dydx-deleverage", "dydx-deleverage-no-overlap"],
)
def test_published_examples(mark, price, equity, left):
    # dYdX v4 chain, public unit tests: shorts of 1 with 54999 and 50000 against longs of 1 with 50000 and -50001.
    asked = replace(demand(1), price=F(price), mark_price=F(mark))
    held = Candidate("a", F(1), F(1), F(50000), F(0), F(50000), F(equity), F(0), None, 1)
    found = dydx.plugin.allocate_adl(asked, [held])
    if left is None:
        assert (found.given, found.skipped) == ((0,), ("bankruptcy prices do not overlap",))
    else:
        assert found.given == (1,)
        assert equity - asked.lost(found.given[0]) == left


def test_who_closes_in_part_is_not_left_at_more_risk():
    # A contract loses 10. One of three leaves 19 of 29 for two: 9.5 for each, less than the 9.67 before.
    assert dydx.plugin.allocate_adl(demand(1), [candidate("a", 3, equity=29)]).given == (0,)
    assert dydx.plugin.allocate_adl(demand(1), [candidate("a", 3, equity=30)]).given == (1,)
    # With initial margins of 2 % the two need 4; with 10 % they need 20.
    people = [candidate("a", 3, equity=29)]
    assert dydx.Dydx(initial_margin={"BTC": F("0.02")}).allocate_adl(demand(1), people).given == (1,)
    assert dydx.Dydx(initial_margin={"BTC": F("0.10")}).allocate_adl(demand(1), people).given == (0,)
    assert dydx.Dydx(initial_margin={"BTC": F("0.095")}).allocate_adl(demand(1), people).given == (1,), "19 of 19"
    assert dydx.Dydx(initial_margin={"ETH": F("0.02")}).allocate_adl(demand(1), people).given == (0,)


def protocol(base, quote, mark, price, size, initial, maintenance):
    """Whether a long may sell: enough for the initial margin after it, else no riskier and no more margin needed."""

    def risk(base, quote):
        return quote + base * mark, base * mark * initial, base * mark * maintenance

    (now, _, now_needs), (then, then_initial, then_needs) = risk(base, quote), risk(base - size, quote + size * price)
    if then >= then_initial:
        return True
    # Collateral over maintenance margin may not fall; closed, below zero, it has no such ratio.
    return then_needs > 0 and then * now_needs >= now * then_needs


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 20), st.integers(-10, 400), st.integers(1, 20), st.sampled_from([70, 90, 95, 100, 105]),
    st.sampled_from([F("0.02"), F("0.05"), F("0.2"), F(1)]),
)  # fmt: skip
def test_it_passes_over_whom_the_protocol_passes_over(base, equity, asked, price, initial):
    held, size = candidate("a", base, equity), min(base, asked)
    of = replace(demand(asked), price=F(price))
    allowed = protocol(base, equity - base * 100, 100, price, size, initial, initial * F(3, 5))
    assert bool(dydx.Dydx(initial_margin={"BTC": initial}).allocate_adl(of, [held]).given[0]) == allowed
    if dydx.plugin.allocate_adl(of, [held]).given[0]:
        assert allowed, "without initial margins only who is left no riskier is taken"


@given(st.integers(0, 9), st.integers(0, 9), st.sampled_from(["long", "short"]), st.integers(1, 1000))
def test_it_starts_where_the_built_in_walk_starts(seed, event, side, count):
    of = replace(demand(1, seed=seed, event=event), side=side)
    assert dydx.start(of, count) == drawn(of, count)


def test_no_more_than_500_are_tried():
    people = [candidate(f"{k:04}", 1, equity=0) for k in range(600)]
    found = dydx.plugin.allocate_adl(demand(5), people)
    assert found.skipped.count("not reached") == 100


def fee(account, amount, kind="taker"):
    return FeeDue(account, "USDC", amount, kind, "BTC", "fees")


def test_shares_go_in_their_order():
    plugin = dydx.Dydx(frozenset({"a"}), F("0.15"), F("0.10"), {"foundation": F("0.20")}, F("0.10"))
    affiliate, router, rebate, maker = plugin.split_fees(
        [fee("a", 1000), fee("b", 1000), fee("a", -7, "maker"), fee("a", 1000, "maker")]
    )
    # 150 to the affiliate, then of 850 a fifth and a tenth.
    assert affiliate == {"affiliates": 150, "foundation": 170, "market_mapper": 85, "fees": 595}
    assert router == {"order_router": 100, "foundation": 180, "market_mapper": 90, "fees": 630}
    assert rebate == {"fees": -7}
    assert maker == router, "an affiliate has a share of taker fees only"


def test_a_liquidation_fee_is_the_insurance_funds():
    plugin = dydx.Dydx(frozenset({"a"}), F("0.15"), F("0.10"), {"foundation": F("0.20")}, F("0.10"))
    assert plugin.split_fees([fee("a", 1000, "liquidation")]) == [{"insurance": 1000}]


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        ({"affiliate_share": F(15)}, "a part of 1"),
        ({"router_share": F(-1, 10)}, "a part of 1"),
        ({"unconditional": {"x": F("0.6"), "y": F("0.3")}, "mapper_share": F("0.2")}, "all of the remainder or more"),
        ({"unconditional": {"x": F("0.8")}, "mapper_share": F("0.2")}, "all of the remainder or more"),
        ({"initial_margin": {"BTC": F(0)}}, "above zero"),
        ({"initial_margin": {"BTC": F(2)}}, "above zero"),
        ({"unconditional": {"fees": F("0.1")}}, "`fees` is a receiver of its own"),
    ],
)
def test_shares_that_cannot_be_are_refused(shares, says):
    with pytest.raises(ValueError, match=says):
        dydx.Dydx(**shares)


def test_it_keeps_its_laws():
    conforms(dydx.plugin)
    conforms(dydx.Dydx(frozenset({"A"}), F("0.15"), F("0.10"), {"foundation": F("0.20")}, F("0.10")))
    conforms(dydx.Dydx(initial_margin={"BTC": F("0.05")}))
