"""A graph that is mapped and read by rows: the bits of the one in memory, and no row believed that leads out of it."""

from __future__ import annotations

import numpy as np
import pytest

import manifold as mf
from manifold import Diffusion, RegularizedDiffusion
from manifold.backends import get_backend
from manifold.errors import CorruptFileError
from manifold.neighbors import InvertedFile, find_neighbors
from manifold.solvers import Local
from manifold.storage import load_arrays, save_arrays

pytest.importorskip("numba")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a graph that is large enough for an order of its own, saved."""
    X = np.random.default_rng(43).normal(size=(9000, 3)).astype(np.float32)
    lists = find_neighbors(X, 5, method=InvertedFile(n_cells=30, n_probes=3))
    return mf.graph_from_neighbors(lists).save(tmp_path_factory.mktemp("mapped") / "graph")


def lists_of(graph, filter=None):
    return Local().prepare(graph, filter or Diffusion(0.9), get_backend("scipy")).lists()


@pytest.mark.parametrize("filter", [Diffusion(0.9), RegularizedDiffusion(0.2)])
def test_a_walk_is_the_same_where_the_graph_lies(folder, filter):
    graph, mapped = mf.load(folder), mf.load(folder, verify="lazy")
    assert graph.order is not None
    here, there = lists_of(graph, filter), lists_of(mapped, filter)
    assert there.relaxed.system.order is None
    for node in (0, 17, 8999):
        nodes, weights = np.array([node, (node + 5) % 9000]), np.array([1.0, 0.5])
        one, other = here.best(nodes, weights, 20), there.best(nodes, weights, 20)
        for name in ("rows", "scores", "nodes", "x", "lower", "outside", "n_edges"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert not mapped.is_verified  # no more of it was read than the walks came to


def test_what_fills_the_graph_is_looked_through_and_proved(folder):
    mapped = mf.load(folder, verify="lazy")
    lists = lists_of(mapped, Diffusion(0.999))
    found = lists.best(np.array([3]), np.ones(1), 5, slack=0.0)
    assert found.decided
    assert mapped.is_verified
    expected = mf.diffuse(
        mf.load(folder), np.arange(9000) == 3, filter=Diffusion(0.999), solver=Local(rtol=1e-9)
    ).scores
    assert set(found.rows) == set(np.argsort(-expected)[:5])


@pytest.mark.parametrize("wrong", [-1, 9000, 2**31 - 1])
@pytest.mark.parametrize("name", ["indices", "indptr"])
def test_a_row_that_leads_out_of_the_graph_is_refused(folder, tmp_path, name, wrong):
    stored = load_arrays(folder)
    array = stored.arrays[name].copy()
    node = 40
    array[stored.arrays["indptr"][node] if name == "indices" else node + 1] = wrong
    save_arrays(tmp_path / "wrong", kind="graph", arrays={**stored.arrays, name: array}, parameters=stored.parameters)
    lists = lists_of(mf.load(tmp_path / "wrong", verify="lazy"))
    untouched = lists_of(mf.load(folder))
    for _ in range(2):  # the workspace that met it is used again
        with pytest.raises(CorruptFileError, match="names a node that there is not"):
            lists.best(np.array([node]), np.ones(1), 5)
        far = int(np.argmax(mf.load(folder).components != 0)) or 8000
        one, other = (of.best(np.array([far]), np.ones(1), 3) for of in (lists, untouched))
        np.testing.assert_array_equal(one.rows, other.rows)
