"""A snapshot in a JSON file: an object of tables, each a list of rows or an object of columns."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from riskpolicy.errors import Finding, Place, SnapshotError, suggestion


def read_json(path: Path) -> Any:
    """Return the file's data; numbers keep every digit. SnapshotError where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        near = suggestion(path.name, [p.name for p in path.parent.glob("*.json")]) if path.parent.is_dir() else ""
        message = f"cannot read `{path}`: {error.strerror or error}"
        raise SnapshotError(Finding("file_unreadable", message, near or "check the path")) from None
    except UnicodeDecodeError as error:
        message = f"`{path}` is not UTF-8 text (byte {error.start})"
        raise SnapshotError(Finding("file_unreadable", message, "save it as UTF-8")) from None
    try:
        return json.loads(text, parse_float=_number, parse_int=_integer, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        line = text.splitlines()[error.lineno - 1] if error.lineno <= text.count("\n") + 1 and text else ""
        place = Place(str(path), error.lineno, error.colno, line)
        message = f"not JSON: {error.msg[0].lower()}{error.msg[1:]}"
        raise SnapshotError(Finding("json_syntax", message, "a snapshot is a JSON object of tables", place)) from None
    except RecursionError:
        raise SnapshotError(Finding("json_syntax", f"`{path}` is nested too deeply")) from None
    except _DuplicateKeyError as error:
        message = f"`{path}`: an object has the key `{error}` twice"
        raise SnapshotError(Finding("duplicate_key", message, "keep one of the two")) from None


class _DuplicateKeyError(ValueError):
    """A JSON object names a key twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise _DuplicateKeyError(next(n for n in names if names.count(n) > 1))
    return made


def _number(text: str) -> float | Decimal | str:
    # Up to 15 digits survive the float; more are kept as written.
    return float(text) if len(text) <= 15 else Decimal(text) if len(text) <= 100 else text


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= 100 else text
