"""Findings show the place, the line with a caret, the code and what to do."""

import pytest

from riskpolicy.errors import CODES, Finding, Place, RiskPolicyError, RulesetError, one_of, suggestion


def test_a_finding_shows_the_line_with_a_caret():
    place = Place("a.yaml", 12, 5, "key: 300000")
    finding = Finding("tier_gap", "a gap", "close it", place)
    assert str(finding).splitlines() == [
        "a.yaml:12:5: a gap [tier_gap]",
        "  12 | key: 300000",
        "     |     ^",
        "  do: close it",
    ]


def test_a_long_line_is_cut_around_the_caret():
    line = "x" * 500 + "HERE" + "y" * 500
    shown = str(Finding("tier_gap", "a gap", place=Place("a.yaml", 1, 501, line))).splitlines()
    assert shown[1].index("HERE") == shown[2].index("^")
    assert len(shown[1]) < 140


def test_codes_are_a_closed_list():
    with pytest.raises(ValueError, match="closed list"):
        Finding("no_such_code", "x")
    assert all(code == code.lower() and meaning for code, meaning in CODES.items())


def test_an_error_carries_its_findings():
    findings = [Finding("tier_gap", "one"), Finding("tier_overlap", "two")]
    error = RulesetError(findings)
    assert isinstance(error, RiskPolicyError)
    assert error.codes == ("tier_gap", "tier_overlap")
    assert "one" in str(error)
    assert "two" in str(error)


def test_suggestions():
    assert suggestion("mainenance", ["maintenance", "notional"]) == "did you mean `maintenance`?"
    assert suggestion("zzz", ["maintenance"]) == ""
    assert one_of("abc", limit=2) == "`a`, `b` and 1 more"
