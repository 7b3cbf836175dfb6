"""How far rounding may have moved the scores of a matrix product: which lists, and which pairs, ask for a second look.

In: points, queries and scores as `PointSet.propose` makes them. Out: doubts, one a query or one a pair.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from manifold.backends import Array, Backend, rounding_unit
from manifold.neighbors.points import Floats, PointSet


def doubt(points: PointSet, queries: Floats, *, kth: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Return (b,) how far two scores must lie apart for rounding not to have changed their order.

    Eight standard deviations of the rounding error of a float32 inner product of d terms. With the k-th scores (b,) of
    distances, only points within |q| + |q - x_k| of the centre count: what is farther is no neighbour by far.

    >>> points = PointSet(np.array([[0.0], [1.0], [1e6], [2.0], [3.0]], np.float32), "euclidean")
    >>> bool(doubt(points, points.X[:1], kth=np.array([-1.0]))[0] < 1e-3 < doubt(points, points.X[:1])[0])
    True
    """
    unit, squares = _unit(points), points.squares(queries)
    own = np.sqrt(squares)
    if points.metric != "euclidean":
        return np.asarray(2 * unit * (1.0 if points.metric == "cosine" else float(points.norms.max())) * own)
    largest = np.full(own.shape, float(points.norms.max()))
    if kth is not None:
        within = own + np.sqrt(np.maximum(squares - kth, 0))  # |q - x|^2 = |q|^2 less the score
        largest = np.minimum(largest, within * (1 + 8 * np.sqrt(unit)))  # the k-th score is rounded, too
    return np.asarray(2 * unit * largest * (own + largest))


def contenders(
    points: PointSet, scores: Array, queries: Floats, *, tile: slice, least: NDArray[np.float64], backend: Backend
) -> Array:
    """Whether points of a tile may be as similar to queries (b, d) as `least` (b,), by their scores (b, t).

    Each pair has a doubt of its own: one far point among the others leaves them alone.
    """
    unit, squares = _unit(points), points.squares(queries)
    euclidean = points.metric == "euclidean"
    lengths = np.ones(points.norms[tile].size) if points.metric == "cosine" else points.norms[tile]
    pairs = np.sqrt(squares)[:, None] * lengths + (lengths**2 if euclidean else 0)
    # a similarity is rounded to float32, too; a score of distances leaves out the square of the query
    floor = least - 4 * rounding_unit(np.float32) * np.abs(least) + (squares if euclidean else 0)
    return backend.xp.greater_equal(scores, backend.asarray(floor[:, None] - 2 * unit * pairs))


def _unit(points: PointSet) -> float:
    return float(8 * rounding_unit(np.float32) * np.sqrt(points.X.shape[1]))
