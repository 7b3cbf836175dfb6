"""Words and match kernels: digits by hand, brute force over pairs, and what must not change an answer."""

from __future__ import annotations

import numpy as np
import pytest

from manifold.matching import (
    ASMK,
    VLAD,
    BagOfWords,
    HammingEmbedding,
    LocalFeatures,
    Vocabulary,
    aggregate,
    learn_vocabulary,
    match_kernel,
)
from manifold.neighbors import from_precomputed

WORDS = Vocabulary(np.array([[0.0, 0.0], [10.0, 0.0]]))
TWO = LocalFeatures(np.ones((5, 2)), np.array([[1.0, 0], [0, 1], [10, 2], [1, 0], [11, 0]]), [0, 3, 5])


def kernel_of(features, vocabulary=WORDS, **options):
    return match_kernel(aggregate(features, vocabulary, **options)).toarray()


@pytest.fixture
def collection(rng):
    """Twelve images of up to 30 features, one of none, with words in float64."""
    counts = rng.integers(1, 30, 12)
    counts[5] = 0
    X = rng.normal(size=(counts.sum(), 8))
    features = LocalFeatures(np.ones((counts.sum(), 2)), X, np.concatenate([[0], np.cumsum(counts)]))
    return features, Vocabulary(rng.normal(size=(6, 8))).with_signatures(X, n_bits=8)


def by_brute_force(features, vocabulary, kernel):
    """The match kernel of all pairs of images, by loops over words."""
    words = vocabulary.words(features.descriptors)
    N, k = features.n_images, vocabulary.n_words
    rows = [[np.flatnonzero(words[features.rows(i)] == c) + features.rows(i).start for c in range(k)] for i in range(N)]
    df = np.array([sum(bool(rows[i][c].size) for i in range(N)) for c in range(k)])
    idf = np.log(N / np.maximum(df, 1)) ** 2 if getattr(kernel, "idf", False) else np.ones(k)
    P = features.descriptors @ vocabulary.projection.astype(float).T
    K, norms = np.zeros((N, N)), np.zeros(N)

    def residual(i, c):
        return (features.descriptors[rows[i][c]] - vocabulary.centroids[c]).sum(axis=0)

    for c in range(k):
        for i in range(N):
            for j in range(N):
                if not (rows[i][c].size and rows[j][c].size):
                    continue
                a, b = residual(i, c), residual(j, c)
                cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
                if isinstance(kernel, ASMK):
                    u = 1 - 2 * ((a > 0) != (b > 0)).mean() if kernel.binary else cosine
                    value, own = u**kernel.alpha if u >= kernel.threshold else 0, 1
                elif isinstance(kernel, VLAD):
                    value, own = (cosine, 1) if kernel.intra else (a @ b, a @ a)
                elif isinstance(kernel, BagOfWords):
                    value, own = (
                        (len(rows[i][c]) * x) ** kernel.burstiness for x in (len(rows[j][c]), len(rows[i][c]))
                    )
                else:
                    bits = [P[rows[x][c]] > vocabulary.medians[c] for x in (i, j)]
                    h = (bits[0][:, None] != bits[1][None]).sum(axis=2)
                    value, own = np.where(h <= kernel.threshold, 1 - 2 * h / 8, 0).sum(), len(rows[i][c]) ** 2
                K[i, j] += idf[c] * value
                norms[i] += idf[c] * own * (i == j)
    with np.errstate(divide="ignore"):
        inverse = np.where(norms > 0, 1 / np.sqrt(norms), 0)
    return K * inverse[:, None] * inverse


KERNELS = {
    "asmk 1": ASMK(alpha=1.0),
    "asmk": ASMK(),
    "asmk threshold": ASMK(alpha=2.5, threshold=0.3),
    "asmk idf": ASMK(idf=True),
    "asmk*": ASMK(binary=True),
    "vlad": VLAD(intra=False),
    "vlad intra": VLAD(),
    "bow": BagOfWords(),
    "bow root": BagOfWords(burstiness=0.5),
    "bow plain": BagOfWords(idf=False),
    "he": HammingEmbedding(threshold=3),
    "he plain": HammingEmbedding(threshold=2, idf=False),
}


