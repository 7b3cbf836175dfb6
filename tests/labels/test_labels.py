"""Label propagation against closed forms, dense solves, scikit-learn, and what must hold on any graph."""

from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from cases import BACKENDS, GRAPHS, dense_scores, make_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import laplacian
from scipy.stats import chi2, chisquare

import manifold as mf
from manifold import datasets
from manifold.errors import ConvergenceError, ManifoldWarning
from manifold.labels import (
    METHODS,
    Harmonic,
    IterativeCleaning,
    Poisson,
    PoissonMBO,
    ResolventMBO,
    certainty,
    class_mass,
    class_weights,
    estimated_priors,
    mean_shift,
    propagation_memory,
    sinkhorn,
)
from manifold.labels._base import label_means
from manifold.labels.mbo import prices

EXACT = mf.solvers.ConjugateGradient(rtol=1e-12)
PATH = np.eye(5, k=1) + np.eye(5, k=-1)


def exact_lgc(graph, labels, **options):
    """The paper's own setting, solved to rounding: F = (1 - alpha) (I - alpha S)^-1 Y with ones in Y."""
    return mf.propagate(
        graph, labels, solver=EXACT, normalize_seeds=False, clamp=False, **{"filter": mf.Diffusion(0.99), **options}
    )


def few_labels(y, rng, per_class=1):
    labels = np.full(len(y), -1)
    for c in np.unique(y):
        chosen = rng.choice(np.flatnonzero(y == c), per_class, replace=False)
        labels[chosen] = c
    return labels


def drawn_labels(y, m, rng):
    """Labels of m points drawn uniformly, whatever classes they are of."""
    labels = np.full(len(y), -1)
    chosen = rng.choice(len(y), m, replace=False)
    labels[chosen] = y[chosen]
    return labels


@pytest.fixture(scope="module")
def joined():
    """Clusters, weakly joined so that there is one component."""
    return mf.graph_from_affinity(GRAPHS["clusters"]() + 0.01).astype("float64")


@pytest.fixture(scope="module")
def digits():
    X, y = datasets.digits()
    return X, y, mf.build_graph(X, 10, edges="sum")


@pytest.fixture(scope="module")
def clusters():
    """Ten Gaussian clusters in 20 dimensions, 80 points each."""
    rng = np.random.default_rng(811)
    y = np.arange(800) % 10
    X = rng.standard_normal((10, 20))[y] + 0.9 * rng.standard_normal((800, 20))
    return y, mf.build_graph(X, 10, metric="euclidean", edges="sum")


# local and global consistency


def test_lgc_is_the_closed_form(joined):
    graph = joined
    labels = np.full(150, -1)
    labels[[3, 50, 77, 140]] = [0, 1, 2, 1]
    Y = (labels[:, None] == np.arange(3)).astype(float)
    result = exact_lgc(graph, labels)
    np.testing.assert_allclose(result.scores, dense_scores(graph, Y, mf.Diffusion(0.99)), atol=1e-12)
    np.testing.assert_allclose(result.distributions[result.reached].sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.2, 0.9, 0.99])
def test_lgc_agrees_with_label_spreading(alpha, joined):
    from sklearn.semi_supervised import LabelSpreading

    labels = np.full(150, -1)
    labels[[3, 50, 77, 140, 9]] = [0, 1, 2, 1, 4]
    W = joined.affinity.toarray()
    theirs = LabelSpreading(kernel=lambda X, _: W, alpha=alpha, tol=0, max_iter=5000)
    with pytest.warns(match="max_iter=5000 was reached"):
        theirs.fit(np.zeros((150, 1)), labels)
    ours = exact_lgc(joined, labels, filter=mf.Diffusion(alpha))
    np.testing.assert_allclose(ours.distributions, theirs.label_distributions_, atol=1e-6)
    np.testing.assert_array_equal(ours.labels, theirs.transduction_)


def test_float32_labels_are_those_of_float64(digits):
    _, y, graph = digits
    labels = few_labels(y, np.random.default_rng(7))
    single, double = mf.propagate(graph, labels), mf.propagate(graph.astype("float64"), labels, solver=EXACT)
    assert single.distributions.dtype == np.float32
    assert (single.labels == double.labels).mean() > 0.999


