"""Bad inputs and faults at the public doors: each is refused by name, or handled and said."""

from __future__ import annotations

import re
import tracemalloc
from functools import cache, partial

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse

import manifold as mf
from manifold import _checks, _resources, discovery, evaluation, labels, ranking, stores
from manifold.errors import ConvergenceError, ConvergenceWarning, ManifoldWarning, MemoryBudgetError
from manifold.solvers import Status


@pytest.fixture
def X(rng):
    return rng.normal(size=(60, 5)).astype(np.float32)


@pytest.fixture
def search(X):
    return mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=5).fit(X)


@pytest.fixture
def path():
    """Three nodes in a row."""
    return mf.graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).astype(np.float64)


def both_doors(X, **options):
    """The two public doors that take features."""
    yield lambda: mf.build_graph(X, 3, **options)
    yield lambda: mf.ManifoldSearch(n_neighbors=3, **options).fit(X)


def refused(X, message, kind=ValueError):
    for door in both_doors(X):
        with pytest.raises(kind, match=message):
            door()


def test_row_01_nan_in_features(X):
    X[[17, 40], 2] = np.nan
    refused(X, r"X holds NaN or infinity in 2 of 60 rows, first in row 17: drop or impute")


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
def test_row_02_infinity_in_features(X, bad):
    X[59, 0] = bad
    refused(X, r"NaN or infinity in 1 of 60 rows, first in row 59")


def test_row_02_values_beyond_float32(X):
    X = X.astype(np.float64)
    X[3] = 1e39
    refused(X, r"X row 3 exceeds float32 \(3.4e38\).*rescale")


def test_row_03_nan_query(search, X):
    Q = X[:4].copy()
    Q[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"Q holds NaN or infinity in 1 of 4 rows, first in row 2"):
        search.search(Q)
    with pytest.warns(ManifoldWarning, match=r"1 queries hold NaN or infinity \(first: 2\)") as caught:
        ranking = search.search(Q, k=7, on_bad="skip")
    assert caught[0].filename == __file__
    assert (ranking.ids[2] == -1).all()
    assert not ranking.scores[2].any()
    assert not ranking.certified[2]
    good = search.search(X[[0, 1, 3]], k=7)
    np.testing.assert_array_equal(ranking.ids[[0, 1, 3]], good.ids)
    named = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=5).fit(X, ids=[f"item {i}" for i in range(60)])
    with pytest.warns(ManifoldWarning, match="''"):
        assert set(named.search(Q, k=3, on_bad="skip").ids[2]) == {""}
    with pytest.raises(ValueError, match="'raise' or 'skip'"):
        search.search(Q, on_bad="ignore")
    with pytest.raises(ValueError, match="similarities hold NaN or infinity in query 0"):
        search.rerank([[1, 2]], [[0.5, np.nan]])
    with pytest.raises(ValueError, match="similarities hold NaN or infinity in query 0"):
        search.rerank([[1, 2]], [[0.5, np.inf]])


@pytest.mark.parametrize(
    ("metric", "affinity"), [("cosine", "power"), ("cosine", "self_tuning"), ("inner_product", "power")]
)
def test_row_04_zero_vectors(X, metric, affinity):
    X[[7, 9]] = 0
    if metric == "cosine":
        with pytest.warns(ManifoldWarning, match=r"2 zero vectors \(first: row 7\)") as caught:
            graph = mf.build_graph(X, 5, metric=metric, affinity=affinity)
        assert caught[0].filename == __file__
    else:
        graph = mf.build_graph(X, 5, metric=metric, affinity=affinity)
    assert {7, 9} <= set(graph.isolated)
    assert np.isfinite(graph.affinity.data).all()


def test_row_04_a_zero_query_reaches_nothing(search):
    ranking = search.search(np.zeros(5), k=3)
    assert ranking.ids.tolist() == [0, 1, 2]
    assert not ranking.scores.any()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_row_05_a_duplicate_pair_is_the_strongest_edge(X, metric):
    X[30] = X[2]
    W = mf.build_graph(X, 5, metric=metric).affinity
    assert W[2, 30] == W.max() > 0
    assert W[2, 30] == pytest.approx(1, rel=1e-6)


