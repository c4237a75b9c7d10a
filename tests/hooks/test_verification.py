"""Verification against plain statements of what must hold, over drawn answers: no fault escapes, none is invented."""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import riskpolicy as rp
from riskpolicy.engines.core.adl import LAWS, Allocation
from riskpolicy.engines.core.fees import ENGINES, FeeDue
from riskpolicy.engines.execution import BookLevels, Fill, Impact
from riskpolicy.engines.policies import POLICIES, declared, policy
from riskpolicy.engines.resolving import books as engine_books
from riskpolicy.engines.resolving import incoming
from riskpolicy.hooks.resolve import Hooked, hooks_of
from riskpolicy.hooks.verified import (
    VerifiedExecution,
    allocating,
    broken,
    executing,
    fills_fault,
    ranking,
    split_fault,
    splitting,
)
from riskpolicy.testing.conformance import check_plugin
from riskpolicy.testing.laws import law
from tests import venue
from tests.engines.adl_books import books, candidate, demand
from tests.engines.test_closing import book, rules
from tests.engines.test_payers import FEES
from tests.engines.test_payers import book as payers_book
from tests.engines.test_payers import rules as payers_rules

F = Fraction
PEOPLE = [candidate("A", 6), candidate("B", 6, rank=2)]
FEE = FeeDue("A", "USDT", 10, "taker", "BTC", "fees")
REBATE = replace(FEE, amount=-10, kind="maker")


def hooked(answer, hook="allocate_adl", laws=()):
    """A hook that gives one answer whatever it is asked."""
    return Hooked(hook, "mine", "1.2", lambda **_: answer, laws)


# --- allocations ---