def test_scale_of_seeds(joined):
    """Dividing the columns of Y by class size changes nothing for balanced labels, and may for unbalanced ones."""
    graph = joined
    labels = np.full(150, -1)
    labels[[3, 50, 77, 140]] = [0, 1, 0, 1]
    balanced = [mf.propagate(graph, labels, normalize_seeds=on, priors="uniform") for on in (True, False)]
    np.testing.assert_allclose(balanced[0].distributions, balanced[1].distributions, atol=1e-12)
    labels[[4, 5, 6, 7, 8]] = 0
    counts = np.array([7, 2])
    ones, divided = (
        mf.propagate(graph, labels, method="lgc", normalize_seeds=n, priors="uniform", clamp=False) for n in (0, 1)
    )
    np.testing.assert_allclose(divided.scores / ones.scores[:, :1], (ones.scores * 4.5 / counts) / ones.scores[:, :1])
    assert (ones.labels != divided.labels).any()


def test_filters_and_solvers(digits):
    _, y, graph = digits
    labels = few_labels(y, np.random.default_rng(7))
    for filter in (mf.Heat(10), mf.RegularizedDiffusion(0.95)):
        for method in ("lgc", "resolvent_mbo", IterativeCleaning(3)):
            result = mf.propagate(graph, labels, method=method, filter=filter)
            assert (result.labels == y).mean() > 0.75, (filter, method)
    direct = mf.propagate(graph, labels, solver="direct")
    np.testing.assert_allclose(mf.propagate(graph, labels).distributions, direct.distributions, atol=5e-3)


def test_a_refresh_starts_from_the_scores_of_before(digits):
    _, y, graph = digits
    labels = few_labels(y, np.random.default_rng(7))
    before = mf.propagate(graph, labels)
    again = mf.propagate(graph, labels, x0=before.scores)
    assert again.solution.n_iter.max() <= 2 < before.solution.n_iter.min()
    for method in ("harmonic", "poisson"):
        first = mf.propagate(graph, labels, method=method)
        second = mf.propagate(graph, labels, method=method, x0=first.scores)
        assert second.solution.n_iter.max() < first.solution.n_iter.max()


def test_failures_are_said_and_progress_is_shown(digits):
    _, y, graph = digits
    labels = few_labels(y, np.random.default_rng(7))
    hasty = mf.solvers.ConjugateGradient(rtol=1e-5, max_iter=2)
    with pytest.raises(ConvergenceError, match="MAX_ITER in 10 columns"):
        mf.propagate(graph, labels, solver=hasty, on_failure="raise")
    for method in (Harmonic(max_iter=2), Poisson(max_iter=2)):
        with pytest.warns(ManifoldWarning, match="MAX_ITER"):
            mf.propagate(graph, labels, method=method)
    seen = []
    mf.propagate(graph, labels, callback=seen.append)
    assert seen[-1].residual.max() <= 1e-5


# certainty and weights of classes


def test_certainty_of_appendix_9():
    sure = certainty(np.array([[0.1] * 10, [0.9, *[0.1 / 9] * 9], [0] * 10, [1, *[0] * 9]], dtype=float))
    np.testing.assert_allclose(sure, [0, 0.763394, 0, 1], atol=5e-7)


def test_certainty_with_an_unreachable_node():
    graph = make_graph("isolated nodes")  # edges 1-2-5, the others alone
    with pytest.warns(ManifoldWarning, match=r"3 of 7 points are not reached by any label \(first: 3\)") as caught:
        result = mf.propagate(graph, [4, 0, 1, -1, -1, -1, -1])
    assert caught[0].filename == __file__
    assert np.isfinite(result.certainty).all()
    np.testing.assert_array_equal(result.reached, [1, 1, 1, 0, 0, 1, 0])
    np.testing.assert_array_equal(result.certainty[[0, 1, 2]], 1)
    np.testing.assert_allclose(result.certainty[~result.reached], 0, atol=1e-15)
    np.testing.assert_array_equal(result.labels[~result.reached], -1)
    np.testing.assert_allclose(result.distributions[~result.reached], 1 / 3)
    assert 0 <= result.certainty[5] < 1


