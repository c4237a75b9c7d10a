"""Small books for deleveraging: demands and candidates that fit each other, drawn or written down."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from hypothesis import strategies as st

from riskpolicy.engines.core.adl import Candidate, Demand

F = Fraction


def demand(contracts=10, *, price=90, mark=100, side="long", lot=1, deficit=None, inverse=False, size=1, **more):
    """Contracts to take from longs at 90, mark 100: every contract costs 10."""
    made = Demand(
        "BTC", side, F(contracts), F(price), F(mark), F(lot), F(size), inverse, F(0), **more
    )  # fmt: skip
    return replace(made, deficit=made.lost(F(contracts)) if deficit is None else F(deficit))


def candidate(account, contracts, *, entry=50, equity=None, cap=None, score=None, rank=1, mark=100, side="long"):
    """A position of linear contracts of size 1, scored by profit unless told."""
    contracts, entry = F(contracts), F(entry)
    pnl = contracts * (mark - entry) * (1 if side == "long" else -1)
    equity = contracts * 20 if equity is None else F(equity)
    return Candidate(
        account, contracts, contracts if cap is None else F(cap), entry, pnl, contracts * mark, equity, equity - pnl,
        pnl if score is None else F(score), rank,
    )  # fmt: skip


def ranked(candidates):
    """Ranks by score, highest first, then by account."""
    order = sorted(candidates, key=lambda c: (-c.score, c.account))
    return [replace(c, rank=order.index(c) + 1) for c in candidates]


@st.composite
def books(draw, *, odd=False, most=6, prices=(80, 90, 95, 100)):
    """A demand and one to six candidates on its side; `odd` lets sizes and caps be parts of a lot."""
    unit = F(1, 2) if odd else F(1)
    side = draw(st.sampled_from(["long", "short"]))
    price = draw(st.sampled_from(prices))
    price = price if side == "long" else 200 - price
    of = demand(draw(st.integers(1, 40)) * unit, price=price, side=side, deficit=draw(st.integers(0, 300)),
                event=draw(st.integers(0, 3)), seed=draw(st.integers(0, 3)))  # fmt: skip
    sizes = draw(st.lists(st.integers(0, 14), min_size=1, max_size=most))
    found = []
    for k, size in enumerate(sizes):
        contracts = size * unit
        cap = contracts if draw(st.integers(0, 3)) else draw(st.integers(0, size)) * unit
        entry = draw(st.integers(60, 140))
        equity = draw(st.integers(-20, 300))
        score = draw(st.one_of(st.none(), st.integers(0, 4)))
        found.append(
            candidate(f"A{k}", contracts, entry=entry, equity=equity, cap=cap, side=side, score=score)
        )  # fmt: skip
    return of, ranked(found)
