"""How a ruleset is laid out: spacing inside brackets, one form of expressions, no stray blanks; comments stay.

Only what is between the tokens of the file changes, and the expressions; the result is read again and must mean the
same. Line breaks, indentation and columns that were aligned by hand stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from riskpolicy.errors import Finding, Place, RulesetError
from riskpolicy.expressions.format import format_tree
from riskpolicy.expressions.syntax import ExpressionError, parse
from riskpolicy.ruleset.document import Document, Node, Steps, read_document

_OPEN = (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken)
_CLOSE = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)
_BARE_HASH = re.compile(r"(?m)(^|[ \t])#(?=[^\s#!])")
_BLANK_LINES = re.compile(r"\n{3,}")


def format_ruleset(source: str | Path, text: str) -> str:
    """Return a file's text in the one layout; RulesetError for a file that is no YAML."""
    before = read_document(source, text)
    spaced = _spaced(text.removeprefix("\ufeff").replace("\r\n", "\n"))
    after = read_document(source, spaced)
    if after.data() != before.data():
        # Layout that changes the meaning is a fault of ours; the file stays as it is.
        hint = "report it, with the file"
        raise RulesetError(Finding("yaml_syntax", "the file cannot be laid out safely", hint, Place(str(source), 1, 1)))
    return _expressions(after, spaced)


def _spaced(text: str) -> str:
    """Normalise what stands between the tokens of a text."""
    tokens = [t for t in yaml.scan(text, Loader=yaml.SafeLoader) if t.start_mark.index != t.end_mark.index]
    out, at = [], 0
    previous: yaml.Token | None = None
    depth = 0
    for token in tokens:
        start, end = token.start_mark.index, token.end_mark.index
        if start < at:
            continue
        out.append(_gap(text[at:start], previous, token, depth))
        depth += isinstance(token, _OPEN) - isinstance(token, _CLOSE)
        out.append(text[start:end])
        at, previous = end, token
    out.append(_gap(text[at:], previous, None, 0))
    return "".join(out).strip("\n") + "\n"


def _gap(gap: str, before: yaml.Token | None, after: yaml.Token | None, depth: int) -> str:
    """Return the blanks and comments between two tokens as they should be."""
    if "\n" in gap or "#" in gap:
        block = isinstance(before, yaml.ScalarToken) and before.style in ("|", ">")
        lines = [line.rstrip() for line in gap.split("\n")]
        # The indentation of the next token is the last part, and means something.
        lines[-1] = gap.split("\n")[-1]
        whole = _BARE_HASH.sub(r"\1# ", "\n".join(lines))
        return whole if block else _BLANK_LINES.sub("\n\n", whole)
    if depth == 0:
        return gap
    if isinstance(before, _OPEN) or isinstance(after, (*_CLOSE, yaml.FlowEntryToken)):
        return ""
    if isinstance(before, yaml.FlowEntryToken):
        return gap or " "
    return gap


def _expressions(document: Document, text: str) -> str:
    """Write the expressions of a ruleset in their one form, where each stands unquoted on one line."""
    lines = text.split("\n")
    for path in _expression_paths(document):
        node = document.node(path)
        if not isinstance(node.value, str) or node.quoted:
            continue
        line = lines[node.line]
        if not line.startswith(node.value, node.column):
            continue
        try:
            new = format_tree(parse(node.value))
        except ExpressionError:
            continue
        # A form that YAML would read as something else stays as it is.
        if _reads_as(new):
            lines[node.line] = line[: node.column] + new + line[node.column + len(node.value) :]
    return "\n".join(lines)


def _reads_as(text: str) -> bool:
    try:
        read = read_document("expression", f"- {{x: {text}}}\n").root.value
    except RulesetError:
        return False
    value = read[0].value if isinstance(read, list) else None
    return isinstance(value, dict) and value["x"].value == text


def _expression_paths(document: Document) -> Iterator[Steps]:
    """Yield the places of a ruleset's expressions."""
    yield from (path for path in _fixed_paths() if _is_there(document, path))
    for table in range(_length(document, ("margin", "tiers"))):
        yield from _if_there(document, ("margin", "tiers", table, "maintenance"))
    for step in range(_length(document, ("liquidation", "steps"))):
        yield from _if_there(document, ("liquidation", "steps", step, "when"))
    let = document.node(("deleveraging", "let"))
    if isinstance(let.value, dict) and _is_there(document, ("deleveraging", "let")):
        yield from (("deleveraging", "let", name) for name in let.value)


def _fixed_paths() -> tuple[Steps, ...]:
    return (
        ("margin", "initial"),
        ("liquidation", "trigger"),
        ("liquidation", "restricted"),
        ("deleveraging", "score"),
    )


def _if_there(document: Document, path: Steps) -> Iterator[Steps]:
    if _is_there(document, path):
        yield path


def _is_there(document: Document, path: Steps) -> bool:
    node: Node | None = document.root
    for step in path:
        value = node.value if node is not None else None
        if isinstance(value, dict) and isinstance(step, str):
            node = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            node = value[step]
        else:
            return False
    return node is not None


def _length(document: Document, path: Steps) -> int:
    node = document.node(path)
    return len(node.value) if isinstance(node.value, list) and _is_there(document, path) else 0