def test_class_weights_of_paper_and_code():
    columns = np.repeat([0, 1, 2, -1], [10, 20, 70, 5])
    paper, code = (class_weights(columns, 3, mode=mode) for mode in ("paper", "code"))
    assert paper.mean() == pytest.approx(1)
    assert code[columns[:100]].mean() == pytest.approx(1)
    np.testing.assert_allclose(paper / paper[2], [7, 3.5, 1])
    np.testing.assert_allclose(code, 100 / 3 / np.array([10, 20, 70]))
    np.testing.assert_array_equal(class_weights([0, 0], 2), [1, 0])
    np.testing.assert_array_equal(class_weights(np.array([0, 0], np.uint64), 2), [1, 0])
    np.testing.assert_array_equal(class_weights([], 2), [0, 0])
    with pytest.raises(ValueError, match="'paper' or 'code'"):
        class_weights([0], 1, mode="book")
    for columns in ([0, 3], [[0]]):
        with pytest.raises(ValueError, match=r"columns must be integers \(n,\) below n_classes=3"):
            class_weights(columns, 3)
    with pytest.raises(TypeError, match="columns must hold integers, got dtype float64"):
        class_weights([0.5], 3)


def test_class_weights_of_a_propagation(digits):
    _, y, graph = digits
    result = mf.propagate(graph, few_labels(y, np.random.default_rng(7)))
    assert result.class_weights.mean() == pytest.approx(1)
    np.testing.assert_allclose(
        result.class_weights * np.bincount(result.labels), 1 / np.mean(1 / np.bincount(result.labels))
    )


# harmonic functions


def test_harmonic_path_of_appendix_6():
    result = mf.propagate(mf.graph_from_affinity(PATH).astype("float64"), [0, -1, -1, -1, 1], method="harmonic")
    np.testing.assert_allclose(result.distributions[:, 1], [0, 0.25, 0.5, 0.75, 1], atol=1e-8)


def test_harmonic_is_the_dense_solve(rng):
    graph = make_graph("clusters")
    W = graph.affinity.toarray()
    L = np.diag(W.sum(axis=1)) - W
    labels = np.full(150, -1)
    for component in range(graph.n_components):
        nodes = np.flatnonzero(graph.components == component)
        labels[nodes[:3]] = rng.integers(0, 3, min(3, nodes.size))
    u, known = np.flatnonzero(labels < 0), np.flatnonzero(labels >= 0)
    f = np.linalg.solve(L[np.ix_(u, u)], W[np.ix_(u, known)] @ (labels[known, None] == np.arange(3)))
    result = mf.propagate(graph, labels, method=Harmonic(rtol=1e-12))
    np.testing.assert_allclose(result.scores[u], f, atol=1e-8)
    np.testing.assert_allclose(result.scores.sum(axis=1), 1, atol=1e-8)
    assert -1e-8 <= result.scores.min() <= result.scores.max() <= 1 + 1e-8


def test_class_mass_of_appendix_8():
    f = np.array([[0.6, 0.4], [0.55, 0.45], [0.7, 0.3]])
    scaled = np.array([[0.97297, 0.69565], [0.89189, 0.78261], [1.13514, 0.52174]])
    np.testing.assert_allclose(class_mass(f, [3, 2]), scaled / scaled.sum(axis=1, keepdims=True), atol=1e-5)


# Poisson learning


def test_poisson_path_of_appendix_7():
    result = mf.propagate(mf.graph_from_affinity(PATH[:3, :3]).astype("float64"), [0, -1, 1], method="poisson")
    np.testing.assert_allclose(result.scores[:, 0], [0.5, 0, -0.5], atol=1e-8)


def test_poisson_is_the_pseudoinverse(clusters):
    y, graph = clusters
    graph = graph.astype("float64")
    labels = few_labels(y, np.random.default_rng(9))
    assert graph.n_components == 1
    sources = np.where(labels[:, None] >= 0, (labels[:, None] == np.arange(10)) - 0.1, 0)
    np.testing.assert_allclose(sources.sum(axis=0), 0, atol=1e-12)
    # the pseudoinverse on sources of sum 0; that by singular values is 4e-6 off here in one release of NumPy
    u = np.linalg.solve(laplacian(graph.affinity.toarray()) + 1 / len(y), sources)
    u -= graph.degrees @ u / graph.degrees.sum()
    result = mf.propagate(graph, labels, method=Poisson(rtol=1e-12))
    np.testing.assert_allclose(result.scores, u, atol=1e-8)
    np.testing.assert_allclose(graph.degrees @ result.scores, 0, atol=1e-8)


