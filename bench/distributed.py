"""Solves by 1, 2 and 3 processes of this machine: what a step costs, sends and holds, and what more would cost.

The graph of the points of `bench pipeline` with `edges="sum"` (k = 10, cells); conjugate gradients at alpha = 0.95. A
step is what lies between two products, the median of those of a solve, in processor time of all processes: `kernels`,
the passes over own rows and the copies that messages are made of; `messages`, what the thread of a solve and the one
that sends and receives do for them, beyond what it does when idle. `ms` is its time by the clock, `times_one` its
processor time over that of one column, `messages_times` the same of messages alone; `kib` what a process sends on
average, `of_formula` all of it over halo and sums, `halo` rows of others over n. `one` is one process of one thread.
`own_mib` is the peak of memory of a process that no file backs, beside that of the single one. `equal` says that
scores, iterations and bounds are those of one process, to the bit. The last rows are the cost model, fitted to the
steps at smaller sizes: what it says of the largest, and, as arithmetic alone, of 10^8 and 10^9 points. `python -m
bench.distributed RECORD` prints the table of a record.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize
from threadpoolctl import threadpool_limits

import manifold as mf
from bench._index import CACHE
from bench._report import Row
from bench.pipeline import collection
from manifold.backends import ScipyBackend
from manifold.solvers import ConjugateGradient, OnCluster
from manifold.storage.checkpoint import fingerprint

SIZES, PROCESSES, WIDTHS = (50_000, 100_000, 200_000, 1_000_000), (2, 3), (1, 16, 64)
STEPS = 12
_SOLVER = ConjugateGradient(1e-12, STEPS)  # a tolerance that no solve of so few steps reaches
_MACHINES = ((10**8, 16), (10**8, 64), (10**9, 64), (10**9, 256))  # points, processes
_KERNELS = ("ns_entry", "ns_row_column", "ns_row_column_far", "ns_byte_packed")
_MESSAGES = ("ns_byte_sent", "ms_message")
_CACHE = 1 << 21  # bytes of the cache of one core
_STAMPS: list[list[float]] = []  # of this process: clocks, and bytes sent, where a product begins
_SWAPPED = [0.0]  # seconds of the thread of a solve, in exchanges
_IDLE = [0.0]  # seconds a second of the thread that sends and receives, where nothing is sent


def run(*, quick: bool) -> list[Row]:
    rows: list[Row] = []
    sizes, counts, widths = ((20_000,), (2,), (3,)) if quick else (SIZES, PROCESSES, WIDTHS)
    with tempfile.TemporaryDirectory() as folder:
        paths = [_saved_graph(n, Path(folder)) for n in sizes]
        alone = _alone(paths, widths)
        for processes in counts:
            rows += _on_processes(paths, processes, alone, widths=widths)
    return rows + ([] if quick else list(_model(rows)))


def _saved_graph(n: int, folder: Path) -> str:
    kept = Path(os.environ.get(CACHE, folder)) / f"sum-{n}.graph"
    if not kept.exists():
        X, _, _ = collection(n)
        mf.build_graph(X, 10, edges="sum", method="inverted_file", random_state=0).save(kept)
    return str(kept)


def _alone(paths: list[str], widths: tuple[int, ...]) -> dict[tuple[str, int], Row]:
    """Measure one process, which does nothing else; sizes ascend, so that a peak of memory is of the last one."""
    found = {}
    with multiprocessing.get_context("spawn").Pool(1) as pool, _peaks(pool.apply(os.getpid)) as peak:
        for path in paths:
            steps = {(path, q): pool.apply(_step_alone, (path, q)) for q in widths}
            found |= {key: step | {"mib": peak()} for key, step in steps.items()}
    return found


def _step_alone(path: str, q: int) -> Row:
    _watch()
    with threadpool_limits(1):
        digest = _solve(mf.load(path, verify="lazy"), q, _SOLVER)
    return _steps([_taken()]) | {"digest": digest}


def _on_processes(paths: list[str], processes: int, alone: dict[Any, Row], *, widths: tuple[int, ...]) -> list[Row]:
    rows: list[Row] = []
    with mf.distributed.local(processes) as client, _peaks(*client.run(os.getpid).values()) as peak:
        client.run(_watch)
        client.run(_rest)
        for path in paths:
            graph = mf.load(path, verify="lazy")
            solver = OnCluster(_SOLVER, mf.distributed.check(client, path=path))
            for q in widths:
                one, digest = alone[path, q], _solve(graph, q, solver)
                step = _steps(list(client.run(_taken).values()))
                rows.append(_row(graph, step, one, q=q, processes=processes))
                rows[-1] |= {"own_mib": peak(), "one_mib": one["mib"], "equal": digest == one["digest"]}
                first = rows[-1 - widths.index(q)]
                for name, of in {"times_one": "cpu_ms", "messages_times": "messages_ms"}.items():
                    rows[-1][name] = rows[-1][of] / first[of]
    return rows


def _row(graph: mf.Graph, step: Row, one: Row, *, q: int, processes: int) -> Row:
    sums = 2 * 8 * -(-graph.n_nodes // 2048) * (processes - 1)
    return {
        "n": graph.n_nodes,
        "entries": graph.affinity.nnz,
        "processes": processes,
        "q": q,
        "cpu_ms": step["kernels_ms"] + step["messages_ms"],
        "kernels_ms": step["kernels_ms"],
        "messages_ms": step["messages_ms"],
        "one_cpu_ms": one["kernels_ms"],
        "ms": step["ms"],
        "one_ms": one["ms"],
        "kib": step["sent"] / processes / 1024,
        "of_formula": step["sent"] / (q * (4 * step["halo"] + sums)),
        "halo": step["halo"] / graph.n_nodes,
    }


def _solve(graph: mf.Graph, q: int, solver: Any) -> str:
    """Solve for q columns, and return the digest of what was found."""
    rng = np.random.default_rng(q)
    Y = np.zeros((graph.n_nodes, q), np.float32)
    Y[rng.integers(0, graph.n_nodes, 50 * q), np.arange(50 * q) % q] = 1
    solution = mf.diffuse(graph, Y, solver=solver, on_failure="ignore")
    return fingerprint(solution.scores, solution.n_iter, solution.error_bound)


def _watch() -> None:
    """Read the clocks of this process, from now on, where a product begins and around every exchange."""
    from manifold.backends.ranks import RankBackend

    for kind in (ScipyBackend, RankBackend):
        if not hasattr(kind.spmm, "__wrapped__"):
            kind.spmm = _stamped(kind.spmm)  # type: ignore[method-assign]
    if not hasattr(RankBackend._swap, "__wrapped__"):
        RankBackend._swap = _timed(RankBackend._swap)  # type: ignore[method-assign]


async def _rest() -> None:
    """Measure what a worker does all the time: looks at its memory, tells that it lives."""
    begun, busy = time.perf_counter(), time.thread_time()
    await asyncio.sleep(3.0)
    _IDLE[0] = (time.thread_time() - busy) / (time.perf_counter() - begun)


def _stamped(product: Callable[..., Any]) -> Callable[..., Any]:
    # a worker sends and receives by its first thread
    loop = time.pthread_getcpuclockid(threading.main_thread().ident or 0)

    @wraps(product)
    def watched(backend: Any, matrix: Any, block: Any, **others: Any) -> Any:
        now, alone = time.perf_counter(), threading.current_thread() is threading.main_thread()
        aside = 0.0 if alone else time.clock_gettime(loop) - _IDLE[0] * now
        clocks = [now, time.thread_time(), aside, _SWAPPED[0], getattr(backend, "sent", 0)]
        # the product that judges an answer is none of a step
        _STAMPS.append([*clocks, getattr(backend, "halo", 0)] if "dots" in others else [np.nan] * 6)
        return product(backend, matrix, block, **others)

    return watched


def _timed(swap: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(swap)
    def watched(*parts: Any) -> Any:
        begun = time.thread_time()
        arrived = swap(*parts)
        _SWAPPED[0] += time.thread_time() - begun
        return arrived

    return watched


def _taken() -> list[list[float]]:
    """Return what was read since the last time."""
    taken = _STAMPS.copy()
    _STAMPS.clear()
    return taken


def _steps(taken: list[list[list[float]]]) -> Row:
    """Return the median step of the blocks of columns of a solve, times their number, of all processes together."""
    each, blocks = [], 1
    for stamps in map(np.array, taken):
        steps = np.diff(stamps, axis=0)
        blocks = int(np.isnan(stamps[:, 0]).sum())
        each.append([*(blocks * np.median(steps[~np.isnan(steps[:, 0])], axis=0))[:5], np.nanmax(stamps[:, 5])])
    wall, own, aside, swapped, sent, halo = np.array(each).T
    kernels, messages = 1e3 * (own - swapped).sum(), 1e3 * (swapped + aside).sum()
    return {
        "kernels_ms": kernels,
        "messages_ms": messages,
        "ms": 1e3 * wall.max(),
        "sent": sent.sum(),
        "halo": halo.sum(),
    }


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


def _parts(row: Row) -> tuple[list[float], list[float]]:
    """Return what kernels and messages of a step of one process are made of, in the order of their constants.

    Rows count by columns: how many entries they have differs little between graphs of one k. The share of a block that
    does not fit the cache of a core is `far`.
    """
    processes, q, own = row["processes"], row["q"], row["n"] / row["processes"]
    met, bands = row["entries"] / processes, own / 2048
    far = 1 - min(1, _CACHE / (4 * min(q, 32) * own))
    sums = bands if row["n"] < 2**21 else bands / 1024  # of a superband one row is sent
    halo = 4 * q * row["halo"] * row["n"] / processes
    sent = halo + q * 2 * 8 * sums * (processes - 1)
    kernels = [met, own * q, own * q * far, halo]
    return kernels, [sent, 3 * (processes - 1) * -(-q // 32)]


def _fitted(parts: list[list[float]], measured: list[float]) -> Any:
    """Return constants, none below 0, whose errors count as shares."""
    constants, _ = optimize.nnls(np.array(parts) / np.array(measured)[:, None], np.ones(len(measured)))
    return constants


def _model(rows: list[Row]) -> Iterator[Row]:
    """Fit the constants at the smaller sizes; predict the largest, and what no machine here has."""
    each = [*rows, *(_alone_as(row) for row in rows if row["processes"] == PROCESSES[0])]
    small, large = [row for row in each if row["n"] < SIZES[-1]], [row for row in each if row["n"] == SIZES[-1]]
    sides = [(_parts(row), [row[name] / row["processes"] for name in ("kernels_ms", "messages_ms")]) for row in small]
    kernels = _fitted([parts[0] for parts, _ in sides], [held[0] for _, held in sides])
    messages = _fitted([parts[1] for parts, held in sides if held[1]], [held[1] for _, held in sides if held[1]])
    units = dict(zip(_KERNELS, (1e6 * kernels).tolist(), strict=True))
    units |= dict(zip(_MESSAGES, (messages * [1e6, 1]).tolist(), strict=True))
    for row in large:
        said = [float(side @ part) for side, part in zip((kernels, messages), _parts(row), strict=True)]
        held = row["cpu_ms"] / row["processes"]
        known = {"model": "measured", "n": row["n"], "processes": row["processes"], "q": row["q"], "cpu_ms": held}
        yield known | {"said_ms": sum(said), "ratio": sum(said) / held, "kernels_said_ms": said[0]} | units
    density = large[0]["entries"] / large[0]["n"]
    for n, processes in _MACHINES:
        own, halo = n / processes, 1.6  # rows of others over own ones, as of 64 parts of a graph of ten million
        parts = _parts({"n": n, "entries": density * n, "processes": processes, "q": 16, "halo": halo})
        yield {
            "model": "arithmetic",
            "n": n,
            "processes": processes,
            "q": 16,
            "kernels_ms": float(kernels @ parts[0]),
            "bytes_ms": float(messages[0] * parts[1][0]),
            "messages_ms": float(messages[1] * parts[1][1]),
            "wire_ms": 4 * 16 * halo * own / 1.25e6,  # of 10 Gb/s
            "gib": own * (8 * density + 4 * 16 * (5 + halo) + 8) / 2**30,
        }


def table(rows: list[Row]) -> str:
    """Return the table of `bench/results/README.md` that these rows of a record make."""
    said = {tuple(row[name] for name in ("n", "processes", "q")): row for row in rows if row.get("model") == "measured"}
    lines = [
        "| points | processes | halo, of all rows | CPU ms a step, 1 / 16 / 64 columns | one process | "
        "64 for one, times | KiB a step and process, 64 | own / one process, MiB | model / measured, 64 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for first, few, many in zip(*[iter(row for row in rows if "model" not in row)] * 3, strict=True):
        key = (many["n"], many["processes"], many["q"])
        cells = [
            f"{many['n']:,} | {many['processes']} | {many['halo']:.2f}",
            " / ".join(f"{row['cpu_ms']:.0f}" for row in (first, few, many)),
            " / ".join(f"{row['one_cpu_ms']:.0f}" for row in (first, few, many)),
            f"{many['times_one']:.1f}; one process {many['one_cpu_ms'] / first['one_cpu_ms']:.1f}",
            f"{many['kib']:,.0f}, {many['of_formula']:.2f} of the formula",
            f"{many['own_mib']:.0f} / {many['one_mib']:.0f}",
            f"{said[key]['ratio']:.2f}" if key in said else "fitted",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _alone_as(row: Row) -> Row:
    """Return the row of one process."""
    cpu = row["one_cpu_ms"]
    return row | {"processes": 1, "cpu_ms": cpu, "kernels_ms": cpu, "messages_ms": 0.0, "halo": 0.0}


if __name__ == "__main__":
    print(table(json.loads(Path(sys.argv[1]).read_text())["rows"]))
