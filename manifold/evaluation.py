"""Searches held against a ground truth: nearest neighbours and any settings of diffusion, by the figures of a protocol.

In: a data set, its ground truth, settings by name. Out: figures by name, what `manifold evaluate` prints.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manifold import datasets, metrics
from manifold.backends import get_backend
from manifold.neighbors import PointSet, exact_search
from manifold.ranking import ManifoldSearch, unit_seeds
from manifold.solvers import Status, diffuse

__all__ = ["Outcome", "compare", "nearest"]

_BLOCK = 128  # queries ranked at a time: full lists of all of them would take n^2 ids
_ENTRIES = 1 << 24  # of the lists of one block

Ids = NDArray[np.int64]
Progress = Callable[[int, int], None]
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What one way to rank reaches: means over the queries."""

    figures: Mapping[str, Mapping[str, float]]  # setting -> figure
    converged: float | None = None  # share of the solves that reached their tolerance; None where nothing is solved


def compare(
    data: datasets.Dataset,
    truth: datasets.GroundTruth,
    columns: Mapping[str, Settings],
    *,
    progress: Progress | None = None,
) -> dict[str, Outcome]:
    """Judge nearest neighbours, and diffusion with the settings of each column, by the figures of a ground truth."""
    points = PointSet(data.features, data.metric)
    queries = points if data.queries is None else PointSet(data.queries, data.metric)
    points.check_range(queries)
    searches = {c: ManifoldSearch(**s, on_failure="ignore").fit(data.features) for c, s in columns.items()}
    junk = (truth.judgements(setting)[1] or () for setting in truth.settings)
    depth = None if any(len(some) for of in junk for some in of) else metrics.list_depth(truth.figures)
    q, n = truth.n_queries, len(data.features)
    size = max(1, min(_BLOCK, _ENTRIES // n))
    blocks = [np.arange(start, min(start + size, q)) for start in range(0, q, size)]
    measure = partial(_measure, (queries, points), truth, searches=searches, depth=depth)
    parts = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for part in pool.map(measure, blocks):
            parts.append(part)
            if progress is not None:
                progress(len(parts), len(blocks))
    return {column: _outcome([part[column] for part in parts]) for column in ("neighbours", *searches)}


Sides = tuple[PointSet, PointSet]  # queries and points; the same object where items query each other
Part = tuple[dict[str, dict[str, NDArray[np.float64]]], tuple[Status, ...]]


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
    sides: Sides,
    truth: datasets.GroundTruth,
    block: Ids,
    *,
    searches: Mapping[str, ManifoldSearch],
    depth: int | None,
) -> dict[str, Part]:
    """Return the figures of each query of one block, and how its solves went."""
    judged, near = truth.take(block), _near(sides, block, depth)
    lists: dict[str, tuple[Ids, tuple[Status, ...]]] = {"neighbours": (near, ())}
    for column, search in searches.items():
        lists[column] = _rank(search, sides, block, near=near, depth=depth)
    return {column: (metrics.evaluate_queries(ids, judged), status) for column, (ids, status) in lists.items()}


def _near(sides: Sides, block: Ids, depth: int | None) -> Ids:
    """Return the nearest neighbours of a block of queries; where they are items, themselves left out by their ids."""
    queries, points = sides
    inside = queries is points
    if depth is not None:
        k = min(depth, len(points.X) - inside)
        return exact_search(queries, points, k=k, rows=block, drop_self=inside, backend=get_backend("scipy"))[0]
    near, _ = nearest(queries, points, block)
    return near[near != block[:, None]].reshape(block.size, -1) if inside else near


def _rank(
    search: ManifoldSearch, sides: Sides, block: Ids, *, near: Ids, depth: int | None
) -> tuple[Ids, tuple[Status, ...]]:
    """Rank for queries as a user would; for items by a unit seed at each, the baseline breaking ties."""
    queries, points = sides
    n = len(points.X)
    if queries is not points or depth is not None:
        k = depth or n
        ranking = search.similar(block, k) if queries is points else search.search(queries.X[block], k)
        return ranking.ids, ranking.diagnostics.status
    seeds = unit_seeds(block, n)  # whole lists: what `similar` does, with the baseline that is at hand
    solution = diffuse(search.graph_, seeds, filter=search.filter, solver=search.solver, on_failure="ignore")
    scores = np.take_along_axis(np.maximum(solution.scores.T, 0), near, axis=1)
    return np.take_along_axis(near, np.argsort(-scores, axis=1, kind="stable"), axis=1), solution.status


def nearest(queries: PointSet, points: PointSet, rows: Ids) -> tuple[Ids, NDArray[np.float32]]:
    """Return all points, the nearest of each query first (equal ones by id), and scores (q, n) that order them."""
    backend, asked = get_backend("scipy"), queries.rows(rows)
    parts = [points.propose(asked, part, backend) for part in points.parts(len(points.X))]
    scores = np.concatenate(parts, axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")
    return order, np.take_along_axis(scores, order, axis=1)
