"""riskpolicy check: is a ruleset sound?"""

from __future__ import annotations

import click

from riskpolicy.cli.common import (
    FINDINGS,
    allowed,
    format_option,
    plugin_option,
    ruleset_argument,
    show_findings,
    show_json,
)
from riskpolicy.errors import RulesetError
from riskpolicy.policy import load

#: A file that cannot be read at all is unusable input, not a finding about rules.
_UNUSABLE = {"file_unreadable", "unknown_ruleset", "no_version", "invalid_instant"}


@click.command()
@ruleset_argument
@format_option
@plugin_option
def check(ruleset: str, format_: str, plugins: tuple[str, ...]) -> None:
    """Check RULESET, NAME[@INSTANT] or the path of a YAML file, and report every fault with its place.

    Exit status 0: sound; 1: faults were found; 2: the ruleset cannot be read.
    """
    try:
        policy = load(ruleset, plugins=allowed(plugins))
    except RulesetError as error:
        if _UNUSABLE.intersection(error.codes):
            raise
        if format_ == "json":
            show_json({"ruleset": ruleset, "findings": [f.as_dict() for f in error.findings]})
        else:
            show_findings(error.findings)
            count = len(error.findings)
            click.echo(f"{ruleset}: {count} fault{'s' if count > 1 else ''}", err=True)
        raise SystemExit(FINDINGS) from None
    if format_ == "json":
        show_json({"ruleset": ruleset, "findings": []})
        return
    plan = policy.plan
    parts = f"{len(plan.instruments.symbols)} instruments, {len(plan.tiers.exact)} tiers, {len(plan.layers)} layers"
    silent = f"; not stated by the venue: {', '.join(plan.not_stated)}" if plan.not_stated else ""
    click.echo(f"{plan.id}@{plan.valid_from.date()}: sound, {parts}{silent}")
