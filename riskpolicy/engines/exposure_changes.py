"""A position supposed to be another one, and the smallest change of it that moves its rank."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from riskpolicy.engines.core.bound import CROSS, Bound
from riskpolicy.engines.core.changes import Amount, Fill, paid_to, whole_lots
from riskpolicy.engines.core.exact import ZERO, Change, ExactBucket, ExactPosition, Holding
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.engines.exposure_place import Place, Supposed
from riskpolicy.errors import Finding, QueryError
from riskpolicy.numbers import NumberError, exact, fraction_text, parse_decimal
from riskpolicy.snapshot.edit import with_numbers
from riskpolicy.snapshot.snapshot import Snapshot

#: What a size, a leverage and a margin are changed by, where the ruleset says nothing finer.
LOT, LEVERAGE_STEP = Fraction(1, 10**8), Fraction(1, 100)
#: So many lots, or hundredths of a leverage, are tried one by one.
FINE = 64
#: What can be supposed of a position, in the order in which it is done.
KINDS = ("size", "profit", "leverage", "margin")


@dataclass(frozen=True, slots=True)
class Step:
    """A change that moves the rank: to `value`, which is `by` more than now, and the place that it gives."""

    value: Fraction
    by: Fraction
    adl_rank: int
    adl_light: int


@dataclass(frozen=True, slots=True)
class Changes:
    """The smallest change of each kind that moves the rank as asked, None where none does.

    Contracts in whole lots, leverage in hundredths, added margin and unrealized profit in quanta of its currency.
    """

    size: Step | None = None
    leverage: Step | None = None
    margin: Step | None = None
    profit: Step | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the changes as plain data: money as decimal text, all else as numbers."""
        out: dict[str, Any] = {}
        for name in ("size", "leverage", "margin", "profit"):
            step: Step | None = getattr(self, name)
            text = money if name in ("margin", "profit") else number
            out[name] = step and {
                "value": text(step.value), "by": text(step.by), "adl_rank": step.adl_rank, "adl_light": step.adl_light,
            }  # fmt: skip
        return out


