"""The written form of rule tests: a file read into tests, each with its places and the faults of its form.

A file is a list of tests, or a mapping of what its tests share with the list under `tests`. A test with `cases` becomes
one test a case: `$name` (or `${name}` inside a text, `$$` for a dollar sign) stands for the case's value, and keeps
the place at which that value is written.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias

from riskpolicy.errors import Finding, Place, RulesetError, one_of, suggestion
from riskpolicy.numbers import NumberError, decimal_text, parse_rate
from riskpolicy.ruleset.catalog import is_path
from riskpolicy.ruleset.document import Document, Node, read_document

SUFFIX = ".test.yaml"
FILE_KEYS = ("ruleset", "snapshot", "given", "marks", "tolerance", "exact", "tests")
TEST_KEYS = ("test", "ruleset", "snapshot", "given", "marks", "cases", "tolerance", "exact", "expect")
TABLES = ("positions", "buckets", "accounts", "draws")
EXPECT_KEYS = (*TABLES, "order", "verdicts", "resolution", "reasons", "not_stated", "error")
_PLACEHOLDER = re.compile(r"\$\$|\$\{(\w+)\}|\$([A-Za-z_]\w*)")

Nodes: TypeAlias = Mapping[str, Node]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a number may be from the expected one; `relative` is a part of the expected number's size."""

    size: Decimal
    relative: bool = False

    def admits(self, distance: Decimal, expected: Decimal) -> bool:
        """Return whether a distance is within the tolerance."""
        return distance <= (self.size * abs(expected) if self.relative else self.size)


@dataclass(frozen=True)
class RuleTest:
    """One test of one ruleset. `name` is the title with the case; `faults` are what is wrong with its form.

    `ruleset` names one as everywhere, a path being complete; `given` and `marks` are what the file and the test say,
    the test's last. `tolerances` has the general one under the empty name.
    """

    name: str
    document: Document
    node: Node
    ruleset: str
    snapshot: Path | None = None
    given: tuple[Node, ...] = ()
    marks: tuple[Node, ...] = ()
    expect: Nodes = field(default_factory=dict)
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)
    exact: bool = False
    faults: tuple[Finding, ...] = ()

    @property
    def file(self) -> str:
        """The file as it was named."""
        return self.document.file

    @property
    def id(self) -> str:
        """The file and the name, as a node id."""
        return f"{self.file}::{self.name}"

    @property
    def place(self) -> Place:
        """Where the test begins."""
        return self.document.place(self.node.line, self.node.column)


@dataclass(frozen=True)
class TestFile:
    """The tests of one file, or the faults for which it has none."""

    __test__ = False

    path: Path
    tests: tuple[RuleTest, ...] = ()
    faults: tuple[Finding, ...] = ()


def find_files(path: Path) -> list[Path]:
    """Return a test file itself, or the test files in a folder and below, in the order of their names."""
    if not path.is_dir():
        return [path]
    found = (
        p for p in path.rglob(f"*{SUFFIX}") if not any(part.startswith(".") for part in p.parts[len(path.parts) :])
    )
    return sorted(found)


def read_tests(path: Path, text: str | None = None) -> TestFile:
    """Read a file of rule tests, or `text` under its name; a file that is no YAML has faults and no tests."""
    try:
        document = read_document(str(path), text)
    except RulesetError as error:
        return TestFile(path, (), tuple(map(_of_tests, error.findings)))
    return _FileReader(path, document).read()


def _of_tests(finding: Finding) -> Finding:
    """Return a finding of the reader of documents with what to do in a file of tests."""
    if finding.message != "the file is empty":
        return finding
    return Finding("no_tests", finding.message, "begin with `- test: what it shows`", finding.place)


def parse_tolerance(node: Node) -> Tolerance | None:
    """Return the tolerance that a node writes: a number, or a percentage of the expected one; None for neither."""
    value = node.value
    if isinstance(value, str) and value.endswith("%"):
        try:
            value = parse_rate(value)
        except NumberError:
            return None
        return Tolerance(value, relative=True) if value >= 0 else None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    return Tolerance(Decimal(value)) if Decimal(value).is_finite() and value >= 0 else None


