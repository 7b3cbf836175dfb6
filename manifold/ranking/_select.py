"""From scores to lists: the best k of each query, the baseline behind them, and what is proved of the cut.

In: a solution for one block of queries. Out: rows, scores and slack. A score f of a node of degree d stands in
[s - e, s + e] d^-p, cut at 0, with e the error bound of its query and p the degree exponent; outside the components
that hold a seed it is exactly 0. What is ranked may also be images, whose bounds come from those of their regions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold.backends import Array, Backend
from manifold.graph import Graph
from manifold.ranking._base import proved_slack
from manifold.solvers import Solution

Rows = NDArray[np.int64]
Lists = tuple[Rows, NDArray[np.float64], NDArray[np.float64]]
Baseline = Callable[[Rows], Rows]  # queries (m,) -> their nearest rows (m, k), -1 pads


@dataclass(frozen=True, eq=False)
class Bounds:
    """The scores (n, q) of one block of queries, with what the exact ones certainly lie between."""

    scores: Array
    lower: Array
    upper: Array


def score_bounds(solution: Solution, reached: Array | None, *, backend: Backend, weights: Array = 1.0) -> Bounds:
    """Return `weights` times the scores of a solution, cut at 0, and bounds; exactly 0 where known to be unreached."""
    xp = backend.xp
    # exact scores of non-negative seeds are non-negative, so the cut at 0 only removes error
    scores = xp.maximum(xp.where(xp.isfinite(solution.scores), solution.scores, 0), 0)
    error = backend.asarray(solution.error_bound)
    lower, upper = xp.maximum(scores - error, 0) * weights, (scores + error) * weights
    if reached is not None:
        lower, upper = (xp.where(reached, bound, 0.0) for bound in (lower, upper))
    return Bounds(scores * weights, lower, upper)


def reached_nodes(graph: Graph, seeds: sparse.csc_array, backend: Backend) -> Array:
    """Return whether a node lies in a component that holds a seed: (n, q) bool."""
    reached = np.zeros((graph.n_components, seeds.shape[1]), dtype=bool)
    reached[graph.components[seeds.indices], np.repeat(np.arange(seeds.shape[1]), np.diff(seeds.indptr))] = True
    return backend.asarray(reached)[backend.asarray(graph.components)]


class Selection:
    """The scores of one block of queries, ready to be cut into lists."""

    def __init__(self, bounds: Bounds, backend: Backend) -> None:
        self.scores, self.lower, self.upper = bounds.scores, bounds.lower, bounds.upper
        self.backend = backend

    def overall(self, k: int, queries: Rows, *, baseline: Baseline, own: Rows | None = None) -> Lists:
        """Return the best k of the collection, `own` rows left out, for this block of queries.

        Where fewer than k scores are positive the baseline follows; it is asked for those queries alone.
        """
        columns = self.backend.xp.arange(self.scores.shape[1])
        if own is not None:
            mine = self.backend.asarray(own)
            self.scores[mine, columns] = -1
            self.upper[mine, columns] = -1
        best, values = (self.backend.to_host(x) for x in self.backend.top_k(self.scores.T, k))
        rows, scores = best.astype(np.int64), np.maximum(values.astype(np.float64), 0)
        short = np.flatnonzero((scores <= 0).any(axis=1))
        near = baseline(queries[short]) if short.size else np.empty((0, 0), dtype=np.int64)
        for j, nearest in zip(short, near, strict=True):
            n_positive = int((scores[j] > 0).sum())
            left_out = () if own is None else own[j]
            rows[j] = self._followed_by(rows[j, :n_positive], nearest, np.append(rows[j, :n_positive], left_out))[:k]
        return rows, scores, self._slack(rows, self.upper)

    def among(self, candidates: Rows, k: int) -> Lists:
        """Return the best k of each query's candidates (-1 pads), equal scores in the order given."""
        values = np.where(candidates >= 0, self._at(self.scores, candidates), -np.inf)
        order = np.argsort(-values, axis=1, kind="stable")[:, :k]
        rows = np.take_along_axis(candidates, order, axis=1)
        scores = np.maximum(np.take_along_axis(values, order, axis=1), 0)
        upper = np.where(candidates >= 0, self._at(self.upper, candidates), -1)
        np.put_along_axis(upper, order, -1, axis=1)
        lower = np.where(rows >= 0, self._at(self.lower, rows), np.inf).min(axis=1, initial=np.inf)
        return rows, scores, proved_slack(lower, upper.max(axis=1, initial=0))

    def _followed_by(self, first: Rows, nearest: Rows, taken: Rows) -> Rows:
        """Return `first`, then the nearest rows that are not taken, then all others by id."""
        free = np.ones(self.scores.shape[0], dtype=bool)
        free[taken.astype(np.int64)] = False
        nearest = nearest[nearest >= 0]
        nearest = nearest[free[nearest]]
        free[nearest] = False
        return np.concatenate([first, nearest, np.flatnonzero(free)])

    def _at(self, values: Array, rows: Rows) -> NDArray[np.float64]:
        """Return the entries (q, k) of (n, q) at the rows of each query."""
        at = self.backend.asarray(np.maximum(rows, 0).T)
        picked = self.backend.xp.take_along_axis(values, at, axis=0)
        return self.backend.to_host(picked).T.astype(np.float64)

    def _slack(self, rows: Rows, upper: Array) -> NDArray[np.float64]:
        """Compare the least that is returned with the most that is left out."""
        xp = self.backend.xp
        lower = self._at(self.lower, rows).min(axis=1, initial=np.inf)
        xp.put_along_axis(upper, self.backend.asarray(rows.T), -1.0, axis=0)
        most = self.backend.to_host(upper.max(axis=0)).astype(np.float64) if upper.shape[0] else np.zeros(len(rows))
        return proved_slack(lower, np.maximum(most, 0))