@st.composite
def answers(draw):
    """A book with an allocation of it that is nearly right: each part is right, or one of its common mistakes."""
    of, people = draw(books(odd=True))
    amounts = []
    for c in people:
        most = min(c.cap, c.contracts)
        amounts.append(draw(st.sampled_from([F(0), F(0), most // of.lot * of.lot, most, c.contracts, of.lot, -of.lot])))
    left = of.contracts - sum(amounts)
    remaining = draw(st.sampled_from([left, left, left, F(0), left + of.lot]))
    reasons = [draw(st.sampled_from([None, "no"])) if draw(st.integers(0, 9)) == 0 else (None if g else "no")
               for g in amounts]  # fmt: skip
    return of, people, Allocation(tuple(amounts), tuple(reasons), remaining)


def is_valid(of, people, found):
    """What every allocation keeps, said once more and plainly."""
    rows = list(zip(people, found.given, found.skipped, strict=True))
    return (
        all(0 <= g <= c.cap and g <= c.contracts for c, g, _ in rows)
        and all((g / of.lot).denominator == 1 or g == c.contracts for c, g, _ in rows)
        and sum(found.given) + found.remaining == of.contracts
        and found.remaining >= 0
        and all((g == 0) == (why is not None) for c, g, why in rows)
    )


@settings(max_examples=400, deadline=None)
@given(answers(), st.sets(st.sampled_from(["profit_only", "exhaustive"])))
def test_an_answer_is_refused_where_it_breaks_a_law_and_nowhere_else(answer, laws):
    of, people, found = answer
    fault = broken(of, people, found, laws)
    if not is_valid(of, people, found):
        assert fault is not None
        assert fault.law == "always"
        return
    wrong = [name for name in ("profit_only", "exhaustive")
             if name in laws and law(name, laws)(lambda *_: found, of, people) is not None]  # fmt: skip
    assert (None if fault is None else fault.law) == (wrong[0] if wrong else None)


@pytest.mark.parametrize("name", sorted(POLICIES))
@settings(max_examples=25, deadline=None)
@given(books())
def test_nothing_that_keeps_its_laws_is_refused(name, drawn):
    """Each policy of the engine passes as if it were a plugin's, with all laws that it declares, and is not changed."""
    allocate = policy(name)
    plugin = Hooked(
        "allocate_adl", "mine", "1", lambda demand, candidates: allocate(demand, candidates), declared(name)
    )
    assert allocating(plugin)(*drawn) == allocate(*drawn)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (Allocation(None, (None, None), F(0)), "`given` is NoneType"),
        (Allocation((F(6), F(4)), "no", F(0)), "`skipped` is str"),
        (Allocation((np.int64(6), F(4)), (None, None), F(0)), r"not exact, such as np.int64\(6\)"),
        (Allocation((True, F(6)), (None, None), F(3)), "not exact, such as True"),
        (Allocation((F(6), F(4)), (None, None), float("nan")), "not exact, such as nan"),
        (Allocation((F(6), F(4)), (7, None), F(0)), "passes over A for 7, which is no text"),
        (Allocation((F(6), F(4)), ("no", None), F(0)), "takes 6 contracts of A and says why it is passed over: no"),
        (Allocation((F(6), F(0)), (None, ""), F(4)), "passes over `B` without a reason"),
    ],
    ids=range(8),
)
def test_an_answer_of_wrong_types_is_named(found, says):
    with pytest.raises(rp.PluginError, match=says) as error:
        allocating(hooked(found))(demand(), PEOPLE)
    assert error.value.codes == ("hook_result",)
    assert "plugin `mine` 1.2: `allocate_adl` breaks `always`" in str(error.value)


def test_a_broken_law_is_named_with_its_numbers():
    given = Allocation((F(6), F(0)), (None, "no"), F(4))
    for laws, says in [
        (("exhaustive",), "breaks `exhaustive`: leaves 4 contracts though `B` can give more"),
        (("exhaustive", "profit_only"), "breaks `exhaustive`: leaves 4 contracts though `B` can give more"),
    ]:
        with pytest.raises(rp.PluginError, match=says):
            allocating(hooked(given, laws=laws))(demand(), PEOPLE)
    # B has lost: where only profit is taken it can give nothing.
    lost = [PEOPLE[0], candidate("B", 6, entry=110, rank=2)]
    assert allocating(hooked(given, laws=("exhaustive", "profit_only")))(demand(), lost) == given
    # At the mark nothing is lost, and still who has no profit may not be taken.
    both = Allocation((F(6), F(4)), (None, None), F(0))
    for entry in (100, 110):
        people = [PEOPLE[0], candidate("B", 6, entry=entry, rank=2)]
        with pytest.raises(rp.PluginError, match="breaks `profit_only`: takes 0 of B, whose profit is 0"):
            allocating(hooked(both, laws=("profit_only",)))(demand(price=100), people)


@pytest.mark.parametrize(
    ("contracts", "cap", "remaining", "more"),
    [
        (F(1, 2), F(1, 2), 4, True),  # all that it has, though no lot
        (2, F(1, 2), 4, False),  # neither a lot nor all that it has
        (2, F(3, 2), 4, True),
        (2, 0, 4, False),
        (F(1, 2), F(1, 2), F(1, 2), False),  # less than a lot is left, and sizes are odd
    ],
)
def test_who_could_give_more(contracts, cap, remaining, more):
    people = [candidate("A", 20), candidate("B", contracts, cap=cap, rank=2)]
    asked = demand(10 + F(remaining))
    found = Allocation((F(10), F(0)), (None, "no"), F(remaining))
    people[0] = replace(people[0], cap=F(10))
    assert (broken(asked, people, found, ["exhaustive"]) is not None) == more


def test_whole_numbers_count_as_fractions():
    found = allocating(hooked(Allocation([6, 4], [None, None], 0)))(demand(), PEOPLE)
    assert found == Allocation((F(6), F(4)), (None, None), F(0))
    assert all(isinstance(x, Fraction) for x in (*found.given, found.remaining))


@pytest.mark.parametrize("score", [True, np.int64(1), np.float64(1), 1.0, "1", None, 1j], ids=repr)
def test_a_score_that_is_not_exact_is_refused(score):
    with pytest.raises(rp.PluginError, match=r"the score .* which is not exact"):
        ranking(hooked([F(1), score], "rank_adl"))(demand(), PEOPLE)
    scores = ranking(hooked((2, F(1, 3)), "rank_adl"))(demand(), PEOPLE)
    assert scores == [F(2), F(1, 3)]
    assert all(isinstance(x, Fraction) for x in scores)


# --- fees ---


@settings(max_examples=300, deadline=None)
@given(
    st.integers(-30, 30),
    st.dictionaries(st.sampled_from(["main", "fees", "desk", "market", "member:m", ""]), st.integers(-30, 30)),
    st.booleans(),
)
def test_a_split_is_refused_where_it_is_not_all_of_the_fee_to_those_who_may_get_it(amount, parts, even):
    if even:
        parts = {**parts, "fees": amount - sum(x for name, x in parts.items() if name != "fees")}
    right = (
        sum(parts.values()) == amount
        and all(x >= 0 for x in parts.values() if amount > 0)
        and all(x <= 0 for x in parts.values() if amount < 0)
        and all(x == 0 for x in parts.values() if amount == 0)
        and not {"market", "member:m", ""} & parts.keys()
        and parts.get("main", 0) >= 0
    )
    assert (split_fault(replace(FEE, amount=amount), parts, ["main"]) is None) == right


@pytest.mark.parametrize(
    ("fee", "parts", "says"),
    [
        (
            FEE,
            {"main": -1000, "thief": 1010},
            "gives `main` -1000 of a taker fee of 10 quanta of USDT: of a fee nobody",
        ),
        (REBATE, {"main": 90, "fees": -100}, "gives `main` 90 of a maker fee of -10 quanta"),
        (replace(FEE, amount=0), {"main": 1, "fees": -1}, "gives `main` 1 of a taker fee of 0 quanta"),
        (REBATE, {"main": -10}, "has the fund `main` pay 10 of a maker fee"),
        (FEE, {"member:m": 10}, "pays `member:m`, an account that the engine keeps"),
        (FEE, {"fees": True, "main": 9}, "gives `fees` True"),
        (FEE, {"fees": np.int64(10)}, "whole quanta as int"),
        (FEE, {7: 10}, "pays 7, which is no name"),
        (FEE, [("fees", 10)], "returned"),
    ],
    ids=range(9),
)
def test_a_split_that_may_not_be_is_named(fee, parts, says):
    with pytest.raises(rp.PluginError, match=says):
        splitting(hooked([parts], "split_fees"), ["main"])([fee])


@pytest.mark.parametrize("name", ENGINES)
def test_no_split_pays_into_an_account_of_the_engine(name):
    with pytest.raises(rp.PluginError, match="that the engine keeps"):
        splitting(hooked([{name: 10}], "split_fees"))([FEE])


def test_the_accounts_of_the_engine_are_known():
    named = {engine_books.MARKET, engine_books.RESIDUAL, engine_books.WITHDRAWALS, incoming.OUTSIDE, incoming.FUNDING}
    assert {f"@{name}" for name in ENGINES} == named


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (lambda amount: {"market": amount}, "pays `market`, an account that the engine keeps"),
        (lambda amount: {"desk": 5, "rest": amount - 5} if amount < 0 else {"rest": amount}, "of a rebate nobody gets"),
    ],
    ids=["market", "rebate"],
)
def test_the_kit_refuses_what_a_resolution_would(parts, says):
    class Split:
        @rp.hookimpl
        def split_fees(self, fees):
            return [parts(fee.amount) for fee in fees]

    (found,) = check_plugin(Split(), examples=60).broken
    assert says in found.says


