"""Every method of the table against one contract; and what each alone does: here alone pynndescent runs."""

from __future__ import annotations

import dataclasses
import sys
import threading
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pynndescent
import pytest
from cases import NEIGHBORS

import manifold
from manifold.backends import get_backend
from manifold.errors import ManifoldWarning
from manifold.neighbors import (
    METHODS,
    METRICS,
    Exact,
    Faiss,
    InvertedFile,
    NNDescent,
    _faiss,
    _nn_descent,
    choose_method,
    find_neighbors,
    memory_forecast,
    point_set,
)

SEARCHES = [(case, metric) for case in NEIGHBORS for metric in case.metrics]
NAMES = [f"{case.name}, {metric}" for case, metric in SEARCHES]


@pytest.fixture(autouse=True)
def _announced(monkeypatch):
    monkeypatch.setitem(_nn_descent._STATE, "announced", True)


@pytest.fixture
def X():
    rng = np.random.default_rng(91)
    return (rng.normal(size=(20, 12))[rng.integers(0, 20, 700)] + 0.4 * rng.normal(size=(700, 12))).astype(np.float32)


class TestEveryMethod:
    @pytest.mark.parametrize(("case", "metric"), SEARCHES, ids=NAMES)
    def test_it_finds_the_neighbours_of_the_exact_search_and_their_similarities(self, case, metric, X):
        truth = find_neighbors(X, 8, metric=metric, method="exact")
        found = find_neighbors(X, 8, metric=metric, method=case.settings, random_state=3)
        assert (found.method, found.metric) == (case.said, metric)
        assert (found.similarities >= truth.similarities[:, -1:]).mean() > 0.99
        assert (found.indices >= 0).all()
        points = point_set(X, metric)
        np.testing.assert_array_equal(
            found.similarities, points.compare(points.rows(found.indices.astype(np.int64)), points.rows(slice(None)))
        )
        again = manifold.neighbors.Neighbors(**vars(found))  # keeps the promises of the strict constructor
        np.testing.assert_array_equal(again.indices, found.indices)
        assert (found.indices.dtype, found.similarities.dtype) == (np.int32, np.float32)
        for array in (found.indices, found.similarities):
            assert not array.flags.writeable

    @pytest.mark.parametrize(("case", "metric"), SEARCHES, ids=NAMES)
    def test_an_approximate_one_says_its_recall(self, case, metric, X):
        truth = find_neighbors(X[:250], 8, metric=metric, method="exact")
        found = find_neighbors(X[:250], 8, metric=metric, method=case.settings, random_state=3)
        if case.name == "exact":
            assert "recall" not in found.facts
        else:  # all of so few points are in the sample
            true = (found.similarities >= truth.similarities[:, -1:]).mean()
            assert found.facts["recall"] == pytest.approx(true, abs=5e-5)

    @pytest.mark.parametrize("case", NEIGHBORS, ids=lambda case: case.name)
    def test_what_it_does_not_serve_it_refuses_by_name(self, case, X):
        for metric in set(METRICS) - set(case.metrics):
            with pytest.raises(ValueError, match=f"method='{case.name}'.*use method='exact'"):
                find_neighbors(X, 3, method=case.name, metric=metric)
        with pytest.raises(ValueError, match="overflow float32"):
            find_neighbors(X * np.float32(1e30), 3, method=case.name, metric="euclidean")

    @pytest.mark.parametrize("case", NEIGHBORS, ids=lambda case: case.name)
    def test_a_name_is_its_default_settings(self, case):
        settings = METHODS[case.name]()
        assert type(case.settings) is type(settings)
        with pytest.raises(dataclasses.FrozenInstanceError):
            settings.anything = 1
        forecast = memory_forecast(60_000, 784, 50, method=case.name)
        assert (
            forecast == memory_forecast(60_000, 784, 50, method=settings) == settings.memory_forecast(60_000, 784, 50)
        )
        assert 60_000 * 50 * 8 < forecast < settings.memory_forecast(60_000, 784, 100)

    @pytest.mark.parametrize("case", NEIGHBORS, ids=lambda case: case.name)
    def test_settings_out_of_range_are_refused(self, case):
        counts = [f.name for f in dataclasses.fields(case.settings) if f.name.startswith(("n_", "max_"))]
        for name in counts:
            with pytest.raises(ValueError, match=f"{name} must be at least"):
                dataclasses.replace(case.settings, **{name: -1})
            with pytest.raises(TypeError, match=f"{name} must be an integer"):
                dataclasses.replace(case.settings, **{name: 2.0})

    def test_one_row_in_every_table(self):
        root = Path(manifold.__file__).parent
        assert [case.name for case in NEIGHBORS] == list(METHODS)
        sys.path.insert(0, str(root.parent))
        try:
            from bench.cases import NEIGHBORS as TIMED
        finally:
            sys.path.remove(str(root.parent))
        assert list(TIMED) == list(METHODS)
        for name, rows in TIMED.items():
            for settings, goal in rows:
                METHODS[name](**settings)
                assert 0 < goal <= 1
        plan = (root / "ARCHITECTURE.md").read_text()
        for made in METHODS.values():
            assert made.__module__.split(".")[-1] in plan


