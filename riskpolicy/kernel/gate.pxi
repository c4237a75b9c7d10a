# The gate: one order against one account, decided in floats where these are certain, handed on where they are not.

cdef enum:
    # The places of a supposed position's numbers in the scratch row of a gate.
    SUPPOSED_QUANTITY, SUPPOSED_ENTRY, SUPPOSED_ENTRY_NOTIONAL, SUPPOSED_MARK, SUPPOSED_WALLET, SUPPOSED_NOTIONAL
    SUPPOSED_PNL, SUPPOSED_MAX_LEVERAGE, SUPPOSED_LEVERAGE, SUPPOSED_MAINTENANCE, SUPPOSED_INITIAL_RATE
    SUPPOSED_MAINTENANCE_RATE

SUPPOSED = (
    "quantity", "entry_price", "entry_notional", "market_mark_price", "wallet_balance", "notional", "unrealized_pnl",
    "max_leverage", "leverage", "maintenance_margin", "initial_rate", "maintenance_rate",
)
_MOST_HELD = 64


cdef class Answer:
    """What a gate says of an order: `code`, and the `rule` that decides. `asked` is the gate's question, for later."""

    cdef public object code
    cdef public object rule
    cdef public object asked


cdef class Gate:
    """Judges orders against one evaluated snapshot, where requirements are plain sums over net positions.

    `accounts` and `instruments` are dictionaries from ids to codes. `kind` is a class that derives from Answer; `later`
    judges what floats leave open, called with the arguments of `check`. `scratch` is the row that `initial_slots` read, in
    the order of SUPPOSED. `steps` has per instrument how many lots and ticks make one, or minus how many ones make a lot
    or tick; 0 where there is none, NaN where it is neither. Trigger: health = of_equity x equity + of_notional x notional
    + of_maintenance x maintenance + constant. `codes` and `rules` are those of insufficient margin, of an allowed order,
    of a liquidatable and of a bankrupt bucket.
    """

    cdef dict accounts
    cdef dict instruments
    cdef object kind
    cdef object later
    cdef Tables tables
    cdef Code rule
    cdef Slots slots
    cdef double* stack
    cdef double[::1] scratch
    cdef const int32_t[::1] position_start
    cdef const int32_t[::1] instrument
    cdef const double[::1] quantity
    cdef const double[::1] entry
    cdef const double[::1] leverage
    cdef const int32_t[::1] bucket
    cdef const double[::1] maintenance
    cdef const double[::1] initial
    cdef const int32_t[::1] bucket_start
    cdef const int32_t[::1] bucket_instrument
    cdef const int32_t[::1] bucket_currency
    cdef const double[::1] wallet
    cdef const double[::1] equity
    cdef const double[::1] equity_doubt
    cdef const double[::1] bucket_notional
    cdef const double[::1] bucket_initial
    cdef const double[::1] bucket_maintenance
    cdef const double[::1] maintenance_doubt
    cdef const int8_t[::1] state
    cdef const int32_t[::1] currency
    cdef const double[::1] max_leverage
    cdef const double[:, ::1] steps
    cdef double of_equity, of_notional, of_maintenance, constant
    cdef tuple codes
    cdef tuple rules
    cdef object buy
    cdef object sell

    def __init__(self, dict accounts, dict instruments, kind, later, Tables tables, Code rule, Slots slots, double[::1] scratch,
                 tuple positions, tuple buckets, const int32_t[::1] currency, const double[::1] max_leverage,
                 const double[:, ::1] steps, tuple trigger, tuple codes, tuple rules):
        self.accounts, self.instruments, self.kind, self.later = accounts, instruments, kind, later
        self.tables, self.rule, self.slots, self.scratch = tables, rule, slots, scratch
        (self.position_start, self.instrument, self.quantity, self.entry, self.leverage, self.bucket, self.maintenance,
         self.initial) = positions
        (self.bucket_start, self.bucket_instrument, self.bucket_currency, self.wallet, self.equity, self.equity_doubt,
         self.bucket_notional, self.bucket_initial, self.bucket_maintenance, self.maintenance_doubt, self.state) = buckets
        self.currency, self.max_leverage, self.steps = currency, max_leverage, steps
        self.codes, self.rules = codes, rules
        self.of_equity, self.of_notional, self.of_maintenance, self.constant = trigger
        self.buy, self.sell = "buy", "sell"
        self.stack = rule.stack()

    def __dealloc__(self):
        free(self.stack)

    def check(self, account, instrument, side, quantity, price=None):
        """Judge an order: `side` buy or sell, `quantity` contracts above zero, `price` None for the mark."""
        cdef object found, number
        cdef Answer answer
        cdef int verdict = -1
        try:
            found = self.accounts.get(account)
            number = self.instruments.get(instrument)
        except TypeError:  # what can not be looked up is not known
            found = number = None
        if found is not None and number is not None and (type(quantity) is float or type(quantity) is int):
            if price is None or type(price) is float or type(price) is int:
                if (side == self.buy or side == self.sell) and 0 < quantity < 1e15 and (price is None or price < 1e15):
                    verdict = self._judge(found, number, quantity if side == self.buy else -quantity,
                                          0.0 if price is None else price, price is None)
        elif found is not None and number is not None and type(quantity) is str:
            return self._texts(account, instrument, side, quantity, price)
        if verdict < 0:
            return self.later(account, instrument, side, quantity, price)
        answer = self.kind.__new__(self.kind)
        answer.code = self.codes[verdict]
        answer.rule = self.rules[verdict]
        answer.asked = (self.later, account, instrument, side, quantity, price)
        return answer

    cdef object _texts(self, account, instrument, side, quantity, price):
        """Judge an order whose numbers are plain decimal text: up to 15 digits mean their floats."""
        cdef object size, at
        if len(quantity) > 15 or (price is not None and (type(price) is not str or len(price) > 15)):
            return self.later(account, instrument, side, quantity, price)
        # Python reads more as a number than a decimal is: digits of other scripts, underscores.
        if not quantity.isascii() or "_" in quantity or (price is not None and (not price.isascii() or "_" in price)):
            return self.later(account, instrument, side, quantity, price)
        try:
            size = float(quantity)
            at = None if price is None else float(price)
        except ValueError:
            return self.later(account, instrument, side, quantity, price)
        return self.check(account, instrument, side, size, at)

    cdef int _judge(self, Py_ssize_t account, Py_ssize_t number, double quantity, double price, bint at_mark) except -2:
        """0 for insufficient margin, 1 for allowed, else the bucket's state; -1 for what floats leave open."""
        cdef const Instrument* m = &self.tables.instruments[number]
        cdef Py_ssize_t i, found = -1, k, b = -1
        cdef double held = 0.0, entry, after, size, moved, key, value, wide, own = 0.0, own_maintenance = 0.0
        cdef double own_notional = 0.0, leverage, initial, maintenance, bound, equity, due, health, sizes
        cdef int64_t path
        cdef bint adds
        if price <= 0.0 and not at_mark or not m.mark > 0.0 or not fabs(quantity) > 0.0 or not fabs(quantity) < 1e300:
            return -1
        if at_mark:
            price = m.mark
        elif not price < 1e300:
            return -1
        if not _whole(fabs(quantity), self.steps[number, 0]) or not (at_mark or _whole(price, self.steps[number, 1])):
            return -1
        if self.position_start[account + 1] - self.position_start[account] > _MOST_HELD:
            return -1
        for i in range(self.position_start[account], self.position_start[account + 1]):
            if self.instrument[i] == number:
                if found >= 0:
                    return -1
                found = i
        if found >= 0:
            b = self.bucket[found]
            if self.bucket_instrument[b] >= 0:
                return -1
        else:
            for k in range(self.bucket_start[account], self.bucket_start[account + 1]):
                if self.bucket_instrument[k] < 0 and self.bucket_currency[k] == self.currency[number]:
                    b = k
        if b < 0:
            return -1
        if self.state[b] >= 2:
            return self.state[b]
        if self.state[b] != 0:
            return -1
        entry, leverage = price, NAN
        if found >= 0:
            held, own, own_maintenance = self.quantity[found], self.initial[found], self.maintenance[found]
            own_notional = fabs(held) * m.contract_size * m.unit
            if self.leverage.shape[0]:
                leverage = self.leverage[found]
        after = held + quantity
        adds = fabs(after) > fabs(held) or (held > 0.0) != (after > 0.0)
        if after == 0.0:
            adds = False
        if held != 0.0 and (held > 0.0) == (after > 0.0):
            entry = self.entry[found]
            if fabs(after) > fabs(held):
                if m.inverse:
                    entry = fabs(after) / (fabs(held) / entry + fabs(quantity) / price)
                else:
                    entry = (fabs(held) * entry + fabs(quantity) * price) / fabs(after)
        size = fabs(after) * m.contract_size
        moved = quantity * m.contract_size * ((1.0 / price - m.unit) if m.inverse else (m.unit - price))
        value = size * m.unit
        if m.entry_basis:
            return -1
        key = _key(m, fabs(after), size, value)
        k = _tier(key, self.tables.ceiling, m.first, m.end)
        wide = key * (64 * UNIT)
        if fabs(key - self.tables.tiers[k].cap) <= wide or fabs(key - self.tables.tiers[k].below) <= wide and key > 0.0:
            return -1
        if adds and key > self.tables.tiers[k].cap:
            return -1
        self.scratch[SUPPOSED_MAX_LEVERAGE] = self.max_leverage[k]
        if leverage != leverage:
            leverage = self.max_leverage[k]
        elif adds and not leverage <= self.max_leverage[k] and self.max_leverage[k] == self.max_leverage[k]:
            return -1
        initial = _rate(&m.maintenance, key) if m.curved else self.tables.tiers[k].rate
        maintenance = value * initial
        if self.tables.tiers[k].deduction != 0.0 and key > 0.0:
            maintenance -= self.tables.tiers[k].deduction * (1.0 if m.key == KEY_NOTIONAL else value / key)
        self.scratch[SUPPOSED_QUANTITY] = after
        self.scratch[SUPPOSED_ENTRY] = entry
        self.scratch[SUPPOSED_ENTRY_NOTIONAL] = size / entry if m.inverse else size * entry
        self.scratch[SUPPOSED_MARK] = m.mark
        self.scratch[SUPPOSED_WALLET] = self.wallet[b]
        self.scratch[SUPPOSED_NOTIONAL] = value
        self.scratch[SUPPOSED_PNL] = after * m.contract_size * ((1.0 / entry - m.unit) if m.inverse else (m.unit - entry))
        self.scratch[SUPPOSED_LEVERAGE] = leverage
        self.scratch[SUPPOSED_MAINTENANCE] = maintenance
        self.scratch[SUPPOSED_INITIAL_RATE] = (
            _rate(&m.initial, key) if m.initial_curved else self.tables.initial[k]
        )
        self.scratch[SUPPOSED_MAINTENANCE_RATE] = initial
        _bounded_block(self.rule, self.slots.slots, self.stack, 0, 1, &initial, &bound, &path)
        if not initial - initial == 0.0 or not bound < INFINITY:
            return -1
        equity = self.equity[b] + moved
        due = self.bucket_initial[b] - own + initial
        sizes = 256 * UNIT * (fabs(self.equity[b]) + fabs(moved) + fabs(quantity) * m.contract_size * (
            1.0 / price + m.unit if m.inverse else price + m.unit) + self.bucket_initial[b] + own + fabs(initial))
        sizes += bound + self.equity_doubt[b] + self.maintenance_doubt[b]
        if adds:
            # A bucket's initial margin has no bound at hand: a relative one, far above what sums can lose.
            wide = sizes + 1e-9 * (self.bucket_initial[b] + fabs(initial))
            if fabs(equity - due) <= wide:
                return -1
            if equity < due:
                return 0
        maintenance = self.bucket_maintenance[b] - own_maintenance + maintenance
        health = (self.of_equity * equity + self.of_notional * (self.bucket_notional[b] - own_notional + value)
                  + self.of_maintenance * maintenance + self.constant)
        wide = sizes * (fabs(self.of_equity) + fabs(self.of_maintenance) + fabs(self.of_notional)) + 256 * UNIT * (
            fabs(self.of_notional) * (self.bucket_notional[b] + value) + fabs(self.of_maintenance) * (
                self.bucket_maintenance[b] + own_maintenance + value) + fabs(self.constant))
        if not health > wide or not equity > sizes:
            return -1
        return 1


cdef inline bint _whole(double value, double steps) noexcept nogil:
    """Whether a decimal is certainly a whole number of steps."""
    cdef double count
    if steps == 0.0:
        return True
    if steps > 0.0:
        count = nearbyint(value * steps)
        return count < 1e15 and count / steps == value
    count = nearbyint(value / -steps)
    return count < 1e15 and count * -steps == value
