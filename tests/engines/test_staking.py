"""Stakes: laws of the vault over random lives, and events that move money between accounts and a fund."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskpolicy.engines.core.bind import bind
from riskpolicy.engines.core.events import event_of
from riskpolicy.engines.staking import (
    Stake,
    StakingError,
    Vault,
    bear_loss,
    cancel,
    put_in,
    rebased,
    rebased_stake,
    request,
    settle_revenue,
    stake_event,
    stakes_after,
    withdraw,
    worth,
)
from riskpolicy.errors import SnapshotError
from riskpolicy.snapshot import Snapshot
from riskpolicy.snapshot.write import snapshot_dict
from tests import venue

F = Fraction
steps = st.lists(
    st.tuples(
        st.sampled_from(["stake", "request", "cancel", "withdraw", "gain", "lose", "settle"]),
        st.sampled_from(["A", "B", "C"]),
        st.integers(1, 10**6),
    ),
    max_size=25,
)


@settings(max_examples=300, deadline=None)
@given(steps, st.integers(0, 10**6))
def test_nobody_gets_more_than_is_there_and_shares_add_up(life, seed):
    vault, held, paid_in, paid_out, outside = Vault(seed), dict[str, Stake](), 0, 0, 0
    for do, who, size in life:
        stake, before = held.get(who, Stake()), vault
        try:
            if do == "stake":
                vault, stake = put_in(vault, stake, size)
                paid_in += size
            elif do == "request":
                vault, stake = request(vault, stake, max(1, stake.shares * size // 10**6), F(0))
                # A request fetches at most what it is worth, and a quantum always stays.
                assert stake.value <= max(0, vault.balance - 1)
            elif do == "cancel":
                asked = rebased_stake(stake, rebased(vault).base)
                most = asked.value
                vault, stake = cancel(vault, stake, F(0))
                kept = asked.requested - (asked.shares - stake.shares)
                # What stays of a request is worth no more than when it was made.
                assert worth(kept, vault.total, vault.balance) <= max(
                    most, worth(asked.requested, before.total, before.balance)
                )
            elif do == "withdraw":
                most = stake.value
                vault, stake, paid = withdraw(vault, stake, F(0), F(0))
                assert paid <= most
                paid_out += paid
            elif do == "gain":
                vault = Vault(vault.balance + size, vault.total, vault.staked, vault.base)
                outside += size
            elif do == "settle":
                vault, taken = settle_revenue(
                    vault, size, period=F(3600), yearly=F(10), of_pool=F(1, 10), venue=F(1, 4)
                )
                assert taken <= size
                outside += taken
            else:
                vault, paid = bear_loss(vault, size)
                assert paid == min(size, max(0, before.balance - 1))
                outside -= paid
        except StakingError:
            vault = before
            continue
        held[who] = stake
        assert vault.balance == seed + paid_in - paid_out + outside >= 0
        now = [rebased_stake(s, vault.base) for s in held.values()]
        # Dividing the sum of the shares leaves no less than the sum of the divided shares.
        assert sum(s.shares for s in now) <= vault.staked <= vault.total
        assert sum(worth(s.shares, vault.total, vault.balance) for s in now) <= vault.balance


def test_a_loss_is_borne_by_shares_and_a_gain_since_the_request_is_not_paid():
    vault, a = put_in(Vault(), Stake(), 1000)
    vault, b = put_in(vault, Stake(), 3000)
    vault, a = request(vault, a, 1000, F(0))
    gained, _ = settle_revenue(vault, 400, period=F(3600), yearly=None)
    assert withdraw(gained, a, F(10), F(10))[2] == 1000
    lost, borne = bear_loss(vault, 2000)
    assert borne == 2000
    left, a, paid = withdraw(lost, a, F(10), F(10))
    assert (paid, left.balance, a.shares) == (500, 1500, 0)
    assert worth(b.shares, left.total, left.balance) == 1500


@pytest.mark.parametrize(("now", "gated", "text"), [(9, False, "ends in 1 s"), (10, True, "gated")])
def test_withdrawals_wait_for_the_cooldown_and_the_gate(now, gated, text):
    vault, stake = put_in(Vault(), Stake(), 100)
    vault, stake = request(vault, stake, 50, F(0))
    with pytest.raises(StakingError, match=text):
        withdraw(vault, stake, F(now), F(10), gated=gated)


# 1000 % a year of 1,000,000 are 10,000,000 over 8,760 hours.
@pytest.mark.parametrize(("pool", "taken"), [(10**6, 1141), (11410, 1141), (11400, 1140)])
def test_revenue_is_capped_by_the_pool_and_by_the_year(pool, taken):
    vault = Vault(10**6, 10**6, 10**6)
    after, got = settle_revenue(vault, pool, period=F(3600), yearly=F(10), of_pool=F(1, 10))
    assert (got, after.balance, after.total) == (taken, 10**6 + taken, 10**6)


def test_the_venue_gets_its_part_in_shares_and_all_of_it_without_stakers():
    after, got = settle_revenue(Vault(1000, 1000, 500), 100, period=F(3600), yearly=None, venue=F(1, 2))
    assert (got, after.total, after.staked) == (100, 1050, 500)
    assert settle_revenue(Vault(1000, 1000, 0), 10**9, period=F(3600), yearly=F(1))[1] == 10**9


def snapshot(**more):
    accounts = [{"account": name, "currency": "USDT", "balance": 1000} for name in ("A", "B")]
    funds = [{"fund": "main", "currency": "USDT", "balance": more.pop("balance", 0)}]
    return Snapshot.of({"as_of": "2025-01-01T00:00:00Z", "positions": [], "accounts": accounts, "funds": funds, **more})


def plan():
    made = venue.base()
    made["currencies"] = {"USDT": {"quantum": 0.01}}
    made["funds"] = [
        {"id": "main", "currency": "USDT", "staking": {"cooldown_seconds": 60}},
        {"id": "x", "currency": "USDT"},
    ]
    return venue.policy(made).plan


def after(given, kind, second=0, **values):
    tables = {**snapshot_dict(given), "as_of": f"2025-01-01T00:{second // 60:02}:{second % 60:02}Z"}
    event = event_of({"kind": kind, "fund": "main", "account": "A", **values})
    return stake_event(bind(plan(), Snapshot.of(tables)), event)


def money(given):
    tables = snapshot_dict(given)
    return [float(r["balance"]) for r in (*tables["accounts"], *tables["funds"])]


def test_a_stake_goes_in_and_comes_back_through_the_snapshot():
    staked = after(snapshot(), "stake", amount="400.01")
    assert (staked.account, staked.fund, staked.quanta) == ("A", 0, 40001)
    assert money(staked.snapshot) == [599.99, 1000, 400.01]
    other = after(staked.snapshot, "stake", account="B", amount=100)
    asked = after(other.snapshot, "request_unstake", shares=40001)
    (row,) = [r for r in snapshot_dict(asked.snapshot)["stakes"] if r["account"] == "A"]
    assert row == {
        "fund": "main", "account": "A", "shares": 40001.0, "requested_shares": 40001.0, "requested_value": 400.01,
        "requested_at": "2025-01-01T00:00:00+00:00",
    }  # fmt: skip
    with pytest.raises(SnapshotError, match=r"unstake\): the cooldown ends in 1 s"):
        after(asked.snapshot, "unstake", 59)
    back = after(asked.snapshot, "unstake", 60)
    assert back.quanta == -40001
    assert money(back.snapshot) == [1000, 900, 100]
    rows = {r["account"]: r for r in snapshot_dict(back.snapshot)["stakes"]}
    assert rows["A"] == {"fund": "main", "account": "A", "shares": 0.0}


def test_a_fund_that_has_money_already_is_the_venues():
    staked = after(snapshot(balance=300), "stake", amount=100)
    rows = {r["account"]: r["shares"] for r in snapshot_dict(staked.snapshot)["stakes"]}
    assert rows == {"@main": 30000, "A": 10000}


def test_a_cancelled_request_gives_up_what_it_gained():
    stakes = [
        {"fund": "main", "account": "A", "shares": 10000, "requested_shares": 10000, "requested_value": 100},
        {"fund": "main", "account": "B", "shares": 10000},
    ]
    done = after(snapshot(balance=300, stakes=stakes), "cancel_unstake")
    rows = {r["account"]: r["shares"] for r in snapshot_dict(done.snapshot)["stakes"]}
    # 100 of 300 stay for A: as many shares as 100 buy beside B's 10,000 worth 200.
    assert rows == {"A": 5000, "B": 10000}
    assert done.quanta == 0


def test_shares_are_divided_for_everybody_after_a_great_loss():
    stakes = [{"fund": "main", "account": name, "shares": 10**11} for name in ("A", "B")]
    done = after(snapshot(balance=10000, stakes=stakes), "stake", amount=1)
    rows = {r["account"]: r["shares"] for r in snapshot_dict(done.snapshot)["stakes"]}
    # 2e11 shares of 1e6 quanta: a ratio of 20,000 after the tenth, four digits.
    assert rows == {"A": 10**7 + 2000, "B": 10**7}


def test_order_of_rows_does_not_matter():
    stakes = [
        {"fund": "main", "account": name, "shares": size} for name, size in (("A", 700), ("B", 300), ("@main", 11))
    ]
    both = [after(snapshot(balance=50, stakes=rows), "stake", amount=7).snapshot for rows in (stakes, stakes[::-1])]
    one, other = ({r["account"]: r for r in snapshot_dict(s)["stakes"]} for s in both)
    assert one == other


@pytest.mark.parametrize(
    ("kind", "values", "code"),
    [
        ("stake", {"amount": 1000.01}, "invalid_value"), ("stake", {"amount": "0.001"}, "invalid_value"),
        ("stake", {"amount": 0}, "not_positive"), ("stake", {"amount": "x"}, "wrong_type"),
        ("stake", {"amount": 1, "fund": "mian"}, "unknown_fund"), ("stake", {"amount": 1, "fund": "x"}, "unknown_fund"),
        ("stake", {"amount": 1, "account": "C"}, "unknown_account"),
        ("request_unstake", {"shares": 1}, "invalid_value"),
        ("request_unstake", {"shares": 0.5}, "invalid_value"), ("cancel_unstake", {}, "invalid_value"),
        ("unstake", {}, "invalid_value"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_event(kind, values, code):
    with pytest.raises(SnapshotError, match=rf"event 0 \({kind}\)") as caught:
        after(snapshot(), kind, **values)
    assert caught.value.codes == (code,)


def test_a_gated_fund_pays_nothing():
    stakes = [{"fund": "main", "account": "A", "shares": 100, "requested_shares": 100, "requested_value": 1}]
    given = snapshot(balance=2, stakes=stakes)
    event = event_of({"kind": "unstake", "fund": "main", "account": "A"})
    assert money(stakes_after(bind(plan(), given), event)) == [1001, 1000, 1]
    with pytest.raises(SnapshotError, match="gated"):
        stakes_after(bind(plan(), given), event, gated=True)
    tables = snapshot_dict(given)
    tables["funds"][0]["gated"] = "true"
    with pytest.raises(SnapshotError, match="gated"):
        stakes_after(bind(plan(), Snapshot.of(tables)), event)
