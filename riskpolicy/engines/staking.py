"""Stakes in a fund: shares that bear its losses, come back after a cooldown, and gain nothing while they wait.

Everything is whole: money in quanta, shares as the vault counts them. State in, state out. Every division rounds down,
in favour of who stays. Source: Drift protocol v2, insurance fund.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from riskpolicy.engines.core.bound import Bound
from riskpolicy.engines.core.changes import account_code
from riskpolicy.engines.core.events import Event
from riskpolicy.engines.core.funds import fund_number, fund_row
from riskpolicy.engines.core.standing import instant_of
from riskpolicy.errors import Finding, SnapshotError, one_of, suggestion
from riskpolicy.numbers import NumberError, exact, parse_decimal
from riskpolicy.plan.plan import Fund
from riskpolicy.snapshot.columns import Ids
from riskpolicy.snapshot.edit import with_numbers, with_row
from riskpolicy.snapshot.snapshot import Snapshot

#: Seconds of the year that revenue caps count.
YEAR = Fraction(365 * 86400)


class StakingError(ValueError):
    """A request that the vault refuses; the text says why."""


@dataclass(frozen=True, slots=True)
class Vault:
    """A fund with stakes: its balance in quanta, all shares, and those of stakers; the rest are the venue's.

    `base` counts the tens that shares were divided by when the balance had fallen far below them.
    """

    balance: int = 0
    total: int = 0
    staked: int = 0
    base: int = 0


@dataclass(frozen=True, slots=True)
class Stake:
    """One staker's shares; of them `requested` were asked back, worth `value` quanta then, at an instant in seconds."""

    shares: int = 0
    requested: int = 0
    value: int = 0
    at: Fraction = Fraction(0)
    base: int = 0


def shares_for(amount: int, total: int, balance: int) -> int:
    """Return the shares that an amount is worth, rounded down; of an empty vault without shares, one a quantum."""
    if balance > 0:
        return amount * total // balance
    if total:
        raise StakingError("the fund is empty while others hold shares of it")
    return amount


def worth(shares: int, total: int, balance: int) -> int:
    """Return what shares are worth in quanta, rounded down."""
    if shares > total:
        raise StakingError(f"{shares} shares are more than all {total}")
    return balance * shares // total if total else 0


