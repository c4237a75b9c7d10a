"""Whole tables: against an independent computation in numpy, for any threads, order of rows and mix of modes."""

import gc

import numpy as np
import pytest

import riskpolicy as rp
from benchmarks import mark_to_adl
from benchmarks import venue as benchmark
from benchmarks.__main__ import differs, evaluated
from riskpolicy.kernel import memory
from tests import venue

COLUMNS = ("notional", "unrealized_pnl", "tier", "initial_margin", "maintenance_margin")
SUMS = ("bucket_notional", "bucket_pnl", "bucket_initial", "bucket_maintenance", "equity")


def all_of(evaluation):
    """Every array of an evaluation, by name."""
    m, queue, decided = evaluation.margins, evaluation.queue, evaluation.liquidation
    found = {name: getattr(m, name) for name in (*COLUMNS, *SUMS)}
    found |= {"score": queue.score, "rank": queue.rank, "light": queue.light, "order": queue.order}
    return found | {"state": decided.state, "liquidation_rank": decided.rank, "step": decided.step}


@pytest.mark.parametrize("n", [1, 7, 1025, 30_000])
def test_a_venue_has_the_numbers_that_numpy_has(n):
    drawn = benchmark.make(n, seed=n)
    evaluation = benchmark.policy(drawn).evaluate(drawn.tables())
    assert differs(evaluated(evaluation, ranks=True), mark_to_adl.numpy_ranks(drawn)) == []


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_threads_never_show(threads):
    drawn = benchmark.make(20_000)
    policy = benchmark.policy(drawn)
    alone, shared = (all_of(policy.evaluate(drawn.tables(), threads=k)) for k in (1, threads))
    for name, values in alone.items():
        assert values.tobytes() == shared[name].tobytes(), name


def test_more_threads_than_positions():
    drawn = benchmark.make(3)
    policy = benchmark.policy(drawn)
    alone, shared = (all_of(policy.evaluate(drawn.tables(), threads=k)) for k in (1, 16))
    for name, values in alone.items():
        assert values.tobytes() == shared[name].tobytes(), name


def test_no_threads_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        venue.policy(venue.base()).evaluate({"positions": []}, threads=0)


def test_the_order_of_rows_never_shows():
    drawn = benchmark.make(20_000)
    policy = benchmark.policy(drawn)
    tables, mixed = drawn.tables(), drawn.tables()
    rng = np.random.default_rng(1)
    order = rng.permutation(len(drawn.account))
    mixed["positions"] = {name: column[order] for name, column in mixed["positions"].items()}
    owners = rng.permutation(drawn.accounts)
    mixed["accounts"] = {name: column[owners] for name, column in mixed["accounts"].items()}
    one, other = policy.evaluate(tables), policy.evaluate(mixed)
    for name, values in all_of(one).items():
        assert values.tobytes() == all_of(other)[name].tobytes(), name
    for name, column in one.positions.columns.items():
        assert np.array_equal(column.values[order], other.positions.columns[name].values, equal_nan=True), name


def mixed_venue(seed):
    """Accounts in two currencies with cross and isolated positions, some accounts without any."""
    ruleset = venue.base()
    ruleset["currencies"]["USDC"] = {"quantum": 0.000001}
    second = {"symbols": ["BTCUSDC", "ETHUSDC"], "payoff": "linear", "settle": "USDC", "tiers": "btc", "fund": "usdc"}
    ruleset["instruments"].append(second)
    ruleset["funds"].append({"id": "usdc", "currency": "USDC"})
    ruleset["margin"]["modes"] = ["cross", "isolated"]
    rng = np.random.default_rng(seed)
    positions, accounts = [], []
    for a in range(40):
        held = {}
        for symbol, currency in [("BTCUSDT", "USDT"), ("BTCUSDC", "USDC"), ("ETHUSDC", "USDC")]:
            if rng.random() < 0.6:
                isolated = rng.random() < 0.4
                row = {"account": f"a{a:02}", "instrument": symbol, "quantity": float(rng.integers(-9, 9))}
                row |= {"entry_price": float(rng.integers(90, 110)), "leverage": 10}
                margin = round(float(rng.uniform(0, 50)), 2)
                row |= {"margin_mode": "isolated", "isolated_margin": margin} if isolated else {}
                positions.append(row)
                if not isolated:
                    held[currency] = True
        for currency in ("USDC", "USDT"):
            if currency in held or rng.random() < 0.3:
                balance = round(float(rng.normal(40, 30)), 2)
                accounts.append({"account": f"a{a:02}", "currency": currency, "balance": balance})
    rng.shuffle(positions)
    rng.shuffle(accounts)
    markets = [{"instrument": s, "mark_price": 100} for s in ("BTCUSDT", "BTCUSDC", "ETHUSDC")]
    return ruleset, {"positions": list(positions), "accounts": list(accounts), "markets": markets}


