# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The compiled loops: programs in blocks of rows, tier lookup with margins and sums, boundary prices.

Nothing here knows a venue, a ruleset or a Python object inside a loop. Callers check what they pass:
lengths, index ranges and programs are verified before they arrive.
"""

from libc.math cimport INFINITY, NAN, fabs, isnan
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc

cdef enum:
    OP_CONST, OP_LOAD, OP_LOCAL, OP_STORE, OP_NEG, OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_MIN, OP_MAX, OP_ABS
    OP_LT, OP_LE, OP_EQ, OP_NE, OP_NOT, OP_AND, OP_OR, OP_SELECT

# In the order of the enum; riskpolicy.kernel.program compares it with the table of opcodes.
OPCODE_NAMES = (
    "const", "load", "local", "store", "neg", "add", "sub", "mul", "div", "min", "max", "abs",
    "lt", "le", "eq", "ne", "not", "and", "or", "select",
)

# Blocks of 128 rows keep the stack in the first cache level.
cdef enum:
    BLOCK = 128
    LOCALS = 64


def run_program(const int32_t[::1] words, const double[::1] constants, list columns, int depth, double[::1] out):
    """Run verified code over all rows into `out`. Columns are contiguous float64 of the length of `out`."""
    cdef Py_ssize_t rows = out.shape[0], n = len(columns), i
    cdef const double[::1] view
    cdef const double** slots = <const double**>malloc((n + 1) * sizeof(double*))
    cdef double* stack = <double*>malloc((depth + 1 + LOCALS) * BLOCK * sizeof(double))
    if slots == NULL or stack == NULL:
        free(slots)
        free(stack)
        raise MemoryError
    try:
        if rows > 0:
            for i in range(n):
                view = columns[i]
                slots[i] = &view[0]
            with nogil:
                _run(&words[0], words.shape[0] // 2, &constants[0] if constants.shape[0] else NULL,
                     slots, stack, stack + (depth + 1) * BLOCK, &out[0], rows)
    finally:
        free(slots)
        free(stack)


cdef void _run(const int32_t* words, Py_ssize_t length, const double* constants, const double** slots,
               double* stack, double* local, double* out, Py_ssize_t rows) noexcept nogil:
    cdef Py_ssize_t block, start, size, at, j
    cdef int32_t operand
    cdef double* top
    cdef double* a
    cdef double* b
    cdef const double* source
    cdef double x
    for block in range((rows + BLOCK - 1) // BLOCK):
        start = block * BLOCK
        size = rows - start
        if size > BLOCK:
            size = BLOCK
        top = stack  # one past the last value
        for at in range(length):
            operand = words[2 * at + 1]
            a = top - 2 * BLOCK
            b = top - BLOCK
            if words[2 * at] == OP_CONST:
                x = constants[operand]
                for j in range(size):
                    top[j] = x
                top += BLOCK
            elif words[2 * at] == OP_LOAD:
                source = slots[operand] + start
                for j in range(size):
                    top[j] = source[j]
                top += BLOCK
            elif words[2 * at] == OP_LOCAL:
                source = local + operand * BLOCK
                for j in range(size):
                    top[j] = source[j]
                top += BLOCK
            elif words[2 * at] == OP_STORE:
                for j in range(size):
                    local[operand * BLOCK + j] = b[j]
                top -= BLOCK
            elif words[2 * at] == OP_NEG:
                for j in range(size):
                    b[j] = -b[j]
            elif words[2 * at] == OP_ABS:
                for j in range(size):
                    b[j] = fabs(b[j])
            elif words[2 * at] == OP_NOT:
                for j in range(size):
                    b[j] = 1.0 - b[j]
            elif words[2 * at] == OP_SELECT:
                # then, other, condition; an undefined condition is undefined
                for j in range(size):
                    x = b[j]
                    (top - 3 * BLOCK)[j] = x if isnan(x) else ((top - 3 * BLOCK)[j] if x != 0.0 else a[j])
                top -= 2 * BLOCK
            else:
                _binary(words[2 * at], a, b, size)
                top -= BLOCK
        for j in range(size):
            out[start + j] = stack[j]


cdef inline double _undefined(double a, double b) noexcept nogil:
    """NaN where either operand is, so that comparisons hand it on; else 0."""
    return NAN if isnan(a) or isnan(b) else 0.0


cdef void _binary(int32_t op, double* a, double* b, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t j
    if op == OP_ADD:
        for j in range(size):
            a[j] = a[j] + b[j]
    elif op == OP_SUB:
        for j in range(size):
            a[j] = a[j] - b[j]
    elif op == OP_MUL:
        for j in range(size):
            a[j] = a[j] * b[j]
    elif op == OP_DIV:
        for j in range(size):
            a[j] = a[j] / b[j] if b[j] != 0.0 else NAN
    elif op == OP_MIN:
        for j in range(size):
            a[j] = (b[j] if b[j] < a[j] else a[j]) + _undefined(a[j], b[j])
    elif op == OP_MAX:
        for j in range(size):
            a[j] = (b[j] if b[j] > a[j] else a[j]) + _undefined(a[j], b[j])
    elif op == OP_LT:
        for j in range(size):
            a[j] = (1.0 if a[j] < b[j] else 0.0) + _undefined(a[j], b[j])
    elif op == OP_LE:
        for j in range(size):
            a[j] = (1.0 if a[j] <= b[j] else 0.0) + _undefined(a[j], b[j])
    elif op == OP_EQ:
        for j in range(size):
            a[j] = (1.0 if a[j] == b[j] else 0.0) + _undefined(a[j], b[j])
    elif op == OP_NE:
        for j in range(size):
            a[j] = (1.0 if a[j] != b[j] else 0.0) + _undefined(a[j], b[j])
    elif op == OP_AND:
        for j in range(size):
            a[j] = b[j] if a[j] == 1.0 else a[j]
    elif op == OP_OR:
        for j in range(size):
            a[j] = b[j] if a[j] == 0.0 else a[j]


def run_bounded(
    const int32_t[::1] words, const double[::1] constants, const double[::1] constant_bounds,
    list columns, list bounds, int depth, double[::1] out, double[::1] out_bound, int64_t[::1] out_path,
):
    """Run verified code over all rows, values into `out` and bounds of their errors into `out_bound`.

    |exact - value| <= bound, where exact is the value over the exact decimals and a condition is 0 or 1, so a
    condition with bound 0 is certain. An infinite or NaN bound says that nothing is known. Rows with the same
    path other than 0 took the same branches to a value made of constants alone, so it is exactly the same value.
    """
    cdef Py_ssize_t rows = out.shape[0], n = len(columns), row, i, at
    cdef const double[::1] view
    cdef const double** slots = <const double**>malloc((2 * n + 2) * sizeof(double*))
    cdef double* stack = <double*>malloc((depth + 1 + LOCALS) * WIDTH * sizeof(double))
    if slots == NULL or stack == NULL:
        free(slots)
        free(stack)
        raise MemoryError
    try:
        if rows > 0:
            for i in range(n):
                view = columns[i]
                slots[2 * i] = &view[0]
                view = bounds[i]
                slots[2 * i + 1] = &view[0]
            with nogil:
                for row in range(rows):
                    out_path[row] = _bounded_row(
                        &words[0], words.shape[0] // 2, &constants[0] if constants.shape[0] else NULL,
                        &constant_bounds[0] if constants.shape[0] else NULL, slots, row, stack,
                        stack + (depth + 1) * WIDTH)
                    out[row] = stack[0]
                    out_bound[row] = stack[1]
    finally:
        free(slots)
        free(stack)


# A rounding is at most u = 2**-53 of the result; twice that, and a factor a little above 1 on every
# bound, also cover the roundings of the bounds themselves. TINY covers results below the normal range.
cdef double UNIT = 2.220446049250313e-16
cdef double SLACK = 1.0 + 1.8e-15
cdef double TINY = 1e-300


# A place of the stack is a value, its bound, and 1 where it is made of constants alone.
cdef enum:
    WIDTH = 3
    MOST_CHOICES = 62


cdef int64_t _bounded_row(const int32_t* words, Py_ssize_t length, const double* constants,
                          const double* constant_bounds, const double** slots, Py_ssize_t row, double* stack,
                          double* local) noexcept nogil:
    """Leave value and bound at the bottom of the stack; return the path, 0 where the value has row data in it."""
    cdef Py_ssize_t at
    cdef int32_t op, operand
    cdef int64_t path = 0
    cdef int choices = 0
    cdef double* top = stack
    cdef double* a
    cdef double* b
    for at in range(length):
        op = words[2 * at]
        operand = words[2 * at + 1]
        a = top - 2 * WIDTH
        b = top - WIDTH
        if op == OP_CONST:
            top[0] = constants[operand]
            top[1] = constant_bounds[operand]
            top[2] = 1.0
            top += WIDTH
        elif op == OP_LOAD:
            top[0] = slots[2 * operand][row]
            top[1] = slots[2 * operand + 1][row]
            top[2] = 0.0
            top += WIDTH
        elif op == OP_LOCAL:
            _copy(top, local + WIDTH * operand)
            top += WIDTH
        elif op == OP_STORE:
            _copy(local + WIDTH * operand, b)
            top -= WIDTH
        elif op == OP_NEG:
            b[0] = -b[0]
        elif op == OP_ABS:
            b[0] = fabs(b[0])
        elif op == OP_NOT:
            b[0] = 1.0 - b[0]
        elif op == OP_SELECT:
            # then, other, condition
            if not b[1] == 0.0:
                (a - WIDTH)[0] = NAN
                (a - WIDTH)[1] = INFINITY
                (a - WIDTH)[2] = 0.0
            elif b[0] == 0.0:
                _copy(a - WIDTH, a)
            else:
                path |= <int64_t>1 << (choices % MOST_CHOICES)
            choices += 1
            top -= 2 * WIDTH
        elif op == OP_MIN or op == OP_MAX:
            if _choose(op == OP_MAX, a, b):
                path |= <int64_t>1 << (choices % MOST_CHOICES)
            choices += 1
            top -= WIDTH
        else:
            _bounded_binary(op, a, b)
            a[2] = a[2] * b[2]
            top -= WIDTH
    return 2 * path + 1 if stack[2] == 1.0 and choices <= MOST_CHOICES else 0


cdef inline void _copy(double* into, const double* source) noexcept nogil:
    into[0] = source[0]
    into[1] = source[1]
    into[2] = source[2]


cdef inline bint _choose(bint largest, double* a, double* b) noexcept nogil:
    """Leave the smaller or larger of a and b in a; return whether it is b for certain."""
    cdef double gap = b[0] - a[0] if largest else a[0] - b[0], both = a[1] + b[1]
    if gap < -both * SLACK:
        return False
    if gap > both * SLACK:
        _copy(a, b)
        return True
    # In doubt: the error of either may show, and the value is made of constants only where both are.
    a[2] = a[2] * b[2]
    if isnan(gap) or isnan(both):
        a[0] = NAN
        a[1] = INFINITY
        return False
    if gap > 0.0:
        a[0] = b[0]
    if b[1] > a[1]:
        a[1] = b[1]
    return False


cdef inline void _bounded_binary(int32_t op, double* a, double* b) noexcept nogil:
    cdef double value, bound, gap = a[0] - b[0], both = a[1] + b[1]
    if op == OP_ADD or op == OP_SUB:
        value = a[0] + b[0] if op == OP_ADD else gap
        a[1] = (both + UNIT * fabs(value)) * SLACK
        a[0] = value
    elif op == OP_MUL:
        value = a[0] * b[0]
        bound = fabs(a[0]) * b[1] + fabs(b[0]) * a[1] + a[1] * b[1]
        # Zero times anything is zero, whatever the other factor's bound.
        a[1] = INFINITY if isnan(value) else 0.0 if (a[0] == 0.0 and a[1] == 0.0) or (b[0] == 0.0 and b[1] == 0.0) else (
            bound + UNIT * fabs(value) + TINY) * SLACK
        a[0] = value
    elif op == OP_DIV:
        # Written so that an undefined divisor, which is no number, counts as one that may be zero.
        if not fabs(b[0]) > b[1]:
            a[0] = NAN
            a[1] = INFINITY
        else:
            value = a[0] / b[0]
            a[1] = INFINITY if isnan(value) else 0.0 if a[0] == 0.0 and a[1] == 0.0 else (
                (a[1] + fabs(value) * b[1]) / (fabs(b[0]) - b[1]) + UNIT * fabs(value) + TINY) * SLACK
            a[0] = value
    elif op == OP_AND or op == OP_OR:
        # A certain 0 decides an `and`, a certain 1 an `or`; an uncertain left side leaves nothing certain, since
        # the right side may be undefined where it counts.
        value = 0.0 if op == OP_AND else 1.0
        if not a[1] == 0.0:
            a[0] = NAN
            a[1] = INFINITY
        elif a[0] != value:
            a[0] = b[0]
            a[1] = b[1]
    else:
        # Certain where the values are further apart than their bounds, or both are exact.
        bound = 0.0 if fabs(gap) > both * SLACK or both == 0.0 else INFINITY
        if op == OP_LT:
            value = 1.0 if gap < 0.0 else 0.0
        elif op == OP_LE:
            value = 1.0 if gap <= 0.0 else 0.0
        elif op == OP_EQ:
            value = 1.0 if gap == 0.0 else 0.0
        else:
            value = 1.0 if gap != 0.0 else 0.0
        if a[0] == b[0]:
            # Two infinities are equal, though their difference is no number.
            value = 1.0 if op == OP_LE or op == OP_EQ else 0.0
            bound = 0.0 if both == 0.0 else INFINITY
        a[0] = NAN if isnan(a[0]) or isnan(b[0]) else value
        a[1] = INFINITY if isnan(both) else bound


cdef inline Py_ssize_t _tier(double key, Py_ssize_t first, Py_ssize_t end, const double* cap, bint edge_lower) noexcept nogil:
    """Index of the tier of `key` in the rows first..end; the last one where the key is above its cap."""
    cdef Py_ssize_t low = first, high = end - 1, middle
    while low < high:
        middle = (low + high) // 2
        if key < cap[middle] or (edge_lower and key == cap[middle]):
            high = middle
        else:
            low = middle + 1
    return low


def margin_pass(
    const int64_t[::1] start,
    const int32_t[::1] instrument,
    const double[::1] quantity,
    const double[::1] entry,
    const double[::1] mark,
    const double[::1] contract_size,
    const int32_t[::1] table,
    const int32_t[::1] table_start,
    const uint8_t[::1] edge_lower,
    const double[::1] cap,
    const double[::1] rate,
    const double[::1] deduction,
    double[::1] notional,
    double[::1] entry_notional,
    double[::1] pnl,
    int32_t[::1] tier,
    double[::1] maintenance,
    double[::1] bucket_notional,
    double[::1] bucket_pnl,
    double[::1] bucket_maintenance,
):
    """Value every position, find its tier, and sum notional, profit and maintenance per bucket.

    Positions of bucket k are the rows start[k] to start[k + 1]. mark, contract_size and table are
    per instrument; table_start, edge_lower per tier table; cap, rate, deduction per tier.
    Outputs are money, signed only in `pnl`; `tier` is a row of the tier arrays.
    """
    cdef Py_ssize_t k, i, t
    cdef int32_t m, s
    cdef double size, value, n_sum, p_sum, m_sum
    with nogil:
        for k in range(start.shape[0] - 1):
            n_sum = p_sum = m_sum = 0.0
            for i in range(start[k], start[k + 1]):
                m = instrument[i]
                s = table[m]
                size = quantity[i] * contract_size[m]
                value = fabs(size) * mark[m]
                t = _tier(value, table_start[s], table_start[s + 1], &cap[0], edge_lower[s])
                notional[i] = value
                entry_notional[i] = fabs(size) * entry[i]
                pnl[i] = size * (mark[m] - entry[i])
                tier[i] = <int32_t>t
                maintenance[i] = value * rate[t] - deduction[t]
                n_sum += value
                p_sum += pnl[i]
                m_sum += maintenance[i]
            bucket_notional[k] = n_sum
            bucket_pnl[k] = p_sum
            bucket_maintenance[k] = m_sum


def bucket_sums(const int64_t[::1] start, const double[::1] values, double[::1] out):
    """Sum `values` per bucket, in row order."""
    cdef Py_ssize_t k, i
    cdef double total
    with nogil:
        for k in range(start.shape[0] - 1):
            total = 0.0
            for i in range(start[k], start[k + 1]):
                total += values[i]
            out[k] = total


def boundary_prices(
    const int32_t[::1] instrument,
    const int32_t[::1] bucket,
    const double[::1] quantity,
    const double[::1] mark,
    const double[::1] contract_size,
    const int32_t[::1] table,
    const int32_t[::1] table_start,
    const uint8_t[::1] edge_lower,
    const double[::1] cap,
    const double[::1] rate,
    const double[::1] deduction,
    const int32_t[::1] tier,
    const double[::1] maintenance,
    const double[::1] health,
    const uint8_t[::1] triggered,
    double of_profit,
    double of_notional,
    double of_maintenance,
    double[::1] out,
):
    """Price of each position's market, moving alone, at which its bucket's health is zero; NaN for none.

    health is a bucket's sum of_profit x profit + of_notional x notional + of_maintenance x maintenance
    + what does not move with the market. The walk leaves the mark in the adverse direction, or in the
    favourable one for a triggered bucket, tier by tier, and stops at the first zero; prices are above zero.
    """
    cdef Py_ssize_t i, t, first, end
    cdef int32_t m, s
    cdef double size, value, price, far, at, slope, base, root
    cdef bint up
    with nogil:
        for i in range(instrument.shape[0]):
            out[i] = NAN
            m = instrument[i]
            s = table[m]
            size = quantity[i] * contract_size[m]
            if size == 0.0:
                continue
            value = fabs(size)
            price = mark[m]
            up = (size < 0.0) != (triggered[bucket[i]] != 0)
            first = table_start[s]
            end = table_start[s + 1]
            t = tier[i]
            at = price
            # What stays when this market moves, written for the tier t: health = base + slope * price.
            base = (health[bucket[i]] - of_maintenance * maintenance[i]
                    - (of_profit * size + of_notional * value) * price)
            while True:
                slope = of_profit * size + of_notional * value + of_maintenance * value * rate[t]
                if up:
                    far = cap[t] / value if t < end - 1 else INFINITY
                else:
                    far = cap[t - 1] / value if t > first else 0.0
                if slope != 0.0:
                    root = -(base - of_maintenance * deduction[t]) / slope
                    if (at <= root <= far) if up else (far <= root <= at):
                        if root > 0.0 and root != INFINITY:
                            out[i] = root
                        break
                if up:
                    if t == end - 1:
                        break
                    t += 1
                else:
                    if t == first:
                        break
                    t -= 1
                at = far
