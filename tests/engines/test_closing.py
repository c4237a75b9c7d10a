"""Deleveraging by the ruleset's policy in a resolution: worked by hand, and the laws that every one of them keeps."""

from fractions import Fraction

import pytest

from riskpolicy.engines.policies import CONTROLLERS, POLICIES
from riskpolicy.errors import RulesetError, SnapshotError
from riskpolicy.ruleset.deleveraging import Controller, Policy
from riskpolicy.snapshot.write import snapshot_dict
from tests import venue
from tests.engines.test_exposure_rules import Smallest
from tests.engines.test_resolve import ADL, ruleset

F = Fraction


def rules(take=None, **more):
    made = ruleset([ADL])
    made["deleveraging"]["take"] |= take or {}
    made["deleveraging"] |= more
    return made


def book(**roles):
    """A is bankrupt, 10 contracts from 100, bankrupt at 90, marked at 89; opposite 8 from 130, 8 at 110, 4 at 80."""
    positions = [("A", "BTC", 10, 100), ("W", "BTC", -8, 130), ("X", "BTC", -8, 110), ("Y", "BTC", -4, 80)]
    tables = venue.cross(positions, {"A": 100, "W": 500, "X": 500, "Y": 500}, {"BTC": 89})
    tables["funds"] = [{"fund": "main", "currency": "USDT", "balance": 0}]
    for row in tables["accounts"]:
        if row["account"] in roles:
            row["role"] = roles[row["account"]]
    return tables


def taken(result):
    return {d.account: float(-d.quantity) for d in result.deleveraged}


def run(made, tables=None):
    return venue.evaluate(made, tables or book()).resolve()


def test_the_written_policies_are_those_of_the_engine():
    assert set(Policy.__args__) == {*POLICIES, "plugin"}


@pytest.mark.parametrize(
    ("take", "wanted"),
    [
        ({"rule": "queue"}, {"W": 8, "X": 2}),
        # 20 contracts are there: half of each.
        ({"rule": "pro_rata_contracts"}, {"W": 4, "X": 4, "Y": 2}),
        # Profits of 328 and 168, a loss of 36 that has none: 10 contracts 2 to 1, in whole lots.
        ({"rule": "pro_rata"}, None),
        ({"rule": "queue", "most": "50%"}, {"W": 4, "X": 4, "Y": 2}),
        ({"rule": "integer"}, {"W": 4, "X": 4, "Y": 2}),
        ({"rule": "least_leverage"}, None),
        ({"rule": "capped_pro_rata", "parameters": {"most": "25%"}}, None),
        ({"rule": "risk_weighted", "parameters": {"g": "linear"}}, None),
        ({"rule": "lexicographic", "parameters": {"keys": ["equity asc"]}}, None),
        ({"rule": "random_start", "seed": 7}, None),
        ({"rule": "capped_queue"}, None),
    ],
)
def test_a_policy_of_the_ruleset_is_what_the_resolution_does(take, wanted):
    result = run(rules(take))
    found = taken(result)
    if wanted is not None:
        assert found == wanted
    assert 0 < sum(found.values()) <= 10
    assert all(q == int(q) for q in found.values())
    # Contracts and money balance, and what was closed is gone from both sides.
    positions = {p["account"]: p["quantity"] for p in snapshot_dict(result.after)["positions"]}
    assert sum(positions.values()) == -10
    assert positions["A"] == 10 - sum(found.values())


def test_who_is_protected_or_not_eligible_gives_nothing_and_is_told_why():
    made = rules({"rule": "queue"}, eligible="unrealized_pnl > 0", protected_roles=["market_maker"])
    result = run(made, book(W="market_maker"))
    assert taken(result) == {"X": 8}
    whys = {s.account: s.why for s in result.skipped}
    assert whys == {"W": "protected: market_maker", "Y": "not eligible"}
    assert result.waiting == ["A"]
    assert "not deleveraged in BTC against A: not eligible" in [r.statement for r in result.explain("Y").children]


def test_a_fee_is_paid_by_whoever_is_closed():
    result = run(rules({"rule": "pro_rata_contracts", "fee": "1%"}))
    fees = {e.account: e.amount for e in result.ledger.entries if e.what == "fee"}
    # 4 and 2 contracts at 90.
    assert fees["@fees"] == 180
    assert (fees["W"], fees["Y"]) == (-360, -180)


def triggered(**fund):
    made = rules({"rule": "queue"})
    made["instruments"][0]["fund"] = "main"
    made["deleveraging"]["trigger"] = {
        "start": "fund_balance < 0.7 * fund_peak_8h", "stop": "fund_balance >= 0.8 * fund_peak_8h",
    }  # fmt: skip
    tables = book()
    tables["funds"][0] |= fund
    return made, tables


