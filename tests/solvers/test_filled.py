"""Lists of queries whose walks fill the graph, by passes over all of it: proved, and true of dense solves."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from cases import dense_scores
from hunt import pagerank_lists
from scipy import sparse
from scipy.linalg import block_diag
from threadpoolctl import threadpool_limits

from manifold import Diffusion, graph_from_affinity
from manifold.backends import get_backend
from manifold.solvers import Local, proved


@pytest.fixture(autouse=True)
def passes_at_once(monkeypatch):
    monkeypatch.setattr(proved, "_MOST_MET", 0.0)


def random_graph(n=150, *, weighted=False, seed=3):
    rng = np.random.default_rng(seed)
    upper = sparse.random_array((n, n), density=8 / n, rng=rng)
    upper.data[:] = rng.uniform(0.1, 1, upper.data.size) if weighted else 1.0
    return graph_from_affinity(sparse.csr_array(upper + upper.T))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("exponent", [0.0, 0.5, -0.5])
def test_lists_are_those_of_the_dense_definition(weighted, exponent):
    graph, filter = random_graph(weighted=weighted), Diffusion(0.9)
    n, scale = graph.n_nodes, graph.scale(exponent)
    lists = Local().prepare(graph, filter, get_backend()).lists(scale if exponent else None)
    allowed, K = np.arange(n) % 3 > 0, dense_scores(graph, np.eye(n), filter)
    for asked in range(6):
        rng = np.random.default_rng(asked)
        nodes, weights, k = rng.choice(n, 3, replace=False), rng.uniform(0.1, 1, 3), int(rng.integers(1, 60))
        exact = K[:, nodes] @ weights * scale
        some, may = [
            ({}, np.ones(n, dtype=bool)),
            ({"left_out": nodes[:1]}, np.arange(n) != nodes[0]),
            ({"among": np.flatnonzero(allowed)}, allowed),
        ][asked % 3]
        found = lists.best(nodes, weights, k, slack=0.0, **some)
        assert found.n_edges > graph.affinity.nnz  # the whole graph was passed over
        assert found.decided
        assert found.outside <= found.lower
        assert may[found.rows].all()
        others = np.setdiff1d(np.flatnonzero(may), found.rows)
        assert found.rows.size == min(k, may.sum())
        assert exact[found.rows].min() >= found.lower - 1e-14
        assert exact[others].max() <= found.outside + 1e-14
        assert np.abs(found.x - (exact / scale)[found.nodes]).max() <= found.error_bound
        np.testing.assert_array_equal(lists.only(may).best(nodes, weights, k, slack=0.0).rows, found.rows)


def test_nodes_of_the_same_edges_are_told_to_be_alike_not_solved_for_ever():
    # a hub, a chain, and twenty leaves of its last node: seven of them are as good as any other seven
    n = 30
    pairs = [*itertools.pairwise(range(10)), *((9, leaf) for leaf in range(10, n))]
    rows, columns = np.array(pairs).T
    W = sparse.coo_array((np.ones(len(pairs)), (rows, columns)), shape=(n, n))
    lists = Local().prepare(graph_from_affinity(W + W.T), Diffusion(0.5), get_backend()).lists()
    found = lists.best([9], [1.0], 8, slack=0.0)
    assert found.decided
    assert found.outside == found.lower
    assert found.rows[0] == 9
    apart = lists.best([9, 10], [1.0, 1e-12], 8, slack=0.0)  # one of them is a seed, too
    assert 10 in apart.rows


def test_all_that_may_be_listed_is_listed():
    graph = graph_from_affinity(block_diag(np.ones((4, 4)) - np.eye(4), np.ones((3, 3)) - np.eye(3), [[0.0]]))
    lists = Local().prepare(graph, Diffusion(0.9), get_backend()).lists()
    assert sorted(lists.best([0], [1.0], 7, slack=0.0).rows) == [0, 1, 2, 3]
    assert sorted(lists.best([0, 7], [1.0, 1.0], 4, slack=0.0, left_out=np.array([1])).rows) == [0, 2, 3, 7]


def test_threads_and_earlier_queries_change_no_bit():
    lists = Local().prepare(random_graph(weighted=True), Diffusion(0.95), get_backend()).lists()
    first = lists.best([5], [1.0], 20, slack=0.0)
    lists.best([7, 8], [1.0, 0.3], 300, slack=0.0)
    with threadpool_limits(1):
        again = lists.best([5], [1.0], 20, slack=0.0)
    assert first.rows.tobytes() == again.rows.tobytes()
    assert first.scores.tobytes() == again.scores.tobytes()


def test_pagerank_is_certified_as_long_double_says():
    met = 0
    with np.errstate(all="ignore"):
        for problem in range(24):
            for right, what in pagerank_lists(np.random.default_rng([11, problem])):
                assert right, what
                met += 1
    assert met > 40
