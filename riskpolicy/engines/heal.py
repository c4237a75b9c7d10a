"""The conductor of questions about one bucket: what would heal it, and what another margin mode would change."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from riskpolicy.engines.core.bound import CROSS
from riskpolicy.engines.core.changes import Amount, account_code, amount, instrument_number
from riskpolicy.engines.core.exact import Change, ExactBucket, Holding, filled
from riskpolicy.engines.core.solver import first_change
from riskpolicy.engines.core.tables import Value
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.engines.margin import trigger_health
from riskpolicy.errors import Finding, QueryError
from riskpolicy.snapshot.edit import with_choice, with_numbers


@dataclass(frozen=True, slots=True)
class Healing:
    """What would end a bucket's liquidation, each by itself; None where it cannot.

    `deposit` is money in the bucket's currency; `reduce` the contracts of each instrument to close at the mark; `price`
    the nearest price of each instrument's market at which the trigger no longer holds. All zero or the mark where the
    bucket is not liquidatable.
    """

    account: str | int
    currency: str
    instrument: str | None
    state: str
    deposit: Fraction | None
    reduce: dict[str, Fraction | None]
    price: dict[str, float | None]


def heal_account(evaluation: Evaluation, account: str | int) -> tuple[Healing, ...]:
    """Return what would heal each bucket of an account; QueryError for an unknown account."""
    code = account_code(evaluation.bound, account)
    if code is None:
        raise QueryError(Finding("unknown_id", f"the snapshot has no account `{account}`"))
    start = evaluation.bound.buckets.start
    return tuple(heal_bucket(evaluation, bucket) for bucket in range(int(start[code]), int(start[code + 1])))


def heal_bucket(evaluation: Evaluation, bucket: int) -> Healing:
    """Return what would heal one bucket."""
    bound, plan = evaluation.bound, evaluation.plan
    row, trigger = evaluation.buckets.row(bucket), plan.trigger
    health = trigger_health(trigger)
    exact = ExactBucket(bound, bucket)
    triggered = bool(evaluation.liquidation.triggered[bucket])
    moves = trigger.of_equity + trigger.of_wallet
    lacks = max(Fraction(0), -health(exact), -exact.equity if exact.equity < 0 else Fraction(0))
    deposit = Fraction(0) if not triggered else lacks / moves if moves > 0 else None
    reduce: dict[str, Fraction | None] = {}
    price: dict[str, float | None] = {}
    for i, position in zip(exact.members, exact.positions, strict=True):
        symbol = plan.instruments.symbols[position.number]
        reduce[symbol] = _reduction(evaluation, bucket, i, position.held) if triggered else Fraction(0)
        found = evaluation.positions.row(bound.positions.row_of(i))["liquidation_price"]
        at = float(position.mark_price) if not triggered else found
        price[symbol] = at if isinstance(at, float) else None
    return Healing(
        row["account"],  # type: ignore[arg-type]
        str(row["currency"]),
        None if row["instrument"] is None else str(row["instrument"]),
        str(row["state"]),
        deposit,
        reduce,
        price,
    )


def _reduction(evaluation: Evaluation, bucket: int, i: int, held: Holding) -> Fraction | None:
    """Return how many contracts of a position must be closed at the mark for the trigger not to hold, None for more
    than there are.
    """
    plan, health = evaluation.plan, trigger_health(evaluation.plan.trigger)

    def without(closed: Fraction) -> ExactBucket:
        sign = 1 if held.quantity > 0 else -1
        left, realized = filled(held, -sign * closed, held.mark_price, plan=plan)
        change = Change(held={i: left}, balance=realized * held.conversion)
        return ExactBucket(evaluation.bound, bucket, change)

    size, key = abs(held.quantity), ExactBucket(evaluation.bound, bucket)
    position = key.positions[key.members.index(i)]
    if size == 0:
        return None
    first, end = (int(plan.tiers.start[position.table + k]) for k in (0, 1))
    caps = [cap for cap in (plan.tiers.exact[t].cap for t in range(first, end)) if cap is not None]
    changes = [size - cap / (position.key / size) for cap in caps if position.key]
    changes = [at for at in changes if 0 < at < size]

    def lacking(closed: Fraction) -> Fraction:
        bucket_then = without(closed)
        return min(health(bucket_then), bucket_then.equity)

    tiny = size / 2**80
    found = first_change(lacking, tiny, [*changes, size], up=True)
    if found is None or found > size or lacking(min(found, size)) < 0:
        return None
    lot = plan.instruments.lot[held.instrument]
    if lot is not None:
        found = min(size, -(-found // lot) * lot)
    return found


def margin_modes(
    evaluation: Evaluation, account: str | int, instrument: str | int, margin: Amount | None = None
) -> dict[str, dict[str, Value]]:
    """Return a position's row under cross and under isolated margin, each with the state of its bucket.

    A cross position becomes isolated with `margin` (its initial margin where none is given), taken from the balance; an
    isolated one becomes cross with its margin added to the balance. QueryError for what the snapshot does not have.
    """
    bound, number = evaluation.bound, instrument_number(evaluation.bound, instrument)
    code = account_code(bound, account)
    p = bound.positions
    held = (
        []
        if code is None
        else [i for i in range(int(p.start[code]), int(p.start[code + 1])) if p.instrument[i] == number]
    )
    if code is None or not held:
        raise QueryError(Finding("unknown_id", f"account `{account}` holds no `{instrument}`"))
    i, row = held[0], p.row_of(held[0])
    isolated = bound.buckets.instrument[p.bucket[i]] != CROSS
    now = _mode_row(evaluation, row)
    posted = amount(margin)
    if posted is None and not isolated:
        exact = ExactBucket(bound, int(p.bucket[i]))
        posted = exact.positions[exact.members.index(i)].initial_margin
    if margin is not None and posted is None:
        raise QueryError(Finding("not_positive", f"`{margin}` is no margin above zero"))
    snapshot = bound.snapshot
    given = snapshot.numbers("positions", "isolated_margin")
    own = (given.exact(row) if given is not None else None) or Fraction(0)
    balance_row = _balance_row(evaluation, code, number)
    if balance_row is None:
        return {"isolated" if isolated else "cross": now}
    balance = snapshot.numbers("accounts", "balance")
    assert balance is not None
    moved = own if isolated else -(posted or Fraction(0))
    snapshot = with_choice(snapshot, "positions", "margin_mode", {row: "cross" if isolated else "isolated"})
    snapshot = with_numbers(snapshot, "positions", "isolated_margin", {row: Fraction(0) if isolated else -moved})
    snapshot = with_numbers(snapshot, "accounts", "balance", {balance_row: (balance.exact(balance_row) or 0) + moved})
    other = _mode_row(Evaluation(evaluation.plan, snapshot, evaluation.threads), row)
    return {"cross": other, "isolated": now} if isolated else {"cross": now, "isolated": other}


def _balance_row(evaluation: Evaluation, account: int, instrument: int) -> int | None:
    snapshot, plan = evaluation.snapshot, evaluation.plan
    currency = plan.currencies[int(plan.instruments.currency[instrument])]
    named = snapshot.ids("accounts", "currency")
    rows = np.flatnonzero(snapshot.ids("accounts", "account").codes == account).tolist()
    return next((r for r in rows if str(named.label(r)) == currency), None)


def _mode_row(evaluation: Evaluation, row: int) -> dict[str, Value]:
    """Return a position's margins and prices with the equity and state of its bucket."""
    bound = evaluation.bound
    bucket = evaluation.buckets.row(int(bound.positions.bucket[bound.positions.at_row(row)]))
    position = evaluation.positions.row(row)
    wanted = ("initial_margin", "maintenance_margin", "liquidation_price", "bankruptcy_price")
    ratio = bucket["margin_ratio"]
    return {
        **{name: position[name] for name in wanted},
        "equity": bucket["equity"],
        "margin_ratio": None if isinstance(ratio, float) and math.isnan(ratio) else ratio,
        "state": bucket["state"],
    }
