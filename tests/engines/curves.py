"""An independent reference for any payoff, key, basis and rate: the definitions in plain fractions, slice by slice."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

F = Fraction
ZERO, ONE = F(0), F(1)


def root(value: Fraction) -> Fraction:
    """A square root to 60 digits."""
    return F(math.isqrt(value.numerator * 10**120 // value.denominator), 10**60)


@dataclass
class Terms:
    """What an instrument and its tier table say, drawn at random; `table` is the table as written."""

    payoff: str
    size: Fraction
    key: str
    basis: str
    rate: str
    caps: list[Fraction | None] = field(default_factory=list)
    rates: list[Fraction] = field(default_factory=list)
    base: Fraction = ZERO
    slope: Fraction = ZERO
    factor: Fraction = ZERO
    share: Fraction = ZERO
    most: Fraction = ONE
    edge: str = "lower"

    def value(self, quantity: Fraction, price: Fraction) -> Fraction:
        """In settlement money, unsigned."""
        contracts = abs(quantity) * self.size
        return contracts / price if self.payoff == "inverse" else contracts * price

    def profit(self, quantity: Fraction, entry: Fraction, mark: Fraction) -> Fraction:
        contracts = quantity * self.size
        return contracts * (1 / entry - 1 / mark) if self.payoff == "inverse" else contracts * (mark - entry)

    def counted(self, quantity: Fraction, price: Fraction) -> Fraction:
        """What the key counts."""
        match self.key:
            case "contracts":
                return abs(quantity)
            case "coin":
                return self.value(quantity, price) if self.payoff == "inverse" else abs(quantity) * self.size
            case "quote_value":
                return abs(quantity) * self.size if self.payoff == "inverse" else self.value(quantity, price)
        return self.value(quantity, price)

    def maintenance(self, quantity: Fraction, entry: Fraction, mark: Fraction) -> Fraction:
        price = entry if self.basis == "entry" else mark
        value, key = self.value(quantity, price), self.counted(quantity, price)
        if value == 0:
            return F(0)
        if self.rate == "bracket":
            total, floor = F(0), F(0)
            for number, (cap, rate) in enumerate(zip(self.caps, self.rates, strict=True)):
                top = key if cap is None or number == len(self.caps) - 1 else min(cap, key)
                if top <= floor:
                    break
                total += (top - floor) * rate
                floor = top
            return total * value / key
        return value * self.at(key)

    def at(self, key: Fraction) -> Fraction:
        if self.rate == "flat":
            return self.rates[0]
        if self.rate == "step":
            for cap, rate in zip(self.caps[:-1], self.rates, strict=False):
                if cap is not None and (key < cap or (key == cap and self.edge == "lower")):
                    return rate
            return self.rates[-1]
        if self.rate == "linear":
            return min(self.most, self.base + self.slope * key)
        return min(self.most, max(self.base, self.share * self.base + self.factor * root(key)))

    def instrument(self, symbol: str) -> dict[str, Any]:
        size = decimal(self.size)
        return {"symbols": [symbol], "payoff": self.payoff, "settle": "USDT", "contract_size": size, "tiers": symbol}

    def table(self, symbol: str) -> dict[str, Any]:
        """The tier table as a ruleset states it."""
        table: dict[str, Any] = {
            "id": symbol,
            "key": self.key,
            "basis": self.basis,
            "rate": self.rate,
            "edge": self.edge,
        }
        if self.rate in ("bracket", "step"):
            caps = ["unlimited" if cap is None else decimal(cap) for cap in self.caps]
            rows = [[cap, percent(rate)] for cap, rate in zip(caps, self.rates, strict=True)]
            return {**table, "columns": ["up_to", "maintenance"], "rows": rows}
        if self.rate == "flat":
            return {**table, "maintenance": percent(self.rates[0])}
        curve = {"base": percent(self.base), "most": percent(self.most)}
        if self.rate == "linear":
            return {**table, "maintenance": {**curve, "slope": decimal(self.slope)}}
        return {**table, "maintenance": {**curve, "factor": decimal(self.factor), "share": percent(self.share)}}


def decimal(value: Fraction) -> str:
    text = f"{float(value):.10f}"
    assert F(text) == value, value
    return text


def percent(value: Fraction) -> str:
    return f"{decimal(value * 100)}%"


def draw(rng: random.Random) -> Terms:
    """Draw terms; sizes are such that positions of 1 to 50 contracts at 50 to 200 cross their tiers."""
    payoff = rng.choice(["linear", "inverse", "quanto"])
    key, basis = rng.choice(["notional", "coin", "contracts", "quote_value"]), rng.choice(["mark", "mark", "entry"])
    rate = rng.choice(["flat", "bracket", "step", "linear", "square_root"])
    terms = Terms(payoff, F(rng.choice([1, 1, 10, "0.1"])), key, basis, rate, edge=rng.choice(["lower", "upper"]))
    scale = terms.counted(F(20), F(100))
    if rate in ("bracket", "step", "flat"):
        steps = sorted({F(str(round(float(scale) * rng.uniform(0.2, 2), 3))) for _ in range(rng.randint(0, 4))})
        terms.caps = [*(s for s in steps if s > 0), rng.choice([None, F(10) ** 6])]
        rates = sorted(F(rng.randint(4, 200), 1000) for _ in terms.caps)
        terms.rates = rates
    else:
        terms.base, terms.most = F(rng.randint(5, 50), 1000), F(rng.randint(30, 100), 100)
        terms.slope = F(str(round(0.05 / float(scale), 8)))
        terms.factor = F(str(round(0.05 / float(scale) ** 0.5, 8)))
        terms.share = F(rng.randint(5, 10), 10)
    return terms
