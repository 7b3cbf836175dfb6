"""Seeds to lists by stored columns: looked up, and solved on where what they hold does not decide.

In: an index, seeds of a block of queries. Out: rows, scores and slack of each query, and how its answer came about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from manifold._typing import AnyArray, Floats, Ints, Mask
from manifold.index import LazyColumns, LeftOut, PooledColumns, Shortlist, StoredColumns, of_images, of_nodes, refine
from manifold.ranking._base import proved_slack
from manifold.solvers import Solution, Status

Answer = tuple[Ints, Floats, Floats, Solution]

_ALONE = 4  # queries at once, up to which each is solved on by itself


@dataclass(frozen=True, eq=False)
class StoredLists:
    """A block of queries that are looked up in an index.

    Attributes
    ----------
    seeds : (n, q) CSC
    sizes : (q,) int
        How many rows each lists.
    wanted : float
        The slack that is asked for.
    own : (q,) int, optional
        A row of each that is not listed.
    allowed : (n,) bool, optional
    scale : (n,) float, optional
    """

    index: StoredColumns | PooledColumns
    seeds: sparse.csc_array
    sizes: Ints
    wanted: float
    own: Ints | None
    allowed: Mask | None
    scale: Floats | None

    @property
    def at_once(self) -> bool:
        """Whether what is undecided of several queries is solved for together: little of what is stored is allowed."""
        few = self.allowed is None or self.sizes.size <= _ALONE
        return of_nodes(self.index) and not few and np.isfinite(self.wanted) and not isinstance(self.index, LazyColumns)

    def look_up(self, k: int) -> Answer:
        """Return lists of k rows; one that the columns do not fill has infinite slack and -1 in its place."""
        index, q, alone = self.index, self.sizes.size, self.allowed is not None and self.sizes.size <= _ALONE
        answer = np.full((q, k), -1, dtype=np.int64), np.zeros((q, k)), np.full(q, np.inf)
        bound = np.empty(q)
        if of_nodes(index):
            index.renew(self.seeds.indices.astype(np.int64))
        for j in range(q):
            nodes, weights, left_out = self._query(j)
            size = int(self.sizes[j])
            if of_images(index):
                found = index.shortlist(nodes, weights, size, left_out=left_out)
            elif of_nodes(index):
                found = index.shortlist(nodes, weights, size, scale=self.scale, left_out=left_out)
                undecided = found.outside > found.lower * (1 + self.wanted)
                if (undecided if found.rows.size == size else alone) and not self.at_once:
                    found = self._refined(j)
            bound[j] = weights @ sum(index.held(nodes)[2:])
            _put(found, answer, j, size)
        status = tuple(Status.CONVERGED if s == 0 else Status.APPROXIMATE for s in answer[2])
        nothing = np.zeros(q, dtype=np.int64)
        return *answer, Solution(np.empty(0), status, nothing, np.full(q, np.nan), error_bound=bound, solver="index")

    def settle(self, answer: Sequence[AnyArray], todo: Ints, scores: Floats) -> None:
        """Prove the lists `todo`, in place, from scores (n, t) of a solve that need not be exact."""
        for j, start in zip(todo, np.ascontiguousarray(scores.T), strict=True):
            _put(self._refined(j, start), answer, j, int(self.sizes[j]))

    def _refined(self, j: int, start: Floats | None = None) -> Shortlist:
        assert of_nodes(self.index)  # who looks up images has no columns of nodes
        (nodes, weights, left_out), size = self._query(j), int(self.sizes[j])
        return refine(
            self.index, nodes, weights, k=size, slack=self.wanted, scale=self.scale, left_out=left_out, start=start
        )

    def _query(self, j: int) -> tuple[Ints, Floats, LeftOut]:
        """Return the seeds of query j, their weights, and what it does not list."""
        part = slice(self.seeds.indptr[j], self.seeds.indptr[j + 1])
        left_out = LeftOut(None if self.own is None else self.own[j : j + 1], self.allowed)
        return self.seeds.indices[part].astype(np.int64), self.seeds.data[part].astype(np.float64), left_out


def _put(found: Shortlist, answer: Sequence[AnyArray], j: int, size: int) -> None:
    """Write a list down; one of fewer rows keeps its infinite slack."""
    rows, scores, slack = answer
    rows[j, : found.rows.size], scores[j, : found.rows.size] = found.rows, found.scores
    if found.rows.size == size:
        slack[j] = proved_slack(np.array([found.lower]), np.array([found.outside]))[0]
