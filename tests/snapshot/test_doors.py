"""Every door gives the same snapshot: frames of four libraries, files, and plain Python."""

import json
from decimal import Decimal

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import riskpolicy as rp
from riskpolicy import arrow
from tests import venue

ROWS = {
    "positions": [
        {"account": "A", "instrument": "BTCUSDT", "quantity": 1.5, "entry_price": 50000.0, "leverage": 20.0},
        {"account": "B", "instrument": "BTCUSDT", "quantity": -2.0, "entry_price": 50100.5, "leverage": None},
        {"account": "C", "instrument": "BTCUSDT", "quantity": 0.5, "entry_price": 49900.0, "leverage": 50.0},
    ],
    "accounts": [
        {"account": a, "currency": "USDT", "balance": b} for a, b in (("C", 700.0), ("A", 5000.0), ("B", 1.0))
    ],
    "markets": [{"instrument": "BTCUSDT", "mark_price": 50000.0}],
}


@pytest.fixture(scope="module")
def policy():
    return venue.policy(venue.base())


@pytest.fixture(scope="module")
def wanted(policy):
    return policy.evaluate(ROWS).to_dict()


def chunked(rows):
    """A pyarrow table in chunks of one row, ids dictionary-encoded, a dictionary a chunk."""
    batches = []
    for row in rows:
        batch = {k: pa.array([v]) if v is not None else pa.array([None], pa.float64()) for k, v in row.items()}
        encoded = {k: v.dictionary_encode() if pa.types.is_string(v.type) else v for k, v in batch.items()}
        batches.append(pa.table(encoded))
    return pa.concat_tables(batches)


def nullable(rows):
    frame = pd.DataFrame(rows)
    kinds = {"account": "category", "instrument": "string", "quantity": "Float64", "leverage": "Float64"}
    return frame.astype({name: kind for name, kind in kinds.items() if name in frame.columns})


DOORS = {
    "polars": pl.DataFrame,
    "polars, categorical": lambda rows: pl.DataFrame(rows).with_columns(pl.col(pl.String).cast(pl.Categorical)),
    "pyarrow": pa.Table.from_pylist,
    "pyarrow, chunks and dictionaries": chunked,
    "pandas": pd.DataFrame,
    "pandas, nullable": nullable,
    "pandas, index": lambda rows: pd.DataFrame(rows, index=[f"r{k}" for k in range(len(rows))]),
    "columns": lambda rows: {name: [row[name] for row in rows] for name in rows[0]},
}


@pytest.mark.parametrize("door", DOORS)
def test_frames_give_the_same_result(door, policy, wanted):
    assert policy.evaluate({name: DOORS[door](rows) for name, rows in ROWS.items()}).to_dict() == wanted


def test_duckdb_gives_the_same_result(policy, wanted):
    connection = duckdb.connect()
    for name, rows in ROWS.items():
        connection.register(name, pa.Table.from_pylist(rows))
    tables = {name: connection.sql(f"SELECT * FROM {name}") for name in ROWS}
    assert policy.evaluate(tables).to_dict() == wanted


def test_pandas_needs_no_pyarrow(policy, wanted, monkeypatch):
    def missing():
        raise arrow.ArrowReadError("Arrow tables and Parquet files need pyarrow", "pip install it")

    monkeypatch.setattr(arrow, "library", missing)
    assert policy.evaluate({name: pd.DataFrame(rows) for name, rows in ROWS.items()}).to_dict() == wanted
    with pytest.raises(rp.SnapshotError, match="need pyarrow"):
        policy.evaluate({name: pl.DataFrame(rows) for name, rows in ROWS.items()})


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_directory_of_tables_gives_the_same_result(suffix, policy, wanted, tmp_path):
    for name, rows in ROWS.items():
        frame = pl.DataFrame(rows)
        frame.write_csv(tmp_path / f"{name}.csv") if suffix == "csv" else frame.write_parquet(
            tmp_path / f"{name}.parquet"
        )
    (tmp_path / "README.txt").write_text("not a table")
    assert policy.evaluate(tmp_path).to_dict() == wanted
    (tmp_path / "snapshot.json").write_text(json.dumps({"as_of": "2020-01-01"}))
    with pytest.raises(rp.SnapshotError, match="the snapshot is of 2020"):
        policy.evaluate(str(tmp_path))


