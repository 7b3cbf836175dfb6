"""Covers: few items such that every item is near one of them (kernel vector quantisation, as set cover).

    least |C|   such that   for every i there is a c in C with s(i, c) >= t          relaxed: min 1'a, K a >= 1, a >= 0

with K_ij = [s(x_i, x_j) >= t or i = j]. Clusters of a cover overlap: each holds all that is near its centre.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from manifold._arrays import as_numbers
from manifold._checks import check_number
from manifold._typing import AnyArray, Floats, Ints
from manifold.neighbors import Neighbors

METHODS = ("greedy", "lp")
_USED = 1e-6  # what the solver of the relaxation leaves of 0
_INTEGRAL = 1e-6
_PAIRS = 1 << 18  # looked up at a time


@dataclass(frozen=True, eq=False)
class Cover:
    """Centres, and who is near each.

    Reference: Tipping and Schölkopf (2001).

    Attributes
    ----------
    centres : (c,) int64
        By falling number of members.
    members : csr_array (c, n) bool
        Row j holds the items near centre j, itself among them; rows overlap.
    lower_bound : float
        No cover has fewer centres: the value of the relaxation, or, for "greedy", that of packing items no two of
        which are near one item.

    Examples
    --------
    >>> cover(np.eye(5, k=1) + np.eye(5, k=-1), 1.0)  # five points on a line
    Cover: 2 centres of 5 items, at least 2, overlapping 1.20 times
    """

    centres: Ints
    members: sparse.csr_array
    lower_bound: float

    def __len__(self) -> int:
        return self.centres.size

    def __repr__(self) -> str:
        n = self.members.shape[1]
        overlap = self.members.nnz / n if n else 0.0
        return (
            f"Cover: {len(self):,} centres of {n:,} items, at least {int(np.ceil(self.lower_bound - _INTEGRAL)):,}, "
            f"overlapping {overlap:.2f} times"
        )

    def of(self, centre: int) -> Ints:
        """Return the items near one centre, by its place.

        >>> cover(np.eye(5, k=1) + np.eye(5, k=-1), 1.0).of(0).tolist()
        [0, 1, 2]
        """
        row: Ints = self.members.indices[self.members.indptr[centre] : self.members.indptr[centre + 1]]
        return row.astype(np.int64)

    @property
    def labels(self) -> Ints:
        """The first centre that each item (n,) is near, by its place: a partition, where one is asked for.

        >>> cover(np.eye(5, k=1) + np.eye(5, k=-1), 1.0).labels.tolist()
        [0, 0, 0, 1, 1]
        """
        first = self.members.tocsc()
        return np.asarray(first.indices[first.indptr[:-1]].astype(np.int64))

    def pairs(self) -> Ints:
        """Return the pairs (p, 2) of items, i < j, that are near one same centre: what is worth a dearer comparison.

        >>> cover(np.eye(5, k=1) + np.eye(5, k=-1), 1.0).pairs().tolist()
        [[0, 1], [0, 2], [1, 2], [2, 3], [2, 4], [3, 4]]
        """
        times = self.members.astype(np.int32)
        both = sparse.triu(times.T @ times, k=1, format="csr")
        both.sort_indices()
        return np.column_stack([part.astype(np.int64) for part in both.nonzero()])


def cover(similarities: object, threshold: float, *, method: str = "greedy", within: Cover | None = None) -> Cover:
    """Choose few items such that each is as similar as a threshold to one of them.

    Reference: Tipping and Schölkopf (2001); Avrithis et al. (2010), sections 3 and 4.

    Parameters
    ----------
    similarities : Neighbors, or sparse or dense (n, n)
        Higher is nearer; what is not stored is not near. Lists of neighbours hold all that is near only where their
        last one is below the threshold: else it is a cover within the lists, and larger than it need be. Distances
        are passed negated, with a negated threshold: kilometres between photos, say.
    threshold : float
        t: two items are near one another where either similarity is at least that.
    method : {"greedy", "lp"}
        Take the item that covers most of what is left; or round the relaxed problem, solved by HiGHS, which gives a
        sharper bound and somewhat fewer centres, and takes minutes beyond some 10,000 items. Either then drops
        centres that others make redundant.
    within : Cover, optional
        Of the same items: two of them are near one another only where one of its balls holds both, such as views of
        one place, from `cover_places`.

    Returns
    -------
    Cover
        Greedy ones have at most 1 + ln(largest cluster) times the fewest centres.

    Raises
    ------
    ValueError, TypeError
        For what is no square matrix, a threshold that is no number, an unknown method, or a cover of other items.

    Notes
    -----
    Cost: "greedy" the pairs that are near, times log n. Use: a summary of a collection, its near-duplicates (a high
    threshold), views of one object from inliers of a spatial verification, anchors for labels.

    Examples
    --------
    >>> ring = np.eye(7, k=1) + np.eye(7, k=-1) + np.eye(7, k=6) + np.eye(7, k=-6)
    >>> found = cover(ring, 1.0, method="lp")
    >>> len(found), round(found.lower_bound, 5)
    (3, 2.33333)
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, got {method!r}")
    K = _near(similarities, threshold)
    return covered(K if within is None else _inside(K, within), method)


