"""One compiled expression with two interpreters: blocks of floats (fast), and exact fractions of one row.

A Program is verified when it is built, so that the float interpreter carries no checks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from riskpolicy.errors import Finding, PluginError
from riskpolicy.kernel import _kernel
from riskpolicy.kernel.memory import empty
from riskpolicy.kernel.opcodes import CODE, MAX_LOCALS, MAX_STACK, OPCODES
from riskpolicy.numbers import fraction_text
from riskpolicy.vocabulary import ExpressionFunction

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int32]
#: Twice the unit roundoff: no decimal is further from its float, in parts of it.
UNIT = 2.0**-52
#: An exact number; infinity stands for itself, and None for the undefined value.
Exact: TypeAlias = Fraction | float | None

if tuple(o.name for o in OPCODES) != _kernel.OPCODE_NAMES:  # pragma: no cover
    raise ImportError("the compiled kernel is out of date: reinstall riskpolicy")


@dataclass(frozen=True, slots=True)
class Constant:
    """A number that is the same in every row: as the float interpreter has it, and exactly."""

    value: float
    exact: Fraction

    @classmethod
    def of(cls, value: Decimal) -> Constant:
        """Return the constant that a decimal writes."""
        return cls(float(value), Fraction(value))

    @property
    def bound(self) -> float:
        """A bound of the distance between the two; 0 where they are the same."""
        distance = abs(Fraction(self.value) - self.exact)
        return math.nextafter(float(distance), math.inf) if distance else 0.0

    def __str__(self) -> str:
        return fraction_text(self.exact)


def fold(name: str, constants: Sequence[Constant]) -> Constant | None:
    """Return what an opcode makes of constants, as both interpreters have it; None where that is undefined."""
    exact = _step(name, [c.exact for c in constants])
    code = [*((CODE["const"], i) for i in range(len(constants))), (CODE[name], 0)]
    (value,) = Program("", tuple(code), tuple(constants), (), False).run({}, 1).tolist()
    if exact is None or not math.isfinite(value):
        return None
    return Constant(value, Fraction(exact))


@dataclass(frozen=True, slots=True)
class Source:
    """A column as programs read it: row i has values[index[i]], or values[i] where there is no index.

    Its distance from the exact value is at most `bounds` (indexed like the values), or else `factor` times the
    sum of the absolute `sizes` (one or two columns, the values themselves if none is given). A zero is exact if `sure`.
    """

    values: Floats
    index: Ints | None = None
    bounds: Floats | None = None
    sizes: tuple[Floats, ...] = ()
    factor: float = UNIT
    sure: bool = False

    def __len__(self) -> int:
        return len(self.values if self.index is None else self.index)

    def column(self) -> Floats:
        """Return the value of every row."""
        return self.values if self.index is None else self.values[self.index]

    def at(self, rows: npt.NDArray[np.int64]) -> Source:
        """Return the same column for some rows only."""
        where = rows if self.index is None else self.index[rows]
        values = self.values[where]
        if self.bounds is not None:
            return Source(values, None, self.bounds[where], sure=self.sure)
        return Source(values, None, None, tuple(size[where] for size in self.sizes), self.factor, self.sure)

    def bound_column(self) -> Floats:
        """Return the bound of every row."""
        if self.bounds is not None:
            bounds = self.bounds
        else:
            bounds = self.factor * np.sum([np.abs(size) for size in self.sizes or (self.values,)], axis=0)
        if self.sure:
            bounds = np.where(self.values == 0, 0.0, bounds)
        return bounds if self.index is None else bounds[self.index]

    def through(self, index: Ints) -> Source:
        """Return a column of a table of groups as one of its rows, by the rows' groups."""
        return replace(self, index=index)

    def parts(self) -> tuple[Any, ...]:
        """Return what the kernel's slots take."""
        return self.values, self.index, self.bounds, self.sizes, self.factor, self.sure


#: Columns by name; a bare array is a column without an error.
Columns: TypeAlias = Mapping[str, Floats | Source]


