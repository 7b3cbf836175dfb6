"""Searches chosen by judged queries: planted cases, chance, and the intervals against SciPy and in repetition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import manifold as mf
from manifold.evaluation import tune_judged
from manifold.evaluation._paired import surely_best, together


@pytest.fixture(scope="module")
def digits():
    X, y = mf.datasets.digits()
    return X[:700], y[:700]


def test_classes_choose_the_topic_and_the_search_it_names_gains(digits):
    X, y = digits
    shown, rest = slice(0, 50), slice(50, 150)
    relevant = [np.flatnonzero(y[150:] == label) for label in y[:150]]
    tuning = tune_judged(X[150:], X[shown], relevant[shown])
    assert tuning.parameters["purpose"] == "topic"
    assert "gains" in tuning.reason
    figures = []
    for given in ({}, tuning.parameters):
        ids = mf.ManifoldSearch(**given).fit(X[150:]).search(X[rest], k=550).ids
        figures.append(mf.metrics.mean_average_precision(ids, relevant[rest], interpolation="step"))
    assert figures[1] > figures[0] + 0.05


def test_known_items_never_choose_the_topic(digits):
    X, _ = digits
    noise = np.random.default_rng(5).normal(size=(50, 64)) * 0.5 * X.std(axis=0)
    tuning = tune_judged(X, X[:50] + noise, np.arange(50)[:, None])
    assert tuning.parameters in ({}, {"purpose": "item"})


def test_chance_changes_nothing():
    """Relevant rows drawn at random: every interval spans 0, but for the share that the confidence allows."""
    kept = 0
    for seed in range(8):
        rng = np.random.default_rng([71, seed])
        X, Q = rng.normal(size=(120, 5)), rng.normal(size=(20, 5))
        relevant = [rng.choice(120, 3, replace=False) for _ in range(20)]
        tuning = tune_judged(X, Q, relevant, candidates=[{"purpose": "topic"}, {"purpose": "item"}], confidence=0.99)
        kept += tuning.parameters == {}
        assert tuning.parameters or "not worth a change" in tuning.reason
    assert kept >= 7


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_of_one_candidate_is_students(confidence):
    """Flips of signs have Student's quantile where gains are symmetric: to 6 %, the noise of 2,000 flips."""
    for seed in range(5):
        gains = np.random.default_rng([17, seed]).normal(0.1, 0.3, size=50)
        mean, width = together(gains[None], confidence)
        expected = stats.ttest_1samp(gains, 0).confidence_interval(confidence)
        np.testing.assert_allclose([mean[0] - width[0], mean[0] + width[0]], expected, atol=0.06 * width[0])


@pytest.mark.parametrize("shared", [0.0, 0.9, 1.0])
def test_intervals_hold_together_and_copies_cost_nothing(shared):
    """Of 400 draws of 8 candidates, all intervals hold at once in 80 %, to four standard errors; copies widen none."""
    held, rng = 0, np.random.default_rng(29)
    for _ in range(400):
        noise = shared * rng.normal(size=40) + np.sqrt(1 - shared**2) * rng.normal(size=(8, 40))
        mean, width = together(noise, 0.8)
        held += bool((np.abs(mean) <= width).all())
    assert abs(held / 400 - 0.8) <= 4 * np.sqrt(0.8 * 0.2 / 400)
    if shared == 1:
        np.testing.assert_array_equal(width, width[0])
        np.testing.assert_allclose(width[0], together(noise[:1], 0.8)[1][0], rtol=1e-12)


def test_what_is_kept_is_that_of_the_purpose_and_of_no_sure_gain(digits):
    X, y = digits
    relevant = [np.flatnonzero(y[40:] == label) for label in y[:40]]
    tuning = tune_judged(X[40:], X[:40], relevant, purpose="topic", candidates=[{}, {"purpose": "item"}])
    assert tuning.parameters == {"purpose": "topic"}
    assert [row["parameters"] for row in tuning.table] == [{"purpose": "topic"}, {}, {"purpose": "item"}]
    assert tuning.table[1]["high"] < 0
    assert surely_best(np.array([0.0, 0.1]), np.array([0.0, 0.1])) == 0


def test_the_table_holds_what_each_search_reaches(digits):
    X, y = digits
    relevant = [np.flatnonzero(y[40:] == label) for label in y[:40]]
    plain = {"preset": "plain-diffusion", "alpha": 0.0}
    tuning = tune_judged(X[40:], X[:40], relevant, candidates=[{"purpose": "topic"}, plain])
    for row in tuning.table:
        ids = mf.ManifoldSearch(**row["parameters"]).fit(X[40:]).search(X[:40], k=660).ids
        assert row["AP"] == pytest.approx(
            mf.metrics.mean_average_precision(ids, relevant, interpolation="step"), rel=1e-9
        )
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (X[:40], X[40:])]
    near = np.argsort(-(unit[0] @ unit[1].T), axis=1, kind="stable")
    nearest = mf.metrics.mean_average_precision(near, relevant, interpolation="step")
    assert tuning.table[2]["AP"] == pytest.approx(nearest, rel=1e-4)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"queries": np.eye(12)[:5]}, "10 at least"),
        ({"relevant": [[0]] * 11}, "judgements of each"),
        ({"relevant": [[]] * 12}, "one at least"),
        ({"relevant": [[30]] * 12}, "rows 0..29"),
        ({"confidence": 1.0}, "confidence"),
        ({"candidates": [{"preset": "none"}]}, "preset"),
    ],
)
def test_hostile_judgements_are_named(changed, message):
    given = {"queries": np.eye(12), "relevant": [[0]] * 12, **changed}
    X = np.random.default_rng(0).normal(size=(30, 12))
    with pytest.raises(ValueError, match=message):
        tune_judged(X, given.pop("queries"), given.pop("relevant"), **given)
