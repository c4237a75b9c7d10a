"""riskpolicy adl: policies of deleveraging compared on the events of a snapshot, or on one that is supposed."""

from __future__ import annotations

from fractions import Fraction
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
from riskpolicy.engines.candidates import Bankruptcy, Side, bankruptcies, supposed
from riskpolicy.engines.comparison import compare as compare_policies
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.engines.policies import known
from riskpolicy.errors import Finding, QueryError
from riskpolicy.policy import allocator, load
from riskpolicy.report.adl import comparison_dict, comparison_report
from riskpolicy.report.adl_plot import comparison_svg
from riskpolicy.snapshot import Snapshot


@click.group()
def adl() -> None:
    """Ask about deleveraging."""


@adl.command()
@ruleset_argument
@snapshot_argument
@click.option(
    "--policies", default=",".join(known()), metavar="NAME,...",
    help="What to compare, separated by commas, each NAME or NAME:parameter=value; `ruleset` is the ruleset's own, "
    "plugin:NAME an installed plugin's. Without it, every policy.",
)  # fmt: skip
@click.option("--instrument", help="Suppose one event in this instrument instead of the snapshot's bankrupt buckets.")
@click.option("--side", type=click.Choice(["long", "short"]), help="The side that is deleveraged in that event.")
@click.option("--quantity", help="Contracts to close in that event.")
@click.option("--budget", help="Money to raise: contracts are as many as raise it at the price.")
@click.option("--price", help="Execution price of that event; without it, 1 % of the mark against those who give.")
@click.option("--reference", help="The policy that fairness is measured against; without it, the first one.")
@click.option(
    "--severity", metavar="NAME[:...]",
    help="How much of each event is asked for, learnt from event to event, such as back_off:factor=0.5:start=50%. "
    "Without it, as the ruleset says.",
)  # fmt: skip
@click.option("--seed", type=int, help="Seed of policies that draw; without it, the ruleset's.")
@click.option("--plot", type=click.Path(dir_okay=False), help="Write a picture to an SVG file.")
@click.option(
    "--accounts", is_flag=True, help="Also who gives how much; in JSON by event, with who gives nothing and why."
)
@click.option(
    "--rows", default=5, show_default=True, type=click.IntRange(0), help="Events and accounts named of a list."
)
@format_option
@plugin_option
def compare(
    ruleset: str, snapshot: str, policies: str, instrument: str | None, side: Side | None, quantity: str | None,
    budget: str | None, price: str | None, reference: str | None, severity: str | None, seed: int | None,
    plot: str | None, accounts: bool, rows: int, format_: str, plugins: tuple[str, ...],
) -> None:  # fmt: skip
    """Compare policies: who would give how much under each, and what that raises.

    The events are the bankrupt buckets of SNAPSHOT under RULESET; each policy goes through all of them. Exit status 0:
    done; 2: unusable input.
    """
    names = [name.strip() for name in policies.split(",") if name.strip()]
    if not names:
        raise click.UsageError(f"--policies names none; there are {', '.join(known())}")
    read = Snapshot.of(snapshot)
    with progress("comparing"):
        policy, own = load(ruleset, read.as_of, plugins=allowed(plugins)), {}
        used = dict(policy.plugins)
        for name in [*names, *([] if reference is None else [reference])]:
            if name.startswith("plugin:"):
                plugin = name.removeprefix("plugin:")
                own[name], used[plugin] = allocator(plugin, policy, plugins=allowed(plugins))
        evaluation = policy.evaluate(read)
        rules = policy.plan.deleveraging
        drawn = seed if seed is not None else 0 if rules is None else rules.seed
        events = _events(evaluation, instrument, side, quantity, budget, price, drawn)
        found = compare_policies(evaluation, events, names, reference, severity, own)
    if plot is not None:
        try:
            Path(plot).write_text(comparison_svg(found), encoding="utf-8")
        except OSError as error:
            raise QueryError(Finding("file_unreadable", f"cannot write `{plot}`: {error.strerror or error}")) from None
        click.echo(f"wrote {plot}", err=True)
    if format_ == "json":
        show_json({**comparison_dict(found, accounts=accounts), "plugins": used})
        return
    show(comparison_report(found, rows, accounts=accounts))


def _events(
    evaluation: Evaluation, instrument: str | None, side: Side | None, quantity: str | None, budget: str | None,
    price: str | None, seed: int,
) -> list[Bankruptcy]:  # fmt: skip
    if instrument is None:
        if (side, quantity, budget, price) != (None,) * 4:
            raise click.UsageError("--side, --quantity, --budget and --price belong to an event: say its --instrument")
        return bankruptcies(evaluation, seed)
    if side is None or (quantity is None) == (budget is None):
        raise click.UsageError("with --instrument say --side, and one of --quantity and --budget")
    terms = {"quantity": _number("--quantity", quantity), "budget": _number("--budget", budget)}
    return [supposed(evaluation, instrument, side, price=_number("--price", price), seed=seed, **terms)]


def _number(option: str, text: str | None) -> Fraction | None:
    """Return the number that an option gives, above zero."""
    if text is None:
        return None
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        value = Fraction(0)
    if value <= 0:
        raise click.UsageError(f"{option} must be a number above zero, not `{text}`")
    return value
