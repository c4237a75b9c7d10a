"""Bounds from public data hold in every full book that fits the data: books of two markets, rankings that change."""

from fractions import Fraction

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

import riskpolicy as rp
from riskpolicy.engines.exposure_public import asked_of, ordered, public_exposure
from tests import venue
from tests.engines.test_exposure_by_hand import ruleset

F = Fraction
ENDS = (2, 5, 10, 20)

SCORES = (
    "max(0, unrealized_pnl) / entry_notional",
    # With leverage: whoever leads changes as the mark moves.
    "max(0, unrealized_pnl) / entry_notional * (bucket_notional / bucket_equity if bucket_equity > 0 else 0)",
    "unrealized_pnl * notional",
    # Those who lose go first: odd, and a ruleset may say so.
    "-unrealized_pnl",
)
TAKEOVER = {"id": "takeover", "do": "takeover", "by": "main", "price": "bankruptcy_price"}
IOC = {"id": "reduce", "do": "immediate_or_cancel", "price": "bankruptcy_price"}
ADL = {"id": "adl", "do": "deleverage"}


def rules(score=SCORES[0], steps=(ADL,), lights="accounts", count=5, **take):
    made = ruleset()
    made["instruments"].append({**made["instruments"][0], "symbols": ["ETHUSDT"]})
    made["margin"]["tiers"][0]["rows"] = [["unlimited", "1%"]]
    made["liquidation"]["steps"] = list(steps)
    made["deleveraging"].update(score=score, lights={"count": count, "by": lights})
    made["deleveraging"]["take"].update(take)
    return made


@st.composite
def full_books(draw):
    """A complete book of two markets; nobody is in liquidation at the marks, as at a venue that has seen to it."""
    positions, wallets = [], {}
    for symbol, entry in (("BTCUSDT", (85, 115)), ("ETHUSDT", (85, 115))):
        if symbol == "ETHUSDT" and draw(st.booleans()):
            continue
        left = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
        whole, right = sum(left), []
        while whole:
            right.append(draw(st.integers(1, whole)))
            whole -= right[-1]
        sides = [("l", q) for q in left] + [("s", -q) for q in right]
        free = [f"a{k}" for k in range(8)]
        for _, quantity in sides:
            account = draw(st.sampled_from(free))
            free.remove(account)
            if not free:
                free = [f"b{len(positions)}{k}" for k in range(8)]
            positions.append((account, symbol, quantity, draw(st.integers(*entry))))
    for account in {row[0] for row in positions}:
        held = [row for row in positions if row[0] == account]
        gain = sum(q * (100 - e) for _, _, q, e in held)
        notional = sum(abs(q) * 100 for _, _, q, _ in held)
        # An equity of 1/30 of the notional or more: above any margin rate drawn here.
        wallets[account] = F(notional, draw(st.sampled_from([1, 2, 3, 5, 7, 10, 20, 30]))) - gain
    return positions, wallets


