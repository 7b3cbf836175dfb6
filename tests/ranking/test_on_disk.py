"""Searches of collections that lie on disk: fitted to a file and a graph of a folder, opened, changed, refused."""

from __future__ import annotations

import errno
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import manifold as mf
from manifold.errors import CorruptFileError
from manifold.neighbors import InvertedFile, PointSet
from manifold.storage import _manifest
from manifold.storage._files import write

pytestmark = pytest.mark.filterwarnings("ignore:about .* of the .* nearest:manifold.errors.ManifoldWarning")
PLAIN = {"preset": "plain-diffusion", "alpha": 0.9, "solver": "local", "seed_search": "cells"}


def curve(rng, n):
    at = np.sort(rng.uniform(0, 2 * np.pi, n))
    X = np.stack([np.cos(at), np.sin(at), np.cos(3 * at), np.sin(5 * at)], axis=1)
    return rng.permutation(np.hstack([X, rng.normal(scale=0.1, size=(n, 4))]).astype(np.float32))


@pytest.fixture
def graph(rng):
    """1,200 rows in a file, float32, and their graph in a folder."""
    np.save("X.npy", curve(rng, 1200))
    return mf.build_graph("X.npy", 10, folder="graph", method=InvertedFile(n_cells=24))


def test_a_search_of_a_file_and_a_graph_of_a_folder_is_that_of_memory(graph, rng):
    X = np.load("X.npy")
    held = mf.ManifoldSearch(**PLAIN, method=InvertedFile(n_cells=24)).fit(X)
    mapped = mf.ManifoldSearch(**PLAIN).fit("X.npy", graph=graph)
    opened = mf.load(mapped.save("search"), verify="lazy")
    queries = curve(rng, 40)
    expected = held.search(queries, k=10, slack=0.0)
    assert expected.certified.all()
    for search in (mapped, opened, mf.load("search")):
        assert isinstance(search.fitted_.points.X.base, np.memmap)
        found = search.search(queries, k=10, slack=0.0)
        assert found.ids.tolist() == expected.ids.tolist()
        assert found.certified.all()
    assert (mapped.graph_.affinity != held.graph_.affinity).nnz == 0
    assert len(opened.fitted_.cells.centres) == 24  # those of the search for neighbours, and no others


def test_a_search_that_is_opened_looks_at_no_row(graph, monkeypatch, rng):
    mf.ManifoldSearch(**PLAIN).fit("X.npy", graph=graph).save("search")
    opened, query = mf.load("search", verify="lazy"), curve(rng, 1)[0]
    squares, measured = PointSet.squares, []

    def counted(points, rows):
        measured.append(len(rows))
        return squares(points, rows)

    monkeypatch.setattr(PointSet, "squares", counted)
    assert opened.search(query, k=10, slack=0.0).certified.all()
    assert sum(measured) <= 2  # of the query
    known = vars(opened.fitted_.points)
    assert all(isinstance(known[name].base, np.memmap) for name in ("norms", "divisors"))
    assert isinstance(vars(opened.fitted_.cells)["radii"].base, np.memmap)


def test_it_changes_as_one_of_memory(graph, rng):
    mf.ManifoldSearch(**PLAIN).fit("X.npy", graph=graph).save("search")
    X, more = np.load("X.npy"), curve(rng, 30)
    held = mf.ManifoldSearch(**PLAIN, method=InvertedFile(n_cells=24)).fit(X)
    opened = mf.load("search", verify="lazy")
    for search in (held, opened):
        search.add(more)
        search.remove(np.arange(0, 300, 7))
    assert (opened.graph_.affinity != held.graph_.affinity).nnz == 0
    assert np.array_equal(np.load("X.npy"), X)
    again = mf.load(opened.save("search"), verify="lazy")
    assert again.search(more, k=5).ids.tolist() == held.search(more, k=5).ids.tolist()


def test_a_graph_of_another_rule_is_searched_and_not_changed(rng):
    np.save("X.npy", curve(rng, 400))
    graph = mf.build_graph("X.npy", 10, folder="graph", gamma=2.0, method=InvertedFile(n_cells=10))
    search = mf.ManifoldSearch(**PLAIN).fit("X.npy", graph=graph)
    assert search.search(curve(rng, 3), k=5).ids.shape == (3, 5)
    with pytest.raises(ValueError, match="with graph=, which another rule has made"):
        search.add(curve(rng, 3))


