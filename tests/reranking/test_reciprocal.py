"""Re-rankers that compare neighbourhoods, against literal dense transcriptions of their papers' formulas."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr

import manifold as mf
from manifold.neighbors import Neighbors, find_neighbors
from manifold.ranking import query_seeds
from manifold.reranking import (
    _sparse,
    cluster_rerank,
    cluster_similarities,
    compare_profiles,
    cross_neighborhood_rerank,
    profiles,
    reciprocal_profiles,
    reciprocal_rerank,
    score_profiles,
)

N, ASKING = 2000, 150  # the last rows ask, as the queries of the published protocol do
K = N - ASKING


def points(n=N, seed=31):
    """Unit rows on 40 crossing arcs, with stray points between them."""
    rng = np.random.default_rng(seed)
    centres, along = rng.normal(size=(2, 40, 12))
    arc = rng.integers(0, 40, n)
    X = centres[arc] + rng.uniform(-1, 1, size=(n, 1)) * along[arc] + 0.25 * rng.normal(size=(n, 12))
    X[rng.integers(0, n, n // 10)] = rng.normal(size=(n // 10, 12))
    return X / np.linalg.norm(X, axis=1, keepdims=True)


class Dense:
    """The steps of the papers on full matrices of one set of points: distances, and each row in order, self first."""

    def __init__(self, neighbors, *, row_maxima=True):
        n = neighbors.n_nodes
        self.n, self.neighbors = n, neighbors
        squares = np.zeros((n, n))
        np.put_along_axis(squares, neighbors.indices.astype(int), -neighbors.similarities.astype(float), axis=1)
        self.scale = squares.max(axis=1) if row_maxima else np.full(n, squares.max())
        self.d = squares / self.scale[:, None]
        first = self.d.copy()
        np.fill_diagonal(first, -1)
        self.order = np.argsort(first, axis=1, kind="stable")

    def reciprocal_sets(self, k1, variant="python"):
        """R and the expanded R*, as lists of sets."""
        half = {"python": round(k1 / 2), "matlab": int(np.floor((k1 + 1) / 2 + 0.5)) - 1, "paper": k1 // 2}[variant]
        paper, order = variant == "paper", self.order
        first = 1 if paper else 0
        lists = {k: [set(row) for row in order[:, first : k + 1].tolist()] for k in (k1, half)}
        R, small = ([{j for j in lists[k][i] if i in lists[k][j]} for i in range(self.n)] for k in (k1, half))
        grown = [set(r) for r in R]
        for i, r in enumerate(R):
            for j in r:
                inside, size = len(small[j] & r), len(small[j])
                if 3 * inside >= 2 * size if paper else 3 * inside > 2 * size:
                    grown[i] |= small[j]
        return grown

    def encodings(self, k1, k2, variant="python"):
        """V: weights on the expanded sets, averaged over the first k2."""
        V, first = np.zeros((self.n, self.n)), 1 if variant == "paper" else 0
        for i, members in enumerate(self.reciprocal_sets(k1, variant)):
            cells = sorted(members)
            V[i, cells] = np.exp(-self.d[i, cells])
            if variant != "paper":
                V[i] /= V[i].sum()
        return np.stack([V[self.order[i, first : k2 + first]].mean(axis=0) for i in range(self.n)])

    def k_reciprocal(self, k1, k2, *, asking, weight=0.3, variant="python"):
        V = self.encodings(k1, k2, variant)
        jaccard, sums = np.empty((len(asking), self.n)), V.sum(axis=1)
        for row, i in enumerate(asking):
            holds = np.flatnonzero(V[i])
            least = np.minimum(V[i, holds], V[:, holds]).sum(axis=1)
            most = sums[i] + sums - least  # max(a, b) = a + b - min(a, b), column by column
            jaccard[row] = 1 - np.divide(least, most, out=np.zeros(self.n), where=most > 0)
        return V, (1 - weight) * jaccard + weight * self.d[asking]

    def ecn(self, *, t, q, depth, asking):
        """Mean over the expanded neighbours of either of the rank-list distance to the other."""
        position = np.argsort(self.order, axis=1) + 1
        worth = np.maximum(depth + 1 - position, 0).astype(float)
        similarity = worth @ worth.T
        low, high = (f(similarity, axis=1, keepdims=True) for f in (np.min, np.max))
        distance = 1 - (similarity - low) / (high - low)
        first = self.order[:, 1 : t + 1]
        expanded = np.concatenate([first, self.order[first, 1 : q + 1].reshape(self.n, -1)], axis=1)
        theirs = np.stack([distance[:, i][expanded].mean(axis=1) for i in asking])
        ours = np.stack([distance[expanded[i]].mean(axis=0) for i in asking])
        return (ours + theirs) / 2

    def cas_diffusion(self, *, k1, k2, mu, sigma, rtol=1e-3):
        """S, M and the iteration F <- M o (alpha/2) (F S + S F) + (1 - alpha) I from I."""
        M = np.zeros((self.n, self.n), dtype=bool)
        for i, members in enumerate(self.reciprocal_sets(k2)):
            M[i, sorted(members)] = True
        M |= M.T
        W, listed = np.zeros(M.shape), np.zeros(M.shape, dtype=bool)
        np.put_along_axis(listed, self.order[:, 1 : k1 + 1], True, axis=1)
        W[listed] = np.exp(-self.d[listed] / sigma**2)
        W = np.where(listed & listed.T, 2 * W, W)
        W = (W + W.T) / 2
        degrees = W.sum(axis=1)
        S, alpha, unit = W / np.sqrt(np.outer(degrees, degrees)), 1 / (1 + mu), np.eye(self.n)
        F, sparse_S = unit, sparse.csr_array(S)
        for _ in range(int(np.ceil(np.log(rtol) / np.log(alpha)))):
            SF = sparse_S @ F
            F = np.where(M, alpha / 2 * (SF + SF.T), 0) + (1 - alpha) * unit
        return S, M, F

    def cas(self, F, *, k3, weight, asking):
        P = F / F.sum(axis=1, keepdims=True)
        P = np.stack([P[self.order[i, :k3]].mean(axis=0) for i in range(self.n)])
        divergence = np.empty((len(asking), self.n))
        for row, i in enumerate(asking):
            holds = P[i] > 0  # elsewhere p = 0, and the term of g is g log(g / (g/2)) / 2
            p, g = P[i, holds], P[:, holds]
            m = (p + g) / 2
            divergence[row] = (rel_entr(p, m) + rel_entr(g, m)).sum(axis=1) / 2 / np.log(2)
            divergence[row] += P[:, ~holds].sum(axis=1) / 2
        return (1 - weight) * divergence + weight * self.d[asking]


@pytest.fixture(scope="module")
def crowd():
    return Dense(find_neighbors(points(), N - 1, metric="euclidean"))


def small(n=120, seed=5, **settings):
    return Dense(find_neighbors(points(n, seed), n - 1, metric="euclidean"), **settings)


def assert_same_ranks(found, dense, *, rounding=1e-12):
    """All answers of each row in the order of the dense distances; only what rounding cannot tell apart may swap."""
    ids, scores = found
    n = dense.shape[1]
    assert (np.sort(ids, axis=1) == np.arange(n)).all()
    theirs = np.sort(dense, axis=1)
    np.testing.assert_allclose(np.take_along_axis(dense, ids, axis=1), theirs, rtol=0, atol=rounding)
    assert (np.diff(scores, axis=1) <= 0).all()
    apart = np.diff(theirs, axis=1).min(axis=1) > rounding
    np.testing.assert_array_equal(ids[apart], np.argsort(dense, axis=1)[apart])


ROWS = np.arange(K, N)


class TestTwoThousandPoints:
    """Full lists, so that all is known to both; the queries stand in the lists, as published."""

    def test_k_reciprocal(self, crowd):
        V, distances = crowd.k_reciprocal(20, 6, asking=ROWS)
        kept = reciprocal_profiles(crowd.neighbors, scale=crowd.scale, dtype=np.float64)
        np.testing.assert_allclose(kept.toarray(), V, rtol=0, atol=1e-12)
        found = reciprocal_rerank(crowd.neighbors, k=K, scale=crowd.scale, n_queries=ASKING, profiles=kept)
        assert_same_ranks(found, distances[:, :K])

    def test_expanded_cross_neighbourhoods(self, crowd):
        distances = crowd.ecn(t=3, q=8, depth=25, asking=ROWS)
        ids, scores = cross_neighborhood_rerank(crowd.neighbors, k=K, n_queries=ASKING)
        np.testing.assert_allclose(1 - scores, np.take_along_axis(distances, ids, axis=1), atol=1e-12)
        # many pairs share no neighbour and have distance 1: there the original order decides, as in a stable sort
        order = np.lexsort(
            (np.broadcast_to(np.arange(K), (ASKING, K)), crowd.d[ROWS][:, :K], distances[:, :K].round(12))
        )
        np.testing.assert_array_equal(ids, order)

    def test_cas(self, crowd):
        settings = {"k1": 6, "k2": 20, "mu": 0.23, "sigma": 0.3}
        _, _, F = crowd.cas_diffusion(**settings)
        kept = cluster_similarities(crowd.neighbors, scale=crowd.scale, dtype=np.float64, **settings)
        np.testing.assert_allclose(kept.toarray(), F, rtol=0, atol=1e-12)
        distances = crowd.cas(F, k3=6, weight=0.3, asking=ROWS)
        found = cluster_rerank(crowd.neighbors, k=K, scale=crowd.scale, n_queries=ASKING, diffused=kept)
        assert_same_ranks(found, distances[:, :K])


class TestReciprocal:
    def test_six_points_in_two_clusters(self):
        X = np.array([[0.0, 0], [0.1, 0], [0, 0.12], [3, 3], [3.1, 3], [3, 3.15]])
        dense = Dense(find_neighbors(X, 5, metric="euclidean"))
        V, distances = dense.k_reciprocal(2, 2, asking=np.arange(6))
        np.testing.assert_allclose(
            reciprocal_profiles(dense.neighbors, k1=2, k2=2, scale=dense.scale).toarray(), V, atol=1e-6
        )
        ids, _ = reciprocal_rerank(dense.neighbors, k1=2, k2=2, k=5, scale=dense.scale)
        off = distances + 9 * np.eye(6)
        np.testing.assert_array_equal(ids, np.argsort(off, axis=1)[:, :5])
        assert [set(row) for row in ids[:, :2].tolist()] == [{1, 2}, {0, 2}, {0, 1}, {4, 5}, {3, 5}, {3, 4}]
        assert (distances.diagonal() <= distances.min(axis=1) + 1e-12).all()

    @pytest.mark.parametrize("variant", ["python", "matlab", "paper"])
    @pytest.mark.parametrize(("k1", "k2"), [(7, 3), (12, 1), (5, 4)])
    def test_variants(self, variant, k1, k2):
        dense, rows = small(), np.arange(120)
        kept = reciprocal_profiles(dense.neighbors, k1=k1, k2=k2, variant=variant, scale=dense.scale, dtype=np.float64)
        V, distances = dense.k_reciprocal(k1, k2, asking=rows, variant=variant)
        np.testing.assert_allclose(kept.toarray(), V, atol=1e-12)
        ids, _ = reciprocal_rerank(dense.neighbors, k=119, scale=dense.scale, profiles=kept, variant=variant)
        np.fill_diagonal(distances, np.inf)
        theirs = np.sort(distances, axis=1)[:, :119]
        np.testing.assert_allclose(np.take_along_axis(distances, ids, axis=1), theirs, atol=1e-12)

    @settings(max_examples=30, deadline=None)
    @given(seed=st.integers(0, 10**6), n=st.integers(3, 25), k1=st.integers(1, 9), k2=st.integers(1, 5))
    def test_ties_and_copies(self, seed, n, k1, k2):
        """Points of a small lattice: most distances are tied, many are 0, and the smaller id comes first."""
        X = np.random.default_rng(seed).integers(0, 3, size=(n, 2))
        X[0] = 5  # not all are copies
        k1, k2 = min(k1, n - 1), min(k2, n - 1)
        dense = Dense(find_neighbors(X, n - 1, metric="euclidean"), row_maxima=False)
        V, distances = dense.k_reciprocal(k1, k2, asking=np.arange(n))
        kept = reciprocal_profiles(dense.neighbors, k1=k1, k2=k2, dtype=np.float64)
        np.testing.assert_allclose(kept.toarray(), V, atol=1e-12)
        ids, _ = reciprocal_rerank(dense.neighbors, k=n - 1, profiles=kept)
        np.fill_diagonal(distances, np.inf)
        theirs = np.sort(distances, axis=1)[:, : n - 1]
        np.testing.assert_allclose(np.take_along_axis(distances, ids, axis=1), theirs, atol=1e-12)

    def test_variants_differ_where_the_rounding_does(self):
        dense = small()
        at = lambda k1: [  # noqa: E731
            reciprocal_profiles(dense.neighbors, k1=k1, k2=1, variant=v).toarray() for v in ("python", "matlab")
        ]
        assert np.abs(at(7)[0] - at(7)[1]).max() > 0.01  # 4 others and 3
        np.testing.assert_array_equal(*at(20))  # 10 and 10

    def test_weight_one_is_the_original_ranking(self):
        dense = small()
        found = reciprocal_rerank(dense.neighbors, k=119, weight=1.0)
        np.testing.assert_array_equal(found[0], dense.neighbors.indices)

    def test_an_item_is_most_like_itself(self):
        kept = reciprocal_profiles(small().neighbors, k1=10)
        ids, similarities = compare_profiles(kept, kept, k=120)
        own = np.take_along_axis(similarities, np.argmax(ids == np.arange(120)[:, None], axis=1)[:, None], axis=1)
        np.testing.assert_allclose(own, 1, atol=1e-6)
        assert similarities.max() < 1 + 1e-6

    def test_the_length_of_the_lists_hardly_matters(self, crowd):
        full = reciprocal_rerank(crowd.neighbors, k=50, n_queries=ASKING, scale=crowd.scale.max())[0]
        short = reciprocal_rerank(crowd.neighbors.first(60), k=50, n_queries=ASKING, scale=crowd.scale.max())[0]
        assert mf.metrics.overlap_at_k(short, full) > 0.9

    def test_twenty_thousand_points_need_no_matrix_of_pairs(self):
        """A ring whose points list the 15 on either side: the answers lie around each, the memory is a fraction."""
        n = 20_000
        name = np.random.default_rng(4).permutation(n)
        steps = np.array([s for m in range(1, 16) for s in (m, -m)])
        ids = np.empty((n, 30), dtype=int)
        ids[name] = name[(np.arange(n)[:, None] + steps) % n]
        similarities = np.broadcast_to(1 - np.abs(steps) / 100 - (steps < 0) / 1000, ids.shape)
        neighbors = Neighbors(ids, similarities, metric="cosine", method="planted")
        tracemalloc.start()
        found, _ = reciprocal_rerank(neighbors, k=24)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 0.2 * 4 * n**2  # of one float32 matrix of pairs
        place = np.argsort(name)
        apart = np.abs(place[found] - place[:, None])
        assert (np.sort(np.minimum(apart, n - apart), axis=1) == np.repeat(np.arange(1, 13), 2)).all()

    def test_it_finds_the_rest_of_a_class(self):
        X, y = mf.datasets.digits()
        neighbors = find_neighbors(X[100:], 60)
        lists = lists_of(X[:100], X[100:])
        relevant = [np.flatnonzero(y[100:] == c) for c in y[:100]]
        score = lambda ids: mf.metrics.mean_average_precision(ids, relevant)  # noqa: E731
        plain = score(lists[0])
        for rerank in (reciprocal_rerank, cluster_rerank, cross_neighborhood_rerank):
            assert score(rerank(neighbors, *lists, k=1697)[0]) > plain + 0.03


def lists_of(Q, X):
    unit = lambda A: np.float64(A) / np.linalg.norm(np.float64(A), axis=1, keepdims=True)  # noqa: E731
    s = unit(Q) @ unit(X).T
    ids = np.argsort(-s, axis=1, kind="stable")
    return ids, np.take_along_axis(s, ids, axis=1)


RERANKERS = {
    "k-reciprocal": lambda neighbors, *lists, **more: reciprocal_rerank(neighbors, *lists, k1=8, k2=3, **more),
    "cas": lambda neighbors, *lists, **more: cluster_rerank(neighbors, *lists, k1=4, k2=8, k3=3, **more),
    "ecn": lambda neighbors, *lists, **more: cross_neighborhood_rerank(neighbors, *lists, depth=9, **more),
}


@pytest.mark.parametrize("name", RERANKERS)
class TestWhoAsks:
    def test_an_answer_does_not_depend_on_who_else_asks(self, name):
        X = points(150, 6)
        neighbors, lists = find_neighbors(X[:120], 30), lists_of(X[120:], X[:120])
        many = RERANKERS[name](neighbors, *lists, k=20)
        one = RERANKERS[name](neighbors, *(part[[7]] for part in lists), k=20)
        np.testing.assert_array_equal(many[0][[7]], one[0])
        np.testing.assert_array_equal(many[1][[7]], one[1])

    def test_inside_and_outside_mostly_agree(self, name):
        """A query that the collection lists (as published) and one that it does not find much the same."""
        X = points(600, 8)
        inside = RERANKERS[name](find_neighbors(X, 60), k=10, n_queries=60)[0]
        outside = RERANKERS[name](find_neighbors(X[:540], 60), *lists_of(X[540:], X[:540]), k=10)[0]
        assert (inside < 540).all()
        assert mf.metrics.overlap_at_k(inside, outside) > 0.75

    def test_blocks_change_no_bit(self, name, monkeypatch):
        neighbors = find_neighbors(points(150, 6), 30)
        whole = RERANKERS[name](neighbors, k=20)
        monkeypatch.setattr(_sparse, "_ROWS", 7)
        monkeypatch.setattr(profiles, "_TERMS", 900)
        parts = RERANKERS[name](neighbors, k=20)
        for a, b in zip(whole, parts, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_short_lists_duplicates_and_lonely_points(self, name):
        ids = np.full((14, 10), -1)
        ids[:11, :] = [[j for j in range(11) if j != i] for i in range(11)]
        similarities = np.where(ids >= 0, 1.0, -np.inf)  # eleven copies, and three points without a neighbour
        neighbors = Neighbors(ids, similarities, metric="cosine", method="by hand")
        found, scores = RERANKERS[name](neighbors, k=12)
        assert (found[:11, :10] >= 0).all()
        assert (found[11:] == -1).all()
        assert not scores[11:].any()
        assert (found != np.arange(14)[:, None]).all()
        nobody = RERANKERS[name](neighbors, np.full((1, 3), -1), np.zeros((1, 3)), k=4)
        assert nobody[0].tolist() == [[-1] * 4]

    def test_other_metrics(self, name):
        X = points(150, 6)
        cosine = RERANKERS[name](find_neighbors(X, 30), k=10)[0]
        given = RERANKERS[name](find_neighbors(X @ X.T, 30, metric="precomputed"), k=10)[0]
        assert mf.metrics.overlap_at_k(cosine, given) > 0.95

    def test_a_query_longer_than_the_collection(self, name):
        """An inner product beyond all of the collection's own keeps its order."""
        X = points(150, 6)
        neighbors = find_neighbors(X[:120], 30, metric="inner_product")
        s = 50 * X[120:] @ X[:120].T
        ids = np.argsort(-s, axis=1)
        found = RERANKERS[name](neighbors, ids, np.take_along_axis(s, ids, axis=1), k=500, weight=1.0)
        np.testing.assert_array_equal(found[0], ids)

    def test_bad_input(self, name):
        rerank, neighbors = RERANKERS[name], find_neighbors(points(50, 7), 20)
        with pytest.raises(TypeError, match="must be Neighbors, got tuple"):
            rerank((neighbors.similarities, neighbors.indices))
        with pytest.raises(ValueError, match="neighbors list 5"):
            rerank(neighbors.first(5))
        with pytest.raises(ValueError, match="weight must lie"):
            rerank(neighbors, weight=1.5)
        with pytest.raises(ValueError, match="go together"):
            rerank(neighbors, [[1, 2]])
        with pytest.raises(ValueError, match="leave nothing to rank"):
            rerank(neighbors, n_queries=50)
        with pytest.raises(ValueError, match="leave out ids or n_queries"):
            rerank(neighbors, [[1]], [[0.5]], n_queries=3)
        with pytest.raises(ValueError, match="must descend"):
            rerank(neighbors, [[1, 2]], [[0.5, 0.6]])
        with pytest.raises(ValueError, match="NaN or infinity"):
            rerank(neighbors, [[1, 2]], [[0.5, np.nan]])
        with pytest.raises(TypeError, match="ids must hold integers"):
            rerank(neighbors, [[1.0]], [[0.5]])
        with pytest.raises(ValueError, match="one number where queries are outside"):
            rerank(neighbors, [[1]], [[0.5]], scale=np.ones(50))
        with pytest.raises(ValueError, match="scale must be positive"):
            rerank(neighbors, scale=0.0)


