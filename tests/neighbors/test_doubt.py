"""One point far from all others: lists stay exact, and only what it makes doubtful is looked at again."""

from __future__ import annotations

import numpy as np
import pytest

from manifold.backends import get_backend
from manifold.neighbors import Exact, _exact
from manifold.neighbors.points import PointSet


def with_a_far_one(far, n=1500, d=24):
    X = np.random.default_rng(41).standard_normal((n, d)).astype(np.float32)
    X[7], X[7, 0] = 0, far
    return X


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("far", [30.0, 1e6, 1e18])
@pytest.mark.parametrize("metric", ["euclidean", "inner_product"])
def test_one_far_point_changes_no_list(metric, far, compiled, monkeypatch):
    X = with_a_far_one(far)
    monkeypatch.setattr("manifold.neighbors._all_pairs._WORTH", 0 if compiled else 1 << 60)
    compared = []
    whole = _exact.rank_candidates

    def counted(candidates, *args, **kwargs):
        compared.append(candidates.size)
        return whole(candidates, *args, **kwargs)

    monkeypatch.setattr(_exact, "rank_candidates", counted)
    found = Exact().search(PointSet(X, metric), 10, backend=get_backend("scipy"))
    wide = X.astype(np.float64)
    exact = wide @ wide.T if metric == "inner_product" else -((wide[:, None] - wide) ** 2).sum(axis=2)
    np.fill_diagonal(exact, -np.inf)
    kth = np.sort(exact, axis=1)[:, -10]
    taken = np.take_along_axis(exact, found.indices.astype(np.int64), axis=1)
    assert (taken.min(axis=1) >= kth - 1e-6 * np.abs(kth)).all()
    # before, each of 1,500 doubtful lists met all others: 2,250,000 pairs
    assert sum(compared) < 100 * len(X)


def test_the_centre_is_among_the_points():
    X = with_a_far_one(1e18)
    assert np.linalg.norm(PointSet(X, "euclidean").centre) < 3
    plain = with_a_far_one(1.0)
    np.testing.assert_array_equal(
        PointSet(plain, "euclidean").centre, plain.mean(axis=0, dtype=np.float64).astype("f4")
    )
