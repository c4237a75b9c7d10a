"""What plugins return is verified: every fault is named with its numbers, and nothing is repaired."""

from dataclasses import replace
from fractions import Fraction

import pytest

import riskpolicy as rp
from riskpolicy.engines.candidates import bankruptcies
from riskpolicy.engines.comparison import compare
from riskpolicy.engines.core.adl import Allocation
from riskpolicy.engines.core.fees import FeeDue
from riskpolicy.engines.execution import linear_book
from riskpolicy.hooks.resolve import hooks_of, resolve_hook
from riskpolicy.hooks.verified import allocating, executing, ranking, splitting
from riskpolicy.testing.conformance import check_plugin, conforms
from tests import venue
from tests.engines.adl_books import candidate, demand
from tests.engines.test_closing import book, rules, taken
from tests.engines.test_payers import FEES, booked
from tests.engines.test_payers import book as payers_book
from tests.engines.test_payers import rules as payers_rules

F = Fraction
PEOPLE = [candidate("A", 6), candidate("B", 6, rank=2)]


class Plugin:
    """Answers what it was made with, to one hook each."""

    def __init__(self, rank=None, given=None, laws=(), split=None):
        self.rank, self.given, self.declared, self.split = rank, given, laws, split

    @rp.hookimpl
    def rank_adl(self, candidates):
        return self.rank

    @rp.hookimpl
    def allocate_adl(self, demand, candidates):
        return self.given

    @rp.hookimpl
    def split_fees(self, fees):
        return self.split

    @rp.hookimpl
    def laws(self):
        return self.declared


def hooked(hook, **answers):
    return hooks_of(Plugin(**answers), "mine")[hook]


@pytest.mark.parametrize(
    ("rank", "says"),
    [
        ([1], "1 scores for 2 candidates"), ([0.5, 1], "the score 0.5, which is not exact"),
        ([F(1), None], "the score None"), (None, "NoneType for 2"),
    ],
)  # fmt: skip
def test_a_ranking_that_is_none(rank, says):
    with pytest.raises(rp.PluginError, match=says):
        ranking(hooked("rank_adl", rank=rank))(demand(), PEOPLE)


def allocation(*given, remaining=0, skipped=None):
    return Allocation(tuple(map(F, given)), skipped or tuple(None if g else "no" for g in given), F(remaining))


@pytest.mark.parametrize(
    ("given", "laws", "says"),
    [
        (allocation(6, 4), (), None),
        (allocation(7, 3), (), "takes 7 contracts of A, who may give 0 to 6"),
        (allocation(-1, 6, remaining=5), (), "takes -1 contracts of A"),
        (allocation(F(7, 2), 6, remaining=F(1, 2)), (), "neither whole lots nor all it has"),
        (allocation(6, 3), (), "gives 9 and leaves 0 of 10 contracts"),
        (allocation(6, 0, remaining=4), (), None),
        (allocation(6, 0, remaining=4), ("exhaustive",), "leaves 4 contracts though `B` can give more"),
        (allocation(6, 0, remaining=4, skipped=(None, None)), (), "passes over `B` without a reason"),
        (allocation(6), (), "answers for 1 and 1 of 2 candidates"),
        ([6, 4], (), "returned list"),
    ],
)
def test_an_allocation_is_held_to_what_it_must_keep(given, laws, says):
    allocate = allocating(hooked("allocate_adl", given=given, laws=laws))
    if says is None:
        assert allocate(demand(), PEOPLE) == given
        return
    with pytest.raises(rp.PluginError, match=says) as error:
        allocate(demand(), PEOPLE)
    assert "plugin `mine` not installed" in str(error.value)


def test_profit_only_is_checked_with_every_call():
    # A contract costs 10; 6 of them cost 60, of a profit of 12.
    poor = [candidate("A", 6, entry=98), PEOPLE[1]]
    allocate = allocating(hooked("allocate_adl", given=allocation(6, 4), laws=("profit_only",)))
    with pytest.raises(rp.PluginError, match="takes 60 of A, whose profit is 12"):
        allocate(demand(), poor)


def test_a_law_that_does_not_exist_is_refused_at_load():
    with pytest.raises(rp.PluginError, match="smoth"):
        hooked("allocate_adl", laws=("smoth",))


@pytest.mark.parametrize(
    ("split", "says"),
    [
        ([{"fees": 10}], None), ([{"main": 4, "fees": 6}], None), ([{"fees": 9}], "parts that sum to 9"),
        ([{"fees": 10.0}], "whole quanta"), ([], "other than the 1 fees"), ([{"": 10}], "which is no name"),
    ],
)  # fmt: skip
def test_a_split_gives_all_away_to_those_it_may(split, says):
    fees = [FeeDue("A", "USDT", 10, "taker", "BTC", "fees")]
    call = splitting(hooked("split_fees", split=split))
    if says is None:
        assert call(fees) == split
        return
    with pytest.raises(rp.PluginError, match=says):
        call(fees)


def test_a_model_that_is_none():
    class Wrong:
        @rp.hookimpl
        def execution(self, markets):
            return 5

    with pytest.raises(rp.PluginError, match="`execution` returned int"):
        executing(hooks_of(Wrong(), "mine")["execution"], {})


