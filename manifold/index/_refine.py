"""A warm solve that ends early: what the stored columns leave undecided is solved on, and proved by them.

In: stored columns, the seeds of one query, the k that are wanted. Out: a `Shortlist` in which the rest is ruled out.

With x an approximate answer and r = w y - (I - a S) x its residual on the whole graph, the exact one is

    F_i = x_i + (1 / w) sum_j K_ij r_j,    K = h(S) >= 0

Nodes far from the cut are ruled out by a bound on x + r for all nodes, see `ResidualBound`. For the few near it the sum
is taken over their own stored column. The entries that it does not hold have 0 <= K_ij <= tail_i and, because K v <= v
for v = sqrt(degree), sum_j K_ij v_j <= rest_i, known from those that it does. So for any t >= 0 what is missing of the
sum is at most

    t rest_i + tail_i sum_j max(r_j - t v_j, 0)        over the j that are not held,

the dual of a fractional knapsack, and likewise from below. The best t is that r_j / v_j down to which entries as large
as the tail use up rest_i. A residual of 1e-3 then decides what would take 1e-7 without the columns.
"""

from __future__ import annotations

import numpy as np

from manifold._typing import Floats, Ints
from manifold.backends import get_backend, rounding_unit
from manifold.index._intervals import SUMS, Intervals, LeftOut, Shortlist
from manifold.index._residual_bound import SLACK, ResidualBound
from manifold.index._steps import Steps, dot
from manifold.index.lazy import LazyColumns
from manifold.index.stored import StoredColumns

_HOST = get_backend("scipy")
_LOOK = 0.05  # the bound for all nodes, as a share of the k-th score, at which the bounds are first looked at
_NEARER = 32  # by how much the residual falls at most from one look to the next
_SAFE = 0.8  # of the residual that would just decide, if the bounds fell as it does
_MOST_STEPS = 2000  # between two looks
_SHOWN = 0.1  # share of a residual that the rounding of single precision may hide
_MOST_LOOKS = 200  # far beyond what rounding leaves to gain
_LARGEST = 4096  # entries of r / v that are told apart
_RANGE = 128  # by how much they may be smaller than the largest


@np.errstate(under="ignore")
def refine(
    columns: StoredColumns,
    nodes: Ints,
    weights: Floats,
    *,
    k: int,
    slack: float = 0.0,
    scale: Floats | None = None,
    left_out: LeftOut | None = None,
    start: Floats | None = None,
) -> Shortlist:
    """Return the k best nodes, solved on until nothing left out exceeds (1 + slack) times the last of them.

    Reference: guide *certificates*, "Ask for a proof".

    Parameters
    ----------
    columns : StoredColumns
    nodes, weights : (m,)
        The seeds; weights > 0.
    k : int
    slack : float
    scale, left_out
        As for `StoredColumns.shortlist`.
    start : (n,) float, optional
        Scores to go on from, and to be looked at first; by default what the columns of the seeds add up to.

    Returns
    -------
    Shortlist
        Decided or, where rounding ends it, as near as it came.

    Notes
    -----
    Cost: some five to fifteen products with S in single precision, and at each of one to three looks another and T for
    each contested node. Solving on the nodes around the seeds first was tried and saves nothing: the bound for all
    nodes asks for the residual of all.

    Examples
    --------
    >>> from manifold import Diffusion, graph_from_affinity
    >>> from manifold.index import DiffusionIndex
    >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).astype("float64")
    >>> index = DiffusionIndex(n_entries=1).build(path, filter=Diffusion(0.5))
    >>> best = refine(index, np.array([0]), np.array([1.0]), k=2)
    >>> best.rows.tolist(), best.lower > best.outside
    ([0, 1], True)
    """
    if isinstance(columns, LazyColumns):  # which has no constants of all columns, and a solve of its own
        return columns.proved(nodes, weights, k=k, slack=slack, scale=scale, left_out=left_out)
    query = _Query(columns, nodes, weights, scale=scale, left_out=left_out, start=start)
    steps, goal = query.steps(), query.length
    if start is None:
        goal = query.goal(k)
        query.go_on(steps, goal)
    for _ in range(_MOST_LOOKS):
        found = query.cut(k)
        if found.outside <= found.lower * (1 + slack) or query.exhausted:
            break
        goal = min(goal, query.length) * _share(found)
        if steps.spent or query.length > 2 * steps.length:  # single precision does not follow the residual further
            steps = query.steps()
        query.go_on(steps, goal)
    return found


