"""Stored columns that are solved when a query first asks for them, with those near them, and kept up to a bound.

In: a graph and a filter, at no cost; seeds, online. Out: what `StoredColumns` answers, to the bit whatever was asked
before: a group is solved as a whole, and the groups are those of the graph.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from scipy import sparse

from manifold._checks import check_count
from manifold._typing import AnyArray, Floats, Ints, Mask
from manifold.backends import Array, Backend, get_backend
from manifold.filters import Diffusion, Filter
from manifold.graph import Graph
from manifold.index._intervals import LeftOut, Shortlist
from manifold.index._saved import ARRAYS, DTYPES, check_columns
from manifold.index.stored import StoredColumns
from manifold.solvers import Local
from manifold.solvers.local import PreparedLocal
from manifold.solvers.proved import ProvedLists
from manifold.storage import Stored

if TYPE_CHECKING:
    from manifold.index._local_columns import LocalColumns

_FEW = 16  # contested candidates whose own columns are worth solving

Columns = dict[str, AnyArray]  # of one group: ids, values, tail, error


class _Groups:
    """Groups of columns that were asked for last, so many columns at most; safe to be asked by several threads."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, Lock()
        self._kept: OrderedDict[int, Columns] = OrderedDict()
        self._size = 0

    def __reduce__(self) -> tuple[object, ...]:
        return _Groups._of, (self._most, dict(self.items()))

    @classmethod
    def _of(cls, most: int, kept: dict[int, Columns]) -> Self:
        groups = cls(most)
        for group, columns in kept.items():
            groups.put(group, columns)
        return groups

    def get(self, group: int) -> Columns | None:
        with self._lock:
            found = self._kept.get(group)
            if found is not None:
                self._kept.move_to_end(group)
            return found

    def put(self, group: int, columns: Columns) -> None:
        with self._lock:
            if group in self._kept:  # another thread has solved it meanwhile: the same bits
                return
            self._kept[group] = columns
            self._size += columns["tail"].size
            while self._size > self._most and len(self._kept) > 1:
                self._size -= self._kept.popitem(last=False)[1]["tail"].size

    def items(self) -> list[tuple[int, Columns]]:
        with self._lock:
            return list(self._kept.items())


