"""Whitening by mined pairs, judged on classes that were in no pair: gains of mAP, with its own judgement on."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

import manifold as mf
from manifold import discovery
from manifold.errors import ManifoldWarning

_ANCHORS, _JUDGED = 1_000, 1_500  # of a set: enough for two digits
_TRAIN, _TEST = slice(0, 2640), slice(2936, None)  # of the photos of groceries: one visit, and others


def unit(x: Any) -> Any:
    x = np.asarray(x, dtype=np.float32)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def across_visits(seed: int) -> tuple[float, float]:
    """Photos of other visits ask for those of the first, of the things that were in no pair: before, after."""
    data = mf.datasets.load("grocery")
    X, y = unit(data.features), data.labels
    classes = np.unique(y)
    own = np.isin(y, np.random.default_rng(seed).permutation(classes)[: len(classes) // 2])
    train = X[_TRAIN][own[_TRAIN]]
    axes = np.linalg.svd(train - train.mean(axis=0), full_matrices=False)[2][:256].T
    (asked, ya), (base, yb) = ((unit(X[part][~own[part]] @ axes), y[part][~own[part]]) for part in (_TEST, _TRAIN))
    whitening = learned(unit(train @ axes), n_positive=20, seed=seed)
    right = [np.flatnonzero(yb == one) for one in ya]
    kept = np.array([one.size > 0 for one in right])
    right = [one for one in right if one.size]

    def figure(Q: Any, B: Any) -> float:
        return float(mf.metrics.mean_average_precision(np.argsort(-(Q @ B.T), axis=1)[kept], right))

    return figure(asked, base), figure(whitening.transform(asked), whitening.transform(base))


def within_a_set(name: str, seed: int, limit: int, n_positive: int) -> tuple[float, float]:
    """Every item of the held-out half of the classes asks for the others of its class."""
    X, y = _features(name, limit)
    rng = np.random.default_rng(seed)
    own = np.isin(y, rng.permutation(np.unique(y))[: len(np.unique(y)) // 2])
    whitening = learned(X[own], n_positive=n_positive, seed=seed)
    rest = rng.permutation(np.flatnonzero(~own))[:_JUDGED]
    return leave_one_out(X[rest], y[rest]), leave_one_out(whitening.transform(X[rest]), y[rest])


def of_texts(n_components: int | None, seed: int) -> tuple[float, float]:
    """Cranfield: learned from the abstracts, judged by its questions."""
    data = mf.datasets.load("cranfield")
    X, Q = unit(data.features), unit(data.queries)
    whitening = learned(X, n_positive=10, seed=seed, n_components=n_components)
    right = [np.array(sorted(map(int, one))) for one in data.relevant]

    def figure(Q: Any, X: Any) -> float:
        return float(mf.metrics.mean_average_precision(np.argsort(-(Q @ X.T), axis=1), right))

    return figure(Q, X), figure(whitening.transform(Q), whitening.transform(X))


def learned(X: Any, *, n_positive: int, seed: int, n_components: int | None = None) -> discovery.PairWhitening:
    """Return the map of five nearest and five mined positives of each item; its own triplets judge it."""
    near = mf.find_neighbors(X, min(100, len(X) - 1))
    anchors = np.random.default_rng(seed).permutation(len(near))[:_ANCHORS]
    graph = mf.graph_from_neighbors(near.first(10))
    mined = discovery.mine(graph, near, anchors, n_positive=n_positive, n_negative=near.n_neighbors)
    pairs = np.column_stack([np.repeat(np.arange(len(near)), 5), near.indices[:, :5].ravel()])
    pairs = np.concatenate([pairs, mined.pairs(5, rng=seed)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ManifoldWarning)  # features that are left alone
        return discovery.PairWhitening(n_components).fit(X, pairs, triplets=mined.triplets(10, rng=seed))


def leave_one_out(X: Any, y: Any) -> float:
    ids = mf.find_neighbors(X, len(X) - 1).indices
    right = [np.setdiff1d(np.flatnonzero(y == c), [i]) for i, c in enumerate(y)]
    return float(mf.metrics.mean_average_precision(ids, right))


def draws(quick: bool) -> Iterator[tuple[str, str, list[tuple[float, float]]]]:
    """Yield what was measured, on what, and (before, after) of every draw."""
    yield "mAP", "grocery across visits", [across_visits(seed) for seed in ((1,) if quick else (1, 2, 3))]
    if not quick:
        yield "gain", "grocery across visits, ten more draws", [across_visits(seed) for seed in range(4, 14)]
    few, seeds = 1500 if quick else 6000, (1,) if quick else (1, 2)
    sets = {"grocery": 20, "coil20": 20, "orl": 8, "cifar10": 20, "fashion_mnist": 20}  # positives: below a class
    for name, n_positive in list(sets.items())[: 2 if quick else None]:
        yield "kept", f"{name}, classes held out", [within_a_set(name, seed, few, n_positive) for seed in seeds]
    for n_components in (None,) if quick else (None, 128):
        on = f"cranfield, {n_components or 384} numbers, its questions"
        yield "kept", on, [of_texts(n_components, seed) for seed in seeds]


def _features(name: str, limit: int) -> tuple[Any, Any]:
    data = mf.datasets.load(name)
    X, y = unit(data.features), data.labels
    if len(X) > limit:
        kept = np.random.default_rng(0).permutation(len(X))[:limit]
        X, y = X[kept], y[kept]
    if X.shape[1] > 256:
        mean = X.mean(axis=0)
        basis = np.linalg.eigh((X - mean).T @ (X - mean))[1][:, ::-1][:, :256]
        X = unit((X - mean) @ basis)
    return X, y
