"""A collection that changes: items join and leave a fitted search, which is then as if fitted to what is there.

In: features that join, or ids that leave. Out: the same search over another collection, whole at every moment.

The lists of neighbours are repaired where they are touched (`neighbors._update`), and all else is made of them as `fit`
makes it, which is quick beside a search for neighbours. The new state is built aside and takes the place of the old by
one assignment: what breaks off has changed nothing, and a search that runs meanwhile goes on with the old state.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from copy import copy
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from manifold._checks import check_features
from manifold._resources import require_memory
from manifold.backends import Backend, on_host
from manifold.graph import Graph
from manifold.index import DiffusionIndex, StoredColumns, updated_columns
from manifold.neighbors import Neighbors, PointSet, warn_of_awkward_points, with_points, without_points
from manifold.ranking._adaptation import Reach, one_sided_weight, soft_mutual_graph
from manifold.ranking._collection import Ids
from manifold.ranking._inputs import same_place
from manifold.solvers import Solver

_SWAP = threading.Lock()  # held while a state is compared and replaced

Method = TypeVar("Method", bound=Callable[..., Any])


def on_one_state(method: Method) -> Method:
    """Run a method on the state at the time of its call, whatever takes its place meanwhile."""

    @wraps(method)
    def on_a_copy(self: Any, *args: Any, **kwargs: Any) -> Any:
        return method(copy(self), *args, **kwargs)

    return cast(Method, on_a_copy)


class Dynamic:
    """What a search does when its collection changes."""

    solver: str | Solver
    _points: PointSet | None
    _neighbors: Neighbors | None
    _reach: Reach | None
    _scales: NDArray[np.float64] | None

    def add(self, X: Any, ids: Any = None) -> NDArray[Any]:
        """Let items join the collection.

        Parameters
        ----------
        X : (m, d) array-like
            Their features, where those of `fit` were.
        ids : (m,) integers or strings, optional
            Names that are not in the collection; by default the integers after the largest it ever held.

        Returns
        -------
        (m,) array
            The ids of the new items; their rows follow those that are there.

        Raises
        ------
        TypeError, ValueError, MemoryBudgetError
            As `fit` does; for ids of another kind, that repeat or are taken; and for a search without features or
            fitted with ``graph=``, whose neighbours are not known. The object is unchanged then, as it is after an
            interrupt.

        Notes
        -----
        The search is then that of a `fit` to all items, in the order of their rows: the same graph and the same
        answers to the bit, where neighbours were searched for exactly. What an approximate method found stays as it is,
        and what joins is searched for exactly. A setting that was tuned is kept. Columns of an index hold, see
        `manifold.index.updated_columns`: those of touched nodes are solved, and some of the others, whose bounds have
        become wide, when a query first starts from them.

        Cost: two products of X with the collection, and one copy of features, lists and graph, into memory even where
        they were mapped from a file: add many at a time.
        Searches go on meanwhile, on the collection as it was; of changes at once each follows the one before.

        Examples
        --------
        >>> from manifold import ManifoldSearch
        >>> search = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
        >>> search.add([[0.1, 0.9]]).tolist()
        [3]
        >>> search.search([0.0, 1.0], k=2).ids.tolist()
        [2, 3]
        """
        names: NDArray[Any] = self._change(lambda changed: changed._join(X, ids))
        return names

    def remove(self, ids: Any) -> None:
        """Let items leave the collection; the others keep their ids, and their rows close up in order.

        Parameters
        ----------
        ids : (m,) or one id
            Items of the collection, none of them twice; it may be all of them.

        Raises
        ------
        TypeError, ValueError
            For ids that are not in the collection or repeat; and as for `add`.

        Notes
        -----
        As for `add`. Cost: a search for the neighbours of each item that had too many of those that leave, at first
        some `n_neighbors` for each; those then get some in reserve.

        Examples
        --------
        >>> from manifold import ManifoldSearch
        >>> search = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], ids=["a", "b", "c"])
        >>> search.remove("b")
        >>> search.search([1.0, 0.1], k=2).ids.tolist()
        ['a', 'c']
        """
        self._change(lambda changed: changed._leave(ids))

    def _change(self, work: Callable[[Any], Any]) -> Any:
        """Do some work on a copy and put it in the place of the state it began with; begin anew where that is gone."""
        while True:
            before: Any = vars(self)
            changed: Any = copy(self)
            changed._require_fit()
            if changed._points is None or changed._neighbors is None:
                missing = "without X" if changed._points is None else "with graph=, whose neighbours are not known"
                raise ValueError(f"this search was fitted {missing}: only fit(X) makes a collection that can change")
            result = work(changed)
            if self._become(changed, where=before):
                return result

    def _become(self, changed: Any, *, where: Any = None) -> bool:
        """Take the state of another search; unless this one has got another than `where`, where that is given."""
        with _SWAP:
            unchanged = where is None or vars(self) is where
            if unchanged:
                self.__dict__ = vars(changed)
            return unchanged

    def _join(self: Any, X: Any, ids: Any) -> NDArray[Any]:
        """Take new items in."""
        backend, old = self._ranker.backend, self._points.X
        X = check_features(on_host(same_place(X, self._home, "X"), backend))
        if X.shape[1] != old.shape[1]:
            raise ValueError(f"X has {X.shape[1]} features, but the collection has {old.shape[1]}")
        names = self._ids.with_more(ids, X.shape[0])
        n, m = old.shape[0], X.shape[0]
        require_memory(2 * 4 * (old.size + X.size), purpose=f"adding {m} items to {n}", cure="fit anew")
        points = PointSet(np.concatenate([old, X]), self.affinity.metric)
        neighbors = with_points(self._neighbors, points, k=self._width, backend=backend)
        rows = np.append(np.arange(n), np.full(m, -1))
        self._take_collection(points, names, neighbors, rows=rows, backend=backend)
        warn_of_awkward_points(points, self._lists(neighbors), first=n)
        added: NDArray[Any] = names.values[n:]
        return added

    def _leave(self: Any, ids: Any) -> None:
        """Let items go."""
        gone = np.atleast_1d(self._ids.rows(ids))
        if (gone < 0).any() or np.unique(gone).size != gone.size:
            raise ValueError("ids must name each item that leaves once, and not the missing marker")
        backend, old = self._ranker.backend, self._points.X
        kept = np.setdiff1d(np.arange(old.shape[0]), gone)
        require_memory(2 * 4 * kept.size * old.shape[1], purpose=f"keeping {kept.size} items", cure="fit anew")
        points = PointSet(old[kept], self.affinity.metric)
        neighbors = without_points(self._neighbors, kept, points, k=self._width, backend=backend)
        self._take_collection(points, self._ids.only(kept), neighbors, rows=kept, backend=backend)

    def _take_collection(
        self: Any, points: PointSet, names: Ids, neighbors: Neighbors, *, rows: NDArray[np.int64], backend: Backend
    ) -> None:
        """Make all of the lists that `fit` makes of them; `rows` says which row of before each item had, or -1."""
        columns = self._ranker.prepared
        self._points, self._ids, self.ids_ = points, names, names.values
        self.graph_ = self._take_neighbors(neighbors)
        if not isinstance(columns, StoredColumns):
            self._prepare(self.graph_, backend)
            return
        settings = self.solver if isinstance(self.solver, DiffusionIndex) else None
        columns = updated_columns(columns, self.graph_, rows, settings=settings)
        self._prepare(self.graph_, backend, prepared=columns)
        if settings is None:
            self.solver = columns

    def _take_neighbors(self: Any, neighbors: Neighbors) -> Graph:
        """Return the graph of these lists, and take what else is read off them."""
        lists = self._lists(neighbors)
        nearest, given = lists.first(self.n_neighbors), 0.0 if self.adaptation is None else self.adaptation.one_sided
        self._one_sided = one_sided_weight(nearest) if given is None else given
        self._neighbors, self._reach = neighbors, Reach.of(lists, self.n_neighbors)
        self._scales = self.affinity.scales(nearest.similarities)
        rule: dict[str, Any] = {"edges": self.edges, "bridge": self.bridge, "one_sided": self._one_sided}
        return soft_mutual_graph(nearest, affinity=self.affinity, **rule)

    @property
    def _width(self: Any) -> int:
        """Neighbours of each point that are looked at."""
        return int(self.n_neighbors * (1 if self.adaptation is None else 2))

    def _lists(self, neighbors: Neighbors) -> Neighbors:
        """Return the lists without their reserve."""
        return neighbors.first(min(self._width, max(neighbors.n_nodes - 1, 0)))
