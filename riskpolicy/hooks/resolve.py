"""From the names in a ruleset to plain callables; whatever is wrong with a plugin is an error at load."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import pluggy

from riskpolicy.engines.core.adl import LAWS
from riskpolicy.errors import Finding, PluginError, one_of, suggestion
from riskpolicy.hooks.specs import GROUP, HOOKS, SPECIFICATION, Hooks
from riskpolicy.vocabulary import CONSTANTS, FUNCTIONS, NAMES, ExpressionFunction

#: The parameters of plugins, by name.
Parameters: TypeAlias = Mapping[str, Mapping[str, object]]

_UNITS = ("money", "price", "contracts", "ratio", "time")


@dataclass(frozen=True, slots=True)
class Resolved:
    """What the plugins of a ruleset gave, and their versions by name."""

    functions: tuple[ExpressionFunction, ...]
    versions: Mapping[str, str]


def resolve_plugins(
    names: Sequence[str], allowed: Collection[str] | None = None, parameters: Parameters = MappingProxyType({})
) -> Resolved:
    """Return what the named plugins implement. Nothing is imported that is not named, installed and allowed.

    `allowed` None allows every installed plugin; `parameters` are those of plugins, by name. PluginError for one that
    is missing, doubled, not allowed or broken, that misspells a hook, has other arguments than the hook or defaults, or
    implements none.
    """
    if not names:
        return Resolved((), {})
    chosen = {name: _entry(name, allowed) for name in dict.fromkeys(names)}
    functions: list[ExpressionFunction] = []
    for name, entry in chosen.items():
        functions += _functions(name, _version(entry), _plugin(name, entry, parameters.get(name)))
    twice = {f.name for f in functions if sum(g.name == f.name for g in functions) > 1}
    if twice:
        message = f"more than one plugin has a function {one_of(sorted(twice))}"
        raise PluginError(Finding("hook_result", message, "name only one of them in `functions`"))
    return Resolved(tuple(functions), {name: _version(entry) for name, entry in chosen.items()})


@dataclass(frozen=True, slots=True)
class Hooked:
    """One hook of one plugin: what to call, and which laws the plugin declares."""

    hook: str
    plugin: str
    version: str
    call: Callable[..., Any]
    laws: tuple[str, ...] = ()

    def fault(self, message: str, hint: str = "report it to its author") -> PluginError:
        """Return the error of a plugin that returned what it should not."""
        return PluginError(Finding("hook_result", f"plugin `{self.plugin}` {self.version}: {message}", hint))


def resolve_hook(
    plugin: str, hook: str, allowed: Collection[str] | None = None, parameters: Parameters = MappingProxyType({}),
    made: dict[str, pluggy.PluginManager] | None = None,
) -> Hooked:  # fmt: skip
    """Return a hook of a plugin, as its parameters configure it; once for all its hooks that are looked up with `made`.

    PluginError as in `resolve_plugins`, and where the plugin does not implement it.

    What it returns is not yet verified: see hooks.verified.
    """
    if hook not in HOOKS:
        hint = suggestion(hook, HOOKS) or f"hooks: {one_of(HOOKS)}"
        raise PluginError(Finding("unknown_hook", f"there is no hook `{hook}`", hint))
    entry = _entry(plugin, allowed)
    managers = {} if made is None else made
    if plugin not in managers:
        managers[plugin] = _plugin(plugin, entry, parameters.get(plugin))
    return _hooked(plugin, _version(entry), managers[plugin], hook)


def hooks_of(plugin: object, name: str) -> dict[str, Hooked]:
    """Return every hook that an object implements, by name: a plugin that is not installed, as its tests have it."""
    return _all_hooks(name, "not installed", _manager(name, plugin))


def installed_hooks(plugin: str, allowed: Collection[str] | None = None) -> dict[str, Hooked]:
    """Return every hook that an installed plugin implements, by name; PluginError as in `resolve_plugins`."""
    entry = _entry(plugin, allowed)
    return _all_hooks(plugin, _version(entry), _plugin(plugin, entry))


def _all_hooks(plugin: str, version: str, manager: pluggy.PluginManager) -> dict[str, Hooked]:
    able = [
        hook for hook in HOOKS if hook not in ("laws", "configured") and getattr(manager.hook, hook).get_hookimpls()
    ]
    return {hook: _hooked(plugin, version, manager, hook) for hook in able}


def _hooked(plugin: str, version: str, manager: pluggy.PluginManager, hook: str) -> Hooked:
    caller = getattr(manager.hook, hook)
    if not caller.get_hookimpls():
        message = f"plugin `{plugin}` does not implement `{hook}`"
        raise PluginError(Finding("missing_hook", message, "name another plugin, or implement the hook"))

    def call(**given: Any) -> Any:
        return _called(plugin, version, manager, hook, given)

    return Hooked(hook, plugin, version, call, _laws(plugin, version, manager))


def _called(plugin: str, version: str, manager: pluggy.PluginManager, hook: str, given: Mapping[str, Any]) -> Any:
    """Call the one implementation of a hook; PluginError where it raises."""
    try:
        results = getattr(manager.hook, hook)(**given)
    except Exception as error:
        message = f"plugin `{plugin}` {version}: `{hook}` raised {type(error).__name__}: {error}{_where(error)}"
        raise PluginError(Finding("plugin_broken", message, "report it to its author")) from error
    # pluggy leaves out an implementation that returns None.
    return results[0] if results else None


def _where(error: Exception) -> str:
    """Return the file and line in which an error was raised."""
    # The last frame of its own: libraries that it calls are deeper, pluggy and this package are around it.
    apart = (str(Path(__file__).parents[1]), str(Path(pluggy.__file__).parent), str(Path(inspect.__file__).parent))
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(apart)]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def _laws(plugin: str, version: str, manager: pluggy.PluginManager) -> tuple[str, ...]:
    """Return the laws that a plugin declares, in the order of LAWS; none where it does not say."""
    if not manager.hook.laws.get_hookimpls():
        return ()
    given = _called(plugin, version, manager, "laws", {})
    if isinstance(given, str) or not isinstance(given, Iterable):
        message = f"plugin `{plugin}` {version}: `laws` returned {given!r}"
        raise PluginError(Finding("hook_result", message, 'return a tuple of names, such as ("exhaustive",)'))
    laws = tuple(given)
    unknown = [str(law) for law in laws if law not in LAWS]
    if unknown:
        message = f"plugin `{plugin}` {version} declares the laws {one_of(unknown)}"
        hint = suggestion(unknown[0], LAWS) or f"laws: {one_of(LAWS)}"
        raise PluginError(Finding("hook_result", message, hint))
    return tuple(law for law in LAWS if law in laws)


def _entry(name: str, allowed: Collection[str] | None) -> EntryPoint:
    if allowed is not None and name not in allowed:
        hint = f"allowed: {one_of(sorted(allowed))}" if allowed else "allow it with `plugins=` or `--allow-plugin`"
        raise PluginError(Finding("plugin_not_allowed", f"plugin `{name}` is not allowed here", hint))
    installed = entry_points(group=GROUP)
    found = {entry.value: entry for entry in installed if entry.name == name}
    if not found:
        known = sorted({entry.name for entry in installed})
        hint = suggestion(name, known) or (f"installed: {one_of(known)}" if known else "no plugin is installed")
        raise PluginError(Finding("unknown_plugin", f"no installed plugin is called `{name}`", hint))
    if len(found) > 1:
        message = f"plugin `{name}` is installed twice: {one_of(sorted(found))}"
        raise PluginError(Finding("doubled_plugin", message, "uninstall one of them"))
    return next(iter(found.values()))


def _plugin(name: str, entry: EntryPoint, parameters: Mapping[str, object] | None = None) -> pluggy.PluginManager:
    """Import a plugin into a manager of its own and hold its implementations against the specifications.

    With parameters it is the object that `configured` returns.
    """
    try:
        plugin = entry.load()
    except Exception as error:
        message = f"plugin `{name}` ({entry.value}) cannot be imported: {type(error).__name__}: {error}"
        raise PluginError(Finding("plugin_broken", message, "reinstall it, or report it to its author")) from error
    manager = _manager(name, plugin)
    if parameters is None:
        return manager
    if not manager.hook.configured.get_hookimpls():
        message = f"plugin `{name}` takes no parameters: it does not implement `configured`"
        raise PluginError(Finding("missing_hook", message, "take its parameters out of `plugins`"))
    try:
        made = _called(name, _version(entry), manager, "configured", {"parameters": parameters})
    except PluginError as error:
        if isinstance(error.__cause__, ValueError):
            message = f"plugin `{name}` does not take these parameters: {error.__cause__}"
            raise PluginError(Finding("invalid_value", message, "change them in `plugins`")) from error.__cause__
        raise
    if made is None or isinstance(made, type):
        message = f"plugin `{name}`: `configured` returned {made!r}"
        raise PluginError(Finding("hook_result", message, "return an object with the hooks"))
    return _manager(name, made)


def _manager(name: str, plugin: object) -> pluggy.PluginManager:
    written_for = getattr(plugin, "specification", None)
    if written_for is not None and (not isinstance(written_for, int) or written_for > SPECIFICATION):
        message = (
            f"plugin `{name}` is written for specification {written_for} of the hooks, and this is {SPECIFICATION}"
        )
        raise PluginError(Finding("hook_signature", message, "install a riskpolicy that has it, or an older plugin"))
    manager = pluggy.PluginManager("riskpolicy")
    manager.add_hookspecs(Hooks)
    _plain(name, plugin, manager)
    try:
        manager.register(plugin, name)
    except pluggy.PluginValidationError as error:
        message = f"plugin `{name}`: {str(error).splitlines()[-1].strip()}"
        raise PluginError(Finding("hook_signature", message, "take the hook's arguments, by their names")) from None
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        # pluggy's own message shows the address of the object.
        found = re.match(r"unknown hook '(\w+)'", str(error))
        word = found.group(1) if found else ""
        message = f"plugin `{name}` implements `{word}`, which is no hook" if word else f"plugin `{name}`: {error}"
        hint = suggestion(word, HOOKS) or f"hooks: {one_of(HOOKS)}"
        raise PluginError(Finding("unknown_hook", message, hint)) from None
    for hook in HOOKS:
        if callable(getattr(plugin, hook, None)) and not getattr(manager.hook, hook).get_hookimpls():
            message = f"plugin `{name}` has `{hook}`, which is not marked as an implementation of the hook"
            raise PluginError(Finding("hook_signature", message, "decorate it with `@riskpolicy.hookimpl`"))
    # By `specname` one plugin can implement a hook under several names; only one of them could count.
    twice = [hook for hook in HOOKS if len(getattr(manager.hook, hook).get_hookimpls()) > 1]
    if twice:
        message = f"plugin `{name}` implements {one_of(twice)} more than once"
        raise PluginError(Finding("doubled_hook", message, "keep one implementation"))
    return manager


def _plain(name: str, plugin: Any, manager: pluggy.PluginManager) -> None:
    """Refuse defaults, since releases of pluggy differ in whether they then pass the caller's value, and wrappers."""
    for member in dir(plugin):
        options = manager.parse_hookimpl_opts(plugin, member)
        if options is None:
            continue
        if options.get("wrapper") or options.get("hookwrapper"):
            message = f"plugin `{name}`: `{member}` is a wrapper, and there is nothing that it could wrap"
            raise PluginError(Finding("hook_signature", message, "return the result from a plain method"))
        parameters = inspect.signature(getattr(plugin, member)).parameters.values()
        with_default = [p.name for p in parameters if p.default is not p.empty]
        if with_default:
            message = f"plugin `{name}`: `{member}` has a default for {one_of(with_default)}"
            raise PluginError(Finding("hook_signature", message, "remove the defaults"))


