"""Intervals around scores: which k nodes are certainly the best, and which cannot be told apart yet.

In: nodes with lower and upper bounds, and one bound for all nodes not listed. Out: a `Shortlist`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from manifold._typing import AnyArray, Floats, Ints, Mask

SUMS = 1e-13  # more than the relative rounding of a float64 sum over the seeds of a query
_MOST_CONTESTED = 2000  # more candidates than this are not worth looking up one by one
_FEW = 16  # at most so many that it is worth looking one step around them
_VERY_FEW = 3  # and further: a solve takes less time than that takes around more


@dataclass(frozen=True, eq=False)
class Shortlist:
    """The best nodes of one query and what is known of the rest.

    Reference: guide *certificates*, "Slack".

    Attributes
    ----------
    rows : (m,) int64
        Nodes by descending estimate; fewer than k where fewer are known.
    scores : (m,) float64
        The middle of each interval.
    lower : float
        No node of `rows` has a smaller exact score.
    outside : float
        No other node has a larger one.

    Examples
    --------
    >>> proved = Shortlist(np.array([4, 1]), np.array([0.5, 0.3]), lower=0.29, outside=0.2)
    >>> proved.lower > proved.outside  # the two are certainly the best
    True
    """

    rows: Ints
    scores: Floats
    lower: float
    outside: float


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Nodes that are no answer: those of `nodes` (q,), and all that are not `allowed` (n,), where these are given.

    Reference: guide *certificates*, "Slack".

    Examples
    --------
    >>> LeftOut(np.array([3])).nodes.tolist()
    [3]
    """

    nodes: Ints | None = None
    allowed: Mask | None = None


@dataclass(frozen=True, eq=False)
class Intervals:
    """Bounds on the scores of some nodes, and one bound for all others.

    Reference: guide *certificates*, "Slack".

    Examples
    --------
    >>> bounds = Intervals(np.array([3, 5, 8]), np.array([0.1, 0.5, 0.3]), np.array([0.4, 0.6, 0.45]), unseen=0.2)
    >>> best = bounds.cut(1)
    >>> best.rows.tolist(), best.lower, best.outside
    ([5], 0.5, 0.45)
    """

    nodes: Ints
    lower: Floats
    upper: Floats
    unseen: float

    def without(self, left_out: LeftOut | None) -> Intervals:
        """Leave some nodes out of every list.

        >>> bounds = Intervals(np.array([3, 5, 8]), np.array([0.1, 0.5, 0.3]), np.array([0.4, 0.6, 0.45]), unseen=0.2)
        >>> bounds.without(LeftOut(np.array([5]))).cut(1).rows.tolist()
        [8]
        """
        if left_out is None or (left_out.nodes is None and left_out.allowed is None):
            return self
        may = np.ones(self.nodes.size, dtype=bool) if left_out.allowed is None else left_out.allowed[self.nodes]
        if left_out.nodes is not None:
            may = may & ~np.isin(self.nodes, left_out.nodes)
        return replace(self, nodes=self.nodes[may], lower=self.lower[may], upper=self.upper[may])

    def scaled(self, scale: Floats) -> Intervals:
        """Multiply the score of node i by ``scale[i]`` >= 0.

        >>> bounds = Intervals(np.array([3, 5, 8]), np.array([0.1, 0.5, 0.3]), np.array([0.4, 0.6, 0.45]), unseen=0.2)
        >>> halved = bounds.scaled(np.full(9, 0.5))
        >>> halved.lower.tolist(), halved.unseen
        ([0.05, 0.25, 0.15], 0.1)
        """
        factor = scale[self.nodes]
        unseen = self.unseen * float(scale.max(initial=0.0))
        return replace(self, lower=self.lower * factor, upper=self.upper * factor, unseen=unseen)

    def narrowed(self, at: Ints, lower: Floats, upper: Floats) -> Intervals:
        """Cut the intervals at some positions down to their common part with others.

        >>> bounds = Intervals(np.array([3, 5, 8]), np.array([0.1, 0.5, 0.3]), np.array([0.4, 0.6, 0.45]), unseen=0.2)
        >>> bounds.narrowed(np.array([0]), np.array([0.2]), np.array([0.3])).upper.tolist()
        [0.3, 0.6, 0.45]
        """
        low, high = self.lower.copy(), self.upper.copy()
        low[at], high[at] = np.maximum(low[at], lower), np.minimum(high[at], upper)
        return replace(self, lower=low, upper=high)

    def cut(self, k: int) -> Shortlist:
        """Return the k nodes of largest middle, equal ones by ascending id.

        >>> bounds = Intervals(np.array([3, 5, 8]), np.array([0.1, 0.5, 0.3]), np.array([0.4, 0.6, 0.45]), unseen=0.2)
        >>> best = bounds.cut(2)
        >>> best.rows.tolist(), best.lower, best.outside  # node 3 may be better than node 8
        ([5, 8], 0.3, 0.4)
        """
        middle = (self.lower + self.upper) / 2
        order = np.argpartition(-middle, k - 1) if 0 < k < middle.size else np.arange(middle.size)
        best, rest = order[:k], order[k:]
        best = best[np.lexsort((self.nodes[best], -middle[best]))]
        outside = max(float(self.upper[rest].max(initial=0.0)), self.unseen)
        return Shortlist(self.nodes[best], middle[best], float(self.lower[best].min(initial=np.inf)), outside)

    def settled(
        self, k: int, *looks: Callable[[Ints], tuple[Floats, Floats]], scale: Floats | None = None
    ) -> Shortlist:
        """Cut; where the cut is contested, narrow the contested intervals by what a look says of them; cut again.

        Each of `looks` says more and costs more than the one before: only the first takes more than a few nodes. These
        intervals are scaled already; what a look returns is multiplied by ``scale[i]`` for node i.

        >>> bounds = Intervals(np.array([3, 5, 8]), np.array([0.1, 0.5, 0.3]), np.array([0.4, 0.6, 0.45]), unseen=0.2)
        >>> def look(nodes): return np.full(nodes.size, 0.35), np.full(nodes.size, 0.35) + (nodes == 8) * 0.05
        >>> best = bounds.settled(2, look)
        >>> best.rows.tolist(), best.lower, best.outside  # nodes 3 and 8 tie at 0.35, from above and below
        ([5, 8], 0.35, 0.35)
        """
        bounds, cut = self, self.cut(k)
        if cut.rows.size < k:  # too few are known: no look helps
            return cut
        for look, most in zip(looks, (_MOST_CONTESTED, _FEW, *[_VERY_FEW] * len(looks)), strict=False):
            contested = bounds.contested(cut)
            if cut.outside <= cut.lower or contested.size > most:
                break
            nodes = self.nodes[contested]
            factor = 1.0 if scale is None else scale[nodes]
            lower, upper = look(nodes)
            bounds = bounds.narrowed(contested, lower * factor, upper * factor)
            cut = bounds.cut(k)
        return cut

    def contested(self, cut: Shortlist) -> Ints:
        """Return the positions whose interval reaches across a cut, from either side.

        >>> bounds = Intervals(np.array([3, 5, 8]), np.array([0.1, 0.5, 0.3]), np.array([0.4, 0.6, 0.45]), unseen=0.2)
        >>> bounds.contested(bounds.cut(2)).tolist()  # positions of nodes 3 and 8
        [0, 2]
        """
        return np.flatnonzero((self.upper > cut.lower) & (self.lower < cut.outside))


