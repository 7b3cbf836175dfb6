"""Weights from outside: made canonical, checked before they could crash a product, fitted to a precision.

In: any matrix a user calls an affinity. Out: CSR with sorted, unique, in-range indices and finite values.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike
from scipy import sparse

from manifold._arrays import as_array
from manifold._typing import Floats
from manifold.errors import warn

MOST_SMALL = int(np.iinfo(np.int32).max)
_ROUNDING = {np.float16: 4e-3, np.float32: 1e-6}  # relative; a few ulps of what W was computed in


def canonical_csr(W: object) -> tuple[sparse.csr_array, np.dtype[np.generic]]:
    """Return a canonical float64 copy of W, once its indices have been checked, and the dtype it came in.

    Entries stored twice are added. Cost: 12 bytes an entry, beside what W takes.

    Raises TypeError for masked entries and what holds no real numbers; ValueError for a shape that is not square,
    malformed indices, NaN and infinity.

    >>> twice = sparse.coo_array((np.array([200, 100], dtype=np.uint8), ([0, 0], [1, 1])), shape=(2, 2))
    >>> canonical_csr(twice)[0].toarray().tolist()
    [[0.0, 300.0], [0.0, 0.0]]
    """
    matrix: sparse.sparray = W if sparse.issparse(W) else as_array(W, "W")
    dtype = matrix.dtype
    if dtype.kind not in "biuf":
        raise TypeError(f"W must hold real numbers, got dtype {dtype}")
    if not dtype.isnative:  # which SciPy does not take
        matrix, dtype = matrix.astype(dtype.newbyteorder("=")), dtype.newbyteorder("=")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"W must be square (n, n), got shape {matrix.shape}")
    if dtype == np.float16:  # which SciPy has not
        matrix = matrix.astype(np.float32)
    csr = checked_csr(matrix, "W", dtype=np.float64).astype(np.float64, copy=True)
    csr.sum_duplicates()
    if not np.isfinite(csr.data).all():
        raise ValueError(f"W holds NaN or infinity in {np.count_nonzero(~np.isfinite(csr.data))} entries")
    return csr, dtype


def checked_csr(matrix: sparse.sparray, name: str, *, dtype: DTypeLike | None = None) -> sparse.csr_array:
    """Return a matrix as CSR, sharing what arrays it can, after a look at every index.

    The look comes first: a conversion, like a product, follows an index out of range out of its arrays. So does the
    dtype, if one is given: a conversion adds entries that are stored twice, and small integers would wrap around.

    >>> checked_csr(sparse.csc_array([[0, 7], [0, 0]]), "W").indices.tolist()
    [1]
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
    return sparse.csr_array(matrix if dtype is None or kind is None else matrix.astype(dtype, copy=False))


def check_indices(matrix: sparse.csr_array) -> None:
    """Raise ValueError for indices out of range, or rows out of order: of what seems empty, SciPy looks at neither.

    >>> check_indices(sparse.csr_array([[0, 1], [1, 0]]))
    """
    if matrix.indptr[0] != 0 or (matrix.indptr[1:] < matrix.indptr[:-1]).any():
        raise ValueError("indptr must begin with 0 and never fall")
    matrix.check_format(full_check=True)


def index_dtype(*numbers: int) -> type[np.int32] | type[np.int64]:
    """Return the dtype of indices of a matrix of so many rows, columns and entries: int32 while it holds them.

    >>> index_dtype(10, 2**31)
    <class 'numpy.int64'>
    """
    return np.int32 if max(numbers) <= MOST_SMALL else np.int64


def small_indices(W: sparse.csr_array) -> sparse.csr_array:
    """Return W with int32 indices where they fit: 8 bytes an entry of float32, and what other libraries take.

    >>> small_indices(sparse.csr_array([[0, 1], [1, 0]])).indices.dtype
    dtype('int32')
    """
    if W.indices.dtype == np.int32 or index_dtype(*W.shape, W.nnz) != np.int32:
        return W
    return sparse.csr_array((W.data, W.indices.astype(np.int32), W.indptr.astype(np.int32)), shape=W.shape)


