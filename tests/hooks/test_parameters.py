"""Parameters that a ruleset gives a plugin, and what a plugin is written for."""

from dataclasses import dataclass, field
from fractions import Fraction

import pytest

import riskpolicy as rp
from riskpolicy.hooks import with_parameters
from riskpolicy.hooks.resolve import hooks_of
from tests import venue
from tests.hooks.test_venue_plugins import PLUGINS

FEES = {"tiers": [{"id": "base", "maker": "0.02%", "taker": "0.05%"}], "plugin": "shares"}


@dataclass(frozen=True)
class Shares:
    """A part for the fund, and names that pay nothing."""

    share: Fraction = Fraction(1, 2)
    free: frozenset[str] = frozenset()
    others: dict[str, Fraction] = field(default_factory=dict)

    def __post_init__(self):
        if self.share > 1:
            raise ValueError("a share is a part of 1")

    @rp.hookimpl
    def configured(self, parameters):
        return with_parameters(self, parameters)

    @rp.hookimpl
    def split_fees(self, fees):
        parts = [int(max(0, fee.amount) * self.share) for fee in fees]
        return [{"main": part, "fees": fee.amount - part} for fee, part in zip(fees, parts, strict=True)]


def rules(**parameters):
    made = venue.base()
    made["fees"] = FEES
    made["plugins"] = {"shares": parameters}
    return made


def shared(policy):
    (found,) = policy.plan.plugged.split([rp_fee(100)])
    return found["main"]


def rp_fee(amount):
    from riskpolicy.hooks import FeeDue

    return FeeDue("A", "USDT", amount, "taker", "BTCUSDT", "fees")


