"""Every tier table that ships, against the definitions in plain fractions: at, below and above each of its caps."""

from decimal import Decimal
from fractions import Fraction

import pytest

import riskpolicy as rp
from riskpolicy.ruleset.catalog import installed
from riskpolicy.ruleset.margin import Curve
from tests.engines.curves import Terms

F = Fraction
VERSIONS = [f"{name}@{v.start.date()}" for name, versions in sorted(installed().items()) for v in versions]
SHAPES = {"flat", "bracket", "step", "linear", "square_root"}


def rate(text):
    text = str(text)
    return F(Decimal(text[:-1])) / 100 if text.endswith("%") else F(Decimal(text))


def rows_of(table):
    """(cap, maintenance, initial) of every row as written, generated ones included."""
    columns, rows = list(table.columns), []
    for cells in table.rows:
        row = dict(zip(columns, (str(c) for c in cells), strict=True))
        leverage = F(row["max_leverage"]) if "max_leverage" in row else None
        if "maintenance" in row:
            maintained = rate(row["maintenance"])
        else:
            assert table.maintenance == "1 / (2 * max_leverage)"
            maintained = 1 / (2 * leverage)
        initial = rate(row["initial"]) if "initial" in row else 1 / leverage
        rows.append((None if row["up_to"] == "unlimited" else F(row["up_to"]), maintained, initial))
    more = table.generated
    while more is not None:
        cap, maintained, initial = rows[-1]
        step = (cap + F(more.step), maintained + F(more.maintenance), initial + F(more.initial))
        if max(step[1:]) > 1:
            break
        rows.append(step)
    return rows


def terms_of(group, table, part):
    terms = Terms(group.payoff, F(group.contract_size), table.key, table.basis, table.rate, edge=table.edge)
    if table.rate in ("bracket", "step"):
        rows = rows_of(table)
        terms.caps, terms.rates = [r[0] for r in rows], [r[1 if part == "maintenance" else 2] for r in rows]
        return terms
    written = getattr(table, part)
    if isinstance(written, Curve):
        terms.base, terms.most = F(written.base), F(written.most)
        terms.slope, terms.factor, terms.share = F(written.slope), F(written.factor), F(written.share)
    else:
        terms.rate, terms.rates = "flat", [rate(written)]
    return terms


@pytest.mark.parametrize("name", VERSIONS)
def test_margins_of_every_tier_are_those_of_the_definitions(name):
    policy = rp.load(name)
    tables = {t.id: t for t in policy.ruleset.margin.tiers}
    groups = [(s, g) for g in policy.ruleset.instruments for s in g.symbols[:1]]
    for symbol, group in groups:
        table = tables[group.tiers]
        if table.rate not in SHAPES:
            continue
        terms = terms_of(group, table, "maintenance")
        price = F(60000) if group.payoff == "inverse" else F(50)
        unit = terms.counted(F(1), price)
        caps = [c for c in terms.caps if c is not None] or [F(100), F(10**5), F(10**7)]
        lot = F(group.lot) if group.lot is not None else F(1, 1000)
        sizes = {max(1, int(cap / unit / lot) + k) * lot for cap in caps[:12] for k in (-1, 0, 1, 2)}
        positions = [
            {"account": f"a{k}", "instrument": symbol, "quantity": str(float(s)), "entry_price": float(price)}
            for k, s in enumerate(sorted(sizes))
        ]
        accounts = [{"account": p["account"], "currency": group.settle, "balance": 10**12} for p in positions]
        market = {"instrument": symbol, "mark_price": float(price), "open_interest": 1}
        evaluation = policy.evaluate({"positions": positions, "accounts": accounts, "markets": [market]})
        for row, size in zip(evaluation.positions.rows(), sorted(sizes), strict=True):
            size = rp.exact(str(float(size)))
            wanted = terms.maintenance(size, price, price)
            got = float(row["maintenance_margin"])
            if policy.plan.requirements.rounded_up:
                assert 0 <= got - float(wanted) <= 1.1e-6, (symbol, size)
            else:
                assert got == pytest.approx(float(wanted), rel=1e-12), (symbol, size)


def test_a_wrong_rate_is_seen():
    """The comparison can fail: another rate in the reference is another margin."""
    ruleset = rp.load("binance-usdm").ruleset
    terms = terms_of(ruleset.instruments[0], ruleset.margin.tiers[0], "maintenance")
    before = terms.maintenance(F(10), F(50000), F(50000))
    terms.rates[1] += F(1, 1000)
    assert terms.maintenance(F(10), F(50000), F(50000)) != before
