"""The exact twin of the margin arithmetic: one position or bucket in fractions, nothing rounded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from riskpolicy.engines.core.bound import Bound
from riskpolicy.plan.plan import Plan, Tier


@dataclass(frozen=True, slots=True)
class ExactPosition:
    """One position, exactly; money in the settlement currency, quantity signed."""

    quantity: Fraction
    entry_price: Fraction
    mark_price: Fraction
    notional: Fraction
    unrealized_pnl: Fraction
    tier: Tier
    leverage: Fraction | None
    maintenance_margin: Fraction
    initial_margin: Fraction | None


@dataclass(frozen=True, slots=True)
class ExactBucket:
    """One bucket, exactly. margin_ratio is infinite where equity <= 0 and margin is due."""

    wallet_balance: Fraction
    positions: tuple[ExactPosition, ...]

    @property
    def unrealized_pnl(self) -> Fraction:
        """Sum over the positions."""
        return sum((p.unrealized_pnl for p in self.positions), Fraction(0))

    @property
    def equity(self) -> Fraction:
        """Wallet balance plus unrealized profit."""
        return self.wallet_balance + self.unrealized_pnl

    @property
    def maintenance_margin(self) -> Fraction:
        """Sum over the positions."""
        return sum((p.maintenance_margin for p in self.positions), Fraction(0))

    def row(self) -> dict[str, Fraction | float]:
        """Return the bucket as the row that the programs of bucket rules read."""
        due, equity = self.maintenance_margin, self.equity
        ratio: Fraction | float = Fraction(0)
        if due != 0:
            ratio = due / equity if equity > 0 else math.inf
        return {
            "wallet_balance": self.wallet_balance,
            "unrealized_pnl": self.unrealized_pnl,
            "notional": sum((p.notional for p in self.positions), Fraction(0)),
            "equity": equity,
            "initial_margin": sum((p.initial_margin or Fraction(0) for p in self.positions), Fraction(0)),
            "maintenance_margin": due,
            "margin_ratio": ratio,
        }


def exact_bucket(bound: Bound, bucket: int) -> ExactBucket:
    """Return bucket number `bucket`, its positions in canonical order."""
    start = bound.buckets.start
    wallet = bound.exact_wallet(bucket)
    positions = tuple(exact_position(bound, i, wallet) for i in range(start[bucket], start[bucket + 1]))
    return ExactBucket(wallet, positions)


def exact_position(bound: Bound, i: int, wallet: Fraction) -> ExactPosition:
    """Return position i, with `wallet` the balance behind its bucket."""
    plan, number = bound.plan, int(bound.positions.instrument[i])
    quantity, entry, selected = bound.exact_position(i)
    mark = bound.exact_mark(number)
    size = quantity * plan.instruments.contract_size_exact[number]
    notional = abs(size) * mark
    pnl = size * (mark - entry)
    tier = find_tier(plan, int(plan.instruments.table[number]), notional)
    leverage = selected if selected is not None else tier.max_leverage
    maintenance = notional * tier.rate - tier.deduction
    row: dict[str, Fraction | float] = {
        "quantity": quantity,
        "entry_price": entry,
        "entry_notional": abs(size) * entry,
        "market_mark_price": mark,
        "wallet_balance": wallet,
        "notional": notional,
        "unrealized_pnl": pnl,
        "max_leverage": tier.max_leverage if tier.max_leverage is not None else math.nan,
        "leverage": leverage if leverage is not None else math.nan,
        "maintenance_margin": maintenance,
    }
    initial = plan.initial.program.exact(row)
    return ExactPosition(
        quantity,
        entry,
        mark,
        notional,
        pnl,
        tier,
        leverage,
        maintenance,
        None if initial is None else Fraction(initial),
    )


def find_tier(plan: Plan, table: int, key: Fraction) -> Tier:
    """Return the tier of a key: at a cap, the one that owns the edge; above the last cap, the last."""
    tiers = plan.tiers
    rows = tiers.exact[tiers.start[table] : tiers.start[table + 1]]
    lower = bool(tiers.edge_lower[table])
    inside = (t for t in rows if t.cap is None or key < t.cap or (lower and key == t.cap))
    return next(inside, rows[-1])
