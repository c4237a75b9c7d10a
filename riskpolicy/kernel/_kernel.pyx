# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The compiled loops: programs in blocks of rows, tables of positions and buckets, ranking.

Nothing here knows a venue or a ruleset, and no loop touches a Python object. Callers check what they pass:
lengths, index ranges and programs are verified before they arrive.
"""

from libc.math cimport INFINITY, NAN, fabs, nearbyint, nextafter, sqrt
from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

cdef enum:
    OP_CONST, OP_LOAD, OP_LOCAL, OP_STORE, OP_NEG, OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_MIN, OP_MAX, OP_ABS
    OP_LT, OP_LE, OP_EQ, OP_NE, OP_NOT, OP_AND, OP_OR, OP_SELECT

# In the order of the enum; riskpolicy.kernel.program compares it with the table of opcodes.
OPCODE_NAMES = (
    "const", "load", "local", "store", "neg", "add", "sub", "mul", "div", "min", "max", "abs",
    "lt", "le", "eq", "ne", "not", "and", "or", "select",
)

include "memory.pxi"
include "programs.pxi"
include "margins.pxi"
include "ranking.pxi"
include "gate.pxi"
