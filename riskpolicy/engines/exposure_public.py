"""The exposure to deleveraging from public data alone: bounds that hold in every book that fits the data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

from riskpolicy.engines.exposure import Mechanism, mechanism
from riskpolicy.errors import Finding, QueryError, one_of, suggestion
from riskpolicy.numbers import NumberError, exact, fraction_text, parse_decimal
from riskpolicy.plan.plan import OF_INSTRUMENT, Plan

#: The lowest and the highest value there can be; None where nothing bounds it.
Pair: TypeAlias = "tuple[Fraction | None, Fraction | None]"
ZERO = Fraction(0)
_KEYS = ("instrument", "open_interest", "mark_price", "fund_balance", "positions", "leverage", "lights", "position")
_POSITION = ("side", "quantity", "adl_light", "entry_price", "leverage", "margin")
_UNKNOWN: Pair = (None, None)


@dataclass(frozen=True, slots=True)
class PublicReached:
    """Bounds for the first or the last contract taken, as `Reached` and `Scenario` have them from full data.

    They hold where a move reaches the contract; whether any does is not known. Moves are signed: those that take from a
    long are above zero, from a short below.
    """

    contracts: Pair
    deficit: Pair
    move: Pair
    loss_of_profit: Pair = _UNKNOWN
    loss_of_hedge: Pair = _UNKNOWN


@dataclass(frozen=True, slots=True)
class PublicExposure:
    """Bounds on an exposure, and for each a sentence that says from what it follows."""

    instrument: str
    side: str
    quantity: Fraction
    mechanism: Mechanism
    adl_rank: Pair
    adl_light: Pair
    quantity_ahead: Pair
    first: PublicReached
    last: PublicReached
    why: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON: pairs [low, high], null where nothing bounds it."""
        reached = {
            name: {"contracts": _numbers(r.contracts), "deficit": _texts(r.deficit), "move": _numbers(r.move)}
            for name, r in (("first", self.first), ("last", self.last))
        }
        scenarios = [
            {"which": name, "move": _numbers(r.move), "loss_of_profit": _texts(r.loss_of_profit),
             "loss_of_hedge": _texts(r.loss_of_hedge)}
            for name, r in (("first", self.first), ("last", self.last))
        ]  # fmt: skip
        return {
            "instrument": self.instrument, "side": self.side, "quantity": float(self.quantity),
            "mechanism": self.mechanism, "adl_rank": _numbers(self.adl_rank), "adl_light": _numbers(self.adl_light),
            "quantity_ahead": _numbers(self.quantity_ahead), **reached,
            "scenarios": scenarios, "why": dict(self.why),
        }  # fmt: skip


def _numbers(pair: Pair) -> list[float | None]:
    return [None if x is None else float(x) for x in pair]


def _texts(pair: Pair) -> list[str | None]:
    return [None if x is None else fraction_text(x).lstrip("~") for x in pair]


def read_public(path: str | Path) -> Mapping[str, Any]:
    """Read public data from a JSON file; QueryError for one that is none."""
    try:
        raw = json.loads(Path(path).read_text(encoding="utf-8-sig"), parse_float=parse_decimal)
    except (OSError, UnicodeDecodeError) as error:
        raise QueryError(Finding("file_unreadable", f"cannot read `{path}`: {error}")) from None
    except ValueError as error:
        raise QueryError(Finding("invalid_value", f"`{path}` is no JSON: {error}", "write an object")) from None
    if not isinstance(raw, Mapping):
        raise QueryError(Finding("invalid_value", f"`{path}` holds no object", f"keys: {one_of(_KEYS)}"))
    return raw


