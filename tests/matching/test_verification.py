"""Geometry of pairs: digits by hand, planted transforms among outliers, and what must not change an answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import manifold as mf
from manifold.matching import (
    FastSpatial,
    HoughPyramid,
    LocalFeatures,
    agree,
    hough_strengths,
    tentative_matches,
    verified_expansion,
    verified_seeds,
    verify,
    verify_neighbors,
)
from manifold.matching.correspondences import prepared_frames, relative_transforms
from manifold.neighbors import Neighbors, from_precomputed

PAPER = HoughPyramid(5, max_translation=1792)
HERE = [0, 0, 1, 0]


def planted(rng, *, n=100, n_true=40, A=((1.1, -0.4), (0.3, 0.9)), t=(30.0, -12.0), similar=False):
    """Two images of n features in one word each: the first n_true follow an affine map, the others nothing."""
    A, t = np.array(A), np.array(t)
    first = np.column_stack([rng.uniform(0, 500, (n, 2)), rng.uniform(2, 9, n), rng.uniform(0, 360, n)])
    second = np.column_stack([rng.uniform(0, 500, (n, 2)), rng.uniform(2, 9, n), rng.uniform(0, 360, n)])
    second[:n_true, :2] = first[:n_true, :2] @ A.T + t
    second[:n_true, 2] = first[:n_true, 2] * np.sqrt(np.linalg.det(A))
    turn = np.rad2deg(np.arctan2(A[1, 0] - A[0, 1], A[0, 0] + A[1, 1]))  # of the similarity nearest to A
    second[:n_true, 3] = first[:n_true, 3] + turn
    features = LocalFeatures(np.concatenate([first, second]), None, [0, n, 2 * n], np.tile(np.arange(n), 2))
    return features, A, t


class TestOneCorrespondence:
    def test_the_similarity_by_hand(self):
        frames = np.array([[10.0, 20, 4, 30], [2.32050808, 41.64101615, 8, 60]])
        a, b, x, y, log_rho, phi = relative_transforms(prepared_frames(frames), np.array([[0, 1]]), angles="clockwise")[
            0
        ]
        np.testing.assert_allclose([x, y, np.exp(log_rho), phi], [5, -3, 2, np.pi / 6], atol=1e-7)
        np.testing.assert_allclose([a, b], [2 * np.cos(np.pi / 6), 2 * np.sin(np.pi / 6)])

    def test_the_right_sign_makes_translations_agree(self, rng):
        features, _, t = planted(rng, A=((0.6, -0.8), (0.8, 0.6)))
        rows = np.column_stack([np.arange(40), 100 + np.arange(40)])
        right, wrong = (
            relative_transforms(prepared_frames(features.geometry), rows, angles=way)
            for way in ("clockwise", "counter")
        )
        np.testing.assert_allclose(right[:, 2:4], np.broadcast_to(t, (40, 2)), atol=1e-3)
        assert wrong[:, 2:4].std(axis=0).min() > 50


class TestHoughPyramid:
    @pytest.mark.parametrize(
        ("transforms", "words", "strengths"),
        [
            ([HERE] * 4, [0, 1, 2, 3], [48, 48, 48, 48]),
            ([HERE] * 4, [0, 0, 1, 2], [32, 0, 32, 32]),
            ([HERE, HERE, [1600, 0, 1, 0]], [0, 1, 2], [18, 18, 4]),
            ([HERE, HERE, [230, 0, 1, 0]], [0, 1, 2], [24, 24, 16]),
            ([HERE, [10, 5, 1, 0], [400, 0, 1, 0], [0, 0, 1, np.pi / 2]], [0, 1, 2, 3], [26, 26, 18, 6]),
            ([HERE, HERE, [9000, 0, 1, 0], [0, 0, 11, 0]], [0, 1, 2, 3], [16, 16, 0, 0]),  # out of range
            ([HERE, HERE], [0, 0], [0, 0]),  # one word cannot agree with itself
        ],
    )
    def test_digits(self, transforms, words, strengths):
        assert hough_strengths(transforms, words, method=PAPER).tolist() == strengths

    def test_the_order_does_not_matter(self, rng):
        transforms = rng.normal(size=(80, 4)) * [300, 300, 0.2, 1] + [0, 0, 1.5, 0]
        transforms[:, 2] = np.abs(transforms[:, 2]) + 0.2
        words, order = rng.integers(0, 80, 80), rng.permutation(80)
        words = np.where(np.bincount(words, minlength=80)[words] > 1, np.arange(80), words)  # ties none
        one = hough_strengths(transforms, words, method=PAPER)
        np.testing.assert_array_equal(hough_strengths(transforms[order], words[order], method=PAPER), one[order])

    def test_a_second_copy_far_away_adds_its_own(self, rng):
        transforms = np.tile(HERE, (30, 1)) + rng.uniform(0, 90, (30, 4)) * [1, 1, 0, 0]
        one = hough_strengths(transforms, np.arange(30), method=PAPER)
        both = np.concatenate([transforms, transforms + np.array([900, 900, 0, 0])])
        both = hough_strengths(both, np.arange(60), method=PAPER)
        assert (both > 0).all()
        assert both.sum() >= 2 * one.sum()

    def test_an_image_has_one_with_itself_and_no_more_with_others(self, rng):
        features, _, _ = planted(rng)
        both, own = verify([[0, 1], [1, 1]], features, method="hpm").scores
        assert own == 1
        assert 0.1 < both < 0.5  # 40 of 100 agree

    def test_the_size_of_an_image_and_where_it_begins_do_not_matter(self, rng):
        features, A, t = planted(rng, A=((0.6, -0.8), (0.8, 0.6)))
        geometry = features.geometry.astype(np.float64)
        geometry[100:, :3] = geometry[100:, :3] * 8 + [160, -320, 0]
        larger = LocalFeatures(geometry, None, features.indptr, features.words)
        found, same = (verify([[0, 1]], one, method="hpm") for one in (larger, features))
        assert found.scores == same.scores
        np.testing.assert_allclose(same.transforms[0], np.column_stack([A, t]), atol=1e-3)
        np.testing.assert_allclose(found.transforms[0], np.column_stack([8 * A, 8 * t + [160, -320]]), atol=1e-2)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(*[st.integers(-15, 15)] * 2, st.integers(0, 3)), min_size=1, max_size=12))
    def test_against_the_rule_written_down(self, given):
        transforms = [[110.0 * x, 110.0 * y, 1.0, 0.3] for x, y, _ in given]
        words = [word for _, _, word in given]
        assert hough_strengths(transforms, words, method=PAPER).tolist() == by_the_rule(transforms, words)


def by_the_rule(transforms, words):
    """Hough pyramid matching by dictionaries of bins; x and y vote, rho and phi are one bin."""
    n, alive, votes = len(words), [True] * len(words), [0.0] * len(words)

    def bins(level):
        found = {}
        for c, (x, y, _, _) in enumerate(transforms):
            key = tuple(int((v + 1792) / 3584 * 16) >> (4 - level) for v in (x, y))
            found.setdefault(key, []).append(c)
        return [[c for c in members if alive[c]] for members in found.values()]

    for level in (4, 3, 2, 1, 0):
        for members in bins(level):
            distinct = {words[c] for c in members}
            if len(distinct) > 1:
                for c in members:
                    votes[c] += (len(distinct) - 1) * 2 ** max(level - 1, 0)
                for word in distinct:
                    same = [c for c in members if words[c] == word]
                    best = max(same, key=lambda c: (votes[c], -c))
                    for c in same:
                        alive[c] = c == best
    out = [0.0] * n
    for level in range(5):
        for members in bins(level):
            for c in members:
                out[c] += (len({words[m] for m in members}) - 1) * 2 ** max(level - 1, 0)
    return out


class TestFastSpatial:
    def test_a_planted_affine_map_among_outliers(self, rng):
        features, A, t = planted(rng)
        found = agree(features, 0, 1)
        assert found.inliers[:40].all()  # labels are in the order of words
        gaps = np.linalg.norm(found.first @ A.T + t - found.second, axis=1)
        assert gaps[found.inliers].max() < 8
        assert found.score == found.inliers.sum()
        np.testing.assert_allclose(found.transform, np.column_stack([A, t]), atol=2)

    def test_a_planted_similarity_is_found_to_the_pixel(self, rng):
        for _ in range(10):
            features, A, t = planted(rng, A=((0.6, -0.8), (0.8, 0.6)))
            found = verify([[0, 1], [1, 0], [0, 0]], features)
            assert found.scores.tolist()[:2] == [40, 40]
            assert found.scores[2] == 100
            np.testing.assert_allclose(found.transforms[0], np.column_stack([A, t]), atol=1e-3)
            there, back = (np.vstack([m, [0, 0, 1]]) for m in found.transforms[:2])
            np.testing.assert_allclose(there @ back, np.eye(3), atol=1e-9)

    def test_a_repeated_texture_counts_once(self):
        frames = np.column_stack([np.tile([5.0, 5.0], (21, 1)), np.ones(21), np.zeros(21)])
        features = LocalFeatures(frames, None, [0, 1, 21], np.zeros(21, int))
        assert verify([[0, 1]], features).scores.tolist() == [1]

    def test_scales_stand_in_for_those_that_features_have_not(self, rng):
        x = rng.uniform(0, 200, (25, 2))
        features = LocalFeatures(np.concatenate([x, 2 * x + 7]), None, [0, 25, 50], np.tile(np.arange(25), 2))
        plain, scaled = (verify([[0, 1]], features, method=FastSpatial(scales=s)) for s in ((1.0,), (0.5, 1.0, 2.0)))
        assert plain.scores[0] < 10
        assert scaled.scores[0] == 25

    def test_more_than_may_be_tried(self, rng):
        features, _, _ = planted(rng, n=400, n_true=300, A=((1.0, 0.0), (0.0, 1.0)))
        assert verify([[0, 1]], features, method=FastSpatial(max_hypotheses=20)).scores[0] >= 300


class TestTentative:
    def test_mutual_nearest_that_pass_the_ratio(self, rng):
        X = rng.normal(size=(60, 16))
        noisy = X[rng.permutation(60)] + 0.01 * rng.normal(size=(60, 16))
        cosines = (X / np.linalg.norm(X, axis=1)[:, None]) @ (noisy / np.linalg.norm(noisy, axis=1)[:, None]).T
        found = tentative_matches(X, noisy, ratio=0.85)
        distances = np.sqrt(np.maximum(2 - 2 * cosines, 0))
        expected = [
            (i, j)
            for i, j in enumerate(distances.argmin(axis=1))
            if distances[:, j].argmin() == i and np.sort(distances[i])[0] <= 0.85 * np.sort(distances[i])[1]
        ]
        assert found.tolist() == [list(pair) for pair in expected]

    def test_verify_by_descriptors_alone(self, rng):
        features, _, _ = planted(rng)
        descriptors = np.tile(rng.normal(size=(100, 32)), (2, 1))
        described = LocalFeatures(features.geometry, descriptors, features.indptr)
        assert verify([[1, 0]], described, tentative="mutual").scores >= 40
        with pytest.raises(ValueError, match="must have words"):
            verify([[0, 1]], described)
        with pytest.raises(ValueError, match="must have descriptors"):
            verify([[0, 1]], features, tentative="mutual")


class TestNeighbours:
    LISTS = Neighbors([[1, 2], [0, 2], [1, 0]], [[0.9, 0.8], [0.9, 0.7], [0.8, 0.7]], "cosine", "by hand")

    @pytest.fixture
    def features(self, rng):
        """Images 0 and 1 show one thing; image 2 has its words, and none of its geometry."""
        two, _, _ = planted(rng, A=((1.0, 0.0), (0.0, 1.0)))
        other, _, _ = planted(rng, n_true=0)
        return two.append(other.take([0]))

    def test_a_look_alike_goes_and_the_graph_has_its_components(self, features):
        kept = verify_neighbors(self.LISTS, features, threshold=15)
        assert kept.indices.tolist() == [[1, -1], [0, -1], [-1, -1]]
        assert kept.metric == "cosine"
        assert mf.graph_from_neighbors(kept).components.tolist() == [0, 0, 1]

    def test_weights(self, features):
        score = verify_neighbors(self.LISTS, features, threshold=15, weight="score")
        product = verify_neighbors(self.LISTS, features, threshold=15, weight="product")
        assert score.similarities[0, 0] >= 40
        assert score.metric == product.metric == "precomputed"
        np.testing.assert_allclose(product.similarities[0, 0], 0.9 * score.similarities[0, 0], rtol=1e-6)

    def test_the_answer_is_a_seed(self, features):
        pairs = np.array([[0, 1], [0, 2]])
        scores = verify(pairs, features).scores
        Y = verified_seeds([[1, 2]], [[0.9, 0.8]], [np.where(scores >= 15, scores, 0)], n_nodes=3)
        assert Y.toarray().ravel().round(6).tolist() == [0, 0.9, 0]

    @pytest.mark.parametrize("n_rounds", [1, 2, 9])
    def test_an_expansion_is_a_walk_on_the_verified_graph(self, rng, n_rounds):
        frames = np.column_stack([rng.uniform(0, 30, (300, 2)), np.ones(300), np.zeros(300)])
        features = LocalFeatures(frames, None, np.arange(0, 301, 15), rng.integers(0, 8, 300))
        similar = rng.random((20, 20))
        lists = from_precomputed(similar + similar.T, 4)
        edges = verify_neighbors(lists, features, threshold=4).to_scipy().toarray() > 0
        reached = np.eye(20, dtype=bool)[7]
        for _ in range(n_rounds):
            reached = reached | edges[reached].any(axis=0)
        images, rounds, scores = verified_expansion([7], lists, features, threshold=4, n_rounds=n_rounds)
        assert sorted(images.tolist()) == np.flatnonzero(reached).tolist()
        assert rounds.tolist() == sorted(rounds)
        assert scores[1:].min(initial=4) >= 4
        assert images.size > 2

    def test_threads_and_company_change_nothing(self, rng, monkeypatch):
        frames = np.column_stack([rng.uniform(0, 99, (400, 2)), rng.uniform(1, 4, 400), rng.uniform(0, 360, 400)])
        features = LocalFeatures(frames, None, np.arange(0, 401, 20), rng.integers(0, 15, 400))
        pairs = np.stack(np.mgrid[:20, :20], axis=2).reshape(-1, 2)
        for method in ("fsm", "hpm"):
            together = verify(pairs, features, method=method)
            for at in (3, 47, 311):
                alone = verify(pairs[at : at + 1], features, method=method)
                assert alone.scores[0] == together.scores[at]
                np.testing.assert_array_equal(alone.transforms[0], together.transforms[at])
            monkeypatch.setattr("manifold.matching.verification._MATCHES", 40)
            monkeypatch.setattr("manifold.matching.spatial._PAIRS", 1)
            np.testing.assert_array_equal(verify(pairs, features, method=method).scores, together.scores)
            monkeypatch.undo()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: verify([[0, 3]], f), r"pairs must lie in 0\.\.1"),
        (lambda f: verify([0, 1], f), r"pairs must be \(p, 2\)"),
        (lambda f: verify([[0, 1]], f, method="ransac"), "method must be one of"),
        (lambda f: verify([[0, 1]], f, tentative="all"), "tentative must be one of"),
        (lambda f: agree(f, 0, 2), r"images must lie in 0\.\.1"),
        (lambda f: FastSpatial(tolerance=0), "tolerance must be a finite number > 0"),
        (lambda f: FastSpatial(scales=()), "scales must be positive"),
        (lambda f: FastSpatial(angles="left"), "angles must be one of"),
        (lambda f: HoughPyramid(n_levels=12), r"n_levels must lie in 1\.\.11"),
        (lambda f: hough_strengths([[0, 0, 0, 0]], [1]), "rho > 0"),
        (lambda f: tentative_matches(np.eye(2), np.eye(3)), "descriptors must be"),
        (lambda f: tentative_matches(np.eye(2), np.eye(2), ratio=0), "ratio must lie"),
        (lambda f: verify_neighbors(TestNeighbours.LISTS, f, threshold=1), "features must be those of the 3"),
        (lambda f: verify_neighbors(TestNeighbours.LISTS, f, threshold=-1), "threshold must be"),
        (lambda f: verified_expansion([3], TestNeighbours.LISTS, f.append(f.take([0])), threshold=1), "start must be"),
        (lambda f: verify_neighbors(TestNeighbours.LISTS, f, threshold=1, weight="cube"), "weight must be"),
    ],
)
def test_what_is_refused(call, message, rng):
    features, _, _ = planted(rng)
    with pytest.raises(ValueError, match=message):
        call(features)