def fit_precision(W: sparse.csr_array) -> sparse.csr_array:
    """Return W in float32 where that holds its range, scaled if need be: S is blind to a constant factor.

    >>> fit_precision(sparse.csr_array([[0, 1e60], [1e60, 0]])).data.tolist()
    [1.0, 1.0]
    """
    limits = np.finfo(np.float32)
    if W.nnz == 0 or (W.data.min() >= limits.tiny and W.data.max() <= limits.max / W.shape[0]):
        return W.astype(np.float32)
    low, high = float(W.data.min()), float(W.data.max())
    if high / low < 1e30:
        W.data /= high
        return W.astype(np.float32)
    warn(f"weights from {low:.1e} to {high:.1e} do not fit float32: the graph and its solves are float64")
    return W


def without_rounding(W: sparse.csr_array, dtype: np.dtype[np.generic]) -> tuple[sparse.csr_array, int]:
    """Return canonical W >= 0 made symmetric to the bit, and how many of its entries were averaged with their opposite.

    Raises ValueError where they differ by more than the rounding of `dtype`, in which W was computed.

    >>> nearly = sparse.csr_array([[0, 0.3], [0.1 + 0.2, 0]])
    >>> without_rounding(nearly, nearly.dtype)[1]
    2
    """
    other = W.T.tocsr()
    difference = abs(W - other)
    if not difference.nnz:
        return W, 0
    kind = dtype.type if dtype.kind == "f" else None
    rtol = _ROUNDING.get(kind, 1e-12) if kind else 0.0  # integers are not rounded
    with np.errstate(under="ignore"):
        excess = sparse.coo_array(difference - rtol * W.maximum(other))
        if (excess.data > 0).any():
            i, j = (int(x[excess.data > 0][0]) for x in excess.coords)
            digits = 9 if kind in _ROUNDING else 17  # enough to tell any two numbers apart
            raise ValueError(
                f"W is not symmetric: W[{i}, {j}] = {W[i, j]:.{digits}g}, W[{j}, {i}] = {W[j, i]:.{digits}g}: "
                "choose a rule with edges='mutual', 'union' or 'sum'"
            )
        return sparse.csr_array(0.5 * W + 0.5 * other), int(difference.nnz)


def row_sums(W: sparse.csr_array) -> Floats:
    """Return the degrees (n,), added in float64; raise ValueError where that does not hold them.

    >>> row_sums(sparse.csr_array([[0, 1, 2], [1, 0, 0], [2, 0, 0]])).tolist()
    [3.0, 1.0, 2.0]
    """
    degrees: Floats = W.astype(np.float64, copy=False) @ np.ones(W.shape[1])  # W.sum would add in float32
    if not np.isfinite(degrees).all():
        raise ValueError(f"affinity has degrees beyond float64 (weights up to {W.data.max():.1e}): rescale it")
    return degrees


def make_canonical(W: sparse.csr_array) -> None:
    """Sort, add and drop entries of W in place, once they are known to be harmless.

    >>> W = sparse.csr_array(([1.0, 2.0, 0.0], [1, 1, 0], [0, 2, 3]), shape=(2, 2))
    >>> make_canonical(W)
    >>> W.data.tolist()
    [3.0]
    """
    check_indices(W)
    W.sum_duplicates()
    W.eliminate_zeros()


def check_affinity(W: sparse.csr_array, *, self_loops: bool) -> None:
    """Raise ValueError where W, of valid indices, is not what a `Graph` promises; W is left as it is.

    Cost: a transpose, 12 bytes an entry.

    >>> check_affinity(sparse.csr_array([[0.0, 1.0], [1.0, 0.0]]), self_loops=False)
    """
    if W.shape[0] != W.shape[1]:
        raise ValueError(f"affinity must be square, got shape {W.shape}")
    if W.dtype not in (np.float32, np.float64):
        raise ValueError(f"affinity must be float32 or float64, got {W.dtype}")
    if not W.has_canonical_format:
        raise ValueError("affinity has indices out of order, or stored twice")
    if not (np.isfinite(W.data).all() and (W.data > 0).all()):
        raise ValueError("affinity must be finite and non-negative")
    if not self_loops and W.diagonal().any():
        raise ValueError("affinity has a non-zero diagonal: pass self_loops=True to allow self-loops")
    other = W.T.tocsr()  # canonical too, so that its arrays are those of W, or W is not symmetric
    if not all(np.array_equal(getattr(W, name), getattr(other, name)) for name in ("indptr", "indices", "data")):
        raise ValueError("affinity is not symmetric: graph_from_affinity(W, edges=...) makes it so")
