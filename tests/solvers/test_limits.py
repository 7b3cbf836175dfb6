"""Numbers at their limits: seeds and weights over the whole range of float64, alpha near 1, filters of high degree."""

from __future__ import annotations

import numpy as np
import pytest
from cases import DTYPES, adjacency
from cases import SOLVERS as CASES
from hunt import exact_scores
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory import peak_over_forecast
from scipy import sparse
from scipy.special import ive
from threadpoolctl import threadpool_limits

from manifold import Diffusion, DiffusionIndex, Heat, Polynomial, RegularizedDiffusion, diffuse, graph_from_affinity
from manifold.backends import get_backend
from manifold.errors import ConvergenceWarning, ManifoldWarning
from manifold.solvers import (
    Chebyshev,
    ConjugateGradient,
    Direct,
    FastSpectralRanking,
    Hybrid,
    Lanczos,
    PowerIteration,
    Status,
    direct,
)
from manifold.solvers._series import expand
from manifold.solvers.system import NormalizedAffinity

# a walk beside a pole at 1 takes some log(rtol) / (1 - alpha) steps: it is stopped
SOLVERS = [
    ConjugateGradient(),
    PowerIteration(max_iter=300),
    Chebyshev(max_iter=300),
    Lanczos(max_iter=50),
    Direct(),
    Hybrid(2),
    FastSpectralRanking(2),
    FastSpectralRanking(100),
    FastSpectralRanking(2, n_steps=3),
    DiffusionIndex(3),
    DiffusionIndex(100, dtype="float16"),
    DiffusionIndex(100, dtype="float64", rtol=1e-12),
]


