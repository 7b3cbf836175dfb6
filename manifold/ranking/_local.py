"""Seeds to lists at the cost of what each query touches: a solver that proves lists by itself is asked for every query.

In: seeds Y (n, q), non-negative. Out: rows, scores and slack of each query, and those that stay undecided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from manifold._typing import Floats, Ints
from manifold.backends.threads import in_threads
from manifold.ranking._base import proved_slack
from manifold.solvers import Solution, Status
from manifold.solvers.proved import Found, ProvedLists

_PLAIN = 2.0**500  # seeds within this much of 1 have scores and bounds that float64 holds


@dataclass(frozen=True, eq=False)
class LocalLists:
    """What local solves found for the queries of a block."""

    found: Sequence[Found | None]
    left: Ints  # queries that are not decided, and may gain from a solve of the whole graph

    def start(self, n: int) -> Floats:
        """Return scores (n, l) of the queries that are left, to go on from."""
        x0 = np.zeros((n, self.left.size))
        for place, j in enumerate(self.left):
            found = self.found[j]
            if found is not None:
                x0[found.nodes, place] = found.x
        return x0

    def report(self, n_entries: int) -> Solution:
        """Return how each query went; the bound is one on every score, the iterations are passes over S."""
        zero = np.zeros(len(self.found))
        passes, residual, bound = zero.astype(np.int64), zero, zero.copy()
        status = []
        for j, found in enumerate(self.found):
            status.append(Status.APPROXIMATE if found is None or not found.decided else Status.CONVERGED)
            if found is not None:
                passes[j] = -(-found.n_edges // max(n_entries, 1))
                residual[j], bound[j] = found.residual, found.error_bound
        return Solution(np.empty(0), tuple(status), passes, residual, bound, solver="local")


def best_of_each(
    lists: ProvedLists,
    seeds: sparse.csc_array,
    k: int,
    *,
    slack: float | None,
    candidates: Ints | None = None,
    own: Ints | None = None,
) -> LocalLists:
    """Ask for the best k of each query, as many at a time as there are threads.

    Parameters
    ----------
    seeds : (n, q) CSC
    candidates : (q, m) int, optional
        Nodes that may be listed; -1 pads.
    own : (q,) int, optional
        A node of each query that is not to be listed.
    """
    q = seeds.shape[1]
    found: list[Found | None] = [None] * q

    def ask(first: int, last: int) -> None:
        for j in range(first, last):
            part = slice(seeds.indptr[j], seeds.indptr[j + 1])
            weights = seeds.data[part].astype(np.float64)
            if not weights.size or not 1 / _PLAIN < weights.max() < _PLAIN:
                continue
            among = None if candidates is None else candidates[j][candidates[j] >= 0]
            left_out = None if own is None else own[j : j + 1]
            nodes = seeds.indices[part].astype(np.int64)
            found[j] = lists.best(nodes, weights, k, slack=slack, among=among, left_out=left_out)

    if q == 1:
        ask(0, 1)
    else:
        in_threads(ask, q, step=1)
    left = [j for j in range(q) if _goes_on(found[j], lists.rtol, slack)]
    return LocalLists(found, np.array(left, dtype=np.int64))


def _goes_on(found: Found | None, rtol: float, slack: float | None) -> bool:
    if found is None:
        return True
    return not found.decided and (slack is not None or found.residual > rtol)


def filled(
    found: Found, k: int, followers: Ints, *, left_out: Ints, nodes: Ints | None = None
) -> tuple[Ints, Floats, float]:
    """Return a list of k rows, its scores and its slack: where fewer are positive, others follow with the score 0.

    Parameters
    ----------
    followers : (f,) int
        Rows that may follow, in order, those that are listed already among them; then rows by ascending number.
    left_out : (l,) int
        Rows that may not.
    nodes : (m,) int, optional
        All that may, ascending: at least k beside those left out.

    Examples
    --------
    >>> one = Found(np.array([4]), np.ones(1), 0.9, 0.0, True, 3, n_touched=2, residual=0.0, error_bound=0.1,
    ...     nodes=np.array([4]), x=np.ones(1))
    >>> filled(one, 3, np.array([4, 7]), left_out=np.array([0]))
    (array([4, 7, 1]), array([1., 0., 0.]), 0.0)
    """
    rows, scores = found.rows, found.scores
    slack = float(proved_slack(np.array([found.lower]), np.array([found.outside]))[0])
    if rows.size < k:
        listed = np.concatenate([rows, followers[~np.isin(followers, np.concatenate([rows, left_out]))]])[:k]
        if listed.size < k:
            first = np.arange(k + left_out.size) if nodes is None else nodes[: k + left_out.size]
            others = np.setdiff1d(first, np.concatenate([listed, left_out]))
            listed = np.concatenate([listed, others[: k - listed.size]])
        rows, scores = listed, np.concatenate([scores, np.zeros(k - scores.size)])
        # a score of 0 bounds nothing from below: certain only where nothing else is reached
        slack = 0.0 if found.outside == 0 else np.inf
    return rows, scores, slack
