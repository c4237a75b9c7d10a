"""Allocation policies: numbers known in advance, the laws that each declares, and independent oracles."""

import hashlib
import itertools
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskpolicy.engines.core.adl import LAWS, Allocation
from riskpolicy.engines.policies import HAIRCUT, POLICIES, declared, known, policy, policy_of, profit_haircut
from riskpolicy.engines.policies.queues import drawn
from riskpolicy.engines.policies.rooms import REASONS
from riskpolicy.errors import QueryError
from riskpolicy.testing.laws import STATED, broken, law
from tests.engines.adl_books import books, candidate, demand, ranked

F = Fraction

#: Every policy in every form that changes what it declares.
FORMS = [
    *[(name, parameters) for name in POLICIES if name not in ("integer", "pro_rata_contracts", "least_leverage")
      for parameters in ({"numeraire": n, "whole_lots": w} for n in ("contracts", "money") for w in (True, False))],
    *[(name, {"whole_lots": w}) for name in ("pro_rata_contracts", "least_leverage") for w in (True, False)],
    *[("integer", {"numeraire": n, "rule": r}) for n in ("contracts", "money")
      for r in ("largest_remainder", "min_max")],
    *[("risk_weighted", {"g": g, "whole_lots": w}) for g in ("linear", "square", "tail") for w in (True, False)],
    *[("queue", {"ties": "group", "whole_lots": w}) for w in (True, False)],
    ("capped_pro_rata", {"most": F(9, 10), "whole_lots": False}),
    ("lexicographic", {"keys": ("equity asc", "contracts desc")}),
    ("random_start", {"overlap": False}),
]  # fmt: skip


MADE = [(f"{name} {parameters}", policy(name, **parameters), declared(name, **parameters), parameters)
        for name, parameters in FORMS]  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(books())
def test_every_policy_keeps_what_it_declares(book):
    wrong = {form: found for form, allocate, laws, _ in MADE if (found := broken(allocate, *book, laws))}
    assert wrong == {}


@settings(max_examples=60, deadline=None)
@given(books(odd=True))
def test_every_policy_is_sound_on_sizes_that_are_no_whole_lots(book):
    of, candidates = book
    for form, allocate, laws, parameters in MADE:
        kept = [law for law in laws if law in ("contracts_opposite", "profit_only", "exhaustive", "scale_free")]
        assert broken(allocate, *book, kept) == {}, form
        if parameters.get("whole_lots", True):
            taken = zip(candidates, allocate(of, candidates).given, strict=True)
            assert all(g % of.lot == 0 or g == c.contracts for c, g in taken), form


# --- numbers known in advance ---

#: Three longs of 10, 20 and 30 contracts that entered at 50, 80 and 95: profits 500, 400 and 150.
THREE = ranked([
    candidate("a", 10, entry=50, equity=100), candidate("b", 20, entry=80, equity=400),
    candidate("c", 30, entry=95, equity=1500),
])  # fmt: skip
#: Policy, parameters, contracts, and what the three give of them.
KNOWN = [
    ("queue", {}, 15, (10, 5, 0)),
    ("queue", {}, 70, (10, 20, 30)),
    ("queue", {"numeraire": "money"}, 40, (10, 20, 10)),          # c has profit for 15 contracts of 10 each
    ("capped_queue", {}, 15, (7, 0, 0)),                          # a deficit of 75 is 7 whole lots of 10
    ("pro_rata", {}, 21, (10, 8, 3)),                             # 500 : 400 : 150 of 210
    ("pro_rata", {"numeraire": "contracts"}, 12, (2, 4, 6)),
    ("pro_rata", {}, 42, (10, 20, 12)),                           # a's 20 are cut to 10; 32 by 400 : 150
    ("pro_rata_contracts", {}, 12, (2, 4, 6)),
    ("capped_pro_rata", {"most": "1/2"}, 60, (10, 20, 7)),        # half the profit: 25, 20 and 7.5 contracts
    ("capped_pro_rata", {"most": "1/4", "numeraire": "contracts"}, 60, (2, 5, 7)),
    ("integer", {}, 10, (2, 3, 5)),                               # 1 2/3, 3 1/3, 5
    ("integer", {"rule": "min_max"}, 10, (2, 3, 5)),              # 2 of 10, 4 of 20 or 6 of 30: all a fifth, a is first
    ("integer", {"rule": "min_max"}, 13, (2, 4, 7)),              # after a fifth of each: 3/10, 5/20 or 7/30
    # The leverages are 10, 5 and 2: a and b come down to 4, to 4 and 16 contracts.
    ("least_leverage", {}, 10, (6, 4, 0)),
    ("lexicographic", {}, 25, (10, 15, 0)),
    ("lexicographic", {"keys": ["equity desc"]}, 25, (0, 0, 25)),
    ("risk_weighted", {"numeraire": "contracts"}, 13, (5, 5, 3)),  # 10 x 10 : 20 x 5 : 30 x 2
    ("risk_weighted", {"g": "tail", "above": 5, "numeraire": "contracts"}, 10, (5, 5, 0)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "parameters", "contracts", "expected"), KNOWN)
