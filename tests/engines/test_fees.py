"""Fees: tiers at their boundaries, rounding, the split with order, caps and residue, a day's income worked by hand."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskpolicy.engines.fees import KINDS, fee_due, fee_report, fee_shares, fee_tier, flows_of, split_fee
from riskpolicy.errors import QueryError
from riskpolicy.plan.plan import FeePart, Fees, FeeTier
from tests import venue

F = Fraction
CENT = F(1, 100)
TIERS = (
    FeeTier("base", F(0), F(1, 5000), F(1, 2000)),
    FeeTier("vip", F(1000), F(0), F(1, 2500)),
    FeeTier("maker", F(5000), F(-1, 10000), F(1, 2500)),
)


def fees(*split, residue="@treasury", fund=-1):
    return Fees(TIERS, split, residue, fund, None)


def part(name, share, *, rest=False, on=KINDS, cap=None):
    return FeePart(f"fees.split.{name}", f"@{name}", -1, F(share), rest, tuple(on), None if cap is None else F(cap))


@pytest.mark.parametrize(
    ("volume", "tier"),
    [
        (None, "base"),
        (0, "base"),
        (F("999.99"), "base"),
        (1000, "vip"),
        (4999, "vip"),
        (5000, "maker"),
        (10**9, "maker"),
    ],
)
def test_a_tier_begins_at_its_volume(volume, tier):
    assert fee_tier(fees(), None if volume is None else F(volume)).id == tier


def test_a_tier_is_found_by_name_before_volume():
    assert fee_tier(fees(), F(10**9), "vip").id == "vip"
    with pytest.raises(QueryError, match=r"no fee tier `vop`[\s\S]*did you mean `vip`"):
        fee_tier(fees(), None, "vop")


# Of 1 cent: 0.5 and 2.5 go down, 1.5 goes up; a rebate is below zero.
@pytest.mark.parametrize(
    ("rate", "notional", "quanta"),
    [
        ("0.05%", 100, 5), ("0.05%", 10, 0), ("0.05%", 30, 2), ("0.05%", 50, 2), ("-0.01%", 1000, -10),
        ("-0.01%", -1000, -10), ("1.25%", 12345, 15431),
    ],
)  # fmt: skip
def test_a_fee_is_in_whole_quanta_half_to_even(rate, notional, quanta):
    assert fee_due(F(rate.rstrip("%")) / 100, F(notional), CENT) == quanta


# Net fee of 1000 quanta: first a tenth of the whole, then half of the rest, then all of what is left up to a cap.
SPLIT = (part("affiliate", "0.1"), part("fund", "0.5", rest=True), part("stakers", 1, rest=True, cap="4"))


def test_shares_of_the_whole_and_of_the_rest_in_order():
    assert [(p.receiver, p.quanta) for p in split_fee(fees(*SPLIT), "taker", 1001, CENT)] == [
        ("@affiliate", 100), ("@fund", 450), ("@stakers", 400), ("@treasury", 51),
    ]  # fmt: skip


def test_a_part_takes_only_its_kinds():
    split = (part("maker_only", "0.5", on=("maker",)), part("other", "0.5", on=("taker", "liquidation")))
    assert [p.receiver for p in split_fee(fees(*split), "maker", 10, CENT)] == ["@maker_only", "@treasury"]
    assert [p.receiver for p in split_fee(fees(*split), "deleveraging", 10, CENT)] == ["@treasury"]


def test_a_share_of_the_whole_after_a_share_of_the_rest_gets_what_is_there():
    split = (part("first", 1, rest=True), part("second", "0.5"))
    assert [p.quanta for p in split_fee(fees(*split), "taker", 7, CENT)] == [7, 0, 0]


def test_a_rebate_is_paid_by_the_owner_of_the_residue():
    assert split_fee(fees(*SPLIT), "maker", -9, CENT) == (("@treasury", -9, "fees.residue", -1),)
    assert split_fee(fees(), "maker", 0, CENT) == (("@treasury", 0, "fees.residue", -1),)


parts = st.builds(
    FeePart, st.sampled_from(["fees.split.a", "fees.split.b"]), st.sampled_from(["@a", "@b", "@c"]), st.just(-1),
    st.fractions(0, 1, max_denominator=1000), st.booleans(),
    st.sets(st.sampled_from(KINDS), min_size=1).map(tuple),
    st.none() | st.fractions(F(1, 1000), 50, max_denominator=1000),
)  # fmt: skip


@given(st.lists(parts, max_size=5), st.sampled_from(KINDS), st.integers(-(10**6), 10**9))
def test_a_split_sums_to_the_fee_in_order_within_caps(split, kind, amount):
    found = split_fee(fees(*split), kind, amount, CENT)
    assert sum(p.quanta for p in found) == amount
    assert found[-1].rule == "fees.residue"
    if amount <= 0:
        assert len(found) == 1
        return
    takers = [p for p in split if kind in p.on]
    assert [p.rule for p in found[:-1]] == [p.id for p in takers]
    left = F(amount)
    for part_, got in zip(takers, found, strict=False):
        # The reference: a share as written, in quanta, under every limit that there is.
        wanted = (left if part_.of_rest else F(amount)) * part_.share
        limits = [wanted, left, *([] if part_.cap is None else [part_.cap / CENT])]
        assert got.quanta == min(limits) // 1
        assert got.quanta >= 0
        left -= got.quanta
    assert found[-1].quanta == left


@given(st.lists(parts, max_size=5), st.sampled_from(KINDS), st.integers(1, 10**9))
def test_shares_without_caps_are_what_a_split_tends_to(split, kind, amount):
    free = [FeePart(p.id, p.to, p.fund, p.share, p.of_rest, p.on, None) for p in split]
    ideal = fee_shares(fees(*free), kind)
    assert sum(ideal.values()) == 1
    got = dict.fromkeys(ideal, 0)
    for p in split_fee(fees(*free), kind, amount, CENT):
        got[p.receiver] += p.quanta
    # Every part before may have left a quantum more than its share.
    assert all(abs(got[name] - share * amount) <= len(free) + 1 for name, share in ideal.items())


def ruleset():
    made = venue.base()
    made["currencies"] = {"USDT": {"quantum": 0.01}}
    made["funds"] = [
        {"id": "main", "currency": "USDT", "target": "1000 * settle", "refill": {"below": "80%", "share": "50%"}}
    ]
    made["liquidation"]["steps"][0] |= {"fee": "1.25%", "fee_to": "main"}
    made["fees"] = {
        "tiers": [
            {"id": "base", "maker": "0.02%", "taker": "0.05%"},
            {"id": "vip", "volume": 1000000, "maker": "-0.01%", "taker": "0.03%"},
        ],
        "split": [
            {"id": "fund", "to": "main", "share": "10%", "on": ["taker"]},
            {"id": "referrals", "to": "referrals", "share": "50%", "of": "rest", "cap": 2},
        ],
        "residue": "venue",
    }
    return made


def report(volumes, liquidated=0, **more):
    plan = venue.policy(ruleset()).plan
    return fee_report(plan, flows_of(plan, {k: F(v) for k, v in volumes.items()}, F(liquidated)), "USDT", **more)


def test_a_day_of_fees_worked_by_hand():
    # 1,000,000 taken pays 500: 50 to the fund, half of 450 to referrals; 1,000,000 made pays 200; 2,000 liquidated 25.
    day = report({("maker", None): 10**6, ("taker", None): 10**6}, 2000)
    assert [(i.flow.kind, i.fee) for i in day.incomes] == [("maker", 20000), ("taker", 50000), ("liquidation", 2500)]
    assert day.receivers == {"@referrals": 10000 + 22500, "@venue": 10000 + 22500, "@main": 5000 + 2500}
    assert day.total == 72500 == sum(day.receivers.values())
    assert day.uncapped == ("fees.split.referrals",)


def test_caps_count_trade_by_trade():
    # Trades of 10,000 pay 5: 0.5 to the fund, 2 (not 2.25) to referrals; the last one, of 5,000, 2.5: 0.25 and 1.12.
    day = report({("taker", "base"): 25000}, trade_size=F(10000))
    assert day.receivers == {"@main": 125, "@referrals": 512, "@venue": 613}
    assert day.uncapped == ()


def test_a_rebate_comes_off_the_owner_of_the_residue():
    day = report({("maker", "vip"): 10**6, ("taker", "vip"): 10**6})
    assert day.receivers == {"@venue": -10000 + 13500, "@main": 3000, "@referrals": 13500}
    assert day.total == 20000


@pytest.mark.parametrize(("lack", "days"), [("1000", 40), ("0", 0), ("12.5", F(1, 2)), ("12.491", F(1, 2))])
def test_days_to_refill_count_the_share_that_refills(lack, days):
    # 50 a day go to the fund, half of them refill.
    (refill,) = report({("taker", None): 10**6}, lacks={"main": F(lack)}).refills
    assert (refill.income, refill.share, refill.days) == (5000, F(1, 2), days)


def test_a_fund_of_another_currency_is_not_fed():
    made = ruleset()
    made["currencies"]["EUR"] = {"quantum": 0.01}
    made["instruments"].append({**made["instruments"][0], "symbols": ["BTCEUR"], "settle": "EUR"})
    made["instruments"][1].pop("fund")
    plan = venue.policy(made).plan
    day = fee_report(plan, flows_of(plan, {("taker", None): F(10**6)}), "EUR", lacks={"main": F(1)})
    assert day.receivers == {"@fees": 5000, "@referrals": 22500, "@venue": 22500}
    assert day.refills[0].days is None


def test_a_fund_that_gets_nothing_is_never_refilled():
    (refill,) = report({("maker", None): 10**6}, lacks={"main": F(1)}).refills
    assert refill.days is None


@pytest.mark.parametrize(
    ("volumes", "more", "code"),
    [
        ({("maker", "gold"): 1}, {}, "unknown_id"),
        ({("maker", None): -1}, {}, "negative"),
        ({("maker", None): 1}, {"lacks": {"other": F(1)}}, "unknown_id"),
        ({("maker", None): 1}, {"trade_size": F(0)}, "not_positive"),
    ],
)
def test_questions_that_have_no_answer_are_refused(volumes, more, code):
    with pytest.raises(QueryError) as caught:
        report(volumes, **more)
    assert caught.value.codes == (code,)


def test_a_ruleset_without_fees_says_so():
    plan = venue.policy(venue.base()).plan
    with pytest.raises(QueryError, match="states no fees"):
        flows_of(plan, {})