def test_numbers_are_taken_without_a_copy():
    quantity = np.array([1.5, -2.0])
    table = pa.table(
        {"account": ["A", "B"], "instrument": ["BTCUSDT"] * 2, "quantity": quantity, "entry_price": [1.0, 2.0]}
    )
    snapshot = rp.Snapshot.of({**ROWS, "positions": table})
    address = table.column("quantity").chunk(0).buffers()[1].address
    assert snapshot.numbers("positions", "quantity").values.__array_interface__["data"][0] == address
    frame = pl.DataFrame({"account": ["A"], "instrument": ["BTCUSDT"], "quantity": [1.0], "entry_price": [2.0]})
    taken = rp.Snapshot.of({**ROWS, "positions": frame}).numbers("positions", "entry_price").values
    assert taken.__array_interface__["data"][0] == frame["entry_price"].to_arrow().buffers()[1].address


@pytest.mark.parametrize("digits", ["0.1", "12345678901234.5", "0.10000000000000000001", "-0.3"])
def test_decimals_mean_their_digits(digits):
    rows = [{**ROWS["positions"][0], "quantity": Decimal(digits)}, {**ROWS["positions"][1], "quantity": Decimal("2.5")}]
    table = pa.Table.from_pylist([{k: v for k, v in row.items() if k != "leverage"} for row in rows])
    numbers = rp.Snapshot.of({**ROWS, "positions": table}).numbers("positions", "quantity")
    assert numbers.exact(0) == rp.exact(digits)
    assert numbers.exact(1) == rp.exact("2.5")


def test_numbers_of_a_csv_file_keep_every_digit(tmp_path):
    (tmp_path / "positions.csv").write_text(
        "account,instrument,quantity,entry_price,leverage\n"
        "A,BTCUSDT,0.10000000000000000001,50000,\n\nB,BTCUSDT, -1e-3 ,5,3\n"
    )
    snapshot = rp.Snapshot.of(tmp_path)
    assert snapshot.numbers("positions", "quantity").exact(0) == rp.exact("0.10000000000000000001")
    assert snapshot.numbers("positions", "quantity").exact(1) == rp.exact("-0.001")
    assert snapshot.numbers("positions", "leverage").exact(0) is None


def findings(tables):
    with pytest.raises(rp.SnapshotError) as error:
        rp.Snapshot.of(tables)
    return [(f.code, f.message) for f in error.value.findings]


def position(**columns):
    return {"account": ["A"], "instrument": ["BTCUSDT"], "quantity": [1.0], "entry_price": [2.0], **columns}


@pytest.mark.parametrize(
    ("table", "code", "part"),
    [
        (pa.table(position(quantity=pa.array([None], pa.float64()))), "null_value", "positions[0]"),
        (pa.table(position(account=pa.array([None], pa.string()))), "null_value", "account"),
        (pa.table(position(account=pa.array([2**63], pa.uint64()))), "number_out_of_range", "9223372036854775808"),
        (pa.table(position(quantity=pa.array(["many"]))), "wrong_type", "`many`"),
        (pa.table(position(quantity=pa.array([True]))), "wrong_type", "quantity"),
        (pa.table(position(leverage=pa.array([float("nan")]))), "not_finite", "leverage"),
        (pa.table(position(margin_mode=["both"])), "unknown_choice", "`both`"),
        (pl.DataFrame(position(size=[1.0])), "unknown_column", "`size`"),
        (pd.DataFrame(position(quantity=[float("nan")])), "null_value", "quantity"),
        (pd.DataFrame(position(account=[None])), "null_value", "account"),
        (pa.table(position()).drop_columns(["quantity"]), "missing_column", "`quantity`"),
    ],
)
def test_faults_of_frames_name_row_and_column(table, code, part):
    (found,) = findings({**ROWS, "positions": table})
    assert found[0] == code
    assert part in found[1]


