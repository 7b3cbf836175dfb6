"""The scikit-learn façade: its contract, new points, pipelines, grids and frames."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading
from sklearn.utils.estimator_checks import check_estimator

import manifold as mf
from manifold import datasets
from manifold.errors import ManifoldWarning


@pytest.fixture(scope="module")
def digits():
    """Digits of which the first 50 of 1,000 are labelled, and 200 others."""
    X, y = datasets.digits()
    return X[:1000], np.where(np.arange(1000) < 50, y[:1000], -1), y[:1000], X[1000:1200], y[1000:1200]


# a point that is there twice, or of weight 0, is a point of the graph all the same
TRANSDUCTIVE = dict.fromkeys(
    ["check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data"],
    "weights are of labels, not of points",
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("settings", [{}, {"metric": "cosine", "method": "resolvent_mbo"}], ids=["default", "other"])
def test_the_checks_of_scikit_learn(settings):
    model = mf.LabelPropagation(**settings)
    results = check_estimator(model, on_fail=None, on_skip=None, expected_failed_checks=TRANSDUCTIVE)
    assert [r["check_name"] for r in results if r["status"] == "failed"] == []
    assert sum(r["status"] == "passed" for r in results) >= 50


def test_fitted_points_are_those_of_propagate(digits):
    X, few, y, _, _ = digits
    model = mf.LabelPropagation(n_neighbors=8, metric="cosine", alpha=0.9, priors="uniform").fit(X, few)
    graph = mf.build_graph(X, 8, edges="sum")
    points = mf.neighbors.point_set(X, "cosine")
    result = mf.propagate(graph, few, filter=mf.Diffusion(0.9), priors="uniform", points=points)
    np.testing.assert_array_equal(model.graph_.affinity.toarray(), graph.affinity.toarray())
    np.testing.assert_array_equal(model.transduction_, result.labels)
    np.testing.assert_array_equal(model.label_distributions_, result.distributions)
    np.testing.assert_array_equal(model.certainty_, result.certainty)
    np.testing.assert_array_equal(model.reached_, result.reached)
    assert (model.transduction_ == y).mean() > 0.85


def test_new_points_are_means_of_their_neighbours(digits):
    X, few, _, Q, truth = digits
    model = mf.LabelPropagation(n_neighbors=10, metric="cosine").fit(X, few)
    P = model.predict_proba(Q)
    similarities = Q @ X.T / np.linalg.norm(Q, axis=1)[:, None] / np.linalg.norm(X, axis=1)
    for i in (0, 17, 103):
        near = np.argsort(-similarities[i])[:10]
        weights = similarities[i, near] ** 3
        np.testing.assert_allclose(P[i], weights @ model.label_distributions_[near] / weights.sum(), atol=1e-5)
    assert model.score(Q, truth) == (model.predict(Q) == truth).mean() > 0.85
    assert model.score(Q, np.where(truth == 3, -1, truth)) == (model.predict(Q) == truth)[truth != 3].mean()


def test_a_graph_made_elsewhere_is_label_spreading(digits):
    X, few, _, Q, _ = digits
    X, few, Q = X[:300] / 16, few[:300], Q[:10] / 16
    W = rbf_kernel(X, gamma=0.3)
    np.fill_diagonal(W, 0)
    theirs = LabelSpreading(kernel=lambda A, B: W if B is A else rbf_kernel(A, B, gamma=0.3), alpha=0.9, tol=0)
    with pytest.warns(match="max_iter=500"):
        theirs.set_params(max_iter=500).fit(X, few)
    options = {
        "alpha": 0.9,
        "method": "lgc",
        "normalize_seeds": False,
        "clamp": False,
        "metric": "precomputed",
        "solver": mf.solvers.ConjugateGradient(1e-6),
    }
    ours = mf.LabelPropagation(**options).fit(W, few)
    np.testing.assert_allclose(ours.label_distributions_, theirs.label_distributions_, atol=1e-5)
    np.testing.assert_array_equal(ours.transduction_, theirs.transduction_)
    K = rbf_kernel(Q, X, gamma=0.3)
    expected = K @ ours.label_distributions_ / K.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ours.predict_proba(K), expected, rtol=1e-6)
    np.testing.assert_allclose(ours.predict_proba(sparse.csr_matrix(K)), expected, rtol=1e-6)
    graph = mf.LabelPropagation(**options).fit(mf.graph_from_affinity(W, edges="sum"), few)
    np.testing.assert_array_equal(graph.transduction_, ours.transduction_)
    for bad in (K[:, :7], K[0], -K):
        with pytest.raises(ValueError, match="X"):
            ours.predict(bad)


def test_far_away_and_opposite_points():
    """Where kernels underflow the nearest point decides; where nothing is similar there is no answer, and no NaN."""
    X = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    y = [4, -1, 7, -1]
    far = mf.LabelPropagation(n_neighbors=2).fit(X, y)
    np.testing.assert_array_equal(far.predict([[1e6, 0], [0, 1e6]]), [4, 7])
    assert np.isfinite(far.predict_proba([[-1e6, 3e6]])).all()
    with pytest.warns(ManifoldWarning, match=r"1 of 2 points have no neighbour that a label reaches \(first: 1\)"):
        opposite = mf.LabelPropagation(n_neighbors=2, metric="cosine").fit(X, y).predict([[1, 0], [-1, -1]])
    np.testing.assert_array_equal(opposite, [4, -1])


def test_in_a_pipeline_and_a_grid(digits):
    X, few, y, Q, truth = digits
    model = make_pipeline(StandardScaler(), mf.LabelPropagation()).fit(X, few)
    assert model.score(Q, truth) > 0.8
    grid = GridSearchCV(mf.LabelPropagation(), {"alpha": [0.5, 0.95], "n_neighbors": [5, 20]}, cv=StratifiedKFold(3))
    grid.fit(X[:300], np.where(np.arange(300) < 240, y[:300], -1))
    assert grid.best_score_ == max(grid.cv_results_["mean_test_score"]) > 0.9
    assert clone(grid.best_estimator_).get_params() == grid.best_estimator_.get_params()


def test_folds_of_a_given_affinity(digits):
    """Cross-validation cuts rows and columns of an affinity, dense or sparse."""
    X, _, y, _, _ = digits
    W = rbf_kernel(X[:300] / 16, gamma=1.0)
    model = mf.LabelPropagation(metric="precomputed", alpha=0.5)
    scores = cross_val_score(model, W, y[:300], cv=StratifiedKFold(3))
    assert scores.min() > 0.85
    np.testing.assert_array_equal(cross_val_score(model, sparse.csr_matrix(W), y[:300], cv=StratifiedKFold(3)), scores)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames(frame, digits):
    X, few, _, Q, _ = digits
    plain = mf.LabelPropagation().fit(X, few)
    columns = [f"pixel{j}" for j in range(64)]
    model = mf.LabelPropagation().fit(frame(dict(zip(columns, X.T, strict=True))), frame({"y": few})["y"])
    np.testing.assert_array_equal(model.feature_names_in_, columns)
    np.testing.assert_array_equal(model.transduction_, plain.transduction_)
    np.testing.assert_array_equal(model.predict(frame(dict(zip(columns, Q.T, strict=True)))), plain.predict(Q))


def test_strings_and_other_markers(digits):
    X, few, _, Q, _ = digits
    names = np.array([f"digit {d}" for d in range(10)])
    plain = mf.LabelPropagation().fit(X, few)
    for y, marker in (
        ([names[d] if d >= 0 else None for d in few], -1),
        (np.where(few >= 0, names[few], ""), ""),
        (pd.Series(np.where(few >= 0, names[few], "?")), "?"),
    ):
        model = mf.LabelPropagation(unlabeled=marker).fit(X, y)
        np.testing.assert_array_equal(model.classes_, names)
        np.testing.assert_array_equal(model.transduction_, names[plain.transduction_])
        np.testing.assert_array_equal(model.predict(Q), names[plain.predict(Q)])
    shifted = mf.LabelPropagation(unlabeled=99).fit(X, np.where(few >= 0, few - 5, 99))
    np.testing.assert_array_equal(shifted.transduction_, plain.transduction_ - 5)


def test_pickle(digits):
    X, few, _, Q, _ = digits
    model = mf.LabelPropagation().fit(X, few)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(Q), model.predict_proba(Q))
    assert repr(again.graph_) == repr(model.graph_)


def test_the_package_and_propagate_do_not_load_scikit_learn():
    code = (
        "import sys, manifold as mf, numpy as np;"
        "mf.propagate(mf.build_graph(np.eye(4) + 0.1, 2, edges='sum'), [0, 1, -1, -1]);"
        "print('sklearn' in sys.modules); mf.LabelPropagation; print('sklearn' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "True"]
