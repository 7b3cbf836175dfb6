"""The numerical contract, line by line, for every solver x backend x awkward graph."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from cases import (
    BACKENDS,
    DTYPES,
    GRAPHS,
    SOLVERS,
    TOLERANCE,
    adjacency,
    dense_scores,
    make_graph,
    some_seeds,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse
from strict_backend import StrictBackend

from manifold import Diffusion, Heat, LowPass, Polynomial, RegularizedDiffusion, diffuse, graph_from_affinity
from manifold.backends import get_backend
from manifold.errors import ConvergenceError, ConvergenceWarning, ManifoldWarning
from manifold.solvers import SOLVERS as SOLVER_TABLE
from manifold.solvers import ConjugateGradient, Direct, Status

ALPHAS = (0.0, 0.5, 0.99)


@pytest.fixture(params=BACKENDS)
def backend(request):
    return BACKENDS[request.param]()


@pytest.fixture(params=DTYPES)
def dtype(request):
    return DTYPES[request.param]


@pytest.fixture(params=SOLVERS, ids=lambda case: case.name)
def case(request):
    return request.param


@pytest.fixture(params=GRAPHS)
def graph(request, dtype):
    return make_graph(request.param, dtype)


def run(graph, Y, case, backend, **options):
    """Solve as exactly as the dtype allows; scores come where the seeds are, and are returned in float64."""
    solution = diffuse(graph, Y, solver=case.exact(graph.dtype), backend=backend, **options)
    where = backend if backend.owns(Y) else get_backend("scipy")
    assert where.owns(solution.scores)
    assert solution.scores.dtype == graph.dtype
    return np.asarray(where.to_host(solution.scores), dtype=np.float64), solution


def test_every_solver_is_in_the_table():
    assert {case.name for case in SOLVERS} == {*SOLVER_TABLE, "index"}


@pytest.mark.parametrize("alpha", ALPHAS)
def test_equals_the_dense_definition(graph, case, backend, alpha):
    Y = some_seeds(graph.n_nodes)
    F, solution = run(graph, Y, case, backend, filter=Diffusion(alpha))
    expected = dense_scores(graph, Y, Diffusion(alpha))
    np.testing.assert_allclose(F, expected, atol=TOLERANCE[graph.dtype])
    assert solution.converged
    error = np.abs(F - expected).max(axis=0, initial=0)
    assert (error <= solution.error_bound + 1e-13).all()
    assert (solution.error_bound < 100 * TOLERANCE[graph.dtype]).all()


def test_zero_column_is_free(graph, case, backend):
    Y = some_seeds(graph.n_nodes)
    Y[:, 2] = 0
    F, solution = run(graph, Y, case, backend)
    assert not F[:, 2].any()
    assert solution.status[2] is Status.CONVERGED
    assert solution.n_iter[2] == 0
    assert solution.residual[2] == solution.error_bound[2] == 0
    np.testing.assert_allclose(F, dense_scores(graph, Y, Diffusion()), atol=TOLERANCE[graph.dtype])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nonfinite_column_harms_no_other(graph, case, backend, bad):
    if not graph.n_nodes:
        pytest.skip("a graph without nodes has no seed to be NaN")
    Y = some_seeds(graph.n_nodes)
    good, _ = run(graph, Y, case, backend)
    Y[0, 1] = bad
    F, solution = run(graph, Y, case, backend, on_failure="ignore")
    assert [status is Status.NONFINITE for status in solution.status] == [False, True, False, False, False]
    assert np.isnan(F[:, 1]).all()
    assert np.isinf(solution.error_bound[1])
    others = [0, 2, 3, 4]
    np.testing.assert_allclose(F[:, others], good[:, others], atol=TOLERANCE[graph.dtype])
    with pytest.raises(ConvergenceError, match=r"NONFINITE in 1 columns \(first: 1\)"):
        run(graph, Y, case, backend, on_failure="raise")


def test_isolated_nodes_keep_their_seed_and_components_their_scores(graph, case, backend):
    filter = Diffusion(0.9)
    Y = np.eye(graph.n_nodes)
    F, _ = run(graph, Y, case, backend, filter=filter)
    alone = graph.isolated
    np.testing.assert_allclose(F[alone, alone], filter(0.0), rtol=TOLERANCE[graph.dtype])
    crossing = graph.components[:, None] != graph.components
    assert not F[crossing].any()


def test_linear_symmetric_conserving_and_non_negative(graph, case, backend):
    n, tolerance = graph.n_nodes, 4 * TOLERANCE[graph.dtype]
    Y = np.eye(n)
    F, solution = run(graph, Y, case, backend)
    np.testing.assert_allclose(F, F.T, atol=tolerance)
    assert F.min(initial=0) >= -solution.error_bound.max(initial=0)
    combined, _ = run(graph, Y @ np.linspace(1, 2, n) if n else np.zeros(0), case, backend)
    np.testing.assert_allclose(combined, F @ np.linspace(1, 2, n), atol=tolerance * max(n, 1))
    mass = np.sqrt(graph.degrees)
    np.testing.assert_allclose(mass @ F, mass @ Y, rtol=tolerance, atol=tolerance * mass.max(initial=1))


def test_fixed_point(graph, case, backend):
    v = np.sqrt(graph.degrees)
    F, _ = run(graph, v, case, backend, filter=Diffusion(0.9))
    np.testing.assert_allclose(F, v, rtol=10 * TOLERANCE[graph.dtype])


def test_permuting_the_nodes_permutes_the_scores(graph, case, backend, rng):
    Y = some_seeds(graph.n_nodes)
    order = rng.permutation(graph.n_nodes)
    F, _ = run(graph, Y, case, backend)
    permuted, _ = run(graph.subgraph(order), Y[order], case, backend)
    np.testing.assert_allclose(permuted, F[order], atol=2 * TOLERANCE[graph.dtype])


def test_a_column_alone_equals_itself_in_a_batch(graph, case, backend):
    Y = some_seeds(graph.n_nodes, q=70)  # more than one block of columns
    F, _ = run(graph, Y, case, backend)
    for j in (0, 3, 69):
        alone, solution = run(graph, Y[:, j], case, backend)
        assert alone.shape == (graph.n_nodes,)
        assert solution.n_iter.shape == (1,)
        np.testing.assert_allclose(alone, F[:, j], atol=TOLERANCE[graph.dtype] / 10)


def test_seeds_of_every_kind_give_the_same_scores_and_stay_as_they_were(graph, case, backend):
    Y = some_seeds(graph.n_nodes)
    kept = Y.copy()
    Y.flags.writeable = False
    F, _ = run(graph, Y, case, backend)
    kinds = {
        "fortran": np.asfortranarray(Y),
        "sparse": sparse.csr_array(Y),
        "list": Y.tolist() if graph.n_nodes else np.zeros((0, 5)),
        "device": backend.asarray(Y),
    }
    for kind, seeds in kinds.items():
        again, _ = run(graph, seeds, case, backend)
        np.testing.assert_allclose(again, F, atol=TOLERANCE[graph.dtype] / 10, err_msg=kind)
    np.testing.assert_array_equal(Y, kept)


@pytest.mark.parametrize("power", [-30, 30])
def test_scale_of_the_seeds_does_not_matter(graph, case, backend, power):
    Y = some_seeds(graph.n_nodes)
    F, small = run(graph, Y, case, backend)
    scaled, large = run(graph, Y * 2.0**power, case, backend)
    np.testing.assert_array_equal(scaled, F * 2.0**power)
    np.testing.assert_array_equal(small.n_iter, large.n_iter)


def test_scale_of_the_weights_does_not_matter(case):
    W = make_graph("clusters").affinity.toarray()
    Y = some_seeds(W.shape[0])
    one, other = (diffuse(graph_from_affinity(c * W), Y, solver=case.exact(DTYPES["float32"])) for c in (1.0, 4.0))
    np.testing.assert_array_equal(one.scores, other.scores)


def weighted_ring(n=400):
    """A graph that CG takes long on: information must walk all the way round."""
    weights = np.random.default_rng(5).uniform(0.5, 1.5, n)
    return graph_from_affinity(adjacency(n, [(i, (i + 1) % n) for i in range(n)], weights))


def test_preset_paper_reports_that_twenty_iterations_are_not_enough():
    graph = weighted_ring().astype(np.float64)
    Y = np.eye(400)[:, :30]
    with pytest.warns(ConvergenceWarning, match="MAX_ITER in 30 columns"):
        solution = diffuse(graph, Y, filter=Diffusion(0.99), solver=ConjugateGradient.preset("paper"))
    assert (solution.n_iter == 20).all()
    assert (solution.residual > 1e-6).all()
    exact = dense_scores(graph, Y, Diffusion(0.99))
    assert (np.abs(solution.scores - exact).max(axis=0) <= solution.error_bound).all()
    tops = zip(np.argsort(-solution.scores, axis=0)[:10].T, np.argsort(-exact, axis=0)[:10].T, strict=True)
    assert np.mean([len({*a} & {*b}) for a, b in tops]) >= 9.5


def test_preset_exact_reaches_its_tolerance_within_the_bound_of_theory():
    rng = np.random.default_rng(11)
    X = rng.standard_normal((12, 10))[rng.integers(0, 12, 500)] + 0.3 * rng.standard_normal((500, 10))
    from manifold import build_graph

    graph = build_graph(X, 8).astype(np.float64)
    Y = np.eye(500)[:, :20]
    solution = diffuse(graph, Y, filter=Diffusion(0.99), solver=ConjugateGradient.preset("exact"))
    expected = dense_scores(graph, Y, Diffusion(0.99))
    assert np.linalg.norm(solution.scores - expected) < 1e-8 * np.linalg.norm(expected)
    assert solution.n_iter.max() <= 160


def test_warm_start_from_the_answer_takes_no_iterations(dtype):
    graph = make_graph("clusters", dtype)
    Y = some_seeds(graph.n_nodes)
    solver = ConjugateGradient(rtol=1e-4)
    first = diffuse(graph, Y, solver=solver)
    again = diffuse(graph, Y, solver=solver, x0=first.scores)
    assert first.n_iter.min() > 0
    assert again.n_iter.max() == 0
    np.testing.assert_allclose(again.scores, first.scores, rtol=1e-6)
    near = diffuse(graph, Y, solver=solver, x0=0.98 * first.scores)
    assert 0 < near.n_iter.max() < first.n_iter.max()
    with pytest.raises(ValueError, match="x0 must have the shape of the seeds"):
        diffuse(graph, Y, x0=first.scores[:, :2])


def test_callback_sees_falling_residuals_and_its_exception_ends_the_solve():
    graph = make_graph("clusters")
    seen = []
    diffuse(graph, some_seeds(150), callback=seen.append)
    assert [p.n_iter for p in seen] == list(range(1, len(seen) + 1))
    assert seen[-1].residual.max() <= 1e-3 < seen[0].residual.max()
    assert set(seen[0].columns) == set(range(5))

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        diffuse(graph, some_seeds(150), callback=stop)
    assert diffuse(graph, some_seeds(150)).converged


def test_one_slow_column_leaves_the_others_alone():
    graph = make_graph("clusters")
    v = np.sqrt(graph.degrees)  # an eigenvector: one iteration
    Y = np.column_stack([v, v, v, np.eye(150)[:, 3]])
    solution = diffuse(graph, Y, solver=ConjugateGradient(rtol=1e-10), filter=Diffusion(0.99))
    assert solution.n_iter[:3].max() <= 3 < solution.n_iter[3]
    alone = diffuse(graph, Y[:, 3], solver=ConjugateGradient(rtol=1e-10), filter=Diffusion(0.99))
    np.testing.assert_allclose(alone.scores, solution.scores[:, 3], rtol=1e-9, atol=1e-14)


def test_a_tolerance_below_the_precision_is_a_breakdown_not_a_lie():
    graph = make_graph("clusters", DTYPES["float32"])
    with pytest.warns(ConvergenceWarning, match=r"BREAKDOWN.*float64"):
        solution = diffuse(graph, np.eye(150)[:, :4], filter=Diffusion(0.99), solver=ConjugateGradient(rtol=1e-12))
    assert Status.BREAKDOWN in solution.status
    assert (solution.residual > 1e-12).all()
    exact = dense_scores(graph, np.eye(150)[:, :4], Diffusion(0.99))
    assert (np.abs(solution.scores - exact).max(axis=0) <= solution.error_bound).all()


@pytest.mark.parametrize("check_every", [1, 3, 7])
def test_few_synchronisations(check_every):
    device = StrictBackend(check_every=check_every)
    solution = diffuse(weighted_ring(), device.asarray(np.eye(400)[:, :32]), backend=device, filter=Diffusion(0.99))
    assert solution.n_iter.max() > 50
    assert device.n_syncs <= solution.n_iter.max() / check_every + 3


def test_results_do_not_depend_on_how_often_the_host_looks():
    graph, Y = make_graph("clusters"), some_seeds(150)
    often, seldom = (StrictBackend(check_every=c) for c in (1, 9))
    a, b = (diffuse(graph, Y, backend=device) for device in (often, seldom))
    np.testing.assert_array_equal(a.n_iter, b.n_iter)
    np.testing.assert_array_equal(a.scores, b.scores)


@st.composite
def problems(draw):
    """A random weighted graph, seeds, a filter, and a solver stopped anywhere."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, 30))
    W = rng.uniform(1e-3, 1, (n, n)) ** draw(st.sampled_from([1, 8])) * (rng.random((n, n)) < draw(st.floats(0, 1)))
    W = np.triu(W, 1)
    Y = rng.standard_normal((n, 3)) * 10.0 ** draw(st.integers(-20, 20))
    dtype = DTYPES[draw(st.sampled_from(sorted(DTYPES)))]
    case = draw(st.sampled_from(SOLVERS))
    solver = draw(st.sampled_from([*case.loose, case.exact(dtype)]))
    return graph_from_affinity(W + W.T).astype(dtype), Y, Diffusion(draw(st.floats(0, 0.999))), solver


@settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problems())
def test_the_bound_is_never_below_the_error(problem):
    graph, Y, filter, solver = problem
    solution = diffuse(graph, Y, filter=filter, solver=solver, on_failure="ignore")
    error = np.abs(solution.scores - dense_scores(graph, Y, filter)).max(axis=0)
    # the reference itself is rounded: n eigenvectors in float64
    slack = 1e-13 * np.abs(Y).max() * graph.n_nodes / (1 - filter.alpha)
    assert (error <= solution.error_bound + slack).all()


def test_errors_at_the_door():
    graph = make_graph("ring")
    with pytest.raises(ValueError, match="one row for each of the 8 nodes"):
        diffuse(graph, np.ones(7))
    with pytest.raises(TypeError, match="real numbers"):
        diffuse(graph, np.ones(8, dtype=complex))
    with pytest.raises(ValueError, match="solver must be"):
        diffuse(graph, np.ones(8), solver="gmres")
    with pytest.raises(ValueError, match="on_failure"):
        diffuse(graph, np.ones(8), on_failure="explode")
    with pytest.raises(ValueError, match="backend must be"):
        diffuse(graph, np.ones(8), backend="tpu")
    with pytest.raises(ValueError, match="rtol"):
        ConjugateGradient(rtol=0)
    with pytest.raises(ValueError, match="preset"):
        ConjugateGradient.preset("magic")
    for alpha in (1.0, 1.5, -0.1, np.nan):
        with pytest.raises(ValueError, match="alpha must lie"):
            Diffusion(alpha)
    with pytest.warns(ManifoldWarning, match="expect up to"):
        Diffusion(0.99999)


