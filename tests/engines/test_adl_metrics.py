"""The metrics of deleveraging: by hand, by an independent count, and a published table to the cent."""

import csv
import math
from collections import defaultdict
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskpolicy.engines import adl_metrics as metrics
from riskpolicy.engines.adl_metrics import Outcome
from riskpolicy.engines.policies import policy, profit_haircut
from tests.engines.adl_books import books, candidate, demand, ranked

F = Fraction
DATA = Path(__file__).parent.parent / "data" / "adl_waves"

#: Table 2 of arXiv 2602.15182 in USD: the columns' suffix, tracking, fairness and their sum.
TABLE = [
    ("prod", "53,782,490.53", "11,077,031.68", "64,859,522.21"),
    ("contract_pr", "3,020,120.65", "384,064.35", "3,404,185.00"),
    ("vector", "1,793,022.03", "2,620,345.57", "4,413,367.61"),
    ("fixed_point_ilp_integer", "106,205.81", "0.00", "106,205.81"),
    ("pr", "0.00", "2,732,437.29", "2,732,437.29"),
]


def waves():
    with (DATA / "policy_per_wave_metrics.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def column(name):
    return [F(row[name]) for row in waves()]


def cents(amount):
    whole = round(amount * 100)
    return f"{whole // 100:,}.{whole % 100:02}"


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_the_published_table_to_the_cent(row):
    suffix = row[0]
    needed = column("budget_needed")
    tracked = metrics.tracking(column(f"budget_{suffix}"), needed)
    unfair = metrics.fairness(needed, column(f"max_pct_{suffix}"), column("max_pct_fixed_point_ilp_integer"))
    assert tuple(cents(amount) for amount in (tracked, unfair, tracked + unfair)) == row[1:]


def outcome_of(needed, budget):
    return Outcome(needed, needed, (budget,), (F(1),), (budget,), (None,))


@pytest.mark.parametrize("suffix", [row[0] for row in TABLE])
def test_overshoot_and_undershoot_of_the_published_waves(suffix):
    # The column holds budget less needed, with its sign, as the floats of its authors have it.
    for needed, budget, over in zip(
        column("budget_needed"), column(f"budget_{suffix}"), column(f"overshoot_{suffix}"), strict=True
    ):
        o = outcome_of(needed, budget)
        assert abs(metrics.overshoot(o) - metrics.undershoot(o) - over) < F(1, 10**6)
        assert metrics.residual(o) == metrics.undershoot(o)


def test_needed_is_the_sum_over_fills_of_the_gap_to_the_mark():
    needed = defaultdict(Fraction)
    with (DATA / "wave_coin_gap.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        gap = F(row["gap_per_contract_usd"])
        fill = demand(F(row["qty_contracts"]), price=100 - gap, mark=100)
        needed[row["wave"]] += metrics.outcome(fill, [], policy("queue")(fill, [])).needed
    assert len(rows) == 728
    for row in waves():
        assert round(needed[row["wave"]], 2) == round(F(row["budget_needed"]), 2)


#: Longs of 10, 20 and 30 contracts with profits of 500, 400 and 150; each contract taken at 90 costs 10.
THREE = ranked([
    candidate("a", 10, entry=50), candidate("b", 20, entry=80), candidate("c", 30, entry=95),
])  # fmt: skip


def test_by_hand():
    of = demand(30, deficit=280)
    o = metrics.outcome(of, THREE, policy("queue")(of, THREE))
    assert o.taken == (100, 200, 0)
    assert (metrics.budget(o), o.needed) == (300, 300)
    assert (metrics.overshoot(o), metrics.undershoot(o), metrics.covered(o), metrics.residual(o)) == (0, 0, 280, 0)
    assert metrics.participation(o) == F(2, 3)
    assert metrics.haircuts(o) == (F(1, 5), F(1, 2), 0)
    assert metrics.haircuts(o, "contracts") == (1, 1, 0)
    assert (metrics.largest_haircut(o), metrics.median_haircut(o)) == (F(1, 2), F(7, 20))
    assert metrics.rank_inversions(o) == 0
    assert metrics.top_survivor(o) == 400
    assert metrics.top_survivor_over_covered(o) == F(400, 280)
    assert metrics.top_survivor_over_uncovered(o) is None
    assert metrics.churn(o) == pytest.approx((1 - math.exp(-1) + 1 - math.exp(-2.5)) / 3, rel=1e-15)


def test_a_partial_answer_leaves_a_residual():
    of = demand(80, deficit=900)
    o = metrics.outcome(of, THREE, policy("queue")(of, THREE))
    assert (metrics.budget(o), o.needed, metrics.undershoot(o), metrics.residual(o)) == (600, 800, 200, 300)
    assert metrics.top_survivor_over_covered(o) == F(400, 600)
    assert metrics.top_survivor_over_uncovered(o) == F(400, 300)
    # c has no profit for what it gives: 300 of 150.
    assert metrics.largest_haircut(o) == 2


def test_money_taken_of_no_profit_is_an_infinite_fraction():
    losing = [candidate("l", 10, entry=120)]
    o = metrics.outcome(demand(5), losing, policy("queue")(demand(5), losing))
    assert metrics.largest_haircut(o) == metrics.median_haircut(o) == math.inf
    assert metrics.churn(o) == 1
    assert metrics.fairness([F(10)], [math.inf], [F(0)]) == math.inf
    assert metrics.fairness([F(10)], [math.inf], [math.inf]) == 0


def test_at_a_price_that_is_better_than_the_mark_nothing_is_taken():
    of = demand(10, price=110, deficit=0)
    o = metrics.outcome(of, THREE, policy("queue")(of, THREE))
    assert (o.needed, metrics.budget(o), metrics.largest_haircut(o)) == (0, 0, 0)
    assert metrics.participation(o) == F(1, 3)


def test_a_haircut_on_profit():
    of = demand(21)
    o = metrics.paid_outcome(of, THREE, profit_haircut(of, THREE).paid)
    assert metrics.haircuts(o) == (F(1, 5),) * 3
    assert (metrics.budget(o), metrics.rank_inversions(o), metrics.participation(o)) == (210, 0, 1)


@given(st.lists(st.tuples(st.one_of(st.none(), st.integers(0, 4)), st.integers(0, 4)), max_size=9))
def test_rank_inversions_are_the_pairs(rows):
    o = Outcome(
        F(0), F(0), (F(0),) * len(rows), tuple(F(c, 4) for _, c in rows), (F(0),) * len(rows),
        tuple(None if s is None else F(s) for s, _ in rows),
    )  # fmt: skip
    scored = [(s, c) for s, c in rows if s is not None]
    assert metrics.rank_inversions(o) == sum(1 for s, c in scored for t, d in scored if s > t and c < d)


@given(st.lists(books(), min_size=1, max_size=4), st.sampled_from(["queue", "pro_rata", "least_leverage"]))
def test_a_wave_is_the_sum_of_its_events(drawn, name):
    outcomes = [metrics.outcome(d, cs, policy(name)(d, cs)) for d, cs in drawn]
    wave = metrics.wave(outcomes, outcomes)
    assert wave.budget == sum(metrics.budget(o) for o in outcomes)
    assert wave.tracking == wave.overshoot + wave.undershoot
    assert wave.budget - wave.needed == wave.overshoot - wave.undershoot
    assert wave.fairness == 0
    assert wave.path_variation == metrics.path_variation([metrics.budget(o) for o in outcomes])


def test_path_variation_counts_every_turn():
    assert metrics.path_variation([F(1), F(3), F(2), F(2)]) == 3
    assert metrics.path_variation([]) == 0


@given(books(prices=(80, 90)))
def test_pro_rata_has_the_least_largest_fraction_of_profit(book):
    of, candidates = book
    # Where no cap binds: the only thing that can keep somebody's fraction below that of the others.
    free = [replace(c, cap=c.contracts * 1000, contracts=c.contracts * 1000) for c in candidates]
    o = metrics.outcome(of, free, policy("pro_rata", whole_lots=False)(of, free))
    profits = sum(o.profit)
    fraction = min(F(1), o.needed / profits) if profits else F(0)
    assert metrics.largest_haircut(o) == fraction
