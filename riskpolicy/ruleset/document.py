"""A YAML file as plain data in which every key and value keeps its line and column.

The file is read as a stream of parser events, without recursion and under limits, so that no input
takes more than bounded time and memory. Scalars follow the YAML 1.2 core rules (`on` is text, `1:30` is text);
numbers become Decimal, never float.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import NoReturn, Protocol, TypeAlias

import yaml

from riskpolicy.errors import Finding, Place, RulesetError
from riskpolicy.numbers import MAX_NUMBER_LENGTH, NumberError, parse_decimal

MAX_BYTES = 8 * 1024 * 1024
MAX_NODES = 500_000
MAX_DEPTH = 40


#: The C parser's marks and the Python parser's have these in common.
class Mark(Protocol):
    """A place in a YAML text; line and column count from 0."""

    line: int
    column: int


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_RADIX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_WORDS: dict[str, bool | Decimal | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), Decimal("Infinity")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), Decimal("-Infinity")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), Decimal("NaN")),
}

Scalar: TypeAlias = str | bool | int | Decimal | None
Data: TypeAlias = "Scalar | list[Data] | dict[str, Data]"
Steps: TypeAlias = tuple[str | int, ...]


@dataclass(slots=True)
class Node:
    """A scalar, list or mapping with its place; `size` counts the nodes below it, aliases expanded."""

    value: Scalar | list[Node] | dict[str, Node]
    line: int
    column: int
    quoted: bool = False
    size: int = 1
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Document:
    """The root node of one file, and the file's lines for messages."""

    file: str
    lines: tuple[str, ...]
    root: Node

    def data(self) -> Data:
        """Return the document as plain data."""
        return _plain(self.root)

    def place(self, line: int, column: int) -> Place:
        """Return a place in this file; line and column count from 0."""
        text = self.lines[line] if line < len(self.lines) else ""
        return Place(self.file, line + 1, column + 1, text)

    def node(self, path: Steps) -> Node:
        """Return the node at `path`, or the deepest one on the way to it."""
        node = self.root
        for step in path:
            below = child(node, step)
            if below is None:
                break
            node = below
        return node

    def value_place(self, path: Steps) -> Place:
        """Return where the value at `path` stands; for a path that is absent, its nearest parent."""
        node = self.node(path)
        return self.place(node.line, node.column)

    def key_place(self, path: Steps) -> Place:
        """Return where the key at the end of `path` stands; for a list item, the item."""
        parent, last = self.node(path[:-1]), path[-1]
        if isinstance(last, str) and last in parent.keys:
            return self.place(*parent.keys[last])
        return self.value_place(path)

    def text_place(self, path: Steps, offset: int) -> Place:
        """Return the place of character `offset` of the text at `path` (its start, if it spans lines)."""
        node = self.node(path)
        start = node.column + node.quoted
        line = self.lines[node.line] if node.line < len(self.lines) else ""
        if isinstance(node.value, str) and line[start:].startswith(node.value):
            return self.place(node.line, start + offset)
        return self.place(node.line, node.column)


def read_document(source: str | Path, text: str | None = None) -> Document:
    """Read a YAML file, or `text` under the name `source`; RulesetError with every fault found."""
    file = str(source)
    if text is None:
        text = _read_text(Path(source))
    if len(text) > MAX_BYTES:
        message = f"{len(text):,} characters; a ruleset may have at most {MAX_BYTES:,}"
        raise RulesetError(Finding("file_too_large", message, place=Place(file, 1, 1)))
    return _Builder(file, text).build()


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            message = f"the file is larger than {MAX_BYTES:,} bytes"
            hint = "split it, or check that it is a ruleset"
            raise RulesetError(Finding("file_too_large", message, hint, Place(str(path), 1, 1)))
        return raw.decode("utf-8-sig")
    except OSError as error:
        message = f"cannot read `{path}`: {error.strerror or error}"
        raise RulesetError(Finding("file_unreadable", message, "check the path")) from None
    except UnicodeDecodeError as error:
        message = f"`{path}` is not UTF-8 text (byte {error.start})"
        raise RulesetError(Finding("file_unreadable", message, "save it as UTF-8")) from None


def child(node: Node, step: str | int) -> Node | None:
    """Return the node one step below, None where there is none."""
    if isinstance(node.value, dict) and isinstance(step, str):
        return node.value.get(step)
    if isinstance(node.value, list) and isinstance(step, int) and 0 <= step < len(node.value):
        return node.value[step]
    return None