def test_poisson_in_pieces():
    """Each component has sources of its own; one with a single class gets that class, without a doubt."""
    W = np.kron(np.eye(3), 1 - np.eye(4))
    labels = np.full(12, -1)
    labels[[0, 1, 4]] = [0, 1, 1]
    with pytest.warns(ManifoldWarning, match="4 of 12 points"):
        result = mf.propagate(mf.graph_from_affinity(W).astype("float64"), labels, method="poisson")
    np.testing.assert_array_equal(result.labels[4:], [1] * 4 + [-1] * 4)
    np.testing.assert_array_equal(result.certainty[4:], [1] * 4 + [0] * 4)
    for part in (slice(0, 4), slice(4, 8)):
        np.testing.assert_allclose(result.scores[part].sum(axis=0), 0, atol=1e-12)


def test_few_labels_in_clusters(clusters):
    """One label per class: Poisson learning far above harmonic functions, which class masses repair."""
    y, graph = clusters
    accuracy = {name: [] for name in ("harmonic", "lgc", "poisson", "balanced")}
    for seed in range(20):
        labels = few_labels(y, np.random.default_rng(seed))
        for name, values in accuracy.items():
            method, balance = ("harmonic", "mass") if name == "balanced" else (name, None)
            result = mf.propagate(graph, labels, method=method, balance=balance)
            values.append((result.labels == y)[labels < 0].mean())
    mean = {name: np.mean(values) for name, values in accuracy.items()}
    assert mean["poisson"] > mean["harmonic"] + 0.07
    assert mean["poisson"] > mean["lgc"] > mean["harmonic"]
    assert mean["balanced"] > mean["harmonic"] + 0.07


# class balance


def random_distributions(rng, n=60, c=4):
    P = rng.random((n, c)) ** 3
    return P / P.sum(axis=1, keepdims=True)


def test_sinkhorn_meets_the_priors(rng):
    P, priors = random_distributions(rng), np.array([0.4, 0.3, 0.2, 0.1])
    Q = sinkhorn(P, priors, rtol=1e-10)
    np.testing.assert_allclose(Q.sum(axis=1), 1)
    np.testing.assert_allclose(Q.mean(axis=0), priors, rtol=1e-9)
    np.testing.assert_allclose(sinkhorn(Q, priors), Q, rtol=1e-9)
    odds = np.log(Q / P)  # Q = diag(u) P diag(v)
    np.testing.assert_allclose(odds - odds[:1] - odds[:, :1] + odds[0, 0], 0, atol=1e-12)
    with pytest.warns(ManifoldWarning, match="column means are .* after 50 iterations"):
        sinkhorn(np.eye(2)[[0, 0, 0, 1]], [0.5, 0.5], max_iter=50)


@pytest.mark.parametrize("balance", [class_mass, mean_shift, sinkhorn])
def test_balance_is_a_map_of_distributions(balance, rng):
    P, priors = random_distributions(rng), np.array([0.4, 0.3, 0.2, 0.1])
    before = P.copy()
    Q = balance(P, priors)
    np.testing.assert_array_equal(P, before)
    np.testing.assert_allclose(Q.sum(axis=1), 1)
    order = rng.permutation(60)
    np.testing.assert_allclose(balance(P[order], priors), Q[order])
    np.testing.assert_allclose(balance(P[:, ::-1], priors[::-1]), Q[:, ::-1])
    np.testing.assert_allclose(balance(P, 7 * priors), Q)  # priors at any scale
    with pytest.raises(ValueError, match="one share for each of the 4 classes"):
        balance(P, [0.5, 0.5])
    with pytest.raises(ValueError, match="positive and finite"):
        balance(P, [1, 1, 1, 0])


