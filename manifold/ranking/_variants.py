"""A fitted search with other settings: the same graph and ids, another filter, solver, k_q or degree exponent.

In: a fitted search. Out: another one that shares all that was built, and has prepared its own solver.
"""

from __future__ import annotations

from copy import copy
from typing import Any, Self

from manifold._checks import check_count
from manifold.backends import Backend
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.index import DiffusionIndex
from manifold.ranking._ranker import Ranker
from manifold.ranking._settings import check_degree_exponent
from manifold.solvers import Prepared, Solver, check_solver, get_solver


class Variants:
    """What a search does with its settings: prepare a solver for them, and change them without a new graph."""

    filter: Filter
    solver: str | Solver
    n_seeds: int
    degree_exponent: float

    def with_settings(
        self,
        *,
        filter: Filter | None = None,
        n_seeds: int | None = None,
        degree_exponent: float | None = None,
        solver: str | Solver | None = None,
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
        >>> search = ManifoldSearch().fit(X[100:])
        >>> warm = search.with_settings(filter=Heat(20.0), solver="lanczos")
        >>> [round(float((y[100:][s.search(X[:100], k=10).ids] == y[:100, None]).mean()), 2) for s in (search, warm)]
        [0.94, 0.95]
        """
        search: Any = copy(self)  # one state, whatever takes its place meanwhile
        search._require_fit()
        changed = copy(search)
        if filter is not None:
            changed.filter = filter
        if n_seeds is not None:
            changed.n_seeds = check_count(n_seeds, "n_seeds")
        if degree_exponent is not None:
            changed.degree_exponent = check_degree_exponent(degree_exponent)
        if solver is not None:
            changed.solver = DiffusionIndex() if solver == "index" else check_solver(solver)
        changed._prepare(search.graph_, search._ranker.backend)
        return changed  # type: ignore[no-any-return]

    def _prepare(self, graph: Graph, backend: Backend, *, prepared: Prepared | None = None) -> None:
        """Prepare the solver of these settings for a graph, or take it as it was prepared."""
        solver, reason = get_solver(self.solver, graph, self.filter)
        prepared = solver.prepare(graph, self.filter, backend) if prepared is None else prepared
        self._ranker = Ranker(graph, self.filter, prepared, backend, self.degree_exponent)
        self._reason = f"{solver}, {reason}" if reason in ("as given", "as named") else f"{reason}\n         {solver}"
