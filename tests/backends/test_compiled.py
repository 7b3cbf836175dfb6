"""The compiled kernels and the order of nodes: the same answers, to rounding and to the bit, and nobody sees either."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cases import DTYPES, GRAPHS, SOLVERS, TOLERANCE, dense_scores, make_graph, some_seeds
from scipy import sparse
from threadpoolctl import threadpool_limits

import manifold as mf
from manifold import Diffusion, diffuse
from manifold.backends import ScipyBackend, _scipy, get_backend
from manifold.backends._sweeps import Sweeps
from manifold.graph import _order
from manifold.solvers import ConjugateGradient, FastSpectralRanking, Hybrid
from manifold.solvers.system import NormalizedAffinity

WIDTHS = (1, 2, 15, 16, 17, 32, 64)


@pytest.fixture
def compiled(monkeypatch):
    """Every problem, however small, goes through the compiled kernels, its nodes in an order of their own."""
    pytest.importorskip("numba")
    monkeypatch.setattr(_scipy, "COMPILED_FROM", 0)
    monkeypatch.setattr(_order, "ORDERED_FROM", 1)


@pytest.fixture(params=DTYPES)
def dtype(request):
    return DTYPES[request.param]


def ring(n, dtype=np.float32):
    """A ring with chords: large enough for bands, ranges and threads."""
    ids = np.arange(n)
    W = sparse.coo_array((np.random.default_rng(3).uniform(0.5, 1.5, 3 * n), (np.tile(ids, 3), np.concatenate(
        [(ids + step) % n for step in (1, 7, 40)]))), shape=(n, n))  # fmt: skip
    return mf.graph_from_affinity(sparse.csr_array(W + W.T)).astype(dtype)


class Plain(ScipyBackend):
    """The SciPy path alone."""

    spmm, axpy, advance, column_sizes = Sweeps.spmm, Sweeps.axpy, Sweeps.advance, Sweeps.column_sizes

    def column_dots(self, x, y):
        return np.einsum("ij,ij->j", x.astype(np.float64), y.astype(np.float64))


# ---- kernels


def test_what_is_kept_of_a_kernel_is_of_no_use_once_another_file_of_kernels_has_changed(tmp_path, monkeypatch):
    """A kernel holds the code of those it calls, wherever they stand."""
    _compiled = pytest.importorskip("manifold.backends._compiled")
    source = tmp_path / "kernels.py"
    lines = ("from manifold.backends._compiled import compiled", "@compiled", "def twice(x):", "    return 2 * x", "")
    source.write_text("\n".join(lines))
    found = []
    for sources in (b"one", b"one", b"another"):
        monkeypatch.setattr(_compiled, "_SOURCES", sources)
        twice = runpy.run_path(str(source))["twice"]
        assert twice(21) == 42
        found.append(sum(twice.stats.cache_hits.values()))
    assert found == [0, 1, 0]


@pytest.mark.parametrize("q", WIDTHS)
@pytest.mark.parametrize("n", [1, 130, 5000])
def test_sweeps_equal_their_plain_expressions(compiled, n, q, dtype, rng):
    plain, fast, unit = Plain(), get_backend("scipy"), np.finfo(dtype).eps
    M = sparse.random_array((n, n), density=min(1, 12 / n), rng=rng, format="csr", dtype=dtype)
    matrix = fast.csr(M, dtype=dtype)
    X, Y, Z = (rng.standard_normal((n, q)).astype(dtype) for _ in range(3))
    step, ratio, factors = rng.standard_normal((3, q))
    options = [
        {},
        {"a": -0.9, "b": 1.0},
        {"a": 0.9, "b": -1.0, "other": Y},
        {"c": -step, "other": Y},
        {"a": 2.0, "c": -1.0, "other": Y},
    ]
    for option in options:
        mine, theirs = np.empty(q), np.empty(q)
        out = fast.spmm(matrix, X, dots=mine, **option)
        expected = plain.spmm(matrix, X, dots=theirs, **option)
        np.testing.assert_allclose(out, expected, atol=200 * unit)
        np.testing.assert_allclose(mine, theirs, atol=200 * unit * n)
        again = fast.spmm(matrix, X, **option, out=option["other"].copy() if "other" in option else np.empty_like(X))
        np.testing.assert_array_equal(again, out)
    blocks = [[x.copy() for x in (X, Y, Z)] for _ in range(2)]
    squares = [backend.axpy(b[0], b[1], factors) for backend, b in zip((fast, plain), blocks, strict=True)]
    np.testing.assert_allclose(*squares, rtol=1e-5)
    for backend, b in zip((fast, plain), blocks, strict=True):
        backend.advance(*b, step=step, ratio=ratio)
    for mine, theirs in zip(*blocks, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=50 * unit)
    weights = rng.uniform(0.5, 2, (n, 1))
    np.testing.assert_allclose(fast.column_sizes(X, weights), plain.column_sizes(X, weights), rtol=1e-12)
    np.testing.assert_allclose(fast.column_dots(X, Y), plain.column_dots(X, Y), atol=1e-12 * n)


def test_what_is_not_a_number_shows_in_sums_and_sizes(compiled):
    backend, X = get_backend("scipy"), np.ones((300, 3), dtype=np.float32)
    X[170, 1], X[20, 2] = np.nan, np.inf
    sizes = backend.column_sizes(X, np.ones((300, 1)))
    assert np.isnan(sizes[:, 1]).all()
    assert np.isinf(sizes[:, 2]).all()
    assert sizes[:, 0].tolist() == [300, 1, 1]
    assert np.isnan(backend.column_dots(X, X)[1])


def test_blocks_of_another_kind_take_the_plain_path(compiled, rng):
    backend = get_backend("scipy")
    M = sparse.random_array((40, 30), density=0.2, rng=rng, format="csr")
    X = rng.standard_normal((30, 5))
    for block in (X, np.asfortranarray(X), X.astype(np.float32), X[:, :0], X[::-1], X.astype(np.int64)):
        np.testing.assert_allclose(backend.spmm(M, block), M @ block, rtol=1e-6, atol=1e-6)
    single = M.astype(np.float32)
    np.testing.assert_allclose(
        backend.spmm(single, X), single @ X, rtol=1e-12
    )  # entries are widened, not the block cut


# ---- solves


@pytest.mark.parametrize("case", SOLVERS, ids=lambda case: case.name)
@pytest.mark.parametrize("name", GRAPHS)
def test_every_solver_on_every_graph(compiled, name, case, dtype):
    graph = make_graph(name, dtype)
    Y = some_seeds(graph.n_nodes)
    kinds = {"dense": Y, "sparse": sparse.csc_array(Y)}
    for kind, seeds in kinds.items():
        solution = diffuse(graph, seeds, solver=case.exact(dtype), on_failure="ignore")
        expected = dense_scores(graph, Y, Diffusion())
        np.testing.assert_allclose(solution.scores, expected, atol=TOLERANCE[dtype], err_msg=kind)
        assert (np.abs(solution.scores - expected).max(axis=0, initial=0) <= solution.error_bound + 1e-13).all()


@pytest.mark.parametrize("q", WIDTHS)
def test_a_column_has_the_same_bits_in_any_batch_and_on_any_number_of_threads(q, dtype, monkeypatch):
    from manifold.backends import _numba

    monkeypatch.setattr(_numba, "_ALONE", 0)
    graph = ring(20_000, dtype)
    Y = sparse.random_array((20_000, q), density=1e-3, rng=np.random.default_rng(q), format="csc")
    solver = ConjugateGradient(rtol=1e-4)
    found = []
    for threads in (1, 2, 4):
        with threadpool_limits(threads):
            found.append(diffuse(graph, Y, solver=solver))
    for other in found[1:]:
        np.testing.assert_array_equal(other.scores, found[0].scores)
    alone = diffuse(graph, Y[:, [q - 1]], solver=solver)
    np.testing.assert_array_equal(alone.scores[:, 0], found[0].scores[:, -1])
    assert alone.n_iter[0] == found[0].n_iter[-1]


def test_the_scipy_path_agrees_and_is_taken_where_numba_is_missing(monkeypatch):
    graph = ring(10_000, np.float64)
    Y = np.random.default_rng(1).random((10_000, 3))
    with_kernels = diffuse(graph, Y, solver=ConjugateGradient(rtol=1e-10))
    monkeypatch.setattr(_scipy, "find_spec", lambda name: None)
    _scipy._kernels.cache_clear()
    try:
        assert _scipy._kernels() is None
        without = diffuse(graph, Y, solver=ConjugateGradient(rtol=1e-10))
    finally:
        _scipy._kernels.cache_clear()
    np.testing.assert_allclose(without.scores, with_kernels.scores, atol=1e-9)


def test_one_prepared_solver_serves_eight_threads_at_once():
    graph = ring(20_000)
    prepared = ConjugateGradient().prepare(graph, Diffusion(0.9), get_backend())
    seeds = [
        sparse.random_array((20_000, q), density=1e-3, rng=np.random.default_rng(q), format="csc") for q in range(1, 9)
    ]
    expected = [prepared.solve(Y).scores for Y in seeds]
    with ThreadPoolExecutor(8) as pool:
        for mine, theirs in zip(pool.map(lambda Y: prepared.solve(Y).scores, seeds), expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_solves_too(monkeypatch):
    from manifold.backends import _numba

    monkeypatch.setattr(_numba, "_ALONE", 0)
    graph = ring(20_000)
    Y = np.eye(20_000, 2, dtype=np.float32)
    expected = diffuse(graph, Y).scores

    def child(end):
        end.send(bool((diffuse(graph, Y).scores == expected).all()))

    here, there = multiprocessing.get_context("fork").Pipe()
    process = multiprocessing.get_context("fork").Process(target=child, args=(there,))
    process.start()
    assert here.poll(60)
    assert here.recv()
    process.join()


# ---- the order


def test_an_order_is_a_permutation_with_components_and_neighbours_together():
    n = 9000
    hidden = np.random.default_rng(5).permutation(n)
    graph = ring(n).subgraph(hidden)
    system = NormalizedAffinity(graph, get_backend())
    assert np.array_equal(np.sort(system.order), np.arange(n))
    np.testing.assert_array_equal(system.order[system.places(np.arange(n))], np.arange(n))

    def spread(S):
        return np.abs(np.repeat(np.arange(n), np.diff(S.indptr)) - S.indices).mean()

    assert spread(system.entries) < spread(system.host) / 5
    assert (system.host[system.order][:, system.order] != system.entries).nnz == 0
    assert system.entries.has_sorted_indices
    assert NormalizedAffinity(graph, get_backend()).order is system.order  # found once


def test_the_order_cannot_be_seen(monkeypatch, tmp_path):
    graph = make_graph("clusters", DTYPES["float64"])
    Y, hybrid = some_seeds(150), Hybrid(5, rtol=1e-12)
    plain = NormalizedAffinity(graph, get_backend()).digest
    before = FastSpectralRanking(5).prepare(graph, Diffusion(), get_backend()).spectrum
    expected = diffuse(graph, Y, solver=hybrid).scores
    monkeypatch.setattr(_order, "ORDERED_FROM", 1)
    system = NormalizedAffinity(graph, get_backend())
    assert system.order is not None
    assert system.digest == plain
    prepared = FastSpectralRanking(5).prepare(graph, Diffusion(), get_backend())
    U, V = prepared.spectrum.vectors(), before.vectors()
    np.testing.assert_allclose(U @ U.T, V @ V.T, atol=1e-7)  # eigenvalues of several components are the same
    loaded = mf.load(prepared.spectrum.save(tmp_path / "spectrum"))
    for spectrum in (before, prepared.spectrum, loaded):  # made without an order, with one, and read
        solved = diffuse(graph, Y, solver=Hybrid(5, rtol=1e-12, spectrum=spectrum)).scores
        np.testing.assert_allclose(solved, expected, atol=1e-10)
    seen = []
    diffuse(graph, Y, solver=ConjugateGradient(), callback=seen.append, x0=expected)
    assert set(seen[0].columns.tolist()) <= set(range(5))
    index = mf.DiffusionIndex(20).build(graph)
    monkeypatch.setattr(_order, "ORDERED_FROM", 10**9)
    as_it_is = make_graph("clusters", DTYPES["float64"])
    assert as_it_is.order is None
    np.testing.assert_array_equal(index.ids, mf.DiffusionIndex(20).build(as_it_is).ids)


# ---- imports


def test_small_problems_load_no_compiler_and_the_package_compiles_nothing():
    code = (
        "import sys, numpy as np, manifold as mf;"
        "X = np.random.default_rng(0).random((500, 8));"
        "mf.ManifoldSearch(preset='plain-diffusion', n_neighbors=5).fit(X).search(np.ones((2, 8)));"
        "print('numba' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
