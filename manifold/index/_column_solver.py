"""Single columns of h(S): solved, bounded, and cut to their largest entries.

In: a graph, a filter of one resolvent, some nodes. Out: their columns, or what an index keeps of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike
from scipy import sparse

from manifold._typing import AnyArray, Floats, Ints
from manifold.backends import Array, Backend, rounding_unit
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.index._intervals import SUMS
from manifold.solvers import ConjugateGradient
from manifold.solvers.conjugate_gradient import PreparedConjugateGradient
from manifold.solvers.system import NormalizedAffinity, error_bound

_SWEEPS = 4  # of refinement, each worth a factor of 2e4; what is left after them stands in the bound


def one_resolvent(filter: Filter) -> tuple[float, float]:
    """Return w and a of a filter w / (1 - a x), a >= 0; raise ValueError for another: its columns may be negative.

    >>> from manifold import Diffusion
    >>> one_resolvent(Diffusion(0.75))
    (0.25, 0.75)
    """
    resolvents = filter.resolvents
    if resolvents is None or len(resolvents) != 1 or resolvents[0][1] < 0:
        raise ValueError(f"an index needs a filter of one resolvent, such as Diffusion; {filter} is not")
    return resolvents[0]


def stored_error(error: Floats, dtype: DTypeLike) -> Floats:
    """Return bounds on the errors of entries once they are stored in a dtype, beside its rounding of exact entries.

    What is rounded is not the exact entry but one that is off by its error; and a tiny one is rounded to 0.

    >>> stored_error(np.array([0.5]), "float16").round(6).tolist()
    [0.500488]
    """
    return error * (1 + 2 * rounding_unit(dtype)) + float(np.finfo(dtype).smallest_subnormal)


class ColumnSolver:
    """Columns of h(S), or of P h(S), by iterative refinement: solved in float32, corrected by residuals in float64."""

    def __init__(
        self, graph: Graph, filter: Filter, backend: Backend, *, rtol: float, pooling: sparse.csr_array | None = None
    ) -> None:
        self.w, self.a = one_resolvent(filter)
        self.graph, self.filter, self.backend, self.rtol = graph, filter, backend, rtol
        self.width = backend.column_block // 2  # in float64, each takes the room of two
        single = NormalizedAffinity(graph, backend, np.float32)  # of any weights: S fits float32 where W may not
        if 1 - self.a <= 4 * single.rounding:  # to float32 the system may be singular: no step would correct another
            single = NormalizedAffinity(graph, backend, np.float64)
        self._single = PreparedConjugateGradient(ConjugateGradient(rtol=5e-5), filter, single)
        self._system = NormalizedAffinity(graph, backend, np.float64)
        W, n = graph.affinity, graph.n_nodes
        self.origin: tuple[AnyArray, ...] = (W.indptr, W.indices, W.data)
        owners, members = np.arange(n), np.arange(n)
        self.n_rows, self.signed, self._matrix = n, False, None
        if pooling is not None:
            if pooling.shape[1] != n:
                raise ValueError(f"pooling must have a column for each of the {n} nodes, got shape {pooling.shape}")
            self.origin += (pooling.indptr, pooling.indices, pooling.data)
            owners, members = pooling.nonzero()
            self.n_rows, self.signed = pooling.shape[0], bool((pooling.data < 0).any())
            self._matrix, self._size = backend.csr(pooling, dtype=np.float64), float(abs(pooling).sum(axis=1).max())
        # (n,) how many rows the column of a node can reach: those with a part in its component
        pairs = np.unique(np.stack([owners, graph.components[members]]), axis=1)
        self.n_reachable = np.bincount(pairs[1], minlength=graph.n_components)[graph.components]

    def solve(self, nodes: Ints) -> tuple[Array, Floats]:
        """Return the columns (rows, q) of some nodes in float64 and bounds (q,) on their errors.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
        >>> solver = ColumnSolver(path, Diffusion(0.5), get_backend(), rtol=1e-9)
        >>> solver.solve(np.array([0]))[0].round(6).ravel().tolist()
        [0.583333, 0.235702, 0.083333]
        """
        x, bound = self._solve_nodes(nodes)
        x = self.backend.xp.maximum(self._system.outside(x), 0)  # exact columns are >= 0
        if self._matrix is None:
            return x, bound
        rounding = SUMS * self.backend.to_host(x.max(axis=0))
        return self.backend.spmm(self._matrix, x), self._size * (bound + rounding)

    def cut(
        self, nodes: Ints, scores: Array, bound: Floats, *, n_entries: int, dtype: DTypeLike
    ) -> dict[str, AnyArray]:
        """Return the largest entries of solved columns, ids ascending, with their tails and errors.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.backends import get_backend
        >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
        >>> solver = ColumnSolver(path, Diffusion(0.5), get_backend(), rtol=1e-9)
        >>> one = np.array([0])
        >>> kept = solver.cut(one, *solver.solve(one), n_entries=1, dtype="float64")
        >>> kept["ids"].tolist(), kept["values"].round(6).tolist(), kept["tail"].round(6).tolist()
        ([[0]], [[0.583333]], [0.235702])
        """
        ids, values, beyond = largest_entries(scores, n_entries, backend=self.backend, signed=self.signed)
        error = stored_error(bound, dtype)
        # nothing is left out where all rows are stored, or as many positive entries as the column can reach rows: all
        # else is zero, exactly. An entry that the solve put at 0 may have lost its place to a zero out of reach.
        n_found = np.count_nonzero(values, axis=1)
        whole = (n_found >= self.n_reachable[nodes]) | (n_entries >= self.n_rows)
        tail = np.where(whole, 0.0, beyond + error)
        order = np.argsort(ids, axis=1)
        ids, values = np.take_along_axis(ids, order, axis=1), np.take_along_axis(values, order, axis=1)
        return {"ids": ids, "values": values, "tail": tail, "error": error}

    def _solve_nodes(self, nodes: Ints) -> tuple[Array, Floats]:
        """Return the columns (n, q) of some nodes in float64, in the order of S, and bounds (q,) on their errors."""
        xp, S = self.backend.xp, self._system
        b = xp.zeros((self.graph.n_nodes, nodes.size))
        b[self.backend.asarray(S.places(nodes)), xp.arange(nodes.size)] = self.w
        x, residual = xp.zeros_like(b), b
        for _ in range(_SWEEPS):
            x += self._single.correction(residual / self.w)
            residual = S.residual(b, x, self.a)
            norm, bound = error_bound(S, b=b, x=x, residual=residual, a=self.a)
            if not bool((norm > self.rtol * self.w).any()):
                break
        return x, self.backend.to_host(bound)


def largest_entries(scores: Array, k: int, *, backend: Backend, signed: bool) -> tuple[Ints, AnyArray, AnyArray]:
    """Return ids and values (c, k) of the k largest of each column of (N, c), in magnitude if signed, and the next.

    >>> from manifold.backends import get_backend
    >>> column = np.array([[0.3], [-0.5], [0.1]])
    >>> [part.tolist() for part in largest_entries(column, 2, backend=get_backend(), signed=True)]
    [[[1, 0]], [[-0.5, 0.3]], [0.1]]
    """
    size = backend.xp.abs(scores) if signed else scores
    ids, sizes = backend.top_k(size.T, min(k + 1, scores.shape[0]))
    values = backend.xp.take_along_axis(scores.T, ids, axis=1) if signed else sizes
    host_ids, host_values, host_sizes = (backend.to_host(x) for x in (ids, values, sizes))
    beyond = host_sizes[:, k] if host_sizes.shape[1] > k else np.zeros(len(host_sizes))
    return host_ids[:, :k], host_values[:, :k], beyond
