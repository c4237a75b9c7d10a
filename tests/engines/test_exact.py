"""Decisions at a boundary are decimal decisions, whatever the floats say, and the explanation agrees."""

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import venue


def two_markets():
    ruleset = venue.base()
    ruleset["instruments"][0]["symbols"] = ["A", "B"]
    return ruleset


def test_equity_of_exactly_maintenance_is_not_below_it():
    """0.1 + 0.2 is above 0.3 in floats; the account with 0.3 is healthy all the same."""
    assert 25 * 0.004 + 50 * 0.004 > 0.3
    snapshot = venue.cross([("x", "A", 1, 25), ("x", "B", 1, 50)], {"x": 0.3}, {"A": 25, "B": 50})
    evaluation = venue.evaluate(two_markets(), snapshot)
    assert evaluation.buckets.row(0)["state"] == "healthy"
    assert evaluation.decided_exactly["states"] == 1
    snapshot["accounts"][0]["balance"] = "0.29999999999999999999"
    assert venue.evaluate(two_markets(), snapshot).buckets.row(0)["state"] == "liquidatable"


def test_equity_of_exactly_zero_is_not_bankrupt():
    snapshot = venue.cross([("x", "A", 1, 25.1), ("x", "B", 1, 50.2)], {"x": 0.3}, {"A": 25, "B": 50})
    evaluation = venue.evaluate(two_markets(), snapshot)
    assert evaluation.margins.equity[0] != 0
    assert evaluation.buckets.row(0)["state"] == "liquidatable"


def test_a_notional_of_exactly_the_cap_is_in_the_lower_tier():
    assert 1.1 * 1.1 > 1.21
    snapshot = venue.cross([("x", "BTCUSDT", 1.1, 1.1)], {"x": 9}, {"BTCUSDT": 1.1})
    rows = [[1.21, "1%"], ["unlimited", "2%"]]
    for edge, cap in (("lower", "1.21"), ("upper", "unlimited")):
        evaluation = venue.evaluate(venue.tiers(rows, edge=edge), snapshot)
        assert evaluation.positions.row(0)["tier"] == f"margin.tiers.btc.{cap}"
        assert evaluation.decided_exactly["tiers"] == 1


def test_equal_scores_of_unequal_floats_are_ties():
    """0.3 / 3 and 0.1 / 1 are the same score, so the account decides."""
    ruleset = two_markets()
    ruleset["deleveraging"]["score"] = "unrealized_pnl / entry_notional"
    assert (3.3 - 3) / 3 != (1.1 - 1) / 1
    positions = [("b", "A", 3, 1), ("a", "A", 0.7, 1), ("c", "A", 0.1, 1)]
    evaluation = venue.evaluate(ruleset, venue.cross(positions, dict.fromkeys("abc", 9), {"A": 1.1}))
    ranks = {r["account"]: r["adl_rank"] for r in evaluation.positions.rows()}
    assert ranks == {"a": 1, "b": 2, "c": 3}
    assert evaluation.decided_exactly["adl_ranks"] > 0


def test_zero_scores_are_certain():
    ruleset = venue.base()
    positions = [(i, "BTCUSDT", 0.1 + i / 7, 60) for i in range(50)]
    evaluation = venue.evaluate(ruleset, venue.cross(positions, dict.fromkeys(range(50), 1), {"BTCUSDT": 50.1}))
    assert [r["adl_rank"] for r in evaluation.positions.rows()] == list(range(1, 51))
    assert evaluation.decided_exactly["adl_ranks"] == 0


def test_scores_made_of_the_same_constants_are_certain():
    ruleset = venue.base()
    ruleset["deleveraging"]["score"] = "0.1 * 0.7 if unrealized_pnl < 0 else max(0.3, 0.1) / 7"
    positions = [(i, "BTCUSDT", 1, 60 if i % 2 else 40) for i in range(50)]
    evaluation = venue.evaluate(ruleset, venue.cross(positions, dict.fromkeys(range(50), 1), {"BTCUSDT": 50.1}))
    order = sorted(evaluation.positions.rows(), key=lambda r: r["adl_rank"])
    assert [r["account"] for r in order] == [*range(1, 50, 2), *range(0, 50, 2)]
    assert evaluation.decided_exactly["adl_ranks"] == 0


tenths = st.integers(1, 60).map(lambda n: n / 10)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(tenths, tenths, st.integers(-5, 20).map(lambda n: n / 10)), min_size=1, max_size=8))
def test_states_and_ranks_are_the_decimal_ones(rows):
    """Round figures meet every boundary often; an evaluation in fractions decides what is right."""
    ruleset = venue.tiers([[10, "10%"], ["unlimited", "20%"]])
    ruleset["deleveraging"]["score"] = "unrealized_pnl / entry_notional"
    positions = [(i, "BTCUSDT", q, e) for i, (q, e, _) in enumerate(rows)]
    mark = Fraction(31, 10)
    snapshot = venue.cross(positions, {i: b for i, (_, _, b) in enumerate(rows)}, {"BTCUSDT": 3.1})
    evaluation = venue.evaluate(ruleset, snapshot)
    scores = {}
    for i, row in enumerate(rows):
        quantity, entry, balance = (Fraction(str(x)) for x in row)
        notional, equity = quantity * mark, balance + quantity * (mark - entry)
        due = notional / 10 if notional <= 10 else notional / 5 - 1
        state = "bankrupt" if equity < 0 else "liquidatable" if equity < due else "healthy"
        assert evaluation.buckets.row(i)["state"] == state
        assert evaluation.positions.row(i)["tier"].endswith("10" if notional <= 10 else "unlimited")
        scores[i] = (mark - entry) / entry
    wanted = sorted(scores, key=lambda i: (-scores[i], i))
    got = sorted(scores, key=lambda i: evaluation.positions.row(i)["adl_rank"])
    assert got == wanted


def test_bounds_hold_what_they_bound():
    """The bounds of buckets hold the exact values of a venue whose numbers do not end in binary."""
    from riskpolicy.engines.core.exact import exact_bucket_row, exact_position_row
    from riskpolicy.engines.core.margins import BucketColumns, PositionColumns

    rng = np.random.default_rng(3)
    positions = [
        (f"a{i % 9}", s, round(rng.normal() * 50, 3), round(rng.uniform(1, 99), 2)) for i in range(9) for s in "AB"
    ]
    balances = {f"a{i}": round(rng.normal() * 900, 2) for i in range(9)}
    evaluation = venue.evaluate(two_markets(), venue.cross(positions, balances, {"A": 33.33, "B": 0.07}))
    bound, margins = evaluation.bound, evaluation.margins
    buckets = BucketColumns(bound, margins)
    positions_ = PositionColumns(bound, margins, buckets)
    for sources, exact_row in [(buckets, exact_bucket_row), (positions_, exact_position_row)]:
        columns = {name: source.column() for name, source in sources.items()}
        bounds = {name: source.bound_column() for name, source in sources.items()}
        for row in range(len(columns["notional"])):
            exact = exact_row(bound, row)
            for name, value in exact.items():
                if np.isfinite(bounds[name][row]) and np.isfinite(columns[name][row]):
                    gap = abs(Fraction(value) - Fraction(float(columns[name][row])))
                    assert gap <= Fraction(float(bounds[name][row])), (name, row)
