"""Pseudo-labels for a training loop: their weights by definition, warm starts, files, and what a network gains."""

from __future__ import annotations

import builtins
import csv
import sys

import numpy as np
import pytest
from scipy.stats import entropy

from manifold import build_graph, datasets
from manifold.errors import ManifoldWarning
from manifold.labels import METHODS, pseudo_labels


@pytest.fixture
def few(rng):
    """Three hundred digits, three labels of each class but one, of which there are six."""
    X, y = datasets.digits()
    X, y = X[:300], y[:300]
    known = np.concatenate([rng.choice(np.flatnonzero(y == c), 6 if c == 4 else 3, replace=False) for c in range(10)])
    labels = np.full(300, -1)
    labels[known] = y[known]
    return X, y, labels


def test_weights_are_those_of_the_dense_solution(few):
    X, y, labels = few
    found = pseudo_labels(X, labels, n_neighbors=10, alpha=0.9, method="lgc", solver="direct")
    W = build_graph(X, 10, metric="euclidean", edges="sum").affinity.toarray().astype(np.float64)
    root = W.sum(axis=1) ** -0.5
    one_hot = np.equal.outer(labels, np.arange(10)) * 1.0
    Z = np.linalg.solve(np.eye(300) - 0.9 * root[:, None] * W * root, one_hot / one_hot.sum(axis=0))
    known = labels >= 0
    P = Z / Z.sum(axis=1, keepdims=True)
    P[known] = one_hot[known]
    assert (found.labels == P.argmax(axis=1)).all()
    sure = 1 - entropy(P, axis=1) / np.log(10)
    assert np.allclose(found.omega[known], 1)
    assert np.allclose(found.omega[~known], sure[~known] / sure[~known].max(), atol=1e-5)
    counts = np.bincount(found.labels, minlength=10)
    assert np.allclose(found.zeta * counts, (found.zeta * counts)[0])
    assert found.zeta.mean() == pytest.approx(1)
    assert np.allclose(found.weights, found.omega * found.zeta[found.labels])
    assert (found.labels == y).mean() > 0.8


def test_the_scale_of_class_weights_in_the_code_is_one_over_points(few):
    X, _, labels = few
    found = pseudo_labels(X, labels, n_neighbors=10, class_weight="code")
    assert found.zeta[found.labels].mean() == pytest.approx(1)


def test_points_that_no_label_reaches_weigh_nothing():
    X = np.array([[1.0, 0, 0, 0], [1, 0.1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0.1], [0, 1, 0, 0.5], [0.1, 1, 0, 0.5]])
    with pytest.warns(ManifoldWarning, match="2 of 6 points are not reached"):
        found = pseudo_labels(X, ["a", None, "b", None, None, None], n_neighbors=1)
    assert found.labels.tolist()[:4] == ["a", "a", "b", "b"]
    assert found.omega.tolist() == [1, 1, 1, 1, 0, 0]
    assert found.weights.tolist() == [1, 1, 1, 1, 0, 0]
    assert np.isfinite(found.propagation.distributions).all()


def test_a_refresh_starts_from_the_last_scores(rng):
    X, y = datasets.digits()
    labels = np.where(np.arange(y.size) < 40, y, -1)
    first = pseudo_labels(X, labels, method="lgc")
    moved = X + 0.03 * X.std() * rng.standard_normal(X.shape).astype(np.float32)
    cold, warm = (pseudo_labels(moved, labels, method="lgc", previous=previous) for previous in (None, first))
    n_cold, n_warm = (int(p.propagation.solution.n_iter.max()) for p in (cold, warm))
    assert n_warm <= 0.85 * n_cold  # 29 and 40 at the time of writing
    assert np.allclose(warm.propagation.distributions, cold.propagation.distributions, atol=1e-3)
    again = pseudo_labels(X, labels, method="lgc", previous=first)
    assert again.propagation.solution.n_iter.max() <= 1
    assert (again.labels == first.labels).all()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_labels_and_weights(few, method):
    X, y, labels = few
    found = pseudo_labels(X, labels, n_neighbors=10, method=method)
    assert (found.labels == y).mean() > 0.8
    assert ((found.weights >= 0) & np.isfinite(found.weights)).all()


@pytest.mark.parametrize("method", ["lgc", "harmonic", "poisson"])
def test_a_refresh_of_what_has_not_moved_is_nearly_free(few, method):
    X, _, labels = few
    first = pseudo_labels(X, labels, n_neighbors=10, method=method)
    again = pseudo_labels(X, labels, n_neighbors=10, method=method, previous=first)
    assert again.propagation.solution.n_iter.max() <= 4 < first.propagation.solution.n_iter.max()
    assert (again.labels == first.labels).all()


