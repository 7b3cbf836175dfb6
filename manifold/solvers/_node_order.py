"""Matrices in an order of the nodes in which neighbours are near each other in memory: W and an order in, W out."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from manifold._typing import AnyArray


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
