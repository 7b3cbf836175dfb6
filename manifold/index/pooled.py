"""Stored columns of P h(S): what the seed of one region gives each image, cut to the largest.

    G_i = sum_j y_j (P K)_ij,   (P K)_ij = stored +- error_j, or within +- tail_j where not stored (>= 0 for P >= 0)

P h(S) is not symmetric: a missing entry cannot be looked up in another column, so bounds are wider than those of nodes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold._checks import check_callback
from manifold._typing import AnyArray, Floats, Ints
from manifold._weights import check_indices
from manifold.backends import Backend, get_backend, rounding_unit
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.index._intervals import SUMS, Intervals, LeftOut, Shortlist, merge_columns
from manifold.index._origin import check_origin
from manifold.index._saved import ARRAYS, look_through, restored
from manifold.index.stored import described
from manifold.solvers import Prepared, Solution, Solver, Status
from manifold.solvers.base import Callback
from manifold.solvers.system import check_seeds
from manifold.storage import Stored, save_arrays


@dataclass(frozen=True, eq=False, kw_only=True)
class PooledColumns(Prepared, Solver):
    """A built index of linearly pooled scores: certified shortlists of images from the seeds of their regions.

    Reference: Yang et al. (2019), section 3; Iscen et al. (2017), section 3.3.

    Attributes
    ----------
    pooling : csr_array (N, n)
        P, what was folded in.
    ids : (n, T) uint32
        Images of the stored entries of each region's column, ascending.
    values : (n, T) float
        Their entries of P h(S).
    tail : (n,) float64
        No entry of the column that is not stored exceeds it in magnitude.
    error : (n,) float64
        Bound on the error of a stored entry, beside the rounding of its dtype.
    """

    holds_columns: ClassVar[bool] = True
    is_pooled: ClassVar[bool] = True
    is_offline: ClassVar[bool] = True

    graph: Graph = field(kw_only=False)
    filter: Filter = field(kw_only=False)
    pooling: sparse.csr_array
    ids: NDArray[np.uint32]
    values: AnyArray
    tail: Floats
    error: Floats
    backend: Backend
    _unread: str | None = field(init=False, repr=False, default=None)  # its folder, until looked through

    def prepare(self, graph: Graph, filter: Filter, backend: Backend) -> PooledColumns:
        """Return the index itself, so that a built or loaded one can stand where a solver is asked for.

        Raises ValueError for another graph or filter than it was built for.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.index import DiffusionIndex
        >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).astype("float64")
        >>> ends = sparse.csr_array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])  # two images, the ends and the middle
        >>> index = DiffusionIndex(dtype="float64").build_pooled(path, ends, filter=Diffusion(0.5))
        >>> index.prepare(path, Diffusion(0.5), index.backend) is index
        True
        """
        check_origin(self, graph, filter)
        return self

    def check_pooling(self, pooling: sparse.csr_array) -> None:
        """Raise ValueError for another pooling than was folded in.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.index import DiffusionIndex
        >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).astype("float64")
        >>> ends = sparse.csr_array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])  # two images, the ends and the middle
        >>> index = DiffusionIndex(dtype="float64").build_pooled(path, ends, filter=Diffusion(0.5))
        >>> index.check_pooling(ends)
        >>> try:
        ...     index.check_pooling(2 * ends)
        ... except ValueError as error:
        ...     print(str(error)[:27])
        the index was built for oth
        """
        mine = self.pooling
        if mine.shape != pooling.shape or abs(mine - pooling).max() > 1e-9 * abs(mine).max():
            raise ValueError("the index was built for other owners or weights of its regions: build it anew")

    def save(self, path: str | PathLike[str]) -> Path:
        """Save the index with its graph and pooling as a folder; `manifold.load` gives it back, memory-mapped.

        Raises
        ------
        FileExistsError, OSError
            See `manifold.storage.save_arrays`.
        """
        arrays, parameters = self._described()
        return save_arrays(path, kind="pooled_index", arrays=arrays, parameters=parameters)

    def _described(self) -> tuple[dict[str, AnyArray], dict[str, object]]:
        arrays, parameters = described(self)
        return arrays | {f"pooling_{x}": getattr(self.pooling, x) for x in ("data", "indices", "indptr")}, parameters

    def described(self) -> tuple[dict[str, AnyArray], dict[str, object]]:
        """Return the arrays and parameters of the columns, to be saved."""
        return {name: getattr(self, name) for name in ARRAYS}, {}

    @classmethod
    def _from_stored(cls, stored: Stored) -> PooledColumns:
        """Take the columns as they are, the pooling checked: the others now where every byte was read, or as used."""
        parts = restored(stored)
        data, indices, indptr = (np.asarray(stored.arrays[f"pooling_{name}"]) for name in ("data", "indices", "indptr"))
        n_images, n = indptr.size - 1, parts["graph"].n_nodes
        pooling = sparse.csr_array((data, indices, indptr), shape=(n_images, n))
        check_indices(pooling)
        if not np.isfinite(data).all():
            raise ValueError("weights of the pooling must be finite")
        index = cls(pooling=pooling, backend=get_backend("scipy"), **parts)
        object.__setattr__(index, "_unread", stored.path)
        if stored.verified:
            index.look_through()
        return index

    def look_through(self, nodes: Ints | None = None) -> None:
        """Raise CorruptFileError for columns of a mapped index, all without `nodes`, that no build has stored."""
        look_through(self, nodes)

    @property
    def n_targets(self) -> int:
        """Number of images, which a column may name."""
        return int(self.pooling.shape[0])

    @property
    def nbytes(self) -> int:
        """Bytes of the index, graph and pooling left out.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.index import DiffusionIndex
        >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).astype("float64")
        >>> ends = sparse.csr_array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])  # two images, the ends and the middle
        >>> index = DiffusionIndex(dtype="float64").build_pooled(path, ends, filter=Diffusion(0.5))
        >>> index.nbytes  # 3 columns of 2 ids and values, a tail and an error
        120
        """
        return int(sum(array.nbytes for array in (self.ids, self.values, self.tail, self.error)))

    @property
    def signed(self) -> bool:
        """Whether P has negative entries, so that scores may be negative; they are cut at 0 in lists.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.index import DiffusionIndex
        >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).astype("float64")
        >>> ends = sparse.csr_array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])  # two images, the ends and the middle
        >>> index = DiffusionIndex(dtype="float64").build_pooled(path, ends, filter=Diffusion(0.5))
        >>> index.signed
        False
        """
        return bool((self.pooling.data < 0).any())

    def held(self, nodes: Ints) -> tuple[AnyArray, AnyArray, Floats, Floats]:
        """Return ids, values, tails and errors of some columns.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.index import DiffusionIndex
        >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).astype("float64")
        >>> ends = sparse.csr_array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])  # two images, the ends and the middle
        >>> index = DiffusionIndex(dtype="float64").build_pooled(path, ends, filter=Diffusion(0.5))
        >>> index.held(np.array([0]))[1].round(6).tolist()  # 7 + 1 and 2 sqrt(2) twelfths
        [[0.666667, 0.235702]]
        """
        self.look_through(nodes)
        return self.ids[nodes], self.values[nodes], self.tail[nodes], self.error[nodes]

    @np.errstate(under="ignore")  # far below the doubt about what is stored
    def shortlist(self, nodes: Ints, weights: Floats, k: int, *, left_out: LeftOut | None = None) -> Shortlist:
        """Return the k best images for the seeds y = sum of weights[j] e_nodes[j], with certain bounds.

        Parameters
        ----------
        nodes, weights : (m,)
            The seeds, regions; weights > 0.
        k : int
        left_out : LeftOut, optional
            Images that are no answer.

        Notes
        -----
        Cost: m T log m.

        Examples
        --------
        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.index import DiffusionIndex
        >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).astype("float64")
        >>> ends = sparse.csr_array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])  # two images, the ends and the middle
        >>> index = DiffusionIndex(dtype="float64").build_pooled(path, ends, filter=Diffusion(0.5))
        >>> best = index.shortlist(np.array([1]), np.array([1.0]), 1)
        >>> best.rows.tolist(), best.scores.round(6).tolist(), best.lower > best.outside
        ([1], [0.666667], True)
        """
        ids, values, tail, error = self.held(nodes)
        merged = merge_columns(ids, values, weights, tail=tail, error=error)
        size = merged.sums
        if self.signed:  # rounding is relative to what was added, not to what is left of it
            size = merge_columns(ids, np.abs(values), weights, tail=tail, error=error).sums
        doubt = merged.error + (2 * rounding_unit(self.values.dtype) + SUMS) * size
        lower = merged.sums - doubt - (merged.missing if self.signed else 0)
        upper = merged.sums + doubt + merged.missing
        seen = merged.sums > 0  # no better than what is not stored
        unseen = max(merged.tails + merged.error, float(upper[~seen].max(initial=0.0)))
        found = Intervals(merged.nodes[seen], np.maximum(lower[seen], 0), upper[seen], unseen=unseen)
        return found.without(left_out).cut(k)

    def solve(self, seeds: object, *, x0: object = None, callback: Callback | None = None) -> Solution:
        """Return the scores (N, q) of images from the stored entries; `x0` and `callback` are not used.

        >>> from manifold import Diffusion, graph_from_affinity
        >>> from manifold.index import DiffusionIndex
        >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).astype("float64")
        >>> ends = sparse.csr_array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])  # two images, the ends and the middle
        >>> index = DiffusionIndex(dtype="float64").build_pooled(path, ends, filter=Diffusion(0.5))
        >>> index.solve([1.0, 0.0, 0.0]).scores.round(6).tolist()
        [0.666667, 0.235702]
        """
        check_callback(callback)
        self.look_through()
        Y, single = check_seeds(seeds, self.graph.n_nodes)
        Y = sparse.csc_array(Y, dtype=np.float64, copy=True)
        columns = np.repeat(np.arange(Y.shape[1]), np.diff(Y.indptr))
        finite, zero = np.ones(Y.shape[1], dtype=bool), np.ones(Y.shape[1], dtype=bool)
        finite[columns[~np.isfinite(Y.data)]] = False
        zero[columns[Y.data != 0]] = False
        Y.data[~finite[columns]] = 0
        n, width = self.ids.shape
        entries = (self.values.ravel().astype(np.float64), self.ids.ravel(), np.arange(0, n * width + 1, width))
        stored = sparse.csc_array(entries, shape=(self.pooling.shape[0], n))
        rounding = 2 * rounding_unit(self.values.dtype) + SUMS
        largest = np.abs(self.values).max(axis=1, initial=0).astype(np.float64)
        bound = abs(Y).T @ (self.tail + self.error + rounding * largest)
        none = np.zeros(Y.shape[1], dtype=np.int64)
        otherwise = Status.APPROXIMATE if self.tail.any() else Status.CONVERGED
        status = [
            Status.NONFINITE if not good else Status.CONVERGED if nothing else otherwise
            for good, nothing in zip(finite, zero, strict=True)
        ]
        scores = self.backend.asarray(np.where(finite, (stored @ Y).toarray(), np.nan))
        return Solution(
            scores=scores[:, 0] if single else scores,
            status=tuple(status),
            n_iter=none,
            residual=np.full(Y.shape[1], np.nan),  # of images there is no system to leave one
            error_bound=np.where(finite, bound, np.inf),
            solver="index",
        )
