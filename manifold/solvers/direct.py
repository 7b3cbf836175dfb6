"""Direct solves: factorise I - a S once, in float64, and solve for every column; the reference of all others.

In: seed columns. Out: F to rounding. Dense Cholesky on small graphs, sparse LU on larger ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from manifold._resources import require_memory
from manifold._typing import DType, Ints
from manifold.backends import DENSE_LIMIT, Array, Backend
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.solvers.base import Callback, Prepared, Solution, Solver
from manifold.solvers.system import NormalizedAffinity, Seeds, error_bound, solve_in_blocks


@dataclass(frozen=True)
class Direct(Solver):
    """Factorisation: F = sum of w (I - a S)^-1 Y over the resolvents of the filter, exact to rounding.

    The closed form: F = (1 - alpha) (I - alpha S)^-1 Y.

    A filter that is not a sum of resolvents takes all eigenvectors of a dense S instead, F = U h(Lambda) U' Y.
    Works in float64 whatever the dtype of the graph; only the scores are rounded to it.

    Reference: Zhou et al. (2003b), section 2.

    Raises
    ------
    MemoryBudgetError
        When prepared, where the factor or the dense S would not fit.

    Notes
    -----
    The last digits follow the number of threads of the linear algebra, and the columns solved together.
    Cost: n^3 / 3 operations and 8 n^2 bytes a resolvent up to 2,000 nodes; above, what the fill-in of the factor costs,
    which grows fast on kNN graphs (4 to 40 times the edges): a reference up to some 20,000 nodes.

    Examples
    --------
    >>> from manifold import diffuse, graph_from_affinity, Diffusion
    >>> pair = graph_from_affinity(np.array([[0, 1], [1, 0]])).astype("float64")
    >>> diffuse(pair, [1.0, 0.0], filter=Diffusion(0.5), solver="direct").scores.round(6).tolist()
    [0.666667, 0.333333]
    """

    @np.errstate(under="ignore")
    def prepare(self, graph: Graph, filter: Filter, backend: Backend) -> PreparedDirect:
        """Factorise one matrix for each resolvent.

        >>> from manifold import Diffusion, RegularizedDiffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> pair = graph_from_affinity([[0, 1], [1, 0]])
        >>> [len(Direct().prepare(pair, h, get_backend()).factors) for h in (Diffusion(), RegularizedDiffusion())]
        [1, 2]
        """
        system = NormalizedAffinity(graph, backend, np.float64)  # the reference of all others: never in float32
        n = graph.n_nodes
        if filter.resolvents is None:
            require_memory(5 * 8 * n * n, purpose=f"all eigenvectors of {n} nodes", cure="use solver='chebyshev'")
            return PreparedDirect(system, filter, (), graph.dtype, _eigenvector_map(system, filter))
        factors = []
        for w, a in filter.resolvents:
            matrix = sparse.csr_array(sparse.eye_array(n, format="csr") - a * system.entries)
            # a dense factor takes the place of its matrix; the fill-in of a sparse one is known once it is there
            least = 8 * n * n + 64 * matrix.nnz if n <= DENSE_LIMIT else 2 * 4 * 12 * matrix.nnz
            require_memory(least, purpose=f"factorising {n} nodes", cure="use solver='cg'")
            factors.append((w, a, backend.factorize(backend.csr(matrix, dtype=np.float64)) if n else _identity))
        return PreparedDirect(system, filter, tuple(factors), graph.dtype)


@dataclass(frozen=True, eq=False)
class PreparedDirect(Prepared):
    """The factors, ready for seeds."""

    system: NormalizedAffinity
    filter: Filter
    factors: tuple[tuple[float, float, Callable[[Array], Array]], ...]
    dtype: DType
    spectral: Callable[[Array], Array] | None = None

    def __reduce__(self) -> tuple[object, ...]:  # no pickle takes the factor of a library: it is made again
        return Direct().prepare, (self.system.graph, self.filter, self.system.backend)

    def solve(self, seeds: object, *, x0: object = None, callback: Callback | None = None) -> Solution:
        """Return F = h(S) seeds; a direct solve has no use for `x0` and nothing to show a `callback`.

        >>> from manifold import LowPass, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> pair = graph_from_affinity([[0, 1], [1, 0]]).astype("float64")
        >>> Direct().prepare(pair, LowPass(), get_backend()).solve([1.0, 0.0]).scores.round(6).tolist()  # the mean
        [0.5, 0.5]
        """
        return solve_in_blocks(
            self.system, seeds, self._solve_block, solver="direct", callback=callback, dtype=self.dtype
        )

    def _solve_block(
        self, seeds: Seeds, x0: Array | None, columns: Ints, callback: Callback | None
    ) -> tuple[Array, ...]:
        xp, S = self.system.backend.xp, self.system
        total = xp.zeros_like(seeds.block)
        q = total.shape[1]
        worst, bound = xp.zeros(q), xp.zeros(q)
        if self.spectral is not None:
            total = self.spectral(seeds.block)
            worst = bound = xp.where(seeds.scale > 0, np.inf, 0.0)  # no bound is known of a function of rounded S
        for w, a, solve in self.factors:
            b = w * seeds.block
            x = solve(b).astype(self.dtype).astype(S.dtype)  # judged as it will be returned: in the graph's dtype
            residual = S.residual(b, x, a)
            norm, part = error_bound(S, b=b, x=x, residual=residual, a=a)
            length = xp.sqrt(S.backend.column_dots(b, b))
            worst = xp.maximum(worst, norm / xp.where(length > 0, length, 1.0))
            bound += part
            total += x
        none = xp.zeros(q, dtype=bool)
        return total, ~none, xp.zeros(q, dtype=np.int64), worst, bound, none


def _identity(block: Array) -> Array:
    return block


def _eigenvector_map(system: NormalizedAffinity, filter: Filter) -> Callable[[Array], Array]:
    """Return the map Y -> U h(Lambda) U' Y, applied to each component by itself so that none leaks into another."""
    xp, n = system.backend.xp, system.n_nodes
    if not n:
        return _identity
    eigenvalues, U = xp.linalg.eigh(system.backend.asarray(system.entries.toarray()))
    transfer = filter(eigenvalues)[:, None]
    kernel = U @ (transfer * U.T)
    components = system.backend.asarray(system.components)
    # vectors of one eigenvalue may be mixed across components: what they leave there is rounding, and set to 0
    kernel = xp.where(components[:, None] == components[None, :], kernel, 0.0)
    return lambda block: kernel @ block
