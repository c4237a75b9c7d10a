"""Every payoff, key, basis and rate against the definitions, and the solver against what they say around it."""

import random
from fractions import Fraction

import pytest

from riskpolicy.numbers import exact
from tests import venue
from tests.engines.curves import Terms, draw

F = Fraction


def ruleset(terms: list[Terms], **margin):
    base = venue.base()
    base["instruments"] = [t.instrument(f"I{k}") for k, t in enumerate(terms)]
    base["margin"] = {
        "initial": "notional / 10", "tiers": [t.table(f"I{k}") for k, t in enumerate(terms)],
        "modes": ["cross", "isolated", "hedge"], **margin,
    }  # fmt: skip
    return base


def drawn(seed: int, count: int):
    """Terms, quantities, entries, marks, and a balance near the requirement."""
    rng = random.Random(seed)
    terms = [draw(rng) for _ in range(count)]
    quantity = [F(rng.randint(1, 50)) * rng.choice([1, -1]) for _ in terms]
    entry = [F(rng.randint(5000, 20000), 100) for _ in terms]
    mark = [F(rng.randint(5000, 20000), 100) for _ in terms]
    due = sum(t.maintenance(q, e, m) for t, q, e, m in zip(terms, quantity, entry, mark, strict=True))
    profit = sum(t.profit(q, e, m) for t, q, e, m in zip(terms, quantity, entry, mark, strict=True))
    value = sum(t.value(q, m) for t, q, m in zip(terms, quantity, mark, strict=True))
    balance = F(str(round(float(due - profit + value * F(rng.randint(-20, 60), 100)), 6)))
    return terms, quantity, entry, mark, balance


def snapshot(quantity, entry, mark, balance):
    positions = [("A", f"I{k}", float(q), float(e)) for k, (q, e) in enumerate(zip(quantity, entry, strict=True))]
    marks = {f"I{k}": float(m) for k, m in enumerate(mark)}
    return venue.cross(positions, {"A": float(balance)}, marks)


@pytest.mark.parametrize("seed", range(120))
def test_margins_are_those_of_the_definitions(seed):
    terms, quantity, entry, mark, balance = drawn(seed, 1 + seed % 3)
    evaluation = venue.evaluate(ruleset(terms), snapshot(quantity, entry, mark, balance))
    due = profit = F(0)
    for k, t in enumerate(terms):
        row = evaluation.positions.row(k)
        q, e, m = quantity[k], entry[k], mark[k]
        assert float(row["notional"]) == pytest.approx(float(t.value(q, m)), rel=1e-14)
        assert float(row["maintenance_margin"]) == pytest.approx(float(t.maintenance(q, e, m)), rel=1e-13, abs=1e-13)
        assert float(row["unrealized_pnl"]) == pytest.approx(
            float(t.profit(q, e, m)), rel=1e-12, abs=1e-13 * float(t.value(q, m))
        )
        due += t.maintenance(q, e, m)
        profit += t.profit(q, e, m)
    bucket = evaluation.buckets.row(0)
    equity = balance + profit
    state = "bankrupt" if equity < 0 else "liquidatable" if equity < due else "healthy"
    assert bucket["state"] == state


@pytest.mark.parametrize("seed", range(300))
def test_a_liquidation_price_is_the_first_boundary(seed):
    """Just beyond it the state is another, just before it is not, and nowhere in between."""
    terms, quantity, entry, mark, balance = drawn(1000 + seed, 1 + seed % 3)
    evaluation = venue.evaluate(ruleset(terms), snapshot(quantity, entry, mark, balance))

    def health(k: int, price: Fraction) -> Fraction:
        marks = [price if k == j else m for j, m in enumerate(mark)]
        rows = list(zip(terms, quantity, entry, marks, strict=True))
        return (
            balance + sum(t.profit(q, e, m) for t, q, e, m in rows) - sum(t.maintenance(q, e, m) for t, q, e, m in rows)
        )

    for k in range(len(terms)):
        price = evaluation.positions.row(k)["liquidation_price"]
        below = health(k, mark[k]) < 0
        up = (quantity[k] < 0) != below
        if price is None:
            far = mark[k] * 10**6 if up else mark[k] / 10**6
        else:
            at = exact(price)
            assert at >= mark[k] if up else at <= mark[k]
            step = at * F(1, 10**11) * (1 if up else -1)
            assert (health(k, at + step) < 0) != below, (terms[k], price)
            far = at - step
        for part in range(1, 60):
            # Nothing changes on the way there.
            if price is None:
                between = mark[k] * (far / mark[k] if part == 59 else F(str(float(far / mark[k]) ** (part / 60))))
            else:
                between = mark[k] + (far - mark[k]) * F(part, 60)
            if (between > mark[k]) == up:
                assert (health(k, between) < 0) == below, (terms[k], price, float(between))


def test_hedged_sides_move_together():
    """Binance's worked form: both sides of one market in one cross bucket have one liquidation price."""
    rows = [[50000, "0.4%"], [250000, "0.5%"], ["unlimited", "1%"]]
    base = venue.tiers(rows)
    base["margin"]["modes"] = ["cross", "hedge"]
    positions = [
        {"account": "A", "instrument": "BTCUSDT", "position_side": "long", "quantity": 3, "entry_price": 30000},
        {"account": "A", "instrument": "BTCUSDT", "position_side": "short", "quantity": -1, "entry_price": 31000},
    ]
    tables = venue.cross([], {"A": 9000}, {"BTCUSDT": 30500})
    evaluation = venue.evaluate(base, {**tables, "positions": positions})
    long, short = evaluation.positions.rows()
    # 9000 + 3 (p - 30000) - (p - 31000) = 0.005 x 3p - 50 + 0.004 x p: the long leg has 90,000, the short 30,000.
    price = (3 * 30000 - 31000 - 9000 - 50) / (2 - 0.015 - 0.004)
    assert long["liquidation_price"] == pytest.approx(price, rel=1e-12)
    assert short["liquidation_price"] == long["liquidation_price"]
    assert float(evaluation.buckets.row(0)["maintenance_margin"]) == 91500 * 0.005 - 50 + 30500 * 0.004


def test_the_larger_side_of_a_netting_group_is_due():
    base = venue.tiers([["unlimited", "1%"]])
    base["margin"]["netting"] = "larger_side"
    group = {**base["instruments"][0], "netting": "BTC"}
    base["instruments"] = [group, {**group, "symbols": ["BTCQ"]}]
    positions = [("A", "BTCUSDT", 2, 100), ("A", "BTCQ", -3, 100)]
    evaluation = venue.evaluate(base, venue.cross(positions, {"A": 50}, {"BTCUSDT": 100, "BTCQ": 100}))
    assert evaluation.buckets.row(0)["maintenance_margin"] == "3"
    # BTCQ rising alone: 50 - 3 (p - 100) = 0.03 p.
    assert evaluation.positions.row(1)["liquidation_price"] == pytest.approx(350 / 3.03, rel=1e-12)
    # BTCUSDT falling alone, where the other side stays the larger: 50 + 2 (p - 100) = 3.
    assert evaluation.positions.row(0)["liquidation_price"] == pytest.approx(76.5, rel=1e-12)
