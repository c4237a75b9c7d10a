# Buckets assigned, positions valued, tiers found, requirements summed; the prices at a boundary.

cdef struct Instrument:
    double mark
    double contract_size
    int32_t first  # its tiers are rows first to end
    int32_t end


cdef struct TierRow:
    double cap
    double below
    double rate
    double deduction


cdef class Tables:
    """Instruments and tiers in a form for the loops.

    mark, contract_size, table: per instrument; start, edge_lower: per tier table; cap, rate, deduction: per tier.
    """

    cdef Instrument* instruments
    cdef TierRow* tiers
    cdef double* ceiling  # a key is beyond a tier from here on

    def __cinit__(self, const double[::1] mark, const double[::1] contract_size, const int32_t[::1] table,
                  const int32_t[::1] start, const uint8_t[::1] edge_lower, const double[::1] cap,
                  const double[::1] rate, const double[::1] deduction):
        cdef Py_ssize_t i, t
        self.instruments = <Instrument*>malloc((mark.shape[0] + 1) * sizeof(Instrument))
        self.tiers = <TierRow*>malloc((cap.shape[0] + 1) * sizeof(TierRow))
        self.ceiling = <double*>malloc((cap.shape[0] + 1) * sizeof(double))
        if self.instruments == NULL or self.tiers == NULL or self.ceiling == NULL:
            raise MemoryError
        for i in range(edge_lower.shape[0]):
            for t in range(start[i], start[i + 1]):
                self.tiers[t] = TierRow(cap[t], cap[t - 1] if t > start[i] else 0.0, rate[t], deduction[t])
                self.ceiling[t] = nextafter(cap[t], INFINITY) if edge_lower[i] else cap[t]
        for i in range(mark.shape[0]):
            t = table[i]
            self.instruments[i].mark = mark[i]
            self.instruments[i].contract_size = contract_size[i]
            self.instruments[i].first = start[t]
            self.instruments[i].end = start[t + 1]

    def __dealloc__(self):
        free(self.instruments)
        free(self.tiers)
        free(self.ceiling)


cdef inline Py_ssize_t _tier(double key, const double* ceiling, Py_ssize_t first, Py_ssize_t end) noexcept nogil:
    """The tier of `key` among the rows first to end; the last one where the key is above its cap."""
    cdef Py_ssize_t half, size = end - first
    while size > 1:
        half = size >> 1
        first += half if key >= ceiling[first + half - 1] else 0
        size -= half
    return first


def assign_buckets(
    const int32_t[::1] account,
    const int32_t[::1] position_start,
    const int32_t[::1] instrument,
    const uint8_t[::1] isolated,
    const int32_t[::1] currency,
    int currencies,
    const int32_t[::1] owner,
    const int32_t[::1] owner_currency,
    int32_t[::1] bucket_start,
    int32_t[::1] bucket,
    int32_t[::1] bucket_row,
    int32_t[::1] bucket_currency,
    int32_t[::1] bucket_instrument,
):
    """Number the buckets by account, currency, cross before isolated, and find each position's; -1 for none.

    Positions come by account (those of a are position_start[a] to [a + 1]), and so do the balances (owner,
    owner_currency), by currency within the account. `isolated` is empty where no position is; `currency` is per
    instrument. An account's buckets are bucket_start[a] to [a + 1]. A cross bucket has the row of its balance and
    the instrument -1, an isolated one the row of its position. Return how many positions have none.
    """
    cdef Py_ssize_t n = account.shape[0], owners = owner.shape[0], accounts = position_start.shape[0] - 1
    cdef Py_ssize_t o = 0, b = 0, i, k, last, missing = 0
    cdef int32_t a, c
    cdef bint single = isolated.shape[0] == 0
    with nogil:
        for k in range(1, owners):
            single = single and owner[k] > owner[k - 1]
        if single:
            # One balance an account: its bucket, for the positions in its currency.
            memset(&bucket_start[0], 0, (accounts + 1) * sizeof(int32_t))
            for k in range(owners):
                bucket_start[owner[k] + 1] = 1
                bucket_row[k] = <int32_t>k
                bucket_currency[k] = owner_currency[k]
                bucket_instrument[k] = -1
            for k in range(accounts):
                bucket_start[k + 1] += bucket_start[k]
            for i in range(n):
                k = bucket_start[account[i]]
                if k == bucket_start[account[i] + 1] or owner_currency[k] != currency[instrument[i]]:
                    k = -1
                    missing += 1
                bucket[i] = <int32_t>k
        else:
            for a in range(<int32_t>accounts):
                bucket_start[a] = <int32_t>b
                for c in range(currencies):
                    last = -1
                    if o < owners and owner[o] == a and owner_currency[o] == c:
                        bucket_row[b] = <int32_t>o
                        bucket_currency[b] = c
                        bucket_instrument[b] = -1
                        last = b
                        b += 1
                        o += 1
                    for i in range(position_start[a], position_start[a + 1]):
                        if currency[instrument[i]] != c:
                            continue
                        if isolated.shape[0] and isolated[i]:
                            bucket_row[b] = <int32_t>i
                            bucket_currency[b] = c
                            bucket_instrument[b] = instrument[i]
                            bucket[i] = <int32_t>b
                            b += 1
                        else:
                            bucket[i] = <int32_t>last
                            if last < 0:
                                missing += 1
            bucket_start[accounts] = <int32_t>b
    return missing