def _share(found: Shortlist) -> float:
    """Return to what share of itself the residual should fall, for the bounds at the cut to part.

    They shrink with it about their middles, which are as far apart as two half widths less what overlaps.
    """
    width = 2 * (float(found.scores[-1]) - found.lower) if found.scores.size else 0.0
    apart = width - (found.outside - found.lower)
    return min(max(_SAFE * apart / width, 1 / _NEARER), 0.5) if width > 0 else 1 / _NEARER


class _Query:
    """One query: its approximate scores x, the residual r of them on the whole graph, and what they prove.

    All vectors are in the order of S.
    """

    def __init__(
        self,
        columns: StoredColumns,
        nodes: Ints,
        weights: Floats,
        *,
        scale: Floats | None,
        left_out: LeftOut | None,
        start: Floats | None = None,
    ) -> None:
        self.columns, self.of, self.system = columns, columns.residual_bound, columns.system
        self.scale, self.left_out = scale, LeftOut() if left_out is None else left_out
        self.listed: Ints | slice = slice(None)  # what may be, where that is not everything
        if self.left_out.allowed is not None:
            self.listed = self.system.places(np.flatnonzero(self.left_out.allowed))
        ((self.w, self.a),) = columns.filter.resolvents or ()
        graph = columns.graph
        of_component = np.zeros(graph.n_components, dtype=bool)
        of_component[graph.components[nodes]] = True
        self.reached = of_component.take(self.system.components)
        self.seeds, which = np.unique(self.system.places(nodes), return_inverse=True)
        self.b = np.bincount(which, self.w * weights)
        self.largest_b = float((self.b * self.of.inverse[self.seeds]).max(initial=0))
        self.x = self.of.inside(columns.estimate(nodes, weights) if start is None else start.astype(np.float64))
        if start is None:
            held = np.unique(self.system.places(columns.held(nodes)[0]))
            self._judge(self.of.S[held].T @ self.x[held])
        else:
            self.x *= self.reached  # elsewhere scores are 0 for certain
            self._judge(self.of.S @ self.x)

    def add(self, e: Floats, *, length: float) -> None:
        """Correct the scores by e, and their residual, of about some length then: afresh where rounding would show."""
        self.x += e
        change = self._largest_ratio(e)
        self.largest_x += change
        hidden = self.hidden + self.of.rounding * change + self.system.rounding * self.largest_x
        if hidden * self.of.length > _SHOWN * length:
            self._judge(self.of.S @ self.x)
        else:
            self.r -= _HOST.spmm(self.of.single, e[:, None], b=1.0)[:, 0]
            self._measure(hidden)

    def _judge(self, r: Floats) -> None:
        """Turn S x into the residual, and measure it."""
        r *= self.a
        r -= self.x
        r[self.seeds] += self.b
        self.r = r
        self.largest_x = self._largest_ratio(self.x)
        # what rounding may hide of it, at most so many v: S |x| is at most v times the largest |x| / v
        self._measure(self.system.rounding * (2 * self.largest_x + self.largest_b))

    def _measure(self, hidden: float) -> None:
        self.ratio, self.hidden = self.r * self.of.inverse, hidden
        self.length, self.weighted = (float(np.sqrt(dot(self.r, z))) for z in (self.r, self.ratio))

    def _largest_ratio(self, x: Floats) -> float:
        """Return the largest |x| / v."""
        ratio = x * self.of.inverse
        return max(float(ratio.max()), -float(ratio.min()))

    @property
    def exhausted(self) -> bool:
        """Whether rounding hides the residual: no step can improve the scores."""
        return bool(self.length <= self.hidden * self.of.length)

    def steps(self) -> Steps:
        """Return conjugate gradients from the true residual."""
        return Steps(self.of.single, self.r, self.length)

    def go_on(self, steps: Steps, goal: float) -> None:
        """Take steps until the residual is about as short as a goal, and correct the scores by them."""
        steps.advance(_MOST_STEPS, length=goal)
        self.add(steps.taken(), length=steps.length)

    def goal(self, k: int) -> float:
        """Return a length of the residual at which a look is likely to decide: a bound small beside the k-th score."""
        found = self.x[self.listed]
        found = found[found > 0]
        kth = float(np.partition(found, found.size - k)[found.size - k]) if 0 < k <= found.size else 0.0
        return _LOOK * kth / self.of.typical if self.of.typical else 0.0  # 0: all that is known is exact

    def cut(self, k: int) -> Shortlist:
        """Rule out what the bound for all nodes rules out, and the rest by its own columns."""
        at = self.listed
        walked, bound = self.x[at] + self.r[at], self._bound(at)
        lower, upper = walked - bound, np.maximum(walked + bound, 0)
        if self.scale is not None:
            scale = self.of.inside(self.scale)[at]
            lower, upper = lower * scale, upper * scale
        if self.left_out.nodes is not None:
            out = self.system.places(self.left_out.nodes)
            out = out if isinstance(at, slice) else np.flatnonzero(np.isin(at, out))
            lower[out] = upper[out] = -1
        certain = lower[lower > 0]
        kth = np.partition(certain, certain.size - k)[certain.size - k] if 0 < k <= certain.size else -1.0
        near = np.flatnonzero(upper >= max(kth, 0))
        nodes = near if isinstance(at, slice) else at[near]
        nodes = nodes if self.of.order is None else self.of.order[nodes].astype(np.int64)
        by_id = np.argsort(nodes)
        near, nodes = near[by_id], nodes[by_id]
        of_near = np.maximum(lower[near], 0), upper[near]
        upper[near] = 0
        bounds = Intervals(nodes, *of_near, unseen=float(upper.max(initial=0)))
        return bounds.settled(k, self._by_own_columns, scale=self.scale)

    def _bound(self, at: Ints | slice) -> Floats:
        """Return bounds on |F - x - r| at some places; what rounding hides of r is at most some v, and K v <= v."""
        of: ResidualBound = self.of
        bound: Floats = of.stored[at] * (self.length * (1 + SLACK))
        bound += of.others[at] * (self.weighted * (1 + SLACK))
        bound += of.v[at] * (self.hidden * (1 + SLACK) / self.w)
        bound *= self.reached[at]
        return bound

    def _by_own_columns(self, nodes: Ints) -> tuple[Floats, Floats]:
        """Return bounds on the scores of some nodes from the residual at the entries of their own columns."""
        c, places = self.columns, self.system.places(nodes)
        ids, values = self.system.places(c.ids[nodes]), c.values[nodes].astype(np.float64)
        of_r, of_v, rest, tail = self.r[ids], self.of.v[ids], c.rest[nodes], c.tail[nodes]
        terms = values * of_r
        known = (2 * rounding_unit(c.values.dtype) + SUMS) * np.abs(terms).sum(axis=1)
        known += c.error[nodes] * np.abs(of_r).sum(axis=1) + self.of.v[places] * self.hidden
        most = np.full(nodes.size, np.inf)  # of the v over the entries that are not held, as if each were the tail
        np.divide(rest, tail, out=most, where=tail > 0)
        most += of_v.sum(axis=1)
        middle, ends = self.x[places] + terms.sum(axis=1) / self.w, []
        top = self._top()
        for sign in (-1, 1):
            t, above, all_above = _thresholds(sign, *top, most)
            held = np.maximum(sign * of_r - t[:, None] * of_v, 0).sum(axis=1)
            missing = t * rest + tail * np.maximum(above + SLACK * all_above - held, 0)
            ends.append(np.maximum(middle + sign * (known + missing) * ((1 + SLACK) / self.w), 0))
        return ends[0], ends[1]

    def _top(self) -> tuple[Floats, Floats, float]:
        """Return r and v where |r| / v is largest, descending by it, and what it is at most elsewhere."""
        size = np.abs(self.ratio)
        least = float(size.max()) / _RANGE
        top = np.flatnonzero(size >= least)
        while least > 0 and top.size > _LARGEST and (nearer := top[size[top] >= 2 * least]).size:
            top, least = nearer, 2 * least
        top = top[np.argsort(-size[top])]
        return self.r[top], self.of.v[top], least


def _thresholds(sign: int, r: Floats, v: Floats, least: float, most: Floats) -> tuple[Floats, Floats, Floats]:
    """Return thresholds t of sign r / v, how much of sign r there is above t v, and how much r it is the rest of.

    Down to the threshold the v add up to `most`, or to what they are where sign r / v is at least `least`.
    """
    of_sign = np.flatnonzero(sign * r > 0)
    if not of_sign.size:
        return np.full_like(most, least), np.zeros_like(most), np.zeros_like(most)
    r, v = sign * r[of_sign], v[of_sign]
    ratio, r, v = r / v, r.cumsum(), v.cumsum()
    at = np.minimum(v.searchsorted(most), v.size - 1)
    t = ratio[at]
    return t, r[at] - t * v[at], r[at]
