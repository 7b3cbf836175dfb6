"""Verified seeds and verified edges, against their formulas."""

from __future__ import annotations

import numpy as np
import pytest

import manifold as mf
from manifold.matching import verified_seeds
from manifold.neighbors import Neighbors, find_neighbors


def unit(X):
    X = np.float64(X)
    norms = np.linalg.norm(X, axis=-1, keepdims=True)
    return X / np.where(norms > 0, norms, 1)


@pytest.fixture
def data(rng):
    return rng.normal(size=(200, 8)).astype(np.float32), rng.normal(size=(9, 8)).astype(np.float32)


class TestVerified:
    def test_largest_products_stay(self, rng):
        ids = np.array([rng.permutation(50)[:10] for _ in range(7)])
        s, v = rng.uniform(0.1, 1, size=(7, 10)), rng.integers(1, 60, size=(7, 10))
        Y = verified_seeds(ids, s, v, n_nodes=50, n_seeds=4).toarray()
        assert ((Y > 0).sum(axis=0) == 4).all()
        for j in range(7):
            y = v[j] / v[j].max() * s[j]
            best = np.argsort(-y)[:4]
            np.testing.assert_allclose(Y[ids[j, best], j], y[best])

    def test_falls_back_on_the_verification(self):
        ids, v = [[3, 1, 2], [0, 1, -1]], [[8, 4, 2], [0, 0, 9]]
        Y = verified_seeds(ids, [[-0.1, 0.0, -0.3], [0.5, 0.4, 0.3]], v, n_nodes=4, n_seeds=2).toarray()
        assert Y[:, 0].tolist() == [0, 0.5, 0, 1]  # no product is positive: v / max v, the two largest
        assert not Y[:, 1].any()  # nothing was verified

    def test_a_verified_seed_starts_the_diffusion(self, data):
        X, _ = data
        graph = mf.build_graph(X, 8)
        seeds = verified_seeds([[5, 9]], [[0.9, 0.8]], [[0, 30]], n_nodes=200)
        scores = mf.diffuse(graph, seeds, filter=mf.Diffusion(0.5)).scores[:, 0]
        alone = mf.diffuse(graph, 0.8 * np.eye(200)[:, [9]], filter=mf.Diffusion(0.5)).scores[:, 0]
        np.testing.assert_allclose(scores, alone, atol=1e-5)

    def test_bad_input(self):
        with pytest.raises(ValueError, match="must share"):
            verified_seeds([[1, 2]], [[0.5]], [[1, 1]], n_nodes=3)
        with pytest.raises(ValueError, match="twice"):
            verified_seeds([[1, 1]], [[0.5, 0.4]], [[1, 1]], n_nodes=3)
        with pytest.raises(ValueError, match="negative"):
            verified_seeds([[1, 2]], [[0.5, 0.4]], [[1, -1]], n_nodes=3)
        with pytest.raises(ValueError, match=r"lie in -1\.\.1"):
            verified_seeds([[1, 2]], [[0.5, 0.4]], [[1, 1]], n_nodes=2)


class TestVerifiedEdges:
    def test_scores_take_the_place_of_similarities(self, data):
        X, _ = data
        found = find_neighbors(X, 8)
        pair = lambda i, j: ((np.minimum(i, j) * 7919 + np.maximum(i, j) * 104729) % 61).astype(float)  # noqa: E731
        inliers = pair(np.arange(200)[:, None], found.indices.astype(int))
        given = found.with_similarities(inliers)
        W = mf.graph_from_neighbors(given, gamma=1.0, bridge=0).affinity.toarray()
        listed = np.zeros((200, 200), bool)
        np.put_along_axis(listed, found.indices.astype(int), True, axis=1)
        i, j = np.indices((200, 200))
        expected = np.where(listed & listed.T, pair(i, j), 0) / inliers.max()
        np.testing.assert_allclose(W, expected, atol=1e-6)

    def test_a_mask_removes_edges_and_changes_no_other(self, data):
        X, _ = data
        found = find_neighbors(X, 8)
        odd = (found.indices + np.arange(200)[:, None]) % 2 == 1
        masked = found.with_similarities(np.where(odd, -np.inf, found.similarities), metric="cosine")
        W = mf.graph_from_neighbors(found, bridge=0).affinity.toarray()
        i, j = np.indices((200, 200))
        expected = np.where((i + j) % 2 == 1, 0, W)
        np.testing.assert_array_equal(mf.graph_from_neighbors(masked, bridge=0).affinity.toarray(), expected)

    def test_precomputed_scores_are_the_same_graph(self, data):
        """A matrix of scores, as an aggregated match kernel gives it, stands for the features it comes from."""
        X = unit(data[0])
        a, b = mf.build_graph(X, 8), mf.build_graph(X @ X.T, 8, metric="precomputed", gamma=3)
        A, B = a.affinity.toarray(), b.affinity.toarray()
        np.testing.assert_array_equal(A > 0, B > 0)
        ratio = A[A > 0] / B[A > 0]  # weights are relative to the largest, which S does not see
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)

    def test_bad_input(self):
        pair = Neighbors([[1], [0]], [[0.9], [0.9]], "cosine", "by hand")
        with pytest.raises(ValueError, match=r"one a pair, \(2, 1\)"):
            pair.with_similarities([0.5, 0.5])
        with pytest.raises(ValueError, match="NaN or infinity"):
            pair.with_similarities([[np.nan], [0.5]])
