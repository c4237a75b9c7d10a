"""Findings for machines: SARIF, JUnit, and annotations of GitHub Actions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from riskpolicy import __version__
from riskpolicy.errors import CODES, Finding

#: A finding and its level: error, warning or note.
Levelled = tuple[Finding, str]
_CONTROL = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def sarif(findings: Sequence[Levelled]) -> dict[str, Any]:
    """Return findings as a SARIF 2.1.0 log."""
    codes = sorted({finding.code for finding, _ in findings})
    rules = [{"id": code, "shortDescription": {"text": CODES[code]}} for code in codes]
    driver = {"name": "riskpolicy", "version": __version__, "rules": rules}
    results = [_result(finding, level, codes.index(finding.code)) for finding, level in findings]
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return {"$schema": schema, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _result(finding: Finding, level: str, rule: int) -> dict[str, Any]:
    text = f"{finding.message}; {finding.hint}" if finding.hint else finding.message
    out: dict[str, Any] = {"ruleId": finding.code, "ruleIndex": rule, "level": level, "message": {"text": text}}
    if finding.place is not None:
        region = {"startLine": finding.place.line, "startColumn": finding.place.column}
        location = {"artifactLocation": {"uri": finding.place.file.replace("\\", "/")}, "region": region}
        out["locations"] = [{"physicalLocation": location}]
    return out


def junit(by_ruleset: Sequence[tuple[str, Sequence[Levelled]]]) -> str:
    """Return findings as JUnit XML, a suite a ruleset: a case a finding, or one that passed where there is none."""
    root = ElementTree.Element("testsuites", name="riskpolicy check")
    for ruleset, findings in by_ruleset:
        _suite(root, ruleset, [finding for finding, level in findings if level != "note"])
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def _suite(root: ElementTree.Element, ruleset: str, failing: Sequence[Finding]) -> None:
    suite = ElementTree.SubElement(
        root, "testsuite", name=_xml(ruleset), tests=str(max(1, len(failing))), failures=str(len(failing)), errors="0"
    )
    if not failing:
        ElementTree.SubElement(suite, "testcase", classname=_xml(ruleset), name="sound")
    for finding in failing:
        where = f" in line {finding.place.line}" if finding.place else ""
        case = ElementTree.SubElement(suite, "testcase", classname=_xml(ruleset), name=f"{finding.code}{where}")
        ElementTree.SubElement(case, "failure", message=_xml(finding.message)).text = _xml(str(finding))


def github(findings: Sequence[Levelled]) -> str:
    """Return findings as workflow commands, a line each."""
    words = {"error": "error", "warning": "warning", "note": "notice"}
    return "\n".join(f"::{words[level]} {_properties(finding)}::{_data(finding)}" for finding, level in findings)


def _properties(finding: Finding) -> str:
    place = finding.place
    values = [("title", finding.code)]
    if place is not None:
        values = [("file", place.file), ("line", str(place.line)), ("col", str(place.column)), *values]
    return ",".join(f"{key}={_escaped(value).replace(':', '%3A').replace(',', '%2C')}" for key, value in values)


def _data(finding: Finding) -> str:
    return _escaped(f"{finding.message}; {finding.hint}" if finding.hint else finding.message)


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _xml(text: str) -> str:
    return _CONTROL.sub("?", text)
