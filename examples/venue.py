"""A generated venue: log-normal sizes, popularity falling by rank, every long matched by a short."""

from __future__ import annotations

from typing import Any

import numpy as np

#: Mark before the gap and decimal places of a lot; all are instruments of the ruleset `hyperliquid`.
MARKETS = {
    "BTC": (100_000.0, 5), "ETH": (3_500.0, 4), "SOL": (180.0, 2), "XRP": (2.5, 0), "DOGE": (0.25, 0),
    "HYPE": (38.0, 2), "SUI": (3.4, 1), "LINK": (18.0, 1), "AVAX": (27.0, 2), "ARB": (0.42, 0),
    "BNB": (680.0, 3), "DOT": (4.1, 1),
}  # fmt: skip
MAX_LEVERAGE = {"BTC": 40, "ETH": 25, "SOL": 20, "XRP": 20}


def generate_venue(accounts: int, seed: int = 1) -> dict[str, Any]:
    """Return the tables of a complete snapshot: about 2.5 positions an account, a fifth of them isolated.

    Account 0 is a market maker that takes the other side of what the rest do not match.
    """
    rng = np.random.default_rng(seed)
    symbols = list(MARKETS)
    popularity = 1.0 / np.arange(1, len(symbols) + 1)
    pairs = [
        (account, instrument)
        for account, held in enumerate(rng.integers(1, 5, accounts), start=1)
        for instrument in rng.choice(len(symbols), held, replace=False, p=popularity / popularity.sum())
    ]
    account, instrument = np.array(pairs).T
    mark = np.array([price for price, _ in MARKETS.values()])
    step = np.array([10**places for _, places in MARKETS.values()])
    notional = rng.lognormal(8.5, 1.7, len(pairs))
    side = rng.choice([1, -1], len(pairs), p=[0.6, 0.4])
    lots = np.maximum(1, np.rint(notional / mark[instrument] * step[instrument])).astype(np.int64) * side
    entry = mark[instrument] * (1 + rng.uniform(-0.05, 0.05, len(pairs)))
    limit = np.array([MAX_LEVERAGE.get(s, 10) for s in symbols])[instrument]
    leverage = np.minimum(np.exp(rng.uniform(0, np.log(limit), len(pairs))).round(), limit)
    margin = (np.abs(lots) / step[instrument] * entry / leverage).round(2) + 0.01
    isolated = rng.random(len(pairs)) < 0.2

    # What the others do not match is the market maker's, at the mark.
    surplus = -np.bincount(instrument, weights=lots, minlength=len(symbols)).astype(np.int64)
    account = np.append(account, np.zeros(len(symbols), np.int64))
    instrument = np.append(instrument, np.arange(len(symbols)))
    lots = np.append(lots, surplus)
    entry = np.append(entry, mark)
    leverage = np.append(leverage, np.ones(len(symbols)))
    margin = np.append(margin, np.abs(surplus) / step * mark)
    isolated = np.append(isolated, np.zeros(len(symbols), bool))

    balance = np.bincount(account, weights=np.where(isolated, 0.0, margin), minlength=accounts + 1).round(2)
    return {
        "as_of": "2026-10-10T21:15:00Z",
        "complete": True,
        "positions": {
            "account": account,
            "instrument": np.array(symbols)[instrument],
            "quantity": lots / step[instrument],
            "entry_price": entry.round(6),
            "leverage": leverage,
            "margin_mode": np.where(isolated, "isolated", "cross"),
            "isolated_margin": np.where(isolated, margin, 0.0),
        },
        "accounts": {
            "account": np.arange(accounts + 1),
            "currency": ["USDC"] * (accounts + 1),
            "balance": balance,
        },
        "markets": {"instrument": symbols, "mark_price": mark},
        "funds": [{"fund": "hlp", "currency": "USDC", "balance": 50_000_000}],
    }


def gap(venue: dict[str, Any], move: float) -> dict[str, Any]:
    """Return the same venue with every mark moved by a fraction, such as -0.2."""
    marks = venue["markets"]
    return {**venue, "markets": {**marks, "mark_price": (marks["mark_price"] * (1 + move)).round(8)}}