def rebase_exponent(total: int, balance: int) -> int:
    """Return the tens by which shares are divided where a balance (above zero) has fallen below them.

    The whole decimal logarithm of total / 10 / balance, each division rounded down; 0 below ten.
    """
    return max(0, len(str(total // 10 // balance)) - 1)


def rebased(vault: Vault) -> Vault:
    """Return the vault with as few digits of shares as its balance needs; what has no shares at all is the venue's."""
    if vault.balance and vault.balance < vault.total:
        tens = rebase_exponent(vault.total, vault.balance)
        by = 10**tens
        vault = replace(vault, total=vault.total // by, staked=vault.staked // by, base=vault.base + tens)
    if vault.balance and not vault.total:
        vault = replace(vault, total=vault.balance)
    return vault


def rebased_stake(stake: Stake, base: int) -> Stake:
    """Return a stake in shares of the vault's base."""
    by = 10 ** (base - stake.base)
    return replace(stake, shares=stake.shares // by, requested=stake.requested // by, base=base)


def put_in(vault: Vault, stake: Stake, amount: int) -> tuple[Vault, Stake]:
    """Return vault and stake after an amount (above zero) is staked.

    StakingError where the fund is empty while others hold shares: they would take a part of it.
    """
    if amount <= 0:
        raise StakingError("a stake is above zero")
    if vault.balance == 0 and vault.total != 0:
        raise StakingError("the fund is empty while others hold shares of it")
    vault = rebased(vault)
    stake = rebased_stake(stake, vault.base)
    new = shares_for(amount, vault.total, vault.balance)
    grown = replace(vault, balance=vault.balance + amount, total=vault.total + new, staked=vault.staked + new)
    return grown, replace(stake, shares=stake.shares + new)


def request(vault: Vault, stake: Stake, shares: int, now: Fraction) -> tuple[Vault, Stake]:
    """Return vault and stake after shares are asked back: their value now is the most that they will fetch.

    One quantum always stays in the vault. A request replaces the one before. StakingError for more than the stake has.
    """
    if shares <= 0:
        raise StakingError("at least one share is asked back")
    vault = rebased(vault)
    stake = rebased_stake(replace(stake, requested=shares), vault.base)
    if stake.requested > stake.shares:
        raise StakingError(f"{stake.requested} shares are asked back, and the stake has {stake.shares}")
    value = min(worth(stake.requested, vault.total, vault.balance), max(0, vault.balance - 1))
    return vault, replace(stake, value=value, at=now)


def forfeited(vault: Vault, stake: Stake) -> int:
    """Return the shares that a request has gained since it was made, which cancelling gives up; 0 after a loss."""
    if worth(stake.requested, vault.total, vault.balance) <= stake.value:
        return 0
    kept = shares_for(stake.value, vault.total - stake.requested, vault.balance - stake.value)
    if kept > stake.requested:
        raise StakingError("a cancelled request would have more shares than it asked back")
    return stake.requested - kept


def cancel(vault: Vault, stake: Stake, now: Fraction) -> tuple[Vault, Stake]:
    """Return vault and stake after a request is taken back; what its shares gained since is left to the others."""
    vault = rebased(vault)
    stake = rebased_stake(stake, vault.base)
    if stake.requested == 0:
        raise StakingError("nothing was asked back")
    lost = forfeited(vault, stake)
    less = replace(vault, total=vault.total - lost, staked=vault.staked - lost)
    return less, replace(stake, shares=stake.shares - lost, requested=0, value=0, at=now)


def withdraw(
    vault: Vault, stake: Stake, now: Fraction, cooldown: Fraction, *, gated: bool = False
) -> tuple[Vault, Stake, int]:
    """Return vault, stake and what is paid for a request: the lesser of its value then and now.

    Losses since the request are borne, gains are left to the others. StakingError before the cooldown is over (at its
    end it may go: now - at >= cooldown), while the fund is gated, and without a request.
    """
    if gated:
        raise StakingError("withdrawals are gated")
    if now - stake.at < cooldown:
        raise StakingError(f"the cooldown ends in {float(cooldown - now + stake.at):g} s")
    vault = rebased(vault)
    stake = rebased_stake(stake, vault.base)
    if stake.requested == 0:
        raise StakingError("nothing was asked back")
    paid = min(worth(stake.requested, vault.total, vault.balance), stake.value)
    left = Vault(vault.balance - paid, vault.total - stake.requested, vault.staked - stake.requested, vault.base)
    return left, replace(stake, shares=stake.shares - stake.requested, requested=0, value=0, at=now), paid


def venue_withdraw(vault: Vault, shares: int) -> tuple[Vault, int]:
    """Return the vault and what is paid for shares of the venue's own; StakingError for more than it has."""
    vault = rebased(vault)
    if shares > vault.total - vault.staked:
        raise StakingError(f"the venue has {vault.total - vault.staked} shares, not {shares}")
    paid = worth(shares, vault.total, vault.balance)
    return replace(vault, balance=vault.balance - paid, total=vault.total - shares), paid


def venue_transfer(vault: Vault, stake: Stake, shares: int) -> tuple[Vault, Stake, int]:
    """Return the vault, a stake that the venue gives shares of its own to, and what they are worth."""
    vault = rebased(vault)
    stake = rebased_stake(stake, vault.base)
    if shares > vault.total - vault.staked:
        raise StakingError(f"the venue has {vault.total - vault.staked} shares, not {shares}")
    given = replace(stake, shares=stake.shares + shares)
    return replace(vault, staked=vault.staked + shares), given, worth(shares, vault.total, vault.balance)


def settle_revenue(
    vault: Vault,
    pool: int,
    *,
    period: Fraction,
    yearly: Fraction | None,
    of_pool: Fraction = Fraction(1),
    venue: Fraction = Fraction(0),
) -> tuple[Vault, int]:
    """Return the vault after revenue is settled into it, and how much: what it does not take stays in the pool.

    While there are stakers it takes at most `of_pool` of the pool and, with a cap `yearly`, that part of its balance
    over the periods (seconds) of a year, each division rounded down. The `venue` gets its part in shares of its own, at
    the balance before.
    """
    amount = pool
    if vault.staked > 0:
        amount = min(amount, int(of_pool * pool))
        if yearly is not None:
            amount = min(amount, int(yearly * vault.balance) // max(1, int(YEAR // period)))
    own = shares_for(int(amount * venue), vault.total, vault.balance) if venue else 0
    return replace(vault, balance=vault.balance + amount, total=vault.total + own), amount


def bear_loss(vault: Vault, loss: int, most: int | None = None) -> tuple[Vault, int]:
    """Return the vault after a loss and what it bore: at most `most`, and one quantum always stays."""
    paid = max(0, min(loss, vault.balance - 1, loss if most is None else most))
    return replace(vault, balance=vault.balance - paid), paid


@dataclass(frozen=True, slots=True)
class Staked:
    """A snapshot after an event of staking: quanta that went from the account into the fund, below zero out of it."""

    snapshot: Snapshot
    account: str
    fund: int
    quanta: int


def stake_event(bound: Bound, event: Event, *, gated: bool = False) -> Staked:
    """Apply an event of staking to a snapshot at its instant: stake, request_unstake, cancel_unstake or unstake.

    Money moves between the account's balance and the fund's; shares are in the table `stakes`, those of the venue
    itself under `@` and the fund's id. Nothing is withdrawn while `gated`, or while the fund's column `gated` says so.
    SnapshotError for a fund without staking or balance, for an amount that is not there or not whole, and for what the
    vault refuses.
    """
    return _Staking(bound, event, gated).applied()


def stakes_after(bound: Bound, event: Event, *, gated: bool = False) -> Snapshot:
    """Return the snapshot after an event of staking, as `stake_event` has it."""
    return stake_event(bound, event, gated=gated).snapshot


class _Staking:
    """One event of staking: the vault read from the snapshot, changed, and written back."""

    def __init__(self, bound: Bound, event: Event, gated: bool) -> None:
        self.bound = bound
        self.event = event
        self.gated = gated
        self.snapshot = bound.snapshot
        self.number, self.fund = self._fund()
        self.row = fund_row(bound, self.number)
        self.currency = bound.plan.currencies[self.fund.currency]
        self.quantum = bound.plan.requirements.quantum[self.fund.currency]
        self.account = str(event.values["account"])
        self.rows = self._rows()
        self.now = instant_of(bound.snapshot) or Fraction(0)

    def applied(self) -> Staked:
        """Return the snapshot after the event."""
        venue = f"@{self.fund.id}"
        stakes = {name: self._stake(row) for name, row in self.rows.items()}
        balance = fund_number(self.bound, self.number, "fund_balance")
        if balance is None:
            hint = f"add a row to `funds`: fund {self.fund.id}, its balance"
            raise self._fault("missing_value", f"the snapshot has no balance of fund `{self.fund.id}`", hint)
        staked = sum(stake.shares for name, stake in stakes.items() if name != venue)
        total = staked + stakes.get(venue, Stake()).shares
        before = Vault(int(balance // self.quantum), total, staked)
        try:
            vault, stake = self._changed(before, stakes.get(self.account, Stake()))
        except StakingError as error:
            raise self._fault("invalid_value", str(error)) from None
        moved = vault.balance - before.balance
        if moved:
            self._move(moved, balance)
        after = {name: rebased_stake(other, vault.base) for name, other in stakes.items()}
        after[self.account] = stake
        rest = vault.total - sum(other.shares for name, other in after.items() if name != venue)
        if rest or venue in after:
            # What shares lose in being divided is the venue's.
            after[venue] = Stake(rest, base=vault.base)
        for name in sorted(after):
            if after[name] != stakes.get(name):
                self._write(name, after[name])
        return Staked(self.snapshot, self.account, self.number, moved)

    def _changed(self, vault: Vault, stake: Stake) -> tuple[Vault, Stake]:
        values, now = self.event.values, self.now
        if self.event.kind == "stake":
            return put_in(vault, stake, self._whole("amount", self.quantum))
        if self.event.kind == "request_unstake":
            return request(vault, stake, self._whole("shares", Fraction(1)), now)
        if self.event.kind == "cancel_unstake":
            return cancel(vault, stake, now)
        if self.event.kind != "unstake":
            raise ValueError(f"`{self.event.kind}` of {values} is no event of staking")
        assert self.fund.staking is not None
        gated = self.gated or self.bound.snapshot.choices("funds", "gated").word(self.row) == "true"
        vault, stake, _ = withdraw(vault, stake, now, self.fund.staking.cooldown, gated=gated)
        return vault, stake

    def _fund(self) -> tuple[int, Fund]:
        name, funds = str(self.event.values["fund"]), self.bound.plan.funds
        number = next((k for k, f in enumerate(funds) if f.id == name), None)
        if number is None:
            known = [f.id for f in funds if f.staking is not None]
            hint = suggestion(name, known) or f"funds with staking: {one_of(known)}"
            raise self._fault("unknown_fund", f"the ruleset has no fund `{name}`", hint)
        if funds[number].staking is None:
            raise self._fault("unknown_fund", f"nobody stakes in fund `{name}`", "add `staking` to the fund")
        return number, funds[number]

    def _rows(self) -> dict[str, int]:
        """Return the rows of the fund's stakes, by account."""
        funds, accounts = (self.snapshot.tables["stakes"].get(name) for name in ("fund", "account"))
        if not isinstance(funds, Ids) or not isinstance(accounts, Ids):
            return {}
        rows = (row for row in range(len(funds)) if str(funds.label(row)) == self.fund.id)
        return {str(accounts.label(row)): row for row in rows}

    def _stake(self, row: int) -> Stake:
        def cell(name: str) -> Fraction:
            column = self.snapshot.numbers("stakes", name)
            return (None if column is None else column.exact(row)) or Fraction(0)

        shares, requested, value = cell("shares"), cell("requested_shares"), cell("requested_value") / self.quantum
        if any(x.denominator != 1 for x in (shares, requested)):
            raise self._fault(
                "invalid_value", f"stakes[{row}]: shares are not whole", "shares are counted, not divided"
            )
        return Stake(int(shares), int(requested), int(value), cell("requested_at"))

    def _whole(self, key: str, unit: Fraction) -> int:
        given = self.event.values[key]
        try:
            value = exact(parse_decimal(given) if isinstance(given, str) else given) / unit
        except (NumberError, TypeError, ValueError, OverflowError):
            raise self._fault("wrong_type", f"`{key}`: `{given}` is not a number") from None
        if value <= 0:
            raise self._fault("not_positive", f"`{key}`: `{given}` is no number above zero")
        if value.denominator != 1:
            what = "shares" if unit == 1 else f"quanta of {self.currency}"
            raise self._fault("invalid_value", f"`{key}`: {given} is no whole number of {what}")
        return int(value)

    def _move(self, quanta: int, balance: Fraction) -> None:
        """Take quanta out of the account's balance and put them into the fund."""
        code, named = (
            account_code(self.bound, self.event.values["account"]),
            self.snapshot.tables["accounts"]["currency"],
        )
        owners, given = self.snapshot.ids("accounts", "account").codes, self.snapshot.numbers("accounts", "balance")
        assert isinstance(named, Ids)
        rows = [r for r in range(len(named)) if owners[r] == code and str(named.label(r)) == self.currency]
        has = None if not rows or given is None else given.exact(rows[0])
        if has is None:
            message = f"no balance of `{self.account}` in {self.currency}"
            raise self._fault("unknown_account", message, "add a row to `accounts`, 0 if there is none")
        if has < quanta * self.quantum:
            raise self._fault(
                "invalid_value", f"`{self.account}` has {float(has):g} {self.currency}, less than it stakes"
            )
        cells = {rows[0]: has - quanta * self.quantum}
        self.snapshot = with_numbers(self.snapshot, "accounts", "balance", cells)
        self.snapshot = with_numbers(self.snapshot, "funds", "balance", {self.row: balance + quanta * self.quantum})

    def _write(self, name: str, stake: Stake) -> None:
        waiting = stake.requested > 0
        numbers = {
            "shares": Fraction(stake.shares),
            "requested_shares": Fraction(stake.requested) if waiting else None,
            "requested_value": stake.value * self.quantum if waiting else None,
            "requested_at": stake.at if waiting else None,
        }
        if name not in self.rows:
            cells = {column: number for column, number in numbers.items() if number is not None}
            self.snapshot = with_row(self.snapshot, "stakes", {"fund": self.fund.id, "account": name, **cells})
            return
        for column, number in numbers.items():
            if number is not None or column in self.snapshot.tables["stakes"]:
                self.snapshot = with_numbers(self.snapshot, "stakes", column, {self.rows[name]: number})

    def _fault(self, code: str, message: str, hint: str = "") -> SnapshotError:
        return SnapshotError(Finding(code, f"event {self.event.sequence} ({self.event.kind}): {message}", hint))