def test_what_each_policy_takes(name, parameters, contracts, expected):
    deficit = 75 if name == "capped_queue" else None
    found = policy(name, **parameters)(demand(contracts, deficit=deficit), THREE)
    assert found.given == expected
    assert found.remaining == contracts - sum(expected)
    assert all((why is None) == (g > 0) for g, why in zip(found.given, found.skipped, strict=True))


def test_largest_remainders_can_take_less_of_more():
    # Weights 6, 6, 2: 4, 4, 2 of 10 but 5, 5, 1 of 11, so that the third gives less of a larger demand.
    holders = ranked([candidate("a", 6, score=0), candidate("b", 6, score=0), candidate("c", 2, score=0)])
    allocate = policy("integer")
    assert allocate(demand(10), holders).given == (4, 4, 2)
    assert allocate(demand(11), holders).given == (5, 5, 1)
    sentence = "c gives 2 of 10 but 1 of 11"
    assert law("budget_monotone")(allocate, demand(10), holders) == sentence
    assert "budget_monotone" not in declared("integer")
    least = policy("integer", rule="min_max")
    assert [least(demand(n), holders).given for n in (10, 11)] == [(5, 4, 1), (5, 5, 1)]
    assert law("budget_monotone")(least, demand(10), holders) is None


def test_a_start_is_drawn_by_seed_and_event_and_the_walk_is_cyclic():
    holders = [candidate(name, 10, equity=1000, rank=k) for k, name in enumerate("abcde", 1)]
    allocate = policy("random_start")
    starts = set()
    for seed in range(30):
        of = demand(25, seed=seed, event=3)
        start = drawn(of, 5)
        expected = [F(0)] * 5
        expected[start], expected[(start + 1) % 5], expected[(start + 2) % 5] = F(10), F(10), F(5)
        assert list(allocate(of, holders).given) == expected
        starts.add(start)
    assert starts == set(range(5))
    # The draw is published, so that a venue can be checked: SHA-256 of "7:3:BTC:long", modulo 5.
    assert drawn(demand(1, seed=7, event=3), 5) == int(hashlib.sha256(b"7:3:BTC:long").hexdigest(), 16) % 5
    assert len({drawn(demand(1, seed=7, event=e), 1000) for e in range(20)}) > 15


def test_whoever_can_not_trade_is_passed_over_with_a_reason():
    # Closing 10 contracts costs 100: an equity of 100 ends at zero, which is not below zero.
    holders = [candidate("a", 10, equity=99), candidate("b", 10, equity=100), candidate("c", 10, cap=0),
               candidate("d", 0)]  # fmt: skip
    found = policy("random_start")(demand(30), holders)
    assert found.given == (0, 10, 0, 0)
    assert found.skipped == (
        "bankruptcy prices do not overlap", None, "protected: its cap is zero", "nothing left to close",
    )  # fmt: skip
    assert found.remaining == 20
    assert policy("random_start", overlap=False)(demand(30), holders).given == (10, 10, 0, 0)


