"""Whatever is wrong with a plugin is an error at load, with a code and what to do."""

from pathlib import Path

import pluggy
import pytest

import riskpolicy as rp
from riskpolicy.hooks import resolve_hook, resolve_plugins
from riskpolicy.hooks.resolve import installed_hooks
from riskpolicy.hooks.specs import HOOKS, Hooks
from tests import venue
from tests.engines.test_closing import rules


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


# --- one hook of one plugin, named where the rule stands ---


def ranker(**methods):
    """A plugin with these methods as its hooks."""
    return type("Ranker", (), {name: rp.hookimpl(method) for name, method in methods.items()})()


def rank(self, candidates):
    return [c.contracts for c in candidates]


def test_a_hook_by_its_plugins_name(install):
    install("mine", ranker(rank_adl=rank, laws=lambda self: ["smooth", "exhaustive"]))
    found = resolve_hook("mine", "rank_adl", ["mine"])
    assert (found.plugin, found.version, found.hook, found.laws) == (
        "mine", "unknown", "rank_adl", ("exhaustive", "smooth"),
    )  # fmt: skip
    assert found.call(demand=None, candidates=[]) == []
    assert [*installed_hooks("mine")] == ["rank_adl"]


def test_laws_written_as_one_text_are_no_list_of_letters(install):
    install("mine", ranker(rank_adl=rank, laws=lambda self: "smooth"))
    with pytest.raises(rp.PluginError, match="`laws` returned 'smooth'"):
        resolve_hook("mine", "rank_adl")


class Twice:
    @rp.hookimpl(specname="rank_adl")
    def one(self, candidates):
        return []

    @rp.hookimpl(specname="rank_adl")
    def two(self, candidates):
        return []


class Wrapper:
    @rp.hookimpl(wrapper=True)
    def rank_adl(self, candidates):
        return (yield)


def raising(self):
    raise ValueError("boom")


@pytest.mark.parametrize(
    ("plugin", "hook", "code"),
    [
        (ranker(rank_adl=rank), "allocate_adl", "missing_hook"),
        (ranker(rank_adl=rank), "rank_ald", "unknown_hook"),
        (ranker(rank_ald=rank), "rank_adl", "unknown_hook"),
        (ranker(rank_adl=lambda self, winners: []), "rank_adl", "hook_signature"),
        (ranker(rank_adl=lambda self, candidates=(): []), "rank_adl", "hook_signature"),
        (Wrapper(), "rank_adl", "hook_signature"),
        (Twice(), "rank_adl", "doubled_hook"),
        (ranker(rank_adl=rank, laws=raising), "rank_adl", "plugin_broken"),
        (ranker(rank_adl=rank, laws=lambda self: 5), "rank_adl", "hook_result"),
        (ranker(rank_adl=rank, laws=lambda self: "smooth"), "rank_adl", "hook_result"),
        (ranker(rank_adl=rank, laws=lambda self: None), "rank_adl", "hook_result"),
        (ranker(rank_adl=rank, laws=lambda self: ["smoth"]), "rank_adl", "hook_result"),
        (ImportError("no module named x"), "rank_adl", "plugin_broken"),
    ],
    ids=range(13),
)
def test_a_hook_that_can_not_be_had(install, plugin, hook, code):
    install("mine", plugin)
    with pytest.raises(rp.PluginError) as caught:
        resolve_hook("mine", hook)
    assert caught.value.codes == (code,)
    assert all(finding.hint for finding in caught.value.findings)


@pytest.mark.parametrize(("names", "code"), [(["mien"], "unknown_plugin"), (["mine"], "doubled_plugin")])
def test_a_plugin_that_is_not_there_once(install, names, code):
    install("mine", ranker(rank_adl=rank), "one:plugin")
    install("mine", ranker(rank_adl=rank), "two:plugin")
    with pytest.raises(rp.PluginError) as caught:
        resolve_hook(names[0], "rank_adl")
    assert caught.value.codes == (code,)
    with pytest.raises(rp.PluginError) as caught:
        resolve_hook(names[0], "rank_adl", ["another"])
    assert caught.value.codes == ("plugin_not_allowed",)


@pytest.mark.parametrize(
    ("change", "written"),
    [
        (lambda made: made["deleveraging"].update(plugin="wrong"), "plugin"),
        (lambda made: made["deleveraging"]["take"].update(rule="plugin", plugin="wrong"), "plugin"),
        (lambda made: made["liquidation"].update(execution="wrong"), "execution"),
        (lambda made: made.update(fees={"tiers": [{"id": "a", "maker": 0, "taker": 0}], "plugin": "wrong"}), "plugin"),
    ],
)
def test_an_error_at_load_shows_where_the_plugin_is_named(install, change, written):
    install("wrong", ranker(laws=lambda self: ()))
    made = rules()
    change(made)
    text = venue.text(made)
    with pytest.raises(rp.PluginError) as caught:
        rp.loads(text)
    (finding,) = caught.value.findings
    assert finding.code == "missing_hook"
    line = text.splitlines()[finding.place.line - 1]
    assert f"{written}: wrong" in line.replace('"', "")
    assert line[finding.place.column - 1 :].lstrip('"').startswith("wrong")


def test_the_hooks_by_name_are_all_that_there_are():
    assert sorted(HOOKS) == [name for name in dir(Hooks) if not name.startswith("_")]
