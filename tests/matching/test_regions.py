"""Activations to vectors: the grid of boxes and the rules that pool a box, by hand; whitening by its covariance."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifold.matching import pca_whitening, region_vectors, rmac_regions
from manifold.matching.descriptors import cross_dimensional_pool, generalized_mean_pool, max_pool, sum_pool


class TestGrid:
    def test_the_boxes_of_a_map_of_four_to_three(self):
        boxes = rmac_regions(24, 32)
        assert boxes[:3].tolist() == [[0, 0, 24, 32], [0, 0, 24, 24], [0, 8, 24, 32]]
        second = [[y, x, y + 16, x + 16] for y in (0, 8) for x in (0, 8, 16)]
        third = [[y, x, y + 12, x + 12] for y in (0, 6, 12) for x in (0, 6, 13, 20)]
        assert boxes[3:].tolist() == second + third

    def test_turning_the_map_turns_the_boxes(self):
        turned = rmac_regions(32, 24)[:, [1, 0, 3, 2]]
        assert sorted(turned.tolist()) == sorted(rmac_regions(24, 32).tolist())

    @pytest.mark.parametrize(("height", "width", "levels", "count"), [(30, 30, 3, 14), (30, 30, 1, 1), (30, 40, 3, 21)])
    def test_as_many_as_in_the_paper(self, height, width, levels, count):
        assert len(rmac_regions(height, width, levels=levels)) == count

    @pytest.mark.parametrize(("width", "overlap", "squares"), [(16, 0.4, 2), (22, 0.4, 3), (28, 0.4, 4), (22, 0.0, 2)])
    def test_the_overlap_of_the_largest_squares_is_nearest_to_the_one_asked_for(self, width, overlap, squares):
        found = rmac_regions(10, width, levels=1, overlap=overlap)[1:]
        assert len(found) == squares
        reached = lambda count: abs(1 - (width - 10) / ((count - 1) * 10) - overlap)  # noqa: E731
        assert reached(squares) <= min(reached(count) for count in range(2, 9)) + 1e-12

    @settings(max_examples=100, deadline=None)
    @given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 5))
    def test_boxes_lie_inside_are_distinct_and_reach_the_edges(self, height, width, levels):
        boxes = rmac_regions(height, width, levels=levels)
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, :2] < boxes[:, 2:]).all()
        assert (boxes[:, 2:] <= [height, width]).all()
        assert len(np.unique(boxes, axis=0)) == len(boxes)
        assert boxes[0].tolist() == [0, 0, height, width]
        assert boxes[1:, 3].max(initial=width) == width

    def test_bad_arguments_are_named(self):
        with pytest.raises(ValueError, match=r"overlap must lie in \[0, 1\), got 1"):
            rmac_regions(3, 4, overlap=1)
        with pytest.raises(ValueError, match="height must be at least 1, got 0"):
            rmac_regions(0, 4)
        with pytest.raises(TypeError, match="levels must be an integer"):
            rmac_regions(3, 4, levels=2.0)


class TestDescriptors:
    X = np.array([[[1.0, 0.0, 2.0], [3.0, 0.0, 0.0]], [[0.0, 4.0, 0.0], [2.0, 0.0, 0.0]]])

    def test_maximum_and_sum(self):
        assert max_pool(self.X).tolist() == [3, 4, 2]
        assert sum_pool(self.X).tolist() == [6, 4, 2]

    def test_generalized_mean(self):
        np.testing.assert_allclose(generalized_mean_pool(self.X), np.cbrt([36 / 4, 64 / 4, 8 / 4]), rtol=1e-6)
        np.testing.assert_allclose(generalized_mean_pool(self.X, p=1), sum_pool(self.X) / 4, atol=1e-5)
        np.testing.assert_allclose(generalized_mean_pool(self.X, p=1000), max_pool(self.X), rtol=2e-3)
        assert np.isfinite(generalized_mean_pool(1e30 * self.X, p=50)).all()
        with pytest.raises(ValueError, match="p must be a finite number > 0, got 0"):
            generalized_mean_pool(self.X, p=0)

    def test_cross_dimensional_weights(self):
        # channels add up to 3, 3, 4, 2 at the four places: ||s|| = sqrt(38); shares of cells not 0: 3/4, 1/4, 1/4
        place = np.sqrt(np.array([3, 3, 4, 2]) / np.sqrt(38))
        pooled = np.array([place[0] + 3 * place[1] + 2 * place[3], 4 * place[2], 2 * place[0]])
        rarity = np.log(1.25 / np.array([0.75, 0.25, 0.25]))
        np.testing.assert_allclose(cross_dimensional_pool(self.X), pooled * rarity, rtol=1e-4)

    @pytest.mark.parametrize("pool", [max_pool, sum_pool, generalized_mean_pool, cross_dimensional_pool])
    def test_a_batch_is_its_images(self, pool, rng):
        batch = np.maximum(rng.normal(size=(3, 4, 5, 6)), 0)
        np.testing.assert_allclose(pool(batch), np.stack([pool(x) for x in batch]), rtol=1e-12)


class TestRegionVectors:
    def test_boxes_are_cut_pooled_and_of_unit_length(self, rng):
        x = np.maximum(rng.normal(size=(8, 6, 5)), 0)
        boxes = np.array([[0, 0, 8, 6], [2, 1, 5, 3]])
        for name, pool in (("mac", max_pool), ("spoc", sum_pool), ("crow", cross_dimensional_pool)):
            expected = np.stack([pool(x), pool(x[2:5, 1:3])])
            expected /= np.linalg.norm(expected, axis=1, keepdims=True)
            np.testing.assert_allclose(region_vectors(x, boxes, descriptor=name), expected, rtol=1e-5, atol=1e-7)
        five = region_vectors(x, boxes, descriptor=partial(generalized_mean_pool, p=5))
        expected = generalized_mean_pool(x, p=5)
        np.testing.assert_allclose(five[0], expected / np.linalg.norm(expected), rtol=1e-5)
        assert region_vectors(x).shape == (len(rmac_regions(8, 6)), 5)

    def test_a_dark_box_has_the_zero_vector(self):
        x = np.zeros((4, 4, 3))
        x[0, 0] = 1
        for name in ("mac", "spoc", "crow"):
            assert region_vectors(x, [[2, 2, 4, 4]], descriptor=name).tolist() == [[0, 0, 0]]

    @pytest.mark.parametrize(
        ("x", "more", "message"),
        [
            (np.ones((4, 4)), {}, r"activations must have shape \(H, W, K\), got \(4, 4\)"),
            (-np.ones((4, 4, 2)), {}, "finite and >= 0: take them after the rectifier"),
            (np.full((4, 4, 2), np.nan), {}, "finite and >= 0"),
            (np.ones((4, 4, 2)), {"boxes": [[0, 0, 5, 4]]}, r"box \[0, 0, 5, 4\] .*4 x 4 map"),
            (np.ones((4, 4, 2)), {"boxes": [[2, 0, 2, 4]]}, r"box \[2, 0, 2, 4\] .*holds no cell"),
            (np.ones((4, 4, 2)), {"descriptor": "vlad"}, "descriptor must be one of .*got 'vlad'"),
        ],
    )
    def test_bad_arguments_are_named(self, x, more, message):
        with pytest.raises(ValueError, match=message):
            region_vectors(x, **more)


def test_boxes_are_counted_in_whole_cells():
    with pytest.raises(TypeError, match="boxes must hold integers"):
        region_vectors(np.ones((4, 4, 2)), boxes=[[0.0, 0, 1, 1]])


def test_whitening_has_unit_covariance_before_the_last_step(rng):
    X = rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6)) + 3
    whitening = pca_whitening(4).fit(X)
    white = whitening[:-1].transform(X)
    np.testing.assert_allclose(np.cov(white.T), np.eye(4), atol=1e-10)
    vectors = whitening.transform(X)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(vectors, white / np.linalg.norm(white, axis=1, keepdims=True), rtol=1e-10)
    np.testing.assert_allclose(whitening.transform(7 * X), vectors, rtol=1e-8)  # lengths are of no account
