"""Points in two forms: bytes propose, rows decide; what is said of neighbours is said of the rows, to the bit."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from strict_backend import StrictBackend

import manifold as mf
from manifold.neighbors import Cells, InvertedFile, PointSet, SeedSearch, described_points, find_neighbors, point_set
from manifold.neighbors import stored_points as opened
from manifold.neighbors._stored_rows import bytes_by_row
from manifold.neighbors.compact import compact_points
from manifold.neighbors.listed import similarities_to
from manifold.storage import Stored

ALL = InvertedFile(n_cells=20, n_probes=20, n_refinements=0)  # everyone is met: what is missed, the bytes have missed


@pytest.fixture(scope="module")
def X():
    """2,000 points, some of them as near to each other as bytes can just tell."""
    rng = np.random.default_rng(4)
    return (rng.normal(size=(40, 1, 32)) + 0.05 * rng.normal(size=(40, 50, 32))).reshape(-1, 32).astype(np.float32)


def share(found, true):
    """Return the share of neighbours that are as near as the true k-th, by similarities of the rows."""
    return float((found >= true.similarities[:, -1:]).mean())


@given(arrays(np.float32, (3, 5), elements=st.floats(-(2.0**120), 2.0**120, width=32)))
def test_bytes_are_within_half_of_a_row_at_its_own_scale(rows):
    largest = np.abs(rows).max(axis=1, keepdims=True).astype(np.float64)
    scaled = np.divide(127 * rows.astype(np.float64), largest, out=np.zeros(rows.shape), where=largest > 0)
    made = bytes_by_row(rows)
    assert np.abs(made - scaled).max() <= 0.5 + 1e-9
    np.testing.assert_array_equal(np.abs(made).max(axis=1), np.where(largest[:, 0] > 0, 127, 0))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_bytes_propose_and_rows_decide(X, dtype):
    with np.errstate(under="ignore"):
        rows = X.astype(dtype)
    true = find_neighbors(rows, 10, method="exact")
    points = compact_points(rows)
    found = find_neighbors(points, 10, method=ALL)
    alone = find_neighbors(points.compact, 10, method=ALL)
    by_rows = similarities_to(points, point_set(rows), alone.indices.astype(np.int64))
    assert share(np.sort(by_rows)[:, ::-1], true) < 0.95
    assert share(found.similarities, true) > 0.97
    assert found.facts["recall"] == pytest.approx(share(found.similarities, true), abs=0.02)
    assert (found.facts["features"], found.facts["rescored"]) == ("int8", dtype)
    again = similarities_to(point_set(rows), point_set(rows), found.indices.astype(np.int64))
    np.testing.assert_array_equal(found.similarities, again)


def test_a_device_decides_as_the_host_does(X):
    host, found = (find_neighbors(compact_points(X), 10, method=ALL, backend=on) for on in ("scipy", StrictBackend()))
    np.testing.assert_array_equal(found.indices, host.indices)
    np.testing.assert_array_equal(found.similarities, host.similarities)
    assert found.facts == host.facts


def test_an_exact_search_looks_at_the_rows(X):
    found, true = (find_neighbors(points, 10, method="exact") for points in (compact_points(X), X))
    np.testing.assert_array_equal(found.indices, true.indices)
    assert "rescored" not in found.facts


def test_of_float32_nothing_of_the_size_of_the_rows_is_made(rng):
    np.save("X.npy", rng.normal(size=(20_000, 512)).astype(np.float32))
    tracemalloc.start()
    try:
        points = compact_points("X.npy")
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1.1 * points.X.size  # bytes
    assert peak < 4 * points.X.size  # float32


@pytest.mark.parametrize("way", ["cells", "walk"])
def test_queries_enter_by_bytes_and_are_answered_by_rows(X, way, rng):
    points, lists = compact_points(X), find_neighbors(X, 10)
    Q = points.asked(X[::100] + rng.normal(scale=0.01, size=(20, 32)).astype(np.float32))[0]
    settings = SeedSearch(way, n_probes=40, n_cells=40)
    entrance = Cells.made(points, 5, settings=settings, neighbors=lists).over(points, lists)
    plain = Cells.made(point_set(X), 5, settings=settings, neighbors=lists).over(point_set(X), lists)
    for queries, rows in ((Q, None), (points, np.arange(0, 2000, 100))):
        found = entrance.nearest(queries, 5, rows=rows)
        true = plain.nearest(queries if rows is None else plain.points, 5, rows=rows)
        assert (found.ids == true.ids).mean() > 0.95
        same = found.ids == true.ids
        np.testing.assert_array_equal(found.similarities[same], true.similarities[same])
        assert not found.proved.any()


def test_what_joins_and_leaves_has_bytes_too(X):
    search = mf.ManifoldSearch(method=ALL, seed_search="cells", solver="local", alpha=0.9).fit(compact_points(X[:1900]))
    search.add(X[1900:])
    search.remove(np.arange(50))
    points = search.fitted_.points
    np.testing.assert_array_equal(points.X, X[50:])
    np.testing.assert_array_equal(points.compact.X, compact_points(X[50:]).compact.X)
    np.testing.assert_array_equal(search.search(X[60], 1).ids, [60])


@pytest.mark.parametrize("verify", ["full", "lazy"])
def test_both_forms_are_saved(X, verify):
    search = mf.ManifoldSearch(method=ALL, seed_search="cells", solver="local", alpha=0.9).fit(compact_points(X))
    search.save("search")
    again = mf.load("search", verify=verify)
    np.testing.assert_array_equal(again.fitted_.points.compact.X, search.fitted_.points.compact.X)
    np.testing.assert_array_equal(again.search(X[:9], 5).ids, search.search(X[:9], 5).ids)


def test_bytes_of_other_rows_are_refused(X):
    arrays, told = described_points(compact_points(X))
    arrays["compact_features"] = arrays["compact_features"][:-1]
    with pytest.raises(ValueError, match="points"):
        opened(Stored("search", arrays, told), "cosine")
    for rows in (X, bytes_by_row(X)[:-1], bytes_by_row(X)[:, 1:]):
        with pytest.raises(ValueError, match="rows must be those of X as int8"):
            compact_points(X, rows)
    with pytest.raises(ValueError, match="metric='euclidean'"):
        compact_points(PointSet(X, "euclidean"))
    smaller = compact_points(X, bytes_by_row(X) - bytes_by_row(X) // 5)  # at another scale
    assert find_neighbors(smaller, 10, method=ALL).facts["recall"] > 0.9
