"""Policies compared: each runs the same events of an evaluation, on what it left itself; the metrics of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from types import MappingProxyType
from typing import TypeAlias

from riskpolicy.engines import adl_metrics as metrics
from riskpolicy.engines.adl_metrics import Outcome, Share
from riskpolicy.engines.candidates import Bankruptcy, Queued, Side, queued
from riskpolicy.engines.core.adl import AllocateAdl, Allocation, Candidate, Demand, RankAdl
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.engines.policies import (
    HAIRCUT,
    Controller,
    ProfitHaircut,
    Raised,
    Severity,
    asked,
    controller,
    controller_of,
    policy,
    policy_of,
    profit_haircut,
    raised,
    severity_in,
)
from riskpolicy.errors import Finding, QueryError

#: The name under which the ruleset's own policy is compared.
RULESET = "ruleset"
Key: TypeAlias = tuple[str, Side]


@dataclass(frozen=True, slots=True)
class Wave:
    """A controller of severity, and the severity that each market starts from."""

    step: Controller
    start: Callable[[str], Severity]


ZERO = Fraction(0)


@dataclass(frozen=True, slots=True)
class Run:
    """One policy's answers to a sequence of events that settle in one currency.

    `accounts` are the candidates of each event by account, in the order of its allocation, `severities` the share of it
    that was asked for. `sides` holds an outcome an (instrument, side) over all events, against the profits and
    contracts before the first.
    """

    policy: str
    accounts: tuple[tuple[str, ...], ...]
    severities: tuple[Fraction, ...]
    allocations: tuple[Allocation | ProfitHaircut, ...]
    outcomes: tuple[Outcome, ...]
    sides: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """The metrics of one policy; money in the settlement currency.

    Money is summed over the events, event by event, so that one's overshoot never hides another's undershoot. Fractions
    are of what the accounts had before the first event; `fairness` is against the reference.
    """

    policy: str
    budget: Fraction
    needed: Fraction
    overshoot: Fraction
    undershoot: Fraction
    residual: Fraction
    candidates: int
    giving: int
    participation: Fraction
    largest_haircut: Share
    median_haircut: Share
    largest_closed: Share
    rank_inversions: int
    top_survivor: Fraction
    top_survivor_over_covered: Fraction | None
    top_survivor_over_uncovered: Fraction | None
    churn: float
    path_variation: Fraction
    tracking: Fraction
    fairness: Share


@dataclass(frozen=True, slots=True)
class Comparison:
    """The runs and rows of all policies over the events of one currency, and the policy that fairness is against."""

    currency: str
    reference: str
    events: tuple[Demand, ...]
    runs: tuple[Run, ...]
    rows: tuple[Row, ...]


def compare(
    evaluation: Evaluation, events: Sequence[Bankruptcy], names: Sequence[str], reference: str | None = None,
    severity: str | None = None, own: Mapping[str, AllocateAdl] = MappingProxyType({}),
) -> list[Comparison]:  # fmt: skip
    """Return a comparison for each settlement currency of the events, in the order of the ruleset's currencies.

    Every policy starts from the evaluation and goes through the events in order; positions, profits and equity are what
    its own allocations left. Ranks stay; where a plugin of the ruleset ranks, it is asked for each event. Names are as
    `policy_of` reads them; without a reference it is the first. A `severity`, as `controller_of` reads it, says what
    share of each event is asked for, by market and policy; without one the ruleset does. `own` are policies by name
    besides; `ruleset` is the ruleset's own. QueryError for an unknown policy or controller.
    """

    def allocator(name: str) -> AllocateAdl | None:
        if name == HAIRCUT:
            return None
        return own[name] if name in own else of_ruleset(evaluation) if name == RULESET else policy_of(name)

    chosen = {name: allocator(name) for name in names}
    terms, currencies = evaluation.plan.instruments, evaluation.plan.currencies
    of = [int(terms.currency[terms.number[e.demand.instrument]]) for e in events]
    rank = evaluation.plan.plugged.rank
    first = {_side(e): e.demand for e in reversed(events)}
    start = {key: queued(evaluation, *key) for key in dict.fromkeys(map(_side, events))}
    if rank is not None:
        # A plugin is always asked with the ruleset's own ranks; only the order in which they are shown is its.
        start = {key: of.in_order_of(of.ranked(first[key], rank)) for key, of in start.items()}
    against = reference or names[0]
    if against not in chosen:
        chosen[against] = allocator(against)
    wave = _wave(evaluation, severity)
    found = []
    for number in sorted(set(of)):
        mine = [e for e, currency in zip(events, of, strict=True) if currency == number]
        runs = {name: run(name, allocate, mine, start, rank, wave) for name, allocate in chosen.items()}
        rows = tuple(row(runs[name], runs[against]) for name in dict.fromkeys(names))
        kept = tuple(runs[name] for name in dict.fromkeys(names))
        found.append(Comparison(currencies[number], against, tuple(e.demand for e in mine), kept, rows))
    return found


def run(
    name: str, allocate: AllocateAdl | None, events: Sequence[Bankruptcy], start: Mapping[Key, Queued],
    rank: RankAdl | None = None, wave: Wave | None = None,
) -> Run:  # fmt: skip
    """Return what a policy, None for the haircut on profit, does in a sequence of events, each ranked by `rank`.

    `wave` is the controller of the severity in each market, with the one that it starts from.
    """

    def ordered(of: Queued, demand: Demand) -> Queued:
        return of if rank is None else of.ranked(demand, rank)

    now, first = dict(start), {_side(e): e.demand for e in reversed(events)}
    taken: dict[Key, list[Fraction]] = {k: [ZERO] * len(q.candidates) for k, q in start.items()}
    given = {k: list(v) for k, v in taken.items()}
    allocations: list[Allocation | ProfitHaircut] = []
    outcomes = []
    severities: dict[str, Severity] = {}
    accounts, shares = [], []
    for event in events:
        demand, key = event.demand, _side(event)
        severity = Severity() if wave is None else severities.get(demand.instrument, wave.start(demand.instrument))
        # As a resolution does: who may give to the part that is asked for, then ranked for it.
        part = asked(demand, severity)
        able_now = now[key].able(part, event.account)
        able = (ordered(able_now, part) if part.contracts else able_now).candidates
        accounts.append(tuple(c.account for c in able))
        shares.append(severity.value)
        if allocate is None:
            paid = profit_haircut(replace(demand, deficit=demand.deficit * severity.value), able)
            money = Raised(sum(paid.paid, ZERO), demand.deficit)
            allocations.append(replace(paid, remaining=demand.deficit - sum(paid.paid, ZERO)))
            outcomes.append(metrics.paid_outcome(demand, able, paid.paid))
            now[key] = now[key].paid(paid.paid, paid.entry_prices)
        else:
            allocation = _whole(demand, allocate(part, able)) if part.contracts else _unasked(demand, able)
            money = raised(demand, sum(allocation.given, ZERO))
            allocations.append(allocation)
            outcomes.append(metrics.outcome(demand, able, allocation))
            lost = now[key].lost(demand, allocation)
            now[key] = now[key].after(demand, allocation)
            now = {k: q.poorer(lost) for k, q in now.items()}
            given[key] = [a + b for a, b in zip(given[key], allocation.given, strict=True)]
        if wave is not None:
            severities[demand.instrument] = wave.step(severity, money)
        taken[key] = [a + b for a, b in zip(taken[key], outcomes[-1].taken, strict=True)]
    sides = tuple(_over_all(ordered(start[k], first[k]), taken[k], given[k]) for k in dict.fromkeys(map(_side, events)))
    return Run(name, tuple(accounts), tuple(shares), tuple(allocations), tuple(outcomes), sides)


def of_ruleset(evaluation: Evaluation) -> AllocateAdl:
    """Return the policy of a ruleset, or the plugin that allocates; QueryError where it deleverages nobody."""
    rules, plugged = evaluation.plan.deleveraging, evaluation.plan.plugged.allocate
    if rules is None:
        message = "the ruleset has no deleveraging to compare"
        raise QueryError(Finding("missing_value", message, "name other policies"))
    return plugged if plugged is not None else policy(rules.rule, **rules.parameters)


def _wave(evaluation: Evaluation, severity: str | None) -> Wave | None:
    """Return the controller that is named, else the ruleset's, with the severity that it starts from."""
    rules = evaluation.plan.deleveraging
    if severity is not None:
        start, step = controller_of(severity)
        return Wave(step, lambda _: start)
    if rules is None or rules.severity is None:
        return None
    of = rules.severity

    def kept(instrument: str) -> Severity:
        return severity_in(evaluation.bound, evaluation.plan.instruments.number[instrument], of)

    return Wave(controller(of.rule, **of.parameters), kept)


