"""The files of a new venue: a commented ruleset, its first tests, and what runs them in a CI."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from riskpolicy.errors import Finding, QueryError
from riskpolicy.ruleset.schema import json_schema

SCHEMA_FILE, TESTS_SCHEMA_FILE = "riskpolicy.schema.json", "riskpolicy.test.schema.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

#: A ruleset of every mechanism, with `@NAME@` for its name.
RULESET = """\
# yaml-language-server: $schema=riskpolicy.schema.json
# The risk rules of @NAME@. Every figure here is an example: put in its place what your venue states.
riskpolicy: 1                                   # the version of the language
id: @NAME@
valid_from: 2026-01-01T00:00:00Z                # the first instant at which these rules hold
sources:
  rules: an example of riskpolicy; say here where each part was read, and when
currencies:
  USDT: {quantum: 0.00000001}                   # the smallest amount that is booked
funds:
  - {id: main, currency: USDT}                  # the insurance fund
instruments:
  - {symbols: [BTCUSDT], payoff: linear, settle: USDT, lot: 0.001, tick: 0.1, tiers: btc, fund: main}
margin:
  initial: notional / leverage                  # leverage absent: the tier's maximum
  tiers:
    - id: btc
      key: notional                             # what the caps count
      basis: mark
      rate: bracket                             # notional x rate - deduction; deductions leave no jump
      edge: lower                               # a notional of exactly 300000 is in the first tier
      columns: [up_to, maintenance, max_leverage]
      rows:
        - [300000, 0.4%, 150]
        - [800000, 0.5%, 100]
        - [unlimited, 1%, 50]
liquidation:
  trigger: equity < maintenance_margin          # at the margin exactly, nothing happens
  accounts: {not_stated: [margin_ratio desc]}   # the venue is silent, so this is our choice
  steps:                                        # who takes the contracts, in order
    - {id: book, do: immediate_or_cancel, until: healthy, price: bankruptcy_price, fee: 1.25%, fee_to: main}
    - {id: takeover, do: takeover, by: main, price: bankruptcy_price, when: equity < maintenance_margin / 2}
    - {id: adl, do: deleverage}
waterfall:                                      # who pays the money, in order
  - {id: own_margin, pays: defaulter}
  - {id: fund, pays: main, draw: partial}
  - {id: adl, pays: deleveraging}
  - {id: end, pays: residual}                   # what nobody pays is named, never lost
deleveraging:
  score: max(0, unrealized_pnl) / max(1 * settle, wallet_balance)
  ties: {not_stated: [account]}
  take: {rule: queue, price: bankruptcy_price, fee: 0%}
  lights: {count: 5, by: accounts}
"""

_TESTS = """\
# yaml-language-server: $schema=riskpolicy.test.schema.json
# The rule tests of @NAME@.yaml, which stands beside this file. Run them: riskpolicy test . --coverage
- test: a balance of $balance behind one BTCUSDT at 50000 is $state
  marks: {BTCUSDT: 50000}
  cases:                                        # 0.4% of 50000 is 200
    - {balance: 200, state: healthy, rule: liquidation.trigger}
    - {balance: 199.99, state: liquidatable, rule: liquidation.steps.book}
    - {balance: 100, state: liquidatable, rule: liquidation.steps.book}
    - {balance: 99.99, state: liquidatable, rule: liquidation.steps.takeover}
    - {balance: -0.01, state: bankrupt, rule: liquidation.steps.takeover}
  given:
    accounts: [{account: A, currency: USDT, balance: $balance}]
    positions: [{account: A, instrument: BTCUSDT, quantity: 1, entry_price: 50000}]
  expect:
    buckets: [{account: A, maintenance_margin: 200, state: $state, rules: [$rule]}]

- test: a notional of $notional is in tier $tier
  marks: {BTCUSDT: 100000}
  cases:                                        # exactly at a cap: the lower tier; the curve has no jump
    - {notional: 300000, quantity: 3, tier: 300000, maintenance: 1200, initial: 2000}
    - {notional: 300100, quantity: 3.001, tier: 800000, maintenance: 1200.5, initial: 3001}
    - {notional: 800000, quantity: 8, tier: 800000, maintenance: 3700, initial: 8000}
    - {notional: 800100, quantity: 8.001, tier: unlimited, maintenance: 3701, initial: 16002}
  given:
    accounts: [{account: A, currency: USDT, balance: 50000}]
    positions: [{account: A, instrument: BTCUSDT, quantity: $quantity, entry_price: 100000}]
  expect:
    positions:
      - account: A
        notional: $notional
        tier: "margin.tiers.btc.$tier"
        maintenance_margin: $maintenance
        initial_margin: $initial

