"""Neighbours that someone else found: FAISS ``(D, I)`` arrays, scikit-learn graphs, precomputed similarities.

In: their arrays, in their convention. Out: `Neighbors`, self removed by id, similarities higher for nearer.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from manifold._arrays import as_array, as_integers, as_numbers, as_table
from manifold._checks import check_count
from manifold._resources import require_memory
from manifold._typing import AnyArray, Floats
from manifold._weights import checked_csr
from manifold.backends import get_backend
from manifold.neighbors._base import METRICS, Neighbors, sort_rows

_BEYOND = 1e-3  # what rounding may add to a cosine, or take from a distance of 0
_ROUNDING = 1e-6  # of the largest value: what is no step from one neighbour to the next
_ROWS = 512  # rows of a dense matrix looked at together


def from_faiss(D: object, I: object, *, metric: str = "cosine") -> Neighbors:  # noqa: E741 -- FAISS's own names
    """Take the result of ``D, I = index.search(X, k)`` of a FAISS index over the same points X.

    Reference: Johnson et al. (2021); guide *stores*, "Lists that the store found".

    Parameters
    ----------
    D : (n, k) float
        Inner products for "cosine" (unit rows) and "inner_product", *squared* distances for "euclidean": what
        FAISS returns for ``METRIC_INNER_PRODUCT`` and ``METRIC_L2``, the best first.
    I : (n, k) int
        Ids of the points, row i for point i; -1 marks a missing neighbour. Search k + 1 for k neighbours:
        self is removed by id, wherever it stands.
    metric : {"cosine", "inner_product", "euclidean"}

    Raises
    ------
    TypeError, ValueError
        For shapes that differ, ids outside -1..n-1, NaN, swapped arguments, and what FAISS does not return: rows that
        are not best first, cosines beyond 1, negative distances.

    Examples
    --------
    >>> D, I = np.array([[1.0, 0.8], [1.0, 0.8]]), np.array([[0, 1], [1, 0]])
    >>> from_faiss(D, I).indices.tolist()
    [[1], [0]]
    """
    values, ids = _pair(D, I, "D", metric)
    listed = ids >= 0
    found = values[listed]
    least, largest = found.min(initial=0), np.abs(found).max(initial=0)
    if metric == "cosine" and largest > 1 + _BEYOND:
        raise ValueError(
            f"D must hold cosines, in [-1, 1], got up to {largest:.4g}: pass metric='inner_product' where rows are not "
            "of unit length, or distances by name, distances=D"
        )
    if metric == "euclidean" and least < -1e-4 * largest:  # rounding may leave less than nothing, but not this much
        raise ValueError(f"D holds {least:g}, but squared distances are >= 0: pass the metric of the index")
    similarities = np.minimum(-values, 0.0) if metric == "euclidean" else values
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused with its row
        rise = np.where(listed[:, 1:] & listed[:, :-1], np.diff(similarities, axis=1), 0)
        rising = np.flatnonzero((rise > _ROUNDING * largest).any(axis=1))
    if rising.size:
        raise ValueError(
            f"D must be best first, as FAISS lists neighbours by metric={metric!r}, but {rising.size} rows are not, "
            f"first row {rising[0]}: pass the metric of the index, or distances by name, distances=D"
        )
    return _from_lists(ids, similarities, metric=metric, method="given (D, I)")


def from_distances(distances: object, I: object, *, metric: str) -> Neighbors:  # noqa: E741 -- FAISS's own name
    """Take plain distances, such as ``distances, I = kneighbors(X)`` of scikit-learn: lower is nearer, in any order.

        cosine  s = 1 - d      euclidean  s = -d^2

    Reference: guide *stores*, "Lists that the store found".

    Parameters
    ----------
    distances : (n, k) float
    I : (n, k) int
        As for `from_faiss`.
    metric : {"cosine", "euclidean"}
        What the distances are; inner products have none.

    Raises
    ------
    TypeError, ValueError
        As `from_faiss`; for negative distances, and those of cosines beyond 2.

    Examples
    --------
    >>> from_distances([[0.0, 0.5], [0.0, 0.5]], [[0, 1], [1, 0]], metric="euclidean").similarities.tolist()
    [[-0.25], [-0.25]]
    """
    if metric not in ("cosine", "euclidean"):
        raise ValueError(f"metric of distances must be 'cosine' or 'euclidean', got {metric!r}: of others pass D")
    values, ids = _pair(distances, I, "distances", metric)
    found = values[ids >= 0]
    least, most = found.min(initial=0), found.max(initial=0)
    if least < -_BEYOND or (metric == "cosine" and most > 2 + _BEYOND):
        allowed = "at least 0" if metric == "euclidean" else "in [0, 2], as 1 - cosine"
        raise ValueError(f"distances must be {allowed}, got {least:.4g}..{most:.4g}: pass D, if they are similarities")
    if metric == "euclidean":
        _check_squares(most, "distances")
    with np.errstate(under="ignore"):  # of small ones beside large
        similarities = 1 - values if metric == "cosine" else -(values**2)
    return _from_lists(ids, similarities, metric=metric, method="given (distances, I)")


def _check_squares(most: float, name: str) -> None:
    """Raise ValueError where squares of distances up to `most` are all lost to float32, or beyond it."""
    least, largest = 1e-12, 1e19
    if most and not least <= most <= largest:
        raise ValueError(f"{name} holds distances up to {most:.1e}, whose squares leave float32: rescale them")


def _pair(values: object, ids: object, name: str, metric: str) -> tuple[Floats, AnyArray]:
    """Return what stands beside ids, and these, once they are known to be numbers and integers of one shape."""
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {METRICS}, got {metric!r}")
    given, rows = as_array(values, name), as_array(ids, "I")
    if rows.dtype.kind == "f" and given.dtype.kind in "iu":
        raise TypeError(f"I must hold integer ids, got dtype {rows.dtype} (were {name} and I swapped?)")
    numbers, rows = as_numbers(given, name), as_integers(rows, "I")
    if numbers.ndim != 2 or numbers.shape != rows.shape:
        raise ValueError(f"{name} and I must share one shape (n, k), got {numbers.shape} and {rows.shape}")
    return numbers, rows


def from_sklearn(graph: sparse.csr_array, *, metric: str = "euclidean") -> Neighbors:
    """Take a scikit-learn neighbours graph in ``mode="distance"``, such as `kneighbors_graph` returns.

    Reference: Buitinck et al. (2013); guide *stores*, "Lists that the store found".

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
    if metric == "euclidean":
        _check_squares(csr.data.max(initial=0), "graph")
    csr.data = -(csr.data**2) if metric == "euclidean" else 1 - csr.data
    return _from_csr(csr, metric=metric, method="given scikit-learn graph")


