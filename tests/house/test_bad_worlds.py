"""Faults of the world around a solve: awkward graphs, memory, threads, forks, interrupts, locales."""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from cases import GRAPHS, SOLVERS, dense_scores, make_graph, some_seeds
from memory import peak_over_forecast
from threadpoolctl import threadpool_limits

import manifold as mf
from manifold import _resources
from manifold.backends import get_backend
from manifold.backends._scipy import ScipyBackend
from manifold.datasets import digits
from manifold.errors import ManifoldWarning, MemoryBudgetError
from manifold.ranking import _fitted
from manifold.solvers import Status

SEARCHES = {
    "auto": {"solver": "auto"},
    "cg": {"solver": "cg"},
    "index": {"solver": mf.DiffusionIndex(n_entries=24)},
    "fsr": {"solver": mf.solvers.FastSpectralRanking(rank=8)},
    "adaptive": {"preset": "adaptive"},
}


@pytest.fixture(scope="module")
def collection():
    X, _ = digits()
    return X[:190], X[600:1000]


def answers(ranking):
    """Everything a ranking says, as bytes."""
    parts = (ranking.ids, ranking.scores, ranking.slack, ranking.diagnostics.residual)
    return tuple(np.asarray(part).tobytes() for part in parts)


# ---- rows 35 to 44: graphs and spectra


@pytest.mark.parametrize("case", SOLVERS, ids=lambda case: case.name)
def test_row_35_disconnected_graph(case):
    graph = make_graph("disconnected")
    assert graph.n_components == 3
    Y = np.eye(12)[:, [0, 5, 11]]
    for solver in (case.exact(graph.dtype), *case.loose):
        F = mf.diffuse(graph, Y, solver=solver, on_failure="ignore").scores
        inside = graph.components[:, None] == graph.components[[0, 5, 11]]
        assert not F[~inside].any()  # nothing crosses
        assert F[inside].any()  # and no component is left without an answer
    assert F.shape == (12, 3)


@pytest.mark.parametrize("case", SOLVERS, ids=lambda case: case.name)
def test_row_36_isolated_nodes(case):
    graph = make_graph("isolated nodes")
    assert graph.isolated.tolist() == [0, 3, 4, 6]
    F = mf.diffuse(graph, np.eye(7), filter=mf.Diffusion(0.9), solver=case.exact(graph.dtype)).scores
    for node in graph.isolated:
        np.testing.assert_allclose(F[:, node], 0.1 * np.eye(7)[node], rtol=1e-10)  # h(0) of its seed, nothing else
        np.testing.assert_array_equal(np.delete(F[node], node), 0)


@pytest.mark.parametrize("case", SOLVERS, ids=lambda case: case.name)
def test_row_37_weights_of_a_huge_range(case):
    ends = 10.0 ** np.array([-150, 150, 0, -3, 140])
    W = np.zeros((6, 6))
    W[np.arange(5), np.arange(1, 6)] = ends
    with pytest.warns(ManifoldWarning, match="float32") as caught:
        graph = mf.graph_from_affinity(W + W.T)
    assert caught[0].filename == __file__
    assert graph.dtype == np.float64
    F = mf.diffuse(graph, np.eye(6), solver=case.exact(graph.dtype)).scores
    np.testing.assert_allclose(F, dense_scores(graph, np.eye(6), mf.Diffusion()), atol=1e-8)
    huge = np.array([[0, 1.7e308, 1.7e308], [1.7e308, 0, 1], [1.7e308, 1, 0]])
    with pytest.warns(ManifoldWarning, match="float32"), pytest.raises(ValueError, match="degrees beyond float64"):
        mf.graph_from_affinity(huge)


@pytest.mark.parametrize("solver", [mf.solvers.FastSpectralRanking, mf.solvers.Hybrid])
@pytest.mark.parametrize("name", ["one node", "two nodes", "clusters", "no edges"])
def test_row_43_as_many_eigenpairs_as_nodes_and_none(solver, name):
    graph = make_graph(name)
    n = graph.n_nodes
    Y = some_seeds(n)
    for rank in (n, n + 1, 10 * n + 7):
        F = mf.diffuse(graph, Y, solver=solver(rank), on_failure="ignore").scores
        np.testing.assert_allclose(F, dense_scores(graph, Y, mf.Diffusion()), atol=3e-3)
    with pytest.raises(ValueError, match="rank must be at least"):
        solver(-1)
    with pytest.raises(TypeError, match=r"rank must be an integer, got 2\.0"):
        solver(2.0)


