"""The conformance kit finds what a plugin does wrong, whatever it is, and shows the smallest book of it."""

import random
import sys
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import riskpolicy as rp
from riskpolicy.engines.core.adl import Allocation
from riskpolicy.engines.execution import BookLevels, Fill
from riskpolicy.engines.policies import POLICIES, declared, policy
from riskpolicy.testing.books import books
from riskpolicy.testing.conformance import check_plugin, conforms

F = Fraction


def implementing(hook, function):
    """A plugin of one hook."""
    return type("Mine", (), {hook: rp.hookimpl(function)})()


def broken(plugin, law, **more):
    (found,) = [b for b in check_plugin(plugin, **more).broken if b.law == law]
    return found


# --- rankings and splits ---


def test_a_ranking_by_chance_is_named_and_the_kit_goes_on():
    chance = random.Random(1)
    found = broken(implementing("rank_adl", lambda self, candidates: [chance.randrange(9) for _ in candidates]),
                   "exact and repeatable")  # fmt: skip
    assert "scores" in found.says
    assert "A0" in found.book


def test_a_fault_that_does_not_come_back_is_named_too():
    calls = []

    def rank_adl(self, candidates):
        calls.append(1)
        return [0.5 if len(calls) == 30 else 1 for _ in candidates]

    found = broken(implementing("rank_adl", rank_adl), "exact and repeatable")
    assert "the score 0.5, which is not exact" in found.says
    assert found.says.endswith("(not every time: it keeps a state, or draws by chance)")


def test_a_ranking_that_changes_with_every_call():
    calls = []

    def rank_adl(self, candidates):
        calls.append(1)
        return [len(calls) % 2] * len(candidates)

    found = broken(implementing("rank_adl", rank_adl), "exact and repeatable")
    assert found.says == "the same candidates get other scores the second time"


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (lambda fee: None, "returned"),
        (lambda fee: {"@market": fee.amount}, "'@market', which is no name"),
        (lambda fee: {"fees": float(fee.amount)}, "`split_fees`"),
        (lambda fee: {"fees": fee.amount + 7, "fund": -7}, "nobody pays"),
    ],
    ids=["none", "name", "float", "payer"],
)
def test_a_split_is_verified_as_in_a_resolution(parts, says):
    plugin = implementing("split_fees", lambda self, fees: [parts(fee) for fee in fees])
    found = broken(plugin, "exact")
    assert says in found.says
    assert found.book.count("\n") == 1


def test_how_many_fees_are_asked_at_once_does_not_matter():
    def split_fees(self, fees):
        return [{"first" if k == 0 else "others": fee.amount} for k, fee in enumerate(fees)]

    found = broken(implementing("split_fees", split_fees), "exact")
    assert "alone" in found.says
    assert found.book.count("\n") == 2, "two fees are enough"


# --- allocations ---


def greedy(most):
    """Take of one after the other by account what `most` allows; declare a law."""

    def allocate_adl(self, demand, candidates):
        left, given = demand.contracts, {}
        for c in sorted(candidates, key=lambda c: c.account):
            given[c.account] = most(demand, c, min(left, c.cap))
            left -= given[c.account]
        out = tuple(given[c.account] for c in candidates)
        return Allocation(out, tuple(None if g else "nothing to give" for g in out), left)

    return allocate_adl


def declaring(law, most):
    members = {"laws": rp.hookimpl(lambda self: (law,)), "allocate_adl": rp.hookimpl(greedy(most))}
    return type("Mine", (), members)()


def in_lots(demand, contracts):
    return contracts // demand.lot * demand.lot


def test_a_position_of_less_than_a_lot_that_never_goes():
    found = broken(declaring("exhaustive", lambda demand, c, most: in_lots(demand, most)), "exhaustive")
    assert "could give 0.25 more" in found.says


