"""Lists of ids and values as the rows of a sparse matrix, and means of such rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from manifold._typing import AnyArray

_ROWS = 4096  # rows of sparse products held at a time


def slices(n: int) -> Iterator[slice]:
    """Cut n rows into parts whose sparse products may be held at once.

    >>> list(slices(5000))
    [slice(0, 4096, None), slice(4096, 5000, None)]
    """
    for start in range(0, n, _ROWS):
        yield slice(start, min(start + _ROWS, n))


def cut(totals: AnyArray, most: int) -> Iterator[slice]:
    """Cut rows into parts by the totals (n + 1,) before each of them: at most `most` a part, or one row that has more.

    >>> list(cut(np.array([0, 3, 4, 9]), 4))
    [slice(0, 2, None), slice(2, 3, None)]
    """
    start, n = 0, totals.size - 1
    while start < n:
        stop = int(np.searchsorted(totals, totals[start] + most, side="right")) - 1
        stop = min(max(stop, start + 1), start + _ROWS, n)
        yield slice(start, stop)
        start = stop


def sparse_rows(ids: AnyArray, values: AnyArray, n: int) -> sparse.csr_array:
    """Return lists (r, m) as a sparse matrix (r, n); -1 is left out, a value of 0 is stored.

    >>> sparse_rows(np.array([[2, 0, -1]]), np.array([[0.5, 0.25, 9.0]]), 3).toarray().tolist()
    [[0.25, 0.0, 0.5]]
    """
    kept = ids >= 0
    indptr = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
    matrix = sparse.csr_array((values[kept], ids[kept], indptr), shape=(ids.shape[0], n))
    matrix.sort_indices()
    return matrix


def unit_sums(rows: sparse.csr_array) -> sparse.csr_array:
    """Return rows >= 0 scaled to sum 1; an empty row stays empty.

    >>> unit_sums(sparse.csr_array([[1.0, 3.0], [0.0, 0.0]])).toarray().tolist()
    [[0.25, 0.75], [0.0, 0.0]]
    """
    sums = rows.sum(axis=1)
    scaled = rows.copy()
    scaled.data /= np.repeat(np.where(sums > 0, sums, 1), np.diff(rows.indptr))
    return scaled


def row_means(members: sparse.csr_array, V: sparse.csr_array) -> sparse.csr_array:
    """Return the mean of the rows of V that each 0/1 row of `members` names.

    >>> row_means(sparse.csr_array([[1.0, 1.0]]), sparse.csr_array([[2.0, 0.0], [4.0, 8.0]])).toarray().tolist()
    [[3.0, 4.0]]
    """
    mean = sparse.csr_array(unit_sums(members).astype(V.dtype) @ V)
    mean.sort_indices()
    return mean
