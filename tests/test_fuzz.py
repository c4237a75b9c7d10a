"""Broken input of every kind ends in a finding or a result, never in another exception."""

import contextlib
import json
import random
import re
from decimal import Decimal

import numpy as np
import pytest

import riskpolicy as rp
from tests.ruleset.test_loader import GOOD

TOKENS = [
    "null", "~", "[]", "{}", "[1]", "{a: 1}", "true", "-1", "0", "1e50", "1e101", ".inf", ".nan", "''", "5%",
    "-5%", "1000%",
    "%", "not_stated", "{not_stated: not_stated}", "{not_stated: null}", "unlimited", "2024-01-01", "*a",
    "&a x", "!!str 1",
    "|", "-", ":", "#", "equity", "a.b", "1/0", "max()", "(", "settle", "defaulter", "residual",
]  # fmt: skip
CHARACTERS = "{}[]:,#&*!|>'\"%@`\t\n \x00\x85\u2028\u0435-"


def mutated(text, rng):
    kind = rng.random()
    if kind < 0.6:
        spans = list(re.finditer(r"(?<=: )[^\n,\]}]+|(?<=[\[,] )[^\n,\]}]+", text))
        span = rng.choice(spans)
        return text[: span.start()] + rng.choice(TOKENS) + text[span.end() :]
    if kind < 0.8:
        lines = text.split("\n")
        lines.insert(rng.randrange(len(lines)), lines.pop(rng.randrange(len(lines))))
        return "\n".join(lines)
    at = rng.randrange(len(text))
    return text[:at] + rng.choice(CHARACTERS) + text[at + rng.randint(0, 2) :]


SNAPSHOT = {
    "positions": [{"account": "a", "instrument": "BTC", "quantity": 1, "entry_price": 90}],
    "accounts": [{"account": "a", "currency": "USDT", "balance": 5}],
    "markets": [{"instrument": "BTC", "mark_price": 100}],
}


@pytest.mark.parametrize("seed", range(400))
def test_a_broken_ruleset_is_refused_or_works(seed):
    rng = random.Random(seed)
    text = GOOD
    for _ in range(rng.randint(1, 3)):
        text = mutated(text, rng)
    refusal: rp.RiskPolicyError | None = None
    try:
        policy = rp.loads(text)
        policy.explain(policy.evaluate(SNAPSHOT), "a")
    except rp.RiskPolicyError as error:
        refusal = error
    if isinstance(refusal, rp.RulesetError):
        assert all(finding.place for finding in refusal.findings)


VALUES = [
    None, "", 0, -1, 1.5, float("nan"), float("inf"), "NaN", "x", True, [], {}, "1e400", "1e-99", 10**30,
    2**63, 10**400,
    Decimal("NaN"), Decimal("sNaN"), Decimal("1e500"), np.float32(0.1), np.int64(5), np.bool_(1), b"x", "\x00",
    "[bold]",    object(), 1e308, 5e-324, -0.0, "-0", "\uff11", 1 + 2j, "a" * 10_000,
]  # fmt: skip
COLUMNS = [
    np.array([]), np.array([1]), np.array([[1]]), np.array(["a"]), np.array([None]),
    np.array([1], dtype="datetime64[s]"),    np.array([(1, 2)], dtype="i4,i4"), np.array([b"a"]), np.array(5),
    np.array([1 + 2j]), np.array([1.5], np.float16),
    np.array([2**64 - 1], np.uint64), (1,), range(1), {1}, "abc", iter([1]), 5, None, [],
    np.ma.array([1.0], mask=[True]),
]  # fmt: skip
CASES = [(t, c, v) for t, rows in SNAPSHOT.items() for c in rows[0] for v in (*VALUES, *COLUMNS)]


@pytest.mark.parametrize("as_columns", [False, True], ids=["rows", "columns"])
@pytest.mark.parametrize("table", SNAPSHOT)
def test_a_broken_snapshot_is_refused_or_works(table, as_columns):
    policy = rp.loads(GOOD)
    for where, column, value in CASES:
        if where != table:
            continue
        row = {**SNAPSHOT[table][0]}
        broken = {k: [v] for k, v in row.items()} | {column: value} if as_columns else [{**row, column: value}]
        with contextlib.suppress(rp.RiskPolicyError):
            evaluation = policy.evaluate({**SNAPSHOT, table: broken})
            json.dumps(evaluation.to_dict(), allow_nan=False)
            policy.explain(evaluation, evaluation.accounts["account"][0])