def linear_profit(demand, c, most):
    """Profit by a formula that forgets what a contract is."""
    loss = abs(demand.mark_price - demand.price)
    able = min(most, c.unrealized_pnl / loss) if loss else most
    return in_lots(demand, able) if c.unrealized_pnl > 0 else F(0)


def test_a_formula_that_forgets_the_contract_size():
    found = broken(declaring("profit_only", linear_profit), "profit_only")
    assert "loses 1000 of a profit of 100" in found.says
    assert "contract size 100" in found.book


def whole_profit(demand, c, most):
    return most if most == c.contracts and c.unrealized_pnl > 0 and demand.lost(most) <= c.unrealized_pnl else F(0)


def test_the_same_law_kept_by_asking_what_is_lost():
    conforms(declaring("profit_only", whole_profit))


def test_an_answer_of_another_form_does_not_stop_the_kit():
    answer = Allocation(5, None, F(0))
    found = broken(implementing("allocate_adl", lambda self, demand: answer), "always")
    assert found.says


def test_the_smallest_book_has_only_those_who_matter():
    found = broken(declaring("profit_only", linear_profit), "profit_only")
    assert found.book.count("\n") == 2, "a head, the columns and one candidate"


@pytest.mark.parametrize("name", POLICIES)
def test_the_policies_that_are_built_in_conform(name):
    allocate = policy(name)
    members = {"laws": rp.hookimpl(lambda self: declared(name)),
               "allocate_adl": rp.hookimpl(lambda self, demand, candidates: allocate(demand, candidates))}  # fmt: skip
    conforms(type(name, (), members)(), examples=15)


# --- execution ---


class Levels(BookLevels):
    """One level of ten contracts at the mark on both sides."""

    def __init__(self, markets):
        level = {"BTC": [(markets["BTC"]["mark_price"], F(10))]}
        super().__init__(level, {})
        self.asks = level


def test_a_model_that_keeps_what_is_asked_of_it():
    report = conforms(implementing("execution", lambda self, markets: Levels(markets)))
    assert report.held == (("execution", "repeatable"), ("execution", "a larger order fills no less"))


def test_a_model_that_is_shared_between_resolutions():
    made = {}

    def execution(self, markets):
        return made.setdefault(markets["BTC"]["mark_price"], Levels(markets))

    found = broken(implementing("execution", execution), "repeatable")
    assert "missing in the next one" in found.says
    assert "mark_price" in found.book


def test_a_model_that_fills_all_or_nothing():
    class Whole(Levels):
        def quote(self, instrument, quantity, mark, limit=None):
            return [Fill(quantity, mark)] if abs(quantity) <= 10 else []

    found = broken(implementing("execution", lambda self, markets: Whole(markets)), "a larger order fills no less")
    assert "an order twice as large" in found.says


# --- expression functions ---


def share(**changes):
    def value(part, whole):
        return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole != 0)

    given = {"name": "share", "parameters": ("money", "money"), "result": "ratio", "meaning": "part of whole",
             "value": value, "exact": lambda part, whole: part / whole}  # fmt: skip
    return implementing("expression_functions", lambda self: [rp.ExpressionFunction(**{**given, **changes})])


LAW = "share: both forms agree"


def test_two_forms_that_agree():
    loaded = ("expression_functions", "a ruleset loads them")
    assert conforms(share()).held == (loaded, ("expression_functions", LAW))
    assert conforms(answering([])).held == (loaded,)
    conforms(share(bound=lambda part, whole, *_: np.abs(share_of(part, whole)) * 2.0**-50))


