"""The conductor of an evaluation: bind, margin, decide, plan the draws, rank; each part when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from riskpolicy.engines.core.ahead import Ahead
from riskpolicy.engines.core.bind import bind
from riskpolicy.engines.core.bound import CROSS, Bound
from riskpolicy.engines.core.changes import Amount, read_fill, shocked, with_fill, with_open_order
from riskpolicy.engines.core.events import Event, as_events
from riskpolicy.engines.core.margins import BucketColumns, Margins, PositionColumns
from riskpolicy.engines.core.resolution import Resolution
from riskpolicy.engines.core.tables import ResultTable, Value, count, money, number, rules, text
from riskpolicy.engines.deleveraging import Queue, head_positions, rank_positions
from riskpolicy.engines.liquidation import Liquidation
from riskpolicy.engines.margin import bankruptcy_prices, compute_margins, liquidation_prices
from riskpolicy.engines.waterfall import Draws, plan_draws
from riskpolicy.errors import Finding, QueryError, one_of, suggestion
from riskpolicy.plan.plan import Plan
from riskpolicy.snapshot.snapshot import Snapshot
from riskpolicy.vocabulary import STATES

if TYPE_CHECKING:
    from riskpolicy.engines.execution import Execution
    from riskpolicy.engines.exposure import Exposure, Order

Floats = npt.NDArray[np.float64]


class Evaluation:
    """One snapshot under one plan. Tables and their parts are computed when first read, then kept."""

    def __init__(self, plan: Plan, snapshot: Snapshot, threads: int = 1) -> None:
        self.plan = plan
        self.snapshot = snapshot
        self.threads = threads
        self.bound: Bound = bind(plan, snapshot)
        self.margins: Margins = compute_margins(self.bound, threads)

    def __repr__(self) -> str:
        b = self.bound
        return f"<Evaluation by {self.plan.id}: {len(b.positions)} positions, {len(b.buckets.account)} buckets>"

    @cached_property
    def liquidation(self) -> Liquidation:
        """State, order and due step of every bucket."""
        return Liquidation(self.bound, self._bucket_columns)

    @cached_property
    def queue(self) -> Queue:
        """Score, rank and light of every position: by the ruleset's score, else by the plugin or keys that rank."""
        rules = self.plan.deleveraging
        if rules is None or rules.by_score:
            return self.scored
        from riskpolicy.engines.ranked import ranked_by_rule  # a conductor after this one

        return ranked_by_rule(self)

    @cached_property
    def scored(self) -> Queue:
        """The queues by the ruleset's score, whether or not it is what ranks."""
        columns = PositionColumns(self.bound, self.margins, self._bucket_columns)
        return rank_positions(self.bound, columns, self.threads)

    def adl_head(self, instrument: str | int, side: str, count: int) -> list[dict[str, Value]]:
        """Return the first `count` positions of one deleveraging queue, without ranking all queues.

        `side` is long or short. A row has account, instrument, quantity, adl_score and adl_rank. QueryError for an
        unknown instrument or side.
        """
        number = self.plan.instruments.number.get(str(instrument))
        if number is None:
            known = self.plan.instruments.symbols
            hint = suggestion(str(instrument), known) or f"instruments: {one_of(known)}"
            raise QueryError(Finding("unknown_id", f"the ruleset has no instrument `{instrument}`", hint))
        if side not in ("long", "short"):
            raise QueryError(Finding("unknown_choice", f"`{side}` is no side", "say long or short"))
        p, head = self.bound.positions, self.head_of(number, count, short=side == "short")
        return [
            {
                "account": self.bound.account(int(p.account[i])),
                "instrument": self.plan.instruments.symbols[number],
                "quantity": float(p.quantity[i]),
                "adl_score": score,
                "adl_rank": place,
            }
            for place, (i, score) in enumerate(head, 1)
        ]

    def head_of(self, number: int, count: int, *, short: bool) -> list[tuple[int, float]]:
        """Return the first positions of one queue, in canonical order, with their scores; the rest is not ranked."""
        rules = self.plan.deleveraging
        if rules is None or rules.by_score:
            columns = PositionColumns(self.bound, self.margins, self._bucket_columns)
            return head_positions(self.bound, columns, number, short=short, count=count)
        first, end = self.queue.start[2 * number + short : 2 * number + short + 2].tolist()
        return [(i, float(self.queue.score[i])) for i in self.queue.order[first:end][: max(0, count)].tolist()]

    def shock(self, prices: Mapping[str, Amount]) -> Evaluation:
        """Return the evaluation at other mark prices: `{"BTC": "-20%"}` moves one, `{"BTC": 50000}` sets it.

        Prices are by instrument; `*` stands for all others, and takes a percentage. A market moves whole: index and
        oracle prices by the same fraction, and the mark before becomes the previous one. QueryError for an unknown
        instrument, or for a price that is not above zero.
        """
        return Evaluation(self.plan, shocked(self.bound, prices), self.threads)

    def with_fill(
        self, account: str | int, instrument: str | int, side: str, quantity: Amount, price: Amount | None = None,
        *, position_side: str = "net",
    ) -> Evaluation:  # fmt: skip
        """Return the evaluation after a fill at a price (None: the mark); realized profit goes to the balance.

        Whoever is on the other side is not looked for, so that the snapshot is no longer `complete`. `side` is buy or
        sell, `quantity` contracts above zero. QueryError for what the snapshot does not have.
        """
        fill = read_fill(self.bound, account, instrument, side, quantity, price, position_side)
        return Evaluation(self.plan, with_fill(self.bound, fill), self.threads)

    def with_order(
        self, account: str | int, instrument: str | int, side: str, quantity: Amount, price: Amount | None = None,
        *, reduce_only: bool = False,
    ) -> Evaluation:  # fmt: skip
        """Return the evaluation with one more open order; `quantity` is contracts above zero."""
        fill = read_fill(self.bound, account, instrument, side, quantity, price, "net")
        return Evaluation(self.plan, with_open_order(self.bound, fill, reduce_only=reduce_only), self.threads)

    def resolve(
        self, execution: Execution | str | None = None, events: Iterable[Event | Mapping[str, Any]] = ()
    ) -> Resolution:
        """Run liquidation steps and waterfall to their end: who takes the contracts, who pays, what stays unpaid.

        `execution` says what orders get: a model, or the name of one whose numbers the snapshot has (book, linear,
        power, sqrt). None is the plugin that the ruleset names, else book. Each of `events` is
        applied to what the one before left, and resolved. Marks stay as they are.
        SnapshotError where a number is needed that the snapshot does not have.
        """
        from riskpolicy.engines.resolve import resolve  # the conductor after this one

        return resolve(self, execution, as_events(events))

    def exposure(
        self, account: str | int, instrument: str | int, *, side: str | None = None,
        execution: Execution | str | None = None,
        order: Order | None = None, weights: Mapping[str, Amount] | None = None, hedge: str | int | None = None,
    ) -> Exposure:  # fmt: skip
        """Return a position's exposure to deleveraging: its place in the queue, what reaches it, what that costs.

        `side` is long or short, needed where the account holds both. `order` (side, contracts, price, or as text
        `side:quantity:price`) is filled first. `execution` is as in `resolve`. `weights` of `first` and `last` give
        mean losses; `hedge` is another account whose opposite leg counts. QueryError for what the snapshot does not
        have.
        """
        from riskpolicy.engines.exposure import exposure  # a conductor after this one

        return exposure(
            self, account, instrument, side=side, execution=execution, order=order, weights=weights, hedge=hedge
        )

    def sums_of(self, segment: int) -> Ahead:
        """Return the contracts by place of one queue, summed once; segments are 2 x instrument, + 1 for shorts."""
        if segment not in self._sums:
            rows = self.queue.order[int(self.queue.start[segment]) : int(self.queue.start[segment + 1])]
            self._sums[segment] = Ahead(self.bound, rows)
        return self._sums[segment]

    @cached_property
    def _sums(self) -> dict[int, Ahead]:
        return {}

    @cached_property
    def planned(self) -> Draws:
        """Who pays the deficits at the mark."""
        return plan_draws(self.bound, self.margins.equity, self.liquidation.rank, self.margins.unrealized_pnl)

    @cached_property
    def positions(self) -> ResultTable:
        """A row a position, in the order of the snapshot's rows."""
        bound, m, p = self.bound, self.margins, self.bound.positions
        rows = p.in_rows
        triggered = self.liquidation.triggered
        side = bound.snapshot.choices("positions", "position_side")
        tier = rows(m.tier)
        columns = {
            "account": text(rows(p.account), bound.snapshot.ids("positions", "account").labels),
            "instrument": text(rows(p.instrument), bound.plan.instruments.symbols),
            "position_side": text(side.codes, side.words),
            "quantity": number(rows(p.quantity)),
            "notional": money(rows(m.notional)),
            "unrealized_pnl": money(rows(m.unrealized_pnl)),
            "tier": text(tier, [t.id for t in self.plan.tiers.exact]),
            "initial_margin": money(rows(m.initial_margin)),
            "maintenance_margin": money(rows(m.maintenance_margin)),
            "liquidation_price": number(rows(liquidation_prices(bound, m, triggered))),
            "bankruptcy_price": number(rows(bankruptcy_prices(bound, m))),
            "adl_score": number(rows(self.queue.score)),
            "adl_rank": count(rows(self.queue.rank)),
            "adl_light": count(rows(self.queue.light)),
            "rules": rules(tier, self._position_rules()),
        }
        return ResultTable("positions", columns)

    @cached_property
    def buckets(self) -> ResultTable:
        """A row a bucket, ordered by account, currency, and cross before isolated."""
        b, m, decided = self.bound.buckets, self.margins, self.liquidation
        symbols = self.plan.instruments.symbols
        codes, words = self._bucket_rules()
        columns = {
            "account": text(b.account, self._accounts()),
            "currency": text(b.currency, self.plan.currencies),
            "instrument": text(np.where(b.instrument == CROSS, -1, b.instrument), symbols),
            "equity": money(m.equity),
            "initial_margin": money(m.bucket_initial),
            "maintenance_margin": money(m.bucket_maintenance),
            "margin_ratio": number(m.margin_ratio),
            "state": text(decided.state, STATES),
            "liquidation_rank": count(decided.rank),
            "rules": rules(codes, words),
        }
        return ResultTable("buckets", columns)

    @cached_property
    def accounts(self) -> ResultTable:
        """Sums of the buckets of each account and currency."""
        b, m = self.bound.buckets, self.margins
        purse = b.account.astype(np.int64) * len(self.plan.currencies) + b.currency
        first = np.flatnonzero(np.r_[True, purse[1:] != purse[:-1]]) if len(purse) else np.zeros(0, np.int64)

        def sums(values: Floats) -> Floats:
            return np.add.reduceat(values, first) if len(first) else np.zeros(0)

        columns = {
            "account": text(b.account[first], self._accounts()),
            "currency": text(b.currency[first], self.plan.currencies),
            "balance": money(sums(b.wallet_balance)),
            "unrealized_pnl": money(sums(m.bucket_pnl)),
            "equity": money(sums(m.equity)),
            "initial_margin": money(sums(m.bucket_initial)),
            "maintenance_margin": money(sums(m.bucket_maintenance)),
        }
        return ResultTable("accounts", columns)

    @cached_property
    def draws(self) -> ResultTable:
        """What each waterfall layer after the defaulter's own margin pays at the mark, by currency.

        The amount is null where it depends on a fund whose balance the snapshot does not give.
        """
        layers, currencies = self.planned.layers, self.plan.currencies
        used = sorted({*self.bound.buckets.currency.tolist()}) or list(range(len(currencies)))
        rows = [(i, c) for i in range(len(layers)) for c in used]
        layer = np.array([i for i, _ in rows], np.int64)
        currency = np.array([c for _, c in rows], np.int64)
        columns = {
            "layer": text(layer, [x.name for x in layers]),
            "currency": text(currency, currencies),
            "amount": money(self.planned.amounts[layer, currency]),
            "rule": text(layer, [x.id for x in layers]),
        }
        return ResultTable("draws", columns)

    @property
    def not_stated(self) -> tuple[str, ...]:
        """Ids of the rules that the venue does not state."""
        return self.plan.not_stated

    @property
    def decided_exactly(self) -> dict[str, int]:
        """How many tiers, states and ranks the floats left in doubt, so that exact arithmetic decided them."""
        _ = self.liquidation.step, self.liquidation.rank
        return {
            "tiers": self.margins.exact_tiers,
            "states": self.liquidation.exact_states,
            "liquidation_ranks": self.liquidation.exact_ranks,
            "adl_ranks": self.queue.exact_ranks,
        }

    @property
    def tables(self) -> tuple[ResultTable, ...]:
        """All result tables."""
        return self.positions, self.buckets, self.accounts, self.draws

    def _repr_html_(self) -> str:
        """Return the tables as HTML, for notebooks."""
        return "".join(table._repr_html_() for table in self.tables)

    def to_dict(self) -> dict[str, Any]:
        """Return all tables as plain data for JSON: money as decimal text, missing as None."""
        out: dict[str, Any] = {"ruleset": f"{self.plan.id}@{self.plan.valid_from.date()}"}
        listed: dict[str, list[dict[str, Value]]] = {t.name: list(t.rows()) for t in self.tables}
        return {**out, **listed, "not_stated": list(self.not_stated)}

    @cached_property
    def _bucket_columns(self) -> BucketColumns:
        return BucketColumns(self.bound, self.margins)

    def _accounts(self) -> Sequence[str | int]:
        return self.snapshot.ids("positions", "account").labels

    def _position_rules(self) -> list[tuple[str, ...]]:
        shared = (
            self.plan.initial.id,
            *((self.plan.deleveraging.score.id,) if self.plan.deleveraging else ()),
        )
        return [(tier.id, *shared) for tier in self.plan.tiers.exact]

    def _bucket_rules(self) -> tuple[npt.NDArray[np.int64], list[tuple[str, ...]]]:
        """Return each bucket's rule ids, as codes: by restricted or not, and by the step that is due."""
        plan, decided = self.plan, self.liquidation
        always: tuple[str, ...] = (plan.trigger.rule.id,)
        restricted = (*always, "liquidation.restricted") if plan.restricted else always
        liquidated = (*always, "liquidation.accounts")
        words: list[tuple[str, ...]] = [
            always,
            restricted,
            liquidated,
            *((*liquidated, step.id) for step in plan.steps),
        ]
        # A step of -1 is none: the trigger holds and no step is open.
        codes = np.where(decided.triggered, decided.step + 3, np.where(decided.state == 1, 1, 0))
        return codes.astype(np.int64), words
