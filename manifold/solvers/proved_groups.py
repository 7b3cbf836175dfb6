"""The best groups of nodes of one query, proved: images of several regions, at the cost of what the walk touches.

In: seeds of one query, non-negative; the group and the weight of each node. Out: `Found`, its rows groups. The score of
a group is the sum of w_j F_j over its nodes, cut at 0, or the largest of them. Of a node that is not touched F_j is at
most ``high v_j``: summed up for each group beforehand, so that a query looks at what it touches alone.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Self

import numpy as np

from manifold._typing import AnyArray, Floats, Ints, Mask
from manifold.solvers._relaxed import Relaxed, length
from manifold.solvers.proved import Found, ProvedLists, Query

if TYPE_CHECKING:
    from manifold.backends.proved_lists import Look
    from manifold.backends.relaxation import Relaxation

_SUMS = 1e-13  # more than the relative rounding of a sum over the nodes of a group


class ProvedGroups(ProvedLists):
    """Lists of the best groups, for one query at a time; safe to be asked by several threads.

    Parameters
    ----------
    relaxed : Relaxed
    owners : (n,) int
        The group 0..N-1 of each node.
    weights : (n,) float64
        w; positive where `maximum`.
    maximum : bool
        Take the largest w_j F_j of a group, instead of their sum.

    Examples
    --------
    >>> from manifold import Diffusion, graph_from_affinity
    >>> from manifold.backends import get_backend
    >>> from manifold.solvers import Local
    >>> path = graph_from_affinity([[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0]])
    >>> groups = Local().prepare(path, Diffusion(0.5), get_backend()).groups(np.array([0, 1, 1, 0]), np.ones(4))
    >>> groups.best([0], [1.0], 1).rows.tolist()
    [0]
    """

    def __init__(
        self,
        relaxed: Relaxed,
        *,
        owners: Ints,
        weights: Floats,
        maximum: bool = False,
        rtol: float = 1e-2,
        max_passes: float = 3.0,
    ) -> None:
        super().__init__(relaxed, rtol=rtol, max_passes=max_passes)
        order = relaxed.system.order
        self.owners: Ints = owners if order is None else owners[order]
        self.each: Floats = weights if order is None else weights[order]
        v, n_groups = relaxed.roots[: owners.size], int(owners.max(initial=-1)) + 1
        self.maximum = maximum
        # of each group: the sums of w v over its nodes of positive and of negative weight, or the largest
        self.above: Floats = np.zeros(n_groups)
        self.below: Floats = np.zeros(n_groups)
        if maximum:
            np.maximum.at(self.above, self.owners, self.each * v)
        else:
            self.above += np.bincount(self.owners, np.maximum(self.each, 0) * v, minlength=n_groups)
            self.below += np.bincount(self.owners, np.maximum(-self.each, 0) * v, minlength=n_groups)
        self.by_size = np.argsort(-self.above, kind="stable")

    def only(self, allowed: Mask) -> Self:
        """Return lists of some groups (N,) alone."""
        some = copy(self)
        some.allowed, some.by_size = allowed, self.by_size[allowed[self.by_size]]
        return some

    @property
    def kind(self) -> type[Query]:
        """What a query is: one that looks at groups."""
        return _GroupQuery


class _GroupQuery(Query):
    """A query on its way whose rows are groups."""

    of: ProvedGroups
    may_fill = False

    def __init__(
        self, of: ProvedGroups, nodes: Ints, weights: Floats, *, among: Ints | None, left_out: Ints | None
    ) -> None:
        super().__init__(of, nodes, weights, among=None, left_out=None)
        self.groups = None if among is None else np.asarray(among)
        self.none = np.empty(0, dtype=np.int64) if left_out is None else np.asarray(left_out)

    def narrow(self, k: int) -> None:
        """Name what may be listed where it is all listed."""
        if self.of.allowed is not None and np.count_nonzero(self.of.allowed) <= k + self.none.size:
            self.groups = np.flatnonzero(self.of.allowed)

    def answered(self, solve: Relaxation, k: int, *, slack: float, tie: float, fills: bool = False) -> Found:
        """Relax to ever smaller thresholds, until the cut is certain, a tie, or too dear: `prove`, of groups."""
        from manifold.backends.proved_lists import next_share
        from manifold.backends.proved_query import ROUNDING, SPENT

        relaxed, enough = self.of.relaxed, 1 + max(slack, tie)
        eps = first = self.begin(solve)
        while True:
            within = eps <= 0 or solve.relax(eps, budget=self.of.budget)
            high, low = relaxed.presumed(solve)
            look = self.look(solve, k, high=high, low=low)
            certain = max(look.upper, look.unseen) <= look.lower * enough
            if certain and within and length(solve.r) > self.of.rtol * self.size:
                eps /= 2
                continue
            if certain or not within or eps <= ROUNDING * first:
                high, low, hidden = relaxed.doubt(solve)
                look = self.look(solve, k, high=high, low=low)
                decided = max(look.upper, look.unseen) <= look.lower * enough or max(high, low) <= SPENT * hidden
                if decided or not within or not eps > 0:
                    return self.found(solve, k, look, decided=decided, doubt=max(high, low))
            eps *= next_share(look)

    def look(self, solve: Relaxation, k: int, *, high: float, low: float) -> Look:
        """Cut the groups that are touched into the best k and the others."""
        from manifold.backends.proved_lists import Look

        if self.are_few(k):  # all of them are listed: nothing is to be proved
            return Look(0.0, -1.0, 0.0, 0.0, 0.0)
        ids, scores, lower, upper = self.pooled(solve, high, low)
        may, known = self.may(ids), self.exhausted(solve)
        unseen = 0.0 if known else high * self.largest_beside(ids)
        scores, lower, upper = scores[may], lower[may], upper[may]
        positive = int((scores > 0).sum())
        most = min(k, positive) if known else k
        if positive < most:
            return Look(-1.0, -1.0, 0.0, np.inf, unseen)
        if not most:
            return Look(0.0, -1.0, 0.0, float(upper.max(initial=0.0)), unseen)
        order = np.lexsort((ids[may], -scores))
        best, others = order[:most], order[most:]
        less = float(scores[others[0]]) if others.size else -1.0
        outside = float(upper[others].max(initial=0.0))
        return Look(float(scores[best[-1]]), less, float(lower[best].min()), outside, unseen)

    def exhausted(self, solve: Relaxation) -> bool:
        """Whether no other node can be reached: the components are touched, or the rows of all that is touched open."""
        return solve.nodes.size >= self.n_reached or bool(solve.opened.all())

    def pooled(self, solve: Relaxation, high: float, low: float) -> tuple[Ints, Floats, Floats, Floats]:
        """Return the groups that are touched, their scores, and bounds on them."""
        inside = solve.nodes < self.system.n_nodes
        nodes, x, v = (part[inside] for part in (solve.nodes, solve.x, solve.v))
        ids, at = np.unique(self.of.owners[nodes], return_inverse=True)
        w, middle = self.of.each[nodes], np.maximum(x, 0)
        least, most = np.maximum(x - low * v, 0), np.maximum(x + high * v, 0)
        away = 0.0 if self.exhausted(solve) else high * (1 + _SUMS)  # how far a node that is not touched may be from 0
        if self.of.maximum:
            pooled = []
            for part in (middle, least, most):
                largest = np.zeros(ids.size)
                np.maximum.at(largest, at, w * part)
                pooled.append(largest)
            scores, lower, upper = pooled
            return ids, scores, lower * (1 - _SUMS), np.maximum(upper, away * self.of.above[ids]) * (1 + _SUMS)
        plus, minus = np.maximum(w, 0), np.maximum(-w, 0)

        def total(part: AnyArray) -> Floats:
            return np.bincount(at, part, minlength=ids.size).astype(np.float64)

        rest = [
            away * (np.maximum(of_all[ids] - total(part * v), 0) + _SUMS * of_all[ids])
            for of_all, part in ((self.of.above, plus), (self.of.below, minus))
        ]
        rounding = _SUMS * (total(plus * most) + total(minus * most) + rest[0] + rest[1])
        lower = total(plus * least) - total(minus * most) - rest[1] - rounding
        upper = total(plus * most) - total(minus * least) + rest[0] + rounding
        scores = np.maximum(total(plus * middle) - total(minus * middle), 0)
        return ids, scores, np.maximum(lower, 0), np.maximum(upper, 0)

    def are_few(self, k: int) -> bool:
        """Whether no more than k groups may be listed."""
        return self.groups is not None and np.setdiff1d(self.groups, self.none).size <= k

    def may(self, ids: Ints) -> Mask:
        """Return which groups may be listed."""
        may: Mask = ~np.isin(ids, self.none)
        if self.of.allowed is not None:
            may &= self.of.allowed[ids]
        return may if self.groups is None else may & np.isin(ids, self.groups)

    def largest_beside(self, ids: Ints) -> float:
        """Return the largest sum of w v of a group that is not touched and may be listed."""
        if self.groups is not None:
            return float(self.of.above[np.setdiff1d(self.groups, ids)].max(initial=0.0))
        first = 0
        while first < self.of.by_size.size:  # soon found: what is touched is few
            some = self.of.by_size[first : first + ids.size + 1]
            touched = np.isin(some, ids)
            if not touched.all():
                return float(self.of.above[some[~touched][0]])
            first += some.size
        return 0.0

    def taken(self, solve: Relaxation, k: int) -> tuple[Ints, Floats, Ints, Floats]:
        """Return the best k groups and their scores; the nodes where x is not 0, and x: at unit scale."""
        ids, scores, _, _ = self.pooled(solve, 0.0, 0.0)
        kept = self.may(ids) & (scores > 0)
        ids, scores = ids[kept].astype(np.int64), scores[kept]
        best = np.lexsort((ids, -scores))[:k]
        ids, scores = ids[best], scores[best]
        if self.groups is not None and self.are_few(k):
            rest = np.setdiff1d(self.groups, np.concatenate([ids, self.none]))
            ids, scores = np.concatenate([ids, rest]), np.concatenate([scores, np.zeros(rest.size)])
        at = np.flatnonzero((solve.x != 0) & (solve.nodes < self.system.n_nodes))
        return ids, scores, self.in_graph(solve.nodes[at]), solve.x[at]
