"""A plugin's function compiles, decides and explains like those of the language."""

from fractions import Fraction

import numpy as np
import pytest

import riskpolicy as rp
from tests import venue


def plugin(*functions):
    class Plugin:
        @rp.hookimpl
        def expression_functions(self):
            return list(functions)

    return Plugin()


def share(bounded=True, **changes):
    """part / whole, NaN or undefined where whole is zero."""

    def value(part, whole):
        return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole != 0)

    def bound(part, whole, part_bound, whole_bound):
        with np.errstate(all="ignore"):
            rough = (part_bound + np.abs(part / whole) * whole_bound) / (np.abs(whole) - whole_bound)
        return np.where(np.abs(whole) > whole_bound, rough * 1.001 + np.abs(value(part, whole)) * 2.0**-50, np.inf)

    given = {"name": "share", "parameters": ("money", "money"), "result": "ratio", "meaning": "part of whole"}
    forms = {"value": value, "exact": lambda part, whole: part / whole, "bound": bound if bounded else None}
    return rp.ExpressionFunction(**{**given, **forms, **changes})


def ruleset(score="share(unrealized_pnl, entry_notional)"):
    made = venue.base()
    made["functions"] = [{"plugin": "mine"}]
    made["deleveraging"]["score"] = score
    return made


POSITIONS = [("b", "BTCUSDT", 3, 1), ("a", "BTCUSDT", 0.7, 1), ("c", "BTCUSDT", 0.1, 1.05), ("d", "BTCUSDT", 0.1, 2)]
SNAPSHOT = venue.cross(POSITIONS, dict.fromkeys("abcd", 9), {"BTCUSDT": 1.1})


@pytest.mark.parametrize("bounded", [True, False])
def test_it_ranks_as_the_same_expression_does(install, bounded):
    install("mine", plugin(share(bounded)))
    ours = venue.evaluate(ruleset(), SNAPSHOT)
    plain = venue.base()
    plain["deleveraging"]["score"] = "unrealized_pnl / entry_notional"
    assert ours.positions["adl_rank"].tolist() == venue.evaluate(plain, SNAPSHOT).positions["adl_rank"].tolist()
    assert ours.decided_exactly["adl_ranks"] == (2 if bounded else 4)


def test_it_may_stand_anywhere_in_an_expression(install):
    install("mine", plugin(share()))
    score = (
        "max(share(max(0, unrealized_pnl), share(notional, notional) * entry_notional), 0.01) if notional > 0 else 0"
    )
    evaluation = venue.evaluate(ruleset(score), SNAPSHOT)
    assert [r["adl_rank"] for r in evaluation.positions.rows()] == [2, 1, 3, 4]


def test_it_is_exact_in_a_condition(install):
    """25 * 0.004 + 50 * 0.004 is 0.3, and a share of exactly 1 is not above 1."""
    install("mine", plugin(share()))
    made = ruleset("unrealized_pnl")
    made["instruments"][0]["symbols"] = ["A", "B"]
    made["liquidation"]["restricted"] = "share(maintenance_margin, equity) > 1 and equity > 0"
    snapshot = venue.cross([("x", "A", 1, 25), ("x", "B", 1, 50)], {"x": 0.3}, {"A": 25, "B": 50})
    assert venue.evaluate(made, snapshot).buckets.row(0)["state"] == "healthy"


def test_an_untaken_branch_never_raises(install):
    install("mine", plugin(share()))
    evaluation = venue.evaluate(ruleset("share(notional, unrealized_pnl) if abs(unrealized_pnl) > 0 else 0"), SNAPSHOT)
    assert np.isfinite(evaluation.queue.score).all()
    flat = venue.cross([("a", "BTCUSDT", 1, 2)], {"a": 1}, {"BTCUSDT": 2})
    assert (
        venue.evaluate(ruleset("share(notional, unrealized_pnl) if unrealized_pnl > 0 else 0"), flat).queue.score[0]
        == 0
    )
    with pytest.raises(rp.SnapshotError, match=r"deleveraging\.score"):
        _ = venue.evaluate(ruleset("share(notional, unrealized_pnl)"), flat).queue


@pytest.mark.parametrize(
    ("score", "code"),
    [
        ("share(notional)", "expression_arity"),
        ("share(notional, leverage)", "expression_unit"),
        ("share(notional, entry_notional) + notional", "expression_unit"),
        ("share(notional, notional > 0)", "expression_type"),
        ("shard(notional, notional)", "unknown_function"),
    ],
)
def test_it_is_checked_like_any_function(install, score, code):
    install("mine", plugin(share()))
    with pytest.raises(rp.RulesetError) as caught:
        venue.policy(ruleset(score))
    assert caught.value.codes == (code,)


def test_it_exists_only_where_it_is_named(install):
    install("mine", plugin(share()))
    made = ruleset()
    del made["functions"]
    with pytest.raises(rp.RulesetError, match="unknown function `share`"):
        venue.policy(made)


def test_a_process_may_pin_the_list(install):
    install("mine", plugin(share()))
    text = venue.text(ruleset())
    assert rp.loads(text, plugins=["mine"]).plugins == {"mine": "unknown"}
    with pytest.raises(rp.PluginError, match="not allowed"):
        rp.loads(text, plugins=[])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"value": lambda *_: 1 / 0}, "plugin_broken"),
        ({"value": lambda *_: "x"}, "plugin_broken"),
        ({"value": lambda *_: 1.0}, "hook_result"),
        ({"value": lambda part, _: part[:1]}, "hook_result"),
        ({"value": lambda part, _: part[:, None]}, "hook_result"),
    ],
    ids=range(5),
)
def test_a_function_that_misbehaves_is_named(install, changes, code):
    install("mine", plugin(share(**changes)))
    with pytest.raises(rp.PluginError, match="`share`") as caught:
        _ = venue.evaluate(ruleset(), SNAPSHOT).queue
    assert caught.value.codes == (code,)


def test_the_exact_form_decides(install):
    """A float form that is a little off changes nothing but the printed score, if its bound says so."""
    off = share(bounded=False, value=lambda part, whole: part / whole * (1 + 1e-3 * np.arange(len(part))))
    install("mine", plugin(off))
    evaluation = venue.evaluate(ruleset(), SNAPSHOT)
    assert evaluation.positions["adl_rank"].tolist() == [2, 1, 3, 4]
    assert isinstance(off.exact(Fraction(1), Fraction(3)), Fraction)