def public_exposure(plan: Plan, public: Mapping[str, Any]) -> PublicExposure:
    """Return what public data says of a position's exposure under a ruleset.

    Keys: `instrument`; `open_interest`, contracts of one side; `position`: side (long or short) and quantity (unsigned,
    or signed without a side) and, where the venue shows it, adl_light; its entry_price, leverage and margin may be
    there, though nothing follows from them, since a rank depends on those of all others. Where known: `mark_price`,
    `fund_balance` (money of the instrument's fund), `positions` (holders on the position's side), `leverage`: rows
    [up_to, contracts] of the other side by the leverage of what margins them (an account's cross notional over its
    equity, an isolated position's own; up to and with `up_to`), rising, `up_to` null for no end; `lights`: contracts on
    the position's side by light, from 1 on.
    QueryError for what is missing, not known or no number.

    The bounds hold in every complete book (longs equal shorts) that fits the data, where nobody is in liquidation at
    the mark, whoever is liquidated settles in one currency, and positions are whole lots; cf. `why`.
    """
    given = _Given(plan, public)
    return given.exposure()


class _Given:
    """Public data, read."""

    def __init__(self, plan: Plan, public: Mapping[str, Any]) -> None:
        _known("public data", public, _KEYS)
        self.plan = plan
        own = public.get("position")
        if not isinstance(own, Mapping):
            raise QueryError(Finding("missing_value", "public data lack `position`", f"keys: {one_of(_POSITION)}"))
        _known("position", own, _POSITION)
        self.instrument = str(public.get("instrument"))
        if self.instrument not in plan.instruments.number:
            symbols = plan.instruments.symbols
            hint = suggestion(self.instrument, symbols) or f"instruments: {one_of(symbols)}"
            raise QueryError(Finding("unknown_id", f"the ruleset has no instrument `{self.instrument}`", hint))
        self.number = plan.instruments.number[self.instrument]
        signed = _signed(own)
        if not signed:
            raise QueryError(Finding("not_positive", "`position.quantity` is 0", "suppose a position with an order"))
        self.side = "long" if signed > 0 else "short"
        self.quantity = abs(signed)
        lot = plan.instruments.lot[self.number]
        if lot and self.quantity % lot:
            message = f"`position.quantity`: {fraction_text(self.quantity)} contracts are no whole lots"
            raise QueryError(Finding("invalid_value", message, f"a lot is {fraction_text(lot)}"))
        for name in ("entry_price", "leverage", "margin"):
            if own.get(name) is not None:
                _amount(f"position.{name}", own[name], zero=name == "margin")
        mark = public.get("mark_price")
        self.mark = None if mark is None else _amount("mark_price", mark)
        self.interest = _amount("open_interest", public.get("open_interest"))
        if self.quantity > self.interest:
            message = f"a position of {fraction_text(self.quantity)} is more than the open interest"
            raise QueryError(Finding("invalid_value", message, "open interest counts one side, in contracts"))
        rules = plan.deleveraging
        self.count = 0 if rules is None else rules.light_count
        light = own.get("adl_light")
        self.light = None if light is None else _count("position.adl_light", light)
        if self.light is not None and not 1 <= self.light <= self.count:
            message = f"there is no light {self.light}"
            raise QueryError(Finding("invalid_value", message, f"the ruleset has lights 1 to {self.count}"))
        fund = public.get("fund_balance")
        self.fund = None if fund is None else _amount("fund_balance", fund, zero=True)
        holders = public.get("positions")
        self.holders = None if holders is None else _count("positions", holders)
        self.leverage = _rows(public.get("leverage"))
        self.lights = _lights(public.get("lights"), self.count)
        self.why: dict[str, str] = {}
        self.check()

    def check(self) -> None:
        """Refuse data that contradict each other: no book fits them."""
        of_leverage = sum((size for _, size in self.leverage or ()), ZERO)
        of_lights = sum(self.lights or (), ZERO)
        for name, total in (("leverage", of_leverage), ("lights", of_lights)):
            if total > self.interest:
                message = f"`{name}` has {fraction_text(total)} contracts, more than the open interest"
                hint = "each side of a market holds the open interest"
                raise QueryError(Finding("contradiction", message, hint))
        if self.lights is not None and self.light is not None:
            most = self.lights[self.light - 1] + self.interest - of_lights
            if self.quantity > most:
                message = f"light {self.light} has {fraction_text(most)} contracts, and the position more"
                raise QueryError(Finding("contradiction", message, "`lights` counts the own contracts too"))
        lot, others = self.plan.instruments.lot[self.number] or ZERO, (self.holders or 1) - 1
        if self.holders is not None and (self.quantity + others * lot > self.interest or not others < self.interest):
            message = f"{self.holders} positions do not fit into the open interest beside one of its own"
            raise QueryError(Finding("contradiction", message, "each holds a lot at least"))
        if self.holders == 1 and self.quantity != self.interest:
            message = "one position holds its side, and it is less than the open interest"
            raise QueryError(Finding("contradiction", message, "`positions` counts the own side, the own one included"))
        rules = self.plan.deleveraging
        if self.light is None or self.holders is None or rules is None or rules.lights_by_quantity:
            return
        n, count = self.holders, self.count
        shown = {count - count * place // n for place in range(min(n, count))} if n <= count else {*range(1, count + 1)}
        if self.light not in shown:
            message = f"of {n} positions nobody has light {self.light}"
            raise QueryError(Finding("contradiction", message, f"there are {one_of(sorted(map(str, shown)))}"))

    def exposure(self) -> PublicExposure:
        word, rules = mechanism(self.plan), self.plan.deleveraging
        ranked = rules is not None and word not in ("none", "socialised") and not rules.drawn
        ahead = self.ahead() if ranked else _UNKNOWN
        by_rank = rules is not None and rules.whole_by_rank
        first = last = _UNKNOWN
        if word in ("queue", "pro_rata", "plugin"):
            first = ahead if by_rank else (ZERO, self.interest)
            low = (ahead[0] or ZERO) + self.quantity if by_rank else self.quantity
            high = self.interest if not by_rank or ahead[1] is None else min(self.interest, ahead[1] + self.quantity)
            last = (low, high)
            self.why["contracts"] = (
                "the first is reached by more contracts than are ahead, the last by those and its own; both sides of a "
                "market hold the open interest"
            )
        rest = (_UNKNOWN,) * 4
        if word == "socialised":
            self.why["deficit"] = self.why["loss_of_profit"] = "a share of a loss may be of any size"
            self.why["loss_of_hedge"] = "no position is closed"
            rest = ((ZERO, None), self.move(), (ZERO, None), (ZERO, ZERO))
        elif word != "none":
            rest = (self.deficit(), self.move(), self.profit(), self.hedge())
        if not ranked:
            self.why["adl_rank"] = "the rules rank nobody"
        return PublicExposure(
            self.instrument, self.side, self.quantity, word, self.rank(ranked, ahead), self.lit(ranked), ahead,
            PublicReached(first, *rest), PublicReached(last, *rest), self.why,
        )  # fmt: skip

    def ahead(self) -> Pair:
        """Return contracts ranked before the position."""
        rest = self.interest - self.quantity
        rules = self.plan.deleveraging
        assert rules is not None
        if self.light is None:
            self.why["quantity_ahead"] = "nothing says where it stands: nobody, or all others on its side"
            return ZERO, rest
        above = self.count - self.light
        if self.lights is not None:
            more = sum(self.lights[self.light :], ZERO)
            own = self.lights[self.light - 1] - self.quantity
            # Whoever has no light in the data may have any.
            unknown = self.interest - sum(self.lights, ZERO)
            self.why["quantity_ahead"] = "those with higher lights are ahead; of its own light, some or none"
            return more, min(rest, more + max(ZERO, own + unknown))
        if rules.lights_by_quantity:
            low = max(ZERO, self.interest * above / self.count - self.quantity)
            high = max(ZERO, self.interest * (above + 1) / self.count - self.quantity)
            self.why["quantity_ahead"] = "a light is a share of the contracts on its side, its own included"
            return low, min(rest, high)
        self.why["quantity_ahead"] = "lights count positions, which may be of any size"
        return ZERO, rest

    def rank(self, ranked: bool, ahead: Pair) -> Pair:
        if not ranked:
            return _UNKNOWN
        if self.holders is None:
            lot = self.plan.instruments.lot[self.number]
            known = "" if lot is None else ": at most one for each lot that may be ahead"
            self.why["adl_rank"] = f"nobody says how many hold its side{known}"
            most = None if lot is None or ahead[1] is None else 1 + Fraction(ahead[1] // lot)
            return Fraction(2 if ahead[0] else 1), most
        rules, n = self.plan.deleveraging, self.holders
        assert rules is not None
        if self.light is None or rules.lights_by_quantity:
            self.why["adl_rank"] = "any place among those who hold its side"
            return Fraction(1), Fraction(n)
        # light = count - floor(count x (rank - 1) / n).
        above = self.count - self.light
        low, high = -(-above * n // self.count) + 1, -(-(above + 1) * n // self.count)
        self.why["adl_rank"] = "a light is a share of those who hold its side"
        return Fraction(low), Fraction(max(low, high))

    def lit(self, ranked: bool) -> Pair:
        if not ranked:
            return _UNKNOWN
        if self.light is not None:
            self.why["adl_light"] = "as the venue shows it"
            return Fraction(self.light), Fraction(self.light)
        self.why["adl_light"] = "any of the venue's lights"
        return Fraction(1), Fraction(self.count)

    def deficit(self) -> Pair:
        """Return what bankrupt buckets lack when contracts are taken."""
        before = []
        for step in self.plan.steps:
            if step.do == "deleverage":
                break
            before.append(step)
        fund = self.plan.instruments.fund[self.number] if self.plan.instruments.fund else -1
        # Of an account in several markets it is the fund of the largest: that of this one where all have the same.
        alone = len(set(self.plan.instruments.fund)) == 1
        sure = any(
            s.do == "takeover" and (s.by == fund or (s.by == OF_INSTRUMENT and alone))
            and s.when is None and not s.unless
            and s.max_net_notional is None and s.max_loss is None and s.solvency == "none"
            for s in before
        ) and all(
            s.do == "cancel_orders"
            or (s.do in ("takeover", "immediate_or_cancel") and s.price == "bankruptcy_price" and not s.fee)
            for s in before
        )  # fmt: skip
        lot = self.plan.instruments.lot[self.number]
        if sure and self.fund is not None and lot is not None:
            # A fund pays whole quanta for each position that it takes, so that it may run out a little sooner.
            symbols = len(self.plan.instruments.symbols)
            quantum = self.plan.requirements.quantum[int(self.plan.instruments.currency[self.number])]
            rounding = quantum * 2 * symbols * (self.interest / lot)
            self.why["deficit"] = (
                "the fund takes over at the bankruptcy price first, as far as its balance goes, less rounding"
            )
            return max(ZERO, self.fund - rounding), None
        self.why["deficit"] = "positions may be taken before anybody is below zero; nothing bounds a loss from above"
        return ZERO, None

    def move(self) -> Pair:
        """Return the moves at which anybody opposite can be in liquidation.

        A bound for the last contract too: the ranking may be another at another mark, and whoever loses by being
        deleveraged may be liquidated himself, so that the contracts ahead bound no move.
        """
        least = self.least_move()
        if self.side == "long":
            return least, None
        return Fraction(-1), -least

    def least_move(self) -> Fraction:
        """Return a move, zero or more, up to which nobody opposite is in liquidation."""
        rate = self.steepest()
        if self.leverage is None or rate is None:
            self.why["move"] = "without the other side's leverage, or with rules of another form, only the direction"
            return ZERO
        if sum((size for _, size in self.leverage), ZERO) < self.interest:
            self.why["move"] = "the distribution of leverage leaves a part of the open interest out: only the direction"
            return ZERO
        highest = next(end for end, size in reversed(self.leverage) if size)
        if highest is None:
            self.why["move"] = "some opposite may have any leverage: only the direction"
            return ZERO
        self.why["move"] = "nobody is liquidated sooner than leverage and the steepest margin rate let it"
        # Equity falls by a move's part of the notional; the margin rises to at most the steepest rate of it.
        return max(ZERO, (1 / highest - rate) / (1 + rate))

    def profit(self) -> Pair:
        """Return the profit forgone against the mark."""
        rules = self.plan.deleveraging
        if rules is not None and rules.price == "mark_price":
            self.why["loss_of_profit"] = "positions are closed at the mark"
            return ZERO, ZERO
        self.why["loss_of_profit"] = "the price at which positions are closed depends on who is bankrupt"
        return _UNKNOWN

    def hedge(self) -> Pair:
        """Return the notional of an opposite leg that is left over."""
        inverse = self.plan.instruments.inverse[self.number]
        if self.mark is None or (self.side == "long") != inverse:
            self.why["loss_of_hedge"] = (
                "no more than all of it is left without its hedge, at a mark that nothing bounds"
            )
            return ZERO, None
        self.why["loss_of_hedge"] = "no more than all of it is left without its hedge, and its notional only falls"
        size = self.quantity * self.plan.instruments.contract_size_exact[self.number]
        return ZERO, size / self.mark if inverse else size * self.mark

    def steepest(self) -> Fraction | None:
        """Return the highest maintenance rate there is, None where accounts are liquidated by another rule."""
        plan, t = self.plan, self.plan.trigger
        number = self.number
        usual = (
            t.of_equity == 1 and t.of_maintenance == -1 and not any((t.of_pnl, t.of_notional, t.of_wallet, t.constant))
        )
        if not usual or plan.instruments.inverse[number] or plan.release is not None or plan.requirements.rounded_up:
            return None
        if any(table.curved or table.entry_basis for table in plan.tiers.tables):
            return None
        return max(tier.rate for tier in plan.tiers.exact)


def _known(what: str, given: Mapping[str, Any], keys: Sequence[str]) -> None:
    unknown = [str(key) for key in given if key not in keys]
    if unknown:
        hint = suggestion(unknown[0], keys) or f"keys: {one_of(keys)}"
        raise QueryError(Finding("unknown_key", f"{what} has no `{unknown[0]}`", hint))


def _number(name: str, value: Any) -> Fraction:
    try:
        found = exact(parse_decimal(value) if isinstance(value, str) else value)
    except (NumberError, TypeError, ValueError, OverflowError, ArithmeticError):
        message = f"public data lack `{name}`" if value is None else f"`{name}`: `{value}` is no number"
        raise QueryError(Finding("missing_value" if value is None else "wrong_type", message, "a number")) from None
    if isinstance(value, bool):
        raise QueryError(Finding("wrong_type", f"`{name}`: `{value}` is no number", "a number"))
    return found


def _amount(name: str, value: Any, *, zero: bool = False) -> Fraction:
    found = _number(name, value)
    if found < 0 or (found == 0 and not zero):
        raise QueryError(Finding("not_positive", f"`{name}` is {value}", "a number above zero"))
    return found


def _count(name: str, value: Any) -> int:
    found = _amount(name, value)
    if found.denominator != 1:
        raise QueryError(Finding("wrong_type", f"`{name}` is {value}", "a whole number above zero"))
    return int(found)


def _signed(own: Mapping[str, Any]) -> Fraction:
    """Return the signed contracts of the own position, as its side says or its sign."""
    quantity, side = _number("position.quantity", own.get("quantity")), own.get("side")
    if side is None:
        return quantity
    if side not in ("long", "short"):
        raise QueryError(Finding("unknown_choice", f"`{side}` is no side", "say long or short"))
    size = _amount("position.quantity", quantity, zero=True)
    return size if side == "long" else -size


def _lights(raw: Any, count: int) -> list[Fraction] | None:
    """Return contracts by light, from 1 on: a list, or an object by light in which those left out have none."""
    if raw is None:
        return None
    if isinstance(raw, Mapping):
        known = {str(light): light for light in range(1, count + 1)}
        _known("lights", raw, list(known))
        return [_amount("lights", raw.get(light, 0), zero=True) for light in known]
    if not isinstance(raw, Sequence) or isinstance(raw, str):
        raise QueryError(Finding("wrong_type", "`lights` is no list", "one amount of contracts a light, from 1 on"))
    if len(raw) != count:
        message = f"{len(raw)} lights, and the ruleset has {count}"
        raise QueryError(Finding("invalid_value", message, "one amount of contracts a light, from 1 on"))
    return [_amount("lights", x, zero=True) for x in raw]


def asked_of(public: Mapping[str, Any], instrument: str | None, side: str | None) -> Mapping[str, Any]:
    """Return public data of a market and side that are asked for; QueryError where the data are of another."""
    out = dict(public)
    if instrument is not None and out.setdefault("instrument", instrument) != instrument:
        message = f"the public data are of {out['instrument']}, and `{instrument}` is asked for"
        raise QueryError(Finding("contradiction", message, "leave --instrument out, or give its data"))
    own = out.get("position")
    if side is not None and isinstance(own, Mapping):
        out["position"] = own if own.get("side") or _signed(own) < 0 else {**own, "side": side}
        if (_signed(out["position"]) > 0) != (side == "long"):
            message = f"the position of the public data is not {side}"
            raise QueryError(Finding("contradiction", message, "leave --side out"))
    return out


def ordered(public: Mapping[str, Any], order: str) -> Mapping[str, Any]:
    """Return public data after an order of one's own, `side:quantity:price`, has filled against nobody knows whom.

    Whoever was on the other side may have opened or closed: open interest is the most that it may be, and what may be
    otherwise by then is left out. QueryError for what is no order, or closes the position.
    """
    parts = order.split(":")
    if len(parts) not in (2, 3) or parts[0] not in ("buy", "sell"):
        raise QueryError(Finding("invalid_value", f"`{order}` is no order", "write side:quantity:price"))
    size = _amount("order", parts[1])
    if len(parts) == 3:
        _amount("price of the order", parts[2])
    own = public.get("position") or {}
    if not isinstance(own, Mapping):
        raise QueryError(Finding("wrong_type", "`position` is no object", f"keys: {one_of(_POSITION)}"))
    _known("position", own, _POSITION)
    before = _signed(own) if own else ZERO
    after = before + (size if parts[0] == "buy" else -size)
    if not after:
        raise QueryError(Finding("invalid_value", f"after `{order}` nothing is held", "suppose another size"))
    same = before * after > 0
    interest = _amount("open_interest", public.get("open_interest"))
    grows = abs(after) > abs(before)
    left_out = {"lights", *(() if same else ("leverage",)), *(() if same and grows else ("positions",))}
    changed = {key: value for key, value in public.items() if key not in left_out}
    changed["open_interest"] = interest + (max(ZERO, abs(after) - abs(before)) if same else abs(after))
    changed["position"] = {"quantity": after}
    return changed


def _rows(raw: Any) -> list[tuple[Fraction | None, Fraction]] | None:
    """Return the leverage distribution: (up to, contracts), rising."""
    if raw is None:
        return None
    if not isinstance(raw, Sequence) or isinstance(raw, str):
        raise QueryError(Finding("wrong_type", "`leverage` is no list", "rows are [up_to, contracts], rising"))
    rows: list[tuple[Fraction | None, Fraction]] = []
    for row in raw:
        if not isinstance(row, Sequence) or len(row) != 2 or isinstance(row, str):
            raise QueryError(Finding("invalid_value", f"`leverage`: {row} is no row", "rows are [up_to, contracts]"))
        rows.append((None if row[0] is None else _amount("leverage", row[0]), _amount("leverage", row[1], zero=True)))
    ends = [end for end, _ in rows[:-1]]
    known = [end for end, _ in rows if end is not None]
    if None in ends or known != sorted(known):
        raise QueryError(Finding("invalid_value", "`leverage` does not rise", "lowest leverage first, null last"))
    return rows