def test_reasons():
    losing = candidate("l", 10, entry=120, rank=1)
    small = candidate("s", 10, cap=F(1, 2), rank=2)
    first, second = candidate("a", 10, rank=3), candidate("b", 10, rank=4)
    found = policy("queue", numeraire="money")(demand(5), [losing, small, first, second])
    assert found.skipped == ("no profit", "cap: less than one lot may be taken", None, "not reached")
    shared_ = policy("pro_rata", numeraire="contracts")(demand(1), [candidate("a", 90), candidate("b", 1, rank=2)])
    assert shared_.skipped == (None, "its share is less than one lot")
    tail = policy("risk_weighted", g="tail", above=10)(demand(1), [candidate("a", 5, equity=500), first])
    assert tail.skipped == ("no weight under this policy",) * 2
    low = policy("least_leverage")(demand(10), THREE)
    assert low.skipped == (None, None, "its leverage is below the level")
    lost = policy("risk_weighted")(demand(5), [candidate("a", 10, equity=0), candidate("b", 10, rank=2)])
    assert lost.skipped == (None, "not reached")
    for name in POLICIES:
        assert {*policy(name)(demand(9), [losing, small, first, second]).skipped} <= {None, *REASONS}


def test_equal_scores_give_as_a_group_where_the_rule_says_so():
    holders = [candidate("a", 10, score=3, rank=1), candidate("b", 8, score=1, rank=2),
               candidate("c", 4, score=1, rank=3), candidate("d", 5, score=0, rank=4)]  # fmt: skip
    assert policy("queue")(demand(16), holders).given == (10, 6, 0, 0)
    grouped = policy("queue", ties="group")(demand(16), holders)
    assert grouped.given == (10, 4, 2, 0)
    assert grouped.skipped[3] == "not reached"


def test_a_haircut_moves_entry_prices_by_the_deficit_over_total_profit():
    # Profits of 500, 400 and 150; a deficit of 210 is a fifth: entries move a fifth of their way to the mark of 100.
    paid = profit_haircut(demand(21), THREE)
    assert paid.paid == (100, 80, 30)
    assert paid.entry_prices == (60, 84, 96)
    assert paid.remaining == 0
    short = profit_haircut(demand(21, deficit=2000), [*THREE, candidate("d", 5, entry=130, rank=4)])
    assert short.paid == (500, 400, 150, 0)
    assert short.entry_prices == (100, 100, 100, 130)
    assert (short.remaining, short.skipped[3]) == (950, "no profit")


@given(books(), st.booleans())
def test_a_haircut_takes_from_profit_exactly_what_it_says(book, inverse):
    of, candidates = book
    # Profits of an inverse are parts of a coin.
    of = replace(of, inverse=inverse, deficit=of.deficit / 10**4 if inverse else of.deficit)
    side = 1 if of.side == "long" else -1

    def profit(c, entry):
        size = side * c.contracts
        return size * (1 / entry - 1 / of.mark_price) if inverse else size * (of.mark_price - entry)

    candidates = [replace(c, unrealized_pnl=profit(c, c.entry_price)) for c in candidates]
    found = profit_haircut(of, candidates)
    assert sum(found.paid) + found.remaining == of.deficit
    for c, paid, entry in zip(candidates, found.paid, found.entry_prices, strict=True):
        assert profit(c, entry) == c.unrealized_pnl - paid
        assert 0 <= paid <= max(0, c.unrealized_pnl)


def test_less_than_a_lot_is_not_passed_on_to_a_smaller_position():
    # b could close whole for a half, and would give it back of a demand of one.
    holders = [candidate("a", 5, rank=1), candidate("b", F(1, 2), rank=2)]
    found = policy("queue")(demand(F(1, 2)), holders)
    assert (found.given, found.remaining) == ((0, 0), F(1, 2))
    assert found.skipped == ("its share is less than one lot", "not reached")
    assert law("budget_monotone")(policy("queue"), demand(F(1, 2)), holders) is None


