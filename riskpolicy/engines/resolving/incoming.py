"""Events applied: each a change of the snapshot, and postings that sum to zero like those of a resolution."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from riskpolicy.engines.core.bind import bind
from riskpolicy.engines.core.bound import CROSS, Bound
from riskpolicy.engines.core.changes import (
    Fill,
    account_code,
    amount,
    instrument_number,
    paid_to,
    read_fill,
    with_fill,
)  # fmt: skip
from riskpolicy.engines.core.events import Event
from riskpolicy.engines.core.fees import FeeDue
from riskpolicy.engines.core.funds import fund_row
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.engines.fees import Kind, fee_due, fee_shares_of, fee_tier
from riskpolicy.engines.funding import FundingWarning, basis_price, funding_warnings, market_rate
from riskpolicy.engines.funds import gate_holds
from riskpolicy.engines.resolving.books import MARKET, WITHDRAWALS
from riskpolicy.engines.resolving.staged import Bid
from riskpolicy.engines.staking import stake_event
from riskpolicy.errors import Finding, SnapshotError
from riskpolicy.numbers import NumberError, exact, parse_decimal
from riskpolicy.plan.plan import Plan
from riskpolicy.snapshot.columns import Ids
from riskpolicy.snapshot.edit import with_choice, with_numbers
from riskpolicy.snapshot.snapshot import Snapshot
from riskpolicy.vocabulary import MARKET_STATES

#: Where money comes from and goes to beyond the venue, and what funding payments leave after rounding.
OUTSIDE, FUNDING = "@outside", "@funding"


@dataclass(frozen=True, slots=True)
class Posting:
    """One event of the ledger, as `Ledger.book` takes it."""

    rule: str
    what: str
    money: tuple[tuple[str, str, int], ...] = ()
    contracts: tuple[tuple[str, str, Fraction], ...] = ()


@dataclass(frozen=True, slots=True)
class Applied:
    """What an event makes: the snapshot, postings, bids, and the buckets that are liquidated whatever their state."""

    snapshot: Snapshot
    postings: tuple[Posting, ...] = ()
    forced: frozenset[int] = frozenset()
    bids: tuple[Bid, ...] = ()
    warnings: tuple[FundingWarning, ...] = ()


def apply_event(plan: Plan, snapshot: Snapshot, event: Event) -> Applied:
    """Return what an event makes of a snapshot; SnapshotError for one that does not fit it."""
    if event.at is not None:
        if snapshot.as_of is not None and event.at < snapshot.as_of:
            raise fault("invalid_instant", event, f"{event.at.isoformat()} is before {snapshot.as_of.isoformat()}")
        snapshot = replace(snapshot, as_of=event.at)
    if event.kind == "time":
        return Applied(snapshot)
    return _APPLY[event.kind](bind(plan, snapshot), event)


def fault(code: str, event: Event, message: str, hint: str = "") -> SnapshotError:
    """Return the error of an event, located by its sequence."""
    return SnapshotError(Finding(code, f"event {event.sequence} ({event.kind}): {message}", hint))


def _number(event: Event, key: str, value: Any = None) -> Fraction:
    value = event.values[key] if value is None else value
    try:
        return exact(parse_decimal(value) if isinstance(value, str) else value)
    except (NumberError, TypeError, ValueError):
        raise fault("wrong_type", event, f"`{key}`: `{value}` is not a number") from None


def _positive(event: Event, key: str) -> Fraction:
    found = amount(event.values[key])
    if found is None:
        raise fault("not_positive", event, f"`{key}`: `{event.values[key]}` is no number above zero")
    return found


def _quanta(plan: Plan, event: Event, currency: str) -> int:
    """Return an amount of money in quanta; SnapshotError where it is no whole number of them."""
    value = _positive(event, "amount")
    if currency not in plan.currencies:
        raise fault("unknown_currency", event, f"the ruleset has no currency `{currency}`")
    quanta = value / plan.requirements.quantum[plan.currencies.index(currency)]
    if quanta.denominator != 1:
        raise fault("invalid_value", event, f"{event.values['amount']} is no whole number of the quanta of {currency}")
    return int(quanta)


def _account(bound: Bound, event: Event) -> int:
    code = account_code(bound, event.values["account"])
    if code is None:
        raise fault("unknown_account", event, f"no account `{event.values['account']}`")
    return code


def balance_row(bound: Bound, account: int, currency: str) -> int:
    """Return the row of an account's balance in a currency, -1 for none."""
    named, owners = bound.snapshot.ids("accounts", "currency"), bound.snapshot.ids("accounts", "account").codes
    rows = (row for row in np.flatnonzero(owners == account).tolist() if str(named.label(row)) == currency)
    return next(rows, -1)


