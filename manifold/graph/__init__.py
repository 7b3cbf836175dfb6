"""The graph: neighbours in, a symmetric affinity W with its degrees and components out.

    mutual  W = min(A, A')      union  W = max(A, A')      sum  W = A + A'

where a_ij is the weight of neighbour j of point i. W and D are stored; S = D^-1/2 W D^-1/2 never is.
"""

from __future__ import annotations

from concurrent.futures import Executor
from functools import partial
from os import PathLike
from pathlib import Path

import numpy as np
from scipy import sparse

from manifold._progress import shown
from manifold._resources import at_most, require_memory
from manifold._typing import Facts, RandomState
from manifold.backends import Backend
from manifold.graph._beside import beside, lists_of
from manifold.graph._edges import EDGE_RULES, check_edges, one_sided_weight
from manifold.graph._given import check_graph, graph_from_affinity
from manifold.graph._graph import Graph
from manifold.graph._on_disk import graph_on_disk
from manifold.graph._order import order_of_cells
from manifold.graph._patched import Change, patched
from manifold.graph._symmetric import Rule, blocks_forecast, in_blocks, symmetric
from manifold.graph.affinity import Affinity, default_gamma
from manifold.neighbors import Neighbors, Progress, find_neighbors, from_distances, from_faiss, from_sklearn
from manifold.storage import is_saved

__all__ = [
    "EDGE_RULES",
    "Affinity",
    "Change",
    "Graph",
    "build_graph",
    "check_graph",
    "followed_graph",
    "graph_from_affinity",
    "graph_from_neighbors",
    "is_made_of",
    "lists_of",
    "memory_forecast",
    "one_sided_weight",
    "soft_mutual_graph",
]


def memory_forecast(n: int, k: int, *, edges: str = "mutual", bridge: int = 1, one_sided: float | None = 0.0) -> int:
    """Return the bytes, at most, that making a graph of n points and k neighbours takes, the graph included.

    Of a large graph the weights of all listings, the bins they are put into, and W twice while blocks of it are put
    together; of a small one the directed weights, their transpose, and what a rule makes of them two by two.

    Reference: guide *scale*, "How much memory, before you start".

    >>> memory_forecast(1_000_000, 50) / 2**30 < 4
    True
    """
    if in_blocks(n):
        return blocks_forecast(n, k, mutual_alone=edges == "mutual" and one_sided == 0, bridge=bridge)
    listing, bridged = 54, 0
    if edges == "mutual":
        listing, bridged = 114 if one_sided is None else 92 if one_sided else 66, 42 * min(bridge, k)
    wide = 12 / 8 if 2 * n * k > np.iinfo(np.int32).max else 1  # indices of int64
    return int(n * (listing * k + bridged + 40) * wide)


