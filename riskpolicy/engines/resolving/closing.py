"""Deleveraging by policy: the candidates as they are now, what a policy says, and whether that can be so."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from riskpolicy.engines.candidates import OWN, candidate, queued, ranked, roles_of
from riskpolicy.engines.core.adl import AllocateAdl, Allocation, Candidate, Demand, RankAdl
from riskpolicy.engines.core.exact import ZERO, ExactPosition
from riskpolicy.engines.core.once import once
from riskpolicy.engines.core.resolution import Skipped
from riskpolicy.engines.policies import Severity, asked, controller, declared, policy, raised, severity_in
from riskpolicy.engines.policies.rooms import NOT_REACHED
from riskpolicy.engines.resolving.books import DEFAULT_LOT
from riskpolicy.engines.resolving.triggers import Triggers
from riskpolicy.plan.plan import Deleveraging, SeverityRule


class Closing(Triggers):
    """Who is closed against a bankrupt position, by the ruleset's policy."""

    @property
    def ranker(self) -> RankAdl | None:
        """The plugin that ranks, None for the ruleset's score."""
        return self.plan.plugged.rank

    @property
    def allocator(self) -> AllocateAdl | None:
        """The plugin that allocates, None for the ruleset's policy."""
        return self.plan.plugged.allocate

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
            # Where all is taken, nobody has passed over who stands behind it.
            if not given and why is not None and (why != NOT_REACHED or allocation.remaining):
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
