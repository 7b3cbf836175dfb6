"""An index of local columns beside one of columns solved on the whole graph: what a column costs, and what it proves.

Sampled columns of the surfaces of `bench pipeline` (k = 10 mutual neighbours, one bridge) and of Fashion-MNIST (k = 50
mutual, one bridge): CPU milliseconds of a column, one thread, and what all n take at that rate (`all_s`; local ones
with the grouping of the graph). `growth` is the cost of a column over that at the size before. `share` is the largest
error of the entries kept over the least of them. Of the first 15,000 points of Fashion-MNIST (k = 50) both indexes are
built: the share of 300 held-out queries whose top 10 and top 50 are certified by look-ups alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

import manifold as mf
import manifold.backends
import manifold.neighbors
from bench._index import fitted
from bench._report import Row
from bench.pipeline import collection
from manifold.errors import DatasetNotFoundError
from manifold.index._column_solver import ColumnSolver
from manifold.index._local_columns import LocalColumns
from manifold.solvers import ConjugateGradient

SIZES = (50_000, 200_000, 1_000_000)
SAMPLED, OF_A_MILLION, WHOLE = 3_200, 20_000, 64  # columns solved locally, of a million, and on the whole graph
CERTIFIED, QUERIES = 15_000, 300


def run(*, quick: bool) -> list[Row]:
    rows: list[Row] = []
    past: dict[str, float] = {}
    for name, graph, alpha, T in _graphs(quick=quick):
        row = {"graph": name, "n": graph.n_nodes, "entries": graph.affinity.nnz, "alpha": alpha, "T": T}
        row |= _local(graph, alpha, T, n_columns=OF_A_MILLION if graph.n_nodes >= 10**6 else SAMPLED)
        row |= _whole(graph, alpha) if graph.n_nodes < 10**6 else {"cg_ms": None}
        row["ratio"] = row["cg_ms"] / row["local_ms"] if row["cg_ms"] else None
        row["growth"] = row["local_ms"] / past[name] if name in past else None
        past[name] = row["local_ms"]
        rows.append(row)
    return rows + list(_certified(quick=quick))


def _graphs(*, quick: bool) -> Iterator[tuple[str, mf.Graph, float, int]]:
    for n in (5_000,) if quick else SIZES:
        X, _, _ = collection(n)
        search = mf.ManifoldSearch(preset="plain-diffusion", solver=ConjugateGradient(rtol=1e-2))
        yield "surfaces", fitted(search, X, f"surfaces-{n}.graph").graph_, 0.9, 128
    X = None if quick else _fashion()
    if X is not None:
        search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=50, solver=ConjugateGradient(rtol=1e-2))
        graph = fitted(search, X, "fashion-60000-50.graph").graph_
        yield "Fashion-MNIST", graph, 0.9, 256
        yield "Fashion-MNIST, alpha .99", graph, 0.99, 256


def _fashion() -> Any:
    try:
        return np.asarray(mf.datasets.load("fashion_mnist").features, dtype=np.float32)[:60_000]
    except DatasetNotFoundError:
        return None


def _local(graph: mf.Graph, alpha: float, T: int, *, n_columns: int) -> Row:
    start = time.thread_time()
    solver = LocalColumns(graph, mf.Diffusion(alpha), n_entries=T, rtol=1e-8)
    grouping, groups = time.thread_time() - start, solver.order
    solver.solve(np.arange(min(16, graph.n_nodes)), dtype="float32")  # warms up
    some = np.random.default_rng(0).permutation(-(-groups.size // solver.width))[: n_columns // solver.width]
    n_done, share, start = 0, 0.0, time.thread_time()
    for group in some:
        nodes = groups[solver.width * group : solver.width * (group + 1)]
        kept = solver.solve(nodes, dtype="float32")
        least = kept["values"].min(axis=1, initial=np.inf, where=kept["values"] > 0)
        share, n_done = max(share, float((kept["error"] / least).max())), n_done + nodes.size
    each = (time.thread_time() - start) / n_done
    return {"columns": n_done, "local_ms": 1e3 * each, "all_s": grouping + each * graph.n_nodes, "share": share}


def _whole(graph: mf.Graph, alpha: float) -> Row:
    solver = ColumnSolver(graph, mf.Diffusion(alpha), mf.backends.get_backend("scipy"), rtol=1e-8)
    taken, width = [], solver.width
    for block in range(-1, WHOLE // width):  # the first warms up
        nodes = np.arange(max(block, 0) * width, min((max(block, 0) + 1) * width, graph.n_nodes))
        start = time.process_time()
        solver.solve(nodes)
        taken.append((time.process_time() - start) / nodes.size)
    return {"cg_ms": 1e3 * float(np.median(taken[1:]))}


def _certified(*, quick: bool) -> Iterator[Row]:
    X = _fashion()
    if X is None:
        return
    n = 2_000 if quick else CERTIFIED
    Q, X = X[n : n + QUERIES], X[:n]
    for solver in ("cg", "local"):
        index = mf.DiffusionIndex(256, solver=solver)
        search = mf.ManifoldSearch(preset="plain-diffusion", n_neighbors=50, alpha=0.9, solver=index).fit(X)
        start = time.process_time()
        index.build(search.graph_, filter=mf.Diffusion(0.9))
        row = {"graph": "Fashion-MNIST", "n": n, "alpha": 0.9, "T": 256, "by": solver, "s": time.process_time() - start}
        for k in (10, 50):
            row[f"certified_{k}"] = float(search.search(Q, k=k).certified.mean())
        yield row
