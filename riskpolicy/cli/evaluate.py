"""riskpolicy evaluate: apply a ruleset to a snapshot."""

from __future__ import annotations

import click

from riskpolicy.cli.common import (
    allowed,
    format_option,
    plugin_option,
    progress,
    ruleset_argument,
    show,
    show_json,
    snapshot_argument,
)
from riskpolicy.policy import load
from riskpolicy.snapshot import Snapshot


@click.command()
@ruleset_argument
@snapshot_argument
@format_option
@plugin_option
@click.option("--rows", default=10, show_default=True, type=click.IntRange(0), help="Rows shown of a list, in text.")
def evaluate(ruleset: str, snapshot: str, format_: str, rows: int, plugins: tuple[str, ...]) -> None:
    """Apply RULESET to SNAPSHOT: margins, states, liquidation order, draws and deleveraging ranks.

    RULESET is NAME[@INSTANT] or the path of a YAML file; without an instant, the version valid at the
    snapshot's as_of. SNAPSHOT is a JSON file.
    """
    with progress("reading the snapshot"):
        read = Snapshot.of(snapshot)
    with progress("evaluating"):
        evaluation = load(ruleset, read.as_of, plugins=allowed(plugins)).evaluate(read)
        data = evaluation.to_dict() if format_ == "json" else None
    if data is not None:
        show_json(data)
        return
    from riskpolicy.report.evaluation import evaluation_report

    show(evaluation_report(evaluation, rows))
