"""Fused rankings, against their formulas in float64 and by hand."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from memory import peak_over_forecast

import manifold as mf
from manifold.reranking import fuse_rankings, fusion


def unit(X):
    X = np.float64(X)
    norms = np.linalg.norm(X, axis=-1, keepdims=True)
    return X / np.where(norms > 0, norms, 1)


@pytest.fixture
def data(rng):
    return rng.normal(size=(200, 8)).astype(np.float32), rng.normal(size=(9, 8)).astype(np.float32)


class TestFusion:
    def test_min_max_of_dense_scores(self, rng):
        a, b = rng.normal(size=(2, 5, 30))
        scale = lambda s: (s - s.min(axis=1, keepdims=True)) / np.ptp(s, axis=1, keepdims=True)  # noqa: E731
        expected = 2 * scale(a) + 0.5 * scale(b)
        rankings = [(np.argsort(-s, axis=1), -np.sort(-s, axis=1)) for s in (a, b)]
        ids, scores = fuse_rankings(rankings, weights=(2, 0.5), k=30)
        np.testing.assert_array_equal(ids, np.argsort(-expected, axis=1))
        np.testing.assert_allclose(scores, -np.sort(-expected, axis=1), atol=1e-12)

    def test_reciprocal_ranks_by_hand(self):
        ids, scores = fuse_rankings(
            [([["a", "b"]], [[9.0, 1.0]]), ([["b", ""]], [[0.2, 5]])], rule="reciprocal_rank", k=3
        )
        assert ids.tolist() == [["b", "a", ""]]
        np.testing.assert_allclose(scores, [[1 / 62 + 1 / 61, 1 / 61, 0]])

    def test_one_ranking_stays_as_it_is(self, data):
        X, Q = data
        ranking = mf.ManifoldSearch(preset="plain-diffusion").fit(X).search(Q, k=20)
        ids, scores = fuse_rankings([ranking], rule="sum", k=20)
        np.testing.assert_allclose(scores, ranking.scores)
        assert [set(row) for row in ids.tolist()] == [set(row) for row in ranking.ids.tolist()]

    def test_similarity_beside_diffusion(self, data):
        """Fusing with the nearest neighbours keeps the first of both: the cure where a query has few relatives."""
        X, Q = data
        s = unit(Q) @ unit(X).T
        near = np.argsort(-s, axis=1)
        diffused = mf.ManifoldSearch(preset="plain-diffusion").fit(X).search(Q, k=200)
        only_near, _ = fuse_rankings([(near, -np.sort(-s, axis=1)), diffused], weights=(1, 0), k=200)
        np.testing.assert_array_equal(only_near, near)

    @pytest.mark.parametrize("far", [1e308, 1.7e308])
    def test_scores_far_apart_are_finite(self, far):
        """The largest is 1 and the least 0, whatever lies between them: differences beyond float64 included."""
        ids, scores = fuse_rankings([([[1, 2, 3, 4]], [[far, far / 2, 0.0, -far]])], k=4)
        assert ids.tolist() == [[1, 2, 3, 4]]
        np.testing.assert_allclose(scores, [[1, 0.75, 0.5, 0]], rtol=1e-15)
        both = fuse_rankings([([[1, 2]], [[far, -far]]), ([[2, 1]], [[0.5, 0.1]])], weights=(1, 3), k=2)
        assert both[0].tolist() == [[2, 1]]
        assert both[1].tolist() == [[3, 1]]

    def test_tiny_scores_keep_their_order(self):
        tiny = 5e-324
        ids, scores = fuse_rankings([([[1, 2, 3]], [[3 * tiny, 2 * tiny, 0.0]])], k=3)
        assert ids.tolist() == [[1, 2, 3]]
        np.testing.assert_allclose(scores, [[1, 2 / 3, 0]])

    @pytest.mark.parametrize("rule", ["min_max", "reciprocal_rank", "sum"])
    def test_negative_cosines_keep_their_order(self, rule):
        s = np.array([[-0.1, -0.25, -0.3, -0.9]])
        ids, scores = fuse_rankings([([[7, 5, 9, 2]], s), ([[7, 5, 9, 2]], s)], rule=rule, k=4)
        assert ids.tolist() == [[7, 5, 9, 2]]
        assert (np.diff(scores) < 0).all()
        if rule == "min_max":
            np.testing.assert_allclose(scores, 2 * (s + 0.9) / 0.8)

    def test_sums_beyond_float64_are_refused(self):
        lists = [([[1, 2]], [[1e308, 0.0]])] * 2
        with pytest.raises(ValueError, match="weighted scores of rule='sum' exceed float64"):
            fuse_rankings(lists, rule="sum")
        with pytest.raises(ValueError, match="weighted scores of rule='min_max' exceed float64"):
            fuse_rankings(lists, weights=[1.5e308, 1.5e308])

    def test_unsigned_ids_stay_exact_beside_signed_ones(self):
        a, b = 2**60 + 1, 2**60 + 3
        ids, _ = fuse_rankings(
            [(np.array([[a, b]], np.uint64), [[0.9, 0.8]]), (np.array([[b, -1]]), [[0.5, 0.0]])], k=3
        )
        assert ids.tolist() == [[a, b, -1]]
        largest = np.array([[2**64 - 1]], np.uint64)
        ids, _ = fuse_rankings([(largest, [[1.0]]), (np.array([[-1, 7]]), [[0.0, 0.5]])], k=3)
        assert ids.tolist() == [[7, 2**64 - 1, -1]]  # equal scores by ascending id

    def test_ids_of_every_kind_that_a_search_answers_with(self):
        one, other, third = sorted(uuid.uuid4() for _ in range(3))
        ids, scores = fuse_rankings([([[one, other]], [[0.9, 0.1]]), ([[other, None, third]], [[0.8, 0.0, 0.4]])], k=4)
        assert ids.tolist() == [[one, other, third, None]]
        assert scores.tolist() == [[1.0, 1.0, 0.0, 0.0]]
        texts = np.array([["b", "a"]], np.dtypes.StringDType())
        assert fuse_rankings([(texts, [[0.9, 0.1]])], k=2)[0].tolist() == [["b", "a"]]
        with pytest.raises(ValueError, match="ids must be integers, strings or UUIDs, got dtype float64"):
            fuse_rankings([([[0.5]], [[1.0]])])

    def test_rows_that_list_nothing(self):
        ids, scores = fuse_rankings([([[-1, -1], [3, -1]], [[0.0, 0.0], [-2.0, 0.0]])], k=1)
        assert (ids.tolist(), scores.tolist()) == ([[-1], [3]], [[0.0], [1.0]])

    def test_the_forecast_covers_the_peak(self, monkeypatch, rng):
        ids = np.array([rng.permutation(5000)[:100] for _ in range(400)])
        lists = [(ids, -np.sort(-rng.random((400, 100))))] * 3
        assert 0.4 < peak_over_forecast(lambda: fuse_rankings(lists), monkeypatch, fusion) <= 1

    def test_bad_input(self):
        good = ([[1, 2]], [[0.5, 0.4]])
        with pytest.raises(ValueError, match="rule must be one of"):
            fuse_rankings([good], rule="max")
        with pytest.raises(ValueError, match="got 0 and weights"):
            fuse_rankings([])
        with pytest.raises(ValueError, match="one weight >= 0 each"):
            fuse_rankings([good], weights=[-1])
        with pytest.raises(ValueError, match="name an item twice"):
            fuse_rankings([([[1, 1]], [[0.5, 0.4]])])
        with pytest.raises(ValueError, match="with ids of one kind"):
            fuse_rankings([good, ([["a"]], [[1.0]])])
        with pytest.raises(ValueError, match="NaN or infinity"):
            fuse_rankings([([[1]], [[np.nan]])])
        with pytest.raises(ValueError, match="constant must be positive"):
            fuse_rankings([good], rule="reciprocal_rank", constant=0)
