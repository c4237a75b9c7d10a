"""From a checked tree to a Program: operands first, each `let` once, straight-line code."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

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
    is_condition,
    walk,
)
from riskpolicy.kernel.opcodes import CODE
from riskpolicy.kernel.program import Program

_BINARY = {"+": "add", "-": "sub", "*": "mul", "/": "div"}
# a > b is b < a: the operands are emitted the other way round.
_COMPARE = {
    "<": ("lt", False),
    "<=": ("le", False),
    ">": ("lt", True),
    ">=": ("le", True),
    "==": ("eq", False),
    "!=": ("ne", False),
}


def emit(source: str, tree: Tree, let: Mapping[str, Tree], constants: Mapping[str, Decimal]) -> Program:
    """Return the program of a tree whose names are columns, `let` names (in order) or constants."""
    return _Emitter(let, constants).program(source, tree)


class _Emitter:
    def __init__(self, let: Mapping[str, Tree], constants: Mapping[str, Decimal]) -> None:
        self.let = let
        self.named = constants
        self.code: list[tuple[int, int]] = []
        self.constants: list[Decimal] = []
        self.slots: list[str] = []
        self.locals: dict[str, int] = {}

    def program(self, source: str, tree: Tree) -> Program:
        for name in self._used(tree):
            self.emit(self.let[name])
            self.locals[name] = len(self.locals)
            self.op("store", self.locals[name])
        self.emit(tree)
        condition = is_condition(tree)
        return Program(source, tuple(self.code), tuple(self.constants), tuple(self.slots), condition)

    def _used(self, tree: Tree) -> list[str]:
        """Return the `let` names that a tree needs, in the order in which they are declared."""
        needed: set[str] = set()
        todo = [tree]
        while todo:
            for node in walk(todo.pop()):
                if isinstance(node, Name) and node.name in self.let and node.name not in needed:
                    needed.add(node.name)
                    todo.append(self.let[node.name])
        return [name for name in self.let if name in needed]

    def op(self, name: str, operand: int = 0) -> None:
        self.code.append((CODE[name], operand))

    def constant(self, value: Decimal) -> None:
        if value not in self.constants:
            self.constants.append(value)
        self.op("const", self.constants.index(value))

    def emit(self, tree: Tree) -> None:
        match tree:
            case Number():
                self.constant(tree.value)
            case Name():
                self.name(tree.name)
            case Negate() | Not():
                self.emit(tree.operand)
                self.op("neg" if isinstance(tree, Negate) else "not")
            case Binary():
                self.pair(tree.left, tree.right, _BINARY[tree.op])
            case Compare():
                op, swapped = _COMPARE[tree.op]
                first, second = (tree.right, tree.left) if swapped else (tree.left, tree.right)
                self.pair(first, second, op)
            case Logic():
                self.pair(tree.left, tree.right, tree.op)
            case Conditional():
                self.emit(tree.then)
                self.emit(tree.other)
                self.emit(tree.condition)
                self.op("select")
            case Call():
                self.call(tree)

    def pair(self, left: Tree, right: Tree, op: str) -> None:
        self.emit(left)
        self.emit(right)
        self.op(op)

    def name(self, name: str) -> None:
        if name in self.locals:
            self.op("local", self.locals[name])
        elif name in self.named:
            self.constant(self.named[name])
        else:
            if name not in self.slots:
                self.slots.append(name)
            self.op("load", self.slots.index(name))

    def call(self, tree: Call) -> None:
        self.emit(tree.arguments[0])
        if tree.function == "abs":
            self.op("abs")
        for argument in tree.arguments[1:]:
            self.emit(argument)
            self.op(tree.function)