class _FileReader:
    def __init__(self, path: Path, document: Document) -> None:
        self.path = path
        self.document = document
        self.faults: list[Finding] = []

    def read(self) -> TestFile:
        shared, listed = self._shape()
        if self.faults or listed is None:
            return TestFile(self.path, (), tuple(self.faults))
        tests = [test for node in listed for test in _TestReader(self, shared, node).read()]
        seen = Counter(test.name for test in tests)
        again = {name for name, count in seen.items() if count > 1}
        if not again:
            return TestFile(self.path, tuple(tests))
        return TestFile(self.path, tuple(self._numbered(tests, again)))

    def _numbered(self, tests: list[RuleTest], again: set[str]) -> Iterator[RuleTest]:
        """Give tests of the same name names of their own, and a fault to all but the first."""
        seen: Counter[str] = Counter()
        for test in tests:
            seen[test.name] += 1
            number = seen[test.name]
            if test.name not in again or number == 1:
                yield test
                continue
            fault = self.fault("duplicate_id", f"a second test is called `{test.name}`", "rename one", test.node)
            yield RuleTest(
                f"{test.name} ({number})", test.document, test.node, test.ruleset, faults=(*test.faults, fault)
            )

    def _shape(self) -> tuple[Nodes, list[Node] | None]:
        root = self.document.root
        if isinstance(root.value, list):
            shared: Nodes = {}
            listed = root
        elif isinstance(root.value, dict) and "tests" in root.value:
            shared = root.value
            listed = root.value["tests"]
            self.faults += self.unknown_keys(root, FILE_KEYS, "a file of rule tests")
        else:
            hint = "begin with `- test: what it shows`, or put the list under `tests:`"
            self.faults.append(self.fault("invalid_value", "a file of rule tests is a list of tests", hint, root))
            return {}, None
        if not isinstance(listed.value, list) or not listed.value:
            self.faults.append(self.fault("no_tests", "the list of tests is empty", "write a test", listed))
            return {}, None
        return shared, listed.value

    def unknown_keys(self, node: Node, known: tuple[str, ...], what: str) -> list[Finding]:
        """Return a finding for each key of a mapping that is not known."""
        found = []
        for key in node.value if isinstance(node.value, dict) else ():
            if key not in known:
                hint = suggestion(key, known) or f"known here: {one_of(known)}"
                place = self.document.place(*node.keys[key])
                found.append(Finding("unknown_key", f"{what} has no key `{key}`", hint, place))
        return found

    def fault(self, code: str, message: str, hint: str, node: Node) -> Finding:
        """Return a finding at a node."""
        return Finding(code, message, hint, self.document.place(node.line, node.column))

    def ruleset(self, node: Node | None) -> tuple[str, list[Finding]]:
        """Return the ruleset that a file or a test names, else the one beside the file, and what is wrong with it."""
        if node is None:
            beside = self.path.with_name(self.path.name.removesuffix(SUFFIX) + ".yaml")
            if self.path.name.endswith(SUFFIX) and beside.is_file():
                return str(beside), []
            hint = "name one with `ruleset:` above `tests:`"
            message = f"no ruleset `{beside.name}` stands beside the file, and none is named"
            return str(beside), [self.fault("unknown_ruleset", message, hint, self.document.root)]
        if not isinstance(node.value, str) or not node.value:
            hint = "write NAME, NAME@INSTANT or a path"
            return "", [self.fault("invalid_value", "`ruleset` is the name of a ruleset", hint, node)]
        if not is_path(node.value):
            return node.value, []
        found = self.path.parent / node.value
        if found.name.endswith(SUFFIX):
            what = "itself" if found.resolve() == self.path.resolve() else "another file of tests"
            hint = "name the ruleset, which ends in `.yaml`"
            return str(found), [self.fault("circular_reference", f"the tests name {what} as ruleset", hint, node)]
        return str(found), []


