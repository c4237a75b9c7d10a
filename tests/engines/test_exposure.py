"""The exposure pre-check: worked by hand, against brute force on small books, and what public data bound."""

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import riskpolicy as rp
from riskpolicy.engines.exposure import hedged_pair
from riskpolicy.engines.exposure_public import public_exposure
from tests import venue
from tests.engines.test_resolve import ADL, IOC, MARKET, ruleset

F = Fraction


def book(mark=100, *, a=(10, 100, 150), others=((-6, 130, 500), (-4, 110, 500)), more=()):
    """A is long; the others are (quantity, entry, balance)."""
    held = [("A", *a), *((f"W{k}", *rest) for k, rest in enumerate(others)), *more]
    positions = [(name, "BTC", q, e) for name, q, e, _ in held]
    tables = venue.cross(positions, {name: b for name, _, _, b in held}, {"BTC": mark})
    tables["funds"] = [{"fund": "main", "currency": "USDT", "balance": 0}]
    return tables


RULES = ruleset([IOC, ADL])
RULES["deleveraging"]["score"] = (
    "unrealized_pnl / entry_notional * (notional / bucket_equity if bucket_equity > 0 else 0)"
)


def exposure(account="W0", tables=None, rules=RULES, **more):
    return venue.evaluate(rules, tables or book()).exposure(account, "BTC", **more)


def test_a_winner_worked_by_hand():
    # W0 leads: 6 x (130 - 100). A has 150 for 10 contracts and 1 % is due: liquidated below 85.86, bankrupt at 85.
    found = exposure()
    assert (found.mechanism, found.side, found.adl_rank, found.adl_light) == ("queue", "short", 1, 5)
    assert (found.quantity_ahead, found.positions, found.first.contracts, found.last.contracts) == (0, 2, 0, 6)
    assert found.first.move == found.last.move == F("-0.141415")
    assert found.first.deficit == 0
    second = exposure("W1")
    assert (second.adl_rank, second.quantity_ahead, second.first.contracts, second.last.contracts) == (2, 6, 6, 10)


def test_the_scenario_is_what_a_resolution_at_that_move_takes():
    found = exposure()
    first = found.first.scenario
    result = venue.evaluate(RULES, book(float(first.mark_price))).resolve()
    mine = result.taken_from("W0")
    assert first.taken == -sum(d.quantity for d in mine)
    assert first.loss_of_profit == sum(d.lost for d in mine)
    nearer = venue.evaluate(RULES, book(float(first.mark_price + F("0.0001")))).resolve()
    assert nearer.taken_from("W0") == []


def test_a_market_order_in_the_book_keeps_it_away():
    tables = book()
    tables["depth"] = [{"instrument": "BTC", "side": "bid", "price": 86, "quantity": 1000}]
    deep = exposure(tables=tables, rules=ruleset([MARKET, ADL]))
    assert deep.first.move is None
    assert deep.first.deficit is None
    assert deep.to_dict()["first"] == {"contracts": 0.0, "deficit": None, "move": None}
    assert deep.scenarios[0].loss_of_profit is None


@pytest.mark.parametrize(
    ("steps", "waterfall", "mechanism"),
    [
        ([IOC], None, "none"), ([IOC, ADL], None, "queue"),
        ([MARKET], [{"id": "all", "pays": "socialization"}, {"id": "end", "pays": "residual"}], "socialised"),
    ],
)  # fmt: skip
def test_the_mechanism_is_that_of_the_ruleset(steps, waterfall, mechanism):
    made = ruleset(steps, waterfall)
    found = exposure(rules=made)
    assert found.mechanism == mechanism
    if mechanism != "queue":
        # There is no book, so nobody loses anything that others would share.
        assert found.first.move is None


def test_policies_that_take_from_all_are_reached_by_the_first_contract():
    made = ruleset([IOC, ADL])
    made["deleveraging"]["take"]["rule"] = "pro_rata_contracts"
    found = exposure("W1", rules=made)
    assert found.mechanism == "pro_rata"
    # All ten of A are closed at the move that takes its first.
    assert (found.first.contracts, found.last.contracts) == (10, 10)


