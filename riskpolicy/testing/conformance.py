"""The conformance kit: any plugin held to the laws that it declares, over generated books.

A law that fails is shown by the smallest book that breaks it. Needs hypothesis, which comes with `riskpolicy[test]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from riskpolicy.engines.core.adl import Candidate, Demand
from riskpolicy.engines.core.fees import FeeDue
from riskpolicy.errors import Finding, PluginError, RiskPolicyError
from riskpolicy.hooks.resolve import Hooked, hooks_of, installed_hooks
from riskpolicy.hooks.verified import allocating, ranking, split_fault
from riskpolicy.numbers import fraction_text
from riskpolicy.testing.laws import law

_KINDS = ("maker", "taker", "liquidation", "deleveraging")


@dataclass(frozen=True, slots=True)
class Broken:
    """A law that does not hold: what happened, and the smallest book that shows it, as text."""

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
            lines += [f"{self.plugin}: {b.hook} breaks `{b.law}`: {b.says}", b.book]
        return "\n".join(lines)


def check_plugin(plugin: str | object, *, examples: int = 200, seed: int = 0) -> Report:
    """Hold a plugin, by its installed name or as the object itself, to what its hooks must keep and to its own laws.

    `examples` books are tried for each law, the same ones for one seed. PluginError where the plugin implements none of
    rank_adl, allocate_adl and split_fees, or where hypothesis is not installed.
    """
    try:
        import hypothesis  # noqa: F401
    except ModuleNotFoundError:
        hint = "pip install riskpolicy[test]"
        raise PluginError(Finding("plugin_broken", "the conformance kit needs hypothesis", hint)) from None
    name = plugin if isinstance(plugin, str) else type(plugin).__name__
    hooks = installed_hooks(plugin) if isinstance(plugin, str) else hooks_of(plugin, name)
    checks: list[tuple[str, str, Any, Callable[[Any], str | None]]] = []
    if "allocate_adl" in hooks:
        checks += _of_allocation(hooks["allocate_adl"])
    if "rank_adl" in hooks:
        checks += _of_ranking(hooks["rank_adl"])
    if "split_fees" in hooks:
        checks += _of_split(hooks["split_fees"])
    if not checks:
        message = f"plugin `{name}` implements no hook that has laws"
        raise PluginError(Finding("missing_hook", message, "rank_adl, allocate_adl and split_fees have"))
    held: list[tuple[str, str]] = []
    broken: list[Broken] = []
    for hook, of, strategy, check in checks:
        found = _smallest(strategy, check, examples, seed)
        if found is None:
            held.append((hook, of))
        else:
            broken.append(Broken(hook, of, found[1], found[0]))
    return Report(name, tuple(held), tuple(broken))


def conforms(plugin: str | object, *, examples: int = 200, seed: int = 0) -> Report:
    """Return the report of `check_plugin`; AssertionError with it where a law is broken. For a plugin's own tests."""
    report = check_plugin(plugin, examples=examples, seed=seed)
    if report.broken:
        raise AssertionError(str(report))
    return report


def _of_allocation(hooked: Hooked) -> list[tuple[str, str, Any, Callable[[Any], str | None]]]:
    allocate = allocating(replace(hooked, laws=()))
    declared = hooked.laws

    def holding(of: str) -> Callable[[Any], str | None]:
        return lambda book: law(of, declared)(allocate, *book)

    return [("allocate_adl", of, books(), holding(of)) for of in ("always", *declared)]


def _of_ranking(hooked: Hooked) -> list[tuple[str, str, Any, Callable[[Any], str | None]]]:
    rank = ranking(hooked)

    def repeatable(book: tuple[Demand, tuple[Candidate, ...]]) -> str | None:
        demand, candidates = book
        first = list(rank(demand, candidates))
        if list(rank(demand, candidates)) != first:
            return "the same candidates get other scores the second time"
        if list(rank(demand, candidates[::-1]))[::-1] != first:
            return "the order of the candidates changes their scores"
        return None

    return [("rank_adl", "exact and repeatable", books(), repeatable)]


