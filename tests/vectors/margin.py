"""Runners of the margin rules: each makes a ruleset and a snapshot of an entry and reads off the result.

Money is read from the exact twin of the evaluation, so that a tolerance of zero means what it says.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

import riskpolicy as rp
from riskpolicy.engines.core.exact import ExactBucket
from riskpolicy.engines.evaluate import Evaluation
from riskpolicy.numbers import exact
from tests import venue
from tests.vectors import Entry, NoRunnerError, runner

TABLES = yaml.safe_load((Path(__file__).parent / "tables.yaml").read_text(encoding="utf-8"))


@runner("liquidation_price")
def liquidation_price(entry: Entry) -> Any:
    if "rows" in entry:
        return [_reported(dict(zip(entry["columns"], row, strict=True))) for row in entry["rows"]]
    given = entry["in"]
    if "wallet_balance" in given:
        return _cross(given)
    if {"leverage", "entry", "mmr"} <= set(given):
        return _from_leverage(given)
    raise NoRunnerError(f"of venue {entry.get('venue')}")


@runner("liquidation_price_inverse")
def liquidation_price_inverse(entry: Entry) -> Any:
    given = entry["in"]
    margin = given.get("isolated_wallet", given.get("margin", given.get("wallet_balance")))
    maintained, initial = given.get("mmr", given.get("maintenance_rate")), given.get("initial_rate", 1)
    ruleset = _inverse(given.get("contract_usd", 1), _rows(maintained, given.get("deduction", 0)), initial)
    size = given["contracts"] * _sign(given["side"])
    at_entry = _alone(ruleset, size, given["entry"], given["entry"], margin, "XBTUSD")
    evaluation = _alone(ruleset, size, given["entry"], given.get("mark", given["entry"]), margin, "XBTUSD")
    row = evaluation.positions.row(0)
    return {
        "liquidation_price": row["liquidation_price"],
        "zero_equity_price": row["bankruptcy_price"],
        "bankruptcy_price": row["bankruptcy_price"],
        "unrealized_pnl": _shown(
            ExactBucket(evaluation.bound, 0).unrealized_pnl, evaluation.plan.requirements.quantum[0]
        ),
        "value": _number(at_entry.positions.row(0)["notional"]),
        "initial_margin": _number(at_entry.positions.row(0)["initial_margin"]),
        "maintenance_margin_at_entry": _number(at_entry.positions.row(0)["maintenance_margin"]),
    }


@runner("bankruptcy_price")
def bankruptcy_price(entry: Entry) -> Any:
    given, price = entry["in"], entry["in"]["entry"]
    inverse = "inverse" in entry.get("venue", "")
    rate, size = given.get("mmr", 0.005), given.get("quantity", given.get("contracts", 1)) * _sign(given["side"])
    leverage, tick = given["leverage"], given.get("tick", 0.5)
    prices = []
    for rounding in ("none", "conservative"):
        ruleset = _inverse(1, _rows(rate, 0), 1) if inverse else venue.tiers(_rows(rate, 0))
        ruleset["margin"]["tiers"][0]["basis"] = given.get("basis", "mark")
        ruleset["margin"]["price_rounding"] = rounding
        ruleset["instruments"][0]["tick"] = tick
        ruleset["margin"]["initial"] = f"entry_notional / {leverage}"
        symbol = "XBTUSD" if inverse else "BTCUSDT"
        # The margin posted is the initial margin: entry value over leverage, as the engine has it.
        posted = _number(_alone(ruleset, size, price, price, 1, symbol).positions.row(0)["initial_margin"])
        prices.append(_alone(ruleset, size, price, price, posted, symbol).positions.row(0))
    return {
        "bankruptcy_price": prices[0]["bankruptcy_price"],
        "liquidation_price": prices[0]["liquidation_price"],
        "rounded": prices[1]["bankruptcy_price"],
        "liquidation_price_rounded": prices[1]["liquidation_price"],
    }


@runner("tier_deduction")
def tier_deduction(entry: Entry) -> Any:
    given = entry["in"]
    if "mmr" in given:
        caps = [*given["floors"][1:], "unlimited"]
        rows = [[cap, _rate(rate)] for cap, rate in zip(caps, given["mmr"], strict=True)]
        policy = venue.policy(venue.tiers(rows))
        return {"deductions": [float(t.deduction) for t in policy.plan.tiers.exact]}
    caps = [*(floor for floor, _ in given["tiers"][1:]), "unlimited"]
    rows = [[cap, leverage] for cap, (_, leverage) in zip(caps, given["tiers"], strict=True)]
    columns = ("up_to", "max_leverage")
    policy = venue.policy(venue.tiers(rows, columns, maintenance="1 / (2 * max_leverage)"))
    price = given["notional"]
    evaluation = policy.evaluate(venue.cross([("A", "BTCUSDT", 1, price)], {"A": price}, {"BTCUSDT": price}))
    row = evaluation.positions.row(0)
    tier = next(t for t in policy.plan.tiers.exact if t.id == row["tier"])
    return {"deduction": float(tier.deduction), "maintenance_margin": _number(row["maintenance_margin"])}


@runner("tier_lookup")
def tier_lookup(entry: Entry) -> Any:
    given = entry["in"]
    if given["table"] not in TABLES:
        raise NoRunnerError(f"of table {given['table']}")
    ruleset = _table(TABLES[given["table"]])
    evaluation = venue.evaluate(
        ruleset, venue.cross([("A", "BTCUSDT", given["contracts"], 1)], {"A": 1}, {"BTCUSDT": 1})
    )
    plan = evaluation.plan
    number = [t.id for t in plan.tiers.exact].index(str(evaluation.positions.row(0)["tier"]))
    tier = plan.tiers.exact[number]
    return {
        "tier": number + 1,
        "maintenance_rate": float(tier.rate),
        "initial_rate": float(tier.initial or 0),
        **_exactly(evaluation),
    }


@runner("step_margin")
def step_margin(entry: Entry) -> Any:
    given = entry["in"]
    step = {
        "step": given["step"],
        "maintenance": _rate(given.get("step_increment", given["base_maintenance"])),
        "initial": _rate(given.get("step_increment", given["base_maintenance"])),
    }
    first = [given["base_limit"], _rate(given["base_maintenance"]), _rate(given["base_initial"])]
    ruleset = _table({"rows": [first], "generated": step}, key="notional")
    maintained, initial = [], []
    for size in given["positions_xbt"]:
        got = _exactly(venue.evaluate(ruleset, venue.cross([("A", "BTCUSDT", size, 1)], {"A": size}, {"BTCUSDT": 1})))
        maintained.append(got["maintenance_margin"] / exact(size))
        initial.append(got["initial_margin"] / exact(size))
    return {"maintenance_rate": maintained, "initial_rate": initial}


@runner("linear_in_size")
def linear_in_size(entry: Entry) -> Any:
    given = entry["in"]
    curve = {
        part: {"base": _rate(given[f"{part}_base"]), "slope": given["slope"]} for part in ("initial", "maintenance")
    }
    return _curve({"rate": "linear", "key": "coin", **curve}, given["size"], given["price"])


@runner("sqrt_size")
def sqrt_size(entry: Entry) -> Any:
    given = entry["in"]
    curve = {"base": _rate(given["base"]), "factor": given["imf"], "share": given.get("share", "80%")}
    got = _curve({"rate": "square_root", "key": "coin", "initial": curve, "maintenance": curve}, given["size"], 1)
    return {f"{part}_rate": got[f"{part}_margin"] / exact(given["size"]) for part in ("initial", "maintenance")}


@runner("open_interest_scaled")
def open_interest_scaled(entry: Entry) -> Any:
    given = entry["in"]
    curve = {
        "base": _rate(given["base_ppm"] / 1e6), "lower": given["lower"], "upper": given["upper"],
        "multiple_of": "0.000001",
    }  # fmt: skip
    out = []
    for interest in given["open_interest"]:
        table = {"rate": "open_interest", "key": "notional", "maintenance": "1%", "initial": curve}
        margin = _curve(table, 1000000, 1, open_interest=interest)["initial_margin"]
        out.append(margin)
    return {"initial_ppm": out}


@runner("bankruptcy_value")
def bankruptcy_value(entry: Entry) -> Any:
    given = entry["in"]
    values = []
    for account in given["accounts"]:
        ruleset = venue.tiers([["unlimited", _rate(given["mmf"])]])
        ruleset["margin"]["bankruptcy"] = "maintenance"
        price = given["price"]
        # The quote balance as dYdX has it is the balance less the cost of the position.
        balance = account["quote"] + account["btc"] * price
        snapshot = venue.cross([("A", "BTCUSDT", account["btc"], price)], {"A": balance}, {"BTCUSDT": price})
        row = venue.evaluate(ruleset, snapshot).positions.row(0)
        values.append(row["bankruptcy_price"] * account["btc"])
    return {"quote_value": values}


@runner("collateral_weight")
def collateral_weight(entry: Entry) -> Any:
    given, ruleset = entry["in"], venue.base()
    weight = _rate(given["weight"])
    assets = {"ASSET": {"initial": weight, "maintenance": weight}}
    ruleset["margin"]["collateral"] = {"currency": "USDT", "assets": assets}
    held = {"collateral": [{"account": "A", "asset": "ASSET", "amount": given["amount"]}]}
    tables = {"assets": [{"asset": "ASSET", "price": given.get("price", 1)}], **held}
    row = venue.evaluate(ruleset, {"positions": [], **tables}).buckets.row(0)
    return {"value": _number(row["equity"])}


@runner("open_size")
def open_size(entry: Entry) -> Any:
    given = entry["in"]
    ruleset = venue.tiers([["unlimited", "1%"]])
    ruleset["margin"] |= {"initial": f"notional * {given['imf']}", "orders": "larger_side"}
    orders = [
        {
            "account": "A",
            "instrument": "BTCUSDT",
            "side": side,
            "remaining": given[f"{side}_orders"],
            "price": given["mark"],
        }
        for side in ("buy", "sell")
    ]
    positions = [("A", "BTCUSDT", given["position"], given["mark"])]
    snapshot = venue.cross(positions, {"A": 1}, {"BTCUSDT": given["mark"]}, orders=orders)
    evaluation = venue.evaluate(ruleset, snapshot)
    margin = ExactBucket(evaluation.bound, 0).initial_margin
    return {"open_size": margin / (exact(given["imf"]) * exact(given["mark"])), "initial_margin": margin}


def _reported(row: dict[str, Any]) -> Any:
    """An isolated position as Hyperliquid reported it, under the shipped ruleset of its time."""
    position = {
        "account": "A",
        "instrument": row["coin"],
        "quantity": row["size"] * _sign(row["side"]),
        "entry_price": row["entry"],
        "margin_mode": "isolated",
        "isolated_margin": row["collateral"],
    }
    markets = [{"instrument": row["coin"], "mark_price": row["entry"]}]
    policy = rp.load("hyperliquid@2024-11-01")
    evaluation = policy.evaluate({"positions": [position], "markets": markets})
    return evaluation.positions.row(0)["liquidation_price"]


def _cross(given: dict[str, Any]) -> Any:
    """A cross account: the position, then its further legs, or the rest of the account as one other position.

    The position's tier has the given rate and deduction, or its table is given as floors and rates.
    """
    ruleset = venue.tiers(_given_rows(given))
    legs = [given, *given.get("legs", given.get("others", []))] if "quantity" in given else list(given["legs"])
    template, table = ruleset["instruments"][0], ruleset["margin"]["tiers"][0]
    ruleset["instruments"], ruleset["margin"]["tiers"] = [], []
    positions, marks = [], {}
    for number, leg in enumerate(legs):
        symbol = f"I{number}"
        ruleset["instruments"].append({**template, "symbols": [symbol], "tiers": symbol})
        ruleset["margin"]["tiers"].append({**table, "id": symbol, "rows": _given_rows(leg)})
        positions.append(("A", symbol, leg["quantity"] * _sign(leg["side"]), leg["entry"]))
        marks[symbol] = leg.get("mark", leg["entry"])
    if given.get("other_maintenance"):
        ruleset["instruments"].append({**template, "symbols": ["OTHER"], "tiers": "other"})
        ruleset["margin"]["tiers"].append({**table, "id": "other", "rows": [["unlimited", "1%"]]})
        marks["OTHER"] = given["other_maintenance"] * 100
        positions.append(("A", "OTHER", 1, marks["OTHER"] - given.get("other_unrealized", 0)))
    evaluation = venue.evaluate(ruleset, venue.cross(positions, {"A": given["wallet_balance"]}, marks))
    rows = list(evaluation.positions.rows())
    return {
        "liquidation_price": rows[0]["liquidation_price"],
        "liquidation_prices": [row["liquidation_price"] for row in rows[: len(legs)]],
        "bankruptcy_price": rows[0]["bankruptcy_price"],
        "unrealized_pnl": _number(rows[0]["unrealized_pnl"]),
        **_exactly(evaluation),
    }


def _given_rows(given: dict[str, Any]) -> list[list[Any]]:
    """The tiers of a leg: [floor, rate] each, or one of the given rate and deduction."""
    tiers = given.get("tiers", given.get("brackets"))
    if not tiers:
        return _rows(given["mmr"], given.get("deduction", 0))
    caps = [*(tier[0] for tier in tiers[1:]), "unlimited"]
    return [[cap, _rate(tier[1])] for cap, tier in zip(caps, tiers, strict=True)]


def _from_leverage(given: dict[str, Any]) -> Any:
    """An isolated position whose margin is its entry value over its leverage, and what was added or paid since.

    A taker fee of the close counts as maintenance, as Gate and OKX have it.
    """
    ruleset = venue.tiers(_rows(given["mmr"], given.get("deduction", 0)))
    ruleset["margin"]["tiers"][0]["basis"] = given.get("basis", "mark")
    ruleset["margin"]["initial"] = f"entry_notional / {given['leverage']}"
    fee = given.get("taker_fee", 0)
    ruleset["liquidation"]["trigger"] = f"equity <= maintenance_margin + {fee} * notional"
    size = given.get("quantity", given.get("size", 1)) * _sign(given["side"])
    posted = _number(
        _alone(ruleset, size, given["entry"], given["entry"], 1, "BTCUSDT").positions.row(0)["initial_margin"]
    )
    margin = posted + given.get("extra_margin", 0)
    row = _alone(ruleset, size, given["entry"], given["entry"], margin, "BTCUSDT").positions.row(0)
    return {"liquidation_price": row["liquidation_price"], "bankruptcy_price": row["bankruptcy_price"]}


def _alone(ruleset: dict[str, Any], size: float, entry: float, mark: float, margin: float, symbol: str) -> Evaluation:
    """Evaluate one isolated position."""
    position = {
        "account": "A", "instrument": symbol, "quantity": size, "entry_price": entry,
        "margin_mode": "isolated", "isolated_margin": margin,
    }  # fmt: skip
    return venue.evaluate(ruleset, {"positions": [position], "markets": [{"instrument": symbol, "mark_price": mark}]})


def _inverse(contract: float, rows: list[list[Any]], initial: float) -> dict[str, Any]:
    """A venue of one inverse instrument, settled in XBT."""
    ruleset = venue.tiers(rows)
    ruleset["currencies"] = {"XBT": {"quantum": "0.00000001"}}
    ruleset["funds"] = [{"id": "main", "currency": "XBT"}]
    ruleset["margin"]["initial"] = f"notional * {initial}"
    group = {"symbols": ["XBTUSD"], "payoff": "inverse", "settle": "XBT", "contract_size": contract}
    ruleset["instruments"] = [{**group, "tiers": "btc", "fund": "main"}]
    return ruleset


def _rows(rate: float, deduction: float) -> list[list[Any]]:
    """A tier of the given rate and deduction; the tier below that makes the deduction has half the rate."""
    rows: list[list[Any]] = [["unlimited", _rate(rate)]]
    return [[deduction / (rate / 2), _rate(rate / 2)], *rows] if deduction else rows


def _table(written: dict[str, Any], key: str = "contracts") -> dict[str, Any]:
    """A venue of step tiers: up_to, maintenance, initial."""
    ruleset = venue.tiers(written["rows"], ("up_to", "maintenance", "initial"), key=key, rate="step")
    if "generated" in written:
        ruleset["margin"]["tiers"][0]["generated"] = written["generated"]
    ruleset["margin"]["initial"] = "notional * initial_rate"
    return ruleset


def _curve(table: dict[str, Any], size: float, price: float, **market: Any) -> dict[str, Fraction]:
    """Margins of one position of `size` under a tier table without rows."""
    ruleset = venue.base()
    ruleset["margin"] = {"initial": "notional * initial_rate", "tiers": [{"id": "btc", **table}]}
    snapshot = venue.cross([("A", "BTCUSDT", size, price)], {"A": 1}, {"BTCUSDT": price})
    snapshot["markets"][0].update(market)
    return _exactly(venue.evaluate(ruleset, snapshot))


def _exactly(evaluation: Evaluation) -> dict[str, Fraction]:
    """The margins of the first bucket, exactly."""
    bucket = ExactBucket(evaluation.bound, 0)
    return {"initial_margin": bucket.initial_margin, "maintenance_margin": bucket.maintenance_margin}


def _shown(amount: Fraction, quantum: Fraction) -> Fraction:
    """An amount as a venue shows it: whole quanta, rounded towards zero."""
    return int(amount / quantum) * quantum


def _number(text: Any) -> float:
    return float(str(text))


def _rate(rate: float) -> str:
    return f"{rate * 100:.12g}%"


def _sign(side: str) -> int:
    return {"long": 1, "short": -1, "buy": 1, "sell": -1}[side]
