"""Allocation policies by name: who gives how much when positions opposite to a bankrupt one are closed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from riskpolicy.engines.core.adl import LAWS, AllocateAdl
from riskpolicy.engines.policies.haircuts import ProfitHaircut, profit_haircut
from riskpolicy.engines.policies.queues import capped_queue, lexicographic, queue, random_start
from riskpolicy.engines.policies.severity import CONTROLLERS, Raised, Severity, asked
from riskpolicy.engines.policies.shares import (
    capped_pro_rata,
    integer,
    least_leverage,
    pro_rata,
    pro_rata_contracts,
    risk_weighted,
)
from riskpolicy.errors import Finding, QueryError, one_of, suggestion

__all__ = [
    "CONTROLLERS", "HAIRCUT", "POLICIES", "Listed", "ProfitHaircut", "Raised", "Severity", "asked", "declared",
    "known", "policy", "policy_of", "profit_haircut",
]  # fmt: skip


class Listed(NamedTuple):
    """A policy: its factory, the laws that it declares as it comes, those besides without lots, and what it does.

    `profit_only` is left out here: every policy that takes money declares it, see `declared`.
    """

    factory: Callable[..., AllocateAdl]
    laws: tuple[str, ...]
    unrounded: tuple[str, ...]
    meaning: str
    formula: str


#: What every share policy declares in whole lots, and what lots take from it.
_CAPPED = ("contracts_opposite", "scale_free", "smooth")
_SHARES = (*_CAPPED, "exhaustive")
_SMOOTH = ("budget_monotone", "split_proof")
_FREE = ("entry_free", "path_independent")
_WALK = ("contracts_opposite", "scale_free", "budget_monotone")

POLICIES: dict[str, Listed] = {
    "queue": Listed(
        queue, (*_WALK, "exhaustive", "split_proof"), (),
        "by rank, each to its room; at most one in part",
        "the maximiser of sum score x over 0 <= x <= room, sum x = Q",
    ),
    "capped_queue": Listed(
        capped_queue, _WALK, ("split_proof",),
        "the queue, for no more money than the deficit",
        "the queue, Q cut so that it raises min(B, D, U)",
    ),
    "pro_rata": Listed(
        pro_rata, _SHARES, _SMOOTH,
        "everybody the same fraction of its profit",
        "x = min(level w, room); B w / U where no room binds",
    ),
    "pro_rata_contracts": Listed(
        pro_rata_contracts, (*_SHARES, "entry_free"), (*_SMOOTH, "path_independent"),
        "everybody the same fraction of its contracts",
        "x = min(level q, room); Q q / sum q where no room binds",
    ),
    "capped_pro_rata": Listed(
        capped_pro_rata, _CAPPED, _SMOOTH,
        "everybody the same fraction of its profit, up to a cap",
        "x = min(level w, cap w, room), `most` the cap",
    ),
    "risk_weighted": Listed(
        risk_weighted, _SHARES, _SMOOTH,
        "fractions of profit that rise with leverage",
        "x = min(level L g(L) w, room), L = notional / E; `g` is one, linear, square or tail",
    ),
    "integer": Listed(
        integer, (*_SHARES, "entry_free"), (),
        "pro rata by contracts in lots, by largest remainder",
        'Q q / sum q; with `rule="min_max"` the least largest x / q',
    ),
    "least_leverage": Listed(
        least_leverage, (*_SHARES, *_FREE, "budget_monotone"), ("split_proof",),
        "the largest leverage left is as small as it can be",
        "what stays is min(q, level E / m); who has E <= 0 goes first",
    ),
    "random_start": Listed(
        random_start, ("contracts_opposite", "scale_free"), (),
        "from a seeded start, one after the other, skipping who can not trade",
        "by account from SHA-256(seed:event:instrument:side) modulo their number, cyclically",
    ),
    "lexicographic": Listed(
        lexicographic, (*_WALK, "exhaustive"), (),
        "one after the other by keys: leverage, profit, smallest equity",
        "`keys`, each a column with asc or desc, then the account",
    ),
}  # fmt: skip

#: The policy whose result is money an account, not contracts: see `profit_haircut`.
HAIRCUT = "profit_haircut"


def known() -> list[str]:
    """Return the names of all policies, that of the haircut included."""
    return [*POLICIES, HAIRCUT]


def policy(name: str, **parameters: Any) -> AllocateAdl:
    """Return a policy by its name in POLICIES, made with its factory's keyword parameters.

    QueryError for an unknown name, parameter or value. The haircut on profit moves no contracts, so it is the function
    `profit_haircut`.
    """
    listed = _listed(name)
    takes = list(inspect.signature(listed.factory).parameters)
    for given in parameters:
        if given not in takes:
            hint = suggestion(given, takes) or f"parameters: {one_of(takes)}"
            raise QueryError(Finding("unknown_key", f"the policy `{name}` has no parameter `{given}`", hint))
    if parameters.get("numeraire", "money") not in ("money", "contracts"):
        message = f"`{parameters['numeraire']}` is no numeraire"
        raise QueryError(Finding("unknown_choice", message, "say money or contracts"))
    try:
        return listed.factory(**parameters)
    except (ValueError, TypeError, ZeroDivisionError) as error:
        message = f"the policy `{name}` can not be made: {error}"
        raise QueryError(Finding("invalid_value", message, f"parameters: {one_of(takes)}")) from error


def policy_of(text: str) -> AllocateAdl:
    """Return a policy as the command line names it: NAME, or NAME:parameter=value:parameter=value.

    Several keys of `lexicographic` are separated by `/`. QueryError as `policy` raises it.
    """
    name, *given = text.split(":")
    parameters: dict[str, Any] = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals:
            message = f"`{pair}` in `{text}` is no parameter with its value"
            raise QueryError(Finding("invalid_value", message, "write NAME:parameter=value"))
        words: dict[str, Any] = {"true": True, "false": False}
        parameters[key] = value.split("/") if key == "keys" else words.get(value, value)
    return policy(name, **parameters)


def declared(name: str, **parameters: Any) -> tuple[str, ...]:
    """Return the laws that a policy declares with these parameters, in the order of LAWS."""
    listed = _listed(name)
    takes = {k: p.default for k, p in inspect.signature(listed.factory).parameters.items()}
    chosen = {**takes, **parameters}
    laws = {*listed.laws} if chosen.get("whole_lots", True) else {*listed.laws, *listed.unrounded}
    return _adjusted(name, chosen, laws)


def _adjusted(name: str, chosen: dict[str, Any], laws: set[str]) -> tuple[str, ...]:
    """Return laws as the parameters change them."""
    money = chosen.get("numeraire", "contracts") == "money"
    if money:
        laws |= {"profit_only"}
        laws -= set(_FREE)
    elif name == "pro_rata":
        return declared("pro_rata_contracts", whole_lots=chosen["whole_lots"])
    if name == "integer" and chosen["rule"] == "min_max":
        laws |= {"budget_monotone"}
    if name == "queue" and chosen["whole_lots"]:
        # A profit buys no whole lots, and a group's shares are none.
        laws -= {"split_proof"} if money else set()
        laws -= {"budget_monotone", "split_proof"} if chosen["ties"] == "group" else set()
    if name == "risk_weighted" and chosen["g"] == "tail":
        laws -= {"exhaustive", "smooth"}
    return tuple(law for law in LAWS if law in laws)


def _listed(name: str) -> Listed:
    if name == HAIRCUT:
        message = "the policy `profit_haircut` takes money from profits and moves no contracts"
        raise QueryError(Finding("unknown_choice", message, "call `policies.profit_haircut(demand, candidates)`"))
    if name not in POLICIES:
        hint = suggestion(name, known()) or f"policies: {one_of(known())}"
        raise QueryError(Finding("unknown_choice", f"there is no policy `{name}`", hint))
    return POLICIES[name]
