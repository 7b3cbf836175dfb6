"""Looks at the cost of what each seed touches: walks that end when the candidates that matter are decided.

In: looks at candidates, on a large graph. Out: `Found`. All walks are short at first; those go on, from the start but
for fewer candidates, that leave one open which may come before the n-th that is free.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy import sparse

from manifold._progress import Progress
from manifold._typing import Floats, Ints, Mask
from manifold.backends.proved_members import INSIDE, OPEN, OUTSIDE, Answers, Columns, Terms, decide
from manifold.backends.threads import in_threads
from manifold.discovery._looks import Found, Looks
from manifold.ranking import Fitted
from manifold.solvers import Local, Solution, Status

_BUDGETS = 1 << 13, 1 << 17  # edges of a walk: most decide by the first, the longest would take a hundred times more
_PASSES = 3  # over the graph, of a walk that is to decide
_BLOCK, _STEP = 1 << 10, 16  # walks after which progress is shown; that a thread does in a row


class LocalLooks:
    """Looks of q queries at candidates (q, w), of which the first n that are free will be listed.

    `may` (q, w): which candidates may be listed at all.
    """

    def __init__(self, looks: Looks, fitted: Fitted, near: Ints, may: Mask, *, exclude: int, n: int) -> None:
        self.looks, self.graph, self.near, self.may, self.n = looks, fitted.graph, near, may, n
        lists = Local().prepare(self.graph, fitted.settings.filter, fitted.backend).lists()
        self.relaxed = lists.relaxed
        S = self.relaxed.system
        self.terms = Terms(
            names=np.arange(S.n_nodes) if S.order is None else S.order.astype(np.int64),
            order=lists.order,
            weights=lists.weights,
            a=self.relaxed.a,
            further=self.relaxed.a * self.relaxed.inverse * (1 + 4 * S.rounding),
            k=exclude,
            budget=0.0,
        )
        candidates, columns = near[looks.queries], looks.columns[:, None]
        reached, n_reached = self._reached(candidates)
        every = reached & (n_reached[columns] <= exclude)  # all that is reached is listed
        self.proved = np.where(every, INSIDE, np.where(reached, OPEN, OUTSIDE)).astype(np.int8)
        self.listed, self.scores = every, np.zeros(candidates.shape)
        self.edges, self.facts = np.zeros(looks.own.size, dtype=np.int64), np.zeros((2, looks.own.size))

    def _reached(self, candidates: Ints) -> tuple[Mask, Ints]:
        """Return which candidates (l, w) their columns reach, and how many nodes each does, none that is left out."""
        looks, graph, c = self.looks, self.graph, self.graph.n_components
        every = np.arange(looks.own.size)
        owners = np.repeat(every, np.diff(looks.seeds.indptr))
        homes = np.unique(owners * c + graph.components[looks.seeds.indices])  # a column and a component as one number
        sizes, n_reached = np.bincount(graph.components, minlength=c), np.zeros(every.size, dtype=np.int64)
        np.add.at(n_reached, homes // c, sizes[homes % c])
        n_reached -= (looks.own >= 0) & np.isin(every * c + graph.components[looks.own], homes)
        columns = looks.columns[:, None]
        reached = np.isin(columns * c + graph.components[candidates], homes) & (candidates != looks.own[columns])
        return reached, n_reached

    def found(self, *, certify: bool, progress: Progress | None = None) -> Found:
        """Walk, and further where something is open that matters; with `certify` over the whole graph if need be."""
        nnz = max(self.relaxed.matrix.nnz, 1)
        for budget in (*_BUDGETS, _PASSES * nnz) if certify else _BUDGETS:
            self._walk(self._open(), float(budget), progress)
            progress = None  # what is left is little, and would begin anew
        undecided = np.zeros(self.edges.size, dtype=bool)
        undecided[self.looks.columns[self._open().any(axis=1)]] = True
        status = tuple(Status.APPROXIMATE if one else Status.CONVERGED for one in undecided)
        residual, bound = self.facts
        report = Solution(np.empty(0), status, -(-self.edges // nnz), residual, bound, solver="local")
        return Found(self.listed, self.proved == OUTSIDE, self.scores, report)

    def _open(self) -> Mask:
        """Return which candidates (l, w) are undecided, and may come before the n-th that is free."""
        looks = self.looks
        free = self.may & looks.of_each_query(np.logical_and, self.proved == OUTSIDE)
        matters = self.may & ~looks.of_each_query(np.logical_or, self.proved == INSIDE)
        matters &= np.cumsum(free, axis=1) - free < self.n
        return np.asarray(matters[looks.queries] & (self.proved == OPEN))

    def _walk(self, open_: Mask, budget: float, progress: Progress | None) -> None:
        """Walk for the columns that have open candidates."""
        by_column = np.argsort(self.looks.columns, kind="stable")
        row, place = np.nonzero(open_[by_column])
        row = by_column[row]
        asked, counts = np.unique(self.looks.columns[row], return_counts=True)
        columns, unit = self._columns(asked, counts, self.near[self.looks.queries[row], place])
        answers = Answers(
            np.zeros(row.size, dtype=np.int8),
            np.zeros(row.size, dtype=bool),
            np.zeros(row.size),
            np.zeros(asked.size, dtype=np.int64),
            *np.zeros((2, asked.size)),
        )
        terms = self.terms._replace(budget=budget)
        for start in range(0, asked.size, _BLOCK):
            done = min(start + _BLOCK, asked.size)
            decide_some = partial(self._decide, terms, columns, answers, start)
            in_threads(decide_some, done - start, step=_STEP)
            if progress is not None:
                progress(done, asked.size)
        self.proved[row, place], self.listed[row, place] = answers.proved, answers.listed
        self.scores[row, place] = answers.scores * np.repeat(unit, counts)
        self.edges[asked] += answers.edges
        norm = np.sqrt(np.add.reduceat(columns.b**2, columns.seed_starts[:-1])) if asked.size else unit
        facts = np.stack([answers.residual / norm, answers.doubt * unit * self.relaxed.system.largest_weight])
        self.facts[:, asked] = np.maximum(self.facts[:, asked], facts)  # scores of short walks are kept, too

    def _columns(self, asked: Ints, counts: Ints, candidates: Ints) -> tuple[Columns, Floats]:
        """Return columns at unit scale, in the order of S, and their units, powers of two."""
        S, own = self.relaxed.system, self.looks.own[asked]
        block = sparse.csc_array(self.looks.seeds[:, asked])
        starts = block.indptr.astype(np.int64)
        weights = block.data.astype(np.float64)
        largest = np.maximum.reduceat(weights, starts[:-1]) if asked.size else weights
        unit = np.ldexp(1.0, np.frexp(largest)[1])
        return Columns(
            seed_starts=starts,
            seeds=S.places(block.indices).astype(np.int64),
            b=weights / np.repeat(unit, np.diff(starts)) * self.relaxed.w,
            own=np.where(own >= 0, S.places(np.maximum(own, 0)), -1).astype(np.int64),
            starts=np.concatenate([[0], np.cumsum(counts)]),
            candidates=S.places(candidates).astype(np.int64),
        ), unit

    def _decide(self, terms: Terms, columns: Columns, answers: Answers, start: int, first: int, last: int) -> None:
        at, end = start + first, start + last
        with self.relaxed.workspace() as solve:
            while at < end:
                at, code = decide(solve.matrix, solve.patch, terms, columns, answers, at, end)
                if code:
                    solve.grow(nodes=code == 2, edges=code == 3)
