"""pytest collects `*.test.yaml`: a rule test is an item like any other, and fails in our form.

Nothing of ours is imported until such a file is met, so that having riskpolicy installed costs other test runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from riskpolicy.testing.form import RuleTest
    from riskpolicy.testing.outcome import Outcome
    from riskpolicy.testing.run import Runner

_SUFFIX = ".test.yaml"


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> RuleTestFile | None:
    """Collect a file of rule tests."""
    if not file_path.name.endswith(_SUFFIX):
        return None
    collected: RuleTestFile = RuleTestFile.from_parent(parent, path=file_path)
    return collected


class NotAsExpectedError(Exception):
    """A rule test that did not pass; the report shows its text and nothing of the runner."""


class RuleTestFile(pytest.File):
    """A file of rule tests."""

    def collect(self) -> Iterator[RuleTestItem]:
        """Yield an item a test; a file that cannot be read is an error of the collection."""
        from riskpolicy.testing.form import read_tests

        read = read_tests(self.path)
        if read.faults:
            raise self.CollectError("\n".join(str(finding) for finding in read.faults))
        for test in read.tests:
            # Given as text, a case in brackets is read as pytest reads it from its cache of last failures.
            nodeid = f"{self.nodeid}::{test.name}"
            item: RuleTestItem = RuleTestItem.from_parent(self, name=test.name, nodeid=nodeid, test=test)
            yield item


class RuleTestItem(pytest.Item):
    """One rule test."""

    def __init__(self, *, test: RuleTest, **rest: Any) -> None:
        super().__init__(**rest)
        self.test = test

    def runtest(self) -> None:
        """Run the test; rulesets are loaded once a session."""
        from riskpolicy.testing.output import outcome_text

        outcome: Outcome = _runner(self.session).run(self.test)
        if outcome.status != "passed":
            raise NotAsExpectedError(outcome_text(outcome))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the failure's own text; a traceback only for a fault of the runner itself."""
        if isinstance(excinfo.value, NotAsExpectedError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Say where the test begins."""
        return self.path, self.test.node.line, self.name


_RUNNER = pytest.StashKey["Runner"]()


def _runner(session: pytest.Session) -> Runner:
    from riskpolicy.testing.run import Runner

    if _RUNNER not in session.stash:
        session.stash[_RUNNER] = Runner()
    return session.stash[_RUNNER]
