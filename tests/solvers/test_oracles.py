"""Answers that can be worked out by hand, and one from an independent library."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from cases import DTYPES, SOLVERS, adjacency

from manifold import Diffusion, diffuse, graph_from_affinity
from manifold.ranking import pooling_weights, regional_seeds

F64 = np.dtype(np.float64)


@pytest.fixture(params=SOLVERS, ids=lambda case: case.name)
def solver(request):
    return request.param.exact(F64)


def scores(W, seed, alpha, solver):
    graph = graph_from_affinity(W).astype(F64)
    y = np.zeros(graph.n_nodes)
    y[seed] = 1
    return diffuse(graph, y, filter=Diffusion(alpha), solver=solver).scores


@pytest.mark.parametrize("alpha", [0.3, 0.9, 0.999])
def test_two_nodes(solver, alpha):
    f = scores(adjacency(2, [(0, 1)]), 0, alpha, solver) / (1 - alpha)
    np.testing.assert_allclose(f, np.array([1, alpha]) / (1 - alpha**2), rtol=1e-9)


def test_path_of_three(solver):
    f = scores(adjacency(3, [(0, 1), (1, 2)]), 0, 0.5, solver) / 0.5
    np.testing.assert_allclose(f, [7 / 6, np.sqrt(2) / 3, 1 / 6], atol=1e-10)


def test_triangle_with_a_pendant_where_the_seed_is_not_first(solver):
    W = adjacency(4, [(0, 1), (1, 2), (2, 0), (2, 3)])
    f = scores(W, 0, 0.99, solver)
    np.testing.assert_allclose(f, [0.25615115, 0.24946219, 0.30350753, 0.17347785], atol=5e-9)
    np.testing.assert_allclose(W.sum(axis=0) / W.sum(), [0.25, 0.25, 0.375, 0.125])
    # personalised PageRank is D^1/2 h(S) D^-1/2 y
    root = np.sqrt(W.sum(axis=0))
    pagerank = root * scores(W, 0, 0.85, solver) / root[0]
    np.testing.assert_allclose(pagerank, [0.34359293, 0.23832978, 0.32577451, 0.09230278], atol=5e-9)
    reference = nx.pagerank(nx.from_numpy_array(W), 0.85, personalization={0: 1}, tol=1e-14, max_iter=10_000)
    np.testing.assert_allclose(pagerank, [reference[i] for i in range(4)], atol=1e-9)
    assert pagerank.sum() == pytest.approx(1)


def test_ring(solver):
    n, alpha = 8, 0.9
    f = scores(adjacency(n, [(i, (i + 1) % n) for i in range(n)]), 0, alpha, solver) / (1 - alpha)
    printed = [2.40612541, 1.56236179, 1.06578947, 0.80605927, 0.72545334]
    np.testing.assert_allclose(f[:5], printed, atol=5e-9)
    symbol = 1 - alpha * np.cos(2 * np.pi * np.arange(n) / n)
    np.testing.assert_allclose(f, np.fft.ifft(np.fft.fft(np.eye(n)[0]) / symbol).real, atol=1e-9)


@pytest.mark.parametrize("n", [3, 10, 40])
def test_complete_graph(solver, n):
    alpha = 0.95
    f = scores(1 - np.eye(n), 0, alpha, solver)
    h = Diffusion(alpha)
    mean, rest = 1 / n, h(-1 / (n - 1))  # eigenvalues 1 and -1 / (n - 1)
    expected = np.full(n, mean - rest * mean)
    expected[0] += rest
    np.testing.assert_allclose(f, expected, atol=1e-10)


def test_two_copies_of_a_graph_do_not_touch(solver):
    one = adjacency(5, [(0, 1), (1, 2), (2, 0), (2, 3), (3, 4)])
    f = scores(np.kron(np.eye(2), one), 1, 0.99, solver)
    assert not f[5:].any()
    np.testing.assert_allclose(f[:5], scores(one, 1, 0.99, solver), rtol=1e-9)


def test_pagerank_of_a_weighted_graph_with_components(solver):
    rng = np.random.default_rng(83)
    W = np.triu(rng.random((30, 30)) * (rng.random((30, 30)) < 0.15), 1)
    W += W.T
    network = nx.from_numpy_array(W)
    seed = max(network, key=network.degree)
    reference = nx.pagerank(network, 0.9, personalization={seed: 1}, tol=1e-14, max_iter=10_000)
    root = np.sqrt(W.sum(axis=0))
    pagerank = root * scores(W, seed, 0.9, solver) / root[seed]
    np.testing.assert_allclose(pagerank, [reference[i] for i in range(30)], atol=1e-8)


def test_generalised_max_pooling():
    np.testing.assert_allclose(pooling_weights(np.tile([[0.6, 0.8]], (3, 1))), 1 / 4)
    np.testing.assert_allclose(pooling_weights(np.eye(3)), 1 / 2)


def test_a_vector_hit_by_two_regions():
    ids, similarities = np.array([[0], [0]]), np.array([[0.9], [0.8]])
    for mode, value in (("sum_of_powers", 1.241), ("power_of_sum", 4.913)):
        Y = regional_seeds(ids, similarities, owners=np.array([0, 0]), n_nodes=1, y_mode=mode)
        assert Y[0, 0] == pytest.approx(value, abs=1e-12)


def residual_ratio(graph, B, X, alpha):
    """LAPACK's test ratio ||b - A x||_1 / (||A||_1 ||x||_1 eps) of A = I - alpha S, the largest of any column."""
    W = graph.affinity.toarray().astype(np.longdouble)
    d = W.sum(axis=1)
    inverse = np.divide(1, np.sqrt(d), out=np.zeros_like(d), where=d > 0)
    A = np.eye(len(d)) - alpha * (inverse[:, None] * W * inverse)
    residual = np.abs((1 - alpha) * B - A @ X).sum(axis=0)
    scale = np.abs(A).sum(axis=0).max(initial=0) * np.abs(X).sum(axis=0) * np.finfo(graph.dtype).eps
    return float((residual / np.maximum(scale, np.finfo(float).tiny)).max(initial=0))


@pytest.mark.parametrize("alpha", [0.5, 0.99])
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("case", SOLVERS, ids=lambda case: case.name)
def test_residuals_as_small_as_lapack_asks_for(case, dtype, alpha):
    """At the limit of its precision every solver stays below LAPACK's threshold of 30, whatever the sizes."""
    solver = case.exact(dtype)
    if hasattr(solver, "rtol"):
        solver = replace(solver, rtol=float(np.finfo(dtype).eps))
    for n in (0, 1, 2, 3, 5, 10, 50):
        rng = np.random.default_rng(n)
        W = rng.random((n, n)) * (rng.random((n, n)) < 6 / max(n, 1)) * (1 - np.eye(n))
        graph = graph_from_affinity(W + W.T).astype(dtype)
        for q in (0, 1, 2, 15):
            Y = rng.random((n, q)).astype(dtype)
            solution = diffuse(graph, Y, filter=Diffusion(alpha), solver=solver, on_failure="ignore")
            assert solution.scores.shape == (n, q)
            assert solution.scores.dtype == dtype
            assert residual_ratio(graph, Y, solution.scores, alpha) < 30
