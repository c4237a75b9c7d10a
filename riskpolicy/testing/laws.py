"""The laws of deleveraging as checks: each says in a sentence how an allocation policy breaks it on one book.

A law holds a policy to what it declares; `always` is what every policy is held to. A check asks the policy itself, more
than once where the law compares two answers, and changes the book only in ways that the law is about.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeAlias

from riskpolicy.engines.core.adl import LAWS, AllocateAdl, Allocation, Candidate, Demand
from riskpolicy.errors import Finding, QueryError, one_of, suggestion

Candidates: TypeAlias = Sequence[Candidate]
Law: TypeAlias = Callable[[AllocateAdl, Demand, Candidates], "str | None"]

#: How far smoothness moves a number, and how much of the demand more than one lot may then move.
NUDGE = Fraction(1, 10**9)
MOVES = Fraction(1, 10**4)
ZERO = Fraction(0)


@dataclass(frozen=True, slots=True)
class _Stated:
    """A law: what it says in a line, and its check, which also gets the laws that the policy declares."""

    says: str
    check: Callable[[AllocateAdl, Demand, Candidates, Collection[str]], str | None]


def law(name: str, declared: Collection[str] = ()) -> Law:
    """Return the check of a law of LAWS, or of `always`: None where it holds, else a sentence.

    `declared` is all that the policy declares: one that takes profit only is exhaustive within profits. QueryError for
    an unknown law.
    """
    if name not in STATED:
        hint = suggestion(name, STATED) or f"laws: {one_of(STATED)}"
        raise QueryError(Finding("unknown_choice", f"there is no law `{name}`", hint))
    check = STATED[name].check
    return lambda allocate, demand, candidates: check(allocate, demand, candidates, declared)


def broken(allocate: AllocateAdl, demand: Demand, candidates: Candidates, declared: Collection[str]) -> dict[str, str]:
    """Return which laws, `always` and the declared ones, a policy breaks on a book, each with its sentence."""
    found = {name: law(name, declared)(allocate, demand, candidates) for name in ("always", *declared)}
    return {name: sentence for name, sentence in found.items() if sentence is not None}


# --- what every policy is held to ---


def _always(allocate: AllocateAdl, demand: Demand, candidates: Candidates, _: Collection[str]) -> str | None:
    found = allocate(demand, candidates)
    wrong = _form(demand, candidates, found)
    if wrong is not None:
        return wrong
    if allocate(demand, candidates) != found:
        return "the same demand and candidates give another answer the second time"
    back = allocate(demand, candidates[::-1])
    if back.given[::-1] != found.given or back.remaining != found.remaining:
        return "the order of the candidates changes who gives"
    return None


def _form(demand: Demand, candidates: Candidates, found: Allocation) -> str | None:
    """Return what is wrong with an allocation by itself: contracts and reasons."""
    if not len(found.given) == len(found.skipped) == len(candidates):
        return f"{len(found.given)} amounts and {len(found.skipped)} reasons for {len(candidates)} candidates"
    for c, given, why in zip(candidates, found.given, found.skipped, strict=True):
        if given < 0:
            return f"{c.account} gives {_text(given)}: contracts are created"
        if given > min(c.cap, c.contracts):
            return f"{c.account} gives {_text(given)}, more than its cap of {_text(min(c.cap, c.contracts))}"
        if given and why is not None:
            return f"{c.account} gives {_text(given)} and is skipped: {why}"
        if not given and not why:
            return f"{c.account} gives nothing and no reason is said"
    total = sum(found.given, ZERO)
    if total > demand.contracts:
        return f"{_text(total)} is given for a demand of {_text(demand.contracts)}: too much is closed"
    if found.remaining != demand.contracts - total:
        left = _text(demand.contracts - total)
        return f"{_text(total)} of {_text(demand.contracts)} is given and {_text(found.remaining)} remains, not {left}"
    return None


# --- the declared ones ---


def _contracts_opposite(
    allocate: AllocateAdl, demand: Demand, candidates: Candidates, _: Collection[str]
) -> str | None:
    # Candidates are the opposite side already; what is left to hold is that contracts and nothing else balance.
    return _form(demand, candidates, allocate(demand, candidates))


def _profit_only(allocate: AllocateAdl, demand: Demand, candidates: Candidates, _: Collection[str]) -> str | None:
    for c, given in zip(candidates, allocate(demand, candidates).given, strict=True):
        lost, profit = demand.lost(given), max(ZERO, c.unrealized_pnl)
        if given and lost > profit:
            return f"{c.account} loses {_text(lost)} of a profit of {_text(profit)}"
        if given and c.unrealized_pnl <= 0:
            return f"{c.account} gives {_text(given)} and has no profit"
    return None


def _budget_monotone(allocate: AllocateAdl, demand: Demand, candidates: Candidates, _: Collection[str]) -> str | None:
    before = allocate(demand, candidates)
    for more in (demand.lot, 2 * demand.lot, demand.contracts, 3 * demand.contracts + demand.lot):
        after = allocate(replace(demand, contracts=demand.contracts + more), candidates)
        for c, a, b in zip(candidates, before.given, after.given, strict=True):
            if b < a:
                larger = _text(demand.contracts + more)
                return f"{c.account} gives {_text(a)} of {_text(demand.contracts)} but {_text(b)} of {larger}"
    return None


def _exhaustive(allocate: AllocateAdl, demand: Demand, candidates: Candidates, declared: Collection[str]) -> str | None:
    found = allocate(demand, candidates)
    sizes = [demand.contracts, *(x for c in candidates for x in (c.contracts, c.cap))]
    odd = any(size % demand.lot for size in sizes)
    if found.remaining <= 0 or (odd and found.remaining < demand.lot):
        return None
    for c, given in zip(candidates, found.given, strict=True):
        room = min(c.cap, c.contracts) - given
        piece = min(demand.lot, room, found.remaining)
        if piece <= 0 or (piece == room < demand.lot and given + piece < c.contracts):
            continue
        profit = c.unrealized_pnl > 0 and demand.lost(given + piece) <= c.unrealized_pnl
        if profit or "profit_only" not in declared:
            return f"{_text(found.remaining)} remains and {c.account} could give {_text(piece)} more"
    return None


def _scale_free(allocate: AllocateAdl, demand: Demand, candidates: Candidates, _: Collection[str]) -> str | None:
    before = allocate(demand, candidates)
    for k in (Fraction(7), Fraction(1, 3)):
        after = allocate(scaled(demand, k), [_scaled(demand, c, k) for c in candidates])
        for c, a, b in zip(candidates, before.given, after.given, strict=True):
            if a != b:
                return f"{c.account} gives {_text(a)}, but {_text(b)} when all money is {_text(k)} times as much"
    return None


def scaled(demand: Demand, k: Fraction) -> Demand:
    """Return the demand when every amount of settlement money is k times as much."""
    at = 1 / k if demand.inverse else k
    return replace(demand, price=demand.price * at, mark_price=demand.mark_price * at, deficit=demand.deficit * k)


def _scaled(demand: Demand, c: Candidate, k: Fraction) -> Candidate:
    at = 1 / k if demand.inverse else k
    return replace(
        c,
        entry_price=c.entry_price * at,
        unrealized_pnl=c.unrealized_pnl * k,
        notional=c.notional * k,
        equity=c.equity * k,
        wallet_balance=c.wallet_balance * k,
    )


def _split_proof(allocate: AllocateAdl, demand: Demand, candidates: Candidates, _: Collection[str]) -> str | None:
    before = allocate(demand, candidates)
    for i, c in enumerate(candidates):
        for share in _cuts(demand, c):
            halves = [_part(c, share, "/1"), _part(c, 1 - share, "/2")]
            others = [replace(o, rank=2 * o.rank) for k, o in enumerate(candidates) if k != i]
            parts = [replace(h, rank=2 * c.rank + k) for k, h in enumerate(halves)]
            after = allocate(demand, [*others, *parts])
            both = sum(after.given[-2:], ZERO)
            if both != before.given[i]:
                return (
                    f"{c.account} gives {_text(before.given[i])} as one account, but {_text(both)} "
                    f"as two with {_text(share)} and {_text(1 - share)} of it"
                )
            rest = [g for k, g in enumerate(before.given) if k != i]
            for o, a, b in zip(others, rest, after.given, strict=False):
                if a != b:
                    return f"{o.account} gives {_text(a)}, but {_text(b)} once {c.account} is split in two"
    return None


def _cuts(demand: Demand, c: Candidate) -> Iterator[Fraction]:
    """Yield a share at which the contracts and the cap of a candidate both split into whole lots, if there is one."""
    held, cap = c.contracts / demand.lot, c.cap / demand.lot
    if c.contracts <= 0 or held.denominator != 1 or cap.denominator != 1:
        return
    common = math.gcd(int(held), int(cap))
    if common >= 2:
        yield Fraction(common // 3 or 1, common)


def _part(c: Candidate, share: Fraction, suffix: str) -> Candidate:
    return replace(
        c,
        account=c.account + suffix,
        contracts=c.contracts * share,
        cap=c.cap * share,
        unrealized_pnl=c.unrealized_pnl * share,
        notional=c.notional * share,
        equity=c.equity * share,
        wallet_balance=c.wallet_balance * share,
    )


def _entry_free(allocate: AllocateAdl, demand: Demand, candidates: Candidates, _: Collection[str]) -> str | None:
    before = allocate(demand, candidates)
    for at in (Fraction(1, 2), Fraction(3, 2)):
        moved = [_entered(demand, c, c.entry_price * at if i % 2 else c.entry_price / at)
                 for i, c in enumerate(candidates)]  # fmt: skip
        after = allocate(demand, _ranked(moved))
        for c, a, b in zip(candidates, before.given, after.given, strict=True):
            if a != b:
                return f"{c.account} gives {_text(a)}, but {_text(b)} at other entry prices and the same equity"
    return None


def _entered(demand: Demand, c: Candidate, entry_price: Fraction) -> Candidate:
    """Return a candidate that entered at another price and has the same equity; its score is its profit."""
    side = 1 if demand.side == "long" else -1
    size = side * c.contracts * demand.contract_size
    mark = demand.mark_price
    profit = size * (1 / entry_price - 1 / mark) if demand.inverse else size * (mark - entry_price)
    wallet = c.wallet_balance + c.unrealized_pnl - profit
    return replace(c, entry_price=entry_price, unrealized_pnl=profit, wallet_balance=wallet, score=profit)


def _path_independent(allocate: AllocateAdl, demand: Demand, candidates: Candidates, _: Collection[str]) -> str | None:
    once = allocate(demand, candidates)
    lots = demand.contracts // demand.lot
    for first in {lots // 3 * demand.lot, lots // 2 * demand.lot} - {ZERO}:
        one = allocate(replace(demand, contracts=first), candidates)
        left = [_closed(c, g) for c, g in zip(candidates, one.given, strict=True)]
        two = allocate(replace(demand, contracts=demand.contracts - sum(one.given, ZERO)), left)
        for c, a, b, d in zip(candidates, once.given, one.given, two.given, strict=True):
            if a != b + d:
                steps = f"{_text(b)} and then {_text(d)} in two steps"
                return f"{c.account} gives {_text(a)} in one step, but {steps}"
    return None


def _closed(c: Candidate, given: Fraction) -> Candidate:
    """Return a candidate after contracts of it are closed at the mark: its equity stays, its rank too."""
    if not given:
        return c
    kept = 1 - given / c.contracts
    return replace(
        c,
        contracts=c.contracts - given,
        cap=c.cap - given,
        unrealized_pnl=c.unrealized_pnl * kept,
        notional=c.notional * kept,
        wallet_balance=c.wallet_balance + c.unrealized_pnl * (1 - kept),
    )


def _smooth(allocate: AllocateAdl, demand: Demand, candidates: Candidates, _: Collection[str]) -> str | None:
    limit = demand.lot + demand.contracts * MOVES
    for i, j in _pairs(candidates):
        books = []
        for k in (1 + NUDGE, 1 - NUDGE):
            twin = _twin(candidates[i], candidates[j], k)
            books.append(_ranked([*candidates[:j], twin, *candidates[j + 1 :]]))
        one, two = (allocate(demand, book) for book in books)
        for c, a, b in zip(books[0], one.given, two.given, strict=True):
            if abs(a - b) > limit:
                what = f"{candidates[j].account} has {_text(2 * NUDGE)} less of the profit, score and equity"
                return f"{c.account} gives {_text(a)}, but {_text(b)} when {what}"
    return None


def _pairs(candidates: Candidates) -> Iterator[tuple[int, int]]:
    """Yield the first three pairs of neighbours by rank."""
    ranked = sorted(range(len(candidates)), key=lambda i: candidates[i].rank)
    yield from itertools.islice(itertools.pairwise(ranked), 3)


def _twin(c: Candidate, of: Candidate, k: Fraction) -> Candidate:
    """Return a candidate like another, with k times its money, under its own account."""
    return replace(
        c,
        account=of.account,
        unrealized_pnl=c.unrealized_pnl * k,
        equity=c.equity * k,
        wallet_balance=c.wallet_balance * k,
        score=None if c.score is None else c.score * k,
        rank=of.rank,
    )


def _ranked(candidates: Candidates) -> list[Candidate]:
    """Return the candidates with ranks by score, highest first, then as they were ranked."""
    order = sorted(
        range(len(candidates)),
        key=lambda i: (math.inf if (s := candidates[i].score) is None else -s, candidates[i].rank),
    )
    places = {i: place for place, i in enumerate(order, 1)}
    return [replace(c, rank=places[i]) for i, c in enumerate(candidates)]


def _text(number: Fraction) -> str:
    """Return a number as a reader takes it: whole, as a short decimal, or as a fraction."""
    if number.denominator == 1:
        return str(number.numerator)
    near = float(number)
    return f"{near:.12g}" if Fraction(f"{near:.12g}") == number else f"{number} ({near:.6g})"


#: Every law with what it says; `always` stands for what no policy declares because every one is held to it.
STATED: dict[str, _Stated] = {
    "always": _Stated(
        "contracts given and remaining are those asked for, nobody gives beyond its cap, whoever gives nothing has a "
        "reason, and neither repetition nor the order of candidates changes the answer",
        _always,
    ),
    "contracts_opposite": _Stated(
        "only holders of the side opposite to the bankrupt one give, in contracts, and no more than it closes",
        _contracts_opposite,
    ),
    "profit_only": _Stated("nobody loses more than its unrealized profit against the mark", _profit_only),
    "budget_monotone": _Stated("of a larger demand nobody gives less", _budget_monotone),
    "exhaustive": _Stated(
        "contracts remain only where nobody has a lot left to give: within its cap and, where only profit is taken, "
        "within its profit",
        _exhaustive,
    ),
    "scale_free": _Stated("with all money multiplied the same contracts are given", _scale_free),
    "split_proof": _Stated(
        "an account split in proportion gives the same in all, and so does everybody else", _split_proof
    ),
    "entry_free": _Stated("with other entry prices and the same equity the same contracts are given", _entry_free),
    "path_independent": _Stated(
        "two demands, one after the other at the mark, take what one of both takes", _path_independent
    ),
    "smooth": _Stated("a small change of score, profit or equity moves no more than about a lot", _smooth),
}  # fmt: skip
assert set(STATED) == {"always", *LAWS}