@pytest.mark.parametrize("name", ["ring", "complete", "star", "disconnected", "bipartite"])
def test_row_44_repeated_eigenvalues(name):
    """Any basis of an eigenspace will do: the same run gives the same bits, and whole eigenspaces the same ranking."""
    graph = make_graph(name)
    Y = some_seeds(graph.n_nodes)
    runs = [mf.diffuse(graph, Y, solver=mf.solvers.FastSpectralRanking(3)) for _ in range(2)]
    assert runs[0].scores.tobytes() == runs[1].scores.tobytes()
    exact = dense_scores(graph, Y, mf.Diffusion())
    bound = runs[0].error_bound
    assert (np.abs(runs[0].scores - exact).max(axis=0) <= bound).all()
    F = mf.diffuse(graph, Y, solver=mf.solvers.FastSpectralRanking(graph.n_nodes)).scores
    order = np.argsort(-F[:, -1])
    assert (np.diff(exact[order, -1]) <= 1e-10).all()


# ---- rows 51 and 52: memory


def test_row_51_what_would_not_fit_is_refused_with_the_block_that_would(monkeypatch, collection):
    X, Q = collection
    graph, search = mf.build_graph(X, 5), mf.ManifoldSearch(preset="plain-diffusion").fit(X)
    n = graph.n_nodes
    monkeypatch.setattr(_resources, "available_memory", lambda: 4 * n * 300)
    with pytest.raises(
        MemoryBudgetError, match=r"solving 190 columns on 190 nodes .* pass at most \d+ seed columns"
    ) as caught:
        mf.diffuse(graph, np.eye(n))
    fits = int(str(caught.value).split("at most ")[1].split()[0])
    assert 0 < fits < 500
    assert mf.diffuse(graph, np.eye(n)[:, :fits]).converged
    with pytest.raises(MemoryBudgetError):
        mf.diffuse(graph, np.eye(n)[:, : fits + 1])
    assert search.search(Q[:20], k=3).ids.shape == (20, 3)
    monkeypatch.setattr(_resources, "available_memory", lambda: 10_000)
    for work, what in (
        (lambda: mf.build_graph(X, 5), "neighbours of 190 points.*lower n_neighbors and the number of points"),
        (lambda: mf.DiffusionIndex().build(graph), "an index of 190 nodes.*lower n_entries.*not even 1 fits"),
        (lambda: mf.DiffusionIndex().build(graph, n_jobs=2), "an index of 190 nodes.*lower n_jobs"),
        (lambda: mf.diffuse(graph, np.eye(n)[0], solver="direct"), "factorising 190 nodes.*solver='cg'"),
        (lambda: mf.diffuse(graph, np.eye(n)[0], solver="fsr"), "eigenvectors of 190 nodes.*lower the rank"),
        (lambda: mf.propagate(graph, np.arange(n)), "propagating 190 columns"),
    ):
        with pytest.raises(MemoryBudgetError, match=what):
            work()


@pytest.mark.parametrize("ids", [None, [f"document {i:012}" for i in range(190)]], ids=["integers", "texts"])
@pytest.mark.parametrize("settings", [{}, {"preset": "adaptive"}, {"solver": "index"}], ids=str)
def test_row_51_the_forecast_of_answers_is_near_their_peak(monkeypatch, collection, settings, ids):
    X, _ = collection
    search = mf.ManifoldSearch(n_neighbors=5, on_failure="ignore", **settings).fit(X[:190], ids)
    Q = np.tile(X[:190], (20, 1))
    search.search(Q[:3], k=3)
    spent = peak_over_forecast(lambda: search.search(Q, k=190), monkeypatch, _fitted)
    assert 0.5 < spent < 1.6  # a few MB of the search stand beside these 722,000 answers
    monkeypatch.undo()
    monkeypatch.setattr(_resources, "available_memory", lambda: 10_000_000)
    with pytest.raises(MemoryBudgetError, match=r"190 answers to each of 3800 queries needs about .*: ask for fewer"):
        search.search(Q, k=190)


