"""Expansion, against its formulas in float64."""

from __future__ import annotations

import numpy as np
import pytest

import manifold as mf
from manifold.metrics import mean_average_precision
from manifold.neighbors import find_neighbors
from manifold.reranking import augment_database, expand_queries


def unit(X):
    X = np.float64(X)
    norms = np.linalg.norm(X, axis=-1, keepdims=True)
    return X / np.where(norms > 0, norms, 1)


@pytest.fixture
def data(rng):
    return rng.normal(size=(200, 8)).astype(np.float32), rng.normal(size=(9, 8)).astype(np.float32)


def dense_expansion(Q, X, n, alpha):
    """q + sum over the n nearest of (q.x)^alpha x, a negative similarity counting 0."""
    Q, X = unit(Q), unit(X)
    out = []
    for q in Q:
        s = X @ q
        near = np.argsort(-s)[:n]
        w = np.array([s[i] ** alpha if s[i] > 0 else 0.0 for i in near])
        out.append(q + w @ X[near])
    return unit(np.array(out))


class TestExpansion:
    @pytest.mark.parametrize("alpha", [0, 1, 2.5, 3])
    @pytest.mark.parametrize("n", [1, 10, 200])
    def test_alpha_qe_is_its_formula(self, data, alpha, n):
        X, Q = data
        expanded = expand_queries(3 * Q, X, n_expand=n, alpha=alpha)
        assert expanded.dtype == np.float32
        np.testing.assert_allclose(expanded, dense_expansion(Q, X, n, alpha), atol=3e-7)
        np.testing.assert_allclose(np.linalg.norm(expanded, axis=1), 1, atol=2e-7)

    def test_alpha_zero_is_the_plain_mean(self, data):
        X, Q = data
        near = np.argsort(-unit(Q) @ unit(X).T, axis=1)[:, :5]
        plain = unit(unit(Q) + unit(X)[near].sum(axis=1))
        np.testing.assert_allclose(expand_queries(Q, X, n_expand=5, alpha=0), plain, atol=1e-7)

    def test_nothing_joins(self, data):
        X, Q = data
        np.testing.assert_allclose(expand_queries(Q, X, n_expand=0), unit(Q), atol=1e-7)
        negative = expand_queries([1.0, 0.0], [[-1.0, 0.1], [-1.0, -0.1]], n_expand=2, alpha=0.5)
        assert negative.tolist() == [1.0, 0.0]  # a fractional power of a negative similarity is not NaN
        zero = expand_queries(np.zeros((1, 8)), X, n_expand=3)
        assert not zero.any()

    def test_lists_of_another_search(self, data):
        X, Q = data
        found = unit(Q) @ unit(X).T
        ids = np.argsort(-found, axis=1)[:, :12]
        similarities = np.take_along_axis(found, ids, axis=1)
        ids[:, 10:] = -1
        given = expand_queries(Q, X, n_expand=11, ids=ids, similarities=similarities)
        np.testing.assert_allclose(given, expand_queries(Q, X, n_expand=10), atol=1e-6)
        one = expand_queries(Q[0], X, n_expand=10)
        np.testing.assert_array_equal(one, expand_queries(Q, X, n_expand=10)[0])

    @pytest.mark.parametrize("include_self", [True, False])
    @pytest.mark.parametrize("alpha", [0, 3])
    def test_dba_is_its_formula(self, data, include_self, alpha):
        X, _ = data
        neighbors = find_neighbors(X, 6)
        s = unit(X) @ unit(X).T
        np.fill_diagonal(s, -np.inf)
        near = np.argsort(-s, axis=1)[:, :6]
        w = np.maximum(np.take_along_axis(s, near, axis=1), 0)
        w = np.where(w > 0, w**alpha, 0)
        plain = unit(include_self * unit(X) + np.einsum("nk,nkd->nd", w, unit(X)[near]))
        augmented = augment_database(X, neighbors, alpha=alpha, include_self=include_self)
        np.testing.assert_allclose(augmented, plain, atol=3e-7)

    def test_the_graph_forms(self, data):
        """DBA smooths features by one step of the directed graph; AQE is one step of the seeds along S."""
        X, _ = data
        neighbors = find_neighbors(X, 6)
        A = np.zeros((200, 200))
        np.put_along_axis(A, neighbors.indices.astype(int), np.maximum(neighbors.similarities, 0) ** 3.0, axis=1)
        smooth = unit(unit(X) + A @ unit(X))
        np.testing.assert_allclose(augment_database(X, neighbors, alpha=3), smooth, atol=3e-7)
        graph = mf.graph_from_neighbors(neighbors).astype(np.float64)
        W, d = graph.affinity.toarray(), graph.degrees
        Y = np.eye(200)[:, :3]
        step = (Y + W @ Y / np.sqrt(np.outer(d, d[:3]))) / 2
        step = mf.diffuse(graph, Y, filter=mf.Polynomial((1, 1)), solver="chebyshev").scores - step
        np.testing.assert_allclose(step, 0, atol=1e-6)

    def test_it_helps_on_curved_classes(self):
        X, y = mf.datasets.digits()
        relevant = [np.flatnonzero(y[150:] == c) for c in y[:150]]
        rank = lambda Q, X: np.argsort(-unit(Q) @ unit(X).T, axis=1, kind="stable")  # noqa: E731
        plain = mean_average_precision(rank(X[:150], X[150:]), relevant)
        expanded = mean_average_precision(rank(expand_queries(X[:150], X[150:]), X[150:]), relevant)
        smooth = augment_database(X[150:], find_neighbors(X[150:], 10))
        both = mean_average_precision(rank(expand_queries(X[:150], smooth), smooth), relevant)
        assert plain + 0.02 < expanded < both - 0.02

    def test_bad_input(self, data):
        X, Q = data
        with pytest.raises(ValueError, match="alpha must be a number >= 0"):
            expand_queries(Q, X, alpha=-1)
        with pytest.raises(TypeError, match="n_expand must be an integer"):
            expand_queries(Q, X, n_expand=2.0)
        with pytest.raises(ValueError, match="2 lists for 9 queries"):
            expand_queries(Q, X, ids=[[1], [2]], similarities=[[0.5], [0.5]])
        with pytest.raises(ValueError, match="metric 'cosine', got 'euclidean'"):
            augment_database(X, find_neighbors(X, 3, metric="euclidean"))
        with pytest.raises(ValueError, match="of 200 points but X has 9"):
            augment_database(Q, find_neighbors(X, 3))