def table(drawn, fund):
    positions, wallets = drawn
    marks = dict.fromkeys({"BTCUSDT"} | {row[1] for row in positions}, 100)
    funds = [{"fund": "main", "currency": "USDT", "balance": fund}]
    # Money at a venue is decimal: to eight places, up, so that nobody is worse off.
    balances = {a: str(F(-(-w * 10**8 // 1), 10**8).limit_denominator(10**8)) for a, w in wallets.items()}
    balances = {a: float(F(b)) for a, b in balances.items()}
    return venue.cross(positions, balances, marks, funds=funds, complete=True)


def public(evaluation, account, fund, known):
    """What the public sees of a full book, and the position's own holder of its own."""
    rows = [r for r in evaluation.positions.rows() if r["instrument"] == "BTCUSDT"]
    own = next(r for r in rows if r["account"] == account)
    mine = [r for r in rows if (r["quantity"] > 0) == (own["quantity"] > 0)]
    theirs = [r for r in rows if (r["quantity"] > 0) != (own["quantity"] > 0)]
    position = {"side": "long" if own["quantity"] > 0 else "short", "quantity": abs(own["quantity"])}
    said = {"instrument": "BTCUSDT", "open_interest": sum(abs(r["quantity"]) for r in mine), "position": position}
    if "light" in known:
        position["adl_light"] = own["adl_light"]
    if "holders" in known:
        said["positions"] = len(mine)
    if "lights" in known:
        said["lights"] = [
            sum(abs(r["quantity"]) for r in mine if r["adl_light"] == k)
            for k in range(1, evaluation.plan.deleveraging.light_count + 1)
        ]
    if "mark" in known:
        said["mark_price"] = 100
    if "fund" in known:
        said["fund_balance"] = fund
    if "leverage" in known:
        sizes = dict.fromkeys((*ENDS, None), F(0))
        for r in theirs:
            bucket = next(b for b in evaluation.buckets.rows() if b["account"] == r["account"])
            held = [x for x in evaluation.positions.rows() if x["account"] == r["account"]]
            leverage = sum(F(x["notional"]) for x in held) / F(bucket["equity"])
            sizes[next((end for end in ENDS if leverage <= end), None)] += F(abs(r["quantity"]))
        said["leverage"] = [[end, float(size)] for end, size in sizes.items()]
    return said


def within(value, pair):
    low, high = pair
    assert low is None or high is None or low <= high
    return (low is None or value >= low) and (high is None or value <= high)


KNOWN = ("light", "holders", "lights", "fund", "leverage", "mark")


@settings(max_examples=100, deadline=None)
@given(
    full_books(),
    st.data(),
    st.sampled_from(SCORES),
    st.sampled_from([[ADL], [TAKEOVER, ADL], [IOC, TAKEOVER, ADL]]),
    st.sampled_from(["accounts", "quantity"]),
    st.sampled_from([0, 5, 100, 1000]),
    st.sets(st.sampled_from(KNOWN)),
    st.sampled_from([{}, {"price": "bankruptcy_price"}, {"rule": "pro_rata_contracts"}]),
)
def test_the_truth_of_a_full_book_is_within_its_public_bounds(drawn, data, score, steps, lights, fund, known, take):
    made = rules(score, steps, lights, data.draw(st.sampled_from([2, 5])), **take)
    evaluation = venue.evaluate(made, table(drawn, fund))
    assert not evaluation.liquidation.triggered.any()
    holders = sorted({a for a, symbol, _, _ in drawn[0] if symbol == "BTCUSDT"})
    account = data.draw(st.sampled_from(holders))
    bounds = public_exposure(evaluation.plan, public(evaluation, account, fund, known))
    sides = {a: q > 0 for a, symbol, q, _ in drawn[0] if symbol == "BTCUSDT"}
    hedge = data.draw(st.sampled_from([a for a in holders if sides[a] != sides[account]]))
    truth = evaluation.exposure(account, "BTCUSDT", hedge=hedge)
    hold(truth, bounds)


def hold(truth, bounds):
    """Hold what a full book says to its public bounds."""
    assert truth.mechanism == bounds.mechanism
    assert within(truth.adl_rank, bounds.adl_rank)
    assert within(truth.adl_light, bounds.adl_light)
    assert within(truth.quantity_ahead, bounds.quantity_ahead)
    for which in ("first", "last"):
        true, bound = getattr(truth, which), getattr(bounds, which)
        assert true.contracts is None or within(true.contracts, bound.contracts)
        event(f"{which} {'reached' if true.move is not None else 'not reached'}")
        if true.move is not None:
            assert within(true.move, bound.move), (which, float(true.move), bound.move)
            assert within(true.deficit, bound.deficit), (which, float(true.deficit), bound.deficit)
            assert within(true.scenario.loss_of_profit, bound.loss_of_profit)
            assert within(true.scenario.loss_of_hedge, bound.loss_of_hedge)


@settings(max_examples=60, deadline=None)
@given(
    full_books(), st.data(), st.sampled_from(SCORES[:2]), st.sampled_from(["buy", "sell"]), st.integers(1, 12),
    st.sets(st.sampled_from(KNOWN)),
)  # fmt: skip
def test_after_an_order_too_whoever_was_on_its_other_side(drawn, data, score, word, size, known):
    evaluation = venue.evaluate(rules(score), table(drawn, 100))
    holders = sorted({a for a, symbol, _, _ in drawn[0] if symbol == "BTCUSDT"})
    account = data.draw(st.sampled_from(holders))
    other = data.draw(st.sampled_from([*(a for a in holders if a != account), *(["a9"] if len(holders) == 1 else [])]))
    after = evaluation.with_fill(account, "BTCUSDT", word, size)
    after = after.with_fill(other, "BTCUSDT", "sell" if word == "buy" else "buy", size)
    own = next(r["quantity"] for r in after.positions.rows() if (r["account"], r["instrument"]) == (account, "BTCUSDT"))
    assume(own and not after.liquidation.triggered.any())
    data_before = public(evaluation, account, 100, known)
    hold(
        after.exposure(account, "BTCUSDT"),
        public_exposure(evaluation.plan, ordered(data_before, f"{word}:{size}:100")),
    )


# Bounds are no wider than they need to be, where they say something: by hand.


def said(side="short", **more):
    position = {"side": side, "quantity": 4, "adl_light": 3}
    return {"instrument": "BTCUSDT", "open_interest": 100, "position": position, **more}


def bounds(given_, **of_rules):
    return public_exposure(venue.policy(rules(**of_rules)).plan, given_)


def test_leverage_of_the_other_side_bounds_the_move_in_its_direction():
    rows = [[5, 60], [10, 40], [20, 0]]
    # 10 x: equity is 10 % of the notional, 1 % is due: (0.1 - 0.01) / 1.01. Nobody has 20 x.
    least = F(9, 101)
    for side, pair in (("long", (least, None)), ("short", (-1, -least))):
        found = bounds(said(side, leverage=rows))
        assert found.first.move == found.last.move == pair
        assert found.to_dict()["scenarios"][0]["move"] == [None if x is None else float(x) for x in pair]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (None, "without the other side's leverage"),
        ([[5, 60], [10, 39]], "leaves a part of the open interest out"),
        ([[5, 60], [10, 39], [None, 1]], "any leverage"),
    ],
)
def test_where_leverage_is_not_known_only_the_direction_is(rows, why):
    found = bounds(said(**({} if rows is None else {"leverage": rows})))
    assert found.first.move == (-1, 0)
    assert why in found.why["move"]


def test_the_fund_bounds_the_deficit_only_where_it_takes_over_first():
    # Two markets, two sides, 100 positions of a lot: 400 quanta of 0.00000001 are what rounding may cost.
    found = bounds(said(fund_balance=1000), steps=[TAKEOVER, ADL])
    assert found.first.deficit == (1000 - F(400, 10**8), None)
    for steps in ([ADL], [{**TAKEOVER, "max_net_notional": "100%"}, ADL], [{**TAKEOVER, "price": "mark_price"}, ADL]):
        assert bounds(said(fund_balance=1000), steps=steps).first.deficit == (0, None)


def test_the_scenarios_are_bounded_by_the_rules_and_the_mark():
    found = bounds(said(mark_price=100))
    assert (found.first.loss_of_profit, found.first.loss_of_hedge) == ((0, 0), (0, 400))
    assert bounds(said("long", mark_price=100)).first.loss_of_hedge == (0, None)
    assert bounds(said(), price="bankruptcy_price").first.loss_of_profit == (None, None)


def test_a_signed_quantity_says_the_side_and_the_position_may_be_told_whole():
    own = {"quantity": -4, "entry_price": 120, "leverage": 10, "margin": 48, "adl_light": 3}
    assert bounds({**said(), "position": own}).to_dict() == bounds(said()).to_dict()
    with pytest.raises(rp.QueryError, match=r"`position\.leverage` is -1"):
        bounds({**said(), "position": {**own, "leverage": -1}})
    with pytest.raises(rp.QueryError, match=r"`position\.quantity` is -4"):
        bounds({**said(), "position": {**own, "side": "short"}})


def test_who_is_ahead_holds_a_lot_at_least():
    # By quantity the third of five lights ends after 60 % of 100 contracts and begins after 40 %, its own 4 included.
    found = bounds(said(), lights="quantity")
    assert (found.quantity_ahead, found.adl_rank) == ((36, 56), (2, 57))
    assert bounds(said()).adl_rank == (1, 97)
    # Contracts by light: 20 are in higher ones, 26 of others in its own.
    found = bounds(said(lights=[40, 10, 30, 0, 20]))
    assert (found.quantity_ahead, found.adl_rank) == ((20, 46), (2, 47))


def test_every_bound_says_from_what_it_follows():
    found = bounds(said())
    names = ("adl_rank", "adl_light", "quantity_ahead", "contracts", "deficit", "move")
    assert set(found.why) == {*names, "loss_of_profit", "loss_of_hedge"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"lights": [0, 0, 0, 0, 101]}, "`lights` has 101 contracts, more than the open interest"),
        ({"leverage": [[5, 60], [10, 41]]}, "`leverage` has 101 contracts, more than the open interest"),
        ({"lights": [48, 0, 3, 0, 49]}, "light 3 has 3 contracts, and the position more"),
        ({"positions": 3}, "of 3 positions nobody has light 3.*there are"),
        ({"positions": 2.5}, "`positions` is 2.5.*a whole number"),
        ({"lights": 7}, "`lights` is no list"),
        ({"leverage": 5}, "`leverage` is no list"),
        ({"lights": {"6": 1}}, "lights has no `6`"),
        ({"position": {"quantity": 0}}, "`position.quantity` is 0"),
        ({"position": {"quantity": 4, "side": "short", "adl_light": 2.5}}, "`position.adl_light` is 2.5"),
        ({"position": {"quantity": "4.5", "side": "short"}}, "no whole lots"),
    ],
)
def test_what_no_book_fits_is_refused(change, says):
    with pytest.raises(rp.QueryError, match=f"(?s){says}"):
        bounds(said(**change))


