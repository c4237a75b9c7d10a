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
    if out is not None:
        _check_target(out)
    with progress("reading the snapshot"):
        read = Snapshot.of(snapshot)
    with progress("evaluating"):
        evaluation = load(ruleset, read.as_of, plugins=allowed(plugins)).evaluate(read)
        data = evaluation.to_dict() if format_ == "json" and out is None else None
    if out is not None:
        with progress("writing"):
            _write(evaluation, out, table)
        return
    if data is not None:
        show_json(data)
        return
    from riskpolicy.report.evaluation import evaluation_report

    show(evaluation_report(evaluation, rows))


def _check_target(out: str) -> None:
    """Refuse a place where results cannot go, before any work is done for nothing."""
    path = Path(out)
    if _is_directory(out):
        if path.exists() and not path.is_dir():
            raise click.UsageError(f"--out `{out}`: `{path}` is a file, not a directory")
    elif path.suffix not in (".parquet", ".csv"):
        raise click.UsageError(f"--out `{out}`: end it with .parquet or .csv, or with / for a directory of all tables")
    elif not path.parent.is_dir():
        raise click.UsageError(f"--out `{out}`: there is no directory `{path.parent}`")


def _is_directory(out: str) -> bool:
    return out.endswith(("/", "\\")) or Path(out).is_dir()


def _write(evaluation: Evaluation, out: str, table: str) -> None:
    path, chosen = Path(out), {t.name: t for t in evaluation.tables}
    try:
        if _is_directory(out):
            path.mkdir(parents=True, exist_ok=True)
            for name, found in chosen.items():
                found.write_parquet(path / f"{name}.parquet")
        elif path.suffix == ".csv":
            chosen[table].write_csv(path)
        else:
            chosen[table].write_parquet(path)
    except OSError as error:
        raise click.ClickException(f"cannot write `{out}`: {error.strerror or error}") from None
    click.echo(f"wrote {out}", err=True)
