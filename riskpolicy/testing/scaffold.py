"""A first draft of rule tests: cases at each tier edge and on both sides of each condition, with today's values.

The draft says what the ruleset does, not what it should do: whoever keeps it reviews every number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from riskpolicy.engines.core.exact import ExactBucket
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.errors import RiskPolicyError
from riskpolicy.numbers import decimal_text
from riskpolicy.plan.plan import Tier
from riskpolicy.policy import Policy
from riskpolicy.ruleset.instruments import Instruments
from riskpolicy.testing.compare import exact_value
from riskpolicy.testing.coverage import counted_tiers, tier_key

_MARK = Decimal(100)
#: A balance with which no bucket is liquidated.
_PLENTY = Decimal(10**12)
#: Balances that are tried for a bucket whose maintenance margin is 1, highest first.
_SHARES = tuple(Fraction(n, 12) for n in (24, 18, 15, 12, 11, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0))


@dataclass(frozen=True)
class _Probe:
    """An instrument of a group, and one position in it."""

    group: Instruments
    symbol: str
    currency: str


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
    tests = [*_tier_tests(policy), *_bucket_tests(policy)]
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
    for group in policy.ruleset.instruments:
        if group.tiers == table:
            return _Probe(group, group.symbols[0], group.settle)
    return None


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
    markets: [{{instrument: {probe.symbol}, mark_price: {_MARK}}}]
    accounts: [{{account: A, currency: {probe.currency}, balance: {_PLENTY}}}]
    positions: [{{account: A, instrument: {probe.symbol}, quantity: $quantity, entry_price: {_MARK}}}]
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
    markets: [{{instrument: {probe.symbol}, mark_price: {_MARK}}}]
    accounts: [{{account: A, currency: {probe.currency}, balance: $balance}}]
    positions: [{{account: A, instrument: {probe.symbol}, quantity: {quantity}, entry_price: {_MARK}}}]
  expect:
    buckets: [{{account: A, state: $state, rules: [$rule]}}]
"""


def _evaluated(policy: Policy, probe: _Probe, quantity: Decimal, balance: Decimal) -> Evaluation | None:
    """Return the evaluation of one position; None where the ruleset needs more than a draft gives."""
    try:
        evaluation = policy.evaluate(
            {
                "markets": [{"instrument": probe.symbol, "mark_price": _MARK}],
                "accounts": [{"account": "A", "currency": probe.currency, "balance": balance}],
                "positions": [{"account": "A", "instrument": probe.symbol, "quantity": quantity, "entry_price": _MARK}],
            }
        )
        _ = evaluation.positions, evaluation.buckets
    except RiskPolicyError:
        return None
    return evaluation


def _cell(evaluation: Evaluation, table: str, column: str) -> str:
    """Return a cell as it is written in a test: its exact value where that ends."""
    exact = exact_value(evaluation, table, 0, column)
    ended = _decimal(exact) if isinstance(exact, Fraction) else None
    if ended is not None:
        return decimal_text(ended)
    value = getattr(evaluation, table).row(0)[column]
    return "null" if value is None else decimal_text(Decimal(str(value)))
