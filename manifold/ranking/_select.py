"""From scores to lists: the best k of each query, the baseline behind them, and what is proved of the cut.

In: a solution for one block of queries. Out: rows, scores and slack. A score stands in [s - e, s + e] with e the
error bound of its query, cut at 0; outside the components that hold a seed it is exactly 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold.backends import Backend
from manifold.graph import Graph
from manifold.ranking._base import proved_slack
from manifold.solvers import Solution

Lists = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]


class Selection:
    """The scores of one block of queries, ready to be cut into lists."""

    def __init__(self, backend: Backend, graph: Graph, solution: Solution, seeds: sparse.csc_array) -> None:
        xp = backend.xp
        self.backend, self.graph, self.bound = backend, graph, solution.error_bound
        # exact scores of non-negative seeds are non-negative, so the cut at 0 only removes error
        self.scores = xp.maximum(xp.where(xp.isfinite(solution.scores), solution.scores, 0), 0)
        q = seeds.shape[1]
        columns = np.repeat(np.arange(q), np.diff(seeds.indptr))
        self.reached = np.zeros((q, graph.n_components), dtype=bool)
        self.reached[columns, graph.components[seeds.indices]] = True

    def overall(self, near: NDArray[np.int64], k: int, *, own: NDArray[np.int64] | None = None) -> Lists:
        """Return the best k of the collection; where fewer have a positive score, `near` goes on."""
        n, q = self.graph.n_nodes, near.shape[0]
        if own is not None:
            self.scores[self.backend.asarray(own), self.backend.xp.arange(q)] = -1
        best, values = (self.backend.to_host(x) for x in self.backend.top_k(self.scores.T, min(k + 1, n)))
        rows, scores = best[:, :k].astype(np.int64), np.maximum(values[:, :k].astype(np.float64), 0)
        for j in np.flatnonzero((scores <= 0).any(axis=1)):
            n_positive = int((scores[j] > 0).sum())
            taken = rows[j, :n_positive] if own is None else np.append(rows[j, :n_positive], own[j])
            rest = near[j][~np.isin(near[j], taken) & (near[j] >= 0)][: k - n_positive]
            if rest.size < k - n_positive:
                others = np.setdiff1d(np.arange(n), np.concatenate([taken, rest]))
                rest = np.concatenate([rest, others[: k - n_positive - rest.size]])
            rows[j, n_positive:] = rest
        below = np.maximum(values[:, k:].max(axis=1, initial=0), 0)
        sizes = np.bincount(self.graph.components, minlength=self.graph.n_components)
        n_reached = self.reached @ sizes - (own is not None)
        inside = self._is_reached(rows)
        outside = np.where(inside.sum(axis=1) < n_reached, below + self.bound, 0.0)
        return rows, scores, self._slack(scores, inside, outside)

    def among(self, candidates: NDArray[np.int64], k: int) -> Lists:
        """Return the best k of each query's candidates (-1 pads), equal scores in the order given."""
        xp = self.backend.xp
        chosen = self.backend.asarray(np.maximum(candidates, 0).T)
        values = self.backend.to_host(xp.take_along_axis(self.scores, chosen, axis=0)).T.astype(np.float64)
        values = np.where(candidates >= 0, values, -np.inf)
        order = np.argsort(-values, axis=1, kind="stable")
        rows, values = (
            np.take_along_axis(candidates, order, axis=1),
            np.take_along_axis(values, order, axis=1),
        )
        inside = self._is_reached(rows)
        left_out = inside[:, k:] & (rows[:, k:] >= 0)
        outside = np.where(left_out, values[:, k:] + self.bound[:, None], 0.0).max(axis=1, initial=0)
        scores = np.maximum(values[:, :k], 0)
        return rows[:, :k], scores, self._slack(scores, inside[:, :k], outside)

    def _is_reached(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.take_along_axis(self.reached, self.graph.components[rows], axis=1)

    def _slack(
        self, scores: NDArray[np.float64], inside: NDArray[np.bool_], outside: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        lower = np.where(inside, scores - self.bound[:, None], 0.0)
        return proved_slack(lower.min(axis=1, initial=np.inf), outside)
