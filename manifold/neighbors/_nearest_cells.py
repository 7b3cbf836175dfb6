"""Points and centres in, the cells out whose centres are nearest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from manifold._typing import Ints
from manifold.backends.threads import in_threads
from manifold.neighbors.points import GATHER, PointSet


def nearest_cells(points: PointSet, centres: NDArray[np.float32], rows: Ints, *, n_cells: int) -> NDArray[np.int32]:
    """Return the cells (m, n_cells) whose centres are nearest to some of the points, nearest first.

    >>> points = PointSet(np.eye(3, dtype=np.float32), "cosine")
    >>> nearest_cells(points, points.X, np.array([2, 0]), n_cells=1).tolist()
    [[2], [0]]
    """
    halves = (centres.astype(np.float64) ** 2).sum(axis=1).astype(np.float32) / 2
    p = n_cells
    nearest = np.empty((rows.size, p), np.int32)

    def work(first: int, last: int) -> None:
        scores = points.centred(rows[first:last]) @ centres.T - halves
        some = np.argpartition(-scores, p - 1, axis=1)[:, :p] if p < len(centres) else np.arange(p)[None, :]
        best = np.take_along_axis(scores, np.broadcast_to(some, (len(scores), p)), axis=1)
        order = np.argsort(-best, axis=1, kind="stable")
        nearest[first:last] = np.take_along_axis(np.broadcast_to(some, best.shape), order, axis=1)

    in_threads(work, rows.size, step=max(1, GATHER // 4 // max(centres.shape)), blas=True)
    return nearest
