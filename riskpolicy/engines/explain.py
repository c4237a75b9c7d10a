"""The conductor of an explanation: one account's buckets in exact arithmetic, as a tree of reasons."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

import numpy as np

from riskpolicy.engines.core.bound import FLAT
from riskpolicy.engines.core.exact import ExactBucket, ExactPosition, exact_position_row
from riskpolicy.engines.core.reasons import Reason
from riskpolicy.engines.core.tables import Value
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.errors import Finding, QueryError, suggestion
from riskpolicy.kernel.program import Program
from riskpolicy.numbers import decimal_text, fraction_text


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
        return Reason(state, None, (*self._verdict(), self._equity(), self._maintenance(), *self._positions()))

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
        balance = Reason(f"wallet balance {self._money(self.exact.wallet_balance)}")
        profits = [
            Reason(
                f"{self._symbol(i)}: {_n(p.quantity)} contracts x ({_n(p.mark_price)} mark - {_n(p.entry_price)} entry)"
                f" = {self._money(p.unrealized_pnl)}"
            )
            for i, p in enumerate(self.exact.positions)
        ]
        statement = (
            f"equity {self._money(self.exact.equity)} = wallet balance + unrealized profit "
            f"{self._money(self.exact.unrealized_pnl)}"
        )
        return Reason(statement, None, (balance, *profits))

    def _maintenance(self) -> Reason:
        parts = [
            Reason(
                f"{self._symbol(i)}: notional {_n(p.notional)} x {_percent(p.tier.rate)}"
                + (f" - {_n(p.tier.deduction)}" if p.tier.deduction else "")
                + f" = {self._money(p.maintenance_margin)}",
                p.tier.id,
            )
            for i, p in enumerate(self.exact.positions)
        ]
        return Reason(f"maintenance margin {self._money(self.exact.maintenance_margin)}", None, tuple(parts))

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
            statement = (
                f"deleveraging: score {row['adl_score']:.6g}, rank {row['adl_rank']} among the {side}s, "
                f"light {row['adl_light']} of {self.plan.deleveraging.light_count}"
            )
            score = self.plan.deleveraging.score
            children.append(Reason(statement, score.id, _steps(score.program, row_of)))
        size = _n(abs(exact.quantity))
        return Reason(f"{row['instrument']}: {side} {size} contracts", None, tuple(children))

    def _symbol(self, i: int) -> str:
        bound = self.evaluation.bound
        return self.plan.instruments.symbols[int(bound.positions.instrument[bound.members(self.bucket)[i]])]

    def _inputs(self, program: Program) -> str:
        row = self.exact.row()
        return ", ".join(f"{name} = {_n(row[name])}" for name in program.inputs)

    def _money(self, value: Fraction) -> str:
        return f"{_n(value)} {self.currency}"


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
