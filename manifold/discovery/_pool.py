"""Pools: lists of different lengths, one an anchor, in one run of arrays, with what is proved of each member."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manifold._typing import AnyArray, Floats, Ints, Mask


@dataclass(frozen=True, eq=False)
class Pool:
    """The members of each of a anchors, best first.

    Reference: Iscen et al. (2018b), section 3.

    Attributes
    ----------
    ids : (m,)
        Members: nodes, or the names that a search has for its items.
    indptr : (a + 1,) int64
        The members of anchor i stand at ``indptr[i]:indptr[i + 1]``.
    weights : (m,) float64
        Their diffusion scores f = h(S) y, at 0 the least.
    similarities : (m,) float64
        To the anchor; NaN where the lists that were given do not hold the pair.
    certified : (m,) bool
        Whether the bounds of the solve prove the membership. It is proved *of this graph*: labels may say otherwise.

    Examples
    --------
    >>> pool = Pool(np.array([4, 7, 2]), np.array([0, 2, 3]), np.ones(3), np.ones(3), np.array([True, True, False]))
    >>> pool
    Pool: 3 members of 2 anchors, 0 without any, 67% certified
    >>> pool.of(0).tolist(), pool.sizes.tolist()
    ([4, 7], [2, 1])
    """

    ids: AnyArray
    indptr: Ints
    weights: Floats
    similarities: Floats
    certified: Mask

    def __len__(self) -> int:
        return self.indptr.size - 1

    def __repr__(self) -> str:
        share = f"{self.certified.mean():.0%} certified" if self.ids.size else "none certified"
        return (
            f"Pool: {self.ids.size:,} members of {len(self):,} anchors, "
            f"{np.count_nonzero(self.sizes == 0):,} without any, {share}"
        )

    @property
    def sizes(self) -> Ints:
        """Members of each anchor (a,).

        >>> pool = Pool(np.array([4]), np.array([0, 0, 1]), np.ones(1), np.ones(1), np.array([True]))
        >>> pool.sizes.tolist()
        [0, 1]
        """
        return np.diff(self.indptr)

    @property
    def owners(self) -> Ints:
        """The anchor 0..a-1 of each member (m,).

        >>> pool = Pool(np.array([4, 5]), np.array([0, 0, 2]), np.ones(2), np.ones(2), np.array([True, True]))
        >>> pool.owners.tolist()
        [1, 1]
        """
        return np.repeat(np.arange(len(self)), self.sizes)

    def of(self, anchor: int) -> AnyArray:
        """Return the members of one anchor, by its place.

        >>> pool = Pool(np.array([4, 5]), np.array([0, 1, 2]), np.ones(2), np.ones(2), np.array([True, True]))
        >>> pool.of(1).tolist()
        [5]
        """
        members: AnyArray = self.ids[self.indptr[anchor] : self.indptr[anchor + 1]]
        return members

    def only(self, kept: Mask) -> Pool:
        """Return the members where `kept` (m,) is true, such as ``pool.only(pool.certified)``.

        >>> pool = Pool(np.array([4, 7, 2]), np.array([0, 2, 3]), np.ones(3), np.ones(3), np.array([True, False, True]))
        >>> pool.only(pool.certified).ids.tolist(), pool.only(pool.certified).indptr.tolist()
        ([4, 2], [0, 1, 2])
        """
        if kept.shape != self.ids.shape or kept.dtype != bool:
            raise ValueError(f"kept must be one flag a member, {self.ids.shape}, got {kept.dtype} {kept.shape}")
        indptr = np.concatenate([[0], np.cumsum(kept)])[self.indptr]
        return Pool(self.ids[kept], indptr, self.weights[kept], self.similarities[kept], self.certified[kept])


def in_order(owners: Ints, ids: AnyArray, *, n_anchors: int, limit: int, columns: tuple[AnyArray, ...]) -> Pool:
    """Return a pool from members in any grouping of their anchors, of each anchor the first `limit` in the order given.

    `columns` are the weights, the similarities and the certificates of the members.

    >>> columns = np.ones(3), np.ones(3), np.array([True, True, False])
    >>> in_order(np.array([1, 0, 1]), np.array([5, 6, 7]), n_anchors=2, limit=1, columns=columns).ids.tolist()
    [6, 5]
    """
    order = np.argsort(owners, kind="stable")
    owners = owners[order]
    starts = np.searchsorted(owners, np.arange(n_anchors + 1))
    order = order[np.arange(owners.size) - starts[owners] < limit]
    sizes = np.minimum(np.diff(starts), limit)
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    weights, similarities, certified = (column[order] for column in columns)
    return Pool(ids[order], indptr, weights, similarities, certified)
