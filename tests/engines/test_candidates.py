"""Candidates and demands of an evaluation: exact, on the right side, with the ranks of the queue."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from riskpolicy.engines.candidates import bankruptcies, candidates, reduced, supposed
from riskpolicy.engines.comparison import compare
from riskpolicy.engines.core.adl import Candidate
from riskpolicy.engines.policies import HAIRCUT, ProfitHaircut, known
from riskpolicy.errors import QueryError
from tests.venue import base, cross, evaluate

F = Fraction

#: At a mark of 90, A has lost 10 x 10 of 60: 40 short. W and V are short and win, L is long and has won too.
BOOK = cross(
    [("A", "BTCUSDT", 10, 100), ("W", "BTCUSDT", -6, 120), ("V", "BTCUSDT", -30, 100), ("L", "BTCUSDT", 26, 50)],
    {"A": 60, "W": 100, "V": 500, "L": 1000},
    {"BTCUSDT": 90},
)


def test_a_candidate_is_exact():
    assert candidates(evaluate(base(), BOOK), "BTCUSDT", "short") == [
        # Profit 6 x 30, entered at 720: the score is a quarter; V's is a tenth.
        Candidate("W", F(6), F(6), F(120), F(180), F(540), F(280), F(100), F(1, 4), 1),
        Candidate("V", F(30), F(30), F(100), F(300), F(2700), F(800), F(500), F(1, 10), 2),
    ]


def test_a_winner_on_the_side_of_the_bankrupt_account_is_never_a_candidate():
    evaluation = evaluate(base(), BOOK)
    (event,) = bankruptcies(evaluation)
    assert (event.account, event.demand.side, event.demand.contracts) == ("A", "short", 10)
    sides = {c.account for c in candidates(evaluation, "BTCUSDT", "short")}
    assert sides == {"W", "V"}
    # L, a long like A, has won more than all others.
    assert [c.account for c in candidates(evaluation, "BTCUSDT", "long")] == ["L", "A"]
    for comparison in compare(evaluation, [event], known()):
        for run in comparison.runs:
            assert all(len(side.taken) == 2 for side in run.sides)


def test_a_bankrupt_bucket_has_nothing_to_give():
    (_, bankrupt) = candidates(evaluate(base(), BOOK), "BTCUSDT", "long")
    assert (bankrupt.account, bankrupt.cap, bankrupt.equity) == ("A", 0, -40)


@pytest.mark.parametrize(
    ("rules", "caps"),
    [
        ({"eligible": "unrealized_pnl > 200 * settle"}, [0, 30]),
        ({"protected_roles": ["market_maker"]}, [6, 0]),
        ({"take": {"rule": "queue", "price": "bankruptcy_price", "most": "50%"}}, [3, 15]),
    ],
)
def test_whom_the_ruleset_spares_gives_nothing_under_any_policy(rules, caps):
    made = base()
    made["deleveraging"] |= rules
    made["instruments"][0]["lot"] = 1
    accounts = [{**a, "role": "market_maker" if a["account"] == "V" else "trader"} for a in BOOK["accounts"]]
    evaluation = evaluate(made, {**BOOK, "accounts": accounts})
    found = candidates(evaluation, "BTCUSDT", "short")
    assert [c.cap for c in found] == caps
    for comparison in compare(evaluation, bankruptcies(evaluation), known()):
        for run in comparison.runs:
            for allocation in run.allocations:
                if isinstance(allocation, ProfitHaircut):
                    assert all(paid == 0 for paid, cap in zip(allocation.paid, caps, strict=True) if not cap)
                else:
                    assert all(given_ <= cap for given_, cap in zip(allocation.given, caps, strict=True)), run


def test_the_residual_equity_of_the_bankrupt_account_is_counted():
    # All that A lacks, 40, and not the 100 that it lost: its 60 pay the rest. Over 10 contracts: 4 each, at 94.
    (event,) = bankruptcies(evaluate(base(), BOOK))
    assert (event.demand.deficit, event.demand.price) == (40, 94)
    assert event.demand.lost(event.demand.contracts) == 40


def test_no_money_is_made():
    # What winners lose against the mark is what the bankrupt side gains: its deficit, and nothing is left.
    evaluation = evaluate(base(), BOOK)
    (event,) = bankruptcies(evaluation)
    (comparison,) = compare(evaluation, [event], known())
    for run, row in zip(comparison.runs, comparison.rows, strict=True):
        (answer,), (outcome,) = run.allocations, run.outcomes
        raised = answer.paid if isinstance(answer, ProfitHaircut) else map(event.demand.lost, answer.given)
        assert sum(raised) == row.budget == sum(outcome.taken) == 40
        assert row.residual == 0
        if not isinstance(answer, ProfitHaircut):
            assert sum(answer.given) == event.demand.contracts


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(101, 140), st.integers(0, 400)), min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(1, 12), st.integers(90, 110), st.integers(0, 100)), min_size=1, max_size=3),
)
def test_the_queue_is_that_of_a_resolution(shorts, longs):
    # The engine of resolutions is written apart; the same ruleset and book must take the same contracts of everybody.
    held = [(f"S{k}", "BTCUSDT", -q, entry) for k, (q, entry, _) in enumerate(shorts)]
    held += [(f"L{k}", "BTCUSDT", q, entry) for k, (q, entry, _) in enumerate(longs)]
    # Of equities that may be less than what a price costs: such accounts are passed over by both.
    balances = {f"S{k}": b - q * (entry - 80) for k, (q, entry, b) in enumerate(shorts)} | {
        f"L{k}": b for k, (_, _, b) in enumerate(longs)
    }
    snapshot = cross(held, balances, {"BTCUSDT": 80})
    snapshot["funds"] = [{"fund": "main", "currency": "USDT", "balance": 0}]
    ruleset = base()
    ruleset["liquidation"]["trigger"] = "equity < 0 * settle"
    evaluation = evaluate(ruleset, snapshot)
    events, resolved = bankruptcies(evaluation), evaluation.resolve("book")
    # A resolution asks again whoever was passed over and has become richer by then; a comparison asks once an event.
    assume(events and (len(events) == 1 or not resolved.skipped))
    (comparison,) = compare(evaluation, events, ["queue"])
    taken: dict[str, Fraction] = {}
    for d in resolved.deleveraged:
        taken[d.account] = taken.get(d.account, F(0)) + abs(d.quantity)
    order = candidates(evaluation, "BTCUSDT", "short")
    given_ = [sum(a.given[i] for a in comparison.runs[0].allocations) for i in range(len(order))]
    assert {c.account: g for c, g in zip(order, given_, strict=True) if g} == taken
    assert comparison.rows[0].budget == sum(d.lost for d in resolved.deleveraged)


def test_events_of_a_wave_see_what_the_one_before_left():
    book = cross(
        [("A", "BTCUSDT", 10, 100), ("B", "BTCUSDT", 10, 100), ("W", "BTCUSDT", -15, 120), ("V", "BTCUSDT", -9, 100)],
        {"A": 60, "B": 70, "W": 100, "V": 500},
        {"BTCUSDT": 90},
    )
    evaluation = evaluate(base(), book)
    events = bankruptcies(evaluation)
    assert [e.account for e in events] == ["A", "B"]
    (comparison,) = compare(evaluation, events, ["queue", HAIRCUT])
    queue, haircut = comparison.runs
    assert [a.given for a in queue.allocations] == [(10, 0), (5, 5)]
    assert queue.sides[0].closed == (1, F(5, 9))
    # W loses 4 on each of 10 contracts, then 3 on each of 5.
    assert queue.sides[0].taken == (55, 15)
    # 40 and then 30 of profits of 450 and 90 in all.
    assert haircut.sides[0].taken == (70 * F(450, 540), 70 * F(90, 540))


def test_a_loss_in_one_market_is_missing_in_the_other():
    ruleset = base()
    ruleset["instruments"][0]["symbols"].append("ETHUSDT")
    book = cross(
        [("A", "BTCUSDT", 10, 100), ("B", "ETHUSDT", 10, 100), ("W", "BTCUSDT", -10, 95), ("W", "ETHUSDT", -10, 95)],
        {"A": 60, "B": 70, "W": -40},
        {"BTCUSDT": 90, "ETHUSDT": 90},
    )
    evaluation = evaluate(ruleset, book)
    # W has an equity of 60. The first event costs it 40, and of the other 30 it could not bear more than 20.
    (comparison,) = compare(evaluation, bankruptcies(evaluation), ["random_start"])
    first, second = comparison.runs[0].allocations
    assert (first.given, second.given) == ((10,), (0,))
    assert second.skipped == ("bankruptcy prices do not overlap",)


def test_nobody_is_deleveraged_against_itself():
    evaluation = evaluate(base(), BOOK)
    (event,) = bankruptcies(evaluation)
    (comparison,) = compare(evaluation, [replace(event, account="W")], ["queue"])
    (answer,) = comparison.runs[0].allocations
    assert (answer.given, answer.skipped[0]) == ((0, 10), "its own account")


def test_what_was_given_is_taken_off_the_cap():
    evaluation = evaluate(base(), BOOK)
    (event,) = bankruptcies(evaluation)
    (w, v) = candidates(evaluation, "BTCUSDT", "short")
    after = reduced(event.demand, replace(v, cap=F(5)), F(4))
    assert (after.contracts, after.cap, after.unrealized_pnl, after.notional) == (26, 1, 260, 2340)
    # 40 of profit less the 16 that the price costs.
    assert after.wallet_balance == 500 + 40 - 16
    assert reduced(event.demand, w, F(0)) == w


def test_a_cross_bucket_that_is_bankrupt_gives_up_all_its_equity_once():
    ruleset = base()
    ruleset["instruments"][0]["symbols"].append("ETHUSDT")
    book = cross(
        [("A", "BTCUSDT", 10, 100), ("A", "ETHUSDT", -1, 500), ("W", "BTCUSDT", -20, 120), ("V", "ETHUSDT", 3, 400)],
        {"A": 60, "W": 100, "V": 500},
        {"BTCUSDT": 90, "ETHUSDT": 510},
    )
    first, second = bankruptcies(evaluate(ruleset, book))
    assert (first.demand.instrument, first.demand.price, first.demand.deficit) == ("BTCUSDT", 95, 50)
    assert (second.demand.instrument, second.demand.price, second.demand.deficit) == ("ETHUSDT", 510, 0)
    assert (second.demand.side, second.demand.event) == ("long", 1)
    ruleset["margin"]["bankruptcy"] = "notional"
    first, second = bankruptcies(evaluate(ruleset, book))
    assert first.demand.deficit == 50 * F(900, 1410)
    assert first.demand.deficit + second.demand.deficit == 50
    assert second.demand.price == 510 - second.demand.deficit


@pytest.mark.parametrize("side", ["long", "short"])
def test_an_inverse_contract(side):
    sign = 1 if side == "long" else -1
    ruleset = base()
    ruleset["currencies"]["BTC"] = {"quantum": 0.00000001}
    ruleset["instruments"] = [
        {"symbols": ["XBTUSD"], "payoff": "inverse", "settle": "BTC", "contract_size": 100, "tiers": "btc"}
    ]
    del ruleset["waterfall"][1]
    del ruleset["funds"]
    mark = 40000 if side == "short" else 62500
    book = cross(
        [("A", "XBTUSD", -10 * sign, 50000), ("W", "XBTUSD", 10 * sign, 50000)], {"A": 0.003, "W": 1},
        {"XBTUSD": mark}, currency="BTC",
    )  # fmt: skip
    (event,) = bankruptcies(evaluate(ruleset, book))
    of = event.demand
    # 1,000 dollars: 0.02 BTC at the entry, 0.025 or 0.016 at the mark.
    lost = F(1000, 40000) - F(1000, 50000) if side == "short" else F(1000, 50000) - F(1000, 62500)
    assert (of.side, of.contracts, of.inverse, of.deficit) == (side, 10, True, lost - F(3, 1000))
    assert of.lost(of.contracts) == of.deficit
    (winner,) = candidates(evaluate(ruleset, book), "XBTUSD", side)
    assert winner.unrealized_pnl == lost


@pytest.mark.parametrize(
    ("given_", "price", "contracts", "deficit"),
    [
        ({"quantity": F(7)}, F(909, 10), 7, F(63, 10)),
        ({"quantity": F(7), "price": F(100)}, 100, 7, 70),
        ({"budget": F(25), "price": F(100)}, 100, F(5, 2), 25),
        ({"quantity": F(7), "price": F(80)}, 80, 7, 0),
    ],
)
def test_an_event_that_is_supposed(given_, price, contracts, deficit):
    of = supposed(evaluate(base(), BOOK), "BTCUSDT", "short", **given_).demand
    assert (of.price, of.contracts, of.deficit) == (price, contracts, deficit)


def test_a_budget_becomes_whole_lots():
    ruleset = base()
    ruleset["instruments"][0]["lot"] = 1
    of = supposed(evaluate(ruleset, BOOK), "BTCUSDT", "short", budget=F(25), price=F(100)).demand
    assert (of.contracts, of.deficit, of.lost(of.contracts)) == (3, 25, 30)


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda e: candidates(e, "BTCUSD", "long"), "did you mean `BTCUSDT`?"),
        (lambda e: candidates(e, "BTCUSDT", "buy"), "say long or short"),
        (lambda e: supposed(e, "BTCUSDT", "long", budget=F(5), price=F(95)), "give a price below the mark"),
        (lambda e: compare(e, bankruptcies(e), ["que"]), "did you mean `queue`?"),
    ],
)
def test_what_can_not_be_asked(call, hint):
    with pytest.raises(QueryError) as caught:
        call(evaluate(base(), BOOK))
    assert caught.value.findings[0].hint == hint


def test_without_a_ranking_ranks_go_by_account():
    ruleset = base()
    del ruleset["deleveraging"], ruleset["liquidation"]["steps"][1], ruleset["waterfall"][2]
    found = candidates(evaluate(ruleset, BOOK), "BTCUSDT", "short")
    assert [(c.account, c.score, c.rank) for c in found] == [("V", None, 1), ("W", None, 2)]


@pytest.mark.parametrize("severity", [None, {"rule": "static", "start": "60%"}])
@pytest.mark.parametrize(
    "take",
    [
        {"rule": "queue"}, {"rule": "queue", "most": "50%"}, {"rule": "random_start", "seed": 1},
        {"rule": "random_start", "seed": 3}, {"rule": "pro_rata"}, {"rule": "least_leverage"},
        {"rule": "lexicographic", "parameters": {"keys": ["contracts desc"]}},
        {"rule": "capped_pro_rata", "parameters": {"most": "25%"}},
    ],
)  # fmt: skip
def test_the_policy_of_a_ruleset_is_compared_as_it_resolves(take, severity):
    ruleset = base()
    ruleset["liquidation"]["steps"] = [{"id": "adl", "do": "deleverage"}]
    ruleset["instruments"][0]["lot"] = 1
    ruleset["deleveraging"]["take"] |= take
    positions = [("A", "BTCUSDT", 10, 100), *((f"W{k}", "BTCUSDT", -q, e) for k, (q, e) in enumerate(SHORTS_OF))]
    tables = cross(positions, {"A": 60, **{f"W{k}": 500 for k in range(len(SHORTS_OF))}}, {"BTCUSDT": 90})
    tables["funds"] = [{"fund": "main", "currency": "USDT", "balance": 0}]
    if severity is not None:
        ruleset["deleveraging"]["severity"] = severity
        tables["markets"][0]["adl_severity"] = 0.3
    evaluation = evaluate(ruleset, tables)
    seed = evaluation.plan.deleveraging.seed
    (comparison,) = compare(evaluation, bankruptcies(evaluation, seed), ["ruleset"])
    (run,) = comparison.runs
    given_ = {a: g for a, g in zip(run.accounts[0], run.allocations[0].given, strict=True) if g}
    taken = {}
    for d in evaluation.resolve("book").deleveraged:
        taken[d.account] = taken.get(d.account, 0) + abs(d.quantity)
    assert given_ == taken


SHORTS_OF = ((8, 130), (7, 120), (6, 110), (4, 101))


def test_a_severity_of_zero_asks_no_policy_and_no_plugin():
    asked_for = []

    def allocate(demand, candidates):
        asked_for.append(demand)
        raise AssertionError(candidates)

    evaluation = evaluate(base(), BOOK)
    (comparison,) = compare(
        evaluation, bankruptcies(evaluation), ["mine"], severity="static:start=0", own={"mine": allocate}
    )
    (answer,) = comparison.runs[0].allocations
    assert asked_for == []
    assert (set(answer.given), set(answer.skipped), answer.remaining) == ({0}, {"nothing is asked for"}, 10)
