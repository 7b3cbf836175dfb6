"""Cells of cells: which are nearest to a point, looked for in the nearest large ones alone; and an order of nearness.

In: centres, and whose parts they are. Out: the nearest of each row, nearest first, and which of them are far; numbers
by which near ones are near.
"""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from manifold._typing import Ints
from manifold.backends import Backend
from manifold.neighbors._shortlists import NOBODY, join_lists

NOWHERE = -1  # instead of a cell that is too far
_NEAR = 24  # large cells in which a point looks for its own, and for those around it
_FEW = 4  # of the nearest centres, by whose distances others are far or near
_POWERS = 4  # iterations of the power method: any direction along which centres spread will do

Cells = NDArray[np.int32]


class Parts(NamedTuple):
    """The cells of each large one: their numbers, their centres, and half the squares of these."""

    cells: list[Cells]
    centres: list[NDArray[np.float32]]
    halves: list[NDArray[np.float32]]

    @classmethod
    def of(cls, centres: NDArray[np.float32], owner: Cells, n_large: int) -> Parts:
        """Sort the cells by the large one that they are parts of."""
        cells = [np.flatnonzero(owner == s).astype(np.int32) for s in range(n_large)]
        halves = [np.einsum("ij,ij->i", centres[own], centres[own]) / 2 for own in cells]
        return cls(cells, [centres[own] for own in cells], halves)

    def enough(self, n_probes: int) -> int:
        """Return how many of the nearest large cells are looked at: more than usual where they could hold too few."""
        n_cells, n_large = sum(map(len, self.cells)), len(self.cells)
        return min(n_large, max(_NEAR, -(-2 * n_probes * n_large // n_cells)))

    def nearest(
        self, rows: NDArray[np.float32], large: Ints, n_probes: int, *, backend: Backend, kernels: ModuleType | None
    ) -> tuple[Cells, NDArray[np.float32]]:
        """Return the nearest cells (m, p) among those of large ones (m, near), and their scores.

        `NOWHERE`, with ``-inf``, behind the last where these hold too few.
        """
        m, near = large.shape
        scores, ids = np.full((m, n_probes), -np.inf, np.float32), np.full((m, n_probes), NOBODY, np.int32)
        by_large = np.argsort(large.astype(np.uint16), axis=None, kind="stable")  # two bytes are sorted in linear time
        ends = np.cumsum(np.bincount(large.ravel(), minlength=len(self.cells)))
        for own, centres, halves, asked in zip(*self, np.split(by_large, ends[:-1]), strict=True):
            if not (asked.size and own.size):
                continue
            at = (asked // near).astype(np.int32)
            products, columns = rows[at] @ centres.T, own + np.int32(m)  # cells have other ids than those who ask
            if kernels is not None:
                kernels.offer_rows(products, halves, columns, at, scores, ids, 0, at.size)
            else:
                best, values = backend.top_k(products - halves, min(n_probes, own.size))
                join_lists(scores, ids, at, more=(values, columns[best]))
        return np.where(ids == NOBODY, np.int32(NOWHERE), ids - np.int32(m)), scores


def near_order(centres: NDArray[np.float32]) -> Ints:
    """Return an order in which near centres are near: halves along the direction in which they spread, and so on.

    >>> near_order(np.array([[5.0], [1.0], [4.0], [0.0]], np.float32)).tolist()
    [3, 1, 2, 0]
    """
    order = np.arange(len(centres))
    ends = [(0, len(centres))]
    while ends:
        first, last = ends.pop()
        if last - first < 2:
            continue
        rows = centres[order[first:last]].astype(np.float64)
        rows -= rows.mean(axis=0)
        axis = rows[np.argmax((rows**2).sum(axis=1))]
        for _ in range(_POWERS):
            axis = rows.T @ (rows @ axis)
            axis /= np.abs(axis).max() or 1.0
        axis *= np.sign(axis[np.argmax(np.abs(axis))]) or 1.0
        order[first:last] = order[first:last][np.argsort(rows @ axis, kind="stable")]
        middle = (first + last) // 2
        ends += [(first, middle), (middle, last)]
    return order


def times_as_far(squares: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return distances from centres by the mean of the few least; 0 of 0 is 0.

    Of x^2 (m,) and scores x c - c^2 / 2 (m, p), the largest first.

    >>> times_as_far(np.array([4.0], np.float32), np.array([[1.5, 1.5, 1.5, 1.5, -6.0]], np.float32)).tolist()
    [[1.0, 1.0, 1.0, 1.0, 4.0]]
    """
    distances = np.sqrt(np.maximum(squares[:, None] - 2 * scores, 0))
    few = distances[:, :_FEW].mean(axis=1, keepdims=True)
    times = np.where(distances > 0, np.float32(np.inf), np.float32(0))
    with np.errstate(over="ignore"):  # as far as can be
        np.divide(distances, few, out=times, where=few > 0)
    return times