def test_direct_is_sparse_above_the_dense_limit():
    n = 2500
    ring = sparse.diags_array([1.0, 1.0, 1.0, 1.0], offsets=[1, -1, n - 1, 1 - n], shape=(n, n))
    graph = graph_from_affinity(ring).astype(np.float64)
    Y = np.zeros((n, 2))
    Y[0, 0] = Y[9, 1] = 1
    solution = diffuse(graph, Y, filter=Diffusion(0.9), solver=Direct())
    symbol = 1 - 0.9 * np.cos(2 * np.pi * np.arange(n) / n)
    expected = 0.1 * np.fft.ifft(np.fft.fft(Y, axis=0) / symbol[:, None], axis=0).real
    np.testing.assert_allclose(solution.scores, expected, atol=1e-13)


def test_suite_arithmetic_survives_strict_floating_point_errors():
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in GRAPHS:
            for dtype in DTYPES.values():
                graph = make_graph(name, dtype)
                for case in SOLVERS:
                    assert diffuse(graph, some_seeds(graph.n_nodes), solver=case.exact(dtype)).converged


FILTERS = [
    Diffusion(0.9),
    RegularizedDiffusion(0.9),
    Heat(5.0),
    Polynomial((1, 0, 1, 0, 1)),
    Polynomial((0.2, -0.5, 2)),
    LowPass(0.8),
]


