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

from manifold._typing import Floats, Ints, Mask
from manifold.backends import Array, Backend
from manifold.graph import Graph
from manifold.ranking._base import proved_slack
from manifold.solvers import Solution, Status

Rows = Ints
Lists = tuple[Rows, Floats, Floats]
Baseline = Callable[[Rows], Rows]  # queries (m,) -> their nearest rows (m, k), -1 pads
_ROWS = 512  # nodes whose upper bounds are formed at a time


@dataclass(frozen=True, eq=False)
class Bounds:
    """The scores (n, q) of one block of queries, with what the exact ones certainly lie between."""

    scores: Array
    lower: Array
    upper: Array

    def lower_at(self, rows: Rows, backend: Backend) -> Floats:
        """Return the lower bounds (q, m) of the rows (q, m) of each query.

        >>> from manifold.backends import get_backend
        >>> bounds = Bounds(*(np.array([[x], [y]]) for x, y in ((2.0, 1.0), (1.5, 0.5), (2.5, 1.25))))
        >>> bounds.lower_at(np.array([[1, 0]]), get_backend("scipy")).tolist()
        [[0.5, 1.5]]
        """
        return _at(self.lower, rows, backend)

    def upper_at(self, rows: Rows, backend: Backend) -> Floats:
        """Return the upper bounds (q, m) of the rows (q, m) of each query.

        >>> from manifold.backends import get_backend
        >>> bounds = Bounds(*(np.array([[x], [y]]) for x, y in ((2.0, 1.0), (1.5, 0.5), (2.5, 1.25))))
        >>> bounds.upper_at(np.array([[1, 0]]), get_backend("scipy")).tolist()
        [[1.25, 2.5]]
        """
        return _at(self.upper, rows, backend)

    def most_beside(self, rows: Rows, backend: Backend) -> Floats:
        """Return the largest upper bound (q,) of all rows that are not among these (q, m); overwrites theirs.

        >>> from manifold.backends import get_backend
        >>> bounds = Bounds(*(np.array([[x], [y]]) for x, y in ((2.0, 1.0), (1.5, 0.5), (2.5, 1.25))))
        >>> bounds.most_beside(np.array([[0]]), get_backend("scipy")).tolist()
        [1.25]
        """
        _take_out(self.upper, rows, backend)
        return _largest(self.upper, backend)

    def only(self, nodes: Rows, backend: Backend) -> Bounds:
        """Return the bounds of some rows.

        >>> from manifold.backends import get_backend
        >>> bounds = Bounds(*(np.array([[x], [y]]) for x, y in ((2.0, 1.0), (1.5, 0.5), (2.5, 1.25))))
        >>> bounds.only(np.array([1]), get_backend("scipy")).upper.tolist()
        [[1.25]]
        """
        some = backend.asarray(nodes)
        return Bounds(self.scores[some], self.lower[some], self.upper[some])


