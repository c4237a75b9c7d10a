"""From an evaluation to deleveraging: the positions that may be taken, and the demands of its bankrupt buckets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np

from riskpolicy.engines.core.adl import UNDER_A_LOT, Allocation, Candidate, Demand, RankAdl
from riskpolicy.engines.core.bound import Bound
from riskpolicy.engines.core.exact import ExactBucket, ExactPosition, position_row
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.engines.liquidation import BANKRUPT
from riskpolicy.errors import Finding, QueryError, SnapshotError, one_of, suggestion
from riskpolicy.plan.plan import Rule
from riskpolicy.snapshot.columns import Ids

Side: TypeAlias = Literal["long", "short"]
#: What contracts are counted in where the ruleset declares no lot.
DEFAULT_LOT = Fraction(1, 10**8)
#: Why nothing is taken of an account's own position, and of who is below zero.
OWN, BELOW_ZERO = "its own account", "bankrupt itself"
#: How far from the mark a supposed event executes unless it has a price.
DEFAULT_MOVE = Fraction(1, 100)


@dataclass(frozen=True, slots=True)
class Queued:
    """The candidates of one (instrument, side), by rank; of each its position in canonical order, its bucket, and what
    settlement money is worth there.
    """

    positions: tuple[int, ...]
    candidates: tuple[Candidate, ...]
    buckets: tuple[int, ...]
    conversions: tuple[Fraction, ...]

    def able(self, demand: Demand, account: str) -> Queued:
        """Return the candidates as they may give to a demand: not the account itself, nor who would end below zero."""
        own = (c.without(OWN) if c.account == account else c for c in self.candidates)
        return replace(self, candidates=tuple(c.spared(demand) for c in own))

    def ranked(self, demand: Demand, rank: RankAdl) -> Queued:
        """Return the candidates, as they stand, with the scores and ranks that a plugin gives them for a demand."""
        return replace(self, candidates=tuple(ranked(self.candidates, rank(demand, self.candidates))))

    def in_order_of(self, ranked: Queued) -> Queued:
        """Return the candidates, as they are, in the order of the ranks that the same ones have otherwise."""
        order = sorted(range(len(self.candidates)), key=lambda k: ranked.candidates[k].rank)
        rows: tuple[tuple[Any, ...], ...] = (self.positions, self.candidates, self.buckets, self.conversions)
        return Queued(*(tuple(column[k] for k in order) for column in rows))

    def lost(self, demand: Demand, allocation: Allocation) -> dict[int, Fraction]:
        """Return what an allocation costs each bucket at the demand's price, in the bucket's own money."""
        lost: dict[int, Fraction] = {}
        for given, bucket, rate in zip(allocation.given, self.buckets, self.conversions, strict=True):
            if given:
                lost[bucket] = lost.get(bucket, Fraction(0)) + demand.lost(given) * rate
        return lost

    def after(self, demand: Demand, allocation: Allocation) -> Queued:
        """Return what is held after an allocation; scores and ranks stay, and equity until it is made `poorer`."""
        closed = (reduced(demand, c, g) for c, g in zip(self.candidates, allocation.given, strict=True))
        return replace(self, candidates=tuple(closed))

    def paid(self, paid: Sequence[Fraction], entry_prices: Sequence[Fraction]) -> Queued:
        """Return the candidates after profits paid by worse entry prices; a bucket's equity falls by what it pays."""
        lost: dict[int, Fraction] = {}
        for money, bucket, rate in zip(paid, self.buckets, self.conversions, strict=True):
            lost[bucket] = lost.get(bucket, Fraction(0)) + money * rate
        moved = (
            replace(c, entry_price=entry, unrealized_pnl=c.unrealized_pnl - money)
            for c, money, entry in zip(self.candidates, paid, entry_prices, strict=True)
        )
        return replace(self, candidates=tuple(moved)).poorer(lost)

    def poorer(self, lost: dict[int, Fraction]) -> Queued:
        """Return the candidates with the equity that their buckets have after losses, by bucket in its own money."""
        left = (
            replace(c, equity=c.equity - lost.get(bucket, Fraction(0)) / rate)
            for c, bucket, rate in zip(self.candidates, self.buckets, self.conversions, strict=True)
        )
        return replace(self, candidates=tuple(left))


