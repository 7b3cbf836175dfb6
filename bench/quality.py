"""Quality of reranking on the sets of `bench.sets`, each in its own figure, the same features in each row.

Queries are never in the graph; nothing is chosen by a label or for one set; neighbours are by cosine. "default" and
"adaptive" are untuned presets, "auto" is tuned. "kept" is the mean number of first places that auto says it left to the
nearest neighbours, "alone" the share of queries with any.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

import manifold as mf
from bench._report import Row
from bench.sets import Collection, Lists, collections
from manifold.neighbors import PointSet, exact_search, find_neighbors
from manifold.reranking import expand_queries
from manifold.reranking.cluster_aware import cluster_rerank
from manifold.reranking.reciprocal import reciprocal_rerank

_LISTED = 100  # neighbours that the rerankers see; what they do not list follows in the order of the baseline


def run(*, quick: bool) -> list[Row]:
    rows = []
    for collection in collections(quick=quick):
        start = time.perf_counter()
        rows.append(_measure(collection))
        print(f"{collection.name} took {time.perf_counter() - start:.0f} s", flush=True)
    return rows


def _measure(data: Collection) -> Row:
    n = len(data.X)
    neighbors = find_neighbors(data.X, min(_LISTED, n - 1))
    near, similarities = exact_search(
        PointSet(data.Q, "cosine"), PointSet(data.X, "cosine"), k=n, backend=mf.backends.get_backend("scipy")
    )
    row: Row = {"set": data.name, "n": n, "queries": len(data.Q), "relevant": float(data.relevant.sum(axis=1).mean())}
    expanded, _ = exact_search(
        PointSet(expand_queries(data.Q, data.X), "cosine"),
        PointSet(data.X, "cosine"),
        k=n,
        backend=mf.backends.get_backend("scipy"),
    )
    row["neighbours"] = data.quality(near)
    row["alphaQE"] = data.quality(expanded)
    listed = near[:, :_LISTED], similarities[:, :_LISTED]
    for name, rerank in (("k-reciprocal", reciprocal_rerank), ("CAS", cluster_rerank)):
        row[name] = data.quality(_completed(rerank(neighbors, *listed, k=n)[0], near))
    searches: dict[str, Callable[[], mf.ManifoldSearch]] = {
        "published": lambda: mf.ManifoldSearch(preset="paper", on_failure="ignore"),
        "RDP": lambda: mf.ManifoldSearch(preset="paper", solver="cg"),
        "default": mf.ManifoldSearch,
        "adaptive": lambda: mf.ManifoldSearch(preset="adaptive"),
    }
    for name, search in searches.items():
        fitted = search().fit(data.X)
        if name == "RDP":
            fitted = fitted.with_settings(filter=mf.RegularizedDiffusion(0.99))
        row[name] = data.quality(fitted.search(data.Q, k=n).ids)
    start, busy = time.perf_counter(), time.process_time()
    auto = mf.ManifoldSearch(tune=True).fit(data.X)
    row["fit_s"], row["fit_cpu_s"] = time.perf_counter() - start, time.process_time() - busy
    ranking = auto.search(data.Q, k=n)
    row["auto"], row["kept"] = data.quality(ranking.ids), float(ranking.kept.mean())
    row["alone"] = float((ranking.kept > 0).mean())
    row["setting"] = str(auto.tuning_.setting)
    return row


def _completed(ids: Lists, near: Lists) -> Lists:
    """Let the baseline follow what a reranker lists."""
    rows = []
    for listed, baseline in zip(ids, near, strict=True):
        kept = listed[listed >= 0]
        rows.append(np.concatenate([kept, baseline[~np.isin(baseline, kept)]]))
    return np.array(rows)
