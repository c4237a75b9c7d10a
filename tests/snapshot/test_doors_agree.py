"""Every door means the same numbers, digit by digit, and refuses the same faults."""

import re
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import riskpolicy as rp
from riskpolicy import arrow
from riskpolicy.engines.core.tables import ResultTable, money

BASE = {"account": ["A", "B"], "instrument": ["BTC", "BTC"], "quantity": [1.0, 2.0], "entry_price": [1.0, 2.0]}

numbers = st.decimals(min_value=Decimal("1e-9"), max_value=Decimal("1e12"), places=9)
cells = st.lists(st.none() | numbers, min_size=1, max_size=6)
NUMBER = re.compile(r"-?(Infinity|[0-9.]+)")
ids = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=5)


def positions(values, column="leverage", **columns):
    n = len(values)
    table = {
        "account": [f"a{k}" for k in range(n)], "instrument": ["BTC"] * n, "quantity": [1.0] * n,
        "entry_price": [1.0] * n, column: values,
    }  # fmt: skip
    return {**table, **columns}


def read(table, column="leverage"):
    found = rp.Snapshot.of({"positions": table}).numbers("positions", column)
    return [found.exact(row) for row in range(len(found))]


def findings(tables):
    with pytest.raises(rp.SnapshotError) as error:
        rp.Snapshot.of(tables)
    return [(f.code, f.message) for f in error.value.findings]


@given(cells)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_decimals_mean_the_same_through_every_door(values):
    wanted = [None if v is None else Fraction(v) for v in values]
    plain = positions(values)
    kind = pa.decimal128(38, 9)
    whole = pa.table({**plain, "leverage": pa.array(values, kind)})
    pieces = pa.chunked_array([pa.array([v], kind) for v in values])
    assert read(plain) == wanted
    assert read(positions([None if v is None else str(v) for v in values])) == wanted
    assert read(whole) == wanted
    assert read(pa.table({**plain, "leverage": pieces})) == wanted
    assert read(pl.from_arrow(whole)) == wanted
    assert read(pd.DataFrame({**plain, "leverage": pd.Series(values, dtype=object)})) == wanted
    assert read(positions(pa.array(values, kind))) == wanted
    assert read(positions(pl.Series(values, dtype=pl.Decimal(38, 9)))) == wanted


@given(st.lists(st.none() | st.floats(1e-50, 1e50), min_size=1, max_size=6))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_floats_mean_their_shortest_decimals_through_every_door(values):
    wanted = [None if v is None else Fraction(Decimal(repr(v))) for v in values]
    plain = positions(values)
    for table in (plain, pa.table(plain), pl.DataFrame(plain), pd.DataFrame(plain), positions(pl.Series(values))):
        if all(v is None for v in values) and isinstance(table, pl.DataFrame | pd.DataFrame):
            continue
        assert read(table) == wanted


@given(st.lists(st.tuples(ids, numbers), min_size=1, max_size=6, unique_by=lambda row: row[0]))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_files_keep_ids_and_digits(tmp_path, rows):
    folder, frame = tmp_path, positions([v for _, v in rows], account=[name for name, _ in rows])
    for path in folder.iterdir():
        path.unlink()
    text = pl.DataFrame({**frame, "leverage": [str(v) for v in frame["leverage"]]})
    text.write_csv(folder / "positions.csv", quote_style="always")
    snapshot = rp.Snapshot.of(folder)
    (folder / "positions.csv").unlink()
    pq.write_table(
        pa.table({**frame, "leverage": pa.array(frame["leverage"], pa.decimal128(30, 9))}), folder / "positions.parquet"
    )
    for read_back in (snapshot, rp.Snapshot.of(folder)):
        accounts = read_back.ids("positions", "account")
        assert [accounts.label(k) for k in range(len(rows))] == frame["account"]
        leverage = read_back.numbers("positions", "leverage")
        assert [leverage.exact(k) for k in range(len(rows))] == [Fraction(v) for v in frame["leverage"]]


@pytest.mark.parametrize(
    ("column", "exact"),
    [
        (pd.Series([3.0, None]), [3, None]),
        (pd.array([2**63 + 5, None], dtype="UInt64"), [2**63 + 5, None]),
        (pd.array([3, None], dtype="Int8"), [3, None]),
        (pd.array([0.1, None], dtype="Float32"), [Fraction(1, 10), None]),
        (pd.array([2**53 + 1, 1], dtype="Int64"), [2**53 + 1, 1]),
        (pd.Categorical([0.5, None]), [Fraction(1, 2), None]),
        (pd.Series([Decimal("0.1"), pd.NA], dtype=object), [Fraction(1, 10), None]),
        (pd.Series([1, 2], dtype="int64[pyarrow]"), [1, 2]),
        (pd.Series(["0.10000000000000000001", None]), [Fraction("0.10000000000000000001"), None]),
    ],
)
def test_columns_of_pandas(column, exact):
    assert read({**BASE, "leverage": pd.Series(column)}) == exact
    assert read(pd.DataFrame({**BASE, "leverage": column})) == exact


