"""`manifold evaluate`: nearest neighbours against diffusion on real sets, each by its own protocol.

Names of sets in, one row a figure out: its value for nearest neighbours and for three settings of diffusion.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manifold import datasets, metrics
from manifold.ranking import ManifoldSearch, unit_seeds
from manifold.solvers import Solution, diffuse

COLUMNS = ("neighbours", "published", "hand-set", "default")
_BLOCK = 128  # queries ranked at a time: full lists of all of them would take n^2 ids

Ids = NDArray[np.int64]
Figure = Callable[[Ids, Sequence[Any]], float]
Progress = Callable[[int, int], None]


def _error(ids: Ids, relevant: Sequence[Any]) -> float:
    return 1 - metrics.hit_rate_at_k(ids, relevant, k=1)


def _binary_ndcg(ids: Ids, relevant: Sequence[Any]) -> float:
    return metrics.ndcg_at_k(ids, [set(judged) for judged in relevant], k=10)


_MAP = {"mAP": partial(metrics.mean_average_precision, interpolation="step")}
_FIRST = {"1-NN accuracy": partial(metrics.hit_rate_at_k, k=1)}


@dataclass(frozen=True)
class Case:
    """One protocol of one set: the figures to give, and a setting known to be good there."""

    name: str
    protocol: str
    figures: Mapping[str, Figure]
    hand_set: Mapping[str, Any] | None = None
    depth: int | None = None  # how much of the list the figures look at; None is all of it


_GROCERY = {"n_neighbors": 10, "bridge": 0, "alpha": 0.9, "n_seeds": 10}
CASES = (
    Case(
        "cranfield",
        "queries",
        {
            **_MAP,
            "binary nDCG@10": _binary_ndcg,
            "graded nDCG@10": partial(metrics.ndcg_at_k, k=10),
            "recall@100": partial(metrics.recall_at_k, k=100),
        },
        {"n_neighbors": 10, "edges": "union", "alpha": 0.5, "n_seeds": 10},
    ),
    Case("grocery", "iconic", _MAP, _GROCERY),
    Case("grocery", "iconic-test", _MAP, _GROCERY),
    Case("grocery", "test", _FIRST, _GROCERY, depth=1),
    Case(
        "coil20",
        "leave-one-out",
        {**_MAP, "bull's-eye@72": partial(metrics.bulls_eye, m=72), **_FIRST},
        {"metric": "euclidean", "n_neighbors": 5, "edges": "union", "alpha": 0.99},
    ),
    Case(
        "orl",
        "leave-one-out",
        {"bull's-eye@15": partial(metrics.bulls_eye, m=15), **_MAP},
        {"metric": "euclidean", "n_neighbors": 5, "edges": "union", "alpha": 0.9},
    ),
    Case("usps", "test", {"1-NN error": _error}, depth=1),
    Case("usps", "leave-one-out", _MAP),
)
NAMES = tuple(dict.fromkeys(case.name for case in CASES))


def evaluate(names: Sequence[str], progress: Callable[[str], Progress | None]) -> tuple[dict[str, Any], str]:
    """Return the figures of the sets as one object and as a table; `progress` makes a callback from a label."""
    unknown = [name for name in names if name not in NAMES]
    if unknown or not names:
        raise ValueError(f"NAME must be of {', '.join(NAMES)}, got {', '.join(unknown) or 'none'}: or pass --all")
    rows = []
    seconds: dict[str, float] = {}
    for case in (case for name in dict.fromkeys(names) for case in CASES if case.name == name):
        start = time.perf_counter()
        rows += _compare(case, progress(f"{case.name} {case.protocol}"))
        seconds[case.name] = seconds.get(case.name, 0.0) + time.perf_counter() - start
    facts = {"rows": rows, "settings": {c: _NOTES[c] for c in COLUMNS}, "seconds": seconds}
    return facts, _table(rows, seconds)


_NOTES = {
    "neighbours": "nearest neighbours by the metric of the set",
    "published": "preset='paper': k=50 mutual, cosine^3, alpha=0.99, 10 seeds, 20 CG iterations",
    "hand-set": "a good setting for each set: "
    + "; ".join(
        f"{name} " + " ".join(f"{key}={value}" for key, value in found.items())
        for name, found in {case.name: case.hand_set for case in CASES if case.hand_set}.items()
    ),
    "default": "ManifoldSearch() with the metric of the set",
}


def nearest(Q: NDArray[np.float32], X: NDArray[np.float32], *, metric: str) -> tuple[Ids, NDArray[np.float32]]:
    """Return all rows of X, the nearest of each query first (equal ones by id), and their similarities (q, n)."""
    if metric == "euclidean":
        centre = X.mean(axis=0)
        Q, X = Q - centre, X - centre
        similarities = 2 * Q @ X.T - np.square(X).sum(axis=1) - np.square(Q).sum(axis=1)[:, None]
    else:
        unit_q, unit_x = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (Q, X))
        similarities = unit_q @ unit_x.T
    order = np.argsort(-similarities, axis=1, kind="stable")
    return order, np.take_along_axis(similarities, order, axis=1)


def _compare(case: Case, progress: Progress | None) -> list[dict[str, Any]]:
    """Return one row a figure of a case, and one that says which share of the columns converged."""
    data = datasets.load(case.name, protocol=case.protocol)
    settings = {"published": {"preset": "paper"}, "hand-set": case.hand_set, "default": {"metric": data.metric}}
    searches = {
        column: ManifoldSearch(**chosen, on_failure="ignore").fit(data.features)
        for column, chosen in settings.items()
        if chosen is not None
    }
    q = len(data.features if data.queries is None else data.queries)
    blocks = [np.arange(start, min(start + _BLOCK, q)) for start in range(0, q, _BLOCK)]
    values = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for block in pool.map(partial(_measure, case, data, searches=searches), blocks):
            values.append(block)
            if progress is not None:
                progress(len(values), len(blocks))
    # a mean of the means of blocks, by their sizes: every query of these sets has something relevant
    means = np.average(values, axis=0, weights=[block.size for block in blocks])
    return [
        {
            "set": case.name,
            "protocol": case.protocol,
            "figure": figure,
            **dict.fromkeys(COLUMNS),
            **{column: float(x) for column, x in zip(("neighbours", *searches), row, strict=True) if np.isfinite(x)},
        }
        for figure, row in zip((*case.figures, "converged"), means.T, strict=True)
    ]


def _measure(
    case: Case, data: datasets.Dataset, block: Ids, *, searches: dict[str, ManifoldSearch]
) -> NDArray[np.float64]:
    """Return the figures of one block of queries, one row a column of the table."""
    X = data.features
    near, _ = nearest((X if data.queries is None else data.queries)[block], X, metric=data.metric)
    relevant = [data.relevant[i] for i in block]
    table = []
    for search in (None, *searches.values()):
        ids, converged = near, float("nan")
        if search is not None:
            ids, solution = _rank(search, data, block, near=near, depth=case.depth)
            converged = float(np.mean([status.name == "CONVERGED" for status in solution.status]))
        if data.queries is None:  # the item asked with is left out by its id, wherever it stands
            ids = ids[ids != block[:, None]].reshape(block.size, -1)
        ids = ids[:, : case.depth]
        table.append([*(figure(ids, relevant) for figure in case.figures.values()), converged])
    return np.array(table)


def _rank(
    search: ManifoldSearch, data: datasets.Dataset, block: Ids, *, near: Ids, depth: int | None
) -> tuple[Ids, Solution]:
    """Rank for queries as a user would; for items by a unit seed at each, the baseline breaking ties."""
    n = search.graph_.n_nodes
    if data.queries is not None:
        ranking = search.search(data.queries[block], k=depth or n)
        return ranking.ids, ranking.diagnostics
    solution = diffuse(
        search.graph_,
        unit_seeds(block, n),
        filter=search.filter,
        solver=search.solver,
        on_failure="ignore",
    )
    scores = np.take_along_axis(np.maximum(solution.scores.T, 0), near, axis=1)
    return np.take_along_axis(near, np.argsort(-scores, axis=1, kind="stable"), axis=1), solution


def _table(rows: list[dict[str, Any]], seconds: dict[str, float]) -> str:
    lines = [f"{'set':<10} {'protocol':<14} {'figure':<15}" + "".join(f"{column:>12}" for column in COLUMNS)]
    for row in rows:
        cells = ("-" if row[column] is None else f"{row[column]:.4f}" for column in COLUMNS)
        lines.append(f"{row['set']:<10} {row['protocol']:<14} {row['figure']:<15}" + "".join(f"{c:>12}" for c in cells))
    notes = [f"{column:<11} {_NOTES[column]}" for column in COLUMNS]
    took = "seconds     " + ", ".join(f"{name} {value:.0f}" for name, value in seconds.items())
    return "\n".join([*lines, "", *notes, took])
