"""Exposure under rules that rank otherwise than by score, after orders, in markets that move whole: by hand."""

from fractions import Fraction

import pytest

import riskpolicy as rp
from tests import venue
from tests.engines.test_exposure_by_hand import BALANCES, LONGS, SHORTS, book, exposed, ruleset, worked

F = Fraction


def taking(rule, **parameters):
    rules = ruleset()
    rules["deleveraging"]["take"] |= {"rule": rule, "parameters": parameters}
    return rules


def ranks(rules, snapshot):
    return {r["account"]: r["adl_rank"] for r in venue.evaluate(rules, snapshot).positions.rows()}


# Who ranks.


def test_keys_of_the_rule_rank_wherever_a_rank_is_shown():
    # l3 holds most; by score it is l1, l2, l3.
    rules, snapshot = taking("lexicographic", keys=["contracts desc"]), book(LONGS + SHORTS, BALANCES)
    found = {account: exposed(rules, snapshot, account) for account in ("l1", "l2", "l3")}
    assert {a: (x.adl_rank, x.quantity_ahead) for a, x in found.items()} == {"l3": (1, 0), "l2": (2, 30), "l1": (3, 50)}
    assert {a: x.last.contracts for a, x in found.items()} == {"l3": 30, "l2": 50, "l1": 60}
    assert {a: r for a, r in ranks(rules, snapshot).items() if a in found} == {"l3": 1, "l2": 2, "l1": 3}
    head = venue.evaluate(rules, snapshot).adl_head("BTCUSDT", "long", 2)
    assert [row["account"] for row in head] == ["l3", "l2"]
    # That is the order of the resolutions too: 15 of l3 for s1, its others and 10 of l2 for s2, the rest for s3.
    assert found["l3"].first.move < found["l2"].first.move < found["l1"].first.move
    # At 20 contracts each the account decides, and l3 is behind l2.
    assert found["l3"].changes().size.value == 20
    assert [found["l3"].what_if(size=size).adl_rank for size in (21, 20)] == [1, 2]


def test_the_newest_position_can_go_first():
    snapshot = book(LONGS + SHORTS, BALANCES)
    for row, day in zip(snapshot["positions"], (2, 3, 1), strict=False):
        row["opened_at"] = f"2024-05-0{day}T00:00:00Z"
    got = ranks(taking("lexicographic", keys=["opened_at desc"]), snapshot)
    assert {a: got[a] for a in ("l1", "l2", "l3")} == {"l2": 1, "l1": 2, "l3": 3}
    # Whoever has no instant was there before all others.
    assert got["s1"] == 1


def test_nobody_is_ranked_where_a_place_is_drawn():
    rules, snapshot = taking("random_start"), book(LONGS + SHORTS, BALANCES)
    found = exposed(rules, snapshot, "l1")
    assert (found.mechanism, found.adl_rank, found.adl_light, found.quantity_ahead) == ("queue", None, None, None)
    assert found.first.move is not None
    assert found.to_ccxt()["rank"] is None
    assert "drawn" in found.remarks[0]
    assert set(ranks(rules, snapshot).values()) == {None}
    (row, *_) = venue.evaluate(rules, snapshot).positions.rows()
    assert (row["adl_score"], row["adl_light"]) == (None, None)
    assert venue.evaluate(rules, snapshot).adl_head("BTCUSDT", "long", 3) == []


class Smallest:
    """Whoever holds least goes first."""

    @rp.hookimpl
    def rank_adl(self, candidates):
        return [-c.contracts for c in candidates]


def test_a_plugin_that_ranks_is_asked_wherever_a_rank_is_shown(install):
    install("smallest", Smallest())
    rules = ruleset()
    rules["deleveraging"]["score"] = "notional"  # l3, l2, l1
    rules["deleveraging"]["plugin"] = "smallest"
    snapshot = book(LONGS + SHORTS, BALANCES)
    found = {account: exposed(rules, snapshot, account) for account in ("l1", "l2", "l3")}
    assert {a: (x.adl_rank, x.quantity_ahead) for a, x in found.items()} == {"l1": (1, 0), "l2": (2, 10), "l3": (3, 30)}
    assert found["l1"].first.contracts == 0
    # s1 takes l1 and 5 of l2, s2 the others of l2 and 10 of l3.
    assert found["l1"].last.move < found["l2"].last.move < found["l3"].last.move
    assert "Plugin `smallest` ranks" in found["l1"].remarks[0]
    assert {a: r for a, r in ranks(rules, snapshot).items() if a in found} == {"l1": 1, "l2": 2, "l3": 3}
    row = next(r for r in venue.evaluate(rules, snapshot).positions.rows() if r["account"] == "l2")
    assert (row["adl_score"], row["adl_light"]) == (-20, 4)


# Orders.


