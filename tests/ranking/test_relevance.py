"""Relevance: planted odds are found again, shares are what they say, lists fall; what is not calibrated is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import expit

import manifold as mf
from manifold import datasets
from manifold.ranking import Calibration, calibrate
from manifold.ranking._adaptation import is_reciprocal


@pytest.fixture(scope="module")
def scans():
    X, y = datasets.digits()
    return X[:1200], y[:1200]


def off(p, hits, n_bins=10):
    """How far a share is from what was said, over bins of equal size: not the code's own figure."""
    order = np.argsort(p.ravel(), kind="stable")
    parts = np.array_split(order, n_bins)
    return np.mean([abs(p.ravel()[i].mean() - hits.ravel()[i].mean()) for i in parts])


def test_planted_odds_are_found(rng):
    s = -np.sort(-rng.normal(size=(2000, 40)), axis=1)
    f = np.exp(-np.sort(-rng.normal(size=s.shape), axis=1))
    hits = rng.random(s.shape) < expit(-1 + 2 * s + 0.5 * np.log(f))
    found = Calibration.fitted(s, f, hits, event="judged")
    assert (found.intercept, found.of_similarity, found.of_score) == pytest.approx((-1, 2, 0.5), abs=0.06)
    assert found.share == hits.mean()
    assert found.error < 0.01
    # what misleads has no weight, and never a negative one
    assert Calibration.fitted(-s, f, hits, event="judged").of_similarity == 0


@given(
    data=st.data(),
    q=st.integers(1, 4),
    k=st.integers(1, 12),
    weights=st.tuples(st.floats(-50, 50), st.floats(0, 1e3), st.floats(0, 1e3)),
)
@settings(max_examples=60, deadline=None)
def test_relevance_lies_in_its_range_falls_and_does_not_depend_on_what_follows(data, q, k, weights):
    s = data.draw(hnp.arrays(float, (q, k), elements=st.floats(-1e6, 1e6) | st.just(-np.inf)))
    f = data.draw(hnp.arrays(float, (q, k), elements=st.floats(0, 1e30) | st.just(np.nan)))
    made = Calibration(*weights, floor=1e-9, event="edge", n_queries=1, share=0.5, error=0.0)
    found = made.relevance(s, f)
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found, axis=1) <= 0).all()
    assert (found[s == -np.inf] == 0).all()
    known = np.where(np.isnan(f), 1.0, f)
    np.testing.assert_array_equal(made.relevance(s[:, :3], known[:, :3]), made.relevance(s, known)[:, :3])


@pytest.mark.parametrize("purpose", [None, "topic"])
def test_judged_queries_say_which_share_is_relevant(scans, purpose):
    X, y = scans
    search = mf.ManifoldSearch(purpose=purpose).fit(X[300:])
    judged = [np.flatnonzero(y[300:] == label) for label in y[:50]]
    found = calibrate(search, X[:50], judged).search(X[50:300])
    hits = y[300:][found.ids] == y[50:300, None]
    assert off(found.relevance, hits) < 0.1  # of shares that go from .3 to 1
    sure = found.relevance > 0.9
    assert hits[sure].mean() > 0.9 > hits.mean()


def test_held_out_items_say_which_are_joined(scans):
    X, _ = scans
    items = calibrate(mf.ManifoldSearch().fit(X[300:], ids=[f"s{i}" for i in range(300, 1200)]))
    found, fitted = items.search(X[:300]), items.fitted_
    near, similarities = fitted.nearest(fitted.points.asked(X[:300])[0], 7)
    joined = is_reciprocal(near, similarities, fitted.reach.edge)
    hits = np.array(
        [
            [int(name[1:]) - 300 in some for name in row]
            for row, some in zip(
                found.ids.tolist(), [set(a[b].tolist()) for a, b in zip(near, joined, strict=True)], strict=True
            )
        ]
    )
    assert off(found.relevance, hits) < 0.015
    assert "joined by an edge" in items.explain()


def test_it_is_kept_by_saves_and_changes_and_answers_alone(scans):
    X, _ = scans
    search = calibrate(mf.ManifoldSearch(n_neighbors=5).fit(X[:400]))
    found = search.search(X[400:404], k=20)
    np.testing.assert_array_equal(mf.load(search.save("s")).search(X[400:404], k=20).relevance, found.relevance)
    np.testing.assert_array_equal(search.search(X[401], k=9).relevance, found.relevance[1, :9])
    assert "relevance" in found.to_pandas()
    search.add(X[404:410])
    assert search.search(X[403], k=3).relevance.shape == (3,)
    with pytest.raises(ValueError, match=r"ranking\.calibrate"):
        _ = search.with_settings(n_seeds=3).search(X[403]).relevance
    with pytest.raises(ValueError, match="ask search"):
        _ = search.similar([3]).relevance


def test_halves_of_a_collection_merge_by_it(scans):
    X, y = scans
    halves = [np.arange(300, 1200, 2), np.arange(301, 1200, 2)]
    judged = [[np.flatnonzero(y[rows] == label) for label in y[:50]] for rows in halves]
    lists = [
        calibrate(mf.ManifoldSearch().fit(X[h]), X[:50], j).search(X[50:300])
        for h, j in zip(halves, judged, strict=True)
    ]
    relevance = np.hstack([one.relevance for one in lists])
    rows = np.hstack([h[one.ids] for h, one in zip(halves, lists, strict=True)])
    best = np.take_along_axis(rows, np.argsort(-relevance, axis=1, kind="stable")[:, :100], axis=1)
    whole = mf.ManifoldSearch().fit(X[300:]).search(X[50:300]).ids + 300
    precision = [(y[one] == y[50:300, None]).mean() for one in (best, whole)]
    assert precision[0] > precision[1] - 0.01


def test_what_cannot_be_calibrated_is_refused_by_name(scans):
    X, y = scans
    search = mf.ManifoldSearch().fit(X[:300])
    ten = [np.flatnonzero(y[:300] == label) for label in y[300:310]]
    for args, message in (
        ((X[300:310],), "go together"),
        ((X[300:309], ten[:9]), "10 at least"),
        ((X[300:310], ten[:9]), "judgements of each"),
        ((X[300:310], [[]] * 10), "nothing of 10 lists"),
        ((X[300:310], [np.arange(300)] * 10), "all of 10 lists"),
        ((X[300:310], [[999]] * 10), "relevant names ids"),
    ):
        with pytest.raises(ValueError, match=message):
            calibrate(search, *args)
    assert search.fitted_.calibration is None
    few, of_graph = mf.ManifoldSearch().fit(X[:200]), mf.ManifoldSearch().fit(X[:300], graph=mf.build_graph(X[:300]))
    for one, message in (
        (few, "too few"),
        (of_graph, "graph="),
        (mf.ManifoldSearch().fit(graph=few.graph_), "without X"),
    ):
        with pytest.raises(ValueError, match=message):
            calibrate(one)