def test_row_06_more_duplicates_than_neighbours(rng):
    X = rng.normal(size=(150, 4))
    X[20:120] = X[20]
    with pytest.warns(ManifoldWarning, match=r"n_neighbors=5 is smaller than a group of duplicates: 100 points") as w:
        mf.build_graph(X, 5)
    assert w[0].filename == __file__
    with pytest.warns(ManifoldWarning, match=r"\(first: row 20\).*raise n_neighbors or drop the copies"):
        mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=5).fit(X)
    mf.build_graph(X, 100)  # wide enough: nothing to say


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "inner_product"])
def test_row_07_all_points_identical(metric):
    X = np.full((9, 3), 0.7)
    graph = mf.build_graph(X, 8, metric=metric)
    np.testing.assert_allclose(graph.affinity.toarray(), 1 - np.eye(9), rtol=1e-6)
    with pytest.warns(ManifoldWarning, match="duplicates"):
        graph = mf.build_graph(X, 3, metric=metric)
    np.testing.assert_allclose(graph.affinity.data, 1, rtol=1e-6)


def test_row_08_no_points():
    refused(np.empty((0, 4)), r"X holds no points: its shape is \(0, 4\)")


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "inner_product"])
def test_row_09_one_point(metric):
    graph = mf.build_graph([[1.0, 2.0]], 5, metric=metric)
    assert (graph.n_nodes, graph.n_edges, graph.n_components) == (1, 0, 1)
    for solver in ("cg", "direct"):
        alone = mf.diffuse(graph, [1.0], solver=solver, filter=mf.Diffusion(0.9))
        np.testing.assert_allclose(alone.scores, [0.1], rtol=1e-5)  # an isolated node keeps h(0) of its seed
    search = mf.ManifoldSearch(preset="plain-diffusion", metric=metric).fit([[1.0, 2.0]])
    assert search.search([1.0, 2.0]).ids.tolist() == [0]
    assert search.similar(0).ids.tolist() == []


@pytest.mark.parametrize("method", ["exact", "auto"])
def test_row_10_fewer_points_than_neighbours(X, method):
    with pytest.warns(ManifoldWarning, match=r"n_neighbors=99 .* 60 points has only 59 others: using 59") as caught:
        graph = mf.build_graph(X, 99, method=method)
    assert caught[0].filename == __file__
    assert graph.facts["n_neighbors"] == 59
    with pytest.warns(ManifoldWarning, match="using 59") as caught:
        mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=60).fit(X)
    assert caught[0].filename == __file__
    with pytest.warns(ManifoldWarning, match="using 59"):
        mf.build_graph(X @ X.T, 99, metric="precomputed")


@pytest.mark.parametrize(
    ("k", "kind", "message"),
    [
        (0, ValueError, "at least 1, got 0"),
        (-3, ValueError, "at least 1, got -3"),
        (5.0, TypeError, "must be an integer, got 5.0 of type float: write n_neighbors=10"),
        (True, TypeError, "must be an integer"),
        ("5", TypeError, "must be an integer"),
    ],
)
def test_row_11_bad_counts(X, search, k, kind, message):
    with pytest.raises(kind, match="n_neighbors.* " + message):
        mf.build_graph(X, k)
    with pytest.raises(kind, match="n_neighbors.* " + message):
        mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=k)
    with pytest.raises(kind, match="k must be"):
        search.search(X[:1], k=k)
    mf.build_graph(X, np.int8(5))


def test_row_12_one_neighbour_is_not_self(X):
    graph = mf.build_graph(X, 1)
    assert graph.n_edges >= 30
    assert not graph.affinity.diagonal().any()


def test_row_13_self_is_not_in_first_place():
    D = np.array([[1.0, 1.0, 0.2], [1.0, 1.0, 0.2], [1.0, 0.2, 0.2]])
    I = np.array([[1, 0, 2], [0, 1, 2], [2, 1, 0]])  # noqa: E741
    W = mf.graph_from_neighbors(D, I, gamma=1).affinity.toarray()
    np.testing.assert_allclose(W, [[0, 1, 0.2], [1, 0, 0.2], [0.2, 0.2, 0]], rtol=1e-6)


def test_row_14_missing_neighbours_of_another_search(X):
    found = np.argsort(-(X @ X.T), axis=1)[:, :6]
    D = np.take_along_axis(X @ X.T, found, axis=1)
    found[4, 3:], D[4, 3:] = -1, -np.inf
    graph = mf.graph_from_neighbors(D, found, metric="inner_product")
    assert np.isfinite(graph.affinity.data).all()


