"""An exposure in a terminal: what a trader wants to know first stands first."""

from __future__ import annotations

from fractions import Fraction

from rich.console import Group, RenderableType
from rich.text import Text

from riskpolicy.engines.exposure import Exposure, Reached
from riskpolicy.engines.exposure_public import Pair, PublicExposure
from riskpolicy.numbers import decimal_text, fraction_text
from riskpolicy.report.text import amount, plain_table, price, quantity

_SAYS = {
    "queue": "Positions opposite to bankrupt ones are closed from the head of a queue.",
    "drawn": "Positions opposite to bankrupt ones are closed one after the other, in no order of rank.",
    "pro_rata": "Everybody opposite to bankrupt positions gives a part.",
    "plugin": "A plugin says whose positions are closed.",
    "socialised": "Losses are shared out among those who hold the market; no position is closed.",
    "none": "The rules close nobody's position for another's loss.",
}


def exposure_report(found: Exposure, rank: int | None = None, light: int | None = None) -> RenderableType:
    """Return the report: standing, what reaches it, what it costs, what would move it to a rank or light."""
    head = f"{found.account} in {found.instrument}: "
    if found.side is None:
        return Text(f"{head}nothing is held. {_SAYS[found.mechanism]}")
    parts: list[RenderableType] = [
        Text(
            f"{head}{found.side} {quantity(float(found.quantity))} contracts at a mark of {_price(found.mark_price)}."
        ),
        Text(_SAYS["drawn" if found.mechanism == "queue" and found.adl_rank is None else found.mechanism]),
    ]
    if found.adl_rank is not None and found.quantity_ahead is not None:
        lights = "●" * (found.adl_light or 0) + "○" * ((found.lights or 0) - (found.adl_light or 0))
        ahead = quantity(float(found.quantity_ahead))
        parts.append(
            Text(f"Rank {found.adl_rank} of {found.positions}, light {lights}, {ahead} contracts ahead of it.")
        )
    if found.mechanism != "none":
        shares = "Its first share of a loss, and the one that takes all its profit:"
        contracts = "Its first and last contract, the contracts bankrupt opposite and their deficit:"
        parts += [Text(), Text(shares if found.mechanism == "socialised" else contracts)]
        parts += [_reached(found)]
        parts += [] if found.mean is None else [Text(f"On average by the weights: {_mean(found.mean)}.")]
        parts += [Text(), *_changes(found, rank, light), *(Text(said) for said in found.remarks)]
    return Group(*parts)


def _reached(found: Exposure) -> RenderableType:
    hedged, feed = any(s.loss_of_hedge for s in found.scenarios), any(s.fee for s in found.scenarios)
    columns = [
        ("taken", False), ("opposite", True), ("move", True), ("mark then", True), ("deficit", True),
        ("profit lost", True), *([("hedge lost", True)] if hedged else []),
        *([("fee", True)] if feed else []),
    ]  # fmt: skip
    table = plain_table(columns)
    for reached in (found.first, found.last):
        scenario = reached.scenario
        table.add_row(
            reached.which, _more(found, reached), _percent(reached.move), _price(scenario.mark_price),
            _money(reached.deficit), _money(scenario.loss_of_profit),
            *([_money(scenario.loss_of_hedge)] if hedged else []), *([_money(scenario.fee)] if feed else []),
        )  # fmt: skip
    return table


def _more(found: Exposure, reached: Reached) -> str:
    if reached.contracts is None:
        return "-"
    # By rank it takes more than are ahead; by another rule what is closed at that move.
    ahead = reached.which == "first" and reached.contracts == found.quantity_ahead
    return ("above " if ahead else "") + quantity(float(reached.contracts))


def _changes(found: Exposure, rank: int | None, light: int | None) -> list[RenderableType]:
    asked = rank is not None or light is not None
    if found.adl_light is None or not found.sought or (found.adl_light < 2 and not asked):
        return []
    if found.adl_rank == rank or found.adl_light == light:
        return [Text("It is there already.")]
    changes = found.changes(rank, light=light)
    lines = []
    kinds = {
        "size": changes.size, "leverage": changes.leverage, "added margin": changes.margin,
        "unrealized profit": changes.profit,
    }  # fmt: skip
    for name, step in kinds.items():
        if step is not None:
            # In full, so that what is printed can be supposed.
            value = decimal_text(float(step.value)) if name == "leverage" else fraction_text(step.value)
            lines.append(f"{name} {value} (light {step.adl_light}, rank {step.adl_rank})")
    head = f"Rank {rank}" if rank is not None else f"Light {light}" if light is not None else "One light down"
    return [Text(f"{head} takes: " + ("; or ".join(lines) if lines else "nothing that it could change") + ".")]


def public_report(found: PublicExposure) -> RenderableType:
    """Return the report of bounds, each with what it follows from."""
    table = plain_table([("", False), ("from", True), ("to", True)])
    rows: list[tuple[str, Pair, str]] = [
        ("rank", found.adl_rank, "adl_rank"), ("light", found.adl_light, "adl_light"),
        ("contracts ahead", found.quantity_ahead, "quantity_ahead"),
        ("bankrupt opposite, first contract", found.first.contracts, "contracts"),
        ("bankrupt opposite, last contract", found.last.contracts, ""),
        ("move, first contract", found.first.move, "move"), ("move, last contract", found.last.move, ""),
        ("their deficit", found.first.deficit, "deficit"),
        ("profit lost", found.first.loss_of_profit, "loss_of_profit"),
        ("hedge lost", found.first.loss_of_hedge, "loss_of_hedge"),
    ]  # fmt: skip
    for name, (low, high), _ in rows:
        form = _percent if name.startswith("move") else _number
        table.add_row(name, form(low), form(high))
    head = f"{found.side} {quantity(float(found.quantity))} contracts of {found.instrument}. {_SAYS[found.mechanism]}"
    note = "Bounds from public data: in every book that fits them the truth is between; - is no bound."
    reasons = [
        Text(f"{name.split(',')[0]}: {found.why[why]}.", style="dim") for name, _, why in rows if why in found.why
    ]
    return Group(Text(head), Text(), table, Text(), Text(note), *reasons)


def _mean(mean: dict[str, Fraction | None]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_money(value)}" for name, value in mean.items())


def _percent(value: Fraction | None) -> str:
    return "-" if value is None else f"{float(value):+.4%}"


def _number(value: Fraction | None) -> str:
    return "-" if value is None else f"{float(value):,.8g}"


def _money(value: Fraction | None) -> str:
    return "-" if value is None else amount(float(value))


def _price(value: Fraction | None) -> str:
    return "-" if value is None else price(float(value))
