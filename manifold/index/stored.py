"""A built index: stored columns in, certified shortlists and solutions out."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from os import PathLike
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold._checks import check_count
from manifold._typing import AnyArray, Floats, Ints, Mask
from manifold.backends import Array, Backend, SparseMatrix, get_backend, rounding_unit
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.index import _residual_bound
from manifold.index._intervals import SUMS, Intervals, LeftOut, Shortlist, merge_columns
from manifold.index._origin import Built, check_origin
from manifold.index._renewal import Renewal, renewal
from manifold.index._saved import ARRAYS, look_through, restored
from manifold.index.entries import TINY, entry_bounds
from manifold.solvers import Prepared, Solution, Solver, Status
from manifold.solvers.base import Callback
from manifold.solvers.system import NormalizedAffinity, Seeds, error_bound, solve_in_blocks
from manifold.storage import Stored, save_arrays

_STEPS = 3  # away from a contested candidate: neighbours of neighbours of neighbours


@dataclass(frozen=True, eq=False, kw_only=True)
class StoredColumns(Prepared, Solver):
    """A built index: a prepared solver, and certified shortlists in time that does not grow with the graph.

    Reference: Yang et al. (2019), section 3; guide *certificates*.

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
    stale : (n,) bool, optional
        Columns that a change of the graph has left with wide bounds, see `updated_columns`; `renew` solves them again.
    solver : {"cg", "local"}
        By which they were, and are, solved.
    """

    holds_columns: ClassVar[bool] = True
    is_offline: ClassVar[bool] = True
    kind: ClassVar[str] = "index"  # of its folder

    graph: Graph = field(kw_only=False)
    filter: Filter = field(kw_only=False)
    ids: NDArray[np.uint32]
    values: AnyArray
    tail: Floats
    error: Floats
    backend: Backend
    stale: Mask | None = None
    solver: str = "cg"
    _unread: str | None = field(init=False, repr=False, default=None)  # its folder, until looked through
    _renewed: dict[int, tuple[AnyArray, ...]] = field(init=False, repr=False, default_factory=dict)

    def __getstate__(self) -> dict[str, object]:
        """Leave out what follows from the columns: it is found again where it is asked for."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    def prepare(self, graph: Graph, filter: Filter, backend: Backend) -> StoredColumns:
        """Return the index itself, so that a built or loaded one can stand where a solver is asked for.

        Raises ValueError for another graph or filter than it was built for.
        """
        check_origin(self, graph, filter)
        return self

    def save(self, path: str | PathLike[str]) -> Path:
        """Save the index with its graph as a folder; `manifold.load` gives it back, memory-mapped.

        Raises
        ------
        FileExistsError, OSError
            See `manifold.storage.save_arrays`.
        """
        arrays, parameters = described(self)
        return save_arrays(path, kind=self.kind, arrays=arrays, parameters=parameters)

    @classmethod
    def _from_stored(cls, stored: Stored) -> StoredColumns:
        """Take the columns as they are: looked through now where every byte was read, or else as they are used."""
        parts = restored(stored)
        stale = np.asarray(stored.arrays["stale"]) if "stale" in stored.arrays else None
        if stale is not None and stale.shape != parts["tail"].shape:
            raise ValueError(f"stale must be one flag a column, got shape {stale.shape}")
        if stale is not None and stale.dtype != bool:  # of format 1
            stale = stale != 0
        solver = stored.parameters.get("solver", "cg")
        if solver not in ("cg", "local"):
            raise ValueError(f"columns are solved by cg or local, got {solver!r}")
        index = cls(backend=get_backend("scipy"), stale=stale, solver=solver, **parts)
        object.__setattr__(index, "_unread", stored.path)
        if stored.verified:
            index.look_through()
        return index

    def look_through(self, nodes: Ints | None = None) -> None:
        """Raise CorruptFileError for columns of a mapped index, all without `nodes`, that no build has stored."""
        look_through(self, nodes)

    def first(self, n_entries: int) -> StoredColumns:
        """Return the index cut to its largest entries: one build serves every smaller one.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.index import DiffusionIndex
        >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).astype("float64")
        >>> index = DiffusionIndex(n_entries=3, dtype="float64").build(path, filter=Diffusion(0.5))
        >>> shorter = index.first(2)
        >>> shorter.ids[0].tolist(), shorter.tail[0].round(6)
        ([0, 1], np.float64(0.083333))
        """
        n, width = self.ids.shape
        k = min(check_count(n_entries, "n_entries"), width)
        if k == width:
            return self
        self.look_through()
        order = np.argsort(-self.values, axis=1, kind="stable")
        rest = self.rounded(np.zeros(n), np.take_along_axis(self.values, order[:, k : k + 1], axis=1)[:, 0])[1]
        sizes = self._component_sizes[self.graph.components]
        kept = np.sort(order[:, :k], axis=1)
        return replace(
            self,
            ids=np.take_along_axis(self.ids, kept, axis=1),
            values=np.take_along_axis(self.values, kept, axis=1),
            tail=np.where((sizes <= k) & (self.tail == 0), 0.0, np.maximum(rest + self.error, self.tail)),
        )

    def held(self, nodes: Ints) -> tuple[AnyArray, AnyArray, Floats, Floats]:
        """Return ids, values, tails and errors of some columns, as they were renewed where they were.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.index import DiffusionIndex
        >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).astype("float64")
        >>> index = DiffusionIndex(n_entries=2, dtype="float64").build(path, filter=Diffusion(0.5))
        >>> ids, values, tail, error = index.held(np.array([2]))
        >>> ids.tolist(), values.round(6).tolist()
        ([[1, 2]], [[0.235702, 0.583333]])
        """
        self.look_through(nodes)
        found = self.ids[nodes], self.values[nodes], self.tail[nodes], self.error[nodes]
        arrays: tuple[AnyArray, ...] = found
        if self._renewed:
            for place, node in enumerate(nodes.tolist()):
                for array, renewed in zip(arrays, self._renewed.get(node, ()), strict=False):
                    array[place] = renewed
        return found

    def own(self, nodes: Ints) -> tuple[AnyArray, AnyArray, Floats, Floats]:
        """Return ids, values, tails and errors of some columns as they were built, whatever was renewed since."""
        self.look_through(nodes)
        return self.ids[nodes], self.values[nodes], self.tail[nodes], self.error[nodes]

    def is_stale(self, nodes: Ints) -> Mask:
        """Whether columns are stale and have not been renewed."""
        if self.stale is None:
            return np.zeros(nodes.size, dtype=bool)
        return np.logical_and(self.stale[nodes], ~np.isin(nodes, list(self._renewed)))

    def renew(self, nodes: Ints) -> None:
        """Solve those of some columns again that are stale.

        Each by itself and once, so that answers depend neither on what was asked before nor on what is asked with it.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.index import DiffusionIndex
        >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).astype("float64")
        >>> index = DiffusionIndex(n_entries=2, dtype="float64").build(path, filter=Diffusion(0.5))
        >>> worn = replace(index, values=0 * index.values, stale=np.ones(3, bool))
        >>> worn.renew(np.array([0]))
        >>> worn.held(np.array([0, 1]))[1].round(6).tolist()
        [[0.583333, 0.235702], [0.0, 0.0]]
        """
        for node in np.unique(nodes[self.is_stale(nodes)]):
            parts = self._renewal(np.array([node]))
            with np.errstate(under="ignore"):  # `error` counts what is rounded to 0
                whole = tuple(parts[name][0].astype(getattr(self, name).dtype) for name in ARRAYS)
            self._renewed[int(node)] = whole  # at once, so that no other thread meets a part of it

    def described(self) -> tuple[dict[str, AnyArray], dict[str, object]]:
        """Return the arrays and parameters of the columns, to be saved."""
        arrays: dict[str, AnyArray] = {name: getattr(self, name) for name in ARRAYS}
        how: dict[str, object] = {} if self.solver == "cg" else {"solver": self.solver}
        return arrays | ({} if self.stale is None else {"stale": self.stale}), how

    @property
    def n_targets(self) -> int:
        """Number of nodes, which a column may name."""
        return self.graph.n_nodes

    @cached_property
    def _renewal(self) -> Renewal:
        return renewal(self.graph, self.filter, self.backend, values=self.values, solver=self.solver)

    @property
    def nbytes(self) -> int:
        """Bytes of the index, the graph left out."""
        return int(sum(array.nbytes for array in (self.ids, self.values, self.tail, self.error)))

    @cached_property
    def _matrix(self) -> SparseMatrix:
        self.look_through()
        n, k = self.ids.shape
        indptr = np.arange(0, n * k + 1, k) if k else np.zeros(n + 1, dtype=np.int64)
        columns = (self.values.ravel().astype(np.float64), self.ids.ravel().astype(np.int64), indptr)
        matrix = sparse.csc_array(columns, shape=(n, n))
        return self.backend.csr(sparse.csr_array(matrix), dtype=np.float64)

    @cached_property
    def _component_sizes(self) -> Ints:
        return np.bincount(self.graph.components)

    @cached_property
    def system(self) -> NormalizedAffinity:
        """S in float64."""
        return NormalizedAffinity(self.graph, self.backend, np.float64)

    @cached_property
    def roots(self) -> Floats:
        """The square root v of each degree, 1 for an isolated node: K v <= v, with equality beside isolated nodes.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.index import DiffusionIndex
        >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).astype("float64")
        >>> index = DiffusionIndex(n_entries=2, dtype="float64").build(path, filter=Diffusion(0.5))
        >>> index.roots.round(6).tolist()
        [1.0, 1.414214, 1.0]
        """
        degrees = self.graph.degrees
        return np.asarray(np.where(degrees > 0, np.sqrt(degrees), 1.0))

    @cached_property
    def root_diagonal(self) -> Floats:
        """Bounds (n,) on sqrt(K_ii)."""
        self.look_through()
        return _residual_bound.root_diagonal(self)

    @cached_property
    def rest(self) -> Floats:
        """Bounds (n,) on the sum of K_ij v_j over the entries that a column does not hold."""
        self.look_through()
        return _residual_bound.rest(self)

    @cached_property
    def residual_bound(self) -> _residual_bound.ResidualBound:
        """How far a residual moves the scores: what a refinement works with."""
        return _residual_bound.ResidualBound.of(self)

    def solve(self, seeds: object, *, x0: object = None, callback: Callback | None = None) -> Solution:
        """Return F = h(S) seeds from the stored entries alone, for any seeds; `x0` and `callback` are not used.

        Cost: T numbers per non-zero of the seeds, and one product with S that certifies the answer.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.index import DiffusionIndex
        >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).astype("float64")
        >>> index = DiffusionIndex(n_entries=3, dtype="float64").build(path, filter=Diffusion(0.5))
        >>> index.solve([12.0, 0.0, 0.0]).scores.round(4).tolist()
        [7.0, 2.8284, 1.0]
        """
        self.look_through()
        exact = self.tail.size == self.graph.n_nodes and not self.tail.any()
        return solve_in_blocks(
            self.system,
            seeds,
            self._solve_block,
            solver="index",
            callback=callback,
            dtype=self.graph.dtype,
            otherwise=Status.CONVERGED if exact else Status.APPROXIMATE,
        )

    def _solve_block(
        self, seeds: Seeds, x0: Array | None, columns: Ints, callback: Callback | None
    ) -> tuple[Array, ...]:
        ((w, a),) = self.filter.resolvents or ()
        Y, S, xp = seeds.block, self.system, self.backend.xp
        # judged as it is returned, in the dtype of the graph
        x = S.inside(self._times(S.outside(Y))).astype(self.graph.dtype).astype(np.float64)
        norm, bound = error_bound(S, b=w * Y, x=x, residual=S.residual(w * Y, x, a), a=a)
        length = w * xp.sqrt(self.backend.column_dots(Y, Y))
        none = xp.zeros(Y.shape[1], dtype=bool)
        return x, length == 0, none, norm / xp.where(length > 0, length, 1.0), bound, none

    def _times(self, Y: Array) -> Array:
        """Return the stored columns times rows (n, q)."""
        return self.backend.spmm(self._matrix, Y)

    @np.errstate(under="ignore")  # `TINY` counts it
    def shortlist(
        self, nodes: Ints, weights: Floats, k: int, *, scale: Floats | None = None, left_out: LeftOut | None = None
    ) -> Shortlist:
        """Return the k best nodes for seeds y = sum of weights[j] e_nodes[j], with certain bounds.

        The columns of the seeds are merged into an interval for each node they hold; where the k-th and the next
        overlap, the entries that are missing are looked up in the candidates' own columns (h(S) is symmetric), or
        bounded by their tails too. Where few candidates stay undecided, those of their neighbours say more.

        Parameters
        ----------
        nodes, weights : (m,)
            The seeds; weights > 0.
        k : int
        scale : (n,), optional
            Factors of the scores, such as degree^-p.
        left_out : LeftOut, optional
            Nodes that are no answer.

        Notes
        -----
        Cost: m T log m, and m T for each contested candidate; a fraction of a millisecond. One step around at most 16
        candidates takes a millisecond, two and three around at most three some more.

        Examples
        --------
        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.index import DiffusionIndex
        >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).astype("float64")
        >>> index = DiffusionIndex(n_entries=2, dtype="float64").build(path, filter=Diffusion(0.5))
        >>> best = index.shortlist(np.array([0]), np.array([12.0]), 2)
        >>> best.rows.tolist(), best.scores.round(4).tolist(), round(best.outside, 4)
        ([0, 1], [7.0, 2.8284], 1.0)
        """
        bounds = self._merged(nodes, weights).without(left_out)
        bounds = bounds if scale is None else bounds.scaled(scale)
        looks = [partial(self._look, nodes=nodes, weights=weights, steps=steps) for steps in range(1 + _STEPS)]
        return bounds.settled(k, *looks, scale=scale)

    def estimate(self, nodes: Ints, weights: Floats) -> Floats:
        """Return the scores (n,) as far as the columns of the seeds hold them: a start for a solve.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.index import DiffusionIndex
        >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).astype("float64")
        >>> index = DiffusionIndex(n_entries=2, dtype="float64").build(path, filter=Diffusion(0.5))
        >>> index.estimate(np.array([0, 2]), np.array([12.0, 12.0])).round(4).tolist()  # less what is not stored, 1
        [7.0, 5.6569, 7.0]
        """
        ids, values, _, _ = self.held(nodes)
        entries = (values * weights[:, None]).ravel()
        total = np.bincount(ids.ravel(), weights=entries, minlength=self.graph.n_nodes)
        return np.asarray(total, dtype=np.float64)

    def _merged(self, nodes: Ints, weights: Floats) -> Intervals:
        """Add the columns of the seeds: a node in some of them misses at most the tails of the others."""
        ids, values, tail, error = self.held(nodes)
        merged = merge_columns(ids, values, weights, tail=tail, error=error)
        reachable = self._component_sizes[np.unique(self.graph.components[nodes])].sum()
        lower, upper = self.rounded(merged.sums, merged.sums)
        seen = merged.sums > 0  # what is stored as 0 is bounded like what is not stored
        low, high = np.maximum(lower - merged.error, 0), upper + merged.error + merged.missing
        # where all that the seeds can reach is listed, the others are exactly 0
        unseen = 0.0 if seen.sum() == reachable else merged.tails + merged.error
        return Intervals(merged.nodes[seen], low[seen], high[seen], unseen=unseen)

    def _look(self, candidates: Ints, nodes: Ints, weights: Floats, *, steps: int) -> tuple[Floats, Floats]:
        """Return bounds on the scores of candidates from bounds on each entry; see `entry_bounds`."""
        lower, upper = entry_bounds(self, candidates, nodes, steps=steps)
        low, high = lower @ weights * (1 - SUMS), upper @ weights * (1 + SUMS)
        return np.maximum(low - TINY, 0), high + TINY * (high > 0)  # what is exactly 0 stays so

    def rounded(self, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
        """Widen bounds by the rounding of stored values and of their sums.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.index import DiffusionIndex
        >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).astype("float64")
        >>> index = DiffusionIndex(n_entries=2, dtype="float64").build(path, filter=Diffusion(0.5))
        >>> low, high = index.rounded(np.ones(1), np.ones(1))
        >>> bool(low[0] < 1 < high[0]), high.round(9).tolist()
        (True, [1.0])
        """
        u = 2 * rounding_unit(self.values.dtype) + SUMS
        return np.asarray(lower * (1 - u), dtype=np.float64), upper.astype(np.float64) * (1 + u)


def described(index: Built) -> tuple[dict[str, AnyArray], dict[str, object]]:
    """Return the arrays and parameters of an index with its graph, to be saved."""
    ((_, alpha),) = index.filter.resolvents or ()
    arrays, parameters = index.graph._described()
    own, how = index.described()
    return {**arrays, **own}, {"alpha": alpha, **how, **parameters}
