"""Points far from all labels: scores that a solve leaves within its error are solved on for.

    |x_i - F_i| <= v_i max_j (|r_j| / v_j) / (1 - a)        r = w Y - (I - a S) x, v = sqrt(degree)

A solve stops by the length of all of a column, so that a node whose score is a billionth of the largest has noise, or
nothing where the iterations did not come that far. Where that is much of a graph, the residual is solved for in turn;
few nodes are left to themselves (`_swept`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import sparse

from manifold._typing import AnyArray, Floats, Ints, Mask
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.labels._swept import FarSystem, in_range, swept
from manifold.solvers import Solution, Status

_NOISE = 0.1  # of the bound: errors on neighbourhood graphs are some hundredths of it
_CLEAR = 10  # errors: a score above them is right to a tenth at least, on neighbourhood graphs to a hundredth
_MUCH = 4  # a quarter of all nodes takes as long to sweep as another solve
_ROUNDS = 2  # of refinement: float64 holds no more
_TOGETHER = 1 << 16  # rows that are looked at in one piece


def heard(scores: AnyArray, *, signed: bool = False) -> Mask:
    """Return where something of a label arrived (n,): a positive score, of the first column where others have signs.

    >>> heard(np.array([[0.0, 0.2], [0.0, -0.1]])).tolist()
    [True, False]
    """
    if signed:
        return np.asarray(scores[:, 0] > 0)
    return np.asarray((scores > 0).any(axis=1))


def solved_on(
    solution: Solution,
    seeds: sparse.csc_array | AnyArray,
    graph: Graph,
    *,
    filter: Filter,
    again: Callable[[AnyArray], AnyArray],
    reached: Mask,
    signed: bool,
) -> Solution:
    """Return a solution in which nodes that a label reaches have scores of their own, and 0 where none is left of it.

    Parameters
    ----------
    solution : Solution
        Scores (n, q) on the host. They stay as they are where every node has one above a tenth of its bound.
    seeds : (n, q)
        What it is the solution for: not negative, or `signed`, where the first column is not.
    filter : Filter
        Solved on for where it is one resolvent w / (1 - a x) with a > 0; of others, nodes without a positive score
        have what is below 0 taken out.
    again : callable
        Columns (n, q) -> h(S) of them, by the solver that found the scores.
    reached : (n,) bool
        The nodes of components that hold a label.

    Notes
    -----
    Nodes with a score ten times its error stay as they are, to the bit. Where the others are more than a quarter of
    all, a solve for the residual is added in float64, at most twice. What is left is swept, see `swept`; where that
    did not end, columns are `MAX_ITER` instead of `CONVERGED`.

    Cost: a product, one or two solves where many nodes are far, and products with the rows that still change.

    Examples
    --------
    >>> from manifold import Diffusion, diffuse, graph_from_affinity
    >>> path, seeds = graph_from_affinity(np.eye(90, k=1) + np.eye(90, k=-1)), np.eye(90)[:, [0]]
    >>> def again(columns): return diffuse(path, columns, filter=Diffusion(0.5), solver="cg").scores
    >>> asked = {"filter": Diffusion(0.5), "again": again, "reached": np.ones(90, bool), "signed": False}
    >>> solution = diffuse(path, seeds, filter=Diffusion(0.5), solver="cg")
    >>> whole = solved_on(solution, seeds, path, **asked)
    >>> float(solution.scores[40, 0]), f"{whole.scores[40, 0]:.1e}"
    (0.0, '1.1e-23')
    """
    scores = solution.scores
    converged = np.array([status is Status.CONVERGED for status in solution.status])
    bound = np.where(converged & np.isfinite(solution.error_bound), solution.error_bound, 0)
    poles = filter.resolvents or ()
    solvable = len(poles) == 1 and poles[0][1] > 0
    noise = (bound * (_NOISE if solvable else 0)).astype(scores.dtype)
    lost = reached & ~heard(scores - noise, signed=signed)
    if not lost.any():
        return solution
    if not solvable:
        return replace(solution, scores=np.where(lost[:, None], scores.dtype.type(0), scores))
    system = FarSystem(graph, sparse.csr_array(seeds), pole=poles[0], signed=signed)
    made = scores.copy()
    far, error, x = _refined(made, system, bound=bound, reached=reached, again=again)
    x_far, settled = swept(x, system, far=far, error=error)
    made[far] = in_range(x_far, scores.dtype)
    status = tuple(Status.MAX_ITER if one is Status.CONVERGED and not settled else one for one in solution.status)
    return replace(solution, scores=made, status=status)


def _refined(
    scores: AnyArray, system: FarSystem, *, bound: Floats, reached: Mask, again: Callable[[AnyArray], AnyArray]
) -> tuple[Ints, Floats, AnyArray]:
    """Write scores that are solved on for; return the nodes that are left, and what is known of all, to an error.

    The errors (q,) are those beside v; x (n, q) is `scores`, or in float64 where a solve was added.
    """
    x: AnyArray = scores
    renewed = np.empty(0, dtype=np.int64)
    for solves in range(_ROUNDS + 1):
        residual, error = system.residual(x)
        far = _unclear(x, error, bound, system=system, reached=reached)
        known = np.setdiff1d(renewed, far, assume_unique=True)
        for start in range(0, known.size, _TOGETHER):
            some = known[start : start + _TOGETHER]
            scores[some] = in_range(x[some], scores.dtype)
        if far.size * _MUCH <= reached.size or solves == _ROUNDS:
            break
        correction = again(residual)
        correction /= correction.dtype.type(system.pole[0])
        x = np.add(x, correction, dtype=np.float64)
        renewed, bound = far, np.where(bound > 0, np.inf, 0)
    return far, error, x


def _unclear(x: AnyArray, error: Floats, bound: Floats, *, system: FarSystem, reached: Mask) -> Ints:
    """Return the nodes that a label reaches, and whose scores are all within ten times their error."""
    found = reached.copy()
    for start in range(0, reached.size, _TOGETHER):
        part = slice(start, start + _TOGETHER)
        limit = np.minimum(bound, system.roots[part, None] * error)  # 0 in columns that did not converge
        found[part] &= ~heard(x[part] - _CLEAR * limit, signed=system.signed)
    return np.flatnonzero(found)
