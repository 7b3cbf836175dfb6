"""How near the tuned search comes to the best of 600 settings of plain diffusion, found *with* the labels.

Mutual with one bridge or union, k 3..50, gamma 1..6, k_q 1..10, alpha 0.5..0.99, on the sets of `bench.quality` that
have a "grid"; "share" is auto over the best.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

import manifold as mf
from bench._report import Row
from bench.quality import Collection, Lists, collections
from manifold.graph.affinity import Affinity
from manifold.neighbors import Neighbors, PointSet, exact_search, find_neighbors
from manifold.ranking import query_seeds
from manifold.solvers import Lanczos

_ALPHAS, _SEEDS = (0.5, 0.8, 0.9, 0.95, 0.99), (1, 3, 5, 10)
Best = tuple[float, dict[str, Any]]


def run(*, quick: bool) -> list[Row]:
    rows: list[Row] = []
    for data in collections(quick=quick):
        if data.grid:
            rows.append(_measure(data, quick=quick))
            print(rows[-1], flush=True)
    return rows


def _measure(data: Collection, *, quick: bool) -> Row:
    n = len(data.X)
    neighbors, backend = find_neighbors(data.X, 50), mf.backends.get_backend("scipy")
    near, similarities = exact_search(PointSet(data.Q, "cosine"), PointSet(data.X, "cosine"), k=n, backend=backend)
    adaptive = data.quality(mf.ManifoldSearch(preset="adaptive").fit(data.X).search(data.Q, k=n).ids)
    auto = data.quality(mf.ManifoldSearch(tune=True).fit(data.X).search(data.Q, k=n).ids)
    best, setting = _best(
        data, neighbors, near, similarities=similarities, widths=(5,) if quick else (3, 5, 10, 20, 50)
    )
    row: Row = {"set": data.name, "n": n, "neighbours": data.quality(near), "adaptive": adaptive, "auto": auto}
    return row | {"best": best, "share": auto / best, "adaptive_share": adaptive / best, **setting}


def _best(
    data: Collection, neighbors: Neighbors, near: Lists, *, similarities: NDArray[np.float32], widths: tuple[int, ...]
) -> Best:
    """Return the best mean average precision of the grid, and its setting."""
    n, q = len(data.X), len(data.Q)
    best: Best = 0.0, {}
    relevant = np.take_along_axis(data.relevant, near, axis=1)
    for edges, k, gamma in product(("mutual", "union"), widths, (1.0, 3.0, 6.0)):
        graph = mf.graph_from_neighbors(neighbors.first(k), gamma=gamma, edges=edges)
        kernel = Affinity(gamma=gamma)
        seeds = [query_seeds(near[:, :m], similarities[:, :m], n_nodes=n, affinity=kernel).toarray() for m in _SEEDS]
        solution = mf.diffuse(graph, np.hstack(seeds), filter=mf.Diffusion(_ALPHAS[-1]), solver=Lanczos(rtol=1e-2))
        for alpha in _ALPHAS:
            scores = solution.refilter(mf.Diffusion(alpha)).scores.T.reshape(len(_SEEDS), q, n)
            for m, part in zip(_SEEDS, scores, strict=True):
                # in the order of the baseline, so that it breaks ties and follows what is not reached
                values = np.take_along_axis(np.maximum(part, 0), near, axis=1)
                order = np.argsort(-values, axis=1, kind="stable")
                value = _precision(np.take_along_axis(relevant, order, axis=1))
                if value > best[0]:
                    best = value, {"edges": edges, "k": k, "gamma": gamma, "k_q": m, "alpha": alpha}
    return best


def _precision(hits: NDArray[np.bool_]) -> float:
    """Return the mean average precision ("step") of full lists, given which of their items are relevant (q, n)."""
    found = np.cumsum(hits, axis=1)
    precision = np.where(hits, found / np.arange(1, hits.shape[1] + 1), 0).sum(axis=1)
    return float(np.mean(precision / found[:, -1]))
