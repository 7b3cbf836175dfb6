"""A graph made on disk: the bits of the one in memory, for any cut, after any stop, and no other's work believed."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest

import manifold as mf
from manifold import _weights
from manifold.errors import ManifoldWarning
from manifold.graph import _on_disk, lists_of
from manifold.graph._on_disk import MakeRows, graph_on_disk
from manifold.graph._symmetric import Rule
from manifold.graph.affinity import Affinity
from manifold.neighbors import InvertedFile, find_neighbors
from manifold.storage import save_arrays

pytest.importorskip("numba")


def saved(tmp_path, metric="cosine", seed=71):
    """Return lists of 900 points, and the folder where they are saved."""
    X = np.random.default_rng(seed).normal(size=(900, 3)).astype(np.float32)
    found = find_neighbors(X, 5, metric=metric, method=InvertedFile(n_cells=20, n_probes=4))
    arrays = {"indices": found.indices, "similarities": found.similarities, "cell": found.partition.cell}
    return found, save_arrays(tmp_path / f"lists{seed}", kind="neighbors", arrays=arrays, parameters={})


def built(lists, folder, *, metric="cosine", rule=("mutual", 1, 0.0), **more):
    made = partial(graph_on_disk, kernel=Affinity(metric=metric), facts=lambda clipped: {"clipped": clipped})
    return made(lists, folder, rule=Rule(*rule), **more)


def assert_same(graph, expected):
    for name in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(graph.affinity, name), getattr(expected.affinity, name))
    np.testing.assert_array_equal(graph.degrees, expected.degrees)
    np.testing.assert_array_equal(graph.components, expected.components)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("edges", "one_sided"), [("mutual", 0.0), ("mutual", 0.05), ("sum", 0.0)])
@pytest.mark.parametrize("listings", [1 << 22, 5 * 211])
def test_it_has_the_bits_of_the_graph_in_memory(tmp_path, monkeypatch, metric, edges, one_sided, listings):
    monkeypatch.setattr(_on_disk, "LISTINGS", listings)
    found, lists = saved(tmp_path, metric)
    expected = mf.graph_from_neighbors(found, edges=edges, one_sided=one_sided)
    graph = built(lists, tmp_path / "graph", metric=metric, rule=(edges, 1, one_sided))
    assert_same(graph, expected)
    assert_same(mf.load(tmp_path / "graph"), expected)
    assert not (tmp_path / "graph.edges").exists()
    again = built(lists, tmp_path / "graph", metric=metric, rule=(edges, 1, one_sided))  # opened
    assert_same(again, expected)


def test_it_goes_on_where_it_was_stopped_whatever_has_become_of_its_files(tmp_path, monkeypatch):
    monkeypatch.setattr(_on_disk, "LISTINGS", 5 * 150)
    found, lists = saved(tmp_path)
    whole, seen = MakeRows.__call__, []

    def stops(task, folder):
        if task.block == 3 and not seen:
            seen.append(task.block)
            raise KeyboardInterrupt
        return whole(task, folder)

    monkeypatch.setattr(MakeRows, "__call__", stops)
    with pytest.raises(KeyboardInterrupt):
        built(lists, tmp_path / "graph")
    build = tmp_path / "graph.edges"
    assert sorted(path.name for path in (build / "rows").iterdir()) == ["0", "1", "2"]
    damaged = next((build / "rows" / "1").glob("data*.npy"))
    raw = bytearray(damaged.read_bytes())
    raw[-3] ^= 4
    damaged.write_bytes(raw)
    with pytest.warns(ManifoldWarning, match="unit 1 of stage 'rows'"):
        graph = built(lists, tmp_path / "graph")
    assert_same(graph, mf.graph_from_neighbors(found))


def test_wide_indices_are_mapped_as_narrow_ones_are(tmp_path, monkeypatch):
    found, lists = saved(tmp_path)
    expected = mf.graph_from_neighbors(found)
    monkeypatch.setattr(_weights, "MOST_SMALL", expected.n_entries - 1)
    graph = built(lists, tmp_path / "graph")
    for name in ("indices", "indptr"):
        below = getattr(graph.affinity, name)
        assert below.dtype == np.int64
        while not isinstance(below, np.memmap):
            assert below.base is not None, "a copy"
            below = below.base
    assert_same(graph, expected)
    assert_same(mf.load(tmp_path / "graph"), expected)


def test_another_process_does_the_same(tmp_path, monkeypatch):
    found, lists = saved(tmp_path)
    monkeypatch.setattr(_on_disk, "LISTINGS", 5 * 450)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        told = []
        graph = built(lists, tmp_path / "graph", executor=executor, progress=lambda *at: told.append(at))
    assert_same(graph, mf.graph_from_neighbors(found))
    assert told == [(1, 5), (2, 5), (3, 5), (4, 5)]


def test_another_graph_is_not_taken_for_this_one(tmp_path):
    _, lists = saved(tmp_path)
    built(lists, tmp_path / "graph")
    for other in ({"rule": ("sum", 0, 0.0)}, {"lists": saved(tmp_path, seed=72)[1]}):
        with pytest.raises(ValueError, match="of other lists or settings"):
            built(**{"lists": lists, "folder": tmp_path / "graph", **other})


def test_the_lists_of_a_graph_lie_beside_it(rng):
    X = rng.normal(size=(300, 6)).astype(np.float32)
    built = mf.build_graph(X, 5, folder="graph", method=InvertedFile(n_cells=8))
    for graph in (built, mf.load("graph"), mf.load("graph", verify="lazy")):
        assert np.array_equal(lists_of(graph).indices, find_neighbors(X, 5, method=InvertedFile(n_cells=8)).indices)
    assert lists_of(mf.build_graph(X, 5)) is None
