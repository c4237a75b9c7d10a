"""riskpolicy test: do the rules do what their tests say?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click
from rich.text import Text

from riskpolicy.cli.common import (
    FINDINGS,
    UNUSABLE,
    allowed,
    console,
    plugin_option,
    show,
    show_findings,
    show_json,
)
from riskpolicy.errors import Finding, QueryError, RiskPolicyError
from riskpolicy.policy import load
from riskpolicy.testing.coverage import Coverage
from riskpolicy.testing.form import SUFFIX, RuleTest, find_files, read_tests
from riskpolicy.testing.outcome import ERROR, FAILED, PASSED, Outcome
from riskpolicy.testing.output import as_dict, by_file, junit, outcome_text, summary
from riskpolicy.testing.run import Runner
from riskpolicy.testing.select import parse_selection
from riskpolicy.testing.update import FileUpdate, updates

_FORMATS = click.Choice(["text", "json", "junit"])


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "-k", "selected", metavar="EXPRESSION", help="Run the tests whose file or title has these words; and, or, not."
)
@click.option("--coverage", is_flag=True, help="Show which rules, tiers, edges and branches the tests look at.")
@click.option("--fail-under", type=click.FloatRange(0, 100), help="Fail below this percentage of coverage.")
@click.option("--coverage-html", type=click.Path(), help="Write a page with the covered and uncovered lines.")
@click.option("--update", is_flag=True, help="Rewrite wrong expected values in place, and show what changed.")
@plugin_option
@click.option("--format", "format_", type=_FORMATS, default="text", help="Output format.")
def test(
    paths: tuple[str, ...],
    selected: str | None,
    coverage: bool,
    fail_under: float | None,
    coverage_html: str | None,
    update: bool,
    plugins: tuple[str, ...],
    format_: str,
) -> None:
    """Run the rule tests in PATH, files or folders with files `*.test.yaml`.

    Exit status 0: all passed; 1: a test failed or is in error, or coverage is too low; 2: unusable input.
    """
    counted = Coverage() if coverage or fail_under is not None or coverage_html else None
    tests, faults = _collect(paths, selected)
    start = time.perf_counter()
    outcomes = _run(tests, Runner(counted, allowed(plugins)))
    if counted is not None and not selected:
        _untested(paths, counted)
    seconds = time.perf_counter() - start
    if format_ == "json":
        show_json(as_dict(outcomes, faults, seconds, counted))
    elif format_ == "junit":
        click.echo(junit(outcomes, faults, seconds))
    else:
        _show_text(outcomes, seconds, counted)
    show_findings(tuple(faults))
    if coverage_html and counted is not None:
        _write_page(Path(coverage_html), counted)
    left = _update(outcomes) if update else [o for o in outcomes if o.status != PASSED]
    low = _too_low(counted, fail_under)
    if faults:
        raise SystemExit(UNUSABLE)
    if left or low:
        raise SystemExit(FINDINGS)


def _collect(paths: Sequence[str], selected: str | None) -> tuple[list[RuleTest], list[Finding]]:
    """Return the selected tests, and the faults of files that hold none; QueryError where there is nothing to run."""
    selection = parse_selection(selected) if selected is not None else None
    tests: list[RuleTest] = []
    faults: list[Finding] = []
    seen: set[Path] = set()
    for path in map(Path, paths):
        if not path.exists():
            near = "check the path" if path.parent.exists() else f"there is no folder `{path.parent}`"
            faults.append(Finding("file_unreadable", f"cannot read `{path}`: no such file or folder", near))
            continue
        files = find_files(path)
        if not files:
            hint = f"rule tests are files `*{SUFFIX}`; `riskpolicy init NAME` writes the first"
            faults.append(Finding("no_tests", f"no rule tests in `{path}`", hint))
        for file in files:
            if file.resolve() in seen:
                continue
            seen.add(file.resolve())
            read = read_tests(file)
            tests += read.tests
            faults += read.faults
    chosen = [test for test in tests if selection is None or selection(_words(test))]
    if tests and not chosen:
        raise QueryError(Finding("no_tests", f"no test is selected by `{selected}`", "leave `-k` out to see them all"))
    return chosen, faults


def _words(test: RuleTest) -> str:
    """Return what -k looks at: the names of the file and the test; where the file lies does not matter."""
    return f"{Path(test.file).name}::{test.name}"


def _run(tests: Sequence[RuleTest], runner: Runner) -> list[Outcome]:
    """Run the tests; where standard error is a terminal, show how far they are."""
    out = console(stderr=True)
    if not out.is_terminal:
        return list(runner.run_all(tests))
    outcomes = []
    with out.status("running") as status:
        for number, outcome in enumerate(runner.run_all(tests), 1):
            outcomes.append(outcome)
            status.update(f"{number} of {len(tests)}, {sum(o.status != PASSED for o in outcomes)} not passed")
    return outcomes


def _untested(paths: Sequence[str], coverage: Coverage) -> None:
    """Let the rulesets in the folders that no test names count as not covered."""
    known = {Path(file).resolve() for file in coverage.rulesets}
    for folder in (p for p in map(Path, paths) if p.is_dir()):
        for file in sorted(folder.rglob("*.yaml")):
            if file.name.endswith(SUFFIX) or file.resolve() in known or not _is_ruleset(file):
                continue
            try:
                coverage.know(load(file))
            except RiskPolicyError as error:
                show_findings(error.findings)


def _is_ruleset(file: Path) -> bool:
    try:
        with file.open(encoding="utf-8") as stream:
            return any(line.startswith("riskpolicy:") for line, _ in zip(stream, range(200), strict=False))
    except (OSError, UnicodeDecodeError):
        return False


def _show_text(outcomes: Sequence[Outcome], seconds: float, coverage: Coverage | None) -> None:
    out = console()
    for file, listed in by_file(outcomes).items():
        counts = [(s, sum(o.status == s for o in listed)) for s in (PASSED, FAILED, ERROR)]
        words = ", ".join(f"{n} {'in error' if s == ERROR else s}" for s, n in counts if n)
        out.print(Text(f"{file}  {words}"), soft_wrap=True)
    for outcome in outcomes:
        if outcome.status != PASSED:
            out.print()
            out.print(Text(f"{outcome.status.upper()} {outcome.test.id}", style="bold red"), soft_wrap=True)
            out.print(Text(outcome_text(outcome)), soft_wrap=True)
    if coverage is not None:
        from riskpolicy.report.coverage import coverage_report

        show(coverage_report(coverage))
    out.print()
    out.print(Text(summary(outcomes, seconds)), soft_wrap=True)


def _write_page(path: Path, coverage: Coverage) -> None:
    from riskpolicy.report.coverage import coverage_page

    try:
        path.write_text(coverage_page(coverage), encoding="utf-8")
    except OSError as error:
        message = f"cannot write `{path}`: {error.strerror or error}"
        raise QueryError(Finding("file_unreadable", message, "check the folder")) from None


def _update(outcomes: Sequence[Outcome]) -> list[object]:
    """Show and write the expected values that change; return what is not healed by that."""
    left: list[object] = [outcome for outcome in outcomes if outcome.status == ERROR]
    found = list(updates(outcomes))
    for change in found:
        _write(change)
        left += change.left
        for mismatch in change.left:
            click.echo(f"not rewritten: {mismatch.place}: {mismatch.column}", err=True)
    edits = sum(change.edits for change in found)
    click.echo(f"{edits} expected values rewritten, {len(left)} failures left for you", err=True)
    return left


def _write(change: FileUpdate) -> None:
    if not change.edits:
        return
    click.echo(change.difference(), err=True, nl=False)
    change.path.write_bytes(change.after.encode("utf-8"))


def _too_low(coverage: Coverage | None, percent: float | None) -> bool:
    if coverage is None or percent is None or not coverage.below(percent):
        return False
    click.echo(f"coverage is {coverage.percent:.2f}%, below {percent:g}%", err=True)
    return True
