"""riskpolicy exposure: how deleveraging may reach a position, before one trades."""

from __future__ import annotations

from typing import Literal

import click

from riskpolicy.cli.common import allowed, format_option, plugin_option, progress, ruleset_argument, show, show_json
from riskpolicy.engines.exposure_public import asked_of, ordered, public_exposure, read_public
from riskpolicy.errors import Finding, QueryError
from riskpolicy.policy import load
from riskpolicy.report.exposure import exposure_report, public_report
from riskpolicy.snapshot import Snapshot


@click.command()
@ruleset_argument
@click.argument("snapshot", type=click.Path(dir_okay=False), required=False)
@click.option("--account", help="Whose position.")
@click.option("--instrument", help="In which market.")
@click.option("--side", type=click.Choice(["long", "short"]), help="Which, where the account holds both.")
@click.option("--order", metavar="SIDE:QUANTITY:PRICE", help="Suppose that this order has filled, such as buy:2:65000.")
@click.option(
    "--what-if", "changed", multiple=True, metavar="NAME=VALUE", help="Suppose a size, leverage, margin or profit."
)
@click.option("--to-rank", type=int, help="In `changes`: what would move it to this rank, instead of one light down.")
@click.option("--to-light", type=int, help="In `changes`: what would move it to this light.")
@click.option("--hedge", help="Another account whose opposite position counts as the hedge.")
@click.option("--weights", metavar="FIRST,LAST", help="Weights of the two scenarios, for their mean.")
@click.option(
    "--execution", type=click.Choice(["book", "linear", "power", "sqrt"]),
    help="What orders get. Absent: the ruleset's plugin, else book.",
)  # fmt: skip
@click.option(
    "--public", type=click.Path(dir_okay=False),
    help="Public data as JSON instead of SNAPSHOT: bounds, for its own position, also after an --order.",
)  # fmt: skip
@format_option
@plugin_option
def exposure(
    ruleset: str, snapshot: str | None, account: str | None, instrument: str | None,
    side: Literal["long", "short"] | None, order: str | None, changed: tuple[str, ...], to_rank: int | None,
    to_light: int | None, hedge: str | None, weights: str | None,
    execution: Literal["book", "linear", "power", "sqrt"] | None, public: str | None, format_: str,
    plugins: tuple[str, ...],
) -> None:  # fmt: skip
    """Show where a position stands in the deleveraging queue, what must happen to reach it, and what it would lose.

    From a SNAPSHOT of the venue, or with --public from public data alone, then as bounds. Exit status 0: answered; 2:
    unusable input.
    """
    if (snapshot is None) == (public is None):
        raise QueryError(Finding("missing_value", "a SNAPSHOT or --public FILE, one of them", "see --help"))
    if public is not None:
        if changed or (hedge, weights, to_rank, to_light) != (None,) * 4:
            message = "from public data nothing is supposed but an order"
            hint = "leave --what-if, --hedge, --weights, --to-rank and --to-light out"
            raise QueryError(Finding("invalid_value", message, hint))
        plan = load(ruleset, plugins=allowed(plugins)).plan
        data = asked_of(read_public(public), instrument, side if order is None else None)
        bounds = public_exposure(plan, data if order is None else ordered(data, order))
        if side is not None and bounds.side != side:
            message = f"after the order the position is {bounds.side}, and {side} is asked for"
            raise QueryError(Finding("contradiction", message, "leave --side out"))
        if format_ == "json":
            show_json(bounds.to_dict())
        else:
            show(public_report(bounds))
        return
    if to_rank is not None and to_light is not None:
        raise QueryError(Finding("invalid_value", "a rank and a light are both asked for", "say one of them"))
    if account is None or instrument is None:
        lacking = "whose position?" if account is None else f"the position of `{account}` in which market?"
        raise QueryError(Finding("missing_value", lacking, "say --account and --instrument"))
    read = Snapshot.of(str(snapshot))
    policy = load(ruleset, read.as_of, plugins=allowed(plugins))
    with progress("searching"):
        found = policy.evaluate(read).exposure(
            account, instrument, side=side, execution=execution, order=order, hedge=hedge, weights=_weights(weights)
        )
        if changed:
            found = found.what_if(**_changes(changed))
        said = found.to_dict()
        if (to_rank, to_light) != (None, None):
            said["changes"] = found.changes(to_rank, light=to_light).to_dict()
    if format_ == "json":
        show_json({**said, "ccxt": found.to_ccxt(), "plugins": dict(policy.plugins)})
        return
    show(exposure_report(found, to_rank, to_light))


def _weights(text: str | None) -> dict[str, str] | None:
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 2:
        raise QueryError(Finding("invalid_value", f"`{text}` are no two weights", "write them as 3,1"))
    return {"first": parts[0], "last": parts[1]}


def _changes(changed: tuple[str, ...]) -> dict[str, str]:
    out = {}
    for text in changed:
        name, _, value = text.partition("=")
        if name not in ("size", "leverage", "margin", "profit") or not value:
            raise QueryError(
                Finding("invalid_value", f"`{text}` supposes nothing", "size=, leverage=, margin= or profit=")
            )
        out[name] = value
    return out
