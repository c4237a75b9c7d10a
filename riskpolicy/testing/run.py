"""Running rule tests: policies loaded once, each test evaluated and compared, faults kept apart from failures."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from riskpolicy.engines.core.reasons import Reason
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.errors import CODES, Finding, Place, QueryError, RiskPolicyError, one_of, suggestion
from riskpolicy.policy import Policy, load
from riskpolicy.ruleset.catalog import find_version, is_path
from riskpolicy.ruleset.document import Node
from riskpolicy.snapshot.snapshot import Snapshot
from riskpolicy.testing.because import all_statements, because
from riskpolicy.testing.compare import Cell, TableCheck
from riskpolicy.testing.coverage import Coverage
from riskpolicy.testing.form import TABLES, RuleTest
from riskpolicy.testing.given import Given
from riskpolicy.testing.outcome import ERROR, FAILED, PASSED, Mismatch, Outcome
from riskpolicy.testing.resolutions import ResolutionCheck
from riskpolicy.testing.verdicts import VerdictCheck

#: The execution models that a snapshot can describe.
MODELS = ("book", "linear", "power", "sqrt")

_ERROR_KEYS = ("code", "place", "line", "message")


class Runner:
    """Runs rule tests one after the other; rulesets and snapshot files are read once.

    `coverage` is filled while the tests run, where one is given; `plugins`, if given, are all that rulesets may name.
    """

    def __init__(self, coverage: Coverage | None = None, plugins: Collection[str] | None = None) -> None:
        self.coverage = coverage
        self.plugins = plugins
        self._policies: dict[str, Policy | RiskPolicyError] = {}
        self._rules: dict[tuple[str, str], str | None] = {}
        self.snapshots: dict[Path, Mapping[str, Any]] = {}

    def run_all(self, tests: Iterable[RuleTest]) -> Iterator[Outcome]:
        """Yield the outcome of each test."""
        return (self.run(test) for test in tests)

    def run(self, test: RuleTest) -> Outcome:
        """Run one test."""
        start = time.perf_counter()
        if test.faults:
            return Outcome(test, ERROR, 0.0, (), test.faults)
        mismatches, findings = _Run(self, test).outcome()
        status = ERROR if findings else FAILED if mismatches else PASSED
        return Outcome(test, status, time.perf_counter() - start, tuple(mismatches), tuple(findings))

    def policy(self, name: str, at: datetime | None) -> Policy:
        """Return the policy of a name, loaded once; RiskPolicyError each time for one that cannot be loaded."""
        key = name if is_path(name) else str(find_version(name, at).path)
        if key not in self._policies:
            try:
                self._policies[key] = load(name, at, plugins=self.plugins)
            except RiskPolicyError as error:
                self._policies[key] = error
        found = self._policies[key]
        if isinstance(found, RiskPolicyError):
            raise found
        return found

    def rule_place(self, policy: Policy, rule: str) -> str:
        """Return `file.yaml:12` for a rule, an empty text for none of the ruleset's."""
        key = (policy.loaded.document.file, rule)
        if key not in self._rules:
            try:
                place = policy.place(rule)
                self._rules[key] = f"{Path(place.file).name}:{place.line}"
            except QueryError:
                self._rules[key] = None
        return self._rules[key] or ""


