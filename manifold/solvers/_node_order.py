"""An order of the nodes in which neighbours are near each other in memory: a graph in, ids out.

Products with S read the rows of a block that neighbours stand in; of a large graph in its own order most are far away.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import reverse_cuthill_mckee

from manifold._typing import AnyArray
from manifold.graph import Graph

ORDERED_FROM = 8192  # nodes from which on blocks of them leave the nearest caches, and their order counts
_ORDERS: WeakKeyDictionary[Graph, NDArray[np.int32]] = WeakKeyDictionary()
_SHORT_ROWS = 32  # entries a row, on average, up to which the end of a row costs as much as its entries
_WINDOW = 512  # nodes that are sorted by their number of neighbours together


def node_order(graph: Graph) -> NDArray[np.int32] | None:
    """Return the nodes of a graph, neighbours near each other: None for a graph that fits the nearest caches as it is.

    Component by component in reverse Cuthill-McKee order, and nodes of few neighbours, within windows of it, by their
    number: the processor guesses well where rows of one length end. Found once for a graph.

    >>> from manifold import graph_from_affinity
    >>> node_order(graph_from_affinity([[0, 1], [1, 0]])) is None  # it fits the caches as it is
    True
    >>> node_order(graph_from_affinity(sparse.csr_array((ORDERED_FROM, ORDERED_FROM)))).size == ORDERED_FROM
    True
    """
    if graph.n_nodes < ORDERED_FROM:
        return None
    if graph not in _ORDERS:
        _ORDERS[graph] = _found(graph)
    return _ORDERS[graph]


def _found(graph: Graph) -> NDArray[np.int32]:
    W, n = graph.affinity, graph.n_nodes
    narrow = [part.astype(np.int32) for part in (W.indices, W.indptr)] if W.nnz < 2**31 else [W.indices, W.indptr]
    near: NDArray[np.int32] = reverse_cuthill_mckee(
        sparse.csr_array((W.data, *narrow), shape=W.shape), symmetric_mode=True
    )
    if W.nnz <= _SHORT_ROWS * n:
        near = near[np.lexsort((-np.diff(W.indptr)[near], np.arange(n) // _WINDOW))]
    return near


def inverse(order: AnyArray) -> AnyArray:
    """Return where each node stands in an order.

    >>> inverse(np.array([2, 0, 1])).tolist()
    [1, 2, 0]
    """
    position = np.empty_like(order)
    position[order] = np.arange(order.size)
    return position


def reordered(W: sparse.csr_array, order: AnyArray) -> sparse.csr_array:
    """Return a symmetric matrix with rows and columns in an order, ids ascending in each row.

    >>> star = sparse.csr_array([[0.0, 1.0, 2.0], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    >>> reordered(star, np.array([2, 0, 1])).toarray()[0].tolist()
    [0.0, 2.0, 0.0]
    """
    rows = W[order]
    indptr = rows.indptr.astype(np.int32 if W.nnz < 2**31 else np.int64)
    ids = inverse(order).astype(indptr.dtype)[rows.indices]
    turned = sparse.csr_array((rows.data, ids, indptr), shape=W.shape).tocsc()  # sorts ids; the same, by symmetry
    return sparse.csr_array((turned.data, turned.indices, turned.indptr), shape=W.shape)
