"""Funds: what each should have and lacks, who pays margin into it, and what a liquidation may take from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from riskpolicy.engines.core.bound import Bound, exact_key
from riskpolicy.engines.core.evaluated import Evaluated
from riskpolicy.engines.core.exact import ExactBucket
from riskpolicy.engines.core.funds import fund_number, payers_of
from riskpolicy.errors import Finding, SnapshotError
from riskpolicy.numbers import fraction_text
from riskpolicy.plan.plan import Fund, Rider


@dataclass(frozen=True, slots=True)
class RiderDue:
    """What an account pays into a fund by a margin rider: base x rate, in money, half to even in whole quanta."""

    account: str
    rule: str
    base: Fraction
    amount: Fraction
    refundable: bool


@dataclass(frozen=True, slots=True)
class FundLine:
    """A fund against its target, in money of its currency.

    `balance` is None where the snapshot does not say, `target` where the ruleset has none, `lack` (zero or more) where
    either is. `refill_due` says that balance < refill x target, None where it is not known. `refill_share` is the part
    of the fees that go to the fund which refills it: zero while no refill is due.
    """

    fund: str
    currency: str
    balance: Fraction | None
    target: Fraction | None
    lack: Fraction | None
    refill_below: Fraction | None
    refill_due: bool | None
    refill_share: Fraction
    riders: tuple[RiderDue, ...]
    rule: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the line as plain data for JSON: money as decimal text, shares as numbers, missing as None."""
        money = {name: _text(getattr(self, name)) for name in ("balance", "target", "lack", "refill_below")}
        riders = [
            {"account": r.account, "base": _text(r.base), "amount": _text(r.amount), "refundable": r.refundable,
             "rule": r.rule}
            for r in self.riders
        ]  # fmt: skip
        return {
            "fund": self.fund, "currency": self.currency, **money, "refill_due": self.refill_due,
            "refill_share": float(self.refill_share), "riders": riders, "rule": self.rule,
        }  # fmt: skip


def _text(value: Fraction | None) -> str | None:
    return None if value is None else fraction_text(value).lstrip("~")


def fund_report(evaluation: Evaluated) -> list[FundLine]:
    """Return a line for every fund of the ruleset, in its order: balance, target, lack, refill and margin riders.

    Targets are evaluated exactly. SnapshotError where a target reads what the snapshot does not have, or is undefined.
    """
    return [_line(evaluation, number) for number in range(len(evaluation.plan.funds))]


def _line(evaluation: Evaluated, number: int) -> FundLine:
    plan, bound = evaluation.plan, evaluation.bound
    fund = plan.funds[number]
    balance = _balance(bound, number)
    target = fund_target(evaluation, number)
    lack = None if balance is None or target is None else max(Fraction(0), target - balance)
    below = None if target is None or fund.refill is None else fund.refill * target
    due = False if below is None else None if balance is None else balance < below
    riders = tuple(due for rider in fund.riders for due in riders_due(bound, number, rider))
    return FundLine(
        fund.id, plan.currencies[fund.currency], balance, target, lack, below, due,
        fund.refill_share if due else Fraction(0), riders, None if fund.target is None else fund.target.id,
    )  # fmt: skip


def _balance(bound: Bound, number: int) -> Fraction | None:
    """Return what a fund has; of members and their assessments, what these can pay."""
    fund = bound.plan.funds[number]
    found = fund_number(bound, number, "fund_balance")
    if fund.holds in ("members", "assessments"):
        quanta = payers_of(bound).balance[number]
        return None if quanta is None else quanta * bound.plan.requirements.quantum[fund.currency]
    return found


def fund_target(evaluation: Evaluated, number: int) -> Fraction | None:
    """Return a fund's target in money of its currency, exactly; None where the ruleset has none."""
    rule = evaluation.plan.funds[number].target
    if rule is None:
        return None
    value = rule.program.exact(fund_row_of(evaluation, number, rule.program.inputs))
    if not isinstance(value, Fraction) or value < 0:
        found = "has no value" if not isinstance(value, Fraction) else "is below zero"
        message = f"the target of fund `{evaluation.plan.funds[number].id}` {found}"
        raise SnapshotError(Finding("expression_value", message, f"the rule is `{rule.program.source}`"))
    return value


def gate_holds(evaluation: Evaluated, number: int) -> bool:
    """Return whether the gate of a fund keeps its stakes from being withdrawn now."""
    staking = evaluation.plan.funds[number].staking
    if staking is None or staking.gate is None:
        return False
    return bool(staking.gate.program.exact(fund_row_of(evaluation, number, staking.gate.program.inputs)))


