"""compile_ruleset: one pass over the written form, a part at a time, all faults at once."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from riskpolicy.compiler.expressions import ExpressionCompiler, columns_of, scope_of
from riskpolicy.compiler.tiers import compile_tiers
from riskpolicy.compiler.trigger import AMOUNTS, NotASumError, compile_trigger
from riskpolicy.errors import RulesetError, one_of, suggestion
from riskpolicy.expressions.tree import Tree
from riskpolicy.expressions.units import MONEY, UnitCheck
from riskpolicy.plan.plan import (
    Collateral,
    Deleveraging,
    Fund,
    Instruments,
    Layer,
    OrderKey,
    Plan,
    Requirements,
    Rule,
    Step,
    Trigger,
    Weights,
)
from riskpolicy.ruleset.document import Steps
from riskpolicy.ruleset.loader import LoadedRuleset
from riskpolicy.ruleset.ruleset import Ruleset
from riskpolicy.ruleset.waterfall import DEFAULTER, DELEVERAGING, RESIDUAL, SOCIALIZATION
from riskpolicy.ruleset.written import NOT_STATED, Order, Stated
from riskpolicy.vocabulary import ExpressionFunction, Stage

#: What holds where a ruleset says `not_stated` and nothing more.
DEFAULT_LIQUIDATION_ORDER = (OrderKey("margin_ratio", descending=True), OrderKey("equity", descending=False))
DEFAULT_TIES: tuple[OrderKey, ...] = ()
DEFAULT_LIGHTS = (5, False)


def compile_ruleset(loaded: LoadedRuleset, functions: Sequence[ExpressionFunction] = ()) -> Plan:
    """Return the plan of a loaded ruleset, whose plugins add `functions` to the language.

    RulesetError with every fault of its expressions and tiers.
    """
    compiler = _Compiler(loaded, functions)
    plan = compiler.plan()
    findings = compiler.expressions.findings
    if plan is None or findings:
        found = dict.fromkeys(findings)
        raise RulesetError(sorted(found, key=lambda f: (f.place.line, f.place.column) if f.place else (0, 0)))
    return plan


class _Compiler:
    def __init__(self, loaded: LoadedRuleset, functions: Sequence[ExpressionFunction]) -> None:
        self.loaded = loaded
        self.ruleset: Ruleset = loaded.ruleset
        self.expressions = ExpressionCompiler(loaded.document, {f.name: f for f in functions})
        self.silent: list[str] = []

    def plan(self) -> Plan | None:
        ruleset = self.ruleset
        tiers = compile_tiers(self.loaded, self.expressions)
        initial = self.initial()
        trigger = self.trigger()
        restricted = self.restricted()
        bucket = list(columns_of("bucket", Stage.SUMMED))
        order = self.order(ruleset.liquidation.accounts, DEFAULT_LIQUIDATION_ORDER, bucket, ("liquidation", "accounts"))
        steps = self.steps()
        deleveraging = self.deleveraging()
        if initial is None or trigger is None or self.expressions.findings:
            return None
        currencies = tuple(ruleset.currencies)
        return Plan(
            id=ruleset.id,
            valid_from=ruleset.valid_from,
            valid_until=ruleset.valid_until,
            currencies=currencies,
            instruments=self.instruments(currencies),
            tiers=tiers,
            modes=frozenset(ruleset.margin.modes),
            requirements=self.requirements(),
            collateral=self.collateral(currencies),
            initial=initial,
            trigger=trigger,
            restricted=restricted,
            order=order,
            steps=steps,
            funds=tuple(Fund(f.id, currencies.index(f.currency)) for f in ruleset.funds),
            layers=self.layers(),
            deleveraging=deleveraging,
            not_stated=tuple(self.silent),
        )

    def instruments(self, currencies: tuple[str, ...]) -> Instruments:
        tables = [t.id for t in self.ruleset.margin.tiers]
        groups = [(symbol, group) for group in self.ruleset.instruments for symbol in group.symbols]
        number = {symbol: i for i, (symbol, _) in enumerate(groups)}
        for symbol, group in groups:
            number.update((alias, number[symbol]) for alias in group.aliases.get(symbol, ()))
        netting: dict[str, int] = {}
        sizes = tuple(Fraction(group.contract_size) for _, group in groups)
        return Instruments(
            symbols=tuple(symbol for symbol, _ in groups),
            number=number,
            currency=np.array([currencies.index(group.settle) for _, group in groups], np.int32),
            contract_size=np.array([float(size) for size in sizes], np.float64),
            contract_size_exact=sizes,
            table=np.array([tables.index(group.tiers) for _, group in groups], np.int32),
            inverse=tuple(group.payoff == "inverse" for _, group in groups),
            netting=np.array(
                [netting.setdefault(group.netting or f" {symbol}", len(netting)) for symbol, group in groups], np.int32
            ),
            lot=tuple(None if group.lot is None else Fraction(group.lot) for _, group in groups),
            tick=tuple(None if group.tick is None else Fraction(group.tick) for _, group in groups),
        )

    def requirements(self) -> Requirements:
        margin = self.ruleset.margin
        return Requirements(
            netting=margin.netting == "larger_side",
            rounded_up=margin.rounding == "up",
            orders=margin.orders == "larger_side",
            bankruptcy=margin.bankruptcy,
            whole_ticks=margin.price_rounding == "conservative",
            quantum=tuple(Fraction(currency.quantum) for currency in self.ruleset.currencies.values()),
        )

    def collateral(self, currencies: tuple[str, ...]) -> Collateral | None:
        written = self.ruleset.margin.collateral
        if written is None:
            return None
        weights = {a: Weights(Fraction(w.initial), Fraction(w.maintenance)) for a, w in written.assets.items()}
        return Collateral(currencies.index(written.currency), written.pooled, weights)

    def initial(self) -> Rule | None:
        text, scope = self.ruleset.margin.initial, scope_of("position", Stage.VALUED)
        program = self.expressions.program(text, scope, ("margin", "initial"), unit=MONEY)
        return None if program is None else Rule("margin.initial", program)

    def trigger(self) -> Trigger | None:
        text, path = self.ruleset.liquidation.trigger, ("liquidation", "trigger")
        scope = scope_of("bucket", Stage.SUMMED)
        tree = self.expressions.tree(text, scope, path, condition=True)
        program = tree and self.expressions.program(text, scope, path, condition=True)
        if not tree or not program:
            return None
        try:
            return compile_trigger(tree, program)
        except NotASumError as error:
            message = "the trigger has no boundary that can be solved for"
            hint = f"compare sums of {one_of(AMOUNTS)}, or `margin_ratio` with a constant above zero"
            self.expressions.fault("trigger_form", message, hint, path, error.at)
            return None

    def restricted(self) -> Rule | None:
        text = self.ruleset.liquidation.restricted
        if text is None:
            return None
        path = ("liquidation", "restricted")
        program = self.expressions.program(text, scope_of("bucket", Stage.SUMMED), path, condition=True)
        return None if program is None else Rule("liquidation.restricted", program)

    def steps(self) -> tuple[Step, ...]:
        made = []
        for i, step in enumerate(self.ruleset.liquidation.steps):
            path = ("liquidation", "steps", i, "when")
            scope = scope_of("bucket", Stage.DECIDED)
            when = None if step.when is None else self.expressions.program(step.when, scope, path, condition=True)
            step_id = f"liquidation.steps.{step.id}"
            rule = None if when is None else Rule(f"{step_id}.when", when)
            made.append(self.step(step_id, step, rule))
        return tuple(made)

    def step(self, step_id: str, step: Any, when: Rule | None) -> Step:
        """Return one step; what its kind does not have keeps its default."""
        funds = [f.id for f in self.ruleset.funds]
        staged = getattr(step, "staged", None)
        most = getattr(step, "max_net_notional", None)
        return Step(
            id=step_id,
            do=step.do,
            when=when,
            until=getattr(step, "until", "closed"),
            price=getattr(step, "price", None),
            fee=Fraction(getattr(step, "fee", 0)),
            fee_to=funds.index(step.fee_to) if getattr(step, "fee_to", None) else -1,
            by=funds.index(step.by) if getattr(step, "by", None) else -1,
            leftover=getattr(step, "leftover", "account"),
            max_net_notional=None if most is None else Fraction(most),
            above=None if staged is None else Fraction(staged.above),
            fee_on_mark=getattr(step, "fee_on", "fill") == "mark",
            fee_within_surplus=getattr(step, "fee_limit", "none") == "surplus",
            tiers=getattr(step, "tiers", "one"),
            unless=step.unless,
            portion=Fraction(1) if staged is None else Fraction(staged.portion),
        )

    def layers(self) -> tuple[Layer, ...]:
        funds = [f.id for f in self.ruleset.funds]
        words = (DEFAULTER, DELEVERAGING, SOCIALIZATION, RESIDUAL)
        return tuple(
            Layer(
                id=f"waterfall.{layer.id}",
                name=layer.id,
                pays=layer.pays if layer.pays in words else "fund",
                fund=-1 if layer.pays in words else funds.index(layer.pays),
                draw=layer.draw,
                cap=None if layer.cap is None else Fraction(layer.cap),
                cap_share=None if layer.cap_share is None else Fraction(layer.cap_share),
                per_account=None if layer.per_account is None else Fraction(layer.per_account),
                group=layer.group,
                when=self.layer_condition(i, layer),
                by_profit=layer.by == "profit",
                unless=layer.unless,
            )
            for i, layer in enumerate(self.ruleset.waterfall)
        )

    def layer_condition(self, i: int, layer: Any) -> Rule | None:
        if layer.when is None:
            return None
        scope, path = scope_of("bucket", Stage.DECIDED), ("waterfall", i, "when")
        program = self.expressions.program(layer.when, scope, path, condition=True)
        return None if program is None else Rule(f"waterfall.{layer.id}.when", program)

    def deleveraging(self) -> Deleveraging | None:
        written = self.ruleset.deleveraging
        if written is None:
            return None
        columns, scope = columns_of("position", Stage.SUMMED), scope_of("position", Stage.SUMMED)
        let: dict[str, Tree] = {}
        for name, text in written.let.items():
            path = ("deleveraging", "let", name)
            if name in scope or not name.isidentifier():
                message = f"`{name}` is a name of the language already" if name in scope else f"`{name}` is no name"
                self.expressions.fault("duplicate_id", message, "choose another name", path)
            tree = self.expressions.tree(text, scope, path)
            if tree is not None:
                let[name] = tree
                scope[name] = UnitCheck(scope, self.expressions.plugged).unit(tree)
        score = self.expressions.program(written.score, scope, ("deleveraging", "score"), let=let)
        ties = self.order(written.ties, DEFAULT_TIES, [*columns, "account"], ("deleveraging", "ties"))
        self.note(written.lights, "deleveraging.lights")
        lights = written.lights.value
        if score is None:
            return None
        count, by_quantity = (lights.count, lights.by == "quantity") if lights else DEFAULT_LIGHTS
        take = written.take
        return Deleveraging(Rule("deleveraging.score", score), ties, count, by_quantity, take.price, Fraction(take.fee))

    def order(
        self,
        stated: Stated[tuple[Order, ...]],
        default: tuple[OrderKey, ...],
        columns: Sequence[str],
        path: Steps,
    ) -> tuple[OrderKey, ...]:
        """Return an order's keys; `account` is dropped, since every order ends with it anyway."""
        self.note(stated, ".".join(str(p) for p in path))
        if stated.value is None:
            return default
        inside = path if stated.stated else (*path, NOT_STATED)
        for i, key in enumerate(stated.value):
            if key.column not in columns and key.column != "account":
                hint = suggestion(key.column, columns) or f"columns: {one_of(columns, 40)}"
                message = f"no column `{key.column}` to order by"
                self.expressions.fault("order_key", message, hint, (*inside, i))
            if key.column == "account" and (key.descending or i < len(stated.value) - 1):
                message = "`account` decides last and ascending"
                self.expressions.fault("order_key", message, "put it at the end", (*inside, i))
        return tuple(OrderKey(k.column, k.descending) for k in stated.value if k.column != "account")

    def note(self, stated: Stated[Any], rule_id: str) -> None:
        if not stated.stated:
            self.silent.append(rule_id)
