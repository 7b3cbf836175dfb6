"""Plain arrays as a store: the smallest one, the model of an adapter, and the oracle of the others' tests.

s = <q, x> / |q||x|,     <q, x>,     -|q - x|^2
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

from manifold.stores._base import BATCH, Lists, Vectors, form_of, listed, together

_FORMS = {"cosine": ("cosine", "v"), "inner_product": ("product", "v"), "euclidean": ("squared", "-v")}


class Arrays:
    """A store of arrays in memory: ids, and one vector of each; assign `ids` and `X` anew to write to it.

    Reference: guide *stores*, "What a store is asked".

    Parameters
    ----------
    ids : (n,) sequence
        Names, as a store would have them.
    X : (n, d) array-like
    metric : {"cosine", "inner_product", "euclidean"}

    Examples
    --------
    >>> store = Arrays(["a", "b", "c"], [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> store.search(np.array([[1.0, 0.0]]), 2, where=lambda name: name != "b")[0]
    [['a', 'c']]
    """

    def __init__(self, ids: Sequence[object], X: ArrayLike, *, metric: str = "cosine") -> None:
        form_of(_FORMS, metric, store="arrays")
        self.ids, self.X, self.metric = list(ids), np.asarray(X, dtype=np.float32), metric

    def __repr__(self) -> str:
        return f"Arrays({len(self.ids)} items, metric={self.metric!r})"

    def batches(self) -> Iterator[tuple[Sequence[object], Vectors]]:
        """Yield all ids and vectors, 10,000 at a time.

        >>> [len(ids) for ids, _ in Arrays(range(12_000), np.ones((12_000, 2))).batches()]
        [10000, 2000]
        """
        ids, X = self.ids, self.X  # what is assigned meanwhile is for the next scan
        for start in range(0, len(ids), BATCH):
            yield ids[start : start + BATCH], X[start : start + BATCH]

    def search(self, Q: Vectors, k: int, where: object = None) -> Lists:
        """Return the nearest items of each query by brute force; `where` is a function of an id.

        >>> Arrays(["a", "b"], [[3.0, 4.0], [0.0, 2.0]], metric="euclidean").search(np.array([[0.0, 0.0]]), 1)
        ([['b']], [[-4.0]])
        """
        rows = [i for i, name in enumerate(self.ids) if _holds(where, name)]
        X, Q = self.X[rows].astype(np.float64), np.asarray(Q, dtype=np.float64)
        values = ((Q[:, None, :] - X) ** 2).sum(axis=2) if self.metric == "euclidean" else Q @ X.T
        if self.metric == "cosine":
            norms = np.linalg.norm(Q, axis=1)[:, None] * np.linalg.norm(X, axis=1)
            values = np.divide(values, norms, out=np.full(values.shape, np.nan), where=norms > 0)
        order = np.argsort(values if self.metric == "euclidean" else -values, axis=1, kind="stable")[:, :k]
        form = form_of(_FORMS, self.metric, store="arrays")[1]
        return together(
            listed([self.ids[rows[j]] for j in best], values[i, best].tolist(), form) for i, best in enumerate(order)
        )

    def keep(self, ids: Sequence[object] | None, where: object = None) -> set[object]:
        """Return those of some ids, or of all, that are there and satisfy a function of an id.

        >>> Arrays(["a", "b"], np.eye(2)).keep(["b", "gone"])
        {'b'}
        """
        there = set(self.ids) if ids is None else set(self.ids).intersection(ids)
        return {name for name in there if _holds(where, name)}


def _holds(where: object, name: object) -> bool:
    """Return whether an id satisfies a filter; raise TypeError for what is none."""
    if where is None:
        return True
    if not callable(where):
        raise TypeError(f"where must be a function of an id, got {type(where).__name__}: lambda name: ...")
    return bool(where(name))
