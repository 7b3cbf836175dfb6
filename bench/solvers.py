"""Time of every solver, and of its peers, to the same ranking on the same graph in the same run.

Fashion-MNIST, k = 50 neighbours, 10 seeds a query, alpha = 0.99; queries are not in the graph. Two graphs: mutual
neighbours with one bridge, for every solver, and the union of the lists, with five times the edges, for some. For each:
offline seconds, bytes a node beside the features, milliseconds of one query (median, 95th percentile) and of each of a
batch of 64 (the median of three), all after the query's neighbours are known, with overlap with the exact top list
beside them. The ratios, such as "of_64 / 1e-5", are the milliseconds of SciPy's float64 conjugate gradients, one query
after another, at that rtol (1e-5 is its default) over those of the row. The stored index, at alpha = 0.9, stands there
for its top 10, its top 100, and its top 100 refined to slack 0.

Last, what ten filters cost from one basis, and the 100 leading eigenpairs of the union graph beside those of `eigsh` in
float32. Graphs and columns may come from ``MANIFOLD_BENCH_CACHE``; offline_s of columns is left out then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import cg, eigsh

import manifold as mf
import manifold.graph
import manifold.neighbors
from bench._index import built_index, fitted
from bench._report import Row, seconds
from bench.cases import SOLVERS
from manifold.backends import get_backend
from manifold.errors import DatasetNotFoundError
from manifold.index import StoredColumns, refine
from manifold.metrics import overlap_at_k
from manifold.solvers import Chebyshev, ConjugateGradient, FastSpectralRanking, Hybrid, Lanczos
from manifold.solvers.eigenpairs import leading_eigenpairs
from manifold.solvers.system import NormalizedAffinity

ALPHA = 0.99
INDEX_ALPHA = 0.9  # its 60,000 columns take three times as long at 0.99
TOP = 100
ON_UNION = (
    ConjugateGradient,
    Chebyshev,
    Lanczos,
    Hybrid,
    FastSpectralRanking,
)
PEER, PEER_DEFAULT = "scipy cg 1e-2", "scipy cg 1e-5 (its default)"
SINGLES = 24
_ENOUGH = 5.0  # seconds of batches after which no other is timed; the median of three counts
SLOW = 3  # queries of a peer that takes seconds for each
Answer = Callable[[Any], Any]  # seeds (n, q) -> scores (n, q), or lists (q, top)


def run(*, quick: bool, n: int = 60_000) -> list[Row]:
    X, Q = _collection(1_500 if quick else n)
    rows: list[Row] = []
    last: list[Row] = []
    for edges in ("mutual", "union"):
        search = mf.ManifoldSearch(n_neighbors=50, n_seeds=10, alpha=ALPHA, edges=edges, on_failure="ignore")
        fitted(search, X, f"fashion_mnist-{len(X)}" + ("" if edges == "mutual" else f"-{edges}"))
        near, similarities = search.fitted_.nearest(mf.neighbors.PointSet(Q, "cosine"), search.n_seeds)
        seeds, graph = search.fitted_.seeds(near, similarities), search.graph_
        facts = {"graph": edges, "n": graph.n_nodes, "edges": graph.n_edges}
        measured = [*_solvers(graph, seeds, everything=edges == "mutual", quick=quick)]
        measured += _peers_measured(graph, seeds, everything=edges == "mutual", quick=quick)
        rows += [facts | row for row in _with_ratios(measured)]
        if edges == "mutual":
            last = [facts | row for row in _ten_filters(graph, seeds[:, : 8 if quick else 64])]
        else:
            last += [facts | row for row in _eigenpairs(graph, rank=20 if quick else 100)]
    return rows + last


def _solvers(graph: Any, seeds: Any, *, everything: bool, quick: bool) -> Iterator[Row]:
    truths = {
        alpha: _truth(graph, seeds, mf.Diffusion(alpha)) for alpha in ((ALPHA, INDEX_ALPHA) if everything else (ALPHA,))
    }
    for name, (settings, largest) in SOLVERS.items():
        if graph.n_nodes > largest or not (everything or isinstance(settings, ON_UNION)):
            continue
        alpha = INDEX_ALPHA if isinstance(settings, mf.DiffusionIndex) else ALPHA
        prepared, offline = _prepare(settings, graph, mf.Diffusion(alpha))
        facts = {"offline_s": offline, "bytes_per_node": _nbytes(prepared, graph) / graph.n_nodes}
        for label, answer, top in _answers(name, prepared):
            measured = _measure(answer, seeds, truths[alpha], top=top, singles=4 if quick else SINGLES)
            yield {"solver": label, "alpha": alpha, "top": top, **facts, **measured}


def _peers_measured(graph: Any, seeds: Any, *, everything: bool, quick: bool) -> Iterator[Row]:
    truth, singles = _truth(graph, seeds, mf.Diffusion(ALPHA)), 4 if quick else SINGLES
    for name, answer, slow in _peers(graph):
        if everything or name.startswith("scipy"):
            measured = _measure(answer, seeds, truth, top=TOP, singles=SLOW if slow else singles, batch=not slow)
            yield {"solver": name, "alpha": ALPHA, "top": TOP, "offline_s": None, "bytes_per_node": None, **measured}


def _with_ratios(rows: list[Row]) -> Iterator[Row]:
    """Yield the rows with how many times they are faster than SciPy, where they are at the same alpha."""
    of = {row["solver"]: row for row in rows}
    for row in rows:
        ratios = {
            f"{what} / {rtol}": of[peer][key] / row[key] if row["alpha"] == ALPHA and row[key] else None
            for rtol, peer in (("1e-2", PEER), ("1e-5", PEER_DEFAULT))
            for what, key in (("p50", "ms_p50"), ("of_64", "ms_of_64"))
        }
        yield row | ratios


def _eigenpairs(graph: Any, *, rank: int) -> Iterator[Row]:
    """Time the leading eigenpairs, and those of ARPACK on the same matrix; residuals are those in float64."""
    S = _narrow(NormalizedAffinity(graph, get_backend(), np.float32).host)

    def ours() -> tuple[Any, Any]:
        spectrum = leading_eigenpairs(NormalizedAffinity(graph, get_backend(), np.float32), rank, tol=1e-3)
        return spectrum.eigenvalues[:rank], spectrum.vectors()[:, :rank]

    def theirs() -> tuple[Any, Any]:
        return eigsh(S, k=rank, which="LA", tol=1e-3, v0=np.ones(graph.n_nodes, dtype=np.float32))

    slowest = None
    for name, work in (("scipy eigsh float32 tol 1e-3", theirs), ("leading_eigenpairs tol 1e-3", ours)):
        start = time.perf_counter()
        values, U = work()
        taken = time.perf_counter() - start
        slowest = slowest or taken
        residuals = np.linalg.norm(S.astype(np.float64) @ U.astype(np.float64) - U * values, axis=0)
        facts = {"residual": float(residuals.max()), "least": float(values.min()), "ratio": slowest / taken}
        yield {"eigenpairs": name, "rank": rank, "s": taken, **facts}


def _narrow(S: Any) -> Any:
    """Return a matrix with the indices of 32 bits that SciPy is fastest with."""
    return sparse.csr_array((S.data, S.indices.astype(np.int32), S.indptr.astype(np.int32)), shape=S.shape)


def figure(rows: list[Row]) -> Any:
    """Draw time against overlap of the lists of 100 at alpha = 0.99, one panel a graph."""
    from matplotlib.figure import Figure

    from manifold import plotting

    lists = [row for row in rows if row.get("top") == TOP and row["alpha"] == ALPHA]
    graphs = list(dict.fromkeys(row["graph"] for row in lists))
    drawn = Figure(figsize=(9, 4 * len(graphs)), layout="constrained")
    for ax, name in zip(drawn.subplots(len(graphs), 1, squeeze=False)[:, 0], graphs, strict=True):
        plotting.time_accuracy([row for row in lists if row["graph"] == name], title=name, ax=ax)
    return drawn


def _truth(graph: Any, seeds: Any, filter: Any) -> Any:
    exact = mf.diffuse(graph.astype(np.float64), seeds, filter=filter, solver=ConjugateGradient.preset("exact"))
    return np.argsort(-exact.scores, axis=0, kind="stable").T


def _prepare(settings: Any, graph: Any, filter: Any) -> tuple[Any, float | None]:
    if isinstance(settings, mf.DiffusionIndex):
        return built_index(f"fashion_mnist-{graph.n_nodes}-{filter.alpha}", graph, filter, n_entries=settings.n_entries)
    start = time.perf_counter()
    prepared = settings.prepare(graph, filter, get_backend())
    return prepared, time.perf_counter() - start


def _nbytes(prepared: Any, graph: Any) -> int:
    """Return the bytes of the graph and of what the solver keeps beside it."""
    spectrum = getattr(prepared, "spectrum", None)
    kept = sum(block.U.nbytes for block in spectrum.blocks) if spectrum is not None else 0
    return graph.nbytes + kept + (prepared.nbytes if isinstance(prepared, StoredColumns) else 0)


def _measure(answer: Answer, seeds: Any, truth: Any, *, top: int, singles: int, batch: bool = True) -> Row:
    """Time single queries and a batch of 64, and compare the lists with the exact ones."""
    answer(seeds[:, [0]])  # kernels are loaded, caches filled, before anything is timed
    if batch:
        answer(seeds[:, :16])
    taken, lists = [], []
    for j in range(singles):
        start = time.perf_counter()
        lists.append(_top(answer(seeds[:, [j]]), top)[0])
        taken.append(1e3 * (time.perf_counter() - start))
    each = None
    if batch:
        some = seeds[:, : 8 if singles < SINGLES else 64]
        taken_by_all: list[float] = []
        while len(taken_by_all) < 3 and sum(taken_by_all) < _ENOUGH:
            start = time.perf_counter()
            lists = _top(answer(some), top)
            taken_by_all.append(time.perf_counter() - start)
        each = 1e3 * float(np.median(taken_by_all)) / some.shape[1]
    return {
        "ms_p50": float(np.median(taken)),
        "ms_p95": float(np.quantile(taken, 0.95)),
        "ms_of_64": each,
        "overlap": overlap_at_k(np.array(lists), truth[: len(lists), :top]),
    }


def _top(answer: Any, top: int) -> Any:
    if answer.dtype.kind == "i":
        return answer
    return get_backend().top_k(np.ascontiguousarray(answer.T), top)[0]


def _answers(name: str, prepared: Any) -> Iterator[tuple[str, Answer, int]]:
    if not isinstance(prepared, StoredColumns):
        yield name, lambda seeds: prepared.solve(seeds).scores, TOP
        return

    def lists(seeds: Any, top: int, *, refined: bool) -> Any:
        found = np.full((seeds.shape[1], top), -1, dtype=np.int64)
        for j, (start, stop) in enumerate(zip(seeds.indptr, seeds.indptr[1:], strict=False)):
            nodes, weights = seeds.indices[start:stop].astype(np.int64), seeds.data[start:stop]
            best = prepared.shortlist(nodes, weights, top)
            if refined and best.outside > best.lower:
                best = refine(prepared, nodes, weights, k=top)
            found[j, : best.rows.size] = best.rows
        return found

    yield name, lambda seeds: lists(seeds, 10, refined=False), 10
    yield name, lambda seeds: lists(seeds, TOP, refined=False), TOP
    yield f"{name} refined", lambda seeds: lists(seeds, TOP, refined=True), TOP


def _ten_filters(graph: Any, seeds: Any) -> Iterator[Row]:
    """Time one filter, and that one with nine more from its basis: for one column, and for all."""
    filters = [mf.Diffusion(alpha) for alpha in (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97, 0.98)]
    prepared = Lanczos(rtol=1e-2).prepare(graph, mf.Diffusion(ALPHA), get_backend())
    for columns in (seeds[:, [0]].toarray(), seeds.toarray()):

        def ten(columns: Any = columns) -> None:
            solution = prepared.solve(columns)
            for filter in filters:
                solution.refilter(filter)

        def one(columns: Any = columns) -> None:
            prepared.solve(columns)

        # in turns, so that both meet the same moods of the machine
        times = np.array([(seconds(one, repeat=1)[0], seconds(ten, repeat=1)[0]) for _ in range(5)])
        single, all_ten = 1e3 * np.median(times, axis=0)
        yield {"lanczos": f"{columns.shape[1]} columns", "one_ms": single, "ten_ms": all_ten, "ratio": all_ten / single}


def _peers(graph: mf.graph.Graph) -> Iterator[tuple[str, Answer, bool]]:
    """Yield what a user would reach for instead, on the same matrix, and whether it takes seconds for each query."""
    degrees = np.where(graph.degrees > 0, graph.degrees, 1.0)
    half = sparse.diags_array(degrees**-0.5)
    W = graph.affinity.astype(np.float64)
    A = _narrow(sparse.csr_array(sparse.eye_array(graph.n_nodes) - ALPHA * (half @ W @ half)))

    def scipy_cg(rtol: float) -> Answer:
        return lambda Y: np.stack([cg(A, y, rtol=rtol)[0] for y in Y.toarray().T], axis=1)

    yield PEER, scipy_cg(1e-2), False
    yield PEER_DEFAULT, scipy_cg(1e-5), False
    root = np.sqrt(degrees)
    try:
        from sknetwork.ranking import PageRank
    except ImportError:
        print("scikit-network is left out: pip install scikit-network")
    else:
        adjacency = sparse.csr_matrix(graph.affinity)

        def pagerank(Y: Any) -> Any:  # personalised PageRank of D^1/2 y, scaled back, ranks as diffusion does
            solver = PageRank(damping_factor=ALPHA, solver="lanczos", tol=1e-4)
            columns = [solver.fit_predict(adjacency, weights=root * y) / root for y in Y.toarray().T]
            return np.stack(columns, axis=1)

        yield "scikit-network PageRank", pagerank, False
    try:
        import networkx as nx
    except ImportError:
        print("NetworkX is left out: pip install networkx")
    else:
        network = nx.from_scipy_sparse_array(graph.affinity)

        def ranked(Y: Any) -> Any:
            columns = []
            for y in Y.toarray().T:
                start = dict(enumerate(root * y))
                found = nx.pagerank(network, alpha=ALPHA, personalization=start, max_iter=2000, tol=1e-4 / len(y))
                columns.append(np.fromiter(found.values(), dtype=float) / root)
            return np.stack(columns, axis=1)

        yield "NetworkX PageRank", ranked, True


def _collection(n: int) -> tuple[Any, Any]:
    try:
        data = mf.datasets.load("fashion_mnist", protocol="test")
    except DatasetNotFoundError as error:
        print(f"digits instead of Fashion-MNIST: {error}")
        X, _ = mf.datasets.digits()
        return X[100:], X[:100]
    return data.features[:n], data.queries[:64]
