"""Outcomes as people and machines read them: text, JSON and JUnit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree

from riskpolicy.errors import Finding, Place
from riskpolicy.testing.because import reason_lines
from riskpolicy.testing.coverage import Coverage
from riskpolicy.testing.outcome import ERROR, FAILED, PASSED, Mismatch, Outcome

_CONTROL = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def outcome_text(outcome: Outcome) -> str:
    """Return a failed test's line with a caret, row, cell, expected and got, and why; an error's findings."""
    lines = [str(finding) for finding in outcome.findings]
    explained: list[object] = []
    for mismatch in outcome.mismatches:
        lines += _mismatch_lines(mismatch, known=mismatch.reasons in explained)
        explained.append(mismatch.reasons)
    return "\n".join(lines)


def _mismatch_lines(mismatch: Mismatch, *, known: bool) -> Iterator[str]:
    yield f"{mismatch.place}: {mismatch.column}: expected {mismatch.expected}, got {mismatch.got}"
    yield from _caret(mismatch.place)
    yield f"  {mismatch.where}"
    if mismatch.note:
        yield f"  note: {mismatch.note}"
    if mismatch.reasons and not known:
        yield "  because:"
        yield from reason_lines(mismatch.reasons, lambda rule: mismatch.places.get(rule, ""), "    ")


def _caret(place: Place) -> Iterator[str]:
    """Yield the line and the caret, as findings show them."""
    shown = str(Finding("invalid_value", "", place=place)).splitlines()
    yield from shown[1:]


def summary(outcomes: Sequence[Outcome], seconds: float) -> str:
    """Return one line of counts."""
    count = Counter(outcome.status for outcome in outcomes)
    words = [f"{count[PASSED]} passed"]
    if count[FAILED]:
        words.append(f"{count[FAILED]} failed")
    if count[ERROR]:
        words.append(f"{count[ERROR]} in error")
    return f"{len(outcomes)} tests: {', '.join(words)} in {seconds:.2f} s"


def by_file(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Return the outcomes of each file, in the order of the files."""
    files: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        files.setdefault(outcome.test.file, []).append(outcome)
    return files


def as_dict(
    outcomes: Sequence[Outcome], faults: Sequence[Finding], seconds: float, coverage: Coverage | None
) -> dict[str, object]:
    """Return a run as plain data for JSON; docs/testing.md describes it."""
    count = Counter(outcome.status for outcome in outcomes)
    out: dict[str, object] = {
        "summary": {
            "tests": len(outcomes),
            "passed": count[PASSED],
            "failed": count[FAILED],
            "errors": count[ERROR],
            "seconds": round(seconds, 3),
        },
        "tests": [_outcome_dict(outcome) for outcome in outcomes],
        "findings": [finding.as_dict() for finding in faults],
    }
    return out if coverage is None else {**out, "coverage": coverage.as_dict()}


def _outcome_dict(outcome: Outcome) -> dict[str, object]:
    place = outcome.test.place
    return {
        "id": outcome.test.id,
        "file": outcome.test.file,
        "line": place.line,
        "name": outcome.test.name,
        "status": outcome.status,
        "seconds": round(outcome.seconds, 6),
        "failures": [_mismatch_dict(mismatch) for mismatch in outcome.mismatches],
        "findings": [finding.as_dict() for finding in outcome.findings],
    }


def _mismatch_dict(mismatch: Mismatch) -> dict[str, object]:
    return {
        "line": mismatch.place.line,
        "column": mismatch.place.column,
        "row": mismatch.where,
        "cell": mismatch.column,
        "expected": mismatch.expected,
        "got": mismatch.got,
        "because": list(reason_lines(mismatch.reasons, lambda rule: mismatch.places.get(rule, ""))),
    }


def junit(outcomes: Sequence[Outcome], faults: Sequence[Finding], seconds: float) -> str:
    """Return a run as JUnit XML, a suite a file."""
    root = ElementTree.Element("testsuites", name="riskpolicy", time=f"{seconds:.3f}")
    for file, listed in by_file(outcomes).items():
        count = Counter(outcome.status for outcome in listed)
        suite = ElementTree.SubElement(
            root, "testsuite", name=_xml(file), tests=str(len(listed)), failures=str(count[FAILED]),
            errors=str(count[ERROR]), time=f"{sum(o.seconds for o in listed):.6f}",
        )  # fmt: skip
        for outcome in listed:
            _testcase(suite, outcome)
    if faults:
        suite = ElementTree.SubElement(root, "testsuite", name="files", tests="1", failures="0", errors="1")
        case = ElementTree.SubElement(suite, "testcase", classname="files", name="files that cannot be read")
        error = ElementTree.SubElement(case, "error", message=_xml(faults[0].message))
        error.text = _xml("\n".join(str(finding) for finding in faults))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def _testcase(suite: ElementTree.Element, outcome: Outcome) -> None:
    test = outcome.test
    case = ElementTree.SubElement(
        suite, "testcase", classname=_xml(test.file), name=_xml(test.name), file=_xml(test.file),
        line=str(test.place.line), time=f"{outcome.seconds:.6f}",
    )  # fmt: skip
    if outcome.status == FAILED:
        first = outcome.mismatches[0]
        message = f"{first.column}: expected {first.expected}, got {first.got}"
        ElementTree.SubElement(case, "failure", message=_xml(message)).text = _xml(outcome_text(outcome))
    elif outcome.status == ERROR:
        message = outcome.findings[0].message
        ElementTree.SubElement(case, "error", message=_xml(message)).text = _xml(outcome_text(outcome))


def _xml(text: str) -> str:
    """Return a text without the characters that XML cannot hold."""
    return _CONTROL.sub("?", text)
