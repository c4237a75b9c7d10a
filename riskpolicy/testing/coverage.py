"""Coverage of rules: which parts of a ruleset decided something that a test looks at.

Only rows that an expectation names count: what is computed beside them is not covered. Decisions are those of exact
arithmetic, so that a value exactly at a boundary counts on the side on which it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

from riskpolicy.engines.core.exact import ExactBucket, exact_bucket_row, exact_position_row
from riskpolicy.engines.core.resolution import Resolution
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.errors import QueryError
from riskpolicy.expressions.format import format_tree
from riskpolicy.expressions.syntax import parse
from riskpolicy.expressions.tree import Compare, Conditional, walk
from riskpolicy.kernel.opcodes import OPCODES
from riskpolicy.kernel.program import Program
from riskpolicy.plan.plan import Rule, Tier
from riskpolicy.policy import Policy
from riskpolicy.testing.compare import purse_buckets
from riskpolicy.vocabulary import STATES

#: A key this much above a cap, as a part of the cap, still shows that the cap stands where it stands.
BEYOND = Fraction(1, 100)
_CONDITIONS = ("lt", "le", "eq", "ne", "not", "and", "or")


@dataclass(slots=True)
class Item:
    """One thing to be covered: `id` is stable, `line` where the ruleset states it, `hits` how often it was."""

    id: str
    kind: str
    what: str
    line: int
    hits: int = 0

    @property
    def covered(self) -> bool:
        """Whether a test looked at it."""
        return self.hits > 0

    def as_dict(self) -> dict[str, str | int | bool]:
        """Return the item as plain data for JSON."""
        return {
            "id": self.id,
            "kind": self.kind,
            "what": self.what,
            "line": self.line,
            "hits": self.hits,
            "covered": self.covered,
        }


@dataclass
class RulesetCoverage:
    """The items of one ruleset, in the order of its lines, and what the tests of it hit."""

    policy: Policy
    items: dict[str, Item] = field(default_factory=dict)

    def __post_init__(self) -> None:
        listed = sorted(_items(self.policy), key=lambda item: item.line)
        self.items = {item.id: item for item in listed}

    @property
    def name(self) -> str:
        """The ruleset as `id@valid-from`."""
        return f"{self.policy.plan.id}@{self.policy.plan.valid_from.date()}"

    @property
    def file(self) -> str:
        """The ruleset's file as it was named."""
        return self.policy.loaded.document.file

    @property
    def covered(self) -> int:
        """How many items were hit."""
        return sum(item.covered for item in self.items.values())

    def hit(self, item: str) -> None:
        """Count a hit; what is no item of this ruleset is left alone."""
        if item in self.items:
            self.items[item].hits += 1

    def resolved(self, result: Resolution) -> None:
        """Count what a resolution did: fees, splits, funding and stakes that were booked, and who was passed over."""
        fees, rules = self.policy.plan.fees, self.policy.plan.deleveraging
        split = {} if fees is None else {part.to: part.id for part in fees.split}
        for entry in result.ledger.entries:
            self.hit(entry.rule)
            if entry.what == "fee" or entry.what.endswith(" fee"):
                self.hit(split.get(entry.account, ""))
        if rules is not None and rules.eligible is not None and any(s.why == "not eligible" for s in result.skipped):
            self.hit("deleveraging.eligible")
        if rules is not None and rules.start is not None:
            on = any(d.rule for d in result.deleveraged)
            off = any(done.what.endswith("is not triggered") for done in result.steps)
            self.hit("deleveraging.trigger.start" if on else "")
            self.hit("deleveraging.trigger.stop" if off else "")


class Coverage:
    """The coverage of every ruleset that tests ran against."""

    def __init__(self) -> None:
        self.rulesets: dict[str, RulesetCoverage] = {}

    def add(self, policy: Policy, evaluation: Evaluation, looked_at: Mapping[str, Sequence[int]]) -> None:
        """Count what one test looked at: rows of the result by table, and buckets under `order`."""
        _Counter(self.know(policy), evaluation).count(looked_at)

    def know(self, policy: Policy) -> RulesetCoverage:
        """Return the coverage of a ruleset, which is nothing as long as no test looks at it."""
        file = policy.loaded.document.file
        if file not in self.rulesets:
            self.rulesets[file] = RulesetCoverage(policy)
        return self.rulesets[file]

    @property
    def covered(self) -> int:
        """How many items were hit, of all rulesets."""
        return sum(ruleset.covered for ruleset in self.rulesets.values())

    @property
    def total(self) -> int:
        """How many items there are, of all rulesets."""
        return sum(len(ruleset.items) for ruleset in self.rulesets.values())

    @property
    def percent(self) -> float:
        """The part that is covered; 100 where there is nothing to cover."""
        return 100.0 * self.covered / self.total if self.total else 100.0

    def below(self, percent: float) -> bool:
        """Return whether less than `percent` is covered; no rounding lets a gap through."""
        return self.covered * 100 < percent * self.total

    def as_dict(self) -> dict[str, object]:
        """Return the coverage as plain data for JSON."""
        return {
            "covered": self.covered,
            "total": self.total,
            "percent": round(self.percent, 2),
            "rulesets": [
                {
                    "ruleset": ruleset.name,
                    "file": ruleset.file,
                    "covered": ruleset.covered,
                    "total": len(ruleset.items),
                    "items": [item.as_dict() for item in ruleset.items.values()],
                }
                for _, ruleset in sorted(self.rulesets.items())
            ],
        }