@pytest.mark.parametrize(
    ("balance", "active", "on"),
    [(69, "false", True), (70, "false", False), (79, "true", True), (80, "true", False), (79, "false", False)],
)
def test_a_trigger_has_a_start_and_a_stop(balance, active, on):
    made, tables = triggered(balance=balance, peak_8h=100)
    tables["markets"][0]["adl_active"] = active
    result = run(made, tables)
    assert bool(result.deleveraged) == on
    (market,) = snapshot_dict(result.after)["markets"]
    assert market["adl_active"] == str(on).lower()
    if not on:
        assert result.steps[-1].what == "deleveraging of BTC is not triggered"


def test_scores_can_be_taken_anew_for_every_event():
    # By notional: after W gave 6 of its 8 to A, it ranks last for B.
    for again, wanted in ((True, {"W": 6, "X": 8, "Y": 2}), (False, {"W": 8, "X": 8})):
        made = rules({"rule": "queue"}, score="notional", again=again, ties="not_stated")
        tables = book()
        tables["positions"][0]["quantity"] = 6
        tables["accounts"][0]["balance"] = 60
        tables["positions"].append({"account": "B", "instrument": "BTC", "quantity": 10, "entry_price": 100})
        tables["accounts"].append({"account": "B", "currency": "USDT", "balance": 100})
        made["liquidation"]["accounts"] = ["account"]
        totals = {}
        for d in run(made, tables).deleveraged:
            totals[d.account] = totals.get(d.account, 0) - float(d.quantity)
        assert totals == wanted


@pytest.mark.parametrize(
    ("take", "says"),
    [
        ({"rule": "risk_weighted", "parameters": {"h": "linear"}}, "no parameter `h`"),
        ({"rule": "plugin"}, "names no plugin"),
        ({"rule": "queue", "plugin": "x"}, "allocates nothing"),
        ({"rule": "profit_haircut"}, "profit_haircut"),
        ({"price": "mark_prise"}, "did you mean `mark_price`"),
        ({"price": "cheap"}, "`cheap` is no price"),
    ],
)
def test_a_take_that_makes_no_sense_is_refused(take, says):
    with pytest.raises(RulesetError, match=says) as error:
        venue.policy(rules(take))
    assert "venue.yaml:" in str(error.value)


def wave(**severity):
    return rules({"rule": "queue"}, severity={"rule": "back_off", "start": "50%", **severity})


def severity_in(result):
    (market,) = snapshot_dict(result.after)["markets"]
    return market["adl_severity"]


def test_a_severity_asks_for_a_part_and_learns_from_event_to_event():
    made = wave()
    one = run(made)
    # Half of 10; it raised 5 of a deficit of 10, so the next event asks for a tenth more.
    assert taken(one) == {"W": 5}
    assert (severity_in(one), one.waiting) == (0.6, ["A"])
    two = venue.evaluate(made, one.after).resolve()
    # 3 of the 5 that are left; 3 of 5 raised.
    assert taken(two) == {"W": 3}
    assert severity_in(two) == 0.7
    assert run(wave(start="100%")).waiting == []


def test_a_severity_goes_on_from_the_snapshot_within_its_bounds():
    tables = book()
    for before, asked, after in ((0.3, 3, 0.4), (0, 0, 0.1), (5, 8, 0.8)):
        tables["markets"][0]["adl_severity"] = before
        result = run(wave(most="80%"), tables)
        assert sum(taken(result).values()) == asked
        assert severity_in(result) == after


def test_each_market_has_a_severity_of_its_own_over_the_buckets_of_a_resolution():
    made = wave()
    made["liquidation"]["accounts"] = ["account"]
    tables = book()
    tables["positions"].append({"account": "B", "instrument": "BTC", "quantity": 10, "entry_price": 100})
    tables["accounts"].append({"account": "B", "currency": "USDT", "balance": 100})
    result = run(made, tables)
    closed = {d.against: 0 for d in result.deleveraged}
    for d in result.deleveraged:
        closed[d.against] -= d.quantity
    assert closed == {"A": 5, "B": 6}
    assert severity_in(result) == 0.7


def test_what_a_severity_leaves_goes_to_the_next_step():
    made = wave()
    made["liquidation"]["steps"].append({"id": "takeover", "do": "takeover", "by": "main", "price": "bankruptcy_price"})
    tables = book()
    tables["funds"][0]["balance"] = 1000
    result = run(made, tables)
    assert taken(result) == {"W": 5}
    assert [float(s.quantity) for s in result.steps if s.step == "liquidation.steps.takeover"] == [-5]
    assert result.waiting == []


