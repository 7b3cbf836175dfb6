"""Similarities of points that are known by their rows: queries and lists of rows in, a number for each out.

Of many points in machine code, which reads rows where they lie: to the bits of `PointSet.compare`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from manifold._typing import Ints
from manifold.backends.threads import in_threads
from manifold.neighbors._shortlists import plain_rows
from manifold.neighbors.points import PointSet

_MANY = 1 << 22  # numbers of the points, from which on machine code is loaded by whatever searches them
_STEP = 16  # queries that a thread takes at a time


def similarities_to(queries: PointSet, points: PointSet, rows: Ints, *, own: Ints | None = None) -> NDArray[np.float32]:
    """Return the similarities (q, k) of the items at `rows` to the queries, or to those of them named by `own`.

    Where a row is -1 nothing is compared, and -inf stands.

    >>> rows = np.array([[0.0, 2.0], [3.0, 0.0]], dtype=np.float32)
    >>> points = PointSet(rows, "cosine")
    >>> similarities_to(points, points, np.array([[1, 0]]), own=np.array([1])).tolist()
    [[1.0, 0.0]]
    """
    found = np.full(rows.shape, -np.inf, dtype=np.float32)
    if points.X.size > _MANY and plain_rows(points):
        from manifold.backends.compiled_lists import compare  # loads the compiler: only where it is asked for

        asking, (X, norms, largest) = queries.rows(slice(len(rows)) if own is None else own), points.plain
        asking, rows = np.ascontiguousarray(asking), np.ascontiguousarray(rows, dtype=np.int64)

        def work(first: int, last: int) -> None:
            compare(asking, X, norms, largest, rows, found, first, last)

        if len(rows) <= _STEP:  # to ask for threads costs as much as an answer
            work(0, len(rows))
        else:
            in_threads(work, len(rows), step=_STEP)
        return found
    for j, items in enumerate(rows):
        asking, some = queries.rows(np.array([j if own is None else own[j]])), items >= 0
        found[j, some] = points.compare(points.rows(items[some])[None], asking)[0]
    return found