def _credited(bound: Bound, event: Event, currency: str, value: Fraction) -> Snapshot:
    row = balance_row(bound, _account(bound, event), currency)
    balance = bound.snapshot.numbers("accounts", "balance")
    if row < 0 or balance is None:
        message = f"no balance of `{event.values['account']}` in {currency}"
        raise fault("unknown_account", event, message, "add a row to `accounts`, 0 if there is none")
    after = (balance.exact(row) or Fraction(0)) + value
    return with_numbers(bound.snapshot, "accounts", "balance", {row: after})


def _mark(bound: Bound, event: Event) -> Applied:
    """Move the mark; the one before it is kept as `previous_mark`."""
    number = instrument_number(bound, event.values["instrument"])
    row = int(bound.market_row[number])
    if row < 0:
        raise fault("missing_market", event, f"the snapshot has no market `{event.values['instrument']}`")
    snapshot = with_numbers(bound.snapshot, "markets", "previous_mark", {row: bound.exact_mark(number)})
    for column in ("mark_price", "index_price", "oracle_price"):
        if column in event.values:
            snapshot = with_numbers(snapshot, "markets", column, {row: _positive(event, column)})
    if "premium" in event.values:
        snapshot = with_numbers(snapshot, "markets", "premium", {row: _number(event, "premium")})
    if "market_state" in event.values:
        word = str(event.values["market_state"])
        if word not in MARKET_STATES:
            raise fault("unknown_choice", event, f"`{word}` is no state of a market", ", ".join(MARKET_STATES))
        snapshot = with_choice(snapshot, "markets", "market_state", {row: word})
    return Applied(snapshot)


def _fill(bound: Bound, event: Event) -> Applied:
    """Book a fill: contracts against the market, the quote value in whole quanta, the fee of the account's tier."""
    values, plan = event.values, bound.plan
    side = str(values.get("position_side", "net"))
    fill = read_fill(
        bound, values["account"], values["instrument"], values["side"], values["quantity"], values["price"], side
    )
    number = fill.instrument
    size, price = fill.quantity * plan.instruments.contract_size_exact[number], fill.price
    worth = -size / price if plan.instruments.inverse[number] else size * price
    code = int(plan.instruments.currency[number])
    currency, quantum = plan.currencies[code], plan.requirements.quantum[code]
    paid = round(worth / quantum)
    account, symbol = str(values["account"]), plan.instruments.symbols[number]
    snapshot = with_fill(bound, fill)
    # What rounding takes or gives stays with the account: its balance moves by what is booked.
    rounded = worth - paid * quantum
    if rounded:
        snapshot = paid_to(bound, snapshot, fill, rounded)
    posting = Posting(
        "event.fill", "fill", ((account, currency, -paid), (MARKET, currency, paid)),
        ((account, symbol, fill.quantity), (MARKET, symbol, -fill.quantity)),
    )  # fmt: skip
    if plan.fees is None:
        return Applied(snapshot, (posting,))
    return _with_fee(bound, event, Applied(snapshot, (posting,)), fill, abs(worth), code)


def _with_fee(bound: Bound, event: Event, applied: Applied, fill: Fill, notional: Fraction, code: int) -> Applied:
    """Add the fee of a fill: by the account's tier, as maker or taker, split as the ruleset says."""
    plan, kind = bound.plan, str(event.values.get("liquidity", "taker"))
    assert plan.fees is not None
    if kind not in ("maker", "taker"):
        raise fault("unknown_choice", event, f"`{kind}` is no liquidity", "say maker or taker")
    currency, quantum = plan.currencies[code], plan.requirements.quantum[code]
    tier = fee_tier(plan.fees, *_volume(bound, fill.account))
    fee = fee_due(tier.maker if kind == "maker" else tier.taker, notional, quantum)
    if not fee:
        return applied
    account, symbol = str(bound.account(fill.account)), plan.instruments.symbols[fill.instrument]
    side: Kind = "maker" if kind == "maker" else "taker"
    shares = fee_shares_of(plan, FeeDue(account, currency, fee, side, symbol, f"fees.tiers.{tier.id}"))
    money = [(str(bound.account(fill.account)), currency, -fee), *((s.receiver, currency, s.quanta) for s in shares)]
    snapshot = paid_to(bound, applied.snapshot, fill, -fee * quantum)
    fed = {s.fund: s.quanta * quantum for s in shares if s.fund >= 0}
    balance = snapshot.numbers("funds", "balance")
    for fund, value in fed.items():
        row = fund_row(bound, fund)
        if row >= 0 and balance is not None:
            after = (balance.exact(row) or Fraction(0)) + value
            snapshot = with_numbers(snapshot, "funds", "balance", {row: after})
    posting = Posting(f"fees.tiers.{tier.id}", f"{kind} fee", tuple(money))
    return Applied(snapshot, (*applied.postings, posting))


