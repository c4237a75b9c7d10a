"""Runners of loss rules: each makes a ruleset and a snapshot of an entry, resolves, and reads off the result."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from riskpolicy.engines.core.draw import Payers, draw
from riskpolicy.engines.core.resolution import Resolution
from riskpolicy.engines.execution import BookLevels, Fill, GivenFills, Impact, notional_and_vwap
from riskpolicy.engines.funding import carry_rate
from riskpolicy.numbers import exact
from riskpolicy.plan.plan import FundingRules
from tests import venue
from tests.vectors import Entry, NoRunnerError, runner
from tests.vectors.margin import _inverse, _rate

F = Fraction


@runner("execution_vwap")
def execution_vwap(entry: Entry) -> Any:
    given = entry["in"]
    sides = {side: {"X": [(exact(p), exact(q)) for p, q in given.get(side, [])]} for side in ("bids", "asks")}
    quantity = exact(given["buy"]) if "buy" in given else -exact(given["sell"])
    fills = BookLevels(sides["bids"], sides["asks"]).quote("X", quantity, F(1))
    notional, vwap = notional_and_vwap(fills)
    return {"notional": notional, "vwap": vwap, "filled": sum((abs(f.quantity) for f in fills), F(0))}


@runner("execution_linear")
def execution_linear(entry: Entry) -> Any:
    prices = []
    for side, price, size in entry["in"]["cases"]:
        model = Impact(F(1), {"X": exact(entry["in"]["slope"])}, absolute=True)
        fills = model.quote("X", exact(size) * (1 if side == "buy" else -1), exact(price))
        prices.append(notional_and_vwap(fills)[1])
    return {"average_price": prices}


@runner("funding_rate")
def funding_rate(entry: Entry) -> Any:
    given = entry["in"]
    cap = given.get("cap")
    rules = FundingRules(
        exact(given["interest"]), exact(given["clamp"]), exact(given.get("interval_hours", 8)),
        None if cap is None else exact(cap),
    )  # fmt: skip
    return {"rate": rules.rate(exact(given["average_premium"]))}


@runner("waterfall")
def waterfall(entry: Entry) -> Any:
    """The defaulter's resources, the first skin in the game, then the second skin and the members at once."""
    given = entry["in"]
    shared = given.get("shares_layer_with", "members")
    funds = {
        "own": given["defaulter_resources"],
        "first": given["first_skin"],
        "second": given.get("second_skin", 0),
    }
    funds[shared] = given.get(shared, 10 * given["loss"])
    ruleset = venue.base()
    ruleset["currencies"] = {"USDT": {"quantum": 1}}
    ruleset["funds"] = [{"id": name, "currency": "USDT"} for name in funds]
    ruleset["instruments"][0].pop("fund")
    layers = [
        {"id": name, "pays": name, **({"group": "shared"} if name in ("second", shared) else {})} for name in funds
    ]
    ruleset["waterfall"] = [*layers, {"id": "end", "pays": "residual"}]
    policy = venue.policy(ruleset)
    balances: list[int | None] = [int(x) for x in funds.values()]
    paid = {
        d.layer.name: d.amount
        for d in draw(
            policy.plan.layers, given["loss"], Payers(balances, list(balances)), F(1), lambda _: True, lambda _: True
        )
    }
    return {
        "defaulter_used": paid.get("own", 0),
        "first_skin_used": paid.get("first", 0),
        "shared_layer_used": paid.get("second", 0) + paid.get(shared, 0),
        "second_skin_used": paid.get("second", 0),
        "residual": paid.get("end", 0),
    }


@runner("inverse_pnl")
def inverse_pnl(entry: Entry) -> Any:
    """A position entered, paid its funding at entry, and closed: what it gains and pays, in coins."""
    given = entry["in"]
    ruleset = _inverse(given.get("contract_usd", 1), [["unlimited", "1%"]], 0.1)
    position = ("A", "XBTUSD", given["contracts"], given["entry"])
    start = venue.evaluate(ruleset, venue.cross([position], {"A": 100}, {"XBTUSD": given["entry"]}, currency="XBT"))
    rate = carry_rate(exact(given["quote_daily"]), exact(given["base_daily"]), given["intervals"])
    funded = start.resolve(GivenFills({}), [{"kind": "funding", "instrument": "XBTUSD", "funding_rate": rate}]).after
    assert funded is not None
    policy = venue.policy(ruleset)
    paid = 100 - (
        policy.evaluate(funded).snapshot.numbers("accounts", "balance") or start.snapshot.numbers("accounts", "balance")
    ).exact(0)  # type: ignore[union-attr]
    end = policy.evaluate(funded).with_fill("A", "XBTUSD", "sell", given["contracts"], given["exit"])
    balance = end.snapshot.numbers("accounts", "balance").exact(0)  # type: ignore[union-attr]
    return {
        "value": float(str(start.positions.row(0)["notional"])),
        "funding_rate": rate,
        "funding_paid": paid,
        "pnl": balance + paid - 100,
        "net": balance - 100,
    }


