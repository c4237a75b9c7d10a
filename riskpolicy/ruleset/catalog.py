"""One way of naming a ruleset everywhere: `NAME[@INSTANT]`, or a path.

Packs of rulesets are import packages named by entry points in the group `riskpolicy.rulesets`; each
holds a folder a name, and in it a file a version, called by the date from which it is valid.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

from riskpolicy.errors import Finding, RulesetError, one_of, suggestion
from riskpolicy.numbers import parse_instant

GROUP = "riskpolicy.rulesets"
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Version:
    """One file of a named ruleset, valid from `start` until `end` (None: until further notice)."""

    name: str
    path: Path
    start: datetime
    end: datetime | None


def is_path(source: str) -> bool:
    """Return whether a text names a file rather than an installed ruleset."""
    return source.endswith((".yaml", ".yml")) or "/" in source or "\\" in source


@lru_cache(maxsize=1)
def installed() -> dict[str, tuple[Version, ...]]:
    """Return the versions of every installed ruleset, oldest first; earlier packs win a name."""
    found: dict[str, tuple[Version, ...]] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda e: (e.value, e.name)):
        root = Path(str(files(entry.value)))
        for folder in sorted(p for p in root.iterdir() if p.is_dir()):
            versions = _versions(folder)
            if versions:
                found.setdefault(folder.name, versions)
    return found


def find_version(source: str, default: datetime | None = None) -> Version:
    """Return the version that `NAME[@INSTANT]` names: valid at INSTANT, else at `default`, else the newest.

    RulesetError where the name, the instant or a version is unknown.
    """
    name, at, written = source.partition("@")
    versions = installed().get(name)
    if versions is None:
        hint = suggestion(name, installed()) or f"installed: {one_of(installed())}; a path ends in .yaml"
        raise RulesetError(Finding("unknown_ruleset", f"no installed ruleset is called `{name}`", hint))
    instant = default
    if at:
        try:
            instant = parse_instant(written)
        except ValueError:
            hint = f"write `{name}@2026-09-01` or `{name}@2026-09-01T12:00:00Z`"
            raise RulesetError(Finding("invalid_instant", f"`{written}` is not an instant", hint)) from None
    if instant is None:
        return versions[-1]
    valid = [v for v in versions if v.start <= instant]
    if not valid:
        first = versions[0].start.date()
        message = f"no version of `{name}` was valid at {instant.isoformat()}"
        raise RulesetError(Finding("no_version", message, f"the first is valid from {first}"))
    return valid[-1]


def _versions(folder: Path) -> tuple[Version, ...]:
    paths = sorted(p for p in folder.glob("*.yaml") if _VERSION.fullmatch(p.stem))
    starts = [parse_instant(p.stem) for p in paths]
    ends = [*starts[1:], None]
    return tuple(Version(folder.name, path, start, end) for path, start, end in zip(paths, starts, ends, strict=False))
