"""Matrices from outside: what is rounding and what is asymmetry, entries stored twice, masks, networkx."""

from __future__ import annotations

import builtins
import re
import sys

import networkx as nx
import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import SpectralClustering

import manifold as mf
from manifold.graph import Graph


def symmetric(rng, n=12, dtype=np.float64):
    W = rng.uniform(0.1, 1, size=(n, n))
    np.fill_diagonal(W, 0)
    return (W + W.T).astype(dtype)


class TestRounding:
    @pytest.mark.parametrize(
        ("dtype", "most"), [(np.float16, 4e-3), (np.float32, 1e-6), (np.float64, 1e-12), (np.longdouble, 1e-12)]
    )
    @pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, sparse.coo_array])
    def test_differences_of_rounding_are_averaged_and_counted(self, dtype, most, kind, rng):
        if kind is not np.asarray and dtype in (np.float16, np.longdouble):
            pytest.skip("SciPy has no such sparse matrices")
        W = symmetric(rng, dtype=dtype)
        W[0, 3] *= dtype(1 + most / 4)
        W[7, 2] = W[2, 7] * dtype(1 - most / 3)
        graph = mf.graph_from_affinity(kind(W))
        got = graph.affinity.toarray()
        np.testing.assert_array_equal(got, got.T)
        np.testing.assert_allclose(got, W.astype(float), rtol=max(most, 1e-7))  # W is float32
        assert graph.facts["averaged"] == 4
        np.testing.assert_array_equal(got[5], W[5].astype(np.float32))  # the others stay as they are
        Graph(graph.affinity)  # symmetric to the bit

    @pytest.mark.parametrize(
        ("dtype", "least"), [(np.float16, 1e-2), (np.float32, 3e-6), (np.float64, 3e-12), (np.float64, 1e-9)]
    )
    def test_larger_ones_are_refused_with_digits_that_differ(self, dtype, least, rng):
        W = symmetric(rng, dtype=dtype)
        W[0, 3] = W[3, 0] * dtype(1 + least)
        with pytest.raises(ValueError, match=r"not symmetric: W\[0, 3\] = .* choose a rule with edges=") as error:
            mf.graph_from_affinity(W)
        shown = [dtype(x) for x in re.findall(r"\] = ([0-9.]+\d)", str(error.value))]
        assert shown == [W[0, 3], W[3, 0]]

    def test_an_entry_without_its_opposite_is_refused_however_small(self):
        with pytest.raises(ValueError, match=r"W\[0, 1\] = 1\.?0*\d?e-300, W\[1, 0\] = 0"):
            mf.graph_from_affinity([[0, 1e-300], [0, 0]])

    def test_integers_are_not_rounded(self):
        W = np.array([[0, 10**14], [10**14 + 1, 0]])
        with pytest.raises(ValueError, match=r"W\[0, 1\] = 100000000000000, W\[1, 0\] = 100000000000001"):
            mf.graph_from_affinity(W)
        assert mf.graph_from_affinity(W, edges="union").n_edges == 1

    def test_the_constructor_stays_exact(self, rng):
        W = symmetric(rng)
        W[0, 3] = np.nextafter(W[0, 3], 9)
        with pytest.raises(ValueError, match="not symmetric"):
            Graph(sparse.csr_array(W))


class TestEntriesStoredTwice:
    @pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, bool, np.float32, np.float64])
    @pytest.mark.parametrize("kind", ["coo", "csr", "csc", "bsr"])
    def test_they_are_added_in_float64(self, dtype, kind):
        first, second = (200, 100) if dtype is np.uint8 else (120, 100) if dtype is not bool else (1, 1)
        rows, columns = [0, 1, 0, 1], [1, 0, 1, 0]
        values = np.array([first, first, second, second], dtype=dtype)
        if kind == "coo":
            W = sparse.coo_array((values, (rows, columns)), shape=(2, 2))
        elif kind == "bsr":
            blocks = values.reshape(4, 1, 1)[[0, 2, 1, 3]]
            W = sparse.bsr_array((blocks, [1, 1, 0, 0], [0, 2, 4]), shape=(2, 2))
        else:
            make = {"csr": sparse.csr_array, "csc": sparse.csc_array}[kind]
            W = make((values[[0, 2, 1, 3]], [1, 1, 0, 0], [0, 2, 4]), shape=(2, 2))
        before = values.copy()
        assert mf.graph_from_affinity(W).affinity.toarray().tolist() == [[0, first + second], [first + second, 0]]
        np.testing.assert_array_equal(values, before)


class TestMasked:
    def test_masked_entries_are_refused_as_those_of_features(self):
        W = np.ma.array(np.ones((2, 2)), mask=[[0, 1], [1, 0]])
        with pytest.raises(TypeError, match=r"W is a masked array with masked entries: fill them, W.filled\(...\)"):
            mf.graph_from_affinity(W)
        assert mf.graph_from_affinity(W.filled(0)).n_edges == 0

    def test_a_mask_that_hides_nothing_is_no_matter(self):
        assert mf.graph_from_affinity(np.ma.array([[0.0, 2.0], [2.0, 0.0]])).degrees.tolist() == [2, 2]