class Reverse:
    """Closes whoever is last in the queue; gives half of a fee to the fund; fills at the mark less ten."""

    @rp.hookimpl
    def rank_adl(self, candidates):
        return [F(c.rank) for c in candidates]

    @rp.hookimpl
    def split_fees(self, fees):
        return [{"main": fee.amount // 2, "treasury": fee.amount - fee.amount // 2} for fee in fees]

    @rp.hookimpl
    def execution(self, markets):
        assert markets["BTC"]["mark_price"] == 90
        return linear_book(1)


class Everybody:
    @rp.hookimpl
    def allocate_adl(self, demand, candidates):
        given = [min(c.cap, demand.contracts // 5) for c in candidates]
        return Allocation(tuple(given), tuple(None if g else "no" for g in given), demand.contracts - sum(given))


def test_a_ruleset_names_who_ranks(install):
    install("reverse", Reverse())
    result = venue.evaluate(rules(plugin="reverse"), book()).resolve()
    assert taken(result) == {"Y": 4, "X": 6}
    assert result.plugins == {"reverse": "unknown"}
    assert result.to_dict()["plugins"] == {"reverse": "unknown"}


def test_a_comparison_is_by_the_ranking_that_the_ruleset_names(install):
    install("reverse", Reverse())
    evaluation = venue.evaluate(rules(plugin="reverse"), book())
    (compared,) = compare(evaluation, bankruptcies(evaluation), ["queue"])
    (allocation,) = compared.runs[0].allocations
    given = dict(zip(compared.runs[0].accounts[0], allocation.given, strict=True))
    assert {name: size for name, size in given.items() if size} == taken(evaluation.resolve())
    assert compared.rows[0].rank_inversions == 0


def test_a_ruleset_names_who_allocates(install):
    install("everybody", Everybody())
    result = venue.evaluate(rules({"rule": "plugin", "plugin": "everybody"}), book()).resolve()
    assert taken(result) == {"W": 2, "X": 2, "Y": 2}


def test_a_ruleset_names_who_splits_fees_and_what_fills(install):
    install("reverse", Reverse())
    made = {**payers_rules(), "fees": {"tiers": FEES["tiers"], "plugin": "reverse"}}
    made["liquidation"]["execution"] = "reverse"
    made["liquidation"]["steps"] = [{"id": "book", "do": "market_order", "leftover": "account", "fee": "1%"}]
    tables = payers_book(("BTC", -5))
    del tables["depth"]
    result = venue.evaluate(made, tables).resolve()
    # Ten contracts move the price by ten: sold at 85 on average, 850 in all, a fee of 8.50.
    assert [(float(s.quantity), float(s.price)) for s in result.steps if s.quantity] == [(-10, 85)]
    assert {k: v for k, v in booked(result).items() if k in ("@main", "@treasury")} == {"@main": 425, "@treasury": 425}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda made: made["deleveraging"].update(plugin="everybody"), "missing_hook"),
        (lambda made: made["deleveraging"].update(plugin="nobody"), "unknown_plugin"),
        (lambda made: made["liquidation"].update(execution="everybody"), "missing_hook"),
    ],
)
def test_a_plugin_that_does_not_fit_is_refused_at_load(install, change, code):
    install("everybody", Everybody())
    made = rules()
    change(made)
    with pytest.raises(rp.PluginError) as error:
        venue.policy(made)
    assert error.value.codes == (code,)


def test_a_hook_that_raises_is_the_plugins_fault(install):
    class Raising:
        @rp.hookimpl
        def rank_adl(self, candidates):
            return [1 / 0]

    install("raising", Raising())
    call = ranking(resolve_hook("raising", "rank_adl"))
    with pytest.raises(rp.PluginError, match="`rank_adl` raised ZeroDivisionError"):
        call(demand(), PEOPLE)


# --- the conformance kit ---


class Greedy:
    """Says that it is exhaustive, and stops one lot early."""

    @rp.hookimpl
    def laws(self):
        return ("exhaustive",)

    @rp.hookimpl
    def allocate_adl(self, demand, candidates):
        left, given = demand.contracts - demand.lot, []
        for c in candidates:
            size = min(c.cap, left)
            size = size if size == c.contracts else size // demand.lot * demand.lot
            given.append(size)
            left -= size
        return Allocation(tuple(given), tuple(None if g else "no" for g in given), left + demand.lot)


def test_the_kit_prints_the_smallest_book_that_breaks_a_law():
    report = check_plugin(Greedy())
    assert ("always", True) in {(b.law, True) for b in report.broken}
    exhaustive = next(b for b in report.broken if b.law == "exhaustive")
    # One candidate and one lot are enough to show it.
    assert exhaustive.book.count("\n") == 2
    assert "A0" in exhaustive.book
    with pytest.raises(AssertionError, match="breaks `exhaustive`"):
        conforms(Greedy())


@pytest.mark.parametrize(
    ("plugin", "hook", "says"),
    [
        (Plugin(rank=[F(1)] * 99), "rank_adl", "99 scores"),
        (type("Half", (), {"split_fees": rp.hookimpl(lambda self, fees: [{"fees": f.amount // 2} for f in fees])})(),
         "split_fees", "parts that sum to 0"),
    ],
    ids=["rank", "split"],
)  # fmt: skip
def test_the_kit_holds_every_hook(plugin, hook, says):
    broken = [b for b in check_plugin(plugin, examples=50).broken if b.hook == hook]
    assert broken
    assert says in broken[0].says


def test_the_kit_wants_something_to_hold():
    class Nothing:
        @rp.hookimpl
        def laws(self):
            return ()

    with pytest.raises(rp.PluginError, match="implements no hook that has laws"):
        check_plugin(Nothing())


def test_the_same_seed_finds_the_same_book():
    first, second = check_plugin(Greedy(), seed=3), check_plugin(Greedy(), seed=3)
    assert replace(first) == second
