"""Seeds by cells and walks in a search: the exact answers where all is proved, saved, and after changes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from manifold import ManifoldSearch, load
from manifold.errors import ManifoldWarning
from manifold.graph import build_graph
from manifold.neighbors import InvertedFile, SeedSearch, seed_search
from manifold.ranking import RegionalSearch

EVERY = SeedSearch(n_probes=10**6)  # all cells are scanned where they must be: the exact entrance, proved


def near_clusters(rng, n=1500, d=10):
    X = rng.normal(size=(20, d))[rng.integers(0, 20, n)] + 0.3 * rng.normal(size=(n, d))
    return X.astype(np.float32)


@pytest.fixture
def X(rng):
    return near_clusters(rng)


def assert_equal(one, other):
    for part in ("ids", "scores", "slack"):
        np.testing.assert_array_equal(getattr(one, part), getattr(other, part))


def of_each(X, way, **options):
    return ManifoldSearch(seed_search=way, **options).fit(X[:-50])


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_an_entrance_that_proves_all_answers_as_the_exact_one(metric, X):
    exact, cells = (of_each(X, way, metric=metric) for way in ("exact", EVERY))
    Q = X[-50:]
    assert_equal(cells.search(Q, k=20), exact.search(Q, k=20))
    assert_equal(cells.search(Q[0], k=5), exact.search(Q[0], k=5))
    assert_equal(cells.similar([3, 9], k=5), exact.similar([3, 9], k=5))
    assert_equal(cells.with_settings(seed_search="exact").search(Q, k=20), exact.search(Q, k=20))
    assert_equal(exact.with_settings(seed_search=EVERY).search(Q, k=20), exact.search(Q, k=20))
    assert (cells.fitted_.entrance.nearest(cells.fitted_.points, 5).proved == 5).all()


@pytest.mark.parametrize("way", ["cells", "walk"])
def test_a_saved_search_enters_as_before(way, X, tmp_path):
    search = of_each(X, way)
    again = load(search.save(tmp_path / "search"))
    assert again.explain() == search.explain()
    assert again.get_params()["seed_search"] == way
    assert_equal(again.search(X[-50:], k=20), search.search(X[-50:], k=20))
    without = load(search.save(tmp_path / "ids", features=False))
    assert without.fitted_.cells is None


def test_changes_leave_an_entrance_to_what_is_there(X, rng):
    search, Q = of_each(X, EVERY), near_clusters(rng, 30)
    exact = of_each(X, "exact")
    new = near_clusters(rng, 40)
    for changed in (search, exact):
        changed.add(new)
        changed.remove(np.arange(0, 300, 3))
    assert search.fitted_.cells.made_of == 1450
    assert_equal(search.search(Q, k=20), exact.search(Q, k=20))
    for changed in (search, exact):
        changed.add(near_clusters(np.random.default_rng(1), 2000))
    assert search.fitted_.cells.made_of == len(search)  # outgrown, and made anew
    assert_equal(search.search(Q, k=20), exact.search(Q, k=20))


def test_a_walk_finds_what_it_says_and_explain_tells(X):
    search = ManifoldSearch(seed_search=SeedSearch("walk", recall=0.95)).fit(X[:-50])
    facts = search.fitted_.cells.facts
    assert f"{facts['recall']:.2%} were found" in search.explain()
    exact = search.with_settings(seed_search="exact")
    points, _ = search.fitted_.points.asked(X[-50:])
    true, found = exact.fitted_.entering(points, 5)[1], search.fitted_.entering(points, 5)[1]
    assert (found >= true[:, -1:]).mean() > 0.9
    np.testing.assert_array_equal(search.fitted_.cells.settings.way, "walk")


def test_the_cells_that_built_the_graph_are_kept(X):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ManifoldWarning)
        search = ManifoldSearch(method=InvertedFile(n_cells=17), seed_search="cells").fit(X)
    assert len(search.fitted_.cells.centres) == 17
    assert search.fitted_.neighbors.partition.centres is not None


def test_auto_enters_by_cells_where_the_collection_is_large(X, monkeypatch):
    assert ManifoldSearch().fit(X).fitted_.cells is None
    monkeypatch.setattr(seed_search, "_FEW", X.size - 1)
    search = ManifoldSearch().fit(X)
    assert search.fitted_.cells is not None
    assert "found in cells, because 1,500 x 10 numbers are many for each query" in search.explain()
    search.remove([0, 1])  # and is few again
    assert search.fitted_.cells is None
    assert "found exactly, because 1,498 x 10 numbers are soon compared" in search.explain()


def test_regions_enter_by_cells(X):
    owners = np.repeat(np.arange(300), 5)
    exact, cells = (
        RegionalSearch(n_neighbors=8, n_seeds=10, seed_search=way).fit(X, owners) for way in ("exact", EVERY)
    )
    assert_equal(cells.search(X[:10] + 0.01, k=10), exact.search(X[:10] + 0.01, k=10))
    assert "found in cells, as given" in cells.explain()


def test_what_cannot_be_served_is_refused_and_nothing_changes(X):
    search = of_each(X, "exact")
    with pytest.raises(ValueError, match="seed_search must be"):
        search.with_settings(seed_search="hnsw")
    with pytest.raises(ValueError, match="needs a distance"):
        ManifoldSearch(metric="inner_product", seed_search="cells").fit(X)
    graph = build_graph(X, 5)
    for way in ("cells", "walk"):  # along the edges, where there are no lists
        assert ManifoldSearch(seed_search=way).fit(X, graph=graph).fitted_.cells.facts["recall"] > 0.9
    assert search.seed_search == "exact"
    assert ManifoldSearch(seed_search="walk").fit(X[:1]).search(X[0], k=1).ids.tolist() == [0]
