"""Sets in which one to three items are relevant to a query: classes split into small instances, and near-duplicates."""

from __future__ import annotations

from typing import Any

import numpy as np

import manifold as mf
from bench.sets._collection import Parts, Vectors, features, item, known

Rng = np.random.Generator


def _few_of_each(name: str, m: int) -> Any:
    """Keep m items of each class, and let two others ask for them."""

    def make(rng: Rng) -> Parts:
        data = mf.datasets.load(name, protocol="leave-one-out")
        X, y = features(data), data.labels
        order = rng.permutation(len(X))
        order = order[np.argsort(y[order], kind="stable")]
        place = np.arange(len(X)) - np.searchsorted(y[order], y[order])
        rows, asks = order[place < m], order[(place >= m) & (place < m + 2)]
        return X[rows], X[asks], y[asks][:, None] == y[rows]

    return make


def _arcs(rng: Rng) -> Parts:
    data = mf.datasets.load("coil20", protocol="leave-one-out")
    X, y = features(data), data.labels
    views = np.concatenate([np.arange(np.sum(y == c)) for c in np.unique(y)])
    arcs, asks = y * 100 + views // 4, views % 4 == 1
    return X[~asks], X[asks], arcs[asks][:, None] == arcs[~asks]


def _shifted(rng: Rng) -> Parts:
    data = mf.datasets.load("fashion_mnist", protocol="test")
    X = data.features[np.sort(rng.permutation(len(data.features))[:3_000])].astype(np.float32)
    return known(X, np.roll(X[:200].reshape(-1, 28, 28), 1, axis=2).reshape(200, -1), range(200))


def _noisy(X: Vectors, rng: Rng) -> Parts:
    """Let copies of the first 200 items ask, with noise of half their spread."""
    noise = 0.5 * X.std(axis=0) * rng.normal(size=(200, X.shape[1]))
    return known(X, (X[:200] + noise).astype(np.float32), range(200))


def _cifar10(rng: Rng) -> Parts:
    return _noisy(mf.datasets.load("cifar10", protocol="test").features[:3_000].astype(np.float32), rng)


def _mirrored(rng: Rng) -> Parts:
    X = features(mf.datasets.load("orl", protocol="leave-one-out"))
    asks = np.sort(rng.permutation(len(X))[:150])
    side = int(np.sqrt(X.shape[1]))  # a picture is stored column by column
    return known(X, X[asks].reshape(-1, side, side)[:, ::-1].reshape(asks.size, -1), asks)


def _halves(rng: Rng) -> Parts:
    """Let the upper halves of handwritten digits ask for the whole."""
    X = mf.datasets.load("usps", protocol="test").features.astype(np.float32)
    X = X[np.sort(rng.permutation(len(X))[:3_000])]
    X = X - X.min()  # ink above 0: what is covered is paper
    Q = X[:200].reshape(-1, 16, 16).copy()
    Q[:, 9:] = 0
    return known(X, Q.reshape(200, -1), range(200))


RECIPES = {
    "orl 2 of each": item(_few_of_each("orl", 2), figure="nDCG@10"),
    "orl 3 of each": item(_few_of_each("orl", 3), figure="nDCG@10"),
    "mpeg7 2 of each": item(_few_of_each("mpeg7", 2), figure="nDCG@10"),
    "grocery 2 of each": item(_few_of_each("grocery", 2), figure="nDCG@10"),
    "coil20 arcs of 4": item(_arcs, figure="nDCG@10"),
    "fashion shifted": item(_shifted),
    "cifar10 copies": item(_cifar10),
    "digits copies": item(lambda rng: _noisy(mf.datasets.digits().features, rng), quick=True),
    "faces mirrored": item(_mirrored),
    "digits half covered": item(_halves),
}