def _items(policy: Policy) -> Iterator[Item]:
    plan = policy.plan
    yield from _rules(policy)
    yield from _tiers(policy)
    trigger = _line(policy, "liquidation.trigger")
    for state in STATES:
        if state != "restricted" or plan.restricted is not None:
            line = _line(policy, "liquidation.restricted") if state == "restricted" else trigger
            yield Item(f"state.{state}", "state", f"a bucket is {state}", line)
    for mode in sorted(plan.modes):
        yield Item(f"margin.modes.{mode}", "mode", f"a position is {mode}", _line(policy, "margin.modes", "margin"))
    for key in plan.order:
        what = f"`{key.column}` decides between two buckets"
        yield Item(f"liquidation.accounts.{key.column}", "order", what, _line(policy, "liquidation.accounts"))
    for step in plan.steps:
        yield Item(step.id, "step", f"the step is open to a bucket ({step.do})", _line(policy, step.id))
    for layer in plan.layers:
        what = "a bankrupt bucket's own margin is spent" if layer.pays == "defaulter" else "the layer pays"
        yield Item(layer.id, "layer", what, _line(policy, layer.id))
    yield from _money(policy)
    yield from _taking(policy)
    if plan.deleveraging is not None:
        yield Item("deleveraging.score", "rule", "a position is ranked", _line(policy, "deleveraging.score"))
        what = "two positions of one queue have the same score"
        yield Item("deleveraging.ties", "rule", what, _line(policy, "deleveraging.ties", "deleveraging"))


def _money(policy: Policy) -> Iterator[Item]:
    """Yield fees, their split, funding and stakes."""
    plan = policy.plan
    if plan.fees is not None:
        for tier in plan.fees.tiers:
            rule = f"fees.tiers.{tier.id}"
            yield Item(rule, "fee", "a fill pays the fees of the tier", _line(policy, rule, "fees"))
        for part in plan.fees.split:
            yield Item(part.id, "fee", "a part of a fee goes to its receiver", _line(policy, part.id, "fees"))
    if plan.funding is not None:
        yield Item("funding", "funding", "a period is paid by the rules", _line(policy, "funding"))
    for fund in plan.funds:
        if fund.staking is not None:
            rule = f"funds.{fund.id}.staking"
            yield Item(rule, "stake", "a stake goes in or out", _line(policy, rule, f"funds.{fund.id}"))


def _taking(policy: Policy) -> Iterator[Item]:
    """Yield who is left out of deleveraging, and when it is on and off."""
    rules = policy.plan.deleveraging
    if rules is None:
        return
    if rules.eligible is not None:
        rule = "deleveraging.eligible"
        yield Item(rule, "rule", "somebody is not eligible", _line(policy, rule, "deleveraging"))
    for word, what in (("start", "deleveraging is on"), ("stop", "deleveraging is off")):
        if rules.start is not None:
            rule = f"deleveraging.trigger.{word}"
            yield Item(rule, "rule", what, _line(policy, rule, "deleveraging"))


def _rules(policy: Policy) -> Iterator[Item]:
    """Yield margin.initial, and both outcomes of every condition in every rule."""
    yield Item("margin.initial", "rule", "a position's initial margin", _line(policy, "margin.initial"))
    for rule in _programs(policy):
        for text, kind in _conditions(rule.program).items():
            line = _condition_line(policy, rule, text)
            for outcome in ("true", "false"):
                branch = "then" if outcome == "true" else "else"
                what = f"`{text}` is {outcome}" + (f", the {branch} branch" if kind == "branch" else "")
                yield Item(f"{rule.id}: {text}: {outcome}", kind, what, line)


