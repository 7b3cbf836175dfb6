"""Quality on the sets of `bench.sets`: each in its own figure, in its first place and among its first hundred.

Queries are never in the graph; neighbours are by cosine; the same features in each row. Nothing is chosen by a label
or for one set, but for "grid", the best of 192 settings found with the labels, in the set's own figure. "plain" are
nearest neighbours, "diffusion" the plain one; "default" is told nothing, "stated" the purpose of the set, and "tuned"
chooses for it without labels; "RRF" fuses plain and diffusion by rank. "loses" names what falls short of plain
for certain, by a 95 % interval of paired differences. The last rows count where the marks hold, and name the farthest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

import manifold as mf
from bench._report import Row
from bench.grid import best_of_grid, nearest
from bench.sets import Collection, Lists, collections
from manifold.evaluation import Comparison, Outcome
from manifold.neighbors import PointSet, exact_search, find_neighbors
from manifold.reranking import expand_queries
from manifold.reranking.cluster_aware import cluster_rerank
from manifold.reranking.fusion import fuse_rankings
from manifold.reranking.reciprocal import reciprocal_rerank

_LISTED = 100  # neighbours that the rerankers see; what they do not list follows in the order of the baseline
_CUT = 1_000  # items of lists that are fused, and of those whose figure looks at first places
FIRST, LAST = "hit@1", "recall@100"
# (what, in which sets, in which figures, against what, at least)
MARKS = (
    ("default", None, ("own", FIRST, LAST), "plain", 0.99),
    ("stated", "item", ("own", FIRST, LAST), "plain", 1.0),
    ("stated", "topic", ("own",), "grid", 0.94),
    ("tuned", "topic", ("own",), "grid", 0.97),
)


def run(*, quick: bool) -> list[Row]:
    rows: list[Row] = []
    for data in collections(quick=quick):
        start, busy = time.perf_counter(), time.process_time()
        rows += measured(data, quick=quick)
        taken = time.perf_counter() - start, time.process_time() - busy
        print(f"{data.name} took {taken[0]:.0f} s, {taken[1]:.0f} s of the processor", flush=True)
    return [*rows, *marks(rows)]


def measured(data: Collection, *, quick: bool = False) -> list[Row]:
    """Return a row a figure of one set."""
    near, similarities = nearest(data)
    lists = {name: rank(data, near) for name, rank in METHODS.items()}
    return rows_of(data, lists, grid=best_of_grid(data, near, similarities=similarities, quick=quick))


def rows_of(data: Collection, lists: Mapping[str, Lists], *, grid: tuple[float, Mapping[str, object]]) -> list[Row]:
    """Return a row a figure, given the whole lists of each method; what loses to plain for certain is named."""
    names = tuple(dict.fromkeys((data.figure, FIRST, LAST)))
    found = Comparison({name: Outcome.of({"all": data.figures(ids, *names)}) for name, ids in lists.items()})
    rows = []
    for place, figure in enumerate(names):
        row: Row = {"set": data.name, "purpose": data.purpose, "n": len(data.X), "queries": len(data.Q)}
        row |= {"relevant": float(np.median(data.relevant.sum(axis=1))), "figure": figure, "own": place == 0}
        row |= {name: outcome.figures["all"][figure] for name, outcome in found.items()}
        gains = {name: found.gain(name, over="plain", figure=figure) for name in lists if name != "plain"}
        row |= {
            "grid": None if place else grid[0],
            "loses": " ".join(n for n, g in gains.items() if g.verdict == "loses"),
        }
        rows.append(row | {"setting": "" if place else " ".join(f"{name}={value}" for name, value in grid[1].items())})
    return rows


def marks(rows: Sequence[Row]) -> list[Row]:
    """Return, for each mark, how many sets hold it and which is worst."""
    found = []
    for name, purpose, figures, against, least in MARKS:
        for figure in figures:
            ratios = {row["set"]: row[name] / row[against] for row in _chosen(rows, purpose, figure) if row[against]}
            if ratios:
                worst = min(ratios, key=lambda of: ratios[of])
                mark = f"{name}, {purpose or 'any'} sets: {figure} >= {least:g} of {against}"
                held = sum(ratio >= least - 1e-9 for ratio in ratios.values())
                found.append({"mark": mark, "sets": len(ratios), "hold": held, "worst": ratios[worst], "set": worst})
    return found


def _chosen(rows: Iterable[Row], purpose: str | None, figure: str) -> list[Row]:
    of_purpose = [row for row in rows if purpose is None or row["purpose"] == purpose]
    return [row for row in of_purpose if (row["own"] if figure == "own" else row["figure"] == figure)]


def _search(settings: Callable[[Collection], Mapping[str, object]]) -> Callable[[Collection, Lists], Lists]:
    def rank(data: Collection, near: Lists) -> Lists:
        search = mf.ManifoldSearch(on_failure="ignore", **settings(data)).fit(data.X)
        whole = near.shape[1]
        return completed(search.search(data.Q, k=whole if data.figure == "mAP" else min(_CUT, whole)).ids, near)

    return rank


def _expanded(data: Collection, near: Lists) -> Lists:
    sides = PointSet(expand_queries(data.Q, data.X), "cosine"), PointSet(data.X, "cosine")
    return exact_search(*sides, k=near.shape[1], backend=mf.backends.get_backend("scipy"))[0]


def _reranked(rerank: Callable[..., tuple[Lists, object]]) -> Callable[[Collection, Lists], Lists]:
    def rank(data: Collection, near: Lists) -> Lists:
        _, similarities = nearest(data)
        listed = near[:, :_LISTED], similarities[:, :_LISTED]
        neighbors = find_neighbors(data.X, min(_LISTED, near.shape[1] - 1))
        return completed(rerank(neighbors, *listed, k=near.shape[1])[0], near)

    return rank


def _fused(data: Collection, near: Lists) -> Lists:
    lists = [ids[:, :_CUT] for ids in (near, METHODS["diffusion"](data, near))]
    falling = [np.broadcast_to(-np.arange(ids.shape[1], dtype=float), ids.shape) for ids in lists]
    ids, _ = fuse_rankings(list(zip(lists, falling, strict=True)), rule="reciprocal_rank", k=2 * _CUT)
    return completed(ids, near)


def completed(ids: Lists, near: Lists) -> Lists:
    """Let the baseline follow what a method lists."""
    rows = []
    for listed, baseline in zip(ids, near, strict=True):
        kept = listed[listed >= 0]
        rows.append(np.concatenate([kept, baseline[~np.isin(baseline, kept)]]))
    return np.array(rows)


METHODS: dict[str, Callable[[Collection, Lists], Lists]] = {
    "plain": lambda _, near: near,
    "alphaQE": _expanded,
    "k-reciprocal": _reranked(reciprocal_rerank),
    "CAS": _reranked(cluster_rerank),
    "published": _search(lambda _: {"preset": "paper"}),
    "diffusion": _search(lambda _: {"preset": "plain-diffusion"}),
    "RRF": _fused,
    "default": _search(lambda _: {}),
    "stated": _search(lambda data: {"purpose": data.purpose}),
    "tuned": _search(lambda data: {"tune": True, "purpose": data.purpose}),
}