def share_of(part, whole):
    return np.divide(part, whole, out=np.full(len(part), np.inf), where=whole != 0)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"exact": lambda part, whole: part / whole + part}, "further apart than"),
        ({"value": share_of}, "where `exact` is undefined"),
        ({"exact": lambda part, whole: float(part / whole)}, "which is no fraction"),
        ({"value": lambda part, whole: part[:1]}, "returns shape (1,) for two rows"),
        ({"bound": lambda part, *_: 0 * part}, "further apart than 0"),
        ({"bound": lambda part, *_: -1 + 0 * part}, "`bound` is -1"),
        ({"value": lambda part, whole: 1 / 0}, "ZeroDivisionError"),
    ],
    ids=range(7),
)
def test_two_forms_that_do_not(changes, says):
    found = broken(share(**changes), LAW)
    assert says in found.says
    assert "argument 2" in found.book


def answering(functions):
    return implementing("expression_functions", lambda self: functions)


def function(**changes):
    return share(**changes).expression_functions()[0]


def some_functions(last):
    """A generator of functions, since a hook may be one, that does not come to its end."""
    yield function()
    yield last()


@pytest.mark.parametrize(
    ("plugin", "says"),
    [
        (answering(None), "returned NoneType"),
        (answering(5), "returned int"),
        (answering([5]), "`5` is no ExpressionFunction"),
        (share(parameters=(), value=lambda: 1, exact=lambda: 1), "takes no arguments"),
        (share(parameters=None), "parameters of `share` are None"),
        (share(name="max"), "taken"),
        (share(name=5), "`5` cannot name a function"),
        (share(result="percent"), "has the units `percent`"),
        (answering([function(), function()]), "more than one function `share`"),
        (implementing("expression_functions", lambda self: 1 / 0), "raised ZeroDivisionError"),
        (answering(some_functions(lambda: 1 / 0)), "raised ZeroDivisionError"),
    ],
    ids=range(11),
)
def test_what_a_ruleset_would_refuse_is_a_broken_law_and_other_hooks_are_still_held(plugin, says):
    type(plugin).rank_adl = rp.hookimpl(lambda self, candidates: [0] * len(candidates))
    report = check_plugin(plugin, examples=5)
    assert report.held == (("rank_adl", "exact and repeatable"),)
    (found,) = report.broken
    assert (found.hook, found.law) == ("expression_functions", "a ruleset loads them")
    assert says in found.says
    assert str(report).splitlines()[1] == f"Mine: expression_functions breaks `a ruleset loads them`: {found.says}"
    assert len(str(report).splitlines()) == 2, "there is no book to show"


# --- the kit itself ---


@settings(max_examples=150, deadline=None)
@given(st.booleans().flatmap(lambda odd: st.tuples(st.just(odd), books(odd=odd))))
def test_books_fit_together(drawn):
    odd, (demand, candidates) = drawn
    worth = demand.contract_size / demand.mark_price if demand.inverse else demand.contract_size * demand.mark_price
    for c in candidates:
        # What is lost by closing at the entry price is what was gained since.
        assert c.unrealized_pnl == replace(demand, price=c.entry_price).lost(c.contracts)
        assert c.notional == c.contracts * worth
        assert c.equity == c.wallet_balance + c.unrealized_pnl
        assert 0 <= c.cap <= c.contracts
        assert odd or (c.contracts % demand.lot == c.cap % demand.lot == demand.contracts % demand.lot == 0)
        assert c.score in (None, c.unrealized_pnl)
    assert demand.deficit == max(0, demand.lost(demand.contracts))
    by_rank = sorted(candidates, key=lambda c: c.rank)
    assert [c.rank for c in by_rank] == list(range(1, len(candidates) + 1))
    assert by_rank == sorted(candidates, key=lambda c: (-(c.score or 0), c.account))


def test_a_module_is_called_by_its_name():
    class Module:
        __name__ = "my_venue"

        @rp.hookimpl
        def rank_adl(self, candidates):
            return [0] * len(candidates)

    assert str(check_plugin(Module(), examples=5)) == "my_venue: rank_adl keeps `exact and repeatable`"


def test_without_hypothesis_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(rp.PluginError, match=r"needs hypothesis(.|\n)*riskpolicy\[test\]"):
        check_plugin(share())
