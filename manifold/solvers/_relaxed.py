"""What local solves stand on: a filter as one resolvent, S on the host, and a workspace for each thread at work.

In: S in float64 and a filter. Out: relaxations that are begun, and how wrong their residuals let them be.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from manifold._typing import AnyArray, Floats, Ints
from manifold.filters import Filter
from manifold.solvers._formed import inverse, is_plain
from manifold.solvers.base import require_poles
from manifold.solvers.system import NormalizedAffinity

if TYPE_CHECKING:
    from manifold.backends.relaxation import Relaxation


@dataclass(frozen=True, eq=False)
class Relaxed:
    """The system (I - a S) x = w y that a filter means, on the host, in the order of S.

    A pair of resolvents at a and -a is one on twice the nodes, each edge leading from one half to the other: walks of
    even length end in the half where they began, and h(S) y is what the first half holds of the solution for 2 w y.
    """

    system: NormalizedAffinity  # in float64
    w: float
    a: float
    doubled: bool

    @classmethod
    def of(cls, system: NormalizedAffinity, filter: Filter) -> Relaxed:
        """Raise ValueError for a filter that is neither a resolvent of a >= 0 nor such a pair.

        >>> from manifold import Diffusion, RegularizedDiffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> S = NormalizedAffinity(graph_from_affinity([[0, 1], [1, 0]]), get_backend(), np.float64)
        >>> [Relaxed.of(S, h).doubled for h in (Diffusion(), RegularizedDiffusion())]
        [False, True]
        """
        require_poles(filter, "local")
        one = as_one(filter)
        if one is None:
            raise ValueError(f"solver 'local' needs a filter of one resolvent, or of a pair, {filter} is none: use cg")
        return cls(system, *one)

    def __reduce__(self) -> tuple[object, ...]:  # workspaces are made anew
        return type(self), (self.system, self.w, self.a, self.doubled)

    @cached_property
    def roots(self) -> Floats:
        """v = sqrt(degree), 1 for isolated nodes."""
        of_nodes = np.sqrt(self.system.graph.degrees)
        of_nodes[of_nodes == 0] = 1
        in_order = of_nodes if self.system.order is None else of_nodes[self.system.order]
        return np.tile(in_order, 2) if self.doubled else in_order

    @cached_property
    def is_normalized(self) -> bool:
        """Whether `matrix` holds S rather than W: where degrees are so far apart that their products leave float64."""
        return not is_plain(self.system.graph.degrees)

    @cached_property
    def matrix(self) -> sparse.csr_array:
        """W or S, or that of twice the nodes, in the order of S.

        Entries of a row stand as they do in the graph: a walk is the same in any order, to the bit, and where a mapped
        graph is left as it lies.
        """
        graph, order = self.system.graph, self.system.order
        if self.is_normalized:
            A = self.system.entries if order is None else _relabelled(self.system.host, order)
        else:
            A = graph.unverified_affinity if order is None else _relabelled(graph.affinity, order)
        n, arrays = A.shape[0], (A.data, A.indices, A.indptr)
        if self.doubled:
            n, ends = 2 * n, np.concatenate([A.indptr, A.indptr[1:] + A.nnz])
            arrays = np.tile(A.data, 2), np.concatenate([A.indices + A.shape[0], A.indices]), ends
        made = sparse.csr_array(tuple(part.view() for part in arrays), shape=(n, n))
        for part in (made.data, made.indices, made.indptr):
            part.flags.writeable = False  # as those of a graph are: kernels are compiled for one kind of arrays
        return made

    @cached_property
    def sizes(self) -> Ints:
        """How many nodes each component has, in which a walk may end."""
        return np.bincount(self.system.components, minlength=self.system.graph.n_components)

    @cached_property
    def _idle(self) -> list[Relaxation]:
        return []

    @contextmanager
    def workspace(self) -> Iterator[Relaxation]:
        """Lend a workspace to this thread alone: one that is idle, or a new one."""
        from manifold.backends.relaxation import Relaxation  # loads the compiler: only where it is asked for

        try:
            solve = self._idle.pop()
        except IndexError:
            solve = Relaxation(self.matrix, self.roots, a=self.a, normalized=self.is_normalized)
        try:
            yield solve
        finally:
            self._idle.append(solve)

    def doubt(self, solve: Relaxation) -> tuple[float, float, float]:
        """Return (high, low, hidden) with -low v <= e <= high v for the error e of x: computed afresh.

        e = (I - a S)^-1 r, S >= 0 and S v <= v, so that r <= rho v means e <= rho v / (1 - a); and from below. Both
        count `hidden`, what rounding may hide. `inf` where it may have made the system singular.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> pair = graph_from_affinity([[0, 1], [1, 0]])
        >>> of = Relaxed.of(NormalizedAffinity(pair, get_backend(), np.float64), Diffusion(0.5))
        >>> with of.workspace() as solve:
        ...     solve.start(np.array([0]), np.array([0.5]))
        ...     [round(bound, 9) for bound in of.doubt(solve)]  # r = (0.5, 0)
        [1.0, 0.0, 0.0]
        """
        from manifold.backends.proved_lists import extremes

        rounding = solve.refresh()
        up, down = extremes(solve.r, solve.v, rounding)
        hidden = float((rounding / solve.v).max(initial=0.0))
        return up * self.inverse, down * self.inverse, hidden * self.inverse

    def presumed(self, solve: Relaxation) -> tuple[float, float]:
        """Return (high, low) as `doubt` does, from the residual as it was kept: without its pass, and its certainty."""
        from manifold.backends.proved_lists import extremes

        up, down = extremes(solve.r, solve.v, np.zeros(solve.r.size))
        return up * self.inverse, down * self.inverse

    @cached_property
    def inverse(self) -> float:
        """A bound on the norm of (I - a S)^-1 between vectors measured by v, with what rounding does to S and v."""
        u = self.system.rounding
        gap = 1 - self.a * (1 + 4 * u)
        return (1 + 4 * u) / gap if gap > 0 else np.inf


def as_one(filter: Filter) -> tuple[float, float, bool] | None:
    """Return w, a >= 0 and whether nodes are doubled, see `Relaxed`; None for a filter that is not of this kind.

    >>> from manifold import Diffusion, RegularizedDiffusion
    >>> as_one(Diffusion(0.75)), as_one(RegularizedDiffusion(0.25))
    ((0.25, 0.75, False), (0.75, 0.5, True))
    """
    poles = sorted(filter.resolvents or (), key=lambda pole: -pole[1])
    if not poles or poles[0][1] < 0 or poles[1:] not in ([], [(poles[0][0], -poles[0][1])]):
        return None
    w, a = poles[0]
    return w * len(poles), a, len(poles) == 2


def _relabelled(A: sparse.csr_array, order: AnyArray) -> sparse.csr_array:
    """Return a matrix with rows in an order and columns called by it, the entries of a row as they were."""
    rows = A[order]
    return sparse.csr_array((rows.data, inverse(order)[rows.indices], rows.indptr), shape=A.shape)


def length(x: Floats) -> float:
    """Return ||x||_2, added up in one order on any number of threads.

    >>> length(np.array([3.0, 4.0]))
    5.0
    """
    return float(np.sqrt(np.einsum("i,i->", x, x)))
