"""Exposure to deleveraging: places, moves and changes by an independent ranking, by hand and by brute force."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import riskpolicy as rp
from riskpolicy.engines.core.ahead import Ahead
from riskpolicy.engines.exposure import hedged_pair
from tests import venue

MILLION = 10**6


def ruleset(**more):
    """Nobody buys, the fund takes nothing over: whoever is liquidated is closed against the queue at once."""
    rules = venue.base()
    rules["instruments"][0]["lot"] = 1
    rules["margin"]["tiers"][0].update(columns=["up_to", "maintenance"], rows=[["unlimited", "1%"]])
    rules["margin"]["initial"] = "notional / 10"
    rules["liquidation"]["steps"] = [{"id": "adl", "do": "deleverage"}]
    rules["deleveraging"]["lights"] = {"count": 5, "by": "accounts"}
    rules["deleveraging"]["take"]["price"] = "mark_price"
    rules.update(more)
    return rules


def book(positions, balances, mark=100, **more):
    """Positions as (account, contracts, entry price), balances by account."""
    rows = [(a, "BTCUSDT", q, e) for a, q, e in positions]
    more = {"funds": [{"fund": "main", "currency": "USDT", "balance": 0}], **more}
    return venue.cross(rows, balances, {"BTCUSDT": mark}, **more)


def exposed(rules, snapshot, account, **more):
    return venue.evaluate(rules, snapshot).exposure(account, "BTCUSDT", **more)


#: Three longs with a profit, the best first; three shorts, of whom s1 is liquidated first.
LONGS = [("l1", 10, 50), ("l2", 20, 80), ("l3", 30, 90)]
SHORTS = [("s1", -15, 100), ("s2", -25, 100), ("s3", -20, 100)]
BALANCES = {"l1": 10**6, "l2": 10**6, "l3": 10**6, "s1": 165, "s2": 775, "s3": 1020}


def worked(account, rules=None, **more):
    return exposed(rules or ruleset(), book(LONGS + SHORTS, BALANCES), account, **more)


# A worked book, by hand: a short of q contracts and balance w is liquidated where w - q (p - 100) < 1% q p, that is
# above p = (w / q + 100) / 1.01: s1 above 111/1.01 = 109.900990, s2 above 131/1.01, s3 above 151/1.01.


def test_a_worked_book_of_three_longs():
    first, middle, end = (worked(a) for a in ("l1", "l2", "l3"))
    assert [x.adl_rank for x in (first, middle, end)] == [1, 2, 3]
    assert [x.adl_light for x in (first, middle, end)] == [5, 4, 2]
    assert [x.quantity_ahead for x in (first, middle, end)] == [0, 10, 30]
    assert [(x.first.contracts, x.last.contracts) for x in (first, middle, end)] == [(0, 10), (10, 30), (30, 60)]
    s1, s2, s3 = (Fraction(math.floor(Fraction(w + 100) * 10**6 / 101) * 1 + 1 - 10**6, 10**6) for w in (11, 31, 51))
    # s1 brings 15 contracts, s2 another 25, s3 another 20.
    assert [(x.first.move, x.last.move) for x in (first, middle, end)] == [(s1, s1), (s1, s2), (s2, s3)]
    assert s1 == Fraction(99010, 10**6)


def test_the_deficit_is_what_bankrupt_shorts_lack_at_the_move():
    # s3 is liquidated above 149.50495..., first at 149.505: s1 has 165 - 15 x 49.505, s2 775 - 25 x 49.505, s3 more.
    end = worked("l3")
    up = Fraction(49505, 1000)
    assert end.last.move == up / 100
    assert end.last.deficit == (15 * up - 165) + (25 * up - 775)
    assert worked("l1").first.deficit == 0


def test_what_is_forgone_is_counted_against_the_mark():
    rules = ruleset()
    rules["deleveraging"]["take"]["price"] = "bankruptcy_price"
    found = worked("l1", rules)
    # s1 is bankrupt at 111; it is closed there while the mark is 109.901: the winner gains 1.099 a contract.
    mark = 100 * (1 + found.first.move)
    assert found.first.scenario.price == 111
    assert found.first.scenario.loss_of_profit == 10 * (mark - 111) < 0
    assert found.first.scenario.loss_of_hedge == 0


def test_weights_give_the_mean_of_the_scenarios():
    rules = ruleset()
    rules["deleveraging"]["take"]["price"] = "bankruptcy_price"
    found = worked("l2", rules, weights={"first": 3, "last": 1})
    one, other = found.scenarios
    assert found.mean["loss_of_profit"] == (3 * one.loss_of_profit + other.loss_of_profit) / 4
    assert worked("l2").mean is None
    with pytest.raises(rp.QueryError, match="all weights are zero"):
        worked("l2", weights={"first": 0})
    with pytest.raises(rp.QueryError, match="`middle` is no scenario"):
        worked("l2", weights={"middle": 1})


def test_what_no_move_reaches_is_null():
    # The shorts hold 15 contracts; l1 alone has 10 before l2, so l2 loses 5 and never its last contract.
    positions, balances = [*LONGS[:2], SHORTS[0]], {**BALANCES}
    found = exposed(ruleset(), book(positions, balances), "l2")
    assert found.first.move is not None
    assert (found.last.move, found.last.deficit) == (None, None)
    assert found.last.scenario.taken is None
    # A long that has paid its whole price is never liquidated, so that nobody takes from the short opposite.
    paid = exposed(ruleset(), book([("short", -10, 150), ("long", 10, 100)], {"short": 1, "long": 1000}), "short")
    assert (paid.first.move, paid.last.move, paid.first.deficit) == (None, None, None)
    assert (paid.first.contracts, paid.last.contracts) == (0, 10)


@pytest.mark.parametrize("do", ["market_order", "cancel_orders"])
def test_without_deleveraging_nothing_is_taken(do):
    rules = ruleset()
    del rules["deleveraging"]
    del rules["waterfall"][2]
    rules["liquidation"]["steps"] = [
        {"id": "one", "do": do} | ({"leftover": "account"} if do == "market_order" else {})
    ]
    found = worked("l1", rules)
    assert found.mechanism == "none"
    assert (found.adl_rank, found.adl_light, found.quantity_ahead) == (None, None, None)
    assert (found.first.contracts, found.first.move, found.resolutions) == (None, None, 0)
    assert found.to_ccxt()["rating"] is None


def test_losers_and_flat_accounts_answer_as_the_ranking_does():
    loser = exposed(ruleset(), book([*LONGS, ("loser", 5, 200), *SHORTS], {**BALANCES, "loser": 1000}), "loser")
    assert (loser.adl_rank, loser.quantity_ahead) == (4, 60)
    flat = exposed(ruleset(), book([*LONGS, ("flat", 0, 100), *SHORTS], {**BALANCES, "flat": 1000}), "flat")
    assert (flat.mechanism, flat.side, flat.quantity, flat.adl_rank, flat.first.move) == ("queue", None, 0, None, None)
    with pytest.raises(rp.QueryError, match="holds nothing in BTCUSDT"):
        flat.what_if(size=1)


def test_who_is_not_there_is_an_error_that_says_so():
    with pytest.raises(rp.QueryError, match="no account `l9`"):
        worked("l9")
    with pytest.raises(rp.QueryError, match="ETHUSDT"):
        venue.evaluate(ruleset(), book(LONGS + SHORTS, BALANCES)).exposure("l1", "ETHUSDT")
    with pytest.raises(rp.QueryError, match="`up` is no side"):
        worked("l1", side="up")


# Moves by brute force.


@st.composite
def books(draw):
    """A small book of longs and shorts with as many contracts, and how it is ranked."""
    longs = draw(st.lists(st.tuples(st.integers(1, 9), st.integers(60, 110)), min_size=1, max_size=4))
    whole, shorts = sum(q for q, _ in longs), []
    while whole:
        part = draw(st.integers(1, whole))
        shorts.append((part, draw(st.integers(95, 105)), draw(st.integers(6, 40))))
        whole -= part
    side = draw(st.sampled_from([1, -1]))
    winners = [(f"w{k}", q * side, e if side > 0 else 200 - e) for k, (q, e) in enumerate(longs)]
    losers = [(f"x{k}", -q * side, e) for k, (q, e, _) in enumerate(shorts)]
    balances = {a: 10**6 for a, _, _ in winners} | {f"x{k}": q * w for k, (q, _, w) in enumerate(shorts)}
    return winners, losers, balances, draw(st.permutations(winners + losers))


def threshold(side, entry, each):
    """The price beyond which a loser with `each` money a contract is liquidated: each - |p - entry| < 1 % p."""
    return Fraction(entry + each) / Fraction(101, 100) if side > 0 else Fraction(entry - each) / Fraction(99, 100)


def ranked(winners, mark):
    """The queue at a mark: profit over entry notional, the highest first, then the account."""

    def score(row):
        _, q, entry = row
        return max(Fraction(0), (mark - entry) * q) / (abs(q) * entry)

    return sorted(winners, key=lambda row: (-score(row), row[0]))


def taken(winners, losers, balances, side, mark, account):
    """Contracts of an account that are taken at a mark: all of those in liquidation, against the queue."""
    left = 0
    for a, q, entry in losers:
        equity = balances[a] - (mark - entry) * abs(q) * side
        left += abs(q) if equity < abs(q) * mark / 100 else 0
    for a, q, _ in ranked(winners, mark):
        part = min(left, abs(q))
        left -= part
        if a == account:
            return part
    raise AssertionError(account)


def least(winners, losers, balances, side, account, contracts):
    """The least millionth of the mark, 100, at which so much is taken, from every price at which anything changes."""
    prices = [threshold(side, e, Fraction(balances[a], abs(q))) for a, q, e in losers]
    prices += [Fraction(e) for _, _, e in winners]
    steps = {0, *(s + k for p in prices for s in [math.floor((p / 100 - 1) * side * MILLION)] for k in (0, 1))}
    for step in sorted(s for s in steps if 0 <= s < (9 * MILLION if side > 0 else MILLION)):
        mark = 100 * (1 + Fraction(side * step, MILLION))
        if taken(winners, losers, balances, side, mark, account) >= contracts:
            return Fraction(side * step, MILLION)
    return None


@settings(max_examples=60, deadline=None)
@given(books(), st.data())
def test_rank_and_moves_are_those_of_a_book_by_hand(drawn, data):
    winners, losers, balances, rows = drawn
    side = 1 if winners[0][1] > 0 else -1
    account, quantity, _ = data.draw(st.sampled_from(winners))
    found = exposed(ruleset(), book(rows, balances), account)
    order = [row[0] for row in ranked(winners, Fraction(100))]
    rank = order.index(account) + 1
    ahead = sum(abs(q) for a, q, _ in winners if order.index(a) < rank - 1)
    assert (found.adl_rank, found.quantity_ahead) == (rank, ahead)
    assert found.adl_light == 5 - (rank - 1) * 5 // len(order)
    assert (found.first.contracts, found.last.contracts) == (ahead, ahead + abs(quantity))
    for reached, contracts in ((found.first, 1), (found.last, abs(quantity))):
        move = least(winners, losers, balances, side, account, contracts)
        assert reached.move == move
        if move is None:
            assert reached.deficit is None
            continue
        mark = 100 * (1 + move)
        equity = [balances[a] - (mark - e) * abs(q) * side for a, q, e in losers]
        assert reached.deficit == sum(-x for x in equity if x < 0)
        assert reached.scenario.taken == taken(winners, losers, balances, side, mark, account)
    if None not in (found.first.move, found.last.move):
        assert abs(found.first.move) <= abs(found.last.move)
    assert found.resolutions < 200


@settings(max_examples=25, deadline=None)
@given(books(), st.data(), st.sampled_from(["book", "linear"]), st.integers(0, 300))
def test_a_move_takes_the_contract_and_a_millionth_less_does_not(drawn, data, execution, fund):
    """With a book that buys, a fund that takes over and prices of bankruptcy: by the resolution itself."""
    winners, losers, balances, rows = drawn
    side = 1 if winners[0][1] > 0 else -1
    account, quantity, _ = data.draw(st.sampled_from(winners))
    rules = ruleset()
    rules["deleveraging"]["take"]["price"] = "bankruptcy_price"
    rules["liquidation"]["steps"] = [
        {"id": "reduce", "do": "immediate_or_cancel", "price": "bankruptcy_price"},
        {"id": "takeover", "do": "takeover", "by": "main", "price": "bankruptcy_price"},
        {"id": "adl", "do": "deleverage"},
    ]
    snapshot = book(rows, balances, funds=[{"fund": "main", "currency": "USDT", "balance": fund}])
    snapshot["markets"][0]["impact_slope"] = 5
    evaluation = venue.evaluate(rules, snapshot)
    found = evaluation.exposure(account, "BTCUSDT", execution=execution)

    def took(move):
        done = evaluation.shock({"BTCUSDT": 100 * (1 + move)}).resolve(execution)
        return sum(abs(d.quantity) for d in done.taken_from(account))

    for reached, contracts in ((found.first, Fraction(1, 10**8)), (found.last, abs(quantity))):
        towards = Fraction(1 if quantity > 0 else -1, MILLION)
        end = 9 * MILLION if reached.move is None else abs(reached.move) * MILLION
        assert reached.move is None or took(reached.move) >= contracts
        assert not reached.move or took(reached.move - towards) < contracts
        # Nor at any nearer price at which somebody is liquidated or bankrupt, or just beyond.
        prices = [threshold(side, e, Fraction(balances[a], abs(q))) for a, q, e in losers]
        prices += [e + side * Fraction(balances[a], abs(q)) for a, q, e in losers]
        for step in (math.floor((p / 100 - 1) * side * MILLION) + k for p in prices for k in (0, 1)):
            assert not 0 <= step < end or took(towards * step) < contracts


# Monotone: with more money behind the other side nobody is reached sooner.


@settings(max_examples=25, deadline=None)
@given(books(), st.data(), st.integers(1, 50))
def test_more_money_on_the_other_side_reaches_nobody_sooner(drawn, data, more):
    winners, _, balances, rows = drawn
    account = data.draw(st.sampled_from(winners))[0]
    richer = {a: w + (more if a.startswith("x") else 0) for a, w in balances.items()}
    now, then = (exposed(ruleset(), book(rows, b), account) for b in (balances, richer))
    for one, other in ((now.first.move, then.first.move), (now.last.move, then.last.move)):
        assert other is None or (one is not None and abs(one) <= abs(other))


@settings(max_examples=25, deadline=None)
@given(books(), st.data(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(drawn, data, random):
    winners, _, balances, rows = drawn
    account = data.draw(st.sampled_from(winners))[0]
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert (
        exposed(ruleset(), book(rows, balances), account).to_dict()
        == exposed(ruleset(), book(shuffled, balances), account).to_dict()
    )


# Hypothetical orders, other sizes, leverages and margins.


def test_an_order_is_filled_before_the_question():
    snapshot = book([*LONGS, ("new", 0, 100), *SHORTS], {**BALANCES, "new": 1000})
    found = exposed(ruleset(), snapshot, "new", order="buy:5:40")
    # Profit over entry notional: 60 / 40 is more than l1's 50 / 50.
    assert (found.adl_rank, found.quantity, found.quantity_ahead, found.side) == (1, 5, 0, "long")
    assert exposed(ruleset(), snapshot, "new", order=("buy", 5, None)).adl_rank == 4
    added = worked("l3", order=("buy", "30", "90"))
    assert (added.quantity, added.adl_rank, added.last.contracts) == (60, 3, 90)
    assert worked("l3", order="sell:30:100").side is None
    for wrong in ("buy", "buy:x:1", "hold:1:1"):
        with pytest.raises(rp.QueryError):
            worked("l3", order=wrong)


def by_leverage():
    """Ranked by profit and the bucket's leverage, as venues do."""
    rules = ruleset()
    rules["deleveraging"]["score"] = (
        "max(0, unrealized_pnl) / entry_notional * (bucket_notional / bucket_equity if bucket_equity > 0 else 0)"
    )
    return rules


