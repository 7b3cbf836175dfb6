"""A fitted search with other settings answers as one that was fitted with them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm

import manifold as mf
from manifold import datasets
from manifold.ranking.seeds import unit_seeds


@pytest.fixture(scope="module")
def collection():
    X, _ = datasets.digits()
    return X[:300], X[900:910]


def answers(ranking):
    return [np.asarray(part).tobytes() for part in (ranking.ids, ranking.scores, ranking.slack)]


@pytest.mark.parametrize("preset", ["default", "adaptive"])
@pytest.mark.parametrize("solver", ["cg", "lanczos", "index"])
def test_the_same_as_fitted_with_them(collection, preset, solver):
    X, Q = collection
    search = mf.ManifoldSearch(preset=preset).fit(X)
    before = answers(search.search(Q, k=20))
    settings = {"n_seeds": 3, "degree_exponent": 0.25, "solver": solver}
    changed = search.with_settings(filter=mf.Diffusion(0.9), **settings)
    fitted = mf.ManifoldSearch(preset=preset, alpha=0.9, **settings).fit(X)
    assert answers(changed.search(Q, k=20)) == answers(fitted.search(Q, k=20)) != before
    assert answers(search.search(Q, k=20)) == before
    assert changed.graph_ is search.graph_
    assert changed.explain() == fitted.explain()


def test_nothing_given_changes_nothing(collection):
    X, Q = collection
    search = mf.ManifoldSearch(preset="plain-diffusion").fit(X)
    assert answers(search.with_settings().search(Q)) == answers(search.search(Q))


def test_a_filter_that_no_search_is_made_with(collection):
    X, _ = collection
    search = mf.ManifoldSearch(preset="plain-diffusion", solver=mf.solvers.Lanczos(rtol=1e-4)).fit(X)
    W, d = search.graph_.affinity.toarray().astype(np.float64), search.graph_.degrees
    S = W / np.sqrt(np.outer(d, d))
    exact = (expm(4.0 * (S - np.eye(300))) @ unit_seeds(np.array([7]), 300).toarray())[:, 0]
    ids, scores = search.with_settings(filter=mf.Heat(4.0)).similar(7, k=10)
    exact[7] = -1
    assert ids.tolist() == np.argsort(-exact)[:10].tolist()
    np.testing.assert_allclose(scores, exact[ids], atol=1e-4)


def test_it_can_be_saved(collection, tmp_path):
    X, Q = collection
    warm = mf.ManifoldSearch(preset="plain-diffusion").fit(X).with_settings(filter=mf.Heat(8.0), degree_exponent=0.5)
    assert answers(mf.load(warm.save(tmp_path / "warm")).search(Q)) == answers(warm.search(Q))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_seeds": 0}, "n_seeds"),
        ({"degree_exponent": -1.0}, "degree_exponent"),
        ({"solver": "magic"}, "solver must be"),
        ({"filter": mf.Heat(3.0), "solver": "cg"}, "rational filter"),
    ],
)
def test_what_cannot_be_is_refused(collection, wrong, message):
    search = mf.ManifoldSearch(preset="plain-diffusion").fit(collection[0])
    with pytest.raises(ValueError, match=message):
        search.with_settings(**wrong)
    with pytest.raises(ValueError, match="not fitted"):
        mf.ManifoldSearch(preset="plain-diffusion").with_settings(n_seeds=2)
