"""The five nearest points of one query alone: cells and walks beside FAISS HNSW, FAISS IVF and usearch, time at recall.

First table: CPU microseconds of one query at a time, on one thread, seeds of held-out queries; `recall` of the five
nearest, `proved` how many of them are proved to be that, `build_s` what is made beside the graph (which the walk
follows, and whose search leaves its cells). Second: a query from features to its top 10, by plain diffusion, certified,
and by the default: the exact scan and conjugate gradients on the whole graph (`before`) beside what "auto" takes. The
vectors are those of `bench pipeline`, and Fashion-MNIST.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

import manifold as mf
from bench._report import Row
from bench.pipeline import collection
from manifold.backends import get_backend
from manifold.neighbors import Cells, PointSet, SeedSearch, exact_search

SIZES = (200_000, 1_000_000)
PEERS_TO = 200_000
K, TOP, ASKED = 5, 10, 200
_EF = (16, 32, 64, 128, 256)
_PROBES = (1, 2, 4, 8, 16)


def run(*, quick: bool) -> list[Row]:
    rows: list[Row] = []
    whole: list[Row] = []
    for name, X, Q in _collections(quick=quick):
        points, queries = PointSet(X, "cosine"), PointSet(Q, "cosine")
        true = exact_search(queries, points, k=K, backend=get_backend("scipy"))[1][:, -1]
        facts = {"vectors": name, "n": len(X)}
        lists = mf.neighbors.find_neighbors(points, 10)
        searched = mf.ManifoldSearch(preset="plain-diffusion", seed_search="exact").fit(X, neighbors=lists)
        between = lists, searched.fitted_.graph.affinity
        for by, build, ask in _ways(points, queries, between, peers=len(X) <= PEERS_TO):
            rows.append(facts | {"by": by, "build_s": build} | _asked(ask, X, Q, true=true))
        whole += [facts | row for row in _end_to_end(X, Q, lists)]
    return rows + whole


def _ways(points: PointSet, queries: PointSet, between: Any, *, peers: bool) -> Iterator[tuple[str, float, Any]]:
    """Yield a name, the seconds of its build, and a function: row of a query -> ids, how many are proved."""
    host = get_backend("scipy")

    def scan(i: int) -> tuple[Any, int]:
        return exact_search(queries, points, k=K, rows=np.array([i]), backend=host)[0][0], K

    yield "exact scan", 0.0, scan
    for way in ("cells", "walk"):
        made: list[Cells] = []
        build = _seconds(lambda way=way, made=made: made.append(_made(points, SeedSearch(way), between)))
        yield f"{way}, as chosen", build, _entrance(made[0], points, queries, between)
        for tried in _PROBES if way == "cells" else _EF:
            setting = {"n_probes": tried} if way == "cells" else {"n_probes": 1, "breadth": tried}
            other = replace(made[0], settings=replace(made[0].settings, **setting))
            yield f"{way} {tried}", build, _entrance(other, points, queries, between)
    if peers:
        yield from _peers(points.X, queries.X)


def _made(points: PointSet, settings: SeedSearch, between: Any) -> Cells:
    lists, edges = between
    return Cells.made(points, K, settings=settings, neighbors=lists, edges=edges)


def _entrance(cells: Cells, points: PointSet, queries: PointSet, between: Any) -> Any:
    entrance = cells.over(points, *between)

    def ask(i: int) -> tuple[Any, int]:
        found = entrance.nearest(queries, K, rows=np.array([i]))
        return found.ids[0], int(found.proved[0])

    return ask


def _peers(X: Any, Q: Any) -> Iterator[tuple[str, float, Any]]:
    try:
        import faiss
        from usearch.index import Index
    except ImportError as missing:
        print(f"peers are left out: pip install faiss-cpu usearch ({missing})")
        return
    faiss.omp_set_num_threads(1)
    n, d = X.shape
    hnsw = faiss.IndexHNSWFlat(d, 32, faiss.METRIC_INNER_PRODUCT)
    hnsw.hnsw.efConstruction = 100
    build = _seconds(lambda: hnsw.add(X))
    for ef in _EF:
        hnsw.hnsw.efSearch = ef
        yield f"FAISS HNSW, ef={ef}", build, lambda i: (hnsw.search(Q[i : i + 1], K)[1][0], 0)
    cells = int(4 * np.sqrt(n))
    inverted = faiss.IndexIVFFlat(faiss.IndexFlatIP(d), d, cells, faiss.METRIC_INNER_PRODUCT)
    build = _seconds(lambda: (inverted.train(X[: 64 * cells]), inverted.add(X)))
    for probes in (4, *_EF[:3]):
        inverted.nprobe = probes
        yield f"FAISS IVF, nprobe={probes}", build, lambda i: (inverted.search(Q[i : i + 1], K)[1][0], 0)
    graph = Index(ndim=d, metric="ip", dtype="f32", connectivity=32, expansion_add=100)
    build = _seconds(lambda: graph.add(np.arange(n), X, threads=1))
    for ef in _EF:
        graph.expansion_search = ef
        yield f"usearch, ef={ef}", build, lambda i: (graph.search(Q[i], K, threads=1).keys.astype(np.int64), 0)


def _asked(ask: Any, X: Any, Q: Any, *, true: Any) -> Row:
    """Ask for every query alone, and say what was found: a point as near as the fifth will do."""
    taken, right, proved = [], [], []
    for i in range(3):
        ask(i)
    for i in range(len(Q)):
        start = time.thread_time()
        ids, n_proved = ask(i)
        taken.append(1e6 * (time.thread_time() - start))
        proved.append(n_proved)
        right.append((X[ids[ids >= 0]] @ Q[i] >= true[i] - 1e-6).sum() / K)
    told = {"us_p50": float(np.median(taken)), "us_p95": float(np.quantile(taken, 0.95))}
    return told | {"recall": float(np.mean(right)), "proved": float(np.mean(proved))}


def _end_to_end(X: Any, Q: Any, lists: Any) -> Iterator[Row]:
    """Ask for the top ten of each query alone: milliseconds, and the share of lists that are certified."""
    for preset, slack in (("plain-diffusion", 0.0), ("default", None)):
        search = mf.ManifoldSearch(preset=preset).fit(X, neighbors=lists)
        before, middle = search.with_settings(seed_search="exact", solver="cg"), {}
        for by, each in (("before", before), ("now", search)):
            taken, certified = [], []
            each.search(Q[0], k=TOP, slack=slack)
            for q in Q[: 20 if by == "before" else ASKED]:
                start = time.thread_time()
                ranking = each.search(q, k=TOP, slack=slack)
                taken.append(1e3 * (time.thread_time() - start))
                certified.append(float(np.ravel(ranking.slack)[0]) == 0)
            middle[by] = float(np.median(taken))
            yield {
                "by": f"{by}, {preset}",
                "ms_p50": middle[by],
                "ms_p95": float(np.quantile(taken, 0.95)),
                "certified": float(np.mean(certified)),
                "ratio": middle["before"] / middle[by],
            }


def _seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _collections(*, quick: bool) -> Iterator[tuple[str, Any, Any]]:
    """Yield a name, unit vectors and queries."""
    for n in (3_000,) if quick else SIZES:
        X, _, Q = collection(n)
        yield "surfaces", X, Q[: 20 if quick else ASKED]
    if quick:
        return
    try:
        X = np.ascontiguousarray(mf.datasets.load("fashion_mnist").features, dtype=np.float32)
    except (FileNotFoundError, ValueError) as missing:
        print(f"Fashion-MNIST is left out: {missing}")
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        X /= np.linalg.norm(X, axis=1, keepdims=True)
    order = np.random.default_rng(1).permutation(len(X))
    yield "fashion_mnist", X[order[ASKED:]], X[order[:ASKED]]
