"""Power iteration, Chebyshev and Lanczos against their theory: rates, degrees, bases, bounds."""

from __future__ import annotations

import numpy as np
import pytest
from cases import BACKENDS, DTYPES, GRAPHS, SOLVERS, adjacency, dense_scores, make_graph, some_seeds
from hypothesis import given, settings
from hypothesis import strategies as st

from manifold import (
    Diffusion,
    Heat,
    LowPass,
    Polynomial,
    RegularizedDiffusion,
    _resources,
    diffuse,
    graph_from_affinity,
)
from manifold.backends import get_backend
from manifold.errors import MemoryBudgetError
from manifold.solvers import Chebyshev, ConjugateGradient, Direct, Lanczos, PowerIteration, Status

TEN = [
    *(Diffusion(alpha) for alpha in (0.0, 0.5, 0.9, 0.95)),
    *(RegularizedDiffusion(alpha) for alpha in (0.3, 0.9)),
    Heat(1.0),
    Heat(7.0),
    Polynomial((1, 0, 1, 0, 1)),
    Polynomial((0.2, -0.5, 2)),
]


def clusters(dtype="float64"):
    return make_graph("clusters", DTYPES[dtype])


@pytest.mark.parametrize("alpha", [0.5, 0.9, 0.99])
def test_the_error_of_a_walk_shrinks_by_alpha_a_step_from_below(alpha):
    graph, y = clusters(), some_seeds(150)
    exact = diffuse(graph, y, filter=Diffusion(alpha), solver=Direct()).scores
    walks = [
        diffuse(graph, y, filter=Diffusion(alpha), solver=PowerIteration(1e-12, t), on_failure="ignore").scores
        for t in range(1, 12)
    ]
    errors = np.array([np.linalg.norm(exact - x, axis=0) for x in walks])
    assert (errors[1:] <= alpha * errors[:-1] * (1 + 1e-9)).all()
    assert all((x <= exact + 1e-14).all() for x in walks)


def test_a_walk_ends_where_conjugate_gradients_do():
    graph, y, filter = clusters(), some_seeds(150), Diffusion(0.99)
    a = diffuse(graph, y, filter=filter, solver=PowerIteration(rtol=1e-10)).scores
    b = diffuse(graph, y, filter=filter, solver=ConjugateGradient(rtol=1e-10)).scores
    np.testing.assert_allclose(a, b, atol=1e-8)


def test_a_walk_started_from_the_answer_takes_no_step():
    graph, y, solver = clusters(), some_seeds(150), PowerIteration(rtol=1e-4)
    first = diffuse(graph, y, solver=solver)
    again = diffuse(graph, y, solver=solver, x0=first.scores)
    assert again.n_iter.max() == 0 < first.n_iter.min()
    near = diffuse(graph, y, solver=solver, x0=0.98 * first.scores)
    assert 0 < near.n_iter.max() < first.n_iter.max()
    with pytest.raises(ValueError, match="one resolvent"):
        diffuse(graph, y, solver=solver, filter=RegularizedDiffusion(), x0=first.scores)


def test_rounding_stops_a_walk_and_it_says_so():
    solution = diffuse(
        clusters("float32"),
        np.eye(150)[:, :3],
        filter=Diffusion(0.99),
        solver=PowerIteration(rtol=1e-9),
        on_failure="ignore",
    )
    assert set(solution.status) == {Status.BREAKDOWN}
    assert solution.n_iter.max() < PowerIteration(rtol=1e-9).iterations(0.99) / 2
    assert (
        np.abs(solution.scores - dense_scores(clusters(), np.eye(150)[:, :3], Diffusion(0.99))).max(0)
        <= solution.error_bound
    ).all()


