"""Queries that cost what they touch: lists proved by local solves, beside conjugate gradients and others' PageRank.

For each graph, alpha and k, of single queries whose five seeds are known: entries relaxed over the entries of the graph
(`passes`) and nodes touched, at the median and the 95th percentile; the share of lists that are certified; milliseconds
of one thread (CPU time, median and 95th percentile). Beside them, in the same run, on fewer queries: this package's
`cg` to a residual of 1e-2, and on to the certificate; SciPy's cg at 1e-2; PageRank from the same seeds, damping alpha,
by scikit-network, igraph (PRPACK) and, on graphs of at most a million entries, networkx; a peer that is not installed
has no figure. Graphs: the surfaces of `bench pipeline`, k = 10 mutual neighbours with one bridge, the default; and
Fashion-MNIST at k = 10 and k = 50. `growth` is the median time over that of the smaller graph of the kind.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg

import manifold as mf
import manifold.backends
import manifold.neighbors
from bench._index import fitted
from bench._report import Row
from bench.pipeline import collection
from manifold.errors import DatasetNotFoundError
from manifold.ranking._ranker import Ranker, Task
from manifold.solvers import ConjugateGradient, Local

ALPHAS, TOPS = (0.95, 0.99), (10, 100)
QUERIES, FEW = 200, 5  # queries by local solves, and by what passes over the whole graph
NETWORKX_TO = 1_000_000  # entries; a graph of networkx takes a kilobyte an edge


def run(*, quick: bool) -> list[Row]:
    rows: list[Row] = []
    before: dict[tuple[Any, ...], float] = {}
    for name, search, Q in _collections(quick=quick):
        near, similarities = search.fitted_.nearest(mf.neighbors.point_set(Q, "cosine"), search.n_seeds)
        seeds = search.fitted_.seeds(near, similarities)
        graph = search.graph_
        for alpha in ALPHAS[:1] if quick else ALPHAS:
            beside = _beside(graph, seeds, alpha)
            for k in TOPS[:1] if quick else TOPS:
                facts = {"graph": name, "n": graph.n_nodes, "entries": graph.affinity.nnz, "alpha": alpha, "k": k}
                row = facts | _local(graph, seeds, alpha, k)
                past = before.get((name, alpha, k))
                before[name, alpha, k] = row["ms_p50"]
                proved = _milliseconds(_proving(graph, seeds, alpha, k), FEW)
                rows.append(
                    row | {"growth": row["ms_p50"] / past if past else None} | beside | {"cg_proved_ms": proved}
                )
    return rows


def _collections(*, quick: bool) -> Iterator[tuple[str, mf.ManifoldSearch, Any]]:
    for n in (5_000,) if quick else (200_000, 1_000_000):
        X, _, Q = collection(n)
        search = mf.ManifoldSearch(solver=ConjugateGradient(rtol=1e-2))
        yield "surfaces", fitted(search, X, f"surfaces-{n}.graph"), Q[: 20 if quick else QUERIES]
    if quick:
        return
    try:
        X = np.asarray(mf.datasets.load("fashion_mnist").features, dtype=np.float32)
    except DatasetNotFoundError:
        return
    asked, left = np.split(np.random.default_rng(0).permutation(len(X)), [QUERIES])
    Q, X = X[asked], X[np.sort(left)]
    for k in (10, 50):
        search = mf.ManifoldSearch(n_neighbors=k, solver=ConjugateGradient(rtol=1e-2))
        yield f"Fashion-MNIST, k = {k}", fitted(search, X, f"fashion-{len(X)}-{k}.graph"), Q


def _local(graph: mf.Graph, seeds: Any, alpha: float, k: int) -> Row:
    lists = Local().prepare(graph, mf.Diffusion(alpha), mf.backends.get_backend("scipy")).lists()
    edges, touched, certified, taken = [], [], [], []
    for j in range(-1, seeds.shape[1]):  # the first warms up
        nodes, weights = _seeds(seeds, max(j, 0))
        start = time.thread_time()
        found = lists.best(nodes, weights, k)
        if j >= 0:
            taken.append(1e3 * (time.thread_time() - start))
            edges.append(found.n_edges)
            touched.append(found.n_touched)
            certified.append(found.outside <= found.lower)
    passes = np.array(edges) / graph.affinity.nnz
    return {
        "passes_p50": float(np.median(passes)),
        "passes_p95": float(np.quantile(passes, 0.95)),
        "touched_p50": int(np.median(touched)),
        "touched_p95": int(np.quantile(touched, 0.95)),
        "certified": float(np.mean(certified)),
        "ms_p50": float(np.median(taken)),
        "ms_p95": float(np.quantile(taken, 0.95)),
    }


def _seeds(seeds: Any, j: int) -> tuple[Any, Any]:
    part = slice(seeds.indptr[j], seeds.indptr[j + 1])
    return seeds.indices[part].astype(np.int64), seeds.data[part].astype(np.float64)


def _milliseconds(work: Callable[[int], object], n: int) -> float:
    """Return the median CPU milliseconds of work on each of some queries, after one that warms up."""
    taken = []
    for j in range(-1, n):
        start = time.thread_time()
        work(max(j, 0))
        taken.append(1e3 * (time.thread_time() - start))
    return float(np.median(taken[1:]))


def _proving(graph: mf.Graph, seeds: Any, alpha: float, k: int) -> Callable[[int], object]:
    filter, backend = mf.Diffusion(alpha), mf.backends.get_backend("scipy")
    ranker = Ranker(graph, filter, ConjugateGradient(rtol=1e-2).prepare(graph, filter, backend), backend)
    task = Task(k, lambda some: np.empty((some.size, 0), dtype=np.int64), slack=0.0)
    return lambda j: ranker.rank(seeds[:, [j]], task)


def _beside(graph: mf.Graph, seeds: Any, alpha: float) -> Row:
    """Return the milliseconds of others: all scores of one query, certified by none of them."""
    filter, backend = mf.Diffusion(alpha), mf.backends.get_backend("scipy")
    prepared = ConjugateGradient(rtol=1e-2).prepare(graph, filter, backend)
    S = mf.solvers.system.NormalizedAffinity(graph, backend, np.float64).host
    row = {
        "cg_ms": _milliseconds(lambda j: prepared.solve(seeds[:, [j]]), FEW),
        "scipy_cg_ms": _milliseconds(lambda j: _scipy(S, seeds[:, [j]].toarray()[:, 0], alpha), FEW),
    }
    for name, make in (("sknetwork_ms", _sknetwork), ("igraph_ms", _igraph), ("networkx_ms", _networkx)):
        try:
            row[name] = _milliseconds(make(graph, seeds, alpha), 1)  # PRPACK takes 25 s for one at a million
        except (ImportError, MemoryError):
            row[name] = None
    return row


def _scipy(S: Any, y: Any, alpha: float) -> Any:
    A = LinearOperator(S.shape, matvec=lambda x: x - alpha * (S @ x), dtype=np.float64)
    return cg(A, (1 - alpha) * y, rtol=1e-2)


def _sknetwork(graph: mf.Graph, seeds: Any, alpha: float) -> Callable[[int], object]:
    from sknetwork.ranking import PageRank

    W = sparse.csr_matrix(graph.affinity)
    return lambda j: PageRank(damping_factor=alpha).fit_predict(W, weights=seeds[:, [j]].toarray()[:, 0])


def _igraph(graph: mf.Graph, seeds: Any, alpha: float) -> Callable[[int], object]:
    import igraph

    half = graph.affinity.tocoo()
    once = half.coords[0] < half.coords[1]
    edges = np.stack([half.coords[0][once], half.coords[1][once]], axis=1)
    G = igraph.Graph(n=graph.n_nodes, edges=edges, directed=False)
    G.es["weight"] = half.data[once].astype(float)
    asked = {"damping": alpha, "directed": False, "weights": "weight", "implementation": "prpack"}
    return lambda j: G.personalized_pagerank(reset=seeds[:, [j]].toarray()[:, 0].tolist(), **asked)


def _networkx(graph: mf.Graph, seeds: Any, alpha: float) -> Callable[[int], object]:
    import networkx

    if graph.affinity.nnz > NETWORKX_TO:
        raise MemoryError
    G = graph.to_networkx()
    return lambda j: networkx.pagerank(
        G,
        alpha=alpha,
        personalization=dict(zip(*(part.tolist() for part in _seeds(seeds, j)), strict=True)),
        max_iter=999,
    )