class _Run:
    """One run of one test."""

    def __init__(self, runner: Runner, test: RuleTest) -> None:
        self.runner = runner
        self.test = test
        self.mismatches: list[Mismatch] = []
        self.findings: list[Finding] = []

    def outcome(self) -> tuple[list[Mismatch], list[Finding]]:
        wanted = self.test.expect.get("error")
        given: Given | None = None
        try:
            given = Given(self.test, self.runner.snapshots)
            snapshot = Snapshot.of(given.tables)
            policy = self.runner.policy(self.test.ruleset, snapshot.as_of)
            if self.runner.coverage is not None:
                self.runner.coverage.know(policy)
            evaluation = policy.evaluate(snapshot)
            if wanted is None:
                self._expectations(policy, evaluation, given)
            else:
                evaluation.to_dict()
                if given.events:
                    evaluation.resolve(given.execution, given.events)
        except RiskPolicyError as error:
            if wanted is None:
                self.findings += error.findings if given is None else given.located(error)
            else:
                self._raised(wanted, error)
        else:
            if wanted is not None:
                hint = "expect the result instead, or change what is given"
                self._fault("error_not_raised", "the error that the test expects is not raised", hint, wanted)
        return self.mismatches, self.findings

    def _expectations(self, policy: Policy, evaluation: Evaluation, given: Given) -> None:
        expect = self.test.expect
        looked_at: dict[str, list[int]] = {}
        self._tolerated(evaluation)
        for name in TABLES:
            if name in expect:
                looked_at[name] = self._table(policy, evaluation, name, _listed(expect[name]))
        if "order" in expect:
            looked_at["order"] = self._order(policy, evaluation, expect["order"])
        if "verdicts" in expect:
            check = VerdictCheck(evaluation, self._place)
            for node in _listed(expect["verdicts"]):
                check.check(node)
            self.findings += check.findings
            self.mismatches += check.mismatches
        if "resolution" in expect:
            self._resolution(policy, evaluation, given, expect["resolution"])
        if "reasons" in expect:
            self._reasons(policy, evaluation, expect["reasons"])
        if "not_stated" in expect:
            self._not_stated(policy, evaluation, expect["not_stated"])
        if self.runner.coverage is not None:
            self.runner.coverage.add(policy, evaluation, looked_at)

    def _resolution(self, policy: Policy, evaluation: Evaluation, given: Given, node: Node) -> None:
        """Resolve by the execution and the events that are given, and compare."""
        if given.execution not in MODELS:
            hint = suggestion(str(given.execution), MODELS) or f"known: {one_of(MODELS)}"
            self._fault("unknown_choice", f"`{given.execution}` is no execution", hint, node)
            return
        general = self.test.tolerances.get("")
        result = evaluation.resolve(given.execution, given.events)
        if self.runner.coverage is not None:
            self.runner.coverage.know(policy).resolved(result)
        check = ResolutionCheck(result, Decimal(0) if general is None else general.size, self._place)
        check.check(node)
        self.findings += check.findings
        self.mismatches += check.mismatches

    def _tolerated(self, evaluation: Evaluation) -> None:
        """Refuse a tolerance for a column that no table has."""
        columns = dict.fromkeys(c for name in TABLES for c in getattr(evaluation, name).columns)
        for name in self.test.tolerances:
            if name and name not in columns:
                hint = suggestion(name, columns) or f"columns: {one_of(columns, 40)}"
                self.findings.append(Finding("unknown_column", f"no column `{name}`", hint, self.test.place))

    def _table(self, policy: Policy, evaluation: Evaluation, name: str, rows: list[Node]) -> list[int]:
        check = TableCheck(self.test, evaluation, name, lambda rule: bool(self.runner.rule_place(policy, rule)))
        check.check(rows)
        self.findings += check.findings
        for node, message in check.missing:
            self.mismatches.append(Mismatch(self._place(node), message, "row", "one row", "none", node=node))
        for cell in check.cells:
            self.mismatches.append(self._cell(policy, evaluation, cell))
        return check.looked_at

    def _cell(self, policy: Policy, evaluation: Evaluation, cell: Cell) -> Mismatch:
        row = getattr(evaluation, cell.table).row(cell.row)
        reasons = because(evaluation, row, cell.column)
        return Mismatch(
            place=self._place(cell.node),
            where=f"{cell.table} row: {_row_name(cell.table, row)}",
            column=cell.column,
            expected=cell.expected,
            got=cell.got,
            note=cell.note,
            reasons=reasons,
            node=cell.node,
            replacement=cell.replacement,
            places={rule: self.runner.rule_place(policy, rule) for rule in _rules(reasons)},
        )

    def _order(self, policy: Policy, evaluation: Evaluation, node: Node) -> list[int]:
        """Compare the accounts of the liquidated buckets, first to last; return the buckets."""
        rank = evaluation.liquidation.rank
        ranked = sorted((int(r), i) for i, r in enumerate(rank) if r > 0)
        column = evaluation.buckets.columns["account"]
        got = [column.value(i) for _, i in ranked]
        wanted = _listed(node)
        labels = [_id(item.value) for item in wanted]
        known = [column.value(i) for i in range(len(evaluation.buckets))]
        for item, label in zip(wanted, labels, strict=True):
            if label not in known:
                hint = suggestion(str(label), [str(k) for k in known])
                what = f"the result has no account `{label}`" if label is not None else "that is no account"
                self._fault("unknown_id", what, hint, item)
        if self.findings or labels == got:
            return [i for _, i in ranked]
        same = len(labels) == len(got)
        for number, (item, label) in enumerate(zip(wanted, labels, strict=True)):
            if same and label != got[number]:
                row = evaluation.buckets.row(ranked[number][1])
                self._misordered(policy, evaluation, item, number + 1, row)
        if not same:
            listed = ", ".join(str(x) for x in got) or "nobody"
            short = ", ".join(str(x) for x in labels) or "nobody"
            self.mismatches.append(Mismatch(self._place(node), "liquidation order", "order", short, listed, node=node))
        return [i for _, i in ranked]

    def _misordered(
        self, policy: Policy, evaluation: Evaluation, item: Node, number: int, row: Mapping[str, Any]
    ) -> None:
        stated = Reason("the order is stated by", "liquidation.accounts")
        reasons = (*because(evaluation, row, "margin_ratio"), stated)
        keys = ", ".join(f"{k.column} {'desc' if k.descending else 'asc'}" for k in evaluation.plan.order)
        account = row["account"]
        self.mismatches.append(
            Mismatch(
                place=self._place(item),
                where=f"liquidation order, place {number}",
                column="order",
                expected=f"`{item.value}`",
                got=f"`{account}`",
                note=f"the order is {keys}, then the account",
                reasons=reasons,
                node=item,
                replacement=str(account),
                places={rule: self.runner.rule_place(policy, rule) for rule in _rules(reasons)},
            )
        )

    def _reasons(self, policy: Policy, evaluation: Evaluation, node: Node) -> None:
        below = node.value if isinstance(node.value, dict) else {}
        for account, texts in below.items():
            try:
                reasons = policy.explain(evaluation, account)
            except QueryError as error:
                finding = error.findings[0]
                place = self.test.document.place(*node.keys[account])
                self.findings.append(replace(finding, place=place))
                continue
            said = list(all_statements(reasons))
            for text in texts.value if isinstance(texts.value, list) else [texts]:
                self._reason(policy, account, text, said, reasons)

    def _reason(self, policy: Policy, account: str, text: Node, said: list[str], reasons: tuple[Any, ...]) -> None:
        if not isinstance(text.value, str) or not text.value:
            hint = "write a part of a line of `riskpolicy explain`"
            self._fault("wrong_type", "a reason is a text", hint, text)
        elif not any(text.value in line for line in said):
            places = {rule: self.runner.rule_place(policy, rule) for rule in _rules(reasons)}
            self.mismatches.append(
                Mismatch(
                    self._place(text), f"explanation of account {account}", "reasons", f"`{text.value}`",
                    "no line that contains it", reasons=reasons, node=text, places=places,
                )
            )  # fmt: skip

    def _not_stated(self, policy: Policy, evaluation: Evaluation, node: Node) -> None:
        wanted = [item.value for item in _listed(node)]
        got = list(evaluation.not_stated)
        for item in _listed(node):
            if not isinstance(item.value, str) or not self.runner.rule_place(policy, item.value):
                hint = suggestion(str(item.value), got) or f"the venue leaves open {one_of(got)}"
                self._fault("unknown_id", f"the ruleset has no rule `{item.value}`", hint, item)
        if not self.findings and wanted != got:
            expected, found = ", ".join(str(w) for w in wanted) or "nothing", ", ".join(got) or "nothing"
            self.mismatches.append(
                Mismatch(self._place(node), "rules that the venue leaves open", "not_stated", expected, found)
            )

    def _raised(self, wanted: Node, error: RiskPolicyError) -> None:
        """Compare the error that was raised with the expected one: code, and place, line and message where given."""
        keys = wanted.value if isinstance(wanted.value, dict) else {}
        for key in keys:
            if key not in _ERROR_KEYS:
                hint = suggestion(key, _ERROR_KEYS) or f"known here: {one_of(_ERROR_KEYS)}"
                place = self.test.document.place(*wanted.keys[key])
                self.findings.append(Finding("unknown_key", f"`error` has no key `{key}`", hint, place))
        code = keys.get("code")
        if code is None or code.value not in CODES:
            hint = suggestion(str(code.value), CODES) if code else "add `code:`"
            self._fault("unknown_choice", "an expected error has one of our codes", hint, code or wanted)
        if self.findings or any(_fits(finding, keys) for finding in error.findings):
            return
        expected = ", ".join(f"{key} {node.value}" for key, node in keys.items())
        got = "; ".join(f"{f.code}{_line(f.place)}: {f.message}" for f in error.findings[:5])
        self.mismatches.append(Mismatch(self._place(wanted), "expected error", "error", expected, got, node=code))

    def _fault(self, code: str, message: str, hint: str, node: Node) -> None:
        self.findings.append(Finding(code, message, hint, self._place(node)))

    def _place(self, node: Node) -> Place:
        return self.test.document.place(node.line, node.column)


