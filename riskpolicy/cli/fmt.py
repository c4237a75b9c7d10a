"""riskpolicy fmt: one layout of rulesets and rule tests, comments kept."""

from __future__ import annotations

import difflib
from pathlib import Path

import click

from riskpolicy.analysis.layout import format_ruleset
from riskpolicy.cli.common import FINDINGS, UNUSABLE, show_findings
from riskpolicy.errors import Finding, RiskPolicyError, RulesetError


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--check", "only_check", is_flag=True, help="Change nothing; show what would change, and fail if any.")
def fmt(files: tuple[str, ...], only_check: bool) -> None:
    """Lay out FILE, rulesets or rule tests: spacing, expressions; comments and line breaks stay.

    Exit status 0: done; 1: with --check, a file would change; 2: a file cannot be read.
    """
    unreadable = changed = 0
    for file in map(Path, files):
        try:
            changed += _format(file, only_check)
        except RiskPolicyError as error:
            show_findings(error.findings)
            unreadable += 1
    verb = "would change" if only_check else "changed"
    click.echo(f"{len(files) - unreadable} files, {changed} {verb}", err=True)
    if unreadable:
        raise SystemExit(UNUSABLE)
    if only_check and changed:
        raise SystemExit(FINDINGS)


def _format(file: Path, only_check: bool) -> bool:
    try:
        before = file.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"cannot read `{file}`: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}"
        raise RulesetError(Finding("file_unreadable", message, "check the path")) from None
    after = format_ruleset(file, before)
    if after == before:
        return False
    if only_check:
        lines = difflib.unified_diff(before.splitlines(), after.splitlines(), str(file), str(file), n=0, lineterm="")
        click.echo("\n".join(lines))
    else:
        file.write_bytes(after.encode("utf-8"))
    return True