class TestClusters:
    def test_the_fixed_point_solves_the_normal_equations(self):
        """Over the entries inside the clusters: (I - alpha/2 (S x I + I x S)) vec F = (1 - alpha) vec I."""
        dense = small(40, 9)
        settings = {"k1": 3, "k2": 8, "mu": 0.3, "sigma": 0.4}
        S, M, _ = dense.cas_diffusion(**settings)
        alpha, inside = 1 / 1.3, np.flatnonzero(M.ravel())
        both = np.kron(S, np.eye(40)) + np.kron(np.eye(40), S)
        system = (np.eye(1600) - alpha / 2 * both)[np.ix_(inside, inside)]
        exact = np.zeros(1600)
        exact[inside] = np.linalg.solve(system, (1 - alpha) * np.eye(40).ravel()[inside])
        F = cluster_similarities(dense.neighbors, scale=dense.scale, rtol=1e-12, dtype=np.float64, **settings)
        np.testing.assert_allclose(F.toarray(), exact.reshape(40, 40), atol=1e-11)

    def test_without_clusters_it_is_diffusion(self):
        dense = small(60, 10)
        F = cluster_similarities(dense.neighbors, k1=4, k2=59, mu=0.25, sigma=0.4, rtol=1e-12, dtype=np.float64)
        d = dense.neighbors.similarities.astype(float) / dense.neighbors.similarities.min()
        listed, W = np.zeros((60, 60), bool), np.zeros((60, 60))
        near = dense.neighbors.indices[:, :4].astype(int)
        np.put_along_axis(listed, near, True, axis=1)
        np.put_along_axis(W, near, np.exp(-d[:, :4] / 0.16), axis=1)
        W = np.where(listed & listed.T, 2 * W, W)
        graph = mf.graph_from_affinity((W + W.T) / 2).astype(np.float64)
        exact = mf.diffuse(graph, np.eye(60), filter=mf.Diffusion(0.8), solver="direct").scores
        np.testing.assert_allclose(F.toarray(), exact, atol=1e-6)

    def test_it_stops_as_near_as_it_says(self):
        dense = small(100, 11)
        exact = cluster_similarities(dense.neighbors, rtol=1e-12, dtype=np.float64)
        unit = sparse.eye_array(100)
        norm = lambda A: np.sqrt((A.data**2).sum())  # noqa: E731
        for rtol in (1e-1, 1e-3):
            loose = cluster_similarities(dense.neighbors, rtol=rtol, dtype=np.float64)
            assert norm(loose - exact) <= rtol * norm((unit - exact).tocsr())

    def test_bad_input(self):
        neighbors = small(40, 9).neighbors
        for name in ("mu", "sigma"):
            with pytest.raises(ValueError, match=f"{name} must be a positive number"):
                cluster_similarities(neighbors, **{name: 0.0})
        with pytest.raises(ValueError, match="rtol must lie"):
            cluster_similarities(neighbors, rtol=0)


