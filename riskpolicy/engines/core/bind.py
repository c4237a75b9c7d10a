"""Binding a snapshot to a plan: everything that does not fit is found here, and buckets are formed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from riskpolicy.engines.core.bound import (
    CROSS,
    KEYS,
    Bound,
    Buckets,
    Floats,
    Ints,
    Longs,
    Orders,
    Positions,
    exact_key,
    exact_of,
    sums_of,
    weight_of,
)
from riskpolicy.errors import Finding, SnapshotError, one_of, suggestion
from riskpolicy.kernel import _kernel
from riskpolicy.kernel.memory import empty
from riskpolicy.numbers import sqrt
from riskpolicy.plan.plan import Collateral, Curve, Market, Plan
from riskpolicy.snapshot.columns import Ids, Numbers
from riskpolicy.snapshot.snapshot import Snapshot

_SHOWN = 10


def bind(plan: Plan, snapshot: Snapshot) -> Bound:
    """Bind a snapshot to a plan; SnapshotError with every way in which they do not fit."""
    return _Binder(plan, snapshot).bound()


class _Binder:
    def __init__(self, plan: Plan, snapshot: Snapshot) -> None:
        self.plan = plan
        self.snapshot = snapshot
        self.findings: list[Finding] = []

    def bound(self) -> Bound:
        self._validity()
        instrument = self._known("positions", "instrument", self.plan.instruments.number, "unknown_instrument")
        market = self._known("markets", "instrument", self.plan.instruments.number, "unknown_instrument")
        currencies = {name: i for i, name in enumerate(self.plan.currencies)}
        currency = self._known("accounts", "currency", currencies, "unknown_currency")
        funds = {fund.id: i for i, fund in enumerate(self.plan.funds)}
        fund = self._known("funds", "fund", funds, "unknown_fund")
        self._known("depth", "instrument", self.plan.instruments.number, "unknown_instrument")
        self._known("providers", "instrument", self.plan.instruments.number, "unknown_instrument")
        ordered = self._known("orders", "instrument", self.plan.instruments.number, "unknown_instrument")
        self._stop()
        mark, market_row = self._marks(market)
        prices = self._prices(currency)
        self._one_name(instrument)
        self._modes(instrument, market_row)
        self._complete(instrument)
        balance = self._funds(fund, currencies)
        self._stop()
        positions, buckets = self._order(instrument, currency, prices)
        orders = self._orders(ordered, market_row)
        self._stop()
        traded, tiers = self.plan.instruments, self.plan.tiers
        forms, curves = self._forms(market_row, instrument)
        self._stop()
        tables = _kernel.Tables(
            mark,
            traded.contract_size,
            traded.table,
            tiers.start,
            tiers.edge_lower,
            tiers.cap,
            tiers.rate,
            tiers.deduction,
            tiers.initial,
            forms,
            curves,
        )
        pool = None
        if self.plan.collateral is not None and self.plan.collateral.pooled:
            pool = np.array([prices[self.plan.currencies[c]] for c in traded.currency.tolist()])
        return Bound(self.plan, self.snapshot, positions, buckets, mark, market_row, balance, tables, pool, orders)

    def _forms(self, market_row: Longs, held: Ints) -> tuple[npt.NDArray[np.uint8], Floats]:
        """Return what the kernel has to know of each instrument's payoff, key and curves."""
        traded, tables = self.plan.instruments, self.plan.tiers.tables
        count = len(traded.symbols)
        forms, curves = np.zeros((count, 5), np.uint8), np.zeros((count, 10))
        plain = not (any(traded.inverse) or any(t.curved or t.entry_basis or t.key != "notional" for t in tables))
        if plain:
            return forms, curves
        needed = set(held.tolist())
        for i in range(count):
            table = tables[int(traded.table[i])]
            parts = (table.maintenance, table.initial)
            forms[i] = (traded.inverse[i], table.entry_basis, KEYS.index(table.key), *(c is not None for c in parts))
            for offset, curve in zip((0, 5), parts, strict=True):
                if curve is not None:
                    curves[i, offset : offset + 5] = self._curve(curve, i, market_row, needed=i in needed)
        return forms, curves

    def _curve(self, curve: Curve, instrument: int, market_row: Longs, *, needed: bool) -> list[float]:
        """Return a curve's numbers with the market that it depends on worked in; NaN where nobody needs it."""
        numbers = [curve.least, curve.offset, curve.slope, curve.factor, curve.most]
        if curve.market is Market.NONE:
            return [float(x) for x in numbers]
        row = int(market_row[instrument])
        given = None if row < 0 else self.snapshot.numbers("markets", curve.market.value)
        measure = None if given is None else given.exact(row)
        if measure is None or (measure == 0 and curve.market is Market.VOLUME):
            if needed:
                symbol, table = self.plan.instruments.symbols[instrument], self.plan.instruments.table[instrument]
                rule = f"margin.tiers.{self.plan.tiers.tables[int(table)].id}"
                message = f"markets: {rule} needs {curve.market.value} of {symbol}" + (
                    " above zero" if measure == 0 else ""
                )
                self.findings.append(Finding("missing_value", message, "add the column to `markets`"))
            return [math.nan] * 5
        price = exact_of(self.snapshot.numbers("markets", "mark_price"), row)
        if curve.market is Market.OPEN_INTEREST:
            rate = float(curve.scaled(exact_key(self.plan, instrument, measure, price, "notional")))
            return [0.0, rate, 0.0, 0.0, 1.0]
        key = self.plan.tiers.tables[int(self.plan.instruments.table[instrument])].key
        root = sqrt(exact_key(self.plan, instrument, measure, price, key))
        return [float(curve.least), 0.0, 0.0, float(curve.factor / root), float(curve.most)]

    def _prices(self, currency: Ints) -> dict[str, float]:
        """Return the prices of assets and currencies in the collateral currency; report those that are needed."""
        rules = self.plan.collateral
        held, priced = (self.snapshot.tables[t].get("asset") for t in ("collateral", "assets"))
        if rules is None:
            for table, column in (("collateral", held), ("assets", priced)):
                if isinstance(column, Ids) and len(column):
                    message = f"`{table}` is given, and ruleset `{self.plan.id}` declares no collateral"
                    self.findings.append(Finding("unknown_asset", message, "leave the table out"))
            return {}
        pool = self.plan.currencies[rules.currency]
        prices = {pool: 1.0}
        values = self.snapshot.numbers("assets", "price")
        if isinstance(priced, Ids) and values is not None:
            prices |= {str(priced.label(i)): float(values.values[i]) for i in range(len(priced))}
            prices[pool] = 1.0
        needed = self._needed(rules, pool, currency)
        for name, where in needed.items():
            if name not in prices:
                hint = f"add a row to `assets`: its price in {pool}"
                self.findings.append(Finding("missing_price", f"{where}: `{name}` has no price", hint))
        self._stop()
        return prices

    def _needed(self, rules: Collateral, pool: str, currency: Ints) -> dict[str, str]:
        """Return the assets and currencies that must have a price, and where each is first needed."""
        held = self.snapshot.tables["collateral"].get("asset")
        known = [*rules.weights, *self.plan.currencies]
        needed: dict[str, str] = {}
        if isinstance(held, Ids):
            for row in range(len(held)):
                name = str(held.label(row))
                if name not in rules.weights and name != pool:
                    hint = suggestion(name, known) or f"weights are declared for {one_of(rules.weights)}"
                    message = f"{self._row('collateral', row)}: no weight is declared for `{name}`"
                    self.findings.append(Finding("unknown_asset", message, hint))
                else:
                    needed.setdefault(name, self._row("collateral", row))
        if rules.pooled:
            for number in np.unique(currency):
                needed.setdefault(self.plan.currencies[int(number)], "accounts")
            for number in np.unique(self.plan.instruments.currency):
                needed.setdefault(self.plan.currencies[int(number)], "an instrument's settlement currency")
        return needed

    def _orders(self, instrument: Ints, market_row: Longs) -> Orders | None:
        """Return the open orders by account."""
        remaining = self.snapshot.numbers("orders", "remaining")
        if remaining is None or not len(instrument):
            return None
        for row in np.flatnonzero(market_row[instrument] < 0)[:_SHOWN]:
            hint = "add a row for the instrument to `markets`"
            message = f"{self._row('orders', int(row))}: the instrument has no row in `markets`"
            self.findings.append(Finding("missing_market", message, hint))
        account = self.snapshot.ids("orders", "account").codes
        order = np.argsort(account, kind="stable").astype(np.int64)
        accounts = len(self.snapshot.ids("positions", "account").labels)
        buys = self.snapshot.choices("orders", "side").codes[order] == 0
        return Orders(
            row=order,
            start=np.searchsorted(account[order], np.arange(accounts + 1)).astype(np.int32),
            instrument=instrument[order],
            quantity=np.where(buys, 1.0, -1.0) * remaining.values[order],
            reduce_only=self.snapshot.choices("orders", "reduce_only").codes[order] == 1,
        )

    def _stop(self) -> None:
        if self.findings:
            raise SnapshotError(self.findings)

    def _validity(self) -> None:
        at, plan = self.snapshot.as_of, self.plan
        if at is None or (plan.valid_from <= at and (plan.valid_until is None or at < plan.valid_until)):
            return
        until = f"before {plan.valid_until.isoformat()}" if plan.valid_until else "on"
        message = f"the snapshot is of {at.isoformat()}; `{plan.id}` holds from {plan.valid_from.isoformat()} {until}"
        hint = f"evaluate with `{plan.id}@{at.date()}`, or correct `as_of`"
        raise SnapshotError(Finding("outside_validity", message, hint))

    def _known(self, table: str, column: str, number: Mapping[str, int], code: str) -> Ints:
        """Return a column of ids as numbers of the plan."""
        ids = self.snapshot.tables[table].get(column)
        if not isinstance(ids, Ids):
            return np.zeros(0, np.int32)
        place = np.array([number.get(str(label), -1) for label in ids.labels], np.int32)
        out = np.take(place, ids.codes, out=empty(len(ids), np.int32), mode="clip") if len(ids) else place[:0]
        # Other tables share the labels, so an unknown one need not be in this table.
        wrong = np.flatnonzero(out < 0) if (place < 0).any() else np.zeros(0, np.int64)
        for row in wrong[:_SHOWN]:
            label = str(ids.label(int(row)))
            hint = suggestion(label, number) or f"declared: {one_of(number)}"
            message = f"{self._row(table, int(row))}: ruleset `{self.plan.id}` has no {column} `{label}`"
            self.findings.append(Finding(code, message, hint))
        self._more(code, table, len(wrong))
        return out

    def _marks(self, market: Ints) -> tuple[Floats, Longs]:
        mark = np.full(len(self.plan.instruments.symbols), np.nan)
        row = np.full(len(mark), -1, np.int64)
        prices = self.snapshot.numbers("markets", "mark_price")
        if prices is not None:
            mark[market] = prices.values
            row[market] = np.arange(len(market))
        numbers, times = np.unique(market, return_counts=True)
        for n in numbers[times > 1]:
            symbol = self.plan.instruments.symbols[n]
            message = f"markets has {symbol} under more than one of its names"
            self.findings.append(Finding("duplicate_row", message, "keep one row an instrument"))
        return mark, row

    def _one_name(self, instrument: Ints) -> None:
        """Refuse two rows of one position under two names of its instrument."""
        labels = self.snapshot.ids("positions", "instrument").labels
        known = [n for n in (self.plan.instruments.number.get(str(label)) for label in labels) if n is not None]
        if len(set(known)) == len(known):
            return
        account = self.snapshot.ids("positions", "account").codes
        side = self.snapshot.choices("positions", "position_side").codes
        order = np.lexsort((side, instrument, account))
        keys = np.stack([account, instrument, side.astype(np.int64)])[:, order]
        again = np.zeros(len(account), bool)
        again[order[1:]] = (keys[:, 1:] == keys[:, :-1]).all(axis=0)
        what = "the account has a row for this instrument already, under another of its names"
        self._rows("duplicate_row", again, what, "merge the two rows")

    def _modes(self, instrument: Ints, market_row: Longs) -> None:
        if (market_row < 0).any():
            hint = "add a row for the instrument to `markets`"
            self._rows("missing_market", market_row[instrument] < 0, "the instrument has no row in `markets`", hint)
        mode = self.snapshot.choices("positions", "margin_mode")
        side = self.snapshot.choices("positions", "position_side")
        ordered = self.snapshot.ordered
        if len(ordered.isolated) or self.snapshot.numbers("positions", "isolated_margin") is not None:
            self._isolated(mode.codes == mode.words.index("isolated"))
        if ordered.sided and "hedge" not in self.plan.modes:
            hint = "evaluate with a ruleset that declares hedged positions, or net the two sides"
            wrong = side.codes != side.words.index("net")
            self._rows("position_side", wrong, "this ruleset's positions are net", hint)
        elif ordered.sided:
            quantity = self.snapshot.numbers("positions", "quantity")
            sign = np.zeros(0) if quantity is None else quantity.values
            for word, wrong in (("long", sign < 0), ("short", sign > 0)):
                hint = "quantities are signed: above zero long, below zero short"
                stray = wrong & (side.codes == side.words.index(word))
                self._rows("position_side", stray, f"the sign of the quantity is not that of a {word}", hint)
        for name in sorted({"cross", "isolated"} - self.plan.modes):
            hint = f"`margin.modes` of the ruleset lists {one_of(sorted(self.plan.modes))}"
            self._rows("margin_mode", mode.codes == mode.words.index(name), f"no {name} margin at this venue", hint)

    def _isolated(self, isolated: npt.NDArray[np.bool_]) -> None:
        """Refuse an isolated position without its margin, and a cross position with one."""
        margin = self.snapshot.numbers("positions", "isolated_margin")
        if margin is None:
            known = np.zeros(len(isolated), bool)
        else:
            known = np.ones(len(isolated), bool) if margin.missing is None else ~margin.missing
            hint = "say `margin_mode: isolated`, or leave the margin out"
            stray = known & ~isolated & (margin.values != 0)
            self._rows("margin_mode", stray, "`isolated_margin` on a cross position", hint)
        hint = "give the margin posted, 0 if there is none"
        self._rows("missing_value", isolated & ~known, "an isolated position without `isolated_margin`", hint)

    def _complete(self, instrument: Ints) -> None:
        quantity = self.snapshot.numbers("positions", "quantity")
        if not self.snapshot.complete or quantity is None:
            return
        for number in np.unique(instrument):
            rows = np.flatnonzero(instrument == number)
            if _sum_is_zero(quantity, rows):
                continue
            symbol = self.plan.instruments.symbols[number]
            message = f"longs and shorts of {symbol} differ by {quantity.values[rows].sum():g} contracts"
            self.findings.append(Finding("open_interest", message, "add the missing positions, or drop `complete`"))

    def _funds(self, fund: Ints, currencies: Mapping[str, int]) -> Floats:
        balance = np.full(len(self.plan.funds), np.nan)
        given = self.snapshot.numbers("funds", "balance")
        if given is None or not len(fund):
            return balance
        balance[fund] = given.values
        currency = self.snapshot.tables["funds"].get("currency")
        for row, number in enumerate(fund.tolist()):
            due = self.plan.funds[number].currency
            if isinstance(currency, Ids) and currencies.get(str(currency.label(row))) != due:
                name = self.plan.currencies[due]
                message = f"{self._row('funds', row)}: currency `{currency.label(row)}`; the fund holds `{name}`"
                self.findings.append(Finding("unknown_currency", message, f"give its balance in {name}"))
        return balance

    def _purses(
        self, currency: Ints, prices: Mapping[str, float]
    ) -> tuple[Ints, Ints, Floats, Floats | None, Floats | None]:
        """Return owner and currency of every cross bucket, its balance, that at the initial weights, and its sizes."""
        rules, snapshot = self.plan.collateral, self.snapshot
        owner, given = snapshot.ids("accounts", "account").codes, snapshot.numbers("accounts", "balance")
        balance = np.zeros(0) if given is None else given.values
        if rules is None:
            return owner, currency, balance, None, None
        pool, names = rules.currency, self.plan.currencies
        held = snapshot.tables["collateral"].get("asset")
        owners, kinds = [owner], [np.full_like(currency, pool) if rules.pooled else currency]
        parts = [balance, balance.copy()]
        if rules.pooled:
            factors = [self._factors(rules, names[int(c)], prices, b) for c, b in zip(currency, balance, strict=True)]
            parts = [balance * [f[k] for f in factors] for k in (0, 1)] if factors else parts
        amount = snapshot.numbers("collateral", "amount")
        if isinstance(held, Ids) and amount is not None:
            owners.append(snapshot.ids("collateral", "account").codes)
            kinds.append(np.full(len(held), pool, np.int32))
            factors = [self._factors(rules, str(held.label(i)), prices, 1.0) for i in range(len(held))]
            parts = [np.r_[part, amount.values * [f[k] for f in factors]] for k, part in enumerate(parts)]
        key = np.concatenate(owners).astype(np.int64) * len(names) + np.concatenate(kinds)
        found, place = np.unique(key, return_inverse=True)
        totals = [sums_of(place, part, len(found)) for part in parts]
        purse_owner, purse_currency = np.divmod(found, len(names))
        sizes = sums_of(place, np.abs(parts[0]) + np.abs(parts[1]), len(found))
        return purse_owner.astype(np.int32), purse_currency.astype(np.int32), totals[0], totals[1], sizes

    def _factors(self, rules: Collateral, name: str, prices: Mapping[str, float], amount: float) -> tuple[float, float]:
        """Return what one unit of an asset adds to equity, and to what initial margin is taken from."""
        pool, exact_amount = self.plan.currencies[rules.currency], Fraction(-1 if amount < 0 else 1)
        weights = [weight_of(rules, name, pool, exact_amount, initial=initial) for initial in (False, True)]
        return prices[name] * float(weights[0]), prices[name] * float(weights[1])

    def _order(self, instrument: Ints, currency: Ints, prices: Mapping[str, float]) -> tuple[Positions, Buckets]:
        """Form the buckets and put the positions in canonical order."""
        snapshot, plan = self.snapshot, self.plan
        rules = plan.collateral
        owner, currency, purse, initial, parts = self._purses(currency, prices)
        settled_in = plan.instruments.currency
        if rules is not None and rules.pooled:
            settled_in = np.full_like(settled_in, rules.currency)
        ordered, order = snapshot.ordered, snapshot.order
        numbers = instrument if order is None else instrument[order]
        balances = np.lexsort((currency, owner)).astype(np.int64) if not _rising(owner, currency) else None
        accounts = len(snapshot.ids("positions", "account").labels)
        n, most = len(numbers), len(owner) + int(np.count_nonzero(ordered.isolated))
        bucket_start = empty(accounts + 1, np.int32)
        bucket = empty(n, np.int32)
        row, settled, number = (empty(most, np.int32) for _ in range(3))
        missing = _kernel.assign_buckets(
            ordered.account,
            ordered.start,
            numbers,
            ordered.isolated,
            settled_in,
            len(plan.currencies),
            owner if balances is None else owner[balances],
            currency if balances is None else currency[balances],
            bucket_start,
            bucket,
            row,
            settled,
            number,
        )
        if missing:
            hint = f"add rows to `accounts`: account, currency ({one_of(plan.currencies)}), balance"
            lost = np.zeros(n, bool)
            lost[np.arange(n) if order is None else order] = bucket < 0
            self._rows("unknown_account", lost, "no row in `accounts` for its account and settlement currency", hint)
            self._stop()
        if rules is not None and rules.pooled:
            settled = np.where(number == CROSS, settled, plan.instruments.currency[number]).astype(np.int32)
        wallet, rows = self._wallets(purse, row, number, balances)
        if rules is not None:
            # A purse is put together from several rows, and has none of its own.
            rows = np.where(number == CROSS, np.int32(-1), rows).astype(rows.dtype)
        initial_balance = None if initial is None else self._wallets(initial, row, number, balances)[0]
        sizes = None if parts is None else self._wallets(parts, row, number, balances)[0]
        positions = Positions(
            row=order,
            account=ordered.account,
            instrument=numbers,
            quantity=ordered.quantity,
            entry_price=ordered.entry_price,
            leverage=ordered.leverage,
            accrued_funding=self._accrued(order),
            bucket=bucket,
            start=ordered.start,
        )
        holder = owner
        if balances is not None or len(ordered.isolated):
            holder = np.repeat(np.arange(accounts, dtype=np.int32), np.diff(bucket_start))
        return positions, Buckets(holder, settled, number, rows, wallet, initial_balance, sizes, bucket_start)

    def _accrued(self, order: Longs | None) -> Floats | None:
        given = self.snapshot.numbers("positions", "accrued_funding")
        if given is None:
            return None
        values = given.values if given.missing is None else np.where(given.missing, 0.0, given.values)
        return values if order is None else values[order]

    def _wallets(self, values: Floats, row: Ints, number: Ints, balances: Longs | None) -> tuple[Floats, Ints]:
        """Return the balance behind each bucket, and the row that it stands in."""
        order = self.snapshot.order
        if not len(self.snapshot.ordered.isolated):
            return (values, row) if balances is None else (values[balances], balances.astype(np.int32)[row])
        cross = number == CROSS
        margin = self.snapshot.numbers("positions", "isolated_margin")
        wallet, rows = np.zeros(len(row)), row.copy()
        rows[cross] = row[cross] if balances is None else balances[row[cross]]
        rows[~cross] = row[~cross] if order is None else order[row[~cross]]
        wallet[cross] = values[rows[cross]]
        if margin is not None:
            wallet[~cross] = margin.values[rows[~cross]]
        return wallet, rows

    def _rows(self, code: str, wrong: npt.NDArray[np.bool_], what: str, hint: str) -> None:
        rows = np.flatnonzero(wrong) if wrong.any() else np.zeros(0, np.int64)
        for row in rows[:_SHOWN]:
            self.findings.append(Finding(code, f"{self._row('positions', int(row))}: {what}", hint))
        self._more(code, "positions", len(rows))

    def _more(self, code: str, table: str, count: int) -> None:
        if count > _SHOWN:
            self.findings.append(Finding(code, f"{table}: the same in {count - _SHOWN:,} more rows"))

    def _row(self, table: str, row: int) -> str:
        columns: Iterable[str] = ("account", "instrument", "asset", "fund")
        ids = [(name, self.snapshot.tables[table].get(name)) for name in columns]
        shown = ", ".join(f"{name} {column.label(row)}" for name, column in ids if isinstance(column, Ids))
        return f"{table}[{row}]" + (f" ({shown})" if shown else "")


def _rising(owner: Ints, currency: Ints) -> bool:
    """Return whether balances stand by account, and by currency within an account."""
    same = (owner[1:] == owner[:-1]) & (currency[1:] > currency[:-1])
    return bool(((owner[1:] > owner[:-1]) | same).all())


def _sum_is_zero(column: Numbers, rows: Longs) -> bool:
    """Return whether the exact values in `rows` sum to zero, in whole numbers of a decimal step if they can."""
    values = column.values[rows]
    if not any(int(row) in column.beyond for row in rows) or not column.beyond:
        for places in range(13):
            scaled = np.rint(values * 10.0**places)
            # Below 2**53 the quotient is the float nearest to that decimal, so the decimal is the value.
            if np.all(np.abs(scaled) < 1e15) and np.all(scaled / 10.0**places == values):
                return bool(sum(scaled.astype(np.int64).tolist()) == 0)
    return sum((exact_of(column, int(row)) for row in rows), Fraction(0)) == 0
