"""Neighbours against brute force in float64, FAISS and scikit-learn; the same bits whatever the layout or tiles."""

from __future__ import annotations

import warnings

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse
from sklearn.neighbors import KNeighborsTransformer, kneighbors_graph, radius_neighbors_graph
from threadpoolctl import threadpool_limits

import manifold as mf
from manifold.backends import get_backend
from manifold.errors import ManifoldWarning
from manifold.neighbors import (
    METRICS,
    Neighbors,
    PointSet,
    _exact,
    exact_search,
    find_neighbors,
    from_distances,
    from_faiss,
    from_precomputed,
    from_sklearn,
)


def reference_similarities(Q, X, metric):
    """Every similarity in float64, straight from its definition."""
    Q, X = np.float64(Q), np.float64(X)
    if metric == "euclidean":
        return -((Q[:, None, :] - X[None, :, :]) ** 2).sum(axis=2)
    if metric == "cosine":
        q, x = np.linalg.norm(Q, axis=1, keepdims=True), np.linalg.norm(X, axis=1, keepdims=True)
        Q, X = Q / np.where(q > 0, q, 1), X / np.where(x > 0, x, 1)
    return Q @ X.T


def assert_is_exact(ids, similarities, Q, X, metric, *, k, drop_self=False):
    """Ids are the k best of the float64 reference, up to what float32 rounding can confuse."""
    truth = reference_similarities(Q, X, metric)
    scale = np.abs(truth).max(initial=1e-30)
    rounding = 4e-7 * np.sqrt(X.shape[1]) * scale
    if drop_self:
        np.fill_diagonal(truth, -np.inf)
        assert not (ids == np.arange(len(Q))[:, None]).any()
    assert ids.shape == similarities.shape == (len(Q), k)
    found = np.take_along_axis(truth, np.asarray(ids, dtype=np.int64), axis=1)
    np.testing.assert_allclose(similarities, found, rtol=0, atol=rounding)
    best = -np.sort(-truth, axis=1)[:, :k]
    np.testing.assert_allclose(found, best, rtol=0, atol=2 * rounding)
    assert all(len(set(row)) == k for row in ids.tolist())
    same = similarities[:, 1:] == similarities[:, :-1]
    assert (similarities[:, 1:] <= similarities[:, :-1]).all()
    assert (ids[:, 1:] > ids[:, :-1])[same].all()  # equal similarities by ascending id


def brute_force(X, metric, k):
    """The same float32 arithmetic on all pairs, one at a time, and a stable sort: what must come out to the bit."""
    points = PointSet(np.float32(X), metric)
    rows = points.rows(slice(None))
    similarities = np.stack([points.compare(rows[None], rows[i : i + 1])[0] for i in range(len(rows))])
    np.fill_diagonal(similarities, -np.inf)
    ids = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    return ids, np.take_along_axis(similarities, ids, axis=1)


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(_exact, "QUERY_TILE", 64)
    monkeypatch.setattr(_exact, "POINT_TILE", 96)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("n", "d", "k"), [(2, 1, 1), (20, 3, 19), (300, 2, 5), (500, 64, 10), (700, 300, 40)])
def test_exact_equals_brute_force(metric, n, d, k, rng):
    X = rng.normal(size=(n, d)).astype(np.float32)
    found = find_neighbors(X, k, metric=metric)
    assert (found.method, found.metric, found.n_repaired) == ("exact", metric, 0)
    assert_is_exact(found.indices, found.similarities, X, X, metric, k=k, drop_self=True)
    ids, similarities = brute_force(X, metric, k)
    np.testing.assert_array_equal(found.indices, ids)
    np.testing.assert_array_equal(found.similarities, similarities)


@pytest.mark.parametrize("metric", METRICS)
def test_equal_similarities_are_ordered_by_id(metric, rng, small_tiles):
    X = np.repeat(rng.integers(-2, 3, size=(60, 5)), 6, axis=0)[rng.permutation(360)].astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ManifoldWarning)  # duplicates and zero vectors are meant
        found = find_neighbors(X, 12, metric=metric)
    ids, similarities = brute_force(X, metric, 12)
    np.testing.assert_array_equal(found.indices, ids)
    np.testing.assert_array_equal(found.similarities, similarities)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 7, 250])
