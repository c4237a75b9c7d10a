"""The trigger as a sum of bucket amounts, so that the price at which it turns can be solved for."""

from __future__ import annotations

from fractions import Fraction

from riskpolicy.expressions.tree import Binary, Compare, Name, Negate, Number, Tree
from riskpolicy.kernel.program import Program
from riskpolicy.plan.plan import Rule, Trigger
from riskpolicy.vocabulary import CONSTANTS

#: A sum: coefficients by name, the constant under the empty name.
Sum = dict[str, Fraction]
AMOUNTS = ("equity", "unrealized_pnl", "notional", "maintenance_margin", "wallet_balance")


class NotASumError(ValueError):
    """An expression that is no sum of bucket amounts; `at` is the character at fault."""

    def __init__(self, at: int) -> None:
        super().__init__("not a sum of bucket amounts")
        self.at = at


def compile_trigger(tree: Tree, program: Program) -> Trigger:
    """Return the trigger of a comparison; NotASumError where its sides are no sums of bucket amounts.

    `margin_ratio` compared with a positive constant counts as maintenance_margin against that many
    times equity, which is the same wherever margin is due.
    """
    if not isinstance(tree, Compare) or tree.op in ("==", "!="):
        raise NotASumError(tree.at)
    low, high = (tree.left, tree.right) if tree.op in ("<", "<=") else (tree.right, tree.left)
    total = _ratio(low, high) or _add(_sum(low), _sum(high), -1)
    return Trigger(
        rule=Rule("liquidation.trigger", program),
        of_equity=total.get("equity", Fraction(0)),
        of_pnl=total.get("unrealized_pnl", Fraction(0)),
        of_notional=total.get("notional", Fraction(0)),
        of_maintenance=total.get("maintenance_margin", Fraction(0)),
        of_wallet=total.get("wallet_balance", Fraction(0)),
        constant=total.get("", Fraction(0)),
        strict=tree.op in ("<", ">"),
    )


def _ratio(low: Tree, high: Tree) -> Sum | None:
    """Read `c < margin_ratio` as c x equity < maintenance_margin."""
    if not (isinstance(high, Name) and high.name == "margin_ratio"):
        return None
    constant = _sum(low)
    if set(constant) - {""} or constant.get("", Fraction(0)) <= 0:
        raise NotASumError(low.at)
    return {"equity": constant[""], "maintenance_margin": Fraction(-1)}


def _sum(tree: Tree) -> Sum:
    match tree:
        case Number():
            return {"": Fraction(tree.value)}
        case Name() if tree.name in AMOUNTS:
            return {tree.name: Fraction(1)}
        case Name() if tree.name in CONSTANTS:
            return {"": Fraction(CONSTANTS[tree.name][0])}
        case Negate():
            return _add({}, _sum(tree.operand), -1)
        case Binary(op="+") | Binary(op="-"):
            return _add(_sum(tree.left), _sum(tree.right), 1 if tree.op == "+" else -1)
        case Binary(op="*"):
            left, right = _sum(tree.left), _sum(tree.right)
            factor, other = (left, right) if not set(left) - {""} else (right, left)
            if not set(factor) - {""}:
                return _add({}, other, factor.get("", Fraction(0)))
        case Binary(op="/"):
            divisor = _sum(tree.right)
            if not set(divisor) - {""} and divisor.get("", Fraction(0)) != 0:
                return _add({}, _sum(tree.left), 1 / divisor[""])
    raise NotASumError(tree.at)


def _add(left: Sum, right: Sum, factor: int | Fraction) -> Sum:
    return {k: left.get(k, Fraction(0)) + factor * right.get(k, Fraction(0)) for k in {**left, **right}}
