"""Compiled passes over correspondences, against loops of plain Python."""

from __future__ import annotations

import numpy as np
import pytest

from manifold.backends import hough_votes, match_lists, spatial_inliers


@pytest.fixture
def images(rng):
    """Words of five images, ascending in each; -1 is none."""
    counts = np.array([7, 0, 12, 5, 9])
    words = np.concatenate([np.sort(rng.integers(-1, 5, n)) for n in counts]).astype(np.int32)
    return words, np.concatenate([[0], np.cumsum(counts)])


def test_features_that_share_a_word(images):
    words, indptr = images
    pairs = np.array([[0, 2], [2, 3], [1, 4], [4, 4]])
    expected = [
        [
            (i, j)
            for i in range(indptr[a], indptr[a + 1])
            for j in range(indptr[b], indptr[b + 1])
            if words[i] == words[j] and words[i] >= 0
        ]
        for a, b in pairs
    ]
    counts = np.empty(4, np.int64)
    match_lists.count_shared(words, indptr, pairs, counts, 0, 4)
    assert counts.tolist() == [len(found) for found in expected]
    starts = np.concatenate([[0], np.cumsum(counts)])
    ends, labels = np.empty((starts[-1], 2), np.int64), np.empty(starts[-1], np.int64)
    match_lists.fill_shared(words, indptr, pairs, starts, ends, labels, 0, 4)
    for p, found in enumerate(expected):
        part = slice(starts[p], starts[p + 1])
        assert [tuple(end) for end in ends[part].tolist()] == found
        assert len({(words[i], label) for (i, _), label in zip(found, labels[part], strict=True)}) == len(
            set(labels[part].tolist())
        )


@pytest.mark.parametrize("n_bits", [64, 128])
def test_bits_are_counted(rng, n_bits):
    bits = rng.integers(0, 2, (6, n_bits)).astype(bool)
    codes = np.packbits(bits, axis=1).view(np.uint64)
    out, table = np.zeros((6, 6)), np.arange(n_bits + 1.0)
    words, lists, owners = np.zeros(6, np.int64), np.array([0, 6]), np.arange(6)
    rows = np.arange(7)
    match_lists.sum_signatures(rows, owners, words, codes, lists, owners, codes, np.ones(1), table, out, 0, 6)
    np.testing.assert_array_equal(out, (bits[:, None] != bits[None]).sum(axis=2))


@pytest.mark.parametrize("n_levels", [1, 2, 5, 11])
def test_codes_are_bins_with_their_bits_interleaved(rng, n_levels):
    limits, bins = np.array([1.0, 100.0, np.log(10), 0.4]), range(2 ** (n_levels - 1))
    spread = np.array([sum((b >> level & 1) << 4 * level for level in range(n_levels)) for b in bins])
    for x, y, z, phi in rng.uniform(-1, 1, (200, 4)) * [110, 110, 2.5, 9]:
        code = hough_votes.hough_code(x, y, z, phi, limits, spread)
        if max(abs(x), abs(y)) > 100 or abs(z) > np.log(10):
            assert code == hough_votes.DROPPED
            continue
        parts = (x / 200 + 0.5, y / 200 + 0.5, z / (2 * np.log(10)) + 0.5, ((phi + 0.4) / (2 * np.pi)) % 1)
        for axis, part in enumerate(parts):
            bin_ = sum(((int(code) >> (4 * level + axis)) & 1) << level for level in range(n_levels - 1))
            assert bin_ == min(int(part * 2 ** (n_levels - 1)), 2 ** (n_levels - 1) - 1)


def test_least_squares_of_what_is_marked(rng):
    x = rng.uniform(0, 100, (20, 2))
    y = x @ np.array([[1.2, 0.1], [-0.3, 0.8]]).T + [4, -9] + 0.1 * rng.normal(size=(20, 2))
    mask, model = rng.random(20) < 0.6, np.empty(7)
    assert spatial_inliers._affine(np.hstack([x, y]), mask, model)
    expected = np.linalg.lstsq(np.column_stack([x, np.ones(20)])[mask], y[mask], rcond=None)[0].T
    np.testing.assert_allclose(model[:6].reshape(2, 3), expected, atol=1e-9)
    np.testing.assert_allclose(model[6], 0.5 * np.log(np.linalg.det(expected[:, :2])))
    line = np.column_stack([np.arange(20.0), 2 * np.arange(20.0)])
    assert not spatial_inliers._affine(np.hstack([line, y]), mask, model)
    assert not spatial_inliers._affine(np.hstack([x, y * [1, -1]]), np.ones(20, bool), model)  # it turns sides around
