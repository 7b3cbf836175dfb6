"""Exact nearest neighbours: tiles of one matrix product, candidates, then a second opinion on each.

In: queries (m, d) and points (n, d) float32. Out: ids and similarities (m, k) by (-similarity, id). A matrix
product gives different last bits for another tile shape or thread count, so it only proposes candidates; the
similarity that is stored and sorted by is a fixed-order sum per pair, the same bits for (x, z) and (z, x). Products,
selections and sums run where the backend is; what comes out is on the host, as a graph is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manifold._progress import Progress
from manifold.backends import Array, Backend, get_backend, in_blocks, rounding_unit

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

QUERY_TILE = 2048  # tall, since each tile of points is normalised anew for each tile of queries
POINT_TILE = 8192  # 2048 x 8192 float32 scores are 64 MiB, whatever n is
_TINY = 1e-30  # norms beyond this, or its inverse, are divided by in float64
GATHER = 1 << 22  # numbers of candidates, or of rows under conversion, held at a time: 16 MiB
_HOST = get_backend("scipy")
SPARE = 8  # candidates beyond k, so that rounding at the k-th place rarely needs the slow path


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
        self.has_extremes = metric == "cosine" and bool(self._extreme.any())

    def _squares(self, rows: Floats) -> NDArray[np.float64]:
        # float64: 1e30 is a valid float32 feature and its square is not
        rows = np.ascontiguousarray(rows if self.centre is None else rows - self.centre)  # one order of every sum
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

    def propose(self, queries: Array, tile: slice, backend: Backend, *, rows: Array = None) -> Array:
        """Return scores (b, t) on the backend that order the points as the similarity does, up to rounding."""
        queries = backend.asarray(queries)
        if rows is None and self.metric == "cosine" and not self.has_extremes and len(queries) < self.X.shape[1]:
            norms = self.norms[tile]  # scores are fewer than features: they are divided instead
            scores = queries @ backend.asarray(self.X[tile]).T
            scores *= backend.asarray((1 / np.where(norms > 0, norms, np.inf)).astype(np.float32))
            return scores
        rows = backend.asarray(self.rows(tile)) if rows is None else rows
        if self.centre is None:
            return queries @ rows.T
        centre = backend.asarray(self.centre)
        products = (2 * (queries - centre)) @ (rows - centre).T
        products -= backend.asarray((self.norms[tile] ** 2).astype(np.float32))  # in place: a tile is large
        return products

    def compare(self, points: Array, queries: Array, backend: Backend = _HOST) -> Array:
        """Return the similarities (b, c) of points (b, c, d) to queries (b, d), each summed in one order."""
        if self.metric != "euclidean":
            return backend.row_dots(points, queries[:, None, :])
        difference = points - queries[:, None, :]
        return np.float32(0) - backend.row_dots(difference, difference)

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
    placed = Placed(points, backend)

    def search(tile: slice) -> None:
        asked, own = queries.rows(rows[tile]), rows[tile] if drop_self else None
        ids[tile], similarities[tile] = _search_tile(asked, placed, k=k, own=own)
        if progress is not None:
            progress(tile.stop, rows.size)

    n, d = points.X.shape
    widest = min(n, POINT_TILE)
    in_blocks(search, rows.size, most=QUERY_TILE, bytes_each=4 * (2 * widest + 6 * d), backend=backend)
    return ids, similarities


class Placed:
    """A set of points where the search works: sent over once where a device has room for it, else tile by tile."""

    def __init__(self, points: PointSet, backend: Backend) -> None:
        self.points, self.backend, self._kept = points, backend, None
        n, d = points.X.shape
        if not backend.owns(points.X[:0]) and 4 * 4 * n * d < backend.free_memory():
            self._kept = backend.xp.empty((n, d), dtype=np.float32)
            for part in points.parts(n):
                self._kept[part] = backend.asarray(points.rows(part))

    def rows(self, which: Any) -> Array:
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
    # where the last candidate is as good as the k-th within rounding, one left out may be better: look at all
    doubtful = backend.to_host(scores[:, -1] >= scores[:, k - 1] - backend.asarray(points.doubt(queries)))
    for i in np.flatnonzero(doubtful):
        lists = rank_candidates(
            xp.arange(n)[None, :], asked[i : i + 1], placed, k=k, own=None if own is None else own[i : i + 1]
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


def slices(n: int, step: int) -> Iterator[slice]:
    """Return slices of `step` that cover 0..n-1."""
    return (slice(start, min(start + step, n)) for start in range(0, n, step))
