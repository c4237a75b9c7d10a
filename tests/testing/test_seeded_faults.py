"""The shipped rule tests can fail: a fault seeded into a copy of a ruleset turns one red, and shows the faulty line."""

import shutil
from pathlib import Path

import pytest

from riskpolicy.testing.form import read_tests
from riskpolicy.testing.output import outcome_text
from riskpolicy.testing.run import Runner

SHIPPED = Path(__file__).parents[2] / "rulesets" / "hyperliquid"
OLD, NEW = "2024-01-01", "2025-07-01"
BOOK = (
    "    - {id: book, do: market_order, staged: {above: 100000, portion: 20%, cooldown_seconds: 30}, "
    "leftover: account}\n"
)
VAULT, ADL = "  - {id: vault, pays: hlp, draw: partial}\n", "  - {id: adl, pays: deleveraging}\n"

#: (version, what stands there, the fault); the fault may break the ruleset, which is red too.
FAULTS = {
    "btc rate": (NEW, "[150000000, 40]", "[150000000, 50]"),
    "btc rate above": (NEW, "        - [unlimited, 20]", "        - [unlimited, 25]"),
    "btc edge": (NEW, "[150000000, 40]", "[150000001, 40]"),
    "btc edge below": (NEW, "[150000000, 40]", "[149999999, 40]"),
    "btc cap dropped": (NEW, "        - [150000000, 40]\n", ""),
    "eth rate": (NEW, "[100000000, 25]", "[100000000, 24]"),
    "eth rate above": (NEW, "[unlimited, 15]", "[unlimited, 16]"),
    "sol edge": (NEW, "[70000000, 20]", "[7000000, 20]"),
    "sol cap dropped": (NEW, "        - [70000000, 20]\n", ""),
    "xrp edge": (NEW, "[40000000, 20]", "[40000001, 20]"),
    "large rate above": (NEW, "[unlimited, 5]", "[unlimited, 4]"),
    "large cap": (NEW, "[20000000, 10]", "[20000100, 10]"),
    "medium cap": (NEW, "[3000000, 10]", "[30000000, 10]"),
    "medium caps dropped": (NEW, "        - [3000000, 10]\n", ""),
    "edge owned by the upper tier": (NEW, "      key: notional\n", "      key: notional\n      edge: upper\n"),
    "half forgotten": (NEW, "maintenance: 1 / (2 * max_leverage)", "maintenance: 1 / max_leverage"),
    "a coin in the wrong table": (NEW, "  - symbols: [OP, ARB,", "  - symbols: [HYPE2, ARB,"),
    "two coins swapped": (NEW, "symbols: [SOL], payoff: linear, settle: USDC, tiers: sol",
                          "symbols: [SOL], payoff: linear, settle: USDC, tiers: large"),
    "initial margin": (NEW, "initial: notional / leverage", "initial: notional / max_leverage"),
    "trigger not strict": (NEW, "trigger: equity < ", "trigger: equity <= "),
    "trigger on initial margin": (NEW, "equity < maintenance_margin\n", "equity < maintenance_margin * 2\n"),
    "trigger in percent": (NEW, "trigger: equity < maintenance_margin", "trigger: margin_ratio > 100"),
    "order swapped": (NEW, "[margin_ratio desc, equity asc]", "[equity asc, margin_ratio desc]"),
    "order of equity": (NEW, "equity asc]", "equity desc]"),
    "order of ratio": (NEW, "[margin_ratio desc", "[margin_ratio asc"),
    "backstop fraction": (NEW, "when: equity < 2 / 3 *", "when: equity < 3 / 4 *"),
    "backstop not strict": (NEW, "when: equity < 2", "when: equity <= 2"),
    "backstop dropped": (NEW, "when: equity < 2 / 3 * maintenance_margin, ", ""),
    "book dropped": (NEW, BOOK, ""),
    "waterfall swapped": (NEW, VAULT + ADL, ADL + VAULT),
    "vault dropped": (NEW, VAULT, ""),
    "all or nothing": (NEW, "draw: partial", "draw: all_or_nothing"),
    "adl layer dropped": (NEW, ADL, ""),
    "score without leverage": (NEW, "score: max(account_leverage, 0.00000001) * ", "score: "),
    "score upside down": (NEW, "notional / bucket_equity if", "bucket_equity / notional if"),
    "score of the mark": (NEW, "unrealized_pnl / entry_notional", "unrealized_pnl / notional"),
    "score's floor": (NEW, "max(profit_ratio, 0.00000001)", "max(profit_ratio, 0.0000001)"),
    "modes": (NEW, "modes: [cross, isolated]", "modes: [cross]"),
    "a rule stated after all": (NEW, "ties: not_stated", "ties: [notional desc]"),
    "lights": (NEW, "{count: 5, by: accounts}", "{count: 4, by: accounts}"),
    "old btc rate": (OLD, "[unlimited, 50]", "[unlimited, 40]"),
    "old sol rate": (OLD, "[unlimited, 20]", "[unlimited, 25]"),
    "old percent for fraction": (OLD, "1 / (2 * max_leverage)", "1 / (2 * max_leverage) * 0.01"),
    "old tables swapped": (OLD, "tiers: x50, fund", "tiers: x20, fund"),
    "old trigger": (OLD, "equity < maintenance_margin\n", "equity < initial_margin\n"),
}  # fmt: skip


def seeded(folder, version, old, new):
    """Copy a ruleset with its tests, put one fault in; return the tests' outcomes and the fault's line."""
    text = (SHIPPED / f"{version}.yaml").read_text()
    assert old in text, "the fault is not where it is looked for"
    line = text[: text.index(old)].count("\n") + 1
    (folder / f"{version}.yaml").write_text(text.replace(old, new, 1))
    shutil.copy(SHIPPED / f"{version}.test.yaml", folder)
    runner = Runner()
    return [runner.run(test) for test in read_tests(folder / f"{version}.test.yaml").tests], line


@pytest.mark.parametrize("fault", FAULTS)
def test_a_seeded_fault_turns_a_shipped_test_red(tmp_path, fault):
    version, old, new = FAULTS[fault]
    outcomes, _ = seeded(tmp_path, version, old, new)
    red = [outcome for outcome in outcomes if outcome.status != "passed"]
    assert red
    for outcome in red:
        shown = outcome_text(outcome)
        assert f"{version}.test.yaml:" in shown or f"{version}.yaml:" in shown
        assert "^" in shown
        assert "Traceback" not in shown


#: Faults whose explanation names the very line: rates, edges, the trigger, steps, layers, the score.
NAMED = [
    "btc rate", "btc rate above", "eth rate", "eth rate above", "large rate above", "large cap", "medium cap",
    "initial margin", "trigger not strict", "trigger on initial margin", "order of equity", "order swapped",
    "backstop fraction", "backstop not strict", "waterfall swapped", "all or nothing", "old btc rate", "old sol rate",
]  # fmt: skip


@pytest.mark.parametrize("fault", NAMED)
def test_the_explanation_names_the_faulty_line(tmp_path, fault):
    version, old, new = FAULTS[fault]
    outcomes, line = seeded(tmp_path, version, old, new)
    shown = "\n".join(outcome_text(outcome) for outcome in outcomes if outcome.status != "passed")
    assert f" {version}.yaml:{line}]" in shown


def test_without_a_fault_they_are_green(tmp_path):
    outcomes, _ = seeded(tmp_path, NEW, "riskpolicy: 1", "riskpolicy: 1")
    assert {outcome.status for outcome in outcomes} == {"passed"}
