"""A book in partitions: what is joined is what the whole book says, however it is divided."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import riskpolicy as rp
from riskpolicy.engines.candidates import candidates, demand
from riskpolicy.engines.partitions import count, head, key_of, merge, standing
from riskpolicy.engines.policies import policy
from tests import venue

F = Fraction


def ruleset(by="accounts"):
    rules = venue.base()
    rules["instruments"][0]["lot"] = 0.1
    rules["deleveraging"]["ties"] = ["notional desc"]
    rules["deleveraging"]["lights"] = {"count": 5, "by": by}
    return rules


def divided(tables, parts):
    """Each account with all its rows in one of the parts."""
    names = [row["account"] for row in tables["accounts"]]
    of = dict(zip(names, parts, strict=True))
    for k in range(max(parts) + 1):
        yield {name: [row for row in rows if of.get(row.get("account"), k) == k] for name, rows in tables.items()}


#: Few entries and sizes, so that scores and ties are often equal.
people = st.lists(
    st.tuples(st.integers(1, 30), st.sampled_from((40, 45, 50, 60)), st.integers(-2, 50), st.integers(0, 3)),
    min_size=1, max_size=14,
)  # fmt: skip


def book(rows):
    positions = [(f"a{k:02}", "BTCUSDT", q / 10, entry) for k, (q, entry, _, _) in enumerate(rows)]
    # Equity at the mark of 50, some of it too little for what a price costs.
    balances = {f"a{k:02}": equity - q * (50 - entry) / 10 for k, (q, entry, equity, _) in enumerate(rows)}
    return venue.cross(positions, balances, {"BTCUSDT": 50})


@settings(max_examples=120, deadline=None)
@given(people, st.integers(1, 200), st.sampled_from(("queue", "capped_queue")), st.sampled_from(("contracts", "money")))
def test_heads_merged_give_what_the_whole_book_gives(rows, lots, rule, numeraire):
    made, tables = venue.policy(ruleset()), book(rows)
    whole = made.evaluate(tables)
    of = demand(whole, "BTCUSDT", "long", F(lots, 10), F(49))
    allocate = policy(rule, numeraire=numeraire)
    able = [c.spared(of) for c in candidates(whole, "BTCUSDT", "long")]
    wanted = allocate(of, able)
    heads = [head(made.evaluate(part), of, numeraire) for part in divided(tables, [part for *_, part in rows])]
    joined = merge(heads)
    got = allocate(of, joined)
    assert {c.account: g for c, g in zip(joined, got.given, strict=True) if g} == {
        c.account: g for c, g in zip(able, wanted.given, strict=True) if g
    }
    assert got.remaining == wanted.remaining
    # In the order of the whole book.
    order = [c.account for c in able]
    places = [order.index(c.account) for c in joined]
    assert places == sorted(places)


@settings(max_examples=80, deadline=None)
@given(people, st.sampled_from(("accounts", "quantity")))
def test_counts_of_all_parts_make_rank_light_and_contracts_ahead(rows, by):
    made, tables = venue.policy(ruleset(by)), book(rows)
    whole = made.evaluate(tables)
    parts = [made.evaluate(part) for part in divided(tables, [part for *_, part in rows])]
    for k, (q, _, _, part) in enumerate(rows):
        account = f"a{k:02}"
        wanted = whole.exposure(account, "BTCUSDT")
        key = key_of(parts[part], account, "BTCUSDT", "long")
        got = standing([count(e, "BTCUSDT", "long", key) for e in parts], F(q, 10), made.plan.deleveraging)
        assert (got.rank, got.light, got.quantity_ahead) == (
            wanted.adl_rank, wanted.adl_light, wanted.quantity_ahead,
        )  # fmt: skip


def test_a_head_is_no_longer_than_it_need_be():
    evaluation = venue.evaluate(ruleset(), book([(10, 40, 50, 0)] * 100))
    of = demand(evaluation, "BTCUSDT", "long", F(25, 10), F(49))
    assert len(head(evaluation, of).candidates) == 3
    assert [c.account for c in head(evaluation, of, against="a01").candidates] == ["a00", "a01", "a02", "a03"]
    # All of the queue where it does not suffice, and of more than one batch.
    assert len(head(evaluation, demand(evaluation, "BTCUSDT", "long", F(1000), F(49))).candidates) == 100
    # What is ranked is the head alone.
    assert "queue" not in vars(evaluation)


def test_what_is_not_ranked_by_score_is_refused():
    rules = ruleset()
    rules["deleveraging"]["take"]["rule"] = "random_start"
    evaluation = venue.evaluate(rules, book([(10, 40, 50, 0)]))
    with pytest.raises(rp.QueryError, match="ranks nobody by its score"):
        head(evaluation, demand(evaluation, "BTCUSDT", "long", F(1), F(49)))
    with pytest.raises(rp.QueryError, match="`b` holds no long in BTCUSDT"):
        key_of(venue.evaluate(ruleset(), book([(10, 40, 50, 0)])), "b", "BTCUSDT", "long")