def test_estimated_priors_are_between_equal_shares_and_the_counts():
    np.testing.assert_allclose(estimated_priors([5, 5, 5]), 1 / 3)
    np.testing.assert_allclose(estimated_priors([1]), 1)
    np.testing.assert_allclose(estimated_priors([3, 1]), 0.5)
    np.testing.assert_allclose(estimated_priors([9000, 1000]), [0.9, 0.1], atol=1e-3)
    counts = np.array([60, 30, 10])
    t = chi2.ppf(0.95, 2) / chisquare(counts).statistic
    np.testing.assert_allclose(estimated_priors(counts), t / 3 + (1 - t) * counts / 100)
    draws = np.random.default_rng(5).multinomial(60, [0.25] * 4, size=400)
    assert 0.92 < np.mean([np.ptp(estimated_priors(n)) < 1e-12 for n in draws]) < 0.98


def test_estimated_priors_help_where_classes_are_unequal(digits):
    """With classes from 10 to 1, labels drawn uniformly: better than equal shares; on equal classes no worse."""
    X, y, graph = digits
    keep = np.concatenate([np.flatnonzero(y == c)[: int(170 * 10 ** (-c / 9))] for c in range(10)])
    gain = []
    for g, truth in ((mf.build_graph(X[keep], 10, edges="sum"), y[keep]), (graph, y)):
        accuracy = np.zeros(2)
        for seed in range(8):
            labels = drawn_labels(truth, 60, np.random.default_rng(seed))
            for j, priors in enumerate(("uniform", "estimated")):
                result = mf.propagate(g, labels, priors=priors, balance="sinkhorn")
                accuracy[j] += (result.labels == truth)[labels < 0].mean() / 8
        gain.append(accuracy[1] - accuracy[0])
    assert gain[0] > 0.01
    assert gain[1] > -0.005


@pytest.mark.parametrize("m", [10, 30, 100])
def test_unbalanced_labels_do_not_fall_below_the_nearest_neighbour(digits, m):
    X, y, graph = digits
    Z = X / np.linalg.norm(X, axis=1, keepdims=True)
    ours, nearest = [], []
    for seed in range(10):
        labels = drawn_labels(y, m, np.random.default_rng(seed))
        known, unknown = labels >= 0, labels < 0
        ours.append((mf.propagate(graph, labels).labels == y)[unknown].mean())
        nearest.append((y[known][(Z[unknown] @ Z[known].T).argmax(axis=1)] == y[unknown]).mean())
    assert np.mean(ours) > np.mean(nearest) + 0.04


# thresholding and cleaning


def test_prices_solve_the_assignment(rng):
    scores, sizes = rng.random((60, 3)), np.array([30, 20, 10])
    columns = (scores - prices(scores, sizes)).argmax(axis=1)
    np.testing.assert_array_equal(np.bincount(columns, minlength=3), sizes)
    rows, slots = linear_sum_assignment(-np.repeat(scores, sizes, axis=1))
    best = np.repeat(scores, sizes, axis=1)[rows, slots].sum()
    assert scores[np.arange(60), columns].sum() == pytest.approx(best)
    np.testing.assert_array_equal(prices(np.zeros((0, 3)), np.zeros(3, int)), 0)
    np.testing.assert_array_equal((scores - prices(scores, np.array([60, 0, 0]))).argmax(axis=1), 0)


@pytest.mark.parametrize("method", [PoissonMBO(), ResolventMBO()])
def test_thresholding_keeps_the_class_sizes(method, clusters):
    y, graph = clusters
    priors = np.arange(1, 11) / 55
    result = mf.propagate(graph, few_labels(y, np.random.default_rng(9)), method=method, priors=priors)
    np.testing.assert_allclose(np.bincount(result.labels) / 800, priors, atol=0.0035)


@pytest.mark.parametrize("method", ["poisson_mbo", "resolvent_mbo"])
def test_class_sizes_that_are_impossible_are_said(method):
    W = np.kron(np.eye(2), 1 - np.eye(20))  # the second piece can only be of class 1
    labels = np.full(40, -1)
    labels[[0, 1, 20]] = [0, 1, 1]
    with pytest.warns(ManifoldWarning, match="class 0 has .* unlabelled points, its prior"):
        result = mf.propagate(mf.graph_from_affinity(W), labels, method=method, priors=[0.9, 0.1])
    assert (result.labels[20:] == 1).all()


