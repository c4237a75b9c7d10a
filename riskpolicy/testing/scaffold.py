"""A first draft of rule tests: cases at each tier edge and on both sides of each condition, with today's values.

The draft says what the ruleset does, not what it should do: whoever keeps it reviews every number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from riskpolicy.engines.core.exact import ExactBucket
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.errors import RiskPolicyError
from riskpolicy.numbers import decimal_text
from riskpolicy.plan.plan import Tier
from riskpolicy.policy import Policy
from riskpolicy.ruleset.instruments import Instruments
from riskpolicy.testing.compare import KEYS, exact_value
from riskpolicy.testing.coverage import counted_tiers, tier_key
from riskpolicy.testing.form import read_tests
from riskpolicy.testing.given import Given

_MARK = Decimal(100)
#: A balance with which no bucket is liquidated.
_PLENTY = Decimal(10**12)
#: What an active market says of itself.
_ACTIVITY = ", open_interest: 1000000, daily_volume: 1000000"
#: Balances that are tried for a bucket whose maintenance margin is 1, highest first.
_SHARES = tuple(Fraction(n, 12) for n in (24, 18, 15, 12, 11, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0))


@dataclass(frozen=True)
class _Probe:
    """An instrument of a group; `market` and `position` are what its rows need beside a mark, a size and an entry."""

    group: Instruments
    symbol: str
    currency: str
    market: str = ""
    position: str = ""

    @property
    def markets(self) -> str:
        """The row of `markets`."""
        return f"{{instrument: {self.symbol}, mark_price: {_MARK}{self.market}}}"


#: What a rule may need, tried in this order.
_NEEDS = (("", ""), ("", ", leverage: 1"), (_ACTIVITY, ""), (_ACTIVITY, ", leverage: 1"))


def scaffold(policy: Policy, name: str = "") -> str:
    """Return a file of rule tests of a ruleset, as text; `name` is that of an installed one."""
    plan = policy.plan
    head = [
        f"# A draft of rule tests of {plan.id}@{plan.valid_from.date()}. The numbers are those of today:",
        "# compare each with what the venue states, and take this comment out when that is done.",
        "",
    ]
    if name:
        head += [f"ruleset: {name}", "tests:"]
    tests = [*_tier_tests(policy), *_bucket_tests(policy), *_venue_tests(policy)]
    return "\n".join([*head, *tests])


def _tier_tests(policy: Policy) -> Iterator[str]:
    for table, tiers in zip(policy.ruleset.margin.tiers, counted_tiers(policy), strict=True):
        probe = _probe(policy, table.id)
        if probe is None:
            yield f"# no instrument uses tier table {table.id}\n"
            continue
        of_one = _key_of_one(policy, probe)
        cases = [case for tier, _ in tiers for key in _keys(tier) for case in _tier_case(policy, probe, key, of_one)]
        if cases:
            yield _tier_test(probe, table.id, list(dict.fromkeys(cases)))
        else:
            yield f"# tier table {table.id} needs more than a mark, a balance and a position: write its tests by hand\n"


def _probe(policy: Policy, table: str) -> _Probe | None:
    """Return an instrument of a tier table, with the columns that the ruleset needs of it; None where there is none."""
    group = next((group for group in policy.ruleset.instruments if group.tiers == table), None)
    return None if group is None else _needs(policy, group)


def _needs(policy: Policy, group: Instruments) -> _Probe:
    tried = [_Probe(group, group.symbols[0], group.settle, *needs) for needs in _NEEDS]
    return next((probe for probe in tried if _evaluated(policy, probe, Decimal(1), _PLENTY)), tried[0])


def _key_of_one(policy: Policy, probe: _Probe) -> Fraction:
    """Return the key of one contract at the draft's mark, 0 where there is none: keys grow with the quantity."""
    evaluation = _evaluated(policy, probe, Decimal(1), _PLENTY)
    return Fraction(0) if evaluation is None else tier_key(ExactBucket(evaluation.bound, 0).positions[0])


def _keys(tier: Tier) -> Iterator[Fraction]:
    """Yield a key in the tier, at its cap, and just beyond."""
    if tier.cap is None:
        yield tier.floor * 2 if tier.floor else Fraction(10_000)
        return
    yield (tier.floor + tier.cap) / 2
    yield tier.cap
    yield tier.cap + tier.cap / 10_000


def _tier_case(policy: Policy, probe: _Probe, key: Fraction, of_one: Fraction) -> Iterator[str]:
    quantity = _decimal(key / of_one) if of_one else None
    evaluation = None if quantity is None else _evaluated(policy, probe, quantity, _PLENTY)
    if evaluation is None or quantity is None:
        return
    tier = evaluation.positions.row(0)["tier"]
    initial, maintenance = (_cell(evaluation, "positions", c) for c in ("initial_margin", "maintenance_margin"))
    shown = f"quantity: {decimal_text(quantity)}, tier: {tier}, initial: {initial}, maintenance: {maintenance}"
    yield f"    - {{{shown}}}"