class Changing:
    """A position of an evaluation, and what it would be."""

    def __init__(self, evaluation: Evaluation, position: int) -> None:
        self.evaluation, self.position, self.bound = evaluation, position, evaluation.bound
        self.number = int(self.bound.positions.instrument[position])

    def supposed(self, kind: str, value: Fraction) -> Evaluation:
        """Return the evaluation with another size (unsigned), leverage, profit, or more margin."""
        bound, row = self.bound, self.bound.positions.row_of(self.position)
        if kind == "size":
            sign = 1 if bound.positions.quantity[self.position] > 0 else -1
            if value != abs(bound.exact_position(self.position)[0]):
                whole_lots(bound, self.number, value)
            alone = replace(bound.snapshot, complete=False)
            return self._evaluated(with_numbers(alone, "positions", "quantity", {row: sign * value}))
        if kind == "leverage":
            return self._evaluated(self._levered(value))
        if kind == "margin":
            return self._evaluated(self._paid(bound, value))
        if not self.plain_money:
            message = "a profit is not supposed where collateral is weighted"
            raise QueryError(Finding("invalid_value", message, "as cash it would count otherwise than as profit"))
        entry = self._entry_for(value)
        if entry is None:
            message = f"no entry price gives an unrealized profit of {fraction_text(value)}"
            raise QueryError(Finding("invalid_value", message, "no more than its notional can be gained, or lost"))
        paid = self._paid(bound, self._position.unrealized_pnl - value)
        return self._evaluated(with_numbers(paid, "positions", "entry_price", {row: entry}))

    def _evaluated(self, snapshot: Snapshot) -> Evaluation:
        return Evaluation(self.evaluation.plan, snapshot, self.evaluation.threads)

    def _paid(self, bound: Bound, amount: Fraction) -> Snapshot:
        """Add money to the margin of the position, or to the balance behind it."""
        p, mark = bound.positions, bound.exact_mark(self.number)
        fill = Fill(int(p.account[self.position]), self.number, ZERO, mark, "net", self.position)
        return paid_to(bound, bound.snapshot, fill, amount)

    @property
    def _bucket(self) -> ExactBucket:
        return ExactBucket(self.bound, int(self.bound.positions.bucket[self.position]))

    @property
    def _position(self) -> ExactPosition:
        bucket = self._bucket
        return bucket.positions[bucket.members.index(self.position)]

    @property
    def plain_money(self) -> bool:
        """Whether cash counts as what it is: where collateral is weighted, margin and profit are not sought."""
        return self.bound.plan.collateral is None

    # Leverage

    def _levered(self, leverage: Fraction) -> Snapshot:
        if leverage == 0:
            message = "a leverage of 0 needs no end of margin"
            raise QueryError(Finding("not_positive", message, "say a number above zero"))
        bound = self.bound
        if self.selects:
            row = bound.positions.row_of(self.position)
            bound = self._evaluated(with_numbers(bound.snapshot, "positions", "leverage", {row: leverage})).bound
        margin = self.margin_for(bound, leverage)
        return self._paid(bound, margin) if margin else bound.snapshot

    @property
    def isolated(self) -> bool:
        """Whether the position has a margin of its own."""
        return int(self.bound.buckets.instrument[self.bound.positions.bucket[self.position]]) != CROSS

    @property
    def selects(self) -> bool:
        """Whether another leverage is another selected one."""
        rules = self.bound.plan.deleveraging
        reads = rules is not None and "leverage" in rules.score.program.inputs
        return reads or self.isolated

    def margin_for(self, bound: Bound, leverage: Fraction) -> Fraction:
        """Return the margin that another leverage adds, in settlement money."""
        bucket = ExactBucket(bound, int(bound.positions.bucket[self.position]))
        place = bucket.positions[bucket.members.index(self.position)]
        if self.isolated:
            return place.entry_notional / leverage - bucket.wallet_balance
        if self.selects:
            return ZERO
        return (bucket.notional / leverage - bucket.equity) / place.held.conversion

    def _leverage(self, bucket: ExactBucket, position: ExactPosition) -> Fraction | None:
        """Return the leverage now, in the sense in which `supposed` changes it; None where there is none."""
        if self.isolated:
            return position.entry_notional / bucket.wallet_balance if bucket.wallet_balance > 0 else None
        if self.selects:
            return position.leverage
        return bucket.notional / bucket.equity if bucket.equity > 0 else None

    # Profit

    def _entry_for(self, profit: Fraction) -> Fraction | None:
        """Return the entry price at which the position has an unrealized profit at the mark; None where none does."""
        position = self._position
        if not position.size:
            return None
        if position.inverse:
            reciprocal = profit / position.size + 1 / position.mark_price
            return 1 / reciprocal if reciprocal > 0 else None
        entry = position.mark_price - profit / position.size
        return entry if entry > 0 else None

    def _profits(self, quantum: Fraction, most: Fraction) -> tuple[Fraction, Fraction]:
        """Return the least and the most profit for which there is an entry price above zero, within an amount."""
        position = self._position
        end = -position.size / position.mark_price if position.inverse else position.size * position.mark_price
        return max(-most, end + quantum) if end < 0 else -most, min(most, end - quantum) if end > 0 else most

    # The smallest change

    def changes(self, wanted: Callable[[Place], bool]) -> Changes:
        """Return the smallest change of each kind after which the place is as wanted."""
        bound, places = self.bound, Supposed(self.evaluation, self.position)
        held, bucket, position = places.held, self._bucket, self._position
        conversion = bound.exact_conversion(self.position)
        sign = 1 if held.quantity > 0 else -1
        quantum = bound.plan.requirements.quantum[int(bound.plan.instruments.currency[self.number])]

        def at(changed: Holding, margin: Fraction = ZERO) -> Place | None:
            return places.at(Change({self.position: changed}, balance=margin * conversion))

        def of_size(size: Fraction) -> Place | None:
            return at(held._replace(quantity=sign * size))

        def of_leverage(leverage: Fraction) -> Place | None:
            changed = held._replace(leverage=leverage) if self.selects else held
            return at(changed, self.margin_for(bound, leverage))

        def of_margin(margin: Fraction) -> Place | None:
            return at(held, margin)

        def of_profit(profit: Fraction) -> Place | None:
            entry = self._entry_for(profit)
            return None if entry is None else at(held._replace(entry_price=entry), position.unrealized_pnl - profit)

        lot, size = bound.plan.instruments.lot[self.number] or LOT, abs(held.quantity)
        leverage = self._leverage(bucket, position)
        most = 1000 * (position.notional + abs(bucket.equity) / conversion)
        margin = profit = None
        if self.plain_money:
            margin = _smallest(of_margin, ZERO, quantum, (ZERO, most), wanted)
            profit = _smallest(of_profit, position.unrealized_pnl, quantum, self._profits(quantum, most), wanted)
        levered = None
        if leverage is not None and leverage > 0:
            levered = _smallest(
                of_leverage, leverage, LEVERAGE_STEP, (LEVERAGE_STEP, Fraction(1000)), wanted, fine=True
            )
        return Changes(
            _smallest(of_size, size, lot, (lot, 1024 * size), wanted, fine=True),
            levered,
            margin,
            profit,
        )


