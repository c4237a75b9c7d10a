"""The conductor of an order check: the bucket as it would be after the fill, judged exactly, closed on doubt."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from riskpolicy.engines.core.bound import CROSS, Bound
from riskpolicy.engines.core.changes import Amount, account_code, amount, position_of
from riskpolicy.engines.core.exact import Change, ExactBucket, ExactPosition, Holding, filled
from riskpolicy.engines.core.tables import ResultTable, number, text
from riskpolicy.engines.core.verdict import VERDICTS, Verdict
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.engines.liquidation import BANKRUPT, LIQUIDATABLE, RESTRICTED
from riskpolicy.errors import Finding, QueryError, one_of, suggestion
from riskpolicy.kernel._kernel import SUPPOSED, Gate
from riskpolicy.kernel.program import UNIT, Source
from riskpolicy.snapshot.columns import plain

_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Order:
    """An order as it is asked about; `price` None is a market order, taken at the mark."""

    account: str | int
    instrument: str | int
    side: str
    quantity: Amount
    price: Amount | None = None
    margin_mode: str | None = None
    position_side: str = "net"
    leverage: Amount | None = None
    reduce_only: bool = False


def check_order(evaluation: Evaluation, order: Order) -> Verdict:
    """Return the verdict on an order.

    The bucket as it would be after the whole order is filled at its price, with the orders open now. An order that
    adds is allowed where initial_equity >= initial_margin then, the key is at most the last cap, and the selected
    leverage at most the tier's. One that only reduces needs none of these. Neither may leave the bucket liquidatable.
    Anything unknown is a refusal.
    """
    read = _read(evaluation.bound, order)
    if isinstance(read, Verdict):
        return read
    return _Check(evaluation, read).verdict()


def order_gate(evaluation: Evaluation) -> Gate | None:
    """Return the compiled gate of an evaluation; None where requirements are more than sums over net positions.

    It says what `check_order` says, in less than a microsecond; where its floats can not tell, it asks that.
    """
    bound, plan = evaluation.bound, evaluation.plan
    p, b, m, rules, trigger = bound.positions, bound.buckets, evaluation.margins, plan.requirements, plan.trigger
    initial = plan.initial.program
    formulas = any(table.formula is not None for table in plan.tiers.tables)
    several = bound.snapshot.ordered.sided or rules.netting or rules.rounded_up or formulas
    if several or plan.collateral is not None or (rules.orders and bound.orders is not None) or initial.calls:
        return None
    if trigger.of_pnl or trigger.of_wallet:
        return None
    scratch = np.ones(len(SUPPOSED))
    row = {name: Source(scratch[k : k + 1], factor=64 * UNIT) for k, name in enumerate(SUPPOSED)}
    labels = bound.snapshot.ids("positions", "account").labels
    accounts = {plain(label): code for code, label in enumerate(labels)}
    leverage = np.zeros(0) if p.leverage is None else p.leverage
    # A market that is not open is the exact check's.
    known = plan.instruments.number.items()
    opened = {name: number for name, number in known if bound.market_state(number) == "open"}
    steps = np.array(
        [[_steps(s) for s in pair] for pair in zip(plan.instruments.lot, plan.instruments.tick, strict=True)]
    )
    return Gate(
        accounts,
        opened,
        Verdict,
        lambda *asked: check_order(evaluation, Order(*asked)),
        bound.tables,
        initial.compiled,
        initial.slots(row, 1),
        scratch,
        (p.start, p.instrument, p.quantity, p.entry_price, leverage, p.bucket, m.maintenance_margin, m.initial_margin),
        (
            b.start,
            b.instrument,
            b.currency,
            b.wallet_balance,
            m.equity,
            m.equity_doubt,
            m.bucket_notional,
            m.bucket_initial,
            m.bucket_maintenance,
            m.maintenance_doubt,
            evaluation.liquidation.state,
        ),
        plan.instruments.currency,
        plan.tiers.max_leverage,
        steps.astype(np.float64),
        (float(trigger.of_equity), float(trigger.of_notional), float(trigger.of_maintenance), float(trigger.constant)),
        ("margin_insufficient", "allowed", "bucket_liquidatable", "bucket_bankrupt"),
        (plan.initial.id, None, trigger.rule.id, None),
    )


def _steps(step: Fraction | None) -> float:
    """Return how many steps make one, or minus how many ones make a step; 0 for no step, NaN for neither."""
    if step is None:
        return 0.0
    if step.numerator == 1:
        return float(step.denominator)
    return -float(step) if step.denominator == 1 else math.nan


def check_orders(evaluation: Evaluation, orders: Any) -> ResultTable:
    """Return the verdicts on many orders, each judged by itself; QueryError for columns that orders do not have."""
    rows = _rows(orders)
    verdicts = [check_order(evaluation, Order(**row)) for row in rows]
    codes, rules = list(VERDICTS), sorted({v.rule for v in verdicts if v.rule is not None})
    own = {}
    for name in ("account", "instrument", "side"):
        words = sorted({str(row[name]) for row in rows})
        own[name] = text(np.array([words.index(str(row[name])) for row in rows], np.int64), words)
    quantity = np.array([float(amount(row["quantity"]) or math.nan) for row in rows])
    columns = {
        **own,
        "quantity": number(quantity),
        "allowed": text(np.array([int(v.allowed) for v in verdicts], np.int64), [False, True]),
        "code": text(np.array([codes.index(v.code) for v in verdicts], np.int64), codes),
        "rule": text(np.array([-1 if v.rule is None else rules.index(v.rule) for v in verdicts], np.int64), rules),
    }
    return ResultTable("verdicts", columns)


def _rows(orders: Any) -> list[dict[str, Any]]:
    """Return orders as rows of the arguments that an Order has."""
    if isinstance(orders, Mapping):
        listed = {
            name: values.tolist() if hasattr(values, "tolist") else list(values) for name, values in orders.items()
        }
        lengths = {len(values) for values in listed.values()}
        if len(lengths) > 1:
            raise QueryError(Finding("column_length", "the columns of the orders differ in length"))
        rows = [dict(zip(listed, values, strict=True)) for values in zip(*listed.values(), strict=True)]
    else:
        rows = [dict(row) for row in orders]
    known = {f.name for f in fields(Order)}
    needed = ("account", "instrument", "side", "quantity")
    for row in rows:
        for name in row:
            if name not in known:
                hint = suggestion(name, known) or f"columns: {one_of(sorted(known))}"
                raise QueryError(Finding("unknown_column", f"an order has no `{name}`", hint))
        lost = [name for name in needed if name not in row]
        if lost:
            raise QueryError(Finding("missing_column", f"an order lacks {one_of(lost)}", f"it needs {one_of(needed)}"))
    return rows


@dataclass(frozen=True, slots=True)
class _Asked:
    """An order found in its bucket: signed contracts, exact price, the position that it changes (-1 for none)."""

    order: Order
    account: int
    instrument: int
    bucket: int
    position: int
    quantity: Fraction
    price: Fraction
    isolated: bool
    leverage: Fraction | None


def _read(bound: Bound, order: Order) -> _Asked | Verdict:
    plan = bound.plan
    number = plan.instruments.number.get(str(order.instrument))
    if number is None:
        return Verdict.of("instrument_unknown", detail=f"`{order.instrument}`")
    if order.side not in ("buy", "sell"):
        return Verdict.of("side_unknown", detail=f"`{order.side}`")
    quantity, price, leverage = (amount(x) for x in (order.quantity, order.price, order.leverage))
    if quantity is None:
        return Verdict.of("quantity_invalid", detail=f"`{order.quantity}`")
    if order.price is not None and price is None:
        return Verdict.of("price_invalid", detail=f"`{order.price}`")
    if order.leverage is not None and leverage is None:
        return Verdict.of("leverage_exceeded", detail=f"`{order.leverage}` is no leverage")
    lot, tick = plan.instruments.lot[number], plan.instruments.tick[number]
    if lot is not None and quantity % lot:
        return Verdict.of("quantity_lot", detail=f"a lot is {float(lot):g}")
    if tick is not None and price is not None and price % tick:
        return Verdict.of("price_tick", detail=f"a tick is {float(tick):g}")
    if np.isnan(bound.mark[number]):
        return Verdict.of("market_unknown", detail=f"`{order.instrument}`")
    account = account_code(bound, order.account)
    signed = quantity if order.side == "buy" else -quantity
    position = -1 if account is None else position_of(bound, account, number, order.position_side)
    mode = order.margin_mode or ("cross" if position < 0 else _mode(bound, position))
    if mode not in plan.modes or (order.position_side != "net" and "hedge" not in plan.modes):
        return Verdict.of("mode_unavailable", detail=f"`{mode if mode not in plan.modes else order.position_side}`")
    bucket = -1 if account is None else _bucket(bound, account, number, position, mode)
    if account is None or bucket < 0:
        return Verdict.of("account_unknown", detail=f"`{order.account}`")
    at = bound.exact_mark(number) if price is None else price
    return _Asked(order, account, number, bucket, position, signed, at, mode == "isolated", leverage)


def _mode(bound: Bound, position: int) -> str:
    return "cross" if bound.buckets.instrument[bound.positions.bucket[position]] == CROSS else "isolated"


def _bucket(bound: Bound, account: int, instrument: int, position: int, mode: str) -> int:
    """Return the bucket whose margin an order takes: the cross one also for a new isolated position."""
    if position >= 0 and mode == _mode(bound, position):
        return int(bound.positions.bucket[position])
    return bound.cross_bucket(account, instrument)


class _Check:
    """One order against one bucket. What is asked of other quantities is asked of copies with another quantity."""

    def __init__(self, evaluation: Evaluation, asked: _Asked) -> None:
        self.evaluation = evaluation
        self.bound = evaluation.bound
        self.plan = evaluation.plan
        self.asked = asked

    def verdict(self) -> Verdict:
        code, rule, detail = self._decided()
        return Verdict.of(code, rule, numbers=self._numbers, largest=self._largest, detail=detail)

    @cached_property
    def before(self) -> ExactBucket:
        """The bucket as it is."""
        return ExactBucket(self.bound, self.asked.bucket)

    @cached_property
    def held(self) -> Holding:
        """The position as it is, of no contracts where there is none."""
        asked = self.asked
        if asked.position < 0 or asked.position not in self.before.members:
            return self.before.supposed(asked.instrument)
        return self.before.positions[self.before.members.index(asked.position)].held

    @cached_property
    def quantity(self) -> Fraction:
        """The signed contracts that would be filled: of a reduce-only order at most what there is to reduce."""
        quantity, held = self.asked.quantity, self.held.quantity
        if not self.asked.order.reduce_only:
            return quantity
        return Fraction(0) if quantity * held >= 0 else min(quantity, -held) if held < 0 else max(quantity, -held)

    @cached_property
    def after(self) -> ExactBucket:
        """The bucket as it would be."""
        position, realized = filled(self.held, self.quantity, self.asked.price, plan=self.plan)
        if self.asked.leverage is not None:
            position = position._replace(leverage=self.asked.leverage)
        change = Change(balance=realized * position.conversion)
        if self.asked.position in self.before.members:
            change = change._replace(held={self.asked.position: position})
        else:
            change = change._replace(added=(position,))
        after = ExactBucket(self.bound, self.asked.bucket, change)
        if not self.adds or self.bound.buckets.instrument[self.asked.bucket] == CROSS:
            return after
        # What an isolated position lacks for its initial margin comes from the cross balance, as far as that is free.
        lacks = max(Fraction(0), after.initial_margin - after.initial_equity)
        given = min(lacks, max(Fraction(0), self._free()))
        return ExactBucket(self.bound, self.asked.bucket, change._replace(balance=change.balance + given))

    def _free(self) -> Fraction:
        """Return what the cross bucket beside an isolated one could give."""
        bucket = self.bound.cross_bucket(self.asked.account, self.asked.instrument)
        if bucket < 0:
            return Fraction(0)
        cross = ExactBucket(self.bound, bucket)
        return min(cross.initial_equity - cross.initial_margin, cross.wallet_balance)

    @cached_property
    def position(self) -> ExactPosition:
        """The position as it would be."""
        if self.asked.position in self.before.members:
            return self.after.positions[self.before.members.index(self.asked.position)]
        return self.after.positions[-1]

    @property
    def adds(self) -> bool:
        """Whether the position would be larger, or on the other side."""
        before, after = self.held.quantity, self.held.quantity + self.quantity
        return abs(after) > abs(before) or before * after < 0

    def _decided(self) -> tuple[str, str | None, str]:
        state = int(self.evaluation.liquidation.state[self.asked.bucket])
        trigger = self.plan.trigger.rule.id
        if state == BANKRUPT:
            return "bucket_bankrupt", None, ""
        if state == LIQUIDATABLE:
            return "bucket_liquidatable", trigger, ""
        market = self.bound.market_state(self.asked.instrument)
        if market == "halted":
            return "market_halted", None, ""
        if self.quantity == 0:
            return "position_not_reduced", None, ""
        if self.adds:
            if market != "open":
                return "market_reduce_only", None, market.replace("_", " ")
            if state == RESTRICTED:
                return "bucket_restricted", "liquidation.restricted", ""
            found = self._limits() or self._margin()
            if found is not None:
                return found
        held = self.plan.trigger.rule.program.exact(self.after.row())
        if held or self.after.equity < 0:
            return "liquidation_imminent", trigger, ""
        return "allowed", None, ""

    def _limits(self) -> tuple[str, str | None, str] | None:
        """Judge the size by its tier: the last cap, and the leverage that the tier allows."""
        position, tier = self.position, self.position.tier
        if tier.cap is not None and position.key > tier.cap and not position.rules.continues:
            return "tier_cap_exceeded", tier.id, f"the cap is {float(tier.cap):g}"
        selected = position.held.leverage
        if selected is not None and tier.max_leverage is not None and selected > tier.max_leverage:
            return "leverage_exceeded", tier.id, f"at most {float(tier.max_leverage):g}"
        return None

    def _margin(self) -> tuple[str, str | None, str] | None:
        due, rule = self.due, self.plan.initial.id
        if due is None:
            return "margin_undefined", rule, ""
        return ("margin_insufficient", rule, "") if self.available_after < 0 else None

    @cached_property
    def due(self) -> Fraction | None:
        """The position's initial margin after the fill, None where it has no value."""
        return self.position.initial_margin

    @cached_property
    def available_after(self) -> Fraction:
        """Equity that counts towards initial margin, less initial margin, after the fill."""
        return self.after.initial_equity - self.after.initial_margin

    def _numbers(self) -> Mapping[str, Fraction]:
        before, after = self.before, self.after
        numbers: dict[str, Fraction] = {}
        for word, bucket in (("before", before), ("after", after)):
            numbers |= {
                f"equity_{word}": bucket.equity,
                f"initial_margin_{word}": bucket.initial_margin,
                f"maintenance_margin_{word}": bucket.maintenance_margin,
                f"available_{word}": bucket.initial_equity - bucket.initial_margin,
            }
        return {**numbers, "quantity_after": self.position.quantity, "notional_after": self.position.notional}

    def _largest(self) -> Fraction:
        """Return the largest quantity of the order that passes, in lots, or to 12 significant digits."""
        lot = self.plan.instruments.lot[self.asked.instrument]
        if lot is None:
            size = abs(self.asked.quantity)
            while self._passes(size):
                size *= 2
                if size > 10**40:
                    return size
            return self._in_digits(size)
        high = 1
        while self._passes(high * lot):
            high *= 2
            if high > 2**120:
                break
        return self._between(high // 2, high, lot) * lot

    def _in_digits(self, high: Fraction) -> Fraction:
        """Return the largest passing quantity below `high`, a decimal of 12 significant digits."""
        low = high
        for _ in range(200):
            low /= 2
            if self._passes(low):
                break
        else:
            return Fraction(0)
        exponent = Decimal(float(low * 2)).adjusted() - _DIGITS + 1
        step = Fraction(10) ** exponent
        return self._between(int(low / step), int(low * 2 / step) + 1, step) * step

    def _between(self, low: int, high: int, step: Fraction) -> int:
        """Return the last multiple of `step` that passes, from one that does (or zero) to one that does not."""
        while high - low > 1:
            middle = (low + high) // 2
            if self._passes(middle * step):
                low = middle
            else:
                high = middle
        return low

    def _passes(self, quantity: Fraction) -> bool:
        signed = quantity if self.asked.quantity > 0 else -quantity
        return _Check(self.evaluation, replace(self.asked, quantity=signed))._decided()[0] == "allowed"
