"""Rewriting expected values in place: only the wrong cells change, comments and layout stay as they are."""

from __future__ import annotations

import difflib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from riskpolicy.errors import RulesetError
from riskpolicy.ruleset.document import Document, Node, read_document
from riskpolicy.testing.outcome import Mismatch, Outcome

_PLAIN_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SCALAR = re.compile(r"""'(?:[^']|'')*'|"(?:[^"\\]|\\.)*"|[^\s,\[\]{}#][^\s,\]}]*""")


@dataclass
class FileUpdate:
    """What would change in one file, as text before and after; `left` are the failures that no edit can heal."""

    path: Path
    before: str
    after: str
    edits: int
    left: list[Mismatch] = field(default_factory=list)

    def difference(self) -> str:
        """Return the difference as unified text."""
        lines = difflib.unified_diff(
            self.before.splitlines(keepends=True),
            self.after.splitlines(keepends=True),
            str(self.path),
            str(self.path),
            n=1,
        )
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def updates(outcomes: Iterable[Outcome]) -> Iterator[FileUpdate]:
    """Yield, for each file with failures, the text in which the wrong expected values are those of the result."""
    by_file: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_file[outcome.test.file].append(outcome)
    for file, listed in sorted(by_file.items()):
        if any(outcome.mismatches for outcome in listed):
            yield _update(Path(file), listed)


def _update(path: Path, outcomes: list[Outcome]) -> FileUpdate:
    document = outcomes[0].test.document
    before = path.read_bytes().decode("utf-8-sig")
    spoken = {place for outcome in outcomes for place in _given(outcome)}
    wanted: dict[tuple[int, int], set[str]] = defaultdict(set)
    right = {
        (node.line, node.column)
        for outcome in outcomes
        if not outcome.mismatches
        for part in outcome.test.expect.values()
        for node in _nodes(part)
    }
    found: dict[tuple[int, int], list[Mismatch]] = defaultdict(list)
    left: list[Mismatch] = []
    for outcome in outcomes:
        for mismatch in outcome.mismatches:
            node = mismatch.node
            if node is None or mismatch.replacement is None:
                left.append(mismatch)
                continue
            place = (node.line, node.column)
            wanted[place].add(mismatch.replacement)
            found[place].append(mismatch)
    edits: dict[tuple[int, int], tuple[int, str]] = {}
    for place, texts in wanted.items():
        node = found[place][0].node
        length = None if node is None else _length(document, node)
        # A value that is given as well, or that another test finds right, cannot change for one cell's sake.
        if length is None or len(texts) > 1 or place in spoken or place in right:
            left += found[place]
        else:
            edits[place] = (length, _written(next(iter(texts)), node))
    return FileUpdate(path, before, _edited(before, edits), len(edits), left)


def _edited(text: str, edits: Mapping[tuple[int, int], tuple[int, str]]) -> str:
    lines = text.splitlines(keepends=True)
    for (line, column), (length, new) in sorted(edits.items(), reverse=True):
        old = lines[line]
        lines[line] = old[:column] + new + old[column + length :]
    return "".join(lines)


def _length(document: Document, node: Node) -> int | None:
    """Return how many characters of its line a scalar takes; None where the text there does not read as it."""
    line = document.lines[node.line] if node.line < len(document.lines) else ""
    found = _SCALAR.match(line, node.column)
    if found is None:
        return None
    text = found[0]
    if isinstance(node.value, str) and not node.quoted and line.startswith(node.value, node.column):
        text = node.value
    try:
        read = read_document("value", f"- {text}\n").root.value
    except RulesetError:
        return None
    same = isinstance(read, list) and len(read) == 1 and read[0].value == node.value
    return len(text) if same else None


def _written(value: str, node: Node | None) -> str:
    """Return a value as YAML: text like the text before it, a number or null as it is."""
    if node is None or not isinstance(node.value, str):
        return value
    if value == "null":
        return value
    try:
        Decimal(value)
    except ArithmeticError:
        return value if _PLAIN_WORD.fullmatch(value) and not node.quoted else json.dumps(value, ensure_ascii=False)
    return value if not node.quoted else json.dumps(value)


def _given(outcome: Outcome) -> Iterator[tuple[int, int]]:
    test = outcome.test
    for node in (*test.given, *test.marks):
        yield from ((n.line, n.column) for n in _nodes(node))


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    below = node.value.values() if isinstance(node.value, dict) else node.value if isinstance(node.value, list) else ()
    for child in below:
        yield from _nodes(child)
