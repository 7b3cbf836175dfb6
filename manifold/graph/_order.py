"""An order of the nodes in which neighbours are near each other in memory: W, or cells, in, ids out.

Products with S read the rows of a block that neighbours stand in; of a large graph in its own order most are far away.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import reverse_cuthill_mckee

from manifold._typing import Ints

ORDERED_FROM = 8192  # nodes from which on blocks of them leave the nearest caches, and their order counts
_SHORT_ROWS = 32  # entries a row, on average, up to which the end of a row costs as much as its entries
_WINDOW = 512  # nodes that are sorted by their number of neighbours together


def order_of_cells(indptr: Ints, cell: NDArray[np.int32]) -> NDArray[np.int32] | None:
    """Return the nodes cell by cell: of cells whose numbers are near where they are, as near as a search could make it.

    >>> order_of_cells(np.zeros(ORDERED_FROM + 1, np.int32), np.arange(ORDERED_FROM, dtype=np.int32)[::-1])[:2].tolist()
    [8191, 8190]
    """
    if cell.size < ORDERED_FROM:
        return None
    few = cell.max(initial=0) < 1 << 16  # NumPy sorts numbers of 16 bits by counting them
    near = np.argsort(cell.astype(np.uint16) if few else cell, kind="stable")
    return _by_length(near.astype(np.int32), indptr)


def order_of_walk(W: sparse.csr_array) -> NDArray[np.int32]:
    """Return the nodes component by component in reverse Cuthill-McKee order.

    >>> order_of_walk(sparse.csr_array([[0, 0, 1], [0, 0, 1], [1, 1, 0]])).tolist()  # the most neighbours first
    [2, 1, 0]
    """
    narrow = [part.astype(np.int32) for part in (W.indices, W.indptr)] if W.nnz < 2**31 else [W.indices, W.indptr]
    near = reverse_cuthill_mckee(sparse.csr_array((W.data, *narrow), shape=W.shape), symmetric_mode=True)
    return _by_length(near.astype(np.int32, copy=False), W.indptr)


def _by_length(near: NDArray[np.int32], indptr: Ints) -> NDArray[np.int32]:
    """Sort nodes within windows by their number of neighbours: processors guess well where rows of one length end."""
    if indptr[-1] <= _SHORT_ROWS * near.size:
        near = near[np.lexsort((-np.diff(indptr)[near], np.arange(near.size) // _WINDOW))]
    return near


def is_order(order: NDArray[np.int32]) -> bool:
    """Whether each of 0..n-1 stands in an order once.

    >>> is_order(np.array([1, 0])), is_order(np.array([1, 1])), is_order(np.array([2, 0]))
    (True, False, False)
    """
    if order.size and not 0 <= order.min() <= order.max() < order.size:
        return False
    seen = np.zeros(order.size, dtype=bool)
    seen[order] = True
    return bool(seen.all())
