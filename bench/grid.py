"""How near searches without labels come to the best of 192 settings that is found *with* the labels of the queries.

Eight graphs (mutual with a bridge, soft mutual, union; k 5..50), k_q 5 or 20, alpha 0.5..0.99, degree exponent 0 or
0.5, with the similarity to the power 0.25 or without. "share" is that of the tuned search in the best, in the set's
own figure.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

import manifold as mf
from bench._report import Row
from bench.sets import Collection, Lists, collections
from manifold.graph.affinity import Affinity
from manifold.neighbors import PointSet, exact_search, find_neighbors
from manifold.ranking import query_seeds
from manifold.solvers import Lanczos

Best = tuple[float, dict[str, Any]]
_ALPHAS, _SEEDS, _EXPONENTS, _FUSIONS = (0.5, 0.9, 0.99), (5, 20), (0.0, 0.5), (0.0, 0.25)


@dataclass(frozen=True)
class _GraphCase:
    k: int
    gamma: float
    edges: str = "mutual"
    one_sided: float | None = None


_GRAPHS = (
    *(_GraphCase(k, gamma) for k, gamma in ((5, 6.0), (10, 3.0), (20, 6.0), (50, 3.0))),
    *(_GraphCase(k, 6.0, one_sided=0.3) for k in (7, 15)),
    *(_GraphCase(k, 3.0, "union") for k in (5, 10)),
)


def run(*, quick: bool) -> list[Row]:
    rows: list[Row] = []
    for data in collections(quick=quick):
        near, similarities = nearest(data)
        adaptive = data.quality(mf.ManifoldSearch(preset="adaptive").fit(data.X).search(data.Q, k=len(data.X)).ids)
        auto = data.quality(mf.ManifoldSearch(tune=True).fit(data.X).search(data.Q, k=len(data.X)).ids)
        best, setting = best_of_grid(data, near, similarities=similarities, quick=quick)
        row: Row = {"set": data.name, "n": len(data.X), "figure": data.figure, "neighbours": data.quality(near)}
        row |= {"adaptive": adaptive, "auto": auto, "best": best, "share": auto / best}
        rows.append(row | {"adaptive_share": adaptive / best, **setting})
        print(rows[-1], flush=True)
    return rows


@lru_cache(maxsize=1)  # several methods of a bench start from them
def nearest(data: Collection) -> tuple[Lists, NDArray[np.float32]]:
    """Return whole lists by cosine, and the cosines."""
    sides = PointSet(data.Q, "cosine"), PointSet(data.X, "cosine")
    return exact_search(*sides, k=len(data.X), backend=mf.backends.get_backend("scipy"))


def best_of_grid(data: Collection, near: Lists, *, similarities: NDArray[np.float32], quick: bool = False) -> Best:
    """Return the best value of the set's figure over the grid, and its setting."""
    n, q = near.shape[1], len(near)
    neighbors = find_neighbors(data.X, min(max(case.k for case in _GRAPHS), n - 1))
    relevant = np.take_along_axis(data.relevant, near, axis=1)
    places = np.arange(1, n + 1, dtype=np.float32)
    best: Best = 0.0, {}
    for case in _GRAPHS[:2] if quick else _GRAPHS:
        lists = neighbors.first(min(case.k, n - 1))
        soft = {} if case.one_sided is None else {"one_sided": case.one_sided}
        graph = mf.graph_from_neighbors(lists, gamma=case.gamma, edges=case.edges, bridge=1, **soft)
        kernel = Affinity(gamma=case.gamma)
        seeds = [query_seeds(near[:, :m], similarities[:, :m], n_nodes=n, affinity=kernel).toarray() for m in _SEEDS]
        solution = mf.diffuse(graph, np.hstack(seeds), filter=mf.Diffusion(_ALPHAS[-1]), solver=Lanczos(rtol=1e-2))
        for alpha in _ALPHAS:
            scores = np.maximum(solution.refilter(mf.Diffusion(alpha)).scores.T, 0).reshape(len(_SEEDS), q, n)
            for (m, part), exponent, fusion in product(zip(_SEEDS, scores, strict=True), _EXPONENTS, _FUSIONS):
                worth = np.take_along_axis(part * graph.scale(exponent).astype(np.float32), near, axis=1)
                worth = worth * np.maximum(similarities, 0) ** fusion
                # what is not reached follows in the order of the baseline
                order = np.argsort(np.where(worth > 0, -worth, places), axis=1)
                value = figure_of(np.take_along_axis(relevant, order, axis=1), data.figure)
                if value > best[0]:
                    setting = {"edges": case.edges, "one_sided": case.one_sided, "k": case.k, "gamma": case.gamma}
                    best = value, setting | {"k_q": m, "alpha": alpha, "exponent": exponent, "fusion": fusion}
    return best


def figure_of(hits: NDArray[np.bool_], figure: str) -> float:
    """Return the mean of a figure of whole lists, given which of their items are relevant (q, n)."""
    if figure == "mAP":
        found = np.cumsum(hits, axis=1)
        precision = np.where(hits, found / np.arange(1, hits.shape[1] + 1), 0).sum(axis=1)
        return float(np.mean(precision / found[:, -1]))
    if figure == "MRR":
        return float(np.mean(1 / (1 + hits.argmax(axis=1))))
    if figure != "nDCG@10":
        raise ValueError(f"figure={figure!r}: mAP, MRR or nDCG@10")
    gains = 1 / np.log2(np.arange(2, 12))[: hits.shape[1]]
    ideal = np.cumsum(gains)[np.minimum(hits.sum(axis=1), len(gains)) - 1]
    return float(np.mean(hits[:, : len(gains)] @ gains / ideal))
