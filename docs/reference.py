"""The reference tables of the documentation, written from the models and tables that the code itself uses."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from riskpolicy.errors import CODES
from riskpolicy.expressions.units import RULES
from riskpolicy.kernel.opcodes import OPCODES
from riskpolicy.ruleset.ruleset import Ruleset
from riskpolicy.ruleset.written import Written
from riskpolicy.vocabulary import CONSTANTS, FUNCTIONS, NAMES, TABLES


def write_reference(folder: Path) -> None:
    """Write one Markdown file a table into `folder`."""
    folder.mkdir(exist_ok=True)
    parts = {
        "language": _language(),
        "names": _names(),
        "functions": _functions(),
        "units": "".join(f"- {rule}\n" for rule in RULES),
        "tables": _tables(),
        "codes": _table(("code", "meaning"), ((f"`{code}`", meaning) for code, meaning in CODES.items())),
        "opcodes": _table(
            ("opcode", "stack", "meaning"), ((f"`{o.name}`", f"`{o.picture}`", o.meaning) for o in OPCODES)
        ),
    }
    for name, text in parts.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")


def _table(head: tuple[str, ...], rows: typing.Iterable[tuple[str, ...]]) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    lines += [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)


def _language() -> str:
    """Every model of the written form, in the order in which the document reaches it."""
    seen: list[type[Written]] = [Ruleset]
    for model in seen:
        below = (m for field in model.model_fields.values() for m in _models(field.annotation))
        seen += [m for m in dict.fromkeys(below) if m not in seen and not m.__name__.startswith(("Stated", "Order"))]
    return "\n".join(_model(model) for model in seen)


def _model(model: type[Written]) -> str:
    rows = []
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else f"`{field.default}`" if field.default is not None else ""
        rows.append((f"`{name}`", default, field.description or ""))
    summary = (model.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
    return f"### {model.__name__}\n\n{summary}\n\n{_table(('key', 'default', 'meaning'), rows)}"


def _models(annotation: Any) -> Iterator[type[Written]]:
    if isinstance(annotation, type) and issubclass(annotation, Written):
        yield annotation
        for field in annotation.model_fields.values() if annotation.__name__.startswith("Stated") else ():
            yield from _models(field.annotation)
    for part in typing.get_args(annotation):
        yield from _models(part)


def _names() -> str:
    parts = []
    for table, names in NAMES.items():
        rows = ((f"`{n.name}`", n.unit, n.stage.name.lower(), n.meaning) for n in names.values())
        parts.append(f"### Of a {table}\n\n{_table(('name', 'unit', 'known when', 'meaning'), rows)}")
    rows = ((f"`{name}`", unit, f"{value:g}") for name, (value, unit) in CONSTANTS.items())
    return "\n".join([*parts, f"### Constants\n\n{_table(('name', 'unit', 'value'), rows)}"])


def _functions() -> str:
    def arguments(least: int, most: int | None) -> str:
        return f"{least} or more" if most is None else str(least)

    rows = ((f"`{f.name}`", arguments(f.least, f.most), f.meaning) for f in FUNCTIONS.values())
    return _table(("function", "arguments", "value"), rows)


def _tables() -> str:
    parts = []
    for table in TABLES.values():
        rows = (
            (f"`{c.name}`", "required" if c.required else f"`{c.default}`" if c.default else "", c.unit, c.meaning)
            for c in table.columns
        )
        key = ", ".join(f"`{k}`" for k in table.key)
        parts.append(f"## {table.name}\n\nKey: {key}.\n\n{_table(('column', 'default', 'unit', 'meaning'), rows)}")
    return "\n".join(parts)
