"""Runners of the margin rules: liquidation prices and tier deductions."""

from __future__ import annotations

from typing import Any

import riskpolicy as rp
from tests import venue
from tests.vectors import Entry, NoRunnerError, runner


@runner("liquidation_price")
def liquidation_price(entry: Entry) -> Any:
    if "rows" in entry:
        return [_reported(dict(zip(entry["columns"], row, strict=True))) for row in entry["rows"]]
    if {"mmr", "deduction", "wallet_balance"} <= set(entry["in"]):
        return {"liquidation_price": _bracket(entry["in"])}
    raise NoRunnerError(f"of venue {entry.get('venue')}")


@runner("tier_deduction")
def tier_deduction(entry: Entry) -> Any:
    given = entry["in"]
    if "mmr" in given:
        caps = [*given["floors"][1:], "unlimited"]
        rows = [[cap, _rate(rate)] for cap, rate in zip(caps, given["mmr"], strict=True)]
        policy = venue.policy(venue.tiers(rows))
        return {"deductions": [float(t.deduction) for t in policy.plan.tiers.exact]}
    caps = [*(floor for floor, _ in given["tiers"][1:]), "unlimited"]
    rows = [[cap, leverage] for cap, (_, leverage) in zip(caps, given["tiers"], strict=True)]
    columns = ("up_to", "max_leverage")
    policy = venue.policy(venue.tiers(rows, columns, maintenance="1 / (2 * max_leverage)"))
    price = given["notional"]
    evaluation = policy.evaluate(venue.cross([("A", "BTCUSDT", 1, price)], {"A": price}, {"BTCUSDT": price}))
    row = evaluation.positions.row(0)
    tier = next(t for t in policy.plan.tiers.exact if t.id == row["tier"])
    return {"deduction": float(tier.deduction), "maintenance_margin": float(str(row["maintenance_margin"]))}


def _reported(row: dict[str, Any]) -> Any:
    """An isolated position as Hyperliquid reported it, under the shipped ruleset of its time."""
    position = {
        "account": "A",
        "instrument": row["coin"],
        "quantity": row["size"] * _sign(row["side"]),
        "entry_price": row["entry"],
        "margin_mode": "isolated",
        "isolated_margin": row["collateral"],
    }
    markets = [{"instrument": row["coin"], "mark_price": row["entry"]}]
    policy = rp.load("hyperliquid@2024-11-01")
    evaluation = policy.evaluate({"positions": [position], "markets": markets})
    return evaluation.positions.row(0)["liquidation_price"]


def _bracket(given: dict[str, Any]) -> Any:
    """A cross account: the position in a tier of the given rate and deduction, the rest as one other position.

    The tier below that makes the deduction has half the rate.
    """
    rate, deduction = given["mmr"], given["deduction"]
    rows = [["unlimited", _rate(rate)]]
    if deduction:
        rows = [[deduction / (rate / 2), _rate(rate / 2)], *rows]
    ruleset = venue.tiers(rows)
    ruleset["instruments"].append({**ruleset["instruments"][0], "symbols": ["OTHER"], "tiers": "other"})
    other_tier = {**ruleset["margin"]["tiers"][0], "id": "other", "rows": [["unlimited", "1%"]]}
    ruleset["margin"]["tiers"].append(other_tier)
    positions = [("A", "BTCUSDT", given["quantity"] * _sign(given["side"]), given["entry"])]
    marks = {"BTCUSDT": given["entry"]}
    if given.get("other_maintenance"):
        marks["OTHER"] = given["other_maintenance"] * 100
        positions.append(("A", "OTHER", 1, marks["OTHER"] - given["other_unrealized"]))
    evaluation = venue.evaluate(ruleset, venue.cross(positions, {"A": given["wallet_balance"]}, marks))
    return evaluation.positions.row(0)["liquidation_price"]


def _rate(rate: float) -> str:
    return f"{rate * 100:.12g}%"


def _sign(side: str) -> int:
    return {"long": 1, "short": -1}[side]
