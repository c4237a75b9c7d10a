"""Allocation policies: numbers known in advance, the laws that each declares, and independent oracles."""

import itertools
from dataclasses import replace
from fractions import Fraction as F

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskpolicy.engines.core.adl import LAWS, Allocation
from riskpolicy.engines.policies import HAIRCUT, POLICIES, declared, known, policy, profit_haircut
from riskpolicy.engines.policies.queues import drawn
from riskpolicy.errors import QueryError
from riskpolicy.testing.laws import STATED, broken, law
from tests.engines.adl_books import books, candidate, demand, ranked

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


def form_id(form):
    name, parameters = form
    return "-".join([name, *(str(v) for v in parameters.values())])


@pytest.mark.parametrize("form", FORMS, ids=form_id)
def test_every_policy_keeps_what_it_declares(form):
    name, parameters = form
    allocate, laws = policy(name, **parameters), declared(name, **parameters)

    @settings(max_examples=40, deadline=None)
    @given(books())
    def check(book):
        assert broken(allocate, *book, laws) == {}

    check()


@pytest.mark.parametrize("form", FORMS, ids=form_id)
def test_every_policy_is_sound_on_sizes_that_are_no_whole_lots(form):
    name, parameters = form
    allocate = policy(name, **parameters)
    laws = [w for w in declared(name, **parameters) if w in ("contracts_opposite", "profit_only", "exhaustive")]

    @settings(max_examples=25, deadline=None)
    @given(books(odd=True))
    def check(book):
        of, candidates = book
        assert broken(allocate, *book, laws) == {}
        for c, given_ in zip(candidates, allocate(of, candidates).given, strict=True):
            whole = given_ % of.lot == 0 or given_ == c.contracts
            assert whole or not parameters.get("whole_lots", True)

    check()