def _volume(bound: Bound, account: int) -> tuple[Fraction | None, str | None]:
    """Return an account's traded volume and its fee tier, None for what the snapshot does not say."""
    owners = bound.snapshot.ids("accounts", "account").codes
    volume, named = bound.snapshot.numbers("accounts", "volume"), bound.snapshot.tables["accounts"].get("fee_tier")
    rows = np.flatnonzero(owners == account).tolist()
    volumes = [v for row in rows if volume is not None and (v := volume.exact(row)) is not None]
    names = [str(named.label(row)) for row in rows if isinstance(named, Ids) and str(named.label(row))]
    return (sum(volumes, Fraction(0)) if volumes else None), (names[0] if names else None)


def _deposit(bound: Bound, event: Event) -> Applied:
    currency = str(event.values["currency"])
    quanta = _quanta(bound.plan, event, currency)
    quantum = bound.plan.requirements.quantum[bound.plan.currencies.index(currency)]
    snapshot = _credited(bound, event, currency, quanta * quantum)
    money = ((str(event.values["account"]), currency, quanta), (OUTSIDE, currency, -quanta))
    return Applied(snapshot, (Posting("event.deposit", "deposit", money),))


def _withdraw(bound: Bound, event: Event) -> Applied:
    """Pay an account out; where losses are socialized on withdrawals, less its part of what is owed.

    The part is what `@withdrawals` owes over the balances of all accounts, at most 1, rounded up to whole quanta.
    """
    currency = str(event.values["currency"])
    quanta = _quanta(bound.plan, event, currency)
    quantum = bound.plan.requirements.quantum[bound.plan.currencies.index(currency)]
    row, balance = balance_row(bound, _account(bound, event), currency), bound.snapshot.numbers("accounts", "balance")
    has = None if row < 0 or balance is None else balance.exact(row)
    if has is None or has < quanta * quantum:
        message = f"`{event.values['account']}` has {float(has or 0):g} {currency}, not {event.values['amount']}"
        raise fault("invalid_value", event, message)
    snapshot = _credited(bound, event, currency, -quanta * quantum)
    owed, claims = _owed_on_withdrawal(bound, currency)
    cut = min(quanta, math.ceil(quanta * min(Fraction(1), owed / claims))) if owed > 0 and claims > 0 else 0
    cut = min(cut, math.ceil(owed / quantum))
    account = str(event.values["account"])
    paid_out = Posting(
        "event.withdraw", "withdrawal", ((account, currency, cut - quanta), (OUTSIDE, currency, quanta - cut))
    )
    if not cut:
        return Applied(snapshot, (paid_out,))
    rule = next(x.id for x in bound.plan.layers if x.pays == "socialization" and x.by == "withdrawals")
    cut_off = Posting(rule, "cut of a withdrawal", ((account, currency, -cut), (WITHDRAWALS, currency, cut)))
    return Applied(snapshot, (paid_out, cut_off))


def _owed_on_withdrawal(bound: Bound, currency: str) -> tuple[Fraction, Fraction]:
    """Return what is to be cut from withdrawals, and the sum of the balances above zero of everybody at the venue."""
    if not any(x.pays == "socialization" and x.by == "withdrawals" for x in bound.plan.layers):
        return Fraction(0), Fraction(0)
    owners, named = bound.snapshot.ids("accounts", "account"), bound.snapshot.ids("accounts", "currency")
    balance = bound.snapshot.numbers("accounts", "balance")
    owed, claims = Fraction(0), Fraction(0)
    for row in range(bound.snapshot.rows["accounts"]):
        value = None if balance is None else balance.exact(row)
        if value is None or str(named.label(row)) != currency:
            continue
        owner = str(owners.label(row))
        if owner == WITHDRAWALS:
            owed -= value
        elif not owner.startswith("@"):
            claims += max(Fraction(0), value)
    return owed, claims


