"""Iterative label cleaning: propagate, balance, adopt the surest points of each class as labels, and again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from manifold._checks import check_count
from manifold._typing import AnyArray
from manifold.labels._base import Problem, Seeds, rows_to_one
from manifold.labels.balance import sinkhorn
from manifold.labels.mbo import Volumes
from manifold.solvers import Solution

_RTOL, _MAX_ITER = 1e-2, 100  # of the balance that ranks points: those adopted are few and sure


@dataclass(frozen=True)
class IterativeCleaning:
    """Iterative label propagation and cleaning, iLPC, on a graph alone.

        Z = h(S) Y,    P = Sinkhorn(rows of Z of sum 1, priors),    Y <- labels and argmax_j p_ij of the surest i

    In round r of R the labels and the r/R surest points that each class is due are propagated, and their scores are
    balanced by Sinkhorn's algorithm. A point adopted in one round is dropped in the next where it is no longer among
    the surest. The paper ranks points by the loss of a classifier of features; here their probability does. With
    ``propagate(clamp=False)`` labelled points are balanced with the others, so that a wrong label can be outvoted.

    Reference: Lazarou et al. (2021).

    Parameters
    ----------
    n_rounds : int
        R.

    Notes
    -----
    Cost: n_rounds solves with a column a class, and as many balances of (n, c). Few rounds, each of which adopts many
    points, vary less with the draw of the labels than many. The paper's alpha is 0.8.

    Examples
    --------
    >>> from manifold import datasets, build_graph, propagate
    >>> X, y = datasets.digits()  # the first ten are 0, 1, ..., 9
    >>> result = propagate(build_graph(X, edges="sum"), [*y[:10], *[-1] * 1787], method=IterativeCleaning())
    >>> bool((result.labels == y).mean() > 0.85)
    True
    """

    n_rounds: int = 5

    diffuses: ClassVar[bool] = True
    averages: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_count(self.n_rounds, "n_rounds")

    def solve(self, problem: Problem, *, x0: AnyArray | None = None) -> Solution:
        """Alternate solves, balances and adoptions."""
        volumes = Volumes(problem)
        given = volumes.given
        shown = volumes.free if problem.clamp else np.flatnonzero(problem.in_labelled_component)
        adoptable = ~problem.labelled[shown]
        seeds: Seeds = problem.seeds
        for r in range(1, self.n_rounds + 1):
            solution = problem.diffuse(seeds, x0=x0)
            x0 = solution.scores if problem.starts else None
            # balanced first: ranked by raw scores, the largest class would adopt all
            Q = sinkhorn(
                rows_to_one(solution.scores[shown]), problem.priors, rtol=_RTOL, max_iter=_MAX_ITER, strict=False
            )
            columns, sure = Q.argmax(axis=1), Q.max(axis=1)
            labels = given.copy()
            for j, due in enumerate(volumes.sizes):
                mine = np.flatnonzero((columns == j) & (sure > 0) & adoptable)  # nothing is known of a row of zeros
                surest = mine[np.argsort(-sure[mine], kind="stable")]
                adopted = surest[: int(np.ceil(r / self.n_rounds * min(due, mine.size)))]
                labels[shown[adopted], j] = 1
            sums = labels.sum(axis=0)
            seeds = labels * (problem.priors / np.where(sums > 0, sums, 1))
        scores = given.astype(problem.graph.dtype)
        scores[shown] = Q
        return replace(solution, scores=scores, solver="ilpc")