def _programs(policy: Policy) -> list[Rule]:
    plan = policy.plan
    found = [plan.initial, plan.trigger.rule, plan.restricted, *(step.when for step in plan.steps)]
    if plan.deleveraging is not None:
        found.append(plan.deleveraging.score)
    return [rule for rule in found if rule is not None]


def _conditions(program: Program) -> dict[str, str]:
    """Return the conditions of a program as text, each a branch (it chooses between two values) or a condition."""
    found = {}
    for at, (code, _) in enumerate(program.code):
        if OPCODES[code].name in _CONDITIONS:
            found[program.part(at)] = "condition"
    choosing = {text.rpartition(" if ")[2].partition(" else ")[0] for text in _selects(program)}
    return {text: "branch" if text in choosing or f"({text})" in choosing else kind for text, kind in found.items()}


def _selects(program: Program) -> list[str]:
    return [program.part(at) for at, (code, _) in enumerate(program.code) if OPCODES[code].name == "select"]


def _condition_line(policy: Policy, rule: Rule, text: str) -> int:
    """Return the line of a condition: of the `let` name that states it, or of the rule."""
    written = policy.ruleset.deleveraging
    if rule.id == "deleveraging.score" and written is not None:
        for name, source in written.let.items():
            if text in _condition_texts(source):
                return policy.loaded.document.value_place(("deleveraging", "let", name)).line
    return _line(policy, rule.id)


def _condition_texts(source: str) -> set[str]:
    """Return the comparisons of an expression as programs write them: `a > b` is also `b < a`."""
    texts = set()
    for node in walk(parse(source)):
        if isinstance(node, Compare):
            left, right = format_tree(node.left), format_tree(node.right)
            texts |= {f"{left} {node.op} {right}", f"{right} {node.op.replace('>', '<')} {left}"}
        elif isinstance(node, Conditional):
            texts.add(format_tree(node.condition))
    return texts


def _tiers(policy: Policy) -> Iterator[Item]:
    tables = set(policy.plan.instruments.table.tolist())
    for table, tiers in enumerate(counted_tiers(policy)):
        # A table that no instrument names decides nothing, so that no test could cover it; `check --strict` reports it.
        for tier, line in tiers if table in tables else ():
            yield Item(tier.id, "tier", "a position is in the tier", line)
            if tier.cap is not None:
                yield Item(f"{tier.id}: at", "edge", "a key exactly at the cap", line)
                yield Item(f"{tier.id}: beyond", "edge", "a key above the cap by 1% or less", line)


