"""Pair whitening: closed forms, the interface of scikit-learn, and held-out classes of real photos."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

import manifold as mf
from manifold import discovery
from manifold.discovery import PairWhitening
from manifold.errors import DatasetNotFoundError, ManifoldWarning, NotFittedError


def covariance(X, pairs, ridge=0.0):
    D = X[pairs[:, 0]].astype(np.float64) - X[pairs[:, 1]]
    C = D.T @ D / len(pairs)
    return C + ridge * np.trace(C) / len(C) * np.eye(len(C))


def test_two_differences_by_hand():
    """Of differences (2, 0) and (0, 1): C = diag(2, 1/2), and A = diag(.70710678, 1.41421356) up to a rotation."""
    X = np.array([[0.0, 0], [0, 0], [2, 0], [0, 1]])
    pairs = np.array([[0, 2], [1, 3]])
    np.testing.assert_allclose(covariance(X, pairs), np.diag([2, 0.5]))
    P = PairWhitening(ridge=0.0).fit(X, pairs).projection_
    root = np.diag([0.70710678, 1.41421356])
    V = np.linalg.solve(root, P)
    np.testing.assert_allclose(V @ V.T, np.eye(2), atol=1e-8)


@pytest.mark.parametrize("ridge", [0.0, 0.01, 1.0])
def test_differences_are_white(rng, ridge):
    X = (rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5))).astype(np.float32)
    pairs = rng.integers(60, size=(400, 2))
    P = PairWhitening(ridge=ridge).fit(X, pairs).projection_
    np.testing.assert_allclose(P.T @ covariance(X, pairs, ridge) @ P, np.eye(5), atol=1e-8)
    few = PairWhitening(3, ridge=ridge).fit(X, pairs)
    np.testing.assert_allclose(few.projection_, P[:, :3])
    # by falling variance of what is whitened
    spread = ((X - few.mean_) @ P).var(axis=0)
    assert (np.diff(spread) <= 1e-9).all()


def test_a_rotation_changes_no_cosine(rng):
    X = rng.normal(size=(50, 6))
    pairs = rng.integers(50, size=(200, 2))
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    Z, turned = (PairWhitening().fit_transform(x, pairs) for x in (X, X @ turn))
    np.testing.assert_allclose(Z @ Z.T, turned @ turned.T, atol=2e-5)
    np.testing.assert_allclose((Z * Z).sum(axis=1), 1, rtol=1e-5)


def test_it_is_a_transformer_of_scikit_learn(rng):
    X, pairs = rng.normal(size=(30, 4)), rng.integers(30, size=(90, 2))
    pipe = make_pipeline(PairWhitening(3)).fit(X, pairs)
    assert pipe.transform(X).shape == (30, 3)
    assert pipe.transform(X).dtype == np.float32
    copy = clone(PairWhitening(2, ridge=0.5, min_gain=0.1))
    assert copy.get_params() == {"n_components": 2, "ridge": 0.5, "min_gain": 0.1}
    np.testing.assert_array_equal(pipe[0].transform(X[3]), pipe.transform(X)[3])
    assert repr(pipe[0]) == "PairWhitening(n_components=3, ridge=0.5, min_gain=0.25), 4 -> 3 features"


def test_what_is_refused(rng):
    X, pairs = rng.normal(size=(30, 4)), rng.integers(30, size=(90, 2))
    with pytest.raises(NotFittedError, match="fit"):
        PairWhitening().transform(X)
    with pytest.raises(ValueError, match="differ in too few directions"):
        PairWhitening(ridge=0.0).fit(X, [[0, 1]])
    with pytest.raises(ValueError, match=r"pairs must lie in 0\.\.29"):
        PairWhitening().fit(X, [[0, 30]])
    with pytest.raises(ValueError, match=r"pairs must be rows of X \(m, 2\)"):
        PairWhitening().fit(X, [0, 1])
    with pytest.raises(ValueError, match="no parameter 'rigde'"):
        PairWhitening().set_params(rigde=1.0)
    with pytest.raises(ValueError, match="ridge must be at least 0"):
        PairWhitening(ridge=-1.0).fit(X, pairs)
    with pytest.raises(ValueError, match="features of the fitted points"):
        PairWhitening().fit(X, pairs).transform(X[:, :3])


def test_triplets_judge(rng):
    """Noise of one direction hides the classes of the others: whitening helps, and of white noise it does not."""
    classes = np.repeat(np.arange(60), 5)
    X = rng.normal(size=(60, 8))[classes] + 0.3 * rng.normal(size=(300, 8))
    X[:, 0] += 8 * rng.normal(size=300)
    pairs = np.array([(i, j) for i in range(300) for j in range(300) if i != j and classes[i] == classes[j]])
    triplets = np.column_stack([pairs, rng.integers(300, size=len(pairs))])
    found = PairWhitening(ridge=0.01).fit(X, pairs, triplets=triplets)
    assert not found.left_alone_
    assert found.errors_[1] < 0.3 * found.errors_[0]
    with pytest.warns(ManifoldWarning, match="features are left alone"):
        alone = PairWhitening().fit(X[:, 1:], pairs, triplets=np.column_stack([triplets[:, [0]], triplets[:, :0:-1]]))
    assert alone.left_alone_
    np.testing.assert_allclose(
        alone.transform(X[:, 1:]), X[:, 1:] / np.linalg.norm(X[:, 1:], axis=1, keepdims=True), rtol=1e-5
    )


def held_out(name, n_positive=20, limit=None):
    """Features, pairs and triplets of one half of the classes; features and labels of the other."""
    try:
        data = mf.datasets.load(name)
    except DatasetNotFoundError as error:
        pytest.skip(str(error))
    X, y = data.features.astype(np.float64), data.labels
    rng = np.random.default_rng(3)
    if limit is not None:
        kept = rng.permutation(len(X))[:limit]
        X, y = X[kept], y[kept]
    X = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    own = np.isin(y, rng.permutation(np.unique(y))[: len(np.unique(y)) // 2])
    train = X[own]
    if X.shape[1] > 256:
        mean = train.mean(axis=0, dtype=np.float64)
        basis = np.linalg.svd((train - mean).astype(np.float64), full_matrices=False)[2][:256].T
        train, X = (((part - mean) @ basis).astype(np.float32) for part in (train, X))
    near = mf.find_neighbors(train, 100)
    mined = discovery.mine(mf.graph_from_neighbors(near.first(10)), near, n_positive=n_positive)
    pairs = np.column_stack([np.repeat(np.arange(len(train)), 5), near.indices[:, :5].ravel()])
    return train, np.concatenate([pairs, mined.pairs(5, rng=3)]), mined.triplets(10, rng=3), X[~own], y[~own]


def mean_average_precision(X, y):
    ids = mf.find_neighbors(X, len(X) - 1).indices
    relevant = [np.setdiff1d(np.flatnonzero(y == y[i]), [i]) for i in range(len(y))]
    return mf.metrics.mean_average_precision(ids, relevant)


def test_groceries_of_other_classes_are_found_better():
    train, pairs, triplets, X, y = held_out("grocery", limit=2000)
    found = PairWhitening().fit(train, pairs, triplets=triplets)
    assert not found.left_alone_
    assert mean_average_precision(found.transform(X), y) >= mean_average_precision(X, y) + 0.05


@pytest.mark.parametrize("name", ["cifar10", "fashion_mnist"])
def test_few_big_classes_are_left_alone(name):
    train, pairs, triplets, _, _ = held_out(name, limit=1600)
    with pytest.warns(ManifoldWarning, match="left alone"):
        assert PairWhitening().fit(train, pairs, triplets=triplets).left_alone_
