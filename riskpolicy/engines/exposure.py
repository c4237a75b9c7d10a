"""The exposure of a position to deleveraging: where it stands, what must happen to reach it, what that would cost."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal, TypeAlias

from riskpolicy.engines.candidates import barred, roles_of
from riskpolicy.engines.core.bound import LONG, Bound
from riskpolicy.engines.core.changes import Amount, account_code, instrument_number, read_fill, whole_lots, with_fill
from riskpolicy.engines.core.exact import ZERO, ExactBucket
from riskpolicy.engines.core.once import once
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.engines.execution import Execution
from riskpolicy.engines.exposure_changes import KINDS, Changes, Changing, amount_of, money, number
from riskpolicy.engines.exposure_place import Place, segment_of
from riskpolicy.engines.exposure_search import Search, Taken
from riskpolicy.engines.liquidation import HEALTHY
from riskpolicy.errors import Finding, QueryError, suggestion
from riskpolicy.numbers import exact, moment_of, seconds_of
from riskpolicy.plan.plan import Deleveraging, Plan
from riskpolicy.snapshot.columns import Label

Side: TypeAlias = Literal["long", "short"]
Mechanism: TypeAlias = Literal["queue", "pro_rata", "plugin", "socialised", "none"]
#: An order: side (buy or sell), contracts above zero, price (None: the mark); or `side:quantity:price` as text.
Order: TypeAlias = "tuple[str, Amount, Amount | None] | str"

#: Policies that take a part of everybody; others go from one to the next.
OF_ALL = ("pro_rata", "pro_rata_contracts", "capped_pro_rata", "risk_weighted", "integer", "least_leverage")


def mechanism(plan: Plan) -> Mechanism:
    """Return how a ruleset reaches those who are not ruined themselves.

    queue or pro_rata (or plugin) where a liquidation step deleverages, else socialised where a layer of the waterfall
    lets the holders of the market pay, else none.
    """
    rules = plan.deleveraging
    if rules is not None and any(step.do == "deleverage" for step in plan.steps):
        if rules.plugin is not None:
            return "plugin"
        return "pro_rata" if rules.rule in OF_ALL else "queue"
    return "socialised" if any(layer.pays == "socialization" for layer in plan.layers) else "none"


@dataclass(frozen=True)
class Reached:
    """The first or the last contract of a position that is taken; of socialised losses, the first share of one that
    its account pays, and where its shares are all the profit of the position.

    What follows is sought when it is first read.
    """

    which: Literal["first", "last"]
    _ranked: Fraction | None = field(repr=False)
    _of: _Source = field(repr=False, compare=False)

    @once
    def _step(self) -> int | None:
        return self._of.step(self.which)

    @property
    def contracts(self) -> Fraction | None:
        """The contracts bankrupt on the other side that reach it.

        Where the ruleset takes by rank: for the first more than the contracts ahead, for the last as many as are ahead
        and its own; everybody ahead counts, also who might be passed over. By another rule it is what is closed against
        its side at that move, None where no move reaches it.
        """
        step, search = (None if self._ranked is not None else self._step), self._of.search
        if step is None or search is None or not self._of.takes:
            return self._ranked
        return search.at(step).closed

    @property
    def move(self) -> Fraction | None:
        """The least move of the market alone at which it is taken, as a fraction of the mark, below zero for one down.

        By the ruleset's own liquidation, funds and waterfall, to a millionth of the mark: at this move it is taken, a
        millionth nearer to the mark not. None where no move does: up to tenfold the mark (or twice the last price that
        ruins somebody), down to a millionth of it. Between two moves that are looked at it is sought as if a larger one
        took no less, and over all of them where they are many, or the book is large: a fund that takes a loss over by
        whole lots may take more at a somewhat larger move, and a contract that is taken only in between is not found.
        SnapshotError where a number is needed that the snapshot does not have.
        """
        step, search = self._step, self._of.search
        return None if step is None or search is None else search.move(step)

    @once
    def deficit(self) -> Fraction | None:
        """What the bankrupt buckets that hold the other side lack at that move, in settlement money; None without one.

        Zero where buckets are taken off that are not below zero yet.
        """
        step, search = self._step, self._of.search
        return None if step is None or search is None else search.deficit(step)

    @once
    def scenario(self) -> Scenario:
        """What is lost at that move."""
        return self._of.scenario(self.which, self._step)

    def to_dict(self) -> dict[str, Any]:
        """Return contracts and move as numbers, the deficit as decimal text."""
        return {"contracts": number(self.contracts), "deficit": money(self.deficit), "move": number(self.move)}


@dataclass(frozen=True)
class Scenario:
    """What a holder loses at a move: `taken` unsigned contracts at `price`, the mark being at `mark_price`.

    `loss_of_profit` is the profit forgone against the mark, below zero where the price is better. `loss_of_hedge` is
    the notional at that mark of the opposite leg that is left without its hedge, zero where there is none; `fee` what
    the ruleset takes of whoever is deleveraged. Where losses are socialised no contract is taken, and the loss of
    profit is the share that the account pays. Money is in the settlement currency; all is None where no move reaches
    the contract.
    """

    which: Literal["first", "last"]
    move: Fraction | None = None
    mark_price: Fraction | None = None
    taken: Fraction | None = None
    price: Fraction | None = None
    loss_of_profit: Fraction | None = None
    loss_of_hedge: Fraction | None = None
    fee: Fraction | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return prices and contracts as numbers, money as decimal text."""
        return {
            "which": self.which, "move": number(self.move), "mark_price": number(self.mark_price),
            "taken": number(self.taken), "price": number(self.price),
            "loss_of_profit": money(self.loss_of_profit), "loss_of_hedge": money(self.loss_of_hedge),
            "fee": money(self.fee),
        }  # fmt: skip


