"""A bound snapshot changed: other marks, a fill, one more order. The answer is a snapshot that shares the rest."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from riskpolicy.engines.core.bound import CROSS, Bound
from riskpolicy.engines.core.exact import Holding, filled, holding
from riskpolicy.errors import Finding, QueryError, one_of, suggestion
from riskpolicy.numbers import NumberError, exact, fraction_text, parse_decimal
from riskpolicy.snapshot.edit import with_numbers, with_row
from riskpolicy.snapshot.snapshot import Snapshot

#: A number as a question gives it; a float means its shortest decimal.
Amount: TypeAlias = int | float | Decimal | str | Fraction


@dataclass(frozen=True, slots=True)
class Fill:
    """A fill found in the snapshot: codes of account and instrument, signed contracts, the position (-1 for none)."""

    account: int
    instrument: int
    quantity: Fraction
    price: Fraction
    position_side: str
    position: int


def amount(value: Amount | None) -> Fraction | None:
    """Return an amount above zero, None for anything else."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number = exact(parse_decimal(value.strip()) if isinstance(value, str) else value)
    except (NumberError, ValueError, OverflowError, TypeError, ArithmeticError):
        return None
    return number if number > 0 else None


def account_code(bound: Bound, account: object) -> int | None:
    """Return the code of an account, None for what is not in the snapshot."""
    labels = bound.snapshot.ids("positions", "account").labels
    if not isinstance(account, str | int):
        return None
    wanted: str | int = account
    if len(labels) and isinstance(labels[0], str):
        wanted = str(account)
    elif isinstance(account, str):
        if not account.lstrip("-").isdigit():
            return None
        wanted = int(account)
    place = bisect_left(labels, wanted)
    return place if place < len(labels) and labels[place] == wanted else None


def position_of(bound: Bound, account: int, instrument: int, side: str) -> int:
    """Return an account's position in an instrument, -1 for none."""
    p, sides = bound.positions, bound.snapshot.choices("positions", "position_side")
    for i in range(int(p.start[account]), int(p.start[account + 1])):
        if int(p.instrument[i]) == instrument and sides.word(p.row_of(i)) == side:
            return i
    return -1


def instrument_number(bound: Bound, instrument: str | int) -> int:
    """Return the number of an instrument; QueryError for one that the ruleset does not declare."""
    numbers = bound.plan.instruments.number
    if str(instrument) not in numbers:
        hint = suggestion(str(instrument), numbers) or f"instruments: {one_of(bound.plan.instruments.symbols)}"
        raise QueryError(Finding("unknown_id", f"the ruleset has no instrument `{instrument}`", hint))
    return numbers[str(instrument)]


def whole_lots(bound: Bound, instrument: int, size: Fraction) -> None:
    """QueryError for contracts that are no whole lots of the instrument."""
    lot = bound.plan.instruments.lot[instrument]
    if lot and size % lot:
        symbol = bound.plan.instruments.symbols[instrument]
        message = f"{fraction_text(size)} contracts of {symbol} are no whole lots"
        raise QueryError(Finding("invalid_value", message, f"a lot is {fraction_text(lot)}"))


def read_fill(
    bound: Bound, account: str | int, instrument: str | int, side: str, quantity: Amount, price: Amount | None,
    position_side: str,
) -> Fill:  # fmt: skip
    """Find a fill in the snapshot; QueryError for what is not there or no amount."""
    number = instrument_number(bound, instrument)
    code, size = account_code(bound, account), amount(quantity)
    if code is None:
        labels = [str(label) for label in bound.snapshot.ids("positions", "account").labels]
        hint = suggestion(str(account), labels)
        raise QueryError(Finding("unknown_id", f"the snapshot has no account `{account}`", hint))
    if side not in ("buy", "sell"):
        raise QueryError(Finding("unknown_choice", f"`{side}` is no side", "say buy or sell"))
    if size is None or (price is not None and amount(price) is None):
        wrong, hint = (quantity, "quantities are unsigned here") if size is None else (price, "write a plain decimal")
        raise QueryError(Finding("not_positive", f"`{wrong}` is no number above zero", hint))
    if np.isnan(bound.mark[number]):
        message = f"the snapshot has no mark price of `{instrument}`"
        raise QueryError(Finding("missing_market", message, "add a row to `markets`"))
    at = amount(price) or bound.exact_mark(number)
    position = position_of(bound, code, number, position_side)
    return Fill(code, number, size if side == "buy" else -size, at, position_side, position)


