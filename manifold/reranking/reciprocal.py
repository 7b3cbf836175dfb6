"""Re-ranking by k-reciprocal neighbours, on sparse rows.

In: the `Neighbors` of a collection, and the lists of whoever asks. Out: better lists.

    R(i)  = {j : i and j list each other among their first k1}
    R*(i) = R(i), and all of R_half(j) for each j in R(i) that has more than 2/3 of R_half(j) in R(i)
    V_ij  = exp(-d_ij) on R*(i), to sum 1, then averaged over the first k2 of i
    d*    = (1 - lambda) (1 - sum min(V_i, V_j) / sum max(V_i, V_j)) + lambda d_ij
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from scipy import sparse

from manifold._checks import check_count
from manifold._resources import require_memory
from manifold._typing import Floats
from manifold.neighbors import Neighbors
from manifold.reranking._lists import Askers, Lists, askers, check_neighbors, check_weight, everyone
from manifold.reranking._sparse import row_means, slices, sparse_rows, unit_sums
from manifold.reranking.profiles import rank_profiles

VARIANTS = ("python", "matlab", "paper")


def reciprocal_rerank(
    neighbors: Neighbors,
    ids: ArrayLike | None = None,
    similarities: ArrayLike | None = None,
    *,
    k: int = 100,
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
    variant: str = "python",
    scale: ArrayLike | None = None,
    n_queries: int = 0,
    profiles: sparse.csr_array | None = None,
) -> Lists:
    """Rerank by the overlap of k-reciprocal neighbourhoods, without a matrix of all pairs.

    ``d* = (1 - weight) (1 - Jaccard(V_i, V_j)) + weight d_ij``

    Reference: Zhong et al. (2017), eqs. 3-12.

    Parameters
    ----------
    neighbors : Neighbors
        Of the collection, k1 wide at least; the wider, the more of the distances inside an expanded set are known
        (one that is not listed counts as far as the last that is).
    ids, similarities : (q, m), optional
        Lists of queries outside the collection, best first, of the same metric; -1 pads. They see the collection and
        it does not see them, so that an answer does not depend on who else asks. By default the points of `neighbors`
        ask.
    k : int
        Answers to return; all n where k is larger.
    k1, k2 : int
        Neighbours that may be reciprocal, and profiles averaged; 20 and 6, or 7 and 3 where an item has few relatives.
    weight : float in [0, 1]
        lambda, that of the original distance; 1 gives the original ranking.
    variant : {"python", "matlab", "paper"}
        See `reciprocal_profiles`.
    scale : float or (n,), optional
        What distances are divided by before use. A distance is 1 - s for cosine, |x - z|^2 for euclidean, and the
        largest similarity less s for other metrics; by default the first is left as it is and the others are divided by
        the largest one listed. The published code divides each row of squared distances by its largest, to any point.
    n_queries : int
        The published protocol: the last so many rows of `neighbors` are queries, found together with the collection,
        so that they stand in its lists and in each other's. They alone ask, and none of them is an answer. Queries that
        are unlike the collection, icons among photographs, say, then have each other for neighbours: better give lists.
    profiles : csr_array, optional
        What `reciprocal_profiles` returned for the same neighbours and settings, kept from an earlier call.

    Returns
    -------
    ids, scores : (q, k) int64, float64
        Best first, candidates being all that are listed or share a reciprocal neighbour; -1 and 0 pad. The score is d*
        of the last item listed, had it no neighbour in common, less d*.

    Raises
    ------
    ValueError, TypeError
        For lists that are not sorted or do not fit, and settings out of range.

    Notes
    -----
    Cost: about n s^2 for all n points, with s entries in a profile (two to five times k1); memory n s for the profiles,
    twice, and some hundred MiB. Queries outside the collection cost one pass over it a call, and s^2 each, once
    `profiles` are kept.

    Examples
    --------
    >>> from manifold.neighbors import find_neighbors
    >>> X = [[1.0, 0.0], [0.9, 0.1], [0.8, 0.3], [0.0, 1.0], [0.1, 0.9]]
    >>> reciprocal_rerank(find_neighbors(X, 3), k1=2, k2=1, k=1)[0].ravel().tolist()
    [1, 0, 1, 4, 3]
    """
    check_neighbors(neighbors, {})
    asking = askers(neighbors, ids, similarities, n_queries=n_queries, scale=scale)
    k, weight = check_count(k, "k"), check_weight(weight)
    encoded = partial(reciprocal_profiles, neighbors, k1=k1, k2=k2, variant=variant, scale=scale)
    G = encoded() if profiles is None else profiles
    if G.shape != (neighbors.n_nodes, neighbors.n_nodes):
        raise ValueError(f"profiles are {G.shape}, not those of {neighbors.n_nodes} neighbours")
    P = encoded(ids=ids, similarities=similarities) if asking.own is None else G[asking.own]
    return rank_profiles(P, G, asking, measure="jaccard", weight=weight, k=k)


def reciprocal_profiles(
    neighbors: Neighbors,
    ids: ArrayLike | None = None,
    similarities: ArrayLike | None = None,
    *,
    k1: int = 20,
    k2: int = 6,
    variant: str = "python",
    scale: ArrayLike | None = None,
    dtype: DTypeLike = np.float32,
) -> sparse.csr_array:
    """Return the k-reciprocal encoding V of the points, or of queries outside the collection, as sparse rows.

    Reference: Zhong et al. (2017), eqs. 3-11.

    Parameters
    ----------
    neighbors, ids, similarities, k1, k2, scale
        See `reciprocal_rerank`.
    variant : {"python", "matlab", "paper"}
        The published code counts self into lists of k1 + 1; expands with the first round(k1/2) others, a half rounded
        to even ("python"), or round((k1 + 1)/2) - 1, a half rounded up ("matlab"), which is 4 and 3 for k1 = 7 and the
        same for 20; asks for *more* than 2/3; scales rows to sum 1; averages over self and k2 - 1 others. The paper
        leaves self out, expands with k1/2, asks for *at least* 2/3, does not scale, averages over k2 others. (The
        published half-precision storage, which only makes ties, is not offered.)
    dtype : float32 or float64
        Of the weights.

    Returns
    -------
    csr_array (n, n), or (q, n)
        ``V_ij = exp(-d_ij)`` where j lies in R*(i), scaled and averaged as above.

    Raises
    ------
    ValueError, TypeError
        For lists that are not sorted or do not fit, and settings out of range.
    MemoryBudgetError
        Where it would not fit in memory; raised before the work.

    Notes
    -----
    Cost: about n k1^2 to find the sets; memory as `profiles_forecast` says.

    Examples
    --------
    >>> from manifold.neighbors import find_neighbors
    >>> X = [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]]
    >>> reciprocal_profiles(find_neighbors(X, 2), k1=1, k2=1).toarray()[0].astype(float).round(3).tolist()
    [0.502, 0.498, 0.0, 0.0]
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {VARIANTS}, got {variant!r}")
    k1, k2 = check_count(k1, "k1"), check_count(k2, "k2")
    check_neighbors(neighbors, {"k1": k1})
    needed = profiles_forecast(neighbors.n_nodes, neighbors.n_neighbors, k1=k1)
    fewer = f"lower k1={k1}, or find narrower lists"
    require_memory(needed, purpose=f"reciprocal sets of {neighbors.n_nodes} points", cure=fewer)
    points, with_self = everyone(neighbors, scale=scale), variant != "paper"
    half = _reciprocal(points, _half(k1, variant), with_self)
    R, n_others = _reciprocal(points, k1, with_self), k2 - with_self
    if ids is None:
        V = _encode(points, R, half, variant=variant, dtype=dtype)
        return row_means(points.members(n_others, with_own=with_self), V)
    asking = askers(neighbors, ids, similarities, scale=scale)
    own = _encode(asking, _listing_back(asking, neighbors, k1), half, variant=variant, dtype=dtype)
    near = asking.members(n_others, with_own=False)
    used = np.unique(near.indices)
    V = _encode(points.part(used), R[used], half, variant=variant, dtype=dtype)
    if not with_self:
        return row_means(near[:, used], V)
    members = sparse.hstack([sparse.eye_array(asking.n), near[:, used]], format="csr")
    return row_means(members, sparse.vstack([own, V], format="csr"))


