"""What a propagation says of a label without that label, for all of them from the same columns: K minus its diagonal.

    F^(i)_ij = s_j / (s_j - y_ij) (F_ij - w_j K_ii y_ij)       K = h(S), s_j = sum_i y_ij, w_j the scale of seeds of j

A harmonic function has labels for its boundary. Without that of i, f_i = ((W f)_i - s_i y_i) / (d_i - s_i): there
s_i is what returns to i before it meets another label, the same of a boundary that is 1 at i and 0 at the others. In
it a class counts by its labels, so that one of which a label is left out is held against whole ones: it is made whole
by the same s_j / (s_j - y_ij).

Where labels are many, those of the sample, a fifth at most, are left out together, by a solve with a column a class:
without them the others say nearly the same.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import sparse

from manifold._typing import AnyArray, Floats, Ints
from manifold.labels._base import Problem, rows_to_one
from manifold.labels.harmonic import Harmonic

_NOISE = 1e-4  # of what a label sends to itself: what is left is the tolerance of the solve
_LOOSE = 0.01  # rtol of s_i, and what of it counts as nothing: of a quadratic form far less is left than of a column
_BLOCK = 32  # nodes at a time: as many columns a solve has at once
MOST = 128  # labels that are left out, of more a sample
_MANY = 5  # times a sample: without one in so many the others say nearly the same
_TOGETHER = 96  # labels that tell nearly as much as `MOST`, and are left out together at the cost of a class each


def sample(labelled: Ints, classes: Ints) -> Ints:
    """Return the labelled points to leave out, at most `MOST`: classes in turn, so that each has its share.

    Where a fifth of them is 96 or more, they are a fifth at most, which can be left out together.

    >>> sample(np.array([4, 7, 9]), np.array([0, 0, 1])).tolist()
    [4, 7, 9]
    """
    if labelled.size <= MOST:
        return labelled
    fifth = labelled.size // _MANY
    order, some = np.argsort(classes, kind="stable"), min(fifth, MOST) if fifth >= _TOGETHER else MOST
    return np.sort(labelled[order[np.linspace(0, labelled.size - 1, some).astype(np.int64)]])


def without(problem: Problem, rows: Ints) -> Problem | None:
    """Return the problem without the labels of rows; None where these are too many of all to be left out together.

    >>> from manifold import graph_from_affinity
    >>> from manifold.backends import get_backend
    >>> from manifold.filters import Diffusion
    >>> from manifold.solvers import ConjugateGradient
    >>> ring, Y = graph_from_affinity(np.ones((6, 6)) - np.eye(6)), sparse.csc_array(np.ones((6, 1)))
    >>> asked = {"filter": Diffusion(), "solver": ConjugateGradient(), "backend": get_backend()}
    >>> whole = Problem(graph=ring, given=Y, seeds=Y, labelled=np.ones(6, bool), priors=np.ones(1), **asked)
    >>> without(whole, np.array([2])).seeds.toarray().ravel().tolist(), without(whole, np.arange(2))
    ([1.0, 1.0, 0.0, 1.0, 1.0, 1.0], None)
    """
    if np.count_nonzero(problem.labelled) < _MANY * rows.size:
        return None
    kept = problem.labelled.copy()
    kept[rows] = False
    only = sparse.diags_array(kept * 1.0)
    given, seeds = (sparse.csc_array(only @ Y) for Y in (problem.given, problem.seeds))
    return replace(problem, given=given, seeds=seeds, labelled=kept)


def said_without(scores: AnyArray, problem: Problem, fewer: Problem) -> Floats:
    """Return distributions (m, c) of scores of fewer labels (m, c), classes made whole: as heavy as with all labels."""
    sums = problem.seeds.sum(axis=0)
    return np.asarray(rows_to_one(scores.astype(np.float64) * _grown(sums, sums - fewer.seeds.sum(axis=0))))


def left_out(scores: AnyArray, own: Floats, seeds: sparse.csr_array, *, sums: Floats, given: Floats) -> Floats:
    """Return, for labelled points, the distributions (m, c) that all other labels propagate to them.

    Parameters
    ----------
    scores : (m, c)
        F at these points.
    own : (m,)
        K_ii of each.
    seeds : (m, c) csr_array
        Their rows of Y.
    sums : (c,)
        What the labels of each class add up to, and `given` (m, c) what each of these adds: classes keep their
        mass where a label of theirs is left out.

    Returns
    -------
    (m, c) float64, rows of sum 1, or 0 where no other label arrives.

    Examples
    --------
    >>> F, Y = np.array([[0.9, 0.3]]), np.array([[1.0, 0.0]])
    >>> left_out(F, np.array([0.6]), sparse.csr_array(Y), sums=np.array([2.0, 2.0]), given=Y).round(3).tolist()
    [[0.667, 0.333]]
    """
    sent = own[:, None] * seeds.toarray()
    rest = np.maximum(scores.astype(np.float64) - sent, 0)
    rest[rest < _NOISE * sent] = 0
    return np.asarray(rows_to_one(rest * _grown(sums, given)))


def _grown(sums: Floats, given: Floats) -> Floats:
    """Return what makes classes whole (m, c) where a label of theirs is left out, 0 where it was the only one."""
    remaining = sums - given
    return np.divide(sums, remaining, out=np.zeros_like(remaining), where=remaining > 1e-9 * sums)


def harmonic_left_out(problem: Problem, scores: AnyArray, rows: Ints) -> Floats:
    """Return what a harmonic function (n, c) says of labelled points (m, c) without their label, classes made whole.

    Cost: a harmonic function with a column for each of the m.

    >>> from manifold import graph_from_affinity
    >>> from manifold.backends import get_backend
    >>> path = graph_from_affinity(np.eye(4, k=1) + np.eye(4, k=-1)).astype("float64")
    >>> given = sparse.csc_array([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> known, even = np.array([True, False, True, True]), np.array([0.5, 0.5])
    >>> from manifold.filters import Diffusion
    >>> from manifold.solvers import ConjugateGradient
    >>> asked = {"filter": Diffusion(), "solver": ConjugateGradient(), "backend": get_backend()}
    >>> problem = Problem(graph=path, given=given, seeds=given, labelled=known, priors=even, **asked)
    >>> f = Harmonic().solve(problem).scores
    >>> harmonic_left_out(problem, f, np.array([2])).round(4).tolist()  # two steps from 0, one from 3: 1/3 twice, 2/3
    [[0.5, 0.5]]
    """
    near = problem.graph.affinity[rows].astype(np.float64)
    returns = np.empty(rows.size)
    for start in range(0, rows.size, _BLOCK):
        some = np.arange(start, min(start + _BLOCK, rows.size))
        ones = (np.ones(some.size), (rows[some], some - start))
        units = sparse.csc_array(ones, shape=(problem.graph.n_nodes, some.size))
        each = Harmonic(rtol=_LOOSE).solve(replace(problem, given=units)).scores
        returns[some] = (near[some] @ each.astype(np.float64)).diagonal()
    given = problem.given.tocsr()[rows].toarray()
    sent = returns[:, None] * given
    rest = np.maximum(near @ scores.astype(np.float64) - sent, 0)
    rest[rest < _LOOSE * sent] = 0
    return np.asarray(rows_to_one(rest * _grown(problem.given.sum(axis=0), given)))
