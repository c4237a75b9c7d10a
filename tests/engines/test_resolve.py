"""Resolutions: worked by hand, then laws over random books, rulesets and losses."""

import math
import random
from fractions import Fraction

import pytest

import riskpolicy as rp
from riskpolicy.engines.core.draw import Payers, draw, shares
from riskpolicy.engines.core.ledger import Ledger, LedgerError
from riskpolicy.engines.execution import BookLevels, Fill, GivenFills, Impact, notional_and_vwap
from riskpolicy.engines.resolve import MOST_TURNS
from riskpolicy.plan.plan import Layer
from tests import venue

F = Fraction


def ruleset(steps, waterfall=None, price="bankruptcy_price"):
    base = venue.tiers([["unlimited", "1%"]])
    base["currencies"]["USDT"]["quantum"] = 0.01
    base["margin"]["initial"] = "notional / 10"
    base["instruments"][0] |= {"lot": 1, "symbols": ["BTC"]}
    base["liquidation"]["steps"] = steps
    base["deleveraging"]["take"]["price"] = price
    base["waterfall"] = waterfall or [
        {"id": "own", "pays": "defaulter"}, {"id": "fund", "pays": "main"},
        {"id": "adl", "pays": "deleveraging"}, {"id": "end", "pays": "residual"},
    ]  # fmt: skip
    return base


MARKET = {"id": "book", "do": "market_order", "leftover": "account"}
IOC = {"id": "ioc", "do": "immediate_or_cancel", "price": "bankruptcy_price"}
TAKE = {"id": "take", "do": "takeover", "by": "main", "price": "bankruptcy_price"}
ADL = {"id": "adl", "do": "deleverage"}


def snapshot(mark, fund, *, balance=100, quantity=10, others=((-6, 130, 500), (-4, 110, 500)), depth=()):
    """A holds `quantity` at 100; the others are on the other side, (quantity, entry, balance)."""
    positions = [("A", "BTC", quantity, 100)] + [(f"W{k}", "BTC", q, e) for k, (q, e, _) in enumerate(others)]
    balances = {"A": balance} | {f"W{k}": b for k, (_, _, b) in enumerate(others)}
    tables = venue.cross(positions, balances, {"BTC": mark})
    tables["funds"] = [{"fund": "main", "currency": "USDT", "balance": fund}]
    tables["depth"] = [{"instrument": "BTC", "side": s, "price": p, "quantity": q} for s, p, q in depth]
    return tables


def resolved(rules, tables, **more):
    return venue.evaluate(rules, tables).resolve(**more)


def of(evaluation, account):
    """The account's bucket."""
    return next(r for r in evaluation.buckets.rows() if r["account"] == account)


def drawn(result):
    return [(layer, float(amount)) for layer, _, amount, _, _ in result.draws]


def test_the_book_takes_it_all_and_the_rest_stays_with_the_account():
    result = resolved(ruleset([MARKET]), snapshot(90.5, 0, depth=[("bid", 90.4, 4), ("bid", 90.2, 20)]))
    assert [(s.instrument, float(s.quantity), float(s.price)) for s in result.steps] == [
        ("BTC", -4, 90.4),
        ("BTC", -6, 90.2),
    ]
    after = venue.policy(ruleset([MARKET])).evaluate(result.after)
    # 100 - 4 x 9.6 - 6 x 9.8 = 2.8.
    assert of(after, "A")["equity"] == "2.8"
    assert result.draws == []
    assert result.residual == {}


def test_a_deficit_is_paid_by_the_fund_and_the_rest_is_named():
    result = resolved(ruleset([MARKET]), snapshot(89, 5, depth=[("bid", 88, 20)]))
    # 100 - 10 x 12 = -20: the fund has 5.
    assert drawn(result) == [("fund", 5.0), ("end", 15.0)]
    assert result.residual == {"USDT": 15}
    after = venue.policy(ruleset([MARKET])).evaluate(result.after)
    assert (of(after, "A")["equity"], of(after, "A")["state"]) == ("0", "healthy")
    assert result.after.numbers("funds", "balance").exact(0) == 0


