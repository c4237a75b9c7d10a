"""Liquidation over time, worked by hand: cooldowns, parts, ramps, auctions, release; and what stays at one instant."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

import riskpolicy as rp
from riskpolicy.engines.resolve import resolve_once
from riskpolicy.engines.resolving.incoming import Applied
from riskpolicy.engines.resolving.staged import Bid
from riskpolicy.snapshot.write import snapshot_dict
from tests import venue
from tests.engines.test_resolve import ADL, drawn, of, resolved, ruleset, snapshot

F = Fraction
DEEP = [("bid", 100, 1000), ("ask", 101, 1000)]


def at(second, tables):
    return {**tables, "as_of": f"2025-01-01T00:{second // 60:02}:{second % 60:02}+00:00"}


def later(result, second):
    """The snapshot after a resolution, some seconds on."""
    return replace(result.after, as_of=datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=second))


def accounts(result):
    return {row["account"]: row for row in snapshot_dict(result.after)["accounts"]}


def sizes(result):
    return [float(s.quantity) for s in result.steps if s.quantity]


STAGED = {
    "id": "book", "do": "market_order", "leftover": "account",
    "staged": {"above": 500, "portion": "20%", "cooldown_seconds": 30},
}  # fmt: skip


def staged(balance=100):
    """10 contracts from 100, marked at 90.5, sold at 90: a notional of 905."""
    return at(0, snapshot(90.5, 0, balance=balance, depth=[("bid", 90, 100)]))


def test_a_large_position_goes_in_parts_with_a_cooldown_between():
    policy = venue.policy(ruleset([STAGED]))
    first = policy.evaluate(staged()).resolve()
    # 100 - 95 = 5 of equity, 9.05 due; 20 % of 10 contracts are 2.
    assert sizes(first) == [-2]
    assert first.waiting == ["A"]
    assert first.to_dict()["resumes_at"] == {"A": "2025-01-01T00:00:30+00:00"}
    same = policy.evaluate(first.after).resolve()
    assert (same.steps, same.waiting) == ([], ["A"])
    assert same.resumes == first.resumes
    before = policy.evaluate(later(first, 29)).resolve()
    assert sizes(before) == []
    # At 30 seconds and not before: now the rest.
    second = policy.evaluate(later(first, 30)).resolve()
    assert sizes(second) == [-8]
    assert second.waiting == []
    assert of(policy.evaluate(second.after), "A")["state"] == "healthy"


def test_a_small_position_goes_at_once():
    tables = snapshot(90.5, 0, balance=50, quantity=5, depth=[("bid", 90, 100)])
    # A notional of 452.5.
    result = resolved(ruleset([STAGED]), at(0, tables))
    assert sizes(result) == [-5]
    assert result.waiting == []


def test_who_is_healthy_again_starts_anew_after_its_cooldown():
    rules = ruleset([{**STAGED, "until": "healthy"}])
    policy = venue.policy(rules)
    # 9.05 is due and 9 is there: one contract sold at 90 leaves 8.5, and 8.145 due.
    first = policy.evaluate(at(0, snapshot(90.5, 0, balance=104, depth=[("bid", 90, 100)]))).resolve()
    assert sizes(first) == [-1]
    assert first.waiting == []
    row = accounts(first)["A"]
    assert row["in_liquidation"] == "false"
    assert row["cooldown_until"] == "2025-01-01T00:00:30+00:00"


def test_without_an_instant_a_cooldown_is_over_when_an_instant_comes():
    policy = venue.policy(ruleset([STAGED]))
    tables = staged()
    del tables["as_of"]
    first = policy.evaluate(tables).resolve()
    assert first.to_dict()["resumes_at"] == {"A": "1970-01-01T00:00:30+00:00"}
    assert policy.evaluate(first.after).resolve().steps == []
    assert sizes(policy.evaluate(later(first, 0)).resolve()) == [-8]


def test_while_a_step_waits_only_steps_with_a_condition_go_on():
    vault = {
        "id": "vault",
        "do": "takeover",
        "by": "main",
        "price": "mark_price",
        "when": "equity < maintenance_margin / 2",
    }
    rules = ruleset([STAGED, ADL | {"id": "last"}, vault])
    first = venue.policy(rules).evaluate(staged()).resolve()
    assert {s.step for s in first.steps} == {"liquidation.steps.book"}
    # 91 leave -4 + 0: the condition holds, though the order has still to wait.
    tables = staged(balance=98)
    tables["funds"][0]["balance"] = 1000
    result = venue.policy(rules).evaluate(tables).resolve()
    assert [s.step.split(".")[-1] for s in result.steps if s.quantity] == ["book", "vault"]


def test_a_bankrupt_bucket_does_not_wait_for_a_cooldown():
    # Two of ten are sold, three below zero; the winners are closed at once.
    result = resolved(ruleset([STAGED, ADL]), staged(balance=94))
    assert sizes(result)[0] == -2
    assert sum(d.quantity for d in result.deleveraged) == -8
    assert result.waiting == []


RAMP = {
    "id": "ramp", "do": "market_order", "leftover": "account", "until": "healthy",
    "ramp": {"initial": "10%", "duration_seconds": 100},
}  # fmt: skip


def ramped(**more):
    """1,000 contracts from 100, marked and sold at 99: 1,980 due at 2 %, 990 there."""
    base = venue.tiers([["unlimited", "2%"]])
    base["currencies"]["USDT"]["quantum"] = 0.01
    base["margin"]["initial"] = "notional / 10"
    base["instruments"][0] |= {"lot": 1, "symbols": ["BTC"]}
    base["liquidation"]["steps"] = [{**RAMP, "ramp": {**RAMP["ramp"], **more}}]
    tables = snapshot(99, 0, balance=1990, quantity=1000, others=((-1000, 100, 50000),), depth=[("bid", 99, 5000)])
    return venue.policy(base), at(0, tables)


def test_a_ramp_lets_more_go_the_longer_it_takes():
    policy, tables = ramped()
    # Half of it heals, 500 contracts: 990 = 2 % of 49,500. A tenth of that at once.
    first = policy.evaluate(tables).resolve()
    assert sizes(first) == [-50]
    row = accounts(first)["A"]
    # 50 x 99 x 2 %.
    assert (row["margin_freed"], row["liquidation_started"]) == (99, "2025-01-01T00:00:00+00:00")
    assert policy.evaluate(first.after).resolve().steps == []
    # After 40 seconds half of all: 500 x (0.1 + 0.4) = 250, 50 of which are gone.
    second = policy.evaluate(later(first, 40)).resolve()
    assert sizes(second) == [-200]
    # From 90 seconds on everything that is still lacking.
    third = policy.evaluate(later(second, 95)).resolve()
    assert sizes(third) == [-250]
    assert third.waiting == []


def test_a_small_lack_goes_at_once():
    policy, tables = ramped(whole_below=1000)
    assert sizes(policy.evaluate(tables).resolve()) == [-500]


def test_a_ramp_that_goes_on_says_when():
    policy, tables = ramped(initial="0%")
    first = policy.evaluate(tables).resolve()
    assert sizes(first) == []
    assert first.waiting == ["A"]


def test_orders_in_parts_are_as_few_as_heal():
    step = {"id": "parts", "do": "market_order", "leftover": "account", "until": "healthy", "portion": "30%"}
    _, tables = ramped()
    base = venue.tiers([["unlimited", "2%"]])
    base["currencies"]["USDT"]["quantum"] = 0.01
    base["margin"]["initial"] = "notional / 10"
    base["instruments"][0] |= {"lot": 1, "symbols": ["BTC"]}
    base["liquidation"]["steps"] = [step]
    # 500 would heal; in parts of 300 that is 600.
    assert sizes(venue.policy(base).evaluate(tables).resolve()) == [-600]


AUCTION = {"id": "auction", "do": "auction", "reserve": "bankruptcy_price", "timeout_seconds": 60}


def test_an_auction_sells_within_the_reserve_and_what_is_left_passes_on():
    steps = [{k: v for k, v in AUCTION.items() if k != "timeout_seconds"}, ADL]
    # Bankrupt at 90: the bid at 90.2 is taken, that at 89 is not.
    result = resolved(ruleset(steps), snapshot(90.5, 0, depth=[("bid", 90.2, 4), ("bid", 89, 50)]))
    assert sizes(result)[0] == -4
    assert sum(d.quantity for d in result.deleveraged) == -6


def test_an_open_auction_waits_for_bids_and_ends():
    policy = venue.policy(ruleset([AUCTION, ADL]))
    first = policy.evaluate(at(0, snapshot(90.5, 0, balance=98, depth=[("bid", 90.2, 4)]))).resolve()
    # Bankrupt at 90.2.
    assert sizes(first) == [-4]
    assert first.to_dict()["resumes_at"] == {"A": "2025-01-01T00:01:00+00:00"}
    still = policy.evaluate(later(first, 30))
    bids = (
        Bid(0, F("90.2"), F(1), "@x"), Bid(0, F("90.4"), F(2), "@y"), Bid(0, F(89), F(9), "@z"),
        Bid(0, F("90.3"), F(9), "@w", "somebody else"),
    )  # fmt: skip
    second = resolve_once(still, "book", Applied(still.snapshot, bids=bids))
    assert [(float(s.quantity), float(s.price)) for s in second.steps if s.quantity] == [(-2, 90.4), (-1, 90.2)]
    assert not second.deleveraged
    left = [(s.account, s.what) for s in second.steps if s.step == "event.auction"]
    assert left == [("@z", "9 of a bid for 9 BTC not taken"), ("@w", "9 of a bid for 9 BTC not taken")]
    # It has ended at 60 seconds: three contracts are left for deleveraging.
    third = policy.evaluate(later(second, 60)).resolve()
    assert sum(d.quantity for d in third.deleveraged) == -3


RELEASE = {"id": "book", "do": "market_order", "until": "healthy", "leftover": "account"}


def released():
    rules = ruleset([RELEASE])
    rules["liquidation"]["release"] = "equity >= maintenance_margin * 2"
    return rules


def test_once_in_liquidation_a_bucket_stays_there_until_it_is_released():
    # 8 of equity, 9.05 due: released where equity is twice what is due. 6 sold at the mark leave 4 x 0.905 x 2 = 7.24.
    tables = snapshot(90.5, 0, balance=103, depth=[("bid", 90.5, 100)])
    result = resolved(released(), tables)
    assert sizes(result) == [-6]
    # With a book for three only: no longer triggered, and not released.
    tables = snapshot(90.5, 0, balance=103, depth=[("bid", 90.5, 3)])
    policy = venue.policy(released())
    first = policy.evaluate(tables).resolve()
    assert (sizes(first), first.waiting) == ([-3], ["A"])
    evaluation = policy.evaluate(first.after)
    assert of(evaluation, "A")["state"] == "liquidatable"
    flags = {name: row["in_liquidation"] for name, row in accounts(first).items()}
    assert flags["A"] == "true"
    assert flags["W0"] == "false"
    # A bucket that was never in liquidation is not held to the release.
    fresh = snapshot(90.5, 0, balance=103, quantity=7, depth=())
    assert of(policy.evaluate(fresh), "A")["state"] == "healthy"


TAKE = {"id": "take", "do": "takeover", "by": "main", "price": "bankruptcy_price"}


def test_a_takeover_loses_no_more_than_its_step_allows():
    # Bankrupt at 90, marked at 89: a loss of 1 a contract. 5 % of 100 are 5 contracts.
    result = resolved(ruleset([{**TAKE, "max_loss": "5%"}, ADL]), snapshot(89, 100))
    assert sizes(result)[0] == -5
    assert drawn(result)[0] == ("fund", 5.0)


@pytest.mark.parametrize(("fund", "takes"), [("18.89", False), ("18.9", True), (25, True)])
def test_a_vault_takes_whole_positions_while_it_is_solvent(fund, takes):
    # It loses 10 and then holds 10 contracts at 89, for which 1 % of 890 is due: 18.90 is enough.
    result = resolved(ruleset([{**TAKE, "solvency": "maintenance"}, ADL]), snapshot(89, fund))
    assert (sizes(result)[0] == -10) == takes


def test_a_fund_counts_the_inventory_of_its_account():
    step = {**TAKE, "max_net_notional": "100%"}
    tables = snapshot(90.5, 1000)
    tables["positions"].append({"account": "vault", "instrument": "BTC", "quantity": 8, "entry_price": 90})
    tables["accounts"].append({"account": "vault", "currency": "USDT", "balance": 5000})
    tables["funds"][0]["account"] = "vault"
    # 1,000 / 90.5 are 11 contracts net; 8 are held.
    result = resolved(ruleset([step, ADL]), tables)
    assert sizes(result)[0] == -3


def test_with_collateral_a_standing_is_that_of_its_account_whatever_the_order_of_rows():
    # Both long 12 at 5 % of 100: 60 is due, 24 more to be released. Only Z has come into liquidation before.
    rows = [
        {"account": "Z", "currency": "USDC", "balance": 70, "in_liquidation": "true"},
        {"account": "A", "currency": "USDC", "balance": 70, "in_liquidation": "false"},
    ]
    tables = {
        "markets": [{"instrument": "SOL-PERP", "mark_price": 100}],
        "positions": [{"account": a, "instrument": "SOL-PERP", "quantity": 12, "entry_price": 100} for a in "AZ"],
    }
    for accounts_ in (rows, rows[::-1]):
        evaluation = rp.load("drift").evaluate({**tables, "accounts": accounts_})
        states = {row["account"]: row["state"] for row in evaluation.buckets.rows()}
        assert states == {"A": "healthy", "Z": "liquidatable"}


def test_what_is_left_of_a_bucket_without_positions_goes_to_a_fund_without_a_market():
    """Liquidated for too small a balance, and flat: its margin is handed over, and is nobody's profit in a market."""
    made = venue.base()
    made["instruments"][0]["fund"] = "main"
    made["liquidation"]["trigger"] = "equity < 10 * settle"
    made["liquidation"]["steps"] = [
        {"id": "take", "do": "takeover", "by": "main", "price": "bankruptcy_price", "leftover": "fund"}
    ]
    tables = venue.cross(
        [("a", "BTCUSDT", 1, 100), ("b", "BTCUSDT", -1, 100)], {"a": 1000, "b": 1000}, {"BTCUSDT": 100}
    )
    tables["accounts"].append({"account": "flat", "currency": "USDT", "balance": 5})
    tables["funds"] = [{"fund": "main", "currency": "USDT", "balance": 0}]
    result = venue.evaluate(made, tables).resolve("book")
    assert [s.what for s in result.steps] == ["leftover margin to the fund"]
