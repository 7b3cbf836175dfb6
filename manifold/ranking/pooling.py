"""Several vectors an image: the scores of regions in, the scores of their images out.

    sum, generalized_max    G_i = sum_j w_j F_j,   w = 1, or w = (Phi_i Phi_i' + lambda I)^-1 1
    max                     G_i = max_j w_j F_j,   w = 1

over the regions j of image i, cut at 0. The linear ones are a matrix P (images x regions), which a solver that works
offline takes in: P h(S) is stored instead of h(S).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from manifold._arrays import as_array, as_numbers
from manifold._typing import Floats, Ints
from manifold.backends import Array, Backend
from manifold.neighbors import PointSet
from manifold.ranking._select import Bounds

POOLINGS = ("generalized_max", "sum", "max")

_SUMS = 1e-13  # more than the relative rounding of a float64 sum over the regions of an image
_GATHER = 1 << 22  # numbers of regions held at a time


def pooling_weights(regions: ArrayLike, *, regularization: float = 1.0) -> Floats:
    """Return the weights (..., m) of generalised max pooling, w = (Phi Phi' + lambda I)^-1 1.

    The score of an image is the sum of w_j f_j over its regions: regions that repeat each other share one vote.
    Regions that are far from each other may get a weight below 0.

    Reference: Iscen et al. (2017), eqs. 13-14.

    Parameters
    ----------
    regions : (..., m, d)
        Phi, the unit vectors of one image, or of several with m regions each.
    regularization : float
        lambda > 0; large values approach sum pooling.

    Raises
    ------
    ValueError
        For a regularization that is not positive: the Gram matrix of repeated regions is singular.

    Examples
    --------
    >>> pooling_weights(np.ones((3, 1))).round(6).tolist()
    [0.25, 0.25, 0.25]
    """
    if not regularization > 0:
        raise ValueError(f"regularization must be positive, got {regularization!r}")
    Phi = as_numbers(regions, "regions")
    m = Phi.shape[-2]
    gram = Phi @ Phi.swapaxes(-1, -2) + regularization * np.eye(m)
    return np.asarray(np.linalg.solve(gram, np.ones((*gram.shape[:-1], 1)))[..., 0], dtype=np.float64)


def check_owners(owners: object, n_regions: int, *, name: str) -> Ints:
    """Return the owner 0, 1, ... of each region, every one of which owns some; None is one region each.

    >>> check_owners([0, 1, 1], 3, name="images").tolist()
    [0, 1, 1]
    """
    if owners is None:
        return np.arange(n_regions)
    given = as_array(owners, name)
    if given.shape != (n_regions,) or (given.size and given.dtype.kind not in "iu"):
        raise ValueError(
            f"{name} must hold one integer, the owner, for each of the {n_regions} regions, "
            f"got {given.dtype} {given.shape}"
        )
    if given.size and given.min() < 0:
        raise ValueError(f"{name} must be numbered from 0, got {given.min()}")
    counts = np.bincount(np.minimum(given, n_regions).astype(np.int64))  # a number beyond leaves another without
    if not counts.all():
        raise ValueError(
            f"{name}: number {np.flatnonzero(counts == 0)[0]} owns no region: renumber them, "
            f"numpy.unique({name}, return_inverse=True)[1]"
        )
    return given.astype(np.int64)


def by_owner(owners: Ints) -> tuple[Ints, Ints]:
    """Return the regions in the order of their owners, and where each owner's begin, with the end: (n,), (N + 1,).

    >>> [part.tolist() for part in by_owner(np.array([1, 0, 1]))]
    [[1, 0, 2], [0, 1, 3]]
    """
    return np.argsort(owners, kind="stable"), np.concatenate([[0], np.cumsum(np.bincount(owners))])


def region_weights(points: PointSet, owners: Ints, *, pooling: str, regularization: float = 1.0) -> Floats:
    """Return w (n,) for each region of a collection; images with equally many regions are solved together.

    >>> points = PointSet(np.ones((3, 2), dtype=np.float32), "cosine")
    >>> region_weights(points, np.array([0, 0, 1]), pooling="generalized_max").round(6).tolist()
    [0.333333, 0.333333, 0.5]
    """
    weights = np.ones(owners.size)
    if pooling != "generalized_max":
        return weights
    order, starts = by_owner(owners)
    counts = np.diff(starts)
    for m in np.unique(counts):
        rows = order[starts[:-1][counts == m][:, None] + np.arange(m)]
        step = max(1, _GATHER // int(m * max(m, points.X.shape[1])))
        for first in range(0, len(rows), step):
            some = rows[first : first + step]
            weights[some] = pooling_weights(points.rows(some), regularization=regularization)
    return weights


def region_match(Q: PointSet, X: PointSet, *, queries: Ints, images: Ints) -> NDArray[np.float32]:
    """Return (q, N) the sum, over the regions of a query, of the largest cosine with a region of the image: R-match.

    Reference: Iscen et al. (2017), table 2: the baseline of the regional experiments; Razavian et al. (2014).

    Parameters
    ----------
    Q, X : PointSet
        Regions of the queries and of the images, metric "cosine".
    queries, images : (r,), (n,) int
        The query 0..q-1, the image 0..N-1 of each.

    Notes
    -----
    Cost: 2 r n d operations; memory 4 r N.

    Examples
    --------
    >>> Q, X = (PointSet(np.array(rows, dtype=np.float32), "cosine") for rows in ([[1, 0], [0, 1]], [[1, 0], [3, 4]]))
    >>> match = region_match(Q, X, queries=np.array([0, 0]), images=np.array([0, 1]))
    >>> match.astype(float).round(6).tolist()
    [[1.0, 1.4]]
    """
    order, starts = by_owner(images)
    best = np.empty((queries.size, starts.size - 1), dtype=np.float32)
    # float64, rounded after: the products of a tile would depend on its shape in their last bits
    asked = Q.rows(slice(None)).astype(np.float64)
    first, step = 0, max(1, _GATHER // max(1, queries.size))
    while first < starts.size - 1:
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + step, side="right")) - 1)
        points = X.rows(order[starts[first] : starts[last]]).astype(np.float64)
        best[:, first:last] = np.maximum.reduceat(asked @ points.T, starts[first:last] - starts[first], axis=1)
        first = last
    mine, begin = by_owner(queries)
    total: NDArray[np.float32] = np.add.reduceat(best[mine], begin[:-1], axis=0) if queries.size else best
    return total


@dataclass(frozen=True, eq=False)
class Pooling:
    """How the scores of n regions become those of N images, ready on a backend.

    Attributes
    ----------
    owners : (n,) int
        The image 0..N-1 of each region.
    weights : (n,) float
        w; positive where `maximum`.
    maximum : bool
        Take the largest w_j F_j of an image, instead of their sum.

    Examples
    --------
    >>> from manifold.backends import get_backend
    >>> pooling = Pooling(np.array([0, 1, 0]), np.array([0.5, 1.0, 2.0]), get_backend())
    >>> pooling.matrix.toarray().tolist()
    [[0.5, 0.0, 2.0], [0.0, 1.0, 0.0]]
    """

    owners: Ints
    weights: Floats
    backend: Backend
    maximum: bool = False

    @property
    def n_images(self) -> int:
        """Number of images N.

        >>> from manifold.backends import get_backend
        >>> pooling = Pooling(np.array([0, 1, 0]), np.array([0.5, 1.0, 2.0]), get_backend())
        >>> pooling.n_images
        2
        """
        return int(self.owners.max(initial=-1)) + 1

    @cached_property
    def matrix(self) -> sparse.csr_array:
        """P (N, n), of linear pooling.

        >>> from manifold.backends import get_backend
        >>> pooling = Pooling(np.array([0, 1, 0]), np.array([0.5, 1.0, 2.0]), get_backend())
        >>> pooling.matrix.sum(axis=1).tolist()
        [2.5, 1.0]
        """
        entries = (self.weights, (self.owners, np.arange(self.owners.size)))
        P = sparse.csr_array(entries, shape=(self.n_images, self.owners.size))
        P.eliminate_zeros()
        return P

    def scaled(self, scale: Floats) -> Pooling:
        """Return the pooling of scores that are first multiplied by `scale` (n,) > 0.

        >>> from manifold.backends import get_backend
        >>> pooling = Pooling(np.array([0, 1, 0]), np.array([0.5, 1.0, 2.0]), get_backend())
        >>> pooling.scaled(np.array([2.0, 2.0, 0.5])).weights.tolist()
        [1.0, 2.0, 1.0]
        """
        return replace(self, weights=self.weights * scale)

    def subset(self, regions: Ints) -> Pooling:
        """Return the pooling of some regions alone; their images are numbered anew, in ascending order.

        >>> from manifold.backends import get_backend
        >>> pooling = Pooling(np.array([0, 1, 0]), np.array([0.5, 1.0, 2.0]), get_backend())
        >>> pooling.subset(np.array([1])).owners.tolist()
        [0]
        """
        owners = np.unique(self.owners[regions], return_inverse=True)[1]
        return replace(self, owners=owners, weights=self.weights[regions])

    def bounds(self, regions: Bounds) -> Bounds:
        """Return the scores of images (N, q), and what they lie between, from those of regions (n, q).

        >>> from manifold.backends import get_backend
        >>> pooling = Pooling(np.array([0, 1, 0]), np.array([0.5, 1.0, 2.0]), get_backend())
        >>> regions = np.array([[2.0], [1.0], [1.0]])
        >>> pooling.bounds(Bounds(regions, regions, regions)).scores.ravel().tolist()
        [3.0, 1.0]
        """
        if self.maximum:
            return Bounds(*(self._largest(part) for part in (regions.scores, regions.lower, regions.upper)))
        xp, (plus, minus) = self.backend.xp, self._signed
        scores, lower, upper = (self._apply(plus, part) for part in (regions.scores, regions.lower, regions.upper))
        if minus is not None:
            away = [self._apply(minus, part) for part in (regions.scores, regions.lower, regions.upper)]
            # the bounds of what is taken away change places
            rounding = _SUMS * (scores + away[0])
            scores, lower, upper = scores - away[0], lower - away[2] - rounding, upper - away[1] + rounding
        return Bounds(xp.maximum(scores, 0), xp.maximum(lower * (1 - _SUMS), 0), xp.maximum(upper * (1 + _SUMS), 0))

    @cached_property
    def _signed(self) -> tuple[Array, Array | None]:
        P, csr = self.matrix, self.backend.csr
        minus = csr((-P).maximum(0), dtype=np.float64) if (self.weights < 0).any() else None
        return csr(P.maximum(0), dtype=np.float64), minus

    def _apply(self, matrix: Array, regions: Array) -> Array:
        return self.backend.spmm(matrix, self.backend.asarray(regions, dtype=np.float64))

    @cached_property
    def _members(self) -> list[tuple[Array, Array]]:
        """The j-th region of each image and its weight; an image with fewer repeats its first."""
        order, starts = by_owner(self.owners)
        counts = np.diff(starts)
        columns = [np.where(j < counts, starts[:-1] + j, starts[:-1]) for j in range(counts.max(initial=0))]
        return [
            (self.backend.asarray(order[at]), self.backend.asarray(self.weights[order[at]][:, None])) for at in columns
        ]

    def _largest(self, regions: Array) -> Array:
        xp = self.backend.xp
        (first, weights), *others = self._members
        best = regions[first] * weights
        for at, w in others:
            best = xp.maximum(best, regions[at] * w)
        return best
