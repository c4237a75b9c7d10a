"""riskpolicy schema: the JSON Schema of the ruleset language, or of rule tests."""

from __future__ import annotations

import click

from riskpolicy.cli.common import show_json
from riskpolicy.ruleset.schema import json_schema


@click.command()
@click.option("--tests", is_flag=True, help="The schema of rule tests.")
def schema(tests: bool) -> None:
    """Print the JSON Schema of the ruleset language, for editors."""
    from riskpolicy.testing.schema import tests_schema

    show_json(tests_schema() if tests else json_schema())
