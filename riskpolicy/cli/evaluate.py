"""riskpolicy evaluate: apply a ruleset to a snapshot."""

from __future__ import annotations

from pathlib import Path

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
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.policy import load
from riskpolicy.snapshot import Snapshot

TABLES = ("positions", "buckets", "accounts", "draws")


@click.command()
@ruleset_argument
@snapshot_argument
@format_option
@plugin_option
@click.option(
    "--out",
    metavar="FILE",
    help="Write results: positions to FILE.parquet or FILE.csv, all tables into a directory DIR/.",
)
@click.option(
    "--table", default="positions", show_default=True, type=click.Choice(TABLES), help="The table of --out FILE."
)
@click.option("--rows", default=10, show_default=True, type=click.IntRange(0), help="Rows shown of a list, in text.")
def evaluate(
    ruleset: str, snapshot: str, format_: str, rows: int, plugins: tuple[str, ...], out: str | None, table: str
) -> None:
    """Apply RULESET to SNAPSHOT: margins, states, liquidation order, draws and deleveraging ranks.

    RULESET is NAME[@INSTANT] or the path of a YAML file; without an instant, the version valid at the
    snapshot's as_of. SNAPSHOT is a JSON file, or a directory with one CSV or Parquet file a table.
    """
    target = None if out is None else _target(out)
    with progress("reading the snapshot"):
        read = Snapshot.of(snapshot)
    with progress("evaluating"):
        evaluation = load(ruleset, read.as_of, plugins=allowed(plugins)).evaluate(read)
        data = evaluation.to_dict() if format_ == "json" else None
    if target is not None:
        with progress("writing"):
            _write(evaluation, target, table)
        return
    if data is not None:
        show_json(data)
        return
    from riskpolicy.report.evaluation import evaluation_report

    show(evaluation_report(evaluation, rows))


def _target(out: str) -> Path:
    """Return where results go, before any work is done for nothing."""
    path = Path(out)
    if out.endswith(("/", "\\")) or path.is_dir():
        return path
    if path.suffix not in (".parquet", ".csv"):
        raise click.UsageError(f"--out `{out}`: end it with .parquet or .csv, or with / for a directory of all tables")
    if not path.parent.is_dir():
        raise click.UsageError(f"--out `{out}`: there is no directory `{path.parent}`")
    return path


def _write(evaluation: Evaluation, target: Path, table: str) -> None:
    chosen = {t.name: t for t in evaluation.tables}
    if target.suffix == ".csv":
        chosen[table].write_csv(target)
    elif target.suffix == ".parquet":
        chosen[table].write_parquet(target)
    else:
        target.mkdir(parents=True, exist_ok=True)
        for name, found in chosen.items():
            found.write_parquet(target / f"{name}.parquet")
    click.echo(f"wrote {target}", err=True)
