"""A name with an instant finds the version that was valid then."""

from datetime import UTC, datetime

import pytest

import riskpolicy as rp
from riskpolicy.errors import RulesetError, SnapshotError
from riskpolicy.ruleset.catalog import find_version, installed


def test_the_shipped_rulesets_are_found():
    assert [str(v.start.date()) for v in installed()["hyperliquid"]] == ["2024-01-01", "2025-07-01"]


@pytest.mark.parametrize("name", sorted(installed()))
def test_every_shipped_version_loads_and_is_called_by_its_date(name):
    for version in installed()[name]:
        policy = rp.load(f"{name}@{version.start.date()}")
        assert policy.ruleset.id == name
        assert policy.ruleset.valid_from == version.start
        assert policy.ruleset.sources


@pytest.mark.parametrize(
    ("source", "date"),
    [
        ("hyperliquid", "2025-07-01"),
        ("hyperliquid@2025-07-01", "2025-07-01"),
        ("hyperliquid@2025-06-30T23:59:59Z", "2024-01-01"),
        ("hyperliquid@2024-06-01", "2024-01-01"),
    ],
)
def test_an_instant_picks_the_version(source, date):
    assert str(find_version(source).start.date()) == date


def test_the_default_instant_counts_where_none_is_written():
    at = datetime(2024, 6, 1, tzinfo=UTC)
    assert str(find_version("hyperliquid", at).start.date()) == "2024-01-01"
    assert str(find_version("hyperliquid@2026-01-01", at).start.date()) == "2025-07-01"


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("hyperliqud", "unknown_ruleset"),
        ("hyperliquid@", "invalid_instant"),
        ("hyperliquid@soon", "invalid_instant"),
        ("hyperliquid@2020-01-01", "no_version"),
    ],
)
def test_what_cannot_be_found(source, code):
    with pytest.raises(RulesetError) as caught:
        rp.load(source)
    assert caught.value.codes == (code,)


def test_a_version_ends_where_the_next_begins():
    policy = rp.load("hyperliquid@2024-06-01")
    policy.evaluate({"as_of": "2025-06-30", "positions": []})
    for outside in ("2025-07-01", "2023-12-31"):
        with pytest.raises(SnapshotError) as caught:
            policy.evaluate({"as_of": outside, "positions": []})
        assert caught.value.codes == ("outside_validity",)
