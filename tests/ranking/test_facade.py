"""The façades as the field knows them: parameters, clones, copies; lists from elsewhere; images that come and go."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import sklearn.base
from scipy import sparse

import manifold as mf
from manifold import datasets
from manifold.errors import ManifoldWarning, NotFittedError
from manifold.neighbors import find_neighbors, point_set

pytestmark = pytest.mark.filterwarnings("ignore::manifold.errors.ManifoldWarning")

MADE = {
    "default": mf.ManifoldSearch,
    "paper": lambda: mf.ManifoldSearch(preset="paper", alpha=0.9, random_state=3),
    "adaptive": lambda: mf.ManifoldSearch(preset="adaptive", n_seeds=4),
    "tuned": lambda: mf.ManifoldSearch(tune=True),
    "index": lambda: mf.ManifoldSearch(preset="plain-diffusion", solver=mf.DiffusionIndex(20)),
    "regional": lambda: mf.RegionalSearch(n_neighbors=5, n_seeds=4, pooling="sum"),
}


@pytest.fixture(scope="module")
def digits():
    X = datasets.digits().features
    return X[:200], X[200:205]


def answers(search, Q):
    regional = isinstance(search, mf.RegionalSearch)
    ranking = search.search(Q, *([np.arange(len(Q))] if regional else []), k=9)
    return ranking.ids.tobytes(), ranking.scores.tobytes(), ranking.slack.tobytes()


@pytest.mark.parametrize("name", MADE)
def test_a_clone_has_the_parameters_and_no_fit(name, digits):
    X, Q = digits
    search = MADE[name]().fit(X)
    clone = sklearn.base.clone(search)
    assert clone.get_params() == search.get_params()
    assert len(clone) == 0
    assert not hasattr(clone, "graph_")
    assert answers(clone.fit(X), Q) == answers(search, Q)


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_copies_answer_alike(name, copied, digits):
    X, Q = digits
    search = MADE[name]().fit(X)
    assert answers(copied(search), Q) == answers(search, Q)


def test_parameters_are_kept_as_given_and_settings_say_what_they_mean(digits):
    search = mf.ManifoldSearch(preset="plain-diffusion", alpha=0.9)
    assert search.get_params()["n_neighbors"] is None
    assert (search.n_neighbors, search.filter) == (10, mf.Diffusion(0.9))
    search.fit(digits[0])
    assert search.set_params(n_neighbors=4, alpha=None) is search
    assert search.n_neighbors == 10  # of the fit, until the next one
    assert search.fit(digits[0]).graph_.facts["n_neighbors"] == 4
    assert search.filter == mf.Diffusion(0.95)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda s: s.set_params(k=3), r"no parameters \['k'\]"),
        (lambda s: s.set_params(n_seeds=0), "n_seeds must be at least 1"),
        (lambda s: s.set_params(tune=True, alpha=0.5), "tune=True chooses"),
        (lambda s: s.set_params(solver="nonsense"), "'index'"),
        (lambda s: setattr(s, "n_seeds", 3), r"set_params\(n_seeds=...\)"),
    ],
)
def test_refused_changes_change_nothing(change, match, digits):
    search = mf.ManifoldSearch(preset="plain-diffusion").fit(digits[0])
    before, state = search.get_params(), search.fitted_
    with pytest.raises((ValueError, AttributeError), match=match):
        change(search)
    assert search.get_params() == before
    assert search.fitted_ is state


@pytest.mark.parametrize("name", MADE)
def test_what_needs_a_fit_says_so(name):
    search = MADE[name]()
    assert len(search) == 0
    assert search
    for use in (lambda: search.graph_, search.explain, lambda: search.similar(0), lambda: search.save("s")):
        with pytest.raises(NotFittedError, match=rf"this {type(search).__name__} is not fitted: call fit"):
            use()


def test_what_users_see_of_a_fit_has_public_names(digits):
    search = mf.ManifoldSearch(preset="plain-diffusion", alpha=0.9).fit(digits[0])
    assert isinstance(search.settings, mf.ranking.SearchSettings)
    assert isinstance(search.fitted_, mf.ranking.Fitted)
    assert search.fitted_.settings is search.settings


def test_length_is_the_number_of_items_and_of_images(digits):
    X, _ = digits
    assert len(mf.ManifoldSearch(preset="plain-diffusion").fit(X)) == 200
    assert len(mf.RegionalSearch(n_neighbors=5).fit(X, np.arange(200) // 4)) == 50


# ---- lists of neighbours from elsewhere


@pytest.mark.parametrize("name", ["default", "adaptive", "tuned", "index"])
def test_lists_from_elsewhere_serve_as_those_of_a_search(name, digits):
    X, Q = digits
    own = MADE[name]().fit(X)
    given = MADE[name]().fit(X, neighbors=find_neighbors(X, 30))
    assert answers(given, Q) == answers(own, Q)
    for search in (own, given):
        search.add(Q[:2])
        search.remove([3, 200])
    assert answers(given, Q[2:]) == answers(own, Q[2:])
    assert len(given) == 200


def test_lists_alone_make_a_search_that_reranks(digits):
    X, _ = digits
    search = mf.ManifoldSearch(preset="adaptive").fit(
        neighbors=find_neighbors(X, 20), ids=[f"x{i}" for i in range(200)]
    )
    assert search.rerank(["x3", "x7"], [0.9, 0.8], k=2).ids.tolist() == ["x3", "x7"]
    with pytest.raises(ValueError, match="fitted without X"):
        search.search(X[:1])


@pytest.mark.parametrize(
    ("lists", "match"),
    [
        (lambda X: find_neighbors(X[:199], 12), "X has 200 rows but neighbors are lists of 199"),
        (lambda X: find_neighbors(X, 12, metric="euclidean"), "found by metric='euclidean', not 'cosine'"),
        (lambda X: find_neighbors(X, 3), "neighbors hold 3 for each point but n_neighbors=10"),
        (lambda X: find_neighbors(X[::-1], 12), "but X gives"),
    ],
)
def test_lists_of_other_points_are_refused(lists, match, digits):
    X, _ = digits
    search = mf.ManifoldSearch(preset="plain-diffusion")
    with pytest.raises(ValueError, match=match):
        search.fit(X, neighbors=lists(X))
    assert not hasattr(search, "graph_")


def test_a_point_set_is_taken_as_it_is(digits):
    X, Q = digits
    assert answers(mf.ManifoldSearch(preset="plain-diffusion").fit(point_set(X)), Q) == answers(
        mf.ManifoldSearch(preset="plain-diffusion").fit(X), Q
    )
    with pytest.raises(ValueError, match="metric='euclidean'"):
        mf.ManifoldSearch(preset="plain-diffusion").fit(point_set(X, "euclidean"))


# ---- images that come and go


def regions(n, rng):
    return rng.standard_normal((3 * n, 6)).astype(np.float32), np.repeat(np.arange(n), 3)


@pytest.mark.parametrize("pooling", ["generalized_max", "sum", "max"])
@pytest.mark.parametrize("solver", ["cg", "index"])
def test_images_come_and_go_as_if_fitted_to_what_is_there(pooling, solver, rng):
    X, images = regions(30, rng)
    Q, asked = regions(4, rng)
    settings = {"n_neighbors": 6, "n_seeds": 5, "pooling": pooling, "solver": solver}
    changed = mf.RegionalSearch(**settings).fit(X[:60], images[:60], ids=np.arange(20))
    assert changed.add(X[60:], images[60:] - 20).tolist() == list(range(20, 30))
    gone = [2, 7, 29]
    changed.remove(gone)
    stay = ~np.isin(images, gone)
    names = np.setdiff1d(np.arange(30), gone)
    fresh = mf.RegionalSearch(**settings).fit(X[stay], np.searchsorted(names, images[stay]), ids=names)
    a, b = (search.search(Q, asked, k=5, slack=0.0) for search in (changed, fresh))
    assert np.array_equal(a.ids, b.ids)
    assert np.allclose(a.scores, b.scores, rtol=1e-6)
    assert a.certified.all() == b.certified.all()


@pytest.mark.parametrize("pooling", ["generalized_max", "sum", "max"])
@pytest.mark.parametrize("solver", ["cg", "index", "direct"])
def test_similar_images_are_those_of_dense_arithmetic(pooling, solver, rng):
    X, images = regions(12, rng)
    search = mf.RegionalSearch(n_neighbors=6, pooling=pooling, solver=solver, alpha=0.9).fit(X, images)
    S = mf.graph_from_affinity(search.graph_.affinity.astype(np.float64))
    W = S.affinity.toarray()
    root = np.sqrt(np.where(W.sum(0) > 0, W.sum(0), 1))
    K = 0.1 * np.linalg.inv(np.eye(36) - 0.9 * W / root / root[:, None])
    for own in (0, 5):
        scores = search.pooling_.weights * (K @ (images == own))
        if pooling == "max":
            pooled = np.array([scores[images == i].max() for i in range(12)])
        else:
            pooled = np.maximum(np.bincount(images, scores), 0)
        pooled[own] = -1
        found = search.similar(own, k=4, slack=0.0)
        assert found.ids.tolist() == np.argsort(-pooled, kind="stable")[:4].tolist()
        assert own not in search.similar(own, k=11).ids
    assert search.similar([0, 5], k=3).ids.shape == (2, 3)


def test_wrong_images_are_refused_and_change_nothing(rng):
    X, images = regions(6, rng)
    search = mf.RegionalSearch(n_neighbors=4).fit(X, images)
    state = search.fitted_
    for call in (
        lambda: search.add(X[:3], [0, 0, 2]),  # image 1 has no region
        lambda: search.add(X[:3, :2]),
        lambda: search.add(X[:3], [0, 0, 0], ids=[4]),
        lambda: search.remove([7]),
        lambda: search.fit(X, images[:3]),
        lambda: search.similar(-1),
    ):
        with pytest.raises(ValueError, match=r"owns no region|features|in the collection|must hold one|missing marker"):
            call()
        assert search.fitted_ is state


def test_explain_says_what_is_pooled(rng):
    X, images = regions(6, rng)
    text = mf.RegionalSearch(n_neighbors=4, n_seeds=7).fit(X, images).explain()
    assert text.splitlines()[0].startswith("seeds    the 7 nearest regions of each of a query's, the 200 largest sums")
    assert text.splitlines()[-1] == "pooling  generalized_max of 18 regions to 6 images"


def test_seeds_of_similar_are_all_regions_of_the_image(rng):
    X, images = regions(5, rng)
    search = mf.RegionalSearch(n_neighbors=4, pooling="sum", solver="direct").fit(X, images)
    Y = sparse.csc_array((images == 2)[:, None].astype(float))
    F = mf.diffuse(search.graph_, Y, filter=search.filter, solver="direct").scores.ravel()
    expected = np.bincount(images, F)
    ranking = search.similar(2, k=4)
    assert np.allclose(ranking.scores, expected[ranking.ids], rtol=1e-5)


def test_warnings_of_awkward_points_still_come():
    with pytest.warns(ManifoldWarning, match="zero vectors"):
        mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=1).fit([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