def _fits(finding: Finding, keys: Mapping[str, Node]) -> bool:
    """Return whether a finding is the expected one; `place` is what its place or its message begins with."""
    wanted = {key: node.value for key, node in keys.items()}
    place = finding.place
    if finding.code != wanted["code"]:
        return False
    if "line" in wanted and (place is None or place.line != wanted["line"]):
        return False
    if "message" in wanted and str(wanted["message"]) not in finding.message:
        return False
    if "place" not in wanted:
        return True
    named = str(wanted["place"])
    return finding.message.startswith(named) or (place is not None and str(place).endswith(named))


def _line(place: Place | None) -> str:
    return f" in line {place.line}" if place else ""


def _rules(reasons: Iterable[Any]) -> set[str]:
    return {rule for r in reasons for rule in ({r.rule} if r.rule else set()) | _rules(r.children)}


def _row_name(table: str, row: Mapping[str, Any]) -> str:
    if table == "draws":
        return f"layer {row['layer']}, {row['currency']}"
    if table == "accounts":
        return f"account {row['account']}, {row['currency']}"
    if table == "buckets":
        mode = "cross" if row["instrument"] is None else f"isolated {row['instrument']}"
        return f"account {row['account']}, {row['currency']} {mode}"
    side = "" if row["position_side"] == "net" else f" {row['position_side']}"
    return f"account {row['account']}, {row['instrument']}{side}"


def _listed(node: Node) -> list[Node]:
    return node.value if isinstance(node.value, list) else []


def _id(value: object) -> object:
    """Return an id as results have it: a whole number is an integer, and what is no id is None."""
    if isinstance(value, str | int) and not isinstance(value, bool):
        return value
    whole = isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value()
    return int(value) if whole and isinstance(value, Decimal) else None