class _TestReader:
    def __init__(self, file: _FileReader, shared: Nodes, node: Node) -> None:
        self.file = file
        self.shared = shared
        self.node = node
        self.faults: list[Finding] = []

    def read(self) -> Iterator[RuleTest]:
        if not isinstance(self.node.value, dict):
            self._fault("invalid_value", "a test is a mapping", "begin with `test: what it shows`", self.node)
            yield self._test(f"line {self.node.line + 1}", self.node)
            return
        self.faults += self.file.unknown_keys(self.node, TEST_KEYS, "a test")
        title = self._title(self.node.value)
        cases = self.node.value.get("cases")
        if cases is None:
            yield self._test(title, self.node)
            return
        listed = cases.value if isinstance(cases.value, list) else []
        if not listed or not all(isinstance(case.value, dict) and case.value for case in listed):
            self._fault("invalid_value", "`cases` is a list of mappings", "such as `- {balance: 200}`", cases)
            yield self._test(title, self.node)
            return
        common = self.faults
        for case in listed:
            self.faults = list(common)
            yield self._case(title, case)

    def _title(self, test: Nodes) -> str:
        title = test.get("test")
        if title is None or not isinstance(title.value, str) or not title.value.strip():
            where = title or self.node
            self._fault("missing_key", "a test says what it shows", "begin with `test: what it shows`", where)
            return f"line {self.node.line + 1}"
        return title.value.strip()

    def _case(self, title: str, case: Node) -> RuleTest:
        values: Nodes = {k: v for k, v in _mapping(case).items() if k != "case"}
        filler = _Filler(values)
        body = {k: v for k, v in _mapping(self.node).items() if k != "cases"}
        filled = {key: filler.fill(node) for key, node in body.items()}
        node = Node(filled, self.node.line, self.node.column, keys=self.node.keys)
        for missing in filler.missing:
            hint = suggestion(str(missing.value).strip("${}"), values) or f"the case gives {one_of(values)}"
            self._fault("unknown_placeholder", f"no case value for `{missing.value}`", hint, missing)
        for name in values:
            if name not in filler.used:
                place = self.file.document.place(*case.keys[name])
                message = f"the case gives `{name}`, and the test uses no `${name}`"
                self.faults.append(Finding("unused_value", message, f"write `${name}` where it belongs", place))
        named = _mapping(case).get("case")
        label = _label(named) if named else "-".join(_label(v) for v in values.values())
        whole = self._title(filled)
        name = whole if whole != title else f"{title}[{label}]"
        return self._test(name, Node(filled, case.line, case.column, keys=node.keys))

    def _test(self, name: str, node: Node) -> RuleTest:
        own = _mapping(node)
        file = self.file
        ruleset, wrong = file.ruleset(own.get("ruleset", self.shared.get("ruleset")))
        self.faults += wrong
        given = self._layers("given", own)
        marks = self._layers("marks", own)
        # Keywords are evaluated in order: the faults come last, when everything has been read.
        return RuleTest(
            name=name,
            document=file.document,
            node=node,
            ruleset=ruleset,
            snapshot=self._snapshot(own),
            given=given,
            marks=marks,
            expect=self._expect(own),
            tolerances=self._tolerances(own),
            exact=self._exact(own),
            faults=tuple(self.faults),
        )

    def _layers(self, key: str, own: Nodes) -> tuple[Node, ...]:
        found = [source[key] for source in (self.shared, own) if key in source]
        for node in found:
            if not isinstance(node.value, dict):
                hint = "such as `{BTC: 50000}`" if key == "marks" else "such as `markets: [...]`"
                self._fault("invalid_value", f"`{key}` is a mapping", hint, node)
        return tuple(node for node in found if isinstance(node.value, dict))

    def _snapshot(self, own: Nodes) -> Path | None:
        node = own.get("snapshot", self.shared.get("snapshot"))
        if node is None:
            return None
        if not isinstance(node.value, str) or not node.value:
            self._fault("invalid_value", "`snapshot` is the path of a file", "write a path from this file", node)
            return None
        return self.file.path.parent / node.value

    def _expect(self, own: Nodes) -> Nodes:
        node = own.get("expect")
        if node is None or not node.value:
            if isinstance(self.node.value, dict):
                hint = f"add `expect:` with {one_of(EXPECT_KEYS)}"
                self._fault("asserts_nothing", "the test expects nothing", hint, node or self.node)
            return {}
        if not isinstance(node.value, dict):
            self._fault("invalid_value", "`expect` is a mapping", f"with {one_of(EXPECT_KEYS)}", node)
            return {}
        self.faults += self.file.unknown_keys(node, EXPECT_KEYS, "`expect`")
        known = {key: below for key, below in node.value.items() if key in EXPECT_KEYS}
        for key, below in known.items():
            self._expected(key, below)
        if "error" in known and len(known) > 1:
            hint = "make it two tests"
            self._fault("invalid_value", "a test that expects an error can expect nothing else", hint, known["error"])
        return known

    def _expected(self, key: str, node: Node) -> None:
        due = dict if key in ("error", "reasons", "resolution") else list
        in_rows = key in (*TABLES, "verdicts")
        word = "a mapping" if due is dict else "a list of rows" if in_rows else "a list"
        # An empty order and an empty list of choices say something: nobody is liquidated, nothing is left open.
        if not isinstance(node.value, due):
            self._fault("invalid_value", f"`{key}` is {word}", "see the page on rule tests", node)
        elif not node.value and key not in ("order", "not_stated"):
            self._fault("asserts_nothing", f"`{key}` is empty, which asserts nothing", "write what is expected", node)
        for row in node.value if in_rows and isinstance(node.value, list) else ():
            if not isinstance(row.value, dict):
                self._fault("invalid_value", f"a row of `{key}` is a mapping", "such as `{account: A, ...}`", row)

    def _tolerances(self, own: Nodes) -> dict[str, Tolerance]:
        found: dict[str, Tolerance] = {}
        for source in (self.shared, own):
            node = source.get("tolerance")
            if node is None:
                continue
            below = node.value if isinstance(node.value, dict) else {"": node}
            for name, value in below.items():
                tolerance = parse_tolerance(value)
                if tolerance is None:
                    hint = "write a number that is not below zero, or a percentage of the expected one"
                    self._fault("invalid_value", "that is no tolerance", hint, value)
                else:
                    found[name] = tolerance
        return found

    def _exact(self, own: Nodes) -> bool:
        node = own.get("exact", self.shared.get("exact"))
        if node is not None and not isinstance(node.value, bool):
            self._fault("invalid_value", "`exact` is true or false", "write `exact: true`", node)
        return node is not None and node.value is True

    def _fault(self, code: str, message: str, hint: str, node: Node) -> None:
        self.faults.append(self.file.fault(code, message, hint, node))