def test_query_search_equals_brute_force(metric, k, rng, small_tiles):
    X, Q = (rng.normal(size=(m, 12)).astype(np.float32) for m in (250, 90))
    Q[3] = X[17]
    ids, similarities = exact_search(PointSet(Q, metric), PointSet(X, metric), k=k, backend=get_backend())
    assert_is_exact(ids, similarities, Q, X, metric, k=k)
    if metric != "inner_product":
        assert ids[3, 0] == 17


@pytest.mark.parametrize("metric", METRICS)
def test_chosen_rows_are_those_of_the_whole_search(metric, rng):
    points = PointSet(rng.normal(size=(200, 8)).astype(np.float32), metric)
    whole = exact_search(points, points, k=6, drop_self=True, backend=get_backend())
    rows = np.array([180, 3, 3, 77])
    part = exact_search(points, points, k=6, drop_self=True, rows=rows, backend=get_backend())
    for a, b in zip(whole, part, strict=True):
        np.testing.assert_array_equal(a[rows], b)


@pytest.mark.parametrize("metric", METRICS)
def test_same_bits_for_any_tiles_and_threads(metric, rng, monkeypatch):
    X = rng.normal(size=(500, 37)).astype(np.float32)
    X[400:420] = X[:20]
    with threadpool_limits(1):
        alone = find_neighbors(X, 9, metric=metric)
    with threadpool_limits(2):
        both = find_neighbors(X, 9, metric=metric)
    results = [both]
    for tiles in ((500, 500), (64, 96), (499, 17), (1, 500)):
        monkeypatch.setattr(_exact, "QUERY_TILE", tiles[0])
        monkeypatch.setattr(_exact, "POINT_TILE", tiles[1])
        results.append(find_neighbors(X, 9, metric=metric))
    for other in results:
        np.testing.assert_array_equal(alone.indices, other.indices)
        np.testing.assert_array_equal(alone.similarities, other.similarities)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("extreme", [None, 1e-33, 1e33])
def test_similarities_are_symmetric_to_the_last_bit(metric, extreme, rng, small_tiles):
    X = rng.normal(size=(200, 21)).astype(np.float32)
    if extreme and metric != "cosine":
        pytest.skip("only a cosine is blind to length")
    if extreme:
        X[5] *= np.float32(extreme)  # among rows of ordinary length: its batch must not change its bits
    found = find_neighbors(X, 199, metric=metric)
    dense = np.zeros((200, 200), dtype=np.float32)
    np.put_along_axis(dense, found.indices.astype(np.int64), found.similarities, axis=1)
    np.testing.assert_array_equal(dense, dense.T)


def test_near_ties_beyond_the_spare_candidates_are_settled_exactly(rng):
    # 400 points whose cosines to every other differ by a few units in the last place: GEMM cannot rank them
    d = 96
    base = rng.normal(size=d)
    X = (base + 3e-4 * rng.normal(size=(400, d))).astype(np.float32)
    for metric in METRICS:
        found = find_neighbors(X, 5, metric=metric)
        ids, similarities = brute_force(X, metric, 5)
        np.testing.assert_array_equal(found.indices, ids)
        np.testing.assert_array_equal(found.similarities, similarities)


@pytest.mark.parametrize("offset", [1e3, 1e5])
def test_distances_far_from_the_origin_keep_their_order(offset, rng):
    X = (offset + rng.normal(size=(300, 16))).astype(np.float32)
    found = find_neighbors(X, 5, metric="euclidean")
    truth = reference_similarities(X, X, "euclidean")
    np.fill_diagonal(truth, -np.inf)
    ids = np.argsort(-truth.astype(np.float32), axis=1, kind="stable")[:, :5]
    assert (found.indices == ids).mean() > 0.999  # the rest are ties of the last bit
    np.testing.assert_allclose(
        found.similarities, np.take_along_axis(truth, ids, axis=1), rtol=1e-5 if offset < 1e4 else 1e-4
    )


def test_identical_points_list_the_lowest_ids():
    with pytest.warns(ManifoldWarning, match="duplicates"):
        found = find_neighbors(np.ones((50, 4)), 3)
    assert found.indices[0].tolist() == [1, 2, 3]
    assert (found.indices[10:] == [0, 1, 2]).all()
    np.testing.assert_allclose(found.similarities, 1, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e30, 1e-30, 1e-38])
