"""riskpolicy plugin: write a new one, hold one to its laws."""

from __future__ import annotations

import re
from pathlib import Path

import click

from riskpolicy.errors import Finding, QueryError
from riskpolicy.hooks.template import template_files


@click.group()
def plugin() -> None:
    """Write plugins and hold them to their laws."""


@plugin.command()
@click.argument("name")
@click.argument("directory", type=click.Path(file_okay=False), required=False)
def new(name: str, directory: str | None) -> None:
    """Write a new plugin called NAME: a package that installs, with a README and a conformance test.

    It goes to DIRECTORY, else to `riskpolicy-NAME` here. Nothing is overwritten. Exit status 0: written; 2: a file is
    there already, or NAME cannot be a name.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        message = f"`{name}` cannot name a plugin"
        hint = "small letters, digits and single hyphens, such as my-venue"
        raise QueryError(Finding("invalid_value", message, hint))
    folder = Path(directory or f"riskpolicy-{name}")
    files = template_files(name, folder)
    there = [path for path in files if path.exists()]
    if there:
        hint = "nothing was written; choose another directory"
        raise QueryError([Finding("file_exists", f"`{path}` is there already", hint) for path in there])
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        click.echo(f"wrote {path}")
    click.echo(f"next: pip install -e '{folder}[test]' && pytest {folder}", err=True)


@plugin.command()
@click.argument("name")
@click.option("--examples", default=200, show_default=True, type=click.IntRange(1), help="Books tried for each law.")
@click.option("--seed", default=0, show_default=True, type=int, help="Other books for another seed.")
@click.option("--fund", "funds", multiple=True, help="Id of a fund of the ruleset, which pays no rebates; repeatable.")
def conformance(name: str, examples: int, seed: int, funds: tuple[str, ...]) -> None:
    """Hold the installed plugin NAME to what its hooks must keep and to the laws that it declares.

    A law that is broken is shown by the smallest book that breaks it. Exit status 0: all hold; 1: one is broken;
    2: there is no such plugin, or it cannot be used.
    """
    from riskpolicy.testing.conformance import check_plugin

    report = check_plugin(name, examples=examples, seed=seed, funds=funds)
    click.echo(str(report))
    if report.broken:
        raise SystemExit(1)
