"""What a solver is and what it answers: settings, prepared state, and a solution with a verdict for each column.

In: a graph, a filter, seeds Y (n, q). Out: F = h(S) Y with the residual of each column and a rigorous bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import ClassVar, Protocol, TypeAlias

import numpy as np

from manifold._typing import Floats, Ints
from manifold.backends import Array, Backend
from manifold.filters import Filter
from manifold.graph import Graph


class Status(Enum):
    """How the solve of one column ended; the value is the advice.

    Reference: guide *solvers*, "It did not converge".

    >>> print(Status.MAX_ITER.name, "-", Status.MAX_ITER.value.split(":")[0])
    MAX_ITER - iterations ran out
    """

    CONVERGED = "the tolerance was reached"
    MAX_ITER = "iterations ran out: raise max_iter or rtol; the bound still holds"
    APPROXIMATE = "truncated by design: raise the rank or the number of entries; the bound still holds"
    BREAKDOWN = "rounding stopped the progress: raise rtol, or solve on graph.astype('float64')"
    NONFINITE = "NaN or infinity in the seeds of this column, or in its scores: repair, rescale; others are unaffected"


@dataclass(frozen=True)
class Snapshot:
    """What a callback is shown, every few iterations: the columns at work and how far they are.

    Reference: guide *solvers*, "It did not converge".

    >>> snapshot = Snapshot(columns=np.array([0, 3]), n_iter=5, residual=np.array([0.1, 0.02]))
    >>> float(snapshot.residual.max())
    0.1
    """

    columns: Ints
    n_iter: int
    residual: Floats


Callback: TypeAlias = Callable[[Snapshot], None]


@dataclass(frozen=True, eq=False)
class Solution:
    """Scores F = h(S) Y and, for each column, how good they are.

    Reference: guide *certificates*, "Where the bound comes from".

    Attributes
    ----------
    scores : (n, q), or (n,) for 1-D seeds
        F, in the graph's dtype, on the device of the solve; in float64 where seeds are of a size, beyond 2^100 or below
        2^-100, whose scores float32 would not hold.
    status : tuple of Status (q,)
    n_iter : (q,) int
        Iterations; 0 for a zero column and for direct solves.
    residual : (q,) float
        The true relative residual ||b - A f||_2 / ||b||_2, computed afresh from `scores`, or from the iterate that
        they are one step x + r beyond, which is not smaller; where h is a sum of resolvents, the largest of theirs;
        where it is none, the bound on ||F - scores||_2 / ||Y||_2.
    error_bound : (q,) float
        Rigorous bound on max_i |F_i - scores_i|, rounding included; ``inf`` where none is known.

    Examples
    --------
    >>> from manifold import diffuse, graph_from_affinity
    >>> solution = diffuse(graph_from_affinity(np.array([[0, 1], [1, 0]])), [1.0, 0.0])
    >>> solution.converged
    True
    """

    scores: Array
    status: tuple[Status, ...]
    n_iter: Ints
    residual: Floats
    error_bound: Floats
    solver: str = ""

    @property
    def converged(self) -> bool:
        """Whether every column reached its tolerance.

        >>> one = np.zeros(1)
        >>> Solution(one, (Status.MAX_ITER,), one, one, one).converged
        False
        """
        return all(status is Status.CONVERGED for status in self.status)

    def failures(self) -> dict[Status, list[int]]:
        """Return the columns that are neither converged nor approximate by design, by verdict.

        >>> two = np.zeros(2)
        >>> list(Solution(two, (Status.APPROXIMATE, Status.MAX_ITER), two, two, two).failures().values())
        [[1]]
        """
        fine = (Status.CONVERGED, Status.APPROXIMATE)
        return {
            verdict: [j for j, status in enumerate(self.status) if status is verdict]
            for verdict in Status
            if verdict in self.status and verdict not in fine
        }

    def explain(self) -> str:
        """Return one line a verdict: how many columns, which first, and what to do about it.

        Examples
        --------
        >>> nothing = np.zeros(1)
        >>> print(Solution(nothing, (Status.CONVERGED,), nothing, nothing, nothing, "cg").explain())
        cg: 1 of 1 columns converged, at most 0 iterations, residual 0.0e+00, error at most 0.0e+00
        """
        q = len(self.status)
        n_fine = sum(status is Status.CONVERGED for status in self.status)
        worst = [f"{np.nanmax(x, initial=0):.1e}" for x in (self.residual, self.error_bound)]
        lines = [
            f"{self.solver}: {n_fine} of {q} columns converged, at most {self.n_iter.max(initial=0):.0f} iterations, "
            f"residual {worst[0]}, error at most {worst[1]}"
        ]
        for verdict, columns in self.failures().items():
            lines.append(f"{verdict.name} in {len(columns)} columns (first: {columns[0]}): {verdict.value}")
        return "\n".join(lines)


class Prepared(Protocol):
    """A solver with all the work done that needs no seeds: reusable, never changed by a solve.

    Reference: guide *solvers*, "One equation".

    Attributes
    ----------
    holds_columns : bool
        Whether it answers from stored columns of h(S), and gives certified lists by ``.shortlist(nodes, weights, k)``.
    is_pooled : bool
        Whether its scores are those of images already, the pooling of their regions being folded in.
    proves_lists : bool
        Whether it lists the best of a query by itself, at the cost of what the query touches: ``.lists(scale)``.
    """

    # flags, not classes to be asked for: rooms below have prepared solvers of their own
    holds_columns: ClassVar[bool] = False
    is_pooled: ClassVar[bool] = False
    proves_lists: ClassVar[bool] = False

    def solve(self, seeds: object, *, x0: object = None, callback: Callback | None = None) -> Solution:
        """Return F = h(S) seeds.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> from manifold.solvers import Direct
        >>> pair = graph_from_affinity([[0, 1], [1, 0]]).astype("float64")
        >>> Direct().prepare(pair, Diffusion(0.5), get_backend()).solve([[3.0], [0.0]]).scores.round(6).ravel().tolist()
        [2.0, 1.0]
        """


class Solver(Protocol):
    """Settings only; `prepare` does what needs no seeds.

    Reference: guide *solvers*, "One equation".

    Attributes
    ----------
    is_offline : bool
        Whether `prepare` is work for all queries to come (an index), too much to be done for the subgraph of one.
    """

    is_offline: ClassVar[bool] = False

    def prepare(self, graph: Graph, filter: Filter, backend: Backend) -> Prepared:
        """Return the prepared solver for one graph and one filter on one backend.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> from manifold.solvers import ConjugateGradient
        >>> pair = graph_from_affinity([[0, 1], [1, 0]]).astype("float64")
        >>> prepared = ConjugateGradient(rtol=1e-9).prepare(pair, Diffusion(0.5), get_backend())
        >>> prepared.holds_columns, prepared.solve([1.0, 0.0]).scores.round(6).tolist()
        (False, [0.666667, 0.333333])
        """


def require_poles(filter: Filter, solver: str) -> None:
    """Raise ValueError for a filter that is not a sum of resolvents, which `solver` solves for.

    >>> from manifold import Diffusion, Heat
    >>> require_poles(Diffusion(), "cg")
    >>> try:
    ...     require_poles(Heat(2.0), "cg")
    ... except ValueError as error:
    ...     print(error)
    solver 'cg' needs a rational filter, Heat(t=2.0) is not one: use solver='auto'
    """
    if filter.resolvents is None:
        raise ValueError(f"solver {solver!r} needs a rational filter, {filter} is not one: use solver='auto'")


def require_one_pole(filter: Filter, x0: object) -> None:
    """Raise ValueError for a start where there are several systems, each with a solution of its own.

    >>> from manifold import RegularizedDiffusion
    >>> require_one_pole(RegularizedDiffusion(), None)
    >>> try:
    ...     require_one_pole(RegularizedDiffusion(0.5), np.ones((2, 1)))
    ... except ValueError as error:
    ...     print(error)
    x0 needs a filter of one resolvent, RegularizedDiffusion(alpha=0.5) has 2
    """
    if x0 is not None and len(filter.resolvents or ()) != 1:
        raise ValueError(f"x0 needs a filter of one resolvent, {filter} has {len(filter.resolvents or ())}")


def merge_reports(parts: list[Solution]) -> Solution:
    """Return the verdicts of several blocks as one solution without scores.

    Reference: guide *solvers*, "It did not converge".

    >>> one = Solution(np.ones(1), (Status.CONVERGED,), np.array([3]), np.array([1e-4]), np.array([1e-5]), "cg")
    >>> merged = merge_reports([one, one])
    >>> len(merged.status), merged.n_iter.tolist(), merged.scores.size
    (2, [3, 3], 0)
    """
    return Solution(
        scores=np.empty(0),
        status=tuple(status for part in parts for status in part.status),
        # an empty first part: of no blocks at all there is a report, too
        n_iter=np.concatenate([np.zeros(0, np.int64), *(part.n_iter for part in parts)]),
        residual=np.concatenate([np.zeros(0), *(part.residual for part in parts)]),
        error_bound=np.concatenate([np.zeros(0), *(part.error_bound for part in parts)]),
        solver=parts[0].solver if parts else "",
    )


def updated_report(report: Solution, finer: Solution, at: Ints) -> Solution:
    """Return a report with the verdicts of the columns `at` replaced, their iterations added.

    Reference: guide *solvers*, "It did not converge".

    >>> three, ok = np.full(2, 3), Status.CONVERGED
    >>> two, one = (Solution(np.empty(0), (ok,) * q, three[:q], np.ones(q), np.ones(q)) for q in (2, 1))
    >>> updated_report(two, one, np.array([1])).n_iter.tolist()
    [3, 6]
    """
    status = np.array(report.status, dtype=object)
    status[at] = np.array(finer.status, dtype=object)
    n_iter, residual, bound = report.n_iter.copy(), report.residual.copy(), report.error_bound.copy()
    n_iter[at] += finer.n_iter
    residual[at], bound[at] = finer.residual, finer.error_bound
    return replace(report, status=tuple(status), n_iter=n_iter, residual=residual, error_bound=bound)
