"""Deleveraging by policy: the candidates as they are now, what a policy says, and whether that can be so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

import numpy as np

from riskpolicy.engines.candidates import OWN, candidate, queued, ranked, roles_of
from riskpolicy.engines.core.adl import AllocateAdl, Allocation, Candidate, Demand, RankAdl
from riskpolicy.engines.core.exact import ZERO, ExactPosition, Number
from riskpolicy.engines.core.once import once
from riskpolicy.engines.core.resolution import Skipped
from riskpolicy.engines.policies import Severity, asked, controller, declared, policy, raised, severity_in
from riskpolicy.engines.policies.rooms import NOT_REACHED
from riskpolicy.engines.resolving.books import DEFAULT_LOT
from riskpolicy.engines.resolving.staged import Staged
from riskpolicy.errors import Finding, SnapshotError
from riskpolicy.plan.plan import Deleveraging, Rule, SeverityRule


class Closing(Staged):
    """Who is closed against a bankrupt position, by the ruleset's policy."""

    @property
    def ranker(self) -> RankAdl | None:
        """The plugin that ranks, None for the ruleset's score."""
        return self.plan.plugged.rank

    @property
    def allocator(self) -> AllocateAdl | None:
        """The plugin that allocates, None for the ruleset's policy."""
        return self.plan.plugged.allocate

    def is_on(self, number: int, rules: Deleveraging) -> bool:
        """Return whether contracts may be taken in a market; a trigger's state is kept for the snapshot after."""
        if rules.start is None or rules.stop is None:
            return True
        numbers = self.trigger_numbers(number, rules.start, rules.stop)
        lacking = [name for name, value in numbers.items() if value is None]
        if lacking:
            symbol, table = self.symbol(number), "funds" if lacking[0].startswith("fund_") else "markets"
            message = f"deleveraging of {symbol} is triggered by `{lacking[0]}`, which the snapshot leaves out"
            hint = f"add `{lacking[0].removeprefix('fund_')}` to `{table}`"
            raise SnapshotError(Finding("missing_value", message, hint))
        known = {name: x for name, x in numbers.items() if x is not None}
        starts, stops = (bool(rule.program.exact(known)) for rule in (rules.start, rules.stop))
        # Asked again with the same numbers it stays as it is: where both hold, it is on.
        self.active[number] = starts or (self.was_on(number) and not stops)
        return self.active[number]

    def trigger_numbers(self, number: int, *rules: Rule) -> dict[str, Number | None]:
        """Return the numbers of a market that conditions read, None where nobody says."""
        names = dict.fromkeys(name for rule in rules for name in rule.program.inputs)
        return {name: self.market_number(number, name) for name in names}

    def was_on(self, number: int) -> bool:
        """Return whether deleveraging of a market was on when it was last asked."""
        if number in self.active:
            return self.active[number]
        return self.bound.snapshot.choices("markets", "adl_active").word(int(self.bound.market_row[number])) == "true"

    def switch(self) -> None:
        """Turn deleveraging on and off in every market with a position where the numbers of its trigger are known."""
        rules = self.plan.deleveraging
        if rules is None or rules.start is None or rules.stop is None:
            return
        for number in np.unique(self.bound.positions.instrument).tolist():
            if None not in self.trigger_numbers(number, rules.start, rules.stop).values():
                self.is_on(number, rules)

    def market_number(self, number: int, name: str) -> Number | None:
        """Return a number of a market as its conditions read it, as it is by now; None where nobody says."""
        if name.startswith("fund_"):
            fund = self.plan.instruments.fund[number]
            found = self.number_of_fund(fund, name)
            if found != found:
                return None
            return max(found, self.fund_peak(fund)) if name == "fund_peak_8h" else found
        given = self.bound.snapshot.numbers("markets", name)
        value = None if given is None else given.exact(int(self.bound.market_row[number]))
        if value is None:
            return None
        if name == "open_interest":
            return abs(self.worth(number, value, self.bound.exact_mark(number)))
        if name == "symbol_pnl":
            return value + self.market_gain.get(number, ZERO)
        return max(value, self.market_peak(number)) if name == "symbol_pnl_peak_8h" else value

    def fund_peak(self, fund: int) -> Number:
        """Return the highest that a fund's balance has been in this resolution, -inf where nobody says."""
        known = [x for x in (self.start[fund], self.payers.balance[fund], self.fund_high.get(fund)) if x is not None]
        return max(known) * self.plan.requirements.quantum[self.plan.funds[fund].currency] if known else -math.inf

    def market_peak(self, number: int) -> Number:
        """Return the highest that a fund's profit in a market has been in this resolution, -inf where nobody says."""
        given = self.bound.snapshot.numbers("markets", "symbol_pnl")
        before = None if given is None else given.exact(int(self.bound.market_row[number]))
        return -math.inf if before is None else before + self.market_high.get(number, ZERO)

    def allocated(
        self, bucket: int, p: ExactPosition, price: Fraction, rules: Deleveraging
    ) -> list[tuple[int, Fraction]]:
        """Return the positions that a policy closes against one, and how many contracts of each.

        ArithmeticError where a policy breaks what it must hold to: nothing beyond a cap, nothing below zero, given and
        remaining together what was asked.
        """
        side: Literal["long", "short"] = "short" if p.quantity > 0 else "long"
        plan, number = self.plan, p.number
        demand = Demand(
            instrument=self.symbol(number), side=side, contracts=abs(p.quantity), price=price,
            mark_price=p.mark_price, lot=plan.instruments.lot[number] or DEFAULT_LOT,
            contract_size=plan.instruments.contract_size_exact[number], inverse=bool(plan.instruments.inverse[number]),
            deficit=max(ZERO, -self.bucket(bucket).equity / p.held.conversion), event=self.asked, seed=rules.seed,
        )  # fmt: skip
        self.asked += 1
        wanted = self.wanted(demand, number, rules)
        if not wanted.contracts:
            self.learn(demand, ZERO, number, rules)
            return []
        places, found = self.candidates_now(bucket, p, wanted, rules)
        if self.ranker is not None:
            found = ranked(found, self.ranker(wanted, found))
        allocate = self.allocator if self.allocator is not None else self.policy_of(rules)
        allocation = allocate(wanted, found)
        held_to(wanted, found, allocation)
        self.learn(demand, sum(allocation.given, ZERO), number, rules)
        for c, given, reason in zip(found, allocation.given, allocation.skipped, strict=True):
            why = c.barred or reason
            # Who stands behind what is taken has been passed over by nobody.
            if not given and why not in (None, NOT_REACHED):
                self.result.skipped.append(Skipped(c.account, demand.instrument, self.name(bucket), why))
        taken = [(c.rank, i, given) for c, i, given in zip(found, places, allocation.given, strict=True) if given]
        return [(i, given) for _, i, given in sorted(taken)]

    @once
    def asks_once(self) -> bool:
        """Whether a position is asked for once in a resolution: where what may be taken is limited for one event."""
        rules = self.plan.deleveraging
        assert rules is not None
        if rules.most is not None or rules.severity is not None or self.allocator is not None:
            return True
        return rules.rule in ("capped_queue", "capped_pro_rata") or "profit_only" in declared(
            rules.rule, **rules.parameters
        )

    def wanted(self, demand: Demand, number: int, rules: Deleveraging) -> Demand:
        """Return the part of a demand that the severity in its market asks for; without one, all of it."""
        if rules.severity is None:
            return demand
        return asked(demand, self.severity(number, rules.severity))

    def learn(self, demand: Demand, contracts: Fraction, number: int, rules: Deleveraging) -> None:
        """Change the severity of a market by what contracts raised; kept for the snapshot after."""
        if rules.severity is not None:
            step = controller(rules.severity.rule, **rules.severity.parameters)
            self.severities[number] = step(self.severity(number, rules.severity), raised(demand, contracts))

    def severity(self, number: int, rule: SeverityRule) -> Severity:
        """Return the severity in a market: as earlier events left it, else what the rule starts with."""
        if number not in self.severities:
            self.severities[number] = severity_in(self.bound, number, rule)
        return self.severities[number]

    def policy_of(self, rules: Deleveraging) -> AllocateAdl:
        """Return the ruleset's policy."""
        return policy(rules.rule, **rules.parameters)

    def candidates_now(
        self, bucket: int, p: ExactPosition, demand: Demand, rules: Deleveraging
    ) -> tuple[list[int], list[Candidate]]:
        """Return the positions opposite to one as they are now, and as candidates; who may not be taken has no cap."""
        side, key = demand.side, (p.number, demand.side)
        if key not in self.sides:
            made = queued(self.evaluation, self.symbol(p.number), side)
            self.sides[key] = (list(made.positions), list(made.candidates))
        rows, fresh = self.sides[key]
        out = []
        for i, c in zip(rows, fresh, strict=True):
            of = int(self.bound.positions.bucket[i])
            if i in self.changed or self.balance.get(of):
                c = candidate(self.evaluation, i, self.bucket(of), c.rank, self.roles)
            if c.contracts == 0:
                c = c.without("holds nothing any more")
            elif self.bound.positions.account[i] == self.bound.buckets.account[bucket]:
                c = c.without(OWN)
            out.append(c.spared(demand))
        if rules.again:
            out = ranked(out, [c.score or ZERO for c in out])
        order = sorted(range(len(out)), key=lambda k: out[k].rank)
        return [rows[k] for k in order], [out[k] for k in order]

    @once
    def roles(self) -> dict[int, str]:
        """The roles of accounts, by their codes."""
        return roles_of(self.bound)


def held_to(demand: Demand, candidates: Sequence[Candidate], allocation: Allocation) -> None:
    """Hold an allocation to what every policy must keep; ArithmeticError names what it breaks."""
    for c, given in zip(candidates, allocation.given, strict=True):
        if given < 0 or given > c.cap:
            raise ArithmeticError(f"a policy takes {given} contracts of {c.account}, who may give {c.cap}")
    if sum(allocation.given, ZERO) + allocation.remaining != demand.contracts:
        raise ArithmeticError(f"a policy gives {sum(allocation.given, ZERO)} of {demand.contracts} contracts")