@dataclass(frozen=True, eq=False)
class Reached:
    """Which nodes lie in a component that holds a seed: `flags` (m, q) of components, `components` (n,) of nodes."""

    flags: Mask
    components: NDArray[np.int32]

    @classmethod
    def of(cls, graph: Graph, seeds: sparse.csc_array) -> Reached:
        """Look at the seeds (n, q) of each query.

        >>> from manifold import graph_from_affinity
        >>> graph = graph_from_affinity([[0, 1, 0], [1, 0, 0], [0, 0, 0]])
        >>> reached = Reached.of(graph, sparse.csc_array([[1.0], [0.0], [0.0]]))
        >>> reached.flags.tolist()
        [[True], [False]]
        """
        flags = np.zeros((graph.n_components, seeds.shape[1]), dtype=bool)
        flags[graph.components[seeds.indices], np.repeat(np.arange(seeds.shape[1]), np.diff(seeds.indptr))] = True
        return cls(flags, graph.components)

    def nodes(self, backend: Backend) -> Array:
        """Return (n, q) bool.

        >>> from manifold import graph_from_affinity
        >>> graph = graph_from_affinity([[0, 1, 0], [1, 0, 0], [0, 0, 0]])
        >>> reached = Reached.of(graph, sparse.csc_array([[1.0], [0.0], [0.0]]))
        >>> from manifold.backends import get_backend
        >>> reached.nodes(get_backend("scipy")).ravel().tolist()
        [True, True, False]
        """
        return backend.asarray(self.flags)[backend.asarray(self.components)]

    def at(self, rows: Rows) -> Mask:
        """Return (q, m) bool for the rows of each query; -1 is not reached.

        >>> from manifold import graph_from_affinity
        >>> graph = graph_from_affinity([[0, 1, 0], [1, 0, 0], [0, 0, 0]])
        >>> reached = Reached.of(graph, sparse.csc_array([[1.0], [0.0], [0.0]]))
        >>> reached.at(np.array([[2, 0]])).tolist()
        [[False, True]]
        """
        found: Mask = self.flags[self.components[rows], np.arange(len(rows))[:, None]] & (rows >= 0)
        return found

    def beside(self, rows: Rows) -> Mask:
        """Return (q,) whether each query reaches a node that is not among its rows, all distinct.

        >>> from manifold import graph_from_affinity
        >>> graph = graph_from_affinity([[0, 1, 0], [1, 0, 0], [0, 0, 0]])
        >>> reached = Reached.of(graph, sparse.csc_array([[1.0], [0.0], [0.0]]))
        >>> reached.beside(np.array([[0]])).tolist(), reached.beside(np.array([[0, 1]])).tolist()
        ([True], [False])
        """
        sizes = np.bincount(self.components, minlength=len(self.flags))
        more: Mask = sizes @ self.flags > self.at(rows).sum(axis=1)
        return more


@dataclass(frozen=True, eq=False)
class ErrorBounds:
    """Scores (n, q), times the weights (n,) of their nodes, each wrong by the error (q,) of its query times its weight.

    Bounds are made where they are asked for: three matrices less than `Bounds` keeps.
    """

    scores: Array
    error: Floats
    reached: Reached
    weights: Floats | None = None

    def lower_at(self, rows: Rows, backend: Backend) -> Floats:
        """See `Bounds`."""
        return np.maximum(_at(self.scores, rows, backend) - self._error_at(rows), 0)

    def upper_at(self, rows: Rows, backend: Backend) -> Floats:
        """See `Bounds`."""
        upper = np.maximum(_at(self.scores, rows, backend), 0) + self._error_at(rows)
        return np.where(self.reached.at(np.maximum(rows, 0)), upper, 0.0)

    def most_beside(self, rows: Rows, backend: Backend) -> Floats:
        """See `Bounds`; overwrites the scores of these rows."""
        _take_out(self.scores, rows, backend)
        if self.weights is not None:
            return self._largest_upper(self.weights, backend)
        most = _largest(self.scores, backend)
        return np.where((most > 0) | self.reached.beside(rows), np.maximum(most, 0) + self.error, 0.0)

    def only(self, nodes: Rows, backend: Backend) -> ErrorBounds:
        """See `Bounds`."""
        reached = Reached(self.reached.flags, self.reached.components[nodes])
        weights = None if self.weights is None else self.weights[nodes]
        return ErrorBounds(self.scores[backend.asarray(nodes)], self.error, reached, weights)

    def _error_at(self, rows: Rows) -> Floats:
        error: Floats = self.error[:, None] * (1.0 if self.weights is None else self.weights[rows])
        return error

    def _largest_upper(self, weights: Floats, backend: Backend) -> Floats:
        """Return max (q,) over the nodes that are reached and not taken out of score + error x weight."""
        xp, flags = backend.xp, None if self.reached.flags.all() else backend.asarray(self.reached.flags)
        known = backend.asarray(np.isfinite(self.error))
        error = backend.asarray(np.where(np.isfinite(self.error), self.error, 0.0))  # infinity less infinity is nothing
        most = xp.full_like(error, -np.inf)
        for start in range(0, self.scores.shape[0], _ROWS):  # in cache: one pass over the scores, not four
            part = slice(start, start + _ROWS)
            upper = error * backend.asarray(weights[part, None])
            upper += self.scores[part]
            if flags is not None:
                upper = xp.where(flags[backend.asarray(self.reached.components[part])], upper, -np.inf)
            most = xp.maximum(most, upper.max(axis=0))
        most = xp.where(most >= 0, xp.where(known, most, np.inf), 0.0)
        return backend.to_host(most).astype(np.float64)