def covered(K: sparse.csr_array, method: str) -> Cover:
    """Return a cover of the items that K (n, n) says are near: booleans, symmetric, the diagonal stored.

    >>> covered(sparse.csr_array(np.ones((3, 3), dtype=bool)), "greedy").centres.tolist()
    [0]
    """
    if method == "lp":
        fractions, bound = _relaxed(K)
        chosen = np.flatnonzero(fractions > _USED)
        chosen = chosen[np.lexsort((chosen, -fractions[chosen]))]
    else:
        chosen = _greedy(K)
        bound = float(_packed(K))
    chosen = _pruned(K, chosen)
    sizes = np.diff(K.indptr)[chosen]
    chosen = chosen[np.lexsort((chosen, -sizes))]
    return Cover(chosen, sparse.csr_array(K[chosen]), bound)


def _near(similarities: object, threshold: float) -> sparse.csr_array:
    """Return K (n, n) as booleans, symmetric, the diagonal stored: every item is near itself."""
    if not np.isfinite(check_number(threshold, "threshold")):
        raise ValueError(f"threshold must be a number, got {threshold!r}")
    if isinstance(similarities, Neighbors):
        similarities = similarities.to_scipy()
    if sparse.issparse(similarities):
        given = sparse.coo_array(similarities)
        shape: tuple[int, ...] = given.shape
        rows, columns = given.coords
        values = np.asarray(given.data, dtype=np.float64)  # a stored 0 is a similarity like others
    else:
        dense = as_numbers(similarities, "similarities")
        shape, values = dense.shape, dense.ravel()
        rows, columns = np.indices(shape).reshape(2, -1) if len(shape) == 2 else (values, values)
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f"similarities must be a square matrix, got shape {shape}")
    if np.isnan(values).any():
        raise ValueError("similarities hold NaN: leave those pairs out")
    kept, n = values >= threshold, shape[0]
    rows, columns = (np.concatenate([part[kept], np.arange(n)]) for part in (rows, columns))
    one = np.ones(rows.size, dtype=bool)
    K = sparse.csr_array((one, (rows, columns)), shape=(n, n))
    K = sparse.csr_array(K + K.T)
    K.sort_indices()
    return K


def _inside(K: sparse.csr_array, within: Cover) -> sparse.csr_array:
    """Return the pairs of K that one ball of another cover holds."""
    if within.members.shape[1] != K.shape[0]:
        raise ValueError(f"within covers {within.members.shape[1]} items, similarities are of {K.shape[0]}")
    balls = sparse.csr_array(within.members.T.astype(np.int32))
    rows = np.repeat(np.arange(K.shape[0]), np.diff(K.indptr))
    kept = np.zeros(rows.size, dtype=bool)
    for start in range(0, rows.size, _PAIRS):  # of pairs that are near alone: balls may be large
        part = slice(start, start + _PAIRS)
        kept[part] = np.asarray(balls[rows[part]].multiply(balls[K.indices[part]]).sum(axis=1)).ravel() > 0
    return sparse.csr_array((kept[kept], (rows[kept], K.indices[kept])), shape=K.shape)


def _row(K: sparse.csr_array, i: int) -> AnyArray:
    return np.asarray(K.indices[K.indptr[i] : K.indptr[i + 1]])


def _greedy(K: sparse.csr_array) -> Ints:
    """Take the item that covers most of what is left, equal ones by id, until nothing is left."""
    left = np.ones(K.shape[0], dtype=bool)
    # counts only fall, so that one that is still right when it comes up is the largest
    queue = [(-int(size), i) for i, size in enumerate(np.diff(K.indptr))]
    heapq.heapify(queue)
    chosen = []
    while queue:
        size, i = heapq.heappop(queue)
        now = int(np.count_nonzero(left[_row(K, i)]))
        if not now:
            continue
        if now < -size:
            heapq.heappush(queue, (-now, i))
            continue
        chosen.append(i)
        left[_row(K, i)] = False
    return np.array(chosen, dtype=np.int64)


def _pruned(K: sparse.csr_array, chosen: Ints) -> Ints:
    """Drop centres, the last chosen first, whose items are all covered by others."""
    times = np.asarray(K[chosen].astype(np.int64).sum(axis=0)).ravel()
    kept = np.ones(chosen.size, dtype=bool)
    for place in range(chosen.size - 1, -1, -1):
        row = _row(K, chosen[place])
        if (times[row] > 1).all():
            times[row] -= 1
            kept[place] = False
    return chosen[kept]


def _packed(K: sparse.csr_array) -> int:
    """Count items no two of which are near one same item: each needs a centre of its own."""
    free, count = np.ones(K.shape[0], dtype=bool), 0
    for i in np.argsort(np.diff(K.indptr), kind="stable"):
        near = _row(K, i)
        if free[near].all():  # none of its possible centres is one of theirs
            free[near] = False
            count += 1
    return count


def _relaxed(K: sparse.csr_array) -> tuple[Floats, float]:
    """Return the solution (n,) of the relaxed problem and its value."""
    from scipy.optimize import linprog

    n = K.shape[0]
    if not n:
        return np.empty(0), 0.0
    solved = linprog(np.ones(n), A_ub=-K.astype(np.float64), b_ub=-np.ones(n), bounds=(0, None), method="highs")
    if not solved.success:
        raise RuntimeError(f"HiGHS did not solve the relaxed cover: {solved.message}")
    # a bound from the dual, scaled until it is feasible: the value itself is right to the tolerance of the solver
    dual = np.maximum(-solved.ineqlin.marginals, 0)
    most = float((K.T @ dual).max())
    return solved.x, float(dual.sum()) / max(most, 1.0)
