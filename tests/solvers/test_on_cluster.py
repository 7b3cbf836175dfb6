"""Solvers on many ranks: the bits, verdicts and bounds of one process, for any cuts, on awkward graphs."""

from __future__ import annotations

import numpy as np
import pytest
from cases import DTYPES, GRAPHS, LARGE
from thread_ranks import ThreadRanks

import manifold as mf
from manifold.backends import ranks as backend
from manifold.errors import CorruptFileError
from manifold.filters import Diffusion, Heat, RegularizedDiffusion
from manifold.solvers import Chebyshev, ConjugateGradient, Direct, PowerIteration
from manifold.solvers.on_cluster import OnCluster

pytest.importorskip("numba")
N = 10_000
CASES = {
    "cg": (ConjugateGradient(1e-6), Diffusion(0.95)),
    "cg, two poles": (ConjugateGradient(1e-4), RegularizedDiffusion(0.9)),
    "cg, no time": (ConjugateGradient(1e-12, max_iter=3), Diffusion(0.99)),
    "chebyshev": (Chebyshev(1e-4), Diffusion(0.9)),
    "chebyshev, heat": (Chebyshev(1e-6), Heat(3.0)),
    "power": (PowerIteration(1e-3), Diffusion(0.8)),
}


def saved(name, folder, dtype=np.float32, seed=71):
    with np.errstate(all="ignore"):
        graph = mf.graph_from_affinity(LARGE[name](np.random.default_rng(seed), N)).astype(dtype)
    return mf.load(graph.save(folder / "graph"))


def seeds(n, q, seed=3):
    rng = np.random.default_rng(seed)
    Y = np.zeros((n, q))
    Y[rng.integers(0, n, 20 * q), rng.integers(0, q, 20 * q)] = rng.uniform(0.1, 4, 20 * q)
    if q > 2:
        Y[:, 1], Y[7, 2], Y[:, 0] = 0, np.nan, rng.random(n)
    return Y


def assert_equal(one, many):
    assert np.array_equal(one.scores, many.scores, equal_nan=True)
    assert one.scores.dtype == many.scores.dtype
    assert (one.status, one.solver) == (many.status, many.solver)
    assert np.array_equal(one.n_iter, many.n_iter)
    assert np.array_equal(one.residual, many.residual, equal_nan=True)
    assert np.array_equal(one.error_bound, many.error_bound)


@pytest.mark.parametrize(
    ("case", "n_ranks"), [*(("cg", n) for n in (1, 2, 3, 5)), *((case, 3) for case in CASES if case != "cg")]
)
def test_many_ranks_have_the_bits_of_one_process(case, n_ranks, tmp_path):
    solver, filter = CASES[case]
    graph, cluster = saved("far and near", tmp_path), ThreadRanks(n_ranks)
    for q in (1, 3, 16, 17, 40) if case == "cg" else (1, 17):
        Y = seeds(N, q)
        one = mf.diffuse(graph, Y, filter=filter, solver=solver, on_failure="ignore")
        many = mf.diffuse(graph, Y, filter=filter, solver=OnCluster(solver, cluster), on_failure="ignore")
        assert_equal(one, many)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LARGE)
def test_awkward_graphs(name, dtype, tmp_path):
    graph = saved(name, tmp_path, DTYPES[dtype])
    Y = seeds(graph.n_nodes, 3)
    for solver, filter in (CASES["cg"], CASES["chebyshev"]):
        one = mf.diffuse(graph, Y, filter=filter, solver=solver, on_failure="ignore")
        many = mf.diffuse(graph, Y, filter=filter, solver=OnCluster(solver, ThreadRanks(3)), on_failure="ignore")
        assert_equal(one, many)


@pytest.mark.parametrize("cuts", [(0, 0, N), (0, N, N), (0, 2048, 2048, N), (0, 8192, N)], ids=str)
def test_shards_of_any_size(cuts, tmp_path, monkeypatch):
    """Empty ones among them."""
    monkeypatch.setattr(backend, "even_cuts", lambda n, r: np.array(cuts))
    graph, (solver, filter) = saved("far and near", tmp_path), CASES["cg"]
    one = mf.diffuse(graph, seeds(N, 3), filter=filter, solver=solver, on_failure="ignore")
    on_ranks = OnCluster(solver, ThreadRanks(len(cuts) - 1))
    assert_equal(one, mf.diffuse(graph, seeds(N, 3), filter=filter, solver=on_ranks, on_failure="ignore"))