def _plain(node: Node) -> Data:
    if isinstance(node.value, dict):
        return {key: _plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [_plain(child) for child in node.value]
    return node.value


def _start(event: yaml.Event) -> Mark:
    assert event.start_mark is not None, "the parser marks every event"
    return event.start_mark


@dataclass(slots=True)
class _Open:
    """A list or mapping that is still being read."""

    node: Node
    anchor: str | None
    key: str | None = None
    key_at: tuple[int, int] = (0, 0)


class _Builder:
    """Turns parser events into nodes, collecting what is wrong on the way."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self.lines = tuple(text.splitlines())
        self.findings: list[Finding] = []
        self.anchors: dict[str, Node | None] = {}
        self.open: list[_Open] = []
        self.root: Node | None = None

    def build(self) -> Document:
        try:
            self._read()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            what = error.problem or error.context or "cannot be parsed"
            self._fault("yaml_syntax", what, mark, "check quotes, brackets and indentation near here")
        except yaml.YAMLError as error:
            message = str(error).split("\n", 1)[0]
            self.findings.append(Finding("yaml_syntax", message, place=Place(self.file, 1, 1)))
        if self.findings:
            raise RulesetError(self.findings)
        if self.root is None:
            hint = "a ruleset begins with `riskpolicy: 1`"
            raise RulesetError(Finding("yaml_syntax", "the file is empty", hint, Place(self.file, 1, 1)))
        return Document(self.file, self.lines, self.root)

    def _read(self) -> None:
        documents = 0
        for event in self._events():
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._refuse("yaml_documents", "a second document starts here", event)
            elif isinstance(event, yaml.ScalarEvent):
                self._scalar(event)
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event)
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                self._start(event)
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                done = self.open.pop()
                if done.anchor:
                    self.anchors[done.anchor] = done.node
                self._place(done.node, None, event)

    def _events(self) -> Iterator[yaml.Event]:
        loader = _LOADER(self.text)
        try:
            while loader.check_event():
                yield loader.get_event()
        finally:
            loader.dispose()

    def _start(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        if len(self.open) >= MAX_DEPTH:
            self._refuse("yaml_too_deep", f"nested more than {MAX_DEPTH} deep", event)
        if event.tag and event.tag not in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq", "!"):
            self._fault("yaml_tag", f"tag `{event.tag}` is not allowed", _start(event), "remove it")
        empty: list[Node] | dict[str, Node] = {} if isinstance(event, yaml.MappingStartEvent) else []
        if event.anchor:
            self.anchors[event.anchor] = None
        mark = _start(event)
        self.open.append(_Open(Node(empty, mark.line, mark.column), event.anchor))

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        mark = _start(event)
        value: Scalar = event.value
        if event.tag and event.tag not in ("tag:yaml.org,2002:str", "!"):
            self._fault("yaml_tag", f"tag `{event.tag}` is not allowed", mark, "remove it")
        elif event.implicit[0] and not event.tag:
            value = self._resolve(event.value, mark)
        node = Node(value, mark.line, mark.column, quoted=event.style in ("'", '"'))
        if event.anchor:
            self.anchors[event.anchor] = node
        self._place(node, event.value, event)

    def _alias(self, event: yaml.AliasEvent) -> None:
        if event.anchor not in self.anchors:
            self._refuse("yaml_syntax", f"alias `*{event.anchor}` has no anchor before it", event)
        node = self.anchors[event.anchor]
        if node is None:
            self._refuse("yaml_alias_loop", f"alias `*{event.anchor}` stands inside its own anchor", event)
        self._place(node, node.value if isinstance(node.value, str) else None, event)

    def _place(self, node: Node, key: str | None, event: yaml.Event) -> None:
        """Put a finished node where it belongs: as the root, a list item, a key or a value."""
        if not self.open:
            self.root = node
            return
        top = self.open[-1]
        if isinstance(top.node.value, list):
            top.node.value.append(node)
            self._grow(top.node, node, event)
        elif top.key is None:
            self._key(top, node, key)
        else:
            if isinstance(top.node.value, dict) and top.key not in top.node.value:
                top.node.value[top.key] = node
                top.node.keys[top.key] = top.key_at
            top.key = None
            self._grow(top.node, node, event)

    def _key(self, top: _Open, node: Node, key: str | None) -> None:
        place = self._at(node.line, node.column)
        if key is None:
            self.findings.append(Finding("yaml_syntax", "a key must be text", "use a plain word", place))
            key = ""
        elif isinstance(top.node.value, dict) and key in top.node.value:
            first = top.node.keys[key][0] + 1
            message = f"key `{key}` stands here again; it was first given in line {first}"
            self.findings.append(Finding("duplicate_key", message, "keep one of the two", place))
        top.key, top.key_at = key, (node.line, node.column)

    def _grow(self, parent: Node, child: Node, event: yaml.Event) -> None:
        parent.size += child.size
        if parent.size > MAX_NODES:
            message = f"more than {MAX_NODES:,} nodes, aliases expanded"
            self._refuse("yaml_too_many_nodes", message, event)

    def _resolve(self, text: str, mark: Mark) -> Scalar:
        if text in _WORDS:
            return _WORDS[text]
        if _RADIX.fullmatch(text) and len(text) <= MAX_NUMBER_LENGTH:
            return int(text, 0)
        if not _NUMBER.fullmatch(text):
            return text
        try:
            return parse_decimal(text)
        except NumberError as error:
            self._fault("number_out_of_range", str(error), mark, "write a shorter number")
            return None

    def _at(self, line: int, column: int) -> Place:
        text = self.lines[line] if line < len(self.lines) else ""
        return Place(self.file, line + 1, column + 1, text)

    def _fault(self, code: str, message: str, mark: Mark | None, hint: str = "") -> None:
        place = self._at(mark.line, mark.column) if mark else Place(self.file, 1, 1)
        self.findings.append(Finding(code, message, hint, place))

    def _refuse(self, code: str, message: str, event: yaml.Event) -> NoReturn:
        """Report a fault after which reading on makes no sense."""
        self._fault(code, message, _start(event))
        raise RulesetError(self.findings)
