"""Local solves: residuals relaxed around the seeds, so that an answer costs what it touches, not what the graph holds.

In: a graph, seeds that are zero but for a few nodes. Out: F = h(S) Y; or, at the cost of what the walk fills, lists of
the best k that are proved (`PreparedLocal.lists`). Iteration: x_i += w r_i, r_j += a S_ij w r_i, by sweeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from manifold._checks import check_stopping
from manifold._typing import DType, Floats, Ints
from manifold.backends import Array, Backend, rounding_unit
from manifold.backends.threads import in_threads
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.solvers._relaxed import Relaxed, as_one, length
from manifold.solvers.base import Callback, Prepared, Snapshot, Solution, Solver, require_one_pole, require_poles
from manifold.solvers.conjugate_gradient import ConjugateGradient, PreparedConjugateGradient
from manifold.solvers.proved import LEAST_EDGES, ProvedLists
from manifold.solvers.proved_groups import ProvedGroups
from manifold.solvers.system import NormalizedAffinity, Seeds, solve_in_blocks

if TYPE_CHECKING:
    from manifold.backends.relaxation import Relaxation

_TIGHTER = 0.9  # of the threshold at which the length of the residual is certainly as asked


@dataclass(frozen=True)
class Local(Solver):
    """Accelerated relaxation of residuals around the seeds (local SOR).

    Keeps x and r = b - (I - a S) x, both zero but where the walk has come, and relaxes the nodes with
    |r_i| > eps sqrt(degree_i), in the order in which they were met: x_i += w r_i, and r_j += a S_ij w r_i for its
    neighbours, with w = 2 / (1 + sqrt(1 - a^2)). In float64, whatever the precision of the graph.

    Reference: Bai et al. (2024).

    Parameters
    ----------
    rtol : float
        Relative, of ||b||_2: where all scores are asked for, a column stops when ||b - (I - a S) x||_2 <= rtol ||b||_2.
        A list of the best stops when it is proved.
    max_passes : float
        Edges that a column may relax, over the stored entries of S. From there on conjugate gradients solve on, from
        what was found: the walk has filled the graph.

    Raises
    ------
    ValueError
        For an rtol outside (0, 1), max_passes that are no positive number, or (when prepared) a filter that is neither
        a resolvent of a >= 0 nor a pair of them at a and -a, as `RegularizedDiffusion` is.

    Notes
    -----
    Serves queries of few seeds on graphs where walks stay near where they begin: neighbourhood graphs of 20,000 nodes
    and more, alpha up to 0.95, or 0.99 at a million. Where hubs or an alpha near 1 let the walk fill the graph, it
    costs `max_passes` more than "cg". Relaxes on the host, one column a thread, whatever the backend of the others.

    Examples
    --------
    >>> from manifold import diffuse, graph_from_affinity, Diffusion
    >>> pair = graph_from_affinity(np.array([[0, 1], [1, 0]])).astype("float64")
    >>> diffuse(pair, [1.0, 0.0], filter=Diffusion(0.5), solver=Local(rtol=1e-9)).scores.round(6).tolist()
    [0.666667, 0.333333]
    """

    rtol: float = 1e-2
    max_passes: float = 3.0

    def __post_init__(self) -> None:
        check_stopping(self.rtol)
        if not (np.isfinite(self.max_passes) and self.max_passes > 0):
            raise ValueError(f"max_passes must be a finite number > 0, got {self.max_passes!r}: 3, say")

    def prepare(self, graph: Graph, filter: Filter, backend: Backend) -> PreparedLocal:
        """Take W as it is: rows are normalised, in float64, when a walk comes to them.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> pair = graph_from_affinity([[0, 1], [1, 0]])
        >>> Local().prepare(pair, Diffusion(), get_backend()).lists().best([0], [1.0], 1).rows.tolist()
        [0]
        """
        require_poles(filter, "local")
        system = NormalizedAffinity(graph, backend, np.float64, by_rows=True)
        return PreparedLocal(self, filter, Relaxed.of(system, filter), graph.dtype)


@dataclass(frozen=True, eq=False)
class PreparedLocal(Prepared):
    """S, ready for seeds: of all scores (`solve`), or of the best k, proved (`lists`)."""

    settings: Local
    filter: Filter
    relaxed: Relaxed
    dtype: DType

    proves_lists = True
    name = "local"

    @property
    def system(self) -> NormalizedAffinity:
        """S in float64."""
        return self.relaxed.system

    def lists(self, scale: Floats | None = None) -> ProvedLists:
        """Return what lists the best nodes by ``scale F``, proved, at the cost of what a query touches.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> star = graph_from_affinity([[0, 1, 1], [1, 0, 0], [1, 0, 0]])
        >>> prepared = Local().prepare(star, Diffusion(0.9), get_backend())
        >>> hub, spokes = prepared.lists(), prepared.lists(np.array([0.1, 1.0, 1.0]))
        >>> hub.best([1], [1.0], 1).rows.tolist(), spokes.best([1], [1.0], 1).rows.tolist()
        ([0], [1])
        """
        s = self.settings
        return ProvedLists(self.relaxed, scale=scale, rtol=s.rtol, max_passes=s.max_passes)

    def groups(self, owners: Ints, weights: Floats, *, maximum: bool = False) -> ProvedGroups:
        """Return what lists the best groups of nodes, by the sum of ``weights F`` over each, or the largest of them.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> star = graph_from_affinity([[0, 1, 1], [1, 0, 0], [1, 0, 0]])
        >>> groups = Local().prepare(star, Diffusion(0.5), get_backend()).groups(np.array([0, 1, 1]), np.ones(3))
        >>> groups.best([1], [1.0], 1).rows.tolist()
        [1]
        """
        s = self.settings
        return ProvedGroups(
            self.relaxed, owners=owners, weights=weights, maximum=maximum, rtol=s.rtol, max_passes=s.max_passes
        )

    def solve(self, seeds: object, *, x0: object = None, callback: Callback | None = None) -> Solution:
        """Return F = h(S) seeds; `x0` (n, q) starts from an earlier answer, for filters of one resolvent.

        `callback` is shown a `Snapshot` of a column at every threshold; what it raises ends the solve.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> pair = graph_from_affinity([[0, 1], [1, 0]]).astype("float64")
        >>> solution = Local(rtol=1e-9).prepare(pair, Diffusion(0.5), get_backend()).solve([1.0, 0.0])
        >>> solution.scores.round(6).tolist(), solution.converged
        ([0.666667, 0.333333], True)
        """
        require_one_pole(self.filter, x0)
        return solve_in_blocks(
            self.relaxed.system, seeds, self._solve_block, solver=self.name, x0=x0, callback=callback, dtype=self.dtype
        )

    @cached_property
    def whole(self) -> PreparedConjugateGradient:
        """Conjugate gradients on the same S, for columns whose walk fills the graph."""
        return PreparedConjugateGradient(ConjugateGradient(self.settings.rtol), self.filter, self.relaxed.system)

    def _solve_block(
        self, seeds: Seeds, x0: Array | None, columns: Ints, callback: Callback | None
    ) -> tuple[Array, ...]:
        backend = self.relaxed.system.backend
        Y = backend.to_host(seeds.block)
        n, q = Y.shape
        start = None if x0 is None else backend.to_host(x0)
        x, facts = np.zeros((n, q)), np.zeros((4, q))  # converged, passes, relative residual, bound

        def relax(first: int, last: int) -> None:
            for j in range(first, last):
                told = None if callback is None else (columns[j : j + 1], callback)
                with self.relaxed.workspace() as solve:
                    facts[:, j] = self._relax(solve, Y[:, j], None if start is None else start[:, j], told)
                    inside = solve.nodes < n
                    x[solve.nodes[inside], j] = solve.x[inside]

        if callback is None:
            in_threads(relax, q, step=1)
        else:
            relax(0, q)  # shown column by column, in their order
        broken, left = np.zeros(q, dtype=bool), np.flatnonzero(facts[0] == 0)
        if left.size:
            at = backend.asarray(left)
            part = Seeds(*(backend.xp.take(z, at, axis=-1) for z in (seeds.block, seeds.scale, seeds.finite)))
            begin = None if self.relaxed.doubled else backend.asarray(np.ascontiguousarray(x[:, left]))
            solved, *rest = self.whole._solve_block(part, begin, columns[left], callback)
            x[:, left] = backend.to_host(solved)
            converged, n_iter, worst, bound, stuck = (backend.to_host(fact) for fact in rest)
            facts[:, left] = converged, facts[1, left] + n_iter, worst, bound
            broken[left] = stuck
        if self.dtype != np.float64:
            facts[3] += rounding_unit(self.dtype) * np.abs(x).max(axis=0, initial=0.0)
            x = x.astype(self.dtype).astype(np.float64)
        converged, passes, worst, bound = (backend.asarray(fact) for fact in facts)
        return backend.asarray(x), converged, passes, worst, bound, backend.asarray(broken)

    def _relax(
        self, solve: Relaxation, y: Floats, x0: Floats | None, told: tuple[Ints, Callback] | None
    ) -> tuple[float, float, float, float]:
        """Relax one column until its residual is short or its budget is spent; return the facts of it."""
        relaxed, nnz = self.relaxed, max(self.relaxed.matrix.nnz, 1)
        seeds = np.flatnonzero(y)
        b = relaxed.w * y[seeds]
        solve.start(seeds, b)
        if x0 is not None:
            begun = np.flatnonzero(x0)
            solve.resume(begun, x0[begun])
        size = length(b)
        target, budget = self.settings.rtol * size, max(self.settings.max_passes * nnz, LEAST_EDGES)
        within, eps = True, np.inf
        while within and length(solve.r) > target:
            # |r| <= eps v on what is touched makes the residual this short, until more is touched
            eps = min(eps / 2, _TIGHTER * target / length(solve.v))
            within = solve.relax(eps, budget=budget)
            if told is not None:
                done = np.array([length(solve.r) / size])
                told[1](Snapshot(told[0], int(np.ceil(solve.edges / nnz)), done))
        if not b.size and x0 is None:
            return 1.0, 0.0, 0.0, 0.0
        high, low, hidden = relaxed.doubt(solve)
        norm = length(solve.r)
        euclidean = (norm + hidden * length(solve.v)) * relaxed.inverse
        bound = min(max(high, low) * relaxed.system.largest_weight, euclidean)
        relative = norm / size if size else 0.0
        return float(norm <= target), np.ceil(solve.edges / nnz), relative, bound


def serves(filter: Filter) -> bool:
    """Whether a filter is a resolvent of a >= 0, or a pair of them at a and -a.

    >>> from manifold import Diffusion, Heat
    >>> serves(Diffusion()), serves(Heat(1.0))
    (True, False)
    """
    return as_one(filter) is not None


def is_local(prepared: object) -> TypeGuard[PreparedLocal]:
    """Whether a prepared solver lists the best of a query by itself.

    >>> is_local("local")
    False
    """
    return getattr(prepared, "proves_lists", False)
