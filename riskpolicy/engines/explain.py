"""The conductor of an explanation: one account's buckets in exact arithmetic, as a tree of reasons."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

import numpy as np

from riskpolicy.engines.core.bound import CROSS, FLAT
from riskpolicy.engines.core.exact import ExactBucket, ExactPosition, Number, exact_position_row
from riskpolicy.engines.core.reasons import Reason
from riskpolicy.engines.core.tables import Value
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.engines.heal import heal_bucket
from riskpolicy.errors import Finding, QueryError, suggestion
from riskpolicy.kernel.program import Program
from riskpolicy.numbers import decimal_text, fraction_text
from riskpolicy.plan.plan import Curve, Deleveraging, Market


def explain_account(evaluation: Evaluation, account: str | int) -> tuple[Reason, ...]:
    """Return a reason for each bucket of an account; QueryError for an account that is not there."""
    labels = [str(x) for x in evaluation.snapshot.ids("positions", "account").labels]
    if str(account) not in labels:
        hint = suggestion(str(account), labels)
        raise QueryError(Finding("unknown_id", f"the snapshot has no account `{account}`", hint))
    code = labels.index(str(account))
    buckets = np.flatnonzero(evaluation.bound.buckets.account == code)
    return tuple(_Explainer(evaluation, int(bucket)).reason() for bucket in buckets)


class _Explainer:
    def __init__(self, evaluation: Evaluation, bucket: int) -> None:
        self.evaluation = evaluation
        self.plan = evaluation.plan
        self.bucket = bucket
        self.exact = ExactBucket(evaluation.bound, bucket)
        self.row = evaluation.buckets.row(bucket)
        self.currency = str(self.row["currency"])

    def reason(self) -> Reason:
        row = self.row
        kind = "cross" if row["instrument"] is None else f"isolated {row['instrument']}"
        state = f"account {row['account']}, {self.currency} {kind}: {row['state']}"
        return Reason(
            state,
            None,
            (
                *self._verdict(),
                self._equity(),
                self._maintenance(),
                *self._orders(),
                *self._positions(),
                *self._healing(),
            ),
        )

    def _verdict(self) -> list[Reason]:
        rule = self.plan.trigger.rule
        held = bool(rule.program.exact(self.exact.row()))
        verdict = "holds: the bucket is liquidatable" if held else "does not hold"
        out = [Reason(f"{rule.program.source}: {self._inputs(rule.program)}; {verdict}", rule.id)]
        if self.exact.equity < 0:
            deficit = self._money(-self.exact.equity)
            out.append(Reason(f"equity is below zero: the bucket is bankrupt, with a deficit of {deficit}"))
            out += self._draws()
        if self.row["liquidation_rank"] is not None:
            out.append(Reason(f"liquidated as number {self.row['liquidation_rank']}", "liquidation.accounts"))
            number = int(self.evaluation.liquidation.step[self.bucket])
            if number < 0:
                return [*out, Reason("no liquidation step is open at this mark")]
            step = self.plan.steps[number]
            when = f", open because {step.when.program.source}" if step.when else ""
            out.append(Reason(f"step due at this mark: {step.do.replace('_', ' ')}{when}", step.id))
        return out

    def _draws(self) -> list[Reason]:
        planned = self.evaluation.planned
        paid = planned.by_bucket.get(self.bucket)
        if paid is None:
            return []
        out = []
        for layer, amount in zip(planned.layers, paid.tolist(), strict=True):
            if math.isnan(amount):
                out.append(
                    Reason(
                        f"{layer.name} pays an unknown part: a fund's balance is not in the snapshot",
                        layer.id,
                    )
                )
            elif amount > 0:
                out.append(Reason(f"{layer.name} pays {decimal_text(amount)} {self.currency}", layer.id))
        return out

    def _equity(self) -> Reason:
        exact, parts = self.exact, [self._balance()]
        parts += [self._profit(i, p) for i, p in enumerate(exact.positions)]
        funded = ""
        if exact.accrued_funding:
            parts.append(Reason(f"accrued funding {self._money(exact.accrued_funding)}"))
            funded = " + accrued funding"
        statement = (
            f"equity {self._money(exact.equity)} = wallet balance + unrealized profit "
            f"{self._money(exact.unrealized_pnl)}{funded}"
        )
        return Reason(statement, None, tuple(parts))

    def _balance(self) -> Reason:
        """Return the balance; where collateral stands behind it, with what each asset counts."""
        bound, total = self.evaluation.bound, self._money(self.exact.wallet_balance)
        rules = self.plan.collateral
        if rules is None or bound.buckets.instrument[self.bucket] != CROSS:
            return Reason(f"wallet balance {total}")
        parts = [
            Reason(f"{name}: {_n(amount)} x {_n(price)}{f' x {_percent(weight)}' if weight != 1 else ''}")
            for name, amount, price, weight in bound.purse_parts(self.bucket)
        ]
        initial = self.exact.initial_equity - self.exact.equity + self.exact.wallet_balance
        if initial != self.exact.wallet_balance:
            parts.append(Reason(f"towards initial margin it counts {self._money(initial)}"))
        return Reason(f"wallet balance {total}", "margin.collateral", tuple(parts))

    def _profit(self, i: int, p: ExactPosition) -> Reason:
        size = self.plan.instruments.contract_size_exact[p.number]
        each = f"{_n(p.quantity)} contracts" + (f" x {_n(size)}" if size != 1 else "")
        change = f"({_n(p.mark_price)} mark - {_n(p.entry_price)} entry)"
        if p.inverse:
            change = f"(1 / {_n(p.entry_price)} entry - 1 / {_n(p.mark_price)} mark)"
        converted = f" x {_n(p.held.conversion)}" if p.held.conversion != 1 else ""
        return Reason(
            f"{self._symbol(i)}: {each} x {change}{converted} = {self._money(p.unrealized_pnl * p.held.conversion)}"
        )

    def _maintenance(self) -> Reason:
        parts = [self._required(i, p) for i, p in enumerate(self.exact.positions)]
        netted = ", the larger side of each netting group" if self.plan.requirements.netting and len(parts) > 1 else ""
        return Reason(f"maintenance margin {self._money(self.exact.maintenance_margin)}{netted}", None, tuple(parts))

    def _required(self, i: int, p: ExactPosition) -> Reason:
        """Return how one position's maintenance margin comes about."""
        value = f"value at entry {_n(p.value)}" if p.rules.entry_basis else f"notional {_n(p.notional)}"
        taken = p.tier.deduction * p.value / p.key if p.tier.deduction else Fraction(0)
        rounded = ", rounded up" if self.plan.requirements.rounded_up else ""
        statement = (
            f"{self._symbol(i)}: {value} x {_percent(p.maintenance_rate)}"
            + (f" - {_n(taken)}" if taken else "")
            + f" = {self._money(p.maintenance_margin * p.held.conversion)}{rounded}"
        )
        below: tuple[Reason, ...] = () if p.rules.maintenance is None else (Reason(_curve(p, p.rules.maintenance)),)
        if p.rules.formula is not None:
            row = exact_position_row(self.evaluation.bound, self.exact.members[i])
            below = _steps(p.rules.formula.program, row)
        if p.rules.key != "notional" and not below:
            below = (Reason(f"tier of {_n(p.key)} {p.rules.key.replace('_', ' ')}"),)
        return Reason(statement, p.tier.id if p.rules.formula is None else p.rules.formula.id, below)

    def _orders(self) -> list[Reason]:
        added = self.exact.order_margin
        if not added:
            return []
        parts = [
            Reason(
                f"{self.plan.instruments.symbols[size.holding.instrument]}: {_n(abs(size.holding.quantity))} contracts "
                "would be open on the larger side"
            )
            for size in self.exact.open_sizes
        ]
        return [Reason(f"open orders add {self._money(added)} of initial margin", "margin.orders", tuple(parts))]

    def _healing(self) -> list[Reason]:
        """Return what would end the liquidation, each by itself."""
        if not self.evaluation.liquidation.triggered[self.bucket]:
            return []
        found = heal_bucket(self.evaluation, self.bucket)
        parts = []
        if found.deposit is not None:
            parts.append(Reason(f"a deposit of {self._money(found.deposit)}"))
        for symbol, size in found.reduce.items():
            if size is not None:
                parts.append(Reason(f"closing {_n(size)} contracts of {symbol} at the mark"))
        for symbol, price in found.price.items():
            if price is not None:
                parts.append(Reason(f"{symbol} at {decimal_text(price)}"))
        return [Reason("what would heal it, each by itself", None, tuple(parts))] if parts else []

    def _positions(self) -> list[Reason]:
        members = self.evaluation.bound.members(self.bucket)
        return [self._position(i, p) for i, p in zip(members, self.exact.positions, strict=True)]

    def _position(self, i: int, exact: ExactPosition) -> Reason:
        positions = self.evaluation.bound.positions
        row = self.evaluation.positions.row(positions.row_of(i))
        side = ("long", "short", "flat")[positions.side(i)]
        row_of = exact_position_row(self.evaluation.bound, i)
        children = [
            Reason(f"liquidation price {_or_none(row['liquidation_price'])}, this market moving alone"),
            Reason(f"bankruptcy price {_or_none(row['bankruptcy_price'])}, this market moving alone"),
        ]
        if exact.initial_margin is not None:
            source = self.plan.initial.program.source
            children.insert(
                0,
                Reason(
                    f"initial margin {self._money(exact.initial_margin)} = {source}",
                    self.plan.initial.id,
                    _steps(self.plan.initial.program, row_of),
                ),
            )
        if self.plan.deleveraging is not None and positions.side(i) != FLAT:
            children.append(self._deleveraging(row, side, row_of, self.plan.deleveraging))
        size = _n(abs(exact.quantity))
        return Reason(f"{row['instrument']}: {side} {size} contracts", None, tuple(children))

    def _deleveraging(
        self, row: Mapping[str, Value], side: str, row_of: Mapping[str, Number], rules: Deleveraging
    ) -> Reason:
        """Return the place of a position in its queue, and what ranks it there."""
        if row["adl_rank"] is None:
            return Reason("deleveraging: nobody is ranked, the first place is drawn", "deleveraging.take")
        place = f"rank {row['adl_rank']} among the {side}s, light {row['adl_light']} of {rules.light_count}"
        if rules.ranks is not None:
            return Reason(f"deleveraging: {place}, by the plugin `{rules.ranks}`", "deleveraging.plugin")
        if not rules.by_score:
            return Reason(f"deleveraging: {place}, by the keys of the rule", "deleveraging.take")
        score = rules.score
        return Reason(f"deleveraging: score {row['adl_score']:.6g}, {place}", score.id, _steps(score.program, row_of))

    def _symbol(self, i: int) -> str:
        bound = self.evaluation.bound
        return self.plan.instruments.symbols[int(bound.positions.instrument[bound.members(self.bucket)[i]])]

    def _inputs(self, program: Program) -> str:
        row = self.exact.row()
        return ", ".join(f"{name} = {_n(row[name])}" for name in program.inputs)

    def _money(self, value: Fraction) -> str:
        return f"{_n(value)} {self.currency}"