def test_what_was_checked_is_what_counts():
    parts = {"fees": 10}
    out = splitting(hooked([parts], "split_fees"))([FEE])
    parts["fees"] = 10**9
    assert out == [{"fees": 10}]


# --- execution ---


@dataclass
class Fills:
    """A model that answers what it was made with."""

    fills: object

    def quote(self, instrument, quantity, mark, limit=None):
        if isinstance(self.fills, Exception):
            raise self.fills
        return self.fills

    def take(self, instrument, fills):
        self.quote(instrument, None, None)


SIZES = st.fractions(-5, 5, max_denominator=4)
LIMITS = st.one_of(st.none(), st.integers(80, 120).map(F))


@settings(max_examples=300, deadline=None)
@given(SIZES, LIMITS, st.lists(st.builds(Fill, SIZES, st.integers(-2, 120).map(F)), max_size=3))
def test_fills_are_refused_where_they_are_not_of_the_order(quantity, limit, fills):
    buys = quantity > 0
    right = (
        all((f.quantity > 0) == buys and f.quantity != 0 and quantity != 0 and f.price > 0 for f in fills)
        and sum(abs(f.quantity) for f in fills) <= abs(quantity)
        and (limit is None or all(f.price <= limit if buys else f.price >= limit for f in fills))
    )
    assert (fills_fault(fills, quantity, limit) is None) == right


@settings(max_examples=100, deadline=None)
@given(SIZES, LIMITS, st.booleans())
def test_no_model_of_the_engine_is_refused(quantity, limit, impact):
    def model():
        levels = [(F(100 - k), F(1, 2)) for k in range(1, 5)]
        asks = [(F(100 + k), F(1, 2)) for k in range(1, 5)]
        return Impact(F(1, 2), {"BTC": F(3)}, absolute=True) if impact else BookLevels({"BTC": levels}, {"BTC": asks})

    plain, verified = model(), executing(hooked(model(), "execution"), {})
    for _ in range(2):
        fills = verified.quote("BTC", quantity, F(100), limit)
        assert fills == list(plain.quote("BTC", quantity, F(100), limit))
        plain.take("BTC", fills)
        verified.take("BTC", fills)


