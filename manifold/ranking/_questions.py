"""The questions that are put to a search over items: queries and items in, rankings out.

Seeds are those of the question, whatever is allowed; nearest items that keep their places, and those that follow where
diffusion does not reach, are the nearest of what is allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from scipy import sparse

from manifold._checks import check_count
from manifold._typing import AnyArray, Ints, Mask
from manifold.backends import on_host
from manifold.neighbors.listed import similarities_to
from manifold.ranking._adaptation import Asked
from manifold.ranking._allowed import Allowed
from manifold.ranking._base import Ranking
from manifold.ranking._fitted import Fitted
from manifold.ranking._inputs import good_queries, same_place
from manifold.ranking._nearest import leading, nearest_allowed
from manifold.ranking._ranker import Task
from manifold.ranking.examples import led_away, like_items

Put = Callable[[Mask | None, int], tuple[Task, Asked | None]]  # what is allowed, how many -> what is asked for


def ask(
    fitted: Fitted,
    seeds: sparse.csc_array,
    put: Put,
    *,
    k: int,
    allowed: Allowed | None = None,
    single: bool = False,
    bad: AnyArray | None = None,
) -> Ranking:
    """Rank for seeds what is allowed; `put` says what is asked for, once that is known or as far as it is.

    >>> from manifold import ManifoldSearch
    >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
    >>> nothing = lambda some: np.empty((some.size, 0), dtype=int)
    >>> put = lambda may, k: (Task(k, nothing, allowed=may), None)
    >>> ask(fitted, like_items(fitted, np.array([0])), put, k=1).ids.tolist()
    [[0]]
    """
    if allowed is None:
        task, asked = put(None, k)
        return fitted.ranked(seeds, task, k=k, asked=asked, single=single, bad=bad)
    if allowed.is_open:

        def first(depth: int) -> Ints:
            task, asked = put(allowed.mask, k)
            deep = min(max(depth, task.k), int(allowed.mask.sum()))
            if deep > task.k:
                task = replace(task, k=deep, slack=None)
            rows = fitted.ranker.rank(seeds, task)[0]
            return rows if asked is None else np.hstack([rows, asked.near])

        wanted = put(allowed.mask, k)[0].k
        allowed.settle(wanted, first, q=seeds.shape[1])
    k = min(k, int(allowed.mask.sum()))
    task, asked = put(allowed.mask, k)
    return fitted.ranked(seeds, task, k=k, asked=asked, single=single, bad=bad)


def searched(
    fitted: Fitted, Q: object, k: int, *, allowed: object, avoid: object, slack: float | None, on_bad: str
) -> Ranking:
    """Rank for queries that are not in the collection: see `ManifoldSearch.search`.

    >>> from manifold import ManifoldSearch
    >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
    >>> asked = {"avoid": None, "slack": None, "on_bad": "raise"}
    >>> searched(fitted, [0.0, 1.0], 1, allowed=[0, 1], **asked).ids.tolist()
    [1]
    """
    s, n = fitted.settings, fitted.graph.n_nodes
    points = fitted.require_points("only rerank and similar work")
    k, may = min(check_count(k, "k"), n), Allowed.read(fitted.ids, allowed)
    Q = on_host(same_place(Q, fitted.home), fitted.backend)
    queries, single, bad = good_queries(Q, on_bad, points=points, missing=fitted.ids.missing)
    near, similarities = fitted.entering(queries, min(max(s.n_seeds, s.n_nearest), n))
    seeds = led_away(fitted, fitted.seeds(near, similarities), avoid, of_ids=False)

    def put(mask: Mask | None, k: int) -> tuple[Task, Asked | None]:
        depth = k if avoid is not None else fitted.depth(k, n if mask is None else int(mask.sum()))
        task = Task(
            depth,
            lambda some: nearest_allowed(fitted, queries, depth, allowed=mask, rows=some)[0],
            slack=slack,
            allowed=mask,
        )
        if avoid is not None:
            return task, None
        first, close = (near, similarities) if mask is None else leading(fitted, queries, mask)
        return task, Asked(first, close, partial(similarities_to, queries, points))

    ranking = ask(fitted, seeds, put, k=k, allowed=may, single=single, bad=bad)
    if fitted.calibration is None or ranking.similarities is None:
        return ranking
    scores = ranking.scores if ranking.diffusion is None else ranking.diffusion
    return replace(ranking, _relevance=fitted.calibration.relevance(ranking.similarities, scores))


def like(fitted: Fitted, ids: object, k: int, *, allowed: object, avoid: object, slack: float | None) -> Ranking:
    """Rank for items of the collection: see `ManifoldSearch.similar`.

    >>> from manifold import ManifoldSearch
    >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
    >>> like(fitted, 0, 1, allowed=[0, 2], avoid=None, slack=None).ids.tolist()
    [2]
    """
    points, others = fitted.points, fitted.graph.n_nodes - 1
    k, may = min(check_count(k, "k"), others), Allowed.read(fitted.ids, allowed)
    own = fitted.ids.present(ids)
    single, own = own.ndim == 0, np.atleast_1d(own)

    def put(mask: Mask | None, k: int) -> tuple[Task, Asked | None]:
        depth = k if avoid is not None else fitted.depth(k, others if mask is None else min(others, int(mask.sum())))

        def baseline(some: Ints) -> Ints:
            if points is None or not k:
                return np.empty((some.size, 0), dtype=np.int64)
            return nearest_allowed(fitted, points, depth, allowed=mask, rows=own[some])[0]

        task = Task(depth, baseline, own=own, slack=slack, allowed=mask)
        if points is None or avoid is not None:
            return task, None
        nearest = leading(fitted, points, mask, rows=own)
        return task, Asked(*nearest, partial(similarities_to, points, points, own=own))

    return ask(fitted, like_items(fitted, own, avoid), put, k=k, allowed=may, single=single)
