"""Several examples in one question: certificates against dense arithmetic, and what is avoided."""

from __future__ import annotations

import numpy as np
import pytest

import manifold as mf
from manifold import datasets, graph_from_affinity
from manifold.errors import DatasetNotFoundError
from manifold.ranking import by_examples
from manifold.solvers import ConjugateGradient, Direct


def random_search(rng):
    n = int(rng.integers(6, 30))
    W = np.triu((rng.random((n, n)) < rng.uniform(0.08, 0.5)) * rng.choice([1.0, rng.uniform(0.1, 2)], (n, n)), 1)
    graph = graph_from_affinity(W + W.T).astype(str(rng.choice(["float32", "float64"])))
    solver = ConjugateGradient(rtol=10.0 ** -rng.integers(1, 6))
    alpha = float(rng.choice([0.5, 0.9, 0.99]))
    exponent = float(rng.choice([0.0, 0.5]))
    search = mf.ManifoldSearch(
        preset="plain-diffusion",
        n_neighbors=None,
        alpha=alpha,
        solver=solver,
        degree_exponent=exponent,
        on_failure="ignore",
    )
    return search.fit(graph=graph)


def exact_scores(search, like, avoid, how, beta):
    graph = search.graph_.astype("float64")
    n = graph.n_nodes
    K = (
        mf.diffuse(graph, np.eye(n), filter=search.filter, solver=Direct()).scores
        * graph.scale(search.degree_exponent)[:, None]
    )
    wanted = K[:, like].mean(axis=1) if how == "any" else K[:, like].min(axis=1)
    return np.maximum(wanted - (beta * K[:, avoid].mean(axis=1) if len(avoid) else 0), 0)


@pytest.mark.parametrize("seed", range(10))
def test_certificates_of_two_thousand_questions_hold(seed):
    rng = np.random.default_rng([83, seed])
    n_certified = n_asked = 0
    for _ in range(50):
        search = random_search(rng)
        n = len(search)
        for _ in range(4):
            some = rng.permutation(n)
            m, away = int(rng.integers(1, 4)), int(rng.integers(0, 3))
            like, avoid = some[:m].tolist(), some[m : m + away].tolist()
            how, beta = str(rng.choice(["any", "all"])), float(rng.choice([0.5, 1.0, 0.1]))
            k = int(rng.integers(1, n - m - away + 1))
            slack = None if rng.random() < 0.5 else float(rng.choice([0.0, 0.1]))
            found = by_examples(search, like, avoid or None, k=k, how=how, beta=beta, slack=slack)
            F = exact_scores(search, like, avoid, how, beta)
            assert not set(found.ids.tolist()) & set(like + avoid)
            assert (np.diff(found.scores) <= 0).all()
            n_asked += 1
            n_certified += bool(found.certified[0])
            if np.isfinite(found.slack[0]):
                left = np.setdiff1d(np.arange(n), [*found.ids, *like, *avoid])
                most, least = F[left].max(initial=0), F[found.ids].min(initial=np.inf)
                assert most <= (1 + found.slack[0]) * least + 1e-12
    assert n_certified > 0.2 * n_asked


def test_of_different_components_nothing_is_near_all():
    pairs = graph_from_affinity(np.kron(np.eye(2), np.ones((3, 3)) - np.eye(3)))
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=None).fit(graph=pairs)
    every = by_examples(search, [0, 3], k=4, how="all")
    assert every.scores.tolist() == [0, 0, 0, 0]
    # what cannot be reached takes nothing away: the difference is the first
    alone, less = (by_examples(search, [0], avoid, k=4, slack=0) for avoid in (None, [3]))
    assert alone.ids[:2].tolist() == less.ids[:2].tolist() == [1, 2]
    np.testing.assert_allclose(less.scores, alone.scores[:4])


