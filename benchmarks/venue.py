"""The venue of the benchmarks: 200 instruments of 10 marginal tiers each, and positions in n / 4 accounts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

import riskpolicy as rp

INSTRUMENTS = 200
TIERS = 10
LIGHTS = 5
RATES = np.array([0.004, 0.005, 0.01, 0.025, 0.05, 0.1, 0.125, 0.15, 0.25, 0.5])
LEVERAGES = np.array([125, 100, 50, 20, 10, 5, 4, 3, 2, 1])
SCORE = "profit * effective if unrealized_pnl > 0 else profit / effective"


@dataclass(frozen=True)
class Venue:
    """Columns by position (account, instrument, quantity, entry), by account (balance), by instrument and tier."""

    account: np.ndarray
    instrument: np.ndarray
    quantity: np.ndarray
    entry: np.ndarray
    balance: np.ndarray
    mark: np.ndarray
    cap: np.ndarray
    deduction: np.ndarray

    @property
    def accounts(self) -> int:
        return len(self.balance)

    def tables(self) -> dict[str, Any]:
        """Return the tables of a snapshot, ids as integers."""
        n = np.arange(INSTRUMENTS)
        return {
            "positions": {
                "account": self.account,
                "instrument": self.instrument,
                "quantity": self.quantity,
                "entry_price": self.entry,
            },
            "accounts": {
                "account": np.arange(self.accounts),
                "currency": np.full(self.accounts, "USDT"),
                "balance": self.balance,
            },
            "markets": {"instrument": n, "mark_price": self.mark},
        }

    def text_tables(self) -> dict[str, Any]:
        """Return the same with ids as text."""
        tables = self.tables()
        names = np.array([f"A{i:08}" for i in range(self.accounts)])
        symbols = np.array([str(i) for i in range(INSTRUMENTS)])
        tables["positions"]["account"] = names[self.account]
        tables["positions"]["instrument"] = symbols[self.instrument]
        tables["accounts"]["account"] = names
        tables["markets"]["instrument"] = symbols
        return tables


def make(n: int, seed: int = 1, accounts: int | None = None) -> Venue:
    """Draw a venue: popularity Pareto, sizes log-normal in lots, entries within 5 % of the mark in ticks."""
    rng = np.random.default_rng(seed)
    accounts = accounts or max(n // 4, 1)
    popularity = rng.pareto(1.1, INSTRUMENTS) + 0.05
    mark = np.round(np.exp(rng.uniform(-2, 10, INSTRUMENTS)), 4)
    account, instrument = _holdings(rng, n, accounts, popularity / popularity.sum())
    n = len(account)
    price = mark[instrument]
    size = np.exp(rng.normal(8, 2, n)) / price
    lot = 10.0 ** np.floor(np.log10(size))
    quantity = np.maximum(np.round(size / lot, 1), 1) * lot * rng.choice([-1.0, 1.0], n)
    entry = price * rng.uniform(0.95, 1.05, n)
    tick = 10.0 ** np.floor(np.log10(price) - 4)
    entry = np.maximum(np.round(entry / tick), 1) * tick
    quantity, entry = _decimals(quantity), _decimals(entry)
    gross = np.bincount(account, np.abs(quantity) * price, accounts)
    balance = np.round(gross * np.exp(rng.normal(-1.5, 1.0, accounts)) + 1, 2)
    scale = np.exp(rng.uniform(0, 2, INSTRUMENTS))
    cap = np.round(np.outer(scale, 5000.0 * 3.0 ** np.arange(TIERS)), -2)
    cap[:, -1] = np.inf
    deduction = np.zeros((INSTRUMENTS, TIERS))
    for t in range(1, TIERS):
        deduction[:, t] = deduction[:, t - 1] + cap[:, t - 1] * (RATES[t] - RATES[t - 1])
    return Venue(account, instrument, quantity, entry, balance, mark, cap, deduction)


def _holdings(rng: np.random.Generator, n: int, accounts: int, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw who holds what, by account and instrument, nobody one instrument twice."""
    key = np.zeros(0, np.int64)
    while len(key) < n:
        account = rng.integers(0, accounts, n - len(key))
        instrument = rng.choice(INSTRUMENTS, n - len(key), p=0.9 * share + 0.1 / INSTRUMENTS)
        key = np.sort(np.r_[key, account * INSTRUMENTS + instrument])
        key = key[np.r_[True, key[1:] != key[:-1]]]
    return key // INSTRUMENTS, key % INSTRUMENTS


def _decimals(values: np.ndarray) -> np.ndarray:
    """Return the floats nearest to the decimals of 10 significant digits."""
    power = 10.0 ** (9 - np.floor(np.log10(np.abs(values))))
    out: np.ndarray = np.where(power >= 1, np.rint(values * power) / power, values)
    return out


def policy(venue: Venue) -> rp.Policy:
    """Return the venue's rules, loaded from a ruleset."""
    groups, tables = [], []
    for i in range(INSTRUMENTS):
        groups.append({"symbols": [str(i)], "payoff": "linear", "settle": "USDT", "tiers": f"t{i}", "fund": "main"})
        rows = []
        for t in range(TIERS):
            cap = "unlimited" if t == TIERS - 1 else float(venue.cap[i, t])
            rows.append([cap, f"{RATES[t] * 100:g}%", int(LEVERAGES[t])])
        columns = ["up_to", "maintenance", "max_leverage"]
        tables.append(
            {"id": f"t{i}", "key": "notional", "basis": "mark", "rate": "bracket", "columns": columns, "rows": rows}
        )
    written = {
        "riskpolicy": 1,
        "id": "benchmark",
        "valid_from": "2024-01-01T00:00:00Z",
        "currencies": {"USDT": {"quantum": 0.00000001}},
        "funds": [{"id": "main", "currency": "USDT"}],
        "instruments": groups,
        "margin": {"initial": "notional / leverage", "tiers": tables},
        "liquidation": {
            "trigger": "equity < maintenance_margin",
            "accounts": {"not_stated": ["margin_ratio desc", "equity asc"]},
            "steps": [{"id": "book", "do": "market_order", "leftover": "account"}],
        },
        "waterfall": [{"id": "own", "pays": "defaulter"}, {"id": "end", "pays": "residual"}],
        "deleveraging": {
            "let": {
                "profit": "unrealized_pnl / entry_notional",
                "effective": "notional / max(1 * settle, bucket_equity)",
            },
            "score": SCORE,
            "ties": "not_stated",
            "take": {"rule": "queue", "price": "bankruptcy_price", "fee": "0%"},
            "lights": {"count": LIGHTS, "by": "accounts"},
        },
    }
    return rp.loads(yaml.safe_dump(written, sort_keys=False))