# --- oracles ---

small = books(most=4)


def test_lots_leave_the_least_leverage_too():
    # Rounded one by one, 0.41 of each small one and 1.77 of the large one would leave a small one at 1.67.
    of = [candidate("a", 100, equity=100), *(candidate(f"b{k}", 1, equity=F("0.6"), rank=k + 2) for k in range(3))]
    assert policy("least_leverage")(demand(3), of).given == (0, 1, 1, 1)


def test_a_part_at_a_price_beyond_the_bankruptcy_price_is_not_taken():
    # At 90 all ten cost 100: equity of 99 is bankrupt at 90.1, so that even one contract leaves nine worth less than
    # nothing there. With 100 the prices meet.
    of = [candidate("a", 10, equity=99), candidate("b", 10, equity=100, rank=2)]
    found = policy("random_start")(demand(1), of)
    assert found.given == (0, 1)
    assert set(found.skipped) <= {None, "bankruptcy prices do not overlap", "not reached"}


def able(candidates):
    return [min(c.cap, c.contracts) for c in candidates]


def feasible(candidates, total):
    """Every answer in whole lots that gives a total."""
    rooms = [range(int(a) + 1) for a in able(candidates)]
    return (x for x in itertools.product(*rooms) if sum(x) == total)


@settings(max_examples=40, deadline=None)
@given(small)
def test_a_queue_is_the_linear_programme(book):
    # Maximise <score, x> over 0 <= x <= cap, sum x = B: with whole bounds an optimum is among the whole points.
    of, candidates = book
    for name, key in (("queue", lambda c: c.score), ("lexicographic", lambda c: -c.equity)):
        allocate = policy(name) if name == "queue" else policy(name, keys=["equity asc"])
        found = allocate(of, candidates).given
        best = max(
            sum(key(c) * x for c, x in zip(candidates, point, strict=True))
            for point in feasible(candidates, min(of.contracts, sum(able(candidates))))
        )
        assert sum(key(c) * x for c, x in zip(candidates, found, strict=True)) == best


def convex(measures, caps, budget):
    """Minimise sum of measure x fraction^2 with sum measure x fraction = budget, 0 <= fraction <= cap.

    By trying every set of fractions at their caps: the others are equal, as their multipliers are.
    """
    best = None
    for chosen in itertools.product((False, True), repeat=len(caps)):
        free = [m for m, at in zip(measures, chosen, strict=True) if not at]
        rest = budget - sum((m * c for m, c, at in zip(measures, caps, chosen, strict=True) if at), F(0))
        level = rest / sum(free) if sum(free) else F(0)
        point = [c if at else level for c, at in zip(caps, chosen, strict=True)]
        if any(p < 0 or p > c for p, c in zip(point, caps, strict=True)):
            continue
        if sum(m * p for m, p in zip(measures, point, strict=True)) != budget:
            continue
        burden = sum(m * p**2 for m, p in zip(measures, point, strict=True))
        best = min(best, (burden, point)) if best else (burden, point)
    return best[1]


@settings(max_examples=60, deadline=None)
@given(small, st.sampled_from([F(1, 3), F(4, 5), F(1)]))
def test_capped_pro_rata_is_the_convex_programme(book, most):
    of, candidates = book
    candidates = [c for c in candidates if c.contracts]
    caps = [min(most, c.cap / c.contracts) for c in candidates]
    measures = [c.contracts for c in candidates]
    budget = min(of.contracts, sum((m * c for m, c in zip(measures, caps, strict=True)), F(0)))
    allocate = policy("capped_pro_rata", most=most, numeraire="contracts", whole_lots=False)
    found = [g / c.contracts for g, c in zip(allocate(of, candidates).given, candidates, strict=True)]
    assert found == convex(measures, caps, budget)


