"""Points and centres in, the cells out whose centres are nearest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from manifold._typing import Ints
from manifold.backends import get_backend
from manifold.backends.threads import in_threads
from manifold.neighbors.points import GATHER, PointSet

_HOST = get_backend("scipy")


def nearest_cells(points: PointSet, centres: NDArray[np.float32], rows: Ints, *, n_cells: int) -> NDArray[np.int32]:
    """Return the cells (m, n_cells) whose centres are nearest to some of the points, nearest first.

    >>> points = PointSet(np.eye(3, dtype=np.float32), "cosine")
    >>> nearest_cells(points, points.X, np.array([2, 0]), n_cells=1).tolist()
    [[2], [0]]
    """
    halves = (centres.astype(np.float64) ** 2).sum(axis=1).astype(np.float32) / 2
    nearest = np.empty((rows.size, n_cells), np.int32)

    def work(first: int, last: int) -> None:
        nearest[first:last] = _HOST.top_k(points.centred(rows[first:last]) @ centres.T - halves, n_cells)[0]

    in_threads(work, rows.size, step=max(1, GATHER // 2 // max(centres.shape)), blas=True)
    return nearest
