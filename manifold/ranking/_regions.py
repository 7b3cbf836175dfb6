"""Queries of several vectors each, asked of a fitted search over regions.

In: regions of queries. Out: seeds on the regions of the collection, the nearest images, and shortlists ranked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from manifold._checks import check_count
from manifold._typing import Floats, Ints, Mask
from manifold.backends import get_backend
from manifold.neighbors import PointSet, exact_search
from manifold.ranking._allowed import Allowed
from manifold.ranking._base import Ranking
from manifold.ranking._fitted import Fitted
from manifold.ranking._questions import ask
from manifold.ranking._ranker import Task
from manifold.ranking.pooling import Pooling, check_owners, region_match
from manifold.ranking.seeds import regional_seeds
from manifold.solvers import Solution, report_failures

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

    def nearest_images(self, k: int, allowed: Mask | None = None) -> Ints:
        """Return the k best images (q, k) of each query by `region_match`, equal ones by their rows; -1 pads."""
        points, images = self.fitted.require_points("it has no nearest images"), _pooling(self.fitted).owners
        match = region_match(self.points, points, queries=self.owners, images=images)
        if allowed is not None:
            match = np.where(allowed, match, -np.inf)
        best: Ints = np.argsort(-match, axis=1, kind="stable")[:, :k]
        return best if allowed is None else np.where(allowed[best], best, -1)

    def ranked(
        self, k: int, *, allowed: Allowed | None, slack: float | None, single: bool, shortlist: int | None, early: bool
    ) -> Ranking:
        """Rank the images, or the best by `region_match` of them first."""
        fitted = self.fitted
        if shortlist is None:

            def put(mask: Mask | None, k: int) -> tuple[Task, None]:
                return Task(k, lambda some: self.some(some).nearest_images(k, mask), slack=slack, allowed=mask), None

            return ask(fitted, self.seeds(), put, k=k, allowed=allowed, single=single)
        if allowed is not None:
            allowed.settle(max(k, shortlist), lambda deep: self.nearest_images(deep, allowed.mask), q=self.n)
            k = min(k, int(allowed.mask.sum()))
        mask = None if allowed is None else allowed.mask
        rows, scores, proved, diagnostics = self.rank_shortlist(k, shortlist, early=early, slack=slack, allowed=mask)
        report_failures(diagnostics, fitted.settings.on_failure)
        return fitted.named(rows, scores, slack=proved, diagnostics=diagnostics, single=single)

    def rank_shortlist(
        self, k: int, shortlist: int, *, early: bool, slack: float | None, allowed: Mask | None = None
    ) -> tuple[Ints, Floats, Floats, Solution]:
        """Rank the shortlist of each query, and let the rest of the baseline follow."""
        most = _pooling(self.fitted).n_images if allowed is None else int(allowed.sum())
        ranker, size = self.fitted.ranker, min(shortlist, most)
        blocks = [np.arange(i, min(i + _BLOCK, self.n)) for i in range(0, self.n, _BLOCK)]
        nothing = np.empty((0, max(k, size)), dtype=np.int64)
        baseline = np.concatenate([nothing, *(self.some(b).nearest_images(max(k, size), allowed) for b in blocks)])
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


def like_images(fitted: Fitted, ids: object, k: int, *, allowed: object, slack: float | None) -> Ranking:
    """Rank the images for some of them, themselves left out: see `RegionalSearch.similar`.

    >>> from manifold import RegionalSearch
    >>> fitted = RegionalSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
    >>> like_images(fitted, 0, 2, allowed=[0, 2], slack=None).ids.tolist()
    [2, -1]
    """
    k, may = min(check_count(k, "k"), len(fitted.ids) - 1), Allowed.read(fitted.ids, allowed)
    own = fitted.ids.present(ids)
    single, own = own.ndim == 0, np.atleast_1d(own)

    def put(mask: Mask | None, k: int) -> tuple[Task, None]:
        def baseline(some: Ints) -> Ints:
            near = Asking.inside(fitted, own[some]).nearest_images(k + 1, mask)
            found = np.full((some.size, k), -1, dtype=np.int64)
            for row, listed, me in zip(found, near, own[some], strict=True):
                others = listed[listed != me][:k]
                row[: others.size] = others
            return found

        return Task(k, baseline, own=own, slack=slack, allowed=mask), None

    seeds = sparse.csc_array(_pooling(fitted).owners[:, None] == own, dtype=np.float64)
    return ask(fitted, seeds, put, k=k, allowed=may, single=single)


def _pooling(fitted: Fitted) -> Pooling:
    assert fitted.pooling is not None  # a search over regions
    return fitted.pooling