def test_cosine_is_blind_to_the_scale(scale, rng):
    X = rng.normal(size=(300, 10)).astype(np.float32)
    with np.errstate(under="ignore"):
        tiny = X * np.float32(scale)
    plain, scaled = find_neighbors(X, 6), find_neighbors(tiny, 6)
    rounding = 1e-6 if scale > 1e-35 else 1e-5  # subnormal features have fewer digits themselves
    np.testing.assert_allclose(plain.similarities, scaled.similarities, atol=rounding)
    if scale > 1e-35:
        assert (plain.indices == scaled.indices).mean() > 0.99


@pytest.mark.parametrize("metric", ["inner_product", "euclidean"])
def test_products_beyond_float32_are_refused(metric, rng):
    X = rng.normal(size=(30, 4)).astype(np.float32)
    with pytest.raises(ValueError, match=r"overflow float32 .*rescale"):
        find_neighbors(X * np.float32(1e30), 3, metric=metric)
    far = PointSet(X * np.float32(1e20), metric)
    with pytest.raises(ValueError, match="overflow"):  # the queries alone
        exact_search(far, PointSet(X * np.float32(1e19), metric), k=3, backend=get_backend())


def test_progress_counts_every_row_once(rng, small_tiles):
    seen = []
    find_neighbors(rng.normal(size=(200, 3)), 2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(64, 200), (128, 200), (192, 200), (200, 200)]


def test_an_exception_of_the_progress_callback_passes_through(rng):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_neighbors(rng.normal(size=(20, 3)), 2, progress=stop)


def _memmap(X, path):
    np.save(path, X)
    return np.load(path, mmap_mode="r")


LAYOUTS = {
    "fortran": lambda X, path: np.asfortranarray(X),
    "strided": lambda X, path: np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3],
    "negative stride": lambda X, path: X[::-1, ::-1].copy()[::-1, ::-1],
    "memmap": _memmap,
    "fortran memmap": lambda X, path: _memmap(np.asfortranarray(X), path),
    "unaligned": lambda X, path: np.frombuffer(b"x" + X.tobytes(), np.float32, offset=1).reshape(X.shape),
    "float64": lambda X, path: X.astype(np.float64),
    "big-endian float64": lambda X, path: X.astype(">f8"),
    "list": lambda X, path: X.tolist(),
}


@pytest.mark.filterwarnings("ignore:X has dtype")
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_and_dtype_do_not_change_a_bit(layout, metric, rng, tmp_path, small_tiles):
    X = rng.normal(size=(230, 19)).astype(np.float32)
    plain = find_neighbors(X, 7, metric=metric)
    given = LAYOUTS[layout](X, tmp_path / "X.npy")
    if isinstance(given, np.ndarray):
        given.flags.writeable = False
    other = find_neighbors(given, 7, metric=metric)
    np.testing.assert_array_equal(plain.indices, other.indices)
    np.testing.assert_array_equal(plain.similarities, other.similarities)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, bool, np.float16])
def test_small_numbers_of_any_dtype(dtype, rng):
    X = rng.integers(0, 2, size=(150, 24)).astype(dtype)
    X[:, 0] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ManifoldWarning)
        plain, other = (find_neighbors(given, 7) for given in (X.astype(np.float32), X))
    np.testing.assert_array_equal(plain.indices, other.indices)
    np.testing.assert_array_equal(plain.similarities, other.similarities)


@settings(max_examples=60, deadline=None)
@given(
    X=hnp.arrays(np.float32, st.tuples(st.integers(2, 25), st.integers(1, 5)), elements=st.floats(-8, 8, width=16)),
    k=st.integers(1, 30),
    metric=st.sampled_from(METRICS),
)
def test_any_points_give_valid_exact_lists(X, k, metric):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ManifoldWarning)
        found = find_neighbors(X, k, metric=metric)
    assert_is_exact(found.indices, found.similarities, X, X, metric, k=min(k, len(X) - 1), drop_self=True)


