"""Allocation policies by name: who gives how much when positions opposite to a bankrupt one are closed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple, TypeVar

from riskpolicy.engines.core.adl import LAWS, AllocateAdl
from riskpolicy.engines.policies.haircuts import ProfitHaircut, profit_haircut
from riskpolicy.engines.policies.queues import capped_queue, lexicographic, queue, random_start
from riskpolicy.engines.policies.severity import (
    CONTROLLERS,
    Controller,
    Raised,
    Severity,
    asked,
    raised,
    severity_in,
    within,
)
from riskpolicy.engines.policies.shares import (
    capped_pro_rata,
    integer,
    least_leverage,
    pro_rata,
    pro_rata_contracts,
    risk_weighted,
)
from riskpolicy.errors import Finding, QueryError, one_of, suggestion
from riskpolicy.numbers import NumberError, parse_decimal

T = TypeVar("T")

__all__ = [
    "CONTROLLERS", "HAIRCUT", "POLICIES", "Controller", "Listed", "ProfitHaircut", "Raised", "Severity", "asked",
    "controller", "controller_of", "declared", "known", "policy", "policy_of", "profit_haircut", "raised",
    "severity_in",
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
    if parameters.get("numeraire", "money") not in ("money", "contracts"):
        message = f"`{parameters['numeraire']}` is no numeraire"
        raise QueryError(Finding("unknown_choice", message, "say money or contracts"))
    return _made(f"policy `{name}`", _listed(name).factory, parameters)


def controller(name: str, **parameters: Any) -> Controller:
    """Return a controller of severity by its name in CONTROLLERS, made with its factory's keyword parameters.

    QueryError for an unknown name, parameter or value.
    """
    if name not in CONTROLLERS:
        hint = suggestion(name, CONTROLLERS) or f"controllers: {one_of(CONTROLLERS)}"
        raise QueryError(Finding("unknown_choice", f"there is no controller `{name}`", hint))
    return _made(f"controller `{name}`", CONTROLLERS[name], parameters)


def _made(what: str, factory: Callable[..., T], parameters: dict[str, Any]) -> T:
    """Return what a factory makes of parameters; QueryError for one that it does not take, or not so."""
    takes = list(inspect.signature(factory).parameters)
    hint = f"parameters: {one_of(takes)}" if takes else "it takes no parameters"
    for given in parameters:
        if given not in takes:
            message = f"the {what} has no parameter `{given}`"
            raise QueryError(Finding("unknown_key", message, suggestion(given, takes) or hint))
    try:
        return factory(**parameters)
    except (ValueError, TypeError, ZeroDivisionError) as error:
        raise QueryError(Finding("invalid_value", f"the {what} can not be made: {error}", hint)) from error


def policy_of(text: str) -> AllocateAdl:
    """Return a policy as the command line names it: NAME, or NAME:parameter=value:parameter=value.

    Several keys of `lexicographic` are separated by `/`. QueryError as `policy` raises it.
    """
    name, parameters = _read(text)
    return policy(name, **parameters)


def controller_of(text: str) -> tuple[Severity, Controller]:
    """Return a controller and the severity it starts from, as the command line names it: NAME:parameter=value:...

    `start`, `least` and `most` are the severity's. QueryError as `controller` raises it, or for bounds that are not in
    order.
    """
    name, parameters = _read(text)
    bounds = {"start": 1, "least": 0, "most": 1}
    given = {key: parameters.pop(key, default) for key, default in bounds.items()}
    step = controller(name, **parameters)
    try:
        start, least, most = (within(key, value, most=1) for key, value in given.items())
    except ValueError as error:
        raise QueryError(Finding("invalid_value", f"{error} (in `{text}`)", "write 0.5 or 50%")) from None
    if not least <= start <= most:
        raise QueryError(Finding("severity_form", f"the bounds of `{text}` are not in order", "least <= start <= most"))
    return Severity(start, least, most), step


def _read(text: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the parameters that NAME:parameter=value:... says."""
    name, *given = text.split(":")
    parameters: dict[str, Any] = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals:
            message = f"`{pair}` in `{text}` is no parameter with its value"
            raise QueryError(Finding("invalid_value", message, "write NAME:parameter=value"))
        words: dict[str, Any] = {"true": True, "false": False}
        parameters[key] = value.split("/") if key == "keys" else words.get(value, _number(value))
    return name, parameters


def _number(text: str) -> Fraction | str:
    """Return a number, or a percentage, as a fraction; other text as it is."""
    try:
        found = Fraction(parse_decimal(text.removesuffix("%").rstrip()))
    except NumberError:
        return text
    return found / 100 if text.endswith("%") else found


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