def test_the_limit_at_bankruptcy_leaves_the_rest_to_deleveraging_by_rank():
    result = resolved(ruleset([IOC, ADL]), snapshot(89, 0, depth=[("bid", 91, 3), ("bid", 88, 20)]))
    # Bankrupt at 90: the bid of 91 is taken, then the limit rises with what that gained.
    assert float(result.steps[0].quantity) == -3
    first = [(d.account, float(d.quantity)) for d in result.deleveraged]
    assert first == [("W0", -6.0), ("W1", -1.0)]
    price = result.deleveraged[0].price
    assert price == F(90) - F(3, 7)
    after = venue.policy(ruleset([IOC, ADL])).evaluate(result.after)
    assert of(after, "A")["equity"] == "0"
    assert drawn(result)[0][0] == "adl"


@pytest.mark.parametrize(("balance", "taken"), [("150", True), ("149.99999999999999999999", False)])
def test_who_can_just_bear_the_loss_is_taken_to_the_last_digit(balance, taken):
    # A long of 10 is bankrupt at 90. The short entered at 75 has 50 less than its balance at 80, and loses 100 there.
    tables = snapshot(80, 0, others=[(-10, 75, balance)])
    result = resolved(ruleset([ADL]), tables)
    assert [(d.account, d.quantity) for d in result.deleveraged] == ([("W0", -10)] if taken else [])
    assert [s.why for s in result.skipped] == ([] if taken else ["bankruptcy prices do not overlap"])


def test_a_counterparty_whose_margin_rises_as_it_shrinks_is_liquidated_then():
    # Margin is 1,000,000 / notional: 625 of 20 contracts at 80, but 1,250 of the 10 that are left of W0, who has 1,100.
    rules = ruleset([ADL])
    rate = "1000000 * settle * settle / (notional * notional)"
    rules["margin"]["tiers"] = [{"id": "btc", "key": "notional", "rate": "expression", "maintenance": rate}]
    tables = snapshot(80, 0, others=[(-20, 80, 1200), (10, 80, 5000)])
    assert of(venue.evaluate(rules, tables), "W0")["state"] == "healthy"
    result = resolved(rules, tables)
    assert [(d.account, d.quantity, d.against) for d in result.deleveraged] == [("W0", -10, "A"), ("W1", 10, "W0")]


def test_a_fund_takes_over_what_it_can_bear():
    result = resolved(ruleset([TAKE, ADL]), snapshot(89, 4))
    # One contract taken at 90 loses 1 at the mark: the fund bears 4 of 10.
    assert float(result.steps[0].quantity) == -4
    assert drawn(result)[0] == ("fund", 4.0)
    assert sum(float(d.quantity) for d in result.deleveraged) == -6
    after = venue.policy(ruleset([TAKE, ADL])).evaluate(result.after)
    held = {(r["account"], r["instrument"]): r["quantity"] for r in after.positions.rows()}
    assert held["@main", "BTC"] == 4
    assert sum(held.values()) == 0
    assert [r["state"] for r in after.buckets.rows() if r["account"] == "@main"] == ["healthy"]


def test_closing_until_healthy_takes_as_little_as_it_needs_with_its_fee():
    step = {**IOC, "until": "healthy", "fee": "1%", "fee_to": "main"}
    tables = snapshot(90.5, 0, depth=[("bid", 90.5, 20)])
    result = resolved(ruleset([step]), tables)
    # Equity 5, due 9.05: k contracts sold at the mark cost 0.905 k and free 0.905 k, so never while fees are 1 %.
    assert sum(float(s.quantity or 0) for s in result.steps) == -10
    cheap = resolved(ruleset([{**step, "fee": "0.1%"}]), tables)
    # 5 - 0.0905 k >= 0.905 (10 - k): 5 contracts.
    assert sum(float(s.quantity or 0) for s in cheap.steps) == -5
    after = venue.policy(ruleset([step])).evaluate(cheap.after)
    assert of(after, "A")["state"] == "healthy"
    assert cheap.after.numbers("funds", "balance").exact(0) == F(46, 100)