def _functions(name: str, version: str, manager: pluggy.PluginManager) -> list[ExpressionFunction]:
    if not manager.hook.expression_functions.get_hookimpls():
        message = f"plugin `{name}` does not implement `expression_functions`"
        raise PluginError(Finding("missing_hook", message, "take it out of `functions`, or implement the hook"))
    return checked_functions(name, _called(name, version, manager, "expression_functions", {}))


def checked_functions(plugin: str, given: object) -> list[ExpressionFunction]:
    """Return what `expression_functions` of a plugin gave; PluginError where a ruleset could not be loaded with it."""
    if not isinstance(given, Iterable):
        message = f"plugin `{plugin}`: `expression_functions` returned {type(given).__name__}"
        raise PluginError(Finding("hook_result", message, "return a list of ExpressionFunction"))
    try:
        functions = list(given)
    except Exception as error:
        # A hook may be a generator, which runs only here.
        message = f"plugin `{plugin}`: `expression_functions` raised {type(error).__name__}: {error}"
        raise PluginError(Finding("plugin_broken", message, "report it to its author")) from error
    wrong = [fault for function in functions for fault in _faults(function)]
    if not wrong:
        names = [function.name for function in functions]
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        wrong = [f"there is more than one function `{name}`" for name in twice]
    if wrong:
        raise PluginError(Finding("hook_result", f"plugin `{plugin}`: {fault}") for fault in wrong)
    return functions


