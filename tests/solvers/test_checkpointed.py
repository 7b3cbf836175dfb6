"""Solves that are stopped and go on: the bits of one that was not, and what a damaged or foreign block does."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from cases import DTYPES, make_graph
from scipy import sparse
from strict_backend import StrictBackend
from thread_ranks import ThreadRanks

import manifold as mf
from manifold.errors import ManifoldWarning
from manifold.solvers import Chebyshev, Checkpointed, ConjugateGradient, PowerIteration

Q = 70  # columns: two whole blocks, and six more


@pytest.fixture(scope="module")
def graph():
    return make_graph("clusters")


def seeds(n, q=Q):
    rng = np.random.default_rng(7)
    Y = np.zeros((n, q))
    Y[rng.integers(0, n, 3 * q), np.arange(3 * q) % q] = rng.uniform(0.1, 4, 3 * q)
    return Y


def assert_equal(one, many):
    assert np.array_equal(one.scores, many.scores, equal_nan=True)
    assert one.scores.dtype == many.scores.dtype
    assert (one.status, one.solver) == (many.status, many.solver)
    for name in ("n_iter", "residual", "error_bound"):
        assert np.array_equal(getattr(one, name), getattr(many, name), equal_nan=True), name


def units(folder):
    return sorted(path.parent for path in folder.rglob("manifest.json"))


class Stop:
    """Counts columns that are shown, and raises when a block has begun."""

    def __init__(self, at=None):
        self.at, self.seen = at, set()

    def __call__(self, snapshot):
        self.seen.update(snapshot.columns.tolist())
        if self.at is not None and self.at in self.seen:
            raise KeyboardInterrupt


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("solver", [ConjugateGradient(1e-4), Chebyshev(1e-4), PowerIteration(1e-2)], ids=str)
def test_a_solve_that_is_stopped_goes_on_to_the_same_bits(graph, solver, dtype, tmp_path):
    graph = graph.astype(DTYPES[dtype])
    Y = seeds(graph.n_nodes)
    one = mf.diffuse(graph, Y, solver=solver)
    for at, before in ((0, 0), (40, 1), (69, 2)):
        stop = Stop(at)
        with pytest.raises(KeyboardInterrupt):
            mf.diffuse(graph, Y, solver=solver, checkpoint=tmp_path, callback=stop)
        assert len(units(tmp_path)) == before
    rest = Stop()
    assert_equal(one, mf.diffuse(graph, Y, solver=solver, checkpoint=tmp_path, callback=rest))
    assert rest.seen == set(range(64, Q))  # the others were there
    again = Stop()
    assert_equal(one, mf.diffuse(graph, Y, solver=solver, checkpoint=tmp_path, callback=again))
    assert not again.seen


@pytest.mark.parametrize(
    "make", [lambda Y: Y[:, 0], sparse.csc_array, sparse.csr_matrix, lambda Y: Y[:, :0], np.asfortranarray]
)
def test_seeds_of_any_kind(graph, make, tmp_path):
    Y = make(seeds(graph.n_nodes))
    for _ in range(2):
        assert_equal(mf.diffuse(graph, Y), mf.diffuse(graph, Y, checkpoint=tmp_path))


def test_sizes_that_float32_does_not_hold_and_columns_that_fail(graph, tmp_path):
    Y = seeds(graph.n_nodes)
    Y[:, 40] *= 1e200
    Y[3, 41], Y[:, 42] = np.nan, 0
    for _ in range(2):
        assert_equal(
            mf.diffuse(graph, Y, on_failure="ignore"), mf.diffuse(graph, Y, checkpoint=tmp_path, on_failure="ignore")
        )
    with pytest.raises(mf.errors.ConvergenceError, match="NONFINITE"):
        mf.diffuse(graph, Y, checkpoint=tmp_path, on_failure="raise")


def test_other_work_is_not_taken_for_this(graph, tmp_path):
    """Another solver, filter, precision, graph, start, or seeds: each has a folder of its own."""
    Y = seeds(graph.n_nodes, 3)
    start = mf.diffuse(graph, Y, filter=mf.Diffusion(0.94)).scores
    asked = [
        (graph, Y, {}),
        (graph, Y, {"solver": ConjugateGradient(1e-4)}),
        (graph, Y, {"filter": mf.Diffusion(0.9)}),
        (graph, Y, {"x0": start}),
        (graph, 2 * Y, {}),
        (graph, Y.astype(np.float32), {}),
        (graph.astype("float32"), Y, {}),
        (make_graph("ring"), np.eye(8, 3), {}),
    ]
    for i, (of, block, settings) in enumerate(asked):
        assert_equal(mf.diffuse(of, block, **settings), mf.diffuse(of, block, checkpoint=tmp_path, **settings))
        assert len(units(tmp_path)) == i + 1


def test_a_damaged_block_is_named_and_solved_again(graph, tmp_path):
    Y = seeds(graph.n_nodes)
    one = mf.diffuse(graph, Y, checkpoint=tmp_path)
    file = next(units(tmp_path)[1].glob("scores*"))
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    seen = Stop()
    with pytest.warns(ManifoldWarning, match=r"unit 1 of stage 'columns' .* is done again"):
        again = mf.diffuse(graph, Y, checkpoint=tmp_path, callback=seen)
    assert_equal(one, again)
    assert seen.seen == set(range(32, 64))


def test_a_block_of_another_solve_is_named_and_solved_again(graph, tmp_path):
    Y = seeds(graph.n_nodes)
    one = mf.diffuse(graph, Y, checkpoint=tmp_path / "one")
    mf.diffuse(graph, Y[:, ::-1], checkpoint=tmp_path / "other")
    mine, foreign = units(tmp_path / "one")[0], units(tmp_path / "other")[0]
    shutil.rmtree(mine)
    shutil.copytree(foreign, mine)
    with pytest.warns(ManifoldWarning, match=r"unit 0 .* belongs to another build"):
        assert_equal(one, mf.diffuse(graph, Y, checkpoint=tmp_path / "one"))


def test_a_start_of_another_shape_and_what_is_no_path_are_refused(graph, tmp_path):
    Y = seeds(graph.n_nodes, 2)
    with pytest.raises(ValueError, match="x0 must have the shape of the seeds"):
        mf.diffuse(graph, Y, x0=seeds(graph.n_nodes, 3), checkpoint=tmp_path)
    with pytest.raises(TypeError, match="checkpoint must be the path of a folder, got 3"):
        mf.diffuse(graph, Y, checkpoint=3)
    assert Checkpointed(ConjugateGradient(), tmp_path).folder == tmp_path


def test_a_cluster_begins_and_one_process_goes_on(tmp_path):
    pytest.importorskip("numba")
    n = 9000
    ring = mf.graph_from_affinity(sparse.diags_array([np.ones(n - 1)] * 2, offsets=(-1, 1)))
    graph, Y = mf.load(ring.save(tmp_path / "graph")), seeds(n, 40)
    one = mf.diffuse(graph, Y)
    with pytest.raises(KeyboardInterrupt):
        mf.diffuse(graph, Y, cluster=ThreadRanks(2), checkpoint=tmp_path / "kept", callback=Stop(33))
    rest = Stop()
    assert_equal(one, mf.diffuse(graph, Y, checkpoint=tmp_path / "kept", callback=rest))
    assert rest.seen == set(range(32, 40))
    again = Stop()
    assert_equal(one, mf.diffuse(graph, Y, cluster=ThreadRanks(3), checkpoint=tmp_path / "kept", callback=again))
    assert not again.seen


def test_labels_go_on(graph, tmp_path):
    labels = np.full(graph.n_nodes, -1)
    labels[::10] = np.arange(labels[::10].size) % 3
    one, seen = mf.propagate(graph, labels, method="lgc"), Stop()
    mf.propagate(graph, labels, method="lgc", checkpoint=tmp_path)
    again = mf.propagate(graph, labels, method="lgc", checkpoint=tmp_path, callback=seen)
    assert_equal(one.solution, again.solution)
    assert np.array_equal(one.distributions, again.distributions)
    assert not seen.seen


def test_a_device_gets_its_scores_back(graph, tmp_path):
    device = StrictBackend()
    Y = device.asarray(seeds(graph.n_nodes))
    for _ in range(2):
        scores = mf.diffuse(graph, Y, checkpoint=tmp_path, backend=device).scores
        assert device.owns(scores)
        assert np.array_equal(device.to_host(scores), device.to_host(mf.diffuse(graph, Y, backend=device).scores))
