"""The order of the nodes of a graph: from cells, from a walk, kept with the graph, and refused where it is none."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import manifold as mf
from manifold.errors import CorruptFileError
from manifold.graph import _order
from manifold.neighbors import InvertedFile, find_neighbors
from manifold.storage import load_arrays, save_arrays


@pytest.fixture(scope="module")
def lists():
    X = np.random.default_rng(41).normal(size=(9000, 3)).astype(np.float32)
    return find_neighbors(X, 5, method=InvertedFile(n_cells=30, n_probes=3))


@pytest.fixture
def graph(lists):
    return mf.graph_from_neighbors(lists, edges="sum")


def test_nodes_stand_cell_by_cell_and_in_windows_by_their_number_of_neighbours(graph, lists):
    order, width = graph.order, _order._WINDOW
    assert order.dtype == np.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(9000))
    cell, lengths = lists.partition.cell[order], np.diff(graph.affinity.indptr)[order]
    for start in range(0, 9000, width):
        part = slice(start, start + width)
        assert (np.diff(lengths[part]) <= 0).all()
        # the same nodes as of the cells in a row
        np.testing.assert_array_equal(np.sort(cell[part]), np.sort(lists.partition.cell)[part])


def test_a_graph_without_cells_is_walked_and_a_small_one_keeps_its_order(graph):
    given = mf.graph_from_affinity(graph.affinity)
    np.testing.assert_array_equal(given.order, _order.order_of_walk(graph.affinity))
    assert given.subgraph(np.arange(100)).order is None


@pytest.mark.parametrize("verify", ["full", "lazy"])
def test_the_order_is_kept_with_the_graph(graph, tmp_path, verify):
    loaded = mf.load(graph.save(tmp_path / "graph"), verify=verify)
    for kept in (loaded, pickle.loads(pickle.dumps(graph)), graph.astype("float64")):
        np.testing.assert_array_equal(kept.order, graph.order)
        assert not kept.order.flags.writeable
    # and with it every bit of a solve
    y = np.arange(9000) % 97 == 0
    np.testing.assert_array_equal(mf.diffuse(loaded, y).scores, mf.diffuse(graph, y).scores)


@pytest.mark.parametrize("wrong", [0, -1, 9000])
@pytest.mark.parametrize("verify", ["full", "lazy"])
def test_what_is_no_order_is_refused(graph, tmp_path, verify, wrong):
    stored = load_arrays(graph.save(tmp_path / "graph"))
    order = stored.arrays["node_order"].copy()
    order[3] = order[4] if wrong == 0 else wrong
    arrays = {**stored.arrays, "node_order": order}
    save_arrays(tmp_path / "wrong", kind="graph", arrays=arrays, parameters=stored.parameters)
    with pytest.raises(CorruptFileError, match="order must hold each node once"):
        mf.load(tmp_path / "wrong", verify=verify).affinity  # noqa: B018 -- looked through with its first use