class TestIndices:
    def every_way(self, rng):
        X = rng.normal(size=(40, 5))
        found = mf.neighbors.find_neighbors(X, 4)
        for edges in mf.graph.EDGE_RULES:
            yield mf.graph_from_neighbors(found, edges=edges)
        yield mf.graph_from_neighbors(found, one_sided=None)
        yield mf.build_graph(X, 4)
        W = symmetric(rng)
        for kind in ("csr", "csc", "coo", "bsr", "lil", "dok", "dia"):
            yield mf.graph_from_affinity(sparse.csr_array(W).asformat(kind))
        for made in (W, W.astype(np.float32), nx.from_numpy_array(W)):
            yield mf.graph_from_affinity(made)
        wide = sparse.csr_array(W)
        wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
        for edges in (None, *mf.graph.EDGE_RULES):
            yield mf.graph_from_affinity(wide, edges=edges)
            yield mf.graph_from_affinity(wide, self_loops="keep", edges=edges)
        given = Graph(wide)
        yield given
        yield given.subgraph(np.arange(5, dtype=np.int64))
        yield given.astype(np.float32)
        yield mf.load(given.save("g"))

    def test_they_are_int32_whoever_made_the_graph(self, rng):
        graphs = list(self.every_way(rng))
        assert len(graphs) > 25
        for graph in graphs:
            W = graph.affinity
            assert W.indices.dtype == W.indptr.dtype == np.int32
            assert graph.nbytes == (W.data.itemsize + 4) * W.nnz + 4 * (len(graph) + 1) + 12 * len(graph)
            assert W.has_canonical_format
            W = graph.to_scipy()  # not told that it is canonical: it is
            assert sparse.csr_array((W.data, W.indices, W.indptr), shape=W.shape).has_canonical_format

    def test_scikit_learn_takes_the_affinity(self, rng):
        X = np.concatenate([rng.normal(size=(20, 3)) + 9, rng.normal(size=(20, 3)) - 9])
        graph = mf.build_graph(X, 6, metric="euclidean", edges="union")
        W = graph.to_scipy() + 1e-6 * (1 - np.eye(40, dtype=np.float32))  # joined
        labels = SpectralClustering(2, affinity="precomputed", random_state=3).fit(sparse.csr_array(W)).labels_
        assert len(set(labels[:20])) == len(set(labels[20:])) == 1
        assert labels[0] != labels[20]


class TestNetworkx:
    def test_there_and_back(self, rng):
        graph = mf.graph_from_affinity(np.where(symmetric(rng) > 1, symmetric(rng), 0), edges="mutual")
        there = graph.to_networkx()
        assert (there.number_of_nodes(), there.number_of_edges()) == (len(graph), graph.n_edges)
        assert {type(w) for *_, w in there.edges(data="weight")} == {float}
        back = mf.graph_from_affinity(there)
        np.testing.assert_array_equal(back.affinity.toarray(), graph.affinity.toarray())

    def test_weights_of_edges_and_1_without(self):
        theirs = nx.Graph([("a", "b"), ("b", "c", {"weight": 2.5}), ("c", "c", {"weight": 9})])
        graph = mf.graph_from_affinity(theirs)
        assert graph.affinity.toarray().tolist() == [[0, 1, 0], [1, 0, 2.5], [0, 2.5, 0]]
        assert graph.facts["self_loops_removed"] == 1
        assert mf.graph_from_affinity(theirs, self_loops="keep").affinity[2, 2] == 9

    def test_parallel_directed_and_empty(self):
        assert mf.graph_from_affinity(nx.MultiGraph([(0, 1), (0, 1)])).affinity[0, 1] == 2
        with pytest.raises(ValueError, match=r"W\[0, 1\] = 1, W\[1, 0\] = 0: choose a rule"):
            mf.graph_from_affinity(nx.DiGraph([(0, 1)]))
        assert mf.graph_from_affinity(nx.DiGraph([(0, 1)]), edges="union").n_edges == 1
        assert len(mf.graph_from_affinity(nx.Graph())) == 0

    def test_weights_that_are_none(self):
        with pytest.raises(TypeError, match="weights of edges must be numbers"):
            mf.graph_from_affinity(nx.Graph([(0, 1, {"weight": "heavy"})]))

    def test_without_networkx_the_cure_is_named(self, monkeypatch):
        graph = mf.graph_from_affinity([[0, 1], [1, 0]])
        real = builtins.__import__

        def without(name, *rest, **kwargs):
            if name.split(".")[0] == "networkx":
                raise ImportError(name)
            return real(name, *rest, **kwargs)

        monkeypatch.delitem(sys.modules, "networkx")
        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(ImportError, match="pip install networkx"):
            graph.to_networkx()
        assert mf.graph_from_affinity(np.ones((3, 3))).n_edges == 3
