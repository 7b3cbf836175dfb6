"""Neighbours that someone else found: FAISS ``(D, I)`` arrays, scikit-learn graphs, precomputed similarities.

In: their arrays, in their convention. Out: `Neighbors`, self removed by id, similarities higher for nearer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from manifold._checks import check_count
from manifold._resources import require_memory
from manifold._typing import AnyArray
from manifold._weights import checked_csr
from manifold.backends import get_backend
from manifold.neighbors._base import METRICS, Neighbors, sort_rows

_ROWS = 512  # rows of a dense matrix looked at together


def from_faiss(D: ArrayLike, I: ArrayLike, *, metric: str = "cosine") -> Neighbors:  # noqa: E741 -- FAISS's own names
    """Take the result of ``D, I = index.search(X, k)`` of a FAISS index over the same points X.

    Parameters
    ----------
    D : (n, k) float
        Inner products for "cosine" (unit rows) and "inner_product", *squared* distances for "euclidean": what
        FAISS returns for ``METRIC_INNER_PRODUCT`` and ``METRIC_L2``.
    I : (n, k) int
        Ids of the points, row i for point i; -1 marks a missing neighbour. Search k + 1 for k neighbours:
        self is removed by id, wherever it stands.
    metric : {"cosine", "inner_product", "euclidean"}

    Raises
    ------
    ValueError
        For shapes that differ, ids outside -1..n-1, NaN, or swapped arguments.

    Examples
    --------
    >>> D, I = np.array([[1.0, 0.8], [1.0, 0.8]]), np.array([[0, 1], [1, 0]])
    >>> from_faiss(D, I).indices.tolist()
    [[1], [0]]
    """
    values, ids = np.asarray(D), np.asarray(I)
    if ids.dtype.kind not in "iu":
        hint = " (were D and I swapped?)" if values.dtype.kind in "iu" else ""
        raise TypeError(f"I must hold integer ids, got dtype {ids.dtype}{hint}")
    if values.ndim != 2 or values.shape != ids.shape:
        raise ValueError(f"D and I must share one shape (n, k), got {values.shape} and {ids.shape}")
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {METRICS}, got {metric!r}")
    if values.dtype.kind not in "biuf":
        raise TypeError(f"D must hold real numbers, got dtype {values.dtype}")
    values = values.astype(np.float64)
    if metric == "euclidean":
        least, largest = values[ids >= 0].min(initial=0), np.abs(values[ids >= 0]).max(initial=0)
        if least < -1e-4 * largest:  # rounding may leave less than nothing, but not this much
            raise ValueError(f"D holds {least:g}, but squared distances are >= 0: pass the metric of the index")
        values = np.minimum(-values, 0.0)
    return _from_lists(ids, values, metric=metric, method="given (D, I)")


def from_sklearn(graph: sparse.csr_array, *, metric: str = "euclidean") -> Neighbors:
    """Take a scikit-learn neighbours graph in ``mode="distance"``, such as `kneighbors_graph` returns.

    Parameters
    ----------
    graph : sparse (n, n)
        Stored entries are distances, explicit zeros included; rows may differ in length.
    metric : {"euclidean", "cosine"}
        What the distances are: their similarity is -distance^2, or 1 - distance.

    Raises
    ------
    TypeError, ValueError
        For what is no square sparse matrix of distances, or a format that loses distances of 0.

    Examples
    --------
    >>> ring = sparse.csr_array(np.array([[0, 0.5, 2.0], [0.5, 0, 1.0], [2.0, 1.0, 0]]))
    >>> from_sklearn(ring).indices.tolist()
    [[1, 2], [0, 2], [1, 0]]
    """
    if metric not in ("euclidean", "cosine"):
        raise ValueError(f"metric of a distance graph must be 'euclidean' or 'cosine', got {metric!r}")
    kind, shape = getattr(graph, "format", None), np.shape(graph)
    if kind is None or len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f"graph must be a square sparse matrix of distances, got {_describe(graph)}")
    if kind not in ("csr", "csc", "coo"):
        raise ValueError(f"graph is a {kind.upper()} matrix, which loses zero distances: pass CSR")
    csr = _real_csr(graph, "graph")
    if csr.nnz and not csr.data.min() >= 0:
        raise ValueError(f"graph holds a distance of {csr.data.min()}: distances are >= 0 and not NaN")
    csr.data = -(csr.data**2) if metric == "euclidean" else 1 - csr.data
    return _from_csr(csr, metric=metric, method="given scikit-learn graph")


def from_precomputed(similarities: ArrayLike | sparse.csr_array, n_neighbors: int) -> Neighbors:
    """Take an (n, n) matrix of similarities, dense or sparse, and keep the k largest others of each row.

    Scores of spatial verification, aggregated match kernels or a cross-encoder enter here.

    Parameters
    ----------
    similarities : (n, n) float, dense or sparse
        Higher is nearer; what stands on the diagonal is not looked at. In a sparse matrix an entry that is not stored
        is no neighbour, and rows may differ in length.
    n_neighbors : int

    Raises
    ------
    TypeError, ValueError
        For what is no square matrix of finite real numbers.

    Notes
    -----
    Cost: one pass over the matrix, 512 rows of a dense one at a time.

    Examples
    --------
    >>> from_precomputed(np.array([[1.0, 0.2, 0.7], [0.2, 1.0, 0.4], [0.7, 0.4, 1.0]]), 1).indices.tolist()
    [[2], [2], [0]]
    """
    n_neighbors, shape = check_count(n_neighbors, "n_neighbors", minimum=0), np.shape(similarities)
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f"precomputed similarities must be square (n, n), got {_describe(similarities)}")
    if sparse.issparse(similarities):
        csr = _real_csr(similarities, "precomputed similarities")
        return _from_csr(csr, metric="precomputed", method="precomputed", limit=n_neighbors)
    dense = np.asarray(similarities)
    if dense.dtype.kind not in "biuf":
        raise TypeError(f"precomputed similarities must be real numbers, got dtype {dense.dtype}")
    n, k = shape[0], min(n_neighbors + 1, shape[0])
    ids, values = np.empty((n, k), dtype=np.int64), np.empty((n, k))
    for start in range(0, n, _ROWS):
        rows = dense[start : start + _ROWS].astype(np.float64)
        own = np.arange(rows.shape[0])
        rows[own, start + own] = np.inf  # self, whatever stands there, comes first and is removed by id
        others = np.isfinite(rows).sum(axis=1) == n - 1
        if not others.all():
            raise ValueError(f"precomputed similarities hold NaN or infinity, first in row {start + others.argmin()}")
        ids[start : start + _ROWS], values[start : start + _ROWS] = get_backend("scipy").top_k(rows, k)
    values[ids == np.arange(n)[:, None]] = 0
    return _from_lists(ids, values, metric="precomputed", method="precomputed").first(n_neighbors)


def _real_csr(matrix: sparse.csr_array, name: str) -> sparse.csr_array:
    """Return a canonical float64 copy; entries stored twice are added, stored zeros stay."""
    if matrix.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be real numbers, got dtype {matrix.dtype}")
    csr = checked_csr(matrix, name).astype(np.float64, copy=True)
    csr.sum_duplicates()
    return csr


def _from_csr(csr: sparse.csr_array, *, metric: str, method: str, limit: int | None = None) -> Neighbors:
    """Return the `limit` best entries of each row, so that one full row does not widen the lists of all."""
    n = csr.shape[0]
    rows = np.repeat(np.arange(n), np.diff(csr.indptr))
    order = np.lexsort((csr.indices, -csr.data, rows))
    order = order[csr.indices[order] != rows]  # a stable sort keeps each row in its place
    rows = rows[order]
    rank = np.arange(rows.size) - np.searchsorted(rows, rows)
    kept = rank < (n if limit is None else limit)
    k = int(rank[kept].max(initial=-1)) + 1
    require_memory(64 * n * k, purpose=f"{k} neighbours of each of {n} nodes", cure="cut the longest rows")
    ids, similarities = np.full((n, k), -1, dtype=np.int64), np.zeros((n, k))
    ids[rows[kept], rank[kept]] = csr.indices[order[kept]]
    similarities[rows[kept], rank[kept]] = csr.data[order[kept]]
    return _from_lists(ids, similarities, metric=metric, method=method)


def _from_lists(ids: AnyArray, values: AnyArray, *, metric: str, method: str) -> Neighbors:
    n = ids.shape[0]
    if ids.size and (ids.min() < -1 or ids.max() >= n):
        raise ValueError(f"neighbour ids must lie in -1..{n - 1} for {n} points, got {ids.min()}..{ids.max()}")
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        values = values.astype(np.float32)
    bad = np.flatnonzero(((ids >= 0) & ~np.isfinite(values)).any(axis=1))
    if bad.size:
        raise ValueError(f"neighbour row {bad[0]} (of {bad.size}) holds NaN, infinity or more than float32 does")
    indices, similarities = sort_rows(ids, np.where(ids >= 0, values, 0), drop_self=True)
    used = int((indices >= 0).sum(axis=1).max(initial=0))
    return Neighbors(indices[:, :used], similarities[:, :used], metric=metric, method=method)


def _describe(x: ArrayLike | sparse.csr_array) -> str:
    return f"{type(x).__name__} of shape {np.shape(x)}"