@pytest.mark.parametrize(
    ("severity", "says"),
    [
        ({"rule": "back_off", "parameters": {"rate": 1}}, "no parameter `rate`"),
        ({"rule": "back_off", "parameters": {"factor": 2}}, "`factor` is 2, not a number from 0 to 1"),
        ({"rule": "mirror_descent", "parameters": {"rate": "fast"}}, "`rate` is fast, not a number zero or more"),
        ({"rule": "static", "parameters": {"rate": 1}}, "takes no parameters"),
        ({"rule": "gradient"}, "gradient"),
        ({"rule": "static", "start": "10%", "least": "20%"}, "`least` is above its `start`"),
        ({"rule": "static", "most": "50%"}, "`start` is above its `most`"),
        ({"rule": "static", "most": "200%"}, "more than all of a position"),
    ],
)
def test_a_severity_that_makes_no_sense_is_refused_where_it_stands(severity, says):
    with pytest.raises(RulesetError, match=says) as error:
        venue.policy(rules(severity=severity))
    assert "venue.yaml:" in str(error.value)


def test_the_written_controllers_are_those_of_the_engine():
    assert set(Controller.__args__) == {*CONTROLLERS}


#: W holds 8 of the 20 shorts; at 90 they lose 8 of its equity.
EVERY_RULE = [
    {"rule": "queue"}, {"rule": "queue", "most": "100%"}, {"rule": "lexicographic"}, {"rule": "pro_rata_contracts"},
    {"rule": "pro_rata"}, {"rule": "integer"}, {"rule": "least_leverage"}, {"rule": "random_start"},
    {"rule": "risk_weighted"}, {"rule": "capped_pro_rata", "parameters": {"most": "100%"}}, {"rule": "capped_queue"},
]  # fmt: skip


@pytest.mark.parametrize("take", EVERY_RULE)
@pytest.mark.parametrize("equity", [8, "7.99"])
def test_nobody_ends_below_zero_under_any_policy(take, equity):
    tables = book()
    tables["accounts"][1]["balance"] = float(F(equity) - 8 * (130 - 89))
    result = run(rules(take), tables)
    whys = {s.account: s.why for s in result.skipped}
    assert ("W" in taken(result)) == (equity == 8) or take["rule"] in ("random_start", "least_leverage")
    assert (whys.get("W") == "bankruptcy prices do not overlap") == (equity != 8)
    for row in venue.evaluate(rules(take), result.after).buckets.rows():
        assert F(row["equity"]) >= 0 or row["account"] == "A"


@pytest.mark.parametrize(
    ("take", "most"),
    [
        ({"rule": "queue", "most": "25%"}, {"W": 2, "X": 2, "Y": 1}),
        (
            {"rule": "capped_pro_rata", "parameters": {"most": "25%", "numeraire": "contracts"}},
            {"W": 2, "X": 2, "Y": 1},
        ),
    ],
)
def test_a_cap_holds_for_an_event_however_often_its_steps_begin_again(take, most):
    made, tables = rules(take), book()
    tables["positions"].append({"account": "B", "instrument": "BTC", "quantity": 1, "entry_price": 100})
    tables["accounts"].append({"account": "B", "currency": "USDT", "balance": 10})
    made["liquidation"]["accounts"] = ["account"]
    result = run(made, tables)
    of = {d.account: -d.quantity for d in result.deleveraged if d.against == "A"}
    assert of == most
    assert "A" in result.waiting


def test_of_profit_no_more_is_taken_than_an_event_found():
    # A is bankrupt at 95 and marked at 90: a contract costs 5, so that B's profit of 60 pays for 6 and C's of 10 for 2.
    # Asked again for the 2 that are left, C would have 3 contracts with a profit of 6, and give one more.
    tables = venue.cross(
        [("A", "BTC", 10, 100), ("B", "BTC", -6, 100), ("C", "BTC", -5, 92), ("D", "BTC", -5, 80)],
        {"A": 50, "B": 1000, "C": 1000, "D": 1000}, {"BTC": 90},
    )  # fmt: skip
    tables["funds"] = [{"fund": "main", "currency": "USDT", "balance": 0}]
    result = run(rules({"rule": "pro_rata"}), tables)
    assert taken(result) == {"B": 6, "C": 2}
    assert result.waiting == ["A"]