@settings(max_examples=60, deadline=None)
@given(small)
def test_capped_pro_rata_of_profit_is_the_convex_programme(book):
    of, candidates = book
    cost = of.lost(F(1))
    candidates = [c for c in candidates if c.unrealized_pnl > 0] if cost > 0 else []
    profits = [c.unrealized_pnl for c in candidates]
    caps = [min(F(1, 2), c.cap * cost / c.unrealized_pnl) for c in candidates]
    budget = min(of.lost(of.contracts), sum((w * h for w, h in zip(profits, caps, strict=True)), F(0)))
    found = policy("capped_pro_rata", whole_lots=False)(of, candidates)
    money = [of.lost(g) / w for g, w in zip(found.given, profits, strict=True)]
    assert money == convex(profits, caps, budget)


@settings(max_examples=40, deadline=None)
@given(small)
def test_the_largest_leverage_left_is_the_least(book):
    of, candidates = book
    exact = policy("least_leverage", whole_lots=False)(of, candidates)
    in_lots = policy("least_leverage")(of, candidates)
    lost = [c.equity <= 0 for c in candidates]

    def worst(given_):
        left = [(c.contracts - g) / c.equity for c, g in zip(candidates, given_, strict=True) if c.equity > 0]
        return max(left, default=F(0))

    gone = sum(x for x, out in zip(able(candidates), lost, strict=True) if out)
    first = sum(g for g, out in zip(exact.given, lost, strict=True) if out)
    assert first == min(gone, of.contracts)
    assert sum(g for g, out in zip(in_lots.given, lost, strict=True) if out) == first
    points = [
        worst(point) for point in feasible(candidates, min(of.contracts, sum(able(candidates))))
        if sum(x for x, out in zip(point, lost, strict=True) if out) == first
    ]  # fmt: skip
    assert worst(exact.given) <= worst(in_lots.given) == min(points)


@settings(max_examples=40, deadline=None)
@given(small)
def test_the_integer_programme_has_the_least_largest_fraction(book):
    of, candidates = book
    found = policy("integer", rule="min_max")(of, candidates).given

    def largest(given_):
        return max((g / c.contracts for g, c in zip(given_, candidates, strict=True) if c.contracts), default=F(0))

    total = min(of.contracts, sum(able(candidates)))
    assert sum(found) == total
    assert largest(found) == min(largest([F(x) for x in point]) for point in feasible(candidates, total))


# --- mistakes seen elsewhere ---


def test_a_small_deficit_closes_no_winner_in_full():
    (given_,) = policy("queue")(demand(10), [candidate("w", 100)]).given
    assert given_ == 10

    def in_full(_, candidates):
        return Allocation(tuple(c.contracts for c in candidates), (None,) * len(candidates), F(0))

    sentence = law("contracts_opposite")(in_full, demand(10), [candidate("w", 100)])
    assert sentence == "100 is given for a demand of 10: too much is closed"


BAD = {
    "contracts_opposite": (
        lambda d, cs: Allocation((*[F(-1)] * (len(cs) - 1), d.contracts), (None,) * len(cs), F(0)), "are created",
    ),
    "always": (lambda d, cs: Allocation((F(0),) * len(cs), (None,) * len(cs), d.contracts), "no reason is said"),
    "profit_only": (policy("lexicographic", keys=["unrealized_pnl asc"]), "of a profit of"),
    "budget_monotone": (policy("random_start", whole_lots=False), None),
    "exhaustive": (policy("capped_pro_rata", most=F(1, 100)), "remains and"),
    "split_proof": (policy("lexicographic", keys=["contracts desc"]), "as two with"),
    "entry_free": (policy("queue"), "other entry prices"),
    "path_independent": (policy("integer"), "in two steps"),
    "smooth": (policy("queue"), "less of the profit, score and equity"),
}  # fmt: skip


def absolute(d, cs):
    """A queue of those with an equity of 1,000 or more, then the others."""
    rich = [replace(c, rank=c.rank + (c.equity < 200) * 100) for c in cs]
    return policy("queue")(d, rich)


