"""Approximate neighbours by an inverted file (Sivic and Zisserman, ICCV 2003; Jegou, Douze and Schmid, PAMI 2011).

In: points (n, d). Out: ids and similarities (n, k), every similarity exact, every row complete, and the share of true
neighbours among them, measured on a sample. Points are put into the cells of a coarse k-means; each is compared with
the members of the cells nearest to it, cell by cell, and since both points of a pair see its product, also with those
that come to visit its own cell. Then each looks at the neighbours of its neighbours in cells it has not been to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from manifold._checks import check_count
from manifold._progress import Progress
from manifold._typing import Ints, RandomState
from manifold.backends import Array, Backend
from manifold.backends.threads import in_threads
from manifold.neighbors._base import Neighbors, Partition
from manifold.neighbors._exact import SPARE, exact_search, tiles_forecast
from manifold.neighbors._recall import Sample
from manifold.neighbors._shortlists import NOBODY, Shortlists, compiled_kernels, lists_forecast
from manifold.neighbors.points import GATHER, PointSet

_TRAINING = 32  # points a cell that k-means sees
_TRAINED = 1 << 24  # numbers of points that k-means sees, at most: 64 MiB
_ITERATIONS = 4
_MOST_PROBES = 32
_SPARE = 2  # candidates beyond k, where rounding may have swapped the last ones
_WIDTH = 16  # neighbours of neighbours: of so many, so many each

Cells = NDArray[np.int32]


@dataclass(frozen=True)
class InvertedFile:
    """Compare points of near cells, approximately, the recall measured. ``method="inverted_file"``.

    Cells of a coarse quantizer, of which the nearest are searched.

    Reference: Jégou et al. (2011), section IV.

    Parameters
    ----------
    recall : float
        Share of true neighbours to be met before refinement, which adds to it: sets the number of probes.
    n_cells : int, optional
        By default sqrt(n), or fewer where they would hold less than 4 k points.
    n_probes : int, optional
        Cells that each point is compared with; by default the least that reaches `recall` on a sample, at most 32.
    n_refinements : int
        Rounds of looking at neighbours of neighbours.

    Raises
    ------
    TypeError, ValueError
        For settings out of range.

    Examples
    --------
    >>> InvertedFile(n_probes=8).n_refinements
    1
    """

    recall: float = 0.97
    n_cells: int | None = None
    n_probes: int | None = None
    n_refinements: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.recall <= 1:
            raise ValueError(f"recall must lie in (0, 1], got {self.recall!r}")
        for name in ("n_cells", "n_probes"):
            if getattr(self, name) is not None:
                check_count(getattr(self, name), name)
        check_count(self.n_refinements, "n_refinements", minimum=0)

    @np.errstate(under="ignore")
    def search(
        self,
        points: PointSet,
        k: int,
        *,
        backend: Backend,
        random_state: RandomState = None,
        progress: Progress | None = None,
    ) -> Neighbors:
        """Return k near others of each point; the facts say how many cells were probed, and the recall.

        Rows that met fewer than k others are searched again exactly.

        Raises
        ------
        ValueError
            For the inner product: cells are of near points, but the largest products are with long ones, near or far;
            and where a similarity would overflow float32.

        Notes
        -----
        Cost: about 2 n^1.5 p d operations for p probes, beside the lists (n, k + 2) a few tiles of memory. Same input
        and random_state (None is 0), same bits, for any number of threads.

        Examples
        --------
        >>> from manifold.backends import get_backend
        >>> points = PointSet(np.random.default_rng(1).normal(size=(500, 3)).astype(np.float32), "cosine")
        >>> InvertedFile(n_cells=9, n_probes=9).search(points, 5, backend=get_backend()).facts["recall"]
        1.0
        """
        if points.metric == "inner_product":
            raise ValueError(
                "method='inverted_file' needs a distance: the largest inner products are with long points, wherever "
                "they are; use method='exact'"
            )
        points.check_range(points)
        n, rng = points.X.shape[0], np.random.default_rng(0 if random_state is None else random_state)
        compiled_kernels(points)  # loaded now, they serve all selections
        sample = Sample.draw(points, k, rng=rng, backend=backend)
        cells = KMeans(points, self.n_cells or max(1, min(round(n**0.5), n // (4 * k))), backend=backend, rng=rng)
        n_probes = min(self.n_probes or _enough_probes(cells, sample, self.recall), cells.n_cells)
        probes = cells.nearest(None, n_probes)
        order = np.argsort(probes[:, 0], kind="stable").astype(np.int32)
        lists = Shortlists(points, k + _SPARE, backend=backend, probes=probes)
        _compare_cells(lists, order, cells.n_cells, progress)
        lists.rank(k, order)
        for _ in range(self.n_refinements):
            lists.expand(_WIDTH, order)
        ids, found = backend.to_host(lists.ids), backend.to_host(lists.scores)
        short = np.flatnonzero(ids[:, -1] == NOBODY)
        if short.size:
            ids[short], found[short] = exact_search(points, points, k=k, rows=short, drop_self=True, backend=backend)
        recall = sample.recall(found, cure=f"raise n_probes={n_probes} or use 'exact'")
        facts = {"n_cells": cells.n_cells, "n_probes": n_probes, "recall": recall}
        return Neighbors._trusted(
            ids,
            found,
            metric=points.metric,
            method="inverted_file",
            n_repaired=int(short.size),
            facts=facts,
            partition=Partition(backend.to_host(cells.centres), lists.cell),
        )

    def memory_forecast(self, n: int, d: int, k: int) -> int:
        """Return the bytes, at most, that the search takes beside the points.

        Lists with the copies in which they become neighbours, the cells that each point probes, and the sample that
        k-means sees.

        >>> InvertedFile().memory_forecast(1_000_000, 128, 20) < 2e9
        True
        """
        if find_spec("numba") is None:
            return tiles_forecast(n, d, k)
        return max(lists_forecast(n, d, k + SPARE), 8 * _TRAINED) + 16 * _MOST_PROBES * n


def _enough_probes(cells: KMeans, sample: Sample, recall: float) -> int:
    """Return the fewest probes with which that share of true neighbours meets, in a cell of one or the other."""
    there, back = np.unique(np.concatenate([sample.rows[:, None], sample.ids], axis=1), return_inverse=True)
    probes = cells.nearest(there, min(_MOST_PROBES, cells.n_cells))
    one, others = probes[back[:, :1]], probes[back[:, 1:]]  # (s, 1, p) and (s, k, p)
    met = np.logical_or.accumulate((one == others[..., :1]) | (others == one[..., :1]), axis=2).mean(axis=(0, 1))
    return int(np.argmax(met >= recall)) + 1 if met[-1] >= recall else probes.shape[1]


def _compare_cells(lists: Shortlists, order: Cells, n_cells: int, progress: Progress | None) -> None:
    """Compare the members of each cell with each other, and with the points that probe it."""
    n, n_probes = lists.probes.shape
    visits = lists.probes[:, 1:].ravel()
    by_cell = np.argsort(visits, kind="stable")
    ends, visit_ends = (np.cumsum(np.bincount(x, minlength=n_cells)) for x in (lists.cell, visits))
    start = first = 0
    for stop, last in zip(ends, visit_ends, strict=True):
        visitors = (by_cell[first:last] // max(1, n_probes - 1)).astype(np.int32)
        if stop > start:
            lists.compare(order[start:stop], visitors)
            if progress is not None:
                progress(int(stop), n)
        start, first = stop, last


class KMeans:
    """The cells of a k-means on a sample of the points: of Lloyd's iterations a few, each two matrix products."""

    def __init__(self, points: PointSet, n_cells: int, *, backend: Backend, rng: np.random.Generator) -> None:
        n, d = points.X.shape
        self.points, self.backend, self.n_cells = points, backend, min(n_cells, n)
        size = min(n, _TRAINING * self.n_cells, max(self.n_cells, _TRAINED // d))
        chosen = np.sort(rng.choice(n, size, replace=False))
        rows, xp = self._rows(chosen), backend.xp
        self.centres = rows[backend.asarray(np.sort(rng.choice(size, self.n_cells, replace=False)))]
        every, nearest = xp.arange(self.n_cells)[:, None], xp.empty(size, dtype=np.int64)
        for _ in range(_ITERATIONS):

            def assign(first: int, last: int) -> None:
                nearest[first:last] = xp.argmax(self._scores(rows[first:last]), axis=1)

            self._in_ranges(assign, size, step=2048)
            members = (every == nearest).astype(np.float32)
            sizes = members.sum(axis=1)[:, None]
            means = xp.empty_like(self.centres)

            def average(
                first: int, last: int, members: Array = members, sizes: Array = sizes, means: Array = means
            ) -> None:
                means[:, first:last] = members @ rows[:, first:last] / xp.maximum(sizes, 1)

            self._in_ranges(average, d, step=128)
            self.centres = xp.where(sizes > 0, means, self.centres)

    def _in_ranges(self, work: Callable[[int, int], None], n: int, *, step: int) -> None:
        """Do work that multiplies: in ranges that do not depend on the number of threads, so that no bit does."""
        n_threads = None if self.backend.owns(self.points.X[:0]) else 1  # a device has one queue of work
        in_threads(work, n, step=step, n_threads=n_threads, blas=True)

    def _rows(self, which: slice | Ints) -> Array:
        return self.backend.asarray(self.points.centred(which))

    def _scores(self, rows: Array) -> Array:
        scores = rows @ self.centres.T
        scores -= self.backend.row_dots(self.centres, self.centres) / 2
        return scores

    def nearest(self, ids: Ints | None, n_probes: int) -> Cells:
        """Return the cells (m, p) whose centres are nearest to some points, or to all, nearest first."""
        out = np.empty((self.points.X.shape[0] if ids is None else ids.size, n_probes), np.int32)

        def work(first: int, last: int) -> None:
            scores = self._scores(self._rows(slice(first, last) if ids is None else ids[first:last]))
            out[first:last] = self.backend.to_host(self.backend.top_k(scores, n_probes)[0])

        self._in_ranges(work, len(out), step=max(1, GATHER // 4 // max(self.points.X.shape[1], self.n_cells)))
        return out
