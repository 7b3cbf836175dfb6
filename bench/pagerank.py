"""Personalised PageRank of one query, its top 100 proved, on graphs of 160,000 nodes: beside igraph, networkx, others.

Graphs of about a million edges: passages and the entities they name (topics, entities by a log-uniform law, passages
linked to near ones), random edges, preferential attachment, communities of a hundred; and the neighbours of surfaces,
where walks stay. CPU milliseconds, median of queries of 1 or 5 seeds, damping .85, the sides asked in turn.
`same` is the share of lists that hold 100 nodes as good as PRPACK's, `proved` that of slack 0, `tied` below 1e-9.

What a side prepares once: here S in an order of its own, `prepared_ms`, with the first query; networkx and
scikit-network a graph in their own form; igraph too, but PRPACK reads that graph anew in each call, which cannot be
kept: `prpack_read_ms` is a call at a damping of 0, which does nothing else, and `prpack_alone_ms` what is left without.
Where igraph or scikit-network is missing, only our own columns are filled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits

import manifold as mf
from bench._index import fitted
from bench._report import Row
from bench.pipeline import collection

NODES, EDGES, TOP, DAMPING = 160_000, 1_000_000, 100, 0.85
QUERIES, FEW = 8, 2  # by us and by PRPACK; by those that take seconds


def run(*, quick: bool) -> list[Row]:
    rows: list[Row] = []
    for name, W in _graphs(quick=quick):
        graph = mf.graph_from_affinity(W)
        nodes = np.flatnonzero(graph.degrees > 0)
        prepared, _ = _milliseconds(partial(_ours, graph, nodes[:1]))
        peers = _peers(W, networkx=not quick and name == "random edges")
        for n_seeds in (1, 5):
            rng = np.random.default_rng([7, n_seeds])
            seeds = [rng.choice(nodes, n_seeds, replace=False) for _ in range(3 if quick else QUERIES)]
            facts = {"graph": name, "n": graph.n_nodes, "entries": graph.affinity.nnz, "seeds": n_seeds}
            with threadpool_limits(1):  # PRPACK takes more, and CPU time counts those that wait
                rows.append(facts | {"prepared_ms": prepared} | _compared(graph, peers, seeds))
    return rows


def _compared(graph: mf.Graph, peers: _Peers | None, seeds: list[Any]) -> Row:
    ours, theirs, proved, tied, same = [], [], [], [], []
    for at in seeds:
        taken, ranking = _milliseconds(partial(_ours, graph, at))
        ours.append(taken)
        proved.append(bool(ranking.certified[0]))
        tied.append(bool(ranking.tied[0]) and not proved[-1])
        if peers is None:
            continue
        taken, p = _milliseconds(partial(peers.prpack, at))
        theirs.append(taken)
        same.append(np.sort(p)[-TOP:].sum() - p[ranking.ids].sum() < 1e-9)
    median = float(np.median(ours))
    row: Row = {
        "ms_p50": median,
        "ms_p95": float(np.quantile(ours, 0.95)),
        "proved": float(np.mean(proved)),
        "tied": float(np.mean(tied)),
    }
    if peers is None:
        return row
    read = float(np.median([_milliseconds(partial(peers.prpack, at, damping=0.0))[0] for at in seeds[:FEW]]))
    other = float(np.median(theirs))
    row |= {
        "same": float(np.mean(same)),
        "prpack_ms": other,
        "prpack_over_ours": other / median,
        "prpack_read_ms": read,
        "prpack_alone_ms": other - read,
        "alone_over_ours": (other - read) / median,
    }
    for name, ask in (("sknetwork", peers.sknetwork), ("networkx", peers.networkx)):
        taken = None if ask is None else float(np.median([_milliseconds(partial(ask, at))[0] for at in seeds[:FEW]]))
        row |= {f"{name}_ms": taken, f"{name}_over_ours": None if taken is None else taken / median}
    return row


def _ours(graph: mf.Graph, at: Any) -> Any:
    return mf.personalized_pagerank(graph, list(map(int, at)), k=TOP, damping=DAMPING)


def _peers(W: Any, *, networkx: bool) -> _Peers | None:
    try:
        return _Peers(W, networkx=networkx)
    except ImportError as missing:
        print(f"peers are left out: pip install igraph scikit-network ({missing})")
        return None


class _Peers:
    """The same graph in the form of each peer; None for one that is not asked."""

    def __init__(self, W: Any, *, networkx: bool) -> None:
        import igraph
        from sknetwork.ranking import PageRank

        upper = sparse.triu(W, 1).tocoo()
        self._graph = igraph.Graph(n=W.shape[0], edges=np.stack(upper.coords, axis=1), directed=False)
        self._weights = None if (W.data == W.data[0]).all() else upper.data.astype(float).tolist()
        matrix, n = sparse.csr_matrix(W), W.shape[0]

        def sknetwork(at: Any) -> Any:
            weights = np.zeros(n)
            weights[at] = 1
            return PageRank(damping_factor=DAMPING).fit_predict(matrix, weights=weights)

        self.sknetwork: Callable[[Any], Any] = sknetwork
        self.networkx: Callable[[Any], Any] | None = None
        if networkx:
            import networkx as nx

            G = nx.from_scipy_sparse_array(W)
            self.networkx = lambda at: nx.pagerank(G, alpha=DAMPING, personalization=dict.fromkeys(map(int, at), 1))

    def prpack(self, at: Any, *, damping: float = DAMPING) -> Any:
        return np.array(
            self._graph.personalized_pagerank(
                reset_vertices=list(map(int, at)),
                damping=damping,
                directed=False,
                weights=self._weights,
                implementation="prpack",
            )
        )


def _milliseconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    answer = work()
    return 1e3 * (time.process_time() - start), answer


def _graphs(*, quick: bool) -> Iterator[tuple[str, Any]]:
    n, m = (NODES, EDGES) if not quick else (4_000, 25_000)
    rng = np.random.default_rng(5)
    yield "passages and entities", _passages(n, rng)
    yield "random edges", _undirected(*rng.integers(n, size=(2, m)), n)
    each, ends = m // n, [np.arange(m // n)]
    for node in range(each, n):  # a node joins the ends of edges that are drawn among all so far
        drawn = rng.integers(node, size=each) if node < 2 * each else ends[0][rng.integers(len(ends[0]), size=each)]
        ends.append(np.concatenate([drawn, np.full(each, node)]))
        if len(ends) == 2_000 or node < 2 * each:
            ends = [np.concatenate(ends)]
    pairs = np.concatenate(ends)[each:].reshape(-1, 2, each)
    yield "preferential attachment", _undirected(pairs[:, 0].ravel(), pairs[:, 1].ravel(), n)
    u = rng.integers(n, size=m)
    inside = rng.random(m) < 5 / 6
    v = np.where(inside, u // 100 * 100 + rng.integers(100, size=m), rng.integers(n, size=m))
    yield "communities", _undirected(u, v, n)
    size = 3_000 if quick else 200_000
    yield "surfaces", fitted(mf.ManifoldSearch(), collection(size)[0], f"surfaces-{size}.graph").graph_.affinity


def _passages(n: int, rng: Any) -> Any:
    """Return passages, each naming 20 entities, most of them of its topic, and linked to 5 passages of it."""
    passages, size = n // 4, 200
    n_topics, entities = passages // size, n - passages
    own = entities // (2 * n_topics)  # a topic's; the other half is everybody's
    by, common = np.repeat(np.arange(passages), 20), entities - n_topics * own
    drawn = rng.random(by.size)
    of_topic = by // size * own + np.minimum(own**drawn, own - 1).astype(np.int64)
    of_all = n_topics * own + np.minimum(common**drawn, common - 1).astype(np.int64)
    named = passages + np.where(rng.random(by.size) < 0.6, of_topic, of_all)
    near = np.repeat(np.arange(passages), 5)
    beside = near // size * size + rng.integers(size, size=near.size)
    return _undirected(np.concatenate([by, near]), np.concatenate([named, beside]), n)


def _undirected(u: Any, v: Any, n: int) -> Any:
    """Return the matrix of edges between two runs of nodes, each once and without loops."""
    apart = u != v
    W = sparse.coo_array((np.ones(apart.sum()), (u[apart], v[apart])), shape=(n, n)).tocsr()
    W = W + W.T
    W.data[:] = 1
    return W