def test_row_15_no_feature_and_one_feature():
    refused(np.empty((5, 0)), r"X has no features: its shape is \(5, 0\)")
    line = np.arange(1.0, 9.0)[:, None]
    assert mf.build_graph(line, 2, metric="euclidean").n_components == 1
    refused(np.arange(5.0), r"X must have 2 dimensions.*got shape \(5,\): X.reshape\(1, -1\)")
    refused(np.ones((2, 2, 2)), r"got shape \(2, 2, 2\)")


def test_row_16_queries_of_another_width(search):
    with pytest.raises(ValueError, match=r"Q must have the 5 features of the fitted points, got shape \(2, 7\)"):
        search.search(np.ones((2, 7)))
    with pytest.raises(ValueError, match=r"got shape \(7,\)"):
        search.search(np.ones(7))


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "inner_product"])
def test_row_17_no_queries(X, metric):
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=5, metric=metric).fit(X)
    ranking = search.search(np.empty((0, 5)), k=4)
    assert ranking.ids.shape == ranking.scores.shape == (0, 4)
    assert ranking.certified.shape == (0,)
    assert search.rerank(np.empty((0, 3), dtype=int), np.empty((0, 3))).ids.shape == (0, 3)


def test_row_18_one_query(search, X):
    one, many = search.search(X[3], k=4), search.search(X[3:4], k=4)
    assert one.ids.shape == one.scores.shape == (4,)
    np.testing.assert_array_equal(one.ids, many.ids[0])
    ids, scores = one
    assert ids is one.ids
    assert scores is one.scores


def test_row_19_dtypes(X):
    whole = (10 * X).astype(np.int16)
    expected = mf.build_graph(whole.astype(np.float32), 4).affinity.toarray()
    for dtype in (np.int32, np.int64):
        np.testing.assert_array_equal(mf.build_graph(whole.astype(dtype), 4).affinity.toarray(), expected)
    mf.build_graph(np.eye(6, dtype=bool) | np.eye(6, k=1, dtype=bool), 2)
    refused(X.astype(complex), "X must hold real numbers, got dtype complex128: convert it to float32", TypeError)
    refused(X.astype(object), "got dtype object", TypeError)
    refused(X.astype(str), "got dtype <U", TypeError)
    refused([["a", "b"], ["c", "d"]], "got dtype <U1", TypeError)
    refused([[1.0, 2.0], [3.0]], "X holds rows of different lengths")
    refused(pd.Series(["a"]).to_frame(), "real numbers", TypeError)


def test_row_20_float16(X, monkeypatch):
    half = X.astype(np.float16)
    expected = mf.build_graph(half.astype(np.float32), 4).affinity.toarray()
    np.testing.assert_array_equal(mf.build_graph(half, 4).affinity.toarray(), expected)
    monkeypatch.setattr(_checks, "_LARGE_CAST", half.nbytes - 1)
    mf.build_graph(half, 4)  # reads it where it lies
    with pytest.warns(ManifoldWarning, match="B is float16: its float32 copy takes") as caught:
        mf.labels.ridge_map(X, half)
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize("dtype", [">f4", ">f8", np.longdouble])
def test_row_21_unusual_floats_are_cast_with_a_warning(X, dtype):
    expected = mf.build_graph(X, 4).affinity.toarray()
    with pytest.warns(ManifoldWarning, match="computed with as float32") as caught:
        graph = mf.build_graph(X.astype(dtype), 4)
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(graph.affinity.toarray(), expected)
    with pytest.warns(ManifoldWarning, match="X has dtype") as caught:
        mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=4).fit(X.astype(dtype))
    assert caught[0].filename == __file__


def test_row_22_layouts(X):
    expected = mf.build_graph(X, 4).affinity.toarray()
    wide = np.repeat(X, 2, axis=1)
    for same in (np.asfortranarray(X), wide[:, ::2], X[::-1].copy()[::-1]):
        before = same.copy()
        np.testing.assert_array_equal(mf.build_graph(same, 4).affinity.toarray(), expected)
        np.testing.assert_array_equal(same, before)


