"""The façade of regional retrieval: images of several vectors each, on both sides.

In: regions and their owners. Out: a `Ranking` of images by G = P h(S) Y (Iscen et al., CVPR 2017, sections 3.3 and 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from manifold._checks import check_count, check_features, check_queries
from manifold.backends import Backend, get_backend
from manifold.filters import Diffusion
from manifold.graph import Graph, build_graph
from manifold.graph.affinity import Affinity
from manifold.index import DiffusionIndex, PooledColumns
from manifold.neighbors import PointSet, Progress, exact_search
from manifold.ranking._base import Ranking
from manifold.ranking._collection import Ids
from manifold.ranking._folded import PooledSpectrum
from manifold.ranking._ranker import Ranker, Task
from manifold.ranking._saved_regional import SavedRegionalSearch
from manifold.ranking._settings import check_degree_exponent
from manifold.ranking.pooling import POOLINGS, Pooling, check_owners, region_match, region_weights
from manifold.ranking.seeds import Y_MODES, regional_seeds
from manifold.solvers import ConjugateGradient, Prepared, Solver, check_solver, get_solver, report_failures

_BLOCK = 64


@dataclass(frozen=True, eq=False)
class _Queries:
    """The regions of the queries, and the query 0..q-1 each belongs to."""

    points: PointSet
    owners: NDArray[np.int64]

    @property
    def n(self) -> int:
        return int(self.owners.max(initial=-1)) + 1

    def some(self, which: NDArray[np.int64]) -> _Queries:
        """Return some queries, renumbered in the order given (ascending)."""
        rows = np.flatnonzero(np.isin(self.owners, which))
        return _Queries(PointSet(self.points.X[rows], "cosine"), np.searchsorted(which, self.owners[rows]))


class RegionalSearch(SavedRegionalSearch):
    """Search images that have several vectors each: small objects are found by the region that shows them.

    The graph is over regions. Each region of a query enters through its nearest regions, the weights of all add up and
    the largest stay; diffused scores of regions are pooled to scores of images.

    Parameters
    ----------
    n_neighbors : int
        Neighbours of each region in the graph; 50 for 5 regions an image, 200 for 21 in the paper.
    n_seeds : int
        Nearest regions through which each region of a query enters.
    n_largest : int
        Seeds kept of each query, all its regions together.
    y_mode : {"sum_of_powers", "power_of_sum"}
        See `regional_seeds`.
    pooling : {"generalized_max", "sum", "max"}
        How scores of regions become those of images, see `manifold.ranking.pooling`.
    regularization : float
        lambda of generalised max pooling.
    alpha, gamma, bridge, degree_exponent, edges, method, solver, backend, on_failure, random_state
        See `ManifoldSearch`. Linear pooling is folded in offline by ``solver="index"``, which stores columns of images
        (a saved `manifold.index.PooledColumns` serves too), and by ``FastSpectralRanking(certify=False)``.

    Attributes
    ----------
    graph_ : Graph
        Over the regions.
    ids_ : (N,) external ids of the images
    images_ : (n,) row of the image of each region
    pooling_ : Pooling

    Notes
    -----
    Memory: the graph of all regions; 64 n scores in a search.

    References
    ----------
    Iscen, Tolias, Avrithis, Furon, Chum: "Efficient Diffusion on Region Manifolds", CVPR 2017.

    Examples
    --------
    >>> regions = np.array([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [0.1, -0.9], [0.2, 0.9]])
    >>> search = RegionalSearch(n_neighbors=2, n_seeds=2).fit(regions, images=[0, 0, 1, 1, 2], ids=["a", "b", "c"])
    >>> search.search([[0.95, 0.05]], k=2).ids.tolist()
    ['a', 'b']
    """

    def __init__(
        self,
        *,
        n_neighbors: int = 50,
        n_seeds: int = 200,
        n_largest: int = 200,
        y_mode: str = "sum_of_powers",
        pooling: str = "generalized_max",
        regularization: float = 1.0,
        alpha: float = 0.99,
        gamma: float = 3.0,
        bridge: int = 0,
        degree_exponent: float = 0.0,
        edges: str = "mutual",
        method: str = "auto",
        solver: str | Solver = "auto",
        backend: str | Backend = "auto",
        on_failure: str = "warn",
        random_state: Any = None,
    ) -> None:
        for name, value, allowed in (
            ("y_mode", y_mode, Y_MODES),
            ("pooling", pooling, POOLINGS),
            ("on_failure", on_failure, ("warn", "raise", "ignore")),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {value!r}")
        if not (np.isfinite(regularization) and regularization > 0):
            raise ValueError(f"regularization must be a finite number > 0, got {regularization!r}: 1 in the paper")
        self.n_neighbors = check_count(n_neighbors, "n_neighbors")
        self.n_seeds, self.n_largest = check_count(n_seeds, "n_seeds"), check_count(n_largest, "n_largest")
        self.y_mode, self.pooling, self.regularization = y_mode, pooling, float(regularization)
        self.filter, self.affinity = Diffusion(alpha), Affinity("power", gamma, "cosine")
        self.bridge, self.edges, self.degree_exponent = bridge, edges, check_degree_exponent(degree_exponent)
        self.solver: str | Solver = DiffusionIndex() if solver == "index" else check_solver(solver)
        self.method, self.backend = method, backend
        self.on_failure, self.random_state = on_failure, random_state

    def __repr__(self) -> str:
        fitted = f", fitted to {self.ids_.size:,} images" if hasattr(self, "graph_") else ""
        return (
            f"RegionalSearch(n_neighbors={self.n_neighbors}, n_seeds={self.n_seeds}, n_largest={self.n_largest}, "
            f"y_mode={self.y_mode!r}, pooling={self.pooling!r}, filter={self.filter}, gamma={self.affinity.gamma:g}, "
            f"edges={self.edges!r}, bridge={self.bridge}, solver={self.solver}){fitted}"
        )

    def fit(
        self,
        X: Any,
        images: Any = None,
        *,
        ids: Any = None,
        graph: Graph | None = None,
        progress: Progress | bool | None = None,
    ) -> Self:
        """Build the graph of all regions, the weights of the pooling, and what the solver prepares.

        Parameters
        ----------
        X : (n, d) array-like
            Vectors of regions, compared by cosine.
        images : (n,) int
            The image 0..N-1 of each region, in any order; by default one region each.
        ids : (N,) integers or strings
            External ids of the images; by default 0..N-1.
        graph : Graph, optional
            Made elsewhere, over the rows of X.
        progress
            See `manifold.build_graph`.

        Raises
        ------
        TypeError, ValueError, MemoryBudgetError
            As `manifold.build_graph`; for an image without a region, or ids that are not one for each image.
        """
        X = check_features(X)
        owners = check_owners(images, X.shape[0], name="images")
        points, names = PointSet(X, "cosine"), Ids(ids, int(owners.max()) + 1)
        if graph is None:
            graph = build_graph(
                X,
                self.n_neighbors,
                method=self.method,
                gamma=self.affinity.gamma,
                edges=self.edges,
                bridge=self.bridge,
                backend=self.backend,
                random_state=self.random_state,
                progress=progress,
            )
        elif graph.n_nodes != X.shape[0]:
            raise ValueError(f"X has {X.shape[0]} rows but the graph has {graph.n_nodes} nodes")
        backend = get_backend(self.backend, X)
        weights = region_weights(points, owners, pooling=self.pooling, regularization=self.regularization)
        self.pooling_ = Pooling(owners, weights, backend, maximum=self.pooling == "max")
        prepared = self._prepare(graph, self.pooling_)
        self._ranker = Ranker(graph, self.filter, prepared, backend, self.degree_exponent, self.pooling_)
        self.graph_, self.ids_, self.images_ = graph, names.values, owners
        self._points, self._ids = points, names
        return self

    def _prepare(self, graph: Graph, pooling: Pooling) -> Prepared:
        """Do what needs no seeds, the pooling taken in where it is linear and the solver works offline."""
        solver, _ = get_solver(self.solver, graph, self.filter)
        folded = pooling.scaled(graph.scale(self.degree_exponent))
        if isinstance(solver, DiffusionIndex) and not pooling.maximum:
            return solver.build_pooled(graph, folded.matrix, filter=self.filter, backend=pooling.backend)
        prepared: Any = solver.prepare(graph, self.filter, pooling.backend)
        if isinstance(prepared, PooledColumns):
            if pooling.maximum:
                raise ValueError("a pooled index holds sums of regions, not max pooling: solver='index' serves that")
            prepared.check_pooling(folded.matrix)
        return PooledSpectrum(prepared, folded) if PooledSpectrum.serves(solver, pooling) else prepared

    def search(
        self,
        Q: Any,
        queries: Any = None,
        k: int = 100,
        *,
        slack: float | None = None,
        shortlist: int | None = None,
        truncation: str = "early",
    ) -> Ranking:
        """Rank the images for queries that are not among them.

        Parameters
        ----------
        Q : (r, d) array-like
            Vectors of the regions of all queries.
        queries : (r,) int, optional
            The query 0..q-1 each region belongs to; without it, all are regions of one query.
        k : int
            Images to return; all N where k is larger.
        slack : float, optional
            See `ManifoldSearch.search`.
        shortlist : int, optional
            Diffusion only orders so many images, the best by `region_match`; the others follow in that order.
        truncation : {"early", "late"}
            Diffuse on the regions of the shortlist alone, with degrees and seeds of their own, or on all regions.

        Returns
        -------
        Ranking
            Images with a score of 0 follow in the order of `region_match`. With a shortlist, slack compares its images
            with each other, and "early" by their scores on the regions of the shortlist.

        Notes
        -----
        Cost: one product of Q with X, then as many products with S as the solver takes iterations, 64 queries at a
        time. An early truncation prepares a solver for each query.
        """
        self._require_fit()
        if truncation not in ("early", "late"):
            raise ValueError(f"truncation must be 'early' or 'late', got {truncation!r}")
        if slack is not None and not slack >= 0:
            raise ValueError(f"slack must be at least 0, got {slack!r}")
        asked, single = self._queries(Q, queries)
        k = min(check_count(k, "k"), self.pooling_.n_images)
        if shortlist is None:
            task = Task(k, lambda some: self._nearest(asked.some(some), k), slack=slack)
            answer = self._ranker.rank(self._seeds(asked, self._points), task)
        else:
            answer = self._rank_shortlist(
                asked, k, shortlist=check_count(shortlist, "shortlist"), early=truncation == "early", slack=slack
            )
        rows, scores, proved, diagnostics = answer
        report_failures(diagnostics, self.on_failure)
        ids = self._ids.names(rows)
        return Ranking(ids[0] if single else ids, scores[0] if single else scores, proved, diagnostics)

    def region_scores(self, Q: Any, queries: Any = None) -> NDArray[np.float64]:
        """Return w_j F_j for each region: what it adds to the score of its image, or what the maximum is taken of.

        Parameters
        ----------
        Q, queries
            See `search`.

        Returns
        -------
        (q, n), or (n,) for one query
            Rows in the order of the regions that were fitted.
        """
        self._require_fit()
        asked, single = self._queries(Q, queries)
        prepared = self._ranker.prepared
        if isinstance(prepared, PooledColumns):
            prepared = ConjugateGradient().prepare(self.graph_, self.filter, self.pooling_.backend)
        elif isinstance(prepared, PooledSpectrum):
            prepared = prepared.prepared
        solution = prepared.solve(self._seeds(asked, self._points))
        report_failures(solution, self.on_failure)
        scores = np.maximum(self.pooling_.backend.to_host(solution.scores).astype(np.float64), 0)
        weights = self.pooling_.scaled(self.graph_.scale(self.degree_exponent)).weights
        weighted: NDArray[np.float64] = (scores * weights[:, None]).T
        return weighted[0] if single else weighted

    def _rank_shortlist(
        self, asked: _Queries, k: int, *, shortlist: int, early: bool, slack: float | None
    ) -> tuple[Any, ...]:
        """Rank the shortlist of each query, and let the rest of the baseline follow."""
        blocks = [np.arange(i, min(i + _BLOCK, asked.n)) for i in range(0, asked.n, _BLOCK)]
        size = min(shortlist, self.pooling_.n_images)
        nothing = np.empty((0, max(k, size)), dtype=np.int64)
        baseline = np.concatenate([nothing, *(self._nearest(asked.some(b), max(k, size)) for b in blocks)])
        best = min(k, size)
        candidates = baseline[:, :size]
        if early:

            def seeds(j: int, regions: NDArray[np.int64]) -> sparse.csc_array:
                return self._seeds(asked.some(np.array([j])), PointSet(self._points.X[regions], "cosine"))

            answer = self._ranker.rank_truncated(candidates, best, seeds=seeds, solver=self.solver, slack=slack)
        else:
            task = Task(best, lambda some: baseline[some], candidates=candidates, slack=slack)
            answer = self._ranker.rank(self._seeds(asked, self._points), task)
        rows, scores, proved, report = answer
        rows = np.concatenate([rows, baseline[:, best:k]], axis=1)
        return rows, np.pad(scores, ((0, 0), (0, k - best))), proved, report

    def _queries(self, Q: Any, owners: Any) -> tuple[_Queries, bool]:
        rows, _ = check_queries(Q, self._points.X.shape[1])
        own = np.zeros(len(rows), dtype=np.int64) if owners is None else check_owners(owners, len(rows), name="queries")
        return _Queries(PointSet(rows, "cosine"), own), owners is None

    def _seeds(self, asked: _Queries, points: PointSet) -> sparse.csc_array:
        """Return Y (n, q) on the regions of `points`."""
        n = points.X.shape[0]
        near, similarities = exact_search(asked.points, points, k=min(self.n_seeds, n), backend=get_backend("scipy"))
        return regional_seeds(
            near,
            similarities,
            owners=asked.owners,
            n_nodes=n,
            n_largest=self.n_largest,
            gamma=self.affinity.gamma,
            y_mode=self.y_mode,
        )

    def _nearest(self, asked: _Queries, k: int) -> NDArray[np.int64]:
        """Return the k best images (q, k) of each query by `region_match`, equal ones by their rows."""
        match = region_match(asked.points, self._points, queries=asked.owners, images=self.images_)
        return np.argsort(-match, axis=1, kind="stable")[:, :k]

    def _require_fit(self) -> None:
        if not hasattr(self, "graph_"):
            raise ValueError("this RegionalSearch is not fitted: call fit(X, images) first")