- test: an isolated position has its own margin behind it
  marks: {BTCUSDT: 50000}
  given:
    positions:
      - {account: A, instrument: BTCUSDT, quantity: 1, entry_price: 50000, margin_mode: isolated, isolated_margin: 1000}
  expect:
    positions: [{account: A, maintenance_margin: 200, bankruptcy_price: 49000}]

- test: the highest margin ratio is liquidated first
  marks: {BTCUSDT: 50000}
  given:
    accounts: [{account: A, currency: USDT, balance: 150}, {account: B, currency: USDT, balance: 50}]
    positions:
      - {account: A, instrument: BTCUSDT, quantity: 1, entry_price: 50000}
      - {account: B, instrument: BTCUSDT, quantity: 1, entry_price: 50000}
  expect:
    order: [B, A]

- test: of a deficit of 1000 the fund pays $fund, winners $winners, nobody $nobody
  marks: {BTCUSDT: 49000}
  cases:
    - {fund: 2500, paid: 1000, winners: 0, nobody: 0}
    - {fund: 300, paid: 300, winners: 600, nobody: 100}
  given:
    accounts: [{account: loser, currency: USDT, balance: 0}, {account: winner, currency: USDT, balance: 9000}]
    positions:
      - {account: loser, instrument: BTCUSDT, quantity: 1, entry_price: 50000}
      - {account: winner, instrument: BTCUSDT, quantity: -1, entry_price: 49600}
    funds: [{fund: main, currency: USDT, balance: $fund}]
  expect:
    draws:
      - {layer: fund, amount: $paid}
      - {layer: adl, amount: $winners}
      - {layer: end, amount: $nobody}
    buckets: [{account: loser, equity: -1000, state: bankrupt}]

- test: profit per balance ranks the queue, equal scores by account
  marks: {BTCUSDT: 50000}
  given:
    accounts:
      - {account: A, currency: USDT, balance: 10000}
      - {account: B, currency: USDT, balance: 10000}
      - {account: C, currency: USDT, balance: 5000}
    positions:
      - {account: A, instrument: BTCUSDT, quantity: 1, entry_price: 49000}
      - {account: B, instrument: BTCUSDT, quantity: 1, entry_price: 49000}
      - {account: C, instrument: BTCUSDT, quantity: 1, entry_price: 49000}
  expect:
    positions:
      - {account: A, adl_score: 0.1, adl_rank: 2}
      - {account: B, adl_score: 0.1, adl_rank: 3}
      - {account: C, adl_score: 0.2, adl_rank: 1, adl_light: 5}
"""

_CI = """\
# A gate for any CI: each command ends with a status other than 0 when something is wrong.
riskpolicy fmt --check @NAME@.yaml @NAME@.test.yaml
riskpolicy check --strict @NAME@.yaml
riskpolicy test . --coverage --fail-under 100
"""


def starter_files(name: str) -> Mapping[str, str]:
    """Return the files of a new venue by their names; QueryError for a name that is none."""
    from riskpolicy.testing.schema import tests_schema

    if not _NAME.fullmatch(name):
        hint = "letters, digits, `-` and `_`, such as `my-venue`"
        raise QueryError(Finding("invalid_value", f"`{name}` cannot be the name of a ruleset", hint))
    return {
        f"{name}.yaml": RULESET.replace("@NAME@", name),
        f"{name}.test.yaml": _TESTS.replace("@NAME@", name),
        f"{name}.ci.sh": _CI.replace("@NAME@", name),
        SCHEMA_FILE: json.dumps(json_schema(), indent=2) + "\n",
        TESTS_SCHEMA_FILE: json.dumps(tests_schema(), indent=2) + "\n",
    }


def write_starter(name: str, folder: Path) -> list[Path]:
    """Write the files of a new venue into a folder; QueryError, and nothing written, where one is there already.

    Schemas that are there already, of another venue in the folder, are left as they are.
    """
    files = {folder / file: text for file, text in starter_files(name).items()}
    there = [path for path in files if path.exists() and path.name not in (SCHEMA_FILE, TESTS_SCHEMA_FILE)]
    if there:
        hint = "choose another name, or move it away"
        raise QueryError([Finding("file_exists", f"`{path}` is there already", hint) for path in there])
    written = []
    for path, text in files.items():
        if path.exists():
            continue
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            message = f"cannot write `{path}`: {error.strerror or error}"
            raise QueryError(Finding("file_unreadable", message, "check the folder")) from None
        written.append(path)
    return written
