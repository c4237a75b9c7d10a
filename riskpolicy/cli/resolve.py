"""riskpolicy resolve: run liquidations and losses to their end."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from riskpolicy.cli.common import (
    allowed,
    plugin_option,
    progress,
    ruleset_argument,
    show,
    show_json,
    snapshot_argument,
)
from riskpolicy.engines.core.events import read_events
from riskpolicy.errors import Finding, QueryError, suggestion
from riskpolicy.policy import load
from riskpolicy.report.resolution import resolution_report
from riskpolicy.report.text import reason_tree
from riskpolicy.snapshot import Snapshot
from riskpolicy.snapshot.write import snapshot_dict


@click.command()
@ruleset_argument
@snapshot_argument
@click.option("--events", type=click.Path(dir_okay=False), help="JSON lines: sequence, at, kind, and what it changes.")
@click.option(
    "--execution", type=click.Choice(["book", "linear", "power", "sqrt"]),
    help="What orders get; its numbers come from the snapshot. Absent: the ruleset's plugin, else book.",
)  # fmt: skip
@click.option("--account", help="Explain the whole chain of one account instead.")
@click.option("--layer", help="Explain what one layer of the waterfall paid instead.")
@click.option("--ledger", "database", type=click.Path(dir_okay=False), help="Append the ledger to a SQLite file.")
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", help="Output format.")
@click.option("--rows", default=10, show_default=True, type=click.IntRange(0), help="Rows shown of a list, in text.")
@plugin_option
def resolve(
    ruleset: str, snapshot: str, events: str | None, execution: Literal["book", "linear", "power", "sqrt"] | None,
    account: str | None, layer: str | None, database: str | None, format_: str, rows: int, plugins: tuple[str, ...],
) -> None:  # fmt: skip
    """Liquidate every bucket of SNAPSHOT that is due under RULESET: who takes the contracts, who pays, what is left.

    Exit status 0: done, whatever was found; 2: unusable input.
    """
    read = Snapshot.of(snapshot)
    listed = [] if events is None else read_events(events)
    with progress("resolving"):
        policy = load(ruleset, read.as_of, plugins=allowed(plugins))
        result = policy.evaluate(read).resolve(execution, listed)
    if database is not None:
        result.ledger.write_sqlite(database)
        click.echo(f"appended {len(result.ledger.entries):,} entries to {database}", err=True)
    if format_ == "json":
        assert result.after is not None
        show_json({**result.to_dict(), "after": snapshot_dict(result.after)})
        return
    if account is not None or layer is not None:

        def place(rule: str) -> str:
            found = policy.place(rule)
            return f"{Path(found.file).name}:{found.line}"

        known = {str(label) for label in read.ids("positions", "account").labels}
        if account is not None and account not in known and not account.startswith("@"):
            message = f"the snapshot has no account `{account}`"
            raise QueryError(Finding("unknown_id", message, suggestion(account, sorted(known))))
        chain = result.explain(account) if account is not None else result.explain_draw(layer or "")
        show(reason_tree(chain, place))
        return
    show(resolution_report(result, rows))