def shocked(bound: Bound, prices: Mapping[str, Amount]) -> Snapshot:
    """Return the snapshot at other marks: a percentage moves a mark, a number sets it, `*` stands for all others.

    A market moves whole: its index and oracle prices by the same fraction, and the mark before is the previous one.
    """
    numbers = {name: instrument_number(bound, name) for name in prices if name != "*"}
    chosen = {number: prices[name] for name, number in numbers.items()}
    cells: dict[int, Fraction] = {}
    marks: dict[int, Fraction] = {}
    for number in range(len(bound.plan.instruments.symbols)):
        row, move = int(bound.market_row[number]), chosen.get(number, prices.get("*"))
        if move is None or (row < 0 and number not in chosen):
            continue
        if row < 0:
            message = f"the snapshot has no mark price of `{bound.plan.instruments.symbols[number]}`"
            raise QueryError(Finding("missing_market", message, "add a row to `markets`"))
        marks[row] = bound.exact_mark(number)
        cells[row] = _moved(marks[row], move, relative=number not in chosen)
    factors = {row: price / marks[row] for row, price in cells.items()}
    snapshot = with_numbers(bound.snapshot, "markets", "mark_price", dict(cells))
    snapshot = with_numbers(snapshot, "markets", "previous_mark", {row: marks[row] for row in cells})
    for column in ("index_price", "oracle_price"):
        given = bound.snapshot.numbers("markets", column)
        if given is not None:
            before = {row: given.exact(row) for row in cells}
            moved = {row: price * factors[row] for row, price in before.items() if price is not None}
            snapshot = with_numbers(snapshot, "markets", column, dict(moved))
    return snapshot


def _moved(mark: Fraction, move: Amount, *, relative: bool) -> Fraction:
    """Return a mark moved by `-20%`, or set to a number."""
    text = move.strip() if isinstance(move, str) else ""
    price = None
    if text.endswith("%"):
        try:
            price = mark * (1 + exact(parse_decimal(text[:-1].strip())) / 100)
        except NumberError:
            price = None
    elif not relative:
        price = amount(move)
    if price is None or price <= 0:
        hint = "write a percentage above -100%, such as `-20%`" + ("" if relative else ", or a price above zero")
        raise QueryError(Finding("not_positive", f"`{move}` makes no price above zero", hint))
    return price


def with_fill(bound: Bound, fill: Fill) -> Snapshot:
    """Return the snapshot after a fill; realized profit goes to the balance behind the position.

    Who was on the other side is not in it, so that it is no longer complete.
    """
    plan, snapshot = bound.plan, replace(bound.snapshot, complete=False)
    if fill.position >= 0:
        held = holding(bound, fill.position)
    else:
        mark = bound.exact_mark(fill.instrument)
        held = Holding(fill.instrument, Fraction(0), fill.price, mark)
    after, realized = filled(held, fill.quantity, fill.price, plan=plan)
    if fill.position < 0:
        cells: dict[str, Fraction | str | int] = {
            "account": fill.account,
            "instrument": _label(bound, fill.instrument),
            "quantity": after.quantity,
            "entry_price": after.entry_price,
            "position_side": fill.position_side,
        }
        return with_row(snapshot, "positions", cells)
    row = bound.positions.row_of(fill.position)
    snapshot = with_numbers(snapshot, "positions", "quantity", {row: after.quantity})
    snapshot = with_numbers(snapshot, "positions", "entry_price", {row: after.entry_price})
    return paid_to(bound, snapshot, fill, realized) if realized else snapshot


def paid_to(bound: Bound, snapshot: Snapshot, fill: Fill, realized: Fraction) -> Snapshot:
    """Add realized profit to the isolated margin, or to the account's balance in the settlement currency."""
    if fill.position >= 0 and bound.buckets.instrument[bound.positions.bucket[fill.position]] != CROSS:
        row = bound.positions.row_of(fill.position)
        margin = snapshot.numbers("positions", "isolated_margin")
        before = Fraction(0) if margin is None else margin.exact(row) or Fraction(0)
        return with_numbers(snapshot, "positions", "isolated_margin", {row: before + realized})
    currency = bound.plan.currencies[int(bound.plan.instruments.currency[fill.instrument])]
    owners, named = snapshot.ids("accounts", "account").codes, snapshot.ids("accounts", "currency")
    balance = snapshot.numbers("accounts", "balance")
    for r in np.flatnonzero(owners == fill.account).tolist():
        if str(named.label(r)) == currency and balance is not None:
            return with_numbers(snapshot, "accounts", "balance", {r: (balance.exact(r) or Fraction(0)) + realized})
    message = f"account `{bound.account(fill.account)}` has no balance in {currency} for its realized profit"
    raise QueryError(Finding("unknown_account", message, "add a row to `accounts`, 0 if there is none"))


def with_open_order(bound: Bound, fill: Fill, *, reduce_only: bool) -> Snapshot:
    """Return the snapshot with one more open order."""
    cells: dict[str, Fraction | str | int] = {
        "account": fill.account,
        "instrument": _label(bound, fill.instrument),
        "side": "buy" if fill.quantity > 0 else "sell",
        "remaining": abs(fill.quantity),
        "price": fill.price,
        "reduce_only": "true" if reduce_only else "false",
    }
    return with_row(bound.snapshot, "orders", cells)


def _label(bound: Bound, instrument: int) -> int:
    """Return the code of an instrument's label in `markets`, which shares its labels with the other tables."""
    return int(bound.snapshot.ids("markets", "instrument").codes[int(bound.market_row[instrument])])
