"""Execution: what an order gets. Order books, impact models and given fills behind one interface, exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Protocol, TypeAlias

from riskpolicy.errors import Finding, QueryError, SnapshotError
from riskpolicy.numbers import NumberError, exact, parse_decimal, sqrt

#: A number as a model is given it; a float means its shortest decimal.
Amount: TypeAlias = int | float | Decimal | str | Fraction


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
    """Fills along a price that moves with what is taken: by coefficient x contracts ** exponent, away from the mark.

    `slope` is the coefficient by instrument: of the mark, or in price where `absolute`. `exponent` is by instrument
    too; one number stands for all. An order fills at the average of the price along its way, a sale no further than
    to a price of zero. What is taken stays taken.
    """

    exponent: Fraction | Mapping[str, Fraction]
    slope: Mapping[str, Fraction]
    absolute: bool = False
    taken: dict[str, Fraction] = field(default_factory=dict)

    def quote(
        self, instrument: str, quantity: Fraction, mark: Fraction, limit: Fraction | None = None
    ) -> Sequence[Fill]:
        """Return one fill at the average price."""
        try:
            slope = self.slope[instrument] * (1 if self.absolute else mark)
            exponent = self.exponent if isinstance(self.exponent, Fraction) else self.exponent[instrument]
        except KeyError:
            message = f"the execution model has no numbers of {instrument}"
            raise SnapshotError(Finding("missing_value", message, "add them to `markets`, or to the model")) from None
        before, buys = self.taken.get(instrument, Fraction(0)), quantity > 0
        done = abs(before) if before * quantity > 0 else Fraction(0)
        size, room = abs(quantity), None if buys else mark
        if limit is not None:
            within = limit - mark if buys else mark - limit
            room = max(Fraction(0), within if room is None else min(room, within))
        if room is not None and slope > 0:
            size = min(size, max(Fraction(0), power(room / slope, 1 / exponent) - done))
        elif limit is not None and (limit < mark if buys else limit > mark):
            return []
        if size <= 0:
            return []
        price = mark + (1 if buys else -1) * slope * _average(done, done + size, exponent)
        return [Fill(size if buys else -size, price)] if price > 0 else []

    def take(self, instrument: str, fills: Sequence[Fill]) -> None:
        """Move the price for whoever comes next."""
        for fill in fills:
            before = self.taken.get(instrument, Fraction(0))
            self.taken[instrument] = before + fill.quantity if before * fill.quantity >= 0 else fill.quantity


def _average(start: Fraction, end: Fraction, exponent: Fraction) -> Fraction:
    """Return the average of x ** exponent between two sizes."""
    if exponent == 1:
        return (start + end) / 2
    more = exponent + 1
    return (power(end, more) - power(start, more)) / (more * (end - start))


def power(base: Fraction, exponent: Fraction) -> Fraction:
    """Return base ** exponent for a base of zero or more: exact where the exponent is whole, a half of a perfect
    square too, else to 50 significant digits, the same on every machine.
    """
    if base == 0:
        return Fraction(0)
    whole, rest = divmod(exponent, 1)
    if rest == 0:
        return base ** int(whole)
    if rest == Fraction(1, 2) and (root := sqrt(base)) ** 2 == base:
        return base ** int(whole) * root
    with localcontext() as context:
        context.prec = 60
        x = Decimal(base.numerator) / Decimal(base.denominator)
        e = Decimal(exponent.numerator) / Decimal(exponent.denominator)
        found = x**e
        context.prec = 50
        return Fraction(+found)


def linear_book(slope: Amount | Mapping[str, Amount]) -> Impact:
    """Return a book whose price moves by `slope` a contract, so that an order fills at mark -+ slope x size / 2.

    One slope for all instruments, or by instrument; in price per contract, zero or more.
    """
    return Impact(Fraction(1), _by_instrument(slope), absolute=True)


def power_depth(quantity: Amount, move: Amount, exponent: Amount) -> Impact:
    """Return a book with depth `quantity` x (d / move) ** exponent contracts within a move of d, a part of the mark.

    Taking Q contracts moves the price by move x (Q / quantity) ** (1 / exponent); the average slippage is
    exponent / (1 + exponent) of that.
    """
    power_of = 1 / exact_amount(exponent)
    return Impact(power_of, _Same(exact_amount(move) / power(exact_amount(quantity), power_of)))


def sqrt_impact(factor: Amount, volatility: Amount, volume: Amount) -> Impact:
    """Return a market moved by factor x volatility x sqrt(Q / volume), a part of the mark, after Q contracts.

    `volatility` and `volume` are of one day; the average slippage is two thirds of the move.
    """
    return Impact(Fraction(1, 2), _Same(exact_amount(factor) * exact_amount(volatility) / sqrt(exact_amount(volume))))


class _Same(dict[str, Fraction]):
    """One number for every instrument."""

    def __init__(self, value: Fraction) -> None:
        super().__init__()
        self.value = value

    def __missing__(self, key: str) -> Fraction:
        return self.value


def _by_instrument(given: Amount | Mapping[str, Amount]) -> Mapping[str, Fraction]:
    if isinstance(given, Mapping):
        return {name: exact_amount(value) for name, value in given.items()}
    return _Same(exact_amount(given))


def exact_amount(value: Amount) -> Fraction:
    """Return a number of zero or more, exactly; QueryError for anything else."""
    try:
        found = exact(parse_decimal(value.strip()) if isinstance(value, str) else value)
    except (NumberError, ValueError, OverflowError, TypeError, ArithmeticError):
        found = Fraction(-1)
    if found < 0 or isinstance(value, bool):
        raise QueryError(Finding("negative", f"`{value}` is no number of zero or more"))
    return found


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
