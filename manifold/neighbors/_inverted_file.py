"""Approximate neighbours by an inverted file (Sivic and Zisserman, ICCV 2003; Jegou, Douze and Schmid, PAMI 2011).

In: points (n, d). Out: ids and similarities (n, k), every similarity exact, every row complete, and the share of true
neighbours among them, measured on a sample. Points are put into the cells of a coarse k-means; each is compared with
the members of the cells nearest to it, cell by cell, and since both points of a pair see its product, also with those
that come to visit its own cell. Then each looks at the neighbours of its neighbours in cells it has not been to.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from manifold._checks import check_count
from manifold._progress import Progress
from manifold._typing import Facts, RandomState
from manifold.backends import Backend
from manifold.neighbors._base import Neighbors, Partition
from manifold.neighbors._exact import SPARE as TILED
from manifold.neighbors._exact import exact_search, tiles_forecast
from manifold.neighbors._kmeans import CLOSE, TRAINED, KMeans
from manifold.neighbors._recall import Sample
from manifold.neighbors._shortlists import NOBODY, Shortlists, compiled_kernels, lists_forecast
from manifold.neighbors.points import PointSet, slices

SPARE = 2  # candidates beyond k, where rounding may have swapped the last ones
WIDTH = 16  # neighbours of neighbours: of so many, so many each
_MOST_PROBES = 32
_MANY = 1 << 18  # points from which on cells hold the same number, whatever n is
_IN_CELL = 256
_VISITS = 1 << 24  # probes that are sorted by cell at a time


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
        By default sqrt(n), beyond 2^18 points n / 256, in two levels; fewer where they would hold less than 4 k points.
    n_probes : int, optional
        Cells that each point is compared with. By default those whose centres are not much farther than the nearest
        few, at most 32: so far that `recall` is reached on a sample. Points apart from all others look into many.
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
        Cost: about 2 n p d operations for p probes times the points of a cell, beside the lists (n, k + 2) a few tiles
        of memory. Same input and random_state (None is 0), same bits, for any number of threads. Near cells have near
        numbers: points in the order of their cells are an order of locality.

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
        compiled_kernels(points)  # loaded now, they serve all selections
        plan = Plan.made(points, k, settings=self, backend=backend, random_state=random_state)
        means = plan.means
        lists = Shortlists(points, k + SPARE, backend=backend, probes=means.nearest(None, plan.n_probes, plan.reach))
        compare_cells(lists, range(means.n_cells), progress)
        order = np.argsort(lists.cell, kind="stable").astype(np.int32)
        lists.rank(k, order)
        for _ in range(self.n_refinements):
            lists.expand(WIDTH, order)
        ids, found = backend.to_host(lists.ids), backend.to_host(lists.scores)
        short = np.flatnonzero(ids[:, -1] == NOBODY)
        if short.size:
            ids[short], found[short] = exact_search(points, points, k=k, rows=short, drop_self=True, backend=backend)
        recall = plan.sample.recall(found, cure=plan.cure())
        facts = {"n_cells": means.n_cells, "n_probes": plan.usual, "recall": recall, **form_of(points)}
        return Neighbors._trusted(
            ids,
            found,
            metric=points.metric,
            method="inverted_file",
            n_repaired=int(short.size),
            facts=facts,
            partition=Partition(backend.to_host(means.centres), lists.cell),
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
        return max(lists_forecast(n, d, k + TILED), 8 * TRAINED) + 16 * _MOST_PROBES * n


class Plan(NamedTuple):
    """What a search of points in cells begins with: the cells, which of them each point probes, and the truth.

    At most `n_probes` cells, none of them more than `reach` times as far as the nearest few: `usual` ones on average.
    """

    means: KMeans
    n_probes: int
    reach: float
    usual: int
    sample: Sample

    @classmethod
    def made(
        cls, points: PointSet, k: int, *, settings: InvertedFile, backend: Backend, random_state: RandomState
    ) -> Plan:
        """Search a sample exactly, train the cells, and choose the least reach with which the sample is met."""
        n, rng = points.X.shape[0], np.random.default_rng(0 if random_state is None else random_state)
        sample = Sample.draw(points, k, rng=rng, backend=backend)
        usual = n // _IN_CELL if n > _MANY else round(n**0.5)
        means = KMeans(points, settings.n_cells or max(1, min(usual, n // (4 * k))), backend=backend, rng=rng)
        if settings.n_probes is not None:
            n_probes = min(settings.n_probes, means.n_cells)
            return cls(means, n_probes, np.inf, n_probes, sample)
        return cls(means, min(_MOST_PROBES, means.n_cells), *_enough_reach(means, sample, settings.recall), sample)

    def cure(self) -> str:
        """Return what can be done about a low recall."""
        return f"raise n_probes={self.usual} or use 'exact'"


def form_of(points: PointSet) -> Facts:
    """Return what facts say of rows that are not float32: candidates and similarities are those of rows as stored.

    >>> form_of(PointSet(np.ones((2, 3), np.int8), "cosine"))
    {'features': 'int8'}
    """
    return {} if points.X.dtype == np.float32 else {"features": str(points.X.dtype)}


def _enough_reach(means: KMeans, sample: Sample, recall: float) -> tuple[float, int]:
    """Return the least reach with which so many true neighbours meet, and how many cells it holds on average.

    As many as meet where all points probe the same number of cells, the least that meets the share `recall`.
    """
    there, back = np.unique(np.concatenate([sample.rows[:, None], sample.ids], axis=1), return_inverse=True)
    far = np.empty((there.size, min(_MOST_PROBES, means.n_cells)), np.float32)
    cells = means.nearest(there, far.shape[1], far=far)
    far[:, :CLOSE] = 0  # always probed
    mine, others = back[:, :1], back[:, 1:]  # (s, 1) and (s, k)
    pairs = (mine, others), (others, mine)
    met = [cells[one] == cells[other, :1] for one, other in pairs]  # in the cell of the other
    shares = np.logical_or.accumulate(met[0] | met[1], axis=2).mean(axis=(0, 1))
    share = shares[np.argmax(shares >= recall)] if shares[-1] >= recall else shares[-1]
    needed = np.minimum(*(np.where(m, far[one], np.inf).min(axis=2) for m, (one, _) in zip(met, pairs, strict=True)))
    reach = float(np.sort(needed, axis=None)[max(0, round(share * needed.size) - 1)])
    return reach, round(float((far[back[:, 0]] <= reach).sum(axis=1).mean()))


def compare_cells(lists: Shortlists, cells: range, progress: Progress | None = None) -> None:
    """Compare the members of each of these cells with each other, and with the points that probe it."""
    order = np.argsort(lists.cell, kind="stable").astype(np.int32)
    ends = np.searchsorted(lists.cell[order], np.arange(cells.start, cells.stop + 1))
    n_probes, others = lists.probes.shape[1], lists.probes[:, 1:]
    for some in slices(len(cells), max(1, len(cells) * _VISITS // max(1, others.size))):
        part = cells[some]
        visits = np.flatnonzero((others >= part.start) & (others < part.stop))
        there = others.ravel()[visits] - part.start
        narrow = np.uint16 if len(part) <= 1 << 16 else np.int32  # two bytes are sorted in linear time
        visits = visits[np.argsort(there.astype(narrow), kind="stable")]
        bounds = np.concatenate([[0], np.cumsum(np.bincount(there, minlength=len(part)))])
        for at, (first, last) in enumerate(pairwise(bounds)):
            start, stop = ends[some.start + at : some.start + at + 2]
            if stop > start:
                lists.compare(order[start:stop], (visits[first:last] // max(1, n_probes - 1)).astype(np.int32))
                if progress is not None:
                    progress(int(stop), order.size)
