"""Profiles compared: what the comparison takes of memory, where many items are possible answers and where few are."""

from __future__ import annotations

import numpy as np
import pytest
from memory import peak_over_forecast
from scipy import sparse

from manifold.neighbors import Neighbors, find_neighbors
from manifold.reranking import compare_profiles, profiles, reciprocal, reciprocal_profiles, reciprocal_rerank


def spread(n, width, columns, seed=11):
    """Rows of `width` entries anywhere: hardly two pairs of entries lead to the same answer."""
    rng = np.random.default_rng(seed)
    ids = np.argsort(rng.random((n, columns)), axis=1)[:, :width]
    return sparse.csr_array((rng.random(ids.size), ids.ravel(), np.arange(0, ids.size + 1, width)), shape=(n, columns))


def crowd(n, size):
    """Rows that all hold the columns of one of n / size groups: every pair of entries leads to few answers."""
    rng = np.random.default_rng(13)
    ids = np.arange(n)[:, None] // size * size + np.arange(size)
    values = rng.random((n, size)).astype(np.float32)
    return sparse.csr_array((values.ravel(), ids.ravel(), np.arange(0, ids.size + 1, size)), shape=(n, n))


@pytest.mark.parametrize("measure", ["jaccard", "jensen_shannon", "product"])
@pytest.mark.parametrize(
    "P", [spread(1500, 30, 1500), spread(1500, 12, 1500).astype(np.float32), crowd(3000, 40), crowd(1000, 100)],
    ids=["wide", "narrow", "crowd", "large crowd"],
)  # fmt: skip
def test_the_forecast_covers_the_peak(P, measure, monkeypatch):
    work = lambda: compare_profiles(P, P, k=50, measure=measure)  # noqa: E731
    assert 0.05 < peak_over_forecast(work, monkeypatch, profiles) <= 1  # products of a crowd are few


def test_the_forecast_of_a_reranking_covers_its_peak(monkeypatch):
    """A ring of 6,000 points, whose lists are 30 wide."""
    n = 6000
    steps = np.array([s for m in range(1, 16) for s in (m, -m)])
    ids = (np.arange(n)[:, None] + steps) % n
    similarities = np.broadcast_to(1 - np.abs(steps) / 100 - (steps < 0) / 1000, ids.shape)
    neighbors = Neighbors(ids, similarities, metric="cosine", method="planted")
    assert 0.3 < peak_over_forecast(lambda: reciprocal_rerank(neighbors), monkeypatch, profiles) <= 1


@pytest.mark.parametrize(("k1", "width"), [(7, 30), (20, 20), (20, 60)])
def test_the_forecast_of_reciprocal_profiles_covers_their_peak(k1, width, monkeypatch, rng):
    centres = rng.normal(size=(80, 16))
    X = centres[rng.integers(0, 80, 4000)] + 0.7 * rng.normal(size=(4000, 16))
    neighbors = find_neighbors(X, width)
    work = lambda: reciprocal_profiles(neighbors, k1=k1)  # noqa: E731
    assert 0.4 < peak_over_forecast(work, monkeypatch, reciprocal) <= 1


def test_parts_change_no_answer(monkeypatch):
    P = spread(200, 9, 150)
    whole = compare_profiles(P, P, k=20)
    monkeypatch.setattr(profiles, "_TERMS", 50)
    monkeypatch.setattr(profiles, "_ANSWERS", 30)
    for found, expected in zip(compare_profiles(P, P, k=20), whole, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_what_would_not_fit_is_refused_before_the_work(monkeypatch):
    monkeypatch.setattr("manifold._resources.available_memory", lambda: 1 << 20)
    with pytest.raises(MemoryError, match="50 answers to each of 1500 lists needs about"):
        compare_profiles(spread(1500, 12, 1500), spread(1500, 12, 1500), k=50)