def counted_tiers(policy: Policy) -> list[list[tuple[Tier, int]]]:
    """Return by table the tiers that count, with their lines: those written as rows; of generated ones, three.

    The first, a middle and the last of the generated tiers stand for all, since one line states them.
    """
    found, tiers = [], policy.plan.tiers
    for index, (first, end) in enumerate(pairwise(tiers.start.tolist())):
        of_table = tiers.exact[first:end]
        written = len(policy.ruleset.margin.tiers[index].rows or ())
        made = len(of_table) - written
        kept = [written + i for i in sorted({0, made // 2, made - 1})] if made > 0 else []
        numbers = [*range(min(written, len(of_table))), *kept]
        found.append([(of_table[n], _tier_line(policy, index, n, of_table[n], written)) for n in numbers])
    return found


def _tier_line(policy: Policy, table: int, number: int, tier: Tier, written: int) -> int:
    if number < written:
        return policy.loaded.document.value_place(("margin", "tiers", table, "rows", number)).line
    return _line(policy, tier.id)


def _line(policy: Policy, rule: str, instead: str = "") -> int:
    try:
        return policy.place(rule).line
    except QueryError:
        return policy.place(instead).line if instead else 1


class _Counter:
    """Counts what one test looked at."""

    def __init__(self, coverage: RulesetCoverage, evaluation: Evaluation) -> None:
        self.hit = coverage.hit
        self.evaluation = evaluation
        self.bound = evaluation.bound
        self.plan = evaluation.plan

    def count(self, looked_at: Mapping[str, Sequence[int]]) -> None:
        at_row = self.bound.positions.at_row
        positions = dict.fromkeys(at_row(row) for row in looked_at.get("positions", ()))
        buckets = dict.fromkeys([*looked_at.get("buckets", ()), *looked_at.get("order", ())])
        for row in looked_at.get("accounts", ()):
            buckets.update(dict.fromkeys(purse_buckets(self.evaluation, row)))
        for position in positions:
            self.position(position)
        for bucket in buckets:
            self.bucket(bucket)
        self.order([b for b in buckets if self.evaluation.liquidation.rank[b] > 0])
        self.ties(list(positions))
        self.draws(looked_at.get("draws", ()))

    def position(self, i: int) -> None:
        plan, bound = self.plan, self.bound
        bucket = int(bound.positions.bucket[i])
        exact = ExactBucket(bound, bucket)
        number = exact.members.index(i)
        self.tier(int(self.evaluation.margins.tier[i]), tier_key(exact.positions[number]))
        self.hit("margin.initial")
        isolated = bound.buckets.instrument[bucket] >= 0
        self.hit(f"margin.modes.{'isolated' if isolated else 'cross'}")
        if self.evaluation.positions.columns["position_side"].value(bound.positions.row_of(i)) != "net":
            self.hit("margin.modes.hedge")
        row: Mapping[str, Fraction | float] | None = None
        for rule in (plan.initial, *([plan.deleveraging.score] if plan.deleveraging else [])):
            if _conditions_of(rule.program):
                row = exact_position_row(bound, i) if row is None else row
                self.outcomes(rule, row)
        if plan.deleveraging is not None and self.evaluation.scored.rank[i] > 0:
            self.hit("deleveraging.score")

    def tier(self, number: int, key: Fraction) -> None:
        tiers = self.plan.tiers
        self.hit(tiers.exact[number].id)
        table = int((tiers.start <= number).sum()) - 1
        for tier in tiers.exact[int(tiers.start[table]) : int(tiers.start[table + 1])]:
            if tier.cap is not None and key == tier.cap:
                self.hit(f"{tier.id}: at")
            elif tier.cap is not None and tier.cap < key <= tier.cap * (1 + BEYOND):
                self.hit(f"{tier.id}: beyond")

    def bucket(self, bucket: int) -> None:
        decided, plan = self.evaluation.liquidation, self.plan
        state = int(decided.state[bucket])
        self.hit(f"state.{STATES[state]}")
        row = exact_bucket_row(self.bound, bucket)
        self.outcomes(plan.trigger.rule, row)
        if plan.restricted is not None:
            self.outcomes(plan.restricted, row)
        if decided.triggered[bucket]:
            self.steps(bucket, state)
        if STATES[state] == "bankrupt":
            for layer in plan.layers:
                if layer.pays == "defaulter":
                    self.hit(layer.id)

    def steps(self, bucket: int, state: int) -> None:
        """Count the steps that are open to a liquidated bucket; deleveraging is open to a bankrupt one."""
        for step in self.plan.steps:
            opened = step.do != "deleverage" or STATES[state] == "bankrupt"
            if step.when is not None:
                row = exact_bucket_row(self.bound, bucket, state)
                self.outcomes(step.when, row)
                opened = bool(step.when.program.exact(row))
            if opened:
                self.hit(step.id)

    def outcomes(self, rule: Rule, row: Mapping[str, Fraction | float]) -> None:
        for text, value in rule.program.steps(row):
            if isinstance(value, bool):
                self.hit(f"{rule.id}: {text}: {'true' if value else 'false'}")

    def order(self, buckets: list[int]) -> None:
        """Count the key that decides between each bucket and the next."""
        ranked = sorted(buckets, key=lambda b: int(self.evaluation.liquidation.rank[b]))
        for first, second in pairwise(ranked):
            one, other = (exact_bucket_row(self.bound, b) for b in (first, second))
            deciding = next((k for k in self.plan.order if one[k.column] != other[k.column]), None)
            if deciding is not None:
                self.hit(f"liquidation.accounts.{deciding.column}")

    def ties(self, positions: list[int]) -> None:
        if self.plan.deleveraging is None:
            return
        queue, p = self.evaluation.scored, self.bound.positions
        seen = set()
        for i in positions:
            if queue.rank[i] > 0:
                place = (int(p.instrument[i]), p.side(i), float(queue.score[i]))
                if place in seen:
                    self.hit("deleveraging.ties")
                seen.add(place)

    def draws(self, rows: Sequence[int]) -> None:
        table = self.evaluation.draws
        for row in rows:
            if table.columns["amount"].values[row] > 0:
                self.hit(str(table.columns["rule"].value(row)))


_KNOWN: dict[int, tuple[Program, bool]] = {}


def _conditions_of(program: Program) -> bool:
    """Return whether a program has conditions; remembered, since programs outlive the tests that run them."""
    known = _KNOWN.get(id(program))
    if known is None or known[0] is not program:
        _KNOWN[id(program)] = known = (program, bool(_conditions(program)))
    return known[1]


def tier_key(position: object) -> Fraction:
    """Return what the caps of a position's tier table count."""
    key: Fraction = getattr(position, "key", None) or position.notional  # type: ignore[attr-defined]
    return key
