"""Laws of resolutions over random venues with all that a ruleset can say: nothing is lost, caps hold, it ends."""

import os
import random
from fractions import Fraction

import pytest

from riskpolicy.engines.core.exact import ExactBucket
from riskpolicy.engines.resolving.books import Books
from riskpolicy.engines.resolving.staged import Staged
from riskpolicy.snapshot.write import snapshot_dict
from tests import venue
from tests.engines.test_resolve import random_case

F = Fraction
AT = "2025-01-01T00:00:00Z"


#: `make laws` draws this many times as many venues.
TIMES = int(os.environ.get("RISKPOLICY_LAWS", "1"))


def steps_of(rng):
    staged = {"above": rng.choice([50, 500]), "portion": "20%", "cooldown_seconds": 30}
    ramp = {"initial": rng.choice(["0%", "10%"]), "duration_seconds": 100, "whole_below": rng.choice([1, 20])}
    kinds = [
        {"id": "staged", "do": "market_order", "staged": staged, "leftover": "account"},
        {"id": "ramp", "do": "market_order", "until": "healthy", "ramp": ramp, "leftover": "account"},
        {"id": "parts", "do": "market_order", "until": "healthy", "portion": "30%", "leftover": "account", "fee": "1%"},
        {"id": "ioc", "do": "immediate_or_cancel", "price": "market_mark_price * 0.99", "fee": "0.5%"},
        {"id": "auction", "do": "auction", "reserve": "bankruptcy_price", "fee": "0.1%"},
        {"id": "open", "do": "auction", "reserve": "mark_price", "timeout_seconds": 60},
        {"id": "vault", "do": "takeover", "by": "b", "price": "bankruptcy_price", "solvency": "maintenance"},
        {"id": "most", "do": "takeover", "by": "main", "price": "mark_price", "max_loss": "10%", "leftover": "account"},
        {"id": "adl", "do": "deleverage", "when": "state in (bankrupt, liquidatable)"},
        {"id": "lower", "do": "lower_tier", "tiers": rng.choice(["one", "two", "lowest"]), "fee": "0.1%"},
        {"id": "assign", "do": "assign", "price": "bankruptcy_price"},
        {"id": "third", "do": "immediate_or_cancel", "price": "mark_price", "portion": "30%"},
    ]
    return rng.sample(kinds, k=rng.randint(1, 5))


def layers_of(rng):
    group = {"group": "g"} if rng.random() < 0.5 else {}
    one = {"id": "one", "pays": "main", **group, "draw": rng.choice(["partial", "all_or_nothing", "leave_unit"])}
    two = {"id": "two", "pays": "b", **group}
    if group and rng.random() < 0.5:
        one["group_cap"] = rng.randint(40, 60)
    for layer in (one, two):
        for cap, value in (("cap", 30), ("per_account", 10), ("per_market", 40), ("cap_share", "40%")):
            if rng.random() < 0.25:
                layer[cap] = value
    if rng.random() < 0.3:
        two["window_seconds"] = 60
    last = rng.choice(["open_interest", "profit", "withdrawals", None])
    social = [] if last is None else [{"id": "all", "pays": "socialization", "by": last}]
    members = [{"id": "members", "pays": "guarantee"}, {"id": "calls", "pays": "calls"}]
    return [one, two, *(members if rng.random() < 0.5 else []), *social, {"id": "end", "pays": "residual"}]


