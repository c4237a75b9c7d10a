"""Published examples as data: each entry has an id, a venue, a rule, what goes in, what must come out.

`python -m tests.vectors FILE` runs a file. A runner turns an entry into a ruleset and a snapshot, and
returns what the engine says, in the shape of the entry's `out`; it has no formula of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from riskpolicy import RiskPolicyError
from riskpolicy.numbers import exact

Entry = dict[str, Any]
Runner = Callable[[Entry], Any]
RUNNERS: dict[str, Runner] = {}


class NoRunnerError(Exception):
    """An entry of a rule, or in a form of it, that no runner knows."""


@dataclass(frozen=True)
class Outcome:
    """What became of one entry; verdict is pass, fail, or why it was not run."""

    id: str
    wanted: Any
    got: Any
    verdict: str

    def __str__(self) -> str:
        return f"{self.id}: wanted {self.wanted}, got {self.got}: {self.verdict}"


def runner(rule: str) -> Callable[[Runner], Runner]:
    """Register the runner of a rule."""

    def register(function: Runner) -> Runner:
        RUNNERS[rule] = function
        return function

    return register


def read_entries(path: Path) -> list[Entry]:
    """Read a file of entries."""
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(entries, list) or not all(isinstance(e, dict) and {"id", "rule"} <= set(e) for e in entries):
        raise ValueError(f"{path}: a list of entries is due, each with an id and a rule")
    return entries


def run_entries(entries: list[Entry]) -> Iterator[Outcome]:
    """Run entries one by one."""
    from tests.vectors import adl, losses, margin, money  # noqa: F401  (their runners register themselves)

    for entry in entries:
        yield _run(entry)


def _run(entry: Entry) -> Outcome:
    wanted = [row[-1] for row in entry["rows"]] if "rows" in entry else entry.get("out")
    try:
        if entry["rule"] not in RUNNERS:
            raise NoRunnerError
        got = RUNNERS[entry["rule"]](entry)
    except NoRunnerError as missing:
        detail = f" ({missing})" if str(missing) else ""
        return Outcome(entry["id"], wanted, None, f"no runner for rule {entry['rule']}{detail}")
    except RiskPolicyError as error:
        return Outcome(entry["id"], wanted, f"refused: {error.findings[0].message}", "fail")
    except (KeyError, TypeError, ValueError) as error:
        return Outcome(entry["id"], wanted, f"a malformed entry: {type(error).__name__} {error}", "fail")
    verdict = "pass" if agrees(got, wanted, entry.get("tolerance", 0)) else "fail"
    return Outcome(entry["id"], wanted, _plain(got), verdict)


def _plain(got: Any) -> Any:
    """An answer as it is printed: fractions as whole numbers or floats."""
    if isinstance(got, dict):
        return {key: _plain(value) for key, value in got.items()}
    if isinstance(got, list):
        return [_plain(value) for value in got]
    return (int(got) if got.denominator == 1 else float(got)) if isinstance(got, Fraction) else got


def agrees(got: Any, wanted: Any, tolerance: float | str) -> bool:
    """Compare within a tolerance, absolute unless it ends in `rel`; every wanted key must be there."""
    if isinstance(wanted, dict):
        return isinstance(got, dict) and all(k in got and agrees(got[k], v, tolerance) for k, v in wanted.items())
    if isinstance(wanted, list):
        same = isinstance(got, list) and len(got) == len(wanted)
        return same and all(agrees(g, w, tolerance) for g, w in zip(got, wanted, strict=True))
    if isinstance(wanted, bool) or not isinstance(wanted, int | float):
        return bool(got == wanted)
    if not isinstance(got, int | float | Fraction) or isinstance(got, bool):
        return False
    relative = isinstance(tolerance, str)
    allowed = Fraction(tolerance.split()[0]) if isinstance(tolerance, str) else exact(tolerance)
    return abs(exact(got) - exact(wanted)) <= allowed * (abs(exact(wanted)) if relative else 1)