def _of_split(hooked: Hooked) -> list[tuple[str, str, Any, Callable[[Any], str | None]]]:
    def exactly(fees: Sequence[FeeDue]) -> str | None:
        found = hooked.call(fees=fees)
        if not isinstance(found, Sequence) or len(found) != len(fees):
            return "it does not answer for every fee"
        for fee, parts in zip(fees, found, strict=True):
            if not all(type(x) is int for x in parts.values()):
                return f"parts of a {fee.kind} fee are not whole quanta: {parts}"
            if sum(parts.values()) != fee.amount:
                return f"{sum(parts.values())} of a {fee.kind} fee of {fee.amount} quanta is given away"
            if fee.amount > 0 and any(x < 0 for x in parts.values()):
                return f"somebody pays for a {fee.kind} fee of {fee.amount} quanta: {parts}"
            # What a resolution would refuse must not pass here.
            if (says := split_fault(fee, parts)) is not None:
                return says
        if hooked.call(fees=fees) != found:
            return "the same fees are split in another way the second time"
        return None

    return [("split_fees", "exact", fees_due(), exactly)]


def _smallest(strategy: Any, check: Callable[[Any], str | None], examples: int, seed: int) -> tuple[str, str] | None:
    """Return the smallest drawn book that breaks a check, as text, and what it says; None where none does."""
    from hypothesis import HealthCheck, given, settings
    from hypothesis import seed as seeded

    last: list[tuple[Any, str]] = []

    def hold(book: Any) -> None:
        try:
            says = check(book)
        except RiskPolicyError as error:
            says = str(error).splitlines()[0]
        if says is not None:
            last.append((book, says))
            raise AssertionError(says)

    decorate: Any = given
    run = decorate(strategy)(hold)
    run = settings(
        max_examples=examples, database=None, deadline=None, print_blob=False, report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )(run)  # fmt: skip
    try:
        seeded(seed)(run)()
    except AssertionError:
        book, says = last[-1]
        return _table(book), says
    return None


def books() -> Any:
    """Return a strategy of (demand, candidates): up to six positions on one side, ranked, in whole lots or halves."""
    from hypothesis import strategies as st

    @st.composite
    def drawn(draw: Any) -> tuple[Demand, tuple[Candidate, ...]]:
        side = draw(st.sampled_from(["long", "short"]))
        sign = 1 if side == "long" else -1
        mark = Fraction(100)
        price = mark - sign * draw(st.sampled_from([10, 5, 0, 20]))
        lot = draw(st.sampled_from([Fraction(1), Fraction(1, 2)]))
        contracts = draw(st.integers(1, 40)) * lot
        demand = Demand(
            "BTC", side, contracts, price, mark, lot, Fraction(1), False, max(Fraction(0), sign * (mark - price)) *
            contracts, draw(st.integers(0, 3)), draw(st.integers(0, 3)),
        )  # fmt: skip
        found = []
        for k in range(draw(st.integers(1, 6))):
            size = draw(st.integers(0, 14)) * lot
            cap = size if draw(st.booleans()) else min(size, draw(st.integers(0, 14)) * lot)
            entry = Fraction(draw(st.integers(60, 140)))
            equity = Fraction(draw(st.integers(-20, 300)))
            profit = sign * size * (mark - entry)
            found.append(
                Candidate(f"A{k}", size, cap, entry, profit, size * mark, equity, equity - profit, profit, k + 1)
            )
        order = sorted(found, key=lambda c: (-(c.score or Fraction(0)), c.account))
        place = {c.account: rank for rank, c in enumerate(order, 1)}
        return demand, tuple(replace(c, rank=place[c.account]) for c in found)

    return drawn()


def fees_due() -> Any:
    """Return a strategy of up to four fees, rebates among them."""
    from hypothesis import strategies as st

    amounts = st.one_of(st.integers(-20, 200), st.integers(10**6, 10**9))
    fee = st.builds(
        FeeDue, st.sampled_from(["A", "B"]), st.just("USDC"), amounts, st.sampled_from(_KINDS),
        st.sampled_from(["BTC", None]), st.just("fees"),
    )  # fmt: skip
    return st.lists(fee, min_size=1, max_size=4)


def _table(book: Any) -> str:
    """Return a book as a table."""
    if isinstance(book, list):
        fees = [("account", "kind", "amount"), *((fee.account, fee.kind, str(fee.amount)) for fee in book)]
        return _aligned(fees)
    demand, candidates = book
    head = (
        f"{fraction_text(demand.contracts)} contracts from {demand.side}s at {fraction_text(demand.price)}, "
        f"mark {fraction_text(demand.mark_price)}, lot {fraction_text(demand.lot)}, event {demand.event}, "
        f"seed {demand.seed}"
    )
    rows: list[tuple[str, ...]] = [("account", "contracts", "cap", "entry", "profit", "equity", "rank")]
    for c in candidates:
        numbers = (c.contracts, c.cap, c.entry_price, c.unrealized_pnl, c.equity)
        rows.append((c.account, *map(fraction_text, numbers), str(c.rank)))
    return f"{head}\n{_aligned(rows)}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join(
        "  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
    )