def test_a_hypothetical_order_is_filled_first():
    # Two bought back at the mark: four are left, of the same profit ratio.
    assert exposure(order="buy:2:100").quantity == 4
    assert exposure(order=("buy", 6, None)).side is None
    assert exposure("W1", order="sell:6:130").adl_rank == 1
    with pytest.raises(rp.QueryError, match="no order"):
        exposure(order="buy")


def test_what_if_and_the_smallest_change_agree():
    found = exposure()
    changes = found.changes()
    assert found.adl_light == 5
    for name in ("size", "leverage", "margin", "profit"):
        step = getattr(changes, name)
        assert step is not None, name
        there = found.what_if(**{name: step.value})
        assert (there.adl_rank, there.adl_light) == (step.adl_rank, step.adl_light)
        assert there.adl_light < found.adl_light
    # One unit less of added margin is not enough.
    short = found.what_if(margin=changes.margin.value - F("0.01"))
    assert short.adl_light == 5


def test_weights_make_a_mean():
    found = exposure(weights={"first": 3, "last": 1})
    first, last = (s.loss_of_profit for s in found.scenarios)
    assert found.mean["loss_of_profit"] == (3 * first + last) / 4
    with pytest.raises(rp.QueryError, match="no scenario"):
        exposure(weights={"worst": 1})


def test_ccxts_structure():
    said = exposure().to_ccxt("BTC/USDT:USDT")
    assert said["symbol"] == "BTC/USDT:USDT"
    assert (said["rank"], said["rating"], said["percentage"]) == (5, "high", 100.0)
    assert exposure("W1").to_ccxt()["rating"] in ("low", "medium")


def test_a_hedge_left_behind():
    tables = book(more=(("H", 6, 100, 10000),))
    found = exposure(tables=tables, hedge="H")
    scenario = found.last.scenario
    assert scenario.loss_of_hedge == scenario.taken * scenario.mark_price
    one, other = exposure(tables=tables), exposure("H", tables=tables)
    pair = hedged_pair(one, other)
    assert (pair.net, pair.orphaned, pair.notional) == (0, (6, -6), (600, 600))
    assert pair.first == 0
    with pytest.raises(rp.QueryError, match="do not hedge"):
        hedged_pair(one, one)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"account": "nobody"}, "no account `nobody`"), ({"side": "up"}, "no side"),
        ({"weights": {"first": 0}}, "all weights are zero"),
    ],
)  # fmt: skip
def test_questions_that_make_no_sense(arguments, says):
    with pytest.raises(rp.QueryError, match=says):
        exposure(**{"account": "W0", **arguments})


# --- against brute force ---

POSITION = st.tuples(st.integers(1, 6), st.integers(80, 120), st.integers(60, 900))


@st.composite
def books(draw):
    longs = draw(st.lists(POSITION, min_size=1, max_size=3))
    shorts = draw(st.lists(POSITION, min_size=1, max_size=3))
    held = [(f"L{k}", q, e, b) for k, (q, e, b) in enumerate(longs)]
    held += [(f"S{k}", -q, e, b) for k, (q, e, b) in enumerate(shorts)]
    tables = venue.cross([(n, "BTC", q, e) for n, q, e, _ in held], {n: b for n, _, _, b in held}, {"BTC": 100})
    tables["funds"] = [{"fund": "main", "currency": "USDT", "balance": draw(st.sampled_from([0, 50]))}]
    return tables