@runner("fee")
def fee(entry: Entry) -> Any:
    """Contracts closed in the book at a fee rate, taker and maker."""
    given, out = entry["in"], {}
    for word in ("taker", "maker"):
        if word in given:
            ruleset = _inverse(given.get("contract_usd", 1), [["unlimited", "99%"]], 1)
            ruleset["liquidation"]["steps"] = [
                {"id": "book", "do": "market_order", "fee": _rate(given[word]), "leftover": "account"}
            ]
            at = given["price"]
            tables = venue.cross([("A", "XBTUSD", given["contracts"], at)], {"A": 1}, {"XBTUSD": at}, currency="XBT")
            result = _resolve(ruleset, tables, "XBTUSD", [(-given["contracts"], at)])
            out[f"{word}_btc"] = F(result.ledger.balance("@fees", "XBT")) * result.ledger.quantum["XBT"]
    return out


@runner("assignment")
def assignment(entry: Entry) -> Any:
    """What the book leaves is assigned, market by market."""
    given = entry["in"]
    assigned = {}
    for symbol, contracts in given["positions"].items():
        ruleset = _inverse(1, [["unlimited", "99%"]], 1)
        ruleset["instruments"][0] |= {"lot": 1, "symbols": [symbol]}
        ruleset["liquidation"]["steps"] = [
            {"id": "close", "do": "immediate_or_cancel", "price": "bankruptcy_price"},
            {"id": "assign", "do": "assign", "price": "bankruptcy_price"},
        ]
        tables = venue.cross([("A", symbol, contracts, 10000)], {"A": 1}, {symbol: 10000}, currency="XBT")
        capacities = given.get("capacities", {"all": contracts})
        rows = [{"provider": name, "instrument": symbol, "capacity": size} for name, size in capacities.items()]
        filled = given["filled_in_book"].get(symbol, 0)
        result = _resolve(ruleset, {**tables, "providers": rows}, symbol, [(-filled, 10000)] if filled else [])
        parts = {
            e.account.removeprefix("@provider:"): e.contracts
            for e in result.ledger.entries
            if e.account.startswith("@provider:") and e.contracts
        }
        assigned[symbol] = sum(parts.values(), F(0)) if "capacities" not in given else parts
    return {"assigned": assigned}


@runner("partial_liquidation")
def partial_liquidation(entry: Entry) -> Any:
    """A position is closed down to the cap of the lowest tier."""
    given = entry["in"]
    rows = [[given["lowest_tier_max"], "1%"], ["unlimited", "50%"]]
    ruleset = venue.tiers(rows, rate="step", key="contracts")
    ruleset["instruments"][0]["lot"] = 1
    ruleset["liquidation"]["steps"] = [{"id": "lower", "do": "lower_tier", "tiers": given.get("tiers", "lowest")}]
    tables = venue.cross([("A", "BTCUSDT", given["contracts"], 100)], {"A": given["contracts"] * 10}, {"BTCUSDT": 100})
    result = _resolve(ruleset, tables, "BTCUSDT", [(-given["contracts"], 100)])
    return {"close": sum((abs(done.quantity or 0) for done in result.steps), F(0))}


@runner("insurance_delta")
def insurance_delta(entry: Entry) -> Any:
    """What a fill brings beyond bankruptcy goes to the fund, up to the largest fee; what it lacks comes from it."""
    given, deltas = entry["in"], []
    for price in given["fills_at"]:
        ruleset = venue.tiers([["unlimited", "99%"]])
        ruleset["currencies"]["USDT"]["quantum"] = "0.000001"
        step = {"id": "book", "do": "market_order", "leftover": "account", "fee_to": "main", "fee_limit": "surplus"}
        ruleset["liquidation"]["steps"] = [{**step, "fee": _rate(given["max_fee"])}]
        mark = given.get("mark", price)
        balance = given["quote"] + given["btc"] * mark
        tables = venue.cross([("A", "BTCUSDT", given["btc"], mark)], {"A": balance}, {"BTCUSDT": mark})
        tables["funds"] = [{"fund": "main", "currency": "USDT", "balance": 1000000}]
        result = _resolve(ruleset, tables, "BTCUSDT", [(-given["btc"], price)])
        deltas.append(_fund(result) - 1000000)
    return {"to_fund": deltas}


@runner("size_to_cover_shortage")
def size_to_cover_shortage(entry: Entry) -> Any:
    """Contracts that must go for the shortage to be covered, with the fees of their going inside the equation."""
    given, out = entry["in"], []
    for case in given["cases"]:
        ruleset = venue.tiers([["unlimited", _rate(given["ratio"])]])
        step = {"id": "book", "do": "market_order", "until": "healthy", "leftover": "account", "fee_on": "mark"}
        ruleset["liquidation"]["steps"] = [{**step, "fee": _rate(case["insurance_fee"])}]
        price, size = given["price"], 1000
        balance = size * price * given["ratio"] - given["shortage"]
        tables = venue.cross([("A", "BTCUSDT", size, price)], {"A": balance}, {"BTCUSDT": price})
        at = exact(price) * (1 - exact(case["liquidator_fee"]))
        result = _resolve(ruleset, tables, "BTCUSDT", [(-size, at)])
        out.append(sum((abs(done.quantity or 0) for done in result.steps), F(0)))
    return {"base": out}


