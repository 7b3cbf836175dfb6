"""Who is among the k nodes that a seed reaches best, and of whom that is proved.

In: seeds Y (n, q) and a prepared solver. Out, a block of seeds at a time: the best nodes of each column, and tests of
any other node. Let F be the computed column, e its error bound, M the k largest of it but for nodes left out,

    x in M is proved      where F_x - e > e + F_(k+1)      (no k others can be as large)
    x not in M is proved  where F_x + e < F_(k) - e        (k others are surely larger), or nothing reaches x
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy import sparse

from manifold._arrays import as_integers
from manifold._typing import Floats, Ints, Mask
from manifold.backends import Array, Backend
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.solvers import Chebyshev, ConjugateGradient, Prepared, Solution, Solver, get_solver

BLOCK = 64  # columns of one solve
RTOL = 1e-4  # at which most memberships are decided, at a third of the work of the last digit
RTOL_EXACT = 1e-8  # of those that are not, in float64
_ROUNDING = 1 + 1e-12  # more than the rounding of the differences below


def solver_for(solver: str | Solver, graph: Graph, filter: Filter) -> Solver:
    """Return the settings of a solver: by name, as given, or, for "auto", conjugate gradients to a rtol of 1e-4.

    >>> from manifold import Diffusion, graph_from_affinity
    >>> solver_for("cg", graph_from_affinity([[0, 1], [1, 0]]), Diffusion())
    ConjugateGradient(rtol=0.0001, max_iter=None)
    """
    settings, _ = get_solver(solver, graph, filter)
    return (
        ConjugateGradient(rtol=RTOL)
        if isinstance(solver, str) and isinstance(settings, ConjugateGradient)
        else settings
    )


def exact_solver(graph: Graph, filter: Filter) -> Solver:
    """Return a solver for what is left undecided, to the last digits, in the precision of the graph.

    >>> from manifold import Diffusion, graph_from_affinity
    >>> exact_solver(graph_from_affinity([[0, 1], [1, 0]]), Diffusion())
    ConjugateGradient(rtol=1e-08, max_iter=None)
    """
    if filter.resolvents is not None:
        return ConjugateGradient(rtol=RTOL_EXACT)
    return Chebyshev(rtol=RTOL_EXACT) if filter.smooth else get_solver("auto", graph, filter)[0]


@dataclass(frozen=True, eq=False)
class Reach:
    """One block of columns: their best nodes, and what tells whether another is among them.

    Attributes
    ----------
    columns : (q,) int64
        Which seeds they are.
    rows, values : (q, m)
        The m nodes of largest scores, sorted by (-score, id), nodes left out and unreachable ones not among them: -1.
    n_reached : (q,) int64
        Nodes in the components that hold a seed, those left out not counted.
    spreads : bool
        Whether the exact score of every such node is above 0.
    """

    columns: Ints
    rows: Ints
    values: Floats
    error: Floats
    n_reached: Ints
    spreads: bool
    _look: Callable[[Ints, Ints], Floats]  # scores of nodes (p, w) in the columns at places (p,)

    def at(self, nodes: Ints, place: Ints) -> Floats:
        """Return the scores of nodes (p, w) in the columns at `place` (p,); -inf where unreachable or left out."""
        return np.where(nodes >= 0, self._look(np.maximum(nodes, 0), place), -np.inf)

    def members(self, k: int) -> Mask:
        """Return which entries (q, m) of `rows` are among the k best: of positive scores, or all that there are."""
        listed = (self.rows >= 0) & (np.arange(self.rows.shape[1]) < k)
        return listed & ((self.values > 0) | self._all_in(k)[:, None])

    def belongs(self, nodes: Ints, scores: Floats, *, k: int, place: Ints) -> Mask:
        """Return which nodes (p, w), with the scores that `at` gives, are among the k best of columns `place` (p,)."""
        last = min(k, self.rows.shape[1]) - 1
        least, least_id = self.values[place, last][:, None], self.rows[place, last][:, None]
        within = (scores > least) | ((scores == least) & (nodes <= least_id))
        return np.asarray((scores > -np.inf) & ((within & (scores > 0)) | self._all_in(k)[place][:, None]))

    def surely_in(self, scores: Floats, *, k: int, place: Ints) -> Mask:
        """Return of which scores (p, w) it is proved that their nodes are among the k best."""
        most = np.maximum(self._value(k, place), 0)
        known = (scores > -np.inf) & self._all_in(k)[place][:, None]
        return known | (scores - most[:, None] > self._width(place))

    def surely_out(self, scores: Floats, *, k: int, place: Ints) -> Mask:
        """Return of which scores (p, w) it is proved that their nodes are not among the k best."""
        least = self._value(k - 1, place)[:, None]
        apart = np.subtract(least, scores, out=np.full(scores.shape, -np.inf), where=np.isfinite(least))
        # no error where nothing arrives, and no list that could be full where there are fewer than k
        full, width = (self.n_reached[place] > k)[:, None], self._width(place)
        return np.asarray(np.isfinite(width) & (np.isneginf(scores) | (full & (apart > width))))

    def _all_in(self, k: int) -> Mask:
        return np.asarray(self.spreads & (self.n_reached <= k))

    def _value(self, position: int, place: Ints) -> Floats:
        if position >= self.values.shape[1]:
            return np.full(place.size, -np.inf)
        return np.asarray(self.values[place, position])

    def _width(self, place: Ints) -> Floats:
        return np.asarray(2 * _ROUNDING * self.error[place])[:, None]


def reached(
    prepared: Prepared, seeds: sparse.csc_array, *, graph: Graph, filter: Filter, backend: Backend, k: int, own: Ints
) -> Iterator[tuple[Reach, Solution]]:
    """Solve 64 seeds at a time; yield the k + 1 best nodes of each, and the report of the solve.

    Parameters
    ----------
    seeds : (n, q)
    own : (q,) int64
        A node that is left out of the list of each column; -1 for none.
    """
    spreads = all(w > 0 and 0 < a < 1 for w, a in filter.resolvents or ((0.0, 0.0),))
    sizes = np.bincount(graph.components, minlength=graph.n_components)
    for start in range(0, seeds.shape[1], BLOCK):
        columns = np.arange(start, min(start + BLOCK, seeds.shape[1]))
        block = seeds[:, columns]
        solution = prepared.solve(block)
        flags = np.zeros((graph.n_components, columns.size), dtype=bool)
        flags[graph.components[block.indices], np.repeat(np.arange(columns.size), np.diff(block.indptr))] = True
        scores = _set_aside(solution.scores, flags, graph=graph, backend=backend, own=own[columns])
        best, values = (backend.to_host(part) for part in backend.top_k(scores.T, min(k + 1, graph.n_nodes)))
        values = values.astype(np.float64)
        left = own[columns] >= 0
        inside = np.zeros(columns.size, dtype=bool)
        inside[left] = flags[graph.components[own[columns][left]], np.flatnonzero(left)]
        yield (
            Reach(
                columns=columns,
                rows=np.where(values > -np.inf, best, -1).astype(np.int64),
                values=values,
                error=np.where(np.isnan(solution.error_bound), np.inf, solution.error_bound),
                n_reached=sizes @ flags - inside,
                spreads=spreads,
                _look=partial(_picked, scores, backend),
            ),
            replace(solution, scores=np.empty(0)),
        )


def _picked(scores: Array, backend: Backend, nodes: Ints, place: Ints) -> Floats:
    picked = scores[backend.asarray(nodes), backend.asarray(place[:, None])]
    return np.asarray(backend.to_host(picked), dtype=np.float64)


def _set_aside(scores: Array, flags: Mask, *, graph: Graph, backend: Backend, own: Ints) -> Array:
    """Return scores (n, q) with -inf where nothing arrives, at nodes left out, and for numbers that are none."""
    xp = backend.xp
    if not flags.all():
        scores = xp.where(backend.asarray(flags)[backend.asarray(graph.components)], scores, -np.inf)
    scores = xp.where(xp.isfinite(scores), scores, -np.inf)
    left = np.flatnonzero(own >= 0)
    scores[backend.asarray(own[left]), backend.asarray(left)] = -np.inf
    return scores


def check_nodes(nodes: object, n: int, name: str) -> Ints:
    """Return distinct ids (a,) of nodes; raise ValueError for others.

    >>> check_nodes([2, 0], 3, "anchors").tolist()
    [2, 0]
    """
    ids = as_integers(nodes, name).astype(np.int64)
    if ids.ndim != 1 or np.unique(ids).size != ids.size:
        raise ValueError(f"{name} must be distinct nodes (a,), got shape {ids.shape} with repeats: numpy.unique(...)")
    if ids.size and (ids.min() < 0 or ids.max() >= n):
        raise ValueError(f"{name} must lie in 0..{n - 1}, got {ids.min()}..{ids.max()}")
    return ids
