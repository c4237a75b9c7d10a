"""What plugins return is verified before it counts: a fault is an error with the numbers, never a silent repair."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from riskpolicy.engines.core.adl import AllocateAdl, Allocation, Candidate, Demand, RankAdl
from riskpolicy.engines.core.fees import ENGINES, ENGINES_PREFIXES, FeeDue, SplitFees
from riskpolicy.engines.execution import Execution, Fill
from riskpolicy.errors import Finding, PluginError, RiskPolicyError, one_of
from riskpolicy.hooks.resolve import Hooked
from riskpolicy.numbers import exact, fraction_text

ZERO = Fraction(0)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]*")
_EXACT = "return fractions.Fraction or int: no float, no bool, no number of numpy"


class Fault(NamedTuple):
    """What one answer breaks: `always`, or a declared law, and how, with the numbers."""

    law: str
    says: str


def ranking(hooked: Hooked) -> RankAdl:
    """Return a plugin's ranking that answers one exact number a candidate, or fails with PluginError."""

    def rank(demand: Demand, candidates: Sequence[Candidate]) -> Sequence[Fraction]:
        scores = hooked.call(demand=demand, candidates=candidates)
        if not isinstance(scores, Sequence) or len(scores) != len(candidates):
            got = f"{len(scores)} scores" if isinstance(scores, Sequence) else type(scores).__name__
            raise hooked.fault(f"`rank_adl` returned {got} for {len(candidates)} candidates")
        for c, score in zip(candidates, scores, strict=True):
            if not _is_exact(score):
                raise hooked.fault(f"`rank_adl` gives {c.account} the score {score!r}, which is not exact", _EXACT)
        return [exact(score) for score in scores]

    return rank


def allocating(hooked: Hooked) -> AllocateAdl:
    """Return a plugin's allocation that keeps what every allocation must, and of its own laws what one call shows.

    PluginError names the law and the numbers.
    """

    def allocate(demand: Demand, candidates: Sequence[Candidate]) -> Allocation:
        found = hooked.call(demand=demand, candidates=candidates)
        if not isinstance(found, Allocation):
            raise hooked.fault(f"`allocate_adl` returned {type(found).__name__}", "return an Allocation")
        fault = broken(demand, candidates, found, hooked.laws)
        if fault is not None:
            raise hooked.fault(f"`allocate_adl` breaks `{fault.law}`: {fault.says}")
        return Allocation(tuple(exact(x) for x in found.given), tuple(found.skipped), exact(found.remaining))

    return allocate


def broken(
    demand: Demand, candidates: Sequence[Candidate], found: Allocation, laws: Collection[str] = ()
) -> Fault | None:
    """Return how one allocation breaks what every one must keep, or a law that one call can show; None if it does not.

    Every one: an exact number and a reason or None for every candidate; nothing below zero, beyond a cap or beyond what
    is held; whole lots, or the whole position; given and remaining together are the contracts demanded; a reason where
    nothing is given, and nowhere else. Of the laws, `profit_only` and `exhaustive`; of one that takes profit only,
    `exhaustive` counts what the profits pay.
    """
    says = _shape(candidates, found) or _amounts(demand, candidates, found) or _reasons(candidates, found)
    if says is not None:
        return Fault("always", says)
    if "profit_only" in laws:
        for c, given in zip(candidates, found.given, strict=True):
            if given and not _pays(demand, c, given):
                lost, profit = _text(demand.lost(given)), _text(max(ZERO, c.unrealized_pnl))
                return Fault("profit_only", f"takes {lost} of {c.account}, whose profit is {profit}")
    if "exhaustive" in laws:
        able = _able(demand, candidates, found, profit_only="profit_only" in laws)
        if able:
            says = f"leaves {_text(found.remaining)} contracts though {one_of(able, 3)} can give more"
            return Fault("exhaustive", says)
    return None


def _shape(candidates: Sequence[Candidate], found: Allocation) -> str | None:
    """Return what is wrong with the types of an allocation."""
    parts: dict[str, object] = {"given": found.given, "skipped": found.skipped}
    for name, part in parts.items():
        if not isinstance(part, Sequence) or isinstance(part, str):
            return f"`{name}` is {type(part).__name__}, not a tuple"
    if len(found.given) != len(candidates) or len(found.skipped) != len(candidates):
        return f"answers for {len(found.given)} and {len(found.skipped)} of {len(candidates)} candidates"
    for x in (*found.given, found.remaining):
        if not _is_exact(x):
            return f"gives numbers that are not exact, such as {x!r}; {_EXACT}"
    return None