@runner("full_liquidation")
def full_liquidation(entry: Entry) -> Any:
    """A liquidator takes a position at the price less its fee; a fund's fee never takes more than is left."""
    given = entry["in"]
    ruleset = venue.tiers([["unlimited", "10%"]])
    step = {"id": "book", "do": "market_order", "leftover": "account", "fee_to": "main", "fee_limit": "surplus"}
    ruleset["liquidation"]["steps"] = [{**step, "fee": _rate(given["insurance_fee_max"])}]
    ruleset["waterfall"] = [{"id": "end", "pays": "residual"}]
    price, size = exact(given["price"]), exact(given["position"])
    tables = venue.cross([("A", "BTCUSDT", given["position"], given["price"])], {"A": 0.0}, {"BTCUSDT": given["price"]})
    tables["accounts"][0]["balance"] = str(
        float(exact(given["quote"]) + size * price + exact(given.get("collateral", 0)))
    )
    tables["funds"] = [{"fund": "main", "currency": "USDT", "balance": 0}]
    result = _resolve(ruleset, tables, "BTCUSDT", [(-size, price * (1 - exact(given["liquidator_fee"])))])
    quantum = result.ledger.quantum["USDT"]
    base = sum((e.contracts for e in result.ledger.entries if e.account == "@market" and e.contracts), F(0))
    return {
        "user_quote": -result.residual.get("USDT", F(0)),
        "liquidator": {"base": base, "quote": result.ledger.balance("@market", "USDT") * quantum},
        "insurance_fee": result.ledger.balance("@main", "USDT") * quantum,
    }


@runner("socialise_per_unit")
def socialise_per_unit(entry: Entry) -> Any:
    """A loss that the fee pool does not cover is paid by both sides, so much a unit."""
    given = entry["in"]
    ruleset = venue.tiers([["unlimited", "1%"]])
    ruleset["liquidation"]["steps"] = [{"id": "book", "do": "market_order", "leftover": "account"}]
    pays = {"id": "all", "pays": "socialization", "by": "open_interest"}
    ruleset["waterfall"] = [{"id": "pool", "pays": "main"}, pays, {"id": "end", "pays": "residual"}]
    positions = [("L", "BTCUSDT", given["long"], 100), ("S", "BTCUSDT", -given["short"], 100), ("A", "BTCUSDT", 1, 100)]
    balances = {"L": 10**6, "S": 10**6, "A": -given["loss"]}
    tables = venue.cross(positions, balances, {"BTCUSDT": 100})
    tables["funds"] = [{"fund": "main", "currency": "USDT", "balance": given["fee_pool"]}]
    result = _resolve(ruleset, tables, "BTCUSDT", [(-1, 100)])
    paid = {done.account: done.amount or F(0) for done in result.steps if done.amount}
    return {
        "index_move": paid["L"] / exact(given["long"]),
        "each_position_of_5_pays": paid["L"] if given["long"] == 5 else paid["S"],
    }


@runner("fund_flow")
def fund_flow(entry: Entry) -> Any:
    """The engine closes at fills better and worse than bankruptcy: the fund gains and pays, one after the other."""
    given = entry["in"]
    balance, after, deleveraged = given["fund_start"], [], False
    for price in given["fills"]:
        ruleset = venue.tiers([["unlimited", "99%"]])
        step = {"id": "book", "do": "market_order", "leftover": "fund", "fee_to": "main", "fee_limit": "surplus"}
        ruleset["liquidation"]["steps"] = [{**step, "fee": "100%"}, {"id": "adl", "do": "deleverage"}]
        # Bankrupt at the given price: the equity at the mark, which is the fill, is what lies between.
        equity = given["position"] * (exact(price) - exact(given["bankruptcy_price"]))
        tables = venue.cross([("A", "BTCUSDT", given["position"], price)], {"A": 0}, {"BTCUSDT": price})
        tables["accounts"][0]["balance"] = str(float(equity))
        tables["funds"] = [{"fund": "main", "currency": "USDT", "balance": str(float(balance))}]
        result = _resolve(ruleset, tables, "BTCUSDT", [(-given["position"], price)])
        balance = _fund(result)
        deleveraged = deleveraged or bool(result.deleveraged) or bool(result.residual)
        after.append(balance)
    return {"fund_after": after, "adl": deleveraged}


def _resolve(ruleset: dict[str, Any], tables: dict[str, Any], symbol: str, fills: list[tuple[Any, Any]]) -> Resolution:
    given = GivenFills({symbol: [Fill(exact(size), exact(price)) for size, price in fills]})
    if "funds" not in tables:
        currency = next(iter(ruleset["currencies"]))
        tables = {**tables, "funds": [{"fund": "main", "currency": currency, "balance": 0}]}
    return venue.evaluate(ruleset, tables).resolve(given)


def _fund(result: Resolution) -> Fraction:
    assert result.after is not None
    given = result.after.numbers("funds", "balance")
    found = None if given is None else given.exact(0)
    if found is None:
        raise NoRunnerError("without a fund")
    return found
