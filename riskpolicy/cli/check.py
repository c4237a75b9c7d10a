"""riskpolicy check: is a ruleset sound, and what would a careful reader remark?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click
from rich.text import Text

from riskpolicy.analysis.lint import ERROR, NOTE, Remark, lint
from riskpolicy.cli.common import FINDINGS, allowed, console, plugin_option, show_findings, show_json
from riskpolicy.errors import RulesetError
from riskpolicy.policy import Policy, load

#: A file that cannot be read at all is unusable input, not a finding about rules.
_UNUSABLE = {"file_unreadable", "unknown_ruleset", "no_version", "invalid_instant"}
_FORMATS = click.Choice(["text", "json", "sarif", "junit", "github"])


@dataclass(frozen=True)
class _Checked:
    """One ruleset, the policy that it makes if it is sound, and what there is to say about it."""

    name: str
    policy: Policy | None
    remarks: tuple[Remark, ...]


@click.command()
@click.argument("rulesets", nargs=-1, required=True, metavar="RULESET...")
@click.option("--strict", is_flag=True, help="Remark on parts that nothing uses, missing sources, choices left open.")
@click.option("--format", "format_", type=_FORMATS, default="text", help="Output format.")
@plugin_option
def check(rulesets: tuple[str, ...], strict: bool, format_: str, plugins: tuple[str, ...]) -> None:
    """Check RULESET, NAME[@INSTANT] or the path of a YAML file, and report every fault with its place.

    Exit status 0: sound; 1: faults were found, or with --strict warnings; notes never fail. 2: a ruleset cannot
    be read.
    """
    checked = [_check(ruleset, strict, plugins) for ruleset in rulesets]
    if format_ == "text":
        for one in checked:
            _show_text(one)
    else:
        _show_data(checked, format_)
    if any(remark.level != NOTE for one in checked for remark in one.remarks):
        raise SystemExit(FINDINGS)


def _check(ruleset: str, strict: bool, plugins: tuple[str, ...]) -> _Checked:
    try:
        policy = load(ruleset, plugins=allowed(plugins))
    except RulesetError as error:
        if _UNUSABLE.intersection(error.codes):
            raise
        return _Checked(ruleset, None, tuple(Remark(finding, ERROR) for finding in error.findings))
    return _Checked(ruleset, policy, tuple(lint(policy)) if strict else ())


def _show_data(checked: Sequence[_Checked], format_: str) -> None:
    from riskpolicy.report.findings import github, junit, sarif

    by_ruleset = [(one.name, [(r.finding, r.level) for r in one.remarks]) for one in checked]
    every = [levelled for _, found in by_ruleset for levelled in found]
    if format_ == "json":
        data = [{"ruleset": name, "findings": [{**f.as_dict(), "level": x} for f, x in fs]} for name, fs in by_ruleset]
        show_json(data[0] if len(data) == 1 else {"rulesets": data})
    elif format_ == "sarif":
        show_json(sarif(every))
    elif format_ == "junit":
        click.echo(junit(by_ruleset))
    elif every:
        click.echo(github(every))


def _show_text(checked: _Checked) -> None:
    if checked.policy is None:
        show_findings(tuple(remark.finding for remark in checked.remarks))
        count = len(checked.remarks)
        click.echo(f"{checked.name}: {count} fault{'s' if count > 1 else ''}", err=True)
        return
    for remark in checked.remarks:
        console(stderr=True).print(Text(f"{remark.level}: {remark.finding}"), soft_wrap=True)
    plan = checked.policy.plan
    counts = ((plan.instruments.symbols, "instrument"), (plan.tiers.exact, "tier"), (plan.layers, "layer"))
    parts = ", ".join(f"{len(of)} {word}{'' if len(of) == 1 else 's'}" for of, word in counts)
    silent = f"; not stated by the venue: {', '.join(plan.not_stated)}" if plan.not_stated else ""
    click.echo(f"{plan.id}@{plan.valid_from.date()}: sound, {parts}{silent}")
