"""riskpolicy schema: the JSON Schema of the ruleset language."""

from __future__ import annotations

import click

from riskpolicy.cli.common import show_json
from riskpolicy.ruleset.schema import json_schema


@click.command()
def schema() -> None:
    """Print the JSON Schema of the ruleset language, for editors."""
    show_json(json_schema())