def margin_pass(
    Tables tables,
    Code initial_rule,
    Slots initial_slots,
    const int32_t[::1] chunk_position,
    const int32_t[::1] chunk_bucket,
    Py_ssize_t first_chunk,
    Py_ssize_t end_chunk,
    bint keep_tiers,
    const int32_t[::1] instrument,
    const double[::1] quantity,
    const double[::1] entry,
    const int32_t[::1] bucket,
    const double[::1] wallet,
    double[::1] notional,
    double[::1] entry_notional,
    double[::1] pnl,
    int32_t[::1] tier,
    double[::1] maintenance,
    double[::1] initial,
    double[::1] bucket_notional,
    double[::1] bucket_pnl,
    double[::1] bucket_maintenance,
    double[::1] bucket_initial,
    double[::1] equity,
    double[::1] pnl_doubt,
    double[::1] maintenance_doubt,
    double[::1] equity_doubt,
):
    """Value positions, find tiers, require margins, sum per bucket: chunk by chunk, so that rows stay in cache.

    A chunk holds whole accounts. The `_doubt` columns bound the distance of a bucket's sums from the exact ones.
    `entry_notional` may be empty. With `keep_tiers` the tiers are taken as they are. Return the positions within
    rounding of an edge of their tier.
    """
    cdef Py_ssize_t chunk, i, low, end, at
    cdef bint entries = entry_notional.shape[0] > 0
    cdef Found near
    cdef double* stack = initial_rule.stack()
    _open(&near)
    with nogil:
        for chunk in range(first_chunk, end_chunk):
            low = chunk_position[chunk]
            end = chunk_position[chunk + 1]
            _value_chunk(low, end, tables.instruments, tables.tiers, tables.ceiling, keep_tiers, &instrument[0],
                         &quantity[0], &entry[0], &notional[0], &pnl[0], &tier[0], &maintenance[0], &near)
            if entries:
                for i in range(low, end):
                    entry_notional[i] = fabs(quantity[i] * tables.instruments[instrument[i]].contract_size) * entry[i]
            for at from low <= at < end by BLOCK:
                _plain_block(initial_rule, initial_slots.slots, stack, at, end, &initial[at])
            _sum_chunk(low, end, chunk_bucket[chunk], chunk_bucket[chunk + 1], &bucket[0], &notional[0],
                       &pnl[0], &maintenance[0], &initial[0], &wallet[0], &bucket_notional[0],
                       &bucket_pnl[0], &bucket_maintenance[0], &bucket_initial[0], &equity[0], &pnl_doubt[0],
                       &maintenance_doubt[0], &equity_doubt[0])
    free(stack)
    return _taken(&near)


cdef void _value_chunk(
    Py_ssize_t low, Py_ssize_t end, const Instrument* instruments, const TierRow* tiers, const double* ceiling,
    bint keep_tiers, const int32_t* instrument, const double* quantity, const double* entry, double* notional,
    double* pnl, int32_t* tier, double* maintenance, Found* near,
) noexcept nogil:
    """Value positions and find their tiers; add those within rounding of an edge of their tier to `near`."""
    cdef Py_ssize_t i, t
    cdef const Instrument* m
    cdef const TierRow* row
    cdef double size, value
    for i in range(low, end):
        m = &instruments[instrument[i]]
        size = quantity[i] * m.contract_size
        value = fabs(size) * m.mark
        pnl[i] = size * (m.mark - entry[i])
        t = tier[i] if keep_tiers else _tier(value, ceiling, m.first, m.end)
        row = &tiers[t]
        notional[i] = value
        tier[i] = <int32_t>t
        maintenance[i] = value * row.rate - row.deduction
        size = value * (8 * UNIT)
        if (fabs(value - row.cap) <= size) | (fabs(value - row.below) <= size):
            if value > 0.0 and not keep_tiers:
                _add(near, i)


