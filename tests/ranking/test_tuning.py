"""Tuning without labels, and what a query keeps: planted cases, and formulas against transcriptions."""

from __future__ import annotations

import numpy as np
import pytest

import manifold as mf
from manifold.backends import get_backend
from manifold.graph import one_sided_weight, soft_mutual_graph
from manifold.graph.affinity import Affinity
from manifold.metrics import mean_average_precision
from manifold.neighbors import Neighbors, find_neighbors
from manifold.ranking import Adaptation, Setting, query_seeds, tune
from manifold.ranking._adaptation import Asked, NeighborReach, reciprocal_seeds, spread_of
from manifold.ranking._held_out import LENGTHS, HeldOut
from manifold.ranking._settings import grid
from manifold.ranking.tuning import WIDTH, _wide

PLAIN = Setting(n_neighbors=40, gamma=1.0, one_sided=1.0, filter=mf.Diffusion(0.1), degree_exponent=0.0)


def spirals(n=300, turns=1.0, seed=3):
    """Two interleaved spirals, lifted to 13 dimensions: near neighbours lie on the same one, far ones do not."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    t = np.sqrt(np.repeat(np.linspace(0.05, 1, n // 2), 2)) * 2 * turns * np.pi
    X = np.stack([t * np.cos(t + np.pi * y), t * np.sin(t + np.pi * y)], axis=1) + 0.05 * rng.normal(size=(n, 2))
    lift = np.linalg.qr(rng.normal(size=(12, 12)))[0][:2]
    # a constant coordinate: cosine orders points as distances do, near enough
    order = rng.permutation(n)
    return np.hstack([X @ lift, np.full((n, 1), 30.0)]).astype(np.float32)[order], y[order]


def copies(n=700, seed=5):
    """Digits, and queries that are noisy copies of the first 60: one item is relevant to each."""
    X = mf.datasets.digits().features[:n]
    noise = np.random.default_rng(seed).normal(size=(60, 64)) * 0.5 * X.std(axis=0)
    return X, (X[:60] + noise).astype(np.float32)


def quality(ids, relevant):
    return mean_average_precision(ids, relevant, interpolation="step")


def nearest(X, Q):
    unit_x, unit_q = (Z / np.linalg.norm(Z, axis=1, keepdims=True) for Z in (np.float64(X), np.float64(Q)))
    return np.argsort(-unit_q @ unit_x.T, axis=1, kind="stable")


# planted cases


def test_diffusion_is_chosen_on_a_curved_manifold():
    X, y = spirals()
    X, y, Q, asked = X[60:], y[60:], X[:60], y[:60]
    assert tune(X, settings=[PLAIN, Setting(5)]).setting == Setting(5)
    search = mf.ManifoldSearch(tune=True, purpose="topic").fit(X)
    relevant = [np.flatnonzero(y == c) for c in asked]
    assert quality(search.search(Q, k=len(X)).ids, relevant) > 0.95
    assert quality(nearest(X, Q), relevant) < 0.8


def test_a_query_with_one_relevant_item_is_left_alone_and_the_ranking_says_so():
    X, Q = copies()
    relevant = [np.array([i]) for i in range(60)]
    ranking = mf.ManifoldSearch(tune=True).fit(X).search(Q, k=len(X))
    before = quality(nearest(X, Q), relevant)
    assert quality(ranking.ids, relevant) >= 0.99 * before
    assert (ranking.kept >= 1).mean() > 0.8
    for row, kept, near in zip(ranking.ids, ranking.kept, nearest(X, Q), strict=True):
        assert row[:kept].tolist() == near[:kept].tolist()
    plain = mf.ManifoldSearch(preset="plain-diffusion").fit(X).search(Q, k=len(X))
    assert plain.kept.tolist() == [0] * 60
    assert quality(plain.ids, relevant) < 0.9 * before  # so that the case can fail


def test_few_items_are_kept_when_only_the_first_is_asked_for():
    X, Q = copies()
    search = mf.ManifoldSearch(preset="adaptive").fit(X)
    deep, short = search.search(Q, k=50), search.search(Q, k=1)
    np.testing.assert_array_equal(deep.ids[:, :1], short.ids)
    np.testing.assert_array_equal(np.minimum(deep.kept, 1), short.kept)


# the criterion


def test_cohesion_is_its_formula():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 6)).astype(np.float32)
    held = HeldOut.draw(find_neighbors(X, 30), 15, 1)
    n, q = held.rest.n_nodes, 6
    lists = np.stack([rng.permutation(n)[:20] for _ in range(q)])
    for j, at in enumerate((5, 10, 20)):
        for query, listed in enumerate(lists):
            expected = []
            for r in (2, 3, 5):
                x = [len(set(held.near[h, :r].tolist()) & set(listed[:at].tolist())) for h in range(15) if h != query]
                expected.append(sum(v * (v - 1) for v in x) / max((r - 1) * sum(x), 1))
            assert held.cohesion(lists)[query, j] == pytest.approx(np.mean(expected), abs=1e-12)
    np.testing.assert_allclose(np.vstack([held.cohesion(lists[:2]), held.cohesion(lists[2:], 2)]), held.cohesion(lists))


def test_lists_that_are_whole_clusters_are_cohesive_and_random_ones_are_not():
    rng = np.random.default_rng(1)
    y = np.repeat(np.arange(12), 24)
    X = (10 * rng.normal(size=(12, 8))[y] + rng.normal(size=(288, 8))).astype(np.float32)
    held = HeldOut.draw(find_neighbors(X, 22), 48, 0)
    asks = np.random.default_rng(0).permutation(288)[:48]
    kept = np.setdiff1d(np.arange(288), asks)
    whole = np.stack([np.argsort(y[kept] != y[i], kind="stable")[:20] for i in asks])
    apart = np.stack([rng.permutation(kept.size)[:20] for _ in asks])
    assert held.cohesion(whole)[:, -1].mean() > 0.9
    assert held.cohesion(apart)[:, -1].mean() < 0.2


def test_held_out_points_are_gone_and_the_other_lists_close_up():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(120, 5)).astype(np.float32)
    held = HeldOut.draw(find_neighbors(X, 30), 20, 7)
    out = np.random.default_rng(7).permutation(120)[:20]
    rest = np.setdiff1d(np.arange(120), out)
    direct = find_neighbors(X[rest], 10)
    np.testing.assert_array_equal(held.rest.first(10).indices, direct.indices)
    np.testing.assert_array_equal(held.near[:, :10], nearest(X[rest], X[out])[:, :10])


def test_queries_of_a_log_ask_what_is_left_as_its_own_search_would():
    """Lists of outside queries close up like those of a search of the rest; no judge is left out for them."""
    X = np.random.default_rng(41).normal(size=(300, 6)).astype(np.float32)
    log = np.random.default_rng(43).normal(size=(9, 6)).astype(np.float32)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (log, X)]
    similarities = unit[0] @ unit[1].T
    near = np.argsort(-similarities, axis=1)
    held = np.random.default_rng(0).permutation(300)[:50]
    drawn = HeldOut.draw(
        find_neighbors(X, 30), 50, 0, asked=(near[:, :40], np.take_along_axis(similarities, near, axis=1)[:, :40])
    )
    rest = np.setdiff1d(np.arange(300), held)
    expected = np.argsort(-similarities[:, rest], axis=1)[:, :20]
    np.testing.assert_array_equal(drawn.asked[0][:, :20], expected)
    assert drawn.n_queries == 9
    lists = np.tile(drawn.near[:1, :5], (9, 1))  # nobody asks for himself, and the first judge counts
    assert drawn.cohesion(lists).min() > 0
    own = HeldOut(drawn.rest, drawn.near[:1], drawn.similarities[:1])
    assert own.cohesion(drawn.near[:1, :5]).max() == 0


def test_a_log_tunes_and_hostile_ones_are_named():
    X, _ = spirals()
    log = X[::10] + np.random.default_rng(5).normal(size=(30, X.shape[1])).astype(np.float32) * 0.01
    found = tune(X, queries=log, settings=[PLAIN, Setting()], metric="euclidean")
    again = tune(X, queries=log, settings=[PLAIN, Setting()], metric="euclidean")
    assert found.setting == again.setting == Setting()
    assert [row["cohesion"] for row in found.table] == [row["cohesion"] for row in again.table]
    with pytest.raises(ValueError, match="as features"):
        tune(find_neighbors(X, 30), queries=log)
    with pytest.raises(ValueError, match="queries"):
        tune(X, queries=log[:, :3])


def test_one_basis_judges_every_filter_as_direct_solves_do():
    X, _ = spirals(240)
    settings = [Setting(5, filter=f) for f in (mf.Diffusion(0.9), mf.Diffusion(0.99), mf.RegularizedDiffusion(0.9))]
    held = HeldOut.draw(find_neighbors(X, 30), 40, 0)
    judged = dict(held.judged(settings, Affinity(), get_backend("scipy")))
    for setting in settings:
        lists = held.rest.first(5)
        one_sided, kernel = one_sided_weight(lists), Affinity(gamma=6.0)
        graph = soft_mutual_graph(lists, affinity=kernel, one_sided=one_sided).astype(np.float64)
        reach = NeighborReach.of(held.rest, 5).edge
        near = held.near[:, :5], held.similarities[:, :5]
        seeds = reciprocal_seeds(*near, reach=reach, affinity=kernel, one_sided=one_sided)
        scores = mf.diffuse(graph, seeds.toarray(), filter=setting.filter, solver="direct").scores
        scale = np.where(graph.degrees > 0, graph.degrees, 1) ** -0.5
        best = np.argsort(-scores.T * scale, axis=1, kind="stable")[:, :80]
        lengths = [T for T in LENGTHS if T <= 80]
        # lists from single precision, to a residual of 1e-2, differ by a few items
        difference = np.abs(judged[setting][:, : len(lengths)] - held.cohesion(best))
        assert difference.mean() < 0.02
        assert np.abs((judged[setting][:, : len(lengths)] - held.cohesion(best)).mean()) < 0.005


# the choice


def test_the_first_setting_stays_unless_another_is_clearly_better():
    X, _ = spirals()
    near = Setting(5), Setting(5, n_seeds=6)
    assert tune(X, settings=near).setting == near[0]
    assert tune(X, settings=near[::-1]).setting == near[1]
    assert tune(X, settings=[PLAIN, near[0]]).setting == near[0]


@pytest.mark.parametrize(("size", "d"), [(12, 8), (30, 16), (150, 8), (150, 40)])
def test_the_graph_is_wide_where_classes_are_larger_than_lists(size, d):
    rng = np.random.default_rng(7)
    y = np.repeat(np.arange(600 // size), size)
    X = (3 * rng.normal(size=(600 // size, d))[y] + rng.normal(size=(600, d))).astype(np.float32)
    lists = find_neighbors(X, WIDTH)
    why, large = _wide(lists), size > WIDTH
    assert bool(why) == large
    assert not large or f"of {WIDTH} neighbours are returned" in why
    assert _wide(lists.first(WIDTH - 1)) == ""  # of shorter lists nobody knows
    assert _wide(find_neighbors(rng.normal(size=(WIDTH + 1, d)), WIDTH)) == ""  # all are returned: by chance


def test_the_table_holds_all_that_was_tried_best_first():
    X, _ = spirals(300)
    settings = [Setting(5), Setting(10), PLAIN]
    tuning = tune(X, settings=settings)
    assert {row["setting"] for row in tuning.table} == set(settings)
    cohesion = [row["cohesion"] for row in tuning.table]
    assert cohesion == sorted(cohesion, reverse=True)
    assert [row["setting"] for row in tuning.table if row["chosen"]] == [tuning.setting]
    assert tuning.table[0]["short"] == 0
    assert tuning.n_held_out == 50
    assert str(tuning.setting) in repr(tuning)


def test_the_same_choice_from_features_and_from_neighbors_and_every_time():
    X, _ = spirals(300)
    settings = grid()[:16]
    first, again, given = (
        tune(X, settings=settings),
        tune(X, settings=settings),
        tune(find_neighbors(X, 30), settings=settings),
    )
    assert first.table == again.table == given.table


def test_too_few_points_keep_the_first_setting():
    tuning = tune(np.random.default_rng(0).normal(size=(40, 4)), settings=[Setting(5), Setting(7)])
    assert tuning.setting == Setting(5)
    assert tuning.table == ()
    assert "too few" in tuning.reason


def test_it_runs_on_awkward_collections():
    X = np.random.default_rng(4).normal(size=(300, 3)).astype(np.float32)
    few = [Setting(5), Setting(7, filter=mf.Heat(3.0), degree_exponent=0.0)]
    copied = X.copy()
    copied[100:160] = X[100]
    with pytest.warns(UserWarning, match="copies"):
        assert len(tune(copied, settings=few).table) == 2
    lists = find_neighbors(X, 30)
    isolated = np.where(np.arange(300)[:, None] < 250, lists.indices, -1)
    cut = Neighbors(isolated, lists.similarities, metric="cosine", method="by hand")
    assert len(tune(cut, settings=few).table) == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [({"settings": []}, "settings must hold"), ({"metric": "hamming"}, "metric"), ({"method": "guess"}, "method")],
)
def test_hostile_settings_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        tune(np.eye(70), **given)


def test_features_that_are_not_numbers_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        tune(np.full((70, 3), np.nan))


# what a query keeps


def test_weight_of_one_sided_edges_follows_reciprocity():
    ring = np.array([[(i - 1) % 20, (i + 1) % 20] for i in range(20)])
    lists = Neighbors(ring, np.ones((20, 2)), metric="cosine", method="by hand")
    assert one_sided_weight(lists) == 0  # every listing is returned
    star = Neighbors(np.array([[1], [0], *[[0]] * 18]), np.ones((20, 1)), metric="cosine", method="by hand")
    assert one_sided_weight(star) == 0.5  # 2 of 20: (18 / 2)^2 / 10, cut
    nobody = Neighbors(np.array([[1], [2], [0]]), np.ones((3, 1)), metric="cosine", method="by hand")
    assert one_sided_weight(nobody) == 0.5


def test_the_graph_lies_between_mutual_and_union():
    X = np.random.default_rng(6).normal(size=(60, 4))
    lists = find_neighbors(X, 6)
    made = {
        e: mf.graph_from_neighbors(lists, gamma=3.0, edges=e, bridge=1).affinity.toarray() for e in ("mutual", "union")
    }
    for b in (0.0, 0.3, 1.0):
        W = soft_mutual_graph(lists, affinity=Affinity(), one_sided=b).affinity.toarray()
        np.testing.assert_allclose(W, (1 - b) * made["mutual"] + b * made["union"], rtol=1e-6)
        np.testing.assert_array_equal(W, W.T)


def test_seeds_that_do_not_list_the_query_back_count_less():
    near, s = np.array([[2, 0, 1]]), np.array([[0.9, 0.8, 0.5]], dtype=np.float32)
    reach = np.array([0.7, 0.6, 0.95], dtype=np.float32)
    Y = reciprocal_seeds(near, s, reach=reach, affinity=Affinity(gamma=1.0), one_sided=0.1).toarray().ravel()
    np.testing.assert_allclose(Y, [0.8, 0.05, 0.9], rtol=1e-6)  # the first is whole though it is not reciprocal
    whole = reciprocal_seeds(near, s, reach=reach, affinity=Affinity(gamma=1.0), one_sided=1.0)
    np.testing.assert_array_equal(
        whole.toarray(), query_seeds(near, s, n_nodes=3, affinity=Affinity(gamma=1.0)).toarray()
    )


def test_order_is_the_run_then_the_fused_scores():
    rows, scores = np.array([[4, 3, 2, 1, 0, -1]]), np.array([[8.0, 4.0, 2.0, 1.0, 0.0, 0.0]])
    close = np.array([[0.5, 1.0, 0.5, 0.9, 0.8, 0.0]])
    reach = NeighborReach(np.zeros(5, np.float32), np.array([0.7, 0.7, 0.9, 0.0, 0.0], np.float32))
    asked = Asked(np.array([[1, 0, 2]]), np.array([[0.9, 0.8, 0.5]], np.float32), lambda rows: close)
    fused = Adaptation(fusion=2.0, lead=3).in_order(rows, scores, asked, reach=reach, spread=0.5)
    assert fused.rows.tolist() == [[1, 0, 3, 4, 2, -1]]  # 1 and 0 are reciprocal; then 4, 8 / e^2, 2 / e^2
    assert fused.diffusion.tolist() == [[1.0, 0.0, 4.0, 8.0, 2.0, 0.0]]
    np.testing.assert_allclose(fused.similarities, [[0.9, 0.8, 1.0, 0.5, 0.5, -np.inf]], rtol=1e-7)
    # places that are kept are worth what follows
    np.testing.assert_allclose(fused.scores, [[4.0, 4.0, 4.0, 8 / np.e**2, 2 / np.e**2, 0.0]])
    assert fused.kept.tolist() == [2]
    plain = Adaptation(fusion=0.0, lead=0).in_order(rows, scores, asked, reach=reach)
    assert plain.rows.tolist() == rows.tolist()
    assert plain.kept.tolist() == [0]


def test_of_the_first_places_few_go_to_items_that_are_far():
    """The nearest 100 less those exchanged are all among the first 100, the nearest 5 in their order in front."""
    rng = np.random.default_rng(8)
    X = rng.normal(size=(700, 4)).astype(np.float32)
    Q = rng.normal(size=(40, 4)).astype(np.float32)
    search = mf.ManifoldSearch().fit(X)
    near = nearest(X, Q)
    for k in (3, 100, 700):
        ranking = search.search(Q, k=k)
        assert (ranking.kept == min(k, 5)).all()
        np.testing.assert_array_equal(ranking.ids[:, :5], near[:, : min(k, 5)])
        assert (np.diff(ranking.scores, axis=1) <= 0).all()
    whole, short = search.search(Q, k=700).ids, search.search(Q, k=100).ids
    np.testing.assert_array_equal(whole[:, :100], short)
    assert all(set(row[:90]) <= set(listed) for row, listed in zip(near.tolist(), short.tolist(), strict=True))
    assert any(set(row[:100]) != set(listed) for row, listed in zip(near.tolist(), short.tolist(), strict=True))


def test_negative_similarities_keep_their_order_in_the_fusion():
    rows, scores = np.array([[0, 1, 2]]), np.ones((1, 3))
    close = np.array([[-0.9, -0.1, -0.5]])
    asked = Asked(np.empty((1, 0), int), np.empty((1, 0), np.float32), lambda rows: close)
    fused = Adaptation(lead=0).in_order(rows, scores, asked, reach=None, spread=0.3)
    assert fused.rows.tolist() == [[1, 2, 0]]
    assert (np.diff(fused.scores) < 0).all()


def test_the_spread_of_similarities_is_that_of_all_pairs():
    X = np.random.default_rng(9).normal(size=(300, 3)).astype(np.float32)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    assert spread_of(mf.neighbors.point_set(X)) == pytest.approx((unit @ unit.T).std(axis=1).mean(), rel=0.02)


@pytest.mark.parametrize(
    ("purpose", "preset"), [(None, "default"), ("item", "item"), ("topic", "adaptive")], ids=["none", "item", "topic"]
)
def test_a_purpose_is_a_preset(purpose, preset):
    X, Q = copies(400)
    by_purpose, by_name = mf.ManifoldSearch(purpose=purpose).fit(X), mf.ManifoldSearch(preset=preset).fit(X)
    np.testing.assert_array_equal(by_purpose.search(Q, k=30).ids, by_name.search(Q, k=30).ids)
    assert by_purpose.purpose == purpose


@pytest.mark.parametrize("given", [{"purpose": "items"}, {"purpose": "item", "preset": "paper"}])
def test_a_purpose_that_is_none_or_contradicts_is_refused(given):
    with pytest.raises(ValueError, match="purpose"):
        mf.ManifoldSearch(**given)


@pytest.mark.parametrize("purpose", [None, "item"])
def test_without_a_topic_one_relevant_item_is_found_as_before(purpose):
    X, Q = copies()
    relevant = [np.array([i]) for i in range(60)]
    ids = mf.ManifoldSearch(purpose=purpose).fit(X).search(Q, k=len(X)).ids
    assert quality(ids, relevant) >= 0.99 * quality(nearest(X, Q), relevant)


@pytest.mark.parametrize("given", [{"one_sided": 1.5}, {"fusion": -1.0}, {"fusion": float("nan")}, {"lead": -1}])
def test_adaptation_refuses_what_it_cannot_do(given):
    with pytest.raises(ValueError, match=next(iter(given))):
        Adaptation(**given)


# the façade


def test_evidence_is_that_of_the_lists():
    X = np.random.default_rng(19).normal(size=(300, 8))
    search = mf.ManifoldSearch(n_neighbors=5).fit(X)
    lists = find_neighbors(X, 5).indices
    back = np.mean([i in lists[j] for i, row in enumerate(lists) for j in row])
    hubs = mf.metrics.hubness(mf.metrics.k_occurrences(lists, 300))
    assert f"({back:.0%} are; hubness {hubs:.1f})" in search.explain()


def test_tuned_search_explains_itself():
    X, _ = spirals(300)
    search = mf.ManifoldSearch(tune=True).fit(X)
    said = search.explain()
    assert f"{search.tuning_.setting.filter}" in said
    assert "42 settings: cohesion 0." in said
    assert "of 50 held-out items" in said
    assert "Ranking.kept" in said
    assert search.n_neighbors == search.tuning_.setting.n_neighbors


@pytest.mark.parametrize(
    "given", [{"n_neighbors": 5}, {"alpha": 0.9}, {"preset": "paper"}, {"edges": "union"}, {"degree_exponent": 0.5}]
)
def test_tuning_refuses_what_it_chooses(given):
    with pytest.raises(ValueError, match=f"leave out {next(iter(given))}"):
        mf.ManifoldSearch(tune=True, **given)


def test_a_graph_made_elsewhere_cannot_be_tuned():
    X, _ = spirals(100)
    with pytest.raises(ValueError, match="leave out graph"):
        mf.ManifoldSearch(tune=True).fit(X, graph=mf.build_graph(X))


def test_every_door_adapts_alike():
    X, y = spirals(400)
    search = mf.ManifoldSearch(preset="adaptive").fit(X[50:])
    searched = search.search(X[:50], k=350)
    near = nearest(X[50:], X[:50])
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    similarities = np.take_along_axis(unit[:50] @ unit[50:].T, near, axis=1)
    reranked = search.rerank(near, similarities, k=350)
    assert np.mean(searched.ids[:, :100] == reranked.ids[:, :100]) > 0.97  # up to the last bits of similarities
    np.testing.assert_array_equal(searched.kept, reranked.kept)
    everything = search.rerank(near[:, :20], similarities[:, :20], k=350, candidates="all")
    assert np.mean(y[50:][everything.ids[:, :100]] == y[:50, None]) > 0.9
    alike = search.similar(np.arange(5), k=10)
    assert alike.ids.shape == (5, 10)
    assert not (alike.ids == np.arange(5)[:, None]).any()


@pytest.mark.parametrize("solver", ["cg", "index"])
def test_adaptation_works_on_every_kind_of_answer(solver):
    X, y = spirals(300)
    search = mf.ManifoldSearch(preset="adaptive", solver=solver).fit(X[30:])
    ranking = search.search(X[:30], k=50, slack=0.01)
    assert np.mean(y[30:][ranking.ids] == y[:30, None]) > 0.95
    assert (ranking.pool_slack <= 0.01).all()


def test_euclidean_collections_are_tuned():
    X, y = spirals(400)
    search = mf.ManifoldSearch(tune=True, purpose="topic", metric="euclidean").fit(X[50:])
    ranking = search.search(X[:50], k=150)
    assert np.mean(y[50:][ranking.ids] == y[:50, None]) > 0.95
    assert ranking.kept.max() <= 3


# the picture


def test_the_landscape_shows_every_setting_and_rings_the_chosen_one():
    pytest.importorskip("matplotlib")
    from manifold.plotting import tuning_landscape

    X, _ = spirals()
    tuning = tune(X, settings=[Setting(5), Setting(7), Setting(5, filter=mf.Heat(3.0), degree_exponent=0.0)])
    ax = tuning_landscape(tuning, title="spirals")
    heights = np.concatenate([np.atleast_1d(line.get_ydata()) for line in ax.lines])
    rows = [row["cohesion"] for row in tuning.table]
    assert sorted(heights) == sorted([*rows, next(row["cohesion"] for row in tuning.table if row["chosen"])])
    assert str(tuning.setting) in ax.texts[0].get_text()
    with pytest.raises(ValueError, match="nothing was tried"):
        tuning_landscape(tune(X[:20], settings=[Setting(5)]))