class TestDoor:
    def test_names_come_from_the_table(self, X):
        with pytest.raises(
            ValueError, match=r"must be one of \('auto', 'exact', .*, 'faiss'\) or its settings, got 'ivf'"
        ):
            find_neighbors(X, 3, method="ivf")
        with pytest.raises(ValueError, match="got 'ivf'"):
            memory_forecast(10, 2, 3, method="ivf")

    @pytest.mark.parametrize("method", [InvertedFile, 3, None])
    def test_what_are_no_settings_is_refused(self, method, X):
        with pytest.raises(TypeError, match=r"a name or settings such as InvertedFile\(recall=0.99\)"):
            find_neighbors(X, 3, method=method)

    def test_auto_is_the_choice_and_says_why_where_it_is_not_exact(self, X, monkeypatch):
        from manifold.neighbors import _methods

        assert find_neighbors(X, 3).facts == {}
        monkeypatch.setattr(_methods, "_HOST_WORK", 0)
        chosen, why = choose_method(700, 12, 2)
        found = find_neighbors(X, 2)
        assert (
            (found.method, found.facts["chosen"])
            == (chosen, why)
            == ("inverted_file", "auto: 700^2 x 12 is much for an exact search")
        )
        named = find_neighbors(X, 2, method="inverted_file")
        assert found.facts == {**named.facts, "chosen": why}
        np.testing.assert_array_equal(named.indices, found.indices)

    def test_settings_of_ones_own_are_as_good(self, X):
        class Half:
            def search(self, points, k, *, backend, random_state=None, progress=None):
                assert backend is get_backend("scipy")
                return Exact().search(points, k, backend=backend).first(k // 2)

            def memory_forecast(self, n, d, k):
                return n * k

        found = find_neighbors(X, 6, method=Half())
        np.testing.assert_array_equal(found.indices, find_neighbors(X, 3).indices)


class TestRecall:
    def test_a_low_one_of_faiss_is_told(self, monkeypatch, rng):
        monkeypatch.setattr(_faiss, "_FLAT", 100)
        noise = rng.normal(size=(2000, 40)).astype(np.float32)
        with pytest.warns(
            ManifoldWarning, match=r"about \d+% of the 10 nearest neighbours .*raise n_probes=1 of Faiss"
        ):
            found = find_neighbors(noise, 10, method=Faiss(n_probes=1))
        assert 0 < found.facts["recall"] < 0.9

    def test_a_low_one_of_nn_descent_is_told(self, rng):
        noise = rng.normal(size=(2000, 40)).astype(np.float32)
        with pytest.warns(
            ManifoldWarning, match=r"about \d+% of the 10 nearest .*raise max_candidates or n_iters of NND"
        ):
            found = find_neighbors(noise, 10, method=NNDescent(n_iters=1, max_candidates=1), random_state=3)
        assert 0 < found.facts["recall"] < 0.9

    def test_it_is_that_of_all_points_up_to_the_sample(self, X):
        _, similarities = (x for x in vars(find_neighbors(X, 8)).values() if isinstance(x, np.ndarray))
        found = find_neighbors(X, 8, method=InvertedFile(n_probes=1, n_cells=20, n_refinements=0))
        true = (found.similarities >= similarities[:, -1:]).mean()
        assert found.facts["recall"] == pytest.approx(true, abs=0.03)


class TestNNDescent:
    """Its compilation is paid once, in this file."""

    @pytest.fixture
    def points(self):
        rng = np.random.default_rng(317)
        centres = rng.normal(size=(40, 16))[rng.integers(0, 40, 1500)]
        return (centres + 0.4 * rng.normal(size=(1500, 16))).astype(np.float32)

    def test_the_compilation_is_announced_once(self, points, monkeypatch):
        monkeypatch.setitem(_nn_descent._STATE, "announced", False)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            find_neighbors(points[:100], 5, method="nn_descent", random_state=3)
            find_neighbors(points[:100], 5, method="nn_descent", random_state=3)
        announced = [one.filename for one in caught if "compiles for about" in str(one.message)]
        assert announced == [__file__]

    @pytest.mark.parametrize("metric", ["cosine", "euclidean"])
    def test_recall_and_exact_similarities(self, points, metric):
        exact = find_neighbors(points, 10, metric=metric)
        found = find_neighbors(points, 10, metric=metric, method="nn_descent", random_state=5)
        assert found.method == "nn_descent"
        shared = [np.intersect1d(a, b).size for a, b in zip(exact.indices, found.indices, strict=True)]
        assert np.mean(shared) / 10 > 0.95
        assert not (found.indices == np.arange(1500)[:, None]).any()
        assert (found.indices >= 0).all()
        for i, row in enumerate(found.indices[:50]):  # a neighbour found by both has the same bits
            for j, value in zip(row, found.similarities[i], strict=True):
                at = np.flatnonzero(exact.indices[i] == j)
                assert at.size == 0 or exact.similarities[i, at[0]] == value

    def test_the_same_seed_gives_the_same_answer_on_one_thread(self, points):
        import numba

        threads = numba.get_num_threads()
        numba.set_num_threads(1)
        try:
            a, b = (find_neighbors(points, 10, method="nn_descent", random_state=7) for _ in range(2))
        finally:
            numba.set_num_threads(threads)
        np.testing.assert_array_equal(a.indices, b.indices)
        np.testing.assert_array_equal(a.similarities, b.similarities)

    def test_incomplete_rows_are_searched_again_and_counted(self, points, monkeypatch):
        built = pynndescent.NNDescent

        def leave_holes(*args, **kwargs):
            ids, distances = (part.copy() for part in built(*args, **kwargs).neighbor_graph)
            ids[5, 3:] = -1
            distances[9, 2] = np.inf
            ids[11, :] = 11  # self, again and again
            return SimpleNamespace(neighbor_graph=(ids, distances))

        monkeypatch.setattr(pynndescent, "NNDescent", leave_holes)
        found = find_neighbors(points, 10, method="nn_descent", random_state=5)
        exact = find_neighbors(points, 10)
        assert found.n_repaired == 3
        for i in (5, 9, 11):
            np.testing.assert_array_equal(found.indices[i], exact.indices[i])
            np.testing.assert_array_equal(found.similarities[i], exact.similarities[i])

    @pytest.mark.parametrize("n", [2, 3, 12])
    def test_few_points(self, points, n):
        found = find_neighbors(points[:n], n - 1, method="nn_descent", random_state=5)
        exact = find_neighbors(points[:n], n - 1)
        np.testing.assert_array_equal(found.indices, exact.indices)

    def test_duplicates_and_zero_vectors(self, points):
        X = points[:300].copy()
        X[100:104] = X[0]
        X[200] = 0
        with pytest.warns(ManifoldWarning, match="1 zero vectors"):
            found = find_neighbors(X, 8, method="nn_descent", random_state=5)
        assert np.isfinite(found.similarities).all()
        assert {100, 101, 102, 103} <= set(found.indices[0].tolist())

    def test_two_threads_build_one_after_the_other(self, points):
        inside, most = [], []
        built = pynndescent.NNDescent

        def watched(*args, **kwargs):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.05)
            try:
                return built(*args, **kwargs)
            finally:
                inside.pop()

        results = {}

        def build(name):
            results[name] = find_neighbors(points, 10, method="nn_descent", random_state=5)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pynndescent, "NNDescent", watched)
            threads = [threading.Thread(target=build, args=(name,)) for name in "ab"]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len(results) == 2
        assert max(most) == 1

    def test_the_inner_product_is_no_distance(self, points):
        with pytest.raises(ValueError, match="use method='exact'"):
            find_neighbors(points, 5, method="nn_descent", metric="inner_product")

    def test_a_generator_is_a_seed_too(self, points):
        import numba

        threads = numba.get_num_threads()
        numba.set_num_threads(1)
        try:
            seeds = (np.random.default_rng(7), np.random.default_rng(7))
            a, b = (find_neighbors(points, 10, method="nn_descent", random_state=seed) for seed in seeds)
        finally:
            numba.set_num_threads(threads)
        np.testing.assert_array_equal(a.indices, b.indices)
