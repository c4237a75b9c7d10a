"""Every door gives the same columns; every fault is named by its row and key."""

import json
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from riskpolicy import Snapshot, SnapshotError
from tests import venue

ROW = {"account": "A", "instrument": "BTCUSDT", "quantity": 1, "entry_price": 100}


def snapshot(**changes):
    return {"positions": [{**ROW, **changes}], "markets": [{"instrument": "BTCUSDT", "mark_price": 100}]}


def codes(raw):
    with pytest.raises(SnapshotError) as caught:
        Snapshot.of(raw)
    return caught.value.codes


def test_rows_and_columns_are_the_same(tmp_path):
    rows = snapshot()
    columns = {**rows, "positions": {k: np.array([v]) for k, v in ROW.items()}}
    (tmp_path / "s.json").write_text(json.dumps(rows))
    for other in (columns, tmp_path / "s.json", str(tmp_path / "s.json"), Snapshot.of(rows)):
        read = Snapshot.of(other)
        assert read.numbers("positions", "quantity").values.tolist() == [1.0]
        assert read.ids("positions", "account").label(0) == "A"


@pytest.mark.parametrize(
    ("value", "exact"),
    [
        (0.1, Fraction(1, 10)),
        ("0.1", Fraction(1, 10)),
        (Decimal("0.1"), Fraction(1, 10)),
        (np.float32(0.1), Fraction(1, 10)),
        ("0.1000000000000000000001", Fraction("0.1000000000000000000001")),
        (2**53 + 1, Fraction(2**53 + 1)),
        (np.int64(2**53 + 1), Fraction(2**53 + 1)),
        (7, Fraction(7)),
    ],
)
def test_numbers_mean_their_decimals(value, exact):
    assert Snapshot.of(snapshot(quantity=value)).numbers("positions", "quantity").exact(0) == exact


def test_arrays_of_every_width_mean_their_decimals():
    columns = {**ROW, "account": ["A"], "instrument": ["BTCUSDT"], "entry_price": [100]}
    for dtype in (np.float32, np.float64, np.int32, np.int64, np.uint8):
        read = Snapshot.of({"positions": {**columns, "quantity": np.array([1], dtype)}})
        assert read.numbers("positions", "quantity").exact(0) == 1
    read = Snapshot.of({"positions": {**columns, "quantity": np.array([0.1], np.float32)}})
    assert read.numbers("positions", "quantity").exact(0) == Fraction(1, 10)
    read = Snapshot.of({"positions": {**columns, "quantity": np.array([2**53 + 1])}})
    assert read.numbers("positions", "quantity").exact(0) == 2**53 + 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"quantity": float("nan")}, "not_finite"),
        ({"quantity": float("inf")}, "not_finite"),
        ({"quantity": "NaN"}, "not_finite"),
        ({"quantity": Decimal("-Infinity")}, "not_finite"),
        ({"quantity": None}, "null_value"),
        ({"quantity": True}, "wrong_type"),
        ({"quantity": "one"}, "wrong_type"),
        ({"quantity": [1]}, "wrong_type"),
        ({"quantity": 10**200}, "wrong_type"),
        ({"quantity": "1e999999999"}, "wrong_type"),
        ({"quantity": 1e101}, "number_out_of_range"),
        ({"quantity": Decimal("sNaN")}, "not_finite"),
        ({"quantity": 1 + 2j}, "wrong_type"),
        ({"entry_price": 0}, "not_positive"),
        ({"entry_price": -1}, "not_positive"),
        ({"leverage": 0}, "not_positive"),
        ({"account": None}, "null_value"),
        ({"account": 1.5}, "wrong_type"),
        ({"account": ""}, "wrong_type"),
        ({"margin_mode": "isolate"}, "unknown_choice"),
        ({"margin_mode": 1}, "unknown_choice"),
        ({"quantty": 1}, "unknown_column"),
    ],
)
def test_a_bad_value_is_named(change, code):
    with pytest.raises(SnapshotError) as caught:
        Snapshot.of(snapshot(**change))
    assert caught.value.codes == (code,)
    assert "positions" in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ({}, "missing_table"),
        ([], "snapshot_form"),
        (5, "snapshot_form"),
        ({"positions": [], "market": []}, "unknown_table"),
        ({"positions": 5}, "snapshot_form"),
        ({"positions": [5]}, "snapshot_form"),
        ({"positions": {"account": "AB"}}, "snapshot_form"),
        ({"positions": [{"account": "A"}]}, "missing_column"),
        ({"positions": [], "as_of": "soon"}, "invalid_instant"),
        ({"positions": [], "complete": "yes"}, "wrong_type"),
        ({"positions": [ROW, ROW]}, "duplicate_row"),
        ({"positions": [], "markets": [{"instrument": "X", "mark_price": 1}] * 2}, "duplicate_row"),
        ({"positions": {**{k: [v] for k, v in ROW.items()}, "quantity": [1, 2]}}, "column_length"),
    ],
)
def test_a_bad_table_is_named(raw, code):
    assert code in codes(raw)


