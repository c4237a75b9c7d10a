"""From text to tree: a subset of Python's syntax, parsed under limits that hold before parsing."""

from __future__ import annotations

import ast
import re
from typing import NoReturn

from riskpolicy.expressions.tree import (
    Arithmetic,
    Binary,
    Call,
    Compare,
    Comparison,
    Conditional,
    Logic,
    Member,
    Name,
    Negate,
    Not,
    Number,
    Tree,
)
from riskpolicy.numbers import NumberError, parse_decimal

MAX_LENGTH = 2000
MAX_NESTING = 30
MAX_NODES = 400
MAX_DEPTH = 100

_ARITHMETIC: dict[type[ast.operator], Arithmetic] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_COMPARISON: dict[type[ast.cmpop], Comparison] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip
_REFUSED = {
    ast.Attribute: ("attributes", "names are plain words, such as `bucket_equity`"),
    ast.Subscript: ("subscripts", "names are plain words, such as `bucket_equity`"),
    ast.ListComp: ("comprehensions", ""),
    ast.GeneratorExp: ("comprehensions", ""),
    ast.Lambda: ("functions of your own", "use `let` for a part of an expression"),
    ast.Pow: ("powers", "write `x * x`"),
    ast.Mod: ("remainders", ""),
    ast.FloorDiv: ("whole division", ""),
    ast.BitAnd: ("`&`", "write `and`"),
    ast.BitOr: ("`|`", "write `or`"),
    ast.BitXor: ("`^`", ""),
    ast.Invert: ("`~`", "write `not`"),
}


