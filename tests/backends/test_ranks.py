"""Sums over rows of many ranks: one order of summation, whatever the cuts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thread_ranks import ThreadRanks

pytest.importorskip("numba")
from manifold.backends import _numba
from manifold.backends.exchange import Alone
from manifold.backends.ranks import RankBackend, even_cuts

N = 30_001


@pytest.fixture(scope="module", autouse=True)
def superbands_of_three():
    """Small ones, so that small arrays have whole and broken ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_numba, "SUPERBAND", 3)
        yield


def on_ranks(cuts, work):
    ranks = ThreadRanks(len(cuts) - 1)
    backends = [RankBackend(member, np.array(cuts)) for member in ranks.members]
    with ThreadPoolExecutor(len(backends)) as pool:
        return list(pool.map(work, backends))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, N // 2048), min_size=1, max_size=5), st.sampled_from([1, 3, 16, 17]))
def test_sums_are_the_same_on_every_rank_and_in_one_process(places, q):
    cuts = [0, *sorted(2048 * place for place in places), N]
    rng = np.random.default_rng(q)
    x, y, weights = rng.standard_normal((N, q)), rng.standard_normal((N, q)), rng.uniform(0.5, 2, (N, 1))

    def sums(backend):
        own = slice(backend.first, backend.last)
        sizes = backend.column_sizes(x[own], weights[own])
        return np.vstack([backend.column_dots(x[own], y[own]), sizes, backend.axpy(x[own].copy(), y[own], 0.3)])

    whole = sums(RankBackend(Alone(), np.array([0, N])))
    one = np.vstack([_numba.column_dots(x, y), _numba.column_sizes(x, weights), _numba.axpy(x.copy(), y, 0.3)])
    assert np.array_equal(one, whole)
    assert all(np.array_equal(one, each) for each in on_ranks(cuts, sums))


def test_a_sum_is_that_of_superbands():
    sums = np.random.default_rng(3).standard_normal((10, 2)) * 1e8
    by_hand = np.zeros(2)
    for start in range(0, 10, 3):
        part = np.zeros(2)
        for row in sums[start : start + 3]:
            part = part + row
        by_hand = by_hand + part
    assert np.array_equal(_numba.added(sums), by_hand)


def test_not_a_number_is_one_on_every_rank():
    x = np.ones((N, 1))
    x[2, 0] = np.nan
    with np.errstate(invalid="ignore"):
        found = on_ranks([0, 4096, N], lambda b: b.column_sizes(x[b.first : b.last], np.ones((b.last - b.first, 1))))
    assert all(np.isnan(each).all() for each in found)


@pytest.mark.parametrize("cuts", [[0, 100, N], [4096, N, N], [0, 8192, 4096, N], [0, N, N, N, N]], ids=str)
def test_cuts_that_are_none_are_refused(cuts):
    with pytest.raises(ValueError, match="multiples of 2048"):
        RankBackend(ThreadRanks(3).members[0], np.array(cuts))


def test_cuts_are_even():
    assert even_cuts(10 * 2048, 5).tolist() == [0, 4096, 8192, 12288, 16384, 20480]
    assert even_cuts(0, 2).tolist() == [0, 0, 0]
