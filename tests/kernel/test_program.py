"""Programs: verified when built, equal in both interpreters, indifferent to block edges."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from riskpolicy.kernel import _kernel
from riskpolicy.kernel.opcodes import CODE, OPCODES
from riskpolicy.kernel.program import Constant, Program


def build(*steps, constants=(), names=()):
    code = tuple((CODE[s], 0) if isinstance(s, str) else (CODE[s[0]], s[1]) for s in steps)
    return Program("test", code, tuple(Constant.of(Decimal(c)) for c in constants), names, False)


def test_the_compiled_kernel_is_really_compiled():
    assert _kernel.__file__.endswith((".so", ".pyd"))
    assert tuple(o.name for o in OPCODES) == _kernel.OPCODE_NAMES


@pytest.mark.parametrize("rows", [0, 1, 127, 128, 129, 1000])
def test_block_edges_do_not_show(rows):
    program = build(("load", 0), ("const", 0), "mul", ("load", 1), "add", constants=["3"], names=("a", "b"))
    a, b = np.arange(rows, dtype=float), np.arange(rows, dtype=float)[::-1].copy()
    assert np.array_equal(program.run({"a": a, "b": b}, rows), a * 3 + b)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ([], "leaves 0 values"),
        ([(99, 0)], "no opcode 99"),
        ([(-1, 0)], "no opcode -1"),
        ([(CODE["const"], 5)], "no constant 5"),
        ([(CODE["load"], 1)], "no slot 1"),
        ([(CODE["load"], -1)], "no slot -1"),
        ([(CODE["add"], 0)], "finds 0 values"),
        ([(CODE["load"], 0), (CODE["load"], 0)], "leaves 2 values"),
        ([(CODE["load"], 0), (CODE["neg"], 7)], "no operand 7"),
        ([(CODE["local"], 0)], "before it is stored"),
        ([(CODE["load"], 0), (CODE["store"], 64)], "no local 64"),
        ([(CODE["load"], 0)] * 70 + [(CODE["add"], 0)] * 69, "needs a stack of 70"),
    ],
)
def test_a_corrupted_program_is_refused(code, why):
    with pytest.raises(ValueError, match=why):
        Program("test", tuple(code), (Constant.of(Decimal(1)),), ("a",), False)


def test_columns_of_other_lengths_are_refused():
    program = build(("load", 0), names=("a",))
    with pytest.raises(ValueError, match="differ in length"):
        program.run({"a": np.zeros(3)}, 4)


def test_the_listing_reads_as_code():
    program = build(("load", 0), ("const", 0), "lt", constants=["0.5"], names=("equity",))
    assert program.listing() == "load equity\nconst 0.5\nlt"


@pytest.mark.parametrize("op", ["div", "min", "max", "lt", "le", "eq", "ne", "add"])
def test_the_undefined_value_is_handed_on(op):
    program = build(("load", 0), ("load", 1), "div", ("const", 0), op, constants=["1"], names=("a", "b"))
    assert np.isnan(program.run({"a": np.ones(1), "b": np.zeros(1)}, 1)).all()
    assert program.exact({"a": Fraction(1), "b": Fraction(0)}) is None


def test_the_undefined_value_does_not_count_in_an_untaken_branch():
    program = build(
        ("load", 0), ("load", 1), "div", ("const", 0), ("load", 1), "select", constants=["7"], names=("a", "b")
    )
    assert program.run({"a": np.ones(2), "b": np.array([0.0, 1.0])}, 2).tolist() == [7.0, 1.0]
    assert program.exact({"a": Fraction(1), "b": Fraction(0)}) == 7
