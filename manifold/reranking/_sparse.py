"""Lists of ids and values as the rows of a sparse matrix, and means of such rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_ROWS = 4096  # rows of sparse products held at a time


def slices(n: int) -> Iterator[slice]:
    """Cut n rows into parts whose sparse products may be held at once."""
    for start in range(0, n, _ROWS):
        yield slice(start, min(start + _ROWS, n))


def sparse_rows(ids: NDArray[Any], values: NDArray[Any], n: int) -> sparse.csr_array:
    """Return lists (r, m) as a sparse matrix (r, n); -1 is left out, a value of 0 is stored."""
    kept = ids >= 0
    indptr = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
    matrix = sparse.csr_array((values[kept], ids[kept], indptr), shape=(ids.shape[0], n))
    matrix.sort_indices()
    return matrix


def unit_sums(rows: sparse.csr_array) -> sparse.csr_array:
    """Return rows >= 0 scaled to sum 1; an empty row stays empty."""
    sums = rows.sum(axis=1)
    scaled = rows.copy()
    scaled.data /= np.repeat(np.where(sums > 0, sums, 1), np.diff(rows.indptr))
    return scaled


def row_means(members: sparse.csr_array, V: sparse.csr_array) -> sparse.csr_array:
    """Return the mean of the rows of V that each 0/1 row of `members` names."""
    mean = sparse.csr_array(unit_sums(members).astype(V.dtype) @ V)
    mean.sort_indices()
    return mean
