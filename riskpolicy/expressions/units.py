"""Units of a tree: money, price, contracts, time and what products of them make; a ratio has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from riskpolicy.expressions.syntax import ExpressionError
from riskpolicy.expressions.tree import (
    Binary,
    Call,
    Compare,
    Conditional,
    Logic,
    Name,
    Negate,
    Not,
    Number,
    Tree,
)
from riskpolicy.vocabulary import ExpressionFunction

#: The rules in words, for the documentation.
RULES = (
    "a number is a ratio; `0` fits every unit",
    "`+`, `-`, comparisons, `min`, `max` and the two branches of a conditional need one unit, and keep it",
    "`*` and `/` multiply and divide units, so `notional / equity` is a ratio",
    "`settle` is one unit of the settlement currency, so `50 * settle` is money",
)


@dataclass(frozen=True, slots=True)
class Unit:
    """Exponents of the base units; all zero is a ratio. None in place of a Unit fits every unit."""

    money: int = 0
    price: int = 0
    contracts: int = 0
    time: int = 0

    def times(self, other: Unit, power: int) -> Unit:
        """Return this unit times the other one raised to `power`."""
        return Unit(
            self.money + power * other.money,
            self.price + power * other.price,
            self.contracts + power * other.contracts,
            self.time + power * other.time,
        )

    def __str__(self) -> str:
        powers = {"money": self.money, "price": self.price, "contracts": self.contracts, "time": self.time}
        above = [f"{n}^{p}" if p > 1 else n for n, p in powers.items() if p > 0]
        below = [f"{n}^{-p}" if p < -1 else n for n, p in powers.items() if p < 0]
        if not above and not below:
            return "a ratio"
        return " x ".join(above or ["1"]) + "".join(f" / {n}" for n in below)


RATIO, MONEY, PRICE = Unit(), Unit(money=1), Unit(price=1)
UNITS: Mapping[str, Unit] = {
    "ratio": RATIO,
    "money": MONEY,
    "price": PRICE,
    "contracts": Unit(contracts=1),
    "time": Unit(time=1),
}


@dataclass(frozen=True, slots=True)
class Words:
    """In place of a unit: the name has one of these words, and `in` is all that can be asked of it."""

    words: tuple[str, ...]


@dataclass(slots=True)
class UnitCheck:
    """The unit of a tree and every way in which its units do not fit. Types must have been checked before."""

    names: Mapping[str, Unit | Words | None]
    functions: Mapping[str, ExpressionFunction] = field(default_factory=dict)
    faults: list[ExpressionError] = field(default_factory=list)

    def unit(self, tree: Tree) -> Unit | None:
        """Return the unit of a number, None where it fits every unit; a condition has none."""
        match tree:
            case Number():
                return None if tree.value == 0 else RATIO
            case Name():
                unit = self.names.get(tree.name, RATIO)
                return None if isinstance(unit, Words) else unit
            case Negate():
                return self.unit(tree.operand)
            case Not():
                self.unit(tree.operand)
            case Binary(op="*") | Binary(op="/"):
                return self._product(tree)
            case Binary():
                return self._same(f"`{tree.op}`", tree.left, tree.right)
            case Compare():
                self._same(f"`{tree.op}`", tree.left, tree.right)
            case Logic():
                self.unit(tree.left)
                self.unit(tree.right)
            case Conditional():
                self.unit(tree.condition)
                return self._same("the conditional", tree.then, tree.other)
            case Call() if tree.function in self.functions:
                return self._call(tree, self.functions[tree.function])
            case Call():
                return self._same(f"`{tree.function}`", *tree.arguments)
        return None

    def _product(self, tree: Binary) -> Unit | None:
        left, right = self.unit(tree.left), self.unit(tree.right)
        if left is None or (right is None and tree.op == "*"):
            return None  # zero times anything is zero
        return left.times(right or RATIO, 1 if tree.op == "*" else -1)

    def _call(self, tree: Call, function: ExpressionFunction) -> Unit:
        """Return the unit of a plugin's function, whose arguments have the units that it declares."""
        for argument, name in zip(tree.arguments, function.parameters, strict=True):
            unit = self.unit(argument)
            if unit is not None and unit != UNITS[name]:
                message = f"`{tree.function}` takes {UNITS[name]} here, this is {unit}"
                self.faults.append(ExpressionError("expression_unit", message, argument.at))
        return UNITS[function.result]

    def _same(self, what: str, *parts: Tree) -> Unit | None:
        agreed: Unit | None = None
        for part in parts:
            unit = self.unit(part)
            if agreed is None:
                agreed = unit
            elif unit is not None and unit != agreed:
                hint = "write `1 * settle` for one unit of money" if MONEY in (unit, agreed) else ""
                message = f"{what} joins {agreed} and {unit}"
                self.faults.append(ExpressionError("expression_unit", message, part.at, hint))
        return agreed
