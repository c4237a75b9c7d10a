"""riskpolicy init and scaffold-tests: a new venue's files, and a draft of tests for a ruleset that is there."""

from __future__ import annotations

from pathlib import Path

import click

from riskpolicy.cli.common import allowed, plugin_option, ruleset_argument
from riskpolicy.policy import load
from riskpolicy.ruleset.catalog import is_path


@click.command()
@click.argument("name")
def init(name: str) -> None:
    """Write NAME.yaml, a commented ruleset, with its first tests, the editor's schema and the lines for a CI.

    Nothing is overwritten. Exit status 0: written; 2: a file is there already, or NAME cannot be a name.
    """
    from riskpolicy.testing.starter import write_starter

    for path in write_starter(name, Path()):
        click.echo(str(path))
    click.echo(f"next: riskpolicy test {name}.test.yaml --coverage", err=True)


@click.command("scaffold-tests")
@ruleset_argument
@plugin_option
def scaffold_tests(ruleset: str, plugins: tuple[str, ...]) -> None:
    """Print a draft of rule tests of RULESET: cases at each tier edge and state, with today's values.

    The draft says what the ruleset does, not what it should do: review every number.
    """
    from riskpolicy.testing.scaffold import scaffold

    name = "" if is_path(ruleset) else ruleset
    click.echo(scaffold(load(ruleset, plugins=allowed(plugins)), name), nl=False)