@pytest.mark.parametrize("method", ["poisson_mbo", "resolvent_mbo", "ilpc"])
def test_the_iterated_methods_are_better_at_one_label_per_class(method, digits):
    _, y, graph = digits
    gain = []
    for seed in range(5):
        labels = few_labels(y, np.random.default_rng(seed))
        once, again = (mf.propagate(graph, labels, method=name).labels == y for name in ("lgc", method))
        gain.append(again.mean() - once.mean())
    assert np.mean(gain) > 0.015


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", [name for name in GRAPHS if name != "empty"])
def test_every_method_on_every_awkward_graph(name, method):
    """Rows of sum 1, certainties in [0, 1], labels kept, -1 exactly where no label can come from; never NaN."""
    graph = make_graph(name)
    n = graph.n_nodes
    labels = np.full(n, -1)
    labels[0], labels[n // 2], labels[n - 1] = 5, 2, 5
    reachable = np.isin(graph.components, graph.components[labels >= 0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ManifoldWarning)
        result = mf.propagate(graph, labels, method=method)
    np.testing.assert_allclose(result.distributions.sum(axis=1), 1)
    assert (result.distributions >= 0).all()
    assert ((result.certainty >= 0) & (result.certainty <= 1)).all()
    np.testing.assert_array_equal(result.reached, reachable)
    np.testing.assert_array_equal(result.labels == -1, ~reachable)
    np.testing.assert_array_equal(result.labels[labels >= 0], labels[labels >= 0])
    np.testing.assert_array_equal(result.certainty[labels >= 0], 1)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), method=st.sampled_from(["lgc", "harmonic", "poisson"]))
def test_renaming_points_and_classes_changes_nothing(seed, method):
    rng = np.random.default_rng(seed)
    W = sparse.random_array((30, 30), density=0.2, rng=rng).toarray()
    W = W + W.T + 0.01  # connected
    labels = np.full(30, -1)
    labels[rng.choice(30, 6, replace=False)] = [0, 0, 1, 2, 2, 2]
    order, names = rng.permutation(30), np.array([7, 3, 5, -1])
    one = mf.propagate(mf.graph_from_affinity(W).astype("float64"), labels, method=method, solver="auto")
    W = W[np.ix_(order, order)]
    two = mf.propagate(mf.graph_from_affinity(W).astype("float64"), names[labels][order], method=method)
    np.testing.assert_allclose(one.distributions[order][:, [1, 2, 0]], two.distributions, atol=1e-4)


@pytest.mark.parametrize("backend", ["strict", "cupy"])
def test_on_a_device(backend, clusters):
    y, graph = clusters
    labels = few_labels(y, np.random.default_rng(9))
    device = BACKENDS[backend]()
    for method in METHODS:
        here, there = (
            mf.propagate(graph, labels, method=method),
            mf.propagate(graph, labels, method=method, backend=device),
        )
        assert isinstance(there.distributions, np.ndarray)
        assert (here.labels == there.labels).mean() > 0.99


# targets of other kinds


def test_averages_are_the_dense_formula(joined):
    """value_i = sum_j K_ij y_j / sum_j K_ij with K = h(S), for real values and for several labels a point."""
    graph = joined
    known = np.array([3, 50, 77, 140])
    K = dense_scores(graph, np.eye(150)[:, known], mf.Diffusion(0.95))
    weights = K / K.sum(axis=1, keepdims=True)
    y = np.array([1.5, -2.0, 10.0, 4.0])
    values = np.full(150, np.nan)
    values[known] = y
    result = mf.propagate(graph, values, kind="values", solver=EXACT, clamp=False, on_failure="raise")
    np.testing.assert_allclose(result.labels, weights @ y, rtol=1e-6)
    local = weights @ y**2 - (weights @ y) ** 2
    np.testing.assert_allclose(result.certainty, np.clip(1 - local / y.var(), 0, 1), atol=1e-6)
    tags = np.full((150, 2), -1)
    tags[known] = [[1, 0], [1, 1], [0, 0], [0, 1]]
    result = mf.propagate(graph, tags, kind="multilabel", solver=EXACT, clamp=False)
    np.testing.assert_allclose(result.distributions, weights @ tags[known], rtol=1e-6)
    np.testing.assert_array_equal(result.labels, weights @ tags[known] >= 0.5)


