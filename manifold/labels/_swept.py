"""Few nodes far from all labels, by themselves: each score a sum of products that are not negative, term by term.

    x_U = w y_U + a S_UU x_U + a S_UD x_D             U the far nodes, D the others, whose scores x_D stand

So a score is right relative to itself, however small, down to the end of float64.
"""

from __future__ import annotations

from functools import cached_property
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold._typing import AnyArray, Floats, Ints
from manifold.backends.threads import in_threads
from manifold.graph import Graph

RTOL = 1e-3  # of the largest score of a node: what walks not yet counted may add
_STEPS = 10  # times 1 / (1 - a): so many steps have walks from a label to a far node, along which what is left adds up
_MAX_SWEEPS = 20_000
_LOOK = 16  # sweeps between two looks at whether they suffice
_MANY = 8192  # nodes from which on loading the compiler pays
_TOGETHER = 1 << 16  # rows that a thread takes


class FarSystem:
    """(I - a S) x = w Y on the host, in float64 but for W."""

    def __init__(self, graph: Graph, seeds: sparse.csr_array, *, pole: tuple[float, float], signed: bool) -> None:
        self.graph, self.seeds, self.pole, self.signed = graph, seeds, pole, signed
        self.roots = np.sqrt(np.where(graph.degrees > 0, graph.degrees, 1))

    @cached_property
    def place(self) -> NDArray[np.int32]:
        """Where each node stands in memory elsewhere (n,): neighbours near each other."""
        place = np.arange(self.graph.n_nodes, dtype=np.int32)
        if self.graph.order is not None:
            place[self.graph.order] = np.arange(self.graph.n_nodes, dtype=np.int32)
        return place

    def residual(self, x: AnyArray) -> tuple[AnyArray, Floats]:
        """Return w Y - (I - a S) x (n, q) in the dtype of the graph, and the error (q,) of x beside v = sqrt(degree).

        That is max_i |r_i| / v_i / (1 - a), to which is added what rounding may have hidden of r.
        """
        (w, a), W, roots, (n, q) = self.pole, self.graph.affinity, self.roots, x.shape
        r, largest = np.empty((n, q), self.graph.dtype), np.zeros(q)
        if n >= _MANY and find_spec("numba") is not None:
            from manifold.backends.far_sweeps import residuals  # loads the compiler

            order = self.graph.order if self.graph.order is not None else np.arange(n, dtype=np.int32)
            rows, seeds = (W.indptr, W.indices, W.data), (self.seeds.indptr, self.seeds.indices, self.seeds.data)
            found: list[Floats] = []

            def work(start: int, stop: int) -> None:
                found.append(residuals(rows, seeds, x, roots, (w, a), order[start:stop], r))

            in_threads(work, n, step=_TOGETHER)
            largest = np.max(found, axis=0)
        else:
            for j in range(q):
                u = x[:, j] / roots
                each = w * self.seeds[:, [j]].toarray()[:, 0] / roots + a / roots**2 * (W @ u) - u
                r[:, j], largest[j] = each * roots, abs(each).max(initial=0)
        hidden = np.finfo(np.float64).eps * (8 + int(np.diff(W.indptr).max(initial=0)))
        most = np.array([abs(x[:, j] / roots).max(initial=0) for j in range(q)])
        return r, (largest + hidden * most) / (1 - a)


@np.errstate(under="ignore")
def swept(x: AnyArray, system: FarSystem, *, far: Ints, error: Floats) -> tuple[Floats, bool]:
    """Return the scores (m, q) of m far nodes beside those of the others, and whether they were found.

    They are summed up from below until the residual at each node is less than a 10,000th of 1 - a of the largest score
    there: what is missing is that share of it, times the mean number of steps of the walks that it counts. Few
    nodes, or columns with signs, are summed up in powers of S until what the longer walks can add is a thousandth.

    Cost: a product with the rows of nodes that still change a sweep, at most 20,000.

    >>> from manifold import graph_from_affinity
    >>> path, seeds = graph_from_affinity(np.eye(3, k=1) + np.eye(3, k=-1)), sparse.csr_array([[1.0], [0.0], [0.0]])
    >>> system = FarSystem(path, seeds, pole=(0.5, 0.5), signed=False)
    >>> x, settled = swept(np.array([[0.6], [0.2], [0.0]]), system, far=np.array([2]), error=np.zeros(1))
    >>> x.round(4).tolist(), settled  # a / sqrt(2) of the middle one
    ([[0.0707]], True)
    """
    if far.size >= _MANY and not system.signed and find_spec("numba") is not None:
        return _many(x, system, far=far, error=error)
    return _few(x, system, far=far)


