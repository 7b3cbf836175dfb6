"""A solver whose iterations run on many processes, each with some rows of S: the same answers, to the bit.

In: settings of a solver, a graph that was loaded from a folder which all processes see. Out: its `Solution`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from manifold._typing import Ints
from manifold.backends import Array, Backend, ScipyBackend, get_backend
from manifold.distributed import cluster_of
from manifold.errors import WorkerLostError, warn
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.solvers._formed import inverse
from manifold.solvers._normalized import NormalizedAffinity
from manifold.solvers.base import Callback, Prepared, Solution, Solver, require_one_pole
from manifold.solvers.chebyshev import Chebyshev
from manifold.solvers.conjugate_gradient import ConjugateGradient
from manifold.solvers.power_iteration import PowerIteration
from manifold.solvers.system import Seeds, solve_in_blocks

_NAMES: dict[type[Solver], str] = {ConjugateGradient: "cg", Chebyshev: "chebyshev", PowerIteration: "power"}
_ATTEMPTS = 3  # at one block of columns, before a cluster that loses workers is given up
_PAIR = sparse.csr_array(np.array([[0.0, 1.0], [1.0, 0.0]], dtype=np.float32))


@dataclass(frozen=True)
class OnCluster(Solver):
    """A solver on a cluster: ``solver.prepare`` and ``solve`` as ever, iterations on all its processes.

        F = h(S) Y,    rows of S and F by process

    Each process opens the folder of the graph by its path and keeps its rows of S; seeds are sent to it by blocks of
    columns, and scores come back. A process that ends is replaced, a warning says so, and the block of columns begins
    again.

    Reference: Hestenes and Stiefel (1952), for the iteration; guide *cluster*, "What a worker does".

    Parameters
    ----------
    solver : Solver
        Settings of `ConjugateGradient`, `Chebyshev` or `PowerIteration`.
    cluster : distributed.Client, or `manifold.distributed.check` of it

    Raises
    ------
    ValueError
        For another solver, and (when prepared) for a graph that no folder holds.
    TypeError
        For what is no cluster.

    Notes
    -----
    Graphs below 8,192 nodes are solved by the caller: a message would take longer. Cost: a step sends the halo, rows of
    other processes that own rows have edges to, at 4 q bytes each, and to every other process 2 (CG) or no (Chebyshev)
    sums, of 8 q bytes for each 2,048 own rows. Memory of a process: its rows of S, at 8 bytes an entry and twice that
    while they are cut, and 5 blocks of its rows.

    Examples
    --------
    >>> class Here:
    ...     def ranks(self): return self
    >>> solver = OnCluster(ConjugateGradient(), Here())
    >>> from manifold import diffuse, graph_from_affinity
    >>> scores = diffuse(graph_from_affinity([[0, 1], [1, 0]]), [1.0, 0.0], solver=solver).scores  # by the caller
    >>> [round(float(score), 3) for score in scores]
    [0.513, 0.487]
    """

    solver: Solver
    cluster: object

    def __post_init__(self) -> None:
        cluster_of(self.cluster)

    def prepare(self, graph: Graph, filter: Filter, backend: Backend) -> Prepared:
        """Look for the graph's folder; processes open it with the first solve."""
        if graph.order is None:
            return self.solver.prepare(graph, filter, backend)
        if type(self.solver) not in _NAMES:
            raise ValueError(f"a cluster runs {', '.join(_NAMES.values())}, got {self.solver}: leave out cluster")
        if graph.saved is None:
            raise ValueError("a cluster opens a graph by its path: graph.save(path), then graph = manifold.load(path)")
        # what a solver prepares does not depend on the graph but for S, which ranks put into it
        prepared = self.solver.prepare(Graph(_PAIR), filter, get_backend("scipy"))
        return PreparedOnCluster(self, filter, prepared, _Whole(graph), graph.saved)


class _Whole(NormalizedAffinity):
    """What blocks of columns need of S where its rows are elsewhere: an order, a dtype."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.backend, self.n_nodes, self.dtype = graph, ScipyBackend(), graph.n_nodes, graph.dtype
        self.order = graph.order
        self.position = None if self.order is None else inverse(self.order)


@dataclass(frozen=True, eq=False)
class PreparedOnCluster(Prepared):
    """A solver, ready for seeds."""

    settings: OnCluster
    filter: Filter
    prepared: Prepared
    system: NormalizedAffinity
    saved: tuple[str, str]

    def solve(self, seeds: object, *, x0: object = None, callback: Callback | None = None) -> Solution:
        """Return F = h(S) seeds, as the solver does in one process."""
        name = _NAMES[type(self.settings.solver)]
        if name == "chebyshev":
            x0 = None  # of no use to it
        else:
            require_one_pole(self.filter, x0)
        return solve_in_blocks(self.system, seeds, self._solve_block, solver=name, x0=x0, callback=callback)

    def _solve_block(
        self, seeds: Seeds, x0: Array | None, columns: Ints, callback: Callback | None
    ) -> tuple[Array, ...]:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._once(seeds, x0, columns, callback)
            except WorkerLostError as lost:
                if attempt == _ATTEMPTS or not lost.can_go_on:
                    raise
                warn(f"{lost}; {columns.size} columns begin anew")
        raise AssertionError

    def _once(self, seeds: Seeds, x0: Array | None, columns: Ints, callback: Callback | None) -> tuple[Array, ...]:
        from manifold.backends.ranks import even_cuts  # a process without such a solve does without compiled kernels
        from manifold.solvers._shard import Rows, Solve

        ranks = cluster_of(self.settings.cluster).ranks()
        cuts = even_cuts(self.system.n_nodes, ranks.size)
        task = Solve(self.prepared, columns, Rows(*self.saved, tuple(cuts.tolist())))
        blocks = np.split(seeds.block, cuts[1:-1])
        starts = [None] * ranks.size if x0 is None else np.split(x0, cuts[1:-1])
        parts = [(block, start, seeds.scale, seeds.finite) for block, start in zip(blocks, starts, strict=True)]
        answers = ranks.run(task, parts, listen=callback)
        return np.concatenate([x for x, _ in answers]), *answers[0][1]