def test_row_23_read_only_arrays_and_memmaps(X, tmp_path, monkeypatch):
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    X.flags.writeable = False
    expected = mf.build_graph(X, 4).affinity.toarray()
    np.testing.assert_array_equal(mf.build_graph(mapped, 4).affinity.toarray(), expected)
    mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=4).fit(mapped).search(mapped[:3])


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "inner_product"])
def test_row_23_a_memmap_is_never_loaded_whole(tmp_path, monkeypatch, metric, rng):
    from manifold.neighbors import _all_pairs, _exact, _shortlists, points

    monkeypatch.setattr(_all_pairs, "_TILE", 128)
    for name, size in (("_BLOCK", 1 << 15), ("_MEMBERS", 64), ("_ROWS", 64)):
        monkeypatch.setattr(_shortlists, name, size)
    for name, size in (("QUERY_TILE", 64), ("POINT_TILE", 64), ("GATHER", 1 << 18)):
        monkeypatch.setattr(_exact, name, size)
    monkeypatch.setattr(points, "GATHER", 1 << 18)
    monkeypatch.setattr(_checks, "_CHECK_BYTES", 1 << 20)
    mapped = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float32, (1800, 4000))
    for start in range(0, 1800, 600):
        mapped[start : start + 600] = rng.normal(size=(600, 4000))
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    for order in (mapped[:900], mapped[900::-1], mapped, mapped[::-1]):
        tracemalloc.start()
        try:
            mf.build_graph(order, 3, metric=metric)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        if len(order) == len(mapped):  # before, kernels were loaded, which takes memory once
            assert peak < mapped.nbytes / 3  # the file is read in place, some tiles at a time
    double = np.lib.format.open_memmap(tmp_path / "D.npy", "w+", np.float64, (1800, 4000))
    monkeypatch.setattr(_resources, "available_memory", lambda: double.nbytes // 4)
    with pytest.raises(MemoryBudgetError, match=r"float32 copy of X needs .*store it as float32"):
        mf.build_graph(double, 3)


def test_row_24_masked_matrix_and_list(X):
    masked = np.ma.masked_array(X, mask=np.zeros(X.shape, dtype=bool))
    mf.build_graph(masked, 4)
    masked[3, 1] = np.ma.masked
    refused(masked, r"masked entries: fill them, X.filled", TypeError)
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix(X)
    refused(matrix, r"numpy.matrix: pass numpy.asarray\(X\)", TypeError)
    np.testing.assert_array_equal(
        mf.build_graph(X.tolist(), 4).affinity.toarray(), mf.build_graph(X, 4).affinity.toarray()
    )


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csc_matrix, sparse.coo_array])
def test_row_25_sparse_features_name_what_is_supported(X, kind):
    refused(kind(X), r"X is a sparse \w+, where a dense array is needed: reduce it", TypeError)
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=4).fit(X)
    with pytest.raises(TypeError, match="Q is a sparse"):
        search.search(kind(X))


class FakeDeviceArray:
    """What a CuPy array is to us: its module, and a refusal to become a NumPy array by itself."""

    ndim, shape = 2, (4, 2)

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __dlpack_device__(self):
        return 2, 0


FakeDeviceArray.__module__ = "cupy"


