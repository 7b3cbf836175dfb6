"""What may be listed: every filtered list is the best of what is allowed, by brute force, and proved."""

from __future__ import annotations

import os

import numpy as np
import pytest

import manifold as mf
from manifold.neighbors import PointSet
from manifold.ranking._adaptation import Asked
from manifold.solvers import ConjugateGradient

N, Q, K = 700, 8, 10
SHARES = (0.5, 0.1, 0.01)
ROUNDS = int(os.environ.get("ALLOWED_ROUNDS", "1"))  # 12 by hand: more than 2,000 lists
RNG = np.random.default_rng(7)
CENTRES = RNG.normal(size=(12, 8))
POINTS = (CENTRES[RNG.integers(0, 12, N + Q)] + 0.6 * RNG.normal(size=(N + Q, 8))).astype(np.float32)
X, QUERIES = POINTS[:N], POINTS[N:]
NAMES = np.array([f"item {i}" for i in range(N)])


def exact_scores(search, seeds):
    """Scores of every item by a solve to the end of float64."""
    fitted = search.fitted_
    solved = ConjugateGradient(rtol=1e-13).prepare(
        fitted.graph.astype(np.float64), fitted.settings.filter, fitted.backend
    )
    p = fitted.settings.degree_exponent
    scale = fitted.graph.scale(p)[:, None] if p else 1.0
    return np.maximum(solved.solve(seeds).scores, 0) * scale


def entered(search, queries):
    fitted = search.fitted_
    return fitted.seeds(*fitted.nearest(PointSet(queries, "cosine"), fitted.settings.n_seeds))


def rows_of(ranking):
    return np.array([[-1 if name == "" else int(name.split()[1]) for name in row] for row in ranking.ids.tolist()])


def assert_best(ranking, scores, may):
    """Assert that each list holds the k largest scores of what is allowed, ties at 0 aside, and proves it."""
    rows, proved = rows_of(ranking), ranking.slack if ranking.pool_slack is None else ranking.pool_slack
    assert (proved == 0).all()
    for row, column in zip(rows, scores.T, strict=True):
        listed = row[row >= 0]
        assert may[listed].all()
        assert len(set(listed)) == listed.size == min(rows.shape[1], may.sum())
        best = np.sort(column[may])[::-1][: listed.size]
        np.testing.assert_allclose(np.sort(column[listed])[::-1], best, rtol=1e-8, atol=1e-14)


@pytest.fixture(scope="module", params=["plain-diffusion", "paper", "adaptive"])
def preset(request):
    return request.param


@pytest.mark.parametrize("solver", ["cg", "index", "local"])
def test_filtered_lists_are_the_best_of_what_is_allowed(preset, solver):
    search = mf.ManifoldSearch(preset=preset, solver=solver).fit(X, NAMES)
    k = 100 if preset == "adaptive" else K  # the whole pool, which is proved: its order is another matter
    scores = exact_scores(search, entered(search, QUERIES))
    for _ in range(ROUNDS):
        for share in SHARES:
            may = np.random.default_rng(int(1e3 * share)).permutation(N) < share * N
            if ROUNDS > 1:
                may = RNG.random(N) < share
            assert_best(search.search(QUERIES, k, allowed=may, slack=0), scores, may)


KINDS = {
    "mask": lambda may: may,
    "ids": lambda may: NAMES[may],
    "set": lambda may: {"gone", *NAMES[may].tolist()},
    "callable": lambda may: lambda ids: np.isin(ids, NAMES[may]),
}
ALLOWED = np.random.default_rng(3).random(N) < 0.05


@pytest.mark.parametrize("preset", ["plain-diffusion", "default"])
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_says_it_the_same_is_allowed(kind, preset):
    search = mf.ManifoldSearch(preset=preset, solver=ConjugateGradient(rtol=1e-5)).fit(X, NAMES)
    given, plain = KINDS[kind](ALLOWED), ALLOWED
    for call in (
        lambda may: search.search(QUERIES, K, allowed=may),
        lambda may: search.search(QUERIES[0], K, allowed=may),
        lambda may: search.similar(NAMES[:9], K, allowed=may),
        lambda may: search.rerank(NAMES[None, :300], np.linspace(1, 0, 300)[None], K, allowed=may),
        lambda may: search.rerank(NAMES[:20], np.linspace(1, 0, 20), K, candidates="all", allowed=may),
        lambda may: search.rerank(NAMES[:300], np.linspace(1, 0, 300), K, candidates="subgraph", allowed=may),
    ):
        one, other = call(given), call(plain)
        assert one.ids.tolist() == other.ids.tolist()
        assert one.scores.tolist() == other.scores.tolist()
        assert ALLOWED[np.isin(NAMES, one.ids[one.ids != ""])].all()


