"""Settings of the index, and its build: all columns solved, cut, and kept, a block at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold._checkpoint import fingerprint, open_blocks
from manifold._checks import check_count, check_stopping
from manifold._resources import require_memory
from manifold.backends import Array, Backend, get_backend
from manifold.filters import Diffusion, Filter
from manifold.graph import Graph
from manifold.index._intervals import SUMS, Floats, Ints
from manifold.index._pooled import PooledColumns, largest_entries
from manifold.index._stored import DTYPES, StoredColumns
from manifold.solvers import ConjugateGradient
from manifold.solvers._conjugate_gradient import PreparedConjugateGradient
from manifold.solvers._system import NormalizedAffinity, error_bound

Progress = Callable[[int, int], None]

_SWEEPS = 4  # of refinement, each worth a factor of 2e4; what is left after them stands in the bound
_DEFAULT_FILTER = Diffusion()


@dataclass(frozen=True)
class DiffusionIndex:
    """Settings of a stored index: the T largest entries of each column of h(S) = (1 - alpha)(I - alpha S)^-1.

    Columns are solved on the whole graph, to float64, and cut after (late truncation), so that each stored entry is
    known to `error`, and each entry that is not stored to lie between 0 and the column's `tail`.

    Parameters
    ----------
    n_entries : int
        T, entries kept of each column.
    dtype : {"float32", "float16", "float64"}
        Of the values; float16 halves them and adds its rounding, 2^-11 of a value, to the intervals.
    rtol : float
        Relative residual of the columns.

    Examples
    --------
    >>> from manifold import graph_from_affinity
    >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    >>> columns = DiffusionIndex(n_entries=2).build(path, filter=Diffusion(0.5))
    >>> columns.ids.tolist()
    [[0, 1], [0, 1], [1, 2]]
    """

    n_entries: int = 256
    dtype: str = "float32"
    rtol: float = 1e-8

    def __post_init__(self) -> None:
        check_count(self.n_entries, "n_entries")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {DTYPES}, got {self.dtype!r}")
        check_stopping(self.rtol)

    def memory_forecast(self, n_nodes: int) -> int:
        """Return the bytes of an index of n nodes.

        >>> DiffusionIndex(n_entries=256).memory_forecast(1_000_000) / 1e9
        2.064
        """
        return n_nodes * (min(self.n_entries, n_nodes) * (4 + np.dtype(self.dtype).itemsize) + 16)

    def prepare(self, graph: Graph, filter: Filter, backend: Backend) -> StoredColumns:
        """Build the index: the solver's work that needs no seeds is all its work."""
        return self.build(graph, filter=filter, backend=backend)

    def build(
        self,
        graph: Graph,
        *,
        filter: Filter = _DEFAULT_FILTER,
        backend: str | Backend = "auto",
        n_jobs: int = 1,
        checkpoint: str | Path | None = None,
        progress: Progress | None = None,
    ) -> StoredColumns:
        """Solve all n columns, a block at a time, and keep the largest entries of each.

        Parameters
        ----------
        graph, filter, backend
            See `manifold.diffuse`; the filter must be a single resolvent, such as ``Diffusion``.
        n_jobs : int
            Threads that solve blocks at the same time; the same bits for any number.
        checkpoint : path, optional
            A folder that keeps what is done: a build that was stopped goes on from there, with the same result. The
            arrays of the index are then memory-mapped files in it.
        progress : callable(done, total), optional
            Called after each block.

        Raises
        ------
        ValueError
            For another filter: its columns may be negative, and a missing entry would then have no lower bound. For a
            checkpoint of another build.
        MemoryBudgetError
            Where the index would not fit; raised before anything is solved.

        Notes
        -----
        Cost: n columns of some log(1 / rtol) / sqrt(1 - alpha) products with S each, shared by 32 on the CPU and by 256
        on a GPU; a checkpoint begun on one is not continued on the other.
        """
        columns = _Columns(graph, filter, get_backend(backend), rtol=self.rtol)
        stored = self._solve(columns, n_jobs=n_jobs, checkpoint=checkpoint, progress=progress)
        return StoredColumns(graph, filter, backend=columns.backend, **stored)

    def build_pooled(
        self,
        graph: Graph,
        pooling: sparse.csr_array,
        *,
        filter: Filter = _DEFAULT_FILTER,
        backend: str | Backend = "auto",
        n_jobs: int = 1,
        checkpoint: str | Path | None = None,
        progress: Progress | None = None,
    ) -> PooledColumns:
        """Solve all n columns and keep the largest entries of each column of P h(S): scores of images by regions.

        Parameters
        ----------
        pooling : csr_array (N, n)
            P, which may have negative entries.
        graph, filter, backend, n_jobs, checkpoint, progress
            See `build`.

        Raises
        ------
        ValueError, MemoryBudgetError
            See `build`.

        Examples
        --------
        >>> from manifold import graph_from_affinity
        >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
        >>> ends = sparse.csr_array(np.array([[1.0, 0.0, 1.0]]))
        >>> index = DiffusionIndex(dtype="float64").build_pooled(path, ends, filter=Diffusion(0.5))
        >>> index.values.round(4).ravel().tolist()
        [0.6667, 0.4714, 0.6667]
        """
        columns = _Columns(graph, filter, get_backend(backend), rtol=self.rtol, pooling=pooling)
        stored = self._solve(columns, n_jobs=n_jobs, checkpoint=checkpoint, progress=progress)
        return PooledColumns(graph, filter, pooling=pooling, backend=columns.backend, **stored)

    def _solve(
        self, columns: _Columns, *, n_jobs: int, checkpoint: str | Path | None, progress: Progress | None
    ) -> dict[str, Any]:
        """Return the arrays of the index, from blocks of columns solved in threads."""
        graph, n_jobs = columns.graph, check_count(n_jobs, "n_jobs")
        n, k, width = graph.n_nodes, min(self.n_entries, columns.n_rows), columns.width
        kept = 0 if checkpoint else self.memory_forecast(n)
        require_memory(
            kept + n_jobs * 80 * n * width, purpose=f"an index of {n} nodes", cure="lower n_entries or n_jobs"
        )
        arrays = {"ids": ((n, k), np.uint32), "values": ((n, k), self.dtype), "tail": ((n,), float)}
        origin = fingerprint(*columns.origin, columns.filter, self, width)
        with (
            open_blocks(checkpoint, {**arrays, "error": ((n,), float)}, width=width, fingerprint=origin) as state,
            ThreadPoolExecutor(n_jobs) as pool,
        ):
            blocks: Any = pool.map(partial(self._cut_block, columns), state.todo)
            with closing(blocks):  # where the loop is left early, this cancels what has not begun
                for block, parts in zip(state.todo, blocks, strict=True):
                    state.write(block, parts)
                    if progress is not None:
                        progress(min((block + 1) * width, n), n)
        return state.arrays

    def _cut_block(self, columns: _Columns, block: int) -> dict[str, NDArray[Any]]:
        """Solve one block of columns and keep the largest entries of each, ids ascending."""
        n = columns.graph.n_nodes
        k = min(self.n_entries, columns.n_rows)
        part = np.arange(block * columns.width, min((block + 1) * columns.width, n))
        scores, bound = columns.solve(part)
        ids, values, beyond = largest_entries(scores, k, backend=columns.backend, signed=columns.signed)
        error = bound + float(np.finfo(self.dtype).smallest_subnormal)
        # what a column can reach is stored whole where it fits, and all else is zero, exactly
        tail = np.where(columns.reach[part] <= k, 0.0, beyond + error)
        order = np.argsort(ids, axis=1)
        ids, values = np.take_along_axis(ids, order, axis=1), np.take_along_axis(values, order, axis=1)
        return {"ids": ids, "values": values, "tail": tail, "error": error}


