"""Programs: verified when built, equal in both interpreters, indifferent to block edges."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from riskpolicy.compiler.programs import emit
from riskpolicy.expressions.syntax import parse
from riskpolicy.kernel import _kernel
from riskpolicy.kernel.opcodes import CODE, OPCODES
from riskpolicy.kernel.program import Constant, Program, Source


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


def compiled(text):
    return emit(text, parse(text), {}, {})


ROW = {"a": Fraction(3), "b": Fraction(0), "c": Fraction(2)}


def test_the_trace_has_what_every_instruction_leaves():
    program = compiled("max(a, b) * c + max(a, b)")
    trace = []
    assert program.exact(ROW, trace) == 9
    columns = {name: np.array([float(value)]) for name, value in ROW.items()}
    assert program.trace(columns, 1)[:, 0].tolist() == [float(x) for x in trace]
    assert len(trace) == len(program.code)


def test_steps_show_inputs_then_the_parts_that_count():
    program = compiled("a / b if b > 0 and c / b > 1 else (a + c) * 2")
    assert program.steps(ROW) == (
        ("a", 3),
        ("c", 2),
        ("b", 0),
        ("a + c", 5),
        ("(a + c) * 2", 10),
        ("0 < b", False),
        ("(0 < b) and (1 < (c / b))", False),
        ("(a / b) if ((0 < b) and (1 < (c / b))) else ((a + c) * 2)", 10),
    )


def test_outcomes_are_counted_where_they_count():
    program = compiled("1 if a > 1 and (b > 0 or c > 0) else (2 if c > 5 else 3)")
    rows = np.array(list(np.ndindex(3, 2, 9)), float)
    columns = {"a": rows[:, 0].copy(), "b": rows[:, 1].copy(), "c": rows[:, 2].copy()}
    counted = {program.part(at): found for at, found in program.outcomes(columns, len(rows)).items()}
    a, b, c = rows.T
    either = (b > 0) | (c > 0)
    first = (a > 1) & either
    assert counted == {
        "1 < a": (int((a > 1).sum()), int((a <= 1).sum())),
        "0 < b": (int(((a > 1) & (b > 0)).sum()), int(((a > 1) & (b <= 0)).sum())),
        "0 < c": (int(((a > 1) & (b <= 0) & (c > 0)).sum()), int(((a > 1) & (b <= 0) & (c <= 0)).sum())),
        "(0 < b) or (0 < c)": (int(first.sum()), int(((a > 1) & ~either).sum())),
        "(1 < a) and ((0 < b) or (0 < c))": (int(first.sum()), int((~first).sum())),
        "5 < c": (int((~first & (c > 5)).sum()), int((~first & (c <= 5)).sum())),
    }


def test_equal_parts_are_computed_once():
    program = compiled("(a + b) * (a + b) + abs(a + b)")
    assert program.listing().count("add") == 2
    assert program.listing().splitlines()[:5] == ["load a", "load b", "add", "store 0", "local 0"]
    assert program.run({"a": np.ones(1), "b": np.ones(1)}, 1).tolist() == [6.0]


def test_columns_may_be_seen_through_an_index():
    program = compiled("a * b")
    of_group = Source(np.array([10.0, 20.0]), index=np.array([1, 0, 1], np.int32), bounds=np.array([0.5, 0.25]))
    columns = {"a": Source(np.array([1.0, 2.0, 3.0]), factor=0.0), "b": of_group}
    assert program.run(columns, 3).tolist() == [20.0, 20.0, 60.0]
    bounds = program.bounded(columns, 3).bounds
    assert np.all((bounds >= [0.25, 1.0, 0.75]) & (bounds < np.array([0.25, 1.0, 0.75]) + 1e-12))
    some = {name: source.at(np.array([2, 1])) for name, source in columns.items()}
    assert program.run(some, 2).tolist() == [60.0, 20.0]
    assert program.bounded(some, 2).bounds.tolist() == bounds[[2, 1]].tolist()
    assert of_group.bound_column().tolist() == [0.25, 0.5, 0.25]
    sized = Source(np.array([0.0, 5.0]), sizes=(np.array([2.0, -3.0]), np.array([1.0, 1.0])), factor=0.5, sure=True)
    assert compiled("a").bounded({"a": sized}, 2).bounds.tolist() == sized.bound_column().tolist() == [0.0, 2.0]
