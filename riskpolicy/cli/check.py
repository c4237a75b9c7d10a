"""riskpolicy check: is a ruleset sound, and what would a careful reader remark?"""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.text import Text

from riskpolicy.analysis.lint import ERROR, NOTE, Remark, lint
from riskpolicy.cli.common import FINDINGS, allowed, console, plugin_option, ruleset_argument, show_findings, show_json
from riskpolicy.errors import RulesetError
from riskpolicy.policy import Policy, load

#: A file that cannot be read at all is unusable input, not a finding about rules.
_UNUSABLE = {"file_unreadable", "unknown_ruleset", "no_version", "invalid_instant"}
_FORMATS = click.Choice(["text", "json", "sarif", "junit", "github"])


@click.command()
@ruleset_argument
@click.option("--strict", is_flag=True, help="Remark on parts that nothing uses, missing sources, choices left open.")
@click.option("--format", "format_", type=_FORMATS, default="text", help="Output format.")
@plugin_option
def check(ruleset: str, strict: bool, format_: str, plugins: tuple[str, ...]) -> None:
    """Check RULESET, NAME[@INSTANT] or the path of a YAML file, and report every fault with its place.

    Exit status 0: sound; 1: faults were found, or with --strict warnings; notes never fail. 2: the ruleset cannot
    be read.
    """
    policy: Policy | None = None
    try:
        policy = load(ruleset, plugins=allowed(plugins))
        remarks = lint(policy) if strict else []
    except RulesetError as error:
        if _UNUSABLE.intersection(error.codes):
            raise
        remarks = [Remark(finding, ERROR) for finding in error.findings]
    if format_ == "text":
        _show_text(ruleset, policy, remarks)
    else:
        _show_data(ruleset, remarks, format_)
    if any(remark.level != NOTE for remark in remarks):
        raise SystemExit(FINDINGS)


def _show_data(ruleset: str, remarks: Sequence[Remark], format_: str) -> None:
    from riskpolicy.report.findings import github, junit, sarif

    levelled = [(remark.finding, remark.level) for remark in remarks]
    if format_ == "json":
        found = [{**f.as_dict(), "level": level} for f, level in levelled]
        show_json({"ruleset": ruleset, "findings": found})
    elif format_ == "sarif":
        show_json(sarif(levelled))
    elif format_ == "junit":
        click.echo(junit(ruleset, levelled))
    elif levelled:
        click.echo(github(levelled))


def _show_text(ruleset: str, policy: Policy | None, remarks: Sequence[Remark]) -> None:
    if policy is None:
        show_findings(tuple(remark.finding for remark in remarks))
        count = len(remarks)
        click.echo(f"{ruleset}: {count} fault{'s' if count > 1 else ''}", err=True)
        return
    for remark in remarks:
        console(stderr=True).print(Text(f"{remark.level}: {remark.finding}"), soft_wrap=True)
    plan = policy.plan
    parts = f"{len(plan.instruments.symbols)} instruments, {len(plan.tiers.exact)} tiers, {len(plan.layers)} layers"
    silent = f"; not stated by the venue: {', '.join(plan.not_stated)}" if plan.not_stated else ""
    click.echo(f"{plan.id}@{plan.valid_from.date()}: sound, {parts}{silent}")
