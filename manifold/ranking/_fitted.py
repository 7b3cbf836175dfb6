"""One fitted state: all that a fit makes, and how it answers; frozen, held by a façade, swapped by one assignment.

In: what a fit, a change or a save made (`_fit`, `_change`, `_saved`). Out: rankings, of seeds and a task.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from manifold._resources import require_memory
from manifold._typing import AnyArray, Floats, Ints
from manifold.backends import Backend, get_backend
from manifold.graph import Graph
from manifold.index import DiffusionIndex, of_images
from manifold.neighbors import Cells, Entrance, Neighbors, PointSet, exact_search
from manifold.ranking._adaptation import Asked, NeighborReach, evidence_of, reciprocal_seeds
from manifold.ranking._base import Ranking
from manifold.ranking._calibration import Calibration
from manifold.ranking._collection import Ids
from manifold.ranking._entrance import explained, seed_cells
from manifold.ranking._folded import PooledSpectrum
from manifold.ranking._ranker import Ranker, Task
from manifold.ranking._settings import SearchSettings
from manifold.ranking.pooling import Pooling
from manifold.ranking.seeds import query_seeds
from manifold.ranking.tuning import Tuning
from manifold.solvers import Prepared, Solution, Solver, get_solver, report_failures
from manifold.solvers.measured import Groups, solver_of_lists

_ANSWER, _ADAPTED = 32, 112  # bytes that an answer takes at the peak, beside its name
_LITTLE = 1 << 16  # bytes that every machine has
_OCTAVES = 511  # that degree^p may span on either side of 1: half of float64's, the other half is for the scores

Similarities = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Fitted:
    """What a search holds once it is fitted.

    Reference: guide *notation*, "How the parts meet".

    Attributes
    ----------
    settings : SearchSettings
        Those in force: what tuning chose stands in them.
    ids : Ids
        Names of what is ranked: items, or images.
    graph : Graph
    backend : Backend
    home : str
        Where the features of the fit were, and queries have to be: "cpu", or a device.
    points : PointSet or None
        The features; None for a search fitted without.
    neighbors : Neighbors or None
        The lists that the graph is made of, with a reserve after items have left; None where it was given.
    one_sided : float
        Weight of edges and seeds that are not reciprocal.
    scales : (n,) or None
        sigma of each point, for the self-tuning kernel.
    reach : NeighborReach or None
        How near a query must be to each item to be among its neighbours.
    spread : float
        Standard deviation of the similarities of one item to all, see `spread_of`; 0 where they are not known.
    tuning, calibration : Tuning or None, Calibration or None
    pooling : Pooling or None
        Of a search over regions: their images and weights.
    cells : Cells or None
        In which the nearest items of a query are looked for; None where all items are compared.
    prepared : Prepared or None
        A solver prepared elsewhere, such as stored columns; else `ranker` prepares that of the settings.
    """

    settings: SearchSettings
    ids: Ids
    graph: Graph
    backend: Backend
    home: str = "cpu"
    points: PointSet | None = None
    neighbors: Neighbors | None = None
    one_sided: float = 0.0
    scales: Floats | None = None
    reach: NeighborReach | None = None
    spread: float = 0.0
    tuning: Tuning | None = None
    pooling: Pooling | None = None
    cells: Cells | None = None
    calibration: Calibration | None = None
    prepared: Prepared | None = None

    @cached_property
    def ranker(self) -> Ranker:
        """What ranks: the graph with its prepared solver.

        >>> from manifold import ManifoldSearch
        >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
        >>> fitted.ranker.filter
        Diffusion(alpha=0.95)
        """
        s = self.settings
        check_scale(self.graph, s.degree_exponent)
        prepared = _prepared(self) if self.prepared is None else self.prepared
        return Ranker(self.graph, s.filter, prepared, self.backend, s.degree_exponent, self.pooling)

    def __getstate__(self) -> dict[str, object]:
        """Leave out what is prepared in an instant, and may hold a factor that no pickle takes; keep stored columns."""
        state = {part.name: getattr(self, part.name) for part in fields(self)}
        if self.ranker.prepared.holds_columns:
            state["prepared"] = self.ranker.prepared
        return state

    @cached_property
    def solver(self) -> tuple[Solver, str]:
        """The settings of the solver and why it is this one: for "auto", by what lists cost on this graph.

        >>> from manifold import ManifoldSearch
        >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
        >>> fitted.solver[0]
        Direct()
        """
        s, graph, pooling = self.settings, self.graph, self.pooling
        if s.solver != "auto":
            return get_solver(s.solver, graph, s.filter)
        scale, k, groups = graph.scale(s.degree_exponent) if s.degree_exponent else None, 10, None
        if pooling is None:
            k = self.depth(k, graph.n_nodes)
        else:
            folded = pooling if scale is None else pooling.scaled(scale)
            n_largest = s.n_seeds if s.regions is None else s.regions.n_largest
            groups = Groups(folded.owners, folded.weights, folded.maximum, n_largest)
        return solver_of_lists(graph, s.filter, self.backend, k=k, scale=scale, groups=groups)

    @property
    def reason(self) -> str:
        """The solver, and why it is this one.

        >>> from manifold import ManifoldSearch
        >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
        >>> fitted.reason.split()[0], fitted.reason.split()[-1]
        ('direct,', 'Direct()')
        """
        solver, why = self.solver
        return f"{solver}, {why}" if why in ("as given", "as named") else f"{why}\n         {solver}"

    def explain(self) -> str:
        """Return what stands behind ``seeds    the ... nearest ... of a query,``, for people.

        >>> from manifold import ManifoldSearch
        >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
        >>> for line in fitted.explain().splitlines()[:3]:
        ...     print(line)
        weighted by power, gamma=6
                 found exactly, because 3 x 2 numbers are soon compared
        filter   Diffusion(alpha=0.95)
        """
        s = self.settings
        p = s.degree_exponent
        seen, lists = "", self.neighbors
        if lists is not None and self.reach is not None:
            seen = evidence_of(lists.first(min(s.n_neighbors, lists.n_neighbors)), self.reach)
        adapted = "" if s.adaptation is None else s.adaptation.explain(self.one_sided, seen)
        tuned = "" if self.tuning is None else f"\ntuning   {self.tuning.evidence}"
        tuned += "" if self.calibration is None else f"\nrelevant {self.calibration}"
        return (
            f"weighted by {s.affinity}\n         {explained(s, self.points, self.cells)}\n"
            f"filter   {s.filter}\nsolver   {self.reason}\n"
            f"scores   F" + (f" / degree^{p:g}" if p else "") + adapted + tuned
        )

    def with_settings(self, settings: SearchSettings) -> Fitted:
        """Return this state with a solver prepared for other settings, on the same graph.

        >>> from manifold import ManifoldSearch
        >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
        >>> fitted.with_settings(replace(fitted.settings, n_seeds=2)).settings.n_seeds
        2
        """
        changed = replace(self, settings=settings, prepared=None, calibration=None)
        if settings.seed_search != self.settings.seed_search:
            changed = replace(changed, cells=seed_cells(settings, self.points, self.neighbors, graph=self.graph))
        _ = changed.ranker  # what the solver refuses is refused here
        return changed

    def require_points(self, what: str) -> PointSet:
        """Return the features; raise ValueError where there are none.

        >>> from manifold import ManifoldSearch
        >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
        >>> fitted.require_points("nothing to compare").X.shape
        (3, 2)
        """
        if self.points is None:
            raise ValueError(f"this search was fitted without X: {what}")
        return self.points

    def nearest(self, queries: PointSet, k: int, *, rows: Ints | None = None) -> tuple[Ints, Similarities]:
        """Return the k nearest points of queries; of points, which are the queries themselves, the k nearest others.

        >>> from manifold import ManifoldSearch
        >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
        >>> fitted.nearest(fitted.points, 1, rows=np.array([2]))[0].tolist()
        [[1]]
        """
        points = self.require_points("it has no nearest items")
        if not k:  # of a collection that all have left
            q = queries.X.shape[0] if rows is None else rows.size
            return np.empty((q, 0), dtype=np.int64), np.empty((q, 0), dtype=np.float32)
        return exact_search(queries, points, k=k, drop_self=queries is points, rows=rows, backend=get_backend("scipy"))

    @cached_property
    def entrance(self) -> Entrance | None:
        """What finds the nearest items of queries in the cells, and says how many are proved; None where exactly.

        >>> from manifold import ManifoldSearch
        >>> X = np.random.default_rng(1).normal(size=(200, 3))
        >>> entrance = ManifoldSearch(seed_search="cells").fit(X).fitted_.entrance
        >>> entrance.nearest(PointSet(X[:1].astype(np.float32), "cosine"), 5).proved.tolist()
        [5]
        """
        if self.cells is None or self.points is None:
            return None
        return self.cells.over(self.points, self.neighbors, self.graph.unverified_affinity)

    def entering(self, queries: PointSet, k: int, *, rows: Ints | None = None) -> tuple[Ints, Similarities]:
        """Return the k nearest points of queries as `nearest` does, or what cells and walks find of them.

        >>> from manifold import ManifoldSearch
        >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
        >>> fitted.entering(fitted.points, 1, rows=np.array([2]))[0].tolist()
        [[1]]
        """
        if self.entrance is None or not k:
            return self.nearest(queries, k, rows=rows)
        found = self.entrance.nearest(queries, k, rows=rows)
        return found.ids, found.similarities

    def seeds(self, near: Ints, similarities: Similarities) -> sparse.csc_array:
        """Return Y (n, q) of queries with these nearest items, best first.

        >>> from manifold import ManifoldSearch
        >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
        >>> fitted.seeds(np.array([[2]]), np.array([[0.5]], dtype=np.float32)).toarray().ravel().tolist()
        [0.0, 0.0, 0.015625]
        """
        s, n = self.settings, self.graph.n_nodes
        near, similarities = near[:, : s.n_seeds], similarities[:, : s.n_seeds]
        if s.adaptation is None or self.reach is None:
            return query_seeds(near, similarities, n_nodes=n, affinity=s.affinity, node_scales=self.scales)
        return reciprocal_seeds(
            near,
            similarities,
            reach=self.reach.edge,
            one_sided=self.one_sided,
            affinity=s.affinity,
            node_scales=self.scales,
        )

    def depth(self, k: int, most: int) -> int:
        """Return how many items to rank where k are asked for.

        >>> from manifold import ManifoldSearch
        >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
        >>> fitted.depth(2, 3), fitted.depth(2, 1000)
        (3, 200)
        """
        adaptation = self.settings.adaptation
        return k if adaptation is None else min(most, max(k, adaptation.depth))

    def ranked(
        self,
        seeds: sparse.csc_array,
        task: Task,
        *,
        k: int,
        asked: Asked | None = None,
        single: bool = False,
        bad: AnyArray | None = None,
    ) -> Ranking:
        """Rank for seeds, put the lists in the order that the settings ask for, and name the items."""
        check_slack(task.slack)
        q, adapted = seeds.shape[1], self.settings.adaptation is not None
        each = (_ADAPTED if adapted else _ANSWER) + self.ids.values.itemsize
        purpose, cure = f"{task.k} answers to each of {q} queries", "ask for fewer, or for some queries at a time"
        if q * task.k * each > _LITTLE:  # to ask what is free takes as long as a query
            require_memory(q * task.k * each, purpose=purpose, cure=cure)
        rows, scores, slack, diagnostics = self.ranker.rank(seeds, task)
        report_failures(diagnostics, self.settings.on_failure)
        kept, adaptation = np.zeros(rows.shape[0], dtype=np.int64), self.settings.adaptation
        diffusion = pool_slack = similarities = None
        if asked is not None and adaptation is not None:
            best = np.sort(rows, axis=1)
            rows, scores, diffusion, similarities, kept = adaptation.in_order(
                rows, scores, asked, reach=self.reach, spread=self.spread
            )
            other = (np.sort(rows, axis=1) != best).any(axis=1) | (rows.shape[1] > k)
            if other.any():  # what is proved is proved of the pool, and another order chose of it
                pool_slack, slack = slack, np.where(other, np.inf, slack)
            diffusion, similarities = diffusion[:, :k], similarities[:, :k]
        elif asked is not None:
            similarities = np.where(rows >= 0, asked.closeness(rows), -np.inf)
        rows, scores, kept = rows[:, :k], scores[:, :k], np.minimum(kept, k)
        if bad is not None:
            rows[bad], scores[bad], slack[bad], kept[bad] = -1, 0, np.inf, 0
            if diffusion is not None:
                diffusion[bad] = 0
            if similarities is not None:
                similarities[bad] = -np.inf
            if pool_slack is not None:
                pool_slack[bad] = np.inf
        return self.named(
            rows,
            scores,
            slack=slack,
            diagnostics=diagnostics,
            diffusion=diffusion,
            pool_slack=pool_slack,
            similarities=similarities,
            kept=kept,
            single=single,
        )

    def named(
        self,
        rows: Ints,
        scores: Floats,
        *,
        slack: Floats,
        diagnostics: Solution,
        diffusion: Floats | None = None,
        pool_slack: Floats | None = None,
        similarities: AnyArray | None = None,
        kept: Ints | None = None,
        single: bool = False,
    ) -> Ranking:
        """Return rows and scores as a ranking of names.

        >>> from manifold import ManifoldSearch
        >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
        >>> report = fitted.ranker.prepared.solve([[1.0], [0.0], [0.0]])
        >>> fitted.named(np.array([[2, -1]]), np.ones((1, 2)), slack=np.zeros(1), diagnostics=report).ids.tolist()
        [[2, -1]]
        """
        ids = self.ids.names(rows)
        if single:
            ids, scores = ids[0], scores[0]
            diffusion, similarities = (None if part is None else part[0] for part in (diffusion, similarities))
        return Ranking(
            ids,
            scores,
            slack,
            diagnostics,
            kept,
            diffusion=diffusion,
            pool_slack=pool_slack,
            similarities=similarities,
        )


def check_scale(graph: Graph, exponent: float) -> None:
    """Raise ValueError for an exponent p for which degree^p, or a score divided by it, leaves the range of float64.

    >>> from manifold import graph_from_affinity
    >>> check_scale(graph_from_affinity([[0, 4], [4, 0]]), 255.5)  # 4^255.5 = 2^511
    """
    if exponent:
        reached = np.log2(graph.degrees[graph.degrees > 0])
        widest = float(np.abs(reached).max(initial=0))
        if exponent * widest > _OCTAVES:
            raise ValueError(
                f"degree_exponent={exponent:g} is too large for degrees of 2^{-widest:.1f} or 2^{widest:.1f}: scores "
                f"would underflow; choose at most {_OCTAVES / widest:.3g}, 0.5 say"
            )


def check_slack(slack: float | None) -> None:
    """Raise ValueError for a slack below 0."""
    if slack is not None and not slack >= 0:
        raise ValueError(f"slack must be at least 0, got {slack!r}")


def _prepared(fitted: Fitted) -> Prepared:
    """Do what needs no seeds, a linear pooling taken in where the solver works offline."""
    s, graph, backend, pooling = fitted.settings, fitted.graph, fitted.backend, fitted.pooling
    solver, _ = fitted.solver
    if pooling is None:
        return solver.prepare(graph, s.filter, backend)
    folded = pooling.scaled(graph.scale(s.degree_exponent))
    if isinstance(solver, DiffusionIndex) and not pooling.maximum:
        return solver.build_pooled(graph, folded.matrix, filter=s.filter, backend=backend)
    prepared = solver.prepare(graph, s.filter, backend)
    if of_images(prepared):
        if pooling.maximum:
            raise ValueError("a pooled index holds sums of regions, not max pooling: solver='index' serves that")
        prepared.check_pooling(folded.matrix)
    return PooledSpectrum.of(prepared, folded) or prepared