@pytest.mark.parametrize("filter", FILTERS, ids=repr)
def test_filters_are_scaled_and_say_their_poles(filter):
    x = np.linspace(-1, 1, 41)
    assert filter(1.0) == pytest.approx(1)
    if filter.resolvents is not None:
        np.testing.assert_allclose(sum(w / (1 - a * x) for w, a in filter.resolvents), filter(x))
    assert isinstance(filter.smooth, bool)


@pytest.mark.parametrize("filter", FILTERS, ids=repr)
def test_every_solver_serves_a_filter_or_refuses_it_by_name(graph, case, backend, filter):
    Y = some_seeds(graph.n_nodes)
    solver = case.exact(graph.dtype)
    if not case.serves(filter):
        with pytest.raises(ValueError, match=type(filter).__name__):
            solver.prepare(graph, filter, backend)
        return
    solution = solver.prepare(graph, filter, backend).solve(Y)
    F = np.asarray(backend.to_host(solution.scores), dtype=np.float64)
    expected = dense_scores(graph, Y, filter)
    np.testing.assert_allclose(F, expected, atol=TOLERANCE[graph.dtype])
    assert (np.abs(F - expected).max(axis=0, initial=0) <= solution.error_bound + 1e-13).all()
    for j in np.flatnonzero(np.count_nonzero(Y, axis=0) == 1):
        assert not F[graph.components != graph.components[Y[:, j].argmax()], j].any()