def _decimal(value: Fraction) -> Decimal | None:
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return Decimal(value.numerator) / Decimal(value.denominator) if rest == 1 else None


def _tier_test(probe: _Probe, table: str, cases: Sequence[str]) -> str:
    listed = "\n".join(cases)
    return f"""\
- test: tier table {table}, {probe.symbol} with $quantity contracts
  tolerance: 0.01                               # review: an amount without end is given to the cent
  cases:
{listed}
  given:
    markets: [{probe.markets}]
    accounts: [{{account: A, currency: {probe.currency}, balance: {_PLENTY}}}]
    positions: [{{account: A, instrument: {probe.symbol}, quantity: $quantity, entry_price: {_MARK}{probe.position}}}]
  expect:
    positions: [{{account: A, tier: $tier, initial_margin: $initial, maintenance_margin: $maintenance}}]
"""


def _bucket_tests(policy: Policy) -> Iterator[str]:
    """Yield balances on both sides of whatever changes a bucket's state or the step that is due."""
    table = policy.ruleset.instruments[0].tiers
    probe = _probe(policy, table)
    assert probe is not None, "the table is that of an instrument"
    quantity = Decimal(12)
    first = _evaluated(policy, probe, quantity, Decimal(10**9))
    if first is None:
        return
    due = exact_value(first, "buckets", 0, "maintenance_margin")
    if not isinstance(due, Fraction):
        return
    quantum = Fraction(policy.ruleset.currencies[probe.currency].quantum)
    cases = list(_bucket_cases(policy, probe, quantity, due, quantum))
    if cases:
        yield _bucket_test(probe, quantity, cases)


def _bucket_cases(policy: Policy, probe: _Probe, quantity: Decimal, due: Fraction, quantum: Fraction) -> Iterator[str]:
    last: tuple[tuple[str, str], Decimal] | None = None
    for share in _SHARES:
        for balance in (share * due, share * due - quantum):
            amount = _decimal(balance)
            evaluation = None if amount is None else _evaluated(policy, probe, quantity, amount)
            if evaluation is None or amount is None:
                continue
            row = evaluation.buckets.row(0)
            rules = row["rules"] if isinstance(row["rules"], list) else []
            now = (str(row["state"]), rules[-1] if rules else "")
            if last is not None and now == last[0]:
                last = (now, amount)
                continue
            if last is not None:
                yield _bucket_case(last[1], *last[0])
            yield _bucket_case(amount, *now)
            last = (now, amount)


def _bucket_case(balance: Decimal, state: str, rule: str) -> str:
    return f"    - {{balance: {decimal_text(balance)}, state: {state}, rule: {rule}}}"


def _bucket_test(probe: _Probe, quantity: Decimal, cases: Sequence[str]) -> str:
    listed = "\n".join(dict.fromkeys(cases))
    return f"""\
- test: a bucket with a balance of $balance is $state
  cases:
{listed}
  given:
    markets: [{probe.markets}]
    accounts: [{{account: A, currency: {probe.currency}, balance: $balance}}]
    positions: [{{account: A, instrument: {probe.symbol}, quantity: {quantity}, entry_price: {_MARK}{probe.position}}}]
  expect:
    buckets: [{{account: A, state: $state, rules: [$rule]}}]
"""


@dataclass
class _Book:
    """Accounts and positions in one instrument, as a draft writes them."""

    probe: _Probe
    funds: list[tuple[str, Decimal]]
    accounts: list[str] = field(default_factory=list)
    positions: list[str] = field(default_factory=list)

    def add(
        self, account: str, balance: Decimal | None, quantity: Decimal, entry: Decimal = _MARK, more: str = ""
    ) -> None:
        """Add a position, with a row of balance where one is given."""
        if balance is not None:
            amount = decimal_text(balance)
            self.accounts.append(f"{{account: {account}, currency: {self.probe.currency}, balance: {amount}}}")
        of = f"account: {account}, instrument: {self.probe.symbol}"
        self.positions.append(
            f"{{{of}, quantity: {decimal_text(quantity)}, entry_price: {entry}{self.probe.position}{more}}}"
        )

    def given(self) -> str:
        """Return `given` as text."""
        currency = f"currency: {self.probe.currency}"
        funds = [f"{{fund: {name}, {currency}, balance: {decimal_text(balance)}}}" for name, balance in self.funds]
        tables = {"accounts": self.accounts, "positions": self.positions, "funds": funds}
        lines = [f"    markets: [{self.probe.markets}]"]
        for name, rows in tables.items():
            if rows:
                lines += [f"    {name}:", *(f"      - {row}" for row in rows)]
        return "\n".join(["  given:", *lines])

    def evaluated(self, policy: Policy) -> Evaluation | None:
        """Return today's result; None where the ruleset needs more than a draft gives."""
        (test,) = read_tests(Path("draft.test.yaml"), f"- test: draft\n{self.given()}\n  expect: {{order: []}}\n").tests
        try:
            evaluation = policy.evaluate(Given(test).tables)
            evaluation.to_dict()
        except RiskPolicyError:
            return None
        return evaluation


