"""Novelty, suspects and new classes: against dense arithmetic, and on sets with classes hidden and labels flipped."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import manifold as mf
from manifold import Diffusion, discovery, graph_from_affinity
from manifold.errors import DatasetNotFoundError


@pytest.fixture(scope="module")
def digits():
    X, y = mf.datasets.digits()
    return mf.build_graph(X, edges="sum"), y


def partly(y, known, n, rng):
    labels = np.full(y.size, -1)
    for c in known:
        labels[rng.permutation(np.flatnonzero(y == c))[:n]] = c
    return labels


def test_novelty_is_the_definition(rng):
    W = np.triu((rng.random((20, 20)) < 0.2) * rng.random((20, 20)), 1)
    graph = graph_from_affinity(W + W.T).astype("float64")
    labels = np.full(20, -1)
    labels[[2, 7, 11]] = [5, 3, 5]
    Y = np.stack([labels == 3, labels == 5], axis=1).astype(float)
    F = mf.diffuse(graph, Y, filter=Diffusion(0.9), solver="direct").scores
    d = np.where(graph.degrees > 0, graph.degrees, 1)
    np.testing.assert_allclose(discovery.novelty(graph, labels), -F.max(axis=1) / np.sqrt(d), rtol=1e-10)
    assert discovery.novelty(graph_from_affinity(np.zeros((3, 3))), [1, -1, -1]).tolist()[1:] == [0, 0]


def test_half_of_the_digits_are_new(digits):
    graph, y = digits
    found, sure = [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        known = rng.permutation(10)[:5]
        labels = partly(y, known, 5, rng)
        asked = labels < 0
        new = ~np.isin(y, known)[asked]
        found.append(roc_auc_score(new, discovery.novelty(graph, labels)[asked]))
        sure.append(roc_auc_score(new, -mf.propagate(graph, labels).certainty[asked]))
    assert np.mean(found) >= 0.97
    assert np.mean(found) > np.mean(sure) + 0.005


def test_three_groceries_are_new():
    try:
        data = mf.datasets.load("grocery", protocol="test")
    except DatasetNotFoundError as error:
        pytest.skip(str(error))
    X, y = data.features, data.labels
    X, y = X[:2640], y[:2640]  # photos of one visit
    graph = mf.build_graph(X)
    found = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        hidden = rng.permutation(np.unique(y))[:3]
        labels = np.where(np.isin(y, hidden) | (rng.random(y.size) < 0.5), -1, y)
        asked = labels < 0
        found.append(roc_auc_score(np.isin(y, hidden)[asked], discovery.novelty(graph, labels)[asked]))
    assert np.mean(found) >= 0.94


# ---- suspects


def test_support_is_a_propagation_without_the_label(rng):
    W = np.triu((rng.random((16, 16)) < 0.4) * rng.random((16, 16)), 1)
    graph = graph_from_affinity(W + W.T).astype("float64")
    labels = rng.integers(3, size=16)
    labels[[4, 9]] = -1
    found = discovery.support(graph, labels)
    K = mf.diffuse(graph, np.eye(16), filter=Diffusion(0.9), solver="direct").scores
    for i in np.flatnonzero(labels >= 0):
        others = np.where(np.arange(16) == i, -1, labels)
        F = np.array([K[i, others == c].sum() for c in range(3)])
        np.testing.assert_allclose(found[i], F[labels[i]] / F.sum(), atol=1e-9)
    assert np.isnan(found[[4, 9]]).all()
    index = mf.DiffusionIndex(n_entries=16, dtype="float64", rtol=1e-12).build(graph, filter=Diffusion(0.9))
    np.testing.assert_allclose(discovery.support(graph, labels, index=index), found, atol=1e-9)
    other = mf.DiffusionIndex(n_entries=4).build(graph, filter=Diffusion(0.5))
    with pytest.raises(ValueError, match="Diffusion"):
        discovery.support(graph, labels, index=other)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_flipped_labels_are_suspects(digits, share):
    graph, y = digits
    rng = np.random.default_rng(17)
    flipped = rng.random(y.size) < share
    labels = np.where(flipped, (y + rng.integers(1, 10, size=y.size)) % 10, y)
    found = discovery.support(graph, labels)
    assert roc_auc_score(flipped, -found) >= 0.99


# ---- classes that nobody has labelled


def test_new_classes_of_the_digits():
    X, y = mf.datasets.digits()
    graph = mf.build_graph(X)
    rng = np.random.default_rng(3)
    known = rng.permutation(10)[:7]
    labels = partly(y, known, 20, rng)
    found = discovery.new_classes(graph, labels)
    assert found.names.tolist() == list(range(known.max() + 1, known.max() + 1 + len(found)))
    assert (found.labels[labels >= 0] == labels[labels >= 0]).all()
    assert np.count_nonzero(found.labels >= 0) == np.count_nonzero(labels >= 0) + len(found)
    assert found.priors.size == known.size + len(found)
    np.testing.assert_allclose(found.priors.sum(), 1)
    np.testing.assert_allclose(
        found.priors[known.size :], found.clusters.sizes[found.clusters.labels[found.nodes]] / y.size, rtol=1e-12
    )
    result = mf.propagate(graph, found.labels, priors=found.priors)
    new = np.isin(result.labels, found.names)
    hidden = ~np.isin(y, known)
    asked = labels < 0
    assert new[asked & hidden].mean() > 0.9
    assert new[asked & ~hidden].mean() < 0.05


def test_names_of_new_classes():
    pairs = graph_from_affinity(np.kron(np.eye(4), [[0, 1], [1, 0]]))
    texts = discovery.new_classes(pairs, ["new 1", None, None, None, "b", None, None, None])
    assert texts.names.tolist() == ["new 2", "new 3"]
    assert texts.labels.tolist()[0] == "new 1"
    assert texts.priors.tolist() == [0.25] * 4
    assert len(texts.clusters) == 4
    every = discovery.new_classes(pairs, [3, -1, 4, -1, 5, -1, 6, -1])
    assert len(every) == 0
    assert every.labels.tolist() == [3, -1, 4, -1, 5, -1, 6, -1]
    with pytest.raises(TypeError, match="integers or texts"):
        discovery.new_classes(pairs, [True, None, None, None, False, None, None, None])
    with pytest.raises(ValueError, match="one class a point"):
        discovery.novelty(pairs, np.full((8, 2), 0.5))
