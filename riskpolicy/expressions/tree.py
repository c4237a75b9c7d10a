"""The nodes of an expression. `at` is the character at which a node starts; nodes are frozen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, TypeAlias

Arithmetic = Literal["+", "-", "*", "/"]
Comparison = Literal["<", "<=", ">", ">=", "==", "!="]


@dataclass(frozen=True, slots=True)
class Number:
    """A decimal literal."""

    value: Decimal
    at: int


@dataclass(frozen=True, slots=True)
class Name:
    """A column, constant or `let` name."""

    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Negate:
    """Minus a number."""

    operand: Tree
    at: int


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a condition."""

    operand: Tree
    at: int


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic on two numbers."""

    op: Arithmetic
    left: Tree
    right: Tree
    at: int


@dataclass(frozen=True, slots=True)
class Compare:
    """A comparison of two numbers, which is a condition."""

    op: Comparison
    left: Tree
    right: Tree
    at: int


@dataclass(frozen=True, slots=True)
class Logic:
    """`and` or `or` of two conditions; the right one counts only where the left one leaves it open."""

    op: Literal["and", "or"]
    left: Tree
    right: Tree
    at: int


@dataclass(frozen=True, slots=True)
class Member:
    """Whether a name has one of the given words (or none of them), which is a condition."""

    name: str
    words: tuple[str, ...]
    negated: bool
    at: int


@dataclass(frozen=True, slots=True)
class Conditional:
    """`then if condition else other`."""

    condition: Tree
    then: Tree
    other: Tree
    at: int


@dataclass(frozen=True, slots=True)
class Call:
    """A function of numbers."""

    function: str
    arguments: tuple[Tree, ...]
    at: int


Tree: TypeAlias = Number | Name | Negate | Not | Binary | Compare | Logic | Member | Conditional | Call


def children(tree: Tree) -> tuple[Tree, ...]:
    """Return the nodes right below a node, in the order in which they are written."""
    match tree:
        case Negate() | Not():
            return (tree.operand,)
        case Binary() | Compare() | Logic():
            return (tree.left, tree.right)
        case Conditional():
            return (tree.then, tree.condition, tree.other)
        case Call():
            return tree.arguments
        case _:
            return ()


def walk(tree: Tree) -> Iterator[Tree]:
    """Yield a node and all nodes below it."""
    yield tree
    for child in children(tree):
        yield from walk(child)


def is_condition(tree: Tree) -> bool:
    """Return whether the node is a condition rather than a number. A conditional is what its branches are."""
    if isinstance(tree, Conditional):
        return is_condition(tree.then)
    return isinstance(tree, Compare | Logic | Member | Not)
