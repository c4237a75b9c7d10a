"""compile_ruleset: one pass over the written form, a part at a time, all faults at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from riskpolicy.compiler.expressions import ExpressionCompiler, columns_of, scope_of
from riskpolicy.compiler.tiers import compile_tiers
from riskpolicy.compiler.trigger import AMOUNTS, NotASumError, compile_trigger
from riskpolicy.errors import RulesetError, one_of, suggestion
from riskpolicy.expressions.tree import Tree
from riskpolicy.expressions.units import MONEY, PRICE, UnitCheck
from riskpolicy.numbers import exact, parameter
from riskpolicy.plan.plan import (
    OF_INSTRUMENT,
    Collateral,
    Deleveraging,
    FeePart,
    Fees,
    FeeTier,
    Fund,
    FundingRules,
    Instruments,
    Layer,
    OrderKey,
    Plan,
    Ramp,
    Regime,
    Requirements,
    Rider,
    Rule,
    SeverityRule,
    Staking,
    Step,
    TierTables,
    Trigger,
    Weights,
)
from riskpolicy.ruleset.deleveraging import Deleveraging as WrittenDeleveraging
from riskpolicy.ruleset.deleveraging import Severity as WrittenSeverity
from riskpolicy.ruleset.document import Steps
from riskpolicy.ruleset.liquidation import PRICES
from riskpolicy.ruleset.liquidation import Ramp as WrittenRamp
from riskpolicy.ruleset.loader import LoadedRuleset
from riskpolicy.ruleset.ruleset import Ruleset
from riskpolicy.ruleset.waterfall import INSTRUMENT_FUND, WORDS
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
        release = self.condition(ruleset.liquidation.release, "liquidation.release", ("liquidation", "release"))
        funds = self.funds()
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
            funds=funds,
            layers=self.layers(),
            deleveraging=deleveraging,
            not_stated=tuple(self.silent),
            release=release,
            fees=self.fees(),
            funding=self.funding(tiers),
            regime=self.regime(),
        )

    def instruments(self, currencies: tuple[str, ...]) -> Instruments:
        tables = [t.id for t in self.ruleset.margin.tiers]
        groups = [(symbol, group) for group in self.ruleset.instruments for symbol in group.symbols]
        number = {symbol: i for i, (symbol, _) in enumerate(groups)}
        for symbol, group in groups:
            number.update((alias, number[symbol]) for alias in group.aliases.get(symbol, ()))
        netting: dict[str, int] = {}
        funds = [f.id for f in self.ruleset.funds]
        sizes = tuple(exact(group.contract_size) for _, group in groups)
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
            fund=tuple(funds.index(group.fund) if group.fund else -1 for _, group in groups),
            lot=tuple(None if group.lot is None else exact(group.lot) for _, group in groups),
            tick=tuple(None if group.tick is None else exact(group.tick) for _, group in groups),
        )

    def requirements(self) -> Requirements:
        margin = self.ruleset.margin
        return Requirements(
            netting=margin.netting == "larger_side",
            rounded_up=margin.rounding == "up",
            orders=margin.orders == "larger_side",
            bankruptcy=margin.bankruptcy,
            whole_ticks=margin.price_rounding == "conservative",
            quantum=tuple(exact(currency.quantum) for currency in self.ruleset.currencies.values()),
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
        path = ("liquidation", "restricted")
        return self.condition(self.ruleset.liquidation.restricted, "liquidation.restricted", path)

    def condition(
        self, text: str | None, rule_id: str, path: Steps, table: str = "bucket", stage: Stage = Stage.SUMMED
    ) -> Rule | None:
        """Return a condition on a table, None where there is none."""
        if text is None:
            return None
        program = self.expressions.program(text, scope_of(table, stage), path, condition=True)
        return None if program is None else Rule(rule_id, program)

    def funds(self) -> tuple[Fund, ...]:
        ids, currencies = [f.id for f in self.ruleset.funds], tuple(self.ruleset.currencies)
        made = []
        for i, fund in enumerate(self.ruleset.funds):
            path: Steps = ("funds", i)
            target = None
            if fund.target is not None:
                scope = scope_of("fund", Stage.INPUT)
                program = self.expressions.program(fund.target, scope, (*path, "target"), unit=MONEY)
                target = None if program is None else Rule(f"funds.{fund.id}.target", program)
            staking = None
            if (s := fund.staking) is not None:
                gate = self.condition(
                    s.gate, f"funds.{fund.id}.staking.gate", (*path, "staking", "gate"), "fund", Stage.INPUT
                )
                cap = None if s.revenue_cap is None else Fraction(s.revenue_cap)
                staking = Staking(Fraction(s.cooldown_seconds), cap, gate)
            made.append(
                Fund(
                    fund.id,
                    currencies.index(fund.currency),
                    fund.holds,
                    -1 if fund.of is None else ids.index(fund.of),
                    Fraction(fund.multiple or 0),
                    target,
                    None if fund.refill is None else Fraction(fund.refill.below),
                    Fraction(1) if fund.refill is None else Fraction(fund.refill.share),
                    tuple(
                        Rider(f"funds.{fund.id}.riders.{r.id}", Fraction(r.rate), r.base, r.refundable)
                        for r in fund.riders
                    ),
                    staking,
                )
            )
        return tuple(made)

    def fees(self) -> Fees | None:
        written = self.ruleset.fees
        if written is None:
            return None
        ids = [f.id for f in self.ruleset.funds]

        return Fees(
            tuple(FeeTier(t.id, Fraction(t.volume), Fraction(t.maker), Fraction(t.taker)) for t in written.tiers),
            tuple(
                FeePart(
                    f"fees.split.{p.id}", f"@{p.to}", fund_of(p.to, ids), Fraction(p.share), p.of == "rest", p.on,
                    None if p.cap is None else Fraction(p.cap),
                )
                for p in written.split
            ),
            f"@{written.residue}",
            fund_of(written.residue, ids),
            written.plugin,
        )  # fmt: skip

    def funding(self, tiers: TierTables) -> FundingRules | None:
        written = self.ruleset.funding
        if written is None:
            return None
        edge = {"clamp": written.clamp, "dead_band": written.dead_band, "plain": Decimal(0)}[written.formula]
        if edge is None:
            message = f"the formula `{written.formula}` needs `{written.formula}`"
            self.expressions.fault("funding_form", message, "add it", ("funding", "formula"))
            return None
        for k, table in enumerate(tiers.tables):
            if written.cap_of_margin is not None and tiers.least_margin(k) is None:
                message = f"tier table `{table.id}` has no initial and maintenance rates to take the cap from"
                self.expressions.fault("funding_form", message, "give them, or use `cap`", ("funding", "cap_of_margin"))
        return FundingRules(
            interest=Fraction(written.interest),
            clamp=Fraction(edge),
            hours=Fraction(written.interval_hours),
            cap=None if written.cap is None else Fraction(written.cap),
            formula=written.formula,
            rate_hours=Fraction(written.rate_hours),
            cap_of_margin=None if written.cap_of_margin is None else Fraction(written.cap_of_margin),
            basis=written.basis,
            warn_above=Fraction(written.warn_above),
        )

    def regime(self) -> Regime | None:
        written = self.ruleset.regime
        return None if written is None else Regime(tuple(written.protects), written.insolvency, written.recourse)

    def price(self, text: str | None, rule_id: str, path: Steps) -> str | Rule | None:
        """Return a named price as its word, any other as an expression over the position."""
        if text is None or text in PRICES:
            return text
        scope = scope_of("position", Stage.SUMMED)
        if text.isidentifier() and text not in scope:
            hint = suggestion(text, PRICES) or f"a named price ({one_of(PRICES)}) or an expression over the position"
            self.expressions.fault("unknown_name", f"`{text}` is no price", hint, path)
            return None
        program = self.expressions.program(text, scope, path, unit=PRICE)
        return None if program is None else Rule(rule_id, program)

    def steps(self) -> tuple[Step, ...]:
        made = []
        for i, step in enumerate(self.ruleset.liquidation.steps):
            path: Steps = ("liquidation", "steps", i)
            step_id = f"liquidation.steps.{step.id}"
            when = self.condition(step.when, f"{step_id}.when", (*path, "when"), stage=Stage.DECIDED)
            made.append(self.step(step_id, step, when, path))
        return tuple(made)

    def step(self, step_id: str, step: Any, when: Rule | None, path: Steps) -> Step:
        """Return one step; what its kind does not have keeps its default."""
        word = "reserve" if step.do == "auction" else "price"
        funds = [f.id for f in self.ruleset.funds]
        staged = getattr(step, "staged", None)
        most = getattr(step, "max_net_notional", None)
        return Step(
            id=step_id,
            do=step.do,
            when=when,
            until=getattr(step, "until", "closed"),
            price=self.price(getattr(step, word, None), f"{step_id}.{word}", (*path, word)),
            fee=Fraction(getattr(step, "fee", 0)),
            fee_to=fund_of(getattr(step, "fee_to", None), funds),
            by=fund_of(getattr(step, "by", None), funds),
            leftover=getattr(step, "leftover", "account"),
            max_net_notional=None if most is None else Fraction(most),
            above=None if staged is None else Fraction(staged.above),
            fee_on_mark=getattr(step, "fee_on", "fill") == "mark",
            fee_within_surplus=getattr(step, "fee_limit", "none") == "surplus",
            tiers=getattr(step, "tiers", "one"),
            unless=step.unless,
            portion=Fraction(1) if staged is None else Fraction(staged.portion),
            cooldown=None if staged is None else Fraction(staged.cooldown_seconds),
            part=_fraction(getattr(step, "portion", None)),
            ramp=_ramp(getattr(step, "ramp", None)),
            timeout=_fraction(getattr(step, "timeout_seconds", None)),
            max_loss=_fraction(getattr(step, "max_loss", None)),
            solvency=getattr(step, "solvency", "none"),
            order=self.step_order(getattr(step, "order", None), path),
        )

    def step_order(self, order: Order | None, path: Steps) -> OrderKey | None:
        if order is None:
            return None
        columns = columns_of("position", Stage.MARGINED)
        if order.column not in columns:
            hint = suggestion(order.column, columns) or f"columns: {one_of(columns, 40)}"
            self.expressions.fault("order_key", f"no column `{order.column}` to order by", hint, (*path, "order"))
        return OrderKey(order.column, order.descending)

    def layers(self) -> tuple[Layer, ...]:
        funds = [f.id for f in self.ruleset.funds]
        made = []
        for i, layer in enumerate(self.ruleset.waterfall):
            rule_id = f"waterfall.{layer.id}"
            shared = Layer(
                id=rule_id,
                name=layer.id,
                pays=layer.pays if layer.pays in WORDS else "fund",
                fund=-1 if layer.pays in WORDS else funds.index(layer.pays),
                draw=layer.draw,
                cap=_fraction(layer.cap),
                cap_share=_fraction(layer.cap_share),
                per_account=_fraction(layer.per_account),
                group=layer.group,
                when=self.condition(layer.when, f"{rule_id}.when", ("waterfall", i, "when"), stage=Stage.DECIDED),
                by=layer.by,
                unless=layer.unless,
                per_market=_fraction(layer.per_market),
                window=_fraction(layer.window_seconds),
                group_cap=_fraction(layer.group_cap),
            )
            if layer.pays != INSTRUMENT_FUND:
                made.append(shared)
                continue
            # The funds of a bucket's instruments pay at once, each for its own.
            own = [f for f in funds if any(group.fund == f for group in self.ruleset.instruments)]
            made += [
                replace(
                    shared, name=layer.id if len(own) == 1 else f"{layer.id}.{f}", pays="fund", fund=funds.index(f),
                    group=f" {layer.id}", of_instrument=True,
                )
                for f in own
            ]  # fmt: skip
        return tuple(made)

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
        price = self.price(take.price, "deleveraging.take.price", ("deleveraging", "take", "price"))
        eligible = self.condition(written.eligible, "deleveraging.eligible", ("deleveraging", "eligible"), "position")
        return Deleveraging(
            score=Rule("deleveraging.score", score),
            ties=ties,
            light_count=count,
            lights_by_quantity=by_quantity,
            price=price,
            fee=Fraction(take.fee),
            rule=take.rule,
            parameters={name: parameter(value) for name, value in take.parameters.items()},
            plugin=take.plugin,
            ranks=written.plugin,
            again=written.again,
            eligible=eligible,
            protected=tuple(written.protected_roles),
            most=_fraction(take.most),
            seed=take.seed,
            start=self.adl_trigger(written, "start"),
            stop=self.adl_trigger(written, "stop"),
            severity=None if written.severity is None else _severity(written.severity),
        )

    def adl_trigger(self, written: WrittenDeleveraging, word: str) -> Rule | None:
        """Return the condition that turns deleveraging on, or off; None where it needs none."""
        if written.trigger is None:
            return None
        path = ("deleveraging", "trigger", word)
        return self.condition(getattr(written.trigger, word), ".".join(path), path, "market", Stage.INPUT)

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


def _fraction(value: Decimal | None) -> Fraction | None:
    return None if value is None else Fraction(value)


def _severity(written: WrittenSeverity) -> SeverityRule:
    parameters = {name: parameter(value) for name, value in written.parameters.items()}
    return SeverityRule(
        written.rule, parameters, Fraction(written.start), Fraction(written.least), Fraction(written.most)
    )


def _ramp(ramp: WrittenRamp | None) -> Ramp | None:
    if ramp is None:
        return None
    return Ramp(Fraction(ramp.initial), Fraction(ramp.duration_seconds), _fraction(ramp.whole_below))


def fund_of(name: str | None, funds: Sequence[str]) -> int:
    """Return a fund's number, OF_INSTRUMENT for the funds of instruments, -1 for anybody else."""
    if name == INSTRUMENT_FUND:
        return OF_INSTRUMENT
    return funds.index(name) if name in funds else -1