def fund_row_of(evaluation: Evaluated, number: int, names: Sequence[str]) -> Mapping[str, Fraction]:
    """Return the numbers of a fund that an expression of the table `fund` reads, in money of its currency.

    `open_interest`, `daily_volume` and `realized_volatility` are of the fund's instruments: those that name it, or
    where none does those that settle in its currency. SnapshotError names the columns that are missing.
    """
    row, lost = dict[str, Fraction](), []
    for name in names:
        found = _number(evaluation, number, name)
        if found is None:
            table = "funds" if name in ("balance", "peak_8h", "average_8h") else "markets"
            lost.append(f"`{name}` in `{table}`")
        else:
            row[name] = found
    if lost:
        message = f"fund `{evaluation.plan.funds[number].id}` needs {', '.join(lost)}"
        raise SnapshotError(Finding("missing_value", message, "add it to the snapshot"))
    return row


def _number(evaluation: Evaluated, number: int, name: str) -> Fraction | None:
    bound = evaluation.bound
    if name == "balance":
        return _balance(bound, number)
    if name in ("peak_8h", "average_8h"):
        return fund_number(bound, number, name)
    if name == "deficit":
        return _deficit(evaluation, bound.plan.funds[number])
    if name == "realized_volatility":
        return _volatility(bound, number)
    values = [_market_value(bound, number, i, name) for i in instruments_of(bound, number)]
    known = [value for value in values if value is not None]
    return None if len(known) < len(values) else sum(known, Fraction(0))


def instruments_of(bound: Bound, number: int) -> list[int]:
    """Return the instruments of a fund that the snapshot has a market of."""
    plan = bound.plan
    own = [i for i, fund in enumerate(plan.instruments.fund) if fund == number]
    if not own:
        own = [i for i, c in enumerate(plan.instruments.currency.tolist()) if c == plan.funds[number].currency]
    return [i for i in own if bound.market_row[i] >= 0]


def _market_value(bound: Bound, number: int, instrument: int, column: str) -> Fraction | None:
    """Return a market's open interest or volume at the mark, in the fund's currency; None where it is missing.

    Open interest is the sum of the longs where the snapshot is complete and does not say it.
    """
    given = bound.snapshot.numbers("markets", column)
    contracts = None if given is None else given.exact(int(bound.market_row[instrument]))
    if contracts is None and column == "open_interest" and bound.snapshot.complete:
        contracts = _longs(bound, instrument)
    if contracts is None:
        return None
    value = exact_key(bound.plan, instrument, contracts, bound.exact_mark(instrument), "notional")
    return value * _into_fund(bound, number, instrument)


def daily_notional(evaluation: Evaluated, currency: str) -> Fraction | None:
    """Return the value at the mark of a day's trades in all markets that settle in a currency; None where none says."""
    bound = evaluation.bound
    given, instruments = bound.snapshot.numbers("markets", "daily_volume"), bound.plan.instruments
    values = []
    for i, code in enumerate(instruments.currency.tolist()):
        row = int(bound.market_row[i])
        contracts = None if given is None or row < 0 else given.exact(row)
        if contracts is not None and bound.plan.currencies[code] == currency:
            values.append(exact_key(bound.plan, i, contracts, bound.exact_mark(i), "notional"))
    return sum(values, Fraction(0)) if values else None


def _longs(bound: Bound, instrument: int) -> Fraction:
    p = bound.positions
    rows = np.flatnonzero((p.instrument == instrument) & (p.quantity > 0)).tolist()
    return sum((bound.exact_position(i)[0] for i in rows), Fraction(0))


def _into_fund(bound: Bound, number: int, instrument: int) -> Fraction:
    """Return what one unit of an instrument's settlement currency is worth in the fund's."""
    plan = bound.plan
    from_, to = int(plan.instruments.currency[instrument]), plan.funds[number].currency
    if from_ == to:
        return Fraction(1)
    if plan.collateral is None:
        names = plan.instruments.symbols[instrument], plan.currencies[from_], plan.currencies[to]
        message = f"fund `{plan.funds[number].id}` of {names[0]}: no price of {names[1]} in {names[2]}"
        raise SnapshotError(Finding("missing_price", message, "a fund holds what its instruments settle in"))
    return bound.exact_price(plan.currencies[from_]) / bound.exact_price(plan.currencies[to])