def test_row_51_the_setting_that_is_named_fits_and_the_next_does_not(monkeypatch, collection):
    X, _ = collection
    graph, labels = mf.build_graph(X, 5), np.arange(190)
    neighbors = mf.neighbors.find_neighbors(X, 100)
    for work, most, free in (
        (lambda k: mf.neighbors.find_neighbors(X, k), 189, mf.neighbors.memory_forecast(190, 64, 60)),
        (lambda k: mf.graph_from_neighbors(neighbors.first(k)), 100, mf.graph.memory_forecast(190, 40)),
        (lambda k: mf.DiffusionIndex(k).build(graph), 190, 80 * 190 * 16 + 100_000),
        (lambda k: mf.propagate(graph, labels % k), 190, mf.labels.propagation_memory(graph, 50)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(_resources, "available_memory", lambda free=free: free)
            with pytest.raises(MemoryBudgetError, match=r"to \d+ or less") as caught:
                work(most)
            fits = int(re.search(r"to (\d+) or less", str(caught.value))[1])
            assert 1 < fits < most
            with pytest.raises(MemoryBudgetError):
                work(fits + 1)
            patch.setattr(_resources, "available_memory", lambda free=free: 2 * free)  # the solves have needs too
            work(fits)


def test_row_51_the_control_group_counts(tmp_path, monkeypatch):
    for name, text in (("max", "1000000"), ("current", "900000"), ("unlimited", "max")):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(_resources, "_CGROUP_LIMITS", (str(tmp_path / "max"),))
    monkeypatch.setattr(_resources, "_CGROUP_USAGES", (str(tmp_path / "current"),))
    assert _resources.available_memory() == 100_000
    for said, free in (("inactive_file 300000\nother 1\n", 400_000), ("no number\n\n", 100_000)):
        (tmp_path / "memory.stat").write_text(said)  # pages of files that were read are given back when asked for
        assert _resources.available_memory() == free
    (tmp_path / "memory.stat").write_text("inactive_file 1\ntotal_inactive_file 500000\n")  # of version 1
    assert _resources.available_memory() == 600_000
    monkeypatch.setattr(_resources, "_CGROUP_LIMITS", (str(tmp_path / "unlimited"),))
    assert _resources.available_memory() > 100_000


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt], ids=["row_52", "row_69"])
@pytest.mark.parametrize("options", SEARCHES.values(), ids=SEARCHES)
def test_row_52_and_69_a_fault_midway_leaves_the_fitted_object_as_it_was(collection, options, error, monkeypatch):
    """Memory runs out, or Ctrl-C comes, in the n-th product with S: in a fit, or in the searches after it."""
    X, Q = collection
    X, Q = X[:190], Q[:3]
    search = mf.ManifoldSearch(**options).fit(X)
    expected = answers(search.search(Q, k=9))
    product = ScipyBackend._multiply

    def without(n, work):
        """Do some work whose n-th product fails; return whether it came so far."""
        calls = []

        def fail(self, matrix, block):
            calls.append(n)
            if len(calls) == n:
                raise error
            return product(self, matrix, block)

        with monkeypatch.context() as patch:
            patch.setattr(ScipyBackend, "_multiply", fail)
            try:
                work()
            except error:
                return True
        return False

    failed = 0
    for n in (1, 2, 6):
        state = search.fitted_
        if without(n, lambda: search.fit(X[::-2])):
            assert search.fitted_ is state
            failed += 1
        else:
            search.fit(X)
        failed += without(n, lambda: search.search(Q, k=9, slack=0.0))
        assert answers(search.search(Q, k=9)) == expected
    assert failed