def test_lights_may_be_told_by_light_and_in_part():
    whole = bounds(said(lights=[40, 10, 30, 0, 20]))
    assert bounds(said(lights={"1": 40, "2": 10, "3": 30, "5": 20})).to_dict() == whole.to_dict()
    # 10 of whom nobody says the light may be ahead too.
    assert bounds(said(lights=[30, 10, 30, 0, 20])).quantity_ahead == (20, 56)


def test_what_is_asked_for_must_be_what_the_data_are_of():
    assert asked_of(said(), "BTCUSDT", "short") == said()
    unsided = {**said(), "position": {"quantity": 4}}
    assert asked_of(unsided, None, "short")["position"]["side"] == "short"
    with pytest.raises(rp.QueryError, match="data are of BTCUSDT, and `ETHUSDT` is asked for"):
        asked_of(said(), "ETHUSDT", None)
    with pytest.raises(rp.QueryError, match="is not long"):
        asked_of(said(), None, "long")


def test_an_order_from_public_data_by_hand():
    grown = ordered(said(leverage=[[5, 100]], positions=9), "sell:6:100")
    assert (grown["open_interest"], grown["position"], grown["positions"]) == (106, {"quantity": -10}, 9)
    assert "lights" not in grown
    assert bounds(grown).quantity_ahead == (0, 96)
    less = ordered(said(positions=9), "buy:1:100")
    assert (less["open_interest"], less["position"], less.get("positions")) == (100, {"quantity": -3}, None)
    turned = ordered(said(leverage=[[5, 100]]), "buy:6")
    assert (turned["open_interest"], turned["position"], turned.get("leverage")) == (102, {"quantity": 2}, None)
    first = ordered({"instrument": "BTCUSDT", "open_interest": 100}, "buy:5:100")
    assert (first["open_interest"], first["position"]) == (105, {"quantity": 5})
    for wrong in ("buy", "buy:x:1", "hold:1:1", "buy:4:100"):
        with pytest.raises(rp.QueryError):
            ordered(said(), wrong)
