"""From a checked tree to a Program: operands first, each `let` once, straight-line code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal

from riskpolicy.expressions.format import format_tree
from riskpolicy.expressions.tree import (
    Binary,
    Call,
    Compare,
    Conditional,
    Logic,
    Member,
    Name,
    Negate,
    Not,
    Number,
    Tree,
    is_condition,
    walk,
)
from riskpolicy.kernel.opcodes import CODE, MAX_LOCALS, OPCODES
from riskpolicy.kernel.program import Call as PluginCall
from riskpolicy.kernel.program import Constant, Program, fold
from riskpolicy.vocabulary import ExpressionFunction

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


def emit(
    source: str,
    tree: Tree,
    let: Mapping[str, Tree],
    constants: Mapping[str, Decimal],
    functions: Mapping[str, ExpressionFunction] | None = None,
    words: Mapping[str, tuple[str, ...]] | None = None,
) -> Program:
    """Return the program of a tree whose names are columns, `let` names (in order) or constants.

    `functions` are those of plugins; a column of `words` holds the place of its word among these.
    """
    return _Emitter(let, constants, functions or {}, words or {}).program(source, tree)


class _Emitter:
    def __init__(
        self,
        let: Mapping[str, Tree],
        constants: Mapping[str, Decimal],
        functions: Mapping[str, ExpressionFunction],
        words: Mapping[str, tuple[str, ...]],
    ) -> None:
        self.words = words
        self.let = let
        self.named = constants
        self.functions = functions
        self.calls: list[PluginCall] = []
        self.code: list[tuple[int, int]] = []
        self.constants: list[Constant] = []
        self.slots: list[str] = []
        self.locals: dict[str, int] = {}

    def program(self, source: str, tree: Tree) -> Program:
        for name in self._used(tree):
            self.emit(self.let[name])
            self.locals[name] = len(self.locals)
            self.op("store", self.locals[name])
        self.emit(tree)
        return self.trimmed(source, is_condition(tree))

    def trimmed(self, source: str, condition: bool) -> Program:
        """Return the program without the constants that folding has used up, equal parts computed once."""
        used = sorted({operand for code, operand in self.code if code == CODE["const"]})
        code = _shared([(c, used.index(o) if c == CODE["const"] else o) for c, o in self.code])
        return Program(
            source, code, tuple(self.constants[i] for i in used), tuple(self.slots), condition, tuple(self.calls)
        )

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
        """Append an instruction; one on constants alone is folded, as floats in order and exactly."""
        takes = OPCODES[CODE[name]].takes
        last = self.code[-takes:] if takes else []
        if name != "store" and last and len(last) == takes and all(code == CODE["const"] for code, _ in last):
            folded = fold(name, [self.constants[i] for _, i in last])
            if folded is not None:
                del self.code[-takes:]
                self.constant(folded)
                return
        self.code.append((CODE[name], operand))

    def constant(self, constant: Constant) -> None:
        if constant not in self.constants:
            self.constants.append(constant)
        self.code.append((CODE["const"], self.constants.index(constant)))

    def emit(self, tree: Tree) -> None:
        match tree:
            case Number():
                self.constant(Constant.of(tree.value))
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
            case Member():
                self.member(tree)

    def pair(self, left: Tree, right: Tree, op: str) -> None:
        self.emit(left)
        self.emit(right)
        self.op(op)

    def name(self, name: str) -> None:
        if name in self.locals:
            self.op("local", self.locals[name])
        elif name in self.named:
            self.constant(Constant.of(self.named[name]))
        else:
            if name not in self.slots:
                self.slots.append(name)
            self.op("load", self.slots.index(name))

    def member(self, tree: Member) -> None:
        for count, word in enumerate(tree.words):
            self.name(tree.name)
            self.constant(Constant.of(Decimal(self.words[tree.name].index(word))))
            self.op("eq")
            if count:
                self.op("or")
        if tree.negated:
            self.op("not")

    def call(self, tree: Call) -> None:
        if tree.function in self.functions:
            self.plugin_call(tree)
            return
        self.emit(tree.arguments[0])
        if tree.function == "abs":
            self.op("abs")
        for argument in tree.arguments[1:]:
            self.emit(argument)
            self.op(tree.function)

    def plugin_call(self, tree: Call) -> None:
        """Make the call before the code runs; no name of the language begins with `@`."""
        arguments = tuple(
            emit(format_tree(argument), argument, self.let, self.named, self.functions, self.words)
            for argument in tree.arguments
        )
        slot = f"@{len(self.calls)}"
        self.calls.append(PluginCall(slot, self.functions[tree.function], arguments))
        self.slots.append(slot)
        self.op("load", self.slots.index(slot))


def _shared(code: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return code in which a part that occurs again is kept in a local, as long as there are locals."""
    nodes: dict[tuple[int, int, tuple[int, ...]], int] = {}
    stack: list[int] = []
    kept: dict[int, int] = {}
    roots: list[tuple[int | None, int]] = []
    for number, operand in code:
        if number == CODE["store"]:
            kept[operand] = stack.pop()
            roots.append((operand, kept[operand]))
        elif number == CODE["local"]:
            stack.append(kept[operand])
        else:
            takes = OPCODES[number].takes
            parts = tuple(stack[len(stack) - takes :])
            del stack[len(stack) - takes :]
            stack.append(nodes.setdefault((number, operand, parts), len(nodes)))
    made = list(nodes)
    uses = Counter(part for _, _, parts in made for part in parts)
    free = iter(range(len(kept), MAX_LOCALS))
    out: list[tuple[int, int]] = []
    place: dict[int, int] = {}

    def put(node: int) -> None:
        if node in place:
            out.append((CODE["local"], place[node]))
            return
        number, operand, parts = made[node]
        for part in parts:
            put(part)
        out.append((number, operand))
        local = next(free, None) if parts and uses[node] > 1 else None
        if local is not None:
            out.extend([(CODE["store"], local), (CODE["local"], local)])
            place[node] = local

    for local, node in [*roots, (None, stack[-1])]:
        put(node)
        if local is not None:
            out.append((CODE["store"], local))
            place[node] = local
    return tuple(out)