@st.composite
def extreme_problems(draw):
    """A small graph, seeds of any size, a filter as near its pole as one likes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, dtype = draw(st.integers(1, 8)), DTYPES[draw(st.sampled_from(sorted(DTYPES)))]
    W = np.triu(rng.random((n, n)) * (rng.random((n, n)) < 0.6), 1)
    low, high = (-45, 36) if dtype == np.float32 else (-323, 306)
    Y = rng.standard_normal((n, 3)) * (rng.random((n, 3)) < 0.8)
    with np.errstate(under="ignore"):
        W *= 10.0 ** draw(st.integers(low, high))
        W *= 10.0 ** (-rng.uniform(0, draw(st.sampled_from([0, 8, 30])), W.shape))
        Y *= 10.0 ** draw(st.integers(-323, 307))
        Y *= 10.0 ** (-rng.uniform(0, draw(st.sampled_from([0, 30, 300])), Y.shape))
    alpha = draw(st.sampled_from([0.0, 0.5, 0.9, 0.99, 0.999, 1 - 1e-6, 1 - 1e-8]))
    return W + W.T, dtype, Y, alpha, draw(st.sampled_from(SOLVERS))


@pytest.mark.filterwarnings("ignore::manifold.errors.ManifoldWarning")
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(extreme_problems())
def test_no_number_out_of_range_is_certified(problem):
    W, dtype, Y, alpha, solver = problem
    with np.errstate(under="ignore"):
        graph = graph_from_affinity(W).astype(dtype)
    solution = diffuse(graph, Y, filter=Diffusion(alpha), solver=solver, on_failure="ignore")
    with np.errstate(all="ignore"):
        exact = exact_scores(graph, alpha, Y)
    assert not np.isnan(solution.error_bound).any()
    for j, status in enumerate(solution.status):
        scores, bound = solution.scores[:, j], solution.error_bound[j]
        assert status is not Status.NONFINITE
        assert np.isfinite(scores).all()
        if status is Status.CONVERGED:
            assert np.isfinite(bound)
        error = np.abs(scores.astype(np.longdouble) - exact[:, j]).max()
        assert error <= bound + np.abs(Y[:, j]).max() * np.longdouble(1e-15)


@pytest.mark.filterwarnings("ignore::manifold.errors.ManifoldWarning")
@pytest.mark.parametrize("alpha", [0.5, 1 - 1e-6, 1 - 1e-8])
@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_a_zero_column_has_no_error_beside_the_pole(solver, alpha):
    graph = graph_from_affinity(adjacency(3, [(0, 1), (1, 2)]))
    solution = diffuse(graph, np.zeros((3, 1)), filter=Diffusion(alpha), solver=solver)
    assert solution.converged
    assert solution.error_bound.tolist() == solution.residual.tolist() == [0]


@pytest.mark.filterwarnings("ignore::manifold.errors.ManifoldWarning")
def test_a_system_that_rounding_makes_singular_does_not_converge():
    graph = graph_from_affinity(adjacency(3, [(0, 1), (1, 2)]))
    one = np.eye(3)[:, :1]
    with pytest.warns(ConvergenceWarning, match="BREAKDOWN.*float64"):
        single = diffuse(graph, one, filter=Diffusion(1 - 1e-8))
    assert np.isinf(single.error_bound[0])
    double = diffuse(graph.astype(np.float64), one, filter=Diffusion(1 - 1e-8))
    assert double.converged
    error = np.abs(double.scores - exact_scores(graph, 1 - 1e-8, one)).max()
    assert error <= double.error_bound[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("size", [1e-320, 1e-60, 1e39, 1e300])
def test_scores_that_the_graph_cannot_write_down_come_in_float64(case, size):
    graph = graph_from_affinity(adjacency(4, [(0, 1), (1, 2), (2, 3)], [1, 2, 3]))
    Y = np.array([[1.0, 0.0], [0.5, 0.25], [0.0, 1.0], [0.0, 0.0]])
    solver = case.exact(DTYPES["float32"])
    near = diffuse(graph, Y, filter=Diffusion(0.5), solver=solver)
    far = diffuse(graph, Y * [1.0, size], filter=Diffusion(0.5), solver=solver)
    assert near.scores.dtype == np.float32
    assert far.scores.dtype == np.float64
    assert far.converged
    np.testing.assert_array_equal(far.scores[:, 0], near.scores[:, 0])
    with np.errstate(under="ignore"):
        np.testing.assert_allclose(far.scores[:, 1], near.scores[:, 1].astype(float) * size, rtol=1e-5, atol=1e-322)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_scores_beyond_float64_are_said(case):
    # a leaf of little weight gets more from its hub than was sown there, beside the root of the degrees
    graph = graph_from_affinity(adjacency(9, [(0, j) for j in range(1, 9)])).astype(np.float64)
    Y = np.zeros((9, 2))
    Y[1:] = np.finfo(np.float64).max, 1.0
    solver = case.exact(DTYPES["float64"])
    solution = diffuse(graph, Y, filter=Diffusion(0.9), solver=solver, on_failure="ignore")
    expected = exact_scores(graph, 0.9, Y)
    assert expected[0, 0] > np.finfo(np.float64).max
    assert [status.name for status in solution.status] == ["NONFINITE", "CONVERGED"]
    np.testing.assert_allclose(solution.scores[:, 1], expected[:, 1].astype(float), rtol=1e-9)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("weight", [5e-324, 1e-310, 1e300])
def test_weights_of_any_size_give_the_scores_of_ones(case, weight):
    edges = [(0, 1), (1, 2), (2, 3), (3, 0), (0, 2)]
    ones, others = (graph_from_affinity(adjacency(4, edges, w)).astype(np.float64) for w in (1.0, weight))
    solver, Y = case.exact(DTYPES["float64"]), np.eye(4)
    F, G = (diffuse(graph, Y, solver=solver) for graph in (ones, others))
    assert G.converged
    np.testing.assert_allclose(G.scores, F.scores, atol=1e-9)
    assert (G.error_bound < 1e-6).all()


def test_weights_over_the_whole_range_stay_symmetric():
    weights = [5e-324, 1e-300, 1e-5, 1.0, 1e200, 1e307]
    with pytest.warns(ManifoldWarning, match="do not fit float32"):
        graph = graph_from_affinity(adjacency(7, [(i, i + 1) for i in range(6)], weights))
    S = NormalizedAffinity(graph, get_backend("scipy")).entries.toarray()
    W = graph.affinity.toarray().astype(np.longdouble)
    degrees = np.sqrt(W.sum(axis=1))
    with np.errstate(under="ignore"):
        expected = W / degrees / degrees[:, None]
        np.testing.assert_array_equal(S, S.T)
        np.testing.assert_allclose(S, expected.astype(float), rtol=1e-14, atol=1e-320)


def test_a_start_of_no_use_does_no_harm():
    graph = graph_from_affinity(adjacency(4, [(0, 1), (1, 2), (2, 3)])).astype(np.float64)
    Y = np.eye(4)[:, :3] * [1.0, 1e-300, 1e-320]
    start = np.full((4, 3), [np.nan, 1e300, 1.0])
    for solver in (ConjugateGradient(rtol=1e-10), PowerIteration(rtol=1e-10)):
        solution = diffuse(graph, Y, solver=solver, x0=start)
        assert solution.converged
        np.testing.assert_array_equal(solution.scores, diffuse(graph, Y, solver=solver).scores)


@pytest.mark.parametrize("degree", [16, 17, 30, 200])
def test_a_polynomial_is_expanded_to_its_degree(degree):
    h = Polynomial(tuple((-1.0) ** k * (1 + 0.1 * k) for k in range(degree + 1)))
    (series,) = expand(h, "chebyshev")
    assert series.coefficients.size == degree + 1
    W = np.triu(np.random.default_rng(3).random((40, 40)) < 0.2, 1).astype(float)
    graph, Y = graph_from_affinity(W + W.T).astype(np.float64), np.eye(40)[:, :2]
    S = (graph.affinity.toarray() / np.sqrt(np.outer(graph.degrees, graph.degrees))).astype(np.longdouble)
    F = np.zeros((40, 2), dtype=np.longdouble)
    for c in reversed(h.coefficients):
        F = S @ F + c * Y
    for solver in (Chebyshev(rtol=1e-9), Lanczos(rtol=1e-9)):
        solution = diffuse(graph, Y, filter=h, solver=solver)
        assert (np.abs(solution.scores - F).max(axis=0) <= solution.error_bound).all()
        assert solution.error_bound.max() < 1e-6


@pytest.mark.parametrize("t", [1e2, 1e4, 1e6])
def test_a_steep_filter_is_expanded_as_far_as_its_values_are_known(t):
    (series,) = expand(Heat(t), "chebyshev")
    k = np.arange(series.coefficients.size)
    exact = 2 * ive(k, t)
    exact[0] /= 2
    assert k.size < 20 * np.sqrt(t) + 50
    assert np.abs(exact - series.coefficients).sum() + (1 - exact.sum()) <= series.rest + 1e-14


def test_work_without_an_end_is_refused_by_name():
    with pytest.raises(ValueError, match=r"degree 69,999 .*solver='direct'"):
        expand(Polynomial((1.0,) * 70_000), "chebyshev")
    with pytest.raises(ValueError, match=r"Heat\(t=1000000000000.0\) needs a series of degree .*solver='direct'"):
        expand(Heat(1e12), "lanczos")


SAME_BITS = [ConjugateGradient, PowerIteration, Chebyshev, Lanczos]


@pytest.mark.parametrize("solver", SAME_BITS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("n", [40, 512, 700, 5000, 9000])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_column_has_the_same_bits_in_any_company(solver, n, dtype):
    """Single precision at a tolerance that only corrections reach, columns that are done early and late."""
    rng = np.random.default_rng(n)
    i = np.repeat(np.arange(n), 4)
    A = sparse.csr_array((rng.random(i.size), (i, (i + rng.integers(1, 30, i.size)) % n)), shape=(n, n))
    graph = graph_from_affinity(A + A.T).astype(DTYPES[dtype])
    Y = np.zeros((n, 24))
    Y[rng.integers(0, n, 24), np.arange(24)] = 1
    Y[:, 3] = np.sqrt(graph.degrees)  # done at once
    Y[:, 7] = rng.random(n)
    Y[:, 9] = 0
    for rtol, filter in ((1e-2, Diffusion(0.9)), (1e-5, Diffusion(0.99)), (1e-5, RegularizedDiffusion(0.9))):
        prepared = solver(rtol=rtol).prepare(graph, filter, get_backend("scipy"))
        together = prepared.solve(Y)
        for part in ([0], [3], [7], [23], [5, 6], [3, 9, 11]):
            some = prepared.solve(Y[:, part])
            np.testing.assert_array_equal(some.scores, together.scores[:, part])
            np.testing.assert_array_equal(some.n_iter, together.n_iter[part])


@pytest.mark.parametrize("solver", SAME_BITS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("n", [700, 9000])
def test_the_number_of_threads_leaves_bits_alone(solver, n):
    rng = np.random.default_rng(n)
    i = np.repeat(np.arange(n), 4)
    A = sparse.csr_array((rng.random(i.size), (i, (i + rng.integers(1, 30, i.size)) % n)), shape=(n, n))
    graph, Y = graph_from_affinity(A + A.T), rng.random((n, 20))
    prepared = solver(rtol=1e-5).prepare(graph, Diffusion(0.99), get_backend("scipy"))
    scores = prepared.solve(Y).scores
    with threadpool_limits(1):
        np.testing.assert_array_equal(prepared.solve(Y).scores, scores)


def test_an_inner_product_is_added_up_alike_alone_and_beside_others(rng):
    backend = get_backend("scipy")
    for n in (1, 5, 300, 512, 513, 1024, 4000, 8191):
        for dtype in DTYPES.values():
            x, y = (rng.standard_normal((n, 9)).astype(dtype) for _ in range(2))
            alone = [backend.column_dots(x[:, j : j + 1].copy(), y[:, j : j + 1].copy())[0] for j in range(9)]
            assert alone == backend.column_dots(x, y).tolist()


@pytest.mark.parametrize("filter", [Diffusion(0.9), RegularizedDiffusion(0.9), Heat(3.0)], ids=repr)
def test_a_direct_solve_says_what_a_dense_factor_takes(filter, monkeypatch):
    n = 800
    ring = sparse.diags_array([1.0, 1.0, 1.0, 1.0], offsets=[1, -1, n - 1, 1 - n], shape=(n, n))
    graph = graph_from_affinity(ring)
    Direct().prepare(graph, filter, get_backend("scipy"))  # what is imported is no memory of the solve
    share = peak_over_forecast(lambda: Direct().prepare(graph, filter, get_backend("scipy")), monkeypatch, direct)
    n_factors = len(filter.resolvents or (1,))
    assert 0.3 * n_factors < share < 1.05 * n_factors
