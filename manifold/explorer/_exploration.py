"""Settings in, an answer out: one query of a fitted search, ranked anew in milliseconds whatever changes. No widgets.

In: a fitted search and its collection; then `Settings`. Out: an `Answer` for each.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from time import perf_counter

import numpy as np

from manifold._checks import check_can, check_count
from manifold._typing import AnyArray
from manifold.backends import get_backend
from manifold.explorer._shared_basis import SharedBasis
from manifold.filters import Diffusion, Filter
from manifold.neighbors import exact_search, point_set
from manifold.ranking import Explanation, ManifoldSearch, Ranking, explain
from manifold.solvers import SOLVERS, FastSpectralRanking, Hybrid, Solver
from manifold.solvers.spectrum import Spectrum

CHOICES = ("lanczos", *(name for name in SOLVERS if name not in ("lanczos", "direct")))


@dataclass(frozen=True)
class Settings:
    """What a reader chooses.

    Reference: guide *explore*.

    Parameters
    ----------
    query : int
        Row of the queries; of the collection, where no queries were given.
    filter : Filter
    n_seeds : int
        k_q, nearest items through which the query enters; an item of the collection is the first of its own.
    degree_exponent : float
        p >= 0: scores are divided by degree^p.
    solver : str
        "lanczos", one basis for all filters; or "cg", "chebyshev", "fsr", "hybrid", "power", to see how they differ.

    Examples
    --------
    >>> print(Settings(query=3, degree_exponent=0.5))
    query 3, Diffusion(alpha=0.95), 5 seeds, degree^-0.5, lanczos
    """

    query: int = 0
    filter: Filter = Diffusion()  # noqa: RUF009 -- never changed
    n_seeds: int = 5
    degree_exponent: float = 0.0
    solver: str = "lanczos"

    def __str__(self) -> str:
        power = f", degree^-{self.degree_exponent:g}" if self.degree_exponent else ""
        return f"query {self.query}, {self.filter}, {self.n_seeds} seeds{power}, {self.solver}"


@dataclass(frozen=True, eq=False)
class Answer:
    """One query's list before and after diffusion.

    Reference: guide *explore*.

    Attributes
    ----------
    settings : Settings
    nearest : pair (ids, similarities) of (k,) arrays
        The nearest neighbours.
    ranking : Ranking
        After diffusion, ids (k,), with slack and diagnostics.
    seconds : float
        What the ranking took; nearest neighbours and figure are left out.

    Examples
    --------
    >>> from manifold import datasets
    >>> X, _ = datasets.digits()
    >>> search = ManifoldSearch(preset="plain-diffusion").fit(X[:200])
    >>> answer = Exploration(search, X[:200], k=3).answer(Settings(query=7))
    >>> answer.nearest[0].size, answer.ranking.ids.size
    (3, 3)
    """

    settings: Settings
    nearest: tuple[AnyArray, AnyArray]
    ranking: Ranking
    seconds: float


class Exploration:
    """One query at a time of a fitted search, whose settings change.

        scores = h(S) Y / degree^p,    h(S) Y = ||y|| V h(T) e_1 for every filter h from one Lanczos basis V

    Reference: Saad (1992), for V h(T) e_1; guide *explore*.

    Parameters
    ----------
    search : ManifoldSearch
        Fitted; it is not changed.
    X : (n, d) array-like
        The features it was fitted to.
    Q : (q, d) array-like, optional
        Queries; the items of the collection otherwise, each left out of its own list.
    k : int
        Length of the lists.

    Examples
    --------
    >>> from manifold import Heat, datasets
    >>> X, y = datasets.digits()
    >>> exploration = Exploration(ManifoldSearch(preset="plain-diffusion").fit(X), X, k=10)
    >>> for filter in (Diffusion(0.95), Heat(20.0)):
    ...     answer = exploration.answer(Settings(query=170, filter=filter))
    ...     print([int((y[ids] == y[170]).sum()) for ids in (answer.nearest[0], answer.ranking.ids)])
    [4, 8]
    [4, 10]
    """

    def __init__(self, search: ManifoldSearch, X: object, *, Q: object = None, k: int = 10) -> None:
        check_can(search, "affinity", "rerank", name="search", a="a fitted ManifoldSearch")
        n, metric = search.graph_.n_nodes, search.affinity.metric
        self._points = point_set(X, metric)
        if len(self._points.X) != n:
            raise ValueError(f"X has {len(self._points.X)} rows, but search was fitted to {n} items")
        self._inside = Q is None
        self._queries = self._points if Q is None else self._points.joining(Q, "Q")
        self.n_queries, self.k = len(self._queries.X), min(check_count(k, "k"), n - self._inside)
        if not self.n_queries:
            raise ValueError("Q holds no queries: pass some, or leave it out to explore the items")
        self._fitted, self._shared = copy(search), SharedBasis()  # items may join or leave the original meanwhile
        solver = "lanczos" if search.filter.smooth else "fsr"
        self.first = Settings(0, search.filter, search.n_seeds, search.degree_exponent, solver)

    def answer(self, settings: Settings) -> Answer:
        """Return the lists of one query.

        Raises
        ------
        ValueError
            For a query that is not there, an unknown solver, or one that cannot serve the filter.

        Examples
        --------
        >>> from manifold import datasets
        >>> X, _ = datasets.digits()
        >>> exploration = Exploration(ManifoldSearch(preset="plain-diffusion").fit(X[:200]), X[:200], k=3)
        >>> exploration.answer(Settings(query=7)).ranking.ids.size
        3
        """
        if not 0 <= settings.query < self.n_queries:
            raise ValueError(f"query must lie in 0..{self.n_queries - 1}, got {settings.query}")
        start = perf_counter()
        ranking = self._rank(settings)
        seconds = perf_counter() - start
        row = np.array([settings.query])
        rows, similarities = exact_search(
            self._queries, self._points, k=self.k, drop_self=self._inside, rows=row, backend=get_backend("scipy")
        )
        return Answer(settings, (self._fitted.ids_[rows[0]], similarities[0]), ranking, seconds)

    def _rank(self, settings: Settings) -> Ranking:
        query, search = self._queries.X[settings.query], self.search(settings, solver=self._kept(settings.solver))
        search = search.with_settings(on_failure="ignore")  # the diagnostics are shown
        if self._inside:  # one more, since the item itself is the first of its own list in most cases, not in all
            ranking = search.search(query, k=self.k + 1)
            others = ranking.ids != self._fitted.ids_[settings.query]
            if not others.all():
                return replace(
                    ranking,
                    ids=ranking.ids[others],
                    scores=ranking.scores[others],
                    kept=None,
                    diffusion=None,
                    similarities=None,
                )
        return search.search(query, k=self.k)

    def why(self, settings: Settings, item: int | str) -> Explanation:
        """Explain the score of an item, given by its id; raise ValueError for a filter that is no geometric series.

        >>> from manifold import datasets
        >>> X, _ = datasets.digits()
        >>> exploration = Exploration(ManifoldSearch(preset="plain-diffusion").fit(X[:200]), X[:200], k=3)
        >>> why = exploration.why(exploration.first, exploration.answer(exploration.first).ranking.ids[0].item())
        >>> bool(abs(why.contributions.sum() - why.score) < 1e-6)
        True
        """
        return explain(self.search(settings, solver="cg"), self._queries.X[settings.query], item)

    def search(self, settings: Settings, *, solver: str | Solver | None = None) -> ManifoldSearch:
        """Return the search with these settings, by their solver or the one given.

        >>> from manifold import datasets
        >>> X, _ = datasets.digits()
        >>> search = ManifoldSearch(preset="plain-diffusion").fit(X[:200])
        >>> Exploration(search, X[:200]).search(Settings(n_seeds=2)).n_seeds
        2
        """
        return self._fitted.with_settings(
            filter=settings.filter,
            n_seeds=settings.n_seeds,
            degree_exponent=settings.degree_exponent,
            solver=settings.solver if solver is None else solver,
        )

    def _kept(self, solver: str) -> str | Solver:
        """Return a solver by name, with what is kept of it between answers: bases, or eigenvectors."""
        if solver == "lanczos":
            return self._shared
        if solver in ("fsr", "hybrid"):
            return (FastSpectralRanking if solver == "fsr" else Hybrid)(spectrum=self._spectrum)
        return solver

    @cached_property
    def _spectrum(self) -> Spectrum:
        return FastSpectralRanking().prepare(self._fitted.graph_, Diffusion(), get_backend("scipy")).spectrum
