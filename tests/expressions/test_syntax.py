"""What is no expression is refused under limits, at its character."""

import pytest

from riskpolicy.expressions.check import faults
from riskpolicy.expressions.syntax import ExpressionError, parse
from riskpolicy.expressions.tree import Binary, Name, Number, walk
from riskpolicy.expressions.units import Words


@pytest.mark.parametrize(
    ("text", "code", "at"),
    [
        ("", "expression_syntax", 0),
        ("   ", "expression_syntax", 0),
        ("a +", "expression_syntax", 2),
        ("a b", "expression_syntax", 2),
        ("a = b", "expression_syntax", 2),
        ("a; b", "expression_syntax", 1),
        ("a.b", "expression_form", 0),
        ("a[0]", "expression_form", 0),
        ("(1).__class__", "expression_form", 0),
        ("[x for x in y]", "expression_form", 0),
        ("lambda: 1", "expression_form", 0),
        ("a ** b", "expression_form", 0),
        ("a % b", "expression_form", 0),
        ("a // b", "expression_form", 0),
        ("a & b", "expression_form", 0),
        ("~a", "expression_form", 0),
        ("'text'", "expression_form", 0),
        ("True", "expression_form", 0),
        ("None", "expression_form", 0),
        ("1j", "expression_form", 0),
        ("0x10", "number_out_of_range", 0),
        ("1_000", "number_out_of_range", 0),
        ("a < b < c", "expression_form", 0),
        ("a is b", "expression_form", 0),
        ("f(x=1)", "expression_form", 0),
        ("f(*a)", "expression_form", 0),
        ("f()()", "expression_form", 0),
        ("{a: b}", "expression_form", 0),
        ("(a := 1)", "expression_form", 1),
        ("f'{a}'", "expression_form", 0),
        ("1e999", "number_out_of_range", 0),
        ("9" * 200, "number_out_of_range", 0),
        ("\u0435quity < 1", "expression_form", 0),
        ("a\u00a0< 1", "expression_form", 1),
        ("+".join(["1"] * 10_000), "expression_limit", 0),
        ("+".join(["1"] * 900), "expression_limit", 0),
        ("(" * 1000 + "1" + ")" * 1000, "expression_limit", 0),
        ("(" * 40 + "1" + ")" * 40, "expression_limit", 30),
        ("-" * 500 + "1", "expression_limit", 0),
        ("not " * 400 + "a", "expression_limit", 0),
    ],
)
def test_refused(text, code, at):
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert (caught.value.code, caught.value.at) == (code, at)


def test_a_tree_keeps_decimals_and_places():
    tree = parse(" a * 0.10\n+ 2")
    assert isinstance(tree, Binary)
    assert [(n.at, str(n.value)) for n in walk(tree) if isinstance(n, Number)] == [(5, "0.10"), (12, "2")]
    assert [n.at for n in walk(tree) if isinstance(n, Name)] == [1]


SCOPE = {"a": None, "b": None, "s": Words(("up", "down"))}


@pytest.mark.parametrize(
    ("text", "condition", "codes"),
    [
        ("a < b", True, []),
        ("a + b", True, ["expression_type"]),
        ("a < b", False, ["expression_type"]),
        ("a + (a < b)", False, ["expression_type"]),
        ("not a", True, ["expression_type"]),
        ("a and b", True, ["expression_type", "expression_type"]),
        ("a if a else b", False, ["expression_type"]),
        ("a if a < b else a < b", False, ["expression_type"]),
        ("(a < b) < a", True, ["expression_type"]),
        ("max(a)", False, ["expression_arity"]),
        ("max(a, a < b)", False, ["expression_type"]),
        ("foo(a) + c", False, ["unknown_function", "unknown_name"]),
        ("__import__(a)", False, ["unknown_function"]),
        ("__class__", False, ["unknown_name"]),
        ("s in (up, down)", True, []),
        ("s in up or a < b", True, []),
        ("s not in (up,)", True, []),
        ("s in (up, dwn)", True, ["unknown_name"]),
        ("t in (up,)", True, ["unknown_name"]),
        ("a in (up,)", True, ["expression_type"]),
        ("s < a", True, ["expression_type"]),
        ("s in (up,)", False, ["expression_type"]),
    ],
)
def test_types_and_names(text, condition, codes):
    assert [f.code for f in faults(parse(text), SCOPE, condition=condition)] == codes