class ExpressionError(ValueError):
    """A text that is no expression: a finding's code, message and hint, and the character it is about."""

    def __init__(self, code: str, message: str, at: int, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.at = at
        self.hint = hint


def parse(text: str) -> Tree:
    """Return the tree of an expression; ExpressionError where the text is none or beyond the limits."""
    _limit_text(text)
    flat = text.replace("\n", " ").replace("\t", " ").replace("\r", " ")
    start = len(flat) - len(flat.lstrip(" "))
    try:
        parsed = ast.parse(flat[start:], mode="eval")
    except SyntaxError as error:
        # Python says 0 where the text ends too early.
        at = start + error.offset - 1 if error.offset else len(text) - 1
        why = error.msg if error.offset else "it ends too early"
        hint = ""
        if re.search(r"[^<>=!]=[^=]", flat):
            hint = "a comparison is written `==`"
        elif re.search(r"\d\s*%", flat):
            hint = "there are no percent signs in expressions: write 0.05 for 5%"
        raise ExpressionError("expression_syntax", f"not an expression: {why}", min(at, len(text) - 1), hint) from None
    except (MemoryError, RecursionError, ValueError):
        raise ExpressionError("expression_limit", "the expression is nested too deeply", 0) from None
    _limit_tree(parsed)
    return _Reader(flat[start:], start).tree(parsed.body)


def _limit_text(text: str) -> None:
    if len(text) > MAX_LENGTH:
        message = f"an expression of {len(text):,} characters; at most {MAX_LENGTH:,} are allowed"
        raise ExpressionError("expression_limit", message, 0, "name its parts with `let`")
    if not text.strip():
        raise ExpressionError("expression_syntax", "the expression is empty", 0)
    depth = 0
    for at, character in enumerate(text):
        if not (character.isascii() and (character.isprintable() or character in "\n\t\r")):
            message = f"`{character!r}` (U+{ord(character):04X}) is not allowed in an expression"
            raise ExpressionError("expression_form", message, at, "use plain ASCII letters")
        depth += (character in "([{") - (character in ")]}")
        if depth > MAX_NESTING:
            message = f"brackets nested more than {MAX_NESTING} deep"
            raise ExpressionError("expression_limit", message, at, "name its parts with `let`")


def _limit_tree(parsed: ast.Expression) -> None:
    stack: list[tuple[ast.AST, int]] = [(parsed.body, 1)]
    count = 0
    while stack:
        node, depth = stack.pop()
        count += isinstance(node, ast.expr)
        if count > MAX_NODES or depth > MAX_DEPTH:
            message = f"more than {MAX_NODES} parts, or {MAX_DEPTH} within each other"
            raise ExpressionError("expression_limit", message, 0, "name its parts with `let`")
        stack.extend((child, depth + 1) for child in ast.iter_child_nodes(node))


class _Reader:
    """Turns Python's nodes into ours and refuses every other one."""

    def __init__(self, text: str, start: int) -> None:
        self.text = text
        self.start = start

    def tree(self, node: ast.expr) -> Tree:
        at = self.start + node.col_offset
        match node:
            case ast.Constant():
                return self.number(node, at)
            case ast.Name():
                return Name(node.id, at)
            case ast.UnaryOp(op=ast.USub()):
                return Negate(self.tree(node.operand), at)
            case ast.UnaryOp(op=ast.UAdd()):
                return self.tree(node.operand)
            case ast.UnaryOp(op=ast.Not()):
                return Not(self.tree(node.operand), at)
            case ast.BinOp() if type(node.op) in _ARITHMETIC:
                return Binary(_ARITHMETIC[type(node.op)], self.tree(node.left), self.tree(node.right), at)
            case ast.BoolOp():
                return self.logic(node, at)
            case ast.Compare():
                return self.comparison(node, at)
            case ast.IfExp():
                return Conditional(self.tree(node.test), self.tree(node.body), self.tree(node.orelse), at)
            case ast.Call():
                return self.call(node, at)
            case ast.BinOp() | ast.UnaryOp():
                return self.refuse(node.op, at)
        return self.refuse(node, at)

    def number(self, node: ast.Constant, at: int) -> Tree:
        written = self.text[node.col_offset : node.end_col_offset]
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            message = f"`{written}` is not a number"
            raise ExpressionError("expression_form", message, at, "expressions are made of numbers and names")
        try:
            return Number(parse_decimal(written), at)
        except NumberError as error:
            raise ExpressionError("number_out_of_range", str(error), at, "write plain decimal digits") from None

    def logic(self, node: ast.BoolOp, at: int) -> Tree:
        op: str = "and" if isinstance(node.op, ast.And) else "or"
        tree = self.tree(node.values[0])
        for value in node.values[1:]:
            tree = Logic("and" if op == "and" else "or", tree, self.tree(value), at)
        return tree

    def comparison(self, node: ast.Compare, at: int) -> Tree:
        if len(node.ops) > 1:
            raise ExpressionError("expression_form", "a chain of comparisons", at, "join two with `and`")
        op = type(node.ops[0])
        if op in (ast.In, ast.NotIn):
            return self.membership(node, at)
        if op not in _COMPARISON:
            raise ExpressionError("expression_form", "`is` is not in the language", at, "write `==`")
        return Compare(_COMPARISON[op], self.tree(node.left), self.tree(node.comparators[0]), at)

    def membership(self, node: ast.Compare, at: int) -> Tree:
        inside = node.comparators[0]
        words = inside.elts if isinstance(inside, ast.Tuple) else [inside]
        if not (isinstance(node.left, ast.Name) and words and all(isinstance(word, ast.Name) for word in words)):
            hint = "as in `state in (bankrupt, liquidatable)`"
            raise ExpressionError("expression_form", "`in` takes a name and plain words in brackets", at, hint)
        named = tuple(word.id for word in words if isinstance(word, ast.Name))
        return Member(node.left.id, named, isinstance(node.ops[0], ast.NotIn), at)

    def call(self, node: ast.Call, at: int) -> Tree:
        if not isinstance(node.func, ast.Name):
            self.refuse(node.func, self.start + node.func.col_offset)
        if node.keywords or any(isinstance(a, ast.Starred) for a in node.args):
            raise ExpressionError("expression_form", "arguments are plain, without names or stars", at)
        return Call(node.func.id, tuple(self.tree(a) for a in node.args), at)

    def refuse(self, node: ast.AST, at: int) -> NoReturn:
        default = (f"`{type(node).__name__.lower()}`", "")
        what, hint = _REFUSED.get(type(node), default)
        raise ExpressionError("expression_form", f"{what} are not in the language", at, hint)
