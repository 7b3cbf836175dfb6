"""Cleaning of noisy labels, with gradients against finite differences, and the choice of points to label."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from manifold import Diffusion, build_graph, datasets, diffuse, graph_from_affinity
from manifold.errors import ManifoldDeprecationWarning, MemoryBudgetError
from manifold.labels import propagate
from manifold.labels.cleaning import (
    _glorot,
    _Network,
    _row_normalized,
    clean_labels,
    diffusion_relevance,
    gcn_relevance,
    weighted_prototypes,
)
from manifold.labels.selection import select


def two_gaussians(rng, n=120, apart=4.0):
    """Noisy examples of one class, half of them from another; five are known to be right."""
    right = np.arange(n) < n // 2
    X = rng.standard_normal((n, 12))
    X[:, 0] += np.where(right, apart, 0)
    X[:, 1] += np.where(right, 0, apart)
    return X.astype(np.float32), right, np.arange(n) < 5


def noisy_digits(shots, seed, share=0.5):
    X, y = datasets.digits()
    rng = np.random.default_rng(seed)
    noisy = np.where(rng.random(y.size) < share, (y + 1) % 10, y)  # what averages out is no noise to prototypes
    clean = np.zeros(y.size, dtype=bool)
    for c in range(10):
        clean[rng.choice(np.flatnonzero((y == c) & (noisy == c)), shots, replace=False)] = True
    return X, y, noisy, clean


def class_auc(y, noisy, doubtful, relevance):
    classes = [doubtful & (noisy == c) for c in np.unique(noisy)]
    return np.mean([roc_auc_score((noisy == y)[rows], relevance[rows]) for rows in classes])


@pytest.mark.parametrize("thinned", [False, True])
def test_gradients_agree_with_finite_differences(rng, thinned):
    n, d, hidden, h = 40, 7, 5, 1e-6
    X = rng.standard_normal((n, d)).astype(np.float32)
    A = _row_normalized(build_graph(X, 6, gamma=1)).astype(np.float64)
    network = _Network(A, A @ X.astype(np.float64), np.arange(n) < 6, 0.7)
    parameters = [_glorot(rng, d, hidden).astype(np.float64), _glorot(rng, hidden, 1)[:, 0].astype(np.float64)]
    kept = (rng.random((n, hidden)) < 0.5) / 0.5 if thinned else 1
    _, gradients = network.loss(tuple(parameters), kept)
    for which, gradient in enumerate(gradients):
        numeric = np.zeros_like(gradient)
        for index in np.ndindex(gradient.shape):
            values = []
            for sign in (1, -1):
                moved = [x.copy() for x in parameters]
                moved[which][index] += sign * h
                values.append(network.loss(tuple(moved), kept)[0])
            numeric[index] = (values[0] - values[1]) / (2 * h)
        assert np.abs(numeric).max() > 1e-3
        assert np.abs(numeric - gradient).max() < 1e-5 * np.abs(numeric).max()


def test_the_loss_is_that_of_the_paper(rng):
    n = 30
    X = rng.standard_normal((n, 4)).astype(np.float32)
    A, clean = _row_normalized(build_graph(X, 5, gamma=1)).astype(np.float64), np.arange(n) < 4
    assert np.allclose(A.sum(axis=1), 1)
    network = _Network(A, A @ X.astype(np.float64), clean, 0.05)
    parameters = rng.standard_normal((4, 3)), rng.standard_normal(3)
    hidden = np.maximum(A.toarray() @ X @ parameters[0], 0)
    p = 1 / (1 + np.exp(-A.toarray() @ hidden @ parameters[1]))
    expected = -np.log(p[clean] + 1e-6).mean() - 0.05 * np.log(1 - p[~clean] + 1e-6).mean()
    assert network.loss(parameters)[0] == pytest.approx(expected, rel=1e-6)
    assert np.allclose(network.predict(parameters), p)


@pytest.mark.parametrize("seed", range(3))
def test_examples_of_another_class_get_little_relevance(seed):
    X, right, clean = two_gaussians(np.random.default_rng(seed))
    graph = build_graph(X, 50, gamma=1, bridge=0)
    p = gcn_relevance(graph, X, clean, random_state=seed)
    assert roc_auc_score(right[~clean], p[~clean]) > 0.95
    assert (p[clean] == 1).all()
    assert ((p >= 0) & (p <= 1)).all()
    r = diffusion_relevance(graph, clean)
    assert roc_auc_score(right[~clean], r[~clean]) > 0.95


def test_examples_have_no_order(rng):
    X, _, clean = two_gaussians(rng)
    order = rng.permutation(len(X))

    def relevance(rows):
        graph = build_graph(X[rows], 20, gamma=1)
        return gcn_relevance(graph, X[rows], clean[rows], dropout=0.0, n_epochs=20, random_state=3)

    assert np.allclose(relevance(order), relevance(np.arange(len(X)))[order], atol=1e-3)


def test_names_of_classes_do_not_matter():
    X, _, noisy, clean = noisy_digits(5, 1)
    names = np.random.default_rng(0).permutation(10)
    assert (clean_labels(X, noisy, clean, random_state=8) == clean_labels(X, names[noisy], clean, random_state=8)).all()


@pytest.mark.parametrize(("method", "shots", "least"), [("gcn", 5, 0.97), ("gcn", 1, 0.95), ("diffusion", 1, 0.85)])
def test_noisy_digits_are_told_from_right_ones(method, shots, least):
    X, y, noisy, clean = noisy_digits(shots, 2)
    r = clean_labels(X, noisy, clean, relevance=method, random_state=2)
    assert class_auc(y, noisy, ~clean, r) > least
    believed, few, weighted = (
        ((X @ weighted_prototypes(X, noisy, w).T).argmax(axis=1) == y)[~clean].mean()
        for w in (np.ones(y.size), clean * 1.0, r)
    )
    assert believed < 0.6
    assert weighted > few + 0.02


def test_relevance_by_diffusion_is_a_scaled_column_of_the_kernel():
    path = graph_from_affinity(np.diag([1.0, 2.0, 3.0, 4.0], 1) + np.diag([1.0, 2.0, 3.0, 4.0], -1))
    graph = path.astype(np.float64)
    clean = np.array([True, False, False, False, False])
    kernel = diffuse(graph, np.eye(5), filter=Diffusion(0.99), solver="direct").scores
    assert np.allclose(diffusion_relevance(graph, clean)[1:], kernel[1:, 0] / kernel[1:, 0].max())


def test_what_no_clean_example_reaches_has_no_relevance():
    pairs = graph_from_affinity(np.kron(np.eye(2), [[0.0, 1.0], [1.0, 0.0]]))
    assert diffusion_relevance(pairs, np.array([True, False, False, False])).tolist() == [1, 1, 0, 0]
    alone = graph_from_affinity(np.zeros((2, 2)))
    assert diffusion_relevance(alone, np.array([True, False])).tolist() == [1, 0]


def test_unlabelled_and_wholly_clean_classes(rng):
    X = rng.standard_normal((30, 6))
    labels = np.repeat([0, 1, -1], 10)
    clean = np.arange(30) < 10
    clean[10] = True
    r = clean_labels(X, labels, clean, random_state=0)
    assert (r[:11] == 1).all()
    assert (r[20:] == 0).all()
    assert ((r[11:20] > 0) & (r[11:20] < 1)).all()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"relevance": "magic"}, "relevance must be one of"),
        ({"labels": np.zeros(5, dtype=int)}, r"labels must be integers \(20,\)"),
        ({"clean": np.zeros(20)}, "clean must be booleans"),
        ({"clean": np.zeros(20, dtype=bool)}, "class 0 has no clean example"),
        ({"noise_weight": 0.0}, "noise_weight must be a positive number"),
    ],
)
def test_what_cannot_be_cleaned_is_refused(rng, change, match):
    settings = {"labels": np.zeros(20, dtype=int), "clean": np.arange(20) < 3} | change
    with pytest.raises(ValueError, match=match):
        clean_labels(rng.standard_normal((20, 4)), **settings)


def test_classes_of_clean_labels_are_whole_numbers(rng):
    with pytest.raises(TypeError, match="labels must hold integers, got dtype float64"):
        clean_labels(rng.standard_normal((20, 4)), np.zeros(20), np.arange(20) < 3)


def three_clusters(rng, n=60):
    y = np.repeat(np.arange(3), n // 3)
    X = np.eye(3)[y] + 0.1 * rng.standard_normal((n, 3))
    return X, y, build_graph(X, 6, edges="sum")


@pytest.mark.parametrize("method", ["jlp", "coreset"])
def test_the_first_choice_lies_in_the_cluster_without_labels(rng, method):
    X, y, graph = three_clusters(rng)
    labelled = [0, 20]
    chosen = select(graph, labelled, 8, strategy=method, features=X)
    assert y[chosen[0]] == 2
    assert np.unique([*labelled, *chosen]).size == 10


def test_choices_of_jlp_are_those_of_solving_afresh(rng):
    X, _ = datasets.digits()
    graph = build_graph(X[:300], 8, edges="sum", metric="euclidean").astype(np.float64)
    known = np.zeros(300, dtype=bool)
    known[:3] = True
    chosen = select(graph, known, 6, filter=Diffusion(0.9), solver="direct")
    for i in chosen:
        scores = diffuse(graph, known * 1.0, filter=Diffusion(0.9), solver="direct").scores
        scores[known] = np.inf
        assert scores[i] <= scores.min() + 1e-12
        known[i] = True
    assert known[:3].all()


def test_coreset_is_the_greedy_cover(rng):
    X, _, graph = three_clusters(rng)
    chosen = select(graph, [5], 10, strategy="coreset", features=X)
    centres = [5]
    for i in chosen:
        nearest = np.linalg.norm(X[:, None] - X[centres], axis=-1).min(axis=1)
        assert nearest[i] == pytest.approx(nearest.max(), rel=1e-4)
        centres.append(int(i))


def test_entropy_takes_the_least_certain(rng):
    _, y, graph = three_clusters(rng)
    labels = np.where(np.arange(60) % 20 == 0, y, -1)
    result = propagate(graph, labels)
    chosen = select(graph, labels >= 0, 4, strategy="entropy", distributions=result.distributions)
    others = np.setdiff1d(np.flatnonzero(labels < 0), chosen)
    assert result.certainty[chosen].max() <= result.certainty[others].min()


def test_without_labels_the_hub_is_asked_about_first():
    star = np.zeros((6, 6))
    star[2, [0, 1, 3, 4]] = star[[0, 1, 3, 4], 2] = 1.0  # node 5 is alone
    assert select(graph_from_affinity(star), [], 1).tolist() == [2]
    assert select(graph_from_affinity(star), [2], 1).tolist() == [5]


def test_random_choices_are_uniform_and_repeatable(rng):
    _, _, graph = three_clusters(rng)
    first, again = (select(graph, [1, 2], 58, strategy="random", random_state=6) for _ in range(2))
    assert (first == again).all()
    assert sorted(first) == [0, *range(3, 60)]


def test_chosen_labels_beat_random_ones_where_a_cluster_is_small(rng):
    sizes = [150, 150, 150, 8, 8]
    y = np.repeat(np.arange(5), sizes)
    X = 4 * np.eye(5)[y] + 0.5 * rng.standard_normal((y.size, 5))
    graph = build_graph(X, 6, edges="sum")
    found = {}
    for method in ("jlp", "random"):
        chosen = [select(graph, [0], 6, strategy=method, random_state=s) for s in range(10)]
        found[method] = np.mean([np.unique(y[[0, *ids]]).size for ids in chosen])
    assert found["jlp"] == 5
    assert found["random"] < 4.5


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"strategy": "magic"}, "strategy must be one of"),
        ({"budget": 60}, "only 59 points are not labelled"),
        ({"labelled": [60]}, r"labelled must lie in 0\.\.59"),
        ({"labelled": [-1]}, r"labelled must lie in 0\.\.59"),
        ({"labelled": [0.0]}, "labelled must be ids"),
        ({"strategy": "coreset"}, "needs features of 60 rows"),
        ({"strategy": "entropy"}, "needs distributions of 60 rows"),
        ({"strategy": "coreset", "features": np.ones((3, 2))}, "needs features of 60 rows, got 3"),
    ],
)
def test_what_cannot_be_chosen_is_refused(rng, change, match):
    _, _, graph = three_clusters(rng)
    settings = {"labelled": [0], "budget": 2} | change
    with pytest.raises(ValueError, match=match):
        select(graph, **settings)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint64, np.int64])
def test_labels_at_the_end_of_their_dtype_have_prototypes(dtype):
    labels = np.array([0, 127], dtype)
    P = weighted_prototypes(np.eye(2), labels, np.ones(2))
    assert P.shape == (128, 2)
    np.testing.assert_array_equal(P[[0, 127]], np.eye(2))
    assert not P[1:127].any()


def test_a_label_that_would_fill_the_memory_is_refused():
    with pytest.raises(
        MemoryBudgetError, match=r"prototypes of 4611686018427387905 classes .* number the classes from 0"
    ):
        weighted_prototypes(np.eye(2), np.array([0, 2**62]), np.ones(2))
    assert weighted_prototypes(np.eye(2), [-1, -1], [1, 1]).shape == (0, 2)
    with pytest.raises(ValueError, match=r"relevance must be numbers \(2,\)"):
        weighted_prototypes(np.eye(2), [0, 1], [1])


def test_labels_of_any_integers_are_cleaned_alike():
    rng = np.random.default_rng(17)
    X, labels, clean = rng.standard_normal((40, 5)), np.arange(40) % 2, np.arange(40) < 10
    r = clean_labels(X, labels, clean, n_neighbors=5, random_state=3)
    for high in (labels.astype(np.int8) + np.int8(126), labels.astype(np.uint64) + np.uint64(2**63 + 5)):
        np.testing.assert_array_equal(clean_labels(X, high, clean, n_neighbors=5, random_state=3), r)


def test_old_names_of_what_is_no_label_method_warn():
    X, labels, clean = np.eye(4) + 0.1, np.zeros(4, int), np.arange(4) < 2
    with pytest.warns(ManifoldDeprecationWarning, match=r"clean_labels\(relevance=\) now"):
        old = clean_labels(X, labels, clean, method="diffusion")
    np.testing.assert_array_equal(old, clean_labels(X, labels, clean, relevance="diffusion"))
    graph = build_graph(X, 2)
    with pytest.warns(ManifoldDeprecationWarning, match=r"select\(strategy=\) now"):
        old = select(graph, [0], 2, method="random", random_state=1)
    np.testing.assert_array_equal(old, select(graph, [0], 2, strategy="random", random_state=1))