@dataclass(frozen=True, slots=True)
class Bounded:
    """Values with bounds of their distance from the exact ones.

    Rows with the same `paths` other than 0 took the same branches to a value made of constants alone: it is
    exactly the same value, whatever its bound.
    """

    values: Floats
    bounds: Floats
    paths: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Program:
    """Code as pairs (opcode, operand), its constants, and the names of the columns in its slots.

    `source` is the text that it was compiled from; `calls` are made before the code runs, each into a slot of its own.
    ValueError for code that is not well formed.
    """

    source: str
    code: tuple[tuple[int, int], ...]
    constants: tuple[Constant, ...]
    names: tuple[str, ...]
    is_condition: bool
    calls: tuple[Call, ...] = ()
    #: What the kernel runs.
    compiled: _kernel.Code = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        depth = _verify(self.code, len(self.constants), len(self.names))
        words = np.array(self.code, dtype=np.int32).reshape(-1)
        floats = np.array([c.value for c in self.constants], dtype=np.float64)
        bounds = np.array([c.bound for c in self.constants], dtype=np.float64)
        object.__setattr__(self, "compiled", _kernel.Code(words, floats, bounds, depth))

    def slots(self, columns: Columns, rows: int) -> _kernel.Slots:
        """Return the columns as the kernel reads them, after the calls of plugins' functions have been made.

        ValueError where one has not `rows` rows.
        """
        for call in self.calls:
            values, bounds = call.bounded(columns, rows)
            columns = {**columns, call.slot: Source(values, bounds=bounds)}
        sources = [as_source(columns[name]) for name in self.names]
        if any(len(source) != rows for source in sources):
            raise ValueError("columns differ in length")
        return _kernel.Slots([source.parts() for source in sources])

    def run(self, columns: Columns, rows: int) -> Floats:
        """Return the value of every row; conditions are 1 and 0, and NaN is the undefined value.

        Each column has `rows` rows.
        """
        out = empty(rows)
        _kernel.run_program(self.compiled, self.slots(columns, rows), out)
        return out

    def trace(self, columns: Columns, rows: int) -> Floats:
        """Return what every instruction leaves, an array of `rows` values an instruction."""
        out = np.empty((len(self.code), rows), dtype=np.float64)
        _kernel.trace_program(self.compiled, self.slots(columns, rows), out)
        return out

    def bounded(self, columns: Columns, rows: int) -> Bounded:
        """Return every row's value and a bound of its distance from the exact value.

        A condition with bound 0 is certain; an infinite or NaN bound says that only exact arithmetic can tell, and
        its value then means nothing.
        """
        out, bound, path = np.empty(rows), np.empty(rows), np.empty(rows, np.int64)
        _kernel.run_bounded(self.compiled, self.slots(columns, rows), out, bound, path)
        return Bounded(out, bound, path)

    def decide(self, columns: Columns, rows: int) -> tuple[npt.NDArray[np.bool_], list[int]]:
        """Return where a condition holds, and the rows where only exact arithmetic can tell."""
        holds = empty(rows, np.uint8)
        doubt = _kernel.decide_program(self.compiled, self.slots(columns, rows), holds, 0, rows)
        return holds.view(np.bool_), doubt

    def exact(self, row: Mapping[str, Fraction | float], trace: list[Exact] | None = None) -> Exact:
        """Return the exact value for one row; None where it is undefined.

        What every instruction leaves is appended to `trace`.
        """
        called = {call.slot: call.exact(row) for call in self.calls}
        stack: list[Exact] = []
        local: dict[int, Exact] = {}
        for code, operand in self.code:
            name = OPCODES[code].name
            if name == "const":
                stack.append(self.constants[operand].exact)
            elif name == "load":
                name_ = self.names[operand]
                stack.append(called[name_] if name_ in called else row[name_])
            elif name == "local":
                stack.append(local[operand])
            elif name == "store":
                local[operand] = stack.pop()
            else:
                taken = OPCODES[code].takes
                arguments = stack[-taken:]
                del stack[-taken:]
                stack.append(_step(name, arguments))
            if trace is not None:
                trace.append(local[operand] if name == "store" else stack[-1])
        return stack[-1]

    def steps(self, row: Mapping[str, Fraction | float]) -> tuple[tuple[str, Exact | bool], ...]:
        """Return what led to the exact value of one row: (text, value) of its inputs, then of every part that counts.

        A condition's value is True or False.
        Parts in branches that were not taken are left out.
        """
        trace: list[Exact] = []
        self.exact(row, trace)
        holds = [np.array([value not in (None, 0)]) for value in trace]
        reached = self._reached(holds, 1)
        parts = self._parts()
        shown: dict[str, Exact | bool] = {}
        for inputs in (True, False):
            for at, (code, _) in enumerate(self.code):
                name = OPCODES[code].name
                if reached[at][0] and (name == "load" if inputs else OPCODES[code].takes and name != "store"):
                    value = trace[at]
                    shown[parts[at]] = bool(value) if name in _CONDITIONS and value is not None else value
        return tuple(shown.items())

    def outcomes(self, columns: Columns, rows: int) -> dict[int, tuple[int, int]]:
        """Count outcomes for coverage: by instruction, in how many rows it came out as 1 and as 0.

        Only conditions are counted, and only in rows where they count: not in a branch or operand that is not taken.
        """
        trace = self.trace(columns, rows)
        reached = self._reached([values == 1.0 for values in trace], rows)
        counted = {}
        for at, (code, _) in enumerate(self.code):
            if OPCODES[code].name in _CONDITIONS:
                held = trace[at] == 1.0
                counted[at] = (int((reached[at] & held).sum()), int((reached[at] & ~held).sum()))
        return counted

    def part(self, at: int) -> str:
        """Return the expression that an instruction computes, as text."""
        return self._parts()[at]

    def _reached(self, holds: Sequence[npt.NDArray[np.bool_]], rows: int) -> list[npt.NDArray[np.bool_]]:
        """Return, by instruction, the rows in which its value counts."""
        operands = _operands(self.code)
        reached = [np.zeros(rows, np.bool_) for _ in self.code]
        reached[operands[-1][0] if operands[-1] and self.code[-1][0] == CODE["local"] else -1][:] = True
        for at in reversed(range(len(self.code))):
            name, here = OPCODES[self.code[at][0]].name, reached[at]
            if name in ("local", "store"):
                continue
            conditions: Sequence[npt.NDArray[np.bool_]] = [here] * len(operands[at])
            if name == "select":
                taken = holds[operands[at][2]]
                conditions = [here & taken, here & ~taken, here]
            elif name in ("and", "or"):
                left = holds[operands[at][0]]
                conditions = [here, here & (left if name == "and" else ~left)]
            for operand, where in zip(operands[at], conditions, strict=True):
                reached[operand] |= where
        return reached

    def _parts(self) -> list[str]:
        """Return, by instruction, the expression that it computes."""
        parts: list[str] = []
        operands = _operands(self.code)
        for at, (code, operand) in enumerate(self.code):
            name = OPCODES[code].name
            of = [parts[i] for i in operands[at]]
            if name == "const":
                parts.append(str(self.constants[operand]))
            elif name == "load":
                parts.append(self.names[operand])
            elif name in ("local", "store"):
                parts.append(of[0])
            else:
                bracketed = of if name in _FUNCTIONS else [f"({x})" if " " in x else x for x in of]
                parts.append(_PICTURES[name].format(*bracketed))
        return parts

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns that it reads, those of its calls' arguments included."""
        called = {call.slot for call in self.calls}
        below = (name for call in self.calls for argument in call.arguments for name in argument.inputs)
        return tuple(dict.fromkeys((*(n for n in self.names if n not in called), *below)))

    def listing(self) -> str:
        """Return the code as text, an instruction a line."""
        lines = []
        for code, operand in self.code:
            opcode = OPCODES[code]
            detail = {"constant": self.constants, "slot": self.names}.get(opcode.operand)
            shown = f" {detail[operand] if detail else operand}" if opcode.operand else ""
            lines.append(f"{opcode.name}{shown}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Call:
    """A plugin's function on arguments of its own, whose value fills a slot of the program that makes the call."""

    slot: str
    function: ExpressionFunction
    arguments: tuple[Program, ...]

    def bounded(self, columns: Columns, rows: int) -> tuple[Floats, Floats]:
        """Return values and bounds; the bounds are infinite where the function gives none.

        PluginError where the function raises or returns no array of `rows` floats.
        """
        arguments = [a.bounded(columns, rows) for a in self.arguments]
        values = self._called(self.function.value, [a.values for a in arguments], rows)
        if self.function.bound is None:
            return values, np.full(rows, np.inf)
        inputs = [*(a.values for a in arguments), *(a.bounds for a in arguments)]
        bound = self._called(self.function.bound, inputs, rows)
        return values, np.where((bound >= 0) & ~np.isnan(values), bound, np.inf)

    def exact(self, row: Mapping[str, Fraction | float]) -> Exact:
        """Return the exact value for one row; None where an argument or the function is undefined."""
        arguments = [a.exact(row) for a in self.arguments]
        if None in arguments:
            return None
        try:
            return Fraction(self.function.exact(*arguments))
        except (ZeroDivisionError, ValueError, OverflowError):
            return None

    def _called(self, form: Callable[..., object], arguments: Sequence[Floats], rows: int) -> Floats:
        name = self.function.name
        try:
            array = np.ascontiguousarray(form(*arguments), dtype=np.float64)
        except Exception as error:
            message = f"plugin function `{name}` raised {type(error).__name__}: {error}"
            raise PluginError(Finding("plugin_broken", message, "report it to the plugin's author")) from error
        if array.shape != (rows,):
            message = f"plugin function `{name}` returned an array of shape {array.shape}, not ({rows},)"
            raise PluginError(Finding("hook_result", message, "return one float a row"))
        return array


#: How a part reads, by opcode; operands with blanks in them are bracketed, except as arguments of functions.
_PICTURES = {
    "neg": "-{}",
    "add": "{} + {}",
    "sub": "{} - {}",
    "mul": "{} * {}",
    "div": "{} / {}",
    "min": "min({}, {})",
    "max": "max({}, {})",
    "abs": "abs({})",
    "lt": "{} < {}",
    "le": "{} <= {}",
    "eq": "{} == {}",
    "ne": "{} != {}",
    "not": "not {}",
    "and": "{} and {}",
    "or": "{} or {}",
    "select": "{0} if {2} else {1}",
}
_FUNCTIONS = ("min", "max", "abs")
_CONDITIONS = ("lt", "le", "eq", "ne", "not", "and", "or")


def _operands(code: Sequence[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Return, by instruction, the instructions that computed its operands; a local's is what was stored in it."""
    stack: list[int] = []
    local: dict[int, int] = {}
    out: list[tuple[int, ...]] = []
    for at, (number, operand) in enumerate(code):
        if number == CODE["store"]:
            local[operand] = stack.pop()
            out.append((local[operand],))
        elif number == CODE["local"]:
            stack.append(local[operand])
            out.append((local[operand],))
        else:
            takes = OPCODES[number].takes
            out.append(tuple(stack[len(stack) - takes :]))
            del stack[len(stack) - takes :]
            stack.append(at)
    return out


def as_source(column: Floats | Source) -> Source:
    """Return a column as a source; a bare array has no error."""
    if isinstance(column, Source):
        return column
    return Source(np.ascontiguousarray(column, dtype=np.float64), factor=0.0)


def _verify(code: Sequence[tuple[int, int]], constants: int, slots: int) -> int:
    """Check opcodes, operands and stack of straight-line code; return the deepest stack."""
    limits = {"constant": constants, "slot": slots, "local": MAX_LOCALS, "": 1}
    depth = deepest = 0
    stored: set[int] = set()
    for at, (number, operand) in enumerate(code):
        if not 0 <= number < len(OPCODES):
            raise ValueError(f"instruction {at}: no opcode {number}")
        opcode = OPCODES[number]
        if not 0 <= operand < limits[opcode.operand]:
            raise ValueError(f"instruction {at}: `{opcode.name}` has no {opcode.operand or 'operand'} {operand}")
        if opcode.name == "local" and operand not in stored:
            raise ValueError(f"instruction {at}: local {operand} is read before it is stored")
        if number == CODE["store"]:
            stored.add(operand)
        if depth < opcode.takes:
            raise ValueError(f"instruction {at}: `{opcode.name}` finds {depth} values on the stack")
        depth += opcode.leaves - opcode.takes
        deepest = max(deepest, depth)
    if depth != 1:
        raise ValueError(f"the code leaves {depth} values, not one")
    if deepest > MAX_STACK:
        raise ValueError(f"the code needs a stack of {deepest}; at most {MAX_STACK} are allowed")
    return deepest


def _step(name: str, arguments: list[Exact]) -> Exact:
    if name == "select":
        then, other, condition = arguments
        if condition is None:
            return None
        return then if condition else other
    if name in ("and", "or"):
        left, right = arguments
        if left is None:
            return None
        return right if bool(left) == (name == "and") else left
    if None in arguments:
        return None
    numbers = [n for n in arguments if n is not None]
    if len(numbers) == 1:
        return _unary(name, numbers[0])
    return _binary(name, numbers[0], numbers[1])


def _unary(name: str, a: Fraction | float) -> Exact:
    if name == "neg":
        return -a
    if name == "abs":
        return -a if a < 0 else a
    return Fraction(not a)


def _binary(name: str, a: Fraction | float, b: Fraction | float) -> Exact:
    match name:
        case "add":
            value: Fraction | float = a + b
        case "sub":
            value = a - b
        case "mul":
            value = a * b
        case "div":
            if b == 0:
                return None
            value = a / b
        case "min":
            value = b if b < a else a
        case "max":
            value = b if b > a else a
        case "lt":
            value = Fraction(a < b)
        case "le":
            value = Fraction(a <= b)
        case "eq":
            value = Fraction(a == b)
        case _:
            value = Fraction(a != b)
    return None if isinstance(value, float) and math.isnan(value) else value