def build_graph(
    X: object,
    n_neighbors: int = 10,
    *,
    method: str = "auto",
    metric: str = "cosine",
    affinity: str = "auto",
    gamma: float | None = None,
    edges: str = "mutual",
    bridge: int = 1,
    one_sided: float | None = 0.0,
    backend: str | Backend = "auto",
    random_state: RandomState = None,
    progress: Progress | bool | None = None,
    folder: str | PathLike[str] | None = None,
    memory: int | str | None = None,
    executor: Executor | None = None,
) -> Graph:
    """Build the kNN graph of a collection: features in, affinity out.

    By default mutual neighbours, and weights max(s, 0)^gamma.

    Reference: Iscen et al. (2017), section 3.1 and eqs. 5-6, for the default.

    Parameters
    ----------
    X : (n, d) array-like, path of a file, or (n, n) similarities for ``metric="precomputed"``
        Rows are points.
    n_neighbors : int
        k neighbours other than self; 5 to 20 serve most collections, 50 is the published setting.
    method, metric, backend, random_state, progress
        See `manifold.neighbors.find_neighbors`.
    affinity, gamma
        The kernel, see `manifold.graph.affinity.Affinity`; by default gamma is 3, and 1 for precomputed similarities,
        which are weights as they are.
    edges : {"mutual", "union", "sum"}
        Keep pairs that list each other (for retrieval), pairs of which one lists the other, or add both
        directions (for label propagation).
    bridge : int
        With "mutual": also keep the edges to the first so many neighbours of each point, listed back or not.
        A mutual graph without bridges falls into pieces, and what lies in another piece is never found.
    one_sided : float in [0, 1], optional
        With "mutual": weight of the pairs of which only one lists the other, W = (1 - b) mutual + b union; None takes
        `one_sided_weight` of the neighbours.
    folder : path, optional
        Where the graph is to lie, mapped from there, as `manifold.load` opens it; its lists lie beside it, in
        ``<folder>.lists``. Nothing of the size of X is in memory, and what was stopped goes on at the next such call,
        to the same bits, which are those of memory.
    memory, executor : optional
        With `folder`: see `manifold.neighbors.find_neighbors`.

    Returns
    -------
    Graph

    Raises
    ------
    TypeError, ValueError, MemoryBudgetError
        As `find_neighbors`, and for an unknown edge rule or kernel.

    Notes
    -----
    Cost: that of the neighbours, then O(n k). Same input, same bits, whatever the number of threads, for the
    exact method and the inverted file.

    Examples
    --------
    >>> build_graph([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]], 1, gamma=1).n_components
    2
    """
    check_edges(edges, bridge, one_sided)
    gamma = default_gamma(metric) if gamma is None else gamma
    Affinity(affinity, gamma, metric)  # a wrong kernel is refused before the search, not after it
    lists = None
    if folder is not None:
        is_saved(folder, kind="graph")  # what is in the way is said before the search, not after it
        lists = beside(Path(folder))
    neighbors = find_neighbors(
        X,
        n_neighbors,
        method=method,
        metric=metric,
        backend=backend,
        random_state=random_state,
        progress=progress,
        folder=lists,
        memory=memory,
        executor=executor,
    )
    if folder is None or lists is None:
        return graph_from_neighbors(
            neighbors, affinity=affinity, gamma=gamma, edges=edges, bridge=bridge, one_sided=one_sided
        )
    kernel = Affinity(affinity, gamma, metric)
    b = one_sided_weight(neighbors) if one_sided is None else one_sided
    with shown(progress, "edges") as report:
        return graph_on_disk(
            lists,
            folder,
            kernel=kernel,
            rule=Rule(edges, bridge, b),
            facts=partial(_facts, neighbors, kernel, edges=edges, bridge=bridge, one_sided=b),
            executor=executor,
            progress=report,
        )


def graph_from_neighbors(
    D: object = None,
    I: object = None,  # noqa: E741 -- FAISS's own name
    *,
    distances: object = None,
    metric: str | None = None,
    affinity: str = "auto",
    gamma: float | None = None,
    edges: str = "mutual",
    bridge: int = 1,
    one_sided: float | None = 0.0,
) -> Graph:
    """Build the graph from neighbours that are already known.

    Reference: Iscen et al. (2017), eqs. 5-6; guide *stores*, "Lists that the store found".

    Parameters
    ----------
    D, I : (n, k) arrays
        What a FAISS index returned for its own points, see `manifold.neighbors.from_faiss`; or, without `I`, D
        is a `Neighbors` object or a scikit-learn distance graph, see `manifold.neighbors.from_sklearn`.
    distances : (n, k) array, optional
        In place of D: what scikit-learn's `kneighbors` returned beside I, see `manifold.neighbors.from_distances`.
    metric : str, optional
        What D holds; by default "cosine" for (D, I) and "euclidean" for a distance graph. Distances need it said.
    affinity, gamma, edges, bridge, one_sided
        See `build_graph`.

    Examples
    --------
    >>> similarities, ids = [[1.0, 0.5], [1.0, 0.5]], [[0, 1], [1, 0]]
    >>> float(graph_from_neighbors(similarities, ids).affinity[0, 1])
    0.125
    """
    check_edges(edges, bridge, one_sided)
    neighbors: Neighbors
    if distances is not None:
        if D is not None or I is None or metric is None:
            raise TypeError("pass I, distances and their metric by name, and no D: it holds similarities")
        neighbors = from_distances(distances, I, metric=metric)
    elif isinstance(D, Neighbors):
        if I is not None:
            raise TypeError("pass (D, I), or Neighbors alone: they hold their ids")
        if metric not in (None, D.metric):
            raise ValueError(f"metric={metric!r} but the neighbours were found with {D.metric!r}: leave it out")
        neighbors = D
    elif I is not None:
        neighbors = from_faiss(D, I, metric=metric or "cosine")
    elif sparse.issparse(D):
        neighbors = from_sklearn(D, metric=metric or "euclidean")
    else:
        raise TypeError(f"pass (D, I), Neighbors or a sparse distance graph, got {type(D).__name__} and no I")
    kernel = Affinity(affinity, default_gamma(neighbors.metric) if gamma is None else gamma, neighbors.metric)
    n, k = neighbors.n_nodes, neighbors.n_neighbors
    forecast = partial(memory_forecast, n, edges=edges, bridge=bridge, one_sided=one_sided)
    require_memory(forecast(k), purpose=f"a graph of {n} nodes", cure=at_most("n_neighbors", k, forecast))
    b = one_sided_weight(neighbors) if one_sided is None else one_sided
    W, degrees, n_clipped = symmetric(neighbors, kernel, Rule(edges, bridge, b))
    facts = _facts(neighbors, kernel, n_clipped, edges=edges, bridge=bridge, one_sided=b)
    cells = neighbors.partition
    order = None if cells is None else order_of_cells(W.indptr, cells.cell)
    return Graph._trusted(W, facts=facts, degrees=degrees, order=order)


