"""The shipped rule tests can fail: a fault seeded into a copy of a ruleset turns one red, and shows the faulty line."""

import shutil
from pathlib import Path

import pytest

from riskpolicy.testing.form import read_tests
from riskpolicy.testing.output import outcome_text
from riskpolicy.testing.run import Runner

RULESETS = Path(__file__).parents[2] / "rulesets"
SHIPPED = RULESETS / "hyperliquid"
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


def seeded(folder, version, old, new, shipped=SHIPPED):
    """Copy a ruleset with its tests, put one fault in; return the tests' outcomes and the fault's line."""
    text = (shipped / f"{version}.yaml").read_text()
    assert old in text, "the fault is not where it is looked for"
    line = text[: text.index(old)].count("\n") + 1
    (folder / f"{version}.yaml").write_text(text.replace(old, new, 1))
    shutil.copy(shipped / f"{version}.test.yaml", folder)
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


#: The same in copies of the other venues' rulesets: (venue, version, what stands there, the fault).
USDM, COINM = ("binance-usdm", "2026-09-01"), ("binance-coinm", "2024-01-01")
BYBIT, BITMEX, DERIBIT = ("bybit", "2026-02-01"), ("bitmex", "2021-08-31"), ("deribit", "2022-01-11")
OKX22, OKX26 = ("okx", "2022-07-01"), ("okx", "2026-09-18")
DRIFT, DYDX, KRAKEN = ("drift", "2024-06-01"), ("dydx-v4", "2023-10-26"), ("kraken-futures", "2024-01-01")

VENUE_FAULTS = {
    "usdm rate": (*USDM, "[3000000, 0.65%, 75]", "[3000000, 0.6%, 75]"),
    "usdm edge": (*USDM, "[12000000, 1%, 50]", "[12000001, 1%, 50]"),
    "usdm percent of a percent": (*USDM, "[800000, 0.5%, 100]", "[800000, 0.005%, 100]"),
    "usdm cap dropped": (*USDM, "        - [70000000, 2%, 25]\n", ""),
    "usdm leverage": (*USDM, "[230000000, 5%, 10]", "[230000000, 5%, 20]"),
    "usdm initial at the maximum": (*USDM, "initial: notional / leverage", "initial: notional / max_leverage"),
    "usdm score by wallet": (*USDM, "if wallet_after > 0 else 0", "if wallet_after > 0 else 1"),
    "usdm layers swapped": (*USDM, "  - {id: fund, pays: main, draw: partial, unless: [delisting]}\n"
                            "  - {id: adl, pays: deleveraging}\n",
                            "  - {id: adl, pays: deleveraging}\n"
                            "  - {id: fund, pays: main, draw: partial, unless: [delisting]}\n"),
    "coinm first rate": (*COINM, "[5, 0.4%, 125]", "[5, 0.45%, 125]"),
    "coinm contract size": (*COINM, "contract_size: 100", "contract_size: 10"),
    "bybit trigger strict": (*BYBIT, "trigger: equity <= ", "trigger: equity < "),
    "bybit trigger late": (*BYBIT, "equity <= maintenance_margin ", "equity <= 1.1 * maintenance_margin "),
    "bybit prices not in ticks": (*BYBIT, "  price_rounding: conservative ", "  # "),
    "bybit tick": (*BYBIT, "tick: 0.5", "tick: 1"),
    "bybit deduction": (*BYBIT, "[10000000, 1%, 2%, 10000]", "[10000000, 1%, 2%, 1000]"),
    "bitmex step": (*BITMEX, "{step: 150, ", "{step: 50, "),
    "bitmex generated rate": (*BITMEX, "{step: 150, maintenance: 0.5%", "{step: 150, maintenance: 0.4%"),
    "bitmex edge owned by the lower tier": (*BITMEX, "edge: upper", "edge: lower"),
    "bitmex quanto multiplier": (*BITMEX, "contract_size: 0.000001", "contract_size: 0.0001"),
    "bitmex losers not divided": (*BITMEX, "else profit / effective", "else profit * effective"),
    "deribit slope": (*DERIBIT, "maintenance: {base: 1%, slope: 0.00005}", "maintenance: {base: 1%, slope: 0.000005}"),
    "deribit eth slope": (*DERIBIT, "base: 1%, slope: 0.000004", "base: 1%, slope: 0.00004"),
    "deribit restricted late": (*DERIBIT, "equity < initial_margin", "equity < 0.99 * initial_margin"),
    "okx fee forgotten": (*OKX22, "equity <= maintenance_margin + 0.0005 * notional", "equity <= maintenance_margin"),
    "okx fee in percent": (*OKX26, "0.0005 * notional", "0.05 * notional"),
    "okx generated initial": (*OKX22, "{step: 65000, maintenance: 0.5%, initial: 0.5%}",
                              "{step: 65000, maintenance: 0.5%, initial: 1%}"),
    "okx edge": (*OKX26, "edge: lower", "edge: upper"),
    "drift factor": (*DRIFT, "base: 5%, share: 80%, factor: 0.00005}", "base: 5%, share: 80%, factor: 0.0005}"),
    "drift share": (*DRIFT, "initial: {base: 10%, share: 80%,", "initial: {base: 10%, share: 90%,"),
    "drift weight": (*DRIFT, "maintenance: 90%}", "maintenance: 95%}"),
    "drift last unit": (*DRIFT, "draw: leave_unit", "draw: partial"),
    "dydx rounding": (*DYDX, "  rounding: up ", "  # "),
    "dydx millionths": (*DYDX, "upper: 10000000, multiple_of: 0.000001", "upper: 10000000"),
    "dydx upper interest": (*DYDX, "upper: 50000000", "upper: 60000000"),
    "dydx own bankruptcy prices": (*DYDX, "bankruptcy: maintenance", "bankruptcy: account"),
    "dydx fund pays a part": (*DYDX, "draw: all_or_nothing", "draw: partial"),
    "kraken netting": (*KRAKEN, "  netting: larger_side\n", ""),
    "kraken level": (*KRAKEN, "[2000000, 2%, 4%]", "[2000000, 3%, 4%]"),
    "kraken level of another table": (*KRAKEN, "[5000000, 2.5%, 5%]", "[5000000, 5%, 10%]"),
    "kraken row dropped": (*KRAKEN, "        - [12000000, 7.5%, 15%]\n", ""),
}  # fmt: skip


