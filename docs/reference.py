"""The reference tables of the documentation, written from the models and tables that the code itself uses."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Any

from riskpolicy.engines.core.verdict import VERDICTS
from riskpolicy.engines.policies import POLICIES, declared
from riskpolicy.errors import CODES
from riskpolicy.expressions import syntax
from riskpolicy.expressions.units import RULES
from riskpolicy.kernel.opcodes import MAX_LOCALS, MAX_STACK, OPCODES
from riskpolicy.ruleset import document, written
from riskpolicy.ruleset.ruleset import Ruleset
from riskpolicy.ruleset.written import Order, Stated, Written
from riskpolicy.testing.laws import STATED
from riskpolicy.vocabulary import CONSTANTS, FUNCTIONS, NAMES, STATES, TABLES, Column, Kind

#: What the scalar types of the written form are called in the tables.
SCALARS: tuple[tuple[Any, str], ...] = (
    (written.Expression, "expression"), (written.Id, "id"), (written.Text, "text"), (written.Instant, "instant"),
    (written.Positive, "number above zero"), (written.Number, "number"), (written.Rate, "rate"),
    (Order, "order key"), (bool, "true or false"), (int, "whole number"), (Decimal, "number"), (str, "text"),
)  # fmt: skip


def write_reference(folder: Path) -> None:
    """Write one Markdown file a table into `folder`."""
    folder.mkdir(exist_ok=True)
    parts = {
        "language": "\n".join(_sections("", Ruleset)),
        "names": _names(),
        "functions": _functions(),
        "units": "".join(f"- {rule}\n" for rule in RULES),
        "limits": _limits(),
        "tables": _tables(),
        "states": ", ".join(f"`{state}`" for state in STATES) + "\n",
        "verdicts": _table(("code", "meaning"), ((f"`{code}`", meaning) for code, meaning in VERDICTS.items())),
        "codes": _table(("code", "meaning"), ((f"`{code}`", meaning) for code, meaning in CODES.items())),
        "policies": _table(
            ("policy", "what it takes", "formula"), ((f"`{n}`", p.meaning, p.formula) for n, p in POLICIES.items())
        ),
        "laws": _table(("law", "what it says"), ((f"`{name}`", law.says) for name, law in STATED.items())),
        "declared": _table(("policy", "declares", "and without lots"), map(_declared, POLICIES)),
        "opcodes": _table(
            ("opcode", "operand", "stack", "meaning"),
            ((f"`{o.name}`", o.operand, f"`{o.picture}`", o.meaning) for o in OPCODES),
        ),
    }
    for name, text in parts.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")


def _declared(name: str) -> tuple[str, str, str]:
    own = declared(name)
    exact = [law for law in declared(name, whole_lots=False) if law not in own] if name != "integer" else []
    return f"`{name}`", ", ".join(own), ", ".join(exact) or "-"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    lines += [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)


def _sections(path: str, model: type[Written], tag: str = "") -> Iterator[str]:
    """Yield a section for the mapping at `path`, then one for every mapping within it."""
    hints = typing.get_type_hints(model, include_extras=True)
    rows = []
    for key, field in model.model_fields.items():
        meaning = field.description or ""
        rows.append((f"`{key}`", _kind(hints[key]), _default(field.is_required(), field.default), meaning))
    summary = " ".join((model.__doc__ or "").split()) if path else "One venue's rules for one period."
    title = f"`{path}`" if path else "The document"
    title += f", `do: {tag}`" if tag else ""
    yield f"### {title}\n\n{summary}\n\n{_table(('key', 'value', 'default', 'meaning'), rows)}"
    for key in model.model_fields:
        for below, part in _within(f"{path}.{key}".lstrip("."), hints[key]):
            yield from _sections(below, part, _tag(part))


def _within(path: str, hint: Any) -> Iterator[tuple[str, type[Written]]]:
    """Yield the mappings inside a value, each with its path: `[]` for an item of a list, `.<id>` for one by id."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, type) and issubclass(hint, Stated):
        yield from _within(path, hint.model_fields["value"].annotation)
    elif isinstance(hint, type) and issubclass(hint, Written) and hint is not Order:
        yield path, hint
    elif origin is tuple:
        yield from _within(f"{path}[]", parts[0])
    elif origin is dict:
        yield from _within(f"{path}.<id>", parts[1])
    else:
        for part in parts:
            yield from _within(path, part)


