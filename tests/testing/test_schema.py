"""The schema of rule tests accepts what runs, refuses what is misspelt, and knows every column."""

import copy
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from riskpolicy.policy import loads
from riskpolicy.ruleset.document import read_document
from riskpolicy.testing.schema import tests_schema as schema_of_tests
from riskpolicy.testing.starter import starter_files
from tests.ruleset.test_schema import as_json
from tests.testing.helpers import RULESET

RULESETS = Path(__file__).parents[2] / "rulesets"
VALIDATOR = Draft202012Validator(schema_of_tests())
STARTER = starter_files("venue")["venue.test.yaml"]


def faults(text):
    return [error.message for error in VALIDATOR.iter_errors(as_json(read_document("x", text).data()))]


def test_it_is_a_schema():
    Draft202012Validator.check_schema(schema_of_tests())
    assert json.loads((RULESETS / "test.schema.json").read_text()) == schema_of_tests(), (
        "write it with `riskpolicy schema --tests > rulesets/test.schema.json`"
    )


@pytest.mark.parametrize("path", sorted(RULESETS.glob("*/*.test.yaml")), ids=lambda p: p.name)
def test_shipped_tests_fit_and_name_it(path):
    assert faults(path.read_text()) == []
    assert path.read_text().startswith("# yaml-language-server: $schema=../test.schema.json\n")


def test_the_starter_fits():
    assert faults(STARTER) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  expect:", "  exepct:"),
        ("entry_price:", "entry_prize:"),
        ("order: [B, A]", "order: 5"),
        ("marks: {BTCUSDT: 50000}", "marks: [50000]"),
        ("maintenance_margin: 200,", "maintenance_margin: a lot,"),
        ("state: $state", "state: heathly"),
        ("    order: [B, A]\n", "    {}\n"),
    ],
)
def test_what_is_misspelt_does_not_fit(old, new):
    assert old in STARTER
    assert faults(STARTER.replace(old, new, 1))


def test_it_knows_every_column_of_results():
    empty = {"positions": [], "accounts": [], "markets": []}
    evaluation = loads(RULESET).evaluate(copy.deepcopy(empty))
    rows = schema_of_tests()["anyOf"][0]["items"]["properties"]["expect"]["properties"]
    for name in ("positions", "buckets", "accounts", "draws"):
        assert set(getattr(evaluation, name).columns) == set(rows[name]["items"]["properties"])
