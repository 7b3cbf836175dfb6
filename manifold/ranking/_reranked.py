"""Shortlists that another search found, put in order: rows and similarities in, a ranking out."""

from __future__ import annotations

from functools import partial

import numpy as np

from manifold._checks import check_count
from manifold._typing import AnyArray, Ints, Mask
from manifold.ranking._adaptation import Asked, similarities_listed
from manifold.ranking._allowed import Allowed
from manifold.ranking._base import Ranking
from manifold.ranking._fitted import Fitted
from manifold.ranking._questions import ask
from manifold.ranking._ranker import Task
from manifold.ranking._settings import check_choice
from manifold.ranking._shortlists import Shortlists

CANDIDATES = ("shortlist", "subgraph", "all")


def reranked(
    fitted: Fitted,
    lists: Shortlists,
    k: int,
    *,
    candidates: str,
    allowed: object,
    slack: float | None,
) -> Ranking:
    """Rank shortlists that another search found: see `ManifoldSearch.rerank`.

    >>> from manifold import ManifoldSearch
    >>> fitted = ManifoldSearch(n_neighbors=1).fit([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]).fitted_
    >>> lists = Shortlists.read(fitted, [1, 2], [0.8, 0.7])
    >>> reranked(fitted, lists, 2, candidates="all", allowed=[0, 1], slack=None).ids.tolist()
    [1, 0]
    """
    k = check_count(k, "k")
    check_choice(candidates, "candidates", CANDIDATES)
    may = Allowed.read(fitted.ids, allowed)
    shortlist, early = candidates != "all", fitted.settings.solver if candidates == "subgraph" else None
    rows, values = lists.rows, lists.similarities
    if shortlist and may is not None:
        may.ask(rows)
        lists = lists.among(may)
    most = rows.shape[1] if shortlist else fitted.graph.n_nodes
    k = min(k, most)
    seeds = fitted.seeds(rows, values)

    def put(mask: Mask | None, k: int) -> tuple[Task, Asked | None]:
        places = most if mask is None or shortlist else int(mask.sum())
        given = rows if shortlist else None
        task = Task(fitted.depth(k, places), lambda some: rows[some], given, slack=slack, early=early, allowed=mask)
        nearest = (rows, values) if mask is None else _only(rows, values, mask)
        return task, Asked(*nearest, partial(similarities_listed, rows, values))

    if not shortlist:
        return ask(fitted, seeds, put, k=k, allowed=may, single=lists.single)
    task, asked = put(None if may is None else may.mask, k)
    return lists.behind(fitted.ranked(seeds, task, k=k, asked=asked, single=lists.single), k)


def _only(rows: Ints, values: AnyArray, allowed: Mask) -> tuple[Ints, AnyArray]:
    """Return lists of what is allowed, in their order, padded behind."""
    may = (rows >= 0) & allowed[rows]
    order = np.argsort(~may, axis=1, kind="stable")
    rows, values = np.where(may, rows, -1), np.where(may, values, -np.inf)
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(values, order, axis=1)
