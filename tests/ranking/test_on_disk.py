"""Searches of collections that lie on disk: fitted to a file and a graph of a folder, opened, changed, refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import manifold as mf
from manifold.neighbors import InvertedFile, PointSet

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