class TestKernels:
    @pytest.mark.parametrize(
        ("kernel", "value"),
        [(ASMK(alpha=1.0), 0.35355339), (ASMK(alpha=3.0), 0.17677670), (ASMK(threshold=0.8), 0.0)],
    )
    def test_digits(self, kernel, value):
        K = kernel_of(TWO, kernel=kernel)
        np.testing.assert_allclose(K, [[1, value], [value, 1]], atol=1e-8)

    @pytest.mark.parametrize("name", KERNELS)
    def test_against_brute_force(self, collection, name):
        K = kernel_of(*collection, kernel=KERNELS[name])
        np.testing.assert_allclose(K, by_brute_force(*collection, KERNELS[name]), atol=1e-10)
        np.testing.assert_allclose(K, K.T, atol=1e-12)

    @pytest.mark.parametrize("name", KERNELS)
    def test_the_order_of_features_and_what_is_asked_beside_do_not_matter(self, collection, name, rng):
        features, vocabulary = collection
        order = np.concatenate([rng.permutation(np.arange(features.n_images))])
        K = kernel_of(features, vocabulary, kernel=KERNELS[name])
        np.testing.assert_allclose(
            kernel_of(features.take(order), vocabulary, kernel=KERNELS[name]), K[np.ix_(order, order)], atol=1e-12
        )
        bags = aggregate(features, vocabulary, kernel=KERNELS[name])
        some = aggregate(features.take([3, 5, 0]), vocabulary, kernel=KERNELS[name])
        np.testing.assert_allclose(match_kernel(bags, queries=some).toarray(), K[[3, 5, 0]], atol=1e-12)

    def test_one_word_is_the_cosine_of_the_residual_sums(self, collection):
        features, _ = collection
        one = Vocabulary(np.zeros((1, 8)))
        sums = np.array([features.descriptors[features.rows(i)].sum(axis=0) for i in range(12)])
        unit = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-300)
        cosines = unit @ unit.T
        np.testing.assert_allclose(kernel_of(features, one, kernel=ASMK(alpha=1.0)), np.maximum(cosines, 0), atol=1e-12)
        np.testing.assert_allclose(kernel_of(features, one, kernel="vlad"), cosines, atol=1e-12)

    def test_the_best_are_the_best(self, collection):
        bags = aggregate(*collection, kernel=ASMK(alpha=1.0))
        whole, best = match_kernel(bags).toarray(), match_kernel(bags, n_best=3).toarray()
        np.fill_diagonal(whole, 0)
        for row, kept in zip(whole, best, strict=True):
            top = np.argsort(-row, kind="stable")[:3]
            np.testing.assert_array_equal(np.flatnonzero(kept), np.sort(top[row[top] > 0]))
            np.testing.assert_array_equal(kept[kept > 0], row[kept > 0])
        lists = from_precomputed(match_kernel(bags, n_best=4), 3)
        assert lists.metric == "precomputed"
        assert lists.indices[5].tolist() == [-1, -1, -1]  # the image without features

    def test_blocks_change_nothing(self, collection, monkeypatch):
        before = {name: kernel_of(*collection, kernel=kernel) for name, kernel in KERNELS.items()}
        monkeypatch.setattr("manifold.matching.kernels._BLOCK", 24)
        monkeypatch.setattr("manifold.matching.similarities._BLOCK", 24)
        monkeypatch.setattr("manifold.matching.similarities._ROWS", 1)
        for name, kernel in KERNELS.items():
            np.testing.assert_array_equal(kernel_of(*collection, kernel=kernel), before[name])

    def test_a_word_whose_residuals_cancel_gives_nothing(self):
        features = LocalFeatures(np.ones((4, 2)), [[1.0, 1], [-1, -1], [2, 0], [1, 0]], [0, 2, 3, 4])
        K = kernel_of(features, Vocabulary([[0.0, 0.0]]))
        np.testing.assert_allclose(K, [[0, 0, 0], [0, 1, 1], [0, 1, 1]])

    def test_more_assignments_find_more(self, collection):
        features, vocabulary = collection
        one = kernel_of(features, vocabulary)
        three = kernel_of(features, vocabulary, n_assignments=3)
        assert (three > 0).sum() > (one > 0).sum()

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: aggregate(TWO, WORDS, kernel="fisher"), "kernel must be one of"),
            (lambda: aggregate(TWO, WORDS, kernel="he"), "needs signatures"),
            (lambda: aggregate(TWO.with_words([0, 1, 2, 0, 0]), WORDS), "words must be below the 2"),
            (lambda: aggregate(LocalFeatures(np.ones((1, 2)), None, [0, 1], [0]), WORDS), "must have descriptors"),
            (lambda: aggregate(TWO, Vocabulary(np.eye(3))), "descriptors must be"),
            (lambda: aggregate(TWO, WORDS, n_assignments=3), "at most the 2 words"),
            (lambda: ASMK(alpha=0), "alpha must be"),
            (lambda: ASMK(threshold=-0.1), "threshold must lie"),
            (lambda: BagOfWords(burstiness=2), "burstiness must lie"),
            (lambda: match_kernel(aggregate(TWO, WORDS), queries=aggregate(TWO, WORDS, kernel="vlad")), "queries must"),
        ],
    )
    def test_what_is_refused(self, call, message):
        with pytest.raises(ValueError, match=message):
            call()