def ranked(candidates: Sequence[Candidate], scores: Sequence[Fraction]) -> list[Candidate]:
    """Return candidates with new scores and ranks: the highest first, equal ones as they stood."""
    order = sorted(range(len(candidates)), key=lambda k: (-scores[k], candidates[k].rank))
    place = {k: rank for rank, k in enumerate(order, 1)}
    return [replace(c, score=scores[k], rank=place[k]) for k, c in enumerate(candidates)]


def reduced(demand: Demand, c: Candidate, given: Fraction) -> Candidate:
    """Return a candidate after giving contracts at the demand's price; equity is the bucket's, and stays as it is."""
    if not given:
        return c
    kept = 1 - given / c.contracts
    realized = c.unrealized_pnl * (1 - kept) - demand.lost(given)
    return replace(
        c,
        contracts=c.contracts - given,
        cap=c.cap - given,
        unrealized_pnl=c.unrealized_pnl * kept,
        notional=c.notional * kept,
        wallet_balance=c.wallet_balance + realized,
    )


def candidates(evaluation: Evaluation, instrument: str, side: Side) -> list[Candidate]:
    """Return the open positions on one side of an instrument, by rank; exact, at the mark.

    Who may give nothing by the ruleset has a cap of zero, see `barred`. Where the ruleset has no ranking, scores are
    None and ranks go by account. QueryError for an unknown instrument or side.
    """
    return list(queued(evaluation, instrument, side).candidates)


def queued(evaluation: Evaluation, instrument: str, side: Side) -> Queued:
    """Return the candidates of one side of an instrument with their buckets, ranked by the ruleset's score."""
    number = instrument_number(evaluation, instrument)
    if side not in ("long", "short"):
        raise QueryError(Finding("unknown_choice", f"`{side}` is no side", "say long or short"))
    bound, p = evaluation.bound, evaluation.bound.positions
    of_side = p.quantity > 0 if side == "long" else p.quantity < 0
    rows = np.flatnonzero((p.instrument == number) & of_side).tolist()
    if evaluation.plan.deleveraging is not None:
        rank = evaluation.scored.rank
        rows.sort(key=lambda i: int(rank[i]))
    else:
        rows.sort(key=lambda i: (str(bound.account(int(p.account[i]))), i))
    buckets = [int(p.bucket[i]) for i in rows]
    known, roles = {b: ExactBucket(bound, b) for b in set(buckets)}, roles_of(bound)
    made = [
        candidate(evaluation, i, known[b], place, roles)
        for place, (i, b) in enumerate(zip(rows, buckets, strict=True), 1)
    ]
    rates = tuple(bound.exact_conversion(i) for i in rows)
    return Queued(tuple(rows), tuple(made), tuple(buckets), rates)


def roles_of(bound: Bound) -> dict[int, str]:
    """Return the roles that the snapshot gives accounts, by their codes."""
    named = bound.snapshot.tables["accounts"].get("role")
    if not isinstance(named, Ids):
        return {}
    owners = bound.snapshot.ids("accounts", "account").codes
    words = {int(owner): str(named.label(row)) for row, owner in reversed(list(enumerate(owners)))}
    return {owner: word for owner, word in words.items() if word}


def barred(evaluation: Evaluation, i: int, bucket: ExactBucket, roles: Mapping[int, str]) -> str | None:
    """Return why nothing may be taken of position i, in canonical order, by the ruleset; None where it may.

    Of outside parties, of buckets below zero, of protected roles and of who is not eligible nothing is taken.
    """
    rules, account = evaluation.plan.deleveraging, int(evaluation.bound.positions.account[i])
    if str(evaluation.bound.account(account)).startswith("@"):
        return "an outside party"
    if bucket.equity < 0:
        return BELOW_ZERO
    if rules is None:
        return None
    role = roles.get(account)
    if role is not None and role in rules.protected:
        return f"protected: {role}"
    if rules.eligible is None or rules.eligible.program.exact(position_row(bucket, bucket.members.index(i))):
        return None
    return "not eligible"


