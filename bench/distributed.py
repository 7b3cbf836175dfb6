"""Solves by 1, 2 and 3 processes of this machine: what a step costs, sends and holds, and what more would cost.

The graph of the points of `bench pipeline` with `edges="sum"` (k = 10, cells); conjugate gradients at alpha = 0.95. A
step is the difference of solves of 8 and of 2 iterations: `cpu_ms` of all processes, `ms` of the clock, `kib` that a
process sends on average, and all of it over the formula of halo and sums; `halo` rows of others over n. `one` is one
process of one thread. `own_mib` is the peak of memory of a process that no file backs, beside that of the single one.
`equal` says that scores, iterations and bounds are those of one process, to the bit. The last rows are the cost model,
fitted to the steps at the smaller size: what it says of the larger, and, as arithmetic alone, of 10^8 and 10^9 points.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize
from threadpoolctl import threadpool_limits

import manifold as mf
from bench._index import CACHE
from bench._report import Row
from bench.pipeline import collection
from manifold.distributed import Rank
from manifold.solvers import ConjugateGradient, OnCluster
from manifold.storage.checkpoint import fingerprint

SIZES, PROCESSES, WIDTHS = (200_000, 1_000_000), (2, 3), (1, 16, 64)
FEW, MORE = 2, 8
_TOLERANCE = 1e-12  # which no solve of so few steps reaches
_MACHINES = ((10**8, 16), (10**8, 64), (10**9, 64), (10**9, 256))  # points, processes
_CONSTANTS = ("ns_entry", "ns_entry_column", "ns_row_column", "ns_byte", "ms_message")


def run(*, quick: bool) -> list[Row]:
    rows: list[Row] = []
    widths = (3,) if quick else WIDTHS
    with tempfile.TemporaryDirectory() as folder:
        for n in (20_000,) if quick else SIZES:
            path = _saved_graph(n, Path(folder))
            alone = _alone(path, widths)
            for processes in (2,) if quick else PROCESSES:
                rows += _on_processes(path, processes, alone, widths=widths)
    return rows + ([] if quick else list(_model(rows)))


def _saved_graph(n: int, folder: Path) -> str:
    kept = Path(os.environ.get(CACHE, folder)) / f"sum-{n}.graph"
    if not kept.exists():
        X, _, _ = collection(n)
        mf.build_graph(X, 10, edges="sum", method="inverted_file", random_state=0).save(kept)
    return str(kept)


def _alone(path: str, widths: tuple[int, ...]) -> Row:
    """Measure one process, which does nothing else."""
    with multiprocessing.get_context("spawn").Pool(1) as pool, _peaks(pool.apply(os.getpid)) as peak:
        steps = {q: pool.apply(_steps_alone, (path, q)) for q in widths}
        return {"steps": steps, "mib": peak()}


def _steps_alone(path: str, q: int) -> Row:
    with threadpool_limits(1):
        graph = mf.load(path, verify="lazy")
        return _steps(graph, q, partial(ConjugateGradient, _TOLERANCE), cpu=time.process_time)


def _on_processes(path: str, processes: int, alone: Row, *, widths: tuple[int, ...]) -> Iterator[Row]:
    graph = mf.load(path, verify="lazy")
    n = graph.n_nodes
    with mf.distributed.local(processes) as client, _peaks(*client.run(os.getpid).values()) as peak:
        ranks = mf.distributed.check(client, path=path).ranks()
        for q in widths:
            one = alone["steps"][q]
            many = _steps(graph, q, partial(_solver, client), cpu=partial(_cpu, client), ranks=ranks)
            sums = 2 * 8 * -(-n // 2048) * (processes - 1)
            formula = q * (4 * sum(many["halo"]) + sums)
            yield {
                "n": n,
                "entries": graph.affinity.nnz,
                "processes": processes,
                "q": q,
                "cpu_ms": many["cpu_ms"],
                "one_cpu_ms": one["cpu_ms"],
                "ms": many["ms"],
                "one_ms": one["ms"],
                "kib": many["sent"] / processes / 1024,
                "of_formula": many["sent"] / formula if formula else None,
                "halo": sum(many["halo"]) / n,
                "own_mib": peak(),
                "one_mib": alone["mib"],
                "equal": one["digest"] == many["digest"],
            }


def _solver(client: Any, most: int) -> OnCluster:
    return OnCluster(ConjugateGradient(_TOLERANCE, most), client)


def _cpu(client: Any) -> float:
    return sum(client.run(time.process_time).values())


def _steps(
    graph: mf.Graph, q: int, solver: Callable[[int], Any], *, cpu: Callable[[], float], ranks: Any = None
) -> Row:
    """Measure a step: a part of what some of them add."""
    rng = np.random.default_rng(q)
    Y, taken = np.zeros((graph.n_nodes, q), np.float32), []
    Y[rng.integers(0, graph.n_nodes, 50 * q), np.arange(50 * q) % q] = 1
    mf.diffuse(graph, Y, solver=solver(1), on_failure="ignore")  # cuts rows, loads kernels and fills caches
    for most in (FEW, MORE):
        sent, used, begun = _told_by(ranks)[0], cpu(), time.perf_counter()
        solution = mf.diffuse(graph, Y, solver=solver(most), on_failure="ignore")
        taken.append((cpu() - used, time.perf_counter() - begun, _told_by(ranks)[0] - sent))
    used, wall, sent = np.subtract(taken[1], taken[0]) / (MORE - FEW)
    digest = fingerprint(solution.scores, solution.n_iter, solution.error_bound)
    return {"cpu_ms": 1e3 * used, "ms": 1e3 * wall, "sent": sent, "halo": _told_by(ranks)[1], "digest": digest}


def _told_by(ranks: Any) -> tuple[int, list[int]]:
    """Return the bytes that all ranks have sent so far, and the rows of others that each of them takes."""
    told = [] if ranks is None else ranks.run(_told, [()] * ranks.size)
    return sum(sent for sent, _ in told), [halo for _, halo in told]


def _told(rank: Rank, part: object) -> tuple[int, int]:
    backends = [rows.backend for rows in rank.kept.values()]
    return sum(backend.sent for backend in backends), sum(backend.halo for backend in backends)


@contextmanager
def _peaks(*pids: int) -> Iterator[Callable[[], float]]:
    """Watch processes: the largest amount of memory, in MiB, that one of them held and no file backs."""
    most, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            most[0] = max(most[0], *(_anonymous(pid) for pid in pids))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield lambda: most[0] / 1024
    finally:
        ended.set()
        watcher.join()


def _anonymous(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # ended meanwhile
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


def _parts(n: float, entries: float, *, processes: int, q: int, halo: float) -> list[float]:
    """Return what a step of one process is made of: entries, by columns too, rows by columns, bytes, messages."""
    own, bands = n / processes, n / processes / 2048
    sums = bands if n < 2**21 else bands / 1024  # of a superband one row is sent
    sent = q * (4 * halo * own + 2 * 8 * sums * (processes - 1))
    return [entries / processes, entries / processes * q, own * q, sent, 3 * (processes - 1) * -(-q // 32)]


def _model(rows: list[Row]) -> Iterator[Row]:
    """Fit the constants at the smaller size; predict the larger, and what no machine here has."""
    each = [*rows, *(_alone_as(row) for row in rows if row["processes"] == PROCESSES[0])]
    small, large = ([row for row in each if row["n"] == n] for n in SIZES)
    parts = np.array([_parts_of(row) for row in small])
    measured = np.array([row["cpu_ms"] / row["processes"] for row in small])
    constants, _ = optimize.nnls(parts / measured[:, None], np.ones(measured.size))  # errors count as shares
    units = dict(zip(_CONSTANTS, (constants * [1e6, 1e6, 1e6, 1e6, 1]).tolist(), strict=True))
    for row in large:
        said, held = float(constants @ _parts_of(row)), row["cpu_ms"] / row["processes"]
        known = {"model": "measured", "n": row["n"], "processes": row["processes"], "q": row["q"], "cpu_ms": held}
        yield known | {"said_ms": said, "ratio": said / held} | units
    density = large[0]["entries"] / large[0]["n"]
    for n, processes in _MACHINES:
        own, halo = n / processes, 1.6  # rows of others over own ones, as of 64 parts of a graph of ten million
        step = constants * _parts(n, density * n, processes=processes, q=16, halo=halo)
        yield {
            "model": "arithmetic",
            "n": n,
            "processes": processes,
            "q": 16,
            "kernels_ms": float(step[:3].sum()),
            "bytes_ms": float(step[3]),
            "messages_ms": float(step[4]),
            "wire_ms": 4 * 16 * halo * own / 1.25e6,  # of 10 Gb/s
            "gib": own * (8 * density + 4 * 16 * (5 + halo) + 8) / 2**30,
        }


def _alone_as(row: Row) -> Row:
    """Return the row of one process."""
    return row | {"processes": 1, "cpu_ms": row["one_cpu_ms"], "halo": 0.0}


def _parts_of(row: Row) -> Any:
    own = {"processes": row["processes"], "q": row["q"], "halo": row["halo"]}
    return np.array(_parts(row["n"], row["entries"], **own))