def _amounts(demand: Demand, candidates: Sequence[Candidate], found: Allocation) -> str | None:
    """Return what is wrong with the contracts of an allocation."""
    for c, given in zip(candidates, found.given, strict=True):
        most = min(c.cap, c.contracts)
        if given < 0 or given > most:
            return f"takes {_text(given)} contracts of {c.account}, who may give 0 to {_text(most)}"
        if given % demand.lot and given != c.contracts:
            return f"takes {_text(given)} contracts of {c.account}, which are neither whole lots nor all it has"
    total = sum(found.given, ZERO)
    if total + found.remaining != demand.contracts or found.remaining < 0:
        return f"gives {_text(total)} and leaves {_text(found.remaining)} of {_text(demand.contracts)} contracts"
    return None


def _reasons(candidates: Sequence[Candidate], found: Allocation) -> str | None:
    """Return what is wrong with the reasons of an allocation."""
    silent = []
    reasons: Sequence[object] = found.skipped
    for c, given, why in zip(candidates, found.given, reasons, strict=True):
        if why is not None and not isinstance(why, str):
            return f"passes over {c.account} for {why!r}, which is no text"
        if given and why is not None:
            return f"takes {_text(given)} contracts of {c.account} and says why it is passed over: {why}"
        if not given and not why:
            silent.append(c.account)
    return f"passes over {one_of(silent, 3)} without a reason" if silent else None


def _pays(demand: Demand, c: Candidate, given: Fraction) -> bool:
    """Return whether a candidate's profit pays for contracts: who has none gives nothing, at any price."""
    return c.unrealized_pnl > 0 and demand.lost(given) <= c.unrealized_pnl


def _able(demand: Demand, candidates: Sequence[Candidate], found: Allocation, *, profit_only: bool) -> list[str]:
    """Return who could give more of what remains: another lot, or the rest of a position that ends in part of a lot."""
    sizes = (demand.contracts, *(x for c in candidates for x in (c.contracts, c.cap)))
    # Among sizes that are no whole lots, what is less than a lot may have nobody that it fits.
    if found.remaining <= 0 or (found.remaining < demand.lot and any(x % demand.lot for x in sizes)):
        return []
    able = []
    for c, given in zip(candidates, found.given, strict=True):
        more = min(demand.lot, min(c.cap, c.contracts) - given)
        fits = more == demand.lot or (more > 0 and given + more == c.contracts)
        if fits and (not profit_only or _pays(demand, c, given + more)):
            able.append(c.account)
    return able


def splitting(hooked: Hooked, funds: Collection[str] = ()) -> SplitFees:
    """Return a plugin's fee split that gives every fee away exactly, to those who may get it.

    Whole quanta that sum to the fee; nobody pays for what comes in, nobody gains by a rebate, and none of `funds`, the
    ids of the ruleset's, pays one: its balance is not there for trades. A receiver is a fund's id or a name, but
    none of the ledger's own accounts. PluginError names the fee and the numbers.
    """

    def split(fees: Sequence[FeeDue]) -> Sequence[Mapping[str, int]]:
        found = hooked.call(fees=fees)
        if not isinstance(found, Sequence) or len(found) != len(fees):
            raise hooked.fault(f"`split_fees` answers for other than the {len(fees)} fees that it was asked")
        if not all(isinstance(parts, Mapping) for parts in found):
            raise hooked.fault(f"`split_fees` returned {found!r}", "return quanta by receiver for every fee")
        # A copy: what is checked is what counts.
        out = [dict(parts) for parts in found]
        for fee, parts in zip(fees, out, strict=True):
            says = split_fault(fee, parts, funds)
            if says is not None:
                raise hooked.fault(f"`split_fees` {says}")
        return out

    return split