def _whole(demand: Demand, allocation: Allocation) -> Allocation:
    """Return an answer to a part of a demand as one to all of it: what was not asked for remains."""
    return replace(allocation, remaining=demand.contracts - sum(allocation.given, ZERO))


def _unasked(demand: Demand, candidates: Sequence[Candidate]) -> Allocation:
    """Return the answer where a severity of zero asks for nothing: no policy or plugin is asked."""
    none = (ZERO,) * len(candidates)
    return Allocation(none, tuple(c.barred or "nothing is asked for" for c in candidates), demand.contracts)


def _side(event: Bankruptcy) -> Key:
    return event.demand.instrument, event.demand.side


def _over_all(start: Queued, taken: Sequence[Fraction], given: Sequence[Fraction]) -> Outcome:
    """Return what was taken of one side in all events; what was needed is counted event by event, not here."""
    return Outcome(
        needed=ZERO,
        deficit=ZERO,
        taken=tuple(taken),
        closed=tuple(g / c.contracts if g else ZERO for g, c in zip(given, start.candidates, strict=True)),
        profit=tuple(max(ZERO, c.unrealized_pnl) for c in start.candidates),
        scores=tuple(c.score for c in start.candidates),
    )


def row(of: Run, reference: Run) -> Row:
    """Return the metrics of a run."""
    whole = Outcome(
        needed=sum((o.needed for o in of.outcomes), ZERO),
        deficit=sum((o.deficit for o in of.outcomes), ZERO),
        taken=tuple(t for o in of.sides for t in o.taken),
        closed=tuple(c for o in of.sides for c in o.closed),
        profit=tuple(w for o in of.sides for w in o.profit),
        scores=tuple(s for o in of.sides for s in o.scores),
    )
    summed = metrics.wave(of.outcomes, reference.outcomes)
    covered = whole.deficit - summed.residual
    top = metrics.top_survivor(whole)
    return Row(
        policy=of.policy,
        budget=summed.budget,
        needed=summed.needed,
        overshoot=summed.overshoot,
        undershoot=summed.undershoot,
        residual=summed.residual,
        candidates=len(whole.taken),
        giving=sum(1 for t, c in zip(whole.taken, whole.closed, strict=True) if t or c),
        participation=metrics.participation(whole),
        largest_haircut=metrics.largest_haircut(whole),
        median_haircut=metrics.median_haircut(whole),
        largest_closed=metrics.largest_haircut(whole, "contracts"),
        # Scores of different queues are not compared with each other.
        rank_inversions=sum(metrics.rank_inversions(o) for o in of.sides),
        top_survivor=top,
        top_survivor_over_covered=top / covered if covered else None,
        top_survivor_over_uncovered=top / summed.residual if summed.residual else None,
        churn=metrics.churn(whole),
        path_variation=summed.path_variation,
        tracking=summed.tracking,
        fairness=summed.fairness,
    )
