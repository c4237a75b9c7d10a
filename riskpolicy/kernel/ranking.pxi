# Scores, and ranks within segments: radix sorts of packed keys, then a walk that finds what floats leave in doubt.

# A score whose bound is above this part of it is wide: it has to be made exact before the ranking.
cdef double WIDE = 2.0 ** -26


def score_pass(
    Code code,
    Slots slots,
    const int32_t[::1] instrument,
    const double[::1] quantity,
    Py_ssize_t first,
    Py_ssize_t end,
    double[::1] score,
    float[::1] bound,
    int64_t[::1] count,
):
    """Score the positions first to end, with bounds, and count them by segment: 2 x instrument, + 1 for a short.

    A flat position has score NaN and no segment. Return the positions whose score is unknown or its bound wide.
    """
    cdef Py_ssize_t at, j, i
    cdef double value[BLOCK]
    cdef double doubt[BLOCK]
    cdef double* stack = code.stack()
    cdef Found wide
    _open(&wide)
    with nogil:
        for at from first <= at < end by BLOCK:
            _bounded_block(code, slots.slots, stack, at, end, value, doubt, NULL)
            for j in range(_block(end - at)):
                # Zero has one sign in a ranking, and a bound that becomes a float is rounded up.
                score[at + j] = value[j] + 0.0
                bound[at + j] = <float>(doubt[j] * (1.0 + 2.0 ** -22) + (1e-44 if doubt[j] > 0.0 else 0.0))
            for j in range(_block(end - at)):
                i = at + j
                if quantity[i] == 0.0:
                    score[i] = NAN
                else:
                    count[2 * instrument[i] + (quantity[i] < 0.0)] += 1
                    if not (bound[i] <= WIDE * fabs(score[i])) or fabs(score[i]) == INFINITY:
                        _add(&wide, i)
    free(stack)
    return _taken(&wide)


cdef inline uint64_t _descending(double score) noexcept nogil:
    """The bits of a score so that a higher score is a smaller number."""
    cdef uint64_t bits
    memcpy(&bits, &score, sizeof(double))
    return bits if bits >> 63 else ~(bits | (<uint64_t>1 << 63))


def rank_scatter(
    const double[::1] score,
    const int32_t[::1] instrument,
    const double[::1] quantity,
    Py_ssize_t first,
    Py_ssize_t end,
    int row_bits,
    int64_t[::1] place,
    uint64_t[::1] words,
):
    """Write the positions first to end as words (upper bits of the key, row) to their segments' next places."""
    cdef Py_ssize_t i, segment
    cdef uint64_t mask = ~<uint64_t>0 << row_bits
    with nogil:
        for i in range(first, end):
            if quantity[i] != 0.0:
                segment = 2 * instrument[i] + (quantity[i] < 0.0)
                words[place[segment]] = (_descending(score[i]) & mask) | <uint64_t>i
                place[segment] += 1


cdef uint64_t* _radix(uint64_t* words, uint64_t* other, Py_ssize_t n, int low, int high) noexcept nogil:
    """Sort words stably by their bits low to high, at most 33 of them; return which of the two arrays holds them."""
    cdef uint32_t count[3][2048]
    cdef uint64_t* source = words
    cdef uint64_t* into = other
    cdef uint64_t* swap
    cdef int digit = 11 if n >= 1024 or high - low > 24 else 8
    cdef int digits = (high - low + digit - 1) // digit, d, shift
    cdef uint32_t mask = (<uint32_t>1 << digit) - 1, total, held
    cdef uint64_t word, all_ = (<uint64_t>1 << (high - low)) - 1
    cdef Py_ssize_t i
    memset(count, 0, digits * sizeof(count[0]))
    for i in range(n):
        word = (words[i] >> low) & all_
        for d in range(digits):
            count[d][word & mask] += 1
            word >>= digit
    for d in range(digits):
        shift = low + d * digit
        word = ((source[0] >> low) & all_) >> (d * digit)
        if count[d][word & mask] == n:
            continue
        total = 0
        for i in range(<Py_ssize_t>mask + 1):
            held = count[d][i]
            count[d][i] = total
            total += held
        for i in range(n):
            word = source[i]
            held = <uint32_t>(((word >> low) & all_) >> (d * digit)) & mask
            into[count[d][held]] = word
            count[d][held] += 1
        swap = source
        source = into
        into = swap
    return source


