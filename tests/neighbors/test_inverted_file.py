"""The inverted file and the search of all pairs against the exact search by queries: compiled, NumPy, on a device."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from strict_backend import StrictBackend
from threadpoolctl import threadpool_limits

from manifold.backends import get_backend
from manifold.backends import threads as _threads
from manifold.backends._row_dots import row_dots
from manifold.datasets import load
from manifold.errors import ManifoldWarning
from manifold.graph import build_graph
from manifold.neighbors import (
    Faiss,
    InvertedFile,
    PointSet,
    _all_pairs,
    _kmeans,
    _large_cells,
    _shortlists,
    choose_method,
    exact_search,
    find_neighbors,
    memory_forecast,
)

DISTANCES = ("cosine", "euclidean")


@pytest.fixture
def X(rng):
    """1,500 points around 30 centres, some of them copies of others, some zero."""
    points = rng.normal(size=(30, 16))[rng.integers(0, 30, 1500)] + 0.4 * rng.normal(size=(1500, 16))
    points[100:130] = points[0]
    points[700:705] = 0
    return points.astype(np.float32)


@pytest.fixture(params=["compiled", "numpy"])
def path(request, monkeypatch):
    """Both ways in which lists are kept on the host."""
    if request.param == "numpy":
        monkeypatch.setattr(_shortlists, "plain_rows", lambda points: False)
    return request.param


def search(X, k, *, metric="cosine", backend="auto", progress=None, random_state=None, **options):
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "1 zero vectors|5 zero vectors|.*duplicates|about .* were found", ManifoldWarning
        )
        return find_neighbors(
            X,
            k,
            metric=metric,
            method=InvertedFile(**options),
            backend=backend,
            progress=progress,
            random_state=random_state,
        )


def exact(X, k, metric="cosine"):
    points = PointSet(X, metric)
    return exact_search(points, points, k=k, drop_self=True, backend=get_backend())


def assert_same(found, ids, similarities):
    np.testing.assert_array_equal(found.indices, ids)
    np.testing.assert_array_equal(found.similarities, similarities)


def assert_valid(found, X, metric, k):
    """Complete rows of other points, each with the similarity that the exact search gives the pair."""
    points, n = PointSet(X, metric), len(X)
    ids = found.indices.astype(np.int64)
    assert ids.shape == (n, k)
    assert (ids >= 0).all()
    assert not (ids == np.arange(n)[:, None]).any()
    with np.errstate(under="ignore"):
        near = points.compare(points.rows(ids), points.rows(slice(None)))
    np.testing.assert_array_equal(found.similarities, near)
    order = np.lexsort((ids, -near))
    np.testing.assert_array_equal(order, np.broadcast_to(np.arange(k), ids.shape))


@pytest.mark.parametrize("metric", DISTANCES)
def test_near_neighbours_are_found_and_their_similarities_are_exact(metric, X, path):
    found = search(X, 10, metric=metric, recall=0.95)
    assert_valid(found, X, metric, 10)
    assert found.method == "inverted_file"
    _, similarities = exact(X, 10, metric)
    assert found.facts["n_probes"] < found.facts["n_cells"] / 2
    assert (found.similarities >= similarities[:, -1:]).mean() > 0.95


@pytest.mark.parametrize("metric", DISTANCES)
@pytest.mark.parametrize("n_cells", [1, 7, 1500])
def test_with_all_cells_probed_the_search_is_exact(metric, n_cells, X, path):
    X = X[:500]
    n_cells = min(n_cells, 500)
    found = search(X, 12, metric=metric, n_cells=n_cells, n_probes=n_cells, n_refinements=0)
    assert found.facts == {"n_cells": n_cells, "n_probes": n_cells, "recall": 1.0}
    rows = np.r_[1:100, 130:500]  # of 30 copies a list of 12 holds those that rounding proposes
    ids, similarities = exact(X, 12, metric)
    np.testing.assert_array_equal(found.similarities, similarities)
    np.testing.assert_array_equal(found.indices[rows], ids[rows])


@pytest.mark.parametrize("metric", DISTANCES)
@pytest.mark.parametrize(
    "options", [{}, {"n_probes": 1}, {"n_probes": 3, "n_refinements": 2}, {"n_cells": 90, "n_probes": 4}]
)
def test_compiled_lists_are_those_of_numpy(metric, options, X, monkeypatch):
    compiled = search(X, 9, metric=metric, **options)
    monkeypatch.setattr(_shortlists, "plain_rows", lambda points: False)
    plain = search(X, 9, metric=metric, **options)
    assert_same(plain, compiled.indices, compiled.similarities)
    assert plain.facts == compiled.facts


@pytest.mark.parametrize("metric", DISTANCES)
def test_a_device_finds_what_the_host_finds(metric, X):
    X = X[130:700]  # without copies, among which rounding chooses
    device = StrictBackend()
    found = search(X, 9, metric=metric, backend=device, n_probes=3)
    host = search(X, 9, metric=metric, n_probes=3)
    assert_same(found, host.indices, host.similarities)
    assert device.n_syncs < 200  # a few a cell, none a point


def test_same_bits_for_any_number_of_threads_and_blocks(X, path, monkeypatch):
    with threadpool_limits(1):
        alone = search(X, 9, n_probes=3)
    for count in (2, 5):
        monkeypatch.setattr(_threads, "thread_count", lambda at_most=None, count=count: count)
        assert_same(search(X, 9, n_probes=3), alone.indices, alone.similarities)
    monkeypatch.setattr(_shortlists, "_ROWS", 64)  # other shapes of products: only copies may differ
    monkeypatch.setattr(_shortlists, "_BLOCK", 64 * 20)
    monkeypatch.setattr(_shortlists, "_MEMBERS", 20)
    other = search(X, 9, n_probes=3)
    rows = np.r_[1:100, 130:700, 705:1500]
    np.testing.assert_array_equal(other.similarities, alone.similarities)
    np.testing.assert_array_equal(other.indices[rows], alone.indices[rows])


class TestTwoLevels:
    """Cells of cells: what many cells are made of, here made of few."""

    @pytest.fixture(autouse=True)
    def _many(self, monkeypatch):
        monkeypatch.setattr(_kmeans, "FLAT", 20)
        monkeypatch.setattr(_large_cells, "_NEAR", 4)

    @pytest.mark.parametrize("metric", DISTANCES)
    def test_near_neighbours_are_found(self, metric, X, path):
        found = search(X, 10, metric=metric, n_cells=80)
        assert_valid(found, X, metric, 10)
        assert 60 < found.facts["n_cells"] <= 80
        assert (found.similarities >= exact(X, 10, metric)[1][:, -1:]).mean() > 0.96

    def test_with_all_cells_probed_the_search_is_exact(self, X):
        X = X[130:630]
        found = search(X, 9, n_cells=50, n_probes=50, n_refinements=0)
        assert_same(found, *exact(X, 9))

    def test_the_cells_of_a_point_are_nearest_first_and_mostly_the_nearest(self, X):
        means = _kmeans.KMeans(PointSet(X, "cosine"), 80, backend=get_backend(), rng=np.random.default_rng(3))
        assert set(means.owner.tolist()) == set(range(len(means.supers)))
        probes = means.nearest(None, 6)
        distances = ((PointSet(X, "cosine").rows(slice(None))[:, None] - means.centres[None]) ** 2).sum(axis=2)
        near = np.take_along_axis(distances, probes, axis=1)
        assert (np.diff(near, axis=1) > -1e-5).all()
        assert all(len(set(row)) == 6 for row in probes.tolist())
        assert (near[:, 0] <= distances.min(axis=1) + 1e-5).mean() > 0.9
        np.testing.assert_array_equal(means.nearest(np.arange(10, 40), 6), probes[10:40])

    def test_cells_with_near_numbers_are_near(self, rng):
        centres = rng.random((256, 2)).astype(np.float32)
        near = centres[_large_cells.near_order(centres)]
        steps = np.linalg.norm(np.diff(near, axis=0), axis=1)
        assert steps.mean() < np.linalg.norm(np.diff(centres, axis=0), axis=1).mean() / 4


def test_the_seed_decides_and_none_is_a_seed(X):
    first, second, other = (search(X, 9, n_probes=1, n_refinements=0, random_state=seed) for seed in (None, 0, 1))
    assert_same(first, second.indices, second.similarities)
    assert (other.indices != first.indices).any()


LAYOUTS = {
    "fortran": lambda X, path: np.asfortranarray(X),
    "strided": lambda X, path: np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3],
    "memmap": lambda X, path: np.load(path, mmap_mode="r"),
    "unaligned": lambda X, path: np.frombuffer(b"x" + X.tobytes(), np.float32, offset=1).reshape(X.shape),
    "float64": lambda X, path: X.astype(np.float64),
}


@pytest.mark.parametrize("metric", DISTANCES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_and_dtype_do_not_change_a_bit(layout, metric, X, tmp_path):
    np.save(tmp_path / "X.npy", X)
    plain = search(X, 7, metric=metric, n_probes=2)
    given = LAYOUTS[layout](X, tmp_path / "X.npy")
    given.flags.writeable = False
    other = search(given, 7, metric=metric, n_probes=2)
    assert_same(other, plain.indices, plain.similarities)


@pytest.mark.parametrize("scale", [1e-33, 1e33])
def test_rows_of_extreme_length(scale, X, path):
    X[5] *= np.float32(scale)
    assert_valid(search(X, 7), X, "cosine", 7)


@pytest.mark.parametrize(("n", "k"), [(2, 1), (3, 2), (12, 5), (12, 11), (40, 39)])
def test_few_points(n, k, X, path):
    found = search(X[:n], k)
    ids, similarities = exact(X[:n], k)
    assert_same(found, ids, similarities)


def test_one_point_has_no_neighbours(X):
    assert find_neighbors(X[:1], 3, method="inverted_file").indices.shape == (1, 0)


def test_nothing_but_copies(path):
    found = search(np.ones((300, 4), np.float32), 5, n_cells=20, n_probes=2)
    assert_valid(found, np.ones((300, 4), np.float32), "cosine", 5)
    assert found.facts["recall"] == 1


@pytest.mark.parametrize("metric", DISTANCES)
def test_rows_that_meet_too_few_are_searched_exactly(metric, X, path):
    X = X[130:700]
    found = search(X, 30, metric=metric, n_cells=57, n_probes=1, n_refinements=0)
    assert found.n_repaired > 100
    assert_valid(found, X, metric, 30)


def test_refinement_finds_more(X):
    recall = []
    _, similarities = exact(X, 10)
    for n_refinements in range(3):
        found = search(X, 10, n_cells=60, n_probes=2, n_refinements=n_refinements)
        recall.append((found.similarities >= similarities[:, -1:]).mean())
    assert recall[0] < recall[1] - 0.01
    assert recall[1] <= recall[2]


def test_the_recall_asked_for_sets_the_probes(X):
    _, similarities = exact(X, 10)
    probes = []
    for recall in (0.5, 0.9, 0.99, 1.0):
        found = search(X, 10, recall=recall, n_cells=40, n_refinements=0)
        probes.append(found.facts["n_probes"])
        assert (found.similarities >= similarities[:, -1:]).mean() > recall - 0.02
    assert probes == sorted(probes)
    assert probes[0] < probes[-1]


def test_cells_that_are_far_are_passed_over_but_for_two(X):
    points, reach = PointSet(X, "euclidean"), 1.3
    means = _kmeans.KMeans(points, 40, backend=get_backend(), rng=np.random.default_rng(3))
    far = np.empty((len(X), 12), np.float32)
    cells = means.nearest(None, 12, far=far)
    distances = np.linalg.norm(points.centred(slice(None))[:, None] - means.centres[cells], axis=2)
    copies = distances[:, 3] < 1e-3  # rounding decides how far they are from their own centre
    times = distances / distances[:, :4].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(far[~copies], times[~copies], rtol=0.02)
    near = means.nearest(None, 12, reach)
    kept = far <= reach
    kept[:, :2] = True
    np.testing.assert_array_equal(near, np.where(kept, cells, _large_cells.NOWHERE))
    assert 0.1 < kept.mean() < 0.9


def test_the_recall_stated_is_that_of_the_lists(X):
    _, similarities = exact(X, 10)
    found = search(X, 10, n_cells=60, n_probes=1)
    assert found.facts["recall"] == pytest.approx((found.similarities >= similarities[:, -1:]).mean(), abs=0.06)
    few = search(X[130:380], 10, n_cells=30, n_probes=1, n_refinements=0)  # all of them are in the sample
    exact_few = exact(X[130:380], 10)[1]
    assert few.facts["recall"] == pytest.approx((few.similarities >= exact_few[:, -1:]).mean(), abs=5e-5)


def test_a_low_recall_is_told(rng):
    noise = rng.normal(size=(2000, 40)).astype(np.float32)
    with pytest.warns(ManifoldWarning, match=r"about \d+% of the 10 nearest neighbours were found: raise n_probes=1"):
        found = find_neighbors(noise, 10, method=InvertedFile(n_probes=1))
    assert found.facts["recall"] < 0.9


def test_what_it_does_not_serve(X):
    with pytest.raises(ValueError, match=r"needs a distance.*use method='exact'"):
        find_neighbors(X, 5, method="inverted_file", metric="inner_product")
    with pytest.raises(ValueError, match="overflow float32"):
        find_neighbors(np.where(X == 0, 1, X) * np.float32(1e25), 5, method="inverted_file", metric="euclidean")
    for options, message in (
        ({"recall": 0}, r"recall must lie in \(0, 1\]"),
        ({"n_cells": 0}, "n_cells must be at least 1"),
        ({"n_probes": 0}, "n_probes must be at least 1"),
        ({"n_refinements": -1}, "n_refinements must be at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            InvertedFile(**options)
    with pytest.raises(ValueError, match=r"method must be one of .*'inverted_file'.* got 'ivf'"):
        find_neighbors(X, 5, method="ivf")


def test_progress_counts_members_of_cells(X):
    seen = []
    search(X, 5, n_cells=10, n_probes=2, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (1500, 1500)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert len(seen) <= 10


@settings(max_examples=40, deadline=None)
@given(
    X=hnp.arrays(np.float32, st.tuples(st.integers(2, 40), st.integers(1, 5)), elements=st.floats(-8, 8, width=16)),
    k=st.integers(1, 12),
    metric=st.sampled_from(DISTANCES),
    n_cells=st.integers(1, 50),
    n_probes=st.integers(1, 50) | st.none(),
)
def test_any_points_give_valid_lists(X, k, metric, n_cells, n_probes):
    k = min(k, len(X) - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ManifoldWarning)
        found = find_neighbors(X, k, metric=metric, method=InvertedFile(n_cells=n_cells, n_probes=n_probes))
    assert_valid(found, X, metric, k)


class TestAllPairs:
    @pytest.fixture(autouse=True)
    def _always(self, monkeypatch):
        monkeypatch.setattr(_all_pairs, "_WORTH", 0)
        monkeypatch.setattr(_all_pairs, "_TILE", 200)
        monkeypatch.setattr(_shortlists, "_ROWS", 128)

    @pytest.mark.parametrize("metric", [*DISTANCES, "inner_product"])
    @pytest.mark.parametrize("k", [1, 10, 60])
    def test_the_bits_of_a_search_by_queries(self, metric, k, X):
        points = PointSet(X, metric)  # copies and all: what rounding leaves open is looked at again
        found = _all_pairs.all_pairs_search(points, k=k, backend=get_backend())
        for ours, theirs in zip(found, exact(X, k, metric), strict=True):
            np.testing.assert_array_equal(ours, theirs)

    def test_near_ties_beyond_the_spare_candidates(self, rng):
        X = (rng.normal(size=96) + 3e-4 * rng.normal(size=(500, 96))).astype(np.float32)
        for metric in DISTANCES:
            found = _all_pairs.all_pairs_search(PointSet(X, metric), k=5, backend=get_backend())
            for ours, theirs in zip(found, exact(X, 5, metric), strict=True):
                np.testing.assert_array_equal(ours, theirs)

    def test_every_other_point(self, X):
        ids, similarities = _all_pairs.all_pairs_search(PointSet(X[:300], "cosine"), k=299, backend=get_backend())
        for ours, theirs in zip((ids, similarities), exact(X[:300], 299), strict=True):
            np.testing.assert_array_equal(ours, theirs)

    def test_progress(self, X):
        seen = []
        _all_pairs.all_pairs_search(
            PointSet(X, "cosine"), k=3, backend=get_backend(), progress=lambda *at: seen.append(at)
        )
        assert seen == [(min(done, 1500), 1500) for done in range(200, 1601, 200)]


class TestSelection:
    @pytest.mark.parametrize("k", [1, 5, 64])
    def test_top_k_of_awkward_values(self, k, rng):
        from manifold.backends.compiled_lists import top_k

        values = rng.integers(-3, 3, size=(400, 300)).astype(np.float32)
        values[rng.random(values.shape) < 0.05] = np.nan
        values[rng.random(values.shape) < 0.05] = -np.inf
        values[rng.random(values.shape) < 0.05] = np.inf
        values[7], values[8, 3:], values[9] = np.nan, np.nan, -np.inf
        ids, best = top_k(values, k)
        want = np.argsort(-values, axis=1, kind="stable")[:, :k]
        np.testing.assert_array_equal(ids, want)
        np.testing.assert_array_equal(best, np.take_along_axis(values, want, axis=1))

    def test_large_blocks_are_selected_from_alike(self, rng):
        values = rng.normal(size=(1200, 1000)).astype(np.float32)
        ids, _ = get_backend().top_k(values, 30)
        np.testing.assert_array_equal(ids[::40], get_backend().top_k(values[::40], 30)[0])

    @settings(max_examples=60, deadline=None)
    @given(d=st.integers(1, 200), seed=st.integers(0, 99), wide=st.booleans())
    def test_row_dots_are_those_of_float64_and_blind_to_layout(self, d, seed, wide):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(2, 6, d)).astype(np.float64 if wide else np.float32)
        dots = row_dots(x, y)
        assert dots.dtype == x.dtype
        np.testing.assert_allclose(dots, (np.float64(x) * y).sum(axis=1), rtol=1e-6, atol=1e-6)
        for a, b in ((y, x), (np.asfortranarray(x), y[::-1][::-1]), (x[:, ::-1][:, ::-1], y)):
            np.testing.assert_array_equal(row_dots(a, b), dots)
        np.testing.assert_array_equal(row_dots(x[2:3], y)[2], dots[2])
        np.testing.assert_array_equal(row_dots(x[:, None], y[None])[3, 3], dots[3])


class TestChoice:
    @pytest.mark.parametrize(
        ("n", "d", "k", "options", "method"),
        [
            (5_000, 784, 50, {}, "exact"),
            (50_000, 784, 50, {}, "exact"),
            (60_000, 784, 50, {}, "inverted_file"),
            (50_000, 2048, 10, {}, "inverted_file"),
            (60_000, 128, 10, {}, "exact"),
            (1_000_000, 128, 20, {}, "inverted_file"),
            (1_000_000, 128, 20, {"on_host": False}, "exact"),
            (10_000_000, 128, 20, {"on_host": False}, "inverted_file"),
            (60_000, 784, 500, {}, "exact"),
            (1_000_000, 128, 20, {"metric": "inner_product"}, "exact"),
        ],
    )
    def test_auto(self, n, d, k, options, method):
        chosen, why = choose_method(n, d, k, **options)
        assert chosen == method
        assert why.startswith("auto: ")

    def test_a_graph_says_how_its_neighbours_were_chosen_and_what_they_are_worth(self, X, monkeypatch):
        from manifold.neighbors import _methods

        monkeypatch.setattr(_methods, "_HOST_WORK", 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ManifoldWarning)
            graph = build_graph(X, 5)
        assert graph.facts["method"] == "inverted_file"
        assert graph.facts["chosen"] == "auto: 1500^2 x 16 is much for an exact search"
        assert graph.facts["recall"] > 0.95
        assert "recall=0.9" in repr(graph) or "recall=1.0" in repr(graph)

    def test_the_forecast_covers_lists_and_probes(self):
        assert memory_forecast(1_000_000, 128, 20) > 1_000_000 * (28 * 8 + 20 * 12 + 4 * 32)


class TestFaiss:
    @pytest.mark.parametrize("metric", [*DISTANCES, "inner_product"])
    def test_a_flat_index_gives_our_neighbours(self, metric, X):
        X = X[130:700]
        found = find_neighbors(X, 9, method="faiss", metric=metric)
        ids, similarities = exact(X, 9, metric)
        assert found.method == "faiss Flat"
        assert (found.indices == ids).mean() > 0.999
        np.testing.assert_array_equal(found.similarities, similarities)

    @pytest.mark.parametrize("metric", DISTANCES)
    def test_an_inverted_file_of_faiss(self, metric, X, monkeypatch):
        from manifold.neighbors import _faiss

        monkeypatch.setattr(_faiss, "_FLAT", 100)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ManifoldWarning)
            found = find_neighbors(X, 9, method=Faiss(n_probes=4), metric=metric)
        assert found.method == "faiss IVF39,Flat"
        assert_valid(found, X, metric, 9)
        recall = (found.similarities >= exact(X, 9, metric)[1][:, -1:]).mean()
        assert recall > 0.9
        assert found.facts["recall"] == pytest.approx(recall, abs=0.03)

    def test_its_absence_names_the_cure(self, X, monkeypatch):
        monkeypatch.setitem(sys.modules, "faiss", None)
        with pytest.raises(ImportError, match=r"pip install 'manifold-search\[faiss\]'"):
            find_neighbors(X[:20], 3, method="faiss")


def test_real_images():
    try:
        X = load("usps").features
    except FileNotFoundError as error:
        pytest.skip(str(error))
    X = np.ascontiguousarray(X, dtype=np.float32)
    found = search(X, 20, metric="euclidean")
    points, rows = PointSet(X, "euclidean"), np.arange(0, len(X), 20)
    _, similarities = exact_search(points, points, k=20, rows=rows, drop_self=True, backend=get_backend())
    assert (found.similarities[rows] >= similarities[:, -1:]).mean() > 0.98
    assert found.facts["recall"] == pytest.approx((found.similarities[rows] >= similarities[:, -1:]).mean(), abs=0.02)
