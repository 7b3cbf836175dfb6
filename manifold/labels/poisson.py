"""Poisson learning: labels are sources and sinks of heat, not boundary values, so that a few of them are enough.

L u = sum over labelled j of delta_j (y_j - mean y),   sum_i d_i u_i = 0      (Calder et al., ICML 2020)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from manifold._checks import check_stopping
from manifold._typing import AnyArray, Floats
from manifold.graph import Graph
from manifold.labels._base import Problem, label_means
from manifold.solvers import ConjugateGradient, Solution
from manifold.solvers.laplacian import Laplacian


@dataclass(frozen=True)
class Poisson:
    """Poisson learning: sources at the labels, harmonic elsewhere.

        L u = sum over labelled j of delta_j (y_j - mean y),    sum_i d_i u_i = 0

    In a graph of several components each has sources of sum 0 of its own.

    Reference: Calder et al. (2020).

    Parameters
    ----------
    rtol : float
        Relative residual of each column.
    max_iter : int

    Notes
    -----
    Cost: conjugate gradients, preconditioned by the diagonal, in float64. The system is singular but consistent; what
    rounding leaves of its null space is taken out at the end.

    Examples
    --------
    >>> from manifold import graph_from_affinity, propagate
    >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).astype("float64")
    >>> abs(propagate(path, [0, -1, 1], method=Poisson()).scores[:, 0].round(6) + 0.0).tolist()
    [0.5, 0.0, 0.5]
    """

    rtol: float = 1e-6
    max_iter: int = 10_000

    diffuses: ClassVar[bool] = False
    averages: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_stopping(self.rtol, self.max_iter)

    def solve(self, problem: Problem, *, x0: AnyArray | None = None) -> Solution:
        """Solve on all nodes, from sources at the labelled ones."""
        graph = problem.graph
        everything = np.ones(graph.n_nodes, dtype=bool)
        settings = ConjugateGradient(self.rtol, self.max_iter)
        laplacian = Laplacian.of(graph, problem.backend, kept=everything, settings=settings)
        start = None if x0 is None else x0 * laplacian.roots
        sources = poisson_sources(problem)
        # an isolated node has no equation: its sum of sources is 0 but for rounding
        sources[graph.isolated] = 0
        solution = laplacian.solve(sources / laplacian.roots, x0=start, callback=problem.callback)
        # the system leaves a constant free in each component, and rounding drifts along it
        u = centred(solution.scores / laplacian.roots, graph)
        return replace(solution, scores=u.astype(graph.dtype), solver="poisson")


def poisson_sources(problem: Problem) -> Floats:
    """Return y_i - (sum_j y_ij) times the mean seed of the component, (n, c): every component's columns add up to 0."""
    seeds, components = problem.seeds, problem.graph.components
    means = label_means(seeds, components)
    return np.asarray(seeds.toarray() - seeds.sum(axis=1)[:, None] * means[components])


def centred(u: Floats, graph: Graph) -> Floats:
    """Return u less its mean over each component, weighted by degrees: then sum_i d_i u_i = 0 in each.

    >>> from manifold import graph_from_affinity
    >>> centred(np.array([[1.0], [3.0]]), graph_from_affinity([[0, 1], [1, 0]])).tolist()
    [[-1.0], [1.0]]
    """
    m, degrees = graph.n_components, graph.degrees
    volume = np.bincount(graph.components, degrees, minlength=m)
    weights = degrees / np.where(volume > 0, volume, 1)[graph.components]
    means = np.stack([np.bincount(graph.components, weights * column, minlength=m) for column in u.T], axis=1)
    return np.asarray(u - means[graph.components])
