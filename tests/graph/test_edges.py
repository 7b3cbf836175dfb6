"""Edge rules as a table, and the mutual rule made soft: W = (1 - b) mutual + b union."""

from __future__ import annotations

import numpy as np
import pytest

import manifold as mf
from manifold.graph import EDGE_RULES, Change, followed_graph, one_sided_weight, soft_mutual_graph
from manifold.graph._returned import returned_listings
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


@pytest.mark.parametrize("compiled", [True, False])
def test_listings_that_are_returned_are_counted(compiled, rng, monkeypatch):
    ids = np.array([rng.permutation(np.delete(np.arange(40), i))[:6] for i in range(40)], np.int32)
    ids[rng.random(40) < 0.3, 4:] = -1
    listed = {(i, j) for i, row in enumerate(ids.tolist()) for j in row if j >= 0}
    monkeypatch.setattr("manifold.graph._returned._MANY", 0 if compiled else ids.size)
    assert returned_listings(ids) == (len(listed), sum((j, i) in listed for i, j in listed))


@pytest.mark.parametrize("edges", EDGE_RULES)
@pytest.mark.parametrize("kind", ["power", "self_tuning", "ranked"])
def test_a_graph_that_follows_its_lists_is_the_graph_of_its_lists(edges, kind, rng, monkeypatch):
    """Rows leave, come and change at once: the same bits, whichever lists are touched."""
    monkeypatch.setattr("manifold.graph._patched.FOLLOWED_FROM", 0)
    kernel = Affinity(kind, gamma=2.0)
    for step in range(8):
        X = rng.normal(size=(140, 4)).astype(np.float32)
        kept = np.sort(rng.choice(137, 134, replace=False))
        before, now = find_neighbors(X[:137], 5), find_neighbors(np.concatenate([X[kept], X[137:]]), 5)
        rows = np.append(kept, np.full(3, -1))
        number = np.full(138, -1)
        number[kept] = np.arange(134)
        was = np.where(rows[:, None] >= 0, number[before.indices[np.maximum(rows, 0)]], -2)
        touched = np.flatnonzero((was != now.indices).any(axis=1))
        options = {"affinity": kernel, "edges": edges, "bridge": step % 3, "one_sided": 0.1 * (step % 2)}
        graph = soft_mutual_graph(before, **options)
        followed = followed_graph(graph, now, Change(before, rows, touched), **options)
        anew = soft_mutual_graph(now, **options)
        assert (followed.affinity != anew.affinity).nnz == 0
        assert followed.degrees.tobytes() == anew.degrees.tobytes()
        assert dict(followed.facts) == dict(anew.facts)
        with pytest.MonkeyPatch().context() as patch:  # it was followed, and not formed anew
            patch.setattr("manifold.graph.soft_mutual_graph", None)
            followed_graph(graph, now, Change(before, rows, touched), **options)
