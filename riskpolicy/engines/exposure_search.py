"""How far a market must move until contracts of a position are taken: resolutions of the book at other marks."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from riskpolicy.engines.core.bound import SHORT
from riskpolicy.engines.core.exact import ZERO, ExactBucket
from riskpolicy.engines.core.resolution import Deleveraged, Resolution
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.engines.execution import Execution
from riskpolicy.engines.liquidation import BANKRUPT
from riskpolicy.engines.margin import bankruptcy_prices, liquidation_prices
from riskpolicy.errors import SnapshotError

#: Moves are counted in millionths of the mark.
STEPS = 10**6
#: As long as there are no more points, all are looked at; of more, as if a larger move took no less.
FEW = 96
#: In books of no more positions, where a resolution is quick, gaps between few points are looked into as well: rankings
#: change with the mark, so that what is taken at a move need not be at a larger one.
SMALL, LOOKED_AT = 20_000, 40


@dataclass(frozen=True, slots=True)
class Taken:
    """What a resolution takes of a position: unsigned contracts, their value at its prices, what is lost at the mark.

    Money is in the settlement currency of the instrument; for an inverse the value is by contracts too. `fees` are of
    deleveraging, `closed` all the contracts that are taken of its side. `shared` is what its account pays of others'
    losses, `profit` what the position has gained then.
    """

    contracts: Fraction = ZERO
    priced: Fraction = ZERO
    lost: Fraction = ZERO
    fees: Fraction = ZERO
    closed: Fraction = ZERO
    shared: Fraction = ZERO
    profit: Fraction = ZERO

    @property
    def price(self) -> Fraction | None:
        """The average price of the contracts, None where none is taken."""
        return self.priced / self.contracts if self.contracts else None


class Search:
    """The moves of one market, in the direction that ruins the other side, and what each takes of one position.

    A long is taken when shorts are ruined: moves go up, to tenfold the mark or twice the last price at which anybody
    on the other side is liquidated or bankrupt; for a short they go down, to a millionth of the mark.
    """

    def __init__(self, evaluation: Evaluation, i: int, execution: Execution | str | None) -> None:
        self.evaluation, self.i, self.execution = evaluation, i, execution
        bound = evaluation.bound
        self.number = int(bound.positions.instrument[i])
        self.symbol = bound.plan.instruments.symbols[self.number]
        self.account = str(bound.account(int(bound.positions.account[i])))
        self.short = bound.positions.side(i) == SHORT
        self.mark = bound.exact_mark(self.number)
        self.size = abs(bound.exact_position(i)[0])
        self.conversion = bound.exact_conversion(i)
        self.socialising = {layer.id for layer in bound.plan.layers if layer.pays == "socialization"}
        self.known: dict[int, Taken] = {}
        self._points: list[int] | None = None

    @property
    def resolutions(self) -> int:
        """How many resolutions have been run so far."""
        return len(self.known)

    def price(self, step: int) -> Fraction:
        """Return the mark after a move of so many millionths."""
        return self.mark * (1 + self.move(step))

    def move(self, step: int) -> Fraction:
        """Return a move as a fraction of the mark, below zero for one down."""
        return Fraction(-step if self.short else step, STEPS)

    def shocked(self, step: int) -> Evaluation:
        """Return the evaluation after a move."""
        return self.evaluation.shock({self.symbol: self.price(step)}) if step else self.evaluation

    def at(self, step: int) -> Taken:
        """Return what is taken of the position after a move."""
        if step not in self.known:
            self.known[step] = self._resolved(step)
        return self.known[step]

    def _resolved(self, step: int) -> Taken:
        try:
            model = self.execution if isinstance(self.execution, str | None) else copy.deepcopy(self.execution)
            evaluation = self.shocked(step)
            result = evaluation.resolve(model)
        except SnapshotError as error:
            # Where the rules give no answer at that price, such as beyond the last tier, nothing is said to be taken.
            if not step or "missing_value" in error.codes:
                raise
            return Taken()
        side = [d for d in result.deleveraged if d.instrument == self.symbol and (d.quantity < 0) == self.short]
        mine = [d for d in side if d.account == self.account != d.against]
        return Taken(
            sum((abs(d.quantity) for d in mine), ZERO),
            sum((abs(d.quantity) * d.price for d in mine), ZERO),
            sum((d.lost for d in mine), ZERO) / self.conversion,
            self._fees(mine),
            sum((abs(d.quantity) for d in side), ZERO),
            self._shared(result),
            self._profit(evaluation) if self.socialising else ZERO,
        )

    def _shared(self, result: Resolution) -> Fraction:
        """Return what the account pays of others' losses, in settlement money."""
        paid = ZERO
        for e in result.ledger.entries if self.socialising else ():
            if e.account == self.account and e.rule in self.socialising and e.currency is not None:
                paid += max(0, -(e.amount or 0)) * result.ledger.quantum[e.currency]
        return paid / self.conversion

    def _fees(self, mine: Sequence[Deleveraged]) -> Fraction:
        """Return the fees of what is taken, before rounding."""
        plan = self.evaluation.plan
        if plan.deleveraging is None or not plan.deleveraging.fee:
            return ZERO
        inverse = plan.instruments.inverse[self.number]
        value = sum((abs(d.quantity) / d.price if inverse else abs(d.quantity) * d.price for d in mine), ZERO)
        return value * plan.instruments.contract_size_exact[self.number] * plan.deleveraging.fee

    def _profit(self, evaluation: Evaluation) -> Fraction:
        bucket = ExactBucket(evaluation.bound, int(evaluation.bound.positions.bucket[self.i]))
        return bucket.positions[bucket.members.index(self.i)].unrealized_pnl

    def deficit(self, step: int) -> Fraction:
        """Return what the bankrupt buckets that hold the other side lack after a move, in settlement money."""
        after = self.shocked(step)
        bound, p = after.bound, after.bound.positions
        other = (p.instrument == self.number) & ((p.quantity > 0) if self.short else (p.quantity < 0))
        buckets = np.unique(p.bucket[other])
        total = ZERO
        for b in buckets[after.liquidation.state[buckets] == BANKRUPT].tolist():
            total -= ExactBucket(bound, b).equity / bound.conversion_of(b, self.number)
        return total

    def points(self) -> list[int]:
        """Return the moves to look at, from 0: just before and after each that ruins somebody, then larger ones."""
        if self._points is None:
            self._points = self._found()
        return self._points

    def _found(self) -> list[int]:
        evaluation = self.evaluation
        bound, m, p = evaluation.bound, evaluation.margins, evaluation.bound.positions
        other = (p.instrument == self.number) & ((p.quantity > 0) if self.short else (p.quantity < 0))
        prices = np.r_[
            liquidation_prices(bound, m, evaluation.liquidation.triggered)[other], bankruptcy_prices(bound, m)[other]
        ]
        mark = float(self.mark)
        steps = (prices / mark - 1) * (-STEPS if self.short else STEPS)
        # A price at a whole millionth may come out a hair below it, and just beyond it is where something happens.
        steps = steps + 1e-6
        steps = np.floor(steps[np.isfinite(steps) & (steps >= 0) & (steps < 1e15)]).astype(np.int64)
        last = int(steps.max(initial=0))
        limit = STEPS - 1 if self.short else max(9 * STEPS, 2 * last)
        step, larger = max(last, STEPS // 100), [limit]
        while (step := 2 * step) < limit:
            larger.append(step)
        found = np.unique(np.r_[0, steps, steps + 1, np.array(larger, np.int64)])
        points = [int(x) for x in found[found <= limit]]
        return _denser(points, LOOKED_AT) if len(bound.positions) <= SMALL else points

    def least(self, holds: Callable[[Taken], bool], guess: int = 0, start: int = 0) -> int | None:
        """Return the least move, no less than `start`, at which something holds of what is taken; None for no move.

        Between two points it is sought as if what holds at a move held at larger ones.
        """
        points = [x for x in self.points() if x > start]
        if holds(self.at(start)):
            return start
        found = self._scanned(points, holds) if len(points) <= FEW else self._galloped(points, holds, guess)
        if found is None:
            return None
        low, high = (points[found - 1] if found else start), points[found]
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(self.at(middle)) else (middle, high)
        return high

    def _scanned(self, points: list[int], holds: Callable[[Taken], bool]) -> int | None:
        return next((k for k, step in enumerate(points) if holds(self.at(step))), None)

    def _galloped(self, points: list[int], holds: Callable[[Taken], bool], guess: int) -> int | None:
        """Return the first of many points, from a guess: in ever longer strides up or down, then halving."""
        place = min(int(np.searchsorted(points, guess)), len(points) - 1)
        stride = 1
        if holds(self.at(points[place])):
            high, low = place, place - 1
            while low >= 0 and holds(self.at(points[low])):
                stride *= 2
                high, low = low, low - stride
            low = max(low, -1)
        else:
            low, high = place, place + 1
            while not holds(self.at(points[min(high, len(points) - 1)])):
                if high >= len(points) - 1:
                    return None
                stride *= 2
                low, high = high, high + stride
            high = min(high, len(points) - 1)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(self.at(points[middle])) else (middle, high)
        return high

    def guess(self, contracts: Fraction) -> int:
        """Return the move at which more contracts than these are in liquidation on the other side, the last if none."""
        evaluation = self.evaluation
        bound, m, p = evaluation.bound, evaluation.margins, evaluation.bound.positions
        other = (p.instrument == self.number) & ((p.quantity > 0) if self.short else (p.quantity < 0))
        prices = liquidation_prices(bound, m, evaluation.liquidation.triggered)[other]
        steps = (prices / float(self.mark) - 1) * (-STEPS if self.short else STEPS)
        size = np.abs(p.quantity[other])
        kept = np.isfinite(steps)
        order = np.argsort(steps[kept], kind="stable")
        due = np.cumsum(size[kept][order])
        place = int(np.searchsorted(due, float(contracts), "right"))
        return int(max(0, steps[kept][order][min(place, len(due) - 1)])) + 1 if len(due) else 0


def _denser(points: list[int], most: int) -> list[int]:
    """Return points with as many more between each two, evenly, as `most` in all lets there be.

    Between no move and the first that ruins somebody nothing happens.
    """
    gaps = [(a, b) for a, b in itertools.pairwise(points[1:]) if b - a > 1]
    each = (most - len(points)) // len(gaps) if gaps else 0
    more = {a + (b - a) * k // (each + 1) for a, b in gaps for k in range(1, each + 1)}
    return sorted({*points, *more})
