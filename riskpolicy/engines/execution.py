"""Execution: what an order gets. Order books, impact models and given fills behind one interface, exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

from riskpolicy.errors import Finding, SnapshotError
from riskpolicy.numbers import sqrt

#: Parts into which an impact that is no straight line is cut, each filled at its average price.
_PARTS = 16


@dataclass(frozen=True, slots=True)
class Fill:
    """Contracts at a price; above zero bought, below zero sold."""

    quantity: Fraction
    price: Fraction


class Execution(Protocol):
    """Says what an order in an instrument would get now, and remembers what was taken."""

    def quote(
        self, instrument: str, quantity: Fraction, mark: Fraction, limit: Fraction | None = None
    ) -> Sequence[Fill]:
        """Return the fills of an order of signed contracts, none worse than `limit`; it may be filled in part."""
        ...

    def take(self, instrument: str, fills: Sequence[Fill]) -> None:
        """Remember that fills were taken: what was there is gone."""
        ...


def notional_and_vwap(fills: Sequence[Fill]) -> tuple[Fraction, Fraction]:
    """Return quantity x price of fills, unsigned, and their average price by quantity."""
    total = sum((abs(f.quantity) * f.price for f in fills), Fraction(0))
    size = sum((abs(f.quantity) for f in fills), Fraction(0))
    return total, total / size if size else Fraction(0)


@dataclass
class BookLevels:
    """Fills from order books: bids and asks by instrument, (price, quantity), the best first."""

    bids: Mapping[str, Sequence[tuple[Fraction, Fraction]]]
    asks: Mapping[str, Sequence[tuple[Fraction, Fraction]]]
    taken: dict[tuple[str, bool], Fraction] = field(default_factory=dict)

    def __post_init__(self) -> None:
        findings = []
        for name in {*self.bids, *self.asks}:
            bids, asks = self.bids.get(name, ()), self.asks.get(name, ())
            prices = [[p for p, _ in side] for side in (bids, asks)]
            if prices[0] != sorted(prices[0], reverse=True) or prices[1] != sorted(prices[1]):
                findings.append(Finding("book_order", f"the book of {name} is not sorted, the best price first"))
            if bids and asks and bids[0][0] >= asks[0][0]:
                crossed = f"bid {float(bids[0][0]):g}, ask {float(asks[0][0]):g}"
                findings.append(Finding("book_crossed", f"the book of {name} is crossed: {crossed}"))
            if any(p <= 0 or q < 0 for side in (bids, asks) for p, q in side):
                findings.append(
                    Finding("not_positive", f"the book of {name} has a price not above zero or a size below it")
                )
        if findings:
            raise SnapshotError(findings)

    def quote(
        self, instrument: str, quantity: Fraction, mark: Fraction, limit: Fraction | None = None
    ) -> Sequence[Fill]:
        """Walk the book from the best level that is left; the mark does not matter."""
        _ = mark
        buys = quantity > 0
        left, skip = abs(quantity), self.taken.get((instrument, buys), Fraction(0))
        fills = []
        for price, size in (self.asks if buys else self.bids).get(instrument, ()):
            gone = min(skip, size)
            skip -= gone
            take = min(left, size - gone)
            if limit is not None and (price > limit if buys else price < limit):
                break
            if take > 0:
                fills.append(Fill(take if buys else -take, price))
                left -= take
            if left == 0:
                break
        return fills

    def take(self, instrument: str, fills: Sequence[Fill]) -> None:
        """Remember how deep the book is eaten into."""
        for fill in fills:
            key = (instrument, fill.quantity > 0)
            self.taken[key] = self.taken.get(key, Fraction(0)) + abs(fill.quantity)


@dataclass
class Impact:
    """Fills along a price that moves with what is taken: mark x (1 +- coefficient x (quantity / depth) ** exponent).

    linear: exponent 1 with `slope` in price per contract; power: any exponent that is a half or whole; sqrt: a half.
    An order fills at the average of the price along its way. What is taken stays taken.
    """

    exponent: Fraction
    slope: Mapping[str, Fraction]
    absolute: bool = False
    taken: dict[str, Fraction] = field(default_factory=dict)

    def quote(
        self, instrument: str, quantity: Fraction, mark: Fraction, limit: Fraction | None = None
    ) -> Sequence[Fill]:
        """Return one fill of a straight line, several of a curve."""
        slope = self.slope.get(instrument, Fraction(0)) * (1 if self.absolute else mark)
        sign, done = (1 if quantity > 0 else -1), abs(self.taken.get(instrument, Fraction(0)))
        if self.taken.get(instrument, Fraction(0)) * sign < 0:
            done = Fraction(0)
        size = abs(quantity)
        if limit is not None:
            size = min(size, self._within(abs(limit - mark) if (limit - mark) * sign > 0 else Fraction(0), slope, done))
        parts = 1 if self.exponent == 1 else _PARTS
        fills = []
        for k in range(parts):
            start, end = done + size * k / parts, done + size * (k + 1) / parts
            price = mark + sign * (self._at(start, slope) + self._at(end, slope)) / 2
            if end > start and price > 0:
                fills.append(Fill(sign * (end - start), price))
        return fills

    def take(self, instrument: str, fills: Sequence[Fill]) -> None:
        """Move the price for whoever comes next."""
        for fill in fills:
            before = self.taken.get(instrument, Fraction(0))
            self.taken[instrument] = before + fill.quantity if before * fill.quantity >= 0 else fill.quantity

    def _at(self, size: Fraction, slope: Fraction) -> Fraction:
        """Return how far the price has moved after `size` contracts."""
        if self.exponent == 1:
            return slope * size
        whole, half = divmod(self.exponent * 2, 2)
        return slope * size ** int(whole) * (sqrt(size) if half else 1)

    def _within(self, room: Fraction, slope: Fraction, done: Fraction) -> Fraction:
        """Return how many contracts fit before the price has moved by `room`."""
        if slope == 0:
            return Fraction(10) ** 40
        if self.exponent == 1:
            return max(Fraction(0), room / slope - done)
        share = room / slope
        top = share * share if self.exponent == Fraction(1, 2) else Fraction(float(share) ** (1 / float(self.exponent)))
        return max(Fraction(0), top - done)


@dataclass
class GivenFills:
    """Fills as they came: by instrument, in order, each used once."""

    fills: Mapping[str, Sequence[Fill]]
    used: dict[str, Fraction] = field(default_factory=dict)

    def quote(
        self, instrument: str, quantity: Fraction, mark: Fraction, limit: Fraction | None = None
    ) -> Sequence[Fill]:
        """Return the given fills on the order's side, up to its size; the mark does not matter."""
        _ = mark
        left, skip, out = abs(quantity), self.used.get(instrument, Fraction(0)), []
        for fill in self.fills.get(instrument, ()):
            if fill.quantity * quantity <= 0:
                continue
            gone = min(skip, abs(fill.quantity))
            skip -= gone
            take = min(left, abs(fill.quantity) - gone)
            worse = limit is not None and (fill.price > limit if quantity > 0 else fill.price < limit)
            if take > 0 and not worse:
                out.append(Fill(take if quantity > 0 else -take, fill.price))
                left -= take
        return out

    def take(self, instrument: str, fills: Sequence[Fill]) -> None:
        """Remember which fills are used."""
        for fill in fills:
            self.used[instrument] = self.used.get(instrument, Fraction(0)) + abs(fill.quantity)