def test_what_if_is_the_exposure_of_a_snapshot_so_changed():
    positions = [("a", 10, 80), ("b", 10, 90), ("c", 10, 85), ("s", -30, 100)]
    balances = {"a": 300, "b": 100, "c": 200, "s": 3000}
    found = exposed(by_leverage(), book(positions, balances), "b")
    # Scores: a 0.25 x 1000/500, b (1/9) x 1000/200, c (3/17) x 1000/350.
    assert found.adl_rank == 1
    for change, other in (
        ({"margin": 500}, book(positions, {**balances, "b": 600})),
        ({"size": 3}, book([("b", 3, 90) if p[0] == "b" else p for p in positions], balances)),
        # 1000 / 2 is an equity of 500, that is a balance of 400.
        ({"leverage": 2}, book(positions, {**balances, "b": 400})),
        # 60 of the profit of 100 realized: the entry is 96, the balance 160.
        ({"profit": 40}, book([("b", 10, 96) if p[0] == "b" else p for p in positions], {**balances, "b": 160})),
    ):
        supposed, wanted = found.what_if(**change), exposed(by_leverage(), other, "b")
        assert supposed.to_dict() == wanted.to_dict()
        assert supposed.adl_rank > 1
    assert found.what_if(size=0).side is None
    for wrong in ({"size": -1}, {"leverage": 0}, {"margin": "x"}, {"profit": 1000}, {"size": 0, "profit": 1}):
        with pytest.raises(rp.QueryError):
            found.what_if(**wrong)


