"""Edge rules as a table, and the mutual rule made soft: W = (1 - b) mutual + b union."""

from __future__ import annotations

import numpy as np
import pytest

import manifold as mf
from manifold.graph import EDGE_RULES, one_sided_weight, soft_mutual_graph
from manifold.graph.affinity import Affinity
from manifold.neighbors import Neighbors, find_neighbors


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("bridge", [0, 1, 3])
@pytest.mark.parametrize("b", [0.0, 0.025, 0.3, 1.0, None])
def test_one_pass_gives_the_bits_of_two_graphs(metric, bridge, b, rng):
    X = rng.normal(size=(90, 5)).astype(np.float32)
    lists = find_neighbors(X, 6, metric=metric)
    weight = one_sided_weight(lists) if b is None else b
    assert 0 < one_sided_weight(lists) < 1
    mutual = mf.graph_from_neighbors(lists, bridge=bridge).affinity
    union = mf.graph_from_neighbors(lists, edges="union").affinity
    expected = ((1 - weight) * mutual + weight * union).astype(np.float32).toarray()
    for graph in (
        mf.graph_from_neighbors(lists, bridge=bridge, one_sided=b),
        mf.build_graph(X, 6, metric=metric, bridge=bridge, one_sided=b),
        soft_mutual_graph(lists, affinity=Affinity(metric=metric), bridge=bridge, one_sided=weight),
    ):
        np.testing.assert_array_equal(graph.affinity.toarray(), expected)
        assert graph.dtype == np.float32
        assert graph.affinity.nnz == np.count_nonzero(expected)
        assert ("one_sided" in graph.facts["edges"]) == (weight > 0)


def test_the_rules_are_a_table_of_functions():
    lists = Neighbors([[1], [0], [0]], [[1.0], [1.0], [0.5]], metric="cosine", method="by hand")
    found = {}
    for name, rule in EDGE_RULES.items():
        A = mf.graph_from_neighbors(lists, gamma=1.0, edges="union", bridge=0).affinity
        A = A.multiply(np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]], dtype=np.float32)).tocsr()
        expected = rule(A, A.T.tocsr()).toarray()
        found[name] = mf.graph_from_neighbors(lists, gamma=1.0, edges=name, bridge=0).affinity.toarray()
        np.testing.assert_array_equal(found[name], expected)
    assert [found[name][0, 2] for name in ("mutual", "union", "sum")] == [0, 0.5, 0.5]
    with pytest.raises(TypeError):
        EDGE_RULES["mine"] = rule


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"one_sided": -0.1}, r"one_sided must lie in \[0, 1\], got -0.1: None takes it"),
        ({"one_sided": 1.5}, r"one_sided must lie in \[0, 1\]"),
        ({"one_sided": np.nan}, r"one_sided must lie in \[0, 1\]"),
        ({"one_sided": 0.1, "edges": "union"}, "one_sided=0.1 softens edges='mutual', not 'union': leave it out"),
        ({"one_sided": None, "edges": "sum"}, "one_sided=None softens edges='mutual', not 'sum'"),
    ],
)
def test_weights_that_no_rule_has_are_refused_before_the_search(options, message):
    X = np.full((3, 2), np.nan)  # the search would complain of this
    with pytest.raises(ValueError, match=message):
        mf.build_graph(X, 1, **options)
    with pytest.raises(ValueError, match=message):
        mf.graph_from_neighbors(Neighbors([[1], [0]], [[1.0], [1.0]], "cosine", "by hand"), **options)


def test_weights_that_vanish_are_no_edges():
    lists = Neighbors([[1], [0], [0]], [[1.0], [1.0], [0.5]], metric="cosine", method="by hand")
    tiny = mf.graph_from_neighbors(lists, gamma=120.0, bridge=0, one_sided=1e-12)  # 0.5^120 is a float32, times b not
    assert tiny.affinity.nnz == 2
    assert tiny.n_components == 2


def test_neighbours_hold_their_ids():
    lists = Neighbors([[1], [0]], [[1.0], [1.0]], metric="cosine", method="by hand")
    with pytest.raises(TypeError, match="Neighbors alone"):
        mf.graph_from_neighbors(lists, [[1], [0]])