def test_many_bad_rows_are_counted_not_listed():
    rows = [{**ROW, "account": i, "quantity": float("nan")} for i in range(1000)]
    with pytest.raises(SnapshotError, match="990 more rows") as caught:
        Snapshot.of({"positions": rows})
    assert len(caught.value.findings) == 11


def test_all_faults_come_at_once():
    raw = snapshot(quantity=float("nan"), entry_price=0)
    assert set(codes({**raw, "funds": [{"fund": "x", "currency": "U", "balance": -1}]})) == {
        "not_finite", "not_positive", "negative",
    }  # fmt: skip


def test_ids_are_one_name_space_across_tables():
    raw = {"positions": [{**ROW, "account": 7}], "accounts": [{"account": "b", "currency": "U", "balance": 1}]}
    read = Snapshot.of(raw)
    assert list(read.ids("accounts", "account").labels) == ["7", "b"]
    raw["accounts"][0]["account"] = 12
    assert list(Snapshot.of(raw).ids("accounts", "account").labels) == [7, 12]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "json_syntax"),
        ("{", "json_syntax"),
        ('{"positions": [}', "json_syntax"),
        ('{"positions": [], "positions": []}', "duplicate_key"),
        ("[" * 100_000, "json_syntax"),
        ('{"positions": [{"account": "A", "instrument": "B", "quantity": NaN, "entry_price": 1}]}', "not_finite"),
        (
            '{"positions": [{"account": "A", "instrument": "B", "quantity": 1e999999999, "entry_price": 1}]}',
            "not_finite",
        ),
        (
            '{"positions": [{"account": "A", "instrument": "B", "quantity": ' + "9" * 9999 + ', "entry_price": 1}]}',
            "wrong_type",
        ),
    ],
)
def test_bad_json_is_refused(tmp_path, text, code):
    path = tmp_path / "s.json"
    path.write_text(text)
    with pytest.raises(SnapshotError) as caught:
        Snapshot.of(path)
    assert caught.value.codes == (code,)


def test_json_keeps_every_digit(tmp_path):
    path = tmp_path / "s.json"
    path.write_text(json.dumps(snapshot(quantity="Q")).replace('"Q"', "0.1000000000000000000001"))
    assert Snapshot.of(path).numbers("positions", "quantity").exact(0) == Fraction("0.1000000000000000000001")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_a_file_that_cannot_be_read(tmp_path, content):
    path = tmp_path / "s.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SnapshotError) as caught:
        Snapshot.of(path)
    assert caught.value.codes == ("file_unreadable",)


def refused(raw, ruleset=None):
    with pytest.raises(SnapshotError) as caught:
        venue.evaluate(ruleset or venue.base(), raw)
    return caught.value.codes


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"instrument": "BTCUSDX"}, "unknown_instrument"),
        ({"margin_mode": "isolated"}, "missing_value"),
        ({"isolated_margin": 5}, "margin_mode"),
        ({"position_side": "long"}, "position_side"),
        ({"account": "B"}, "unknown_account"),
    ],
)
def test_a_position_that_does_not_fit_the_ruleset(changes, code):
    raw = snapshot(**changes)
    raw["accounts"] = [{"account": "A", "currency": "USDT", "balance": 1}]
    assert refused(raw) == (code,)