@pytest.mark.parametrize("options", [{"tune": True}, {"preset": "adaptive"}], ids=["tuned", "adaptive"])
def test_row_52_a_fit_that_ends_at_its_solver_keeps_the_settings_it_had(collection, options, monkeypatch):
    X, Q = collection
    search = mf.ManifoldSearch(**options, solver=mf.DiffusionIndex(n_entries=9)).fit(X)
    state, expected = search.fitted_, answers(search.search(Q[:5], k=9))

    def no_room(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(mf.DiffusionIndex, "prepare", no_room)
    with pytest.raises(MemoryError):
        search.fit(np.concatenate([X[:70], X[:70] ** 2]))
    assert search.fitted_ is state
    assert answers(search.search(Q[:5], k=9)) == expected


# ---- rows 65 to 70: threads, forks, interrupts, callbacks


def at_once(actions):
    """Run actions in threads that start together and switch often; return their results."""
    results, failures, start = [None] * len(actions), [], threading.Barrier(len(actions))

    def run(i):
        try:
            start.wait()
            results[i] = actions[i]()
        except BaseException as error:
            failures.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=run, args=(i,)) for i in range(len(actions))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not failures, failures
    return results


@pytest.mark.parametrize("slack", [None, 0.0])
@pytest.mark.parametrize("name", SEARCHES)
def test_row_65_eight_threads_of_fifty_searches_give_the_serial_answers(collection, name, slack):
    X, Q = collection
    q, options = 50 if slack is None and name in ("auto", "cg", "index") else 4, SEARCHES[name]
    serial, shared = (mf.ManifoldSearch(**options).fit(X) for _ in range(2))
    expected = [answers(serial.search(Q[i], k=10, slack=slack)) for i in range(8 * q)]
    assert len(set(expected)) == 8 * q

    def searches(first):  # what is computed when first asked for is asked for by all eight at the same time
        return [answers(shared.search(Q[i], k=10, slack=slack)) for i in range(first, 8 * q, 8)]

    found = at_once([lambda first=first: searches(first) for first in range(8)])
    for first in range(8):
        assert found[first] == expected[first::8]


def test_row_65_fits_of_one_object_at_once_end_as_one_of_them(collection):
    X, Q = collection
    search, parts = mf.ManifoldSearch(preset="adaptive"), (X[:80], X[80:])
    alone = {answers(mf.ManifoldSearch(preset="adaptive").fit(part).search(Q[:5], k=9)) for part in parts}
    at_once([lambda i=i: search.fit(parts[i % 2]) for i in range(8)])
    assert answers(search.search(Q[:5], k=9)) in alone


def test_row_65_lazy_parts_of_an_index_are_safe(collection):
    X, _ = collection
    graph = mf.build_graph(X, 5)
    index = mf.DiffusionIndex(n_entries=8).build(graph)
    names = ("_matrix", "_component_sizes", "system", "residual_bound", "roots", "root_diagonal")
    looks = at_once([lambda order=order: [getattr(index, names[i]) for i in order] for order in ([*range(6)],) * 8])
    assert all(one is looks[0][i] or type(one) is type(looks[0][i]) for look in looks for i, one in enumerate(look))
    alone = mf.DiffusionIndex(n_entries=8).build(graph)
    assert np.array_equal(index.root_diagonal, alone.root_diagonal)
    assert index.system.digest == alone.system.digest


def test_row_65_solves_on_one_prepared_solver(collection):
    X, _ = collection
    graph = mf.build_graph(X, 5)
    Y = np.eye(190)[:, :96]
    for case in SOLVERS:
        prepared = case.exact(graph.dtype).prepare(graph, mf.Diffusion(), get_backend())
        alone = [prepared.solve(Y[:, part : part + 12]) for part in range(0, 96, 12)]
        found = at_once([lambda part=part, p=prepared: p.solve(Y[:, part : part + 12]) for part in range(0, 96, 12)])
        for one, other in zip(alone, found, strict=True):
            assert one.scores.tobytes() == other.scores.tobytes(), case.name
            assert one.error_bound.tobytes() == other.error_bound.tobytes()


def _in_the_child(connection, search, Q, X):
    graph = mf.build_graph(X, 5)
    index = mf.DiffusionIndex(n_entries=8).build(graph, n_jobs=2)
    connection.send((answers(search.search(Q, k=10)), graph.affinity.data.tobytes(), index.values.tobytes()))