def test_leverage_of_an_isolated_position_is_its_margin():
    snapshot = book([("a", 10, 80), ("b", 10, 90), ("s", -20, 100)], {"a": 300, "b": 5000, "s": 3000})
    snapshot["positions"][1].update(margin_mode="isolated", isolated_margin=90, leverage=10)
    found = exposed(by_leverage(), snapshot, "b")
    other = {**snapshot, "positions": [dict(row) for row in snapshot["positions"]]}
    other["positions"][1].update(isolated_margin=300, leverage=3)
    supposed = found.what_if(leverage=3)
    assert supposed.to_dict() == exposed(by_leverage(), other, "b").to_dict()
    evaluation = venue.evaluate(by_leverage(), other)
    assert list(supposed._of.evaluation.buckets.rows()) == list(evaluation.buckets.rows())


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(70, 99), st.integers(30, 400)), min_size=2, max_size=6),
    st.data(),
    st.booleans(),
    st.sampled_from([by_leverage, ruleset]),
)
def test_changes_are_the_smallest_by_what_if(rows, data, by_quantity, of):
    """Whatever is said to change the rank does, and one unit less does not: by what_if, which evaluates anew."""
    rules = of()
    if by_quantity:
        rules["deleveraging"]["lights"] = {"count": 3, "by": "quantity"}
    positions = [(f"w{k}", q, e) for k, (q, e, _) in enumerate(rows)]
    whole = sum(q for q, _, _ in rows)
    balances = {f"w{k}": q * w for k, (q, _, w) in enumerate(rows)} | {"s": 10**6}
    account = data.draw(st.sampled_from(positions))[0]
    found = exposed(rules, book([*positions, ("s", -whole, 100)], balances), account)
    rank = data.draw(st.integers(1, len(rows)))
    for changes, holds in (
        (found.changes(), lambda x: x.adl_light <= found.adl_light - 1),
        (found.changes(rank), lambda x: x.adl_rank >= rank if rank > found.adl_rank else x.adl_rank <= rank),
    ):
        quantum = Fraction(1, 10**8)
        for name, unit in (("size", 1), ("leverage", Fraction(1, 100)), ("margin", quantum), ("profit", quantum)):
            step = getattr(changes, name)
            if step is None:
                continue
            reached = found.what_if(**{name: step.value})
            assert holds(reached)
            assert (reached.adl_rank, reached.adl_light) == (step.adl_rank, step.adl_light)
            nearer = step.value - unit if step.by > 0 else step.value + unit
            inside = abs(step.by) > unit
            assert not inside or not holds(found.what_if(**{name: nearer}))