def test_a_start_of_other_points_or_classes_is_refused(few):
    X, _, labels = few
    first = pseudo_labels(X, labels, n_neighbors=10)
    with pytest.raises(ValueError, match="previous holds 300 points, labels 299"):
        pseudo_labels(X[1:], labels[1:], previous=first)
    with pytest.raises(ValueError, match="previous holds the classes"):
        pseudo_labels(X, np.where(labels == 3, -1, labels), previous=first)


def test_the_same_table_in_every_format(few, tmp_path):
    X, _, labels = few
    found = pseudo_labels(X, labels, n_neighbors=10)
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    paths = {suffix: found.save(tmp_path / f"labels{suffix}") for suffix in (".csv", ".npz", ".parquet")}
    with open(paths[".csv"], newline="") as file:
        rows = list(csv.DictReader(file))
    with np.load(paths[".npz"], allow_pickle=False) as arrays:
        table = {name: arrays[name] for name in arrays.files}
    frame = parquet.read_table(paths[".parquet"])
    expected = {"label": found.labels, "omega": found.omega, "weight": found.weights, "labelled": found.labelled}
    assert list(table) == list(rows[0]) == frame.column_names
    for name, values in (expected | {"zeta": found.zeta[found.labels]}).items():
        assert (table[name] == values).all()
        assert (frame[name].to_numpy() == values).all()
    assert [int(row["label"]) for row in rows] == found.labels.tolist()
    assert [float(row["weight"]) for row in rows] == found.weights.tolist()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["labels.csv", "labels.npz", "labels.parquet"]


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
def test_texts_and_unreached_points_are_written_without_pickles(tmp_path, suffix):
    X = np.array([[1.0, 0, 0], [1, 0.1, 0], [0, 1, 0], [0.1, 1, 0], [0, 0, 1], [0, 0.01, 1]])
    with pytest.warns(ManifoldWarning, match="not reached"):
        found = pseudo_labels(X, ["cat", None, "größer", None, None, None], n_neighbors=1)
    path = found.save(str(tmp_path / f"labels{suffix}"))
    if suffix == ".csv":
        with open(path, newline="", encoding="utf-8") as file:
            labels, weights = zip(*((row["label"], float(row["weight"])) for row in csv.DictReader(file)), strict=True)
    else:
        with np.load(path, allow_pickle=False) as arrays:
            labels, weights = arrays["label"].tolist(), arrays["weight"].tolist()
    assert list(labels) == ["cat", "cat", "größer", "größer", "-1", "-1"]
    assert weights[-1] == 0


def test_an_interrupted_save_leaves_the_last_epoch(few, tmp_path, monkeypatch):
    X, _, labels = few
    found = pseudo_labels(X, labels, n_neighbors=10)
    path = found.save(tmp_path / "labels.csv")
    before = path.read_bytes()

    def interrupt(file, table):
        file.write(b"half a li")
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules[pseudo_labels.__module__]._WRITERS, ".csv", interrupt)
    with pytest.raises(KeyboardInterrupt):
        found.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["labels.csv"]


def test_a_file_that_cannot_be_written_is_refused(few, tmp_path, monkeypatch):
    X, _, labels = few
    found = pseudo_labels(X, labels, n_neighbors=10)
    with pytest.raises(ValueError, match=r"path must end in \.csv, \.npz, \.parquet, got 'labels\.xlsx'"):
        found.save(tmp_path / "labels.xlsx")
    real = builtins.__import__

    def without(name, *more, **named):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'manifold-search\[parquet\]'"):
        found.save(tmp_path / "labels.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_network_gains_from_pseudo_labels():
    """Two labels a class: the network alone, then three epochs of the loop; accuracy on points neither has seen."""
    from sklearn.neural_network import MLPClassifier

    X, y = datasets.digits()
    X, y, X_test, y_test = X[:1200] / 16, y[:1200], X[1200:] / 16, y[1200:]
    gains = []
    for seed in (1, 2, 3):
        rng = np.random.default_rng(seed)
        known = np.concatenate([rng.choice(np.flatnonzero(y == c), 2, replace=False) for c in range(10)])
        labels = np.full(y.size, -1)
        labels[known] = y[known]
        network = MLPClassifier(64, alpha=1e-2, max_iter=300, tol=1e-3, random_state=0).fit(X[known], y[known])
        alone, pseudo = network.score(X_test, y_test), None
        for _ in range(3):
            hidden = np.maximum(X @ network.coefs_[0] + network.intercepts_[0], 0)
            pseudo = pseudo_labels(hidden, labels, n_neighbors=10, previous=pseudo)
            with np.errstate(under="ignore"):
                network.fit(X, pseudo.labels, sample_weight=pseudo.weights)
        gains.append(network.score(X_test, y_test) - alone)
    assert min(gains) > 0.04
    assert np.mean(gains) > 0.08
