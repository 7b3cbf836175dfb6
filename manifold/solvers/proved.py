"""The best k of one query, proved, at the cost of what the walk touches: relaxed further until the cut is certain.

In: seeds of one query, non-negative. Out: `Found`, nodes and scores with bounds on those listed and those left out.

With e the error of x, -low v_i <= e_i <= high v_i for every node, v = sqrt(degree), see `Relaxed.doubt`. A node that is
not touched has x = 0, so that none of them exceeds ``high`` times the largest v in the components of the seeds; outside
those, scores are exactly 0. The cut is certain where no upper bound of what is left out exceeds the lower of the list.
"""

from __future__ import annotations

from copy import copy
from functools import cached_property
from math import frexp, ldexp
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from manifold._typing import AnyArray, Floats, Ints, Mask
from manifold.solvers._filled import Begun, Descent, Filled
from manifold.solvers._relaxed import Relaxed, length

if TYPE_CHECKING:
    from manifold.backends.proved_lists import Look
    from manifold.backends.proved_query import Asked
    from manifold.backends.relaxation import Relaxation

_FIRST = 1 / 64  # of the largest seed, over its root of degree and 1 / (1 - a): the first threshold
LEAST_EDGES = 1 << 16  # edges that any query may relax, on however small a graph
_LOOKED_AT = 256  # nodes of the largest v that may bound all that are not touched
_MOST_MET = 1 / 2  # of the graph, reached or not: beyond, passes over all of it cost less
_TIE = 2.0**-33  # slack from which on scores count as equal: 1e-10


class Found(NamedTuple):
    """The best nodes of one query and what is proved of the rest.

    Attributes
    ----------
    rows : (m,) int64
        Nodes by descending score, equal ones by ascending id; fewer than k where fewer are reached.
    scores : (m,) float64
    lower, outside : float
        No node of `rows` has an exact score below `lower`, no other one above `outside`; of a list that is certain it
        may be above where it has the same edges as the last of the list: such nodes have the same score.
    decided : bool
        Whether `outside` <= (1 + slack) `lower`, or what is between them is a tie that rounding cannot tell apart.
    n_edges, n_touched : int
        Entries of S that were passed over; nodes that were met.
    residual : float
        ||b - A x||_2 / ||b||_2.
    error_bound : float
        On max |F - x|, of scores that are not scaled by degrees.
    nodes, x : (t,)
        Where x is not 0, and x: what a solve of the whole graph goes on from.
    """

    rows: Ints
    scores: Floats
    lower: float
    outside: float
    decided: bool
    n_edges: int
    n_touched: int
    residual: float
    error_bound: float
    nodes: Ints
    x: Floats


class ProvedLists:
    """Lists of the best nodes by ``scale F``, for one query at a time; safe to be asked by several threads.

    Parameters
    ----------
    relaxed : Relaxed
    scale : (n,) float64, optional
        > 0, such as degree^-p.
    rtol : float
        A list that is proved is relaxed on until ||b - A x||_2 <= rtol ||b||_2: the order within it follows the scores.
    max_passes : float
        Edges that one query may relax, over the entries of S.

    Examples
    --------
    >>> from manifold import Diffusion, graph_from_affinity
    >>> from manifold.backends import get_backend
    >>> from manifold.solvers import Local
    >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    >>> best = Local().prepare(path, Diffusion(0.5), get_backend()).lists().best([0], [1.0], 2)
    >>> best.rows.tolist(), best.outside <= best.lower
    ([0, 1], True)
    """

    def __init__(
        self, relaxed: Relaxed, *, scale: Floats | None = None, rtol: float = 1e-3, max_passes: float = 3.0
    ) -> None:
        self.relaxed, self.rtol = relaxed, rtol
        S = relaxed.system
        v = relaxed.roots[: S.n_nodes]
        self.factors = np.ones_like(v) if scale is None else (scale if S.order is None else scale[S.order])
        self.order, self.weights = _largest(v if scale is None else v * self.factors)
        self.budget = max(max_passes * relaxed.matrix.nnz, LEAST_EDGES)
        self.allowed: Mask | None = None  # (n,) of the nodes that may be listed, in the order of S
        self.sizes: Ints | None = None  # how many of them each component has

    def only(self, allowed: Mask) -> Self:
        """Return lists of some nodes alone: the walks are those of all.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> from manifold.solvers import Local
        >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
        >>> lists = Local().prepare(path, Diffusion(0.5), get_backend()).lists()
        >>> lists.only(np.array([False, True, True])).best([0], [1.0], 1).rows.tolist()
        [1]
        """
        some, S = copy(self), self.relaxed.system
        some.allowed = allowed if S.order is None else allowed[S.order]
        nodes = np.flatnonzero(some.allowed)
        some.sizes = np.bincount(S.components[nodes], minlength=S.graph.n_components)
        top, some.weights = _largest(self.relaxed.roots[nodes] * self.factors[nodes])
        some.order = nodes[top]
        return some

    @cached_property
    def filled(self) -> Filled | None:
        """What goes on where a walk fills the graph, made when one first does."""
        return Filled(self.relaxed, self.factors) if Filled.serves(self.relaxed) else None

    @property
    def kind(self) -> type[Query]:
        """What a query is: its seeds, and how it looks at what is touched."""
        return Query

    def make_ready(self) -> None:
        """Load, or compile, what a query calls, and make the first workspace: so that no query waits for it.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> from manifold.solvers import Local
        >>> Local().prepare(graph_from_affinity([[0, 1], [1, 0]]), Diffusion(), get_backend()).lists().make_ready()
        """
        if not self.order.size:
            return
        idle = copy(self)
        idle.budget = -1.0  # it ends before it begins
        idle.best(np.zeros(1, dtype=np.int64), np.ones(1), 1)

    def best(
        self,
        nodes: Ints,
        weights: Floats,
        k: int,
        *,
        slack: float | None = None,
        among: Ints | None = None,
        left_out: Ints | None = None,
    ) -> Found:
        """Return the k best nodes of one query.

        Parameters
        ----------
        nodes, weights : (s,)
            The seeds, weights finite and > 0.
        k : int
        slack : float, optional
            How far a score that is left out may be above one that is listed, as a share of it. By default 0, but that a
            tie to ten digits is not looked into further.
        among : (c,) int, optional
            The nodes that may be listed; by default all.
        left_out : (l,) int, optional
            Nodes that are not to be listed.

        Returns
        -------
        Found
            ``decided`` False where the budget ended first.

        Notes
        -----
        Cost: some to some hundred thousand edges, whatever the size of the graph, where walks stay near their seeds;
        where they fill it, `max_passes` over it.
        """
        query = self.kind(
            self, np.asarray(nodes), np.asarray(weights, dtype=np.float64), among=among, left_out=left_out
        )
        query.narrow(k)
        with self.relaxed.workspace() as solve:
            of = None if slack is None or not query.may_fill else self.filled
            found = query.answered(
                solve, k, slack=slack or 0.0, tie=_TIE if slack is None else 0.0, fills=of is not None
            )
            return found if of is None or found.decided else query.filled(of, solve, k, slack=slack or 0.0)


