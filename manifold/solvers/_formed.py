"""S = D^-1/2 W D^-1/2, in an order of the nodes in which neighbours are near each other in memory.

In: W and its degrees, an order. Out: matrices on the host, formed in float64 so that weights of any range are safe.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from manifold._typing import AnyArray, DType, Floats

_OCTAVES = 1000  # of degrees on either side of 1, within which products of their roots are safe


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


def normalized(
    W: sparse.csr_array, degrees: Floats, dtype: DType, *, of_rows: Floats | None = None
) -> sparse.csr_array:
    """Return W with each entry over the roots of the degrees of its row and its column; `of_rows` of some rows alone.

    >>> normalized(sparse.csr_array([[0.0, 2.0]]), np.array([4.0, 2.0]), np.dtype("float32"), of_rows=np.ones(1)).data
    array([1.4142135], dtype=float32)
    """
    inverse = _inverse_roots(degrees)
    inverse_rows = inverse if of_rows is None else _inverse_roots(of_rows)
    with np.errstate(under="ignore"):
        if is_plain(degrees):
            factors = inverse[W.indices]
            factors *= np.repeat(inverse_rows, np.diff(W.indptr))
            factors *= W.data
        else:  # the product of two inverses may leave the range of float64: mantissas and exponents each by themselves
            mantissa, exponent = np.frexp(inverse)
            mantissa_rows, exponent_rows = np.frexp(inverse_rows)
            rows = np.repeat(np.arange(W.shape[0]), np.diff(W.indptr))
            weights, octaves = np.frexp(W.data.astype(np.float64, copy=False))
            factors = mantissa[W.indices] * mantissa_rows[rows] * weights
            factors = np.ldexp(factors, octaves + exponent[W.indices] + exponent_rows[rows])
    return sparse.csr_array((factors.astype(dtype, copy=False), W.indices, W.indptr), shape=W.shape)


def is_plain(degrees: Floats) -> bool:
    """Return whether products of the roots of degrees are safe in float64, and so are those of their inverses.

    >>> is_plain(np.array([0.0, 1e-9, 1e9])), is_plain(np.array([1e-305, 1.0]))
    (True, False)
    """
    ends = degrees.min(where=degrees > 0, initial=1.0), degrees.max(initial=1.0)
    return bool(np.abs(np.frexp(ends)[1]).max() < _OCTAVES)


def _inverse_roots(degrees: Floats) -> Floats:
    roots: Floats = np.zeros(degrees.size)
    return np.divide(1, np.sqrt(degrees), out=roots, where=degrees > 0)