class TestProfiles:
    @settings(max_examples=40, deadline=None)
    @given(seed=st.integers(0, 10**6), n=st.integers(1, 12), m=st.integers(1, 8))
    def test_measures_are_their_formulas(self, seed, n, m):
        rng = np.random.default_rng(seed)
        P, G = (rng.uniform(size=(n, m)) * (rng.uniform(size=(n, m)) < 0.6) for _ in range(2))
        least = np.minimum(P[:, None], G[None]).sum(axis=-1)
        most = np.maximum(P[:, None], G[None]).sum(axis=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            js = np.array([[1 - jensenshannon(p, g, base=2) ** 2 if p.sum() * g.sum() else 0 for g in G] for p in P])
            dense = {"jaccard": np.nan_to_num(least / most), "product": P @ G.T, "jensen_shannon": js}
        for measure, expected in dense.items():
            ids, similarities = compare_profiles(sparse.csr_array(P), sparse.csr_array(G), k=n, measure=measure)
            shared = (least > 0).sum(axis=1)
            for i in range(n):
                assert (ids[i] >= 0).sum() == shared[i]
                kept = ids[i, : shared[i]]
                np.testing.assert_allclose(similarities[i, : shared[i]], expected[i, kept], atol=1e-9)
                np.testing.assert_allclose(np.sort(expected[i])[::-1][: shared[i]], expected[i, kept], atol=1e-9)

    def test_what_a_query_reaches_ranks_better_than_how_much(self):
        """Profiles of the diffused queries against those of the stored columns, on digits."""
        X, y = mf.datasets.digits()
        Q, X, yq, y = X[:100], X[100:1000], y[:100], y[100:1000]
        search = mf.ManifoldSearch(preset="plain-diffusion").fit(X)
        index = mf.DiffusionIndex(n_entries=120).build(search.graph_, filter=search.filter)
        near, similarities = (part[:, :5] for part in lists_of(Q, X))
        F = mf.diffuse(search.graph_, query_seeds(near, similarities, n_nodes=len(X)), filter=search.filter).scores
        ids, _ = compare_profiles(score_profiles(F), score_profiles(index), k=len(X))
        relevant = [np.flatnonzero(y == c) for c in yq]
        plain = mf.metrics.mean_average_precision(np.argsort(-F, axis=0).T, relevant)
        assert mf.metrics.mean_average_precision(ids, relevant) > plain + 0.01

    def test_an_entry_may_come_in_two_and_zeros_are_none(self):
        plain = sparse.csr_array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
        parts = sparse.csr_array(([0.2, 0.5, 0.3, 0.0, 1.0], [0, 1, 0, 2, 2], [0, 4, 5]), shape=(2, 3))
        ids, similarities = compare_profiles(parts, plain, k=2)
        assert ids.tolist() == [[0, -1], [1, -1]]
        np.testing.assert_allclose(similarities, [[1, 0], [1, 0]])
        assert parts.nnz == 5

    def test_the_largest_entries_stay(self, rng):
        F = rng.normal(size=(30, 8))
        P = score_profiles(F, n_entries=5).toarray()
        for column, row in zip(F.T, P, strict=True):
            kept = np.argsort(-column)[:5]
            expected = np.zeros(30)
            expected[kept] = np.maximum(column[kept], 0)
            np.testing.assert_allclose(row, expected / expected.sum(), atol=1e-6)
        with pytest.raises(ValueError, match="numbers"):
            score_profiles(F * np.nan)

    def test_bad_input(self):
        P = sparse.csr_array(np.eye(3))
        with pytest.raises(TypeError, match="sparse matrix of profiles"):
            compare_profiles(np.eye(3), P)
        with pytest.raises(ValueError, match="3 columns and profiles 4"):
            compare_profiles(P, sparse.csr_array(np.eye(4)))
        with pytest.raises(ValueError, match="negative or not finite"):
            compare_profiles(-P, P)
        with pytest.raises(ValueError, match="measure must be one of"):
            compare_profiles(P, P, measure="cosine")
