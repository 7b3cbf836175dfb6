"""Exact nearest neighbours: tiles of one matrix product, candidates, then a second opinion on each.

In: queries (m, d) and points (n, d) float32. Out: ids and similarities (m, k) by (-similarity, id). A matrix
product gives different last bits for another tile shape or thread count, so it only proposes candidates; the
similarity that is stored and sorted by is a fixed-order sum per pair, the same bits for (x, z) and (z, x). Products,
selections and sums run where the backend is; what comes out is on the host, as a graph is.
"""

from __future__ import annotations

import numpy as np

from manifold._progress import Progress, shown
from manifold._typing import Ints
from manifold.backends import Array, Backend, in_blocks
from manifold.neighbors._doubt import contenders, doubt
from manifold.neighbors.points import GATHER, Floats, PointSet, slices

QUERY_TILE = 2048  # tall, since each tile of points is normalised anew for each tile of queries
POINT_TILE = 8192  # 2048 x 8192 float32 scores are 64 MiB, whatever n is
SPARE = 8  # candidates beyond k, so that rounding at the k-th place rarely needs the slow path


def tiles_forecast(n: int, d: int, k: int) -> int:
    """Return the bytes, at most, that `exact_search` takes: tiles, and lists with the copies they are made through.

    >>> tiles_forecast(60_000, 784, 50) < 400e6
    True
    """
    queries, tile = min(n, QUERY_TILE), min(n, POINT_TILE)
    tiles = 2 * queries * tile + (queries + 3 * tile) * d
    candidates = 3 * max(GATHER, queries * d) + 4 * queries * (k + 16)
    return 5 * 8 * n * k + 12 * n + 4 * (tiles + candidates)


@np.errstate(under="ignore")
def exact_search(
    queries: PointSet,
    points: PointSet,
    *,
    k: int,
    backend: Backend,
    drop_self: bool = False,
    rows: Ints | None = None,
    progress: Progress | bool | None = None,
) -> tuple[Ints, Floats]:
    """Return ids and similarities (m, k) of the k most similar points, equal ones by ascending id.

    Reference: guide *scale*, "The search for neighbours".

    Parameters
    ----------
    queries, points : PointSet
        Of one metric; the same object to search a set within itself.
    k : int
        At most n, or n - 1 with `drop_self`.
    drop_self : bool
        Leave out of row i the point with the id of query i.
    rows : (m,) int, optional
        Only these queries.
    progress : bool or callable(done, total), optional
        Called after each tile of queries.

    Notes
    -----
    Cost: 2 m n d operations in tiles of 2048 x 8192; a few tiles of memory, whatever m and n are.

    Examples
    --------
    >>> from manifold.backends import get_backend
    >>> points, queries = (PointSet(np.array(X, np.float32), "euclidean") for X in ([[0], [3], [5]], [[4]]))
    >>> ids, similarities = exact_search(queries, points, k=2, backend=get_backend())
    >>> ids.tolist(), similarities.tolist()
    ([[1, 2]], [[-1.0, -1.0]])
    """
    points.check_range(queries)
    rows = np.arange(queries.X.shape[0]) if rows is None else rows
    ids = np.empty((rows.size, k), dtype=np.int64)
    similarities = np.empty((rows.size, k), dtype=np.float32)
    placed = Placed(points, backend)

    def search(tile: slice) -> None:
        asked, own = queries.rows(rows[tile]), rows[tile] if drop_self else None
        ids[tile], similarities[tile] = _search_tile(asked, placed, k=k, own=own)
        if report is not None:
            report(tile.stop, rows.size)

    n, d = points.X.shape
    widest = min(n, POINT_TILE)
    with shown(progress, "neighbours") as report:
        in_blocks(search, rows.size, most=QUERY_TILE, bytes_each=4 * (2 * widest + 6 * d), backend=backend)
    return ids, similarities


