# Programs in blocks of rows: plain, and with a bound of every value's error.

# Blocks of 128 rows keep the stack in the first cache level.
cdef enum:
    BLOCK = 128
    LOCALS = 64
    LANES = 3  # a local of the bounded stack: values, their bounds, and 1 where a value is made of constants alone
    PLACE = 5  # a place of it: two buffers of values and bounds, and such flags
    MOST_CHOICES = 62

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    /* A column: row i has values[k] with k = index ? index[i] : i. Its bound is bounds[k], or else factor times
       (|size[k]| + |more[k]|), and 0 where the value is zero and `sure`. */
    typedef struct {
        const double *values, *bounds, *size, *more;
        const int32_t *index;
        double factor;
        int sure;
    } riskpolicy_slot;

    /* Wide vectors where the machine has them: wheels are built for the oldest x86-64. */
    #if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__)
    #if __GNUC__ >= 12
    #define RISKPOLICY_CLONED __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
    #else
    #define RISKPOLICY_CLONED __attribute__((target_clones("avx2", "default")))
    #endif
    #else
    #define RISKPOLICY_CLONED
    #endif

    /* A power of two that is at least 1 / x and at most twice that, for x in the normal range: no division. */
    static inline double riskpolicy_inverse(double x) {
        uint64_t bits;
        memcpy(&bits, &x, 8);
        bits = 0x7FE0000000000000ULL - (bits & 0x7FF0000000000000ULL);
        memcpy(&x, &bits, 8);
        return x;
    }

    RISKPOLICY_CLONED static void riskpolicy_plain(
        const int32_t *, int, const double *, const riskpolicy_slot *, double *, double *, Py_ssize_t, int,
        double *, Py_ssize_t, double *);
    RISKPOLICY_CLONED static void riskpolicy_bounded(
        const int32_t *, int, const double *, const double *, const riskpolicy_slot *, double *, double *,
        Py_ssize_t, int, double *, double *, int64_t *);
    """
    double _inverse "riskpolicy_inverse"(double) noexcept nogil
    ctypedef struct Slot "riskpolicy_slot":
        const double* values
        const double* bounds
        const double* size
        const double* more
        const int32_t* index
        double factor
        int sure


cdef inline int _block(Py_ssize_t left) noexcept nogil:
    """The rows of a block that has `left` rows before the end."""
    return <int>(left if left < BLOCK else BLOCK)


cdef class Code:
    """Verified code: pairs (opcode, operand), constants with bounds, and the deepest stack."""

    cdef const int32_t[::1] words
    cdef const double[::1] constants
    cdef const double[::1] bounds
    cdef const int32_t* code
    cdef const double* constant
    cdef const double* constant_bound
    cdef int length
    cdef int depth

    def __init__(self, const int32_t[::1] words, const double[::1] constants, const double[::1] bounds, int depth):
        self.words, self.constants, self.bounds, self.depth = words, constants, bounds, depth
        self.length = <int>(words.shape[0] // 2)
        self.code = &words[0]
        self.constant = &constants[0] if constants.shape[0] else NULL
        self.constant_bound = &bounds[0] if constants.shape[0] else NULL

    cdef double* stack(self) except NULL:
        """A stack with its locals behind it, for either interpreter, to be freed by the caller."""
        cdef double* made = <double*>malloc((self.depth + 1) * PLACE * BLOCK * sizeof(double)
                                            + LOCALS * LANES * BLOCK * sizeof(double))
        if made == NULL:
            raise MemoryError
        return made


cdef class Slots:
    """The columns of a program, in the order of its names; each a tuple (values, index, bounds, sizes, factor, sure).

    `index` may be None (a value a row), `bounds` None (then `sizes` has one or two columns, the bound being `factor`
    times the sum of their sizes). Lengths and index ranges are the caller's to check.
    """

    cdef Slot* slots
    cdef list kept

    def __cinit__(self, list sources):
        cdef Py_ssize_t i
        cdef Slot* slot
        self.kept = sources
        self.slots = <Slot*>malloc((len(sources) + 1) * sizeof(Slot))
        if self.slots == NULL:
            raise MemoryError
        for i, (values, index, bounds, sizes, factor, sure) in enumerate(sources):
            slot = &self.slots[i]
            slot.values = _floats(values)
            slot.index = NULL if index is None else _ints(index)
            slot.bounds = NULL if bounds is None else _floats(bounds)
            slot.size = _floats(sizes[0]) if len(sizes) > 0 else slot.values
            slot.more = _floats(sizes[1]) if len(sizes) > 1 else NULL
            slot.factor = factor
            slot.sure = sure

    def __dealloc__(self):
        free(self.slots)


cdef const double* _floats(const double[::1] values) noexcept:
    return &values[0] if values.shape[0] else NULL


cdef const int32_t* _ints(const int32_t[::1] values) noexcept:
    return &values[0] if values.shape[0] else NULL


def run_program(Code code, Slots slots, double[::1] out):
    """Run code over all rows into `out`."""
    cdef Py_ssize_t rows = out.shape[0], start
    cdef double* stack = code.stack()
    with nogil:
        for start from 0 <= start < rows by BLOCK:
            _plain_block(code, slots.slots, stack, start, rows, &out[start])
    free(stack)


def trace_program(Code code, Slots slots, double[:, ::1] out):
    """Run code over all rows and keep what every instruction left: a row of `out` an instruction."""
    cdef Py_ssize_t rows = out.shape[1], start
    cdef double last[BLOCK]
    cdef double* stack = code.stack()
    with nogil:
        for start from 0 <= start < rows by BLOCK:
            _plain(code.code, code.length, code.constant, slots.slots, stack, stack + 2 * (code.depth + 1) * BLOCK,
                   start, _block(rows - start), &out[0, start], rows, last)
    free(stack)


cdef inline void _plain_block(Code code, const Slot* slots, double* stack, Py_ssize_t start, Py_ssize_t end,
                              double* out) noexcept nogil:
    _plain(code.code, code.length, code.constant, slots, stack, stack + 2 * (code.depth + 1) * BLOCK, start,
           _block(end - start), NULL, 0, out)


cdef inline void _bounded_block(Code code, const Slot* slots, double* stack, Py_ssize_t start, Py_ssize_t end,
                                double* out, double* out_bound, int64_t* path) noexcept nogil:
    _bounded(code.code, code.length, code.constant, code.constant_bound, slots, stack,
             stack + PLACE * (code.depth + 1) * BLOCK, start, _block(end - start), out, out_bound, path)


def run_bounded(Code code, Slots slots, double[::1] out, double[::1] out_bound, int64_t[::1] out_path):
    """Run code over all rows: values, bounds of their errors, and paths.

    |exact - value| <= bound, where exact is the value over the exact decimals and a condition is 0 or 1, so a
    condition with bound 0 is certain. An infinite or NaN bound says that nothing is known. Rows with the same
    path other than 0 took the same branches to a value made of constants alone, so it is exactly the same value.
    """
    cdef Py_ssize_t rows = out.shape[0], start
    cdef double* stack = code.stack()
    with nogil:
        for start from 0 <= start < rows by BLOCK:
            _bounded_block(code, slots.slots, stack, start, rows, &out[start], &out_bound[start], &out_path[start])
    free(stack)


def decide_program(Code code, Slots slots, uint8_t[::1] holds, Py_ssize_t start, Py_ssize_t end):
    """Run a condition over the rows start to end; return the rows where floats can not tell, as a list."""
    cdef Py_ssize_t at, j
    cdef double value[BLOCK]
    cdef double bound[BLOCK]
    cdef double* stack = code.stack()
    cdef Found doubt
    _open(&doubt)
    with nogil:
        for at from start <= at < end by BLOCK:
            _bounded_block(code, slots.slots, stack, at, end, value, bound, NULL)
            for j in range(_block(end - at)):
                holds[at + j] = value[j] == 1.0
            for j in range(_block(end - at)):
                if not bound[j] == 0.0:
                    _add(&doubt, at + j)
    free(stack)
    return _taken(&doubt)


# Row numbers, as many as there are.
cdef struct Found:
    int64_t* rows
    Py_ssize_t count
    Py_ssize_t room
    bint lost


cdef void _open(Found* found) noexcept nogil:
    found.rows = NULL
    found.count = found.room = 0
    found.lost = False


cdef void _add(Found* found, int64_t row) noexcept nogil:
    cdef int64_t* larger
    if found.count == found.room:
        larger = <int64_t*>realloc(found.rows, (2 * found.room + 64) * sizeof(int64_t))
        if larger == NULL:
            found.lost = True
            return
        found.rows = larger
        found.room = 2 * found.room + 64
    found.rows[found.count] = row
    found.count += 1


cdef list _taken(Found* found):
    cdef Py_ssize_t i
    try:
        if found.lost:
            raise MemoryError
        return [found.rows[i] for i in range(found.count)]
    finally:
        free(found.rows)


cdef void _plain "riskpolicy_plain"(
    const int32_t* words, int length, const double* constants, const Slot* slots, double* stack, double* local,
    Py_ssize_t start, int size, double* trace, Py_ssize_t stride, double* out,
) noexcept nogil:
    """Run one block into `out`; `trace` is NULL, or takes what every instruction leaves.

    Places of the stack are pointers, so that loads copy nothing; a result goes to the one of its place's two
    buffers that no operand uses.
    """
    cdef const double* place[65]
    cdef int at, j, d = 0  # places in use
    cdef int32_t op, operand
    cdef const double* a
    cdef const double* b
    cdef const double* c
    cdef double* r
    cdef const int32_t* index
    cdef double x, y, v
    for at in range(length):
        op = words[2 * at]
        operand = words[2 * at + 1]
        if op == OP_LOAD:
            index = slots[operand].index
            if index == NULL:
                place[d] = slots[operand].values + start
            else:
                r = stack + 2 * d * BLOCK
                a = slots[operand].values
                index += start
                for j in range(size):
                    r[j] = a[index[j]]
                place[d] = r
            d += 1
        elif op == OP_LOCAL:
            place[d] = local + operand * BLOCK
            d += 1
        elif op == OP_CONST:
            r = stack + 2 * d * BLOCK
            x = constants[operand]
            for j in range(size):
                r[j] = x
            place[d] = r
            d += 1
        elif op == OP_STORE:
            d -= 1
            memcpy(local + operand * BLOCK, place[d], size * sizeof(double))
        elif op == OP_SELECT:
            # then, other, condition; an undefined condition is undefined
            d -= 2
            c = place[d - 1]
            a = place[d]
            b = place[d + 1]
            r = out if at == length - 1 else _buffer(stack, d - 1, c)
            for j in range(size):
                x = c[j]
                y = a[j]
                v = b[j]
                x = x if v != 0.0 else y
                r[j] = v if v != v else x
            place[d - 1] = r
        elif op == OP_NEG or op == OP_ABS or op == OP_NOT:
            a = place[d - 1]
            r = out if at == length - 1 else _buffer(stack, d - 1, a)
            if op == OP_NEG:
                for j in range(size):
                    r[j] = -a[j]
            elif op == OP_ABS:
                for j in range(size):
                    r[j] = fabs(a[j])
            else:
                for j in range(size):
                    r[j] = 1.0 - a[j]
            place[d - 1] = r
        else:
            d -= 1
            a = place[d - 1]
            b = place[d]
            r = out if at == length - 1 else _buffer(stack, d - 1, a)
            place[d - 1] = r
            if op == OP_ADD:
                for j in range(size):
                    r[j] = a[j] + b[j]
            elif op == OP_SUB:
                for j in range(size):
                    r[j] = a[j] - b[j]
            elif op == OP_MUL:
                for j in range(size):
                    r[j] = a[j] * b[j]
            elif op == OP_DIV:
                for j in range(size):
                    y = b[j]
                    x = a[j] / y
                    r[j] = x if y != 0.0 else NAN
            elif op == OP_MIN:
                for j in range(size):
                    x = a[j]
                    y = b[j]
                    r[j] = y if (y < x) | (y != y) else x
            elif op == OP_MAX:
                for j in range(size):
                    x = a[j]
                    y = b[j]
                    r[j] = y if (y > x) | (y != y) else x
            elif op == OP_AND:
                for j in range(size):
                    x = a[j]
                    y = b[j]
                    r[j] = y if x == 1.0 else x
            elif op == OP_OR:
                for j in range(size):
                    x = a[j]
                    y = b[j]
                    r[j] = y if x == 0.0 else x
            elif op == OP_LT:
                for j in range(size):
                    x = a[j]
                    y = b[j]
                    v = 1.0 if x < y else 0.0
                    r[j] = NAN if (x != x) | (y != y) else v
            elif op == OP_LE:
                for j in range(size):
                    x = a[j]
                    y = b[j]
                    v = 1.0 if x <= y else 0.0
                    r[j] = NAN if (x != x) | (y != y) else v
            elif op == OP_EQ:
                for j in range(size):
                    x = a[j]
                    y = b[j]
                    v = 1.0 if x == y else 0.0
                    r[j] = NAN if (x != x) | (y != y) else v
            else:
                for j in range(size):
                    x = a[j]
                    y = b[j]
                    v = 1.0 if x != y else 0.0
                    r[j] = NAN if (x != x) | (y != y) else v
        if trace != NULL:
            memcpy(trace + at * stride, place[d] if op == OP_STORE else place[d - 1], size * sizeof(double))
    if place[0] != out:
        memcpy(out, place[0], size * sizeof(double))


cdef inline double* _buffer(double* stack, int place, const double* taken) noexcept nogil:
    """The buffer of a place that `taken` does not point to."""
    cdef double* first = stack + 2 * place * BLOCK
    return first + BLOCK if taken == first else first


# A rounding is at most u = 2**-53 of the result; twice that, and a factor a little above 1 on every
# bound, also cover the roundings of the bounds themselves. TINY covers results below the normal range.
cdef extern from *:
    """
    #define UNIT 2.220446049250313e-16
    #define SLACK (1.0 + 1.8e-15)
    #define TINY 1e-300
    """
    const double UNIT
    const double SLACK
    const double TINY


cdef void _bounded "riskpolicy_bounded"(
    const int32_t* words, int length, const double* constants, const double* constant_bounds, const Slot* slots,
    double* stack, double* local, Py_ssize_t start, int size, double* out, double* out_bound, int64_t* path,
) noexcept nogil:
    """Run one block: values, bounds, and paths unless `path` is NULL.

    As the plain one; a place has two buffers of values and bounds, and a row of flags.
    """
    cdef const double* place[65]
    cdef const double* error[65]
    cdef int at, j, d = 0, choices = 0
    cdef int32_t op, operand
    cdef const double* a
    cdef const double* b
    cdef const double* c
    cdef const double* ea
    cdef const double* eb
    cdef const double* ec
    cdef double* r
    cdef double* e
    cdef double x, y, v, ex, ey, w, gap, both
    for at in range(length):
        op = words[2 * at]
        operand = words[2 * at + 1]
        if path != NULL:
            _flags(op, operand, &choices, place, error, stack, local, d, size, path, at == 0)
        if op == OP_LOAD:
            r = stack + PLACE * d * BLOCK
            place[d] = _load_values(&slots[operand], r, start, size)
            error[d] = _load_bounds(&slots[operand], place[d], r + BLOCK, start, size)
            d += 1
        elif op == OP_LOCAL:
            place[d] = local + operand * LANES * BLOCK
            error[d] = place[d] + BLOCK
            d += 1
        elif op == OP_CONST:
            r = stack + PLACE * d * BLOCK
            x = constants[operand]
            y = constant_bounds[operand]
            for j in range(size):
                r[j] = x
                r[BLOCK + j] = y
            place[d] = r
            error[d] = r + BLOCK
            d += 1
        elif op == OP_STORE:
            d -= 1
            r = local + operand * LANES * BLOCK
            memcpy(r, place[d], size * sizeof(double))
            memcpy(r + BLOCK, error[d], size * sizeof(double))
        elif op == OP_SELECT:
            # then, other, condition; only a certain condition chooses
            d -= 2
            c = place[d - 1]
            ec = error[d - 1]
            a = place[d]
            ea = error[d]
            b = place[d + 1]
            eb = error[d + 1]
            r = _buffers(stack, d - 1, c, ec)
            e = r + BLOCK
            for j in range(size):
                x = c[j]
                y = a[j]
                ex = ec[j]
                ey = ea[j]
                v = b[j]
                w = eb[j]
                x = x if v != 0.0 else y
                ex = ex if v != 0.0 else ey
                r[j] = x if w == 0.0 else NAN
                e[j] = ex if w == 0.0 else INFINITY
            place[d - 1] = r
            error[d - 1] = e
        elif op == OP_NEG or op == OP_ABS or op == OP_NOT:
            a = place[d - 1]
            r = _buffers(stack, d - 1, a, error[d - 1])
            if op == OP_NEG:
                for j in range(size):
                    r[j] = -a[j]
            elif op == OP_ABS:
                for j in range(size):
                    r[j] = fabs(a[j])
            else:
                for j in range(size):
                    r[j] = 1.0 - a[j]
            memcpy(r + BLOCK, error[d - 1], size * sizeof(double))
            place[d - 1] = r
            error[d - 1] = r + BLOCK
        else:
            d -= 1
            a = place[d - 1]
            ea = error[d - 1]
            b = place[d]
            eb = error[d]
            r = _buffers(stack, d - 1, a, ea)
            e = r + BLOCK
            place[d - 1] = r
            error[d - 1] = e
            if op == OP_ADD or op == OP_SUB:
                w = 1.0 if op == OP_ADD else -1.0
                for j in range(size):
                    v = a[j] + w * b[j]
                    e[j] = (ea[j] + eb[j] + UNIT * fabs(v)) * SLACK
                    r[j] = v
            elif op == OP_MUL:
                for j in range(size):
                    x = fabs(a[j])
                    y = fabs(b[j])
                    ex = ea[j]
                    ey = eb[j]
                    v = a[j] * b[j]
                    w = (x * ey + y * ex + ex * ey + UNIT * fabs(v) + TINY) * SLACK
                    # Zero times anything is zero, whatever the other factor's bound.
                    w = 0.0 if (x + ex == 0.0) | (y + ey == 0.0) else w
                    e[j] = INFINITY if v != v else w
                    r[j] = v
            elif op == OP_DIV:
                # Written so that an undefined divisor, which is no number, counts as one that may be zero.
                for j in range(size):
                    x = a[j]
                    y = b[j]
                    ex = ea[j]
                    ey = eb[j]
                    v = x / y
                    w = fabs(y) - ey
                    both = ((ex + fabs(v) * ey) * _inverse(w) + UNIT * fabs(v) + TINY) * SLACK
                    both = 0.0 if fabs(x) + ex == 0.0 else both
                    both = INFINITY if v != v else both
                    e[j] = both if (w > TINY) & (w < 1.0 / TINY) else INFINITY
                    r[j] = v if w > 0.0 else NAN
            elif op == OP_MIN or op == OP_MAX:
                # The one that is smaller or larger for certain; in doubt the error of either may show.
                w = 1.0 if op == OP_MAX else -1.0
                for j in range(size):
                    x = a[j]
                    y = b[j]
                    ex = ea[j]
                    ey = eb[j]
                    gap = w * (y - x)
                    both = (ex + ey) * SLACK
                    v = ey if ey > ex else ex
                    v = ex if gap < -both else v
                    v = ey if gap > both else v
                    x = y if gap > 0.0 else x
                    r[j] = NAN if (gap != gap) | (both != both) else x
                    e[j] = INFINITY if (gap != gap) | (both != both) else v
            elif op == OP_AND or op == OP_OR:
                # A certain 0 decides an `and`, a certain 1 an `or`; an uncertain left side leaves nothing certain,
                # since the right side may be undefined where it counts.
                w = 0.0 if op == OP_AND else 1.0
                for j in range(size):
                    v = a[j]
                    ex = ea[j]
                    y = b[j]
                    ey = eb[j]
                    y = v if v == w else y
                    ey = ex if v == w else ey
                    r[j] = y if ex == 0.0 else NAN
                    e[j] = ey if ex == 0.0 else INFINITY
            else:
                _compare(op, a, ea, b, eb, r, e, size)
    memcpy(out, place[0], size * sizeof(double))
    memcpy(out_bound, error[0], size * sizeof(double))
    if path != NULL:
        a = stack + 4 * BLOCK
        for j in range(size):
            path[j] = 2 * path[j] + 1 if a[j] == 1.0 and choices <= MOST_CHOICES else 0


cdef void _flags(int32_t op, int32_t operand, int* choices, const double** place, const double** error, double* stack,
                 double* local, int d, int size, int64_t* path, bint first) noexcept nogil:
    """Before an instruction: mark values made of constants alone, and the choices that led to them."""
    cdef int j
    cdef int64_t bit = <int64_t>1 << (choices[0] % MOST_CHOICES)
    cdef double* top = stack + PLACE * d * BLOCK + 4 * BLOCK
    cdef double* one = top - PLACE * BLOCK
    cdef double* two = one - PLACE * BLOCK
    cdef double gap, both, sign
    if first:
        memset(path, 0, size * sizeof(int64_t))
    if op == OP_LOAD or op == OP_CONST:
        for j in range(size):
            top[j] = 1.0 if op == OP_CONST else 0.0
    elif op == OP_LOCAL:
        memcpy(top, local + operand * LANES * BLOCK + 2 * BLOCK, size * sizeof(double))
    elif op == OP_STORE:
        memcpy(local + operand * LANES * BLOCK + 2 * BLOCK, one, size * sizeof(double))
    elif op == OP_SELECT:
        for j in range(size):
            if not error[d - 1][j] == 0.0:
                (two - PLACE * BLOCK)[j] = 0.0
            elif place[d - 1][j] == 0.0:
                (two - PLACE * BLOCK)[j] = two[j]
            else:
                path[j] |= bit
        choices[0] += 1
    elif op == OP_MIN or op == OP_MAX:
        sign = 1.0 if op == OP_MAX else -1.0
        for j in range(size):
            gap = sign * (place[d - 1][j] - place[d - 2][j])
            both = (error[d - 1][j] + error[d - 2][j]) * SLACK
            if gap > both:
                two[j] = one[j]
                path[j] |= bit
            elif not gap < -both:
                two[j] *= one[j]
        choices[0] += 1
    elif not (op == OP_NEG or op == OP_ABS or op == OP_NOT):
        for j in range(size):
            two[j] *= one[j]


cdef inline double* _buffers(double* stack, int place, const double* taken, const double* error) noexcept nogil:
    """The pair of buffers of a place that holds neither operand."""
    cdef double* first = stack + PLACE * place * BLOCK
    return first + 2 * BLOCK if taken == first or error == first + BLOCK else first


cdef inline void _compare(int32_t op, const double* a, const double* ea, const double* b, const double* eb, double* r,
                          double* e, int size) noexcept nogil:
    """Certain where the values are further apart than their bounds, or both are exact."""
    cdef int j
    cdef double x, y, v, w, gap, both
    # The value where the left side is below, equal to and above the right one.
    cdef double below = 1.0 if op != OP_EQ else 0.0
    cdef double same = 1.0 if op == OP_LE or op == OP_EQ else 0.0
    cdef double above = 1.0 if op == OP_NE else 0.0
    for j in range(size):
        x = a[j]
        y = b[j]
        both = ea[j] + eb[j]
        # Two infinities are equal, though their difference is no number.
        gap = x - y
        gap = 0.0 if x == y else gap
        v = below if gap < 0.0 else above
        v = same if gap == 0.0 else v
        w = 0.0 if (fabs(gap) > both * SLACK) | (both == 0.0) else INFINITY
        r[j] = NAN if (x != x) | (y != y) else v
        e[j] = INFINITY if both != both else w


cdef inline const double* _load_values(const Slot* slot, double* buffer, Py_ssize_t start, int size) noexcept nogil:
    cdef int j
    cdef const int32_t* index = slot.index
    cdef const double* values = slot.values
    if index == NULL:
        return values + start
    index += start
    for j in range(size):
        buffer[j] = values[index[j]]
    return buffer


cdef inline const double* _load_bounds(const Slot* slot, const double* loaded, double* buffer, Py_ssize_t start,
                                       int size) noexcept nogil:
    cdef int j
    cdef double factor = slot.factor
    cdef const int32_t* index = slot.index
    cdef const double* one = slot.size
    cdef const double* two = slot.more
    if index == NULL and slot.bounds != NULL and not slot.sure:
        return slot.bounds + start
    if slot.bounds != NULL:
        one = slot.bounds
        two = NULL
        factor = 1.0
    if one == slot.values and two == NULL:
        for j in range(size):
            buffer[j] = factor * fabs(loaded[j])
    elif index == NULL:
        one += start
        if two == NULL:
            for j in range(size):
                buffer[j] = factor * fabs(one[j])
        else:
            two += start
            for j in range(size):
                buffer[j] = factor * (fabs(one[j]) + fabs(two[j]))
    else:
        index += start
        if two == NULL:
            for j in range(size):
                buffer[j] = factor * fabs(one[index[j]])
        else:
            for j in range(size):
                buffer[j] = factor * (fabs(one[index[j]]) + fabs(two[index[j]]))
    if slot.sure:
        for j in range(size):
            buffer[j] = 0.0 if loaded[j] == 0.0 else buffer[j]
    return buffer
