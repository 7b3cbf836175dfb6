"""Queries look their candidates up in the columns of seeds: those of their positives, and their own.

In: candidates (q, w), rows of positives, seeds of queries. Out, a row a look: which candidates belong to the seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse

from manifold._progress import Progress
from manifold._typing import AnyArray, Floats, Ints, Mask
from manifold.discovery._pool import Pool
from manifold.discovery._reach import exact_solver, reached, solver_for
from manifold.ranking import Fitted, unit_seeds
from manifold.solvers import Solution, merge_reports, updated_report

SIDES = ("positive", "query")


@dataclass(frozen=True)
class Known:
    """The rows of the positives of each query, in one run."""

    rows: Ints
    indptr: Ints

    @classmethod
    def read(cls, positives: object, fitted: Fitted, q: int) -> Known:
        """Read ids: one a query, rows of them padded, or lists of different lengths; see `mine_negatives`."""
        if isinstance(positives, str):  # one name, not its letters
            positives = [positives]
        if isinstance(positives, Sequence) and any(isinstance(one, Sequence | np.ndarray) for one in positives):
            positives = [[one] if isinstance(one, str) else one for one in positives]
            lists = [np.atleast_1d(fitted.ids.rows(one)) for one in positives]
        else:
            lists = list(np.atleast_2d(fitted.ids.rows(positives).T).T)
        if len(lists) != q:
            raise ValueError(f"positives must be one, or a list, for each of the {q} queries, got {len(lists)}")
        lists = [np.unique(one[one >= 0]) for one in lists]
        sizes = np.array([one.size for one in lists], dtype=np.int64)
        if (sizes == 0).any():
            raise ValueError(f"query {np.flatnonzero(sizes == 0)[0]} has no positive: leave it out")
        return cls(np.concatenate([np.empty(0, dtype=np.int64), *lists]), np.concatenate([[0], np.cumsum(sizes)]))

    @property
    def sizes(self) -> Ints:
        """Positives of each query (q,)."""
        return np.diff(self.indptr)

    @property
    def owners(self) -> Ints:
        """The query of each positive."""
        return np.repeat(np.arange(self.sizes.size), self.sizes)

    def pool(self, fitted: Fitted) -> Pool:
        """Return the positives by name, as they were given: no score, and nothing that would need a proof."""
        unknown = np.full(self.rows.size, np.nan)
        return Pool(fitted.ids.names(self.rows), self.indptr, unknown, unknown, np.ones(self.rows.size, dtype=bool))

    def others(self, near: Ints) -> Mask:
        """Return which candidates (q, w) are items, and none of the positives of their query."""
        base = max(int(near.max(initial=0)), int(self.rows.max(initial=0))) + 1
        pairs = self.owners * base + self.rows  # a query and a row as one number
        return (near >= 0) & ~np.isin(np.arange(len(near))[:, None] * base + near, pairs)


class Found(NamedTuple):
    """Of each look (l,) at candidates (l, w): which belong to the seed, which surely do not, and their scores."""

    inside: Mask
    outside: Mask
    scores: Floats
    report: Solution


@dataclass(frozen=True)
class Looks:
    """Seeds (n, c), the node that each leaves out, and who looks at them: query ``queries[l]`` at ``columns[l]``."""

    seeds: sparse.csc_array
    own: Ints
    queries: Ints
    columns: Ints

    @classmethod
    def of(cls, known: Known, seeds: sparse.csc_array, *, sides: tuple[str, ...]) -> Looks:
        """Put the positives, each once, and the queries side by side as columns."""
        n, q = seeds.shape
        distinct, place = np.unique(known.rows, return_inverse=True)
        both = {
            "positive": (unit_seeds(distinct, n), distinct, known.owners, place),
            "query": (seeds, np.full(q, -1), np.arange(q), np.arange(q)),
        }
        parts = [both[side] for side in SIDES if side in sides]
        starts = np.cumsum([0, *(part[0].shape[1] for part in parts)])
        columns = [part[3] + start for part, start in zip(parts, starts, strict=False)]
        joined = sparse.csc_array(sparse.hstack([part[0] for part in parts], format="csc"))
        own, queries = (np.concatenate([part[i] for part in parts]) for i in (1, 2))
        return cls(joined, own, queries, np.concatenate(columns))

    def of_each_query(self, merge: np.ufunc, table: Mask | Floats) -> AnyArray:
        """Return rows (q, w): what looks (l, w) found, merged for each query, of which each looks at least once."""
        order = np.argsort(self.queries, kind="stable")
        starts = np.searchsorted(self.queries[order], np.arange(int(self.queries[order[-1]]) + 1 if order.size else 0))
        return np.asarray(merge.reduceat(table[order], starts, axis=0)) if order.size else table

    def through(
        self,
        fitted: Fitted,
        near: Ints,
        *,
        exclude: int,
        only: Ints | None = None,
        before: Found | None = None,
        progress: Progress | None = None,
    ) -> Found:
        """Solve for all seeds, or exactly for the columns `only`, and look the candidates (q, w) up in them."""
        filter, backend, shape = fitted.settings.filter, fitted.backend, (self.queries.size, near.shape[1])
        graph = fitted.graph if only is None else fitted.graph.astype(np.float64)
        asked = np.arange(self.own.size) if only is None else only
        order = np.argsort(self.columns, kind="stable")
        starts = np.searchsorted(self.columns[order], np.arange(self.own.size + 1))
        inside, outside = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        scores, reports = np.zeros(shape), []
        if before is not None:
            inside, outside, scores = before.inside.copy(), before.outside.copy(), before.scores.copy()
        seeds, own = self.seeds[:, asked], self.own[asked]
        solver = solver_for("auto", graph, filter) if only is None else exact_solver(graph, filter)
        ready = solver.prepare(graph, filter, backend)
        for reach, report in reached(ready, seeds, graph=graph, filter=filter, backend=backend, k=exclude, own=own):
            reports.append(report)
            counts = np.diff(starts)[asked[reach.columns]]
            looks = np.concatenate([order[starts[c] : starts[c + 1]] for c in asked[reach.columns]])
            place, candidates = np.repeat(np.arange(counts.size), counts), near[self.queries[looks]]
            found = reach.at(candidates, place)
            inside[looks] = reach.belongs(candidates, found, k=exclude, place=place)
            outside[looks] = reach.surely_out(found, k=exclude, place=place)
            scores[looks] = np.maximum(found, 0)
            if progress is not None:
                progress(int(reach.columns[-1]) + 1, asked.size)
        report = merge_reports(reports)
        return Found(
            inside, outside, scores, report if before is None else updated_report(before.report, report, asked)
        )
