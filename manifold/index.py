"""The stored index: a solver whose answers are kept, one truncated column of h(S) per node.

In: a graph and a filter with h(S) >= 0, offline; seeds of a few nodes, online. Out: intervals around the scores of
every node, from a few hundred numbers per seed (offline diffusion, Yang et al., AAAI 2019, with bounds).

    F_i = sum_j y_j K_ij,   K = h(S) symmetric and >= 0;   K_ij = stored +- error_j, or in [0, tail_j] where not stored
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold._checkpoint import Checkpoint, fingerprint
from manifold._checks import check_count
from manifold._intervals import Floats, Intervals, Ints, Shortlist
from manifold._resources import require_memory
from manifold.backends import Array, Backend, SparseMatrix, get_backend, rounding_unit
from manifold.filters import Diffusion, Filter
from manifold.graph import Graph
from manifold.solvers import ConjugateGradient, Solution, Status
from manifold.solvers._base import Callback
from manifold.solvers._system import NormalizedAffinity, Seeds, error_bound, solve_in_blocks

Progress = Callable[[int, int], None]

_BLOCK = 32
_DTYPES = ("float16", "float32", "float64")
_SWEEPS = 4  # of refinement, each worth a factor of 2e4; what is left after them stands in the bound
_MOST_CONTESTED = 2000  # more candidates than this are not worth looking up one by one
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
        if self.dtype not in _DTYPES:
            raise ValueError(f"dtype must be one of {_DTYPES}, got {self.dtype!r}")
        ConjugateGradient(rtol=self.rtol)

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
        Cost: n columns of some log(1 / rtol) / sqrt(1 - alpha) products with S each, shared by 32.
        """
        resolvents = filter.resolvents
        if resolvents is None or len(resolvents) != 1 or resolvents[0][1] < 0:
            raise ValueError(f"an index needs a filter of one resolvent, such as Diffusion; {filter} is not")
        n, arrays, n_jobs = graph.n_nodes, get_backend(backend), check_count(n_jobs, "n_jobs")
        k = min(self.n_entries, n)
        kept = 0 if checkpoint else self.memory_forecast(n)
        require_memory(
            kept + n_jobs * 80 * n * _BLOCK, purpose=f"an index of {n} nodes", cure="lower n_entries or n_jobs"
        )
        W = graph.affinity
        state = Checkpoint(
            checkpoint,
            {"ids": ((n, k), np.uint32), "values": ((n, k), self.dtype), "tail": ((n,), float), "error": ((n,), float)},
            n_blocks=-(-n // _BLOCK),
            fingerprint=fingerprint(W.indptr, W.indices, W.data, filter, self),
        )
        columns = _Columns(graph, filter, arrays, rtol=self.rtol)
        todo, stored = state.todo, state.arrays
        with ThreadPoolExecutor(n_jobs) as pool:
            blocks: Any = pool.map(partial(self._cut_block, columns), todo)
            with closing(blocks):  # where the loop is left early, this cancels what has not begun
                for block, parts in zip(todo, blocks, strict=True):
                    rows = slice(block * _BLOCK, (block + 1) * _BLOCK)
                    for name, values in parts.items():
                        stored[name][rows] = values
                    state.finish(block)
                    if progress is not None:
                        progress(min(rows.stop, n), n)
        return StoredColumns(graph, filter, backend=arrays, **stored)

    def _cut_block(self, columns: _Columns, block: int) -> dict[str, NDArray[Any]]:
        """Solve one block of columns and keep the largest entries of each, ids ascending."""
        n, backend = columns.graph.n_nodes, columns.backend
        k = min(self.n_entries, n)
        part = np.arange(block * _BLOCK, min((block + 1) * _BLOCK, n))
        scores, bound = columns.solve(part)
        scores = backend.xp.maximum(scores, 0)  # exact columns are >= 0
        ids, values = (backend.to_host(x) for x in backend.top_k(scores.T, min(k + 1, n)))
        error = bound + float(np.finfo(self.dtype).smallest_subnormal)
        # a component that fits is stored whole, and outside of it a column is zero, exactly
        sizes = np.bincount(columns.graph.components)[columns.graph.components[part]]
        tail = np.zeros(part.size) if n <= k else np.where(sizes <= k, 0.0, values[:, -1] + error)
        order = np.argsort(ids[:, :k], axis=1)
        ids, values = np.take_along_axis(ids, order, axis=1), np.take_along_axis(values, order, axis=1)
        return {"ids": ids, "values": values, "tail": tail, "error": error}


class _Columns:
    """Columns of h(S) by iterative refinement: solved in float32, corrected by residuals in float64."""

    def __init__(self, graph: Graph, filter: Filter, backend: Backend, *, rtol: float) -> None:
        ((self.w, self.a),) = filter.resolvents or ()
        self.graph, self.backend, self.rtol = graph, backend, rtol
        self._single = ConjugateGradient(rtol=5e-5).prepare(graph.astype(np.float32), filter, backend)
        self._system = NormalizedAffinity(graph, backend, np.float64)

    def solve(self, nodes: Ints) -> tuple[Array, Floats]:
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


@dataclass(frozen=True, eq=False, kw_only=True)
class StoredColumns:
    """A built index: a prepared solver, and certified shortlists in time that does not grow with the graph.

    Attributes
    ----------
    ids : (n, T) uint32
        Nodes of the stored entries of each column, ascending.
    values : (n, T) float
        Their entries of h(S).
    tail : (n,) float64
        No entry of the column that is not stored exceeds it.
    error : (n,) float64
        Bound on the error of a stored entry, beside the rounding of its dtype.
    """

    graph: Graph = field(kw_only=False)
    filter: Filter = field(kw_only=False)
    ids: NDArray[np.uint32]
    values: NDArray[Any]
    tail: Floats
    error: Floats
    backend: Backend

    def first(self, n_entries: int) -> StoredColumns:
        """Return the index cut to its largest entries: one build serves every smaller one."""
        n, width = self.ids.shape
        k = min(check_count(n_entries, "n_entries"), width)
        if k == width:
            return self
        order = np.argsort(-self.values, axis=1, kind="stable")
        rest = self._rounded(np.zeros(n), np.take_along_axis(self.values, order[:, k : k + 1], axis=1)[:, 0])[1]
        sizes = self._component_sizes[self.graph.components]
        kept = np.sort(order[:, :k], axis=1)
        return replace(
            self,
            ids=np.take_along_axis(self.ids, kept, axis=1),
            values=np.take_along_axis(self.values, kept, axis=1),
            tail=np.where(sizes <= k, 0.0, rest.astype(np.float64) + self.error),
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the index, the graph left out."""
        return int(sum(array.nbytes for array in (self.ids, self.values, self.tail, self.error)))

    @cached_property
    def _matrix(self) -> SparseMatrix:
        n, k = self.ids.shape
        indptr = np.arange(0, n * k + 1, k) if k else np.zeros(n + 1, dtype=np.int64)
        columns = (self.values.ravel().astype(np.float64), self.ids.ravel().astype(np.int64), indptr)
        return self.backend.csr(sparse.csr_array(sparse.csc_array(columns, shape=(n, n))), dtype=np.float64)

    @cached_property
    def _component_sizes(self) -> Ints:
        return np.bincount(self.graph.components)

    @cached_property
    def _system(self) -> NormalizedAffinity:
        return NormalizedAffinity(self.graph, self.backend, np.float64)

    def solve(self, seeds: Any, *, x0: Any = None, callback: Callback | None = None) -> Solution:
        """Return F = h(S) seeds from the stored entries alone, for any seeds; `x0` and `callback` are not used.

        Cost: T numbers per non-zero of the seeds, and one product with S that certifies the answer.
        """
        exact = not self.tail.any()
        return solve_in_blocks(
            self._system,
            seeds,
            self._solve_block,
            solver="index",
            dtype=self.graph.dtype,
            otherwise=Status.CONVERGED if exact else Status.APPROXIMATE,
        )

    def _solve_block(self, seeds: Seeds, x0: Any, columns: Ints, callback: Any) -> tuple[Array, ...]:
        ((w, a),) = self.filter.resolvents or ()
        Y, S, xp = seeds.block, self._system, self.backend.xp
        x = self.backend.spmm(self._matrix, Y).astype(self.graph.dtype).astype(np.float64)
        norm, bound = error_bound(S, b=w * Y, x=x, residual=w * Y - x + a * (S @ x), a=a)
        length = w * xp.sqrt(self.backend.column_dots(Y, Y))
        none = xp.zeros(Y.shape[1], dtype=bool)
        return x, length == 0, none, norm / xp.where(length > 0, length, 1.0), bound, none

    def shortlist(
        self, nodes: Ints, weights: Floats, k: int, *, scale: Floats | None = None, left_out: Ints | None = None
    ) -> Shortlist:
        """Return the k best nodes for seeds y = sum of weights[j] e_nodes[j], with certain bounds.

        The columns of the seeds are merged into an interval for each node they hold; where the k-th and the next
        overlap, the entries that are missing are looked up in the candidates' own columns (h(S) is symmetric), or
        bounded by their tails too.

        Parameters
        ----------
        nodes, weights : (m,)
            The seeds; weights > 0.
        k : int
        scale : (n,), optional
            Factors of the scores, such as degree^-p.
        left_out : (q,) int, optional
            Nodes that are no answer.

        Notes
        -----
        Cost: m T log m, and m T for each contested candidate; a fraction of a millisecond.
        """
        bounds = self._merged(nodes, weights)
        if left_out is not None:
            bounds = bounds.without(left_out)
        plain, bounds = bounds, bounds if scale is None else bounds.scaled(scale)
        cut = bounds.cut(k)
        if cut.outside <= cut.lower:
            return cut
        contested = bounds.contested(cut)
        if contested.size > _MOST_CONTESTED:
            return cut
        plain = plain.narrowed(contested, *self._looked_up(plain.nodes[contested], nodes, weights))
        return (plain if scale is None else plain.scaled(scale)).cut(k)

    def _merged(self, nodes: Ints, weights: Floats) -> Intervals:
        """Add the columns of the seeds: a node in some of them misses at most the tails of the others."""
        ids = self.ids[nodes].ravel()
        order = np.argsort(ids, kind="stable")  # runs that are sorted already: a merge
        ids = ids[order]
        starts = np.flatnonzero(np.diff(ids, prepend=ids[:1] + 1))
        entries = (self.values[nodes] * weights[:, None]).ravel()[order]
        width = self.ids.shape[1]
        sums = np.add.reduceat(entries, starts, dtype=np.float64) if ids.size else np.empty(0)
        covered = np.repeat(weights * self.tail[nodes], width)[order]
        known = np.add.reduceat(covered, starts) if ids.size else np.empty(0)
        error, tails = float(weights @ self.error[nodes]), float(weights @ self.tail[nodes])
        reachable = self._component_sizes[np.unique(self.graph.components[nodes])].sum()
        lower, upper = self._rounded(sums, sums)
        seen = sums > 0  # what is stored as 0 is bounded like what is not stored
        low, high = np.maximum(lower - error, 0), upper + error + np.maximum(tails - known, 0) + 1e-15 * tails
        unseen = 0.0 if seen.sum() == reachable else tails + error
        return Intervals(ids[starts][seen].astype(np.int64), low[seen], high[seen], unseen=unseen)

    def _looked_up(self, candidates: Ints, nodes: Ints, weights: Floats) -> tuple[Floats, Floats]:
        """Return bounds on the scores of candidates, each entry sought in the seed's column, then in its own."""
        own_ids, own_values = self.ids[candidates], self.values[candidates]
        own_tail, own_error = self.tail[candidates], self.error[candidates]
        lower, upper = np.zeros(candidates.size), np.zeros(candidates.size)
        for node, weight in zip(nodes, weights, strict=True):
            at = np.minimum(np.searchsorted(self.ids[node], candidates), self.ids.shape[1] - 1)
            stored = self.ids[node][at] == candidates
            here = own_ids == node
            value = np.where(stored, self.values[node][at], (own_values * here).sum(axis=1)).astype(np.float64)
            error = np.where(stored, self.error[node], own_error)
            low, high = self._rounded(value - error, value + error)
            missing = ~stored & ~here.any(axis=1)
            high = np.where(missing, own_tail, high)
            lower += weight * np.where(missing, 0.0, np.maximum(low, 0))
            upper += weight * np.where(stored, high, np.minimum(high, self.tail[node]))
        return lower * (1 - 1e-12), upper * (1 + 1e-12)

    def _rounded(self, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
        """Widen bounds by the rounding of stored values and of their sums."""
        u = 2 * rounding_unit(self.values.dtype)
        return np.asarray(lower * (1 - u), dtype=np.float64), upper.astype(np.float64) * (1 + u)
