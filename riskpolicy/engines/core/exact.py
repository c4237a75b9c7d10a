"""The exact twin of the margin arithmetic: one position or bucket in fractions, nothing rounded."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

from riskpolicy.engines.core.bound import Bound
from riskpolicy.plan.plan import Plan, Tier


@dataclass(frozen=True, slots=True)
class ExactPosition:
    """One position, exactly; money in the settlement currency, quantity signed."""

    quantity: Fraction
    entry_price: Fraction
    mark_price: Fraction
    entry_notional: Fraction
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


def exact_bucket_row(bound: Bound, bucket: int) -> dict[str, Fraction | float]:
    """Return a bucket as the row that the programs of bucket rules read."""
    return exact_bucket(bound, bucket).row()


def exact_position_row(bound: Bound, i: int, *, with_bucket: bool = True) -> dict[str, Fraction | float]:
    """Return position i, in canonical order, as the row that the programs of position rules read.

    Without the bucket's own names it takes one position's arithmetic, not that of all in the bucket.
    """
    number = int(bound.positions.bucket[i])
    if not with_bucket:
        wallet = bound.exact_wallet(number)
        position = exact_position(bound, i, wallet)
        return {**_row(position, wallet), "initial_margin": position.initial_margin or Fraction(0)}
    bucket = exact_bucket(bound, number)
    position = bucket.positions[bound.members(number).index(i)]
    of_bucket = {f"bucket_{name}": value for name, value in bucket.row().items() if name != "wallet_balance"}
    initial = Fraction(0) if position.initial_margin is None else position.initial_margin
    return {**_row(position, bucket.wallet_balance), "initial_margin": initial, **of_bucket}


def _row(position: ExactPosition, wallet: Fraction) -> dict[str, Fraction | float]:
    """Return what is known of a position before margins are."""
    most = position.tier.max_leverage
    return {
        "quantity": position.quantity,
        "entry_price": position.entry_price,
        "entry_notional": position.entry_notional,
        "market_mark_price": position.mark_price,
        "wallet_balance": wallet,
        "notional": position.notional,
        "unrealized_pnl": position.unrealized_pnl,
        "max_leverage": math.nan if most is None else most,
        "leverage": math.nan if position.leverage is None else position.leverage,
        "maintenance_margin": position.maintenance_margin,
    }


def exact_bucket(bound: Bound, bucket: int) -> ExactBucket:
    """Return bucket number `bucket`, its positions in canonical order."""
    wallet = bound.exact_wallet(bucket)
    positions = tuple(exact_position(bound, i, wallet) for i in bound.members(bucket))
    return ExactBucket(wallet, positions)


def exact_position(bound: Bound, i: int, wallet: Fraction) -> ExactPosition:
    """Return position i, with `wallet` the balance behind its bucket."""
    plan, number = bound.plan, int(bound.positions.instrument[i])
    quantity, entry, selected = bound.exact_position(i)
    mark = bound.exact_mark(number)
    size = quantity * plan.instruments.contract_size_exact[number]
    notional = abs(size) * mark
    pnl = size * (mark - entry)
    tier = plan.tiers.exact[tier_number(plan, int(plan.instruments.table[number]), notional)]
    leverage = selected if selected is not None else tier.max_leverage
    maintenance = notional * tier.rate - tier.deduction
    position = ExactPosition(quantity, entry, mark, abs(size) * entry, notional, pnl, tier, leverage, maintenance, None)
    initial = plan.initial.program.exact(_row(position, wallet))
    return replace(position, initial_margin=None if initial is None else Fraction(initial))


def exact_notional(bound: Bound, i: int) -> Fraction:
    """Return the exact notional of position i."""
    number = int(bound.positions.instrument[i])
    quantity, _, _ = bound.exact_position(i)
    return abs(quantity) * bound.plan.instruments.contract_size_exact[number] * bound.exact_mark(number)


def tier_number(plan: Plan, table: int, key: Fraction) -> int:
    """Return the tier of a key: at a cap, the one that owns the edge; above the last cap, the last."""
    tiers = plan.tiers
    first, end = int(tiers.start[table]), int(tiers.start[table + 1])
    lower = bool(tiers.edge_lower[table])
    for number in range(first, end - 1):
        cap = tiers.exact[number].cap
        if cap is None or key < cap or (lower and key == cap):
            return number
    return end - 1