def profiles_forecast(n: int, width: int, *, k1: int) -> int:
    """Return about how many bytes `reciprocal_profiles` takes: sets of all points, weights of some thousand at a time.

    How far sets expand is not known beforehand: the factors were measured on clustered points, with room to spare.

    >>> profiles_forecast(1_000_000, 20, k1=20) / 2**30 < 2
    True
    """
    return 72 * n * (k1 + 1) + min(n, 4096) * (64 * width + 40 * (k1 + 1))


def expanded_sets(neighbors: Neighbors, k1: int, asking: Askers | None = None) -> sparse.csr_array:
    """Return the 0/1 matrix (n, n) of the expanded sets R*, self among them, or that (q, n) of queries outside.

    >>> from manifold.neighbors import find_neighbors
    >>> expanded_sets(find_neighbors([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]], 1), 1).toarray()[0].tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    points = everyone(neighbors)
    half = _reciprocal(points, _half(k1, "python"), True)
    R = _reciprocal(points, k1, True) if asking is None else _listing_back(asking, neighbors, k1)
    return _expanded(R, half, strict=True)


def _half(k1: int, variant: str) -> int:
    if variant == "paper":
        return k1 // 2
    return round(k1 / 2) if variant == "python" else (k1 + 2) // 2 - 1


def _reciprocal(points: Askers, k: int, with_self: bool) -> sparse.csr_array:
    """Return the 0/1 matrix of R: who lists each other among the first k others, and self."""
    listed = points.members(k, with_own=with_self)
    return sparse.csr_array(listed.multiply(listed.T.tocsr()))


def _listing_back(asking: Askers, neighbors: Neighbors, k: int) -> sparse.csr_array:
    """Return R for queries outside the collection: a point lists back a query as near as its own k-th."""
    ids, similarities = asking.ids[:, :k], asking.similarities[:, :k]
    back = (ids >= 0) & (similarities >= neighbors.similarities[ids, k - 1])
    return sparse_rows(np.where(back, ids, -1), np.ones(ids.shape), asking.n_points)


def _expanded(R: sparse.csr_array, H: sparse.csr_array, *, strict: bool) -> sparse.csr_array:
    """Return R*: R and the rows j of H, for j in R, of which (more than) 2/3 lies in R."""
    inside = sparse.csr_array(R.multiply(R @ H.T.tocsr()))  # |R(i) and H(j)| for j in R(i)
    needed = 2 * np.diff(H.indptr)[inside.indices]
    inside.data = (3 * inside.data > needed if strict else 3 * inside.data >= needed).astype(np.float64)
    inside.eliminate_zeros()
    grown = sparse.csr_array(R + inside @ H)
    grown.data[:] = 1
    return grown


def _encode(
    asking: Askers, R: sparse.csr_array, H: sparse.csr_array, *, variant: str, dtype: DTypeLike
) -> sparse.csr_array:
    """Return exp(-d) on the expanded sets, to sum 1 unless as in the paper."""
    parts = []
    for rows in slices(asking.n):
        some = asking.part(rows)
        V = _on_pattern(_expanded(R[rows], H, strict=variant != "paper"), some, np.exp(-some.distances))
        parts.append((V if variant == "paper" else unit_sums(V)).astype(dtype))
    return sparse.csr_array(sparse.vstack(parts, format="csr")) if parts else sparse.csr_array(R.shape, dtype=dtype)


def _on_pattern(E: sparse.csr_array, asking: Askers, weights: Floats) -> sparse.csr_array:
    """Return the weights (r, m) of what is listed at the entries of E: 1 for self, the last weight for what is not."""
    ids, values = asking.ids, weights
    last = np.where(ids >= 0, values, np.inf).min(axis=1, initial=1.0)
    if asking.own is not None:
        ids, values = np.column_stack([asking.own, ids]), np.column_stack([np.ones(asking.n), values])
    above = sparse_rows(ids, values - last[:, None], asking.n_points)
    V = E.astype(np.float64)
    V.data = np.repeat(last, np.diff(E.indptr))
    return sparse.csr_array(V + E.multiply(above))
