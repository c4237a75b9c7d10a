"""The one table of opcodes: the kernel, the exact interpreter, the verifier and the docs all use it.

In a stack picture the top of the stack is on the right: `a b -- c` takes b, then a, and leaves c.
Conditions are the numbers 1 and 0. A division by zero leaves the undefined value, which every opcode
hands on, unless it sits in a branch or operand that does not count.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Opcode:
    """`takes` and `leaves` count stack places; `operand` says what the number after the code means."""

    name: str
    picture: str
    takes: int
    leaves: int
    operand: str
    meaning: str


OPCODES = (
    Opcode("const", "-- x", 0, 1, "constant", "push a constant"),
    Opcode("load", "-- x", 0, 1, "slot", "push the row's value of a column"),
    Opcode("local", "-- x", 0, 1, "local", "push a local"),
    Opcode("store", "x --", 1, 0, "local", "pop into a local"),
    Opcode("neg", "a -- -a", 1, 1, "", "minus"),
    Opcode("add", "a b -- a+b", 2, 1, "", "sum"),
    Opcode("sub", "a b -- a-b", 2, 1, "", "difference"),
    Opcode("mul", "a b -- a*b", 2, 1, "", "product"),
    Opcode("div", "a b -- a/b", 2, 1, "", "quotient; undefined where b is zero"),
    Opcode("min", "a b -- m", 2, 1, "", "a, or b where b < a"),
    Opcode("max", "a b -- m", 2, 1, "", "a, or b where b > a"),
    Opcode("abs", "a -- |a|", 1, 1, "", "without sign"),
    Opcode("lt", "a b -- c", 2, 1, "", "a < b"),
    Opcode("le", "a b -- c", 2, 1, "", "a <= b"),
    Opcode("eq", "a b -- c", 2, 1, "", "a = b"),
    Opcode("ne", "a b -- c", 2, 1, "", "a is not b"),
    Opcode("not", "c -- d", 1, 1, "", "the opposite"),
    Opcode("and", "c d -- e", 2, 1, "", "0 where c is 0, else d"),
    Opcode("or", "c d -- e", 2, 1, "", "1 where c is 1, else d"),
    Opcode("select", "a b c -- x", 3, 1, "", "a where c is 1, else b; the other one may be undefined"),
)

CODE = {opcode.name: number for number, opcode in enumerate(OPCODES)}
MAX_STACK = 64
MAX_LOCALS = 64
