"""Plugins that are dataclasses take parameters by their fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from riskpolicy.errors import one_of, suggestion

P = TypeVar("P")


def with_parameters(plugin: P, parameters: Mapping[str, object]) -> P:
    """Return a plugin that is a dataclass with other values in the fields that parameters name.

    Lists become sets of text where a field holds a frozenset. ValueError for a parameter that is no field, or is of
    another kind than the field.
    """
    fields = {f.name: getattr(plugin, f.name) for f in dataclasses.fields(plugin)}  # type: ignore[arg-type]
    changed: dict[str, Any] = {}
    for name, value in parameters.items():
        if name not in fields:
            raise ValueError(f"there is no `{name}`; {suggestion(name, fields) or f'parameters: {one_of(fields)}'}")
        kind = type(fields[name])
        if isinstance(fields[name], frozenset):
            value = frozenset(map(str, value)) if isinstance(value, list) else value
        if not isinstance(value, kind) and not (isinstance(value, Mapping) and isinstance(fields[name], Mapping)):
            raise ValueError(f"`{name}` is {value!r}, not a {kind.__name__.lower()}")
        changed[name] = value
    return dataclasses.replace(plugin, **changed)  # type: ignore[type-var]