class TestWords:
    def test_nearest_words_of_all(self, rng):
        X, C = rng.normal(size=(300, 16)).astype(np.float32), rng.normal(size=(40, 16)).astype(np.float32)
        distances = ((X[:, None].astype(float) - C[None]) ** 2).sum(axis=2)
        found = Vocabulary(C).words(X, n_assignments=4)
        np.testing.assert_array_equal(found, np.argsort(distances, axis=1)[:, :4])
        np.testing.assert_array_equal(Vocabulary(C).words(X[17:18])[0], found[17, 0])

    def test_centroids_come_to_be_the_means_of_their_words(self, rng):
        X = 50 * rng.normal(size=(12, 6))[rng.integers(0, 12, 480)] + rng.normal(size=(480, 6))
        found = [learn_vocabulary(X, 12, n_iter=n_iter, random_state=3) for n_iter in (1, 3, 60)]
        words = found[-1].words(X)
        means = np.array([X[words == c].mean(axis=0) for c in range(12)])
        np.testing.assert_allclose(found[-1].centroids, means, rtol=1e-5, atol=1e-4)
        spread = [((X - V.centroids[V.words(X)]) ** 2).sum() for V in found]
        assert spread == sorted(spread, reverse=True)
        again = learn_vocabulary(X, 12, n_iter=60, random_state=3)
        np.testing.assert_array_equal(again.centroids, found[-1].centroids)

    def test_batches_come_near_to_the_means(self, rng, monkeypatch):
        X = np.repeat([[0.0, 0.0], [30.0, 0.0], [0.0, 30.0]], 200, axis=0) + rng.normal(size=(600, 2))
        monkeypatch.setattr("manifold.matching.words._BATCH", 100)
        found = learn_vocabulary(X, 2, n_iter=40, random_state=5)
        words = found.words(X)
        means = np.array([X[words == c].mean(axis=0) for c in range(2)])
        np.testing.assert_allclose(found.centroids, means, atol=1.5)

    def test_copies_of_one_descriptor_leave_no_word_undefined(self):
        V = learn_vocabulary(np.ones((9, 3)), 4)
        assert np.isfinite(V.centroids).all()

    def test_bits_of_half_the_descriptors_of_a_word_are_set(self, rng):
        X = rng.normal(size=(400, 16))
        V = learn_vocabulary(X, 3).with_signatures(X, n_bits=16)
        P = X @ V.projection.T.astype(float)
        share = np.array([(P[V.words(X) == c] > V.medians[c]).mean(axis=0) for c in range(3)])
        np.testing.assert_allclose(share, 0.5, atol=0.02)
        np.testing.assert_allclose(V.projection @ V.projection.T, np.eye(16), atol=1e-5)

    def test_what_is_refused(self):
        with pytest.raises(ValueError, match="at most the 2 descriptors"):
            learn_vocabulary(np.eye(2), 3)
        with pytest.raises(ValueError, match="NaN or infinity"):
            WORDS.words(np.array([[np.nan, 0.0]]))
        with pytest.raises(ValueError, match="n_bits must be at most"):
            WORDS.with_signatures(np.eye(2), n_bits=3)