class Placed:
    """A set of points where the search works: sent over once where a device has room for it, else tile by tile."""

    def __init__(self, points: PointSet, backend: Backend) -> None:
        self.points, self.backend = points, backend
        self._kept: Array = None
        n, d = points.X.shape
        if not backend.owns(points.X[:0]) and 4 * 4 * n * d < backend.free_memory():
            self._kept = backend.xp.empty((n, d), dtype=np.float32)
            for part in points.parts(n):
                self._kept[part] = backend.asarray(points.rows(part))

    def rows(self, which: Array) -> Array:
        """Return rows as the metric compares them, for a slice or for ids on the backend."""
        if self._kept is not None:
            return self._kept[which]
        return self.backend.asarray(
            self.points.rows(which if isinstance(which, slice) else self.backend.to_host(which))
        )


def _search_tile(queries: Floats, placed: Placed, *, k: int, own: Ints | None) -> tuple[Ints, Floats]:
    """Search one tile of queries through all tiles of points."""
    points, backend, xp = placed.points, placed.backend, placed.backend.xp
    asked, n = backend.asarray(queries), points.X.shape[0]
    found = []
    for tile in slices(n, POINT_TILE):
        scores = points.propose(asked, tile, backend, rows=placed.rows(tile))
        if own is not None:
            here = np.flatnonzero((own >= tile.start) & (own < tile.stop))
            if here.size:
                scores[backend.asarray(here), backend.asarray(own[here] - tile.start)] = -np.inf
        ids, best = backend.top_k(scores, k + SPARE)
        found.append((ids + tile.start, best))
    ids, scores = (xp.concatenate(list(parts), axis=1) for parts in zip(*found, strict=True))
    order, scores = backend.top_k(scores, k + SPARE)
    lists = rank_candidates(xp.take_along_axis(ids, order, axis=1), asked, placed, k=k, own=own)
    chosen, similarities = (backend.to_host(x) for x in lists)
    if scores.shape[1] == n:
        return chosen, similarities
    # where the last candidate is as good as the k-th within rounding, one left out may be better: look at each pair
    kth = backend.to_host(scores[:, k - 1]).astype(np.float64)
    doubts = doubt(points, queries, kth=kth)
    doubtful = backend.to_host(scores[:, -1] >= scores[:, k - 1] - backend.asarray(doubts))
    for i in np.flatnonzero(doubtful):
        one, least = queries[i : i + 1], similarities[i, -1:].astype(np.float64)
        among = []
        for tile in slices(n, POINT_TILE):
            scores = points.propose(asked[i : i + 1], tile, backend, rows=placed.rows(tile))
            some = contenders(points, scores, one, tile=tile, least=least, backend=backend)
            among.append(tile.start + np.flatnonzero(backend.to_host(some)[0]))
        lists = rank_candidates(
            backend.asarray(np.concatenate(among))[None, :],
            asked[i : i + 1],
            placed,
            k=k,
            own=None if own is None else own[i : i + 1],
        )
        chosen[i], similarities[i] = (backend.to_host(x)[0] for x in lists)
    return chosen, similarities


def rank_candidates(
    candidates: Array, queries: Array, placed: Placed, *, k: int, own: Ints | None
) -> tuple[Array, Array]:
    """Compare each query with its candidates (b, c) and return the best k by (-similarity, id)."""
    backend, xp, (b, c) = placed.backend, placed.backend.xp, candidates.shape
    candidates = xp.sort(candidates, axis=1)  # so that equal similarities are met by ascending id
    step = max(1, GATHER // (placed.points.X.shape[1] * b))
    parts = [placed.points.compare(placed.rows(candidates[:, part]), queries, backend) for part in slices(c, step)]
    similarities = xp.concatenate(parts, axis=1)
    if own is not None:
        similarities = xp.where(candidates == backend.asarray(own)[:, None], np.float32(-np.inf), similarities)
    order, best = backend.top_k(similarities, k)
    return xp.take_along_axis(candidates, order, axis=1), best
