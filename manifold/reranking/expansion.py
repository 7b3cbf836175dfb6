"""Expansion: a query, or every point, is replaced by a mean over its nearest points.

    AQE       q' = q + sum_i x_i                       over the n nearest x_i of q     (Chum et al., ICCV 2007)
    alphaQE   q' = q + sum_i max(q.x_i, 0)^alpha x_i                      (Radenović et al., TPAMI 2019, section 3)
    DBA       x_j' = x_j + sum_i max(x_j.x_i, 0)^alpha x_i        (Arandjelović and Zisserman, CVPR 2012, section 4)

all of unit rows, and of unit length again. On a graph DBA is one step of feature smoothing, X' ~ (I + A) X with the
directed weights A of the neighbours, and AQE one step of propagation of the seeds, the filter
`manifold.Polynomial((1, 1))`; diffusion takes all steps.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from manifold._checks import check_count
from manifold._typing import AnyArray
from manifold.backends import get_backend
from manifold.neighbors import Neighbors, PointSet, exact_search, point_set
from manifold.reranking._lists import check_lists

Vectors: TypeAlias = NDArray[np.float32]


def expand_queries(
    Q: ArrayLike,
    X: ArrayLike,
    *,
    n_expand: int = 10,
    alpha: float = 3.0,
    ids: ArrayLike | None = None,
    similarities: ArrayLike | None = None,
) -> Vectors:
    """Replace queries by weighted means over their nearest points: alphaQE, and AQE with ``alpha=0``.

    ``q' = q + sum_i max(s_i, 0)^alpha x_i`` over the n nearest points, then to unit length.

    Reference: Radenović et al. (2019), section 3, for alphaQE; Chum et al. (2007), for AQE.

    Parameters
    ----------
    Q : (q, d) or (d,) array-like
        Queries; they and the points are taken at unit length.
    X : (n, d) array-like
        The collection.
    n_expand : int
        Points that join a query: 3 to 10 for small classes; the authors use 50 on landmarks. 0 gives the query back.
    alpha : float
        >= 0; 0 is AQE, which trusts all n alike. A similarity that is not positive weighs 0 for any alpha.
    ids, similarities : (q, m), optional
        Cosine neighbours that another search found, best first, -1 pads; by default an exact search finds them.

    Returns
    -------
    (q, d) or (d,) float32
        Unit rows; a zero row that nothing joins stays zero.

    Raises
    ------
    TypeError, ValueError
        For arrays that are no finite features of one width, lists that do not fit, or a negative alpha.

    Notes
    -----
    Cost: the search, 2 q n d operations, then 2 q n_expand d.

    Examples
    --------
    >>> expand_queries([1.0, 0.0], [[0.6, 0.8], [0.0, 1.0]], n_expand=1, alpha=0).astype(float).round(4).tolist()
    [0.8944, 0.4472]
    """
    points = point_set(X, "cosine")
    queries, single = points.asked(Q)
    n_expand, alpha = check_count(n_expand, "n_expand", minimum=0), _check_alpha(alpha)
    near: AnyArray
    close: AnyArray
    if (ids is None) != (similarities is None):
        raise ValueError("ids and similarities go together: give both, or neither")
    if ids is None or similarities is None:
        k = max(1, min(n_expand, points.X.shape[0]))
        near, close = exact_search(queries, points, k=k, backend=get_backend("scipy"))
    else:
        near, close = check_lists(ids, similarities, points.X.shape[0])
    if near.shape[0] != len(queries.X):
        raise ValueError(f"ids hold {near.shape[0]} lists for {len(queries.X)} queries: give one a query")
    expanded = _joined(queries, points, near[:, :n_expand], close[:, :n_expand], alpha=alpha)
    return expanded[0] if single else expanded


def augment_database(X: ArrayLike, neighbors: Neighbors, *, alpha: float = 0.0, include_self: bool = True) -> Vectors:
    """Replace every point by a weighted mean over its neighbours: database-side augmentation (DBA).

    ``x_j' = [include_self] x_j + sum_i max(s_ji, 0)^alpha x_i`` over the listed neighbours, then to unit length.

    Reference: Arandjelović and Zisserman (2012), section 4.

    Parameters
    ----------
    X : (n, d) array-like
        The collection, taken at unit length.
    neighbors : Neighbors
        Its cosine neighbours; ``neighbors.first(n)`` to augment with fewer.
    alpha : float
        >= 0; 0 weighs all neighbours alike, as published.
    include_self : bool
        Whether the point keeps its own vector, with weight 1; `Neighbors` never list it.

    Returns
    -------
    (n, d) float32
        Unit rows. Search them with queries as they are, or with queries expanded over them.

    Raises
    ------
    ValueError
        For neighbours of another metric or number of points, or a negative alpha.

    Notes
    -----
    Cost: 2 n k d operations, n d floats.

    Examples
    --------
    >>> from manifold.neighbors import find_neighbors
    >>> X = [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]
    >>> augment_database(X, find_neighbors(X, 1))[0].astype(float).round(4).tolist()
    [0.9487, 0.3162]
    """
    points = point_set(X, "cosine")
    if neighbors.metric != "cosine":
        raise ValueError(f"neighbors must be of metric 'cosine', got {neighbors.metric!r}")
    if neighbors.n_nodes != points.X.shape[0]:
        raise ValueError(f"neighbors are of {neighbors.n_nodes} points but X has {points.X.shape[0]} rows")
    return _joined(
        points if include_self else None, points, neighbors.indices, neighbors.similarities, alpha=_check_alpha(alpha)
    )


def _joined(own: PointSet | None, points: PointSet, ids: AnyArray, similarities: AnyArray, *, alpha: float) -> Vectors:
    """Return the unit rows of own + A X, with A the weights (r, n) of the listed points, some rows at a time."""
    weights = np.where(similarities > 0, np.maximum(similarities, 0).astype(np.float64) ** alpha, 0.0)
    out = np.empty((ids.shape[0] if own is None else own.X.shape[0], points.X.shape[1]), dtype=np.float32)
    unit = points.rows(slice(None))
    for part in points.parts(out.shape[0]):
        some, kept = ids[part], (ids[part] >= 0) & (weights[part] > 0)
        indptr = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
        A = sparse.csr_array(
            (weights[part][kept].astype(np.float32), some[kept], indptr), shape=(kept.shape[0], unit.shape[0])
        )
        total = A @ unit if kept.size else np.float32(0)
        out[part] = total if own is None else total + own.rows(part)
    return PointSet(out, "cosine").rows(slice(None))


def _check_alpha(alpha: float) -> float:
    if not (isinstance(alpha, int | float | np.number) and np.isfinite(alpha) and alpha >= 0):
        raise ValueError(f"alpha must be a number >= 0, got {alpha!r}: 3 for alphaQE, 0 for AQE")
    return float(alpha)