def test_a_start_and_a_callback(tmp_path):
    graph, (solver, filter) = saved("far and near", tmp_path), CASES["cg"]
    Y, seen, seen_alone = seeds(N, 2), [], []
    start = mf.diffuse(graph, Y, filter=Diffusion(0.94), solver=solver).scores
    one = mf.diffuse(graph, Y, filter=filter, solver=solver, x0=start, callback=seen_alone.append)
    on_ranks = OnCluster(solver, ThreadRanks(2))
    assert_equal(one, mf.diffuse(graph, Y, filter=filter, solver=on_ranks, x0=start, callback=seen.append))
    assert [s.n_iter for s in seen] == [s.n_iter for s in seen_alone]
    assert all(np.array_equal(a.residual, b.residual) for a, b in zip(seen, seen_alone, strict=True))


def test_labels_propagate_as_in_one_process(tmp_path):
    graph = saved("far and near", tmp_path)
    labels = np.full(N, -1)
    labels[::97] = np.arange(labels[::97].size) % 7
    with pytest.warns(mf.errors.ManifoldWarning, match="not reached"):
        one = mf.propagate(graph, labels, method="lgc")
    with pytest.warns(mf.errors.ManifoldWarning, match="not reached"):
        many = mf.propagate(graph, labels, method="lgc", cluster=ThreadRanks(3))
    assert_equal(one.solution, many.solution)
    assert np.array_equal(one.labels, many.labels)
    assert np.array_equal(one.distributions, many.distributions)
    assert np.array_equal(one.certainty, many.certainty)


def test_a_step_sends_the_halo_and_bands(tmp_path):
    """4 q bytes a row of the halo for a product, 8 q bytes a band for a sum, to each other rank."""
    graph, cluster = saved("far and near", tmp_path), ThreadRanks(3)

    def sent(most):
        solver = OnCluster(ConjugateGradient(1e-9, most), cluster)
        before = sum(shard.backend.sent for shard in shards())
        mf.diffuse(graph, seeds(N, 16), solver=solver, on_failure="ignore")
        return sum(shard.backend.sent for shard in shards()) - before

    def shards():
        return [shard for member in cluster.members for shard in member.kept.values()]

    sent(1)  # which rows are asked for is told once
    few, more = sent(5), sent(15)
    halo, bands = sum(shard.backend.halo for shard in shards()), -(-N // 2048)
    assert more - few == 10 * 16 * (4 * halo + 2 * 2 * 8 * bands)
    assert halo < 1.2 * N  # each of three sees near rows of its neighbours, and a tenth of edges lead anywhere


def test_small_graphs_are_solved_here(tmp_path):
    graph = mf.graph_from_affinity(GRAPHS["clusters"]())
    Y = seeds(graph.n_nodes, 3)
    many = mf.diffuse(graph, Y, solver="direct", cluster=ThreadRanks(2), on_failure="ignore")
    assert_equal(mf.diffuse(graph, Y, solver="direct", on_failure="ignore"), many)


def test_what_a_cluster_does_not_do_is_refused(tmp_path):
    graph = saved("path", tmp_path)
    with pytest.raises(ValueError, match="a cluster runs cg, chebyshev, power"):
        mf.diffuse(graph, seeds(N, 1), solver=Direct(), cluster=ThreadRanks(2))
    with pytest.raises(ValueError, match="needs a rational filter"):
        mf.diffuse(graph, seeds(N, 1), filter=Heat(1.0), cluster=ThreadRanks(2))
    with pytest.raises(ValueError, match=r"graph\.save"):
        mf.diffuse(graph.subgraph(np.arange(9000)), seeds(9000, 1), cluster=ThreadRanks(2))
    with pytest.raises(TypeError, match="cluster must be"):
        mf.diffuse(graph, seeds(N, 1), cluster="tcp://127.0.0.1:8786")
    with pytest.raises(ValueError, match="x0 needs a filter of one resolvent"):
        mf.diffuse(graph, seeds(N, 1), filter=RegularizedDiffusion(), x0=seeds(N, 1), cluster=ThreadRanks(2))


def test_a_folder_that_holds_another_graph_by_now_is_refused(tmp_path):
    graph = saved("path", tmp_path)
    saved("star", tmp_path)
    with pytest.raises(CorruptFileError, match="another graph"):
        mf.diffuse(graph, seeds(N, 1), cluster=ThreadRanks(1))
