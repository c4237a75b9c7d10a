"""Triggers of deleveraging: when it is on in a market, by numbers that are what they are by then."""

from __future__ import annotations

import math

import numpy as np

from riskpolicy.engines.core.exact import ZERO, Number
from riskpolicy.engines.resolving.staged import Staged
from riskpolicy.errors import Finding, SnapshotError
from riskpolicy.plan.plan import Deleveraging, Rule


class Triggers(Staged):
    """Whether contracts may be taken in a market; the state is kept for the snapshot after."""

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
