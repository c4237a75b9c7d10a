"""The conformance kit: any plugin held to the laws that it declares, over generated books.

A law that fails is shown by the smallest book that breaks it. Needs hypothesis, which comes with `riskpolicy[test]`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from riskpolicy.engines.core.fees import FeeDue
from riskpolicy.engines.execution import Execution
from riskpolicy.errors import Finding, PluginError, RiskPolicyError
from riskpolicy.hooks.resolve import Hooked, checked_functions, hooks_of, installed_hooks
from riskpolicy.hooks.verified import allocating, executing, ranking, splitting
from riskpolicy.numbers import fraction_text
from riskpolicy.testing.books import Ask, Book, asks, books, fees_due, table
from riskpolicy.testing.laws import law
from riskpolicy.vocabulary import ExpressionFunction

#: Laws that hold, or fail, where a position may be less than a lot; the others compare books in whole lots.
_ODD = ("always", "contracts_opposite", "profit_only", "exhaustive")
#: How far the two forms of an expression function that says no bound may be apart, of the larger of 1 and the result.
_APART = Fraction(1, 10**6)


@dataclass(frozen=True, slots=True)
class Broken:
    """A law that does not hold: what happened, and the smallest book that shows it, as text; empty where none does."""

    hook: str
    law: str
    says: str
    book: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a plugin was held to: (hook, law) that hold, and those that are broken."""

    plugin: str
    held: tuple[tuple[str, str], ...]
    broken: tuple[Broken, ...]

    def __str__(self) -> str:
        lines = [f"{self.plugin}: {hook} keeps `{name}`" for hook, name in self.held]
        for b in self.broken:
            lines += [f"{self.plugin}: {b.hook} breaks `{b.law}`: {b.says}", *filter(None, [b.book])]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Check:
    """What one hook is held to: a strategy of what it is asked, and what is wrong with its answer, None for nothing."""

    hook: str
    law: str
    strategy: Any
    says: Callable[[Any], str | None]


def check_plugin(plugin: str | object, *, examples: int = 200, seed: int = 0, funds: Collection[str] = ()) -> Report:
    """Hold a plugin, by its installed name or as the object itself, to what its hooks must keep and to its own laws.

    `examples` books are tried for each law, the same ones for one seed; 1 or more. `funds` are the ids of the ruleset's
    funds, which pay no rebates. PluginError where the plugin
    implements no hook, or where hypothesis is not installed.
    """
    try:
        import hypothesis  # noqa: F401
    except ModuleNotFoundError:
        hint = "pip install riskpolicy[test]"
        raise PluginError(Finding("plugin_broken", "the conformance kit needs hypothesis", hint)) from None
    name = plugin if isinstance(plugin, str) else _name(plugin)
    hooks = installed_hooks(plugin) if isinstance(plugin, str) else hooks_of(plugin, name)
    checks = [check for hook, of in _CHECKS.items() if hook in hooks for check in of(hooks[hook], funds)]
    if not checks:
        message = f"plugin `{name}` implements no hook that has laws"
        raise PluginError(Finding("missing_hook", message, f"hooks with laws: {', '.join(_CHECKS)}"))
    held: list[tuple[str, str]] = []
    broken: list[Broken] = []
    for check in checks:
        found = _smallest(check, examples, seed)
        if found is None:
            held.append((check.hook, check.law))
        else:
            broken.append(Broken(check.hook, check.law, *found))
    return Report(name, tuple(held), tuple(broken))


def conforms(plugin: str | object, *, examples: int = 200, seed: int = 0, funds: Collection[str] = ()) -> Report:
    """Return the report of `check_plugin`; AssertionError with it where a law is broken. For a plugin's own tests."""
    report = check_plugin(plugin, examples=examples, seed=seed, funds=funds)
    if report.broken:
        raise AssertionError(str(report))
    return report


def _name(plugin: object) -> str:
    """Return what an object is called: a module its name, anything else that of its class."""
    name = getattr(plugin, "__name__", None)
    return name if isinstance(name, str) else type(plugin).__name__


def _of_allocation(hooked: Hooked, _: Collection[str]) -> Iterator[_Check]:
    allocate = allocating(replace(hooked, laws=()))

    def holding(of: str) -> Callable[[Book], str | None]:
        return lambda book: law(of, hooked.laws)(allocate, *book)

    for of in ("always", *hooked.laws):
        yield _Check("allocate_adl", of, books(odd=of in _ODD), holding(of))


def _of_ranking(hooked: Hooked, _: Collection[str]) -> Iterator[_Check]:
    rank = ranking(hooked)

    def repeatable(book: Book) -> str | None:
        demand, candidates = book
        first = list(rank(demand, candidates))
        if list(rank(demand, candidates)) != first:
            return "the same candidates get other scores the second time"
        if list(rank(demand, candidates[::-1]))[::-1] != first:
            return "the order of the candidates changes their scores"
        return None

    yield _Check("rank_adl", "exact and repeatable", books(odd=True), repeatable)


def _of_split(hooked: Hooked, funds: Collection[str]) -> Iterator[_Check]:
    split = splitting(hooked, funds)

    def exactly(fees: Sequence[FeeDue]) -> str | None:
        # What a resolution would refuse does not pass here: the split is the verified one.
        found = list(split(fees))
        if list(split(fees)) != found:
            return "the same fees are split in another way the second time"
        for fee, parts in zip(fees, found, strict=True):
            # How many fees are asked at once is the engine's business.
            (alone,) = split([fee])
            if alone != parts:
                return f"a {fee.kind} fee of {fee.amount} quanta goes {dict(alone)} alone, {dict(parts)} among others"
        return None

    yield _Check("split_fees", "exact", fees_due(), exactly)