def _tag(model: type[Written]) -> str:
    field = model.model_fields.get("do")
    return str(typing.get_args(field.annotation)[0]) if field else ""


def _kind(hint: Any) -> str:
    """Return what a value is, in words."""
    word = next((word for known, word in SCALARS if hint == known), None)
    origin, parts = typing.get_origin(hint), [p for p in typing.get_args(hint) if p not in (type(None), Ellipsis)]
    if word is not None:
        return word
    if isinstance(hint, type) and issubclass(hint, Stated):
        return f"{_kind(hint.model_fields['value'].annotation)}; or `not_stated`"
    if isinstance(hint, type) and issubclass(hint, Written):
        return "mapping"
    if origin is typing.Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin in (tuple, list):
        return f"list: {_kind(parts[0])}"
    if origin is dict:
        return f"{_kind(parts[1])} by {_kind(parts[0])}"
    if origin is typing.Annotated:
        return _kind(parts[0])
    if origin in (typing.Union, UnionType):
        return " or ".join(dict.fromkeys(_kind(part) for part in parts))
    raise TypeError(f"no words for {hint}")


def _default(required: bool, default: Any) -> str:
    if required:
        return "required"
    if default is None or default in ((), {}):
        return "none"
    if isinstance(default, bool):
        return "`true`" if default else "`false`"
    return f"`[{', '.join(default)}]`" if isinstance(default, tuple) else f"`{default}`"


def _names() -> str:
    parts = []
    for table, names in NAMES.items():
        rows = ((f"`{n.name}`", n.unit, n.stage.name.lower(), n.meaning) for n in names.values())
        parts.append(f"### Names of a {table}\n\n{_table(('name', 'unit', 'known once', 'meaning'), rows)}")
    rows = ((f"`{name}`", unit, f"{value:g}") for name, (value, unit) in CONSTANTS.items())
    return "\n".join([*parts, f"### Constants\n\n{_table(('name', 'unit', 'value'), rows)}"])


def _functions() -> str:
    def arguments(least: int, most: int | None) -> str:
        return f"{least} or more" if most is None else str(least)

    rows = ((f"`{f.name}`", arguments(f.least, f.most), f.meaning) for f in FUNCTIONS.values())
    return _table(("function", "arguments", "value"), rows)


def _limits() -> str:
    rows = (
        ("size of a ruleset file", f"{document.MAX_BYTES:,} bytes"),
        ("nodes of a file, aliases expanded", f"{document.MAX_NODES:,}"),
        ("lists and mappings within each other", f"{document.MAX_DEPTH}"),
        ("characters of an expression", f"{syntax.MAX_LENGTH:,}"),
        ("parts of an expression", f"{syntax.MAX_NODES}"),
        ("parts within each other", f"{syntax.MAX_DEPTH}"),
        ("brackets within each other", f"{syntax.MAX_NESTING}"),
        ("stack of a compiled expression", f"{MAX_STACK}"),
        ("`let` names that a score uses", f"{MAX_LOCALS}"),
    )
    return _table(("what", "at most"), rows)


def _tables() -> str:
    parts = []
    for table in TABLES.values():
        rows = ((f"`{c.name}`", _column_default(c), _admits(c), c.meaning) for c in table.columns)
        key = ", ".join(f"`{k}`" for k in table.key)
        head = ("column", "default", "values", "meaning")
        parts.append(f"### `{table.name}`\n\nKey: {key}.\n\n{_table(head, rows)}")
    return "\n".join(parts)


def _column_default(column: Column) -> str:
    return "required" if column.required else f"`{column.default}`" if column.default else "absent"


def _admits(column: Column) -> str:
    if column.kind is Kind.NUMBER:
        return f"{column.unit}, {column.sign.value}"
    return " or ".join(f"`{c}`" for c in column.choices) if column.choices else "text or integer"
