"""The façade of retrieval: fit a collection once, then search it, or rerank what another search found.

In: features and queries, or ids and similarities of a shortlist. Out: a `Ranking` by F = h(S) Y.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold._checks import check_count, check_features
from manifold.backends import Backend, backend_for, get_backend, on_host, place
from manifold.filters import Diffusion, Filter
from manifold.graph import Graph
from manifold.graph.affinity import Affinity
from manifold.index import DiffusionIndex
from manifold.neighbors import Neighbors, PointSet, Progress, exact_search, find_neighbors
from manifold.ranking._adaptation import (
    DEPTH,
    Adaptation,
    Asked,
    reciprocal_seeds,
    similarities_listed,
    similarities_to,
)
from manifold.ranking._base import Ranking
from manifold.ranking._collection import Ids
from manifold.ranking._dynamic import Dynamic, on_one_state
from manifold.ranking._inputs import check_shortlist, good_queries, same_place
from manifold.ranking._ranker import Task
from manifold.ranking._saved import SavedSearch
from manifold.ranking._settings import Setting, check_degree_exponent, preset_setting, refuse_chosen
from manifold.ranking._variants import Variants
from manifold.ranking.seeds import query_seeds, unit_seeds
from manifold.ranking.tuning import WIDTH, Tuning, tune
from manifold.solvers import Solver, check_solver, report_failures


class ManifoldSearch(SavedSearch, Variants, Dynamic):
    """Search a collection along its manifold: features in, better ranked ids out.

    Parameters
    ----------
    n_neighbors : int
        Neighbours of each point in the graph; 10, or 50 in the paper.
    n_seeds : int
        Nearest points through which a query enters (k_q); 5, or 10 in the paper.
    alpha : float in [0, 1)
        How far to diffuse; 0.95, or 0.99 in the paper.
    gamma : float
        Exponent of the kernel; 3.
    bridge : int
        Neighbours of each point that are joined even if not mutual; 1, or 0 in the paper.
    degree_exponent : float
        p >= 0: scores are divided by degree^p before they are ranked, which holds back hubs; 0, or 1/2 in "adaptive".
    edges, metric, affinity, method, random_state
        See `manifold.build_graph`.
    solver : str or Solver
        See `manifold.diffuse`, or "index": a `manifold.DiffusionIndex`, built by `fit`, that answers from stored
        columns in under a millisecond. "auto" is conjugate gradients to a relative residual of 1e-3, which ranks as
        exact scores do.
    backend : {"auto", "scipy", "cupy"} or Backend
    preset : {"default", "adaptive", "paper"}
        What the parameters left out are: a setting of plain diffusion that holds up on collections of many kinds; a
        better one, which adapts to each query; or the published one (Iscen et al., CVPR 2017: k = 50 mutual,
        gamma = 3, alpha = 0.99, 10 seeds, 20 CG iterations).
    tune : bool
        Start from "adaptive", and let `fit` choose n_neighbors, gamma, the filter and n_seeds without labels: see
        `manifold.ranking.tune`.
    adaptation : Adaptation, optional
        What a query keeps of its plain ranking. Lists are then in the order of the fused scores, and the slack is that
        of the best 100 (or k) by diffusion, which they are taken from.
    on_failure : {"warn", "raise", "ignore"}
        See `manifold.diffuse`.

    Attributes
    ----------
    graph_ : Graph
    ids_ : (n,) external ids
    tuning_ : Tuning
        What was tried and chosen, with `tune`.

    Examples
    --------
    >>> from manifold import datasets
    >>> X, y = datasets.digits()
    >>> ids, scores = ManifoldSearch().fit(X[100:]).search(X[:2], k=3)
    >>> (y[100:][ids] == y[:2, None]).mean()
    np.float64(1.0)
    """

    def __init__(
        self,
        *,
        n_neighbors: int | None = None,
        n_seeds: int | None = None,
        alpha: float | None = None,
        gamma: float | None = None,
        bridge: int | None = None,
        degree_exponent: float | None = None,
        edges: str = "mutual",
        metric: str = "cosine",
        affinity: str = "auto",
        method: str = "auto",
        solver: str | Solver | None = None,
        backend: str | Backend = "auto",
        preset: str = "default",
        tune: bool = False,
        adaptation: Adaptation | None = None,
        on_failure: str = "warn",
        random_state: Any = None,
    ) -> None:
        if on_failure not in ("warn", "raise", "ignore"):
            raise ValueError(f"on_failure must be 'warn', 'raise' or 'ignore', got {on_failure!r}")
        given: dict[str, Any] = {"n_neighbors": n_neighbors, "n_seeds": n_seeds, "alpha": alpha, "gamma": gamma}
        given |= {"bridge": bridge, "degree_exponent": degree_exponent}
        if tune:
            refuse_chosen(given, preset=preset, edges=edges)
        given |= {"solver": solver, "adaptation": adaptation}
        chosen = preset_setting("adaptive" if tune else preset, given)
        self.n_neighbors = check_count(chosen["n_neighbors"], "n_neighbors")
        self.n_seeds = check_count(chosen["n_seeds"], "n_seeds")
        self.filter: Filter = Diffusion(chosen["alpha"])
        self.affinity = Affinity(affinity, chosen["gamma"], metric)
        self.bridge: int = chosen["bridge"]
        self.solver: str | Solver = DiffusionIndex() if chosen["solver"] == "index" else check_solver(chosen["solver"])
        self.degree_exponent = check_degree_exponent(chosen["degree_exponent"])
        self.edges, self.method, self.backend = edges, method, backend
        self.preset, self.on_failure, self.random_state, self.tune = preset, on_failure, random_state, tune
        self.adaptation: Adaptation | None = chosen["adaptation"]

    def __repr__(self) -> str:
        fitted = f", fitted to {self.graph_.n_nodes:,} items" if hasattr(self, "graph_") else ""
        return (
            f"ManifoldSearch(n_neighbors={self.n_neighbors}, n_seeds={self.n_seeds}, filter={self.filter}, "
            f"gamma={self.affinity.gamma:g}, edges={self.edges!r}, bridge={self.bridge}, "
            f"metric={self.affinity.metric!r}, solver={self.solver}){fitted}"
        )

    def fit(
        self, X: Any = None, ids: Any = None, *, graph: Graph | None = None, progress: Progress | bool | None = None
    ) -> Self:
        """Build the graph of a collection and prepare the solver.

        Parameters
        ----------
        X : (n, d) array-like
            Features; may be left out where a graph is given, and then only `rerank` and `similar` work.
        ids : (n,) integers or strings, optional
            Distinct names of the items; 0..n-1 by default.
        graph : Graph, optional
            One made elsewhere over the same n items; by default it is built from X.
        progress : bool or callable(done, total), optional
            Shown the search for neighbours, then the settings tried; see `manifold.neighbors.find_neighbors`.

        Raises
        ------
        TypeError, ValueError, MemoryBudgetError
            As `build_graph` does; and for ids that repeat or do not match. The object is unchanged then.
        """
        fitted = copy(self)  # what breaks off, for an error or an interrupt, leaves this object as it was
        fitted._fit(X, ids, graph, progress)
        self._become(fitted)
        return self

    def _fit(self, X: Any, ids: Any, graph: Graph | None, progress: Progress | bool | None) -> None:
        points = None
        backend, home = backend_for(self.backend, {"X": X}), place(X)
        if X is not None:
            X = check_features(on_host(X, backend))
            points, n = PointSet(X, self.affinity.metric), X.shape[0]
        elif graph is not None:
            n = graph.n_nodes
        else:
            raise ValueError("fit needs X, or a graph")
        if graph is not None and (self.tune or self.adaptation):
            raise ValueError("tune and adaptation need the neighbours that the graph is made of: leave out graph")
        names = Ids(ids, n)  # wrong ids are met before the long work
        if graph is None:
            graph = self._take_neighbors(self._find_neighbors(X, progress, backend))
        elif n != graph.n_nodes:
            raise ValueError(f"X has {n} rows but the graph has {graph.n_nodes} nodes")
        else:
            self._neighbors = self._scales = self._reach = None
        self._prepare(graph, backend)
        self.graph_, self.ids_, self._home = graph, names.values, home
        self._points, self._ids = points, names

    def _find_neighbors(self, X: Any, progress: Progress | bool | None, backend: Backend) -> Neighbors:
        """Return the lists that the graph is made of; what tuning chooses holds from here on."""
        neighbors = find_neighbors(
            X,
            min(WIDTH if self.tune else self._width, max(X.shape[0] - 1, self.n_neighbors)),
            method=self.method,
            metric=self.affinity.metric,
            backend=backend,
            random_state=self.random_state,
            progress=progress,
        )
        if self.tune:
            self.tuning_: Tuning = tune(neighbors, affinity=self.affinity.kind, backend=backend, progress=progress)
            self._take(self.tuning_.setting)
        return self._lists(neighbors)

    def _take(self, setting: Setting) -> None:
        self.n_neighbors, self.n_seeds, self.filter = setting.n_neighbors, setting.n_seeds, setting.filter
        self.affinity = replace(self.affinity, gamma=setting.gamma)
        self.degree_exponent = setting.degree_exponent
        assert self.adaptation is not None
        self.adaptation = replace(self.adaptation, one_sided=setting.one_sided)

    @on_one_state
    def explain(self) -> str:
        """Return what the search does with a query, line by line, and why this solver does it.

        Examples
        --------
        >>> print(ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).explain())
        seeds    the 5 nearest items of a query, weighted by power, gamma=3
        filter   Diffusion(alpha=0.95)
        solver   direct, because a dense factor of 3 nodes costs less than iterating
                 Direct()
        scores   F
        """
        self._require_fit()
        kernel, p = self.affinity, self.degree_exponent
        weighted = f"{kernel.kind}, gamma={kernel.gamma:g}" if kernel.kind == "power" else kernel.kind
        adapted = "" if self.adaptation is None else self.adaptation.explain(self._one_sided)
        tuned = f"\ntuning   {self.tuning_.reason}, of {len(self.tuning_.table)} settings" if self.tune else ""
        return (
            f"seeds    the {self.n_seeds} nearest items of a query, weighted by {weighted}\n"
            f"filter   {self.filter}\n"
            f"solver   {self._reason}\n"
            f"scores   F" + (f" / degree^{p:g}" if p else "") + adapted + tuned
        )

    @on_one_state
    def search(self, Q: Any, k: int = 100, *, slack: float | None = None, on_bad: str = "raise") -> Ranking:
        """Rank the collection for queries that are not in it.

        Parameters
        ----------
        Q : (q, d) or (d,) array-like
            Query features, where those of `fit` were: on the host, or on their device.
        k : int
            Items to return; all n where k is larger.
        slack : float, optional
            Solve on, in float64, until each list is proved to this slack: 0 certifies the set, 0.01 is often ten times
            cheaper. What is left at rounding is a tie, see `Ranking.tied`.
        on_bad : {"raise", "skip"}
            Refuse queries with NaN or infinity, or answer them with -1 (or "") and scores of 0, with a warning.

        Notes
        -----
        Cost: one product of Q with X, then as many products with S as the solver takes iterations, 64 queries at
        a time; memory 64 n scores.
        """
        self._require_fit()
        if self._points is None:
            raise ValueError("this ManifoldSearch was fitted without X: only rerank and similar work")
        k = min(check_count(k, "k"), self.graph_.n_nodes)
        Q = on_host(same_place(Q, getattr(self, "_home", "cpu")), self._ranker.backend)
        Q, single, bad = good_queries(Q, on_bad, n_features=self._points.X.shape[1], missing=self._ids.missing)
        queries = PointSet(Q, self.affinity.metric)
        near, similarities = self._nearest(queries, min(max(self.n_seeds, self._lead), self.graph_.n_nodes))
        depth = self._depth(k, self.graph_.n_nodes)
        task = Task(depth, lambda some: self._nearest(queries, depth, rows=some)[0], slack=slack)
        asked = Asked(near, similarities, partial(similarities_to, queries, self._points))
        return self._ranked(self._seeds(near, similarities), task, k=k, asked=asked, single=single, bad=bad)

    @on_one_state
    def rerank(
        self,
        ids: Any,
        similarities: Any,
        k: int = 100,
        *,
        candidates: str = "shortlist",
        slack: float | None = None,
    ) -> Ranking:
        """Rerank what another search found, from its ids and similarities alone.

        Parameters
        ----------
        ids : (q, m) or (m,)
            Shortlist of each query, any order; -1 (or "") pads a short one.
        similarities : (q, m) or (m,)
            Of the same metric as the graph, higher is nearer. The best `n_seeds` of each row become its seeds.
        k : int
            Items to return; all m (or n) where k is larger.
        candidates : {"shortlist", "subgraph", "all"}
            Reorder the shortlist, also by a diffusion on its own subgraph, or rank all: what was missed comes in.
        slack : float, optional
            As for `search`.

        Raises
        ------
        ValueError
            For shapes that differ, NaN, an id twice in a row or one that is not in the collection.
        """
        self._require_fit()
        k = check_count(k, "k")
        if candidates not in ("shortlist", "subgraph", "all"):
            raise ValueError(f"candidates must be 'shortlist', 'subgraph' or 'all', got {candidates!r}")
        rows, values, single = check_shortlist(self._ids.rows(ids), similarities)
        shortlist, early = candidates != "all", self.solver if candidates == "subgraph" else None
        k = min(k, rows.shape[1] if shortlist else self.graph_.n_nodes)
        depth = self._depth(k, rows.shape[1] if shortlist else self.graph_.n_nodes)
        task = Task(depth, lambda some: rows[some], rows if shortlist else None, slack=slack, early=early)
        asked = Asked(rows, values, partial(similarities_listed, rows, values))
        return self._ranked(self._seeds(rows, values), task, k=k, asked=asked, single=single)

    @on_one_state
    def similar(self, ids: Any, k: int = 100, *, slack: float | None = None) -> Ranking:
        """Rank the collection for items that are in it, themselves left out: "more like this".

        Parameters
        ----------
        ids : (q,) or one id
            Items; each is the seed of its own query.
        k : int
            Items to return; all n - 1 others where k is larger.
        slack : float, optional
            As for `search`.
        """
        self._require_fit()
        k = min(check_count(k, "k"), self.graph_.n_nodes - 1)
        own = self._ids.rows(ids)
        single, own = own.ndim == 0, np.atleast_1d(own)
        if (own < 0).any():
            raise ValueError("ids must name items of the collection, not the missing marker")

        def baseline(some: NDArray[np.int64]) -> NDArray[np.int64]:
            if self._points is None or not k:
                return np.empty((some.size, 0), dtype=np.int64)
            return self._nearest(self._points, depth, rows=own[some])[0]

        depth = self._depth(k, self.graph_.n_nodes - 1)
        task = Task(depth, baseline, own=own, slack=slack)
        asked = None
        if self._points is not None and self.adaptation is not None:
            nearest = self._nearest(self._points, min(self._lead, self.graph_.n_nodes - 1), rows=own)
            asked = Asked(*nearest, partial(similarities_to, self._points, self._points, own=own))
        return self._ranked(unit_seeds(own, self.graph_.n_nodes), task, k=k, asked=asked, single=single)

    def _nearest(self, queries: PointSet, k: int, *, rows: Any = None) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the k nearest items of queries; of items, which are the queries themselves, the k nearest others."""
        assert self._points is not None  # for the type checker: the callers have looked
        if not k:  # of a collection that all have left
            q = queries.X.shape[0] if rows is None else rows.size
            return np.empty((q, 0), dtype=np.int64), np.empty((q, 0), dtype=np.float32)
        return exact_search(
            queries, self._points, k=k, drop_self=queries is self._points, rows=rows, backend=get_backend("scipy")
        )

    def _seeds(self, near: NDArray[np.int64], similarities: NDArray[np.float32]) -> sparse.csc_array:
        near, similarities = near[:, : self.n_seeds], similarities[:, : self.n_seeds]
        how: dict[str, Any] = {"affinity": self.affinity, "node_scales": self._scales}
        if self.adaptation is None or self._reach is None:
            return query_seeds(near, similarities, n_nodes=self.graph_.n_nodes, **how)
        return reciprocal_seeds(near, similarities, reach=self._reach.edge, one_sided=self._one_sided, **how)

    @property
    def _lead(self) -> int:
        return 0 if self.adaptation is None else self.adaptation.lead

    def _depth(self, k: int, most: int) -> int:
        """Return how many items to rank where k are asked for."""
        return k if self.adaptation is None else min(most, max(k, DEPTH))

    def _ranked(
        self, seeds: sparse.csc_array, task: Task, *, k: int, asked: Asked | None, single: bool, bad: Any = ()
    ) -> Ranking:
        if task.slack is not None and not task.slack >= 0:
            raise ValueError(f"slack must be at least 0, got {task.slack!r}")
        rows, scores, slack, diagnostics = self._ranker.rank(seeds, task)
        report_failures(diagnostics, self.on_failure)
        kept = np.zeros(rows.shape[0], dtype=np.int64)
        if asked is not None and self.adaptation is not None and self._reach is not None:
            fused = self.adaptation if self.affinity.kind == "power" else replace(self.adaptation, fusion=0.0)
            rows, scores, kept = fused.in_order(rows, scores, asked, reach=self._reach)
        rows, scores, kept = rows[:, :k], scores[:, :k], np.minimum(kept, k)
        if len(bad):
            rows[bad], scores[bad], slack[bad], kept[bad] = -1, 0, np.inf, 0
        ids = self._ids.names(rows)
        return Ranking(ids[0] if single else ids, scores[0] if single else scores, slack, diagnostics, kept)

    def _require_fit(self) -> None:
        if not hasattr(self, "graph_"):
            raise ValueError("this ManifoldSearch is not fitted: call fit(X) first")