def late(d, cs):
    """A queue that turns round for more than 12 contracts."""
    return policy("queue")(d, [replace(c, rank=-c.rank) for c in cs] if d.contracts > 12 else cs)


@pytest.mark.parametrize("name", STATED)
def test_every_law_finds_who_breaks_it(name):
    allocate, words = {**BAD, "scale_free": (absolute, "times as much"), "budget_monotone": (late, "gives 10")}[name]
    holders = ranked([
        candidate("a", 10, entry=40, equity=100), candidate("b", 8, entry=99, equity=250),
        candidate("c", 30, entry=95, equity=1500), candidate("d", 4, entry=90, equity=80),
    ])  # fmt: skip
    found = [law(name, ("profit_only",))(allocate, demand(n), holders) for n in (12, 14, 21)]
    sentences = [s for s in found if s is not None]
    assert sentences, name
    assert words in sentences[0]


def test_the_order_of_rows_and_ties_by_accident_are_found():
    def first_come(d, cs):
        return policy("queue")(d, [replace(c, rank=k) for k, c in enumerate(cs, 1)])

    holders = [candidate("a", 10, score=1, rank=1), candidate("b", 10, score=1, rank=2)]
    assert law("always")(first_come, demand(5), holders) == "the order of the candidates changes who gives"
    assert law("always")(policy("queue"), demand(5), holders) is None
    for name in POLICIES:
        assert law("always")(policy(name), demand(5), holders) is None


# --- names and parameters ---


def test_the_table_says_only_laws_that_exist():
    assert known() == [*POLICIES, HAIRCUT]
    for listed in POLICIES.values():
        assert {*listed.laws, *listed.unrounded} <= {*LAWS}
        assert listed.meaning


@pytest.mark.parametrize(
    ("name", "parameters", "code", "hint"),
    [
        ("prorata", {}, "unknown_choice", "did you mean `pro_rata`?"),
        ("profit_haircut", {}, "unknown_choice", "call `policies.profit_haircut(demand, candidates)`"),
        ("queue", {"tie": "group"}, "unknown_key", "did you mean `ties`?"),
        ("queue", {"numeraire": "coins"}, "unknown_choice", "say money or contracts"),
        ("queue", {"ties": "none"}, "unknown_choice", "say rank or group"),
        ("capped_pro_rata", {"most": 2}, "invalid_value", "give a fraction from 0 to 1"),
        ("risk_weighted", {"g": "cubic"}, "unknown_choice", "weights: `one`, `linear`, `square`, `tail`"),
        ("integer", {"rule": "floor"}, "unknown_choice", "say largest_remainder or min_max"),
        ("lexicographic", {"keys": ["leverag desc"]}, "unknown_choice", "did you mean `leverage`?"),
        ("lexicographic", {"keys": ["leverage down"]}, "order_key", "say asc or desc"),
    ],
)
def test_what_can_not_be_asked_for(name, parameters, code, hint):
    with pytest.raises(QueryError) as caught:
        policy(name, **parameters)
    (finding,) = caught.value.findings
    assert (finding.code, finding.hint) == (code, hint)


def test_a_policy_as_the_command_line_names_it():
    assert policy_of("risk_weighted:g=tail:above=5:numeraire=contracts")(demand(10), THREE).given == (5, 5, 0)
    assert policy_of("lexicographic:keys=score asc/equity desc")(demand(25), THREE).given == (0, 0, 25)
    assert policy_of("pro_rata_contracts:whole_lots=false")(demand(10), THREE).given[0] == F(5, 3)
    for text, words in (("queue:ties", "NAME:parameter=value"), ("capped_pro_rata:most=half", "parameters: `most`")):
        with pytest.raises(QueryError, match=words):
            policy_of(text)


def test_an_unknown_law():
    with pytest.raises(QueryError, match="did you mean `smooth`"):
        law("smoth")