class TestNeighbors:
    def test_arrays_are_copies_and_read_only(self):
        ids, similarities = np.array([[1], [0]]), np.array([[0.5], [0.5]])
        found = Neighbors(ids, similarities, metric="cosine", method="by hand")
        ids[:] = similarities[:] = 7
        assert found.indices.tolist() == [[1], [0]]
        for array in (found.indices, found.similarities):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0

    def test_first_cuts_the_lists(self, rng):
        X = rng.normal(size=(40, 3))
        wide, narrow = find_neighbors(X, 9).first(4), find_neighbors(X, 4)
        np.testing.assert_array_equal(wide.indices, narrow.indices)
        np.testing.assert_array_equal(wide.similarities, narrow.similarities)

    @pytest.mark.parametrize(
        ("ids", "similarities", "message"),
        [
            ([[0], [0]], [[1.0], [1.0]], "names the point itself"),
            ([[2], [0]], [[1.0], [1.0]], r"must lie in -1\.\.1"),
            ([[-2], [0]], [[1.0], [1.0]], r"must lie in -1\.\.1"),
            ([[2**32 + 1], [0]], [[1.0], [1.0]], r"must lie in -1\.\.1"),
            ([[1], [0]], [[np.nan], [1.0]], "NaN"),
            ([[1], [0]], [[np.inf], [1.0]], "infinity"),
            ([[1], [0]], [[1.0, 2.0], [1.0, 2.0]], "share one shape"),
            ([[-1, 1], [0, -1]], [[1.0, 1.0], [1.0, 1.0]], "descend"),
            ([[1, 2], [0, 2], [0, 1]], [[1.0, 2.0]] * 3, "descend"),
            ([[1, 1], [0, 2], [0, 1]], [[2.0, 1.0]] * 3, "twice"),
        ],
    )
    def test_broken_promises_are_refused(self, ids, similarities, message):
        with pytest.raises(ValueError, match=message):
            Neighbors(np.array(ids), np.array(similarities), metric="cosine", method="by hand")

    def test_ids_that_are_no_integers_are_refused(self):
        with pytest.raises(TypeError, match="indices must hold integers"):
            Neighbors(np.array([[1.7], [0.0]]), np.ones((2, 1)), metric="cosine", method="by hand")


