"""Covers: by hand, against all subsets, and bounds that no cover undercuts."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import sparse

import manifold as mf
from manifold import discovery, metrics
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
    """Photos at cosine .7, where the relaxation is nearly whole."""
    try:
        X = mf.datasets.load("grocery").features[:400]
    except DatasetNotFoundError as error:
        pytest.skip(str(error))
    near = mf.find_neighbors(X, 399)
    lp, greedy = (discovery.cover(near, 0.7, method=method) for method in ("lp", "greedy"))
    assert lp.lower_bound <= len(lp) <= 1.05 * lp.lower_bound + 1
    assert len(lp) <= len(greedy) <= 1.15 * lp.lower_bound
    assert greedy.lower_bound <= lp.lower_bound + 1e-6


# ---- in two steps: places first, then what they look like


def test_places_are_those_of_great_circles(rng):
    """Against the haversine formula, poles and the date line among them."""
    degrees = np.column_stack([rng.uniform(-90, 90, 120), rng.uniform(-180, 180, 120)])
    degrees[:6] = [90, 0], [90, 120], [-90, 7], [10, 179.999], [10, -179.999], [10, 180]
    latitude, longitude = np.radians(degrees).T
    half = np.sin((latitude[:, None] - latitude) / 2) ** 2
    half += np.cos(latitude[:, None]) * np.cos(latitude) * np.sin((longitude[:, None] - longitude) / 2) ** 2
    kilometres = 2 * 6371.0088 * np.arcsin(np.sqrt(np.minimum(half, 1)))
    for radius in (1.0, 2000.0, 9000.0, 30000.0):
        found = discovery.cover_places(degrees, radius)
        assert found.centres.tolist() == discovery.cover(-kilometres, -radius).centres.tolist()
        np.testing.assert_array_equal(found.members.toarray(), kilometres[found.centres] <= radius)
    assert len(discovery.cover_places(np.empty((0, 2)), 1.0)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_views_within_places(seed):
    """The second step sees pairs of one ball alone: as if all others had no similarity."""
    rng = np.random.default_rng([11, seed])
    S, where = rng.normal(size=(30, 30)), rng.uniform(0, 0.3, (30, 2))
    S = np.maximum(S, S.T)
    places = discovery.cover_places(where, 8.0)
    together = (places.members.T.astype(int) @ places.members.astype(int)).toarray() > 0
    np.testing.assert_array_equal(places.pairs(), np.argwhere(np.triu(together, 1)))
    found = discovery.cover(S, 0.5, within=places)
    assert found.centres.tolist() == discovery.cover(np.where(together, S, -9), 0.5).centres.tolist()
    assert not (found.members.toarray() & ~together[found.centres]).any()
    some = sparse.coo_array((S[tuple(places.pairs().T)], tuple(places.pairs().T)), shape=S.shape)
    assert discovery.cover(some, 0.5).centres.tolist() == found.centres.tolist()


def test_scene_maps_bring_their_members(rng):
    X = rng.normal(size=(40, 6))
    groups = discovery.cluster(mf.build_graph(X, 4), hops=1)
    groups.labels[[3, 8]] = -1
    maps = discovery.scene_maps(X, groups)
    assert len(maps) == len(groups) + 2  # those in no cluster stand for themselves
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    inside = [np.flatnonzero(groups.labels == j) for j in range(len(groups))] + [np.array([3]), np.array([8])]
    for j, members in enumerate(inside):
        mean = unit[members].sum(axis=0)
        np.testing.assert_allclose(maps.vectors[j], mean / np.linalg.norm(mean), atol=1e-6)
        listed = maps.members.indices[maps.members.indptr[j] : maps.members.indptr[j + 1]]
        np.testing.assert_array_equal(np.sort(listed), members)
        assert (np.diff(unit[listed] @ maps.vectors[j]) <= 1e-6).all()
    ids, scores = maps.expand(([[2, -1], [0, 1]], [[0.5, -np.inf], [0.4, 0.3]]), k=40)
    assert set(ids[0].tolist()) == {*inside[2].tolist(), -1}
    assert ids[1, ids[1] >= 0].tolist() == [
        *maps.members[[0]].indices.tolist(),
        *maps.members[[1]].indices.tolist(),
    ]
    assert set(scores[1, ids[1] >= 0].tolist()) == {0.4, 0.3}
    assert np.isneginf(scores[ids < 0]).all()


def test_scene_maps_find_more_digits_than_plain_search():
    X, y = mf.datasets.digits()
    base, asked = np.arange(400, 1797), np.arange(0, 400, 4)
    maps = discovery.scene_maps(X[base], discovery.cluster(mf.build_graph(X[base])))
    cosines = np.asarray(X[asked], float) @ maps.vectors.T
    order = np.argsort(-cosines, axis=1)
    ids, scores = maps.expand((order, np.take_along_axis(cosines, order, axis=1)), k=base.size)
    assert (np.sort(ids, axis=1) == np.arange(base.size)).all()
    assert (np.diff(scores, axis=1) <= 0).all()
    right = [np.flatnonzero(y[base] == y[q]) for q in asked]
    unit = X / np.linalg.norm(np.asarray(X, float), axis=1, keepdims=True)
    plain = metrics.mean_average_precision(np.argsort(-unit[asked] @ unit[base].T, axis=1), right)
    assert metrics.mean_average_precision(ids, right) > plain + 0.08


def test_what_is_refused():
    with pytest.raises(ValueError, match="within covers 5 items"):
        discovery.cover(ring(7), 1.0, within=discovery.cover(LINE, 1.0))
    with pytest.raises(ValueError, match=r"latitude in -90\.\.90, then longitude"):
        discovery.cover_places([[23.7, 37.9], [120.0, 30.0]], 2.0)
    with pytest.raises(ValueError, match="leave items without a position out"):
        discovery.cover_places([[np.nan, 3.0]], 2.0)
    with pytest.raises(ValueError, match="radius must be above 0 km"):
        discovery.cover_places([[1.0, 3.0]], 0)
    maps = discovery.scene_maps(np.eye(5), discovery.cover(LINE, 1.0))
    with pytest.raises(ValueError, match=r"maps must lie in 0\.\.1"):
        maps.expand(([2], [0.1]), k=3)
    with pytest.raises(ValueError, match="lists of one shape"):
        maps.expand(([1, 0], [0.1]), k=3)
    with pytest.raises(ValueError, match="groups are of 5 items"):
        discovery.scene_maps(np.eye(4), discovery.cover(LINE, 1.0))
    with pytest.raises(ValueError, match="method must be one of"):
        discovery.cover(LINE, 1.0, method="exact")
    with pytest.raises(ValueError, match="square"):
        discovery.cover(LINE[:3], 1.0)
    with pytest.raises(ValueError, match="threshold must be a number"):
        discovery.cover(LINE, np.nan)
    with pytest.raises(ValueError, match="NaN"):
        discovery.cover(np.where(LINE > 0, np.nan, 0), 1.0)