def _facts(
    neighbors: Neighbors, kernel: Affinity, n_clipped: int = 0, *, edges: str, bridge: int, one_sided: float
) -> Facts:
    b = one_sided
    return {
        "method": neighbors.method,
        "metric": neighbors.metric,
        "n_neighbors": neighbors.n_neighbors,
        "affinity": str(kernel),
        "edges": (f"mutual, bridge={bridge}" if edges == "mutual" else edges) + (f", one_sided={b:g}" if b else ""),
        **({"clipped": n_clipped} if n_clipped else {}),
        **({"repaired": neighbors.n_repaired} if neighbors.n_repaired else {}),
        **neighbors.facts,
    }


def soft_mutual_graph(
    neighbors: Neighbors, *, affinity: Affinity, edges: str = "mutual", bridge: int = 1, one_sided: float = 0.0
) -> Graph:
    """Return the graph of neighbours by a kernel; `one_sided` counts for the "mutual" rule alone.

    Reference: Iscen et al. (2017), eqs. 5-6, for mutual edges; guide *notation*, "Own methods", for the others.

    >>> lists = Neighbors([[1], [0], [0]], [[1.0], [1.0], [0.5]], metric="cosine", method="by hand")
    >>> soft = soft_mutual_graph(lists, affinity=Affinity(gamma=1.0), bridge=0, one_sided=0.1)
    >>> round(float(soft.affinity[0, 2]), 6)
    0.05
    """
    b = one_sided if edges == "mutual" else 0.0
    return graph_from_neighbors(
        neighbors, affinity=affinity.kind, gamma=affinity.gamma, edges=edges, bridge=bridge, one_sided=b
    )


def followed_graph(
    graph: Graph,
    neighbors: Neighbors,
    change: Change,
    *,
    affinity: Affinity,
    edges: str = "mutual",
    bridge: int = 1,
    one_sided: float = 0.0,
) -> Graph:
    """Return what `soft_mutual_graph` makes of lists of which some rows have changed, to the bit, at the cost of those.

    Reference: guide *scale*, "A collection that changes".

    >>> lists = Neighbors([[1], [0], [0]], [[1.0], [1.0], [0.5]], metric="cosine", method="by hand")
    >>> now = Neighbors([[1], [0], [1]], [[1.0], [1.0], [0.75]], metric="cosine", method="by hand")
    >>> change = Change(lists, np.arange(3), np.array([2]))
    >>> kernel = Affinity(gamma=1.0)
    >>> followed_graph(soft_mutual_graph(lists, affinity=kernel), now, change, affinity=kernel).affinity.toarray()[2]
    array([0.  , 0.75, 0.  ], dtype=float32)
    """
    b = one_sided if edges == "mutual" else 0.0
    followed = patched(
        graph,
        neighbors,
        change,
        facts=partial(_facts, neighbors, affinity, edges=edges, bridge=bridge, one_sided=b),
        kernel=affinity,
        edges=edges,
        bridge=bridge,
        one_sided=b,
    )
    if followed is not None:
        return followed
    return soft_mutual_graph(neighbors, affinity=affinity, edges=edges, bridge=bridge, one_sided=b)


def is_made_of(
    graph: Graph, neighbors: Neighbors, *, affinity: Affinity, edges: str, bridge: int, one_sided: float
) -> bool:
    """Return whether a graph is what `soft_mutual_graph` makes of lists by such a rule, as far as both say how.

    Reference: guide *notation*, "How the parts meet".

    >>> lists = Neighbors([[1], [0], [0]], [[1.0], [1.0], [0.5]], metric="cosine", method="by hand")
    >>> made = soft_mutual_graph(lists, affinity=Affinity(gamma=1.0))
    >>> [is_made_of(made, lists, affinity=Affinity(gamma=g), edges="mutual", bridge=1, one_sided=0.0) for g in (1, 2)]
    [True, False]
    """
    b = one_sided if edges == "mutual" else 0.0
    told = _facts(neighbors, affinity, edges=edges, bridge=bridge, one_sided=b)
    return all(graph.facts.get(name) == told[name] for name in ("metric", "n_neighbors", "affinity", "edges"))