def test_steps_stop_when_healthy_and_conditions_are_asked_anew():
    steps = [
        {**MARKET, "staged": {"above": 500, "portion": "50%", "cooldown_seconds": 30}},
        {**TAKE, "when": "equity < 0"},
    ]
    result = resolved(ruleset(steps), snapshot(90.5, 100, depth=[("bid", 90.5, 20)]))
    assert [float(s.quantity) for s in result.steps] == [-5]
    assert result.waiting == []
    stays = resolved(ruleset(steps), snapshot(90.05, 100, balance=101, depth=[("bid", 90, 20)]))
    assert [float(s.quantity) for s in stays.steps] == [-5]
    assert stays.waiting == ["A"]


def test_events_are_applied_one_after_the_other():
    rules = ruleset([MARKET])
    tables = snapshot(95, 100, depth=[("bid", 80, 50)])
    events = [
        {"kind": "deposit", "account": "A", "currency": "USDT", "amount": 10},
        {"kind": "mark", "instrument": "BTC", "mark_price": 89},
    ]
    result = resolved(rules, tables, events=events)
    # 110 - 10 x 20 = -90.
    assert drawn(result) == [("fund", 90.0)]
    assert resolved(rules, tables).steps == []
    (funded,) = [resolved(rules, tables, events=[{"kind": "funding", "instrument": "BTC", "funding_rate": 0.01}])]
    after = venue.policy(rules).evaluate(funded.after)
    assert [float(r["equity"]) for r in after.buckets.rows()] == [50 - 9.5, 500 + 210 + 5.7, 500 + 60 + 3.8]
    gone = resolved(rules, tables, events=[{"kind": "default", "account": "W1"}])
    assert gone.waiting == ["W1"]
    assert "nothing filled" in gone.steps[0].what
    with pytest.raises(rp.SnapshotError, match="cannot convert float infinity"):
        resolved(rules, tables, events=[{"kind": "time", "sequence": math.inf}])
    with pytest.raises(rp.SnapshotError, match="`marks` is no kind of event; did you mean `mark`"):
        resolved(rules, tables, events=[{"kind": "marks"}])
    with pytest.raises(rp.SnapshotError, match="`amount` is missing"):
        resolved(rules, tables, events=[{"kind": "deposit", "account": "A", "currency": "USDT"}])


def test_the_chain_of_an_account_is_explained():
    result = resolved(ruleset([IOC, ADL]), snapshot(89, 0, depth=[("bid", 91, 3)]))
    lines = [r.statement for r in result.explain("A").children]
    assert lines[0] == "immediate or cancel sold 3 BTC at 91"
    assert any(line.startswith("adl pays") for line in lines)
    taken = result.explain("W0").children
    assert taken[0].statement.startswith("deleveraged: 6 BTC closed at ~89.57")
    assert result.taken_from("W0")[0].rule == "liquidation.steps.adl"
    assert result.explain("nobody").statement == "account nobody: nothing"


def test_a_fund_without_a_balance_is_an_error_where_it_is_needed():
    tables = snapshot(89, 0)
    del tables["funds"]
    with pytest.raises(rp.SnapshotError, match="balance of fund `main`"):
        resolved(ruleset([TAKE]), tables)
    assert resolved(ruleset([TAKE]), {**tables, "markets": [{"instrument": "BTC", "mark_price": 99}]}).steps == []


def random_case(seed):
    rng = random.Random(seed)
    steps = rng.sample(
        [MARKET, IOC, {**IOC, "id": "some", "until": "healthy", "fee": "0.5%", "fee_to": "main"}, TAKE, ADL],
        k=rng.randint(1, 5),
    )
    layers = [{"id": "fund", "pays": "main", "draw": rng.choice(["partial", "all_or_nothing", "leave_unit"])}]
    if rng.random() < 0.5:
        layers[0]["cap"] = rng.randint(1, 60)
    rules = ruleset(steps, [*layers, {"id": "adl", "pays": "deleveraging"}, {"id": "end", "pays": "residual"}])
    payoff = rng.choice(["linear", "inverse"])
    rules["instruments"][0] |= {"payoff": payoff, "contract_size": 1 if payoff == "linear" else 10000}
    longs = [rng.randint(1, 40) for _ in range(rng.randint(1, 6))]
    shorts, left = [], sum(longs)
    while left:
        shorts.append(min(left, rng.randint(1, 40)))
        left -= shorts[-1]
    names = [f"{'L' if k < len(longs) else 'S'}{k}" for k in range(len(longs) + len(shorts))]
    sizes = [*longs, *(-s for s in shorts)]
    positions = [(n, "BTC", q, rng.randint(8000, 12000) / 100) for n, q in zip(names, sizes, strict=True)]
    balances = {n: rng.randint(0, 60 * abs(q)) / 100 for n, q in zip(names, sizes, strict=True)}
    mark = rng.randint(8500, 11500) / 100
    tables = venue.cross(positions, balances, {"BTC": mark}, complete=True)
    tables["funds"] = [{"fund": "main", "currency": "USDT", "balance": rng.choice([0, 5, 50, 500])}]
    depth = [("bid", mark * (1 - k / 100), rng.randint(0, 30)) for k in range(1, 5)]
    depth += [("ask", mark * (1 + k / 100), rng.randint(0, 30)) for k in range(1, 5)]
    tables["depth"] = [{"instrument": "BTC", "side": s, "price": round(p, 2), "quantity": q} for s, p, q in depth]
    return rules, tables


