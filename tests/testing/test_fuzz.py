"""Whatever stands in a test file, it is a pass, a failure or an error with findings; never an exception."""

import random
import re
from pathlib import Path

import pytest

from riskpolicy.testing.coverage import Coverage
from riskpolicy.testing.form import read_tests
from riskpolicy.testing.output import as_dict, junit, outcome_text
from riskpolicy.testing.run import Runner
from riskpolicy.testing.starter import starter_files
from riskpolicy.testing.update import updates
from tests.testing.helpers import write

WORDS = [
    "0", "-1", "1e30", ".inf", ".nan", "null", "true", "''", "'1'", "A", "[]", "{}", "[1]", "{a: 1}", "$", "$x", "$$",
    "~", "BTCUSDT", "USDT", "healthy", "0.4%", "2026-01-01", "positions", "error", "order", "cases", "exact", "given",
    "5%",
    "9" * 30, "x" * 300, "\u00e9", "- ", ": ", "#", "&a ", "*a",
]  # fmt: skip
TOKEN = re.compile(r"[A-Za-z_]\w*|[-\d.]+|[\[\]{},:$]")
NUMBER = re.compile(r"(?<=: )\d[\d.]*")


def mutated(text, random_):
    for _ in range(random_.randint(1, 3)):
        kind = random_.random()
        found = random_.choice(list((NUMBER if kind > 0.6 else TOKEN).finditer(text)))
        new = "" if kind < 0.1 else random_.choice(WORDS) if kind < 0.7 else random_.choice(NUMBER.findall(text))
        text = text[: found.start()] + new + text[found.end() :]
    return text


@pytest.mark.parametrize("seed", range(4))
def test_mutated_tests_are_outcomes(tmp_path, seed):
    random_ = random.Random(seed)
    text = starter_files("venue")["venue.test.yaml"]
    path = write(tmp_path, text)
    statuses, codes = set(), set()
    for _ in range(80):
        path.write_text(mutated(text, random_))
        read = read_tests(path)
        codes |= {finding.code for finding in read.faults}
        coverage = Coverage()
        runner = Runner(coverage)
        outcomes = [runner.run(test) for test in read.tests]
        for outcome in outcomes:
            statuses.add(outcome.status)
            codes |= {finding.code for finding in outcome.findings}
            assert (outcome.status == "passed") == (outcome_text(outcome) == "")
        as_dict(outcomes, read.faults, 0.0, coverage)
        junit(outcomes, read.faults, 0.0)
        for change in updates(outcomes):
            Path(change.path).write_text(change.after)
            again = [Runner().run(test) for test in read_tests(path).tests]
            assert sum(len(o.mismatches) for o in again) <= sum(len(o.mismatches) for o in outcomes)
    assert statuses == {"passed", "failed", "error"}
    assert len(codes) > 8
