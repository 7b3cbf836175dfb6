"""Points far from all labels, class shares that are impossible, and numbers at the end of their range."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import manifold as mf
from manifold.errors import ConvergenceWarning, ManifoldWarning
from manifold.labels import _far, _swept, certainty, sinkhorn
from manifold.solvers import Chebyshev, ConjugateGradient, PowerIteration


def path(n, dtype="float32"):
    ones = np.ones(n - 1)
    return mf.graph_from_affinity(sparse.diags_array([ones, ones], offsets=[-1, 1]).tocsr()).astype(dtype)


def at_the_ends(n):
    labels = np.full(n, -1)
    labels[0], labels[-1] = 0, 1
    return labels


@pytest.fixture(params=["few", "many"])
def sweeps(request, monkeypatch):
    """Far nodes by the sweeps of few, and by those of many."""
    if request.param == "many":
        pytest.importorskip("numba")
        monkeypatch.setattr(_swept, "_MANY", 1)


def dense_shares(graph, labels, alpha=0.95):
    """Rows of (I - alpha S)^-1 Y in rows of sum 1, by a factor that keeps each entry right relative to itself."""
    root = graph.degrees**-0.5
    S = root[:, None] * graph.affinity.toarray().astype(np.float64) * root
    F = np.linalg.solve(np.eye(graph.n_nodes) - alpha * S, np.equal.outer(labels, [0, 1]) * 1.0)
    return F / F.sum(axis=1, keepdims=True)


@pytest.mark.usefixtures("sweeps")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", ["lgc", "resolvent_mbo"])
@pytest.mark.parametrize("n", [300, 1000])
def test_every_point_of_a_path_gets_the_label_that_is_nearer(n, method, dtype):
    result = mf.propagate(path(n, dtype), at_the_ends(n), method=method)
    np.testing.assert_array_equal(result.labels, np.arange(n) >= n // 2)
    assert result.reached.all()


@pytest.mark.usefixtures("sweeps")
@pytest.mark.parametrize("solver", [ConjugateGradient(1e-3), PowerIteration(), Chebyshev(), "direct", "auto"], ids=str)
def test_shares_far_from_labels_are_those_of_the_dense_solve(solver):
    graph, labels = path(300), at_the_ends(300)
    labels[3] = 1
    result = mf.propagate(graph, labels, solver=solver, normalize_seeds=False, clamp=False)
    np.testing.assert_allclose(result.distributions, dense_shares(graph, labels), atol=0.05)
    assert (result.labels == dense_shares(graph, labels).argmax(axis=1)).all()


@pytest.mark.usefixtures("sweeps")
def test_a_curve_of_neighbours_has_the_labels_of_the_exact_solve():
    t = np.linspace(0, 1, 800)
    X = np.stack([np.cos(6 * np.pi * t) * t, np.sin(6 * np.pi * t) * t], axis=1)
    graph = mf.build_graph(X, 4, metric="euclidean", edges="sum")
    labels = at_the_ends(800)
    result = mf.propagate(graph, labels)
    np.testing.assert_array_equal(result.labels, dense_shares(graph, labels).argmax(axis=1))


@pytest.mark.usefixtures("sweeps")
def test_points_that_are_heard_keep_their_scores_to_the_bit():
    graph = path(300)
    labels = at_the_ends(300)
    Y = sparse.csc_array(np.equal.outer(labels, [0, 1]) * 1.0)
    plain = mf.diffuse(graph, Y, solver=ConjugateGradient(rtol=1e-5))
    result = mf.propagate(graph, labels)
    near = (plain.scores > 100 * plain.error_bound).any(axis=1)
    assert 20 < near.sum() < 60
    np.testing.assert_array_equal(result.scores[near], plain.scores[near])
    assert (abs(result.scores - plain.scores) <= plain.error_bound).all()
    assert result.solution.status == plain.status


def cloud(n=700):
    """Neighbours in a plane, and two labels."""
    X, labels = np.random.default_rng(5).normal(size=(n, 2)), np.full(n, -1)
    labels[[3, 8]] = 0, 1
    return mf.build_graph(X, 6, metric="euclidean", edges="sum"), labels


@pytest.mark.usefixtures("sweeps")
@pytest.mark.parametrize("much", [1, 1e9], ids=["swept", "solved for"])
def test_where_much_is_far_shares_are_those_of_the_dense_solve(monkeypatch, much):
    graph, labels = cloud()
    monkeypatch.setattr(_far, "_MUCH", much)
    asked = {"method": "lgc", "solver": ConjugateGradient(rtol=0.01), "normalize_seeds": False, "clamp": False}
    found = mf.propagate(graph, labels, **asked)
    np.testing.assert_allclose(found.distributions, dense_shares(graph, labels), atol=0.02)


@pytest.mark.parametrize("together", [64, 1 << 16])
@pytest.mark.usefixtures("sweeps")
def test_the_error_beside_a_residual_holds(monkeypatch, together):
    """Of scores that are anything: a bound on the distance to the answer, and the residual itself."""
    monkeypatch.setattr(_swept, "_TOGETHER", together)
    graph, labels = cloud()
    rng, root = np.random.default_rng(7), np.sqrt(graph.degrees)
    A = np.eye(700) - 0.9 * graph.affinity.toarray() / np.outer(root, root)
    Y, x = np.equal.outer(labels, [0, 1]) * 3.0, rng.random((700, 2)).astype(np.float32)
    system = _swept.FarSystem(graph, sparse.csr_array(Y), pole=(0.2, 0.9), signed=False)
    r, error = system.residual(x)
    np.testing.assert_allclose(r, 0.2 * Y - A @ x, atol=1e-6)
    distance = abs(x - np.linalg.solve(A, 0.2 * Y)) / root[:, None]
    assert (distance.max(axis=0) <= error).all()
    assert (error <= 20 * distance.max(axis=0)).all()


@pytest.mark.usefixtures("sweeps")
def test_sweeps_that_do_not_suffice_are_said(monkeypatch):
    monkeypatch.setattr(_swept, "_MAX_SWEEPS", 1 if _swept._MANY == 1 else 120)  # powers of S, which take an edge each
    with pytest.warns(ConvergenceWarning, match="MAX_ITER"):
        result = mf.propagate(path(300), at_the_ends(300), method="lgc", filter=mf.Diffusion(0.9))
    assert {status.name for status in result.solution.status} == {"MAX_ITER"}


@pytest.mark.usefixtures("sweeps")
@pytest.mark.parametrize("kind", ["classes", "values", "multilabel"])
def test_where_nothing_is_left_of_any_label_the_marker_says_so(kind):
    """At alpha = 0.01 a score falls to a 200th from node to node: below float64 after some 135 of them."""
    n, labels = 400, at_the_ends(400).astype(float)
    labels[1:-1] = np.nan
    y = np.stack([labels, 1 - labels], axis=1) if kind == "multilabel" else labels
    with pytest.warns(ManifoldWarning, match=r"points are not reached by any label .* too far away") as caught:
        result = mf.propagate(path(n), y, kind=kind, filter=mf.Diffusion(0.01))
    assert len(caught) == 1
    first, last = np.flatnonzero(~result.reached)[[0, -1]]
    assert 120 < first < 140
    assert last == n - 1 - first
    assert f"{last - first + 1} of 400" in str(caught[0].message)
    assert (result.certainty[first : last + 1] == 0).all()
    found = result.labels if result.labels.ndim == 1 else result.labels[:, 0]
    assert (found[:first] == 0).all()
    assert (found[last + 1 :] == 1).all()
    assert (np.isnan(found) if kind == "values" else found == -1)[first : last + 1].all()
    assert np.isfinite(result.distributions).all()


def test_alpha_0_reaches_no_one_else():
    with pytest.warns(ManifoldWarning, match="3 of 5 points are not reached"):
        result = mf.propagate(path(5), at_the_ends(5), filter=mf.Diffusion(0.0))
    assert result.labels.tolist() == [0, -1, -1, -1, 1]


def test_a_filter_without_poles_does_not_guess():
    with pytest.warns(ManifoldWarning, match="points are not reached by any label .* too far away"):
        result = mf.propagate(path(300), at_the_ends(300), filter=mf.Polynomial((0, 0, 1)), solver="chebyshev")
    assert (result.labels[3:-3] == -1).all()
    assert result.labels[[0, 2, -3, -1]].tolist() == [0, 0, 1, 1]


def test_certainty_of_an_unreached_point_is_0():
    graph = mf.graph_from_affinity(np.kron(np.eye(2), [[0, 1], [1, 0]]))
    for c in range(2, 12):
        labels = np.zeros((4, c))
        labels[:2] = np.eye(c)[[0, -1]]
        with pytest.warns(ManifoldWarning, match="2 of 4 points"):
            result = mf.propagate(graph.astype("float64"), labels, kind="soft")
        assert result.certainty.tolist() == [1, 1, 0, 0]
    for c in range(2, 3000):
        assert certainty(np.full((1, c), 1 / c)).tolist() == [0]


# impossible class shares


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("P", "most"),
    [([[1, 0], [1, 0], [0, 1]], 1), ([[1, 0], [1, 0], [0.5, 0.5]], 0.6), ([[1, 0], [1, 0], [1, 1e-20]], 0.6)],
)
def test_sinkhorn_of_impossible_priors_is_finite_and_says_so(dtype, P, most):
    """Two of three points are of the first class whatever the factors: its share is no less than 2/3."""
    for first in [x for x in (1e-9, 0.001, 0.5, 0.999) if x <= most]:
        before, priors = np.array(P, dtype=dtype), [first, 1 - first]
        with pytest.warns(ConvergenceWarning, match="the priors may be impossible on this graph"):
            Q = sinkhorn(before, priors)
        assert Q.dtype == dtype
        assert np.isfinite(Q).all()
        np.testing.assert_allclose(Q.sum(axis=1), 1, rtol=1e-6)
        np.testing.assert_array_equal(Q[before == 0], 0)


@pytest.mark.parametrize("method", ["lgc", "harmonic", "poisson"])
def test_a_component_without_a_class_and_priors_that_want_it(method):
    graph = mf.graph_from_affinity(np.kron(np.eye(3), [[0, 1], [1, 0]]))
    labels = ["a", None, "a", None, "b", None]
    with pytest.warns(ConvergenceWarning, match="the priors may be impossible on this graph"):
        result = mf.propagate(graph, labels, method=method, balance="sinkhorn", priors="uniform")
    assert result.labels.tolist() == ["a"] * 4 + ["b"] * 2
    np.testing.assert_array_equal(result.distributions, np.repeat([[1, 0], [1, 0], [0, 1]], 2, axis=0))
    np.testing.assert_array_equal(result.certainty, 1)


# numbers at the end of their range


@pytest.mark.parametrize(
    ("size", "shares"), [(1e308, [0.75, 0.25]), (1e300, [0.75, 0.25]), (1e-300, [0.75, 0.25]), (5e-324, [1, 0])]
)
def test_soft_rows_of_any_size_are_shares(size, shares):
    plain = np.array([shares, [0, 0], [0, 0], [0, 1]])
    rows = np.array([np.divide(shares, shares[0]), [0, 0], [0, 0], [0, 1]]) * size
    ours, theirs = (mf.propagate(path(4), y, kind="soft").distributions for y in (rows, plain))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    np.testing.assert_allclose(ours[0], shares)


@pytest.mark.parametrize("size", [1e39, 1e-39, 1.5e308, 1e-300])
def test_real_values_of_any_size_are_averaged(size):
    labels = np.array([1.0, np.nan, np.nan, -1.0])
    found = mf.propagate(path(4), labels * size, kind="values")
    np.testing.assert_allclose(found.labels / size, mf.propagate(path(4), labels, kind="values").labels, rtol=1e-6)
    assert found.labels.dtype == np.float64
    np.testing.assert_allclose(found.labels[[0, 3]], [size, -size])