@pytest.mark.parametrize(
    ("fills", "code", "says"),
    [
        ([Fill(F(3), F(100))], "hook_result", "fills 3, more than is asked, for an order of 2 BTC"),
        ([Fill(F(-1), F(100))], "hook_result", "fills -1, which is not on the side of the order"),
        ([Fill(F(1), F(0))], "hook_result", "fills at 0, which is no price above zero"),
        ([Fill(F(1), F(111))], "hook_result", "fills at 111, worse than the limit of 110"),
        ([Fill(F(1), 100.0)], "hook_result", "which is not exact"),
        ([(F(1), F(100))], "hook_result", "which is no sequence of Fill"),
        (None, "hook_result", "answers None"),
        (KeyError("BTC"), "plugin_broken", "`quote` of its execution model raised KeyError"),
    ],
)
def test_fills_that_may_not_be_are_named(fills, code, says):
    model = executing(hooked(Fills(fills), "execution"), {})
    with pytest.raises(rp.PluginError, match=says) as error:
        model.quote("BTC", F(2), F(100), F(110))
    assert error.value.codes == (code,)
    assert "plugin `mine` 1.2" in str(error.value)


def test_a_model_that_raises_when_fills_are_taken_is_named():
    with pytest.raises(rp.PluginError, match="`take` of its execution model raised ValueError: no"):
        executing(hooked(Fills(ValueError("no")), "execution"), {}).take("BTC", [])


def test_what_a_model_of_ours_lacks_is_said_as_it_is():
    model = executing(hooked(Impact(F(1), {}), "execution"), {})
    with pytest.raises(rp.SnapshotError, match="no numbers of BTC"):
        model.quote("BTC", F(1), F(100))
    assert isinstance(model, VerifiedExecution)


# --- in a resolution ---


class Split:
    def __init__(self, *parts):
        self.parts = parts

    @rp.hookimpl
    def split_fees(self, fees):
        return [dict(self.parts) | {"rest": fee.amount - sum(x for _, x in self.parts)} for fee in fees]

    @rp.hookimpl
    def execution(self, markets):
        return Fills([Fill(F(-100), F(90))])


@pytest.mark.parametrize("parts", [(("main", -5),), (("market", 1),), (("member:m", 1),)], ids=str)
def test_no_resolution_books_a_split_that_takes_from_a_fund_or_from_the_engine(install, parts):
    install("mine", Split(*parts))
    made = {**payers_rules(), "fees": {"tiers": FEES["tiers"], "plugin": "mine"}}
    made["liquidation"]["steps"] = [{"id": "book", "do": "market_order", "leftover": "account", "fee": "1%"}]
    with pytest.raises(rp.PluginError, match="plugin `mine` unknown: `split_fees`"):
        venue.evaluate(made, payers_book(("BTC", -5))).resolve()


def test_no_fund_pays_the_rebate_of_a_trade(install):
    class AllToTheFund:
        @rp.hookimpl
        def split_fees(self, fees):
            return [{"main": fee.amount} for fee in fees]

    install("mine", AllToTheFund())
    made = {**payers_rules(), "fees": {"tiers": FEES["tiers"], "plugin": "mine"}}
    tables = payers_book(("BTC", -50))
    fill = {"kind": "fill", "account": "A0", "instrument": "BTC", "side": "sell", "quantity": 3, "price": 90}
    evaluation = venue.evaluate(made, tables)
    assert evaluation.resolve(events=[{**fill, "liquidity": "taker"}])
    tables["accounts"][0]["volume"] = 1000
    with pytest.raises(rp.PluginError, match="has the fund `main` pay 3 of a maker fee of -3 quanta of USDT"):
        venue.evaluate(made, tables).resolve(events=[{**fill, "liquidity": "maker"}])


def test_no_resolution_sells_more_than_there_is(install):
    install("mine", Split())
    made = rules()
    made["liquidation"]["execution"] = "mine"
    made["liquidation"]["steps"] = [{"id": "book", "do": "market_order", "leftover": "account"}]
    with pytest.raises(rp.PluginError, match="fills 100, more than is asked, for an order of -10 BTC"):
        venue.evaluate(made, book()).resolve()


def test_laws_are_in_one_order_however_a_plugin_says_them():
    plugin = type("P", (), {"laws": lambda self: LAWS[::-1], "allocate_adl": lambda self: None})
    for method in (plugin.laws, plugin.allocate_adl):
        rp.hookimpl(method)
    assert hooks_of(plugin(), "p")["allocate_adl"].laws == LAWS
