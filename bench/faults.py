"""Workers and schedulers killed at random moments of builds and solves: what it costs, and whether the bits stay.

Windows of 11 x 11 pixels of Fashion-MNIST (of 6 x 6 of the digits without it), k = 10, `edges="sum"`, on three worker
processes of this machine. Each row is one call in which one process was sent SIGKILL after a `share` of the work: `s`
of the clock (without a share: nothing was killed), `noticed_s` from there to the warning or the error that tells it,
and whether the answer is `equal` to that of one process, to the bit. A build or a solve whose scheduler was killed is
called again on another cluster, where a share of it, `kept`, is on disk by then.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

import manifold as mf
from bench._report import Row
from manifold.errors import DatasetNotFoundError, ManifoldWarning, WorkerLostError
from manifold.storage.checkpoint import fingerprint

N, MOMENTS, WORKERS, COLUMNS = 50_000, 5, 3, 16
_SEED = 23
_FILTER = mf.Diffusion(0.99)


def run(*, quick: bool) -> list[Row]:
    n, moments = (9_000, 1) if quick else (N, MOMENTS)
    shares = [None, *np.random.default_rng(_SEED).uniform(0.1, 0.9, moments).tolist()]
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/X.npy", _windows(n))
        graph = mf.load(_build(f"{folder}/X.npy").save(f"{folder}/whole"))
        with _cluster() as (client, _):
            rows = [_built(folder, graph, client, share, at=f"{folder}/{i}") for i, share in enumerate(shares)]
            rows += [_solved(graph, client, share) for share in shares]
        if not quick:
            rows += [_built_by_two(folder, graph), _solved_by_two(folder, graph)]
        return rows


def _windows(n: int) -> Any:
    try:
        images, size = mf.datasets.load("fashion_mnist").features.reshape(-1, 28, 28), 11
    except DatasetNotFoundError:
        images, size = mf.datasets.digits().features.reshape(-1, 8, 8), 6
    rng, most = np.random.default_rng(_SEED), images.shape[1] - size + 1
    corners = rng.integers(0, [len(images), most, most], (2 * n, 3))
    cut = np.array([images[r, i : i + size, j : j + size].ravel() for r, i, j in corners], dtype=np.float32)
    return cut[cut.std(axis=1) > 0][:n]  # what shows nothing has no direction


def _build(path: str, **asked: Any) -> mf.Graph:
    return mf.build_graph(path, 10, edges="sum", method="inverted_file", random_state=1, **asked)


def _equal(made: mf.Graph, graph: mf.Graph) -> bool:
    return fingerprint(*_arrays(made)) == fingerprint(*_arrays(graph))


def _arrays(graph: mf.Graph) -> list[Any]:
    return [graph.affinity.data, graph.affinity.indices, graph.affinity.indptr, graph.degrees]


def _built(folder: str, graph: mf.Graph, client: Any, share: float | None, *, at: str) -> Row:
    kill, begun = _Killer(client, share), time.perf_counter()
    pool = client.get_executor(retries=5)
    made = _build(f"{folder}/X.npy", folder=at, memory="512 MiB", executor=pool, progress=kill)
    row = {"job": "build", "share": share, "s": time.perf_counter() - begun, "noticed_s": None}
    return row | {"equal": _equal(made, graph), "kept": None}


def _solved(graph: mf.Graph, client: Any, share: float | None) -> Row:
    Y, told = _seeds(graph), []
    one = mf.diffuse(graph, Y, filter=_FILTER)
    mf.diffuse(graph, Y, filter=_FILTER, cluster=client)  # rows are cut, kernels loaded
    kill, last = _Killer(client, share), int(one.n_iter.max())
    with warnings.catch_warnings():
        warnings.simplefilter("always", ManifoldWarning)
        warnings.showwarning = lambda *args, **settings: told.append(time.perf_counter())
        begun = time.perf_counter()
        many = mf.diffuse(graph, Y, filter=_FILTER, cluster=client, callback=lambda seen: kill(seen.n_iter, last))
        taken = time.perf_counter() - begun
    noticed = told[0] - kill.when if told and kill.when is not None else None
    return {"job": "solve", "share": share, "s": taken, "noticed_s": noticed, "equal": _same(one, many), "kept": None}


def _seeds(graph: mf.Graph) -> Any:
    Y = np.zeros((graph.n_nodes, COLUMNS), np.float32)
    Y[np.random.default_rng(3).integers(0, graph.n_nodes, 160), np.arange(160) % COLUMNS] = 1
    return Y


def _same(one: mf.Solution, many: mf.Solution) -> bool:
    equal = np.array_equal(one.scores, many.scores) and np.array_equal(one.error_bound, many.error_bound)
    return equal and one.status == many.status


def _built_by_two(folder: str, graph: mf.Graph) -> Row:
    """Kill the scheduler in the middle of a build; build on with another cluster."""
    at, told, begun = f"{folder}/again", [], time.perf_counter()
    with _cluster() as (client, pids):
        kill = _Killer(client, 0.5, victim=pids["scheduler"])
        with suppress(Exception):  # what dask raises differs by moment
            _build(f"{folder}/X.npy", folder=at, memory="512 MiB", executor=client.get_executor(), progress=kill)
        noticed = time.perf_counter() - (kill.when or begun)

    def watch(done: int, total: int) -> None:
        told.append(done / total)

    with _cluster() as (client, _):
        made = _build(f"{folder}/X.npy", folder=at, memory="512 MiB", executor=client.get_executor(), progress=watch)
    row = {"job": "build, scheduler", "share": 0.5, "s": time.perf_counter() - begun, "noticed_s": noticed}
    return row | {"equal": _equal(made, graph), "kept": told[0]}


def _solved_by_two(folder: str, graph: mf.Graph) -> Row:
    """Kill the scheduler in the last of two blocks of columns; solve on with another cluster."""
    Y, seen = np.tile(_seeds(graph), 3), set()  # 48 columns
    one, asked = mf.diffuse(graph, Y, filter=_FILTER), {"filter": _FILTER, "checkpoint": f"{folder}/columns"}
    begun = time.perf_counter()
    with _cluster() as (client, pids):
        kill, last = _Killer(client, 0.5, victim=pids["scheduler"]), int(one.n_iter.max())

        def late(shown: Any) -> None:
            kill(shown.n_iter * (shown.columns[0] >= 32), last)

        with suppress(WorkerLostError):
            mf.diffuse(graph, Y, cluster=client, callback=late, **asked)
            raise AssertionError("a solve without a scheduler")
        noticed = time.perf_counter() - (kill.when or begun)
    with _cluster() as (client, _):
        many = mf.diffuse(graph, Y, cluster=client, callback=lambda shown: seen.update(shown.columns), **asked)
    row = {"job": "solve, scheduler", "share": 0.75, "s": time.perf_counter() - begun, "noticed_s": noticed}
    return row | {"equal": _same(one, many), "kept": 1 - len(seen) / Y.shape[1]}


class _Killer:
    """Kills a process once a share of the work is done: the last of the workers, or the victim."""

    def __init__(self, client: Any, share: float | None, *, victim: int | None = None) -> None:
        self.client, self.share, self.victim, self.when = client, share, victim, None

    def __call__(self, done: int, total: int) -> None:
        if self.share is None or self.when is not None or done < self.share * total:
            return
        victim = self.victim or list(self.client.run(os.getpid).values())[-1]
        os.kill(victim, signal.SIGKILL)
        self.when = time.perf_counter()


@contextmanager
def _cluster() -> Iterator[tuple[Any, dict[str, int]]]:
    """Start a scheduler and workers as processes of their own; give a client, and the ids of the two."""
    from distributed import Client

    with tempfile.TemporaryDirectory() as folder:
        both = ["--scheduler-file", f"{folder}/told.json", "--dashboard-address", "127.0.0.1:0", "--host", "127.0.0.1"]
        few = ["--nworkers", str(WORKERS), "--nthreads", "1", "--memory-limit", "0", "--local-directory", folder]
        started = {
            name: subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{name}", *both, *more],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            for name, more in {"scheduler": ["--port", "0"], "worker": few}.items()
        }
        try:
            while not os.path.exists(f"{folder}/told.json"):
                time.sleep(0.1)
            with Client(scheduler_file=f"{folder}/told.json", direct_to_workers=True) as client:
                client.wait_for_workers(WORKERS, timeout=60)
                yield client, {name: process.pid for name, process in started.items()}
        finally:
            for process in started.values():
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
