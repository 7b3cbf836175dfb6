"""A warm solve that ends early: what the stored columns leave undecided is solved on, and proved by them.

In: stored columns, the seeds of one query, the k that are wanted. Out: a `Shortlist` in which the rest is ruled out.

With x an approximate answer and r = w y - (I - a S) x its residual on the whole graph, the exact one is

    F_i = x_i + (1 / w) sum_j K_ij r_j,    K = h(S) >= 0

Nodes far from the cut are ruled out by a bound for all nodes. For the few near it the sum is taken over their own
stored column; where that holds no entry, 0 <= K_ij <= tail_i, and because K v = v for v = sqrt(degree) the entries not
held have sum_j K_ij v_j = m_i, known from those that are. With the inequality of Cauchy and Schwarz, what is missing
of the sum is at most

    min( tail_i sum |r_j|,  sqrt(m_i tail_i sum r_j^2 / v_j) )        over the j that are not held.

Both factors are small, so a residual of 1e-3 decides what would take 1e-7 without the columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from manifold.backends import rounding_unit
from manifold.index._intervals import SUMS, Floats, Intervals, Ints, Shortlist
from manifold.index._stored import StoredColumns

_LOOK = 0.05  # the bound for all nodes, as a share of the k-th score, at which the bounds are first looked at
_NEARER = 8  # by how much the residual falls from one look to the next
_MOST_STEPS = 2000  # between two looks
_END = 1e-5  # share of a residual down to which single precision follows it
_MOST_LOOKS = 200  # far beyond what rounding leaves to gain
_SLACK = 1e-10  # more than the relative rounding of sums over all nodes in float64, and of S v = v times 1 / (1 - a)


@np.errstate(under="ignore")
def refine(
    columns: StoredColumns,
    nodes: Ints,
    weights: Floats,
    *,
    k: int,
    slack: float = 0.0,
    scale: Floats | None = None,
    left_out: Ints | None = None,
) -> Shortlist:
    """Return the k best nodes, solved on until nothing left out exceeds (1 + slack) times the last of them.

    Parameters
    ----------
    columns : StoredColumns
    nodes, weights : (m,)
        The seeds; weights > 0.
    k : int
    slack : float
    scale, left_out
        As for `StoredColumns.shortlist`.

    Returns
    -------
    Shortlist
        Decided or, where rounding ends it, as near as it came.

    Notes
    -----
    Cost: some ten to twenty products with S in single precision, and at each of one to three looks one in double and
    T for each contested node. Solving on the nodes around the seeds first was tried and saves nothing: the bound for
    all nodes asks for the residual of all.
    """
    query = _Query(columns, nodes, weights, scale=scale, left_out=left_out)
    steps, goal = query.first_steps(), query.goal(k)
    for _ in range(_MOST_LOOKS):
        before = steps.e
        steps.advance(_MOST_STEPS, length=goal)
        query.add(steps.e - before)
        found = query.cut(k)
        if found.outside <= found.lower * (1 + slack) or query.exhausted:
            break
        goal = min(goal, query.length) / _NEARER
        if steps.spent or query.length > 2 * steps.length:  # single precision does not follow the residual further
            steps = query.next_steps()
    return found


class _Steps:
    """Conjugate gradients on (I - a S) e = r in the precision of S, a few steps at a time.

    The residual is scaled to length 1, which keeps squares in the range of single precision.
    """

    def __init__(self, S: Any, a: float, r: Floats) -> None:
        self.S, self.a, self.scale = S, S.dtype.type(a), float(np.sqrt(r @ r))
        self.r = (r / self.scale if self.scale else r).astype(S.dtype)
        self.x, self.p = np.zeros_like(self.r), self.r.copy()
        self.rho = 1.0

    @property
    def e(self) -> Floats:
        """The correction so far."""
        return self.x * np.float64(self.scale)

    @property
    def length(self) -> float:
        """Length of the residual, as far as the recurrence knows."""
        return self.scale * float(np.sqrt(self.rho))

    @property
    def spent(self) -> bool:
        """Whether the residual has fallen as far as the precision carries."""
        return self.rho <= _END**2

    def advance(self, n_steps: int, *, length: float) -> None:
        """Take up to `n_steps`, fewer where the residual is no longer than `length`, or at the end of the precision."""
        real, target = self.S.dtype.type, max(length / self.scale, _END) if self.scale else np.inf
        for _ in range(n_steps):
            if self.rho <= target * target:  # a power would raise where this is infinite
                return
            Ap = self.S @ self.p
            Ap *= -self.a
            Ap += self.p
            curvature = float(self.p @ Ap)
            if curvature <= 0:  # the residual has underflowed: go on from the true one
                return
            step = real(self.rho / curvature)
            self.x += step * self.p
            self.r -= step * Ap
            before, self.rho = self.rho, float(self.r @ self.r)
            self.p *= real(self.rho / before)
            self.p += self.r


class _Query:
    """One query: its approximate scores x, the residual r of them on the whole graph, and what they prove."""

    def __init__(
        self, columns: StoredColumns, nodes: Ints, weights: Floats, *, scale: Floats | None, left_out: Ints | None
    ) -> None:
        self.columns, self.scale, self.left_out = columns, scale, left_out
        self.order, self.rows, self.single = columns.by_degree
        self.v, self.inverse = columns.roots, 1 / columns.roots
        ((self.w, self.a),) = columns.filter.resolvents or ()
        of_component = np.zeros(columns.graph.n_components)
        of_component[columns.graph.components[nodes]] = 1
        self.reached = of_component[columns.graph.components]
        self.b = np.zeros(columns.graph.n_nodes)
        np.add.at(self.b, nodes, self.w * weights)
        self.x, self.r = columns.estimate(nodes, weights), np.empty_like(self.b)

    def add(self, e: Floats) -> None:
        """Correct the scores, by degree, and compute their true residual afresh."""
        self.x[self.order] += e
        self.r[self.order] = self.rows @ self.x
        self.r *= self.a
        self.r -= self.x
        self.r += self.b
        self.length = float(np.sqrt(self.r @ self.r))
        # what rounding may hide of it, at most so many v: S |x| is at most v times the largest |x| / v
        largest = float((np.abs(self.x) * self.inverse).max()), float((self.b * self.inverse).max())
        self.hidden = self.columns.system.rounding * (2 * largest[0] + largest[1])

    @property
    def exhausted(self) -> bool:
        """Whether rounding hides the residual: no step can improve the scores."""
        return self.length <= self.hidden * float(np.sqrt(self.v @ self.v))

    def first_steps(self) -> _Steps:
        """Return conjugate gradients from where the scores stand, by degree, the residual in single precision."""
        x = self.x[self.order]
        r = self.b[self.order] - x + self.a * (self.single @ x.astype(self.single.dtype)).astype(np.float64)
        return _Steps(self.single, self.a, r)

    def next_steps(self) -> _Steps:
        """Return conjugate gradients from the true residual."""
        return _Steps(self.single, self.a, self.r[self.order])

    def goal(self, k: int) -> float:
        """Return a length of the residual at which a look is likely to decide: a bound small beside the k-th score."""
        found = self.x[self.x > 0]
        kth = float(np.partition(found, found.size - k)[found.size - k]) if 0 < k <= found.size else 0.0
        return _LOOK * kth * self.w / float(self.columns.peaks.mean())

    def cut(self, k: int) -> Shortlist:
        """Rule out what the bound for all nodes rules out, and the rest by its own columns."""
        bound = self._bound()
        lower, upper = (self.reached * np.maximum(ends, 0) for ends in (self.x - bound, self.x + bound))
        if self.scale is not None:
            lower, upper = lower * self.scale, upper * self.scale
        if self.left_out is not None:
            lower[self.left_out] = upper[self.left_out] = -1
        certain = lower[lower > 0]
        kth = np.partition(certain, certain.size - k)[certain.size - k] if 0 < k <= certain.size else -1.0
        near = np.flatnonzero(upper >= max(kth, 0))
        of_near = lower[near], upper[near]
        upper[near] = 0
        bounds = Intervals(near, *of_near, unseen=float(upper.max(initial=0)))
        return bounds.settled(k, self._by_own_columns, scale=self.scale)

    def _bound(self) -> Floats:
        """Return bounds (n,) on |F - x|: that of the residual's length, node by node, and that of its largest entry.

        (I - a S)^-1 = K / w has e_i' K e_i = K_ii and norm at most 1, so |e_i' K r| <= sqrt(K_ii) |r|; and K v = v.
        """
        length = self.length + self.hidden * float(np.sqrt(self.v @ self.v))
        largest = float((np.abs(self.r) * self.inverse).max()) + self.hidden
        return np.minimum(self.columns.peaks * length, self.v * largest) * ((1 + _SLACK) / self.w)

    def _by_own_columns(self, nodes: Ints) -> tuple[Floats, Floats]:
        """Return bounds on the scores of some nodes from the residual at the entries of their own columns."""
        c = self.columns
        ids, values = c.ids[nodes], c.values[nodes].astype(np.float64)
        tail, error, v = c.tail[nodes], c.error[nodes], self.v[nodes]
        u = 2 * rounding_unit(c.values.dtype) + SUMS
        size, square = np.abs(self.r), self.r**2 * self.inverse
        terms, held = values * self.r[ids], size[ids].sum(axis=1)
        missing = np.maximum(size.sum() * (1 + _SLACK) - held, 0)
        squares = np.maximum(square.sum() * (1 + _SLACK) - square[ids].sum(axis=1), 0)
        of_v = values * self.v[ids]
        mass = np.maximum(v - of_v.sum(axis=1) * (1 - u) + error * self.v[ids].sum(axis=1), 0) + _SLACK * v
        half = np.minimum(tail * missing, np.sqrt(mass * tail * squares))
        half += error * held + u * np.abs(terms).sum(axis=1) + v * self.hidden
        middle, half = self.x[nodes] + terms.sum(axis=1) / self.w, half * ((1 + _SLACK) / self.w)
        return np.maximum(middle - half, 0), np.maximum(middle + half, 0)