@pytest.mark.parametrize("fault", VENUE_FAULTS)
def test_a_fault_in_another_venue_turns_a_shipped_test_red(tmp_path, fault):
    venue, version, old, new = VENUE_FAULTS[fault]
    outcomes, _ = seeded(tmp_path, version, old, new, RULESETS / venue)
    red = [outcome for outcome in outcomes if outcome.status != "passed"]
    assert red
    for outcome in red:
        shown = outcome_text(outcome)
        assert f"{version}.test.yaml:" in shown or f"{version}.yaml:" in shown
        assert "^" in shown
        assert "Traceback" not in shown


#: Those whose explanation or finding names the very line.
VENUE_NAMED = [
    "usdm rate", "usdm percent of a percent", "usdm cap dropped", "usdm initial at the maximum",
    "usdm score by wallet", "usdm layers swapped", "coinm first rate", "bybit trigger strict", "bybit trigger late",
    "bybit deduction", "bitmex step", "bitmex generated rate", "bitmex losers not divided", "deribit slope",
    "deribit eth slope", "okx fee forgotten", "okx fee in percent", "okx generated initial", "drift last unit",
    "dydx fund pays a part", "kraken level", "kraken level of another table", "kraken row dropped",
]  # fmt: skip


@pytest.mark.parametrize("fault", VENUE_NAMED)
def test_the_explanation_names_the_faulty_line_of_another_venue(tmp_path, fault):
    venue, version, old, new = VENUE_FAULTS[fault]
    outcomes, line = seeded(tmp_path, version, old, new, RULESETS / venue)
    shown = "\n".join(outcome_text(outcome) for outcome in outcomes if outcome.status != "passed")
    assert f" {version}.yaml:{line}]" in shown or f"{version}.yaml:{line}:" in shown
