"""What came of a rule test: passed, failed with the cells that differ, or in error with findings."""

from __future__ import annotations

from dataclasses import dataclass, field

from riskpolicy.engines.core.reasons import Reason
from riskpolicy.errors import Finding, Place
from riskpolicy.ruleset.document import Node
from riskpolicy.testing.form import RuleTest

PASSED, FAILED, ERROR = "passed", "failed", "error"


@dataclass(frozen=True)
class Mismatch:
    """A cell that is not as expected. `where` names the row, `reasons` explain the number that was found.

    `node` is the expected value, and `replacement` what should stand there for the test to pass (None: no one cell).
    `places` says where the rules in the reasons stand.
    """

    place: Place
    where: str
    column: str
    expected: str
    got: str
    note: str = ""
    reasons: tuple[Reason, ...] = ()
    node: Node | None = None
    replacement: str | None = None
    places: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """The outcome of one test; `findings` are errors of the test, of its ruleset or of what it is given."""

    test: RuleTest
    status: str
    seconds: float = 0.0
    mismatches: tuple[Mismatch, ...] = ()
    findings: tuple[Finding, ...] = ()