def full_case(seed):
    rng = random.Random(seed)
    rules, tables = random_case(seed)
    rules["funds"] = [
        {"id": "main", "currency": "USDT"}, {"id": "b", "currency": "USDT"},
        {"id": "guarantee", "currency": "USDT", "holds": "members"},
        {"id": "calls", "currency": "USDT", "holds": "assessments", "of": "guarantee", "multiple": "200%"},
    ]  # fmt: skip
    rules["liquidation"]["steps"] = steps_of(rng)
    if rng.random() < 0.3:
        rules["liquidation"]["release"] = "equity >= maintenance_margin * 1.5"
    rules["waterfall"] = [{"id": "own", "pays": "defaulter"}, *layers_of(rng)]
    rules["deleveraging"]["take"] |= {
        "rule": rng.choice(["queue", "pro_rata", "pro_rata_contracts", "least_leverage", "random_start", "integer"]),
        "fee": rng.choice(["0%", "0.2%"]),
    }
    if rng.random() < 0.4:
        rules["deleveraging"]["eligible"] = "unrealized_pnl > 0"
    if rng.random() < 0.3:
        rules["deleveraging"]["again"] = True
    if rng.random() < 0.3:
        rules["deleveraging"]["trigger"] = {"start": "fund_balance < 50 * settle", "stop": "fund_balance > 60 * settle"}
    if rng.random() < 0.3:
        rules["deleveraging"]["take"]["most"] = "50%"
    widen(rng, rules, tables)
    take_otherwise(random.Random(seed + 10**6), rules, tables)
    if rng.random() < 0.5:
        rules["fees"] = {
            "tiers": [{"id": "base", "maker": "-0.01%", "taker": "0.05%"}],
            "split": [{"id": "fund", "to": "main", "share": "50%"}, {"id": "x", "to": "x", "share": "30%", "cap": 1}],
            "residue": "house",
        }  # fmt: skip
    tables["funds"].append({"fund": "b", "currency": "USDT", "balance": rng.choice([0, 10, 300])})
    tables["members"] = [
        {"member": f"m{k}", "fund": "guarantee", "contribution": rng.randint(1, 20), "assessed": rng.randint(0, 5)}
        for k in range(3)
    ]
    tables["as_of"] = AT
    names = [row["account"] for row in tables["accounts"]]
    events = [
        {"kind": "deposit", "account": rng.choice(names), "currency": "USDT", "amount": "1.23"},
        {"kind": "fill", "account": rng.choice(names), "instrument": "BTC", "side": rng.choice(["buy", "sell"]),
         "quantity": rng.randint(1, 5), "price": tables["markets"][0]["mark_price"]},
        {"kind": "funding", "instrument": "BTC", "funding_rate": rng.choice(["0.0003", "-0.001"])},
        {"kind": "mark", "instrument": "BTC", "at": "2025-01-01T00:00:31Z", "mark_price": rng.randint(80, 120)},
        {"kind": "auction", "instrument": "BTC", "price": 100, "quantity": 3, "bidder": "x"},
        {"kind": "time", "at": "2025-01-01T00:02:00Z"},
    ]  # fmt: skip
    return rules, tables, [{**e, "sequence": k} for k, e in enumerate(rng.sample(events, k=rng.randint(0, 3)))]


def take_otherwise(rng, rules, tables):
    """Rules of deleveraging that came later, drawn apart so that what earlier draws have found stays what it was."""
    rules_of = rules["deleveraging"]
    if rng.random() < 0.3:
        rules_of["take"]["rule"] = rng.choice(["lexicographic", "capped_queue", "capped_pro_rata", "risk_weighted"])
    if rng.random() < 0.2:
        rules_of["severity"] = {
            "rule": rng.choice(["static", "back_off", "mirror_descent"]),
            "start": "50%",
            "least": "10%",
        }
    if rng.random() < 0.2:
        rules_of["trigger"] = {"start": "symbol_pnl < -20 * settle", "stop": "symbol_pnl > -10 * settle"}
        for market in tables["markets"]:
            market |= {"symbol_pnl": rng.choice([-30, -15, 0]), "symbol_pnl_peak_8h": 0}


def limited(rules):
    """Whether an event has a limit, so that each resolution is another event that may take as much again."""
    take = rules["deleveraging"]["take"]
    money = ("pro_rata", "capped_queue", "capped_pro_rata", "risk_weighted")
    return "most" in take or take["rule"] in money or "severity" in rules["deleveraging"]


def hold_those_who_give_to_their_laws(policy, result, tables):
    """They are opposite to whom they are closed against, give no more than it had, and do not end below zero."""
    held = {(p["account"], p["instrument"]): F(str(p["quantity"])) for p in tables["positions"]}
    closed = {}
    for d in result.deleveraged:
        assert held[d.account, d.instrument] * held[d.against, d.instrument] < 0
        assert d.account != d.against
        key = (d.against, d.instrument)
        closed[key] = closed.get(key, 0) + abs(d.quantity)
    assert all(size <= abs(held[key]) for key, size in closed.items())
    # Whoever gives and is not liquidated itself, nor shares a loss, keeps what is not below zero.
    stepped = {step.account for step in result.steps} | set(result.waiting)
    gave = {d.account for d in result.deleveraged} - stepped
    has = equities(policy, result.after)
    assert all(has[name] >= 0 for name in gave)


