"""Books for the conformance kit: what hooks are asked, as hypothesis strategies, and as tables to read.

Needs hypothesis, which is imported where a strategy is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, TypeAlias

from riskpolicy.engines.core.adl import Candidate, Demand
from riskpolicy.engines.core.fees import FeeDue
from riskpolicy.numbers import fraction_text

ZERO = Fraction(0)
MARK = Fraction(100)
_KINDS = ("maker", "taker", "liquidation", "deleveraging")
_LESS = Fraction(1, 4)
#: What positions have gained in price. Most is little: profits that a closing price eats up are where policies differ.
_GAINS = (*range(21), *range(1, 11), *range(-40, 41, 5))

#: A demand and who may be closed for it.
Book: TypeAlias = tuple[Demand, tuple[Candidate, ...]]


@dataclass(frozen=True, slots=True)
class Ask:
    """An order of signed contracts at a mark, with a limit or without, in the market that `markets` describes."""

    markets: Mapping[str, Mapping[str, Fraction | None]]
    quantity: Fraction
    limit: Fraction | None

    @property
    def mark(self) -> Fraction:
        """The mark price of the market."""
        return self.markets["BTC"]["mark_price"] or MARK


def books(*, odd: bool = False) -> Any:
    """Return a strategy of (demand, candidates): up to six positions on one side, with ranks by profit, then account.

    Linear and inverse contracts of several sizes, at a price worse than the mark, equal to it or better; some books
    without scores. All contracts are whole lots; with `odd` positions, caps and demands may be quarters of a lot, so
    that a position may only go whole.
    """
    from hypothesis import strategies as st

    @st.composite
    def book(draw: Any) -> Book:
        side = draw(st.sampled_from(["long", "short"]))
        sign = 1 if side == "long" else -1
        inverse = draw(st.sampled_from([False, False, True]))
        size = draw(st.sampled_from([Fraction(1), Fraction(1, 10), Fraction(100)]))
        price = MARK - sign * draw(st.sampled_from([10, 5, 0, 20, -5]))
        lot = draw(st.sampled_from([Fraction(1), Fraction(1, 2)]))
        step = lot * _LESS if odd and draw(st.booleans()) else lot
        contracts = draw(st.integers(1, 40)) * step
        demand = Demand(
            "BTC", side, contracts, price, MARK, lot, size, inverse, ZERO, draw(st.integers(0, 3)),
            draw(st.integers(0, 3)),
        )  # fmt: skip
        demand = replace(demand, deficit=max(ZERO, demand.lost(contracts)))
        # What a contract is worth at the mark, by 100: amounts of money are drawn in it.
        unit = size / MARK**2 if inverse else size
        scored = draw(st.sampled_from([True, True, True, False]))
        # A list of few choices each: what shrinks a book drops candidates that do not matter only then.
        people = draw(
            st.lists(
                st.tuples(st.integers(0, 14), st.integers(0, 15), st.sampled_from(_GAINS), st.integers(-20, 300)),
                min_size=1,
                max_size=6,
            )
        )
        found = []
        for k, (held_lots, cap_lots, gain, equity_units) in enumerate(people):
            held, entry, equity = held_lots * step, MARK - sign * gain, equity_units * unit
            cap = min(held, (cap_lots - 1) * step) if cap_lots else held
            profit = sign * held * size * (1 / entry - 1 / MARK if inverse else MARK - entry)
            score = profit if scored else None
            found.append(
                Candidate(f"A{k}", held, cap, entry, profit, held * MARK * unit, equity, equity - profit, score, k + 1)
            )
        order = sorted(found, key=lambda c: (-(c.score or ZERO), c.account))
        place = {c.account: rank for rank, c in enumerate(order, 1)}
        return demand, tuple(replace(c, rank=place[c.account]) for c in found)

    return book()


def fees_due() -> Any:
    """Return a strategy of up to four fees of one currency, rebates and nothing at all among them."""
    from hypothesis import strategies as st

    amounts = st.one_of(st.integers(-20, 200), st.integers(10**6, 10**9))
    fee = st.builds(
        FeeDue, st.sampled_from(["A", "B"]), st.just("USDC"), amounts, st.sampled_from(_KINDS),
        st.sampled_from(["BTC", None]), st.just("fees"),
    )  # fmt: skip
    return st.lists(fee, min_size=1, max_size=4)


def asks() -> Any:
    """Return a strategy of orders in a market that has a number in every column of `markets` that an impact reads."""
    from hypothesis import strategies as st

    @st.composite
    def drawn(draw: Any) -> Ask:
        mark = Fraction(draw(st.integers(1, 1000)))
        columns = {"mark_price": mark, "index_price": mark, "oracle_price": mark}
        for name in ("open_interest", "daily_volume", "depth_quantity"):
            columns[name] = Fraction(draw(st.integers(1, 10**6)))
        for name in ("impact_slope", "depth_move", "impact_factor", "realized_volatility"):
            columns[name] = Fraction(draw(st.integers(1, 100)), 1000)
        columns["depth_exponent"] = Fraction(1)
        quantity = Fraction(draw(st.integers(1, 200)), 2) * draw(st.sampled_from([1, -1]))
        away = draw(st.sampled_from([None, Fraction(1, 20), ZERO]))
        limit = None if away is None else mark * (1 + away if quantity > 0 else 1 - away)
        return Ask({"BTC": columns}, quantity, limit)

    return drawn()


def table(book: Book | Sequence[FeeDue] | Ask | tuple[float, ...] | None) -> str:
    """Return what a hook was asked as a table; empty for None, which is nothing."""
    if book is None:
        return ""
    if isinstance(book, Ask):
        limit = "any price" if book.limit is None else fraction_text(book.limit)
        side, size = "buy" if book.quantity > 0 else "sell", fraction_text(abs(book.quantity))
        numbers = [(name, "" if x is None else fraction_text(x)) for name, x in book.markets["BTC"].items()]
        return f"{side} {size} BTC at {limit}, mark {fraction_text(book.mark)}\n{_aligned(numbers)}"
    if isinstance(book, list):
        return _aligned([("account", "kind", "amount"), *((fee.account, fee.kind, str(fee.amount)) for fee in book)])
    if isinstance(book[0], float):
        return _aligned([tuple(f"argument {k}" for k in range(1, len(book) + 1)), tuple(map(repr, book))])
    return _of_candidates(*book)


def _of_candidates(demand: Demand, candidates: Sequence[Candidate]) -> str:
    head = (
        f"{fraction_text(demand.contracts)} contracts from {demand.side}s at {fraction_text(demand.price)}, "
        f"mark {fraction_text(demand.mark_price)}, lot {fraction_text(demand.lot)}, event {demand.event}, "
        f"seed {demand.seed}"
    )
    if demand.contract_size != 1:
        head += f", contract size {fraction_text(demand.contract_size)}"
    if demand.inverse:
        head += ", inverse"
    rows: list[tuple[str, ...]] = [("account", "contracts", "cap", "entry", "profit", "equity", "rank")]
    for c in candidates:
        numbers = (c.contracts, c.cap, c.entry_price, c.unrealized_pnl, c.equity)
        rows.append((c.account, *map(fraction_text, numbers), str(c.rank)))
    return f"{head}\n{_aligned(rows)}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join(
        "  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
    )