@pytest.mark.parametrize("alpha", [0.5, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("rtol", [1e-2, 1e-6])
def test_the_degree_is_that_of_the_geometric_series(alpha, rtol):
    root = np.sqrt(1 - alpha**2)
    z = alpha / (1 + root)
    expected = np.ceil(np.log(rtol * root / (alpha * (1 + z))) / np.log(z))
    assert Chebyshev(rtol=rtol).degree(Diffusion(alpha)) == expected


@pytest.mark.parametrize("alpha", [0.9, 0.99])
def test_the_residual_is_what_theory_promises_on_the_worst_graph(alpha):
    # one step less than the degree misses rtol where the spectrum fills [-1, 1]
    ring = graph_from_affinity(adjacency(400, [(i, (i + 1) % 400) for i in range(400)])).astype("float64")
    y = np.sqrt(ring.degrees)  # the eigenvector of eigenvalue 1, where all T_k are 1
    solution = diffuse(ring, y, filter=Diffusion(alpha), solver=Chebyshev(rtol=1e-4))
    root = np.sqrt(1 - alpha**2)
    z, m = alpha / (1 + root), solution.n_iter[0]
    assert solution.residual[0] == pytest.approx(alpha / root * z**m * (1 - z), rel=1e-6)


@pytest.mark.parametrize("filter", [Heat(3.0), Heat(50.0), Polynomial((0, 0, 1, -3, 4))], ids=repr)
@pytest.mark.parametrize("m", [1, 4, 9, 40])
def test_the_truncation_bound_covers_and_is_not_idle(filter, m):
    graph, y = clusters(), np.eye(150)[:, :20]
    solution = diffuse(graph, y, filter=filter, solver=Chebyshev(1e-9, m), on_failure="ignore")
    error = np.linalg.norm(solution.scores - dense_scores(graph, y, filter), axis=0)
    assert (error <= solution.residual).all()
    assert solution.residual.max() <= 300 * error.max() + 1e-11


def test_the_same_seeds_have_the_same_bits_in_any_batch():
    y = some_seeds(150, q=70)
    whole = diffuse(clusters("float32"), y, solver=Chebyshev())
    for j in (0, 5, 69):
        np.testing.assert_array_equal(
            diffuse(clusters("float32"), y[:, j], solver="chebyshev").scores, whole.scores[:, j]
        )


@pytest.mark.parametrize("filter", TEN, ids=repr)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("device", ["scipy", "strict"])
def test_another_filter_from_the_same_basis_equals_a_fresh_solve(filter, dtype, device):
    graph, y, backend = clusters(dtype), some_seeds(150, q=70), BACKENDS[device]()
    y[:, 2] = 0
    y[0, 3] = np.nan
    rtol = 1e-11 if dtype == "float64" else 1e-5
    exact, y = dense_scores(graph, np.nan_to_num(y), filter), backend.asarray(y)
    first = diffuse(graph, y, filter=Diffusion(0.97), solver=Lanczos(rtol=rtol), backend=backend, on_failure="ignore")
    fresh = diffuse(graph, y, filter=filter, solver=Lanczos(rtol=rtol), backend=backend, on_failure="ignore")
    good = np.arange(70) != 3
    for certify in (False, True):
        again = first.refilter(filter, certify=certify)
        scores = backend.to_host(again.scores)
        np.testing.assert_allclose(scores, backend.to_host(fresh.scores), atol=1e-9 if dtype == "float64" else 3e-5)
        assert again.status[3] is Status.NONFINITE
        assert np.isinf(again.error_bound[3])
        assert again.error_bound[2] == again.residual[2] == 0
        assert (np.abs(scores - exact).max(axis=0)[good] <= again.error_bound[good] + 1e-13).all()
    assert (again.error_bound[good] < (1e-7 if dtype == "float64" else 1e-2)).all()


def test_a_basis_too_short_for_a_filter_says_how_far_it_is():
    graph, y = clusters(), some_seeds(150)
    solution = diffuse(graph, y, filter=Diffusion(0.5), solver=Lanczos(rtol=1e-3)).refilter(Diffusion(0.999))
    assert Status.MAX_ITER in solution.status
    error = np.abs(solution.scores - dense_scores(graph, y, Diffusion(0.999))).max(axis=0)
    assert (error <= solution.error_bound).all()
    with pytest.raises(ValueError, match="LowPass"):
        solution.refilter(LowPass(0.5))


def test_refiltering_takes_no_product(monkeypatch):
    graph, y = clusters(), some_seeds(150)
    solution = diffuse(graph, y, solver="lanczos")
    monkeypatch.setattr(type(get_backend("scipy")), "spmm", None)
    assert solution.refilter(Heat(2.0)).converged
    with pytest.raises(TypeError):
        solution.refilter(Diffusion(0.9), certify=True)


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_invariant_space_ends_the_basis(name, dtype):
    graph = make_graph(name, DTYPES[dtype])
    n = graph.n_nodes
    y = np.column_stack([np.sqrt(graph.degrees), np.zeros(n), np.eye(n)[:, :1].sum(axis=1)])
    solution = diffuse(graph, y, filter=Diffusion(0.99), solver=Lanczos(rtol=1e-4, max_iter=300))
    np.testing.assert_allclose(solution.scores, dense_scores(graph, y, Diffusion(0.99)), atol=2e-3)
    if n:
        assert solution.n_iter[0] <= 2
        assert solution.n_iter[1] == 0
        assert dtype == "float32" or solution.n_iter[2] <= n


def basis_of(dtype, m):
    graph = clusters(dtype)
    solution = diffuse(graph, np.eye(150)[:, :2], filter=Diffusion(0.99), solver=Lanczos(1e-15, m), on_failure="ignore")
    basis = solution.bases[0][0]
    first = [vectors[columns == 0][0] for columns, _, vectors in basis.chunks if 0 in columns]
    return solution.prepared.system, basis, np.concatenate(first)


def test_a_short_basis_is_orthonormal():
    _, _, V = basis_of("float64", 12)
    np.testing.assert_allclose(V @ V.T, np.eye(12), atol=1e-10)
    assert V.shape == (12, 150)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_recurrence_holds_to_rounding_where_orthogonality_is_lost(dtype):
    system, basis, V = basis_of(dtype, 90)
    m = len(V)
    beside = basis.off_diagonal[: m - 1, 0]
    T = np.diag(basis.diagonal[:m, 0]) + np.diag(beside, 1) + np.diag(beside, -1)
    gap = V @ system.entries - T @ V
    assert np.linalg.norm(gap[: m - 1], axis=1).max() <= 3 * system.rounding
    if dtype == "float32":
        assert np.abs(V @ V.T - np.eye(m)).max() > 0.5  # so that the bounds are known not to rest on it


def test_memory_is_asked_for_before_it_is_taken(monkeypatch):
    graph = clusters()
    monkeypatch.setattr(_resources, "available_memory", lambda: 2_000_000)
    with pytest.raises(MemoryBudgetError, match="basis vectors"):
        diffuse(graph, np.ones((150, 40)), filter=Diffusion(0.99), solver=Lanczos(rtol=1e-9))
    assert diffuse(graph, np.ones(150), solver=Lanczos()).converged


SMOOTH = [case for case in SOLVERS if case.name in ("chebyshev", "lanczos")]


@st.composite
def smooth_problems(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, 30))
    W = np.triu(rng.uniform(1e-3, 1, (n, n)) ** draw(st.sampled_from([1, 8])) * (rng.random((n, n)) < 0.4), 1)
    dtype = DTYPES[draw(st.sampled_from(sorted(DTYPES)))]
    alpha, t = draw(st.floats(0, 0.999)), draw(st.floats(0, 60))
    drawn = (Diffusion(alpha), RegularizedDiffusion(alpha), Heat(t), Polynomial((1.0, alpha, t)))
    filter, other = (drawn[draw(st.integers(0, 3))] for _ in range(2))
    case = draw(st.sampled_from(SMOOTH))
    solver = draw(st.sampled_from([*case.loose, case.exact(dtype)]))
    Y = rng.standard_normal((n, 3)) * 10.0 ** draw(st.integers(-20, 20))
    return graph_from_affinity(W + W.T).astype(dtype), Y, filter, other, solver


@settings(max_examples=200, deadline=None)
@given(smooth_problems(), st.booleans())
def test_no_bound_of_any_smooth_filter_is_below_the_error(problem, certify):
    graph, Y, filter, other, solver = problem
    solution = diffuse(graph, Y, filter=filter, solver=solver, on_failure="ignore")
    answers = [(filter, solution)]
    if hasattr(solution, "refilter"):
        answers.append((other, solution.refilter(other, certify=certify)))
    for h, answer in answers:
        error = np.abs(answer.scores - dense_scores(graph, Y, h)).max(axis=0)
        alpha = getattr(h, "alpha", 0.0)
        slack = 1e-13 * np.abs(Y).max() * graph.n_nodes / (1 - alpha)  # of the reference
        assert (error <= answer.error_bound + slack).all()