def test_changes_refuse_what_the_queue_does_not_have():
    found = worked("l2")
    assert found.changes(2) == type(found.changes())()
    for wrong in ({"rank": 4}, {"rank": 0}, {"light": 6}, {"light": 0}):
        with pytest.raises(rp.QueryError, match=r"no rank|no light"):
            found.changes(**wrong)


def test_profit_over_entry_cannot_be_changed_by_size_or_money():
    changes = worked("l1").changes()
    assert (changes.size, changes.leverage, changes.margin) == (None, None, None)


def test_profit_that_is_realized_moves_the_rank():
    quantum = Fraction(1, 10**8)
    step = worked("l1").changes().profit
    # 500 on 500 now; of 1,000 at the mark 200 are a quarter of the entry, as l2 has; at a tie l1 would stay first.
    assert (step.value, step.by, step.adl_rank) == (200 - quantum, -300 - quantum, 2)
    # l2, with 400 of 2,000, goes first with more than half of it.
    assert worked("l2").changes(rank=1).profit.value == 1000 + quantum


@pytest.mark.parametrize("payoff", ["linear", "inverse"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_supposed_profit_leaves_the_equity_as_it_is(payoff, sign):
    rules = ruleset()
    rules["instruments"][0]["payoff"] = payoff
    found = exposed(rules, book([("a", 10 * sign, 80), ("b", -10 * sign, 80)], {"a": 100, "b": 100}), "a")
    before = found._of.evaluation
    for profit in ("0.01", "-0.02"):
        after = found.what_if(profit=profit)._of.evaluation
        (row,) = (r for r in after.positions.rows() if r["account"] == "a")
        assert float(row["unrealized_pnl"]) == pytest.approx(float(profit))
        equity = [{r["account"]: float(r["equity"]) for r in e.buckets.rows()} for e in (before, after)]
        assert equity[0] == pytest.approx(equity[1])
    with pytest.raises(rp.QueryError, match="no entry price gives"):
        found.what_if(profit=10**6 * sign * (1 if payoff == "linear" else -1))


# Forms.


def test_ccxt_has_lights_thirds_and_the_place_in_percent():
    got = [worked(a).to_ccxt("BTC/USDT:USDT") for a in ("l1", "l2", "l3")]
    assert [(g["rank"], g["rating"]) for g in got] == [(5, "high"), (4, "medium"), (2, "low")]
    assert [g["percentage"] for g in got] == [100, pytest.approx(200 / 3), pytest.approx(100 / 3)]
    assert got[0]["symbol"] == "BTC/USDT:USDT"
    assert set(got[0]) == {"info", "symbol", "rank", "rating", "percentage", "timestamp", "datetime"}
    snapshot = book(LONGS + SHORTS, BALANCES, as_of="2024-06-01T00:00:00.5Z")
    stamped = exposed(ruleset(), snapshot, "l1").to_ccxt()
    assert (stamped["symbol"], stamped["timestamp"]) == ("BTCUSDT", 1717200000500)


# Hedges.


def test_a_hedge_in_another_account_is_orphaned():
    found = worked("l1", hedge="s2")
    # All 10 contracts are taken at the first move, at which s2, short 25, loses the hedge of 10.
    assert found.first.scenario.loss_of_hedge == 10 * 100 * (1 + found.first.move)
    assert worked("l1").first.scenario.loss_of_hedge == 0


def test_an_execution_by_name_reads_the_columns_of_the_market():
    """A book that moves by 0.1 a contract sells s1 a part up to 111, where it is bankrupt; is the rest healthy?

    At a mark of 100 + d it may buy 10 (11 - d) in whole lots: 7 for d above 10.2, at d + 0.35 above 100 on average. The
    8 that are left have 165 - 7 (d + 0.35) - 8 d for a margin of 8 + 0.08 d: too little from 154.55 / 15.08 = 10.24867.
    With 8, up to 10.2, they would have enough until 154.8 / 15.07.
    """
    rules = ruleset()
    ioc = {"id": "reduce", "do": "immediate_or_cancel", "price": "bankruptcy_price"}
    rules["liquidation"]["steps"].insert(0, ioc)
    snapshot = book([LONGS[0], SHORTS[0]], BALANCES)
    snapshot["markets"][0].update(impact_slope=0.1)
    evaluation = venue.evaluate(rules, snapshot)
    assert evaluation.exposure("l1", "BTCUSDT", execution="linear").first.move == Fraction(102487, 10**6)
    assert evaluation.exposure("l1", "BTCUSDT").first.move == Fraction(99010, 10**6)


def test_of_a_hedged_pair_the_leg_goes_first_whose_first_contract_is_taken_sooner():
    # l2 loses 5 of 20 contracts and never its last; the other venue's long has paid its price, so that its short stays.
    here = exposed(ruleset(), book([*LONGS[:2], SHORTS[0]], BALANCES), "l2")
    there = exposed(ruleset(), book([("h", -12, 130), ("o", 12, 100)], {"h": 10**6, "o": 1200}, mark=101), "h")
    pair = hedged_pair(here, there)
    assert (here.last.move, there.first.move) == (None, None)
    assert (pair.first, pair.move) == (0, here.first.move)
    assert (pair.net, pair.orphaned, pair.notional) == (8, (-12, 20), (12 * 101, 2000))
    # Once the long there can be ruined, below (100 - 5) / 0.99 of 101, its short goes sooner than l2 at 9.9 %.
    there = exposed(ruleset(), book([("h", -12, 130), ("o", 12, 100)], {"h": 10**6, "o": 60}, mark=101), "h")
    pair = hedged_pair(here, there)
    assert (pair.first, pair.move) == (
        1,
        Fraction(-(math.floor((1 - Fraction(95 * 100, 99 * 101)) * MILLION) + 1), MILLION),
    )
    assert hedged_pair(there, here).first == 0


# Other books: many accounts, inverse contracts, both sides of a market, ids that are numbers.


@pytest.mark.parametrize("account", ["w0", "w2", "w4"])
def test_a_book_of_many_prices_is_searched_with_few_resolutions(account):
    shorts = [(f"x{k}", -1, 100) for k in range(120)]
    longs = [(f"w{k}", 24, 50 + 10 * k) for k in range(5)]
    # Each short is liquidated at a price of its own.
    balances = {f"x{k}": 6 + (k * 37 % 120) * Fraction(1, 2) for k in range(120)} | {f"w{k}": 10**6 for k in range(5)}
    found = exposed(ruleset(), book(longs + shorts, {a: float(b) for a, b in balances.items()}), account)
    assert found.first.move == least(longs, shorts, balances, 1, account, 1)
    assert found.last.move == least(longs, shorts, balances, 1, account, 24)
    assert found.resolutions < 80


def test_an_inverse_contract_is_taken_where_its_coins_run_out():
    rules = ruleset()
    rules["currencies"] = {"BTC": {"quantum": 0.00000001}}
    rules["funds"] = [{"id": "main", "currency": "BTC"}]
    rules["instruments"][0].update(payoff="inverse", settle="BTC")
    funds = [{"fund": "main", "currency": "BTC", "balance": 0}]
    marks = {"BTCUSDT": 100}
    # A short of 1000 from 100 with 2 coins: 2 + 1000/p - 10 < 1 % of 1000/p above p = 990/8 = 123.75.
    up = [("l", "BTCUSDT", 1000, 50), ("s", "BTCUSDT", -1000, 100)]
    found = venue.evaluate(rules, venue.cross(up, {"l": 1000, "s": 2}, marks, "BTC", funds=funds))
    assert found.exposure("l", "BTCUSDT").first.move == Fraction(237501, MILLION)
    # A long: 2 + 10 - 1000/p < 10/p below p = 1010/12 = 84.1666...
    down = [("l", "BTCUSDT", 1000, 100), ("s", "BTCUSDT", -1000, 150)]
    found = venue.evaluate(rules, venue.cross(down, {"l": 2, "s": 100}, marks, "BTC", funds=funds))
    assert found.exposure("s", "BTCUSDT").last.move == -Fraction(158334, MILLION)


def test_of_an_account_with_both_sides_one_is_named():
    rules = ruleset()
    rules["margin"]["modes"] = ["cross", "hedge"]
    snapshot = book([("h", 10, 50), ("h", -4, 70), ("s", -6, 100)], {"h": 100, "s": 66})
    for row, side in zip(snapshot["positions"], ("long", "short", "short"), strict=True):
        row["position_side"] = side
    with pytest.raises(rp.QueryError, match="holds both sides of BTCUSDT"):
        exposed(rules, snapshot, "h")
    found = exposed(rules, snapshot, "h", side="long")
    # s brings 6 contracts; the 4 that are left still hedge the short leg of 4.
    assert (found.quantity, found.first.scenario.taken, found.last.move) == (10, 6, None)
    assert found.first.scenario.loss_of_hedge == 0
    # Of 8 there are 2 left: 2 of the short leg are open.
    snapshot["positions"][2]["quantity"], snapshot["accounts"][1]["balance"] = -8, 88
    found = exposed(rules, snapshot, "h", side="long")
    assert found.first.scenario.taken == 8
    assert found.first.scenario.loss_of_hedge == 2 * 100 * (1 + found.first.move)


def test_accounts_may_be_numbers():
    snapshot = book([(1, 10, 50), (2, -10, 100)], {1: 10**6, 2: 110})
    for account in (1, "1"):
        assert exposed(ruleset(), snapshot, account).first.move == Fraction(99010, MILLION)


def test_the_smallest_size_is_found_where_a_light_by_quantity_goes_up_and_down():
    # Behind x0 and its 16, with n of n + 26 contracts, (16 + n) x 5 / (n + 26) passes 4 above n = 24: light 1. From 31
    # on its leverage n / 5 is above x0's 1600 / 260, so that it goes first, at a higher light.
    rules = ruleset()
    rules["deleveraging"] |= {
        "score": "notional / max(1 * settle, bucket_equity)", "lights": {"count": 5, "by": "quantity"},
    }  # fmt: skip
    rows = [("w", 2, 100), ("x0", 16, 90), ("x1", 10, 90), ("s", -28, 100)]
    now = exposed(rules, book(rows, {"w": 500, "x0": 100, "x1": 5000, "s": 10**6}), "w")
    lights = {size: now.what_if(size=size).adl_light for size in (2, 24, 25, 30, 31, 34)}
    assert lights == {2: 2, 24: 2, 25: 1, 30: 1, 31: 3, 34: 3}
    assert now.changes().size.value == 25


def test_an_order_of_an_account_that_holds_sides_apart_opens_the_side_asked_for():
    rules = ruleset()
    rules["margin"]["modes"] = ["cross", "hedge"]
    tables = book([("h", -4, 70), ("w", 4, 70)], {"h": 1000, "w": 1000})
    tables["positions"][0]["position_side"], tables["positions"][1]["position_side"] = "short", "net"
    evaluation = venue.evaluate(rules, tables)
    opened = evaluation.exposure("h", "BTCUSDT", side="long", order="buy:2:100")
    assert (opened.side, opened.quantity) == ("long", 2)
    rows = opened._of.evaluation.positions.rows()
    assert {(r["position_side"], r["quantity"]) for r in rows if r["account"] == "h"} == {("short", -4), ("long", 2)}
    assert evaluation.exposure("h", "BTCUSDT", order="buy:1:100").quantity == 3
    with pytest.raises(rp.QueryError, match="more than the short side of `h` holds"):
        evaluation.exposure("h", "BTCUSDT", order="buy:9:100")
    with pytest.raises(rp.QueryError, match="more than the long side of `h` holds"):
        evaluation.exposure("h", "BTCUSDT", side="long", order="sell:1:100")
    # Who holds no sides apart turns around.
    assert evaluation.exposure("w", "BTCUSDT", order="sell:9:100").side == "short"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _: None, []),
        (lambda r: r["deleveraging"].update(protected_roles=["market_maker"]), ["nothing is taken of it: protected"]),
        (lambda r: r["deleveraging"].update(eligible="unrealized_pnl < 0"), ["nothing is taken of it: not eligible"]),
        (
            lambda r: r["deleveraging"].update(trigger={"start": "fund_balance <= 0", "stop": "fund_balance > 0"}),
            ["only while its trigger holds"],
        ),
        (
            lambda r: r["liquidation"]["steps"].insert(
                0, {"id": "open", "do": "auction", "reserve": "mark_price", "timeout_seconds": 60}
            ),
            ["may wait for a time"],
        ),
    ],
)
def test_it_says_what_its_numbers_leave_out(change, said):
    made = ruleset()
    change(made)
    tables = book([("a", -10, 100), ("w", 10, 50)], {"a": 5000, "w": 5000})
    tables["accounts"] = [{**row, "role": "market_maker"} for row in tables["accounts"]]
    found = exposed(made, tables, "w")
    assert len(found.remarks) == len(said)
    assert all(part in remark for part, remark in zip(said, found.remarks, strict=True))
    assert found.to_dict()["remarks"] == list(found.remarks)


