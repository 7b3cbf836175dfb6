"""The search on disk against the search in memory: the same bits for any cut, any worker, after any interruption."""

from __future__ import annotations

import tracemalloc
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

import manifold as mf
from manifold.errors import ManifoldWarning, MemoryBudgetError
from manifold.neighbors import InvertedFile, _groups, _kmeans, _on_disk, _shortlists, compact_points, find_neighbors
from manifold.storage import stages

SETTINGS = InvertedFile(n_cells=40, n_probes=3, n_refinements=2)


@pytest.fixture
def X(rng):
    """1,500 points around 30 centres, some of them copies of others, some zero."""
    points = rng.normal(size=(30, 16))[rng.integers(0, 30, 1500)] + 0.4 * rng.normal(size=(1500, 16))
    points[100:130], points[700:705] = points[0], 0
    return points.astype(np.float32)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(_groups, "_BLOCK", 400)
    monkeypatch.setattr(_kmeans, "GATHER", 1 << 14)


def cut(monkeypatch, n_groups):
    monkeypatch.setattr(_on_disk, "_groups", lambda *_: n_groups)


def search(X, k=9, **how):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* zero vectors|.*duplicates|about .* were found", ManifoldWarning)
        return find_neighbors(X, k, **{"method": SETTINGS, **how})


def assert_same(found, other):
    np.testing.assert_array_equal(found.indices, other.indices)
    np.testing.assert_array_equal(found.similarities, other.similarities)
    np.testing.assert_array_equal(found.partition.cell, other.partition.cell)
    np.testing.assert_array_equal(found.partition.centres, other.partition.centres)
    assert (found.facts, found.n_repaired, found.metric) == (other.facts, other.n_repaired, other.metric)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("n_groups", [1, 4, 7])
def test_any_number_of_groups_has_the_bits_of_memory(n_groups, metric, X, monkeypatch):
    cut(monkeypatch, n_groups)
    found = search(X, metric=metric, folder="lists")
    assert isinstance(found.indices, np.memmap)
    assert_same(found, search(X, metric=metric))
    assert not Path("lists.build").exists()


@pytest.mark.parametrize("case", ["two levels", "numpy", "short", "int8", "few", "reach", "compact", "compact, short"])
def test_other_ways_have_the_bits_of_memory(case, X, monkeypatch):
    cut(monkeypatch, 5)
    how = {}
    if case.startswith("compact"):
        X = compact_points(X)
    if case == "two levels":
        monkeypatch.setattr(_kmeans, "FLAT", 12)
    elif case == "numpy":
        monkeypatch.setattr(_shortlists, "plain_rows", lambda points: False)
    elif case.endswith("short"):  # rows that meet fewer than k are searched again
        how = {"k": 30, "method": InvertedFile(n_cells=100, n_probes=1, n_refinements=0)}
    elif case == "int8":
        X = np.rint(20 * X).astype(np.int8)
    elif case == "reach":
        how = {"method": InvertedFile(recall=0.8, n_cells=40)}
    elif case == "few":
        X, how = X[:3], {"k": 2, "method": "auto"}
    found = search(X, folder="lists", **how)
    assert (found.n_repaired > 0) == case.endswith("short")
    assert_same(found, search(X, **{**how, **({"method": "inverted_file"} if case == "few" else {})}))


def test_killed_after_each_unit_it_goes_on_to_the_same_bits(X, monkeypatch):
    cut(monkeypatch, 3)
    np.save("X.npy", X)
    real, left = stages._perform, [0]

    def perform(given):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        real(given)

    monkeypatch.setattr(stages, "_perform", perform)
    killed, found = 0, None
    while found is None:
        left[0] = 1
        try:
            found = search("X.npy", folder="lists")
        except KeyboardInterrupt:
            killed += 1
            assert not Path("lists").exists()
    assert killed > 15
    monkeypatch.setattr(stages, "_perform", None)  # what is there is opened: nothing is done
    assert_same(search("X.npy", folder="lists"), found)
    assert_same(found, search(X))


def test_a_pool_of_processes_has_the_bits_of_one(X, monkeypatch):
    cut(monkeypatch, 4)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert_same(search(X, folder="lists", executor=pool), search(X))
    assert Path("lists.features.npy").exists()  # what workers map was written once


def test_what_is_there_is_of_these_points_or_refused(X):
    found = search(X, folder="lists")
    assert_same(search(X, folder="lists"), found)
    with pytest.raises(ValueError, match="'lists' holds neighbours of other points or settings"):
        search(X[::-1].copy(), folder="lists")
    with pytest.raises(ValueError, match="holds neighbours of other points or settings"):
        search(X, 8, folder="lists")


