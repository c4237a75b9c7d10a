"""What a careful reader remarks about a sound ruleset: parts that nothing uses, sources left out, choices of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from riskpolicy.errors import Finding
from riskpolicy.policy import Policy
from riskpolicy.ruleset.document import Steps
from riskpolicy.ruleset.tiers import read_tiers
from riskpolicy.ruleset.written import NOT_STATED

#: How grave a finding is: an error makes the ruleset unusable, a warning fails a strict check, a note never does.
ERROR, WARNING, NOTE = "error", "warning", "note"


@dataclass(frozen=True, slots=True)
class Remark:
    """A finding with its level."""

    finding: Finding
    level: str


def lint(policy: Policy) -> list[Remark]:
    """Return every remark about a ruleset, in the order of its lines."""
    linter = _Linter(policy)
    checks: tuple[Callable[[], Iterator[Remark]], ...] = (
        linter.sources, linter.tables, linter.tiers, linter.funds, linter.currencies, linter.silences, linter.tests,
    )  # fmt: skip
    found = [remark for check in checks for remark in check()]
    return sorted(found, key=lambda r: (r.finding.place.line, r.finding.place.column) if r.finding.place else (0, 0))


class _Linter:
    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.ruleset = policy.ruleset
        self.document = policy.loaded.document

    def sources(self) -> Iterator[Remark]:
        if not self.ruleset.sources:
            hint = "add `sources:`, such as `{margin: support page, read 2026-09}`"
            yield self.warning("missing_source", "the ruleset does not say where its rules were read", hint, ("id",))

    def tables(self) -> Iterator[Remark]:
        named = {group.tiers for group in self.ruleset.instruments}
        for i, table in enumerate(self.ruleset.margin.tiers):
            if table.id not in named:
                path = ("margin", "tiers", i, "id")
                hint = "name it in an instrument's `tiers`, or take it out"
                yield self.warning("unused_tier_table", f"no instrument uses tier table `{table.id}`", hint, path)

    def tiers(self) -> Iterator[Remark]:
        for i, table in enumerate(self.ruleset.margin.tiers):
            rows, _ = read_tiers(table, i, self.document)
            # Rows that `then` makes are more than the written ones, and differ by what it says.
            for number in range(1, min(len(rows), len(table.rows))):
                if not self._differs(i, number):
                    path = ("margin", "tiers", i, "rows", number)
                    message = f"tier table `{table.id}`: tier {number + 1} does what the one before it does"
                    yield self.warning("idle_tier", message, "join the two, or correct one", path)

    def _differs(self, table: int, number: int) -> bool:
        """Return whether two neighbouring rows differ in anything but where they begin and end."""
        written = self.ruleset.margin.tiers[table]
        kept = [c for c, name in enumerate(written.columns) if name not in ("from", "up_to", "deduction")]
        before, here = written.rows[number - 1], written.rows[number]
        return not kept or any(_cell(before[c]) != _cell(here[c]) for c in kept)

    def funds(self) -> Iterator[Remark]:
        drawn = {layer.pays for layer in self.ruleset.waterfall}
        steps = self.ruleset.liquidation.steps
        named = {getattr(step, key, None) for step in steps for key in ("by", "fee_to")}
        named |= {group.fund for group in self.ruleset.instruments}
        for i, fund in enumerate(self.ruleset.funds):
            if fund.id in drawn:
                continue
            path = ("funds", i, "id")
            if fund.id in named:
                hint = f"add a layer that pays `{fund.id}`, or say in `notes` why none does"
                yield self.warning("undrawn_fund", f"no layer of the waterfall draws on fund `{fund.id}`", hint, path)
            else:
                yield self.warning("unused_fund", f"nothing names fund `{fund.id}`", "use it, or take it out", path)

    def currencies(self) -> Iterator[Remark]:
        used = {group.settle for group in self.ruleset.instruments} | {fund.currency for fund in self.ruleset.funds}
        collateral = self.document.node(("collateral",))
        for name in self.ruleset.currencies:
            # A ruleset with collateral may hold currencies in which nothing settles.
            if name not in used and collateral is self.document.root:
                message = f"nothing settles in `{name}`, and no fund is kept in it"
                yield self.warning("unused_currency", message, "use it, or take it out", ("currencies", name))

    def silences(self) -> Iterator[Remark]:
        for rule in self.policy.plan.not_stated:
            path = tuple(rule.split("."))
            node = self.document.node(path)
            if isinstance(node.value, dict) and NOT_STATED in node.value:
                message = f"the venue does not state `{rule}`; the ruleset's own choice applies"
                yield self.remark(NOTE, "choice_not_stated", message, "", path)
            else:
                message = f"the venue does not state `{rule}`; the documented default applies"
                hint = "write `{not_stated: ...}` to have the choice in the file"
                yield self.remark(NOTE, "default_not_stated", message, hint, path)

    def tests(self) -> Iterator[Remark]:
        file = Path(self.document.file)
        beside = file.with_name(f"{file.stem}.test.yaml")
        if file.is_file() and not beside.exists():
            hint = f"`riskpolicy scaffold-tests {file.name} > {beside.name}` writes a first draft"
            yield self.remark(
                NOTE, "no_tests", f"no rule tests `{beside.name}` stand beside the ruleset", hint, ("id",)
            )

    def warning(self, code: str, message: str, hint: str, path: Steps) -> Remark:
        return self.remark(WARNING, code, message, hint, path)

    def remark(self, level: str, code: str, message: str, hint: str, path: Steps) -> Remark:
        return Remark(Finding(code, message, hint, self.document.value_place(path)), level)


def _cell(cell: Decimal | str) -> object:
    return cell if isinstance(cell, Decimal) else str(cell)
