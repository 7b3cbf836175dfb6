"""From queries to seeds and from seeds to rankings, against dense transcriptions of the formulas."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import manifold as mf
from manifold.errors import ConvergenceWarning, ManifoldWarning
from manifold.graph.affinity import Affinity
from manifold.ranking import pooling_weights, query_seeds, regional_seeds, unit_seeds

ALPHA = 0.95


def collection(n=300, d=10, seed=57, spread=0.5):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(12, d))
    draw = lambda m: centres[rng.integers(0, 12, m)] + spread * rng.normal(size=(m, d))  # noqa: E731
    return draw(n).astype(np.float32), draw(20).astype(np.float32)


def unit(X):
    X = np.float64(X)
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def dense_graph(X, k, *, gamma=3.0, bridge=1):
    """S (n, n) of the mutual graph with bridges, and W, by brute force."""
    similarities = unit(X) @ unit(X).T
    np.fill_diagonal(similarities, -np.inf)
    order = np.argsort(-similarities, axis=1)[:, :k]
    n = len(X)
    listed, first = np.zeros((n, n), bool), np.zeros((n, n), bool)
    np.put_along_axis(listed, order, True, axis=1)
    np.put_along_axis(first, order[:, :bridge], True, axis=1)
    kept = (listed & listed.T) | first | first.T
    W = np.where(kept, np.maximum(similarities, 0) ** gamma, 0)
    d = W.sum(axis=1)
    inverse = np.where(d > 0, 1 / np.sqrt(np.where(d > 0, d, 1)), 0)
    return inverse[:, None] * W * inverse, W


def dense_seeds(Q, X, k, gamma=3.0):
    similarities = unit(Q) @ unit(X).T
    Y = np.zeros((len(X), len(Q)))
    for j, row in enumerate(similarities):
        near = np.argsort(-row)[:k]
        Y[near, j] = np.maximum(row[near], 0) ** gamma
    return Y


def dense_scores(S, Y, alpha=ALPHA):
    return (1 - alpha) * np.linalg.solve(np.eye(len(S)) - alpha * S, Y)


class TestQuerySeeds:
    def test_weights_of_the_nearest(self):
        Y = query_seeds(np.array([[3, 1, -1], [0, 2, 1]]), np.array([[0.9, 0.5, 0.7], [0.8, -0.3, 0]]), n_nodes=4)
        expected = [[0, 0.512], [0.125, 0], [0, 0], [0.729, 0]]
        np.testing.assert_allclose(Y.toarray(), expected, rtol=1e-12)
        assert Y.nnz == 3  # neither the pad nor a similarity that is not positive

    def test_equals_the_dense_transcription(self):
        X, Q = collection()
        similarities = (unit(Q) @ unit(X).T).astype(np.float32)
        ids = np.argsort(-similarities, axis=1)[:, :6]
        Y = query_seeds(ids, np.take_along_axis(similarities, ids, axis=1), n_nodes=300)
        np.testing.assert_allclose(Y.toarray(), dense_seeds(Q, X, 6), rtol=1e-5)

    def test_self_tuning_divides_by_both_scales(self):
        kernel = Affinity(metric="euclidean")
        ids, similarities = np.array([[0, 1]]), np.array([[-1.0, -4.0]])
        Y = query_seeds(ids, similarities, n_nodes=2, affinity=kernel, node_scales=np.array([0.5, 4.0]))
        np.testing.assert_allclose(Y.toarray().ravel(), [np.exp(-1 / (2 * 0.5)), np.exp(-4 / (2 * 4.0))])
        Y = query_seeds(ids, similarities, n_nodes=2, affinity=kernel)  # the query's own scale for both
        np.testing.assert_allclose(Y.toarray().ravel(), [np.exp(-1 / 4), np.exp(-1)])

    def test_unit_seeds(self):
        np.testing.assert_array_equal(unit_seeds(np.array([2, 0, 2]), 3).toarray(), np.eye(3)[:, [2, 0, 2]])

    def test_an_unseen_query_is_a_directed_node(self):
        """Scores of the joint system, with edges from the query to the points only, are those of the seeds."""
        X, Q = collection(200)
        S, _ = dense_graph(X, 8)
        for j in range(4):
            y = dense_seeds(Q[j : j + 1], X, 5)[:, 0]
            joint = np.zeros((201, 201))  # f = a M f + (1 - a) e_q, the column of q leads to the points
            joint[:200, :200] = S
            joint[:200, 200] = y
            f = np.eye(201)[200]
            for _ in range(1200):
                f = ALPHA * joint @ f + (1 - ALPHA) * np.eye(201)[200]
            seeds = query_seeds(np.flatnonzero(y)[None], np.cbrt(y[y > 0])[None], n_nodes=200)
            g = mf.diffuse(
                mf.build_graph(X, 8).astype(np.float64), seeds, filter=mf.Diffusion(ALPHA), solver="direct"
            ).scores[:, 0]
            expected = dense_scores(S, y)
            cosine = f[:200] @ expected / np.linalg.norm(f[:200]) / np.linalg.norm(expected)
            assert cosine > 1 - 1e-10
            cosine = f[:200] @ g / np.linalg.norm(f[:200]) / np.linalg.norm(g)
            assert cosine > 1 - 1e-10


class TestRegionalSeeds:
    @pytest.mark.parametrize(("mode", "expected"), [("sum_of_powers", 1.241), ("power_of_sum", 4.913)])
    def test_two_hits_of_one_point(self, mode, expected):
        Y = regional_seeds(
            np.array([[0], [0]]), np.array([[0.9], [0.8]]), owners=np.array([0, 0]), n_nodes=2, y_mode=mode
        )
        assert Y[0, 0] == pytest.approx(expected, abs=1e-12)
        assert Y.nnz == 1

    @pytest.mark.parametrize("mode", ["sum_of_powers", "power_of_sum"])
    def test_equals_the_dense_transcription(self, mode, rng):
        n, m, k, largest = 50, 14, 9, 11
        ids = np.stack([rng.permutation(n)[:k] for _ in range(m)])
        similarities = rng.uniform(-0.3, 1, size=(m, k))
        ids[3, 5:] = -1
        owners = np.array([0, 2, 0, 2, 2, 0, 4, 4, 4, 4, 0, 2, 4, 0])  # queries 1 and 3 have no region
        Y = regional_seeds(ids, similarities, owners=owners, n_nodes=n, n_largest=largest, y_mode=mode).toarray()
        assert Y.shape == (50, 5)
        for query in range(5):
            total = np.zeros(n)
            for region in np.flatnonzero(owners == query):
                for i, s in zip(ids[region], similarities[region], strict=True):
                    if i >= 0:
                        total[i] += max(s, 0) ** 3 if mode == "sum_of_powers" else s
            total = total if mode == "sum_of_powers" else np.maximum(total, 0) ** 3
            total[np.argsort(-total, kind="stable")[largest:]] = 0
            np.testing.assert_allclose(Y[:, query], total, rtol=1e-12)
            assert np.count_nonzero(Y[:, query]) <= largest
        assert np.count_nonzero(Y[:, 0]) == largest

    @pytest.mark.parametrize("mode", ["sum_of_powers", "power_of_sum"])
    def test_one_region_is_a_query(self, mode):
        ids, similarities = np.array([[4, 2, 0]]), np.array([[0.9, 0.5, -0.1]])
        one = regional_seeds(ids, similarities, owners=np.array([0]), n_nodes=5, y_mode=mode)
        np.testing.assert_allclose(one.toarray(), query_seeds(ids, similarities, n_nodes=5).toarray(), rtol=1e-12)

    def test_equal_entries_stay_by_ascending_id(self):
        Y = regional_seeds(np.array([[3, 1, 2, 0]]), np.full((1, 4), 0.5), owners=np.array([0]), n_nodes=4, n_largest=2)
        assert np.flatnonzero(Y.toarray()).tolist() == [0, 1]

    def test_unknown_mode(self):
        with pytest.raises(ValueError, match="y_mode must be one of"):
            regional_seeds(np.zeros((1, 1), int), np.ones((1, 1)), owners=np.zeros(1, int), n_nodes=1, y_mode="sum")


class TestPoolingWeights:
    def test_repeated_regions_share_one_vote(self):
        np.testing.assert_allclose(pooling_weights(np.tile([[0.6, 0.8]], (3, 1))), 1 / 4)
        np.testing.assert_allclose(pooling_weights(np.eye(3)), 1 / 2)
        np.testing.assert_allclose(pooling_weights(np.eye(3), regularization=3), 1 / 4)

    def test_solves_its_equation(self, rng):
        Phi = unit(rng.normal(size=(6, 4)))
        w = pooling_weights(Phi, regularization=0.3)
        np.testing.assert_allclose((Phi @ Phi.T + 0.3 * np.eye(6)) @ w, 1, rtol=1e-12)

    @pytest.mark.parametrize("bad", [0, -1.0, np.nan])
    def test_singular_systems_are_refused(self, bad):
        with pytest.raises(ValueError, match="regularization must be positive"):
            pooling_weights(np.ones((2, 2)), regularization=bad)


class TestPipeline:
    @pytest.fixture
    def data(self):
        return collection()

    @pytest.mark.parametrize(("bridge", "k"), [(0, 6), (1, 10), (2, 10)])
    def test_search_equals_the_dense_transcription(self, data, bridge, k):
        X, Q = data
        S, W = dense_graph(X, k, bridge=bridge)
        scores = dense_scores(S, dense_seeds(Q, X, 5))
        search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=k, bridge=bridge, solver="direct").fit(X)
        np.testing.assert_allclose(search.graph_.affinity.toarray(), W, rtol=1e-5, atol=1e-7)
        search.fit(X, graph=search.graph_.astype(np.float64))
        ranking = search.search(Q, k=300)
        for j in range(len(Q)):
            np.testing.assert_allclose(
                ranking.scores[j], scores[ranking.ids[j], j], rtol=1e-4, atol=1e-6 * scores[:, j].max()
            )
            assert sorted(ranking.ids[j]) == list(range(300))
        best = np.sort(scores, axis=0)[::-1].T
        np.testing.assert_allclose(ranking.scores, best, rtol=1e-4, atol=1e-6 * best.max())

    def test_unreached_items_follow_in_baseline_order(self):
        rng = np.random.default_rng(3)
        # two cones far apart: a query near the first reaches nothing of the second
        X = np.repeat([[5, 0, 0], [0, 5, 1]], 30, axis=0) + rng.normal(size=(60, 3))
        graph = mf.build_graph(X, 3, bridge=0)
        search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=3, n_seeds=2, bridge=0).fit(X)
        Q = np.array([[5.0, 0.2, 0.1]])
        ids, scores = search.search(Q, k=60)
        similarities = (unit(Q) @ unit(X).T)[0]
        seeds = np.argsort(-similarities)[:2]
        reached = np.isin(graph.components, graph.components[seeds])
        assert 2 < reached.sum() < 60
        n = reached.sum()
        assert set(ids[0, :n]) == set(np.flatnonzero(reached))
        assert (scores[0, :n] > 0).all()
        assert not scores[0, n:].any()
        rest = np.flatnonzero(~reached)
        np.testing.assert_array_equal(ids[0, n:], rest[np.argsort(-similarities[rest])])

    @pytest.mark.parametrize("solver", ["cg", "direct"])
    def test_rerank_of_its_own_shortlist_gives_the_same_scores(self, data, solver):
        X, Q = data
        search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=8, solver=solver).fit(X)
        whole = search.search(Q, k=300)
        similarities = (unit(Q) @ unit(X).T).astype(np.float32)
        shortlist = np.argsort(-similarities, axis=1)[:, :40]
        values = np.take_along_axis(similarities, shortlist, axis=1)
        order = np.random.default_rng(1).permutation(40)  # a shortlist may come in any order
        ranking = search.rerank(shortlist[:, order], values[:, order], k=40)
        everywhere = search.rerank(shortlist, values, k=300, candidates="all")
        for j in range(len(Q)):
            of = dict(zip(whole.ids[j].tolist(), whole.scores[j].tolist(), strict=True))
            np.testing.assert_allclose(ranking.scores[j], [of[i] for i in ranking.ids[j]], rtol=1e-3, atol=1e-7)
            assert set(ranking.ids[j]) == set(shortlist[j])
        assert (np.diff(ranking.scores, axis=1) <= 0).all()
        np.testing.assert_allclose(everywhere.scores, whole.scores, rtol=1e-3, atol=1e-7)

    def test_short_shortlists_are_padded(self, data):
        X, _ = data
        search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=8).fit(X)
        padded = search.rerank([[5, 9, -1, 7], [1, 2, 3, 4]], [[0.9, 0.8, 5.0, 0.7], [0.9, 0.8, 0.7, 0.6]])
        alone = search.rerank([5, 9, 7], [0.9, 0.8, 0.7])
        assert padded.ids[0].tolist() == [*alone.ids.tolist(), -1]
        np.testing.assert_allclose(padded.scores[0, :3], alone.scores, rtol=1e-6)
        assert padded.scores[0, 3] == 0

    def test_string_ids(self, data):
        X, Q = data
        names = [f"item-{i:03}" for i in np.random.default_rng(2).permutation(300)]
        plain, named = (
            mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=8).fit(X, ids=ids) for ids in (None, names)
        )
        a, b = plain.search(Q, k=20), named.search(Q, k=20)
        np.testing.assert_array_equal(np.array(names)[a.ids], b.ids)
        np.testing.assert_array_equal(a.scores, b.scores)
        some = [[names[4], "", names[9]]]
        ranking = named.rerank(some, [[0.5, 0.0, 0.9]])
        assert set(ranking.ids[0]) == {names[4], names[9], ""}
        assert ranking.ids[0, 2] == ""
        assert named.similar(names[7], k=5).ids.tolist() == [names[i] for i in plain.similar(7, k=5).ids]
        for bad in ("item-999", "item-0011111"):
            with pytest.raises(ValueError, match=f"1 ids are not in the collection, first .*{bad}"):
                named.rerank([[names[0], bad]], [[0.5, 0.4]])
        with pytest.raises(TypeError, match="ids must be strings"):
            named.rerank([[0, 1]], [[0.5, 0.4]])

    def test_integer_ids_need_not_be_rows(self, data):
        X, Q = data
        names = np.arange(300)[::-1] * 7 + 10**9
        a, b = (
            mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=8).fit(X, ids=ids).search(Q, k=9)
            for ids in (None, names)
        )
        np.testing.assert_array_equal(names[a.ids], b.ids)

    def test_ids_that_name_nothing(self, data):
        X, _ = data
        search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=2)
        with pytest.raises(ValueError, match="'a' occurs twice"):
            search.fit(X[:3], ids=["a", "b", "a"])
        with pytest.raises(TypeError, match="integers or strings, got dtype float64"):
            search.fit(X[:3], ids=[0.0, 1.0, 2.0])
        assert not hasattr(search, "graph_")  # nothing half-fitted
        search.fit(X)
        with pytest.raises(ValueError, match="names an item twice"):
            search.rerank([[3, 3]], [[0.5, 0.4]])
        with pytest.raises(ValueError, match=r"not in the collection, first .*300"):
            search.rerank([[3, 300]], [[0.5, 0.4]])
        with pytest.raises(ValueError, match="share a shape"):
            search.rerank([[3, 4]], [[0.5]])
        with pytest.raises(ValueError, match=r"candidates must be one of \('shortlist', 'subgraph', 'all'\)"):
            search.rerank([[3, 4]], [[0.5, 0.4]], candidates="some")

    def test_more_than_there_is(self, data):
        X, Q = data
        search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=8).fit(X)
        assert search.search(Q, k=1000).ids.shape == (20, 300)
        assert search.rerank([3, 4], [0.5, 0.4], k=1000).ids.shape == (2,)
        assert search.similar([3, 4], k=1000).ids.shape == (2, 299)
        few = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=2, n_seeds=50).fit(X[:4])
        assert sorted(few.search(Q[0]).ids) == [0, 1, 2, 3]

    def test_similar_leaves_the_item_out(self, data):
        X, _ = data
        search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=8, solver="direct").fit(X)
        S, _ = dense_graph(X, 8)
        scores = dense_scores(S, np.eye(300)[:, [5, 80]])
        ranking = search.similar([5, 80], k=299)
        for j, own in enumerate((5, 80)):
            assert own not in ranking.ids[j]
            np.testing.assert_allclose(ranking.scores[j], scores[ranking.ids[j], j], rtol=1e-3, atol=1e-7)
            assert len(set(ranking.ids[j])) == 299

    def test_a_graph_made_elsewhere(self, data):
        X, Q = data
        graph = mf.build_graph(X, 8)
        own, given = (
            mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=8).fit(X),
            mf.ManifoldSearch(preset="plain-diffusion").fit(X, graph=graph),
        )
        np.testing.assert_array_equal(own.search(Q, k=9).ids, given.search(Q, k=9).ids)
        blind = mf.ManifoldSearch(preset="plain-diffusion").fit(graph=graph)
        np.testing.assert_array_equal(
            own.rerank([[3, 4, 5]], [[0.9, 0.8, 0.7]]).ids, blind.rerank([[3, 4, 5]], [[0.9, 0.8, 0.7]]).ids
        )
        assert blind.similar(3, k=4).ids.shape == (4,)
        with pytest.raises(ValueError, match="fitted without X"):
            blind.search(Q)
        with pytest.raises(ValueError, match="fit needs X, neighbors or a graph"):
            mf.ManifoldSearch(preset="plain-diffusion").fit()
        with pytest.raises(ValueError, match="call fit"):
            mf.ManifoldSearch(preset="plain-diffusion").search(Q)

    @pytest.mark.parametrize("metric", ["euclidean", "inner_product"])
    @pytest.mark.parametrize("given", [False, True])
    def test_other_metrics_find_the_cluster(self, metric, given):
        rng = np.random.default_rng(5)
        centres = 100 * rng.normal(size=(4, 6))
        y = np.repeat(np.arange(4), 40)
        X = centres[y] + rng.normal(size=(160, 6))
        search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=10, metric=metric)
        search.fit(X, graph=mf.build_graph(X, 10, metric=metric) if given else None)
        if metric == "euclidean":
            ids, scores = search.search(centres, k=20)
            assert (y[ids] == np.arange(4)[:, None]).all()
            assert (scores > 0).all()
        else:
            ids, _ = search.search(centres, k=5)
            assert len(set(ids[0])) == 5

    def test_the_batch_does_not_change_an_answer(self, data):
        X, Q = data
        Q = np.tile(Q, (5, 1))  # more than one block of 64
        search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=8, solver="direct").fit(X)
        many = search.search(Q, k=10)
        for j in (0, 63, 64, 99):
            one = search.search(Q[j], k=10)
            np.testing.assert_array_equal(one.ids, many.ids[j])
            np.testing.assert_allclose(one.scores, many.scores[j], rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(8, 120),
    k=st.integers(1, 15),
    rtol=st.sampled_from([1e-1, 1e-2, 1e-3, 1e-5]),
    alpha=st.sampled_from([0.3, 0.9, 0.99]),
    iterations=st.sampled_from([None, 1, 4]),
)
def test_a_certified_set_is_that_of_the_exact_scores(seed, n, k, rtol, alpha, iterations):
    X, Q = collection(n, 4, seed, spread=0.8)
    solver = mf.solvers.ConjugateGradient(rtol=rtol, max_iter=iterations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ManifoldWarning)
        search = mf.ManifoldSearch(
            preset="plain-diffusion", n_neighbors=5, alpha=alpha, solver=solver, on_failure="ignore"
        ).fit(X)
        ranking = search.search(Q, k=k)
    similarities = (unit(Q) @ unit(X).T).astype(np.float32)
    near = np.argsort(-similarities, axis=1, kind="stable")[:, :5]
    seeds = query_seeds(near, np.take_along_axis(similarities, near, axis=1), n_nodes=n)
    exact = mf.diffuse(search.graph_.astype(np.float64), seeds, filter=mf.Diffusion(alpha), solver="direct").scores
    rounding = 1e-6 * exact.max()  # of the float32 similarities that the seeds are made of
    for j, ids in enumerate(ranking.ids):
        outside = np.setdiff1d(np.arange(n), ids)
        if not outside.size:
            assert ranking.certified[j] == (similarities[j].max() > 0)  # nothing is proved of a query without a seed
            continue
        best, last = exact[outside, j].max(), exact[ids, j].min()
        if np.isfinite(ranking.slack[j]):
            assert best <= (1 + ranking.slack[j]) * last + rounding
        if ranking.certified[j]:
            assert best <= last + rounding


def test_early_stopping_is_certified_often_enough_to_matter():
    X, Q = collection(300)
    exact = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=8, solver="direct").fit(X).search(Q, k=10)
    assert exact.certified.mean() > 0.9
    few = mf.solvers.ConjugateGradient(rtol=1e-6, max_iter=2)
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=8, solver=few).fit(X)
    with pytest.warns(ConvergenceWarning):
        loose = search.search(Q, k=10)
    assert not loose.certified.all()  # two iterations prove little
    assert (loose.slack >= exact.slack).all()


def test_permuted_points_permute_the_answer():
    X, Q = collection(150)
    order = np.random.default_rng(9).permutation(150)
    a = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=6, solver="direct").fit(X).search(Q, k=15)
    b = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=6, solver="direct").fit(X[order]).search(Q, k=15)
    np.testing.assert_allclose(a.scores, b.scores, rtol=1e-5)
    assert (order[b.ids] == a.ids).mean() > 0.99


def test_auto_looks_at_the_filter_and_explains_itself():
    X = np.random.default_rng(8).standard_normal((300, 6))
    search = mf.ManifoldSearch(preset="plain-diffusion").fit(X)
    assert "cg, because the filter has poles" in search.explain()
    assert "degree^0.5" in mf.ManifoldSearch(preset="plain-diffusion", degree_exponent=0.5).fit(X[:50]).explain()
    assert (
        "direct, because a dense factor of 50 nodes"
        in mf.ManifoldSearch(preset="plain-diffusion").fit(X[:50]).explain()
    )
    assert "as named" in mf.ManifoldSearch(preset="plain-diffusion", solver="chebyshev").fit(X).explain()
    with pytest.raises(ValueError, match="solver must be 'auto'"):
        mf.ManifoldSearch(preset="plain-diffusion", solver="gmres")
    Y = np.eye(300)[:, :3]
    for filter, expected in ((mf.Heat(3.0), "chebyshev"), (mf.LowPass(0.5), "direct"), (mf.Diffusion(0.9), "cg")):
        assert mf.diffuse(search.graph_, Y, filter=filter, solver="auto").solver == expected