@pytest.mark.parametrize(
    ("column", "exact"),
    [
        (pa.array([3, None]), [3, None]),
        (pa.array([0.5, None]).dictionary_encode(), [Fraction(1, 2), None]),
        (pa.array(["1.5", None], pa.string_view()), [Fraction(3, 2), None]),
        (pa.array([1.5, None], pa.float16()), [Fraction(3, 2), None]),
        (pa.array([2**63 + 1, None], pa.uint64()), [2**63 + 1, None]),
        (pa.array([Decimal("1.5"), Decimal(2**63)], pa.decimal128(20, 1)), [Fraction(3, 2), 2**63]),
        (pa.array([Decimal("1e5"), None], pa.decimal128(10, -3)), [10**5, None]),
        (pa.array([Decimal("1" * 70), None], pa.decimal256(76, 0)), [int("1" * 70), None]),
        (pa.array([Decimal("1.25"), None], pa.decimal32(5, 2)), [Fraction(5, 4), None]),
        (pa.array([Decimal("9"), Decimal("1.5"), Decimal("2.5")], pa.decimal128(9, 1)).slice(1), [1.5, 2.5]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_columns_of_arrow(column, exact):
    assert read(pa.table({**BASE, "leverage": column})) == exact
    assert read({**BASE, "leverage": column}) == exact


def test_the_least_integer_of_a_decimal_is_not_cut():
    column = pa.array([Decimal(-(2**63)), Decimal(1)], pa.decimal128(20, 0))
    assert read(pa.table({**BASE, "quantity": column}), "quantity") == [-(2**63), 1]


@pytest.mark.parametrize("kind", [pa.float64(), pa.int64(), pa.int32()])
def test_plain_numbers_share_their_memory(kind):
    given = pa.array([1, 2, 3], kind)
    taken = arrow.read_column(given)
    assert taken.__array_interface__["data"][0] == given.buffers()[1].address
    assert not taken.flags.writeable


def test_ids_that_a_dictionary_does_not_use_are_not_there():
    accounts = pa.DictionaryArray.from_arrays(pa.array([2, 0]), pa.array(["B", "unused", "A", None]))
    snapshot = rp.Snapshot.of({"positions": pa.table({**BASE, "account": accounts})})
    assert list(snapshot.ids("positions", "account").labels) == ["A", "B"]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_texts_of_every_kind_are_ids(kind):
    table = pa.table({**BASE, "account": pa.array(["B", "A"]).cast(kind)})
    accounts = rp.Snapshot.of({"positions": table}).ids("positions", "account")
    assert (list(accounts.labels), accounts.codes.tolist()) == (["A", "B"], [1, 0])


@pytest.mark.parametrize("frame", [pa.table, pl.DataFrame, pd.DataFrame, dict])
def test_integers_and_texts_are_one_name_space(frame):
    tables = {
        "positions": frame({**BASE, "account": [7, 12]}),
        "accounts": frame({"account": ["7", "x"], "currency": ["U", "U"], "balance": [1.0, 2.0]}),
    }
    assert list(rp.Snapshot.of(tables).ids("accounts", "account").labels) == ["12", "7", "x"]
    tables["accounts"] = frame({"account": [7], "currency": ["U"], "balance": [1.0]})
    assert list(rp.Snapshot.of(tables).ids("accounts", "account").labels) == [7, 12]


TWICE = pa.table([pa.array([k]) for k in ("A", "BTC", 1.0, 1.0, 9.0)], [*BASE, "quantity"])


@pytest.mark.parametrize(
    ("table", "code", "part"),
    [
        (TWICE, "snapshot_form", "the column `quantity` is there twice"),
        (TWICE.to_pandas(), "snapshot_form", "the column `quantity` is there twice"),
        (pl.DataFrame({**BASE, "account": [1, None]}), "null_value", "positions[1] (instrument BTC): account is null"),
        (pl.Series([1.0]), "snapshot_form", "not an Arrow table"),
        (pl.DataFrame(BASE).lazy(), "snapshot_form", "neither a mapping"),
        (
            pd.DataFrame({**BASE, "account": np.array([2**63, 1], "uint64")}),
            "number_out_of_range",
            "9223372036854775808",
        ),
        (pd.DataFrame(BASE).set_index("account"), "missing_column", "`account`"),
        (pa.table({**BASE, "quantity": pa.array([Decimal("1e60"), Decimal(1)], pa.decimal256(76, 0))}), None, ""),
        (pl.DataFrame({**BASE, "quantity": ["1e101", "1"]}), "wrong_type", "quantity `1e101`"),
        (pd.DataFrame({**BASE, "entry_price": [0.0, 1.0]}), "not_positive", "positions[0] (account A, instrument BTC)"),
        ({**BASE, "leverage": pa.array([[1], [2]])}, "wrong_type", "positions[1]"),
    ],
)
def test_faults(table, code, part):
    if code is None:
        rp.Snapshot.of({"positions": table})
        return
    found = findings({"positions": table})
    assert found[0][0] == code
    assert part in " ".join(message for _, message in found)


def test_pandas_without_pyarrow_in_a_process_of_its_own():
    code = """
import sys
sys.modules["pyarrow"] = None
import pandas as pd, riskpolicy as rp
frame = pd.DataFrame({"account": ["A", "B"], "instrument": ["BTC", "BTC"], "quantity": [1.0, -1.0]})
frame["entry_price"] = [1, 2]
frame["leverage"] = pd.array([3, None], dtype="Int64")
frame["margin_mode"] = pd.Categorical(["cross", None])
snapshot = rp.Snapshot.of({"positions": frame})
leverage = snapshot.numbers("positions", "leverage")
print([leverage.exact(0), leverage.exact(1)], list(snapshot.ids("positions", "account").labels))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[Fraction(3, 1), None] ['A', 'B']\n")


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    pq.write_table(pa.table(BASE), tmp_path / "positions.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(rp.SnapshotError, match=r"need pyarrow") as error:
        rp.Snapshot.of(tmp_path)
    assert "riskpolicy[arrow]" in str(error.value)


def test_folders_above_a_parquet_file_are_no_columns(tmp_path):
    folder = tmp_path / "day=2026-01-01"
    folder.mkdir()
    pq.write_table(pa.table(BASE), folder / "positions.parquet")
    (folder / "._positions.csv").write_bytes(b"\0\5")
    assert rp.Snapshot.of(folder).rows["positions"] == 2


@pytest.mark.parametrize("cell", ["1_000", "\u0661", "0x10", "1,5", "inf", "nan", "--1", "1e", "."])
def test_what_a_csv_cell_may_not_say(cell, tmp_path):
    (tmp_path / "positions.csv").write_text(f'account,instrument,quantity,entry_price\nA,B,"{cell}",1\n', "utf-8")
    ((code, message),) = findings(tmp_path)
    assert code == "wrong_type"
    assert message.startswith("positions.csv:2 (account A, instrument B): quantity")


def test_results_as_frames():
    policy = rp.load("hyperliquid")
    raw = {
        "positions": [{"account": 7, "instrument": "BTC", "quantity": 1, "entry_price": 100}],
        "accounts": [{"account": 7, "currency": "USDC", "balance": -500}],
        "markets": [{"instrument": "BTC", "mark_price": 100}],
    }
    evaluation = policy.evaluate(raw)
    for table in evaluation.tables:
        rows = list(table.rows())
        for frame in (pl.DataFrame(table), pl.from_arrow(table.to_arrow()), pl.from_pandas(table.to_pandas())):
            assert frame.columns == [*table.columns]
            assert [_plain(row) for row in frame.rows(named=True)] == [_plain(row) for row in rows]
    assert pa.table(evaluation.positions).schema.field("account").type == pa.int64()
    assert evaluation.buckets.to_pandas()["liquidation_rank"].dtype == "Int64"
    nobody = policy.evaluate({"positions": []})
    assert pa.table(nobody.positions).schema.field("rules").type == pa.list_(pa.string())
    assert nobody.positions.to_pandas().shape == (0, len(nobody.positions.columns))


def _plain(row):
    """A row with money and infinities as floats."""
    return {k: float(v) if isinstance(v, str) and NUMBER.fullmatch(v) else v for k, v in row.items()}


def test_money_in_csv_is_as_in_json(tmp_path):
    values = np.array([0.1, -0.0, 1e22, 1e-7, 123456789.25, float("nan"), float("inf"), 3.0])
    table = ResultTable("t", {"m": money(values)})
    table.write_csv(tmp_path / "t.csv")
    written = (tmp_path / "t.csv").read_text().splitlines()[1:]
    shown = [row["m"] for row in table.rows()]
    assert [cell.strip('"') for cell in written] == ["" if v is None else v for v in shown[:6]] + ["inf", "3"]
