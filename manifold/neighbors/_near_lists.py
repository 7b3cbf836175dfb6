"""What is near those who are near: lists of some points, found in cells, and the lists of all in; better ones out."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from manifold._typing import Ints
from manifold.backends.threads import in_threads
from manifold.neighbors._base import Neighbors
from manifold.neighbors.points import Floats, PointSet

Cells: TypeAlias = NDArray[np.int32]
Found: TypeAlias = tuple[Ints, Floats]
Pairs: TypeAlias = tuple[Ints, Ints, Floats]  # rows, who may enter their lists, and the similarities

_WIDTH = 10  # neighbours of neighbours: of so many, so many each
_RANGE = 256  # points that a thread takes at a time


def similarities_of(points: PointSet, queries: Floats, ids: Ints) -> Floats:
    """Return the similarities (m, c) of points to queries, each by the sum that every search takes; -inf beside -1.

    >>> points = PointSet(np.eye(2, dtype=np.float32), "cosine")
    >>> similarities_of(points, points.X, np.array([[0, 1], [0, -1]])).tolist()
    [[1.0, 0.0], [0.0, -inf]]
    """
    from manifold.backends.compiled_lists import compare

    out = np.full(ids.shape, -np.inf, np.float32)
    in_threads(lambda i, j: compare(queries, *points.plain, ids, out, i, j), len(ids), step=_RANGE)
    return out


def with_near_lists(
    points: PointSet, rows: Ints, lists: Neighbors, *, found: Found, cell: Cells, visits: Cells, last: Floats
) -> tuple[Ints, Floats, Pairs]:
    """Return lists (m, k) of rows with what those listed list, where it is better, and pairs that `last` lets enter.

    Cells (n,) of all points, and those (m, p) whose members the rows have met, say whom they know already.

    >>> points = PointSet(np.array([[0.0], [1.0], [2.0], [2.5]], np.float32), "euclidean")
    >>> lists = Neighbors([[1], [2], [1]], [[-1], [-1], [-1]], "euclidean", "by hand")
    >>> some = np.array([[1]]), np.array([[-2.25]], np.float32)
    >>> cell, visits, last = np.arange(4, dtype=np.int32), np.array([[3, 1]], np.int32), np.full(4, -1, np.float32)
    >>> more = with_near_lists(points, np.array([3]), lists, found=some, cell=cell, visits=visits, last=last)
    >>> more[0].tolist(), [part.tolist() for part in more[2]]
    ([[2]], [[2], [3], [-0.25]])
    """
    from manifold.backends.compiled_edges import look_on

    m, width = rows.size, min(_WIDTH, lists.n_neighbors, found[0].shape[1])
    first = found[0][:, :width]
    known = (first >= 0) & (first < lists.n_nodes)
    second = np.where(known[:, :, None], lists.indices[np.where(known, first, 0), :width], -1).reshape(m, -1)
    ids, best = found[0].astype(np.int32), found[1].copy()
    met = np.full((m, second.shape[1] if last.size else 0), -1, np.int32)
    values, asked = np.empty(met.shape, np.float32), points.rows(rows)
    given = points.plain, rows, second.astype(np.int32), (cell, visits), (best, ids), (last, met, values)
    in_threads(lambda i, j: look_on(asked, *given, i, j), m, step=_RANGE)
    at, place = np.nonzero(met >= 0)
    return ids.astype(np.int64), best, (met[at, place].astype(np.int64), rows[at], values[at, place])
