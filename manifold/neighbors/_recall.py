"""What share of the true neighbours an approximate method found, measured on a sample that is searched exactly.

In: points, and what was found of them. Out: the recall, which the facts of a result state; a low one is warned of.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manifold._typing import Ints
from manifold.backends import Backend
from manifold.errors import warn
from manifold.neighbors._exact import exact_search
from manifold.neighbors.points import Floats, PointSet

_SIZE = 256  # points searched exactly: their recall has a standard error below 0.5 %
_NINE_IN_TEN = 1.2816  # standard errors below the mean, of a normal distribution
LOW = 0.9  # a recall below this is worth a warning


@dataclass(frozen=True, eq=False)
class Sample:
    """Some of the points, ascending, and their true neighbours: ids and similarities (s, k)."""

    rows: Ints
    ids: Ints
    similarities: Floats

    @classmethod
    def draw(cls, points: PointSet, k: int, *, rng: np.random.Generator, backend: Backend, size: int = _SIZE) -> Sample:
        """Search some of the points exactly, or all of fewer."""
        n = points.X.shape[0]
        rows = np.sort(rng.choice(n, min(n, size), replace=False))
        return cls(rows, *exact_search(points, points, k=k, rows=rows, drop_self=True, backend=backend))

    def recall(self, found: NDArray[np.float32], *, cure: str) -> float:
        """Return the share of neighbours among the similarities found (n, k) that are as near as the true k-th.

        An equal one will do. The cure is what the caller can do about a low recall, of which this warns.

        >>> true = np.array([[0.9], [0.8]], np.float32)
        >>> sample = Sample(np.array([0, 2]), np.array([[1], [1]]), true)
        >>> sample.recall(np.array([[0.9], [0.1], [0.8]], np.float32), cure="search exactly")
        1.0
        """
        recall = float((found[self.rows] >= self.similarities[:, -1:]).mean())
        if recall < LOW:
            warn(f"about {recall:.0%} of the {found.shape[1]} nearest neighbours were found: {cure}")
        return round(recall, 4)


def certain(shares: NDArray[np.float64]) -> float:
    """Return what the mean of shares (m,), each within 0 and 1, is not below, nine times in ten.

    Wilson's interval (1927), of m points whose shares have the variance that they have: 1 where all are 1 is not known
    for certain of few.

    >>> round(certain(np.ones(512)), 4), round(certain(np.repeat([0.8, 1.0], 256)), 4)
    (0.9968, 0.8929)
    """
    z2 = _NINE_IN_TEN**2 / shares.size
    middle, half = shares.mean() + z2 / 2, np.sqrt(z2 * shares.var() + z2**2 / 4)
    return float((middle - half) / (1 + z2))
