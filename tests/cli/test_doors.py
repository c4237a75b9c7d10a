"""Files in, files out, and tier tables of other libraries, from the command line."""

import csv
import json
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
POSITIONS = str(EXAMPLES / "hyperliquid_positions.json")
TABLES = ("positions", "buckets", "accounts", "draws")


@pytest.fixture
def folder(tmp_path):
    """The bundled positions as a directory: one table Parquet, the others CSV, the settings JSON."""
    raw = json.loads(Path(POSITIONS).read_text())
    path = tmp_path / "book"
    path.mkdir()
    for name, rows in raw.items():
        if not isinstance(rows, list):
            continue
        frame = pl.DataFrame(rows, infer_schema_length=None)
        if name == "positions":
            frame.write_parquet(path / f"{name}.parquet")
        else:
            frame.write_csv(path / f"{name}.csv")
    settings = {key: value for key, value in raw.items() if not isinstance(value, list)}
    (path / "snapshot.json").write_text(json.dumps(settings))
    return path


def test_a_directory_is_a_snapshot(run, folder):
    assert run("evaluate", "hyperliquid", folder, "--format", "json") == run(
        "evaluate", "hyperliquid", POSITIONS, "--format", "json"
    )
    assert run("explain", "hyperliquid", folder, "--account", "btc-06")[0] == 0


@pytest.mark.parametrize("table", TABLES)
def test_out_writes_one_table(run, tmp_path, table):
    status, data, _ = run("evaluate", "hyperliquid", POSITIONS, "--format", "json")
    wanted = json.loads(data)[table]
    for suffix in ("parquet", "csv"):
        out = tmp_path / f"result.{suffix}"
        status, shown, told = run("evaluate", "hyperliquid", POSITIONS, "--out", out, "--table", table)
        assert (status, shown, told) == (0, "", f"wrote {out}\n")
    frame = pq.read_table(tmp_path / "result.parquet")
    assert (frame.num_rows, frame.column_names) == (len(wanted), [*wanted[0]])
    with (tmp_path / "result.csv").open(newline="", encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    for row, cells in zip(wanted, written, strict=True):
        for name, value in row.items():
            shown = " ".join(value) if isinstance(value, list) else "" if value is None else str(value)
            assert cells[name] == shown


def test_out_writes_positions_by_default(run, tmp_path):
    run("evaluate", "hyperliquid", POSITIONS, "--out", tmp_path / "x.parquet")
    assert "adl_rank" in pq.read_table(tmp_path / "x.parquet").column_names


@pytest.mark.parametrize("name", ["new/deep/", "there", "ends.parquet/"])
def test_out_writes_all_tables_into_a_directory(run, tmp_path, name):
    (tmp_path / "there").mkdir()
    assert run("evaluate", "hyperliquid", POSITIONS, "--out", f"{tmp_path}/{name}")[0] == 0
    assert sorted(p.name for p in (tmp_path / name).iterdir()) == sorted(f"{t}.parquet" for t in TABLES)


@pytest.mark.parametrize(
    ("out", "part"),
    [
        ("x.xlsx", "end it with .parquet or .csv"),
        ("nowhere/x.csv", "there is no directory"),
        ("file/", "is a file, not a directory"),
        ("file/x/", "cannot write"),
    ],
)
def test_where_results_cannot_go(run, tmp_path, out, part):
    (tmp_path / "file").write_text("")
    status, shown, told = run("evaluate", "hyperliquid", POSITIONS, "--out", f"{tmp_path}/{out}")
    assert (status, shown) == (2, "")
    assert part in told


def test_a_single_table_is_told_where_to_go(run, folder):
    status, shown, told = run("evaluate", "hyperliquid", folder / "positions.parquet")
    assert (status, shown) == (2, "")
    assert "is one table; a snapshot is several" in told


def test_a_fault_of_a_file_names_its_line(run, folder):
    path = folder / "accounts.csv"
    path.write_text('account,currency,balance\n\n"z\nz",USDC,1\nzz,USDC,much\n')
    status, _, told = run("evaluate", "hyperliquid", folder)
    assert status == 2
    assert "accounts.csv:5 (account zz, currency USDC): balance `much` is not a number [wrong_type]" in told


def test_import_of_an_absent_file(run, tmp_path):
    status, shown, told = run("import", "ccxt-tiers", tmp_path / "absent.json")
    assert (status, shown) == (2, "")
    assert "cannot read" in told