@dataclass(frozen=True, eq=False)
class Merged:
    """What some columns, each times its weight, add up to as far as they are stored.

    Attributes
    ----------
    nodes : (m,) int64
        Those that stand in some of the columns, ascending.
    sums : (m,) float64
        Of their stored entries.
    missing : (m,) float64
        Sum of the tails of the columns they do not stand in.
    tails, error : float
        Sums of the tails and the errors of all columns.
    """

    nodes: Ints
    sums: Floats
    missing: Floats
    tails: float
    error: float


def merge_columns(ids: AnyArray, values: AnyArray, weights: Floats, *, tail: Floats, error: Floats) -> Merged:
    """Add the columns (c, T) of some seeds up, times their weights (c,).

    >>> ids, values = np.array([[0, 1], [1, 2]]), np.array([[0.5, 0.4], [0.3, 0.2]])
    >>> merged = merge_columns(ids, values, np.array([1.0, 2.0]), tail=np.array([0.1, 0.1]), error=np.zeros(2))
    >>> merged.nodes.tolist(), merged.sums.round(6).tolist(), merged.missing.round(6).tolist()
    ([0, 1, 2], [0.5, 1.0, 0.4], [0.2, 0.0, 0.1])
    """
    width = ids.shape[1]
    flat = ids.ravel()
    order = np.argsort(flat, kind="stable")  # runs that are sorted already: a merge
    flat = flat[order]
    starts = np.flatnonzero(np.diff(flat, prepend=flat[:1] + 1))
    entries = (values * weights[:, None]).ravel()[order]
    sums = np.add.reduceat(entries, starts, dtype=np.float64) if flat.size else np.empty(0)
    covered = np.repeat(weights * tail, width)[order]
    known = np.add.reduceat(covered, starts) if flat.size else np.empty(0)
    tails = float(weights @ tail)
    missing = np.maximum(tails - known, 0) + SUMS * tails
    return Merged(flat[starts].astype(np.int64), sums, missing, tails, float(weights @ error))
