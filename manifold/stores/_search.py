"""A store and a search along its manifold, as one: fit, search by the store's own filters, sync.

In: a `Store`, and queries. Out: rankings of what the store holds, with the snapshot that they are of.
"""

from __future__ import annotations

import threading
from copy import copy
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from manifold._arrays import as_array
from manifold._checks import check_can
from manifold._progress import Progress
from manifold._typing import AnyArray, Facts, Mask
from manifold.errors import NotFittedError
from manifold.ranking import ManifoldSearch, Ranking
from manifold.stores._base import Store, Vectors, Versioned
from manifold.stores._reported import reported
from manifold.stores._results import StoreRanking, behind
from manifold.stores._sync import Changes, Snapshot, difference, scanned


@dataclass(frozen=True, eq=False)
class _State:
    """What is swapped: a fitted search that is never changed, the name of its content, the version that was scanned."""

    held: ManifoldSearch
    snapshot: Snapshot
    version: object = None


class StoreSearch:
    """Search what a vector store holds along its manifold, by the store's own filters, in step with its writes.

    Reference: guide *stores*, "A store and a search as one".

    Parameters
    ----------
    store : Store
        `PgVector`, `Qdrant`, `QdrantEdge`, `LanceDB`, `Chroma`, `Arrays`, or anything with their three methods.
    search : ManifoldSearch, optional
        Its settings, of the store's metric; by default `ManifoldSearch(metric=store.metric)`. A fitted one, such as
        `manifold.load` gives back, is the snapshot to begin with.

    Raises
    ------
    ValueError
        For settings of another metric than the store's.

    Notes
    -----
    Between two calls of `sync` the graph is that of the snapshot: what was deleted since is never listed, what was
    written since comes behind the ranked items, see `search`.

    Examples
    --------
    >>> from manifold.stores import Arrays
    >>> store = Arrays(["a", "b", "c"], [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> service = StoreSearch(store, ManifoldSearch(n_neighbors=1)).fit()
    >>> service.search([0.0, 1.0], k=2, where=lambda name: name != "c").ids.tolist()
    ['b', 'a']
    """

    def __init__(self, store: Store, search: ManifoldSearch | None = None) -> None:
        check_can(store, "metric", "batches", "search", "keep", name="store", a="a store, such as Arrays(ids, X)")
        if search is not None:
            check_can(search, "affinity", name="search", a="a ManifoldSearch")
        self.store = store
        self.settings = ManifoldSearch(metric=store.metric) if search is None else search
        metric = self.settings.affinity.metric
        if metric != store.metric:
            raise ValueError(f"search compares by {metric!r} but the store by {store.metric!r}: pass metric= to match")
        self._turn = threading.Lock()  # of what makes a new state; searches never wait for it
        self._state = None if not len(self.settings) else _state(copy(self.settings), 0, None)

    def __repr__(self) -> str:
        fitted = "not fitted" if self._state is None else f"{self._state.snapshot.n_items:,} items fitted"
        return f"StoreSearch({self.store}, {fitted})"

    def __len__(self) -> int:
        """Return how many items the snapshot holds; 0 before a fit."""
        return 0 if self._state is None else self._state.snapshot.n_items

    def __bool__(self) -> bool:
        """Return True: a search without items is still a search."""
        return True

    def __getstate__(self) -> Facts:
        """Leave out whose turn it is."""
        return {name: value for name, value in vars(self).items() if name != "_turn"}

    def __setstate__(self, state: Facts) -> None:
        vars(self).update(state)
        self._turn = threading.Lock()

    @property
    def held(self) -> ManifoldSearch:
        """The search over the snapshot, which needs no store; raises NotFittedError where there is none.

        >>> from manifold.stores import Arrays
        >>> len(StoreSearch(Arrays([1, 2, 3], np.eye(3)), ManifoldSearch(n_neighbors=1)).fit().held)
        3
        """
        return self._fitted().held

    @property
    def snapshot(self) -> Snapshot:
        """The name of the content that is searched now.

        >>> from manifold.stores import Arrays
        >>> StoreSearch(Arrays([1, 2, 3], np.eye(3)), ManifoldSearch(n_neighbors=1)).fit().snapshot.number
        0
        """
        return self._fitted().snapshot

    def fit(self, *, neighbors: str | None = None, progress: Progress | bool | None = None) -> Self:
        """Read the store once, and build the graph of what it holds.

        Parameters
        ----------
        neighbors : {"store"}, optional
            Let the store report the nearest items of each, and keep no vector here: the lists are as good as its
            index, a query enters through the store, and `sync` is a new fit.
        progress : bool or callable(done, total), optional
            As for `ManifoldSearch.fit`.

        Raises
        ------
        ValueError
            For a store without vectors, ids that repeat, and as `ManifoldSearch.fit` does; and what the store's client
            raises. What was fitted before answers as before then.

        Notes
        -----
        Cost: one scan of the store, and a fit; with ``neighbors="store"`` a search of the store for each item.

        Examples
        --------
        >>> from manifold.stores import Arrays
        >>> len(StoreSearch(Arrays([1, 2, 3], np.eye(3)), ManifoldSearch(n_neighbors=1)).fit())
        3
        """
        if neighbors not in (None, "store"):
            raise ValueError(f"neighbors must be 'store' or None, got {neighbors!r}")
        with self._turn:
            version, held = _version(self.store), copy(self.settings)
            if neighbors is None:
                ids, X = scanned(self.store)
                held.fit(X, ids, progress=progress)
            else:
                ids, lists = reported(self.store, held.settings.width)
                held.fit(None, ids, neighbors=lists, progress=progress)
            number = 0 if self._state is None else self._state.snapshot.number + 1
            self._state = _state(held, number, version)
        return self

    def search(
        self, Q: ArrayLike, k: int = 100, *, where: object = None, slack: float | None = None, live: bool = True
    ) -> StoreRanking:
        """Rank what the store holds, and a filter allows.

        Parameters
        ----------
        Q : (q, d) or (d,) array-like
        k : int
            Items to rank; all that are allowed where k is larger.
        where : object, optional
            A filter in the store's own words, see the class of the store. Values of users belong into its parameters.
        slack : float, optional
            See `ManifoldSearch.search`: 0 certifies that the set is the best of the snapshot's items that the store
            still holds and the filter allows.
        live : bool
            Ask the store which items it still holds, and what was written since. Without, no call is made, and the
            snapshot answers alone: quicker, and where the store is away.

        Returns
        -------
        StoreRanking
            The k ranked items, and behind them those of the store's own k nearest that the snapshot does not hold
            (`n_unknown`, score 0): rows are as long as the longest.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `ManifoldSearch.search` does; for a filter that is not the store's; and what its client raises.

        Examples
        --------
        >>> from manifold.stores import Arrays
        >>> store = Arrays(["a", "b", "c"], [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
        >>> service = StoreSearch(store, ManifoldSearch(n_neighbors=1)).fit()
        >>> store.ids, store.X = ["a", "c", "new"], np.array([[1.0, 0.0], [0.0, 1.0], [0.1, 0.9]])
        >>> service.search([0.0, 1.0], k=2).ids.tolist()
        ['c', 'a', 'new']
        """
        state = self._fitted()
        if not live and where is not None:
            raise ValueError("where is answered by the store: leave live=False out, or search `held` with allowed=")
        allowed: object = None
        if where is not None:
            allowed = list(self.store.keep(None, where))
        elif live:
            allowed = self._there  # asked of what would be listed, and of more only where some of that has gone
        ranking, queries = self._ranked(state.held, Q, k, slack=slack, allowed=allowed), _queries(Q)
        fresh = self.store.search(queries, k, where) if live else ([[]] * len(queries), [[]] * len(queries))
        return behind(ranking, fresh, state.held.fitted_, snapshot=state.snapshot)

    def _there(self, ids: AnyArray) -> Mask:
        names = ids.tolist()
        kept = self.store.keep(names)
        return np.array([name in kept for name in names], dtype=bool)

    def _ranked(self, held: ManifoldSearch, Q: ArrayLike, k: int, *, slack: float | None, allowed: object) -> Ranking:
        """Return the best of what is allowed; queries enter through the store where it reported the lists."""
        if held.fitted_.points is not None:
            return held.search(Q, k, slack=slack, allowed=allowed)
        names: object
        values: object
        names, values = self.store.search(_queries(Q), max(held.settings.n_seeds, held.settings.n_nearest))
        if np.ndim(Q) == 1:
            (names,), (values,) = names, values
        return held.rerank(names, values, k, candidates="all", unknown="drop", slack=slack, allowed=allowed)

    def sync(self) -> Changes:
        """Bring the graph in step with what the store holds now: one scan, and one change.

        Returns
        -------
        Changes
            How many items were new, had another vector (by more than 1e-6 of its norm), and had gone.

        Raises
        ------
        NotFittedError, ValueError
            For a fit of lists that the store reported, which a new fit follows; as `ManifoldSearch.update` does; and
            what the store's client raises. The snapshot answers on then, as it was, and the next sync mends it.

        Notes
        -----
        Searches go on meanwhile on the old snapshot. Cost: the scan, and an update for what has changed; nothing where
        the store has a version, and it is that of the last scan.

        Examples
        --------
        >>> from manifold.stores import Arrays
        >>> store = Arrays(["a", "b", "c"], [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
        >>> service = StoreSearch(store, ManifoldSearch(n_neighbors=1)).fit()
        >>> store.ids, store.X = ["a", "c", "new"], np.array([[1.0, 0.0], [0.5, 1.0], [0.1, 0.9]])
        >>> service.sync(), service.sync()
        (Changes(new=1, changed=1, gone=1), Changes(new=0, changed=0, gone=0))
        """
        with self._turn:
            before, version = self._fitted(), _version(self.store)
            if version is not None and version == before.version:
                return Changes()
            found = difference(self.store, before.held.fitted_)
            if not found.changes.total:
                self._state = _State(before.held, before.snapshot, version)
                return found.changes
            held = copy(before.held)
            held.update(found.X, found.ids, gone=found.gone)
            self._state = _state(held, before.snapshot.number + 1, version)
            return found.changes

    def save(self, path: str | PathLike[str]) -> Path:
        """Save the snapshot; ``StoreSearch(store, manifold.load(path))`` goes on with it. The store is not saved.

        Raises
        ------
        NotFittedError, ValueError, OSError
            As `ManifoldSearch.save` does.

        Examples
        --------
        >>> from tempfile import TemporaryDirectory
        >>> from manifold import load
        >>> from manifold.stores import Arrays
        >>> store = Arrays(["a", "b", "c"], [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
        >>> service = StoreSearch(store, ManifoldSearch(n_neighbors=1)).fit()
        >>> with TemporaryDirectory() as folder:
        ...     again = StoreSearch(store, load(service.save(f"{folder}/items")))
        >>> again.snapshot == service.snapshot
        True
        """
        return self.held.save(path)

    def _fitted(self) -> _State:
        if self._state is None:
            raise NotFittedError("this StoreSearch is not fitted: call fit() first")
        return self._state


def _state(held: ManifoldSearch, number: int, version: object) -> _State:
    return _State(held, Snapshot.of(held.fitted_, number), version)


def _version(store: Store) -> object:
    """Return the version of a store, where it has one; asked before a scan, it is never later than what was seen."""
    return store.version() if isinstance(store, Versioned) else None


def _queries(Q: ArrayLike) -> Vectors:
    return np.atleast_2d(as_array(Q, "Q")).astype(np.float32)