@pytest.mark.parametrize("ask", [{"order": "sell:4:100"}, {"order": "buy:5:100"}])
def test_an_order_is_supposed_in_a_complete_snapshot_too(ask):
    snapshot = {**book(LONGS + SHORTS, BALANCES), "complete": True}
    found = exposed(ruleset(), snapshot, "l1", **ask)
    assert found.to_dict() == worked("l1", **ask).to_dict()
    assert exposed(ruleset(), snapshot, "l1").what_if(size=3).quantity == 3


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: worked("l1", order="buy:1.5:100"), "no whole lots.*a lot is 1"),
        (lambda: worked("l1").what_if(size="2.5"), "no whole lots"),
        (lambda: worked("l1", order="buy:2:NaN"), "write a plain decimal"),
        (lambda: worked("l1", order="buy:2:-5"), "write a plain decimal"),
        (lambda: worked("l1", order="buy:-2:5"), "quantities are unsigned"),
        (lambda: worked("l1", hedge="l2"), "holds nothing in BTCUSDT that hedges a long"),
        (lambda: worked("l1", hedge="l1"), "holds nothing in BTCUSDT that hedges a long"),
    ],
)
def test_what_can_not_be_is_refused(ask, says):
    with pytest.raises(rp.QueryError, match=f"(?s){says}"):
        ask()


def test_an_order_that_leaves_too_little_is_said():
    # 165 for 16 contracts at 100, a tenth of it wanted.
    assert worked("s1", order="sell:1:100").remarks == ()
    (said,) = worked("s1", order="sell:20:100").remarks
    # 165 for 35 contracts at 100, a tenth of it wanted.
    assert said == "After the order 185 is lacking to its initial margin: the venue may refuse it."
    (said,) = worked("s1", order="sell:200:100").remarks
    assert said == "At this mark it is in liquidation itself."


# Markets that move.


def test_a_market_moves_whole():
    rules = ruleset()
    snapshot = book(LONGS + SHORTS, BALANCES)
    snapshot["markets"][0] |= {"oracle_price": 102, "index_price": 101}
    after = venue.evaluate(rules, snapshot).shock({"BTCUSDT": "10%"}).snapshot
    got = {
        c: after.numbers("markets", c).exact(0) for c in ("mark_price", "oracle_price", "index_price", "previous_mark")
    }
    assert got == {"mark_price": 110, "oracle_price": F("112.2"), "index_price": F("111.1"), "previous_mark": 100}


@pytest.mark.parametrize("price", ["previous_mark", "oracle_price"])
def test_the_loss_is_by_prices_of_the_move(price):
    rules = ruleset()
    rules["deleveraging"]["take"]["price"] = price
    snapshot = book(LONGS + SHORTS, BALANCES)
    snapshot["markets"][0]["oracle_price"] = 100
    # At the mark before, a long of 10 forgoes the whole move; at an oracle that moved with the mark, nothing.
    scenario = exposed(rules, snapshot, "l1").last.scenario
    assert scenario.price == (100 if price == "previous_mark" else scenario.mark_price)
    assert scenario.loss_of_profit == (10 * (scenario.mark_price - 100) if price == "previous_mark" else 0)


# Losses that are shared out, and fees.


def sharing(**layer):
    rules = ruleset()
    rules["liquidation"]["steps"] = [{"id": "book", "do": "market_order", "leftover": "account"}]
    rules["waterfall"] = [
        {"id": "all", "pays": "socialization", **layer}, {"id": "end", "pays": "residual"},
    ]  # fmt: skip
    return rules


def shared(account, **layer):
    snapshot = book(LONGS + SHORTS, BALANCES)
    snapshot["depth"] = [{"instrument": "BTCUSDT", "side": "ask", "price": 120, "quantity": 1000}]
    return exposed(sharing(**layer), snapshot, account)


def test_shares_of_losses_are_reached_at_the_first_deficit():
    found = shared("l1")
    assert found.mechanism == "socialised"
    # s1, liquidated above 109.900990, buys its 15 back at 120: 165 - 15 x 20 is 135 short; of 105 other contracts
    # l1 holds 10.
    assert found.first.contracts is None
    assert found.first.move == F("0.09901")
    assert found.first.scenario.loss_of_profit == pytest.approx(135 * 10 / 105, abs=1e-7)
    assert (found.first.scenario.taken, found.first.scenario.loss_of_hedge) == (0, 0)
    # Its profit of some 600 is never all gone: s2 and s3 lose no more than that to the book.
    assert found.last.move is None


def test_shares_by_profit_end_where_the_profit_does():
    found = shared("l3", by="profit")
    first = found.first.scenario
    # Profits above the entries 50, 80, 90 at the mark of 109.901, in the proportion of which 135 are paid.
    mark = first.mark_price
    profits = [10 * (mark - 50), 20 * (mark - 80), 30 * (mark - 90)]
    assert first.loss_of_profit == pytest.approx(float(135 * profits[2] / sum(profits)), abs=1e-6)


def test_a_fee_of_deleveraging_is_told():
    rules = ruleset()
    rules["deleveraging"]["take"]["fee"] = "1%"
    scenario = worked("l1", rules).last.scenario
    assert scenario.fee == 10 * scenario.price / 100
    assert worked("l1").last.scenario.fee == 0
    assert scenario.to_dict()["fee"] is not None


