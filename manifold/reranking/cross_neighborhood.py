"""Re-ranking by expanded cross neighbourhoods (ECN), on sparse rows.

d*(i, j) = mean of d(a, j) over a in N(i) and of d(b, i) over b in N(j)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from manifold._checks import check_count
from manifold.neighbors import Neighbors
from manifold.reranking._lists import Askers, Lists, askers, check_neighbors, check_weight, everyone
from manifold.reranking._sparse import sparse_rows
from manifold.reranking.profiles import rank_profiles


def cross_neighborhood_rerank(
    neighbors: Neighbors,
    ids: ArrayLike | None = None,
    similarities: ArrayLike | None = None,
    *,
    k: int = 100,
    n_first: int = 3,
    n_second: int = 8,
    depth: int = 25,
    weight: float = 0.0,
    scale: ArrayLike | None = None,
    n_queries: int = 0,
) -> Lists:
    """Rerank by expanded cross neighbourhoods (ECN): how near the neighbours of one are to the other, and vice versa.

    ``d*(i, j) = (sum_{a in N(i)} d(a, j) + sum_{b in N(j)} d(b, i)) / 2M``, where N(i) holds the first t others of i
    and the first q others of each of those, M = t + t q in all, repeats counted. d is the distance of lists,
    ``d(x, z) = 1 - sum_l r_x(l) r_z(l) / c`` with ``r_x(l) = max(depth + 1 - position of l in the list of x, 0)``,
    self at position 1, and c the value of a list with itself.

    Reference: Sarfraz et al. (2018), section 4.

    Parameters
    ----------
    neighbors, ids, similarities, k, scale, n_queries
        See `reciprocal_rerank`; lists are max(n_first, n_second, depth - 1) wide at least.
    n_first, n_second : int
        t and q.
    depth : int
        Length of the lists compared, self counted.
    weight : float in [0, 1]
        That of the original distance, 0 in the paper; at 0 it orders what shares no neighbour.

    Returns
    -------
    ids, scores : (q, k) int64, float64
        As `reciprocal_rerank`; with ``weight=0`` the score is 1 - d*.

    Notes
    -----
    All distances are 1 - (B P' + P B') / (2 M c) for sparse matrices: P holds the positions r, and B = T P with T the
    number of times that each point stands in N(i). Cost: about 2 n depth s for s entries in a row of B, at most
    depth M; memory about four times B.

    Examples
    --------
    >>> from manifold.neighbors import find_neighbors
    >>> X = [[1.0, 0.0], [0.9, 0.1], [0.8, 0.3], [0.0, 1.0], [0.1, 0.9]]
    >>> best, scores = cross_neighborhood_rerank(find_neighbors(X, 2), n_first=1, n_second=1, depth=2, k=1)
    >>> best.ravel().tolist(), scores.ravel().round(2).tolist()
    ([1, 0, 1, 4, 3], [0.9, 0.9, 0.6, 0.9, 0.9])
    """
    t, q, depth = check_count(n_first, "n_first"), check_count(n_second, "n_second"), check_count(depth, "depth")
    check_neighbors(neighbors, {"n_first": t, "n_second": q, "depth - 1": depth - 1})
    asking = askers(neighbors, ids, similarities, n_queries=n_queries, scale=scale)
    k, weight = check_count(k, "k"), check_weight(weight)
    points = everyone(neighbors)
    lists, second = _list_weights(points, depth), points.members(q, with_own=False)

    def expanded(some: Askers) -> sparse.csr_array:
        first = some.members(t, with_own=False)
        return sparse.csr_array((first + first @ second).astype(np.float32) @ lists)

    B = expanded(points)
    P, C = (
        (_list_weights(asking, depth), expanded(asking)) if asking.own is None else (lists[asking.own], B[asking.own])
    )
    rows, columns = (sparse.hstack(pair, format="csr") for pair in ((C, P), (lists, B)))
    del B, C  # the largest arrays by far: one copy of them goes on, in either role
    norm = 2 * (t + t * q) * depth * (depth + 1) * (2 * depth + 1) / 6
    return rank_profiles(rows, columns, asking, measure="product", weight=weight, k=k, norm=norm)


def _list_weights(asking: Askers, depth: int) -> sparse.csr_array:
    """Return the rows r of positions in a list: whole numbers, whose products float32 adds up without error."""
    worth = np.arange(depth, 0, -1, dtype=np.float32)
    ids = asking.ids[:, : depth - 1]
    if asking.own is None:
        worth = worth[1:]  # self has the first position, and no column
    else:
        ids = np.column_stack([asking.own, ids])
    return sparse_rows(ids, np.broadcast_to(worth[: ids.shape[1]], ids.shape), asking.n_points)