def test_what_it_does_not_serve(X):
    with pytest.raises(TypeError, match="give folder="):
        find_neighbors(X, 5, memory="1 GiB")
    with pytest.raises(ValueError, match=r"InvertedFile\(\.\.\.\)"):
        find_neighbors(X, 5, method="exact", folder="lists")
    with pytest.raises(ValueError, match="needs a distance"):
        find_neighbors(X, 5, metric="inner_product", folder="lists")
    with pytest.raises(TypeError, match="must be an integer where folder="):
        find_neighbors(X, 5, random_state=np.random.default_rng(1), folder="lists")
    with pytest.raises(MemoryBudgetError, match=r"needs .* at least, but 1\.0 MiB are given: raise memory="):
        find_neighbors(X, 5, memory="1 MiB", folder="lists")
    with pytest.raises(ValueError, match="memory must be such as '4 GiB'"):
        find_neighbors(X, 5, memory="much", folder="lists")
    with pytest.raises(ValueError, match="X holds one point"):
        find_neighbors(X[:1], 5, folder="lists")
    with pytest.raises(TypeError, match=r"executor must be a concurrent\.futures\.Executor, got int"):
        find_neighbors(X, 5, folder="lists", executor=4)
    with pytest.raises(TypeError, match=r"got the class ThreadPoolExecutor: call it"):
        find_neighbors(X, 5, folder="lists", executor=ThreadPoolExecutor)
    with pytest.raises(ValueError, match="folder must name a folder, got ''"):
        find_neighbors(X, 5, folder="")
    assert not Path("lists").exists()


def test_what_is_in_the_way_is_said_before_the_search(X):
    unread = (pytest.fail("was read") for _ in range(1))
    Path("file").write_text("mine")
    Path("mine").mkdir()
    Path("mine/notes").write_text("mine")
    mf.build_graph(X[:20], 3).save("graph")
    for door, folder, message in [
        (mf.build_graph, "file", "file is a file"),
        (mf.build_graph, "mine", "mine is in the way .it holds other files"),
        (find_neighbors, "graph", "graph is in the way .it holds a 'graph'"),
    ]:
        with pytest.raises(FileExistsError, match=message):
            door(unread, 5, folder=folder)
    Path("empty").mkdir()  # as `tempfile.mkdtemp` leaves it
    assert mf.build_graph(X[:100], 5, folder="empty").n_nodes == 100
    assert sorted(path.name for path in Path().iterdir()) == ["empty", "empty.lists", "file", "graph", "mine"]


def test_lists_that_lie_on_disk_are_loaded_by_the_one_door(X):
    found = search(X, folder="lists")
    for verify in ("full", "lazy"):
        opened = mf.load("lists", verify=verify)
        assert_same(opened, found)
        assert repr(opened) == repr(found)


def test_progress_counts_points_of_all_stages(X, monkeypatch):
    cut(monkeypatch, 4)
    seen = []
    search(X, folder="lists", progress=lambda *at: seen.append(at))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len(seen) > 15
    assert seen[-1] == (1500, 1500)


def test_nothing_of_the_size_of_the_features_is_allocated(rng, monkeypatch):
    """200,000 points of 128 numbers: what is held at once is a fraction of them."""
    monkeypatch.setattr(_groups, "_BLOCK", 1 << 17)
    monkeypatch.setattr(_kmeans, "GATHER", 1 << 22)
    X = np.lib.format.open_memmap("X.npy", "w+", np.float32, (200_000, 128))
    # neighbours of neighbours are near, as they are in real data
    around = rng.integers(-40, 40, size=(2_000, 128), dtype=np.int8)
    for start in range(0, len(X), 20_000):
        noise = rng.integers(-9, 9, size=(20_000, 128), dtype=np.int8)
        X[start : start + 20_000] = around[rng.integers(2_000, size=20_000)] + noise
    X.flush()
    search(np.asarray(X[:3000]), folder="warm")  # what is imported and compiled is not counted
    monkeypatch.setattr(_on_disk, "_groups", lambda *_: 16)
    tracemalloc.start()
    settings = InvertedFile(n_cells=512, n_probes=2)
    found = search("X.npy", 5, folder="lists", method=settings)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.6 * X.nbytes  # products and tiles, whatever the number of points
    assert found.indices.shape == (200_000, 5)


def test_the_graph_of_a_file_has_the_bits_of_memory(X, monkeypatch):
    cut(monkeypatch, 4)
    np.save("X.npy", X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ManifoldWarning)
        how = {"metric": "euclidean", "one_sided": None, "method": SETTINGS}
        expected = mf.build_graph(X, 9, **how)
        graph = mf.build_graph("X.npy", 9, folder="graph", memory="2 GiB", **how)
        again = mf.build_graph("X.npy", 9, folder="graph", **how)
    for found in (graph, again, mf.load("graph")):
        for name in ("indptr", "indices", "data"):
            np.testing.assert_array_equal(getattr(found.affinity, name), getattr(expected.affinity, name))
        assert found.facts == expected.facts
    assert sorted(path.name for path in Path().iterdir()) == ["X.npy", "graph", "graph.lists"]
