"""Local features: ragged arrays, checked, taken apart and put together; peaks of activation maps; hostile ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import manifold as mf
from manifold.errors import CorruptFileError
from manifold.matching import (
    FastSpatial,
    HoughPyramid,
    LocalFeatures,
    Vocabulary,
    activation_features,
    aggregate,
    agree,
    local_features,
    match_kernel,
    read_local_features,
    tentative_matches,
    verify,
)

FRAMES = np.array([[0.0, 0, 1, 0], [9, 0, 2, 90], [0, 9, 1, -400], [5, 5, 0.5, 10]])


class TestRagged:
    def test_take_and_append_keep_rows(self, rng):
        parts = [rng.random((n, 4)).astype(np.float32) + 0.1 for n in (3, 0, 5)]
        words = [np.arange(n) for n in (3, 0, 5)]
        features = local_features(parts, [p[:, :2] for p in parts], words)
        assert features.counts.tolist() == [3, 0, 5]
        again = features.take([2, 1]).append(features.take([0]))
        assert again.counts.tolist() == [5, 0, 3]
        np.testing.assert_array_equal(again.geometry, np.concatenate([parts[2], parts[0]]))
        np.testing.assert_array_equal(again.words, np.concatenate([words[2], words[0]]))

    def test_a_saved_folder_is_mapped(self, tmp_path):
        made = LocalFeatures(FRAMES, np.eye(4, dtype=np.uint8), [0, 1, 4], [2, 0, 1, -1])
        again = mf.load(made.save(tmp_path / "features"))
        assert isinstance(again.descriptors.base, np.memmap) or isinstance(again.descriptors, np.memmap)
        assert again.descriptors.dtype == np.uint8
        np.testing.assert_array_equal(again.geometry, made.geometry)

    def test_a_file_that_is_none_is_refused_by_name(self, tmp_path):
        (tmp_path / "a.npz").write_bytes(b"nothing")
        np.savez(tmp_path / "b.npz", geometry=FRAMES)
        np.savez(tmp_path / "c.npz", geometry=np.array([None]), indptr=[0, 1])
        for name in ("a", "b", "c"):
            with pytest.raises(CorruptFileError, match=f"{name}.npz holds no local features"):
                read_local_features(tmp_path / f"{name}.npz")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"geometry": FRAMES * [1, np.nan, 1, 1]}, "row 0 holds NaN"),
            ({"geometry": FRAMES * [1, 1, 0, 1]}, "scale 0.0"),
            ({"geometry": FRAMES[:, :3]}, r"\(m, 4\)"),
            ({"indptr": [0, 2, 1, 4]}, "ascend from 0 to the 4"),
            ({"indptr": [0, 5]}, "ascend from 0 to the 4"),
            ({"descriptors": np.eye(3)}, "4 rows of geometry"),
            ({"descriptors": np.full((4, 2), np.inf)}, "row 0 holds NaN or infinity"),
            ({"words": [0, 1, 2]}, "one a feature"),
            ({"words": [0, 1, 2, -2]}, "words must lie"),
        ],
    )
    def test_what_is_refused(self, change, message):
        given = {"geometry": FRAMES, "descriptors": np.eye(4), "indptr": [0, 2, 4], "words": [0, 1, 0, 1]} | change
        with pytest.raises(ValueError, match=message):
            LocalFeatures(**given)


class TestActivations:
    def test_two_bumps_have_their_centroids(self):
        y, x = np.mgrid[:9, :12]
        centres = np.array([[2.3, 3.1], [8.6, 5.8]])
        bumps = [np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 0.45**2)) for cx, cy in centres]
        found = activation_features([np.stack([bumps[0] + bumps[1], 0 * x], axis=2)])
        assert found.words.tolist() == [0, 0]
        places = found.geometry[np.argsort(found.geometry[:, 0]), :2]
        np.testing.assert_allclose(places, centres, atol=0.05)

    def test_strongest_peaks_stay(self, rng):
        maps = rng.random((2, 12, 12, 3))
        few, many = activation_features(maps, per_channel=2), activation_features(maps)
        assert np.bincount(few.words[few.rows(1)]).tolist() == [2, 2, 2]
        assert activation_features(maps, total=4).counts.tolist() == [4, 4]
        assert {tuple(p) for p in few.geometry} <= {tuple(p) for p in many.geometry}

    def test_a_flat_map_has_none(self):
        assert activation_features(np.ones((1, 4, 4, 2))).counts.tolist() == [0]

    def test_a_shifted_map_is_a_translation(self, rng):
        maps = np.zeros((2, 14, 14, 30))
        maps[0, 1:10, 1:10] = rng.random((9, 9, 30)) ** 6
        maps[1, 4:13, 3:12] = maps[0, 1:10, 1:10]
        found = verify([[0, 1]], activation_features(maps), method=FastSpatial(tolerance=1.0))
        np.testing.assert_allclose(found.transforms[0], [[1, 0, 2], [0, 1, 3]], atol=1e-5)

    def test_what_is_refused(self):
        with pytest.raises(ValueError, match=r"activations\[1\] must have shape \(H, W, 3\)"):
            activation_features([np.ones((2, 2, 3)), np.ones((2, 2, 4))])
        with pytest.raises(ValueError, match="after the rectifier"):
            activation_features([-np.ones((2, 2, 3))])


number = st.floats(width=32) | st.sampled_from([0.0, 1.0, 1.0, -1.0, 1e-38, 3e38, 1e-45])


@st.composite
def hostile(draw):
    """Arrays of a few images whose numbers are anything; most of them are refused, what is not must be answered."""
    sizes = draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))
    m = sum(sizes)
    geometry = np.array(draw(st.lists(st.tuples(number, number, number, number), min_size=m, max_size=m)))
    if draw(st.booleans()):  # mostly valid: duplicated keypoints, scales at the ends of float32
        geometry = np.nan_to_num(geometry.reshape(m, 4), posinf=1, neginf=-1)
        geometry[:, 2] = np.maximum(np.abs(geometry[:, 2]), 1e-38)
    descriptors = np.array(draw(st.lists(st.tuples(number, number), min_size=m, max_size=m)), np.float64).reshape(m, 2)
    if draw(st.booleans()):
        descriptors = np.nan_to_num(descriptors, posinf=0, neginf=0)
    words = draw(st.lists(st.integers(-2, 4), min_size=m, max_size=m))
    return geometry.reshape(m, 4), descriptors, np.concatenate([[0], np.cumsum(sizes)]).astype(int), words


@settings(max_examples=500, deadline=None)
@given(hostile())
def test_hostile_features_are_refused_or_answered(arrays):
    geometry, descriptors, indptr, words = arrays
    with np.errstate(all="ignore"):
        frames = geometry.astype(np.float32)
    valid = np.isfinite(frames).all() and (frames[:, 2] > 0).all()
    if not (valid and np.isfinite(descriptors).all() and min(words, default=0) >= -1):
        with pytest.raises(ValueError, match=r"geometry|descriptors|words"):
            LocalFeatures(geometry, descriptors, indptr, words)
        return
    features = LocalFeatures(geometry, descriptors, indptr, words)
    n = features.n_images
    pairs = np.stack(np.mgrid[:n, :n], axis=2).reshape(-1, 2)
    for method in (FastSpatial(), HoughPyramid()):
        found = verify(pairs, features, method=method)
        scores = found.scores.reshape(n, n)
        assert np.isfinite(scores).all()
        np.testing.assert_array_equal(scores, scores.T)
        assert (scores[:, features.counts == 0] == 0).all()
        assert found.transforms.shape == (n * n, 2, 3)
        assert agree(features, 0, n - 1, method=method).score == scores[0, n - 1]
    vocabulary = Vocabulary([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    for kernel in ("asmk", "vlad", "bow"):
        if features.words.max(initial=0) > 2:
            with pytest.raises(ValueError, match="words must be below the 3"):
                aggregate(features, vocabulary, kernel=kernel)
            continue
        K = match_kernel(aggregate(features, vocabulary, kernel=kernel)).toarray()
        assert np.isfinite(K).all()
        assert (K[features.counts == 0] == 0).all()
    matched = tentative_matches(descriptors, descriptors)
    assert (np.linalg.norm(descriptors[matched[:, 0]], axis=1) > 0).all()
