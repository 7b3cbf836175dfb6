"""Few-shot episodes: the sampler, the interval, stacked classifiers against one episode at a time, gains on digits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from manifold import Diffusion, build_graph, datasets, diffuse
from manifold.labels import few_shot, sinkhorn
from manifold.labels.few_shot import (
    centred,
    embedding_propagated,
    evaluate_episodes,
    imprinted_weights,
    mean_interval,
    power_transform,
    propagated,
    prototypes,
    sample_episodes,
)


@pytest.fixture
def stacks(rng):
    """Six episodes of 4 ways, 2 shots and 12 queries in 8 dimensions."""
    return rng.standard_normal((6, 4, 2, 8)), rng.standard_normal((6, 12, 8))


def test_episodes_are_disjoint_and_of_the_classes_they_say(rng):
    y = rng.integers(-1, 9, 700)
    episodes = sample_episodes(y, 50, n_way=4, n_shots=3, n_queries=6, random_state=5)
    assert episodes.support.shape == (50, 4, 3)
    assert episodes.queries.shape == episodes.truth.shape == (50, 24)
    for support, queries, truth in zip(episodes.support, episodes.queries, episodes.truth, strict=True):
        assert np.unique([*support.ravel(), *queries]).size == support.size + queries.size
        classes = y[support[:, 0]]
        assert (classes >= 0).all()
        assert np.unique(classes).size == 4
        assert (y[support] == classes[:, None]).all()
        assert (y[queries] == classes[truth]).all()
        assert (np.bincount(truth) == 6).all()


def test_every_class_and_every_example_is_drawn_alike():
    y = np.repeat(np.arange(6), 30)
    episodes = sample_episodes(y, 3000, n_way=3, n_shots=1, n_queries=2, random_state=11)
    drawn = np.bincount([*episodes.support.ravel(), *episodes.queries.ravel()], minlength=y.size)
    expected = 3000 * 3 * 3 / y.size  # 150 each, sd about 12
    assert abs(drawn - expected).max() < 5 * np.sqrt(expected)


def test_unbalanced_queries_follow_the_dirichlet_distribution():
    y = np.repeat(np.arange(8), 120)
    episodes = sample_episodes(y, 4000, n_queries=15, concentration=2.0, random_state=3)
    counts = np.stack([np.bincount(truth, minlength=5) for truth in episodes.truth])
    assert (counts.sum(axis=1) == 75).all()
    assert np.allclose(counts.mean(axis=0), 15, atol=0.7)
    # a share is Beta(2, 8), of variance 16 / (100 * 11); its count adds multinomial noise
    p, spread = 0.2, 16 / 1100
    expected = 75**2 * spread + 75 * (p - p**2 - spread)
    assert np.allclose(counts.var(axis=0), expected, rtol=0.12)


def test_the_same_state_draws_the_same_episodes():
    y = np.repeat(np.arange(6), 20)
    first, again, other = (sample_episodes(y, 20, n_queries=5, random_state=s) for s in (1, 1, 2))
    assert (first.support == again.support).all()
    assert (first.queries == again.queries).all()
    assert not (first.queries == other.queries).all()


def test_small_classes_are_left_out():
    y = np.repeat(np.arange(7), [30, 30, 3, 30, 30, 30, 2])
    episodes = sample_episodes(y, 40, n_queries=8, random_state=0)
    assert set(y[episodes.support.ravel()]) == {0, 1, 3, 4, 5}
    with pytest.raises(ValueError, match="only 5 classes have 9 examples"):
        sample_episodes(y, 1, n_way=6, n_queries=8)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"labels": [0.5, 1.0]}, TypeError, "labels must hold integers"),
        ({"labels": [[0, 1]]}, ValueError, "labels must be integers"),
        ({"n_episodes": 0}, ValueError, "n_episodes must be at least 1"),
        ({"n_shots": 1.0}, TypeError, "n_shots must be an integer"),
        ({"concentration": 0.0}, ValueError, "concentration must be a positive number"),
        ({"concentration": np.nan}, ValueError, "concentration must be a positive number"),
    ],
)
def test_what_makes_no_episodes_is_refused(change, error, match):
    settings = {"labels": np.repeat(np.arange(6), 20), "n_episodes": 2} | change
    with pytest.raises(error, match=match):
        sample_episodes(**settings)


def test_the_interval_of_ten_thousand_episodes():
    mean, interval = mean_interval(58.61 + 9.2 * np.tile([1.0, -1.0], 5000))
    assert mean == pytest.approx(58.61)
    assert round(interval, 3) == 0.180
    assert interval == pytest.approx(1.96 * 9.2 / 100, rel=1e-3)


def test_the_interval_of_five_values_uses_students_quantile():
    values = [0.0, 1.0, 2.0, 3.0, 4.0]
    assert mean_interval(values)[1] == pytest.approx(2.7764451 * np.sqrt(2.5) / np.sqrt(5))


def test_the_interval_covers_the_mean_as_often_as_it_says(rng):
    inside = 0
    for values in rng.normal(3.0, 2.0, (3000, 6)):
        mean, interval = mean_interval(values)
        inside += abs(mean - 3.0) <= interval
    assert inside / 3000 == pytest.approx(0.95, abs=0.014)  # three and a half standard errors


@pytest.mark.parametrize("values", [[], [1.0], [[1.0, 2.0]], [1.0, np.nan]])
def test_no_interval_without_numbers(values):
    with pytest.raises(ValueError, match="at least 2 numbers"):
        mean_interval(values)


@pytest.mark.parametrize(("k", "alpha"), [(3, 0.8), (7, 0.5), (50, 0.99)])
def test_propagated_is_diffusion_on_the_sum_graph_of_each_episode(stacks, k, alpha):
    support, queries = stacks
    found = propagated(support, queries, n_neighbors=k, alpha=alpha)
    for j in range(len(support)):
        X = np.concatenate([support[j].reshape(8, 8), queries[j]])
        graph = build_graph(X, min(k, 19), edges="sum").astype(np.float64)
        Y = np.zeros((20, 4))
        Y[np.arange(8), np.repeat(np.arange(4), 2)] = 1
        Z = diffuse(graph, Y, filter=Diffusion(alpha), solver="direct").scores[8:]
        assert np.allclose(found[j], Z / Z.sum(axis=1, keepdims=True), atol=2e-6)


@pytest.mark.parametrize("classify", [propagated, prototypes, imprinted_weights])
def test_a_stack_of_episodes_is_its_episodes(stacks, classify):
    support, queries = stacks
    together = classify(support, queries)
    assert together.shape == (6, 12, 4)
    assert (together >= 0).all()
    assert np.allclose(together.sum(axis=-1), 1)
    for j in range(6):
        assert np.allclose(together[j], classify(support[[j]], queries[[j]])[0], atol=1e-12)


@pytest.mark.parametrize("classify", [propagated, prototypes, imprinted_weights])
def test_ways_have_no_order(stacks, classify):
    support, queries = stacks
    order = [2, 0, 3, 1]
    assert np.allclose(classify(support[:, order], queries), classify(support, queries)[..., order], atol=1e-12)


def test_prototypes_are_nearest_means(stacks):
    support, queries = stacks
    unit = support / np.linalg.norm(support, axis=-1, keepdims=True)
    for j in range(6):
        q = queries[j] / np.linalg.norm(queries[j], axis=-1, keepdims=True)
        nearest = cdist(q, unit[j].mean(axis=1)).argmin(axis=1)
        assert (prototypes(support, queries)[j].argmax(axis=-1) == nearest).all()


def test_tuned_weights_fit_their_support_better(stacks):
    support, _ = stacks
    asked = support.reshape(6, 8, 8)
    truth = np.repeat(np.arange(4), 2)

    def loss(n_steps):
        P = imprinted_weights(support, asked, n_steps=n_steps)
        return -np.log(P[:, np.arange(8), truth]).mean(axis=1)

    losses = [loss(n_steps) for n_steps in (0, 5, 20)]
    assert (losses[1] < losses[0]).all()
    assert (losses[2] < losses[1]).all()


def test_a_query_that_no_label_reaches_counts_as_wrong():
    X = np.eye(6, dtype=np.float32)
    X[1, 0] = 1.0  # next to row 0; the others are orthogonal to everything
    episodes = few_shot.Episodes(np.array([[[0], [2]]]), np.array([[1, 3]]), np.array([[0, 0]]))
    assert np.allclose(propagated(X[[[[0], [2]]]], X[[[1, 3]]])[0], [[1, 0], [0.5, 0.5]])
    assert evaluate_episodes(X, _twice(episodes)).mean == 0.5


def _twice(episodes):
    return few_shot.Episodes(*(np.repeat(x, 2, axis=0) for x in (episodes.support, episodes.queries, episodes.truth)))


def test_batches_change_nothing(monkeypatch):
    X, y = datasets.digits()
    episodes = sample_episodes(y, 40, random_state=9)
    whole = evaluate_episodes(X, episodes, transforms=(centred,))
    monkeypatch.setattr(few_shot, "_BATCH_BYTES", 1)
    assert np.allclose(evaluate_episodes(X, episodes, transforms=(centred,)).values, whole.values, atol=1 / 75 + 1e-9)


def test_scores_of_a_wrong_shape_are_refused(rng):
    X, y = rng.standard_normal((60, 4)), np.repeat(np.arange(6), 10)
    episodes = sample_episodes(y, 3, n_queries=2, random_state=0)
    with pytest.raises(ValueError, match=r"classify must return \(3, 10, 5\)"):
        evaluate_episodes(X, episodes, lambda support, queries: queries)
    with pytest.raises(ValueError, match="larger collection"):
        evaluate_episodes(X[:20], episodes)


def test_power_transform_keeps_signs_and_zero_rows():
    X = np.array([[4.0, -9.0, 0.0], [0.0, 0.0, 0.0]], dtype=np.float32)
    expected = np.array([[2.0, -3.0, 0.0], [0.0, 0.0, 0.0]]) / np.sqrt(13)
    assert np.allclose(power_transform(X), expected)
    with pytest.raises(ValueError, match="beta must lie in"):
        power_transform(X, beta=0.0)


def test_centred_episodes_have_no_common_direction(stacks):
    support, queries = stacks
    apart = centred(support + 5, queries + 5)
    points = np.concatenate([apart[0].reshape(6, 8, 8), apart[1]], axis=1)
    assert np.allclose(np.linalg.norm(points, axis=-1), 1)
    assert np.linalg.norm(points.mean(axis=1), axis=-1).max() < 0.2


def test_embedding_propagation_against_its_definition(stacks):
    support, queries = stacks
    smooth = embedding_propagated(support, queries, alpha=0.5)
    X = np.concatenate([support[3].reshape(8, 8), queries[3]])
    squares = cdist(X, X, "sqeuclidean")
    A = np.exp(-squares / squares[~np.eye(20, dtype=bool)].std())
    np.fill_diagonal(A, 0)
    root = A.sum(axis=1) ** -0.5
    expected = 0.5 * np.linalg.inv(np.eye(20) - 0.5 * root[:, None] * A * root) @ X
    assert np.allclose(smooth[0][3].reshape(8, 8), expected[:8])
    assert np.allclose(smooth[1][3], expected[8:])
    scaled = embedding_propagated(7 * support, 7 * queries, alpha=0.5)
    assert np.allclose(scaled[1], 7 * smooth[1])


def test_transduction_gains_on_digits():
    X, y = datasets.digits()
    episodes = sample_episodes(y, 400, random_state=1)
    plain = evaluate_episodes(X, episodes, prototypes)
    graph = evaluate_episodes(X, episodes, propagated, transforms=(centred,))
    assert graph.mean - graph.interval > plain.mean + plain.interval + 0.05
    assert "over 400 episodes" in str(graph)


@pytest.mark.parametrize("concentration", [None, 2.0])
def test_more_shots_help(concentration):
    X, y = datasets.digits()
    means = []
    for n_shots in (1, 5):
        episodes = sample_episodes(y, 200, n_shots=n_shots, concentration=concentration, random_state=4)
        means.append(evaluate_episodes(X, episodes, propagated).mean)
    assert means[1] > means[0] + 0.05


def test_sinkhorn_balances_each_episode_of_a_stack(stacks):
    P = prototypes(*stacks)
    together = sinkhorn(P, np.full(4, 0.25), rtol=1e-8)
    assert np.allclose(together.mean(axis=1), 0.25)
    for j in range(6):
        assert np.allclose(together[j], sinkhorn(P[j], np.full(4, 0.25), rtol=1e-8), atol=1e-6)


def test_balance_helps_where_queries_are_balanced():
    X, y = datasets.digits()
    episodes = sample_episodes(y, 300, random_state=2)

    def balanced(support, queries):
        return sinkhorn(prototypes(support, queries), np.full(5, 0.2))

    plain, even = (evaluate_episodes(X, episodes, f, transforms=(centred,)) for f in (prototypes, balanced))
    gain, interval = mean_interval(even.values - plain.values)  # of pairs: the same episodes
    assert gain > interval


@pytest.mark.parametrize("classify", [propagated, prototypes, imprinted_weights])
@pytest.mark.parametrize("transform", [None, centred, embedding_propagated])
def test_zero_vectors_and_duplicates_make_no_nan(classify, transform):
    support, queries = np.ones((2, 3, 2, 4), dtype=np.float32), np.ones((2, 5, 4), dtype=np.float32)
    support[0, 1], queries[0, 2:] = 0, 0
    queries[1, 3] = -1
    if transform is not None:
        support, queries = transform(support, queries)
    P = classify(support, queries)
    assert np.isfinite(P).all()
    assert np.allclose(P.sum(axis=-1), 1)


def test_features_given_are_not_written_to(stacks):
    kept = [x.copy() for x in stacks]
    for work in (propagated, prototypes, imprinted_weights, centred, embedding_propagated):
        for x in stacks:
            x.flags.writeable = False
        work(*stacks)
    assert all((x == y).all() for x, y in zip(stacks, kept, strict=True))
