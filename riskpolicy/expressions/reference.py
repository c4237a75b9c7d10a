"""The meaning of an expression, stated by simpleeval: slow, plain, and what the compiled form must equal.

Its number is that of simpleeval over floats; its decision that of simpleeval over exact fractions.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, TypeVar

from simpleeval import SimpleEval

from riskpolicy.expressions.syntax import parse
from riskpolicy.expressions.tree import Member, walk
from riskpolicy.numbers import exact

_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: operator.not_,
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
    ast.In: lambda word, words: _has(words, word), ast.NotIn: lambda word, words: not _has(words, word),
}  # fmt: skip


def _has(words: str | tuple[str, ...], word: str) -> bool:
    return word in ((words,) if isinstance(words, str) else words)


N = TypeVar("N", float, Fraction)

_FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max, "abs": abs}


class _Evaluator(SimpleEval):  # type: ignore[misc]
    """SimpleEval with our operators and functions only, its numbers read by `number`."""

    def __init__(self, names: Mapping[str, Any], number: Callable[[str], Any], text: str) -> None:
        super().__init__(operators=_OPERATORS, functions=_FUNCTIONS, names=dict(names))
        self.number = number
        self.text = text
        self.nodes[ast.Constant] = self._constant
        self.nodes[ast.Tuple] = lambda node: tuple(self._eval(word) for word in node.elts)

    def _constant(self, node: ast.Constant) -> Any:
        return self.number(self.text[node.col_offset : node.end_col_offset])


def value(text: str, row: Mapping[str, float | str]) -> float | bool:
    """Return the expression's value over floats. Raises ZeroDivisionError where a taken branch divides by zero."""
    return _run(text, row, float)


def decision(text: str, row: Mapping[str, float | str]) -> Fraction | bool:
    """Return the expression's value over exact fractions, each float meaning its shortest decimal."""
    exactly = {name: x if isinstance(x, str) else exact(x) for name, x in row.items()}
    return _run(text, exactly, Fraction)


def _run(text: str, row: Mapping[str, Any], number: Callable[[str], N]) -> N | bool:
    # A word of `in` means itself; a single one stands in brackets of its own.
    members = [node for node in walk(parse(text)) if isinstance(node, Member)]
    words = {word: word for node in members for word in node.words}
    flat = " ".join(text.split())
    result: N | bool = _Evaluator({**row, **words}, number, flat).eval(flat)
    return result
