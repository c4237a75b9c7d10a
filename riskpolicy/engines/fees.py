"""Fees: the tier of a volume, what a trade owes, who gets it, and what a day's volume brings in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, NamedTuple, TypeAlias

from riskpolicy.engines.core.fees import FeeDue
from riskpolicy.errors import Finding, QueryError, one_of, suggestion
from riskpolicy.plan.plan import OF_INSTRUMENT, Fees, FeeTier, Plan

#: What a fee is for.
Kind: TypeAlias = Literal["maker", "taker", "liquidation", "deleveraging"]
KINDS: tuple[Kind, ...] = ("maker", "taker", "liquidation", "deleveraging")


class FeeShare(NamedTuple):
    """What one receiver gets of a fee: an account of the ledger, quanta, the id of the rule, its fund or -1."""

    receiver: str
    quanta: int
    rule: str
    fund: int


def fee_tier(fees: Fees, volume: Fraction | None, name: str | None = None) -> FeeTier:
    """Return the tier of a name, or else the last one whose volume is at most the traded volume (>=).

    Without name and volume it is the first. QueryError for a name that no tier has.
    """
    if name is not None:
        found = next((tier for tier in fees.tiers if tier.id == name), None)
        if found is None:
            known = [tier.id for tier in fees.tiers]
            hint = suggestion(name, known) or f"fee tiers: {one_of(known)}"
            raise QueryError(Finding("unknown_id", f"the ruleset has no fee tier `{name}`", hint))
        return found
    reached = [tier for tier in fees.tiers if tier.volume <= (volume or 0)]
    return reached[-1] if reached else fees.tiers[0]


def fee_due(rate: Fraction, notional: Fraction, quantum: Fraction) -> int:
    """Return the fee on an unsigned notional in quanta, half to even; below zero for a rebate.

    Notional and quantum are money of one currency. The rate is a tier's `maker` or `taker`, or the `fee` of a
    liquidation step or of deleveraging.
    """
    return round(rate * abs(notional) / quantum)


def split_fee(fees: Fees, kind: Kind, amount: int, quantum: Fraction) -> tuple[FeeShare, ...]:
    """Return who gets a fee of whole quanta, in order; the last is who owns the residue. They sum to the amount.

    Each part that takes this kind of fee gets its share, of the whole fee or of what the parts before it have left,
    rounded down, never beyond its cap nor beyond what is left. A rebate (an amount below zero) is paid by the owner of
    the residue alone: a receiver gets of what comes in.
    """
    parts = []
    left = amount
    for part in fees.split if amount > 0 else ():
        if kind not in part.on:
            continue
        share = int((left if part.of_rest else amount) * part.share)
        if part.cap is not None:
            share = min(share, int(part.cap / quantum))
        share = min(share, left)
        parts.append(FeeShare(part.to, share, part.id, part.fund))
        left -= share
    return (*parts, FeeShare(fees.residue, left, "fees.residue", fees.residue_fund))


def fee_shares_of(plan: Plan, fee: FeeDue) -> list[FeeShare]:
    """Return who gets a fee under a plan, `@fees` where it has no split; only funds of the fee's currency are fed.

    A fund of another currency would have to sell first, so its part waits with `@fees`, which also pays the rebates of
    a residue that is a fund's: no fund pays out of itself because of a trade. A plugin that splits fees is
    asked where the ruleset names one.
    """
    currency = plan.currencies.index(fee.currency)
    if plan.plugged.split is not None:
        ids = [fund.id for fund in plan.funds]
        parts: Mapping[str, int] = plan.plugged.split([fee])[0]
        given = [FeeShare(f"@{n}", x, "fees.plugin", ids.index(n) if n in ids else -1) for n, x in parts.items()]
    elif plan.fees is None:
        given = [FeeShare("@fees", fee.amount, "fees", -1)]
    else:
        given = list(split_fee(plan.fees, fee.kind, fee.amount, plan.requirements.quantum[currency]))
    shares = []
    for share in given:
        if share.fund == OF_INSTRUMENT:
            fund = fund_of_fee(plan, currency, fee.instrument)
            share = share._replace(receiver=f"@{plan.funds[fund].id}" if fund >= 0 else share.receiver, fund=fund)
        other = share.fund >= 0 and (plan.funds[share.fund].currency != currency or share.quanta < 0)
        shares.append(share._replace(receiver="@fees", fund=-1) if other else share)
    return [share for share in shares if share.quanta]


def fund_of_fee(plan: Plan, currency: int, instrument: str | None) -> int:
    """Return the fund of the instrument that a fee is of; without one, the only one of this currency, else -1."""
    if instrument is not None:
        return plan.instruments.fund[plan.instruments.number[instrument]]
    found = {fund for fund in plan.instruments.fund if fund >= 0 and plan.funds[fund].currency == currency}
    return found.pop() if len(found) == 1 else -1


def fee_shares(fees: Fees, kind: Kind) -> dict[str, Fraction]:
    """Return the part of a fee of this kind that each receiver gets, caps and whole quanta apart; they sum to 1."""
    shares: dict[str, Fraction] = {}
    left = Fraction(1)
    for part in fees.split:
        if kind in part.on:
            share = min(left, (left if part.of_rest else Fraction(1)) * part.share)
            shares[part.to] = shares.get(part.to, Fraction(0)) + share
            left -= share
    shares[fees.residue] = shares.get(fees.residue, Fraction(0)) + left
    return shares


@dataclass(frozen=True, slots=True)
class Flow:
    """A day's notional of one kind of fee at one rate, in money; `tier` is None for liquidations.

    `to_fund` is the fund that gets it, OF_INSTRUMENT for those of the instruments, -1 where it goes through the split.
    """

    kind: Kind
    tier: str | None
    rate: Fraction
    notional: Fraction
    to_fund: int = -1


@dataclass(frozen=True, slots=True)
class Income:
    """What one flow brings in a day, in quanta, and who gets it, by account of the ledger."""

    flow: Flow
    fee: int
    shares: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Refill:
    """How long the fees that go to a fund take to make good what it lacks; money in quanta.

    `share` is the part of them that refills. `days` is None where nothing comes in.
    """

    fund: str
    lack: int
    income: int
    share: Fraction

    @property
    def days(self) -> Fraction | None:
        """Days of income; 0 where nothing is lacking."""
        a_day = self.income * self.share
        return Fraction(0) if self.lack <= 0 else self.lack / a_day if a_day > 0 else None


@dataclass(frozen=True, slots=True)
class FeeReport:
    """A day's fees at given volumes: by flow, by receiver, and what they do for the funds. Money in quanta.

    `uncapped` names the parts whose caps are not counted, since no size of a trade was given. `plugin` splits fees in
    place of the ruleset.
    """

    currency: str
    quantum: Fraction
    incomes: tuple[Income, ...]
    refills: tuple[Refill, ...]
    uncapped: tuple[str, ...]
    plugin: str | None = None

    @property
    def total(self) -> int:
        """All fees of the day, rebates taken off."""
        return sum(income.fee for income in self.incomes)

    @property
    def receivers(self) -> dict[str, int]:
        """What each receiver gets of the day, in the order of the split."""
        out: dict[str, int] = {}
        for income in self.incomes:
            for receiver, quanta in income.shares.items():
                out[receiver] = out.get(receiver, 0) + quanta
        return out


def flows_of(
    plan: Plan, volumes: Mapping[tuple[Kind, str | None], Fraction], liquidated: Fraction = Fraction(0)
) -> tuple[Flow, ...]:
    """Return a day's flows: notionals by kind (maker or taker) and tier, None for the first, and what is liquidated.

    Liquidations pay the fee of the first step that has one, to the fund that the step names, else through the split.
    QueryError for an unknown tier, for a volume below zero, and where the ruleset has no fees.
    """
    fees = fees_of(plan)
    flows = []
    for kind in KINDS:
        for (of, name), notional in volumes.items():
            if of == kind:
                if notional < 0:
                    raise QueryError(Finding("negative", f"the {kind} volume is below zero", "volumes are unsigned"))
                tier = fee_tier(fees, None, name)
                rate = {"maker": tier.maker, "taker": tier.taker}[kind]
                flows.append(Flow(kind, tier.id, rate, notional))
    if liquidated < 0:
        raise QueryError(Finding("negative", "the liquidated notional is below zero", "volumes are unsigned"))
    if liquidated:
        step = next((s for s in plan.steps if s.fee > 0), None)
        rate, fund = (Fraction(0), -1) if step is None else (step.fee, step.fee_to)
        flows.append(Flow("liquidation", None, rate, liquidated, fund))
    return tuple(flows)


def fees_of(plan: Plan) -> Fees:
    """Return the fees of a ruleset; QueryError where it has none."""
    if plan.fees is None:
        hint = "add a block `fees` with `tiers` and `split`"
        raise QueryError(Finding("missing_value", f"the ruleset `{plan.id}` states no fees", hint))
    return plan.fees


def fee_report(
    plan: Plan,
    flows: tuple[Flow, ...],
    currency: str,
    *,
    trade_size: Fraction | None = None,
    lacks: Mapping[str, Fraction] | None = None,
) -> FeeReport:
    """Return what flows bring in a day, in money of one currency, and how long funds take to get what they lack.

    `lacks` is money by fund; a fund without an entry is left out. A cap holds for one fee: with `trade_size`, the
    notional of one trade, it is counted trade by trade, the last one smaller; without it caps are not counted.
    QueryError for an unknown currency or fund.
    """
    fees = fees_of(plan)
    if currency not in plan.currencies:
        raise QueryError(_unknown("currency", currency, plan.currencies))
    number = plan.currencies.index(currency)
    quantum = plan.requirements.quantum[number]
    counted = plan if trade_size is not None else _without_caps(plan, fees)
    incomes = tuple(_income(counted, flow, number, trade_size) for flow in flows)
    kinds = {flow.kind for flow in flows if flow.to_fund == -1}
    capped = () if trade_size is not None else tuple(p.id for p in fees.split if p.cap and kinds & set(p.on))
    report = FeeReport(currency, quantum, incomes, (), capped, fees.plugin)
    refills = []
    for name, lack in (lacks or {}).items():
        fund = next((f for f in plan.funds if f.id == name), None)
        if fund is None:
            raise QueryError(_unknown("fund", name, [f.id for f in plan.funds]))
        income = report.receivers.get(f"@{name}", 0)
        refills.append(Refill(name, -int(-lack // quantum), income, fund.refill_share))
    return replace(report, refills=tuple(refills))


def _unknown(what: str, name: str, known: tuple[str, ...] | list[str]) -> Finding:
    return Finding("unknown_id", f"the ruleset has no {what} `{name}`", suggestion(name, known) or one_of(known))


def _income(plan: Plan, flow: Flow, currency: int, trade_size: Fraction | None) -> Income:
    quantum = plan.requirements.quantum[currency]
    if flow.to_fund != -1:
        fee = fee_due(flow.rate, flow.notional, quantum)
        fund = flow.to_fund if flow.to_fund >= 0 else fund_of_fee(plan, currency, None)
        return Income(flow, fee, {f"@{plan.funds[fund].id if fund >= 0 else 'instrument_fund'}": fee})
    if trade_size is not None and trade_size <= 0:
        raise QueryError(Finding("not_positive", "the size of a trade is not above zero", "give its notional"))
    count, size = (1, flow.notional) if trade_size is None else (int(flow.notional // trade_size), trade_size)
    whole, shares = 0, dict[str, int]()
    for times, notional in ((count, size), (1, flow.notional - count * size)):
        fee = fee_due(flow.rate, notional, quantum)
        whole += times * fee
        due = FeeDue("", plan.currencies[currency], fee, flow.kind, None, "fees")
        for part in fee_shares_of(plan, due):
            shares[part.receiver] = shares.get(part.receiver, 0) + times * part.quanta
    return Income(flow, whole, shares)


def _without_caps(plan: Plan, fees: Fees) -> Plan:
    return replace(plan, fees=replace(fees, split=tuple(replace(part, cap=None) for part in fees.split)))
