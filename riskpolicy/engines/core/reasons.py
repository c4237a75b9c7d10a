"""Reason: why a number or state is what it is, as a tree of statements with their rules."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """One statement, the rule that makes it (None for plain arithmetic), and what it rests on."""

    statement: str
    rule: str | None = None
    children: tuple[Reason, ...] = ()