@settings(max_examples=40, deadline=None)
@given(books(), st.data())
def test_rank_and_contracts_ahead_are_those_of_the_queue(tables, data):
    evaluation = venue.evaluate(RULES, tables)
    rows = {r["account"]: r for r in evaluation.positions.rows()}
    account = data.draw(st.sampled_from(sorted(rows)))
    own = rows[account]
    found = evaluation.exposure(account, "BTC")
    same = [r for r in rows.values() if (r["quantity"] > 0) == (own["quantity"] > 0)]
    assert found.adl_rank == own["adl_rank"]
    assert found.adl_light == own["adl_light"]
    assert found.quantity_ahead == sum(abs(r["quantity"]) for r in same if r["adl_rank"] < own["adl_rank"])


@settings(max_examples=15, deadline=None)
@given(books(), st.data())
def test_no_smaller_move_takes_a_contract(tables, data):
    evaluation = venue.evaluate(RULES, tables)
    account = data.draw(st.sampled_from(sorted(r["account"] for r in evaluation.positions.rows())))
    found = evaluation.exposure(account, "BTC")
    move = found.first.move
    limit = F(9, 10) if move is None else abs(move)
    sign = -1 if found.side == "short" else 1

    def taken(at):
        return evaluation.shock({"BTC": 100 * (1 + sign * at)}).resolve().taken_from(account)

    for k in range(30):
        at = limit * k / 30
        # Moves are counted in millionths of the mark.
        assert at > limit - F(1, 10**6) or not taken(at)
    if move is not None:
        assert taken(limit)
        assert limit == 0 or not taken(limit - F(1, 10**6))


# --- public data ---


def public(evaluation, account, **known):
    """The public data that a full book stands behind."""
    rows = {r["account"]: r for r in evaluation.positions.rows()}
    own = rows[account]
    long = own["quantity"] > 0
    mine = [r for r in rows.values() if (r["quantity"] > 0) == long]
    theirs = [r for r in rows.values() if (r["quantity"] > 0) != long]
    equity = {r["account"]: F(r["equity"]) for r in evaluation.buckets.rows()}
    ends = [2, 5, 10, 20, 50]
    sizes = [0.0] * (len(ends) + 1)
    for r in theirs:
        e = equity[r["account"]]
        lever = abs(F(r["quantity"])) * 100 / e if e > 0 else F(10**9)
        sizes[int(np.searchsorted([float(x) for x in ends], float(lever)))] += abs(r["quantity"])
    said = {
        "instrument": "BTC", "open_interest": max(sum(abs(r["quantity"]) for r in side) for side in (mine, theirs)),
        "position": {"side": "long" if long else "short", "quantity": abs(own["quantity"])},
    }  # fmt: skip
    if known.get("light"):
        said["position"]["adl_light"] = own["adl_light"]
    # Who holds an own side that is not complete is no number that a venue would show.
    if known.get("holders") and sum(abs(r["quantity"]) for r in mine) == said["open_interest"]:
        said["positions"] = len(mine)
    if known.get("lights"):
        said["lights"] = [sum(abs(r["quantity"]) for r in mine if r["adl_light"] == k) for k in range(1, 6)]
    if known.get("leverage"):
        said["leverage"] = [[end, size] for end, size in zip([*ends, None], sizes, strict=True)]
    if known.get("fund"):
        said["fund_balance"] = float(evaluation.snapshot.numbers("funds", "balance").exact(0))
    return said


def within(value, pair):
    low, high = pair
    return (low is None or value >= low) and (high is None or value <= high)


@settings(max_examples=40, deadline=None)
@given(books(), st.data(), st.sampled_from(["queue", "pro_rata_contracts"]))
def test_the_truth_is_within_what_public_data_bound(tables, data, rule):
    made = ruleset([IOC, {"id": "take", "do": "takeover", "by": "main", "price": "bankruptcy_price"}, ADL])
    made["deleveraging"]["take"]["rule"] = rule
    evaluation = venue.evaluate(made, tables)
    account = data.draw(st.sampled_from(sorted(r["account"] for r in evaluation.positions.rows())))
    known = {k: data.draw(st.booleans()) for k in ("light", "holders", "lights", "leverage", "fund")}
    found = public_exposure(evaluation.plan, public(evaluation, account, **known))
    truth = evaluation.exposure(account, "BTC")
    assert within(truth.adl_rank, found.adl_rank)
    assert within(truth.adl_light, found.adl_light)
    assert within(truth.quantity_ahead, found.quantity_ahead)
    for which in ("first", "last"):
        true, bound = getattr(truth, which), getattr(found, which)
        assert true.contracts is None or within(true.contracts, bound.contracts)
        if true.move is not None:
            assert within(true.move, bound.move)
            assert within(true.deficit, bound.deficit) or not known["fund"]