def test_contracts_of_a_rule_that_takes_of_all_are_those_closed_at_the_move():
    found = worked("l1", taking("pro_rata_contracts"))
    # The first to be liquidated, s1, closes 15; all of l1 needs all 60 shorts.
    assert (found.mechanism, found.first.contracts, found.last.contracts) == ("pro_rata", 15, 60)
    found = worked("l1", taking("risk_weighted", numeraire="contracts"))
    assert found.first.contracts == 15
    assert found.first.to_dict()["contracts"] == 15


def test_the_other_side_is_asked_for_by_mistake():
    with pytest.raises(rp.QueryError, match="`l1` holds no short in BTCUSDT"):
        worked("l1", side="short")


def test_what_is_taken_at_some_moves_only_is_found():
    """By leverage w leads at the mark; x, with less equity, overtakes it as the mark moves, and then w keeps a part."""
    policy = rp.load("hyperliquid@2025-08-01")
    positions = [("a", "BTC", 10, 100000), ("w", "BTC", -6, 130000), ("x", "BTC", -4, 110000)]
    tables = venue.cross(
        positions, {"a": 60000, "w": 500000, "x": 200000}, {"BTC": 100000}, currency="USDC",
        funds=[{"fund": "hlp", "currency": "USDC", "balance": 1000}],
    )  # fmt: skip
    evaluation = policy.evaluate(tables)
    last = evaluation.exposure("w", "BTC").last

    def taken(move):
        result = evaluation.shock({"BTC": F(100000) * (1 + move)}).resolve()
        return sum(abs(d.quantity) for d in result.taken_from("w"))

    assert taken(last.move) == 6
    assert taken(last.move + F(1, 10**6)) < 6
    assert taken(F(-1, 10)) < 6


# Where a rule has limits, contracts are those of the move; money and profits within what there can be.


LIMITS = [
    {"take": {"most": "50%"}}, {"eligible": "unrealized_pnl > 0"}, {"severity": {"rule": "static", "start": "80%"}},
]  # fmt: skip


@pytest.mark.parametrize("change", LIMITS)
def test_contracts_ahead_reach_it_only_where_everybody_ahead_gives_all(change):
    rules = ruleset()
    rules["deleveraging"]["take"] |= change.get("take", {})
    rules["deleveraging"] |= {key: value for key, value in change.items() if key != "take"}
    snapshot = book([("w1", 10, 50), ("w2", 10, 80), ("s", -6, 100), ("t", -14, 100)], {
        "w1": 10**6, "w2": 10**6, "s": 66, "t": 10**6,
    })  # fmt: skip
    evaluation = venue.evaluate(rules, snapshot)
    found = evaluation.exposure("w2", "BTCUSDT")
    assert found.quantity_ahead == 10
    # It is not by rank alone: what is closed at the move that takes it.
    result = evaluation.shock({"BTCUSDT": F(100) * (1 + found.first.move)}).resolve()
    assert result.taken_from("w2")
    assert found.first.contracts == sum(d.quantity for d in result.deleveraged)


def test_the_most_profit_is_where_the_entry_price_ends():
    rules = venue.tiers([["unlimited", "1%"]])
    tables = venue.cross(
        [("w", "BTCUSDT", 10, 90), ("b", "BTCUSDT", 10, 8), ("s", "BTCUSDT", -20, 100)],
        {"w": 10**5, "b": 10**5, "s": 10**5}, {"BTCUSDT": 100},
    )  # fmt: skip
    found = venue.evaluate(rules, tables).exposure("w", "BTCUSDT")
    # b has 920 of 1,000; at a tie it stays first.
    assert found.changes(rank=1).profit.value == 920 + F(1, 10**8)
    assert found.what_if(profit=990).adl_rank == 1


def test_a_share_of_losses_takes_no_profit_of_who_has_none():
    snapshot = book([("l", 5, 200), ("m", 55, 50), *SHORTS], {**BALANCES, "l": 10**6, "m": 10**6})
    snapshot["depth"] = [{"instrument": "BTCUSDT", "side": "ask", "price": 120, "quantity": 1000}]
    found = exposed(sharing(), snapshot, "l")
    assert found.first.move is not None
    assert found.last.move is None


def test_the_fund_of_instruments_bounds_a_deficit_only_where_they_share_it():
    from riskpolicy.engines.exposure_public import public_exposure

    rules = ruleset()
    rules["liquidation"]["steps"].insert(
        0, {"id": "take", "do": "takeover", "by": "instrument_fund", "price": "bankruptcy_price"}
    )
    data = {
        "instrument": "BTCUSDT", "open_interest": 10, "mark_price": 100, "fund_balance": 1000,
        "position": {"side": "long", "quantity": 10},
    }  # fmt: skip
    assert public_exposure(venue.policy(rules).plan, data).first.deficit[0] > 999
    rules["funds"].append({"id": "eth", "currency": "USDT"})
    rules["instruments"].append({**rules["instruments"][0], "symbols": ["ETHUSDT"], "fund": "eth"})
    assert public_exposure(venue.policy(rules).plan, data).first.deficit == (0, None)