def _many(x: AnyArray, system: FarSystem, *, far: Ints, error: Floats) -> tuple[Floats, bool]:
    """Return x_U of many nodes: sweeps that use what they have found go as far as the graph reaches at once."""
    from manifold.backends.far_sweeps import distances, sweep  # loads the compiler

    (w, a), graph, place, m = system.pole, system.graph, system.place, far.size
    W, is_far = graph.affinity, np.zeros(graph.n_nodes, dtype=bool)
    is_far[far] = True
    away = distances(W.indptr, W.indices, is_far)
    by_distance = np.lexsort((place[far], away[far]))  # those of one distance as they stand in memory elsewhere
    nodes = far[by_distance]
    rows = W[nodes]
    beside = np.unique(rows.indices)
    beside = beside[~is_far[beside]]
    beside = beside[np.argsort(place[beside])]
    every = np.concatenate([nodes, beside])
    at = np.empty(graph.n_nodes, dtype=np.int32)
    at[every] = np.arange(every.size)
    roots = system.roots[every, None]
    u = np.asarray(np.maximum(x[every], 0) / roots, dtype=np.float64)
    # (I - a S) v >= (1 - a) v: what is short of x by all of its error is below the answer, and sweeps only add to it
    u[:m] = np.maximum(u[:m] - error, 0)
    given = system.seeds[nodes].toarray()
    held = np.flatnonzero(given.any(axis=1))
    own = np.full(m, -1)
    own[held] = np.arange(held.size)
    b = w * given[held] / roots[held]
    rates = a / np.where(graph.degrees > 0, graph.degrees, np.inf)[nodes]
    entries = rows.indptr, at[rows.indices], rows.data
    del rows, given
    waits, owed, least = np.ones(m, dtype=bool), np.zeros(m), RTOL * (1 - a) / _STEPS
    for number in range(_MAX_SWEEPS):
        if not sweep(entries, rates, b, own, u, number % 2 == 1, waits, owed, least):
            break
    out = np.empty((m, x.shape[1]))
    out[by_distance] = u[:m] * roots[:m]
    return out, not waits.any()


def _few(x: AnyArray, system: FarSystem, *, far: Ints) -> tuple[Floats, bool]:
    """Return x_U as the sum of its walks, until what the longer ones may add is small beside each node's largest."""
    (w, a), graph, roots, signed = system.pole, system.graph, system.roots, system.signed
    others = np.ones(graph.n_nodes, dtype=bool)
    others[far] = False
    rows = graph.affinity[far].astype(np.float64)
    rows.data /= np.repeat(roots[far], np.diff(rows.indptr))
    rows.data *= a / roots[rows.indices]
    known = np.where(others[:, None], x if signed else np.maximum(x, 0), 0)
    step = np.asarray(rows @ known + w * system.seeds[far].toarray(), dtype=np.float64)
    within = rows[:, far]
    del rows, known
    total, weights = step.copy(), roots[far][:, None]  # S v <= v for v = sqrt(degree), which bounds what is left out
    for number in range(1, _MAX_SWEEPS):
        step = within @ step
        total += step
        if number % _LOOK == 0:
            left = a / (1 - a) * float((abs(step) / weights).max(initial=0)) * weights[:, 0]
            if (left <= RTOL * (total[:, 0] if signed else total.max(axis=1))).all():
                return total, True
    return total, False


@np.errstate(under="ignore")
def in_range(scores: Floats, dtype: np.dtype[np.floating]) -> AnyArray:
    """Return rows below the range of a dtype scaled to its end, within any error bound: their shares count.

    >>> in_range(np.array([[3e-50, 1e-50]]), np.dtype(np.float32)).tolist()[0][0] > 1e-32
    True
    """
    limits = np.finfo(dtype)
    least = float(limits.tiny / limits.eps)
    largest = abs(scores).max(axis=1, keepdims=True)
    lost = largest < np.finfo(np.float64).tiny  # shares of such numbers are rounding
    small = ~lost & (largest < least)
    scale = np.where(small, least / np.where(small, largest, 1), ~lost)
    return (scores * scale).astype(dtype)
