"""Policy: the face of the library. Load a ruleset, evaluate snapshots, explain, find the rule in the file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from riskpolicy.compiler import compile_ruleset
from riskpolicy.engines.check import Order, check_order, check_orders, order_gate
from riskpolicy.engines.core.adl import AllocateAdl
from riskpolicy.engines.core.changes import Amount
from riskpolicy.engines.core.reasons import Reason
from riskpolicy.engines.core.tables import ResultTable, Value
from riskpolicy.engines.core.verdict import Verdict
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.engines.explain import explain_account
from riskpolicy.engines.heal import Healing, heal_account, margin_modes
from riskpolicy.engines.policies import controller
from riskpolicy.engines.policies import policy as policy_of
from riskpolicy.errors import Place, PluginError, QueryError, RulesetError
from riskpolicy.hooks import Hooked, resolve_hook, resolve_plugins
from riskpolicy.hooks.verified import allocating, executing, ranking, splitting
from riskpolicy.numbers import parameter
from riskpolicy.plan.plan import Plan, Plugged
from riskpolicy.ruleset.catalog import find_version, is_path
from riskpolicy.ruleset.loader import LoadedRuleset, load_ruleset
from riskpolicy.ruleset.places import rule_place
from riskpolicy.ruleset.ruleset import Ruleset
from riskpolicy.snapshot.snapshot import Snapshot


@dataclass(frozen=True)
class Policy:
    """A ruleset and its plan. Immutable; one may be shared by any number of threads.

    `plugins` are the plugins in use, with their versions.
    """

    loaded: LoadedRuleset
    plan: Plan
    plugins: Mapping[str, str] = field(default_factory=dict)

    @property
    def ruleset(self) -> Ruleset:
        """The rules as written."""
        return self.loaded.ruleset

    @property
    def contract_sizes(self) -> dict[str, Decimal]:
        """Contract size by symbol and alias: units of the base a contract; inverse: of the quote."""
        return {
            name: group.contract_size
            for group in self.ruleset.instruments
            for symbol in group.symbols
            for name in (symbol, *group.aliases.get(symbol, ()))
        }

    def evaluate(self, snapshot: Snapshot | Mapping[str, Any] | str | Path, *, threads: int = 1) -> Evaluation:
        """Apply the rules to a snapshot: a Snapshot, a mapping of tables, a JSON file or a directory.

        Margins are computed at once, everything else when it is first read. The result does not depend on the
        number of `threads`. Raises SnapshotError with every fault of the snapshot, or where it lies outside the
        ruleset's validity.
        """
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        return Evaluation(self.plan, Snapshot.of(snapshot), threads)

    def explain(self, evaluation: Evaluation, account: str | int) -> tuple[Reason, ...]:
        """Explain each bucket of an account, in exact arithmetic. QueryError for an unknown account."""
        return explain_account(evaluation, account)

    def check(
        self,
        snapshot: Evaluation | Snapshot | Mapping[str, Any] | str | Path,
        account: str | int,
        instrument: str | int,
        side: str,
        quantity: Amount,
        price: Amount | None = None,
        *,
        margin_mode: str | None = None,
        position_side: str = "net",
        leverage: Amount | None = None,
        reduce_only: bool = False,
    ) -> Verdict:
        """Judge an order before it is placed: margin after the fill with the orders open now, tier cap, states.

        Pass an Evaluation to check many orders against one snapshot. `side` is buy or sell, `quantity` contracts above
        zero, `price` None a market order at the mark. An order that adds to the position is allowed where
        initial equity >= initial margin after the fill. Whatever is unknown is a refusal: the verdict's code says what.
        SnapshotError for a snapshot that cannot be used.
        """
        order = Order(account, instrument, side, quantity, price, margin_mode, position_side, leverage, reduce_only)
        return check_order(snapshot if isinstance(snapshot, Evaluation) else self.evaluate(snapshot), order)

    def gate(self, evaluation: Evaluation) -> Callable[..., Verdict]:
        """Return a function of (account, instrument, side, quantity, price=None) that judges orders as `check` does.

        It is prepared for many orders against one evaluation: most verdicts take less than a microsecond, those at a
        boundary are decided exactly. Ids are as in the snapshot, instruments as text.
        """
        gate = order_gate(evaluation)
        if gate is not None:
            return gate.check

        def check(
            account: str | int, instrument: str | int, side: str, quantity: Amount, price: Amount | None = None
        ) -> Verdict:
            return check_order(evaluation, Order(account, instrument, side, quantity, price))

        return check

    def check_orders(
        self, snapshot: Evaluation | Snapshot | Mapping[str, Any] | str | Path, orders: Any
    ) -> ResultTable:
        """Judge many orders, each by itself: a mapping of columns or a list of rows as `check` takes them.

        Columns of the result: the order's own, then allowed, code and rule.
        """
        evaluation = snapshot if isinstance(snapshot, Evaluation) else self.evaluate(snapshot)
        return check_orders(evaluation, orders)

    def heal(self, evaluation: Evaluation, account: str | int) -> tuple[Healing, ...]:
        """Return what would end the liquidation of each bucket of an account: deposit, reduction or price."""
        return heal_account(evaluation, account)

    def margin_modes(
        self, evaluation: Evaluation, account: str | int, instrument: str | int, margin: Amount | None = None
    ) -> dict[str, dict[str, Value]]:
        """Return a position's margins, prices and state under cross and under isolated margin, side by side."""
        return margin_modes(evaluation, account, instrument, margin)

    def place(self, rule_id: str) -> Place:
        """Return the place in the ruleset's file that states a rule."""
        return rule_place(self.loaded, rule_id)

    def __repr__(self) -> str:
        return f"<Policy {self.plan.id}@{self.plan.valid_from.date()}>"


