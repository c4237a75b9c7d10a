"""Names, functions and types of a tree, checked against what its place has to offer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from riskpolicy.errors import one_of, suggestion
from riskpolicy.expressions.syntax import ExpressionError
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
    Tree,
    children,
    is_condition,
)
from riskpolicy.expressions.units import Unit, Words
from riskpolicy.vocabulary import FUNCTIONS, Function

#: The names of a place and their units; None fits every unit.
Scope = Mapping[str, Unit | Words | None]
NUMBER, CONDITION = "a number", "a condition"


def faults(
    tree: Tree, names: Scope, *, condition: bool, functions: Mapping[str, Function] = FUNCTIONS
) -> list[ExpressionError]:
    """Return every fault of a tree that may use `names` and `functions` and must be a condition, or a number."""
    found = list(_faults(tree, names, functions))
    if is_condition(tree) != condition:
        want, got = (CONDITION, NUMBER) if condition else (NUMBER, CONDITION)
        hint = "compare two numbers, as in `equity < maintenance_margin`" if condition else ""
        found.insert(0, ExpressionError("expression_type", f"{want} is due here, this is {got}", tree.at, hint))
    return found


def _faults(tree: Tree, names: Scope, functions: Mapping[str, Function]) -> Iterator[ExpressionError]:
    yield from _own_faults(tree, names, functions)
    for child in children(tree):
        yield from _faults(child, names, functions)


def _own_faults(tree: Tree, names: Scope, functions: Mapping[str, Function]) -> Iterator[ExpressionError]:
    match tree:
        case Name() | Member() if tree.name not in names:
            hint = suggestion(tree.name, names) or f"known here: {one_of(sorted(names), 40)}"
            yield ExpressionError("unknown_name", f"unknown name `{tree.name}`", tree.at, hint)
        case Name():
            known = names[tree.name]
            if isinstance(known, Words):
                hint = f"ask `{tree.name} in ({', '.join(known.words[-2:])})`"
                yield ExpressionError("expression_type", f"`{tree.name}` is a word, not a number", tree.at, hint)
        case Member():
            yield from _word_faults(tree, names[tree.name])
        case Negate():
            yield from _due(tree.operand, condition=False)
        case Not():
            yield from _due(tree.operand, condition=True)
        case Binary() | Compare():
            yield from _due(tree.left, condition=False)
            yield from _due(tree.right, condition=False)
        case Logic():
            yield from _due(tree.left, condition=True)
            yield from _due(tree.right, condition=True)
        case Conditional():
            yield from _due(tree.condition, condition=True)
            yield from _due(tree.other, condition=is_condition(tree.then))
        case Call():
            yield from _call_faults(tree, functions)


def _word_faults(tree: Member, known: Unit | Words | None) -> Iterator[ExpressionError]:
    if not isinstance(known, Words):
        hint = f"compare it with a number, as in `{tree.name} > 0`"
        yield ExpressionError("expression_type", f"`{tree.name}` is a number, not a word", tree.at, hint)
        return
    for word in tree.words:
        if word not in known.words:
            hint = suggestion(word, known.words) or f"words of `{tree.name}`: {one_of(known.words)}"
            yield ExpressionError("unknown_name", f"`{tree.name}` is never `{word}`", tree.at, hint)


def _call_faults(tree: Call, functions: Mapping[str, Function]) -> Iterator[ExpressionError]:
    function = functions.get(tree.function)
    if function is None:
        hint = suggestion(tree.function, functions) or f"functions: {one_of(functions)}"
        yield ExpressionError("unknown_function", f"unknown function `{tree.function}`", tree.at, hint)
        return
    given = len(tree.arguments)
    if given < function.least or (function.most is not None and given > function.most):
        most = "or more" if function.most is None else f"to {function.most}"
        due = str(function.least) if function.most == function.least else f"{function.least} {most}"
        plural = "" if due == "1" else "s"
        message = f"`{function.name}` takes {due} argument{plural}, not {given}"
        yield ExpressionError("expression_arity", message, tree.at)
    for argument in tree.arguments:
        yield from _due(argument, condition=False)


def _due(tree: Tree, *, condition: bool) -> Iterator[ExpressionError]:
    if is_condition(tree) != condition:
        want, got = (CONDITION, NUMBER) if condition else (NUMBER, CONDITION)
        yield ExpressionError("expression_type", f"{want} is due here, this is {got}", tree.at)
