"""Who pays, worked by hand: caps by account, market, window and group; funds of instruments; members; withdrawals."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from riskpolicy.errors import QueryError, RulesetError, SnapshotError
from riskpolicy.snapshot.write import snapshot_dict
from tests import venue
from tests.engines.test_resolve import MARKET, drawn, ruleset

F = Fraction
MOVED = datetime(2025, 1, 1, tzinfo=UTC)


def book(*deficits, markets=("BTC",), funds=(("main", 1000),), **tables):
    """An account for every deficit: ten contracts from 100, marked and sold at 90, so that 100 - deficit is there."""
    positions = [(f"A{k}", market, 10, 100) for k, (market, _) in enumerate(deficits)]
    balances = {f"A{k}": str(100 - Decimal(str(deficit))) for k, (_, deficit) in enumerate(deficits)}
    made = venue.cross(positions, balances, dict.fromkeys(markets, 90))
    made["funds"] = [{"fund": name, "currency": "USDT", "balance": balance} for name, balance in funds]
    made["depth"] = [{"instrument": m, "side": "bid", "price": 90, "quantity": 1000} for m in markets]
    return {"as_of": "2025-01-01T00:00:00Z", **made, **tables}


def rules(*layers, markets=("BTC",), funds=("main",)):
    made = ruleset([MARKET], [{"id": "own", "pays": "defaulter"}, *layers, {"id": "end", "pays": "residual"}])
    made["instruments"][0]["symbols"] = list(markets)
    made["instruments"][0]["fund"] = funds[0] if isinstance(funds[0], str) else funds[0]["id"]
    made["funds"] = [f if isinstance(f, dict) else {"id": f, "currency": "USDT"} for f in funds]
    return made


def of_layer(result, layer):
    return [float(x) for name, _, x, _, _ in result.draws if name == layer]


def test_a_cap_of_a_market_is_for_all_its_buckets():
    layer = {"id": "fund", "pays": "main", "per_market": 15}
    tables = book(("BTC", 10), ("BTC", 10), ("ETH", 10), markets=("BTC", "ETH"))
    result = venue.evaluate(rules(layer, markets=("BTC", "ETH")), tables).resolve()
    assert of_layer(result, "fund") == [10, 5, 10]
    assert result.residual == {"USDT": 5}


def test_a_cap_of_an_account_is_for_all_that_is_paid_for_it():
    layer = {"id": "fund", "pays": "main", "per_account": 7}
    result = venue.evaluate(rules(layer), book(("BTC", 10), ("BTC", 3))).resolve()
    assert sorted(of_layer(result, "fund")) == [3, 7]


@pytest.mark.parametrize(("seconds", "pays"), [(59, 2), (60, 12), (61, 12)])
def test_a_cap_over_a_window_counts_what_was_drawn_within_it(seconds, pays):
    policy = venue.policy(rules({"id": "fund", "pays": "main", "cap": 12, "window_seconds": 60}))
    first = policy.evaluate(book(("BTC", 10))).resolve()
    (row,) = snapshot_dict(first.after)["drawn"]
    assert row == {
        "rule": "waterfall.fund", "account": "A0", "instrument": "BTC", "amount": 10.0,
        "at": "2025-01-01T00:00:00+00:00",
    }  # fmt: skip
    tables = book(("BTC", 20), drawn=[row], as_of=(MOVED + timedelta(seconds=seconds)).isoformat())
    second = policy.evaluate(tables).resolve()
    assert of_layer(second, "fund") == [pays]
    assert len(snapshot_dict(second.after)["drawn"]) == 2


def test_layers_of_a_group_pay_together_no_more_than_its_cap():
    layers = [
        {"id": "one", "pays": "a", "group": "g", "group_cap": 9},
        {"id": "two", "pays": "b", "group": "g"},
    ]
    made = rules(*layers, funds=("a", "b"))
    result = venue.evaluate(made, book(("BTC", 20), funds=(("a", 20), ("b", 10)))).resolve()
    assert drawn(result) == [("one", 6.0), ("two", 3.0), ("end", 11.0)]


def test_the_funds_of_instruments_pay_for_their_own():
    made = rules({"id": "funds", "pays": "instrument_fund"}, markets=("BTC",), funds=("a", "b"))
    made["instruments"][0]["fund"] = "a"
    made["instruments"].append({**made["instruments"][0], "symbols": ["ETH"], "fund": "b"})
    tables = book(("BTC", 10), ("ETH", 10), markets=("BTC", "ETH"), funds=(("a", 4), ("b", 100)))
    result = venue.evaluate(made, tables).resolve()
    assert of_layer(result, "funds.a") == [4]
    assert of_layer(result, "funds.b") == [10]
    assert result.residual == {"USDT": 6}


def of_two(step, **more):
    made = rules({"id": "funds", "pays": "instrument_fund"}, markets=("BTC",), funds=("a", "b"))
    made["instruments"][0]["fund"] = "a"
    made["instruments"].append({**made["instruments"][0], "symbols": ["ETH"], "fund": "b"})
    return {**made, "liquidation": {**made["liquidation"], "steps": [step]}, **more}


def test_the_fund_of_the_instrument_takes_over():
    step = {"id": "takeover", "do": "takeover", "by": "instrument_fund", "price": "mark_price", "leftover": "fund"}
    tables = book(("BTC", -5), ("ETH", -4), markets=("BTC", "ETH"), funds=(("a", 100), ("b", 100)))
    result = venue.evaluate(of_two(step), tables).resolve()
    assert [(s.account, s.what) for s in result.steps if s.quantity] == [
        ("A1", "takeover by b"), ("A0", "takeover by a"),
    ]  # fmt: skip
    held = {(p["account"], p["instrument"], p["quantity"]) for p in snapshot_dict(result.after)["positions"]}
    assert {("@a", "BTC", 10.0), ("@b", "ETH", 10.0)} <= held


@pytest.mark.parametrize(
    ("step", "more"),
    [
        ({"fee": "1%", "fee_to": "instrument_fund"}, {}),
        (
            {"fee": "1%"},
            {"fees": {
                "tiers": [{"id": "base", "maker": "0%", "taker": "0%"}],
                "split": [{"id": "fund", "to": "instrument_fund", "share": "100%"}],
            }},
        ),
        ({"fee": "1%"}, {"fees": {"tiers": [{"id": "base", "maker": "0%", "taker": "0%"}],
                                  "residue": "instrument_fund"}}),
    ],
)  # fmt: skip
def test_the_fund_of_the_instrument_gets_the_fee(step, more):
    # Ten contracts at 90: one per cent is 9, and A0 has 5, A1 4 left, so that the fund pays 4 and 5 of it back.
    step = {"id": "book", "do": "market_order", "leftover": "account", **step}
    tables = book(("BTC", -5), ("ETH", -4), markets=("BTC", "ETH"), funds=(("a", 0), ("b", 0)))
    result = venue.evaluate(of_two(step, **more), tables).resolve()
    assert booked(result) == {"@a": 500, "@b": 400, "@market": -180000, "A0": 89500, "A1": 89600}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda r: r["fees"].update(residue="market"), "reserved_name"),
        (lambda r: r["fees"].update(split=[{"id": "p", "to": "residual", "share": "1%"}]), "reserved_name"),
        (lambda r: r["funds"].append({"id": "withdrawals", "currency": "USDT"}), "reserved_name"),
        (lambda r: r["instruments"][1].pop("fund"), "unknown_reference"),
        (lambda r: r["funds"][0].update(target="1 * settle", refill={"below": "180%"}), "fund_form"),
        (lambda r: r.update(funding={"cap_of_margin": "75%", "clamp": "0.05%"}), "funding_form"),
    ],
)
def test_names_of_the_engine_and_funds_and_rates_that_are_not_there_are_refused(change, code):
    step = {"id": "book", "do": "market_order", "leftover": "account", "fee": "1%"}
    fees = {"tiers": [{"id": "base", "maker": "0%", "taker": "0%"}], "residue": "instrument_fund"}
    made = of_two(step, fees=fees)
    venue.policy(made)
    change(made)
    with pytest.raises(RulesetError) as refused:
        venue.policy(made)
    assert code in {finding.code for finding in refused.value.findings}


def winners(*entries):
    """Shorts of ten contracts each, marked at 90, with plenty of balance."""
    return [(f"W{k}", "BTC", -10, entry) for k, entry in enumerate(entries)]


@pytest.mark.parametrize(
    ("deficit", "shares", "residual"),
    [(40, [15, 25], 0), (80, [30, 50], 0), (100, [30, 50], 20)],
)
def test_by_profit_nobody_gives_more_than_its_profit(deficit, shares, residual):
    # Entered at 93, 95 and 90: profits of 30, 50 and none at 90.
    tables = book(("BTC", deficit))
    made = venue.cross([("A0", "BTC", 10, 100), *winners(93, 95, 90)],
                       {"A0": str(100 - deficit), "W0": 1000, "W1": 1000, "W2": 1000}, {"BTC": 90})  # fmt: skip
    tables = {**tables, "positions": made["positions"], "accounts": made["accounts"], "complete": False}
    evaluation = venue.evaluate(rules({"id": "all", "pays": "socialization", "by": "profit"}), tables)
    planned = {row["layer"]: float(row["amount"]) for row in evaluation.draws.rows()}
    result = evaluation.resolve()
    assert [float(s.amount) for s in result.steps if s.what == "pays its share of a loss"] == shares
    assert float(result.residual.get("USDT", 0)) == residual
    assert planned == {"all": sum(shares), "end": residual}


def test_a_profit_is_given_once_and_the_layer_after_it_pays_the_rest():
    tables = book(("BTC", 20), ("BTC", 40))
    made = venue.cross([("A0", "BTC", 10, 100), ("A1", "BTC", 10, 100), *winners(93)],
                       {"A0": 80, "A1": 60, "W0": 1000}, {"BTC": 90})  # fmt: skip
    tables = {**tables, "positions": made["positions"], "accounts": made["accounts"], "complete": False}
    layers = [{"id": "all", "pays": "socialization", "by": "profit"}, {"id": "fund", "pays": "main"}]
    result = venue.evaluate(rules(*layers), tables).resolve()
    assert sum(of_layer(result, "all")) == 30
    assert sum(of_layer(result, "fund")) == 30
    assert result.residual == {}


MEMBERS = [
    {"member": "x", "fund": "guarantee", "contribution": 30},
    {"member": "y", "fund": "guarantee", "contribution": 60},
    {"member": "z", "fund": "guarantee", "contribution": 500, "defaulted": "true"},
]


def clearing():
    return rules(
        {"id": "members", "pays": "guarantee"}, {"id": "calls", "pays": "calls"},
        funds=(
            {"id": "guarantee", "currency": "USDT", "holds": "members"},
            {"id": "calls", "currency": "USDT", "holds": "assessments", "of": "guarantee", "multiple": "200%"},
        ),
    )  # fmt: skip


def test_members_pay_in_proportion_and_are_called_for_more():
    tables = book(("BTC", 180), funds=(), members=MEMBERS)
    result = venue.evaluate(clearing(), tables).resolve()
    # 90 are there; of twice that, 90 are called, a third from x.
    assert drawn(result) == [("members", 90.0), ("calls", 90.0)]
    paid = {}
    for entry in result.ledger.entries:
        if entry.account.startswith("@member"):
            paid[entry.account] = paid.get(entry.account, 0) + entry.amount
    assert paid == {"@member:x": -6000, "@member:y": -12000}
    after = {row["member"]: row for row in snapshot_dict(result.after)["members"]}
    assert (after["x"]["contribution"], after["x"]["assessed"]) == (0, 30)
    assert (after["y"]["contribution"], after["y"]["assessed"]) == (0, 60)
    assert after["z"]["contribution"] == 500


def test_what_was_called_before_is_not_called_again():
    members = [{**m, "assessed": 55} for m in MEMBERS[:1]]
    result = venue.evaluate(clearing(), book(("BTC", 100), funds=(), members=members)).resolve()
    assert drawn(result) == [("members", 30.0), ("calls", 5.0), ("end", 65.0)]


def test_a_loss_can_be_cut_from_withdrawals():
    made = rules({"id": "cut", "pays": "socialization", "by": "withdrawals"})
    tables = book(("BTC", 30))
    tables["accounts"] += [{"account": "R", "currency": "USDT", "balance": 200}]
    tables["accounts"] += [{"account": "S", "currency": "USDT", "balance": 100}]
    events = [{"kind": "withdraw", "account": "R", "currency": "USDT", "amount": 100}]
    result = venue.evaluate(made, tables).resolve(events=events)
    assert drawn(result) == [("cut", 30.0)]
    after = {row["account"]: row for row in snapshot_dict(result.after)["accounts"]}
    # 30 are owed on 300: a tenth. Of 100, 90 leave the venue.
    assert after["@withdrawals"]["balance"] == -20
    assert after["@outside"]["balance"] == 90
    assert after["R"]["balance"] == 100
    again = [{"kind": "withdraw", "account": "S", "currency": "USDT", "amount": 100}]
    later = venue.policy(made).evaluate(result.after).resolve(events=again)
    after = {row["account"]: row for row in snapshot_dict(later.after)["accounts"]}
    # 20 on 200: who leaves later pays the same tenth.
    assert after["@withdrawals"]["balance"] == -10


def test_an_opening_balance_is_what_shares_count_from():
    tables = book(("BTC", 30))
    tables["funds"][0] |= {"balance": 50, "opening": 100}
    made = rules({"id": "fund", "pays": "main", "cap_share": "20%"})
    assert drawn(venue.evaluate(made, tables).resolve()) == [("fund", 20.0), ("end", 10.0)]


def test_conditions_read_the_fund_as_it_is_by_then():
    layer = {"id": "fund", "pays": "main", "when": "fund_balance > 990 * settle"}
    made = rules(layer)
    # The first takes it to 985, so the second gets nothing.
    result = venue.evaluate(made, book(("BTC", 15), ("BTC", 15))).resolve()
    assert drawn(result) == [("fund", 15.0), ("end", 15.0)]


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ({"kind": "deposit", "account": "A0", "currency": "USDT", "amount": "0.001"}, "no whole number of the quanta"),
        ({"kind": "deposit", "account": "A0", "currency": "EUR", "amount": 1}, "no currency `EUR`"),
        ({"kind": "deposit", "account": "nobody", "currency": "USDT", "amount": 1}, "no account `nobody`"),
        ({"kind": "deposit", "account": "A0", "currency": "USDT", "amount": -5}, "no number above zero"),
        ({"kind": "withdraw", "account": "A0", "currency": "USDT", "amount": 100000}, "not 100000"),
        ({"kind": "time", "at": "2024-12-31T00:00:00Z"}, "is before"),
        ({"kind": "mark", "instrument": "BTC", "mark_price": 0}, "no number above zero"),
        ({"kind": "mark", "instrument": "BTC", "mark_price": 1, "market_state": "shut"}, "no state of a market"),
        ({"kind": "funding", "instrument": "BTC"}, "no block `funding`"),
    ],
)
def test_an_event_that_does_not_fit_is_refused_by_its_number(event, says):
    with pytest.raises(SnapshotError, match=says) as error:
        venue.evaluate(rules(), book(("BTC", -50))).resolve(events=[{"sequence": 7, **event}])
    assert "event 7" in str(error.value)


def booked(result):
    """Postings of money by account, in quanta."""
    sums = {}
    for entry in result.ledger.entries:
        if entry.amount is not None:
            sums[entry.account] = sums.get(entry.account, 0) + entry.amount
    return sums


def test_deposits_fills_and_funding_are_in_the_ledger():
    events = [
        {"sequence": 1, "kind": "deposit", "account": "A0", "currency": "USDT", "amount": "12.34"},
        {"sequence": 2, "kind": "fill", "account": "A0", "instrument": "BTC", "side": "sell", "quantity": 3,
         "price": "90.333"},
        {"sequence": 3, "kind": "funding", "instrument": "BTC", "funding_rate": "0.0001"},
    ]  # fmt: skip
    result = venue.evaluate(rules(), book(("BTC", -50))).resolve(events=events)
    # 3 x 90.333 = 271.00 in whole cents; 7 x 90 x 0.0001 = 0.063, 6 cents;
    # the market, which holds 3 by now, pays 0.027.
    assert booked(result) == {"A0": 1234 + 27100 - 6, "@outside": -1234, "@market": -27103, "@funding": 9}
    contracts = {e.account: e.contracts for e in result.ledger.entries if e.contracts is not None}
    assert contracts == {"A0": -3, "@market": 3}
    after = {row["account"]: row for row in snapshot_dict(result.after)["accounts"]}
    # 150 + 12.34 - 3 x 100 + 271.00 - 0.06.
    assert F(str(after["A0"]["balance"])) == F("133.28")


def test_a_mark_event_moves_the_clock_and_keeps_the_mark_before():
    events = [{"kind": "mark", "at": "2025-01-01T00:05:00Z", "instrument": "BTC", "mark_price": 95, "index_price": 96}]
    result = venue.evaluate(rules(), book(("BTC", -50))).resolve(events=events)
    after = snapshot_dict(result.after)
    assert after["as_of"] == "2025-01-01T00:05:00+00:00"
    (market,) = after["markets"]
    assert (market["mark_price"], market["previous_mark"], market["index_price"]) == (95, 90, 96)


def test_funding_by_the_ruleset_comes_from_the_premium():
    made = rules()
    made["funding"] = {"interest": "0.01%", "clamp": "0.05%", "cap": "0.05%"}
    tables = book(("BTC", -50))
    tables["markets"][0]["premium"] = "0.002"
    result = venue.evaluate(made, tables).resolve(events=[{"kind": "funding", "instrument": "BTC"}])
    # 0.2 % - 0.05 % is above the cap of 0.05 %: 900 x 0.0005.
    assert booked(result) == {"A0": -45, "@funding": 45}


def test_resolving_what_comes_after_changes_nothing_at_the_same_instant():
    policy = venue.policy(rules({"id": "fund", "pays": "main", "cap": 12, "window_seconds": 60}))
    first = policy.evaluate(book(("BTC", 10))).resolve()
    again = policy.evaluate(replace(first.after)).resolve()
    assert (again.steps, again.draws, again.ledger.entries) == ([], [], [])


FEES = {
    "tiers": [
        {"id": "base", "volume": 0, "maker": "0.02%", "taker": "0.05%"},
        {"id": "vip", "volume": 1000, "maker": "-0.01%", "taker": "0.03%"},
    ],
    "split": [
        {"id": "fund", "to": "main", "share": "50%", "on": ["liquidation", "deleveraging"]},
        {"id": "ref", "to": "referrers", "share": "10%", "on": ["taker"]},
    ],
    "residue": "treasury",
}  # fmt: skip


@pytest.mark.parametrize(
    ("volume", "liquidity", "fees"),
    [
        # 3 x 90 = 270: 0.135 is 14 cents to even, one to those who refer.
        (None, "taker", {"@referrers": 1, "@treasury": 13}),
        (999, "maker", {"@treasury": 5}),
        (1000, "taker", {"@treasury": 8}),
        (1000, "maker", {"@treasury": -3}),
    ],
)
def test_a_fill_pays_the_fee_of_its_tier(volume, liquidity, fees):
    made = {**rules(), "fees": FEES}
    tables = book(("BTC", -50))
    if volume is not None:
        tables["accounts"][0]["volume"] = volume
    fill = {"kind": "fill", "account": "A0", "instrument": "BTC", "side": "sell", "quantity": 3, "price": 90}
    result = venue.evaluate(made, tables).resolve(events=[{**fill, "liquidity": liquidity}])
    assert {k: v for k, v in booked(result).items() if k in ("@referrers", "@treasury")} == fees
    after = {row["account"]: row for row in snapshot_dict(result.after)["accounts"]}
    assert F(str(after["A0"]["balance"])) == 150 - 30 - F(sum(fees.values()), 100)


def test_a_liquidation_fee_is_split_and_feeds_the_fund():
    made = {**rules({"id": "fund", "pays": "main"}), "fees": FEES}
    made["liquidation"]["steps"] = [{**MARKET, "fee": "1%"}]
    result = venue.evaluate(made, book(("BTC", -5))).resolve()
    # Nine of 900, half of it to the fund, which then pays the deficit of four.
    others = {name: amount for name, amount in booked(result).items() if name != "A0"}
    assert others == {"@market": -90000, "@main": 450 - 400, "@treasury": 450}
    (fund,) = snapshot_dict(result.after)["funds"]
    assert fund["balance"] == 1000.5


def told(reason):
    return [reason.statement, *(line.statement for line in reason.children)]


def test_a_draw_says_what_set_it_and_who_was_passed_over():
    made = rules(
        {"id": "never", "pays": "main", "when": "equity > 1000000 * settle"},
        {"id": "fund", "pays": "main", "per_account": 7},
    )  # fmt: skip
    made["regime"] = {"protects": ["client_assets"], "recourse": "none", "insolvency": "claims rank equally"}
    result = venue.evaluate(made, book(("BTC", 10), ("BTC", 3))).resolve()
    assert told(result.explain_draw("fund")) == [
        "fund pays 10 USDT", "A0: 7, its cap for an account of 7", "A1: 3, all of the 3 that is due",
    ]  # fmt: skip
    assert told(result.explain_draw("never"))[0] == "never pays nothing"
    chain = told(result.explain("A0"))
    assert chain[2:] == [
        "never pays nothing: its condition does not hold", "fund pays 7 USDT", "end pays 3 USDT",
        "no layer may touch client assets of others",
        "beyond its margin the account owes nothing: recourse is none",
        "if the venue is insolvent: claims rank equally",
    ]  # fmt: skip
    with pytest.raises(QueryError, match="no layer `fun` was asked to pay"):
        result.explain_draw("fun")
    assert result.to_dict()["regime"]["recourse"] == "none"


def test_funding_warns_whom_it_pushes_towards_liquidation():
    made = rules()
    made["funding"] = {"interest": "0%", "clamp": "0%", "warn_above": "50%"}
    # 9 are due; 18.01 of equity is a ratio below a half, and 900 x 0.0001 takes nine cents of it.
    result = venue.evaluate(made, book(("BTC", "-18.01"))).resolve(
        events=[{"kind": "funding", "instrument": "BTC", "funding_rate": "0.0001"}]
    )
    (warning,) = result.warnings
    assert (warning.account, warning.payment, warning.ratio_after) == ("A0", F("-0.09"), F(9) / F("17.92"))
    assert result.to_dict()["warnings"][0]["account"] == "A0"


def staking():
    made = rules({"id": "fund", "pays": "main"})
    made["funds"] = [{
        "id": "main", "currency": "USDT", "staking": {"cooldown_seconds": 60, "gate": "deficit > 0 * settle"},
    }]  # fmt: skip
    return made


def test_stakes_go_in_bear_losses_and_come_out_after_their_cooldown():
    event = {"fund": "main", "account": "A0"}
    events = [
        {"sequence": 1, "kind": "stake", **event, "amount": 100},
        {"sequence": 2, "kind": "request_unstake", **event, "shares": 10000},
        {"sequence": 3, "kind": "unstake", **event, "at": "2025-01-01T00:01:00Z"},
    ]
    tables = book(("BTC", -500), funds=(("main", 0),))
    result = venue.evaluate(staking(), tables).resolve(events=events)
    assert [(e.account, e.amount) for e in result.ledger.entries] == [
        ("A0", -10000), ("@main", 10000), ("A0", 9999), ("@main", -9999),
    ]  # fmt: skip
    # One quantum always stays in a vault.
    early = [*events[:2], {**events[2], "at": "2025-01-01T00:00:59Z"}]
    evaluation = venue.evaluate(staking(), tables)
    with pytest.raises(SnapshotError, match="event 3"):
        evaluation.resolve(events=early)