@pytest.mark.skipif(sys.platform != "linux", reason="fork is the start of processes on Linux alone")
@pytest.mark.parametrize("options", SEARCHES.values(), ids=SEARCHES)
def test_row_66_a_fork_after_threads_answers_as_its_parent(collection, options):
    """BLAS has its threads, pools have been made and left: the child must neither hang nor die."""
    X, Q = collection
    search = mf.ManifoldSearch(**options).fit(X)
    graph = mf.build_graph(X, 5)
    index = mf.DiffusionIndex(n_entries=8).build(graph, n_jobs=2)
    expected = answers(search.search(Q, k=10)), graph.affinity.data.tobytes(), index.values.tobytes()
    ours, theirs = multiprocessing.get_context("fork").Pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of forks beside threads from 3.12 on
        child = multiprocessing.get_context("fork").Process(target=_in_the_child, args=(theirs, search, Q, X))
        child.start()
    assert ours.poll(60), "the child hangs"
    assert ours.recv() == expected
    child.join(60)
    assert child.exitcode == 0


_ONE_JOB = """
import os, time, numpy as np, manifold as mf

def seconds():
    stats = {t: open(f"/proc/self/task/{t}/stat").read() for t in os.listdir("/proc/self/task")}
    ticks = {t: sum(map(int, stat.rsplit(")", 1)[1].split()[11:13])) for t, stat in stats.items()}
    return {t: n / os.sysconf("SC_CLK_TCK") for t, n in ticks.items()}

def share_of_others(work):
    time.sleep(0.5)  # the threads of a BLAS spin for a while after it was loaded
    before, start = seconds(), time.process_time()
    work()
    total, after = time.process_time() - start, seconds()
    others = [t for t in before if int(t) != os.getpid()]  # a thread of ours comes and goes; these are of the BLAS
    return sum(after[t] - before[t] for t in others) / total

ring, A = np.roll(np.eye(1500), 1, axis=0), np.ones((1000, 1000))
graph, index = mf.graph_from_affinity(ring + ring.T), mf.DiffusionIndex(n_entries=24)
print(share_of_others(lambda: index.build(graph, filter=mf.Diffusion(0.99), n_jobs=1)))
print(share_of_others(lambda: [A @ A for _ in range(9)]))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts the ticks of threads in /proc")
@pytest.mark.skipif(len(getattr(os, "sched_getaffinity", lambda _: [0])(0)) == 1, reason="one core, one thread")
def test_row_67_a_job_keeps_to_its_core():
    """No job of ours wakes the threads of a BLAS, as one product of large matrices does."""
    environment, command = {**os.environ, "OPENBLAS_NUM_THREADS": "4"}, [sys.executable, "-c", _ONE_JOB]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    build, product = map(float, done.stdout.split())
    assert build < 0.05  # a tick may fall on anyone
    assert product > 0.1


@pytest.mark.parametrize("options", SEARCHES.values(), ids=SEARCHES)
def test_row_68_any_number_of_threads_gives_the_same_bits(collection, options):
    X, Q = collection
    found = set()
    for n_threads in (1, 2):
        with threadpool_limits(n_threads):
            found.add(answers(mf.ManifoldSearch(**options).fit(X).search(Q, k=20)))
    assert len(found) == 1


@pytest.mark.parametrize(
    "case", [case for case in SOLVERS if case.name not in ("index", "direct", "fsr")], ids=lambda case: case.name
)
def test_row_69_an_interrupt_ends_a_solve_within_one_iteration(case, collection):
    X, _ = collection
    graph = mf.build_graph(X, 5).astype(np.float64)
    prepared = case.exact(graph.dtype).prepare(graph, mf.Diffusion(0.99), get_backend())
    Y, seen = np.eye(190)[:, :8], []
    expected = prepared.solve(Y)

    def interrupt(progress):
        seen.append(progress.n_iter)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepared.solve(Y, callback=interrupt)
    assert len(seen) == 1
    assert prepared.solve(Y).scores.tobytes() == expected.scores.tobytes()


def test_row_69_an_interrupted_build_leaves_graph_and_settings_usable(collection):
    X, _ = collection
    graph, index = mf.build_graph(X, 5), mf.DiffusionIndex(n_entries=8)
    expected = index.build(graph)
    before = set(threading.enumerate())  # with the idle threads that compiled kernels share

    def interrupt(done, total):
        raise KeyboardInterrupt

    for work in (
        lambda: mf.build_graph(X, 5, progress=interrupt),
        lambda: mf.ManifoldSearch(preset="plain-diffusion").fit(X, progress=interrupt),
        lambda: index.build(graph, progress=interrupt),
        lambda: index.build(graph, progress=interrupt, n_jobs=3),
        lambda: index.build(graph, progress=interrupt, checkpoint="state"),
    ):
        with pytest.raises(KeyboardInterrupt):
            work()
    assert set(threading.enumerate()) <= before
    for again in (index.build(graph), index.build(graph, checkpoint="state")):
        assert again.values.tobytes() == expected.values.tobytes()


def test_row_70_what_a_callback_raises_comes_out_unchanged(collection):
    X, _ = collection
    graph = mf.build_graph(X, 5)

    class MineError(Exception):
        pass

    mine = MineError("stop")

    def fail(*progress):
        raise mine

    for work in (
        lambda: mf.diffuse(graph, np.eye(190)[0], callback=fail),
        lambda: mf.propagate(graph, np.arange(190) % 7, solver="cg", callback=fail),
        lambda: mf.build_graph(X, 5, progress=fail),
        lambda: mf.DiffusionIndex().build(graph, progress=fail, n_jobs=2),
    ):
        with pytest.raises(MineError) as caught:
            work()
        assert caught.value is mine


# ---- rows 71 to 73: how the process was started

ROAD = """
import hashlib, os, sys, numpy as np, manifold as mf
X = np.random.default_rng(3).normal(size=(250, 6)).astype(np.float32)
search = mf.ManifoldSearch(preset="adaptive").fit(X, ids=[f"n\\u00e9 {i}" for i in range(250)])
found = search.search(X[:20] + 0.1, k=9)
labels = mf.propagate(search.graph_, ["a", "b", *[None] * 248])
path = mf.load(search.graph_.save(os.fsdecode(b"z\\xc5\\xbc \\xe5\\x9b\\xbe")))
parts = ("".join(found.ids.ravel()).encode(), found.scores, labels.distributions, path.affinity.data)
digest = hashlib.sha256(b"".join(np.asarray(p).tobytes() if not isinstance(p, bytes) else p for p in parts))
for refused in (lambda: mf.Diffusion(2), lambda: mf.build_graph(X, 0), lambda: search.search(X[0], k=-1)):
    try:
        refused()
    except ValueError:
        continue
    raise SystemExit("not refused")
