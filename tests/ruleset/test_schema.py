"""The published schema is the language's, accepts the shipped rulesets and refuses what the loader refuses."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from riskpolicy.ruleset.document import read_document
from riskpolicy.ruleset.schema import json_schema
from tests.ruleset.test_loader import GOOD

RULESETS = Path(__file__).parents[2] / "rulesets"
SHIPPED = sorted(p for p in RULESETS.glob("*/*.yaml") if not p.name.endswith(".test.yaml"))
VALIDATOR = Draft202012Validator(json_schema())


def as_json(data):
    if isinstance(data, dict):
        return {key: as_json(value) for key, value in data.items()}
    if isinstance(data, list):
        return [as_json(value) for value in data]
    return float(data) if isinstance(data, Decimal) else data


def faults(text):
    return [error.message for error in VALIDATOR.iter_errors(as_json(read_document("x", text).data()))]


def test_the_schema_beside_the_rulesets_is_the_current_one():
    """Write it with `riskpolicy schema > rulesets/schema.json`."""
    assert json.loads((RULESETS / "schema.json").read_text()) == json_schema()


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_shipped_rulesets_fit_and_name_the_schema(path):
    text = path.read_text()
    assert faults(text) == []
    modeline = text.splitlines()[0].rpartition("$schema=")[2]
    assert (path.parent / modeline).resolve() == RULESETS / "schema.json"


def test_every_way_of_leaving_a_rule_open_fits():
    for written in ("not_stated", "[equity asc]", "{not_stated: [margin_ratio desc, equity]}"):
        assert faults(GOOD.replace("accounts: not_stated", f"accounts: {written}")) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  initial:", "  inital:"),
        ("pays: main}", "pay: main}"),
        ("do: market_order", "do: market_odrer"),
        ("payoff: linear", "payoff: cubic"),
        ("accounts: not_stated", "accounts: [margin_ratio down]"),
        ("count: 5", "count: 0"),
        ("riskpolicy: 1", "riskpolicy: 2"),
        ("leftover: account}", "leftover: account, fee: 5}"),
    ],
)
def test_what_the_loader_refuses_for_its_shape_does_not_fit(old, new):
    assert faults(GOOD.replace(old, new, 1))
