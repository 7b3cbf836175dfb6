"""Weights from outside: made canonical, checked before they could crash a product, fitted to a precision.

In: any matrix a user calls an affinity. Out: CSR with sorted, unique, in-range indices and finite values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from manifold.errors import warn


def canonical_csr(W: Any) -> sparse.csr_array:
    """Return a canonical float64 copy of W, once its indices have been checked."""
    W = W if sparse.issparse(W) else np.asarray(W)
    if W.dtype.kind not in "biuf":
        raise TypeError(f"W must hold real numbers, got dtype {W.dtype}")
    if W.ndim != 2 or W.shape[0] != W.shape[1]:
        raise ValueError(f"W must be square (n, n), got shape {W.shape}")
    csr = checked_csr(W, "W").astype(np.float64, copy=True)
    csr.sum_duplicates()
    if not np.isfinite(csr.data).all():
        raise ValueError(f"W holds NaN or infinity in {np.count_nonzero(~np.isfinite(csr.data))} entries")
    return csr


def checked_csr(matrix: Any, name: str) -> sparse.csr_array:
    """Return a matrix as CSR, sharing what arrays it can, after a look at every index.

    The look comes first: a conversion, like a product, follows an index out of range out of its arrays.
    """
    kind = getattr(matrix, "format", None)
    if kind in ("csr", "csc", "bsr"):
        try:
            shared = type(matrix)((matrix.data, matrix.indices, matrix.indptr), shape=matrix.shape)
            check_indices(shared)
        except ValueError as error:
            raise ValueError(
                f"{name} is a malformed {kind.upper()} matrix, which could crash a product: {error}"
            ) from None
    return sparse.csr_array(matrix)


def check_indices(matrix: Any) -> None:
    """Raise ValueError for indices out of range, or rows out of order: of what seems empty, SciPy looks at neither."""
    if matrix.indptr[0] != 0 or (matrix.indptr[1:] < matrix.indptr[:-1]).any():
        raise ValueError("indptr must begin with 0 and never fall")
    matrix.check_format(full_check=True)


def fit_precision(W: sparse.csr_array) -> sparse.csr_array:
    """Return W in float32 where that holds its range, scaled if need be: S is blind to a constant factor."""
    limits = np.finfo(np.float32)
    if W.nnz == 0 or (W.data.min() >= limits.tiny and W.data.max() <= limits.max / W.shape[0]):
        return W.astype(np.float32)
    low, high = float(W.data.min()), float(W.data.max())
    if high / low < 1e30:
        W.data /= high
        return W.astype(np.float32)
    warn(f"weights from {low:.1e} to {high:.1e} do not fit float32: the graph and its solves are float64")
    return W


def check_affinity(W: sparse.csr_array, *, self_loops: bool) -> None:
    """Raise ValueError where W is not what a `Graph` promises; W is made canonical in place."""
    if W.shape[0] != W.shape[1]:
        raise ValueError(f"affinity must be square, got shape {W.shape}")
    if W.dtype not in (np.float32, np.float64):
        raise ValueError(f"affinity must be float32 or float64, got {W.dtype}")
    check_indices(W)
    W.sum_duplicates()
    W.eliminate_zeros()
    if not (np.isfinite(W.data).all() and (W.data > 0).all()):
        raise ValueError("affinity must be finite and non-negative")
    if not self_loops and W.diagonal().any():
        raise ValueError("affinity has a non-zero diagonal: pass self_loops=True to allow self-loops")
    other = W.T.tocsr()  # canonical too, so that its arrays are those of W, or W is not symmetric
    if not all(np.array_equal(getattr(W, name), getattr(other, name)) for name in ("indptr", "indices", "data")):
        raise ValueError("affinity is not symmetric: graph_from_affinity(W, edges=...) makes it so")
