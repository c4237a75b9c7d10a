"""Ranks within (instrument, side), ties by the account, and lights as venues count them."""

import math
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import riskpolicy as rp
from tests import venue


def ranked(ruleset, positions, marks):
    balances = {p[0]: 10**6 for p in positions}
    rows = venue.evaluate(ruleset, venue.cross(positions, balances, marks)).positions.rows()
    return {r["account"]: (r["adl_rank"], r["adl_light"]) for r in rows}


def test_each_side_has_its_own_queue():
    positions = [("a", "BTCUSDT", 1, 40), ("b", "BTCUSDT", 1, 30), ("c", "BTCUSDT", -1, 60), ("d", "BTCUSDT", -1, 70)]
    got = ranked(venue.base(), positions, {"BTCUSDT": 50})
    assert {k: v[0] for k, v in got.items()} == {"b": 1, "a": 2, "d": 1, "c": 2}


def test_equal_scores_go_to_the_account():
    positions = [(a, "BTCUSDT", 1, 60) for a in "cab"]
    got = ranked(venue.base(), positions, {"BTCUSDT": 50})
    assert {k: v[0] for k, v in got.items()} == {"a": 1, "b": 2, "c": 3}


def test_declared_ties_come_before_the_account():
    ruleset = venue.base()
    ruleset["deleveraging"]["ties"] = ["notional desc", "account"]
    positions = [("a", "BTCUSDT", 1, 60), ("b", "BTCUSDT", 3, 60), ("c", "BTCUSDT", 2, 60)]
    got = ranked(ruleset, positions, {"BTCUSDT": 50})
    assert {k: v[0] for k, v in got.items()} == {"b": 1, "c": 2, "a": 3}


def test_integer_accounts_are_ordered_as_numbers():
    positions = [(a, "BTCUSDT", 1, 60) for a in (10, 9, 100)]
    got = ranked(venue.base(), positions, {"BTCUSDT": 50})
    assert {k: v[0] for k, v in got.items()} == {9: 1, 10: 2, 100: 3}


def test_lights_by_quantity_are_bitmex_s_published_ones():
    """BitMEX's example counts from 20 % (most exposed) to 100 %; our lights count up to the most exposed."""
    ruleset = venue.base()
    ruleset["deleveraging"].update(score="unrealized_pnl / notional", lights={"by": "quantity", "count": 5})
    quantities, scores = [10, 10, 20, 30, 20, 10], [3, 6, 1, 4, 5, 2]
    positions = [(i + 1, "BTCUSDT", q, 100 - s) for i, (q, s) in enumerate(zip(quantities, scores, strict=True))]
    got = ranked(ruleset, positions, {"BTCUSDT": 100})
    order = sorted(got, key=lambda a: got[a][0])
    assert order == [2, 5, 4, 1, 6, 3]
    assert [20 * (6 - got[a][1]) for a in order] == [20, 40, 60, 80, 80, 100]


@given(st.lists(st.sampled_from((1, 2, 3, 7, 0.1, 0.3, 0.7, 0.001, 1e-9)), min_size=1, max_size=30), st.integers(1, 9))
@example([0.1] * 5, 5)
@example([0.7] * 10, 5)
def test_lights_by_quantity_meet_their_edges_exactly_whatever_the_lots(sizes, lights):
    ruleset = venue.base()
    ruleset["deleveraging"]["lights"] = {"count": lights, "by": "quantity"}
    positions = [(i, "BTCUSDT", q * sign, 60 + sign) for sign in (1, -1) for i, q in enumerate(sizes, 100 * sign + 200)]
    got = ranked(ruleset, positions, {"BTCUSDT": 50})
    exact = [Fraction(str(q)) for q in sizes]
    for first in (300, 100):
        shown = [got[first + k][1] for k in range(len(sizes))]
        assert shown == [lights + 1 - math.ceil(sum(exact[: k + 1]) * lights / sum(exact)) for k in range(len(sizes))]


@given(st.integers(1, 30), st.integers(1, 9))
def test_lights_by_accounts_run_from_first_to_last(count, lights):
    ruleset = venue.base()
    ruleset["deleveraging"]["lights"] = {"count": lights, "by": "accounts"}
    got = ranked(ruleset, [(i, "BTCUSDT", 1, 60) for i in range(count)], {"BTCUSDT": 50})
    shown = [got[i][1] for i in range(count)]
    assert shown == [lights - i * lights // count for i in range(count)]
    assert shown[0] == lights
    assert min(shown) >= 1
    assert count < lights or shown[-1] == 1


def test_without_deleveraging_there_is_no_rank():
    ruleset = venue.base()
    del ruleset["deleveraging"]
    del ruleset["waterfall"][2]
    assert ranked(ruleset, [("a", "BTCUSDT", 1, 40)], {"BTCUSDT": 50}) == {"a": (None, None)}


def test_let_names_parts_of_the_score():
    ruleset = venue.base()
    ruleset["deleveraging"].update(let={"one": "unrealized_pnl", "two": "one / notional"}, score="two + one * 0")
    positions = [("a", "BTCUSDT", 1, 40), ("b", "BTCUSDT", 5, 45)]
    got = ranked(ruleset, positions, {"BTCUSDT": 50})
    assert {k: v[0] for k, v in got.items()} == {"a": 1, "b": 2}


def test_a_score_without_a_value_is_an_error_that_names_the_row():
    ruleset = venue.base()
    ruleset["deleveraging"]["score"] = "1 / unrealized_pnl"
    with pytest.raises(
        rp.SnapshotError, match=r"positions\[0\] \(account a.*deleveraging.score.*unrealized_pnl = 0"
    ) as e:
        ranked(ruleset, [("a", "BTCUSDT", 1, 50)], {"BTCUSDT": 50})
    assert e.value.codes == ("expression_value",)


def test_hyperliquid_ranks_a_profitable_short_by_profit_and_leverage():
    """The form that the documentation prints would rank the short with the smaller gain first."""
    positions = [("small", "BTC", -1, 51000), ("large", "BTC", -1, 80000)]
    snapshot = venue.cross(positions, {"small": 10000, "large": 0}, {"BTC": 50000}, currency="USDC")
    rows = rp.load("hyperliquid@2024-06-01").evaluate(snapshot).positions.rows()
    assert {r["account"]: r["adl_rank"] for r in rows} == {"large": 1, "small": 2}
