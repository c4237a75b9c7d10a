"""W1 mark to ADL, and W2 margin only, as each peer does them best. Every contender returns the same arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.venue import INSTRUMENTS, LEVERAGES, LIGHTS, RATES, TIERS, Venue

Answer = dict[str, np.ndarray]

#: What W2 answers, and what W1 answers besides.
MARGINS = ("notional", "tier", "initial", "maintenance", "pnl", "equity", "state")
RANKS = ("score", "rank", "light")


def numpy_margins(v: Venue) -> Answer:
    """Whole columns; tiers by counting the caps that a notional is beyond."""
    mark = v.mark[v.instrument]
    notional = np.abs(v.quantity) * mark
    pnl = v.quantity * (mark - v.entry)
    tier = np.zeros(len(notional), np.int64)
    for t in range(TIERS - 1):
        tier += notional > v.cap[:, t][v.instrument]
    maintenance = notional * RATES[tier] - v.deduction.ravel()[v.instrument * TIERS + tier]
    initial = notional / LEVERAGES[tier]
    equity = v.balance + np.bincount(v.account, pnl, v.accounts)
    due = np.bincount(v.account, maintenance, v.accounts)
    np.bincount(v.account, initial, v.accounts)
    state = np.where(equity < 0, 2, np.where(equity < due, 1, 0))
    return {
        "notional": notional,
        "tier": tier,
        "initial": initial,
        "maintenance": maintenance,
        "pnl": pnl,
        "equity": equity,
        "state": state,
    }


def _numpy_score(v: Venue, a: Answer) -> np.ndarray:
    profit = a["pnl"] / (np.abs(v.quantity) * v.entry)
    effective = a["notional"] / np.maximum(1.0, a["equity"])[v.account]
    score: np.ndarray = np.where(a["pnl"] > 0, profit * effective, profit / effective)
    return score


def numpy_ranks(v: Venue) -> Answer:
    """Margins, then one lexsort by (instrument, side) and score."""
    a = numpy_margins(v)
    score = _numpy_score(v, a)
    segment = v.instrument * 2 + (v.quantity < 0)
    order = np.lexsort((-score, segment))
    return {**a, "score": score, **_ranks(segment, order)}


def _ranks(segment: np.ndarray, order: np.ndarray) -> Answer:
    size = np.bincount(segment, minlength=2 * INSTRUMENTS)
    start = np.cumsum(size) - size
    of_row = segment[order]
    place = np.arange(len(order)) - start[of_row]
    rank, light = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
    rank[order] = place + 1
    light[order] = LIGHTS - place * LIGHTS // size[of_row]
    return {"rank": rank, "light": light}


def packed_ranks(v: Venue) -> Answer:
    """Margins, then one sort of integers that pack segment, upper bits of the score and row, repaired where equal."""
    a = numpy_margins(v)
    score = _numpy_score(v, a)
    segment = v.instrument * 2 + (v.quantity < 0)
    n = len(score)
    row_bits, segment_bits = max(int(n - 1).bit_length(), 1), int(2 * INSTRUMENTS - 1).bit_length()
    bits = (score + 0.0).view(np.int64)
    # Higher scores become smaller integers.
    key = np.where(bits < 0, bits ^ np.int64(0x7FFFFFFFFFFFFFFF), bits).view(np.uint64) ^ np.uint64(1 << 63)
    key = ~key >> np.uint64(segment_bits) >> np.uint64(row_bits) << np.uint64(row_bits)
    words = segment.astype(np.uint64) << np.uint64(64 - segment_bits) | key | np.arange(n, dtype=np.uint64)
    words.sort()
    order = (words & np.uint64((1 << row_bits) - 1)).astype(np.int64)
    equal = np.flatnonzero(words[1:] >> np.uint64(row_bits) == words[:-1] >> np.uint64(row_bits))
    if len(equal):
        near = np.zeros(n, bool)
        near[equal] = near[equal + 1] = True
        where = np.flatnonzero(near)
        rows = order[where]
        run = words[where] >> np.uint64(row_bits)
        order[where] = rows[np.lexsort((rows, -score[rows], run))]
    return {**a, "score": score, **_ranks(segment, order)}


def polars_frames(v: Venue) -> tuple[Any, Any, Any]:
    """Return positions, accounts and instruments as frames."""
    import polars as pl

    positions = pl.DataFrame(
        {"account": v.account, "instrument": v.instrument, "quantity": v.quantity, "entry": v.entry}
    )
    accounts = pl.DataFrame({"account": np.arange(v.accounts), "balance": v.balance})
    caps = {f"cap{t}": v.cap[:, t] for t in range(TIERS)}
    deductions = {f"deduction{t}": v.deduction[:, t] for t in range(TIERS)}
    return positions, accounts, pl.DataFrame({"mark": v.mark, **caps, **deductions})


def polars_ranks(v: Venue, *, ranks: bool = True) -> Callable[[], Answer]:
    """Lazy frames; instruments gathered by number, since that beats a join; ranks by a sort within groups."""
    import polars as pl

    positions, accounts, instruments = polars_frames(v)

    def of(name: str) -> Any:
        return pl.lit(instruments[name]).gather(pl.col("instrument"))

    tier = pl.sum_horizontal([(pl.col("notional") > of(f"cap{t}")).cast(pl.Int64) for t in range(TIERS - 1)])
    flat = pl.Series(v.deduction.ravel())
    deduction = pl.lit(flat).gather(pl.col("instrument") * TIERS + pl.col("tier"))
    rate, leverage = (pl.lit(pl.Series(x)).gather(pl.col("tier")) for x in (RATES, LEVERAGES))

    def run() -> Answer:
        valued = (
            positions.lazy()
            .with_columns(mark=of("mark"))
            .with_columns(
                notional=pl.col("quantity").abs() * pl.col("mark"),
                pnl=pl.col("quantity") * (pl.col("mark") - pl.col("entry")),
            )
            .with_columns(tier=tier)
            .with_columns(
                maintenance=pl.col("notional") * rate - deduction,
                initial=pl.col("notional") / leverage,
            )
            .collect()
        )
        sums = valued.lazy().group_by("account").agg(pl.col("pnl", "maintenance", "initial").sum())
        state = pl.when(pl.col("equity") < 0).then(2).when(pl.col("equity") < pl.col("maintenance")).then(1)
        buckets = (
            accounts.lazy()
            .join(sums, on="account", how="left", maintain_order="left")
            .with_columns(equity=pl.col("balance") + pl.col("pnl").fill_null(0))
            .with_columns(state=state.otherwise(0))
            .collect()
        )
        answer = {name: valued[name].to_numpy() for name in ("notional", "tier", "initial", "maintenance", "pnl")}
        answer |= {name: buckets[name].to_numpy() for name in ("equity", "state")}
        return {**answer, **_polars_ranks(valued, buckets)} if ranks else answer

    return run


def _polars_ranks(valued: Any, buckets: Any) -> Answer:
    import polars as pl

    profit = pl.col("pnl") / (pl.col("quantity").abs() * pl.col("entry"))
    effective = pl.col("notional") / pl.lit(buckets["equity"]).gather(pl.col("account")).clip(1)
    group = pl.col("instrument") * 2 + (pl.col("quantity") < 0)
    rank = pl.col("score").rank("ordinal", descending=True).over("group")
    ranked = (
        valued.lazy()
        .select(score=pl.when(pl.col("pnl") > 0).then(profit * effective).otherwise(profit / effective), group=group)
        .with_columns(rank=rank, size=pl.len().over("group"))
        .with_columns(light=LIGHTS - (pl.col("rank").cast(pl.Int64) - 1) * LIGHTS // pl.col("size"))
        .collect()
    )
    return {name: ranked[name].to_numpy() for name in RANKS}


def duckdb_ranks(v: Venue, threads: int, *, ranks: bool = True) -> Callable[[], Answer]:
    """SQL over registered arrays; tiers by counting caps, ranks by a window."""
    import duckdb

    connection = duckdb.connect(config={"threads": threads})
    positions, accounts, instruments = polars_frames(v)
    for name, frame in (("positions", positions), ("accounts", accounts), ("instruments", instruments)):
        connection.register("given", frame.to_arrow())
        numbered = ", row_number() OVER () - 1 AS row" if name != "accounts" else ""
        connection.execute(f"CREATE TABLE {name} AS SELECT *{numbered} FROM given")
        connection.unregister("given")
    caps = " + ".join(f"(notional > cap{t})::INT" for t in range(TIERS - 1))
    rates = f"[{', '.join(map(str, RATES))}][tier + 1]"
    leverages = f"[{', '.join(map(str, LEVERAGES))}][tier + 1]"
    deductions = "CASE tier " + " ".join(f"WHEN {t} THEN deduction{t}" for t in range(TIERS)) + " END"
    valued = f"""
        CREATE OR REPLACE TEMP TABLE valued AS
        SELECT p.row, account, instrument, quantity, entry, notional, pnl, tier,
               notional * {rates} - {deductions} AS maintenance, notional / {leverages} AS initial
        FROM (SELECT *, {caps} AS tier FROM
              (SELECT p.*, i.* EXCLUDE (row), abs(quantity) * mark AS notional, quantity * (mark - entry) AS pnl
               FROM positions p JOIN instruments i ON p.instrument = i.row)) p"""
    buckets = """
        CREATE OR REPLACE TEMP TABLE buckets AS
        SELECT account, equity, CASE WHEN equity < 0 THEN 2 WHEN equity < due THEN 1 ELSE 0 END AS state
        FROM (SELECT account, balance + coalesce(pnl, 0) AS equity, coalesce(due, 0) AS due
              FROM accounts LEFT JOIN
                   (SELECT account, sum(pnl) AS pnl, sum(maintenance) AS due, sum(initial) AS initial
                    FROM valued GROUP BY account) USING (account))"""
    scored = f"""
        SELECT row, notional, tier, initial, maintenance, pnl, score, rank,
               {LIGHTS} - (rank - 1) * {LIGHTS} // count(*) OVER (PARTITION BY segment) AS light
        FROM (SELECT *, row_number() OVER (PARTITION BY segment ORDER BY score DESC, account) AS rank
              FROM (SELECT v.*, instrument * 2 + (quantity < 0)::INT AS segment,
                           CASE WHEN pnl > 0 THEN profit * effective ELSE profit / effective END AS score
                    FROM (SELECT v.*, pnl / (abs(quantity) * entry) AS profit,
                                 notional / greatest(1, equity) AS effective
                          FROM valued v JOIN buckets USING (account)) v))
        ORDER BY row"""
    plain = "SELECT notional, tier, initial, maintenance, pnl FROM valued ORDER BY row"

    def run() -> Answer:
        connection.execute(valued)
        connection.execute(buckets)
        rows = connection.execute(scored if ranks else plain).fetchnumpy()
        sums = connection.execute("SELECT equity, state FROM buckets ORDER BY account").fetchnumpy()
        return {name: np.asarray(found) for name, found in {**rows, **sums}.items() if name != "row"}

    return run


def copy_columns(v: Venue) -> Callable[[], Answer]:
    """Copy as much as W2 reads and writes of a position: 48 bytes."""
    columns = [np.ones(len(v.account)) for _ in range(6)]

    def run() -> Answer:
        copies = [column.copy() for column in columns]
        return {"copied": copies[0]}

    return run
