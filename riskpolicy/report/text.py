"""How amounts and reasons read in a terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from decimal import Decimal

from rich.console import Group
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from riskpolicy.engines.core.reasons import Reason
from riskpolicy.engines.core.tables import Value
from riskpolicy.numbers import decimal_text


def amount(value: Value, places: int = 2) -> str:
    """Return an amount with thousands separators, rounded to `places`; a dash for null.

    An amount below a tenth, as coins have it, keeps four significant digits, up to eight places.
    """
    if value is None:
        return "-"
    number = float(value)  # type: ignore[arg-type]
    if math.isinf(number):
        return "infinite"
    if 0 < abs(number) < 0.1 and round(number, places) != number:
        fine = min(8, 3 - math.floor(math.log10(abs(number))))
        shown = f"{number:.{fine}f}".rstrip("0")
        return shown + "0" * max(0, places - len(shown.partition(".")[2]))
    return f"{number:,.{places}f}"


def price(value: Value) -> str:
    """Return a price with eight significant digits; a dash for null."""
    if value is None:
        return "-"
    number = float(value)  # type: ignore[arg-type]
    places = max(0, min(8, 7 - math.floor(math.log10(abs(number))))) if number else 0
    return f"{number:,.{places}f}"


def quantity(value: Value) -> str:
    """Return a quantity with thousands separators and every digit that it has."""
    return f"{Decimal(decimal_text(float(str(value)))):,f}"


def plain_table(columns: Iterable[tuple[str, bool]]) -> Table:
    """Return an empty table; a column is its heading and whether it is right-aligned."""
    table = Table(box=None, pad_edge=False)
    for heading, right in columns:
        table.add_column(heading, justify="right" if right else "left", no_wrap=not right, header_style="dim")
    return table


def titled(title: str, table: Table, note: str = "") -> Group:
    """Return a table under its title, with a note below; neither is broken to the table's width."""
    below = [Text(note, style="dim")] if note else []
    return Group(Text(title, style="bold"), table, *below)


def bar(share: float, width: int = 24) -> str:
    """Return a bar of a share between 0 and 1; anything above zero shows."""
    filled = round(max(0.0, min(1.0, share)) * width)
    return "█" * max(filled, 1 if share > 0 else 0)


def reason_tree(reason: Reason, place: Callable[[str], object]) -> Tree:
    """Return a reason as a tree; each rule id is followed by where it stands."""
    tree = Tree(_line(reason, place))
    for child in reason.children:
        tree.add(reason_tree(child, place))
    return tree


def reason_dict(reason: Reason) -> dict[str, object]:
    """Return a reason as plain data for JSON."""
    children = [reason_dict(child) for child in reason.children]
    return {"statement": reason.statement, "rule": reason.rule, "children": children}


def _line(reason: Reason, place: Callable[[str], object]) -> Text:
    if reason.rule is None:
        return Text(reason.statement)
    return Text.assemble(reason.statement, "  ", (f"{reason.rule}  {place(reason.rule)}", "dim"))
