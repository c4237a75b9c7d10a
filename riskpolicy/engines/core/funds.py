"""Funds as a snapshot gives them: their numbers, and which fund stands behind a bucket."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from riskpolicy.engines.core.bound import Bound
from riskpolicy.engines.core.draw import Loss, Payers
from riskpolicy.engines.core.standing import instant_of
from riskpolicy.plan.plan import Fund, Layer
from riskpolicy.snapshot.columns import Ids, Numbers


def fund_behind(bound: Bound, bucket: int) -> int:
    """Return the fund of the bucket's largest position by value at the mark, then by instrument; -1 for none."""
    plan, p = bound.plan, bound.positions
    funds = {plan.instruments.fund[int(p.instrument[i])] for i in bound.members(bucket)}
    if len(funds) <= 1:
        return next(iter(funds), -1)
    sizes = [(-_value(bound, i), int(p.instrument[i])) for i in bound.members(bucket)]
    return plan.instruments.fund[min(sizes)[1]]


def _value(bound: Bound, i: int) -> Fraction:
    number = int(bound.positions.instrument[i])
    size = abs(bound.exact_position(i)[0]) * bound.plan.instruments.contract_size_exact[number]
    value = (
        size / bound.exact_mark(number) if bound.plan.instruments.inverse[number] else size * bound.exact_mark(number)
    )
    return value * bound.exact_conversion(i)


def fund_row(bound: Bound, fund: int) -> int:
    """Return the row of a fund in the snapshot, -1 for none."""
    ids = bound.snapshot.tables["funds"].get("fund")
    if fund < 0 or not isinstance(ids, Ids):
        return -1
    name = bound.plan.funds[fund].id
    return next((row for row in range(len(ids)) if str(ids.label(row)) == name), -1)


def fund_number(bound: Bound, fund: int, name: str) -> Fraction | None:
    """Return `fund_balance` or another number of a fund by its column, None where the snapshot does not say."""
    row = fund_row(bound, fund)
    column = bound.snapshot.numbers("funds", name.removeprefix("fund_"))
    return None if row < 0 or column is None else column.exact(row)


@dataclass(frozen=True, slots=True)
class Member:
    """A clearing member's row in the table `members`: what it has put in, and what it has been called for beyond."""

    row: int
    name: str
    contribution: Fraction
    assessed: Fraction


def members_of(bound: Bound, fund: Fund) -> list[Member]:
    """Return the members who can pay for a fund of members or assessments, those in default left out, by name."""
    wanted = fund.id if fund.holds == "members" else bound.plan.funds[fund.of].id if fund.of >= 0 else None
    ids, names = (bound.snapshot.tables["members"].get(column) for column in ("fund", "member"))
    given, called = (bound.snapshot.numbers("members", column) for column in ("contribution", "assessed"))
    if wanted is None or given is None or not isinstance(ids, Ids) or not isinstance(names, Ids):
        return []
    out = bound.snapshot.choices("members", "defaulted")
    zero = Fraction(0)
    found = [
        Member(r, str(names.label(r)), given.exact(r) or zero, zero if called is None else called.exact(r) or zero)
        for r in range(len(ids))
        if str(ids.label(r)) == wanted and out.word(r) == "false"
    ]
    return sorted(found, key=lambda m: m.name)


def member_rooms(bound: Bound, fund: Fund) -> list[int]:
    """Return how much each member of `members_of` can pay, in quanta.

    Of its contribution; or, for assessments, what it may be called for, a multiple of the contribution, less what it
    was called for already.
    """
    quantum = bound.plan.requirements.quantum[fund.currency]
    if fund.holds == "members":
        return [int(m.contribution // quantum) for m in members_of(bound, fund)]
    return [max(0, int((fund.multiple * m.contribution - m.assessed) // quantum)) for m in members_of(bound, fund)]


def payers_of(bound: Bound) -> Payers:
    """Return what funds have, in quanta, rounded down; None where the snapshot does not say; and what was paid before.

    A fund of members or assessments has what its members' rows come to, where the snapshot has any. `opening` is the
    column `opening`, else the balance. Layers with a window start from their rows in the table `drawn`.
    """
    balances: list[int | None] = []
    openings: list[int | None] = []
    for number, fund in enumerate(bound.plan.funds):
        quantum = bound.plan.requirements.quantum[fund.currency]
        of_members = fund.holds in ("members", "assessments") and members_of(bound, fund)
        found = fund_number(bound, number, "fund_balance")
        has = sum(member_rooms(bound, fund)) if of_members else None if found is None else int(found // quantum)
        opening = fund_number(bound, number, "opening")
        balances.append(has)
        openings.append(has if opening is None else int(opening // quantum))
    payers = Payers(balances, openings)
    _count_drawn(bound, payers)
    return payers


def _count_drawn(bound: Bound, payers: Payers) -> None:
    windowed = {layer.id: layer for layer in bound.plan.layers if layer.window is not None}
    rules = bound.snapshot.tables["drawn"].get("rule")
    if not windowed or not isinstance(rules, Ids):
        return
    names: Mapping[str, object] = bound.snapshot.tables["drawn"]
    who, where = names["account"], names.get("instrument")
    amount, at = bound.snapshot.numbers("drawn", "amount"), bound.snapshot.numbers("drawn", "at")
    now = instant_of(bound.snapshot) or Fraction(0)
    assert isinstance(who, Ids)
    assert isinstance(amount, Numbers)
    assert isinstance(at, Numbers)
    for row in range(len(rules)):
        layer = windowed.get(str(rules.label(row)))
        if layer is None or layer.window is None or (at.exact(row) or Fraction(0)) <= now - layer.window:
            continue
        market = str(where.label(row)) if isinstance(where, Ids) else ""
        quantum = bound.plan.requirements.quantum[bound.plan.funds[layer.fund].currency]
        paid = math.ceil((amount.exact(row) or Fraction(0)) / quantum)
        payers.count(layer, paid, Loss(str(who.label(row)), market))


def loss_of(bound: Bound, bucket: int) -> Loss:
    """Return whose loss a bucket's is, and the market of its largest position by value at the mark."""
    sizes = [(-_value(bound, i), int(bound.positions.instrument[i])) for i in bound.members(bucket)]
    market = bound.plan.instruments.symbols[min(sizes)[1]] if sizes else ""
    return Loss(str(bound.account(int(bound.buckets.account[bucket]))), market)


def pays_for(bound: Bound, bucket: int, layer: Layer) -> bool:
    """Return whether a layer pays for buckets like this one: a fund of instruments only for its own."""
    if not layer.of_instrument:
        return True
    markets = np.unique(bound.positions.instrument[bound.members(bucket)])
    return any(bound.plan.instruments.fund[int(n)] == layer.fund for n in markets)