def _smallest(
    of: Callable[[Fraction], Place | None], now: Fraction, unit: Fraction, within: tuple[Fraction, Fraction],
    wanted: Callable[[Place], bool], *, fine: bool = False,
) -> Step | None:  # fmt: skip
    """Return the smallest change by whole units, down or up within bounds, after which the place is as wanted."""
    found: list[Step] = []
    for sign, start in ((1, now // unit * unit), (-1, -(-now // unit) * unit)):
        limit = int((within[1] - start if sign > 0 else start - within[0]) / unit)

        def hit(k: int, sign: int = sign, start: Fraction = start) -> Place | None:
            place = of(start + sign * k * unit)
            return place if place is not None and wanted(place) else None

        low, high = 0, 1
        while high < limit and hit(high) is None:
            low, high = high, min(limit, _next(high, fine=fine))
        if high > limit or hit(high) is None:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if hit(middle) is None else (low, middle)
        place = hit(high)
        assert place is not None
        value = start + sign * high * unit
        found.append(Step(value, value - now, place.rank, place.light))
    return min(found, key=lambda s: abs(s.by), default=None)


def _next(step: int, *, fine: bool) -> int:
    """Return the number of units to try after one: twice as many, or where it matters each, and then an eighth more.

    A light by quantity goes up and down as a position grows: what holds for a few sizes is not to be stepped over.
    """
    if not fine:
        return 2 * step
    return step + 1 if step < FINE else step + step // 8


def amount_of(name: str, value: Amount | None, *, signed: bool = False) -> Fraction | None:
    """Return a number that a question gives, zero or more unless it may be signed."""
    if value is None:
        return None
    try:
        found = exact(parse_decimal(value.strip()) if isinstance(value, str) else value)
    except (NumberError, ValueError, OverflowError, TypeError, ArithmeticError):
        message = f"`{value}` is no number for {name}"
        raise QueryError(Finding("invalid_value", message, "write a plain decimal")) from None
    if found < 0 and not signed:
        raise QueryError(Finding("negative", f"{name} is {value}, below zero", "write a number of zero or more"))
    return found


def number(value: Fraction | None) -> float | None:
    """Return a number as JSON has it."""
    return None if value is None else float(value)


def money(value: Fraction | None) -> str | None:
    """Return an amount as decimal text, to 12 places."""
    return None if value is None else fraction_text(value).lstrip("~")
