"""Labels that are missing, one-sided, out of reach, of strange types, or in conflict: refused by name, or said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import manifold as mf
from manifold import _resources
from manifold.errors import ManifoldWarning, MemoryBudgetError
from manifold.labels import METHODS, Harmonic, IterativeCleaning, Poisson, PoissonMBO, ResolventMBO

SQUARE = np.array([[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]])


@pytest.fixture
def square():
    """Four nodes in a ring."""
    return mf.graph_from_affinity(SQUARE)


@pytest.fixture
def pieces():
    """Two rings of four, and a node alone."""
    W = np.zeros((9, 9))
    W[:4, :4] = W[4:8, 4:8] = SQUARE
    return mf.graph_from_affinity(W)


@pytest.fixture
def X(rng):
    return rng.normal(size=(30, 4)).astype(np.float32)


@pytest.mark.parametrize("labels", [[-1] * 4, [None] * 4, [np.nan] * 4, np.zeros((4, 2)), ["-1"] * 4], ids=str)
def test_row_45_no_label(labels, square):
    with pytest.raises(ValueError, match=r"labels hold no labelled point: all 4 are .* label one point at least"):
        mf.propagate(square, labels)


def test_row_45_no_label_in_the_facade(X):
    with pytest.raises(ValueError, match="labels hold no labelled point"):
        mf.LabelPropagation().fit(X, [-1] * 30)
    with pytest.raises(ValueError, match="the target y is None"):
        mf.LabelPropagation().fit(X, None)


@pytest.mark.parametrize("method", METHODS)
def test_row_46_one_class(method, square):
    with pytest.warns(ManifoldWarning, match="all labels are of one class, 6") as caught:
        result = mf.propagate(square, [6, -1, 6, -1], method=method)
    assert caught[0].filename == __file__
    assert result.labels.tolist() == [6] * 4
    assert result.certainty.tolist() == [1] * 4


@pytest.mark.parametrize("method", METHODS)
def test_row_47_a_class_that_is_missing_in_a_component(method, pieces):
    labels = [2, -1, -1, 3, -1, 3, -1, -1, -1]
    with pytest.warns(ManifoldWarning, match=r"1 of 9 points are not reached by any label \(first: 8\)"):
        result = mf.propagate(pieces, labels, method=method)
    assert result.labels[4:8].tolist() == [3] * 4
    assert result.certainty[4:8].tolist() == [1] * 4
    assert result.labels[8] == -1
    assert result.distributions[8].tolist() == [0.5, 0.5]
    assert np.isfinite(result.distributions).all()


def test_row_47_in_the_facade():
    X = np.array([[0.0, 1], [0, 1.1], [9, 1], [9, 1.1]])
    with pytest.warns(ManifoldWarning, match="2 of 4 points are not reached"):
        model = mf.LabelPropagation(n_neighbors=1).fit(X, ["a", "b", None, None])
    assert model.transduction_.tolist() == ["a", "b", "-1", "-1"]
    assert model.reached_.tolist() == [True, True, False, False]
    np.testing.assert_array_equal(model.label_distributions_[2:], 0.5)
    np.testing.assert_array_equal(model.predict_proba([[9.0, 1.0]]), 0.5)


@pytest.mark.parametrize(
    ("labels", "options", "classes", "kind"),
    [
        (["a", None, "b", None], {}, ["a", "b"], "U"),
        (["a", -1, "b", -1], {}, ["a", "b"], "U"),
        (np.array(["a", -1, "b", -1]), {}, ["a", "b"], "U"),
        (["a", "", "b", ""], {"unlabeled": ""}, ["a", "b"], "U"),
        ([3, None, -2, None], {}, [-2, 3], "i"),
        ([-2, -1, 3, -1], {}, [-2, 3], "i"),
        ([-1, 0, 3, 0], {"unlabeled": 0}, [-1, 3], "i"),
        ([-1, None, 3, None], {"unlabeled": None}, [-1, 3], "O"),
        ([1.0, np.nan, 2.0, -1.0], {}, [1, 2], "f"),
        (np.array([1, 255, 2, 255], dtype=np.uint8), {"unlabeled": 255}, [1, 2], "u"),
        (np.array([1, 1, 2, 2], dtype=np.uint8), {}, [1, 2], "i"),
        ([True, None, False, None], {}, [False, True], "O"),
        (pd.Series([1, pd.NA, 2, pd.NA], dtype="Int64"), {}, [1, 2], "i"),
        (pd.Categorical(["x", None, "y", None]), {}, ["x", "y"], "U"),
    ],
    ids=str,
)
def test_row_48_classes_of_any_kind(labels, options, classes, kind, square):
    result = mf.propagate(square, labels, **options)
    assert result.classes.tolist() == classes
    assert result.labels.dtype.kind == kind
    assert result.labels[0] == labels[0]
    assert set(result.labels.tolist()) <= set(classes)
    assert result.labelled[::2].all()


def test_row_48_refused(square):
    for labels, message, error in (
        ([0, 1, -1], r"one row for each of the 4 nodes, got shape \(3,\)", ValueError),
        ([0.5, 1, np.nan, -1], "0.5, which is continuous or infinite and no class: pass kind='values'", ValueError),
        ([0.5, 1, None, None], "0.5, which is continuous", ValueError),
        ([np.inf, 1, -1, -1], "inf, which is continuous or infinite", ValueError),
        ([0, "a", None, 1], "classes of different types", TypeError),
        (np.zeros(4, dtype=complex), "numbers, strings or objects", TypeError),
        (
            np.ma.array([0, 1, 0, 1], mask=[0, 0, 1, 1]),
            "masked array with masked entries: pass labels.filled",
            TypeError,
        ),
        (sparse.csr_array(np.eye(4)), r"sparse csr_array, .* pass labels.toarray", TypeError),
        (-np.eye(4), "must not be negative, got -1: pass kind='values'", ValueError),
        (np.where(np.eye(4), np.inf, 0), "infinity in row 0", ValueError),
        (np.array([[1, np.nan], [0, 1], [0, 0], [0, 0]]), "known in part in row 0", ValueError),
        (np.array([["a", "b"]] * 4), "real numbers, got dtype <U1", TypeError),
    ):
        with pytest.raises(error, match=message):
            mf.propagate(square, labels)
    for labels, kind, message in (
        (np.zeros((4, 1, 1)), "auto", "one row for each"),
        (np.eye(4), "classes", r"must have shape \(n,\)"),
        ([0, 1, 0, 1], "soft", r"must have shape \(n, classes\)"),
        (2 * np.eye(4), "multilabel", "must be 0 or 1"),
        ([0, 1, 0, 1], "tags", "kind must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            mf.propagate(square, labels, kind=kind)


def test_row_49_conflicting_labels_on_identical_points(X):
    y = np.full(30, -1)
    y[[3, 8, 20, 21]] = [0, 1, 1, 0]
    X[8] = X[3]
    X[25] = X[3]
    with pytest.warns(ManifoldWarning, match=r"2 identical points have different labels \(first: row 3\)") as caught:
        model = mf.LabelPropagation(n_neighbors=4).fit(X, y)
    assert [w.filename for w in caught if "identical" in str(w.message)] == [__file__]
    np.testing.assert_array_equal(model.label_distributions_[[3, 8]], 0.5)
    np.testing.assert_allclose(model.certainty_[[3, 8]], 0, atol=1e-7)
    np.testing.assert_array_equal(model.transduction_[[20, 21]], [1, 0])
    same = y.copy()
    same[8] = 0
    assert (mf.LabelPropagation(n_neighbors=4).fit(X, same).label_distributions_[[3, 8]] == [1, 0]).all()


def test_what_a_method_does_not_take(square):
    labels = [0, -1, 1, -1]
    for options, message in (
        ({"method": "knn"}, "method must be one of .*'lgc'.* got 'knn'"),
        ({"balance": "volume"}, "balance must be None or one of"),
        ({"priors": "counts"}, "priors must be one of .*'estimated', 'uniform', 'propagated'.* or an array"),
        ({"priors": [1, 2, 3]}, "one share for each of the 2 classes"),
        ({"priors": [1, -2]}, "positive and finite"),
        ({"method": "harmonic", "filter": mf.Diffusion(0.9)}, "system of its own: leave out filter and solver"),
        ({"method": "poisson", "solver": "cg"}, "system of its own"),
        ({"solver": "magic"}, "solver must be"),
        ({"x0": np.zeros((4, 3))}, r"x0 must have the shape \(4, 2\)"),
        (
            {"kind": "values", "balance": "mass"},
            "needs a method that averages, 'auto', 'lgc' or 'harmonic', and no balance",
        ),
        ({"kind": "values", "method": "poisson"}, "needs a method that averages"),
    ):
        with pytest.raises(ValueError, match=message):
            mf.propagate(square, labels, **options)
    with pytest.raises(TypeError, match=r"graph must be a Graph, got ndarray: manifold\.build_graph"):
        mf.propagate(SQUARE, labels)
    with pytest.raises(ValueError, match="columns are those of classes"):
        _ = mf.propagate(square, labels, kind="values").class_weights
    for made in (Harmonic, Poisson):
        with pytest.raises(ValueError, match="rtol must lie in"):
            made(rtol=0)
    for made in (PoissonMBO, ResolventMBO, IterativeCleaning):
        with pytest.raises(ValueError, match="n_rounds must be at least 1"):
            made(n_rounds=0)
    with pytest.raises(ValueError, match="fidelity must be"):
        PoissonMBO(fidelity=-1)


def test_what_would_not_fit_is_refused_before_it_is_allocated(square, monkeypatch):
    monkeypatch.setattr(_resources, "available_memory", lambda: 100)
    with pytest.raises(MemoryBudgetError, match=r"propagating 2 columns needs about .* 100 B are available"):
        mf.propagate(square, [0, -1, 1, -1])


def test_a_start_from_elsewhere_does_not_reach_other_components(pieces):
    """Scores to start from are no labels: what they put where no label is does not stay."""
    labels = [2, 3, -1, -1, -1, -1, -1, -1, -1]
    for method in ("lgc", "harmonic", "poisson"):
        with pytest.warns(ManifoldWarning, match="5 of 9 points"):
            result = mf.propagate(pieces, labels, method=method, x0=np.ones((9, 2)))
        assert (result.labels[4:] == -1).all()
        assert (result.distributions[4:] == 0.5).all()


def test_inputs_are_left_alone(square):
    labels, soft = np.array([0, -1, 1, -1]), np.array([[2.0, 0], [0, 0], [0, 1], [0, 0]])
    for given, kind in ((labels, "auto"), (soft, "auto"), (soft, "values")):
        before = given.copy()
        given.flags.writeable = False
        mf.propagate(square, given, kind=kind)
        np.testing.assert_array_equal(given, before)
