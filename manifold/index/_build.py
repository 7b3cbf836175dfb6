"""Settings of the index, and its build: all columns solved, cut, and kept, a block at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import DTypeLike
from scipy import sparse

from manifold._checks import check_count, check_stopping
from manifold._progress import Progress, check_progress, shown
from manifold._resources import at_most, require_memory
from manifold._typing import AnyArray, Ints
from manifold.backends import Backend, get_backend
from manifold.filters import Diffusion, Filter
from manifold.graph import Graph, check_graph
from manifold.index._column_solver import ColumnSolver, one_resolvent
from manifold.index._saved import DTYPES
from manifold.index.lazy import LazyColumns
from manifold.index.pooled import PooledColumns
from manifold.index.stored import StoredColumns
from manifold.solvers import Solver
from manifold.storage.checkpoint import fingerprint, open_blocks

if TYPE_CHECKING:
    from manifold.index._local_columns import LocalColumns

_DEFAULT_FILTER = Diffusion()


@dataclass(frozen=True)
class DiffusionIndex(Solver):
    """Settings of a stored index: the T largest entries of each column of h(S) = (1 - alpha)(I - alpha S)^-1.

    Columns are solved on the whole graph, to float64, and cut after (late truncation), so that each stored entry is
    known to `error`, and each entry that is not stored to lie between 0 and the column's `tail`.

    Reference: Yang et al. (2019), section 3, for columns that are cut; guide *certificates*, for what is proved.

    Parameters
    ----------
    n_entries : int
        T, entries kept of each column.
    dtype : {"float32", "float16", "float64"}
        Of the values; float16 halves them and adds its rounding, 2^-11 of a value, to the intervals.
    rtol : float
        Relative residual of the columns; of local ones, the error that is small enough whatever the entries are, as a
        share of 1 - alpha.
    solver : {"auto", "cg", "local"}
        By conjugate gradients on the whole graph; or, on the CPU, by relaxation where columns touch the graph, 16 near
        ones together, until the error is 1/4096 of the least entry kept. "auto" is "local" for lazy columns, else "cg".
    lazy : bool
        Solve nothing beforehand, but the columns of seeds, and of candidates that are contested, when they are first
        asked for (`LazyColumns`).
    n_kept : int
        Columns that a lazy index keeps at most, those that were asked for last.

    Examples
    --------
    >>> from manifold import graph_from_affinity
    >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    >>> columns = DiffusionIndex(n_entries=2).build(path, filter=Diffusion(0.5))
    >>> columns.ids.tolist()
    [[0, 1], [0, 1], [1, 2]]
    """

    is_offline: ClassVar[bool] = True

    n_entries: int = 256
    dtype: str = "float32"
    rtol: float = 1e-8
    solver: str = "auto"
    lazy: bool = False
    n_kept: int = 65_536

    def __post_init__(self) -> None:
        check_count(self.n_entries, "n_entries")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {DTYPES}, got {self.dtype!r}")
        check_stopping(self.rtol)
        if self.solver not in ("auto", "cg", "local"):
            raise ValueError(f"solver must be 'auto', 'cg' or 'local', got {self.solver!r}")
        if self.solver == "auto":
            object.__setattr__(self, "solver", "local" if self.lazy else "cg")
        check_count(self.n_kept, "n_kept")
        if self.lazy and self.solver != "local":
            raise ValueError(f"lazy columns are solved by walks, got solver={self.solver!r}: leave it out")

    def memory_forecast(self, n_nodes: int) -> int:
        """Return the bytes of an index of n nodes.

        >>> DiffusionIndex(n_entries=256).memory_forecast(1_000_000) / 1e9
        2.064
        """
        return n_nodes * (min(self.n_entries, n_nodes) * (4 + np.dtype(self.dtype).itemsize) + 16)

    def prepare(self, graph: Graph, filter: Filter, backend: Backend) -> StoredColumns:
        """Build the index: the solver's work that needs no seeds is all its work.

        >>> from manifold import graph_from_affinity
        >>> pair, settings = graph_from_affinity([[0, 1], [1, 0]]), DiffusionIndex(dtype="float64")
        >>> settings.prepare(pair, Diffusion(0.5), get_backend()).values.round(4).tolist()
        [[0.6667, 0.3333], [0.3333, 0.6667]]
        """
        return self.build(graph, filter=filter, backend=backend)

    def build(
        self,
        graph: Graph,
        *,
        filter: Filter = _DEFAULT_FILTER,
        backend: str | Backend = "auto",
        n_jobs: int = 1,
        checkpoint: str | Path | None = None,
        progress: Progress | bool | None = None,
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
        progress : bool or callable(done, total), optional
            Called after each block. True shows a bar on stderr with the time left, by tqdm where it is installed.

        Raises
        ------
        ValueError
            For another filter: its columns may be negative, and a missing entry would then have no lower bound. For a
            checkpoint of another build.
        MemoryBudgetError
            Where the index would not fit; raised before anything is solved.

        Notes
        -----
        Cost: n columns of some log(1 / rtol) / sqrt(1 - alpha) products with S each, shared by 16 on the CPU and by 256
        on a GPU; a checkpoint begun on one is not continued on the other.

        Examples
        --------
        >>> from manifold import graph_from_affinity
        >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
        >>> index = DiffusionIndex(n_entries=2, dtype="float64").build(path, filter=Diffusion(0.5))
        >>> index.values[0].round(6).tolist(), index.tail[0].round(6)  # 7, 2 sqrt(2) and 1 twelfths
        ([0.583333, 0.235702], np.float64(0.083333))
        """
        check_graph(graph)
        check_progress(progress)
        on = get_backend(backend)
        if self.solver == "local":
            if on.name != "scipy" or checkpoint is not None:
                raise ValueError("solver='local' builds an index on the CPU, in one go: leave backend and checkpoint")
            from manifold.index._local_columns import LocalColumns  # which loads the compiler

            one_resolvent(filter)
            if self.lazy:
                return LazyColumns.of(
                    graph,
                    filter,
                    n_entries=self.n_entries,
                    dtype=self.dtype,
                    rtol=self.rtol,
                    n_kept=self.n_kept,
                    backend=on,
                )
            solved = LocalColumns(graph, filter, n_entries=self.n_entries, rtol=self.rtol)
            stored = self._solve_local(solved, n_jobs=n_jobs, progress=progress)
        else:
            solver = ColumnSolver(graph, filter, on, rtol=self.rtol)
            stored = self._solve(solver, n_jobs=n_jobs, checkpoint=checkpoint, progress=progress)
        return StoredColumns(
            graph,
            filter,
            ids=stored["ids"],
            values=stored["values"],
            tail=stored["tail"],
            error=stored["error"],
            backend=on,
            solver=self.solver,
        )

    def build_pooled(
        self,
        graph: Graph,
        pooling: sparse.csr_array,
        *,
        filter: Filter = _DEFAULT_FILTER,
        backend: str | Backend = "auto",
        n_jobs: int = 1,
        checkpoint: str | Path | None = None,
        progress: Progress | bool | None = None,
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
        if self.solver != "cg":
            raise ValueError(
                f"columns of images are solved by solver='cg', got {self.solver!r} lazy={self.lazy}: leave both out"
            )
        pooling = sparse.csr_array(pooling)
        solver = ColumnSolver(graph, filter, get_backend(backend), rtol=self.rtol, pooling=pooling)
        stored = self._solve(solver, n_jobs=n_jobs, checkpoint=checkpoint, progress=progress)
        return PooledColumns(
            graph,
            filter,
            pooling=pooling,
            ids=stored["ids"],
            values=stored["values"],
            tail=stored["tail"],
            error=stored["error"],
            backend=solver.backend,
        )

    def _solve(
        self, solver: ColumnSolver, *, n_jobs: int, checkpoint: str | Path | None, progress: Progress | bool | None
    ) -> dict[str, AnyArray]:
        """Return the arrays of the index, from blocks of columns solved in threads."""
        graph, n_jobs = solver.graph, check_count(n_jobs, "n_jobs")
        n, k, width = graph.n_nodes, min(self.n_entries, solver.n_rows), solver.width

        def needed(n_entries: int) -> int:
            kept = 0 if checkpoint else replace(self, n_entries=n_entries).memory_forecast(n)
            return kept + n_jobs * 80 * n * width

        fewer = at_most("n_entries", k, needed) if n_jobs == 1 else "lower n_jobs"
        require_memory(needed(max(k, 1)), purpose=f"an index of {n} nodes", cure=fewer)
        arrays: dict[str, tuple[tuple[int, ...], DTypeLike]] = {
            "ids": ((n, k), np.uint32),
            "values": ((n, k), self.dtype),
            "tail": ((n,), float),
            "error": ((n,), float),
        }
        origin = fingerprint(*solver.origin, solver.filter, self, width)

        def solve(block: int) -> dict[str, AnyArray]:
            nodes = np.arange(block * width, min((block + 1) * width, n))
            return solver.cut(nodes, *solver.solve(nodes), n_entries=k, dtype=self.dtype)

        with (
            open_blocks(checkpoint, arrays, width=width, fingerprint=origin) as state,
            ThreadPoolExecutor(n_jobs) as pool,
            shown(progress, "columns") as report,
        ):
            try:
                for block, parts in zip(state.todo, pool.map(solve, state.todo), strict=True):
                    state.write(block, parts)
                    if report is not None:
                        report(min((block + 1) * width, n), n)
            finally:  # where the loop is left early, what has not begun is left out
                pool.shutdown(cancel_futures=True)
        return state.arrays

    def _solve_local(
        self, solver: LocalColumns, *, n_jobs: int, progress: Progress | bool | None
    ) -> dict[str, AnyArray]:
        """Return the arrays of the index, from groups of near columns solved in threads."""
        n, n_jobs = solver.graph.n_nodes, check_count(n_jobs, "n_jobs")
        purpose, needed = f"an index of {n} nodes", self.memory_forecast(n) + n_jobs * solver.most_memory()
        require_memory(needed, purpose=purpose, cure="lower n_entries or n_jobs")
        arrays: dict[str, AnyArray] = {
            "ids": np.empty((n, solver.k), np.uint32),
            "values": np.empty((n, solver.k), self.dtype),
            "tail": np.empty(n),
            "error": np.empty(n),
        }
        parts = [solver.order[start : start + solver.width] for start in range(0, n, solver.width)]

        def solve(nodes: Ints) -> int:
            found = solver.solve(nodes, dtype=self.dtype)
            with np.errstate(under="ignore"):  # `error` counts what is rounded to 0
                for name, values in found.items():
                    arrays[name][nodes] = values
            return nodes.size

        with ThreadPoolExecutor(n_jobs) as pool, shown(progress, "columns") as report:
            done = 0
            try:
                for size in pool.map(solve, parts):
                    done += size
                    if report is not None:
                        report(done, n)
            finally:
                pool.shutdown(cancel_futures=True)
        return arrays
