"""Purposes chosen by judged queries: planted cases, chance, and the interval against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import manifold as mf
from manifold.evaluation import tune_judged


@pytest.fixture(scope="module")
def digits():
    X, y = mf.datasets.digits()
    return X[:700], y[:700]


def test_classes_choose_the_topic_and_the_search_it_names_gains(digits):
    X, y = digits
    shown, rest = slice(0, 50), slice(50, 150)
    relevant = [np.flatnonzero(y[150:] == label) for label in y[:150]]
    tuning = tune_judged(X[150:], X[shown], relevant[shown])
    assert tuning.parameters == {"purpose": "topic"}
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
        tuning = tune_judged(X, Q, [rng.choice(120, 3, replace=False) for _ in range(20)], confidence=0.99)
        kept += tuning.parameters == {}
        assert tuning.parameters or "not worth a change" in tuning.reason
    assert kept >= 7


def test_the_interval_is_that_of_a_paired_t_test(digits):
    X, y = digits
    relevant = [np.flatnonzero(y[40:] == label) for label in y[:40]]
    tuning = tune_judged(X[40:], X[:40], relevant, candidates=[{"purpose": "topic"}], confidence=0.9)
    each = []
    for given in ({}, {"purpose": "topic"}):
        ids = mf.ManifoldSearch(**given).fit(X[40:]).search(X[:40], k=660).ids
        each.append(
            [mf.metrics.mean_average_precision(ids[[j]], [relevant[j]], interpolation="step") for j in range(40)]
        )
    expected = stats.ttest_rel(each[1], each[0]).confidence_interval(0.9)
    row = tuning.table[1]
    np.testing.assert_allclose([row["low"], row["high"]], [expected.low, expected.high], rtol=1e-9)
    assert row["chosen"] == (expected.low > 0)


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