def candidate(
    evaluation: Evaluation, i: int, bucket: ExactBucket, rank: int, roles: Mapping[int, str] = MappingProxyType({})
) -> Candidate:
    """Return position i, in canonical order, as a candidate; its cap is what the ruleset lets be taken of it."""
    bound, rules = evaluation.bound, evaluation.plan.deleveraging
    place = bucket.members.index(i)
    position = bucket.positions[place]
    rate = position.held.conversion
    score = None if rules is None else rules.score.program.exact(position_row(bucket, place))
    contracts = cap = abs(position.quantity)
    why = barred(evaluation, i, bucket, roles)
    if rules is not None and rules.most is not None:
        lot = evaluation.plan.instruments.lot[position.number] or DEFAULT_LOT
        cap = contracts * rules.most // lot * lot
        why = why or (None if cap else UNDER_A_LOT)
    opened = bound.snapshot.numbers("positions", "opened_at")
    return Candidate(
        account=str(bound.account(int(bound.positions.account[i]))),
        contracts=contracts,
        cap=Fraction(0) if why else cap,
        entry_price=position.entry_price,
        unrealized_pnl=position.unrealized_pnl,
        notional=position.notional,
        equity=bucket.equity / rate,
        wallet_balance=bucket.wallet_balance / rate,
        score=score if isinstance(score, Fraction) else None,
        rank=rank,
        opened_at=None if opened is None else opened.exact(bound.positions.row_of(i)),
        barred=why,
    )


def instrument_number(evaluation: Evaluation, instrument: str) -> int:
    """Return the number of an instrument; QueryError where the ruleset has none of that name."""
    number = evaluation.plan.instruments.number.get(str(instrument))
    if number is None:
        symbols = evaluation.plan.instruments.symbols
        hint = suggestion(str(instrument), symbols) or f"instruments: {one_of(symbols)}"
        raise QueryError(Finding("unknown_id", f"the ruleset has no instrument `{instrument}`", hint))
    return number


def demand(
    evaluation: Evaluation, instrument: str, side: Side, contracts: Fraction, price: Fraction,
    *, deficit: Fraction | None = None, event: int = 0, seed: int = 0,
) -> Demand:  # fmt: skip
    """Return the demand to take unsigned contracts at a price from the positions on `side`.

    The deficit is in settlement money; without one it is what closing all the contracts at that price raises.
    """
    number, terms = instrument_number(evaluation, instrument), evaluation.plan.instruments
    made = Demand(
        instrument=terms.symbols[number],
        side=side,
        contracts=contracts,
        price=price,
        mark_price=evaluation.bound.exact_mark(number),
        lot=terms.lot[number] or DEFAULT_LOT,
        contract_size=terms.contract_size_exact[number],
        inverse=bool(terms.inverse[number]),
        deficit=Fraction(0),
        event=event,
        seed=seed,
    )
    return replace(made, deficit=max(Fraction(0), made.lost(contracts)) if deficit is None else deficit)


@dataclass(frozen=True, slots=True)
class Bankruptcy:
    """A bankrupt position: its account and bucket, and what must be taken from the other side to close it."""

    account: str
    bucket: int
    demand: Demand


def bankruptcies(evaluation: Evaluation, seed: int = 0) -> list[Bankruptcy]:
    """Return the demands of every bankrupt bucket: its positions, the largest notional first, at the ruleset's price.

    Buckets go in the order in which they are liquidated. At the bankruptcy price the first position of a bucket takes
    its whole deficit and the others close at the mark, unless the ruleset shares the deficit out, by maintenance margin
    or by notional. At other prices every position closes at its own, and the deficit is shared by notional.
    SnapshotError where a price is needed that the snapshot does not have.
    """
    found: list[Bankruptcy] = []
    liquidation, bound = evaluation.liquidation, evaluation.bound
    buckets = np.flatnonzero(liquidation.state == BANKRUPT).tolist()
    for b in sorted(buckets, key=lambda b: int(liquidation.rank[b])):
        bucket = ExactBucket(bound, b)
        account = str(bound.account(int(bound.buckets.account[b])))
        shares = _shares(evaluation, bucket)
        for place, (position, share) in shares.items():
            deficit = -bucket.equity * share / position.held.conversion
            price = _price(evaluation, bucket, place, deficit)
            of = demand(
                evaluation,
                evaluation.plan.instruments.symbols[position.number],
                "short" if position.quantity > 0 else "long",
                abs(position.quantity),
                price,
                deficit=deficit,
                event=len(found),
                seed=seed,
            )
            found.append(Bankruptcy(account, b, of))
    return found


