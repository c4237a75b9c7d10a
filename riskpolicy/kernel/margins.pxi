# Buckets assigned, positions valued, tiers found, requirements summed; the prices at a boundary.

cdef enum:
    KEY_NOTIONAL, KEY_COIN, KEY_CONTRACTS, KEY_QUOTE


cdef struct Curve:
    # min(most, max(least, offset + slope x key + factor x sqrt(key)))
    double least
    double offset
    double slope
    double factor
    double most


cdef struct Instrument:
    double mark
    double contract_size
    int32_t first  # its tiers are rows first to end
    int32_t end
    bint plain  # linear, its key the notional at the mark, without curves
    bint inverse
    bint entry_basis
    bint curved  # the maintenance rate is the curve's
    bint initial_curved
    int key
    double unit  # the mark, or 1 / mark of an inverse: the value of one contract_size
    Curve maintenance
    Curve initial


cdef struct TierRow:
    double cap
    double below
    double rate
    double deduction


cdef class Tables:
    """Instruments and tiers in a form for the loops.

    mark, contract_size, table: per instrument; start, edge_lower: per tier table; cap, rate, deduction, initial: per
    tier. `forms` has per instrument: inverse, entry basis, key (0 notional, 1 coin, 2 contracts, 3 quote value), whether
    the maintenance and the initial rate are those of `curves`: least, offset, slope, factor, most, for maintenance and
    then for initial.
    """

    cdef Instrument* instruments
    cdef TierRow* tiers
    cdef double* ceiling  # a key is beyond a tier from here on
    cdef double* initial

    def __cinit__(self, const double[::1] mark, const double[::1] contract_size, const int32_t[::1] table,
                  const int32_t[::1] start, const uint8_t[::1] edge_lower, const double[::1] cap,
                  const double[::1] rate, const double[::1] deduction, const double[::1] initial,
                  const uint8_t[:, ::1] forms, const double[:, ::1] curves):
        cdef Py_ssize_t i, t
        cdef Instrument* m
        self.instruments = <Instrument*>malloc((mark.shape[0] + 1) * sizeof(Instrument))
        self.tiers = <TierRow*>malloc((cap.shape[0] + 1) * sizeof(TierRow))
        self.ceiling = <double*>malloc((cap.shape[0] + 1) * sizeof(double))
        self.initial = <double*>malloc((cap.shape[0] + 1) * sizeof(double))
        if self.instruments == NULL or self.tiers == NULL or self.ceiling == NULL or self.initial == NULL:
            raise MemoryError
        for t in range(cap.shape[0]):
            self.initial[t] = initial[t]
        for i in range(edge_lower.shape[0]):
            for t in range(start[i], start[i + 1]):
                self.tiers[t] = TierRow(cap[t], cap[t - 1] if t > start[i] else 0.0, rate[t], deduction[t])
                self.ceiling[t] = nextafter(cap[t], INFINITY) if edge_lower[i] else cap[t]
        for i in range(mark.shape[0]):
            t = table[i]
            m = &self.instruments[i]
            m.mark = mark[i]
            m.contract_size = contract_size[i]
            m.first = start[t]
            m.end = start[t + 1]
            m.inverse = forms[i, 0]
            m.entry_basis = forms[i, 1]
            m.key = forms[i, 2]
            m.curved = forms[i, 3]
            m.initial_curved = forms[i, 4]
            m.unit = 1.0 / mark[i] if m.inverse else mark[i]
            m.plain = not (m.inverse or m.entry_basis or m.key != KEY_NOTIONAL or m.curved or m.initial_curved)
            m.maintenance = Curve(curves[i, 0], curves[i, 1], curves[i, 2], curves[i, 3], curves[i, 4])
            m.initial = Curve(curves[i, 5], curves[i, 6], curves[i, 7], curves[i, 8], curves[i, 9])

    def __dealloc__(self):
        free(self.instruments)
        free(self.tiers)
        free(self.ceiling)
        free(self.initial)


