"""A ledger on disk survives being killed: whatever was acknowledged is there, and no half of anything."""

import signal
import sqlite3
import subprocess
import sys
from fractions import Fraction

from riskpolicy.engines.core.ledger import Ledger

WRITER = """
import sys
from fractions import Fraction
from riskpolicy.engines.core.ledger import Ledger
for batch in range(10_000):
    ledger = Ledger({"USD": Fraction(1, 100)})
    for _ in range(50):
        ledger.book("rule", f"batch {batch}", [("a", "USD", 5), ("b", "USD", -5)])
    ledger.write_sqlite(sys.argv[1])
    print(batch, flush=True)
"""


def test_killing_the_writer_loses_nothing_acknowledged(tmp_path):
    path = tmp_path / "ledger.db"
    for lines in (1, 3, 7, 2, 5):
        before = _batches(path)
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(lines):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert _batches(path) - before >= lines


def _batches(path):
    """How many whole batches are there; a part of one fails."""
    if not path.exists():
        return 0
    with sqlite3.connect(path) as connection:
        ((rows, total),) = connection.execute("SELECT count(*), sum(amount) FROM ledger").fetchall()
    assert rows % 100 == 0
    assert not total
    return rows // 100


def test_a_ledger_is_appended_from_where_it_ended(tmp_path):
    path, ledger = tmp_path / "ledger.db", Ledger({"USD": Fraction(1, 100)})
    ledger.book(
        "r", "one", [("a", "USD", 1), ("b", "USD", -1)], [("a", "X", Fraction(1, 4)), ("b", "X", Fraction(-1, 4))]
    )
    start = ledger.write_sqlite(path)
    ledger.book("r", "two", [("a", "USD", 2), ("b", "USD", -2)])
    ledger.write_sqlite(path, start=start)
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT event, account, amount, instrument, unit FROM ledger").fetchall()
    assert rows == [
        (0, "a", 1, None, None), (0, "b", -1, None, None), (0, "a", 25, "X", "0.01"), (0, "b", -25, "X", "0.01"),
        (1, "a", 2, None, None), (1, "b", -2, None, None),
    ]  # fmt: skip
    assert ledger.to_arrow().num_rows == 6
