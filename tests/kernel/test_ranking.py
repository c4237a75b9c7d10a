"""Ranking of packed keys: the order of every score there is, whatever part of it fits beside the row."""

import numpy as np
import pytest

from riskpolicy.kernel import _kernel


def ranked(score, bound=None, *, segments=1, ties=False):
    """Rank by the kernel; return the order, the ranks, and the stretches in doubt."""
    n = len(score)
    bound = np.zeros(n, np.float32) if bound is None else bound.astype(np.float32)
    instrument = (np.arange(n) % segments).astype(np.int32)
    quantity = np.ones(n)
    start = np.r_[0, np.cumsum(np.bincount(2 * instrument, minlength=2 * segments))].astype(np.int64)
    row_bits = max(int(n - 1).bit_length(), 1)
    words, order, rank = np.empty(n, np.uint64), np.empty(n, np.int32), np.empty(n, np.int32)
    _kernel.rank_scatter(score, instrument, quantity, 0, n, row_bits, start[:-1].copy(), words)
    found = _kernel.rank_segments(words, start, np.arange(2 * segments), row_bits, score, bound, ties, order, rank)
    return order, rank, np.array(found).reshape(-1, 2), instrument


def cases():
    rng = np.random.default_rng(5)
    n = 5000
    close = 1 + np.arange(n) * 2.0**-52
    return {
        "spread": rng.normal(size=n) * np.exp(rng.normal(size=n) * 20),
        "equal": np.full(n, 0.37),
        "zeros": np.zeros(n),
        "neighbouring floats, ascending": close,
        "neighbouring floats, shuffled": rng.permutation(close),
        "equal in the upper bits": rng.permutation(1 + np.arange(n) * 2.0**-40),
        "crowded": np.where(rng.random(9000) < 0.6, 0.0, rng.normal(size=9000)),
        "crowded twice": rng.choice([0.0, 5.0, 5.0, 5.0, 7.0], 20000) * np.where(rng.random(20000) < 0.1, 1.5, 1.0),
        "few values": rng.choice([-1.5, 0.0, 2.0**-300, 0.1, 0.1 + 2.0**-56, 7.0, 1e300], n),
        "one": np.array([3.0]),
        "few": rng.normal(size=47),
        "about a thousand": rng.normal(size=1023),
    }


@pytest.mark.parametrize("name", cases())
@pytest.mark.parametrize("segments", [1, 7])
def test_order_is_that_of_the_scores_then_of_the_rows(name, segments):
    score = cases()[name]
    order, rank, _, segment = ranked(score, segments=segments)
    wanted = np.lexsort((np.arange(len(score)), -score, segment))
    assert np.array_equal(order, wanted)
    for s in range(segments):
        of_segment = order[segment[order] == s]
        assert rank[of_segment].tolist() == list(range(1, len(of_segment) + 1))


def test_every_pair_that_touches_is_reported_and_no_certain_one():
    rng = np.random.default_rng(8)
    score = np.sort(rng.choice(np.round(rng.normal(size=400), 3), 3000) * (1 + rng.integers(-3, 4, 3000) * 2.0**-51))
    bound = np.abs(score) * rng.choice([0, 2.0**-52, 2.0**-45, 2.0**-27], 3000)
    order, _, found, _ = ranked(rng.permutation(score), bound)
    score = rng.permutation(score)
    order, _, found, _ = ranked(score, bound)
    low, high = -score - bound.astype(np.float32), -score + bound.astype(np.float32)
    inside = np.zeros(3000, int)
    for number, (first, stop) in enumerate(found, 1):
        assert stop - first > 1
        inside[first:stop] = number
    reach = -np.inf
    for place in range(1, 3000):
        reach = max(reach, high[order[place - 1]])
        row, before = order[place], order[place - 1]
        touches = not low[row] > reach
        certain = touches and bound[row] == 0 == bound[before] and score[row] == score[before]
        if touches and not certain:
            assert inside[place] == inside[place - 1] > 0
        if not touches:
            assert inside[place] == 0 or inside[place] != inside[place - 1]


def test_certain_ties_are_reported_only_where_further_keys_decide():
    score = np.zeros(100)
    assert len(ranked(score)[2]) == 0
    assert ranked(score, ties=True)[2].tolist() == [[0, 100]]