def widen(rng, rules, tables):
    """Steps of tiers, providers, a second market for some of the accounts, isolated positions."""
    rules["margin"]["tiers"][0] |= {"rate": "step", "rows": [[900, "1%"], [2000, "1.5%"], ["unlimited", "2%"]]}
    rules["instruments"][0]["fund"] = "main"
    tables["providers"] = [{"provider": f"p{k}", "instrument": "BTC", "capacity": rng.randint(0, 9)} for k in range(2)]
    first, names = rules["instruments"][0], [row["account"] for row in tables["accounts"]]
    if rng.random() < 0.4 and len(names) > 2:
        rules["instruments"].append(
            {**first, "symbols": ["ETH"], "payoff": "linear", "contract_size": 1, "fund": rng.choice(["main", "b"])}
        )
        tables["markets"].append({"instrument": "ETH", "mark_price": 50})
        sizes = [rng.randint(1, 9) for _ in names[1:]]
        for name, size in zip(names, [-sum(sizes), *sizes], strict=True):
            row = {"account": name, "instrument": "ETH", "quantity": size, "entry_price": rng.randint(40, 60)}
            tables["positions"].append(row)
        levels = [(side, 50 + k * (1 if side == "ask" else -1)) for side in ("bid", "ask") for k in (1, 2)]
        tables["depth"] += [
            {"instrument": "ETH", "side": side, "price": price, "quantity": rng.randint(0, 9)} for side, price in levels
        ]
    if rng.random() < 0.3:
        rules["margin"]["modes"] = ["cross", "isolated"]
        for row in tables["positions"]:
            if rng.random() < 0.3:
                row |= {"margin_mode": "isolated", "isolated_margin": rng.randint(0, 50 * abs(row["quantity"])) / 100}
    if rng.random() < 0.2:
        # Without lots, contracts are closed in parts so small that all of it is a matter of rounding.
        for instrument in rules["instruments"]:
            instrument.pop("lot", None)


def worth(policy, symbol, quantity, price):
    """The value whose change is profit."""
    instruments = policy.plan.instruments
    size = quantity * instruments.contract_size_exact[instruments.number[symbol]]
    return -size / price if instruments.inverse[instruments.number[symbol]] else size * price


def equities(policy, snapshot):
    """What each account has at the marks, of all its buckets together."""
    said, held = snapshot_dict(snapshot), {}
    marks = {row["instrument"]: F(str(row["mark_price"])) for row in said["markets"]}
    for row in said["accounts"]:
        held[row["account"]] = held.get(row["account"], 0) + F(str(row["balance"]))
    for p in said["positions"]:
        symbol, quantity, entry = p["instrument"], F(str(p["quantity"])), F(str(p["entry_price"]))
        profit = worth(policy, symbol, quantity, marks[symbol]) - worth(policy, symbol, quantity, entry)
        held[p["account"]] += profit + F(str(p.get("isolated_margin") or 0))
    return held


def money(policy, snapshot):
    """All that anybody has at the marks: equity, funds, contributions; what was called of members came from outside."""
    said = snapshot_dict(snapshot)
    funds = sum(F(str(row["balance"])) for row in said["funds"])
    members = sum(F(str(m["contribution"])) - F(str(m["assessed"])) for m in said["members"])
    return sum(equities(policy, snapshot).values()) + funds + members


def ordered(events):
    """In order of their instants, as they would come."""
    timed = {"mark": 1, "time": 2}
    return [
        {**e, "sequence": k} for k, e in enumerate(sorted(events, key=lambda e: timed.get(e["kind"], 0)))
    ]  # fmt: skip


def hold_counterparties_to_the_ledger(policy, before, result):
    """Whoever is not liquidated and keeps some contracts has what it had, and exactly what was booked."""
    said = snapshot_dict(result.after)
    had, has = equities(policy, before.snapshot), equities(policy, result.after)
    marks = {row["instrument"]: F(str(row["mark_price"])) for row in said["markets"]}
    keeps = {p["account"] for p in said["positions"] if F(str(p["quantity"])) and not p.get("isolated_margin")}
    keeps -= {p["account"] for p in said["positions"] if p.get("isolated_margin")}
    keeps -= {row["account"] for row in before.buckets.rows() if row["state"] in ("liquidatable", "bankrupt")}
    keeps -= set(result.waiting)
    keeps -= {step.account for step in result.steps if step.what != "pays its share of a loss"}
    for name in sorted(name for name in keeps if not name.startswith("@")):
        booked = F(0)
        for e in result.ledger.entries:
            if e.account == name and e.contracts is not None:
                booked += worth(policy, e.instrument, e.contracts, marks[e.instrument])
            elif e.account == name:
                booked += e.amount * result.ledger.quantum[e.currency]
        # Snapshots are written in decimals of 28 digits.
        assert abs(has[name] - had[name] - booked) < F(1, 10**20), name


#: What many draws have found: an auction that held back steps before it; who is liquidated with nothing to tell.
FOUND = (4944, 8943, 11966)