def from_precomputed(similarities: object, n_neighbors: int, *, name: str = "similarities") -> Neighbors:
    """Take an (n, n) matrix of similarities, dense or sparse, and keep the k largest others of each row.

    Scores of spatial verification, aggregated match kernels or a cross-encoder enter here.

    Reference: guide *stores*, "Lists that the store found".

    Parameters
    ----------
    similarities : (n, n) float, dense or sparse
        Higher is nearer; what stands on the diagonal is not looked at. In a sparse matrix an entry that is not stored
        is no neighbour, and rows may differ in length.
    n_neighbors : int
    name : str
        What the caller's argument is called, for its errors.

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
    n_neighbors = check_count(n_neighbors, "n_neighbors", minimum=0)
    matrix: sparse.csr_array | AnyArray = similarities
    if not sparse.issparse(similarities):
        matrix = as_table(similarities, name).values
    shape = matrix.shape
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f"{name} must be square (n, n), as similarities are, got shape {shape}")
    if sparse.issparse(matrix):
        return _from_csr(_real_csr(matrix, name), metric="precomputed", method="precomputed", limit=n_neighbors)
    n, k = shape[0], min(n_neighbors + 1, shape[0])
    ids, values = np.empty((n, k), dtype=np.int64), np.empty((n, k))
    for start in range(0, n, _ROWS):
        rows = matrix[start : start + _ROWS].astype(np.float64)
        own = np.arange(rows.shape[0])
        rows[own, start + own] = np.inf  # self, whatever stands there, comes first and is removed by id
        others = np.isfinite(rows).sum(axis=1) == n - 1
        if not others.all():
            raise ValueError(f"{name} holds NaN or infinity, first in row {start + others.argmin()}")
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


def _describe(x: sparse.csr_array) -> str:
    return f"{type(x).__name__} of shape {np.shape(x)}"
