"""Real processes: the bits of one of them, and what happens where a process is killed, stalls, or cannot be trusted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from cases import LARGE

import manifold as mf
from manifold import datasets
from manifold.distributed import check
from manifold.distributed._checks import check_addresses
from manifold.errors import MemoryBudgetError, WorkerLostError
from manifold.ranking import search_on
from manifold.solvers import ConjugateGradient, OnCluster, on_cluster

pytest.importorskip("distributed", reason="the extra 'distributed' is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # sockets of workers that were killed

N, MEMORY, SOON = 50_000, "232 MiB", 15  # seconds, of a machine that is busy


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """A scheduler, and a process that starts three workers and each anew that ends."""
    folder, told = tmp_path_factory.mktemp("dask"), subprocess.DEVNULL
    port, file = ["--host", "127.0.0.1", "--port", "0"], str(folder / "scheduler.json")
    few = ["--nworkers", "3", "--nthreads", "1", "--memory-limit", "0", "--local-directory", str(folder)]
    asked = {"scheduler": port, "worker": [*port[:2], *few]}
    both = ["--scheduler-file", file, "--dashboard-address", "127.0.0.1:0"]
    started = {
        name: subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{name}", *both, *settings],
            stdout=told,
            stderr=told,
            start_new_session=True,
        )
        for name, settings in asked.items()
    }
    yield file, started
    for process in started.values():
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def client(processes):
    from distributed import Client

    while not os.path.exists(processes[0]):
        time.sleep(0.1)
    with Client(scheduler_file=processes[0], direct_to_workers=True) as client:
        client.wait_for_workers(3, timeout=60)
        yield client


@pytest.fixture(scope="module")
def X():
    """Windows of real images: 9 of 6 by 6 pixels of each digit, turned four ways."""
    images = np.concatenate([np.rot90(datasets.digits().features.reshape(-1, 8, 8), turn, (1, 2)) for turn in range(4)])
    windows = [images[:, i : i + 6, j : j + 6].reshape(-1, 36) for i in range(3) for j in range(3)]
    return np.concatenate(windows)[:N].astype(np.float32)


@pytest.fixture(scope="module")
def graph(client, X, tmp_path_factory):
    """Built by three processes."""
    folder = tmp_path_factory.mktemp("cluster")
    np.save(folder / "X.npy", X)
    made = {"edges": "sum", "method": "inverted_file", "random_state": 1, "executor": client.get_executor()}
    return mf.build_graph(folder / "X.npy", 10, folder=folder / "graph", memory=MEMORY, **made)


@pytest.fixture(scope="module")
def Y():
    seeds = np.zeros((N, 17))
    seeds[np.random.default_rng(5).integers(0, N, 170), np.arange(170) % 17] = 1
    return seeds


class FirstTwo:
    """Two of the workers of a client."""

    def __init__(self, client):
        from manifold.distributed import _dask

        self.made = _dask.DaskRanks(client, sorted(client.scheduler_info()["workers"])[:2], timeout=60)

    def ranks(self):
        return self.made


def assert_equal(one, many):
    assert np.array_equal(one.scores, many.scores)
    assert one.status == many.status
    assert np.array_equal(one.n_iter, many.n_iter)
    assert np.array_equal(one.error_bound, many.error_bound)


def pids(client):
    return client.run(os.getpid)


def steps(client):
    """How far each rank is in its run."""
    found = client.run(lambda dask_worker: [actor._step for actor in dask_worker.state.actors.values()])
    return [step for worker in sorted(found) for step in found[worker]]


def test_three_processes_build_as_one(graph, X):
    one = mf.build_graph(X, 10, edges="sum", method="inverted_file", random_state=1)
    assert (one.facts["n_cells"], one.facts["recall"]) == (graph.facts["n_cells"], graph.facts["recall"])
    for name in ("data", "indices", "indptr"):
        assert np.array_equal(getattr(one.affinity, name), getattr(graph.affinity, name))
    assert np.array_equal(one.degrees, graph.degrees)


@pytest.mark.parametrize("name", LARGE)
def test_awkward_graphs_on_processes(client, name, tmp_path):
    """Twenty of them, fourteen in one: isolated nodes, components across shards, halos of everyone."""
    with np.errstate(all="ignore"):
        graph = mf.graph_from_affinity(LARGE[name](np.random.default_rng(9), 9000))
    graph, seeds = mf.load(graph.save(tmp_path / "graph")), np.random.default_rng(2).random((graph.n_nodes, 3))
    for cluster in (FirstTwo(client), client):
        for solver in ("cg", "chebyshev"):
            asked = {"solver": solver, "on_failure": "ignore"}
            assert_equal(mf.diffuse(graph, seeds, **asked), mf.diffuse(graph, seeds, cluster=cluster, **asked))


def test_two_processes_have_the_bits_of_one(client, graph, Y):
    two = FirstTwo(client)
    for solver in ("cg", "chebyshev"):
        assert_equal(mf.diffuse(graph, Y, solver=solver), mf.diffuse(graph, Y, solver=solver, cluster=two))


def test_three_processes_propagate_as_one(client, graph):
    labels = np.full(N, -1)
    labels[::50] = np.arange(labels[::50].size) % 5
    one, many = (mf.propagate(graph, labels, method="lgc", cluster=asked) for asked in (None, client))
    assert_equal(one.solution, many.solution)
    assert np.array_equal(one.distributions, many.distributions)


def test_a_callback_that_raises_leaves_nothing_running(client, graph, Y):
    def stop(snapshot):
        if snapshot.n_iter >= 3:
            raise KeyboardInterrupt

    solver = ConjugateGradient(1e-12, max_iter=100_000)
    with pytest.raises(KeyboardInterrupt):
        mf.diffuse(graph, Y, filter=mf.Diffusion(0.999), solver=solver, cluster=client, callback=stop)
    before = steps(client)
    time.sleep(0.2)
    assert steps(client) == before


def test_a_killed_worker_is_told_and_its_rows_are_solved_again(client, graph, Y, monkeypatch):
    victim, one = next(iter(pids(client).items())), mf.diffuse(graph, Y)
    times = []

    def kill(snapshot):
        if snapshot.n_iter >= 4 and not times:
            os.kill(victim[1], signal.SIGKILL)
            times.append(time.monotonic())

    def warned(message):
        assert message.startswith(f"worker {victim[0]} was lost; 17 columns begin anew")
        times.append(time.monotonic())

    monkeypatch.setattr(on_cluster, "warn", warned)
    assert_equal(one, mf.diffuse(graph, Y, cluster=client, callback=kill))
    assert times[1] - times[0] < SOON
    assert victim[0] not in pids(client)


def test_a_stalled_worker_is_named(client, graph, Y, monkeypatch):
    cluster, victim = check(client), next(iter(pids(client).items()))
    mf.diffuse(graph, Y[:, :1], cluster=cluster)
    monkeypatch.setattr(cluster.ranks(), "timeout", 4.0)  # now that rows are cut
    monkeypatch.setattr(on_cluster, "_ATTEMPTS", 1)
    os.kill(victim[1], signal.SIGSTOP)
    try:
        with pytest.raises(WorkerLostError, match=f"worker {victim[0]} has"):
            mf.diffuse(graph, Y, cluster=cluster)
    finally:
        os.kill(victim[1], signal.SIGCONT)


def test_a_folder_is_compared_on_all_workers(client, graph, tmp_path):
    folder = graph.saved[0]
    assert check(client, path=folder).ranks().size == 3
    with pytest.raises(ValueError, match=r"worker .* finds nothing"):
        check(client, path=graph.save("only_here"))  # a relative path leads workers elsewhere
    assert OnCluster(ConjugateGradient(), client).cluster is client


def test_open_addresses_are_refused():
    check_addresses(["tls://10.1.2.3:4", "tcp://127.0.0.1:4", "tcp://[::1]:4", "inproc://10.1.2.3/4"], insecure=False)
    for address in ("tcp://0.0.0.0:8786", "tcp://10.1.2.3:8786", "ws://10.1.2.3:1", "ucx://10.1.2.3:4"):
        check_addresses([address], insecure=True)
        with pytest.raises(ValueError, match="insecure=True"):
            check_addresses(["tls://10.1.2.3:4", address], insecure=False)


def test_certified_lists_are_those_of_one_process(client, X, tmp_path):
    search = mf.ManifoldSearch(n_neighbors=10, alpha=0.9, solver="local", preset="plain-diffusion").fit(X[100:4000])
    one, path = search.search(X[:100], 20, slack=0), search.save(tmp_path / "search")
    many = search_on(client.get_executor(), path, X[:100], k=20, slack=0, batch=50)
    assert many.certified.sum() > 50
    for name in ("ids", "scores", "slack"):
        assert np.array_equal(getattr(one, name), getattr(many, name))
    assert one.diagnostics.status == many.diagnostics.status


def test_what_does_not_fit_a_worker_is_refused(client, graph, Y):
    def hold(few):
        from manifold import _resources

        _resources.real = getattr(_resources, "real", _resources.available_memory)
        _resources.available_memory = (lambda: few) if few else _resources.real

    mf.diffuse(graph, Y[:, :1], cluster=client)  # rows are cut
    client.run(hold, 1 << 20)
    try:
        with pytest.raises(MemoryBudgetError, match=r"17 columns on \d+ rows of a graph .* add workers"):
            mf.diffuse(graph, Y, cluster=client)
    finally:
        client.run(hold, 0)
    assert_equal(mf.diffuse(graph, Y), mf.diffuse(graph, Y, cluster=client))


def test_tasks_have_names_that_say_what_they_do(client, graph):
    names = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.task_prefixes))
    assert {"plan", "nodes", "search", "manifold-rank"} <= set(names)
    assert not [name for name in names if name.startswith("_") or "/" in name]


def test_a_scheduler_that_is_gone_is_told_and_another_cluster_goes_on(processes, client, graph, Y, tmp_path):
    """The last test: the cluster ends with it."""
    Y, filter, seen = np.tile(Y, 3)[:, :40], mf.Diffusion(0.999), set()  # two blocks of columns
    one = mf.diffuse(graph, Y, filter=filter)

    def kill(snapshot):
        if snapshot.n_iter == 3 and snapshot.columns[0] >= 32:
            os.kill(processes[1]["scheduler"].pid, signal.SIGKILL)

    asked = {"cluster": check(client, timeout=30.0), "callback": kill, "checkpoint": tmp_path}
    with pytest.raises(WorkerLostError, match="scheduler .* is gone: connect") as told:  # noqa: RUF043
        mf.diffuse(graph, Y, filter=filter, **asked)
    assert not told.value.can_go_on
    with pytest.raises(WorkerLostError, match="is gone: connect"):
        mf.diffuse(graph, Y, cluster=client)
    with mf.distributed.local(2) as other:
        asked = {"cluster": other, "checkpoint": tmp_path, "callback": lambda shown: seen.update(shown.columns)}
        assert_equal(one, mf.diffuse(graph, Y, filter=filter, **asked))
    assert seen == set(range(32, 40))  # the first block was done
