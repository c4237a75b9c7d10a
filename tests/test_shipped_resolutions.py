"""Every shipped ruleset resolves random crashes of its own markets: nothing is lost, and it ends."""

import os
import random
from fractions import Fraction
from pathlib import Path

import pytest

import riskpolicy as rp
from riskpolicy.snapshot.write import snapshot_dict

F = Fraction
#: `make laws` draws this many times as many crashes.
TIMES = int(os.environ.get("RISKPOLICY_LAWS", "1"))
RULESETS = Path(__file__).parents[1] / "rulesets"
SHIPPED = sorted(path for path in RULESETS.glob("*/*.yaml") if not path.name.endswith(".test.yaml"))
#: What a unit of each currency is worth in dollars, and a price for each instrument, roughly.
WORTH = {"BTC": 50000, "XBT": 50000, "ETH": 2500}


def crash(policy, rng):
    """Up to four markets, each with longs and shorts of equal size; balances near what is due; a thin book."""
    plan = policy.plan
    terms = plan.instruments
    chosen = sorted(rng.sample(range(len(terms.symbols)), k=min(len(terms.symbols), rng.randint(1, 4))))
    names = [f"a{k}" for k in range(rng.randint(3, 9))]
    modes = sorted(plan.modes & {"cross", "isolated"}) or ["cross"]
    tables = {"markets": [], "positions": [], "accounts": [], "depth": [], "funds": [], "providers": []}
    notional: dict[tuple[str, str], float] = {}
    for number in chosen:
        symbol, currency = terms.symbols[number], plan.currencies[int(terms.currency[number])]
        mark = rng.choice([50, 100, 3000]) if not terms.inverse[number] else rng.choice([3000, 50000])
        size, lot = float(terms.contract_size_exact[number]), terms.lot[number] or F(1, 1000)
        each = size / mark if terms.inverse[number] else size * mark
        # A few thousand dollars a position, in whole lots.
        unit = max(1, round(3000 / WORTH.get(currency, 1) / each / float(lot)))
        shares = [rng.randint(1, 9) for _ in names[1:]]
        flip = rng.choice([1, -1])
        for name, share in zip(names, [-sum(shares), *shares], strict=True):
            quantity = flip * share * unit * lot
            row = {"account": name, "instrument": symbol, "quantity": str(float(quantity)),
                   "entry_price": round(mark * rng.uniform(0.8, 1.25), 2)}  # fmt: skip
            if rng.random() < 0.3 and "isolated" in modes:
                row |= {"margin_mode": "isolated", "isolated_margin": round(abs(float(quantity)) * each * 0.05, 6)}
            else:
                key = (name, currency)
                notional[key] = notional.get(key, 0.0) + abs(float(quantity)) * each
            tables["positions"].append(row)
        tables["markets"].append({
            "instrument": symbol, "mark_price": mark, "oracle_price": mark, "index_price": mark, "previous_mark": mark,
            "open_interest": 1, "daily_volume": 1000, "symbol_pnl": rng.choice([0, -900]), "symbol_pnl_peak_8h": 0,
            "premium": rng.choice([0, 0.002, -0.01]),
        })  # fmt: skip
        for side, sign in (("bid", -1), ("ask", 1)):
            tables["depth"] += [
                {"instrument": symbol, "side": side, "price": round(mark * (1 + sign * k / 200), 2),
                 "quantity": str(float(rng.randint(0, 9) * unit * lot))}
                for k in (1, 3, 8)
            ]  # fmt: skip
        tables["providers"] += [
            {"provider": f"p{k}", "instrument": symbol, "capacity": str(float(rng.randint(0, 5) * unit * lot))}
            for k in range(2)
        ]
    for (name, currency), value in sorted(notional.items()):
        tables["accounts"].append(
            {"account": name, "currency": currency, "balance": round(value * rng.uniform(-0.05, 0.5), 6)}
        )
    for fund in plan.funds:
        worth = WORTH.get(plan.currencies[fund.currency], 1)
        balance = rng.choice([0, 100, 5000, 10**7]) / worth
        tables["funds"].append({
            "fund": fund.id, "currency": plan.currencies[fund.currency], "balance": balance,
            "peak_8h": balance * rng.choice([1, 2]), "average_8h": balance * rng.choice([1, 2]),
        })  # fmt: skip
    tables["as_of"] = policy.plan.valid_from.isoformat()
    events = [
        {"kind": "mark", "instrument": m["instrument"], "mark_price": round(m["mark_price"] * rng.uniform(0.8, 1.2), 2)}
        for m in tables["markets"]
    ]
    events += [{"kind": "funding", "instrument": m["instrument"]} for m in tables["markets"] if plan.funding]
    chosen = rng.sample(events, k=rng.randint(0, min(2, len(events))))
    return tables, [{**event, "sequence": k} for k, event in enumerate(chosen)]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}-{path.stem}")
@pytest.mark.parametrize("seed", range(8 * TIMES))
def test_a_crash_is_resolved_to_its_end(path, seed):
    policy = rp.load(path)
    tables, events = crash(policy, random.Random(f"{path.parent.name} {seed}"))
    before = policy.evaluate(tables)
    result = before.resolve("book", events)
    sums: dict[tuple, int] = {}
    for row in result.ledger.rows():
        key = (row["event"], row["currency"], row.get("instrument"))
        sums[key] = sums.get(key, 0) + row["amount"]
    assert not any(sums.values())
    after = policy.evaluate(result.after)
    said = snapshot_dict(result.after)
    assert all(F(str(row["balance"])) >= 0 for row in said.get("funds", []))
    held: dict[str, Fraction] = {}
    for row in said["positions"]:
        held[row["instrument"]] = held.get(row["instrument"], F(0)) + F(str(row["quantity"]))
    assert not any(held.values())
    for row in after.buckets.rows():
        if row["state"] == "bankrupt":
            assert row["account"] in result.waiting
    again = after.resolve("book")
    assert [step for step in again.steps if step.quantity] == []
    assert again.draws == []
    assert again.waiting == result.waiting