@pytest.mark.parametrize("name", ["cg", "direct"])
def test_seeds_may_be_of_less_precision_than_the_graph(name):
    graph = make_graph("path").astype(np.float64)
    seeds = np.zeros(graph.n_nodes, dtype=np.float32)
    seeds[0] = np.finfo(np.float32).max
    scores = diffuse(graph, seeds, solver=name).scores
    np.testing.assert_allclose(scores, diffuse(graph, seeds.astype(np.float64), solver=name).scores, rtol=1e-12)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 10, 50])
def test_residuals_are_of_the_size_of_rounding(case, dtype, n):
    """The ratio of LAPACK's tests, |b - A f| / (|A| |f| eps) in the 1-norm, which must stay below 30.

    Every solver is asked for all that the precision holds; what it reports then is no matter here.
    """
    rng, eps = np.random.default_rng(n), np.finfo(dtype).eps
    W = np.triu(rng.random((n, n)) * (rng.random((n, n)) < min(1, 6 / max(n, 1))), 1)
    graph = graph_from_affinity(W + W.T).astype(dtype)
    solver = case.exact(dtype)
    if hasattr(solver, "rtol"):
        solver = replace(solver, rtol=float(eps))
    inverse = np.divide(1, np.sqrt(graph.degrees), out=np.zeros(n), where=graph.degrees > 0)
    S = inverse[:, None] * graph.affinity.toarray() * inverse
    with np.errstate(all="raise"):
        for q in (0, 1, 2, 15):
            for alpha in (0.5, 0.95):
                b = (1 - alpha) * rng.random((n, q)).astype(dtype).astype(np.float64)
                solution = diffuse(graph, b / (1 - alpha), filter=Diffusion(alpha), solver=solver, on_failure="ignore")
                F, A = solution.scores.astype(np.float64), np.eye(n) - alpha * S
                assert F.shape == (n, q)
                assert solution.scores.dtype == dtype
                size = np.abs(A).sum(axis=0).max(initial=0) * np.abs(F).sum(axis=0)
                assert (np.abs(b - A @ F).sum(axis=0) < 30 * eps * size).all() if n else F.size == 0
