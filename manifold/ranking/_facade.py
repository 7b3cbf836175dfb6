"""What the façades of retrieval have in common: parameters as the field expects them, and one fitted state.

A façade holds the parameters it was given, the settings they mean, and a `Fitted` that is replaced by one assignment:
a search reads it once and goes on with it, whatever takes its place meanwhile.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import ClassVar, Generic, Self, TypeVar, overload

from manifold._typing import AnyArray, Facts
from manifold.errors import NotFittedError
from manifold.filters import Diffusion, Filter
from manifold.graph import Graph
from manifold.graph.affinity import Affinity
from manifold.neighbors import SeedSearch
from manifold.ranking._change import left
from manifold.ranking._fitted import Fitted
from manifold.ranking._saved import restored, save_fitted
from manifold.ranking._settings import SearchSettings, parameters_of
from manifold.solvers import Solver
from manifold.storage import Stored

_SWAP = threading.Lock()  # held while a state is compared and replaced

T = TypeVar("T")


class InForce(Generic[T]):
    """An attribute that reads a setting in force: that of the fit, which may have been tuned, or the parameter."""

    def __init__(self, *, of: str | None = None) -> None:
        self.of = of  # the part of the settings that holds it

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, search: None, owner: type) -> Self: ...
    @overload
    def __get__(self, search: Facade, owner: type) -> T: ...
    def __get__(self, search: Facade | None, owner: type) -> Self | T:
        if search is None:
            return self
        holder = search.settings if self.of is None else getattr(search.settings, self.of)
        value: T = getattr(holder, self.name)
        return value

    def __set__(self, search: Facade, value: T) -> None:
        raise AttributeError(
            f"{self.name} cannot be assigned: write set_params({self.name}=...) and fit, or with_settings(...)"
        )


class Facade:
    """Parameters, settings, and one fitted state that is swapped."""

    n_neighbors = InForce[int]()
    n_seeds = InForce[int]()
    filter = InForce[Filter]()
    affinity = InForce[Affinity]()
    bridge = InForce[int]()
    degree_exponent = InForce[float]()
    edges = InForce[str]()
    solver = InForce["str | Solver"]()
    on_failure = InForce[str]()
    seed_search = InForce["str | SeedSearch"]()
    _pools: ClassVar[bool] = False  # nodes are regions, and their images are ranked

    def __init__(self, given: Facts) -> None:
        self._given = {name: value for name, value in given.items() if name not in ("self", "__class__")}
        self._settings = self._settings_of(self._given)
        self._fitted: Fitted | None = None

    @classmethod
    def _settings_of(cls, given: Facts) -> SearchSettings:
        """Return the settings that parameters mean; raise for what they cannot be."""
        raise AssertionError(f"{cls.__name__} does not say what its parameters mean")

    @property
    def settings(self) -> SearchSettings:
        """The settings in force: those of the fit, or of the parameters where there is none.

        >>> from manifold import ManifoldSearch
        >>> ManifoldSearch(alpha=0.9).settings.filter
        Diffusion(alpha=0.9)
        """
        return self._settings if self._fitted is None else self._fitted.settings

    @property
    def fitted_(self) -> Fitted:
        """The fitted state; raises NotFittedError (a ValueError and an AttributeError) where there is none.

        >>> from manifold import ManifoldSearch
        >>> search = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], ids=[7, 8, 9])
        >>> search.fitted_.points.X.shape
        (3, 2)
        """
        if self._fitted is None:
            raise NotFittedError(f"this {type(self).__name__} is not fitted: call fit(X) first")
        return self._fitted

    @property
    def graph_(self) -> Graph:
        """The graph of the collection.

        >>> from manifold import ManifoldSearch
        >>> search = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], ids=[7, 8, 9])
        >>> search.graph_.n_nodes
        3
        """
        return self.fitted_.graph

    @property
    def ids_(self) -> AnyArray:
        """External ids of what is ranked.

        >>> from manifold import ManifoldSearch
        >>> search = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], ids=[7, 8, 9])
        >>> search.ids_.tolist()
        [7, 8, 9]
        """
        return self.fitted_.ids.values

    def __len__(self) -> int:
        """Return how many items, or images, are ranked; 0 before a fit."""
        return 0 if self._fitted is None else len(self._fitted.ids)

    def __bool__(self) -> bool:
        """Return True: a search without items is still a search."""
        return True

    def get_params(self, deep: bool = True) -> dict[str, object]:
        """Return the parameters as they were given, by name: what `sklearn.base.clone` makes a copy of.

        >>> from manifold import ManifoldSearch
        >>> ManifoldSearch(alpha=0.9).get_params()["alpha"]
        0.9
        """
        return dict(self._given)

    def set_params(self, **params: object) -> Self:
        """Change parameters, for the next fit; what is fitted stays as it is.

        Raises
        ------
        ValueError, TypeError
            For an unknown name, and as the constructor does; nothing has changed then.

        Examples
        --------
        >>> from manifold import ManifoldSearch
        >>> ManifoldSearch().set_params(alpha=0.5).filter
        Diffusion(alpha=0.5)
        """
        unknown = params.keys() - inspect.signature(type(self)).parameters.keys()
        if unknown:
            raise ValueError(f"{type(self).__name__} has no parameters {sorted(unknown)}: see get_params()")
        given = {**self._given, **params}
        settings = self._settings_of(given)
        self._given, self._settings = given, settings
        return self

    def with_settings(
        self,
        *,
        filter: Filter | None = None,
        n_seeds: int | None = None,
        degree_exponent: float | None = None,
        solver: str | Solver | None = None,
        on_failure: str | None = None,
        seed_search: str | SeedSearch | None = None,
    ) -> Self:
        """Return this fitted search with other settings, on the same graph: what is left out stays as it is.

            scores = h(S) Y / degree^p,    h by `filter`, Y by `n_seeds`, p by `degree_exponent`

        Parameters
        ----------
        filter : Filter
            Any, and not only the diffusion that a search is made with.
        n_seeds : int
            k_q, nearest points through which a query enters.
        degree_exponent : float
            p >= 0.
        solver : str or Solver
            As for `ManifoldSearch`; "index" builds one.
        on_failure : {"warn", "raise", "ignore"}
        seed_search : {"auto", "exact", "cells", "walk"} or SeedSearch
            How the nearest items of a query are found.

        Raises
        ------
        ValueError
            Where the search is not fitted, for a value out of its range, or a filter that the solver cannot serve.

        Notes
        -----
        Cost: that of preparing the solver; graph and features are shared, not copied. This search is not changed.

        Examples
        --------
        >>> from manifold import Heat, ManifoldSearch, datasets
        >>> X, y = datasets.digits()
        >>> search = ManifoldSearch(preset="plain-diffusion").fit(X[100:])
        >>> warm = search.with_settings(filter=Heat(20.0), solver="lanczos")
        >>> [round(float((y[100:][s.search(X[:100], k=10).ids] == y[:100, None]).mean()), 2) for s in (search, warm)]
        [0.94, 0.95]
        """
        given: Facts = {"n_seeds": n_seeds, "degree_exponent": degree_exponent, "solver": solver}
        given = {**given, "on_failure": on_failure, "seed_search": seed_search}
        asked: Facts = {name: value for name, value in given.items() if value is not None}
        settings = replace(self.fitted_.settings, **asked)
        if filter is not None:
            settings = replace(settings, filter=filter)
            asked = {**asked, "alpha": filter.alpha} if isinstance(filter, Diffusion) else asked
        other = copy(self)
        other._given = {**self._given, **asked}
        other._settings, other._fitted = settings, self.fitted_.with_settings(settings)
        return other

    def remove(self, ids: object) -> None:
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
        self._change(lambda fitted: (left(fitted, ids), None))

    def save(self, path: str | PathLike[str], *, features: bool = True) -> Path:
        """Save the fitted search as a folder; `manifold.load` gives it back, with the same answers to the bit.

        Parameters
        ----------
        path : str or path
            A new folder, or an older save, which is replaced as a whole.
        features : bool
            Save the features too, which are memory-mapped when loaded. Without them only `rerank` and `similar` work,
            and `similar` leaves what is not reached in no order.

        Raises
        ------
        ValueError, TypeError
            Where it is not fitted; for a solver that holds eigenpairs (save those, and give them again) or is none of
            this package.
        FileExistsError, OSError
            See `manifold.storage.save_arrays`.

        Notes
        -----
        Graph, ids, settings, what was tuned, the columns of an index, and with the features the lists of neighbours,
        which `add` and `remove` need, are saved; other solvers are prepared anew. A
        backend that is an object is loaded as "auto", and a generator in `random_state` as None.

        Examples
        --------
        >>> from tempfile import TemporaryDirectory
        >>> from manifold import ManifoldSearch, load
        >>> search = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], ids=["a", "b", "c"])
        >>> with TemporaryDirectory() as folder:
        ...     load(search.save(f"{folder}/search")).similar("a", k=1).ids.tolist()
        ['b']
        """
        return save_fitted(self.fitted_, path, features=features)

    def _change(self, work: Callable[[Fitted], tuple[Fitted, T]]) -> T:
        """Put what some work makes of the state in its place; begin anew where another has taken that meanwhile."""
        while True:
            before = self.fitted_
            after, result = work(before)
            with _SWAP:
                if self._fitted is before:
                    self._fitted = after
                    return result

    @classmethod
    def _from_stored(cls, stored: Stored) -> Self:
        search = cls.__new__(cls)
        search._fitted = restored(stored)
        if (search._fitted.pooling is None) == cls._pools:
            raise ValueError(f"a {cls.__name__} has {'a' if cls._pools else 'no'} pooling of regions to images")
        search._settings = search._fitted.settings
        search._given = parameters_of(search._settings)
        return search