def _largest(weights: Floats) -> tuple[Ints, Floats]:
    """Return where the largest weights are, descending, and these; 0 behind them where those are all there are."""
    few = min(_LOOKED_AT, weights.size)
    blocks = weights[: weights.size // few * few].reshape(few, -1) if few else weights[None]
    # each block holds one that is as large as the least of their maxima: as many as are asked for
    top = np.flatnonzero(weights >= blocks.max(axis=1, initial=0).min())
    top = top[np.argpartition(-weights[top], few - 1)[:few]] if few else top
    # of equal ones those of small ids, so that the list is one of many only in its length
    top = top[np.lexsort((top, -weights[top]))]
    end = top[-1:] if few == weights.size else top[:0]
    return np.append(top, end), np.append(weights[top], np.zeros(end.size))


def _read_only(array: AnyArray) -> AnyArray:
    """Return a view that cannot be written to: of one type, whoever holds the array, so that code is compiled once."""
    view = array.view(np.ndarray)
    view.flags.writeable = False
    return view


class Query:
    """One query on its way: seeds in the order of S at unit scale, and what may be listed."""

    may_fill = True  # what is ranked is nodes

    def __init__(
        self, of: ProvedLists, nodes: Ints, weights: Floats, *, among: Ints | None, left_out: Ints | None
    ) -> None:
        self.of, self.system = of, of.relaxed.system
        self.seeds = self.system.places(nodes)
        self.unit = ldexp(1.0, frexp(weights.max(initial=0.0))[1])
        self.b = weights * (of.relaxed.w / self.unit)
        self.size = length(self.b)
        # `np.unique` takes three times as long for so few
        self.reached: Ints = np.array(sorted(set(self.system.components[self.seeds].tolist())), dtype=np.int64)
        self.n_reached = np.inf if of.relaxed.doubled else int(of.relaxed.sizes[self.reached].sum())
        none: Ints = np.empty(0, dtype=np.int64)
        self.left_out = none if left_out is None else self.system.places(np.asarray(left_out))
        self.among: Ints | None = None
        if among is not None:  # outside the components of the seeds, scores are 0 for certain
            may = np.setdiff1d(self.system.places(np.asarray(among)), self.left_out)
            self.among = may[np.isin(self.system.components[may], self.reached)]

    def narrow(self, k: int) -> None:
        """Name what may be listed where it is all listed: nothing is to be proved then."""
        of = self.of
        if of.allowed is None or of.sizes is None or self.among is not None:
            return
        if of.sizes[self.reached].sum() <= k + self.left_out.size:
            may = np.flatnonzero(of.allowed & np.isin(self.system.components, self.reached))
            self.among = np.setdiff1d(may, self.left_out)

    def begin(self, solve: Relaxation) -> float:
        """Put the seeds down and return the first threshold."""
        solve.start(self.seeds, self.b)
        return float((self.b / solve.v[0]).max(initial=0.0)) * (1 - self.of.relaxed.a) * _FIRST

    def answered(self, solve: Relaxation, k: int, *, slack: float, tie: float, fills: bool = False) -> Found:
        """Relax to ever smaller thresholds, until the cut is certain, a tie, or too dear.

        Where something else goes on, `fills`, it is too dear as soon as most of the graph is seen to be met.
        """
        from manifold.backends.proved_lists import Look
        from manifold.backends.proved_query import Aim, State, prove

        of, relaxed = self.of, self.of.relaxed
        state = State(np.full(2, self.begin(solve)), np.zeros(2), np.zeros(7))
        aim = Aim(
            k=k,
            slack=max(slack, tie),
            residual=of.rtol * self.size,
            budget=float(of.budget),
            inverse=float(relaxed.inverse),
            most_met=_MOST_MET * self.system.n_nodes if fills else np.inf,
        )
        while code := prove(solve.matrix, solve.patch, solve.a, solve.omega, self.asked, aim, state):
            solve.grow(nodes=code == 2, edges=code == 3)
        *cut, doubt, decided = state.known.tolist()
        return self.found(solve, k, Look(*cut), decided=bool(decided), doubt=doubt)

    @cached_property
    def asked(self) -> Asked:
        """What may be listed, as machine code reads it."""
        from manifold.backends.proved_query import Asked

        none, of = self.left_out[:0], self.of
        return Asked(
            factors=_read_only(of.factors),
            order=of.order,
            weights=of.weights,
            components=_read_only(self.system.components),
            reached=self.reached,
            n_reached=float(self.n_reached),
            allowed=np.empty(0, dtype=bool) if of.allowed is None else of.allowed,
            among=none if self.among is None else self.among,
            only_these=self.among is not None,
            left_out=self.left_out,
        )

    def filled(self, of: Filled, solve: Relaxation, k: int, *, slack: float) -> Found:
        """Go on over the whole graph from what relaxation has found."""
        v, inside = self.of.relaxed.roots, self.of.allowed
        best = self.taken(solve, k)[0]
        if self.among is not None:
            may: Mask = np.zeros(v.size, dtype=bool)
            may[self.among] = True
        elif inside is None and self.n_reached == v.size and not self.left_out.size:
            may = np.empty(0, dtype=bool)
        else:
            reached = np.zeros(self.of.relaxed.sizes.size, dtype=bool)
            reached[self.reached] = True
            may = reached[self.system.components]
            may = may if inside is None else may & inside
            may[self.left_out] = False
        begun = Begun(
            self.seeds,
            self.b / v[self.seeds],
            solve.nodes,
            solve.x / solve.v,
            solve.r / solve.v,
            self.system.places(best),
            may,
        )
        with of.work() as work:
            answer = Descent(of, work, begun, k).answered(slack, self.of.rtol)
            at = np.flatnonzero(answer.u)
            return Found(
                rows=self.in_graph(answer.places),
                scores=answer.scores * self.unit,
                lower=answer.lower * self.unit,
                outside=answer.outside * self.unit,
                decided=answer.decided,
                n_edges=solve.edges + answer.n_steps * self.of.relaxed.matrix.nnz,
                n_touched=int(self.n_reached),
                residual=answer.residual / self.size,
                error_bound=answer.doubt * self.system.largest_weight * self.unit,
                nodes=self.in_graph(at),
                x=answer.u[at] * v[at] * self.unit,
            )

    def in_graph(self, nodes: Ints) -> Ints:
        """Return the ids in the graph of nodes of S."""
        order = self.system.order
        return (nodes if order is None else order[nodes]).astype(np.int64)

    def taken(self, solve: Relaxation, k: int) -> tuple[Ints, Floats, Ints, Floats]:
        """Return the best k and their scores; where x is not 0, and x: at unit scale, in the ids of the graph."""
        from manifold.backends.proved_query import taken

        order = self.system.order
        names = _read_only(np.empty(0, np.int32) if order is None else order)
        rows, scores, nodes, x = taken(solve.patch, self.asked, names, k)
        best = np.lexsort((rows, -scores))[:k]
        rows, scores = rows[best], scores[best]
        if self.among is not None and self.among.size <= k:  # what the walk has not come to is reached all the same
            rest = np.setdiff1d(self.in_graph(self.among), rows)
            rows, scores = np.concatenate([rows, rest]), np.concatenate([scores, np.zeros(rest.size)])
        return rows, scores, nodes, x

    def found(self, solve: Relaxation, k: int, look: Look, *, decided: bool, doubt: float) -> Found:
        """Return the list, at the scale of the seeds, in the ids of the graph."""
        rows, scores, nodes, x = self.taken(solve, k)
        return Found(
            rows=rows,
            scores=scores * self.unit,
            lower=look.lower * self.unit,
            outside=max(look.upper, look.unseen) * self.unit,
            decided=decided,
            n_edges=solve.edges,
            n_touched=solve.nodes.size,
            residual=length(solve.r) / self.size if self.size else 0.0,
            error_bound=doubt * self.system.largest_weight * self.unit,
            nodes=nodes,
            x=x * self.unit,
        )