def test_lists_of_another_graph_are_refused(graph, rng):
    np.save("other.npy", curve(rng, 900))
    mf.build_graph("other.npy", 10, folder="other", method=InvertedFile(n_cells=12))
    Path("graph.lists").rename("away")
    Path("other.lists").rename("graph.lists")
    with pytest.raises(ValueError, match="holds lists of another graph"):
        mf.ManifoldSearch(**PLAIN).fit("X.npy", graph=graph)


def files_of(folder):
    return {path.name.partition(".")[0]: path for path in Path(folder).glob("*.npy")}


@pytest.mark.parametrize("stop", [0, 3, 9])
def test_a_disk_that_is_full_loses_nothing(graph, rng, monkeypatch, stop):
    """The save of before is whole, and so is the search that could not be saved: it is saved there again."""
    search = mf.ManifoldSearch(**PLAIN).fit("X.npy", graph=graph)
    queries, more = curve(rng, 5), curve(rng, 20)
    before = search.search(queries, k=5).ids.tolist()
    search.save("search")
    changed = mf.load("search", verify="lazy")
    changed.add(more)
    expected, written = changed.search(queries, k=5).ids.tolist(), []

    def full(path, parts):
        written.append(path)
        if len(written) > stop:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, parts)

    with monkeypatch.context() as patch:
        patch.setattr(_manifest, "write", full)
        with pytest.raises(OSError, match="No space left"):
            changed.save("search")
    assert mf.load("search").search(queries, k=5).ids.tolist() == before
    assert changed.search(queries, k=5).ids.tolist() == expected
    assert mf.load(changed.save("search")).search(queries, k=5).ids.tolist() == expected


@pytest.mark.parametrize("name", ["features", "norms", "divisors", "near_ids", "cell_order", "cell_starts", "indices"])
def test_an_array_of_another_build_is_refused_by_name_or_leads_nowhere(graph, rng, name):
    """Read whole, it fails its checksum; mapped and not looked through, it leads no query out of an array."""
    mf.ManifoldSearch(**PLAIN).fit("X.npy", graph=graph).save("search")
    path, query = files_of("search")[name], curve(rng, 1)[0]
    held = path.read_bytes()
    other = np.frombuffer(held[128:], np.uint8).copy()
    other[3::4] ^= 0x5A  # numbers of any size and sign
    path.write_bytes(held[:128] + other.tobytes())
    with pytest.raises(CorruptFileError, match=f"{name!r}.*checksum"):
        mf.load("search")
    with np.errstate(all="ignore"), warnings.catch_warnings(), suppress(CorruptFileError):
        warnings.simplefilter("ignore")
        assert mf.load("search", verify="lazy").search(query, k=5).ids.max() < 1200
    path.write_bytes(held[:-4])
    for verify in ("full", "lazy"):
        with pytest.raises(CorruptFileError, match=f"{name!r}.*was cut or replaced"):
            mf.load("search", verify=verify)


# 200,000 rows of 320 bytes on a curved surface, fitted while every allocation is traced
FITTED = """
import gc, tracemalloc
import numpy as np
import manifold as mf

rng, n, d = np.random.default_rng(3), 200_000, 320
rows, turn = np.lib.format.open_memmap("rows.npy", "w+", np.int8, (n, d)), rng.normal(size=(4, d))
for start in range(0, n, 10_000):
    rows[start : start + 10_000] = np.rint(120 * np.sin(rng.normal(size=(10_000, 4)) @ turn / 2))
plain = {"preset": "plain-diffusion", "alpha": 0.9, "solver": "local", "method": "inverted_file"}
mf.ManifoldSearch(**plain, seed_search="walk").fit(rows[:20_000])  # all is compiled
gc.collect()
tracemalloc.start()
fitted = mf.ManifoldSearch(**plain).fit(np.load("rows.npy", mmap_mode="r")).fitted_
gc.collect()
held = fitted.graph.nbytes + fitted.neighbors.indices.nbytes + fitted.neighbors.similarities.nbytes
left, peak = tracemalloc.get_traced_memory()
print(left / held, peak / (n * d))
"""


def test_a_fit_to_a_map_copies_no_rows_and_leaves_little_beside_lists_and_graph():
    """No stage holds all rows in another form, and no more than S and a few numbers a row stay."""
    out = subprocess.run([sys.executable, "-W", "ignore", "-c", FITTED], capture_output=True, text=True, check=True)
    left, peak = map(float, out.stdout.split())
    assert left < 2  # times lists and graph
    assert peak < 2  # bytes for each of the rows