sys.stdout.write(digest.hexdigest())
"""


def test_row_71_72_73_optimised_python_other_locales_and_hash_seeds():
    outcomes = set()
    for flags, settings in (
        (["-W", "error"], {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}),
        (["-O"], {"PYTHONHASHSEED": "1", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    ):
        command, env = [sys.executable, *flags, "-c", ROAD], {**os.environ, **settings}
        run = subprocess.run(command, capture_output=True, env=env, check=False)
        assert run.returncode == 0, run.stderr.decode()
        outcomes.add(run.stdout)
    assert len(outcomes) == 1


@pytest.mark.parametrize("name", GRAPHS)
def test_row_71_every_solver_with_traps_set(name):
    """Loose and exact settings under overflow, underflow, division and invalid traps: statuses, never exceptions."""
    with np.errstate(all="raise"):
        for dtype in (np.float32, np.float64):
            graph = make_graph(name, np.dtype(dtype))
            Y = some_seeds(graph.n_nodes)
            for case in SOLVERS:
                for solver in case.loose:
                    prepared = solver.prepare(graph, mf.Diffusion(), get_backend())
                    for scale in (1.0, 1e-30, 1e30):
                        solution = prepared.solve(scale * Y)
                        assert np.isfinite(solution.scores).all()
                        assert Status.NONFINITE not in solution.status


def test_every_row_has_tests_named_after_it():
    folder = Path(__file__).parents[1]
    rows = re.findall(r"^\| (\d+) \| .* \| (.*) \|$", (folder / "README.md").read_text(), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 74))
    for number, named in rows:
        pairs = re.findall(r"`(\w+/test_\w+\.py)` `(\w+)`", named)
        assert pairs
        for file, prefix in pairs:
            assert {"row", f"{int(number):02}"} <= set(prefix.split("_")), prefix
            assert re.search(rf"^def {prefix}", (folder / file).read_text(), re.MULTILINE), (file, prefix)