@dataclass(frozen=True, eq=False, kw_only=True)
class LazyColumns(StoredColumns):
    """An index that is filled by what is asked: columns of seeds, solved around them and kept.

    Reference: Yang et al. (2019), section 3; guide *certificates*.

    Attributes
    ----------
    n_entries, rtol
        See `DiffusionIndex`.
    n_kept : int
        Columns that are kept at most, those that were asked for last.
    order : (n,) int, optional
        Nodes, each 16 in a row a group; by default as the graph has them.
    ids, values, tail, error
        Of none: ask `held`.

    Examples
    --------
    >>> from manifold import Diffusion, DiffusionIndex, graph_from_affinity
    >>> path = graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    >>> index = DiffusionIndex(n_entries=2, solver="local", lazy=True).build(path, filter=Diffusion(0.5))
    >>> index.n_solved, index.shortlist(np.array([0]), np.array([12.0]), 2).rows.tolist(), index.n_solved
    (0, [0, 1], 3)
    """

    kind: ClassVar[str] = "lazy_index"

    n_entries: int
    rtol: float
    n_kept: int
    order: Ints | None = None
    solver: str = "local"
    _groups: _Groups = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_groups", _Groups(self.n_kept))

    @classmethod
    def of(
        cls, graph: Graph, filter: Filter, *, n_entries: int, dtype: str, rtol: float, n_kept: int, backend: Backend
    ) -> Self:
        """Return an index of which nothing is solved yet."""
        none = np.empty((0, min(n_entries, graph.n_nodes)))
        return cls(
            graph,
            filter,
            ids=none.astype(np.uint32),
            values=none.astype(dtype),
            tail=np.empty(0),
            error=np.empty(0),
            backend=backend,
            n_entries=n_entries,
            rtol=rtol,
            n_kept=n_kept,
        )

    @cached_property
    def _local(self) -> LocalColumns:
        from manifold.index._local_columns import LocalColumns  # loads the compiler

        return LocalColumns(self.graph, self.filter, n_entries=self.n_entries, rtol=self.rtol, order=self.order)

    @property
    def _width(self) -> int:
        return self._local.width

    @property
    def _nodes(self) -> Ints:
        return self._local.order if self.order is None else self.order

    @cached_property
    def _place(self) -> Ints:
        place = np.empty_like(self._nodes)
        place[self._nodes] = np.arange(place.size)
        return place

    def _group(self, group: int) -> Columns:
        found = self._groups.get(group)
        if found is None:
            nodes = self._nodes[group * self._width : (group + 1) * self._width]
            solved = self._local.solve(nodes, dtype=self.values.dtype)
            with np.errstate(under="ignore"):  # `error` counts what is rounded to 0
                found = {name: solved[name].astype(getattr(self, name).dtype) for name in ARRAYS}
            self._groups.put(group, found)
        return found

    @property
    def n_solved(self) -> int:
        """How many columns are kept by now."""
        return sum(columns["tail"].size for _, columns in self._groups.items())

    @property
    def nbytes(self) -> int:
        """Bytes of the columns that are kept."""
        return sum(array.nbytes for _, columns in self._groups.items() for array in columns.values())

    def held(self, nodes: Ints) -> tuple[AnyArray, AnyArray, Floats, Floats]:
        """Return ids, values, tails and errors of some columns, solved where they are not kept."""
        places = self._place[nodes]
        groups = {int(group): self._group(int(group)) for group in np.unique(places // self._width)}
        rows = [(groups[place // self._width], place % self._width) for place in places.tolist()]
        parts = [np.array([columns[name][row] for columns, row in rows]) for name in ARRAYS]
        ids, values, tail, error = (
            part.reshape(nodes.size, *getattr(self, name).shape[1:]).astype(getattr(self, name).dtype, copy=False)
            for part, name in zip(parts, ARRAYS, strict=True)
        )
        return ids, values, tail, error

    def own(self, nodes: Ints) -> tuple[AnyArray, AnyArray, Floats, Floats]:
        """Return what `held` does."""
        return self.held(nodes)

    def is_stale(self, nodes: Ints) -> Mask:
        """Whether columns hold only less sharply than they could: none does."""
        return np.zeros(nodes.size, dtype=bool)

    def first(self, n_entries: int) -> LazyColumns:
        """Return an index of fewer entries a column, of which nothing is solved yet."""
        k = min(check_count(n_entries, "n_entries"), self.ids.shape[1])
        if k == self.ids.shape[1]:
            return self
        return replace(self, n_entries=k, order=self._nodes, ids=self.ids[:, :k], values=self.values[:, :k])

    def on(self, graph: Graph) -> LazyColumns:
        """Return the index of another graph, of which nothing is solved yet.

        >>> from manifold import Diffusion, DiffusionIndex, graph_from_affinity
        >>> pair, path = graph_from_affinity([[0, 1], [1, 0]]), graph_from_affinity([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
        >>> index = DiffusionIndex(dtype="float64", solver="local", lazy=True).build(pair, filter=Diffusion(0.5))
        >>> index.on(path).held(np.array([2]))[1].round(4).tolist()
        [[0.0833, 0.2357, 0.5833]]
        """
        return LazyColumns.of(
            graph,
            self.filter,
            n_entries=self.n_entries,
            dtype=str(self.values.dtype),
            rtol=self.rtol,
            n_kept=self.n_kept,
            backend=self.backend,
        )

    def shortlist(
        self, nodes: Ints, weights: Floats, k: int, *, scale: Floats | None = None, left_out: LeftOut | None = None
    ) -> Shortlist:
        """Return the k best nodes for seeds, with certain bounds: see `StoredColumns.shortlist`.

        The own columns of candidates are looked at where at most 16 are contested, for they are solved, too.
        """
        with np.errstate(under="ignore"):
            bounds = self._merged(nodes, weights).without(left_out)
            bounds = bounds if scale is None else bounds.scaled(scale)
            contested = bounds.contested(bounds.cut(k))
            if contested.size > _FEW:
                return bounds.cut(k)
            return bounds.settled(k, lambda some: self._look(some, nodes, weights, steps=0), scale=scale)

    def proved(
        self,
        nodes: Ints,
        weights: Floats,
        *,
        k: int,
        slack: float = 0.0,
        scale: Floats | None = None,
        left_out: LeftOut | None = None,
    ) -> Shortlist:
        """Return the k best nodes by a local solve of the query: see `manifold.index.refine`."""
        lists, out = self._lists(scale), LeftOut() if left_out is None else left_out
        lists = lists if out.allowed is None else lists.only(out.allowed)
        found = lists.best(nodes, weights, k, slack=slack, left_out=out.nodes)
        return Shortlist(found.rows, found.scores, found.lower, found.outside)

    def _lists(self, scale: Floats | None) -> ProvedLists:
        """Return what proves lists, made once for one scale: a search has one."""
        last = self._scaled.get("last")
        if last is None or last[0] is not scale:
            self._scaled["last"] = last = scale, self._prepared.lists(scale)
        return last[1]

    @cached_property
    def _scaled(self) -> dict[str, tuple[Floats | None, ProvedLists]]:
        return {}

    @cached_property
    def _prepared(self) -> PreparedLocal:
        return Local().prepare(self.graph, self.filter, self.backend)

    def _times(self, Y: Array) -> Array:
        """Return the stored columns times rows (n, q): those of the nodes where Y is not 0."""
        rows = self.backend.to_host(Y)
        nodes = np.flatnonzero((rows != 0).any(axis=1))
        ids, values, _, _ = self.held(nodes)
        indptr = np.arange(0, ids.size + 1, max(ids.shape[1], 1))
        entries = (values.ravel().astype(np.float64), ids.ravel().astype(np.int64), indptr)
        columns = sparse.csc_array(entries, shape=(self.graph.n_nodes, nodes.size))
        return self.backend.asarray(columns @ rows[nodes].astype(np.float64))

    def described(self) -> tuple[dict[str, AnyArray], dict[str, object]]:
        """Return the arrays and parameters of what is kept, to be saved."""
        kept = self._groups.items()
        arrays = {
            name: np.concatenate([getattr(self, name), *(columns[name] for _, columns in kept)]) for name in ARRAYS
        }
        arrays |= {"order": self._nodes, "groups": np.array([group for group, _ in kept], dtype=np.int64)}
        return arrays, {"lazy": [self.n_entries, self.rtol, self.n_kept]}

    @classmethod
    def _from_stored(cls, stored: Stored) -> LazyColumns:
        """Take an index with the columns that were kept, looked through; raise ValueError for what none has saved."""
        graph, (n_entries, rtol, n_kept) = Graph._from_stored(stored), stored.parameters["lazy"]
        ids, values, tail, error = (np.asarray(stored.arrays[name]) for name in ARRAYS)
        order, groups = (np.asarray(stored.arrays[name]) for name in ("order", "groups"))
        n = graph.n_nodes
        if ids.dtype != np.uint32 or str(values.dtype) not in DTYPES or not tail.dtype == error.dtype == np.float64:
            raise ValueError(f"arrays of an index have the dtypes {ids.dtype}, {values.dtype}, {tail.dtype}")
        if order.shape != (n,) or order.dtype != np.int64 or not np.array_equal(np.sort(order), np.arange(n)):
            raise ValueError(f"order must name each of {n} nodes once, got {order.dtype} {order.shape}")
        index = cls.of(
            graph,
            Diffusion(stored.parameters["alpha"]),
            n_entries=check_count(n_entries, "n_entries"),
            dtype=str(values.dtype),
            rtol=float(rtol),
            n_kept=check_count(n_kept, "n_kept"),
            backend=get_backend("scipy"),
        )
        index = replace(index, order=order)
        starts = index._local.width * groups
        sizes = np.minimum(n - starts, index._local.width)
        if np.unique(groups).size != groups.size or (groups < 0).any() or (sizes <= 0).any():
            raise ValueError("groups of columns must be distinct, and of nodes")
        m, k = int(sizes.sum()), index.ids.shape[1]
        if ids.shape != (m, k) or values.shape != (m, k) or tail.shape != (m,) or error.shape != (m,):
            raise ValueError(f"arrays of {m} columns have the shapes {ids.shape}, {values.shape}, {tail.shape}")
        check_columns(ids, values, tail=tail, error=error, below=n, signed=False)
        for group, stop in zip(groups.tolist(), np.cumsum(sizes).tolist(), strict=True):
            part = slice(stop - int(sizes[groups == group][0]), stop)
            columns = {"ids": ids[part], "values": values[part], "tail": tail[part], "error": error[part]}
            index._groups.put(group, columns)
        return index