class _Filler:
    """Puts a case's values where a test says `$name`, noting the names used and those that are missing."""

    def __init__(self, values: Nodes) -> None:
        self.values = values
        self.used: set[str] = set()
        self.missing: list[Node] = []

    def fill(self, node: Node) -> Node:
        """Return a node with its placeholders filled; the same node where it has none."""
        if isinstance(node.value, dict):
            below = {key: self.fill(child) for key, child in node.value.items()}
            return Node(below, node.line, node.column, node.quoted, node.size, node.keys)
        if isinstance(node.value, list):
            return Node([self.fill(child) for child in node.value], node.line, node.column, node.quoted, node.size)
        if not isinstance(node.value, str) or "$" not in node.value:
            return node
        return self._text(node, node.value)

    def _text(self, node: Node, text: str) -> Node:
        whole = _PLACEHOLDER.fullmatch(text)
        if whole and text != "$$":
            return self._value(whole) or self._lacks(node)
        lacking = False

        def put(found: re.Match[str]) -> str:
            nonlocal lacking
            if found[0] == "$$":
                return "$"
            value = self._value(found)
            lacking = lacking or value is None
            return "" if value is None else _label(value)

        filled = _PLACEHOLDER.sub(put, text)
        return self._lacks(node) if lacking else Node(filled, node.line, node.column, node.quoted)

    def _value(self, found: re.Match[str]) -> Node | None:
        name = found[1] or found[2]
        if name not in self.values:
            return None
        self.used.add(name)
        return self.values[name]

    def _lacks(self, node: Node) -> Node:
        self.missing.append(node)
        return node


def _mapping(node: Node) -> Nodes:
    return node.value if isinstance(node.value, dict) else {}


def _label(node: Node) -> str:
    value = node.value
    if isinstance(value, Decimal) and value.is_finite():
        return decimal_text(value)
    if isinstance(value, list):
        return ",".join(_label(child) for child in value)
    if isinstance(value, dict):
        return ",".join(f"{key}={_label(child)}" for key, child in value.items())
    if isinstance(value, str):
        return value
    return "null" if value is None else str(value).lower()
