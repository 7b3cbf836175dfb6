"""Several examples in one question: some of them, all of them, and none of those.

    any     F = h(S) mean of y_j             all    F = min over j of h(S) y_j
    avoid   F - beta h(S) mean of the others', cut at 0

Scores of examples are known to an error, F_j in [l_j, u_j]; the intervals go through min and minus, so that lists of
such questions are certified like others. Sums are one column of signed seeds, and need no intervals.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
from scipy import sparse

from manifold._arrays import as_array, is_frame
from manifold._checks import check_can, check_count
from manifold._typing import Ints
from manifold.ranking._base import Ranking
from manifold.ranking._fitted import Fitted, check_slack
from manifold.ranking._ranker import REFINEMENTS, Task
from manifold.ranking._select import Bounds, Reached, Selection, score_bounds
from manifold.ranking.seeds import unit_seeds
from manifold.solvers import ConjugateGradient, Prepared, Solution, merge_reports, report_failures

AVOIDED = 0.25  # how much what is to be avoided counts beside what is asked for
HOW = ("any", "all")


class Searched(Protocol):
    """A fitted search over items: `manifold.ManifoldSearch`."""

    @property
    def fitted_(self) -> Fitted:
        """What its fit made."""


def by_examples(
    search: Searched,
    like: object,
    avoid: object = None,
    *,
    k: int = 100,
    how: str = "any",
    beta: float = AVOIDED,
    slack: float | None = None,
) -> Ranking:
    """Rank the collection for one question of several examples: like these, unlike those.

    Reference: guide *notation*, "Own methods".

    Parameters
    ----------
    search : ManifoldSearch
    like : (m,) ids, or (m, d) features
        Items of the collection, or points that are not in it.
    avoid : likewise, optional
        What to lead away from; it may be of the other kind.
    k : int
        Items to return; examples that are items are not among them.
    how : {"any", "all"}
        Near any of the examples (the mean of their scores), or near all of them (the least of their scores), which is
        0 where one of them does not reach.
    beta : float
        How much scores of examples to avoid count. A quarter helps a little where classes are apart: mAP of three
        examples, and three of the nearest other class to avoid, .955 -> .961 (digits). It hurts where what is near in
        features is wanted, too, and more with every bit: photos of groceries .75 without, .74 with a quarter, .72 with
        a half, .66 with 1.
    slack : float, optional
        As for `ManifoldSearch.search`; 0 certifies the set.

    Returns
    -------
    Ranking
        Of one query; slack 0 is a certificate of ``max(F - beta F', 0)``.

    Raises
    ------
    ValueError, TypeError
        For no example, ids that are not in the collection, features of another width, beta below 0 or an unknown word.

    Examples
    --------
    >>> from manifold import ManifoldSearch
    >>> line = np.column_stack([np.ones(6), np.arange(6) / 6])
    >>> search = ManifoldSearch(n_neighbors=2).fit(line, ids=list("abcdef"))
    >>> by_examples(search, ["a", "c"], k=1, how="all", slack=0).ids.tolist()
    ['b']
    >>> by_examples(search, ["c"], ["b"], k=2, beta=1.0, slack=0).ids.tolist()
    ['d', 'e']
    """
    if how not in HOW:
        raise ValueError(f"how must be one of {HOW}, got {how!r}")
    if not (np.isfinite(beta) and beta >= 0):
        raise ValueError(f"beta must be at least 0, got {beta!r}: 0.25, say")
    check_slack(slack)
    check_can(search, "fitted_", name="search", a="a fitted ManifoldSearch")
    fitted = search.fitted_
    wanted, own = _seeds(fitted, like, "like")
    others, away = (None, own[:0]) if avoid is None else _seeds(fitted, avoid, "avoid")
    taken = np.unique(np.concatenate([own, away]))
    k = min(check_count(k, "k"), fitted.graph.n_nodes - taken.size)
    task = Task(k, lambda some: np.empty((some.size, 0), dtype=np.int64), own=taken[None], slack=slack)
    if how == "any" or wanted.shape[1] == 1:
        column = _mean(wanted) if others is None else _mean(wanted) - beta * _mean(others)
        rows, scores, slacks, report = fitted.ranker.rank(sparse.csc_array(column), task)
    else:
        rows, scores, slacks, report = _of_all(fitted, wanted, others, beta=beta, task=task)
    report_failures(report, fitted.settings.on_failure)
    return fitted.named(rows, scores, slack=slacks, diagnostics=report, single=True)


def led_away(fitted: Fitted, seeds: sparse.csc_array, avoid: object, *, of_ids: bool) -> sparse.csc_array:
    """Return seeds (n, q), less a quarter of those of what each query avoids: one example a query, or one for all.

    >>> from manifold import ManifoldSearch
    >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
    >>> led_away(fitted, unit_seeds(np.array([0]), 3), [2], of_ids=True).toarray().ravel().tolist()
    [1.0, 0.0, -0.25]
    """
    if avoid is None:
        return seeds
    others, _ = _seeds(fitted, avoid, "avoid", of_ids=of_ids)
    q = seeds.shape[1]
    if others.shape[1] not in (1, q):
        raise ValueError(f"avoid must be one example, or one for each of {q} queries, got {others.shape[1]}")
    return sparse.csc_array(seeds - AVOIDED * others[:, np.broadcast_to(np.arange(others.shape[1]), q)])


def like_items(fitted: Fitted, own: Ints, avoid: object = None) -> sparse.csc_array:
    """Return seeds (n, q) of items, by their rows, less a quarter of those of what each avoids, by its ids.

    >>> from manifold import ManifoldSearch
    >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
    >>> like_items(fitted, np.array([1]), 2).toarray().ravel().tolist()
    [0.0, 1.0, -0.25]
    """
    return led_away(fitted, unit_seeds(own, fitted.graph.n_nodes), avoid, of_ids=True)


def _of_all(
    fitted: Fitted, wanted: sparse.csc_array, others: sparse.csc_array | None, *, beta: float, task: Task
) -> tuple[Ints, np.ndarray, np.ndarray, Solution]:
    """Rank by the least of some columns, less another; solve on until the slack is what was asked."""
    columns = wanted if others is None else sparse.csc_array(sparse.hstack([wanted, _mean(others)], format="csc"))
    reports, prepared = [], fitted.ranker.prepared
    for rtol in (None, *REFINEMENTS):
        if rtol is not None:
            prepared = _exact(fitted, rtol)
        solution = prepared.solve(columns)
        reports.append(replace(solution, scores=np.empty(0)))
        selection = Selection(_least(fitted, solution, columns, n_wanted=wanted.shape[1], beta=beta), fitted.backend)
        rows, scores, slack = selection.overall(
            task.k, np.zeros(1, dtype=np.int64), baseline=task.baseline, own=task.own
        )
        if task.slack is None or slack[0] <= task.slack:
            break
    return rows, scores, slack, merge_reports(reports[-1:])


def _exact(fitted: Fitted, rtol: float) -> Prepared:
    ranker = fitted.ranker
    return ConjugateGradient(rtol=rtol).prepare(ranker.graph.astype(np.float64), ranker.filter, ranker.backend)


def _least(fitted: Fitted, solution: Solution, columns: sparse.csc_array, *, n_wanted: int, beta: float) -> Bounds:
    """Return bounds (n, 1) on min over the first columns, less beta times the one after them, cut at 0."""
    backend, scale = fitted.backend, fitted.settings.degree_exponent
    xp, reached = backend.xp, Reached.of(fitted.graph, columns)
    weights = backend.asarray(fitted.graph.scale(scale)[:, None]) if scale else 1.0
    every = score_bounds(solution, backend=backend, reached=reached, weights=weights)
    scores, lower, upper = (x[:, :n_wanted].min(axis=1) for x in (every.scores, every.lower, every.upper))
    if columns.shape[1] > n_wanted:
        scores = scores - beta * every.scores[:, n_wanted]
        # what is taken away is the most it may be for the lower bound, and the least for the upper
        lower, upper = lower - beta * every.upper[:, n_wanted], upper - beta * every.lower[:, n_wanted]
    return Bounds(*(xp.maximum(x, 0)[:, None] for x in (scores, lower, upper)))


def _mean(seeds: sparse.csc_array) -> sparse.csc_array:
    return sparse.csc_array(seeds.mean(axis=1)[:, None])


def _seeds(fitted: Fitted, examples: object, name: str, *, of_ids: bool | None = None) -> tuple[sparse.csc_array, Ints]:
    """Return a column of seeds for each example, and the rows of those that are items: ids, or features."""
    is_features = not of_ids
    if of_ids is None:  # a frame, or rows of numbers, are features; names stand in one row
        is_features = is_frame(examples) or as_array(examples, name).ndim == 2
    n = fitted.graph.n_nodes
    if is_features:
        points = fitted.require_points(f"{name} must be ids")
        queries, _ = points.asked(examples, name)
        near, similarities = fitted.nearest(queries, min(fitted.settings.n_seeds, n))
        seeds, own = fitted.seeds(near, similarities), np.empty(0, dtype=np.int64)
    else:
        own = np.atleast_1d(fitted.ids.present(examples, name=name)).ravel()
        seeds = unit_seeds(own, n)
    if not seeds.shape[1]:
        raise ValueError(f"{name} holds no example")
    return seeds, own
