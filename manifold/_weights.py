"""Weights that come from outside: made canonical, checked before they could crash a product, fitted to a precision.

In: any matrix a user calls an affinity. Out: CSR with sorted, unique, in-range indices and finite values.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy import sparse

from manifold._errors import ManifoldWarning


def canonical_csr(W: Any) -> sparse.csr_array:
    """Return a canonical float64 copy of W, once its indices have been checked."""
    if not sparse.issparse(W):
        W = np.asarray(W)
        if W.dtype.kind not in "biuf":
            raise TypeError(f"W must hold real numbers, got dtype {W.dtype}")
    if W.ndim != 2 or W.shape[0] != W.shape[1]:
        raise ValueError(f"W must be square (n, n), got shape {W.shape}")
    csr = sparse.csr_array(W)
    try:
        csr.check_format(full_check=True)
    except ValueError as error:
        raise ValueError(f"W is a malformed CSR matrix, which could crash a product: {error}") from None
    csr = csr.astype(np.float64, copy=True)
    csr.sum_duplicates()
    if not np.isfinite(csr.data).all():
        raise ValueError(f"W holds NaN or infinity in {np.count_nonzero(~np.isfinite(csr.data))} entries")
    return csr


def fit_precision(W: sparse.csr_array) -> sparse.csr_array:
    """Return W in float32 where that holds its range, scaled if need be: S is blind to a constant factor."""
    limits = np.finfo(np.float32)
    if W.nnz == 0 or (W.data.min() >= limits.tiny and W.data.max() <= limits.max / W.shape[0]):
        return W.astype(np.float32)
    low, high = float(W.data.min()), float(W.data.max())
    if high / low < 1e30:
        W.data /= high
        return W.astype(np.float32)
    warnings.warn(
        f"weights from {low:.1e} to {high:.1e} do not fit float32: the graph is float64, and so are its solves",
        ManifoldWarning,
        stacklevel=3,
    )
    return W


def check_affinity(W: sparse.csr_array, *, self_loops: bool) -> None:
    if W.shape[0] != W.shape[1]:
        raise ValueError(f"affinity must be square, got shape {W.shape}")
    if W.dtype not in (np.float32, np.float64):
        raise ValueError(f"affinity must be float32 or float64, got {W.dtype}")
    W.check_format(full_check=True)
    W.sum_duplicates()
    W.eliminate_zeros()
    if not (np.isfinite(W.data).all() and (W.data > 0).all()):
        raise ValueError("affinity must be finite and non-negative")
    if not self_loops and W.diagonal().any():
        raise ValueError("affinity has a non-zero diagonal: pass self_loops=True to allow self-loops")
    if (W != W.T).nnz:
        raise ValueError("affinity is not symmetric: graph_from_affinity(W, edges=...) makes it so")
