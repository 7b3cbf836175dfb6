"""Clusters of large graphs: each mode is solved for where it is, and met nodes go to the mode that reaches them best.

In: modes of a graph whose walks stay near. Out: of each node the best score, the next, and bounds; modes in order, so
that the answer depends on no thread.
"""

from __future__ import annotations

import numpy as np

from manifold._progress import Progress
from manifold._typing import Floats, Ints, Mask
from manifold.backends import Backend
from manifold.discovery._local_reach import found_nearby, report_of
from manifold.discovery._reach import BLOCK
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.ranking import unit_seeds
from manifold.solvers import Local, Solution, merge_reports

_RTOL = (
    3e-5  # of the residual of each mode: of a million labels it proves 99 %, where 1e-4 proves 90 for 2/3 of the work
)
_RTOL_EXACT = 1e-7  # where more is asked for: x and its residual are kept in float64


class Contest:
    """The best score of each of n nodes and what is known of all others."""

    def __init__(self, n: int) -> None:
        self.label = np.full(n, -1)
        self.score, self.second, self.error, self.others = np.zeros((4, n))

    def enter(self, mode: int, nodes: Ints, x: Floats, *, error: float) -> None:
        """Let a mode compete for the nodes that it reaches, by scores right to `error`.

        >>> contest = Contest(3)
        >>> contest.enter(0, np.array([0, 1]), np.array([0.5, 0.1]), error=0.01)
        >>> contest.enter(1, np.array([1, 2]), np.array([0.3, 0.4]), error=0.02)
        >>> contest.label.tolist(), contest.others.round(2).tolist()
        ([0, 1, 1], [0.0, 0.11, 0.0])
        """
        value, best = np.maximum(x, 0), self.score[nodes]
        better = value > best
        # the loser of the two is one of the others from here on
        self.others[nodes] = np.maximum(self.others[nodes], np.where(better, best + self.error[nodes], value + error))
        self.second[nodes] = np.maximum(self.second[nodes], np.minimum(best, value))
        self.label[nodes[better]], self.error[nodes[better]] = mode, error
        self.score[nodes] = np.maximum(best, value)

    def proved(self, unmet: float) -> Mask:
        """Return of which labels (n,) it is proved that no other mode has as large a score; `unmet` bounds those that
        a node was not met by."""
        return np.asarray((self.label >= 0) & (self.score - self.error > np.maximum(self.others, unmet)))


def best_of_modes(
    graph: Graph,
    modes: Ints,
    *,
    filter: Filter,
    backend: Backend,
    exact: bool = False,
    progress: Progress | None = None,
) -> tuple[Contest, Mask, Solution]:
    """Solve for each mode where it is; return who won, of which labels that is proved, and the report.

    Nodes that no mode has met are left to the neighbour that sends them most, without a proof.
    """
    lists = Local(rtol=_RTOL_EXACT if exact else _RTOL).prepare(graph, filter, backend).lists()
    contest, reports, unmet = Contest(graph.n_nodes), [], 0.0
    for start in range(0, modes.size, BLOCK):
        some = modes[start : start + BLOCK]
        found = found_nearby(lists, unit_seeds(some, graph.n_nodes), np.full(some.size, -1), k=1)
        for place, one in enumerate(found):
            contest.enter(start + place, one.nodes, one.x, error=one.error_bound)
            unmet = max(unmet, one.error_bound)
        reports.append(report_of(found, graph.n_entries))
        if progress is not None:
            progress(start + some.size, modes.size)
    proved = contest.proved(unmet)
    _leave_to_neighbours(contest, graph, modes)
    return contest, proved, merge_reports(reports)


def _leave_to_neighbours(contest: Contest, graph: Graph, modes: Ints) -> None:
    """Give nodes that no walk has met the label of the neighbour with the largest weight, from the met ones outward."""
    reached = np.zeros(graph.n_components, dtype=bool)
    reached[graph.components[modes]] = True
    left = np.flatnonzero((contest.label < 0) & reached[graph.components])
    while left.size:
        rows = graph.affinity[left]
        known = np.where(contest.label[rows.indices] >= 0, rows.data, -1.0)
        full = np.flatnonzero(np.diff(rows.indptr))
        best = np.maximum.reduceat(known, rows.indptr[full])
        order = np.lexsort((rows.indices, -known, np.repeat(np.arange(left.size), np.diff(rows.indptr))))
        first = rows.indices[order[rows.indptr[full]]]
        met = best > 0
        if not met.any():
            break
        contest.label[left[full[met]]] = contest.label[first[met]]
        left = np.setdiff1d(left, left[full[met]])
