"""Seeds to lists: by stored columns where there are any, else by a solve, and on until the slack is what was asked.

In: seeds Y (n, q), non-negative. Out: rows, scores and slack of each query, and how its solve went.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from manifold._typing import AnyArray, Floats, Mask
from manifold.backends import Array, Backend
from manifold.filters import Filter
from manifold.graph import Graph
from manifold.index import of_images, of_nodes
from manifold.ranking._local import best_of_each, filled
from manifold.ranking._select import (
    Baseline,
    Bounds,
    ErrorBounds,
    Lists,
    Reached,
    Rows,
    Selection,
    non_negative,
    score_bounds,
)
from manifold.ranking._stored import Answer, StoredLists
from manifold.ranking.pooling import Pooling
from manifold.solvers import (
    ConjugateGradient,
    Prepared,
    Solution,
    Solver,
    Status,
    get_solver,
    merge_reports,
    updated_report,
)
from manifold.solvers.conjugate_gradient import PreparedConjugateGradient
from manifold.solvers.local import is_local
from manifold.solvers.proved import ProvedLists

Seeding = Callable[[int, Rows], sparse.csc_array]  # a query and the nodes of its subgraph, ascending -> Y (m, 1)

_BLOCK = 64
_PLAIN = 1e-3  # relative residual, in the precision of the graph, where nothing is to be proved
_COARSE = 1e-4  # the same where lists are proved by their candidates' own columns
REFINEMENTS = (1e-4, 1e-6, 1e-8, 1e-10, 1e-12)  # relative residuals, in float64, each from the answer before


@dataclass(frozen=True, eq=False)
class Task:
    """What is wanted of each query: k rows of the collection, or of its candidates, without its own row.

    With `allowed` (of all that is ranked) only some rows may be listed; scores are those of the whole collection.
    """

    k: int
    baseline: Baseline
    candidates: Rows | None = None
    own: Rows | None = None
    slack: float | None = None
    early: str | Solver | None = None  # solve on the subgraph of each query's candidates, with this solver
    signed: bool = False  # some seeds are below 0: no stored columns, and no lists of a solver's own
    allowed: Mask | None = None

    @cached_property
    def nodes(self) -> Rows | None:
        """Rows that may be listed, ascending; None where all may.

        >>> Task(1, lambda some: some, allowed=np.array([False, True])).nodes.tolist()
        [1]
        """
        return None if self.allowed is None else np.flatnonzero(self.allowed)

    def among_candidates(self) -> Task:
        """Return the task with what may not be listed taken out of its candidates.

        >>> task = Task(1, lambda some: some, candidates=np.array([[1, 0, -1]]), allowed=np.array([False, True]))
        >>> task.among_candidates().candidates.tolist()
        [[1, -1, -1]]
        """
        if self.allowed is None or self.candidates is None:
            return self
        may = self.allowed[self.candidates] & (self.candidates >= 0)
        return replace(self, candidates=np.where(may, self.candidates, -1), allowed=None)

    def n_listed(self, queries: Rows) -> Rows:
        """Return how many rows (q,) each query may list at most.

        >>> task = Task(2, lambda some: some, own=np.array([1, 0]), allowed=np.array([False, True]))
        >>> task.n_listed(np.array([0, 1])).tolist()
        [0, 1]
        """
        if self.allowed is None or self.nodes is None:
            return np.full(queries.size, self.k)
        left_out = 0 if self.own is None else self.allowed[self.own[queries]].astype(np.int64)
        most: Rows = np.minimum(self.k, np.broadcast_to(self.nodes.size - left_out, queries.shape))
        return most


@dataclass(frozen=True, eq=False)
class Ranker:
    """A graph, a filter and a prepared solver that rank; never changed by a ranking.

    With a pooling the nodes are regions and their images are ranked; a prepared solver that has taken the pooling in
    answers with the scores of images.
    """

    graph: Graph
    filter: Filter
    prepared: Prepared
    backend: Backend
    degree_exponent: float = 0.0
    pooling: Pooling | None = None

    def __post_init__(self) -> None:
        _ = self._lists  # compiled, and made ready, when a search is fitted: not with its first query

    def rank(self, seeds: sparse.csc_array, task: Task) -> Answer:
        """Rank 64 queries at a time; those whose slack is larger than asked are solved more exactly."""
        if task.early is not None and task.candidates is not None:
            mine: Seeding = lambda j, nodes: seeds[:, [j]][nodes]  # noqa: E731
            return self.rank_truncated(
                task.candidates, task.k, seeds=mine, solver=task.early, slack=task.slack, allowed=task.allowed
            )
        task = replace(task.among_candidates(), signed=bool((seeds.data < 0).any()))
        lists = self._lists if task.allowed is None or self._lists is None else self._lists.only(task.allowed)
        q = seeds.shape[1]
        rows, scores, slack = np.empty((q, task.k), dtype=np.int64), np.empty((q, task.k)), np.empty(q)
        reports = []
        for start in range(0, q, _BLOCK):
            queries = np.arange(start, min(start + _BLOCK, q))
            block = seeds if q <= _BLOCK else seeds[:, queries]  # to cut a query out takes as long as to list it
            if self._looks_up(task):
                *answer, solution = self._stored(block, queries, task).look_up(task.k)
            elif lists is not None and not task.signed:
                *answer, solution = self._list(lists, block, queries, task)
                rows[queries], scores[queries], slack[queries] = answer
                reports.append(solution)
                continue
            else:
                solution = self.prepared.solve(block)
                pooled = self.prepared.is_pooled
                bounds = score_bounds(solution, backend=self.backend) if pooled else self._bounds(solution, block)
                answer = list(self._select(bounds, queries, task))
            solution = self._refine(solution, answer, block, queries=queries, task=task)
            rows[queries], scores[queries], slack[queries] = answer
            reports.append(replace(solution, scores=np.empty(0)))
        slack[np.diff(seeds.indptr) == 0] = np.inf  # without a seed all scores are 0: no list is better than another
        return rows, scores, slack, merge_reports(reports)

    def rank_truncated(
        self,
        candidates: Rows,
        k: int,
        *,
        seeds: Seeding,
        solver: str | Solver,
        slack: float | None = None,
        allowed: Mask | None = None,
    ) -> Answer:
        """Rank the candidates (q, m; -1 pads) of each query on their induced subgraph: early truncation.

        W is cut first and normalised after (Iscen et al., CVPR 2017, sections 4.4 and 5.3); the slack speaks of scores
        on the subgraph. Rows of W are copied and a solver is prepared for each query. Candidates that are not allowed
        are nodes, too.
        """
        q = len(candidates)
        rows, scores, slacks = np.full((q, k), -1, dtype=np.int64), np.zeros((q, k)), np.zeros(q)
        zero = np.zeros(1)
        nothing = Solution(np.empty(0), (Status.CONVERGED,), zero.astype(np.int64), residual=zero, error_bound=zero)
        reports = [nothing] * q
        for j, listed in enumerate(candidates):
            items = np.unique(listed[listed >= 0])
            if not items.size:
                continue
            nodes = items if self.pooling is None else np.flatnonzero(np.isin(self.pooling.owners, items))
            may = listed >= 0 if allowed is None else (listed >= 0) & allowed[listed]
            here = np.where(may, np.searchsorted(items, listed), -1)[None]
            task = Task(k, lambda some: np.empty((some.size, 0), dtype=np.int64), candidates=here, slack=slack)
            found, *facts, reports[j] = self._restricted(nodes, solver).rank(seeds(j, nodes), task)
            rows[j] = np.where(found[0] >= 0, items[found[0]], -1)
            scores[j], slacks[j] = (fact[0] for fact in facts)
        return rows, scores, slacks, merge_reports(reports)

    def _restricted(self, nodes: Rows, solver: str | Solver) -> Ranker:
        """Return the ranker of the induced subgraph, whose degrees are its own; a stored index does not serve there."""
        graph = self.graph.subgraph(nodes)
        offline = not isinstance(solver, str) and solver.is_offline
        settings, _ = get_solver("auto" if offline else solver, graph, self.filter)
        pooling = None if self.pooling is None else self.pooling.subset(nodes)
        prepared = settings.prepare(graph, self.filter, self.backend)
        return replace(self, graph=graph, prepared=prepared, pooling=pooling)

    def _looks_up(self, task: Task) -> bool:
        """Whether lists come from stored columns of what is ranked."""
        ranked = self.prepared.is_pooled == (self.pooling is not None)
        return self.prepared.holds_columns and ranked and task.candidates is None and not task.signed

    def _bounds(self, solution: Solution, block: sparse.csc_array) -> Bounds | ErrorBounds:
        """Return bounds on the scores of what is ranked, from a solution on the nodes."""
        reached = Reached.of(self.graph, block)
        weights = 1.0 if self._scale is None else self.backend.asarray(self._scale[:, None])
        if self.pooling is None:
            scores = non_negative(solution, self.backend)
            scores = scores if self._scale is None else scores * weights
            return ErrorBounds(scores, solution.error_bound, reached, self._scale)
        return self.pooling.bounds(score_bounds(solution, backend=self.backend, reached=reached, weights=weights))

    def _select(self, bounds: Bounds | ErrorBounds, queries: Rows, task: Task) -> Lists:
        selection = Selection(bounds, self.backend)
        if task.candidates is not None:
            return selection.among(task.candidates[queries], task.k)
        own = None if task.own is None else task.own[queries]
        if task.nodes is None:
            return selection.overall(task.k, queries, baseline=task.baseline, own=own)
        return selection.overall_of(task.nodes, task.k, queries, baseline=task.baseline, own=own)

    def _stored(self, block: sparse.csc_array, queries: Rows, task: Task) -> StoredLists:
        """Return queries as they are looked up in stored columns."""
        index = self.prepared
        assert of_nodes(index) or of_images(index)  # `_looks_up` has asked
        own = None if task.own is None else task.own[queries]
        wanted = np.inf if task.slack is None else task.slack
        return StoredLists(index, block, task.n_listed(queries), wanted, own, task.allowed, self._scale)

    @cached_property
    def _lists(self) -> ProvedLists | None:
        """What lists the best nodes or images by itself, where there is such a solver."""
        if not is_local(self.prepared):
            return None
        if self.pooling is None:
            lists = self.prepared.lists(self._scale)
        else:
            weights = self.pooling.weights if self._scale is None else self.pooling.weights * self._scale
            lists = self.prepared.groups(self.pooling.owners, weights, maximum=self.pooling.maximum)
        lists.make_ready()
        return lists

    def _list(self, lists: ProvedLists, block: sparse.csc_array, queries: Rows, task: Task) -> Answer:
        """Answer by local solves; where they end without a proof, by one of the whole graph from what they found."""
        q, n_listed = queries.size, task.n_listed(queries)
        rows, scores, slack = np.full((q, task.k), -1, dtype=np.int64), np.zeros((q, task.k)), np.full(q, np.inf)
        own = None if task.own is None else task.own[queries]
        candidates = None if task.candidates is None else task.candidates[queries]
        local = best_of_each(lists, block, task.k, slack=task.slack, candidates=candidates, own=own)
        short = [j for j, found in enumerate(local.found) if found is not None and found.rows.size < n_listed[j]]
        following = iter(task.baseline(queries[short]) if short and candidates is None else ())
        for j, found in enumerate(local.found):
            if found is None:
                continue
            followers = np.empty(0, dtype=np.int64)
            if candidates is not None:
                followers = candidates[j]
            elif found.rows.size < n_listed[j]:
                followers = next(following)
                followers = followers[followers >= 0]
            left_out = np.empty(0, dtype=np.int64) if own is None else own[j : j + 1]
            k = int(n_listed[j])
            rows[j, :k], scores[j, :k], slack[j] = filled(found, k, followers, left_out=left_out, nodes=task.nodes)
        return (
            rows,
            scores,
            slack,
            self._go_on(
                local.report(self.graph.n_entries),
                [rows, scores, slack],
                block,
                queries=queries,
                task=task,
                todo=local.left,
                x0=self.backend.asarray(local.start(self.graph.n_nodes)),
                rtols=(lists.rtol, *REFINEMENTS),
            ),
        )

    def _refine(
        self, solution: Solution, answer: list[AnyArray], block: sparse.csc_array, *, queries: Rows, task: Task
    ) -> Solution:
        """Solve on, in place, the queries of a block whose list is not full or whose slack is more than was asked."""
        rows, _, slack = answer
        wanted, short = np.inf if task.slack is None else task.slack, (rows >= 0).sum(axis=1) < task.n_listed(queries)
        todo = np.flatnonzero((slack > wanted) | (self._looks_up(task) & short))
        if todo.size and self._looks_up(task) and (stored := self._stored(block, queries, task)).at_once:
            coarse = replace(self._plain, settings=ConjugateGradient(rtol=_COARSE))
            solved = coarse.solve(block[:, todo], x0=self._start(solution, block, todo))
            stored.settle(answer, todo, self.backend.to_host(solved.scores))
            solution, todo = updated_report(solution, solved, todo), todo[slack[todo] > wanted]
        x0 = self._start(solution, block, todo) if todo.size else None
        rtols = (_PLAIN, *REFINEMENTS) if task.slack is None and task.allowed is not None else REFINEMENTS
        return self._go_on(solution, answer, block, queries=queries, task=task, todo=todo, x0=x0, rtols=rtols)

    def _go_on(
        self,
        solution: Solution,
        answer: list[AnyArray],
        block: sparse.csc_array,
        *,
        queries: Rows,
        task: Task,
        todo: Rows,
        x0: Array | None,
        rtols: tuple[float, ...],
    ) -> Solution:
        """Solve the queries `todo` of a block from x0, ever more exactly, until their slack is what was asked."""
        wanted, slack = np.inf if task.slack is None else task.slack, answer[2]
        several = len(self.filter.resolvents or ()) > 1  # systems, each with a solution of its own
        for rtol in rtols:
            if not todo.size:
                break
            whole = self._plain if rtol == _PLAIN else self._exact
            solver = replace(whole, settings=ConjugateGradient(rtol=rtol))
            part = block[:, todo]
            finer = solver.solve(part, x0=None if several else x0)
            for old, new in zip(answer, self._select(self._bounds(finer, part), queries[todo], task), strict=True):
                old[todo] = new
            solution = updated_report(solution, finer, todo)
            going = np.flatnonzero(slack[todo] > wanted)
            todo, x0 = todo[going], finer.scores[:, self.backend.asarray(going)]
        return solution

    def _start(self, solution: Solution, block: sparse.csc_array, todo: Rows) -> Array | None:
        """Return scores (n, q) to go on from: those of the solve, or what the stored columns add up to, or none."""
        if self.prepared.is_pooled:
            return None
        if solution.scores.size:
            return solution.scores[:, self.backend.asarray(todo)]
        index = self.prepared
        assert of_nodes(index)  # what else looks up answers has no scores
        parts = [slice(block.indptr[j], block.indptr[j + 1]) for j in todo]
        return np.stack([index.estimate(block.indices[part], block.data[part]) for part in parts], axis=1)

    @cached_property
    def _plain(self) -> PreparedConjugateGradient:
        return ConjugateGradient().prepare(self.graph, self.filter, self.backend)

    @cached_property
    def _exact(self) -> PreparedConjugateGradient:
        if is_local(self.prepared):
            return self.prepared.whole
        return ConjugateGradient().prepare(self.graph.astype(np.float64), self.filter, self.backend)

    @cached_property
    def _scale(self) -> Floats | None:
        if not self.degree_exponent:
            return None
        return self.graph.scale(self.degree_exponent)