def _of_execution(hooked: Hooked, _: Collection[str]) -> Iterator[_Check]:
    def quoted(model: Execution, ask: Ask, times: int = 1) -> list[tuple[Fraction, Fraction]]:
        fills = model.quote("BTC", ask.quantity * times, ask.mark, ask.limit)
        return [(fill.quantity, fill.price) for fill in fills]

    def repeatable(ask: Ask) -> str | None:
        model = executing(hooked, ask.markets)
        first = quoted(model, ask)
        if quoted(model, ask) != first:
            return "the same order gets other fills the second time, though none were taken"
        model.take("BTC", model.quote("BTC", ask.quantity, ask.mark, ask.limit))
        if quoted(executing(hooked, ask.markets), ask) != first:
            return "what was taken of one model is missing in the next one of the same markets"
        return None

    def grows(ask: Ask) -> str | None:
        model = executing(hooked, ask.markets)
        once, twice = (sum((abs(q) for q, _ in quoted(model, ask, k)), Fraction(0)) for k in (1, 2))
        if twice < once:
            return f"{fraction_text(once)} contracts are filled, but {fraction_text(twice)} of an order twice as large"
        return None

    yield _Check("execution", "repeatable", asks(), repeatable)
    yield _Check("execution", "a larger order fills no less", asks(), grows)


def _of_functions(hooked: Hooked, _: Collection[str]) -> Iterator[_Check]:
    from hypothesis import strategies as st

    numbers = st.one_of(st.integers(-5, 5).map(float), st.floats(-1e6, 1e6, allow_nan=False, allow_subnormal=False))

    def agreeing(function: ExpressionFunction) -> Callable[[tuple[float, ...]], str | None]:
        return lambda arguments: _apart(function, arguments)

    functions: list[ExpressionFunction] = []
    refused: str | None = None
    try:
        functions = checked_functions(hooked.plugin, hooked.call())
    except PluginError as error:
        refused = str(error).splitlines()[0]
    yield _Check("expression_functions", "a ruleset loads them", st.none(), lambda _: refused)
    for function in functions:
        strategy = st.tuples(*(numbers for _ in function.parameters))
        yield _Check("expression_functions", f"{function.name}: both forms agree", strategy, agreeing(function))


def _apart(function: ExpressionFunction, arguments: tuple[float, ...]) -> str | None:
    """Return how the float form of a function is further from the exact one than its bound, None where it is not."""
    columns = [np.array([x, x]) for x in arguments]
    values = function.value(*columns)
    if np.shape(values) != (2,):
        return f"`value` returns shape {np.shape(values)} for two rows"
    value = float(values[0])
    try:
        found: object = function.exact(*(Fraction(x) for x in arguments))
    except (ZeroDivisionError, ValueError):
        return None if np.isnan(value) else f"`value` is {value!r} where `exact` is undefined"
    if isinstance(found, bool) or not isinstance(found, Fraction | int):
        return f"`exact` returns {found!r}, which is no fraction"
    exact = Fraction(found)
    bound = _APART * max(Fraction(1), abs(exact))
    if function.bound is not None:
        said = float(function.bound(*columns, *(np.zeros(2) for _ in columns))[0])
        if np.isinf(said):
            return None
        if not said >= 0:
            return f"`bound` is {said!r}"
        bound = Fraction(said)
    if not np.isfinite(value):
        return f"`value` is {value!r} where `exact` is {float(exact):.12g}"
    if abs(Fraction(value) - exact) > bound:
        return f"`value` is {value!r} and `exact` {float(exact):.17g}, further apart than {float(bound):.3g}"
    return None


#: What each hook is held to.
_CHECKS: dict[str, Callable[[Hooked, Collection[str]], Iterator[_Check]]] = {
    "rank_adl": _of_ranking,
    "allocate_adl": _of_allocation,
    "split_fees": _of_split,
    "execution": _of_execution,
    "expression_functions": _of_functions,
}


def _smallest(check: _Check, examples: int, seed: int) -> tuple[str, str] | None:
    """Return what an answer breaks and the smallest drawn book that shows it, as text; None where none does."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from hypothesis.errors import Flaky

    last: list[tuple[Any, str]] = []

    def hold(book: Any) -> None:
        try:
            says = check.says(book)
        except RiskPolicyError as error:
            says = str(error).splitlines()[0]
        except Exception as error:
            # Whatever an answer of the wrong form makes of the check is the plugin's too.
            says = f"its answer cannot be checked: {type(error).__name__}: {error}"
        if says is not None:
            last.append((book, says))
            raise AssertionError(says)

    decorate: Any = given
    run = decorate(check.strategy)(hold)
    run = settings(
        max_examples=examples, database=None, deadline=None, print_blob=False, report_multiple_bugs=False,
        derandomize=False, phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck),
    )(run)  # fmt: skip
    try:
        seeded(seed)(run)()
    except Flaky:
        book, says = last[-1]
        return f"{says} (not every time: it keeps a state, or draws by chance)", table(book)
    except AssertionError:
        book, says = last[-1]
        return says, table(book)
    return None