@pytest.mark.parametrize(
    ("table", "row", "code"),
    [
        ("accounts", {"account": "A", "currency": "EUR", "balance": 1}, "unknown_currency"),
        ("funds", {"fund": "other", "currency": "USDT", "balance": 1}, "unknown_fund"),
        ("funds", {"fund": "main", "currency": "EUR", "balance": 1}, "unknown_currency"),
        ("markets", {"instrument": "ETHUSDT", "mark_price": 1}, "unknown_instrument"),
    ],
)
def test_a_row_that_does_not_fit_the_ruleset(table, row, code):
    assert refused({"positions": [], table: [row]}) == (code,)


def test_a_position_without_a_market_is_refused():
    raw = snapshot()
    del raw["markets"]
    assert refused({**raw, "accounts": [{"account": "A", "currency": "USDT", "balance": 1}]}) == ("missing_market",)


def test_a_mode_that_the_venue_lacks():
    ruleset = venue.base()
    ruleset["margin"]["modes"] = ["isolated"]
    raw = {**snapshot(), "accounts": [{"account": "A", "currency": "USDT", "balance": 1}]}
    assert refused(raw, ruleset) == ("margin_mode",)


@pytest.mark.parametrize(("second", "fits"), [(-0.3, True), (-0.30000000000000004, False), (-0.2, False)])
def test_a_complete_snapshot_has_as_many_longs_as_shorts(second, fits):
    positions = [("a", "BTCUSDT", 0.1, 1), ("b", "BTCUSDT", 0.2, 1), ("c", "BTCUSDT", second, 1)]
    raw = venue.cross(positions, dict.fromkeys("abc", 1), {"BTCUSDT": 1}, complete=True)
    if fits:
        venue.evaluate(venue.base(), raw)
    else:
        assert refused(raw) == ("open_interest",)


def test_aliases_name_the_same_instrument():
    ruleset = venue.base()
    ruleset["instruments"][0]["aliases"] = {"BTCUSDT": ["BTC/USDT:USDT"]}
    raw = snapshot(instrument="BTC/USDT:USDT")
    raw["accounts"] = [{"account": "A", "currency": "USDT", "balance": 1}]
    assert venue.evaluate(ruleset, raw).positions.row(0)["instrument"] == "BTCUSDT"
    raw["markets"].append({"instrument": "BTC/USDT:USDT", "mark_price": 5})
    assert refused(raw, ruleset) == ("duplicate_row",)


def test_one_position_under_two_names_is_refused():
    ruleset = venue.base()
    ruleset["instruments"][0]["aliases"] = {"BTCUSDT": ["BTC/USDT:USDT"]}
    for mode in ({}, {"margin_mode": "isolated", "isolated_margin": 1}):
        raw = snapshot()
        raw["positions"] = [{**ROW, **mode}, {**ROW, **mode, "instrument": "BTC/USDT:USDT"}]
        raw["accounts"] = [{"account": "A", "currency": "USDT", "balance": 1}]
        assert refused(raw, ruleset) == ("duplicate_row",)


def test_a_column_that_a_rule_needs_and_nobody_gives_is_named():
    raw = {**snapshot(), "accounts": [{"account": "A", "currency": "USDT", "balance": 1}]}
    ruleset = venue.tiers([["unlimited", "1%"]])
    ruleset["margin"]["initial"] = "notional / leverage"
    with pytest.raises(SnapshotError, match=r"margin.initial needs `leverage`") as caught:
        venue.evaluate(ruleset, raw)
    assert caught.value.codes == ("missing_value",)
    raw["positions"][0]["leverage"] = 10
    assert venue.evaluate(ruleset, raw).positions.row(0)["initial_margin"] == "10"
