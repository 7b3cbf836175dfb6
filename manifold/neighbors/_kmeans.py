"""The cells of a k-means on a sample of the points, many of them in two levels; near cells have near numbers.

In: points (n, d). Out: centres, and the cells whose centres are nearest to each point. A few of Lloyd's iterations, two
products each. More than `FLAT` cells are cells of cells: a point looks for its own in the nearest large ones
alone, which makes n c^1.5 operations n c. Cells are numbered along a bisection of their centres, so that a range of
them is a piece of space.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold._typing import Ints
from manifold.backends import Array, Backend
from manifold.backends.threads import in_threads
from manifold.neighbors._large_cells import NOWHERE, Cells, Parts, near_order, times_as_far
from manifold.neighbors._shortlists import compiled_kernels
from manifold.neighbors.points import GATHER, PointSet

TRAINED = 1 << 24  # numbers of points that a k-means of one level sees, at most: 64 MiB
_TRAINING = 32  # points a cell that k-means sees
_ITERATIONS = 4
FLAT = 1024  # cells of one level, at most
_LARGE = 4  # times the root of the number of cells: as many large ones, then, as cells of the large ones that are near
CLOSE = 2  # cells that are probed however far the second is: one may hold hardly anybody
_ROWS = 8192  # that look together: products then have a hundred rows or more


class KMeans:
    """Centres, and which are nearest; the same bits for any number of threads.

    Parameters
    ----------
    points : PointSet
    n_cells : int
        Of n points at most n; of two levels a few less where large cells hold too few points.
    """

    def __init__(self, points: PointSet, n_cells: int, *, backend: Backend, rng: np.random.Generator) -> None:
        n, d = points.X.shape
        self.points, self.backend, self.n_cells = points, backend, min(n_cells, n)
        self.supers, self.owner = np.empty((0, d), np.float32), np.zeros(self.n_cells, np.int32)
        # a device compares with all cells in no time
        if self.n_cells <= FLAT or not backend.owns(points.X[:0]):
            size = min(n, _TRAINING * self.n_cells, max(self.n_cells, TRAINED // d))
            chosen = np.sort(rng.choice(n, size, replace=False))
            centres = self._trained(chosen, self.n_cells, rng)
        else:
            centres = self._in_two_levels(rng)
        order = near_order(backend.to_host(centres))
        self.centres, self.owner = centres[backend.asarray(order)], self.owner[order]

    @classmethod
    def _of(cls, points: PointSet, centres: Array, supers: Array, owner: Cells, *, backend: Backend) -> KMeans:
        """Take centres that were trained, for other points."""
        made = object.__new__(cls)
        made.points, made.backend, made.n_cells = points, backend, len(centres)
        made.centres, made.supers, made.owner = centres, supers, owner
        return made

    def _in_two_levels(self, rng: np.random.Generator) -> Array:
        """Return centres of the parts of large cells, and keep whose parts they are; as many as there are points."""
        n = self.points.X.shape[0]
        n_large = min(round(_LARGE * self.n_cells**0.5), self.n_cells // 2)
        large = KMeans(self.points, n_large, backend=self.backend, rng=rng)
        chosen = np.sort(rng.choice(n, min(n, _TRAINING * self.n_cells), replace=False))
        own = large.nearest(chosen, 1)[:, 0]
        sizes = np.bincount(own, minlength=large.n_cells)
        bounds = np.round(np.cumsum(sizes) * (self.n_cells / chosen.size)).astype(np.int64)
        counts = np.minimum(np.diff(bounds, prepend=0), sizes)
        of_one = np.split(chosen[np.argsort(own, kind="stable")], np.cumsum(sizes)[:-1])
        parts = [self._trained(rows, int(count), rng) for rows, count in zip(of_one, counts, strict=True) if count]
        whole = np.flatnonzero(counts)  # the nearest one has a cell
        self.supers = self.backend.to_host(large.centres)[whole]
        self.owner = np.repeat(np.arange(whole.size, dtype=np.int32), counts[whole])
        self.n_cells = self.owner.size
        return self.backend.xp.concatenate(parts)

    def _trained(self, chosen: Ints, n_cells: int, rng: np.random.Generator) -> Array:
        """Return centres (c, d) of points with these ids, by a few of Lloyd's iterations."""
        xp, size, rows = self.backend.xp, chosen.size, self._rows(chosen)
        centres = rows[self.backend.asarray(np.sort(rng.choice(size, n_cells, replace=False)))]
        nearest = np.empty(size, np.int64)
        for _ in range(_ITERATIONS):

            def assign(first: int, last: int, centres: Array = centres) -> None:
                scores = self._scores(rows[first:last], centres)
                nearest[first:last] = self.backend.to_host(xp.argmax(scores, axis=1))

            self._in_ranges(assign, size, step=2048)
            sizes = np.bincount(nearest, minlength=n_cells)
            ends = np.concatenate([[0], np.cumsum(sizes)])
            members = np.argsort(nearest, kind="stable")
            shares = (1 / np.maximum(sizes, 1)).astype(np.float32)[nearest[members]]
            average = self.backend.csr(sparse.csr_array((shares, members, ends), shape=(n_cells, size)), dtype="f4")
            means = self.backend.spmm(average, rows)
            centres = xp.where(self.backend.asarray(sizes > 0)[:, None], means, centres)
        return centres

    def _in_ranges(self, work: Callable[[int, int], None], n: int, *, step: int) -> None:
        """Do work that multiplies: in ranges that do not depend on the number of threads, so that no bit does."""
        n_threads = None if self.backend.owns(self.points.X[:0]) else 1  # a device has one queue of work
        in_threads(work, n, step=step, n_threads=n_threads, blas=True)

    def _rows(self, which: slice | Ints) -> Array:
        return self.backend.asarray(self.points.centred(which))

    def _scores(self, rows: Array, centres: Array) -> Array:
        scores = rows @ centres.T
        scores -= self.backend.row_dots(centres, centres) / 2
        return scores

    @property
    def step(self) -> int:
        """Rows that look for their cells together: products of the same rows, cut the same way, have the same bits."""
        d = int(self.points.X.shape[1])
        return max(1, min(_ROWS, GATHER // d) if len(self.supers) else GATHER // 4 // max(d, self.n_cells))

    def nearest(
        self, ids: Ints | None, n_probes: int, reach: float = np.inf, *, far: NDArray[np.float32] | None = None
    ) -> Cells:
        """Return the cells (m, p) whose centres are nearest to some points, or to all, nearest first.

        `NOWHERE` stands for those farther than `reach` times as the few nearest, but for two. `far` (m, p) is filled.
        """
        out = np.empty((self.points.X.shape[0] if ids is None else ids.size, n_probes), np.int32)
        parts = Parts.of(self.centres, self.owner, len(self.supers)) if len(self.supers) else None
        kernels = compiled_kernels(self.points)  # loaded, they serve all selections

        def work(first: int, last: int) -> None:
            rows = self._rows(slice(first, last) if ids is None else ids[first:last])
            if parts is not None:
                large = self.backend.top_k(self._scores(rows, self.supers), parts.enough(n_probes))[0]
                cells, scores = parts.nearest(rows, large, n_probes, backend=self.backend, kernels=kernels)
            else:
                found = self.backend.top_k(self._scores(rows, self.centres), n_probes)
                cells, scores = map(self.backend.to_host, found)
            out[first:last] = cells
            if far is not None or reach < np.inf:
                times = times_as_far(self.backend.to_host((rows * rows).sum(axis=1)), scores)
                out[first:last, CLOSE:][times[:, CLOSE:] > reach] = NOWHERE
                if far is not None:
                    far[first:last] = times

        self._in_ranges(work, len(out), step=self.step)
        return out
