"""Searches held against a ground truth: nearest neighbours and any others, by the figures of a protocol.

In: features, what each query should find, and searches by name: settings of diffusion, or objects that search. Out: of
each of them the figures, averaged over the queries, how sure their differences are, and a line of advice, which is what
`manifold evaluate` prints.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from manifold import metrics
from manifold._checks import check_can, check_random_state
from manifold._progress import Progress, check_progress, shown
from manifold._typing import Facts, Floats, Ints
from manifold.datasets import GroundTruth
from manifold.evaluation._comparison import Comparison, Gain, Outcome
from manifold.evaluation._lists import BASELINE, FUSED, Searcher, Sides, nearest, ranked
from manifold.evaluation.judged import JudgedTuning, tune_judged
from manifold.neighbors import PointSet
from manifold.neighbors.points import point_set
from manifold.ranking import ManifoldSearch
from manifold.solvers import Status

__all__ = [
    "BASELINE",
    "Comparison",
    "Gain",
    "JudgedTuning",
    "Outcome",
    "Searcher",
    "as_code",
    "compare",
    "nearest",
    "standard",
    "tune_judged",
]

_BLOCK = 128  # queries ranked at a time: full lists of all of them would take n^2 ids
_ENTRIES = 1 << 24  # of the lists of one block
_FIRST_AND_LAST = ("MRR", "hit@1", "recall@100")  # beside the usual: where a search helps, and where it harms
Part: TypeAlias = tuple[dict[str, dict[str, Floats]], tuple[Status, ...]]

Search: TypeAlias = Facts | Searcher | Sequence[str]


def standard(metric: str = "cosine") -> dict[str, Facts | tuple[str, ...]]:
    """Return the searches that are held against nearest neighbours where none are named, simplest first.

    Reference: guide *judge*, "Hold searches against nearest neighbours".

    >>> list(standard())
    ['default', 'item', 'topic', 'tuned', 'fused']
    """
    return {
        "default": {"metric": metric},
        "item": {"purpose": "item", "metric": metric},
        "topic": {"purpose": "topic", "metric": metric},
        "tuned": {"tune": True, "metric": metric},
        "fused": (BASELINE, "topic"),
    }


def compare(
    X: ArrayLike,
    truth: GroundTruth,
    searches: Mapping[str, Search] | None = None,
    *,
    queries: ArrayLike | None = None,
    metric: str = "cosine",
    figures: Sequence[str] | None = None,
    confidence: float = 0.95,
    random_state: int = 0,
    progress: Progress | bool | None = None,
) -> Comparison:
    """Judge nearest neighbours, as "neighbours", and other searches by the figures of a ground truth.

    Reference: guide *judge*, "Hold searches against nearest neighbours".

    Parameters
    ----------
    X : (n, d) array-like
        The collection.
    truth : GroundTruth
        What each query should find, by rows of X, see `manifold.datasets.ground_truth`; rows beyond those that it
        judges are distractors.
    searches : mapping of str to settings, to a search, or to names; optional
        Settings are those of `manifold.ManifoldSearch`, fitted here. A search is one that was fitted to X, without ids
        of its own, and has ``search(Q, k)`` (or ``similar(rows, k)`` where items are the queries) with `.ids` in its
        answer; if it is not of this package, it is asked in one thread. Names are those of rows above, "neighbours"
        among them, to be fused by reciprocal rank. By default `standard(metric)`.
    queries : (q, d) array-like, optional
        By default every item queries all others, itself left out by its row.
    metric : {"cosine", "inner_product", "euclidean"}
        Of the nearest neighbours; settings that are given have a metric of their own.
    figures : names, optional
        By default those usual for the truth, and MRR, hit@1 and recall@100; see `manifold.metrics.evaluate`. The first
        decides the advice.
    confidence : float in (0, 1)
        Of the intervals of gains.
    random_state : int
        Decides the draws of the bootstrap.
    progress : bool or callable(done, total), optional
        Called after each block of queries.

    Returns
    -------
    Comparison
        "neighbours", then the searches in their order: a mapping of names to `Outcome`, with ``.gain(name)``,
        ``.advice()`` and ``.per_query()``. Printed, it is a table.

    Raises
    ------
    ValueError, TypeError
        For features, figures or settings that are none, a truth of another size, a search that names its items, and a
        fusion of rows that are not above it.

    Notes
    -----
    Lists are as long as the figures look, whole ones for mAP; 1,000 of each are fused, and what neither has among them
    follows in the order of the first. Cost: that of each fit, and of n or q searches; memory 2^24 entries of lists a
    thread.

    Examples
    --------
    >>> from manifold.datasets import digits, ground_truth
    >>> X, y = digits()
    >>> truth = ground_truth("labels", (y[100:600], y[:100]))
    >>> found = compare(X[100:600], truth, {"paper": {"preset": "paper", "on_failure": "ignore"}}, queries=X[:100],
    ...                 figures=["mAP"])
    >>> {name: round(outcome.figures["all"]["mAP"], 3) for name, outcome in found.items()}
    {'neighbours': 0.682, 'paper': 0.736}
    >>> print(found.gain("paper"))
    +0.054 (+0.033 to +0.076)
    """
    if not isinstance(truth, GroundTruth):
        raise TypeError(f"truth must be a GroundTruth, got {type(truth).__name__}: datasets.ground_truth makes one")
    check_progress(progress)
    check_random_state(random_state)
    chosen = dict.fromkeys((*truth.figures, *_FIRST_AND_LAST)) if figures is None else figures
    truth = replace(truth, figures=tuple(chosen))
    listed = metrics.list_depth(truth.figures)  # unknown figures are met before the long work
    if searches is None:
        searches = standard(metric)
    _check_names(searches)
    points = point_set(X, metric)
    asked = points if queries is None else points.asked(queries, "queries")[0]
    n, q = len(points.X), len(asked.X)
    if truth.has_names or (truth.n_items or 0) > n or truth.n_queries != q:
        how = "names" if truth.has_names else "rows"
        raise ValueError(
            f"truth judges {truth.n_queries} queries and {truth.n_items} items by {how}, but there are {q} and {n}: "
            "give the truth of these rows, that of names by truth.by_rows(names)"
        )
    points.check_range(asked)
    fitted = {name: _fitted(name, search, points) for name, search in searches.items()}
    junk = (truth.judgements(setting)[1] or () for setting in truth.settings)
    if any(len(some) for of in junk for some in of):
        listed = None
    if listed is not None and any(isinstance(search, Sequence) for search in fitted.values()):
        listed = max(listed, FUSED)
    size = max(1, min(_BLOCK, _ENTRIES // n))
    blocks = [np.arange(start, min(start + size, q)) for start in range(0, q, size)]
    measure = partial(_measure, (asked, points), truth, searches=fitted, depth=listed)
    ours = all(isinstance(search, ManifoldSearch | Sequence) for search in fitted.values())
    parts = []
    with shown(progress, "queries") as report, ThreadPoolExecutor(os.cpu_count() if ours else 1) as pool:
        for part in pool.map(measure, blocks):
            parts.append(part)
            if report is not None:
                report(len(parts), len(blocks))
    outcomes = {name: _outcome([part[name] for part in parts]) for name in (BASELINE, *fitted)}
    how_made = {name: as_code(search) for name, search in searches.items()}
    return Comparison(outcomes, how=how_made, names=truth.queries, confidence=confidence, random_state=random_state)


def as_code(search: Search) -> str:
    """Say how a search is made, as one would type it.

    Reference: guide *judge*, "Hold searches against nearest neighbours".

    >>> as_code({"tune": True, "metric": "cosine"}), as_code(("neighbours", "topic"))
    ('ManifoldSearch(tune=True)', 'fuse_rankings([neighbours, topic], rule="reciprocal_rank")')
    """
    if isinstance(search, Sequence):
        return f'fuse_rankings([{", ".join(search)}], rule="reciprocal_rank")'
    if not isinstance(search, Mapping):
        return repr(search) if isinstance(search, ManifoldSearch) else type(search).__name__
    given = {name: value for name, value in search.items() if (name, value) != ("metric", "cosine")}
    return f"ManifoldSearch({', '.join(f'{name}={value!r}' for name, value in given.items())})"


def _check_names(searches: Mapping[str, Search]) -> None:
    """Raise for a name that is taken, and for rows to fuse that are not there yet."""
    check_can(searches, "items", name="searches", a="a mapping of names to searches")
    above = [BASELINE]
    for name, search in searches.items():
        if name == BASELINE:
            raise ValueError(
                f"searches has the name {BASELINE!r}, which is that of the nearest neighbours: choose another"
            )
        if isinstance(search, str) or (isinstance(search, Sequence) and not (search and {*search} <= {*above})):
            raise ValueError(f"searches[{name!r}] fuses {search!r}: give names of rows above it, of {tuple(above)}")
        if not isinstance(search, Mapping | Sequence):
            check_can(search, "search", name=f"searches[{name!r}]", a="a search, parameters, or names to fuse")
        above.append(name)


def _fitted(name: str, search: Search, points: PointSet) -> Searcher | Sequence[str]:
    """Return a search whose ids are the rows of the points: made from settings, or as it is given."""
    if isinstance(search, Sequence):
        return search
    if isinstance(search, Mapping):
        made: Searcher = ManifoldSearch(**{"on_failure": "ignore", **search}).fit(points.X)
        return made
    ids = getattr(search, "ids_", None)
    if ids is not None and not np.array_equal(ids, np.arange(len(points.X))):
        raise ValueError(
            f"searches[{name!r}] has ids of {len(ids)} items that are not the {len(points.X)} rows of X: fit it to X "
            "without ids"
        )
    return search


def _outcome(parts: Sequence[Part]) -> Outcome:
    """Join the values of blocks of queries."""
    first, _ = parts[0]
    joined = {
        setting: {name: np.concatenate([values[setting][name] for values, _ in parts]) for name in by_name}
        for setting, by_name in first.items()
    }
    converged = [status.name == "CONVERGED" for _, statuses in parts for status in statuses]
    return Outcome.of(joined, float(np.mean(converged)) if converged else None)


def _measure(
    sides: Sides,
    truth: GroundTruth,
    block: Ints,
    *,
    searches: Mapping[str, Searcher | Sequence[str]],
    depth: int | None,
) -> dict[str, Part]:
    """Return the figures of each query of one block, and how its solves went."""
    judged, lists = truth.take(block), ranked(sides, block, searches, depth=depth)
    return {name: (metrics.evaluate_queries(ids, judged), status) for name, (ids, status) in lists.items()}
