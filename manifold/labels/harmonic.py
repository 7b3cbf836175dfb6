"""Harmonic functions: each unlabelled point has the weighted mean of its neighbours, labelled points keep their own.

(D_uu - W_uu) f_u = W_ul f_l          (Zhu, Ghahramani and Lafferty, ICML 2003, equation 5)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from manifold._checks import check_stopping
from manifold._typing import AnyArray
from manifold.labels._base import Problem
from manifold.solvers import ConjugateGradient, Solution
from manifold.solvers.laplacian import Laplacian


@dataclass(frozen=True)
class Harmonic:
    """Harmonic functions: the walk that stops at the first label it meets.

        (D_uu - W_uu) f_u = W_ul f_l,        f_l the labels given

    f_ij is the probability that a walk from i is absorbed by a label of class j; rows add up to 1, values lie between
    those given. With few labels f is nearly constant, with spikes at the labels: choose a `balance` then.

    Reference: Zhu et al. (2003), eq. 5.

    Parameters
    ----------
    rtol : float
        Relative residual of each column.
    max_iter : int
        Iterations; they grow as the root of points per label.

    Notes
    -----
    Cost: conjugate gradients, preconditioned by the diagonal, in float64. Components without a label are left out:
    there the system is singular, and their points are reported as unreached.

    Examples
    --------
    >>> from manifold import graph_from_affinity, propagate
    >>> path = graph_from_affinity(np.eye(5, k=1) + np.eye(5, k=-1)).astype("float64")
    >>> propagate(path, [0, -1, -1, -1, 1], method=Harmonic()).distributions[:, 1].round(6).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """

    rtol: float = 1e-8
    max_iter: int = 10_000

    diffuses: ClassVar[bool] = False
    averages: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_stopping(self.rtol, self.max_iter)

    def solve(self, problem: Problem, *, x0: AnyArray | None = None) -> Solution:
        """Solve on the unlabelled nodes of components that hold a label."""
        graph, fixed = problem.graph, problem.labelled
        # without a label L is singular on a component: its nodes are left out
        kept = problem.in_labelled_component & ~fixed
        settings = ConjugateGradient(self.rtol, self.max_iter)
        laplacian = Laplacian.of(graph, problem.backend, kept=kept, settings=settings)
        roots, given = laplacian.roots, problem.given.toarray()
        inflow = np.where(kept[:, None], laplacian.system.whole @ (given * roots), 0)
        # unknowns are scaled by roots of degrees, in which CG on L is that on I - S
        start = None if x0 is None else np.where(kept[:, None], x0 * roots, 0)
        solution = laplacian.solve(inflow, x0=start, callback=problem.callback)
        f = np.where(fixed[:, None], given, solution.scores / roots)
        return replace(solution, scores=f.astype(graph.dtype), solver="harmonic")