def _take_out(values: Array, rows: Rows, backend: Backend) -> None:
    """Set the entries (n, q) at the rows (q, m) of each query to -inf; a row of -1 is none."""
    queries, places = np.nonzero(rows >= 0)
    values[backend.asarray(rows[queries, places]), backend.asarray(queries)] = -np.inf


def _at(values: Array, rows: Rows, backend: Backend) -> Floats:
    """Return the entries (q, m) of (n, q) at the rows of each query; what -1 gives is of no use."""
    picked = backend.xp.take_along_axis(values, backend.asarray(np.maximum(rows, 0).T), axis=0)
    return backend.to_host(picked).T.astype(np.float64)


def _largest(values: Array, backend: Backend) -> Floats:
    if not values.shape[0]:
        return np.zeros(values.shape[1])
    return np.maximum(backend.to_host(values.max(axis=0)).astype(np.float64), 0)


def non_negative(solution: Solution, backend: Backend) -> Array:
    """Return scores of one's own, cut at 0: exact ones of non-negative seeds are not below, so only error goes.

    >>> from manifold.backends import get_backend
    >>> at, one = np.zeros(1, dtype=int), np.ones(1)
    >>> found = Solution(np.array([[2.0], [-0.5]]), (Status.CONVERGED,), at, residual=one, error_bound=one)
    >>> non_negative(found, get_backend("scipy")).tolist()
    [[2.0], [0.0]]
    """
    xp = backend.xp
    if all(status is not Status.NONFINITE for status in solution.status):
        return xp.maximum(solution.scores, 0)
    return xp.maximum(xp.where(xp.isfinite(solution.scores), solution.scores, 0), 0)


def score_bounds(
    solution: Solution, *, backend: Backend, reached: Reached | None = None, weights: Array = 1.0
) -> Bounds:
    """Return `weights` times the scores of a solution, cut at 0, and bounds; exactly 0 where known to be unreached.

    >>> from manifold.backends import get_backend
    >>> at, error = np.zeros(1, dtype=int), np.array([0.5])
    >>> found = Solution(np.array([[2.0], [0.25]]), (Status.CONVERGED,), at, residual=error, error_bound=error)
    >>> bounds = score_bounds(found, backend=get_backend("scipy"), weights=2.0)
    >>> bounds.lower.tolist(), bounds.upper.tolist()
    ([[3.0], [0.0]], [[5.0], [1.5]])
    """
    xp, scores, error = backend.xp, non_negative(solution, backend), backend.asarray(solution.error_bound)
    lower, upper = xp.maximum(scores - error, 0) * weights, (scores + error) * weights
    if reached is not None:
        known = reached.nodes(backend)
        lower, upper = (xp.where(known, bound, 0.0) for bound in (lower, upper))
    return Bounds(scores * weights, lower, upper)