@pytest.mark.parametrize("seed", range(150))
def test_laws_of_every_resolution(seed):
    rules, tables = random_case(seed)
    policy = venue.policy(rules)
    before = policy.evaluate(tables)
    result = before.resolve("book")
    sums: dict[tuple, int] = {}
    for row in result.ledger.rows():
        key = (row["event"], row["currency"], row.get("instrument"))
        sums[key] = sums.get(key, 0) + row["amount"]
    assert not any(sums.values())
    after = policy.evaluate(result.after)
    # Complete: longs are still shorts, with what outside parties took.
    assert result.after.complete
    for row in after.buckets.rows():
        if float(row["equity"]) < -0.01 and not row["account"].startswith("@"):
            assert row["account"] in result.waiting
    fund = result.after.numbers("funds", "balance").exact(0)
    assert fund >= 0
    cap = rules["waterfall"][0].get("cap")
    paid = sum(amount for layer, _, amount, rule, _ in result.draws if rule == "waterfall.fund" and layer == "fund")
    if cap is not None and not any(s["do"] == "takeover" for s in rules["liquidation"]["steps"]):
        assert paid <= cap
    # At the marks nothing is won or lost in all, but for less than a quantum an event.
    total_before = sum(float(r["equity"]) for r in before.buckets.rows()) + tables["funds"][0]["balance"]
    total_after = sum(float(r["equity"]) for r in after.buckets.rows()) + float(fund)
    assert total_before == pytest.approx(total_after, abs=0.01 * (result.ledger.events + 4))
    # At the same instant nothing more happens, unless somebody waits for the market.
    again = after.resolve("book" if not result.waiting else GivenFills({}))
    if not result.waiting:
        assert again.steps == []


@pytest.mark.parametrize("seed", range(20))
def test_row_order_does_not_matter(seed):
    rules, tables = random_case(seed)
    policy = venue.policy(rules)
    wanted = policy.evaluate(tables).resolve("book").to_dict()
    rng = random.Random(seed)
    shuffled = {
        name: rng.sample(rows, len(rows)) if name in ("positions", "accounts") else rows
        for name, rows in tables.items()
    }
    assert policy.evaluate(shuffled).resolve("book").to_dict() == wanted


def test_execution_walks_books_and_impacts():
    book = BookLevels({}, {"X": [(F(1), F(1)), (F("1.1"), F(3)), (F("1.2"), F(10))]})
    fills = book.quote("X", F(5), F(1))
    assert notional_and_vwap(fills) == (F("5.5"), F("1.1"))
    book.take("X", fills[:2])
    assert book.quote("X", F(2), F(1), F("1.2")) == [Fill(F(2), F("1.2"))]
    assert book.quote("X", F(2), F(1), F("1.1")) == []
    linear = Impact(F(1), {"X": F(1)}, absolute=True)
    assert linear.quote("X", F("-0.5"), F("1.3"))[0].price == F("1.05")
    assert linear.quote("X", F(2), F("1.6"))[0].price == F("2.6")
    assert linear.quote("X", F(5), F("1.6"), F(2)) == [Fill(F("0.4"), F("1.8"))]
    for books in (({"X": [(F(1), F(1)), (F(2), F(1))]}, {}), ({"X": [(F(2), F(1))]}, {"X": [(F(1), F(1))]})):
        with pytest.raises(rp.SnapshotError):
            BookLevels(*books)