def _curve(p: ExactPosition, curve: Curve) -> str:
    """Return a curve's rate in words."""
    rate, key = _percent(p.maintenance_rate), f"{_n(p.key)} {p.rules.key.replace('_', ' ')}"
    if curve.market is Market.OPEN_INTEREST:
        return f"rate {rate} by the market's open interest, between {_percent(curve.least)} and {_percent(curve.most)}"
    if curve.slope:
        return f"rate {rate} = {_percent(curve.offset)} + {_n(curve.slope)} x {key}"
    of = " / daily volume" if curve.market is Market.VOLUME else ""
    return (
        f"rate {rate} = max({_percent(curve.least)}, {_percent(curve.offset)} + {_n(curve.factor)} x sqrt({key}{of}))"
    )


def _steps(program: Program, row: Mapping[str, Fraction | float]) -> tuple[Reason, ...]:
    """Return the inputs of a program and the parts that count, but for the whole, with their exact values."""
    out = []
    for text, value in program.steps(row)[:-1]:
        if isinstance(value, bool):
            out.append(Reason(f"{text}: {'yes' if value else 'no'}"))
        else:
            out.append(Reason(f"{text} = {'undefined' if value is None else _n(value)}"))
    return tuple(out)


def _n(value: Fraction | float) -> str:
    return fraction_text(value) if isinstance(value, Fraction) else "infinite"


def _percent(rate: Fraction) -> str:
    return f"{fraction_text(rate * 100)}%"


def _or_none(value: Value) -> str:
    return "none" if value is None else decimal_text(Decimal(repr(value)))