class _Columns:
    """Columns of h(S), or of P h(S), by iterative refinement: solved in float32, corrected by residuals in float64."""

    def __init__(
        self, graph: Graph, filter: Filter, backend: Backend, *, rtol: float, pooling: sparse.csr_array | None = None
    ) -> None:
        resolvents = filter.resolvents
        if resolvents is None or len(resolvents) != 1 or resolvents[0][1] < 0:
            raise ValueError(f"an index needs a filter of one resolvent, such as Diffusion; {filter} is not")
        ((self.w, self.a),) = resolvents
        self.graph, self.filter, self.backend, self.rtol = graph, filter, backend, rtol
        self.width = backend.column_block
        single = NormalizedAffinity(graph, backend, np.float32)  # of any weights: S fits float32 where W may not
        self._single = PreparedConjugateGradient(ConjugateGradient(rtol=5e-5), filter, single)
        self._system = NormalizedAffinity(graph, backend, np.float64)
        W, n = graph.affinity, graph.n_nodes
        self.origin: tuple[Any, ...] = (W.indptr, W.indices, W.data)
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
        self.reach = np.bincount(pairs[1], minlength=graph.n_components)[graph.components]

    def solve(self, nodes: Ints) -> tuple[Array, Floats]:
        """Return the columns (rows, q) of some nodes in float64 and bounds (q,) on their errors."""
        x, bound = self._solve_nodes(nodes)
        x = self.backend.xp.maximum(x, 0)  # exact columns are >= 0
        if self._matrix is None:
            return x, bound
        rounding = SUMS * self.backend.to_host(x.max(axis=0))
        return self.backend.spmm(self._matrix, x), self._size * (bound + rounding)

    def _solve_nodes(self, nodes: Ints) -> tuple[Array, Floats]:
        """Return the columns (n, q) of some nodes in float64 and bounds (q,) on their errors."""
        xp, S = self.backend.xp, self._system
        b = xp.zeros((self.graph.n_nodes, nodes.size))
        b[self.backend.asarray(nodes), xp.arange(nodes.size)] = self.w
        x, residual = xp.zeros_like(b), b
        for _ in range(_SWEEPS):
            x += self._single.solve(residual / self.w).scores
            residual = b - x + self.a * (S @ x)
            norm, bound = error_bound(S, b=b, x=x, residual=residual, a=self.a)
            if not bool((norm > self.rtol * self.w).any()):
                break
        return x, self.backend.to_host(bound)
