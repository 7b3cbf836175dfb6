"""Covers: by hand, against all subsets, and bounds that no cover undercuts."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import sparse

import manifold as mf
from manifold import discovery
from manifold.errors import DatasetNotFoundError


def ring(n):
    return sum(np.eye(n, k=k) for k in (1, -1, n - 1, 1 - n))


LINE = np.eye(5, k=1) + np.eye(5, k=-1)


@pytest.mark.parametrize(("K", "fewest", "bound"), [(LINE, 2, 2), (ring(7), 3, 7 / 3), (ring(9), 3, 3)])
def test_lines_and_rings(K, fewest, bound):
    found = discovery.cover(K, 1.0, method="lp")
    assert len(found) == fewest
    assert found.lower_bound == pytest.approx(bound, abs=1e-9)
    assert len(discovery.cover(LINE, 1.0)) == 2
    assert discovery.cover(LINE, 1.0).lower_bound == 2


def fewest_of(K):
    n = len(K)
    return next(
        size
        for size in range(n + 1)
        if any(K[list(chosen)].any(axis=0).all() for chosen in combinations(range(n), size))
    )


@pytest.mark.parametrize("method", ["greedy", "lp"])
@pytest.mark.parametrize("seed", range(15))
def test_every_item_is_covered_by_no_more_than_it_takes(method, seed):
    rng = np.random.default_rng([5, seed])
    n = int(rng.integers(1, 12))
    S = rng.normal(size=(n, n))
    threshold = float(rng.normal())
    K = (np.maximum(S, S.T) - threshold >= 0) | np.eye(n, dtype=bool)
    found = discovery.cover(S, threshold, method=method)
    members = found.members.toarray()
    np.testing.assert_array_equal(members, K[found.centres])
    assert members.any(axis=0).all()
    for place in range(len(found)):  # minimal: without any one of them some item is not covered
        assert not np.delete(members, place, axis=0).any(axis=0).all()
    fewest = fewest_of(K)
    assert found.lower_bound <= fewest + 1e-9 <= len(found) + 1e-9
    assert len(found) <= (1 + np.log(K.sum(axis=1).max())) * fewest
    labels = found.labels
    assert all(members[label, i] for i, label in enumerate(labels))
    assert (np.diff([found.of(j).size for j in range(len(found))]) <= 0).all()


def test_lists_sparse_matrices_and_distances_are_one():
    X, _ = mf.datasets.digits()
    X = X[:150].astype(np.float64)
    near = mf.find_neighbors(X, 149)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    # of the float32 similarities that the lists hold, so that none stands on the other side of the threshold
    dense = near.to_scipy().toarray() + np.eye(150)
    for given in (near, near.to_scipy(), dense, sparse.coo_array(dense)):
        assert discovery.cover(given, 0.9).centres.tolist() == discovery.cover(dense, 0.9).centres.tolist()
    assert abs(dense - unit @ unit.T).max() < 1e-6
    far = np.array([0.0, 1, 1, 5, 9])
    distances = abs(far[:, None] - far)
    assert sorted(map(sorted, (discovery.cover(-distances, -1.0).of(j).tolist() for j in range(3)))) == [
        [0, 1, 2],
        [3],
        [4],
    ]
    assert len(discovery.cover(sparse.csr_array((3, 3)), 0.5)) == 3
    assert len(discovery.cover(np.zeros((0, 0)), 0.5, method="lp")) == 0


def test_groceries():
    """800 photos at cosine .7: 124 centres by the relaxation, 131 greedily, not under 123.3."""
    try:
        X = mf.datasets.load("grocery").features[:800]
    except DatasetNotFoundError as error:
        pytest.skip(str(error))
    near = mf.find_neighbors(X, 799)
    lp, greedy = (discovery.cover(near, 0.7, method=method) for method in ("lp", "greedy"))
    assert lp.lower_bound <= len(lp) <= 1.05 * lp.lower_bound + 1
    assert len(lp) <= len(greedy) <= 1.15 * lp.lower_bound
    assert greedy.lower_bound <= lp.lower_bound + 1e-6


def test_what_is_refused():
    with pytest.raises(ValueError, match="method must be one of"):
        discovery.cover(LINE, 1.0, method="exact")
    with pytest.raises(ValueError, match="square"):
        discovery.cover(LINE[:3], 1.0)
    with pytest.raises(ValueError, match="threshold must be a number"):
        discovery.cover(LINE, np.nan)
    with pytest.raises(ValueError, match="NaN"):
        discovery.cover(np.where(LINE > 0, np.nan, 0), 1.0)
