"""What is near those who are near: lists of some points, found in cells, and the lists of all in; better ones out."""

from __future__ import annotations

import numpy as np

from manifold._typing import Ints
from manifold.backends.threads import in_threads
from manifold.neighbors._base import Neighbors, sort_rows
from manifold.neighbors.points import Floats, PointSet

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
    points: PointSet, rows: Ints, lists: Neighbors, *, ids: Ints, similarities: Floats
) -> tuple[Ints, Floats, tuple[Ints, Ints, Floats]]:
    """Return lists (m, k) of rows with what those listed list, where it is better, and all that was met, as pairs.

    >>> points = PointSet(np.array([[0.0], [1.0], [2.0], [2.5]], np.float32), "euclidean")
    >>> lists = Neighbors([[1], [2], [1]], [[-1], [-1], [-1]], "euclidean", "by hand")
    >>> some = np.array([[1]]), np.array([[-2.25]], np.float32)
    >>> with_near_lists(points, np.array([3]), lists, ids=some[0], similarities=some[1])[0].tolist()
    [[2]]
    """
    m, k, width = rows.size, ids.shape[1], min(_WIDTH, lists.n_neighbors, ids.shape[1])
    first = ids[:, :width]
    known = (first >= 0) & (first < lists.n_nodes)
    second = np.where(known[:, :, None], lists.indices[np.where(known, first, 0), :width], -1).reshape(m, -1)
    second = np.sort(second.astype(np.int64), axis=1)
    second[:, 1:][second[:, 1:] == second[:, :-1]] = -1
    second[second == rows[:, None]] = -1
    values = similarities_of(points, points.rows(rows), second)
    met = second >= 0
    pairs = second[met], np.broadcast_to(rows[:, None], second.shape)[met], values[met]
    values[values <= similarities[:, -1:]] = -np.inf  # most are not among the best, or are listed
    best = np.argsort(-values, axis=1, kind="stable")[:, :k]
    both = (
        np.hstack([ids, np.take_along_axis(second, best, axis=1)]),
        np.hstack([similarities, np.take_along_axis(values, best, axis=1)]),
    )
    both[0][np.isneginf(both[1])] = -1
    wider = sort_rows(*both, drop_self=False)
    return wider[0][:, :k].astype(np.int64), wider[1][:, :k], pairs