def test_a_ruleset_configures_a_plugin(install):
    install("shares", Shares())
    assert shared(venue.policy(rules(share="25%", free=["A", 7], others={"x": 0.5}))) == 25
    assert shared(venue.policy({**rules(), "plugins": {}})) == 50


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"shore": "25%"}, "there is no `shore`; did you mean `share`"),
        ({"share": "much"}, "`share` is 'much', not a fraction"),
        ({"share": "150%"}, "a share is a part of 1"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(install, parameters, says):
    install("shares", Shares())
    with pytest.raises(rp.PluginError, match=says) as error:
        venue.policy(rules(**parameters))
    assert "venue.yaml:" in str(error.value)


class Plain:
    @rp.hookimpl
    def split_fees(self, fees):
        return [{"fees": fee.amount} for fee in fees]


def test_a_plugin_without_parameters_refuses_them(install):
    install("shares", Plain())
    with pytest.raises(rp.PluginError, match="takes no parameters"):
        venue.policy(rules(share="25%"))


def test_parameters_of_a_plugin_that_nobody_names_are_refused():
    made = venue.base()
    made["plugins"] = {"shares": {"share": "25%"}}
    with pytest.raises(rp.RulesetError, match=r"plugin `shares` has parameters, and no rule names it"):
        venue.policy(made)


@pytest.mark.parametrize(
    ("name", "parameters", "account", "wanted"),
    [
        (
            "dydx",
            {
                "affiliates": ["A"],
                "affiliate_share": "10%",
                "unconditional": {"treasury": "20%"},
                "mapper_share": "10%",
            },
            "A",
            {"affiliates": 1000, "treasury": 1800, "market_mapper": 900, "fees": 6300},
        ),
        ("drift", {"referred": ["A"]}, "A", {"referees": 500, "referrers": 1500, "fillers": 950, "fees": 7050}),
        ("hyperliquid", {"vault": "main", "vault_share": "10%"}, "A", {"main": 1000, "assistance_fund": 9000}),
    ],
)
def test_the_venues_plugins_are_configured_by_a_ruleset(install, monkeypatch, name, parameters, account, wanted):
    from importlib import import_module

    (folder,) = [path for path in PLUGINS if path.name == f"riskpolicy-{name}"]
    monkeypatch.syspath_prepend(str(folder))
    install(name, import_module(f"riskpolicy_{name}").plugin)
    made = venue.base()
    made["fees"] = {**FEES, "plugin": name}
    made["plugins"] = {name: parameters}
    (found,) = venue.policy(made).plan.plugged.split([rp_fee(10_000)])
    assert found == wanted


# What a plugin is written for, and hooks that are none.


def test_a_plugin_for_a_later_specification_is_refused():
    class Later(Plain):
        specification = 99

    with pytest.raises(rp.PluginError, match="written for specification 99 of the hooks, and this is 3"):
        hooks_of(Later(), "later")

    class Now(Plain):
        specification = 3

    assert set(hooks_of(Now(), "now")) == {"split_fees"}


def test_a_hook_without_its_decorator_is_told():
    class Bare(Plain):
        def rank_adl(self, candidates):
            return [0 for _ in candidates]

    with pytest.raises(rp.PluginError, match=r"(?s)has `rank_adl`, which is not marked.*decorate it"):
        hooks_of(Bare(), "bare")


def test_a_misspelt_hook_is_told_with_the_right_one():
    class Wrong:
        @rp.hookimpl
        def rank_adls(self, candidates):
            return [0 for _ in candidates]

    with pytest.raises(rp.PluginError, match=r"(?s)implements `rank_adls`, which is no hook.*did you mean `rank_adl`"):
        hooks_of(Wrong(), "wrong")


def test_what_a_plugin_raises_is_told_with_its_line():
    class Raises:
        @rp.hookimpl
        def split_fees(self, fees):
            return [1 // 0 for _ in fees]

    with pytest.raises(rp.PluginError, match=r"raised ZeroDivisionError: .* \(test_parameters.py, line \d+\)"):
        hooks_of(Raises(), "raises")["split_fees"].call(fees=[rp_fee(1)])


def test_funds_that_the_kit_is_told_of_pay_no_rebates():
    from riskpolicy.testing.conformance import check_plugin

    class Rebates:
        @rp.hookimpl
        def split_fees(self, fees):
            return [{"main": fee.amount} for fee in fees]

    assert not check_plugin(Rebates()).broken
    (broken,) = check_plugin(Rebates(), funds=["main"]).broken
    assert "has the fund `main` pay" in broken.says


def test_text_stays_text_and_numbers_become_what_a_field_holds(install):
    @dataclass(frozen=True)
    class Typed(Shares):
        names: frozenset[str] = frozenset()
        word: str = "x"
        most: int = 1
        rate: float = 0.5
        parts: tuple[int, ...] = ()
        anything: object = None

    seen = []

    class Seen(Typed):
        @rp.hookimpl
        def configured(self, parameters):
            seen.append(with_parameters(self, parameters))
            return seen[-1]

    install("shares", Seen())
    venue.policy(rules(names=["007", "1.50", 7], word="0042", most=500, rate="5%", parts=[1, 2], anything="y", share=1))
    (made,) = seen
    assert (made.names, made.word, made.most, made.rate) == ({"007", "1.50", "7"}, "0042", 500, 0.05)
    assert (made.parts, made.anything, made.share) == ((1, 2), "y", 1)


def test_a_plugin_is_configured_once_for_all_its_hooks(install):
    made = []

    class Both(Shares):
        @rp.hookimpl
        def configured(self, parameters):
            made.append(with_parameters(self, parameters))
            return made[-1]

        @rp.hookimpl
        def rank_adl(self, candidates):
            return [0 for _ in candidates]

    install("shares", Both())
    ruleset = rules(share="25%")
    ruleset["deleveraging"]["plugin"] = "shares"
    venue.policy(ruleset)
    assert len(made) == 1


def test_a_class_is_no_plugin(install):
    class Class(Shares):
        @rp.hookimpl
        def configured(self, parameters):
            return Shares if parameters else self

    install("shares", Class())
    with pytest.raises(rp.PluginError, match="return an object with the hooks"):
        venue.policy(rules(share="25%"))