def test_the_facade_avoids():
    X, _ = datasets.digits()
    settings = {"preset": "plain-diffusion"}
    search = mf.ManifoldSearch(**settings).fit(X[:300])
    F = mf.diffuse(search.graph_.astype("float64"), np.eye(300)[:, [5, 9]], solver="direct").scores
    wanted = np.maximum(F[:, 0] - 0.25 * F[:, 1], 0)
    found = search.similar(5, k=10, avoid=9, slack=0)
    assert found.certified.all()
    order = [i for i in np.argsort(-wanted, kind="stable") if i != 5][:10]
    assert set(found.ids.tolist()) == set(order)
    np.testing.assert_allclose(found.scores, np.sort(wanted[order])[::-1], rtol=1e-2)
    both = search.similar([5, 7], k=10, avoid=[9, 9], slack=0)
    assert both.ids[0].tolist() == found.ids.tolist()
    np.testing.assert_array_equal(search.similar([5, 7], k=10, avoid=9, slack=0).ids, both.ids)
    # features: one to avoid for each query, or one for all
    plain = search.search(X[400:403], k=20)
    led = search.search(X[400:403], k=20, avoid=X[500:503])
    assert led.ids.shape == plain.ids.shape
    assert not np.array_equal(led.ids, plain.ids)
    np.testing.assert_array_equal(search.search(X[400], k=20, avoid=X[500]).ids, led.ids[0])
    index = mf.ManifoldSearch(solver=mf.DiffusionIndex(n_entries=20), **settings).fit(X[:300])
    assert set(index.similar(5, k=10, avoid=9, slack=0).ids.tolist()) == set(order)
    with pytest.raises(ValueError, match="one for each of 2 queries, got 3"):
        search.similar([5, 7], avoid=[1, 2, 3])


def test_examples_of_both_kinds():
    X, _ = datasets.digits()
    search = mf.ManifoldSearch(preset="plain-diffusion").fit(X[:300], [f"d{i}" for i in range(300)])
    items = by_examples(search, ["d3", "d17"], k=5)
    assert items.ids.shape == (5,)
    points = by_examples(search, X[400:402], ["d17"], k=5, how="all", slack=0)
    assert "d17" not in points.ids
    for wrong, words in ((([],), "no example"), ((["x"],), "x"), ((X[:2, :5],), "64 features")):
        with pytest.raises(ValueError, match=words):
            by_examples(search, *wrong)
    with pytest.raises(ValueError, match="how must be one of"):
        by_examples(search, ["d3"], how="none")
    with pytest.raises(ValueError, match="beta must be at least 0"):
        by_examples(search, ["d3"], ["d4"], beta=-1.0)


def mean_average_precision(X, y, *, rng, n_classes=10):
    """Three examples of a class, three of the class nearest to it to avoid, everything else to be ranked."""
    search = mf.ManifoldSearch(preset="adaptive", n_neighbors=5, gamma=3, alpha=0.99, degree_exponent=0.0).fit(X)
    centres = np.stack([X[y == c].mean(axis=0, dtype=np.float64) for c in np.unique(y)])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    nearest = np.argsort(-(centres @ centres.T), axis=1)[:, 1]
    with_, without = [], []
    for c in rng.permutation(np.unique(y))[:n_classes]:
        other = np.unique(y)[nearest[np.searchsorted(np.unique(y), c)]]
        like, avoid = (rng.permutation(np.flatnonzero(y == one))[:3] for one in (c, other))
        relevant = np.setdiff1d(np.flatnonzero(y == c), like)
        for scores, away in ((with_, avoid), (without, None)):
            found = by_examples(search, like, away, k=len(X)).ids
            scores.append(mf.metrics.mean_average_precision([found], [relevant]))
    return np.mean(with_), np.mean(without)


def test_negative_examples_of_digits():
    X, y = datasets.digits()
    led, plain = mean_average_precision(X, y, rng=np.random.default_rng(5))
    assert led >= 0.955
    assert led > plain


def test_negative_examples_may_hurt():
    """Photos of groceries: what is near in features may be what is wanted; half of it costs little."""
    try:
        data = datasets.load("grocery")
    except DatasetNotFoundError as error:
        pytest.skip(str(error))
    led, plain = mean_average_precision(data.features[:1500], data.labels[:1500], rng=np.random.default_rng(5))
    assert plain - 0.05 < led
