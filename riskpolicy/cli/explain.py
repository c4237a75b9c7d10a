"""riskpolicy explain: why one account stands where it stands."""

from __future__ import annotations

from pathlib import Path

import click

from riskpolicy.cli.common import (
    allowed,
    plugin_option,
    ruleset_argument,
    show,
    show_json,
    snapshot_argument,
)
from riskpolicy.engines.core.reasons import Reason
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.errors import Finding, QueryError, one_of, suggestion
from riskpolicy.policy import load
from riskpolicy.report.html import explanation_page
from riskpolicy.report.text import reason_dict, reason_tree
from riskpolicy.snapshot import Snapshot
from riskpolicy.testing.because import because


@click.command()
@ruleset_argument
@snapshot_argument
@click.option("--account", required=True, help="The account to explain.")
@click.option("--number", help="Only what leads to one column of the results, such as liquidation_price.")
@click.option("--instrument", help="Only one position; with --number.")
@click.option("--format", "format_", type=click.Choice(["text", "json", "html"]), default="text", help="Output format.")
@plugin_option
def explain(
    ruleset: str, snapshot: str, account: str, number: str | None, instrument: str | None, format_: str,
    plugins: tuple[str, ...],
) -> None:  # fmt: skip
    """Explain every bucket of an account under RULESET, in exact arithmetic, with the rule behind each line."""
    read = Snapshot.of(snapshot)
    policy = load(ruleset, read.as_of, plugins=allowed(plugins))
    evaluation = policy.evaluate(read)
    reasons = policy.explain(evaluation, account)
    if number is not None:
        reasons = _of_number(evaluation, account, number, instrument)

    def place(rule: str) -> str:
        found = policy.place(rule)
        return f"{Path(found.file).name}:{found.line}"

    if format_ == "json":
        show_json({"account": account, "buckets": [reason_dict(r) for r in reasons]})
        return

    if format_ == "html":
        click.echo(
            explanation_page(
                f"Account {account} under {policy.plan.id}@{policy.plan.valid_from.date()}", reasons, place
            )
        )
        return
    for reason in reasons:
        show(reason_tree(reason, place))


def _of_number(evaluation: Evaluation, account: str, number: str, instrument: str | None) -> tuple[Reason, ...]:
    """Return the reasons cut to what leads to a column of an account's positions or buckets."""
    columns = [*evaluation.positions.columns, *evaluation.buckets.columns]
    if number not in columns:
        hint = suggestion(number, columns) or f"columns: {one_of(columns, 40)}"
        raise QueryError(Finding("unknown_column", f"results have no column `{number}`", hint))
    table = evaluation.positions if number in evaluation.positions.columns else evaluation.buckets
    rows = [row for row in table.rows() if str(row["account"]) == account]
    rows = [row for row in rows if instrument is None or row["instrument"] == instrument]
    if not rows:
        raise QueryError(
            Finding("unknown_id", f"account `{account}` has no row with `{number}`", "leave --instrument out")
        )
    return tuple(reason for row in rows for reason in because(evaluation, row, number))
