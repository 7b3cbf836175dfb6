"""Queries of several vectors each, asked of a fitted search over regions.

In: regions of queries. Out: seeds on the regions of the collection, the nearest images, and shortlists ranked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from manifold._typing import Floats, Ints
from manifold.backends import get_backend
from manifold.neighbors import PointSet, exact_search
from manifold.ranking._fitted import Fitted
from manifold.ranking._ranker import Task
from manifold.ranking.pooling import Pooling, check_owners, region_match
from manifold.ranking.seeds import regional_seeds
from manifold.solvers import Solution

_BLOCK = 64


@dataclass(frozen=True, eq=False)
class Asking:
    """The regions of some queries, the query 0..q-1 each belongs to, and the search that they ask."""

    fitted: Fitted
    points: PointSet
    owners: Ints

    @classmethod
    def of(cls, fitted: Fitted, Q: object, owners: object) -> tuple[Asking, bool]:
        """Check the regions that a user hands in, and say whether they are one query."""
        points, _ = fitted.require_points("no query can be asked").asked(Q)
        n = len(points.X)
        if owners is None and not n:
            raise ValueError(f"Q holds no region of the one query, got shape {points.X.shape}: queries=[] asks nothing")
        own = np.zeros(n, dtype=np.int64) if owners is None else check_owners(owners, n, name="queries")
        return cls(fitted, points, own), owners is None

    @classmethod
    def inside(cls, fitted: Fitted, images: Ints) -> Asking:
        """Ask for images of the collection, each with all its regions."""
        points, owners = fitted.require_points("its images cannot be compared"), _pooling(fitted).owners
        rows = [np.flatnonzero(owners == image) for image in images]
        own = np.repeat(np.arange(len(rows)), [part.size for part in rows])
        return cls(fitted, points.only(np.concatenate([np.empty(0, dtype=np.int64), *rows])), own)

    @property
    def n(self) -> int:
        """Number of queries q."""
        return int(self.owners.max(initial=-1)) + 1

    def some(self, which: Ints) -> Asking:
        """Return some queries, renumbered in the order given (ascending)."""
        rows = np.flatnonzero(np.isin(self.owners, which))
        return Asking(self.fitted, self.points.only(rows), np.searchsorted(which, self.owners[rows]))

    def seeds(self, among: Ints | None = None) -> sparse.csc_array:
        """Return Y (n, q) on the regions of the collection, or on some of them."""
        points, s = self.fitted.require_points("it has no seeds"), self.fitted.settings
        points = points if among is None else points.only(among)
        regions, n = s.regions, points.X.shape[0]
        assert regions is not None
        k = min(s.n_seeds, n)
        if among is None:
            near, similarities = self.fitted.entering(self.points, k)
        else:
            near, similarities = exact_search(self.points, points, k=k, backend=get_backend("scipy"))
        return regional_seeds(
            near,
            similarities,
            owners=self.owners,
            n_nodes=n,
            n_largest=regions.n_largest,
            gamma=s.affinity.gamma,
            y_mode=regions.y_mode,
        )

    def nearest_images(self, k: int) -> Ints:
        """Return the k best images (q, k) of each query by `region_match`, equal ones by their rows."""
        points, images = self.fitted.require_points("it has no nearest images"), _pooling(self.fitted).owners
        match = region_match(self.points, points, queries=self.owners, images=images)
        best: Ints = np.argsort(-match, axis=1, kind="stable")[:, :k]
        return best

    def rank_shortlist(
        self, k: int, shortlist: int, *, early: bool, slack: float | None
    ) -> tuple[Ints, Floats, Floats, Solution]:
        """Rank the shortlist of each query, and let the rest of the baseline follow."""
        ranker, size = self.fitted.ranker, min(shortlist, _pooling(self.fitted).n_images)
        blocks = [np.arange(i, min(i + _BLOCK, self.n)) for i in range(0, self.n, _BLOCK)]
        nothing = np.empty((0, max(k, size)), dtype=np.int64)
        baseline = np.concatenate([nothing, *(self.some(b).nearest_images(max(k, size)) for b in blocks)])
        best, candidates = min(k, size), baseline[:, :size]
        if early:

            def seeds(j: int, regions: Ints) -> sparse.csc_array:
                return self.some(np.array([j])).seeds(regions)

            solver = self.fitted.settings.solver
            answer = ranker.rank_truncated(candidates, best, seeds=seeds, solver=solver, slack=slack)
        else:
            task = Task(best, lambda some: baseline[some], candidates=candidates, slack=slack)
            answer = ranker.rank(self.seeds(), task)
        rows, scores, proved, report = answer
        rows = np.concatenate([rows, baseline[:, best:k]], axis=1)
        return rows, np.pad(scores, ((0, 0), (0, k - best))), proved, report


def _pooling(fitted: Fitted) -> Pooling:
    assert fitted.pooling is not None  # a search over regions
    return fitted.pooling