def split_fault(fee: FeeDue, parts: Mapping[Any, Any], funds: Collection[str] = ()) -> str | None:
    """Return what is wrong with the split of one fee, None where nothing is."""
    of = f"a {fee.kind} fee of {fee.amount} quanta of {fee.currency}"
    for name, quanta in parts.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            return f"pays {name!r}, which is no name; name a fund's id, or an outside party"
        if name in ENGINES or name.startswith(ENGINES_PREFIXES):
            return f"pays `{name}`, an account that the engine keeps; choose another name"
        # bool is an int, and numpy's integers overflow.
        if type(quanta) is not int:
            return f"gives `{name}` {quanta!r} of {of}; return whole quanta as int"
        if quanta * fee.amount < 0 or (quanta and not fee.amount):
            return f"gives `{name}` {quanta} of {of}: of a fee nobody pays, of a rebate nobody gets"
        if quanta < 0 and name in funds:
            return f"has the fund `{name}` pay {-quanta} of {of}; name an outside party for rebates"
    total = sum(parts.values())
    return None if total == fee.amount else f"splits {of} into parts that sum to {total}"


def executing(hooked: Hooked, markets: Mapping[str, Mapping[str, Fraction | None]]) -> Execution:
    """Return a plugin's execution model for the numbers of markets; each of its quotes is verified too.

    PluginError for fills that are not exact, beyond the order, on its other side, at no price or worse than its limit.
    """
    found = hooked.call(markets=markets)
    if not callable(getattr(found, "quote", None)) or not callable(getattr(found, "take", None)):
        raise hooked.fault(f"`execution` returned {type(found).__name__}", "return an object with quote and take")
    return VerifiedExecution(hooked, found)


@dataclass(frozen=True, slots=True)
class VerifiedExecution:
    """A plugin's execution model whose fills are held to the order; see `executing`."""

    hooked: Hooked
    model: Execution

    def quote(
        self, instrument: str, quantity: Fraction, mark: Fraction, limit: Fraction | None = None
    ) -> Sequence[Fill]:
        """Return the model's fills of an order of signed contracts, none worse than `limit`."""
        try:
            fills = self.model.quote(instrument, quantity, mark, limit)
        except RiskPolicyError:
            # A model of ours says best itself what it lacks.
            raise
        except Exception as error:
            raise self.raised("quote", error) from error
        says = fills_fault(fills, quantity, limit)
        if says is not None:
            raise self.hooked.fault(f"`execution` {says}, for an order of {_text(quantity)} {instrument}")
        return [Fill(exact(f.quantity), exact(f.price)) for f in fills]

    def take(self, instrument: str, fills: Sequence[Fill]) -> None:
        """Have the model remember that fills were taken."""
        try:
            self.model.take(instrument, fills)
        except RiskPolicyError:
            raise
        except Exception as error:
            raise self.raised("take", error) from error

    def raised(self, method: str, error: Exception) -> PluginError:
        """Return the error of a model that raised."""
        plugin = f"plugin `{self.hooked.plugin}` {self.hooked.version}"
        message = f"{plugin}: `{method}` of its execution model raised {type(error).__name__}: {error}"
        return PluginError(Finding("plugin_broken", message, "report it to its author"))


def fills_fault(fills: object, quantity: Fraction, limit: Fraction | None) -> str | None:
    """Return what is wrong with the fills of an order of signed contracts, None where nothing is."""
    if not isinstance(fills, Sequence) or not all(isinstance(f, Fill) for f in fills):
        return f"answers {fills!r}, which is no sequence of Fill"
    for fill in fills:
        if not _is_exact(fill.quantity) or not _is_exact(fill.price):
            return f"fills {fill.quantity!r} at {fill.price!r}, which is not exact; {_EXACT}"
        if fill.quantity * quantity <= 0:
            return f"fills {_text(fill.quantity)}, which is not on the side of the order"
        if fill.price <= 0:
            return f"fills at {_text(fill.price)}, which is no price above zero"
        if limit is not None and (fill.price > limit if quantity > 0 else fill.price < limit):
            return f"fills at {_text(fill.price)}, worse than the limit of {_text(limit)}"
    total = sum((abs(fill.quantity) for fill in fills), ZERO)
    return f"fills {_text(total)}, more than is asked" if total > abs(quantity) else None


def _is_exact(value: object) -> bool:
    """Return whether a number is exact: numpy's integers are not, since they overflow."""
    return isinstance(value, Fraction | int) and not isinstance(value, bool)


def _text(value: Fraction) -> str:
    return fraction_text(exact(value))
