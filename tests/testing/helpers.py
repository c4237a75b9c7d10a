"""A ruleset and one account for tests of rule tests."""

from riskpolicy.testing.form import read_tests
from riskpolicy.testing.run import Runner
from riskpolicy.testing.starter import starter_files

RULESET = starter_files("venue")["venue.yaml"]
#: One BTCUSDT at 50,000 with 150 USDT behind it: 200 are due.
GIVEN = """\
  marks: {BTCUSDT: 50000}
  given:
    accounts: [{account: A, currency: USDT, balance: 150}]
    positions: [{account: A, instrument: BTCUSDT, quantity: 1, entry_price: 50000}]
"""


def write(folder, text, name="venue.test.yaml"):
    """Write a test file beside a ruleset; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "venue.yaml").write_text(RULESET)
    path = folder / name
    path.write_text(text)
    return path


def run(folder, text, coverage=None):
    """Run the tests of a text; return their outcomes."""
    read = read_tests(write(folder, text))
    assert read.faults == (), read.faults
    runner = Runner(coverage)
    return [runner.run(test) for test in read.tests]


def one(folder, expect, given=GIVEN, extra=""):
    """Run one test with these expectations; return its outcome."""
    body = "".join(f"    {line}\n" for line in expect.strip().splitlines())
    (outcome,) = run(folder, f"- test: it\n{given}{extra}  expect:\n{body}")
    return outcome