def _funding(bound: Bound, event: Event) -> Applied:
    """Pay a period's funding: rate x value at the ruleset's basis, in whole quanta; above zero longs pay.

    The rate is the event's, or by the ruleset from the market's premium.
    """
    plan = bound.plan
    number = instrument_number(bound, event.values["instrument"])
    rate = _number(event, "funding_rate") if "funding_rate" in event.values else _rate(bound, event, number)
    price, size = _basis(bound, event, number), plan.instruments.contract_size_exact[number]
    code = int(plan.instruments.currency[number])
    currency, quantum = plan.currencies[code], plan.requirements.quantum[code]
    cells: dict[str, dict[int, Fraction]] = {"accounts": {}, "positions": {}}
    money: list[tuple[str, str, int]] = []
    p, funds = bound.positions, {f"@{fund.id}" for fund in plan.funds}
    for i in np.flatnonzero((p.instrument == number) & (p.quantity != 0)).tolist():
        quantity, _, _ = bound.exact_position(i)
        value = quantity * size / price if plan.instruments.inverse[number] else quantity * size * price
        quanta = round(-value * rate / quantum)
        account = int(p.account[i])
        isolated = bound.buckets.instrument[p.bucket[i]] != CROSS
        row = p.row_of(i) if isolated else balance_row(bound, account, currency)
        if row < 0:
            message = f"no balance of `{bound.account(account)}` in {currency}"
            raise fault("unknown_account", event, message, "add a row to `accounts`, 0 if there is none")
        name, into = str(bound.account(account)), cells["positions" if isolated else "accounts"]
        if not name.startswith("@") or name in funds:
            # What is booked on other outside parties comes to their balances with the rest of the ledger.
            into[row] = into.get(row, Fraction(0)) + quanta * quantum
        if quanta:
            money.append((name, currency, quanta))
    snapshot = bound.snapshot
    for table, column in (("accounts", "balance"), ("positions", "isolated_margin")):
        given = snapshot.numbers(table, column)
        after = {row: (None if given is None else given.exact(row)) or Fraction(0) for row in cells[table]}
        if after:
            changed = {row: before + cells[table][row] for row, before in after.items()}
            snapshot = with_numbers(snapshot, table, column, dict(changed))
    rest = -sum(quanta for _, _, quanta in money)
    rule = "funding" if plan.funding is not None else "event.funding"
    posting = Posting(rule, "funding", (*money, (FUNDING, currency, rest)))
    return Applied(snapshot, (posting,), warnings=_warnings(bound, number, rate))


def _rate(bound: Bound, event: Event, number: int) -> Fraction:
    rate = market_rate(bound, number)
    if bound.plan.funding is None or rate is None:
        wanted = "block `funding`" if bound.plan.funding is None else "`premium` in `markets`"
        raise fault("missing_value", event, f"no funding_rate, and no {wanted}", "add one of them")
    return rate


def _basis(bound: Bound, event: Event, number: int) -> Fraction:
    price = basis_price(bound, number)
    if price is None:
        basis = "mark" if bound.plan.funding is None else bound.plan.funding.basis
        message = f"funding is paid at the {basis} price, and {event.values['instrument']} has none"
        raise fault("missing_value", event, message, f"add `{basis}_price` to `markets`")
    return price


def _warnings(bound: Bound, number: int, rate: Fraction) -> tuple[FundingWarning, ...]:
    """Return whom a payment pushes towards liquidation."""
    if bound.plan.funding is None:
        return ()
    snapshot = with_numbers(bound.snapshot, "markets", "funding_rate", {int(bound.market_row[number]): rate})
    return tuple(funding_warnings(Evaluation(bound.plan, snapshot)))


def _staking(bound: Bound, event: Event) -> Applied:
    """Move stakes, under the fund's own rules; what moves is booked between the account and the fund."""
    gated = False
    if event.kind == "unstake":
        number = next((k for k, f in enumerate(bound.plan.funds) if f.id == str(event.values["fund"])), -1)
        gated = number >= 0 and gate_holds(Evaluation(bound.plan, bound.snapshot), number)
    staked = stake_event(bound, event, gated=gated)
    if not staked.quanta:
        return Applied(staked.snapshot)
    fund = bound.plan.funds[staked.fund]
    currency = bound.plan.currencies[fund.currency]
    money = ((staked.account, currency, -staked.quanta), (f"@{fund.id}", currency, staked.quanta))
    return Applied(staked.snapshot, (Posting(f"funds.{fund.id}.staking", event.kind.replace("_", " "), money),))


def _default(bound: Bound, event: Event) -> Applied:
    code = _account(bound, event)
    buckets = range(int(bound.buckets.start[code]), int(bound.buckets.start[code + 1]))
    return Applied(bound.snapshot, forced=frozenset(buckets))


def _auction(bound: Bound, event: Event) -> Applied:
    """Bid for contracts in an open auction."""
    values: Mapping[str, Any] = event.values
    number = instrument_number(bound, values["instrument"])
    bidder = str(values.get("bidder", "market"))
    name = None if values.get("account") is None else str(bound.account(_account(bound, event)))
    bid = Bid(number, _positive(event, "price"), _positive(event, "quantity"), f"@{bidder.removeprefix('@')}", name)
    return Applied(bound.snapshot, bids=(bid,))


_APPLY = {
    "mark": _mark, "fill": _fill, "funding": _funding, "deposit": _deposit, "withdraw": _withdraw,
    "default": _default, "auction": _auction, "stake": _staking, "request_unstake": _staking,
    "cancel_unstake": _staking, "unstake": _staking,
}  # fmt: skip
