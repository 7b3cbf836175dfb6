"""Rows of float16, int8 and uint8, left where they lie: the bits of every answer are those of a float32 copy."""

import numpy as np
import pytest

import manifold as mf
from manifold.backends import get_backend
from manifold.neighbors import METRICS, Cells, PointSet, SeedSearch, exact_search, find_neighbors, point_set

DTYPES = ("float16", "int8", "uint8")


def collection(dtype, n=500, d=43):
    """Return clustered rows of whole numbers, or of halves; one is zero where that is allowed, and two are equal."""
    rng = np.random.default_rng(3)
    low, high = (0, 255) if dtype == "uint8" else (-127, 127)
    X = rng.integers(low, high, (12, d))[rng.integers(12, size=n)] / 2 + rng.normal(size=(n, d)) * 12
    X = np.clip(X, low, high)
    X = (X if dtype == "float16" else np.round(X)).astype(dtype)
    X[17] = X[16]
    return X, X[::25][:12].astype(np.float32) + 0.25


def same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", DTYPES)
class TestSameBits:
    def test_points(self, dtype, metric):
        X, _ = collection(dtype)
        stored, single = point_set(X, metric), point_set(X.astype(np.float32), metric)
        assert stored.X is X
        assert single.X.dtype == np.float32
        some = np.array([4, 400])
        same(*((p.norms, p.rows(slice(9)), p.rows(some), p.centred(slice(9))) for p in (stored, single)))

    @pytest.mark.parametrize("method", ["exact", "inverted_file", "faiss"])
    def test_lists(self, dtype, metric, method, monkeypatch):
        if method == "faiss":
            pytest.importorskip("faiss")
        monkeypatch.setattr("manifold.neighbors._all_pairs._WORTH", 1)  # so that the compiled kernels are asked
        if method == "inverted_file" and metric == "inner_product":
            pytest.skip("cells are of distances")
        X, _ = collection(dtype, n=2000 if method == "inverted_file" else 500)
        found, expected = (find_neighbors(rows, 7, metric=metric, method=method) for rows in (X, X.astype("f4")))
        same([found.indices, found.similarities], [expected.indices, expected.similarities])

    @pytest.mark.parametrize("compiled", [True, False])
    def test_queries(self, dtype, metric, compiled):
        X, Q = collection(dtype)
        both = [point_set(rows, metric) for rows in (X, X.astype(np.float32))]
        asked = point_set(Q, metric)
        if not compiled or metric == "inner_product" or dtype == "uint8":  # compiled anew for each dtype: seconds
            same(*(exact_search(asked, points, k=5, backend=get_backend("scipy")) for points in both))
            return
        for way in ("cells", "walk"):
            lists = find_neighbors(both[0], 6, metric=metric)
            cells = [Cells.made(points, 5, settings=SeedSearch(way), neighbors=lists) for points in both]
            near = [cell.over(points, lists).nearest(asked, 5) for cell, points in zip(cells, both, strict=True)]
            same(*((one.ids, one.similarities, one.proved) for one in near))

    def test_a_search_and_all_it_does(self, dtype, metric, tmp_path):
        X, Q = collection(dtype)
        answers = []
        for rows in (X, X.astype(np.float32)):
            search = mf.ManifoldSearch(metric=metric, n_neighbors=5).fit(rows[:480])
            search.add(rows[480:])
            search.remove([3, 490])
            search = mf.load(search.save(tmp_path / str(rows.dtype)))
            assert search.fitted_.points.X.dtype == rows.dtype
            by_query, by_id = search.search(Q, k=9), search.similar([5, 499], k=9)
            again = search.rerank(by_query.ids, by_query.similarities, k=9)
            answers.append([part for r in (by_query, by_id, again) for part in (r.ids, r.scores, r.similarities)])
        same(*answers)

    @pytest.mark.filterwarnings("ignore:.*not reached by any label")
    def test_labels(self, dtype, metric):
        X = collection(dtype)[0]
        y = np.where(np.arange(500) % 25 == 0, np.arange(500) // 25 % 4, -1)
        found, expected = (mf.labels.pseudo_labels(rows, y, metric=metric) for rows in (X, X.astype(np.float32)))
        same([found.labels, found.weights], [expected.labels, expected.weights])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_map_is_read_where_it_lies(dtype, tmp_path):
    X, Q = collection(dtype)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    search = mf.ManifoldSearch().fit(mapped)
    assert np.shares_memory(search.fitted_.points.X, mapped)
    same([search.search(Q, k=5).ids], [mf.ManifoldSearch().fit(X).search(Q, k=5).ids])


@pytest.mark.parametrize(
    ("dtype", "entry"), [("int8", 0.5), ("int8", 128), ("uint8", -1), ("float16", 1e5), ("float16", 0.1)]
)
def test_what_the_stored_dtype_cannot_hold_does_not_join(dtype, entry):
    X, Q = collection(dtype)
    search = mf.ManifoldSearch().fit(X)
    before = search.search(Q, k=5)
    new = np.ones((2, X.shape[1]))
    new[1, 7] = entry
    with pytest.raises(ValueError, match=rf"X holds numbers that {dtype}, .*first in row 1: store them so"):
        search.add(new)
    assert len(search.ids_) == len(X)
    same([search.search(Q, k=5).scores], [before.scores])


def test_nan_and_infinity_of_halves_are_refused():
    for bad in (np.nan, np.inf):
        X = np.ones((3, 2), np.float16)
        X[1, 1] = bad
        with pytest.raises(ValueError, match=r"X holds NaN or infinity in 1 of 3 rows, first in row 1"):
            point_set(X)


def test_every_finite_half_is_read_exactly_by_compiled_code():
    from manifold.backends.compiled_lists import gather

    bits = np.arange(2**16, dtype=np.uint16)
    halves = bits.view(np.float16)[None, np.isfinite(bits.view(np.float16))]
    points, out = PointSet(halves.T.copy(), "inner_product"), np.empty((halves.size, 1), np.float32)
    X, divisors, _ = points.plain
    gather(X, divisors, np.empty(0, np.float32), np.arange(halves.size, dtype=np.int32), out)
    np.testing.assert_array_equal(out[:, 0].view(np.uint32), halves[0].astype(np.float32).view(np.uint32))