class TestFaiss:
    @pytest.mark.parametrize("metric", METRICS)
    def test_a_flat_index_gives_our_neighbours(self, metric, rng):
        X = rng.normal(size=(400, 16)).astype(np.float32)
        if metric == "cosine":
            X /= np.linalg.norm(X, axis=1, keepdims=True)
        index = faiss.IndexFlatL2(16) if metric == "euclidean" else faiss.IndexFlatIP(16)
        index.add(X)
        # an inner product may rank others before self, so self need not be among the first k + 1
        D, I = index.search(  # noqa: E741
            X, 400 if metric == "inner_product" else 11
        )
        theirs = from_faiss(D, I, metric=metric).first(10)
        ours = find_neighbors(X, 10, metric=metric)
        assert (theirs.indices == ours.indices).mean() > 0.999
        np.testing.assert_allclose(theirs.similarities, ours.similarities, rtol=1e-4, atol=1e-5)

    def test_missing_neighbours_of_an_inverted_file(self, rng):
        X = rng.normal(size=(300, 8)).astype(np.float32)
        index = faiss.index_factory(8, "IVF32,Flat")
        index.train(X)
        index.add(X)
        index.nprobe = 1
        D, I = index.search(X, 30)  # noqa: E741
        assert (I == -1).any()  # small lists: some rows are short
        assert np.abs(D[I == -1]).min() > 1e38
        found = from_faiss(D, I, metric="euclidean")
        assert not (found.indices == np.arange(300)[:, None]).any()
        for i in range(300):
            assert set(found.indices[i][found.indices[i] >= 0]) == set(I[i][I[i] >= 0]) - {i}
        assert np.isneginf(found.similarities[found.indices < 0]).all()

    def test_self_is_removed_by_id_wherever_it_stands(self):
        D = np.array([[1.0, 1.0, 0.5], [1.0, 1.0, 0.5], [1.0, 0.5, 0.5]])
        I = np.array([[1, 0, 2], [0, 1, 2], [2, 0, 1]])  # noqa: E741
        assert from_faiss(D, I).indices.tolist() == [[1, 2], [0, 2], [0, 1]]

    def test_of_an_id_listed_twice_the_nearer_stays(self):
        D = np.array([[0.9, 0.7, 0.5], [0.9, 0.2, 0.1], [0.7, 0.2, 0.9]])
        I = np.array([[1, 2, 1], [0, 2, 2], [0, 1, -1]])  # noqa: E741
        found = from_faiss(D, I)
        assert found.indices.tolist() == [[1, 2], [0, 2], [0, 1]]
        np.testing.assert_allclose(found.similarities, [[0.9, 0.7], [0.9, 0.2], [0.7, 0.2]], rtol=1e-6)

    def test_a_list_without_self_keeps_all(self):
        D, I = np.array([[0.9], [0.9]]), np.array([[1], [0]])  # noqa: E741
        assert from_faiss(D, I).indices.tolist() == [[1], [0]]

    def test_what_is_no_result_of_a_search(self):
        D, I = np.ones((2, 1)), np.array([[1], [0]])  # noqa: E741
        with pytest.raises(TypeError, match="swapped"):
            from_faiss(I, D)
        with pytest.raises(ValueError, match="one shape"):
            from_faiss(D, I[:1])
        with pytest.raises(ValueError, match=r"-1\.\.1"):
            from_faiss(D, I + 1)
        with pytest.raises(ValueError, match="row 0"):
            from_faiss(D * np.nan, I)
        with pytest.raises(ValueError, match="more than float32"):
            from_faiss(D * 1e300, I, metric="inner_product")
        with pytest.raises(ValueError, match="metric must be one of"):
            from_faiss(D, I, metric="l2")
        with pytest.raises(ValueError, match="squared distances"):
            from_faiss(-D, I, metric="euclidean")
        with pytest.raises(TypeError, match="real numbers"):
            from_faiss(D.astype(str), I)
        with pytest.raises(ValueError, match=r"D must hold cosines, in \[-1, 1\], got up to 1.01: .* distances=D"):
            from_faiss(D * 1.01, I)

    @pytest.mark.parametrize("metric", ["cosine", "euclidean"])
    def test_distances_of_scikit_learn_are_taken_by_name_and_refused_as_similarities(self, metric):
        from sklearn.neighbors import NearestNeighbors

        X = np.random.default_rng(5).standard_normal((60, 6))
        distances, I = NearestNeighbors(n_neighbors=6, metric=metric).fit(X).kneighbors(X)  # noqa: E741
        found, ours = from_distances(distances, I, metric=metric), find_neighbors(X, 5, metric=metric)
        np.testing.assert_array_equal(found.indices, ours.indices)
        np.testing.assert_allclose(found.similarities, ours.similarities, rtol=1e-5, atol=1e-6)
        graph = mf.graph_from_neighbors(I=I, distances=distances, metric=metric)
        np.testing.assert_allclose(graph.degrees, mf.build_graph(X, 5, metric=metric).degrees, rtol=1e-4)
        with pytest.raises(ValueError, match=r"D must be best first.* first row 0: .* distances=D"):
            from_faiss(distances / 10, I)
        with pytest.raises(ValueError, match=r"distances must be .*: pass D, if they are similarities"):
            from_distances(-distances, I, metric=metric)
        with pytest.raises(TypeError, match="distances and their metric by name, and no D"):
            mf.graph_from_neighbors(distances, I, distances=distances, metric=metric)

    def test_squared_distances_fall_nowhere(self):
        with pytest.raises(ValueError, match="best first, as FAISS lists neighbours by metric='euclidean', but 1 rows"):
            from_faiss([[0.5, 0.25], [0.25, 0.5]], [[1, 0], [0, 1]], metric="euclidean")

    def test_unsigned_hamming_distances_do_not_wrap(self):
        D, I = np.array([[3, 7], [3, 9], [7, 9]], dtype=np.uint8), np.array([[1, 2], [0, 2], [0, 1]])  # noqa: E741
        assert from_faiss(D, I, metric="euclidean").similarities.tolist() == [[-3, -7], [-3, -9], [-7, -9]]


