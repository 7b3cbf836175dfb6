"""Points far from all labels: scores that a solve leaves within its error are solved on for, by themselves.

    x_U = w y_U + a S_UU x_U + a S_UD x_D             U the far nodes, D the others, whose scores x_D stand

A solve stops by the length of all of a column, so that a node whose score is a billionth of the largest has noise, or
nothing where the iterations did not come that far. Here each score is a sum of products that are not negative, term by
term: it is right relative to itself, however small, down to the end of float64.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
from scipy import sparse

from manifold._typing import AnyArray, Floats, Ints, Mask
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.solvers import Solution, Status

_NOISE = 0.1  # of the bound: errors on neighbourhood graphs are some hundredths of it
_CLEAR = 100  # bounds: a score above them is right to a hundredth at least
_MAX_HOPS = 64
_RTOL = 1e-3  # of the largest score of a node: what walks not yet counted may add
_MAX_SWEEPS = 20_000
_LOOK = 16  # sweeps between two looks at whether they suffice
_MANY = 8192  # far nodes from which on loading the compiler pays


def heard(scores: AnyArray, *, signed: bool = False) -> Mask:
    """Return where something of a label arrived (n,): a positive score, of the first column where others have signs.

    >>> heard(np.array([[0.0, 0.2], [0.0, -0.1]])).tolist()
    [True, False]
    """
    if signed:
        return np.asarray(scores[:, 0] > 0)
    return np.asarray((scores > 0).any(axis=1))


def solved_on(
    solution: Solution, seeds: sparse.csc_array | AnyArray, graph: Graph, *, filter: Filter, reached: Mask, signed: bool
) -> Solution:
    """Return a solution in which nodes that a label reaches have scores of their own, and 0 where none is left of it.

    Parameters
    ----------
    solution : Solution
        Scores (n, q) on the host; nodes with one above a tenth of its bound stay as they are, to the bit, but for a
        halo around the others.
    seeds : (n, q)
        What it is the solution for: not negative, or `signed`, where the first column is not.
    filter : Filter
        Solved on for where it is one resolvent w / (1 - a x) with a > 0; of others, nodes without a positive score
        have what is below 0 taken out.
    reached : (n,) bool
        The nodes of components that hold a label.

    Notes
    -----
    Cost: a product with the rows of far nodes a sweep; sweeps until what is left is a thousandth of every node's
    largest score, some 7 / (1 - a) and more, the farther the nodes.

    Examples
    --------
    >>> from manifold import Diffusion, diffuse, graph_from_affinity
    >>> path, seeds = graph_from_affinity(np.eye(90, k=1) + np.eye(90, k=-1)), np.eye(90)[:, [0]]
    >>> solution = diffuse(path, seeds, filter=Diffusion(0.5), solver="cg")
    >>> whole = solved_on(solution, seeds, path, filter=Diffusion(0.5), reached=np.ones(90, bool), signed=False)
    >>> float(solution.scores[40, 0]), f"{whole.scores[40, 0]:.1e}"
    (0.0, '1.1e-23')
    """
    scores = solution.scores
    converged = np.array([status is Status.CONVERGED for status in solution.status])
    bound = np.where(converged & np.isfinite(solution.error_bound), solution.error_bound, 0).astype(scores.dtype)
    poles = filter.resolvents or ()
    solvable = len(poles) == 1 and poles[0][1] > 0
    noise = bound * scores.dtype.type(_NOISE if solvable else 0)
    far = np.flatnonzero(reached & ~heard(scores - noise, signed=signed))
    if not far.size:
        return solution
    scores = scores.copy()
    if solvable:
        far = _with_halo(far, ~heard(scores - scores.dtype.type(_CLEAR) * bound, signed=signed), graph)
        if far.size >= _MANY and not signed and find_spec("numba") is not None:
            solved = _many(scores, seeds, graph, far=far, pole=poles[0])
        else:
            solved = _sweeps(scores, seeds, graph, far=far, pole=poles[0], signed=signed)
        scores[far] = _in_range(solved, scores.dtype)
    else:
        scores[far] = 0
    return replace(solution, scores=scores)


def _with_halo(far: Ints, unclear: Mask, graph: Graph) -> Ints:
    """Return the far nodes and, hop by hop, those around them whose scores are not clear of the error either.

    What flows in from the edge decides the shares of all that lies behind it: along a path it must be clear. Where
    nodes have many neighbours a hop meets too many; there errors are a small part of their bound.
    """
    most = 2 * far.size + _MAX_HOPS
    inside = np.zeros(graph.n_nodes, dtype=bool)
    inside[far] = True
    for _ in range(_MAX_HOPS):
        rows = graph.affinity[far]
        wider = inside.copy()
        wider[rows.indices] = True
        wider &= unclear | inside
        found = np.flatnonzero(wider)
        if found.size == far.size or found.size > most:
            break
        far, inside = found, wider
    return far


def _many(
    scores: AnyArray, seeds: sparse.csc_array | AnyArray, graph: Graph, *, far: Ints, pole: tuple[float, float]
) -> Floats:
    """Return x_U of many nodes: sweeps that use what they have found go as far as the graph reaches at once."""
    from manifold.backends.far_sweeps import distances, left_over, sweep  # loads the compiler

    (w, a), W, m = pole, graph.affinity, far.size
    is_far = np.zeros(graph.n_nodes, dtype=bool)
    is_far[far] = True
    away = distances(W.indptr, W.indices, is_far)
    place = np.arange(graph.n_nodes, dtype=np.int32)
    if graph.order is not None:
        place[graph.order] = np.arange(graph.n_nodes)
    by_distance = np.lexsort((place[far], away[far]))  # those of one distance as they stand in memory elsewhere
    nodes = far[by_distance]
    rows = W[nodes]
    beside = np.unique(rows.indices)
    beside = beside[~is_far[beside]]
    beside = beside[np.argsort(place[beside])]
    every = np.concatenate([nodes, beside])
    place[every] = np.arange(every.size)
    roots = np.sqrt(np.where(graph.degrees > 0, graph.degrees, 1))[every]
    u = np.zeros((every.size, scores.shape[1]))
    u[m:] = np.maximum(scores[beside], 0) / roots[m:, None]
    given = seeds[nodes] if isinstance(seeds, np.ndarray) else seeds.tocsr()[nodes].toarray()
    held = np.flatnonzero(given.any(axis=1))
    own = np.full(m, -1)
    own[held] = np.arange(held.size)
    b = w * given[held].astype(np.float64) / roots[held, None]
    rates = a / np.where(graph.degrees > 0, graph.degrees, np.inf)[nodes]
    entries = rows.indptr, place[rows.indices], rows.data
    before, tops = np.zeros(m), np.zeros(m)
    del rows, given
    for _ in range(_MAX_SWEEPS):
        added = np.zeros(m)
        for backwards in (False, True):
            sweep(entries, rates, b, own, u, backwards, added, tops)
        if left_over(added, before, tops, _RTOL / _CLEAR) <= _RTOL:
            break
        before = added
    x = np.empty((m, scores.shape[1]))
    x[by_distance] = u[:m] * roots[:m, None]
    return x


@np.errstate(under="ignore")
def _sweeps(
    scores: AnyArray,
    seeds: sparse.csc_array | AnyArray,
    graph: Graph,
    *,
    far: Ints,
    pole: tuple[float, float],
    signed: bool,
) -> Floats:
    """Return x_U as the sum of its walks, until what the longer ones may add is small beside each node's largest."""
    w, a = pole
    others = np.ones(graph.n_nodes, dtype=bool)
    others[far] = False
    roots = np.sqrt(np.where(graph.degrees > 0, graph.degrees, 1))
    rows = graph.affinity[far].astype(np.float64)
    rows.data /= np.repeat(roots[far], np.diff(rows.indptr))
    rows.data *= a / roots[rows.indices]
    known = np.where(others[:, None], scores if signed else np.maximum(scores, 0), 0)
    own = seeds[far] if isinstance(seeds, np.ndarray) else seeds.tocsr()[far].toarray()
    step = np.asarray(rows @ known + w * own, dtype=np.float64)
    within = rows[:, far]
    del rows, known
    total, weights = step.copy(), roots[far][:, None]  # S v <= v for v = sqrt(degree), which bounds what is left out
    for sweep in range(1, _MAX_SWEEPS):
        step = within @ step
        total += step
        if sweep % _LOOK == 0:
            left = a / (1 - a) * float((abs(step) / weights).max()) * weights[:, 0]
            if (left <= _RTOL * (total[:, 0] if signed else total.max(axis=1))).all():
                break
    return total


@np.errstate(under="ignore")
def _in_range(scores: Floats, dtype: np.dtype[np.floating]) -> AnyArray:
    """Return rows below the range of a dtype scaled to its end, within any error bound: their shares count."""
    limits = np.finfo(dtype)
    least = float(limits.tiny / limits.eps)
    largest = abs(scores).max(axis=1, keepdims=True)
    lost = largest < np.finfo(np.float64).tiny  # shares of such numbers are rounding
    small = ~lost & (largest < least)
    scale = np.where(small, least / np.where(small, largest, 1), ~lost)
    return (scores * scale).astype(dtype)
