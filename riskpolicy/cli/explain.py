"""riskpolicy explain: why one account stands where it stands."""

from __future__ import annotations

from pathlib import Path

import click

from riskpolicy.cli.common import (
    allowed,
    format_option,
    plugin_option,
    ruleset_argument,
    show,
    show_json,
    snapshot_argument,
)
from riskpolicy.policy import load
from riskpolicy.report.text import reason_dict, reason_tree
from riskpolicy.snapshot import Snapshot


@click.command()
@ruleset_argument
@snapshot_argument
@click.option("--account", required=True, help="The account to explain.")
@format_option
@plugin_option
def explain(ruleset: str, snapshot: str, account: str, format_: str, plugins: tuple[str, ...]) -> None:
    """Explain every bucket of an account under RULESET, in exact arithmetic, with the rule behind each line."""
    read = Snapshot.of(snapshot)
    policy = load(ruleset, read.as_of, plugins=allowed(plugins))
    reasons = policy.explain(policy.evaluate(read), account)
    if format_ == "json":
        show_json({"account": account, "buckets": [reason_dict(r) for r in reasons]})
        return

    def place(rule: str) -> str:
        found = policy.place(rule)
        return f"{Path(found.file).name}:{found.line}"

    for reason in reasons:
        show(reason_tree(reason, place))
