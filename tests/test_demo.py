"""The demo shows our liquidation prices beside the exchange's, and a venue whose numbers add up."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import riskpolicy as rp

EXAMPLES = Path(__file__).parent.parent / "examples"
sys.path.insert(0, str(EXAMPLES))

from venue import gap, generate_venue  # noqa: E402


def test_the_bundled_positions_agree_with_the_exchange():
    reported = json.loads((EXAMPLES / "hyperliquid_reported.json").read_text())["liquidation_price"]
    rows = rp.load("hyperliquid@2024-11-01").evaluate(EXAMPLES / "hyperliquid_positions.json").positions.rows()
    ours = {row["account"]: row["liquidation_price"] for row in rows}
    assert ours == {account: pytest.approx(price, rel=1e-6) for account, price in reported.items()}


def test_the_demo_runs():
    done = subprocess.run([sys.executable, "demo.py"], cwd=EXAMPLES, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for part in (
        "exchange reports",
        "Liquidation order",
        "Draws planned at the mark",
        "Head of the deleveraging queue",
    ):
        assert part in done.stdout


def test_a_generated_venue_is_complete_and_its_draws_pay_every_deficit():
    evaluation = rp.load("hyperliquid").evaluate(gap(generate_venue(2000, seed=3), -0.2))
    deficits = -np.minimum(evaluation.margins.equity, 0).sum()
    drawn = sum(float(row["amount"]) for row in evaluation.draws.rows())
    assert deficits > 0
    assert drawn == pytest.approx(deficits, rel=1e-12)


def test_a_generated_venue_is_the_same_in_any_order():
    venue = gap(generate_venue(500, seed=5), -0.2)
    order = np.random.default_rng(0).permutation(len(venue["positions"]["account"]))
    shuffled = {**venue, "positions": {name: values[order] for name, values in venue["positions"].items()}}
    policy = rp.load("hyperliquid")
    first, second = policy.evaluate(venue), policy.evaluate(shuffled)
    assert list(first.buckets.rows()) == list(second.buckets.rows())
    rows = list(first.positions.rows())
    assert [rows[i] for i in order] == list(second.positions.rows())
