"""riskpolicy import: tier tables of other libraries as fragments of a ruleset."""

from __future__ import annotations

from typing import Literal

import click

from riskpolicy.cli.common import FINDINGS, show_findings
from riskpolicy.ruleset.ccxt_tiers import import_tiers


@click.group("import")
def import_() -> None:
    """Turn tables of other libraries into fragments of a ruleset."""


@import_.command("ccxt-tiers")
@click.argument("file")
@click.option(
    "--rate", type=click.Choice(["bracket", "step"]), help="How the rates apply, where the file does not show it."
)
def ccxt_tiers(file: str, rate: Literal["bracket", "step"] | None) -> None:
    """Print instruments and tier tables for FILE, a JSON object of CCXT leverage tiers by symbol.

    Findings go to standard error, and faulty symbols are left out. Exit status 0: all symbols were imported; 1: some
    were not; 2: the file cannot be read.
    """
    made = import_tiers(file, rate)
    click.echo(made.fragment, nl=False)
    for warning in made.warnings[:20]:
        click.echo(f"warning: {warning}", err=True)
    if len(made.warnings) > 20:
        click.echo(f"warning: {len(made.warnings) - 20:,} more symbols without deductions", err=True)
    show_findings(tuple(made.findings))
    if made.findings:
        count = len(made.findings)
        click.echo(f"{file}: {count} fault{'s' if count > 1 else ''}", err=True)
        raise SystemExit(FINDINGS)
