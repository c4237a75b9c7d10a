"""Plugins that are dataclasses take parameters by their fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, TypeVar

from riskpolicy.errors import one_of, suggestion

P = TypeVar("P")


def with_parameters(plugin: P, parameters: Mapping[str, object]) -> P:
    """Return a plugin that is a dataclass with other values in the fields that parameters name.

    Numbers become what a field holds, int, float or fraction; lists a tuple, or a set of text. Whatever a field holds
    None in takes any value. ValueError for a parameter that is no field, or is of another kind than the field.
    """
    fields = {f.name: getattr(plugin, f.name) for f in dataclasses.fields(plugin)}  # type: ignore[arg-type]
    changed: dict[str, Any] = {}
    for name, value in parameters.items():
        if name not in fields:
            raise ValueError(f"there is no `{name}`; {suggestion(name, fields) or f'parameters: {one_of(fields)}'}")
        changed[name] = _as(fields[name], name, value)
    return dataclasses.replace(plugin, **changed)  # type: ignore[type-var]


def _as(held: Any, name: str, value: Any) -> Any:
    """Return a value in the kind of what a field holds now."""
    kind = type(held)
    number = isinstance(value, int | Fraction) and not isinstance(value, bool)
    whole = number and Fraction(value).denominator == 1
    if held is None or (isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool)):
        return value
    if number and kind in (Fraction, float):
        return kind(value)
    if whole and kind is int:
        return int(value)
    if isinstance(value, list) and kind is tuple:
        return tuple(value)
    if isinstance(value, list) and kind is frozenset:
        return frozenset(map(str, value))
    if isinstance(value, Mapping) and isinstance(held, Mapping):
        return dict(value)
    raise ValueError(f"`{name}` is {value!r}, not a {kind.__name__.lower()}")
