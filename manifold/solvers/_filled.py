"""The best k of one query whose walk fills the graph: passes over all of it, until the cut is certain.

In: what relaxation has found. Out: `Answer`. With u = D^-1/2 x the system is (I - a P) u = D^-1/2 b, P = D^-1 W: rows
of P have sum 1, so that the extremes of a residual bound the error of every node alike, from above and from below
(MacQueen, "A modified dynamic programming method for Markovian decision problems", 1966). What of the residual is the
same everywhere is solved for at once; the rest falls at the pace of the second eigenvalue, by conjugate gradients in
the inner product of D.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from manifold._typing import Floats, Ints, Mask
from manifold.solvers._formed import reordered
from manifold.solvers._relaxed import Relaxed

if TYPE_CHECKING:
    from manifold.backends.filled import Rows

_OCTAVES = 200  # of degrees on either side of 1, within which all products are safe
_MOST_STEPS = 2_000
_SPENT = 2  # times what rounding hides of a residual, at which another step proves nothing more
_WIDE = 1 / 32  # of the k-th score: intervals that are wider part nothing, and the cut is not looked at
_BEFORE, _AFTER = 3.0, 2.0  # times a residual of usual size, to which the largest are relaxed; what a step leaves of it
_WORN = 2.0**-52  # of ||b||_2: a residual that rounding has worn


class Work(NamedTuple):
    """The vectors of one query, as long as the graph, in the order of S; b, u and r are 0 between queries."""

    b: Floats
    u: Floats
    r: Floats
    p: Floats
    q: Floats
    queued: Mask
    places: Ints


class Begun(NamedTuple):
    """What a query is and what relaxation found of it, divided by sqrt(degree); nodes in the order of S."""

    seeds: Ints
    b: Floats
    nodes: Ints
    u: Floats
    r: Floats
    listed: Ints  # the best k so far, or none
    may: Mask  # (n,) which nodes may be listed, or (0,): all


class Answer(NamedTuple):
    """The best nodes of a query, and what is proved of the rest."""

    places: Ints
    scores: Floats
    lower: float
    outside: float
    decided: bool
    doubt: float  # of the error of u
    n_steps: int
    residual: float  # ||b - A x||_2
    u: Floats  # (n,), of the work that was lent


class Filled:
    """I - a P of one graph, for one query at a time; safe to be asked by several threads."""

    def __init__(self, relaxed: Relaxed, factors: Floats) -> None:
        self.relaxed, self.system = relaxed, relaxed.system
        self.factors = factors * relaxed.roots  # of u, what is ranked
        self._idle: list[Work] = []

    @staticmethod
    def serves(relaxed: Relaxed) -> bool:
        """Whether the filter is one resolvent, and degrees are so near each other that products of them are safe."""
        octaves = np.abs(np.frexp(relaxed.roots)[1]).max(initial=0)
        return not relaxed.doubled and bool(2 * octaves < _OCTAVES)

    @cached_property
    def rows(self) -> Rows:
        """a P, without weights where they are all alike."""
        from manifold.backends.filled import Rows  # loads the compiler: only where it is asked for

        S, W = self.system, self.system.graph.affinity
        sizes, weights = self.relaxed.roots**2, W.data[:0]
        rates = np.where(np.diff(S.entries.indptr) > 0, self.relaxed.a / sizes, 0.0)
        if W.nnz and W.data.min() == W.data.max():
            rates *= float(W.data[0])
        else:
            weights = (W if S.order is None else reordered(W, S.order)).data
        return Rows(S.entries.indptr, S.entries.indices, weights, rates, sizes)

    @cached_property
    def volumes(self) -> Floats:
        """The sum of degrees of each component."""
        sums: Floats = np.zeros(self.system.graph.n_components)
        np.add.at(sums, self.system.components, self.rows.sizes)
        return sums

    @contextmanager
    def work(self) -> Iterator[Work]:
        """Lend the vectors of one query to this thread alone: those of an earlier one, or new ones."""
        n = self.factors.size
        try:
            work = self._idle.pop()
        except IndexError:
            b, u, r, p, q = np.zeros((5, n))
            work = Work(b, u, r, p, q, np.zeros(n, dtype=bool), np.empty(n, dtype=np.int64))
        try:
            yield work
        finally:
            for part in work[:3]:
                part[:] = 0
            self._idle.append(work)


class Cut(NamedTuple):
    """The best k by what is known, a lower bound on them and an upper on all others."""

    places: Ints
    lower: float
    outside: float

    def is_certain(self, limit: float) -> bool:
        """Whether nothing outside is above the list by more than a share of it."""
        return self.outside <= self.lower * (1 + limit)


class Descent:
    """One query on its way: the best k of the nodes that may be listed, or all of them where they are fewer."""

    def __init__(self, of: Filled, work: Work, begun: Begun, k: int) -> None:
        self.of, self.work, self.may = of, work, begun.may
        n_may = int(begun.may.sum()) if begun.may.size else of.factors.size
        self.k, self.listed, self.lists_all = min(k, n_may), begun.listed, n_may <= k
        np.add.at(work.b, begun.seeds, begun.b)
        work.u[begun.nodes], work.r[begun.nodes] = begun.u, begun.r
        self.volume = float(of.volumes[of.system.components[begun.seeds]].max(initial=0.0)) or 1.0
        self.size = float(np.sqrt((of.rows.sizes[begun.seeds] * begun.b**2).sum()))

    def answered(self, limit: float, rtol: float) -> Answer:
        """Descend until the cut is certain, or a tie that rounding cannot tell apart.

        Parameters
        ----------
        limit : float
            By which share of itself a score that is left out may be above one that is listed.
        rtol : float
            What is certain is solved for until ||b - A x||_2 <= rtol ||b||_2: order follows the scores.
        """
        from manifold.backends.filled import descend, levelled, smooth, walked

        (b, u, r, p, q, queued, places), rows, relaxed = self.work, self.of.rows, self.of.relaxed
        inverse, nnz = relaxed.inverse, rows.indices.size
        further = relaxed.a * inverse * (1 + 4 * relaxed.system.rounding)
        rr = levelled(rows, relaxed.system.components, self.of.volumes, u, r, 1 - relaxed.a)
        p[:] = r
        for n_steps in range(1, _MOST_STEPS + 1):
            rr, *_ = descend(rows, u, r, p, q, rr)
            typical = float(np.sqrt(rr / self.volume))
            is_last = n_steps == _MOST_STEPS or rr <= (_WORN * self.size) ** 2
            short = rr <= (rtol * self.size) ** 2 and self.seems_certain(_AFTER * typical * inverse, limit)
            if not short and not is_last:
                continue
            smooth(rows, u, r, _BEFORE * typical, queued, places, nnz // 4)
            up, down, hidden = walked(rows, b, u, r, q)  # r as it is, and q a step beyond u
            high, low, rr = up * further + hidden, down * further + hidden, float(rows.sizes @ r**2)
            cut = self.look(q, high, low)
            decided = cut.is_certain(limit) or max(high, low) <= _SPENT * hidden * inverse
            if decided or is_last:
                break
            p[:] = r
        scores, doubt = np.maximum(q[cut.places] * self.of.factors[cut.places], 0), max(high, low)
        return Answer(cut.places, scores, cut.lower, cut.outside, decided, doubt, n_steps, float(rr**0.5), q)

    def seems_certain(self, doubt: float, limit: float) -> bool:
        """Whether the cut would be certain if no node of u were off by more: looked at where it can be."""
        u, listed, factors = self.work.u, self.listed, self.of.factors
        if listed.size == self.k and not self.lists_all:
            scores = u[listed] * factors[listed]
            last = np.argmin(scores)
            if doubt * factors[listed[last]] > _WIDE * scores[last]:
                return False
        cut = self.look(u, doubt, doubt)
        self.listed = cut.places
        return cut.is_certain(limit)

    def look(self, u: Floats, high: float, low: float) -> Cut:
        """Cut what is known into the best k and the others: -low <= u* - u <= high for every node."""
        from manifold.backends.filled import rivals
        from manifold.backends.proved_lists import cut

        of, k, listed = self.of, self.k, self.listed
        if self.lists_all:
            every = np.flatnonzero(self.may) if self.may.size else np.arange(of.factors.size)
            return Cut(self.best(every, u[every] * of.factors[every], k), 0.0, 0.0)
        floor = float((u[listed] * of.factors[listed]).min()) if listed.size == k else 0.0
        count, most = rivals(u, of.factors, self.may, max(floor, 0.0), high, self.work.places)
        near = self.work.places[:count].copy()
        x, factors, one, none = u[near], of.factors[near], np.ones(count), np.zeros(count, dtype=bool)
        kth, _, lower, upper = cut(x, one, factors, none, k, low, high)
        if kth <= 0:  # fewer are known to be reached
            return Cut(self.best(near[x > 0], (x * factors)[x > 0], k), 0.0, np.inf)
        known = Cut(self.best(near, x * factors, k), lower, max(upper, most))
        if known.outside > lower:
            tie = self.tie(near, x * factors)
            if tie is not None:
                before, after = (cut(x, one, factors, none, m, low, high)[2:] if m else (np.inf, 0.0) for m in tie)
                if before[1] <= before[0] and max(after[1], most) <= after[0]:
                    return known._replace(outside=lower)
        return known

    def best(self, places: Ints, scores: Floats, k: int) -> Ints:
        """Return the k of some nodes that score best, equal ones by ascending id."""
        if places.size > k:
            kept = scores >= np.partition(scores, places.size - k)[places.size - k]
            places, scores = places[kept], scores[kept]
        order = self.of.system.order
        return places[np.lexsort((places if order is None else order[places], -scores))[:k]]

    def tie(self, near: Ints, scores: Floats) -> tuple[int, int] | None:
        """Return how many nodes are before the last of the list and all that are alike it, and how many with them.

        Nodes of the same edges have the same score: any of them may be listed.
        """
        from manifold.backends.filled import alike

        if near.size <= self.k:
            return None
        order = np.argsort(-scores, kind="stable")
        same = alike(self.of.rows, self.work.b, near[order[self.k - 1]], near[order])
        first, many = int(np.argmax(same)), int(same.sum())
        return (first, first + many) if same[self.k] and same[first : first + many].all() else None
