"""Intervals around scores: which k nodes are certainly the best, and which cannot be told apart yet.

In: nodes with lower and upper bounds, and one bound for all nodes not listed. Out: a `Shortlist`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Shortlist:
    """The best nodes of one query and what is known of the rest.

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
    """

    rows: Ints
    scores: Floats
    lower: float
    outside: float


@dataclass(frozen=True, eq=False)
class Intervals:
    """Bounds on the scores of some nodes, and one bound for all others.

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

    def without(self, nodes: Ints) -> Intervals:
        """Leave some nodes out of every list."""
        kept = np.flatnonzero(~np.isin(self.nodes, nodes))
        return replace(self, nodes=self.nodes[kept], lower=self.lower[kept], upper=self.upper[kept])

    def scaled(self, scale: Floats) -> Intervals:
        """Multiply the score of node i by ``scale[i]`` >= 0."""
        factor = scale[self.nodes]
        unseen = self.unseen * float(scale.max(initial=0.0))
        return replace(self, lower=self.lower * factor, upper=self.upper * factor, unseen=unseen)

    def narrowed(self, at: Ints, lower: Floats, upper: Floats) -> Intervals:
        """Cut the intervals at some positions down to their common part with others."""
        low, high = self.lower.copy(), self.upper.copy()
        low[at], high[at] = np.maximum(low[at], lower), np.minimum(high[at], upper)
        return replace(self, lower=low, upper=high)

    def cut(self, k: int) -> Shortlist:
        """Return the k nodes of largest middle, equal ones by ascending id."""
        middle = (self.lower + self.upper) / 2
        order = np.argpartition(-middle, k - 1) if 0 < k < middle.size else np.arange(middle.size)
        best, rest = order[:k], order[k:]
        best = best[np.lexsort((self.nodes[best], -middle[best]))]
        outside = max(float(self.upper[rest].max(initial=0.0)), self.unseen)
        return Shortlist(self.nodes[best], middle[best], float(self.lower[best].min(initial=np.inf)), outside)

    def contested(self, cut: Shortlist) -> Ints:
        """Return the positions whose interval reaches across a cut, from either side."""
        return np.flatnonzero((self.upper > cut.lower) & (self.lower < cut.outside))
