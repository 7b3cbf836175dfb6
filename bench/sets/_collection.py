"""What a set to be judged on is, and how one is made: by a recipe, from a generator of its own."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import manifold as mf
from manifold.metrics import evaluate_queries

Lists: TypeAlias = NDArray[np.int64]
Vectors: TypeAlias = NDArray[np.float32]
Parts: TypeAlias = tuple[Vectors, Vectors, NDArray[np.bool_]]  # X (n, d), Q (q, d), relevant (q, n)
_SEED = 0
_LARGEST = 4_000  # items of a larger set that are drawn


@dataclass(frozen=True, eq=False)
class Collection:
    """A set to search, its queries, which items each of them should find (q, n), and how that is judged."""

    name: str
    X: Vectors
    Q: Vectors
    relevant: NDArray[np.bool_]
    figure: str = "mAP"
    purpose: str = "topic"
    grid: bool = False

    @property
    def truth(self) -> mf.datasets.GroundTruth:
        """What each query should find, as `manifold.evaluation` reads it."""
        return mf.datasets.GroundTruth(self.name, {"relevant": [np.flatnonzero(row) for row in self.relevant]})

    def figures(self, ids: Lists, *names: str) -> dict[str, NDArray[np.float64]]:
        """Return figures (q,) of each query's list."""
        return evaluate_queries(ids, self.truth, figures=names)["all"]

    def quality(self, ids: Lists, figure: str | None = None) -> float:
        """Return the mean of the set's own figure, or of another."""
        name = figure or self.figure
        return float(self.figures(ids, name)[name].mean())


@dataclass(frozen=True)
class Recipe:
    """How a set is made, and how it is judged."""

    make: Callable[[np.random.Generator], Parts]
    figure: str = "mAP"
    purpose: str = "topic"
    grid: bool = False  # also judged by `bench grid`
    quick: bool = False

    def collection(self, name: str) -> Collection:
        """Make the set; its draws depend on its name alone, so that a set left out changes no other."""
        rng = np.random.default_rng([_SEED, zlib.crc32(name.encode())])
        X, Q, relevant = self.make(rng)
        asked = relevant.any(axis=1)
        return Collection(
            name,
            np.ascontiguousarray(X, dtype=np.float32),
            np.ascontiguousarray(Q[asked], dtype=np.float32),
            relevant[asked],
            figure=self.figure,
            purpose=self.purpose,
            grid=self.grid,
        )


def item(make: Callable[[np.random.Generator], Parts], *, figure: str = "MRR", quick: bool = False) -> Recipe:
    """Return the recipe of a set whose users look for one item, or for the two or three that go with it."""
    return Recipe(make, figure=figure, purpose="item", quick=quick)


def features(data: mf.datasets.Dataset) -> Vectors:
    X = data.features.astype(np.float32)
    return np.sqrt(np.maximum(X, 0)) if data.name == "mpeg7" else X  # spectra: Hellinger's kernel, made a cosine


def held_out(X: Any, y: Any, rng: np.random.Generator, *, n: int) -> Parts:
    """Let n items, drawn at random, ask for the others of their class."""
    order = rng.permutation(len(X))
    asks, rows = order[:n], order[n : n + _LARGEST]
    return X[rows], X[asks], y[asks][:, None] == y[rows]


def drawn(data: mf.datasets.Dataset, rng: np.random.Generator, *, n: int) -> Parts:
    """Let n queries of a protocol ask for the items of their class."""
    rows = np.sort(rng.permutation(len(data.features))[:_LARGEST])
    asks = np.sort(rng.permutation(len(data.queries))[:n])
    return (
        features(data)[rows],
        data.queries[asks].astype(np.float32),
        data.query_labels[asks][:, None] == data.labels[rows],
    )


def known(X: Vectors, Q: Vectors, rows: Any) -> Parts:
    """Let each query have one relevant item: of these rows (q,)."""
    return X, Q, np.asarray(rows)[:, None] == np.arange(len(X))
