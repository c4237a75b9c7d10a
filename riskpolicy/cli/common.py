"""What the subcommands share: options, streams, and exit codes that mean something."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from rich.console import Console, RenderableType
from rich.text import Text

from riskpolicy.errors import Finding

DONE, FINDINGS, UNUSABLE, OUR_FAULT = 0, 1, 2, 3

F = TypeVar("F", bound=Callable[..., Any])


def format_option(function: F) -> F:
    """Add `--format text|json`."""
    choice = click.Choice(["text", "json"])
    return click.option("--format", "format_", type=choice, default="text", help="Output format.")(function)


def ruleset_argument(function: F) -> F:
    """Add the argument RULESET."""
    return click.argument("ruleset")(function)


def plugin_option(function: F) -> F:
    """Add `--allow-plugin NAME`, which may be given several times."""
    text = "A plugin that the ruleset may name; may be repeated. Without it, every installed one."
    return click.option("--allow-plugin", "plugins", multiple=True, metavar="NAME", help=text)(function)


def allowed(plugins: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the list of allowed plugins, None for all."""
    return plugins or None


def snapshot_argument(function: F) -> F:
    """Add the argument SNAPSHOT."""
    return click.argument("snapshot")(function)


def console(*, stderr: bool = False) -> Console:
    """Return a console; a pipe gets the width that tables need."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else 120
    return Console(file=stream, width=width, highlight=False, soft_wrap=False)


def show(renderable: RenderableType) -> None:
    """Print a report on standard output."""
    console().print(renderable)


def show_json(data: Any) -> None:
    """Print data as JSON on standard output."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False))


def show_findings(findings: tuple[Finding, ...]) -> None:
    """Print findings on standard error."""
    out = console(stderr=True)
    for finding in findings:
        out.print(Text(str(finding)), soft_wrap=True)


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Show what is being done on standard error, where that is a terminal."""
    out = console(stderr=True)
    if not out.is_terminal:
        yield
        return
    with out.status(what):
        yield
