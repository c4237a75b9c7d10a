"""A tree as text: one space around operators, and only the brackets that the meaning needs."""

from __future__ import annotations

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
)

# How tightly a node holds its parts together; a part that holds less tightly needs brackets.
_CONDITIONAL, _OR, _AND, _NOT, _COMPARE, _SUM, _PRODUCT, _UNARY, _ATOM = range(9)


def format_tree(tree: Tree) -> str:
    """Return the text of a tree; parsing it gives the same tree, places aside."""
    match tree:
        case Number():
            return format(tree.value, "f")
        case Name():
            return tree.name
        case Call():
            return f"{tree.function}({', '.join(format_tree(a) for a in tree.arguments)})"
        case Negate():
            return f"-{_part(tree.operand, _UNARY)}"
        case Not():
            return f"not {_part(tree.operand, _NOT)}"
        case Conditional():
            then, condition = _part(tree.then, _OR), _part(tree.condition, _OR)
            return f"{then} if {condition} else {_part(tree.other, _CONDITIONAL)}"
        case Compare():
            return f"{_part(tree.left, _SUM)} {tree.op} {_part(tree.right, _SUM)}"
        case Member():
            return f"{tree.name} {'not ' if tree.negated else ''}in ({', '.join(tree.words)})"
        case Binary() | Logic():
            # Operators of one strength group to the left, so only a right part of that strength needs brackets.
            level = _level(tree)
            return f"{_part(tree.left, level)} {tree.op} {_part(tree.right, level + 1)}"


def _part(tree: Tree, level: int) -> str:
    text = format_tree(tree)
    return f"({text})" if _level(tree) < level else text


def _level(tree: Tree) -> int:
    match tree:
        case Conditional():
            return _CONDITIONAL
        case Logic():
            return _OR if tree.op == "or" else _AND
        case Not():
            return _NOT
        case Compare() | Member():
            return _COMPARE
        case Binary():
            return _SUM if tree.op in "+-" else _PRODUCT
        case Negate():
            return _UNARY
        case _:
            return _ATOM
