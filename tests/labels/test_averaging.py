"""Estimators of several labels a point and of real values: new points, scikit-learn's contract, folders, grids."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils.estimator_checks import check_estimator

import manifold as mf
from manifold import datasets
from manifold.labels import METHODS
from manifold.labels.averaging import LabelPropagationRegressor, MultiLabelPropagation

REGRESSION, SEVERAL = LabelPropagationRegressor, MultiLabelPropagation
# what is missing in y is what is not labelled; weights are of labels, and a point stays one of the graph
SEMI_SUPERVISED = dict.fromkeys(
    [
        "check_sample_weight_equivalence_on_dense_data",
        "check_sample_weight_equivalence_on_sparse_data",
        "check_supervised_y_no_nan",
    ],
    "y may hold what is missing, and weights are of labels",
)


@pytest.fixture(scope="module")
def curve():
    """A curve in five dimensions whose position is known at one point in six, and new points between."""
    rng = np.random.default_rng(7)
    t = np.sort(rng.uniform(0, 6, 500))
    X = np.c_[np.cos(t), np.sin(t), t, t**2 / 6, np.cos(2 * t)]
    known = np.arange(400) % 6 == 0
    order = rng.permutation(500)
    return X[order[:400]], np.where(known, t[order[:400]], np.nan), X[order[400:]], t[order[400:]]


@pytest.fixture(scope="module")
def digits():
    """Digits: is it even, is it large, has it a hole?"""
    X, y = datasets.digits()
    return X[:900], np.c_[y % 2 == 0, y > 4, np.isin(y, (0, 6, 8, 9))][:900].astype(int)


@pytest.mark.filterwarnings("ignore")
def test_the_checks_of_scikit_learn():
    """Those of classifiers pass one class a point, which is what the estimator of several labels refuses."""
    results = check_estimator(REGRESSION(), on_fail=None, on_skip=None, expected_failed_checks=SEMI_SUPERVISED)
    assert [(r["check_name"], str(r["exception"])[:200]) for r in results if r["status"] == "failed"] == []
    assert sum(r["status"] == "passed" for r in results) >= 25


def test_fitted_values_are_those_of_propagate_and_new_ones_means_of_neighbours(curve):
    X, y, Q, _ = curve
    model = REGRESSION(n_neighbors=8, alpha=0.7).fit(X, y)
    told = mf.propagate(
        mf.build_graph(X, 8, metric="euclidean", edges="sum"), y, kind="values", filter=mf.Diffusion(0.7)
    )
    np.testing.assert_array_equal(model.transduction_, told.labels)
    np.testing.assert_array_equal(model.certainty_, told.certainty)
    D = ((Q[:, None] - X) ** 2).sum(axis=2)
    for i in (0, 40, 77):
        near = np.argsort(D[i])[:8]
        scale = np.sqrt(D[i][near][6]) * model._fitted.near.scales[near]
        weights = np.exp(-D[i][near] / scale)
        assert model.predict(Q[[i]])[0] == pytest.approx(weights @ model.transduction_[near] / weights.sum(), rel=1e-4)


def test_values_between_the_known_ones_are_found(curve):
    X, y, Q, t = curve
    model = REGRESSION(n_neighbors=8, alpha=0.7).fit(X, y)
    assert model.score(Q, t) > 0.99
    residual, spread = ((model.predict(Q) - t) ** 2).sum(), ((t - t.mean()) ** 2).sum()
    assert model.score(Q, t) == pytest.approx(1 - residual / spread)
    two = REGRESSION(n_neighbors=8, alpha=0.7).fit(X, np.c_[y, -y])
    np.testing.assert_allclose(two.predict(Q)[:, 0], model.predict(Q), rtol=1e-4)
    np.testing.assert_allclose(two.predict(Q).sum(axis=1), 0, atol=1e-4)


def test_several_labels_of_new_points(digits):
    X, Y = digits
    few = np.where((np.arange(700) < 150)[:, None], Y[:700], -1)
    model = SEVERAL().fit(X[:700], few)
    P = model.predict_proba(X[700:])
    np.testing.assert_array_equal(model.predict(X[700:]), (P >= 0.5) * 1)
    assert (model.predict(X[700:]) == Y[700:]).mean() > 0.85
    assert model.score(X[700:], Y[700:]) == (model.predict(X[700:]) == Y[700:]).all(axis=1).mean()
    assert model.score(X[700:], np.where(np.arange(200)[:, None] < 9, Y[700:], -1)) <= 1
    np.testing.assert_array_equal(model.transduction_[:150], Y[:150])


@pytest.mark.parametrize("kind", ["regression", "several"])
def test_a_model_is_saved_loaded_and_cloned(kind, curve, digits, tmp_path):
    if kind == "regression":
        X, y, Q, _ = curve
        model = REGRESSION(alpha=0.8, random_state=3).fit(X, y)
    else:
        X, Y = digits
        Q, model = X[700:], SEVERAL(metric="cosine").fit(X[:700], np.where(np.arange(700)[:, None] < 90, Y[:700], -1))
    again = mf.load(model.save(tmp_path / "model"))
    assert type(again) is type(model)
    assert again.get_params() == model.get_params() == clone(model).get_params()
    np.testing.assert_array_equal(again.predict(Q), model.predict(Q))
    np.testing.assert_array_equal(again.transduction_, model.transduction_)


def test_a_weight_draws_the_mean_to_a_label():
    y = [0.0, np.nan, 1.0]
    path = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    options = {"metric": "precomputed", "alpha": 0.5}
    even, right = (REGRESSION(**options).fit(path, y, sample_weight=w) for w in (None, [1, 1, 3]))
    assert even.transduction_[1] == pytest.approx(0.5, abs=1e-4)
    assert right.transduction_[1] == pytest.approx(0.75, abs=1e-4)


def test_what_lies_opposite_has_no_value_and_says_so():
    model = REGRESSION(n_neighbors=1, metric="cosine").fit([[1.0, 0.0], [0.9, 0.1], [0.8, 0.3]], [1.0, 2.0, np.nan])
    with pytest.warns(match="1 of 2 points have no neighbour that a label reaches"):
        found = model.predict([[-1.0, 0.0], [1.0, 0.05]])
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(1.0, abs=1)
    several = SEVERAL(n_neighbors=1, metric="cosine").fit([[1.0, 0.0], [0.9, 0.1]], [[1, 0], [-1, -1]])
    with pytest.warns(match="they get 0.5"):
        assert several.predict([[-1.0, 0.0]]).tolist() == [[-1, -1]]


@pytest.mark.filterwarnings("ignore::manifold.errors.ManifoldWarning")
def test_a_grid_of_every_method(digits):
    X, _ = digits
    y = datasets.digits().labels[:300].astype(int)
    grid = GridSearchCV(mf.LabelPropagation(), {"method": list(METHODS)}, cv=2, error_score="raise").fit(X[:300], y)
    assert set(grid.cv_results_["param_method"]) == set(METHODS)
    assert grid.cv_results_["mean_test_score"].min() > 0.8


def test_a_grid_of_values(curve):
    X, y, _, _ = curve
    known = ~np.isnan(y)
    tried = [{"alpha": [0.5, 0.99]}, {"method": ["harmonic"]}]
    grid = GridSearchCV(REGRESSION(), tried, cv=3).fit(X[known], y[known])
    assert grid.best_score_ > 0.9
    assert cross_val_score(REGRESSION(alpha=0.5), X[known], y[known], cv=3).min() > 0.8


def test_what_is_no_value_is_refused(curve):
    X, y, _, _ = curve
    for model, labels, message in (
        (REGRESSION(), np.full(400, np.nan), "no point is labelled|hold no labelled"),
        (REGRESSION(), np.where(np.arange(400) == 3, np.inf, y), "infinity"),
        (REGRESSION(), None, "requires y to be passed"),
        (SEVERAL(), np.full((400, 2), 0.5), "must be 0 or 1"),
        (REGRESSION(method="poisson"), y, "needs a method that averages"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(X, labels)