class Selection:
    """The scores of one block of queries, ready to be cut into lists."""

    def __init__(self, bounds: Bounds | ErrorBounds, backend: Backend) -> None:
        self.bounds, self.backend = bounds, backend

    def overall(self, k: int, queries: Rows, *, baseline: Baseline, own: Rows | None = None) -> Lists:
        """Return the best k of the collection, `own` rows (q,) or (q, m) left out, for this block of queries.

        Where fewer than k scores are positive the baseline follows; it is asked for those queries alone. -1 pads where
        no more are left.

        >>> from manifold.backends import get_backend
        >>> bounds = Bounds(*(np.array([[x], [y]]) for x, y in ((2.0, 1.0), (1.5, 0.5), (2.5, 1.25))))
        >>> nothing = lambda queries: np.empty((queries.size, 0), dtype=int)
        >>> Selection(bounds, get_backend("scipy")).overall(1, np.array([0]), baseline=nothing)[0].tolist()
        [[0]]
        """
        all_scores = self.bounds.scores
        left_out = np.empty((queries.size, 0), dtype=np.int64) if own is None else own.reshape(queries.size, -1)
        _take_out(all_scores, left_out, self.backend)
        best, values = (self.backend.to_host(x) for x in self.backend.top_k(all_scores.T, k))
        rows, scores = best.astype(np.int64), np.maximum(values.astype(np.float64), 0)
        short = np.flatnonzero((scores <= 0).any(axis=1))
        near = baseline(queries[short]) if short.size else np.empty((0, 0), dtype=np.int64)
        for j, nearest in zip(short, near, strict=True):
            first = rows[j, scores[j] > 0]
            following = self._followed_by(first, nearest, np.append(first, left_out[j]))[:k]
            rows[j, : following.size], rows[j, following.size :] = following, -1
        lower = np.where(rows >= 0, self.bounds.lower_at(rows, self.backend), np.inf).min(axis=1, initial=np.inf)
        outside = self.bounds.most_beside(np.column_stack([rows, left_out]), self.backend)
        return rows, scores, proved_slack(lower, outside)

    def overall_of(self, nodes: Rows, k: int, queries: Rows, *, baseline: Baseline, own: Rows | None = None) -> Lists:
        """Return the best k of some nodes (m,), ascending, as `overall` does of all.

        >>> from manifold.backends import get_backend
        >>> bounds = Bounds(*(np.array([[x], [y]]) for x, y in ((2.0, 1.0), (1.5, 0.5), (2.5, 1.25))))
        >>> nothing = lambda queries: np.empty((queries.size, 0), dtype=int)
        >>> at, both = np.array([0]), Selection(bounds, get_backend("scipy"))
        >>> [part.tolist() for part in both.overall_of(np.array([1]), 2, at, baseline=nothing)]
        [[[1, -1]], [[1.0, 0.0]], [0.0]]
        """
        rows, scores = np.full((queries.size, k), -1, dtype=np.int64), np.zeros((queries.size, k))
        if not nodes.size:
            return rows, scores, np.zeros(queries.size)
        here = Selection(self.bounds.only(nodes, self.backend), self.backend)
        few = min(k, nodes.size)
        found, scores[:, :few], slack = here.overall(
            few,
            queries,
            baseline=lambda some: places_among(nodes, baseline(some)),
            own=None if own is None else places_among(nodes, own),
        )
        rows[:, :few] = np.where(found >= 0, nodes[found], -1)
        return rows, scores, slack

    def among(self, candidates: Rows, k: int) -> Lists:
        """Return the best k of each query's candidates (-1 pads), equal scores in the order given.

        >>> from manifold.backends import get_backend
        >>> bounds = Bounds(*(np.array([[x], [y]]) for x, y in ((2.0, 1.0), (1.5, 0.5), (2.5, 1.25))))
        >>> rows, scores, slack = Selection(bounds, get_backend("scipy")).among(np.array([[1, 0]]), 1)
        >>> rows.tolist(), scores.tolist(), slack.tolist()
        ([[0]], [[2.0]], [0.0])
        """
        values = np.where(candidates >= 0, _at(self.bounds.scores, candidates, self.backend), -np.inf)
        order = np.argsort(-values, axis=1, kind="stable")[:, :k]
        rows = np.take_along_axis(candidates, order, axis=1)
        scores = np.maximum(np.take_along_axis(values, order, axis=1), 0)
        upper = np.where(candidates >= 0, self.bounds.upper_at(candidates, self.backend), -1)
        np.put_along_axis(upper, order, -1, axis=1)
        lower = np.where(rows >= 0, self.bounds.lower_at(rows, self.backend), np.inf).min(axis=1, initial=np.inf)
        return rows, scores, proved_slack(lower, upper.max(axis=1, initial=0))

    def _followed_by(self, first: Rows, nearest: Rows, taken: Rows) -> Rows:
        """Return `first`, then the nearest rows that are not taken, then all others by id."""
        free = np.ones(self.bounds.scores.shape[0], dtype=bool)
        taken = taken.astype(np.int64)
        free[taken[taken >= 0]] = False
        nearest = nearest[nearest >= 0]
        nearest = nearest[free[nearest]]
        free[nearest] = False
        return np.concatenate([first, nearest, np.flatnonzero(free)])


def places_among(nodes: Rows, rows: Rows) -> Rows:
    """Return the place of each row in some nodes, ascending; -1 of one that is not among them.

    >>> places_among(np.array([3, 7]), np.array([[7, 5, -1]])).tolist()
    [[1, -1, -1]]
    """
    at = np.minimum(np.searchsorted(nodes, rows), max(nodes.size - 1, 0))
    return np.where(nodes[at] == rows, at, -1) if nodes.size else np.full(rows.shape, -1)
