"""The solvers on leading eigenvectors: the eigenpairs themselves, fast spectral ranking, and hybrid diffusion."""

from __future__ import annotations

import numpy as np
import pytest
from cases import DTYPES, adjacency, dense_scores, make_graph
from scipy import linalg, sparse
from strict_backend import StrictBackend
from threadpoolctl import threadpool_limits

from manifold import Diffusion, Heat, LowPass, RegularizedDiffusion, build_graph, diffuse, graph_from_affinity, load
from manifold.backends import get_backend
from manifold.errors import ConvergenceWarning, CorruptFileError, ManifoldWarning, MemoryBudgetError
from manifold.solvers import ConjugateGradient, FastSpectralRanking, Hybrid, Status, eigenpairs
from manifold.solvers.eigenpairs import leading_eigenpairs
from manifold.solvers.system import NormalizedAffinity
from manifold.storage import load_arrays, save_arrays

F64 = np.dtype(np.float64)
H99 = Diffusion(0.99)


def clustered(n, clusters=12, noise=0.3, seed=61):
    """Gaussian clusters in 20 dimensions, in one component: the union graph of 10 neighbours with a weak ring."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % clusters
    X = rng.standard_normal((clusters, 20))[labels] + noise * rng.standard_normal((n, 20))
    W = build_graph(X, 10, edges="union").affinity.tolil()
    for c in range(clusters):
        W[c, (c + 1) % clusters] = W[(c + 1) % clusters, c] = 0.3
    return sparse.csr_array(W)


@pytest.fixture(scope="module")
def toy():
    """600 nodes in 12 clusters, and 20 unit seeds."""
    graph = graph_from_affinity(clustered(600)).astype(F64)
    assert graph.n_components == 1
    return graph, np.eye(600)[:, ::30]


@pytest.fixture(scope="module")
def archipelago():
    """One giant component and 30 small ones of 1 to 12 nodes, the first of them isolated, nodes in random order."""
    rng = np.random.default_rng(43)
    parts = [clustered(1200)]
    for i in range(30):
        size = 1 + i % 12
        W = np.triu(rng.random((size, size)), 1)
        parts.append(sparse.csr_array(W + W.T))
    order = rng.permutation(sum(part.shape[0] for part in parts))
    graph = graph_from_affinity(sparse.block_diag(parts, format="csr")[order][:, order]).astype(F64)
    assert graph.n_components == 31
    return graph


def system_of(graph, backend=None):
    return NormalizedAffinity(graph, backend or get_backend())


def dense_eigh(graph):
    eigenvalues, U = np.linalg.eigh(system_of(graph).host.toarray().astype(F64))
    return eigenvalues[::-1], U[:, ::-1]


def worst_angle(U, V):
    """Sine of the largest angle between two subspaces."""
    return np.sin(linalg.subspace_angles(U, V)[0])


def relative_error(graph, Y, solver, filter=H99):
    scores = diffuse(graph, Y, filter=filter, solver=solver, on_failure="ignore").scores
    expected = dense_scores(graph, Y, filter)
    return np.linalg.norm(scores - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize(
    ("dtype", "tol", "values", "angle"), [("float64", 1e-9, 1e-12, 1e-6), ("float32", 1e-5, 1e-6, 1e-4)]
)
@pytest.mark.parametrize("backend", [get_backend, StrictBackend], ids=["scipy", "strict"])
def test_leading_eigenpairs_equal_a_dense_decomposition(archipelago, dtype, tol, values, angle, backend):
    graph = archipelago.astype(dtype)
    expected, V = dense_eigh(graph)
    spectrum = leading_eigenpairs(system_of(graph, backend()), 40, tol=tol)
    leading = int((expected > 0.9).sum())
    assert leading > graph.n_components - graph.isolated.size  # those of the clusters too
    np.testing.assert_allclose(spectrum.eigenvalues[:leading], expected[:leading], atol=values)
    U = spectrum.vectors()
    assert U.dtype == graph.dtype
    assert worst_angle(U[:, :leading].astype(F64), V[:, :leading]) < angle
    np.testing.assert_allclose(U.T @ U, np.eye(U.shape[1]), atol=1e-13 if dtype == "float64" else 3e-6)
    S = system_of(graph).host
    residuals = np.linalg.norm(S @ U - U * spectrum.eigenvalues.astype(dtype), axis=0)
    np.testing.assert_allclose(spectrum.residuals, residuals, atol=1e-6 if dtype == "float32" else 1e-12)
    assert residuals.max() < 2 * tol
    for column in U.T:  # each vector lives on one component
        assert np.unique(graph.components[column != 0]).size == 1


def test_rank_counts_for_each_component(archipelago):
    spectrum = leading_eigenpairs(system_of(archipelago), 5)
    at = archipelago.components[np.abs(spectrum.vectors()).argmax(axis=0)]
    np.testing.assert_array_equal(np.bincount(at), np.minimum(5, np.bincount(archipelago.components)))
    assert not spectrum.full
    assert sum(block.full for block in spectrum.blocks) == 5  # sizes 1 to 5
    ones = archipelago.n_components - archipelago.isolated.size
    np.testing.assert_allclose(spectrum.eigenvalues[:ones], 1, atol=1e-12)


def test_repeated_eigenvalues_of_a_ring_in_the_krylov_space(monkeypatch):
    monkeypatch.setattr(eigenpairs, "DENSE_LIMIT", 50)
    n = 120
    graph = graph_from_affinity(adjacency(n, [(i, (i + 1) % n) for i in range(n)])).astype(F64)
    spectrum = leading_eigenpairs(system_of(graph), 21, tol=1e-9)
    expected = np.sort(np.cos(2 * np.pi * np.arange(n) / n))[::-1]  # every inner one is double
    np.testing.assert_allclose(spectrum.eigenvalues, expected[:21], atol=1e-12)
    waves = np.exp(2j * np.pi * np.outer(np.arange(n), np.arange(11)) / n)
    assert worst_angle(spectrum.vectors(), linalg.orth(np.hstack([waves.real, waves.imag]))) < 1e-7


def test_eigenvalues_of_high_multiplicity_in_the_krylov_space(monkeypatch):
    monkeypatch.setattr(eigenpairs, "DENSE_LIMIT", 50)
    star = graph_from_affinity(adjacency(200, [(0, i) for i in range(1, 200)])).astype(F64)  # 1, 198 times 0, -1
    spectrum = leading_eigenpairs(system_of(star), 20, tol=1e-9)
    np.testing.assert_allclose(spectrum.eigenvalues, np.eye(20)[0], atol=1e-12)
    assert spectrum.lowest == pytest.approx(-1)


def test_eigenpairs_are_the_same_on_every_run_and_for_any_number_of_threads(archipelago):
    system = system_of(archipelago.astype(np.float32))
    with threadpool_limits(1):
        one = leading_eigenpairs(system, 12)
        again = leading_eigenpairs(system, 12)
    with threadpool_limits(2):
        two = leading_eigenpairs(system, 12)
    np.testing.assert_array_equal(one.vectors(), again.vectors())
    giant = archipelago.components == np.bincount(archipelago.components).argmax()
    leading = [s.vectors()[giant][:, np.abs(s.vectors()[giant]).max(axis=0) > 0][:, :12] for s in (one, two)]
    np.testing.assert_allclose(leading[0], leading[1], atol=1e-3)


def test_eigenpairs_that_run_out_of_products_say_so(archipelago):
    with pytest.warns(ManifoldWarning, match="raise max_products=64"):
        spectrum = leading_eigenpairs(system_of(archipelago), 40, tol=1e-9, max_products=64)
    assert spectrum.residuals.max() > 1e-9
    with pytest.raises(MemoryBudgetError, match="lower the rank"):
        leading_eigenpairs(_Pretend(10**8), 10**6)


class _Pretend:
    """A connected system of so many nodes that nothing can be allocated for it."""

    def __init__(self, n):
        self.components = np.broadcast_to(np.int32(0), 10**4)
        self.n_nodes, self.dtype = n, F64
        self.components = np.zeros(10**5, dtype=np.int32)


def test_full_rank_equals_conjugate_gradients(toy):
    graph, Y = toy
    spectral = diffuse(graph, Y, filter=H99, solver=FastSpectralRanking(600))
    cg = diffuse(graph, Y, filter=H99, solver=ConjugateGradient(rtol=1e-12))
    np.testing.assert_allclose(spectral.scores, cg.scores, atol=1e-8, rtol=1e-8)
    assert spectral.converged
    assert spectral.error_bound.max() < 1e-10


def test_error_falls_with_the_rank_and_the_identity_term_lowers_it(toy):
    graph, Y = toy
    ranks = (1, 6, 12, 40, 100, 300)
    kept = [relative_error(graph, Y, FastSpectralRanking(r)) for r in ranks]
    plain = [relative_error(graph, Y, FastSpectralRanking(r, identity=False)) for r in ranks]
    assert kept == sorted(kept, reverse=True)
    assert plain == sorted(plain, reverse=True)
    assert all(a < b for a, b in zip(kept, plain, strict=True))
    assert kept[2] < plain[2] / 1.5  # at the number of clusters


def test_steps_on_the_remainder_converge_geometrically(toy):
    graph, Y = toy
    errors = [relative_error(graph, Y, FastSpectralRanking(12, n_steps=m)) for m in (0, 2, 4, 6, 10, 20)]
    assert errors == sorted(errors, reverse=True)
    assert errors[3] < 1e-3
    assert errors[5] < 1e-6
    solution = diffuse(graph, Y, filter=H99, solver=FastSpectralRanking(12, n_steps=10))
    assert solution.converged
    assert (solution.n_iter == 10).all()


@pytest.mark.parametrize("filter", [RegularizedDiffusion(0.95), Heat(8.0), LowPass(0.97)], ids=repr)
def test_other_filters(toy, filter):
    graph, Y = toy
    errors = [relative_error(graph, Y, FastSpectralRanking(40, n_steps=m), filter) for m in (0, 10)]
    assert errors[0] < 0.6
    assert errors[1] < (1e-3 if filter.smooth else 1e-8)  # LowPass: all that passes is among the 40


def test_no_seeded_query_returns_zeros_and_none_crosses(archipelago):
    graph = archipelago
    Y = np.eye(graph.n_nodes)
    for solver in (FastSpectralRanking(1), FastSpectralRanking(3, identity=False), FastSpectralRanking(2, n_steps=3)):
        F = diffuse(graph, Y, solver=solver, filter=H99).scores
        assert (np.abs(F).max(axis=0) > 0).all()
        assert not F[graph.components[:, None] != graph.components].any()
        alone = graph.isolated
        np.testing.assert_allclose(F[alone, alone], H99(0.0), rtol=1e-12)
    small = np.bincount(graph.components)[graph.components] <= 12
    exact = dense_scores(graph, Y[:, small], H99)
    F = diffuse(graph, Y[:, small], solver=FastSpectralRanking(12), filter=H99).scores
    np.testing.assert_allclose(F, exact, atol=1e-12)  # components of up to `rank` nodes are exact


@pytest.mark.parametrize("n_steps", [0, 4])
def test_sparse_seeds_give_the_scores_of_dense_ones(archipelago, n_steps):
    rng = np.random.default_rng(17)
    Y = sparse.random_array((archipelago.n_nodes, 70), density=0.003, rng=rng, format="csc")
    prepared = FastSpectralRanking(20, n_steps=n_steps).prepare(archipelago, H99, get_backend())
    np.testing.assert_allclose(prepared.solve(Y).scores, prepared.solve(Y.toarray()).scores, atol=1e-14)


def test_status_residual_and_bound_are_those_measured(toy):
    graph, Y = toy
    Y = np.column_stack([Y, np.sqrt(graph.degrees), np.zeros(600)])
    solution = diffuse(graph, Y, filter=H99, solver=FastSpectralRanking(12))
    assert set(solution.status[:20]) == {Status.APPROXIMATE}
    assert solution.status[20:] == (Status.CONVERGED, Status.CONVERGED)
    assert not solution.failures()
    S = system_of(graph).host
    residual = 0.01 * Y - solution.scores + 0.99 * (S @ solution.scores)
    length = np.linalg.norm(0.01 * Y, axis=0)
    relative = np.linalg.norm(residual, axis=0) / np.where(length > 0, length, 1)
    np.testing.assert_allclose(solution.residual, relative, rtol=1e-9, atol=1e-12)
    error = np.abs(solution.scores - dense_scores(graph, Y, H99)).max(axis=0)
    assert (error <= solution.error_bound).all()
    quick = diffuse(graph, Y, filter=H99, solver=FastSpectralRanking(12, certify=False))
    np.testing.assert_array_equal(quick.scores, solution.scores)
    assert np.isinf(quick.error_bound[:21]).all()
    assert quick.error_bound[21] == quick.residual[21] == 0


@pytest.mark.parametrize("rank", [0, 1, 12, 40, 300, 600])
def test_hybrid_equals_the_dense_solve_at_any_rank(toy, rank):
    graph, Y = toy
    solution = diffuse(graph, Y, filter=H99, solver=Hybrid(rank, rtol=1e-12))
    np.testing.assert_allclose(solution.scores, dense_scores(graph, Y, H99), rtol=1e-8, atol=1e-8)
    assert solution.converged


def test_hybrid_iterations_do_not_rise_with_the_rank(toy):
    graph, Y = toy
    cg = diffuse(graph, Y, filter=H99, solver=ConjugateGradient(rtol=1e-6))
    runs = [diffuse(graph, Y, filter=H99, solver=Hybrid(r, rtol=1e-6)) for r in (0, 1, 12, 40, 100, 300, 600)]
    np.testing.assert_array_equal(runs[0].scores, cg.scores)
    np.testing.assert_array_equal(runs[0].n_iter, cg.n_iter)
    worst = [int(run.n_iter.max()) for run in runs]
    assert worst == sorted(worst, reverse=True)
    assert worst[2] <= worst[0] / 2
    assert worst[-1] <= 1


@pytest.mark.parametrize("tol", [1e-1, 1e-3])
def test_hybrid_is_exact_whatever_the_eigenvectors(archipelago, tol):
    system = system_of(archipelago)
    spectrum = leading_eigenpairs(system, 20, tol=tol)
    Y = np.eye(archipelago.n_nodes)[:, ::97]
    solution = diffuse(archipelago, Y, filter=H99, solver=Hybrid(20, rtol=1e-11, spectrum=spectrum))
    np.testing.assert_allclose(solution.scores, dense_scores(archipelago, Y, H99), atol=1e-9)
    assert (np.abs(solution.scores - dense_scores(archipelago, Y, H99)).max(axis=0) <= solution.error_bound).all()


def test_hybrid_stopped_early_says_so_within_its_bound(toy):
    graph, Y = toy
    with pytest.warns(ConvergenceWarning, match="hybrid: 0 of 20 columns converged"):
        solution = diffuse(graph, Y, filter=H99, solver=Hybrid(12, rtol=1e-9, max_iter=2))
    assert (solution.n_iter == 2).all()
    assert (np.abs(solution.scores - dense_scores(graph, Y, H99)).max(axis=0) <= solution.error_bound).all()


def test_one_spectrum_serves_both_solvers_and_lower_ranks(archipelago):
    backend = get_backend()
    prepared = FastSpectralRanking(30).prepare(archipelago, H99, backend)
    lower = FastSpectralRanking(10, spectrum=prepared.spectrum).prepare(archipelago, H99, backend)
    hybrid = Hybrid(30, spectrum=prepared.spectrum).prepare(archipelago, Diffusion(0.9), backend)
    assert hybrid.spectrum.blocks[-1].U is prepared.spectrum.blocks[-1].U
    assert lower.spectrum.blocks[-1].U.shape[2] == 10
    Y = np.eye(archipelago.n_nodes)[:, ::200]
    fresh = FastSpectralRanking(10).prepare(archipelago, H99, backend)
    np.testing.assert_allclose(lower.solve(Y).scores, fresh.solve(Y).scores, atol=1e-4)
    with pytest.raises(ValueError, match="spectrum has rank 30, rank=31 was asked for"):
        Hybrid(31, spectrum=prepared.spectrum).prepare(archipelago, H99, backend)
    heavier = graph_from_affinity(archipelago.affinity + archipelago.affinity.multiply(archipelago.affinity > 0.5))
    for other in (make_graph("clusters"), archipelago.astype(np.float32), heavier.astype(np.float64)):
        with pytest.raises(ValueError, match="spectrum belongs to another graph"):
            Hybrid(3, spectrum=prepared.spectrum).prepare(other, H99, backend)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_saved_spectrum_serves_as_the_one_it_was(archipelago, dtype):
    graph = archipelago.astype(dtype)
    spectrum = FastSpectralRanking(30).prepare(graph, H99, get_backend()).spectrum
    loaded = load(spectrum.save("eigenpairs"))
    assert (loaded.rank, loaded.lowest, loaded.digest) == (spectrum.rank, spectrum.lowest, spectrum.digest)
    np.testing.assert_array_equal(loaded.vectors(), spectrum.vectors())
    np.testing.assert_array_equal(loaded.eigenvalues, spectrum.eigenvalues)
    Y = np.eye(graph.n_nodes)[:, ::200]
    for solver in (FastSpectralRanking, Hybrid):
        fresh, again = (diffuse(graph, Y, filter=H99, solver=solver(20, spectrum=s)) for s in (spectrum, loaded))
        np.testing.assert_array_equal(again.scores, fresh.scores)
    device = StrictBackend()
    moved = diffuse(graph, device.asarray(Y), filter=H99, solver=Hybrid(20, spectrum=loaded), backend=device)
    np.testing.assert_allclose(device.to_host(moved.scores), fresh.scores, atol=1e-3)


def test_a_spectrum_that_could_not_have_been_saved_is_refused(archipelago):
    spectrum = FastSpectralRanking(3).prepare(archipelago, H99, get_backend()).spectrum
    stored = load_arrays(spectrum.save("eigenpairs"), kind="spectrum")
    nodes = np.array(stored.arrays["nodes"])
    nodes[0] = nodes[1]
    for wrong in (
        {"nodes": nodes},
        {"vectors": stored.arrays["vectors"][:-1]},
        {"shapes": stored.arrays["shapes"][:-1]},
    ):
        save_arrays("wrong", kind="spectrum", arrays={**stored.arrays, **wrong}, parameters=stored.parameters)
        with pytest.raises(CorruptFileError, match="no valid spectrum"):
            load("wrong")


@pytest.mark.parametrize("solver", [FastSpectralRanking(12, n_steps=3), Hybrid(12)], ids=["fsr", "hybrid"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_device_gives_the_scores_of_the_host_with_few_looks(archipelago, solver, dtype):
    graph, device = archipelago.astype(dtype), StrictBackend(check_every=5)
    Y = np.eye(graph.n_nodes)[:, ::50]
    expected = solver.prepare(graph, H99, get_backend()).solve(Y)
    prepared = solver.prepare(graph, H99, device)
    looks = device.n_syncs
    solution = prepared.solve(device.asarray(Y))
    assert device.n_syncs - looks <= 3 + expected.n_iter.max() / 5
    scores = device.to_host(solution.scores)
    np.testing.assert_allclose(scores, expected.scores, atol=1e-9 if graph.dtype == F64 else 2e-5)


def test_settings_are_checked():
    for wrong in ({"rank": 0}, {"n_steps": -1}, {"rtol": 0.0}, {"n_steps": 2, "identity": False}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}"):
            FastSpectralRanking(**wrong)
    for wrong in ({"rank": -1}, {"rtol": 1.0}, {"max_iter": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}"):
            Hybrid(**wrong)
