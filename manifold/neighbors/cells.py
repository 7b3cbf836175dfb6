"""The nearest points of single queries without a look at all of them: cells that are scanned, lists that are walked.

In: points in cells, lists of neighbours, queries. Out: ids and similarities, and how many are proved to be the nearest.

Points y and x, x in the cell of centre c with radius r, c' another centre (the plane between two Voronoi cells):

    |y - x|  >=  |y - c| - r        |y - x|  >=  (|y - c|^2 - |y - c'|^2) / (2 |c - c'|)

Cells are scanned in the order of the larger of the two. A point found is proved where no cell that was left out can
hold one as near; for cosine, distances are those of unit vectors. Walks go best first along the lists (Arya and Mount,
SODA 1993), from what the nearest cells held.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold._typing import AnyArray, Facts, Floats, Ints, RandomState
from manifold.backends import get_backend
from manifold.backends.threads import in_threads
from manifold.neighbors._base import Neighbors, Partition
from manifold.neighbors._enough import JUDGED, Found, enough
from manifold.neighbors._kmeans import FLAT, KMeans
from manifold.neighbors._nearest_cells import nearest_cells
from manifold.neighbors._recall import Sample
from manifold.neighbors._shortlists import plain_rows
from manifold.neighbors.compact import n_candidates
from manifold.neighbors.listed import similarities_to
from manifold.neighbors.points import PointSet
from manifold.neighbors.seed_search import SeedSearch

if TYPE_CHECKING:
    from manifold.backends import compiled_cells

_STEP = 16  # queries that are answered at once by the thread that asks
_TOGETHER = 128  # queries that a thread takes at a time
_RANGE = 4096  # points whose distances to centres a thread takes at a time
_OUTGROWN = 2  # cells are made anew when so many times the points are there, or gone


@dataclass(frozen=True, eq=False, kw_only=True)
class Cells:
    """Points in the cells of a k-means, and how a query goes through them.

    Reference: Jégou et al. (2011), section IV, for cells; Arya and Mount (1993), for walks.

    Attributes
    ----------
    settings : SeedSearch
        With the numbers that were chosen.
    centres, centre : (c, d), (d,) or size 0, float32
        As `PointSet.centred` has rows, and what these are less.
    order, starts : (n,) int32, (c + 1,) int64
        Points, cell by cell; those of cell i stand at ``starts[i]`` to ``starts[i + 1]``.
    away : (n,) float32
        How far each of them is from its centre.
    margin : float
        By how much, in squared distances, another centre may be nearer to a point than its own, by rounding. More than
        `FLAT` cells are cells of cells, and a point looks for its own in the nearest large ones alone: then planes
        between centres prove nothing, and radii what they can.
    made_of : int
        Points there were when the cells were made.
    facts : mapping
        ``recall``, what it is not below nine times in ten, ``least``, and ``proved``, how many of how many nearest, of
        ``sample`` held-out points when they were made.

    Examples
    --------
    >>> X = np.random.default_rng(3).normal(size=(400, 4)).astype(np.float32)
    >>> points = PointSet(X, "euclidean")
    >>> cells = Cells.made(points, 5, settings=SeedSearch(n_probes=400))
    >>> found = cells.over(points).nearest(points.asked(X[:3] + 0.01)[0], 5)
    >>> found.ids[:, 0].tolist(), found.proved.tolist()
    ([0, 1, 2], [5, 5, 5])
    """

    settings: SeedSearch
    centres: NDArray[np.float32]
    order: NDArray[np.int32]
    starts: Ints
    away: NDArray[np.float32]
    centre: NDArray[np.float32]
    margin: float
    made_of: int
    facts: Facts

    @classmethod
    def made(
        cls,
        points: PointSet,
        k: int,
        *,
        settings: SeedSearch,
        neighbors: Neighbors | None = None,
        edges: sparse.csr_array | None = None,
        random_state: RandomState = None,
    ) -> Cells:
        """Put points into cells, or take over those of the lists; choose what is to be looked at for k nearest points.

        Raises
        ------
        ValueError
            For the inner product, rows that are not contiguous or of extreme norms, and a walk without lists.

        Notes
        -----
        Cost: of k-means and its assignment 2 n c d operations for c cells, none where the lists have theirs; one pass
        over the rows; an exact search for 512 of them, which are then left out of what is searched. Same input and
        random_state (None is 0), same bits, for any number of threads.
        """
        if points.metric == "inner_product":
            raise ValueError(
                f"seed_search={settings.way!r} needs a distance: the largest inner products are with long points, "
                "wherever they are; use seed_search='exact'"
            )
        if not plain_rows(points.proposing):
            raise ValueError(
                f"seed_search={settings.way!r} reads rows in place: X must be C-contiguous, of norms within 1e±30; "
                "use np.ascontiguousarray(X), or seed_search='exact'"
            )
        if settings.way == "walk" and neighbors is None and edges is None:
            raise ValueError("seed_search='walk' follows lists of neighbours or edges: give one, or use 'cells'")
        backend, n = get_backend("scipy"), points.X.shape[0]
        rng = np.random.default_rng(0 if random_state is None else random_state)
        partition = None if neighbors is None else neighbors.partition
        if partition is None or settings.n_cells is not None or partition.cell.size != n:
            means = KMeans(points.proposing, settings.n_cells or max(1, round(n**0.5)), backend=backend, rng=rng)
            partition = Partition(np.asarray(means.centres), means.nearest(None, 1)[:, 0])
        cells = _placed(points, partition, settings=settings)
        sample = Sample.draw(points, min(k, n - 1), rng=rng, backend=backend, size=JUDGED)
        ask = partial(cells.over(points, neighbors, edges).nearest, points)
        settings, facts = enough(settings, sample, ask, n_cells=len(cells.centres))
        return replace(cells, settings=settings, facts=facts)

    def over(
        self, points: PointSet, neighbors: Neighbors | None = None, edges: sparse.csr_array | None = None
    ) -> Entrance:
        """Return what answers queries: these cells, the points in them, and the lists and edges (n, n) between them."""
        return Entrance(self, points, neighbors, edges)

    def _read(self) -> compiled_cells.Cells:
        """Return what machine code reads."""
        from manifold.backends import compiled_cells

        return compiled_cells.Cells(
            centre=_plain(self.centre),
            centres=_plain(self.centres),
            order=_plain(self.order),
            away=_plain(self.away),
            starts=_plain(self.starts),
            radii=_plain(self.radii),
            margin=float(self.margin) if len(self.centres) <= FLAT else np.inf,
        )

    def updated(self, points: PointSet, rows: Ints) -> Cells:
        """Return the cells after a change.

        Parameters
        ----------
        points, rows : PointSet, (m,) int
            As they are now, and which row each had before, ascending; then -1 for what is new: its centre is nearest.

        Notes
        -----
        Cost: a pass over the order, and 2 m c d operations for m new points.
        """
        now = np.full(self.order.size, -1, np.int32)
        now[rows[rows >= 0]] = np.flatnonzero(rows >= 0)
        cell = np.repeat(np.arange(len(self.centres), dtype=np.int32), np.diff(self.starts))
        stay, new = now[self.order] >= 0, np.flatnonzero(rows < 0)
        cell, order, away, margin = cell[stay], now[self.order][stay], self.away[stay], self.margin
        sizes = np.bincount(cell, minlength=len(self.centres))
        if new.size:
            joining = Partition(self.centres, nearest_cells(points.proposing, self.centres, new, n_cells=1)[:, 0])
            joined = _placed(points.only(new), joining, settings=self.settings)
            ends = np.repeat(np.cumsum(sizes), np.diff(joined.starts))  # behind the others of the cell: ids ascend
            order, away = np.insert(order, ends, new[joined.order]), np.insert(away, ends, joined.away)
            sizes, margin = sizes + np.diff(joined.starts), max(margin, joined.margin)
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return replace(self, order=order, starts=starts, away=away, margin=margin)

    @cached_property
    def radii(self) -> Floats:
        """The largest distance (c,) of a point from its centre, 0 of an empty cell."""
        filled, radii = np.flatnonzero(np.diff(self.starts)), np.zeros(len(self.centres))
        if filled.size:
            radii[filled] = np.maximum.reduceat(self.away, self.starts[filled])
        return radii

    def outgrown(self) -> bool:
        """Whether so many have come, or gone, that cells should be made anew."""
        return not self.made_of / _OUTGROWN <= self.order.size <= self.made_of * _OUTGROWN

    def __str__(self) -> str:
        s, f = self.settings, self.facts
        walk = f", then lists are walked, {s.breadth} points broad" if s.breadth else ""
        told = f"at most {s.n_probes:,} of {len(self.centres):,} cells are scanned{walk}"
        if not f["sample"]:
            return told
        least = f" ({f['least']:.2%} at least, nine times in ten)" if "least" in f else ""  # older saves do not say
        return (
            f"{told}; of the {f['k']} nearest of {f['sample']} held-out items {f['recall']:.2%} were found{least}, "
            f"{f['proved']:.3g} proved to be the nearest, by {f['compared']:,} comparisons"
        )


class Entrance:
    """Cells, points and lists as compiled code reads them: made once, asked by any number of threads.

    Reference: Jégou et al. (2011), section IV, for cells; Arya and Mount (1993), for walks.
    """

    def __init__(
        self, cells: Cells, points: PointSet, neighbors: Neighbors | None, edges: sparse.csr_array | None = None
    ) -> None:
        from manifold.backends import compiled_cells

        self.cells, self.points, self.neighbors, self.edges = cells, points, neighbors, edges
        lists = np.empty((0, 0), np.int32) if neighbors is None else neighbors.indices
        self._rows = compiled_cells.Points(*points.proposing.plain)
        self._cells = cells._read()
        self._lists = _plain(lists)
        none = np.empty(0, np.int32)
        starts, ends = (none, none) if edges is None else (edges.indptr, edges.indices)
        self._edges = _plain(starts), _plain(ends)

    def __reduce__(self) -> tuple[object, ...]:  # what is read by machine code is made again
        return Entrance, (self.cells, self.points, self.neighbors, self.edges)

    def nearest(
        self,
        queries: PointSet,
        k: int,
        *,
        rows: Ints | None = None,
        n_probes: int | None = None,
        breadth: int | None = None,
    ) -> Found:
        """Return the k nearest points of queries; of points, which are the queries themselves, the k nearest others.

        Parameters
        ----------
        queries : PointSet
        k : int
            At most n, or n - 1 others.
        rows : (m,) int, optional
            Only these queries.
        n_probes, breadth : int, optional
            In place of those that were chosen.

        Raises
        ------
        ValueError
            Where a similarity would overflow float32.

        Notes
        -----
        Cost: a pass over the c centres, and the points compared; what a thread works in is of the size of c and of a
        walk, never of n. Each query is answered by itself, whatever its company. Of points in two forms nothing is
        proved: what the bytes propose, some more than k, is compared again.
        """
        if self.points.compact is not None:
            most = len(self.points.X) - (queries is self.points)
            found = self._searched(queries, n_candidates(k, most), rows=rows, n_probes=n_probes, breadth=breadth)
            similarities = similarities_to(queries, self.points, found.ids, own=rows)
            order = np.lexsort((found.ids, -similarities), axis=1)[:, :k]
            ids, best = np.take_along_axis(found.ids, order, axis=1), np.take_along_axis(similarities, order, axis=1)
            return Found(ids, best, np.zeros_like(found.proved), found.compared)
        return self._searched(queries, k, rows=rows, n_probes=n_probes, breadth=breadth)

    def _searched(
        self, queries: PointSet, k: int, *, rows: Ints | None, n_probes: int | None, breadth: int | None
    ) -> Found:
        """Search among the points that propose."""
        from manifold.backends import compiled_cells

        self.points.check_range(queries)
        asked = _plain(np.ascontiguousarray(queries.rows(slice(None) if rows is None else rows)))
        m = len(asked)
        own = np.full(m, -1) if queries is not self.points else np.arange(m) if rows is None else np.asarray(rows)
        own = _plain(own.astype(np.int64))
        ids, best = np.empty((m, k), np.int32), np.empty((m, k), np.float32)
        proved, compared = np.empty(m, np.int64), np.empty(m, np.int64)
        settings = self.cells.settings
        n_probes = (settings.n_probes or 1) if n_probes is None else n_probes
        breadth = (settings.breadth or 0) if breadth is None else breadth

        def work(first: int, last: int) -> None:
            given = (asked, own, self._rows, self._cells, self._lists, self._edges, n_probes, breadth, first, last)
            compiled_cells.search(*given, best, ids, proved, compared)

        if m <= _STEP:  # to ask for threads costs as much as an answer
            work(0, m)
        else:
            in_threads(work, m, step=_TOGETHER)
        return Found(ids.astype(np.int64), best, proved, compared)


def _placed(points: PointSet, partition: Partition, *, settings: SeedSearch) -> Cells:
    """Return points in their cells, with their distances to the centres."""
    from manifold.backends import compiled_cells

    points = points.proposing
    centres, n = np.ascontiguousarray(partition.centres), points.X.shape[0]
    order = np.argsort(partition.cell, kind="stable").astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(np.bincount(partition.cell, minlength=len(centres)))]).astype(np.int64)
    away = np.zeros(n, np.float32)
    # an assignment is by sums of d float32 products, each off by d roundings of |x| |c|, and half of |c|^2
    length = float(np.sqrt((centres.astype(np.float64) ** 2).sum(axis=1).max(initial=0)))
    reach = points.longest if points.metric == "euclidean" else 1.0
    margin = 4 * (centres.shape[1] + 16) * 2.0**-24 * length * (reach + length)
    made = Cells(
        settings=settings,
        centres=centres,
        order=order,
        starts=starts,
        away=away,
        centre=centre_or_none(points),
        margin=margin,
        made_of=n,
        facts={"sample": 0},
    )
    rows, cells, cell = compiled_cells.Points(*points.plain), made._read(), _plain(partition.cell)
    in_threads(lambda i, j: compiled_cells.distances(rows, cells, cell, away, i, j), n, step=_RANGE)
    return replace(made)  # whose radii are those of the distances by now


def centre_or_none(points: PointSet) -> NDArray[np.float32]:
    """Return what rows are less where their cells are made, of size 0 where nothing.

    >>> centre_or_none(PointSet(np.eye(2, dtype=np.float32), "cosine")).size
    0
    """
    return np.empty(0, np.float32) if points.centre is None else np.asarray(points.centre)


def _plain(array: AnyArray) -> AnyArray:
    """Return a view of one type for every array, so that kernels are compiled once: plain, contiguous, read-only."""
    view = np.ascontiguousarray(array).view(np.ndarray)
    view = view.view()
    view.flags.writeable = False
    return view