class HostTensor:
    """What a CPU tensor is to us: `__array__`."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype=dtype)


def test_row_26_frames_and_tensors(X):
    expected = mf.build_graph(X, 4).affinity.toarray()
    names = [f"f{j}" for j in range(5)]
    frame = pd.DataFrame(X, columns=names)
    table = pa.table({name: X[:, j] for j, name in enumerate(names)})
    for same in (frame, pl.DataFrame(X, schema=names), table, HostTensor(X)):
        np.testing.assert_array_equal(mf.build_graph(same, 4).affinity.toarray(), expected)
    refused(frame.assign(name="text"), r"1 other columns, 'name' \(String\): leave them out", TypeError)
    with pytest.raises(TypeError, match=r"X is on cuda:0 .* but backend='scipy' works elsewhere: pass X.get\(\)"):
        mf.build_graph(FakeDeviceArray(), 1, backend="scipy")
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=4).fit(frame)
    np.testing.assert_array_equal(search.search(frame.head(3)).ids, search.search(X[:3]).ids)
    with pytest.raises(TypeError, match="Q is on cuda:0, the points fitted were on cpu"):
        search.search(FakeDeviceArray())


def test_row_27_unsorted_and_repeated_indices():
    W = sparse.csr_array(([1.0, 2.0, 3.0, 4.0, 3.0], [2, 1, 1, 0, 0], [0, 3, 4, 5]), shape=(3, 3))
    W.data[0] = W.data[4]  # W = [[0, 2 + 3, 3], [4, 0, 0], [3, 0, 0]]
    graph = mf.graph_from_affinity(W, edges="union")
    assert graph.affinity.toarray().tolist() == [[0, 5, 3], [5, 0, 0], [3, 0, 0]]
    assert graph.affinity.has_canonical_format
    assert W.indices.tolist() == [2, 1, 1, 0, 0]  # a copy was made canonical


def malformed(kind=sparse.csr_array):
    changes = (
        ("indices", 0, 99),
        ("indices", 0, -1),
        ("indptr", 1, 3),
        ("indptr", 0, 1),
        ("indptr", -1, -(2**31)),
        ("indptr", -1, 0),
    )
    for part, at, value in changes:
        W = kind(np.array([[0, 1.0, 1], [1, 0, 1], [1, 1, 0]]))
        getattr(W, part)[at] = value
        if (part, at) == ("indptr", 1):
            W.indptr[2] = 2  # not monotone
        yield W


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csc_array, sparse.csr_matrix])
def test_row_28_malformed_indices_never_reach_a_product(kind):
    for W in malformed(kind):
        with pytest.raises(ValueError, match=r"W is a malformed CS[RC] matrix, which could crash a product"):
            mf.graph_from_affinity(W)
        with pytest.raises(ValueError, match="graph is a malformed"):
            mf.graph_from_neighbors(W)
        with pytest.raises(ValueError, match="X is a malformed"):
            mf.build_graph(W, 1, metric="precomputed")


def test_row_28_malformed_graph_and_seeds(path):
    from manifold.graph import Graph

    for W in malformed():
        with pytest.raises(ValueError, match=r"indi|index|indptr"):
            Graph(W)
    for bad in malformed(sparse.csc_array):
        with pytest.raises(ValueError, match=r"indi|index|indptr"):
            mf.diffuse(path, bad)


def test_row_29_shapes_that_do_not_fit(path, X):
    with pytest.raises(ValueError, match=r"W must be square \(n, n\), got shape \(2, 3\)"):
        mf.graph_from_affinity(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"one row for each of the 3 nodes, got shape \(4,\)"):
        mf.diffuse(path, np.ones(4))
    with pytest.raises(ValueError, match="X has 60 rows but the graph has 3 nodes"):
        mf.ManifoldSearch(preset="plain-diffusion").fit(X, graph=path)
    with pytest.raises(ValueError, match="ids must name each of the 60 items"):
        mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=4).fit(X, ids=[1, 2])
    with pytest.raises(ValueError, match="square"):
        mf.build_graph(X, 3, metric="precomputed")
    with pytest.raises(ValueError, match="square"):
        mf.graph_from_neighbors(sparse.csr_array(np.ones((2, 3))))


def test_row_30_stored_zeros(X):
    W = sparse.csr_array(([1.0, 0.0, 1.0, 0.0], [1, 2, 0, 0], [0, 2, 3, 4]), shape=(3, 3))
    assert W.nnz == 4
    graph = mf.graph_from_affinity(W)
    assert graph.affinity.nnz == 2
    assert graph.isolated.tolist() == [2]
    X[1] = X[0]
    distances = sparse.csr_array(([0.0, 1.0, 0.0, 1.0, 1.0], [1, 2, 0, 2, 0], [0, 2, 4, 5]), shape=(3, 3))
    kept = mf.graph_from_neighbors(distances).affinity
    assert kept[0, 1] == kept.max() == 1  # a distance of zero is the strongest edge


def test_row_31_negative_weights():
    W = np.array([[0, -0.5, 1], [-0.5, 0, 1], [1, 1, 0]])
    with pytest.raises(ValueError, match=r"W holds 2 negative weights \(least -0.5\): pass negative='clip'"):
        mf.graph_from_affinity(W)
    graph = mf.graph_from_affinity(W, negative="clip")
    assert graph.facts["clipped"] == 2
    assert graph.affinity.min() >= 0
    assert graph.n_edges == 2


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_row_32_weights_that_are_not_finite(bad):
    W = np.array([[0, bad], [bad, 0]])
    for given in (W, sparse.csr_array(W)):
        with pytest.raises(ValueError, match="W holds NaN or infinity in 2 entries"):
            mf.graph_from_affinity(given)
    with pytest.raises(ValueError, match="row 0"):
        mf.build_graph(W, 1, metric="precomputed")


def test_row_33_asymmetric_weights():
    W = np.array([[0, 1.0, 0], [3, 0, 0], [0, 2, 0]])
    with pytest.raises(ValueError, match=r"W is not symmetric: W\[0, 1\] = 1, W\[1, 0\] = 3: choose a rule"):
        mf.graph_from_affinity(W)
    for rule, expected in (("mutual", [1, 0]), ("union", [3, 2]), ("sum", [4, 2])):
        got = mf.graph_from_affinity(W, edges=rule).affinity
        assert [got[0, 1], got[1, 2]] == expected == [got[1, 0], got[2, 1]]


def test_row_34_self_loops():
    W = np.array([[5.0, 1], [1, 0]])
    removed = mf.graph_from_affinity(W)
    assert removed.affinity.toarray().tolist() == [[0, 1], [1, 0]]
    assert removed.facts["self_loops_removed"] == 1
    kept = mf.graph_from_affinity(W, self_loops="keep")
    assert kept.affinity.toarray().tolist() == [[5, 1], [1, 0]]
    assert kept.degrees.tolist() == [6, 1]


@pytest.mark.parametrize("alpha", [-0.1, 1, 1.0, 1.5, np.nan, "0.5", None])
def test_row_38_alpha_outside_its_range(alpha):
    with pytest.raises(ValueError, match=re.escape(f"alpha must lie in [0, 1), got {alpha!r}")):
        mf.Diffusion(alpha)
    if alpha is not None:
        with pytest.raises(ValueError, match="alpha must lie in"):
            mf.ManifoldSearch(preset="plain-diffusion", alpha=alpha)


def test_row_38_alpha_at_its_limits(path):
    seed = np.array([0.3, 0.0, 2.0])
    for solver in ("cg", "direct"):
        solution = mf.diffuse(path, seed, filter=mf.Diffusion(0), solver=solver)
        np.testing.assert_allclose(solution.scores, seed, rtol=1e-12)
    with pytest.warns(ManifoldWarning, match=r"alpha=0.99995 .* expect up to \d+ iterations") as caught:
        mf.Diffusion(0.99995)
    assert caught[0].filename == __file__


def test_row_39_no_convergence(rng):
    graph = mf.build_graph(rng.normal(size=(300, 6)), 5)
    seed = np.eye(300)[:, 0]
    few = mf.solvers.ConjugateGradient(rtol=1e-6, max_iter=3)
    options = {"filter": mf.Diffusion(0.99), "solver": few}
    with pytest.warns(ConvergenceWarning, match="MAX_ITER in 1 columns") as caught:
        solution = mf.diffuse(graph, seed, **options)
    assert caught[0].filename == __file__
    assert not solution.converged
    assert solution.status == (Status.MAX_ITER,)
    exact = mf.diffuse(graph.astype(float), seed, filter=mf.Diffusion(0.99), solver="direct").scores
    assert np.linalg.norm(solution.scores - exact) < np.linalg.norm(exact)  # the best iterate is kept
    assert np.abs(solution.scores - exact).max() <= solution.error_bound[0]
    with pytest.raises(ConvergenceError, match="MAX_ITER"):
        mf.diffuse(graph, seed, on_failure="raise", **options)
    mf.diffuse(graph, seed, on_failure="ignore", **options)
    search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=5, alpha=0.99, solver=few).fit(
        rng.normal(size=(300, 6))
    )
    with pytest.warns(ConvergenceWarning, match="raise max_iter or rtol") as caught:
        search.search(rng.normal(size=(2, 6)))
    assert caught[0].filename == __file__


@pytest.mark.parametrize("solver", ["cg", "direct"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_row_40_a_column_that_is_not_finite(path, solver, bad):
    seeds = np.eye(3)
    seeds[0, 1] = bad
    with pytest.raises(ConvergenceError, match=r"NONFINITE in 1 columns \(first: 1\)"):
        mf.diffuse(path, seeds, solver=solver, on_failure="raise")
    solution = mf.diffuse(path, seeds, solver=solver, on_failure="ignore")
    assert [status.name for status in solution.status] == ["CONVERGED", "NONFINITE", "CONVERGED"]
    assert solution.n_iter[1] == 0
    clean = mf.diffuse(path, np.eye(3), solver=solver).scores
    np.testing.assert_array_equal(solution.scores[:, [0, 2]], clean[:, [0, 2]])


@pytest.mark.parametrize("solver", ["cg", "direct"])
def test_row_41_empty_seeds(path, solver):
    nothing = mf.diffuse(path, np.zeros((3, 2)), solver=solver)
    assert not nothing.scores.any()
    assert nothing.converged
    assert nothing.n_iter.tolist() == [0, 0]
    assert mf.diffuse(path, np.empty((3, 0)), solver=solver).scores.shape == (3, 0)
    assert mf.diffuse(path, sparse.csc_array((3, 2)), solver=solver).n_iter.tolist() == [0, 0]


def test_row_42_one_slow_column_among_many(rng):
    graph = mf.build_graph(rng.normal(size=(400, 4)), 5).astype(np.float64)
    seeds = np.sqrt(graph.degrees)[:, None] * np.ones((1, 9))  # a fixed point of S, solved at once
    seeds[:, 4] = np.eye(400)[:, 0]
    options = {"filter": mf.Diffusion(0.99), "solver": mf.solvers.ConjugateGradient(rtol=1e-8)}
    together = mf.diffuse(graph, seeds, **options)
    slow = together.n_iter[4]
    assert slow > 5 * np.delete(together.n_iter, 4).max()
    for j in (0, 4, 8):
        alone = mf.diffuse(graph, seeds[:, j], **options)
        assert alone.n_iter[0] == together.n_iter[j]
        np.testing.assert_allclose(together.scores[:, j], alone.scores, rtol=1e-9, atol=1e-15)


@pytest.mark.filterwarnings("ignore::manifold.errors.ManifoldWarning")
@pytest.mark.parametrize(
    "options",
    [{}, {"affinity": "self_tuning"}, {"metric": "euclidean"}, {"metric": "inner_product"}, {"gamma": 12.0}],
    ids=str,
)
def test_row_71_floating_point_traps(options, rng):
    """The whole road again with NumPy told to raise at every overflow, underflow and invalid operation."""
    X = rng.normal(size=(80, 6))
    X[3], X[4] = X[5], 0
    X[6] *= 1e-37
    with np.errstate(all="raise"):
        search = mf.ManifoldSearch(n_neighbors=6, **options).fit(X)
        search.search(X[:9], k=20)
        search.rerank([[0, 1, 2]], np.array([[0.9, 0.8, -0.2]]) - (options.get("metric") == "euclidean"))
        search.similar([3, 4])
        mf.diffuse(search.graph_, np.eye(80), solver="direct")


def test_row_71_traps_in_the_graph():
    with np.errstate(all="raise"):
        graph = mf.build_graph(np.ones((5, 2)), 4, metric="euclidean")
        np.testing.assert_allclose(graph.affinity.data, 1)
        assert mf.graph_from_affinity(np.array([[0, 1e-300], [1e-300, 0]])).n_edges == 1
        assert mf.build_graph(np.float64([[1, 0], [1, 1], [1, 2]]) * 1e-38, 2).n_edges >= 2


@cache
def _wrong_objects():
    """What a user passes by mistake, an array for an object, an object for another, a class for what it makes."""
    X, y = np.eye(6, 4, dtype=np.float32) + 0.1, [0, 1, None, None, None, None]
    graph, lists = mf.graph_from_affinity(np.ones((6, 6)) - np.eye(6)), mf.find_neighbors(X[:4], 2)
    Search = mf.ManifoldSearch
    of_graph = {
        "diffuse": lambda g: mf.diffuse(g, np.ones(6)),
        "propagate": lambda g: mf.propagate(g, y),
        "fit": lambda g: Search().fit(graph=g),
        "index": lambda g: mf.DiffusionIndex(5).build(g),
        "cluster": discovery.cluster,
        "modes": discovery.graph_modes,
        "novelty": lambda g: discovery.novelty(g, y),
        "support": lambda g: discovery.support(g, y),
        "new classes": lambda g: discovery.new_classes(g, y),
        "centrality": discovery.centrality,
        "mine": lambda g: discovery.mine(g, lists, n_positive=1, n_negative=2),
    }
    of_search = {
        "negatives": lambda s: discovery.mine_negatives(s, X[:1], [1]),
        "calibrate": ranking.calibrate,
        "explain": lambda s: ranking.explain(s, X[0], 1),
        "examples": lambda s: ranking.by_examples(s, [1]),
    }
    seeds, store = np.ones(6), stores.Arrays(range(6), X)
    cases = {f"{name}, {type(g).__name__}": (partial(door, g), "graph must be a Graph, got")
             for name, door in of_graph.items() for g in (X, graph.affinity, lists)}  # fmt: skip
    cases |= {f"{name}, {s!r:.9}": (partial(door, s), "search must be a ")
              for name, door in of_search.items() for s in (X, graph, Search)}  # fmt: skip
    return cases | {
        "mine, neighbors": (lambda: discovery.mine(graph, X), "neighbors must be Neighbors"),
        "fit, neighbors": (lambda: Search().fit(X, neighbors=graph), "neighbors must be Neighbors"),
        "filter, text": (lambda: mf.diffuse(graph, seeds, filter="heat"), "filter must be .* got 'heat'"),
        "filter, class": (lambda: mf.diffuse(graph, seeds, filter=mf.Heat), "filter must be a transfer function"),
        "solver, class": (lambda: mf.diffuse(graph, seeds, solver=mf.DiffusionIndex), "solver must be"),
        "backend": (lambda: mf.diffuse(graph, seeds, backend=3), "backend must be .* got 3"),
        "method, class": (lambda: mf.propagate(graph, y, method=labels.Poisson), "method must be one of"),
        "adaptation": (lambda: Search(adaptation=3), r"adaptation must be an Adaptation\(...\) or None, got 3"),
        "store": (lambda: stores.StoreSearch(X), "store must be a store.* got ndarray, which has no 'metric'"),
        "store, class": (lambda: stores.StoreSearch(stores.Arrays), "got the class Arrays: call it"),
        "store, search": (lambda: stores.StoreSearch(store, Search), "search must be a ManifoldSearch, got the class"),
        "truth": (lambda: evaluation.compare(X, [[1]] * 6), "truth must be a GroundTruth, got list"),
        "executor": (lambda: ranking.search_on(4, "s", X), "executor must be a concurrent.futures.Executor, got int"),
        "client": (lambda: mf.distributed.check(4), r"client must be a distributed\.Client, got int"),
    }


@pytest.mark.parametrize("case", _wrong_objects())
def test_objects_of_another_kind_are_refused_by_name(case):
    door, message = _wrong_objects()[case]
    with pytest.raises(TypeError, match=message):
        door()


def test_what_only_looks_like_features(X):
    frame = pl.DataFrame(X)
    refused(frame.lazy(), r"X is a lazy frame: pass X\.collect\(\)", TypeError)
    refused(iter(X), r"X is an iterator, where all of it is needed at once: pass list\(X\)", TypeError)
    refused(pd.DataFrame(X, columns=list("aabcd")), "X has two columns of one name")


def test_a_folder_that_has_no_parent(path, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none does not exist, where graph should lie: make it"):
        path.save(tmp_path / "none" / "graph")


def test_numbers_and_texts_of_other_kinds(search, X):
    with pytest.raises(ValueError, match=r"damping must lie in \[0, 1\), got 1: 0.85"):
        mf.personalized_pagerank([[0, 1], [1, 0]], [0], damping=1)
    with pytest.raises(ValueError, match="damping must lie"):
        ranking.GraphSearch(damping="0.5")
    with pytest.raises(ValueError, match="activations hold no image"):
        discovery.discover([])
    with pytest.raises(ValueError, match="n_workers must be at least 1, got 0"), mf.distributed.local(0):
        pass
    named = mf.ManifoldSearch(n_neighbors=5).fit(X, ids=[f"item {i}" for i in range(60)])
    mined = discovery.mine_negatives(named, X[0], "item 3", n=2, exclude=3)  # one name, not its letters
    assert mined.positives.ids.tolist() == ["item 3"]