decimals = st.tuples(st.integers(1, 10**6), st.integers(0, 6)).map(lambda x: x[0] / 10 ** x[1])
anything = st.one_of(decimals, st.floats(1e-12, 1e12), st.integers(1, 2**60), st.just(1e-9))
sizes = st.one_of(st.lists(decimals, min_size=1, max_size=8), st.lists(anything, min_size=1, max_size=8))


@settings(max_examples=100, deadline=None)
@example([720575940380.25], 1, [1e-05], [])  # the scale of the second takes the first beyond 53 bits
@given(sizes, st.sampled_from((1, 8, 9, 40)), sizes, st.lists(st.integers(0, 300), max_size=3))
def test_contracts_ahead_are_summed_exactly_whatever_their_digits(first, times, more, asked):
    shorts = [*first * times, *more]
    rules = ruleset()
    del rules["instruments"][0]["lot"]
    positions = [(f"s{k:03}", -size, 100) for k, size in enumerate(shorts)]
    tables = book(positions, {name: 0 for name, _, _ in positions}, complete=False)
    bound = venue.evaluate(rules, tables).bound
    rows = np.arange(len(shorts))
    wanted = [Fraction(0), *itertools.accumulate(abs(bound.exact_position(int(k))[0]) for k in rows)]
    sums = Ahead(bound, rows)
    # As far as is asked for, then from where that ended.
    for k in [*(min(a, len(rows)) for a in asked), *rows]:
        assert sums.of(k) == wanted[k]
    assert sums.whole == wanted[-1]