def test_who_is_bankrupt_or_the_account_itself_is_passed_over_with_a_reason():
    tables = book()
    tables["positions"].append({"account": "Z", "instrument": "BTC", "quantity": -9, "entry_price": 1})
    tables["accounts"].append({"account": "Z", "currency": "USDT", "balance": 1})
    result = run(rules({"rule": "queue"}, score="notional"), tables)
    against = [(s.account, s.against, s.why) for s in result.skipped]
    assert ("Z", "A", "bankrupt itself") in against
    assert len(against) == len(set(against))


# Triggers: what they read is as it is by then, and is kept for the snapshot after.


def pooled(pnl, balance=1000, active="false", **market):
    made = rules({"rule": "queue"})
    made["instruments"][0]["fund"] = "main"
    made["deleveraging"]["trigger"] = {
        "start": "symbol_pnl - symbol_pnl_peak_8h < -0.3 * fund_peak_8h",
        "stop": "symbol_pnl - symbol_pnl_peak_8h > -0.25 * fund_peak_8h",
    }
    tables = book()
    tables["funds"][0] |= {"balance": balance, "peak_8h": 1000}
    tables["markets"][0] |= {"symbol_pnl": pnl, "symbol_pnl_peak_8h": 0, "adl_active": active, **market}
    return made, tables


def market_of(result):
    return snapshot_dict(result.after)["markets"][0]


def test_a_flag_goes_on_and_off_where_nobody_is_bankrupt_too():
    for pnl, before, after in (
        (-310, "false", "true"),
        (-300, "false", "false"),
        (-260, "true", "true"),
        (0, "true", "false"),
    ):
        made, tables = pooled(pnl, active=before)
        tables["accounts"][0]["balance"] = 1000
        result = run(made, tables)
        assert not result.deleveraged
        assert market_of(result)["adl_active"] == after


@pytest.mark.parametrize("lacks", ["symbol_pnl", "symbol_pnl_peak_8h", "peak_8h"])
def test_a_number_that_a_trigger_reads_and_nobody_gives_is_missed(lacks):
    made, tables = pooled(-310)
    for table in ("markets", "funds"):
        tables[table][0].pop(lacks, None)
    with pytest.raises(SnapshotError, match=f"triggered by `(fund_)?{lacks}`"):
        run(made, tables)
    # Where nobody is bankrupt it is not needed.
    tables["accounts"][0]["balance"] = 1000
    assert market_of(run(made, tables)).get("adl_active", "false") == "false"


def test_what_a_fund_loses_in_a_market_is_its_profit_there_and_turns_deleveraging_on():
    made, tables = pooled(-297, balance=1000)
    take = {"id": "take", "do": "takeover", "by": "main", "price": "bankruptcy_price"}
    made["liquidation"]["steps"] = [{**ADL, "when": "equity < 0"}, take]
    made["liquidation"]["accounts"] = ["account"]
    tables["positions"].append({"account": "B", "instrument": "BTC", "quantity": 4, "entry_price": 100})
    tables["accounts"].append({"account": "B", "currency": "USDT", "balance": 40})
    result = run(made, tables)
    # A is taken over with a loss of 10 at the mark: -307 of 1,000 is below -30 %, so B is closed against the queue.
    assert {d.against for d in result.deleveraged} == {"B"}
    assert (market_of(result)["symbol_pnl"], market_of(result)["adl_active"]) == (-307, "true")
    (fund,) = snapshot_dict(result.after)["funds"]
    assert (float(fund["balance"]), fund["peak_8h"]) == (990, 1000)


def test_the_highest_of_a_window_is_no_lower_than_what_is_there_now():
    made, tables = pooled(50, balance=1200, symbol_pnl_peak_8h=40)
    made["liquidation"]["steps"] = [
        {"id": "ioc", "do": "immediate_or_cancel", "price": "bankruptcy_price", "fee": "1%", "fee_to": "main"}
    ]
    tables["accounts"][0]["balance"] = 115
    tables["depth"] = [{"instrument": "BTC", "side": "bid", "price": 89, "quantity": 100}]
    result = run(made, tables)
    (fund,) = snapshot_dict(result.after)["funds"]
    # A fee of 8.9, and 3.9 of it back for what A lacks then.
    assert (float(fund["balance"]), fund["peak_8h"]) == (1205, 1208.9)
    assert (market_of(result)["symbol_pnl"], market_of(result)["symbol_pnl_peak_8h"]) == (55, 58.9)


def test_positions_are_closed_in_the_order_in_which_they_were_ranked(install):
    install("smallest", Smallest())
    result = run(rules({"rule": "queue"}, plugin="smallest"))
    assert [d.account for d in result.deleveraged] == ["Y", "W"]