@dataclass(frozen=True)
class Exposure:
    """One position's exposure to deleveraging, under its venue's own rules.

    `quantity` is unsigned contracts, 0 for a flat position; `side` is None then. `adl_rank` is 1 for whoever goes
    first, `adl_light` highest for it, `quantity_ahead` the contracts ranked before it on its side: None where the venue
    has no ranking, or nothing is held. `positions` and `side_quantity` count the whole queue, `lights` the lights.
    """

    account: Label
    instrument: str
    side: Side | None
    mechanism: Mechanism
    quantity: Fraction
    adl_rank: int | None
    adl_light: int | None
    quantity_ahead: Fraction | None
    positions: int
    lights: int | None
    first: Reached
    last: Reached
    _of: _Source = field(repr=False, compare=False)

    @property
    def side_quantity(self) -> Fraction | None:
        """The contracts of the whole queue; None where there is no rank."""
        of = self._of
        if self.adl_rank is None:
            return None
        return of.evaluation.sums_of(segment_of(of.evaluation.bound, of.position)).whole

    @property
    def scenarios(self) -> tuple[Scenario, Scenario]:
        """What is lost when the first, and when the last contract is taken."""
        return self.first.scenario, self.last.scenario

    @property
    def sought(self) -> bool:
        """Whether `changes` are sought: something is held, and no plugin or draw says who goes first."""
        return self._of.sought

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the numbers leave out, and why nothing may be taken at the mark: sentences."""
        return self._of.remarks()

    @property
    def mean(self) -> dict[str, Fraction | None] | None:
        """The mean losses of the scenarios by the weights that were given, None where none were.

        A loss is None where a scenario that counts has none.
        """
        weights = self._of.weights
        if weights is None:
            return None
        out: dict[str, Fraction | None] = {}
        for name in ("loss_of_profit", "loss_of_hedge"):
            parts = [(w, getattr(s, name)) for s, w in zip(self.scenarios, weights, strict=True) if w]
            known = all(x is not None for _, x in parts)
            out[name] = sum((w * x for w, x in parts), ZERO) / sum(weights) if known else None
        return out

    @property
    def resolutions(self) -> int:
        """How many resolutions the search for the moves has run so far."""
        search = self._of.search
        return 0 if search is None else search.resolutions

    @property
    def size(self) -> Fraction:
        """Signed size in units of the underlying, at the mark for an inverse."""
        of = self._of
        if of.position < 0:
            return ZERO
        instruments, number_ = of.evaluation.plan.instruments, of.number
        signed = (1 if self.side == "long" else -1) * self.quantity * instruments.contract_size_exact[number_]
        return signed / self.mark_price if instruments.inverse[number_] else signed

    @property
    def mark_price(self) -> Fraction:
        """The mark of the market."""
        return self._of.evaluation.bound.exact_mark(self._of.number)

    @property
    def currency(self) -> str:
        """The settlement currency, in which money is."""
        plan = self._of.evaluation.plan
        return plan.currencies[int(plan.instruments.currency[self._of.number])]

    def what_if(
        self, size: Amount | None = None, leverage: Amount | None = None, margin: Amount | None = None,
        profit: Amount | None = None,
    ) -> Exposure:  # fmt: skip
        """Return the exposure with other contracts (unsigned), leverage or unrealized profit, and with more margin.

        The entry price stays, unless a `profit` is supposed: it is the unrealized profit of the position, the equity
        being what it is now, as if it had been closed and opened again. Leverage of an isolated position sets its
        margin to entry notional / leverage, and the selected leverage. Of a cross one it sets the selected leverage
        where the venue's score reads that; else the balance changes until bucket notional / equity is the leverage. A
        margin below zero is taken away. QueryError for a flat position, a number that is none, or leverage or profit
        where it can not be reached.
        """
        values = {
            "size": amount_of("size", size), "profit": amount_of("profit", profit, signed=True),
            "leverage": amount_of("leverage", leverage), "margin": amount_of("margin", margin, signed=True),
        }  # fmt: skip
        return self._of.what_if({kind: value for kind, value in values.items() if value is not None})

    def changes(self, rank: int | None = None, *, light: int | None = None) -> Changes:
        """Return the smallest change of size, leverage, added margin and unrealized profit that moves the rank.

        Without arguments one light down. To a `rank` it is enough to reach it or to go beyond, seen from where the
        position stands; to a `light` likewise. The first 64 lots and hundredths of a leverage are tried one by one;
        beyond, and for money, it is sought as if more of a change moved the rank further. QueryError for a rank or
        light that the queue does not have.
        """
        return self._of.changes(self, rank, light)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON: money as decimal text, contracts and moves as numbers."""
        mean = self.mean
        return {
            "account": self.account, "instrument": self.instrument, "side": self.side, "mechanism": self.mechanism,
            "quantity": number(self.quantity), "currency": self.currency,
            "adl_rank": self.adl_rank, "adl_light": self.adl_light, "quantity_ahead": number(self.quantity_ahead),
            "positions": self.positions, "lights": self.lights,
            "first": self.first.to_dict(), "last": self.last.to_dict(),
            "scenarios": [s.to_dict() for s in self.scenarios],
            "changes": self.changes().to_dict() if self.sought else None,
            "mean": None if mean is None else {name: money(value) for name, value in mean.items()},
            "resolutions": self.resolutions, "remarks": list(self.remarks),
        }  # fmt: skip

    def to_ccxt(self, symbol: str | None = None) -> dict[str, Any]:
        """Return CCXT's structure of an auto-deleveraging rank; `symbol` is CCXT's name, if it is another.

        `rank` is the light (1 is the safest), `rating` the third of the lights that it is in: low, medium or high;
        `percentage` is 100 for whoever goes first: of the positions in the queue, how many go with it or later.
        """
        rating = None
        if self.adl_light is not None and self.lights:
            rating = ("low", "medium", "high")[min(2, 3 * (self.adl_light - 1) // self.lights)]
        place = None
        if self.adl_rank is not None:
            place = float(Fraction(100 * (self.positions - self.adl_rank + 1), self.positions))
        at = self._of.evaluation.snapshot.as_of
        seconds = None if at is None else exact(seconds_of(at))
        return {
            "info": {"account": self.account, "mechanism": self.mechanism, "adl_rank": self.adl_rank,
                     "positions": self.positions, "lights": self.lights, "quantity_ahead": number(self.quantity_ahead)},
            "symbol": symbol or self.instrument, "rank": self.adl_light, "rating": rating, "percentage": place,
            "timestamp": None if seconds is None else int(seconds * 1000),
            "datetime": None if seconds is None else moment_of(seconds).isoformat().replace("+00:00", "Z"),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pair:
    """Two legs that hedge each other, at two accounts or venues: what one leaves behind when the other is taken.

    Sizes are signed units of the underlying. `net` is what is open now; `orphaned` by leg the size of the other leg
    that is left open when all of this one is taken, and `notional` its value at its own mark. `first` is the leg whose
    first contract a smaller move takes (None where none does), with that move as a fraction of the mark.
    """

    sizes: tuple[Fraction, Fraction]
    net: Fraction
    orphaned: tuple[Fraction, Fraction]
    notional: tuple[Fraction, Fraction]
    first: int | None
    move: Fraction | None


def hedged_pair(one: Exposure, other: Exposure) -> Pair:
    """Return what deleveraging of either leg of a hedge leaves open; QueryError where the legs hedge nothing."""
    sizes = (one.size, other.size)
    if sizes[0] * sizes[1] >= 0:
        raise QueryError(Finding("invalid_value", "the legs do not hedge each other", "one long, one short"))
    legs = (one, other)
    orphaned = tuple(sizes[1 - k] for k in (0, 1))
    notional = tuple(abs(sizes[1 - k]) * legs[1 - k].mark_price for k in (0, 1))
    moves = [(abs(leg.first.move), k) for k, leg in enumerate(legs) if leg.first.move is not None]
    first = min(moves)[1] if moves else None
    move = None if first is None else legs[first].first.move
    return Pair(sizes, sizes[0] + sizes[1], (orphaned[0], orphaned[1]), (notional[0], notional[1]), first, move)


class _Source:
    """What an exposure is computed from."""

    def __init__(
        self, evaluation: Evaluation, account: Label, number_: int, position: int, execution: Execution | str | None,
        weights: tuple[Fraction, Fraction] | None, ordered: bool = False, hedge: int | None = None,
    ) -> None:  # fmt: skip
        self.evaluation, self.account, self.number, self.position = evaluation, account, number_, position
        self.execution, self.weights, self.ordered, self.hedge = execution, weights, ordered, hedge

    @once
    def search(self) -> Search | None:
        """The moves of the market; None where nothing is held."""
        return None if self.position < 0 else Search(self.evaluation, self.position, self.execution)

    @once
    def first_step(self) -> int | None:
        """The least move that takes anything, or makes it pay a share of a loss."""
        search, word = self.search, mechanism(self.evaluation.plan)
        if search is None or word == "none":
            return None
        if word == "socialised":
            return search.least(lambda taken: taken.shared > 0, self._guess(ZERO))
        return search.least(lambda taken: taken.contracts > 0, self._guess(ZERO))

    @once
    def last_step(self) -> int | None:
        """The least move that takes everything: all contracts, or shares of losses all its profit."""
        search = self.search
        if search is None or self.first_step is None:
            return None
        size = search.size
        if not self.takes:
            return search.least(lambda taken: taken.shared >= taken.profit > 0, self._guess(size), self.first_step)
        return search.least(lambda taken: taken.contracts >= size, self._guess(size), self.first_step)

    @property
    def takes(self) -> bool:
        """Whether the ruleset takes contracts at all."""
        return mechanism(self.evaluation.plan) in ("queue", "pro_rata", "plugin")

    def remarks(self) -> tuple[str, ...]:
        """Return what the numbers leave out, and why nothing may be taken at the mark."""
        plan, rules = self.evaluation.plan, self.evaluation.plan.deleveraging
        if self.position >= 0 and mechanism(plan) == "socialised":
            by = {layer.by for layer in plan.layers if layer.pays == "socialization"}
            cut = "Losses are cut from withdrawals: whose, no position tells." if "withdrawals" in by else ""
            return (cut,) if cut else ()
        if self.position < 0 or rules is None or not self.takes:
            return ()
        said, bound = [], self.evaluation.bound
        bucket = ExactBucket(bound, int(bound.positions.bucket[self.position]))
        why = barred(self.evaluation, self.position, bucket, roles_of(bound))
        if why is not None:
            said.append(f"At this mark nothing is taken of it: {why}.")
        elif self.evaluation.liquidation.state[bucket.bucket] != HEALTHY:
            said.append("At this mark it is in liquidation itself.")
        elif self.ordered and bucket.equity < bucket.initial_margin:
            lacks = money(bucket.initial_margin - bucket.equity)
            said.append(f"After the order {lacks} is lacking to its initial margin: the venue may refuse it.")
        said += _left_out(plan, rules)
        return tuple(said)

    def _guess(self, own: Fraction) -> int:
        assert self.search is not None
        place = _place(self.evaluation, self.position)
        return self.search.guess(own + (ZERO if place is None else place.ahead))

    def step(self, which: Literal["first", "last"]) -> int | None:
        """Return the move of the first or of the last contract."""
        return self.first_step if which == "first" else self.last_step

    def scenario(self, which: Literal["first", "last"], step: int | None) -> Scenario:
        """Return what a move costs."""
        search = self.search
        if step is None or search is None:
            return Scenario(which)
        taken: Taken = search.at(step)
        mark, plan = search.price(step), self.evaluation.plan.instruments
        # What is opposite and more than is left of the position, less what was more than all of it before.
        opposite, left = self.opposite(), search.size - taken.contracts
        open_legs = max(ZERO, opposite - left) - max(ZERO, opposite - search.size)
        orphaned = open_legs * plan.contract_size_exact[self.number]
        notional = orphaned / mark if plan.inverse[self.number] else orphaned * mark
        lost = taken.lost if self.takes else taken.shared
        return Scenario(which, search.move(step), mark, taken.contracts, taken.price, lost, notional, taken.fees)

    def opposite(self) -> Fraction:
        """Return the contracts that the account, and the one named beside it, hold against the position."""
        own = int(self.evaluation.bound.positions.account[self.position])
        return self.opposite_of(own) + (ZERO if self.hedge in (None, own) else self.opposite_of(self.hedge or 0))

    def opposite_of(self, code: int) -> Fraction:
        """Return the contracts that an account holds against the position."""
        bound, p = self.evaluation.bound, self.evaluation.bound.positions
        rows = (i for i in range(int(p.start[code]), int(p.start[code + 1])) if int(p.instrument[i]) == self.number)
        sign = 1 if p.quantity[self.position] > 0 else -1
        return sum((-q * sign for q in (bound.exact_position(i)[0] for i in rows) if q * sign < 0), ZERO)

    # What if

    def changing(self, evaluation: Evaluation | None = None) -> Changing:
        """Return the position, in another evaluation of it if one is given; QueryError where nothing is held."""
        if self.position < 0:
            symbol = self.evaluation.plan.instruments.symbols[self.number]
            message = f"account `{self.account}` holds nothing in {symbol}"
            raise QueryError(Finding("unknown_id", message, "suppose a position with `order`"))
        return Changing(evaluation or self.evaluation, self.position)

    def what_if(self, values: Mapping[str, Fraction]) -> Exposure:
        """Return the exposure after changes, by kind."""
        evaluation = self.changing().evaluation
        for kind in KINDS:
            if kind in values:
                evaluation = self.changing(evaluation).supposed(kind, values[kind])
        return _made(evaluation, self)

    @property
    def sought(self) -> bool:
        """Whether changes of the rank are sought: where something is held, and the ruleset itself says who ranks."""
        rules = self.evaluation.plan.deleveraging
        return self.position >= 0 and rules is not None and rules.ranks is None and not rules.drawn

    def changes(self, now: Exposure, rank: int | None, light: int | None) -> Changes:
        """Return the smallest changes that move the rank as asked."""
        changing = self.changing()
        if now.adl_rank is None or now.adl_light is None or not self.sought:
            return Changes()
        wanted = _wanted(now, rank, light)
        return Changes() if wanted is None else changing.changes(wanted)


def _left_out(plan: Plan, rules: Deleveraging) -> list[str]:
    """Return what the numbers under a ruleset leave out, as sentences."""
    said = []
    if rules.ranks is not None:
        said.append(f"Plugin `{rules.ranks}` ranks; which change would move its rank is not sought.")
    if rules.drawn:
        said.append("Nobody is ranked: positions are closed one after the other from a place that is drawn.")
    if plan.collateral is not None:
        said.append("Which margin or profit would move its rank is not sought: collateral has weights.")
    before = list(itertools.takewhile(lambda step: step.do != "deleverage", plan.steps))
    if any(step.cooldown or step.ramp or step.timeout for step in before):
        said.append("Steps before deleveraging may wait for a time; what is taken after it is not counted.")
    if rules.severity is not None:
        said.append("An event asks for a part of a bankrupt position only, by the severity that the snapshot has.")
    if rules.start is not None:
        said.append("Deleveraging is on only while its trigger holds, with the numbers that the snapshot has.")
    return said


def exposure(
    evaluation: Evaluation, account: str | int, instrument: str | int, *, side: str | None = None,
    execution: Execution | str | None = None, order: Order | None = None,
    weights: Mapping[str, Amount] | None = None, hedge: str | int | None = None,
) -> Exposure:  # fmt: skip
    """Return what deleveraging means for one position, or for it after an order: see `Evaluation.exposure`."""
    bound = evaluation.bound
    number_ = instrument_number(bound, instrument)
    if side not in (None, "long", "short"):
        raise QueryError(Finding("unknown_choice", f"`{side}` is no side", "say long or short"))
    code = _code(bound, account)
    if order is not None:
        evaluation = _ordered(evaluation, account, instrument, order, _held(bound, code, number_, side), side)
        bound, code = evaluation.bound, _code(evaluation.bound, account)
    position = _held(bound, code, number_, side)
    if position < 0 and side is not None and order is None and _held(bound, code, number_, None) >= 0:
        message = f"`{account}` holds no {side} in {bound.plan.instruments.symbols[number_]}, but the other side"
        raise QueryError(Finding("unknown_id", message, "leave the side out"))
    chosen = None if weights is None else (_weight(weights, "first"), _weight(weights, "last"))
    if chosen is not None and not sum(chosen):
        raise QueryError(Finding("not_positive", "all weights are zero", "say `first` and `last`, one above zero"))
    of = _Source(evaluation, bound.account(code), number_, position, execution, chosen, order is not None)
    if hedge is not None:
        of.hedge = _hedge(of, hedge)
    return _exposed(of)


def _hedge(of: _Source, hedge: str | int) -> int:
    """Return the code of an account whose position is opposite to this one; QueryError where it hedges nothing."""
    bound = of.evaluation.bound
    code = _code(bound, hedge)
    if of.position >= 0 and not of.opposite_of(code):
        symbol = bound.plan.instruments.symbols[of.number]
        side = "long" if bound.positions.side(of.position) == LONG else "short"
        message = f"`{hedge}` holds nothing in {symbol} that hedges a {side} position"
        raise QueryError(Finding("invalid_value", message, "name the account that holds the other side"))
    return code


def _made(evaluation: Evaluation, of: _Source) -> Exposure:
    """Return the exposure of the same position in another evaluation."""
    position = of.position if evaluation.bound.positions.quantity[of.position] else -1
    source = _Source(evaluation, of.account, of.number, position, of.execution, of.weights, of.ordered, of.hedge)
    return _exposed(source)


def _exposed(of: _Source) -> Exposure:
    evaluation, i = of.evaluation, of.position
    plan, bound = evaluation.plan, evaluation.bound
    word, rules = mechanism(plan), plan.deleveraging
    place = _place(evaluation, i)
    quantity = ZERO if i < 0 else abs(bound.exact_position(i)[0])
    side: Side | None = None if i < 0 else "long" if bound.positions.side(i) == LONG else "short"
    sums = None if place is None else evaluation.sums_of(segment_of(bound, i))
    first = last = None
    if place is not None and sums is not None and rules is not None and rules.whole_by_rank:
        first, last = place.ahead, place.ahead + quantity
    if not of.takes:
        first = last = None
    return Exposure(
        of.account, plan.instruments.symbols[of.number], side, word, quantity,
        None if place is None else place.rank, None if place is None else place.light,
        None if place is None else place.ahead, 0 if sums is None else len(sums.rows),
        None if rules is None else rules.light_count,
        Reached("first", first, of), Reached("last", last, of), of,
    )  # fmt: skip


def _place(evaluation: Evaluation, i: int) -> Place | None:
    if i < 0 or evaluation.plan.deleveraging is None:
        return None
    rank = int(evaluation.queue.rank[i])
    if rank < 1:
        return None
    before = evaluation.sums_of(segment_of(evaluation.bound, i)).of(rank - 1)
    return Place(rank, int(evaluation.queue.light[i]), before)


def _code(bound: Bound, account: str | int) -> int:
    code = account_code(bound, account)
    if code is None:
        labels = [str(label) for label in bound.snapshot.ids("positions", "account").labels]
        message = f"the snapshot has no account `{account}`"
        raise QueryError(Finding("unknown_id", message, suggestion(str(account), labels)))
    return code


def _held(bound: Bound, code: int, number_: int, side: str | None) -> int:
    """Return the position that an account holds in an instrument, on a side if one is named; -1 for none."""
    p = bound.positions
    held = [
        i
        for i in range(int(p.start[code]), int(p.start[code + 1]))
        if int(p.instrument[i]) == number_
        and p.quantity[i]
        and (side is None or (p.quantity[i] > 0) == (side == "long"))
    ]
    if len(held) > 1:
        message = f"account `{bound.account(code)}` holds both sides of {bound.plan.instruments.symbols[number_]}"
        raise QueryError(Finding("unknown_choice", message, "say which: side long or short"))
    return held[0] if held else -1


def _ordered(
    evaluation: Evaluation, account: str | int, instrument: str | int, order: Order, position: int, asked: str | None
) -> Evaluation:
    """Return the evaluation after an order has filled: in a side of its own where the account holds sides apart."""
    parts: tuple[Any, ...] = tuple(order.split(":")) if isinstance(order, str) else tuple(order)
    if len(parts) == 2:
        parts = (*parts, None)
    if len(parts) != 3:
        raise QueryError(Finding("invalid_value", f"`{order}` is no order", "write side:quantity:price"))
    side, quantity, price = parts
    bound = evaluation.bound
    held = _side_of(bound, account, instrument, position, asked)
    fill = read_fill(bound, account, instrument, str(side), quantity, price or None, held)
    after = fill.quantity + (bound.exact_position(fill.position)[0] if fill.position >= 0 else ZERO)
    if after:
        # What closes all of a position is as large as that.
        whole_lots(bound, fill.instrument, abs(fill.quantity))
    if held != "net" and after and (after > 0) != (held == "long"):
        message = f"the order closes more than the {held} side of `{account}` holds"
        raise QueryError(Finding("invalid_value", message, "sides are held apart: say the other --side to open it"))
    return Evaluation(evaluation.plan, with_fill(bound, fill), evaluation.threads)


def _side_of(bound: Bound, account: str | int, instrument: str | int, position: int, asked: str | None) -> str:
    """Return the position_side that an order fills: that of the position, else the side asked for of an account that
    holds sides apart, else net.
    """
    p, sides = bound.positions, bound.snapshot.choices("positions", "position_side")
    if position >= 0:
        return sides.word(p.row_of(position))
    code, number_ = _code(bound, account), instrument_number(bound, instrument)
    rows = [i for i in range(int(p.start[code]), int(p.start[code + 1])) if int(p.instrument[i]) == number_]
    apart = bool(rows) and all(sides.word(p.row_of(i)) != "net" for i in rows)
    return asked if apart and asked is not None else "net"


def _weight(weights: Mapping[str, Amount], name: str) -> Fraction:
    for given in weights:
        if given not in ("first", "last"):
            raise QueryError(Finding("unknown_choice", f"`{given}` is no scenario", "weights are of first and last"))
    return amount_of("weight", weights.get(name, 0)) or ZERO


def _wanted(now: Exposure, rank: int | None, light: int | None) -> Callable[[Place], bool] | None:
    """Return what a place must fulfil; None where the position is there already and nothing is left to change."""
    at, lit = now.adl_rank or 0, now.adl_light or 0
    if rank is not None:
        if not 1 <= rank <= now.positions:
            raise QueryError(Finding("invalid_value", f"the queue has no rank {rank}", f"it has 1 to {now.positions}"))
        if rank == at:
            return None
        return (lambda p: p.rank >= rank) if rank > at else (lambda p: p.rank <= rank)
    wanted = lit - 1 if light is None else light
    if light is not None and not 1 <= light <= (now.lights or 0):
        raise QueryError(Finding("invalid_value", f"there is no light {light}", f"there are 1 to {now.lights}"))
    if wanted < 1 or wanted == lit:
        return None
    return (lambda p: p.light <= wanted) if wanted < lit else (lambda p: p.light >= wanted)
