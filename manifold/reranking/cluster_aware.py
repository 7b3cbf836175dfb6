"""Cluster-aware similarity (CAS): diffusion that never leaves the local cluster of a point, then profiles compared.

    C      the expanded k-reciprocal sets of `manifold.reranking.reciprocal`; (i, j) in M where either holds the other
    S      D^-1/2 W D^-1/2 of the first k1 neighbours, w = exp(-d / sigma^2), twice that where they list each other
    F      = M o (alpha/2) (F S + S F) + (1 - alpha) I,  alpha = 1 / (1 + mu), zero outside M
    P      rows of F to sum 1, averaged over the first k3 of each point
    d*     = (1 - lambda) JS(P_i, P_j) / log 2 + lambda d_ij

Over the matrices that are zero outside the clusters, F minimises the smoothness along S of its rows and columns, plus
mu times the squared distance to I; an edge that leaves a cluster pulls towards that zero. Without clusters it is the
diffusion (1 - alpha) (I - alpha S)^-1, since that commutes with S.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from scipy import sparse

from manifold._checks import check_count, check_stopping
from manifold.neighbors import Neighbors
from manifold.reranking._lists import Askers, Lists, askers, check_neighbors, check_weight, everyone
from manifold.reranking._sparse import row_means, slices, sparse_rows, unit_sums
from manifold.reranking.profiles import rank_profiles
from manifold.reranking.reciprocal import expanded_sets


def cluster_rerank(
    neighbors: Neighbors,
    ids: ArrayLike | None = None,
    similarities: ArrayLike | None = None,
    *,
    k: int = 100,
    k1: int = 6,
    k2: int = 20,
    k3: int = 6,
    mu: float = 0.23,
    sigma: float = 0.3,
    weight: float = 0.3,
    scale: ArrayLike | None = None,
    n_queries: int = 0,
    rtol: float = 1e-3,
    diffused: sparse.csr_array | None = None,
) -> Lists:
    """Rerank by cluster-aware similarity: profiles of a diffusion kept within local clusters.

    ``d* = (1 - weight) JS(P_i, P_j) / log 2 + weight d_ij``

    Reference: Luo et al. (2024), section 3.

    Parameters
    ----------
    neighbors, ids, similarities, k, scale, n_queries
        See `reciprocal_rerank`; lists are max(k1, k2) wide at least.
    k1, k2, k3 : int
        Neighbours in the graph, neighbours that may be reciprocal and so make a cluster, profiles averaged.
    mu, sigma, rtol
        See `cluster_similarities`.
    weight : float in [0, 1]
        lambda, that of the original distance.
    diffused : csr_array, optional
        What `cluster_similarities` returned for the same neighbours and settings, kept from an earlier call.

    Returns
    -------
    ids, scores : (q, k) int64, float64
        As `reciprocal_rerank`.

    Notes
    -----
    A query outside the collection takes one step into the diffused similarities of its first k1, within its own
    cluster. The smoothing is the plain mean over neighbours; the paper's further reweighting of it, and the shortest
    paths of its released code, are not part of this. Cost: that of `cluster_similarities`, then n s^2 as for
    `reciprocal_rerank`.

    Examples
    --------
    >>> from manifold.neighbors import find_neighbors
    >>> X = [[1.0, 0.0], [0.9, 0.1], [0.8, 0.3], [0.0, 1.0], [0.1, 0.9]]
    >>> cluster_rerank(find_neighbors(X, 3), k1=2, k2=2, k3=1, k=1)[0].ravel().tolist()
    [1, 0, 1, 4, 3]
    """
    check_neighbors(neighbors, {"k1": k1, "k2": k2})
    asking = askers(neighbors, ids, similarities, n_queries=n_queries, scale=scale)
    k, k3, weight = check_count(k, "k"), check_count(k3, "k3"), check_weight(weight)
    if diffused is None:
        diffused = cluster_similarities(neighbors, k1=k1, k2=k2, mu=mu, sigma=sigma, scale=scale, rtol=rtol)
    F = unit_sums(diffused)
    G = row_means(everyone(neighbors).members(k3 - 1, with_own=True), F)
    if asking.own is not None:
        return rank_profiles(G[asking.own], G, asking, measure="jensen_shannon", weight=weight, k=k)
    clusters = expanded_sets(neighbors, k2, asking)
    own = unit_sums(sparse.csr_array(clusters.multiply(unit_sums(_gaussian(asking, k1, sigma)) @ diffused)))
    others = asking.members(k3 - 1, with_own=False)
    members = sparse.hstack([sparse.eye_array(asking.n), others], format="csr")
    P = row_means(members, sparse.vstack([own, F], format="csr"))
    return rank_profiles(P, G, asking, measure="jensen_shannon", weight=weight, k=k)


def cluster_similarities(
    neighbors: Neighbors,
    *,
    k1: int = 6,
    k2: int = 20,
    mu: float = 0.23,
    sigma: float = 0.3,
    scale: ArrayLike | None = None,
    rtol: float = 1e-3,
    dtype: DTypeLike = np.float32,
) -> sparse.csr_array:
    """Return F (n, n), the bidirectional diffusion of the points within their local clusters, as sparse rows.

    ``F = M o (alpha/2) (F S + S F) + (1 - alpha) I`` with ``alpha = 1 / (1 + mu)``, see the head of this file.

    Reference: Luo et al. (2024), section 3.

    Parameters
    ----------
    neighbors, scale
        See `reciprocal_rerank`.
    k1 : int
        Neighbours of a point in the graph.
    k2 : int
        Neighbours that may be reciprocal, and so make the cluster of a point.
    mu : float
        > 0; smaller diffuses further.
    sigma : float
        > 0, in the square root of the distances' unit.
    rtol : float
        Of the distance of the first iterate, I, to the answer, in the Frobenius norm. Masking and S shrink it, so that
        an iteration reduces it by alpha and ceil(log rtol / log alpha) of them are enough: 34 for 1e-3.
    dtype : float32 or float64

    Returns
    -------
    csr_array (n, n)
        Symmetric, non-negative.

    Raises
    ------
    ValueError
        For a mu or sigma that is not positive, or lists narrower than k1 or k2.

    Notes
    -----
    Cost: about 2 k1 entries of F an entry and iteration; memory about six times F, with the size of a cluster in a row.

    Examples
    --------
    >>> from manifold.neighbors import find_neighbors
    >>> X = [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]]
    >>> F = cluster_similarities(find_neighbors(X, 1), k1=1, k2=1, mu=1.0)
    >>> F.toarray()[0].astype(float).round(3).tolist()
    [0.667, 0.333, 0.0, 0.0]
    """
    check_stopping(rtol)
    for name, value in (("mu", mu), ("sigma", sigma)):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a positive number, got {value!r}")
    k1, k2 = check_count(k1, "k1"), check_count(k2, "k2")
    check_neighbors(neighbors, {"k1": k1, "k2": k2})
    points = everyone(neighbors, scale=scale)
    clusters = expanded_sets(neighbors, k2)
    M = clusters + clusters.T.tocsr()
    M.data[:] = 1
    S, alpha = _normalized(_gaussian(points, k1, sigma)).astype(dtype), 1 / (1 + mu)
    M, unit = M.astype(dtype), sparse.eye_array(points.n, dtype=dtype, format="csr")
    F, source = unit, (1 - alpha) * unit
    for _ in range(int(np.ceil(np.log(rtol) / np.log(alpha)))):
        step = sparse.vstack([M[rows].multiply(S[rows] @ F) for rows in slices(points.n)], format="csr")
        both = sparse.csr_array(step + step.T.tocsr())
        both.data *= alpha / 2
        F = sparse.csr_array(both + source)
    return F


def _gaussian(asking: Askers, k1: int, sigma: float) -> sparse.csr_array:
    """Return the weights exp(-d / sigma^2) (r, n) of the first k1 listed."""
    near = asking.first(k1)
    return sparse_rows(near.ids, np.exp(-near.distances / sigma**2), asking.n_points)


def _normalized(weights: sparse.csr_array) -> sparse.csr_array:
    """Return S of the symmetric part of the weights, those of mutual neighbours counted twice."""
    mutual = weights.minimum(weights.T.tocsr())
    mutual.data[:] = 1
    W = weights + weights.multiply(mutual)
    W = sparse.csr_array((W + W.T.tocsr()) / 2)
    degrees = W.sum(axis=1)
    inverse = sparse.diags_array(1 / np.sqrt(np.where(degrees > 0, degrees, 1)))
    return sparse.csr_array(inverse @ W @ inverse)