cdef void _radix_in_place(uint64_t* words, uint64_t* other, Py_ssize_t n, int low, int high) noexcept nogil:
    if _radix(words, other, n, low, high) != words:
        memcpy(words, other, n * sizeof(uint64_t))


cdef Py_ssize_t _insertion(uint64_t* words, Py_ssize_t n, Py_ssize_t most) noexcept nogil:
    """Sort words that are nearly in order; give up after `most` moves, and return how many were left."""
    cdef Py_ssize_t i, j
    cdef uint64_t word
    for i in range(1, n):
        if words[i - 1] > words[i]:
            word = words[i]
            j = i
            while j > 0 and words[j - 1] > word:
                words[j] = words[j - 1]
                j -= 1
            words[j] = word
            most -= i - j
            if most < 0:
                break
    return most


cdef enum:
    _CROWD = 4096  # fewer words are not looked through for one that most of them have
    _SAMPLE = 64


cdef bint _crowded(const uint64_t* words, Py_ssize_t n, int row_bits) noexcept nogil:
    """Whether most words of a sample have the key of the one in the middle."""
    cdef Py_ssize_t k, same = 0
    for k in range(_SAMPLE):
        same += words[k * (n // _SAMPLE)] >> row_bits == words[n >> 1] >> row_bits
    return 2 * same > _SAMPLE


cdef uint64_t* _around(uint64_t* words, uint64_t* other, Py_ssize_t n, int row_bits, uint64_t key) noexcept nogil:
    """Sort words of which many have `key`: these stand by row already, so that only the others are sorted."""
    cdef Py_ssize_t i, low = 0, same = 0, first, middle, last
    cdef uint64_t word, k
    for i in range(n):
        k = words[i] >> row_bits
        low += k < key
        same += k == key
    first = 0
    middle = low
    last = low + same
    for i in range(n):
        word = words[i]
        k = word >> row_bits
        other[first if k < key else middle if k == key else last] = word
        first += k < key
        middle += k == key
        last += k > key
    if _sorted(other, words, low, row_bits) != other:
        memcpy(other, words, low * sizeof(uint64_t))
    last = low + same
    if _sorted(other + last, words + last, n - last, row_bits) != other + last:
        memcpy(other + last, words + last, (n - last) * sizeof(uint64_t))
    return other


cdef uint64_t* _sorted(uint64_t* words, uint64_t* other, Py_ssize_t n, int row_bits) noexcept nogil:
    """Sort the words of a segment; return which of the two arrays holds them."""
    cdef int coarse = max(row_bits, 64 - 33)
    cdef uint64_t* made
    if n < 48:
        _insertion(words, n, n * n)
        return words
    if n >= _CROWD and _crowded(words, n, row_bits):
        return _around(words, other, n, row_bits, words[n >> 1] >> row_bits)
    # The upper bits by radix; the others seldom matter, and if they do, by radix from the lowest on.
    made = _radix(words, other, n, coarse, 64)
    if _insertion(made, n, 4 * n) < 0:
        other = other if made == words else words
        if coarse > row_bits:
            _radix_in_place(made, other, n, row_bits, coarse)
        _radix_in_place(made, other, n, coarse, 64)
    return made


cdef bint _by_rest(uint64_t* words, uint64_t* other, Py_ssize_t n, int row_bits, const double* score) noexcept nogil:
    """Order words of equal keys by the part of the score that found no room beside the row; say whether any differs."""
    cdef uint64_t key = words[0] >> row_bits, rows = (<uint64_t>1 << row_bits) - 1
    cdef Py_ssize_t k
    cdef bint same = True
    for k in range(1, n):
        same = same and score[words[k] & rows] == score[words[0] & rows]
    if same:
        return False
    for k in range(n):
        words[k] = ((_descending(score[words[k] & rows]) & rows) << row_bits) | (words[k] & rows)
    _radix_in_place(words, other, n, row_bits, 2 * row_bits)
    for k in range(n):
        words[k] = (key << row_bits) | (words[k] & rows)
    return True


cdef void _doubts(
    const uint64_t* words, Py_ssize_t n, Py_ssize_t first, uint64_t rows, const double* score, const float* bound,
    bint ties, Found* found,
) noexcept nogil:
    """Find the stretches of near words whose intervals touch; `first` is the place of words[0] in the order."""
    cdef Py_ssize_t k = 0, last, row
    cdef double reach, x, e
    cdef bint certain
    while k < n:
        row = <Py_ssize_t>(words[k] & rows)
        reach = bound[row] - score[row]
        certain = bound[row] == 0.0
        last = k
        k += 1
        while k < n:
            row = <Py_ssize_t>(words[k] & rows)
            x = -score[row]
            e = bound[row]
            if x - e > reach:
                break
            certain = certain and e == 0.0
            reach = x + e if x + e > reach else reach
            k += 1
        # A certain stretch holds equal scores: its rows are in order already.
        if k - last > 1 and (ties or not certain):
            _add(found, first + last)
            _add(found, first + k)


def rank_segments(
    uint64_t[::1] words,
    const int64_t[::1] start,
    const int64_t[::1] segments,
    int row_bits,
    const double[::1] score,
    const float[::1] bound,
    bint ties,
    int32_t[::1] order,
    int32_t[::1] rank,
):
    """Order the words of some segments by score, highest first, and rows of equal score by their number.

    Segment s is start[s] to start[s + 1]. Write rows in order, and ranks from 1. Return the stretches (first, stop)
    of `order` in which scores are not certain to differ, without those whose scores are equal for certain, unless
    further keys decide `ties`.
    """
    cdef Py_ssize_t s, n, k, first, i, j, row, chain, longest = 0
    cdef uint64_t rows = (<uint64_t>1 << row_bits) - 1, key, before
    # No two scores further apart than this, in units of the packed key, have intervals that touch.
    cdef uint64_t near = (<uint64_t>1 << max(29 - row_bits, 0)) + 2
    cdef Found found
    cdef uint64_t* spare
    cdef uint64_t* w
    cdef uint64_t* other
    cdef int32_t* to_order = &order[0]
    cdef int32_t* to_rank = &rank[0]
    for s in segments:
        longest = max(longest, start[s + 1] - start[s])
    spare = <uint64_t*>_take((longest + 1) * sizeof(uint64_t))
    if spare == NULL:
        raise MemoryError
    _open(&found)
    with nogil:
        for i in range(segments.shape[0]):
            s = segments[i]
            first = start[s]
            n = start[s + 1] - first
            w = _sorted(&words[first], spare, n, row_bits)
            other = spare if w == &words[first] else &words[first]
            chain = -1
            before = ~<uint64_t>0
            for k in range(n):
                row = <Py_ssize_t>(w[k] & rows)
                to_order[first + k] = <int32_t>row
                to_rank[row] = <int32_t>(k + 1)
                key = w[k] >> row_bits
                if key - before <= near and k > 0:
                    if chain < 0:
                        chain = k - 1
                elif chain >= 0:
                    _chain(w + chain, other, k - chain, chain, row_bits, near, &score[0], &bound[0], ties, first,
                           to_order, to_rank, &found)
                    chain = -1
                before = key
            if chain >= 0:
                _chain(w + chain, other, n - chain, chain, row_bits, near, &score[0], &bound[0], ties, first,
                       to_order, to_rank, &found)
    free(spare)
    return _taken(&found)


cdef bint _equal(
    const uint64_t* words, Py_ssize_t n, int row_bits, const double* score, const float* bound
) noexcept nogil:
    """Whether all words have one score for certain, as positions without profit do."""
    cdef uint64_t rows = (<uint64_t>1 << row_bits) - 1
    cdef double common = score[words[0] & rows]
    cdef Py_ssize_t k
    if words[0] >> row_bits != words[n - 1] >> row_bits:
        return False
    for k in range(n):
        if (score[words[k] & rows] != common) | (bound[words[k] & rows] != 0.0):
            return False
    return True


cdef void _chain(
    uint64_t* words, uint64_t* other, Py_ssize_t n, Py_ssize_t place, int row_bits, uint64_t near, const double* score,
    const float* bound, bint ties, Py_ssize_t first, int32_t* order, int32_t* rank, Found* found,
) noexcept nogil:
    """Settle words each near the one before it: order those of equal key, and find what stays in doubt."""
    cdef uint64_t rows = (<uint64_t>1 << row_bits) - 1
    cdef Py_ssize_t i = 0, j, k
    if not ties and _equal(words, n, row_bits, score, bound):
        return
    while i < n:
        j = i + 1
        while j < n and words[j] >> row_bits == words[i] >> row_bits:
            j += 1
        if j - i > 1 and _by_rest(words + i, other, j - i, row_bits, score):
            for k in range(i, j):
                order[first + place + k] = <int32_t>(words[k] & rows)
                rank[words[k] & rows] = <int32_t>(place + k + 1)
        i = j
    _doubts(words, n, first + place, rows, score, bound, ties, found)


def light_pass(
    const int32_t[::1] instrument,
    const double[::1] quantity,
    const int32_t[::1] rank,
    const int32_t[:, ::1] edge,
    Py_ssize_t first,
    Py_ssize_t end,
    int8_t[::1] light,
):
    """Write the lights of positions first to end; -1 for those without a rank.

    A segment's highest light is the number of its edges + 1, and is lowered by 1 for each edge below the rank.
    """
    cdef Py_ssize_t i, k, count = edge.shape[1]
    cdef const int32_t* of_segment
    cdef int32_t place
    cdef int lit
    with nogil:
        for i in range(first, end):
            place = rank[i]
            of_segment = &edge[2 * instrument[i] + (quantity[i] < 0.0), 0]
            lit = <int>count + 1
            for k in range(count):
                lit -= place > of_segment[k]
            light[i] = <int8_t>(lit if place > 0 else -1)


cdef extern from *:
    """
    #if defined(__GNUC__)
    #define RISKPOLICY_PREFETCH(p) __builtin_prefetch(p)
    #else
    #define RISKPOLICY_PREFETCH(p) (void)(p)
    #endif
    """
    void RISKPOLICY_PREFETCH(const void*) noexcept nogil


# Rows of a queue lie anywhere in memory: so many rows ahead are asked for early, and one in so many sums is kept.
cdef enum:
    EARLY = 200
    STRIDE = 64

SUMS_STRIDE = STRIDE


def sums_ahead(const double[::1] quantity, const int32_t[::1] rows, Py_ssize_t first, Py_ssize_t end, int digits,
               int64_t[::1] before):
    """Sum unsigned sizes in the order of rows as whole numbers of 1 / 10 ** digits: before[k] is that ahead of row 64 k.

    Rows first to end, both multiples of 64 but for the last end; before[first // 64] and what is before it are known,
    in the digits given. Return the digits that are needed, in which `before` is now; -1 where a size has more than 12
    decimals or 15 digits at that scale, or the sum is beyond 62 bits.
    """
    cdef Py_ssize_t k, j
    cdef double size, units, scale = 10.0 ** digits
    cdef int64_t tens, total = before[first // STRIDE]
    cdef int64_t most = <int64_t>1 << 62
    for k in range(first, end):
        if k + EARLY < end:
            RISKPOLICY_PREFETCH(&quantity[rows[k + EARLY]])
        if k % STRIDE == 0:
            before[k // STRIDE] = total
        size = fabs(quantity[rows[k]])
        if size * scale >= 1e15:
            return -1
        units = <double><int64_t>(size * scale + 0.5)
        if units / scale != size:
            # A decimal of at most 15 digits that a float stands nearest to is the shortest that names it.
            tens = 1
            while units / scale != size:
                digits += 1
                scale *= 10.0
                tens *= 10
                if digits > 12 or size * scale >= 1e15:
                    return -1
                units = <double><int64_t>(size * scale + 0.5)
            if total >= most // tens:
                return -1
            total *= tens
            for j in range(k // STRIDE + 1):
                before[j] *= tens
        total += <int64_t>units
        if total >= most:
            return -1
    if end % STRIDE == 0:
        before[end // STRIDE] = total
    return digits
