"""Expansion, fused rankings, hubs and verified seeds, against their formulas in float64."""

from __future__ import annotations

import numpy as np
import pytest

import manifold as mf
from manifold.matching import verified_seeds
from manifold.metrics import mean_average_precision
from manifold.neighbors import Neighbors, find_neighbors
from manifold.reranking import augment_database, expand_queries, fuse_rankings, hub_offsets, remove_hubs


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


class TestFusion:
    def test_min_max_of_dense_scores(self, rng):
        a, b = rng.normal(size=(2, 5, 30))
        scale = lambda s: (s - s.min(axis=1, keepdims=True)) / np.ptp(s, axis=1, keepdims=True)  # noqa: E731
        expected = 2 * scale(a) + 0.5 * scale(b)
        rankings = [(np.argsort(-s, axis=1), -np.sort(-s, axis=1)) for s in (a, b)]
        ids, scores = fuse_rankings(rankings, weights=(2, 0.5), k=30)
        np.testing.assert_array_equal(ids, np.argsort(-expected, axis=1))
        np.testing.assert_allclose(scores, -np.sort(-expected, axis=1), atol=1e-12)

    def test_reciprocal_ranks_by_hand(self):
        ids, scores = fuse_rankings(
            [([["a", "b"]], [[9.0, 1.0]]), ([["b", ""]], [[0.2, 5]])], rule="reciprocal_rank", k=3
        )
        assert ids.tolist() == [["b", "a", ""]]
        np.testing.assert_allclose(scores, [[1 / 62 + 1 / 61, 1 / 61, 0]])

    def test_one_ranking_stays_as_it_is(self, data):
        X, Q = data
        ranking = mf.ManifoldSearch().fit(X).search(Q, k=20)
        ids, scores = fuse_rankings([ranking], rule="sum", k=20)
        np.testing.assert_allclose(scores, ranking.scores)
        assert [set(row) for row in ids.tolist()] == [set(row) for row in ranking.ids.tolist()]

    def test_similarity_beside_diffusion(self, data):
        """Fusing with the nearest neighbours keeps the first of both: the cure where a query has few relatives."""
        X, Q = data
        s = unit(Q) @ unit(X).T
        near = np.argsort(-s, axis=1)
        diffused = mf.ManifoldSearch().fit(X).search(Q, k=200)
        only_near, _ = fuse_rankings([(near, -np.sort(-s, axis=1)), diffused], weights=(1, 0), k=200)
        np.testing.assert_array_equal(only_near, near)

    def test_bad_input(self):
        good = ([[1, 2]], [[0.5, 0.4]])
        with pytest.raises(ValueError, match="rule must be one of"):
            fuse_rankings([good], rule="max")
        with pytest.raises(ValueError, match="got 0 and weights"):
            fuse_rankings([])
        with pytest.raises(ValueError, match="one weight >= 0 each"):
            fuse_rankings([good], weights=[-1])
        with pytest.raises(ValueError, match="name an item twice"):
            fuse_rankings([([[1, 1]], [[0.5, 0.4]])])
        with pytest.raises(ValueError, match="all integers or all strings"):
            fuse_rankings([good, ([["a"]], [[1.0]])])
        with pytest.raises(ValueError, match="NaN or infinity"):
            fuse_rankings([([[1]], [[np.nan]])])
        with pytest.raises(ValueError, match="constant must be positive"):
            fuse_rankings([good], rule="reciprocal_rank", constant=0)


class TestHubs:
    def test_it_is_the_inverted_softmax(self, rng):
        bank, test = rng.uniform(-1, 1, size=(2, 40, 12))
        order = np.argsort(-bank, axis=1)
        offsets = hub_offsets(order, np.take_along_axis(bank, order, axis=1), n_items=12, beta=20)
        softmax = np.exp(20 * test) / np.exp(20 * bank).sum(axis=0)
        near = np.argsort(-test, axis=1)
        lists = near, np.take_along_axis(test, near, axis=1)
        ids, scores = remove_hubs(*lists, offsets=offsets)
        np.testing.assert_array_equal(ids, np.argsort(-softmax, axis=1))
        expected = np.log(np.take_along_axis(softmax, ids, axis=1)) / 20 + np.log(40) / 20
        np.testing.assert_allclose(scores, expected, atol=1e-12)
        hubs = np.isin(np.arange(12), order[:, 0]) & (np.arange(12) % 2 == 0)
        ids, scores = remove_hubs(*lists, offsets=offsets, hubs=hubs)
        alone = ~hubs[near[:, 0]]
        assert 0 < alone.sum() < 40
        np.testing.assert_array_equal(ids[alone], near[alone])
        np.testing.assert_array_equal(ids[~alone], np.argsort(-softmax, axis=1)[~alone])

    def test_short_lists_bound_what_they_do_not_show(self, rng):
        bank = rng.uniform(0, 1, size=(50, 30))
        order = np.argsort(-bank, axis=1)
        exact, short = (
            hub_offsets(order[:, :m], np.take_along_axis(bank, order, axis=1)[:, :m], n_items=30) for m in (30, 8)
        )
        assert (short >= exact - 1e-12).all()
        assert np.abs(short - exact).max() < 0.2

    def test_a_hub_loses_its_place(self):
        """An item near to everything comes first for all queries until its offset is taken off."""
        s = np.full((6, 6), 0.1) + 0.4 * np.eye(6)
        s[:, 0] = 0.55
        order = np.argsort(-s, axis=1, kind="stable")
        lists = order, np.take_along_axis(s, order, axis=1)
        assert (order[:, 0] == 0).all()
        ids, _ = remove_hubs(*lists, offsets=hub_offsets(*lists, n_items=6))
        assert ids[1:, 0].tolist() == [1, 2, 3, 4, 5]

    def test_bad_input(self):
        with pytest.raises(ValueError, match="beta must be a positive"):
            hub_offsets([[0]], [[1.0]], n_items=1, beta=0)
        with pytest.raises(ValueError, match="bank holds no list"):
            hub_offsets([[-1]], [[1.0]], n_items=1)
        with pytest.raises(ValueError, match="must descend"):
            remove_hubs([[0, 1]], [[0.1, 0.2]], offsets=[0, 0])
        with pytest.raises(ValueError, match=r"lie in -1\.\.1"):
            remove_hubs([[0, 2]], [[0.2, 0.1]], offsets=[0, 0])
        with pytest.raises(ValueError, match="mask"):
            remove_hubs([[0]], [[0.2]], offsets=[0], hubs=[1])


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
        a, b = mf.build_graph(X, 8), mf.build_graph(X @ X.T, 8, metric="precomputed")
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