def test_lights_by_quantity_bound_what_is_ahead():
    made = ruleset([IOC, ADL])
    made["deleveraging"]["lights"] = {"count": 5, "by": "quantity"}
    evaluation = venue.evaluate(made, book())
    said = {"instrument": "BTC", "open_interest": 100, "position": {"side": "short", "quantity": 4, "adl_light": 3}}
    found = public_exposure(evaluation.plan, said)
    # The third light ends 60 % down the queue and begins after 40 %, its own four included.
    assert found.quantity_ahead == (36, 56)
    assert found.first.contracts == (36, 56)
    assert found.last.contracts == (40, 60)
    assert found.to_dict()["quantity_ahead"] == [36.0, 56.0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"open_interest": None}, "open_interest"), ({"open_interest": -1}, "is -1"), ({"instrument": "ETH"}, "ETH"),
        ({"position": {"side": "up", "quantity": 1}}, "no side"), ({"positon": 1}, "no `positon`"),
        ({"position": {"side": "long", "quantity": 50}}, "more than the open interest"),
        ({"position": {"side": "long", "quantity": 1, "adl_light": 9}}, "no light 9"),
        ({"leverage": [[5, 1], [2, 1]]}, "does not rise"), ({"lights": [1, 2]}, "2 lights"),
    ],
)  # fmt: skip
def test_public_data_that_are_none(change, says):
    said = {"instrument": "BTC", "open_interest": 10, "position": {"side": "short", "quantity": 4}, **change}
    with pytest.raises(rp.QueryError, match=says):
        public_exposure(venue.policy(RULES).plan, said)


def test_the_command(tmp_path, monkeypatch, capsys):
    from riskpolicy.cli import main

    (tmp_path / "venue.yaml").write_text(venue.text(RULES))
    (tmp_path / "book.json").write_text(json.dumps(book()))
    (tmp_path / "public.json").write_text(
        json.dumps({"instrument": "BTC", "open_interest": 10, "position": {"side": "short", "quantity": 4}})
    )

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["riskpolicy", "exposure", str(tmp_path / "venue.yaml"), *arguments])
        monkeypatch.setenv("COLUMNS", "200")
        try:
            main()
            status = 0
        except SystemExit as done:
            status = done.code or 0
        out = capsys.readouterr()
        return status, out.out, out.err

    whole = [str(tmp_path / "book.json"), "--account", "W0", "--instrument", "BTC"]
    status, out, _ = run(*whole)
    assert status == 0
    assert "Rank 1 of 2, light ●●●●●" in out
    said = json.loads(run(*whole, "--format", "json")[1])
    assert set(said) >= {"mechanism", "adl_rank", "adl_light", "quantity_ahead", "first", "last", "scenarios", "ccxt"}
    assert set(said["first"]) == {"contracts", "deficit", "move"}
    supposed = json.loads(run(*whole, "--what-if", "size=1", "--order", "buy:1:100", "--format", "json")[1])
    assert supposed["quantity"] == 1.0
    bounds = json.loads(run("--public", str(tmp_path / "public.json"), "--format", "json")[1])
    assert bounds["quantity_ahead"] == [0.0, 6.0]
    assert "Bounds from public data" in run("--public", str(tmp_path / "public.json"))[1]
    assert run()[0] == 2
    assert run(str(tmp_path / "book.json"))[0] == 2
    assert run(*whole, "--what-if", "colour=1")[0] == 2