def _faults(function: object) -> list[str]:
    if not isinstance(function, ExpressionFunction):
        return [f"`{function!r}` is no ExpressionFunction"]
    # What a plugin says is nothing that a type checker knows.
    name: object = function.name
    parameters: object = function.parameters
    if not isinstance(name, str):
        return [f"`{name!r}` cannot name a function: it is no plain word"]
    if not isinstance(parameters, tuple | list):
        return [f"the parameters of `{name}` are {parameters!r}, not a tuple of units"]
    taken = {*FUNCTIONS, *CONSTANTS, *(name for names in NAMES.values() for name in names)}
    faults = []
    if not function.name.isidentifier() or not function.name.isascii() or function.name in taken:
        faults.append(f"`{function.name}` cannot name a function: it is no plain word, or taken")
    unknown = [unit for unit in (*function.parameters, function.result) if unit not in _UNITS]
    if unknown:
        faults.append(f"`{function.name}` has the units {one_of(unknown)}; known are {one_of(_UNITS)}")
    if not function.parameters:
        faults.append(f"`{function.name}` takes no arguments")
    forms: tuple[object, ...] = (function.value, function.exact)
    if not all(callable(form) for form in forms):
        faults.append(f"`{function.name}` needs the two forms `value` and `exact`")
    return faults


def _version(entry: EntryPoint) -> str:
    return entry.dist.version if entry.dist is not None else "unknown"