def _volatility(bound: Bound, number: int) -> Fraction | None:
    """Return the realized volatility of a fund's instruments, weighted by open interest; 0 where nothing is open."""
    given = bound.snapshot.numbers("markets", "realized_volatility")
    top, weight = Fraction(0), Fraction(0)
    for i in instruments_of(bound, number):
        size = _market_value(bound, number, i, "open_interest")
        if size == 0:
            continue
        found = None if given is None else given.exact(int(bound.market_row[i]))
        if size is None or found is None:
            return None
        top, weight = top + size * found, weight + size
    return top / weight if weight else Fraction(0)


def _deficit(evaluation: Evaluated, fund: Fund) -> Fraction:
    """Return what the buckets of a fund's currency lack to zero equity, exactly."""
    bound, m = evaluation.bound, evaluation.margins
    near = np.flatnonzero((m.equity - m.equity_doubt < 0) & (bound.buckets.currency == fund.currency)).tolist()
    return sum((max(Fraction(0), -ExactBucket(bound, bucket).equity) for bucket in near), Fraction(0))


def riders_due(bound: Bound, number: int, rider: Rider) -> list[RiderDue]:
    """Return what each account pays into a fund by a rider, by account: on its positions in the fund's instruments."""
    quantum = bound.plan.requirements.quantum[bound.plan.funds[number].currency]
    wanted, p = instruments_of(bound, number), bound.positions
    buckets = np.unique(p.bucket[np.isin(p.instrument, wanted) & (p.quantity != 0)]).tolist()
    bases: dict[int, Fraction] = {}
    for bucket in buckets:
        account = int(bound.buckets.account[bucket])
        for position in ExactBucket(bound, bucket).positions:
            if position.number in wanted:
                found: Fraction | None = getattr(position, rider.base)
                value = (found or Fraction(0)) * _into_fund(bound, number, position.number)
                bases[account] = bases.get(account, Fraction(0)) + value
    return [
        RiderDue(
            str(bound.account(code)), rider.id, bases[code], round(bases[code] * rider.rate / quantum) * quantum,
            rider.refundable,
        )
        for code in sorted(bases)
    ]  # fmt: skip


def bankruptcy_value(value: int, equity: int, maintenance: int, maintenance_total: int) -> int:
    """Return the least that closing a part of a bucket must bring, in quanta, for its share of the equity to be left.

    `value` is what the position changes by at the mark, signed: below zero where a long closes. `maintenance` is that
    by which the requirement changes, `maintenance_total` the bucket's (above zero). The share of the equity is rounded
    down, so that rounding never costs the fund anything. Above zero is received, below zero paid. Source: dYdX v4
    chain, liquidations.
    """
    if maintenance_total <= 0:
        raise ValueError("a bucket without maintenance margin has no bankruptcy value")
    return -value - equity * abs(maintenance) // maintenance_total


def fund_delta(received: int, bankruptcy: int, largest_fee: int) -> int:
    """Return what a liquidation's fill brings a fund, in quanta: below zero the fund pays.

    What is received beyond the bankruptcy value is the account's, less a fee of at most `largest_fee`.
    """
    surplus = received - bankruptcy
    return surplus if surplus <= 0 else min(surplus, largest_fee)


def valid_delta(balance: int, delta: int) -> bool:
    """Return whether a fund can bear a change: one that adds always, one that takes down to zero (>=)."""
    return delta >= 0 or balance + delta >= 0


def haircut(profits: Sequence[int], loss: int, least: Fraction = Fraction(0)) -> tuple[list[int], int, int]:
    """Return what each gives of its profit for a loss, what is over, and what nobody bears; quanta, in their order.

    Everybody gives the same fraction of a profit above zero: loss / all profits, at least `least`, at most 1. What is
    given beyond the loss is over; it belongs to the fund. Whole quanta by the largest remainder, ties to the first.
    """
    able = [max(0, profit) for profit in profits]
    total = sum(able)
    if loss <= 0 or total == 0:
        return [0] * len(able), 0, max(0, loss)
    fraction = min(Fraction(1), max(Fraction(loss, total), least))
    exact = [fraction * profit for profit in able]
    given = [int(share) for share in exact]
    wanted = max(min(loss, total), round(fraction * total))
    order = sorted(range(len(able)), key=lambda i: (given[i] - exact[i], i))
    for i in order[: wanted - sum(given)]:
        given[i] += 1
    return given, max(0, wanted - loss), max(0, loss - wanted)
