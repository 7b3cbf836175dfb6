"""Searches held against a ground truth: nearest neighbours and any others, by the figures of a protocol.

In: features, what each query should find, and searches by name: settings of diffusion, or objects that search. Out: of
each of them the figures, averaged over the queries, which is what `manifold evaluate` prints.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manifold import metrics
from manifold._progress import Progress
from manifold._typing import AnyArray, Facts, Floats, Ints
from manifold.backends import get_backend
from manifold.datasets import GroundTruth
from manifold.neighbors import PointSet, exact_search
from manifold.neighbors.points import point_set
from manifold.ranking import ManifoldSearch, Ranking, unit_seeds
from manifold.solvers import ConjugateGradient, Status, diffuse

__all__ = ["Outcome", "Searcher", "compare", "nearest"]

_BLOCK = 128  # queries ranked at a time: full lists of all of them would take n^2 ids
_ENTRIES = 1 << 24  # of the lists of one block
BASELINE = "neighbours"

Sides: TypeAlias = tuple[PointSet, PointSet]  # queries and points; the same object where items query each other
Part: TypeAlias = tuple[dict[str, dict[str, Floats]], tuple[Status, ...]]


class Listed(Protocol):
    """What a search answers: lists of rows of the collection."""

    @property
    def ids(self) -> AnyArray:
        """Rows (q, k), best first; -1 pads."""


class Searcher(Protocol):
    """A fitted search, such as `manifold.ManifoldSearch`, whose ids are the rows of the collection."""

    def search(self, Q: NDArray[np.float32], k: int) -> Listed:
        """Rank for queries (q, d)."""

    def similar(self, ids: Ints, k: int) -> Listed:
        """Rank for items (q,) of the collection; asked only where these are the queries."""


@dataclass(frozen=True)
class Outcome:
    """What one way to rank reaches: means over the queries."""

    figures: Mapping[str, Mapping[str, float]]  # setting of the truth -> figure
    converged: float | None = None  # share of the solves that reached their tolerance; None where nothing is solved


def compare(
    X: ArrayLike,
    truth: GroundTruth,
    searches: Mapping[str, Facts | Searcher],
    *,
    queries: ArrayLike | None = None,
    metric: str = "cosine",
    figures: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> dict[str, Outcome]:
    """Judge nearest neighbours, as "neighbours", and other searches by the figures of a ground truth.

    Parameters
    ----------
    X : (n, d) array-like
        The collection.
    truth : GroundTruth
        What each query should find, by rows of X, see `manifold.datasets.ground_truth`; rows beyond those that it
        judges are distractors.
    searches : mapping of str to settings, or to a search
        Settings are those of `manifold.ManifoldSearch`, fitted here. A search is one that was fitted to X, without ids
        of its own, and has ``search(Q, k)`` (or ``similar(rows, k)`` where items are the queries) with `.ids` in its
        answer; if it is not of this package, it is asked in one thread.
    queries : (q, d) array-like, optional
        By default every item queries all others, itself left out by its row.
    metric : {"cosine", "inner_product", "euclidean"}
        Of the nearest neighbours; settings have a metric of their own.
    figures : names, optional
        By default those usual for the truth; see `manifold.metrics.evaluate`.
    progress : callable(done, total), optional
        Called after each block of queries.

    Returns
    -------
    dict of str to Outcome
        "neighbours", then the searches in their order.

    Raises
    ------
    ValueError, TypeError
        For features, figures or settings that are none, a truth of another size, and a search that names its items.

    Notes
    -----
    Lists are as long as the figures look, whole ones for mAP. Cost: that of each fit, and of n or q searches; memory
    2^24 entries of lists a thread.

    Examples
    --------
    >>> from manifold.datasets import digits, ground_truth
    >>> X, y = digits()
    >>> truth = ground_truth("labels", (y[100:600], y[:100]))
    >>> found = compare(X[100:600], truth, {"default": {}}, queries=X[:100], figures=["mAP"])
    >>> {name: round(outcome.figures["all"]["mAP"], 3) for name, outcome in found.items()}
    {'neighbours': 0.682, 'default': 0.844}
    """
    truth = truth if figures is None else replace(truth, figures=tuple(figures))
    listed = metrics.list_depth(truth.figures)  # unknown figures are met before the long work
    if BASELINE in searches:
        raise ValueError(f"searches has the name {BASELINE!r}, which is that of the nearest neighbours: choose another")
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
    depth = None if any(len(some) for of in junk for some in of) else listed
    size = max(1, min(_BLOCK, _ENTRIES // n))
    blocks = [np.arange(start, min(start + size, q)) for start in range(0, q, size)]
    measure = partial(_measure, (asked, points), truth, searches=fitted, depth=depth)
    ours = all(isinstance(search, ManifoldSearch) for search in fitted.values())
    parts = []
    with ThreadPoolExecutor(os.cpu_count() if ours else 1) as pool:
        for part in pool.map(measure, blocks):
            parts.append(part)
            if progress is not None:
                progress(len(parts), len(blocks))
    return {name: _outcome([part[name] for part in parts]) for name in (BASELINE, *fitted)}


def _fitted(name: str, search: Facts | Searcher, points: PointSet) -> Searcher:
    """Return a search whose ids are the rows of the points: made from settings, or as it is given."""
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
    """Join the values of blocks of queries, and average over those that have any."""
    figures = {}
    for setting, by_name in parts[0][0].items():
        joined = {name: np.concatenate([values[setting][name] for values, _ in parts]) for name in by_name}
        known = {name: values[~np.isnan(values)] for name, values in joined.items()}
        figures[setting] = {name: float(v.mean()) if v.size else float("nan") for name, v in known.items()}
    converged = [status.name == "CONVERGED" for _, statuses in parts for status in statuses]
    return Outcome(figures, float(np.mean(converged)) if converged else None)


def _measure(
    sides: Sides, truth: GroundTruth, block: Ints, *, searches: Mapping[str, Searcher], depth: int | None
) -> dict[str, Part]:
    """Return the figures of each query of one block, and how its solves went."""
    judged, near = truth.take(block), _near(sides, block, depth)
    lists: dict[str, tuple[AnyArray, tuple[Status, ...]]] = {BASELINE: (near, ())}
    for name, search in searches.items():
        if depth is None and sides[0] is sides[1] and _is_plain(search):
            lists[name] = _diffuse(search, sides[1], block, near=near)
        else:
            lists[name] = _rank(search, sides, block, depth=depth)
    return {name: (metrics.evaluate_queries(ids, judged), status) for name, (ids, status) in lists.items()}


def _near(sides: Sides, block: Ints, depth: int | None) -> Ints:
    """Return the nearest neighbours of a block of queries; where they are items, themselves left out by their ids."""
    queries, points = sides
    inside = queries is points
    if depth is not None:
        k = min(depth, len(points.X) - inside)
        return exact_search(queries, points, k=k, rows=block, drop_self=inside, backend=get_backend("scipy"))[0]
    near, _ = nearest(queries, points, rows=block)
    return near[near != block[:, None]].reshape(block.size, -1) if inside else near


def _rank(search: Searcher, sides: Sides, block: Ints, *, depth: int | None) -> tuple[AnyArray, tuple[Status, ...]]:
    """Rank for a block of queries; where they are items, themselves are left out by their rows."""
    queries, points = sides
    k = len(points.X) if depth is None else min(depth, len(points.X))
    found = search.similar(block, k) if queries is points else search.search(queries.X[block], k)
    ids = np.asarray(found.ids)
    if queries is points and (own := ids == block[:, None]).any():
        ids = np.where(own, -1, ids)
        ids = np.take_along_axis(ids, np.argsort(own, axis=1, kind="stable"), axis=1)
    return ids, found.diagnostics.status if isinstance(found, Ranking) else ()


def _is_plain(search: Searcher) -> TypeGuard[ManifoldSearch]:
    """Tell whether a search ranks by the scores of conjugate gradients alone."""
    if not isinstance(search, ManifoldSearch):
        return False
    s = search.settings
    iterates = s.solver in ("auto", "cg") or isinstance(s.solver, ConjugateGradient)
    return iterates and not s.degree_exponent and s.adaptation is None


def _diffuse(search: ManifoldSearch, points: PointSet, block: Ints, *, near: Ints) -> tuple[Ints, tuple[Status, ...]]:
    """Rank all others for a block of items: what `similar` does, but nearest first by plain scores where it is tied.

    `similar` measures all pairs once more, in one order of summation, which changes nothing in whole lists.
    """
    s, seeds = search.settings, unit_seeds(block, search.graph_.n_nodes)
    if s.affinity.metric != points.metric:
        own = PointSet(points.X, s.affinity.metric)
        near = _near((own, own), block, None)
    solution = diffuse(search.graph_, seeds, filter=s.filter, solver=s.solver, on_failure="ignore")
    scores = np.take_along_axis(np.maximum(solution.scores.T, 0), near, axis=1)
    return np.take_along_axis(near, np.argsort(-scores, axis=1, kind="stable"), axis=1), solution.status


def nearest(queries: PointSet, points: PointSet, *, rows: Ints) -> tuple[Ints, NDArray[np.float32]]:
    """Return all points, the nearest of each query first (equal ones by id), and scores (q, n) that order them.

    Examples
    --------
    >>> points = point_set([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> nearest(points, points, rows=np.array([1]))[0].tolist()
    [[1, 2, 0]]
    """
    backend, asked = get_backend("scipy"), queries.rows(rows)
    parts = [points.propose(asked, part, backend) for part in points.parts(len(points.X))]
    scores = np.concatenate(parts, axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")
    return order, np.take_along_axis(scores, order, axis=1)