def _shares(evaluation: Evaluation, bucket: ExactBucket) -> dict[int, tuple[ExactPosition, Fraction]]:
    """Return the open positions of a bucket, the largest notional first, with their shares of its deficit."""
    rules, by = evaluation.plan.deleveraging, evaluation.plan.requirements.bankruptcy
    word = None if rules is None else rules.price
    places = [k for k, p in enumerate(bucket.positions) if p.quantity]
    worth = {k: bucket.positions[k].notional * bucket.positions[k].held.conversion for k in places}
    places.sort(key=lambda k: (-worth[k], bucket.positions[k].number, bucket.members[k]))
    alone = word == "zero_equity_price" or (word == "bankruptcy_price" and by == "account") or word is None
    if alone:
        weights = {k: Fraction(k == places[0]) for k in places}
    elif word == "bankruptcy_price" and by == "maintenance":
        weights = {k: bucket.positions[k].maintenance_margin * bucket.positions[k].held.conversion for k in places}
    else:
        weights = worth
    total = sum(weights.values(), Fraction(0))
    if not total:
        weights, total = worth, sum(worth.values(), Fraction(0))
    return {k: (bucket.positions[k], weights[k] / total) for k in places}


def _price(evaluation: Evaluation, bucket: ExactBucket, place: int, deficit: Fraction) -> Fraction:
    """Return the ruleset's execution price for a bankrupt position that bears a deficit, in settlement money."""
    rules, position = evaluation.plan.deleveraging, bucket.positions[place]
    word = None if rules is None else rules.price
    if isinstance(word, Rule):
        found = word.program.exact(position_row(bucket, place))
        if not isinstance(found, Fraction) or found <= 0:
            name = evaluation.bound.position_name(bucket.members[place])
            message = f"{word.id} of {name} is no price above zero"
            raise SnapshotError(Finding("expression_value", message, f"the rule is `{word.program.source}`"))
        return found
    if word == "mark_price":
        return position.mark_price
    if word == "entry_price":
        return position.entry_price
    if word in ("oracle_price", "previous_mark"):
        given = evaluation.snapshot.numbers("markets", word)
        price = None if given is None else given.exact(int(evaluation.bound.market_row[position.number]))
        if price is None:
            symbol = evaluation.plan.instruments.symbols[position.number]
            message = f"deleveraging needs `{word}` of {symbol}"
            raise SnapshotError(Finding("missing_value", message, "add the column to `markets`"))
        return price
    return bankruptcy_price(position, deficit)


def bankruptcy_price(position: ExactPosition, deficit: Fraction) -> Fraction:
    """Return the price at which a position's loss is smaller by a deficit than at the mark, in settlement money.

    The mark where no price above zero does that.
    """
    if position.inverse:
        x = 1 / position.mark_price - deficit / position.size
        return 1 / x if x > 0 else position.mark_price
    price = position.mark_price + deficit / position.size
    return price if price > 0 else position.mark_price


def supposed(
    evaluation: Evaluation, instrument: str, side: Side, *, quantity: Fraction | None = None,
    budget: Fraction | None = None, price: Fraction | None = None, seed: int = 0,
) -> Bankruptcy:  # fmt: skip
    """Return an event that is supposed: contracts to take from the positions on `side`, or money to raise there.

    Without a price it executes 1 % of the mark against those who give. A budget becomes the contracts that raise it at
    the price, rounded up to whole lots; its deficit is the budget. QueryError where the price raises nothing.
    """
    mark = evaluation.bound.exact_mark(instrument_number(evaluation, instrument))
    if price is None:
        price = mark * (1 - DEFAULT_MOVE if side == "long" else 1 + DEFAULT_MOVE)
    one = demand(evaluation, instrument, side, Fraction(1), price, seed=seed)
    if budget is None:
        assert quantity is not None
        deficit = max(Fraction(0), one.lost(quantity))
        return Bankruptcy("", -1, replace(one, contracts=quantity, deficit=deficit))
    if one.deficit <= 0:
        message = f"closing {side}s of {one.instrument} at this price raises no money"
        better = "below" if side == "long" else "above"
        raise QueryError(Finding("invalid_value", message, f"give a price {better} the mark"))
    lots = -(-budget / one.deficit // one.lot)
    return Bankruptcy("", -1, replace(one, contracts=lots * one.lot, deficit=budget))