def test_impacts_of_any_exponent_fill_at_the_average_along_the_way():
    # 3.5 M within 10 bps and 16.53 M within 100 bps: g = 0.67; the mean slippage is g / (1 + g) of the move.
    model = rp.power_depth(3_500_000, "0.001", "0.6742")
    price = model.quote("X", F(-16_530_000), F(1))[0].price
    assert float((1 - price) / F("0.01")) == pytest.approx(0.6742 / 1.6742, rel=1e-3)
    root = rp.sqrt_impact(2, "0.03", 10_000)
    assert root.quote("X", F(2500), F(100))[0].price == 100 + F(2, 3) * 100 * 2 * F("0.03") / 2
    # Two orders fill as one: what is taken stays taken.
    whole = rp.power_depth(100, "0.01", "0.8")
    fills = whole.quote("X", F(60), F(10))
    parts = rp.power_depth(100, "0.01", "0.8")
    first = parts.quote("X", F(20), F(10))
    parts.take("X", first)
    second = parts.quote("X", F(40), F(10))
    both = first[0].price * 20 + second[0].price * 40
    assert float(both) == pytest.approx(float(fills[0].price * 60), rel=1e-30)
    # A limit cuts where the price reaches it; nothing sells below zero.
    assert rp.power_depth(100, "0.01", 1).quote("X", F(500), F(10), F("10.2"))[0].quantity == 200
    assert rp.linear_book(1).quote("X", F(-50), F(10)) == [Fill(F(-10), F(5))]
    assert rp.linear_book({"X": 0}).quote("X", F(-50), F(10), F(11)) == []
    with pytest.raises(rp.SnapshotError):
        rp.linear_book({"X": 0}).quote("Y", F(1), F(10))


def test_groups_share_and_caps_hold():
    def layer(name, fund, **more):
        return Layer(name, name, "fund", fund, more.pop("draw", "partial"), **more)

    end = Layer("end", "end", "residual", -1, "partial")
    payers = Payers([200, 143, 57, 900], [200, 143, 57, 900])
    layers = [
        layer("defaulter", 0),
        layer("first", 1),
        layer("second", 2, group="g"),
        layer("members", 3, group="g"),
        end,
    ]
    out = draw(layers, 500, payers, F(1), lambda _: True, lambda _: True)
    paid = {d.layer.id: d.amount for d in out}
    assert (paid["defaulter"], paid["first"], paid["second"] + paid["members"]) == (200, 143, 157)
    assert shares([57, 900], 157) == [10, 147]
    capped = Payers([100, 100], [100, 100])
    out = draw(
        [layer("a", 0, cap=F(10)), layer("b", 1, draw="leave_unit"), end],
        200,
        capped,
        F(1),
        lambda _: True,
        lambda _: True,
    )
    assert [(d.layer.id, d.amount) for d in out] == [("a", 10), ("b", 99), ("end", 91)]
    assert (
        draw(
            [layer("a", 0, draw="all_or_nothing"), end], 201, Payers([200], [200]), F(1), lambda _: True, lambda _: True
        )[-1].layer.id
        == "end"
    )


def test_the_ledger_refuses_what_does_not_balance():
    ledger = Ledger({"USD": F(1, 100)})
    with pytest.raises(LedgerError):
        ledger.book("r", "x", [("a", "USD", 5), ("b", "USD", -4)])
    with pytest.raises(LedgerError):
        ledger.book("r", "x", [], [("a", "BTC", F(1))])
    with pytest.raises(rp.SnapshotError, match="64 bits"):
        ledger.book("r", "x", [("a", "USD", 2**63), ("b", "USD", -(2**63))])
    with pytest.raises(rp.SnapshotError, match=r"`x` of a: 1.000E\+400 quanta of USD"):
        ledger.book("r", "x", [("a", "USD", 10**400), ("b", "USD", -(10**400))])
    assert ledger.entries == []
    ledger.book("r", "x", [("a", "USD", 5), ("b", "USD", -5)])
    assert (ledger.balance("a", "USD"), ledger.balance("b", "USD")) == (5, -5)