def test_similar_items_are_the_best_of_what_is_allowed():
    search = mf.ManifoldSearch(preset="plain-diffusion").fit(X, NAMES)
    own = np.flatnonzero(ALLOWED)[:5]
    scores = exact_scores(search, mf.ranking.unit_seeds(own, N))
    for j, row in enumerate(own):
        others = ALLOWED & (np.arange(N) != row)
        assert_best(search.similar(NAMES[[row]], K, allowed=ALLOWED, slack=0), scores[:, [j]], others)
    few = np.arange(N) < 3
    ranking = search.similar(NAMES[[1, 7]], K, allowed=few, slack=0)
    assert ranking.ids.shape == (2, 3)  # of three that are allowed one asks itself
    assert (ranking.ids[0] == "").sum() == 1
    assert ranking.certified.all()


def test_a_callable_is_asked_about_what_comes_up_and_never_twice():
    asked = []

    def even(ids):
        asked.extend(ids.tolist())
        return np.isin(ids, NAMES[::2])

    search = mf.ManifoldSearch(preset="plain-diffusion").fit(X, NAMES)
    ranking = search.search(QUERIES[:1], K, allowed=even)
    assert ranking.ids.shape == (1, K)
    assert len(asked) == len(set(asked)) < N / 4


def test_what_stands_in_a_shortlist_is_a_seed_though_it_is_not_allowed():
    search = mf.ManifoldSearch(preset="plain-diffusion").fit(X, NAMES)
    ids, similarities = NAMES[:4], [0.9, 0.8, 0.7, 0.6]
    everything = search.rerank(ids, similarities, N, candidates="all", slack=0)
    some = search.rerank(ids, similarities, N, candidates="all", allowed=NAMES[[2, 600]], slack=0)
    place = [everything.ids.tolist().index(name) for name in some.ids.tolist()]
    assert sorted(some.ids.tolist()) == sorted(NAMES[[2, 600]].tolist())
    np.testing.assert_allclose(some.scores, everything.scores[place], rtol=1e-3, atol=1e-9)


def test_strangers_behind_a_shortlist_are_allowed_by_name():
    search = mf.ManifoldSearch(preset="plain-diffusion").fit(X, NAMES)
    asked = {"ids": ["new", NAMES[3], "other", NAMES[1]], "similarities": [0.9, 0.8, 0.7, 0.6], "unknown": "behind"}
    by_ids = search.rerank(**asked, allowed=["new", NAMES[1]])
    assert by_ids.ids.tolist() == [NAMES[1], "new", "", ""]
    assert by_ids.n_unknown.tolist() == [1]
    by_question = search.rerank(**asked, allowed=lambda ids: np.isin(ids, ["new", NAMES[1]]))
    assert by_question.ids.tolist() == by_ids.ids.tolist()
    with pytest.raises(ValueError, match="a mask says nothing of ids that the collection does not hold"):
        search.rerank(**asked, allowed=ALLOWED)


@pytest.mark.parametrize(
    ("allowed", "error", "match"),
    [
        (np.ones(3, dtype=bool), ValueError, rf"allowed must be one boolean for each of {N} items, got bool \(3,\)"),
        ([1, 2], TypeError, "allowed is a mask, a callable, or ids: ids must be strings, got dtype int64"),
        ([[True, False]], TypeError, "allowed is a mask, a callable, or ids"),
        (0.5, TypeError, "allowed is a mask, a callable, or ids"),
        (NAMES[:4].reshape(2, 2), ValueError, r"allowed must be ids \(m,\) or a mask \(n,\), got shape \(2, 2\)"),
        (np.ma.masked_array(ALLOWED, ALLOWED), TypeError, "allowed is a masked array with masked entries"),
        (lambda ids: np.ones(1, dtype=bool), ValueError, r"allowed\(ids\) must be one boolean for each of"),
        (set, ValueError, r"allowed\(ids\) must be one boolean for each of"),
    ],
    ids=range(8),
)
def test_what_allows_nothing_that_can_be_told_is_refused(allowed, error, match):
    search = mf.ManifoldSearch(preset="plain-diffusion").fit(X, NAMES)
    with pytest.raises(error, match=match):
        search.search(QUERIES, K, allowed=allowed)
    numbers = mf.ManifoldSearch(preset="plain-diffusion").fit(X)
    with pytest.raises(TypeError, match="700 zeros and ones: a mask is boolean"):
        numbers.search(QUERIES, K, allowed=ALLOWED.astype(int))