def test_a_stream_of_two_schemas_is_refused():
    class Broken:
        def __arrow_c_stream__(self, requested_schema=None):
            raise TypeError("no stream")

    ((code, message),) = findings({**ROWS, "positions": Broken()})
    assert code == "snapshot_form"
    assert "not an Arrow table" in message


@pytest.mark.parametrize(
    ("name", "text", "code", "part"),
    [
        ("positions.csv", "account,instrument,quantity,entry_price\nA,BTCUSDT,x,1\n", "wrong_type", "positions.csv:2"),
        ("positions.csv", "account,instrument,quantity,entry_price\nA,BTCUSDT,,1\n", "null_value", "positions.csv:2"),
        ("positions.csv", "account,instrument,quantity\nA,BTCUSDT,1\n", "missing_column", "entry_price"),
        ("positions.csv", "account,instrument,quantity,entry_price\nA,BTCUSDT,1\n", "snapshot_form", "3 cells"),
        ("positions.csv", "account,account\n", "snapshot_form", "named twice"),
        ("positions.csv", "", "snapshot_form", "name the columns"),
        ("position.csv", "a\n", "unknown_table", "position.csv"),
        ("positions.parquet", "PAR0", "file_unreadable", "positions.parquet"),
    ],
)
def test_faults_of_files_name_file_and_line(name, text, code, part, tmp_path):
    (tmp_path / name).write_text(text)
    found = findings(tmp_path)
    assert found[0][0] == code
    assert part in found[0][1]


def test_a_single_table_is_no_snapshot(tmp_path):
    path = tmp_path / "positions.csv"
    path.write_text("account\n")
    ((code, message),) = findings(path)
    assert (code, "is one table" in message) == ("snapshot_form", True)
    assert findings(tmp_path / "empty")[0][0] == "file_unreadable"
    (tmp_path / "nothing").mkdir()
    assert findings(tmp_path / "nothing")[0][0] == "missing_table"


def test_results_go_out_as_arrow(policy, tmp_path):
    evaluation = policy.evaluate(ROWS)
    table = pa.table(evaluation.positions)
    assert table.column("quantity").to_pylist() == [1.5, -2.0, 0.5]
    assert table.column("account").to_pylist() == ["A", "B", "C"]
    assert table.column("rules").to_pylist()[0] == evaluation.positions.row(0)["rules"]
    assert pl.DataFrame(evaluation.buckets)["state"].to_list() == [r["state"] for r in evaluation.buckets.rows()]
    assert pl.DataFrame(evaluation.buckets)["liquidation_rank"].to_list()[0] is None
    evaluation.positions.write_parquet(tmp_path / "p.parquet")
    assert pq.read_table(tmp_path / "p.parquet").num_rows == 3
    evaluation.positions.write_csv(tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_text().splitlines()[1].startswith("A,BTCUSDT,net,1.5,75000,0,")


def test_notebooks_show_text_and_not_markup(policy):
    rows = json.loads(json.dumps(ROWS).replace('"A"', '"<b>A</b>"'))
    shown = policy.evaluate(rows).positions._repr_html_()
    assert "<b>A</b>" not in shown
    assert "&lt;b&gt;A" in shown
    many = {"positions": ROWS["positions"] * 1, "markets": ROWS["markets"], "accounts": ROWS["accounts"]}
    many["accounts"] = many["accounts"] + [{"account": f"z{k}", "currency": "USDT", "balance": 1} for k in range(30)]
    evaluation = policy.evaluate(many)
    assert "13 more rows" in evaluation.buckets._repr_html_()
    assert "<caption>positions: 3 rows</caption>" in evaluation._repr_html_()
