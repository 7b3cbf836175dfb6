"""A graph whose lists have changed in some rows: those rows are made anew, all else is taken over.

In: the graph of before, and lists of before and of now. Out: the graph that `graph_from_neighbors` makes of the lists
of now, to the bit; or None where a number of all lists, by which every weight is made, is another.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold._typing import Facts, Ints
from manifold._weights import row_sums
from manifold.backends.threads import in_threads
from manifold.graph._edges import joined_lists, list_weights, unit_of
from manifold.graph._graph import Graph
from manifold.graph.affinity import Affinity, ranks_of
from manifold.neighbors import Neighbors

FOLLOWED_FROM = 4096  # nodes from which on a graph takes longer to form than to follow
_STEP = 1 << 15  # rows that a thread takes at a time


class Change(NamedTuple):
    """Lists of before, which row of them each of now was, ascending, then -1; and rows whose list is another (t,).

    Reference: guide *scale*, "A collection that changes".

    >>> lists = Neighbors([[1], [0]], [[0.5], [0.5]], "cosine", "by hand")
    >>> Change(lists, rows=np.array([0, 1, -1]), touched=np.array([2])).touched.tolist()
    [2]
    """

    before: Neighbors
    rows: Ints
    touched: Ints


class _Csr(NamedTuple):
    """W as compiled code reads it."""

    data: NDArray[np.float32]
    indices: NDArray[np.int32]
    indptr: Ints


def patched(
    graph: Graph,
    lists: Neighbors,
    change: Change,
    *,
    facts: Callable[[int], Facts],
    kernel: Affinity,
    edges: str,
    bridge: int,
    one_sided: float,
) -> Graph | None:
    """Return the graph of lists of now, or None where it has to be formed anew; `facts` say how many are clipped.

    An edge depends on the lists of its two ends alone, once the kernel, `one_sided` and the unit of similarities are
    given. So W keeps the entries whose ends have the lists that they had, and of the others each is made of two lists.

    Notes
    -----
    Cost: what is touched, its neighbours, and one copy of W.
    """
    before, n_before = change.before, int(str(graph.facts.get("clipped", 0)))
    if lists.n_nodes < FOLLOWED_FROM or find_spec("numba") is None:
        return None
    few = 2 * change.touched.size < lists.n_nodes and 2 * change.rows.size > before.n_nodes > 0
    unit = unit_of(lists)
    if not few or unit != unit_of(before) or facts(n_before) != graph.facts:
        return None
    W, rows, touched = graph.affinity, change.rows, change.touched
    number = np.full(graph.n_nodes, -1, np.int32)
    number[rows[rows >= 0]] = np.flatnonzero(rows >= 0)
    around = _around(W, lists, change, number)
    new, vanish = _of_rows(lists, around, touched, kernel=kernel, edges=edges, bridge=bridge, one_sided=one_sided)
    n_clipped = vanish
    if not kernel.is_scaled:  # a weight is of its own listing
        n_clipped = n_before + _vanishing(lists, touched, kernel) - _vanishing(before, _gone(change), kernel)
    elif n_before or vanish:  # it is of both ends: who counts once is to be looked for everywhere
        return None
    now, fresh = _spliced(W, new, change, around, number)
    degrees = np.where(rows >= 0, graph.degrees[np.maximum(rows, 0)], 0.0) if graph.n_nodes else np.zeros(rows.size)
    degrees[fresh] = row_sums_of(now, fresh)
    return Graph._trusted(now, facts=facts(n_clipped), degrees=degrees, order=_order(graph, lists, rows, number))


def _gone(change: Change) -> Ints:
    """Return the rows of before whose lists are no more, or are others by now."""
    gone = np.ones(change.before.n_nodes, dtype=bool)
    gone[change.rows[change.rows >= 0]] = False
    was = change.rows[change.touched]
    gone[was[was >= 0]] = True
    return np.flatnonzero(gone)


def _vanishing(lists: Neighbors, rows: Ints, kernel: Affinity) -> int:
    """Return how many listings of some rows weigh nothing."""
    weights = kernel.weights(lists.similarities[rows] / unit_of(lists))
    return int(((weights < np.finfo(np.float32).tiny) & (lists.indices[rows] >= 0)).sum())


def _around(W: sparse.csr_array, lists: Neighbors, change: Change, number: NDArray[np.int32]) -> Ints:
    """Return what is touched, what it lists, and what it had an edge to: rows of which some entry may be another."""
    was = change.rows[change.touched]
    edges = number[W[was[was >= 0]].indices]
    listed = lists.indices[change.touched].ravel()
    around = np.zeros(lists.n_nodes, dtype=bool)  # a mark a node costs less than to sort what is met
    around[edges[edges >= 0]] = around[listed[listed >= 0]] = around[change.touched] = True
    return np.flatnonzero(around)


def _of_rows(
    lists: Neighbors, around: Ints, touched: Ints, *, kernel: Affinity, edges: str, bridge: int, one_sided: float
) -> tuple[sparse.csr_array, int]:
    """Return the entries (a, n) of some rows that have a touched end, and how many listings of them weigh nothing."""
    n, a = lists.n_nodes, around.size
    ids, similarities = lists.indices[around], lists.similarities[around]
    changed, local = np.zeros(n + 1, dtype=bool), np.full(n + 1, -1, np.int32)
    changed[touched], local[around] = True, np.arange(a)
    counts = (changed[around][:, None] | changed[ids]) & (ids >= 0)
    scales = kernel.scales(similarities)
    at, place = np.nonzero(counts)  # a third of all, where what joins is everywhere
    inside, weights = np.full(ids.shape, -1, np.int32), np.zeros(ids.shape, np.float32)
    inside[at, place] = local[ids[at, place]]
    listed = inside[at, place, None], similarities[at, place, None]
    ranks = ranks_of(similarities)[at, place, None] if kernel.kind == "ranked" else None
    found, vanish = list_weights(*listed, kernel, scales=scales, unit=unit_of(lists), rows=at, ranks=ranks)
    weights[at, place] = found[:, 0]
    W = joined_lists(inside, weights, edges=edges, bridge=bridge, one_sided=one_sided)
    W.sort_indices()
    return sparse.csr_array((W.data, around[W.indices].astype(np.int32), W.indptr), shape=(a, n)), vanish


def _spliced(
    W: sparse.csr_array, new: sparse.csr_array, change: Change, around: Ints, number: NDArray[np.int32]
) -> tuple[sparse.csr_array, Ints]:
    """Return W of now, and the rows whose entries are not those they were."""
    from manifold.backends.compiled_edges import splice, spliced_sizes

    m, rows = change.rows.size, change.rows
    changed, place = np.zeros(m, dtype=bool), np.full(m, -1, np.int32)
    changed[change.touched], place[around] = True, np.arange(around.size)
    old, some = (_Csr(x.data, x.indices, x.indptr.astype(np.int64)) for x in (W, new))
    sizes = np.empty(m, np.int64)
    given = old, some, rows, number, changed, place, bool((rows >= 0).sum() == W.shape[0])
    in_threads(lambda i, j: spliced_sizes(*given, sizes, i, j), m, step=_STEP)
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    out = _Csr(np.empty(indptr[-1], np.float32), np.empty(indptr[-1], np.int32), indptr)
    in_threads(lambda i, j: splice(*given, out, i, j), m, step=_STEP)
    lost = np.ones(m, dtype=bool)
    lost[rows >= 0] = sizes[rows >= 0] != np.diff(W.indptr)[rows[rows >= 0]]
    lost[around] = True
    return sparse.csr_array((out.data, out.indices, out.indptr), shape=(m, m)), np.flatnonzero(lost)


def row_sums_of(W: sparse.csr_array, rows: Ints) -> NDArray[np.float64]:
    """Return the degrees of some rows, each added up as `row_sums` does.

    >>> row_sums_of(sparse.csr_array([[0, 1, 2], [1, 0, 0], [2, 0, 0]]), np.array([0])).tolist()
    [3.0]
    """
    return row_sums(W[rows])


def _order(graph: Graph, lists: Neighbors, rows: Ints, number: NDArray[np.int32]) -> NDArray[np.int32] | None:
    """Return the order of before, each new node behind the first that it lists."""
    if graph.order is None or rows.size < graph.n_nodes / 2:
        return None
    moved = number[graph.order]
    order, new = moved[moved >= 0], np.flatnonzero(rows < 0).astype(np.int32)
    position = np.full(rows.size + 1, order.size, np.int32)  # behind all, where a new one lists none that was there
    position[order] = np.arange(1, order.size + 1)
    at = position[lists.indices[new, 0]] if lists.n_neighbors else position[new]
    return np.insert(order, at, new)
