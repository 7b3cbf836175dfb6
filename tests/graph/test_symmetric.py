"""Lists made symmetric block by block: the bits of the plain expressions, however they are cut."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

import manifold as mf
from manifold import _weights
from manifold._weights import row_sums
from manifold.graph import _saved, _symmetric
from manifold.graph._edges import symmetric_affinity
from manifold.graph._symmetric import Rule, symmetric_blocks
from manifold.graph.affinity import Affinity
from manifold.neighbors import Neighbors, find_neighbors

pytest.importorskip("numba")
RULES = [
    ("mutual", 0, 0.0),
    ("mutual", 2, 0.0),
    ("mutual", 1, 0.03),
    ("mutual", 0, 1.0),
    ("union", 1, 0.0),
    ("sum", 0, 0.0),
]


@pytest.fixture(scope="module", params=["cosine", "euclidean", "inner_product"])
def lists(request):
    rng = np.random.default_rng(53)
    X = rng.normal(size=(300, 4)).astype(np.float32)
    X[17] = X[18] = X[19]  # copies
    found = find_neighbors(X, 6, metric=request.param)
    ids, similarities = found.indices.copy(), found.similarities.copy()
    ids[40, 3:], similarities[40, 3:] = -1, -np.inf  # a short list, and none
    ids[41], similarities[41] = -1, -np.inf
    return Neighbors(ids, similarities, metric=request.param, method="by hand")


@pytest.mark.parametrize(("edges", "bridge", "one_sided"), RULES)
def test_blocks_have_the_bits_of_the_plain_expressions(lists, edges, bridge, one_sided):
    kernel = Affinity(gamma=3.0 if lists.metric != "inner_product" else 1.0, metric=lists.metric)
    expected, n_clipped = symmetric_affinity(lists, kernel, edges=edges, bridge=bridge, one_sided=one_sided)
    for width in (1, 7, 300, 1000):
        W, degrees, clipped = symmetric_blocks(lists, kernel, Rule(edges, bridge, one_sided), width=width)
        for name in ("indptr", "indices", "data"):
            np.testing.assert_array_equal(getattr(W, name), getattr(expected, name))
        np.testing.assert_array_equal(degrees, row_sums(expected))
        assert clipped == n_clipped


def test_what_vanishes_is_no_edge():
    tiny = np.finfo(np.float32).tiny
    lists = Neighbors([[1], [2], [1]], [[2 * tiny], [1.0], [1.0]], metric="precomputed", method="by hand")
    kernel = Affinity(gamma=1.0, metric="precomputed")
    for one_sided in (1e-30, 0.25):
        expected, _ = symmetric_affinity(lists, kernel, edges="mutual", bridge=0, one_sided=one_sided)
        W, *_ = symmetric_blocks(lists, kernel, Rule("mutual", 0, one_sided))
        np.testing.assert_array_equal(W.indices, expected.indices)
        np.testing.assert_array_equal(W.data, expected.data)


def test_nothing_is_a_graph_of_nothing():
    none = Neighbors(np.empty((0, 3), np.int32), np.empty((0, 3)), metric="cosine", method="by hand")
    W, degrees, _ = symmetric_blocks(none, Affinity(), Rule("sum", 0, 0.0))
    assert W.shape == (0, 0)
    assert degrees.size == 0


def test_a_large_graph_is_made_in_blocks(monkeypatch, rng):
    found = find_neighbors(rng.normal(size=(500, 3)), 5)
    expected = mf.graph_from_neighbors(found)
    monkeypatch.setattr(_symmetric, "_BLOCKS_FROM", 1)
    monkeypatch.setattr(_saved, "_COMPILED_FROM", 1)
    graph = mf.graph_from_neighbors(found)
    np.testing.assert_array_equal(graph.affinity.toarray(), expected.affinity.toarray())
    np.testing.assert_array_equal(graph.degrees, expected.degrees)
    labels = connected_components(expected.affinity, directed=False)[1]
    np.testing.assert_array_equal(graph.components, labels)


def test_indices_are_wide_where_narrow_ones_would_not_hold_them(monkeypatch, lists):
    kernel = Affinity(gamma=1.0, metric=lists.metric)
    expected = symmetric_blocks(lists, kernel, Rule("sum", 0, 0.0), width=64)[0]
    monkeypatch.setattr(_weights, "MOST_SMALL", expected.nnz - 1)
    W = symmetric_blocks(lists, kernel, Rule("sum", 0, 0.0), width=64)[0]
    assert W.indices.dtype == W.indptr.dtype == np.int64
    np.testing.assert_array_equal(W.toarray(), expected.toarray())
    graph = mf.Graph._trusted(W, facts={})
    assert graph.affinity.indices.dtype == np.int64
    y = np.arange(300) == 3
    np.testing.assert_allclose(mf.diffuse(graph, y).scores, mf.diffuse(mf.Graph(expected), y).scores, atol=1e-6)


@pytest.mark.parametrize(("edges", "bridge", "one_sided"), [("mutual", 1, 0.0), ("mutual", 1, 0.1), ("sum", 0, 0.0)])
def test_the_forecast_bounds_the_peak(edges, bridge, one_sided):
    n, k = 20_000, 12
    steps = np.random.default_rng(5).permutation(np.arange(1, 4 * k))[:k]
    ids = ((np.arange(n)[:, None] + steps) % n).astype(np.int32)
    lists = Neighbors(ids, np.broadcast_to(np.linspace(1, 0.5, k), (n, k)), metric="cosine", method="by hand")
    symmetric_blocks(lists.first(2), Affinity(), Rule("sum", 0, 0.0))  # loaded, once
    tracemalloc.start()
    try:
        mf.graph_from_neighbors(lists, edges=edges, bridge=bridge, one_sided=one_sided)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= mf.graph.memory_forecast(n, k, edges=edges, bridge=bridge, one_sided=one_sided) <= 3 * peak