cdef void _sum_chunk(
    Py_ssize_t low, Py_ssize_t end, Py_ssize_t first, Py_ssize_t stop, const int32_t* bucket,
    const double* notional, const double* pnl, const double* maintenance, const double* initial,
    const double* wallet, double* bucket_notional, double* bucket_pnl, double* bucket_maintenance,
    double* bucket_initial, double* equity, double* pnl_doubt, double* maintenance_doubt, double* equity_doubt,
) noexcept nogil:
    """Sum positions low to end into buckets first to stop, in the order of the positions."""
    cdef Py_ssize_t i, k, last
    cdef double sum_notional, sum_pnl, sum_maintenance, sum_initial, sizes, held
    for k in range(first, stop):
        bucket_notional[k] = bucket_pnl[k] = bucket_maintenance[k] = bucket_initial[k] = 0.0
        pnl_doubt[k] = equity_doubt[k] = 0.0
    i = low
    while i < end:
        # The positions of one bucket mostly stand together: summed in registers, stored once.
        k = bucket[i]
        sum_notional = bucket_notional[k]
        sum_pnl = bucket_pnl[k]
        sum_maintenance = bucket_maintenance[k]
        sum_initial = bucket_initial[k]
        sizes = pnl_doubt[k]
        last = i
        while True:
            sum_notional += notional[i]
            sum_pnl += pnl[i]
            sum_maintenance += maintenance[i]
            sum_initial += initial[i]
            sizes += fabs(pnl[i])
            i += 1
            if i == end or bucket[i] != k:
                break
        bucket_notional[k] = sum_notional
        bucket_pnl[k] = sum_pnl
        bucket_maintenance[k] = sum_maintenance
        bucket_initial[k] = sum_initial
        pnl_doubt[k] = sizes
        equity_doubt[k] += <double>(i - last)
    for k in range(first, stop):
        # |entry notional| <= notional + |profit|; a deduction is at most the notional that it is taken from.
        held = (equity_doubt[k] + 8.0) * (2.0 * UNIT * SLACK)
        equity[k] = wallet[k] + bucket_pnl[k]
        maintenance_doubt[k] = held * bucket_notional[k]
        pnl_doubt[k] = held * (bucket_notional[k] + pnl_doubt[k])
        equity_doubt[k] = (pnl_doubt[k] + UNIT * (fabs(wallet[k]) + fabs(equity[k]))) * SLACK
        equity_doubt[k] = UNIT * fabs(wallet[k]) if pnl_doubt[k] == 0.0 else equity_doubt[k]


def boundary_prices(
    Tables tables,
    const int32_t[::1] instrument,
    const int32_t[::1] bucket,
    const double[::1] quantity,
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
    cdef Py_ssize_t i, t
    cdef Instrument* m
    cdef double size, value, far, at, slope, base, root
    cdef bint up
    with nogil:
        for i in range(instrument.shape[0]):
            out[i] = NAN
            m = &tables.instruments[instrument[i]]
            size = quantity[i] * m.contract_size
            if size == 0.0:
                continue
            value = fabs(size)
            up = (size < 0.0) != (triggered[bucket[i]] != 0)
            t = tier[i]
            at = m.mark
            # What stays when this market moves, written for the tier t: health = base + slope * price.
            base = (health[bucket[i]] - of_maintenance * maintenance[i]
                    - (of_profit * size + of_notional * value) * m.mark)
            while True:
                slope = of_profit * size + of_notional * value + of_maintenance * value * tables.tiers[t].rate
                if up:
                    far = tables.tiers[t].cap / value if t < m.end - 1 else INFINITY
                else:
                    far = tables.tiers[t].below / value if t > m.first else 0.0
                if slope != 0.0:
                    root = -(base - of_maintenance * tables.tiers[t].deduction) / slope
                    if (at <= root <= far) if up else (far <= root <= at):
                        if root > 0.0 and root != INFINITY:
                            out[i] = root
                        break
                if up:
                    if t == m.end - 1:
                        break
                    t += 1
                else:
                    if t == m.first:
                        break
                    t -= 1
                at = far