def test_real_values_on_a_path():
    graph = mf.graph_from_affinity(PATH).astype("float64")
    values = np.array([[1.0, 8.0], *[[np.nan] * 2] * 3, [3.0, 0.0]])
    result = mf.propagate(graph, values, kind="values", method="harmonic")
    np.testing.assert_allclose(result.labels, [[1, 8], [1.5, 6], [2, 4], [2.5, 2], [3, 0]], atol=1e-8)
    assert mf.propagate(graph, values[:, 0], kind="values", method="harmonic").labels.shape == (5,)
    constant = mf.propagate(graph, [7.0, *[np.nan] * 4], kind="values")
    np.testing.assert_allclose(constant.labels, 7)
    with pytest.warns(ManifoldWarning, match="they get nan"):
        alone = mf.propagate(make_graph("isolated nodes"), [0.5, 2.5, *[np.nan] * 5], kind="values")
    np.testing.assert_array_equal(np.isnan(alone.labels), ~alone.reached)
    with pytest.raises(ValueError, match="needs a method that averages"):
        mf.propagate(graph, values, kind="values", method="poisson")


def test_soft_labels():
    graph = mf.graph_from_affinity(PATH).astype("float64")
    soft = np.zeros((5, 2))
    soft[0], soft[4] = [3, 1], [0, 2]
    result = mf.propagate(graph, soft, method="harmonic")
    np.testing.assert_allclose(result.distributions[:, 0], [0.75, 0.5625, 0.375, 0.1875, 0], atol=1e-8)
    np.testing.assert_array_equal(result.labelled, [1, 0, 0, 0, 1])
    one_hot = np.eye(2)[[0, 0, 0, 0, 1]] * np.array([1, 0, 0, 0, 1])[:, None]
    for method in METHODS:
        np.testing.assert_allclose(
            mf.propagate(graph, one_hot, method=method).distributions,
            mf.propagate(graph, [0, -1, -1, -1, 1], method=method).distributions,
        )


@pytest.mark.parametrize(
    "labels",
    [
        ["a", None, "b", None, None],
        np.array(["a", -1, "b", -1, -1]),
        np.array(["a", np.nan, "b", None, -1], dtype=object),
        pd.Series(["a", None, "b", None, None]),
        pd.Series(["a", None, "b", None, None], dtype="category"),
        pd.Series(["a", pd.NA, "b", pd.NA, pd.NA], dtype="string"),
        pl.Series(["a", None, "b", None, None]),
    ],
    ids=["list", "numpy text", "objects", "pandas", "category", "NA", "polars"],
)
def test_strings(labels):
    result = mf.propagate(mf.graph_from_affinity(PATH), labels)
    assert result.classes.tolist() == ["a", "b"]
    assert result.labels.tolist()[::2] == ["a", "b", "b"]


def test_memory_is_linear(rng):
    """n = 40,000 nodes of 16 edges, 10 classes: under the forecast, which is far below n^2 and n k c."""
    n, c = 40_000, 10
    i, j = np.repeat(np.arange(n), 8), (np.arange(8 * n) * 7919) % n
    W = sparse.csr_array((np.ones(8 * n, dtype=np.float32), (i, j)), shape=(n, n))
    graph = mf.graph_from_affinity(W, edges="sum")
    labels = np.full(n, -1)
    labels[:: n // 100] = rng.integers(0, c, labels[:: n // 100].size)
    for method in ("lgc", "harmonic"):
        mf.propagate(graph, labels, method=method)  # what is compiled, and kept of a graph, is no part of it
        tracemalloc.start()
        mf.propagate(graph, labels, method=method)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= propagation_memory(graph, c, method=method) <= 80e6


def test_means_of_labels_are_those_of_their_component():
    graph = make_graph("disconnected")
    seeds = np.zeros((12, 2))
    seeds[[0, 1, 2, 5], [0, 0, 1, 1]] = 1
    means = label_means(sparse.csc_array(seeds), graph.components)
    np.testing.assert_allclose(means, [[2 / 3, 1 / 3], [0, 1], [0, 0]], atol=1e-15)
