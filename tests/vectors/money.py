"""Runners of fees, funds, stakes and funding: each calls the engine's own functions on an entry's numbers."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from riskpolicy.engines import funds, staking
from riskpolicy.engines.execution import GivenFills
from riskpolicy.engines.staking import Stake, StakingError, Vault
from riskpolicy.numbers import exact
from tests import venue
from tests.vectors import Entry, NoRunnerError, runner

F = Fraction
REFUSED = "refused"


@runner("insurance_fund_validity")
@runner("fund_validity")
def fund_validity(entry: Entry) -> Any:
    """Whether a fund of a balance bears a change; of one case, or of several."""
    given = entry["in"]
    cases = given.get("cases", [[given.get("balance"), given.get("delta")]])
    valid = [funds.valid_delta(int(balance), int(delta)) for balance, delta in cases]
    return {"valid": valid if "cases" in given else valid[0]}


@runner("bankruptcy_quanta")
def bankruptcy_quanta(entry: Entry) -> Any:
    """What closing a part of a position must bring: positions are [contracts, price, maintenance rate]."""
    given = entry["in"]
    unit = exact(given.get("quantum", "0.000001"))

    def quanta(value: Fraction, *, up: bool = False) -> int:
        return int(-(-value // unit) if up else value // unit)

    rows = [[exact(x) for x in row] for row in given["positions"]]
    equity = quanta(exact(given["quote"]) + sum((q * p for q, p, _ in rows), F(0)))
    due = [quanta(abs(q * p) * m, up=True) for q, p, m in rows]
    closed, (contracts, price, rate) = exact(given["close"]), rows[given.get("position", 0)]
    left = contracts + closed
    if closed == 0 or contracts * closed >= 0 or abs(closed) > abs(contracts):
        return {"quote_quanta": REFUSED}
    freed = quanta(abs(left * price) * rate, up=True) - quanta(abs(contracts * price) * rate, up=True)
    change = quanta(left * price) - quanta(contracts * price)
    return {"quote_quanta": funds.bankruptcy_value(change, equity, freed, sum(due))}


@runner("fund_delta")
def fund_delta(entry: Entry) -> Any:
    """What fills at prices bring the fund: contracts x price against the bankruptcy value, a fee of at most a rate."""
    given = entry["in"]
    unit = exact(given.get("quantum", "0.000001"))
    to_fund = []
    for price in given["fills_at"]:
        received = exact(given["contracts"]) * exact(price) / unit
        largest = int(abs(received) * exact(given["max_fee"]))
        to_fund.append(funds.fund_delta(int(received), int(exact(given["bankruptcy_value"]) / unit), largest) * unit)
    return {"to_fund": to_fund}


@runner("profit_haircut")
def profit_haircut(entry: Entry) -> Any:
    """A loss shared by profit: at least a minimum of it, what is over to the fund."""
    given = entry["in"]
    unit = exact(given.get("quantum", "0.000001"))
    profits = given["profits"]
    listed = list(profits.values()) if isinstance(profits, dict) else profits
    parts, over, unpaid = funds.haircut(
        [int(exact(x) / unit) for x in listed], int(exact(given["loss"]) / unit), exact(given.get("least", 0))
    )
    shared = [part * unit for part in parts]
    net = [exact(profit) - share for profit, share in zip(listed, shared, strict=True)]
    names = list(profits) if isinstance(profits, dict) else None
    return {
        "shared": shared if names is None else dict(zip(names, shared, strict=True)),
        "net": net if names is None else dict(zip(names, net, strict=True)),
        "to_fund": over * unit,
        "residual": unpaid * unit,
    }


@runner("fund_trigger")
def fund_trigger(entry: Entry) -> Any:
    """Whether a condition on the fund opens deleveraging: a bankrupt short against a long in a book without orders."""
    given = entry["in"]
    triggered = []
    for case in given["cases"]:
        ruleset = venue.tiers([["unlimited", "1%"]])
        ruleset["liquidation"]["steps"] = [{"id": "adl", "do": "deleverage", "when": given["when"]}]
        ruleset["deleveraging"]["take"]["price"] = "mark_price"
        positions = [("gone", "BTCUSDT", -1, 100), ("other", "BTCUSDT", 1, 100)]
        tables = venue.cross(positions, {"gone": 0.5, "other": 1000}, {"BTCUSDT": 100})
        tables["funds"] = [{"fund": "main", "currency": "USDT", **case}]
        triggered.append(bool(venue.evaluate(ruleset, tables).resolve(GivenFills({})).deleveraged))
    return {"triggered": triggered}


@runner("stake_rebase")
def stake_rebase(entry: Entry) -> Any:
    return {"exponent": [staking.rebase_exponent(total, balance) for total, balance in entry["in"]["cases"]]}


@runner("staking")
def stakes(entry: Entry) -> Any:
    """A vault with named stakes, step by step; what each step pays or makes, or that it is refused."""
    given = entry["in"]
    vault = Vault(**given.get("vault", {}))
    held = {name: Stake(**cells) for name, cells in given.get("stakes", {}).items()}
    made: list[Any] = []
    for step in given["steps"]:
        try:
            vault, result = _step(vault, held, step, exact(given.get("cooldown", 0)))
        except StakingError:
            result = REFUSED
        made.append(result)
    return {
        "steps": made, "balance": vault.balance, "total": vault.total, "staked": vault.staked, "base": vault.base,
        "shares": {name: stake.shares for name, stake in held.items()},
    }  # fmt: skip


def _step(vault: Vault, held: dict[str, Stake], step: dict[str, Any], cooldown: Fraction) -> tuple[Vault, Any]:
    """What a step makes: a stake and a request the shares that they count, a withdrawal or settlement what is paid."""
    do, now = step["do"], exact(step.get("at", 0))
    name = step.get("who", "")
    stake = held.setdefault(name, Stake()) if name else Stake()
    if do in ("gain", "lose"):
        return Vault(
            vault.balance + step["amount"] * (1 if do == "gain" else -1), vault.total, vault.staked, vault.base
        ), None
    if do == "stake":
        vault, after = staking.put_in(vault, stake, step["amount"])
        result: Any = after.shares - staking.rebased_stake(stake, after.base).shares
    elif do == "request":
        vault, after = staking.request(vault, stake, step.get("shares", stake.shares), now)
        result = after.value
    elif do == "cancel":
        vault, after = staking.cancel(vault, stake, now)
        result = staking.rebased_stake(stake, after.base).shares - after.shares
    elif do == "withdraw":
        vault, after, result = staking.withdraw(vault, stake, now, cooldown, gated=step.get("gated", False))
    elif do == "transfer":
        vault, after, result = staking.venue_transfer(vault, stake, step["shares"])
    elif do == "venue_withdraw":
        return staking.venue_withdraw(vault, step["shares"])
    elif do == "bear":
        return staking.bear_loss(vault, step["loss"], step.get("most"))
    elif do == "settle":
        yearly = None if step.get("yearly") is None else exact(step["yearly"])
        return staking.settle_revenue(
            vault, step["pool"], period=exact(step["period"]), yearly=yearly,
            of_pool=exact(step.get("of_pool", 1)), venue=exact(step.get("venue", 0)),
        )  # fmt: skip
    else:
        raise NoRunnerError(do)
    held[name] = after
    return vault, result