@pytest.mark.parametrize("seed", range(8))
def test_buckets_are_an_account_s_cross_margin_or_one_isolated_position(seed):
    ruleset, snapshot = mixed_venue(seed)
    currency = {"BTCUSDT": "USDT", "BTCUSDC": "USDC", "ETHUSDC": "USDC"}
    wanted = {(r["account"], r["currency"], None): r["balance"] for r in snapshot["accounts"]}
    for row in snapshot["positions"]:
        isolated = row.get("margin_mode") == "isolated"
        key = (row["account"], currency[row["instrument"]], row["instrument"] if isolated else None)
        own = row["isolated_margin"] if isolated else 0
        wanted[key] = wanted.get(key, 0) + own + row["quantity"] * (100 - row["entry_price"])
    rows = list(venue.evaluate(ruleset, snapshot).buckets.rows())
    got = {(r["account"], r["currency"], r["instrument"]): float(r["equity"]) for r in rows}
    assert got == pytest.approx(wanted)
    order = [(r["account"], ["USDT", "USDC"].index(r["currency"]), r["instrument"] or "") for r in rows]
    assert order == sorted(order)


def test_zero_scores_need_no_exact_arithmetic():
    drawn = benchmark.make(5_000)
    level = drawn.mark[drawn.instrument]
    most = np.arange(len(level)) % 10 != 0
    tables = drawn.tables()
    tables["positions"]["entry_price"] = np.where(most, level, drawn.entry)
    evaluation = benchmark.policy(drawn).evaluate(tables)
    assert (evaluation.queue.score[most] == 0).all()
    assert evaluation.decided_exactly["adl_ranks"] < 10
    for segment in range(2 * benchmark.INSTRUMENTS):
        of_segment = evaluation.queue.order[evaluation.queue.start[segment] : evaluation.queue.start[segment + 1]]
        zeros = of_segment[most[of_segment]]
        assert (np.diff(drawn.account[zeros]) > 0).all()


def test_the_head_of_a_queue_is_that_of_the_whole_ranking():
    drawn = benchmark.make(20_000)
    tables = drawn.tables()
    # Losers all alike and profits of zero make the edge of the head a tie.
    tables["positions"]["entry_price"] = np.where(drawn.account % 3 == 0, drawn.mark[drawn.instrument], drawn.entry)
    evaluation = benchmark.policy(drawn).evaluate(tables)
    rows = list(evaluation.positions.rows())
    for instrument in (0, 17, 199):
        for side in ("long", "short"):
            sign = 1 if side == "long" else -1
            queue = [r for r in rows if r["instrument"] == str(instrument) and r["quantity"] * sign > 0]
            queue.sort(key=lambda r: r["adl_rank"])
            for count in (0, 1, 5, 40, 10**6):
                head = evaluation.adl_head(instrument, side, count)
                names = ("account", "instrument", "quantity", "adl_score", "adl_rank")
                assert head == [{name: r[name] for name in names} for r in queue[:count]]


def test_a_head_of_nothing_known_is_an_error():
    evaluation = venue.evaluate(venue.base(), venue.cross([("a", "BTCUSDT", 1, 60)], {"a": 100}, {"BTCUSDT": 50}))
    with pytest.raises(rp.QueryError, match="no instrument `BTCUSD`") as caught:
        evaluation.adl_head("BTCUSD", "long", 1)
    assert "BTCUSDT" in caught.value.findings[0].hint
    with pytest.raises(rp.QueryError, match="no side"):
        evaluation.adl_head("BTCUSDT", "buy", 1)


def test_memory_that_is_used_again_is_never_shared():
    drawn = benchmark.make(40_000)
    policy = benchmark.policy(drawn)
    first = policy.evaluate(drawn.tables())
    kept = {name: values.copy() for name, values in all_of(first).items()}
    for _ in range(3):
        other = policy.evaluate(
            {**drawn.tables(), "markets": {"instrument": np.arange(200), "mark_price": np.ones(200)}}
        )
        assert not np.shares_memory(other.margins.notional, first.margins.notional)
        _ = other.queue
        del other
    for name, values in all_of(first).items():
        assert values.tobytes() == kept[name].tobytes(), name
    notional = first.margins.notional
    del first
    gc.collect()
    assert notional.tobytes() == kept["notional"].tobytes()
    assert memory.release() > 0
    assert memory.release() == 0


def test_an_evaluation_leaves_no_cycles():
    drawn = benchmark.make(2_000)
    policy = benchmark.policy(drawn)
    gc.collect()
    gc.disable()
    try:
        evaluation = policy.evaluate(drawn.tables())
        _ = evaluation.positions, evaluation.buckets, evaluation.draws
        del evaluation
        assert gc.collect() < 50
    finally:
        gc.enable()