def _venue_tests(policy: Policy) -> Iterator[str]:
    """Yield for each settlement currency who is liquidated first, who is deleveraged first, and who pays a deficit."""
    groups = {group.settle: group for group in reversed(policy.ruleset.instruments)}
    for currency, group in reversed(groups.items()):
        probe = _needs(policy, group)
        yield from _queue_test(policy, probe)
        funds = [fund.id for fund in policy.ruleset.funds if fund.currency == currency]
        for words, balance in (("full", _PLENTY), ("nearly empty", Decimal(1))):
            if funds or balance == _PLENTY:
                yield from _deficit_test(policy, probe, [(fund, balance) for fund in funds], words)


def _queue_test(policy: Policy, probe: _Probe) -> Iterator[str]:
    part, of_two = _quarter(policy, probe, Decimal(12)), _quarter(policy, probe, Decimal(24))
    if part is None or of_two is None:
        return
    book, long = _Book(probe, []), Decimal(12)
    book.add("near", part * 3, long)
    book.add("far", part, long)
    book.add("far too", of_two, long * 2)
    book.add("winner", _PLENTY, long, Decimal(80))
    book.add("equal winner", _PLENTY, long, Decimal(80))
    book.add("loser", _PLENTY, long, Decimal(125))
    book.add("poor", Decimal(-_PLENTY), long, Decimal(80))
    if "isolated" in policy.plan.modes:
        book.add("isolated", None, long, _MARK, f", margin_mode: isolated, isolated_margin: {decimal_text(part * 8)}")
    if "hedge" in policy.plan.modes:
        book.add("hedged", _PLENTY, long, _MARK, ", position_side: long")
        book.add("hedged", None, -long, _MARK, ", position_side: short")
    evaluation = book.evaluated(policy)
    if evaluation is None:
        return
    ranked = sorted((r["liquidation_rank"], r["account"]) for r in evaluation.buckets.rows() if r["liquidation_rank"])
    order = ", ".join(str(account) for _, account in ranked)
    columns = ("adl_score", "adl_rank") if policy.plan.deleveraging else ("notional",)
    rows = "\n".join(f"      - {_row(evaluation, 'positions', i, columns)}" for i in range(len(evaluation.positions)))
    yield f"""\
- test: who is liquidated and deleveraged first in {probe.symbol}
{book.given()}
  expect:
    order: [{order}]
    positions:
{rows}
"""


def _quarter(policy: Policy, probe: _Probe, quantity: Decimal) -> Decimal | None:
    """Return a quarter of a position's maintenance margin, None where that has no end."""
    evaluation = _evaluated(policy, probe, quantity, _PLENTY)
    due = None if evaluation is None else exact_value(evaluation, "buckets", 0, "maintenance_margin")
    return _decimal(due / 4) if isinstance(due, Fraction) else None


def _deficit_test(policy: Policy, probe: _Probe, funds: list[tuple[str, Decimal]], words: str) -> Iterator[str]:
    book, long = _Book(probe, funds), Decimal(12)
    book.add("bankrupt", Decimal(-1_000_000), long)
    book.add("winner", _PLENTY, -long, Decimal(125))
    evaluation = book.evaluated(policy)
    if evaluation is None:
        return
    kept = [i for i, row in enumerate(evaluation.draws.rows()) if row["currency"] == probe.currency]
    rows = "\n".join(f"      - {_row(evaluation, 'draws', i, ('amount',))}" for i in kept)
    yield f"""\
- test: who pays a deficit in {probe.currency}, funds {words}
{book.given()}
  expect:
    buckets: [{{account: bankrupt, state: bankrupt}}]
    draws:
{rows}
"""


def _row(evaluation: Evaluation, table: str, number: int, columns: Sequence[str]) -> str:
    """Return an expected row: its keys, and some columns with the values of today."""
    row = getattr(evaluation, table).row(number)
    keys = [f"{key}: {row[key]}" for key in KEYS[table] if row[key] != "net"]
    return f"{{{', '.join([*keys, *(f'{c}: {_cell(evaluation, table, c, number)}' for c in columns)])}}}"


def _evaluated(policy: Policy, probe: _Probe, quantity: Decimal, balance: Decimal) -> Evaluation | None:
    """Return the evaluation of one position; None where the ruleset needs more than a draft gives."""
    book = _Book(probe, [])
    book.add("A", balance, quantity)
    return book.evaluated(policy)


def _cell(evaluation: Evaluation, table: str, column: str, row: int = 0) -> str:
    """Return a cell as it is written in a test: its exact value where that ends."""
    exact = exact_value(evaluation, table, row, column)
    ended = _decimal(exact) if isinstance(exact, Fraction) else None
    if ended is not None:
        return decimal_text(ended)
    value = getattr(evaluation, table).columns[column].value(row)
    return "null" if value is None else decimal_text(Decimal(str(value)))