cdef inline double _rate(const Curve* curve, double key) noexcept nogil:
    cdef double rate = curve.offset + curve.slope * key + curve.factor * sqrt(key)
    return min(curve.most, max(curve.least, rate))


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
    double[::1] maintenance_rate,
    double[::1] initial_rate,
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
    `entry_notional`, `maintenance_rate` and `initial_rate` may be empty. With `keep_tiers` the tiers are taken as they are. Return the positions within
    rounding of an edge of their tier.
    """
    cdef Py_ssize_t chunk, i, low, end, at
    cdef bint entries = entry_notional.shape[0] > 0
    cdef double* maintenance_rates = &maintenance_rate[0] if maintenance_rate.shape[0] else NULL
    cdef double* initial_rates = &initial_rate[0] if initial_rate.shape[0] else NULL
    cdef const Instrument* m
    cdef Found near
    cdef double* stack = initial_rule.stack()
    _open(&near)
    with nogil:
        for chunk in range(first_chunk, end_chunk):
            low = chunk_position[chunk]
            end = chunk_position[chunk + 1]
            _value_chunk(low, end, tables.instruments, tables.tiers, tables.ceiling, tables.initial, keep_tiers,
                         &instrument[0], &quantity[0], &entry[0], &notional[0], &pnl[0], &tier[0], &maintenance[0],
                         maintenance_rates, initial_rates, &near)
            if entries:
                for i in range(low, end):
                    m = &tables.instruments[instrument[i]]
                    entry_notional[i] = fabs(quantity[i] * m.contract_size)
                    entry_notional[i] = entry_notional[i] / entry[i] if m.inverse else entry_notional[i] * entry[i]
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
    const double* initial_of_tier, bint keep_tiers, const int32_t* instrument, const double* quantity,
    const double* entry, double* notional, double* pnl, int32_t* tier, double* maintenance,
    double* maintenance_rate, double* initial_rate, Found* near,
) noexcept nogil:
    """Value positions and find their tiers; add those within rounding of an edge of their tier to `near`."""
    cdef Py_ssize_t i, t
    cdef const Instrument* m
    cdef const TierRow* row
    cdef double size, value
    for i in range(low, end):
        m = &instruments[instrument[i]]
        if not m.plain:
            _value_any(m, i, tiers, ceiling, initial_of_tier, keep_tiers, quantity[i], entry[i], notional, pnl, tier,
                       maintenance, maintenance_rate, initial_rate, near)
            continue
        size = quantity[i] * m.contract_size
        value = fabs(size) * m.mark
        pnl[i] = size * (m.mark - entry[i])
        t = tier[i] if keep_tiers else _tier(value, ceiling, m.first, m.end)
        row = &tiers[t]
        notional[i] = value
        tier[i] = <int32_t>t
        maintenance[i] = value * row.rate - row.deduction
        size = value * (8 * UNIT)
        if maintenance_rate != NULL:
            maintenance_rate[i] = row.rate
        if initial_rate != NULL:
            initial_rate[i] = initial_of_tier[t]
        if (fabs(value - row.cap) <= size) | (fabs(value - row.below) <= size):
            if value > 0.0 and not keep_tiers:
                _add(near, i)


cdef inline double _key(const Instrument* m, double contracts, double size, double value) noexcept nogil:
    """What caps and curves count; `size` is contracts x contract_size, `value` that at the basis price, unsigned."""
    if m.key == KEY_CONTRACTS:
        return contracts
    if m.key == KEY_COIN:
        return value if m.inverse else size
    if m.key == KEY_QUOTE:
        return size if m.inverse else value
    return value


cdef void _value_any(
    const Instrument* m, Py_ssize_t i, const TierRow* tiers, const double* ceiling, const double* initial_of_tier,
    bint keep_tiers, double quantity, double entry, double* notional, double* pnl, int32_t* tier, double* maintenance,
    double* maintenance_rate, double* initial_rate, Found* near,
) noexcept nogil:
    """Value a position of any payoff, key, basis and rate."""
    cdef double size = quantity * m.contract_size, x = 1.0 / entry if m.inverse else entry
    cdef double value = fabs(size) * (x if m.entry_basis else m.unit)
    cdef double key = _key(m, fabs(quantity), fabs(size), value), rate, wide = key * (8 * UNIT)
    cdef Py_ssize_t t = tier[i] if keep_tiers else _tier(key, ceiling, m.first, m.end)
    cdef const TierRow* row = &tiers[t]
    notional[i] = fabs(size) * m.unit
    pnl[i] = size * (x - m.unit if m.inverse else m.unit - x)
    tier[i] = <int32_t>t
    rate = _rate(&m.maintenance, key) if m.curved else row.rate
    maintenance[i] = value * rate
    if row.deduction != 0.0 and key > 0.0:
        maintenance[i] -= row.deduction if m.key == KEY_NOTIONAL else row.deduction * (value / key)
    if maintenance_rate != NULL:
        maintenance_rate[i] = rate
    if initial_rate != NULL:
        initial_rate[i] = _rate(&m.initial, key) if m.initial_curved else initial_of_tier[t]
    if (fabs(key - row.cap) <= wide) | (fabs(key - row.below) <= wide):
        if key > 0.0 and not keep_tiers:
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
        # |entry notional| <= notional + |profit|; no requirement is above the value that it is taken from.
        held = (equity_doubt[k] + 16.0) * (2.0 * UNIT * SLACK)
        equity[k] = wallet[k] + bucket_pnl[k]
        maintenance_doubt[k] = held * (bucket_notional[k] + pnl_doubt[k])
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
    const double[::1] conversion,
    const uint8_t[::1] triggered,
    double of_profit,
    double of_notional,
    double of_maintenance,
    double[::1] out,
):
    """Price of each position's market, moving alone, at which its bucket's health is zero; NaN for none.

    health is a bucket's sum of_profit x profit + of_notional x notional + of_maintenance x maintenance
    + what does not move with the market; `conversion`, which may be empty, is what a position's own money is worth in
    that of its bucket. The walk leaves the mark in the adverse direction, or in the
    favourable one for a triggered bucket, tier by tier, and stops at the first zero or at the cap where health changes
    its sign; prices are above zero. It walks along x, the price, or 1 / price of an inverse. Where a curve's key moves
    with the price, health is no straight line: such a position gets infinity, for others to solve.
    """
    cdef Py_ssize_t i, t
    cdef const Instrument* m
    cdef double size, value, far, at, slope, base, root, key, rate, was, now, fixed
    cdef bint up, moves
    cdef bint converted = conversion.shape[0] > 0
    with nogil:
        for i in range(instrument.shape[0]):
            out[i] = NAN
            m = &tables.instruments[instrument[i]]
            size = quantity[i] * m.contract_size
            if size == 0.0:
                continue
            value = fabs(size)
            moves = not m.entry_basis and (m.key == KEY_NOTIONAL or
                                           (m.inverse if m.key == KEY_COIN else not m.inverse and m.key == KEY_QUOTE))
            if of_maintenance != 0.0 and m.curved and moves and (m.maintenance.slope or m.maintenance.factor):
                out[i] = INFINITY
                continue
            t = tier[i]
            at = m.unit
            # In x an inverse gains as a short of the linear kind does.
            if m.inverse:
                size = -size
            up = (size < 0.0) != (triggered[bucket[i]] != 0)
            # What stays when this market moves, written for the tier t: health = base + slope * x.
            base = health[bucket[i]] / conversion[i] if converted else health[bucket[i]]
            base = (base - of_maintenance * maintenance[i]
                    - (of_profit * size + of_notional * value) * m.unit)
            fixed = of_maintenance * maintenance[i] if m.entry_basis else 0.0
            key = _key(m, fabs(quantity[i]), value, value * m.unit)
            was = NAN
            while True:
                slope = of_profit * size + of_notional * value
                now = base + fixed
                if not m.entry_basis:
                    rate = _rate(&m.maintenance, key) if m.curved else tables.tiers[t].rate
                    if moves:
                        now -= of_maintenance * tables.tiers[t].deduction
                    elif key > 0.0:
                        rate -= tables.tiers[t].deduction / key
                    slope += of_maintenance * value * rate
                if not moves:
                    far = INFINITY if up else 0.0
                elif up:
                    far = tables.tiers[t].cap / value if t < m.end - 1 else INFINITY
                else:
                    far = tables.tiers[t].below / value if t > m.first else 0.0
                # Where tiers jump, so may the sign.
                if was == was and (now + slope * at < 0.0) != (was < 0.0):
                    if fabs(now + slope * at - was) > 8 * UNIT * (fabs(now) + fabs(slope * at)):
                        out[i] = at
                        break
                if slope != 0.0:
                    root = -now / slope
                    if (at <= root <= far) if up else (far <= root <= at):
                        if root > 0.0 and root != INFINITY:
                            out[i] = root
                        break
                if not moves:
                    break
                was = now + slope * far
                if up:
                    if t == m.end - 1:
                        break
                    t += 1
                else:
                    if t == m.first:
                        break
                    t -= 1
                at = far
            if m.inverse and out[i] == out[i]:
                out[i] = 1.0 / out[i]
