"""What a ranking says of itself, and what it certifies where there is nothing to certify."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest

import manifold as mf
from manifold import datasets
from manifold.errors import ManifoldWarning


@pytest.fixture(scope="module")
def search():
    X = datasets.digits().features[:120]
    return mf.ManifoldSearch(preset="plain-diffusion").fit(X, ids=[f"<{i}>" for i in range(120)])


@pytest.fixture(scope="module")
def queries():
    return datasets.digits().features[200:212]


def test_a_ranking_has_the_habits_of_the_field(search, queries):
    ranking = search.search(queries, k=5)
    ids, scores = ranking
    assert ids is ranking.ids
    assert scores is ranking.scores
    assert len(ranking) == 12
    assert len(search.search(queries[0])) == 1
    nothing = search.search(queries[:0], k=5)
    assert len(nothing) == 0
    assert nothing
    assert repr(nothing) == "Ranking: 0 x 5 ids, 0 of 0 certified"
    back = pickle.loads(pickle.dumps(ranking))
    assert np.array_equal(back.ids, ranking.ids)
    assert back.scores.tobytes() == ranking.scores.tobytes()
    assert back.certified.tolist() == ranking.certified.tolist()
    assert back.diagnostics.status == ranking.diagnostics.status


def test_the_text_says_what_is_not_proved(search, queries):
    exact = search.search(queries, k=5, slack=0.0)
    assert repr(exact) == "Ranking: 12 x 5 ids, 12 of 12 certified"
    loose = mf.ManifoldSearch(
        preset="plain-diffusion", solver=mf.solvers.ConjugateGradient(max_iter=8), on_failure="ignore"
    )
    ranking = loose.fit(datasets.digits().features[:120]).search(np.vstack([queries, 0 * queries[:1]]), k=5)
    finite = ranking.slack[np.isfinite(ranking.slack)]
    assert f"slack at most {finite.max():.2g}, {13 - finite.size} unproved" in repr(ranking)
    assert finite.max() > 0
    assert finite.size < 13


def test_the_long_table_has_a_row_an_answer(search):
    ranking = search.rerank([["<3>", "<5>", ""], ["<7>", "", ""]], [[0.9, 0.8, 0.0], [0.5, 0.0, 0.0]])
    table = ranking.to_pandas()
    assert list(table.columns) == ["query", "rank", "id", "score", "slack", "certified"]
    assert table[["query", "rank"]].to_numpy().tolist() == [[0, 1], [0, 2], [1, 1]]  # no row for what pads
    assert table["id"].tolist() == [*ranking.ids[0, :2], ranking.ids[1, 0]]
    assert table["score"].tolist() == [*ranking.scores[0, :2], ranking.scores[1, 0]]
    assert table["certified"].tolist() == ranking.certified[[0, 0, 1]].tolist()
    assert table["slack"].tolist() == ranking.slack[[0, 0, 1]].tolist()
    one = search.rerank(["<3>", "<5>"], [0.9, 0.8]).to_pandas()
    assert one["query"].tolist() == [0, 0]


def test_the_absence_of_pandas_names_the_cure(search, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"to_pandas needs pandas: pip install pandas, or use \.ids and \.scores"):
        search.similar("<3>", k=2).to_pandas()


def test_a_notebook_shows_the_first_places_as_a_table(search):
    ranking = search.similar(["<3>", "<5>"], k=8)
    shown = ranking._repr_html_()
    assert shown.count("<tr>") == 11
    assert f"&lt;{ranking.ids[0, 0][1:-1]}&gt;" in shown  # names are texts, not tags
    assert "<3>" not in shown
    assert "Ranking: 2 x 8 ids" in shown


# ---- impossible requests answered


@pytest.mark.parametrize("solver", ["auto", "cg", "direct", "index", mf.solvers.Chebyshev()], ids=str)
@pytest.mark.parametrize("slack", [None, 0.0])
def test_a_query_without_a_seed_is_answered_by_the_baseline_and_certifies_nothing(solver, slack):
    X = np.abs(datasets.digits().features[:90]) + 1
    search = mf.ManifoldSearch(preset="plain-diffusion", solver=solver, on_failure="ignore").fit(X)
    empty = np.stack([np.zeros(64), -X[3], X[5]])  # no direction; no positive similarity to any item; a query
    ranking = search.search(empty, k=7, slack=slack)
    assert not ranking.scores[:2].any()
    assert np.isinf(ranking.slack[:2]).all()  # every item has the score 0: no list of 7 is the one
    assert not ranking.certified[:2].any()
    assert ranking.scores[2].all()
    assert np.isfinite(ranking.slack[2])
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    cosines = unit @ -unit[3]
    assert np.allclose(cosines[ranking.ids[1]], np.sort(cosines)[::-1][:7])  # in the order of the baseline


@pytest.mark.parametrize("candidates", ["shortlist", "subgraph", "all"])
def test_a_shortlist_without_a_seed_certifies_nothing(candidates, search):
    ranking = search.rerank([["<3>", "<5>"], ["<7>", "<9>"]], [[-0.5, -0.6], [0.9, 0.8]], candidates=candidates)
    assert np.isinf(ranking.slack[0])
    assert ranking.certified.tolist() == [False, True]
    assert ranking.ids[0, :2].tolist() == ["<3>", "<5>"]


def test_images_that_show_nothing_of_a_query_certify_nothing():
    X = np.abs(datasets.digits().features[:60]) + 1
    search = mf.RegionalSearch(n_neighbors=6, n_seeds=9).fit(X, np.arange(60) // 3)
    ranking = search.search(np.stack([-X[0], X[1]]), [0, 1], k=4)
    assert ranking.certified.tolist() == [False, True]
    assert np.isinf(ranking.slack[0])


def test_a_degree_exponent_that_would_underflow_is_refused():
    X = datasets.digits().features[:120]
    degrees = mf.ManifoldSearch(preset="plain-diffusion").fit(X).graph_.degrees
    most = 511 / np.abs(np.log2(degrees[degrees > 0])).max()
    with pytest.raises(ValueError, match=rf"degree_exponent=300 is too large .* choose at most {most:.3g}, 0.5 say"):
        mf.ManifoldSearch(preset="plain-diffusion", degree_exponent=300).fit(X)
    search = mf.ManifoldSearch(preset="plain-diffusion", degree_exponent=0.99 * most).fit(X)
    ranking = search.search(X[:9], k=5, slack=0.0)
    assert ranking.scores.all()
    with pytest.raises(ValueError, match="would underflow"):
        search.with_settings(degree_exponent=1e6)
    with pytest.raises(ValueError, match="would underflow"):
        mf.RegionalSearch(degree_exponent=1e6, n_neighbors=6).fit(X)
    with pytest.warns(ManifoldWarning, match="zero vectors"):  # nothing to scale: no degree above 0
        mf.ManifoldSearch(preset="plain-diffusion", degree_exponent=1e6, n_neighbors=1).fit(np.zeros((3, 2)))


# ---- lists fall, and certificates speak of the list


@pytest.fixture(scope="module")
def digits():
    X = datasets.digits().features
    return X[100:700], X[:60]


WAYS = {
    "default": {},
    "item": {"purpose": "item"},
    "plain": {"preset": "plain-diffusion"},
    "paper": {"preset": "paper"},
    "adaptive": {"preset": "adaptive"},
    "tuned": {"tune": True},
    "index": {"solver": mf.DiffusionIndex(40)},
    "hubs": {"degree_exponent": 1.0},
    "euclidean": {"metric": "euclidean", "preset": "adaptive"},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("k", [1, 10, 150])
def test_scores_never_rise_along_a_list(name, k, digits):
    X, Q = digits
    search = mf.ManifoldSearch(**WAYS[name]).fit(X)
    near = np.argsort(-(Q @ X.T), axis=1, kind="stable")[:, :30]
    similarities = np.clip(np.linspace(0.99, 0.5, 30), 0, 1) * np.ones((len(Q), 1))
    if search.affinity.metric == "euclidean":
        similarities = similarities - 1
    lists = [search.search(Q, k=k), search.similar(np.arange(40), k=k)]
    lists += [search.rerank(near, similarities, k=k, candidates=c) for c in ("shortlist", "subgraph", "all")]
    for ranking in lists:
        assert (np.diff(ranking.scores, axis=1) <= 0).all()
        if ranking.diffusion is not None:
            assert ranking.diffusion.shape == ranking.scores.shape


@pytest.mark.parametrize("purpose", [None, "item"])
def test_lists_of_two_halves_merge_by_similarity(purpose, digits):
    """Each half lists its nearest, so that what is merged begins with the nearest of the whole, in their order."""
    X, Q = digits
    halves = [np.arange(300), np.arange(300, 600)]
    found = [mf.ManifoldSearch(purpose=purpose).fit(X[rows], ids=rows).search(Q, k=100) for rows in halves]
    ids, similarities = (np.hstack([getattr(r, name) for r in found]) for name in ("ids", "similarities"))
    merged = np.take_along_axis(ids, np.lexsort((ids, -similarities)), axis=1)[:, :90]
    asked, points = (mf.neighbors.point_set(rows) for rows in (Q, X))
    whole = mf.neighbors.exact_search(asked, points, k=90, backend=mf.backends.get_backend("scipy"))[0]
    np.testing.assert_array_equal(merged, whole)


@pytest.mark.parametrize("rule", ["min_max", "reciprocal_rank", "sum"])
def test_fused_lists_fall_too(rule, digits):
    X, Q = digits
    lists = [mf.ManifoldSearch(purpose=purpose).fit(X).search(Q, k=50) for purpose in (None, "topic")]
    fused = mf.reranking.fuse_rankings(lists, rule=rule)
    assert (np.diff(fused[1], axis=1) <= 0).all()


def test_regional_lists_fall_too(digits):
    X, Q = digits
    search = mf.RegionalSearch(n_neighbors=10, n_seeds=10).fit(X, np.arange(600) // 4)
    ranking = search.search(Q, np.arange(60) // 2, k=40)
    assert (np.diff(ranking.scores, axis=1) <= 0).all()


@pytest.mark.parametrize("options", [{"purpose": "topic"}, {"purpose": "topic", "tune": True}], ids=["topic", "tuned"])
def test_what_was_chosen_of_a_proved_pool_is_not_called_proved(options, digits):
    X, Q = digits
    search = mf.ManifoldSearch(**options).fit(X)
    whole, some = search.search(Q, k=100, slack=0.0), search.search(Q, k=10, slack=0.0)
    assert whole.certified.all()  # the pool itself
    assert whole.pool_slack is None
    assert not some.certified.any()
    assert (some.pool_slack == 0).all()
    order = np.argsort(-whole.diffusion, axis=1, kind="stable")
    best = np.take_along_axis(whole.ids, order, axis=1)[:, :10]
    assert any(set(a) != set(b) for a, b in zip(best.tolist(), some.ids.tolist(), strict=True))  # it would be false
    assert np.array_equal(some.ids, whole.ids[:, :10])


@pytest.mark.parametrize("settings", [{"preset": "adaptive"}, {"tune": True}, {"preset": "plain-diffusion"}])
def test_certified_means_that_the_set_is_that_of_the_exact_scores(settings):
    X = datasets.digits().features
    search = mf.ManifoldSearch(**settings).fit(X[:900])
    ranking = search.search(X[1000:1040], k=10, slack=0)
    fitted = search.fitted_
    found = fitted.points.asked(X[1000:1040])[0]
    Y = fitted.seeds(*fitted.nearest(found, 20)).toarray()
    alpha, root = fitted.settings.filter.alpha, np.sqrt(np.maximum(fitted.graph.degrees, 1e-300))
    S = fitted.graph.affinity.toarray() / root / root[:, None]
    F = np.linalg.solve(np.eye(900) - alpha * S, (1 - alpha) * Y)
    if fitted.settings.degree_exponent:
        F = F * fitted.graph.scale(fitted.settings.degree_exponent)[:, None]
    for j in np.flatnonzero(ranking.certified):
        inside = np.isin(np.arange(900), ranking.ids[j])
        assert F[inside, j].min() >= F[~inside, j].max() * (1 - 1e-12)
    if settings == {"preset": "plain-diffusion"}:
        assert ranking.certified.all()
