"""Several vectors an image: seeds, pooling, truncation, and solvers that take pooling in, against dense formulas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from strict_backend import StrictBackend

import manifold as mf
from manifold.backends import get_backend
from manifold.errors import DatasetNotFoundError
from manifold.index import PooledColumns
from manifold.neighbors import PointSet
from manifold.ranking import RegionalSearch, pooling_weights, region_match
from manifold.ranking._folded import PooledSpectrum
from manifold.ranking._select import Bounds
from manifold.ranking.pooling import POOLINGS, Pooling, check_owners, region_weights

ALPHA = 0.9
SETTINGS = {"n_neighbors": 6, "n_seeds": 5, "n_largest": 12, "alpha": ALPHA, "bridge": 1}


def unit(X):
    X = np.float64(X)
    return X / np.linalg.norm(X, axis=-1, keepdims=True)


def photos(n_images=40, seed=17, d=6):
    """Images of 1 to 4 regions, each region near one of 8 objects; 5 queries of 1 to 3 regions."""
    rng = np.random.default_rng(seed)
    objects = rng.normal(size=(8, d))
    draw = lambda m: (objects[rng.integers(0, 8, m)] + 0.4 * rng.normal(size=(m, d))).astype(np.float32)  # noqa: E731
    images = np.repeat(np.arange(n_images), rng.integers(1, 5, n_images))
    queries = np.repeat(np.arange(5), [1, 3, 2, 2, 1])
    order = rng.permutation(images.size)  # regions of an image need not stand together
    return draw(images.size), images[order], draw(queries.size), queries


def dense_seeds(Q, queries, X, *, n_seeds=5, n_largest=12, y_mode="sum_of_powers"):
    similarities = unit(Q) @ unit(X).T
    Y = np.zeros((len(X), queries.max() + 1))
    for row, query in zip(similarities, queries, strict=True):
        near = np.argsort(-row, kind="stable")[:n_seeds]
        Y[near, query] += np.maximum(row[near], 0) ** 3 if y_mode == "sum_of_powers" else row[near]
    Y = Y if y_mode == "sum_of_powers" else np.maximum(Y, 0) ** 3
    for column in Y.T:
        column[np.argsort(-column, kind="stable")[n_largest:]] = 0
    return Y


def dense_scores(graph, Y, alpha=ALPHA):
    W = graph.affinity.toarray().astype(np.float64)
    d = W.sum(axis=1)
    inverse = np.where(d > 0, 1 / np.sqrt(np.where(d > 0, d, 1)), 0)
    S = inverse[:, None] * W * inverse
    return (1 - alpha) * np.linalg.solve(np.eye(len(S)) - alpha * S, Y)


def dense_pooled(F, X, images, pooling, lam=1.0):
    X, G = unit(X), []
    for image in range(images.max() + 1):
        mine = np.flatnonzero(images == image)
        if pooling == "max":
            G.append(F[mine].max(axis=0))
            continue
        w = np.ones(mine.size)
        if pooling == "generalized_max":
            w = np.linalg.inv(X[mine] @ X[mine].T + lam * np.eye(mine.size)).sum(axis=1)
        G.append(w @ F[mine])
    return np.maximum(G, 0)


class TestPooling:
    def test_images_of_many_sizes_are_weighted_one_by_one(self):
        X, images, _, _ = photos()
        points = PointSet(X, "cosine")
        weights = region_weights(points, images, pooling="generalized_max", regularization=0.3)
        for image in range(images.max() + 1):
            mine = images == image
            np.testing.assert_allclose(weights[mine], pooling_weights(unit(X[mine]), regularization=0.3), rtol=1e-5)
        np.testing.assert_array_equal(region_weights(points, images, pooling="max"), 1)

    def test_repeated_regions_share_one_vote_and_orthogonal_ones_do_not(self):
        X = np.vstack([np.tile([[0.0, 0.0, 2.0]], (3, 1)), np.eye(3)]).astype(np.float32)
        weights = region_weights(PointSet(X, "cosine"), np.repeat([0, 1], 3), pooling="generalized_max")
        np.testing.assert_allclose(weights, np.repeat([1 / 4, 1 / 2], 3), rtol=1e-12)

    @pytest.mark.parametrize("pooling", POOLINGS)
    @settings(max_examples=60, deadline=None)
    @given(seed=st.integers(0, 10**6))
    def test_the_bounds_of_images_hold_whatever_the_regions_are(self, pooling, seed):
        rng = np.random.default_rng(seed)
        images = np.concatenate([np.arange(4), rng.integers(0, 4, 9)])
        weights = np.ones(13) if pooling != "generalized_max" else rng.normal(size=13)  # half of them negative
        lower = rng.random((13, 3))
        width = rng.random((13, 3)) * rng.integers(0, 2, (13, 3))
        found = Pooling(images, weights, get_backend(), maximum=pooling == "max").bounds(
            Bounds(lower + width / 2, lower, lower + width)
        )
        for share in (0.0, 1.0, rng.random((13, 3)), (weights < 0)[:, None], (weights > 0)[:, None]):
            F = lower + share * width
            exact = np.array(
                [
                    F[images == i].max(axis=0) if pooling == "max" else weights[images == i] @ F[images == i]
                    for i in range(4)
                ]
            )
            exact = np.maximum(exact, 0)
            assert (found.lower <= exact).all()
            assert (exact <= found.upper).all()
            assert (found.lower <= found.scores).all()
            assert (found.scores <= found.upper).all()

    def test_an_unknown_region_leaves_its_image_unknown(self):
        pooling = Pooling(np.array([0, 0, 1]), np.array([1.0, -1.0, 1.0]), get_backend())
        inf = np.array([[1.0], [np.inf], [2.0]])
        found = pooling.bounds(Bounds(np.ones((3, 1)), np.zeros((3, 1)), inf))
        assert found.lower.ravel().tolist() == [0.0, 0.0]
        np.testing.assert_allclose(found.upper.ravel(), [1.0, 2.0], rtol=1e-12)
        assert pooling.bounds(Bounds(np.ones((3, 1)), np.zeros((3, 1)), inf[::-1])).upper[0, 0] == pytest.approx(2)

    @pytest.mark.parametrize(
        ("owners", "message"),
        [
            ([0, 1], r"images must hold one integer, the owner, for each of the 3 regions, got int64 \(2,\)"),
            ([0.0, 1.0, 1.0], "images must hold one integer"),
            ([-1, 0, 0], "numbered from 0, got -1"),
            ([0, 2, 2], "number 1 owns no region: renumber them"),
            ([0, 1, 2**62], "number 2 owns no region: renumber them"),
        ],
    )
    def test_owners_that_own_nothing(self, owners, message):
        with pytest.raises(ValueError, match=message):
            check_owners(owners, 3, name="images")


class TestRegionMatch:
    def test_equals_the_double_loop(self):
        X, images, Q, queries = photos()
        found = region_match(PointSet(Q, "cosine"), PointSet(X, "cosine"), queries=queries, images=images)
        similarities = unit(Q) @ unit(X).T
        for query in range(5):
            for image in range(images.max() + 1):
                best = similarities[queries == query][:, images == image].max(axis=1).sum()
                assert found[query, image] == pytest.approx(best, abs=1e-6)

    def test_tiles_do_not_change_it(self, monkeypatch):
        X, images, Q, queries = photos()
        whole = region_match(PointSet(Q, "cosine"), PointSet(X, "cosine"), queries=queries, images=images)
        monkeypatch.setattr("manifold.ranking.pooling._GATHER", 40)
        parts = region_match(PointSet(Q, "cosine"), PointSet(X, "cosine"), queries=queries, images=images)
        np.testing.assert_array_equal(whole, parts)


class TestSearch:
    @pytest.mark.parametrize("y_mode", ["sum_of_powers", "power_of_sum"])
    @pytest.mark.parametrize("pooling", POOLINGS)
    def test_equals_the_dense_transcription(self, pooling, y_mode):
        X, images, Q, queries = photos()
        search = RegionalSearch(pooling=pooling, y_mode=y_mode, solver="direct", **SETTINGS).fit(X, images)
        F = dense_scores(search.graph_, dense_seeds(Q, queries, X, y_mode=y_mode))
        G = dense_pooled(F, X, images, pooling)
        ranking = search.search(Q, queries, k=40)
        for j in range(5):
            assert sorted(ranking.ids[j]) == list(range(40))
            np.testing.assert_allclose(ranking.scores[j], G[ranking.ids[j], j], rtol=1e-4, atol=1e-6 * G.max())
            assert (np.diff(ranking.scores[j]) <= 0).all()
        regions = search.region_scores(Q, queries).T
        summed = [
            regions[images == i].max(axis=0) if pooling == "max" else regions[images == i].sum(axis=0)
            for i in range(40)
        ]
        np.testing.assert_allclose(np.maximum(summed, 0), G, rtol=1e-4, atol=1e-6 * G.max())

    @pytest.mark.parametrize(("pooling", "factor"), [("generalized_max", 0.5), ("sum", 1.0), ("max", 1.0)])
    def test_one_region_an_image_is_the_global_search(self, pooling, factor):
        X, _, Q, _ = photos(120)
        same = {"n_neighbors": 6, "n_seeds": 5, "alpha": ALPHA, "bridge": 1, "degree_exponent": 0.25}
        plain = mf.ManifoldSearch(preset="plain-diffusion", **same).fit(X).search(Q, k=len(X))
        ranking = RegionalSearch(pooling=pooling, **same).fit(X).search(Q, np.arange(len(Q)), k=len(X))
        np.testing.assert_array_equal(ranking.ids, plain.ids)
        np.testing.assert_allclose(ranking.scores, factor * plain.scores, rtol=1e-6)
        np.testing.assert_allclose(ranking.slack, plain.slack, atol=1e-9)

    def test_names_and_single_queries(self):
        X, images, Q, queries = photos()
        names = [f"photo-{i}" for i in range(40)]
        search = RegionalSearch(**SETTINGS).fit(X, images, ids=names)
        all_at_once = search.search(Q, queries, k=7)
        alone = search.search(Q[queries == 1], k=7)
        assert alone.ids.tolist() == all_at_once.ids[1].tolist()
        assert alone.ids[0].startswith("photo-")
        assert search.search(Q[0], k=3).ids.tolist() == all_at_once.ids[0][:3].tolist()
        assert search.region_scores(Q[0]).shape == (len(X),)

    def test_no_query_has_no_answer(self):
        X, images, Q, queries = photos()
        search = RegionalSearch(**SETTINGS).fit(X, images)
        for shortlist in (None, 5):
            assert search.search(Q[:0], queries[:0], k=7, shortlist=shortlist).ids.shape == (0, 7)
        assert search.search(np.zeros(6), k=7).ids.shape == (7,)  # near nothing: the baseline alone

    def test_a_query_without_regions_is_refused_with_the_cure(self):
        X, images, Q, _ = photos()
        search = RegionalSearch(**SETTINGS).fit(X, images)
        for shortlist in (None, 5):
            with pytest.raises(ValueError, match=r"Q holds no region .* \(0, 6\): queries=\[\] asks nothing"):
                search.search(np.empty((0, 6)), k=7, shortlist=shortlist)
            assert search.search(np.empty((0, 6)), [], k=7, shortlist=shortlist).ids.shape == (0, 7)
            assert search.search(Q[:1], k=7, shortlist=shortlist).ids.shape == (7,)

    def test_says_what_it_is(self):
        X, images, _, _ = photos()
        said = repr(RegionalSearch(pooling="sum", **SETTINGS).fit(X, images))
        assert "pooling='sum', filter=Diffusion(alpha=0.9)" in said
        assert said.endswith("fitted to 40 images")

    def test_the_order_of_regions_is_of_no_account(self):
        X, images, Q, queries = photos()
        order = np.random.default_rng(3).permutation(len(X))
        a, b = (
            RegionalSearch(solver="direct", **SETTINGS).fit(X[o], images[o]).search(Q, queries, k=40)
            for o in (np.arange(len(X)), order)
        )
        np.testing.assert_allclose(a.scores, b.scores, rtol=1e-4, atol=1e-7)

    def test_images_out_of_reach_follow_in_the_order_of_region_match(self):
        rng = np.random.default_rng(3)
        # two cones far apart: the query reaches nothing of the second
        X = np.repeat([[5, 0, 0], [0, 5, 1]], 30, axis=0) + rng.normal(size=(60, 3))
        images, Q = np.repeat(np.arange(20), 3), np.array([[5.0, 0.2, 0.1], [5.0, 0.3, 0.0]])
        search = RegionalSearch(n_neighbors=3, n_seeds=2).fit(X, images)
        ids, scores = search.search(Q, k=20)
        n_reached = int((scores > 0).sum())
        assert 0 < n_reached < 20
        match = (unit(Q) @ unit(X).T).reshape(2, 20, 3).max(axis=2).sum(axis=0)
        rest = [i for i in np.argsort(-match) if i not in ids[:n_reached]]
        assert ids[n_reached:].tolist() == rest

    @pytest.mark.parametrize("pooling", POOLINGS)
    def test_a_certified_set_is_that_of_the_exact_scores(self, pooling):
        X, images, Q, queries = photos(150)
        loose = mf.solvers.ConjugateGradient(rtol=1e-2)
        search = RegionalSearch(pooling=pooling, solver=loose, **SETTINGS).fit(X, images)
        F = dense_scores(search.graph_, dense_seeds(Q, queries, X))
        G = dense_pooled(F, X, images, pooling)
        for slack in (None, 0.0):
            ranking = search.search(Q, queries, k=10, slack=slack)
            for j, ids in enumerate(ranking.ids):
                outside = np.setdiff1d(np.arange(150), ids)
                rounding = 1e-5 * G[:, j].max()  # of the float32 similarities that the seeds are made of
                assert G[outside, j].max() <= (1 + ranking.slack[j]) * G[ids, j].min() + rounding
        assert ranking.certified.all()  # slack=0 is reached

    def test_runs_on_a_device(self):
        X, images, Q, queries = photos()
        folded = mf.solvers.FastSpectralRanking(rank=1000, certify=False)
        for pooling, solver in [*((p, "cg") for p in POOLINGS), ("sum", "index"), ("generalized_max", folded)]:
            host, device = (
                RegionalSearch(pooling=pooling, solver=solver, backend=backend, **SETTINGS).fit(X, images)
                for backend in ("scipy", StrictBackend())
            )
            a, b = (search.search(Q, queries, k=9) for search in (host, device))
            np.testing.assert_array_equal(a.ids, b.ids)
            np.testing.assert_allclose(a.scores, b.scores, rtol=1e-6)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"pooling": "mean"}, "pooling must be one of .*got 'mean'"),
            ({"y_mode": "sum"}, "y_mode must be one of"),
            ({"regularization": 0.0}, "regularization must be a finite number > 0, got 0.0"),
            ({"degree_exponent": -1}, "degree_exponent must be a finite number >= 0"),
            ({"n_largest": 0}, "n_largest must be at least 1"),
            ({"solver": "gmres"}, "solver must be 'auto'"),
        ],
    )
    def test_settings_out_of_range(self, settings, message):
        with pytest.raises(ValueError, match=message):
            RegionalSearch(**settings)

    def test_calls_out_of_order(self):
        X, images, Q, queries = photos()
        with pytest.raises(ValueError, match="call fit"):
            RegionalSearch().search(Q)
        search = RegionalSearch(**SETTINGS)
        with pytest.raises(ValueError, match="ids must name each of the 40 items"):
            search.fit(X, images, ids=["a"])
        search.fit(X, images)
        with pytest.raises(ValueError, match="queries must hold one integer"):
            search.search(Q, queries[:-1])
        with pytest.raises(ValueError, match="truncation must be one of"):
            search.search(Q, queries, shortlist=3, truncation="none")
        with pytest.raises(ValueError, match="slack must be at least 0"):
            search.search(Q, queries, slack=-1)


class TestFoldedIn:
    """Linear pooling inside the index and the spectrum gives what pooling after a solve gives."""

    @pytest.mark.parametrize("exponent", [0.0, 0.5])
    @pytest.mark.parametrize("pooling", ["generalized_max", "sum"])
    @pytest.mark.parametrize(
        ("solver", "kind"),
        [
            (mf.DiffusionIndex(n_entries=1000), PooledColumns),
            (mf.solvers.FastSpectralRanking(rank=1000, certify=False), PooledSpectrum),
        ],
    )
    def test_same_scores_as_after_the_solve(self, solver, kind, pooling, exponent):
        X, images, Q, queries = photos(150, seed=5)
        common = {**SETTINGS, "pooling": pooling, "degree_exponent": exponent, "regularization": 0.2}
        after = RegionalSearch(solver="direct", **common).fit(X, images)
        folded = RegionalSearch(solver=solver, **common).fit(X, images, graph=after.graph_)
        assert isinstance(folded.fitted_.ranker.prepared, kind)
        assert (after.pooling_.weights < 0).any() == (pooling == "generalized_max")
        a, b = (search.search(Q, queries, k=40) for search in (after, folded))
        np.testing.assert_allclose(b.scores, a.scores, rtol=1e-4, atol=1e-6)
        shortlists = [search.search(Q, queries, k=20, shortlist=30, truncation="late") for search in (after, folded)]
        np.testing.assert_allclose(shortlists[1].scores, shortlists[0].scores, rtol=1e-4, atol=1e-6)
        proved = folded.search(Q, queries, k=10, slack=0.0)  # solved on, on the regions
        assert proved.certified.all()
        assert {*proved.ids.ravel()} == {*after.search(Q, queries, k=10, slack=0.0).ids.ravel()}

    @pytest.mark.parametrize("pooling", ["generalized_max", "sum"])
    @pytest.mark.parametrize("dtype", ["float32", "float16"])
    def test_a_narrow_index_bounds_what_it_left_out(self, pooling, dtype):
        X, images, Q, queries = photos(150, seed=5)
        solver = mf.DiffusionIndex(n_entries=30, dtype=dtype)
        search = RegionalSearch(solver=solver, pooling=pooling, regularization=0.2, **SETTINGS).fit(X, images)
        index = search.fitted_.ranker.prepared
        assert index.ids.shape == (len(X), 30)
        Y = sparse.csc_array(dense_seeds(Q, queries, X))
        exact = search.pooling_.matrix @ dense_scores(search.graph_.astype(np.float64), Y.toarray())
        for j in range(5):
            part = slice(Y.indptr[j], Y.indptr[j + 1])
            found = index.shortlist(Y.indices[part].astype(np.int64), Y.data[part], 10)
            others = np.setdiff1d(np.arange(150), found.rows)
            assert exact[found.rows, j].min() >= found.lower - 1e-9
            assert exact[others, j].max() <= found.outside + 1e-9
        solution = index.solve(Y)
        assert (np.abs(solution.scores - exact).max(axis=0) <= solution.error_bound).all()

    def test_pooling_of_another_graph_is_refused(self):
        X = photos()[0]
        graph = mf.build_graph(X, 5)
        with pytest.raises(ValueError, match="pooling must have a column for each"):
            mf.DiffusionIndex().build_pooled(graph, sparse.csr_array(np.ones((2, 3))))

    def test_a_saved_index_serves_again_and_no_other_collection(self, tmp_path):
        X, images, Q, queries = photos(150, seed=5)
        built = RegionalSearch(solver=mf.DiffusionIndex(n_entries=40), **SETTINGS).fit(X, images)
        before = built.search(Q, queries, k=10)
        path = built.fitted_.ranker.prepared.save(tmp_path / "index")
        index = mf.load(path)
        after = RegionalSearch(solver=index, **SETTINGS).fit(X, images).search(Q, queries, k=10)
        np.testing.assert_array_equal(before.ids, after.ids)
        np.testing.assert_array_equal(before.scores, after.scores)
        np.testing.assert_array_equal(before.slack, after.slack)
        with pytest.raises(ValueError, match="built for another graph"):
            RegionalSearch(solver=index, **SETTINGS).fit(X[::-1].copy(), images)
        for change in ({"pooling": "sum"}, {"regularization": 0.9}, {"degree_exponent": 0.5}, {"pooling": "max"}):
            with pytest.raises(ValueError, match=r"built for other owners or weights|max pooling"):
                RegionalSearch(solver=index, **{**SETTINGS, **change}).fit(X, images)
        with pytest.raises(ValueError, match="built for other owners"):
            RegionalSearch(solver=index, **SETTINGS).fit(X, np.roll(images, 1))
        (path / "forged").mkdir()
        forged = replace(index, ids=index.ids + 150)
        with pytest.raises(mf.errors.CorruptFileError, match="not below 150"):
            mf.load(forged.save(path / "forged" / "index"))

    def test_the_maximum_is_pooled_after_the_solve(self):
        X, images, Q, queries = photos()
        common = {**SETTINGS, "pooling": "max"}
        exact = RegionalSearch(solver="direct", **common).fit(X, images).search(Q, queries, k=40)
        for solver in ("index", mf.solvers.FastSpectralRanking(rank=1000, certify=False)):
            search = RegionalSearch(solver=solver, **common).fit(X, images)
            np.testing.assert_allclose(search.search(Q, queries, k=40).scores, exact.scores, rtol=1e-4, atol=1e-7)
            weighted = search.region_scores(Q, queries)
            assert weighted.shape == (5, len(X))


class TestTruncation:
    @pytest.mark.parametrize("truncation", ["early", "late"])
    def test_a_shortlist_of_everything_is_the_full_search(self, truncation):
        X, images, Q, queries = photos()
        search = RegionalSearch(solver="direct", **SETTINGS).fit(X, images)
        full = search.search(Q, queries, k=40)
        cut = search.search(Q, queries, k=40, shortlist=40, truncation=truncation)
        np.testing.assert_array_equal(cut.ids, full.ids)
        np.testing.assert_allclose(cut.scores, full.scores, rtol=1e-5, atol=1e-9)

    @pytest.mark.parametrize("truncation", ["early", "late"])
    def test_images_outside_keep_their_order(self, truncation):
        X, images, Q, queries = photos()
        search = RegionalSearch(solver="direct", **SETTINGS).fit(X, images)
        match = region_match(PointSet(Q, "cosine"), PointSet(X, "cosine"), queries=queries, images=images)
        baseline = np.argsort(-match, axis=1, kind="stable")
        ranking = search.search(Q, queries, k=33, shortlist=12, truncation=truncation)
        for j in range(5):
            assert set(ranking.ids[j, :12]) == set(baseline[j, :12])
            assert ranking.ids[j, 12:].tolist() == baseline[j, 12:33].tolist()
        assert (ranking.scores[:, 12:] == 0).all()
        few = search.search(Q, queries, k=4, shortlist=12, truncation=truncation)
        np.testing.assert_array_equal(few.ids, ranking.ids[:, :4])

    @pytest.mark.parametrize("pooling", POOLINGS)
    def test_early_cuts_first_and_normalises_after(self, pooling):
        X, images, Q, queries = photos()
        search = RegionalSearch(pooling=pooling, solver="direct", degree_exponent=0.5, **SETTINGS).fit(X, images)
        ranking = search.search(Q, queries, k=12, shortlist=12)
        W = search.graph_.affinity.toarray()
        for j in range(5):
            kept = np.flatnonzero(np.isin(images, ranking.ids[j]))
            graph = mf.graph_from_affinity(W[np.ix_(kept, kept)])
            mine = queries == j
            F = dense_scores(graph, dense_seeds(Q[mine], np.zeros(mine.sum(), int), X[kept]))
            F /= np.where(graph.degrees > 0, graph.degrees, 1)[:, None] ** 0.5
            names, local = np.unique(images[kept], return_inverse=True)
            G = dense_pooled(F, X[kept], local, pooling)[:, 0]
            expected = G[np.searchsorted(names, ranking.ids[j])]
            np.testing.assert_allclose(ranking.scores[j], expected, rtol=1e-4, atol=1e-6 * G.max())

    def test_an_index_of_the_collection_does_not_serve_a_shortlist(self):
        X, images, Q, queries = photos()
        stored, direct = (
            RegionalSearch(solver=solver, **SETTINGS).fit(X, images).search(Q, queries, k=9, shortlist=15)
            for solver in ("index", "direct")
        )
        np.testing.assert_array_equal(stored.ids, direct.ids)


class TestTruncatedRerank:
    """The same two truncations for one vector an item, on a shortlist made elsewhere."""

    def shortlists(self, m):
        rng = np.random.default_rng(29)
        X = rng.normal(size=(90, 5)).astype(np.float32)
        similarities = unit(X[:4] + 0.1) @ unit(X).T
        ids = np.argsort(-similarities, axis=1)[:, :m]
        return X, ids, np.take_along_axis(similarities, ids, axis=1)

    def test_a_shortlist_of_everything_is_the_full_search(self):
        X, ids, similarities = self.shortlists(90)
        search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=6, solver="direct").fit(X)
        answers = [search.rerank(ids, similarities, candidates=c) for c in ("shortlist", "subgraph", "all")]
        for other in answers[1:]:
            np.testing.assert_array_equal(other.ids, answers[0].ids)
            np.testing.assert_allclose(other.scores, answers[0].scores, rtol=1e-5)

    @pytest.mark.parametrize("exponent", [0.0, 0.5])
    def test_the_subgraph_has_degrees_of_its_own(self, exponent):
        X, ids, similarities = self.shortlists(25)
        search = mf.ManifoldSearch(
            preset="plain-diffusion", n_neighbors=6, n_seeds=4, degree_exponent=exponent, solver="direct"
        ).fit(X)
        ids[2, 20:] = -1
        ranking = search.rerank(ids, similarities, candidates="subgraph")
        W = search.graph_.affinity.toarray()
        for j, listed in enumerate(ids):
            kept = np.sort(listed[listed >= 0])
            graph = mf.graph_from_affinity(W[np.ix_(kept, kept)])
            y = np.zeros(kept.size)
            y[np.searchsorted(kept, listed[:4])] = similarities[j, :4] ** 3
            F = dense_scores(graph, y[:, None], 0.95)[:, 0] / np.where(graph.degrees > 0, graph.degrees, 1) ** exponent
            found = ranking.ids[j][: kept.size]
            assert set(found) == set(kept)
            np.testing.assert_allclose(ranking.scores[j, : kept.size], F[np.searchsorted(kept, found)], rtol=1e-4)
        assert (ranking.ids[2, 20:] == -1).all()

    def test_an_empty_shortlist_has_no_answer(self):
        X, ids, similarities = self.shortlists(5)
        ids[1] = -1
        ranking = (
            mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=6, solver="index")
            .fit(X)
            .rerank(ids, similarities, candidates="subgraph")
        )
        assert (ranking.ids[1] == -1).all()
        assert (ranking.ids[0] >= 0).all()


def test_small_objects_on_shelves_are_found_by_their_regions():
    """Twenty classes of Grocery: one iconic image of each, put to the test photos."""
    try:
        data = mf.datasets.load("grocery", protocol="iconic-test", features="regions")
    except DatasetNotFoundError as error:
        pytest.skip(str(error))
    kept, asking = np.flatnonzero(data.labels % 5 == 0), np.flatnonzero(data.query_labels % 5 == 0)
    X, Q = data.features[kept], data.queries[asking]
    relevant = [np.flatnonzero(data.labels[kept] == c) for c in data.query_labels[asking]]
    judge = lambda ids: mf.metrics.mean_average_precision(ids, relevant, interpolation="step")  # noqa: E731
    images, queries = np.repeat(np.arange(len(X)), 14), np.repeat(np.arange(len(Q)), 14)
    X, whole, Q, asked = X.reshape(-1, 128), X[:, 0], Q.reshape(-1, 128), Q[:, 0]
    regional = RegionalSearch().fit(X, images).search(Q, queries, k=len(whole)).ids
    match = region_match(PointSet(Q, "cosine"), PointSet(X, "cosine"), queries=queries, images=images)
    plain = (
        mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=20, alpha=0.9, n_seeds=10)
        .fit(whole)
        .search(asked, k=len(whole))
        .ids
    )
    assert judge(regional) > judge(plain) + 0.02
    assert judge(regional) > judge(np.argsort(-match, axis=1)) + 0.05