def test_a_market_that_is_delisted_has_no_fund():
    steps = [{**TAKE, "unless": ["delisting"]}, ADL]
    layers = [{"id": "fund", "pays": "main", "unless": ["delisting"]}, {"id": "adl", "pays": "deleveraging"}]
    rules = ruleset(steps, [*layers, {"id": "end", "pays": "residual"}])
    tables = snapshot(89, 1000)
    assert [d for d, _ in drawn(resolved(rules, tables))] == ["fund"]
    tables["markets"][0]["market_state"] = "delisting"
    result = resolved(rules, tables)
    assert {d for d, _ in drawn(result)} == {"adl"}
    assert [float(d.quantity) for d in result.deleveraged] == [-6, -4]
    planned = {row["layer"]: row["amount"] for row in venue.evaluate(rules, tables).draws.rows()}
    assert planned["fund"] == "0"


@pytest.mark.parametrize(("edge", "sold"), [("lower", -10), ("upper", -11)])
def test_at_the_cap_of_a_tier_whose_upper_neighbour_owns_it_one_lot_more_is_closed(edge, sold):
    # 30 contracts at 100 against steps up to 2,000: 20 contracts are exactly the cap.
    rules = ruleset([{"id": "lower", "do": "lower_tier"}])
    rows = [[2000, "1%"], ["unlimited", "2%"]]
    rules["margin"]["tiers"][0] |= {"rate": "step", "edge": edge, "rows": rows}
    tables = snapshot(100, 0, quantity=30, balance=50, depth=[("bid", 100, 100)])
    result = resolved(rules, tables)
    assert [s.quantity for s in result.steps if s.quantity] == [sold]
    (position,) = [p for p in venue.evaluate(rules, result.after).positions.rows() if p["account"] == "A"]
    assert position["tier"] == "margin.tiers.btc.2000"


# A market that recovers, and contracts of any size: nothing goes on for ever.


def impact(positions, balances, **rules):
    made = ruleset(
        [{"id": "ioc", "do": "immediate_or_cancel", "price": "market_mark_price * 0.9705", "portion": "10%"}]
    )
    made["instruments"][0] |= rules
    tables = venue.cross(positions, balances, {"BTC": 1})
    tables["markets"][0]["impact_slope"] = 0.001
    tables["funds"] = [{"fund": "main", "currency": "USDT", "balance": 0}]
    return venue.evaluate(made, tables).resolve("linear")


def test_what_a_limit_lets_through_is_whole_lots():
    result = impact([("A", "BTC", 2000, 1.02), ("W", "BTC", -2000, 1)], {"A": 41, "W": 9000})
    # Of 200 the market takes 29 to the limit of 2.95 %, each a thousandth.
    assert next(s.quantity for s in result.steps if s.quantity) == -29
    assert all(s.quantity.denominator == 1 for s in result.steps if s.quantity)


def test_without_lots_orders_end_at_the_finest_size():
    made = ruleset([IOC])
    del made["instruments"][0]["lot"]
    tables = venue.cross([("A", "BTC", 19877, 1.1093), ("W", "BTC", -19877, 1)], {"A": 2200, "W": 90000}, {"BTC": 1})
    tables["markets"][0]["impact_slope"] = 0.001
    tables["funds"] = [{"fund": "main", "currency": "USDT", "balance": 0}]
    result = venue.evaluate(made, tables).resolve("linear")
    assert all((s.quantity * 10**8).denominator == 1 for s in result.steps if s.quantity)
    assert len(result.steps) < 100


def test_two_sides_that_feed_each_other_through_the_market_end():
    policy = rp.load("dydx-v4@2024-06-01")
    tables = venue.cross(
        [("l", "LINK-USD", 5000, 1), ("s", "LINK-USD", -5000, 1)], {"l": 249.99, "s": 249.99}, {"LINK-USD": 1},
        currency="USDC", funds=[{"fund": "insurance", "currency": "USDC", "balance": 0}],
    )  # fmt: skip
    tables["markets"][0] |= {"impact_slope": 0.001, "open_interest": 1000000}
    result = policy.evaluate(tables).resolve("linear")
    assert result.waiting == ["l", "s"]
    assert len(result.steps) <= 4 * MOST_TURNS
