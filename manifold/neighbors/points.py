"""The rows that are searched: looked at once, and passed on as they are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from manifold.backends import Array, Backend, get_backend, rounding_unit

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

GATHER = 1 << 22  # numbers of candidates, or of rows under conversion, held at a time: 16 MiB
_TINY = 1e-30  # norms beyond this, or its inverse, are divided by in float64
_HOST = get_backend("scipy")


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


def slices(n: int, step: int) -> Iterator[slice]:
    """Return slices of `step` that cover 0..n-1."""
    return (slice(start, min(start + step, n)) for start in range(0, n, step))
