"""Candidates of all points at once: blocks of pairs are compared, and a pair may enter the lists of both.

In: members and visitors, by id. Out: the m best candidates of each point. Scores are matrix products, which only
propose (see `_exact`); `rank` replaces them by similarities. On the host, compiled kernels keep the lists where Numba
is installed and the rows are plain; NumPy, or a device, arrives at the same lists through selections of whole blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from manifold._typing import Ints, Mask
from manifold.backends import Array, Backend
from manifold.backends.threads import in_threads, thread_count
from manifold.neighbors._exact import Placed, rank_candidates
from manifold.neighbors.points import GATHER, PointSet, slices

NOBODY = 2**31 - 1  # the id of an empty place: after all others
_BLOCK = 1 << 23  # scores held at a time: 32 MiB
_MEMBERS = 2048  # columns of a block, at most
_ROWS = 512  # of a block, for one thread at a time: whatever the number of threads, products have these shapes
_JOINED = 4096
_RANKED = 256  # lists that a thread ranks at a time


def lists_forecast(n: int, d: int, m: int) -> int:
    """Return the bytes, at most, that lists of m candidates of n points take, while and after they are filled.

    The lists, and the copies in which they become neighbours; a block of products, and the rows it is made of.

    >>> lists_forecast(1_000_000, 128, 20) < 1e9
    True
    """
    columns = min(n, _MEMBERS)
    block = min(n * columns, max(_BLOCK, _ROWS * columns)) + d * (columns + _ROWS * thread_count())
    return 4 * 8 * n * m + 4 * (block + 2 * max(GATHER, d)) + 32 * n


class Shortlists:
    """The m best candidates met so far of every point, by (-score, id).

    Parameters
    ----------
    points : PointSet
    m : int
        Length of the lists.
    probes : (n, p) int32, optional
        The cells whose members each point is compared with, its own first.

    Attributes
    ----------
    cell : (n,) int32
        The own cell of each point.
    scores, ids : (n, m) float32 and int32, on the backend
        Empty places hold ``-inf`` and `NOBODY`.
    """

    def __init__(self, points: PointSet, m: int, *, backend: Backend, probes: NDArray[np.int32] | None = None) -> None:
        n, xp = points.X.shape[0], backend.xp
        self.points, self.backend = points, backend
        self.probes = np.zeros((n, 0), np.int32) if probes is None else probes
        self.cell = np.zeros(n, np.int32) if probes is None else probes[:, 0].copy()
        self.scores, self.ids = xp.full((n, m), -np.inf, dtype=np.float32), xp.full((n, m), NOBODY, dtype=np.int32)
        self._placed = Placed(points, backend)
        self._on_host = backend.owns(points.X[:0])
        self._kernels = compiled_kernels(points) if self._on_host else None
        # what is taken from a product with a point, for products to order points as the metric does
        halves = points.norms**2 / 2 if points.metric == "euclidean" else np.zeros(n)
        self._offsets = halves.astype(np.float32)
        self._plain = points.plain

    def compare(self, members: NDArray[np.int32], visitors: NDArray[np.int32]) -> None:
        """Compare members with one another and with visitors, who are others; both ascend.

        A member does not meet a visitor whose cell it probes: it meets it there.
        """
        rows = np.concatenate([members, visitors])
        for columns in (members[part] for part in slices(members.size, _MEMBERS)):
            for part in slices(rows.size, _ROWS * max(1, _BLOCK // (_ROWS * columns.size))):
                back = min(max(members.size - part.start, 0), rows[part].size)  # members meet each other as rows
                self._meet(rows[part], columns, back=back)

    def _meet(self, rows: NDArray[np.int32], columns: NDArray[np.int32], *, back: int) -> None:
        """Offer to the lists of rows the columns, and to the lists of columns the visitors: rows from `back` on."""
        products, visitors = self._products(rows, columns), rows[back:]
        offsets = self._offsets[visitors]
        if (kernels := self._kernels) is not None:
            given = (visitors, columns, self.cell, self.probes, self.scores, self.ids)

            def offer(first: int, last: int) -> None:
                kernels.offer_columns(products[back:], offsets, *given, first, last)

            in_threads(offer, columns.size, step=_ROWS // 4)
            return
        self._offer(
            rows, products - self.backend.asarray(self._offsets[columns]), columns, met=rows[:, None] == columns
        )
        if visitors.size:
            met = (self.probes[columns][:, None, :] == self.cell[visitors][:, None]).any(axis=2)
            self._offer(columns, products[back:].T - self.backend.asarray(offsets), visitors, met=met)

    def _products(self, rows: NDArray[np.int32], columns: NDArray[np.int32]) -> Array:
        """Return the inner products (r, c); compiled kernels meanwhile offer them to the rows."""
        if not self._on_host:
            return self._centred(rows) @ self._centred(columns).T
        others = self._centred(columns).T
        products = np.empty((rows.size, columns.size), np.float32)
        offsets = self._offsets[columns]

        def multiply(first: int, last: int) -> None:
            np.matmul(self._centred(rows[first:last]), others, out=products[first:last])
            if self._kernels is not None:
                self._kernels.offer_rows(products, offsets, columns, rows, self.scores, self.ids, first, last)

        in_threads(multiply, rows.size, step=_even_step(rows.size), blas=True)
        return products

    def _centred(self, ids: NDArray[np.int32]) -> Array:
        if self._kernels is not None:
            rows = np.empty((ids.size, self.points.X.shape[1]), np.float32)
            centre = np.empty(0, np.float32) if self.points.centre is None else self.points.centre
            self._kernels.gather(*self._plain[:2], centre, ids, rows)
            return rows
        rows = self._placed.rows(ids if self._on_host else self.backend.asarray(ids))
        return rows if self.points.centre is None else rows - self.backend.asarray(self.points.centre)

    def _offer(self, rows: NDArray[np.int32], scores: Array, others: NDArray[np.int32], *, met: Mask) -> None:
        """Offer others to the lists of rows, but for those of whom it is said that they have been met."""
        scores = self.backend.xp.where(self.backend.asarray(met), np.float32(-np.inf), scores)
        order, best = self.backend.top_k(scores, self.ids.shape[1])
        self._merge(rows, best, self.backend.asarray(others)[order])

    def _merge(self, rows: NDArray[np.int32], scores: Array, ids: Array) -> None:
        """Keep the best of the lists of some points and of other candidates (r, c), who are not in them."""
        xp, where = self.backend.xp, self.backend.asarray(rows)
        scores = xp.concatenate([self.scores[where], scores], axis=1)
        ids = xp.concatenate([self.ids[where], ids], axis=1)
        by_id = xp.argsort(ids, axis=1)  # a selection takes equal scores in the order in which they stand
        ids = xp.take_along_axis(ids, by_id, axis=1)
        order, best = self.backend.top_k(xp.take_along_axis(scores, by_id, axis=1), self.ids.shape[1])
        chosen = xp.take_along_axis(ids, order, axis=1)
        self.scores[where], self.ids[where] = best, xp.where(xp.isneginf(best), np.int32(NOBODY), chosen)

    def rank(self, k: int, order: NDArray[np.int32]) -> None:
        """Replace scores by similarities, sort by them, and keep the first k; points are looked at in some order."""
        xp = self.backend.xp
        if (kernels := self._kernels) is not None:
            X, norms, largest = self._plain

            def work(first: int, last: int) -> None:
                kernels.rank(X, norms, largest, order, self.scores, self.ids, first, last)

            in_threads(work, order.size, step=_RANKED)
        else:
            for part in slices(order.size, _RANKED):
                i = self.backend.asarray(order[part])
                candidates = xp.where(self.ids[i] == NOBODY, i[:, None], self.ids[i])
                asked = self._placed.rows(i)
                ids, best = rank_candidates(
                    candidates, asked, self._placed, k=self.ids.shape[1], own=order[part].astype(np.int64)
                )
                self.scores[i], self.ids[i] = best, xp.where(xp.isneginf(best), np.int32(NOBODY), ids)
        self.scores, self.ids = (xp.ascontiguousarray(x[:, :k]) for x in (self.scores, self.ids))

    def expand(self, width: int, order: NDArray[np.int32]) -> None:
        """Offer to each ranked point the first `width` neighbours of its first `width` ones, if it has not met them."""
        width, lists = min(width, self.ids.shape[1]), self.ids.copy()
        if (kernels := self._kernels) is None:
            for part in slices(order.size, _RANKED):
                self._expand(order[part], lists, width)
            return
        X, norms, largest = self._plain
        given = (lists, width, self.cell, self.probes, self.scores, self.ids)

        def work(first: int, last: int) -> None:
            kernels.expand(X, norms, largest, order, *given, first, last)

        in_threads(work, order.size, step=4 * _RANKED)

    def _expand(self, rows: NDArray[np.int32], lists: Array, width: int) -> None:
        backend, xp = self.backend, self.backend.xp
        ids = backend.to_host(lists)
        between = ids[rows, :width]
        second = np.where(between[:, :, None] == NOBODY, NOBODY, ids[np.minimum(between, len(ids) - 1), :width])
        second = np.sort(second.reshape(rows.size, -1), axis=1)
        new = (second != NOBODY) & (second != rows[:, None])
        new[:, 1:] &= second[:, 1:] != second[:, :-1]
        second = np.where(new, second, rows[:, None])
        for e in range(ids.shape[1]):
            new &= second != ids[rows, e, None]
        for p in range(self.probes.shape[1]):
            new &= self.probes[rows, p, None] != self.cell[second]
            new &= self.probes[second, p] != self.cell[rows, None]
        i, at = np.nonzero(new)
        scores = xp.full(second.shape, -np.inf, dtype=np.float32)
        for part in self._pairs(i.size):
            points, queries = (self._placed.rows(backend.asarray(x[part])) for x in (second[i, at], rows[i]))
            found = self.points.compare(points[:, None, :], queries, backend)[:, 0]
            scores[backend.asarray(i[part]), backend.asarray(at[part])] = found
        self._merge(rows, scores, backend.asarray(second))

    def _pairs(self, n: int) -> Iterator[slice]:
        return slices(n, max(1, GATHER // self.points.X.shape[1]))


def join_lists(
    scores: NDArray[np.float32],
    ids: NDArray[np.int32],
    at: Ints,
    *,
    more: tuple[NDArray[np.float32], NDArray[np.int32]],
) -> None:
    """Offer scores and ids (r, c), who are not listed yet, to the lists at these places, each one once; in place.

    >>> scores, ids = np.array([[0.5, 0.1]], np.float32), np.array([[7, 3]], np.int32)
    >>> join_lists(scores, ids, np.array([0]), more=(np.array([[0.3]], np.float32), np.array([[5]], np.int32)))
    >>> ids.tolist()
    [[7, 5]]
    """
    if find_spec("numba") is not None:
        from manifold.backends import compiled_lists

        in_threads(lambda first, last: compiled_lists.join(scores, ids, at, *more, first, last), at.size, step=_JOINED)
        return
    both = [np.concatenate([mine[at], theirs], axis=1) for mine, theirs in zip((scores, ids), more, strict=True)]
    order = np.lexsort((both[1], -both[0]))[:, : ids.shape[1]]
    scores[at], ids[at] = (np.take_along_axis(part, order, axis=1) for part in both)


def _even_step(n: int) -> int:
    """Return the length of ranges that cover n rows by fours, so that no thread of two or four waits for the others."""
    return -(-n // (4 * -(-n // (4 * _ROWS))))


def plain_rows(points: PointSet) -> bool:
    """Say whether compiled kernels serve: they read rows where they are, and divide by norms in float32.

    >>> plain_rows(PointSet(np.ones((3, 4), np.float32)[:, ::2], "cosine"))
    False
    """
    X = points.X
    return X.flags.c_contiguous and X.flags.aligned and not points.has_extremes and find_spec("numba") is not None


def compiled_kernels(points: PointSet) -> ModuleType | None:
    """Return the compiled kernels where they serve these points."""
    if not plain_rows(points):
        return None
    from manifold.backends import compiled_lists

    return compiled_lists