@pytest.mark.parametrize("seed", [*range(800 * TIMES), *(seed for seed in FOUND if seed >= 800 * TIMES)])
def test_nothing_is_lost_caps_hold_and_it_ends(seed):
    rules, tables, events = full_case(seed)
    policy = venue.policy(rules)
    before = policy.evaluate(tables)
    result = before.resolve("book", ordered(events))
    # Every event sums to zero, by currency and by contract.
    sums = {}
    for row in result.ledger.rows():
        key = (row["event"], row["currency"], row.get("instrument"))
        sums[key] = sums.get(key, 0) + row["amount"]
    assert not any(sums.values())
    said = snapshot_dict(result.after)
    # Nobody pays what it does not have.
    assert all(F(str(row["balance"])) >= 0 for row in said["funds"])
    assert all(F(str(m["contribution"])) >= 0 for m in said["members"])
    if not any(e["kind"] == "mark" for e in events):
        total, left = money(policy, before.snapshot), money(policy, result.after)
        # The market's own fills at other prices than the mark are in its account, so nothing is won or lost in all.
        assert abs(total - left) <= F(1, 100) * (result.ledger.events + 6)
    if not events:
        hold_counterparties_to_the_ledger(policy, before, result)
        hold_those_who_give_to_their_laws(policy, result, tables)
        by_account, whole, markets = {}, {}, {}
        for layer, _, amount, rule, account in result.draws:
            assert amount > 0
            if rule in ("waterfall.one", "waterfall.two") and layer in ("one", "two"):
                by_account[rule, account] = by_account.get((rule, account), 0) + amount
                whole[rule] = whole.get(rule, 0) + amount
        takes = {s.get("by") for s in rules["liquidation"]["steps"]}
        for layer in rules["waterfall"]:
            rule = f"waterfall.{layer['id']}"
            if layer["pays"] in takes:
                # What a fund loses on what it took is its layer's draw too, and no cap of a deficit.
                continue
            for cap, count in (("cap", 1), ("per_market", len(tables["markets"]))):
                assert cap not in layer or whole.get(rule, 0) <= layer[cap] * count
            if "per_account" in layer:
                assert all(x <= layer["per_account"] for (r, _), x in by_account.items() if r == rule)
        assert not markets
    # Parts of what is left get small in some sixty orders a bucket: nothing goes on in crumbs.
    assert len(result.steps) < 1000
    # At the same instant nothing more happens: the book is as deep as it was left. Where an event has a limit, each
    # resolution is another event, and they come to an end.
    again = policy.evaluate(result.after).resolve("book")
    for _ in range(1000 if limited(rules) else 0):
        if not any(s.quantity for s in again.steps):
            break
        result = again
        again = policy.evaluate(result.after).resolve("book")
    assert [s for s in again.steps if s.quantity] == []
    assert again.draws == []
    assert again.waiting == result.waiting


@pytest.mark.parametrize("seed", range(800, 840 * TIMES))
def test_neither_row_order_nor_threads_matter(seed):
    rules, tables, events = full_case(seed)
    policy = venue.policy(rules)
    wanted = policy.evaluate(tables).resolve("book", ordered(events)).to_dict()
    rng = random.Random(seed)
    mixed = {
        name: rng.sample(rows, len(rows)) if name in ("positions", "accounts", "members", "funds") else rows
        for name, rows in tables.items()
    }
    assert policy.evaluate(mixed, threads=2).resolve("book", ordered(events)).to_dict() == wanted


def exactly(rules, tables, events, monkeypatch):
    """The same resolution with no bounds asked: every decision by exact sums, and equity changed by what is noted."""

    def sums(self, bucket, amount):
        start = ExactBucket(self.bound, bucket).equity
        assert self.bucket(bucket).equity == start + self.gained.get(bucket, F(0))
        return self.bucket(bucket).equity >= amount

    with monkeypatch.context() as patch:
        patch.setattr(Books, "has", sums)
        patch.setattr(Staged, "sound", lambda *_: False)
        return venue.policy(rules).evaluate(tables).resolve("book", events)


@pytest.mark.parametrize("seed", range(1000, 1060 * TIMES))
def test_bounds_decide_as_exact_sums_do(seed, monkeypatch):
    rules, tables, events = full_case(seed)
    found = venue.policy(rules).evaluate(tables).resolve("book", ordered(events))
    wanted = exactly(rules, tables, ordered(events), monkeypatch)
    assert found.to_dict() == wanted.to_dict()
    assert snapshot_dict(found.after) == snapshot_dict(wanted.after)


@pytest.mark.parametrize("seed", range(840, 900 * TIMES))
def test_a_deposit_in_two_is_one_deposit(seed):
    rules, tables, _ = full_case(seed)
    policy = venue.policy(rules)
    name = tables["accounts"][0]["account"]

    def paid(*amounts):
        events = [{"kind": "deposit", "account": name, "currency": "USDT", "amount": x} for x in amounts]
        return policy.evaluate(tables).resolve("book", [{**e, "sequence": k} for k, e in enumerate(events)])

    one, two = paid("3.00"), paid("1.25", "1.75")
    # Who is in liquidation is liquidated as far as it is now, so only those who are not are indifferent to parts; and
    # where an event has a limit, each deposit is followed by another one. A deposit may also make it able to give.
    touched = {step.account for step in [*one.steps, *two.steps]} | {d.account for d in one.deleveraged}
    if not limited(rules) and name not in touched:
        assert snapshot_dict(one.after) == snapshot_dict(two.after)