def load(source: str | Path, at: datetime | None = None, *, plugins: Collection[str] | None = None) -> Policy:
    """Load and compile a ruleset: `NAME[@INSTANT]`, or the path of a file.

    A name without an instant means the version valid at `at`, else the newest. A named version's validity ends
    where the next one's begins. `plugins`, if given, are all that the ruleset may name. Raises RulesetError with every
    fault of the first phase that has any, and PluginError for a plugin that is missing or not allowed.
    """
    if isinstance(source, Path) or is_path(source):
        return _compiled(load_ruleset(source), plugins)
    version = find_version(source, at)
    policy = _compiled(load_ruleset(version.path), plugins)
    ends = [end for end in (policy.plan.valid_until, version.end) if end is not None]
    return replace(policy, plan=replace(policy.plan, valid_until=min(ends, default=None)))


def loads(text: str, name: str = "<text>", *, plugins: Collection[str] | None = None) -> Policy:
    """Load and compile a ruleset from YAML text; `name` stands for the file in messages."""
    return _compiled(load_ruleset(name, text), plugins)


def allocator(plugin: str, policy: Policy, *, plugins: Collection[str] | None = None) -> tuple[AllocateAdl, str]:
    """Return the allocation of an installed plugin, verified with every call, and its version.

    With the parameters that the policy's ruleset gives it. PluginError as `load` raises it.
    """
    hooked = resolve_hook(plugin, "allocate_adl", plugins, _parameters(policy.loaded))
    return allocating(hooked), hooked.version


def _compiled(loaded: LoadedRuleset, allowed: Collection[str] | None) -> Policy:
    named, parameters = [p.plugin for p in loaded.ruleset.functions], _parameters(loaded)
    chosen = resolve_plugins(named, allowed, parameters)
    plan = compile_ruleset(loaded, chosen.functions)
    if plan.deleveraging is not None and plan.deleveraging.rule != "plugin":
        try:
            policy_of(plan.deleveraging.rule, **plan.deleveraging.parameters)
        except QueryError as error:
            raise _at(loaded, error, "take") from None
    if plan.deleveraging is not None and plan.deleveraging.severity is not None:
        try:
            controller(plan.deleveraging.severity.rule, **plan.deleveraging.severity.parameters)
        except QueryError as error:
            raise _at(loaded, error, "severity") from None
    plan = replace(plan, plugged=_plugged(loaded, allowed))
    return Policy(loaded, plan, {**chosen.versions, **plan.plugged.versions})


def _at(loaded: LoadedRuleset, error: QueryError, key: str) -> RulesetError:
    """Return an error about parameters of deleveraging with the place where they are written."""
    place = loaded.document.value_place(("deleveraging", key, "parameters"))
    return RulesetError([replace(finding, place=place) for finding in error.findings])


def _parameters(loaded: LoadedRuleset) -> dict[str, dict[str, object]]:
    """Return the parameters that a ruleset gives plugins, by name."""
    return {
        name: {key: parameter(value) for key, value in given.items()} for name, given in loaded.ruleset.plugins.items()
    }


def _plugged(loaded: LoadedRuleset, allowed: Collection[str] | None) -> Plugged:
    """Resolve the plugins that a ruleset names where the rule stands; PluginError, there, for one that does not fit."""

    parameters = _parameters(loaded)
    made: dict[str, Any] = {}

    def named(hook: str, *path: str) -> Hooked | None:
        at: Any = loaded.ruleset
        for step in path:
            at = None if at is None else getattr(at, step)
        if at is None:
            return None
        try:
            return resolve_hook(at, hook, allowed, parameters, made)
        except PluginError as error:
            place = loaded.document.value_place(path)
            raise PluginError([replace(finding, place=place) for finding in error.findings]) from error.__cause__

    rank = named("rank_adl", "deleveraging", "plugin")
    allocate = named("allocate_adl", "deleveraging", "take", "plugin")
    split = named("split_fees", "fees", "plugin")
    execution = named("execution", "liquidation", "execution")
    used = [hooked for hooked in (rank, allocate, split, execution) if hooked is not None]
    return Plugged(
        None if rank is None else ranking(rank),
        None if allocate is None else allocating(allocate),
        None if split is None else splitting(split, [fund.id for fund in loaded.ruleset.funds]),
        None if execution is None else partial(executing, execution),
        {hooked.plugin: hooked.version for hooked in used},
    )