@pytest.mark.parametrize("preset", ["plain-diffusion", "default"])
@pytest.mark.parametrize("solver", ["cg", "local", "index"])
def test_nothing_allowed_is_an_empty_list(preset, solver):
    search = mf.ManifoldSearch(preset=preset, solver=solver).fit(X, NAMES)
    for allowed in ([], np.zeros(N, dtype=bool), ["gone"], lambda ids: np.zeros(ids.size, dtype=bool)):
        assert search.search(QUERIES, K, allowed=allowed).ids.shape == (Q, 0)
        assert search.similar(NAMES[:2], K, allowed=allowed).ids.shape == (2, 0)
    assert search.rerank(NAMES[:2], [0.5, 0.4], allowed=[]).ids.tolist() == ["", ""]


@pytest.mark.parametrize("pooling", ["sum", "generalized_max", "max"])
@pytest.mark.parametrize("solver", ["cg", "local", "index"])
def test_images_are_the_best_of_what_is_allowed(solver, pooling):
    images = np.arange(N) // 2
    search = mf.RegionalSearch(n_neighbors=8, alpha=0.9, pooling=pooling, solver=solver).fit(
        X, images, ids=NAMES[: N // 2]
    )
    may = ALLOWED[: N // 2]
    everything = search.search(QUERIES, np.arange(Q), k=N, slack=0)
    for allowed in (may, NAMES[: N // 2][may], lambda ids: np.isin(ids, NAMES[: N // 2][may])):
        some = search.search(QUERIES, np.arange(Q), k=5, allowed=allowed, slack=0)
        assert some.certified.all()
        for j in range(Q):
            score = dict(zip(everything.ids[j].tolist(), everything.scores[j].tolist(), strict=True))
            best = sorted((score[name] for name in NAMES[: N // 2][may].tolist()), reverse=True)[:5]
            np.testing.assert_allclose([score[name] for name in some.ids[j].tolist()], best, rtol=1e-6, atol=1e-12)
    few = search.search(QUERIES, np.arange(Q), k=5, allowed=may, shortlist=3, truncation="late")
    assert np.isin(few.ids, NAMES[: N // 2][may]).all()
    like = search.similar(NAMES[:3], k=4, allowed=may)
    assert np.isin(like.ids[like.ids != ""], NAMES[: N // 2][may]).all()


@pytest.mark.parametrize("preset", ["default", "item"])
def test_a_fused_list_is_made_of_the_best_and_the_nearest_that_are_allowed(preset):
    search = mf.ManifoldSearch(preset=preset, solver=ConjugateGradient(rtol=1e-10), on_failure="ignore").fit(X, NAMES)
    fitted, scores = search.fitted_, exact_scores(search, entered(search, QUERIES))
    unit_x, unit_q = (Z / np.linalg.norm(Z, axis=1, keepdims=True) for Z in (X, QUERIES))
    similarities = (unit_q @ unit_x.T).astype(np.float32)
    for share in SHARES:
        may = np.random.default_rng(int(1e3 * share)).permutation(N) < share * N
        pool = np.argsort(-np.where(may[:, None], scores, -1), axis=0, kind="stable")[: min(200, may.sum())].T
        near = np.argsort(-np.where(may, similarities, -9), axis=1)[:, : min(100, may.sum())]
        asked = Asked(
            near,
            np.take_along_axis(similarities, near, axis=1),
            lambda rows: np.where(rows < 0, -np.inf, np.take_along_axis(similarities, np.maximum(rows, 0), axis=1)),
        )
        of_pool = np.take_along_axis(scores.T, pool, axis=1)
        fused = fitted.settings.adaptation.in_order(pool, of_pool, asked, reach=fitted.reach, spread=fitted.spread)
        rows = rows_of(search.search(QUERIES, K, allowed=may))
        assert np.mean([set(row) == set(best[:K]) for row, best in zip(rows, fused.rows, strict=True)]) == 1
