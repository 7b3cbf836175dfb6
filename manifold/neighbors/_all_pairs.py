"""Exact nearest neighbours of a set within itself: each pair of points is multiplied once, and serves both.

In: points (n, d). Out: ids and similarities (n, k) by (-similarity, id), the same bits as those of `exact_search`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from manifold._progress import Progress
from manifold._typing import Ints, RandomState
from manifold.backends import Backend
from manifold.neighbors._base import Neighbors
from manifold.neighbors._doubt import doubt
from manifold.neighbors._exact import SPARE, exact_search, tiles_forecast
from manifold.neighbors._shortlists import Shortlists, lists_forecast, plain_rows
from manifold.neighbors.points import Floats, PointSet, slices

_TILE = 2048  # points that all later ones are compared with at a time
_WORTH = 1 << 33  # numbers multiplied from which on loading the compiled kernels, a third of a second once, pays


@dataclass(frozen=True)
class Exact:
    """Compare every point with every other; there is nothing to set. ``method="exact"``.

    Reference: guide *scale*, "The search for neighbours".

    Examples
    --------
    >>> from manifold.neighbors import find_neighbors
    >>> find_neighbors([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], 1, method=Exact()).indices.tolist()
    [[1], [0], [1]]
    """

    def search(
        self,
        points: PointSet,
        k: int,
        *,
        backend: Backend,
        random_state: RandomState = None,
        progress: Progress | None = None,
    ) -> Neighbors:
        """Return the k nearest others of each point, equal ones by ascending id; nothing here is random.

        Raises
        ------
        ValueError
            Where a similarity would overflow float32.

        Notes
        -----
        Cost: n^2 d operations on the host, twice as many on a device; memory as `memory_forecast` says.
        """
        ids, similarities = all_pairs_search(points, k=k, backend=backend, progress=progress)
        return Neighbors._trusted(ids.astype(np.int32), similarities, metric=points.metric, method="exact")

    def memory_forecast(self, n: int, d: int, k: int) -> int:
        """Return the bytes, at most, that the search takes beside the points.

        >>> Exact().memory_forecast(60_000, 784, 50) < 300e6
        True
        """
        compiled = find_spec("numba") is not None and worth_compiling(n, d)
        return lists_forecast(n, d, k + SPARE) if compiled else tiles_forecast(n, d, k)


def worth_compiling(n: int, d: int) -> bool:
    """Say whether n points of d features are compared for long enough to load the compiled kernels.

    >>> worth_compiling(1_000, 64), worth_compiling(60_000, 784)
    (False, True)
    """
    return n * n * d >= _WORTH


@np.errstate(under="ignore")
def all_pairs_search(
    points: PointSet, *, k: int, backend: Backend, progress: Progress | None = None
) -> tuple[Ints, Floats]:
    """Return ids and similarities (n, k) of the k most similar others of each point, equal ones by ascending id.

    Notes
    -----
    Cost: n^2 d operations, half of those of a search by queries, and lists (n, k + 8) beside a few tiles; where no
    compiled kernel keeps the lists, those of `exact_search`.
    """
    n, d = points.X.shape
    if not worth_compiling(n, d) or not backend.owns(points.X[:0]) or not plain_rows(points):
        return exact_search(points, points, k=k, drop_self=True, backend=backend, progress=progress)
    points.check_range(points)
    lists, every = Shortlists(points, k + SPARE, backend=backend), np.arange(n, dtype=np.int32)
    for tile in slices(n, _TILE):
        lists.compare(every[tile], every[tile.stop :])
        if progress is not None:
            progress(tile.stop, n)
    # as in `exact_search`: where the last candidate is as good as the k-th within rounding, one left out may be better
    kth = lists.scores[:, k - 1].astype(np.float64)
    # lists hold halves of the scores of distances
    doubts = np.concatenate([doubt(points, points.rows(part), kth=2 * kth[part]) for part in points.parts(n)])
    doubtful = np.flatnonzero(lists.scores[:, -1] >= kth - doubts)
    lists.rank(k, every)
    ids, similarities = lists.ids.astype(np.int64), lists.scores
    if doubtful.size:
        ids[doubtful], similarities[doubtful] = exact_search(
            points, points, k=k, rows=doubtful, drop_self=True, backend=backend
        )
    return ids, similarities
