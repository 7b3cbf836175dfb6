"""Exact nearest neighbours: tiles of one matrix product, candidates, then a second opinion on each.

In: queries (m, d) and points (n, d) float32. Out: ids and similarities (m, k) by (-similarity, id). A matrix
product gives different last bits for another tile shape or thread count, so it only proposes candidates; the
similarity that is stored and sorted by is a fixed-order sum per pair, the same bits for (x, z) and (z, x).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from manifold.backends import Array, Backend, rounding_unit

Progress = Callable[[int, int], None]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

QUERY_TILE = 2048  # tall, since each tile of points is normalised anew for each tile of queries
POINT_TILE = 8192  # 2048 x 8192 float32 scores are 64 MiB, whatever n is
_TINY = 1e-30  # norms beyond this, or its inverse, are divided by in float64
GATHER = 1 << 22  # numbers of candidates, or of rows under conversion, held at a time: 16 MiB
_SPARE = 8  # candidates beyond k, so that rounding at the k-th place rarely needs the slow path


class PointSet:
    """The rows that are searched, with what their metric needs of each: a scale, and a squared norm."""

    def __init__(self, X: Floats, metric: str) -> None:
        self.X, self.metric = X, metric
        n = X.shape[0]
        # the centre of the points keeps distances exact where all of them lie far from the origin
        self.centre = X.mean(axis=0, dtype=np.float64).astype(np.float32) if metric == "euclidean" and n else None
        squares = [self._squares(X[rows]) for rows in self.parts(n)]
        self.norms = np.sqrt(np.concatenate([np.empty(0), *squares]))
        self._extreme = (self.norms > 0) & ((self.norms < _TINY) | (self.norms > 1 / _TINY))

    def _squares(self, rows: Floats) -> NDArray[np.float64]:
        # float64: 1e30 is a valid float32 feature and its square is not
        rows = rows if self.centre is None else rows - self.centre
        squares: NDArray[np.float64] = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
        return squares

    def parts(self, n: int) -> Iterator[slice]:
        """Return slices of 0..n-1, each of as many rows as may be copied at once."""
        return slices(n, max(1, GATHER // self.X.shape[1]))

    def rows(self, which: slice | Ints) -> Floats:
        """Return rows as the metric compares them: unit length for cosine."""
        X: Floats = self.X[which]
        if self.metric != "cosine":
            return X
        norms, extreme = self.norms[which], self._extreme[which]
        # row by row the same bits, whatever rows are asked for together
        with np.errstate(under="ignore"):
            unit: Floats = X / np.where((norms > 0) & ~extreme, norms, 1.0).astype(np.float32)[..., None]
            if extreme.any():
                unit[extreme] = X[extreme] / norms[extreme, None]
        return unit

    def propose(self, queries: Floats, tile: slice, backend: Backend) -> Array:
        """Return scores (b, t) on the backend that order the points as the similarity does, up to rounding."""
        points = self.rows(tile)
        if self.centre is None:
            return backend.asarray(queries) @ backend.asarray(points).T
        squares = backend.asarray((self.norms[tile] ** 2).astype(np.float32))
        products = backend.asarray(2 * (queries - self.centre)) @ backend.asarray(points - self.centre).T
        products -= squares  # in place: a tile is the largest array of the search
        return products

    def compare(self, points: Floats, queries: Floats) -> Floats:
        """Return the similarities (b, c) of points (b, c, d) to queries (b, d), each summed in one order."""
        if self.metric != "euclidean":
            products: Floats = np.einsum("bcd,bd->bc", points, queries)
            return products
        difference = points - queries[:, None, :]
        squares: Floats = np.einsum("bcd,bcd->bc", difference, difference)
        return np.float32(0) - squares

    def check_range(self, queries: PointSet) -> None:
        """Raise ValueError where a similarity of these points to `queries` would overflow float32."""
        if self.metric == "cosine" or not (self.norms.size and queries.norms.size):
            return
        here = there = float(self.norms.max())
        if queries is not self:
            there = max(float(np.sqrt(self._squares(queries.X[rows])).max()) for rows in self.parts(len(queries.X)))
        largest = here * there if self.metric == "inner_product" else (here + there) ** 2
        if largest > float(np.finfo(np.float32).max) / 2:
            raise ValueError(
                f"features of norm {max(here, there):.1e} overflow float32 under metric={self.metric!r}: rescale them"
            )

    def doubt(self, queries: Floats) -> NDArray[np.float64]:
        """Return (b,) how far two scores must lie apart for rounding not to have changed their order.

        Eight standard deviations of the rounding error of a float32 inner product of d terms.
        """
        unit = 8 * rounding_unit(np.float32) * np.sqrt(queries.shape[1])
        largest = 1.0 if self.metric == "cosine" else float(self.norms.max())
        own = np.sqrt(self._squares(queries))
        doubt: NDArray[np.float64] = 2 * unit * largest * (own + largest if self.metric == "euclidean" else own)
        return doubt


@np.errstate(under="ignore")
def exact_search(
    queries: PointSet,
    points: PointSet,
    *,
    k: int,
    backend: Backend,
    drop_self: bool = False,
    rows: Ints | None = None,
    progress: Progress | None = None,
) -> tuple[Ints, Floats]:
    """Return ids and similarities (m, k) of the k most similar points, equal ones by ascending id.

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
    progress : callable(done, total), optional
        Called after each tile of queries.

    Notes
    -----
    Cost: 2 m n d operations in tiles of 2048 x 8192; a few tiles of memory, whatever m and n are.
    """
    points.check_range(queries)
    rows = np.arange(queries.X.shape[0]) if rows is None else rows
    ids = np.empty((rows.size, k), dtype=np.int64)
    similarities = np.empty((rows.size, k), dtype=np.float32)
    for tile in slices(rows.size, QUERY_TILE):
        own = rows[tile] if drop_self else None
        ids[tile], similarities[tile] = _search_tile(queries.rows(rows[tile]), points, k=k, own=own, backend=backend)
        if progress is not None:
            progress(tile.stop, rows.size)
    return ids, similarities


def _search_tile(
    queries: Floats, points: PointSet, *, k: int, own: Ints | None, backend: Backend
) -> tuple[Ints, Floats]:
    """Search one tile of queries through all tiles of points."""
    n = points.X.shape[0]
    found_ids, found_scores = [], []
    for tile in slices(n, POINT_TILE):
        scores = points.propose(queries, tile, backend)
        if own is not None:
            here = np.flatnonzero((own >= tile.start) & (own < tile.stop))
            scores[backend.asarray(here), backend.asarray(own[here] - tile.start)] = -np.inf
        ids, best = backend.top_k(scores, k + _SPARE)
        found_ids.append(backend.to_host(ids) + tile.start)
        found_scores.append(backend.to_host(best))
    merged_ids, merged = np.concatenate(found_ids, axis=1), np.concatenate(found_scores, axis=1)
    order, scores = (backend.to_host(x) for x in backend.top_k(backend.asarray(merged), k + _SPARE))
    candidates = np.take_along_axis(merged_ids, order, axis=1)
    ids, similarities = _rank(candidates, queries, points, own=own, k=k)
    if scores.shape[1] == n:
        return ids, similarities
    # where the last candidate is as good as the k-th within rounding, one left out may be better: look at all
    for i in np.flatnonzero(scores[:, -1] >= scores[:, k - 1] - points.doubt(queries)):
        everyone = np.arange(n)[None, :]
        self_id = None if own is None else own[i : i + 1]
        ids[i], similarities[i] = (part[0] for part in _rank(everyone, queries[i : i + 1], points, own=self_id, k=k))
    return ids, similarities


def _rank(candidates: Ints, queries: Floats, points: PointSet, *, own: Ints | None, k: int) -> tuple[Ints, Floats]:
    """Compare each query with its candidates (b, c) and return the best k by (-similarity, id)."""
    b, c = candidates.shape
    similarities = np.empty((b, c), dtype=np.float32)
    step = max(1, GATHER // (points.X.shape[1] * b))
    for part in slices(c, step):
        similarities[:, part] = points.compare(points.rows(candidates[:, part]), queries)
    if own is not None:
        similarities[candidates == own[:, None]] = -np.inf
    order = np.lexsort((candidates, -similarities))[:, :k]
    return np.take_along_axis(candidates, order, axis=1), np.take_along_axis(similarities, order, axis=1)


def slices(n: int, step: int) -> Iterator[slice]:
    """Return slices of `step` that cover 0..n-1."""
    return (slice(start, min(start + step, n)) for start in range(0, n, step))
