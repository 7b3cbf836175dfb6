"""Modes and clusters: by hand, against dense solves, and on real sets beside k-means."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import KMeans

import manifold as mf
from manifold import Diffusion, discovery, graph_from_affinity, metrics
from manifold.discovery import clusters
from manifold.errors import DatasetNotFoundError

# ---- clusters


def test_two_cliques_a_bridge_and_isolated_nodes():
    W = np.zeros((13, 13))
    W[:5, :5] = W[5:10, 5:10] = 1
    np.fill_diagonal(W, 0)
    W[4, 5] = W[5, 4] = 0.1
    found = discovery.cluster(graph_from_affinity(W), hops=1, certify=True)
    assert found.modes.tolist() == [4]  # of two that tie and are joined the smaller
    W[4, 6] = W[6, 4] = 0.05
    W[0, 1] = W[1, 0] = 3
    W[8, 9] = W[9, 8] = 3
    found = discovery.cluster(graph_from_affinity(W), hops=2, certify=True)
    assert sorted(found.modes.tolist()) == [0, 8]
    assert found.labels.tolist() == [0] * 5 + [1] * 5 + [-1] * 3
    assert found.certified.tolist() == [True] * 10 + [False] * 3
    assert found.sizes.tolist() == [5, 5]
    assert found.members(1)[0] == 8
    assert found.members(1, 2).size == 2
    assert not found.scores[10:].any()


@pytest.mark.parametrize("seed", range(4))
def test_what_is_certified_is_the_largest_of_a_dense_solve(seed):
    rng = np.random.default_rng([31, seed])
    n_certified = 0
    for _ in range(50):
        n = int(rng.integers(5, 60))
        W = np.triu(rng.random((n, n)) < 3 / n, 1) * rng.choice([1.0, rng.uniform(0.2, 2)], size=(n, n))
        graph = graph_from_affinity(W + W.T).astype(str(rng.choice(["float32", "float64"])))
        alpha = float(rng.choice([0.5, 0.9, 0.99]))
        solver = mf.solvers.ConjugateGradient(rtol=10.0 ** -rng.integers(1, 7))
        modes = rng.choice(n, size=int(rng.integers(1, min(n, 6))), replace=False)
        found = discovery.cluster(graph, modes, filter=Diffusion(alpha), solver=solver, on_failure="ignore")
        F = mf.diffuse(graph.astype("float64"), np.eye(n)[:, modes], filter=Diffusion(alpha), solver="direct").scores
        sure = np.flatnonzero(found.certified)
        n_certified += sure.size
        np.testing.assert_array_equal(found.labels[sure], F[sure].argmax(axis=1))
        assert (found.labels[~F.any(axis=1)] == -1).all()
        exact = discovery.cluster(graph, modes, filter=Diffusion(alpha), certify=True)
        best = np.sort(np.column_stack([F, np.zeros(n)]), axis=1)
        clear = best[:, -1] - best[:, -2] > 1e-7
        assert (exact.certified >= clear).all()
        np.testing.assert_allclose(exact.margins[clear], (best[:, -1] - best[:, -2])[clear], atol=1e-3)
    assert n_certified > 300


def test_blocks_do_not_matter():
    """More modes than one block holds: labels are those of all columns side by side."""
    X, _ = mf.datasets.digits()
    graph = mf.build_graph(X[:400], 5)
    modes = np.arange(0, 400, 3)
    found = discovery.cluster(graph, modes, certify=True)
    F = mf.diffuse(graph.astype("float64"), np.eye(400)[:, modes], filter=Diffusion(0.9), solver="direct").scores
    np.testing.assert_array_equal(found.labels[found.certified], F.argmax(axis=1)[found.certified])
    assert found.certified[found.labels >= 0].mean() > 0.99


def test_digits_are_found():
    X, y = mf.datasets.digits()
    graph = mf.build_graph(X)
    found = discovery.cluster(graph)
    assert len(found) <= 40
    assert found.certified.mean() >= 0.9
    nmi = metrics.normalized_mutual_information(y, found.labels)
    unit = X / np.linalg.norm(X.astype(np.float64), axis=1, keepdims=True)
    with np.errstate(all="ignore"):
        means = KMeans(len(found), n_init=2, random_state=3).fit_predict(unit)
    assert nmi >= 0.82 > metrics.normalized_mutual_information(y, means)
    ten = discovery.cluster(graph, n_clusters=10)
    assert len(ten) == 10
    assert metrics.normalized_mutual_information(y, ten.labels) >= 0.82


@pytest.mark.parametrize(("name", "k"), [("coil20", 10), ("grocery", 5)])
def test_as_many_as_k_means_and_better(name, k):
    try:
        data = mf.datasets.load(name)
    except DatasetNotFoundError as error:
        pytest.skip(str(error))
    X, y = data.features[:1500].astype(np.float64), data.labels[:1500]
    found = discovery.cluster(mf.build_graph(X, k))
    with np.errstate(all="ignore"):
        unit = X / np.linalg.norm(X, axis=1, keepdims=True)
        means = KMeans(len(found), n_init=1, random_state=3).fit_predict(unit)
    assert found.certified.mean() >= 0.9
    nmi, beside = (metrics.normalized_mutual_information(y, labels) for labels in (found.labels, means))
    assert nmi >= beside


def test_what_is_refused():
    pair = graph_from_affinity(sparse.csr_array([[0, 1.0], [1, 0]]))
    with pytest.raises(ValueError, match="n_clusters=2, but the graph has 1 modes"):
        discovery.cluster(pair, n_clusters=2)
    with pytest.raises(ValueError, match="leave n_clusters out"):
        discovery.cluster(pair, [0], n_clusters=1)
    with pytest.raises(ValueError, match=r"modes must lie in 0\.\.1"):
        discovery.cluster(pair, [2])
    assert discovery.cluster(pair, []).labels.tolist() == [-1, -1]


@pytest.mark.parametrize("seed", range(3))
def test_local_solves_give_the_same_clusters(seed, monkeypatch):
    """On a large graph each mode is solved for where it is; what is certified is so, and most labels agree."""
    X, _ = mf.datasets.digits()
    graph = mf.build_graph(X[seed * 500 : seed * 500 + 600], 6)
    whole = discovery.cluster(graph, certify=True)
    monkeypatch.setattr(clusters, "serves", lambda *_: True)
    local = discovery.cluster(graph)
    assert local.diagnostics.solver == "local"
    assert (local.labels >= 0).all()
    sure = local.certified & whole.certified
    np.testing.assert_array_equal(local.labels[sure], whole.labels[sure])
    assert (local.labels == whole.labels).mean() > 0.98
    assert local.certified.mean() > 0.5
    np.testing.assert_allclose(local.scores[sure], whole.scores[sure], atol=5e-3)
    exact = discovery.cluster(graph, certify=True)
    assert exact.diagnostics.solver == "local"
    assert exact.certified.mean() > 0.99
    sure = exact.certified & whole.certified
    np.testing.assert_array_equal(exact.labels[sure], whole.labels[sure])


def test_nodes_that_no_walk_meets_follow_their_neighbours(monkeypatch):
    """A long path and one mode at its end: what is far from it gets its label, without a proof."""
    path = graph_from_affinity(sparse.diags_array((np.ones(399), np.ones(399)), offsets=(-1, 1)))
    monkeypatch.setattr(clusters, "serves", lambda *_: True)
    found = discovery.cluster(path, [0], filter=Diffusion(0.5))
    assert (found.labels == 0).all()
    assert found.certified[0]
    assert not found.certified[399]
