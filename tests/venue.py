"""Small rulesets and snapshots for tests, as plain data that a test changes where it matters."""

from __future__ import annotations

import copy
from typing import Any

import yaml

import riskpolicy as rp
from riskpolicy.engines.evaluate import Evaluation


def base() -> dict[str, Any]:
    """A venue of one instrument with two tiers: 0.4 % up to 300,000, then 0.5 % up to 800,000."""
    return copy.deepcopy(
        {
            "riskpolicy": 1,
            "id": "venue",
            "valid_from": "2024-01-01T00:00:00Z",
            "currencies": {"USDT": {"quantum": 0.00000001}},
            "funds": [{"id": "main", "currency": "USDT"}],
            "instruments": [
                {"symbols": ["BTCUSDT"], "payoff": "linear", "settle": "USDT", "tiers": "btc", "fund": "main"}
            ],
            "margin": {
                "initial": "notional / leverage",
                "tiers": [
                    {
                        "id": "btc",
                        "key": "notional",
                        "basis": "mark",
                        "rate": "bracket",
                        "columns": ["up_to", "maintenance", "max_leverage"],
                        "rows": [[300000, "0.4%", 150], [800000, "0.5%", 100]],
                    }
                ],
            },
            "liquidation": {
                "trigger": "equity < maintenance_margin",
                "accounts": {"not_stated": ["margin_ratio desc", "equity asc"]},
                "steps": [
                    {"id": "book", "do": "market_order", "leftover": "account"},
                    {"id": "adl", "do": "deleverage"},
                ],
            },
            "waterfall": [
                {"id": "own_margin", "pays": "defaulter"},
                {"id": "fund", "pays": "main"},
                {"id": "adl", "pays": "deleveraging"},
                {"id": "end", "pays": "residual"},
            ],
            "deleveraging": {
                "score": "max(0, unrealized_pnl) / entry_notional",
                "ties": "not_stated",
                "take": {"rule": "queue", "price": "bankruptcy_price", "fee": "0%"},
                "lights": "not_stated",
            },
        }
    )


def tiers(rows: list[list[Any]], columns: tuple[str, ...] = ("up_to", "maintenance"), **more: Any) -> dict[str, Any]:
    """A venue with other tiers."""
    ruleset = base()
    ruleset["margin"]["tiers"][0].update(columns=list(columns), rows=rows, **more)
    if "max_leverage" not in columns:
        ruleset["margin"]["initial"] = "notional / 10"
    return ruleset


def text(ruleset: dict[str, Any]) -> str:
    """The ruleset as YAML."""
    return yaml.safe_dump(ruleset, sort_keys=False, width=1000)


def policy(ruleset: dict[str, Any]) -> rp.Policy:
    """The ruleset, loaded."""
    return rp.loads(text(ruleset), "venue.yaml")


def cross(
    positions: list[tuple[str, str, float, float]],
    balances: dict[str, float],
    marks: dict[str, float],
    currency: str = "USDT",
    **more: Any,
) -> dict[str, Any]:
    """A snapshot of cross positions: (account, instrument, quantity, entry price)."""
    keys = ("account", "instrument", "quantity", "entry_price")
    return {
        "positions": [dict(zip(keys, p, strict=True)) for p in positions],
        "accounts": [{"account": a, "currency": currency, "balance": b} for a, b in balances.items()],
        "markets": [{"instrument": i, "mark_price": m} for i, m in marks.items()],
        **more,
    }


def evaluate(ruleset: dict[str, Any], snapshot: dict[str, Any]) -> Evaluation:
    """The snapshot under the ruleset."""
    return policy(ruleset).evaluate(snapshot)
