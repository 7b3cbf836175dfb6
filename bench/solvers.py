"""Time of every solver, and of its peers, to the same ranking on the same graph in the same run.

Fashion-MNIST, k = 50 mutual neighbours with one bridge, 10 seeds a query, alpha = 0.99; queries are not in the graph.
For each: offline seconds, milliseconds of one query (median, 95th percentile) and of each of a batch of 64, all after
the query's neighbours are known, with overlap@100 with the exact ranking beside them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import cg

import manifold as mf
import manifold.graph
import manifold.neighbors
from bench._report import Row
from bench.cases import SOLVERS
from manifold._errors import DatasetNotFoundError
from manifold.backends import get_backend
from manifold.index import StoredColumns
from manifold.metrics import overlap_at_k

ALPHA = 0.99
TOP = 100
Answer = Callable[[Any], Any]  # seeds (n, q) -> scores (n, q), or lists (q, TOP)


def run(*, quick: bool, n: int = 60_000) -> list[Row]:
    X, Q = _collection(1_500 if quick else n)
    search = mf.ManifoldSearch(n_neighbors=50, n_seeds=10, alpha=ALPHA, on_failure="ignore").fit(X)
    near, similarities = search._nearest(mf.neighbors.PointSet(Q, "cosine"), search.n_seeds)
    seeds = search._seeds(near, similarities)
    graph, filter = search.graph_, search.filter
    exact = mf.diffuse(graph.astype(np.float64), seeds, filter=filter, solver=mf.ConjugateGradient.preset("exact"))
    truth = np.argsort(-exact.scores, axis=0, kind="stable")[:TOP].T
    rows: list[Row] = []
    for name, (settings, largest) in SOLVERS.items():
        if graph.n_nodes <= largest:
            start = time.perf_counter()
            prepared = _prepare(settings, graph, filter)
            offline = time.perf_counter() - start
            rows.append(
                {"solver": name, "offline_s": offline, **_measure(_answer(prepared), seeds, truth, quick=quick)}
            )
    for name, answer in _peers(graph):
        rows.append({"solver": name, "offline_s": None, **_measure(answer, seeds, truth, quick=quick)})
    facts = {"n": graph.n_nodes, "edges": graph.n_edges}
    return [facts | row for row in rows]


def _prepare(settings: Any, graph: Any, filter: Any) -> Any:
    if isinstance(settings, mf.DiffusionIndex):
        return settings.build(graph, filter=filter, n_jobs=os.cpu_count() or 1)
    return settings.prepare(graph, filter, get_backend())


def _measure(answer: Answer, seeds: Any, truth: Any, *, quick: bool) -> Row:
    """Time single queries and a batch of 64, and compare the lists with the exact ones."""
    singles = 4 if quick else 24
    answer(seeds[:, [0]])
    taken, lists = [], []
    for j in range(singles):
        start = time.perf_counter()
        lists.append(_top(answer(seeds[:, [j]]))[0])
        taken.append(1e3 * (time.perf_counter() - start))
    batch = seeds[:, : 8 if quick else 64]
    start = time.perf_counter()
    answered = _top(answer(batch))
    each = 1e3 * (time.perf_counter() - start) / batch.shape[1]
    return {
        "ms_p50": float(np.median(taken)),
        "ms_p95": float(np.quantile(taken, 0.95)),
        "ms_of_64": each,
        "overlap": overlap_at_k(answered, truth[: batch.shape[1]]),
    }


def _top(answer: Any) -> Any:
    if answer.dtype.kind == "i":
        return answer
    return get_backend().top_k(np.ascontiguousarray(answer.T), TOP)[0]


def _answer(prepared: Any) -> Answer:
    if not isinstance(prepared, StoredColumns):
        return lambda seeds: prepared.solve(seeds.toarray()).scores

    def shortlists(seeds: Any) -> Any:
        lists = np.full((seeds.shape[1], TOP), -1, dtype=np.int64)
        for j, (start, stop) in enumerate(zip(seeds.indptr, seeds.indptr[1:], strict=False)):
            rows = prepared.shortlist(seeds.indices[start:stop].astype(np.int64), seeds.data[start:stop], TOP).rows
            lists[j, : rows.size] = rows
        return lists

    return shortlists


def _peers(graph: mf.graph.Graph) -> Iterator[tuple[str, Answer]]:
    """Yield what a user would reach for instead, on the same matrix."""
    degrees = np.where(graph.degrees > 0, graph.degrees, 1.0)
    half = sparse.diags_array(degrees**-0.5)
    A = sparse.csr_array(sparse.eye_array(graph.n_nodes) - ALPHA * (half @ graph.affinity.astype(np.float64) @ half))

    def scipy_cg(rtol: float) -> Answer:
        return lambda Y: np.stack([cg(A, y, rtol=rtol)[0] for y in Y.toarray().T], axis=1)

    yield "scipy cg 1e-2", scipy_cg(1e-2)
    yield "scipy cg 1e-5 (its default)", scipy_cg(1e-5)
    try:
        from sknetwork.ranking import PageRank
    except ImportError:
        print("scikit-network is left out: pip install scikit-network")
    else:
        root = np.sqrt(degrees)
        adjacency = sparse.csr_matrix(graph.affinity)

        def pagerank(Y: Any) -> Any:  # personalised PageRank of D^1/2 y, scaled back, ranks as diffusion does
            solver = PageRank(damping_factor=ALPHA, solver="lanczos", tol=1e-4)
            columns = [solver.fit_predict(adjacency, weights=root * y) / root for y in Y.toarray().T]
            return np.stack(columns, axis=1)

        yield "scikit-network PageRank", pagerank


def _collection(n: int) -> tuple[Any, Any]:
    try:
        data = mf.datasets.load("fashion_mnist", protocol="test")
    except DatasetNotFoundError as error:
        print(f"digits instead of Fashion-MNIST: {error}")
        X, _ = mf.datasets.digits()
        return X[100:], X[:100]
    return data.features[:n], data.queries[:64]
