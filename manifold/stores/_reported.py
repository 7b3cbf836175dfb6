"""Lists of neighbours that a store reports of its own items: nothing is searched for, and no vector is kept."""

from __future__ import annotations

import numpy as np

from manifold.neighbors import Neighbors, from_faiss
from manifold.stores._base import Store


def reported(store: Store, k: int) -> tuple[list[object], Neighbors]:
    """Return ids of all items, and the k nearest others of each, as the store's own index finds them.

    Raises ValueError for a store without vectors.

    >>> from manifold.stores import Arrays
    >>> reported(Arrays(["a", "b", "c"], [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), 1)[1].indices.tolist()
    [[1], [0], [1]]
    """
    ids: list[object] = []
    lists: list[tuple[list[object], list[float]]] = []
    for names, X in store.batches():
        ids += names
        lists += zip(*store.search(X, k + 1), strict=True)
    if not ids:
        raise ValueError(f"{store} holds no vectors: write some, and fit then")
    rows = {name: i for i, name in enumerate(ids)}
    near = np.full((len(ids), k + 1), -1)
    # squared distances where the metric is one of distances, as lists of FAISS have them
    values, sign = np.zeros(near.shape), -1.0 if store.metric == "euclidean" else 1.0
    for i, (names, similarities) in enumerate(lists):
        listed = [(rows[name], sign * s) for name, s in zip(names, similarities, strict=True) if name in rows]
        near[i, : len(listed)] = [row for row, _ in listed]
        values[i, : len(listed)] = [value for _, value in listed]
    return ids, from_faiss(values, near, metric=store.metric)