class TestSklearn:
    @pytest.mark.parametrize("metric", ["euclidean", "cosine"])
    @pytest.mark.parametrize("include_self", [False, True])
    def test_a_distance_graph_gives_our_neighbours(self, metric, include_self, rng):
        X = rng.normal(size=(200, 6)).astype(np.float32)
        graph = kneighbors_graph(X, 8 + include_self, mode="distance", metric=metric, include_self=include_self)
        ours, theirs = find_neighbors(X, 8, metric=metric), from_sklearn(graph, metric=metric)
        assert (theirs.indices == ours.indices).mean() > 0.999
        np.testing.assert_allclose(theirs.similarities, ours.similarities, rtol=1e-4, atol=1e-6)

    def test_zero_distances_of_duplicates_stay(self, rng):
        X = rng.normal(size=(40, 3))
        X[20:24] = X[:4]
        graph = KNeighborsTransformer(mode="distance", n_neighbors=4).fit_transform(X)
        assert (np.diff(graph.indptr) == 5).all()  # self comes along
        found = from_sklearn(graph)
        assert found.n_neighbors in (4, 5)
        assert [20 in found.indices[i] and i in found.indices[20 + i] for i in range(1)] == [True]
        assert (found.similarities[:4, 0] == 0).all()

    def test_rows_of_different_length(self, rng):
        X = rng.normal(size=(50, 2))
        graph = radius_neighbors_graph(X, 0.7, mode="distance")
        found = from_sklearn(graph)
        np.testing.assert_array_equal((found.indices >= 0).sum(axis=1), np.diff(graph.indptr))

    def test_formats_that_lose_zeros_and_bad_distances_are_refused(self, rng):
        graph = kneighbors_graph(rng.normal(size=(10, 2)), 3, mode="distance")
        with pytest.raises(ValueError, match="pass CSR"):
            from_sklearn(graph.todok())
        with pytest.raises(ValueError, match="distances are >= 0"):
            from_sklearn(-graph)
        with pytest.raises(ValueError, match="'euclidean' or 'cosine'"):
            from_sklearn(graph, metric="inner_product")
        with pytest.raises(ValueError, match="square"):
            from_sklearn(graph[:5])
        for same in (graph.tocsc(), graph.tocoo(), sparse.csr_array(graph)):
            np.testing.assert_array_equal(from_sklearn(same).indices, from_sklearn(graph).indices)


class TestPrecomputed:
    @pytest.mark.parametrize("diagonal", [1.0, 0.0, np.nan, -np.inf])
    def test_the_products_of_features_give_the_graph_of_features(self, diagonal, rng):
        X = rng.normal(size=(120, 9))
        X /= np.linalg.norm(X, axis=1, keepdims=True)
        similarities = X @ X.T
        np.fill_diagonal(similarities, diagonal)
        given, found = find_neighbors(similarities, 7, metric="precomputed"), find_neighbors(X, 7)
        assert (given.indices == found.indices).mean() > 0.999
        np.testing.assert_allclose(given.similarities, found.similarities, atol=1e-6)

    def test_sparse_equals_dense(self, rng):
        dense = rng.uniform(0.1, 1, size=(60, 60))
        a = find_neighbors(dense, 5, metric="precomputed")
        for kind in (sparse.csr_array, sparse.csc_array, sparse.coo_array, sparse.lil_array):
            b = find_neighbors(kind(dense), 5, metric="precomputed")
            np.testing.assert_array_equal(a.indices, b.indices)
            np.testing.assert_array_equal(a.similarities, b.similarities)

    def test_what_is_not_stored_is_no_neighbour(self):
        W = sparse.csr_array(([0.5, 0.2], ([0, 1], [1, 0])), shape=(3, 3))
        assert from_precomputed(W, 2).indices.tolist() == [[1], [0], [-1]]

    def test_one_full_row_does_not_widen_the_lists(self):
        n = 20_000
        star = sparse.csr_array((np.ones(n - 1), (np.zeros(n - 1, int), np.arange(1, n))), shape=(n, n))
        found = from_precomputed(star, 3)  # (n, n) lists would take gigabytes
        assert found.indices.shape == (n, 3)
        assert found.indices[0].tolist() == [1, 2, 3]
        assert (found.indices[1:] == -1).all()

    def test_ties_by_id_and_self_of_any_similarity(self):
        dense = np.ones((5, 5))
        np.fill_diagonal(dense, -9)
        assert from_precomputed(dense, 2).indices.tolist() == [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1]]

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_a_bad_entry_off_the_diagonal_is_refused(self, bad):
        dense = np.eye(4)
        dense[2, 1] = bad
        with pytest.raises(ValueError, match="row 2"):
            from_precomputed(dense, 1)

    def test_a_search_method_makes_no_sense(self):
        with pytest.raises(ValueError, match="needs no search"):
            find_neighbors(np.eye(4), 1, metric="precomputed", method="nn_descent")


@pytest.mark.parametrize("name", ["exact", "inverted_file", "faiss"])
@pytest.mark.parametrize("sign", [1, -1])
def test_no_cosine_is_beyond_1(name, sign, rng):
    """Rounding makes 1.0000001 of copies: its distance is negative, its angle no number."""
    X = rng.random((300, 128)).astype(np.float32)
    found = find_neighbors(np.concatenate([X, sign * X]), 599, method=name)
    assert np.abs(found.similarities).max() == 1
    assert np.arccos(found.similarities.astype(np.float64)).min() >= 0
