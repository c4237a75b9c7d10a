"""The command line, a file a subcommand. Data goes to standard output, findings to standard error."""

from __future__ import annotations

import os
import sys
import traceback

import click

from riskpolicy import __version__
from riskpolicy.arrow import ArrowReadError
from riskpolicy.cli.adl import adl
from riskpolicy.cli.check import check
from riskpolicy.cli.common import OUR_FAULT, UNUSABLE, show_findings
from riskpolicy.cli.evaluate import evaluate
from riskpolicy.cli.explain import explain
from riskpolicy.cli.exposure import exposure
from riskpolicy.cli.fees import fees
from riskpolicy.cli.fmt import fmt
from riskpolicy.cli.import_ import import_
from riskpolicy.cli.init import init, scaffold_tests
from riskpolicy.cli.plugin import plugin
from riskpolicy.cli.resolve import resolve
from riskpolicy.cli.schema import schema
from riskpolicy.cli.test import test
from riskpolicy.errors import RiskPolicyError


@click.group()
@click.version_option(__version__)
def cli() -> None:
    """Apply a futures venue's risk rules to positions, check them and explain them.

    Exit status 0: done; 1: findings; 2: unusable input; 3: a fault of riskpolicy itself.
    """


for command in (
    adl, check, evaluate, explain, exposure, fees, fmt, import_, init, plugin, resolve, scaffold_tests, schema, test,
):  # fmt: skip
    cli.add_command(command)


def main() -> None:
    """Run the command line and exit with a status that means something."""
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(UNUSABLE)
    except RiskPolicyError as error:
        show_findings(error.findings)
        sys.exit(UNUSABLE)
    except ArrowReadError as error:
        click.echo(f"{error}; do: {error.hint}", err=True)
        sys.exit(UNUSABLE)
    except BrokenPipeError:
        # The reader of a pipe has gone; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if "RISKPOLICY_DEBUG" in os.environ:
            traceback.print_exc()
        click.echo(f"a fault of riskpolicy itself: {type(error).__name__}: {error}", err=True)
        click.echo("please report it; RISKPOLICY_DEBUG=1 shows where it happened", err=True)
        sys.exit(OUR_FAULT)
