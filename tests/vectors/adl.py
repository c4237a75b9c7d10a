"""Runners of deleveraging rules: queues by resolution, allocations by the policies themselves."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from riskpolicy.engines import allocation
from riskpolicy.engines.execution import GivenFills
from riskpolicy.numbers import exact
from tests import venue
from tests.vectors import Entry, runner

F = Fraction


@runner("adl_trigger")
def adl_trigger(entry: Entry) -> Any:
    """Whether a ruleset's trigger turns deleveraging on, and what it must raise to hold the ratio at its start."""
    given = {name: exact(x) for name, x in entry["in"].items() if not isinstance(x, bool)}
    active = bool(entry["in"].get("active", False))
    ratio, _, amount = allocation.drawdown_trigger(
        given["symbol_pnl"], given["symbol_pnl_peak_8h"], given["pool_peak_8h"], given["start_ratio"],
        given["stop_ratio"], active=active,
    )  # fmt: skip
    drawdown, peak = "symbol_pnl - symbol_pnl_peak_8h", "fund_peak_8h"
    start, stop, least = (float(given.get(name, F(0))) for name in ("start_ratio", "stop_ratio", "threshold"))
    ruleset = venue.tiers([["unlimited", "1%"]])
    ruleset["liquidation"]["steps"] = [{"id": "adl", "do": "deleverage"}]
    ruleset["deleveraging"]["trigger"] = {
        "start": f"{drawdown} < {start} * {peak} and fund_balance > {least} * settle or fund_balance <= 0",
        "stop": f"{drawdown} > {stop} * {peak} and fund_balance > 0",
    }
    tables = venue.cross([("a", "BTCUSDT", 1, 100)], {"a": 1000}, {"BTCUSDT": 100})
    tables["funds"] = [
        {
            "fund": "main",
            "currency": "USDT",
            "balance": entry["in"]["pool_balance"],
            "peak_8h": entry["in"]["pool_peak_8h"],
        }
    ]
    pnl = {name: entry["in"][name] for name in ("symbol_pnl", "symbol_pnl_peak_8h")}
    tables["markets"][0] |= {**pnl, "adl_active": str(active).lower()}
    after = venue.evaluate(ruleset, tables).resolve(GivenFills({})).after
    assert after is not None
    on = after.choices("markets", "adl_active").word(0) == "true"
    return {"pnl_ratio": ratio, "triggered": on, "adl_amount": amount if on else F(0)}


@runner("adl_queue")
def adl_queue(entry: Entry) -> Any:
    """A queue by given scores; a position on the other side is closed against it."""
    given = entry["in"]
    side = "longs" if "longs" in given else "shorts"
    sign, size = (1, given.get("short_liquidated")) if side == "longs" else (-1, given.get("long_liquidated"))
    rows = [dict(zip(given["columns"], row, strict=True)) for row in given[side]]
    price = given["bankruptcy_price"]
    ruleset = venue.tiers([["unlimited", "1%"]])
    ruleset["liquidation"]["steps"] = [{"id": "adl", "do": "deleverage"}]
    # Scores of any sign are told by balances that are large enough for everybody.
    ruleset["deleveraging"] |= {"score": "wallet_balance", "lights": {"count": 5, "by": "quantity"}}
    at, known = {"instrument": "BTCUSDT", "entry_price": price}, {str(r["account"]): r["account"] for r in rows}
    positions = [{**at, "account": str(r["account"]), "quantity": sign * r["quantity"]} for r in rows]
    positions.append({**at, "account": "gone", "quantity": -sign * size})
    funds = [{"fund": "main", "currency": "USDT", "balance": 0}]
    balances = {str(r["account"]): 10**9 + r["score"] for r in rows} | {"gone": 0}
    tables = venue.cross([], balances, {"BTCUSDT": price + sign})
    evaluation = venue.evaluate(ruleset, {**tables, "positions": positions, "funds": funds})
    ranked = sorted(
        (r for r in evaluation.positions.rows() if r["account"] != "gone"), key=lambda r: int(str(r["adl_rank"]))
    )
    result = evaluation.resolve(GivenFills({}))
    # BitMEX counts its lights from the most exposed fifth on.
    return {
        "order": [known[str(r["account"])] for r in ranked],
        "lights_percent": [(6 - int(str(r["adl_light"]))) * 20 for r in ranked],
        "closed": {known[d.account]: abs(d.quantity) for d in result.deleveraged},
        "price": result.deleveraged[0].price,
    }


@runner("deleverage_at_bankruptcy")
def deleverage_at_bankruptcy(entry: Entry) -> Any:
    """Two accounts with a position and a quote balance each; the one below zero is closed against the other."""
    given = entry["in"]
    one, other = given["liquidated"], given["counterparty"]
    # Any mark at which the first is below zero: one unit beyond its bankruptcy price.
    bankrupt = -exact(one["quote"]) / exact(one["btc"])
    mark = given.get("price", float(bankrupt) + (1 if one["btc"] < 0 else -1))
    ruleset = venue.tiers([["unlimited", "1%"]])
    ruleset["liquidation"]["steps"] = [{"id": "adl", "do": "deleverage", "when": "equity < 0"}]
    positions = [(name, "BTCUSDT", a["btc"], mark) for name, a in (("one", one), ("other", other))]
    balances = {name: a["quote"] + a["btc"] * mark for name, a in (("one", one), ("other", other))}
    funds = [{"fund": "main", "currency": "USDT", "balance": 0}]
    tables = venue.cross(positions, balances, {"BTCUSDT": mark}, funds=funds)
    result = venue.evaluate(ruleset, tables).resolve(GivenFills({}))
    if not result.deleveraged:
        said = [done.what.partition(": ")[2] for done in result.steps if "skipped" in done.what]
        return {"skipped": said[0] if said else None}
    quantum = result.ledger.quantum["USDT"]
    return {
        "counterparty_quote_after": exact(other["quote"]) + result.ledger.balance("other", "USDT") * quantum,
        "liquidated_quote_after": exact(one["quote"]) + result.ledger.balance("one", "USDT") * quantum,
    }


@runner("loss_allocation")
def loss_allocation(entry: Entry) -> Any:
    """Money taken from profit: by a queue, and pro rata."""
    given = entry["in"]
    profit = [max(F(0), exact(x)) for x in given["pnl"]]
    budget = exact(given["deficit"]) * exact(given.get("severity", 1))
    shared = allocation.pro_rata(profit, budget)
    total = sum(profit, F(0))
    return {
        "budget": budget,
        "queue_taken": allocation.queue(profit, given["queue_order"], budget),
        "pro_rata_fraction": min(F(1), budget / total) if total else F(0),
        "pro_rata_taken": shared,
    }
