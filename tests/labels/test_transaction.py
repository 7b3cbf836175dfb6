"""A fit of `LabelPropagation` that is refused or interrupted changes nothing; copies and saves keep every answer."""

from __future__ import annotations

import copy
import inspect
import pickle
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import manifold as mf
from manifold import datasets
from manifold.errors import CorruptFileError
from manifold.labels import (
    METHODS,
    Harmonic,
    ResolventMBO,
    _averages,
    _base,
    _facade,
    _far,
    _fitted,
    _methods,
    _swept,
    auto,
    balance,
    candidates,
    estimator,
    propagation,
    result,
    targets,
)
from manifold.solvers import SOLVERS, ConjugateGradient
from manifold.storage.settings import to_json

ROOM = [_base, _facade, _far, _fitted, _methods, auto, balance, candidates, estimator, propagation, result, targets]
ROOM += [_averages, _swept]


@pytest.fixture(scope="module")
def digits():
    X, y = datasets.digits()
    return X[:200], np.where(np.arange(200) % 4, -1, y[:200]), X[200:230]


@pytest.fixture(scope="module")
def others():
    """Other points, of fewer features and other classes, with a name each."""
    X, y = datasets.digits()
    columns = [f"pixel {j}" for j in range(40)]
    return pd.DataFrame(X[300:420, 10:50], columns=columns), [
        None if i % 3 else "ab"[c % 2] for i, c in enumerate(y[300:420])
    ]


def answers(model, Q):
    """All that a fitted model says, as bytes and plain values."""
    arrays = (model.classes_, model.transduction_, model.label_distributions_, model.certainty_, model.reached_)
    # a file keeps texts, not the width of their array
    said = [(a.dtype.kind, a.shape, a.tolist() if a.dtype.kind in "OU" else (a.dtype, a.tobytes())) for a in arrays]
    W = model.graph_.affinity
    said += [(W.data.tobytes(), W.indices.tobytes()), model.n_features_in_, getattr(model, "feature_names_in_", None)]
    return [*said, model.predict(Q).tolist(), model.predict_proba(Q).tobytes()]


class Stop(BaseException):
    """What no handler of errors expects, as KeyboardInterrupt."""


@contextmanager
def stopping(monkeypatch, at):
    """Count the calls of all functions that the estimator stands on in its room, and break off that numbered `at`."""
    calls = []

    def watched(function):
        def call(*args, **kwargs):
            calls.append(function.__qualname__)
            if len(calls) == at:
                raise Stop
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for module in ROOM:
            for name, value in list(vars(module).items()):
                if inspect.isfunction(value) and value.__module__.startswith("manifold."):
                    patch.setattr(module, name, watched(value))
        for name in ("BALANCES",):
            patch.setattr(propagation, name, {k: watched(v) for k, v in getattr(propagation, name).items()})
        yield calls


def test_an_interrupt_anywhere_in_a_refit_leaves_all_answers(digits, others, monkeypatch):
    X, y, Q = digits
    model = mf.LabelPropagation(n_neighbors=5).fit(X, y)
    before = answers(model, Q)
    model.set_params(metric="cosine", n_neighbors=9, method="ilpc", balance="sinkhorn", unlabeled="none")
    with stopping(monkeypatch, at=0) as calls:
        clone(model).fit(*others)
    assert len(calls) >= 50
    for at in range(1, len(calls) + 1):
        with stopping(monkeypatch, at=at), pytest.raises(Stop):
            model.fit(*others)
        assert answers(model, Q) == before, f"interrupted in call {at}, of {calls[at - 1]}"
    model.fit(*others)
    assert model.classes_.tolist() == ["a", "b"]
    assert model.n_features_in_ == 40
    assert model.feature_names_in_[0] == "pixel 0"


def test_a_refused_refit_leaves_all_answers(digits, others):
    X, y, Q = digits
    model = mf.LabelPropagation(n_neighbors=5).fit(X, y)
    before, frame = answers(model, Q), others[0]
    bad = [
        (frame, [-1] * 120, "no labelled point"),
        (frame, None, "target y is None"),
        (frame, [0.5] * 120, "continuous"),
        (frame, [0, 1], "inconsistent numbers of samples"),
        (frame * np.nan, [0, 1] * 60, "NaN"),
        (frame.to_numpy()[0], [0, 1], "2D array"),
    ]
    for X_bad, y_bad, message in bad:
        with pytest.raises(ValueError, match=message):
            model.fit(X_bad, y_bad)
        assert answers(model, Q) == before
    for setting in ({"method": "knn"}, {"alpha": 1.5}, {"metric": "manhattan"}, {"priors": [1, 2]}, {"n_neighbors": 0}):
        with pytest.raises(ValueError, match=next(iter(setting))):
            copy.copy(model).set_params(**setting).fit(X, y)
        refused = copy.copy(model).set_params(**setting)
        assert answers(refused, Q) == before


