"""Whatever is wrong with a plugin is an error at load, with a code and what to do."""

from pathlib import Path

import pluggy
import pytest

import riskpolicy as rp
from riskpolicy.hooks import resolve_plugins
from riskpolicy.hooks.specs import Hooks


def function(**changes):
    given = {"name": "half", "parameters": ("money",), "result": "money", "meaning": "half of it"}
    forms = {"value": lambda x: x / 2, "exact": lambda x: x / 2}
    return rp.ExpressionFunction(**{**given, **forms, **changes})


class Good:
    @rp.hookimpl
    def expression_functions(self):
        return [function()]


def codes(names=("mine",), allowed=None):
    with pytest.raises(rp.PluginError) as caught:
        resolve_plugins(names, allowed)
    assert all(finding.message for finding in caught.value.findings)
    return caught.value.codes


def test_a_good_plugin(install):
    install("mine", Good())
    resolved = resolve_plugins(["mine"])
    assert [f.name for f in resolved.functions] == ["half"]
    assert resolved.versions == {"mine": "unknown"}


def test_nothing_is_loaded_that_is_not_named(install):
    install("other", RuntimeError("must not be imported"))
    assert resolve_plugins([]).functions == ()


def test_missing(install):
    install("mine", Good())
    assert codes(["mien"]) == ("unknown_plugin",)


def test_doubled(install):
    install("mine", Good(), "one:plugin")
    install("mine", Good(), "two:plugin")
    assert codes() == ("doubled_plugin",)


def test_not_allowed(install):
    install("mine", Good())
    assert codes(allowed=["other"]) == ("plugin_not_allowed",)
    assert codes(allowed=[]) == ("plugin_not_allowed",)
    assert resolve_plugins(["mine"], ["mine"]).functions


def test_broken(install):
    install("mine", ImportError("no module named x"))
    assert codes() == ("plugin_broken",)


def test_raising(install):
    class Raising:
        @rp.hookimpl
        def expression_functions(self):
            raise RuntimeError("boom")

    install("mine", Raising())
    assert codes() == ("plugin_broken",)


def test_without_the_hook(install):
    install("mine", object())
    assert codes() == ("missing_hook",)


def test_misspelt(install):
    class Misspelt:
        @rp.hookimpl
        def expression_function(self):
            return []

    install("mine", Misspelt())
    assert codes() == ("unknown_hook",)


def test_other_arguments(install):
    class Other:
        @rp.hookimpl
        def expression_functions(self, _units):
            return []

    install("mine", Other())
    assert codes() == ("hook_signature",)


def test_arguments_with_defaults(install):
    class Default:
        @rp.hookimpl
        def expression_functions(self, _units=None):
            return []

    install("mine", Default())
    assert codes() == ("hook_signature",)


@pytest.mark.parametrize(
    "given",
    [
        None,
        5,
        [5],
        [function(name="max")],
        [function(name="notional")],
        [function(name="settle")],
        [function(name="not a word")],
        [function(parameters=("dollars",))],
        [function(result="")],
        [function(parameters=())],
        [function(exact=None)],
        [function(), function()],
    ],
    ids=range(12),
)
def test_bad_results(install, given):
    class Bad:
        @rp.hookimpl
        def expression_functions(self):
            return given

    install("mine", Bad())
    assert codes() == ("hook_result",)


def test_two_plugins_with_one_function(install):
    install("mine", Good())
    install("yours", Good())
    assert codes(["mine", "yours"]) == ("hook_result",)


def test_every_hook_is_specified_documented_and_without_defaults():
    manager = pluggy.PluginManager("riskpolicy")
    manager.add_hookspecs(Hooks)
    hooks = [name for name in dir(Hooks) if not name.startswith("_")]
    assert hooks
    for name in hooks:
        specification = getattr(Hooks, name)
        assert manager.parse_hookspec_opts(Hooks, name) is not None
        assert specification.__doc__
        assert not specification.__defaults__
        assert "return" in specification.__annotations__


def test_every_hook_has_its_section_in_the_documentation():
    page = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text()
    for name in (name for name in dir(Hooks) if not name.startswith("_")):
        assert f"## `{name}`" in page
