"""A formatted expression is the same tree, and is not formatted further."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskpolicy.expressions.format import format_tree
from riskpolicy.expressions.syntax import parse
from tests.expressions.test_reference import conditions, numbers


def shape(tree):
    """The tree without the places of its nodes."""
    return re.sub(r", at=\d+|at=\d+", "", repr(tree))


@settings(max_examples=500, deadline=None)
@given(st.one_of(numbers(), conditions()))
def test_formatting_keeps_the_tree(text):
    tree = parse(text)
    formatted = format_tree(tree)
    assert shape(parse(formatted)) == shape(tree)
    assert format_tree(parse(formatted)) == formatted


@pytest.mark.parametrize(
    ("text", "formatted"),
    [
        ("a*(b)+( c )", "a * b + c"),
        ("a-(b-c)", "a - (b - c)"),
        ("(a-b)-c", "a - b - c"),
        ("-(a+b)", "-(a + b)"),
        ("(not (a<b))and c>1e-8", "not a < b and c > 0.00000001"),
        ("(a if b<c else a)+1", "(a if b < c else a) + 1"),
        ("a if b<c else (a if c<b else b)", "a if b < c else a if c < b else b"),
        ("(a if b<c else a) if c<b else b", "(a if b < c else a) if c < b else b"),
        ("not s in(x,y ) and t not in z", "not s in (x, y) and t not in (z)"),
        ("max( a,b )", "max(a, b)"),
        ("(a<b) and ((b<c) or (c<a))", "a < b and (b < c or c < a)"),
    ],
)
def test_only_needed_brackets_stay(text, formatted):
    assert format_tree(parse(text)) == formatted