def test_a_first_fit_that_fails_leaves_it_unfitted(digits):
    X, _, Q = digits
    model = mf.LabelPropagation()
    with pytest.raises(ValueError, match="no labelled point"):
        model.fit(X, [-1] * len(X))
    assert vars(model).keys() == model.get_params().keys()
    for name in (
        "classes_",
        "transduction_",
        "graph_",
        "n_features_in_",
        "feature_names_in_",
        "certainty_",
        "reached_",
    ):
        assert not hasattr(model, name)
    with pytest.raises(NotFittedError):
        model.predict(Q)
    with pytest.raises(NotFittedError, match="not fitted yet: call fit"):
        model.save("m")


OTHER = {
    "n_neighbors": 7,
    "method": ResolventMBO(n_rounds=3),
    "alpha": 0.9,
    "metric": "cosine",
    "affinity": "self_tuning",
    "gamma": 2.0,
    "edges": "union",
    "search": "exact",
    "normalize_seeds": False,
    "balance": "mass",
    "priors": [1.0] * 10,
    "classes": "even",
    "clamp": False,
    "unlabeled": -1.0,
    "solver": ConjugateGradient(1e-4),
    "on_failure": "ignore",
    "random_state": 3,
}


@pytest.mark.parametrize("name", OTHER)
def test_every_parameter_is_got_set_cloned_copied_and_saved(name, digits):
    X, y, Q = digits
    assert OTHER.keys() == mf.LabelPropagation().get_params().keys()
    value = OTHER[name]
    model = mf.LabelPropagation(**{name: value})
    assert model.get_params()[name] == value
    assert mf.LabelPropagation().set_params(**{name: value}).get_params() == model.get_params()
    assert clone(model).get_params() == model.get_params()
    model.fit(X, y)
    said = answers(model, Q)
    assert answers(clone(model).fit(X, y), Q) == said
    file = BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    loaded = mf.load(model.save("m"))
    for again in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model)), joblib.load(file), loaded):
        assert type(again) is mf.LabelPropagation
        assert answers(again, Q) == said
        assert np.array_equal(again.get_params().pop(name), value)
    assert answers(loaded.fit(X, y), Q) == said


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("marker", [None, -1, "?", np.uint8(255), float("nan")], ids=str)
def test_a_model_comes_back_from_disk(method, marker, digits, others):
    frame, y = others
    labels = [marker if c is None else c for c in y] if marker is None or isinstance(marker, str) else y
    model = mf.LabelPropagation(n_neighbors=6, method=method, unlabeled=marker).fit(frame, labels)
    loaded = mf.load(model.save("m"))
    assert [str(x) for x in answers(loaded, frame)] == [str(x) for x in answers(model, frame)]
    assert loaded.get_params()["unlabeled"] in (marker, None) or marker != marker  # noqa: PLR0124 -- NaN
    with pytest.raises(ValueError, match="feature names should match"):
        loaded.predict(frame.rename(columns={"pixel 0": "other"}))


def test_a_model_of_a_graph_comes_back(digits):
    X, y, _ = digits
    W = np.maximum(X @ X.T, 0).astype(np.float64)
    np.fill_diagonal(W, 0)
    model = mf.LabelPropagation(metric="precomputed").fit(sparse.csr_array(W), y)
    loaded = mf.load(model.save("m"))
    np.testing.assert_array_equal(loaded.predict_proba(W), model.predict_proba(W))


def test_what_could_not_be_made_again_is_not_saved(digits):
    class Mine(Harmonic):
        """A method of one's own."""

    X, y, _ = digits
    model = mf.LabelPropagation(method=Mine()).fit(X, y)
    with pytest.raises(TypeError, match="a Mine is no setting that a save can hold"):
        model.save("m")
    assert not Path("m").exists()
    generator = mf.LabelPropagation(random_state=np.random.default_rng(3)).fit(X, y)
    assert mf.load(generator.save("m")).random_state is None
    assert mf.load(mf.LabelPropagation(random_state=np.int64(3)).fit(X, y).save("m")).random_state == 3


def test_a_save_names_no_class_but_methods_and_solvers(digits, monkeypatch):
    X, y, _ = digits
    model = mf.LabelPropagation(solver=ConjugateGradient()).fit(X, y)
    known = {**{made.__name__: made for made in (*METHODS.values(), *SOLVERS.values())}, "Path": Path}
    monkeypatch.setattr(_facade, "to_json", lambda settings, _: {**to_json(settings, known), "solver": {"is": "Path"}})
    folder = model.save("m")
    with pytest.raises(CorruptFileError, match="'Path' names none of the settings"):
        mf.load(folder)
